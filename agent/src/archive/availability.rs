//! Availability for teaching: in how many minutes of the lessons that were held everything worked that a
//! lesson needs. Minutes are added up, shares are never averaged.

use std::{
    iter::Sum,
    ops::{Add, Range},
};

use serde::Serialize;

use super::{
    Interval,
    statistics::{share_difference, share_score},
};

/// A minute, in milliseconds.
const MINUTE: i64 = 60_000;
/// A lesson with more bad minutes than these was hit.
const HIT: u64 = 5;
/// A figure that covers less of the lessons is marked.
pub const LEAST_COVERAGE: f64 = 0.95;

/// One check that a lesson needs: the box is reachable, there is a picture, sound, loss or the response of
/// the control is under its limit.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// How long a result holds, in milliseconds: two of the check's intervals, or a day for a heavy one.
    pub fresh: i64,
    /// When it ran, in milliseconds, and whether all was well; ordered by time.
    pub results: &'a [(i64, bool)],
}

impl Check<'_> {
    /// What the latest result before an instant says of it; `None` without a fresh one.
    fn at(&self, at: i64) -> Option<bool> {
        let next = self.results.partition_point(|(ran, _)| *ran <= at);
        let (ran, well) = self.results.get(next.checked_sub(1)?)?;
        (at - ran <= self.fresh).then_some(*well)
    }
}

/// Minutes of some lessons. Those of more lessons, days or rooms are their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Availability {
    /// Minutes in which every check was well.
    pub ok: u64,
    /// Minutes in which one was not.
    pub bad: u64,
    /// Minutes of which that is not known.
    pub unknown: u64,
    /// Lessons held.
    pub lessons: u64,
    /// Lessons with more than five bad minutes.
    pub hit: u64,
}

impl Availability {
    /// The minutes of one lesson, from its start to its end in milliseconds. A minute is bad if a fresh
    /// result says so, whatever else is not known; it is well only if all checks are known to be.
    pub fn of(lesson: &Range<i64>, checks: &[Check<'_>]) -> Self {
        let mut minutes = Self { lessons: 1, ..Self::default() };
        for at in (lesson.start..lesson.end).step_by(MINUTE as usize) {
            let mut results = checks.iter().map(|check| check.at(at));
            let (mut bad, mut unknown) = (false, checks.is_empty());
            for result in &mut results {
                bad |= result == Some(false);
                unknown |= result.is_none();
            }
            *match (bad, unknown) {
                (true, _) => &mut minutes.bad,
                (false, true) => &mut minutes.unknown,
                (false, false) => &mut minutes.ok,
            } += 1;
        }
        minutes.hit = u64::from(minutes.bad > HIT);
        minutes
    }

    /// Share of the known minutes in which all was well; `None` if none is known.
    pub fn share(&self) -> Option<f64> {
        let known = self.ok + self.bad;
        (known > 0).then(|| self.ok as f64 / known as f64)
    }

    /// Share of the minutes that is known; `None` without lessons.
    pub fn coverage(&self) -> Option<f64> {
        let all = self.ok + self.bad + self.unknown;
        (all > 0).then(|| (self.ok + self.bad) as f64 / all as f64)
    }

    /// Whether too little is known for the share to be taken as it stands.
    pub fn is_marked(&self) -> bool {
        self.coverage().is_none_or(|coverage| coverage < LEAST_COVERAGE)
    }
}

impl Add for Availability {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            bad: self.bad + other.bad,
            unknown: self.unknown + other.unknown,
            lessons: self.lessons + other.lessons,
            hit: self.hit + other.hit,
        }
    }
}

