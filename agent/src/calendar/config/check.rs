//! Mistakes of a timetable that its shape does not show.

use std::{fmt, time::Duration};

use bellwether_probes::{Mistake, Span, Unit};
use chrono::{NaiveDate, Weekday};
use url::{Host, Url};

use super::super::holidays::is_country;
use super::{Bells, Dates, HolidayConfig, MAX_PERIODS, MAX_WEEKS, Override, Runs, TableLesson, Term, Timetable};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

const WEEKDAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

impl HolidayConfig {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if let Some(country) = self.country.as_ref().filter(|country| !country.is_empty() && !is_country(country)) {
            let message = format!("found {country:?}, expected two letters such as \"CN\", or \"\" for none");
            mistakes.push(Mistake::new("country", message));
        }
        for (index, file) in self.files.iter().enumerate().filter(|(_, file)| !file.is_absolute()) {
            let message = format!("found {:?}, expected the path of a file that begins with /", file.display());
            mistakes.push(Mistake::new(format!("files[{index}]"), message));
        }
        mistakes
    }
}

impl Timetable {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let too_many = self.sizes();
        if !too_many.is_empty() {
            return too_many;
        }
        let mut mistakes = self.times();
        let address =
            |(index, entry): (usize, &String)| Some(Mistake::new(format!("ical[{index}]"), address_mistake(entry)?));
        mistakes.extend(self.ical.iter().enumerate().filter_map(address));
        for (index, bells) in self.bells.iter().enumerate() {
            mistakes.extend(bells.check().into_iter().map(|mistake| mistake.below(&format!("bells[{index}]"))));
        }
        for (index, term) in self.term.iter().enumerate() {
            let found = self.term_mistakes(index, term);
            mistakes.extend(found.into_iter().map(|mistake| mistake.below(&format!("term[{index}]"))));
        }
        for (index, over) in self.overrides.iter().enumerate() {
            let found = self.contradiction(index, over).into_iter().chain(self.no_plan(over));
            mistakes.extend(found.map(|mistake| mistake.below(&format!("override[{index}]"))));
        }
        mistakes
    }

    /// Lists that are longer than any school's.
    fn sizes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut at_most = |key: String, found: usize, most: usize| {
            if found > most {
                mistakes.push(Mistake::new(key, format!("found {found} of them, expected at most {most}")));
            }
        };
        at_most("ical".to_owned(), self.ical.len(), 20);
        at_most("bells".to_owned(), self.bells.len(), 20);
        at_most("term".to_owned(), self.term.len(), 20);
        at_most("override".to_owned(), self.overrides.len(), 500);
        for (index, bells) in self.bells.iter().enumerate() {
            at_most(format!("bells[{index}].periods"), bells.periods.len(), MAX_PERIODS as usize);
        }
        for (index, term) in self.term.iter().enumerate() {
            at_most(format!("term[{index}].breaks"), term.breaks.len(), 50);
            at_most(format!("term[{index}].lessons"), term.lessons.len(), 500);
        }
        mistakes
    }

    /// Times of day, and lengths of time.
    fn times(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.open >= self.close {
            let (open, close) = (self.open.format("%H:%M"), self.close.format("%H:%M"));
            let message = format!("found {close}, expected a time after open = {open}");
            mistakes.push(Mistake::new("close", message));
        }
        let mut within = |key: &str, Span(found): Span, least: Duration, most: Duration, zero: &str| {
            let off = found.is_zero() && !zero.is_empty();
            if !off && !(least..=most).contains(&found) {
                let (found, least, most) = (show(found), show(least), show(most));
                mistakes.push(Mistake::new(key, format!("found {found}, expected {least} to {most}{zero}")));
            }
        };
        within("refresh", self.refresh, MINUTE, 30 * DAY, "");
        // What is read again has no time to become stale.
        within("stale_after", self.stale_after, self.refresh.0.clamp(MINUTE, 30 * DAY), 366 * DAY, "");
        within("margin", self.margin, Duration::ZERO, 4 * HOUR, "");
        within("look_ahead", self.look_ahead, MINUTE, 4 * HOUR, ", or 0 for never");
        within("long_break", self.long_break, 10 * MINUTE, DAY, "");
        mistakes
    }

    /// Mistakes of a term; keys are below its table.
    fn term_mistakes(&self, index: usize, term: &Term) -> Vec<Mistake> {
        let Some((first, last)) = term.monday().zip(term.sunday()).filter(|_| (1..=MAX_WEEKS).contains(&term.weeks))
        else {
            let message = format!("found {}, expected 1 to {MAX_WEEKS} weeks", term.weeks);
            return vec![Mistake::new("weeks", message)];
        };
        let mut mistakes = Vec::new();
        let earlier = self.term.iter().enumerate().take(index);
        let ends = |(index, term): (usize, &Term)| Some((index, term.monday()?, term.sunday()?));
        if let Some((other, from, to)) = earlier.filter_map(ends).find(|(_, from, to)| *from <= last && first <= *to) {
            let message = format!(
                "found weeks from {first} to {last}, expected none of those of term[{other}], from {from} to {to}"
            );
            mistakes.push(Mistake::new("first_day", message));
        }
        let beyond = |weeks: &[u32]| {
            let week = weeks.iter().find(|week| **week > term.weeks)?;
            Some(format!("found week {week}, expected weeks of the term, from 1 to {}", term.weeks))
        };
        mistakes.extend(beyond(&term.exam_weeks.0).map(|message| Mistake::new("exam_weeks", message)));
        for (index, dates) in term.breaks.iter().enumerate() {
            if dates.from < first || last < dates.to {
                let message = format!("found {}, expected dates of the term, from {first} to {last}", plain(dates));
                mistakes.push(Mistake::new(format!("breaks[{index}]"), message));
            }
        }
        let silent = self.silent_date(term).map(|date| {
            let found = if self.bells.is_empty() { "no bells".to_owned() } else { format!("no bells on {date}") };
            let message = format!("found {found}, expected [[timetable.bells]] that hold all its lessons and exams");
            Mistake::new("", message)
        });
        let no_bells = silent.is_some();
        mistakes.extend(silent);
        for (index, lesson) in term.lessons.iter().enumerate() {
            let weeks = lesson.weeks.as_ref().and_then(|weeks| beyond(&weeks.0));
            let period = || if no_bells { None } else { self.no_period(term, lesson) };
            let message = weeks.or_else(period);
            mistakes.extend(message.map(|message| Mistake::new(format!("lessons[{index}]"), message)));
        }
        mistakes
    }

    /// The first date of the term on which there is something to ring for, and no bells.
    fn silent_date(&self, term: &Term) -> Option<NaiveDate> {
        let rings = |week: u32, weekday: Weekday| {
            let lesson = |lesson: &TableLesson| lesson.weekday == weekday && term.held(lesson, week);
            term.exams(week) || term.lessons.iter().any(lesson)
        };
        let days = (1..=term.weeks).flat_map(|week| WEEKDAYS.map(|weekday| (week, weekday)));
        let dates = days.filter(|(week, weekday)| rings(*week, *weekday));
        let mut dates = dates.filter_map(|(week, weekday)| term.date(week, weekday));
        dates.find(|date| self.season(*date).is_none() && !term.breaks_at(*date))
    }

    /// What a lesson finds of bells that do not have its last period.
    fn no_period(&self, term: &Term, lesson: &TableLesson) -> Option<String> {
        let last = lesson.last as usize;
        let most = self.bells.iter().map(|bells| bells.periods.len()).max()?;
        if last > most {
            return Some(format!("found period {last}, expected 1 to {most}: no bells have more"));
        }
        let weeks = (1..=term.weeks).filter(|week| term.held(lesson, *week));
        weeks.filter_map(|week| term.date(week, lesson.weekday)).find_map(|date| {
            let most = self.season(date)?.periods.len();
            let missing = last > most && !term.breaks_at(date);
            missing.then(|| format!("found period {last}, expected 1 to {most}: the bells of {date} have no more"))
        })
    }

    /// An override before this one that says otherwise of a date.
    fn contradiction(&self, index: usize, over: &Override) -> Option<Mistake> {
        let earlier = self.overrides.iter().enumerate().take(index);
        let meet = |other: &Dates| other.from <= over.dates.to && over.dates.from <= other.to;
        let (other_index, other) =
            earlier.filter(|(_, other)| meet(&other.dates)).find(|(_, other)| other.runs != over.runs)?;
        let (runs, dates) = (over.runs, plain(&over.dates));
        let (other_runs, other_dates) = (other.runs, plain(&other.dates));
        let message = format!(
            "found \"{runs}\" for {dates}, expected the same as override[{other_index}], which holds some of these \
             dates too and says \"{other_runs}\" for {other_dates}"
        );
        Some(Mistake::new("runs", message))
    }

    /// An override that runs a plan that there is not.
    fn no_plan(&self, over: &Override) -> Option<Mistake> {
        let Dates { from, to } = over.dates;
        let mut dates = from.iter_days().take_while(|date| *date <= to);
        // The plan of a date may also come from an iCalendar source, which knows no terms.
        let terms_alone = self.ical.is_empty() && !self.term.is_empty();
        match over.runs {
            Runs::NoLessons | Runs::Lessons => None,
            Runs::Plan { week, .. } => dates.find_map(|date| {
                let Some(place) = self.in_term(date) else { return Some(outside(over.runs, date)) };
                let weeks = self.term.get(place.term)?.weeks;
                let message = || format!("found week {week}, expected 1 to {weeks}, the weeks of the term of {date}");
                (week > weeks).then(|| Mistake::new("runs", message()))
            }),
            Runs::Weekday(_) => {
                dates.find(|date| terms_alone && self.in_term(*date).is_none()).map(|date| outside(over.runs, date))
            }
            Runs::Date(date) => {
                let message = format!("found {date}, which no term holds, expected a date of a term");
                (terms_alone && self.in_term(date).is_none()).then(|| Mistake::new("runs", message))
            }
        }
    }
}

