#![allow(clippy::unwrap_used, reason = "tests")]

use std::ptr;

use super::*;
use crate::media::signal::{picture, sound};

/// libopus itself, translated: a second opinion on `opus-rs`.
struct Reference {
    encoder: *mut unsafe_libopus::OpusEncoder,
    decoder: *mut unsafe_libopus::OpusDecoder,
}

#[expect(unsafe_code, reason = "the translation keeps the C interface")]
impl Reference {
    fn new() -> Self {
        let rate = SAMPLE_RATE as i32;
        // SAFETY: no error is asked for, and the results are checked.
        let (encoder, decoder) = unsafe {
            let voip = unsafe_libopus::OPUS_APPLICATION_VOIP;
            (
                unsafe_libopus::opus_encoder_create(rate, 1, voip, ptr::null_mut()),
                unsafe_libopus::opus_decoder_create(rate, 1, ptr::null_mut()),
            )
        };
        assert!(!encoder.is_null() && !decoder.is_null());
        Self { encoder, decoder }
    }

    fn look_ahead(&self) -> i32 {
        let mut samples = 0;
        let request = unsafe_libopus::OPUS_GET_LOOKAHEAD_REQUEST;
        // SAFETY: the encoder is valid, and the request takes one pointer to an integer.
        let result = unsafe { unsafe_libopus::opus_encoder_ctl!(self.encoder, request, &mut samples) };
        assert_eq!(result, 0);
        samples
    }

    fn encode(&mut self, samples: &[f32; SOUND_FRAME]) -> Vec<u8> {
        let mut packet = vec![0; MOST_BYTES];
        // SAFETY: the encoder is valid, and both buffers are as long as said.
        let length = unsafe {
            unsafe_libopus::opus_encode_float(
                self.encoder,
                samples.as_ptr(),
                SOUND_FRAME as i32,
                packet.as_mut_ptr(),
                MOST_BYTES as i32,
            )
        };
        packet.truncate(usize::try_from(length).unwrap());
        packet
    }

    fn decode(&mut self, packet: &[u8]) -> Vec<f32> {
        let mut samples = vec![0.0; SOUND_FRAME];
        // SAFETY: the decoder is valid, and both buffers are as long as said.
        let count = unsafe {
            unsafe_libopus::opus_decode_float(
                &mut *self.decoder,
                packet.as_ptr(),
                packet.len() as i32,
                samples.as_mut_ptr(),
                SOUND_FRAME as i32,
                0,
            )
        };
        assert_eq!(count, SOUND_FRAME as i32);
        samples
    }
}

#[expect(unsafe_code, reason = "the translation keeps the C interface")]
impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: both were created by the functions that these undo.
        unsafe {
            unsafe_libopus::opus_encoder_destroy(self.encoder);
            unsafe_libopus::opus_decoder_destroy(self.decoder);
        }
    }
}

/// Two seconds of the test sound.
fn frames() -> Vec<[f32; SOUND_FRAME]> {
    let mut source = sound::Source::new(fastrand::Rng::with_seed(5));
    let mut samples = [0.0; SOUND_FRAME];
    (0..100)
        .map(|block| {
            source.block(block, &mut samples);
            samples
        })
        .collect()
}

/// Ratio of `a` to its difference from `b`, in decibels.
fn likeness(a: &[f32], b: &[f32]) -> f64 {
    let power = |samples: &mut dyn Iterator<Item = f32>| samples.map(|x| f64::from(x) * f64::from(x)).sum::<f64>();
    let difference = power(&mut a.iter().zip(b).map(|(a, b)| a - b));
    10.0 * (power(&mut a.iter().copied()) / difference.max(1e-12)).log10()
}

/// How far `heard` lags behind `said`, in samples: where they agree best.
fn lag(said: &[f32], heard: &[f32]) -> usize {
    let agreement = |lag: usize| said.iter().zip(&heard[lag..]).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    (0..SOUND_FRAME).max_by(|a, b| agreement(*a).total_cmp(&agreement(*b))).unwrap()
}

