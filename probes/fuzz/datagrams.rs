//! Fuzz target: datagrams and what the kernel says beside them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bellwether_probes::media::fuzz::datagrams(data));
