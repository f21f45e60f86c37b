//! Fuzz target: what a media server and its exporters answer a `load` probe.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::load::fuzz(data));
