//! Single events: titles, lengths, and what is passed over.

use super::*;

#[test]
fn titles_are_plain_and_short() {
    let title = |summary: &str| {
        let text = event("DTSTART:20260907T000000Z\nDURATION:PT1H").replace("SUMMARY:A", summary);
        all(&text, "2026-09-01", "2026-10-01").events[0].summary.to_string()
    };
    assert_eq!(title(r"SUMMARY;LANGUAGE=zh-CN:数学\, 高一(3)班\; A\\B\n301"), r"数学, 高一(3)班; A\B 301");
    assert_eq!(title("X-NONE:1"), "");
    assert_eq!(title(&format!("SUMMARY:{}", "长".repeat(300))), "长".repeat(200));
    assert_eq!(title("SUMMARY:语\r\n 文"), "语文", "folded");
}

#[test]
fn a_title_folded_within_a_character_and_one_in_another_encoding() {
    let text = event("DTSTART:20260907T000000Z\nDURATION:PT1H").replace("SUMMARY:A", "SUMMARY:数学");
    let mut bytes = text.clone().into_bytes();
    let at = text.find("数").expect("a title") + 1;
    bytes.splice(at..at, *b"\r\n ");
    let span = date("2026-09-01")..date("2026-10-01");
    let found = expand(&bytes, Tz::Asia__Shanghai, span.clone()).expect("a timetable");
    assert_eq!((&*found.events[0].summary, found.notes.len()), ("数学", 0));
    bytes = text.into_bytes();
    bytes.splice(at - 1..at + 5, *b"\xca\xfd\xd1\xa7");
    let found = expand(&bytes, Tz::Asia__Shanghai, span).expect("a timetable");
    assert_eq!(notes(&found), [(5, "found a SUMMARY that is not UTF-8: its readable part is used")]);
    assert_eq!(found.events.len(), 1);
}

#[test]
fn lengths_of_all_kinds() {
    let one = |lines: &str| september(&event(lines)).remove(0);
    assert_eq!(one("DTSTART:20260907T000000Z\nDTEND:20260907T010000Z"), "0907T0000-0100");
    assert_eq!(one("DTSTART:20260907T000000Z\nDURATION:P1DT30M"), "0907T0000-0908T0030");
    assert_eq!(one("DTSTART:20260907T000000Z"), "0907T0000-0000", "it takes no time");
    assert_eq!(one("DTSTART;VALUE=DATE:20260907"), "0906T1600-0907T1600");
    assert_eq!(one("DTSTART;VALUE=DATE:20260907\nDTEND;VALUE=DATE:20260909"), "0906T1600-0908T1600");
    assert_eq!(one("DTSTART;VALUE=DATE:20260907\nDTEND;VALUE=DATE:20260907"), "0906T1600-0907T1600", "ends on itself");
    assert_eq!(one("DTSTART;VALUE=DATE:20260907\nDURATION:P2D"), "0906T1600-0908T1600");
    assert_eq!(
        one("DTSTART;TZID=Asia/Shanghai:20260907T080000\nDTEND;TZID=Europe/Berlin:20260907T030000"),
        "0907T0000-0100"
    );
    assert_eq!(one("DTSTART;TZID=Asia/Shanghai:20260907T080000\nDTEND;VALUE=DATE:20260908"), "0907T0000-1600");
}

#[test]
fn an_end_before_the_start_takes_the_whole_day() {
    for (lines, line) in [
        ("DTSTART;TZID=Asia/Shanghai:20260907T140000\nDTEND;TZID=Asia/Shanghai:20260907T030000", 7),
        ("DTSTART;TZID=Asia/Shanghai:20260907T140000\nDURATION:-PT1H", 7),
        ("DTSTART;TZID=Asia/Shanghai:20260907T140000\nDTEND;VALUE=DATE:20260907", 7),
    ] {
        let found = all(&event(lines), "2026-09-01", "2026-10-01");
        assert_eq!(shown(&found), ["0906T1600-0907T1600"]);
        let message =
            "found an end before the start, expected it after: each day from one to the other counts as taken";
        assert_eq!(notes(&found), [(line, message)]);
    }
    let weekly = event(
        "DTSTART:20260907T140000Z\nDTEND:20260907T030000Z\nRRULE:FREQ=WEEKLY;COUNT=2\nRDATE:20260909T000000Z/20260908T000000Z",
    );
    let found = all(&weekly, "2026-09-01", "2026-10-01");
    assert_eq!(shown(&found), ["0907T0000-0908T0000", "0908T0000-0910T0000", "0914T0000-0915T0000"]);
    assert_eq!(notes(&found).len(), 2);
    let both =
        all(&event("DTSTART:20260907T000000Z\nDURATION:PT2H\nDTEND:20260907T010000Z"), "2026-09-01", "2026-10-01");
    assert_eq!((shown(&both), notes(&both).len()), (vec!["0907T0000-0200".to_owned()], 1), "the later of two ends");
}

