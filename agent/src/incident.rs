//! Incidents: open faults, one per scope, family and cause.

use bellwether_probes::{Family, Labels, Metric, Scale};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{booking::Severity, judge::Level};

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

/// How soon somebody should come for an incident, by what was measured so far.
///
/// A series beyond its critical limit is critical. High is a fault that shows in two families of the
/// same scope at once, or in a value more than three material changes beyond its limit. All else is
/// normal.
pub fn severity(incident: &Incident, incidents: &[Incident]) -> Severity {
    if incident.evidence.iter().any(|evidence| evidence.level == Level::Critical) {
        return Severity::Critical;
    }
    let open = |other: &&Incident| other.scope == incident.scope && other.recovered_at.is_none();
    let elsewhere = incidents.iter().filter(open).any(|other| other.family != incident.family);
    if elsewhere || incident.evidence.iter().any(|evidence| material_beyond(evidence) > 3.0) {
        return Severity::High;
    }
    Severity::Normal
}

/// How far the worst value is beyond the limit, in material changes of the metric.
fn material_beyond(evidence: &Evidence) -> f64 {
    let Evidence { worst, limit, .. } = *evidence;
    match evidence.metric.spec().scale {
        Scale::Log(factor) if worst > 0.0 && limit > 0.0 => (worst / limit).ln().abs() / factor.ln(),
        Scale::Log(_) => 0.0,
        Scale::Linear(amount) => (worst - limit).abs() / amount,
    }
}
