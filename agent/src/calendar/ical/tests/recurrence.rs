//! Rules, exceptions and changed occurrences.

use super::*;

const MONDAYS: &str =
    "DTSTART;TZID=Asia/Shanghai:20260907T080000\nDTEND;TZID=Asia/Shanghai:20260907T084500\nRRULE:FREQ=WEEKLY";

#[test]
fn a_weekly_lesson_with_its_exceptions() {
    let text = event(
        "DTSTART;TZID=Asia/Shanghai:20260901T080000\nDURATION:PT45M\nRRULE:FREQ=WEEKLY;BYDAY=TU,TH;UNTIL=20260922T000000Z\n\
         EXDATE;TZID=Asia/Shanghai:20260908T080000,20260910T080000\nRDATE;TZID=Asia/Shanghai:20260912T080000",
    );
    let expected =
        ["0901T0000-0045", "0903T0000-0045", "0912T0000-0045", "0915T0000-0045", "0917T0000-0045", "0922T0000-0045"];
    assert_eq!(september(&text), expected, "UNTIL is the last start itself");
    assert_eq!(september(&text.replace("\r\n", "\n")), expected, "ends of lines make no difference");
    let found = all(&text, "2026-09-03", "2026-09-13");
    assert_eq!(shown(&found), ["0903T0000-0045", "0912T0000-0045"]);
}

#[test]
fn moved_and_cancelled_lessons_leave_their_place() {
    let change = |id: &str, lines: &str| {
        format!("BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;TZID=Asia/Shanghai:{id}\n{lines}\nEND:VEVENT\n")
    };
    let text = calendar(&format!(
        "{}{}BEGIN:VEVENT\nUID:a\nSUMMARY:A\n{MONDAYS}\nEND:VEVENT\n{}",
        change("20260914T080000", "DTSTART:20260915T060000Z\nDURATION:PT1H\nSUMMARY:moved"),
        change("20260921T080000", "STATUS:CANCELLED"),
        change("20260928T080000", "DTSTART;TZID=Europe/Berlin:20260928T020000\nDURATION:PT30M\nSUMMARY:shorter"),
    ));
    assert_eq!(september(&text), ["0907T0000-0045", "0915T0600-0700 moved", "0928T0000-0030 shorter"]);
    let found = all(&text, "2026-09-08", "2026-09-15");
    assert_eq!(shown(&found), [] as [&str; 0], "the old place is free although the new one is not in sight");
    let found = all(&text, "2026-09-15", "2026-09-16");
    assert_eq!(shown(&found), ["0915T0600-0700 moved"], "and the other way round");
    let term = all(&text, "2026-09-01", "2026-12-01");
    assert_eq!(term.events.len(), 13 - 1, "thirteen Mondays and one cancelled");
}

#[test]
fn of_two_changes_the_newer_counts() {
    let change = |more: &str, to: &str| {
        format!(
            "BEGIN:VEVENT\nUID:a\nRECURRENCE-ID:20260914T000000Z\nDTSTART:{to}\nDURATION:PT1H\nSUMMARY:A\n{more}\nEND:VEVENT\n"
        )
    };
    let text = |first: &str, second: &str| {
        let first = change(first, "20260915T060000Z");
        calendar(&format!(
            "{first}{}BEGIN:VEVENT\nUID:a\nSUMMARY:A\n{MONDAYS};COUNT=2\nEND:VEVENT",
            change(second, "20260916T060000Z")
        ))
    };
    assert_eq!(september(&text("SEQUENCE:9", "SEQUENCE:10")), ["0907T0000-0045", "0916T0600-0700"]);
    assert_eq!(september(&text("SEQUENCE:10", "SEQUENCE:9")), ["0907T0000-0045", "0915T0600-0700"]);
    let stamps = ("LAST-MODIFIED:20260802T000000Z", "LAST-MODIFIED:20260801T000000Z");
    assert_eq!(september(&text(stamps.0, stamps.1)), ["0907T0000-0045", "0915T0600-0700"]);
    let both = all(&text("X-A:1", "X-A:2"), "2026-09-01", "2026-10-01");
    assert_eq!(shown(&both), ["0907T0000-0045", "0915T0600-0700", "0916T0600-0700"], "who knows which of them");
    assert_eq!(notes(&both)[0].0, 11);
}

