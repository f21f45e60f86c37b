//! What a receiver's answer means for an order.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{StatusCode, header::HeaderMap};

use crate::channel::Outcome;

/// Longest wait that a receiver may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Longest name that a receiver may give a booking, in characters.
const MAX_REMOTE_ID: usize = 128;
/// How much of a refusal is shown to people, in characters.
const MAX_EXCERPT: usize = 160;

/// What an answer that arrived whole means. See the table in the parent module.
pub(super) fn parse(status: StatusCode, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Outcome {
    let retry_after = retry_after(headers, now);
    let detail = || format!("answered {status}{}", excerpt(body));
    match status.as_u16() {
        200..=204 => Outcome::Done { remote_id: remote_id(body) },
        300..=399 => Outcome::not_delivered(format!(
            "answered {status}, which would lead elsewhere and is not followed; put the final address into url"
        )),
        401 | 403 => Outcome::not_delivered(format!("{}; check secret_file", detail())),
        404 | 405 | 407 => Outcome::not_delivered(format!("{}; check url", detail())),
        429 => Outcome::NotDelivered { detail: detail(), retry_after },
        408 | 409 | 500..=599 | 205..=299 => Outcome::Ambiguous { detail: detail(), retry_after },
        400..=499 => Outcome::Rejected { detail: detail() },
        _ => Outcome::Ambiguous { detail: detail(), retry_after },
    }
}

/// `Retry-After` (RFC 9110, 10.2.3) in seconds or as a date, at most an hour.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
            (until - now).to_std().unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The field `id` of a JSON object, if it is a short text or a number.
fn remote_id(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let id = match answer.get("id")? {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let fits = !id.is_empty() && id.chars().count() <= MAX_REMOTE_ID && !id.chars().any(char::is_control);
    fits.then_some(id)
}

/// The start of an answer on one line, for people.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * MAX_EXCERPT)]);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line: String = words.collect::<Vec<_>>().join(" ").chars().take(MAX_EXCERPT).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_614_265_330, 0).expect("a time written here")
    }

    #[test]
    fn answers_mean_what_the_table_says() {
        let parsed = |status: u16| {
            let status = StatusCode::from_u16(status).expect("a status");
            match parse(status, &HeaderMap::new(), b"{}", now()) {
                Outcome::Done { .. } => "done",
                Outcome::NotDelivered { .. } => "not delivered",
                Outcome::Ambiguous { .. } => "ambiguous",
                Outcome::Rejected { .. } => "rejected",
            }
        };
        let table: [(&str, &[u16]); 4] = [
            ("done", &[200, 201, 202, 203, 204]),
            ("not delivered", &[301, 302, 303, 307, 308, 401, 403, 404, 405, 407, 429]),
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
    fn waits_are_read_in_both_forms_and_bounded() {
        let table = [
            ("120", Some(120)),
            ("0", Some(0)),
            ("999999999", Some(3600)),
            ("Thu, 25 Feb 2021 15:03:10 GMT", Some(60)),
            ("Thu, 25 Feb 2021 14:00:00 GMT", Some(0)),
            ("Sat, 25 Feb 2051 14:00:00 GMT", Some(3600)),
            ("-5", None),
            ("soon", None),
        ];
        for (text, expected) in table {
            let headers = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, text.parse().expect("a header"))]);
            for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT] {
                let (Outcome::NotDelivered { retry_after, .. } | Outcome::Ambiguous { retry_after, .. }) =
                    parse(status, &headers, b"", now())
                else {
                    unreachable!("such an answer is repeated")
                };
                assert_eq!(retry_after, expected.map(Duration::from_secs), "{text}");
            }
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
            assert_eq!(remote_id(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_refusal_is_shown_on_one_short_line() {
        let body = format!("no\r\n such\u{1b}[31m  room{}", "教".repeat(10_000));
        let line = excerpt(body.as_bytes());
        assert!(line.starts_with(": no such [31m room教"), "{line}");
        assert!(line.chars().count() <= MAX_EXCERPT + 2 && !line.chars().any(char::is_control));
    }
}
