//! Medians, weighted quantiles, and quantiles of distributions. All of them tolerate any input, also none.

use statrs::distribution::{Beta, ChiSquared, ContinuousCDF, StudentsT};

use super::Interval;

/// Quantile of the normal distribution for a two-sided interval of 95 %.
pub const NORMAL: f64 = 1.959_963_984_540_054;
/// What each end of a two-sided interval of 95 % leaves out.
const TAIL: f64 = 0.025;
/// The least number of sister rooms, or of earlier pairs, whose shifts tell how much a shift means by itself.
const LEAST_SHIFTS: usize = 2;

/// Median; the mean of the two middle ones if their number is even. What is no number is left out; `None`
/// of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let n = values.len();
    if n == 0 {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    Some(f64::midpoint(values[(n - 1) / 2], values[n / 2]))
}

/// Standard deviation, from n − 1. `None` of fewer than two.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    Some((values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// The quantile `q` of weighted values: the least value up to which at least that share of the weight lies
/// (the inverse of the weighted distribution function). With equal weights it is the ordinary quantile by
/// the same definition. `None` without any weight.
pub fn weighted_quantile(values: &[(f64, f64)], q: f64) -> Option<f64> {
    let mut values: Vec<(f64, f64)> =
        values.iter().copied().filter(|(value, weight)| value.is_finite() && *weight > 0.0).collect();
    values.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
    // Sums of the same weights come out a little apart; a thousandth of a millionth is none.
    let wanted = q.clamp(0.0, 1.0) * values.iter().map(|(_, weight)| weight).sum::<f64>() * (1.0 - 1e-9);
    let mut sum = 0.0;
    let found = values.iter().find(|(_, weight)| {
        sum += weight;
        sum >= wanted
    });
    found.or(values.last()).map(|(value, _)| *value)
}

/// Upper 97.5 % quantile of Student's t.
pub fn student(freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, freedom.max(1) as f64).map_or(f64::INFINITY, |t| t.inverse_cdf(1.0 - TAIL))
}

/// How many events so many stand for: the exact interval of Garwood (1936),
/// χ²(2.5 %, 2n)/2 to χ²(97.5 %, 2n + 2)/2.
pub fn poisson(n: u64) -> Interval {
    let quantile = |p: f64, freedom: f64| ChiSquared::new(freedom).map(|chi| chi.inverse_cdf(p) / 2.0);
    let low = if n == 0 { 0.0 } else { quantile(TAIL, 2.0 * n as f64).unwrap_or(0.0) };
    let high = quantile(1.0 - TAIL, 2.0 * n as f64 + 2.0).unwrap_or(f64::INFINITY);
    Interval { estimate: n as f64, low, high }
}

/// The share that `n` of `of` stand for: the exact interval of Clopper and Pearson (1934).
pub fn share_exact(n: u64, of: u64) -> Interval {
    let n = n.min(of);
    let (yes, no) = (n as f64, (of - n) as f64);
    let quantile = |p: f64, a: f64, b: f64| Beta::new(a, b).map(|beta| beta.inverse_cdf(p));
    let low = if n == 0 { 0.0 } else { quantile(TAIL, yes, no + 1.0).unwrap_or(0.0) };
    let high = if n == of { 1.0 } else { quantile(1.0 - TAIL, yes + 1.0, no).unwrap_or(1.0) };
    Interval { estimate: if of == 0 { 0.5 } else { yes / of as f64 }, low, high }
}

/// The share that was seen in so many independent looks, of any size: the score interval of Wilson (1927).
pub fn share_score(share: f64, looks: f64) -> Interval {
    let share = share.clamp(0.0, 1.0);
    if !(looks.is_finite() && looks > 0.0) {
        return Interval { estimate: share, low: 0.0, high: 1.0 };
    }
    let square = NORMAL * NORMAL / looks;
    let center = (share + square / 2.0) / (1.0 + square);
    let half = (square * share * (1.0 - share) + square * square / 4.0).sqrt() / (1.0 + square);
    // At none and at all the end is the share itself, but for what rounding makes of it.
    Interval { estimate: share, low: (center - half).clamp(0.0, share), high: (center + half).clamp(share, 1.0) }
}

/// Difference `b − a` of two independent shares (Newcombe 1998, method 10: by their score intervals).
pub fn share_difference(a: Interval, b: Interval) -> Interval {
    let estimate = b.estimate - a.estimate;
    Interval {
        estimate,
        low: estimate - (b.estimate - b.low).hypot(a.high - a.estimate),
        high: estimate + (b.high - b.estimate).hypot(a.estimate - a.low),
    }
}

