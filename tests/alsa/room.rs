//! A room between two sound cards: what one gives is played on the other, later and softer. For the test of
//! ALSA devices, where the kernel's loopback card has a cable to each.
//!
//! ```text
//! room CAPTURE PLAYBACK CHANNELS BITS
//! ```
//! It prints `ready` once it runs. From then on a line `SAMPLES DECIBELS` on its input is how late and how
//! loud the sound is from now on, and is answered by `set`; it ends with its input. It runs evenly or not at all: if a
//! device ran out of sound, or of room for it, it says so and ends.

use std::{
    collections::VecDeque,
    error::Error,
    io::{self, BufRead},
    sync::mpsc,
    thread,
};

use alsa::{
    Direction, PCM, ValueOr,
    pcm::{Access, Format, HwParams},
};

/// Frames at once: 10 ms.
const PERIOD: usize = 480;
/// Frames that wait to be played, so that a late turn does no harm: 150 ms.
const AHEAD: usize = 15 * PERIOD;
/// The longest delay, in samples.
const LONGEST: usize = 48_000;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [capture, playback, channels, bits] = words.as_slice() else {
        return Err("expected CAPTURE PLAYBACK CHANNELS BITS".into());
    };
    let channels: usize = channels.parse()?;
    let format = if bits == "32" { Format::s32() } else { Format::s16() };
    let (capture, playback) =
        (open(capture, Direction::Capture, channels, format)?, open(playback, Direction::Playback, channels, format)?);
    let settings = settings();

    let frame = channels * if bits == "32" { 4 } else { 2 };
    let mut line: VecDeque<f64> = vec![0.0; LONGEST + 1].into();
    let (mut delay, mut gain) = (0, 0.0);
    let mut bytes = vec![0; PERIOD * frame];
    for _ in 0..AHEAD / PERIOD {
        playback.io_bytes().writei(&bytes)?;
    }
    capture.start()?;
    playback.start()?;
    println!("ready");
    loop {
        match settings.try_recv() {
            Ok(Some((samples, decibels))) => {
                delay = usize::min(samples, LONGEST);
                gain = 10f64.powf(decibels / 20.0);
                println!("set");
            }
            Ok(None) => return Ok(()),
            Err(_) => {}
        }
        let mut taken = 0;
        while taken < PERIOD {
            taken += capture.io_bytes().readi(&mut bytes[taken * frame..])?;
        }
        for frame in bytes.chunks_exact_mut(frame) {
            // Into the room's air goes what is on the first channel; out of it comes one microphone.
            let sample = match frame.len() / channels {
                4 => f64::from(i32::from_ne_bytes([frame[0], frame[1], frame[2], frame[3]])),
                _ => f64::from(i16::from_ne_bytes([frame[0], frame[1]])),
            };
            line.push_front(sample);
            line.truncate(LONGEST + 1);
            let heard = (gain * line[delay]).round();
            let width = frame.len() / channels;
            for channel in frame.chunks_exact_mut(width) {
                match width {
                    4 => channel.copy_from_slice(&(heard as i32).to_ne_bytes()),
                    _ => channel.copy_from_slice(&(heard as i16).to_ne_bytes()),
                }
            }
        }
        let mut given = 0;
        while given < PERIOD {
            given += playback.io_bytes().writei(&bytes[given * frame..])?;
        }
    }
}

/// What comes in on standard input; `None` is its end.
fn settings() -> mpsc::Receiver<Option<(usize, f64)>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let parsed =
                line.split_once(' ').and_then(|(samples, gain)| Some((samples.parse().ok()?, gain.parse().ok()?)));
            if parsed.is_some() && sender.send(parsed).is_err() {
                return;
            }
        }
        let _ = sender.send(None);
    });
    receiver
}

fn open(name: &str, direction: Direction, channels: usize, format: Format) -> Result<PCM, Box<dyn Error>> {
    let pcm = PCM::new(name, direction, false).map_err(|error| format!("{name}: {error}"))?;
    {
        let hardware = HwParams::any(&pcm)?;
        hardware.set_access(Access::RWInterleaved)?;
        hardware.set_rate(48_000, ValueOr::Nearest)?;
        hardware.set_format(format)?;
        hardware.set_channels(channels as u32)?;
        hardware.set_period_size_near(PERIOD as i64, ValueOr::Nearest)?;
        hardware.set_buffer_size_near(48_000)?;
        pcm.hw_params(&hardware)?;
        let software = pcm.sw_params_current()?;
        let never = software.get_boundary()?;
        software.set_start_threshold(never)?;
        pcm.sw_params(&software)?;
    }
    Ok(pcm)
}
