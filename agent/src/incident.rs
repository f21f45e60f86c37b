//! Incidents: open faults, one per scope, family and cause.

use bellwether_probes::{Family, Labels, Metric};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::judge::Level;

/// What a fault is blamed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// This room: its box, its devices, its network.
    Room,
    /// A version that was installed.
    Version,
}

impl Cause {
    /// The word used in keys, JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Version => "version",
        }
    }
}

/// One series that is, or was, beyond its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Name of the probe.
    pub probe: String,
    /// The metric.
    pub metric: Metric,
    /// Labels of the series.
    pub labels: Labels,
    /// The value when evidence was last taken, in base units.
    pub value: f64,
    /// The worst value seen while the incident was open.
    pub worst: f64,
    /// The limit it is beyond.
    pub limit: f64,
    /// Whether it is beyond the critical limit, the plain one, or back within.
    pub level: Level,
    /// Since when it has been beyond.
    pub since: DateTime<Utc>,
    /// How many of the last runs were beyond, of how many.
    pub bad: u32,
    /// See `bad`.
    pub of: u32,
}

/// An open fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The room, service or component concerned.
    pub scope: String,
    /// The family of its metrics.
    pub family: Family,
    /// What it is blamed on.
    pub cause: Cause,
    /// When its first series went beyond its limit.
    pub opened_at: DateTime<Utc>,
    /// When all of its series were back within their limits; `None` while one is beyond.
    pub recovered_at: Option<DateTime<Utc>>,
    /// Its series, sorted by probe, metric and labels.
    pub evidence: Vec<Evidence>,
}
