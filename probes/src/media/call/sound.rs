//! Sound that came back: decoded, and searched for markers.

use crate::media::{
    capture::{HeardMarker, Nanos},
    codec::{CodecError, LOOK_AHEAD, SAMPLE_RATE, SoundDecoder},
    signal::finder::{Finder, Found},
};

/// Position of the first sample that is heard: there is room below for sound that belongs before.
const FIRST: u64 = SAMPLE_RATE as u64;
/// A jump of the time stamp beyond this, in samples, is a new stream, not a loss.
const LONGEST_GAP: u64 = 10 * SAMPLE_RATE as u64;

/// Precision of a marker's place, generously: 1 ms, in samples.
const HAIR: f64 = SAMPLE_RATE as f64 / 1000.0;

/// Some samples, and when the packet that carried them arrived.
#[derive(Debug)]
struct Piece {
    start: u64,
    end: u64,
    rtp_time: u32,
    at: Nanos,
}

/// Decodes packets in order and finds the markers.
pub(super) struct Ear {
    decoder: SoundDecoder,
    finder: Finder,
    pieces: Vec<Piece>,
    /// Time stamp and position at which the next packet is expected.
    expected: Option<(u32, u64)>,
}

impl Ear {
    /// An ear that has heard nothing yet.
    pub(super) fn new() -> Result<Self, CodecError> {
        Ok(Self { decoder: SoundDecoder::new()?, finder: Finder::new(), pieces: Vec::new(), expected: None })
    }

    /// Decodes the next packet, which arrived at `at`; the markers that are now certain.
    pub(super) fn hear(&mut self, payload: &[u8], rtp_time: u32, at: Nanos) -> Result<Vec<HeardMarker>, CodecError> {
        let (expected, position) = self.expected.unwrap_or((rtp_time, FIRST));
        let gap = u64::from(rtp_time.wrapping_sub(expected));
        // What was lost stays silent: concealment would only sound like a marker that is not there.
        let start = if gap > LONGEST_GAP { position } else { position + gap };
        let samples = self.decoder.decode(payload)?;
        let end = start + samples.len() as u64;
        let found = self.finder.push(start, samples);
        self.expected = Some((rtp_time.wrapping_add(samples.len() as u32), end));
        self.pieces.push(Piece { start, end, rtp_time, at });
        Ok(self.place(&found))
    }

    /// The markers that were not certain before the end.
    pub(super) fn finish(&mut self) -> Vec<HeardMarker> {
        let found = self.finder.finish();
        self.place(&found)
    }

    /// Tells when each began to arrive. Decoded sound lags by the look-ahead: what stands at a
    /// position was carried that much earlier.
    fn place(&self, found: &[Found]) -> Vec<HeardMarker> {
        let place = |found: &Found| {
            let position = found.position - f64::from(LOOK_AHEAD);
            // A marker that begins with a packet is often placed a hair before it: it came with that
            // packet, and not with the one before, which may have been late by something else.
            let piece = self.pieces.iter().rev().find(|piece| piece.start as f64 <= position + HAIR)?;
            let inside = position < piece.end as f64;
            let samples = position - piece.start as f64;
            let at = piece.at + (samples / f64::from(SAMPLE_RATE) * 1e9).round() as Nanos;
            let rtp_time = Some(piece.rtp_time.wrapping_add_signed(samples.round() as i32));
            inside.then_some(HeardMarker { up: found.up, at, margin_db: found.margin_db, rtp_time })
        };
        found.iter().filter_map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::media::{
        codec::{SOUND_FRAME, SoundEncoder},
        signal::sound,
    };

    /// Markers heard when packets arrive `delay` after their last sample, without those of `lost`.
    fn heard(delay: Nanos, lost: impl Fn(u64) -> bool) -> Vec<HeardMarker> {
        heard_of(SoundEncoder::new(32_000).unwrap(), delay, lost)
    }

    fn heard_of(mut encoder: SoundEncoder, delay: Nanos, lost: impl Fn(u64) -> bool) -> Vec<HeardMarker> {
        let mut source = sound::Source::new(fastrand::Rng::with_seed(3));
        let mut ear = Ear::new().unwrap();
        let mut samples = [0.0; SOUND_FRAME];
        let mut heard = Vec::new();
        for block in 0..250 {
            source.block(block, &mut samples);
            let packet = encoder.encode(&samples).unwrap();
            if !lost(block) {
                let at = (block as Nanos + 1) * 20_000_000 + delay;
                heard.extend(ear.hear(&packet, (block as u32 * 960).wrapping_add(u32::MAX - 9000), at).unwrap());
            }
        }
        heard.extend(ear.finish());
        heard
    }

    #[test]
    fn a_marker_arrives_one_packet_after_it_was_made_plus_the_path_in_a_light_call_as_well() {
        let light = SoundEncoder::light(24_000).unwrap();
        for heard in [heard(7_000_000, |_| false), heard_of(light, 7_000_000, |_| false)] {
            assert_eq!(heard.len(), 5, "{heard:?}");
            for (second, marker) in heard.iter().enumerate() {
                let delay = marker.at - second as Nanos * 1_000_000_000;
                assert!((delay - 27_000_000).abs() < 200_000, "marker {second}: {delay} ns");
                assert_eq!(marker.up, sound::is_up(second as u64));
                assert!(marker.margin_db >= 6.0);
                // The first sample of the first packet stands for u32::MAX - 9000 and the first marker.
                let place = marker.rtp_time.unwrap().wrapping_sub(second as u32 * SAMPLE_RATE);
                assert!(place.wrapping_sub(u32::MAX - 9000).wrapping_add(8) < 16, "marker {second}: {place}");
            }
        }
    }

    #[test]
    fn a_late_packet_before_a_marker_does_not_move_it() {
        let mut source = sound::Source::new(fastrand::Rng::with_seed(3));
        let mut encoder = SoundEncoder::new(32_000).unwrap();
        let mut ear = Ear::new().unwrap();
        let mut samples = [0.0; SOUND_FRAME];
        let mut heard = Vec::new();
        for block in 0..250_u32 {
            source.block(u64::from(block), &mut samples);
            let packet = encoder.encode(&samples).unwrap();
            let late = if block % 50 == 49 { 15_000_000 } else { 0 };
            heard.extend(ear.hear(&packet, block * 960, (Nanos::from(block) + 1) * 20_000_000 + late).unwrap());
        }
        heard.extend(ear.finish());
        assert_eq!(heard.len(), 5, "{heard:?}");
        for (second, marker) in heard.iter().enumerate() {
            let delay = marker.at - second as Nanos * 1_000_000_000;
            assert!((delay - 20_000_000).abs() < 200_000, "marker {second}: {delay} ns");
        }
    }

    #[test]
    fn lost_packets_leave_the_markers_in_place() {
        let heard = heard(0, |block| block % 10 == 7 || (60..70).contains(&block));
        assert_eq!(heard.len(), 5, "{heard:?}");
        for (second, marker) in heard.iter().enumerate() {
            let delay = marker.at - second as Nanos * 1_000_000_000;
            assert!((delay - 20_000_000).abs() < 200_000, "marker {second}: {delay} ns");
        }
    }
}
