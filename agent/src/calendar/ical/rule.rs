//! Recurrence rules (RFC 5545 §3.3.10) on the wall clock.
//!
//! The crate `rrule` does the recurrence, on plain dates and times as if they were UTC: what clocks do at
//! its edges is left to [`super::zones`]. It is given rules that were read here, without UNTIL and COUNT,
//! so that a rule which runs dry is told from one that ended; and rules by the hour or less without the
//! parts that only thin them out, which are applied here.

use std::ops::Range;

use chrono::{Datelike, Month, Months, NaiveDateTime, TimeDelta, Timelike, Weekday};
use rrule::{Frequency, NWeekday, RRule, RRuleSet, Unvalidated};

use super::{
    MAX_OCCURRENCES, Work,
    parts::shown,
    time::{self, Written},
};

/// A rule is no longer than this, in bytes.
const MAX_TEXT: usize = 512;
/// A rule happens no more often than this on one day.
const MAX_TIMES_A_DAY: usize = 288;

/// A recurrence rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    /// UNTIL, as written.
    pub(super) until: Option<Written>,
    frequency: Frequency,
    interval: u16,
    count: Option<u32>,
    week_start: Weekday,
    by_second: Vec<u8>,
    by_minute: Vec<u8>,
    by_hour: Vec<u8>,
    by_day: Vec<NWeekday>,
    by_month_day: Vec<i8>,
    by_year_day: Vec<i16>,
    by_week_no: Vec<i8>,
    by_month: Vec<u8>,
    by_set_pos: Vec<i32>,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What was found, and what would be right.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("found a rule of {} bytes, expected at most {MAX_TEXT}", text.len()));
        }
        let mut rule = Self {
            until: None,
            frequency: Frequency::Yearly,
            interval: 1,
            count: None,
            week_start: Weekday::Mon,
            by_second: Vec::new(),
            by_minute: Vec::new(),
            by_hour: Vec::new(),
            by_day: Vec::new(),
            by_month_day: Vec::new(),
            by_year_day: Vec::new(),
            by_week_no: Vec::new(),
            by_month: Vec::new(),
            by_set_pos: Vec::new(),
        };
        let text = text.trim().to_ascii_uppercase();
        let mut seen: Vec<&str> = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("found {}, expected NAME=VALUE", shown(part)));
            };
            if seen.contains(&name) {
                return Err(format!("found {name} twice, expected it once"));
            }
            seen.push(name);
            rule.part(name, value.trim())?;
        }
        if !seen.contains(&"FREQ") {
            return Err(format!("found {}, expected a rule with FREQ", shown(&text)));
        }
        rule.checked()
    }

    fn part(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |expected: &str| format!("found {name}={}, expected {expected}", shown(value));
        match name {
            "FREQ" => self.frequency = frequency(value).ok_or_else(|| wrong("DAILY, WEEKLY, MONTHLY or YEARLY"))?,
            "INTERVAL" => {
                let interval = value.parse().ok().filter(|interval| *interval > 0);
                self.interval = interval.ok_or_else(|| wrong("a number from 1 to 65535"))?;
            }
            // Some programs write COUNT=-1 for a rule without an end.
            "COUNT" if value.starts_with('-') && time::number(value.get(1..).unwrap_or_default()).is_some() => {}
            "COUNT" => {
                let count = time::number(value).filter(|count| *count > 0);
                self.count = Some(count.ok_or_else(|| wrong("a number from 1 on"))?);
            }
            "UNTIL" => self.until = Some(time::written(value)?),
            "WKST" => self.week_start = weekday(value).ok_or_else(|| wrong("a weekday as MO"))?,
            "BYSECOND" => self.by_second = list(value, 0, 59).ok_or_else(|| wrong("seconds from 0 to 59"))?,
            "BYMINUTE" => self.by_minute = list(value, 0, 59).ok_or_else(|| wrong("minutes from 0 to 59"))?,
            "BYHOUR" => self.by_hour = list(value, 0, 23).ok_or_else(|| wrong("hours from 0 to 23"))?,
            "BYDAY" => self.by_day = days(value).ok_or_else(|| wrong("weekdays as MO or -1SU"))?,
            "BYMONTHDAY" => {
                self.by_month_day = signed(value, 31).ok_or_else(|| wrong("days from 1 to 31, or -1 to -31"))?;
            }
            "BYYEARDAY" => {
                self.by_year_day = signed(value, 366).ok_or_else(|| wrong("days from 1 to 366, or -1 to -366"))?;
            }
            "BYWEEKNO" => {
                self.by_week_no = signed(value, 53).ok_or_else(|| wrong("weeks from 1 to 53, or -1 to -53"))?;
            }
            "BYMONTH" => self.by_month = list(value, 1, 12).ok_or_else(|| wrong("months from 1 to 12"))?,
            "BYSETPOS" => {
                self.by_set_pos = signed(value, 366).ok_or_else(|| wrong("places from 1 to 366, or -1 to -366"))?;
            }
            "RSCALE" if value == "GREGORIAN" => {}
            "SKIP" if value == "OMIT" => {}
            _ => return Err(format!("found {name}={}, expected a part of RFC 5545", shown(value))),
        }
        Ok(())
    }

    /// What the parts do not show each for itself.
    fn checked(mut self) -> Result<Self, String> {
        if self.until.is_some() && self.count.is_some() {
            return Err("found UNTIL and COUNT, expected one of them".to_owned());
        }
        if self.sub_daily() && !(self.by_set_pos.is_empty() && self.by_week_no.is_empty()) {
            return Err("found BYSETPOS or BYWEEKNO in a rule by the hour, expected one by day or longer".to_owned());
        }
        let numbered = self.by_day.iter().filter(|day| matches!(day, NWeekday::Nth(..))).count();
        if matches!(self.frequency, Frequency::Monthly | Frequency::Yearly) {
            if numbered != 0 && numbered != self.by_day.len() {
                return Err("found weekdays with and without a number, expected one kind".to_owned());
            }
        } else {
            // A number says nothing here (§3.3.10), and is written by some programs all the same.
            for day in &mut self.by_day {
                *day = NWeekday::Every(day_of(*day));
            }
        }
        let times = |list: &[u8]| list.len().max(1);
        let often = times(&self.by_hour) * times(&self.by_minute) * times(&self.by_second);
        if often > MAX_TIMES_A_DAY && !self.sub_daily() {
            return Err(format!("found a rule for {often} times a day, expected at most {MAX_TIMES_A_DAY}"));
        }
        Ok(self)
    }

    fn sub_daily(&self) -> bool {
        matches!(self.frequency, Frequency::Hourly | Frequency::Minutely | Frequency::Secondly)
    }

    /// What the rule yields on the wall clock within a stretch of it, if it starts at `start`, ascending;
    /// `ended` says whether UNTIL has passed.
    ///
    /// # Errors
    /// Where the rule never comes again, or takes too much work.
    pub(super) fn walls(
        &self,
        start: NaiveDateTime,
        within: &Range<NaiveDateTime>,
        ended: &dyn Fn(NaiveDateTime) -> bool,
        work: &mut Work,
    ) -> Result<Vec<NaiveDateTime>, String> {
        if ended(within.start.max(start)) || start >= within.end {
            return Ok(Vec::new());
        }
        let from = self.near(start, within.start);
        let as_utc = from.and_utc().with_timezone(&rrule::Tz::UTC);
        let rule = self
            .bare(start.weekday())
            .validate(as_utc)
            .map_err(|error| format!("found a rule that cannot be: {error}"))?;
        let (mut found, mut count, mut last) = (Vec::new(), 0, from);
        for at in &RRuleSet::new(as_utc).rrule(rule).limit() {
            let wall = at.naive_utc();
            work.spend(self.cost(last, wall))?;
            last = wall;
            if wall >= within.end || ended(wall) {
                return Ok(found);
            }
            if !self.thins_out(wall) {
                continue;
            }
            if wall >= within.start {
                found.push(wall);
            }
            if found.len() > 2 * MAX_OCCURRENCES {
                return Err(format!("found a rule of more than {MAX_OCCURRENCES} occurrences, expected fewer"));
            }
            count += 1;
            if self.count == Some(count) {
                return Ok(found);
            }
        }
        Err("found a rule that never comes again, expected one that does".to_owned())
    }

    /// The same rule from a later start: as near as whole steps of it allow, so that years that have
    /// passed cost nothing. The first step of some rules is cut short, hence two in reserve.
    fn near(&self, start: NaiveDateTime, wanted: NaiveDateTime) -> NaiveDateTime {
        let unit = match self.frequency {
            Frequency::Yearly => 366 * 86_400,
            Frequency::Monthly => 31 * 86_400,
            Frequency::Weekly => 7 * 86_400,
            Frequency::Daily => 86_400,
            Frequency::Hourly => 3_600,
            Frequency::Minutely => 60,
            Frequency::Secondly => 1,
        };
        let step = i64::from(self.interval);
        let steps = (wanted - start).num_seconds() / (unit * step) - 2;
        if self.count.is_some() || steps <= 0 {
            return start;
        }
        let months = |each: i64| {
            // A day that not every month has would become another.
            let ahead = u32::try_from(steps * step * each).ok().filter(|_| start.day() <= 28)?;
            start.checked_add_months(Months::new(ahead))
        };
        let near = match self.frequency {
            Frequency::Yearly => months(12),
            Frequency::Monthly => months(1),
            _ => TimeDelta::try_seconds(steps * step * unit).and_then(|ahead| start.checked_add_signed(ahead)),
        };
        near.unwrap_or(start)
    }

    /// The rule that the crate is given, if it starts on this weekday.
    fn bare(&self, start: Weekday) -> RRule<Unvalidated> {
        let rule = RRule::new(self.frequency).interval(self.interval).week_start(self.week_start);
        match self.frequency {
            Frequency::Hourly => rule.by_minute(self.by_minute.clone()).by_second(self.by_second.clone()),
            Frequency::Minutely => rule.by_second(self.by_second.clone()),
            Frequency::Secondly => rule,
            _ => {
                let months: Vec<Month> =
                    self.by_month.iter().filter_map(|month| Month::try_from(*month).ok()).collect();
                // A week of the year without a weekday is the weekday of the start in it.
                let days = match self.by_week_no.is_empty() || !self.by_day.is_empty() {
                    true => self.by_day.clone(),
                    false => vec![NWeekday::Every(start)],
                };
                rule.by_second(self.by_second.clone())
                    .by_minute(self.by_minute.clone())
                    .by_hour(self.by_hour.clone())
                    .by_weekday(days)
                    .by_month_day(self.by_month_day.clone())
                    .by_year_day(self.by_year_day.clone())
                    .by_week_no(self.by_week_no.clone())
                    .by_month(&months)
                    .by_set_pos(self.by_set_pos.clone())
            }
        }
    }

    /// Whether a time that the bare rule yields is one of the rule.
    fn thins_out(&self, wall: NaiveDateTime) -> bool {
        if !self.sub_daily() {
            return true;
        }
        fn any<T: PartialEq>(list: &[T], values: &[T]) -> bool {
            list.is_empty() || values.iter().any(|value| list.contains(value))
        }
        let small = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        let date = wall.date();
        let month_days = i64::from(date.num_days_in_month());
        let year_days = if date.leap_year() { 366 } else { 365 };
        let (day, ordinal) = (i64::from(date.day()), i64::from(date.ordinal()));
        let month_day = |day: i64| i8::try_from(day).unwrap_or(0);
        let year_day = |day: i64| i16::try_from(day).unwrap_or(0);
        any(&self.by_month, &[small(date.month())])
            && any(&self.by_month_day, &[month_day(day), month_day(day - month_days - 1)])
            && any(&self.by_year_day, &[year_day(ordinal), year_day(ordinal - year_days - 1)])
            && any(&self.by_day, &[NWeekday::Every(date.weekday())])
            && any(&self.by_hour, &[small(wall.hour())])
            && any(&self.by_minute, &[small(wall.minute())])
            && any(&self.by_second, &[small(wall.second())])
    }

    /// The work from one yield to the next: one for itself and for each day that was looked at.
    fn cost(&self, last: NaiveDateTime, wall: NaiveDateTime) -> u64 {
        let days = u64::try_from((wall - last).num_days()).unwrap_or(0);
        20 + days / u64::from(self.interval)
    }
}

