//! Which times a booking asks for. Pure.

use chrono::{DateTime, Datelike, Days, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::Window;
use crate::site::Vendor;

/// How many windows a booking asks for.
const WINDOWS: usize = 3;
/// How many days are looked at: enough for three weeks of one working day, with one to spare.
const DAYS: u64 = 29;
/// Appointments start at full quarters of an hour: people make them.
const QUARTER: i64 = 15 * 60;

/// The earliest window of each of the next three working days of the vendor: at least `notice` after
/// `now`, within the vendor's hours in the school's zone, as long as a visit takes. Empty if the
/// vendor's hours hold no such window.
pub fn wanted(vendor: &Vendor, zone: Tz, now: DateTime<Utc>) -> Vec<Window> {
    let span = |duration| TimeDelta::from_std(duration).ok();
    let (Some(notice), Some(duration)) = (span(vendor.notice.0), span(vendor.duration.0)) else {
        return Vec::new();
    };
    let Some(earliest) = now.checked_add_signed(notice).and_then(next_quarter) else {
        return Vec::new();
    };
    let first = earliest.with_timezone(&zone).date_naive();
    let days = (0..DAYS).filter_map(|count| first.checked_add_days(Days::new(count)));
    days.filter(|day| vendor.days.contains(&day.weekday()))
        .filter_map(|day| {
            let open = instant(zone, day.and_time(vendor.from))?;
            let close = instant(zone, day.and_time(vendor.to))?;
            let start = open.max(earliest);
            let end = start.checked_add_signed(duration)?;
            (end <= close).then_some(Window { start, end })
        })
        .take(WINDOWS)
        .collect()
}

/// The instant of a local time: the first of two where clocks are set back, the end of the gap where
/// they are set forward.
fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    // No gap is longer than the day that Samoa left out in 2011.
    let minutes = (0..=24 * 60).map_while(|count| local.checked_add_signed(TimeDelta::minutes(count)));
    let mut found = minutes.filter_map(|local| zone.from_local_datetime(&local).earliest());
    found.next().map(|at| at.with_timezone(&Utc))
}

