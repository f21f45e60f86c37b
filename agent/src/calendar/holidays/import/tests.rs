use chrono_tz::Asia::Shanghai;

use super::*;
use crate::calendar::holidays::{Holidays, National, to_json};

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date written here")
}

/// holiday-cn's JSON: dates with `+` are off, with `-` are worked on.
fn holiday_cn_json(year: i32, days: &[&str]) -> String {
    let days = days.iter().map(|day| {
        let (sign, date) = day.split_at(1);
        format!("    {{ \"name\": \"元旦\", \"date\": \"{date}\", \"isOffDay\": {} }}", sign == "+")
    });
    let papers = "[\"https://www.gov.example/a.htm\", \"https://www.gov.example/b.htm\"]";
    let days = days.collect::<Vec<_>>().join(",\n");
    format!("{{\n  \"$id\": \"x\",\n  \"year\": {year},\n  \"papers\": {papers},\n  \"days\": [\n{days}\n  ]\n}}\n")
}

const DAYS_2027: [&str; 8] = [
    "+2026-12-31",
    "-2026-12-26",
    "+2027-01-01",
    "+2027-01-02",
    "+2027-10-01",
    "+2027-10-02",
    "+2027-10-03",
    "-2027-10-09",
];

fn own(year: &str, off: &str, work: &str) -> String {
    format!(
        "{{\n\"country\":\"CN\",\n\"years\":[\n{{\"year\":{year},\"source\":\"s\",\"covered\":\"2027-01-01/2027-12-31\",\n\
         \"off\":[{off}],\n\"work\":[{work}]}}]}}"
    )
}

fn days(dates: &str) -> String {
    format!("{{\"name\":\"假\",\"dates\":\"{dates}\"}}")
}

/// An iCalendar file of whole days: first, last, title.
fn calendar(events: &[(&str, &str, &str)]) -> String {
    let event = |(from, to, title): &(&str, &str, &str)| {
        let end = date(to).succ_opt().expect("a next day").format("%Y%m%d");
        let start = date(from).format("%Y%m%d");
        format!(
            "BEGIN:VEVENT\r\nUID:{start}-{end}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;VALUE=DATE:{start}\r\n\
             DTEND;VALUE=DATE:{end}\r\nSUMMARY:{title}\r\nEND:VEVENT\r\n"
        )
    };
    let events: String = events.iter().map(event).collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n{events}END:VCALENDAR\r\n")
}

const EVENTS_2027: [(&str, &str, &str); 8] = [
    ("2026-12-26", "2026-12-26", "上班(补元旦假期)"),
    ("2026-12-31", "2027-01-02", "元旦假期"),
    ("2027-02-05", "2027-02-11", "春节 假期"),
    ("2027-04-03", "2027-04-05", "清明节（休）"),
    ("2027-05-01", "2027-05-05", "劳动节(休)"),
    ("2027-06-09", "2027-06-09", "端午节"),
    ("2027-10-01", "2027-10-07", "国庆节 假期"),
    ("2027-10-09", "2027-10-09", "国庆节 补班"),
];

fn import(text: &str) -> Import {
    parse(text, "CN", Shanghai).expect("a good file")
}

fn refused(text: &str) -> String {
    parse(text, "CN", Shanghai).expect_err("a bad file").to_string()
}

fn shown(import: &Import) -> Vec<String> {
    let days = import.years.iter().flat_map(YearData::days);
    days.map(|(date, day)| format!("{date} {day}")).collect()
}

#[test]
fn the_json_of_holiday_cn_is_read() {
    let found = import(&holiday_cn_json(2027, &DAYS_2027));
    assert_eq!(found.years.len(), 1);
    let year = &found.years[0];
    assert_eq!((year.year, year.off(), year.make_up()), (2027, 6, 2));
    assert_eq!(year.source, "https://www.gov.example/a.htm https://www.gov.example/b.htm");
    assert_eq!(year.covered, Dates { from: date("2027-01-01"), to: date("2027-12-31") });
    assert_eq!(shown(&found)[..2], ["2026-12-26 make-up working day: 元旦", "2026-12-31 off: 元旦"]);
    assert_eq!(import(&format!("\u{feff} \n{}", holiday_cn_json(2027, &DAYS_2027))), found, "a mark at the beginning");
}

