//! Fuzz target: packets of sound.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::media::fuzz::sound(data));
