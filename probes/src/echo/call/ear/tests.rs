#![allow(clippy::unwrap_used, reason = "tests")]

use opus_rs::{Application, OpusEncoder};

use super::*;
use crate::media::{
    codec::{SOUND_FRAME, SoundEncoder},
    signal::sound,
};

const MS: Nanos = 1_000_000;
const PERIOD: Nanos = 20 * MS;
/// What time stamps begin with: they wrap soon.
const STAMP: u32 = u32::MAX - 90_000;
/// The same of numbers.
const NUMBER: u16 = u16::MAX - 50;

/// Packets of some sound.
fn coded(blocks: usize) -> Vec<Bytes> {
    let mut source = sound::Source::new(fastrand::Rng::with_seed(5));
    let mut encoder = SoundEncoder::new(32_000).unwrap();
    let mut samples = [0.0; SOUND_FRAME];
    (0..blocks as u64)
        .map(|block| {
            source.block(block, &mut samples);
            encoder.encode(&samples).unwrap().into()
        })
        .collect()
}

/// A packet of a stream that began at 0.
struct Sent<'a> {
    block: usize,
    payload: &'a Bytes,
    at: Nanos,
}

fn in_time(packets: &[Bytes]) -> Vec<Sent<'_>> {
    let sent = |(block, payload)| Sent { block, payload, at: (block as Nanos + 1) * PERIOD };
    packets.iter().enumerate().map(sent).collect()
}

impl Sent<'_> {
    /// As it comes from a source with numbers and time stamps of its own.
    fn come(&self, ear: &mut Ear, ssrc: u32, number: u16, stamp: u32) {
        ear.take(&HeardPacket {
            ssrc,
            sequence: number.wrapping_add(self.block as u16),
            rtp_time: stamp.wrapping_add((self.block * SOUND_FRAME) as u32),
            payload: self.payload,
            at: self.at,
        });
    }
}

fn ear(seconds: usize) -> Ear {
    Ear::new(Buffer::new(seconds * RATE as usize, 0).unwrap()).unwrap()
}

