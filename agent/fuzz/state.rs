//! Fuzz target: a stored state, torn or from elsewhere, and a history that goes on from it.

#![no_main]

use bellwether_agent::replay::{Replay, SiteFile, printer, read};

/// A fortnight and a half-hour later than the seeds' state; a lesson, an upgrade and a probe that fails.
const GOES_ON: &[u8] = br#"{"ts":1789000000,"labels":{"room":"a"},"values":{"rtt_ms":20,"probe_ok":1,"users":3}}
{"ts":1789000100,"event":"lesson","labels":{"room":"a"},"start":1789000100,"end":1789003000}
{"ts":1789000200,"event":"version_change","labels":{"room":"a","component":"app"},"to":"2"}
{"ts":1789000300,"metric":"users","labels":{"service":"s"},"value":900}
{"ts":1789002100,"labels":{"room":"a"},"values":{"rtt_ms":90,"probe_ok":0}}
{"ts":1789004000,"labels":{"room":"c"},"values":{"rtt_ms":90,"probe_ok":0}}
{"ts":1789090000,"labels":{"room":"a"},"values":{"rtt_ms":20,"probe_ok":1}}
"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let file: SiteFile = serde_json::from_str(
        r#"{
            "metrics": {"rtt_ms": {"worse": "up", "scale": "log", "material": 1.4, "family": "net"}},
            "rooms": [{"id": "a", "building": "b", "service": "s"}, {"id": "c", "building": "b", "service": "s"}]
        }"#,
    )
    .expect("a site file");
    let settings = file.settings(bellwether_agent::Rules::default()).expect("no mistakes");
    if let Ok(mut replay) = Replay::restore(settings, data) {
        let mut out = Vec::new();
        read(&mut &GOES_ON[..], &mut replay, (None, None), true, printer(&mut out, true))
            .expect("it reads from memory");
        replay.finish();
    }
});
