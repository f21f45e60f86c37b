//! What the history of a room says of a maintenance: its booking's series, before and after. Pure.
//!
//! Half-hours are as they were measured, in the engine's units, not adjusted for load: what load does to them is
//! in the earlier pairs of dates that each shift is held against. A box that knows of no sister rooms has
//! only those.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::effect::{HalfHour, Question, Room, Shift, Verdict, judge};
use crate::{
    booking::{
        Booking,
        life::{Effect, SeriesEffect},
    },
    history::line::Entry,
    judge::engine::{own, settings::MetricSettings},
    rule::Rules,
};

/// Length of a half-hour, in milliseconds.
const HALF_HOUR: i64 = 1_800_000;

/// What is collected of a series.
type Values = BTreeMap<i64, Vec<f64>>;

/// The half-hours of a booking's series, as history is read day by day.
#[derive(Debug)]
pub struct Collected {
    series: Vec<(MetricSettings, String, String, Values)>,
}

impl Collected {
    /// For the series of a booking.
    pub fn of(booking: &Booking, rules: &Rules) -> Self {
        let settings = own::metrics(rules);
        let mut series = Vec::new();
        for evidence in &booking.evidence {
            let Some(metric) = settings.iter().find(|known| known.name == evidence.metric.name()) else { continue };
            let labels = evidence.labels.iter().map(|(label, value)| (label.name().to_owned(), value.to_owned()));
            let labels: BTreeMap<String, String> =
                labels.chain([("probe".to_owned(), evidence.probe.clone())]).collect();
            series.push((metric.clone(), metric.name.clone(), text(&labels), Values::new()));
        }
        Self { series }
    }

    /// Takes in what was recorded.
    pub fn take(&mut self, entry: &Entry) {
        let (series, at, value) = match entry {
            Entry::Sample(series, sample) => (series, sample.at, sample.judged()),
            Entry::Block(series, at, block) => (series, *at, (!block.thin).then_some(f64::from(block.value))),
            Entry::Sum(..) | Entry::Event(_) => return,
        };
        let labels = text(&series.labels);
        let mine = self.series.iter_mut().find(|(_, metric, of, _)| *metric == series.metric && *of == labels);
        if let (Some((settings, .., values)), Some(value)) = (mine, value)
            && let Some(value) = settings.transformed(value)
        {
            values.entry(at.div_euclid(HALF_HOUR)).or_default().push(f64::from(value));
        }
    }

    /// What the numbers say at `now`: of all series the worst verdict.
    pub fn effect(self, booking: &Booking, now: DateTime<Utc>) -> Effect {
        let onset = booking.judgement.as_ref().map(|judgement| judgement.onset);
        let onset = onset.or_else(|| booking.evidence.iter().map(|evidence| evidence.since).min());
        let (Some(onset), Some(completed)) = (onset, booking.life.reported_at) else {
            return Effect { verdict: Verdict::NotMeasurable, series: Vec::new() };
        };
        let ends = |shift: Option<Shift>| {
            let ends = shift.map(|Shift { material, .. }| [material.low, material.estimate, material.high]);
            // JSON knows no infinity.
            ends.filter(|ends| ends.iter().all(|end| end.is_finite()))
        };
        let series: Vec<SeriesEffect> = self
            .series
            .into_iter()
            .map(|(settings, metric, labels, values)| {
                let half_hours: Vec<HalfHour> = values
                    .into_iter()
                    .filter_map(|(block, values)| {
                        let value = super::statistics::median(&values)?;
                        Some(HalfHour { at: block * HALF_HOUR, value })
                    })
                    .collect();
                let found = judge(&Question {
                    onset: onset.timestamp_millis(),
                    completed: completed.timestamp_millis(),
                    now: now.timestamp_millis(),
                    reopened: booking.life.reopened > 0 && booking.recovered_at.is_none(),
                    material: settings.material,
                    room: Room { half_hours: &half_hours, anchor: None },
                    sisters: &[],
                });
                SeriesEffect {
                    metric,
                    labels,
                    verdict: found.verdict,
                    left: ends(found.left),
                    repair: ends(found.repair),
                }
            })
            .collect();
        Effect { verdict: worst(&series), series }
    }
}

fn worst(series: &[SeriesEffect]) -> Verdict {
    let has = |verdict| series.iter().any(|one| one.verdict == verdict);
    [Verdict::NotSolved, Verdict::Inconclusive, Verdict::Solved]
        .into_iter()
        .find(|verdict| has(*verdict))
        .unwrap_or(Verdict::NotMeasurable)
}

fn text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