#[test]
fn the_stored_form_reads_back_as_what_was_imported() {
    let found = import(&holiday_cn_json(2027, &DAYS_2027));
    let stored = to_json("CN", &found.years);
    assert_eq!(import(&stored), found);
    let lines: Vec<&str> = stored.lines().filter(|line| line.contains("dates")).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "{ \"name\": \"元旦\", \"dates\": \"2026-12-31/2027-01-02\" },",
            "{ \"name\": \"元旦\", \"dates\": \"2027-10-01/2027-10-03\" }",
            "{ \"name\": \"元旦\", \"dates\": \"2026-12-26\" },",
            "{ \"name\": \"元旦\", \"dates\": \"2027-10-09\" }",
        ]
    );
}

#[test]
fn our_own_json_is_read_whatever_it_lists_twice() {
    let off = [days("2027-10-01/2027-10-03"), days("2027-10-03"), days("2027-10-01")].join(",");
    let found = import(&own("2027", &off, &days("2027-10-09")));
    assert_eq!((found.years[0].off(), found.years[0].make_up()), (3, 1));
    let several = to_json("CN", &Holidays::built_in("CN").expect("built in").years().cloned().collect::<Vec<_>>());
    assert_eq!(import(&several).years.iter().map(|year| year.year).collect::<Vec<_>>(), [2025, 2026]);
}

#[test]
fn events_are_days_off_unless_they_say_that_they_are_work() {
    let found = import(&calendar(&EVENTS_2027));
    assert_eq!(found.years.len(), 1, "December belongs to the year that follows");
    assert_eq!((found.years[0].year, found.years[0].off(), found.years[0].make_up()), (2027, 3 + 7 + 3 + 5 + 1 + 7, 2));
    let shown = shown(&found);
    assert_eq!(shown.first().map(String::as_str), Some("2026-12-26 make-up working day: 上班(补元旦假期)"));
    assert_eq!(shown.last().map(String::as_str), Some("2027-10-09 make-up working day: 国庆节 补班"));
    assert_eq!(found.years[0].covered, Dates { from: date("2027-01-01"), to: date("2027-12-31") });
}

#[test]
fn new_year_after_a_whole_year_belongs_to_it() {
    let mut events = EVENTS_2027.to_vec();
    events.push(("2028-01-01", "2028-01-01", "元旦"));
    let found = import(&calendar(&events));
    assert_eq!(found.years.iter().map(|year| year.year).collect::<Vec<_>>(), [2027]);
    let holidays = found.years.into_iter().fold(Holidays::of_country("CN"), Holidays::with);
    assert_eq!(holidays.of(date("2028-01-01")), National::Off("元旦".into()));
    assert_eq!(holidays.of(date("2028-01-02")), National::Unknown);
}

#[test]
fn another_country_needs_no_make_up_days() {
    let german = ["2027-01-01", "2027-05-01", "2027-05-06", "2027-10-03", "2027-12-25", "2027-12-26"];
    let german = german.map(|date| (date, date, "Feiertag"));
    let found = parse(&calendar(&german), "DE", chrono_tz::Europe::Berlin).expect("a good file");
    assert_eq!((found.country.as_str(), found.years[0].off()), ("DE", 6));
    assert_eq!(shown(&found)[0], "2027-01-01 off: Feiertag");
    let refused = refused(&calendar(&german));
    assert!(refused.starts_with("found no make-up working day in 2027, expected those of the notice"), "{refused}");
}

