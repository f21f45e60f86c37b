//! Dates and times as people type them. Pure.

use bellwether_agent::calendar::zone;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;

/// A date of the school: `2026-11-30`, `today`, `tomorrow`.
///
/// # Errors
/// What was found and what would be right.
pub fn date(text: &str, zone: Tz, now: DateTime<Utc>) -> Result<NaiveDate, String> {
    let today = zone::date(zone, now);
    match text.trim() {
        "today" | "今天" => Some(today),
        "tomorrow" | "明天" => today.succ_opt(),
        text => text.parse().ok(),
    }
    .ok_or_else(|| format!("found {text:?}, expected a date such as \"{today}\", or \"today\""))
}

/// An instant: `now`, `15:00` of today, `2026-11-30 15:00` on the wall clock of the school, or with its own
/// offset, as `2026-11-30T15:00:00+08:00`. A time that clocks leap over is the end of the leap; of one that
/// they repeat, the first.
///
/// # Errors
/// What was found and what would be right.
pub fn instant(text: &str, zone: Tz, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let written = narrow(text);
    if matches!(&*written, "now" | "现在") {
        return Ok(now);
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(&written) {
        return Ok(at.with_timezone(&Utc));
    }
    let local = match time_of_day(&written) {
        Some(time) => Some(zone::date(zone, now).and_time(time)),
        None => written.split_once(['T', ' ']).and_then(|(day, time)| {
            let day: NaiveDate = date(day, zone, now).ok()?;
            Some(NaiveDateTime::new(day, time_of_day(time)?))
        }),
    };
    local.and_then(|local| zone::instant(zone, local)).ok_or_else(|| {
        let today = zone::date(zone, now);
        format!("found {text:?}, expected a time such as \"15:00\", \"{today} 15:00\" or \"now\"")
    })
}

/// A time without a date, as `15:00`.
pub fn time_of_day(text: &str) -> Option<NaiveTime> {
    let written = narrow(text);
    ["%H:%M", "%H:%M:%S"].iter().find_map(|format| NaiveTime::parse_from_str(&written, format).ok())
}

/// Without space around it, and with the colon of other keyboards than a Chinese one.
fn narrow(text: &str) -> String {
    text.trim().replace('：', ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_school() {
        let now: DateTime<Utc> = "2026-11-29T20:30:00Z".parse().expect("an instant written here");
        let zone = Tz::Asia__Shanghai;
        let table = [
            ("now", "2026-11-29T20:30:00Z"),
            ("15:00", "2026-11-30T07:00:00Z"),
            ("2026-12-01 08:00", "2026-12-01T00:00:00Z"),
            ("2026-12-01T08:00", "2026-12-01T00:00:00Z"),
            ("明天 08:00:30", "2026-12-01T00:00:30Z"),
            ("2026-12-01T08:00:00+01:00", "2026-12-01T07:00:00Z"),
        ];
        for (text, expected) in table {
            assert_eq!(instant(text, zone, now), Ok(expected.parse().expect("an instant written here")), "{text}");
        }
        // 02:30 does not exist on that day, and comes twice on the other.
        let berlin = |text| instant(text, Tz::Europe__Berlin, now).map(|at| at.to_rfc3339());
        assert_eq!(berlin("2026-03-29 02:30"), Ok("2026-03-29T01:00:00+00:00".to_owned()));
        assert_eq!(berlin("2026-10-25 02:30"), Ok("2026-10-25T00:30:00+00:00".to_owned()));
        assert_eq!(
            instant("3 pm", zone, now),
            Err("found \"3 pm\", expected a time such as \"15:00\", \"2026-11-30 15:00\" or \"now\"".to_owned())
        );
        assert_eq!(date("tomorrow", zone, now).map(|date| date.to_string()), Ok("2026-12-01".to_owned()));
        assert!(date("2026-02-30", zone, now).is_err());
    }
}
