//! Fuzz target: what a server describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::media::fuzz::descriptions(data));
