//! How the words of a timetable are written, in English and in Chinese.

use std::{fmt, marker::PhantomData, str::FromStr};

use chrono::{NaiveDate, NaiveTime, Weekday};
use serde::{Deserialize, Deserializer, de};

use super::{Dates, MAX_PERIODS, MAX_WEEKS, MonthDay, Period, Runs, TableLesson, Weeks};

/// More dates in a row are a slip of the pen in a year.
const MOST_DATES: i64 = 366;
/// No more of a text is repeated in a message.
const SHOWN: usize = 60;

/// A value that is written as one text.
trait Written: FromStr<Err = String> {
    /// What is expected, with an example.
    const EXPECTED: &'static str;
}

fn found(text: &str, expected: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("found {shown:?}, expected {expected}")
}

/// Reads a text into a [`Written`] value.
struct Text<T>(PhantomData<T>);

impl<T: Written> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, in quotes", T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! written {
    ($($name:ty: $expected:literal),* $(,)?) => {$(
        impl Written for $name {
            const EXPECTED: &'static str = $expected;
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData))
            }
        }
    )*};
}

written! {
    MonthDay: "a day of the year, such as \"05-01\"",
    Period: "two times of day, such as \"08:00-08:45\"",
    Date: "a date, such as \"2026-09-07\"",
    Dates: "dates, such as \"2026-10-10\" or \"2026-10-01/2026-10-07\"",
    Weeks: "weeks from 1 to 60, such as \"1-16 odd\", \"1,3,5-9\" or \"第2-18周 双\"",
    TableLesson: "weekday, periods, weeks and title, such as \"Mon 1-2 weeks 1-16 odd: 数学\", \"Wed 3\" \
        or \"周一 1-2节 第1-16周 单: 数学\"",
    Runs: "\"no lessons\", \"lessons\", a weekday such as \"Thu\", a day of the term such as \"week 4 Thu\" \
        (第4周 周四), or a date such as \"2026-10-08\"",
}

/// A date of a time in which there are timetables.
struct Date(NaiveDate);

/// Reads a date.
pub(super) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    Date::deserialize(deserializer).map(|Date(date)| date)
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read_date(text).map(Self).ok_or_else(|| found(text, Self::EXPECTED))
    }
}

/// `2026-09-07`, with all its digits, of this century or the next.
fn read_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.trim().split('-');
    let mut part = |digits| parts.next().filter(|part| part.len() == digits).and_then(number);
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let year = i32::try_from(year).ok().filter(|year| (2000..2200).contains(year))?;
    parts.next().is_none().then(|| NaiveDate::from_ymd_opt(year, month, day))?
}

impl FromStr for MonthDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A leap year, so that 29 February is a day.
        let read = |text: &str| {
            let (month, day) = text.split_once('-').filter(|(month, day)| month.len() == 2 && day.len() == 2)?;
            let (month, day) = (number(month)?, number(day)?);
            NaiveDate::from_ymd_opt(2028, month, day).map(|_| Self { month, day })
        };
        read(&plain(text)).ok_or_else(|| found(text, Self::EXPECTED))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = |text: &str| {
            let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() <= 2 && minute.len() == 2)?;
            NaiveTime::from_hms_opt(number(hour)?, number(minute)?, 0)
        };
        let plain = plain(text);
        let times = plain.split_once('-').and_then(|(start, end)| Some((time(start)?, time(end)?)));
        match times {
            Some((start, end)) if start < end => Ok(Self { start, end }),
            Some(_) => Err(found(text, "an end after the start, such as \"08:00-08:45\"")),
            None => Err(found(text, Self::EXPECTED)),
        }
    }
}

impl FromStr for Dates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = match text.split_once('/') {
            Some((from, to)) => read_date(from).zip(read_date(to)),
            None => read_date(text).map(|date| (date, date)),
        };
        let (from, to) = read.ok_or_else(|| found(text, Self::EXPECTED))?;
        match (to - from).num_days() {
            days if days < 0 => Err(found(text, "a last date that is not before the first")),
            days if days >= MOST_DATES => Err(found(text, "no more than a year of dates in a row")),
            _ => Ok(Self { from, to }),
        }
    }
}

impl FromStr for Weeks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = plain(text).replace('周', " ").replace('单', " odd ").replace('双', " even ");
        let parts: Option<Vec<Part>> = plain.split(',').map(Part::read).collect();
        let parts = parts.ok_or_else(|| found(text, Self::EXPECTED))?;
        let weeks = gather(&parts);
        // "1-7, 9-15 odd" is read by some as all odd, by others as only the last.
        let last = parts.last().and_then(|part| part.odd);
        let together: Vec<Part> = parts.iter().map(|part| Part { odd: part.odd.or(last), ..*part }).collect();
        if parts.len() > 1 && parts.iter().rev().skip(1).all(|part| part.odd.is_none()) && gather(&together) != weeks {
            return Err(found(
                text,
                "odd or even behind each range that it is meant for, such as \"1-7 odd, 9-15 odd\"",
            ));
        }
        Ok(Self(weeks))
    }
}

/// Some weeks in a row, or every other of them.
#[derive(Clone, Copy)]
struct Part {
    first: u32,
    last: u32,
    odd: Option<bool>,
}

