//! `inspect`: one pass over the probes, now, by hand.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use bellwether_agent::{
    judge::{Level, Stage, judge_once, stage_at_fault},
    rule::Rules,
    site::Language,
};
use bellwether_probes::{Kind, Probe, ProbeRun, Progress, Reading, RunContext};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{
    Clock,
    config::{self, Config, ConfigError},
    sound,
};

mod text;
mod words;

pub(crate) use text::as_table;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Names of probes; none means all but those that are heard in the room.
    pub probes: Vec<String>,
    /// JSON instead of a table.
    pub json: bool,
    /// Folder for captures.
    pub capture: Option<PathBuf>,
}

/// Why nothing was inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The config cannot be used.
    #[error("the config cannot be used")]
    Config(#[from] ConfigError),
    /// A name is none of the configured probes.
    #[error("found no probe {found:?}, expected one of {}", known.join(", "))]
    Unknown {
        /// The name.
        found: String,
        /// Names that are configured.
        known: Vec<String>,
    },
    /// This program does not know where it is.
    #[error("cannot find this program to run the call in")]
    Worker(#[source] std::io::Error),
}

impl InspectError {
    /// 78 for a config, as everywhere; else 64, a usage error of sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,
            Self::Unknown { .. } => 64,
            Self::Worker(_) => 71,
        }
    }
}

/// The verdict of one pass by plain limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Judged(Level),
    Inconclusive,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Judged(level) => level.name(),
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The last line of every table.
    pub(crate) fn line(self, language: Language) -> String {
        let level = match self {
            Self::Judged(level) => Some(level),
            Self::Inconclusive => None,
        };
        format!("verdict: {} ({})\n", self.name(), words::verdict(level, language))
    }

    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Judged(Level::Pass) => 0,
            Self::Judged(Level::Degraded) => 1,
            Self::Judged(Level::Critical) => 2,
            Self::Inconclusive => 3,
        }
    }
}

/// Runs the probes asked for and returns what to print and the exit code. What is heard in the room runs only
/// if it is named. Reads of the state folder what was accepted of the room's sound, and writes nothing.
pub async fn run<C: Clock>(
    config: Option<&Path>,
    state: &Path,
    asked: Asked,
    terminal: bool,
    clock: C,
) -> Result<(String, u8), InspectError> {
    let config = config::load(config, clock())?;
    if let Some(found) = asked.probes.iter().find(|name| !config.probes.contains_key(*name)) {
        let known = config.probes.keys().cloned().collect();
        return Err(InspectError::Unknown { found: found.clone(), known });
    }
    let (left_out, names): (Vec<String>, Vec<String>) = if asked.probes.is_empty() {
        config.probes.keys().cloned().partition(|name| is_heard(&config, name))
    } else {
        (Vec::new(), asked.probes)
    };
    let runs = measure(&config, state, &names, asked.capture, terminal, clock).await?;
    let verdict = judge(&config.rules, &runs);
    let text = if asked.json {
        as_json(&config.rules, &runs, verdict, &left_out)
    } else {
        as_table(&config, &runs)
            + &text::left_out(&config, &left_out)
            + &text::self_tests(&config, &runs)
            + &verdict.line(config.site.locale.language)
    };
    Ok((text, verdict.exit_code()))
}

fn is_heard(config: &Config, name: &str) -> bool {
    config.probes.get(name).is_some_and(|entry| entry.config.is_heard())
}

/// Runs the probes of these names, one after another.
pub(crate) async fn measure<C: Clock>(
    config: &Config,
    state: &Path,
    names: &[String],
    capture: Option<PathBuf>,
    terminal: bool,
    clock: C,
) -> Result<Vec<ProbeRun>, InspectError> {
    let worker = std::env::current_exe().map_err(InspectError::Worker)?;
    let (_keep, cancel) = watch::channel(false);
    let (sender, progress) = mpsc::unbounded_channel();
    let shown = tokio::spawn(show_progress(progress, terminal));
    let mut runs = Vec::new();
    for (name, entry) in config.probes.iter().filter(|(name, _)| names.contains(name)) {
        let context = RunContext {
            now: clock(),
            timeout: entry.timeout,
            worker: worker.clone(),
            seed: fastrand::u64(..),
            cancel: cancel.clone(),
            progress: Some(sender.clone()),
            capture: capture.clone().filter(|_| entry.config.kind() == Kind::Media),
            longest: None,
            accepted: entry.config.listens().then(|| sound::accepted(state, name)).flatten(),
        };
        let begun = Progress { probe: name.clone(), phase: "start".to_owned(), done: 0.0 };
        // Nobody reads it if the terminal is gone.
        let _unread = sender.send(begun);
        let run = Probe::new(name, entry.config.clone()).run(&context).await;
        if run.microphone {
            sound::listened(name, run.duration_seconds);
        }
        runs.push(run);
    }
    drop(sender);
    if let Err(error) = shown.await {
        tracing::debug!(%error, "progress could not be shown");
    }
    Ok(runs)
}

