//! A virtual room: a loudspeaker, a microphone, walls and noise, all known exactly. For tests.

use std::{
    collections::BTreeMap,
    f64::consts::{PI, SQRT_2},
    sync::{Arc, Mutex, PoisonError},
};

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    bands::{NARROW, parts, weighted_loss},
    spectrum::{Transform, decibels},
};

/// What a room is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// From loudspeaker to microphone, in seconds.
    pub(crate) delay: f64,
    /// Reverberation time in seconds.
    pub(crate) reverberation: f64,
    /// Direct sound above the reverberation, in decibels.
    pub(crate) direct: f64,
    /// Echo return loss in the telephone band, in decibels.
    pub(crate) loss: f64,
    /// Of the reverberation.
    pub(crate) seed: u64,
}

impl Room {
    /// A classroom of half a second of reverberation.
    pub(crate) fn new(delay: f64, loss: f64, seed: u64) -> Self {
        Self { delay, reverberation: 0.5, direct: 0.0, loss, seed }
    }

    /// Its impulse response, loudspeaker and microphone included, which pass 150 to 9000 Hz.
    pub(crate) fn response(&self) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let length = (1.2 * self.reverberation.max(0.5) * f64::from(RATE)) as usize;
        let mut tail: Vec<f64> = (0..length)
            .map(|n| gauss(&mut random) * 10f64.powf(-3.0 * n as f64 / f64::from(RATE) / self.reverberation))
            .collect();
        tail[..(0.002 * f64::from(RATE)) as usize].fill(0.0);
        let power: f64 = tail.iter().map(|x| x * x).sum();
        let scale = (10f64.powf(-self.direct / 10.0) / power).sqrt();
        tail.iter_mut().for_each(|x| *x *= scale);
        tail[0] = 1.0;
        filter(&mut tail, 150.0, true);
        filter(&mut tail, 9000.0, false);
        let tail = delayed(&tail, self.delay * f64::from(RATE));
        let gain = 10f64.powf(-(self.loss - true_loss(&tail, NARROW)) / 20.0);
        tail.iter().map(|x| x * gain).collect()
    }

    /// What the microphone takes of what is played, from the same instant on and as long.
    pub(crate) fn hear(&self, played: &[f64]) -> Vec<f64> {
        let mut heard = convolve(played, &self.response());
        heard.truncate(played.len());
        heard
    }
}

/// The weighted loss of an impulse response over a band.
pub(crate) fn true_loss(response: &[f64], band: (f64, f64)) -> f64 {
    let transform = shared(response.len().max(1 << 17));
    let mut spectrum: Vec<Complex64> = response.iter().map(|x| Complex64::new(*x, 0.0)).collect();
    spectrum.resize(transform.length(), Complex64::default());
    transform.forward(&mut spectrum);
    let bin = |hertz: f64| (hertz / f64::from(RATE) * transform.length() as f64).ceil() as usize;
    let gains: Vec<f64> = parts(band)
        .map(|(low, high)| {
            let bins = &spectrum[bin(low)..bin(high)];
            bins.iter().map(Complex64::norm_sqr).sum::<f64>() / bins.len() as f64
        })
        .collect();
    weighted_loss(&gains)
}

/// Delayed by a number of samples that need not be whole.
pub(crate) fn delayed(samples: &[f64], delay: f64) -> Vec<f64> {
    let whole = delay.floor();
    let part = delay - whole;
    let mut out = vec![0.0; whole as usize];
    if part < 1e-9 {
        out.extend_from_slice(samples);
        return out;
    }
    let transform = shared(2 * samples.len());
    let mut spectrum: Vec<Complex64> = samples.iter().map(|x| Complex64::new(*x, 0.0)).collect();
    spectrum.resize(transform.length(), Complex64::default());
    transform.forward(&mut spectrum);
    let length = transform.length();
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let signed = if bin <= length / 2 { bin as f64 } else { bin as f64 - length as f64 };
        *value *= Complex64::from_polar(1.0, -2.0 * PI * signed / length as f64 * part);
    }
    transform.inverse(&mut spectrum);
    out.extend(spectrum[..samples.len() + 64].iter().map(|value| value.re));
    out
}

/// Both, one through the other: the longer one in pieces, two at a time, one as the real part and one as the
/// imaginary.
pub(crate) fn convolve(one: &[f64], other: &[f64]) -> Vec<f64> {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let transform = shared((2 * short.len()).max(1 << 17).min((short.len() + long.len()).next_power_of_two()));
    let mut by: Vec<Complex64> = short.iter().map(|x| Complex64::new(*x, 0.0)).collect();
    by.resize(transform.length(), Complex64::default());
    transform.forward(&mut by);
    let piece = transform.length() - short.len() + 1;
    let mut out = vec![0.0; one.len() + other.len() - 1];
    let mut buffer = vec![Complex64::default(); transform.length()];
    for (pair, pieces) in long.chunks(2 * piece).enumerate() {
        let (left, right) = pieces.split_at(piece.min(pieces.len()));
        buffer.fill(Complex64::default());
        buffer.iter_mut().zip(left).for_each(|(value, x)| value.re = *x);
        buffer.iter_mut().zip(right).for_each(|(value, x)| value.im = *x);
        transform.forward(&mut buffer);
        buffer.iter_mut().zip(&by).for_each(|(value, by)| *value *= by);
        transform.inverse(&mut buffer);
        let begin = 2 * pair * piece;
        for (sum, value) in out[begin..].iter_mut().zip(&buffer) {
            *sum += value.re;
        }
        if let Some(out) = out.get_mut(begin + piece..).filter(|_| !right.is_empty()) {
            out.iter_mut().zip(&buffer).for_each(|(sum, value)| *sum += value.im);
        }
    }
    out
}

