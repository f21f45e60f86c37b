use serde_json::{Value, json};

use super::*;
use crate::calendar::{RoomState, holidays::YearData, ical};

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date written here")
}

fn timetable(table: Value) -> Timetable {
    let table: Timetable = serde_json::from_value(table).expect("a timetable written here");
    assert_eq!(table.check(), []);
    table
}

fn source(text: Option<&str>, stale: bool) -> Source {
    Source { name: "timetable.ics".to_owned(), text: text.map(|text| text.as_bytes().into()), stale }
}

/// A school in Shanghai that follows China's data of 2025 and 2026.
fn built(timetable: &Timetable, ical: &[Source], from: &str, to: &str) -> Calendar {
    let holidays = Holidays::of_country("CN");
    let vendor = Vendor::default();
    let zone = Tz::Asia__Shanghai;
    let sources = Sources { timetable, ical, holidays: &holidays, vendor: &vendor, vendor_holidays: &holidays, zone };
    build(sources, date(from)..date(to).succ_opt().expect("a date"))
}

/// Lessons as `10-08 08:00-08:45 数学`, with what else takes the room in brackets.
fn shown(calendar: &Calendar) -> Vec<String> {
    let show = |lesson: &Lesson| {
        let local = |at, format| zone::local(calendar.zone(), at).format(format).to_string();
        let taken = if lesson.taken == Taken::Lesson { String::new() } else { format!("({:?})", lesson.taken) };
        let end = if zone::date(calendar.zone(), lesson.end) == zone::date(calendar.zone(), lesson.start) {
            "%H:%M"
        } else {
            "%m-%d %H:%M"
        };
        format!("{}-{} {}{taken}", local(lesson.start, "%m-%d %H:%M"), local(lesson.end, end), lesson.title)
    };
    calendar.all().iter().map(show).collect()
}

fn kinds(calendar: &Calendar) -> Vec<DayKind> {
    calendar.days().iter().map(|day| day.kind).collect()
}

/// The dates on which the building is open, by their day of the month.
fn open(calendar: &Calendar) -> Vec<u32> {
    calendar.open(calendar.known()).map(|window| zone::date(calendar.zone(), window.start).day()).collect()
}

/// An autumn term of 20 weeks from Monday 2026-09-07; each weekday has one lesson named after it.
fn autumn(overrides: Value) -> Timetable {
    timetable(json!({
        "bells": [
            {"periods": ["08:00-08:45", "14:00-14:45"]},
            {"from": "05-01", "to": "09-30", "periods": ["08:00-08:45", "14:30-15:15"]},
        ],
        "term": [{"first_day": "2026-09-07", "weeks": 20, "exam_weeks": "19-20", "breaks": ["2026-11-16/2026-11-18"],
            "lessons": ["Mon 1: Mon", "Tue 1: Tue", "Wed 1: Wed", "Thu 1-2: Thu", "Fri 2 weeks 1-16 even: even Fri",
                "Fri 2 weeks 1-15 odd: odd Fri"]}],
        "override": overrides,
    }))
}

#[test]
fn the_week_of_the_national_day_is_off_and_its_make_up_days_are_taken() {
    let calendar = built(&autumn(json!([])), &[], "2026-09-19", "2026-10-12");
    let expected = [
        // Saturday off, Sunday made up: nobody said whose plan it runs.
        "09-20 08:00-15:15 (MakeUp)",
        "09-21 08:00-08:45 Mon",
        "09-22 08:00-08:45 Tue",
        "09-23 08:00-08:45 Wed",
        "09-24 08:00-15:15 Thu",
        // The 25th to the 27th are the festival of mid-autumn.
        "09-28 08:00-08:45 Mon",
        "09-29 08:00-08:45 Tue",
        "09-30 08:00-08:45 Wed",
        "10-08 08:00-14:45 Thu",
        "10-09 14:00-14:45 odd Fri",
        "10-10 08:00-14:45 (MakeUp)",
        "10-12 08:00-08:45 Mon",
    ];
    assert_eq!(shown(&calendar), expected);
    assert_eq!(open(&calendar), [20, 21, 22, 23, 24, 28, 29, 30, 8, 9, 10, 12]);
    let day = |text: &str| calendar.day(date(text)).expect("a day looked at");
    assert_eq!((day("2026-10-01").kind, &*day("2026-10-01").name), (DayKind::Holiday, "国庆节"));
    assert_eq!((day("2026-10-10").kind, &*day("2026-10-10").name), (DayKind::MakeUp, "国庆节"));
    assert_eq!((day("2026-10-11").kind, day("2026-10-11").week), (DayKind::Weekend, Some(5)));
    assert!(calendar.days().iter().all(|day| day.known && day.follows.is_none()));
}

