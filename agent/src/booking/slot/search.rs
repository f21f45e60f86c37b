//! Which visits fit, and which of them is best.

use std::{collections::BTreeMap, ops::Range};

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike, Utc, Weekday,
};
use chrono_tz::Tz;

use super::{
    BEFORE_LESSON_COST, BUFFER, DAYS, LOAD_COST, Mark, OFFERS, Offer, PROVISIONAL_COST, Reason, Request, Window,
    free::Stretches,
};
use crate::calendar::{Calendar, Certainty, DayKind, Lesson, zone};

/// Appointments start at full quarters of an hour: people make them.
pub(super) const QUARTER: i64 = 15 * 60;

/// All that a search rests on, put in order once.
pub(super) struct Ground<'r> {
    calendar: &'r Calendar,
    request: Request<'r>,
    zone: Tz,
    pub(super) now: i64,
    /// Dates of the calendar with their first second and the first after them.
    pub(super) days: Vec<(NaiveDate, Range<i64>)>,
    pub(super) vendor: Stretches,
    pub(super) open: Stretches,
    /// Dates without any hours, at the hours of a working day.
    vendor_off: Stretches,
    open_off: Stretches,
    /// Lessons with their buffer, windows that are taken, dates that are full.
    blocked: Stretches,
    /// Dates without data of holidays.
    unknown: Stretches,
    /// By start.
    lessons: Vec<&'r Lesson>,
}

/// What is asked of a visit beside what never gives way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    /// No part starts before this.
    pub(super) not_before: i64,
    /// All parts are over by the end of this date.
    pub(super) latest: NaiveDate,
    /// Whether days off count as working days.
    pub(super) days_off: bool,
    /// How long the vendor works before and after its hours, in seconds.
    pub(super) extra: i64,
    /// How long one part takes, in seconds.
    pub(super) part: i64,
    /// How many parts there are.
    pub(super) parts: usize,
}

/// The latest date that is asked for.
pub(super) fn latest(calendar: &Calendar, request: &Request<'_>) -> NaiveDate {
    let today = zone::date(calendar.zone(), request.now);
    request.latest.or_else(|| today.checked_add_days(Days::new(DAYS - 1))).unwrap_or(NaiveDate::MAX)
}

/// Whether the hours hold the window and no lesson is near.
pub(super) fn possible(calendar: &Calendar, window: Window) -> bool {
    let span = window.start.timestamp()..window.end.timestamp();
    let around = window.start - TimeDelta::days(1)..window.end + TimeDelta::days(1);
    let vendor = Stretches::new(calendar.vendor(around.clone()).map(|(window, _)| seconds(window)));
    let open = Stretches::new(calendar.open(around.clone()).map(seconds));
    let lessons = Stretches::new(calendar.lessons(around).map(|lesson| widened(lesson, BUFFER.num_seconds())));
    vendor.holding(&span).is_some() && open.holding(&span).is_some() && !lessons.touches(&span)
}

impl<'r> Ground<'r> {
    pub(super) fn new(calendar: &'r Calendar, request: Request<'r>) -> Self {
        let zone = calendar.zone();
        let begin = |date: NaiveDate| zone::midnight(zone, date).map(|at| at.timestamp());
        let dates = calendar.dates();
        let days: Vec<_> = dates
            .start
            .iter_days()
            .take_while(|date| *date < dates.end)
            .filter_map(|date| Some((date, begin(date)?..begin(date.succ_opt()?)?)))
            .collect();
        let span = |days: &[(NaiveDate, Range<i64>)]| {
            let at = |seconds: Option<i64>| DateTime::from_timestamp(seconds?, 0);
            let first = at(days.first().map(|(_, span)| span.start)).unwrap_or_default();
            let end = at(days.last().map(|(_, span)| span.end)).unwrap_or_default();
            first..end
        };
        let span = span(&days);

        let vendor: Vec<(Window, bool)> = calendar.vendor(span.clone()).collect();
        let open: Vec<Window> = calendar.open(span.clone()).collect();
        let day = TimeDelta::days(1);
        let lessons: Vec<&Lesson> = calendar.lessons(span.start - day..span.end + day).collect();

        let buffer = request.buffer.num_seconds().max(0);
        let full = |date: NaiveDate| {
            let booked =
                |capacity: super::Capacity<'_>| capacity.booked.get(&date).copied().unwrap_or(0) >= capacity.per_day;
            request.capacity.is_some_and(booked)
        };
        let blocked = lessons
            .iter()
            .map(|lesson| widened(lesson, buffer))
            .chain(request.taken.iter().copied().map(seconds))
            .chain(days.iter().filter(|(date, _)| full(*date)).map(|(_, span)| span.clone()));
        let known = |date: NaiveDate| calendar.day(date).is_some_and(|day| day.known);
        let unknown = days
            .iter()
            .filter(|(date, _)| !known(*date))
            .map(|(_, span)| span.clone())
            .chain(vendor.iter().filter(|(_, known)| !known).map(|(window, _)| seconds(*window)));

        Self {
            calendar,
            zone,
            now: ceil(request.now),
            vendor: Stretches::new(vendor.iter().map(|(window, _)| seconds(*window))),
            open: Stretches::new(open.iter().copied().map(seconds)),
            vendor_off: days_off(zone, &days, vendor.iter().map(|(window, _)| *window)),
            open_off: days_off(zone, &days, open.iter().copied()),
            blocked: Stretches::new(blocked),
            unknown: Stretches::new(unknown),
            lessons,
            days,
            request,
        }
    }