/// A transform of at least `length` samples, planned once.
fn shared(length: usize) -> Arc<Transform> {
    static PLANNED: Mutex<BTreeMap<usize, Arc<Transform>>> = Mutex::new(BTreeMap::new());
    let mut planned = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
    let length = length.next_power_of_two();
    Arc::clone(planned.entry(length).or_insert_with(|| Arc::new(Transform::new(length))))
}

/// The same sound by a clock that runs faster by `ratio` (100e-6: 100 parts in a million): it takes more
/// samples of it. By a windowed sinc of 32 taps.
pub(crate) fn resampled(samples: &[f64], ratio: f64) -> Vec<f64> {
    const HALF: i64 = 16;
    let at = |position: f64| {
        let centre = position.floor() as i64;
        let part = position - centre as f64;
        if part < 1e-12 {
            return usize::try_from(centre).ok().and_then(|n| samples.get(n)).copied().unwrap_or(0.0);
        }
        // From tap to tap the sine of the sinc changes its sign, and the cosine of the window turns.
        let first = centre - HALF + 1;
        let step = Complex64::from_polar(1.0, -PI / HALF as f64);
        let mut window = Complex64::from_polar(1.0, PI * (position - first as f64) / HALF as f64);
        let mut sine = (PI * (position - first as f64)).sin() / PI;
        let mut sum = 0.0;
        for n in first..=centre + HALF {
            if let Some(sample) = usize::try_from(n).ok().and_then(|n| samples.get(n)) {
                sum += sample * sine / (position - n as f64) * (0.5 + 0.5 * window.re);
            }
            sine = -sine;
            window *= step;
        }
        sum
    };
    (0..samples.len()).map(|n| at(n as f64 / (1.0 + ratio))).collect()
}

/// White noise of a root mean square of 1.
pub(crate) fn white(length: usize, seed: u64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| gauss(&mut random)).collect()
}

/// Pink noise of a root mean square of 1.
pub(crate) fn pink(length: usize, seed: u64) -> Vec<f64> {
    let transform = shared(length);
    let mut spectrum: Vec<Complex64> =
        white(transform.length(), seed).into_iter().map(|x| Complex64::new(x, 0.0)).collect();
    transform.forward(&mut spectrum);
    let half = spectrum.len() / 2;
    let length_all = spectrum.len();
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let bin = if bin <= half { bin } else { length_all - bin };
        *value *= if bin == 0 { 0.0 } else { 1.0 / (bin as f64).sqrt() };
    }
    transform.inverse(&mut spectrum);
    unit(spectrum[..length].iter().map(|value| value.re).collect())
}

/// One who talks, of a root mean square of 1: syllables of a voice that glides, hissing between some of them,
/// and pauses.
pub(crate) fn talker(length: usize, seed: u64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let rate = f64::from(RATE);
    let voice = 100.0 + 120.0 * random.f64();
    let mut out = Vec::with_capacity(length + RATE as usize);
    let mut phase = 0.0;
    while out.len() < length {
        let count = ((0.08 + 0.2 * random.f64()) * rate) as usize;
        let (from, to) = (0.85 + 0.3 * random.f64(), 0.85 + 0.3 * random.f64());
        let mut pulses: Vec<f64> = (0..count)
            .map(|n| {
                phase += voice * (from + (to - from) * n as f64 / count as f64) / rate;
                let is_pulse = phase >= 1.0;
                phase -= phase.floor();
                f64::from(u8::from(is_pulse)) + 0.002 * gauss(&mut random)
            })
            .collect();
        let formants = [(300.0, 500.0, 80.0), (900.0, 1300.0, 110.0), (2300.0, 800.0, 160.0), (3400.0, 600.0, 250.0)];
        for (low, range, width) in formants {
            resonate(&mut pulses, low + range * random.f64(), width);
        }
        let loud = 0.4 + random.f64();
        let pulses = unit(pulses);
        out.extend(pulses.iter().enumerate().map(|(n, x)| x * loud * (PI * n as f64 / count as f64).sin()));
        if random.f64() < 0.4 {
            let count = ((0.04 + 0.08 * random.f64()) * rate) as usize;
            let mut hiss: Vec<f64> = (0..count).map(|_| gauss(&mut random)).collect();
            filter(&mut hiss, 2500.0, true);
            filter(&mut hiss, 8000.0, false);
            let hiss = unit(hiss);
            out.extend(hiss.iter().enumerate().map(|(n, x)| 0.25 * x * (PI * n as f64 / count as f64).sin()));
        }
        let pause = if random.f64() < 0.15 { 0.15 + 0.5 * random.f64() } else { 0.05 * random.f64() };
        out.resize(out.len() + (pause * rate) as usize, 0.0);
    }
    out.truncate(length);
    unit(out)
}

