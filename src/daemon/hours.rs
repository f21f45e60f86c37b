//! What the loop knows of the room's hours, and how it comes to know: files and addresses are read
//! beside the loop, and what was read comes back as an event.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bellwether_agent::{
    calendar::{
        Calendar,
        build::{Sources, build},
        holidays::Holidays,
        zone,
    },
    export,
    schedule::{
        Skip,
        gate::{self, Conditions, Weight},
        look_ahead::{self, LookAhead},
    },
};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    config::{Config, ProbeEntry},
    occupied,
    timetable::{self, Note, Timetables},
};

/// Whatever changed on the disk, such as days off that were imported, is noticed after this.
const REREAD: TimeDelta = TimeDelta::minutes(15);

/// What of a probe decides when it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// How much it disturbs.
    pub(super) weight: Weight,
    /// Whether people in the room hear it.
    pub(super) heard: bool,
}

impl Manner {
    pub(super) fn of(entry: &ProbeEntry) -> Self {
        Self { weight: entry.weight, heard: entry.config.is_heard() }
    }
}

/// What holds probes back, as of now. Passes under way look at it, too.
#[derive(Clone, Debug, Default)]
pub(super) struct Hours {
    /// Lessons; `None` until they were read for the first time.
    pub(super) calendar: Option<Arc<Calendar>>,
    /// How far heavy probes keep from lessons.
    pub(super) margin: TimeDelta,
    /// Until when somebody asked for quiet.
    pub(super) quiet_until: Option<DateTime<Utc>>,
    /// What shows that the room is in use beside its timetable; looked at just before a heavy probe starts.
    pub(super) look: Arc<occupied::Config>,
    /// Whether it was in use when it was looked at.
    pub(super) occupied: bool,
}

impl Hours {
    /// Whether such a probe that takes no longer than `longest` may start now.
    pub(super) fn may_start(&self, manner: Manner, longest: TimeDelta, now: DateTime<Utc>) -> Result<(), Skip> {
        self.ask(manner, longest, self.margin, now)
    }

    /// Whether a probe that runs may go on for up to `longest`: up to the lesson itself, since it kept
    /// away from lessons when it started, and something else has changed since.
    pub(super) fn may_go_on(&self, manner: Manner, longest: TimeDelta, now: DateTime<Utc>) -> Result<(), Skip> {
        self.ask(manner, longest, TimeDelta::zero(), now)
    }

    fn ask(&self, manner: Manner, longest: TimeDelta, margin: TimeDelta, now: DateTime<Utc>) -> Result<(), Skip> {
        let Self { quiet_until, occupied, .. } = *self;
        let Manner { weight, heard } = manner;
        match &self.calendar {
            Some(calendar) if heard && gate::may_be_heard(calendar).is_err() => gate::may_be_heard(calendar),
            Some(calendar) => gate::gate(weight, longest, Conditions { calendar, margin, quiet_until, occupied }, now),
            None if weight == Weight::Heavy => Err(Skip::Lesson),
            None => Ok(()),
        }
    }
}

/// What was read, and the how manieth reading it was.
pub(super) type Read = (u64, Timetables);

/// Keeps [`Hours`] current.
#[derive(Debug)]
pub(super) struct Keeper {
    hours: watch::Sender<Hours>,
    sources: Vec<timetable::Source>,
    covered_until: Option<NaiveDate>,
    notes: Vec<Note>,
    /// When sources are to be read again, and the date for which they were read.
    refresh_at: DateTime<Utc>,
    date: Option<NaiveDate>,
    readings: u64,
    reading: Option<JoinHandle<()>>,
    results: mpsc::Sender<Read>,
    /// The last instant up to which lessons were looked ahead of.
    examined: DateTime<Utc>,
    /// Probes whose next run is part of a look ahead, and of which lesson.
    ahead: BTreeMap<String, DateTime<Utc>>,
}

