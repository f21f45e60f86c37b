//! The slot finder against brute force on a grid of minutes.
//!
//! The oracle below is written from what is promised of the finder. It shares its inputs and the
//! types of its answers, and no code: each minute of the calendar is marked with what it is, and each
//! minute is tried as a start.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use bellwether_agent::{
    booking::{
        Window,
        slot::{Answer, Capacity, Class, Load, Need, Relaxation, Request, Unknown, find},
    },
    calendar::{Calendar, Certainty, Day, DayKind, Lesson, Taken},
};
use chrono::{DateTime, Datelike, Days, NaiveDate, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use fastrand::Rng;

const CALENDARS: u64 = 1000;
const REQUESTS: u64 = 10;
/// Minutes before the first date that are on the grid, so that a wall clock set back on its first hour
/// is seen.
const LEAD: usize = 24 * 60;
/// No amount of extra hours makes this minute one of the vendor's.
const NEVER: u32 = u32::MAX;

/// The places and dates of which calendars are made: around changes of the clocks, and without any.
const PLACES: [(Tz, &str); 11] = [
    (Tz::Asia__Shanghai, "2026-12-28"),
    (Tz::Asia__Shanghai, "2026-09-30"),
    (Tz::Asia__Kathmandu, "2026-03-01"),
    (Tz::Europe__Berlin, "2026-03-26"),
    (Tz::Europe__Berlin, "2026-10-23"),
    (Tz::Australia__Lord_Howe, "2026-04-03"),
    (Tz::Australia__Lord_Howe, "2026-10-02"),
    (Tz::America__New_York, "2026-03-06"),
    (Tz::America__New_York, "2026-10-30"),
    (Tz::America__Havana, "2026-10-30"),
    (Tz::Pacific__Apia, "2011-12-28"),
];

/// The calendar, and what each minute of it is.
struct Grid {
    calendar: Calendar,
    stale: bool,
    /// The instant of minute 0.
    origin: DateTime<Utc>,
    dates: Vec<NaiveDate>,
    /// Which of `dates` a minute lies on; negative before the first.
    date: Vec<i32>,
    /// Minutes since 1970 as the wall clock shows them.
    local: Vec<i64>,
    /// Whether people can make an appointment for this minute.
    name: Vec<bool>,
    /// By whether days off count as working days.
    open: [Vec<bool>; 2],
    /// How many minutes the vendor has to work longer, by whether days off count as working days.
    vendor: [Vec<u32>; 2],
    unknown: Vec<bool>,
    lessons: Vec<(usize, usize)>,
}

impl Grid {
    fn draw(random: &mut Rng) -> Self {
        let (zone, first) = PLACES[random.usize(..PLACES.len())];
        let first: NaiveDate = first.parse().unwrap();
        let dates: Vec<_> = first.iter_days().take(random.usize(3..7)).collect();
        let mut grid = Self::empty(zone, dates);

        let known_until = random.usize(..2 * grid.dates.len());
        let unknown = |date: usize| date > known_until;
        let often = 0.6 * random.f64();
        let mut open: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut vendor: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut lessons = Vec::new();
        let timetable = match random.u32(..20) {
            0 => Certainty::Unreadable,
            1 | 2 => Certainty::Stale,
            3 | 4 => Certainty::NoTimetable,
            _ => Certainty::Known,
        };
        let (from, to) = (random.usize(0..10 * 12) * 5, random.usize(13 * 12..24 * 12) * 5);
        let (vendor_from, vendor_to) = (random.usize(0..12 * 12) * 5, random.usize(13 * 12..24 * 12) * 5);
        let lunch = random.u32(..4) == 0;
        for date in 0..grid.dates.len() {
            let hours = |from: usize, to: usize| grid.hours(date, from, to);
            let off = |random: &mut Rng| random.u32(..5) == 0;
            open.push(if off(random) { vec![] } else { hours(from, to).into_iter().collect() });
            vendor.push(match off(random) {
                true => vec![],
                false if lunch && vendor_from < 12 * 60 => {
                    hours(vendor_from, 12 * 60).into_iter().chain(hours(13 * 60, vendor_to)).collect()
                }
                false => hours(vendor_from, vendor_to).into_iter().collect(),
            });
            if timetable != Certainty::NoTimetable && random.f64() < 0.8 {
                for period in 0..12 {
                    if random.f64() < often {
                        let from = 7 * 60 + period * 75 + random.usize(..6) * 5;
                        lessons.extend(hours(from, from + random.usize(1..20) * 5));
                    }
                }
            }
        }
        lessons.sort_unstable();

        let at = |minute: usize| grid.origin + TimeDelta::minutes(minute as i64);
        let window = |(from, to): (usize, usize)| Window { start: at(from), end: at(to) };
        let mut vendor_known = true;
        let vendor_windows: Vec<_> = vendor
            .iter()
            .enumerate()
            .flat_map(|(date, hours)| hours.iter().map(move |hours| (date, *hours)))
            .map(|(date, hours)| {
                vendor_known = !unknown(date) && random.u32(..10) > 0;
                (hours, vendor_known)
            })
            .collect();
        grid.calendar = Calendar::of_parts(
            zone,
            grid.dates.iter().enumerate().map(|(index, date)| day(*date, !unknown(index))).collect(),
            lessons.iter().map(|span| lesson(window(*span))).collect(),
            open.iter().flatten().map(|span| window(*span)).collect(),
            vendor_windows.iter().map(|(span, known)| (window(*span), *known)).collect(),
            timetable,
        );
        grid.stale = timetable == Certainty::Stale;
        for minute in LEAD..grid.date.len() {
            grid.unknown[minute] = unknown(grid.date[minute] as usize);
        }
        for ((from, to), known) in vendor_windows {
            if !known {
                grid.unknown[from..to].fill(true);
            }
        }
        for days_off in [false, true] {
            let index = usize::from(days_off);
            let (open, vendor) = (grid.filled(&open, days_off), grid.filled(&vendor, days_off));
            for (from, to) in open {
                grid.open[index][from..to].fill(true);
            }
            grid.vendor[index] = grid.longer(&vendor);
        }
        grid.lessons = lessons;
        grid
    }

    fn empty(zone: Tz, dates: Vec<NaiveDate>) -> Self {
        // Any instant surely before the first date will do to count from.
        let origin = dates[0].and_hms_opt(0, 0, 0).unwrap().and_utc() - TimeDelta::days(2);
        let mut date = Vec::new();
        let mut local = Vec::new();
        let mut name = Vec::new();
        let mut shown = HashSet::new();
        let mut skipped = 0;
        loop {
            // No clock is ever set but at a quarter of an hour.
            let at = origin + TimeDelta::minutes((skipped + date.len()) as i64);
            let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc() / 60;
            let clock = at.timestamp() / 60 + i64::from(offset);
            let today = DateTime::from_timestamp(clock * 60, 0).unwrap().date_naive();
            if today > dates[dates.len() - 1] {
                break;
            }
            let first = shown.insert(clock);
            if (dates[0] - today).num_days() > 1 {
                skipped += 15;
                continue;
            }
            for minute in 0..15 {
                date.push((today - dates[0]).num_days() as i32);
                local.push(clock + minute);
                name.push(minute == 0 && first && clock % 15 == 0);
            }
        }
        let begin = date.iter().position(|date| *date == 0).unwrap() - LEAD;
        let origin = origin + TimeDelta::minutes((skipped + begin) as i64);
        let cut = |from: Vec<i64>| from[begin..].to_vec();
        let date = date[begin..].to_vec();
        let (local, name) = (cut(local), name[begin..].to_vec());
        let length = date.len();
        let nothing = Calendar::of_parts(zone, vec![], vec![], vec![], vec![], Certainty::Known);
        Self {
            calendar: nothing,
            stale: false,
            origin,
            dates,
            date,
            local,
            name,
            open: [vec![false; length], vec![false; length]],
            vendor: [vec![NEVER; length], vec![NEVER; length]],
            unknown: vec![false; length],
            lessons: Vec::new(),
        }
    }

    /// From one local time of a date to another, in minutes of the day.
    fn hours(&self, date: usize, from: usize, to: usize) -> Option<(usize, usize)> {
        let midnight = i64::from(self.dates[date].num_days_from_ce() - 719_163) * 24 * 60;
        // The first minute at which the wall clock has got there.
        let minute = |time: usize| {
            let from = self.date.iter().position(|other| *other == date as i32)?;
            let there = self.local[from..].iter().position(|local| *local >= midnight + time as i64);
            Some(there.map_or(self.local.len(), |minute| from + minute))
        };
        let (from, to) = (minute(from)?, minute(to)?);
        (from < to).then_some((from, to))
    }

    /// All hours, and if days off count those of the last working day before, or else the first after.
    fn filled(&self, hours: &[Vec<(usize, usize)>], days_off: bool) -> Vec<(usize, usize)> {
        let mut all: Vec<_> = hours.iter().flatten().copied().collect();
        for date in (0..hours.len()).filter(|date| days_off && hours[*date].is_empty()) {
            let before = (0..date).rev().find(|other| !hours[*other].is_empty());
            let Some(like) = before.or_else(|| (date..hours.len()).find(|other| !hours[*other].is_empty())) else {
                continue;
            };
            for (from, to) in &hours[like] {
                let midnight = i64::from(self.dates[like].num_days_from_ce() - 719_163) * 24 * 60;
                let shown = |minute: usize| (self.local[minute] - midnight) as usize;
                all.extend(self.hours(date, shown(*from), shown(*to)));
            }
        }
        all
    }

    /// How many minutes longer the vendor has to work on the same date to reach a minute.
    fn longer(&self, hours: &[(usize, usize)]) -> Vec<u32> {
        let mut works = vec![false; self.date.len()];
        hours.iter().for_each(|(from, to)| works[*from..*to].fill(true));
        let at_work = |minute: &usize| works[*minute];
        let dates: HashSet<i32> = (0..works.len()).filter(at_work).map(|minute| self.date[minute]).collect();
        let mut longer = vec![NEVER; works.len()];
        for forwards in [true, false] {
            let mut away = NEVER;
            for step in 0..works.len() {
                let minute = if forwards { step } else { works.len() - 1 - step };
                away = if works[minute] { 0 } else { away.saturating_add(1) };
                longer[minute] = longer[minute].min(away);
            }
        }
        for (minute, longer) in longer.iter_mut().enumerate() {
            if !dates.contains(&self.date[minute]) {
                *longer = NEVER;
            }
        }
        longer
    }

    fn minute(&self, at: DateTime<Utc>) -> usize {
        usize::try_from((at - self.origin).num_minutes()).unwrap()
    }

    fn window(&self, start: usize, length: usize) -> Window {
        let at = |minute: usize| self.origin + TimeDelta::minutes(minute as i64);
        Window { start: at(start), end: at(start + length) }
    }

    fn provisional(&self, start: usize, length: usize) -> bool {
        self.stale || self.unknown[start..start + length].contains(&true)
    }
}

fn day(date: NaiveDate, known: bool) -> Day {
    Day { date, kind: DayKind::Teaching, name: "".into(), week: None, follows: None, known }
}

fn lesson(Window { start, end }: Window) -> Lesson {
    Lesson { start, end, title: "".into(), taken: Taken::Lesson, place: None }
}

/// A request, as it is drawn.
struct Case {
    now: DateTime<Utc>,
    duration: TimeDelta,
    class: Class,
    notice: TimeDelta,
    earliest: Option<NaiveDate>,
    latest: Option<NaiveDate>,
    buffer: TimeDelta,
    taken: Vec<Window>,
    capacity: Option<(u32, BTreeMap<NaiveDate, u32>)>,
    load: Option<Load>,
}

impl Case {
    fn draw(grid: &Grid, random: &mut Rng) -> Self {
        let minutes = |minutes: usize| TimeDelta::minutes(minutes as i64);
        let length = grid.date.len();
        let some_date = |random: &mut Rng| grid.dates[random.usize(..grid.dates.len())];
        let (small, soon) = (random.bool(), random.bool());
        let taken = (0..random.usize(..4)).map(|_| {
            let start = random.usize(LEAD..length - 300);
            grid.window(start, random.usize(1..300))
        });
        Self {
            taken: taken.collect(),
            now: grid.origin + minutes(LEAD / 2 + random.usize(..length / 2)) + TimeDelta::seconds(random.i64(0..60)),
            duration: TimeDelta::seconds(random.i64(5..if small { 100 } else { 480 }) * 60 - random.i64(0..2) * 20),
            class: Class::ALL[random.usize(..3)],
            notice: TimeDelta::seconds(random.i64(0..if soon { 4 } else { 40 }) * 3600 + random.i64(0..2) * 100),
            earliest: (random.u32(..4) == 0).then(|| some_date(random)),
            latest: (random.u32(..3) > 0).then(|| some_date(random)),
            buffer: minutes(random.usize(..7) * 5),
            capacity: (random.u32(..3) == 0).then(|| {
                let booked = grid.dates.iter().map(|date| (*date, random.u32(..4))).collect();
                (random.u32(1..4), booked)
            }),
            load: random.bool().then(|| Load(std::array::from_fn(|_| random.u8(..=100)))),
        }
    }

    fn request(&self) -> Request<'_> {
        let capacity = self.capacity.as_ref().map(|(per_day, booked)| Capacity { per_day: *per_day, booked });
        Request {
            now: self.now,
            duration: self.duration,
            class: self.class,
            notice: self.notice,
            earliest: self.earliest,
            latest: self.latest,
            buffer: self.buffer,
            taken: &self.taken,
            capacity,
            load: self.load,
        }
    }
}

