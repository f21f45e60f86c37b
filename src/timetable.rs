//! Where lessons and days off come from: files and addresses, read on a schedule, each with its last
//! good copy on disk.
//!
//! ```text
//! STATE/timetable/HASH.ics     the last good text of one source, and when it was read
//! STATE/holidays/CN-2027.json  days off that were imported
//! ```
//!
//! A source that cannot be read, or whose text could hide a lesson, changes nothing: the last good copy
//! stays in use and grows older. One that never was good leaves the whole timetable unknown.

mod copy;
mod fetch;
#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bellwether_agent::calendar::{
    Calendar,
    build::{self, Sources},
    ical, zone,
};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use self::copy::Copy;
use crate::{config::Config, files};

/// How far ahead lessons are looked at: a school year, and the holidays after it.
const AHEAD: Days = Days::new(400);
/// A source that could not be read is tried again after this, or after its usual time if that is less.
const RETRY: Duration = Duration::from_secs(15 * 60);

/// What is known of lessons, days off and the vendor's hours.
#[derive(Clone, Debug)]
pub struct Timetables {
    /// All of it, for the dates asked for.
    pub calendar: Arc<Calendar>,
    /// The iCalendar sources, in the order of the config.
    pub sources: Vec<Source>,
    /// The last date up to which days off are known; `None` if not even today's are.
    pub covered_until: Option<NaiveDate>,
    /// What was passed over or could not be used.
    pub notes: Vec<Note>,
    /// When to read again.
    pub refresh_at: DateTime<Utc>,
}

/// One iCalendar source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Short name, as metrics show it: of the file, or of the host and the file.
    pub component: String,
    /// When its last good text was read; `None` if there is none.
    pub read_at: Option<DateTime<Utc>>,
}

/// Something that a person should know of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The source: a path or an address.
    pub source: String,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// What was found, and what was done.
    pub message: String,
}

/// The dates that the daemon looks at: from yesterday on, for lessons that run over midnight.
pub fn usual_dates(config: &Config, now: DateTime<Utc>) -> Range<NaiveDate> {
    let today = zone::date(config.site.locale.timezone, now);
    today.checked_sub_days(Days::new(1)).unwrap_or(today)..today.checked_add_days(AHEAD).unwrap_or(today)
}

/// Reads what is due to be read again, keeps copies if the state folder is ours, and builds the calendar of these dates. `all`
/// reads every source, due or not.
pub async fn read(config: &Config, state: &Path, dates: Range<NaiveDate>, all: bool, now: DateTime<Utc>) -> Timetables {
    let zone = config.site.locale.timezone;
    let reader = Reader { config, state, span: span(zone, &dates), all, now };
    let mut notes = Vec::new();
    let (mut sources, mut texts) = (Vec::new(), Vec::new());
    let mut refresh_at = later(now, config.timetable.refresh.0);
    for name in &config.timetable.ical {
        let (copy, next) = reader.source(name, &mut notes).await;
        refresh_at = refresh_at.min(next);
        let stale = |copy: &Copy| now > later(copy.read_at, config.timetable.stale_after.0);
        texts.push(build::Source {
            name: name.clone(),
            stale: copy.as_ref().is_some_and(stale),
            text: copy.as_ref().map(|copy| Arc::clone(&copy.text)),
        });
        sources.push(Source { component: component(name), read_at: copy.map(|copy| copy.read_at) });
    }
    let holidays = crate::holidays::read(config, state, &dates, &mut notes);
    let covered_until = holidays.school.covered_until(zone::date(zone, now));
    let sources_of_calendar = Sources {
        timetable: &config.timetable,
        ical: &texts,
        holidays: &holidays.school,
        vendor: &config.site.vendor,
        vendor_holidays: &holidays.vendor,
        zone,
    };
    let calendar = Arc::new(build::build(sources_of_calendar, dates));
    Timetables { calendar, sources, covered_until, notes, refresh_at }
}

/// What every source is read with.
struct Reader<'r> {
    config: &'r Config,
    state: &'r Path,
    span: Range<DateTime<Utc>>,
    all: bool,
    now: DateTime<Utc>,
}

impl Reader<'_> {
    /// The newest good copy of a source, and when to read it again.
    async fn source(&self, name: &str, notes: &mut Vec<Note>) -> (Option<Copy>, DateTime<Utc>) {
        let refresh = self.config.timetable.refresh.0;
        let kept = copy::path(self.state, name);
        let old = copy::load(&kept, name);
        // A copy of the future is one from before the clock was set.
        let old_enough = |old: &Copy| self.now >= later(old.read_at, refresh) || old.read_at > self.now;
        let due = self.all || old.as_ref().is_none_or(old_enough);
        // A file costs nothing to read, and whoever changed it wants to see it.
        if !due && !fetch::is_file(name) {
            let next = old.as_ref().map_or(self.now, |old| later(old.read_at, refresh));
            return (old, next);
        }
        let text = match fetch::text(name).await {
            Ok(text) => self.usable(name, &text, notes).map(|()| text),
            Err(note) => Err(note),
        };
        match text {
            Ok(text) => {
                let new = Copy { source: name.to_owned(), read_at: self.now, text: text.into() };
                let same = old.is_some_and(|old| old.text == new.text);
                // What root leaves there the daemon could not replace.
                let keeps = files::is_ours(self.state) && (due || !same);
                if let Err(error) = if keeps { copy::store(&kept, &new) } else { Ok(()) } {
                    let message = format!("no copy of it can be kept in {}: {error}", kept.display());
                    notes.push(Note { source: fetch::shown(name), line: None, message });
                }
                (Some(new), later(self.now, refresh))
            }
            Err(note) => {
                notes.push(note);
                (old, later(self.now, RETRY.min(refresh)))
            }
        }
    }

    /// Whether a text may be used; what was passed over in it becomes notes.
    fn usable(&self, name: &str, text: &[u8], notes: &mut Vec<Note>) -> Result<(), Note> {
        let source = || fetch::shown(name);
        match ical::expand(text, self.config.site.locale.timezone, self.span.clone()) {
            Ok(expanded) => {
                let note = |note: ical::Note| Note { source: source(), line: Some(note.line), message: note.message };
                notes.extend(expanded.notes.into_iter().map(note));
                Ok(())
            }
            Err(error) => Err(Note { source: source(), line: Some(error.line), message: error.message }),
        }
    }
}

/// From the first instant of the dates to the last.
pub(crate) fn span(zone: Tz, dates: &Range<NaiveDate>) -> Range<DateTime<Utc>> {
    let start = |date: NaiveDate| {
        zone::instant(zone, date.and_time(chrono::NaiveTime::MIN)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    };
    start(dates.start)..start(dates.end)
}

fn later(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| at.checked_add_signed(by)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A short name for metrics: `r301.ics`, or `cal.example.edu/r301.ics`; at most 40 characters, from its end.
/// What an address carries behind `?` may be secret and is left out.
fn component(name: &str) -> String {
    let short = match url::Url::parse(name) {
        Ok(url) => {
            let file = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
            format!("{}/{file}", url.host_str().unwrap_or_default())
        }
        Err(_) => {
            PathBuf::from(name).file_name().map_or_else(|| name.to_owned(), |file| file.to_string_lossy().into_owned())
        }
    };
    let skipped = short.chars().count().saturating_sub(40);
    short.chars().skip(skipped).collect()
}
