//! Days, one by one: as text and as JSON. Pure.

use std::ops::Range;

use bellwether_agent::{
    booking::{Window, slot::text::weekday_name},
    calendar::{Calendar, Certainty, Day, Lesson, zone},
    site::Language,
};
use chrono::{DateTime, NaiveTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::words;
use crate::timetable::Timetables;

/// One object; its days hold everything.
pub(super) fn json(known: &Timetables) -> Value {
    let calendar = &*known.calendar;
    let days = days(calendar).map(|(day, span)| {
        let lessons = lessons(calendar, day, &span).map(|lesson| {
            let place = lesson.place.map(|place| {
                json!({ "week": place.week, "weekday": place.weekday, "first": place.first, "last": place.last })
            });
            json!({
                "start": utc(lesson.start), "end": utc(lesson.end),
                "title": &*lesson.title, "taken": lesson.taken, "place": place,
            })
        });
        json!({
            "date": day.date, "kind": day.kind, "name": &*day.name, "week": day.week, "known": day.known,
            "follows": day.follows.map(|(week, weekday)| json!({ "week": week, "weekday": weekday })),
            "open": calendar.open(span.clone()).map(window).collect::<Vec<_>>(),
            "vendor": calendar.vendor(span.clone()).map(|(hours, _)| window(hours)).collect::<Vec<_>>(),
            "lessons": lessons.collect::<Vec<_>>(),
        })
    });
    json!({
        "zone": calendar.zone().name(), "from": calendar.dates().start,
        "to": calendar.dates().end.pred_opt(), "timetable": calendar.timetable(),
        "covered_until": known.covered_until.filter(|date| *date != chrono::NaiveDate::MAX),
        "days": days.collect::<Vec<_>>(), "notes": notes(known),
    })
}

pub(super) fn notes(known: &Timetables) -> Vec<Value> {
    let note =
        |note: &crate::timetable::Note| json!({ "source": note.source, "line": note.line, "message": note.message });
    known.notes.iter().map(note).collect()
}

fn window(window: Window) -> Value {
    json!({ "start": utc(window.start), "end": utc(window.end) })
}

fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A day a line, and its lessons below it.
pub(super) fn text(known: &Timetables, language: Language) -> String {
    let calendar = &*known.calendar;
    let zone = calendar.zone();
    let mut out = format!("{}: {}\n", zone.name(), words::certainty(calendar.timetable(), language));
    for (day, span) in days(calendar) {
        let mut parts = vec![words::date(day.date, language)];
        parts.extend(day.week.map(|week| words::week(week, language)));
        parts.push(words::kind(day.kind, language).to_owned());
        if !day.name.is_empty() {
            parts.push(day.name.to_string());
        }
        if let Some((week, weekday)) = day.follows {
            let (arrow, week) = (words::pick(language, ("runs", "按")), words::week(week, language));
            parts.push(format!("{arrow} {week} {}", weekday_name(weekday, language)));
        }
        if !day.known {
            parts.push(words::certainty(Certainty::UnknownYear, language).to_owned());
        }
        let hours = |name, windows: Vec<Window>| {
            let shown: Vec<_> = windows.into_iter().map(|window| words::span(window, day.date, zone)).collect();
            (!shown.is_empty()).then(|| format!("{} {}", words::pick(language, name), shown.join(", ")))
        };
        parts.extend(hours(("open", "开放"), calendar.open(span.clone()).collect()));
        parts.extend(hours(("vendor", "厂商"), calendar.vendor(span.clone()).map(|(hours, _)| hours).collect()));
        out.push_str(&format!("{}\n", parts.join("  ")));
        for lesson in lessons(calendar, day, &span) {
            let hours = words::span(Window { start: lesson.start, end: lesson.end }, day.date, zone);
            out.push_str(&format!("  {hours}  {}\n", words::lesson(lesson, language)));
        }
    }
    if !known.notes.is_empty() {
        out.push('\n');
    }
    out + &notes_text(known)
}

/// What a person should know of the sources, a line each.
pub(super) fn notes_text(known: &Timetables) -> String {
    let line = |note: &crate::timetable::Note| {
        let place = note.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("! {}{place}: {}\n", note.source, note.message)
    };
    known.notes.iter().map(line).collect()
}

/// The days with their first instant and that of the day after.
fn days(calendar: &Calendar) -> impl Iterator<Item = (&Day, Range<DateTime<Utc>>)> {
    let dates = calendar.dates();
    let start = |date: chrono::NaiveDate| zone::instant(calendar.zone(), date.and_time(NaiveTime::MIN));
    let days = dates.start.iter_days().take_while(move |date| *date < dates.end);
    days.filter_map(move |date| Some((calendar.day(date)?, start(date)?..start(date.succ_opt()?)?)))
}

/// The lessons that begin on a day; those that began before the first day stand there.
fn lessons<'c>(calendar: &'c Calendar, day: &Day, span: &Range<DateTime<Utc>>) -> impl Iterator<Item = &'c Lesson> {
    let (first, start) = (day.date == calendar.dates().start, span.start);
    calendar.lessons(span.clone()).filter(move |lesson| first || lesson.start >= start)
}
