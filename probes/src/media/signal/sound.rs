//! The test sound: a coded chirp ("marker") at each whole second over fresh dither, and between
//! markers, in turns of ten seconds, what a line is judged by: speech-like sound in the first seven at
//! -26 dBFS, a sweep at -20 dBFS, a second of dither alone, and a step of speech-like sound from -36 to
//! -16 dBFS. Levels are root mean squares over the active part.
//!
//! A marker is a linear chirp from 500 to 4000 Hz, 100 ms long; upwards it means 1, time-reversed
//! it means 0. The bits follow a de Bruijn sequence, so any five markers in a row name their place
//! in 32 seconds. The dither makes every Opus packet differ from every other, so that packets can
//! be told by a hash of their payload; hence it is drawn anew and never repeats.

use std::f64::consts::{PI, TAU};

use rustfft::num_complex::Complex32;

use super::speech::{SWEEP, Speech, sweep};

/// Samples per second.
pub const RATE: u32 = 48_000;
/// Samples of one block: 20 ms, one Opus frame.
pub const BLOCK: usize = 960;
/// Blocks per marker period of one second.
const BLOCKS_PER_MARKER: u64 = 50;
/// Samples of a marker.
pub(super) const MARKER: usize = 4800;
/// Samples of each raised-cosine end of a marker.
const RAMP: usize = 480;
/// Root mean square of a marker over its 100 ms: -20 dBFS.
const MARKER_RMS: f64 = 0.1;
/// Half the width of the uniform dither: √3 times its root mean square of -70 dBFS.
const DITHER_PEAK: f32 = 5.477e-4;

/// Samples after which the sound between two markers begins: 150 ms.
const BETWEEN: usize = 7200;
/// Numbers of composite sources that a second has for itself.
const UNITS: u64 = 4;
/// Samples of the step's lower half.
const STEP: usize = SWEEP / 2;

/// De Bruijn sequence B(2,5), first marker first: each five consecutive bits occur once in 32.
const BITS: u32 = 0b0000_0100_0110_0101_0011_1010_1101_1111;

/// Whether marker `index` of the test signal is an up-chirp.
pub fn is_up(index: u64) -> bool {
    BITS >> (31 - index % 32) & 1 == 1
}

/// The marker that begins with block `block`: its index and direction.
pub fn marker_at(block: u64) -> Option<(u64, bool)> {
    block.is_multiple_of(BLOCKS_PER_MARKER).then_some(block / BLOCKS_PER_MARKER).map(|index| (index, is_up(index)))
}

/// The up-chirp at `rate` samples per second as (sine, cosine) parts of equal energy.
pub(super) fn chirp(rate: f64) -> Vec<Complex32> {
    let length = MARKER as f64 * rate / f64::from(RATE);
    let (ramp, seconds) = (RAMP as f64 * rate / f64::from(RATE), length / rate);
    let sample = |n: usize| {
        // Position n is the instant n / rate: marker positions are instants of first samples.
        let t = n as f64 / rate;
        let phase = TAU * (500.0 * t + (4000.0 - 500.0) * t * t / (2.0 * seconds));
        let edge = (n as f64 + 0.5).min(length - n as f64 - 0.5);
        let window = if edge < ramp { 0.5 - 0.5 * (PI * edge / ramp).cos() } else { 1.0 };
        (window * phase.sin(), window * phase.cos())
    };
    let samples: Vec<(f64, f64)> = (0..length as usize).map(sample).collect();
    let power = samples.iter().map(|(sin, _)| sin * sin).sum::<f64>() / length;
    let gain = MARKER_RMS / power.sqrt();
    samples.iter().map(|(sin, cos)| Complex32 { re: (gain * sin) as f32, im: (gain * cos) as f32 }).collect()
}

/// Generates the test sound.
#[derive(Debug)]
pub struct Source {
    chirp: Vec<Complex32>,
    speech: Speech,
    dither: fastrand::Rng,
}

impl Source {
    /// A source whose dither is drawn from `dither`.
    pub fn new(dither: fastrand::Rng) -> Self {
        Self { chirp: chirp(f64::from(RATE)), speech: Speech::default(), dither }
    }

