//! Medians, quantiles and rank estimates. All of them tolerate any input, also none.

/// Median of the values, which are reordered; the mean of the two middle ones if their number is even.
/// `None` of none. Values that are no numbers sort last.
pub(super) fn median(values: &mut [f32]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, middle, _) = values.select_nth_unstable_by(n / 2, f32::total_cmp);
    let middle = f64::from(*middle);
    if n % 2 == 1 {
        return Some(middle);
    }
    let lower = below.iter().copied().max_by(f32::total_cmp).map_or(middle, f64::from);
    Some(0.5 * (lower + middle))
}

/// Median of the absolute values of `values - center`.
pub(super) fn median_deviation(values: &[f32], center: f64) -> Option<f64> {
    let mut deviations: Vec<f32> = values.iter().map(|value| (f64::from(*value) - center).abs() as f32).collect();
    median(&mut deviations)
}

/// The quantile `q` of 0 to 1, between the two nearest values in proportion. `None` of none.
pub(super) fn quantile(values: &mut [f32], q: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    values.sort_unstable_by(f32::total_cmp);
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(last);
    Some(f64::from(values[low]) * (1.0 - part) + f64::from(values[high]) * part)
}

/// Centre of some shifts with the lower bound of a one-sided interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// Hodges–Lehmann estimate: the median of the means of all pairs.
    pub center: f64,
    /// Lower bound by the signed-rank test; minus infinity if there are too few values for one.
    pub low: f64,
}

/// Quantile of the normal distribution for the confidence that so many shifts are judged with:
/// 99.5 % from ten on, 98 % from six on, 93 % below.
fn confidence(n: usize) -> f64 {
    match n {
        10.. => 2.575_829_3,
        6..10 => 2.053_748_9,
        _ => 1.475_791_0,
    }
}

/// Centre and lower bound of paired shifts (Hodges and Lehmann 1963; the bound inverts Wilcoxon's
/// signed-rank test in its normal approximation). `None` of fewer than four.
pub(super) fn signed_rank(shifts: &[f64]) -> Option<Estimate> {
    let n = shifts.len();
    if n < 4 {
        return None;
    }
    let mut means: Vec<f64> =
        (0..n).flat_map(|i| (i..n).map(move |j| (i, j))).map(|(i, j)| 0.5 * (shifts[i] + shifts[j])).collect();
    means.sort_unstable_by(f64::total_cmp);
    let size = n as f64;
    let spread = (size * (size + 1.0) * (2.0 * size + 1.0) / 24.0).sqrt();
    let place = size * (size + 1.0) / 4.0 - confidence(n) * spread;
    let low = if place >= 0.0 { means[(place as usize).min(means.len() - 1)] } else { f64::NEG_INFINITY };
    Some(Estimate { center: middle(&means), low })
}

/// Shift from `before` to `after` with the lower bound of the 98 % rank interval of Mann and Whitney
/// (Hodges–Lehmann for two samples). `None` without values on both sides.
pub(super) fn two_sample(before: &[f32], after: &[f32]) -> Option<Estimate> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let difference = |(a, b): (&f32, &f32)| f64::from(*b) - f64::from(*a);
    let mut differences: Vec<f64> =
        before.iter().flat_map(|a| after.iter().map(move |b| (a, b))).map(difference).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let (n, m) = (before.len() as f64, after.len() as f64);
    let place = n * m / 2.0 - 2.326_347_9 * (n * m * (n + m + 1.0) / 12.0).sqrt();
    let low = if place >= 0.0 { differences[(place as usize).min(differences.len() - 1)] } else { f64::NEG_INFINITY };
    Some(Estimate { center: middle(&differences), low })
}

/// Median of sorted values, which are not none.
fn middle(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    0.5 * (sorted[(n - 1) / 2] + sorted[n / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&mut [9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median_deviation(&[1.0, 2.0, 9.0], 2.0), Some(1.0));
        assert_eq!(quantile(&mut [1.0, 2.0, 3.0], 0.75), Some(2.5));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn rank_bounds() {
        assert_eq!(signed_rank(&[1.0, 1.0, 1.0]), None);
        let even = signed_rank(&[1.0, 1.1, 0.9, 1.2]).expect("four");
        assert!((even.center - 1.05).abs() < 0.03 && (even.low - 0.9).abs() < 1e-9, "{even:?}");
        // Ten shifts: the third smallest of the 55 means.
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let estimate = signed_rank(&ten).expect("ten");
        assert!((estimate.center - 5.5).abs() < 1e-9 && (estimate.low - 2.0).abs() < 1e-9, "{estimate:?}");
        let (before, after): (Vec<f32>, Vec<f32>) =
            (0..40_u8).map(|i| (f32::from(i % 7), f32::from(i % 7) + 2.0)).unzip();
        let shift = two_sample(&before, &after).expect("both");
        assert!((shift.center - 2.0).abs() < 1e-6 && shift.low > 0.0 && shift.low < 2.0, "{shift:?}");
    }
}
