//! From what was heard of sweeps to the response of the path: deconvolution, alignment of the sweeps on the
//! clock of who heard them, and average.
//!
//! All is circular over one period, which loses nothing, as the sweeps repeat. What lies before the arrival
//! is distortion: the harmonic of order m comes T·ln m / ln(f2/f1) earlier (Farina 2000).

use std::f64::consts::TAU;

use rustfft::num_complex::{Complex32, Complex64};

use super::{
    RATE,
    scratch::Scratch,
    signal::{PERIOD, SWEEP, Sweeps, sweep},
    spectrum::{Transform, decibels, raised_cosine},
    take::Line,
};

/// Bins of a period that are kept: 200 to 7000 Hz, two thirds of a hertz each. Beyond the band there would be
/// harmonics of what was played, but nothing played to take them against.
const BINS: std::ops::Range<usize> = 300..10_500;
/// Bins over which the edges of the band rise and fall: 30 and 300 Hz.
const EDGES: (usize, usize) = (45, 450);
/// The regularisation, as a share of the greatest power of the sweep.
const REGULAR: f64 = 1e-4;
/// Places of a coarse response: enough for the kept bins, a third of a period's.
pub(crate) const COARSE: usize = PERIOD / 3;
/// The clocks of two devices never differ by more, as a ratio.
pub(crate) const WIDEST_SKEW: f64 = 300e-6;
/// Samples from its peak that the response may begin earlier or last longer; beyond there is only noise, and
/// distortion far below the peak.
const AROUND: (usize, usize) = (RATE as usize / 100, 3 * RATE as usize / 10);
/// The first maximum may lie this many samples before the highest, and 6 dB below it.
const FIRST_WITHIN: usize = RATE as usize / 100;

/// The transforms and the reference, shared by all lines of a take.
pub(crate) struct Plan {
    pub(crate) period: Transform,
    pub(crate) coarse: Transform,
    /// What a spectrum is multiplied with, so that what was played is taken out of it.
    inverse: Vec<Complex64>,
    /// Power of the sweep as played in each kept bin.
    powers: Vec<f64>,
    skew: f64,
    gain: f64,
}

impl Plan {
    /// For sweeps as they are played.
    pub(crate) fn new(sweeps: &Sweeps) -> Self {
        let mut plan = Self {
            period: Transform::exactly(PERIOD),
            coarse: Transform::exactly(COARSE),
            inverse: Vec::new(),
            powers: Vec::new(),
            skew: f64::NAN,
            gain: sweeps.gain().max(1e-10),
        };
        plan.tune(0.0);
        plan
    }

    /// Takes the sweeps as a clock hears them that runs faster by `skew`.
    pub(crate) fn tune(&mut self, skew: f64) {
        if (skew - self.skew).abs() < 1e-9 {
            return;
        }
        self.skew = skew;
        let mut played: Vec<Complex64> =
            (0..PERIOD).map(|n| Complex64::new(self.gain * sweep(n as f64 / (1.0 + skew), SWEEP), 0.0)).collect();
        self.period.forward(&mut played);
        let kept = &played[BINS];
        let most = kept.iter().map(Complex64::norm_sqr).fold(0.0, f64::max);
        self.powers = kept.iter().map(Complex64::norm_sqr).collect();
        self.inverse = kept
            .iter()
            .enumerate()
            .map(|(n, value)| {
                let edges = raised_cosine(n, EDGES.0) * raised_cosine(BINS.len() - 1 - n, EDGES.1);
                value.conj() * edges / (value.norm_sqr() + REGULAR * most)
            })
            .collect();
    }

    /// The skew it is tuned to.
    pub(crate) fn skew(&self) -> f64 {
        self.skew
    }

    /// Height of the envelope at the arrival of a path of gain 1, over a period.
    pub(crate) fn unity(&self) -> f64 {
        let sum: f64 = self.inverse.iter().zip(&self.powers).map(|(value, power)| value.norm() * power.sqrt()).sum();
        sum / PERIOD as f64
    }
}

/// The responses of a line to its sweeps, each over the kept bins of a period.
pub(crate) struct Responses {
    /// Numbers of the sweeps that the line holds in full.
    numbers: Vec<u32>,
    /// Sample of the line at which the period of sweep 0 is taken to begin.
    first: i64,
    /// The kept bins of one after the other.
    bins: Scratch<Complex32>,
}

/// A response at its sharpest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peak {
    /// Skew at which it is, as a ratio.
    pub(crate) skew: f64,
    /// Sample of the period at which it is, roughly.
    pub(crate) at: f64,
    /// Its height.
    pub(crate) height: f64,
    /// The greatest height elsewhere: of the noise.
    pub(crate) noise: f64,
    /// The greatest height away from both.
    pub(crate) rest: f64,
}

