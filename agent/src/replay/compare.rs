//! What two configurations make of the same history.

use std::io;

use serde_json::json;

use super::output::instant;
use crate::judge::engine::case::{Action, Verb};

/// Bookings opened within so much of each other, in milliseconds, are taken for the same.
const SAME: i64 = 14 * 24 * 3_600_000;

/// Writes one line for each booking that only one of two runs has opened, and for each that both have
/// opened but not alike: another time, cause or severity.
pub fn compare(out: &mut impl io::Write, first: &[Action], second: &[Action]) -> io::Result<()> {
    let opened = |actions: &[Action]| -> Vec<Action> {
        actions.iter().filter(|action| action.verb == Verb::Open).cloned().collect()
    };
    let (first, mut second) = (opened(first), opened(second));
    let mut lines: Vec<(i64, serde_json::Value)> = Vec::new();
    let of = |action: &Action| {
        json!({
            "ts": instant(action.at),
            "booking": action.booking,
            "cause": action.cause.map(|cause| cause.name()),
            "severity": action.severity.map(|severity| severity.name()),
            "metrics": action.metrics,
        })
    };
    for one in &first {
        let alike = |other: &Action| {
            other.scope == one.scope
                && other.metrics.iter().any(|metric| one.metrics.contains(metric))
                && (other.at - one.at).abs() <= SAME
        };
        let found = second.iter().position(alike);
        let scope = json!({ "type": one.scope.0, "id": one.scope.1 });
        let line = match found.map(|at| second.remove(at)) {
            None => json!({ "action": "compare", "only": "first", "scope": scope, "first": of(one) }),
            Some(other) if (other.at, other.cause, other.severity) != (one.at, one.cause, one.severity) => {
                json!({ "action": "compare", "only": null, "scope": scope, "first": of(one), "second": of(&other) })
            }
            Some(_) => continue,
        };
        lines.push((one.at, line));
    }
    for other in &second {
        let scope = json!({ "type": other.scope.0, "id": other.scope.1 });
        let line = json!({ "action": "compare", "only": "second", "scope": scope, "second": of(other) });
        lines.push((other.at, line));
    }
    lines.sort_by_key(|(at, _)| *at);
    for (_, line) in lines {
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