/// A shift less what it would have been anyway: `others` are shifts that nothing was done for. The interval
/// is that of one further shift of the same kind: ± t(97.5 %, n − 1) · sd · √(1 + 1/n). `None` of fewer
/// than two others, or of a shift that is no number.
pub fn against(own: f64, others: &[f64]) -> Option<Interval> {
    if !own.is_finite() || others.len() < LEAST_SHIFTS {
        return None;
    }
    let estimate = own - median(others)?;
    let n = others.len();
    let half = student(n - 1) * deviation(others)? * (1.0 + 1.0 / n as f64).sqrt();
    half.is_finite().then_some(Interval { estimate, low: estimate - half, high: estimate + half })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(interval: Interval, low: f64, high: f64) {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
        assert!(close(interval.low, low) && close(interval.high, high), "{interval:?}, expected {low} to {high}");
    }

    /// python3 -c "from scipy.stats import t; print([round(float(t.ppf(.975, n)), 9) for n in (1, 7, 11, 19, 200)])"
    #[test]
    fn quantiles_of_student() {
        let expected =
            [(1, 12.706_204_736), (7, 2.364_624_252), (11, 2.200_985_160), (19, 2.093_024_054), (200, 1.971_896_224)];
        for (freedom, expected) in expected {
            assert!((student(freedom) - expected).abs() < 1e-6, "{freedom}: {}", student(freedom));
        }
    }

    /// python3 -c "from scipy.stats import chi2 as c; print([(c.ppf(.025, 2*n)/2, c.ppf(.975, 2*n+2)/2) for n in (0, 1, 3, 25, 400)])"
    #[test]
    fn exact_counts() {
        near(poisson(0), 0.0, 3.688_879_454);
        near(poisson(1), 0.025_317_808, 5.571_643_391);
        near(poisson(3), 0.618_672_122, 8.767_273_08);
        near(poisson(25), 16.178_681_85, 36.904_931_7);
        near(poisson(400), 361.756_296_6, 441.186_648_1);
    }

    /// python3 -c "from scipy.stats import binomtest as b; print([(b(k, n).proportion_ci(method=m).low, b(k, n).proportion_ci(method=m).high) for k, n in ((0, 12), (3, 10), (56, 70), (12, 12)) for m in ('exact', 'wilson')])"
    #[test]
    fn shares() {
        near(share_exact(0, 12), 0.0, 0.264_648_469);
        near(share_exact(3, 10), 0.066_739_511, 0.652_452_853);
        near(share_exact(12, 12), 0.735_351_531, 1.0);
        near(share_score(0.0, 12.0), 0.0, 0.242_494_006);
        near(share_score(0.3, 10.0), 0.107_791_27, 0.603_221_85);
        near(share_score(1.0, 12.0), 0.757_505_994, 1.0);
        near(share_exact(0, 0), 0.0, 1.0);
        near(share_score(0.3, 0.0), 0.0, 1.0);
    }

    /// Newcombe, Statistics in Medicine 17 (1998) 873, table II: 56 of 70 against 48 of 80, method 10.
    #[test]
    fn difference_of_shares() {
        let (a, b) = (share_score(48.0 / 80.0, 80.0), share_score(56.0 / 70.0, 70.0));
        let difference = share_difference(a, b);
        assert!((difference.estimate - 0.2).abs() < 1e-12);
        assert!((difference.low - 0.0524).abs() < 5e-5 && (difference.high - 0.3339).abs() < 5e-5, "{difference:?}");
    }

    /// python3 -c "import numpy as np; from scipy.stats import t; o = np.array([.1, -.2, .3, 0, .05, -.1, .2, .15]); c = np.median(o); h = t.ppf(.975, 7)*o.std(ddof=1)*(1+1/8)**.5; print(1-c-h, 1-c, 1-c+h)"
    #[test]
    fn against_others() {
        let others = [0.1, -0.2, 0.3, 0.0, 0.05, -0.1, 0.2, 0.15];
        let interval = against(1.0, &others).expect("eight");
        assert!((interval.estimate - 0.925).abs() < 1e-12);
        near(interval, 0.518_647_39, 1.331_352_61);
        assert_eq!(against(1.0, &others[..1]), None);
        assert_eq!(against(f64::NAN, &others), None);
    }

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN, 4.0, 1.0, 3.0, 2.0]), Some(2.5));
        let even: Vec<(f64, f64)> = (1..=100).map(|i| (f64::from(i), 0.7)).collect();
        assert_eq!(weighted_quantile(&even, 0.95), Some(95.0));
        assert_eq!(weighted_quantile(&[(1.0, 9.0), (5.0, 1.0), (9.0, 0.0)], 0.95), Some(5.0));
        assert_eq!(weighted_quantile(&[(1.0, 0.0)], 0.5), None);
        assert_eq!(deviation(&[1.0]), None);
    }
}
