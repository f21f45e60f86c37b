//! Form `call`: this box calls the room as a remote class would, speaks, and listens for what of it comes back
//! by the room's loudspeaker, microphone and canceller (after 3GPP TS 26.132 §8.7).
//!
//! Of the track that comes back nothing is kept but in memory that is locked and wiped, and nothing leaves but
//! single numbers.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::{
    Config, Findings, RATE,
    buffer::{self, Buffer},
    report, returned,
    take::Line,
    talk::Talk,
};
use crate::{
    Failure, ProbeRun, Reason,
    media::{
        self,
        call::{Hear, HeardPacket, Own, Voice},
        codec::{LOOK_AHEAD, SOUND_FRAME},
    },
    worker::Job,
};
use ear::Ear;

mod ear;

/// What is spoken and heard before, after and beside the time that is asked for, in seconds: connecting to what
/// comes back, settling, and the last of the echo.
const BESIDE: f64 = 12.0;

/// Calls the room and measures; ends early with the failure that `end` gives.
pub(super) async fn measure(
    job: &Job,
    config: &Config,
    progress: &(dyn Fn(&str, f64) + Sync),
    end: impl Future<Output = Failure>,
) -> ProbeRun {
    // Of this process nobody else is to read the memory.
    match buffer::hide_process() {
        Ok(()) => called(job, config, progress, end).await,
        Err(failure) => ProbeRun::failed(&job.probe, job.started_at, failure),
    }
}

async fn called(
    job: &Job,
    config: &Config,
    progress: &(dyn Fn(&str, f64) + Sync),
    end: impl Future<Output = Failure>,
) -> ProbeRun {
    let mut run = ProbeRun::new(&job.probe, job.started_at);
    match call(job, config, progress, end).await {
        Ok((findings, ended_at)) => report::fill(&mut run, &findings, None, None, config, ended_at),
        Err(failure) => run.failure = Some(failure),
    }
    run
}

/// What was found, and when it was.
async fn call(
    job: &Job,
    config: &Config,
    progress: &(dyn Fn(&str, f64) + Sync),
    end: impl Future<Output = Failure>,
) -> Result<(Findings, DateTime<Utc>), Failure> {
    let own = |what: &str| Failure::new(Reason::Worker, what);
    let far_end = config.far_end.clone();
    let far_end = far_end.ok_or_else(|| Failure::new(Reason::Source, "there is no far_end that could be called"))?;
    let buffer = Buffer::new(((config.duration().as_secs_f64() + BESIDE) * f64::from(RATE)) as usize, 0)?;
    let ear = Ear::new(buffer).map_err(|error| own(&error.to_string()))?;
    let ear = Shared(Arc::new(Mutex::new(ear)));
    let mouth = Mouth(Talk::new());
    let voices = Own { voice: Box::new(mouth), ear: Box::new(ear.clone()) };
    let spoken = media::speak(job, far_end, config.duration(), voices, progress, end).await?;
    let ear = ear.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reason) = spoken.not_judged {
        return Ok((Findings { reason: Some(reason), ..Findings::default() }, spoken.ended_at));
    }
    let Some((samples, first)) = ear.heard() else {
        return Err(match ear.refused {
            0 => Failure::new(Reason::FirstRtp, "what came back says only that nothing is sent"),
            refused => {
                let detail = format!("{refused} packets of sound came back, but none of them is Opus");
                Failure::new(Reason::Undecodable, detail)
            }
        });
    };
    let line = Line { samples, start: place(first - spoken.start) };
    Ok((returned::analyse(&line, spoken.seconds), spoken.ended_at))
}

/// The place on the line of what was spoken of a first sample that arrived so many nanoseconds after the first
/// was spoken. Decoded sound lags by the look-ahead of its encoder.
fn place(nanos: i64) -> f64 {
    nanos as f64 * f64::from(RATE) / 1e9 - f64::from(LOOK_AHEAD)
}

/// What we say.
struct Mouth(Talk);

impl Voice for Mouth {
    fn block(&mut self, index: u64, out: &mut [f32; SOUND_FRAME]) {
        self.0.fill(index * SOUND_FRAME as u64, out);
    }
}

/// The ear, here and in the thread that listens.
#[derive(Clone)]
struct Shared(Arc<Mutex<Ear>>);

impl Hear for Shared {
    fn take(&mut self, packet: &HeardPacket<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(packet);
    }

    fn finish(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finish();
    }
}

#[cfg(test)]
mod tests;