/// What gives way, and how far.
#[derive(Clone, Copy, Debug)]
struct Given {
    not_before: DateTime<Utc>,
    latest: NaiveDate,
    days_off: bool,
    extra: u32,
    /// In minutes.
    part: usize,
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Later,
    AfterHours,
    LessNotice,
    Weekend,
    Shorter,
    Split,
}

const KINDS: [Kind; 6] = [Kind::Later, Kind::AfterHours, Kind::LessNotice, Kind::Weekend, Kind::Shorter, Kind::Split];

struct Oracle<'c> {
    grid: &'c Grid,
    case: &'c Case,
    asked: Given,
    /// What never gives way: lessons, other bookings, dates that are full or too early.
    free: Vec<bool>,
}

impl<'c> Oracle<'c> {
    fn new(grid: &'c Grid, case: &'c Case) -> Self {
        let mut free = vec![true; grid.date.len()];
        let buffer = case.buffer.num_minutes() as usize;
        let end = free.len();
        for (from, to) in &grid.lessons {
            free[from.saturating_sub(buffer)..(to + buffer).min(end)].fill(false);
        }
        for window in &case.taken {
            free[grid.minute(window.start)..grid.minute(window.end).min(end)].fill(false);
        }
        let mut shut: Vec<bool> = Vec::new();
        for date in &grid.dates {
            let full =
                case.capacity.as_ref().is_some_and(|(per_day, booked)| booked.get(date).unwrap_or(&0) >= per_day);
            shut.push(full || case.earliest.is_some_and(|earliest| *date < earliest));
        }
        for (minute, free) in free.iter_mut().enumerate() {
            *free &= usize::try_from(grid.date[minute]).is_ok_and(|date| !shut[date]);
        }
        let factor = match case.class {
            Class::Patch => 1.0,
            Class::Minor => 1.5,
            Class::Major => 2.0,
        };
        let today = DateTime::from_timestamp(60 * grid.local[grid.minute(case.now)], 0).unwrap().date_naive();
        let asked = Given {
            not_before: case.now + case.notice,
            latest: case.latest.unwrap_or(today + Days::new(89)),
            days_off: false,
            extra: 0,
            part: (case.duration.num_seconds() as f64 * factor / 60.0).ceil() as usize,
            parts: 1,
        };
        Self { grid, case, asked, free }
    }