impl Sum for Availability {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

/// Availability of a month from its days, with its interval. A fault lasts, so its minutes are not
/// independent: days are. The spread between days tells how many independent looks the minutes are worth
/// (Kish's effective size), never more than the lessons held; where nothing was bad, or all, as many as there
/// were days. `None` of fewer than two days with known minutes.
pub fn month(days: &[Availability]) -> Option<Interval> {
    let days: Vec<&Availability> = days.iter().filter(|day| day.ok + day.bad > 0).collect();
    let n = days.len() as f64;
    if days.len() < 2 {
        return None;
    }
    let total: Availability = days.iter().copied().copied().sum();
    let share = total.share()?;
    let known = (total.ok + total.bad) as f64;
    let square = |day: &&Availability| (day.ok as f64 - share * (day.ok + day.bad) as f64).powi(2);
    let variance = days.iter().map(square).sum::<f64>() / (known * known) * n / (n - 1.0);
    let even = total.ok == 0 || total.bad == 0;
    let looks = if even { n } else { share * (1.0 - share) / variance };
    Some(share_score(share, looks.min(n.max(total.lessons as f64)).max(1.0)))
}

/// By how much more of the lessons something was bad in the second of two months: above 0 is worse. `None`
/// if one of them is not known.
pub fn between_months(before: &[Availability], after: &[Availability]) -> Option<Interval> {
    // The shares turn round, so that more is worse as everywhere.
    Some(share_difference(month(after)?, month(before)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Change;

    const LESSON: Range<i64> = 0..45 * MINUTE;

    fn every(minutes: i64, until: i64, well: impl Fn(i64) -> bool) -> Vec<(i64, bool)> {
        (0..until).step_by(minutes as usize).map(|minute| (minute * MINUTE, well(minute))).collect()
    }

    #[test]
    fn minutes_are_well_bad_or_unknown() {
        let reach = every(5, 45, |minute| minute != 20);
        let picture = [(-3 * 3_600_000, true)];
        let light = Check { fresh: 10 * MINUTE, results: &reach };
        let heavy = Check { fresh: 24 * 3_600_000, results: &picture };
        let found = Availability::of(&LESSON, &[light, heavy]);
        assert_eq!(found, Availability { ok: 40, bad: 5, unknown: 0, lessons: 1, hit: 0 });
        // A minute more, and the lesson was hit.
        let reach = every(3, 45, |minute| !(18..24).contains(&minute));
        let found = Availability::of(&LESSON, &[Check { fresh: 6 * MINUTE, results: &reach }]);
        assert_eq!(found, Availability { ok: 39, bad: 6, unknown: 0, lessons: 1, hit: 1 });
    }

    #[test]
    fn silence_is_not_health() {
        let reach = every(5, 20, |_| true);
        let light = Check { fresh: 10 * MINUTE, results: &reach };
        // The last result, of minute 15, holds until minute 25.
        let found = Availability::of(&LESSON, &[light]);
        assert_eq!((found.ok, found.bad, found.unknown), (26, 0, 19));
        assert!(found.is_marked() && (found.coverage().expect("a lesson") - 26.0 / 45.0).abs() < 1e-12);
        // A picture that is older than a day makes all unknown, but for what is known to be bad.
        let old = [(-25 * 3_600_000, true)];
        let heavy = Check { fresh: 24 * 3_600_000, results: &old };
        assert_eq!(Availability::of(&LESSON, &[light, heavy]).ok, 0);
        let bad = every(5, 45, |_| false);
        let found = Availability::of(&LESSON, &[heavy, Check { fresh: 10 * MINUTE, results: &bad }]);
        assert_eq!((found.bad, found.unknown), (45, 0));
        assert_eq!(Availability::of(&LESSON, &[]).unknown, 45);
    }

    #[test]
    fn sums_of_minutes_and_never_means_of_shares() {
        let (one, two) =
            (Availability { ok: 10, bad: 0, ..<_>::default() }, Availability { ok: 30, bad: 60, ..<_>::default() });
        assert_eq!([one, two].into_iter().sum::<Availability>().share(), Some(0.4));
        assert_eq!(Availability::default().share(), None);
        assert!(Availability::default().is_marked());
    }

    fn days(bad: &[u64]) -> Vec<Availability> {
        bad.iter()
            .map(|bad| Availability { ok: 270 - bad, bad: *bad, unknown: 0, lessons: 6, hit: u64::from(*bad > 5) })
            .collect()
    }

    #[test]
    fn a_month_has_the_spread_of_its_days() {
        // The same bad minutes in one day or spread over all: one day says less.
        let (spread, one) = (days(&[9; 20]), days(&[&[180_u64][..], &[0; 19]].concat()));
        let (spread, one) = (month(&spread).expect("days"), month(&one).expect("days"));
        assert!((spread.estimate - one.estimate).abs() < 1e-12);
        assert!(one.high - one.low > 1.5 * (spread.high - spread.low), "{spread:?} {one:?}");
        // Nothing bad in twenty days is not certainty: 1 - 3.84/(20 + 3.84) is left.
        let none = month(&days(&[0; 20])).expect("days");
        assert!((none.low - 0.838_875).abs() < 1e-5 && none.high >= 1.0, "{none:?}");
        assert_eq!(month(&days(&[0])), None);
    }

    #[test]
    fn months_are_compared() {
        let (good, bad) = (days(&[0; 20]), days(&[120; 20]));
        assert_eq!(between_months(&good, &bad).expect("both").change(0.0), Change::Worse);
        assert_eq!(between_months(&bad, &good).expect("both").change(0.0), Change::Better);
        assert_eq!(
            between_months(&good, &days(&[&[180_u64][..], &[0; 19]].concat())).expect("both").change(0.0),
            Change::Unclear
        );
        assert_eq!(between_months(&good, &[]), None);
    }
}
