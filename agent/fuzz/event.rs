//! Fuzz target: an entry of a vendor's calendar.

#![no_main]

use bellwether_agent::channel::{
    Standing,
    caldav::{entry::Entry, object::Object},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(mut object) = Object::read(data) else { return };
    let written = object.write();
    // What is not set stays as it came, but for the end of the last line.
    let text = data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data);
    assert!(written.starts_with(text) && written.len() <= text.len() + 2);
    let entry = Entry::read(&object);
    if let Ok(remote) = entry.remote("/calendar/a.ics") {
        assert!(remote.window.is_none_or(|window| window.start < window.end));
        assert!(remote.note.is_none_or(|note| !note.is_empty() && note.chars().count() <= 300 && !note.contains('\n')));
        assert_ne!(remote.standing, Standing::Missing);
    }
    // What is set is read again, and nothing else has changed.
    let others = object.lines("COMMENT");
    object.set("X-OURS", &["X-OURS:教室".to_owned()]);
    let again = Object::read(&object.write()).expect("it is still an object");
    assert_eq!(again.value("X-OURS").as_deref(), Some("教室"));
    assert_eq!(again.lines("COMMENT"), others);
});
