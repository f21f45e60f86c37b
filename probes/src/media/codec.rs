//! Opus and H.264, in and out.

use std::hint::black_box;

use openh264::{
    OpenH264API, Timestamp,
    decoder::{Decoder, DecoderConfig, Flush},
    encoder::{
        BitRate, Complexity, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, Profile, RateControlMode, UsageType,
    },
    formats::{YUVSlices, YUVSource as _},
};
use opus_rs::{Application, OpusDecoder, OpusEncoder};

/// Samples per second of all sound here.
pub(crate) const SAMPLE_RATE: u32 = 48_000;
/// Samples of one Opus frame: 20 ms.
pub(crate) const SOUND_FRAME: usize = 960;
/// What decoded sound lags behind its source, in samples: 2.5 ms of overlap and 4 ms of delay
/// compensation. `OPUS_GET_LOOKAHEAD` of libopus (`src/opus_encoder.c`: Fs/400 + Fs/250) for every
/// application but the restricted low-delay one; `opus-rs` does not tell it.
pub(crate) const LOOK_AHEAD: u32 = SAMPLE_RATE / 400 + SAMPLE_RATE / 250;

/// The largest Opus packet of one frame (RFC 6716 §3.2.1).
const MOST_BYTES: usize = 1275;
/// Effort of the sound encoder, 0 to 10; what more would buy no marker needs.
const COMPLEXITY: i32 = 5;
/// The same for a light call: no search for the pitch, which is a quarter of the encoder's time.
const LIGHT_COMPLEXITY: i32 = 2;
/// Loss the encoder is told to expect: without any, it adds no in-band repair data. (The data is
/// there for the sake of traffic like a lesson's; what `opus-rs` 0.1.40 puts into it is so much too
/// loud that nothing here listens to it.)
const EXPECTED_LOSS_PERCENT: i32 = 5;

/// A codec refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// Opus, with its own word for it.
    #[error("opus: {0}")]
    Opus(&'static str),
    /// H.264.
    #[error("h264")]
    H264(#[from] openh264::Error),
}

/// Encodes mono sound: voice mode, in-band repair on, and never silent (no discontinuous
/// transmission), as each packet must be told from all others.
pub(crate) struct SoundEncoder(Box<OpusEncoder>);

impl SoundEncoder {
    /// An encoder of `bits_per_second`.
    pub(crate) fn new(bits_per_second: u32) -> Result<Self, CodecError> {
        let mut encoder = OpusEncoder::new(SAMPLE_RATE as i32, 1, Application::Voip).map_err(CodecError::Opus)?;
        encoder.bitrate_bps = i32::try_from(bits_per_second).unwrap_or(i32::MAX);
        encoder.complexity = COMPLEXITY;
        encoder.use_inband_fec = true;
        encoder.packet_loss_perc = EXPECTED_LOSS_PERCENT;
        Ok(Self(Box::new(encoder)))
    }

    /// An encoder for a light call, of at least 24 kbit/s: every packet is as long as the bit rate says, where
    /// at a variable one the test sound takes half as much again. It is not in voice mode, of which
    /// `opus-rs` 0.1.40 cuts off what does not fit, and takes a third of its time.
    pub(crate) fn light(bits_per_second: u32) -> Result<Self, CodecError> {
        let mut encoder = OpusEncoder::new(SAMPLE_RATE as i32, 1, Application::Audio).map_err(CodecError::Opus)?;
        encoder.bitrate_bps = i32::try_from(bits_per_second).unwrap_or(i32::MAX);
        encoder.complexity = LIGHT_COMPLEXITY;
        encoder.use_cbr = true;
        Ok(Self(Box::new(encoder)))
    }

    /// Encodes one frame.
    pub(crate) fn encode(&mut self, samples: &[f32; SOUND_FRAME]) -> Result<Vec<u8>, CodecError> {
        let mut packet = vec![0; MOST_BYTES];
        let length = self.0.encode(samples, SOUND_FRAME, &mut packet).map_err(CodecError::Opus)?;
        packet.truncate(length);
        Ok(packet)
    }
}

/// Decodes mono sound.
pub(crate) struct SoundDecoder {
    decoder: Box<OpusDecoder>,
    /// Room for the longest packet: 120 ms.
    samples: Vec<f32>,
}

impl SoundDecoder {
    /// A decoder that has heard nothing yet.
    pub(crate) fn new() -> Result<Self, CodecError> {
        let decoder = OpusDecoder::new(SAMPLE_RATE as i32, 1).map_err(CodecError::Opus)?;
        Ok(Self { decoder: Box::new(decoder), samples: vec![0.0; 6 * SOUND_FRAME] })
    }

    /// Decodes a packet.
    pub(crate) fn decode(&mut self, packet: &[u8]) -> Result<&[f32], CodecError> {
        let room = self.samples.len();
        let count = self.decoder.decode(packet, room, &mut self.samples).map_err(CodecError::Opus)?;
        Ok(&self.samples[..count.min(room)])
    }

    /// Forgets what it decoded last.
    pub(crate) fn forget_samples(&mut self) {
        self.samples.fill(0.0);
        // So that it is done though nobody reads it.
        black_box(&self.samples);
    }

    /// Forgets all that it has heard.
    pub(crate) fn forget(&mut self) {
        self.forget_samples();
        if let Ok(new) = OpusDecoder::new(SAMPLE_RATE as i32, 1) {
            *self.decoder = new;
            black_box(&self.decoder);
        }
    }
}

/// A picture in I420: full luma, both chroma planes at half the width and height.
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) luma: Vec<u8>,
    pub(crate) chroma: [Vec<u8>; 2],
}

