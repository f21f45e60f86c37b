//! What a line does to speech is heard on speech-like sound: the composite source of the test signal,
//! after the idea of ITU-T P.501 §7.2 and synthesised here, and the sweep that reads its response.
//!
//! All follows from the counter, but nothing returns as it was: an encoder that codes the same sound again
//! may give the same packet again, whatever dither lies 50 dB below it, and packets are to be told apart.

use std::f64::consts::{PI, TAU};

use super::sound::RATE;

/// Samples of one composite source: 350 ms.
const UNIT: usize = 16_800;
/// Samples of its voiced part: 48.6 ms.
const VOICED: usize = 2333;
/// Samples of the noise that follows: 200 ms. The rest, 101.4 ms, is silence.
const NOISE: usize = 9600;
/// Fundamental of the voiced part, in hertz.
const PITCH: f64 = 140.0;
/// How far the fundamental wanders from unit to unit, as a share of it.
const WANDER: f64 = 0.06;
/// Centre and width of its formants, in hertz.
const FORMANTS: [(f64, f64); 3] = [(600.0, 80.0), (1200.0, 100.0), (2500.0, 140.0)];
/// Edges of the noise's band, and those of the sweep, in hertz.
const BAND: (f64, f64) = (200.0, 7000.0);
/// Samples of a sweep: 0.8 s.
pub(super) const SWEEP: usize = 38_400;
/// Samples of each raised-cosine end of what would begin or end with a click.
const RAMP: usize = 480;

/// Composite sources end to end, whose active parts have a root mean square of 1. One is kept at a time.
#[derive(Debug, Default)]
pub(crate) struct Speech {
    number: Option<u64>,
    unit: Vec<f32>,
}

impl Speech {
    /// Sample `n` of a passage of `length` samples that begins with unit `first`.
    pub(crate) fn at(&mut self, first: u64, n: usize, length: usize) -> f32 {
        let number = first + (n / UNIT) as u64;
        if self.number != Some(number) {
            self.unit = unit(number);
            self.number = Some(number);
        }
        self.unit[n % UNIT] * ends(n, length) as f32
    }
}

/// Composite source `number`, the same at each call.
fn unit(number: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(number);
    let pitch = PITCH * (1.0 + WANDER * (2.0 * random.f64() - 1.0));
    let period = (f64::from(RATE) / pitch) as usize;
    let first = random.usize(..period);
    let mut voiced: Vec<f64> = (0..VOICED).map(|n| if n % period == first { 1.0 } else { 0.0 }).collect();
    for (centre, width) in FORMANTS {
        resonate(&mut voiced, centre, width);
    }
    let mut noise: Vec<f64> = (0..NOISE).map(|_| random.f64() - 0.5).collect();
    band_pass(&mut noise);
    let mut unit = Vec::with_capacity(UNIT);
    for mut part in [voiced, noise] {
        let length = part.len();
        part.iter_mut().enumerate().for_each(|(n, x)| *x *= ends(n, length));
        let power = part.iter().map(|x| x * x).sum::<f64>() / length as f64;
        unit.extend(part.into_iter().map(|x| (x / power.sqrt()) as f32));
    }
    unit.resize(UNIT, 0.0);
    unit
}

/// Sample `n` of exponential sweep `number` over the band, with a root mean square of 1 (Farina 2000). Each
/// begins at another phase.
pub(super) fn sweep(number: u64, n: usize) -> f32 {
    let (low, high) = BAND;
    let (seconds, t) = (SWEEP as f64 / f64::from(RATE), n as f64 / f64::from(RATE));
    let rate = seconds / (high / low).ln();
    // The golden ratio spreads phases evenly.
    let begin = TAU * (number as f64 * 0.618_033_988_75).fract();
    let phase = begin + TAU * low * rate * ((t / rate).exp() - 1.0);
    (std::f64::consts::SQRT_2 * phase.sin() * ends(n, SWEEP)) as f32
}

/// The gain at sample `n` of a passage of `length` samples, so that it begins and ends without a click.
fn ends(n: usize, length: usize) -> f64 {
    let edge = n.min(length.saturating_sub(n + 1));
    if edge < RAMP { 0.5 - 0.5 * (PI * (edge as f64 + 0.5) / RAMP as f64).cos() } else { 1.0 }
}

