use chrono::Weekday::{Fri, Mon, Sun, Thu, Wed};

use super::*;

fn read<T: FromStr<Err = String>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// All of these are refused with what was found and an example.
fn refuses<T: Written + fmt::Debug>(texts: &[&str]) {
    for text in texts {
        let error = text.parse::<T>().expect_err(text);
        assert!(error.starts_with(&format!("found {text:?}, expected ")), "{error}");
    }
}

fn ymd(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date")
}

#[test]
fn a_day_of_the_year_may_be_the_leap_day() {
    assert_eq!(read::<MonthDay>("05-01"), MonthDay { month: 5, day: 1 });
    assert_eq!(read::<MonthDay>("02-29"), MonthDay { month: 2, day: 29 });
    refuses::<MonthDay>(&["", "02-30", "13-01", "00-10", "5-1", "05/01", "05-01-02", "+5-01", "05-0٣"]);
}

#[test]
fn a_period_ends_after_it_starts() {
    let at = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).expect("a time");
    let expected = Period { start: at(8, 0), end: at(8, 45) };
    for text in ["08:00-08:45", "8:00-8:45", " 08:00 – 08:45 ", "08：00～08：45"] {
        assert_eq!(read::<Period>(text), expected, "{text}");
    }
    refuses::<Period>(&[
        "08:45-08:00",
        "08:00-08:00",
        "08:00",
        "08:00-24:00",
        "08:00-08:60",
        "8-9",
        "08:00-09:00-10:00",
    ]);
    let error = "23:00-01:00".parse::<Period>().expect_err("over midnight");
    assert!(error.contains("an end after the start"), "{error}");
}

#[test]
fn dates_are_one_or_some_in_a_row() {
    let day = ymd(2026, 10, 10);
    assert_eq!(read::<Dates>("2026-10-10"), Dates { from: day, to: day });
    assert_eq!(read::<Dates>("2026-10-10 / 2026-10-11"), Dates { from: day, to: ymd(2026, 10, 11) });
    assert_eq!(read::<Dates>("2028-01-01/2028-12-31").to, ymd(2028, 12, 31));
    refuses::<Dates>(&["2026-10-11/2026-10-10", "2026-10-01/2027-10-02", "2026-02-29", "1926-10-10", "2026-1-1"]);
    refuses::<Dates>(&["", "2026-10-10/", "20261010", "2026-10-10-11", "-2026-10-10", "2026-10-1a"]);
    assert!(serde_json::from_str::<Dates>("20261010").expect_err("a number").to_string().contains("in quotes"));
}

#[test]
fn weeks_are_lists_and_ranges_odd_or_even() {
    let weeks = |text: &str| read::<Weeks>(text).0;
    assert_eq!(weeks("1-7 odd"), [1, 3, 5, 7]);
    assert_eq!(weeks("2-8 even"), [2, 4, 6, 8]);
    assert_eq!(weeks("1-8 even"), weeks("2-8 even"));
    assert_eq!(weeks("1,3,5-9"), [1, 3, 5, 6, 7, 8, 9]);
    assert_eq!(weeks("9, 3-4, 4"), [3, 4, 9]);
    for odd in ["第1-7周 单", "1-7周(单)", "１－７（单周）", "1-7单周", "[1-7周]单", "第1至7周单"] {
        assert_eq!(weeks(odd), [1, 3, 5, 7], "{odd}");
    }
    assert_eq!(weeks("1-4双周、9周"), [2, 4, 9]);
    refuses::<Weeks>(&[
        "",
        "0",
        "1-61",
        "5-3",
        "odd",
        "单周",
        "1-",
        "1,,2",
        "2 odd",
        "1-8 odd even",
        "1.5",
        "4294967297",
    ]);
}

#[test]
fn odd_or_even_behind_two_ranges_is_refused_where_it_could_hide_a_lesson() {
    let weeks = |text: &str| read::<Weeks>(text).0;
    assert_eq!(weeks("1,3,5-9 odd"), [1, 3, 5, 7, 9], "the same in either way of reading");
    assert_eq!(weeks("1-4 odd, 5-6"), [1, 3, 5, 6]);
    assert_eq!(weeks("1-4 odd, 5-8 even"), [1, 3, 6, 8]);
    refuses::<Weeks>(&["1-7, 9-15 odd", "1-8周,9-16周单"]);
}

