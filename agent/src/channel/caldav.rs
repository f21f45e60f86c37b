//! Channel `caldav`: one entry per booking in the vendor's calendar (RFC 4791).
//!
//! The entry's name is the booking's key, and it is made only where none of this name is (`If-None-Match: *`),
//! so that repeats and races end in one entry. What exists is changed only as it was read (`If-Match`). A
//! cancelled entry stays, so that its name cannot be made again.
//!
//! What the vendor does in its calendar is the answer: see [`words`] for the words.
//!
//! | The vendor | is read back as |
//! |---|---|
//! | sets STATUS to CONFIRMED, or accepts the invitation, or puts `[confirmed]` before the title | confirmed |
//! | moves the entry | requested, with that time: a counter-offer; with one of the above, the appointment |
//! | sets STATUS to CANCELLED, or declines the invitation, or puts `[declined]` before the title | refused |
//! | puts `[done]` before the title, or sets the category `done` | reported |
//! | writes below the line of the description, or a COMMENT | its note |
//! | deletes the entry | missing |
//!
//! A booking for which no time was found is an entry of one whole day, shown as free: the day by which
//! somebody should come. Until the vendor moves or confirms it, it stands for no time.
//!
//! | Answer to a PUT | Outcome |
//! |---|---|
//! | 200, 201, 204 | done; the remote id is the entry's path |
//! | 412 | it is there: done if by this order, else changed under `If-Match`; if that fails, not delivered |
//! | 207, 403, 409 with `no-uid-conflict` | looked for by its UID, then the same |
//! | 207 otherwise | as the status in it says |
//! | 401, 403 | locked out |
//! | 3xx, 404, 405, 407, 409 | not delivered: an operator has to mend `url` |
//! | 423, 429 | not delivered, `Retry-After` honoured |
//! | 408, 5xx, other 2xx, no whole answer | ambiguous; sent again |
//! | other 4xx | rejected |

mod answer;
mod check;
mod dav;
mod deliver;
pub mod entry;
mod merge;
pub mod multistatus;
pub mod object;
mod password;
#[cfg(test)]
mod tests;
mod words;

use std::{fmt, path::PathBuf, time::Duration};

use bellwether_probes::{Mistake, Span, secret::usable};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use data_encoding::{BASE32_NOPAD, BASE64};
use serde::{Deserialize, Serialize};
use url::Url;

use self::{dav::Server, password::Password};
use super::{Class, Doubt, Finding, Link, Listed, Outcome, Remote, http::Endpoint};
use crate::{
    booking::{Booking, Operation, Order, Severity, Window, ical, text::Texts},
    calendar::{ical::When, zone},
};

/// `[channel.NAME]` with `kind = "caldav"`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The calendar: the address of the collection itself.
    pub url: String,
    /// The user who may write to it.
    pub user: String,
    /// File with the user's password in one line.
    pub password_file: PathBuf,
    /// PEM file of the only certificate authorities to trust, instead of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Deadline of one request.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Allows `http:` to other hosts than this one.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// Mail address of the school, as whose invitation an entry is made.
    #[serde(default)]
    pub organizer: Option<String>,
    /// Mail address of the vendor, who is invited by each entry. Some servers send mail to it.
    #[serde(default)]
    pub attendee: Option<String>,
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(10))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.endpoint().place())
            .field("user", &self.user)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("timeout", &self.timeout)
            .field("allow_plain_http", &self.allow_plain_http)
            .field("organizer", &self.organizer)
            .field("attendee", &self.attendee)
            .finish()
    }
}

impl Config {
    /// Mistakes that the shape of the table does not show. Reads the files that it names.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = self.endpoint().check();
        if let (true, Err(message)) = (mistakes.iter().all(|mistake| mistake.key != "url"), self.collection()) {
            mistakes.push(Mistake::new("url", message));
        }
        if self.user.is_empty() || self.user.contains(':') || self.user.chars().any(char::is_control) {
            mistakes.push(Mistake::new("user", "expected a name without colons, as the server knows it"));
        }
        if let Err(message) = usable(&self.password_file, Password::read) {
            mistakes.push(Mistake::new("password_file", message));
        }
        for (key, address) in [("organizer", &self.organizer), ("attendee", &self.attendee)] {
            if let Some(address) = address.as_ref().filter(|address| !is_address(address)) {
                let message = format!("found {address:?}, expected a mail address such as \"it@school.example\"");
                mistakes.push(Mistake::new(key, message));
            }
        }
        if self.attendee.is_some() && self.organizer.is_none() {
            let message = "found it without organizer, in whose name the vendor is invited; expected both";
            mistakes.push(Mistake::new("attendee", message));
        }
        mistakes
    }

    /// How doubts are resolved.
    pub(super) fn doubt(&self) -> Doubt {
        Doubt { class: Class::Keyed, settles_within: Duration::ZERO }
    }

    fn endpoint(&self) -> Endpoint<'_> {
        Endpoint {
            url: &self.url,
            ca_file: self.ca_file.as_deref(),
            timeout: self.timeout,
            allow_plain_http: self.allow_plain_http,
            secret_key: "user and password_file",
        }
    }

    /// The collection's address, ended by a slash.
    fn collection(&self) -> Result<Url, String> {
        let mut url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
            return Err("found a question mark or number sign in it, expected the address of a calendar".to_owned());
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }
}