    /// What is asked, before anything gives way.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            not_before: self.now.saturating_add(self.notice()),
            latest: latest(self.calendar, &self.request),
            days_off: false,
            extra: 0,
            part: self.request.class.visit(self.request.duration).num_seconds(),
            parts: 1,
        }
    }

    /// In seconds.
    pub(super) fn notice(&self) -> i64 {
        self.request.notice.num_seconds().max(0)
    }

    /// The best visit of each of the best dates.
    pub(super) fn offers(&self, bounds: &Bounds) -> Vec<Offer> {
        let mut best: BTreeMap<NaiveDate, (i64, i64)> = BTreeMap::new();
        for start in self.starts(bounds) {
            let found = (self.cost(start, bounds.part), start);
            let date = self.local(start).date();
            best.entry(date).and_modify(|best| *best = found.min(*best)).or_insert(found);
        }
        let mut best: Vec<_> = best.into_values().collect();
        best.sort_unstable();
        best.truncate(OFFERS);
        best.into_iter().filter_map(|(cost, start)| self.offer(start, bounds.part, cost)).collect()
    }

    /// Whether any visit fits.
    pub(super) fn fits(&self, bounds: &Bounds) -> bool {
        self.parts(bounds).len() == bounds.parts
    }

    /// The best visit, or the earliest parts of one; empty if none fits.
    pub(super) fn best(&self, bounds: &Bounds) -> Vec<Window> {
        let starts = match bounds.parts {
            1 => self.starts(bounds).min_by_key(|start| (self.cost(*start, bounds.part), *start)).into_iter().collect(),
            _ => self.parts(bounds),
        };
        let windows: Vec<_> = starts.into_iter().filter_map(|start| window(start, bounds.part)).collect();
        if windows.len() == bounds.parts { windows } else { Vec::new() }
    }

    pub(super) fn provisional(&self, span: &Range<i64>) -> bool {
        self.calendar.timetable() == Certainty::Stale || self.unknown.touches(span)
    }

    /// Starts of the earliest parts that do not overlap; fewer than asked for if there are no more.
    fn parts(&self, bounds: &Bounds) -> Vec<i64> {
        let mut free_from = i64::MIN;
        let apart = self.starts(bounds).filter(move |start| {
            let apart = *start >= free_from;
            if apart {
                free_from = start + bounds.part;
            }
            apart
        });
        apart.take(bounds.parts).collect()
    }

    /// When a part may start, in order.
    fn starts(&self, bounds: &Bounds) -> impl Iterator<Item = i64> {
        let (zone, part) = (self.zone, bounds.part);
        let free: Vec<_> = self.free(bounds).iter().filter(|free| free.end - free.start >= part).cloned().collect();
        let starts = free.into_iter().flat_map(move |free| {
            let quarters = std::iter::successors(next_quarter(zone, free.start), move |at| next_quarter(zone, at + 1));
            quarters.take_while(move |at| at + part <= free.end)
        });
        starts.filter(move |at| first_of_its_name(zone, *at))
    }

    /// When a part may be under way.
    fn free(&self, bounds: &Bounds) -> Stretches {
        let mut vendor = if bounds.days_off { self.vendor.or(&self.vendor_off) } else { self.vendor.clone() };
        if bounds.extra > 0 {
            vendor = self.longer(&vendor, bounds.extra);
        }
        let open = if bounds.days_off { self.open.or(&self.open_off) } else { self.open.clone() };
        vendor.and(&open).and(&Stretches::new(self.dates(bounds))).without(&self.blocked)
    }

    /// From the first instant that is asked for to the last.
    fn dates(&self, bounds: &Bounds) -> Option<Range<i64>> {
        let earliest = self.request.earliest.unwrap_or(NaiveDate::MIN);
        let mut days = self.days.iter().filter(|(date, _)| (earliest..=bounds.latest).contains(date));
        let first = &days.next()?.1;
        let last = days.next_back().map_or(first, |(_, span)| span);
        Some(first.start.max(bounds.not_before)..last.end)
    }

    /// Hours that begin earlier and end later, on the same dates.
    fn longer(&self, hours: &Stretches, extra: i64) -> Stretches {
        let dates =
            Stretches::new(self.days.iter().filter(|(_, span)| hours.touches(span)).map(|(_, span)| span.clone()));
        Stretches::new(hours.iter().map(|hours| hours.start - extra..hours.end + extra)).and(&dates)
    }

    fn cost(&self, start: i64, part: i64) -> i64 {
        let end = start + part;
        let mut cost = (start - self.now).div_euclid(60);
        if self.next_lesson(start, end).is_some() {
            cost += BEFORE_LESSON_COST;
        }
        if self.provisional(&(start..end)) {
            cost += PROVISIONAL_COST;
        }
        cost + LOAD_COST * i64::from(self.load(start, end).unwrap_or(0))
    }

    /// The load of the busiest hour, in percent.
    fn load(&self, start: i64, end: i64) -> Option<u8> {
        let load = self.request.load?;
        // Every zone's hours begin at quarters, as the visit does.
        let quarters = (start..end).step_by(QUARTER as usize);
        quarters.filter_map(|at| load.0.get(self.local(at).hour() as usize).copied()).max()
    }

    /// The first lesson that begins after the visit on the date of its start.
    fn next_lesson(&self, start: i64, end: i64) -> Option<&'r Lesson> {
        let next = self.lessons.partition_point(|lesson| lesson.start.timestamp() < end);
        let lesson = self.lessons.get(next).copied()?;
        (lesson.start.timestamp() < self.day(start)?.end).then_some(lesson)
    }

    /// The lesson that ends last before the visit on the date of its start.
    fn last_lesson(&self, start: i64) -> Option<&'r Lesson> {
        let day = self.day(start)?;
        let before =
            self.lessons.iter().filter(|lesson| ceil(lesson.end) <= start && lesson.end.timestamp() > day.start);
        before.max_by_key(|lesson| lesson.end).copied()
    }

    pub(super) fn day(&self, at: i64) -> Option<&Range<i64>> {
        let next = self.days.partition_point(|(_, span)| span.start <= at);
        self.days.get(next.checked_sub(1)?).map(|(_, span)| span).filter(|span| at < span.end)
    }

    fn local(&self, at: i64) -> NaiveDateTime {
        local(self.zone, at)
    }

    fn offer(&self, start: i64, part: i64, cost: i64) -> Option<Offer> {
        let window = window(start, part)?;
        let span = start..start + part;
        let observed_until = window.end.checked_add_signed(self.request.class.observation())?;
        let provisional = self.provisional(&span);
        Some(Offer { window, observed_until, provisional, cost, reasons: self.reasons(&span) })
    }

    fn reasons(&self, span: &Range<i64>) -> Vec<Reason> {
        let date = self.local(span.start).date();
        let timetable = self.calendar.timetable();
        let mut reasons = vec![Reason::WithinHours];
        if timetable == Certainty::NoTimetable {
            reasons.push(Reason::NoTimetable);
        }
        let (last, next) = (self.last_lesson(span.start), self.next_lesson(span.start, span.end));
        if timetable != Certainty::NoTimetable && last.is_none() && next.is_none() {
            reasons.push(Reason::NoLessons);
        }
        reasons.extend(last.map(|lesson| Reason::After { lesson: mark(lesson) }));
        reasons.extend(next.map(|lesson| Reason::Before { lesson: mark(lesson) }));
        let day = self.calendar.day(date);
        match day.map(|day| (day.kind, &day.name)) {
            Some((DayKind::Holiday | DayKind::Break, name)) => reasons.push(Reason::DayOff { name: name.to_string() }),
            Some((DayKind::MakeUp, _)) => reasons.push(Reason::MakeUp),
            _ => {}
        }
        if matches!(date.weekday(), Weekday::Sat | Weekday::Sun) {
            reasons.push(Reason::Weekend);
        }
        if !self.request.taken.is_empty() {
            reasons.push(Reason::ClearOfBookings { count: self.request.taken.len() });
        }
        reasons.extend(self.request.capacity.map(|capacity| {
            let booked = capacity.booked.get(&date).copied().unwrap_or(0);
            Reason::Capacity { left: capacity.per_day.saturating_sub(booked) }
        }));
        reasons.extend(self.load(span.start, span.end).map(|percent| Reason::Load { percent }));
        if self.unknown.touches(span) {
            reasons.push(Reason::UnknownYear);
        }
        if timetable == Certainty::Stale {
            reasons.push(Reason::Stale);
        }
        reasons
    }
}

