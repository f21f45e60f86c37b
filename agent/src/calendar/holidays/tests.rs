use chrono::Weekday;
use chrono_tz::{
    Asia::Shanghai,
    Pacific::{Apia, Auckland},
};

use super::*;
use crate::calendar::config::Dates;

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date written here")
}

fn china() -> Holidays {
    Holidays::built_in("CN").expect("China's data are built in")
}

fn name(text: &str) -> Arc<str> {
    text.into()
}

/// Our own JSON of some years, each with its off days and make-up days.
fn years(text: &[(i32, &[&str], &[&str])]) -> Vec<YearData> {
    let list = |dates: &[&str]| {
        let lines: Vec<String> = dates.iter().map(|dates| format!(r#"{{"name":"假","dates":"{dates}"}}"#)).collect();
        lines.join(",")
    };
    let years: Vec<String> = text.iter().map(|(year, off, work)| {
        let (off, work) = (list(off), list(work));
        format!(r#"{{"year":{year},"source":"test","covered":"{year}-01-01/{year}-12-31","off":[{off}],"work":[{work}]}}"#)
    }).collect();
    year::read(&format!(r#"{{"country":"CN","years":[{}]}}"#, years.join(",")), "CN").expect("years written here")
}

fn one(year: i32, off: &[&str], work: &[&str]) -> YearData {
    years(&[(year, off, work)]).remove(0)
}

/// From the notices, written down once more: the last day off of each holiday, and how many there are.
const OFF: [(&str, u64, &str); 13] = [
    ("2025-01-01", 1, "元旦"),
    ("2025-02-04", 8, "春节"),
    ("2025-04-06", 3, "清明节"),
    ("2025-05-05", 5, "劳动节"),
    ("2025-06-02", 3, "端午节"),
    ("2025-10-08", 8, "国庆节、中秋节"),
    ("2026-01-03", 3, "元旦"),
    ("2026-02-23", 9, "春节"),
    ("2026-04-06", 3, "清明节"),
    ("2026-05-05", 5, "劳动节"),
    ("2026-06-21", 3, "端午节"),
    ("2026-09-27", 3, "中秋节"),
    ("2026-10-07", 7, "国庆节"),
];

const MAKE_UP: [(&str, Weekday, &str); 11] = [
    ("2025-01-26", Weekday::Sun, "春节"),
    ("2025-02-08", Weekday::Sat, "春节"),
    ("2025-04-27", Weekday::Sun, "劳动节"),
    ("2025-09-28", Weekday::Sun, "国庆节、中秋节"),
    ("2025-10-11", Weekday::Sat, "国庆节、中秋节"),
    ("2026-01-04", Weekday::Sun, "元旦"),
    ("2026-02-14", Weekday::Sat, "春节"),
    ("2026-02-28", Weekday::Sat, "春节"),
    ("2026-05-09", Weekday::Sat, "劳动节"),
    ("2026-09-20", Weekday::Sun, "国庆节"),
    ("2026-10-10", Weekday::Sat, "国庆节"),
];

#[test]
fn every_date_of_2025_and_2026_is_as_the_notices_say() {
    let holidays = china();
    let off = |at: NaiveDate| {
        OFF.iter().find(|(last, days, _)| (0..*days as i64).contains(&(date(last) - at).num_days())).map(|row| row.2)
    };
    let make_up = |at: NaiveDate| MAKE_UP.iter().find(|(day, ..)| date(day) == at);
    let mut counts = (0, 0);
    for at in date("2025-01-01").iter_days().take(730) {
        let expected = match (off(at), make_up(at)) {
            (Some(title), None) => National::Off(name(title)),
            (None, Some((_, weekday, title))) => {
                assert_eq!(at.weekday(), *weekday, "{at}");
                National::MakeUp(name(title))
            }
            (None, None) => National::Plain,
            both => panic!("{at}: {both:?}"),
        };
        counts.0 += i32::from(matches!(expected, National::Off(_)));
        counts.1 += i32::from(matches!(expected, National::MakeUp(_)));
        assert_eq!(holidays.of(at), expected, "{at}");
    }
    assert_eq!(counts, (28 + 33, 5 + 6));
    assert_eq!(holidays.years().map(|year| (year.off(), year.make_up())).collect::<Vec<_>>(), [(28, 5), (33, 6)]);
}

#[test]
fn a_year_without_data_is_unknown_and_not_without_holidays() {
    let holidays = china();
    assert_eq!(holidays.of(date("2026-12-31")), National::Plain);
    assert_eq!(holidays.of(date("2027-01-01")), National::Unknown);
    assert_eq!(holidays.of(date("2024-12-31")), National::Unknown);
    let later = holidays.with(one(2028, &["2028-01-01"], &[]));
    assert_eq!(later.of(date("2027-06-01")), National::Unknown);
    assert_eq!(later.of(date("2028-06-01")), National::Plain);
}

#[test]
fn no_country_is_plain_and_a_country_without_data_is_unknown() {
    let (none, unknown) = (Holidays::of_country(""), Holidays::of_country("DE"));
    assert_eq!(none, Holidays::none());
    for at in ["1999-01-01", "2026-10-01", "2026-10-10", "2099-12-31"] {
        assert_eq!(none.of(date(at)), National::Plain, "{at}");
        assert_eq!(unknown.of(date(at)), National::Unknown, "{at}");
    }
    assert_eq!(none.covered_until(date("2026-10-01")), Some(NaiveDate::MAX));
    assert_eq!(unknown.covered_until(date("2026-10-01")), None);
    assert_eq!(Holidays::built_in("DE"), None);
    assert_eq!(Holidays::of_country("CN"), china());
}

#[test]
fn the_next_year_changes_december_whatever_comes_first() {
    let december = ["2026-12-26", "2026-12-30", "2026-12-31"];
    let known = years(&[(2026, &["2026-12-26", "2026-05-01"], &[])]).remove(0);
    let next = one(2027, &["2026-12-31/2027-01-02"], &["2026-12-26"]);
    let of = |holidays: &Holidays| december.map(|at| holidays.of(date(at)));
    let before = Holidays::of_country("CN").with(known.clone());
    assert_eq!(of(&before), [National::Off(name("假")), National::Plain, National::Plain]);
    let expected = [National::MakeUp(name("假")), National::Plain, National::Off(name("假"))];
    assert_eq!(of(&before.with(next.clone())), expected);
    let after = Holidays::of_country("CN").with(next).with(known);
    assert_eq!(of(&after), expected, "the year counts, not what came last");
    assert_eq!(after.of(date("2027-01-04")), National::Plain);
}

#[test]
fn a_newer_file_of_a_year_takes_the_place_of_the_older_one() {
    let corrected = china().with(one(2026, &["2026-10-01/2026-10-08"], &["2026-10-11"]));
    assert_eq!(corrected.of(date("2026-10-10")), National::Plain);
    assert_eq!(corrected.of(date("2026-10-11")), National::MakeUp(name("假")));
    assert_eq!(corrected.of(date("2026-05-01")), National::Plain, "nothing of the old notice is left");
    assert_eq!(corrected.of(date("2025-05-01")), National::Off(name("劳动节")));
}

#[test]
fn further_days_off_beat_the_country() {
    let own = ["2026-10-10", "2026-11-20", "2030-01-02", "2026-10-01"];
    let holidays = china().with_days_off(own.map(|at| (date(at), name("校庆"))));
    for at in own {
        assert_eq!(holidays.of(date(at)), National::Off(name("校庆")), "{at}");
    }
    assert_eq!(holidays.of(date("2030-01-03")), National::Unknown);
    assert_eq!(holidays.covered_until(date("2030-01-02")), None, "one day off tells nothing of its year");
    assert_eq!(Holidays::none().with_days_off([(date(own[0]), name("x"))]).of(date(own[0])), National::Off(name("x")));
}

#[test]
fn coverage_ends_where_the_first_gap_begins() {
    let holidays = china();
    let end = Some(date("2026-12-31"));
    for (today, expected) in
        [("2025-01-01", end), ("2026-10-01", end), ("2026-12-31", end), ("2027-01-01", None), ("2024-12-31", None)]
    {
        assert_eq!(holidays.covered_until(date(today)), expected, "{today}");
    }
    let gap = holidays.clone().with(one(2028, &["2028-01-01"], &[]));
    assert_eq!(gap.covered_until(date("2026-10-01")), end);
    let part = r#"{"country":"CN","years":[{"year":2027,"source":"","covered":"2027-01-01/2027-08-31",
        "off":[{"name":"","dates":"2027-01-01"}]}]}"#;
    let part = holidays.with(year::read_one(part, "CN", 2027).expect("a year written here"));
    assert_eq!(part.covered_until(date("2026-10-01")), Some(date("2027-08-31")));
    assert_eq!(part.of(date("2027-09-01")), National::Unknown);
    assert_eq!(part.with(one(2028, &["2028-01-01"], &[])).covered_until(date("2026-10-01")), Some(date("2027-08-31")));
}

#[test]
fn coverage_in_time_ends_at_midnight_of_the_zone() {
    let at = |text: &str| text.parse().expect("an instant written here");
    let rows = [
        // 2027-01-01 00:00 in Shanghai is 16:00Z the day before.
        (Shanghai, "2026-12-31T15:59:59Z", 1),
        (Shanghai, "2026-12-31T16:00:00Z", 0),
        (Shanghai, "2026-12-30T16:00:00Z", 86_400),
        (Auckland, "2026-12-31T10:59:00Z", 60),
        (Apia, "2026-12-31T11:00:00Z", 0),
    ];
    for (zone, now, seconds) in rows {
        assert_eq!(china().coverage(at(now), zone), Some(TimeDelta::seconds(seconds)), "{zone} {now}");
    }
    let now = at("2026-12-31T15:59:59Z");
    assert_eq!(Holidays::none().coverage(now, Shanghai), None);
    assert_eq!(Holidays::of_country("DE").coverage(now, Shanghai), Some(TimeDelta::zero()));
}

#[test]
fn the_built_in_file_is_written_as_an_imported_one_is() {
    let years: Vec<YearData> = china().years().cloned().collect();
    assert_eq!(to_json("CN", &years), CHINA);
    for year in years {
        let text = to_json("CN", std::slice::from_ref(&year));
        assert_eq!(year::read_one(&text, "CN", year.year), Ok(year));
    }
    let mut odd = one(2027, &["2026-12-31/2027-01-02"], &[]);
    odd.source = "\"a\"\\\u{7f}".to_owned();
    let back = year::read_one(&to_json("CN", std::slice::from_ref(&odd)), "CN", 2027);
    odd.source = "\"a\"\\".to_owned();
    assert_eq!(back, Ok(odd));
}

#[test]
fn the_folder_of_imported_files_is_read() {
    let text = |year: i32, off: &str| to_json("CN", &[one(year, &[off], &[])]);
    let german = to_json("DE", &years(&[(2027, &["2027-10-03"], &[])]));
    let files = [
        ("CN-2028.json", text(2028, "2028-10-01")),
        ("CN-2027.json", text(2027, "2027-10-01")),
        ("CN-2026.json", "{".to_owned()),
        ("CN-2029.json", text(2027, "2027-10-01")),
        ("CN-2030.json", to_json("CN", &years(&[(2030, &["2030-10-01"], &[]), (2031, &["2031-10-01"], &[])]))),
        ("CN-2032.json", german.clone()),
        ("DE-2027.json", german),
        ("CN-GX-2027.json", "no file of the country as a whole".to_owned()),
        ("CN-2027.json.new", "half".to_owned()),
        ("CN-+2027.json", "no year".to_owned()),
        ("README", String::new()),
    ];
    let (holidays, mistakes) = Holidays::load("CN", files.iter().map(|(name, text)| (name, text)));
    assert_eq!(holidays.years().map(|year| year.year).collect::<Vec<_>>(), [2025, 2026, 2027, 2028]);
    assert_eq!(holidays.of(date("2027-10-01")), National::Off(name("假")));
    assert_eq!(holidays.of(date("2026-10-01")), National::Off(name("国庆节")), "the built-in data stay in use");
    let mistakes: Vec<String> = mistakes.into_iter().map(|found| format!("{}: {}", found.key, found.message)).collect();
    assert_eq!(
        mistakes,
        [
            "CN-2026.json: line 1: EOF while parsing an object",
            "CN-2029.json: years[0].year: found 2027, expected 2029",
            "CN-2030.json: years: found 2, expected one",
            "CN-2032.json: country: found \"DE\", expected \"CN\"",
        ]
    );
    let (german, mistakes) = Holidays::load("DE", files.iter().map(|(name, text)| (name, text)));
    assert_eq!((german.of(date("2027-10-03")), mistakes), (National::Off(name("假")), Vec::new()));
    assert_eq!(file_name("CN", 2027), "CN-2027.json");
}

#[test]
fn countries_are_named_by_two_letters() {
    assert!(is_country("CN") && is_country("DE"));
    for bad in ["", "cn", "C", "CHN", "C-", "..", "C/", "C1", "中"] {
        assert!(!is_country(bad), "{bad}");
    }
}

#[test]
fn an_event_takes_off_each_date_that_it_touches() {
    let event = |start: &str, end: &str, summary: &str| Event {
        start: start.parse().expect("an instant"),
        end: end.parse().expect("an instant"),
        summary: summary.into(),
        all_day: false,
    };
    let events = [
        // 2026-03-02 and 03 in Shanghai, as whole days.
        event("2026-03-01T16:00:00Z", "2026-03-03T16:00:00Z", "校庆"),
        // 23:00 to 01:00 over midnight.
        event("2026-03-06T15:00:00Z", "2026-03-06T17:00:00Z", "夜"),
        // No time at all.
        event("2026-03-09T16:00:00Z", "2026-03-09T16:00:00Z", "点"),
        event("1990-01-01T00:00:00Z", "2026-02-26T16:00:00Z", "长"),
        // Saturdays of work, or nobody knows.
        event("2026-03-13T16:00:00Z", "2026-03-14T16:00:00Z", "补班"),
        event("2026-03-20T16:00:00Z", "2026-03-21T16:00:00Z", "调休"),
    ];
    let within = Dates { from: date("2026-02-25"), to: date("2026-03-31") };
    let found = touched(&events, Shanghai, within);
    let found: Vec<String> = found.iter().map(|(date, name)| format!("{} {name}", date.format("%m-%d"))).collect();
    assert_eq!(found, ["02-25 长", "02-26 长", "03-02 校庆", "03-03 校庆", "03-06 夜", "03-07 夜", "03-10 点"]);
}

#[test]
fn ten_thousand_look_ups_find_what_a_walk_through_the_years_finds() {
    let holidays = china().with(one(2027, &["2026-12-31/2027-01-02"], &["2027-02-06"]));
    for at in date("2020-01-01").iter_days().take(10_000) {
        let mut expected = if (2025..=2027).contains(&at.year()) { National::Plain } else { National::Unknown };
        for year in holidays.years() {
            expected = year.days().find(|(date, _)| *date == at).map_or(expected, |(_, day)| day.clone());
        }
        assert_eq!(holidays.of(at), expected, "{at}");
    }
}
