use chrono::{Datelike, NaiveTime, Weekday};
use chrono_tz::Tz;

use super::*;
use crate::calendar::{Day, DayKind, Lesson, Taken};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time written here")
}

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date written here")
}

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").expect("a time written here")
}

fn vendor(from: &str, to: &str, notice: u64, duration: u64) -> Vendor {
    let minutes = |count: u64| Span(std::time::Duration::from_secs(60 * count));
    Vendor { from: time(from), to: time(to), notice: minutes(notice), duration: minutes(duration), ..Vendor::default() }
}

/// A building that is open every day, and a vendor.
struct School {
    zone: Tz,
    first: NaiveDate,
    days: usize,
    open: (&'static str, &'static str),
    vendor: Vendor,
    lessons: Vec<Lesson>,
    timetable: Certainty,
    known_until: NaiveDate,
}

fn school(first: &str) -> School {
    School {
        zone: Tz::Asia__Shanghai,
        first: date(first),
        days: 40,
        open: ("00:00", "23:59"),
        vendor: vendor("09:00", "17:30", 120, 60),
        lessons: Vec::new(),
        timetable: Certainty::Known,
        known_until: NaiveDate::MAX,
    }
}

impl School {
    fn lesson(mut self, day: &str, from: &str, to: &str) -> Self {
        let day = date(day);
        let at = |text| zone::instant(self.zone, day.and_time(time(text))).expect("an instant");
        let place = Some(Place { week: 3, weekday: day.weekday(), first: 1, last: 2 });
        let lesson = Lesson { start: at(from), end: at(to), title: "数学".into(), taken: Taken::Lesson, place };
        self.lessons.push(lesson);
        self
    }

    fn calendar(&self) -> Calendar {
        let dates: Vec<_> = self.first.iter_days().take(self.days).collect();
        let kind = |date: &NaiveDate| {
            if date.weekday().number_from_monday() > 5 { DayKind::Weekend } else { DayKind::Teaching }
        };
        let day = |date: &NaiveDate| Day {
            date: *date,
            kind: kind(date),
            name: "".into(),
            week: None,
            follows: None,
            known: *date <= self.known_until,
        };
        let hours = |date: &NaiveDate, from, to| zone::window(self.zone, *date, from, to);
        let open = dates.iter().filter_map(|date| hours(date, time(self.open.0), time(self.open.1)));
        let works = dates.iter().filter(|date| self.vendor.days.contains(&date.weekday()));
        let vendor = works.filter_map(|date| Some((hours(date, self.vendor.from, self.vendor.to)?, true)));
        Calendar::of_parts(
            self.zone,
            dates.iter().map(day).collect(),
            self.lessons.clone(),
            open.collect(),
            vendor.collect(),
            self.timetable,
        )
    }

    fn wanted(&self, now: &str) -> Answer {
        wanted(&self.calendar(), &self.vendor, Class::Patch, &[], at(now))
    }

    fn starts(&self, now: &str) -> Vec<String> {
        let start = |offer: &Offer| offer.window.start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        self.wanted(now).offers.iter().map(start).collect()
    }

    fn needs(&self, now: &str, duration: i64, latest: &str) -> Vec<Vec<Need>> {
        let request = Request {
            now: at(now),
            duration: TimeDelta::minutes(duration),
            class: Class::Patch,
            notice: TimeDelta::hours(2),
            earliest: None,
            latest: Some(date(latest)),
            buffer: BUFFER,
            taken: &[],
            capacity: None,
            load: None,
        };
        find(&self.calendar(), request).relaxations.into_iter().map(|relaxation| relaxation.needs).collect()
    }
}