    /// Every minute at which a part may start.
    fn starts(&self, given: Given) -> Vec<usize> {
        let grid = self.grid;
        let (open, vendor) = (&grid.open[usize::from(given.days_off)], &grid.vendor[usize::from(given.days_off)]);
        let dates = (given.latest - grid.dates[0]).num_days();
        let last = i32::try_from(dates.min(1000)).unwrap_or(-1);
        let mut starts = Vec::new();
        let mut run = 0;
        for minute in (0..self.free.len()).rev() {
            let fits = self.free[minute] && open[minute] && vendor[minute] <= given.extra && grid.date[minute] <= last;
            run = if fits { run + 1 } else { 0 };
            if run >= given.part
                && grid.name[minute]
                && grid.origin + TimeDelta::minutes(minute as i64) >= given.not_before
            {
                starts.push(minute);
            }
        }
        starts.reverse();
        starts
    }

    fn cost(&self, start: usize, length: usize) -> i64 {
        let grid = self.grid;
        let at = grid.origin + TimeDelta::minutes(start as i64);
        let mut cost = (at - self.case.now).num_seconds() / 60;
        let end = start + length;
        let follows = |lesson: &&(usize, usize)| lesson.0 >= end && grid.date[lesson.0] == grid.date[start];
        if grid.lessons.iter().any(|lesson| follows(&lesson)) {
            cost += 24 * 60;
        }
        if grid.provisional(start, length) {
            cost += 7 * 24 * 60;
        }
        if let Some(Load(load)) = self.case.load {
            let hours = (start..end).map(|minute| load[(grid.local[minute] / 60 % 24) as usize]);
            cost += 15 * i64::from(hours.max().unwrap());
        }
        cost
    }

