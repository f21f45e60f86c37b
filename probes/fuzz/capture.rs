//! Fuzz target: captures read from a file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::media::fuzz::capture(data));
