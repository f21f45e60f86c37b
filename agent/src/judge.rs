//! The judge: a fold over readings. No clock, no logging, no I/O.

use bellwether_probes::{Labels, Metric, Reason};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How bad a series is, by its limits over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Within its limits.
    #[default]
    Pass,
    /// Beyond its limit.
    Degraded,
    /// Beyond its critical limit.
    Critical,
}

/// What one series was judged to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Name of the probe.
    pub probe: String,
    /// The metric.
    pub metric: Metric,
    /// Labels of the series.
    pub labels: Labels,
    /// The value judged, in base units; `None` if there was none.
    pub value: Option<f64>,
    /// The level after this reading; an inconclusive reading leaves it as it was.
    pub level: Level,
    /// Why the reading could not be judged.
    pub inconclusive: Option<Reason>,
    /// Whether the level is another one than before.
    pub changed: bool,
}

/// State of one series between inspections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The level.
    pub level: Level,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}
