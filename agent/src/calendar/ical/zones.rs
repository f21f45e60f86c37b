//! Time zones of a calendar: wall clocks ↔ instants.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::{
    IcalError, Work,
    parts::{Part, shown},
    rule, time, windows,
};

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Zone {
    /// One that everybody knows.
    Known(Tz),
    /// One that never changes its clocks.
    Fixed(FixedOffset),
    /// One of the calendar's own.
    Own(Arc<Changes>),
}

/// When a zone of a calendar's own changes its clocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Seconds east of Greenwich before the first change.
    first: i32,
    /// Instants in seconds since 1970 and the offset from then on, by instant.
    list: Vec<(i64, i32)>,
}

impl Changes {
    fn offset(&self, at: i64) -> i32 {
        let passed = self.list.partition_point(|(change, _)| *change <= at);
        passed.checked_sub(1).and_then(|last| self.list.get(last)).map_or(self.first, |(_, offset)| *offset)
    }

    /// As [`Zone::instant`], in seconds as if the wall clock were that of Greenwich.
    fn instant(&self, wall: i64) -> i64 {
        const DAY: i64 = 86_400;
        let near = self.list.partition_point(|(change, _)| *change < wall - 2 * DAY);
        let before = self.offset(wall - 2 * DAY);
        let after = self.list.iter().skip(near).take_while(|(change, _)| *change <= wall + 2 * DAY);
        let offsets: Vec<i32> = std::iter::once(before).chain(after.map(|(_, offset)| *offset)).collect();
        let shown = |offset: &i32| wall - i64::from(*offset);
        let first = offsets.iter().map(shown).filter(|at| at + i64::from(self.offset(*at)) == wall).min();
        // In a gap: by the offset of before it, which is the last whose clock had come so far.
        first.unwrap_or_else(|| {
            let ahead = offsets.windows(2).find_map(|pair| match pair {
                [before, after] if self.offset(shown(before)) == *after => Some(shown(before)),
                _ => None,
            });
            ahead.unwrap_or_else(|| shown(&before))
        })
    }
}

impl Zone {
    /// The instant of a time on the wall clock: the first of two, and in a gap by the offset of before it
    /// (RFC 5545 §3.3.5). `None` only at the ends of what dates can say.
    pub(super) fn instant(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self {
            Self::Known(zone) => match zone.from_local_datetime(&wall) {
                MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
                MappedLocalTime::None => in_gap(*zone, wall),
            },
            Self::Fixed(offset) => offset.from_local_datetime(&wall).single().map(|at| at.with_timezone(&Utc)),
            Self::Own(changes) => DateTime::from_timestamp(changes.instant(wall.and_utc().timestamp()), 0),
        }
    }

    /// What the wall clock shows at an instant.
    pub(super) fn wall(&self, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        let offset = match self {
            Self::Known(zone) => zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc(),
            Self::Fixed(offset) => offset.local_minus_utc(),
            Self::Own(changes) => changes.offset(at.timestamp()),
        };
        at.naive_utc().checked_add_signed(TimeDelta::seconds(i64::from(offset)))
    }
}

/// A time that no clock of the zone shows, by the offset of before the gap.
fn in_gap(zone: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    // No gap is longer than the day that Samoa left out in 2011.
    let back = (1..=24 * 60 + 1).map_while(|count| wall.checked_sub_signed(TimeDelta::minutes(count)));
    let before = back.filter_map(|wall| zone.from_local_datetime(&wall).latest()).next()?;
    let offset = TimeDelta::seconds(i64::from(before.offset().fix().local_minus_utc()));
    wall.checked_sub_signed(offset).map(|at| at.and_utc())
}

/// The zones that times of a calendar may be in.
#[derive(Debug)]
pub(super) struct Zones<'p> {
    /// Where the school is.
    pub(super) school: Zone,
    /// The calendar's own.
    own: &'p [Part],
    /// Their changes are wanted up to here.
    until: DateTime<Utc>,
    found: RefCell<HashMap<String, Result<Zone, Unclear>>>,
}

/// Why a zone cannot be used: a line of its definition, or none where there is no definition.
type Unclear = (Option<usize>, String);

impl<'p> Zones<'p> {
    /// Zones of a calendar that is looked at until an instant.
    pub(super) fn new(school: Tz, own: &'p [Part], until: DateTime<Utc>) -> Self {
        let until = until.checked_add_signed(TimeDelta::days(400)).unwrap_or(until);
        Self { school: Zone::Known(school), own, until, found: RefCell::default() }
    }

    /// The zone of this name, for a time that stands in `line`.
    pub(super) fn named(&self, name: &str, line: usize, work: &mut Work) -> Result<Zone, IcalError> {
        let name = name.trim().trim_matches('"');
        let refuse = |(own, message): Unclear| IcalError::new(own.unwrap_or(line), message);
        if let Some(found) = self.found.borrow().get(name) {
            return found.clone().map_err(refuse);
        }
        let found = self.find(name, work);
        self.found.borrow_mut().insert(name.to_owned(), found.clone());
        found.map_err(refuse)
    }

