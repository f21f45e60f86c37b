//! Channel `rt`: one ticket per booking in Request Tracker 5, by its REST2 interface.
//!
//! RT takes the same ticket as often as it is sent, so it is looked for first, by the booking's key in the
//! custom field [`Config::key_field`], and again after it was made. What the search of a real RT does, and what
//! is done about it:
//!
//! | RT | here |
//! |---|---|
//! | finds nothing, with status 200, if the custom field is gone or may not be seen | every search asks for the queue's *mark*, a ticket made by `channel check`, as well: without it a miss counts for nothing |
//! | could return others' tickets | a hit counts only if our key stands in its field, or ends its subject in an answer without strangers |
//! | drops an unknown, unwritable or taken custom field and answers 201 | the key is read back; if it is gone it is set once more, and if that fails a person is asked: by its subject the ticket is still found |
//! | leaves out merged tickets | they are asked for: what was merged into another is that ticket |
//! | answers 200 to a change that it did not make, and takes `2026-11-25T09:00:00Z` in a change for 1970 | times are sent as `2026-11-25 09:00:00`, and read back |
//!
//! The one write of an order that must not happen twice carries its key: the new ticket in its field and its
//! subject, a comment in its last line and in the name of the attached `booking-KEY.N.json`. All other writes
//! come before it, or do no harm if they are repeated. What fails before it is certain non-delivery.
//!
//! | Answer | Outcome |
//! |---|---|
//! | 201 and found again by its key | done; the ticket's number becomes the remote id |
//! | 401, 403 | locked out; 403 for one ticket while the mark is seen: rejected, it was moved out of sight |
//! | 404 for a ticket, or it is deleted | rejected; done for a cancellation |
//! | 404 otherwise, 3xx, 405, 407 | not delivered: an operator has to mend `url` |
//! | 412 | not delivered: somebody changed the ticket just now |
//! | 429 | not delivered, `Retry-After` honoured |
//! | other 4xx | rejected |
//! | 5xx, timeout, reset, 201 without a number | ambiguous; not delivered, if it was before that write |
//!
//! To cancel, a comment asks the vendor to close the ticket; it is rejected by us only while nobody has begun
//! with it, so that work that somebody confirmed is ended by a person.

mod answer;
mod api;
mod find;
mod order;
mod probe;
mod read;
mod selftest;
mod send;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use bellwether_probes::{
    Mistake, Span,
    secret::{Secret, usable},
};
use serde::{Deserialize, Serialize};

pub(super) use self::{
    order::body,
    probe::probe,
    read::{list, read},
    selftest::check,
    send::send,
};
use super::{Class, Doubt, http::Endpoint};

/// `[channel.NAME]` with `kind = "rt"`. Holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where RT's pages are, without `/REST/2.0`.
    pub url: String,
    /// File with the authentication token of a user of RT that is ours alone.
    pub token_file: PathBuf,
    /// Name of the queue.
    pub queue: String,
    /// Name of the custom field of tickets that holds the booking's key.
    #[serde(default = "default_key_field")]
    pub key_field: String,
    /// Name of the custom field of tickets that holds the room's id, by which a new ledger finds its tickets.
    #[serde(default = "default_room_field")]
    pub room_field: String,
    /// Status of a ticket of which nobody has decided; one that is asked for again, for another time or since the
    /// fault is back, gets it once more.
    #[serde(default = "default_asked")]
    pub asked: String,
    /// Statuses of a ticket that mean that somebody comes. RT itself makes a ticket `open` when somebody at
    /// the vendor's replies.
    #[serde(default = "default_confirmed")]
    pub confirmed: Vec<String>,
    /// Statuses that mean that the work is done.
    #[serde(default = "default_done")]
    pub done: Vec<String>,
    /// Statuses that mean that nobody comes; the first is what a cancelled ticket gets.
    #[serde(default = "default_refused")]
    pub refused: Vec<String>,
    /// PEM file of the only certificate authorities to trust, instead of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Deadline of one request, and of all requests before the one that carries the key.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// How long this RT may be at work on a request whose answer nobody awaits any more.
    #[serde(default = "default_max_server_time")]
    pub max_server_time: Span,
    /// Allows `http:` to other hosts than this one.
    #[serde(default)]
    pub allow_plain_http: bool,
}

