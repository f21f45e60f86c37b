//! One JSON object a line, for what the engine says.

use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::json;

use crate::judge::engine::{
    Engine,
    case::{Action, Change, Size, Verb},
};

#[derive(Serialize)]
struct Scope<'a> {
    r#type: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct Not<'a> {
    cause: &'a str,
    because: &'a str,
}

#[derive(Serialize)]
struct Record<'a> {
    ts: String,
    action: Verb,
    booking: &'a str,
    scope: Scope<'a>,
    rooms: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    metrics: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    onset: Option<String>,
    #[serde(skip_serializing_if = "<[Size]>::is_empty")]
    evidence: &'a [Size],
    #[serde(skip_serializing_if = "<[Change]>::is_empty")]
    changed_before: &'a [Change],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ruled_out: Vec<Not<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subset: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// An instant as it is printed.
pub(super) fn instant(at: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(at).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Writes a line.
pub fn write(out: &mut impl io::Write, action: &Action) -> io::Result<()> {
    let record = Record {
        ts: instant(action.at),
        action: action.verb,
        booking: &action.booking,
        scope: Scope { r#type: action.scope.0, id: &action.scope.1 },
        rooms: &action.rooms,
        metrics: &action.metrics,
        cause: action.cause.map(|cause| cause.name()),
        severity: action.severity.map(|severity| severity.name()),
        onset: action.onset.map(instant),
        evidence: &action.evidence,
        changed_before: &action.changed_before,
        ruled_out: action.ruled_out.iter().map(|not| Not { cause: &not.cause, because: &not.because }).collect(),
        peers: action.peers.map(|peers| if peers == 0 { json!("none") } else { json!(peers) }),
        subset: (!action.hardware.is_empty()).then(|| json!({ "hardware": action.hardware.join("/") })),
        reason: action.reason.as_deref(),
        text: action.text.as_deref(),
    };
    serde_json::to_writer(&mut *out, &record)?;
    out.write_all(b"\n")
}

/// Writes what is known of the series of a booking, as a line of its own.
pub(super) fn explain(out: &mut impl io::Write, engine: &Engine, action: &Action) -> io::Result<()> {
    let series = engine.explain(&action.booking);
    if series.is_empty() {
        return Ok(());
    }
    let record = json!({
        "ts": instant(action.at), "action": "explain", "booking": action.booking, "series": series,
    });
    serde_json::to_writer(&mut *out, &record)?;
    out.write_all(b"\n")
}