impl Picture {
    /// A picture of even `width` and `height`.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let quarter = (width / 2) * (height / 2);
        Self { width, height, luma: vec![0; width * height], chroma: [vec![0; quarter], vec![0; quarter]] }
    }
}

/// Encodes pictures: constrained baseline, no look-ahead, one reference.
pub(crate) struct PictureEncoder(Encoder);

impl PictureEncoder {
    /// An encoder of `bits_per_second` at `frame_rate` pictures per second.
    pub(crate) fn new(bits_per_second: u32, frame_rate: f32) -> Result<Self, CodecError> {
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .profile(Profile::Baseline)
            .complexity(Complexity::Low)
            .rate_control_mode(RateControlMode::Quality)
            .bitrate(BitRate::from_bps(bits_per_second))
            .max_frame_rate(FrameRate::from_hz(frame_rate))
            // Key frames come when asked for.
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .scene_change_detect(false)
            // Both look at each picture before it is encoded, for an eye that nobody has here.
            .adaptive_quantization(false)
            .background_detection(false)
            // Every picture is to be sent. (It holds the rate all the same, but says on standard
            // error that it might not.)
            .skip_frames(false)
            .num_threads(1);
        Ok(Self(Encoder::with_api_config(OpenH264API::from_source(), config)?))
    }

    /// Encodes a picture taken `milliseconds` after the first, as a key frame if `key`. The result
    /// is an Annex B byte stream.
    pub(crate) fn encode(&mut self, picture: &Picture, milliseconds: u64, key: bool) -> Result<Vec<u8>, CodecError> {
        if key {
            self.0.force_intra_frame();
        }
        let (width, height) = (picture.width, picture.height);
        let [blue, red] = &picture.chroma;
        let source = YUVSlices::new((&picture.luma, blue, red), (width, height), (width, width / 2, width / 2));
        Ok(self.0.encode_at(&source, Timestamp::from_millis(milliseconds))?.to_vec())
    }
}

/// Luma of a decoded picture.
pub(crate) struct Luma<'a> {
    pub(crate) pixels: &'a [u8],
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) stride: usize,
}

/// Decodes pictures.
pub(crate) struct PictureDecoder(Decoder);

impl PictureDecoder {
    /// A decoder that waits for a key frame.
    pub(crate) fn new() -> Result<Self, CodecError> {
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        Ok(Self(Decoder::with_api_config(OpenH264API::from_source(), config)?))
    }

    /// Decodes one access unit, an Annex B byte stream, and lets `look` see the picture if there is
    /// one.
    pub(crate) fn decode<T>(
        &mut self,
        access_unit: &[u8],
        look: impl FnOnce(Luma<'_>) -> T,
    ) -> Result<Option<T>, CodecError> {
        let Some(picture) = self.0.decode(access_unit)? else { return Ok(None) };
        let (width, height) = picture.dimensions();
        Ok(Some(look(Luma { pixels: picture.y(), width, height, stride: picture.strides().0 })))
    }
}

#[cfg(test)]
pub(crate) mod browser;
#[cfg(test)]
mod tests;
