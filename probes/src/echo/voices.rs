//! Sounds of rooms: a voice, many voices, music. Synthesised, for tests.

use std::f64::consts::{PI, TAU};

use super::{
    RATE,
    room::{pink, unit, white},
};

/// A voice that speaks for `length` samples: syllables of vowels and of hisses, with pauses between some. Its
/// root mean square is 1.
pub(crate) fn voice(length: usize, seed: u64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let rate = f64::from(RATE);
    let base = 100.0 + 110.0 * random.f64();
    let mut out = Vec::with_capacity(length + 48_000);
    let mut phase = 0.0_f64;
    while out.len() < length {
        if random.f64() < 0.12 {
            // Between sentences.
            out.resize(out.len() + ((0.2 + 0.6 * random.f64()) * rate) as usize, 0.0);
        }
        let hiss = white(((0.03 + 0.1 * random.f64()) * rate) as usize, random.u64(..));
        let centre = 1800.0 + 4500.0 * random.f64();
        let loud = 0.05 + 0.3 * random.f64();
        append(&mut out, &resonant(&hiss, &[(centre, 1500.0)]), loud);
        let count = ((0.08 + 0.2 * random.f64()) * rate) as usize;
        let (from, to) = (0.8 + 0.4 * random.f64(), 0.8 + 0.4 * random.f64());
        let breath = white(count, random.u64(..));
        let source: Vec<f64> = (0..count)
            .map(|n| {
                let pitch = base * (from + (to - from) * n as f64 / count as f64);
                phase += pitch / rate;
                // A pulse of the vocal folds: its flow breaks off.
                let place = phase.fract();
                let flow = if place < 0.6 { (PI * place / 0.6).sin().powi(2) * place } else { 0.0 };
                flow + 0.01 * breath[n]
            })
            .collect();
        let source: Vec<f64> = source.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let formants = [
            (300.0 + 500.0 * random.f64(), 80.0),
            (900.0 + 1300.0 * random.f64(), 110.0),
            (2300.0 + 500.0 * random.f64(), 160.0),
            (3300.0 + 500.0 * random.f64(), 250.0),
        ];
        let loud = 0.5 + random.f64();
        append(&mut out, &resonant(&source, &formants), loud);
    }
    out.truncate(length);
    unit(out)
}

/// Six voices at once.
pub(crate) fn babble(length: usize, seed: u64) -> Vec<f64> {
    let mut sum = vec![0.0; length];
    for number in 0..6 {
        let voice = voice(length, seed.wrapping_mul(31).wrapping_add(number));
        sum.iter_mut().zip(voice).for_each(|(sum, voice)| *sum += voice);
    }
    unit(sum)
}

/// Chords of decaying strings, four a second, over a beat of noise.
pub(crate) fn music(length: usize, seed: u64) -> Vec<f64> {
    const STRINGS: usize = 3;
    const HARMONICS: usize = 11;
    let mut random = fastrand::Rng::with_seed(seed);
    let rate = f64::from(RATE);
    let mut out = vec![0.0; length];
    let drum = pink(length, seed);
    for begin in (0..length).step_by(12_000) {
        // All turn and decay side by side, each by its own step.
        let (mut value, mut step) = ([[0.0; STRINGS * HARMONICS]; 2], [[0.0; STRINGS * HARMONICS]; 2]);
        for string in 0..STRINGS {
            let pitch = 110.0 * 2f64.powf(f64::from(random.u32(..30)) / 12.0);
            for harmonic in 1..=HARMONICS {
                let place = string * HARMONICS + harmonic - 1;
                let (gain, turn) = (1.0 / harmonic as f64, TAU * random.f64());
                let (decay, angle) = ((-4.0 / rate).exp(), TAU * pitch * harmonic as f64 / rate);
                (value[0][place], value[1][place]) = (gain * turn.cos(), gain * turn.sin());
                (step[0][place], step[1][place]) = (decay * angle.cos(), decay * angle.sin());
            }
        }
        for sample in out[begin..].iter_mut().take(48_000) {
            *sample += value[1].iter().sum::<f64>();
            for place in 0..STRINGS * HARMONICS {
                let (re, im) = (value[0][place], value[1][place]);
                value[0][place] = re * step[0][place] - im * step[1][place];
                value[1][place] = re * step[1][place] + im * step[0][place];
            }
        }
        let beat = drum[begin..].iter().zip(&mut out[begin..]).take(6000).enumerate();
        beat.for_each(|(n, (drum, sample))| *sample += drum * (-(n as f64) / 1000.0).exp());
    }
    unit(out)
}

/// Appends a sound scaled to a root mean square, with soft ends.
fn append(out: &mut Vec<f64>, sound: &[f64], level: f64) {
    let sound = unit(sound.to_vec());
    let length = sound.len();
    out.extend(sound.iter().enumerate().map(|(n, x)| {
        let edge = n.min(length - 1 - n) as f64 / 700.0;
        level * x * if edge < 1.0 { 0.5 - 0.5 * (PI * edge).cos() } else { 1.0 }
    }));
}

/// Through resonances of a centre and a width in hertz, one after the other.
fn resonant(samples: &[f64], resonances: &[(f64, f64)]) -> Vec<f64> {
    let mut out = samples.to_vec();
    for (centre, width) in resonances {
        let radius = (-PI * width / f64::from(RATE)).exp();
        let (first, second) = (2.0 * radius * (TAU * centre / f64::from(RATE)).cos(), -radius * radius);
        let (mut one, mut two) = (0.0, 0.0);
        for sample in &mut out {
            let now = *sample + first * one + second * two;
            (two, one) = (one, now);
            *sample = now;
        }
    }
    out
}
