//! From alarms to bookings: what explains an alarm, what it joins, and when it is over.

use super::{
    Engine,
    book::Report,
    case::{Case, Cause, Scope},
    evidence::Turn,
    level::Turned,
    local::{DAY_BLOCKS, Local, block_of},
    rollout::{Rollout, SISTERS, Strictness},
    state::{Alarm, Path, Waiting, What, Whose},
};

/// Blocks before the onset of a room's alarm that its building's or service's may lie apart.
pub(super) const GROUP_ONSET: i64 = 8;
/// So many blocks after an upgrade a room's alarm is judged.
const READY: i64 = 10;
/// The family of capacity.
const LOAD: &str = "load";
/// Room bookings in half an hour from which on the rest wait for a group's verdict.
const FUSE: usize = 5;
/// The most rollouts and bookings that are kept.
pub(super) const MOST: usize = 4096;

impl Engine {
    /// Takes in what has turned in a block that ended at `at`.
    pub(super) fn decide(&mut self, block: i64, at: i64, turns: Vec<Turned>) {
        for (alarm, _) in turns.iter().filter(|(_, turn)| *turn == Turn::Clear) {
            self.clear(block, at, *alarm);
        }
        self.judge_rollouts(block, at);
        let mut raised: Vec<(Alarm, i64)> = turns
            .into_iter()
            .filter_map(|(alarm, turn)| match turn {
                Turn::Alarm(onset) => Some((alarm, onset)),
                Turn::Clear => None,
            })
            .collect();
        // What is shared comes first: it may explain the rest. Rooms in the order of their names.
        let order = |alarm: &Alarm| match alarm.whose {
            Whose::Service(at) => (0, &self.state.services[at].id, alarm.path, alarm.measure),
            Whose::Building(at) => (1, &self.state.buildings[at].id, alarm.path, alarm.measure),
            Whose::Room(at) => (2, &self.state.rooms[at].id, alarm.path, alarm.measure),
        };
        raised.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        for (alarm, _) in &raised {
            self.state.alarms.insert(*alarm);
        }
        for (alarm, onset) in raised {
            self.alarm(block, at, alarm, onset, false);
        }
        self.look_again(block, at);
        self.hit_lessons(block, at);
        if Local::of(block + 1, self.settings.zone).day != Local::of(block, self.settings.zone).day {
            self.judge_doubts(block, at);
            self.end_versions(block, at);
            self.forget(block);
        }
    }

    /// Alarms that waited.
    fn look_again(&mut self, block: i64, at: i64) {
        let (due, waiting): (Vec<Waiting>, Vec<Waiting>) =
            self.state.waiting.drain(..).partition(|waiting| waiting.until <= block);
        self.state.waiting = waiting;
        for Waiting { alarm, onset, what, .. } in due {
            if !self.state.alarms.contains(&alarm) {
                continue;
            }
            match what {
                What::Upgrade | What::Fuse => self.alarm(block, at, alarm, onset, true),
                What::Group => {
                    if let (Whose::Building(building), Some(measure)) = (alarm.whose, alarm.measure) {
                        match self.service_of_building(building, measure, onset, block) {
                            Some(until) => self.wait(alarm, onset, until, What::Group),
                            None => self.alarm(block, at, alarm, onset, true),
                        }
                        continue;
                    }
                    let Whose::Room(room) = alarm.whose else { continue };
                    match self.group_of(room, alarm, onset, block) {
                        // Its own from ten days on, or six hours after the group has recovered.
                        Some(until) if until > block => self.wait(alarm, onset, until, What::Group),
                        _ => self.open_room(block, at, alarm, onset, true),
                    }
                }
            }
        }
    }

    fn wait(&mut self, alarm: Alarm, onset: i64, until: i64, what: What) {
        if self.state.waiting.len() < MOST {
            self.state.waiting.push(Waiting { alarm, onset, until, what });
        }
    }

