//! `analyse`: what captures of calls say, read again. No daemon and no network take part.

use std::{
    io,
    path::{Path, PathBuf},
};

use bellwether_probes::{ProbeRun, media};
use chrono::NaiveDateTime;

use crate::{
    config::Config,
    inspect::{self, Verdict},
};

/// Why nothing was analysed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyseError {
    /// A capture cannot be read.
    #[error("the capture cannot be analysed")]
    Capture(#[from] media::CaptureError),
    /// A folder cannot be read.
    #[error("cannot read the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AnalyseError {
    /// 66, an input that cannot be read, of sysexits.h.
    pub fn exit_code(&self) -> u8 {
        66
    }
}

/// Reads one capture, or all `.json` files of a folder, and returns what `inspect` printed when it wrote
/// them, and the exit code: tables, each behind the name of its file if there are several, or JSON.
pub fn run(config: &Config, path: &Path, json: bool) -> Result<(String, u8), AnalyseError> {
    let files = files(path).map_err(|source| AnalyseError::Folder { path: path.to_owned(), source })?;
    let runs: Vec<ProbeRun> = files.iter().map(|file| run_of(file)).collect::<Result<_, _>>()?;
    let verdict = inspect::judge(&config.rules, &runs);
    let text = if json {
        inspect::as_json(&config.rules, &runs, verdict, &[])
    } else {
        tables(config, &files, &runs, verdict)
    };
    Ok((text, verdict.exit_code()))
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries: Vec<PathBuf> = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let mut files: Vec<PathBuf> =
        entries.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    Ok(files)
}

fn run_of(file: &Path) -> Result<ProbeRun, media::CaptureError> {
    let capture = media::read_capture(file)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut run = ProbeRun::new(probe_of(&stem), capture.started_at);
    run.duration_seconds = (capture.ended_at - capture.started_at).as_seconds_f64();
    media::analysis::analyse(&capture, &mut run);
    Ok(run)
}

/// The probe that wrote a capture: its file is called `PROBE-STARTED`, unless somebody renamed it.
fn probe_of(stem: &str) -> &str {
    let stamped = |(_, stamp): &(&str, &str)| NaiveDateTime::parse_from_str(stamp, "%Y%m%dT%H%M%S%3fZ").is_ok();
    stem.rsplit_once('-').filter(stamped).map_or(stem, |(probe, _)| probe)
}

fn tables(config: &Config, files: &[PathBuf], runs: &[ProbeRun], verdict: Verdict) -> String {
    let mut text = String::new();
    for (file, run) in files.iter().zip(runs) {
        if files.len() > 1 {
            text.push_str(&format!("{}\n", file.display()));
        }
        text.push_str(&inspect::as_table(config, std::slice::from_ref(run)));
        if files.len() > 1 {
            text.push('\n');
        }
    }
    text + &verdict.line(config.site.locale.language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_what_stands_before_the_stamp() {
        for (stem, probe) in [
            ("call-20260302T080000123Z", "call"),
            ("lab-sfu-20260302T080000123Z", "lab-sfu"),
            ("call-2026", "call-2026"),
            ("clean", "clean"),
        ] {
            assert_eq!(probe_of(stem), probe);
        }
    }
}