#[test]
fn a_lesson_is_read_in_both_languages() {
    let lesson = |weeks: Option<&str>, title: &str| TableLesson {
        weekday: Mon,
        first: 1,
        last: 2,
        weeks: weeks.map(read::<Weeks>),
        title: title.to_owned(),
    };
    for text in [
        "Mon 1-2 weeks 1-16 odd: 数学",
        "monday 1-2 Weeks 1-16 odd:数学",
        "周一 1-2 第1-16周 单: 数学",
        "星期一 第1-2节 第1-16周（单）：数学",
        "周一1-2节1-16周单: 数学",
    ] {
        assert_eq!(read::<TableLesson>(text), lesson(Some("1-16 odd"), "数学"), "{text}");
    }
    assert_eq!(read::<TableLesson>("Mon 1-2 week 5: a: b"), lesson(Some("5"), "a: b"));
    assert_eq!(read::<TableLesson>("Mon 1-2: 第1-16周"), lesson(None, "第1-16周"), "a title is no weeks");
    let bare = TableLesson { weekday: Wed, first: 3, last: 3, weeks: None, title: String::new() };
    assert_eq!(read::<TableLesson>("Wed 3"), bare);
    assert_eq!(read::<TableLesson>("周三 第3节"), bare);
    assert_eq!(read::<TableLesson>("周天 3").weekday, Sun);
    let refused =
        ["", "Mon", "Mon: x", "Mon 0", "Mon 2-1", "Mon 31", "Mon 1-2 1-16", "Mon 1-2 数学", "1-2", "周 1", "Man 1"];
    refuses::<TableLesson>(&refused);
    let error = "Mon 1 weeks 2 odd: x".parse::<TableLesson>().expect_err("no week");
    assert!(error.starts_with("found \"2 odd\", expected weeks"), "{error}");
}

#[test]
fn what_a_date_runs_is_read_in_both_languages() {
    let same = [
        (Runs::NoLessons, ["no lessons", "No  Lessons", "不上课"]),
        (Runs::Lessons, ["lessons", "Lessons", "上课"]),
        (Runs::Weekday(Thu), ["Thu", "thursday", "周四"]),
        (Runs::Weekday(Fri), ["Fri", "星期五", "礼拜五"]),
        (Runs::Plan { week: 4, weekday: Thu }, ["week 4 Thu", "第4周 周四", "第４周星期四"]),
        (Runs::Date(ymd(2026, 10, 8)), ["2026-10-08", " 2026-10-08", "2026-10-08 "]),
    ];
    for (expected, texts) in same {
        for text in texts {
            assert_eq!(read::<Runs>(text), expected, "{text}");
        }
    }
    refuses::<Runs>(&["", "lesson", "week 4", "4 Thu", "week 0 Thu", "week 61 Thu", "week 1-2 Thu", "第4周", "Thu 4"]);
    refuses::<Runs>(&["第4周四", "2026-10-32", "Thu Fri", "周四 不上课"]);
}

#[test]
fn everything_is_written_as_it_is_read() {
    for text in ["no lessons", "lessons", "Thu", "week 4 Thu", "2026-10-08"] {
        assert_eq!(read::<Runs>(text).to_string(), text);
    }
    for text in ["2026-10-10", "2026-10-01/2026-10-07"] {
        assert_eq!(read::<Dates>(text).to_string(), text);
    }
    assert_eq!(read::<Period>("8:00-8:45").to_string(), "08:00-08:45");
    assert_eq!(read::<MonthDay>("02-29").to_string(), "02-29");
}

#[test]
fn a_long_text_is_cut_in_the_message() {
    let error = "周".repeat(1000).parse::<Runs>().expect_err("no words");
    assert!(
        error.starts_with("found \"周") && error.contains("…\", expected") && error.chars().count() < 300,
        "{error}"
    );
}