#[test]
fn each_make_up_day_of_2026_follows_the_plan_that_the_school_names() {
    // Six make-up days, and the weekday that each school says it runs.
    let spring = json!({"first_day": "2026-02-23", "weeks": 18, "lessons": ["Mon 1: Mon", "Tue 1: Tue", "Fri 1: Fri"]});
    let autumn = json!({"first_day": "2026-08-31", "weeks": 18, "lessons":
        ["Mon 1: Mon", "Wed 1: Wed", "Thu 1 weeks 4: Thu of week 4", "Thu 1 weeks 6: Thu of week 6"]});
    let winter = json!({"first_day": "2025-09-01", "weeks": 24, "lessons": ["Thu 1: Thu", "Fri 1: Fri"]});
    let table = timetable(json!({
        "bells": [{"periods": ["08:00-08:45", "10:00-10:45"]}],
        "term": [winter, spring, autumn],
        "override": [
            {"dates": "2026-01-04", "runs": "Fri", "reason": "元旦调休"},
            {"dates": "2026-02-14", "runs": "Thu"},
            {"dates": "2026-02-28", "runs": "week 2 Tue"},
            {"dates": "2026-05-09", "runs": "2026-05-04"},
            {"dates": "2026-09-20", "runs": "week 4 Thu"},
            {"dates": "2026-10-10", "runs": "no lessons"},
        ],
    }));
    let expected = [
        ("2026-01-04", vec!["01-04 08:00-08:45 Fri"], Some((18, Weekday::Fri)), DayKind::MakeUp),
        ("2026-02-14", vec!["02-14 08:00-08:45 Thu"], Some((24, Weekday::Thu)), DayKind::MakeUp),
        ("2026-02-28", vec!["02-28 08:00-08:45 Tue"], Some((2, Weekday::Tue)), DayKind::MakeUp),
        // The plan of a holiday, on which nothing is taught.
        ("2026-05-09", vec!["05-09 08:00-08:45 Mon"], Some((11, Weekday::Mon)), DayKind::MakeUp),
        ("2026-09-20", vec!["09-20 08:00-08:45 Thu of week 4"], Some((4, Weekday::Thu)), DayKind::MakeUp),
        ("2026-10-10", vec![], None, DayKind::Holiday),
    ];
    for (on, lessons, follows, kind) in expected {
        let calendar = built(&table, &[], on, on);
        assert_eq!(shown(&calendar), lessons, "{on}");
        let day = calendar.day(date(on)).expect("a day looked at");
        assert_eq!((day.follows, day.kind), (follows, kind), "{on}");
    }
    // Without a word of the school each of them is taken, from the first bell to the last.
    let silent = Timetable { overrides: Vec::new(), ..table };
    for on in ["2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"] {
        let lessons = shown(&built(&silent, &[], on, on));
        assert_eq!(lessons, [format!("{} 08:00-10:45 (MakeUp)", &on[5..])]);
    }
}

