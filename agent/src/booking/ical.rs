//! A booking as one calendar entry (RFC 5545).

use chrono::{DateTime, Utc};

use super::{Booking, State, text::Text};

/// Longest line in octets, its end not counted (RFC 5545, 3.1).
const LINE: usize = 75;

/// A calendar with the booking's first wanted window as its one tentative entry; `None` if nothing is
/// wanted. `stamp` is when the order was planned: the same order gives the same bytes.
pub fn event(booking: &Booking, text: &Text, stamp: DateTime<Utc>) -> Option<String> {
    let window = booking.wanted.first()?;
    let time = |at: DateTime<Utc>| at.format("%Y%m%dT%H%M%SZ").to_string();
    let status = if booking.state == State::Cancelled { "CANCELLED" } else { "TENTATIVE" };
    let mut out = String::new();
    let mut put = |name: &str, value: &str| fold(&format!("{name}:{value}"), &mut out);
    put("BEGIN", "VCALENDAR");
    put("VERSION", "2.0");
    put("PRODID", "-//bellwether//bellwether//EN");
    put("BEGIN", "VEVENT");
    put("UID", &booking.key);
    put("SEQUENCE", &booking.op_seq.to_string());
    put("DTSTAMP", &time(stamp));
    put("DTSTART", &time(window.start));
    put("DTEND", &time(window.end));
    put("SUMMARY", &escaped(&text.subject));
    if !booking.room.name.is_empty() {
        put("LOCATION", &escaped(&booking.room.name));
    }
    put("DESCRIPTION", &escaped(&text.body));
    put("STATUS", status);
    put("END", "VEVENT");
    put("END", "VCALENDAR");
    Some(out)
}

/// A value of type TEXT (RFC 5545, 3.3.11).
fn escaped(text: &str) -> String {
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
fn fold(line: &str, out: &mut String) {
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