/// A two-pole resonance at `centre`, `width` wide at half power.
fn resonate(samples: &mut [f64], centre: f64, width: f64) {
    let radius = (-PI * width / f64::from(RATE)).exp();
    let (first, second) = (2.0 * radius * (TAU * centre / f64::from(RATE)).cos(), -radius * radius);
    let (mut one, mut two) = (0.0, 0.0);
    for sample in samples {
        let out = *sample + first * one + second * two;
        (two, one) = (one, out);
        *sample = out;
    }
}

/// A Butterworth high-pass and low-pass of second order each (bilinear transform).
fn band_pass(samples: &mut [f64]) {
    let (low, high) = BAND;
    for (cut, is_high_pass) in [(low, true), (high, false)] {
        let k = (PI * cut / f64::from(RATE)).tan();
        let scale = 1.0 / (1.0 + std::f64::consts::SQRT_2 * k + k * k);
        let (b0, b1) = if is_high_pass { (scale, -2.0 * scale) } else { (k * k * scale, 2.0 * k * k * scale) };
        let (a1, a2) = (2.0 * (k * k - 1.0) * scale, (1.0 - std::f64::consts::SQRT_2 * k + k * k) * scale);
        let (mut one, mut two) = (0.0, 0.0);
        for sample in samples.iter_mut() {
            let out = b0 * *sample + one;
            one = b1 * *sample - a1 * out + two;
            two = b0 * *sample - a2 * out;
            *sample = out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms(samples: &[f32]) -> f64 {
        (samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    /// Power of `samples` near `hertz`, by one bin of a Fourier transform.
    fn power(samples: &[f32], hertz: f64) -> f64 {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let angle = TAU * hertz * n as f64 / f64::from(RATE);
            sine += f64::from(*sample) * angle.sin();
            cosine += f64::from(*sample) * angle.cos();
        }
        sine * sine + cosine * cosine
    }

    #[test]
    fn both_active_parts_are_equally_loud_and_a_pause_follows() {
        for number in [0, 1, 77] {
            let unit = unit(number);
            for part in [&unit[..VOICED], &unit[VOICED..VOICED + NOISE]] {
                assert!((rms(part) - 1.0).abs() < 0.001);
            }
            assert!(unit[VOICED + NOISE..].iter().all(|x| x.abs() < f32::MIN_POSITIVE));
        }
    }

    #[test]
    fn a_unit_is_the_same_again_and_none_is_like_another() {
        let (mut first, mut second) = (Speech::default(), Speech::default());
        // Not in the same order, nor from the same start.
        let forward: Vec<f32> = (0..2 * UNIT).map(|n| first.at(3, n, 2 * UNIT)).collect();
        let backward: Vec<f32> = (0..2 * UNIT).rev().map(|n| second.at(3, n, 2 * UNIT)).collect();
        assert!(forward.iter().zip(backward.iter().rev()).all(|(a, b)| a.to_bits() == b.to_bits()));
        let alike = unit(3).iter().zip(unit(4)).filter(|(a, b)| **a != 0.0 && a.to_bits() == b.to_bits()).count();
        assert!(alike < 100, "{alike}");
    }

    #[test]
    fn the_voice_has_its_formants_and_the_noise_its_band() {
        let unit = unit(5);
        let voiced = &unit[..VOICED];
        let near = |hertz: f64| (-10..=10).map(|step| power(voiced, hertz + 7.0 * f64::from(step))).fold(0.0, f64::max);
        for (centre, _) in FORMANTS {
            assert!(near(centre) > 5.0 * near(4200.0), "{centre} Hz");
        }
        let noise = &unit[VOICED..VOICED + NOISE];
        let band = |from: usize, to: usize| (from..to).step_by(5).map(|hertz| power(noise, hertz as f64)).sum::<f64>();
        assert!(band(1000, 2000) > 10.0 * band(20, 60) * 25.0, "below");
        assert!(band(1000, 2000) > 10.0 * band(15_000, 16_000), "above");
    }

    #[test]
    fn a_sweep_passes_each_frequency_when_it_should() {
        let samples: Vec<f32> = (0..SWEEP).map(|n| sweep(3, n)).collect();
        assert!((rms(&samples) - 1.0).abs() < 0.02);
        // At half of its time it is at the geometric mean of its ends.
        let middle = (BAND.0 * BAND.1).sqrt();
        let near = |hertz: f64| power(&samples[SWEEP / 2 - 480..SWEEP / 2 + 480], hertz);
        assert!(near(middle) > 20.0 * near(middle * 1.5) && near(middle) > 20.0 * near(middle / 1.5));
    }
}
