//! Fuzz target: packets of a picture.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::media::fuzz::pictures(data));
