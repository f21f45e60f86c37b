//! The judge: a fold over readings. No clock, no logging, no I/O.
//!
//! Each run of a series is bad, good, or between, for each of its two limits. `bad` of the last `of`
//! runs put the series beyond a limit, `recover` good runs in a row bring it back, and it then starts
//! anew: runs before the recovery count no more. A run between `enter` and `clear` is one of the last
//! `of` and breaks the row, and so never changes the level by itself.
//!
//! A run without a value, or with one that cannot be judged, leaves everything as it was: it is no run.
//! A value of low confidence that has an interval counts as bad only if the whole interval is beyond,
//! and as good only if all of it is back within, so nothing is decided on a guess.

pub mod engine;
pub mod room;
mod series_id;
mod stage;

use bellwether_probes::{Labels, Metric, Reading, Reason, Validity};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
pub use series_id::{parse_series_id, series_id};
pub use stage::{Stage, stage_at_fault};

use crate::{
    incident::Echo,
    rule::{Book, Limit, Rule},
};

/// How bad a series is, by its limits over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Within its limits.
    #[default]
    Pass,
    /// Beyond its limit.
    Degraded,
    /// Beyond its critical limit.
    Critical,
}

impl Level {
    /// The word used in JSON, labels and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

/// What one series was judged to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Name of the probe.
    pub probe: String,
    /// The metric.
    pub metric: Metric,
    /// Labels of the series.
    pub labels: Labels,
    /// The value judged, in base units; `None` if there was none.
    pub value: Option<f64>,
    /// The level after this reading; an inconclusive reading leaves it as it was.
    pub level: Level,
    /// Why the reading could not be judged.
    pub inconclusive: Option<Reason>,
    /// Whether the level is another one than before.
    pub changed: bool,
    /// The level of this reading alone, by plain limits; `Pass` if it could not be judged.
    pub alone: Level,
    /// The limit that the value is beyond or, if it is not, the one it would be beyond first: of the
    /// critical limit while the series is critical.
    pub limit: Option<f64>,
    /// How many of the last runs were beyond that limit, of how many.
    pub bad: u32,
    /// See `bad`.
    pub of: u32,
    /// What follows from the level.
    pub book: Book,
    /// Whether the level is held against the room. Not, if it is beyond its plain limit for less than
    /// half-hours although it has a past to be compared with.
    pub held: bool,
    /// Of the echo of a call: what else was heard of it in the same run.
    pub echo: Option<Echo>,
}

/// State of one series between inspections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The level.
    pub level: Level,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// Where it stands to its limit.
    #[serde(default)]
    pub limit: Track,
    /// Where it stands to its critical limit.
    #[serde(default)]
    pub critical: Track,
}

/// Where a series stands to one limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Whether it is beyond, by its counts.
    pub beyond: bool,
    /// Whether each of the last `of` runs was bad, oldest first.
    pub runs: Vec<bool>,
    /// Good runs in a row while it is beyond.
    pub good: u32,
}

/// One run by one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Good,
    Between,
    Bad,
}

impl Mark {
    fn of(limit: &Limit, (low, high): (f64, f64)) -> Self {
        if limit.enter.excludes_all(low, high) {
            Self::Bad
        } else if limit.clear.contains_all(low, high) {
            Self::Good
        } else {
            Self::Between
        }
    }
}

impl Track {
    /// The track after one run. A limit that is `held` is not left.
    fn after(&self, limit: &Limit, mark: Mark, held: bool) -> Self {
        let counts = limit.counts;
        let mut runs = self.runs.clone();
        runs.push(mark == Mark::Bad);
        let of = usize::try_from(counts.of).unwrap_or(usize::MAX);
        runs.drain(..runs.len().saturating_sub(of));
        if self.beyond {
            let good = if mark == Mark::Good { self.good.saturating_add(1) } else { 0 };
            if good >= counts.recover && !held { Self::default() } else { Self { beyond: true, runs, good } }
        } else {
            let bad = runs.iter().filter(|bad| **bad).count();
            Self { beyond: bad >= usize::try_from(counts.bad).unwrap_or(usize::MAX), runs, good: 0 }
        }
    }

