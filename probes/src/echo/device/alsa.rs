//! Sound by bare ALSA devices, for boxes without a sound server.
//!
//! Nothing here waits for a device: every few milliseconds the loudspeaker is given what it takes, what the
//! microphone has is taken, and where both stand is noted; in the end that is compared, see [`pace`]. What
//! the microphone took goes straight into the locked buffer. No mixer is ever written to.

#![expect(clippy::disallowed_methods, reason = "a shell: it notes when a device stood where")]

use std::time::{Duration, Instant};

use alsa::{Direction, Output};
use tokio::time::sleep;

use super::{Course, LEAD, Plan, Sound, choose::Role};
use crate::{
    Failure, Reason,
    echo::{
        RATE,
        buffer::Buffer,
        config::{Config, Form},
        take::Devices,
    },
};

mod frames;
mod mixer;
mod open;
mod pace;
mod place;
mod stream;

use stream::Stream;

/// Pauses between two looks, in milliseconds. They differ, so that looks do not keep step with a device that
/// moves in steps of its own: now and then one comes right after such a step.
const PAUSES: [u64; 7] = [7, 11, 8, 13, 9, 12, 10];
/// How often progress is told, in looks.
const TOLD: usize = 50;
/// How far a loudspeaker is given sound ahead at most, in frames; none has this much room.
const AHEAD: usize = 2 * RATE as usize;
/// Kept after the last sample of the played sound was heard, in samples: 50 ms.
const TAIL: f64 = RATE as f64 / 20.0;
/// How long a device may stand still.
const PATIENCE: Duration = Duration::from_secs(2);

/// The devices of a room.
#[derive(Debug)]
pub(crate) struct Session {
    loudspeaker: String,
    microphone: String,
    reference: Option<String>,
    devices: Devices,
}

impl Session {
    /// Finds the devices, and opens none.
    #[expect(clippy::unused_async, reason = "as for other systems, where it waits for a server")]
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        silence_library();
        let reference = match config.reference.as_str() {
            // ALSA has no monitors.
            "none" | "monitor" => None,
            wanted => Some(open::find(Role::Reference, wanted, Direction::Capture)?),
        };
        if config.form == Form::Silent && reference.is_none() {
            let detail = "nothing gives what the loudspeaker plays: ALSA has no monitors, so the form \"silent\" needs \
                          the name of a device that takes it as `reference`";
            return Err(Failure::new(Reason::NoDevice, detail));
        }
        let loudspeaker = open::find(Role::Loudspeaker, &config.loudspeaker, Direction::Playback)?;
        let microphone = open::find(Role::Microphone, &config.microphone, Direction::Capture)?;
        let devices = Devices {
            loudspeaker: mixer::device(&loudspeaker, Direction::Playback),
            microphone: mixer::device(&microphone, Direction::Capture),
        };
        Ok(Self { loudspeaker, microphone, reference, devices })
    }

    /// What was found.
    pub(super) fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Whether the loudspeaker's sound is heard.
    pub(super) fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Makes a take. The devices are free again when this returns, or is dropped.
    ///
    /// Without a sound, places are those of the reference: its first sample is the place 0.
    pub(super) async fn take(self, plan: Plan<'_>, mut buffer: Buffer) -> Result<(Course, Buffer), Failure> {
        (plan.microphone)();
        let stream = |role, name: &str, direction| open::open(role, name, direction).map(Stream::new);
        let mut streams = Streams {
            microphone: stream(Role::Microphone, &self.microphone, Direction::Capture)?,
            reference: match &self.reference {
                Some(name) => Some(stream(Role::Reference, name, Direction::Capture)?),
                None => None,
            },
            loudspeaker: match plan.sound {
                Some(_) => Some(stream(Role::Loudspeaker, &self.loudspeaker, Direction::Playback)?),
                None => None,
            },
            begin: None,
        };
        streams.run(plan, &mut buffer).await?;
        Ok((streams.course()?, buffer))
    }
}

/// The devices while they run.
struct Streams {
    microphone: Stream,
    reference: Option<Stream>,
    loudspeaker: Option<Stream>,
    /// Frames that the loudspeaker had been given when the sound began.
    begin: Option<usize>,
}