/// Dates without hours, at the hours of the last date before that has some, or else of the first after.
fn days_off(zone: Tz, days: &[(NaiveDate, Range<i64>)], hours: impl Iterator<Item = Window>) -> Stretches {
    // Hours on the wall clock, as time since the midnight at which their date begins.
    let mut usual: BTreeMap<NaiveDate, Vec<(TimeDelta, TimeDelta)>> = BTreeMap::new();
    for window in hours {
        let (start, end) = (local(zone, window.start.timestamp()), local(zone, ceil(window.end)));
        let midnight = start.date().and_time(NaiveTime::MIN);
        usual.entry(start.date()).or_default().push((start - midnight, end - midnight));
    }
    let off = days.iter().filter(|(date, _)| !usual.contains_key(date));
    let hours = off.flat_map(|(date, _)| {
        let like = usual.range(..date).next_back().or_else(|| usual.range(date..).next());
        let midnight = date.and_time(NaiveTime::MIN);
        let at = move |since| Some(zone::instant(zone, midnight.checked_add_signed(since)?)?.timestamp());
        like.into_iter().flat_map(|(_, hours)| hours).filter_map(move |(from, to)| Some(at(*from)?..at(*to)?))
    });
    Stretches::new(hours)
}

/// The same instant, or the next at a full quarter of the wall clock.
fn next_quarter(zone: Tz, mut at: i64) -> Option<i64> {
    loop {
        let beyond = (at + offset(zone, at)?).rem_euclid(QUARTER);
        if beyond == 0 {
            return Some(at);
        }
        at += QUARTER - beyond;
    }
}

