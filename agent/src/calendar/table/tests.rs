use chrono::Weekday::{Mon, Sat, Sun, Thu, Tue, Wed};
use serde_json::{Value, json};

use super::*;

fn ymd(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date")
}

fn timetable(table: Value) -> Timetable {
    serde_json::from_value(table).expect("a timetable")
}

/// An autumn term of 20 weeks from Monday 2026-09-07, with bells that change on 1 October.
fn autumn(lessons: Value) -> Timetable {
    timetable(json!({
        "bells": [
            {"periods": ["08:00-08:50", "09:00-09:50", "10:10-11:00", "14:00-14:50"]},
            {"from": "05-01", "to": "09-30", "periods": ["08:00-08:50", "09:00-09:50", "10:10-11:00", "14:30-15:20"]},
        ],
        "term": [{"first_day": "2026-09-07", "weeks": 20, "exam_weeks": "19-20", "breaks": ["2026-10-01/2026-10-07"],
            "lessons": lessons}],
    }))
}

/// The plan of a date's own week and weekday, as "14:00-14:50 title".
fn own(table: &Timetable, date: NaiveDate) -> Vec<String> {
    let place = table.in_term(date).expect("a date of a term");
    shown(table.plan(place.term, place.week, date.weekday(), date))
}

fn shown(planned: Vec<Planned>) -> Vec<String> {
    let show =
        |lesson: Planned| format!("{}-{} {}", lesson.start.format("%H:%M"), lesson.end.format("%H:%M"), lesson.title);
    planned.into_iter().map(show).collect()
}

#[test]
fn lessons_of_odd_and_even_weeks_take_turns() {
    let table =
        autumn(json!(["Mon 1-2 weeks 1-16 odd: odd", "Mon 1-2 weeks 1-16 even: even", "Mon 3: all", "Tue 1: no"]));
    assert_eq!(own(&table, ymd(2026, 9, 7)), ["08:00-09:50 odd", "10:10-11:00 all"]);
    assert_eq!(own(&table, ymd(2026, 9, 14)), ["08:00-09:50 even", "10:10-11:00 all"]);
    assert_eq!(own(&table, ymd(2026, 12, 21)), ["08:00-09:50 even", "10:10-11:00 all"], "week 16");
    assert_eq!(own(&table, ymd(2026, 12, 28)), ["10:10-11:00 all"], "week 17");
}

#[test]
fn lessons_come_by_start_with_their_place() {
    let table = autumn(json!(["Wed 4: last", "Wed 2-3 weeks 5: 语文", "Wed 1: first"]));
    let planned = table.plan(0, 5, Wed, ymd(2026, 10, 14));
    let places: Vec<Place> = planned.iter().map(|lesson| lesson.place).collect();
    let place = |first, last| Place { week: 5, weekday: Wed, first, last };
    assert_eq!(places, [place(1, 1), place(2, 3), place(4, 4)]);
    assert_eq!(planned[1].title, "语文");
}

#[test]
fn bells_change_with_the_season_in_the_middle_of_a_week() {
    // 1 October 2026 is the Thursday of week 4.
    let table = autumn(json!(["Wed 4: Wed", "Thu 4: Thu"]));
    assert_eq!(own(&table, ymd(2026, 9, 30)), ["14:30-15:20 Wed"]);
    assert_eq!(own(&table, ymd(2026, 10, 1)), ["14:00-14:50 Thu"]);
    let bells = |date| table.bells(date).expect("bells").1.format("%H:%M").to_string();
    assert_eq!((bells(ymd(2026, 9, 30)), bells(ymd(2026, 10, 1))), ("15:20".to_owned(), "14:50".to_owned()));
}

#[test]
fn a_plan_of_another_day_is_held_at_the_bells_of_the_date() {
    let table = autumn(json!(["Wed 4 weeks 4: week 4"]));
    assert_eq!(shown(table.plan(0, 4, Wed, ymd(2026, 10, 10))), ["14:00-14:50 week 4"]);
    assert_eq!(shown(table.plan(0, 4, Wed, ymd(2026, 9, 12))), ["14:30-15:20 week 4"]);
}