#[test]
fn titles_tell_work_from_days_off() {
    let (saturday, monday) = (date("2027-10-09"), date("2027-10-04"));
    for title in [
        "补班",
        "国庆节 补班",
        "上班(补国庆节假期)",
        "国庆节（班）",
        "调休上班",
        "Workday",
        "National Day make-up",
        "working day",
    ] {
        assert_eq!(works(title, saturday), Some(true), "{title}");
    }
    for title in ["国庆节 假期", "国庆节（休）", "Labour Day", "Workers' Day", "补休", "Non-working day", "", "不上班"]
    {
        assert_eq!(works(title, saturday), Some(false), "{title}");
        assert_eq!(works(title, monday), Some(false), "{title}");
    }
    assert_eq!(works("调休", saturday), None, "either a Saturday in exchange, or one that is part of a holiday");
    assert_eq!(works("调休", monday), Some(false));
}

#[test]
fn each_thing_that_is_wrong_is_refused_with_its_place() {
    let good = days("2027-10-01/2027-10-07");
    let many: Vec<String> = (0..31)
        .map(|year| format!("{{\"year\":{},\"source\":\"\",\"covered\":\"\",\"off\":[]}}", 2000 + year))
        .collect();
    let long = "假".repeat(501);
    let rows: Vec<(String, String)> = vec![
        ("x".repeat(MAX_BYTES + 1), "found 1048577 bytes, expected at most 1048576".into()),
        (
            "<html>".into(),
            "found neither JSON nor iCalendar, expected a file that begins with { or BEGIN:VCALENDAR: \
            days off in bellwether's own JSON, in that of holiday-cn, or as events"
                .into(),
        ),
        ("中".repeat(20), "found neither JSON".into()),
        (String::new(), "found neither JSON".into()),
        (
            "{}".into(),
            "found JSON without \"years\" and without \"days\", expected bellwether's own or that of holiday-cn".into(),
        ),
        ("{\n\"years\": [\n}".into(), "line 3: expected value".into()),
        ("{\n\"years\": 5}".into(), "line 2: invalid type: integer `5`, expected a sequence".into()),
        ("[".repeat(100_000), "found neither JSON".into()),
        (format!("{{\"days\":{}", "[".repeat(100_000)), "line 1: EOF while parsing a list".into()),
        (own("2027", &good, "").replace("CN", "DE"), "country: found \"DE\", expected \"CN\"".into()),
        (
            own("2027", &good, "").replace("source", "from"),
            "line 4: unknown field `from`, expected one of `year`, `source`, \
            `covered`, `off`, `work`"
                .into(),
        ),
        (
            own("2027", &good, "").replace("\"covered\":\"2027-01-01/2027-12-31\",", ""),
            "line 6: missing field `covered`".into(),
        ),
        (own("2027", "", ""), "found no day: the notice for 2027 is not out yet".into()),
        (own("1999", &good, ""), "years[0].year: found 1999, expected a year from 2000 to 2100".into()),
        (own("2101", &good, ""), "years[0].year: found 2101, expected a year from 2000 to 2100".into()),
        (own("2028", &good, ""), "years[0].covered: found 2027-01-01/2027-12-31, expected dates of 2028".into()),
        (own("2027", &days("2027-13-01"), ""), "years[0].off[0]: found \"2027-13-01\", expected dates, such as".into()),
        (
            own("2027", &days("2027-10-07/2027-10-01"), ""),
            "years[0].off[0]: found \"2027-10-07/2027-10-01\", expected".into(),
        ),
        (
            own("2027", &days("2026-11-30"), ""),
            "years[0].off[0]: found 2026-11-30 in the data of 2027, expected a date of 2027, of \
            December 2026 or of January 2028"
                .into(),
        ),
        (
            own("2027", &days("2027-10-01/2099-10-07"), ""),
            "years[0].off[0]: found \"2027-10-01/2099-10-07\", expected no more than a year".into(),
        ),
        (
            own("2027", &good, &days("2027-10-09/2027-10-11")),
            "years[0].work[0]: found a make-up working day on 2027-10-11, a \
            Monday, expected a Saturday or Sunday"
                .into(),
        ),
        (
            own("2027", &format!("{},{good}", days("2027-01-01")), &days("2027-10-02/2027-10-03")),
            "found 2027-10-02 as a day off at \
            years[0].off[1] and as a make-up working day at years[0].work[0], expected one of them"
                .into(),
        ),
        (own("2027", &days(&long).replace("dates\":\"假", "dates\":\""), ""), "years[0].off[0]: found".into()),
        (
            own("2027", &[days("2026-12-01/2027-11-30"), days("2027-12-01/2028-01-31")].join(","), ""),
            "years[0].off[1]: found more, expected at most 400 days in a year".into(),
        ),
        (
            own("2027", &good.replace('假', &long), ""),
            "years[0].off[0]: found a longer text, expected at most 500 characters".into(),
        ),
        (own("2027", &good, "").replace("\"s\"", &format!("\"{long}\"")), "years[0].year: found a longer text".into()),
        ("{\"country\":\"CN\",\"years\":[]}".into(), "years: found 0 years, expected 1 to 30".into()),
        (
            format!("{{\"country\":\"CN\",\"years\":[{}]}}", many.join(",")),
            "years: found 31 years, expected 1 to 30".into(),
        ),
        (
            to_json(
                "CN",
                &[import(&own("2027", &good, "")).years.remove(0), import(&own("2027", &good, "")).years.remove(0)],
            ),
            "years[1].year: found 2027 twice, expected once".into(),
        ),
        (holiday_cn_json(2027, &[]), "found no day: the notice for 2027 is not out yet".into()),
        (holiday_cn_json(2027, &["-2027-10-09"]), "found no day: the notice for 2027 is not out yet".into()),
        (
            holiday_cn_json(2027, &DAYS_2027[..4]),
            "found 2 days off in 2027, expected at least 5, as a whole year has: give a file of the whole".into(),
        ),
        (
            holiday_cn_json(2027, &["+2027-10-01", "+2027-10-02", "+2027-10-03", "+2027-10-04", "+2027-10-05"]),
            "found no make-up working day in 2027, expected those of the notice (补班, 上班, isOffDay = false)".into(),
        ),
        (
            holiday_cn_json(2027, &["+2027-10-09", "-2027-10-09"]),
            "found 2027-10-09 as a day off at days[0] and as a make-up \
            working day at days[1], expected one of them"
                .into(),
        ),
        (
            holiday_cn_json(2027, &["-2027-10-09", "+2027-10-09"]),
            "found 2027-10-09 as a day off at days[1] and as a make-up \
            working day at days[0], expected one of them"
                .into(),
        ),
        (holiday_cn_json(2027, &["+2027-02-29"]), "line 6: ".into()),
        (holiday_cn_json(2027, &["+2025-12-31"]), "days[0]: found 2025-12-31 in the data of 2027".into()),
        (
            holiday_cn_json(2027, &["-2027-10-08"]),
            "days[0]: found a make-up working day on 2027-10-08, a Friday".into(),
        ),
    ];
    for (text, expected) in rows {
        let found = refused(&text);
        assert!(found.starts_with(&expected), "found    {found}\nexpected {expected}");
    }
}