impl Peak {
    /// How far it stands above the noise, in decibels.
    pub(crate) fn margin(&self) -> f64 {
        2.0 * decibels(self.height) - 2.0 * decibels(self.noise)
    }

    /// How far the lower of two peaks stands above the noise, in decibels: that there are two.
    pub(crate) fn second_margin(&self) -> f64 {
        2.0 * decibels(self.noise) - 2.0 * decibels(self.rest)
    }
}

impl Responses {
    /// Of periods that begin `offset` samples after their sweeps were played.
    pub(crate) fn new(line: &Line<'_>, sweeps: &Sweeps, offset: f64, plan: &Plan) -> Option<Self> {
        let begin = sweeps.begins().next()? as f64;
        let first = ((begin + offset - line.start) * (1.0 + plan.skew)).round();
        if !first.is_finite() || first.abs() > 1e12 {
            return None;
        }
        let first = first as i64;
        let segment = |number: u32| {
            let from = usize::try_from(first + i64::from(number) * PERIOD as i64).ok()?;
            line.samples.get(from..from.checked_add(PERIOD)?)
        };
        let numbers: Vec<u32> = (0..sweeps.count).filter(|number| segment(*number).is_some()).collect();
        let mut bins = Scratch::new(numbers.len() * BINS.len());
        let mut buffer = Scratch::<Complex64>::new(PERIOD);
        // Two at a time: one as the real part, one as the imaginary.
        for (pair, out) in numbers.chunks(2).zip(bins.chunks_mut(2 * BINS.len())) {
            let one = pair.first().and_then(|number| segment(*number)).unwrap_or_default();
            let other = pair.get(1).and_then(|number| segment(*number)).unwrap_or_default();
            let others = other.iter().copied().chain(std::iter::repeat(0));
            for ((value, re), im) in buffer.iter_mut().zip(one).zip(others) {
                *value = Complex64::new(f64::from(*re), f64::from(im)) / 32_768.0;
            }
            plan.period.forward(&mut buffer);
            let (left, right) = out.split_at_mut(BINS.len());
            for (n, bin) in BINS.enumerate() {
                let (value, mirror) = (buffer[bin], buffer[PERIOD - bin].conj());
                left[n] = narrow((value + mirror) * 0.5 * plan.inverse[n]);
                if let Some(right) = right.get_mut(n) {
                    *right = narrow((value - mirror) * Complex64::new(0.0, -0.5) * plan.inverse[n]);
                }
            }
        }
        Some(Self { numbers, first, bins })
    }

    /// Sweeps held.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Number of sweep `index` of those held.
    pub(crate) fn number(&self, index: usize) -> f64 {
        self.numbers.get(index).map_or(0.0, |number| f64::from(*number))
    }

    /// The sweep in the middle of those at `indices`, in time: where all others are moved to.
    pub(crate) fn middle(&self, indices: &[usize]) -> f64 {
        indices.iter().map(|index| self.number(*index)).sum::<f64>() / indices.len().max(1) as f64
    }

    /// Where in the line the period of sweep `number` begins; between two sweeps in between.
    pub(crate) fn begin(&self, number: f64) -> f64 {
        self.first as f64 + number * PERIOD as f64
    }

    /// The bins of sweep `index`.
    pub(crate) fn bins(&self, index: usize) -> &[Complex32] {
        self.bins.chunks(BINS.len()).nth(index).unwrap_or_default()
    }

    /// Adds the bins of sweep `index`, earlier by `samples` and times `scale`, to `sum`.
    fn add(&self, index: usize, samples: f64, scale: f64, sum: &mut [Complex64]) {
        let mut turn = turn(samples, 0);
        for (sum, value) in sum.iter_mut().zip(self.bins(index)) {
            *sum += wide(*value) * turn.next() * scale;
        }
    }

    /// The average of the sweeps at `indices` by a clock that runs faster by `skew` than the one that the
    /// periods were cut by, at the time of sweep `middle`.
    pub(crate) fn average(&self, indices: &[usize], skew: f64, middle: f64) -> Scratch<Complex64> {
        let mut sum = Scratch::new(BINS.len());
        for index in indices {
            let samples = skew * PERIOD as f64 * (self.number(*index) - middle);
            self.add(*index, samples, 1.0 / indices.len() as f64, &mut sum);
        }
        sum
    }

