//! What people ask of a room's hours: `calendar`, `slots`, `explain`, `holidays import`.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::daemon::{Ended, Home, NO_CALL};

/// Bells, a term with a lesson on Mondays and Thursdays, and the make-up day of October 2026.
const TABLE: &str = r#"
[site]
language = "en"
[[timetable.bells]]
periods = ["08:00-08:45", "08:55-09:40", "10:00-10:45"]
[[timetable.term]]
name = "autumn"
first_day = "2026-09-07"
weeks = 20
lessons = ["Mon 1-2: maths", "Thu 3: physics"]
[[timetable.override]]
dates = "2026-10-10"
runs = "week 4 Thu"
reason = "make-up day"
"#;

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ended.stdout, ended.stderr))
}

#[test]
fn a_table_is_shown_lesson_by_lesson() {
    let home = Home::new(&format!("{NO_CALL}{TABLE}"));
    let shown = home.run(["calendar", "--from", "2026-10-05", "--to", "2026-10-12", "--json"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    let shown = json(&shown);
    let days: Vec<(String, String, usize)> = shown["days"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|day| {
            let text = |key: &str| day[key].as_str().expect("a text").to_owned();
            (text("date"), text("kind"), day["lessons"].as_array().expect("a list").len())
        })
        .collect();
    let expected = [
        ("2026-10-05", "holiday", 0),
        ("2026-10-06", "holiday", 0),
        ("2026-10-07", "holiday", 0),
        ("2026-10-08", "teaching", 1),
        ("2026-10-09", "teaching", 0),
        ("2026-10-10", "make_up", 1),
        ("2026-10-11", "weekend", 0),
        ("2026-10-12", "teaching", 1),
    ];
    assert_eq!(days, expected.map(|(date, kind, lessons)| (date.to_owned(), kind.to_owned(), lessons)));
    let lesson = &shown["days"][5]["lessons"][0];
    assert_eq!((&lesson["start"], &lesson["title"]), (&"2026-10-10T02:00:00Z".into(), &"physics".into()));
    let text = home.run(["calendar", "--from", "2026-10-10", "--to", "2026-10-10"]);
    for part in ["2026-10-10 Sat", "make-up day", "week 4 Thu", "10:00–10:45", "period 3", "physics"] {
        assert!(text.stdout.contains(part), "{part}: {}", text.stdout);
    }
    assert!(!home.state().join("bellwether.db").exists(), "no ledger is needed");
}

#[test]
fn the_gate_explains_itself() {
    let home = Home::new(&format!("[probe.box]\nweight = \"heavy\"\n{TABLE}"));
    let probe = |instant: &str, name: &str| {
        let ended = home.run(["explain", instant, "--json"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{instant}");
        let probes = json(&ended)["probes"].as_array().expect("a list").clone();
        probes.into_iter().find(|probe| probe["probe"] == name).expect("a probe of this name")
    };
    for (instant, name, may_run, reason) in [
        ("2026-10-12 08:20", "call", false, Value::from("lesson")),
        ("2026-10-12 08:20", "box", false, Value::from("lesson")),
        ("2026-10-12 08:20", "voice", true, Value::Null),
        ("2026-10-12 07:55", "call", false, Value::from("margin")),
        ("2026-10-12 12:00", "call", true, Value::Null),
        ("2026-10-05 08:20", "call", true, Value::Null),
    ] {
        let probe = probe(instant, name);
        assert_eq!((&probe["may_run"], &probe["reason"]), (&may_run.into(), &reason), "{instant} {name}: {probe}");
    }
    assert_eq!(probe("2026-10-12 08:20", "call")["free_again"], "2026-10-12T01:50:00Z", "09:40 and the margin");
    let bad = home.run(["explain", "noon"]);
    assert_eq!((bad.code, bad.stdout.as_str()), (64, ""));
    assert!(bad.stderr.contains("found \"noon\", expected a time such as"), "{}", bad.stderr);
}

#[test]
fn slots_are_offered_with_reasons_and_a_timetable_nobody_can_read_offers_none() {
    let home = Home::new(&format!("{NO_CALL}{TABLE}"));
    let found = home.run(["slots", "--for", "1h", "--json"]);
    assert_eq!((found.code, found.stderr.as_str()), (0, ""));
    let found = json(&found);
    let offers = found["offers"].as_array().expect("a list");
    assert_eq!(offers.len(), 3, "{found}");
    assert!(offers.iter().all(|offer| !offer["reasons"].as_array().expect("a list").is_empty()), "{found}");
    let text = home.run(["slots", "--for", "9 h", "--class", "major"]);
    assert_eq!(text.code, 1, "no visit of 18 hours fits: {}", text.stdout);
    assert!(!text.stdout.trim().is_empty());

    let home = Home::new(&format!("{NO_CALL}[timetable]\nical = [\"/nonexistent/r301.ics\"]\n"));
    let none = home.run(["slots", "--json"]);
    assert_eq!((none.code, &json(&none)["offers"]), (3, &Value::Array(Vec::new())));
    let shown = home.run(["calendar", "--json"]);
    assert_eq!((shown.code, &json(&shown)["timetable"]), (3, &"unreadable".into()));
    assert_eq!(json(&shown)["notes"][0]["source"], "/nonexistent/r301.ics");
}

#[test]
fn a_year_is_imported_and_its_dates_are_known_from_then_on() {
    let home = Home::new(&format!("{NO_CALL}{TABLE}"));
    let day = || {
        let shown = home.run(["calendar", "--from", "2027-02-08", "--to", "2027-02-08", "--json"]);
        json(&shown)["days"][0].clone()
    };
    assert_eq!(day()["known"], false);
    let empty = home.path().join("2027.json");
    fs::write(&empty, r#"{"year":2027,"papers":[],"days":[]}"#).expect("a file");
    let refused = home.run(["holidays", "import", empty.to_str().expect("UTF-8")]);
    assert_eq!((refused.code, refused.stdout.as_str()), (65, ""));
    assert!(refused.stderr.contains("the notice for 2027 is not out yet"), "{}", refused.stderr);
    assert_eq!(day()["known"], false, "nothing was changed");

    let days = ["2027-01-01", "2027-02-08", "2027-04-05", "2027-05-01", "2027-06-09", "2027-09-15", "2027-10-01"];
    let day_of = |date: &&str, off: bool| serde_json::json!({ "name": "a holiday", "date": date, "isOffDay": off });
    let off = days.iter().map(|date| day_of(date, true));
    // A year of China without a make-up day would be no notice, but a list of festivals.
    let days: Vec<_> = off.chain([day_of(&"2027-02-20", false)]).collect();
    let data = serde_json::json!({ "year": 2027, "papers": ["https://www.gov.cn/notice"], "days": days });
    fs::write(&empty, data.to_string()).expect("a file");
    let taken = home.run(["holidays", "import", empty.to_str().expect("UTF-8")]);
    assert_eq!((taken.code, taken.stderr.as_str()), (0, ""));
    assert!(taken.stdout.contains("2027-02-08 Mon  unknown → day off (a holiday)"), "{}", taken.stdout);
    assert_eq!((&day()["known"], &day()["kind"]), (&true.into(), &"holiday".into()));
    let kept = fs::metadata(home.state().join("holidays/CN-2027.json")).expect("a file").permissions();
    assert_eq!(kept.mode() & 0o777, 0o644, "root may import what the daemon reads");
}