#[test]
fn the_make_up_days_of_2023_ran_thursday_and_friday_of_week_4() {
    // As announced by a university: 7 October ran the Thursday of week 4, 8 October the Friday.
    let table = timetable(json!({
        "bells": [{"periods": ["08:00-08:45", "10:00-10:45"]}],
        "term": [{"first_day": "2023-09-11", "weeks": 18, "lessons": ["Thu 1 weeks 4: Thu", "Fri 2 weeks 4: Fri",
            "Thu 2 weeks 5: not this", "Sat 1: nor this"]}],
        "override": [
            {"dates": "2023-10-07", "runs": "week 4 Thu", "reason": "国庆调休"},
            {"dates": "2023-10-08", "runs": "week 4 Fri", "reason": "国庆调休"},
        ],
    }));
    let calendar = built(&table, &[], "2023-10-07", "2023-10-08");
    assert_eq!(shown(&calendar), ["10-07 08:00-08:45 Thu", "10-08 10:00-10:45 Fri"]);
    assert_eq!(kinds(&calendar), [DayKind::MakeUp, DayKind::MakeUp]);
    // A school that says so itself needs no data of the year.
    assert!(calendar.days().iter().all(|day| day.known && &*day.name == "国庆调休"));
}

#[test]
fn an_override_beats_the_holiday_and_the_break() {
    let calendar = built(
        &autumn(json!([
            {"dates": "2026-10-01/2026-10-02", "runs": "lessons"},
            {"dates": "2026-10-08", "runs": "no lessons", "reason": "运动会"},
            {"dates": "2026-10-10", "runs": "lessons"},
            {"dates": "2026-11-17", "runs": "lessons"},
            {"dates": "2026-11-18", "runs": "week 3 Thu"},
        ])),
        &[],
        "2026-10-01",
        "2026-10-10",
    );
    // On a Saturday whose own plan is empty, nobody knows which lessons there are.
    let expected = [
        "10-01 08:00-14:45 Thu",
        "10-02 14:00-14:45 even Fri",
        "10-09 14:00-14:45 odd Fri",
        "10-10 08:00-14:45 (MakeUp)",
    ];
    assert_eq!(shown(&calendar), expected);
    let eighth = calendar.day(date("2026-10-08")).expect("a day looked at");
    assert_eq!((eighth.kind, &*eighth.name), (DayKind::Holiday, "运动会"));
    assert_eq!(open(&calendar), [1, 2, 9, 10]);
}

#[test]
fn breaks_have_no_lessons_and_exams_take_the_room_all_day() {
    let overrides = json!([{"dates": "2026-11-17", "runs": "lessons"}, {"dates": "2026-11-18", "runs": "week 3 Thu"}]);
    let calendar = built(&autumn(overrides), &[], "2026-11-14", "2026-11-19");
    use DayKind::{Break, Exams, Teaching, Weekend};
    assert_eq!(kinds(&calendar), [Weekend, Weekend, Break, Teaching, Teaching, Teaching]);
    assert_eq!(shown(&calendar), ["11-17 08:00-08:45 Tue", "11-18 08:00-14:45 Thu", "11-19 08:00-14:45 Thu"]);
    // Somebody is there on the weekdays of a break.
    assert_eq!(open(&calendar), [16, 17, 18, 19]);

    let mut table = autumn(json!([]));
    table.term[0].first_day = date("2025-08-25");
    table.overrides = vec![Override {
        dates: "2026-01-04".parse().expect("dates"),
        runs: "week 2 Mon".parse().expect("a plan"),
        reason: String::new(),
    }];
    let calendar = built(&table, &[], "2025-12-27", "2026-01-12");
    let exams = |day: &str| format!("{day} 08:00-14:45 (Exam)");
    let expected = [
        exams("12-29"),
        exams("12-30"),
        exams("12-31"),
        "01-04 08:00-08:45 Mon".to_owned(),
        exams("01-05"),
        exams("01-06"),
        exams("01-07"),
        exams("01-08"),
        exams("01-09"),
    ];
    assert_eq!(shown(&calendar), expected);
    assert_eq!(calendar.day(date("2025-12-29")).map(|day| day.kind), Some(Exams));
    // After the last week there is no term: a break.
    assert_eq!(calendar.day(date("2026-01-12")).map(|day| day.kind), Some(Break));
}

