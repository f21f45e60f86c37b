//! The judge of the room that a box stands in: the decision engine, told of each inspection.
//!
//! What stands to its limits by runs is counted beside it (`step`), and told to it; everything that is
//! held against the room then comes from one place, [`RoomJudge::findings`].

use std::collections::BTreeMap;

use bellwether_probes::{Family, Label, Labels, Metric, ProbeRun, Reading, Validity};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value},
};

use super::{
    Verdict,
    engine::{
        Engine, StateError,
        explain::Explained,
        finding::{Finding, Found},
        labels,
        settings::{RoomSettings, Settings, Tuning},
        timetable::Span,
    },
};
use crate::{
    booking::VersionChange,
    calendar::Calendar,
    history::{self, Event, What, line::Entry},
    incident::Cause,
    rule::Rules,
    site::Site,
};

/// How far ahead lessons are told to the engine.
const AHEAD: TimeDelta = TimeDelta::hours(36);

/// What the engine is told of a box that judges its own room; `cores` is how many processors it has.
pub fn settings(site: &Site, rules: &Rules, tuning: &Tuning, cores: Option<u32>) -> Settings {
    let room = &site.room;
    Settings {
        zone: site.locale.timezone,
        load_metric: site.locale.load_metric.name().to_owned(),
        metrics: super::engine::own::metrics(rules),
        rooms: vec![RoomSettings {
            id: room.id.clone(),
            building: room.building.clone(),
            service: room.service.clone(),
            hardware: room.hardware.clone(),
            cores,
        }],
        tuning: tuning.clone(),
        own: true,
        rules: rules.clone(),
    }
}

/// The judge of one room.
#[derive(Debug)]
pub struct RoomJudge {
    engine: Engine,
    /// Places of the series in the engine; `None` for those that it does not judge.
    places: BTreeMap<(Metric, String, Labels), Option<usize>>,
    /// The series that tells the load, as it was last read.
    load: Option<LoadSeries>,
}

/// The series that tells the load of the media server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSeries {
    /// The metric.
    pub metric: Metric,
    /// Name of the probe.
    pub probe: String,
    /// Labels of the series.
    pub labels: Labels,
}

impl RoomJudge {
    /// A judge that has learned nothing.
    pub fn new(settings: Settings) -> Self {
        Self { engine: Engine::new(settings), places: BTreeMap::new(), load: None }
    }

    /// A judge that goes on from what was stored.
    ///
    /// # Errors
    /// It cannot be gone on from.
    pub fn restore(settings: Settings, stored: &[u8]) -> Result<Self, StateError> {
        Ok(Self { engine: Engine::restore(settings, stored)?, places: BTreeMap::new(), load: None })
    }

    /// What is to be stored.
    pub fn stored(&self) -> Vec<u8> {
        self.engine.stored()
    }

    /// The half-hour that is open, counted from 1970; it is worth storing what was learned whenever it is
    /// another one.
    pub fn block(&self) -> Option<i64> {
        self.engine.state().block
    }

    /// The engine, for explanations.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What is known of the series of a metric, in the order in which they were first seen.
    pub fn explain(&self, metric: Metric) -> Vec<Explained> {
        let of_metric = self.engine.state().measures.iter().zip(0..).filter(|(known, _)| known.metric == metric.name());
        of_metric.filter_map(|(_, measure)| self.engine.explain_series(0, measure)).collect()
    }

    /// Takes in the lessons around an instant, as far as the calendar knows them.
    pub fn lessons(&mut self, calendar: &Calendar, now: DateTime<Utc>) {
        for lesson in calendar.lessons(now - TimeDelta::hours(1)..now + AHEAD) {
            let (start, end) = (lesson.start.timestamp_millis(), lesson.end.timestamp_millis());
            if let Some(lesson) = Span::new(start, end) {
                self.engine.lesson(0, lesson);
            }
        }
    }

    /// The series that tells the load of the media server, if one was read.
    pub fn load(&self) -> Option<&LoadSeries> {
        self.load.as_ref()
    }

    /// Takes in a run, and how the series of it stand to their limits; says of each verdict whether that is
    /// held against the room.
    pub fn run(&mut self, run: &ProbeRun, verdicts: &mut [Verdict]) {
        for reading in &run.readings {
            self.reading(&run.probe, reading, verdicts);
        }
    }

    fn reading(&mut self, probe: &str, reading: &Reading, verdicts: &mut [Verdict]) {
        if reading.validity == Validity::Inconclusive || !reading.value.is_finite() {
            return;
        }
        let at = self.advance(reading.ts);
        self.take_load(reading.metric, probe, &reading.labels, reading.value);
        let Some(measure) = self.place(reading.metric, probe, &reading.labels) else { return };
        self.engine.sample(at, 0, measure, reading.value);
        let same = |verdict: &&mut Verdict| verdict.metric == reading.metric && verdict.labels == reading.labels;
        if let Some(verdict) = verdicts.iter_mut().find(same).filter(|verdict| verdict.value.is_some()) {
            verdict.held = self.engine.limit(at, 0, measure, verdict.level);
        }
    }

