//! A school that never sleeps, through every change of its clocks: lessons and hours lie where the wall
//! clock says, and no heavy probe runs in a lesson or near one, however the clock is stepped.
//!
//! The rules, stated here once more without the code that keeps them: an hour that the clocks leap over
//! is cut off, so that what would begin in it begins at its end; of an hour that they repeat, the first
//! pass counts. So a lesson is on exactly while the furthest that the wall clock has shown so far lies
//! within its period.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use bellwether_agent::{
    calendar::{
        Calendar, RoomState,
        build::{Sources, build},
        config::Timetable,
        holidays::Holidays,
        zone,
    },
    schedule::{
        Due, Schedule, Skip, due,
        gate::{Conditions, Weight, free_again, gate},
    },
    site::Vendor,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::json;

/// Both hemispheres, shifts of half an hour and of a whole day, and rules that were changed.
const ZONES: [(Tz, i32); 11] = [
    (Tz::UTC, 2024),
    (Tz::Asia__Shanghai, 2025),
    (Tz::Europe__Berlin, 2024),
    (Tz::America__New_York, 2025),
    (Tz::Australia__Lord_Howe, 2024),
    (Tz::Asia__Kathmandu, 2024),
    // The last summer time ended in 2019.
    (Tz::America__Sao_Paulo, 2017),
    // Back for the month of Ramadan.
    (Tz::Africa__Casablanca, 2024),
    // Without 30 December 2011.
    (Tz::Pacific__Apia, 2011),
    // Summer time until 2022.
    (Tz::Asia__Tehran, 2020),
    // Half an hour back in 2015, and forth in 2018.
    (Tz::Asia__Pyongyang, 2015),
];

/// Four of them, since Pyongyang took so long.
const YEARS: i32 = 4;

const PERIODS: [(&str, &str); 7] = [
    ("00:10", "00:50"),
    ("01:20", "02:20"),
    ("02:30", "03:10"),
    ("08:00", "08:45"),
    ("08:55", "09:40"),
    ("22:00", "22:45"),
    ("23:10", "23:55"),
];

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").expect("a time written here")
}

fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date written here")
}

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