impl Part {
    /// `3`, `5-9` or `1-16 odd`; at least one week.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (first, last) = range(words.next()?, MAX_WEEKS)?;
        let odd = match words.next() {
            None => None,
            Some("odd") => Some(true),
            Some("even") => Some(false),
            Some(_) => return None,
        };
        let part = Self { first, last, odd };
        (words.next().is_none() && part.weeks().next().is_some()).then_some(part)
    }

    fn weeks(self) -> impl Iterator<Item = u32> {
        (self.first..=self.last).filter(move |week| self.odd.is_none_or(|odd| odd == (week % 2 == 1)))
    }
}

/// The weeks of all parts, ascending and each once.
fn gather(parts: &[Part]) -> Vec<u32> {
    let mut weeks: Vec<u32> = parts.iter().copied().flat_map(Part::weeks).collect();
    weeks.sort_unstable();
    weeks.dedup();
    weeks
}

impl FromStr for TableLesson {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, title) = text.split_once([':', '：']).unwrap_or((text, ""));
        let read = |head: &str| {
            let (weekday, rest) = weekday(head)?;
            let rest = rest.trim_start();
            let (periods, weeks) = rest.split_once('节').or(rest.split_once(' ')).unwrap_or((rest, ""));
            let (first, last) = range(periods.trim(), MAX_PERIODS)?;
            let weeks = weeks.trim();
            // Without such a word, nobody can tell weeks from further periods.
            let named = weeks.strip_prefix("weeks").or(weeks.strip_prefix("week"));
            let weeks = named.or(weeks.contains('周').then_some(weeks)).or(weeks.is_empty().then_some(""))?.trim();
            Some((weekday, first, last, weeks.to_owned()))
        };
        let (weekday, first, last, weeks) = read(&plain(head)).ok_or_else(|| found(text, Self::EXPECTED))?;
        let weeks = if weeks.is_empty() { None } else { Some(weeks.parse()?) };
        Ok(Self { weekday, first, last, weeks, title: title.trim().to_owned() })
    }
}

impl FromStr for Runs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = plain(text);
        let day = |text: &str| weekday(text.trim()).filter(|(_, rest)| rest.is_empty()).map(|(weekday, _)| weekday);
        let plan = |(week, weekday): (&str, &str)| {
            let (week, same) = range(week.trim(), MAX_WEEKS)?;
            (week == same).then_some(Self::Plan { week, weekday: day(weekday)? })
        };
        let read = match &*plain {
            "no lessons" | "不上课" => Some(Self::NoLessons),
            "lessons" | "上课" => Some(Self::Lessons),
            other => {
                let english = || other.strip_prefix("week ").and_then(|rest| rest.trim().split_once(' '));
                let chinese = || other.split_once('周');
                let plan = english().and_then(plan).or_else(|| chinese().and_then(plan));
                plan.or_else(|| day(other).map(Self::Weekday)).or_else(|| read_date(other).map(Self::Date))
            }
        };
        read.ok_or_else(|| found(text, Self::EXPECTED))
    }
}

/// The text in small letters, with single spaces, and with the signs of a plain keyboard.
fn plain(text: &str) -> String {
    let sign = |c: char| match c {
        '０'..='９' => char::from_u32(u32::from(c) - u32::from('０') + u32::from('0')).unwrap_or(c),
        '，' | '、' => ',',
        '：' => ':',
        '－' | '–' | '—' | '−' | '~' | '～' | '至' => '-',
        '（' | '）' | '(' | ')' | '[' | ']' | '第' => ' ',
        c => c.to_ascii_lowercase(),
    };
    let text: String = text.chars().map(sign).collect();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.split('-').map(str::trim).collect::<Vec<_>>().join("-")
}

/// Up to four digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// `3` or `5-9`, from 1 to `most`.
fn range(text: &str, most: u32) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (1 <= first && first <= last && last <= most).then_some((first, last))
}

/// The weekday that a plain text begins with, and the rest: `mon`, `monday`, `周一`, `星期一`.
fn weekday(text: &str) -> Option<(Weekday, &str)> {
    let chinese = ["周", "星期", "礼拜"].iter().find_map(|word| text.strip_prefix(word));
    if let Some(rest) = chinese {
        let mut rest = rest.chars();
        let weekday = match rest.next()? {
            '一' => Weekday::Mon,
            '二' => Weekday::Tue,
            '三' => Weekday::Wed,
            '四' => Weekday::Thu,
            '五' => Weekday::Fri,
            '六' => Weekday::Sat,
            '日' | '天' => Weekday::Sun,
            _ => return None,
        };
        return Some((weekday, rest.as_str()));
    }
    let (word, rest) = text.split_at(text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len()));
    Some((word.parse().ok()?, rest))
}

impl fmt::Display for MonthDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start.format("%H:%M"), self.end.format("%H:%M"))
    }
}

impl fmt::Display for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.from)?;
        if self.to == self.from { Ok(()) } else { write!(f, "/{}", self.to) }
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLessons => f.write_str("no lessons"),
            Self::Lessons => f.write_str("lessons"),
            Self::Weekday(weekday) => write!(f, "{weekday}"),
            Self::Plan { week, weekday } => write!(f, "week {week} {weekday}"),
            Self::Date(date) => write!(f, "{date}"),
        }
    }
}

#[cfg(test)]
mod tests;
