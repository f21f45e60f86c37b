//! Lessons from a file: a full call waits for their end, a light one takes its place.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};

use crate::daemon::{Daemon, Home, NEXT_RUN, SOON};

/// A timetable of one lesson.
fn timetable(start: DateTime<Utc>, end: DateTime<Utc>) -> String {
    let instant = |at: DateTime<Utc>| at.format("%Y%m%dT%H%M%SZ").to_string();
    let (start, end) = (instant(start), instant(end));
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:{start}\r\n\
         DTSTART:{start}\r\nDTEND:{end}\r\nSUMMARY:Physics\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

fn state(daemon: &Daemon, state: &str) -> Option<f64> {
    daemon.metric(&format!("bellwether_room_timetable{{state=\"{state}\"}}"))
}

#[test]
fn a_lesson_holds_the_full_call_until_the_timetable_changes() {
    let home = Home::new("");
    let file = home.path().join("r101.ics");
    let now = Utc::now();
    let lesson = timetable(now - TimeDelta::hours(1), now + TimeDelta::hours(3));
    fs::write(&file, lesson).expect("a file");
    home.configure(&format!(
        "[holidays]\ncountry = \"\"\n[timetable]\nical = [{file:?}]\n\
         [probe.call]\nschedule = \"* * * * *\"\nduration = \"5 s\"\n\
         [probe.voice]\nduration = \"5 s\"\n"
    ));
    let daemon = home.start();
    let held = "bellwether_probe_skipped_total{probe=\"call\",reason=\"lesson\"}";
    daemon.wait_for_metric(held, 1.0, SOON);
    assert_eq!(state(&daemon, "lesson"), Some(1.0));
    assert!(daemon.metric("bellwether_timetable_age_seconds{component=\"r101.ics\"}").is_some_and(|age| age < 60.0));
    // The first inspection makes the call that no lesson minds.
    daemon.wait_for_runs("voice", 1.0, SOON);
    daemon.wait_for_metric(held, 2.0, NEXT_RUN);
    assert_eq!(daemon.metric("bellwether_probe_runs_total{probe=\"call\"}"), Some(0.0));

    let another_day = timetable(now + TimeDelta::days(3), now + TimeDelta::days(3) + TimeDelta::hours(1));
    fs::write(&file, another_day).expect("a file");
    assert!(daemon.reload());
    daemon.wait_for_runs("call", 1.0, NEXT_RUN);
    assert_eq!(state(&daemon, "lesson"), Some(0.0));
    daemon.stop();
}