#[test]
fn an_end_days_before_the_start_takes_the_days_between() {
    let found = |lines: &str, from, to| shown(&all(&event(lines), from, to));
    let whole = "DTSTART;VALUE=DATE:20260909\nDTEND;VALUE=DATE:20260907";
    assert_eq!(found(whole, "2026-09-01", "2026-10-01"), ["0906T1600-0909T1600"]);
    let long = "DTSTART:20261009T010000Z\nDTEND:20260907T020000Z";
    assert_eq!(found(long, "2026-09-20", "2026-09-21"), ["0907T0000-1010T0000"], "it begins before, and ends after");
    let each = "DTSTART:20250910T010000Z\nDURATION:-P3D\nRRULE:FREQ=YEARLY";
    assert_eq!(found(each, "2026-09-01", "2026-09-08"), ["0907T0000-0911T0000"], "its start is beyond the span");
    let (line, message) = refused(&event("DTSTART:22260907T010000Z\nDTEND:20260907T010000Z"));
    assert_eq!((line, &*message), (7, "found an event of 73049 days, expected at most 4000"));
}

#[test]
fn whole_days_are_as_long_as_each_day_is() {
    // The first has 25 hours.
    let text = event("DTSTART;VALUE=DATE:20190216\nDTEND;VALUE=DATE:20190217\nRRULE:FREQ=DAILY;COUNT=2");
    let found = in_zone(&text, Tz::America__Sao_Paulo, "2019-02-01", "2019-03-01").expect("a timetable");
    assert_eq!(shown(&found), ["0216T0200-0217T0300", "0217T0300-0218T0300"]);
}

#[test]
fn what_touches_the_span() {
    let touches = |lines: &str| !all(&event(lines), "2026-09-07", "2026-09-08").events.is_empty();
    assert!(touches("DTSTART:20260906T230000Z\nDTEND:20260907T000001Z"));
    assert!(!touches("DTSTART:20260906T230000Z\nDTEND:20260907T000000Z"));
    assert!(touches("DTSTART:20260907T235959Z\nDTEND:20260908T010000Z"));
    assert!(!touches("DTSTART:20260908T000000Z\nDTEND:20260908T010000Z"));
    assert!(touches("DTSTART:20260907T000000Z") && touches("DTSTART:20260907T235959Z"), "no time at all, but within");
    assert!(!touches("DTSTART:20260908T000000Z") && !touches("DTSTART:20260906T235959Z"));
    assert!(touches("DTSTART:20260801T000000Z\nDURATION:P60D\nRRULE:FREQ=YEARLY"), "long since begun");
    assert!(touches("DTSTART:20250801T000000Z\nDURATION:P60D\nRRULE:FREQ=YEARLY"));
}

#[test]
fn cancelled_and_transparent_events() {
    let lines = "DTSTART:20260907T000000Z\nDURATION:PT1H";
    assert_eq!(september(&event(&format!("{lines}\nSTATUS:CANCELLED\nRRULE:NONSENSE"))), [] as [&str; 0]);
    assert_eq!(september(&event("STATUS:CANCELLED")), [] as [&str; 0]);
    assert_eq!(september(&event(&format!("{lines}\nSTATUS:TENTATIVE"))).len(), 1);
    assert_eq!(september(&event(&format!("{lines}\nTRANSP:TRANSPARENT"))).len(), 1);
}