fn heard(packets: &[Sent<'_>]) -> (Vec<i16>, Nanos) {
    let mut ear = ear(10);
    packets.iter().for_each(|packet| packet.come(&mut ear, 7, NUMBER, STAMP));
    ear.finish();
    let (samples, first) = ear.heard().unwrap();
    (samples.to_vec(), first)
}

fn block(samples: &[i16], block: usize) -> &[i16] {
    &samples[block * SOUND_FRAME..(block + 1) * SOUND_FRAME]
}

/// How much of `found` is `wanted` in its place: 1 is all of it.
fn likeness(found: &[i16], wanted: &[i16]) -> f64 {
    let sum = |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    sum(found, wanted) / (sum(found, found) * sum(wanted, wanted)).sqrt()
}

#[test]
fn all_that_comes_is_there_and_begins_by_the_packet_that_was_fastest() {
    let packets = coded(100);
    let mut sent = in_time(&packets);
    // None waits less than the 43rd; the second waits so long that it comes with the fourth.
    for (block, packet) in sent.iter_mut().enumerate() {
        packet.at += match block {
            43 => 3 * MS,
            1 => 40 * MS,
            _ => (5 + block as Nanos % 7) * MS,
        };
    }
    let (samples, first) = heard(&sent);
    assert_eq!((samples.len(), first), (100 * SOUND_FRAME, 23 * MS));
    let mut decoder = SoundDecoder::new().unwrap();
    for (n, packet) in packets.iter().enumerate() {
        let wanted = decoder.decode(packet).unwrap();
        let close = |(found, wanted): (&i16, &f32)| (f32::from(*found) - wanted * 32_768.0).abs() <= 0.51;
        assert!(block(&samples, n).iter().zip(wanted).all(close), "block {n}");
    }
}

#[test]
fn what_is_lost_is_silence_of_its_length() {
    let packets = coded(200);
    let whole = heard(&in_time(&packets)).0;
    let lost = |block: usize| (50..75).contains(&block) || block == 120;
    let mut sent = in_time(&packets);
    sent.retain(|packet| !lost(packet.block));
    let (samples, first) = heard(&sent);
    assert_eq!((samples.len(), first), (whole.len(), PERIOD));
    for n in 0..200 {
        if lost(n) {
            assert!(block(&samples, n).iter().all(|sample| *sample == 0), "block {n}");
        } else if !lost(n.saturating_sub(1)) && !lost(n.saturating_sub(2)) {
            // The decoder needs a little to come back.
            let alike = likeness(block(&samples, n), block(&whole, n));
            assert!(alike > 0.9, "block {n}: {alike}");
        }
    }
}

#[test]
fn what_comes_in_another_order_or_twice_is_heard_in_its_own() {
    let packets = coded(100);
    let whole = heard(&in_time(&packets)).0;
    let mut sent = in_time(&packets);
    sent.swap(20, 21);
    sent.swap(40, 44);
    sent.insert(60, Sent { block: 58, payload: &packets[58], at: 60 * PERIOD });
    assert_eq!(heard(&sent).0, whole);
}

#[test]
fn a_packet_that_is_later_than_patience_is_not_waited_for() {
    let packets = coded(100);
    let mut sent = in_time(&packets);
    let mut late = sent.remove(30);
    late.at += 400 * MS;
    sent.insert(50, late);
    let (samples, _) = heard(&sent);
    assert_eq!(samples.len(), 100 * SOUND_FRAME);
    assert!(block(&samples, 30).iter().all(|sample| *sample == 0));
    assert!(block(&samples, 31).iter().any(|sample| *sample != 0));
}

#[test]
fn pauses_of_a_sender_that_sends_nothing_then_are_silence_of_their_length() {
    let packets = coded(150);
    let whole = heard(&in_time(&packets)).0;
    let pause = |block: usize| (40..100).contains(&block);
    let word = Bytes::from_static(&[0x08]);
    // One packet every 400 ms says that it goes on; the numbers go on without a gap.
    let mut ear = ear(10);
    let said = in_time(&packets).into_iter().filter(|packet| !pause(packet.block) || packet.block % 20 == 0);
    for (number, packet) in said.enumerate() {
        ear.take(&HeardPacket {
            ssrc: 7,
            sequence: NUMBER.wrapping_add(number as u16),
            rtp_time: STAMP.wrapping_add((packet.block * SOUND_FRAME) as u32),
            payload: if pause(packet.block) { &word } else { packet.payload },
            at: packet.at,
        });
    }
    ear.finish();
    let (samples, first) = ear.heard().unwrap();
    assert_eq!((samples.len(), first), (whole.len(), PERIOD));
    for n in 0..150 {
        if pause(n) {
            assert!(block(samples, n).iter().all(|sample| *sample == 0), "block {n}");
        } else if !(98..103).contains(&n) {
            assert!(likeness(block(samples, n), block(&whole, n)) > 0.9, "block {n}");
        }
    }
}

/// 100 packets, 1.5 s of nothing, and 100 of another stream of which the first is late by 15 ms.
fn begun_again(ssrc: u32, number: u16, stamp: u32) {
    let packets = coded(100);
    let whole = heard(&in_time(&packets)).0;
    let mut ear = ear(10);
    in_time(&packets).iter().for_each(|packet| packet.come(&mut ear, 7, NUMBER, STAMP));
    for mut packet in in_time(&packets) {
        packet.at += 3500 * MS + if packet.block == 0 { 15 * MS } else { 0 };
        packet.come(&mut ear, ssrc, number, stamp);
    }
    ear.finish();
    let (samples, first) = ear.heard().unwrap();
    let again = 175 * SOUND_FRAME;
    assert_eq!((samples.len(), first), (again + whole.len(), PERIOD));
    assert_eq!(samples[..whole.len()], whole);
    assert!(samples[whole.len()..again].iter().all(|sample| *sample == 0));
    for n in 3..100 {
        assert!(likeness(block(&samples[again..], n), block(&whole, n)) > 0.9, "{ssrc} {number} {stamp}: block {n}");
    }
}

#[test]
fn a_stream_that_begins_again_is_placed_by_its_fastest_packet() {
    begun_again(8, NUMBER, STAMP);
    begun_again(8, 1234, 99);
    // The same source, numbered anew: from far above, and from far below.
    begun_again(7, NUMBER.wrapping_add(20_000), 99);
    begun_again(7, NUMBER.wrapping_sub(20_000), 99);
}

#[test]
fn what_another_source_says_meanwhile_is_not_heard() {
    let packets = coded(100);
    let whole = heard(&in_time(&packets)).0;
    let mut ear = ear(10);
    for packet in in_time(&packets) {
        packet.come(&mut ear, 7, NUMBER, STAMP);
        packet.come(&mut ear, 8, 900, 7);
    }
    ear.finish();
    assert_eq!(ear.heard().unwrap().0, whole);
    assert_eq!(ear.decoded, 100);
}

#[test]
fn two_channels_are_as_loud_as_one() {
    let coded = |channels: usize| -> Vec<Bytes> {
        let mut source = sound::Source::new(fastrand::Rng::with_seed(5));
        let mut encoder = OpusEncoder::new(RATE as i32, channels, Application::Audio).unwrap();
        encoder.bitrate_bps = 96_000;
        let mut samples = [0.0; SOUND_FRAME];
        let packet = |block| {
            source.block(block, &mut samples);
            let both: Vec<f32> = samples.iter().flat_map(|sample| vec![*sample; channels]).collect();
            let mut packet = vec![0; 1275];
            let length = encoder.encode(&both, SOUND_FRAME, &mut packet).unwrap();
            Bytes::copy_from_slice(&packet[..length])
        };
        (0..100).map(packet).collect()
    };
    let level = |packets: &[Bytes]| {
        let samples = heard(&in_time(packets)).0;
        10.0 * samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>().log10()
    };
    let (one, two) = (level(&coded(1)), level(&coded(2)));
    assert!((one - two).abs() < 0.3, "{one} and {two} dB");
}

#[test]
fn what_is_no_opus_is_silence_and_the_rest_stays_in_its_place() {
    let packets = coded(150);
    let whole = heard(&in_time(&packets)).0;
    let mut random = fastrand::Rng::with_seed(1);
    // Code 3 with no frames at all is refused whatever follows (RFC 6716 §3.4, requirement 5).
    let mut garbage = vec![Bytes::new(), Bytes::from_static(&[0xfb]), Bytes::from_static(&[0xfb, 0x00, 1, 2])];
    garbage.extend((0..57).map(|length| {
        let mut bytes = vec![0xff, 0x00];
        bytes.extend((0..length).map(|_| random.u8(..)));
        bytes.into()
    }));
    let mut sent = in_time(&packets);
    for (packet, garbage) in sent[40..].iter_mut().zip(&garbage) {
        packet.payload = garbage;
    }
    let (samples, first) = heard(&sent);
    assert_eq!((samples.len(), first), (whole.len(), PERIOD));
    for n in (0..150).filter(|n| !(100..103).contains(n)) {
        if (40..100).contains(&n) {
            assert!(block(&samples, n).iter().all(|sample| *sample == 0), "block {n}");
        } else {
            assert!(likeness(block(&samples, n), block(&whole, n)) > 0.9, "block {n}");
        }
    }
}

#[test]
fn bytes_of_chance_harm_nothing() {
    let mut random = fastrand::Rng::with_seed(2);
    let packets: Vec<Bytes> =
        (0..2000).map(|_| (0..random.usize(..200)).map(|_| random.u8(..)).collect::<Vec<u8>>().into()).collect();
    let mut ear = ear(1);
    for packet in in_time(&packets) {
        ear.take(&HeardPacket {
            ssrc: random.u32(..3),
            sequence: random.u16(..),
            rtp_time: random.u32(..),
            payload: packet.payload,
            at: packet.at * 100,
        });
    }
    ear.finish();
    assert!(ear.pieces.len() <= MOST_STREAMS);
    assert!(ear.heard().is_none_or(|(samples, _)| samples.len() <= RATE as usize));
}

#[test]
fn no_more_is_heard_than_there_is_room_for() {
    let packets = coded(100);
    let mut ear = ear(1);
    in_time(&packets).iter().for_each(|packet| packet.come(&mut ear, 7, NUMBER, STAMP));
    ear.finish();
    let (samples, first) = ear.heard().unwrap();
    assert_eq!((samples.len(), first), (RATE as usize, PERIOD));
    assert_eq!(samples, &heard(&in_time(&packets)).0[..RATE as usize]);
}

#[test]
fn an_ear_that_heard_nothing_says_so() {
    let mut ear = ear(1);
    ear.finish();
    assert_eq!(ear.heard(), None);
    let refused = Bytes::from_static(&[0xff, 0x00, 1]);
    Sent { block: 0, payload: &refused, at: 0 }.come(&mut ear, 7, NUMBER, STAMP);
    ear.finish();
    assert_eq!((ear.heard(), ear.decoded, ear.refused), (None, 0, 1));
}
