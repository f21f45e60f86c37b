//! Whether all parts of all sweeps stand where they were played: each part of a sweep is held against the same
//! part of other sweeps, so that no average hides that sound was lost or repeated between them.

use std::{collections::VecDeque, f64::consts::TAU};

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    response::{COARSE, Plan, Responses, alone, between, coarse, coarse_bins, correlation, windowed},
    scratch::Scratch,
    signal::{BAND, PERIOD},
};

/// Parts of a sweep of equal time, 125 ms, and so of two thirds of an octave.
const PARTS: u32 = 8;
/// Places of the coarse grid before and after the arrival that are looked at: 150 and 350 ms, so that a sweep
/// which came 100 ms earlier or later is within, and no harmonic.
const WINDOW: (usize, usize) = (RATE as usize / 20, RATE as usize * 7 / 60);
/// Places of the coarse grid within which a correlation is still the same peak: 20 ms.
const APART: usize = RATE as usize / 150;
/// What a part may be off, in samples: 0.2 ms. Below, no number is wrong by more than it may be.
const OFF: f64 = 0.2e-3 * RATE as f64;
/// Up to so many sweeps, all are held against all; of more, each against the next.
const FEW: usize = 4;
/// How many parts must be off; a sweep that is off is so against two others at the least.
const LEAST: usize = 2;

/// One part of two sweeps.
struct Lag {
    /// Periods from one to the other.
    periods: f64,
    /// Samples by which the later one came later than it was played.
    late: f64,
}

/// Whether sound was lost or repeated between the sweeps or in them. Their arrival is `at`, in samples of
/// the period, as near as 100 ms. What clocks differ by is not counted, however much it is.
pub(crate) fn is_torn(responses: &Responses, at: f64, plan: &Plan) -> bool {
    let reach = if responses.len() <= FEW { FEW } else { 1 };
    let mut before: VecDeque<(f64, Scratch<Complex64>)> = VecDeque::new();
    let mut lags = Vec::new();
    for index in 0..responses.len() {
        let number = responses.number(index);
        let response = coarse(&alone(responses, index), plan);
        let from = at / 3.0 - WINDOW.0 as f64;
        let bins = coarse_bins(windowed(&response, from, WINDOW.0 + WINDOW.1, |_| 1.0), plan);
        for (other, others) in &before {
            for part in 0..PARTS {
                let late = lag(&bins, others, part, plan);
                lags.extend(late.map(|late| Lag { periods: number - other, late }));
            }
        }
        before.push_back((number, bins));
        if before.len() > reach {
            before.pop_front();
        }
    }
    // Of one period in the middle: what the clocks differ by, as a slip is at one place only.
    let mut steps: Vec<f64> = lags.iter().filter(|lag| lag.periods < 1.5).map(|lag| lag.late).collect();
    steps.sort_unstable_by(f64::total_cmp);
    let Some(step) = steps.get(steps.len() / 2) else { return false };
    lags.iter().filter(|lag| (lag.late - step * lag.periods).abs() > OFF).count() >= LEAST
}

/// Samples by which a part of one response is later than that of another; nothing where noise makes it unsure.
fn lag(one: &[Complex64], other: &[Complex64], part: u32, plan: &Plan) -> Option<f64> {
    let edge = |part: u32| BAND.0 * (BAND.1 / BAND.0).powf(f64::from(part) / f64::from(PARTS));
    let (low, high) = (edge(part), edge(part + 1));
    let range = between(low, high);
    let mut bins = Scratch::new(one.len());
    let (mut left, mut right) = (0.0, 0.0);
    for n in range.clone() {
        bins[n] = one[n] * other[n].conj();
        left += one[n].norm_sqr();
        right += other[n].norm_sqr();
    }
    let envelope = coarse(&bins, plan);
    let away = |n: usize, from: usize| n.abs_diff(from).min(COARSE - n.abs_diff(from));
    let (mut place, mut height) = (0, 0.0);
    for (n, value) in envelope.iter().enumerate() {
        if value.norm() > height {
            (place, height) = (n, value.norm());
        }
    }
    // A tone agrees with itself everywhere. In a part that was torn, there are two places.
    let is_elsewhere = |n: usize| away(n, place) > APART && away(n, 0) > APART;
    let elsewhere = envelope.iter().enumerate().filter(|(n, _)| is_elsewhere(*n));
    let elsewhere = elsewhere.map(|(_, value)| value.norm()).fold(0.0, f64::max);
    let alike = height * PERIOD as f64 / (left * right).sqrt().max(f64::MIN_POSITIVE);
    if elsewhere * 1.5 > height || alike <= 0.0 {
        return None;
    }
    // What noise moves the phase by, in radians: each bin that is independent tells it once.
    let independent = range.len() as f64 * 3.0 * (WINDOW.0 + WINDOW.1) as f64 / PERIOD as f64;
    let unsure = ((1.0 / alike.powi(2) - 1.0).max(0.0) / (2.0 * independent)).sqrt();
    let middle = (low * high).sqrt();
    let rate = f64::from(RATE);
    let by_phase = unsure / (TAU * middle) * rate;
    let by_envelope = unsure / (TAU * (high - low) / 12f64.sqrt()) * rate;
    if 5.0 * by_phase > OFF || 4.5 * by_envelope > 0.5 * rate / middle {
        return None;
    }
    let around = if place > COARSE / 2 { place as f64 - COARSE as f64 } else { place as f64 } * 3.0;
    let step = rate / high / 16.0;
    let most = (0.6 * rate / low / step).ceil() as i32;
    let tries = (-most..=most).map(|n| around + step * f64::from(n));
    tries
        .map(|late| (late, correlation(&bins, range.clone(), late)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(late, _)| late)
}
