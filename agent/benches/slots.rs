//! What the search for a time for maintenance costs: 90 days are to be searched within 20 ms, also where
//! nothing fits and every exception is tried.

#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use bellwether_agent::{
    booking::slot::{BUFFER, Class, Request, find},
    calendar::{
        Calendar,
        build::{Sources, build},
        holidays::Holidays,
    },
    site::Vendor,
};
use chrono::{DateTime, Days, TimeDelta, Utc};
use chrono_tz::Tz;
use criterion::{Criterion, criterion_group, criterion_main};

fn now() -> DateTime<Utc> {
    "2026-09-07T00:10:00Z".parse().expect("an instant")
}

/// Ten periods a day, of which every `free`th is free; 0 for none.
fn school(free: usize) -> Calendar {
    let periods: Vec<String> = (8..18).map(|hour| format!("{hour:02}:00-{hour:02}:50")).collect();
    let taught = (0..50).filter(|index| free == 0 || index % free > 0);
    let lesson = |index: usize| format!("{} {}: 课程", ["Mon", "Tue", "Wed", "Thu", "Fri"][index % 5], 1 + index / 5);
    let timetable = serde_json::from_value(serde_json::json!({
        "bells": [{ "periods": periods }],
        "term": [{ "first_day": "2026-09-07", "weeks": 20, "lessons": taught.map(lesson).collect::<Vec<_>>() }],
    }));
    let holidays = Holidays::of_country("CN");
    let sources = Sources {
        timetable: &timetable.expect("a timetable"),
        ical: &[],
        holidays: &holidays,
        vendor: &Vendor::default(),
        vendor_holidays: &holidays,
        zone: Tz::Asia__Shanghai,
    };
    let first = now().date_naive();
    build(sources, first..first + Days::new(120))
}

fn request(minutes: i64) -> Request<'static> {
    Request {
        now: now(),
        duration: TimeDelta::minutes(minutes),
        class: Class::Patch,
        notice: TimeDelta::hours(48),
        earliest: None,
        latest: None,
        buffer: BUFFER,
        taken: &[],
        capacity: None,
        load: None,
    }
}

fn searches(c: &mut Criterion) {
    let (some, none) = (school(3), school(0));
    let offered = find(&some, request(30));
    assert_eq!(offered.offers.len(), 3, "{offered:?}");
    c.bench_function("90 days with offers", |b| b.iter(|| find(black_box(&some), request(30))));
    let singles = find(&none, request(60));
    assert!(singles.relaxations.iter().any(|found| found.needs.len() == 1), "{singles:?}");
    c.bench_function("90 days, one exception", |b| b.iter(|| find(black_box(&none), request(60))));
    let pairs = find(&none, request(12 * 60));
    assert!(pairs.relaxations.iter().any(|found| found.needs.len() == 2), "{pairs:?}");
    c.bench_function("90 days, two exceptions", |b| b.iter(|| find(black_box(&none), request(12 * 60))));
}

criterion_group!(benches, searches);
criterion_main!(benches);
