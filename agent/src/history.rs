//! What was measured, as it is kept: raw samples for two weeks, half-hours and days for five years.
//!
//! ```text
//! ProbeRun → samples_of → pack (one row a run) → fold (a day's half-hours and its sum, a row a series)
//!                                              → line (JSON lines, as `replay` reads them) → and back
//! ```
//!
//! Pure: nothing here reads a clock or does I/O. What is packed is unpacked to the last bit, and bytes
//! that were cut or changed are an error.

pub mod fold;
pub mod line;
pub mod pack;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bellwether_probes::{Metric, ProbeRun, Reading, Reason, Validity};
use chrono::{DateTime, Utc};

/// Milliseconds of a UTC day.
pub const DAY_MS: i64 = 86_400_000;
/// Milliseconds of a half-hour.
pub const BLOCK_MS: i64 = 1_800_000;
/// Name of the metric that tells whether a probe came through.
pub const PROBE_OK: &str = "probe_ok";
/// For how many days raw samples are kept, at least.
pub const RAW_DAYS: i64 = 14;
/// For how many days half-hours, days and events are kept: five years.
pub const KEPT_DAYS: i64 = 5 * 365 + 2;

/// The UTC day of an instant, in days since 1970.
pub fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// What a series is of. Rooms and services are no labels of it: a ledger is that of one room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// Name of the metric; usually one of [`Metric`], or [`PROBE_OK`].
    pub metric: String,
    /// Its labels, `probe` among them.
    pub labels: BTreeMap<String, String>,
}

impl Series {
    /// The series of a reading of a probe.
    fn of(probe: &str, reading: &Reading) -> Self {
        let mut labels: BTreeMap<String, String> =
            reading.labels.iter().map(|(label, value)| (label.name().to_owned(), value.to_owned())).collect();
        labels.insert("probe".to_owned(), probe.to_owned());
        Self { metric: reading.metric.name().to_owned(), labels }
    }

    /// Whether the probe of this name came through.
    pub fn probe_ok(probe: &str) -> Self {
        Self { metric: PROBE_OK.to_owned(), labels: BTreeMap::from([("probe".to_owned(), probe.to_owned())]) }
    }

    /// The metric, if it is one of bellwether's own.
    pub fn known(&self) -> Option<Metric> {
        self.metric.parse().ok()
    }
}

/// One value, or that there was none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When the measurement was finished, in milliseconds since 1970.
    pub at: i64,
    /// In base units of the metric; finite. `None` if it was not obtained.
    pub value: Option<f64>,
    /// How many samples of the probe it rests on.
    pub n: u64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub high: Option<f64>,
    /// Whether it may be judged.
    pub validity: Validity,
    /// Why it is not `ok`.
    pub reason: Option<Reason>,
}

impl Sample {
    /// The value to be judged: that of a sample that is not inconclusive.
    pub fn judged(&self) -> Option<f64> {
        self.value.filter(|_| self.validity != Validity::Inconclusive)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event {
    /// When, in milliseconds since 1970: of a lesson, when it became known.
    pub at: i64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A component has another version.
    VersionChange {
        /// The component.
        component: String,
        /// The version before; empty if it is not known.
        from: String,
        /// The version now.
        to: String,
    },
    /// A lesson, in milliseconds since 1970.
    Lesson {
        /// Its begin.
        start: i64,
        /// Its end.
        end: i64,
    },
    /// What people did with a booking.
    Maintenance {
        /// What: confirm, start, done or accept.
        action: String,
        /// Key of the booking.
        booking: String,
    },
}

/// Reasons for which it says nothing of the room that a run failed: the box, or its config, kept it from
/// being one.
const OURS: &[Reason] = &[
    Reason::Cancelled,
    Reason::Worker,
    Reason::HostLimited,
    Reason::ClockStep,
    Reason::NotPermitted,
    Reason::Bounded,
    Reason::DeviceBusy,
];

/// Everything that a run measured, and whether it came through, in milliseconds.
pub fn samples_of(run: &ProbeRun) -> Vec<(Series, Sample)> {
    let mut samples = Vec::with_capacity(run.readings.len() + 1);
    let seconds = run.duration_seconds.clamp(0.0, 86_400.0);
    let ended = ms(run.started_at).saturating_add((seconds * 1000.0) as i64);
    let failed = run.failure.as_ref().map(|failure| failure.reason);
    let unknown = run.inconclusive.or(failed.filter(|reason| OURS.contains(reason)));
    let value = if failed.is_some() { 0.0 } else { 1.0 };
    samples.push((
        Series::probe_ok(&run.probe),
        Sample {
            at: ended,
            value: unknown.is_none().then_some(value),
            n: 1,
            low: None,
            high: None,
            validity: if unknown.is_some() { Validity::Inconclusive } else { Validity::Ok },
            reason: unknown.or(failed),
        },
    ));
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    samples.extend(run.readings.iter().map(|reading| {
        let sample = Sample {
            at: ms(reading.ts),
            value: finite(reading.value),
            n: reading.n,
            low: reading.low.and_then(finite),
            high: reading.high.and_then(finite),
            validity: reading.validity,
            reason: reading.reason,
        };
        (Series::of(&run.probe, reading), sample)
    }));
    samples
}

fn ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}