/// The same instant, or the next at a full quarter of an hour.
fn next_quarter(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let seconds = at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0);
    DateTime::from_timestamp(seconds.div_euclid(QUARTER) * QUARTER + i64::from(seconds % QUARTER != 0) * QUARTER, 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bellwether_probes::Span;
    use chrono::{NaiveTime, Weekday};

    use super::*;

    fn vendor(from: &str, to: &str, notice: u64, duration: u64) -> Vendor {
        let time = |text| NaiveTime::parse_from_str(text, "%H:%M").expect("a time written here");
        let minutes = |count: u64| Span(Duration::from_secs(60 * count));
        Vendor {
            from: time(from),
            to: time(to),
            notice: minutes(notice),
            duration: minutes(duration),
            ..Vendor::default()
        }
    }

    fn starts(vendor: &Vendor, zone: Tz, now: &str) -> Vec<String> {
        let now = now.parse().expect("a time written here");
        let windows = wanted(vendor, zone, now);
        windows.iter().map(|window| window.start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).collect()
    }

    #[test]
    fn windows_are_the_next_three_working_days() {
        use chrono_tz::{Asia::Shanghai, Europe::Berlin, Pacific::Apia};
        let nine = vendor("09:00", "17:30", 120, 60);
        let table: &[(&str, &Vendor, Tz, &str, &[&str])] = &[
            // Tuesday 10:07 in Shanghai: two hours later at a full quarter, then two mornings.
            (
                "today",
                &nine,
                Shanghai,
                "2026-11-24T02:07:00Z",
                &["2026-11-24T04:15:00Z", "2026-11-25T01:00:00Z", "2026-11-26T01:00:00Z"],
            ),
            (
                "exactly in time",
                &nine,
                Shanghai,
                "2026-11-24T06:30:00Z",
                &["2026-11-24T08:30:00Z", "2026-11-25T01:00:00Z", "2026-11-26T01:00:00Z"],
            ),
            (
                "a second too late",
                &nine,
                Shanghai,
                "2026-11-24T06:30:01Z",
                &["2026-11-25T01:00:00Z", "2026-11-26T01:00:00Z", "2026-11-27T01:00:00Z"],
            ),
            (
                "over the weekend",
                &nine,
                Shanghai,
                "2026-11-27T09:00:00Z",
                &["2026-11-30T01:00:00Z", "2026-12-01T01:00:00Z", "2026-12-02T01:00:00Z"],
            ),
            // Friday evening in UTC is Saturday in Shanghai.
            (
                "the school's day counts",
                &nine,
                Shanghai,
                "2026-11-27T17:00:00Z",
                &["2026-11-30T01:00:00Z", "2026-12-01T01:00:00Z", "2026-12-02T01:00:00Z"],
            ),
            // Berlin: summer time starts on Sunday 2026-03-29.
            (
                "clocks forward between",
                &nine,
                Berlin,
                "2026-03-27T12:00:00Z",
                &["2026-03-27T14:00:00Z", "2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"],
            ),
            // 2011-12-30 did not exist in Samoa.
            (
                "a day left out",
                &nine,
                Apia,
                "2011-12-29T18:00:00Z",
                &["2011-12-29T20:00:00Z", "2012-01-01T19:00:00Z", "2012-01-02T19:00:00Z"],
            ),
        ];
        for (name, vendor, zone, now, expected) in table {
            assert_eq!(starts(vendor, *zone, now), *expected, "{name}");
        }
    }

    #[test]
    fn clock_changes_within_the_hours_keep_windows_real() {
        let zone = chrono_tz::Europe::Berlin;
        let night = |from, to| Vendor { days: vec![Weekday::Sun], ..vendor(from, to, 0, 30) };
        // 02:30 does not exist on 2026-03-29: the hours start when the gap ends, at 03:00 = 01:00Z.
        assert_eq!(starts(&night("02:30", "06:00"), zone, "2026-03-28T12:00:00Z")[0], "2026-03-29T01:00:00Z");
        // 02:30 comes twice on 2026-10-25: the first, 00:30Z.
        assert_eq!(starts(&night("02:30", "06:00"), zone, "2026-10-24T12:00:00Z")[0], "2026-10-25T00:30:00Z");
        // Hours that lie in the gap as a whole hold no window that day.
        assert_eq!(starts(&night("02:00", "03:00"), zone, "2026-03-28T12:00:00Z")[0], "2026-04-05T00:00:00Z");
    }

    #[test]
    fn a_visit_that_never_fits_gives_no_window() {
        let now = "2026-11-24T02:00:00Z";
        let zone = chrono_tz::Asia::Shanghai;
        assert!(starts(&vendor("09:00", "10:00", 0, 61), zone, now).is_empty());
        assert!(starts(&vendor("10:00", "09:00", 0, 30), zone, now).is_empty());
        assert!(starts(&Vendor { days: Vec::new(), ..vendor("09:00", "10:00", 0, 30) }, zone, now).is_empty());
        let never = Vendor { notice: Span(Duration::MAX), ..vendor("09:00", "10:00", 0, 30) };
        assert!(starts(&never, zone, now).is_empty());
        assert_eq!(starts(&vendor("09:00", "10:00", 0, 60), zone, now).len(), 3, "one that just fits");
    }

    #[test]
    fn windows_keep_notice_hours_and_length_at_any_instant() {
        let vendor = vendor("08:45", "11:00", 95, 50);
        let zone = chrono_tz::America::New_York;
        let mut now: DateTime<Utc> = "2026-10-30T00:00:00Z".parse().expect("a time written here");
        for _ in 0..500 {
            now += TimeDelta::seconds(1777);
            let windows = wanted(&vendor, zone, now);
            assert_eq!(windows.len(), 3, "{now}");
            for window in &windows {
                let local = window.start.with_timezone(&zone);
                assert!(window.start >= now + TimeDelta::minutes(95), "{now}: notice");
                assert!(local.time() >= vendor.from && window.end.with_timezone(&zone).time() <= vendor.to, "{now}");
                assert_eq!(window.end - window.start, TimeDelta::minutes(50), "{now}");
            }
            assert!(windows.is_sorted_by(|a, b| a.start < b.start), "{now}");
        }
    }
}
