//! What the active and the quiet form play: exponential sweeps (Farina 2000), which tell the linear response
//! of loudspeaker, room and microphone from their distortion.

use std::f64::consts::{SQRT_2, TAU};

use super::{RATE, spectrum::raised_cosine};

/// Edges of a sweep in hertz.
pub(crate) const BAND: (f64, f64) = (200.0, 7000.0);
/// Samples of silence before the first sweep: the room's noise is heard there.
pub(crate) const LEAD: usize = RATE as usize / 2;
/// Samples of a sweep.
pub(crate) const SWEEP: usize = RATE as usize;
/// Samples from the begin of a sweep to that of the next.
pub(crate) const PERIOD: usize = 3 * RATE as usize / 2;
/// Samples of the sweep that the reverberation time is read from.
pub(crate) const LONG: usize = 2 * RATE as usize;
/// Samples of silence after all.
pub(crate) const TAIL: usize = RATE as usize;
/// Samples of a sweep's raised-cosine ends.
const RAMP: usize = RATE as usize / 100;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sweeps {
    /// Sweeps of 1 s.
    pub(crate) count: u32,
    /// Root mean square of a sweep in decibels below full scale (negative); a sine at full scale has −3.01.
    pub(crate) level: f64,
    /// Whether a sweep of 2 s follows, for the reverberation time.
    pub(crate) reverberation: bool,
}

impl Sweeps {
    /// Samples of all: 0.5 s of silence, `count` periods of 1.5 s, the sweep of 2 s if any, 1 s of silence.
    pub(crate) fn length(&self) -> usize {
        self.long_begins() + if self.reverberation { LONG } else { 0 } + TAIL
    }

    /// Where the sweeps of 1 s begin, in samples.
    pub(crate) fn begins(&self) -> impl Iterator<Item = usize> {
        (0..self.count as usize).map(|number| LEAD + number * PERIOD)
    }

    /// Where the sweeps of 1 s have ended, and that of 2 s begins if there is one.
    pub(crate) fn long_begins(&self) -> usize {
        LEAD + self.count as usize * PERIOD
    }

    /// Samples from `from` on, as they are played; silence beyond the end. The same for the same places,
    /// however they are asked for.
    pub(crate) fn play(&self, from: usize, out: &mut [i16]) {
        let gain = self.gain() * 32_768.0;
        for (n, sample) in out.iter_mut().enumerate() {
            let place = from.saturating_add(n);
            *sample = match self.sounding(place) {
                // Dithered, so that a sweep of a few steps of the converter is not distorted by them.
                Some((at, length)) => {
                    let value = gain * sweep(at as f64, length) + dither(place);
                    value.round().clamp(-32_768.0, 32_767.0) as i16
                }
                None => 0,
            };
        }
    }

    /// Root mean square of a sweep as a share of full scale.
    pub(crate) fn gain(&self) -> f64 {
        let level = if self.level.is_finite() { self.level } else { f64::NEG_INFINITY };
        10f64.powf(level.min(0.0) / 20.0)
    }

    /// The sample of its sweep that stands at `place`, and the samples of that sweep.
    fn sounding(&self, place: usize) -> Option<(usize, usize)> {
        let after = place.checked_sub(LEAD)?;
        let long = self.long_begins();
        if place < long {
            let at = after % PERIOD;
            (at < SWEEP).then_some((at, SWEEP))
        } else {
            (self.reverberation && place - long < LONG).then_some((place - long, LONG))
        }
    }
}

/// An exponential sweep over [`BAND`] of `length` samples at sample `at`, which need not be whole; its root
/// mean square is 1. Nothing outside.
pub(crate) fn sweep(at: f64, length: usize) -> f64 {
    let length = length as f64;
    if !(0.0..length).contains(&at) {
        return 0.0;
    }
    let ratio = (BAND.1 / BAND.0).ln();
    let seconds = length / f64::from(RATE);
    let phase = TAU * BAND.0 * seconds / ratio * ((at / length * ratio).exp() - 1.0);
    // A raised cosine has three eighths of the power.
    let power = 1.0 - 2.0 * RAMP as f64 * 0.625 / length;
    SQRT_2 / power.sqrt() * phase.sin() * end(at) * end(length - at)
}

/// The gain `at` samples inside of an end.
fn end(at: f64) -> f64 {
    let whole = at.floor();
    let (before, after) = (raised_cosine(whole as usize, RAMP), raised_cosine(whole as usize + 1, RAMP));
    before + (after - before) * (at - whole)
}

