//! `channel check` of a calendar: everything that exactly-once rests on is tried, with an entry that is made for
//! it and taken away again. A daemon that starts only looks: a crash must leave nothing there.

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    answer::Put,
    dav::{If, Server},
    entry::KEY,
    object::Object,
};
use crate::{
    booking::ical::instant,
    channel::{Finding, Outcome},
};

/// How far the server's clock may be from ours.
const CLOCK: TimeDelta = TimeDelta::seconds(60);

/// Looks at the calendar at `now`, and tries everything if it `tries`.
pub(super) async fn check(server: &Server<'_>, tries: bool, now: DateTime<Utc>) -> Vec<Finding> {
    let mut found = Vec::new();
    let described = server.describe().await;
    match &described {
        Err(outcome) => {
            found.push(Finding::wrong("the calendar is there", line(outcome)));
            return found;
        }
        Ok((answer, clock)) => {
            let says = |name: &str| {
                let own = answer.responses.iter().flat_map(|response| &response.found);
                own.filter(|(own, _)| own == name).map(|(_, words)| words).next()
            };
            let has = |words: Option<&Vec<String>>, word: &str| {
                words.is_some_and(|words| words.iter().any(|own| own == word))
            };
            let events = says("supported-calendar-component-set");
            found.push(match has(says("resourcetype"), "calendar") {
                false => Finding::wrong("it is a calendar", format!("{} is none: check url", server.url())),
                true if events.is_some() && !has(events, "VEVENT") => Finding::wrong(
                    "it is a calendar",
                    format!("{} takes no appointments: choose another", server.url()),
                ),
                true => Finding::fine("it is a calendar"),
            });
            found.push(match clock {
                None => Finding::fine("clock: the server does not tell its time"),
                Some(at) if (*at - now).abs() <= CLOCK => Finding::fine("clock: within 60 s of ours"),
                Some(at) => {
                    let apart = (*at - now).num_seconds();
                    Finding::wrong("clock: within 60 s of ours", format!("the server's is {apart} s ahead of ours"))
                }
            });
        }
    }
    let name = name(server.url(), now);
    if !tries {
        const NONE: &str = "the search finds nothing that is not there";
        found.push(match server.search("UID", &name).await {
            Ok(none) if none.is_empty() => Finding::fine(NONE),
            Ok(there) => Finding::wrong(NONE, format!("found {} entries for an unknown name", there.len())),
            Err(outcome) => Finding::wrong(NONE, line(&outcome)),
        });
        return found;
    }
    match server.named(&name) {
        Ok(url) => {
            probe(server, &url, &name, now, &mut found).await;
            found.push(match server.delete(&url).await {
                Ok(_) => Finding::fine("entries can be deleted"),
                Err(outcome) => Finding::wrong("entries can be deleted", format!("{}; delete {url}", line(&outcome))),
            });
        }
        Err(message) => found.push(Finding::wrong("entries can be made", message)),
    }
    found
}

/// A name that no other check has.
fn name(url: &str, now: DateTime<Utc>) -> String {
    let nanos = now.timestamp_nanos_opt().unwrap_or_default();
    let hash = Sha256::digest(format!("{url}|{nanos}|{}", std::process::id()).as_bytes());
    format!("bw-check-{}", BASE32_NOPAD.encode(&hash).to_ascii_lowercase().get(..20).unwrap_or_default())
}

async fn probe(server: &Server<'_>, url: &Url, name: &str, now: DateTime<Utc>, found: &mut Vec<Finding>) {
    let body = entry(name, now);
    let put = |only| server.put(url, body.clone().into_bytes(), only);
    const MADE: &str = "entries can be made";
    match put(If::New).await {
        Put::Done => found.push(Finding::fine(MADE)),
        other => {
            found.push(Finding::wrong(MADE, why(&other)));
            return;
        }
    }
    const ONCE: &str = "an entry is made once: If-None-Match is honoured";
    found.push(match put(If::New).await {
        Put::Unmet => Finding::fine(ONCE),
        other => Finding::wrong(ONCE, format!("{}; two entries could be made of one booking", why(&other))),
    });
    const KEPT: &str = "an entry comes back as it was stored, with a version (ETag)";
    found.push(match server.get(url).await {
        Ok(Some(stored)) => match Object::read(&stored.body).map(|object| object.value(KEY)) {
            Ok(Some(key)) if key == name && stored.etag.is_some() => Finding::fine(KEPT),
            Ok(Some(key)) if key == name => Finding::wrong(KEPT, "the server gives no ETag"),
            Ok(_) => Finding::wrong(KEPT, format!("the server drops properties that it does not know, such as {KEY}")),
            Err(message) => Finding::wrong(KEPT, message),
        },
        Ok(None) => Finding::wrong(KEPT, "the entry is not there"),
        Err(outcome) => Finding::wrong(KEPT, line(&outcome)),
    });
    const SAME: &str = "nothing is overwritten unseen: If-Match is honoured";
    found.push(match put(If::Same("\"bellwether-check\"")).await {
        Put::Unmet => Finding::fine(SAME),
        other => Finding::wrong(SAME, why(&other)),
    });
    for (property, what) in [("UID", "the search by name"), (KEY, "the search by key")] {
        let what = format!("{what} finds what is there, and nothing else");
        let unknown = format!("{name}-unknown");
        let answers = (server.search(property, name).await, server.search(property, &unknown).await);
        found.push(match answers {
            (Ok(there), Ok(none)) if there.contains(url) && none.is_empty() => Finding::fine(what),
            (Ok(there), Ok(none)) => {
                let why = format!("found {} entries for its key and {} for an unknown one", there.len(), none.len());
                Finding::wrong(what, why)
            }
            (Err(outcome), _) | (_, Err(outcome)) => Finding::wrong(what, line(&outcome)),
        });
    }
}

/// An entry for the check, at no time that anybody plans for.
fn entry(name: &str, now: DateTime<Utc>) -> String {
    let at = instant(now);
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bellwether//bellwether//EN\r\nBEGIN:VEVENT\r\nUID:{name}\r\n\
         DTSTAMP:{at}\r\nDTSTART:{at}\r\nDTEND:{at}\r\nTRANSP:TRANSPARENT\r\n\
         SUMMARY:bellwether: a check of this calendar\\, gone in a moment\r\n{KEY}:{name}\r\nEND:VEVENT\r\n\
         END:VCALENDAR\r\n"
    )
}

fn line(outcome: &Outcome) -> String {
    outcome.detail().unwrap_or_default().to_owned()
}

fn why(put: &Put) -> String {
    match put {
        Put::Done => "the server took it".to_owned(),
        Put::Unmet => "the server says that it is there already".to_owned(),
        Put::UidElsewhere => "the server says that there is another entry of this name".to_owned(),
        Put::Failed(outcome) => line(outcome),
    }
}
