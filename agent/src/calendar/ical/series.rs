//! Events → their occurrences within a span.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use super::{
    Event, IcalError, MAX_OCCURRENCES, Notes, Work,
    event::{Extent, Stamp, Start, Vevent},
    rule::Rule,
    time::Written,
};

/// What tells the occurrences of an event apart: their original start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    At(DateTime<Utc>),
    Day(NaiveDate),
}

impl Key {
    fn of(start: &Start, wall: NaiveDateTime) -> Option<Self> {
        match start.whole_days {
            true => Some(Self::Day(wall.date())),
            false => start.zone.instant(wall).map(Self::At),
        }
    }

    /// The occurrence of an event that starts so which a stamp names; `None` if it cannot name any.
    fn named(start: &Start, stamp: &Stamp) -> Option<Self> {
        match (start.whole_days, stamp) {
            (true, _) => stamp.date(&start.zone).map(Self::Day),
            (false, Stamp::Date(_)) => None,
            (false, _) => stamp.instant(&start.zone).map(Self::At),
        }
    }

    fn within(self, start: &Start, span: &Range<DateTime<Utc>>) -> bool {
        match self {
            Self::At(at) => span.contains(&at),
            Self::Day(date) => start.zone.instant(date.into()).is_some_and(|at| span.contains(&at)),
        }
    }
}

/// A change of one occurrence and all after it.
#[derive(Clone, Copy)]
struct Onwards<'e> {
    from: Key,
    by: TimeDelta,
    event: &'e Vevent,
}

/// The occurrences of all events that touch the span.
pub(super) fn expand(
    events: &[Vevent],
    span: &Range<DateTime<Utc>>,
    notes: &mut Notes,
    work: &mut Work,
) -> Result<Vec<Event>, IcalError> {
    let mut masters: HashMap<&str, &Vevent> = HashMap::new();
    let mut overrides: HashMap<&str, Vec<&Vevent>> = HashMap::new();
    for event in events {
        let Some(uid) = event.uid.as_deref() else { continue };
        if event.replaces.is_some() {
            overrides.entry(uid).or_default().push(event);
            continue;
        }
        // Of two events of one name the later revision counts (RFC 5545 §3.8.7.4).
        let known = masters.entry(uid).or_insert(event);
        if event.version.0 > known.version.0 {
            *known = event;
        }
    }
    let counts = |event: &Vevent| match event.uid.as_deref().and_then(|uid| masters.get(uid)) {
        Some(known) => event.version.0 == known.version.0,
        None => true,
    };
    for event in events.iter().filter(|event| event.replaces.is_none()) {
        let known = event.uid.as_deref().and_then(|uid| masters.get(uid)).filter(|known| known.line != event.line);
        match known {
            Some(known) if counts(event) => {
                notes.push(
                    event.line,
                    format!("found the UID of the event in line {} again: both are used", known.line),
                );
            }
            Some(known) => {
                let message = format!("found an earlier revision of the event in line {}: passed over", known.line);
                notes.push(event.line, message);
            }
            None => {}
        }
    }
    for (uid, changed) in &mut overrides {
        *changed = newest(changed, masters.get(uid).copied(), notes);
    }
    let mut found = Found { events: Vec::new(), span };
    let mut met: HashSet<usize> = HashSet::new();
    for event in events.iter().filter(|event| event.replaces.is_none() && !event.cancelled && counts(event)) {
        let changed = event.uid.as_deref().and_then(|uid| overrides.get(uid)).map_or(&[][..], Vec::as_slice);
        Series { event, changed }.occurrences(&mut found, &mut met, notes, work)?;
    }
    for event in events.iter().filter(|event| event.replaces.is_some()) {
        let of = event.uid.as_deref().and_then(|uid| masters.get(uid));
        let changed = event.uid.as_deref().and_then(|uid| overrides.get(uid));
        if changed.is_some_and(|changed| !changed.iter().any(|newest| std::ptr::eq(*newest, event))) {
            continue;
        }
        match of {
            None if !event.cancelled => {
                notes.push(event.line, "found a changed occurrence of no event: used as an event of its own");
            }
            Some(of) if !met.contains(&event.line) => {
                let key = event.replaces.as_ref().and_then(|replaces| Key::named(&of.start, &replaces.stamp));
                if key.is_none_or(|key| key.within(&of.start, span)) {
                    notes.push(
                        event.line,
                        "found a RECURRENCE-ID that names no occurrence: used as an event of its own",
                    );
                }
            }
            _ => {}
        }
        if !event.cancelled {
            Series { event, changed: &[] }.occurrences(&mut found, &mut met, notes, work)?;
        }
    }
    Ok(found.events)
}