    /// Start and cost of the best of each of the best dates.
    fn offers(&self) -> Vec<(usize, i64)> {
        let mut all: Vec<_> =
            self.starts(self.asked).into_iter().map(|start| (self.cost(start, self.asked.part), start)).collect();
        all.sort_unstable();
        let mut dates = HashSet::new();
        all.retain(|(_, start)| dates.insert(self.grid.date[*start]));
        all.into_iter().take(3).map(|(cost, start)| (start, cost)).collect()
    }

    /// The best visit, or its earliest parts.
    fn best(&self, given: Given) -> Option<Vec<Window>> {
        let starts = self.starts(given);
        let mut parts: Vec<usize> = Vec::new();
        if given.parts == 1 {
            parts.extend(starts.iter().min_by_key(|start| (self.cost(**start, given.part), **start)));
        } else {
            for start in starts {
                if parts.len() < given.parts && parts.last().is_none_or(|last| last + given.part <= start) {
                    parts.push(start);
                }
            }
        }
        (parts.len() == given.parts).then(|| parts.iter().map(|start| self.grid.window(*start, given.part)).collect())
    }

    fn fits(&self, given: Given) -> bool {
        self.best(given).is_some()
    }

    /// What a kind can give, from the least on.
    fn sizes(&self, kind: Kind) -> Vec<i64> {
        let visit = self.asked.part as i64;
        match kind {
            Kind::Later => (1..=(self.grid.dates[self.grid.dates.len() - 1] - self.asked.latest).num_days()).collect(),
            Kind::AfterHours => (1..=96).map(|quarters| 15 * quarters).collect(),
            Kind::LessNotice => (0..(self.case.notice.num_seconds() + 59) / 60).rev().collect(),
            Kind::Weekend => vec![1],
            Kind::Shorter => (1..visit).rev().filter(|length| length % 15 == 0 && 2 * length >= visit).collect(),
            Kind::Split => (2..=3).filter(|parts| share(visit, *parts) < visit).collect(),
        }
    }

