//! What a microphone gives by itself: noise, hum, clipping, offset, silence of a dead one.

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    scratch::Scratch,
    spectrum::{Transform, decibels, raised_cosine},
};

/// Samples of a block of the noise floor: 125 ms, the time constant "fast" of a sound level meter.
const BLOCK: usize = RATE as usize / 8;
/// Samples of a frame that hum is looked for in: 0.5 s, so that a bin is 2 Hz.
const FRAME: usize = RATE as usize / 2;
/// Hertz of a bin of such a frame.
const RESOLUTION: f64 = RATE as f64 / FRAME as f64;
/// Frequencies of mains, in hertz.
const MAINS: [usize; 2] = [50, 60];
/// Harmonics of them that are looked at.
const HARMONICS: usize = 10;
/// Bins to each side of a line that belong to it (a Hann window is that wide), and up to which its
/// neighbours are.
const LINE: usize = 1;
const NEIGHBOURS: std::ops::RangeInclusive<usize> = 3..=9;
/// Samples that never change for so long do not come from a microphone: 0.5 s.
const STUCK: usize = RATE as usize / 2;

/// A-weighting in decibels at a frequency in hertz (IEC 61672-1, Annex E).
pub(crate) fn a_weighting(hertz: f64) -> f64 {
    let gain = |hertz: f64| {
        let f = hertz * hertz;
        let poles = [20.598_997_f64, 107.652_65, 737.862_23, 12_194.217].map(|pole| pole * pole);
        let [one, two, three, four] = poles;
        four * f * f / ((f + one) * ((f + two) * (f + three)).sqrt() * (f + four))
    };
    2.0 * decibels(gain(hertz) / gain(1000.0))
}

/// The noise floor: the A-weighted level that 10 % of blocks of 125 ms fall below, in decibels below full
/// scale (a sine at full scale of 1 kHz has −3.01). Nothing below two blocks.
pub(crate) fn noise_floor(samples: &[i16]) -> Option<f64> {
    let weights: Vec<f64> = (0..=BLOCK / 2)
        .map(|bin| 10f64.powf(a_weighting(bin as f64 * f64::from(RATE) / BLOCK as f64) / 10.0))
        .collect();
    let powers = spectra(samples, BLOCK, BLOCK, |bins| bins.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>());
    (powers.len() >= 2).then(|| decibels(quantile(powers, 0.1)))
}

/// The level between two frequencies in hertz that half of the blocks of 125 ms fall below, in decibels
/// below full scale.
pub(crate) fn level(samples: &[i16], band: (f64, f64)) -> Option<f64> {
    let bin = |hertz: f64| ((hertz / f64::from(RATE) * BLOCK as f64).round() as usize).min(BLOCK / 2);
    let powers = spectra(samples, BLOCK, BLOCK, |bins| bins[bin(band.0)..bin(band.1)].iter().sum::<f64>());
    (powers.len() >= 2).then(|| decibels(quantile(powers, 0.5)))
}

/// The most that a line of mains (50 or 60 Hz, or a harmonic up to the tenth) stands above its neighbours,
/// in decibels.
///
/// Each bin is taken at the tenth of frames in which it is least: what is played or said passes, hum stays.
/// Nothing below 1.5 s.
pub(crate) fn hum(samples: &[i16]) -> Option<f64> {
    let last = (MAINS[1] * HARMONICS) as f64 / RESOLUTION;
    let last = last as usize + NEIGHBOURS.end() + 1;
    let frames = spectra(samples, FRAME, FRAME / 2, |bins| bins[..last].to_vec());
    if frames.len() < 5 {
        return None;
    }
    let least: Vec<f64> = (0..last).map(|bin| quantile(frames.iter().map(|frame| frame[bin]).collect(), 0.1)).collect();
    let above = MAINS.into_iter().flat_map(|mains| (1..=HARMONICS).map(move |order| mains * order)).map(|hertz| {
        let bin = (hertz as f64 / RESOLUTION) as usize;
        let line = least[bin - LINE..=bin + LINE].iter().sum::<f64>() / (2 * LINE + 1) as f64;
        let beside = NEIGHBOURS.flat_map(|away| [bin - away, bin + away]).map(|bin| least[bin]).collect();
        decibels(line) - decibels(quantile(beside, 0.5))
    });
    above.max_by(f64::total_cmp).map(|above| above.max(0.0))
}

