//! What could hide a lesson, and where it stands.

use super::*;

#[test]
fn a_text_that_is_no_whole_calendar() {
    let whole = event("DTSTART:20260907T000000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY");
    assert_eq!(september(&whole).len(), 4);
    for text in ["", "\r\n\r\n", "<html>\n<body>404</body>\n</html>", "\u{0}\u{1}"] {
        assert_eq!(refused(text), (1, "found no BEGIN:VCALENDAR, expected an iCalendar text".to_owned()), "{text:?}");
    }
    // Cut off anywhere it is refused, and never half a timetable.
    for length in 0..whole.len() - "\r\n".len() {
        refused(&whole[..length]);
    }
    assert_eq!(
        refused(whole.trim_end().trim_end_matches("END:VCALENDAR")),
        (9, "found the end of the text, expected END:VCALENDAR: it may have been cut off".to_owned())
    );
    for (from, to, line) in [
        ("END:VEVENT\r\n", "", 9),
        ("BEGIN:VEVENT\r\n", "", 8),
        ("END:VEVENT\r\n", "BEGIN:VEVENT\r\nEND:VEVENT\r\n", 9),
        ("BEGIN:VEVENT\r\n", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", 3),
        ("END:VEVENT\r\n", "BEGIN:VALARM\r\nEND:VCALENDAR\r\n", 10),
        ("END:VEVENT\r\n", "END:VEVENTS\r\n", 9),
    ] {
        assert_eq!(refused(&whole.replace(from, to)).0, line, "{to}");
    }
}

#[test]
fn times_that_cannot_be_read() {
    let found = |lines: &str| refused(&event(lines));
    let start = "DTSTART:20260907T000000Z";
    for (lines, line, what) in [
        ("DURATION:PT1H".to_owned(), 3, "without DTSTART"),
        ("DTSTART:2026-09-07".to_owned(), 6, "2026-09-07"),
        ("DTSTART".to_owned(), 6, "expected DTSTART:…"),
        ("DTSTART;TZID=Nowhere/Land:20260907T000000".to_owned(), 6, "Nowhere/Land"),
        (format!("{start}\nDTEND:20260931T000000Z"), 7, "20260931"),
        (format!("{start}\nDTEND;TZID=Nowhere/Land:20260907T000000"), 7, "Nowhere/Land"),
        (format!("{start}\nDURATION:1H"), 7, "1H"),
        (format!("{start}\nDURATION:P20Y"), 7, "P20Y"),
        (format!("{start}\nDURATION:P9000D"), 7, "9000 days"),
        (format!("{start}\nRDATE:20260908T000000Z,sometime"), 7, "sometime"),
        (format!("{start}\nRDATE:20260908T000000Z/never"), 7, "never"),
        (format!("{start}\nEXDATE:20260908T000000Z,sometime"), 7, "sometime"),
        (format!("{start}\nRECURRENCE-ID:sometime"), 7, "sometime"),
        (format!("{start}\nRECURRENCE-ID;RANGE=THISANDPRIOR:20260907T000000Z"), 7, "THISANDPRIOR"),
        (format!("{start}\nRRULE FREQ=WEEKLY"), 7, "expected RRULE:…"),
        (format!("{start}\nRDATE;VALUE=DATE"), 7, "expected RDATE:…"),
    ] {
        let (at, message) = found(&lines);
        assert!(at == line && message.contains(what), "{lines}: line {at}: {message}");
    }
    let busy = calendar("BEGIN:VFREEBUSY\nFREEBUSY:20260907T000000Z/PT1H\nEND:VFREEBUSY");
    assert_eq!(refused(&busy).0, 4, "times without events are no timetable that can be read");
}

#[test]
fn rules_that_cannot_be_read() {
    for (rule, what) in [
        ("WEEKLY", "expected NAME=VALUE"),
        ("BYDAY=MO", "expected a rule with FREQ"),
        ("FREQ=FORTNIGHTLY", "FORTNIGHTLY"),
        ("FREQ=WEEKLY;FREQ=DAILY", "FREQ twice"),
        ("FREQ=WEEKLY;INTERVAL=0", "INTERVAL"),
        ("FREQ=WEEKLY;INTERVAL=70000", "INTERVAL"),
        ("FREQ=WEEKLY;COUNT=0", "COUNT"),
        ("FREQ=WEEKLY;COUNT=ten", "COUNT"),
        ("FREQ=WEEKLY;UNTIL=soon", "SOON"),
        ("FREQ=WEEKLY;UNTIL=20260930;COUNT=3", "UNTIL and COUNT"),
        ("FREQ=WEEKLY;BYDAY=MONDAY", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=数", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=54MO", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=MO,1TU", "with and without a number"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
        ("FREQ=WEEKLY;BYMONTHDAY=3", "BYMONTHDAY"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH"),
        ("FREQ=YEARLY;BYWEEKNO=54", "BYWEEKNO"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR"),
        ("FREQ=DAILY;BYHOUR=", "BYHOUR"),
        ("FREQ=DAILY;BYSECOND=60", "BYSECOND"),
        ("FREQ=MONTHLY;BYSETPOS=40", "BYSETPOS"),
        ("FREQ=HOURLY;BYMINUTE=0;BYSETPOS=1", "by the hour"),
        ("FREQ=YEARLY;RSCALE=CHINESE", "RSCALE"),
        ("FREQ=WEEKLY;BYEASTER=1", "BYEASTER"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never comes again"),
    ] {
        let found =
            in_zone(&event(&format!("DTSTART:20260907T000000Z\nRRULE:{rule}")), Tz::UTC, "2026-09-01", "2026-10-01");
        let IcalError { line, message } = found.expect_err(rule);
        assert!(line == 7 && message.contains(what), "{rule}: {message}");
    }
    for rule in ["freq=weekly;byday=mo,", "FREQ=WEEKLY;", ";FREQ=WEEKLY;;COUNT=-1", " FREQ = WEEKLY"] {
        let found =
            in_zone(&event(&format!("DTSTART:20260907T000000Z\nRRULE:{rule}")), Tz::UTC, "2026-09-01", "2026-10-01");
        assert_eq!(found.is_ok(), rule.starts_with(['F', ';']), "{rule}");
    }
    assert_eq!(
        september(&event("DTSTART:20260907T000000Z\nRRULE:\nRDATE:\nEXDATE:")).len(),
        1,
        "nothing is not unreadable"
    );
}