fn default_key_field() -> String {
    "BW.Key".to_owned()
}

fn default_room_field() -> String {
    "BW.Room".to_owned()
}

fn default_asked() -> String {
    "new".to_owned()
}

fn default_confirmed() -> Vec<String> {
    vec!["open".to_owned()]
}

fn default_done() -> Vec<String> {
    vec!["resolved".to_owned()]
}

fn default_refused() -> Vec<String> {
    vec!["rejected".to_owned()]
}

fn default_timeout() -> Span {
    // A loaded RT took 32 s to make a ticket.
    Span(Duration::from_secs(30))
}

fn default_max_server_time() -> Span {
    Span(Duration::from_secs(60))
}

/// Longest name of a queue or of a custom field in RT's tables, in characters.
const MAX_NAME: usize = 200;

impl Config {
    /// Mistakes that the shape of the table does not show. Reads the files that it names.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = self.endpoint().check();
        if let Err(message) = usable(&self.token_file, Secret::read) {
            mistakes.push(Mistake::new("token_file", message));
        }
        let names = [("queue", &self.queue), ("key_field", &self.key_field), ("room_field", &self.room_field)];
        for (key, name) in names {
            // Braces and quotes would end the name within a search, slashes within an address.
            let odd = |c: char| c.is_control() || "'\"\\{}/".contains(c);
            if name.trim().is_empty() || name.trim() != name || name.contains(odd) || name.chars().count() > MAX_NAME {
                let message =
                    format!("found {name:?}, expected a name as it stands in RT, without quotes, braces and slashes");
                mistakes.push(Mistake::new(key, message));
            }
        }
        if self.key_field == self.room_field {
            mistakes.push(Mistake::new("room_field", "found the key_field, expected a field of its own"));
        }
        mistakes.extend(self.status_mistakes());
        let settle = self.max_server_time.0;
        if settle < Duration::from_secs(1) || settle > Duration::from_secs(3600) {
            mistakes.push(Mistake::new("max_server_time", "expected a time from 1 s to 1 h"));
        }
        mistakes
    }

    fn status_mistakes(&self) -> Vec<Mistake> {
        let lists = [("confirmed", &self.confirmed), ("done", &self.done), ("refused", &self.refused)];
        let mut mistakes = Vec::new();
        if self.asked.trim().is_empty() || lists.iter().any(|(_, list)| list.contains(&self.asked)) {
            let message = format!("found {:?}, expected a status that stands in no list below", self.asked);
            mistakes.push(Mistake::new("asked", message));
        }
        for (at, (key, list)) in lists.iter().enumerate() {
            if list.is_empty() {
                mistakes.push(Mistake::new(*key, "found an empty list, expected at least one status of a ticket"));
            }
            let earlier = |status: &&String| lists[..at].iter().any(|(_, list)| list.contains(status));
            if let Some(status) = list.iter().find(earlier) {
                mistakes.push(Mistake::new(*key, format!("found {status:?}, which stands in another list already")));
            }
        }
        mistakes
    }

    /// How doubts are resolved: the write in question was begun within `timeout` of the attempt's start.
    pub(super) fn doubt(&self) -> Doubt {
        Doubt { class: Class::Searchable, settles_within: self.max_server_time.0 + self.timeout.0 }
    }

    fn endpoint(&self) -> Endpoint<'_> {
        Endpoint {
            url: &self.url,
            ca_file: self.ca_file.as_deref(),
            timeout: self.timeout,
            allow_plain_http: self.allow_plain_http,
            secret_key: "token_file, by which RT knows us",
        }
    }

    /// The key of the queue's mark: a closed ticket that every search must find.
    fn mark(&self) -> String {
        format!("bw-canary-{}", self.queue)
    }
}
