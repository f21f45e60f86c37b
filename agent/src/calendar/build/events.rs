//! Events of iCalendar files → lessons, with the school's overrides applied.
//!
//! An event of whole days takes the room, whatever its title: what is not known to be free is taken.
//! One without a length takes a minute, so that a margin is kept around it.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::Range,
};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Sources, model, special};
use crate::calendar::{
    Lesson, Taken,
    config::Runs,
    ical::{self, Event},
    zone,
};

/// A school whose overrides follow more dates than this beyond the span gets no calendar: each takes as
/// long as the span itself.
const MAX_BEYOND: usize = 100;

/// The lessons of all iCalendar sources.
#[derive(Default)]
pub(super) struct Events {
    /// In no order.
    pub(super) lessons: Vec<Lesson>,
    /// The dates of the school on which one begins that has a time of day.
    pub(super) timed: HashSet<NaiveDate>,
}

/// The lessons of these dates; `None` if a source cannot be read.
pub(super) fn events(sources: Sources<'_>, dates: &Range<NaiveDate>) -> Option<Events> {
    let Sources { timetable, zone, .. } = sources;
    if sources.ical.len() < timetable.ical.len() {
        return None;
    }
    let all = || dates.start.iter_days().take_while(|date| *date < dates.end);
    let events = expand(sources, dates)?;
    let mut found = Events::default();
    for event in &events {
        for (start, end) in kept(sources, dates, event) {
            found.push(zone, event, start, end);
        }
    }
    // What other dates follow mostly lies within the span; the rest is asked for one by one.
    let mut beyond = HashMap::new();
    for (date, model) in all().filter_map(|date| Some((date, model(timetable, special(timetable, date)?, date)?))) {
        let count = beyond.len();
        let followed = if dates.contains(&model) {
            &events
        } else {
            match beyond.entry(model) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(_) if count >= MAX_BEYOND => return None,
                Entry::Vacant(entry) => entry.insert(expand(sources, &(model..model.succ_opt()?))?),
            }
        };
        let (start, end) = (zone::midnight(zone, model)?, zone::midnight(zone, model.succ_opt()?)?);
        for event in followed.iter().filter(|event| event.start < end && start <= event.end) {
            if let Some((start, end)) = moved(zone, event, model, date) {
                found.push(zone, event, start, end);
            }
        }
    }
    Some(found)
}

impl Events {
    fn push(&mut self, zone: Tz, event: &Event, start: DateTime<Utc>, end: DateTime<Utc>) {
        let least = start.checked_add_signed(TimeDelta::minutes(1)).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let end = if start < end { end } else { least };
        if !event.all_day {
            self.timed.insert(zone::date(zone, start));
        }
        let title = event.summary.clone();
        self.lessons.push(Lesson { start, end, title, taken: Taken::Lesson, place: None });
    }
}

/// The events of all sources that touch the dates; `None` if a source cannot be read.
fn expand(sources: Sources<'_>, dates: &Range<NaiveDate>) -> Option<Vec<Event>> {
    let span = zone::midnight(sources.zone, dates.start)?..zone::midnight(sources.zone, dates.end)?;
    let mut events = Vec::new();
    for source in sources.ical {
        let text = source.text.as_ref()?;
        events.extend(ical::expand(&**text, sources.zone, span.clone()).ok()?.events);
    }
    Some(events)
}

/// Whether an override does away with a date's own events.
fn is_dropped(sources: Sources<'_>, date: NaiveDate) -> bool {
    special(sources.timetable, date)
        .is_some_and(|special| special.runs == Runs::NoLessons || model(sources.timetable, special, date).is_some())
}

/// Whether an event belongs to each date that it touches, and not to the one that it begins on.
fn is_long(event: &Event) -> bool {
    event.all_day || event.end - event.start > TimeDelta::days(1)
}

/// What is left of an event after the overrides of the dates it belongs to.
fn kept(sources: Sources<'_>, dates: &Range<NaiveDate>, event: &Event) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let zone = sources.zone;
    let first = zone::date(zone, event.start);
    if !is_long(event) {
        return if is_dropped(sources, first) { Vec::new() } else { vec![(event.start, event.end)] };
    }
    let (mut parts, mut from) = (Vec::new(), event.start);
    let days = first.max(dates.start).iter_days().take_while(|date| *date < dates.end);
    let edges = |date: NaiveDate| Some((zone::midnight(zone, date)?, zone::midnight(zone, date.succ_opt()?)?));
    for (date, (start, end)) in days.filter_map(|date| Some((date, edges(date)?))) {
        if start >= event.end {
            break;
        }
        if is_dropped(sources, date) {
            parts.push((from, start));
            from = end;
        }
    }
    parts.push((from, event.end));
    parts.retain(|(start, end)| start < end || (event.start == event.end && start == end));
    parts
}

/// An event of the date `model` as it stands on the wall clock of `date`; `None` if it is none of it.
fn moved(zone: Tz, event: &Event, model: NaiveDate, date: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let (mut start, mut end) = (zone::local(zone, event.start), zone::local(zone, event.end));
    if is_long(event) {
        let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN);
        start = start.max(midnight(model));
        end = end.min(midnight(model.succ_opt()?));
        if start >= end {
            return None;
        }
    } else if start.date() != model {
        return None;
    }
    // Over a change of the clocks an event may seem to end before it starts.
    let length = if end < start { event.end - event.start } else { end - start };
    let there: NaiveDateTime = start.checked_add_signed(date - model)?;
    let (start, end) = (zone::instant(zone, there)?, zone::instant(zone, there.checked_add_signed(length)?)?);
    // What would lie wholly in a gap of the clocks is not there.
    (start < end || length.is_zero()).then_some((start, end))
}