    /// Takes in what was recorded before: in the order of time, after a start. How series stood to their limits
    /// is not counted again; that is told by the next run.
    pub fn recorded(&mut self, entry: &Entry) {
        match entry {
            Entry::Sample(series, sample) => {
                let Some(value) = sample.judged() else { return };
                let at = self.advance_to(sample.at);
                if let Some(measure) = self.recorded_place(series, value) {
                    self.engine.sample(at, 0, measure, value);
                }
            }
            Entry::Block(series, at, block) => {
                if block.thin {
                    return;
                }
                let value = f64::from(block.value);
                let at = self.advance_to(*at);
                if let Some(measure) = self.recorded_place(series, value) {
                    self.engine.block(at, 0, measure, value);
                }
            }
            Entry::Sum(..) => {}
            Entry::Event(Event { at, what }) => match what {
                What::VersionChange { component, to, .. } => {
                    let at = self.advance_to(*at);
                    self.engine.room_upgraded(at, 0, component, to);
                }
                What::Lesson { start, end } => {
                    if let Some(lesson) = Span::new(*start, *end) {
                        self.engine.lesson(0, lesson);
                    }
                }
                What::Maintenance { .. } => {}
            },
        }
    }

    /// Where a series that was recorded is judged; if it tells the load, that is taken in.
    fn recorded_place(&mut self, series: &history::Series, value: f64) -> Option<usize> {
        let (metric, mut labels) = (series.known()?, Labels::new());
        let mut probe = None;
        for (name, value) in &series.labels {
            if name == "probe" {
                probe = Some(value.as_str());
            } else {
                labels.insert(label(name)?, value);
            }
        }
        let probe = probe?;
        self.take_load(metric, probe, &labels, value);
        self.place(metric, probe, &labels)
    }

    /// Takes in a version that was changed.
    pub fn changed(&mut self, change: &VersionChange) {
        let at = self.advance(change.at);
        self.engine.room_upgraded(at, 0, &change.component, &change.new);
    }

    /// Takes in that somebody works in the room (`start`), has left it (`done`), or that what was booked is
    /// accepted as it is (`accept`).
    pub fn work(&mut self, at: DateTime<Utc>, action: &str, family: Family, cause: Cause) {
        let at = self.advance(at);
        self.engine.room_work(at, action, family.name(), cause);
    }

    fn take_load(&mut self, metric: Metric, probe: &str, labels: &Labels, value: f64) {
        if metric.name() == self.engine.settings().load_metric {
            self.engine.load(0, value);
            self.load = Some(LoadSeries { metric, probe: probe.to_owned(), labels: labels.clone() });
        }
    }

    fn advance(&mut self, at: DateTime<Utc>) -> i64 {
        self.advance_to(at.timestamp_millis())
    }

    /// Lets time pass, also backwards if the clock was set back.
    fn advance_to(&mut self, at: i64) -> i64 {
        if self.engine.is_set_back(at) {
            self.engine.set_back(at);
        }
        self.engine.advance(at);
        at
    }

    /// What is held against the room. What was said before is forgotten with it.
    pub fn findings(&mut self) -> Vec<Finding> {
        self.engine.take_actions();
        self.engine.findings()
    }

    /// Takes a changed config; series that are not `judged` any more are forgotten.
    ///
    /// # Errors
    /// The room is another one: what was learned of the old one is of no use.
    pub fn adopt(
        &self,
        settings: Settings,
        judged: impl Fn(Metric, &str, &Labels) -> bool,
    ) -> Result<Self, StateError> {
        let mut new = Self::restore(settings, &self.stored())?;
        new.engine.retain(|metric, text| {
            series(metric, text).is_some_and(|(metric, probe, labels)| judged(metric, &probe, &labels))
        });
        Ok(new)
    }

    fn place(&mut self, metric: Metric, probe: &str, labels: &Labels) -> Option<usize> {
        let key = (metric, probe.to_owned(), labels.clone());
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let pairs = labels.iter().map(|(label, value)| (label.name(), value));
        let place = self.engine.measure(metric.name(), &labels::text(pairs.chain([("probe", probe)])));
        self.places.insert(key, place);
        place
    }
}

/// The series that the engine calls `metric` with other labels `text`. `None` if it is none of this version's.
pub fn series(metric: &str, text: &str) -> Option<(Metric, String, Labels)> {
    let (mut probe, mut known) = (None, Labels::new());
    for (name, value) in labels::parse(text) {
        if name == "probe" {
            probe = Some(value);
        } else {
            known.insert(label(&name)?, value);
        }
    }
    Some((metric.parse().ok()?, probe?, known))
}

/// The label of a name. `None` if it is none of this version's.
fn label(name: &str) -> Option<Label> {
    let name: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
    Label::deserialize(name).ok()
}

impl Found {
    /// The series. `None` if it is none of this version's.
    pub fn series(&self) -> Option<(Metric, String, Labels)> {
        series(&self.metric, &self.labels)
    }
}

#[cfg(test)]
mod tests;