fn frequency(text: &str) -> Option<Frequency> {
    Some(match text {
        "YEARLY" => Frequency::Yearly,
        "MONTHLY" => Frequency::Monthly,
        "WEEKLY" => Frequency::Weekly,
        "DAILY" => Frequency::Daily,
        "HOURLY" => Frequency::Hourly,
        "MINUTELY" => Frequency::Minutely,
        "SECONDLY" => Frequency::Secondly,
        _ => return None,
    })
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => return None,
    })
}

fn day_of(day: NWeekday) -> Weekday {
    match day {
        NWeekday::Every(weekday) | NWeekday::Nth(_, weekday) => weekday,
    }
}

/// Reads `MO,2TU,-1SU`.
fn days(text: &str) -> Option<Vec<NWeekday>> {
    let day = |text: &str| {
        let text = text.trim();
        let (number, name) = text.split_at_checked(text.len().checked_sub(2)?)?;
        let weekday = weekday(name)?;
        match number {
            "" => Some(NWeekday::Every(weekday)),
            number => {
                let number = signed::<i16>(number, 53)?;
                number.first().map(|number| NWeekday::Nth(*number, weekday))
            }
        }
    };
    text.split(',').map(day).collect()
}

/// Reads numbers without a sign, ascending and each once.
fn list(text: &str, least: u32, most: u32) -> Option<Vec<u8>> {
    let number = |text: &str| time::number(text.trim()).filter(|found| (least..=most).contains(found));
    let mut found: Vec<u8> =
        text.split(',').map(|text| number(text).and_then(|found| u8::try_from(found).ok())).collect::<Option<_>>()?;
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Reads numbers that may have a sign and are not zero, ascending and each once.
fn signed<T: TryFrom<i32> + Ord>(text: &str, most: i32) -> Option<Vec<T>> {
    let number =
        |text: &str| text.trim().parse().ok().filter(|found: &i32| *found != 0 && (-most..=most).contains(found));
    let mut found: Vec<T> =
        text.split(',').map(|text| number(text).and_then(|found| T::try_from(found).ok())).collect::<Option<_>>()?;
    found.sort_unstable();
    found.dedup();
    Some(found)
}