    fn alarm(&mut self, block: i64, at: i64, alarm: Alarm, onset: i64, waited: bool) {
        if self.is_known(block, alarm) {
            return;
        }
        match (alarm.whose, alarm.measure) {
            (Whose::Service(service), None) => self.capacity(block, at, alarm, service, onset),
            (Whose::Service(service), Some(measure)) => self.service_alarm(block, at, alarm, service, measure, onset),
            (Whose::Building(building), Some(measure)) => {
                self.building_alarm(block, at, alarm, building, measure, onset, waited);
            }
            (Whose::Room(room), Some(measure)) => self.room_alarm(block, at, alarm, room, measure, onset, waited),
            (Whose::Room(_) | Whose::Building(_), None) => {}
        }
    }

    /// Whether another path has found the same series before: then the alarm is more evidence of it.
    fn is_known(&mut self, block: i64, alarm: Alarm) -> bool {
        if alarm.measure.is_none() || matches!(alarm.path, Path::Limit | Path::Critical | Path::Runs) {
            return false;
        }
        let same = |known: &Alarm| {
            (known.whose, known.measure) == (alarm.whose, alarm.measure)
                && known.path != alarm.path
                && matches!(known.path, Path::Fast | Path::Slow)
        };
        let Some(case) = self.state.cases.iter_mut().find(|case| case.is_open() && case.alarms.iter().any(same)) else {
            return false;
        };
        case.alarms.insert(alarm);
        case.last = block;
        true
    }

    fn capacity(&mut self, block: i64, at: i64, alarm: Alarm, service: usize, onset: i64) {
        let rooms = self.site.services[service].rooms.clone();
        let (family, metric, hardware) = (LOAD.to_owned(), LOAD.to_owned(), Vec::new());
        let (scope, cause, size) = (Scope::Service(service), Cause::Load, 0.0);
        let id = self.book(block, at, Report { scope, rooms, alarm, family, metric, cause, onset, size, hardware });
        if let Some(id) = id {
            self.remember_doubt(&id, block);
        }
    }

    pub(super) fn report(
        &self,
        alarm: Alarm,
        measure: usize,
        scope: Scope,
        rooms: Vec<usize>,
        cause: Cause,
        onset: i64,
    ) -> Report {
        let metric = self.metric(measure);
        let (family, name) = (metric.family.clone(), metric.name.clone());
        Report { scope, rooms, alarm, family, metric: name, cause, onset, size: 0.0, hardware: Vec::new() }
    }

    fn service_alarm(&mut self, block: i64, at: i64, alarm: Alarm, service: usize, measure: usize, onset: i64) {
        let all = self.site.services[service].rooms.clone();
        for place in 0..self.state.rollouts.len() {
            let rollout = &self.state.rollouts[place];
            let recent = |up: &&i64| onset - DAY_BLOCKS <= **up && **up <= block;
            let upgraded = rollout.rooms.values().filter(recent).count();
            if rollout.service == service
                && upgraded as f64 > 0.4 * all.len() as f64
                && let Some(regressed) = self.regressed(rollout, measure, block, 4, Strictness::Weak)
            {
                self.blame(block, at, place, measure, &regressed, Some(alarm));
                return;
            }
        }
        let family = self.metric(measure).family.clone();
        let explained = |rollout: &Rollout| {
            rollout.service == service
                && self.case_of(rollout).is_some_and(|case| case.families.contains(&family))
                && (rollout.first() - 4..=rollout.last() + 2 * DAY_BLOCKS).contains(&onset)
        };
        if self.state.rollouts.iter().any(explained) || self.is_left_well(&all, measure, onset, block) {
            return;
        }
        let upgraded = self.state.services[service].changes.iter().any(|(_, _, changed)| {
            let since = onset - block_of(*changed);
            (-4..=DAY_BLOCKS).contains(&since)
        });
        if !upgraded && let Some(building) = self.only_building(service, measure, onset, block) {
            let rooms = self.site.buildings[building].rooms.clone();
            let report = self.report(alarm, measure, Scope::Building(building), rooms, Cause::Service, onset);
            self.book(block, at, report);
            return;
        }
        let cause = if upgraded { Cause::Version } else { Cause::Service };
        let report = self.report(alarm, measure, Scope::Service(service), all, cause, onset);
        self.book(block, at, report);
    }

