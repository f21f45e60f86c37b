//! What the data of one year lists, and our own JSON of it: one holiday a line.

use std::{collections::BTreeMap, fmt::Write as _, ops::RangeInclusive, sync::Arc};

use chrono::{Datelike, NaiveDate, Weekday};
use serde::Deserialize;

use super::{ImportError, National, import::json_error};
use crate::calendar::config::Dates;

/// Years that a file may speak of.
pub(super) const YEARS: RangeInclusive<i32> = 2000..=2100;
/// How many years one file may hold.
pub(super) const MAX_YEARS: usize = 30;
/// How many days one year may list.
const MAX_DAYS: usize = 400;
/// How long a name or a source may be, in characters.
const MAX_TEXT: usize = 500;

/// What is known of one year, from one notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YearData {
    /// The year.
    pub year: i32,
    /// The notice, or the file, that says so.
    pub source: String,
    /// The dates of the year for which this is all there is: those not listed are plain.
    pub covered: Dates,
    /// Days off and make-up days, by date.
    days: BTreeMap<NaiveDate, National>,
}

impl YearData {
    /// Days off and make-up days, by date. They lie in the year, in the December before or in the
    /// January after.
    pub fn days(&self) -> impl Iterator<Item = (NaiveDate, &National)> {
        self.days.iter().map(|(date, day)| (*date, day))
    }

    /// Days off.
    pub fn off(&self) -> usize {
        self.days.values().filter(|day| matches!(day, National::Off(_))).count()
    }

    /// Make-up working days.
    pub fn make_up(&self) -> usize {
        self.days.len() - self.off()
    }
}

/// A year as it is put together from somebody's words; `at` says where in the file a word stands.
pub(super) struct Draft {
    year: i32,
    source: String,
    covered: Dates,
    days: BTreeMap<NaiveDate, (National, String)>,
}

impl Draft {
    /// Of a year that is covered as a whole.
    pub(super) fn new(at: &str, year: i32, source: &str) -> Result<Self, ImportError> {
        let ends = (NaiveDate::from_ymd_opt(year, 1, 1), NaiveDate::from_ymd_opt(year, 12, 31));
        let (Some(from), Some(to), true) = (ends.0, ends.1, YEARS.contains(&year)) else {
            let expected = format!("expected a year from {} to {}", YEARS.start(), YEARS.end());
            return Err(ImportError::at(at, format!("found {year}, {expected}")));
        };
        Ok(Self { year, source: one_line(at, source)?, covered: Dates { from, to }, days: BTreeMap::new() })
    }

    /// Only these dates of the year are covered.
    pub(super) fn cover(&mut self, at: &str, covered: Dates) -> Result<(), ImportError> {
        let year = self.covered;
        if covered.from < year.from || covered.to > year.to || covered.from > covered.to {
            let expected = format!("expected dates of {}", self.year);
            return Err(ImportError::at(at, format!("found {covered}, {expected}")));
        }
        self.covered = covered;
        Ok(())
    }

    /// Lists days off, or make-up days.
    pub(super) fn list(&mut self, at: &str, dates: Dates, works: bool, name: &str) -> Result<(), ImportError> {
        let name: Arc<str> = one_line(at, name)?.into();
        for date in dates.from.iter_days().take_while(|date| *date <= dates.to) {
            self.fits(at, date, works)?;
            let day = if works { National::MakeUp(name.clone()) } else { National::Off(name.clone()) };
            match self.days.get(&date) {
                // Two holidays on one day: the first names it.
                Some((known, _)) if works == matches!(known, National::MakeUp(_)) => {}
                Some((_, other)) => {
                    let (off, work) = if works { (other.as_str(), at) } else { (at, other.as_str()) };
                    return Err(ImportError::Contradiction { date, off: off.to_owned(), work: work.to_owned() });
                }
                None => {
                    self.days.insert(date, (day, at.to_owned()));
                }
            }
            if self.days.len() > MAX_DAYS {
                return Err(ImportError::at(at, format!("found more, expected at most {MAX_DAYS} days in a year")));
            }
        }
        Ok(())
    }

    fn fits(&self, at: &str, date: NaiveDate, works: bool) -> Result<(), ImportError> {
        let (year, before, after) = (self.year, self.year - 1, self.year + 1);
        let near = match date.month() {
            12 => date.year() == year || date.year() == before,
            1 => date.year() == year || date.year() == after,
            _ => date.year() == year,
        };
        if !near {
            let expected = format!("expected a date of {year}, of December {before} or of January {after}");
            return Err(ImportError::at(at, format!("found {date} in the data of {year}, {expected}")));
        }
        if works && !matches!(date.weekday(), Weekday::Sat | Weekday::Sun) {
            let found = format!("found a make-up working day on {}", date.format("%F, a %A"));
            return Err(ImportError::at(at, format!("{found}, expected a Saturday or Sunday")));
        }
        Ok(())
    }