async fn show_progress(mut progress: mpsc::UnboundedReceiver<Progress>, terminal: bool) {
    let mut stderr = std::io::stderr();
    while let Some(step) = progress.recv().await {
        if terminal {
            // A terminal that is gone is no reason to stop measuring.
            let _gone = write!(stderr, "\r\x1b[K{}: {} {:.0} %", step.probe, step.phase, step.done * 100.0);
            let _gone = stderr.flush();
        }
    }
    if terminal {
        let _gone = write!(stderr, "\r\x1b[K");
    }
}

fn level(rules: &Rules, run: &ProbeRun, reading: &Reading) -> Option<Level> {
    let rule = rules.for_series(reading.metric, &run.probe, &reading.labels)?;
    judge_once(rule, reading)
}

pub(crate) fn judge(rules: &Rules, runs: &[ProbeRun]) -> Verdict {
    let levels = runs.iter().flat_map(|run| run.readings.iter().filter_map(|reading| level(rules, run, reading)));
    let worst = levels.max().unwrap_or_default();
    let unsure = runs.is_empty() || runs.iter().any(|run| run.failure.is_some() || run.inconclusive.is_some());
    if worst == Level::Pass && unsure { Verdict::Inconclusive } else { Verdict::Judged(worst) }
}

/// `left_out` names the probes that did not run because they are heard.
pub(crate) fn as_json(rules: &Rules, runs: &[ProbeRun], verdict: Verdict, left_out: &[String]) -> String {
    let beyond: Vec<Value> = runs
        .iter()
        .flat_map(|run| run.readings.iter().map(move |reading| (run, reading)))
        .filter_map(|(run, reading)| {
            let level = level(rules, run, reading).filter(|level| *level != Level::Pass)?;
            Some(json!({ "probe": run.probe, "metric": reading.metric, "labels": reading.labels, "verdict": level.name() }))
        })
        .collect();
    lines(&json!({
        "verdict": verdict.name(),
        "beyond": beyond,
        "runs": runs.iter().map(|run| run_json(rules, run)).collect::<Vec<_>>(),
        "left_out": left_out,
        "readings": all_readings(runs),
    }))
}

fn lines(value: &Value) -> String {
    format!("{value:#}\n")
}

fn run_json(rules: &Rules, run: &ProbeRun) -> Value {
    json!({
        "probe": run.probe,
        "started_at": run.started_at,
        "duration_seconds": run.duration_seconds,
        "failure": run.failure,
        "inconclusive": run.inconclusive,
        "absent": run.absent,
        "versions": run.versions,
        "paths": run.paths,
        "microphone": run.microphone,
        "stage_at_fault": stage(rules, run),
    })
}

/// At which stage of a call what is beyond a limit lies.
fn stage(rules: &Rules, run: &ProbeRun) -> Option<Stage> {
    let is_beyond = |reading: &&Reading| level(rules, run, reading).is_some_and(|level| level != Level::Pass);
    stage_at_fault(run, &run.readings.iter().filter(is_beyond).collect::<Vec<_>>())
}

/// All readings in the one JSON shape, with the probe among the labels.
fn all_readings(runs: &[ProbeRun]) -> Vec<Value> {
    let shape = |(run, reading): (&ProbeRun, &Reading)| {
        let mut value = json!(reading);
        value["labels"]["probe"] = json!(run.probe);
        value
    };
    runs.iter().flat_map(|run| run.readings.iter().map(move |reading| (run, reading))).map(shape).collect()
}
