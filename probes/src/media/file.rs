//! Captures in files.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::capture::Capture;

/// Version of the format that is written, and read.
pub(crate) const FORMAT: u32 = 1;
/// The largest file that is read. A call of a minute takes some 4 MiB.
const MOST_BYTES: u64 = 64 << 20;

/// Why a capture could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file could not be read.
    #[error("{0} could not be read")]
    Read(PathBuf, #[source] io::Error),
    /// It is larger than any call.
    #[error("{0} is larger than 64 MiB, and so no capture of a call")]
    TooLarge(PathBuf),
    /// It holds no capture.
    #[error("{0} holds no capture of a call")]
    Parse(PathBuf, #[source] serde_json::Error),
    /// It is of another version.
    #[error("{path} is of format {found}, expected {FORMAT}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Reads a capture that a call left behind.
pub fn read_capture(path: &Path) -> Result<Capture, CaptureError> {
    let read = || {
        let mut text = Vec::new();
        File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error| CaptureError::Read(path.to_owned(), error))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(CaptureError::TooLarge(path.to_owned()));
    }
    let capture: Capture =
        serde_json::from_slice(&text).map_err(|error| CaptureError::Parse(path.to_owned(), error))?;
    if capture.format != FORMAT {
        return Err(CaptureError::Format { path: path.to_owned(), found: capture.format });
    }
    Ok(capture)
}

/// Writes a capture into `folder`, which is created if missing, as `PROBE-STARTED.json`; the file
/// appears whole or not at all.
pub(crate) fn write_capture(
    folder: &Path,
    probe: &str,
    started_at: DateTime<Utc>,
    capture: &Capture,
) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let probe: String = probe.chars().map(plain).collect();
    let path = folder.join(format!("{probe}-{}.json", started_at.format("%Y%m%dT%H%M%S%3fZ")));
    let partial = path.with_extension("json.partial");
    let write = || {
        let mut file = BufWriter::new(File::create(&partial)?);
        serde_json::to_writer(&mut file, capture)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&partial, &path)
    };
    write().inspect_err(|_| {
        // Best effort: the error that matters is already known.
        let _ = fs::remove_file(&partial);
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn capture() -> Capture {
        let text = r#"{"format":1,"started_at":"2026-03-02T08:00:00Z","ended_at":"2026-03-02T08:00:10Z",
            "target":"reflector","phases":[],"connect_seconds":0.2,"first_sound":null,"first_frame":5,
            "media_start":1,"media_end":2,"frame_rate":30.0,"sent":[],"received":[],"frames_sent":[],
            "frames_decoded":[],"markers_sent":[],"markers_heard":[],"round_trips":[0.001],
            "overshoots":[],"clock_drift":0,"dropped":0}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_written_capture_reads_back_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("new");
        let path = write_capture(&inner, "../a call", capture().started_at, &capture()).unwrap();
        assert_eq!(path.file_name().unwrap(), "___a_call-20260302T080000000Z.json");
        assert_eq!(read_capture(&path).unwrap(), capture());
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        assert!(matches!(read_capture(&path), Err(CaptureError::Read(..))));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(read_capture(&path), Err(CaptureError::Parse(..))));
        let other = serde_json::to_string(&Capture { format: 2, ..capture() }).unwrap();
        fs::write(&path, other).unwrap();
        assert!(matches!(read_capture(&path), Err(CaptureError::Format { found: 2, .. })));
        File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(matches!(read_capture(&path), Err(CaptureError::TooLarge(_))));
    }
}
