//! The bad end of a metric over a month: as it was, and as it would have been under the load of the
//! reference term. Only the second compares one month with another.

use serde::Serialize;

use super::statistics::weighted_quantile;
use crate::judge::engine::settings::Worse;

/// Bins of load that are told apart at most.
const BINS: usize = 256;
/// Half-hours without which a bin says nothing of the bad end.
const LEAST_BLOCKS: usize = 3;
/// How far to the bad end.
const BAD_END: f64 = 0.95;

/// A half-hour in a lesson; of a heavy metric, any half-hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfHour {
    /// Value in the metric's own unit.
    pub value: f64,
    /// Bin of load; `None` if the load was not known.
    pub load: Option<u8>,
}

/// Share of the half-hours of a term in each bin of load. Those whose load is not known have none.
pub fn shares(term: &[HalfHour]) -> Vec<f64> {
    let counts = counts(term);
    let known: usize = counts.iter().sum();
    counts.into_iter().map(|count| count as f64 / known.max(1) as f64).collect()
}

fn counts(half_hours: &[HalfHour]) -> Vec<usize> {
    let mut counts = vec![0; BINS];
    half_hours
        .iter()
        .filter(known)
        .filter_map(|half_hour| half_hour.load)
        .for_each(|bin| counts[usize::from(bin)] += 1);
    counts
}

fn known(half_hour: &&HalfHour) -> bool {
    half_hour.value.is_finite()
}

/// The bad end of a metric: of all half-hours, 95 % were no worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BadEnd {
    /// As it was, in the metric's own unit.
    pub observed: f64,
    /// Under the load of the reference term; `None` if no half-hour had such a load.
    pub standardised: Option<f64>,
    /// Half-hours with a value.
    pub half_hours: usize,
    /// Half-hours that count only as observed: of a load that was not known, or not seen in the reference term,
    /// or too seldom now.
    pub left_out: usize,
    /// Share of the reference term whose load was seen now: what the standardised one speaks of.
    pub covered: f64,
}

/// The bad end of some half-hours; a quarter is that of its three months' half-hours together. `shares`: of
/// the reference term, by [`shares`]. `None` without a value.
pub fn bad_end(half_hours: &[HalfHour], shares: &[f64], worse: Worse) -> Option<BadEnd> {
    let counts = counts(half_hours);
    let share = |bin: usize| shares.get(bin).copied().filter(|share| share.is_finite()).unwrap_or(0.0).max(0.0);
    let weight = |half_hour: &HalfHour| {
        let bin = half_hour.load.map(usize::from)?;
        let weight = share(bin) / counts[bin] as f64;
        (counts[bin] >= LEAST_BLOCKS && weight > 0.0).then_some(weight)
    };
    // Turned so that more is worse, and back again.
    let turned = |value: f64| match worse {
        Worse::Up => value,
        Worse::Down => -value,
        Worse::AwayFromZero => value.abs(),
    };
    let back = |value: f64| if worse == Worse::Down { -value } else { value };
    let all = || half_hours.iter().filter(known);
    let plain: Vec<(f64, f64)> = all().map(|half_hour| (turned(half_hour.value), 1.0)).collect();
    let weighted: Vec<(f64, f64)> =
        all().filter_map(|half_hour| Some((turned(half_hour.value), weight(half_hour)?))).collect();
    Some(BadEnd {
        observed: back(weighted_quantile(&plain, BAD_END)?),
        standardised: weighted_quantile(&weighted, BAD_END).map(back),
        half_hours: plain.len(),
        left_out: plain.len() - weighted.len(),
        covered: (0..BINS).filter(|bin| counts[*bin] >= LEAST_BLOCKS).map(share).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At load 0 values from 1 to 100, at load 1 from 101 to 200; so often each.
    fn month(quiet: usize, busy: usize) -> Vec<HalfHour> {
        let value = |place: usize, of: usize, bin: u8| HalfHour {
            value: (place * 100 / of) as f64 + 1.0 + 100.0 * f64::from(bin),
            load: Some(bin),
        };
        (0..quiet).map(|place| value(place, quiet, 0)).chain((0..busy).map(|place| value(place, busy, 1))).collect()
    }

    #[test]
    fn more_load_is_not_a_worse_room() {
        let reference = shares(&month(900, 100));
        let (usual, busy) = (month(900, 100), month(300, 700));
        let usual = bad_end(&usual, &reference, Worse::Up).expect("values");
        let busy = bad_end(&busy, &reference, Worse::Up).expect("values");
        assert!(busy.observed > usual.observed + 30.0, "{usual:?} {busy:?}");
        let (a, b) = (usual.standardised.expect("loads"), busy.standardised.expect("loads"));
        assert!((a - b).abs() <= 1.0 && (a - 150.0).abs() <= 1.0, "{usual:?} {busy:?}");
        assert!((usual.observed - a).abs() < 1e-9 && (busy.covered - 1.0).abs() < 1e-12 && busy.left_out == 0);
    }

    #[test]
    fn loads_not_seen_are_left_out_and_counted() {
        let reference = shares(&[month(500, 300), vec![HalfHour { value: 9.0, load: Some(7) }; 200]].concat());
        let mut now = month(400, 400);
        now.extend([HalfHour { value: 1e6, load: Some(9) }; 50]);
        now.extend([HalfHour { value: 1e6, load: None }; 5]);
        now.push(HalfHour { value: f64::NAN, load: Some(0) });
        let found = bad_end(&now, &reference, Worse::Up).expect("values");
        assert_eq!((found.half_hours, found.left_out), (855, 55));
        assert!(
            (found.covered - 0.8).abs() < 1e-12 && found.standardised.is_some_and(|value| value < 201.0),
            "{found:?}"
        );
        assert_eq!(bad_end(&now, &[], Worse::Up).expect("values").standardised, None);
        assert_eq!(bad_end(&[], &reference, Worse::Up), None);
    }

    #[test]
    fn the_bad_end_is_where_worse_is() {
        let reference = shares(&month(100, 0));
        let down = bad_end(&month(100, 0), &reference, Worse::Down).expect("values");
        assert!((down.observed - 6.0).abs() < 1e-12 && down.standardised == Some(down.observed), "{down:?}");
        let turned: Vec<HalfHour> =
            month(100, 0).into_iter().map(|half_hour| HalfHour { value: -half_hour.value, ..half_hour }).collect();
        let observed = bad_end(&turned, &reference, Worse::AwayFromZero).expect("values").observed;
        assert_eq!(observed.to_bits(), f64::to_bits(95.0));
    }

    #[test]
    fn a_quarter_pools_its_months() {
        let reference = shares(&month(900, 100));
        let quarter = [month(90, 10), month(10, 90), month(50, 50)].concat();
        let found = bad_end(&quarter, &reference, Worse::Up).expect("values");
        assert_eq!(found.half_hours, 300);
        assert!(found.standardised.is_some_and(|value| (value - 150.0).abs() <= 10.0), "{found:?}");
    }
}