    /// The building to which an alarm of its service is confined: large enough to move the middle of all
    /// rooms, while the rooms elsewhere are well.
    fn only_building(&self, service: usize, measure: usize, onset: i64, block: i64) -> Option<usize> {
        let since = (block - onset).clamp(2, 24);
        (0..self.site.buildings.len()).find(|building| {
            let group = &self.site.buildings[*building];
            let elsewhere =
                self.site.services[service].rooms.iter().copied().filter(|room| !group.rooms.contains(room));
            let level = |rooms: &mut dyn Iterator<Item = usize>| self.level_of(rooms, measure, block, since);
            group.service == service
                && level(&mut group.rooms.iter().copied()).is_some_and(|(level, n)| n >= 4 && level >= 0.8)
                && level(&mut elsewhere.into_iter()).is_some_and(|(level, n)| n >= 4 && level < 0.4)
        })
    }

    #[expect(clippy::too_many_arguments, reason = "one alarm, taken apart")]
    fn building_alarm(
        &mut self,
        block: i64,
        at: i64,
        alarm: Alarm,
        building: usize,
        measure: usize,
        onset: i64,
        waited: bool,
    ) {
        let rooms = self.site.buildings[building].rooms.clone();
        for place in 0..self.state.rollouts.len() {
            let rollout = &self.state.rollouts[place];
            let recent =
                |room: &&usize| rollout.rooms.get(*room).is_some_and(|up| onset - DAY_BLOCKS <= *up && *up <= block);
            let many = rooms.iter().filter(recent).count() as f64 > 0.4 * rooms.len() as f64;
            if rollout.booking.is_some()
                && rooms.iter().any(|room| self.is_covered_by(place, *room, measure, onset, block))
            {
                return;
            }
            let some = rooms
                .iter()
                .any(|room| rollout.rooms.get(room).is_some_and(|up| onset - 7 * DAY_BLOCKS <= *up && *up <= block));
            if (many || some)
                && let Some(regressed) = self.regressed(rollout, measure, block, 4, Strictness::Usual)
                && (many || regressed.rooms.len() >= 4)
            {
                self.blame(block, at, place, measure, &regressed, Some(alarm));
                return;
            }
        }
        if self.is_left_well(&rooms, measure, onset, block) {
            return;
        }
        if !waited && let Some(until) = self.service_of_building(building, measure, onset, block) {
            self.wait(alarm, onset, until, What::Group);
            return;
        }
        let report = self.report(alarm, measure, Scope::Building(building), rooms, Cause::Service, onset);
        self.book(block, at, report);
    }

    /// Whether some rooms are well but for those whose rollout explains what they have.
    fn is_left_well(&self, rooms: &[usize], measure: usize, onset: i64, block: i64) -> bool {
        let open = |rollout: &&Rollout| self.case_of(rollout).is_some_and(Case::is_open);
        let covering = || self.state.rollouts.iter().filter(open);
        let covered = |room: &usize| covering().any(|rollout| rollout.covered.contains(&(*room, measure)));
        let left: Vec<usize> = rooms.iter().copied().filter(|room| !covered(room)).collect();
        if left.len() == rooms.len() {
            return false;
        }
        let since = (block - onset).clamp(2, 24);
        self.level_of(left.into_iter(), measure, block, since).is_some_and(|(level, n)| n >= 4 && level < 0.5)
    }

    /// Whether the service of a building has the same family open since about the same time, and until
    /// when an alarm of the building waits for that.
    fn service_of_building(&self, building: usize, measure: usize, onset: i64, block: i64) -> Option<i64> {
        let service = self.site.buildings[building].service;
        let family = &self.metric(measure).family;
        let parent = |case: &&Case| {
            case.scope == Scope::Service(service)
                && case.cause != Cause::Load
                && case.may_return()
                && case.families.contains(family)
                && (-GROUP_ONSET..=DAY_BLOCKS).contains(&(onset - case.onset))
        };
        let until = |case: &Case| case.recovered.map_or(block + 12, |recovered| recovered + 12);
        self.state.cases.iter().filter(parent).map(until).max().filter(|until| *until > block)
    }

