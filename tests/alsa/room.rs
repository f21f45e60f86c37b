//! A room between two sound cards: what one gives is played on the other, later and softer. For the test of
//! ALSA devices, where the kernel's loopback card has a cable to each.
//!
//! ```text
//! room CAPTURE PLAYBACK CHANNELS BITS
//! ```
//! It prints `ready` once it runs, and ends with its input. A line `SAMPLES DECIBELS` on its input is how late
//! and how loud the sound is from now on, beside the time that the room needs by itself; with a third word
//! AFTER, from so many samples on after it next hears something. Once that is so, it is answered by `set SLIPS`.
//!
//! SLIPS is how often a device ran out of sound, or of room for it, since the room began. Both devices are then
//! started again, and the time that the room needs by itself is another one from there on.

#![expect(clippy::print_stdout, reason = "it answers there")]

use std::{
    error::Error,
    io::{self, BufRead},
    sync::mpsc::{self, TryRecvError},
    thread,
};

use alsa::{
    Direction, PCM, ValueOr,
    pcm::{Access, Format, HwParams},
};

/// Frames at once: 10 ms.
const PERIOD: usize = 480;
/// Frames that a device holds, where it can: 1.5 s.
const HELD: usize = 150 * PERIOD;
/// Frames that wait to be played, so that a late turn does no harm: 0.6 s. With the longest delay that is less
/// than the 1.5 s after which an echo is not told from that of the next sweep.
const AHEAD: usize = 60 * PERIOD;
/// The longest delay, in samples.
const LONGEST: usize = 24_000;
/// What a device says that ran out of sound, or of room for it.
const SLIPPED: i32 = libc::EPIPE;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [capture, playback, channels, bits] = words.as_slice() else {
        return Err("expected CAPTURE PLAYBACK CHANNELS BITS".into());
    };
    let frames = Frames { channels: channels.parse()?, width: if bits == "32" { 4 } else { 2 } };
    let capture = open(capture, Direction::Capture, frames)?;
    let playback = open(playback, Direction::Playback, frames)?;
    let settings = settings();

    let mut air = Air::new();
    let mut bytes = vec![0; PERIOD * frames.bytes()];
    let mut slips = 0;
    start(&capture, &playback, frames)?;
    println!("ready");
    loop {
        match settings.try_recv() {
            Ok(setting) => air.next = Some(setting),
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {}
        }
        let turned = whole(&mut bytes, frames, |rest| capture.io_bytes().readi(rest)).and_then(|()| {
            let is_set = air.pass(&mut bytes, frames);
            whole(&mut bytes, frames, |rest| playback.io_bytes().writei(rest)).map(|()| is_set)
        });
        match turned {
            Ok(true) => println!("set {slips}"),
            Ok(false) => {}
            Err(error) if error.errno() == SLIPPED => {
                slips += 1;
                start(&capture, &playback, frames)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// How a device's frames are made up: samples of a frame, and bytes of a sample.
#[derive(Clone, Copy)]
struct Frames {
    channels: usize,
    width: usize,
}

impl Frames {
    fn bytes(self) -> usize {
        self.channels * self.width
    }
}

/// How late and how loud the sound is.
#[derive(Clone, Copy)]
struct Setting {
    samples: usize,
    gain: f64,
    /// Samples until it is so.
    after: usize,
    /// Whether they are counted; if not, they will be from the next sound on.
    is_counting: bool,
}

/// What a sound goes through.
struct Air {
    /// What was heard last, in a circle; `head` is where the next goes.
    line: Vec<f64>,
    head: usize,
    now: Setting,
    next: Option<Setting>,
}

impl Air {
    fn new() -> Self {
        let now = Setting { samples: 0, gain: 0.0, after: 0, is_counting: true };
        Self { line: vec![0.0; LONGEST + 1], head: 0, now, next: None }
    }

    /// Makes frames that go of those that came; true if a setting came into force. Into the air goes what is on
    /// the first channel; out of it comes one microphone.
    fn pass(&mut self, bytes: &mut [u8], frames: Frames) -> bool {
        let mut is_set = false;
        for frame in bytes.chunks_exact_mut(frames.bytes()) {
            let sample = match *frame {
                [a, b, c, d, ..] if frames.width == 4 => f64::from(i32::from_ne_bytes([a, b, c, d])),
                [a, b, ..] => f64::from(i16::from_ne_bytes([a, b])),
                _ => 0.0,
            };
            is_set |= self.turn(sample);
            self.line[self.head] = sample;
            let heard = self.line[(self.head + self.line.len() - self.now.samples) % self.line.len()];
            self.head = (self.head + 1) % self.line.len();
            let heard = (self.now.gain * heard).round();
            for channel in frame.chunks_exact_mut(frames.width) {
                match frames.width {
                    4 => channel.copy_from_slice(&(heard as i32).to_ne_bytes()),
                    _ => channel.copy_from_slice(&(heard as i16).to_ne_bytes()),
                }
            }
        }
        is_set
    }

    /// Brings the next setting into force if this sample is its first.
    fn turn(&mut self, sample: f64) -> bool {
        let Some(next) = &mut self.next else { return false };
        next.is_counting |= sample != 0.0;
        if !next.is_counting {
            return false;
        }
        if next.after > 0 {
            next.after -= 1;
            return false;
        }
        self.now = *next;
        self.next = None;
        true
    }
}

/// Reads or writes all of it.
fn whole(
    bytes: &mut [u8],
    frames: Frames,
    mut turn: impl FnMut(&mut [u8]) -> Result<usize, alsa::Error>,
) -> Result<(), alsa::Error> {
    let mut done = 0;
    while done < bytes.len() {
        done += frames.bytes() * turn(&mut bytes[done..])?;
    }
    Ok(())
}

/// Starts both devices, with silence ahead.
fn start(capture: &PCM, playback: &PCM, frames: Frames) -> Result<(), alsa::Error> {
    for device in [capture, playback] {
        device.drop()?;
        device.prepare()?;
    }
    let mut silence = vec![0; AHEAD * frames.bytes()];
    whole(&mut silence, frames, |rest| playback.io_bytes().writei(rest))?;
    capture.start()?;
    playback.start()
}

/// What comes in on standard input. A line that is none of ours ends it, as its own end does.
fn settings() -> mpsc::Receiver<Setting> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let Some(setting) = setting(&line) else { return };
            if sender.send(setting).is_err() {
                return;
            }
        }
    });
    receiver
}

