//! A booking as one calendar entry (RFC 5545).

use chrono::{DateTime, Utc};

use super::{Booking, State, text::Text};
use crate::calendar::ical::When;

/// Longest line in octets, its end not counted (RFC 5545, 3.1).
const LINE: usize = 75;

/// What an entry says beside the booking's text.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// When it is.
    pub(crate) when: When,
    /// Its STATUS.
    pub(crate) status: &'a str,
    /// Further properties: names, with parameters if any, and values as they are to be written.
    pub(crate) more: &'a [(String, String)],
}

/// A calendar with the booking's first wanted window as its one tentative entry; `None` if nothing is
/// wanted. `stamp` is when the order was planned: the same order gives the same bytes.
pub fn event(booking: &Booking, text: &Text, stamp: DateTime<Utc>) -> Option<String> {
    let window = booking.life.appointment.as_ref().or(booking.wanted.first())?;
    let when = When::Time { start: window.start, end: window.end };
    Some(calendar(booking, text, stamp, &Entry { when, status: status(booking.state), more: &[] }))
}

/// The STATUS of a booking's entry (RFC 5545, 3.8.1.11).
pub(crate) fn status(state: State) -> &'static str {
    match state {
        State::Cancelled => "CANCELLED",
        State::Suspected
        | State::Holding
        | State::Requested
        | State::Countered
        | State::Refused
        | State::NeedsHuman => "TENTATIVE",
        State::Confirmed
        | State::InMaintenance
        | State::Reported
        | State::Observing
        | State::Evaluated
        | State::Archived => "CONFIRMED",
    }
}

/// A calendar with one entry. Whole days are shown as free: nobody knows yet when on them.
pub(crate) fn calendar(booking: &Booking, text: &Text, stamp: DateTime<Utc>, entry: &Entry<'_>) -> String {
    let mut out = String::new();
    let mut put = |name: &str, value: &str| fold(&format!("{name}:{value}"), &mut out);
    put("BEGIN", "VCALENDAR");
    put("VERSION", "2.0");
    put("PRODID", "-//bellwether//bellwether//EN");
    put("BEGIN", "VEVENT");
    put("UID", &booking.key);
    put("SEQUENCE", &booking.op_seq.to_string());
    put("DTSTAMP", &instant(stamp));
    for line in times(entry.when) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        put(name, value);
    }
    put("SUMMARY", &escaped(&text.subject));
    if !booking.room.name.is_empty() {
        put("LOCATION", &escaped(&booking.room.name));
    }
    put("DESCRIPTION", &escaped(&text.body));
    put("STATUS", entry.status);
    for (name, value) in entry.more {
        put(name, value);
    }
    put("END", "VEVENT");
    put("END", "VCALENDAR");
    out
}

/// An instant as RFC 5545 writes it.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// The lines that say when an entry is.
pub(crate) fn times(when: When) -> Vec<String> {
    match when {
        When::Time { start, end } => vec![format!("DTSTART:{}", instant(start)), format!("DTEND:{}", instant(end))],
        When::Days { from, to } => vec![
            format!("DTSTART;VALUE=DATE:{}", from.format("%Y%m%d")),
            format!("DTEND;VALUE=DATE:{}", to.format("%Y%m%d")),
            "TRANSP:TRANSPARENT".to_owned(),
        ],
    }
}

/// A value of type TEXT (RFC 5545, 3.3.11).
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Appends one content line, folded on the borders of characters.
pub(crate) fn fold(line: &str, out: &mut String) {
    let mut length = 0;
    for c in line.chars() {
        if length + c.len_utf8() > LINE {
            out.push_str("\r\n ");
            length = 1;
        }
        out.push(c);
        length += c.len_utf8();
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        booking::{examples, text},
        site::Language,
    };

    fn calendar(booking: &Booking, language: Language) -> String {
        let text = text::write(booking, language);
        event(booking, &text, booking.updated_at).expect("it wants a time")
    }

    /// Lines as RFC 5545, 3.1 says they are to be unfolded.
    fn unfolded(calendar: &str) -> Vec<String> {
        calendar.replace("\r\n ", "").split_terminator("\r\n").map(str::to_owned).collect()
    }

    /// A TEXT value read back.
    fn unescaped(value: &str) -> String {
        let mut out = String::new();
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some(c) => out.push(c),
                    None => out.push('\\'),
                },
                c => out.push(c),
            }
        }
        out
    }

    #[test]
    fn every_line_is_short_whole_and_ended() {
        for language in [Language::Chinese, Language::English] {
            let calendar = calendar(&examples::full(), language);
            assert!(calendar.ends_with("END:VCALENDAR\r\n"));
            assert!(!calendar.replace("\r\n", "").contains(['\r', '\n']), "bare ends of lines");
            let lines: Vec<_> = calendar.split_terminator("\r\n").collect();
            assert!(lines.iter().all(|line| line.len() <= 75), "{:?}", lines.iter().max_by_key(|line| line.len()));
            assert!(lines.iter().any(|line| line.len() == 75 && line.is_ascii() || line.len() >= 73), "folded late");
        }
    }

    #[test]
    fn it_reads_back_as_the_booking() {
        let booking = examples::full();
        let text = text::write(&booking, Language::Chinese);
        let lines = unfolded(&calendar(&booking, Language::Chinese));
        let value = |name: &str| {
            let mut found = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let value = found.next().expect(name).to_owned();
            assert_eq!(found.next(), None, "{name} stands once");
            value
        };
        assert_eq!(value("UID"), booking.key);
        assert_eq!(value("SEQUENCE"), "1");
        assert_eq!(value("DTSTAMP"), "20261124T020000Z");
        assert_eq!(value("DTSTART"), "20261124T040000Z");
        assert_eq!(value("DTEND"), "20261124T050000Z");
        assert_eq!(value("STATUS"), "TENTATIVE");
        assert_eq!(unescaped(&value("SUMMARY")), text.subject);
        assert_eq!(unescaped(&value("DESCRIPTION")), text.body);
        assert_eq!(value("VERSION"), "2.0");
    }

    #[test]
    fn a_cancelled_booking_cancels_the_entry() {
        let booking = Booking { state: State::Cancelled, op_seq: 7, ..examples::full() };
        let lines = unfolded(&calendar(&booking, Language::English));
        assert!(lines.contains(&"STATUS:CANCELLED".to_owned()) && lines.contains(&"SEQUENCE:7".to_owned()));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a\\b;c,d\ne\r\u{7}f"), "a\\\\b\\;c\\,d\\nef");
    }

    #[test]
    fn folding_keeps_characters_whole_at_every_offset() {
        for shift in 0..4 {
            let line = format!("{}{}", "x".repeat(shift), "教室😀é".repeat(40));
            let mut out = String::new();
            fold(&line, &mut out);
            assert!(out.split_terminator("\r\n").all(|part| part.len() <= 75));
            assert_eq!(out.replace("\r\n ", ""), format!("{line}\r\n"));
        }
        let mut out = String::new();
        fold(&"x".repeat(75), &mut out);
        assert_eq!(out, "x".repeat(75) + "\r\n", "75 octets need no fold");
    }

    #[test]
    fn without_a_wanted_time_there_is_no_entry() {
        let booking = examples::minimal();
        assert_eq!(event(&booking, &text::write(&booking, Language::English), booking.updated_at), None);
    }
}
