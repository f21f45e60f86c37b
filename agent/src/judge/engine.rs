//! The decision engine: from samples to bookings, almost never false, almost never late, explained.
//!
//! ```text
//! samples → half-hour blocks → less what a healthy room would read → levels → evidence → bookings
//!           series             healthy, load, timetable               level    evidence   decide, case
//!           beside it, on every sample: critical (probes fail, boxes are silent)          text
//!           over a rollout: rollout (did the upgrade make it worse?)
//! ```
//!
//! The *room* half is what one box can know: `series`, `healthy`, `evidence`, `critical`. The *campus*
//! half needs the sister rooms: `level`, `rollout`, `load`, `decide`. With fewer than eight rooms on a
//! service every room is judged by its own past alone.
//!
//! Pure: time is that of the samples, which come in order; nothing here reads a clock, draws a random
//! number or does I/O. The same input gives the same bookings, also when the state was stored and
//! read again in between.

mod advice;
mod alone;
mod blame;
mod book;
pub mod case;
pub mod clock;
mod critical;
mod decide;
mod doubt;
mod evidence;
pub mod explain;
pub mod finding;
mod healthy;
pub mod labels;
mod level;
mod load;
pub mod local;
pub mod own;
mod ring;
mod rollout;
mod runs;
mod series;
pub mod settings;
pub mod sizing;
pub mod state;
mod statistics;
mod stored;
mod text;
pub mod timetable;
#[cfg(test)]
mod worlds;

use case::Action;
use healthy::{Cell, Lesson, Workshop, people_bin};
use local::{BLOCK_MS, DAY_BLOCKS, Local, block_of, start_of};
use ring::KEPT;
use series::Series;
use settings::{MetricSettings, Settings, Site};
use state::{Building, FORMAT, Measure, Room, Service, State};
pub use stored::StateError;
use timetable::Span;

use crate::rule::Rule;

/// The most measures that are told apart.
const MOST_MEASURES: usize = 512;
/// A jump of time larger than this, in blocks, is not walked through.
const LONGEST_WALK: i64 = 40 * DAY_BLOCKS;
/// Beats of the critical path, in milliseconds.
const BEAT: i64 = 300_000;
/// Blocks that are left out from an upgrade on.
const WARM_UP: i64 = 3;
/// The most changes of versions that are remembered of a room.
const MOST_CHANGES: usize = 16;

/// The engine of one site.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    site: Site,
    state: State,
    actions: Vec<Action>,
    workshop: Workshop,
    suspect: bool,
    /// Limits by runs, by measure.
    rules: Vec<Option<Rule>>,
}