#[test]
fn a_change_may_go_on() {
    let text = calendar(&format!(
        "BEGIN:VEVENT\nUID:a\nSUMMARY:A\n{MONDAYS};COUNT=4\nEND:VEVENT\nBEGIN:VEVENT\nUID:a\nSUMMARY:later\n\
         RECURRENCE-ID;RANGE=THISANDFUTURE:20260914T000000Z\nDTSTART:20260915T010000Z\nDURATION:PT1H\nEND:VEVENT"
    ));
    assert_eq!(
        september(&text),
        ["0907T0000-0045", "0915T0100-0200 later", "0922T0100-0200 later", "0929T0100-0200 later"]
    );
    let found = all(&text, "2026-09-29", "2026-09-30");
    assert_eq!(shown(&found), ["0929T0100-0200 later"], "even where the original lies outside");
}

#[test]
fn every_second_week_and_where_weeks_begin() {
    let odd =
        "DTSTART;TZID=Asia/Shanghai:20260901T100000\nDURATION:PT45M\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,TU;COUNT=4";
    assert_eq!(september(&event(odd)), ["0901T0200-0245", "0906T0200-0245", "0915T0200-0245", "0920T0200-0245"]);
    let sundays_first = event(&format!("{odd};WKST=SU"));
    assert_eq!(september(&sundays_first), ["0901T0200-0245", "0913T0200-0245", "0915T0200-0245", "0927T0200-0245"]);
    let years_ago = event(
        "DTSTART;TZID=Asia/Shanghai:20180902T100000\nDURATION:PT45M\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,TU;WKST=SU",
    );
    let expected = ["0906T0200-0245", "0908T0200-0245", "0920T0200-0245", "0922T0200-0245"];
    assert_eq!(september(&years_ago), expected, "eight years do not shift it");
}

#[test]
fn days_of_months_and_places_among_them() {
    let rule = |rule: &str| september(&event(&format!("DTSTART:20250131T000000Z\nDURATION:PT1H\nRRULE:{rule}")));
    assert_eq!(rule("FREQ=MONTHLY;BYMONTHDAY=-1"), ["0930T0000-0100"]);
    assert_eq!(rule("FREQ=MONTHLY;BYMONTHDAY=31"), [] as [&str; 0]);
    assert_eq!(rule("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2"), ["0929T0000-0100"], "last but one working day");
    assert_eq!(rule("FREQ=MONTHLY;BYDAY=2TU,-1SU"), ["0908T0000-0100", "0927T0000-0100"]);
    assert_eq!(rule("FREQ=YEARLY;BYWEEKNO=37"), ["0911T0000-0100"], "the weekday is that of the start: a Friday");
    assert_eq!(rule("FREQ=YEARLY;BYMONTH=9;BYDAY=1MO"), ["0907T0000-0100"]);
    assert_eq!(rule("FREQ=DAILY;BYMONTHDAY=3;BYHOUR=6,1"), ["0903T0100-0200", "0903T0600-0700"]);
    assert_eq!(rule("FREQ=WEEKLY;BYDAY=1WE;UNTIL=20260903"), ["0902T0000-0100"], "a number says nothing in a week");
}

#[test]
fn rules_by_the_hour_and_minute() {
    let rule = |rule: &str| {
        let text = event(&format!("DTSTART:20200901T090000Z\nDURATION:PT10M\nRRULE:{rule}"));
        shown(&all(&text, "2026-09-01", "2026-09-02"))
    };
    assert_eq!(rule("FREQ=HOURLY;INTERVAL=5;BYHOUR=8,15"), ["0901T1500-1510"]);
    // Steps of eleven minutes go on through the hours that are thinned out.
    assert_eq!(rule("FREQ=MINUTELY;INTERVAL=11;BYHOUR=9;BYMINUTE=0,2,4,11,22"), ["0901T0902-0912"]);
    assert_eq!(rule("FREQ=MINUTELY;INTERVAL=90;COUNT=3"), [] as [&str; 0]);
    assert_eq!(
        rule("FREQ=SECONDLY;INTERVAL=21600;BYDAY=TU;BYMONTHDAY=-30;BYYEARDAY=244"),
        ["0901T0300-0310", "0901T0900-0910", "0901T1500-1510", "0901T2100-2110"]
    );
}

#[test]
fn an_endless_rule_before_others_hides_none() {
    let endless = |uid: usize, hour: usize| {
        format!(
            "BEGIN:VEVENT\nUID:{uid}\nSUMMARY:A\nDTSTART;TZID=Asia/Shanghai:20200101T{hour:02}0000\nDURATION:PT45M\n\
             RRULE:FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR\nEND:VEVENT\n"
        )
    };
    let text = calendar(&(0..10).map(|uid| endless(uid, 8 + uid)).collect::<String>());
    assert_eq!(september(&text).len(), 10 * 22);
    let found = all(&text, "2026-09-01", "2027-09-01");
    assert_eq!(found.events.len(), 10 * 261);
}

