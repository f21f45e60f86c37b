//! Wall clocks of all kinds.

use super::*;

fn starts(text: &str, from: &str, to: &str) -> Vec<String> {
    all(text, from, to).events.iter().map(|event| event.start.format("%m%dT%H%M").to_string()).collect()
}

#[test]
fn lessons_keep_their_wall_clock_through_every_change() {
    let daily = |zone: &str, time: &str| {
        event(&format!("DTSTART;TZID={zone}:20260101T{time}00\nDURATION:PT1H\nRRULE:FREQ=DAILY"))
    };
    let nine = daily("Europe/Berlin", "0900");
    assert_eq!(starts(&nine, "2026-03-28", "2026-03-30"), ["0328T0800", "0329T0700"]);
    assert_eq!(starts(&nine, "2026-10-24", "2026-10-26"), ["1024T0700", "1025T0800"]);
    let half_hour = daily("Australia/Lord_Howe", "0900");
    assert_eq!(starts(&half_hour, "2026-04-03", "2026-04-06"), ["0403T2200", "0404T2230", "0405T2230"]);
    assert_eq!(starts(&half_hour, "2026-10-02", "2026-10-04"), ["1002T2230", "1003T2200"]);
    let south = daily("America/Santiago", "0900");
    assert_eq!(starts(&south, "2026-09-05", "2026-09-07"), ["0905T1300", "0906T1200"]);
}

#[test]
fn gaps_and_overlaps() {
    let gap =
        event("DTSTART;TZID=Europe/Berlin:20260328T023000\nDTEND;TZID=Europe/Berlin:20260328T033000\nRRULE:FREQ=DAILY");
    // 02:30 on the 29th is none: read by the offset of before (RFC 5545 §3.3.5), an hour long as always.
    assert_eq!(shown(&all(&gap, "2026-03-28", "2026-03-31")), ["0328T0130-0230", "0329T0130-0230", "0330T0030-0130"]);
    // 02:30 on 25 October is twice: the first; the clock shows 03:30 two hours later.
    assert_eq!(shown(&all(&gap, "2026-10-24", "2026-10-27")), ["1024T0030-0130", "1025T0030-0230", "1026T0130-0230"]);
    let gap = event("DTSTART;TZID=America/New_York:20260307T023000\nDURATION:PT1H\nRRULE:FREQ=DAILY");
    assert_eq!(starts(&gap, "2026-03-07", "2026-03-10"), ["0307T0730", "0308T0730", "0309T0630"]);
    let samoa = event("DTSTART;TZID=Pacific/Apia:20111230T120000\nDURATION:PT1H");
    assert_eq!(starts(&samoa, "2011-12-29", "2012-01-02"), ["1230T2200"], "a day that was left out");
}

#[test]
fn long_events_end_by_whichever_clock_is_later() {
    let weekend = event(
        "DTSTART;TZID=Europe/Berlin:20260320T080000\nDTEND;TZID=Europe/Berlin:20260323T180000\nRRULE:FREQ=WEEKLY",
    );
    // 82 hours, or Monday at 18:00: over the change in spring the hours end later, in autumn the wall clock.
    assert_eq!(shown(&all(&weekend, "2026-03-20", "2026-04-02")), ["0320T0700-0323T1700", "0327T0700-0330T1700"]);
    assert_eq!(shown(&all(&weekend, "2026-10-24", "2026-10-26")), ["1023T0600-1026T1700"]);
    let days = event("DTSTART;TZID=Europe/Berlin:20260328T080000\nDURATION:P1DT1H");
    assert_eq!(
        shown(&all(&days, "2026-03-28", "2026-03-30")),
        ["0328T0700-0329T0700"],
        "days are those of the wall clock"
    );
}

#[test]
fn zones_by_the_names_that_programs_give_them() {
    for (zone, expected) in [
        ("Asia/Shanghai", "0907T0000"),
        ("asia/shanghai", "0907T0000"),
        ("China Standard Time", "0907T0000"),
        ("W. Europe Standard Time", "0907T0600"),
        ("\"Eastern Standard Time\"", "0907T1200"),
        ("/citadel.org/20260101_1/Europe/Berlin", "0907T0600"),
        ("/freeassociation.sourceforge.net/Tzfile/America/Argentina/Buenos_Aires", "0907T1100"),
        ("tzone://Microsoft/Utc", "0907T0800"),
        ("UTC", "0907T0800"),
        ("UTC+08:00", "0907T0000"),
        ("GMT+8", "0907T0000"),
        ("GMT-0330", "0907T1130"),
        ("Etc/GMT-8", "0907T0000"),
    ] {
        let text = event(&format!("DTSTART;TZID={}:20260907T080000\nDURATION:PT45M", quoted(zone)));
        assert_eq!(starts(&text, "2026-09-01", "2026-10-01"), [expected], "{zone}");
    }
}

fn quoted(zone: &str) -> String {
    if zone.contains(':') { format!("\"{zone}\"") } else { zone.to_owned() }
}

const FIXED: &str = "BEGIN:VTIMEZONE\nTZID:Schulzeit\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0800\n\
                     TZOFFSETTO:+0800\nEND:STANDARD\nEND:VTIMEZONE\n";