impl Engine {
    /// A new engine, which has learned nothing.
    pub fn new(settings: Settings) -> Self {
        let site = Site::of(&settings.rooms);
        let room = |id: &str| Room { id: id.to_owned(), ..Room::default() };
        let service = |id: &str| Service { id: id.to_owned(), ..Service::default() };
        let state = State {
            format: FORMAT,
            rooms: settings.rooms.iter().map(|settings| room(&settings.id)).collect(),
            services: site.services.iter().map(|group| service(&group.id)).collect(),
            buildings: site
                .buildings
                .iter()
                .map(|group| Building {
                    id: group.id.clone(),
                    service: site.services[group.service].id.clone(),
                    ..Building::default()
                })
                .collect(),
            ..State::default()
        };
        Self {
            settings,
            site,
            state,
            actions: Vec::new(),
            workshop: Workshop::default(),
            suspect: false,
            rules: Vec::new(),
        }
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it remembers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is to be said since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Place of a metric with its other labels; `None` if it is not judged, or there are too many.
    pub fn measure(&mut self, metric: &str, labels: &str) -> Option<usize> {
        let settings = self.settings.metrics.binary_search_by(|known| known.name.as_str().cmp(metric)).ok()?;
        if let Some(judged) = self.settings.metrics[settings].stat
            && !labels.split(',').any(|label| label.strip_prefix("stat=") == Some(judged))
        {
            return None;
        }
        let known = self.state.measures.iter().position(|known| known.metric == metric && known.labels == labels);
        if known.is_some() {
            return known;
        }
        if self.state.measures.len() >= MOST_MEASURES {
            return None;
        }
        self.state.measures.push(Measure { metric: metric.to_owned(), labels: labels.to_owned(), settings });
        self.rules.push(self.rule_of(self.state.measures.len() - 1));
        Some(self.state.measures.len() - 1)
    }

    /// How a measure is judged.
    fn metric(&self, measure: usize) -> &MetricSettings {
        &self.settings.metrics[self.state.measures[measure].settings]
    }

    /// Lets time pass, in milliseconds: closes blocks and looks for boxes that are silent.
    pub fn advance(&mut self, at: i64) {
        if self.state.block.is_some() && at <= self.state.now {
            return;
        }
        self.find_outages();
        let Some(mut open) = self.state.block else {
            let block = block_of(at);
            (self.state.block, self.state.first, self.state.now) = (Some(block), block, at);
            self.state.beat = at - at.rem_euclid(BEAT) + BEAT;
            return;
        };
        if block_of(at) - open > LONGEST_WALK {
            self.close_block(open);
            open = block_of(at) - LONGEST_WALK;
            self.state.beat = start_of(open);
        }
        loop {
            let end = start_of(open + 1);
            if self.state.beat <= at && self.state.beat < end {
                self.find_silent(self.state.beat);
                self.state.beat += BEAT;
            } else if end <= at {
                self.close_block(open);
                open += 1;
            } else {
                break;
            }
        }
        (self.state.block, self.state.now) = (Some(open), at);
    }

    /// Ends the input: the last block is closed as it is, at `at`.
    pub fn finish(&mut self) {
        self.find_outages();
    }

    /// The clock cannot be trusted: the open block is dropped.
    pub fn drop_open_block(&mut self) {
        for room in &mut self.state.rooms {
            room.people_open = (0.0, 0);
            room.series.iter_mut().flatten().for_each(|series| series.drop_open());
        }
        self.state.services.iter_mut().for_each(|service| service.load.drop_open());
    }

    /// Takes in a value of a room; time has to be advanced to it before. False if it was there before.
    pub fn sample(&mut self, at: i64, room: usize, measure: usize, value: f64) -> bool {
        let Some(block) = self.state.block else { return false };
        let settings = &self.settings.metrics[self.state.measures[measure].settings];
        let Some(transformed) = settings.transformed(value) else { return false };
        let muted = self.heard(at, room);
        let settings = &self.settings.metrics[self.state.measures[measure].settings];
        let room_state = &mut self.state.rooms[room];
        if room_state.series.len() <= measure {
            room_state.series.resize_with(measure + 1, || None);
        }
        let series = room_state.series[measure].get_or_insert_with(Box::<Series>::default);
        if muted {
            return true;
        }
        let new = series.add(at, block, transformed, settings.heavy);
        if new && let Some(limit) = settings.critical_limit {
            let beyond = settings.beyond(value, limit);
            self.critical_value(at, room, measure, beyond);
        }
        new
    }

    /// Takes in the typical value that was kept of the half-hour that begins at `at`, in place of its samples;
    /// time has to be advanced to it before. False if it was there before.
    pub fn block(&mut self, at: i64, room: usize, measure: usize, value: f64) -> bool {
        let Some(block) = self.state.block else { return false };
        let settings = &self.settings.metrics[self.state.measures[measure].settings];
        let Some(transformed) = settings.transformed(value) else { return false };
        let heavy = settings.heavy;
        let muted = self.heard(at, room);
        let series = &mut self.state.rooms[room].series;
        if series.len() <= measure {
            series.resize_with(measure + 1, || None);
        }
        muted || series[measure].get_or_insert_with(Box::<Series>::default).put(at, block, transformed, heavy)
    }

    /// Takes in how many people are in a room.
    pub fn people(&mut self, at: i64, room: usize, count: f64) {
        self.heard(at, room);
        if count.is_finite() && (0.0..1e9).contains(&count) {
            let open = &mut self.state.rooms[room].people_open;
            *open = (open.0 + count, open.1 + 1);
        }
    }

    /// Takes in the load of a service.
    pub fn load(&mut self, service: usize, value: f64) {
        if let Some(service) = self.state.services.get_mut(service) {
            service.load.add(value);
        }
    }

    /// Place of a service.
    pub fn service(&self, id: &str) -> Option<usize> {
        self.site.services.iter().position(|group| group.id == id)
    }

    /// Place of the service of a room.
    pub fn service_of(&self, room: usize) -> usize {
        self.site.service_of[room]
    }

    /// Takes in a lesson of a room.
    pub fn lesson(&mut self, room: usize, lesson: Span) {
        self.state.timetable.add(lesson, self.settings.zone);
        self.state.rooms[room].lessons.add(lesson);
    }

    /// A component of a room has another version since `at`.
    pub fn room_upgraded(&mut self, at: i64, room: usize, component: &str, version: &str) {
        let block = block_of(at);
        remember(&mut self.state.rooms[room].changes, component, version, at);
        self.state.rooms[room].warm_until = Some(block + WARM_UP - 1);
        let service = self.site.service_of[room];
        self.upgrade(at, room, service, block, component, version);
    }

    /// A component of a service has another version since `at`.
    pub fn service_upgraded(&mut self, at: i64, service: usize, component: &str, version: &str) {
        let Some(group) = self.state.services.get_mut(service) else { return };
        remember(&mut group.changes, component, version, at);
        for room in &self.site.services[service].rooms {
            self.state.rooms[*room].warm_until = Some(block_of(at) + WARM_UP - 1);
        }
        self.say_service_check(at, service, component, version);
    }

    /// Closes a block: values, levels, evidence, decisions, and at the end of a day the nightly work.
    fn close_block(&mut self, block: i64) {
        let local = Local::of(block, self.settings.zone);
        let other_day = if self.state.timetable.teaches(local.day) { 0 } else { 24 };
        let hour = local.half_hour / 2 + other_day;
        let lesson = self.state.timetable.in_lesson(local);
        self.state.hours.set(block, hour);
        for service in &mut self.state.services {
            service.load.close(block, hour, lesson);
        }
        let end = start_of(block) + BLOCK_MS;
        for room in &mut self.state.rooms {
            let (sum, n) = std::mem::take(&mut room.people_open);
            room.people.set(block, if n > 0 { people_bin(sum / f64::from(n)) } else { 0 });
            let warm = room.warm_until.is_some_and(|until| block <= until);
            let muted = room.muted_until.is_some_and(|until| start_of(block) < until);
            for (series, measure) in room.series.iter_mut().zip(&self.state.measures) {
                let Some(series) = series else { continue };
                let value = series.close(block, &self.settings.metrics[measure.settings]);
                series.warm.set(block, warm);
                series.clean.set(block, value.is_some() && !warm && !muted);
            }
        }
        let mut turns = self.find_levels(block, local);
        self.find_limits(block, &mut turns);
        self.find_capacity(block, lesson, &mut turns);
        let night = Local::of(block + 1, self.settings.zone).day != local.day;
        if night {
            self.find_slow(block, &mut turns);
        }
        self.decide(block, end, turns);
        if night {
            self.end_day(block, local);
        }
    }

    /// Learns from the last four weeks, and forgets what is past.
    fn end_day(&mut self, block: i64, local: Local) {
        self.judge_sizes(block, local);
        let tuning = &self.settings.tuning;
        let learned = block - self.state.first + 1 >= tuning.learning_days * DAY_BLOCKS - 4;
        let seen_after = tuning.load_is_seen_after.clamp(1, 28) as usize;
        for service in &mut self.state.services {
            service.load.end_day(learned, seen_after);
        }
        self.state.nights += 1;
        let due = self.state.nights >= tuning.refit_every;
        self.refit(block, due);
        if due {
            self.state.nights = 0;
        }
        self.state.timetable.prune(local.day);
        let old = start_of(block - 3 * DAY_BLOCKS);
        self.state.rooms.iter_mut().for_each(|room| room.lessons.prune(old));
    }

    /// Fits the model of every series; those that are learned for the first time always.
    fn refit(&mut self, block: i64, due: bool) {
        let oldest = (block - KEPT as i64 + 1).max(self.state.first);
        let days: Vec<i32> = (oldest..=block).map(|block| Local::of(block, self.settings.zone).day).collect();
        let Some(first_day) = days.first().copied() else { return };
        let last_day = days.last().copied().unwrap_or(first_day);
        let span = usize::try_from(last_day - first_day + 1).unwrap_or(1);
        let learning = self.settings.tuning.learning_days * DAY_BLOCKS - 4;
        let fresh = self.state.nights.clamp(1, 28) as usize;
        let mut lessons: Vec<Lesson> = Vec::with_capacity(KEPT);
        for (room, service) in self.state.rooms.iter_mut().zip(&self.site.service_of) {
            let bins = &self.state.services[*service].load.bins;
            for (series, measure) in room.series.iter_mut().zip(&self.state.measures) {
                let Some(series) = series else { continue };
                let first = series.healthy.anchor.is_none();
                let old_enough = series.first.is_some_and(|first| block - first >= learning - DAY_BLOCKS);
                if !old_enough || !(first || due) {
                    continue;
                }
                lessons.clear();
                for (block, day) in (oldest..=block).zip(&days) {
                    let value = series.values.get(block);
                    if !value.is_nan() && series.clean.get(block) {
                        let (load, people, hour) =
                            (bins.get(block), room.people.get(block), self.state.hours.get(block));
                        lessons.push(Lesson { value, cell: Cell { load, people, hour }, day: (day - first_day) as u8 });
                    }
                }
                let material = self.settings.metrics[measure.settings].material;
                series.healthy.fit(&lessons, span, fresh, first, material, &mut self.workshop);
            }
        }
    }

    /// Where a block of a room lies.
    fn cell(&self, room: usize, block: i64) -> Cell {
        let service = self.site.service_of[room];
        Cell {
            load: self.state.services[service].load.bins.get(block),
            people: self.state.rooms[room].people.get(block),
            hour: self.state.hours.get(block),
        }
    }

    /// The series of a room.
    fn series(&self, room: usize, measure: usize) -> Option<&Series> {
        self.state.rooms[room].series.get(measure)?.as_deref()
    }

    /// How much worse than in health a block of a room is, in transformed units; `None` without a
    /// value, a model, or in the warm-up after an upgrade. The block must be one of the last 28 days.
    fn rest(&self, room: usize, measure: usize, block: i64) -> Option<f32> {
        let series = self.series(room, measure)?;
        let value = series.values.get(block);
        if value.is_nan() || series.warm.get(block) {
            return None;
        }
        Some((f64::from(value) - series.healthy.expected(self.cell(room, block))?) as f32)
    }
}

/// Keeps the newest changes.
fn remember(changes: &mut Vec<(String, String, i64)>, component: &str, version: &str, at: i64) {
    if changes.len() >= MOST_CHANGES {
        changes.remove(0);
    }
    changes.push((component.to_owned(), version.to_owned(), at));
}