    /// The sharpest average over the skews that clocks can have.
    pub(crate) fn sharpest(&self, plan: &Plan) -> Peak {
        let indices: Vec<usize> = (0..self.len()).collect();
        let middle = self.middle(&indices);
        // Between two tries the outermost sweeps turn by half a circle at 3 kHz at most.
        let step = 1.4e-4 / self.len().max(1) as f64;
        let most = (WIDEST_SKEW / step).ceil();
        let mut best = Peak { skew: 0.0, at: 0.0, height: 0.0, noise: f64::INFINITY, rest: f64::INFINITY };
        for tried in 0..=(2.0 * most) as usize {
            let skew = step * (tried as f64 - most);
            let envelope = coarse(&self.average(&indices, skew, middle), plan);
            let (at, height) = highest(&envelope);
            if height > best.height {
                let (second, noise) = highest_away(&envelope, &[at]);
                let (_, rest) = highest_away(&envelope, &[at, second]);
                best = Peak { skew, at: (3 * at) as f64, height, noise, rest };
            }
        }
        best
    }
}

/// A factor that turns from bin to bin, as a shift to `samples` earlier does.
struct Turn {
    value: Complex64,
    step: Complex64,
}

/// From kept bin `first` on.
fn turn(samples: f64, first: usize) -> Turn {
    let angle = TAU / PERIOD as f64 * samples;
    let value = Complex64::from_polar(1.0, angle * (BINS.start + first) as f64);
    Turn { value, step: Complex64::from_polar(1.0, angle) }
}

impl Turn {
    fn next(&mut self) -> Complex64 {
        let value = self.value;
        self.value *= self.step;
        value
    }
}

/// The analytic response of bins on the coarse grid, every third sample.
pub(crate) fn coarse(bins: &[Complex64], plan: &Plan) -> Scratch<Complex64> {
    let mut out = Scratch::<Complex64>::new(COARSE);
    out[BINS].copy_from_slice(bins);
    plan.coarse.inverse(&mut out);
    out.iter_mut().for_each(|value| *value /= 3.0);
    out
}

/// The analytic response of bins, at every sample of a period. A path of gain 1 has bins of 1.
pub(crate) fn fine(bins: &[Complex64], plan: &Plan) -> Scratch<Complex64> {
    let mut out = Scratch::<Complex64>::new(PERIOD);
    out[BINS].copy_from_slice(bins);
    plan.period.inverse(&mut out);
    out
}

/// The kept bins of a response on the coarse grid.
pub(crate) fn coarse_bins(mut response: Scratch<Complex64>, plan: &Plan) -> Scratch<Complex64> {
    plan.coarse.forward(&mut response);
    let mut bins = Scratch::new(BINS.len());
    bins.copy_from_slice(&response[BINS]);
    bins.iter_mut().for_each(|value| *value *= 3.0);
    bins
}

/// The same on the coarse grid, but where neither of `peaks` can still be seen.
fn highest_away(response: &[Complex64], peaks: &[usize]) -> (usize, f64) {
    let (before, after) = (AROUND.0 / 3, AROUND.1 / 3);
    let is_away =
        |n: usize| peaks.iter().all(|peak| (after..COARSE - before).contains(&((n + COARSE - peak) % COARSE)));
    let mut best = (0, 0.0);
    for (n, value) in response.iter().enumerate() {
        if value.norm_sqr() > best.1 && is_away(n) {
            best = (n, value.norm_sqr());
        }
    }
    (best.0, best.1.sqrt())
}

/// Where the envelope is highest, and how high.
pub(crate) fn highest(response: &[Complex64]) -> (usize, f64) {
    let mut best = (0, 0.0);
    for (n, value) in response.iter().enumerate() {
        if value.norm_sqr() > best.1 {
            best = (n, value.norm_sqr());
        }
    }
    (best.0, best.1.sqrt())
}

/// The arrival of the direct sound, in samples with their fraction: the first maximum of the envelope within
/// 10 ms before the highest that is no more than 6 dB below it, by a parabola through its neighbours.
pub(crate) fn arrival(response: &[Complex64]) -> f64 {
    let length = response.len();
    let (peak, height) = highest(response);
    let envelope = |n: usize| response.get((n + length) % length.max(1)).map_or(0.0, |value| value.norm());
    let from = peak + length - FIRST_WITHIN.min(length);
    let first = (from..peak + length)
        .find(|n| {
            let value = envelope(*n);
            value >= 0.5 * height && value > envelope(n - 1) && value >= envelope(n + 1)
        })
        .unwrap_or(peak + length);
    let (before, at, after) = (envelope(first - 1), envelope(first), envelope(first + 1));
    let bend = before - 2.0 * at + after;
    let part = if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    first as f64 - length as f64 + part
}

/// The part of a response from `from` on, weighted by `window`; nothing elsewhere.
pub(crate) fn windowed(
    response: &[Complex64],
    from: f64,
    length: usize,
    window: impl Fn(usize) -> f64,
) -> Scratch<Complex64> {
    let mut out = Scratch::new(response.len());
    let all = response.len() as i64;
    for n in 0..length.min(response.len()) {
        let at = (from.round() as i64 + n as i64).rem_euclid(all.max(1)) as usize;
        out[at] = response[at] * window(n);
    }
    out
}

