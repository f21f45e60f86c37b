use serde_json::{Value, json};

use super::*;

/// A table that is right, with some keys changed.
fn with(change: impl FnOnce(&mut Value)) -> Timetable {
    let mut table = json!({
        "bells": [{"periods": ["08:00-08:45", "08:55-09:40"]}],
        "term": [
            {"first_day": "2026-09-07", "weeks": 20, "exam_weeks": "20", "breaks": ["2026-10-01/2026-10-07"],
                "lessons": ["Mon 1-2: 数学", "Thu 2 weeks 1-20 odd: 语文"]},
            {"first_day": "2027-02-22", "weeks": 18, "lessons": ["Fri 1"]},
        ],
        "override": [],
    });
    change(&mut table);
    serde_json::from_value(table).expect("a timetable")
}

fn keys(table: &Timetable) -> Vec<String> {
    table.check().into_iter().map(|mistake| mistake.key).collect()
}

fn overrides(list: Value) -> Vec<String> {
    keys(&with(|table| table["override"] = list))
}

#[test]
fn what_is_right_is_not_refused() {
    assert_eq!(Timetable::default().check(), []);
    assert_eq!(with(|_| ()).check(), []);
    assert_eq!(HolidayConfig::default().check(), []);
    let sources = json!([
        "/etc/bellwether/r101.ics",
        "https://school.example/a?b=c",
        "http://127.0.0.1:8080/a",
        "http://[::1]/a",
        "http://localhost/a"
    ]);
    assert_eq!(with(|table| table["ical"] = sources).check(), []);
    assert_eq!(with(|table| table["look_ahead"] = json!(0)).check(), []);
    assert_eq!(with(|table| table["margin"] = json!(0)).check(), []);
    let half = json!({"from": "11-01", "to": "02-28", "periods": ["08:00-08:45"]});
    let summer = json!({"from": "03-01", "to": "10-31", "periods": ["08:00-08:45", "08:55-09:40"]});
    let first = with(|table| {
        table["bells"] = json!([half, summer]);
        table["term"][0]["lessons"] = json!(["Mon 2 weeks 1-8"]);
    });
    assert_eq!(first.check(), [], "no lesson of the second period is in winter");
}

#[test]
fn overrides_that_agree_are_fine() {
    let week = json!({"dates": "2026-10-08/2026-10-10", "runs": "no lessons"});
    let day = json!({"dates": "2026-10-10", "runs": "不上课", "reason": "again"});
    let next = json!({"dates": "2026-10-11", "runs": "lessons"});
    assert!(overrides(json!([week, day, next, week])).is_empty());
}

#[test]
fn overrides_that_contradict_are_named_both() {
    let week = json!({"dates": "2026-10-08/2026-10-10", "runs": "no lessons"});
    let day = json!({"dates": "2026-10-10", "runs": "week 4 Thu"});
    for list in [json!([week, day]), json!([day, week])] {
        let mistakes = with(|table| table["override"] = list).check();
        let [Mistake { key, message }] = &*mistakes else { panic!("{mistakes:?}") };
        assert_eq!(key, "override[1].runs");
        for part in ["override[0]", "2026-10-08 to 2026-10-10", "no lessons", "week 4 Thu", "for 2026-10-10"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn an_override_runs_a_plan_that_there_is() {
    let one = |dates: &str, runs: &str| overrides(json!([{"dates": dates, "runs": runs}]));
    assert!(one("2026-10-10", "week 20 Thu").is_empty());
    assert_eq!(one("2026-10-10", "week 21 Thu"), ["override[0].runs"]);
    assert_eq!(one("2027-02-22", "week 19 Thu"), ["override[0].runs"], "the weeks of its own term");
    assert_eq!(one("2027-01-24/2027-01-25", "week 1 Thu"), ["override[0].dates"]);
    assert_eq!(one("2027-01-25", "Thu"), ["override[0].dates"]);
    assert_eq!(one("2026-10-10", "2027-01-25"), ["override[0].runs"]);
    assert!(one("2027-01-25", "no lessons").is_empty());
    assert!(one("2027-01-25", "lessons").is_empty());
    assert!(one("2027-01-25", "2026-10-08").is_empty(), "a day outside may run one of a term");
}

#[test]
fn with_an_ical_source_dates_outside_of_terms_may_have_plans() {
    let check = |runs: &str, dates: &str| {
        keys(&with(|table| {
            table["ical"] = json!(["/r101.ics"]);
            table["override"] = json!([{"dates": dates, "runs": runs}]);
        }))
    };
    assert!(check("Thu", "2027-01-25").is_empty());
    assert!(check("2027-01-25", "2026-10-10").is_empty());
    assert_eq!(check("week 4 Thu", "2027-01-25"), ["override[0].dates"], "but no number of a week");
}

#[test]
fn a_date_of_lessons_needs_bells_and_a_break_does_not() {
    let bells = |term: Value| {
        let seasons = json!([{"from": "03-01", "to": "02-28", "periods": ["08:00-08:45"]}]);
        keys(&with(|table| {
            table["bells"] = seasons;
            table["term"] = json!([term]);
        }))
    };
    // 29 February 2028 is the Tuesday of week 2.
    let term = |rest: Value| {
        let mut term = json!({"first_day": "2028-02-21", "weeks": 3});
        term.as_object_mut().expect("a table").extend(rest.as_object().expect("a table").clone());
        term
    };
    assert_eq!(bells(term(json!({"lessons": ["Tue 1"]}))), ["term[0]"]);
    assert!(bells(term(json!({"lessons": ["Tue 1"], "breaks": ["2028-02-29"]}))).is_empty());
    assert!(bells(term(json!({"lessons": ["Tue 1 weeks 1,3"]}))).is_empty());
    assert_eq!(bells(term(json!({"exam_weeks": "2"}))), ["term[0]"]);
    assert!(bells(term(json!({"exam_weeks": "1"}))).is_empty());
    assert!(keys(&with(|table| table["bells"] = json!([]))).iter().eq(["term[0]", "term[1]"]));
}

#[test]
fn lists_without_end_are_refused_before_they_are_looked_at() {
    let lessons = with(|table| table["term"][1]["lessons"] = json!(vec!["Fri 9"; 501]));
    assert_eq!(keys(&lessons), ["term[1].lessons"]);
    let over = json!({"dates": "2026-10-10", "runs": "no lessons"});
    assert_eq!(overrides(json!(vec![over; 501])), ["override"]);
}

#[test]
fn terms_that_share_a_week_are_refused() {
    let second = |first_day: &str| keys(&with(|table| table["term"][1]["first_day"] = json!(first_day)));
    assert_eq!(second("2027-01-24"), ["term[1].first_day"], "the Sunday of the last week");
    assert!(second("2027-01-25").is_empty());
    assert_eq!(second("2026-05-11"), ["term[1].first_day"], "its last Sunday is 2026-09-13");
    assert!(second("2026-05-10").is_empty());
}