#[test]
fn a_year_without_data_is_unknown_and_its_weekends_may_be_made_up() {
    let mut table = autumn(json!([{"dates": "2027-01-10", "runs": "no lessons"}]));
    table.term[0].first_day = date("2026-11-02");
    let calendar = built(&table, &[], "2026-12-31", "2027-01-10");
    let expected = [
        "12-31 08:00-14:45 Thu",
        "01-01 14:00-14:45 odd Fri",
        "01-02 08:00-14:45 (Possible)",
        "01-03 08:00-14:45 (Possible)",
        "01-04 08:00-08:45 Mon",
        "01-05 08:00-08:45 Tue",
        "01-06 08:00-08:45 Wed",
        "01-07 08:00-14:45 Thu",
        "01-08 14:00-14:45 even Fri",
        "01-09 08:00-14:45 (Possible)",
    ];
    assert_eq!(shown(&calendar), expected);
    let known: Vec<_> = calendar.days().iter().map(|day| day.known).collect();
    assert_eq!(known, [true, false, false, false, false, false, false, false, false, false, true]);
    let noon = |text: &str| zone::instant(calendar.zone(), date(text).and_hms_opt(12, 0, 0).expect("noon"));
    let certainty = |text: &str| calendar.certainty(noon(text).expect("an instant"));
    assert_eq!(certainty("2026-12-31"), Certainty::Known);
    assert_eq!(certainty("2027-01-04"), Certainty::UnknownYear);

    // When the notice is out, its days are what it says.
    let notice: YearData = crate::calendar::holidays::parse(
        r#"{"year": 2027, "papers": ["https://www.gov.cn/zhengce/2027"], "days": [
            {"name": "元旦", "date": "2027-01-01", "isOffDay": true},
            {"name": "元旦", "date": "2027-01-02", "isOffDay": true},
            {"name": "元旦", "date": "2027-01-09", "isOffDay": false},
            {"name": "春节", "date": "2027-02-05", "isOffDay": true},
            {"name": "春节", "date": "2027-02-08", "isOffDay": true},
            {"name": "清明节", "date": "2027-04-05", "isOffDay": true},
            {"name": "国庆节", "date": "2027-10-01", "isOffDay": true}]}"#,
        "CN",
        Tz::Asia__Shanghai,
    )
    .map(|import| import.years)
    .expect("a year's data")
    .remove(0);
    let holidays = Holidays::of_country("CN").with(notice);
    let vendor = Vendor::default();
    let zone = Tz::Asia__Shanghai;
    let sources = Sources {
        timetable: &table,
        ical: &[],
        holidays: &holidays,
        vendor: &vendor,
        vendor_holidays: &holidays,
        zone,
    };
    let calendar = build(sources, date("2027-01-01")..date("2027-01-10"));
    assert_eq!(
        shown(&calendar),
        [
            "01-04 08:00-08:45 Mon",
            "01-05 08:00-08:45 Tue",
            "01-06 08:00-08:45 Wed",
            "01-07 08:00-14:45 Thu",
            "01-08 14:00-14:45 even Fri",
            "01-09 08:00-14:45 (MakeUp)",
        ]
    );
}

#[test]
fn weekend_lessons_mark_their_days() {
    let table = timetable(json!({
        "bells": [{"periods": ["08:00-08:45"]}],
        "term": [{"first_day": "2026-09-07", "weeks": 20, "lessons": ["Sat 1 weeks 10: Sat"]}],
    }));
    let calendar = built(&table, &[], "2026-11-14", "2026-11-15");
    assert_eq!(kinds(&calendar), [DayKind::Teaching, DayKind::Weekend]);
    assert_eq!((shown(&calendar), open(&calendar)), (vec!["11-14 08:00-08:45 Sat".to_owned()], vec![14]));
}

#[test]
fn a_plan_of_a_season_without_bells_is_taken_all_day() {
    let table = timetable(json!({
        "open": "06:30", "close": "21:00",
        "bells": [{"from": "09-01", "to": "09-30", "periods": ["08:00-08:45"]}],
        "term": [{"first_day": "2026-09-07", "weeks": 8, "lessons": ["Thu 1 weeks 2: Thu"]}],
        "override": [{"dates": "2026-10-10", "runs": "week 2 Thu"}],
    }));
    assert_eq!(shown(&built(&table, &[], "2026-10-10", "2026-10-10")), ["10-10 06:30-21:00 (MakeUp)"]);
}

