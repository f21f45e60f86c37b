//! When the room is taught in, when somebody may come, and how sure that is.
//!
//! ```text
//! config     [timetable], [holidays]: what a school writes
//! table      terms, bells and lessons of the config → lessons of one date        pure
//! ical       an iCalendar text → events within a span                           pure
//! holidays   days off and make-up days, by year, with their source               pure
//! vendor     when the vendor works                                              pure
//! build      all of the above → Calendar                                        pure
//! zone       wall clock ↔ instants                                               pure
//! ```
//!
//! A [`Calendar`] is built for a span of days and then only looked up: every edge in it was a local
//! time on a date, turned into an instant once. What is not known to be free counts as taken.

pub mod build;
pub mod config;
pub mod holidays;
pub mod ical;
pub mod table;
pub mod vendor;
pub mod zone;

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use serde::Serialize;

use crate::booking::Window;

/// A stretch of time in which the room is taken, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Its start.
    pub start: DateTime<Utc>,
    /// Its end; after its start.
    pub end: DateTime<Utc>,
    /// What is taught, as the school writes it; may be empty.
    pub title: Arc<str>,
    /// Why the room is taken.
    pub taken: Taken,
    /// Where it stands in the compact table; `None` for an event of an iCalendar file.
    pub place: Option<Place>,
}

/// Why a room is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// A lesson of the timetable.
    Lesson,
    /// An exam week: taken from the first bell to the last.
    Exam,
    /// A make-up working day of which nobody said which plan it follows: taken from the first bell to
    /// the last.
    MakeUp,
    /// A weekend day in a term, of a year without data: it may be a make-up day.
    Possible,
}

/// Where a lesson stands in the compact table: 第N周 星期X 第N节.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Week of the term, from 1.
    pub week: u32,
    /// The weekday whose plan is followed.
    pub weekday: Weekday,
    /// First period, from 1.
    pub first: u32,
    /// Last period.
    pub last: u32,
}

/// How sure an answer is. The worst of what applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Timetable and holidays of the day are known.
    Known,
    /// No timetable is configured: nothing is known of lessons.
    NoTimetable,
    /// There is no data of holidays and make-up days for this date yet.
    UnknownYear,
    /// The timetable could not be refreshed for longer than `stale_after`; the last good one is used.
    Stale,
    /// A timetable is configured and cannot be read, nor was it ever, or the date is beyond what was
    /// looked at: nothing is free.
    Unreadable,
}

/// What the school does on a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// The date, in the school's zone.
    pub date: NaiveDate,
    /// Whether it is taught, and why not.
    pub kind: DayKind,
    /// Name of the holiday, the break or the override's reason; empty if there is none.
    pub name: Arc<str>,
    /// Week of the term, from 1, if the date lies in one.
    pub week: Option<u32>,
    /// The week and the weekday whose plan is followed, where that is not the day's own.
    pub follows: Option<(u32, Weekday)>,
    /// Whether there is data of holidays for the date; `true` where no country's holidays are followed.
    pub known: bool,
}

/// Whether a day is taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayKind {
    /// A usual day: its lessons are those of the timetable.
    Teaching,
    /// A working day on a weekend, in exchange for a day off.
    MakeUp,
    /// A week of exams.
    Exams,
    /// Saturday or Sunday without lessons.
    Weekend,
    /// A day off, national or the school's.
    Holiday,
    /// Outside of all terms, or in a break within one.
    Break,
}

/// What the room is doing at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomState<'c> {
    /// Taken, by this lesson; the one that ends last if there are several.
    Lesson(&'c Lesson),
    /// Free, and the next lesson begins within the margin asked for.
    Soon(&'c Lesson),
    /// Free, and somebody can be there; `next` is the next lesson, if any is known.
    Free {
        /// The next lesson.
        next: Option<&'c Lesson>,
    },
    /// Free of lessons, and the building is closed: at night, on days off.
    Closed {
        /// The next lesson.
        next: Option<&'c Lesson>,
    },
    /// Nobody knows: to be treated as taken.
    Unknown,
}

/// The answer of [`Calendar::at`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment<'c> {
    /// The room.
    pub room: RoomState<'c>,
    /// Whether the vendor is at work.
    pub vendor: bool,
    /// How sure that is.
    pub certainty: Certainty,
}

