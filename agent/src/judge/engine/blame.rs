//! What a rollout is blamed for: when it is judged, what it explains, and when its booking is over.

use super::{
    Engine,
    book::Report,
    case::{Case, Cause, Scope},
    decide::MOST,
    local::DAY_BLOCKS,
    rollout::{REGULAR, Regressed, Rollout, Strictness},
    state::{Alarm, Path, Whose},
    statistics::median,
};

impl Engine {
    /// A room that was upgraded and has what its rollout is blamed for is covered, too, also when it was
    /// well at the times of the tests.
    pub(super) fn cover(&mut self, room: usize, measure: usize, block: i64) {
        for place in 0..self.state.rollouts.len() {
            let rollout = &self.state.rollouts[place];
            let Some(case) = self.case_of(rollout).filter(|case| case.is_open()) else { continue };
            let hardware = &self.settings.rooms[room].hardware;
            let concerned = case.hardware.is_empty() || case.hardware.contains(hardware);
            let upgraded = rollout.rooms.get(&room).is_some_and(|up| *up <= block);
            if !upgraded || !concerned || !case.measures.contains(&measure) {
                continue;
            }
            let Some(cohort) = self.cohort(rollout, measure, block, 4) else { continue };
            if cohort.shifts.iter().any(|(other, shift)| *other == room && *shift > 0.6) {
                self.state.rollouts[place].covered.insert((room, measure));
            }
        }
    }

    /// Whether a rollout that was found to make a measure worse explains an alarm of a room.
    pub(super) fn is_covered_by(&self, place: usize, room: usize, measure: usize, onset: i64, block: i64) -> bool {
        let rollout = &self.state.rollouts[place];
        let (Some(case), Some(up)) = (self.case_of(rollout), rollout.rooms.get(&room).copied()) else { return false };
        let material = self.metric(measure).material as f32;
        if rollout.covered.contains(&(room, measure)) && up <= block {
            return self.is_still_covered(rollout, room, measure, (up, onset, block), material);
        }
        let near = (onset - up).abs() <= 2 * DAY_BLOCKS || (onset - rollout.last()).abs() <= 2 * DAY_BLOCKS;
        near && case.rooms.contains(&room) && case.families.contains(&self.metric(measure).family)
    }

    /// Covered until a day without it, unless a later onset stands out of the other rooms.
    fn is_still_covered(
        &self,
        rollout: &Rollout,
        room: usize,
        measure: usize,
        (up, onset, block): (i64, i64, i64),
        material: f32,
    ) -> bool {
        let oldest = block - super::KEPT as i64 + 2;
        let between = |room: usize, from: i64, to: i64| -> Vec<f32> {
            (from.max(oldest)..to).filter_map(|block| self.rest(room, measure, block)).collect()
        };
        let mut day = up + DAY_BLOCKS;
        while day + DAY_BLOCKS <= onset {
            let mut rests = if day >= oldest { between(room, day, day + DAY_BLOCKS) } else { Vec::new() };
            if rests.len() >= 8 && median(&mut rests).is_some_and(|level| level < f64::from(0.35 * material)) {
                return false;
            }
            day += DAY_BLOCKS;
        }
        let others = rollout.covered.iter().filter(|(other, of)| *of == measure && *other != room);
        let others = others.filter(|(other, _)| rollout.rooms.get(other).is_some_and(|up| *up <= block - 6));
        let from = (up + 2).max(block - 24);
        let mut mine = between(room, from, block + 1);
        let mut theirs: Vec<f32> = others
            .filter_map(|(other, _)| median(&mut between(*other, from, block + 1)))
            .map(|level| level as f32)
            .collect();
        if theirs.len() >= 4
            && block - from >= 6
            && mine.len() >= 3
            && onset - up > 2 * DAY_BLOCKS
            && let (Some(mine), Some(theirs)) = (median(&mut mine), median(&mut theirs))
        {
            return mine - theirs < f64::from(0.8 * material);
        }
        true
    }

    pub(super) fn case_of(&self, rollout: &Rollout) -> Option<&Case> {
        let id = rollout.booking.as_ref()?;
        self.state.cases.iter().find(|case| case.id == *id)
    }

    /// A component of a room was upgraded: it joins its rollout, or begins one.
    pub(super) fn upgrade(&mut self, at: i64, room: usize, service: usize, block: i64, component: &str, version: &str) {
        let same = |rollout: &&mut Rollout| {
            rollout.service == service && rollout.component == component && rollout.version == version
        };
        if let Some(rollout) = self.state.rollouts.iter_mut().find(same) {
            rollout.add(room, block);
            return;
        }
        if self.state.rollouts.len() >= MOST {
            return;
        }
        let (component, version) = (component.to_owned(), version.to_owned());
        let mut rollout = Rollout { component, version, service, ..Rollout::default() };
        rollout.add(room, block);
        let reason = "version changed; compared from now on".to_owned();
        let action = self.check(at, &rollout, reason);
        self.actions.push(action);
        self.state.rollouts.push(rollout);
    }

