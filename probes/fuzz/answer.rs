//! Fuzz target: what a version source says.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::versions::fuzz(data));
