//! What the calendar costs: a term of 200 recurring events is to be expanded within 50 ms, and a decision
//! to take less than 10 µs.

#![allow(missing_docs, reason = "a benchmark")]

#[path = "../tests/term/mod.rs"]
mod term;

use std::hint::black_box;

use bellwether_agent::{
    calendar::{build, config::Timetable, holidays::Holidays, ical, zone},
    schedule::gate::{Conditions, Weight, gate},
    site::Vendor,
};
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;
use criterion::{Criterion, criterion_group, criterion_main};

const ZONE: Tz = Tz::Asia__Shanghai;

fn midnight(date: NaiveDate) -> chrono::DateTime<chrono::Utc> {
    zone::instant(ZONE, date.and_time(NaiveTime::MIN)).expect("an instant")
}

/// A table of 200 lessons, odd and even weeks in turn, with two seasons and exams.
fn table() -> Timetable {
    let lesson = |index: usize| {
        let weekday = ["Mon", "Tue", "Wed", "Thu", "Fri"][index % 5];
        let (period, weeks) = (1 + index / 5 % 10, ["odd", "even"][index / 50 % 2]);
        format!("{weekday} {period} weeks 1-18 {weeks}: 课程 {index}")
    };
    let periods: Vec<String> = (8..18).map(|hour| format!("{hour:02}:00-{hour:02}:45")).collect();
    serde_json::from_value(serde_json::json!({
        "bells": [{"periods": periods}, {"from": "05-01", "to": "09-30", "periods": periods}],
        "term": [{"first_day": "2026-09-07", "weeks": 20, "exam_weeks": "19-20",
            "lessons": (0..200).map(lesson).collect::<Vec<_>>()}],
        "override": [{"dates": "2026-10-10", "runs": "week 4 Thu"}],
    }))
    .expect("a timetable")
}

fn bench(c: &mut Criterion) {
    let (text, empty, table) = (term::text(), Timetable::default(), table());
    assert_eq!(table.check(), []);
    let (vendor, holidays) = (Vendor::default(), Holidays::of_country("CN"));
    let ical = [build::Source { name: "r101".to_owned(), text: Some(text.as_bytes().into()), stale: false }];
    let sources = |timetable, ical| build::Sources {
        timetable,
        ical,
        holidays: &holidays,
        vendor: &vendor,
        vendor_holidays: &holidays,
        zone: ZONE,
    };
    let dates = term::monday()..term::end();
    let span = midnight(dates.start)..midnight(dates.end);
    assert_eq!(ical::expand(&text, ZONE, span.clone()).expect("a timetable").events.len(), term::OCCURRENCES);
    c.bench_function("ical::expand: 200 recurring events of a term", |b| {
        b.iter(|| ical::expand(black_box(&text), ZONE, span.clone()).expect("a timetable"));
    });
    c.bench_function("build: 200 recurring events of a term", |b| {
        b.iter(|| build::build(black_box(sources(&empty, &ical)), dates.clone()));
    });
    c.bench_function("build: a table of 200 lessons of a term", |b| {
        b.iter(|| build::build(black_box(sources(&table, &[])), dates.clone()));
    });

    let calendar = build::build(sources(&table, &ical), dates.clone());
    let conditions =
        Conditions { calendar: &calendar, margin: TimeDelta::minutes(10), quiet_until: None, occupied: false };
    // Another instant each time, so that no lookup is warm.
    let mut minute = 0;
    c.bench_function("a decision", |b| {
        b.iter(|| {
            minute = (minute + 7919) % (20 * 7 * 24 * 60);
            let now = span.start + TimeDelta::minutes(minute);
            let moment = calendar.at(black_box(now), conditions.margin);
            (moment, gate(Weight::Heavy, TimeDelta::seconds(40), conditions, now))
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
