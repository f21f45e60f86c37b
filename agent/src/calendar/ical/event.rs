//! A VEVENT as written → what it says.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::{
    IcalError, Notes, Work,
    lines::{self, Property},
    parts::{Part, shown},
    rule::Rule,
    time::{self, Length, Written},
    zones::{Zone, Zones},
};

/// A summary is cut after this many characters.
const MAX_SUMMARY: usize = 200;
/// An event is no longer than this many days.
const MAX_DAYS: i64 = 4_000;
/// The day it starts on.
const DAY: Extent = Extent::Days(TimeDelta::zero());
/// What is said of an event whose time nobody can tell for sure.
const BACKWARDS: &str =
    "found an end before the start, expected it after: each day from one to the other counts as taken";

/// A date, or a time of one, and where it holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stamp {
    /// A date.
    Date(NaiveDate),
    /// A time on the wall clock of wherever it is asked for.
    Floating(NaiveDateTime),
    /// A time on the wall clock of a zone.
    In(NaiveDateTime, Zone),
    /// An instant.
    Utc(DateTime<Utc>),
}

/// When an event first starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    /// On the wall clock of its zone; midnight for whole days.
    pub(super) wall: NaiveDateTime,
    /// The zone in which it recurs.
    pub(super) zone: Zone,
    /// Whether it is one of whole days.
    pub(super) whole_days: bool,
    /// Whether no zone was named, so that it is the school's.
    pub(super) floating: bool,
}

/// How long an occurrence takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// To an end: as far on the wall clock as in the first occurrence, or as much time as passed in it
    /// (RFC 5545 §3.8.5.3), whichever ends later; they differ only across a change of clocks.
    To {
        /// On the wall clock.
        wall: TimeDelta,
        /// Time that passes.
        time: TimeDelta,
    },
    /// A length: days on the wall clock, then time that passes.
    For(Length),
    /// Whole days, up to the one it starts on: since nothing says when on it, or since its end is before its
    /// start, and then from as many days before as it ends.
    Days(TimeDelta),
}

/// An occurrence beside those of the rules.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Extra {
    /// Its start, on the wall clock of the event's zone.
    pub(super) wall: NaiveDateTime,
    /// How long it takes, if not as long as the event.
    pub(super) extent: Option<Extent>,
}

/// The occurrence of another event that this one replaces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Replaces {
    /// Its original start.
    pub(super) stamp: Stamp,
    /// Whether those after it are changed in the same way.
    pub(super) onwards: bool,
}

/// What a VEVENT says.
#[derive(Clone, Debug)]
pub(super) struct Vevent {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// Its name; `None` if it has none.
    pub(super) uid: Option<String>,
    /// Its first start.
    pub(super) start: Start,
    /// How long an occurrence takes.
    pub(super) extent: Extent,
    /// Its rules, and where they stand.
    pub(super) rules: Vec<(usize, Rule)>,
    /// Further occurrences.
    pub(super) extras: Vec<Extra>,
    /// Occurrences that are left out, and where that stands.
    pub(super) left_out: Vec<(usize, Stamp)>,
    /// What it replaces.
    pub(super) replaces: Option<Replaces>,
    /// Whether it does not take place.
    pub(super) cancelled: bool,
    /// Of two versions of the same the greater counts: SEQUENCE, LAST-MODIFIED, DTSTAMP.
    pub(super) version: (i64, String, String),
    /// Its title.
    pub(super) summary: Arc<str>,
}

impl Stamp {
    /// The time on the wall clock of a zone; midnight for a date.
    pub(super) fn wall(&self, zone: &Zone) -> Option<NaiveDateTime> {
        match self {
            Self::Date(date) => Some(date.and_time(NaiveTime::MIN)),
            Self::Floating(wall) => Some(*wall),
            Self::In(wall, own) if own == zone => Some(*wall),
            Self::In(wall, own) => zone.wall(own.instant(*wall)?),
            Self::Utc(at) => zone.wall(*at),
        }
    }

