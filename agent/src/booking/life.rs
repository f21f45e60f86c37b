//! What a booking has lived through, and what was agreed: the part of it that is not found by measuring.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Window;
use crate::{archive::effect, channel::Remote};

/// Who did something to a booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// bellwether itself.
    Bellwether,
    /// Somebody at the school, by the command line: the user's number, as the kernel knows it.
    School(Option<u32>),
    /// The vendor, as a channel was read back.
    Vendor(String),
}

/// Something that somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: By,
    /// What, one line or several.
    pub text: String,
}

/// What the school thinks of a visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    /// 1, bad, to 5, good.
    pub stars: u8,
    /// In words; may be empty.
    pub words: String,
}

/// How the numbers judge a maintenance: see [`effect`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The verdict over all of the booking's series: the worst of theirs.
    pub verdict: effect::Verdict,
    /// One line a series, for people and machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesEffect>,
}

/// The same of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesEffect {
    /// The metric.
    pub metric: String,
    /// Its other labels, as text.
    pub labels: String,
    /// The verdict.
    pub verdict: effect::Verdict,
    /// What is left of the fault, in units of what is material: low end, middle, high end.
    pub left: Option<[f64; 3]>,
    /// What the repair was worth, in the same; below 0 is better.
    pub repair: Option<[f64; 3]>,
}

/// How long the vendor took, in minutes of its working hours. What did not happen is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorMinutes {
    /// From the request to the first answer.
    pub acknowledge: Option<u32>,
    /// From the request to an agreed time.
    pub confirm: Option<u32>,
    /// From the request to the begin of the work.
    pub start: Option<u32>,
    /// From the begin of the work to its report.
    pub work: Option<u32>,
}

/// A point of the checklist, and who has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is to be seen to.
    pub text: String,
    /// Whether the school has seen to it.
    pub school: bool,
    /// Whether the vendor has.
    pub vendor: bool,
}

/// What a booking has lived through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// The time that was agreed, or, while it is `countered`, that the vendor wants instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appointment: Option<Window>,
    /// When a channel first took the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<DateTime<Utc>>,
    /// When the vendor first answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// When the time was agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<DateTime<Utc>>,
    /// When everything was looked at before the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examined_at: Option<DateTime<Utc>>,
    /// When the work began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When the work was reported done, or its window closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<DateTime<Utc>>,
    /// What the vendor reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// When the observation began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_from: Option<DateTime<Utc>>,
    /// When the numbers had judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluated_at: Option<DateTime<Utc>>,
    /// What they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// When the school accepted the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<DateTime<Utc>>,
    /// When it was put away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<DateTime<Utc>>,
    /// What the school thinks of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rating>,
    /// How long the vendor took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_minutes: Option<VendorMinutes>,
    /// What of the vendor's side was taken in last: it is not taken in again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<Remote>,
    /// How often the school has decided on the time: by agreeing, by asking for another, or by opening it again. What
    /// was sent with a later decision overrules what the vendor had set before.
    #[serde(skip_serializing_if = "is_zero")]
    pub decisions: u32,
    /// How often it was opened again, by a relapse or by a rework.
    #[serde(skip_serializing_if = "is_zero")]
    pub reopened: u32,
    /// What must be seen to before, during and after the visit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<Check>,
    /// What was said, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// An entry of the audit trail: what happened to a booking. The store adds when each was written, and the
/// hash that chains it to the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The booking's key.
    pub booking: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: By,
    /// What, as a word.
    pub act: String,
    /// The state before.
    pub from: super::State,
    /// The state after.
    pub to: super::State,
    /// More about it, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}
