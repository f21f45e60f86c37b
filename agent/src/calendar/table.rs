//! Terms, bells and lessons of the config → lessons of one date. Pure.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

use super::{
    Place,
    config::{Bells, MonthDay, TableLesson, Term, Timetable},
};

/// A lesson on the wall clock of its date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its start.
    pub start: NaiveTime,
    /// Its end; after its start.
    pub end: NaiveTime,
    /// What is taught.
    pub title: String,
    /// Where it stands in the table.
    pub place: Place,
}

/// Where a date lies in the terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InTerm {
    /// Index of the term.
    pub term: usize,
    /// Week of the term, from 1.
    pub week: u32,
    /// Whether it is a week of exams.
    pub exams: bool,
    /// Whether it lies in a break of the term.
    pub in_break: bool,
}

impl Timetable {
    /// The term that holds the date: the one whose weeks do, from Monday to Sunday.
    pub fn in_term(&self, date: NaiveDate) -> Option<InTerm> {
        self.term.iter().enumerate().find_map(|(index, term)| {
            let week = term.week_of(date)?;
            Some(InTerm { term: index, week, exams: term.exams(week), in_break: term.breaks_at(date) })
        })
    }

    /// The lessons that `date` would have if it ran `weekday` of `week` of that term, at the bells of
    /// `date` itself; by start. Knows no holidays, breaks or overrides. A week of exams has none: in it
    /// the room is taken all day.
    ///
    /// A lesson whose period the season does not have, since its plan is of another season, begins with
    /// the first bell or ends with the last: when it is held, nobody said.
    pub fn plan(&self, term: usize, week: u32, weekday: Weekday, date: NaiveDate) -> Vec<Planned> {
        let Some((term, bells)) = self.term.get(term).zip(self.season(date)) else { return Vec::new() };
        let Some((first_bell, last_bell)) = bells.ends() else { return Vec::new() };
        let held = |lesson: &&TableLesson| lesson.weekday == weekday && term.held(lesson, week);
        let mut planned: Vec<Planned> = term
            .lessons
            .iter()
            .filter(held)
            .map(|lesson| Planned {
                start: bells.period(lesson.first).map_or(first_bell, |period| period.start),
                end: bells.period(lesson.last).map_or(last_bell, |period| period.end),
                title: lesson.title.clone(),
                place: Place { week, weekday, first: lesson.first, last: lesson.last },
            })
            .collect();
        planned.sort_by_key(|lesson| (lesson.start, lesson.end));
        planned
    }

    /// First and last bell of the date; `None` without bells.
    pub fn bells(&self, date: NaiveDate) -> Option<(NaiveTime, NaiveTime)> {
        self.season(date)?.ends()
    }

    /// The last season that holds the date.
    pub(super) fn season(&self, date: NaiveDate) -> Option<&Bells> {
        self.bells.iter().rev().find(|bells| bells.hold(date))
    }
}

impl Bells {
    /// Whether the season holds the date. One of which only an end is known holds none.
    fn hold(&self, date: NaiveDate) -> bool {
        let day = MonthDay { month: date.month(), day: date.day() };
        match (self.from, self.to) {
            (None, None) => true,
            (Some(from), Some(to)) if from <= to => from <= day && day <= to,
            // Over New Year.
            (Some(from), Some(to)) => from <= day || day <= to,
            _ => false,
        }
    }

    /// A period, counted from 1.
    fn period(&self, number: u32) -> Option<super::config::Period> {
        self.periods.get(usize::try_from(number.checked_sub(1)?).ok()?).copied()
    }

    /// First and last bell.
    fn ends(&self) -> Option<(NaiveTime, NaiveTime)> {
        Some((self.periods.first()?.start, self.periods.last()?.end))
    }
}

impl Term {
    /// The Monday of week 1.
    pub(super) fn monday(&self) -> Option<NaiveDate> {
        self.first_day.week(Weekday::Mon).checked_first_day()
    }

    /// The Sunday of the last week.
    pub(super) fn sunday(&self) -> Option<NaiveDate> {
        self.date(self.weeks, Weekday::Sun)
    }

    /// The date of a weekday of a week, also beyond the term.
    pub(super) fn date(&self, week: u32, weekday: Weekday) -> Option<NaiveDate> {
        let days = 7 * u64::from(week.checked_sub(1)?) + u64::from(weekday.num_days_from_monday());
        self.monday()?.checked_add_days(Days::new(days))
    }

    /// The week that holds the date, from 1; `None` if none does.
    fn week_of(&self, date: NaiveDate) -> Option<u32> {
        let days = u32::try_from((date - self.monday()?).num_days()).ok()?;
        Some(1 + days / 7).filter(|week| *week <= self.weeks)
    }

    /// Whether it is a week of exams.
    pub(super) fn exams(&self, week: u32) -> bool {
        self.exam_weeks.0.contains(&week)
    }

    /// Whether the date lies in a break.
    pub(super) fn breaks_at(&self, date: NaiveDate) -> bool {
        self.breaks.iter().any(|dates| dates.from <= date && date <= dates.to)
    }

    /// Whether a lesson is held in a week.
    pub(super) fn held(&self, lesson: &TableLesson, week: u32) -> bool {
        let named = lesson.weeks.as_ref().is_none_or(|weeks| weeks.0.contains(&week));
        named && (1..=self.weeks).contains(&week) && !self.exams(week)
    }
}

#[cfg(test)]
mod tests;
