//! Probe `echo`: what the far end of a call hears of itself, and why.
//!
//! Four forms. `active` and `quiet` play sweeps on the room's loudspeaker and listen to its microphone;
//! `silent` plays nothing and listens to what the room plays anyway; `call` is made by another box, which
//! calls the room as a remote class would, speaks, and listens for its own voice.
//!
//! All run in the worker child: what the microphone took is held in memory there, locked and wiped, and
//! goes with it. Only single numbers leave.

use std::cell::Cell;

use chrono::{DateTime, Utc};

use crate::{
    Failure, ProbeRun, Reason, RunContext,
    worker::{self, Job, Task},
};

mod accepted;
mod active;
mod bands;
mod buffer;
mod call;
mod config;
mod device;
mod distortion;
mod findings;
mod floor;
mod lag;
mod listen;
mod liveness;
mod passive;
#[cfg(test)]
mod processing;
mod rating;
mod report;
mod response;
mod returned;
mod reverberation;
#[cfg(test)]
mod room;
mod scratch;
mod signal;
mod skew;
mod spacing;
mod spectrum;
mod take;
mod talk;
#[cfg(test)]
mod voices;

pub use accepted::{Accepted, DeviceMark};
pub use config::{Config, Form};
pub use findings::{Findings, State};

/// The failures a run can end with.
pub const FAILURES: &[Reason] = &[
    Reason::Timeout,
    Reason::Cancelled,
    Reason::Worker,
    Reason::NotPermitted,
    Reason::NoServer,
    Reason::NoDevice,
    Reason::DeviceBusy,
    Reason::DeviceLost,
    Reason::Stalled,
    Reason::Format,
    Reason::Source,
    Reason::Resolve,
    Reason::Connect,
    Reason::Tls,
    Reason::Signalling,
    Reason::Ice,
    Reason::Dtls,
    Reason::FirstRtp,
    Reason::Undecodable,
];

/// The values of the label `component`.
pub const COMPONENTS: &[&str] = &[LOUDSPEAKER, MICROPHONE];
/// What is played on.
pub(crate) const LOUDSPEAKER: &str = "loudspeaker";
/// What is listened to.
pub(crate) const MICROPHONE: &str = "microphone";

/// Samples a second, of all that is played, recorded and analysed.
pub const RATE: u32 = 48_000;

/// The probe. It keeps nothing between runs.
#[derive(Debug)]
pub struct Probe {
    name: String,
    config: Config,
}

impl Probe {
    /// A probe that has not run yet.
    pub fn new(name: &str, config: Config) -> Self {
        Self { name: name.to_owned(), config }
    }

    /// The probe's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Measures once, in a child process.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        let task = Task::Echo(self.config.clone(), context.accepted.clone());
        worker::run(&self.name, task, context).await
    }
}

/// What a call to a room speaks from sample `first` on, [`RATE`] samples a second, full scale ±1.
pub fn talk(first: u64, out: &mut [f32]) {
    talk::Talk::new().fill(first, out);
}

/// What a call reads of the sound that came back of its talk, which lasted `spoken_seconds`. The first sample of
/// `heard` came when sample `start` of the talk was spoken. Fills `run` with the readings.
pub fn analyse_call(
    run: &mut ProbeRun,
    heard: &[i16],
    start: f64,
    spoken_seconds: f64,
    config: &Config,
    ts: DateTime<Utc>,
) {
    let findings = returned::analyse(&take::Line { samples: heard, start }, spoken_seconds);
    report::fill(run, &findings, None, None, config, ts);
}

/// Who is told what a run does.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Told a phase, and the share of it that is done.
    pub(crate) progress: &'a (dyn Fn(&str, f64) + Sync),
    /// Told before the microphone of the room is opened.
    pub(crate) microphone: &'a (dyn Fn() + Sync),
}

/// Measures in this process; ends early with the failure that `end` gives.
pub(crate) async fn measure(
    job: &Job,
    config: &Config,
    accepted: Option<&Accepted>,
    told: Told<'_>,
    end: impl Future<Output = Failure>,
) -> ProbeRun {
    if config.form == Form::Call {
        return call::measure(job, config, told.progress, end).await;
    }
    let mut run = ProbeRun::new(&job.probe, job.started_at);
    let listened = Cell::new(false);
    let microphone = || {
        listened.set(true);
        (told.microphone)();
    };
    let ended = tokio::select! {
        biased;
        failure = end => Err(failure),
        ended = listen::listen(job, config, accepted, told.progress, &microphone, &mut run) => ended,
    };
    if let Err(failure) = ended {
        run = ProbeRun::failed(&job.probe, job.started_at, failure);
    }
    run.microphone = listened.get();
    run
}
