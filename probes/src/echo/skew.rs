//! When each sweep arrived against all others: whether sound was lost between them, and how much faster one
//! clock runs than the other.

use std::ops::Range;

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    bands::parts,
    response::{
        COARSE, Plan, Responses, arrival, between, coarse, coarse_bins, correlation, cross, scatter, slope, windowed,
    },
    scratch::Scratch,
    signal::{BAND, PERIOD},
};

/// What sweeps may be nearer or farther apart than they were played: 0.5 ms, in samples.
const SPACING: f64 = 0.5e-3 * RATE as f64;
/// Places of the coarse grid before and after its arrival from which on and to which the response is taken
/// to tell arrivals by: 3 and 100 ms.
const MODEL: (usize, usize) = (RATE as usize / 1000, RATE as usize / 30);
/// Places of the coarse grid within which a correlation is still the same peak: 20 ms.
const APART: usize = RATE as usize / 150;
/// Sweeps below which no slope is told.
const FEWEST: usize = 3;

/// A slope, and half of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slope {
    pub(crate) slope: f64,
    pub(crate) within: f64,
}

/// The line of least squares through points: its slope, with the interval by Student's t.
pub(crate) fn fit(points: &[(f64, f64)]) -> Option<Slope> {
    let n = points.len() as f64;
    if points.len() < FEWEST {
        return None;
    }
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if spread <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let left: f64 = points.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
    let error = (left / (n - 2.0) / spread).sqrt();
    Some(Slope { slope, within: student(points.len() - 2) * error })
}

/// The factor of a two-sided 95 % interval with so many degrees of freedom.
fn student(freedom: usize) -> f64 {
    const FIRST: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    FIRST.get(freedom.max(1) - 1).copied().unwrap_or(1.96 + 2.45 / freedom as f64)
}

/// What the sweeps tell of the time between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Course {
    /// Number and arrival of each sweep in samples, above that of the average.
    pub(crate) arrivals: Vec<(f64, f64)>,
    /// Whether one, or a part of one, came too early or too late: sound was lost or repeated.
    pub(crate) slipped: bool,
}

/// The arrivals of the sweeps at `indices`, by a clock that is off by `skew`. Whether sound was lost is asked
/// of the others, too: a sweep that is unlike the rest may be so for that.
pub(crate) fn course(responses: &Responses, indices: &[usize], skew: f64, plan: &Plan) -> Course {
    let middle = responses.middle(indices);
    let parts: Vec<Range<usize>> = parts(BAND).map(|(low, high)| between(low, high)).collect();
    let average = responses.average(indices, skew, middle);
    // What is noisy counts less: each part of the band by one over the power by which sweeps differ in it.
    let noise = scatter(responses, indices, skew, &average, &parts);
    let mut course = Course { arrivals: Vec::new(), slipped: false };
    for index in 0..responses.len() {
        // Against the others alone: a sweep always agrees with itself.
        let others: Vec<usize> = indices.iter().copied().filter(|other| *other != index).collect();
        let response = coarse(&responses.average(&others, skew, middle), plan);
        let from = arrival(&response).round() - MODEL.0 as f64;
        let mut model = coarse_bins(windowed(&response, from, MODEL.0 + MODEL.1, |_| 1.0), plan);
        for (range, noise) in parts.iter().zip(&noise) {
            let bins = &mut model[range.clone()];
            let power = bins.iter().map(Complex64::norm_sqr).sum::<f64>() / bins.len().max(1) as f64;
            bins.iter_mut().for_each(|value| *value /= noise + 1e-3 * power + 1e-20);
        }
        let number = responses.number(index);
        let bins = cross(responses, index, skew * PERIOD as f64 * (number - middle), &model);
        let halves = halves(&bins, plan);
        course.slipped |= halves.iter().any(|half| moved(half));
        if !indices.contains(&index) {
            continue;
        }
        // Against the average of all, the sweep itself among them, it is late by less.
        let share = others.len() as f64 / indices.len() as f64;
        course.arrivals.extend(refine(&bins, &halves).map(|late| (number, share * late)));
    }
    course.slipped |= course.arrivals.windows(2).any(|pair| match pair {
        [one, other] => ((other.1 - one.1) / (other.0 - one.0) + skew * PERIOD as f64).abs() > SPACING,
        _ => false,
    });
    course
}

