//! What bellwether measures. Probes touch the world and return readings; they know no limit,
//! no store and no booking.
//!
//! A probe is one file: its `Config`, its shell that does the I/O, and a pure `analyse` that turns
//! plain data into readings. Adding one is a new file and a variant of [`Kind`], [`ProbeConfig`]
//! and [`Probe`]; the compiler then lists what else to touch.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

mod dial;
pub mod echo;
mod labels;
pub mod load;
pub mod media;
pub mod metric;
pub mod mistake;
pub mod page;
pub mod reading;
pub mod resources;
pub mod secret;
pub mod units;
pub mod versions;
pub mod worker;

pub use labels::Labels;
pub use metric::{Family, Label, Metric, Scale, Spec, Worse};
pub use mistake::Mistake;
pub use reading::{Class, ComponentVersion, Failure, MediaPath, ProbeRun, Reading, Reason, Validity};
pub use units::{Span, Unit};

/// The kinds of probe, as `kind = "…"` in a `[probe.NAME]` table names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One WebRTC call with our own test signal.
    Media,
    /// Processor, memory, disks, network cards, pressure, named processes.
    Resources,
    /// Response of one web address, by phase.
    Page,
    /// What runs here, and which version.
    Versions,
    /// Echo and room acoustics, by the room's own loudspeaker and microphone or by a call to the room.
    Echo,
    /// Users, processor, memory and network of the room's media server.
    Load,
}

impl Kind {
    /// All kinds.
    pub const ALL: &[Self] = &[Self::Media, Self::Resources, Self::Page, Self::Versions, Self::Echo, Self::Load];

    /// The word in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Resources => "resources",
            Self::Page => "page",
            Self::Versions => "versions",
            Self::Echo => "echo",
            Self::Load => "load",
        }
    }

    /// The failures a run of this kind can end with; their counters exist from the start.
    pub fn failure_reasons(self) -> &'static [Reason] {
        match self {
            Self::Media => media::FAILURES,
            Self::Resources => resources::FAILURES,
            Self::Page => page::FAILURES,
            Self::Versions => versions::FAILURES,
            Self::Echo => echo::FAILURES,
            Self::Load => load::FAILURES,
        }
    }
}

/// Config of one probe, without its name and schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeConfig {
    /// See [`media`].
    Media(media::Config),
    /// See [`resources`].
    Resources(resources::Config),
    /// See [`page`].
    Page(page::Config),
    /// See [`versions`].
    Versions(versions::Config),
    /// See [`echo`].
    Echo(echo::Config),
    /// See [`load`].
    Load(load::Config),
}

impl ProbeConfig {
    /// The kind it configures.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Media(_) => Kind::Media,
            Self::Resources(_) => Kind::Resources,
            Self::Page(_) => Kind::Page,
            Self::Versions(_) => Kind::Versions,
            Self::Echo(_) => Kind::Echo,
            Self::Load(_) => Kind::Load,
        }
    }

    /// Whether a run can fail for a reason of its kind: a call meets no sound devices.
    pub fn can_fail_for(&self, reason: Reason) -> bool {
        match self {
            Self::Echo(config) => config.can_fail_for(reason),
            _ => true,
        }
    }

    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        match self {
            Self::Media(config) => config.check(),
            Self::Resources(config) => config.check(),
            Self::Page(config) => config.check(),
            Self::Versions(config) => config.check(),
            Self::Echo(config) => config.check(),
            Self::Load(config) => config.check(),
        }
    }

    /// Whether a metric of its kind can be measured by this probe: a light call has no picture.
    pub fn measures(&self, metric: Metric) -> bool {
        match self {
            Self::Media(config) if config.profile == media::Profile::Light => {
                !matches!(metric.spec().family, Family::Video | Family::Sync)
            }
            Self::Echo(config) => config.measures(metric),
            Self::Load(config) => config.measures(metric),
            _ => true,
        }
    }

    /// Whether people in the room hear that it runs.
    pub fn is_heard(&self) -> bool {
        matches!(self, Self::Echo(config) if config.form.is_heard())
    }

    /// Whether the microphone of the room is listened to.
    pub fn listens(&self) -> bool {
        matches!(self, Self::Echo(config) if config.listens())
    }

    /// The label values that series of this probe can have beside those of the box itself:
    /// which components a `versions` or `resources` probe names.
    pub fn components(&self) -> Vec<String> {
        match self {
            Self::Resources(config) => config.components(),
            Self::Versions(config) => config.components(),
            Self::Echo(config) if config.listens() => echo::COMPONENTS.iter().map(|name| (*name).to_owned()).collect(),
            Self::Echo(_) | Self::Media(_) | Self::Page(_) | Self::Load(_) => Vec::new(),
        }
    }
}