    fn bad(&self) -> u32 {
        self.runs.iter().map(|bad| u32::from(*bad)).sum()
    }
}

/// Judges one run of a series: the state after it, and what is to be said of it.
///
/// `probe` names the probe in the verdict. Without a reading nothing changes and nothing is said.
pub fn step(
    rule: &Rule,
    probe: &str,
    state: &Series,
    reading: Option<&Reading>,
    now: DateTime<Utc>,
) -> (Series, Option<Verdict>) {
    let Some(reading) = reading else { return (state.clone(), None) };
    let judged = interval(reading);
    let after = match judged {
        Ok(interval) => state.after(rule, interval, now),
        Err(_) => state.clone(),
    };
    let critical_counts = after.critical.beyond || rule.limit.is_none();
    let (limit, track) = if critical_counts { (&rule.critical, &after.critical) } else { (&rule.limit, &after.limit) };
    let verdict = Verdict {
        probe: probe.to_owned(),
        metric: reading.metric,
        labels: reading.labels.clone(),
        value: judged.is_ok().then_some(reading.value),
        level: after.level,
        inconclusive: judged.err(),
        changed: after.level != state.level,
        alone: judge_once(rule, reading).unwrap_or_default(),
        limit: limit.as_ref().map(|limit| limit.enter.edge(reading.value)),
        bad: track.bad(),
        of: u32::try_from(track.runs.len()).unwrap_or(u32::MAX),
        book: rule.book,
        held: after.level > Level::Pass,
        echo: None,
    };
    (after, Some(verdict))
}

impl Series {
    pub(crate) fn after(&self, rule: &Rule, interval: (f64, f64), now: DateTime<Utc>) -> Self {
        let track = |track: &Track, limit: Option<Limit>, held| {
            limit.map(|limit| track.after(&limit, Mark::of(&limit, interval), held)).unwrap_or_default()
        };
        let critical = track(&self.critical, rule.critical, false);
        let mut limit = track(&self.limit, rule.limit, critical.beyond);
        // What is beyond the critical limit is beyond the plain one, and has to come back through it.
        limit.beyond |= critical.beyond && rule.limit.is_some();
        let level = match (critical.beyond, limit.beyond) {
            (true, _) => Level::Critical,
            (false, true) => Level::Degraded,
            (false, false) => Level::Pass,
        };
        let since = if level == self.level { self.since.or(Some(now)) } else { Some(now) };
        Self { level, since, limit, critical }
    }
}

/// Judges one reading by plain limits, without memory, for `inspect`. `None` if it cannot be judged.
pub fn judge_once(rule: &Rule, reading: &Reading) -> Option<Level> {
    let interval = interval(reading).ok()?;
    let beyond = |limit: &Option<Limit>| limit.is_some_and(|limit| Mark::of(&limit, interval) == Mark::Bad);
    Some(match (beyond(&rule.critical), beyond(&rule.limit)) {
        (true, _) => Level::Critical,
        (false, true) => Level::Degraded,
        (false, false) => Level::Pass,
    })
}

/// The interval in which the value is taken to be: the value alone, unless confidence is low.
fn interval(reading: &Reading) -> Result<(f64, f64), Reason> {
    let value = reading.value;
    match reading.validity {
        _ if !value.is_finite() => Err(Reason::Parse),
        Validity::Ok => Ok((value, value)),
        Validity::LowConfidence => {
            Ok((reading.low.unwrap_or(value).min(value), reading.high.unwrap_or(value).max(value)))
        }
        Validity::Inconclusive => Err(reading.reason.unwrap_or(Reason::FewSamples)),
    }
}

#[cfg(test)]
mod tests {
    use bellwether_probes::Scale;

    use super::*;
    use crate::rule::{Band, Counts};