    fn give(&self, kind: Kind, size: i64, mut given: Given) -> Given {
        match kind {
            Kind::Later => given.latest = self.asked.latest + TimeDelta::days(size),
            Kind::AfterHours => given.extra = size as u32,
            Kind::LessNotice => given.not_before = self.case.now + TimeDelta::minutes(size),
            Kind::Weekend => given.days_off = true,
            Kind::Shorter => given.part = size as usize,
            Kind::Split => (given.parts, given.part) = (size as usize, share(self.asked.part as i64, size) as usize),
        }
        given
    }

    fn size(&self, need: Need) -> (Kind, i64) {
        match need {
            Need::Later { date } => (Kind::Later, (date - self.asked.latest).num_days()),
            Need::AfterHours { minutes } => (Kind::AfterHours, minutes),
            Need::LessNotice { minutes } => (Kind::LessNotice, minutes),
            Need::Weekend { .. } => (Kind::Weekend, 1),
            Need::Shorter { minutes } => (Kind::Shorter, minutes),
            Need::Split { parts, minutes } => {
                assert_eq!(minutes, share(self.asked.part as i64, i64::from(parts)));
                (Kind::Split, i64::from(parts))
            }
        }
    }

    /// Sizes that are tried to show that nothing smaller does: all of them, or only the next smaller
    /// (and for parts all), since more of the others never makes less possible.
    fn smaller(&self, kind: Kind, size: i64, all: bool) -> Vec<i64> {
        let sizes = self.sizes(kind);
        let found = sizes.iter().position(|other| *other == size);
        let found = found.unwrap_or_else(|| panic!("{kind:?} {size} is none of its sizes"));
        let from = if all || kind == Kind::Split { 0 } else { found.saturating_sub(1) };
        let step = if kind == Kind::LessNotice { 7 } else { 1 };
        sizes[from..found].iter().rev().step_by(step).copied().collect()
    }