#[test]
fn without_lessons_it_is_the_next_three_working_days() {
    use chrono_tz::{Asia::Shanghai, Europe::Berlin, Pacific::Apia};
    let table: &[(&str, Tz, &str, &str, &[&str])] = &[
        // Tuesday 10:07 in Shanghai: two hours later at a full quarter, then two mornings.
        (
            "today",
            Shanghai,
            "2026-11-24",
            "2026-11-24T02:07:00Z",
            &["2026-11-24T04:15:00Z", "2026-11-25T01:00:00Z", "2026-11-26T01:00:00Z"],
        ),
        (
            "exactly in time",
            Shanghai,
            "2026-11-24",
            "2026-11-24T06:30:00Z",
            &["2026-11-24T08:30:00Z", "2026-11-25T01:00:00Z", "2026-11-26T01:00:00Z"],
        ),
        (
            "a second too late",
            Shanghai,
            "2026-11-24",
            "2026-11-24T06:30:01Z",
            &["2026-11-25T01:00:00Z", "2026-11-26T01:00:00Z", "2026-11-27T01:00:00Z"],
        ),
        (
            "over the weekend",
            Shanghai,
            "2026-11-27",
            "2026-11-27T09:00:00Z",
            &["2026-11-30T01:00:00Z", "2026-12-01T01:00:00Z", "2026-12-02T01:00:00Z"],
        ),
        // Friday evening in UTC is Saturday in Shanghai.
        (
            "the school's day counts",
            Shanghai,
            "2026-11-27",
            "2026-11-27T17:00:00Z",
            &["2026-11-30T01:00:00Z", "2026-12-01T01:00:00Z", "2026-12-02T01:00:00Z"],
        ),
        // Berlin: summer time starts on Sunday 2026-03-29.
        (
            "clocks forward between",
            Berlin,
            "2026-03-27",
            "2026-03-27T12:00:00Z",
            &["2026-03-27T14:00:00Z", "2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"],
        ),
        // 2011-12-30 did not exist in Samoa.
        (
            "a day left out",
            Apia,
            "2011-12-29",
            "2011-12-29T18:00:00Z",
            &["2011-12-29T20:00:00Z", "2012-01-01T19:00:00Z", "2012-01-02T19:00:00Z"],
        ),
    ];
    for (name, zone, first, now, expected) in table {
        let school = School { zone: *zone, timetable: Certainty::NoTimetable, ..school(first) };
        assert_eq!(school.starts(now), *expected, "{name}");
    }
}

#[test]
fn clock_changes_within_the_hours_keep_windows_real() {
    let night = |first, from, to| School {
        zone: chrono_tz::Europe::Berlin,
        vendor: Vendor { days: vec![Weekday::Sun], ..vendor(from, to, 0, 30) },
        ..school(first)
    };
    // 02:30 does not exist on 2026-03-29: the hours start when the gap ends, at 03:00 = 01:00Z.
    assert_eq!(night("2026-03-28", "02:30", "06:00").starts("2026-03-28T12:00:00Z")[0], "2026-03-29T01:00:00Z");
    // 02:30 comes twice on 2026-10-25: the first, 00:30Z.
    assert_eq!(night("2026-10-24", "02:30", "06:00").starts("2026-10-24T12:00:00Z")[0], "2026-10-25T00:30:00Z");
    // And never the second: at 00:46Z the next whose name is its own is 03:00 = 02:00Z.
    assert_eq!(night("2026-10-24", "02:30", "06:00").starts("2026-10-25T00:46:00Z")[0], "2026-10-25T02:00:00Z");
    // Hours that lie in the gap as a whole hold no window that day.
    assert_eq!(night("2026-03-28", "02:00", "03:00").starts("2026-03-28T12:00:00Z")[0], "2026-04-05T00:00:00Z");
}

#[test]
fn a_visit_that_never_fits_gives_no_window() {
    let now = "2026-11-24T02:00:00Z";
    let with = |vendor| School { vendor, ..school("2026-11-24") };
    assert!(with(vendor("09:00", "10:00", 0, 61)).starts(now).is_empty());
    assert!(with(vendor("10:00", "09:00", 0, 30)).starts(now).is_empty());
    assert!(with(Vendor { days: Vec::new(), ..vendor("09:00", "10:00", 0, 30) }).starts(now).is_empty());
    let never = Vendor { notice: Span(std::time::Duration::MAX), ..vendor("09:00", "10:00", 0, 30) };
    assert!(with(never).starts(now).is_empty());
    assert_eq!(with(vendor("09:00", "10:00", 0, 60)).starts(now).len(), 3, "one that just fits");
}

#[test]
fn nothing_is_offered_by_a_timetable_that_cannot_be_read() {
    let school = School { timetable: Certainty::Unreadable, ..school("2026-11-24") };
    let answer = school.wanted("2026-11-24T02:00:00Z");
    assert_eq!((answer.offers.len(), answer.relaxations.len()), (0, 0));
    assert_eq!(answer.nothing(), Some(Nothing::Unreadable));
    let window = Window { start: at("2026-11-25T01:00:00Z"), end: at("2026-11-25T02:00:00Z") };
    assert!(possible(&school.calendar(), window), "nor is anything known against what was offered before");
    assert!(provisional(&school.calendar(), window));
}

/// Thursday, 26 November 2026, 08:00 in Shanghai.
const THURSDAY: &str = "2026-11-26T00:00:00Z";

