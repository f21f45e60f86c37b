//! From alarms to bookings: what explains an alarm, what it joins, and when it is over.

use super::{
    Engine,
    case::{Action, Case, Cause, Scope, Severity, Standing, Verb},
    evidence::Turn,
    level::Turned,
    local::{BLOCK_MS, DAY_BLOCKS, Local, block_of, start_of},
    rollout::{KEPT_ROLLOUT, Regressed, Rollout, SISTERS, Strictness},
    state::{Alarm, Path, Waiting, What, Whose},
    statistics::median,
};

/// Onsets of one room within this many blocks are one fault.
const SAME_ONSET: i64 = 6;
/// Blocks before the onset of a room's alarm that its building's or service's may lie apart.
const GROUP_ONSET: i64 = 8;
/// So many blocks after an upgrade a room's alarm is judged.
const READY: i64 = 10;
/// The family of capacity.
const LOAD: &str = "load";
/// Room bookings in half an hour from which on the rest wait for a group's verdict.
const FUSE: usize = 5;
/// The most rollouts and bookings that are kept.
const MOST: usize = 4096;

/// A fault to be booked.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) scope: Scope,
    pub(super) rooms: Vec<usize>,
    pub(super) alarm: Alarm,
    pub(super) family: String,
    pub(super) metric: String,
    pub(super) cause: Cause,
    /// Block of the onset.
    pub(super) onset: i64,
    /// In units of what is material; zero if it has no size.
    pub(super) size: f64,
    pub(super) hardware: Vec<String>,
}

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
        if alarm.measure.is_none() || matches!(alarm.path, Path::Limit | Path::Critical) {
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
        self.book(block, at, Report { scope, rooms, alarm, family, metric, cause, onset, size, hardware });
    }

    fn report(
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
            if !(-3..=2 * DAY_BLOCKS).contains(&(onset - up)) || up > block {
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

    /// A room that was upgraded and has what its rollout is blamed for is covered, too, also when it was
    /// well at the times of the tests.
    fn cover(&mut self, room: usize, measure: usize, block: i64) {
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
        let report = self.report(alarm, measure, Scope::Room(room), vec![room], Cause::Room, onset);
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

    /// Whether a rollout that was found to make a measure worse explains an alarm of a room.
    fn is_covered_by(&self, place: usize, room: usize, measure: usize, onset: i64, block: i64) -> bool {
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

    fn case_of(&self, rollout: &Rollout) -> Option<&Case> {
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
    fn judge_rollouts(&mut self, block: i64, at: i64) {
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
                if let Some(regressed) = self.regressed(rollout, measure, block, 12, Strictness::Usual) {
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
                let compared =
                    (0..self.state.measures.len()).any(|measure| self.cohort(&rollout, measure, block, 12).is_some());
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
    fn blame(
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

    /// The booking that a report belongs to: the same once more, another family of the same room at the
    /// same time, or the same cause in the same shared part.
    fn joins(&self, block: i64, report: &Report) -> Option<usize> {
        let follow_up = self.settings.tuning.follow_up;
        let cases =
            || self.state.cases.iter().zip(0..).filter(|(case, _)| case.may_return() && case.scope == report.scope);
        if let Scope::Version(..) = report.scope {
            return cases().map(|(_, at)| at).next();
        }
        // What has recovered opens again for the family that it was booked for, and for no other.
        let back = |case: &Case| {
            case.is_open() && case.families.contains(&report.family)
                || case.family == report.family && block - case.recovered.unwrap_or(case.last) <= follow_up
        };
        let same = cases().find(|(case, _)| case.cause == report.cause && back(case));
        let near = |case: &Case, onset: i64, last: i64| {
            (case.onset - report.onset).abs() <= onset && block - case.last <= last && case.cause == report.cause
        };
        let other = || match report.scope {
            Scope::Room(_) => cases().find(|(case, _)| near(case, SAME_ONSET, follow_up)),
            // Load never takes in what is blamed on a service or a version.
            _ => cases().find(|(case, _)| near(case, 2 * SAME_ONSET, 3 * DAY_BLOCKS)),
        };
        same.or_else(other).map(|(_, at)| at)
    }

    /// Opens a booking, or adds to the one that a report belongs to. Its name.
    pub(super) fn book(&mut self, block: i64, at: i64, report: Report) -> Option<String> {
        if let Some(place) = self.joins(block, &report) {
            return Some(self.add(block, at, place, report));
        }
        if let Scope::Room(room) = report.scope {
            let week = 7 * DAY_BLOCKS;
            self.state.opened.retain(|opened| block - *opened <= week);
            // More than one booking a room and week: what is open takes it in.
            let blown = self.state.opened.len() > self.state.rooms.len();
            let open = |case: &Case| case.is_open() && case.scope == Scope::Room(room);
            if blown && let Some(place) = self.state.cases.iter().position(open) {
                return Some(self.add(block, at, place, report));
            }
            self.state.opened.push(block);
        }
        if self.state.cases.len() >= MOST {
            return None;
        }
        self.state.next += 1;
        let id = format!("b{:04}", self.state.next);
        let case = Case {
            id: id.clone(),
            scope: report.scope.clone(),
            cause: report.cause,
            family: report.family.clone(),
            families: [report.family.clone()].into(),
            metrics: [report.metric.clone()].into(),
            measures: report.alarm.measure.into_iter().collect(),
            rooms: report.rooms.iter().copied().collect(),
            opened: at,
            onset: report.onset,
            last: block,
            alarms: [report.alarm].into(),
            standing: Standing::Open,
            recovered: None,
            episodes: 1,
            severity: Severity::Low,
            size: report.size,
            hardware: report.hardware.clone(),
            confirmed: false,
            lesson_days: std::collections::BTreeSet::new(),
        };
        self.state.cases.push(case);
        let place = self.state.cases.len() - 1;
        self.rate(place, block);
        self.say(place, at, Verb::Open, None);
        self.supersede(place, block, at);
        Some(id)
    }

    /// Adds to a booking, which is open again with it.
    fn add(&mut self, block: i64, at: i64, place: usize, report: Report) -> String {
        let case = &mut self.state.cases[place];
        let before = (case.families.len(), case.metrics.len(), case.rooms.len(), case.severity);
        let back = !case.is_open();
        case.families.insert(report.family);
        case.metrics.insert(report.metric);
        case.measures.extend(report.alarm.measure);
        case.rooms.extend(report.rooms);
        case.alarms.insert(report.alarm);
        case.size = case.size.max(report.size);
        case.last = block;
        case.hardware.retain(|hardware| report.hardware.contains(hardware));
        if back {
            (case.standing, case.recovered) = (Standing::Open, None);
            case.episodes += 1;
            case.onset = report.onset;
        }
        self.rate(place, block);
        let case = &self.state.cases[place];
        let after = (case.families.len(), case.metrics.len(), case.rooms.len(), case.severity);
        let id = case.id.clone();
        if back {
            self.say(place, at, Verb::Reopen, None);
        } else if after != before {
            self.say(place, at, Verb::Update, None);
        }
        id
    }

    /// Severity rises with what is known, and never falls while the booking is open.
    fn rate(&mut self, place: usize, block: i64) {
        let sizes = self.sizes(place, block);
        let case = &self.state.cases[place];
        let size = sizes.iter().map(|size| size.material).fold(case.size, f64::max);
        let critical = case.alarms.iter().any(|alarm| alarm.path == Path::Critical || alarm.measure.is_none());
        let slow = case.alarms.iter().all(|alarm| alarm.path == Path::Slow);
        let today = Local::of(block, self.settings.zone).day;
        let hit = case.lesson_days.iter().filter(|day| today - **day < 5).count() >= 3;
        let many = case.cause == Cause::Version && case.rooms.len() >= 5;
        let severity = match case.cause {
            Cause::Load if size > 3.0 => Severity::Normal,
            Cause::Load => Severity::Low,
            _ if critical => Severity::Critical,
            _ if size > 3.0 || case.families.len() > 1 || hit || many => Severity::High,
            _ if slow && size < 1.5 => Severity::Low,
            _ => Severity::Normal,
        };
        let case = &mut self.state.cases[place];
        case.size = size;
        case.severity = case.severity.max(severity);
    }

    /// A wider or better explained booking takes over what was blamed on its rooms.
    fn supersede(&mut self, place: usize, block: i64, at: i64) {
        let wide = self.state.cases[place].clone();
        if matches!(wide.scope, Scope::Room(_)) || wide.cause == Cause::Load {
            return;
        }
        let covered = |case: &Case| {
            matches!(case.scope, Scope::Room(_))
                && case.is_open()
                && !case.confirmed
                && case.severity < Severity::Critical
                && case.rooms.is_subset(&wide.rooms)
                && case.families.is_subset(&wide.families)
                && if wide.cause == Cause::Version {
                    let rollout = self.state.rollouts.iter().find(|rollout| {
                        let Scope::Version(component, version, service) = &wide.scope else { return false };
                        (&rollout.component, &rollout.version, &rollout.service) == (component, version, service)
                    });
                    let up = |room: &usize| rollout.and_then(|rollout| rollout.rooms.get(room)).copied();
                    case.rooms.iter().filter_map(up).any(|up| case.onset >= up - 3)
                } else {
                    (case.onset - wide.onset).abs() <= GROUP_ONSET
                }
        };
        let places: Vec<usize> = (0..self.state.cases.len()).filter(|at| covered(&self.state.cases[*at])).collect();
        for place in places {
            let case = &mut self.state.cases[place];
            (case.standing, case.recovered) = (Standing::Closed, Some(block));
            self.say(place, at, Verb::Close, Some(format!("superseded_by {}", wide.id)));
        }
    }

    /// An alarm is over: bookings without another one have recovered.
    pub(super) fn clear(&mut self, block: i64, at: i64, alarm: Alarm) {
        self.state.alarms.remove(&alarm);
        for place in 0..self.state.cases.len() {
            let case = &mut self.state.cases[place];
            // A version's booking ends with its rollout's effect, not with one alarm.
            if !case.alarms.remove(&alarm) || !case.alarms.is_empty() || !case.is_open() {
                continue;
            }
            if case.cause == Cause::Version && matches!(case.scope, Scope::Version(..)) {
                continue;
            }
            self.recover(place, block, at);
        }
    }

    fn recover(&mut self, place: usize, block: i64, at: i64) {
        let case = &mut self.state.cases[place];
        case.recovered = Some(block);
        let kept = case.confirmed
            || case.severity == Severity::Critical
            || case.cause == Cause::Version
            || case.episodes >= 3
            || !case.lesson_days.is_empty();
        let hours = (at - start_of(case.onset)) / (2 * BLOCK_MS);
        let (standing, verb) =
            if kept { (Standing::Recovered, Verb::Recovered) } else { (Standing::Withdrawn, Verb::Withdraw) };
        case.standing = standing;
        self.say(place, at, verb, Some(format!("went away after {hours} h")));
    }

    /// Lessons that a fault was there in.
    fn hit_lessons(&mut self, block: i64, at: i64) {
        let today = Local::of(block, self.settings.zone).day;
        let (from, to) = (start_of(block), start_of(block + 1));
        for place in 0..self.state.cases.len() {
            let case = &self.state.cases[place];
            let in_lesson = |room: &usize| self.state.rooms[*room].lessons.between(from, to) > 0;
            let bad = |room: &usize| {
                case.measures.iter().any(|measure| {
                    let limit = 0.5 * self.metric(*measure).material;
                    self.rest(*room, *measure, block).is_some_and(|rest| f64::from(rest) > limit)
                })
            };
            let hit = case.is_open()
                && !case.lesson_days.contains(&today)
                && case.rooms.iter().any(|room| in_lesson(room) && bad(room));
            if hit {
                let before = case.severity;
                let case = &mut self.state.cases[place];
                case.lesson_days.insert(today);
                case.lesson_days.retain(|day| today - day < 30);
                self.rate(place, block);
                if self.state.cases[place].severity > before {
                    self.say(place, at, Verb::Update, None);
                }
            }
        }
    }

    /// Bookings of versions are over when a day passes without what they did.
    fn end_versions(&mut self, block: i64, at: i64) {
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

    /// Forgets rollouts and bookings that nothing can come of any more.
    fn forget(&mut self, block: i64) {
        let open: Vec<String> =
            self.state.cases.iter().filter(|case| case.is_open()).map(|case| case.id.clone()).collect();
        self.state.rollouts.retain(|rollout| {
            block - rollout.last() <= KEPT_ROLLOUT || rollout.booking.as_ref().is_some_and(|id| open.contains(id))
        });
        let follow_up = self.settings.tuning.follow_up;
        self.state.cases.retain(|case| {
            let over = block - case.recovered.unwrap_or(block).max(case.last) > follow_up;
            case.is_open() || !over
        });
    }

    /// What people say of a booking: `confirm`, `start`, `done` or `accept`. False if it is unknown.
    pub fn maintenance(&mut self, at: i64, action: &str, booking: &str) -> bool {
        let Some(place) = self.state.cases.iter().position(|case| case.id == booking) else { return false };
        let rooms: Vec<usize> = self.state.cases[place].rooms.iter().copied().collect();
        let block = block_of(at);
        match action {
            "confirm" => self.state.cases[place].confirmed = true,
            "start" => {
                self.state.cases[place].confirmed = true;
                rooms.iter().for_each(|room| self.state.rooms[*room].muted_until = Some(i64::MAX));
            }
            "done" => {
                rooms.iter().for_each(|room| self.state.rooms[*room].muted_until = Some(at + 2 * BLOCK_MS));
                self.quieten(place);
                let case = &mut self.state.cases[place];
                (case.standing, case.recovered) = (Standing::Recovered, Some(block));
            }
            "accept" => {
                self.accept(place, block);
                self.quieten(place);
                let case = &mut self.state.cases[place];
                (case.standing, case.recovered) = (Standing::Closed, Some(block));
                self.say(place, at, Verb::Close, Some("accepted".to_owned()));
            }
            _ => return false,
        }
        true
    }

    /// What was counted against the series of a booking is void.
    fn quieten(&mut self, place: usize) {
        let case = &mut self.state.cases[place];
        let alarms = std::mem::take(&mut case.alarms);
        for alarm in alarms {
            self.state.alarms.remove(&alarm);
            if let (Whose::Room(room), Some(measure)) = (alarm.whose, alarm.measure)
                && let Some(Some(series)) = self.state.rooms[room].series.get_mut(measure)
            {
                series.fast = super::evidence::Evidence::default();
                series.slow = super::evidence::Evidence::default();
            }
        }
    }

    /// Takes the level of the last day for normal.
    fn accept(&mut self, place: usize, block: i64) {
        let case = &self.state.cases[place];
        let (rooms, measures) = (case.rooms.clone(), case.measures.clone());
        for room in rooms {
            for measure in &measures {
                let day = (block - DAY_BLOCKS..block).filter_map(|block| self.rest(room, *measure, block));
                let Some(level) = median(&mut day.collect::<Vec<f32>>()) else { continue };
                if let Some(Some(series)) = self.state.rooms[room].series.get_mut(*measure) {
                    series.healthy.accept(level);
                }
            }
        }
    }

    /// Whether a room has enough sisters to be compared with.
    pub(super) fn has_sisters(&self, room: usize) -> bool {
        self.site.services[self.site.service_of[room]].rooms.len() >= SISTERS
    }

    /// Says something of a booking.
    fn say(&mut self, place: usize, at: i64, verb: Verb, reason: Option<String>) {
        let action: Action = self.action(place, at, verb, reason);
        self.actions.push(action);
    }
}