    /// The instant, with times of no zone in this one.
    pub(super) fn instant(&self, zone: &Zone) -> Option<DateTime<Utc>> {
        match self {
            Self::Date(date) => zone.instant(date.and_time(NaiveTime::MIN)),
            Self::Floating(wall) => zone.instant(*wall),
            Self::In(wall, own) => own.instant(*wall),
            Self::Utc(at) => Some(*at),
        }
    }

    /// The date that is meant where only a date can be; `None` if it is a time within a day.
    pub(super) fn date(&self, zone: &Zone) -> Option<NaiveDate> {
        let midnight = |wall: NaiveDateTime| (wall.time() == NaiveTime::MIN).then_some(wall.date());
        match self {
            Self::Date(date) => Some(*date),
            Self::Floating(wall) | Self::In(wall, _) => midnight(*wall),
            Self::Utc(at) => zone.wall(*at).and_then(midnight).or_else(|| midnight(at.naive_utc())),
        }
    }
}

impl Extent {
    /// No occurrence is longer, on any clock.
    pub(super) fn longest(&self) -> TimeDelta {
        match self {
            Self::To { wall, time } => *wall.max(time),
            Self::For(length) => length.days + length.time,
            Self::Days(back) => *back + TimeDelta::days(1),
        }
    }

    /// How far before its start an occurrence may begin, in whole days before that of its start.
    pub(super) fn before(&self) -> TimeDelta {
        match self {
            Self::Days(back) => *back,
            Self::To { .. } | Self::For(_) => TimeDelta::zero(),
        }
    }

    /// Start and end of an occurrence that starts at `wall`.
    pub(super) fn span(&self, wall: NaiveDateTime, zone: &Zone) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let start = zone.instant(wall)?;
        let moved = |by: TimeDelta| zone.instant(wall.checked_add_signed(by)?);
        let end = match self {
            Self::To { wall, time } => moved(*wall)?.max(start.checked_add_signed(*time)?),
            Self::For(length) => moved(length.days)?.checked_add_signed(length.time)?,
            Self::Days(back) => {
                let day = wall.date().and_time(NaiveTime::MIN);
                let first = zone.instant(day.checked_sub_signed(*back)?)?;
                return Some((first, zone.instant(day.checked_add_signed(TimeDelta::days(1))?)?));
            }
        };
        Some((start, end.max(start)))
    }

    /// From a start to an end.
    fn to(start: &Start, end: &Stamp) -> Option<Self> {
        let ends = end.wall(&start.zone)?;
        let wall = ends.signed_duration_since(start.wall);
        let time = end.instant(&start.zone)?.signed_duration_since(start.zone.instant(start.wall)?);
        let backwards = wall < TimeDelta::zero() || time < TimeDelta::zero();
        Some(match end {
            _ if backwards => Self::Days((start.wall.date() - ends.date()).max(TimeDelta::zero())),
            // A day is a day, however long the first one was.
            Stamp::Date(_) if start.whole_days => Self::For(Length { days: wall, time: TimeDelta::zero() }),
            _ => Self::To { wall, time },
        })
    }

    /// A length after a start; `None` only where that is beyond all times.
    fn lasting(wall: NaiveDateTime, length: Length) -> Option<Self> {
        let backwards = length.days < TimeDelta::zero() || length.time < TimeDelta::zero();
        let ends = wall.checked_add_signed(length.days)?.checked_add_signed(length.time)?;
        Some(if backwards { Self::Days(wall.date() - ends.date()) } else { Self::For(length) })
    }
}

/// What reads an event.
pub(super) struct Reader<'r, 'p> {
    /// Zones of the calendar.
    pub(super) zones: &'r Zones<'p>,
    /// What is passed over.
    pub(super) notes: &'r mut Notes,
    /// What may still be done.
    pub(super) work: &'r mut Work,
}