/// How many samples stand at full scale.
pub(crate) fn clipped(samples: &[i16]) -> usize {
    samples.iter().filter(|sample| **sample == i16::MAX || **sample <= -i16::MAX).count()
}

/// Mean as a share of full scale.
pub(crate) fn offset(samples: &[i16]) -> Option<f64> {
    let sum: i64 = samples.iter().map(|sample| i64::from(*sample)).sum();
    (!samples.is_empty()).then(|| sum as f64 / samples.len() as f64 / 32_768.0)
}

/// Whether samples stay the same for half a second, as those of a dead microphone do.
pub(crate) fn is_stuck(samples: &[i16]) -> bool {
    let mut run = 1;
    samples.windows(2).any(|pair| {
        run = if pair.first() == pair.last() { run + 1 } else { 1 };
        run >= STUCK
    })
}

/// Whether samples never change at all.
pub(crate) fn is_still(samples: &[i16]) -> bool {
    samples.len() >= STUCK && samples.windows(2).all(|pair| pair.first() == pair.last())
}

/// What `read` says of the power spectrum of each frame; a full-scale sine has half of full scale's power in
/// all its bins together. The mean is taken off first, so that an offset is no low frequency.
fn spectra<T>(samples: &[i16], frame: usize, step: usize, read: impl Fn(&[f64]) -> T) -> Vec<T> {
    let transform = Transform::exactly(frame);
    let window: Vec<f64> = (0..frame).map(|n| raised_cosine(n.min(frame - n), frame / 2)).collect();
    let scale = 2.0 / frame as f64 / window.iter().map(|w| w * w).sum::<f64>();
    let mut buffer = Scratch::<Complex64>::new(frame);
    let mut powers = Scratch::<f64>::new(frame / 2 + 1);
    let frames = (0..samples.len().saturating_sub(frame - 1)).step_by(step);
    frames
        .map(|from| {
            let frame = &samples[from..from + frame];
            let mean = offset(frame).unwrap_or(0.0);
            for ((value, sample), weight) in buffer.iter_mut().zip(frame).zip(&window) {
                *value = Complex64::new((f64::from(*sample) / 32_768.0 - mean) * weight, 0.0);
            }
            transform.forward(&mut buffer);
            for (power, value) in powers.iter_mut().zip(buffer.iter()) {
                *power = value.norm_sqr() * scale;
            }
            read(&powers)
        })
        .collect()
}