/// The correlations of the lower and of the upper half of a sweep, in time, whose cross spectrum is `bins`.
fn halves(bins: &[Complex64], plan: &Plan) -> [Scratch<Complex64>; 2] {
    let middle = (BAND.0 * BAND.1).sqrt();
    [between(0.0, middle), between(middle, f64::from(RATE))].map(|range| {
        let mut half = Scratch::new(bins.len());
        half[range.clone()].copy_from_slice(&bins[range]);
        coarse(&half, plan)
    })
}

/// Whether a correlation is clearly highest at another place than where it should be.
fn moved(correlation: &[Complex64]) -> bool {
    let away = |n: usize, from: usize| n.abs_diff(from).min(COARSE - n.abs_diff(from));
    let most = |is_wanted: &dyn Fn(usize) -> bool| {
        let wanted = correlation.iter().enumerate().filter(|(n, _)| is_wanted(*n));
        wanted.fold((0, 0.0), |best, (n, value)| if value.norm() > best.1 { (n, value.norm()) } else { best })
    };
    let near = (SPACING / 3.0) as usize;
    let (_, here) = most(&|n| away(n, 0) <= near);
    let (place, there) = most(&|n| away(n, 0) > near);
    let (_, elsewhere) = most(&|n| away(n, 0) > APART && away(n, place) > APART);
    there > 1.5 * here && there > 2.0 * elsewhere
}

/// Where the correlation is highest within what sweeps may be apart, in samples; nothing if it has no
/// maximum there. `bins` is its spectrum, `halves` are its two halves on the coarse grid.
fn refine(bins: &[Complex64], halves: &[Scratch<Complex64>; 2]) -> Option<f64> {
    let [lower, upper] = halves;
    let height = |n: i32| {
        let at = n.rem_euclid(COARSE as i32) as usize;
        (lower[at] + upper[at]).norm()
    };
    let near = (SPACING / 3.0) as i32;
    let place = (-near..=near).max_by(|one, other| height(*one).total_cmp(&height(*other)))?;
    let tries = (-8..=8).map(|step| 3.0 * f64::from(place) + 0.5 * f64::from(step));
    let mut late = tries
        .map(|late| (late, correlation(bins, 0..bins.len(), late)))
        .max_by(|one, other| one.1.total_cmp(&other.1))?
        .0;
    for _ in 0..4 {
        let (first, second) = slope(bins, late);
        if second >= 0.0 {
            return None;
        }
        late -= (first / second).clamp(-1.0, 1.0);
    }
    (late.abs() <= 1.2 * SPACING).then_some(late)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::echo::room::white;

    #[test]
    fn a_line_is_found_and_its_interval_holds_the_truth_as_often_as_it_says() {
        let exact: Vec<(f64, f64)> = (0..5).map(|n| (f64::from(n), 3.0 - 0.5 * f64::from(n))).collect();
        let found = fit(&exact).unwrap();
        assert!((found.slope + 0.5).abs() < 1e-12 && found.within < 1e-9);
        for count in [4, 16, 40] {
            let inside = (0..2000).filter(|trial| {
                let noise = white(count, 50_000 + trial);
                let points: Vec<(f64, f64)> = noise.iter().enumerate().map(|(n, y)| (n as f64, *y)).collect();
                let found = fit(&points).unwrap();
                found.slope.abs() <= found.within
            });
            let share = inside.count() as f64 / 2000.0;
            assert!((share - 0.95).abs() < 0.02, "{count} points: {share}");
        }
    }

    #[test]
    fn two_points_or_points_at_one_place_make_no_line() {
        assert_eq!(fit(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(fit(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