#[test]
fn without_a_timetable_every_day_is_open_and_nothing_is_taken() {
    let calendar = built(&Timetable::default(), &[], "2026-10-01", "2026-10-12");
    assert_eq!(calendar.timetable(), Certainty::NoTimetable);
    assert_eq!((shown(&calendar), open(&calendar).len()), (vec![], 12));
    let room = |text: &str| calendar.at(text.parse().expect("an instant"), TimeDelta::minutes(10)).room;
    assert_eq!(room("2026-10-10T12:00:00+08:00"), RoomState::Free { next: None });
    assert_eq!(room("2026-10-10T23:00:00+08:00"), RoomState::Closed { next: None });
}

#[test]
fn a_source_that_cannot_be_read_leaves_no_hour_free() {
    let table = autumn(json!([]));
    let good = source(Some("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n"), false);
    let bad = [source(None, false), source(None, true), source(Some("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n"), false)];
    for bad in bad {
        let calendar = built(&table, &[good.clone(), bad], "2026-11-23", "2026-11-29");
        assert_eq!((calendar.timetable(), open(&calendar)), (Certainty::Unreadable, vec![]));
        for hour in 0..7 * 24 {
            let now = calendar.known().start + TimeDelta::hours(hour);
            assert_eq!(calendar.at(now, TimeDelta::minutes(10)).room, RoomState::Unknown);
        }
    }
    let fewer = Timetable { ical: vec!["/a.ics".to_owned(), "/b.ics".to_owned()], ..table.clone() };
    assert_eq!(
        built(&fewer, std::slice::from_ref(&good), "2026-11-23", "2026-11-29").timetable(),
        Certainty::Unreadable
    );
    let stale = Source { stale: true, ..good.clone() };
    assert_eq!(built(&table, &[good.clone(), stale], "2026-11-23", "2026-11-29").timetable(), Certainty::Stale);
    assert_eq!(built(&table, &[good], "2026-11-23", "2026-11-29").timetable(), Certainty::Known);
}

#[test]
fn no_calendar_is_endless() {
    let calendar = built(&autumn(json!([])), &[], "2020-01-01", "2999-12-31");
    assert_eq!(calendar.days().len(), 4000);
    assert_eq!(calendar.day(date("2030-12-14")), None);
}

/// An iCalendar text of events, each as its lines between semicolons.
fn ics(events: &[&str]) -> String {
    let mut text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//school//timetable//EN\r\n".to_owned();
    for (index, event) in events.iter().enumerate() {
        let lines = event.replace("; ", "\r\n");
        text += &format!("BEGIN:VEVENT\r\nUID:{index}@school\r\nDTSTAMP:20260101T000000Z\r\n{lines}\r\nEND:VEVENT\r\n");
    }
    text + "END:VCALENDAR\r\n"
}

/// Mathematics every Thursday at 08:00 from 2026-09-10 on, in Shanghai; and further events.
fn thursdays(further: &[&str]) -> Vec<Source> {
    let weekly = "DTSTART;TZID=Asia/Shanghai:20260910T080000; DTEND;TZID=Asia/Shanghai:20260910T084500; \
                  RRULE:FREQ=WEEKLY; SUMMARY:Thu";
    let text = ics(&[&[weekly], further].concat());
    vec![source(Some(&text), false)]
}

/// A timetable of iCalendar files alone, with these overrides.
fn files(overrides: Value) -> Timetable {
    timetable(json!({"open": "07:00", "close": "21:00", "override": overrides}))
}

