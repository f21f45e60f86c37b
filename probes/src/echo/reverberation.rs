//! Reverberation time from a long sweep: T20 of ISO 3382-2 by Schroeder's backward integration, cut where the
//! noise begins (ISO 3382-1 §5.3.3).

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    scratch::Scratch,
    signal::{LONG, Sweeps, sweep},
    spectrum::{Transform, decibels, raised_cosine},
    take::Line,
};

/// Samples that are transformed: the sweep, 0.35 s before its arrival and 1 s after its end.
const ALL: usize = 162_000;
/// Samples before the arrival.
const BEFORE: usize = 35 * RATE as usize / 100;
/// Samples of the line per place of a decay: octaves up to 2 kHz need no more.
const THIN: usize = 8;
/// Places of a decay, and those of a second.
const PLACES: usize = ALL / THIN;
const SECOND: usize = RATE as usize / THIN;
/// Middles of the octaves in hertz.
const OCTAVES: [f64; 3] = [500.0, 1000.0, 2000.0];
/// Octaves of which a time must be known.
const FEWEST: usize = 2;
/// Decibels below all of the energy between which the decay is read.
const READ: (f64, f64) = (-5.0, -25.0);
/// Decibels that a decay must stand above the noise at its begin.
const RANGE: f64 = 35.0;
/// Decibels above the noise at which a decay is cut.
const CUT: f64 = 8.0;
/// The regularisation, as a share of the greatest power of the sweep.
const REGULAR: f64 = 1e-4;

/// The reverberation time in seconds, mean of the octaves in which it can be told.
///
/// `delay` is from the sweep's being played to its arrival, in samples; `skew` that of the line's clock.
pub(crate) fn reverberation(line: &Line<'_>, sweeps: &Sweeps, delay: f64, skew: f64) -> Option<f64> {
    let begin = (sweeps.long_begins() as f64 + delay - line.start) * (1.0 + skew) - BEFORE as f64;
    let from = (begin.is_finite() && (0.0..1e12).contains(&begin)).then_some(begin.round() as usize)?;
    // The decay must be there; the silence after it may be cut short.
    let heard = line.samples.get(from..)?;
    if heard.len() < BEFORE + LONG + RATE as usize / 2 {
        return None;
    }
    let transform = Transform::exactly(ALL);
    // What was heard as the real part, what was played as the imaginary: one transform for both.
    let mut both = Scratch::<Complex64>::new(ALL);
    for (n, value) in both.iter_mut().enumerate() {
        let sample = heard.get(n).map_or(0.0, |sample| f64::from(*sample) / 32_768.0);
        *value = Complex64::new(sample, sweeps.gain() * sweep(n as f64 / (1.0 + skew), LONG));
    }
    transform.forward(&mut both);
    let spectra = |bin: usize| {
        let (value, mirror) = (both[bin], both[(ALL - bin) % ALL].conj());
        ((value + mirror) * 0.5, (value - mirror) * Complex64::new(0.0, -0.5))
    };
    let most = (0..PLACES).map(|bin| spectra(bin).1.norm_sqr()).fold(0.0, f64::max);
    let mut response = Scratch::<Complex64>::new(PLACES);
    for (bin, out) in response.iter_mut().enumerate() {
        let (heard, played) = spectra(bin);
        *out = heard * played.conj() / (played.norm_sqr() + REGULAR * most + 1e-30);
    }
    drop(both);
    let thin = Transform::exactly(PLACES);
    let times: Vec<f64> = OCTAVES.into_iter().filter_map(|middle| decay(&octave(&response, middle, &thin))).collect();
    (times.len() >= FEWEST).then(|| times.iter().sum::<f64>() / times.len() as f64)
}

/// Energy over time of the octave around `middle`, without a shift in time.
fn octave(response: &[Complex64], middle: f64, thin: &Transform) -> Scratch<f64> {
    /// The edges rise and fall over a sixth of an octave to each side.
    const EDGE: f64 = 1.0 / 6.0;
    let mut band = Scratch::<Complex64>::new(PLACES);
    for (bin, (out, value)) in band.iter_mut().zip(response).enumerate() {
        let hertz = bin as f64 * f64::from(RATE) / ALL as f64;
        let inside = (0.5 - (hertz / middle).log2().abs() + EDGE) / (2.0 * EDGE);
        if inside > 0.0 {
            *out = value * raised_cosine((inside * 1000.0) as usize, 1000);
        }
    }
    thin.inverse(&mut band);
    let mut energy = Scratch::new(PLACES);
    for (energy, value) in energy.iter_mut().zip(band.iter()) {
        *energy = value.norm_sqr();
    }
    energy
}

/// T20 of an energy over time; nothing if the decay does not stand out of the noise far enough.
fn decay(energy: &[f64]) -> Option<f64> {
    let arrival = BEFORE / THIN;
    let around = arrival.saturating_sub(SECOND / 50)..(arrival + SECOND / 5).min(energy.len());
    let peak = around.max_by(|one, other| energy[*one].total_cmp(&energy[*other]))?;
    // Before the arrival there is neither sound nor, so near, a harmonic.
    let before = energy.get(peak.checked_sub(3 * SECOND / 10)?..peak.checked_sub(SECOND / 20)?)?;
    let noise = before.iter().sum::<f64>() / before.len().max(1) as f64;
    let width = SECOND / 100;
    let tail = energy.get(peak..(peak + 13 * SECOND / 10).min(energy.len()))?;
    let smooth = |at: usize| {
        let part = &tail[at.saturating_sub(width / 2)..(at + width / 2).min(tail.len())];
        part.iter().sum::<f64>() / part.len().max(1) as f64
    };
    let greatest = (0..tail.len().min(SECOND / 10)).map(smooth).fold(0.0, f64::max);
    if decibels(greatest) - decibels(noise) < RANGE {
        return None;
    }
    let cut = (width..tail.len()).find(|at| smooth(*at) < noise * 10f64.powf(CUT / 10.0)).unwrap_or(tail.len());
    let last = tail.get(cut.saturating_sub(2 * width)..cut)?;
    let last = (last.iter().sum::<f64>() / last.len().max(1) as f64 - noise).max(0.0);
    let (mut time, mut known) = (0.0, false);
    // What lies beyond the cut is added as if it decayed as what is read, which it then is read with.
    for _ in 0..5 {
        let beyond = last * time * SECOND as f64 / (6.0 * std::f64::consts::LN_10);
        let mut points = Scratch::<f64>::new(cut);
        let mut sum = beyond;
        for (point, energy) in points.iter_mut().zip(&tail[..cut]).rev() {
            sum += energy - noise;
            *point = sum;
        }
        let all = points.first().copied()?;
        let level = |at: usize| decibels(points[at].max(0.0)) - decibels(all);
        let from = (0..cut).find(|at| level(*at) <= READ.0)?;
        let to = (from..cut).find(|at| level(*at) <= READ.1)?;
        let slope = slope((from..to).map(|at| (at as f64 / SECOND as f64, level(at))))?;
        time = -60.0 / slope;
        known = time.is_finite() && time > 0.0;
        if !known {
            return None;
        }
    }
    known.then_some(time)
}

/// The slope of the line of least squares.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (mut n, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (at, level) in points {
        n += 1.0;
        x += at;
        y += level;
        xx += at * at;
        xy += at * level;
    }
    let spread = n * xx - x * x;
    (n >= 10.0 && spread > 0.0).then(|| (n * xy - x * y) / spread)
}