#[test]
fn a_week_of_exams_and_a_week_beyond_the_term_have_no_plan() {
    let table = autumn(json!(["Mon 1: all", "Mon 2 weeks 18-20: named"]));
    let date = ymd(2027, 1, 4);
    let count = |week| table.plan(0, week, Mon, date).len();
    assert_eq!([0, 1, 18, 19, 20, 21, u32::MAX].map(count), [0, 1, 2, 0, 0, 0, 0]);
    assert!(table.plan(1, 1, Mon, date).is_empty(), "no such term");
}

#[test]
fn a_term_counts_its_weeks_over_new_year() {
    // 2026 has an ISO week 53: the numbers of ISO weeks would be odd twice in a row.
    let table = autumn(json!(["Thu 1 weeks 1-18 odd: odd", "Mon 1 weeks 1-18 even: even"]));
    let week = |date| table.in_term(date).map(|place| place.week);
    assert_eq!(week(ymd(2026, 12, 27)), Some(16));
    assert_eq!(week(ymd(2026, 12, 28)), Some(17));
    assert_eq!(ymd(2026, 12, 31).iso_week().week(), 53);
    assert_eq!(week(ymd(2026, 12, 31)), Some(17));
    assert_eq!(week(ymd(2027, 1, 3)), Some(17));
    assert_eq!(week(ymd(2027, 1, 4)), Some(18));
    assert_eq!(own(&table, ymd(2026, 12, 31)), ["08:00-08:50 odd"]);
    assert_eq!(own(&table, ymd(2027, 1, 4)), ["08:00-08:50 even"]);
    assert!(own(&table, ymd(2027, 1, 7)).is_empty());
}

#[test]
fn a_term_begins_on_the_monday_of_its_first_week() {
    for first_day in ["2026-08-31", "2026-09-02", "2026-09-06"] {
        let table = timetable(json!({"term": [{"first_day": first_day, "weeks": 2}]}));
        let week = |month, day| table.in_term(ymd(2026, month, day)).map(|place| place.week);
        assert_eq!(week(8, 30), None, "{first_day}");
        assert_eq!(week(8, 31), Some(1), "{first_day}");
        assert_eq!(week(9, 6), Some(1), "{first_day}");
        assert_eq!(week(9, 7), Some(2), "{first_day}");
        assert_eq!(week(9, 13), Some(2), "{first_day}");
        assert_eq!(week(9, 14), None, "{first_day}");
    }
}

#[test]
fn a_date_knows_its_term_its_exams_and_its_break() {
    let table = timetable(json!({"term": [
        {"first_day": "2026-09-07", "weeks": 20, "exam_weeks": "20", "breaks": ["2026-10-01/2026-10-07", "2026-11-02"]},
        {"first_day": "2027-02-22", "weeks": 18},
    ]}));
    let place = |date| table.in_term(date).map(|place| (place.term, place.week, place.exams, place.in_break));
    assert_eq!(place(ymd(2026, 9, 30)), Some((0, 4, false, false)));
    assert_eq!(place(ymd(2026, 10, 1)), Some((0, 4, false, true)));
    assert_eq!(place(ymd(2026, 10, 7)), Some((0, 5, false, true)));
    assert_eq!(place(ymd(2026, 10, 8)), Some((0, 5, false, false)));
    assert_eq!(place(ymd(2026, 11, 2)), Some((0, 9, false, true)));
    assert_eq!(place(ymd(2027, 1, 18)), Some((0, 20, true, false)));
    assert_eq!(place(ymd(2027, 1, 25)), None);
    assert_eq!(place(ymd(2027, 2, 22)), Some((1, 1, false, false)));
}

/// The first bell of a season is the hour that it stands for.
fn first_hour(table: &Timetable, month: u32, day: u32) -> Option<String> {
    table.bells(ymd(2028, month, day)).map(|(first, _)| first.format("%H").to_string())
}

