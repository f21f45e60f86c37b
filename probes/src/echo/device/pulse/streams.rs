//! One take: streams are opened, run together, and closed.

use std::{
    ffi::CStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pulseaudio::protocol::{Command, LatencyParams, PlaybackLatency, RecordLatency, SourceOutputInfo, TagStructRead};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Session, in_time,
    wire::{Message, refusal},
};
use crate::{
    Failure, Reason,
    echo::{
        RATE,
        buffer::Buffer,
        device::{
            Course, LEAD, Plan, Sound,
            timing::{self, Moment},
        },
    },
};

mod open;

/// How long a recorder may give nothing, and a player take nothing.
const STALL: Duration = Duration::from_secs(2);
/// The same at first: a device that sleeps wakes up in steps of up to 2 s.
const WAKES: Duration = Duration::from_secs(4);
/// How often the clocks are read while something is played, and while nothing is.
const CLOCKS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// Kept after the last sample of the played sound was taken, in samples: 50 ms.
const TAIL: f64 = RATE as f64 / 20.0;
/// Samples that are given to the player at once.
const PIECE: usize = RATE as usize / 10;
/// The most bytes that a player is taken to want.
const MOST_WANTED: usize = 4 << 20;
/// How long the streams' end may take.
const CLOSE: Duration = Duration::from_secs(1);
/// Clocks of one reading that the server took further apart than this, in seconds, are not of one instant.
const APART: f64 = 0.05;

/// A recorder.
#[derive(Debug)]
struct Recorder {
    channel: u32,
    stream: u32,
    /// Bytes that came, in all.
    received: usize,
    /// Bytes that had come when the first was kept.
    kept_from: Option<usize>,
    /// Bytes that were kept.
    kept: usize,
    /// When it is given up.
    stalls: Instant,
    /// Bytes by which the server's count is ahead of ours: it changes if some were lost on the way.
    ahead: Option<i64>,
}

impl Recorder {
    /// Samples that were kept.
    fn samples(&self) -> usize {
        self.kept / 2
    }
}

/// A player.
struct Player {
    channel: u32,
    stream: u32,
    /// Bytes that it may be given.
    wanted: usize,
    /// Samples that it was given.
    given: usize,
    /// When it is given up.
    stalls: Instant,
    /// Samples it had been given when the sound began; the sound; its length in samples.
    sound: Option<(usize, Sound, usize)>,
}

/// One reading of all clocks, at one instant, in samples: of what was given to the player, and of what was
/// kept of the recorders.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    played: Option<f64>,
    microphone: f64,
    reference: Option<f64>,
}

/// The places of the recorders.
const MICROPHONE: usize = 0;
const REFERENCE: usize = 1;
/// For people.
const NAMES: [&str; 2] = ["microphone", "reference"];

/// The streams of a take.
pub(super) struct Streams {
    session: Session,
    buffer: Buffer,
    recorders: [Option<Recorder>; 2],
    player: Option<Player>,
    slips: u32,
    clocks: Vec<Clocks>,
}

impl Streams {
    /// Runs the take, once the devices are awake.
    pub(super) async fn run(&mut self, plan: Plan<'_>) -> Result<Course, Failure> {
        let Plan { silence, length, mut sound, progress, .. } = plan;
        let plays = self.player.is_some();
        self.wake().await?;
        let total = silence + length;
        let mut due = Instant::now();
        loop {
            if Instant::now() >= due {
                due += CLOCKS[usize::from(!plays)];
                self.read_clocks().await?;
                progress(self.kept().min(total), total);
            }
            if self.kept() >= silence
                && let Some(sound) = sound.take()
            {
                let sound = sound(&self.buffer.microphone()[..self.kept()]);
                if let Some(player) = &mut self.player {
                    player.sound = Some((player.given, sound, length));
                }
                // What was missing of the silence moves nothing that follows.
                self.slips = 0;
            }
            if self.is_done(total) {
                break;
            }
            self.turn(due).await?;
        }
        self.read_clocks().await?;
        self.course()
    }

