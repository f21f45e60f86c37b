//! The ear of a call to the room: what comes back is decoded into memory that is locked and wiped, where it
//! stands at the place that its time stamps give it. What was lost, or not sent, is silence there.
//!
//! It has no clock: packets bring the times of their arrival.

use bytes::Bytes;

use super::super::{RATE, buffer::Buffer};
use crate::media::{
    call::{Extender, Hear, HeardPacket, Next, Reorder},
    capture::Nanos,
    codec::{CodecError, SoundDecoder},
};

/// How long a packet waits for those before it.
const PATIENCE: Nanos = 200_000_000;
/// How long a source must have been silent before another is listened to. In a pause of speech packets come
/// every 0.4 s or oftener (RFC 7587 §3.1.3).
const SILENCE: Nanos = 1_000_000_000;
/// A jump of the time stamp beyond this, in samples, is a new stream, not a loss.
const LONGEST_GAP: u32 = 10 * RATE;
/// A packet numbered so far below the newest belongs to a stream that has begun again: 20 s.
const FAR_BELOW: u64 = 1000;
/// Streams in one call; what begins again more often is no call.
const MOST_STREAMS: usize = 64;

/// Sound without a seam: all of it is placed by the same time stamps.
#[derive(Debug)]
struct Piece {
    /// Its first sample in the buffer, and the one after its last; the buffer may end before.
    start: usize,
    end: usize,
    /// The time stamp of what follows.
    expected: u32,
    /// When the sample at place 0 would have arrived by the packet that was fastest: what is later has waited
    /// somewhere.
    origin: Nanos,
}

/// A packet on its way through the reorder buffer.
struct Waiting {
    rtp_time: u32,
    payload: Bytes,
    at: Nanos,
}

/// Hears one call.
pub(super) struct Ear {
    buffer: Buffer,
    decoder: SoundDecoder,
    /// The source that is listened to.
    source: Option<u32>,
    /// Arrival of its latest packet.
    latest: Nanos,
    newest: u64,
    extender: Extender,
    waiting: Reorder<Waiting>,
    pieces: Vec<Piece>,
    /// Whether the next packet begins a new piece.
    begins: bool,
    /// Packets that were decoded, and that could not be.
    pub(super) decoded: u64,
    pub(super) refused: u64,
}

impl Ear {
    /// An ear that hears into `buffer`, of which it uses the part of the microphone.
    pub(super) fn new(buffer: Buffer) -> Result<Self, CodecError> {
        Ok(Self {
            buffer,
            decoder: SoundDecoder::new()?,
            source: None,
            latest: 0,
            newest: 0,
            extender: Extender::default(),
            waiting: Reorder::new(PATIENCE),
            pieces: Vec::new(),
            begins: true,
            decoded: 0,
            refused: 0,
        })
    }

    /// What was heard, and when its first sample arrived; `None` if nothing was. To be asked at the end.
    pub(super) fn heard(&self) -> Option<(&[i16], Nanos)> {
        let (first, last) = (self.pieces.first()?, self.pieces.last()?);
        let samples = self.buffer.microphone();
        Some((&samples[..last.end.min(samples.len())], first.origin))
    }

    /// Another stream begins, whatever its numbers are.
    fn begin(&mut self) {
        self.drain(Nanos::MAX);
        (self.extender, self.waiting, self.newest) = (Extender::default(), Reorder::new(PATIENCE), 0);
        self.begins = true;
    }

    fn drain(&mut self, now: Nanos) {
        while let Some(next) = self.waiting.pop(now) {
            // A gap shows in the time stamps.
            if let Next::Packet(packet) = next {
                self.place(&packet);
            }
        }
    }

    /// Decodes a packet to its place.
    fn place(&mut self, packet: &Waiting) {
        // Of a pause nothing is sent but, at most, how long it is: the decoder would make up noise.
        if packet.payload.len() <= 1 {
            return;
        }
        let Ok(samples) = self.decoder.decode(&packet.payload) else {
            self.refused += 1;
            return;
        };
        self.decoded += 1;
        let (length, begun) = (samples.len(), self.pieces.len());
        let continued = self.pieces.last_mut().filter(|_| !self.begins).and_then(|piece| {
            let gap = packet.rtp_time.wrapping_sub(piece.expected);
            (gap <= LONGEST_GAP).then_some((piece, gap as usize))
        });
        let start = match continued {
            Some((piece, gap)) => {
                let start = piece.end + gap;
                piece.end = start + length;
                piece.expected = packet.rtp_time.wrapping_add(length as u32);
                piece.origin = piece.origin.min(packet.at - nanos(start));
                start
            }
            None if begun < MOST_STREAMS => {
                // For now where it belongs by its arrival; what its fastest packet says is seen at the end.
                let by_arrival = |before: &Piece| before.end.max(samples_in(packet.at - before.origin));
                let start = self.pieces.last().map_or(0, by_arrival);
                let (end, expected) = (start + length, packet.rtp_time.wrapping_add(length as u32));
                self.pieces.push(Piece { start, end, expected, origin: packet.at - nanos(start) });
                self.begins = false;
                start
            }
            None => return,
        };
        let [memory, ..] = self.buffer.parts();
        let places = memory.chunks_exact_mut(2).skip(start);
        for (place, sample) in places.zip(samples) {
            let sample = (sample * 32_768.0).round() as i16;
            place.copy_from_slice(&sample.to_ne_bytes());
        }
        self.decoder.forget_samples();
    }

    /// Moves each piece to where its fastest packet says that it belongs, as that is known now.
    fn settle(&mut self) {
        let Some(origin) = self.pieces.first().map(|piece| piece.origin) else { return };
        let [memory, ..] = self.buffer.parts();
        let most = memory.len() / 2;
        let mut before = 0;
        for piece in &mut self.pieces {
            let early = samples_in(origin - piece.origin).min(piece.start - before);
            let (start, end) = (piece.start.min(most), piece.end.min(most));
            let to = (piece.start - early).min(most);
            memory.copy_within(2 * start..2 * end, 2 * to);
            memory[2 * (to + end - start)..2 * end].fill(0);
            (piece.start, piece.end) = (piece.start - early, piece.end - early);
            before = piece.end;
        }
    }
}

impl Hear for Ear {
    fn take(&mut self, packet: &HeardPacket<'_>) {
        if self.source != Some(packet.ssrc) {
            if self.source.is_some() && packet.at - self.latest < SILENCE {
                // Somebody else beside what we listen to.
                return;
            }
            self.source = Some(packet.ssrc);
            self.begin();
        }
        self.latest = self.latest.max(packet.at);
        let mut sequence = self.extender.extend(packet.sequence);
        if sequence + FAR_BELOW < self.newest {
            self.begin();
            sequence = self.extender.extend(packet.sequence);
        }
        self.newest = self.newest.max(sequence);
        let waiting = Waiting { rtp_time: packet.rtp_time, payload: packet.payload.clone(), at: packet.at };
        self.waiting.push(sequence, packet.at, waiting);
        self.drain(packet.at);
    }

    fn finish(&mut self) {
        self.drain(Nanos::MAX);
        self.settle();
        self.decoder.forget();
    }
}

/// How long so many samples last.
fn nanos(samples: usize) -> Nanos {
    samples as Nanos * 1_000_000_000 / Nanos::from(RATE)
}

/// Samples that are over after so long.
fn samples_in(nanos: Nanos) -> usize {
    usize::try_from(nanos.saturating_mul(Nanos::from(RATE)) / 1_000_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