impl Streams {
    async fn run(&mut self, plan: Plan<'_>, buffer: &mut Buffer) -> Result<(), Failure> {
        let Plan { silence, length, sound: mut make, progress, .. } = plan;
        let (total, plays) = (silence + length, make.is_some());
        let origin = Instant::now();
        let mut sound: Option<Sound> = None;
        self.feed(None, length, AHEAD)?;
        for stream in self.all() {
            stream.start()?;
        }
        for (look, pause) in PAUSES.iter().cycle().enumerate() {
            // The loudspeaker first: what it has played by now, the microphone has taken by then.
            if let Some(stream) = &mut self.loudspeaker {
                stream.look(origin)?;
            }
            let [microphone, reference, waste] = buffer.parts();
            let is_full = self.microphone.take(origin, microphone, waste)?;
            if let Some(stream) = &mut self.reference {
                stream.take(origin, reference, waste)?;
            }
            let kept = self.microphone.kept();
            if look % TOLD == 0 {
                progress(kept.min(total), total);
            }
            let is_heard = match (&self.loudspeaker, self.begin) {
                (Some(stream), Some(begin)) => stream.place() - begin as f64 >= length as f64 + TAIL,
                (Some(_), None) => false,
                (None, _) => kept >= total,
            };
            if is_full || is_heard {
                return Ok(());
            }
            if kept >= silence
                && let Some(make) = make.take()
            {
                sound = Some(make(&buffer.microphone()[..kept]));
                self.begin = self.loudspeaker.as_ref().map(|stream| stream.frames);
            }
            if plays {
                let passed = (origin.elapsed().as_secs_f64() * f64::from(RATE)) as usize;
                self.feed(sound.as_ref(), length, passed + AHEAD)?;
            }
            for stream in self.all() {
                stream.check_moves(PATIENCE)?;
            }
            sleep(Duration::from_millis(*pause)).await;
        }
        Ok(())
    }

    /// Gives the loudspeaker what it takes of the sound; before and after it there is silence.
    fn feed(&mut self, sound: Option<&Sound>, length: usize, most: usize) -> Result<(), Failure> {
        let Some(stream) = &mut self.loudspeaker else { return Ok(()) };
        let begin = self.begin.unwrap_or(usize::MAX);
        stream.play(most, |frame, piece| {
            let (Some(sound), Some(from)) = (sound, frame.checked_sub(begin)) else { return };
            let count = length.saturating_sub(from).min(piece.len());
            // It is not asked for what is beyond its end.
            if count > 0 {
                sound(from, &mut piece[..count]);
            }
        })
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Stream> {
        // Those that take begin before the one that plays.
        [Some(&mut self.microphone), self.reference.as_mut(), self.loudspeaker.as_mut()].into_iter().flatten()
    }

    fn course(&mut self) -> Result<Course, Failure> {
        // A leap is sound that was lost without a word.
        let slips = self.all().map(|stream| stream.slips + u32::from(pace::has_leapt(&stream.points))).sum();
        // What all places are places of, and which frame of it is the place 0.
        let (played, zero) = match (&self.loudspeaker, self.begin, &self.reference) {
            (Some(stream), Some(begin), _) => (stream, begin),
            (_, _, Some(stream)) => (stream, LEAD),
            _ => (&self.microphone, LEAD),
        };
        let start = |stream: &Stream| {
            let place = pace::played_at(LEAD as f64, &stream.points, &played.points);
            // Once a device slipped, its places are noted no longer; where they are too few, of a take that has no
            // number anyway, both are taken to have begun at once.
            let place = place.or((slips > 0).then_some(LEAD as f64)).ok_or_else(|| {
                // Whichever of the two told less.
                let few = if stream.points.len() < played.points.len() { stream } else { played };
                let detail = format!("{} told too seldom where it stood to say when sound was taken", few.opened);
                Failure::new(Reason::Stalled, detail)
            });
            Ok::<_, Failure>(place? - zero as f64)
        };
        let reference = self.reference.as_ref();
        Ok(Course {
            microphone: self.microphone.kept(),
            microphone_start: start(&self.microphone)?,
            reference: reference.map(|stream| Ok::<_, Failure>((stream.kept(), start(stream)?))).transpose()?,
            slips,
        })
    }
}

/// What the library has to say would go to our error output; the failures say it.
fn silence_library() {
    // It stays in force for this thread, on which all of this runs.
    let _ = Output::local_error_handler();
}

#[cfg(test)]
mod tests;