    #[expect(clippy::too_many_arguments, reason = "one alarm, taken apart")]
    fn room_alarm(&mut self, block: i64, at: i64, alarm: Alarm, room: usize, measure: usize, onset: i64, waited: bool) {
        self.cover(room, measure, block);
        if (0..self.state.rollouts.len()).any(|place| self.is_covered_by(place, room, measure, onset, block)) {
            return;
        }
        for place in 0..self.state.rollouts.len() {
            let rollout = &self.state.rollouts[place];
            let Some(up) = rollout.rooms.get(&room).copied() else { continue };
            // What is found by days began some time on the first of them.
            let before = if !self.has_sisters(room) && alarm.path == Path::Slow { -DAY_BLOCKS } else { -3 };
            if !(before..=2 * DAY_BLOCKS).contains(&(onset - up)) || up > block {
                continue;
            }
            if block < up + READY && !waited {
                self.wait(alarm, onset, up + READY, What::Upgrade);
                return;
            }
            let Some(regressed) = self.regressed(rollout, measure, block, 4, Strictness::Usual) else { continue };
            let hardware = &self.settings.rooms[room].hardware;
            if regressed.hardware.as_ref().is_none_or(|concerned| concerned.contains(hardware)) {
                self.blame(block, at, place, measure, &regressed, Some(alarm));
                self.state.rollouts[place].covered.insert((room, measure));
                return;
            }
        }
        if let Some(until) = self.group_of(room, alarm, onset, block) {
            self.wait(alarm, onset, until, What::Group);
            return;
        }
        self.open_room(block, at, alarm, onset, waited);
    }

    /// Whether an alarm of a room has an open booking of its building or service for a parent, and
    /// until when it waits for that.
    fn group_of(&self, room: usize, alarm: Alarm, onset: i64, block: i64) -> Option<i64> {
        let family = &self.metric(alarm.measure?).family;
        let (service, building) = (self.site.service_of[room], self.site.building_of[room]);
        let (all, near) = (&self.site.services[service].rooms, &self.site.buildings[building].rooms);
        let unmeasured = |case: &Case| match case.scope {
            Scope::Service(_) => self.is_unmeasured(all, SISTERS, alarm.measure, onset, block),
            _ => self.is_unmeasured(near, 4, alarm.measure, onset, block),
        };
        let parent = |case: &&Case| {
            (case.scope == Scope::Service(service) || case.scope == Scope::Building(building))
                && case.may_return()
                && case.families.contains(family)
                && ((case.onset - onset).abs() <= GROUP_ONSET
                    || case.is_open() && case.onset <= onset && unmeasured(case))
                && block - case.last < 10 * DAY_BLOCKS
        };
        let parents = self.state.cases.iter().filter(parent);
        let until = |case: &Case| match case.recovered {
            Some(recovered) => recovered + 12,
            None => block + 12,
        };
        parents.map(until).max()
    }

    /// Whether too few of some rooms report to take off what they have in common, in most half-hours
    /// since an onset: at night, where many rooms are switched off.
    fn is_unmeasured(&self, rooms: &[usize], least: usize, measure: Option<usize>, onset: i64, block: i64) -> bool {
        let Some(measure) = measure else { return false };
        let from = onset.max(block - DAY_BLOCKS);
        let reporting = |at: i64| rooms.iter().filter(|room| self.rest(**room, measure, at).is_some()).count();
        let few = (from..=block).filter(|at| reporting(*at) < least).count() as i64;
        few * 2 > block - from
    }

    fn open_room(&mut self, block: i64, at: i64, alarm: Alarm, onset: i64, waited: bool) {
        let (Whose::Room(room), Some(measure)) = (alarm.whose, alarm.measure) else { return };
        let cause = if self.has_sisters(room) { Cause::Room } else { self.cause_alone(room, measure, onset) };
        let report = self.report(alarm, measure, Scope::Room(room), vec![room], cause, onset);
        let joins = self.joins(block, &report).is_some();
        if !joins && alarm.path != Path::Critical {
            let just_now = self.state.opened.iter().filter(|opened| block - **opened <= 1).count();
            if !waited && just_now >= FUSE {
                self.wait(alarm, onset, block + 2, What::Fuse);
                return;
            }
        }
        self.book(block, at, report);
    }

    /// Whether a room has enough sisters to be compared with.
    pub(super) fn has_sisters(&self, room: usize) -> bool {
        self.site.services[self.site.service_of[room]].rooms.len() >= SISTERS
    }
}
