//! Whole texts, and what becomes of them. What is expected was computed by hand, or by PyPI's
//! recurring-ical-events where that does not go against RFC 5545.

mod bounds;
mod events;
mod recurrence;
mod refusals;
mod zones;

use super::*;

/// A calendar around these lines.
fn calendar(lines: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}\r\nEND:VCALENDAR\r\n", lines.trim().replace('\n', "\r\n"))
}

/// A calendar of one event with the title A.
fn event(lines: &str) -> String {
    calendar(&format!("BEGIN:VEVENT\nUID:a\nSUMMARY:A\n{}\nEND:VEVENT", lines.trim()))
}

fn date(text: &str) -> DateTime<Utc> {
    format!("{text}T00:00:00Z").parse().expect("a date")
}

fn in_zone(text: &str, zone: Tz, from: &str, to: &str) -> Result<Expanded, IcalError> {
    expand(text, zone, date(from)..date(to))
}

/// A text of a school in Shanghai.
fn all(text: &str, from: &str, to: &str) -> Expanded {
    in_zone(text, Tz::Asia__Shanghai, from, to).expect("a timetable")
}

/// Events in UTC, as `0901T0000-0045`, with an end on another date written out and titles but A.
fn shown(found: &Expanded) -> Vec<String> {
    let show = |event: &Event| {
        let (start, end) = (event.start.naive_utc(), event.end.naive_utc());
        let end_format = if start.date() == end.date() { "%H%M" } else { "%m%dT%H%M" };
        let title = if &*event.summary == "A" { String::new() } else { format!(" {}", event.summary) };
        format!("{}-{}{title}", start.format("%m%dT%H%M"), end.format(end_format))
    };
    found.events.iter().map(show).collect()
}

/// Lines and texts of the notes.
fn notes(found: &Expanded) -> Vec<(usize, &str)> {
    found.notes.iter().map(|note| (note.line, note.message.as_str())).collect()
}

/// What a text of September 2026 holds, without a note.
#[track_caller]
fn september(text: &str) -> Vec<String> {
    let found = all(text, "2026-09-01", "2026-10-01");
    assert_eq!(found.notes, [], "nothing is passed over");
    shown(&found)
}

/// Why a text is refused.
#[track_caller]
fn refused(text: &str) -> (usize, String) {
    let error = in_zone(text, Tz::Asia__Shanghai, "2026-09-01", "2026-10-01").expect_err("this hides a lesson");
    (error.line, error.message)
}
