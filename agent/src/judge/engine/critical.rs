//! The critical path: what cannot wait for a half-hour. Probes that fail in many rooms at once, a room
//! that is down at or before a lesson, a box that is silent in a lesson.

use super::{
    Engine,
    book::Report,
    case::{Cause, Scope},
    local::block_of,
    settings::Site,
    state::{Alarm, Path, Room, Whose},
};

/// A room that was heard of so long ago reports no longer, in milliseconds.
pub(super) const FRESH: i64 = 1_200_000;
/// A box that is silent for longer may be dead, in milliseconds. Only longer: silence is looked at before what
/// is sent at that very instant, and a box that starts anew while samples get lost is back after an hour.
const SILENT: i64 = 3_600_000;
/// Silence in lessons that makes it so, in milliseconds.
const SILENT_IN_LESSONS: i64 = 1_200_000;
/// Failures in a row that put a room down, and for how long, in milliseconds.
const DOWN: (u16, i64) = (3, 600_000);
/// Failures out of lessons for so long are an outage for a room that has too few sisters to tell one by, in
/// milliseconds.
const OUT_ALONE: i64 = 1_800_000;
/// Rooms that an outage needs.
const OUTAGE: usize = 3;
/// Name of the metric that tells whether a probe came through.
pub(super) const PROBE_OK: &str = "probe_ok";
/// Family of it: of its own, so that an outage is never an update of a slower fault that is open.
const AVAILABILITY: &str = "availability";

impl Engine {
    /// A room was heard of. Whether it is muted.
    pub(super) fn heard(&mut self, at: i64, room: usize) -> bool {
        let state = &mut self.state.rooms[room];
        state.heard = Some(state.heard.map_or(at, |heard| heard.max(at)));
        let muted = state.muted_until.is_some_and(|until| at < until);
        if std::mem::take(&mut state.dead) {
            self.clear(block_of(at), at, silent(room));
        }
        muted
    }

    /// A probe came through, or did not.
    pub fn probe(&mut self, at: i64, room: usize, ok: bool) {
        if self.heard(at, room) || self.settings.own {
            return;
        }
        let state = &mut self.state.rooms[room];
        if ok {
            state.failed = (0, at);
            if std::mem::take(&mut state.down) {
                self.clear(block_of(at), at, down(room));
            }
            return;
        }
        if state.failed.0 == 0 {
            state.failed.1 = at;
        }
        state.failed.0 = state.failed.0.saturating_add(1);
        self.suspect |= state.failed.0 >= 2;
    }

    /// A value was beyond its critical limit, or not.
    pub(super) fn critical_value(&mut self, at: i64, room: usize, measure: usize, beyond: bool) {
        let Some(Some(series)) = self.state.rooms[room].series.get_mut(measure) else { return };
        if beyond {
            if series.critical == 0 {
                series.critical_since = at;
            }
            series.critical = series.critical.saturating_add(1);
            self.suspect |= series.critical >= DOWN.0;
        } else {
            series.critical = 0;
            let alarm = Alarm { whose: Whose::Room(room), measure: Some(measure), path: Path::Critical };
            if self.state.alarms.contains(&alarm) {
                self.clear(block_of(at), at, alarm);
            }
        }
    }

    /// Looks at the failures so far, once everything of this instant is known.
    pub(super) fn find_outages(&mut self) {
        if !std::mem::take(&mut self.suspect) {
            return;
        }
        let at = self.state.now;
        for place in 0..self.site.services.len() {
            let rooms = self.site.services[place].rooms.clone();
            if !self.state.services[place].out && self.mostly_failing(&rooms, at, 2) {
                self.state.services[place].out = true;
                self.report_failure(at, Whose::Service(place), Scope::Service(place), Cause::Service, &rooms);
            }
        }
        for place in 0..self.site.buildings.len() {
            let group = &self.site.buildings[place];
            let whole = self.state.services[group.service].out;
            let rooms = group.rooms.clone();
            if !whole && !self.state.buildings[place].out && self.mostly_failing(&rooms, at, 2) {
                self.state.buildings[place].out = true;
                self.report_failure(at, Whose::Building(place), Scope::Building(place), Cause::Service, &rooms);
            }
        }
        for room in 0..self.state.rooms.len() {
            self.find_down(at, room);
        }
    }

    /// Whether at least three, and half, of the rooms that report fail for the n-th time in a row.
    fn mostly_failing(&self, rooms: &[usize], at: i64, times: u16) -> bool {
        let reporting = rooms.iter().map(|room| &self.state.rooms[*room]).filter(|room| fresh(room, at));
        let (mut all, mut failing) = (0_usize, 0_usize);
        for room in reporting {
            all += 1;
            failing += usize::from(room.failed.0 >= times);
        }
        failing >= OUTAGE && failing * 2 >= all
    }

