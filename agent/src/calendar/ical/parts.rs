//! Content lines → the parts of a calendar that matter: its events and its time zones.

use super::{
    IcalError, Notes,
    lines::{self, Line, Property},
};

/// A text with more events is no timetable.
pub(super) const MAX_EVENTS: usize = 20_000;
/// A text with more lines that matter is no timetable.
pub(super) const MAX_PROPERTIES: usize = 200_000;
/// Nothing that matters lies deeper.
const MAX_DEPTH: usize = 16;

/// Names that decide when a room is taken: a line of them that cannot be read could hide a lesson.
const TIMES: [&str; 7] = ["DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"];
/// Names that say where a part begins and ends.
const STRUCTURE: [&str; 2] = ["BEGIN", "END"];
/// Further names that are kept.
const KEPT: [&str; 7] = ["UID", "SUMMARY", "STATUS", "SEQUENCE", "DTSTAMP", "LAST-MODIFIED", "EXRULE"];
/// Names that are kept of a time zone.
const ZONE: [&str; 4] = ["TZID", "TZOFFSETFROM", "TZOFFSETTO", "X-LIC-LOCATION"];

/// A component and the properties of it that matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// Its properties, in order.
    pub(super) properties: Vec<Property>,
    /// The observances of a time zone.
    pub(super) observances: Vec<Part>,
}

impl Part {
    /// The first property of this name.
    pub(super) fn first(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// All properties of this name.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p Property> {
        self.properties.iter().filter(move |property| property.name == name)
    }
}

/// What a text holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// VEVENTs.
    pub(super) events: Vec<Part>,
    /// VTIMEZONEs.
    pub(super) zones: Vec<Part>,
    /// The last line, from 1.
    pub(super) last: usize,
}

/// Where the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Calendar,
    Event,
    Zone,
    Observance,
    FreeBusy,
    /// A component that says nothing of when the room is taken.
    Other,
}

/// Reads the parts of a text.
///
/// # Errors
/// Where the text is no whole calendar, or a line that matters cannot be read.
pub(super) fn read(text: &[u8], notes: &mut Notes) -> Result<Parts, IcalError> {
    let mut reader = Reader { parts: Parts::default(), open: Vec::new(), kept: 0, calendars: 0 };
    reader.parts.last = 1;
    for line in lines::lines(text) {
        reader.parts.last = line.number;
        reader.line(&line, notes)?;
    }
    if reader.calendars == 0 && reader.open.is_empty() {
        return Err(IcalError::new(1, "found no BEGIN:VCALENDAR, expected an iCalendar text"));
    }
    match reader.open.pop() {
        Some((name, _)) => Err(IcalError::new(
            reader.parts.last,
            format!("found the end of the text, expected END:{name}: it may have been cut off"),
        )),
        None => Ok(reader.parts),
    }
}

struct Reader {
    parts: Parts,
    open: Vec<(String, Inside)>,
    kept: usize,
    calendars: usize,
}

impl Reader {
    fn inside(&self) -> Option<Inside> {
        self.open.last().map(|(_, inside)| *inside)
    }

