//! One inspection, and what follows from it: `conclude`.

use std::collections::BTreeMap;

use bellwether_probes::ProbeRun;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    booking::{Booking, Order, VersionChange},
    channel::Channels,
    incident::Incident,
    judge::{self, Verdict},
    rule::Rules,
    site::Site,
};

/// One pass over the probes that were due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Drawn by the daemon.
    pub id: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Its runs.
    pub runs: Vec<ProbeRun>,
}

/// A component's version as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownVersion {
    /// The version.
    pub version: String,
    /// When it was first seen.
    pub since: DateTime<Utc>,
}

/// What the agent knows between inspections. Loaded at start; it changes only after the store took
/// the change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Drawn once per new database.
    pub ledger_id: String,
    /// State of the judge, per series.
    pub judge: BTreeMap<String, judge::Series>,
    /// Versions as they were last seen, per component.
    pub versions: BTreeMap<String, KnownVersion>,
    /// Version changes of the last 30 days, oldest first.
    pub changes: Vec<VersionChange>,
    /// Faults that are open, or recovered and not yet withdrawn.
    pub incidents: Vec<Incident>,
    /// Bookings that have not ended, by key.
    pub bookings: BTreeMap<String, Booking>,
    /// How many bookings ended, per `scope|family|cause`.
    pub epochs: BTreeMap<String, u32>,
    /// Channels on which a booking was opened, per booking key.
    pub opened_on: BTreeMap<String, Vec<String>>,
    /// Channels whose vendor certainly refused to open a booking, per booking key; they are not asked
    /// again for it.
    #[serde(default)]
    pub rejected_on: BTreeMap<String, Vec<String>>,
}

/// What follows from one inspection.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The memory after it, to be taken once the store has it.
    pub memory: Memory,
    /// What was judged, one verdict per series with a rule.
    pub verdicts: Vec<Verdict>,
    /// Versions that changed.
    pub changes: Vec<VersionChange>,
    /// Bookings that are new or changed.
    pub bookings: Vec<Booking>,
    /// Orders that are new.
    pub orders: Vec<Order>,
}

/// Judges an inspection and says what follows. Pure: everything it depends on is a parameter.
pub fn conclude(
    _rules: &Rules,
    _site: &Site,
    _channels: &Channels,
    memory: &Memory,
    _inspection: &Inspection,
    _now: DateTime<Utc>,
) -> Conclusion {
    Conclusion {
        memory: memory.clone(),
        verdicts: Vec::new(),
        changes: Vec::new(),
        bookings: Vec::new(),
        orders: Vec::new(),
    }
}