#[test]
fn events_stay_on_holidays_and_are_believed_on_make_up_days() {
    let saturday = "DTSTART;TZID=Asia/Shanghai:20261010T100000; DTEND;TZID=Asia/Shanghai:20261010T104500; SUMMARY:Sat";
    let calendar = built(&files(json!([])), &thursdays(&[saturday]), "2026-09-19", "2026-10-11");
    let expected = [
        "09-20 07:00-21:00 (MakeUp)",
        "09-24 08:00-08:45 Thu",
        "10-01 08:00-08:45 Thu",
        "10-08 08:00-08:45 Thu",
        "10-10 10:00-10:45 Sat",
    ];
    assert_eq!(shown(&calendar), expected);
    assert_eq!(open(&calendar), [20, 21, 22, 23, 24, 28, 29, 30, 8, 9, 10]);
}

#[test]
fn events_follow_the_overrides_by_the_wall_clock() {
    let tuesday = "DTSTART:20260915T233000Z; DTEND:20260916T003000Z; SUMMARY:Wed by UTC";
    let sources = thursdays(&[tuesday]);
    let table = files(json!([
        {"dates": "2026-09-20", "runs": "Thu"},
        {"dates": "2026-09-24", "runs": "no lessons"},
        {"dates": "2026-10-01", "runs": "2026-09-16"},
        // Beyond the dates that are looked at.
        {"dates": "2026-10-10", "runs": "2026-12-31"},
    ]));
    let calendar = built(&table, &sources, "2026-09-16", "2026-10-11");
    let expected = [
        "09-16 07:30-08:30 Wed by UTC",
        "09-17 08:00-08:45 Thu",
        "09-20 08:00-08:45 Thu",
        "10-01 07:30-08:30 Wed by UTC",
        "10-08 08:00-08:45 Thu",
        "10-10 08:00-08:45 Thu",
    ];
    assert_eq!(shown(&calendar), expected);
    assert_eq!(calendar.day(date("2026-10-10")).map(|day| day.kind), Some(DayKind::MakeUp));

    // In a term, a file's events follow a week and a weekday, too.
    let term = autumn(json!([{"dates": "2026-10-10", "runs": "week 4 Thu"}]));
    let calendar = built(&term, &thursdays(&[]), "2026-10-10", "2026-10-10");
    assert_eq!(shown(&calendar), ["10-10 08:00-08:45 Thu", "10-10 08:00-14:45 Thu"]);
    assert_eq!(calendar.days()[0].follows, Some((4, Weekday::Thu)));
}

#[test]
fn whole_days_take_the_room_but_on_dates_without_lessons() {
    let days = "DTSTART;VALUE=DATE:20261102; DTEND;VALUE=DATE:20261107; SUMMARY:运动会";
    let table = files(json!([
        {"dates": "2026-11-04", "runs": "no lessons"},
        {"dates": "2026-11-08", "runs": "2026-11-06"},
    ]));
    let calendar = built(&table, &[source(Some(&ics(&[days])), false)], "2026-11-01", "2026-11-09");
    let expected =
        ["11-02 00:00-11-04 00:00 运动会", "11-05 00:00-11-07 00:00 运动会", "11-08 00:00-11-09 00:00 运动会"];
    assert_eq!(shown(&calendar), expected);
}

#[test]
fn an_event_without_a_length_takes_a_minute_and_two_alike_are_one() {
    let point = "DTSTART:20261102T020000Z; DTEND:20261102T020000Z; SUMMARY:bell";
    let twice = "DTSTART:20261103T020000Z; DTEND:20261103T030000Z; SUMMARY:twice";
    let text = ics(&[point, twice, twice]);
    let expanded = ical::expand(&text, Tz::UTC, span("2026-11-01", "2026-11-09")).expect("events");
    assert_eq!(expanded.events.len(), 3, "{expanded:?}");
    let calendar = built(&files(json!([])), &[source(Some(&text), false)], "2026-11-01", "2026-11-09");
    assert_eq!(shown(&calendar), ["11-02 10:00-10:01 bell", "11-03 10:00-11:00 twice"]);
}

fn span(from: &str, to: &str) -> Range<chrono::DateTime<chrono::Utc>> {
    let midnight = |text| zone::midnight(Tz::UTC, date(text)).expect("an instant");
    midnight(from)..midnight(to)
}
