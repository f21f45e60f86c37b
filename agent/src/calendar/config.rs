//! `[timetable]` and `[holidays]`: what a school writes.

use std::time::Duration;

use bellwether_probes::Span;
use chrono::{NaiveDate, NaiveTime, Weekday};
use chrono_tz::Tz;
use serde::Deserialize;

mod check;
mod text;

/// No term has more weeks.
pub const MAX_WEEKS: u32 = 60;
/// No day has more periods.
pub const MAX_PERIODS: u32 = 30;

/// `[timetable]`: when the room is taught in. Without a source nothing is held back for lessons.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timetable {
    /// iCalendar files or addresses; all of them together are the room's lessons.
    pub ical: Vec<String>,
    /// How often they are read again.
    pub refresh: Span,
    /// Older than this, the last good copy is called stale.
    pub stale_after: Span,
    /// From when somebody can be in the building, on days that are not off.
    #[serde(deserialize_with = "crate::site::clock_time::deserialize")]
    pub open: NaiveTime,
    /// Until when.
    #[serde(deserialize_with = "crate::site::clock_time::deserialize")]
    pub close: NaiveTime,
    /// A heavy probe ends at least this long before a lesson, and starts at least this long after one.
    pub margin: Span,
    /// How long before the first lesson of a day, and after a long break, everything is looked at;
    /// 0 never.
    pub look_ahead: Span,
    /// Without lessons for this long, the next lesson is looked ahead of.
    pub long_break: Span,
    /// Bell times, by season; of those that hold a date, the last counts.
    pub bells: Vec<Bells>,
    /// Terms with their lessons.
    pub term: Vec<Term>,
    /// Single dates that are different.
    #[serde(rename = "override")]
    pub overrides: Vec<Override>,
}

/// `[[timetable.bells]]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bells {
    /// First day of the season, as `MM-DD`; all year if both are left out. A season may go over New Year.
    #[serde(default)]
    pub from: Option<MonthDay>,
    /// Last day of the season.
    #[serde(default)]
    pub to: Option<MonthDay>,
    /// The periods in order, as `"08:00-08:45"`.
    pub periods: Vec<Period>,
}

/// A day of any year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonthDay {
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// Wall-clock times of one period; the end is after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its start.
    pub start: NaiveTime,
    /// Its end.
    pub end: NaiveTime,
}

/// `[[timetable.term]]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Name as people call it.
    #[serde(default)]
    pub name: String,
    /// Any day of week 1; weeks begin on Mondays.
    #[serde(deserialize_with = "text::date")]
    pub first_day: NaiveDate,
    /// How many weeks it has.
    pub weeks: u32,
    /// Weeks of exams, as `"19-20"`; in them the room is taken from the first bell to the last.
    #[serde(default)]
    pub exam_weeks: Weeks,
    /// Breaks within the term, as `"2026-10-01/2026-10-07"` or one date.
    #[serde(default)]
    pub breaks: Vec<Dates>,
    /// The lessons, as `"Mon 1-2 weeks 1-16 odd: 数学"`.
    #[serde(default)]
    pub lessons: Vec<TableLesson>,
}

/// Dates from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub to: NaiveDate,
}

/// Some weeks of a term, ascending, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weeks(pub Vec<u32>);

/// One line of the compact table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLesson {
    /// Its weekday.
    pub weekday: Weekday,
    /// First period, from 1.
    pub first: u32,
    /// Last period.
    pub last: u32,
    /// Its weeks; `None` for all of the term but exam weeks.
    pub weeks: Option<Weeks>,
    /// What is taught.
    pub title: String,
}

/// `[[timetable.override]]`: one date, or some in a row, that are different. Beats holidays and weekdays.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The dates, as `"2026-10-10"` or `"2026-10-01/2026-10-07"`.
    pub dates: Dates,
    /// What they run.
    pub runs: Runs,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// What a date runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// `"no lessons"`.
    NoLessons,
    /// `"lessons"`: its own plan, although it is a holiday.
    Lessons,
    /// `"Thu"`: the plan of that weekday in the date's own week.
    Weekday(Weekday),
    /// `"week 4 Thu"`.
    Plan {
        /// Week of the term, from 1.
        week: u32,
        /// The weekday.
        weekday: Weekday,
    },
    /// `"2026-10-08"`: the plan of that date.
    Date(NaiveDate),
}

/// The zones of mainland China.
const CHINA: [Tz; 7] = [
    Tz::Asia__Shanghai,
    Tz::Asia__Urumqi,
    Tz::Asia__Chongqing,
    Tz::Asia__Chungking,
    Tz::Asia__Harbin,
    Tz::Asia__Kashgar,
    Tz::PRC,
];

/// `[holidays]`: days off and make-up working days.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HolidayConfig {
    /// Country whose data is followed: `"CN"`, any other whose file was imported, or `""` for none; see
    /// [`HolidayConfig::country`] where it is left out.
    pub country: Option<String>,
    /// iCalendar files of further days off: each day that an event touches.
    pub files: Vec<std::path::PathBuf>,
}

impl Default for Timetable {
    fn default() -> Self {
        let at = |hour| NaiveTime::from_hms_opt(hour, 0, 0).expect("a time of day written here");
        let minutes = |count: u64| Span(Duration::from_secs(60 * count));
        Self {
            ical: Vec::new(),
            refresh: minutes(6 * 60),
            stale_after: minutes(7 * 24 * 60),
            open: at(7),
            close: at(22),
            margin: minutes(10),
            look_ahead: minutes(30),
            long_break: minutes(120),
            bells: Vec::new(),
            term: Vec::new(),
            overrides: Vec::new(),
        }
    }
}

impl HolidayConfig {
    /// Whose data a school in this zone follows: unless it says so, China's in China, and else nobody's.
    pub fn country(&self, zone: Tz) -> &str {
        self.country.as_deref().unwrap_or(if CHINA.contains(&zone) { "CN" } else { "" })
    }
}

impl Timetable {
    /// Whether there is any source of lessons.
    pub fn configured(&self) -> bool {
        !self.ical.is_empty() || !self.term.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_school_follows_chinas_days_off_in_china_and_elsewhere_whose_it_names() {
        let named = |country: Option<&str>| HolidayConfig { country: country.map(str::to_owned), ..Default::default() };
        for (country, zone, expected) in [
            (None, Tz::Asia__Shanghai, "CN"),
            (None, Tz::Asia__Urumqi, "CN"),
            (None, Tz::Europe__Berlin, ""),
            (None, Tz::Asia__Hong_Kong, ""),
            (Some("DE"), Tz::Europe__Berlin, "DE"),
            (Some("CN"), Tz::Europe__Berlin, "CN"),
            (Some(""), Tz::Asia__Shanghai, ""),
        ] {
            assert_eq!(named(country).country(zone), expected, "{country:?} in {zone}");
        }
    }
}
