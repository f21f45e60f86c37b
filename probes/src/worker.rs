//! The worker: a short-lived child of this program that runs one task and hands back plain data.
//! What crashes there, or grows, goes with it.
//!
//! The child reads one line of JSON, its job, and writes lines of JSON: what it is doing, and at
//! last the finished run. It ends early when its input ends, so that it never outlives its parent.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{ProbeRun, Progress, echo, media};

mod child;
mod parent;

pub use child::main;
pub(crate) use parent::run;

/// What the program is called with to be a worker.
pub const ARGUMENT: &str = "probe-worker";

/// What a child is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// Name of the probe.
    pub(crate) probe: String,
    /// What kind of run, and how.
    pub(crate) task: Task,
    /// Randomness of the run.
    pub(crate) seed: u64,
    /// How long it may take, in seconds.
    pub(crate) timeout_seconds: f64,
    /// Wall clock at its start.
    pub(crate) started_at: DateTime<Utc>,
    /// Where the capture goes.
    pub(crate) capture: Option<PathBuf>,
}

/// The tasks a child can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// A call.
    Media(media::Config),
    /// A measurement of echo, against the accepted state.
    Echo(echo::Config, Option<echo::Accepted>),
}

/// One line from the child.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one at a time, and the last is the large one")]
enum Message {
    /// What it is doing.
    Progress(Progress),
    /// It is about to listen to the microphone of the room.
    Microphone,
    /// What came of it; the last line.
    Run(ProbeRun),
}
