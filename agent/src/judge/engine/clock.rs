//! A clock that was set back: what was known of the time that has not come yet is void.

use super::{
    BEAT, Engine,
    local::{block_of, start_of},
};

/// A clock that was set back by less is waited for, in milliseconds.
pub const WAITED_FOR: i64 = 15 * 60_000;

impl Engine {
    /// Whether the clock was set back so far that what follows cannot be taken for late samples.
    pub fn is_set_back(&self, at: i64) -> bool {
        self.state.block.is_some() && at < self.state.now - WAITED_FOR
    }

    /// Takes `at` for the present although later instants were seen. The open block is dropped; what was
    /// learned stays, and evidence counts on from here.
    pub fn set_back(&mut self, at: i64) {
        self.drop_open_block();
        let block = block_of(at);
        self.state.first = self.state.first.min(block);
        (self.state.block, self.state.now, self.state.beat) = (Some(block), at, at - at.rem_euclid(BEAT) + BEAT);
        let earlier = |time: &mut Option<i64>, now: i64| *time = time.map(|time| time.min(now));
        for room in &mut self.state.rooms {
            earlier(&mut room.heard, at);
            earlier(&mut room.warm_until, block + 2);
            room.failed.1 = room.failed.1.min(at);
            if room.muted_until != Some(i64::MAX) {
                earlier(&mut room.muted_until, at);
            }
            room.changes.iter_mut().for_each(|(_, _, changed)| *changed = (*changed).min(at));
            room.series.iter_mut().flatten().for_each(|series| series.set_back(at, block));
        }
        for service in &mut self.state.services {
            service.changes.iter_mut().for_each(|(_, _, changed)| *changed = (*changed).min(at));
            service.load.evidence.set_back(block);
            service.shared.iter_mut().for_each(|shared| shared.set_back(block));
        }
        for building in &mut self.state.buildings {
            building.shared.iter_mut().for_each(|shared| shared.set_back(block));
        }
        for case in &mut self.state.cases {
            (case.onset, case.last) = (case.onset.min(block), case.last.min(block));
            (case.opened, case.recovered) = (case.opened.min(at), case.recovered.map(|ended| ended.min(block)));
        }
        for waiting in &mut self.state.waiting {
            (waiting.onset, waiting.until) = (waiting.onset.min(block), waiting.until.min(block + 2));
        }
        for rollout in &mut self.state.rollouts {
            rollout.rooms.values_mut().for_each(|up| *up = (*up).min(block));
            rollout.wave = rollout.wave.min(block);
        }
        self.state.opened.iter_mut().for_each(|opened| *opened = (*opened).min(block));
        debug_assert!(start_of(block) <= at, "the open block holds the present");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        local::BLOCK_MS,
        own,
        settings::{RoomSettings, Settings, Tuning},
    };
    use super::*;
    use crate::rule::Rules;

    const MINUTE: i64 = 60_000;

    fn engine() -> (Engine, usize) {
        let rules = Rules::default();
        let mut engine = Engine::new(Settings {
            zone: chrono_tz::Tz::UTC,
            load_metric: "users".to_owned(),
            metrics: own::metrics(&rules),
            rooms: vec![RoomSettings { id: "r".to_owned(), ..RoomSettings::default() }],
            tuning: Tuning::default(),
            own: true,
            rules,
        });
        let measure = engine.measure("media_loss", "probe=call").expect("it is judged");
        (engine, measure)
    }

    /// Samples from one instant to another, five minutes apart.
    fn run(engine: &mut Engine, measure: usize, (from, to): (i64, i64), value: impl Fn(i64) -> f64) {
        let mut at = from;
        while at < to {
            if engine.is_set_back(at) {
                engine.set_back(at);
            }
            engine.advance(at);
            engine.sample(at, 0, measure, value(at));
            at += 5 * MINUTE;
        }
    }

    #[test]
    fn a_clock_that_ran_ahead_for_an_hour_costs_no_more_than_that() {
        let day = 48 * BLOCK_MS;
        let start = 20_000 * day;
        let noise = |at: i64| 0.001 + 0.0005 * ((at / MINUTE * 7919) % 13) as f64 / 13.0;
        for leap in [0, 3 * day, 300 * day] {
            let (mut engine, measure) = engine();
            run(&mut engine, measure, (start, start + 18 * day), noise);
            // For an hour it is another day.
            run(&mut engine, measure, (start + 18 * day + leap, start + 18 * day + leap + 12 * 5 * MINUTE), noise);
            let back = start + 18 * day + 60 * MINUTE;
            run(&mut engine, measure, (back, back + day), noise);
            assert_eq!(engine.findings().len(), 0);
            let open = engine.state().block.expect("it runs");
            assert!((back + day - start_of(open)) <= BLOCK_MS, "{leap}");
            // A leap of a year leaves nothing of the last four weeks; a shorter one does.
            let learned = if leap > 28 * day { 18 } else { 0 };
            run(&mut engine, measure, (back + day, back + (1 + learned) * day), noise);
            let worse = (back + (1 + learned) * day, back + (3 + learned) * day);
            run(&mut engine, measure, worse, |at| noise(at) + 0.03);
            let open: Vec<_> = engine.findings().into_iter().filter(|finding| finding.open).collect();
            assert_eq!(open.len(), 1, "{leap}");
        }
    }
}
