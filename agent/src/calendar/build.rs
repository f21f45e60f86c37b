//! Timetable, holidays and vendor → [`Calendar`]. Pure.
//!
//! What a date runs: the school's override beats the country's holidays, and these beat the weekday;
//! all within the terms, if there are any. Without an override
//!
//! - a day off has no lessons of the table. Events of an iCalendar file stay: a file is explicit;
//! - a make-up working day is taken from the first bell to the last, since schools differ in whose plan
//!   they follow, unless an iCalendar file has events for it: those are believed;
//! - outside of all terms, and in their breaks, there are no lessons of the table;
//! - a weekend day in a term, of a year without data, may be a make-up day and counts as taken;
//! - where nobody wrote down the bells, "from the first bell to the last" is from `open` to `close`,
//!   but for such a weekend day, which is then believed to be one.
//!
//! The building is open on working days: days with lessons, and weekdays and make-up days of breaks.
//! Without a timetable it is open every day; with one that cannot be read, no hour is offered.

mod events;

use std::{ops::Range, sync::Arc};

use chrono::{Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;

use super::{
    Calendar, Certainty, Day, DayKind, Lesson, Place, Taken,
    config::{Override, Runs, Term, Timetable},
    holidays::{Holidays, National},
    table::Planned,
    vendor, zone,
};
use crate::{booking::Window, site::Vendor};

/// No calendar is longer, whoever asks for it: what lies beyond is unknown.
const MAX_DAYS: i64 = 4000;

/// One iCalendar source, as it was last read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its file or address.
    pub name: String,
    /// The last good text; `None` if there never was one.
    pub text: Option<Arc<[u8]>>,
    /// Whether that text is older than it may be.
    pub stale: bool,
}

/// What a calendar is built from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'s> {
    /// `[timetable]`.
    pub timetable: &'s Timetable,
    /// One for each of `timetable.ical`, in that order.
    pub ical: &'s [Source],
    /// Days off.
    pub holidays: &'s Holidays,
    /// The vendor's hours, in a zone of its own or the school's.
    pub vendor: &'s Vendor,
    /// The days that the vendor has off.
    pub vendor_holidays: &'s Holidays,
    /// The school's zone.
    pub zone: Tz,
}

impl Sources<'_> {
    /// Whether there is any source of lessons.
    fn configured(&self) -> bool {
        self.timetable.configured() || !self.ical.is_empty()
    }
}

/// The calendar of these dates of the school; no more than some ten years of them.
pub fn build(sources: Sources<'_>, dates: Range<NaiveDate>) -> Calendar {
    let Sources { timetable, zone, .. } = sources;
    let most = dates.start.checked_add_signed(TimeDelta::days(MAX_DAYS)).unwrap_or(NaiveDate::MAX);
    let dates = dates.start..dates.end.min(most);
    let events = events::events(sources, &dates);
    let known = match &events {
        _ if !sources.configured() => Certainty::NoTimetable,
        None => Certainty::Unreadable,
        Some(_) if sources.ical.iter().any(|source| source.stale) => Certainty::Stale,
        Some(_) => Certainty::Known,
    };
    let events = events.unwrap_or_default();
    let mut lessons = events.lessons;
    let (mut days, mut open) = (Vec::new(), Vec::new());
    for date in dates.start.iter_days().take_while(|date| *date < dates.end) {
        let (day, planned) = day(sources, date, events.timed.contains(&date));
        let hours = match known {
            Certainty::Unreadable => false,
            Certainty::NoTimetable => true,
            _ => is_open(sources, &day, events.timed.contains(&date)),
        };
        if hours {
            open.extend(zone::window(zone, date, timetable.open, timetable.close));
        }
        days.push(day);
        lessons.extend(planned);
    }
    lessons.sort_by(|a, b| identity(a).cmp(&identity(b)));
    lessons.dedup_by(|a, b| (a.start, a.end, &a.title) == (b.start, b.end, &b.title));
    let vendor = vendor::windows(sources.vendor, dates.clone(), zone, sources.vendor_holidays);
    Calendar::new(zone, dates, lessons, days, open, vendor, known)
}

/// What makes two lessons one; of those that are, the one with a place in the table comes first.
fn identity(lesson: &Lesson) -> impl Ord {
    (lesson.start, lesson.end, lesson.title.clone(), lesson.place.is_none(), lesson.taken)
}