#[test]
fn each_calendar_that_is_wrong_is_refused_with_its_event() {
    let with = |event| {
        let mut events = EVENTS_2027.to_vec();
        events.push(event);
        calendar(&events)
    };
    let rows = [
        (calendar(&[]), "BEGIN:VCALENDAR: found no event, expected the days off of a year as events: the notice of"),
        (
            calendar(&EVENTS_2027[2..5]),
            "found 3 events of days off in 2027, expected at least 5, as a whole year has: give a file of the whole year",
        ),
        (with(("2026-10-01", "2026-10-07", "国庆节")), "found 1 event of days off in 2026, expected at least 5"),
        (with(("2028-05-01", "2028-05-01", "劳动节")), "found 1 event of days off in 2028, expected at least 5"),
        (
            with(("2027-10-01", "2027-10-01", "补班")),
            "the event \"补班\" of 2027-10-01: found a make-up working day on 2027-10-01",
        ),
        (
            with(("2027-10-02", "2027-10-02", "补班")),
            "found 2027-10-02 as a day off at the event \"国庆节 假期\" of 2027-10-01 and as \
            a make-up working day at the event \"补班\" of 2027-10-02, expected one of them",
        ),
        (
            with(("2027-09-25", "2027-09-25", "国庆节调休")),
            "the event \"国庆节调休\" of 2027-09-25: found 调休 on a weekend, expected 班 or 休",
        ),
        (with(("1999-05-01", "1999-05-01", "劳动节")), "DTSTART: found 1999, expected a year from 2000 to 2100"),
        (
            calendar(&EVENTS_2027).replace("SUMMARY:端午节", "RRULE:FREQ=YEARLY\r\nSUMMARY:端午节"),
            "RRULE: found events in 84 years, expected at most 30: events that recur without an end are no notice",
        ),
    ];
    for (text, expected) in rows {
        let found = refused(&text);
        assert!(found.starts_with(expected), "found    {found}\nexpected {expected}");
    }
}

