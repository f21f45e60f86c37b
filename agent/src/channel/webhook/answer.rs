//! What a receiver's answer means for an order.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::channel::{Outcome, http::Answer};

/// Longest name that a receiver may give a booking, in characters.
const MAX_REMOTE_ID: usize = 128;

/// What an answer that arrived whole means. See the table in the parent module.
pub(super) fn parse(answer: &Answer, now: DateTime<Utc>) -> Outcome {
    let (status, retry_after) = (answer.status, answer.retry_after(now));
    let detail = || answer.detail();
    match status.as_u16() {
        200..=204 => Outcome::done(remote_id_of(&answer.body)),
        300..=399 => Outcome::not_delivered(format!(
            "answered {status}, which would lead elsewhere and is not followed; put the final address into url"
        )),
        401 | 403 => Outcome::LockedOut { detail: format!("{}; check secret_file", detail()) },
        404 | 405 | 407 => Outcome::not_delivered(format!("{}; check url", detail())),
        429 => Outcome::NotDelivered { detail: detail(), retry_after },
        408 | 409 | 500..=599 | 205..=299 => Outcome::Ambiguous { detail: detail(), retry_after },
        400..=499 => Outcome::Rejected { detail: detail() },
        _ => Outcome::Ambiguous { detail: detail(), retry_after },
    }
}

/// The field `id` of a JSON object.
fn remote_id_of(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    remote_id(answer.get("id")?)
}

/// The vendor's name for a booking, if it is a short text or a number.
pub(super) fn remote_id(id: &Value) -> Option<String> {
    let id = match id {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let fits = !id.is_empty() && id.chars().count() <= MAX_REMOTE_ID && !id.chars().any(char::is_control);
    fits.then_some(id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::{StatusCode, header::HeaderMap};

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_614_265_330, 0).expect("a time written here")
    }

    #[test]
    fn answers_mean_what_the_table_says() {
        let parsed = |status: u16| {
            let status = StatusCode::from_u16(status).expect("a status");
            let answer = Answer { status, headers: HeaderMap::new(), body: b"{}".to_vec(), is_cut: false };
            match parse(&answer, now()) {
                Outcome::Done { .. } => "done",
                Outcome::NotDelivered { .. } => "not delivered",
                Outcome::LockedOut { .. } => "locked out",
                Outcome::Ambiguous { .. } => "ambiguous",
                Outcome::Rejected { .. } => "rejected",
                Outcome::Missing { .. } => "missing",
            }
        };
        let table: [(&str, &[u16]); 5] = [
            ("done", &[200, 201, 202, 203, 204]),
            ("not delivered", &[301, 302, 303, 307, 308, 404, 405, 407, 429]),
            ("locked out", &[401, 403]),
            ("ambiguous", &[205, 206, 207, 408, 409, 500, 502, 503, 504, 599, 600]),
            ("rejected", &[400, 410, 413, 415, 422]),
        ];
        for (expected, statuses) in table {
            for status in statuses {
                assert_eq!(parsed(*status), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_handed_on() {
        let headers = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, "120".parse().expect("a header"))]);
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT] {
            let answer = Answer { status, headers: headers.clone(), body: Vec::new(), is_cut: false };
            let (Outcome::NotDelivered { retry_after, .. } | Outcome::Ambiguous { retry_after, .. }) =
                parse(&answer, now())
            else {
                unreachable!("such an answer is repeated")
            };
            assert_eq!(retry_after, Some(Duration::from_secs(120)));
        }
    }

    #[test]
    fn the_vendors_name_is_taken_only_if_it_is_one() {
        let long = format!(r#"{{"id": "{}"}}"#, "x".repeat(129));
        let table = [
            (r#"{"id": "T-17"}"#, Some("T-17")),
            (r#"{"id": 17}"#, Some("17")),
            (r#"{"id": ""}"#, None),
            (r#"{"id": "a\nb"}"#, None),
            (r#"{"id": ["a"]}"#, None),
            (&long, None),
            ("[1]", None),
            ("garbage", None),
            ("", None),
        ];
        for (body, expected) in table {
            assert_eq!(remote_id_of(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
