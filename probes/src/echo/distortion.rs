//! Harmonic distortion from an exponential sweep (Farina 2000): the response of order m stands
//! T·ln m / ln(f2/f1) before the linear one.

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    signal::{BAND, SWEEP},
    spectrum::decibels,
};

/// Orders that are added up.
const ORDERS: std::ops::RangeInclusive<u32> = 2..=5;
/// Samples of a window, and how many of them stand before the arrival: 25 and 5 ms. The orders are 57 ms
/// apart at the least.
const WINDOW: usize = RATE as usize / 40;
const BEFORE: usize = RATE as usize / 200;
/// Where harmonics do not stand out of the noise, what stands in their places is only told if it is this
/// far below the linear response, in decibels: then it is good news whatever it is.
const CLEAN: f64 = -40.0;

/// How many samples before the arrival the response of an order stands.
pub(crate) fn earlier(order: u32) -> f64 {
    SWEEP as f64 * f64::from(order).ln() / (BAND.1 / BAND.0).ln()
}

/// Power of orders 2 to 5 against that of the linear response, in decibels. `noise` is the mean power of a
/// sample of the response where there is neither.
///
/// Harmonics that do not stand out are bounded by what stands in their places, if that is little; else
/// nothing is told.
pub(crate) fn distortion(response: &[Complex64], arrival: f64, noise: f64) -> Option<f64> {
    let all = response.len() as i64;
    let energy = |before: f64| -> f64 {
        let from = (arrival - before).round() as i64 - BEFORE as i64;
        let window = (from..from + WINDOW as i64).filter_map(|n| response.get(n.rem_euclid(all.max(1)) as usize));
        window.map(Complex64::norm_sqr).sum()
    };
    if response.is_empty() || !arrival.is_finite() {
        return None;
    }
    let noise = noise * WINDOW as f64;
    let linear = energy(0.0) - noise;
    if linear <= noise {
        return None;
    }
    let (found, noise) = ORDERS.fold((0.0, 0.0), |(found, all), order| (found + energy(earlier(order)), all + noise));
    let stands_out = found > 2.0 * noise;
    let power = if stands_out { found - noise } else { found };
    let level = decibels(power / linear);
    (stands_out || level < CLEAN).then_some(level)
}