/// What the wall clock shows.
fn wall(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// All the days of these years, and what its weeks count from.
fn dates(first: i32) -> Range<NaiveDate> {
    date(first, 1, 1)..date(first + YEARS, 1, 1)
}

/// A school with the same lessons every day; open, and its vendor at work, around the usual changes.
fn school(zone: Tz, monday: NaiveDate, dates: Range<NaiveDate>) -> Calendar {
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let lessons =
        days.iter().flat_map(|day| (1..=PERIODS.len()).map(move |period| format!("{day} {period}: {period}")));
    let timetable: Timetable = serde_json::from_value(json!({
        "open": "01:30", "close": "23:15",
        "bells": [{"periods": PERIODS.map(|(from, to)| format!("{from}-{to}"))}],
        "term": [{"first_day": monday, "weeks": 60 * YEARS, "lessons": lessons.collect::<Vec<_>>()}],
    }))
    .expect("a timetable written here");
    let vendor: Vendor =
        serde_json::from_value(json!({"days": days, "from": "02:10", "to": "02:50"})).expect("a vendor");
    let holidays = Holidays::none();
    let sources = Sources {
        timetable: &timetable,
        ical: &[],
        holidays: &holidays,
        vendor: &vendor,
        vendor_holidays: &holidays,
        zone,
    };
    build(sources, dates)
}

/// Whether something on the wall clock of a date begins or ends at an instant as it should.
fn is_edge(zone: Tz, at: DateTime<Utc>, expected: NaiveDateTime) -> bool {
    let shown = |at| wall(zone, at);
    if shown(at) == expected {
        // For the first time: no change takes longer to undo than these.
        [30, 60, 120, 24 * 60].iter().all(|back| shown(at - minutes(*back)) != expected)
    } else {
        shown(at) > expected && shown(at - TimeDelta::seconds(1)) < expected
    }
}

/// Whether the wall clock never shows what lies from one local time to another.
fn is_leapt_over(zone: Tz, from: NaiveDateTime, to: NaiveDateTime) -> bool {
    let around = from.and_utc() - TimeDelta::hours(40);
    (0..80 * 60).map(|minute| wall(zone, around + minutes(minute))).all(|shown| shown < from || to <= shown)
}

/// The instants at which the clocks change.
fn changes(zone: Tz, dates: &Range<NaiveDate>) -> Vec<DateTime<Utc>> {
    let shift = |at: &DateTime<Utc>| wall(zone, *at) - at.naive_utc();
    let instant = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    let hours: Vec<_> = (0..(instant(dates.end) - instant(dates.start)).num_hours())
        .map(|hour| instant(dates.start) + TimeDelta::hours(hour))
        .collect();
    let within = |pair: &[DateTime<Utc>]| {
        (1..=60).map(|minute| pair[0] + minutes(minute)).find(|at| shift(at) != shift(&pair[0]))
    };
    hours.windows(2).filter(|pair| shift(&pair[0]) != shift(&pair[1])).filter_map(within).collect()
}

#[test]
fn lessons_and_hours_lie_where_the_wall_clock_says() {
    let (mut lessons, mut leapt, mut shifted) = (0, 0, 0);
    for (zone, first) in ZONES {
        let dates = dates(first);
        let monday = dates.start.week(chrono::Weekday::Mon).first_day();
        let calendar = school(zone, monday, dates.clone());
        let mut found = BTreeMap::new();
        for lesson in calendar.lessons(calendar.known()) {
            let place = lesson.place.expect("a lesson of the table");
            let days = 7 * (place.week - 1) + place.weekday.num_days_from_monday();
            let date = monday + chrono::Days::new(days.into());
            assert_eq!(found.insert((date, place.first), lesson.start..lesson.end), None);
        }
        let mut open = calendar.open(calendar.known()).peekable();
        let mut vendor = calendar.vendor(calendar.known()).map(|(window, _)| window).peekable();
        for date in dates.start.iter_days().take_while(|date| *date < dates.end) {
            let mut check = |name: &str, from: &str, to: &str, window: Option<Range<DateTime<Utc>>>| {
                let (from, to) = (date.and_time(time(from)), date.and_time(time(to)));
                let Some(window) = window else {
                    assert!(is_leapt_over(zone, from, to), "no {name} from {from} in {zone}");
                    leapt += 1;
                    return;
                };
                assert!(window.start < window.end);
                assert!(is_edge(zone, window.start, from), "{name} from {} for {from} in {zone}", window.start);
                assert!(is_edge(zone, window.end, to), "{name} until {} for {to} in {zone}", window.end);
                shifted += i32::from(wall(zone, window.start) != from) + i32::from(wall(zone, window.end) != to);
            };
            for (index, (from, to)) in PERIODS.iter().enumerate() {
                let lesson = found.remove(&(date, u32::try_from(index + 1).expect("few periods")));
                lessons += i32::from(lesson.is_some());
                check("lesson", from, to, lesson);
            }
            // What begins on the date. A window that lost its start still ends on it.
            let of_date = |window: &bellwether_agent::booking::Window| {
                wall(zone, window.end - TimeDelta::seconds(1)).date() == date
            };
            let window = |window: bellwether_agent::booking::Window| window.start..window.end;
            check("opening", "01:30", "23:15", open.next_if(of_date).map(window));
            check("vendor", "02:10", "02:50", vendor.next_if(of_date).map(window));
        }
        assert_eq!(
            (found.len(), open.next(), vendor.next()),
            (0, None, None),
            "more than there are dates for in {zone}"
        );
    }
    // Ten school days a week for four years in eleven zones, and few exceptions.
    assert!(
        lessons > 110_000 && leapt >= 20 && shifted >= 20,
        "{lessons} lessons, {leapt} left out, {shifted} shifted"
    );
}

#[test]
fn dates_follow_each_other_without_gap_or_overlap() {
    for (zone, first) in ZONES {
        let dates = dates(first);
        let calendar = school(zone, dates.start, date(first, 12, 20)..date(first + 1, 1, 10));
        assert_eq!(calendar.days().len(), 21);
        for (day, date) in calendar.days().iter().zip(calendar.dates().start.iter_days()) {
            assert_eq!((day.date, calendar.day(date)), (date, Some(day)));
        }
        let midnight = |date| zone::midnight(zone, date).expect("an instant");
        assert_eq!(calendar.known(), midnight(date(first, 12, 20))..midnight(date(first + 1, 1, 10)));
        for date in dates.start.iter_days().take_while(|date| *date < dates.end) {
            let (start, end) = (midnight(date), midnight(date.succ_opt().expect("a date")));
            if start == end {
                assert_eq!((zone, date), (Tz::Pacific__Apia, self::date(2011, 12, 30)));
                continue;
            }
            assert_eq!(wall(zone, start).date(), date, "{zone}");
            assert_eq!(wall(zone, start - TimeDelta::seconds(1)).date() + day_before(zone, date), date, "{zone}");
            assert_eq!(wall(zone, end - TimeDelta::seconds(1)).date(), date, "{zone}");
        }
    }
}

/// How far the date before lies back.
fn day_before(zone: Tz, date: NaiveDate) -> chrono::Days {
    let leap = zone == Tz::Pacific__Apia && date == self::date(2011, 12, 31);
    chrono::Days::new(if leap { 2 } else { 1 })
}

/// Whether there is a lesson, minute by minute from an instant on, by the furthest that the wall clock
/// has shown.
fn taken(zone: Tz, from: DateTime<Utc>, count: i64) -> Vec<bool> {
    let periods = PERIODS.map(|(from, to)| time(from)..time(to));
    let mut furthest = NaiveDateTime::MIN;
    let mut taken = |minute: i64| {
        furthest = furthest.max(wall(zone, from + minutes(minute)));
        periods.iter().any(|period| period.contains(&furthest.time()))
    };
    (0..count).map(&mut taken).collect()
}

const LONGEST: i64 = 3;
const MARGIN: i64 = 7;
/// Minutes of a walk on each side of a change.
const AROUND: i64 = 9 * 60;

fn conditions(calendar: &Calendar) -> Conditions<'_> {
    Conditions { calendar, margin: minutes(MARGIN), quiet_until: None, occupied: false }
}

