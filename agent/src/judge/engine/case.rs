//! Bookings as the engine sees them, and what it says of them.

use std::{borrow::Cow, collections::BTreeSet};

use serde::{Deserialize, Serialize};

use super::{sizing::Direction, state::Alarm};
pub use crate::{booking::Severity, incident::Cause};

/// What a booking is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A room, by place.
    Room(usize),
    /// A building, by place.
    Building(usize),
    /// A media server, by place.
    Service(usize),
    /// A version of a component, in the rooms of the service at that place.
    Version(String, String, usize),
}

/// Where a booking stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The fault is there.
    Open,
    /// It is away again; it may come back.
    Recovered,
    /// Withdrawn before anybody confirmed it; it may come back.
    Withdrawn,
    /// Closed for good.
    Closed,
}

/// One booking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What it is about.
    pub scope: Scope,
    /// What is blamed.
    pub cause: Cause,
    /// The family it was booked for.
    pub family: String,
    /// Families of its metrics.
    pub families: BTreeSet<String>,
    /// Names of its metrics.
    pub metrics: BTreeSet<String>,
    /// Its measures, by place.
    pub measures: BTreeSet<usize>,
    /// Its rooms, by place.
    pub rooms: BTreeSet<usize>,
    /// When it was opened, in milliseconds.
    pub opened: i64,
    /// Block of the onset.
    pub onset: i64,
    /// Block of the last alarm.
    pub last: i64,
    /// Alarms of it that are on.
    pub alarms: BTreeSet<Alarm>,
    /// Where it stands.
    pub standing: Standing,
    /// Block at which it recovered.
    pub recovered: Option<i64>,
    /// How often it was opened.
    pub episodes: u32,
    /// How soon somebody should come; rises only.
    pub severity: Severity,
    /// The largest size seen, in units of what is material.
    pub size: f64,
    /// Hardware revisions, if only some are concerned.
    pub hardware: Vec<String>,
    /// Whether somebody confirmed it.
    pub confirmed: bool,
    /// Days on which a lesson was hit.
    pub lesson_days: BTreeSet<i32>,
    /// Of advice on a size: which way. It is no fault, and takes none in.
    pub advice: Option<Direction>,
    /// Of load: whether a version could not be judged yet.
    pub in_doubt: bool,
}

impl Case {
    /// Whether the fault is there.
    pub fn is_open(&self) -> bool {
        self.standing == Standing::Open
    }

    /// Whether it was there, and may come back as the same.
    pub fn may_return(&self) -> bool {
        self.standing != Standing::Closed
    }

    /// Whether faults may be added to it.
    pub fn may_take_in(&self) -> bool {
        self.may_return() && self.advice.is_none()
    }
}

/// What the engine says of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// A new fault.
    Open,
    /// More of the same.
    Update,
    /// It is back.
    Reopen,
    /// It is away; somebody had confirmed it.
    Recovered,
    /// It is away; nobody needs to come.
    Withdraw,
    /// It is closed.
    Close,
    /// A version has changed: no fault, but something to look at.
    Check,
}

/// One measured size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// Name of the metric.
    pub metric: String,
    /// Other labels of the series.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub labels: String,
    /// What it should read, in its own unit.
    pub before: f64,
    /// What it reads.
    pub now: f64,
    /// The difference, in units of what is material.
    pub material: f64,
    /// Half-hours since the onset that were worse by half of what is material.
    pub bad: u32,
    /// Half-hours since the onset.
    pub of: u32,
    /// By what it was found.
    pub path: &'static str,
    /// Evidence so far.
    pub s: f64,
    /// Evidence that makes an alarm.
    pub h: f64,
}

/// A change before the onset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What happened.
    pub event: &'static str,
    /// Of which component.
    pub component: String,
    /// The new version.
    pub to: String,
    /// Hours before the onset.
    pub ago_h: f64,
}

/// A cause that was tested and is not it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// The cause: `load`, `version`, `building` or `service`.
    pub cause: Cow<'static, str>,
    /// Why not, in English.
    pub because: String,
    /// Why not, in Chinese.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub because_zh: String,
}

impl RuledOut {
    /// A cause, and why not, in English and in Chinese.
    pub fn new(cause: &'static str, because: impl Into<String>, because_zh: impl Into<String>) -> Self {
        Self { cause: Cow::Borrowed(cause), because: because.into(), because_zh: because_zh.into() }
    }
}

/// One thing the engine says.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// When, in milliseconds.
    pub at: i64,
    /// What.
    pub verb: Verb,
    /// Name of the booking; of a check, of the component and version.
    pub booking: String,
    /// Kind and name of what it is about.
    pub scope: (&'static str, String),
    /// Names of the rooms concerned.
    pub rooms: Vec<String>,
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// What is blamed.
    pub cause: Option<Cause>,
    /// How soon somebody should come.
    pub severity: Option<Severity>,
    /// When it began, in milliseconds.
    pub onset: Option<i64>,
    /// The sizes.
    pub evidence: Vec<Size>,
    /// What changed before.
    pub changed_before: Vec<Change>,
    /// What it is not.
    pub ruled_out: Vec<RuledOut>,
    /// Whether other rooms were there to compare with: how many, or none.
    pub peers: Option<usize>,
    /// Hardware revisions, if only some are concerned.
    pub hardware: Vec<String>,
    /// Why, if it is an end or a check.
    pub reason: Option<String>,
    /// The booking in sentences.
    pub text: Option<String>,
}