    /// Whether too few rooms use the service of a room for them ever to tell an outage of it.
    pub(super) fn is_told_alone(&self, room: usize) -> bool {
        self.site.services[self.site.service_of[room]].rooms.len() < OUTAGE
    }

    /// A room that is down at a lesson or up to an hour before, by itself.
    fn find_down(&mut self, at: i64, room: usize) {
        let Site { service_of, building_of, .. } = &self.site;
        let shared = self.state.services[service_of[room]].out || self.state.buildings[building_of[room]].out;
        let state = &self.state.rooms[room];
        let (near, alone) = (state.lessons.near(at), self.is_told_alone(room));
        if shared || !near && !alone {
            return;
        }
        let long = |times: u16, since: i64| times >= DOWN.0 && at - since >= if near { DOWN.1 } else { OUT_ALONE };
        if !state.down && long(state.failed.0, state.failed.1) {
            self.state.rooms[room].down = true;
            // What it reports comes through, so it is not the room's own way out that is cut.
            let cause = if alone { Cause::Service } else { Cause::Room };
            self.report_failure(at, Whose::Room(room), Scope::Room(room), cause, &[room]);
        }
        if !near {
            return;
        }
        for measure in 0..self.state.measures.len() {
            let Some(series) = self.series(room, measure) else { continue };
            let alarm = Alarm { whose: Whose::Room(room), measure: Some(measure), path: Path::Critical };
            if long(series.critical, series.critical_since) && !self.state.alarms.contains(&alarm) {
                let metric = self.metric(measure);
                let report = Report {
                    scope: Scope::Room(room),
                    rooms: vec![room],
                    alarm,
                    family: metric.family.clone(),
                    metric: metric.name.clone(),
                    cause: Cause::Room,
                    onset: block_of(series.critical_since),
                    size: 0.0,
                    hardware: Vec::new(),
                };
                self.state.alarms.insert(alarm);
                self.book(block_of(at), at, report);
            }
        }
    }

    /// Boxes that are silent in a lesson, and outages that are over.
    pub(super) fn find_silent(&mut self, at: i64) {
        for room in 0..self.state.rooms.len() {
            let state = &self.state.rooms[room];
            // A box that was switched off cannot have told so itself.
            let Some(heard) = state.heard.filter(|_| !self.settings.own) else { continue };
            let muted = state.muted_until.is_some_and(|until| at < until);
            if state.dead || muted || at - heard <= SILENT {
                continue;
            }
            if state.lessons.between(heard, at) >= SILENT_IN_LESSONS {
                self.state.rooms[room].dead = true;
                let report = Report { onset: block_of(heard), ..failure(silent(room), Scope::Room(room), vec![room]) };
                self.state.alarms.insert(report.alarm);
                self.book(block_of(at), at, report);
            }
        }
        for place in 0..self.site.services.len() {
            let rooms = self.site.services[place].rooms.clone();
            if self.state.services[place].out && !self.mostly_failing(&rooms, at, 1) {
                self.state.services[place].out = false;
                self.clear(block_of(at), at, group_failure(Whose::Service(place)));
            }
        }
        for place in 0..self.site.buildings.len() {
            let rooms = self.site.buildings[place].rooms.clone();
            if self.state.buildings[place].out && !self.mostly_failing(&rooms, at, 1) {
                self.state.buildings[place].out = false;
                self.clear(block_of(at), at, group_failure(Whose::Building(place)));
            }
        }
    }

    fn report_failure(&mut self, at: i64, whose: Whose, scope: Scope, cause: Cause, rooms: &[usize]) {
        let alarm = Alarm { whose, measure: None, path: Path::Critical };
        let since = rooms.iter().map(|room| self.state.rooms[*room].failed).filter(|failed| failed.0 > 0);
        let onset = block_of(since.map(|failed| failed.1).min().unwrap_or(at));
        self.state.alarms.insert(alarm);
        self.book(block_of(at), at, Report { onset, cause, ..failure(alarm, scope, rooms.to_vec()) });
    }
}

fn fresh(room: &Room, at: i64) -> bool {
    room.heard.is_some_and(|heard| at - heard <= FRESH)
}

/// The alarm of a box that is silent.
pub(super) fn silent(room: usize) -> Alarm {
    // Told apart from a room that is down by the path of a missing measure.
    Alarm { whose: Whose::Room(room), measure: None, path: Path::Limit }
}

/// The alarm of a room that is down.
fn down(room: usize) -> Alarm {
    Alarm { whose: Whose::Room(room), measure: None, path: Path::Critical }
}

fn group_failure(whose: Whose) -> Alarm {
    Alarm { whose, measure: None, path: Path::Critical }
}

fn failure(alarm: Alarm, scope: Scope, rooms: Vec<usize>) -> Report {
    let (family, metric) = (AVAILABILITY.to_owned(), PROBE_OK.to_owned());
    Report { scope, rooms, alarm, family, metric, cause: Cause::Room, onset: 0, size: 0.0, hardware: Vec::new() }
}