/// Everything known of a span of days. Cheap to look up, rebuilt when anything it rests on changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    /// The school's zone.
    zone: Tz,
    /// The dates that were looked at, in the school's zone.
    dates: Range<NaiveDate>,
    /// The same as instants.
    known: Range<DateTime<Utc>>,
    /// By start; they may overlap.
    lessons: Vec<Lesson>,
    /// For each lesson, which one ends last of it and all before it.
    reach: Vec<usize>,
    /// One for each of `dates`.
    days: Vec<Day>,
    /// When the building is open, by start; they do not overlap.
    open: Vec<Window>,
    /// When the vendor works, by start, without overlap; each with whether its date is known.
    vendor: Vec<(Window, bool)>,
    /// The worst that holds for all dates: `Known`, `NoTimetable`, `Stale` or `Unreadable`.
    timetable: Certainty,
}

impl Calendar {
    /// A calendar of `dates`, of lessons in any order, and of windows that do not overlap.
    pub(crate) fn new(
        zone: Tz,
        dates: Range<NaiveDate>,
        mut lessons: Vec<Lesson>,
        days: Vec<Day>,
        mut open: Vec<Window>,
        mut vendor: Vec<(Window, bool)>,
        timetable: Certainty,
    ) -> Self {
        lessons.sort_by(|a, b| (a.start, a.end, &a.title, a.taken).cmp(&(b.start, b.end, &b.title, b.taken)));
        open.sort_by_key(|window| window.start);
        vendor.sort_by_key(|(window, _)| window.start);
        let mut last = 0;
        let later = |(index, lesson): (usize, &Lesson)| {
            if lessons.get(last).is_some_and(|before| lesson.end > before.end) {
                last = index;
            }
            last
        };
        let reach = lessons.iter().enumerate().map(later).collect();
        let edge = |date, beyond| zone::midnight(zone, date).unwrap_or(beyond);
        let known = edge(dates.start, DateTime::<Utc>::MAX_UTC)..edge(dates.end, DateTime::<Utc>::MAX_UTC);
        Self { zone, dates, known, lessons, reach, days, open, vendor, timetable }
    }

