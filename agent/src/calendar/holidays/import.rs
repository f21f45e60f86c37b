//! Somebody's file → years of data, or why it is not used.
//!
//! A year that is taken as known although days are missing would let a heavy probe run in a lesson. So
//! a file that does not look like a whole year is refused, and says what to do.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, TimeDelta, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    YearData,
    year::{self, Draft, MAX_YEARS, YEARS},
};
use crate::calendar::{
    config::Dates,
    ical::{self, Event, IcalError, Note},
    zone::{self, instant},
};

/// A larger file is none of holidays.
pub const MAX_BYTES: usize = 1 << 20;
/// Fewer holidays than this are no whole year.
const ENOUGH: usize = 5;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Whose days they are.
    pub country: String,
    /// By year, ascending; at least one.
    pub years: Vec<YearData>,
    /// What was passed over in an iCalendar file.
    pub notes: Vec<Note>,
}

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is too large.
    #[error("found {0} bytes, expected at most {MAX_BYTES}")]
    TooLarge(usize),
    /// It is something else.
    #[error(
        "found neither JSON nor iCalendar, expected a file that begins with {{ or BEGIN:VCALENDAR: days off in \
         bellwether's own JSON, in that of holiday-cn, or as events"
    )]
    NoShape,
    /// It is JSON of something else.
    #[error("found JSON without \"years\" and without \"days\", expected bellwether's own or that of holiday-cn")]
    OtherJson,
    /// Its JSON is broken.
    #[error("line {line}: {message}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// What was found.
        message: String,
    },
    /// Its events cannot be read.
    #[error(transparent)]
    Ical(#[from] IcalError),
    /// It lists nothing.
    #[error("found no day: the notice for {0} is not out yet")]
    NoDay(i32),
    /// It lists too little to be a whole year.
    #[error("found {found} in {year}, expected {expected}")]
    NoWholeYear {
        /// The year.
        year: i32,
        /// What there is.
        found: String,
        /// What there should be, and what to do.
        expected: String,
    },
    /// A date is both off and not.
    #[error("found {date} as a day off at {off} and as a make-up working day at {work}, expected one of them")]
    Contradiction {
        /// The date.
        date: NaiveDate,
        /// Where it is a day off.
        off: String,
        /// Where it is a working day.
        work: String,
    },
    /// Something in it is wrong.
    #[error("{at}: {message}")]
    At {
        /// The key, or the event.
        at: String,
        /// What was found, and what would be right.
        message: String,
    },
}

impl ImportError {
    pub(super) fn at(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::At { at: at.into(), message: message.into() }
    }
}

/// The line and the message of broken JSON.
pub(super) fn json_error(error: &serde_json::Error) -> ImportError {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    ImportError::Json { line: error.line(), message: message.to_owned() }
}

/// Reads a file of days off of `country`: our own JSON, that of holiday-cn, or an iCalendar file, in
/// which events that are called so (补班, 上班, "workday") are make-up working days, and all others
/// days off. Events at times of the day are read in `zone`.
///
/// # Errors
/// The first thing that is wrong: nothing of such a file is used.
pub fn parse(text: &str, country: &str, zone: Tz) -> Result<Import, ImportError> {
    if text.len() > MAX_BYTES {
        return Err(ImportError::TooLarge(text.len()));
    }
    let text = text.trim_start_matches('\u{feff}');
    let begin = text.trim_start();
    let (mut years, notes) = if begin.starts_with('{') {
        (json(text, country)?, Vec::new())
    } else if begin.get(..15).is_some_and(|begin| begin.eq_ignore_ascii_case("BEGIN:VCALENDAR")) {
        let expanded = ical::expand(text, zone, span(zone))?;
        (events(&expanded.events, country, zone)?, expanded.notes)
    } else {
        return Err(ImportError::NoShape);
    };
    years.sort_by_key(|year| year.year);
    Ok(Import { country: country.to_owned(), years, notes })
}

/// Everything that could be meant: more than what is right, so that a mistake is found.
fn span(zone: Tz) -> std::ops::Range<chrono::DateTime<chrono::Utc>> {
    let at = |year| NaiveDate::from_ymd_opt(year, 1, 1).and_then(|date| instant(zone, date.and_hms_opt(0, 0, 0)?));
    at(YEARS.start() - 10).unwrap_or_default()..at(YEARS.end() + 10).unwrap_or_default()
}

fn json(text: &str, country: &str) -> Result<Vec<YearData>, ImportError> {
    #[derive(Deserialize)]
    struct Keys {
        years: Option<IgnoredAny>,
        days: Option<IgnoredAny>,
    }
    let keys: Keys = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    match (keys.years, keys.days) {
        (Some(_), _) => year::read(text, country),
        (None, Some(_)) => Ok(vec![holiday_cn(text, country)?]),
        (None, None) => Err(ImportError::OtherJson),
    }
}