    /// Ends the streams, and gives the buffer back.
    pub(super) async fn close(mut self) -> Buffer {
        let mut commands = Vec::new();
        commands.extend(self.player.iter().map(|player| Command::DeletePlaybackStream(player.channel)));
        let recorders = self.recorders.iter().flatten();
        commands.extend(recorders.map(|recorder| Command::DeleteRecordStream(recorder.channel)));
        let end = async {
            let first = self.session.wire.send(&commands).await?;
            for request in 0..commands.len() {
                self.answer("to end a stream", first.wrapping_add(request as u32)).await?;
            }
            Ok::<(), Failure>(())
        };
        // Closing the connection ends them in any case.
        let _ = timeout(CLOSE, end).await;
        self.buffer
    }

    /// Hears a second that is not kept, so that all devices run, and then begins to keep. Where others play,
    /// three: a server may shift what is under way while it takes new streams in.
    async fn wake(&mut self) -> Result<(), Failure> {
        let lead = if self.player.is_some() { LEAD } else { 3 * LEAD };
        let at_least = Instant::now() + Duration::from_secs_f64(lead as f64 / f64::from(RATE));
        while Instant::now() < at_least || self.recorders.iter().flatten().any(|one| one.received < 2 * lead) {
            self.turn(at_least.max(Instant::now() + STALL)).await?;
        }
        self.at_full_volume().await?;
        for recorder in self.recorders.iter_mut().flatten() {
            recorder.kept_from = Some(recorder.received);
        }
        self.slips = 0;
        Ok(())
    }

    /// Samples of the microphone that were kept.
    fn kept(&self) -> usize {
        self.recorders[MICROPHONE].as_ref().map_or(0, Recorder::samples)
    }

    fn is_done(&mut self, total: usize) -> bool {
        if self.kept() >= self.buffer.microphone().len() {
            return true;
        }
        match &self.player {
            None => self.kept() >= total,
            // Until the microphone has taken the last of it.
            Some(Player { sound: Some((_, _, length)), .. }) => {
                let end = *length as f64 + TAIL;
                timing::start(&self.moments(MICROPHONE)).is_some_and(|start| start + self.kept() as f64 >= end)
            }
            Some(_) => false,
        }
    }

    /// The clocks' readings of one recorder against what is played: by the player, or else by the reference.
    /// Those before the sound are left out: some servers tell another lateness until a player has settled.
    fn moments(&self, recorder: usize) -> Vec<Moment> {
        let begin = self.player.as_ref().and_then(|player| player.sound.as_ref()).map(|(begin, _, _)| *begin as f64);
        let moment = |clocks: &Clocks| {
            let recorded = if recorder == MICROPHONE { Some(clocks.microphone) } else { clocks.reference };
            let played = match begin {
                Some(begin) => clocks.played.map(|played| played - begin),
                None => clocks.reference,
            };
            Some(Moment { recorded: recorded?, played: played? }).filter(|moment| moment.played >= 0.0)
        };
        self.clocks.iter().filter_map(moment).collect()
    }

    fn course(&self) -> Result<Course, Failure> {
        let moments = [self.moments(MICROPHONE), self.moments(REFERENCE)];
        let start = |recorder: usize| {
            timing::start(&moments[recorder])
                .ok_or_else(|| Failure::new(Reason::Stalled, "the sound server did not say how late its devices are"))
        };
        let slips = moments.iter().filter(|moments| timing::has_slipped(moments)).count() as u32;
        let reference = self.recorders[REFERENCE].as_ref();
        Ok(Course {
            microphone: self.kept(),
            microphone_start: start(MICROPHONE)?,
            reference: reference.map(|one| Ok::<_, Failure>((one.samples(), start(REFERENCE)?))).transpose()?,
            slips: self.slips.saturating_add(slips),
        })
    }