/// Of several changes of the same occurrence the newest; all, where nothing says which that is.
fn newest<'e>(changed: &[&'e Vevent], of: Option<&Vevent>, notes: &mut Notes) -> Vec<&'e Vevent> {
    let key = |event: &Vevent| {
        let start = of.map_or(&event.start, |of| &of.start);
        event.replaces.as_ref().map(|replaces| (Key::named(start, &replaces.stamp), replaces.onwards))
    };
    let mut best: HashMap<_, &Vevent> = HashMap::new();
    for event in changed {
        let known = best.entry(key(event)).or_insert(event);
        if event.version > known.version {
            *known = event;
        }
    }
    let counts = |event: &&&Vevent| best.get(&key(event)).is_some_and(|best| best.version == event.version);
    let kept: Vec<&Vevent> = changed.iter().filter(counts).copied().collect();
    for event in &kept {
        if best.get(&key(event)).is_some_and(|best| best.line != event.line) {
            notes.push(event.line, "found a second change of one occurrence, neither the newer: both are used");
        }
    }
    kept
}

/// What was found so far.
struct Found<'s> {
    events: Vec<Event>,
    span: &'s Range<DateTime<Utc>>,
}

impl Found<'_> {
    /// Adds an occurrence if it touches the span: on the clock of `first`, but called as `event` is.
    fn add(&mut self, first: &Start, wall: NaiveDateTime, extent: Extent, event: &Vevent) -> Result<(), IcalError> {
        let Some((start, end)) = extent.span(wall, &first.zone) else {
            return Err(IcalError::new(event.line, "found a time at the end of all times, expected one of this era"));
        };
        let touches = start < self.span.end && (self.span.start < end || (start == end && self.span.start <= start));
        if !touches {
            return Ok(());
        }
        if self.events.len() >= MAX_OCCURRENCES {
            let message = format!("found more than {MAX_OCCURRENCES} occurrences, expected fewer");
            return Err(IcalError::new(event.line, message));
        }
        self.events.push(Event { start, end, summary: event.summary.clone(), all_day: first.whole_days });
        Ok(())
    }
}

/// An event and the changes of its occurrences.
struct Series<'e> {
    event: &'e Vevent,
    changed: &'e [&'e Vevent],
}