/// The week and the weekday of a term whose plan is run.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Plan {
    term: usize,
    week: u32,
    weekday: Weekday,
}

/// What a date is, and its lessons by the table. `timed`: whether an iCalendar event begins on it.
fn day(sources: Sources<'_>, date: NaiveDate, timed: bool) -> (Day, Vec<Lesson>) {
    let table = sources.timetable;
    let national = sources.holidays.of(date);
    let place = table.in_term(date);
    let own = place.map(|place| Plan { term: place.term, week: place.week, weekday: date.weekday() });
    let day = |kind, name: &str| Day {
        date,
        kind,
        name: name.into(),
        week: place.map(|place| place.week),
        follows: None,
        known: national != National::Unknown,
    };
    if let Some(special) = special(table, date) {
        let (kind, follows, lessons) = overridden(sources, special, date, own, timed);
        let follows = follows.filter(|plan| Some(*plan) != own).map(|plan| (plan.week, plan.weekday));
        return (Day { follows, known: true, ..day(kind, &special.reason) }, lessons);
    }
    let taught = place.map_or(table.term.is_empty(), |place| !place.in_break);
    let exams = place.is_some_and(|place| place.exams);
    let lessons = || own.map(|plan| run(sources, plan, date)).unwrap_or_default();
    let all_day = |taken| Vec::from_iter(block(sources, date, taken));
    match &national {
        National::Off(name) => (day(DayKind::Holiday, name), Vec::new()),
        National::MakeUp(name) if !taught => (day(DayKind::Break, name), Vec::new()),
        National::MakeUp(name) => {
            let lessons = if !sources.configured() {
                Vec::new()
            } else if exams {
                all_day(Taken::Exam)
            } else if timed {
                lessons()
            } else {
                all_day(Taken::MakeUp)
            };
            (day(DayKind::MakeUp, name), lessons)
        }
        National::Plain | National::Unknown if !taught => (day(DayKind::Break, ""), Vec::new()),
        National::Plain | National::Unknown if !is_weekend(date.weekday()) => {
            (day(if exams { DayKind::Exams } else { DayKind::Teaching }, ""), lessons())
        }
        National::Plain | National::Unknown => {
            let mut lessons = lessons();
            let kind = if timed || !lessons.is_empty() { DayKind::Teaching } else { DayKind::Weekend };
            if national == National::Unknown && sources.configured() && table.bells(date).is_some() {
                lessons.extend(block(sources, date, Taken::Possible));
            }
            (day(kind, ""), lessons)
        }
    }
}

/// What an override makes of a date: what it is, the plan it follows, its lessons by the table.
fn overridden(
    sources: Sources<'_>,
    special: &Override,
    date: NaiveDate,
    own: Option<Plan>,
    timed: bool,
) -> (DayKind, Option<Plan>, Vec<Lesson>) {
    if special.runs == Runs::NoLessons {
        return (DayKind::Holiday, None, Vec::new());
    }
    let table = sources.timetable;
    let plan = if special.runs == Runs::Lessons { own } else { followed(table, special, date, own) };
    let mut lessons = plan.map(|plan| run(sources, plan, date)).unwrap_or_default();
    // There are lessons, and nobody said which: a plan that is not there, or the empty one of a weekend.
    let said = match special.runs {
        Runs::Lessons => timed || !lessons.is_empty() || !is_weekend(date.weekday()),
        _ => plan.is_some() || (!sources.ical.is_empty() && model(table, special, date).is_some()),
    };
    if !said && sources.configured() {
        lessons.extend(block(sources, date, Taken::MakeUp));
    }
    let kind = match plan {
        _ if is_weekend(date.weekday()) => DayKind::MakeUp,
        Some(plan) if plan_is_exams(table, plan) => DayKind::Exams,
        _ => DayKind::Teaching,
    };
    (kind, plan, lessons)
}

/// The override of a date.
fn special(table: &Timetable, date: NaiveDate) -> Option<&Override> {
    let holds = |special: &&Override| special.dates.from <= date && date <= special.dates.to;
    table.overrides.iter().rev().find(holds)
}