#[test]
fn seasons_of_the_south_go_over_new_year() {
    let table = timetable(json!({"bells": [
        {"from": "04-01", "to": "09-30", "periods": ["09:00-10:00", "11:00-12:00"]},
        {"from": "10-01", "to": "03-31", "periods": ["07:00-08:00"]},
    ]}));
    let hour = |month, day| first_hour(&table, month, day).expect("bells all year");
    for (month, day) in [(10, 1), (12, 31), (1, 1), (2, 29), (3, 31)] {
        assert_eq!(hour(month, day), "07", "{month}-{day}");
    }
    for (month, day) in [(4, 1), (6, 21), (9, 30)] {
        assert_eq!(hour(month, day), "09", "{month}-{day}");
    }
}

#[test]
fn the_leap_day_is_of_a_season_only_if_that_holds_it() {
    let table = timetable(json!({"bells": [{"from": "11-01", "to": "02-28", "periods": ["08:00-09:00"]}]}));
    assert_eq!(first_hour(&table, 2, 28).as_deref(), Some("08"));
    assert_eq!(first_hour(&table, 2, 29), None);
    let leap =
        json!({"bells": [{"periods": ["08:00-09:00"]}, {"from": "02-29", "to": "02-29", "periods": ["07:00-08:00"]}]});
    let table = timetable(leap);
    assert_eq!(first_hour(&table, 2, 29).as_deref(), Some("07"));
    assert_eq!(first_hour(&table, 3, 1).as_deref(), Some("08"));
}

#[test]
fn of_seasons_that_hold_a_date_the_last_counts() {
    let table = timetable(json!({"bells": [
        {"from": "05-01", "to": "09-30", "periods": ["07:00-08:00"]},
        {"from": "07-01", "to": "07-31", "periods": ["06:00-07:00"]},
        {"from": "12-24", "to": "12-24", "periods": ["10:00-11:00"]},
    ]}));
    let hour = |month, day| first_hour(&table, month, day);
    assert_eq!(hour(6, 30).as_deref(), Some("07"));
    assert_eq!(hour(7, 1).as_deref(), Some("06"));
    assert_eq!(hour(8, 1).as_deref(), Some("07"));
    assert_eq!(hour(12, 24).as_deref(), Some("10"));
    assert_eq!(hour(12, 25), None);
}

#[test]
fn a_period_that_the_season_does_not_have_is_taken_to_the_last_bell() {
    let table = timetable(json!({
        "bells": [
            {"periods": ["08:00-09:00", "09:00-10:00", "10:00-11:00", "11:00-12:00"]},
            {"from": "01-01", "to": "09-30", "periods": ["07:00-08:00", "08:00-09:00"]},
        ],
        "term": [{"first_day": "2026-09-07", "weeks": 20, "lessons": ["Thu 2-3: half", "Sat 3-4: none", "Sun 2: all"]}],
    }));
    let plan = |weekday| shown(table.plan(0, 10, weekday, ymd(2026, 9, 12)));
    assert_eq!(plan(Thu), ["08:00-09:00 half"]);
    assert_eq!(plan(Sat), ["07:00-09:00 none"]);
    assert_eq!(plan(Sun), ["08:00-09:00 all"]);
    assert!(plan(Tue).is_empty());
}

#[test]
fn without_bells_nothing_is_planned() {
    let table = timetable(json!({"term": [{"first_day": "2026-09-07", "weeks": 20, "lessons": ["Mon 1: a"]}]}));
    assert!(table.plan(0, 1, Mon, ymd(2026, 9, 7)).is_empty());
    assert_eq!(table.bells(ymd(2026, 9, 7)), None);
}

#[test]
fn dates_at_the_ends_of_time_are_in_no_term() {
    let mut table = autumn(json!([]));
    assert_eq!(table.in_term(NaiveDate::MAX), None);
    assert_eq!(table.in_term(NaiveDate::MIN), None);
    for first_day in [NaiveDate::MIN, NaiveDate::MAX] {
        table.term[0].first_day = first_day;
        table.term[0].weeks = u32::MAX;
        assert_eq!(table.term[0].sunday(), None);
        assert_eq!(table.in_term(NaiveDate::MIN).map(|place| place.week), None, "{first_day}");
    }
}