    /// The year, if it lists a day off.
    pub(super) fn finish(self) -> Result<YearData, ImportError> {
        let days: BTreeMap<_, _> = self.days.into_iter().map(|(date, (day, _))| (date, day)).collect();
        let data = YearData { year: self.year, source: self.source, covered: self.covered, days };
        if data.off() == 0 { Err(ImportError::NoDay(data.year)) } else { Ok(data) }
    }
}

/// A text of the file, on one line.
fn one_line(at: &str, text: &str) -> Result<String, ImportError> {
    if text.chars().count() > MAX_TEXT {
        return Err(ImportError::at(at, format!("found a longer text, expected at most {MAX_TEXT} characters")));
    }
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    Ok(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    country: String,
    years: Vec<Year>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Year {
    year: i32,
    source: String,
    covered: String,
    off: Vec<Days>,
    #[serde(default)]
    work: Vec<Days>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Days {
    name: String,
    dates: String,
}

/// Reads our own JSON.
pub(super) fn read(text: &str, country: &str) -> Result<Vec<YearData>, ImportError> {
    let file: File = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    if file.country != country {
        return Err(ImportError::at("country", format!("found {:?}, expected {country:?}", file.country)));
    }
    if file.years.is_empty() || file.years.len() > MAX_YEARS {
        let expected = format!("expected 1 to {MAX_YEARS}");
        return Err(ImportError::at("years", format!("found {} years, {expected}", file.years.len())));
    }
    let mut years: Vec<YearData> = Vec::new();
    for (index, year) in file.years.into_iter().enumerate() {
        let at = format!("years[{index}]");
        if years.iter().any(|known| known.year == year.year) {
            return Err(ImportError::at(format!("{at}.year"), format!("found {} twice, expected once", year.year)));
        }
        years.push(draft(&at, year)?.finish()?);
    }
    Ok(years)
}

/// Reads our own JSON of one year.
pub(super) fn read_one(text: &str, country: &str, year: i32) -> Result<YearData, ImportError> {
    let [data] = <[YearData; 1]>::try_from(read(text, country)?)
        .map_err(|years| ImportError::at("years", format!("found {}, expected one", years.len())))?;
    if data.year != year {
        return Err(ImportError::at("years[0].year", format!("found {}, expected {year}", data.year)));
    }
    Ok(data)
}

fn draft(at: &str, year: Year) -> Result<Draft, ImportError> {
    let mut draft = Draft::new(&format!("{at}.year"), year.year, &year.source)?;
    draft.cover(&format!("{at}.covered"), dates(&format!("{at}.covered"), &year.covered)?)?;
    for (key, list, works) in [("off", year.off, false), ("work", year.work, true)] {
        for (index, days) in list.into_iter().enumerate() {
            let at = format!("{at}.{key}[{index}]");
            draft.list(&at, dates(&at, &days.dates)?, works, &days.name)?;
        }
    }
    Ok(draft)
}

fn dates(at: &str, text: &str) -> Result<Dates, ImportError> {
    text.parse().map_err(|message: String| ImportError::at(at, message))
}

/// Our own JSON of some years, which reads back as the same.
pub fn to_json(country: &str, years: &[YearData]) -> String {
    let years: Vec<String> = years.iter().map(year_to_json).collect();
    format!("{{\n  \"country\": {},\n  \"years\": [\n{}\n  ]\n}}\n", quoted(country), years.join(",\n"))
}

fn year_to_json(year: &YearData) -> String {
    let mut text = String::new();
    let list = |works: bool| {
        let lines: Vec<String> = runs(year, works)
            .into_iter()
            .map(|(name, dates)| format!("        {{ \"name\": {}, \"dates\": \"{}\" }}", quoted(&name), dates))
            .collect();
        if lines.is_empty() { "[]".to_owned() } else { format!("[\n{}\n      ]", lines.join(",\n")) }
    };
    // Writing to a text cannot fail.
    let _ = write!(
        text,
        "    {{\n      \"year\": {},\n      \"source\": {},\n      \"covered\": \"{}\",\n      \"off\": {},\n      \"work\": {}\n    }}",
        year.year,
        quoted(&year.source),
        year.covered,
        list(false),
        list(true),
    );
    text
}

/// Days in a row of one name.
fn runs(year: &YearData, works: bool) -> Vec<(Arc<str>, Dates)> {
    let mut runs: Vec<(Arc<str>, Dates)> = Vec::new();
    for (date, day) in year.days() {
        let name = match day {
            National::Off(name) if !works => name,
            National::MakeUp(name) if works => name,
            _ => continue,
        };
        match runs.last_mut() {
            Some((last, dates)) if last == name && dates.to.succ_opt() == Some(date) => dates.to = date,
            _ => runs.push((name.clone(), Dates { from: date, to: date })),
        }
    }
    runs
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
