//! Texts that are too much.

use super::*;

#[test]
fn texts_lines_and_events() {
    assert_eq!(
        refused(&" ".repeat(MAX_BYTES + 1)),
        (1, format!("found {} bytes, expected at most {MAX_BYTES}", MAX_BYTES + 1))
    );
    let start = "DTSTART:20260907T000000Z";
    let far = format!("{start}\nRDATE:{}20260908T000000Z", "20260101T000000Z,".repeat(4_000));
    let (line, message) = refused(&event(&far));
    assert!(line == 7 && message.contains("65536 bytes"), "{message}");
    let described = event(&format!("{start}\nDESCRIPTION:{}", "x".repeat(100_000)));
    assert_eq!(september(&described).len(), 1, "what does not matter may be long");
    let many = |count: usize| calendar(&format!("BEGIN:VEVENT\n{start}\nEND:VEVENT\n").repeat(count));
    assert_eq!(september(&many(1_000)).len(), 1_000);
    assert_eq!(refused(&many(parts::MAX_EVENTS + 1)).1, "found more than 20000 events, expected fewer");
    let properties = event(&format!("{start}\n{}", "UID:a\n".repeat(parts::MAX_PROPERTIES)));
    assert_eq!(refused(&properties).1, "found more than 200000 properties, expected fewer");
    let deep = calendar(&format!("{}{}", "BEGIN:X-A\n".repeat(100), "END:X-A\n".repeat(100)));
    assert_eq!(refused(&deep).1, "found parts nested more than 16 deep");
}

#[test]
fn occurrences_within_the_span() {
    let rule = |rule: &str| event(&format!("DTSTART:20260907T000000Z\nDURATION:PT10S\nRRULE:{rule}"));
    let found = |text: &str| in_zone(text, Tz::UTC, "2026-09-01", "2026-10-01").map(|found| found.events.len());
    assert_eq!(found(&rule("FREQ=MINUTELY;INTERVAL=2;COUNT=15000")), Ok(15_000));
    for endless in ["FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=SECONDLY;COUNT=100000"] {
        let error = found(&rule(endless)).expect_err("too many");
        assert!(error.message.contains("20000 occurrences"), "{endless}: {error}");
    }
    let two = calendar(&(0..2).map(|uid| format!(
        "BEGIN:VEVENT\nUID:{uid}\nDTSTART:20260907T000000Z\nDURATION:PT10S\nRRULE:FREQ=MINUTELY;INTERVAL=2;COUNT=15000\nEND:VEVENT\n"
    )).collect::<String>());
    assert_eq!(found(&two).expect_err("too many").message, "found more than 20000 occurrences, expected fewer");
    let before = event("DTSTART:20060907T000000Z\nDURATION:PT10S\nRRULE:FREQ=SECONDLY;UNTIL=20260801T000000Z");
    assert_eq!(found(&before), Ok(0), "what is over costs nothing");
}

#[test]
fn work_that_leads_nowhere() {
    let rule = |rule: &str| refused(&event(&format!("DTSTART:20060907T000000Z\nDURATION:PT1H\nRRULE:{rule}")));
    for (hopeless, what) in [
        ("FREQ=SECONDLY;COUNT=2000000000", "more recurrence"),
        ("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=5", "never comes again"),
        ("FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1", "never comes again"),
        ("FREQ=DAILY;BYHOUR=0,1,2,3,4,5;BYMINUTE=0,1,2,3,4,5,6;BYSECOND=0,1,2,3,4,5,6", "294 times a day"),
    ] {
        let (line, message) = rule(hopeless);
        assert!(line == 8 && message.contains(what), "{hopeless}: {message}");
    }
    let never = event("DTSTART:20060907T000000Z\nRRULE:FREQ=MINUTELY;BYHOUR=23;BYMINUTE=59;BYMONTH=2;BYMONTHDAY=30");
    assert_eq!(september(&never), [] as [&str; 0], "looked at where it matters only");
    let long = format!("FREQ=YEARLY;BYYEARDAY={}", (1..=200).map(|day| day.to_string()).collect::<Vec<_>>().join(","));
    assert!(rule(&long).1.contains("bytes"), "a rule that long is no rule");
}

#[test]
fn notes_are_not_endless() {
    let text = event(&format!("DTSTART:20260907T000000Z\n{}", "junk\n".repeat(500)));
    let found = all(&text, "2026-09-01", "2026-10-01");
    assert_eq!((found.events.len(), found.notes.len()), (1, MAX_NOTES + 1));
    assert_eq!(found.notes[MAX_NOTES].message, "and 400 more of that kind");
}

#[test]
fn spans_at_the_ends_of_time() {
    let text = event("DTSTART:20260907T000000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=3");
    let whole = DateTime::<Utc>::MIN_UTC..DateTime::<Utc>::MAX_UTC;
    assert_eq!(expand(&text, Tz::Asia__Shanghai, whole).expect("a timetable").events.len(), 3);
    let none = date("2026-09-10")..date("2026-09-01");
    assert_eq!(expand(&text, Tz::Asia__Shanghai, none).expect("a timetable").events.len(), 0);
    let ends = ["00010101T000000", "99991231T235959"];
    for at in ends {
        for zone in ["Asia/Shanghai", "America/New_York", "UTC+14", "UTC-12"] {
            for rule in ["DAILY", "MONTHLY", "YEARLY", "HOURLY", "YEARLY;INTERVAL=65535", "WEEKLY;INTERVAL=65535"] {
                let text = event(&format!("DTSTART;TZID={zone}:{at}\nDURATION:P100D\nRRULE:FREQ={rule}"));
                // Refused or not, it ends, and without a panic.
                let _ = in_zone(&text, Tz::Asia__Shanghai, "2026-09-01", "2026-09-03");
            }
        }
    }
}
