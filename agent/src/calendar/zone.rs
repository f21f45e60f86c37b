//! Wall clock ↔ instants, through every change of a zone's clocks.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use crate::booking::Window;

/// The instant of a local time: the first of two where clocks are set back, the end of the gap where
/// they are set forward. `None` only at the ends of what dates can say.
pub fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let found = zone.from_local_datetime(&local).earliest();
    Some(found.or_else(|| GapInfo::new(&local, &zone)?.end)?.with_timezone(&Utc))
}

/// The date on the wall clock at an instant.
pub fn date(zone: Tz, at: DateTime<Utc>) -> NaiveDate {
    local(zone, at).date()
}

/// What the wall clock shows at an instant.
pub fn local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    // `naive_local` would panic at the ends of what dates can say.
    let offset = zone.offset_from_utc_datetime(&at.naive_utc());
    at.naive_utc().checked_add_offset(chrono::Offset::fix(&offset)).unwrap_or(at.naive_utc())
}

/// The first instant of a date, or of the next one if the date does not exist.
pub fn midnight(zone: Tz, date: NaiveDate) -> Option<DateTime<Utc>> {
    instant(zone, date.and_time(NaiveTime::MIN))
}

/// From one local time of a date to another; `None` if nothing of it exists.
pub fn window(zone: Tz, date: NaiveDate, from: NaiveTime, to: NaiveTime) -> Option<Window> {
    let (start, end) = (instant(zone, date.and_time(from))?, instant(zone, date.and_time(to))?);
    (start < end).then_some(Window { start, end })
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, Offset, TimeDelta};

    use super::*;

    /// The instants at which the clocks of a zone change, and by how many seconds.
    fn changes(zone: Tz, from: &str, to: &str) -> Vec<(DateTime<Utc>, i64)> {
        let seconds = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant written here").timestamp();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("an instant of these years");
        let offset =
            |seconds| i64::from(zone.offset_from_utc_datetime(&at(seconds).naive_utc()).fix().local_minus_utc());
        let mut found = Vec::new();
        let step = 4 * 86400;
        let mut before = offset(seconds(from));
        for start in (seconds(from)..seconds(to)).step_by(usize::try_from(step).expect("small")) {
            let (mut low, mut high) = (start, start + step);
            let after = offset(high);
            if after == std::mem::replace(&mut before, after) {
                continue;
            }
            while high - low > 1 {
                let middle = i64::midpoint(low, high);
                if offset(middle) == offset(low) { low = middle } else { high = middle }
            }
            found.push((at(high), offset(high) - offset(low)));
        }
        found
    }

    #[test]
    fn every_gap_ends_where_it_ends_and_every_repetition_counts_once() {
        let (mut gaps, mut folds) = (0, 0);
        for zone in chrono_tz::TZ_VARIANTS {
            for (at, shift) in changes(zone, "2010-01-01T00:00:00Z", "2028-01-01T00:00:00Z") {
                let shown = local(zone, at);
                if shift > 0 {
                    gaps += 1;
                    for back in [1, 60, shift / 2, shift] {
                        let missing = shown - TimeDelta::seconds(back);
                        assert_eq!(instant(zone, missing), Some(at), "{missing} in {zone}");
                    }
                    let before = shown - TimeDelta::seconds(shift + 1);
                    assert_eq!(instant(zone, before), Some(at - TimeDelta::seconds(1)), "{before} in {zone}");
                } else {
                    folds += 1;
                    assert_eq!(instant(zone, shown), Some(at + TimeDelta::seconds(shift)), "{shown} in {zone}");
                }
                assert_eq!(
                    instant(zone, shown + TimeDelta::seconds(-shift)),
                    Some(at + TimeDelta::seconds((-shift).max(0)))
                );
            }
        }
        assert!(gaps > 2000 && folds > 2000, "{gaps} gaps, {folds} repetitions");
    }

    #[test]
    fn a_window_is_cut_by_a_gap_and_a_date_that_does_not_exist_has_none() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date written here");
        let time = |text: &str| text.parse::<NaiveTime>().expect("a time written here");
        let table = [
            (Tz::Asia__Shanghai, "2026-11-24", "08:00:00", "08:45:00", "2026-11-24T00:00:00Z 2026-11-24T00:45:00Z"),
            // From 02:00 to 03:00 there is nothing; clocks show 02:00 to 03:00 twice.
            (Tz::Europe__Berlin, "2026-03-29", "02:15:00", "02:45:00", ""),
            (Tz::Europe__Berlin, "2026-03-29", "01:30:00", "02:30:00", "2026-03-29T00:30:00Z 2026-03-29T01:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-29", "02:30:00", "03:30:00", "2026-03-29T01:00:00Z 2026-03-29T01:30:00Z"),
            (Tz::Europe__Berlin, "2026-10-25", "02:15:00", "03:15:00", "2026-10-25T00:15:00Z 2026-10-25T02:15:00Z"),
            (
                Tz::Australia__Lord_Howe,
                "2026-10-04",
                "01:45:00",
                "02:15:00",
                "2026-10-03T15:15:00Z 2026-10-03T15:30:00Z",
            ),
            // Its day begins at 01:00.
            (Tz::America__Sao_Paulo, "2018-11-04", "00:30:00", "01:30:00", "2018-11-04T03:00:00Z 2018-11-04T03:30:00Z"),
            (Tz::Pacific__Apia, "2011-12-30", "00:00:00", "23:59:00", ""),
            (Tz::Pacific__Apia, "2011-12-31", "08:00:00", "09:00:00", "2011-12-30T18:00:00Z 2011-12-30T19:00:00Z"),
        ];
        for (zone, on, from, to, expected) in table {
            let found = window(zone, date(on), time(from), time(to));
            let text = |window: Window| format!("{:?} {:?}", window.start, window.end);
            assert_eq!(found.map(text).unwrap_or_default(), expected, "{on} {from} in {zone}");
        }
    }

    #[test]
    fn the_ends_of_all_dates_are_no_trouble() {
        for zone in [Tz::Asia__Shanghai, Tz::America__New_York, Tz::UTC] {
            assert_eq!(instant(zone, NaiveDateTime::MAX).is_some(), zone != Tz::America__New_York);
            assert_eq!(instant(zone, NaiveDateTime::MIN).is_some(), zone != Tz::Asia__Shanghai);
            for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                assert!((local(zone, at) - at.naive_utc()).abs() <= TimeDelta::days(1));
            }
        }
    }
}
