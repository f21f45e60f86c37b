//! Explanation at hand: level, baseline, evidence, and what is needed to alarm or to clear.

use serde::Serialize;

use super::{
    Engine,
    local::{DAY_BLOCKS, start_of},
    state::Path,
};

/// What is known of one series of a booking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// Name of the room.
    pub room: String,
    /// Name of the metric.
    pub metric: String,
    /// Other labels of the series.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub labels: String,
    /// What it reads, in its own unit; absent if nothing was measured.
    pub now: Option<f64>,
    /// What a healthy room would read.
    pub expected: Option<f64>,
    /// How much worse that is, in units of what is material.
    pub level: Option<f64>,
    /// Noise of a half-hour, in the same units.
    pub sigma: Option<f64>,
    /// Material-hours so far, and material-days.
    pub evidence: (f64, f64),
    /// Material-hours and material-days that make an alarm.
    pub alarm_at: (f64, f64),
    /// Whether there is an alarm.
    pub alarm: bool,
    /// Half-hours of good health that are still wanted to clear it.
    pub clears_in: u16,
    /// Since when it counts, in milliseconds.
    pub since: i64,
    /// When the half-hour of `now` ended, in milliseconds; absent if nothing was measured.
    pub at: Option<i64>,
    /// Days with half-hours so far, while the series is only learned.
    pub learning: Option<f64>,
    /// What is material, in transformed units of the metric; see [`super::settings::MetricSettings`].
    pub material: f64,
    /// What a reading would be at which recovery begins, in its own unit.
    pub clears_at: Option<f64>,
    /// At the level of the last half-hour: in so many half-hours more there is an alarm. Absent if that
    /// level makes none.
    pub alarm_in: Option<u32>,
}

impl Engine {
    /// What is known of the series of a booking; of the first hundred.
    pub fn explain(&self, booking: &str) -> Vec<Explained> {
        let Some(case) = self.state.cases.iter().find(|case| case.id == booking) else { return Vec::new() };
        let pairs = case.rooms.iter().flat_map(|room| case.measures.iter().map(move |measure| (*room, *measure)));
        pairs.filter_map(|(room, measure)| self.explain_series(room, measure)).take(100).collect()
    }

    /// What is known of a series.
    pub fn explain_series(&self, room: usize, measure: usize) -> Option<Explained> {
        let series = self.series(room, measure)?;
        let metric = self.metric(measure);
        // The last block that counted; while the series is only learned, the last that is closed.
        let closed = self.state.block.map_or(0, |open| open - 1);
        let last = if series.healthy.anchor.is_some() { series.fast.last.unwrap_or(closed) } else { closed };
        let known = self.state.block.is_some_and(|open| open - last < super::ring::KEPT as i64);
        let value = Some(f64::from(series.values.get(last))).filter(|value| known && !value.is_nan());
        let expected = series.healthy.expected(self.cell(room, last)).filter(|_| known);
        let level = value.zip(expected).map(|(value, expected)| (value - expected) / metric.material);
        let limit = self.state.alarms.iter().any(|alarm| {
            alarm.whose == super::state::Whose::Room(room)
                && alarm.measure == Some(measure)
                && matches!(alarm.path, Path::Limit | Path::Critical | Path::Runs)
        });
        Some(Explained {
            room: self.settings.rooms[room].id.clone(),
            metric: metric.name.clone(),
            labels: self.state.measures[measure].labels.clone(),
            now: value.map(|value| metric.shown(value)),
            expected: expected.map(|expected| metric.shown(expected)),
            level,
            sigma: series.healthy.sigma().map(|sigma| sigma / metric.material),
            evidence: (series.fast.sum, series.slow.sum),
            alarm_at: (if metric.heavy { 8.0 } else { 4.0 }, 1.0),
            alarm: series.fast.alarm || series.slow.alarm || limit,
            clears_in: if series.fast.alarm { 36 - series.fast.good.min(36) } else { 0 },
            since: start_of(series.fast.onset),
            at: value.map(|_| start_of(last + 1)),
            learning: series
                .healthy
                .anchor
                .is_none()
                .then(|| series.first.map_or(0.0, |first| (last - first + 1).max(0) as f64 / DAY_BLOCKS as f64)),
            material: metric.material,
            clears_at: expected.map(|expected| metric.shown(expected + 0.5 * metric.material)),
            alarm_in: level.zip(series.healthy.sigma()).and_then(|(level, sigma)| {
                let gate = self.settings.tuning.gate * sigma / metric.material;
                let size = level.min(if gate > 0.0 { level / gate } else { level });
                let each = (size.min(4.0) - 0.8) * 0.5;
                let missing = (if metric.heavy { 8.0 } else { 4.0 }) - series.fast.sum;
                (each > 0.0 && missing > 0.0 && !series.fast.alarm).then(|| (missing / each).ceil() as u32)
            }),
        })
    }
}
