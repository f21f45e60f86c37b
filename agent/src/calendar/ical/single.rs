//! The one appointment of a text: when it is, whether or not it takes place.

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use super::{
    IcalError, MAX_BYTES, MAX_WORK, Notes, Work,
    event::{Reader, Start},
    parts::{self, Part},
    time::{self, Written},
    zones::Zones,
};

/// When an appointment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Whole days: the first, and the one after the last.
    Days {
        /// The first day.
        from: NaiveDate,
        /// The day after the last.
        to: NaiveDate,
    },
    /// From one instant to another.
    Time {
        /// Its start.
        start: DateTime<Utc>,
        /// Its end; never before its start.
        end: DateTime<Utc>,
    },
}

/// When the first event of a text is: the first occurrence, and not one that replaces another. Local times
/// without a zone are in `zone`.
///
/// # Errors
/// There is no event, or its time cannot be told without doubt.
pub fn when(text: impl AsRef<[u8]>, zone: Option<Tz>) -> Result<When, IcalError> {
    let text = text.as_ref();
    if text.len() > MAX_BYTES {
        return Err(IcalError::new(1, format!("found {} bytes, expected at most {MAX_BYTES}", text.len())));
    }
    let (mut notes, mut work) = (Notes::default(), Work(MAX_WORK));
    let parts = parts::read(text, &mut notes)?;
    let first = |part: &&Part| part.first("RECURRENCE-ID").is_none();
    let part = parts.events.iter().find(first).ok_or_else(|| IcalError::new(1, "found no event, expected one"))?;
    // A zone of the calendar's own is wanted up to the event.
    let until = part.first("DTSTART").and_then(|start| time::written(&start.value).ok()).and_then(|written| {
        let date = match written {
            Written::Date(date) => date,
            Written::Wall(wall) => wall.date(),
            Written::Utc(at) => at.date_naive(),
        };
        Some(date.checked_add_days(Days::new(1))?.and_time(chrono::NaiveTime::MIN).and_utc())
    });
    let zones = Zones::new(zone.unwrap_or(Tz::UTC), &parts.zones, until.unwrap_or(DateTime::<Utc>::UNIX_EPOCH));
    let mut reader = Reader { zones: &zones, notes: &mut notes, work: &mut work };
    let (start, extent) = reader.first(part)?;
    if start.floating && zone.is_none() {
        return Err(IcalError::new(part.line, "found a time without a zone, expected one with it"));
    }
    let beyond = || IcalError::new(part.line, "found a time at the end of all times, expected one of this era");
    if let Start { wall, whole_days: true, .. } = start {
        let from = wall.date();
        let to = from.checked_add_signed(extent.longest()).ok_or_else(beyond)?;
        return Ok(When::Days { from, to: to.max(from.succ_opt().ok_or_else(beyond)?) });
    }
    let (start, end) = extent.span(start.wall, &start.zone).ok_or_else(beyond)?;
    Ok(When::Time { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str, zone: Option<Tz>) -> Result<When, String> {
        let text = format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\n{lines}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n");
        when(text, zone).map_err(|error| error.message)
    }

    fn time(start: &str, end: &str) -> When {
        let at = |text: &str| text.parse().expect("a time written here");
        When::Time { start: at(start), end: at(end) }
    }

    fn days(from: &str, to: &str) -> When {
        let date = |text: &str| text.parse().expect("a date written here");
        When::Days { from: date(from), to: date(to) }
    }

    #[test]
    fn every_form_of_a_time_is_read() {
        let noon = time("2026-11-24T04:00:00Z", "2026-11-24T05:00:00Z");
        for lines in [
            "DTSTART:20261124T040000Z\r\nDTEND:20261124T050000Z",
            "DTSTART:20261124T040000Z\r\nDURATION:PT1H",
            "DTSTART;TZID=Asia/Shanghai:20261124T120000\r\nDTEND;TZID=Asia/Shanghai:20261124T130000",
            "DTSTART;TZID=China Standard Time:20261124T120000\r\nDTEND:20261124T050000Z",
            "DTSTART:20261124T120000\r\nDTEND:20261124T130000",
            "STATUS:CANCELLED\r\nDTSTART:20261124T040000Z\r\nDTEND:20261124T050000Z",
            "DTSTART:20261124T040000Z\r\nDTEND:20261124T050000Z\r\nRRULE:FREQ=DAILY",
        ] {
            assert_eq!(of(lines, Some(Tz::Asia__Shanghai)), Ok(noon), "{lines}");
        }
        assert_eq!(of("DTSTART;VALUE=DATE:20261124", None), Ok(days("2026-11-24", "2026-11-25")));
        let two = "DTSTART;VALUE=DATE:20261124\r\nDTEND;VALUE=DATE:20261126";
        assert_eq!(of(two, Some(Tz::Asia__Shanghai)), Ok(days("2026-11-24", "2026-11-26")));
    }

    #[test]
    fn a_zone_of_its_own_is_read_up_to_the_event() {
        let zone = "BEGIN:VTIMEZONE\r\nTZID:Here\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0800\r\n\
                    TZOFFSETTO:+0800\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n";
        let text = format!(
            "BEGIN:VCALENDAR\r\n{zone}BEGIN:VEVENT\r\nDTSTART;TZID=Here:20261124T120000\r\nDURATION:PT1H\r\nEND:VEVENT\r\n\
             END:VCALENDAR\r\n"
        );
        assert_eq!(when(text, None), Ok(time("2026-11-24T04:00:00Z", "2026-11-24T05:00:00Z")));
    }

    #[test]
    fn what_is_in_doubt_is_refused() {
        assert!(of("DTSTART:20261124T120000\r\nDTEND:20261124T130000", None).expect_err("no zone").contains("zone"));
        for lines in ["SUMMARY:x", "DTSTART:soon", "DTSTART;TZID=Nowhere:20261124T120000", "DTSTART:99991231T235959Z"] {
            let found = of(lines, Some(Tz::UTC));
            assert!(found.is_err() || lines.contains("9999"), "{lines}: {found:?}");
        }
        assert!(when("", None).is_err() && when("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", None).is_err());
    }
}