/// The value that a share of all falls below; of nothing 0.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let index = (share * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(index).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::echo::room::{converted, pink, talker, white};

    fn sine(hertz: f64, seconds: f64, amplitude: f64) -> Vec<f64> {
        let turn = |n: usize| std::f64::consts::TAU * hertz * n as f64 / f64::from(RATE);
        (0..(seconds * f64::from(RATE)) as usize).map(|n| amplitude * turn(n).sin()).collect()
    }

    fn scaled(samples: &[f64], gain: f64) -> Vec<f64> {
        samples.iter().map(|x| gain * x).collect()
    }

    fn sum(one: &[f64], other: &[f64]) -> Vec<i16> {
        converted(&one.iter().zip(other).map(|(a, b)| a + b).collect::<Vec<_>>())
    }

    #[test]
    fn a_weighting_is_that_of_the_standard() {
        // IEC 61672-1, Table 3: from 10 Hz on in thirds of an octave.
        let table = [
            -70.4, -63.4, -56.7, -50.5, -44.7, -39.4, -34.6, -30.2, -26.2, -22.5, -19.1, -16.1, -13.4, -10.9, -8.6,
            -6.6, -4.8, -3.2, -1.9, -0.8, 0.0, 0.6, 1.0, 1.2, 1.3, 1.2, 1.0, 0.5, -0.1, -1.1, -2.5, -4.3, -6.6, -9.3,
        ];
        for (n, weight) in table.into_iter().enumerate() {
            let hertz = 10f64.powf(1.0 + n as f64 / 10.0);
            assert!((a_weighting(hertz) - weight).abs() < 0.06, "{hertz} Hz: {}", a_weighting(hertz));
        }
    }

    #[test]
    fn a_sine_at_full_scale_has_3_decibels_less_and_its_weight() {
        for hertz in [104.0, 1000.0, 4000.0, 15_000.0] {
            let floor = noise_floor(&converted(&sine(hertz, 1.0, 0.999))).unwrap();
            assert!((floor + 3.01 - a_weighting(hertz)).abs() < 0.05, "{hertz} Hz: {floor}");
        }
        let all = level(&converted(&white(96_000, 1).iter().map(|x| 0.01 * x).collect::<Vec<_>>()), (0.0, 24_000.0));
        assert!((all.unwrap() + 40.0).abs() < 0.2);
    }

    #[test]
    fn the_floor_is_what_is_left_when_nobody_talks() {
        let noise = scaled(&white(480_000, 2), 1e-3);
        let quiet = noise_floor(&converted(&noise)).unwrap();
        let mut loud = noise.clone();
        loud[48_000..384_000].iter_mut().for_each(|x| *x *= 30.0);
        assert!((noise_floor(&converted(&loud)).unwrap() - quiet).abs() < 0.7);
        assert_eq!(noise_floor(&converted(&noise[..11_999])), None);
        assert_eq!(noise_floor(&[]), None);
        assert!(noise_floor(&vec![0; 48_000]).unwrap() < -200.0);
        // An offset is no noise.
        assert!(noise_floor(&vec![3000; 48_000]).unwrap() < -200.0);
    }

    #[test]
    fn hum_stands_out_and_what_is_no_hum_does_not() {
        let seconds = 7.5;
        let count = (seconds * f64::from(RATE)) as usize;
        for seed in 3..9 {
            for (name, noise) in
                [("white", white(count, seed)), ("pink", pink(count, seed)), ("talker", talker(count, seed))]
            {
                let room = scaled(&pink(count, 100 + seed), 0.003);
                let found = hum(&sum(&scaled(&noise, 0.03), &room)).unwrap();
                assert!(found < 7.0, "{name}: {found}");
            }
        }
        let noise = scaled(&pink(count, 6), 0.003);
        for (hertz, drift) in [(50.0, 0.1), (60.0, -0.05), (150.0, 0.2), (300.0, 0.0), (120.0, 0.0)] {
            let found = hum(&sum(&noise, &sine(hertz + drift, seconds, 0.01))).unwrap();
            assert!(found > 15.0, "{hertz} Hz: {found}");
        }
        // Ten times as loud is 20 dB more.
        let at = |amplitude: f64| hum(&sum(&noise, &sine(100.0, seconds, amplitude))).unwrap();
        assert!((at(0.1) - at(0.01) - 20.0).abs() < 1.0);
        assert_eq!(hum(&vec![0; 48_000]), None);
    }

    #[test]
    fn clipping_offset_and_standing_still_are_counted() {
        assert_eq!(clipped(&[i16::MAX, i16::MIN, -i16::MAX, 32_766, 0]), 3);
        assert!((offset(&[3277; 100]).unwrap() - 0.1).abs() < 1e-4);
        assert!((offset(&[i16::MIN; 100]).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(offset(&[]), None);
        let mut samples = converted(&scaled(&white(100_000, 7), 0.01));
        assert!(!is_stuck(&samples) && !is_stuck(&[]) && !is_stuck(&vec![0; 23_999]));
        samples[50_000..74_000].fill(5);
        assert!(is_stuck(&samples) && !is_still(&samples));
        assert!(is_still(&vec![5; 24_000]) && !is_still(&vec![5; 23_999]) && !is_still(&[]));
    }
}