#[test]
fn a_free_afternoon_is_better_than_a_gap_and_each_offer_is_on_a_date_of_its_own() {
    let school = school("2026-11-26")
        .lesson("2026-11-26", "08:00", "10:00")
        .lesson("2026-11-26", "12:00", "12:45")
        .lesson("2026-11-27", "15:00", "17:30");
    let answer = school.wanted(THURSDAY);
    let zone = Tz::Asia__Shanghai;
    let local = |at: DateTime<Utc>| at.with_timezone(&zone).format("%m-%d %H:%M").to_string();
    let starts: Vec<_> = answer.offers.iter().map(|offer| (local(offer.window.start), offer.cost)).collect();
    // From 08:00: five hours to 13:00; a day and two hours to Friday at 10:00 with a lesson behind it, so
    // one day more than that; but at 09:00 one hour less.
    assert_eq!(
        starts,
        [("11-26 13:00".into(), 300), ("11-27 09:00".into(), 25 * 60 + 24 * 60), ("11-30 09:00".into(), 97 * 60)]
    );
    let kinds: Vec<Vec<&str>> = answer.offers.iter().map(|offer| offer.reasons.iter().map(name).collect()).collect();
    assert_eq!(kinds, [vec!["hours", "after"], vec!["hours", "before"], vec!["hours", "no lessons"]]);
}

fn name(reason: &Reason) -> &'static str {
    match reason {
        Reason::WithinHours => "hours",
        Reason::NoLessons => "no lessons",
        Reason::After { .. } => "after",
        Reason::Before { .. } => "before",
        _ => "other",
    }
}

#[test]
fn a_lesson_is_kept_clear_of_by_the_buffer_to_the_minute() {
    let between = |from: &str, to: &str| {
        let school = School { days: 1, vendor: vendor("09:00", "17:30", 0, 60), ..school("2026-11-26") };
        school.lesson("2026-11-26", "08:00", from).lesson("2026-11-26", to, "17:30").starts(THURSDAY).len()
    };
    assert_eq!(between("10:00", "11:30"), 1, "a quarter before, an hour, a quarter after");
    assert_eq!(between("10:01", "11:30"), 0);
    assert_eq!(between("10:00", "11:29"), 0);
}

#[test]
fn what_was_given_is_a_reason_and_what_was_not_is_said() {
    let school = School { days: 3, ..school("2026-11-26") };
    let taken = [Window { start: at("2026-11-26T01:00:00Z"), end: at("2026-11-26T03:00:00Z") }];
    let booked = BTreeMap::from([(date("2026-11-27"), 2), (date("2026-11-26"), 1)]);
    let mut load = [0; 24];
    load[11..16].fill(80);
    let request = Request {
        now: at(THURSDAY),
        duration: TimeDelta::hours(1),
        class: Class::Minor,
        notice: TimeDelta::zero(),
        earliest: None,
        latest: None,
        buffer: BUFFER,
        taken: &taken,
        capacity: Some(Capacity { per_day: 2, booked: &booked }),
        load: Some(Load(load)),
    };
    let answer = find(&school.calendar(), request);
    // The morning is taken, from 11:00 to 16:00 it is busy, and Friday is full.
    let window = Window { start: at("2026-11-26T08:00:00Z"), end: at("2026-11-26T09:30:00Z") };
    let [offer] = &answer.offers[..] else { panic!("found {:?}, expected one offer", answer.offers) };
    assert_eq!((offer.window, offer.cost), (window, 8 * 60));
    assert_eq!(offer.observed_until - window.end, TimeDelta::hours(2));
    assert_eq!(
        offer.reasons[2..],
        [Reason::ClearOfBookings { count: 1 }, Reason::Capacity { left: 1 }, Reason::Load { percent: 0 }]
    );
    assert_eq!(answer.unknown, [Unknown::Beyond]);
    let silent = find(&school.calendar(), Request { taken: &[], capacity: None, load: None, ..request });
    assert_eq!(silent.unknown, [Unknown::Beyond, Unknown::Capacity, Unknown::Load]);
}

#[test]
fn a_date_that_is_not_known_waits_for_one_that_is() {
    let school = School { known_until: date("2026-11-27"), ..school("2026-11-26") };
    let answer = school.wanted("2026-11-26T08:00:00Z");
    let known: Vec<_> = answer.offers.iter().map(|offer| (offer.window.start, offer.provisional)).collect();
    let monday = at("2026-11-30T01:00:00Z");
    assert_eq!(known[..2], [(at("2026-11-27T01:00:00Z"), false), (monday, true)]);
    assert!(answer.offers[1].reasons.contains(&Reason::UnknownYear));
    assert_eq!(answer.offers[1].cost, 7 * 24 * 60 + (monday - at("2026-11-26T08:00:00Z")).num_minutes());
    let window = answer.offers[1].window;
    assert!(provisional(&school.calendar(), window) && possible(&school.calendar(), window));
}

