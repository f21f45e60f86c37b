//! What an entry in the vendor's calendar says of a booking.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use data_encoding::BASE64;

use super::{
    object::{Object, listed, unescaped},
    words::{self, Mark},
};
use crate::{
    booking::{Booking, Window, ical},
    calendar::ical::{When, lines, when},
    channel::{Remote, Standing},
};

/// The booking's key.
pub(super) const KEY: &str = "X-BELLWETHER-KEY";
/// The key of the order that wrote the entry last.
pub(super) const OP: &str = "X-BELLWETHER-OP";
/// When that order asked the entry to be: another time is the vendor's.
pub(super) const ASKED: &str = "X-BELLWETHER-ASKED";
/// What that order asked its STATUS to be: another one is the vendor's.
pub(super) const STATUS: &str = "X-BELLWETHER-STATUS";
/// How often the school had decided by then: an order of a later decision knows what the vendor had set.
pub(super) const TURN: &str = "X-BELLWETHER-TURN";
/// The room, in base32, so that servers can search for it.
pub(super) const ROOM: &str = "X-BELLWETHER-ROOM";
/// The booking's JSON in base64, from which a new ledger takes it over.
pub(super) const BOOKING: &str = "X-BELLWETHER-BOOKING";
/// Longest note that is handed on, in characters.
const MAX_NOTE: usize = 300;

/// An entry, read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name among all calendars.
    pub(super) uid: String,
    /// Number of the order that wrote it last.
    pub(super) op_seq: Option<u32>,
    /// When it is, or why that cannot be told.
    pub(super) when: Result<When, String>,
    /// When we asked it to be.
    pub(super) asked: Option<When>,
    /// Its STATUS in capitals; empty if it has none.
    pub(super) status: String,
    /// What we asked its STATUS to be.
    pub(super) asked_status: Option<String>,
    /// How often the school had decided when it was written last.
    pub(super) turn: u32,
    /// Its SEQUENCE.
    pub(super) sequence: u32,
    /// The words by which somebody marked it.
    marks: Vec<Mark>,
    /// What those who were invited say.
    answers: Vec<String>,
    /// What somebody wrote to us.
    note: Option<String>,
    /// The room, in base32.
    pub(super) room: Option<String>,
    /// The booking as it was sent last.
    pub(super) booking: Option<Booking>,
}