fn outside(runs: Runs, date: NaiveDate) -> Mistake {
    Mistake::new("dates", format!("found {date}, which no term holds, expected dates of a term for \"{runs}\""))
}

impl Bells {
    /// Mistakes of a season; keys are below its table.
    fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let half = match (self.from, self.to) {
            (Some(_), None) => Some(("from", "to")),
            (None, Some(_)) => Some(("to", "from")),
            _ => None,
        };
        if let Some((found, missing)) = half {
            let message = format!("found {found} without {missing}, expected both, or neither for all year");
            mistakes.push(Mistake::new(found, message));
        }
        if self.periods.is_empty() {
            mistakes.push(Mistake::new("periods", "found no period, expected at least one such as \"08:00-08:45\""));
        }
        for (index, pair) in self.periods.windows(2).enumerate() {
            if let [before, period] = pair
                && period.start < before.end
            {
                let end = before.end.format("%H:%M");
                let message = format!("found {period}, expected a start at or after {end}, the end of the one before");
                mistakes.push(Mistake::new(format!("periods[{}]", index + 1), message));
            }
        }
        mistakes
    }
}

/// What is wrong with an entry of `ical`. An address may be a secret and is not repeated.
fn address_mistake(entry: &str) -> Option<String> {
    const EXPECTED: &str =
        "expected a path that begins with / or an address such as \"https://school.example/r101.ics\"";
    if entry.starts_with('/') {
        return None;
    }
    let Ok(url) = Url::parse(entry) else {
        return Some(format!("found neither a path nor an address, {EXPECTED}"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("found a user or password in it, expected an address without".to_owned());
    }
    match url.scheme() {
        "https" => None,
        "http" if loopback(&url) => None,
        "http" => {
            Some("found http: to another host: anybody between can change the timetable; expected https:".to_owned())
        }
        other => Some(format!("found {other}:, {EXPECTED}")),
    }
}

fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn show(time: Duration) -> String {
    Unit::Seconds.show(time.as_secs_f64())
}

/// Dates within a sentence.
fn plain(dates: &Dates) -> impl fmt::Display {
    let Dates { from, to } = dates;
    if from == to { from.to_string() } else { format!("{from} to {to}") }
}

#[cfg(test)]
mod tests;
