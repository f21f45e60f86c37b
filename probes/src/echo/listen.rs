//! The forms that use the room's own devices: what is played, what is heard, and what becomes of it.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    Accepted, Config, Findings, Form, RATE, active,
    buffer::{self, Buffer},
    device::{Plan, Session, Sound},
    passive, report,
    signal::Sweeps,
    take::Devices,
};
use crate::{Failure, ProbeRun, Reason, worker::Job};

/// What is heard before anything is played, in samples: 0.6 s. The quiet form chooses its level by it.
const SILENCE: usize = 6 * RATE as usize / 10;

/// Fills `run` with what the room's own loudspeaker and microphone show.
pub(super) async fn listen(
    job: &Job,
    config: &Config,
    accepted: Option<&Accepted>,
    progress: &(dyn Fn(&str, f64) + Sync),
    microphone: &dyn Fn(),
    run: &mut ProbeRun,
) -> Result<(), Failure> {
    let started = Instant::now();
    let now = || -> DateTime<Utc> { job.started_at + started.elapsed() };
    // Of this process nobody else is to read the memory.
    buffer::hide_process()?;
    progress("devices", 0.0);
    let session = Session::open(config).await?;
    let devices = session.devices().clone();
    if devices.loudspeaker.muted || devices.microphone.muted {
        let findings = Findings { reason: Some(Reason::Muted), ..Findings::default() };
        report::fill(run, &findings, Some(&devices), accepted, config, now());
        return Ok(());
    }
    let findings = match config.form {
        Form::Silent => silent(session, &devices, config, progress, microphone).await?,
        Form::Active | Form::Quiet => sweeps(session, &devices, config, accepted, progress, microphone).await?,
        Form::Call => return Err(Failure::new(Reason::Source, "a call is made by another box, not by the room's")),
    };
    progress("analyse", 1.0);
    report::fill(run, &findings, Some(&devices), accepted, config, now());
    Ok(())
}

/// Plays sweeps, and hears them come back.
async fn sweeps(
    session: Session,
    devices: &Devices,
    config: &Config,
    accepted: Option<&Accepted>,
    progress: &(dyn Fn(&str, f64) + Sync),
    microphone: &dyn Fn(),
) -> Result<Findings, Failure> {
    let mut sweeps = Sweeps { count: config.sweeps(), level: config.level, reverberation: config.reverberation };
    let length = |sweeps: &Sweeps| Plan::room_for(SILENCE, sweeps.length(), true);
    let room = length(&sweeps);
    let buffer = Buffer::new(room, if session.has_reference() { room } else { 0 })?;
    let length = sweeps.length();
    let mut sound = |silence: &[i16]| -> Sound {
        if config.form == Form::Quiet {
            sweeps.level = active::quiet_level(silence, accepted.map(|accepted| accepted.return_loss_decibels));
        }
        let sweeps = sweeps;
        Box::new(move |from, piece| sweeps.play(from, piece))
    };
    let far = |kept: usize, total: usize| {
        let (phase, from, to) = if kept < SILENCE { ("listen", 0, SILENCE) } else { ("play", SILENCE, total) };
        progress(phase, (kept - from) as f64 / (to - from).max(1) as f64);
    };
    let plan = Plan { silence: SILENCE, length, sound: Some(&mut sound), microphone, progress: &far };
    let (course, buffer) = session.take(plan, buffer).await?;
    progress("analyse", 0.0);
    Ok(active::analyse(&course.take(&buffer, devices), &sweeps))
}

/// Plays nothing, and hears what the room plays anyway.
async fn silent(
    session: Session,
    devices: &Devices,
    config: &Config,
    progress: &(dyn Fn(&str, f64) + Sync),
    microphone: &dyn Fn(),
) -> Result<Findings, Failure> {
    if !session.has_reference() {
        let detail = format!(
            "the silent form needs what the loudspeaker {} plays: `reference` must be \"monitor\", where there is one, \
             or a device",
            devices.loudspeaker.name
        );
        return Err(Failure::new(Reason::NoDevice, detail));
    }
    let length = (config.duration().as_secs_f64() * f64::from(RATE)) as usize;
    let length = length.min(buffer::MOST);
    let buffer = Buffer::new(length, length)?;
    let far = |kept: usize, total: usize| progress("listen", kept as f64 / total.max(1) as f64);
    let plan = Plan { silence: 0, length, sound: None, microphone, progress: &far };
    let (course, buffer) = session.take(plan, buffer).await?;
    progress("analyse", 0.0);
    Ok(passive::analyse(&course.take(&buffer, devices)))
}