impl Entry {
    /// Reads an entry.
    pub fn read(object: &Object) -> Self {
        let text = |name: &str| object.value(name).map(|value| value.trim().to_owned());
        let number = |name: &str| text(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        let uid = text("UID").unwrap_or_default();
        let booking = text(BOOKING).and_then(|value| BASE64.decode(value.as_bytes()).ok());
        let booking: Option<Booking> = booking.and_then(|json| serde_json::from_slice(&json).ok());
        let booking = booking.filter(|booking| booking.key == uid);
        let zone: Option<Tz> = booking.as_ref().and_then(|booking| booking.timezone.parse().ok());
        let op_seq = text(OP).and_then(|op| op.strip_prefix(&uid)?.strip_prefix('.')?.parse().ok());
        Self {
            op_seq,
            when: when(object.write(), zone).map_err(|error| error.to_string()),
            asked: text(ASKED).and_then(|value| period(&value)),
            status: text("STATUS").unwrap_or_default().to_ascii_uppercase(),
            asked_status: text(STATUS).map(|status| status.to_ascii_uppercase()),
            turn: number(TURN),
            sequence: number("SEQUENCE"),
            marks: marks(object),
            answers: answers(object),
            note: note(object),
            room: text(ROOM),
            uid,
            booking,
        }
    }

    /// Whether its STATUS is the vendor's, and not what we asked.
    pub(super) fn has_their_status(&self) -> bool {
        !self.status.is_empty() && self.asked_status.as_ref() != Some(&self.status)
    }

    /// Whether its time is the vendor's, and not what we asked.
    pub(super) fn has_their_time(&self) -> bool {
        self.asked.is_none() || self.when.as_ref().ok() != self.asked.as_ref()
    }

    /// Whether the vendor has answered in any way but by another time.
    pub(super) fn is_answered(&self) -> bool {
        let said = self.answers.iter().any(|answer| answer == "ACCEPTED" || answer == "DECLINED");
        !self.marks.is_empty() || said || self.has_their_status() && self.status != "TENTATIVE"
    }

    /// Where the booking stands by it.
    pub fn standing(&self) -> Standing {
        let all_decline = !self.answers.is_empty() && self.answers.iter().all(|answer| answer == "DECLINED");
        let is = |mark| self.marks.contains(&mark);
        match &self.status[..] {
            "CANCELLED" if self.asked_status.as_deref() == Some("CANCELLED") => Standing::Withdrawn,
            "CANCELLED" => Standing::Refused,
            _ if is(Mark::Done) => Standing::Reported,
            _ if all_decline || is(Mark::Refused) => Standing::Refused,
            "CONFIRMED" => Standing::Confirmed,
            _ if is(Mark::Confirmed) || self.answers.iter().any(|answer| answer == "ACCEPTED") => Standing::Confirmed,
            _ => Standing::Requested,
        }
    }

    /// The entry as read back. Whole days that nobody has touched or confirmed stand for no time at all.
    ///
    /// # Errors
    /// Its time cannot be told.
    pub fn remote(&self, href: &str) -> Result<Remote, String> {
        let standing = self.standing();
        let when = match (&self.when, standing) {
            (Ok(when), _) => Some(*when),
            // Nobody comes: the time does not matter.
            (Err(_), Standing::Refused | Standing::Withdrawn) => None,
            (Err(message), _) => return Err(format!("the entry's time cannot be read: {message}")),
        };
        let untouched = !self.has_their_time() && !matches!(standing, Standing::Confirmed | Standing::Reported);
        let window = match when {
            Some(When::Days { .. }) if untouched => None,
            Some(when) => self.window(when),
            None => None,
        };
        Ok(Remote { remote_id: Some(href.to_owned()), standing, window, note: self.note.clone() })
    }

    fn window(&self, when: When) -> Option<Window> {
        match when {
            When::Time { start, end } if end > start => Some(Window { start, end }),
            // Some programs write a start alone: the visit takes as long as was asked.
            When::Time { start, .. } => match self.asked {
                Some(When::Time { start: from, end: to }) => {
                    Some(Window { start, end: start.checked_add_signed(to - from)? })
                }
                _ => None,
            },
            When::Days { from, to } => {
                let zone: Tz = self.booking.as_ref()?.timezone.parse().ok()?;
                let midnight =
                    |date: NaiveDate| crate::calendar::zone::instant(zone, date.and_time(chrono::NaiveTime::MIN));
                Some(Window { start: midnight(from)?, end: midnight(to)? })
            }
        }
    }
}

/// The value of [`ASKED`].
pub(super) fn asked(when: When) -> String {
    match when {
        When::Time { start, end } => format!("{}/{}", ical::instant(start), ical::instant(end)),
        When::Days { from, to } => format!("{}/{}", from.format("%Y%m%d"), to.format("%Y%m%d")),
    }
}

fn period(value: &str) -> Option<When> {
    let (from, to) = value.split_once('/')?;
    let time = |text: &str| -> Option<DateTime<Utc>> {
        NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok().map(|at| at.and_utc())
    };
    let day = |text: &str| NaiveDate::parse_from_str(text, "%Y%m%d").ok().filter(|_| text.len() == 8);
    match (time(from), time(to)) {
        (Some(start), Some(end)) => (start < end).then_some(When::Time { start, end }),
        _ => Some(When::Days { from: day(from)?, to: day(to).filter(|to| Some(*to) > day(from))? }),
    }
}

/// The words by which somebody marked an entry: in its categories, or in brackets before its title.
fn marks(object: &Object) -> Vec<Mark> {
    let categories: Vec<String> = object.all("CATEGORIES").flat_map(|property| listed(&property.value)).collect();
    let title = unescaped(&object.value("SUMMARY").unwrap_or_default());
    categories
        .iter()
        .filter_map(|word| words::mark(word))
        .chain(words::marks(&title).into_iter().map(|(mark, _)| mark))
        .collect()
}

/// What those who were invited say, but for whoever invites.
fn answers(object: &Object) -> Vec<String> {
    let address = |value: &str| value.trim().to_ascii_lowercase();
    let organizer = object.value("ORGANIZER").map(|value| address(&value));
    let invited = object.all("ATTENDEE").filter(|attendee| Some(address(&attendee.value)) != organizer);
    invited.filter_map(|attendee| attendee.parameter("PARTSTAT").map(str::to_ascii_uppercase)).collect()
}

/// What somebody wrote to us: comments, or what stands below the line for it.
fn note(object: &Object) -> Option<String> {
    let comments: Vec<String> = object
        .all("COMMENT")
        .map(|comment| lines::plain(&comment.value, MAX_NOTE))
        .filter(|text| !text.is_empty())
        .collect();
    let below =
        || words::notes(&unescaped(&object.value("DESCRIPTION").unwrap_or_default())).unwrap_or_default().to_owned();
    let text = if comments.is_empty() { below() } else { comments.join("; ") };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line: String = words.collect::<Vec<_>>().join(" ").chars().take(MAX_NOTE).collect();
    (!line.is_empty()).then_some(line)
}
