//! Fuzz target: a timetable as iCalendar.

#![no_main]

use bellwether_agent::calendar::ical::{MAX_OCCURRENCES, expand};
use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The same text is always looked at in the same way.
    let zones = [Tz::Asia__Shanghai, Tz::Europe__Berlin, Tz::America__Santiago, Tz::Australia__Lord_Howe];
    let start = DateTime::from_timestamp(1_788_220_800, 0).expect("the first of September 2026");
    let span = start..start + TimeDelta::days([1, 30, 400][data.len() % 3]);
    if let Ok(found) = expand(data, zones[data.len() % zones.len()], span.clone()) {
        assert!(found.events.len() <= MAX_OCCURRENCES);
        assert!(found.events.is_sorted_by_key(|event| event.start));
        for event in &found.events {
            assert!(event.start <= event.end && event.start < span.end && event.end >= span.start);
            assert!(event.summary.chars().count() <= 200);
        }
    }
});
