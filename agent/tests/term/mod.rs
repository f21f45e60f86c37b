//! A term of a busy room as an iCalendar text: 200 events that recur.

use std::fmt::Write;

use chrono::{NaiveDate, TimeDelta};

/// How many events recur.
const EVENTS: usize = 200;

/// The first Monday of the term.
pub(crate) fn monday() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 9, 7).expect("a date")
}

/// The first Monday after it, 20 weeks later.
pub(crate) fn end() -> NaiveDate {
    monday() + TimeDelta::weeks(20)
}

/// Of five kinds in turn: every week, every other week, twice a week, a count, and weeks left out and
/// added. Of every tenth event one lesson is moved.
pub(crate) fn text() -> String {
    let mut text = String::from(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//school//timetable//EN\r\nBEGIN:VTIMEZONE\r\nTZID:Asia/Shanghai\r\n\
         BEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0800\r\nTZOFFSETTO:+0800\r\nEND:STANDARD\r\n\
         END:VTIMEZONE\r\n",
    );
    for index in 0..EVENTS {
        event(&mut text, index).expect("writing into a text does not fail");
    }
    text + "END:VCALENDAR\r\n"
}

fn event(text: &mut String, index: usize) -> std::fmt::Result {
    let (day, hour, kind) = (index % 5, 8 + index / 5 % 8, index / 40);
    let date = |week: usize| (monday() + TimeDelta::days((7 * week + day) as i64)).format("%Y%m%d");
    let begin = format!("BEGIN:VEVENT\r\nUID:{index}@school\r\nDTSTAMP:20260801T000000Z\r\n");
    let times = |week: usize, hour: usize| {
        format!(
            "DTSTART;TZID=Asia/Shanghai:{0}T{hour:02}0000\r\nDTEND;TZID=Asia/Shanghai:{0}T{hour:02}4500\r\n",
            date(week)
        )
    };
    write!(text, "{begin}{}SUMMARY:课程 {index}\r\nLOCATION:一号楼 101\r\n", times(0, hour))?;
    let until = "UNTIL=20270124T160000Z";
    match kind {
        0 => write!(text, "RRULE:FREQ=WEEKLY;{until}\r\n")?,
        1 => write!(text, "RRULE:FREQ=WEEKLY;INTERVAL=2;{until}\r\n")?,
        2 => write!(text, "RRULE:FREQ=WEEKLY;BYDAY={},SA;{until}\r\n", ["MO", "TU", "WE", "TH", "FR"][day])?,
        3 => write!(text, "RRULE:FREQ=WEEKLY;COUNT=8\r\n")?,
        _ => {
            write!(text, "RRULE:FREQ=WEEKLY;{until}\r\n")?;
            write!(text, "EXDATE;TZID=Asia/Shanghai:{}T{hour:02}0000,{}T{hour:02}0000\r\n", date(3), date(4))?;
            write!(text, "RDATE;TZID=Asia/Shanghai:{}T200000\r\n", date(5))?;
        }
    }
    text.push_str("END:VEVENT\r\n");
    if index.is_multiple_of(10) {
        write!(text, "{begin}RECURRENCE-ID;TZID=Asia/Shanghai:{}T{hour:02}0000\r\n", date(2))?;
        write!(text, "{}SUMMARY:课程 {index} 调课\r\nEND:VEVENT\r\n", times(2, 19))?;
    }
    Ok(())
}

/// How many occurrences there are within the term: each kind is that of 40 events.
pub(crate) const OCCURRENCES: usize = 40 * (20 + 10 + 40 + 8 + 19);