/// Six who talk at once, of a root mean square of 1.
pub(crate) fn babble(length: usize, seed: u64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0xbabb1e);
    let mut sum = vec![0.0; length];
    for number in 0..6 {
        let loud = 0.5 + 0.5 * random.f64();
        sum.iter_mut().zip(talker(length, 100 * seed + number)).for_each(|(sum, x)| *sum += loud * x);
    }
    unit(sum)
}

/// Chords whose tones change four times a second, of a root mean square of 1.
pub(crate) fn music(length: usize, seed: u64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sum = vec![0.0; length];
    for tone in [220.0, 277.0, 330.0, 440.0, 554.0, 660.0, 880.0, 1109.0, 1319.0] {
        let step = Complex64::from_polar(1.0, 2.0 * PI * tone * (0.998 + 0.004 * random.f64()) / f64::from(RATE));
        let mut turn = Complex64::from_polar(1.0, 6.0 * random.f64());
        let mut loud = 0.0;
        for (n, sum) in sum.iter_mut().enumerate() {
            if n % (RATE as usize / 4) == 0 {
                loud = random.f64();
            }
            *sum += loud * turn.im;
            turn *= step;
        }
    }
    unit(sum)
}

/// A two-pole resonance at `centre`, `width` wide at half power.
fn resonate(samples: &mut [f64], centre: f64, width: f64) {
    let radius = (-PI * width / f64::from(RATE)).exp();
    let (first, second) = (2.0 * radius * (2.0 * PI * centre / f64::from(RATE)).cos(), -radius * radius);
    let (mut one, mut two) = (0.0, 0.0);
    for sample in samples {
        let out = *sample + first * one + second * two;
        (two, one) = (one, out);
        *sample = out;
    }
}

/// Scaled to a root mean square of 1.
pub(crate) fn unit(mut samples: Vec<f64>) -> Vec<f64> {
    let scale = 1.0 / rms(&samples).max(1e-30);
    samples.iter_mut().for_each(|x| *x *= scale);
    samples
}

/// Root mean square.
pub(crate) fn rms(samples: &[f64]) -> f64 {
    (samples.iter().map(|x| x * x).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

/// The first with the second at `level` decibels (as root mean square) added.
pub(crate) fn with(samples: &[f64], noise: &[f64], level: f64) -> Vec<f64> {
    let gain = 10f64.powf(level / 20.0);
    samples.iter().zip(noise).map(|(sample, noise)| sample + gain * noise).collect()
}

/// As a converter of 16 bit gives it.
pub(crate) fn converted(samples: &[f64]) -> Vec<i16> {
    samples.iter().map(|x| (x * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).collect()
}

/// Level of a root mean square in decibels.
pub(crate) fn level(samples: &[f64]) -> f64 {
    decibels(rms(samples).powi(2))
}

fn gauss(random: &mut fastrand::Rng) -> f64 {
    (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (2.0 * PI * random.f64()).cos()
}

/// A Butterworth high-pass or low-pass of second order (bilinear transform).
fn filter(samples: &mut [f64], cut: f64, is_high_pass: bool) {
    let k = (PI * cut / f64::from(RATE)).tan();
    let scale = 1.0 / (1.0 + SQRT_2 * k + k * k);
    let (b0, b1) = if is_high_pass { (scale, -2.0 * scale) } else { (k * k * scale, 2.0 * k * k * scale) };
    let (a1, a2) = (2.0 * (k * k - 1.0) * scale, (1.0 - SQRT_2 * k + k * k) * scale);
    let (mut one, mut two) = (0.0, 0.0);
    for sample in samples.iter_mut() {
        let out = b0 * *sample + one;
        one = b1 * *sample - a1 * out + two;
        two = b0 * *sample - a2 * out;
        *sample = out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_in_pieces_goes_through_a_response_as_in_one() {
        for (length, taps) in [(1, 1), (5, 3), (3000, 40), (40, 3000), (300_000, 20), (270_000, 70_001)] {
            let (sound, mut response) = (white(length, 1), white(taps, 2));
            // Few taps, so that each place can be added up.
            response.iter_mut().enumerate().filter(|(n, _)| n % 7000 != 0 && taps > 100).for_each(|(_, x)| *x = 0.0);
            let found = convolve(&sound, &response);
            assert_eq!(found.len(), length + taps - 1);
            let mut wanted = vec![0.0; length + taps - 1];
            for (late, gain) in response.iter().enumerate().filter(|(_, gain)| gain.abs() > 0.0) {
                wanted[late..].iter_mut().zip(&sound).for_each(|(sum, x)| *sum += gain * x);
            }
            assert!(found.iter().zip(&wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-9), "{length}, {taps}");
        }
    }
}