/// The bins between two frequencies in hertz, as indices of kept bins.
pub(crate) fn between(low: f64, high: f64) -> std::ops::Range<usize> {
    let index = |hertz: f64| {
        let bin = (hertz / f64::from(RATE) * PERIOD as f64).ceil() as usize;
        bin.clamp(BINS.start, BINS.end) - BINS.start
    };
    index(low)..index(high).max(index(low))
}

/// Mean power of `bins` of a period between two frequencies in hertz.
pub(crate) fn power(bins: &[Complex64], low: f64, high: f64) -> f64 {
    let bins = &bins[between(low, high)];
    bins.iter().map(Complex64::norm_sqr).sum::<f64>() / bins.len().max(1) as f64
}

/// The kept bins of a response on the fine grid.
pub(crate) fn fine_bins(mut response: Scratch<Complex64>, plan: &Plan) -> Scratch<Complex64> {
    plan.period.forward(&mut response);
    let mut bins = Scratch::new(BINS.len());
    bins.copy_from_slice(&response[BINS]);
    bins
}

/// How far each sweep at `indices` departs from their average, as the power of what is left of it.
pub(crate) fn residuals(
    responses: &Responses,
    indices: &[usize],
    skew: f64,
    average: &[Complex64],
    plan: &Plan,
) -> Vec<f64> {
    let middle = responses.middle(indices);
    let left = |index: &usize| {
        let mut turn = turn(skew * PERIOD as f64 * (responses.number(*index) - middle), 0);
        let values = responses.bins(*index).iter().zip(average).zip(&plan.powers);
        values.map(|((value, mean), power)| (wide(*value) * turn.next() - mean).norm_sqr() * power).sum::<f64>()
    };
    indices.iter().map(left).collect()
}

/// For each of `parts` of the kept bins the mean power by which a sweep departs from the average.
pub(crate) fn scatter(
    responses: &Responses,
    indices: &[usize],
    skew: f64,
    average: &[Complex64],
    parts: &[std::ops::Range<usize>],
) -> Vec<f64> {
    let middle = responses.middle(indices);
    let mut powers = vec![0.0; parts.len()];
    for index in indices {
        let mut turn = turn(skew * PERIOD as f64 * (responses.number(*index) - middle), 0);
        let mut part = 0;
        for (n, (value, mean)) in responses.bins(*index).iter().zip(average).enumerate() {
            let turned = wide(*value) * turn.next();
            while parts.get(part).is_some_and(|range| n >= range.end) {
                part += 1;
            }
            let here = powers.get_mut(part).zip(parts.get(part)).filter(|(_, range)| range.contains(&n));
            if let Some((power, range)) = here {
                *power += (turned - mean).norm_sqr() / range.len() as f64;
            }
        }
    }
    let freedom = indices.len().saturating_sub(1).max(1) as f64;
    powers.iter_mut().for_each(|power| *power /= freedom);
    powers
}

/// Multiplies each bin of sweep `index`, earlier by `samples`, with the conjugate of `model`.
pub(crate) fn cross(responses: &Responses, index: usize, samples: f64, model: &[Complex64]) -> Scratch<Complex64> {
    let mut out = Scratch::new(BINS.len());
    let mut turn = turn(samples, 0);
    for ((out, value), model) in out.iter_mut().zip(responses.bins(index)).zip(model) {
        *out = wide(*value) * turn.next() * model.conj();
    }
    out
}

/// The correlation whose cross spectrum is `bins`, of which nothing but `range` is asked, at `samples`.
pub(crate) fn correlation(bins: &[Complex64], range: std::ops::Range<usize>, samples: f64) -> f64 {
    let mut turn = turn(samples, range.start);
    bins[range].iter().map(|value| (value * turn.next()).re).sum()
}

/// The bins of sweep `index` alone.
pub(crate) fn alone(responses: &Responses, index: usize) -> Scratch<Complex64> {
    let mut out = Scratch::new(BINS.len());
    out.iter_mut().zip(responses.bins(index)).for_each(|(out, value)| *out = wide(*value));
    out
}

/// The slope and the curvature over τ of the correlation whose cross spectrum is `bins`, at `samples`.
pub(crate) fn slope(bins: &[Complex64], samples: f64) -> (f64, f64) {
    let mut turn = turn(samples, 0);
    let step = TAU / PERIOD as f64;
    let (mut first, mut second) = (0.0, 0.0);
    for (value, bin) in bins.iter().zip(BINS) {
        let angle = step * bin as f64;
        let value = value * turn.next();
        first -= angle * value.im;
        second -= angle * angle * value.re;
    }
    (first, second)
}

fn wide(value: Complex32) -> Complex64 {
    Complex64::new(f64::from(value.re), f64::from(value.im))
}

fn narrow(value: Complex64) -> Complex32 {
    Complex32::new(value.re as f32, value.im as f32)
}