    /// What is known of an instant. A room whose next lesson begins within `margin` is [`RoomState::Soon`].
    pub fn at(&self, now: DateTime<Utc>, margin: TimeDelta) -> Moment<'_> {
        let certainty = self.certainty(now);
        let vendor = self.vendor(now..after(now)).next().is_some();
        let room = if certainty == Certainty::Unreadable {
            RoomState::Unknown
        } else if let Some(lesson) = self.lesson_at(now) {
            RoomState::Lesson(lesson)
        } else {
            let next = self.next_lesson(now);
            let soon = now.checked_add_signed(margin).unwrap_or(DateTime::<Utc>::MAX_UTC);
            match next {
                Some(lesson) if lesson.start <= soon => RoomState::Soon(lesson),
                _ if self.open(now..after(now)).next().is_some() => RoomState::Free { next },
                _ => RoomState::Closed { next },
            }
        };
        Moment { room, vendor, certainty }
    }

    /// How sure an answer for this instant is.
    pub fn certainty(&self, now: DateTime<Utc>) -> Certainty {
        match self.day(zone::date(self.zone, now)) {
            Some(day) if day.known => self.timetable,
            Some(_) => self.timetable.max(Certainty::UnknownYear),
            None => Certainty::Unreadable,
        }
    }

    /// What holds for all dates: `Known`, `NoTimetable`, `Stale` or `Unreadable`.
    pub fn timetable(&self) -> Certainty {
        self.timetable
    }

    /// The lesson that the instant lies in; the one that ends last if there are several.
    pub fn lesson_at(&self, now: DateTime<Utc>) -> Option<&Lesson> {
        self.last_before(after(now)).filter(|lesson| lesson.end > now)
    }

    /// Of the lessons that begin before an instant, the one that ends last: nothing before it reaches
    /// further.
    pub fn last_before(&self, at: DateTime<Utc>) -> Option<&Lesson> {
        let count = self.lessons.partition_point(|lesson| lesson.start < at);
        self.reached(count.checked_sub(1)?)
    }

    /// The first lesson that begins after an instant.
    pub fn next_lesson(&self, after: DateTime<Utc>) -> Option<&Lesson> {
        self.lessons.get(self.lessons.partition_point(|lesson| lesson.start <= after))
    }

    /// The first lesson that begins on a date of the school.
    pub fn first_lesson(&self, date: NaiveDate) -> Option<&Lesson> {
        let midnight = zone::midnight(self.zone, date)?;
        let first = self.lessons.get(self.lessons.partition_point(|lesson| lesson.start < midnight))?;
        (zone::date(self.zone, first.start) == date).then_some(first)
    }

    /// Lessons that touch the span, by start.
    pub fn lessons(&self, span: Range<DateTime<Utc>>) -> impl Iterator<Item = &Lesson> {
        // What ends last among the first of them only grows, so all before the first reach are over.
        let over = |&last: &usize| self.lessons.get(last).is_some_and(|lesson| lesson.end <= span.start);
        let from = self.reach.partition_point(over);
        let to = self.lessons.partition_point(|lesson| lesson.start < span.end);
        let touching = self.lessons.get(from..to).unwrap_or_default().iter();
        touching.filter(move |lesson| lesson.end > span.start)
    }

    /// A date of the school; `None` beyond what was looked at.
    pub fn day(&self, date: NaiveDate) -> Option<&Day> {
        let day = usize::try_from((date - self.dates.start).num_days()).ok()?;
        self.days.get(day)
    }

    /// All dates that were looked at.
    pub fn days(&self) -> &[Day] {
        &self.days
    }

    /// When the building is open within the span, by start; windows that touch it are not cut.
    pub fn open(&self, span: Range<DateTime<Utc>>) -> impl Iterator<Item = Window> {
        let from = self.open.partition_point(|window| window.end <= span.start);
        let windows = self.open.get(from..).unwrap_or_default().iter().copied();
        windows.take_while(move |window| window.start < span.end)
    }

    /// When the vendor works within the span, by start, and whether the date is known; windows that
    /// touch the span are not cut.
    pub fn vendor(&self, span: Range<DateTime<Utc>>) -> impl Iterator<Item = (Window, bool)> {
        let from = self.vendor.partition_point(|(window, _)| window.end <= span.start);
        let windows = self.vendor.get(from..).unwrap_or_default().iter().copied();
        windows.take_while(move |(window, _)| window.start < span.end)
    }

    /// The school's zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The dates that were looked at.
    pub fn dates(&self) -> Range<NaiveDate> {
        self.dates.clone()
    }

    /// A calendar of the parts that it looks up, in any order, without overlaps in `open` and `vendor`:
    /// for tests that know no school.
    pub fn of_parts(
        zone: Tz,
        mut days: Vec<Day>,
        lessons: Vec<Lesson>,
        open: Vec<Window>,
        vendor: Vec<(Window, bool)>,
        timetable: Certainty,
    ) -> Self {
        days.sort_by_key(|day| day.date);
        let first = days.first().map_or(NaiveDate::MIN, |day| day.date);
        let end = days.last().and_then(|day| day.date.succ_opt()).unwrap_or(first);
        Self::new(zone, first..end, lessons, days, open, vendor, timetable)
    }

    /// The instants of the dates that were looked at; nothing is known beyond them.
    pub fn known(&self) -> Range<DateTime<Utc>> {
        self.known.clone()
    }

    /// All lessons, by start.
    pub(crate) fn all(&self) -> &[Lesson] {
        &self.lessons
    }

    /// Of the lessons up to this one, the one that ends last.
    pub(crate) fn reached(&self, index: usize) -> Option<&Lesson> {
        self.lessons.get(*self.reach.get(index)?)
    }
}

/// The next instant that can be told from this one.
fn after(at: DateTime<Utc>) -> DateTime<Utc> {
    at.checked_add_signed(TimeDelta::nanoseconds(1)).unwrap_or(at)
}

#[cfg(test)]
pub(crate) mod tests;
