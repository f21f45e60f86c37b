//! The values that iCalendar writes times in (RFC 5545 §3.3).

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::parts::shown;

/// A date, or a time of one, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A date.
    Date(NaiveDate),
    /// A time on some wall clock; which one the parameter TZID says, or nobody.
    Wall(NaiveDateTime),
    /// An instant.
    Utc(DateTime<Utc>),
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Days on the wall clock.
    pub(super) days: TimeDelta,
    /// Time that passes.
    pub(super) time: TimeDelta,
}

/// Reads `20260901`, `20260901T080000` or `20260901T000000Z`.
pub(super) fn written(text: &str) -> Result<Written, String> {
    let text = text.trim();
    let wrong = || format!("found {}, expected a date as 20260901 or a time as 20260901T080000", shown(text));
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let date = date_of(date).ok_or_else(wrong)?;
    let Some(time) = time else { return Ok(Written::Date(date)) };
    match time.strip_suffix(['Z', 'z']) {
        Some(time) => Ok(Written::Utc(date.and_time(time_of(time).ok_or_else(wrong)?).and_utc())),
        None => Ok(Written::Wall(date.and_time(time_of(time).ok_or_else(wrong)?))),
    }
}

fn date_of(text: &str) -> Option<NaiveDate> {
    let [year, month, day] = [text.get(..4)?, text.get(4..6)?, text.get(6..)?].map(number);
    NaiveDate::from_ymd_opt(i32::try_from(year?).ok()?, month?, day?).filter(|_| text.len() == 8 && year > Some(0))
}

fn time_of(text: &str) -> Option<NaiveTime> {
    let [hour, minute, second] = [text.get(..2)?, text.get(2..4)?, text.get(4..)?].map(number);
    // A leap second is the second before it (§3.3.12).
    NaiveTime::from_hms_opt(hour?, minute?, second?.min(59)).filter(|_| text.len() == 6 && second <= Some(60))
}

/// Digits only: `parse` alone would take a sign.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads `P1W`, `PT45M`, `-P1DT2H`.
pub(super) fn length(text: &str) -> Result<Length, String> {
    let text = text.trim();
    read_length(&text.to_ascii_uppercase())
        .ok_or_else(|| format!("found {}, expected a length of time as PT45M or P1D", shown(text)))
}

fn read_length(text: &str) -> Option<Length> {
    let (back, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty())?;
    let (mut days, mut time, mut clock) = (TimeDelta::zero(), TimeDelta::zero(), false);
    while !rest.is_empty() {
        if let (Some(after), false) = (rest.strip_prefix('T'), clock) {
            (rest, clock) = (after, true);
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count = i64::from(number(rest.get(..end).filter(|digits| !digits.is_empty())?)?);
        match (rest.get(end..=end)?, clock) {
            ("W", false) => days = days.checked_add(&TimeDelta::try_weeks(count)?)?,
            ("D", false) => days = days.checked_add(&TimeDelta::try_days(count)?)?,
            ("H", true) => time = time.checked_add(&TimeDelta::try_hours(count)?)?,
            ("M", true) => time = time.checked_add(&TimeDelta::try_minutes(count)?)?,
            ("S", true) => time = time.checked_add(&TimeDelta::try_seconds(count)?)?,
            _ => return None,
        }
        rest = rest.get(end + 1..)?;
    }
    Some(if back { Length { days: -days, time: -time } } else { Length { days, time } })
}

/// Reads `+0800` or `-033000` → seconds east of Greenwich.
pub(super) fn offset(text: &str) -> Result<i32, String> {
    let text = text.trim();
    read_offset(text).ok_or_else(|| format!("found {}, expected an offset as +0800", shown(text)))
}

fn read_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+')?),
    };
    let [hours, minutes] = [digits.get(..2)?, digits.get(2..4)?].map(number);
    let seconds = match digits.get(4..)? {
        "" => 0,
        rest => number(rest).filter(|_| rest.len() == 2)?,
    };
    let total = i32::try_from(hours? * 3600 + minutes? * 60 + seconds).ok()?;
    (total < 86_400).then_some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        let date = NaiveDate::from_ymd_opt(2026, 9, 1).expect("a date");
        assert_eq!(written("20260901"), Ok(Written::Date(date)));
        assert_eq!(written(" 20260901T080000 "), Ok(Written::Wall(date.and_hms_opt(8, 0, 0).expect("a time"))));
        let instant = date.and_hms_opt(23, 59, 59).expect("a time").and_utc();
        assert_eq!(written("20260901T235960z"), Ok(Written::Utc(instant)));
        for bad in [
            "",
            "2026",
            "20260931",
            "2026-09-01",
            "20260901T",
            "20260901T0800",
            "20260901T240000",
            "20260901T08000",
            "20260901T080061",
            "+2260901",
            "20260901T08000Z",
            "00000101",
            "20260901T080000+0800",
            "20260901T0800000",
            "数数数",
            "202609012",
        ] {
            assert!(written(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths() {
        let minutes = |count| Length { days: TimeDelta::zero(), time: TimeDelta::minutes(count) };
        assert_eq!(length("PT45M"), Ok(minutes(45)));
        assert_eq!(length("-PT1H"), Ok(minutes(-60)));
        assert_eq!(
            length("+P1W2DT3H4M5S").map(|length| (length.days.num_days(), length.time.num_seconds())),
            Ok((9, 11_045))
        );
        for bad in ["", "P", "45M", "PT45", "P1H", "PT1D", "PTT1H", "PT99999999999S", "P1.5D", "PT-1H", "P-1D", "数"] {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn offsets() {
        assert_eq!(offset("+0800"), Ok(28_800));
        assert_eq!(offset("-033015"), Ok(-12_615));
        for bad in ["", "0800", "+8", "+08", "+08:00", "+2400", "+08000", "+0800000", "+数"] {
            assert!(offset(bad).is_err(), "{bad}");
        }
    }
}
