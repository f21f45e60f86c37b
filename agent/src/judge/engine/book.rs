//! Bookings: what a fault joins, how soon somebody should come, when it is over, and what people say of it.

use super::{
    Engine,
    case::{Action, Case, Cause, Scope, Severity, Standing, Verb},
    decide::GROUP_ONSET,
    decide::MOST,
    local::{BLOCK_MS, DAY_BLOCKS, Local, block_of, start_of},
    rollout::KEPT_ROLLOUT,
    state::{Alarm, Path, Whose},
    statistics::median,
};

/// Onsets of one room within this many blocks are one fault.
pub(super) const SAME_ONSET: i64 = 6;
/// Episodes from which on a fault is intermittent: it is never withdrawn again.
const INTERMITTENT: u32 = 3;

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
    /// The booking that a report belongs to: the same once more, another family of the same room at the
    /// same time, or the same cause in the same shared part.
    pub(super) fn joins(&self, block: i64, report: &Report) -> Option<usize> {
        let follow_up = self.settings.tuning.follow_up;
        let cases =
            || self.state.cases.iter().zip(0..).filter(|(case, _)| case.may_take_in() && case.scope == report.scope);
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
            let open = |case: &Case| case.is_open() && case.may_take_in() && case.scope == Scope::Room(room);
            if blown && let Some(place) = self.state.cases.iter().position(open) {
                return Some(self.add(block, at, place, report));
            }
            self.state.opened.push(block);
        }
        let id = self.next_name()?;
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
            advice: None,
            in_doubt: false,
        };
        self.state.cases.push(case);
        let place = self.state.cases.len() - 1;
        self.rate(place, block);
        self.say(place, at, Verb::Open, None);
        self.supersede(place, block, at);
        Some(id)
    }

    /// Name of the next booking; `None` if there are too many.
    pub(super) fn next_name(&mut self) -> Option<String> {
        if self.state.cases.len() >= MOST {
            return None;
        }
        self.state.next += 1;
        Some(format!("b{:04}", self.state.next))
    }

    /// Adds to a booking, which is open again with it.
    pub(super) fn add(&mut self, block: i64, at: i64, place: usize, report: Report) -> String {
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
            let intermittent = if case.episodes >= INTERMITTENT { ", intermittent" } else { "" };
            let reason = format!("episode {}{intermittent}", case.episodes);
            self.say(place, at, Verb::Reopen, Some(reason));
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

    pub(super) fn recover(&mut self, place: usize, block: i64, at: i64) {
        let case = &mut self.state.cases[place];
        case.recovered = Some(block);
        let kept = case.confirmed
            || case.severity == Severity::Critical
            || case.cause == Cause::Version
            || case.episodes >= INTERMITTENT
            || !case.lesson_days.is_empty();
        let hours = (at - start_of(case.onset)) / (2 * BLOCK_MS);
        let (standing, verb) =
            if kept { (Standing::Recovered, Verb::Recovered) } else { (Standing::Withdrawn, Verb::Withdraw) };
        case.standing = standing;
        self.say(place, at, verb, Some(format!("went away after {hours} h")));
    }

    /// Lessons that a fault was there in.
    pub(super) fn hit_lessons(&mut self, block: i64, at: i64) {
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

    /// Forgets rollouts and bookings that nothing can come of any more.
    pub(super) fn forget(&mut self, block: i64) {
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
        self.work(at, action, place)
    }

    /// What people do in a room of its own judge: `start` or `done`, and `accept` of what was booked for a family
    /// and a cause. The room is muted while they are at it, and for an hour after.
    pub fn room_work(&mut self, at: i64, action: &str, family: &str, cause: Cause) {
        let is_of = |case: &super::case::Case| case.family == family && case.cause == cause;
        let places: Vec<usize> = (0..self.state.cases.len()).filter(|place| is_of(&self.state.cases[*place])).collect();
        for place in places {
            self.work(at, action, place);
        }
        let muted_until = match action {
            "start" => i64::MAX,
            "done" => at + 2 * BLOCK_MS,
            _ => return,
        };
        self.state.rooms.iter_mut().for_each(|room| room.muted_until = Some(muted_until));
    }

    fn work(&mut self, at: i64, action: &str, place: usize) -> bool {
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
                self.resized_by(place);
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

    /// Says something of a booking.
    pub(super) fn say(&mut self, place: usize, at: i64, verb: Verb, reason: Option<String>) {
        let action: Action = self.action(place, at, verb, reason);
        self.actions.push(action);
    }
}
