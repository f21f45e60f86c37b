//! Fuzz target: a recorded history, and what is said of it, also when the state was stored half-way.

#![no_main]

use bellwether_agent::{
    judge::engine::settings::Settings,
    replay::{Replay, SiteFile, printer, read, write},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let settings = settings();
    let mut whole = Vec::new();
    let mut replay = Replay::new(settings.clone());
    // Bad lines are counted, so that what comes after them is read as well.
    read(&mut &data[..], &mut replay, (None, None), true, printer(&mut whole, true)).expect("it reads from memory");
    let stored = replay.stored();
    assert!(stored.len() < 64 << 20, "the state of {} bytes takes {}", data.len(), stored.len());
    let mut restored = Replay::restore(settings, &stored).expect("what was just stored");
    replay.finish();
    restored.finish();
    for action in replay.take_actions() {
        write(&mut whole, &action).expect("it writes to memory");
    }
    for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        serde_json::from_slice::<serde_json::Value>(line).expect("each line is one JSON object");
    }
});

fn settings() -> Settings {
    let file: SiteFile = serde_json::from_str(
        r#"{
            "site": {"timezone": "Europe/Berlin"},
            "metrics": {
                "rtt_ms": {"worse": "up", "scale": "log", "material": 1.4, "family": "net", "limit": 100},
                "loss_pct": {"worse": "up", "scale": "linear", "material": 1, "family": "net", "critical_limit": 20},
                "sharpness": {"worse": "down", "scale": "linear", "material": 8, "family": "video", "heavy": true},
                "skew": {"worse": "away_from_zero", "scale": "linear", "material": 0.04, "family": "sync"}
            },
            "rooms": [
                {"id": "a", "building": "b", "service": "s"}, {"id": "c", "building": "b", "service": "s"},
                {"id": "d", "building": "e", "service": "s"}
            ]
        }"#,
    )
    .expect("a site file");
    file.settings(bellwether_agent::Rules::default()).expect("no mistakes")
}
