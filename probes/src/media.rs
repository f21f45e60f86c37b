//! Probe `media`: one WebRTC call with our own test signal, from which network, sound and picture
//! are judged.
//!
//! The call itself runs in a child process ([`crate::worker`]): a decoder that crashes on what a
//! far end sends takes only the child with it, and the memory of a call goes with the call.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Failure, Metric, ProbeRun, Reading, Reason, RunContext,
    worker::{self, Job, Task},
};

pub mod analysis;
mod bounds;
mod burst;
pub(crate) mod call;
pub mod capture;
mod clock;
pub(crate) mod codec;
mod config;
mod course;
pub mod delay;
mod far_end;
mod far_log;
mod file;
#[cfg(test)]
mod fixture;
mod freeze;
mod host;
mod ice;
mod identity;
pub mod jitter;
pub mod legs;
mod link;
pub mod loss;
mod peer;
pub mod picture;
pub mod playout;
pub mod reflector;
mod rendezvous;
pub mod report;
mod sdp;
pub mod signal;
pub(crate) mod slice;
mod socket;
mod spoken;
mod stats;
pub mod sync;
pub mod wire;

#[cfg(feature = "fuzz")]
pub use call::fuzz;
pub use config::{Config, Dscp, Profile, Rehearsal};
pub use far_end::{FarEnd, Remote};
pub use file::{CaptureError, read_capture};
pub use ice::IceServers;
#[cfg(test)]
pub(crate) use rendezvous::far;
pub(crate) use rendezvous::on_loopback;
pub(crate) use spoken::speak;

/// The failures a run can end with.
pub const FAILURES: &[Reason] = &[
    Reason::Timeout,
    Reason::Cancelled,
    Reason::Worker,
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

/// Those that say nothing of the path.
const OURS: &[Reason] = &[Reason::Worker, Reason::Source, Reason::Cancelled, Reason::HostLimited];

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

    /// Makes one call in a child process. A call that failed on its way reads `media_success` 0;
    /// where it failed on us, nothing is read.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        let started = Instant::now();
        let mut config = self.config.clone();
        config.duration.0 = config.duration.0.min(context.longest.unwrap_or(Duration::MAX));
        let mut run = worker::run(&self.name, Task::Media(config), context).await;
        let read = run.readings.iter().any(|reading| reading.metric == Metric::MediaSuccess);
        if !read && run.failure.as_ref().is_some_and(|failure| !OURS.contains(&failure.reason)) {
            let ended = context.now + started.elapsed();
            run.readings.push(Reading::new(ended, Metric::MediaSuccess, 0.0, 1));
        }
        run
    }
}

/// Makes the call in this process and analyses it; ends early with the failure that `end` gives.
pub(crate) async fn make_call(
    job: &Job,
    config: &Config,
    progress: &(dyn Fn(&str, f64) + Sync),
    end: impl Future<Output = Failure>,
) -> ProbeRun {
    let (seed, started_at) = (job.seed, job.started_at);
    let order = call::Order { config, seed, started_at, connect: call::CONNECT, progress };
    let capture = match call::call(&order, end).await {
        Ok(capture) => capture,
        Err(failure) => return ProbeRun::failed(&job.probe, job.started_at, failure),
    };
    let mut run = ProbeRun::new(&job.probe, job.started_at);
    if let Some(folder) = &job.capture
        && let Err(error) = file::write_capture(folder, &job.probe, job.started_at, &capture)
    {
        let detail = format!("no capture could be written into {}: {error}", folder.display());
        run.absent.push(Failure::new(Reason::Worker, detail));
    }
    analysis::analyse(&capture, &mut run);
    run
}
