//! A calendar object that is kept as it came: what is not set stays to the byte.

use std::ops::Range;

use crate::{
    booking::ical::fold,
    calendar::ical::lines::{self, Property},
};

/// An object with more lines is no appointment.
const MAX_LINES: usize = 20_000;

/// One content line with its folds and its end.
#[derive(Clone, Debug)]
struct Piece {
    raw: Vec<u8>,
    /// Its name in capitals.
    name: String,
    /// Whether it is a property of the entry itself, not of an alarm within it or of anything else.
    is_own: bool,
}

/// A calendar object with one entry that we look at: the first that stands for no single occurrence.
#[derive(Clone, Debug)]
pub struct Object {
    pieces: Vec<Piece>,
    /// Where END:VEVENT of the entry stands.
    end: usize,
}

impl Object {
    /// Takes an object apart.
    ///
    /// # Errors
    /// It is not a whole calendar with an entry.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let mut pieces = Vec::new();
        for range in content_lines(text) {
            let raw = text.get(range).unwrap_or_default().to_vec();
            let name = lines::lines(&raw).next().map(|line| lines::name(&line.text)).unwrap_or_default();
            pieces.push(Piece { raw, name, is_own: false });
            if pieces.len() > MAX_LINES {
                return Err(format!("found more than {MAX_LINES} lines, expected one appointment"));
            }
        }
        let events = events(&pieces)?;
        let single = |event: &&Event| !event.own.iter().any(|at| name(&pieces, *at) == "RECURRENCE-ID");
        let event = events.iter().find(single).ok_or("found no entry (VEVENT), expected one")?;
        for at in &event.own {
            if let Some(piece) = pieces.get_mut(*at) {
                piece.is_own = true;
            }
        }
        let end = event.end;
        Ok(Self { pieces, end })
    }

    /// All properties of this name, taken apart; those that cannot be read are left out.
    pub(super) fn all<'o>(&'o self, name: &'o str) -> impl Iterator<Item = Property> + 'o {
        let own = self.pieces.iter().filter(move |piece| piece.is_own && piece.name == name);
        own.filter_map(|piece| lines::lines(&piece.raw).next().filter(|line| !line.cut))
            .filter_map(|line| lines::property(&line))
    }

    /// All lines of this name, without folds and ends.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let own = self.pieces.iter().filter(|piece| piece.is_own && piece.name == name);
        own.filter_map(|piece| lines::lines(&piece.raw).next()).map(|line| line.text).collect()
    }

    /// The value of the first property of this name, as written.
    pub fn value(&self, name: &str) -> Option<String> {
        self.all(name).next().map(|property| property.value)
    }

    /// Puts these lines, unfolded and without ends, in the place of all properties of this name.
    pub fn set(&mut self, name: &str, new: &[String]) {
        let is_it = |piece: &Piece| piece.is_own && piece.name == name;
        let place = self.pieces.iter().position(is_it).unwrap_or(self.end);
        let before = self.pieces.len();
        self.pieces.retain(|piece| !is_it(piece));
        // All of the entry's own stand before its end.
        self.end = self.end + self.pieces.len() + new.len() - before;
        let new = new.iter().map(|line| {
            let mut raw = String::new();
            fold(line, &mut raw);
            Piece { raw: raw.into_bytes(), name: name.to_owned(), is_own: true }
        });
        self.pieces.splice(place..place, new);
    }

    /// The bytes of the object.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            out.extend_from_slice(&piece.raw);
            if !piece.raw.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }
}

/// An entry as it stands in the text.
struct Event {
    /// Its own properties.
    own: Vec<usize>,
    /// Its end.
    end: usize,
}

fn name(pieces: &[Piece], at: usize) -> &str {
    pieces.get(at).map_or("", |piece| &piece.name)
}

/// What a line begins or ends, in capitals.
fn structure(piece: &Piece) -> Option<(bool, String)> {
    let begins = match &piece.name[..] {
        "BEGIN" => true,
        "END" => false,
        _ => return None,
    };
    let property = lines::property(&lines::lines(&piece.raw).next()?)?;
    Some((begins, property.value.trim().to_ascii_uppercase()))
}