    /// Rollouts that are due to be judged.
    pub(super) fn judge_rollouts(&mut self, block: i64, at: i64) {
        for place in 0..self.state.rollouts.len() {
            let rollout = &mut self.state.rollouts[place];
            let due = rollout.tests.iter().filter(|test| **test <= block).count();
            if due == 0 {
                continue;
            }
            rollout.tests.drain(..due);
            let last = rollout.tests.is_empty();
            for measure in 0..self.state.measures.len() {
                let rollout = &self.state.rollouts[place];
                if let Some(regressed) = self.regressed(rollout, measure, block, REGULAR, Strictness::Usual) {
                    if !regressed.controlled && self.began_before(rollout, measure) {
                        continue;
                    }
                    self.blame(block, at, place, measure, &regressed, None);
                } else if last {
                    self.take_as_normal(place, measure, block);
                }
            }
            let rollout = &mut self.state.rollouts[place];
            if last && rollout.booking.is_none() && !std::mem::replace(&mut rollout.cleared, true) {
                let rollout = self.state.rollouts[place].clone();
                let compared = (0..self.state.measures.len())
                    .any(|measure| self.cohort(&rollout, measure, block, REGULAR).is_some());
                let reason = if compared {
                    "no regression found"
                } else {
                    "not compared: too few half-hours before and after it"
                };
                let action = self.check(at, &rollout, reason.to_owned());
                self.actions.push(action);
            }
        }
    }

    /// Whether the whole service or a building of it has had the same since before the rollout.
    fn began_before(&self, rollout: &Rollout, measure: usize) -> bool {
        let family = &self.metric(measure).family;
        self.state.cases.iter().any(|case| {
            let here = match case.scope {
                Scope::Service(service) => service == rollout.service,
                Scope::Building(building) => self.site.buildings[building].service == rollout.service,
                Scope::Room(_) | Scope::Version(..) => false,
            };
            here && case.is_open()
                && case.cause != Cause::Load
                && case.families.contains(family)
                && case.onset < rollout.first() - 4
        })
    }

    /// Whether what a service has of a measure is explained already, by anything but its load.
    pub(super) fn is_explained(&self, service: usize, measure: usize) -> bool {
        self.state.cases.iter().any(|case| {
            let here = match &case.scope {
                Scope::Service(at) | Scope::Version(_, _, at) => *at == service,
                Scope::Room(_) | Scope::Building(_) => false,
            };
            here && case.is_open() && case.cause != Cause::Load && case.measures.contains(&measure)
        })
    }

    /// A rollout that made a measure better sets what is normal: the level that its rooms have now, if
    /// that is better than what they were held against. (Better than before alone would not do: before
    /// may have been a fault.)
    fn take_as_normal(&mut self, place: usize, measure: usize, block: i64) {
        let rollout = &self.state.rollouts[place];
        if self.improved(rollout, measure, block).is_none() {
            return;
        }
        let rooms: Vec<usize> = rollout.rooms.keys().copied().collect();
        let Some((level, _)) = self.level_of(rooms.iter().copied(), measure, block, 2 * DAY_BLOCKS) else { return };
        if level > -0.35 {
            return;
        }
        let off = level * self.metric(measure).material;
        for room in rooms {
            if let Some(Some(series)) = self.state.rooms[room].series.get_mut(measure) {
                series.healthy.accept(off);
            }
        }
    }

    /// Books a rollout for what it made worse, or adds to its booking.
    pub(super) fn blame(
        &mut self,
        block: i64,
        at: i64,
        place: usize,
        measure: usize,
        regressed: &Regressed,
        alarm: Option<Alarm>,
    ) {
        let rollout = &mut self.state.rollouts[place];
        rollout.covered.extend(regressed.covered.iter().map(|room| (*room, measure)));
        let scope = Scope::Version(rollout.component.clone(), rollout.version.clone(), rollout.service);
        let (service, onset) = (rollout.service, rollout.first());
        let alarm =
            alarm.unwrap_or(Alarm { whose: Whose::Service(service), measure: Some(measure), path: Path::Version });
        let report = Report {
            size: regressed.size,
            hardware: regressed.hardware.clone().unwrap_or_default(),
            ..self.report(alarm, measure, scope, regressed.rooms.clone(), Cause::Version, onset)
        };
        let id = self.book(block, at, report);
        self.state.rollouts[place].booking = id;
    }

    /// Bookings of versions are over when a day passes without what they did.
    pub(super) fn end_versions(&mut self, block: i64, at: i64) {
        for place in 0..self.state.rollouts.len() {
            let rollout = &self.state.rollouts[place];
            let Some(case) = rollout
                .booking
                .as_ref()
                .and_then(|id| self.state.cases.iter().position(|case| case.id == *id && case.is_open()))
            else {
                continue;
            };
            if block - rollout.last() < 2 * DAY_BLOCKS {
                continue;
            }
            let measures = self.state.cases[case].measures.clone();
            let gone = |measure: &usize| {
                let limit = 0.35 * self.metric(*measure).material;
                let rooms = rollout.covered.iter().filter(|(_, of)| of == measure);
                let mut shifts: Vec<f32> = rooms
                    .filter_map(|(room, _)| {
                        let day =
                            (block - DAY_BLOCKS + 1..=block).filter_map(|block| self.rest(*room, *measure, block));
                        median(&mut day.collect::<Vec<f32>>())
                    })
                    .map(|level| level as f32)
                    .collect();
                shifts.len() >= 2.min(rollout.rooms.len()) && median(&mut shifts).is_some_and(|shift| shift < limit)
            };
            if measures.iter().all(gone) {
                self.recover(case, block, at);
            }
        }
    }
}