impl Reader<'_, '_> {
    /// Reads an event; `None` for one that does not take place, whenever that was.
    ///
    /// # Errors
    /// What cannot be read and could hide a lesson.
    pub(super) fn event(&mut self, part: &Part) -> Result<Option<Vevent>, IcalError> {
        let text = |name: &str| part.first(name).map(|found| found.value.trim().to_owned());
        let cancelled = text("STATUS").is_some_and(|status| status.eq_ignore_ascii_case("CANCELLED"));
        let replaces = part.first("RECURRENCE-ID").map(|property| self.replaces(property)).transpose()?;
        let start = match part.first("DTSTART") {
            Some(property) => self.start(property)?,
            None if cancelled => match &replaces {
                Some(replaces) => self.start_at(replaces.stamp.clone(), part.line)?,
                None => return Ok(None),
            },
            None => return Err(IcalError::new(part.line, "found an event without DTSTART, expected it")),
        };
        let mut event = Vevent {
            line: part.line,
            uid: text("UID").filter(|uid| !uid.is_empty()),
            extent: DAY,
            start,
            rules: Vec::new(),
            extras: Vec::new(),
            left_out: Vec::new(),
            replaces,
            cancelled,
            version: (
                text("SEQUENCE").and_then(|sequence| sequence.parse().ok()).unwrap_or(0),
                text("LAST-MODIFIED").unwrap_or_default(),
                text("DTSTAMP").unwrap_or_default(),
            ),
            summary: lines::plain(&text("SUMMARY").unwrap_or_default(), MAX_SUMMARY).into(),
        };
        if cancelled {
            return Ok(Some(event));
        }
        event.extent = self.extent(part, &event.start)?;
        for property in part.all("RRULE").filter(|property| !property.value.trim().is_empty()) {
            let rule = Rule::read(&property.value).map_err(|message| IcalError::new(property.line, message))?;
            event.rules.push((property.line, rule));
        }
        for property in part.all("RDATE") {
            for text in property.value.split(',').filter(|text| !text.trim().is_empty()) {
                let extra = self.extra(property, text, &event)?;
                event.extras.push(extra);
            }
        }
        for property in part.all("EXDATE") {
            for text in property.value.split(',').filter(|text| !text.trim().is_empty()) {
                self.work.spend(1).map_err(|message| IcalError::new(property.line, message))?;
                event.left_out.push((property.line, self.stamp(property, text)?));
            }
        }
        for property in part.all("EXRULE") {
            self.notes.push(property.line, "found EXRULE, which RFC 5545 does not know: nothing is left out by it");
        }
        Ok(Some(event))
    }

    /// Start and length of the first occurrence of an event.
    ///
    /// # Errors
    /// It has no start, or one that cannot be read.
    pub(super) fn first(&mut self, part: &Part) -> Result<(Start, Extent), IcalError> {
        let missing = || IcalError::new(part.line, "found an event without DTSTART, expected it");
        let start = self.start(part.first("DTSTART").ok_or_else(missing)?)?;
        let extent = self.extent(part, &start)?;
        Ok((start, extent))
    }

    fn stamp(&mut self, property: &Property, text: &str) -> Result<Stamp, IcalError> {
        let found = time::written(text).map_err(|message| IcalError::new(property.line, message))?;
        Ok(match (found, property.parameter("TZID")) {
            (Written::Date(date), _) => Stamp::Date(date),
            (Written::Utc(at), _) => Stamp::Utc(at),
            (Written::Wall(wall), None) => Stamp::Floating(wall),
            (Written::Wall(wall), Some(name)) => Stamp::In(wall, self.zones.named(name, property.line, self.work)?),
        })
    }

    fn replaces(&mut self, property: &Property) -> Result<Replaces, IcalError> {
        let onwards = match property.parameter("RANGE").map(str::to_ascii_uppercase).as_deref() {
            None => false,
            Some("THISANDFUTURE") => true,
            Some(range) => {
                let message = format!("found RANGE={}, expected THISANDFUTURE", shown(range));
                return Err(IcalError::new(property.line, message));
            }
        };
        Ok(Replaces { stamp: self.stamp(property, &property.value)?, onwards })
    }

    fn start(&mut self, property: &Property) -> Result<Start, IcalError> {
        let stamp = self.stamp(property, &property.value)?;
        self.start_at(stamp, property.line)
    }

