//! Limits by runs: they are told at once, and need no baseline. A daemon counts runs itself and tells the
//! engine how a series stands ([`Engine::limit`]); in a replay the engine counts them ([`Engine::run`]).
//!
//! Where a series has a baseline its evidence decides, and the plain limit counts by half-hours only
//! (`find_limits`); the critical limit always does by runs, and so does what is hard: a page that does not
//! answer at all.

use std::collections::BTreeMap;

use chrono::DateTime;

use super::{
    Engine,
    book::Report,
    case::{Cause, Scope},
    local::block_of,
    state::{Alarm, Measure, Path, Whose},
};
use crate::{judge::Level, rule::Rule};

impl Engine {
    /// Counts a run of a series by its limits, if it has some; `low` and `high` are the same value, or the
    /// interval of one of low confidence. Time has to be advanced to it before.
    pub fn run(&mut self, at: i64, room: usize, measure: usize, (low, high): (f64, f64)) {
        let Some(rule) = self.rules.get(measure).copied().flatten() else { return };
        let now = DateTime::from_timestamp_millis(at).unwrap_or_default();
        if self.state.limits.len() <= room {
            self.state.limits.resize_with(room + 1, BTreeMap::new);
        }
        let series = self.state.limits[room].entry(measure).or_default();
        *series = series.after(&rule, (low, high), now);
        let level = series.level;
        self.limit(at, room, measure, level);
    }

    /// The rule of a measure, if it is one of bellwether's own metrics and has limits.
    pub(super) fn rule_of(&self, measure: usize) -> Option<Rule> {
        let Measure { metric, labels, .. } = &self.state.measures[measure];
        let (metric, probe, labels) = crate::judge::room::series(metric, labels)?;
        self.settings.rules.for_series(metric, &probe, &labels).copied()
    }

    /// Takes in how a series of a room stands to its limits after its last run; time has to be advanced
    /// to it before. The same level once more changes nothing. Whether a limit is held against the series.
    pub fn limit(&mut self, at: i64, room: usize, measure: usize, level: Level) -> bool {
        let alarm = |path| Alarm { whose: Whose::Room(room), measure: Some(measure), path };
        let rule = self.rules.get(measure).copied().flatten();
        let hard = rule.and_then(|rule| rule.limit).is_some_and(|limit| limit.counts.are_hard());
        let has_baseline = self.series(room, measure).is_some_and(|series| series.healthy.anchor.is_some());
        let by_runs = hard || !has_baseline;
        let muted = self.state.rooms[room].muted_until.is_some_and(|until| at < until);
        for (path, on) in [(Path::Critical, level == Level::Critical), (Path::Runs, level > Level::Pass)] {
            let (alarm, was) = (alarm(path), self.state.alarms.contains(&alarm(path)));
            if was && !on {
                self.clear(block_of(at), at, alarm);
            } else if on && !was && !muted && (level == Level::Critical || by_runs) {
                self.state.alarms.insert(alarm);
                self.book_limit(at, room, alarm);
            }
        }
        [Path::Runs, Path::Critical, Path::Limit].iter().any(|path| self.state.alarms.contains(&alarm(*path)))
    }

    fn book_limit(&mut self, at: i64, room: usize, alarm: Alarm) {
        let Some(measure) = alarm.measure else { return };
        let block = block_of(at);
        let report = self.report(alarm, measure, Scope::Room(room), vec![room], Cause::Room, block);
        // What a rollout is blamed for already is more evidence of that.
        let blamed = (0..self.state.rollouts.len())
            .find(|place| self.is_covered_by(*place, room, measure, block, block))
            .and_then(|place| self.place_of(self.state.rollouts[place].booking.as_deref()?));
        match blamed.filter(|place| self.state.cases[*place].is_open()) {
            Some(place) => {
                self.add(block, at, place, Report { scope: self.state.cases[place].scope.clone(), ..report });
            }
            None => {
                self.book(block, at, report);
            }
        }
    }

    fn place_of(&self, booking: &str) -> Option<usize> {
        self.state.cases.iter().position(|case| case.id == booking)
    }
}