#[test]
fn one_name_twice() {
    let lesson = |more: &str, hour: u32| {
        format!("BEGIN:VEVENT\nUID:a\nSUMMARY:A\nDTSTART:20260907T{hour:02}0000Z\nDURATION:PT1H\n{more}\nEND:VEVENT\n")
    };
    let text = |first: &str, second: &str| calendar(&format!("{}{}", lesson(first, 1), lesson(second, 3)));
    let found = all(&text("X-A:1", "SEQUENCE:0"), "2026-09-01", "2026-10-01");
    assert_eq!(shown(&found), ["0907T0100-0200", "0907T0300-0400"]);
    assert_eq!(notes(&found), [(10, "found the UID of the event in line 3 again: both are used")]);
    let found = all(&text("SEQUENCE:1", "SEQUENCE:2"), "2026-09-01", "2026-10-01");
    assert_eq!(shown(&found), ["0907T0300-0400"]);
    assert_eq!(notes(&found), [(3, "found an earlier revision of the event in line 10: passed over")]);
    let nameless = text("X-A:1", "X-A:2").replace("UID:a\r\n", "");
    assert_eq!(september(&nameless).len(), 2);
}

#[test]
fn changes_of_nothing_are_events_of_their_own() {
    let change = "BEGIN:VEVENT\nUID:b\nSUMMARY:A\nRECURRENCE-ID:20260907T000000Z\nDTSTART:20260908T000000Z\nDURATION:PT1H\nEND:VEVENT";
    let found = all(&calendar(change), "2026-09-01", "2026-10-01");
    assert_eq!(shown(&found), ["0908T0000-0100"]);
    assert_eq!(notes(&found), [(3, "found a changed occurrence of no event: used as an event of its own")]);
    let master = "BEGIN:VEVENT\nUID:b\nSUMMARY:A\nDTSTART:20260910T000000Z\nDURATION:PT1H\nEND:VEVENT\n";
    let found = all(&calendar(&format!("{master}{change}")), "2026-09-01", "2026-10-01");
    assert_eq!(shown(&found), ["0908T0000-0100", "0910T0000-0100"]);
    assert_eq!(notes(&found), [(9, "found a RECURRENCE-ID that names no occurrence: used as an event of its own")]);
    let same = change.replace("RECURRENCE-ID:20260907", "RECURRENCE-ID:20260910");
    assert_eq!(september(&calendar(&format!("{}\n{same}", master.trim()))), ["0908T0000-0100"]);
    // What is left out and changed too takes place: somebody went to the trouble of changing it.
    let left_out = master.replace("DURATION", "EXDATE:20260910T000000Z\nDURATION");
    assert_eq!(september(&calendar(&format!("{left_out}{same}"))), ["0908T0000-0100"]);
}

#[test]
fn what_says_nothing_of_lessons_is_passed_over() {
    let text = calendar(
        "METHOD:PUBLISH\nX-WR-CALNAME:301\nBEGIN:VTODO\nDTSTART:NONSENSE\nRRULE\nBEGIN:VALARM\nEND:VTODO\nBEGIN:VJOURNAL\nbroken\n\
         BEGIN:VEVENT\nUID:a\nSUMMARY:A\nDTSTART:20260907T000000Z\nDESCRIPTION:one\ntwo lines\nDuration of three\nDURATION:PT1H\nX-\n\
         BEGIN:VALARM\nTRIGGER:-PT5M\nDURATION:NONSENSE\nEND:VALARM\nEND:VEVENT\nBEGIN:X-OWN\nEND:X-OWN",
    );
    let found = all(&format!("garbage\r\n{text}\r\nmore\r\n"), "2026-09-01", "2026-10-01");
    assert_eq!(shown(&found), ["0907T0000-0100"]);
    let lines: Vec<usize> = found.notes.iter().map(|note| note.line).collect();
    assert_eq!(lines, [1, 10, 13, 18, 19, 21, 31], "{:?}", found.notes);
}

#[test]
fn a_calendar_without_events_says_so() {
    for text in [calendar("X-A:1"), calendar("BEGIN:VTODO\nEND:VTODO")] {
        let found = all(&text, "2026-09-01", "2026-10-01");
        assert_eq!((found.events.len(), notes(&found)), (0, vec![(1, "found a calendar that holds no event")]));
    }
    let two =
        format!("{}{}", event("DTSTART:20260907T000000Z"), event("DTSTART:20260908T000000Z").replace("UID:a", "UID:b"));
    assert_eq!(september(&two).len(), 2, "two calendars in one text");
}