    /// What a name stands for: a zone that everybody knows by it, or else the calendar's own definition.
    fn find(&self, name: &str, work: &mut Work) -> Result<Zone, Unclear> {
        if let Some(zone) = known(name) {
            return Ok(zone);
        }
        let own = self.own.iter().find(|own| own.first("TZID").is_some_and(|id| id.value.trim() == name));
        let Some(own) = own else {
            return Err((
                None,
                format!("found the time zone {}, expected an IANA or Windows name, or its VTIMEZONE", shown(name)),
            ));
        };
        let location = own.first("X-LIC-LOCATION").and_then(|location| iana(location.value.trim()));
        match location {
            Some(zone) => Ok(Zone::Known(zone)),
            None => changes(own, self.until, work).map_err(|(line, message)| (Some(line), message)),
        }
    }
}

/// A zone that is known by its name alone.
fn known(name: &str) -> Option<Zone> {
    // Names may have a maker's prefix: /citadel.org/20260101_1/Europe/Berlin, tzone://Microsoft/Utc.
    let ends = name.match_indices('/').map(|(at, _)| name.get(at + 1..).unwrap_or_default());
    let zone = std::iter::once(name).chain(ends.filter(|_| prefixed(name))).find_map(iana);
    zone.or_else(|| windows::iana(name).and_then(iana)).map(Zone::Known).or_else(|| utc_and(name).map(Zone::Fixed))
}

fn prefixed(name: &str) -> bool {
    name.starts_with('/') || name.contains("://")
}

fn iana(name: &str) -> Option<Tz> {
    name.parse().ok().or_else(|| TZ_VARIANTS.into_iter().find(|zone| zone.name().eq_ignore_ascii_case(name)))
}

/// Reads `UTC+8`, `GMT+08:00`, `UTC-0330`: east of Greenwich is positive, unlike in IANA's `Etc/GMT-8`.
fn utc_and(name: &str) -> Option<FixedOffset> {
    let rest = ["UTC", "GMT"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let (east, digits) = match rest.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, rest.strip_prefix('+')?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes) = (time::number(hours)?, time::number(minutes)?);
    let seconds = i32::try_from((hours <= 14 && minutes < 60).then_some(hours * 3600 + minutes * 60)?).ok()?;
    FixedOffset::east_opt(east * seconds)
}

/// Reads a VTIMEZONE by its observances.
fn changes(own: &Part, until: DateTime<Utc>, work: &mut Work) -> Result<Zone, (usize, String)> {
    let mut list = Vec::new();
    let mut first: Option<(i64, i32)> = None;
    for observance in &own.observances {
        let value = |name: &str| match observance.first(name) {
            Some(found) => Ok((found.line, found.value.as_str())),
            None => Err((observance.line, format!("found a time zone without {name}, expected it"))),
        };
        let offset =
            |name: &str| value(name).and_then(|(line, text)| time::offset(text).map_err(|message| (line, message)));
        let (from, to) = (offset("TZOFFSETFROM")?, offset("TZOFFSETTO")?);
        for wall in onsets(observance, value("DTSTART")?, from, until, work)? {
            let at = wall.and_utc().timestamp() - i64::from(from);
            list.push((at, to));
            first = first.filter(|(earliest, _)| *earliest <= at).or(Some((at, from)));
        }
    }
    list.sort_unstable();
    list.dedup();
    let Some((_, first)) = first else {
        return Err((own.line, "found a time zone without STANDARD or DAYLIGHT, expected one of them".to_owned()));
    };
    // Of a zone with one observance nothing is known but its offset.
    match list.iter().all(|(_, offset)| Some(offset) == list.first().map(|(_, offset)| offset)) {
        true => {
            let offset = list.first().map_or(first, |(_, offset)| *offset);
            let fixed = FixedOffset::east_opt(offset).map(Zone::Fixed);
            fixed.ok_or((own.line, "found an offset of more than a day, expected a smaller one".to_owned()))
        }
        false => Ok(Zone::Own(Arc::new(Changes { first, list }))),
    }
}

/// When an observance begins, on the wall clock of before it.
fn onsets(
    observance: &Part,
    (line, start): (usize, &str),
    from: i32,
    until: DateTime<Utc>,
    work: &mut Work,
) -> Result<Vec<NaiveDateTime>, (usize, String)> {
    let wall = |line: usize, text: &str| match time::written(text) {
        Ok(time::Written::Wall(wall)) => Ok(wall),
        // Not to the letter, but it cannot be meant otherwise.
        Ok(time::Written::Date(date)) => Ok(date.and_time(chrono::NaiveTime::MIN)),
        Ok(time::Written::Utc(_)) => Err((line, format!("found {}, expected a time without Z", shown(text)))),
        Err(message) => Err((line, message)),
    };
    let start = wall(line, start)?;
    let mut found = vec![start];
    for dates in observance.all("RDATE") {
        for text in dates.value.split(',') {
            found.push(wall(dates.line, text)?);
        }
    }
    for written in observance.all("RRULE") {
        let refuse = |message: String| (written.line, message);
        let rule = rule::Rule::read(&written.value).map_err(refuse)?;
        let ended = |wall: NaiveDateTime| match rule.until {
            Some(time::Written::Utc(until)) => wall.and_utc() - TimeDelta::seconds(i64::from(from)) > until,
            Some(time::Written::Wall(until)) => wall > until,
            Some(time::Written::Date(until)) => wall.date() > until,
            None => false,
        };
        let within = start..until.naive_utc();
        found.extend(rule.walls(start, &within, &ended, work).map_err(refuse)?);
    }
    Ok(found)
}
