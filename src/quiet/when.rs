//! Times as people write them → instants. Pure.

use bellwether_agent::calendar::zone;
use bellwether_probes::Unit;
use chrono::{DateTime, Days, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::when;

/// The longest that anybody can have quiet.
const LONGEST: TimeDelta = TimeDelta::days(7);
/// Longer than any time that is meant.
const MOST_BYTES: usize = 64;

/// Why a text is no time to be quiet until.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It is no time.
    #[error("found {0:?}, expected a time such as 15:00, 2026-11-30T15:00 or 2026-11-30T15:00:00+08:00")]
    NoTime(String),
    /// It is no length of time.
    #[error("found {0:?}, expected a length of time with its unit, such as \"90 min\" or \"2 h\"")]
    NoLength(String),
    /// It has passed today; `tomorrow` is the same time of tomorrow.
    #[error("{time} has passed; say tomorrow's date: {tomorrow}")]
    PassedToday {
        /// As it was written.
        time: String,
        /// What to write instead.
        tomorrow: String,
    },
    /// It has passed.
    #[error("found {0:?}, which has passed, expected a time to come")]
    Passed(String),
    /// It is too far away.
    #[error("found {0:?}, expected at most {days} days from now", days = LONGEST.num_days())]
    TooFar(String),
}

/// The instant of a time of today, a local date and time, or a time with its offset.
pub(super) fn until(text: &str, zone: Tz, now: DateTime<Utc>) -> Result<DateTime<Utc>, TimeError> {
    let no_time = || TimeError::NoTime(shortened(text));
    let at = when::instant(text, zone, now).map_err(|_| no_time())?;
    if let (true, Some(time)) = (at <= now, when::time_of_day(text)) {
        let tomorrow = zone::date(zone, now).checked_add_days(Days::new(1)).ok_or_else(no_time)?.and_time(time);
        let (time, tomorrow) = (time.format("%H:%M").to_string(), tomorrow.format("%Y-%m-%dT%H:%M").to_string());
        return Err(TimeError::PassedToday { time, tomorrow });
    }
    bounded(at, now, text)?;
    Ok(at)
}

