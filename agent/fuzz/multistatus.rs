//! Fuzz target: a calendar server's XML.

#![no_main]

use bellwether_agent::channel::caldav::multistatus::{MAX_RESPONSES, read};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(found) = read(data) {
        assert!(found.responses.len() <= MAX_RESPONSES);
        assert!(found.responses.iter().all(|response| response.href.len() <= data.len()));
        assert!(found.error().is_none_or(|status| (400..=599).contains(&status)));
        // What it complains of stands in the text.
        let text = String::from_utf8_lossy(data);
        assert!(found.conditions.iter().all(|condition| text.contains(condition.as_str())));
    }
});