/// Around each change of the clocks: its zone, when the minutes begin, whether each is taken, and the
/// calendar.
fn walks() -> Vec<(Tz, DateTime<Utc>, Vec<bool>, Calendar)> {
    let mut walks = Vec::new();
    for (zone, first) in ZONES {
        let dates = dates(first);
        // An hour of a usual day, too.
        let usual = zone.with_ymd_and_hms(first + 1, 6, 10, 12, 0, 0).single().expect("an instant");
        for at in changes(zone, &dates).into_iter().chain([usual.with_timezone(&Utc)]) {
            let from = at - minutes(AROUND);
            let around = wall(zone, at).date();
            let dates = around - chrono::Days::new(3)..around + chrono::Days::new(4);
            let monday = dates.start.week(chrono::Weekday::Mon).first_day();
            walks.push((zone, from, taken(zone, from, 2 * AROUND), school(zone, monday, dates)));
        }
    }
    walks
}

/// Whether a heavy run may start in a minute of a walk.
fn is_free(taken: &[bool], minute: i64) -> bool {
    let taken_at = |minute: i64| usize::try_from(minute).is_ok_and(|minute| taken.get(minute) == Some(&true));
    !(minute - MARGIN..minute + LONGEST + MARGIN).any(taken_at)
}

#[test]
fn the_gate_is_open_exactly_when_the_wall_clock_is_far_from_every_lesson() {
    let (mut runs, mut held) = (0, 0);
    let walks = walks();
    assert!(walks.len() > 50, "{} changes", walks.len());
    for (zone, from, taken, calendar) in &walks {
        let mut next = None;
        for minute in (30..2 * AROUND - 30).rev() {
            let now = *from + minutes(minute);
            let free = is_free(taken, minute);
            let found = gate(Weight::Heavy, minutes(LONGEST), conditions(calendar), now);
            assert_eq!(found.is_ok(), free, "{now} in {zone}");
            let lesson = usize::try_from(minute).ok().and_then(|minute| taken.get(minute)) == Some(&true);
            assert_eq!(found == Err(Skip::Lesson), lesson, "{now} in {zone}");
            assert_eq!(matches!(calendar.at(now, minutes(0)).room, RoomState::Lesson(_)), lesson, "{now} in {zone}");
            assert_eq!(gate(Weight::Light, minutes(LONGEST), conditions(calendar), now), Ok(()));
            next = if free { Some(now) } else { next };
            if next.is_some() {
                assert_eq!(free_again(Weight::Heavy, minutes(LONGEST), conditions(calendar), now), next);
            }
            runs += i32::from(free);
            held += i32::from(!free);
        }
    }
    assert!(runs > 20_000 && held > 10_000, "{runs} free, {held} held back");
}

#[test]
fn no_beat_runs_a_heavy_probe_in_a_lesson_nor_twice_however_the_clock_is_stepped() {
    let mut random = fastrand::Rng::with_seed(20);
    let (mut ran, mut skipped) = (0, 0);
    for (zone, from, taken, calendar) in walks() {
        let schedule = Schedule::parse("*/5 * * * *", zone, Duration::ZERO).expect("a pattern written here");
        let (mut minute, mut furthest) = (30, 30);
        let mut last = from + minutes(minute);
        let (mut runs, mut skips) = (Vec::new(), Vec::new());
        while minute < 2 * AROUND - 30 {
            let now = from + minutes(minute);
            let (due, examined) = due(&schedule, last, now);
            last = examined;
            if let Due::Run { at, .. } = due {
                match gate(Weight::Heavy, minutes(LONGEST), conditions(&calendar), now) {
                    Ok(()) => {
                        assert!(is_free(&taken, minute), "a run at {now} in {zone}");
                        runs.push(at);
                    }
                    Err(skip) => {
                        assert!(!is_free(&taken, minute), "{skip:?} at {now} in {zone}");
                        skips.push(at);
                    }
                }
            }
            furthest = minute.max(furthest);
            // Never back by an interval: such a clock is believed, and its beats are new ones.
            minute = if random.u8(0..60) == 0 { furthest + random.i64(-4..90) } else { minute + 1 };
        }
        (ran, skipped) = (ran + runs.len(), skipped + skips.len());
        let mut beats = [runs, skips].concat();
        beats.sort_unstable();
        let count = beats.len();
        beats.dedup();
        assert_eq!(beats.len(), count, "a beat was run twice in {zone}");
    }
    assert!(ran > 1000 && skipped > 500, "{ran} runs, {skipped} skips");
}