/// What a run gets from outside beside its config.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// The instant at which the run starts.
    pub now: DateTime<Utc>,
    /// Deadline of the whole run, counted from its start.
    pub timeout: Duration,
    /// The binary that serves `probe-worker`: this program itself.
    pub worker: PathBuf,
    /// Randomness of this run: dither, identifiers.
    pub seed: u64,
    /// Turns true when the run must end early.
    pub cancel: watch::Receiver<bool>,
    /// Where a person is told what the run is doing.
    pub progress: Option<mpsc::UnboundedSender<Progress>>,
    /// A folder for captures of calls; none are written without it.
    pub capture: Option<PathBuf>,
    /// The longest that media of a call is measured, whatever its config says.
    pub longest: Option<Duration>,
    /// The state of the room's sound that was accepted, for changes to be told.
    pub accepted: Option<echo::Accepted>,
}

impl RunContext {
    /// Returns when the run must end early, else never.
    pub async fn cancelled(&self) {
        let mut cancel = self.cancel.clone();
        if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

/// What a running probe is doing, for a person who waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Name of the probe.
    pub probe: String,
    /// A phase of the run: `ice`, `dtls`, `media`.
    pub phase: String,
    /// Share of the run that is done, from 0 to 1.
    pub done: f64,
}

/// A probe with what it keeps between runs.
#[derive(Debug)]
pub enum Probe {
    /// See [`media`].
    Media(media::Probe),
    /// See [`resources`].
    Resources(resources::Probe),
    /// See [`page`].
    Page(page::Probe),
    /// See [`versions`].
    Versions(versions::Probe),
    /// See [`echo`].
    Echo(echo::Probe),
    /// See [`load`].
    Load(Box<load::Probe>),
}

impl Probe {
    /// A probe that has not run yet.
    pub fn new(name: &str, config: ProbeConfig) -> Self {
        match config {
            ProbeConfig::Media(config) => Self::Media(media::Probe::new(name, config)),
            ProbeConfig::Resources(config) => Self::Resources(resources::Probe::new(name, config)),
            ProbeConfig::Page(config) => Self::Page(page::Probe::new(name, config)),
            ProbeConfig::Versions(config) => Self::Versions(versions::Probe::new(name, config)),
            ProbeConfig::Echo(config) => Self::Echo(echo::Probe::new(name, config)),
            ProbeConfig::Load(config) => Self::Load(Box::new(load::Probe::new(name, config))),
        }
    }

    /// Runs once. Never longer than the context's timeout: what has not ended by then is a run
    /// that failed with reason `timeout`.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        let started = tokio::time::Instant::now();
        let name = self.name().to_owned();
        let run = async {
            match self {
                Self::Media(probe) => probe.run(context).await,
                Self::Resources(probe) => probe.run(context).await,
                Self::Page(probe) => probe.run(context).await,
                Self::Versions(probe) => probe.run(context).await,
                Self::Echo(probe) => probe.run(context).await,
                Self::Load(probe) => probe.run(context).await,
            }
        };
        let mut run = tokio::time::timeout(context.timeout, run).await.unwrap_or_else(|_| {
            let detail = format!("not finished after {}", Unit::Seconds.show(context.timeout.as_secs_f64()));
            ProbeRun::failed(&name, context.now, Failure::new(Reason::Timeout, detail))
        });
        run.duration_seconds = started.elapsed().as_secs_f64();
        run
    }

    /// The probe's name in the config.
    pub fn name(&self) -> &str {
        match self {
            Self::Media(probe) => probe.name(),
            Self::Resources(probe) => probe.name(),
            Self::Page(probe) => probe.name(),
            Self::Versions(probe) => probe.name(),
            Self::Echo(probe) => probe.name(),
            Self::Load(probe) => probe.name(),
        }
    }
}
