//! An order onto the entry as it stands at the vendor's, without overwriting what the vendor has set. Pure.
//!
//! | | an update | an update of a new decision of the school | a cancellation |
//! |---|---|---|---|
//! | time | ours, unless the vendor has moved or answered it | ours | stays |
//! | STATUS | ours, unless the vendor has set another | ours | CANCELLED |
//! | answers of those invited, marks | stay | are asked for again | stay |
//! | title, place, description | ours, with the vendor's notes | the same | the same |
//! | everything else | stays | stays | stays |
//!
//! SEQUENCE rises with every other time and with a cancellation (RFC 5546, 2.1.4).

use chrono::{DateTime, Utc};

use super::{
    entry::{ASKED, BOOKING, Entry, KEY, OP, ROOM, STATUS, TURN},
    object::{Object, unescaped},
    words,
};
use crate::{
    booking::ical::{escaped, instant},
    channel::Standing,
};

/// What says when an entry is, and whether that time is taken.
const TIMES: [&str; 4] = ["DTSTART", "DTEND", "DURATION", "TRANSP"];
/// What is ours alone.
const OURS: [&str; 7] = [KEY, OP, ASKED, STATUS, TURN, ROOM, BOOKING];

/// The entry `theirs` after our order `ours`, at `now`.
pub(super) fn merged(mut object: Object, ours: &Object, now: DateTime<Utc>) -> Object {
    let (theirs, order) = (Entry::read(&object), Entry::read(ours));
    let is_cancel = order.status == "CANCELLED";
    let is_agreed = order.status == "CONFIRMED" && order.asked != theirs.asked;
    let is_new = order.turn > theirs.turn || is_agreed && theirs.standing() != Standing::Refused;
    let keeps_time = is_cancel || !is_new && (theirs.has_their_time() || theirs.is_answered());
    let keeps_status = !is_cancel && !is_new && theirs.has_their_status();

    let is_moved = !keeps_time && theirs.when != order.when;
    let is_ended = is_cancel && theirs.status != "CANCELLED";
    if is_moved || is_ended {
        let sequence = theirs.sequence.saturating_add(1).max(order.sequence);
        object.set("SEQUENCE", &[format!("SEQUENCE:{sequence}")]);
    }
    if is_moved {
        for name in TIMES {
            object.set(name, &ours.lines(name));
        }
    }
    if !keeps_status {
        object.set("STATUS", &ours.lines("STATUS"));
    }
    if is_new {
        let attendees: Vec<String> = object.lines("ATTENDEE").iter().map(|line| asked_again(line)).collect();
        object.set("ATTENDEE", &attendees);
        let kept: Vec<String> = object.lines("CATEGORIES").into_iter().filter(|line| !is_mark(line)).collect();
        object.set("CATEGORIES", &kept);
    }
    let text = |object: &Object, name: &str| unescaped(&object.value(name).unwrap_or_default());
    let theirs_title = text(&object, "SUMMARY");
    let marks = words::marks(&theirs_title).into_iter().filter(|_| !is_new).map(|(_, mark)| mark);
    let title = marks.chain([&text(ours, "SUMMARY")[..]]).collect::<Vec<_>>().join(" ");
    object.set("SUMMARY", &[format!("SUMMARY:{}", escaped(&title))]);

    let theirs_text = text(&object, "DESCRIPTION");
    // Whoever wrote the whole text anew meant it for us.
    let notes = words::notes(&theirs_text).unwrap_or(&theirs_text);
    let description = words::with_notes(&text(ours, "DESCRIPTION"), notes);
    object.set("DESCRIPTION", &[format!("DESCRIPTION:{}", escaped(&description))]);
    object.set("X-ALT-DESC", &[]);
    if ours.value("LOCATION").is_some() {
        object.set("LOCATION", &ours.lines("LOCATION"));
    }
    for name in ["DTSTAMP", "LAST-MODIFIED"] {
        object.set(name, &[format!("{name}:{}", instant(now))]);
    }
    for name in OURS {
        object.set(name, &ours.lines(name));
    }
    object
}

/// An invitation that has yet to be answered.
fn asked_again(line: &str) -> String {
    const ANSWER: &str = ";PARTSTAT=";
    let Some(start) = line.to_ascii_uppercase().find(ANSWER).map(|at| at + ANSWER.len()) else {
        return line.to_owned();
    };
    let (before, rest) = line.split_at(start);
    let end = rest.find([';', ':']).unwrap_or(rest.len());
    format!("{before}NEEDS-ACTION{}", rest.get(end..).unwrap_or_default())
}

fn is_mark(line: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(_, value)| super::object::listed(value).iter().any(|word| words::mark(word).is_some()))
}
