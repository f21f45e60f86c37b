//! Doors for the fuzz targets in `probes/fuzz`: each takes bytes as an outsider could send them, and
//! panics where one of our readers does, or breaks a promise.

#![expect(clippy::panic, reason = "a broken promise is to end the fuzzer")]

use super::{
    h264::{Assembled, Assembler, MOST_BYTES},
    reorder::{Extender, Next, Reorder},
    sound::Ear,
};
use crate::media::{analysis::analyse, capture::Capture, far_log, rendezvous, signal::picture, socket};

/// What a far end sends as one packet, read from the front of `data`.
struct Sent<'a> {
    sequence: u16,
    rtp_time: u32,
    last: bool,
    payload: &'a [u8],
}

fn packets(mut data: &[u8]) -> impl Iterator<Item = Sent<'_>> {
    std::iter::from_fn(move || {
        let (&[high, low, time, length], rest) = data.split_first_chunk::<4>()?;
        let (payload, rest) = rest.split_at(usize::from(length & 0x7F).min(rest.len()));
        data = rest;
        let sequence = u16::from_be_bytes([high, low]);
        Some(Sent { sequence, rtp_time: u32::from(time) << 24, last: length & 0x80 != 0, payload })
    })
}

/// Packets of a picture: put in order, and together to access units.
pub fn pictures(data: &[u8]) {
    let mut extender = Extender::default();
    let mut buffer = Reorder::new(5);
    let mut assembler = Assembler::new();
    let mut newest = None;
    for (now, packet) in (0..).zip(packets(data)) {
        let sequence = extender.extend(packet.sequence);
        buffer.push(sequence, now, (sequence, packet));
        while let Some(next) = buffer.pop(now) {
            let Next::Packet((sequence, Sent { rtp_time, last, payload, .. })) = next else {
                assembler.gap();
                continue;
            };
            assert!(newest.replace(sequence).is_none_or(|newest| newest < sequence), "out of order");
            if let Assembled::Whole(unit) = assembler.push(payload, rtp_time, last) {
                assert!(unit.bytes.len() <= 2 * MOST_BYTES, "an endless access unit");
            }
        }
    }
}

/// Packets of sound: decoded, and searched for markers.
pub fn sound(data: &[u8]) {
    let Ok(mut ear) = Ear::new() else { panic!("no decoder") };
    for (at, packet) in (0..).zip(packets(data)) {
        // What cannot be decoded is an error, and no more.
        let _ = ear.hear(packet.payload, packet.rtp_time, at * 20_000_000);
    }
    ear.finish();
}

/// Decoded pictures: one of any size, and one whose cells hold the bytes.
pub fn time_code(data: &[u8]) {
    let Some((&[width, height, beyond], luma)) = data.split_first_chunk::<3>() else { return };
    let width = usize::from(width) * 8;
    let _ = picture::read(luma, width, usize::from(height), width + usize::from(beyond));
    // Two rows of forty cells above, and below.
    let cell = |row: usize, column: usize| luma.get(row * 40 + column / 16).copied().unwrap_or_default();
    let rows = |y: usize| (y < 32).then_some(y / 16).or((y >= 328).then(|| 2 + (y - 328) / 16));
    let pixels = (0..360).flat_map(|y| (0..640).map(move |x| rows(y).map_or(128, |row| cell(row, x))));
    if let Some(read) = picture::read(&pixels.collect::<Vec<u8>>(), 640, 360, 640) {
        assert!(read.code.stream < 64, "a stream beyond six bits");
    }
}

/// Datagrams, and what the kernel says beside them.
pub fn datagrams(data: &[u8]) {
    socket::fuzz(data);
}

/// Descriptions and heads of a server.
pub fn descriptions(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        rendezvous::fuzz(text);
    }
}

/// What a box that reflects notes of a call.
pub fn far_log(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        far_log::fuzz(text);
    }
}

/// A capture from a file, analysed.
pub fn capture(data: &[u8]) {
    let Ok(capture) = serde_json::from_slice::<Capture>(data) else { return };
    let mut run = crate::ProbeRun::new("fuzz", capture.started_at);
    analyse(&capture, &mut run);
    for reading in &run.readings {
        assert!(reading.value.is_finite(), "{} is not finite", reading.metric);
    }
}