    const UP: f64 = f64::NEG_INFINITY;

    fn limit(enter: f64, clear: f64, bad: u32, of: u32, recover: u32) -> Option<Limit> {
        let counts = Counts { bad, of, recover };
        Some(Limit { enter: Band { low: UP, high: enter }, clear: Band { low: UP, high: clear }, counts })
    }

    /// Loss: degraded above 0.10 and back below 0.08, critical above 0.25 and back below 0.20.
    fn rule() -> Rule {
        Rule {
            metric: Metric::MediaLoss,
            limit: limit(0.10, 0.08, 3, 4, 2),
            critical: limit(0.25, 0.20, 2, 2, 2),
            scale: Scale::Linear(0.01),
            book: Book::Maintenance,
        }
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minute)
    }

    fn reading(value: f64) -> Reading {
        Reading::new(at(0), Metric::MediaLoss, value, 100)
    }

    /// The level after each value, as `p`, `d`, `c`.
    fn levels(rule: &Rule, values: &[f64]) -> String {
        let mut state = Series::default();
        let letters = values.iter().zip(0..).map(|(value, minute)| {
            let verdict;
            (state, verdict) = step(rule, "call", &state, Some(&reading(*value)), at(minute));
            let verdict = verdict.expect("a reading was judged");
            assert_eq!(verdict.level, state.level);
            match state.level {
                Level::Pass => 'p',
                Level::Degraded => 'd',
                Level::Critical => 'c',
            }
        });
        letters.collect()
    }

    const GOOD: f64 = 0.01;
    const BETWEEN: f64 = 0.09;
    const BAD: f64 = 0.15;
    const WORST: f64 = 0.30;

    #[test]
    fn the_level_follows_the_counts() {
        let table: [(&str, &[f64], &str); 11] = [
            ("one bad run is nothing", &[BAD, GOOD, GOOD, GOOD], "pppp"),
            ("two of four are nothing", &[BAD, GOOD, BAD, GOOD, BAD, GOOD], "pppppp"),
            ("three in a row", &[BAD, BAD, BAD], "ppd"),
            ("three of four", &[BAD, BAD, GOOD, BAD], "pppd"),
            ("three of five are nothing", &[BAD, BAD, GOOD, GOOD, BAD], "ppppp"),
            ("a run between is one of the four", &[BAD, BAD, BETWEEN, BETWEEN, BAD], "ppppp"),
            ("recovers after two good runs in a row", &[BAD, BAD, BAD, GOOD, BAD, GOOD, GOOD], "ppddddp"),
            ("a run between breaks the row", &[BAD, BAD, BAD, GOOD, BETWEEN, GOOD, GOOD], "ppddddp"),
            ("starts anew after a recovery", &[BAD, BAD, BAD, GOOD, GOOD, BAD, BAD, BAD], "ppddpppd"),
            ("critical at once, and back by steps", &[WORST, WORST, BAD, BAD, GOOD, GOOD], "pccddp"),
            ("critical values are bad for the plain limit too", &[BAD, WORST, BAD], "ppd"),
        ];
        for (name, values, expected) in table {
            assert_eq!(levels(&rule(), values), expected, "{name}");
        }
    }

    #[test]
    fn a_critical_series_comes_back_through_degraded() {
        // 0.15 is within the critical limit and still beyond the plain one; 0.09 is between.
        assert_eq!(levels(&rule(), &[WORST, WORST, GOOD, BETWEEN, BETWEEN, GOOD, GOOD]), "pccdddp");
        let slow = Rule { critical: limit(0.25, 0.20, 2, 2, 5), ..rule() };
        assert_eq!(levels(&slow, &[WORST, WORST, GOOD, GOOD, GOOD, GOOD, GOOD]), "pcccccp");
        let steps = Rule { limit: limit(0.10, 0.08, 3, 4, 4), ..rule() };
        assert_eq!(levels(&steps, &[WORST, WORST, GOOD, GOOD, GOOD, GOOD]), "pccddp");
    }

    #[test]
    fn runs_before_a_recovery_count_no_more() {
        let quick = Rule { limit: limit(0.10, 0.08, 3, 4, 1), critical: None, ..rule() };
        assert_eq!(levels(&quick, &[BAD, BAD, BAD, GOOD, BAD, BAD, BAD]), "ppdpppd");
    }

    #[test]
    fn m_of_n_is_exact() {
        // Every sequence of ten runs, good or bad: degraded as soon as `bad` of the last `of` were bad.
        for (bad, of) in [(1, 1), (2, 2), (2, 3), (3, 4), (4, 6)] {
            let rule = Rule { limit: limit(0.10, 0.08, bad, of, 60), critical: None, ..rule() };
            for pattern in 0_u32..1024 {
                let runs: Vec<bool> = (0..10).map(|run| pattern >> run & 1 == 1).collect();
                let values: Vec<f64> = runs.iter().map(|bad| if *bad { BAD } else { GOOD }).collect();
                let window = |end: usize| &runs[(end + 1).saturating_sub(of as usize)..=end];
                let reached = |end: usize| window(end).iter().filter(|bad| **bad).count() >= bad as usize;
                let expected: String = (0..10).map(|end| if (0..=end).any(reached) { 'd' } else { 'p' }).collect();
                assert_eq!(levels(&rule, &values), expected, "{bad} of {of}: {pattern:b}");
            }
        }
    }

    #[test]
    fn nothing_flaps_between_enter_and_clear() {
        let rng = &mut fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let before: Vec<f64> = (0..rng.usize(0..8)).map(|_| rng.f64() * 0.4).collect();
            let mut values = before.clone();
            values.extend((0..30).map(|_| 0.0801 + rng.f64() * 0.0198));
            let levels = levels(&rule(), &values);
            // A critical series may still come back to degraded, once; nothing else moves.
            let tail = &levels[before.len().saturating_sub(1)..];
            let mut moved: Vec<char> = tail.chars().collect();
            moved.dedup();
            assert!(matches!(moved.as_slice(), ['p'] | ['d'] | ['c', 'd']), "{before:?}: {tail}");
        }
    }

    #[test]
    fn absence_and_inconclusive_readings_neither_heal_nor_harm() {
        let rule = rule();
        let blind = reading(WORST).inconclusive(Reason::HostLimited);
        let nan = reading(f64::NAN);
        for history in [vec![], vec![BAD, BAD], vec![BAD, BAD, BAD, GOOD]] {
            let fold = |state: Series, value: &f64| step(&rule, "call", &state, Some(&reading(*value)), at(0)).0;
            let state = history.iter().fold(Series::default(), fold);
            assert_eq!(step(&rule, "call", &state, None, at(9)), (state.clone(), None));
            let (after, verdict) = step(&rule, "call", &state, Some(&blind), at(9));
            let verdict = verdict.expect("said");
            assert_eq!(after, state);
            assert_eq!(
                (verdict.value, verdict.inconclusive, verdict.changed),
                (None, Some(Reason::HostLimited), false)
            );
            assert_eq!(verdict.level, state.level);
            assert_eq!(step(&rule, "call", &state, Some(&nan), at(9)).0, state);
        }
    }

    #[test]
    fn a_restart_between_any_two_runs_changes_nothing() {
        let rng = &mut fastrand::Rng::with_seed(11);
        let (mut state, mut restarted) = (Series::default(), Series::default());
        for minute in 0..500 {
            let reading = reading(rng.f64() * rng.f64() * 0.5);
            let stored = serde_json::to_string(&restarted).expect("plain data");
            restarted = serde_json::from_str(&stored).expect("what was just written");
            let verdict;
            (state, verdict) = step(&rule(), "call", &state, Some(&reading), at(minute));
            assert_eq!(step(&rule(), "call", &restarted, Some(&reading), at(minute)), (state.clone(), verdict));
            restarted = state.clone();
        }
    }

    #[test]
    fn low_confidence_decides_nothing_on_a_guess() {
        let low = |value, low, high| Reading { validity: Validity::LowConfidence, ..reading(value).between(low, high) };
        let mark =
            |reading: &Reading| Mark::of(&rule().limit.expect("a limit"), interval(reading).expect("to be judged"));
        assert_eq!(mark(&low(0.15, 0.09, 0.30)), Mark::Between);
        assert_eq!(mark(&low(0.15, 0.11, 0.30)), Mark::Bad);
        assert_eq!(mark(&low(0.05, 0.01, 0.12)), Mark::Between);
        assert_eq!(mark(&low(0.05, 0.01, 0.07)), Mark::Good);
        // A value measured as specified stands for itself, and so does one without an interval.
        assert_eq!(mark(&reading(0.15).between(0.09, 0.30)), Mark::Bad);
        let bare = Reading { validity: Validity::LowConfidence, ..reading(0.15) };
        assert_eq!(mark(&bare), Mark::Bad);
    }

    #[test]
    fn one_run_is_judged_by_plain_limits() {
        let table = [(GOOD, Level::Pass), (0.10, Level::Pass), (BAD, Level::Degraded), (WORST, Level::Critical)];
        for (value, expected) in table {
            assert_eq!(judge_once(&rule(), &reading(value)), Some(expected), "{value}");
        }
        assert_eq!(judge_once(&rule(), &reading(WORST).inconclusive(Reason::FewSamples)), None);
    }

    #[test]
    fn both_sides_of_a_two_sided_metric_are_judged() {
        let skew = Limit {
            enter: Band { low: -0.125, high: 0.045 },
            clear: Band { low: -0.09, high: 0.03 },
            counts: Counts { bad: 1, of: 1, recover: 1 },
        };
        let rule = Rule { limit: Some(skew), critical: None, ..rule() };
        assert_eq!(levels(&rule, &[0.05, 0.04, 0.0, -0.13, -0.1, -0.05]), "ddpddp");
        let limit_of =
            |value| step(&rule, "call", &Series::default(), Some(&reading(value)), at(0)).1.and_then(|v| v.limit);
        assert_eq!((limit_of(0.05), limit_of(-0.2)), (Some(0.045), Some(-0.125)));
    }

    #[test]
    fn the_verdict_says_what_it_rests_on() {
        let mut state = Series::default();
        let mut last = None;
        for (value, minute) in [BAD, BAD, GOOD, 0.2].into_iter().zip(0..) {
            (state, last) = step(&rule(), "call", &state, Some(&reading(value)), at(minute));
        }
        let verdict = last.expect("judged");
        assert_eq!((verdict.level, verdict.changed, verdict.alone), (Level::Degraded, true, Level::Degraded));
        assert_eq!((verdict.limit, verdict.bad, verdict.of), (Some(0.10), 3, 4));
        assert_eq!(state.since, Some(at(3)));
        let (later, verdict) = step(&rule(), "call", &state, Some(&reading(GOOD)), at(4));
        assert_eq!(later.since, Some(at(3)));
        let verdict = verdict.expect("judged");
        assert_eq!((verdict.level, verdict.changed, verdict.alone), (Level::Degraded, false, Level::Pass));
    }

    #[test]
    fn a_limit_that_was_taken_away_or_shortened_leaves_nothing_behind() {
        let worst = |state: &Series, rule: &Rule| step(rule, "call", state, Some(&reading(WORST)), at(1)).0;
        let critical = worst(&worst(&Series::default(), &rule()), &rule());
        assert_eq!(critical.level, Level::Critical);
        let without = worst(&critical, &Rule { critical: None, ..rule() });
        assert_eq!((without.level, without.critical), (Level::Degraded, Track::default()));
        let shorter = worst(&critical, &Rule { limit: limit(0.10, 0.08, 1, 1, 1), ..rule() });
        assert_eq!(shorter.limit.runs, [true]);
    }
}