    fn line(&mut self, line: &Line, notes: &mut Notes) -> Result<(), IcalError> {
        let refuse = |message: String| Err(IcalError::new(line.number, message));
        let name = lines::name(&line.text);
        let Some(inside) = self.inside() else {
            return match lines::property(line).filter(|found| found.name == "BEGIN") {
                Some(found) if found.value.trim().eq_ignore_ascii_case("VCALENDAR") => {
                    self.open.push(("VCALENDAR".to_owned(), Inside::Calendar));
                    Ok(())
                }
                _ => {
                    notes.push(line.number, "found text outside of BEGIN:VCALENDAR … END:VCALENDAR: passed over");
                    Ok(())
                }
            };
        };
        // Of what says nothing of lessons only the end matters.
        if inside == Inside::Other
            && lines::property(line).is_none_or(|found| !STRUCTURE.contains(&found.name.as_str()))
        {
            return Ok(());
        }
        let matters = TIMES.contains(&name.as_str()) || STRUCTURE.contains(&name.as_str());
        let kept = matters || KEPT.contains(&name.as_str()) || ZONE.contains(&name.as_str());
        match lines::property(line) {
            // In capitals it is hardly the next line of somebody's description.
            None if matters && line.text.starts_with(&name) => {
                refuse(format!("found {}, expected {name}:…", shown(&line.text)))
            }
            None => {
                notes.push(line.number, format!("found {}, expected NAME:VALUE: passed over", shown(&line.text)));
                Ok(())
            }
            Some(_) if line.cut && matters => {
                refuse(format!("found a line of more than {} bytes, expected a shorter one", lines::MAX_LINE))
            }
            Some(found) if name == "BEGIN" => self.begin(line.number, &found.value, inside, notes),
            Some(found) if name == "END" => self.end(line.number, &found.value, notes),
            Some(found) if kept => {
                if line.broken && name == "SUMMARY" {
                    notes.push(line.number, "found a SUMMARY that is not UTF-8: its readable part is used");
                }
                self.keep(found, inside)
            }
            Some(found) if inside == Inside::FreeBusy && found.name == "FREEBUSY" => {
                refuse("found a list of busy times (FREEBUSY), expected events (VEVENT)".to_owned())
            }
            Some(_) => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, name: &str, inside: Inside, notes: &mut Notes) -> Result<(), IcalError> {
        let name = name.trim().to_ascii_uppercase();
        let found = match name.as_str() {
            "VCALENDAR" => return Err(IcalError::new(line, "found BEGIN:VCALENDAR, expected END:VCALENDAR first")),
            "VEVENT" => Inside::Event,
            "VTIMEZONE" => Inside::Zone,
            "STANDARD" | "DAYLIGHT" if inside == Inside::Zone => Inside::Observance,
            "VFREEBUSY" => Inside::FreeBusy,
            _ => Inside::Other,
        };
        if matches!(found, Inside::Event | Inside::Zone) {
            // A task or a note without an end hides nothing; an event without one may be half read.
            while self.inside().is_some_and(|inside| matches!(inside, Inside::Other | Inside::FreeBusy))
                && !self.open.iter().any(|(_, inside)| matches!(inside, Inside::Event | Inside::Zone))
            {
                let Some((open, _)) = self.open.pop() else { break };
                notes.push(line, format!("found BEGIN:{name}, expected END:{open} first: taken as its end"));
            }
            if self.inside() != Some(Inside::Calendar) {
                let open = self.open.last().map_or("", |(open, _)| open);
                return Err(IcalError::new(line, format!("found BEGIN:{name}, expected END:{open} first")));
            }
        }
        let part = Part { line, ..Part::default() };
        match found {
            Inside::Event => self.parts.events.push(part),
            Inside::Zone => self.parts.zones.push(part),
            Inside::Observance => {
                if let Some(zone) = self.parts.zones.last_mut() {
                    zone.observances.push(part);
                }
            }
            _ => {}
        }
        if self.parts.events.len() > MAX_EVENTS {
            return Err(IcalError::new(line, format!("found more than {MAX_EVENTS} events, expected fewer")));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(IcalError::new(line, format!("found parts nested more than {MAX_DEPTH} deep")));
        }
        self.open.push((name, found));
        Ok(())
    }

    fn end(&mut self, line: usize, name: &str, notes: &mut Notes) -> Result<(), IcalError> {
        let name = name.trim().to_ascii_uppercase();
        let Some(at) = self.open.iter().rposition(|(open, _)| *open == name) else {
            return match self.inside() {
                Some(Inside::Other | Inside::FreeBusy) => {
                    notes.push(line, format!("found END:{}, which nothing began: passed over", shown(&name)));
                    Ok(())
                }
                _ => Err(IcalError::new(line, format!("found END:{}, which nothing began", shown(&name)))),
            };
        };
        for (open, inside) in self.open.drain(at..).skip(1) {
            if !matches!(inside, Inside::Other | Inside::FreeBusy) {
                return Err(IcalError::new(line, format!("found END:{name}, expected END:{open} first")));
            }
            notes.push(line, format!("found END:{name}, expected END:{open} first: taken as its end too"));
        }
        self.calendars += usize::from(self.open.is_empty());
        Ok(())
    }

    fn keep(&mut self, property: Property, inside: Inside) -> Result<(), IcalError> {
        let part = match inside {
            Inside::Event => self.parts.events.last_mut(),
            Inside::Zone => self.parts.zones.last_mut(),
            Inside::Observance => self.parts.zones.last_mut().and_then(|zone| zone.observances.last_mut()),
            _ => None,
        };
        let line = property.line;
        if let Some(part) = part {
            part.properties.push(property);
            self.kept += 1;
        }
        if self.kept > MAX_PROPERTIES {
            return Err(IcalError::new(line, format!("found more than {MAX_PROPERTIES} properties, expected fewer")));
        }
        Ok(())
    }
}

/// A piece of the text, short enough for a message.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