    fn start_at(&self, stamp: Stamp, line: usize) -> Result<Start, IcalError> {
        let (whole_days, floating) = (matches!(stamp, Stamp::Date(_)), matches!(stamp, Stamp::Floating(_)));
        let zone = match &stamp {
            Stamp::Date(_) | Stamp::Floating(_) => self.zones.school.clone(),
            Stamp::In(_, zone) => zone.clone(),
            Stamp::Utc(_) => Zone::Known(chrono_tz::UTC),
        };
        let wall = stamp.wall(&zone).filter(|wall| zone.instant(*wall).is_some());
        match wall {
            Some(wall) => Ok(Start { wall, zone, whole_days, floating }),
            None => Err(IcalError::new(line, "found a time at the end of all times, expected one of this era")),
        }
    }

    fn extent(&mut self, part: &Part, start: &Start) -> Result<Extent, IcalError> {
        let (to, lasting) = (part.first("DTEND"), part.first("DURATION"));
        let line = to.or(lasting).map_or(part.line, |property| property.line);
        let beyond = || IcalError::new(line, "found an end beyond all times");
        let mut extents = Vec::new();
        if let Some(property) = to {
            let end = self.stamp(property, &property.value)?;
            extents.push(Extent::to(start, &end).ok_or_else(beyond)?);
        }
        if let Some(property) = lasting {
            let length = time::length(&property.value).map_err(|message| IcalError::new(property.line, message))?;
            extents.push(Extent::lasting(start.wall, length).ok_or_else(beyond)?);
        }
        let found = match extents.iter().max_by_key(|extent| extent.longest()) {
            // Some programs write a day as ending on itself.
            Some(extent) if start.whole_days && extent.longest().is_zero() => DAY,
            None if start.whole_days => DAY,
            None => Extent::For(Length { days: TimeDelta::zero(), time: TimeDelta::zero() }),
            Some(extent) => match extents.iter().find(|extent| matches!(extent, Extent::Days(_))) {
                Some(days) => {
                    self.notes.push(line, BACKWARDS);
                    *days
                }
                None => {
                    if extents.len() > 1 {
                        self.notes.push(line, "found DTEND and DURATION, expected one of them: the later end is used");
                    }
                    *extent
                }
            },
        };
        bounded(found, line)
    }

    fn extra(&mut self, property: &Property, text: &str, event: &Vevent) -> Result<Extra, IcalError> {
        let line = property.line;
        self.work.spend(1).map_err(|message| IcalError::new(line, message))?;
        let (from, to) = match text.split_once('/') {
            Some((from, to)) => (from, Some(to.trim())),
            None => (text, None),
        };
        let stamp = self.stamp(property, from)?;
        let zone = &event.start.zone;
        let beyond = || IcalError::new(line, "found a time at the end of all times, expected one of this era");
        let wall = stamp.wall(zone).filter(|wall| zone.instant(*wall).is_some()).ok_or_else(beyond)?;
        let Some(to) = to else {
            // A date alone does not say when on it.
            let day = matches!(stamp, Stamp::Date(_)) && !event.start.whole_days;
            if day {
                self.notes.push(line, "found a date for a timed event, expected a time: the whole day counts as taken");
            }
            let wall = if event.start.whole_days { wall.date().and_time(NaiveTime::MIN) } else { wall };
            return Ok(Extra { wall, extent: day.then_some(DAY) });
        };
        let extent = if to.starts_with(['P', 'p', '+', '-']) {
            let length = time::length(to).map_err(|message| IcalError::new(line, message))?;
            Extent::lasting(wall, length).ok_or_else(beyond)?
        } else {
            let end = self.stamp(property, to)?;
            Extent::to(&Start { wall, ..event.start.clone() }, &end).ok_or_else(beyond)?
        };
        if matches!(extent, Extent::Days(_)) {
            self.notes.push(line, BACKWARDS);
        }
        Ok(Extra { wall, extent: Some(bounded(extent, line)?) })
    }
}

fn bounded(extent: Extent, line: usize) -> Result<Extent, IcalError> {
    match extent.longest().num_days() {
        days if days > MAX_DAYS => {
            Err(IcalError::new(line, format!("found an event of {days} days, expected at most {MAX_DAYS}")))
        }
        _ => Ok(extent),
    }
}