impl Series<'_> {
    fn occurrences(
        &self,
        found: &mut Found<'_>,
        met: &mut HashSet<usize>,
        notes: &mut Notes,
        work: &mut Work,
    ) -> Result<(), IcalError> {
        let start = &self.event.start;
        let mut gone: HashMap<Key, bool> = HashMap::new();
        let mut gone_days: HashMap<NaiveDate, bool> = HashMap::new();
        for (_, stamp) in &self.event.left_out {
            match (start.whole_days, stamp) {
                (false, Stamp::Date(date)) => _ = gone_days.insert(*date, false),
                _ => _ = Key::named(start, stamp).and_then(|key| gone.insert(key, false)),
            }
        }
        let mut replaced: HashMap<Key, Vec<&Vevent>> = HashMap::new();
        for event in self.changed {
            let key = event.replaces.as_ref().and_then(|replaces| Key::named(start, &replaces.stamp));
            if let Some(key) = key {
                replaced.entry(key).or_default().push(event);
            }
        }
        let onwards = self.onwards()?;
        for (wall, extent) in self.walls(&onwards, found.span, work)? {
            let Some(key) = Key::of(start, wall) else { continue };
            if let Some(events) = replaced.get(&key) {
                met.extend(events.iter().map(|event| event.line));
                continue;
            }
            let left_out = [gone.get_mut(&key), gone_days.get_mut(&wall.date())];
            if left_out.into_iter().flatten().map(|hit| *hit = true).count() > 0 {
                continue;
            }
            match onwards.iter().rfind(|change| change.from < key) {
                None => found.add(start, wall, extent.unwrap_or(self.event.extent), self.event)?,
                Some(change) if change.event.cancelled => {}
                Some(change) => {
                    if let Some(wall) = wall.checked_add_signed(change.by) {
                        found.add(start, wall, extent.unwrap_or(change.event.extent), change.event)?;
                    }
                }
            }
        }
        for (line, stamp) in &self.event.left_out {
            let missed = match (start.whole_days, stamp) {
                (false, Stamp::Date(date)) => {
                    gone_days.get(date) == Some(&false) && Key::Day(*date).within(start, found.span)
                }
                _ => match Key::named(start, stamp) {
                    Some(key) => {
                        gone.get(&key) == Some(&false) && !replaced.contains_key(&key) && key.within(start, found.span)
                    }
                    None => true,
                },
            };
            if missed {
                notes.push(*line, "found an EXDATE that leaves out no occurrence: passed over");
            }
        }
        Ok(())
    }

    /// The changes that go on, by what they change first.
    fn onwards(&self) -> Result<Vec<Onwards<'_>>, IcalError> {
        let start = &self.event.start;
        let mut found = Vec::new();
        for event in self.changed {
            let Some(replaces) = event.replaces.as_ref().filter(|replaces| replaces.onwards) else { continue };
            let refuse = |message: &str| Err(IcalError::new(event.line, message));
            if !event.rules.is_empty() || !event.extras.is_empty() {
                return refuse("found a change of all later occurrences that recurs itself, expected one of them");
            }
            if event.start.whole_days != start.whole_days {
                return refuse("found a change from whole days to times, or back, for all later occurrences");
            }
            let here = event.start.zone.instant(event.start.wall).and_then(|at| start.zone.wall(at));
            match (Key::named(start, &replaces.stamp), here, replaces.stamp.wall(&start.zone)) {
                (Some(from), Some(here), Some(there)) => found.push(Onwards { from, by: here - there, event }),
                _ => return refuse("found a RECURRENCE-ID that cannot name an occurrence"),
            }
        }
        found.sort_by_key(|change| change.from);
        Ok(found)
    }

    /// Starts on the wall clock, each with its own extent if it has one: of the event itself, of its rules
    /// near the span, and of its further dates.
    fn walls(
        &self,
        onwards: &[Onwards<'_>],
        span: &Range<DateTime<Utc>>,
        work: &mut Work,
    ) -> Result<BTreeMap<NaiveDateTime, Option<Extent>>, IcalError> {
        let event = self.event;
        let mut found = BTreeMap::from([(event.start.wall, None)]);
        let extents = || onwards.iter().map(|change| &change.event.extent).chain([&event.extent]);
        let longest = extents().map(Extent::longest).max().unwrap_or_default();
        let before = extents().map(Extent::before).max().unwrap_or_default();
        let moved = onwards.iter().map(|change| change.by.abs()).fold(TimeDelta::zero(), TimeDelta::max);
        // Two days more than needed cover any offset from Greenwich and any change of clocks.
        let margin = moved + TimeDelta::days(2);
        let earliest = span.start.naive_utc().checked_sub_signed(margin + longest).unwrap_or(NaiveDateTime::MIN);
        let latest = span.end.naive_utc().checked_add_signed(margin + before).unwrap_or(NaiveDateTime::MAX);
        for (line, rule) in &event.rules {
            let ended = |wall| ended(rule, &event.start, wall);
            let walls = rule.walls(event.start.wall, &(earliest..latest), &ended, work);
            for wall in walls.map_err(|message| IcalError::new(*line, message))? {
                found.entry(wall).or_insert(None);
            }
        }
        for extra in &event.extras {
            found.insert(extra.wall, extra.extent);
        }
        Ok(found)
    }
}

/// Whether a rule's UNTIL has passed. Where UNTIL is not of the kind that the start asks for, and may be
/// read in two ways, the later counts.
fn ended(rule: &Rule, start: &Start, wall: NaiveDateTime) -> bool {
    let beyond = |until: DateTime<Utc>| start.zone.instant(wall).is_some_and(|at| at > until);
    match rule.until {
        None => false,
        Some(Written::Date(until)) => wall.date() > until,
        Some(Written::Wall(until)) if start.whole_days => wall.date() > until.date(),
        Some(Written::Wall(until)) => wall > until && (start.floating || beyond(until.and_utc())),
        Some(Written::Utc(until)) if start.whole_days => {
            let local = start.zone.wall(until).unwrap_or(until.naive_utc());
            wall.date() > local.max(until.naive_utc()).date()
        }
        Some(Written::Utc(until)) => beyond(until) && (!start.floating || wall > until.naive_utc()),
    }
}
