//! When the vendor works. Pure.

use std::ops::Range;

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use super::{
    holidays::{Holidays, National},
    zone,
};
use crate::{booking::Window, site::Vendor};

/// When the vendor works on a date of its own zone, and whether that is known. `zone` is the school's,
/// for a vendor without one; `holidays` are those that the vendor follows.
///
/// What the vendor says itself beats the holidays, and those beat the weekday. On a date without data a
/// working day is taken for one, and a weekend for a weekend.
pub fn hours(vendor: &Vendor, date: NaiveDate, zone: Tz, holidays: &Holidays) -> (Option<Window>, bool) {
    let weekday = vendor.days.contains(&date.weekday());
    let (works, known) = match (vendor.own(date), holidays.of(date)) {
        (Some(works), _) => (works, true),
        (None, National::Off(_)) => (false, true),
        (None, National::MakeUp(_)) => (true, true),
        (None, National::Plain) => (weekday, true),
        (None, National::Unknown) => (weekday, false),
    };
    let window = if works { zone::window(vendor.zone(zone), date, vendor.from, vendor.to) } else { None };
    (window, known)
}

/// When the vendor works on these dates of the school, by start, each with whether that is known.
pub fn windows(vendor: &Vendor, dates: Range<NaiveDate>, zone: Tz, holidays: &Holidays) -> Vec<(Window, bool)> {
    let midnight = |date: NaiveDate| zone::instant(zone, date.and_hms_opt(0, 0, 0)?);
    let (Some(start), Some(end)) = (midnight(dates.start), midnight(dates.end)) else { return Vec::new() };
    let own = vendor.zone(zone);
    let days = zone::date(own, start).iter_days().take_while(|date| *date <= zone::date(own, end));
    days.filter_map(|date| {
        let (window, known) = hours(vendor, date, zone, holidays);
        let window = window.filter(|window| window.start < end && start < window.end)?;
        Some((window, known))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveTime, Utc};
    use chrono_tz::{America::Los_Angeles, Asia::Shanghai, Europe::Berlin};

    use super::*;
    use crate::calendar::config::Dates;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date written here")
    }

    fn dates(from: &str, to: &str) -> Vec<Dates> {
        vec![Dates { from: date(from), to: date(to) }]
    }

    fn china() -> Holidays {
        Holidays::of_country("CN")
    }

    #[test]
    fn own_days_beat_holidays_and_holidays_beat_weekdays() {
        let own = Vendor {
            days_off: dates("2026-10-10", "2026-10-12"),
            works: dates("2026-10-03", "2026-10-04"),
            ..Vendor::default()
        };
        let usual = Vendor::default();
        let rows = [
            ("a weekday", &usual, "2026-10-08", (true, true)),
            ("a weekend", &usual, "2026-10-17", (false, true)),
            ("a weekday off", &usual, "2026-10-05", (false, true)),
            ("a make-up Saturday", &usual, "2026-10-10", (true, true)),
            ("a make-up Sunday", &usual, "2026-09-20", (true, true)),
            ("the Saturday between a holiday's weekdays", &usual, "2026-10-03", (false, true)),
            ("the first day without data, a Friday", &usual, "2027-01-01", (true, false)),
            ("a weekend without data", &usual, "2027-01-02", (false, false)),
            ("its own day off on a make-up Saturday", &own, "2026-10-10", (false, true)),
            ("its own day off on a weekday", &own, "2026-10-12", (false, true)),
            ("works on a day off", &own, "2026-10-03", (true, true)),
            ("the day after", &own, "2026-10-05", (false, true)),
        ];
        for (name, vendor, day, expected) in rows {
            let (window, known) = hours(vendor, date(day), Shanghai, &china());
            assert_eq!((window.is_some(), known), expected, "{name}");
        }
        let unknown = Vendor {
            days_off: dates("2027-01-01", "2027-01-01"),
            works: dates("2027-01-02", "2027-01-02"),
            ..Vendor::default()
        };
        for (day, works) in [("2027-01-01", false), ("2027-01-02", true)] {
            let (window, known) = hours(&unknown, date(day), Shanghai, &china());
            assert_eq!((window.is_some(), known), (works, true), "{day}: it says so itself");
        }
    }

    #[test]
    fn hours_are_those_of_the_vendors_own_zone() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant written here");
        let rows = [
            (None, "2026-11-24", "2026-11-24T01:00:00Z", "2026-11-24T09:30:00Z"),
            (Some(Berlin), "2026-03-27", "2026-03-27T08:00:00Z", "2026-03-27T16:30:00Z"),
            // Summer time.
            (Some(Berlin), "2026-03-30", "2026-03-30T07:00:00Z", "2026-03-30T15:30:00Z"),
            // Ends on the next date of UTC.
            (Some(Los_Angeles), "2026-11-24", "2026-11-24T17:00:00Z", "2026-11-25T01:30:00Z"),
        ];
        for (timezone, day, start, end) in rows {
            let vendor = Vendor { timezone, ..Vendor::default() };
            let expected = Some(Window { start: at(start), end: at(end) });
            assert_eq!(hours(&vendor, date(day), Shanghai, &Holidays::none()), (expected, true), "{timezone:?} {day}");
        }
    }

    #[test]
    fn windows_are_all_that_touch_the_schools_dates() {
        let time = |text| NaiveTime::parse_from_str(text, "%H:%M").expect("a time written here");
        let shown = |vendor: &Vendor, from: &str, to: &str| {
            let found = windows(vendor, date(from)..date(to), Shanghai, &china());
            found
                .iter()
                .map(|(window, known)| format!("{} {known}", window.start.format("%m-%dT%H")))
                .collect::<Vec<_>>()
        };
        let usual = Vendor::default();
        assert_eq!(
            shown(&usual, "2026-10-06", "2026-10-13"),
            ["10-08T01", "10-09T01", "10-10T01", "10-12T01"].map(|at| format!("{at} true"))
        );
        assert_eq!(shown(&usual, "2026-12-31", "2027-01-05"), ["12-31T01 true", "01-01T01 false", "01-04T01 false"]);
        assert!(shown(&usual, "2026-10-13", "2026-10-13").is_empty());
        // Its Monday begins after 00:00 of the school's Tuesday, and so does its Tuesday's of Wednesday.
        let far = Vendor { timezone: Some(Los_Angeles), ..Vendor::default() };
        assert_eq!(shown(&far, "2026-11-24", "2026-11-25"), ["11-23T17 true"]);
        // One that reaches over the school's midnight is there on both days.
        let early = Vendor { from: time("06:00"), to: time("12:00"), ..far };
        assert_eq!(shown(&early, "2026-11-24", "2026-11-25"), ["11-23T14 true", "11-24T14 true"]);
        // One that ends before it is not.
        let night = Vendor { from: time("00:00"), to: time("06:00"), ..early };
        assert_eq!(shown(&night, "2026-11-24", "2026-11-25"), ["11-24T08 true"]);
    }
}