const CHANGING: &str = "BEGIN:VTIMEZONE\nTZID:Hof\nBEGIN:DAYLIGHT\nDTSTART:19810329T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\n\
                        TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\nBEGIN:STANDARD\nDTSTART:16011028T030000\n\
                        RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n";

fn daily_at(zone: &str, name: &str, time: &str) -> String {
    let event = format!(
        "BEGIN:VEVENT\nUID:a\nSUMMARY:A\nDTSTART;TZID={name}:20200101T{time}00\nDURATION:PT1H\nRRULE:FREQ=DAILY\nEND:VEVENT\n"
    );
    // A zone may stand before or after what is in it.
    let (before, after) = (calendar(&format!("{zone}{event}")), calendar(&format!("{event}{zone}")));
    let span = ("2026-01-01", "2027-01-01");
    assert_eq!(all(&before, span.0, span.1), all(&after, span.0, span.1));
    before
}

#[test]
fn a_zone_of_the_calendars_own() {
    let text = daily_at(FIXED, "Schulzeit", "0800");
    assert_eq!(starts(&text, "2026-09-01", "2026-09-03"), ["0901T0000", "0902T0000"]);
    for time in ["0000", "0159", "0200", "0230", "0259", "0300", "0900", "2359"] {
        let (own, known) = (daily_at(CHANGING, "Hof", time), daily_at("", "Europe/Berlin", time));
        for (from, to) in [("2026-01-01", "2027-01-01"), ("2029-03-20", "2029-11-01")] {
            assert_eq!(all(&own, from, to).events, all(&known, from, to).events, "{time}");
        }
    }
}

#[test]
fn a_zone_of_the_calendars_own_with_a_known_place() {
    let placed = FIXED.replace("BEGIN:STANDARD", "X-LIC-LOCATION:Europe/Berlin\nBEGIN:STANDARD");
    let text = daily_at(&placed, "Schulzeit", "0800");
    assert_eq!(starts(&text, "2026-09-01", "2026-09-02"), ["0901T0600"]);
    let listed = "BEGIN:VTIMEZONE\nTZID:Hof\nBEGIN:DAYLIGHT\nDTSTART:20260301T020000\nRDATE:20260301T020000,20270301T020000\n\
                  TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\nBEGIN:STANDARD\nDTSTART:20261001T030000\n\
                  TZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n";
    let text = daily_at(listed, "Hof", "0900");
    assert_eq!(starts(&text, "2026-02-28", "2026-03-02"), ["0228T0800", "0301T0700"]);
    assert_eq!(starts(&text, "2026-09-30", "2026-10-02"), ["0930T0700", "1001T0800"]);
    assert_eq!(starts(&text, "2027-02-28", "2027-03-02"), ["0228T0800", "0301T0700"]);
}

#[test]
fn times_without_a_zone_and_whole_days_are_the_schools() {
    let text = calendar(
        "BEGIN:VEVENT\nUID:a\nSUMMARY:A\nDTSTART:20260907T080000\nDTEND:20260907T084500\nEND:VEVENT\n\
         BEGIN:VEVENT\nUID:b\nSUMMARY:B\nDTSTART;VALUE=DATE:20260908\nEND:VEVENT",
    );
    assert_eq!(september(&text), ["0907T0000-0045", "0907T1600-0908T1600 B"]);
    let found = in_zone(&text, Tz::America__New_York, "2026-09-01", "2026-10-01").expect("a timetable");
    assert_eq!(shown(&found), ["0907T1200-1245", "0908T0400-0909T0400 B"]);
    assert_eq!(found.events.iter().map(|event| event.all_day).collect::<Vec<_>>(), [false, true]);
    // Clocks in Santiago are set forward at midnight: the day begins at one.
    let found = in_zone(&event("DTSTART;VALUE=DATE:20260906"), Tz::America__Santiago, "2026-09-01", "2026-10-01");
    assert_eq!(shown(&found.expect("a timetable")), ["0906T0400-0907T0300"]);
}

#[test]
fn a_zone_that_is_not_certain_is_refused() {
    let lesson = "BEGIN:VEVENT\nUID:a\nDTSTART;TZID=Hof:20260907T080000\nDURATION:PT45M\nEND:VEVENT";
    let (line, message) = refused(&calendar(lesson));
    assert_eq!(
        (line, message.as_str()),
        (5, "found the time zone \"Hof\", expected an IANA or Windows name, or its VTIMEZONE")
    );
    for (zone, line) in [
        (CHANGING.replace("TZOFFSETTO:+0200", "TZOFFSETTO:+2"), 9),
        (CHANGING.replace("TZOFFSETTO:+0200\n", ""), 5),
        (CHANGING.replace("DTSTART:19810329T020000", "DTSTART:19810329T020000Z"), 6),
        (CHANGING.replace("BYDAY=-1SU", "BYDAY=-1XX"), 7),
        ("BEGIN:VTIMEZONE\nTZID:Hof\nEND:VTIMEZONE\n".to_owned(), 3),
    ] {
        assert_eq!(refused(&calendar(&format!("{zone}{lesson}"))).0, line, "{zone}");
        let unused = calendar(&format!("{zone}{}", lesson.replace("TZID=Hof", "TZID=UTC")));
        assert_eq!(september(&unused).len(), 1, "what nothing is in does no harm");
    }
}