/// Triangular dither of one step to each side at `place`: two even numbers of a hash of the place
/// (the finaliser of SplitMix64), so that it needs no state.
fn dither(place: usize) -> f64 {
    let mut hash = (place as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let even = |bits: u32| f64::from(bits) / f64::from(u32::MAX);
    even((hash >> 32) as u32) - even(hash as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWEEPS: Sweeps = Sweeps { count: 4, level: -20.0, reverberation: true };

    fn all(sweeps: &Sweeps) -> Vec<f64> {
        let mut samples = vec![0; sweeps.length()];
        sweeps.play(0, &mut samples);
        samples.iter().map(|x| f64::from(*x) / 32_768.0).collect()
    }

    fn level(samples: &[f64]) -> f64 {
        crate::echo::room::level(samples)
    }

    #[test]
    fn sweeps_stand_where_they_are_said_to_be_at_their_level_with_silence_around() {
        assert_eq!(SWEEPS.length(), 24_000 + 4 * 72_000 + 96_000 + 48_000);
        assert_eq!(Sweeps { reverberation: false, ..SWEEPS }.length(), 360_000);
        let samples = all(&SWEEPS);
        let begins: Vec<usize> = SWEEPS.begins().collect();
        assert_eq!(begins, [24_000, 96_000, 168_000, 240_000]);
        for (from, length) in begins.iter().map(|begin| (*begin, SWEEP)).chain([(SWEEPS.long_begins(), LONG)]) {
            assert!((level(&samples[from..from + length]) + 20.0).abs() < 0.01);
            let is_silent = |range: std::ops::Range<usize>| samples[range].iter().all(|x| x.abs() < 1e-9);
            assert!(is_silent(from - 24_000..from));
            assert!(from == SWEEPS.long_begins() || is_silent(from + length..from + length + 24_000));
        }
        assert!(samples[samples.len() - TAIL..].iter().all(|x| x.abs() < 1e-9));
    }

    #[test]
    fn what_is_played_does_not_depend_on_how_it_is_asked_for() {
        let whole = all(&SWEEPS);
        for step in [1009, 480, 65_536] {
            for from in (0..whole.len() + 3 * step).step_by(step) {
                let mut part = vec![1; step];
                SWEEPS.play(from, &mut part);
                for (n, sample) in part.iter().enumerate() {
                    let want = whole.get(from + n).copied().unwrap_or(0.0);
                    assert!((f64::from(*sample) / 32_768.0 - want).abs() < 1e-9);
                }
            }
        }
        let mut beyond = [1; 4];
        SWEEPS.play(usize::MAX - 1, &mut beyond);
        assert_eq!(beyond, [0; 4]);
    }

    #[test]
    fn a_sweep_is_at_the_middle_of_its_band_at_half_of_its_time_and_ends_softly() {
        let rising = |from: usize| {
            (from..from + 480).filter(|n| sweep(*n as f64, SWEEP) < 0.0 && sweep(*n as f64 + 1.0, SWEEP) >= 0.0)
        };
        let middle = (BAND.0 * BAND.1).sqrt();
        assert!((rising(SWEEP / 2 - 240).count() as f64 - middle / 100.0).abs() <= 1.0);
        assert!(sweep(-0.1, SWEEP).abs() < 1e-12 && sweep(SWEEP as f64, SWEEP).abs() < 1e-12);
        assert!((0..24).all(|n| sweep(f64::from(n), SWEEP).abs() < 0.02));
        assert!((0..24).all(|n| sweep((SWEEP - n) as f64, SWEEP).abs() < 0.02));
    }

    #[test]
    fn a_sweep_of_two_steps_of_the_converter_is_not_distorted() {
        // Below a step nothing would be left without dither; what is left is the sweep.
        for quiet in [-84.0, -92.0] {
            let sweeps = Sweeps { count: 1, level: quiet, reverberation: false };
            let samples = all(&sweeps);
            let heard = &samples[LEAD..LEAD + SWEEP];
            let product: f64 = heard.iter().enumerate().map(|(n, x)| x * sweep(n as f64, SWEEP)).sum::<f64>();
            let gain = product / SWEEP as f64 / sweeps.gain();
            assert!((gain - 1.0).abs() < 0.02, "{quiet}: {gain}");
            let left: Vec<f64> =
                heard.iter().enumerate().map(|(n, x)| x - sweeps.gain() * sweep(n as f64, SWEEP)).collect();
            // Dither of one step and rounding: a quarter of a squared step.
            assert!((level(&left) - crate::echo::spectrum::decibels(0.25 / 32_768f64.powi(2))).abs() < 0.2);
        }
    }

    #[test]
    fn no_level_overflows() {
        for level in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e9, -1e9] {
            let samples = all(&Sweeps { count: 1, level, reverberation: false });
            assert!(samples.iter().all(|x| x.abs() <= 1.0));
        }
        assert_eq!(Sweeps { count: 0, ..SWEEPS }.begins().count(), 0);
    }
}