#[test]
fn the_smallest_exception_of_each_kind_is_named() {
    let busy = |day: &str| school("2026-11-26").lesson(day, "08:00", "17:00");
    let needs = busy("2026-11-26").lesson("2026-11-27", "08:00", "17:00").needs(THURSDAY, 60, "2026-11-27");
    // From 17:15 to 17:30 is a quarter, and half an hour is the least; the building is open for long.
    let monday = Need::Later { date: date("2026-11-30") };
    assert_eq!(needs, [vec![monday], vec![Need::AfterHours { minutes: 45 }]]);

    let weekend = busy("2026-11-26").needs("2026-11-27T09:00:00Z", 60, "2026-11-29");
    let saturday = vec![Need::Weekend { vendor: true, building: false }];
    assert_eq!(weekend[2..], [saturday]);

    let gaps =
        School { days: 1, vendor: vendor("09:00", "17:30", 0, 60), open: ("09:00", "17:30"), ..school("2026-11-26") };
    let gaps = gaps.lesson("2026-11-26", "10:30", "11:30").lesson("2026-11-26", "13:00", "17:30");
    // 09:00 to 10:15 and 11:45 to 12:45: in two parts of an hour, or one of 75 minutes.
    assert_eq!(
        gaps.needs("2026-11-25T00:00:00Z", 120, "2026-11-26"),
        [vec![Need::Shorter { minutes: 75 }], vec![Need::Split { parts: 2, minutes: 60 }]]
    );
    // Of 200 minutes a third is 75 on a grid of quarters, and half is too long.
    assert!(gaps.needs("2026-11-25T00:00:00Z", 200, "2026-11-26").is_empty(), "nor would two exceptions do");
}

#[test]
fn a_larger_change_takes_longer_and_is_watched_longer() {
    let minutes = |class: Class, minutes| class.visit(TimeDelta::minutes(minutes)).num_minutes();
    assert_eq!(Class::ALL.map(|class| minutes(class, 60)), [60, 90, 120]);
    assert_eq!(Class::ALL.map(|class| minutes(class, 45)), [45, 68, 90]);
    assert_eq!(Class::ALL.map(|class| minutes(class, 0)), [1, 1, 1]);
    assert_eq!(Class::Patch.visit(TimeDelta::seconds(61)), TimeDelta::minutes(2));
    assert!(Class::Major.visit(TimeDelta::MAX) > TimeDelta::days(700));
    assert!(Class::ALL.is_sorted_by_key(|class| class.observation()));
}

#[test]
fn an_answer_reads_as_a_list() {
    let mut school = School { days: 10, ..school("2026-11-26") }.lesson("2026-11-26", "08:00", "10:00").lesson(
        "2026-11-26",
        "15:00",
        "16:00",
    );
    school.known_until = date("2026-11-26");
    let calendar = school.calendar();
    let chinese = text::write(&school.wanted(THURSDAY), &calendar, crate::site::Language::Chinese);
    let lines: Vec<_> = chinese.lines().collect();
    let first = [
        "预计时长 60 分钟，之后观察 30 分钟（观察期间可以上课）",
        "1. 2026-11-26 星期四 16:15–17:15",
        "   - 学校开放，维护单位在工作时间内",
        "   - 在这节课之后：第3周 星期四 第1-2节 数学 15:00–16:00",
        "   - 观察至 2026-11-26 17:45",
        "2. 2026-11-27 星期五 09:00–10:00（暂定，待节假日安排或课表更新后确认）",
    ];
    assert_eq!(lines[..6], first);
    assert_eq!(lines.last(), Some(&"各时段系统负载：未知，未予考虑"));
    let english = text::write(&school.wanted(THURSDAY), &calendar, crate::site::Language::English);
    assert!(english.contains("   - after the lesson week 3 Thu period 1-2 数学 15:00–16:00\n"), "{english}");
    assert_eq!(english.lines().count(), lines.len());

    school.lessons.clear();
    school.vendor = vendor("09:00", "10:00", 120, 60);
    let nothing = school.wanted("2026-12-05T15:30:00Z");
    assert_eq!(nothing.nothing(), Some(Nothing::NoneFits));
    let english = text::write(&nothing, &school.calendar(), crate::site::Language::English);
    assert!(english.contains("nor would one or two exceptions do"), "{english}");
}
