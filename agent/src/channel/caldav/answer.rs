//! What a calendar server's answer means. Pure.

use chrono::{DateTime, Utc};

use super::multistatus::{self, Multistatus};
use crate::channel::{Outcome, http::Answer};

/// What became of a PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is stored.
    Done,
    /// The condition was not met: there is such an object already, or it is another than was read.
    Unmet,
    /// An object elsewhere has this name among calendars.
    UidElsewhere,
    /// It is not stored, or nobody knows.
    Failed(Outcome),
}

/// What became of a PUT to the collection at `url`.
pub(super) fn put(answer: &Answer, url: &str, now: DateTime<Utc>) -> Put {
    let within = multistatus::read(&answer.body);
    let complains = |found: &Multistatus| found.complains_of("no-uid-conflict");
    match (answer.status.as_u16(), &within) {
        (200 | 201 | 204, _) => Put::Done,
        (412, Ok(found)) if complains(found) => Put::UidElsewhere,
        (412, _) => Put::Unmet,
        // The conditions that are not met may stand in an answer of any of these.
        (207 | 400 | 403 | 409, Ok(found)) if complains(found) => Put::UidElsewhere,
        (207, Ok(found)) => match found.error() {
            Some(412) => Put::Unmet,
            Some(status) => Put::Failed(failed(status, &detail_within(status, found), None, url, true)),
            None => Put::Done,
        },
        (403, Ok(found)) if !found.conditions.is_empty() && !found.complains_of("need-privileges") => {
            Put::Failed(Outcome::Rejected {
                detail: format!("the calendar refuses the entry: {}", found.conditions.join(", ")),
            })
        }
        (status, _) => Put::Failed(failed(status, &answer.detail(), answer.retry_after(now), url, true)),
    }
}

fn detail_within(status: u16, found: &Multistatus) -> String {
    match found.conditions.is_empty() {
        true => format!("answered 207 with {status} in it"),
        false => format!("answered 207 with {status} in it: {}", found.conditions.join(", ")),
    }
}

/// What it means that a request that should have been answered otherwise was answered so. `changes` says whether
/// it would have changed something.
pub(super) fn refused(answer: &Answer, url: &str, changes: bool, now: DateTime<Utc>) -> Outcome {
    failed(answer.status.as_u16(), &answer.detail(), answer.retry_after(now), url, changes)
}

fn failed(status: u16, detail: &str, retry_after: Option<std::time::Duration>, url: &str, changes: bool) -> Outcome {
    let detail = detail.to_owned();
    match status {
        300..=399 => Outcome::not_delivered(format!(
            "answered {status}, which would lead elsewhere and is not followed; put the final address into url, \
             which is {url}"
        )),
        401 => Outcome::LockedOut { detail: format!("{detail}; check user and password_file") },
        403 => Outcome::LockedOut { detail: format!("{detail}; the user needs the right to write to {url}") },
        // 409: the collection that it is to be in is not there (RFC 4918, 9.7.1).
        404 | 405 | 407 | 409 => {
            Outcome::not_delivered(format!("{detail}; is {url} the address of a calendar? check url"))
        }
        412 | 423 | 429 => Outcome::NotDelivered { detail, retry_after },
        400 | 402 | 406 | 410..=422 | 424..=428 | 430..=499 if status != 408 => Outcome::Rejected { detail },
        _ if changes => Outcome::Ambiguous { detail, retry_after },
        _ => Outcome::NotDelivered { detail, retry_after },
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};

    use super::*;

    const URL: &str = "https://cal.example/bw/a/";

    fn of(status: u16, body: &str) -> Put {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer { status, headers: HeaderMap::new(), body: body.into(), is_cut: false };
        put(&answer, URL, DateTime::UNIX_EPOCH)
    }

    fn word(put: &Put) -> &'static str {
        match put {
            Put::Done => "done",
            Put::Unmet => "unmet",
            Put::UidElsewhere => "elsewhere",
            Put::Failed(Outcome::NotDelivered { .. }) => "not delivered",
            Put::Failed(Outcome::LockedOut { .. }) => "locked out",
            Put::Failed(Outcome::Ambiguous { .. }) => "ambiguous",
            Put::Failed(Outcome::Rejected { .. }) => "rejected",
            Put::Failed(_) => "other",
        }
    }

    #[test]
    fn a_put_means_what_its_status_says() {
        let table: [(&str, &[u16]); 7] = [
            ("done", &[200, 201, 204]),
            ("unmet", &[412]),
            ("not delivered", &[301, 302, 307, 308, 404, 405, 407, 409, 423, 429]),
            ("locked out", &[401, 403]),
            ("ambiguous", &[202, 203, 205, 206, 207, 208, 408, 500, 502, 503, 504, 507, 599, 600]),
            ("rejected", &[400, 410, 413, 415, 422, 451]),
            ("elsewhere", &[]),
        ];
        for (expected, statuses) in table {
            for status in statuses {
                assert_eq!(word(&of(*status, "")), expected, "{status}");
            }
        }
    }

    #[test]
    fn what_stands_within_counts() {
        let within = |status: u16, condition: &str| {
            format!(
                "<multistatus xmlns=\"DAV:\"><response><href>/x</href><status>HTTP/1.1 {status} No</status><error>{condition}\
                 </error></response></multistatus>"
            )
        };
        let error = |condition: &str| format!("<error xmlns=\"DAV:\">{condition}</error>");
        let conflict = "<no-uid-conflict xmlns=\"urn:ietf:params:xml:ns:caldav\"/>";
        assert_eq!(word(&of(207, &within(412, conflict))), "elsewhere");
        assert_eq!(word(&of(207, &within(412, ""))), "unmet");
        assert_eq!(word(&of(207, &within(507, ""))), "ambiguous");
        assert_eq!(word(&of(207, &within(200, ""))), "done");
        assert_eq!(word(&of(207, "<html/>")), "ambiguous");
        for status in [403, 409, 412] {
            assert_eq!(word(&of(status, &error(conflict))), "elsewhere", "{status}");
        }
        assert_eq!(word(&of(403, &error("<valid-calendar-data/>"))), "rejected");
        assert_eq!(word(&of(403, &error("<need-privileges/>"))), "locked out");
    }

    #[test]
    fn a_mistake_in_the_config_is_named() {
        let Put::Failed(outcome) = of(404, "") else { unreachable!("it failed") };
        assert!(outcome.detail().is_some_and(|detail| detail.contains(URL)), "{outcome:?}");
        let Put::Failed(outcome) = of(401, "") else { unreachable!("it failed") };
        assert!(outcome.detail().is_some_and(|detail| detail.contains("password_file")), "{outcome:?}");
    }
}