/// The plan that an override names.
fn followed(table: &Timetable, special: &Override, date: NaiveDate, own: Option<Plan>) -> Option<Plan> {
    match special.runs {
        Runs::NoLessons | Runs::Lessons => None,
        Runs::Weekday(weekday) => Some(Plan { weekday, ..own? }),
        Runs::Plan { week, weekday } => {
            let term = term_of(table, date)?;
            (week <= table.term.get(term)?.weeks).then_some(Plan { term, week, weekday })
        }
        Runs::Date(model) => {
            let place = table.in_term(model)?;
            Some(Plan { term: place.term, week: place.week, weekday: model.weekday() })
        }
    }
}

/// The date whose plan an override names.
fn model(table: &Timetable, special: &Override, date: NaiveDate) -> Option<NaiveDate> {
    match special.runs {
        Runs::NoLessons | Runs::Lessons => None,
        Runs::Weekday(weekday) => {
            let monday = date.week(Weekday::Mon).checked_first_day()?;
            monday.checked_add_days(Days::new(u64::from(weekday.num_days_from_monday())))
        }
        Runs::Plan { week, weekday } => {
            let term = table.term.get(term_of(table, date)?)?;
            if week > term.weeks { None } else { term.date(week, weekday) }
        }
        Runs::Date(model) => Some(model),
    }
}

/// The term that holds a date; else the last that began before it, else the first to come.
fn term_of(table: &Timetable, date: NaiveDate) -> Option<usize> {
    let terms = || table.term.iter().enumerate().map(|(index, term)| (term.first_day, index));
    let begun = || terms().filter(|(first, _)| *first <= date).max();
    let index = || Some(begun().or_else(|| terms().min())?.1);
    table.in_term(date).map(|place| place.term).or_else(index)
}

/// The lessons of a date that runs a plan, at its own bells.
fn run(sources: Sources<'_>, plan: Plan, date: NaiveDate) -> Vec<Lesson> {
    let Sources { timetable: table, zone, .. } = sources;
    if plan_is_exams(table, plan) && !is_weekend(plan.weekday) {
        return Vec::from_iter(block(sources, date, Taken::Exam));
    }
    let Plan { term, week, weekday } = plan;
    let held = |term: &Term| term.lessons.iter().any(|lesson| lesson.weekday == weekday && term.held(lesson, week));
    if table.bells(date).is_none() && table.term.get(term).is_some_and(held) {
        // A plan of another season: when its lessons are held, nobody said.
        return Vec::from_iter(block(sources, date, Taken::MakeUp));
    }
    let lesson = |planned: Planned| {
        let times = (planned.start, planned.end);
        lesson(zone, date, times, planned.title.into(), Taken::Lesson, Some(planned.place))
    };
    table.plan(term, week, weekday, date).into_iter().filter_map(lesson).collect()
}

fn plan_is_exams(table: &Timetable, plan: Plan) -> bool {
    table.term.get(plan.term).is_some_and(|term| term.exams(plan.week))
}

/// From the first bell of a date to the last; where nobody wrote bells down, from `open` to `close`.
fn block(sources: Sources<'_>, date: NaiveDate, taken: Taken) -> Option<Lesson> {
    let times = sources.timetable.bells(date).unwrap_or((sources.timetable.open, sources.timetable.close));
    lesson(sources.zone, date, times, Arc::default(), taken, None)
}

fn lesson(
    zone: Tz,
    date: NaiveDate,
    (from, to): (NaiveTime, NaiveTime),
    title: Arc<str>,
    taken: Taken,
    place: Option<Place>,
) -> Option<Lesson> {
    let Window { start, end } = zone::window(zone, date, from, to)?;
    Some(Lesson { start, end, title, taken, place })
}

/// Whether somebody can be in the building on a date.
fn is_open(sources: Sources<'_>, day: &Day, timed: bool) -> bool {
    match day.kind {
        DayKind::Teaching | DayKind::MakeUp | DayKind::Exams => true,
        DayKind::Weekend | DayKind::Holiday => false,
        DayKind::Break => {
            let made_up = || matches!(sources.holidays.of(day.date), National::MakeUp(_));
            timed || !is_weekend(day.date.weekday()) || made_up()
        }
    }
}

fn is_weekend(weekday: Weekday) -> bool {
    matches!(weekday, Weekday::Sat | Weekday::Sun)
}

#[cfg(test)]
mod tests;