impl Keeper {
    pub(super) fn new(config: &Config, results: mpsc::Sender<Read>) -> Self {
        let hours = Hours { margin: margin(config), look: Arc::new(config.occupied.clone()), ..Hours::default() };
        Self {
            hours: watch::channel(hours).0,
            sources: Vec::new(),
            covered_until: None,
            notes: Vec::new(),
            refresh_at: DateTime::<Utc>::MIN_UTC,
            date: None,
            readings: 0,
            reading: None,
            results,
            examined: DateTime::<Utc>::MIN_UTC,
            ahead: BTreeMap::new(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Hours> {
        self.hours.subscribe()
    }

    pub(super) fn hours(&self) -> watch::Ref<'_, Hours> {
        self.hours.borrow()
    }

    /// Lessons and the vendor's hours; until they are known, a calendar in which nothing is.
    pub(super) fn calendar(&self, config: &Config, now: DateTime<Utc>) -> Arc<Calendar> {
        self.hours.borrow().calendar.clone().unwrap_or_else(|| {
            let (today, nobody) = (today(config, now), Holidays::default());
            let sources = Sources {
                timetable: &config.timetable,
                ical: &[],
                holidays: &nobody,
                vendor: &config.site.vendor,
                vendor_holidays: &nobody,
                zone: config.site.locale.timezone,
            };
            Arc::new(build(sources, today..today))
        })
    }

    /// Has everything read anew, beside the loop; what an earlier reading finds is not taken any more.
    pub(super) fn read(&mut self, config: &Config, state: &Path, all: bool, now: DateTime<Utc>) {
        self.hours.send_if_modified(|hours| {
            if *hours.look != config.occupied {
                hours.look = Arc::new(config.occupied.clone());
            }
            std::mem::replace(&mut hours.margin, margin(config)) != margin(config)
        });
        self.readings += 1;
        let (number, results) = (self.readings, self.results.clone());
        let (config, state) = (config.clone(), state.to_owned());
        self.reading = Some(tokio::task::spawn_blocking(move || {
            // With timers of its own: those of the loop may end before a slow address has answered.
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return tracing::error!(%error, "lessons could not be read"),
            };
            let dates = timetable::usual_dates(&config, now);
            runtime.block_on(async {
                tokio::select! {
                    read = timetable::read(&config, &state, dates, all, now) => {
                        // The loop is gone only when the daemon ends.
                        let _ended = results.send((number, read)).await;
                    }
                    () = results.closed() => {}
                }
            });
        }));
    }

    /// Reads anew if it is time to, or another day.
    pub(super) fn refresh(&mut self, config: &Config, state: &Path, now: DateTime<Utc>) {
        let due = now >= self.refresh_at || self.date != Some(today(config, now));
        if due && self.reading.as_ref().is_none_or(JoinHandle::is_finished) {
            self.read(config, state, false, now);
        }
    }

    /// It is quiet until then, or not. Probes that run ask again whether they may.
    pub(super) fn quiet(&mut self, until: Option<DateTime<Utc>>) {
        self.hours.send_modify(|hours| hours.quiet_until = until);
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, (number, read): Read, config: &Config, now: DateTime<Utc>) {
        if number != self.readings {
            return;
        }
        self.reading = None;
        for note in read.notes.iter().filter(|note| !self.notes.contains(note)) {
            tracing::warn!(source = note.source, line = note.line, "{}", note.message);
        }
        (self.sources, self.covered_until, self.notes) = (read.sources, read.covered_until, read.notes);
        (self.refresh_at, self.date) = (read.refresh_at.min(now + REREAD), Some(today(config, now)));
        self.hours.send_modify(|hours| hours.calendar = Some(read.calendar));
    }

    /// Has probes that run ask again whether they may go on: time has passed.
    pub(super) fn beat(&mut self, now: DateTime<Utc>) {
        self.ahead.retain(|_, lesson| now < *lesson);
        self.hours.send_modify(|_| {});
    }

    /// The start of a lesson that must be looked ahead of now, by runs that take no longer than `longest`.
    pub(super) fn look_ahead(
        &mut self,
        config: &Config,
        longest: TimeDelta,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let Hours { calendar, margin, .. } = self.hours.borrow().clone();
        let timetable = &config.timetable;
        let (ahead, long_break) = (span(timetable.look_ahead.0), span(timetable.long_break.0));
        let rule = LookAhead { ahead, long_break, margin, longest };
        // Until lessons are known nothing was examined.
        let calendar = calendar?;
        let (lesson, examined) = look_ahead::look_ahead(&calendar, rule, self.examined, now);
        self.examined = examined;
        lesson.map(|lesson| lesson.start)
    }

    /// The next run of the probe is part of a look ahead.
    pub(super) fn is_ahead(&mut self, probe: &str, lesson: DateTime<Utc>) {
        self.ahead.insert(probe.to_owned(), lesson);
    }

    /// The lesson of which these runs were a look ahead.
    pub(super) fn was_ahead<'p>(&mut self, probes: impl Iterator<Item = &'p str>) -> Option<DateTime<Utc>> {
        probes.filter_map(|probe| self.ahead.remove(probe)).max()
    }

    /// Lessons of this day and the next, begin and end.
    pub(super) fn lessons_near(&self, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let hours = self.hours.borrow();
        let Some(calendar) = &hours.calendar else { return Vec::new() };
        calendar.lessons(now..now + TimeDelta::days(2)).map(|lesson| (lesson.start, lesson.end)).collect()
    }

    /// All of it, as the exporter takes it.
    pub(super) fn exported(&self) -> export::Hours {
        let Hours { calendar, margin, quiet_until, .. } = self.hours.borrow().clone();
        let sources = self.sources.iter().map(|source| (source.component.clone(), source.read_at)).collect();
        export::Hours { calendar, margin, sources, covered_until: self.covered_until, quiet_until }
    }
}

fn margin(config: &Config) -> TimeDelta {
    span(config.timetable.margin.0)
}

fn today(config: &Config, now: DateTime<Utc>) -> NaiveDate {
    zone::date(config.site.locale.timezone, now)
}

/// A length of time as instants are moved by; one that is too long for that moves them out of sight.
pub(super) fn span(time: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX)
}