/// The entries of a calendar.
fn events(pieces: &[Piece]) -> Result<Vec<Event>, String> {
    let (mut open, mut events, mut calendars) = (Vec::<String>::new(), Vec::new(), 0);
    for (at, piece) in pieces.iter().enumerate() {
        match structure(piece) {
            Some((true, name)) => {
                if open.is_empty() != (name == "VCALENDAR") || open.len() > 8 {
                    return Err(format!("found BEGIN:{name} where it cannot be, expected one calendar"));
                }
                calendars += usize::from(open.is_empty());
                open.push(name);
                if open.len() == 2 && open.last().is_some_and(|last| last == "VEVENT") {
                    events.push(Event { own: Vec::new(), end: 0 });
                }
            }
            Some((false, name)) => {
                if open.pop().as_ref() != Some(&name) {
                    return Err(format!("found END:{name}, which nothing began"));
                }
                if let (Some(event), 1, "VEVENT") = (events.last_mut(), open.len(), &name[..]) {
                    event.end = at;
                }
            }
            None if open.len() == 2 && open.last().is_some_and(|last| last == "VEVENT") => {
                if let Some(event) = events.last_mut() {
                    event.own.push(at);
                }
            }
            None => {}
        }
    }
    match (open.pop(), calendars) {
        (Some(name), _) => Err(format!("found the end of the text, expected END:{name}: it may have been cut off")),
        (None, 1) => Ok(events),
        (None, _) => Err("found no single BEGIN:VCALENDAR, expected a calendar".to_owned()),
    }
}

/// Where each content line is, with its folds and its end.
fn content_lines(text: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for physical in text.split_inclusive(|byte| *byte == b'\n') {
        let end = start + physical.len();
        match (physical.first(), found.last_mut()) {
            (Some(b' ' | b'\t'), Some(last)) => last.end = end,
            _ => found.push(start..end),
        }
        start = end;
    }
    found
}

/// A value of type TEXT with its escapes undone (RFC 5545, 3.3.11).
pub(super) fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => out.push('\n'),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// The values of a list of type TEXT, their escapes undone.
pub(super) fn listed(value: &str) -> Vec<String> {
    let (mut found, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in value.char_indices() {
        if c == ',' && !escaped {
            found.push(unescaped(value.get(start..at).unwrap_or_default()));
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    found.push(unescaped(value.get(start..).unwrap_or_default()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:Here\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\n\
                        UID:a\r\nSUMMARY:on\r\n e\nX-THEIRS;A=\"b:c\":1\r\nBEGIN:VALARM\r\nSUMMARY:ring\r\nEND:VALARM\r\n\
                        END:VEVENT\r\nBEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID:20261124T040000Z\r\nSUMMARY:other\r\n\
                        END:VEVENT\r\nEND:VCALENDAR\r\n";

    #[test]
    fn what_is_not_set_stays_to_the_byte() {
        let object = Object::read(TEXT.as_bytes()).expect("an object");
        assert_eq!(object.write(), TEXT.as_bytes());
        assert_eq!(object.value("SUMMARY").as_deref(), Some("one"));
        assert_eq!(object.all("X-THEIRS").next().expect("it is there").parameter("A"), Some("b:c"));
    }

    #[test]
    fn what_is_set_changes_the_entry_alone() {
        let mut object = Object::read(TEXT.as_bytes()).expect("an object");
        object.set("SUMMARY", &["SUMMARY:two".to_owned()]);
        object.set("X-OURS", &["X-OURS:1".to_owned(), "X-OURS:2".to_owned()]);
        object.set("UID", &[]);
        object.set("UID", &["UID:b".to_owned()]);
        let expected = TEXT.replacen("UID:a\r\n", "", 1).replace("SUMMARY:on\r\n e\n", "SUMMARY:two\r\n").replacen(
            "END:VALARM\r\n",
            "END:VALARM\r\nX-OURS:1\r\nX-OURS:2\r\nUID:b\r\n",
            1,
        );
        assert_eq!(String::from_utf8(object.write()).expect("text"), expected);
        assert_eq!(object.all("X-OURS").count(), 2);
        assert_eq!(Object::read(expected.as_bytes()).expect("again").write(), expected.as_bytes());
    }

    #[test]
    fn what_is_no_whole_object_is_refused() {
        for text in [
            "",
            "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
            "BEGIN:VEVENT\r\nEND:VEVENT\r\n",
            &TEXT[..TEXT.len() - 20],
            &TEXT.replace("RECURRENCE-ID:20261124T040000Z", "X:1").replace("END:VALARM\r\n", ""),
            &TEXT.repeat(2),
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nRECURRENCE-ID:20261124T040000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        ] {
            assert!(Object::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_and_escapes_are_undone() {
        assert_eq!(listed(r"one,two\, three\\,four"), ["one", r"two, three\", "four"]);
        assert_eq!(unescaped(r"a\nb\;\\"), "a\nb;\\");
    }
}