#[test]
fn a_difference_names_what_is_added_removed_and_changed() {
    let known = Holidays::built_in("CN").expect("built in").with_days_off([(date("2027-03-01"), "校庆".into())]);
    let lines = |import: &Import| import.difference(&known).iter().map(ToString::to_string).collect::<Vec<_>>();
    let next = import(&holiday_cn_json(2027, &DAYS_2027));
    assert_eq!(
        lines(&next),
        [
            "2026-12-26 Sat  make-up working day: 元旦 (was a usual day)",
            "2026-12-31 Thu  off: 元旦 (was a usual day)",
            "2027-01-01 Fri  off: 元旦 (was unknown)",
            "2027-01-02 Sat  off: 元旦 (was unknown)",
            "2027-10-01 Fri  off: 元旦 (was unknown)",
            "2027-10-02 Sat  off: 元旦 (was unknown)",
            "2027-10-03 Sun  off: 元旦 (was unknown)",
            "2027-10-09 Sat  make-up working day: 元旦 (was unknown)",
        ]
    );
    let years: Vec<YearData> = known.years().cloned().collect();
    let same = import(&to_json("CN", &years));
    assert_eq!(lines(&same), Vec::<String>::new());
    let moved = to_json("CN", &years[1..]).replace("2026-10-10", "2026-10-11").replace("2026-05-01/", "2026-05-02/");
    let moved = moved.replace("中秋节", "仲秋");
    assert_eq!(
        lines(&import(&moved)),
        [
            "2026-05-01 Fri  a usual day (was off: 劳动节)",
            "2026-09-25 Fri  off: 仲秋 (was off: 中秋节)",
            "2026-09-26 Sat  off: 仲秋 (was off: 中秋节)",
            "2026-09-27 Sun  off: 仲秋 (was off: 中秋节)",
            "2026-10-10 Sat  a usual day (was make-up working day: 国庆节)",
            "2026-10-11 Sun  make-up working day: 国庆节 (was a usual day)",
        ]
    );
}

#[test]
fn any_text_is_read_or_refused() {
    let mut random = fastrand::Rng::with_seed(7);
    let seeds = [holiday_cn_json(2027, &DAYS_2027), calendar(&EVENTS_2027), own("2027", &days("2027-10-01"), "")];
    let mut refused = 0;
    for _ in 0..600 {
        let mut text: Vec<char> = seeds[random.usize(..seeds.len())].chars().collect();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..text.len());
            match random.u8(..3) {
                0 => text[at] = random.char(..),
                1 => drop(text.drain(at..(at + random.usize(1..30)).min(text.len()))),
                _ => text
                    .insert(at, random.choice("0123456789-/{}[]\",:班\r\n".chars().collect::<Vec<_>>()).expect("one")),
            }
            if text.is_empty() {
                break;
            }
        }
        let text: String = text.into_iter().collect();
        match parse(&text, "CN", Shanghai) {
            Ok(found) => assert!(!found.years.is_empty() && found.years.iter().all(|year| year.off() > 0), "{text}"),
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 300, "{refused} refused");
}