#[test]
fn both_implementations_of_opus_understand_each_other_alike() {
    let frames = frames();
    let mut ours = SoundEncoder::new(32_000).unwrap();
    let mut theirs = Reference::new();
    let by_us: Vec<Vec<u8>> = frames.iter().map(|frame| ours.encode(frame).unwrap()).collect();
    let by_them: Vec<Vec<u8>> = frames.iter().map(|frame| theirs.encode(frame)).collect();
    for (what, packets) in [("ours", by_us), ("theirs", by_them)] {
        let mut decoder = SoundDecoder::new().unwrap();
        let mut reference = Reference::new();
        let heard: Vec<f32> = packets.iter().flat_map(|packet| decoder.decode(packet).unwrap().to_vec()).collect();
        let expected: Vec<f32> = packets.iter().flat_map(|packet| reference.decode(packet)).collect();
        let likeness = likeness(&expected, &heard);
        assert!(likeness > 30.0, "{what}: decoders differ, {likeness:.1} dB");
        let lag = lag(frames.as_flattened(), &heard);
        assert!(lag.abs_diff(LOOK_AHEAD as usize) <= 2, "{what}: lag {lag}");
    }
    assert_eq!(theirs.look_ahead(), LOOK_AHEAD as i32);
}

#[test]
fn every_sound_packet_differs_from_every_other() {
    let mut encoder = SoundEncoder::new(32_000).unwrap();
    let packets: std::collections::HashSet<Vec<u8>> =
        frames().iter().map(|frame| encoder.encode(frame).unwrap()).collect();
    assert_eq!(packets.len(), 100);
    let bytes: usize = packets.iter().map(Vec::len).sum();
    assert!((4000..12_000).contains(&bytes), "{bytes} bytes in 2 s at 32 kbit/s");
}

#[test]
fn each_picture_comes_out_when_it_went_in_and_garbage_is_an_error() {
    let source = picture::Source::new(320, 192, 1);
    let mut encoder = PictureEncoder::new(300_000, 30.0).unwrap();
    let mut decoder = PictureDecoder::new().unwrap();
    let mut picture = Picture::new(320, 192);
    let mut bytes = 0;
    for counter in 0..90_u64 {
        let code = picture::TimeCode::new(counter, counter * 33_333, 7);
        let [blue, red] = &mut picture.chroma;
        source.draw(code, &mut picture.luma, [blue, red]);
        let unit = encoder.encode(&picture, counter * 33, counter % 30 == 10).unwrap();
        assert!(!unit.is_empty(), "picture {counter} was skipped");
        bytes += unit.len();
        let read = decoder.decode(&unit, |luma| picture::read(luma.pixels, luma.width, luma.height, luma.stride));
        assert_eq!(read.unwrap().flatten().map(|read| read.code), Some(code));
    }
    let rate = bytes as f64 * 8.0 / 3.0;
    assert!((150e3..450e3).contains(&rate), "{rate} bit/s");
    assert!(!matches!(decoder.decode(&[0, 0, 0, 1, 0x65, 1, 2, 3, 4, 5, 6], |_| ()), Ok(Some(()))));
}

#[test]
fn of_the_test_sound_no_packet_is_like_another() {
    for mut encoder in [
        SoundEncoder::new(32_000).unwrap(),
        SoundEncoder::new(12_000).unwrap(),
        SoundEncoder::light(24_000).unwrap(),
        SoundEncoder::light(32_000).unwrap(),
    ] {
        let mut source = sound::Source::new(fastrand::Rng::with_seed(9));
        let mut samples = [0.0; SOUND_FRAME];
        let mut packets = std::collections::HashSet::new();
        for block in 0..60 * 50 {
            source.block(block, &mut samples);
            assert!(packets.insert(encoder.encode(&samples).unwrap()), "packet {block}");
        }
    }
}