/// A year as holiday-cn publishes it.
fn holiday_cn(text: &str, country: &str) -> Result<YearData, ImportError> {
    #[derive(Deserialize)]
    struct File {
        year: i32,
        #[serde(default)]
        papers: Vec<String>,
        days: Vec<Day>,
    }
    #[derive(Deserialize)]
    struct Day {
        name: String,
        date: NaiveDate,
        #[serde(rename = "isOffDay")]
        off: bool,
    }
    let file: File = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    let source = if file.papers.is_empty() { "holiday-cn".to_owned() } else { file.papers.join(" ") };
    let mut draft = Draft::new("year", file.year, &source)?;
    for (index, day) in file.days.iter().enumerate() {
        let dates = Dates { from: day.date, to: day.date };
        draft.list(&format!("days[{index}]"), dates, !day.off, &day.name)?;
    }
    let data = draft.finish()?;
    let off = data.days().filter(|(date, day)| date.year() == data.year && matches!(day, super::National::Off(_)));
    whole(data.year, (off.count(), ["day off", "days off"]), data.make_up(), country)?;
    Ok(data)
}

/// Years of events.
fn events(events: &[Event], country: &str, zone: Tz) -> Result<Vec<YearData>, ImportError> {
    let mut years: BTreeMap<i32, Vec<&Event>> = BTreeMap::new();
    for event in events {
        years.entry(first_and_last(event, zone).0.year()).or_default().push(event);
    }
    if years.is_empty() {
        return Err(ImportError::at(
            "BEGIN:VCALENDAR",
            "found no event, expected the days off of a year as events: the notice of the year may not be out yet",
        ));
    }
    if years.len() > MAX_YEARS {
        let expected = format!(
            "expected at most {MAX_YEARS}: events that recur without an end are no notice of a year; \
            further days off go into [holidays] files"
        );
        return Err(ImportError::at("RRULE", format!("found events in {} years, {expected}", years.len())));
    }
    let years = gather(years, zone);
    let mut found = Vec::new();
    for (year, events) in years {
        let mut draft = Draft::new("DTSTART", year, "iCalendar")?;
        let (mut off, mut make_up) = (0, 0);
        for event in events {
            let (from, to) = first_and_last(event, zone);
            let at = format!("the event {:?} of {from}", event.summary);
            let works = works(&event.summary, from).ok_or_else(|| {
                let message = "found 调休 on a weekend, expected 班 or 休 in its title, to tell work from a day off";
                ImportError::at(&at, message)
            })?;
            *(if works { &mut make_up } else { &mut off }) += 1;
            draft.list(&at, Dates { from, to }, works, &event.summary)?;
        }
        whole(year, (off, ["event of days off", "events of days off"]), make_up, country)?;
        found.push(draft.finish()?);
    }
    Ok(found)
}

/// Events of the December before a year, and of the January after it, belong to it if they are too few
/// to be of a year themselves.
fn gather(years: BTreeMap<i32, Vec<&Event>>, zone: Tz) -> BTreeMap<i32, Vec<&Event>> {
    let full = |year: i32| years.get(&year).is_some_and(|events| events.len() >= ENOUGH);
    let home = |year: i32, event: &Event| match first_and_last(event, zone).0.month() {
        12 if !full(year) && full(year + 1) => year + 1,
        1 if !full(year) && full(year - 1) => year - 1,
        _ => year,
    };
    let mut gathered: BTreeMap<i32, Vec<&Event>> = BTreeMap::new();
    for (year, events) in &years {
        for event in events {
            gathered.entry(home(*year, event)).or_default().push(event);
        }
    }
    gathered
}

/// Refuses what cannot be all holidays of a year; `off` with its names in singular and plural.
fn whole(year: i32, off: (usize, [&str; 2]), make_up: usize, country: &str) -> Result<(), ImportError> {
    let refused = |found: String, expected: String| Err(ImportError::NoWholeYear { year, found, expected });
    let (count, [one, more]) = off;
    if count < ENOUGH {
        let expected = format!(
            "at least {ENOUGH}, as a whole year has: give a file of the whole year, or take {year} out of this one, \
             since all dates of a year that is imported count as known"
        );
        return refused(format!("{count} {}", if count == 1 { one } else { more }), expected);
    }
    // Every notice since 2007 has some.
    if country == "CN" && make_up == 0 {
        let expected = "those of the notice (补班, 上班, isOffDay = false): a list of festivals does not tell \
                        when is work";
        return refused("no make-up working day".to_owned(), expected.to_owned());
    }
    Ok(())
}

/// Whether an event is of work; `None` if its title could mean both.
pub(super) fn works(title: &str, date: NaiveDate) -> Option<bool> {
    let title = title.to_lowercase();
    let denied = title.contains('不') || title.contains("non") || title.contains("not ");
    let names = ["班", "工作日", "workday", "work day", "working day", "make-up", "makeup"];
    if !denied && names.iter().any(|name| title.contains(name)) {
        return Some(true);
    }
    let weekend = matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
    (!(weekend && title.contains("调休"))).then_some(false)
}

/// The dates that an event touches in a zone.
pub(super) fn first_and_last(event: &Event, zone: Tz) -> (NaiveDate, NaiveDate) {
    let first = zone::date(zone, event.start);
    // An event that ends at midnight does not touch the day that begins.
    let last = event.end.checked_sub_signed(TimeDelta::milliseconds(1)).unwrap_or(event.end);
    (first, zone::date(zone, last).max(first))
}

#[cfg(test)]
mod tests;
