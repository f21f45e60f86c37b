//! An iCalendar text (RFC 5545) → its events within a span. Pure and bounded.
//!
//! What cannot be told without doubt is never left out, since an event left out is a free room: where
//! an event's time is not certain the whole text is refused, and the last good one stays in use.

//!
//! ```text
//! lines    bytes → content lines
//! parts    content lines → events and time zones, as written
//! time     dates, times and lengths
//! zones    wall clocks ↔ instants, by IANA, by Windows name or by the calendar's own rules
//! rule     recurrence rules on the wall clock
//! event    an event as written → what it says
//! series   events → occurrences within the span
//! single   the one appointment of a text, whether or not it takes place
//! ```

mod event;
pub(crate) mod lines;
mod parts;
mod rule;
mod series;
mod single;
#[cfg(test)]
mod tests;
mod time;
mod windows;
mod zones;

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

pub use self::single::{When, when};

/// A text that is larger is no timetable.
pub const MAX_BYTES: usize = 4 << 20;
/// A text with more occurrences within the span is no timetable.
pub const MAX_OCCURRENCES: usize = 20_000;
/// More notes than this are counted only.
const MAX_NOTES: usize = 100;
/// What a text may take, about one day looked at by a rule each: well below a second.
const MAX_WORK: u64 = 8_000_000;

/// One occurrence of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its start.
    pub start: DateTime<Utc>,
    /// Its end; never before its start.
    pub end: DateTime<Utc>,
    /// Its title.
    pub summary: Arc<str>,
    /// Whether it is one of whole days.
    pub all_day: bool,
}

/// Something in the text that was passed over, since it cannot hide a lesson.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its line, from 1.
    pub line: usize,
    /// What was found, and what was done.
    pub message: String,
}

/// What a text says of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Occurrences that touch the span, by start.
    pub events: Vec<Event>,
    /// What was passed over.
    pub notes: Vec<Note>,
}

/// Why a text is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct IcalError {
    /// The line, from 1.
    pub line: usize,
    /// What was found, and what would be right.
    pub message: String,
}

impl IcalError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Notes, not too many.
#[derive(Debug, Default)]
struct Notes {
    kept: Vec<Note>,
    more: usize,
}

impl Notes {
    fn push(&mut self, line: usize, message: impl Into<String>) {
        if self.kept.len() < MAX_NOTES {
            self.kept.push(Note { line, message: message.into() });
        } else {
            self.more += 1;
        }
    }

    /// All of them, by line.
    fn all(mut self, last: usize) -> Vec<Note> {
        self.kept.sort_by_key(|note| note.line);
        if self.more > 0 {
            self.kept.push(Note { line: last, message: format!("and {} more of that kind", self.more) });
        }
        self.kept
    }
}

/// What a text may still take.
#[derive(Debug)]
struct Work(u64);

impl Work {
    fn spend(&mut self, steps: u64) -> Result<(), String> {
        self.0 = self.0.checked_sub(steps).ok_or("found more recurrence than can be looked at, expected less")?;
        Ok(())
    }
}

/// Expands a text; local times without a zone, and whole days, are in `zone`. It is taken as bytes, since
/// a fold may lie within a character.
///
/// Events are those that touch the span, by start, end and title; one that takes no time touches it if it
/// starts within. Whether an event is marked as free time (TRANSP) makes no difference.
///
/// # Errors
/// The first thing that could hide a lesson: see [`IcalError`].
pub fn expand(text: impl AsRef<[u8]>, zone: Tz, span: Range<DateTime<Utc>>) -> Result<Expanded, IcalError> {
    let text = text.as_ref();
    if text.len() > MAX_BYTES {
        return Err(IcalError::new(1, format!("found {} bytes, expected at most {MAX_BYTES}", text.len())));
    }
    let (mut notes, mut work) = (Notes::default(), Work(MAX_WORK));
    let parts = parts::read(text, &mut notes)?;
    if parts.events.is_empty() {
        notes.push(1, "found a calendar that holds no event");
    }
    let zones = zones::Zones::new(zone, &parts.zones, span.end);
    let mut reader = event::Reader { zones: &zones, notes: &mut notes, work: &mut work };
    let events =
        parts.events.iter().filter_map(|part| reader.event(part).transpose()).collect::<Result<Vec<_>, _>>()?;
    let mut found = series::expand(&events, &span, &mut notes, &mut work)?;
    found.sort_by(|a, b| (a.start, a.end, &a.summary).cmp(&(b.start, b.end, &b.summary)));
    Ok(Expanded { events: found, notes: notes.all(parts.last) })
}