/// The instant after a length of time, at the next whole minute: that is what is shown.
pub(super) fn lasting(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, TimeError> {
    let no_length = || TimeError::NoLength(shortened(text));
    // Without a unit nobody knows whether minutes were meant.
    let has_unit = text.len() <= MOST_BYTES && text.chars().any(char::is_alphabetic);
    let seconds = Unit::Seconds.parse(text).ok().filter(|seconds| has_unit && *seconds > 0.0).ok_or_else(no_length)?;
    if seconds > LONGEST.as_seconds_f64() {
        return Err(TimeError::TooFar(shortened(text)));
    }
    let end = now.timestamp_millis() + (seconds * 1e3).ceil() as i64;
    DateTime::from_timestamp((end + 59_999).div_euclid(60_000) * 60, 0).ok_or_else(no_length)
}

/// Whether it can be quiet until `at`; the daemon's own check of what it is asked for.
///
/// # Errors
/// It has passed, or is too far away.
pub(crate) fn check(at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), TimeError> {
    bounded(at, now, &at.to_rfc3339())
}

fn bounded(at: DateTime<Utc>, now: DateTime<Utc>, text: &str) -> Result<(), TimeError> {
    if at <= now {
        return Err(TimeError::Passed(shortened(text)));
    }
    // A length of time was rounded up to a minute.
    if at - now > LONGEST + TimeDelta::minutes(1) {
        return Err(TimeError::TooFar(shortened(text)));
    }
    Ok(())
}

/// No more of a text than a message can take.
fn shortened(text: &str) -> String {
    text.chars().take(MOST_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant written here")
    }

    const SHANGHAI: Tz = Tz::Asia__Shanghai;

    #[test]
    fn a_time_is_read_on_the_wall_clock_of_the_school() {
        let now = utc("2026-11-29T06:30:00Z"); // 14:30 in Shanghai
        for (text, expected) in [
            ("15:00", "2026-11-29T07:00:00Z"),
            (" 15：00 ", "2026-11-29T07:00:00Z"),
            ("23:59", "2026-11-29T15:59:00Z"),
            ("2026-11-30 15:00", "2026-11-30T07:00:00Z"),
            ("2026-11-30T15:00", "2026-11-30T07:00:00Z"),
            ("2026-11-30 15:00:30", "2026-11-30T07:00:30Z"),
            ("2026-11-30T15:00:00Z", "2026-11-30T15:00:00Z"),
            ("2026-11-29T15:00:00+08:00", "2026-11-29T07:00:00Z"),
            ("2026-12-06T14:30:00+08:00", "2026-12-06T06:30:00Z"),
        ] {
            assert_eq!(until(text, SHANGHAI, now), Ok(utc(expected)), "{text}");
        }
    }

    #[test]
    fn a_time_that_has_passed_is_not_taken_for_tomorrows() {
        let now = utc("2026-11-29T06:30:00Z");
        for (text, expected) in [
            ("14:30", "14:30 has passed; say tomorrow's date: 2026-11-30T14:30"),
            ("00:00", "00:00 has passed; say tomorrow's date: 2026-11-30T00:00"),
            ("2026-11-29 14:29", "found \"2026-11-29 14:29\", which has passed, expected a time to come"),
            ("2026-12-06 14:32", "found \"2026-12-06 14:32\", expected at most 7 days from now"),
            ("9999-12-31 00:00", "found \"9999-12-31 00:00\", expected at most 7 days from now"),
        ] {
            assert_eq!(until(text, SHANGHAI, now).expect_err(text).to_string(), expected);
        }
        // Just before midnight UTC it is the next day's morning in Shanghai.
        assert_eq!(until("08:30", SHANGHAI, utc("2026-11-29T23:59:00Z")), Ok(utc("2026-11-30T00:30:00Z")));
    }

    #[test]
    fn what_is_no_time_is_said_so() {
        let now = utc("2026-11-29T06:30:00Z");
        for text in ["", "soon", "25:00", "15", "15:60", "2026-02-30 15:00", "2026-11-30", "-1:00", &"1".repeat(500)] {
            let error = until(text, SHANGHAI, now).expect_err(text);
            assert!(matches!(&error, TimeError::NoTime(found) if found.len() <= MOST_BYTES), "{text}: {error}");
        }
    }

    #[test]
    fn where_clocks_change_a_time_is_the_end_of_the_gap_or_the_first_of_two() {
        let berlin = Tz::Europe__Berlin;
        let (spring, autumn) = (utc("2026-03-28T23:30:00Z"), utc("2026-10-24T22:30:00Z"));
        assert_eq!(until("02:30", berlin, spring), Ok(utc("2026-03-29T01:00:00Z")));
        assert_eq!(until("02:30", berlin, autumn), Ok(utc("2026-10-25T00:30:00Z")));
        assert_eq!(until("03:30", berlin, autumn), Ok(utc("2026-10-25T02:30:00Z")));
    }

    #[test]
    fn a_length_ends_at_a_whole_minute() {
        let now = utc("2026-11-29T06:30:10.250Z");
        for (text, expected) in [
            ("2h", "2026-11-29T08:31:00Z"),
            ("90 min", "2026-11-29T08:01:00Z"),
            ("0.5 h", "2026-11-29T07:01:00Z"),
            ("7 d", "2026-12-06T06:31:00Z"),
            ("49 s", "2026-11-29T06:31:00Z"),
            ("50 s", "2026-11-29T06:32:00Z"),
        ] {
            let at = lasting(text, now).expect(text);
            assert_eq!((at, check(at, now)), (utc(expected), Ok(())), "{text}");
        }
        for text in ["", "2", "h", "0 h", "-1 h", "2 hours", "1e3 s", "soon", &"9".repeat(400)] {
            assert!(matches!(lasting(text, now), Err(TimeError::NoLength(_))), "{text}");
        }
        for text in ["169 h", "8 d", "99999999999999999999 d"] {
            assert!(matches!(lasting(text, now), Err(TimeError::TooFar(_))), "{text}");
        }
    }

    #[test]
    fn the_daemon_takes_no_time_that_has_passed_or_is_too_far() {
        let now = utc("2026-11-29T06:30:00Z");
        assert!(matches!(check(now, now), Err(TimeError::Passed(_))));
        assert_eq!(check(now + TimeDelta::seconds(1), now), Ok(()));
        assert_eq!(check(now + LONGEST, now), Ok(()));
        assert!(matches!(check(now + LONGEST + TimeDelta::minutes(2), now), Err(TimeError::TooFar(_))));
        assert!(matches!(check(DateTime::<Utc>::MAX_UTC, now), Err(TimeError::TooFar(_))));
    }
}