    /// Whether a kind does if it gives all it can.
    fn does(&self, kind: Kind, given: Given) -> bool {
        match (kind, self.sizes(kind).last()) {
            (_, None) => false,
            (Kind::Split, _) => self.sizes(kind).iter().any(|parts| self.fits(self.give(kind, *parts, given))),
            (_, Some(most)) => self.fits(self.give(kind, *most, given)),
        }
    }

    fn check_relaxations(&self, relaxations: &[Relaxation], all: bool) {
        let kinds: Vec<Vec<Kind>> =
            relaxations.iter().map(|found| found.needs.iter().map(|need| self.size(*need).0).collect()).collect();
        let mut expected: Vec<Vec<Kind>> =
            KINDS.iter().filter(|kind| self.does(**kind, self.asked)).map(|kind| vec![*kind]).collect();
        if expected.is_empty() {
            for (index, first) in KINDS.iter().enumerate() {
                for second in &KINDS[index + 1..] {
                    let pointless =
                        matches!((first, second), (Kind::Shorter, Kind::Split) | (Kind::Later, Kind::LessNotice));
                    let most = self.sizes(*first).last().map(|most| self.give(*first, *most, self.asked));
                    if !pointless && most.is_some_and(|most| self.does(*second, most)) {
                        expected.push(vec![*first, *second]);
                    }
                }
            }
        }
        assert_eq!(kinds, expected);

        for relaxation in relaxations {
            let sizes: Vec<_> = relaxation.needs.iter().map(|need| self.size(*need)).collect();
            let given = sizes.iter().fold(self.asked, |given, (kind, size)| self.give(*kind, *size, given));
            assert_eq!(Some(&relaxation.windows), self.best(given).as_ref(), "{:?} works", relaxation.needs);
            for (index, (kind, size)) in sizes.iter().enumerate() {
                for smaller in self.smaller(*kind, *size, all) {
                    let others = sizes.iter().enumerate().filter(|(other, _)| *other != index);
                    let given = others.fold(self.asked, |given, (_, (kind, size))| self.give(*kind, *size, given));
                    assert!(!self.fits(self.give(*kind, smaller, given)), "{kind:?} {smaller}, not {size}, does");
                }
            }
            let span = |window: &Window| (self.grid.minute(window.start), given.part);
            let provisional =
                relaxation.windows.iter().map(span).any(|(start, part)| self.grid.provisional(start, part));
            assert_eq!(relaxation.provisional, provisional, "{relaxation:?}");
            for need in &relaxation.needs {
                if let Need::Weekend { vendor, building } = need {
                    let off = |hours: &dyn Fn(usize) -> bool| {
                        relaxation.windows.iter().any(|window| {
                            let date = self.grid.date[self.grid.minute(window.start)];
                            !(0..self.grid.date.len()).any(|minute| self.grid.date[minute] == date && hours(minute))
                        })
                    };
                    assert_eq!(*vendor, off(&|minute| self.grid.vendor[0][minute] == 0), "{relaxation:?}");
                    assert_eq!(*building, off(&|minute| self.grid.open[0][minute]), "{relaxation:?}");
                }
            }
        }
    }