    /// Fills `out` with block `index` of the signal, mono, full scale ±1. All but the dither depends on
    /// the index alone; the dither is new at each call.
    pub fn block(&mut self, index: u64, out: &mut [f32; BLOCK]) {
        let (second, start) = (index / BLOCKS_PER_MARKER, (index % BLOCKS_PER_MARKER) as usize * BLOCK);
        for (at, sample) in (start..).zip(out) {
            let dither = (self.dither.f32() * 2.0 - 1.0) * DITHER_PEAK;
            *sample = dither + self.marker(second, at) + self.between(second, at);
        }
    }

    /// Sample `at` of the marker of a second.
    fn marker(&self, second: u64, at: usize) -> f32 {
        let place = if is_up(second) { Some(at) } else { (MARKER - 1).checked_sub(at) };
        place.and_then(|place| self.chirp.get(place)).map_or(0.0, |chirp| chirp.re)
    }

    /// Sample `at` of a second, but for its marker.
    fn between(&mut self, second: u64, at: usize) -> f32 {
        let Some(at) = at.checked_sub(BETWEEN).filter(|at| *at < SWEEP) else { return 0.0 };
        let first = second * UNITS;
        match second % 10 {
            0..7 => level(-26.0) * self.speech.at(first, at, SWEEP),
            7 => level(-20.0) * sweep(second, at),
            8 => 0.0,
            _ if at < STEP => level(-36.0) * self.speech.at(first, at, STEP),
            _ => level(-16.0) * self.speech.at(first + UNITS / 2, at - STEP, STEP),
        }
    }
}

/// The root mean square of a level in dBFS, where a full-scale sine has -3.01 dBFS.
fn level(dbfs: f32) -> f32 {
    10.0_f32.powf(dbfs / 20.0)
}

/// `blocks` blocks of the test sound.
#[cfg(test)]
pub(super) fn sound(blocks: u64) -> Vec<f32> {
    let mut source = Source::new(fastrand::Rng::with_seed(7));
    let mut block = [0.0; BLOCK];
    let mut samples = Vec::new();
    for index in 0..blocks {
        source.block(index, &mut block);
        samples.extend_from_slice(&block);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms(samples: &[f32]) -> f64 {
        (samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn five_bits_name_their_place() {
        let words: std::collections::HashSet<u32> =
            (0..32).map(|at| (0..5).fold(0, |word, i| word << 1 | u32::from(is_up(at + i)))).collect();
        assert_eq!(words.len(), 32);
        let text: String = (0..32).map(|at| if is_up(at) { '1' } else { '0' }).collect();
        assert_eq!(text, "00000100011001010011101011011111");
    }

    #[test]
    fn levels_are_as_specified() {
        let samples = sound(500);
        // From a tenth of a second after the marker of a second to where the sound after it ends.
        let db = |second: usize, from: usize, length: usize| {
            let first = second * 48_000 + from;
            20.0 * rms(&samples[first..first + length]).log10()
        };
        for second in 0..10 {
            assert!((db(second, 0, MARKER) + 20.0).abs() < 0.05, "marker {second}");
            assert!((db(second, MARKER, BETWEEN - MARKER) + 70.0).abs() < 0.2, "dither {second}");
        }
        // A composite source of 350 ms is active for 249 ms: 1.5 dB less over its whole.
        for second in 0..7 {
            assert!(
                (db(second, BETWEEN, 33_600) + 27.5).abs() < 0.3,
                "speech {second}: {}",
                db(second, BETWEEN, 33_600)
            );
        }
        assert!((db(7, BETWEEN, SWEEP) + 20.0).abs() < 0.2, "sweep");
        assert!((db(8, MARKER, 48_000 - MARKER) + 70.0).abs() < 0.1, "quiet");
        let step = db(9, BETWEEN + STEP, STEP) - db(9, BETWEEN, STEP);
        assert!((step - 20.0).abs() < 0.1, "step {step} dB");
        assert!(samples.iter().all(|x| x.abs() < 0.95), "no sample near full scale");
        assert!(samples.iter().any(|x| x.abs() > 0.3), "but the line is used");
    }

    #[test]
    fn dither_never_repeats_even_for_the_same_block() {
        let mut source = Source::new(fastrand::Rng::with_seed(1));
        let (mut first, mut second) = ([0.0; BLOCK], [0.0; BLOCK]);
        source.block(20, &mut first);
        source.block(20, &mut second);
        let same = first.iter().zip(&second).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
        assert!(same < BLOCK / 100, "{same} samples repeat");
    }
}