fn setting(line: &str) -> Option<Setting> {
    let mut words = line.split_whitespace();
    let samples = words.next()?.parse().ok().filter(|samples| *samples <= LONGEST)?;
    let decibels: f64 = words.next()?.parse().ok()?;
    let after: Option<usize> = words.next().map(str::parse).transpose().ok()?;
    let gain = 10f64.powf(decibels / 20.0);
    Some(Setting { samples, gain, after: after.unwrap_or(0), is_counting: after.is_none() })
}

fn open(name: &str, direction: Direction, frames: Frames) -> Result<PCM, Box<dyn Error>> {
    let pcm = PCM::new(name, direction, false).map_err(|error| format!("{name}: {error}"))?;
    {
        let hardware = HwParams::any(&pcm)?;
        hardware.set_access(Access::RWInterleaved)?;
        hardware.set_rate(48_000, ValueOr::Nearest)?;
        hardware.set_format(if frames.width == 4 { Format::s32() } else { Format::s16() })?;
        hardware.set_channels(frames.channels as u32)?;
        hardware.set_period_size_near(PERIOD as i64, ValueOr::Nearest)?;
        let held = hardware.set_buffer_size_near(HELD as i64)?;
        if held < (AHEAD + PERIOD) as i64 {
            return Err(
                format!("{name}: found room for {held} frames, expected {} at the least", AHEAD + PERIOD).into()
            );
        }
        pcm.hw_params(&hardware)?;
        let software = pcm.sw_params_current()?;
        let never = software.get_boundary()?;
        software.set_start_threshold(never)?;
        pcm.sw_params(&software)?;
    }
    Ok(pcm)
}