    fn check(&self, answer: &Answer, all: bool) {
        let length = self.asked.part;
        let expected: Vec<_> = self
            .offers()
            .into_iter()
            .map(|(start, cost)| (self.grid.window(start, length), cost, self.grid.provisional(start, length)))
            .collect();
        let found: Vec<_> = answer.offers.iter().map(|offer| (offer.window, offer.cost, offer.provisional)).collect();
        assert_eq!(found, expected);
        for offer in &answer.offers {
            let watched = match self.case.class {
                Class::Patch => TimeDelta::minutes(30),
                Class::Minor => TimeDelta::hours(2),
                Class::Major => TimeDelta::days(1),
            };
            assert_eq!(offer.observed_until - offer.window.end, watched);
        }
        let unknown = |unknown| answer.unknown.contains(&unknown);
        assert_eq!(unknown(Unknown::Load), self.case.load.is_none());
        assert_eq!(unknown(Unknown::Capacity), self.case.capacity.is_none());
        assert_eq!(unknown(Unknown::Beyond), self.asked.latest > self.grid.dates[self.grid.dates.len() - 1]);
        if found.is_empty() {
            self.check_relaxations(&answer.relaxations, all);
        } else {
            assert_eq!(answer.relaxations, []);
        }
    }
}

/// The share of a visit, on a grid of quarters.
fn share(visit: i64, parts: i64) -> i64 {
    (1..).map(|quarters| 15 * quarters).find(|share| share * parts >= visit).unwrap()
}

/// What the cases came to: a test whose cases are all alike shows nothing.
#[derive(Debug, Default)]
struct Tally {
    offered: [u64; 4],
    single: BTreeMap<String, u64>,
    pairs: BTreeMap<String, u64>,
    hopeless: u64,
    unreadable: u64,
}

fn run(calendars: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in calendars {
        let mut random = Rng::with_seed(seed);
        let grid = Grid::draw(&mut random);
        for number in 0..REQUESTS {
            let case = Case::draw(&grid, &mut random);
            let request = case.request();
            let answer = find(&grid.calendar, request);
            if grid.calendar.timetable() == Certainty::Unreadable {
                assert!(answer.offers.is_empty() && answer.relaxations.is_empty(), "nothing is known to be free");
                assert!(answer.unknown.contains(&Unknown::Unreadable));
                tally.unreadable += 1;
                continue;
            }
            let outcome = std::panic::catch_unwind(|| Oracle::new(&grid, &case).check(&answer, number == 0));
            assert!(outcome.is_ok(), "calendar {seed}, request {number}: {request:?}");
            if !answer.offers.is_empty() {
                tally.offered[answer.offers.len()] += 1;
            } else if answer.relaxations.is_empty() {
                tally.hopeless += 1;
            }
            for relaxation in &answer.relaxations {
                let names = relaxation.needs.iter().map(|need| {
                    let json = serde_json::to_value(need).unwrap();
                    json["kind"].as_str().unwrap().to_owned()
                });
                let names: Vec<_> = names.collect();
                let counts = if names.len() == 1 { &mut tally.single } else { &mut tally.pairs };
                *counts.entry(names.join("+")).or_default() += 1;
            }
        }
    }
    tally
}

/// Half of the cases, so that both halves run at once.
fn half(calendars: std::ops::Range<u64>) {
    let tally = run(calendars);
    let enough = tally.offered[1..].iter().all(|count| *count > 200)
        && tally.single.len() == 6
        && tally.pairs.len() == 13
        && tally.single.values().chain(tally.pairs.values()).all(|count| *count >= 2)
        && tally.unreadable > 0;
    assert!(enough, "the cases are all alike: {tally:?}");
}

#[test]
fn the_finder_agrees_with_brute_force_on_the_first_five_thousand_cases() {
    half(0..CALENDARS / 2);
}

#[test]
fn the_finder_agrees_with_brute_force_on_the_last_five_thousand_cases() {
    half(CALENDARS / 2..CALENDARS);
}

#[test]
fn sizes_are_ordered_from_the_least_on() {
    let mut random = Rng::with_seed(1);
    let grid = Grid::draw(&mut random);
    let case = Case::draw(&grid, &mut random);
    let oracle = Oracle::new(&grid, &case);
    assert!(oracle.sizes(Kind::Shorter).is_sorted_by_key(|size| Reverse(*size)));
    assert!(oracle.sizes(Kind::LessNotice).is_sorted_by_key(|size| Reverse(*size)));
    assert!(oracle.sizes(Kind::AfterHours).is_sorted());
}