#[test]
fn exceptions_in_all_their_kinds() {
    let day = "DTSTART;TZID=Asia/Shanghai:20260907T003000\nDURATION:PT45M\nRRULE:FREQ=DAILY;COUNT=3";
    let without = |exdate: &str| september(&event(&format!("{day}\n{exdate}")));
    let kept = ["0906T1630-1715", "0908T1630-1715"];
    // 00:30 on the 8th in Shanghai is the 7th in UTC: the local date counts.
    assert_eq!(without("EXDATE;VALUE=DATE:20260908"), kept);
    assert_eq!(without("EXDATE:20260907T163000Z"), kept);
    assert_eq!(without("EXDATE;TZID=Europe/Berlin:20260907T183000"), kept);
    assert_eq!(without("EXDATE:20260908T003000"), kept, "without a zone it is in the event's");
    let found = all(
        &event(&format!("{day}\nEXDATE;VALUE=DATE:20260907\nEXDATE:20260908T003100\nEXDATE:20260101T003100")),
        "2026-09-01",
        "2026-10-01",
    );
    assert_eq!(shown(&found), ["0907T1630-1715", "0908T1630-1715"]);
    assert_eq!(
        notes(&found),
        [(10, "found an EXDATE that leaves out no occurrence: passed over")],
        "not what is out of sight"
    );
    let whole =
        |exdate: &str| september(&event(&format!("DTSTART;VALUE=DATE:20260907\nRRULE:FREQ=DAILY;COUNT=2\n{exdate}")));
    for exdate in
        ["EXDATE;VALUE=DATE:20260907", "EXDATE:20260907T000000", "EXDATE:20260906T160000Z", "EXDATE:20260907T000000Z"]
    {
        assert_eq!(whole(exdate), ["0907T1600-0908T1600"], "{exdate}");
    }
}

#[test]
fn further_dates_in_all_their_kinds() {
    let with = |rdate: &str| {
        all(
            &event(&format!("DTSTART;TZID=Asia/Shanghai:20260907T080000\nDURATION:PT45M\n{rdate}")),
            "2026-09-01",
            "2026-10-01",
        )
    };
    let found =
        with("RDATE;VALUE=PERIOD:20260908T000000Z/PT2H,20260909T000000Z/20260909T003000Z\nRDATE:20260910T080000");
    assert_eq!(shown(&found), ["0907T0000-0045", "0908T0000-0200", "0909T0000-0030", "0910T0000-0045"]);
    let found = with("RDATE;VALUE=PERIOD:20260907T000000Z/PT2H");
    assert_eq!(shown(&found), ["0907T0000-0200"], "a period says how long the occurrence is");
    let found = with("RDATE;VALUE=DATE:20260908");
    assert_eq!(shown(&found), ["0907T0000-0045", "0907T1600-0908T1600"], "a date alone takes all of it");
    assert_eq!(notes(&found).len(), 1);
    let whole = event("DTSTART;VALUE=DATE:20260907\nRDATE;VALUE=DATE:20260910\nRDATE:20260912T120000");
    assert_eq!(september(&whole), ["0906T1600-0907T1600", "0909T1600-0910T1600", "0911T1600-0912T1600"]);
}

#[test]
fn an_end_of_a_rule_of_another_kind_is_read_late() {
    let until = |start: &str, until: &str| {
        september(&event(&format!("{start}\nDURATION:PT45M\nRRULE:FREQ=DAILY;UNTIL={until}"))).len()
    };
    let zoned = "DTSTART;TZID=Asia/Shanghai:20260907T080000";
    assert_eq!(until(zoned, "20260908T000000Z"), 2);
    assert_eq!(until(zoned, "20260907T235959Z"), 1);
    assert_eq!(until(zoned, "20260908"), 2, "all of the day");
    assert_eq!(until(zoned, "20260908T000000"), 2, "perhaps in UTC with the Z left out");
    assert_eq!(until(zoned, "20260908T080000"), 2);
    assert_eq!(until("DTSTART:20260907T080000", "20260908T080000"), 2);
    assert_eq!(until("DTSTART:20260907T080000", "20260908T080000Z"), 2);
    assert_eq!(until("DTSTART;VALUE=DATE:20260907", "20260908T160000Z"), 3, "the ninth in Shanghai");
    assert_eq!(until("DTSTART;VALUE=DATE:20260907", "20260908T000000"), 2);
    assert_eq!(until(zoned, "20200101T000000Z"), 1, "the start itself always takes place");
}
