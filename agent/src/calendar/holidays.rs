//! Days off and make-up working days, by year, with the notice that says so. Pure.
//!
//! ```text
//! year       what the data of one year lists; our own JSON
//! import     somebody's file → years of data, or why it is not used
//! difference what an import would change
//! ```
//!
//! Data is of one country and goes by the year of its notice. A notice may list days of the December
//! before, and then wins over the data of that year. A date of a year without data is unknown: it is
//! neither a usual day nor a day off.

mod difference;
mod import;
mod year;

use std::{collections::BTreeMap, sync::Arc};

use bellwether_probes::Mistake;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{config::Dates, ical::Event, zone};
pub use difference::Change;
pub use import::{Import, ImportError, MAX_BYTES, parse};
pub use year::{YearData, to_json};

/// China's days off and make-up days.
const CHINA: &str = include_str!("holidays/cn.json");

/// What a country does on a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum National {
    /// A day off; its name.
    Off(Arc<str>),
    /// A working day on a weekend, in exchange for a day off; its name.
    MakeUp(Arc<str>),
    /// Neither: what its weekday is.
    Plain,
    /// There is no data for this date yet. It may be any of the above.
    Unknown,
}

/// Days off and make-up days of one country, and further days off. A date is looked up in sorted maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holidays {
    /// Whose data is followed; empty for nobody's, and then no date is unknown.
    country: String,
    /// By year, each from one notice.
    years: BTreeMap<i32, YearData>,
    /// What all years list; of two that list the same date, the later one counts.
    listed: BTreeMap<NaiveDate, National>,
    /// Days off of other sources. They beat the country's.
    further: BTreeMap<NaiveDate, Arc<str>>,
}

impl Holidays {
    /// No country's: every date is plain.
    pub fn none() -> Self {
        Self::default()
    }

    /// What this build knows of a country; `None` if it knows nothing.
    pub fn built_in(country: &str) -> Option<Self> {
        let text = if country == "CN" { CHINA } else { return None };
        let years = year::read(text, country).expect("data written here");
        Some(years.into_iter().fold(Self { country: country.to_owned(), ..Self::default() }, Self::with))
    }

    /// What this build knows of a country, to which imported years are added: every date of a country
    /// without data is unknown. Without a country (`""`) as [`Holidays::none`].
    pub fn of_country(country: &str) -> Self {
        Self::built_in(country).unwrap_or_else(|| Self { country: country.to_owned(), ..Self::default() })
    }

    /// What this build knows of a country, and the files that were imported, as their names and texts.
    /// Files of other countries are passed over. One that cannot be read is reported, its key the name
    /// of the file, and leaves its year as it was.
    pub fn load<N: AsRef<str>, T: AsRef<str>>(
        country: &str,
        files: impl IntoIterator<Item = (N, T)>,
    ) -> (Self, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let mut holidays = Self::of_country(country);
        for (name, text) in files {
            let name = name.as_ref();
            let Some(year) = year_of_file(country, name) else { continue };
            match year::read_one(text.as_ref(), country, year) {
                Ok(data) => holidays = holidays.with(data),
                Err(error) => mistakes.push(Mistake::new(name, error.to_string())),
            }
        }
        (holidays, mistakes)
    }

    /// With the data of one more year, in place of what was known from that year's notice before.
    #[must_use]
    pub fn with(mut self, data: YearData) -> Self {
        self.years.insert(data.year, data);
        // In order of years: a later notice wins.
        let days = self.years.values().flat_map(|year| year.days());
        self.listed = days.map(|(date, day)| (date, day.clone())).collect();
        self
    }

    /// With further days off and their names.
    #[must_use]
    pub fn with_days_off(mut self, days: impl IntoIterator<Item = (NaiveDate, Arc<str>)>) -> Self {
        self.further.extend(days);
        self
    }

    /// Whose data is followed; empty for nobody's.
    pub fn country(&self) -> &str {
        &self.country
    }

    /// The data, by year.
    pub fn years(&self) -> impl Iterator<Item = &YearData> {
        self.years.values()
    }

    /// What is known of the date.
    pub fn of(&self, date: NaiveDate) -> National {
        match self.further.get(&date) {
            Some(name) => National::Off(name.clone()),
            None => self.national(date),
        }
    }

    /// The same without the further days off.
    fn national(&self, date: NaiveDate) -> National {
        match self.listed.get(&date) {
            Some(day) => day.clone(),
            None if self.country.is_empty() || self.covers(date) => National::Plain,
            None => National::Unknown,
        }
    }

    fn covers(&self, date: NaiveDate) -> bool {
        self.years.get(&date.year()).is_some_and(|year| year.covered.from <= date && date <= year.covered.to)
    }

    /// The last date of which something is known without a gap from `today` on; `None` if `today` is
    /// unknown itself, `NaiveDate::MAX` if no country is followed.
    pub fn covered_until(&self, today: NaiveDate) -> Option<NaiveDate> {
        if self.country.is_empty() {
            return Some(NaiveDate::MAX);
        }
        let mut until = self.covers(today).then(|| self.years.get(&today.year()))??.covered.to;
        while let Some(next) = until.succ_opt().filter(|next| self.covers(*next)) {
            until = self.years.get(&next.year())?.covered.to;
        }
        Some(until)
    }

    /// How long from now on all days off are known: until the end of the last covered date in this
    /// zone. Zero if today is unknown; `None` if no country is followed, or until the end of time.
    pub fn coverage(&self, now: DateTime<Utc>, zone: Tz) -> Option<TimeDelta> {
        let until = match self.covered_until(zone::date(zone, now)) {
            Some(NaiveDate::MAX) => return None,
            Some(until) => until,
            None => return Some(TimeDelta::zero()),
        };
        let end = zone::instant(zone, until.succ_opt()?.and_hms_opt(0, 0, 0)?)?;
        Some((end - now).max(TimeDelta::zero()))
    }
}

/// Name of the file that keeps an imported year in the folder `holidays` of the state.
pub fn file_name(country: &str, year: i32) -> String {
    format!("{country}-{year}.json")
}

/// The year of which a file of this country speaks.
fn year_of_file(country: &str, name: &str) -> Option<i32> {
    let year = name.strip_prefix(country)?.strip_prefix('-')?.strip_suffix(".json")?;
    year.bytes().all(|byte| byte.is_ascii_digit()).then(|| year.parse().ok())?
}

/// Whether this names a country as ISO 3166 does: `CN`.
pub fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The dates that these events touch in a zone, within `from` to `to`, with the events' titles: days off.
/// Events that are called work (补班), or could be, are not among them.
pub fn touched(events: &[Event], zone: Tz, within: Dates) -> BTreeMap<NaiveDate, Arc<str>> {
    let mut dates = BTreeMap::new();
    for event in events {
        let (first, last) = import::first_and_last(event, zone);
        if import::works(&event.summary, first) != Some(false) {
            continue;
        }
        let days = first.max(within.from).iter_days().take_while(|date| *date <= last.min(within.to));
        for date in days {
            dates.entry(date).or_insert_with(|| event.summary.clone());
        }
    }
    dates
}

#[cfg(test)]
mod tests;