    /// Does what the server says next, or returns at `until`.
    async fn turn(&mut self, until: Instant) -> Result<(), Failure> {
        let recorders = self.recorders.iter().zip(NAMES);
        let recorders = recorders.filter_map(|(one, name)| Some((one.as_ref()?.stalls, name)));
        let player = self.player.iter().map(|player| (player.stalls, "loudspeaker"));
        let (stalls, name) = recorders.chain(player).min().unwrap_or((until, "server"));
        tokio::select! {
            message = self.session.wire.next() => {
                self.step(message?).await?;
            }
            () = sleep_until(until.min(stalls)) => {
                if Instant::now() >= stalls {
                    return Err(self.stalled(name).await);
                }
            }
        }
        Ok(())
    }

    /// Does what a message asks for; gives it back if it is an answer.
    async fn step(&mut self, message: Message) -> Result<Option<Message>, Failure> {
        match message {
            Message::Sound(channel) => self.hear(channel).await?,
            Message::Wanted(channel, bytes) => {
                if let Some(player) = self.player.as_mut().filter(|player| player.channel == channel) {
                    player.wanted = player.wanted.saturating_add(bytes).min(MOST_WANTED);
                    player.stalls = Instant::now() + STALL;
                    self.feed().await?;
                }
            }
            Message::Slip => self.slips = self.slips.saturating_add(1),
            Message::PlayerGone => return Err(gone("loudspeaker")),
            Message::RecorderGone(channel) => {
                let recorders = self.recorders.iter().zip(NAMES);
                let is = |one: &Option<Recorder>| one.as_ref().is_some_and(|one| one.channel == channel);
                return Err(gone(recorders.into_iter().find(|(one, _)| is(one)).map_or("recorder", |(_, name)| name)));
            }
            answer @ (Message::Reply(_) | Message::Refused(..)) => return Ok(Some(answer)),
        }
        Ok(None)
    }

