//! Fuzz target: decoded pictures.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::media::fuzz::time_code(data));
