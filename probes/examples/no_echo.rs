//! How clear an echo seems where there is none: 900 takes of the silent form and 900 calls in which what is
//! played and what is heard have nothing in common. The gates of both forms stand above the clearest of them.
//!
//! `cargo run --release -p bellwether-probes --example no_echo` takes minutes of all cores; it fails if an echo is
//! found.

#![allow(missing_docs, reason = "a table")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "modules of the crate, of which only some is measured")]
#![allow(clippy::print_stdout, reason = "a table")]

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use bellwether_probes::Reason;

use echo::{
    RATE, passive, returned,
    room::{converted, pink, white, with},
    take::Line,
    voices::{babble, music, voice},
};

/// The analyses are no part of the crate's interface, so they are taken by their files.
#[path = "../src/echo"]
mod echo {
    pub(crate) const RATE: u32 = 48_000;

    mod bands;
    mod findings;
    mod lag;
    pub(crate) mod passive;
    mod rating;
    pub(crate) mod returned;
    pub(crate) mod room;
    mod scratch;
    mod spectrum;
    pub(crate) mod take;
    mod talk;
    pub(crate) mod voices;
}

/// What is spoken in a call.
#[path = "../src/media"]
mod media {
    #[path = "signal"]
    pub(crate) mod signal {
        pub(crate) mod sound {
            pub(crate) const RATE: u32 = 48_000;
        }
        pub(crate) mod speech;
    }
}

const TRIALS: u64 = 900;
/// The shortest of both forms, in samples: the longer one listens, the less does chance agree.
const SILENT: usize = 11 * RATE as usize;
const CALL: usize = 29 * RATE as usize;

type Sound = (&'static str, fn(usize, u64) -> Vec<f64>);
const PLAYED: [Sound; 3] = [("voice", voice), ("music", music), ("babble", babble)];
const HEARD: [Sound; 5] =
    [("white noise", white), ("pink noise", pink), ("babble", babble), ("voice", voice), ("music", music)];

/// What is heard in trial `number`: at −26 dBFS, in the noise that no microphone is without.
fn heard(number: u64, length: usize) -> (&'static str, Vec<i16>) {
    let (name, sound) = HEARD[number as usize % HEARD.len()];
    let sound = with(&vec![0.0; length], &sound(length, 1_000_000 + number), -26.0);
    (name, converted(&with(&sound, &white(length, number), -70.0)))
}

/// What was found of one trial.
struct Trial {
    /// How far its best lag stands above all others, in decibels.
    clearness: f64,
    is_slip: bool,
    what: String,
}

fn silent(number: u64) -> Trial {
    let (name, sound) = PLAYED[number as usize / HEARD.len() % PLAYED.len()];
    let played = converted(&with(&vec![0.0; SILENT], &sound(SILENT, number), -26.0));
    let (other, heard) = heard(number, SILENT);
    let (peak, is_slip) = passive::search(&played, &Line { samples: &heard, start: 0.0 });
    Trial { clearness: peak.map_or(0.0, |peak| peak.clearness), is_slip, what: format!("{name} and {other}") }
}

fn call(number: u64) -> Trial {
    let (name, heard) = heard(number, CALL);
    let peak = returned::search(&Line { samples: &heard, start: 0.0 }, CALL as u64);
    Trial { clearness: peak.map_or(0.0, |peak| peak.clearness), is_slip: false, what: name.to_owned() }
}

/// Runs all trials on all cores, and prints what they show. Whether no echo was found.
fn run(form: &str, gate: f64, trial: fn(u64) -> Trial) -> bool {
    let next = AtomicU64::new(0);
    let some = || {
        let mine = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < TRIALS));
        mine.map(trial).collect::<Vec<_>>()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut trials: Vec<Trial> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a trial does not panic")).collect()
    });
    trials.sort_by(|one, other| one.clearness.total_cmp(&other.clearness));
    let at = |share: f64| trials[(share * (trials.len() - 1) as f64) as usize].clearness;
    let found = trials.iter().filter(|trial| trial.clearness >= gate).count();
    let slips = trials.iter().filter(|trial| trial.is_slip).count();
    println!(
        "{form}: {} trials, of which half are below {:.2} dB, 99 % below {:.2} dB",
        trials.len(),
        at(0.5),
        at(0.99)
    );
    for trial in trials.iter().rev().take(5) {
        println!("    {:.2} dB: {}", trial.clearness, trial.what);
    }
    println!("    {found} above the gate of {gate} dB, {slips} taken for a slip");
    found == 0 && slips == 0
}

fn main() -> ExitCode {
    let silent = run("silent form", passive::GATE, silent);
    let call = run("call", returned::GATE, call);
    if silent && call { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