    /// Takes one message of sound, to where it is kept or forgotten.
    async fn hear(&mut self, channel: u32) -> Result<(), Failure> {
        let [microphone, reference, waste] = self.buffer.parts();
        let known = |one: &Option<Recorder>| one.as_ref().is_some_and(|one| one.channel == channel);
        let place = self.recorders.iter().position(known);
        let mut recorder = place.and_then(|place| self.recorders[place].as_mut());
        let part = if place == Some(MICROPHONE) { microphone } else { reference };
        loop {
            let mut into = &mut *waste;
            let mut keeps = false;
            if let Some(recorder) = &recorder
                && recorder.kept_from.is_some()
                && recorder.kept < part.len()
            {
                (into, keeps) = (&mut part[recorder.kept..], true);
            }
            let (count, done) = self.session.wire.sound(into).await?;
            if let Some(recorder) = &mut recorder {
                recorder.received += count;
                recorder.kept += if keeps { count } else { 0 };
                recorder.stalls = Instant::now() + STALL;
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Gives the player what it wants.
    async fn feed(&mut self) -> Result<(), Failure> {
        let Some(player) = &mut self.player else { return Ok(()) };
        let mut bytes = Vec::new();
        while player.wanted >= 2 {
            let mut piece = [0; PIECE];
            let piece = &mut piece[..PIECE.min(player.wanted / 2)];
            if let Some((begin, sound, length)) = &player.sound {
                let from = player.given - begin;
                let count = length.saturating_sub(from).min(piece.len());
                sound(from, &mut piece[..count]);
            }
            player.given += piece.len();
            player.wanted -= 2 * piece.len();
            bytes.clear();
            bytes.extend(piece.iter().flat_map(|sample| sample.to_ne_bytes()));
            self.session.wire.play(player.channel, &bytes).await?;
        }
        Ok(())
    }

    /// Reads where all streams are.
    async fn read_clocks(&mut self) -> Result<(), Failure> {
        const WHAT: &str = "to say how late its devices are";
        // The server only gives this time back.
        let of = |channel: u32| LatencyParams { channel, now: UNIX_EPOCH };
        let mut commands = Vec::new();
        commands.extend(self.player.iter().map(|player| Command::GetPlaybackLatency(of(player.channel))));
        for (recorder, is_monitor) in self.recorders.iter().zip(self.session.monitors) {
            let Some(recorder) = recorder else { continue };
            commands.push(Command::GetRecordLatency(of(recorder.channel)));
            commands.extend(is_monitor.then_some(Command::GetSourceOutputInfo(recorder.stream)));
        }
        let mut request = self.session.wire.send(&commands).await?;
        let mut next = || {
            let this = request;
            request = request.wrapping_add(1);
            this
        };
        let mut played = None;
        if self.player.is_some() {
            self.answer(WHAT, next()).await?;
            let reply: PlaybackLatency = self.session.wire.reply()?;
            let place = reply.read_offset as f64 / 2.0 - samples(reply.sink_usec);
            played = reply.playing.then_some((reply.remote_time, place));
        }
        let mut recorded = [None; 2];
        for (place, recorded) in recorded.iter_mut().enumerate() {
            if self.recorders[place].is_none() {
                continue;
            }
            self.answer(WHAT, next()).await?;
            let reply: RecordLatency = self.session.wire.reply()?;
            let mut withheld = 0.0;
            if self.session.monitors[place] {
                self.answer(WHAT, next()).await?;
                withheld = withheld_samples(&reply, &self.session.wire.reply()?);
            }
            *recorded = self.recorded(place, &reply).map(|(at, samples)| (at, samples + withheld));
        }
        let Some((at, microphone)) = recorded[MICROPHONE] else { return Ok(()) };
        // All to the instant of the microphone's.
        let aligned = |clock: Option<(SystemTime, f64)>| {
            let (when, place) = clock?;
            let apart = seconds_between(when, at);
            (apart.abs() < APART).then(|| place + apart * f64::from(RATE))
        };
        let (played, reference) = (aligned(played), aligned(recorded[REFERENCE]));
        self.clocks.push(Clocks { played, microphone, reference });
        Ok(())
    }

    /// Where a recorder is, in samples since the first that is kept.
    fn recorded(&mut self, place: usize, reply: &RecordLatency) -> Option<(SystemTime, f64)> {
        let recorder = self.recorders[place].as_mut()?;
        let ahead = reply.read_offset - recorder.received as i64;
        if recorder.ahead.replace(ahead).is_some_and(|before| before != ahead) {
            self.slips = self.slips.saturating_add(1);
        }
        let kept_from = recorder.kept_from? as f64;
        // Of a monitor, the server tells how late the loudspeaker plays what the monitor has given.
        let late = samples(reply.source_usec) - samples(reply.sink_usec);
        Some((reply.remote_time, ((reply.write_offset - ahead) as f64 - kept_from) / 2.0 + late))
    }

    /// Asks for what has one answer.
    async fn ask<R: TagStructRead>(&mut self, what: &str, command: Command) -> Result<R, Failure> {
        let request = self.session.wire.send(&[command]).await?;
        self.answer(what, request).await?;
        self.session.wire.reply()
    }

    /// Waits for the answer to a request, and does on the way what the server says else.
    async fn answer(&mut self, what: &str, request: u32) -> Result<(), Failure> {
        let answer = async {
            loop {
                let message = self.session.wire.next().await?;
                match self.step(message).await? {
                    Some(Message::Reply(number)) if number == request => return Ok(()),
                    Some(Message::Refused(number, error)) if number == request => return Err(refusal(what, error)),
                    _ => {}
                }
            }
        };
        in_time(what, answer).await
    }
}

/// What the server keeps from the recorder of a monitor, since it may still be taken back, in samples. It does not
/// tell of it as late but among what is buffered, beside what waits to be sent.
fn withheld_samples(latency: &RecordLatency, info: &SourceOutputInfo) -> f64 {
    let waits = (latency.write_offset - latency.read_offset) as f64 / 2.0;
    (samples(info.buffer_latency) - waits).max(0.0)
}

fn gone(name: &str) -> Failure {
    Failure::new(Reason::DeviceLost, format!("the {name} went away, or we were moved to another"))
}

/// Microseconds as samples.
fn samples(microseconds: u64) -> f64 {
    microseconds as f64 * 1e-6 * f64::from(RATE)
}

/// From one time to another, in seconds, negative if that was before.
fn seconds_between(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// The word under which sound systems show our streams.
const STREAM: &CStr = c"bellwether echo";