fn is_address(text: &str) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | ';' | ',' | ':' | '<' | '>');
    let halves = text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    halves && text.chars().all(plain)
}

/// The time that was agreed, if one was; the entry is then confirmed by us, too.
fn agreed(booking: &Booking) -> Option<Window> {
    booking.life.appointment.filter(|_| booking.state.is_under_way())
}

/// The bytes of an order: the whole calendar object.
pub(super) fn body(config: &Config, booking: &Booking, operation: Operation, op_key: &str, texts: &Texts) -> String {
    let mut text = texts.write(booking);
    text.subject = words::unmarked(text.subject);
    let is_open = operation != Operation::Cancel;
    text.body = words::description(&text.body, is_open, texts.language);
    let wanted = agreed(booking).or_else(|| booking.wanted.first().copied());
    let when = wanted.map_or_else(|| day(booking), |window| When::Time { start: window.start, end: window.end });
    let status = match operation {
        Operation::Cancel => "CANCELLED",
        Operation::Open | Operation::Update if agreed(booking).is_some() => "CONFIRMED",
        Operation::Open | Operation::Update => "TENTATIVE",
    };
    let json = serde_json::to_vec(booking).expect("a booking has string keys and no failing serializer");
    let mut more: Vec<(String, String)> = [
        (entry::KEY, booking.key.clone()),
        (entry::OP, op_key.to_owned()),
        (entry::ASKED, entry::asked(when)),
        (entry::STATUS, status.to_owned()),
        (entry::TURN, booking.life.decisions.to_string()),
        (entry::ROOM, room_word(&booking.room.id)),
        (entry::BOOKING, BASE64.encode(&json)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(organizer) = &config.organizer {
        more.push(("ORGANIZER".to_owned(), format!("mailto:{organizer}")));
        if let Some(attendee) = &config.attendee {
            let name = "ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE";
            more.push((name.to_owned(), format!("mailto:{attendee}")));
        }
    }
    ical::calendar(booking, &text, booking.updated_at, &ical::Entry { when, status, more: &more })
}

/// A room as servers can search for it: base32, since some undo escapes such as `%2C` before they compare.
fn room_word(id: &str) -> String {
    BASE32_NOPAD.encode(id.as_bytes()).to_ascii_lowercase()
}

/// The day by which somebody should come, counted in the vendor's weekdays from when it was opened: the day of
/// the lesson, the next working day, five, or twenty (a month) for what can wait. Not before the order.
fn day(booking: &Booking) -> When {
    let zone: Tz = booking.timezone.parse().unwrap_or(Tz::UTC);
    let opened = zone::date(zone, booking.opened_at);
    let date = match booking.severity {
        Severity::Critical => booking.lesson_at_risk.map_or(opened, |lesson| zone::date(zone, lesson)),
        Severity::High => working_day(booking, opened, 1),
        Severity::Normal => working_day(booking, opened, 5),
        Severity::Low => working_day(booking, opened, 20),
    };
    let from = date.max(zone::date(zone, booking.updated_at));
    When::Days { from, to: from.checked_add_days(Days::new(1)).unwrap_or(from) }
}

fn working_day(booking: &Booking, from: NaiveDate, count: usize) -> NaiveDate {
    use chrono::Datelike;
    let days = from.iter_days().skip(1).take(60);
    days.filter(|date| booking.vendor.days.contains(&date.weekday())).take(count).last().unwrap_or(from)
}

/// Makes one attempt. Files are read anew, so that a changed one needs no restart.
pub(super) async fn send(config: &Config, order: &Order, link: &Link, now: DateTime<Utc>) -> Outcome {
    // The key becomes a path: it comes from a database that somebody may have edited.
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if order.booking_key.is_empty() || !order.booking_key.bytes().all(fits) {
        return Outcome::Rejected { detail: "the booking's key is no name for an entry".to_owned() };
    }
    match Server::new(config, now) {
        Ok(server) => deliver::deliver(&server, order, link, now).await,
        Err(detail) => Outcome::not_delivered(detail),
    }
}

/// Where a booking stands in the calendar.
///
/// # Errors
/// One line for people: it cannot be told.
pub(super) async fn read(
    config: &Config,
    booking_key: &str,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<Remote, String> {
    deliver::read_back(&Server::new(config, now)?, booking_key, link).await
}

/// The bookings of a room that the calendar still has open.
///
/// # Errors
/// One line for people: they cannot be told.
pub(super) async fn list(config: &Config, room_id: &str, now: DateTime<Utc>) -> Result<Vec<Listed>, String> {
    deliver::list(&Server::new(config, now)?, room_id).await
}

/// Whether everything is there that the channel rests on.
pub(super) async fn check(config: &Config, tries: bool, now: DateTime<Utc>) -> Vec<Finding> {
    match Server::new(config, now) {
        Ok(server) => check::check(&server, tries, now).await,
        Err(message) => vec![Finding::wrong("the config can be used", message)],
    }
}