/// Whether an instant is the first at which the wall clock shows what it shows.
fn first_of_its_name(zone: Tz, at: i64) -> bool {
    let shown = zone.from_local_datetime(&local(zone, at)).earliest();
    shown.is_some_and(|first| first.timestamp() == at)
}

/// East of UTC, in seconds.
fn offset(zone: Tz, at: i64) -> Option<i64> {
    let utc = DateTime::from_timestamp(at, 0)?.naive_utc();
    Some(i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
}

fn local(zone: Tz, at: i64) -> NaiveDateTime {
    DateTime::from_timestamp(at, 0).unwrap_or_default().with_timezone(&zone).naive_local()
}

fn seconds(window: Window) -> Range<i64> {
    window.start.timestamp()..ceil(window.end)
}

fn widened(lesson: &Lesson, by: i64) -> Range<i64> {
    lesson.start.timestamp() - by..ceil(lesson.end) + by
}

/// The first whole second that is not before it.
fn ceil(at: DateTime<Utc>) -> i64 {
    at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0)
}

fn window(start: i64, part: i64) -> Option<Window> {
    Some(Window { start: DateTime::from_timestamp(start, 0)?, end: DateTime::from_timestamp(start + part, 0)? })
}

fn mark(lesson: &Lesson) -> Mark {
    Mark { start: lesson.start, end: lesson.end, title: lesson.title.to_string(), place: lesson.place }
}
