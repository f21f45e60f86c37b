//! Fuzz target: what a box that reflects notes of a call.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::media::fuzz::far_log(data));
