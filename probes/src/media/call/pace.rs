//! Sending: one thread a track makes its media and sends it when it is due.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use bytes::Bytes;
use rtc::{
    rtp::{Header, Packet, codec::h264::H264Payloader, packetizer::Payloader as _},
    shared::error::Error as RtpError,
};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Voice,
    h264::{is_picture_data, picture_hash},
};
use crate::media::{
    Config,
    bounds::{PictureFormat, Plan, bounded},
    capture::{Nanos, SentFrame, SentMarker, SentPacket, Stream},
    clock::{Clock, processor_time, sleep_until},
    codec::{CodecError, Picture, PictureDecoder, PictureEncoder, SOUND_FRAME, SoundEncoder},
    peer::LocalTrack,
    signal::{picture, sound},
};

/// The largest payload sent: what passes every path seen in practice with all headers on top.
const MOST_PAYLOAD: usize = 1200;
/// Duration of one sound frame.
const SOUND_PERIOD: Nanos = 20_000_000;
/// Duration of a marker; one that is cut off by the end of the call is not to be missed.
const MARKER_LENGTH: Nanos = 100_000_000;
/// When a picture is due to be sent after it was taken, whatever its encoding took: so the lateness
/// of sending is that of the box, not of the encoder.
const ENCODING: Nanos = 10_000_000;
/// Packets of one picture leave this far apart, at some 40 Mbit/s: a key frame has twenty, and as
/// one burst they would measure queues that no lesson fills. Closer where they would fill more
/// than half of the time to the next picture.
const PACKET_GAP: Nanos = 250_000;
/// A key frame at least this often, so that one lost beyond repair costs no more.
const KEY_PERIOD: Nanos = 2_000_000_000;
/// A key frame this long after the start: the very first packets of a call may be lost on paths
/// that are still being set up.
const SECOND_KEY: Nanos = 200_000_000;
/// Key frames on request at most this often.
const KEY_PAUSE: Nanos = 300_000_000;

/// Pictures that are coded to see what one costs, beside a first one.
const TRIALS: u64 = 5;

/// Media could not be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum PaceError {
    #[error("media could not be encoded")]
    Encode(#[from] CodecError),
    #[error("a packet could not be sent")]
    Send(#[from] RtpError),
}

/// When to send, and what ends it.
#[derive(Clone)]
pub(super) struct Pace {
    pub(super) clock: Clock,
    /// The instant the first sample and the first picture stand for.
    pub(super) start: Nanos,
    /// No media of a later instant is sent. It is set once the whole call is connected.
    pub(super) end: Arc<AtomicI64>,
    /// The runtime of the connection.
    pub(super) runtime: Handle,
    /// Ends it early.
    pub(super) stop: Arc<AtomicBool>,
    /// The far end wants a key frame.
    pub(super) key_wanted: Arc<AtomicBool>,
}

impl Pace {
    fn end(&self) -> Nanos {
        self.end.load(Ordering::Relaxed)
    }

    /// Sleeps until `due`; `false` if sending is over.
    pub(super) fn wait(&self, due: Nanos) -> bool {
        if due >= self.end() {
            return false;
        }
        sleep_until(self.clock.instant(due));
        !self.stop.load(Ordering::Relaxed)
    }
}

/// What was sent on a track. Send stamps are those of the socket, and are added from its log.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) packets: Vec<SentPacket>,
    pub(super) frames: Vec<SentFrame>,
    pub(super) markers: Vec<SentMarker>,
}

/// The packets of a track, one after the other.
struct Packets<'a> {
    track: &'a LocalTrack,
    stream: Stream,
    pace: &'a Pace,
    /// Starts in the lower half, so that SRTP need not guess how often it wrapped
    /// (RFC 3711 §3.3.1).
    sequence: u64,
    rtp_base: u32,
    sent: Vec<SentPacket>,
}

impl<'a> Packets<'a> {
    fn new(track: &'a LocalTrack, stream: Stream, pace: &'a Pace, random: &mut fastrand::Rng) -> Self {
        let sequence = u64::from(random.u16(..0x8000));
        Self { track, stream, pace, sequence, rtp_base: random.u32(..), sent: Vec::new() }
    }

    fn send(&mut self, payload: Bytes, ticks: u32, marker: bool, due: Nanos) -> Result<(), RtpError> {
        let header = Header {
            version: 2,
            marker,
            payload_type: self.track.payload_type,
            sequence_number: self.sequence as u16,
            timestamp: self.rtp_base.wrapping_add(ticks),
            ssrc: self.track.ssrc,
            ..Header::default()
        };
        self.sent.push(SentPacket {
            stream: self.stream,
            sequence: self.sequence,
            rtp_time: header.timestamp,
            hash: xxh3_64(&payload),
            bytes: payload.len() as u32,
            unique: self.stream == Stream::Audio || is_picture_data(&payload),
            due,
            at: None,
        });
        self.sequence += 1;
        self.pace.runtime.block_on(self.track.send(Packet { header, payload }))
    }
}

/// Our media, ready to be sent.
pub(super) struct Sources {
    pub(super) sound: SoundSource,
    /// `None` of a call with sound alone.
    pub(super) pictures: Option<PictureSource>,
    /// Number of our pictures in their time code.
    pub(super) stream_number: u8,
}

impl Sources {
    /// Makes ready what `config` asks for and its bounds allow, on a link of that many bits per second, if that
    /// is known; and what is sent then. Its sound is that of `voice`, if there is one.
    pub(super) fn new(
        config: &Config,
        link: Option<f64>,
        voice: Option<Box<dyn Voice>>,
        random: &mut fastrand::Rng,
    ) -> Result<(Self, Plan), CodecError> {
        let stream_number = random.u8(..64);
        let (sound, pictures) = (random.fork(), random.fork());
        let mut plan = bounded(config, link, None);
        let pictures = match plan.picture {
            None => None,
            Some(format) => {
                let mut pictures = PictureSource::new(format, stream_number, pictures)?;
                plan = bounded(config, link, pictures.cost()?);
                let pictures = plan.picture.map(|format| pictures.in_format(format)).transpose()?;
                hand_back();
                pictures
            }
        };
        Ok((Self { sound: SoundSource::new(&plan, voice, sound)?, pictures, stream_number }, plan))
    }
}

/// Gives the system back what the trial took: the threads of the call would not use it again.
fn hand_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator is C's")]
    // SAFETY: malloc_trim may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The sound, ready to be sent.
pub(super) struct SoundSource {
    encoder: SoundEncoder,
    voice: Box<dyn Voice>,
    random: fastrand::Rng,
}

impl SoundSource {
    /// Makes ready `voice`, or the test sound, whose dither is drawn from `random`.
    fn new(plan: &Plan, voice: Option<Box<dyn Voice>>, mut random: fastrand::Rng) -> Result<Self, CodecError> {
        let voice = voice.unwrap_or_else(|| Box::new(sound::Source::new(random.fork())));
        let new = if plan.light { SoundEncoder::light } else { SoundEncoder::new };
        Ok(Self { encoder: new(plan.sound_bits_per_second)?, voice, random })
    }

    /// Sends until it is over.
    pub(super) fn send(mut self, track: &LocalTrack, pace: &Pace) -> Result<Sent, PaceError> {
        let mut packets = Packets::new(track, Stream::Audio, pace, &mut self.random);
        let mut markers = Vec::new();
        let mut samples = [0.0; SOUND_FRAME];
        for block in 0.. {
            let first = pace.start + block as Nanos * SOUND_PERIOD;
            self.voice.block(block, &mut samples);
            // A frame is there to be encoded when its last sample is.
            let due = first + SOUND_PERIOD;
            if !pace.wait(due) {
                break;
            }
            let payload = self.encoder.encode(&samples)?;
            // The marker bit starts a talk spurt (RFC 3551 §4.1); there is but one.
            let ticks = (block as u32).wrapping_mul(SOUND_FRAME as u32);
            packets.send(Bytes::from(payload), ticks, block == 0, due)?;
            let whole = first + MARKER_LENGTH <= pace.end();
            if let Some((index, up)) = self.voice.marker_at(block).filter(|_| whole) {
                markers.push(SentMarker { index, up, generated: first });
            }
        }
        Ok(Sent { packets: packets.sent, markers, ..Sent::default() })
    }
}

impl Voice for sound::Source {
    fn block(&mut self, index: u64, out: &mut [f32; SOUND_FRAME]) {
        self.block(index, out);
    }

    fn marker_at(&self, index: u64) -> Option<(u64, bool)> {
        sound::marker_at(index)
    }
}

/// The test picture, ready to be sent.
pub(super) struct PictureSource {
    format: PictureFormat,
    /// Number of the stream in the time code.
    stream_number: u8,
    encoder: PictureEncoder,
    source: picture::Source,
    picture: Picture,
    random: fastrand::Rng,
}

impl PictureSource {
    /// Makes ready, which takes the time of several pictures.
    fn new(format: PictureFormat, stream_number: u8, mut random: fastrand::Rng) -> Result<Self, CodecError> {
        let source = picture::Source::new(format.width as usize, format.height as usize, random.u64(..));
        let (width, height) = source.size();
        Ok(Self {
            format,
            stream_number,
            encoder: PictureEncoder::new(format.bits_per_second, format.frame_rate as f32)?,
            source,
            picture: Picture::new(width, height),
            random,
        })
    }

    /// The same with another frame rate or bit rate, and an encoder that has not seen a picture yet.
    fn in_format(self, format: PictureFormat) -> Result<Self, CodecError> {
        let encoder = PictureEncoder::new(format.bits_per_second, format.frame_rate as f32)?;
        Ok(Self { format, encoder, ..self })
    }

    /// Codes a few pictures: seconds of one core that encoding and decoding one take; `None` where the system
    /// does not say.
    fn cost(&mut self) -> Result<Option<f64>, CodecError> {
        let mut decoder = PictureDecoder::new()?;
        let mut spent = 0.0;
        for counter in 0..=TRIALS {
            self.draw(counter, 0);
            let began = processor_time();
            let encoded = self.encoder.encode(&self.picture, self.since(counter) as u64 / 1_000_000, counter == 0)?;
            decoder.decode(&encoded, |_| ())?;
            let Some((began, ended)) = began.zip(processor_time()) else { return Ok(None) };
            // The first makes the codecs ready.
            if counter > 0 {
                spent += (ended - began).as_secs_f64();
            }
        }
        Ok(Some(spent / TRIALS as f64))
    }

    /// Time of a picture since the first.
    fn since(&self, counter: u64) -> Nanos {
        (counter * 1_000_000_000 / u64::from(self.format.frame_rate)) as Nanos
    }

    /// Draws a picture, captured at an instant.
    fn draw(&mut self, counter: u64, captured: Nanos) {
        let code = picture::TimeCode::new(counter, captured as u64 / 1000, self.stream_number);
        let [blue, red] = &mut self.picture.chroma;
        self.source.draw(code, &mut self.picture.luma, [blue, red]);
    }

    /// Sends until it is over.
    pub(super) fn send(mut self, track: &LocalTrack, pace: &Pace) -> Result<Sent, PaceError> {
        let mut packets = Packets::new(track, Stream::Video, pace, &mut self.random);
        let mut payloader = H264Payloader::default();
        let mut frames = Vec::new();
        let mut keys = KeyFrames::default();
        let frame_rate = u64::from(self.format.frame_rate);
        for counter in 0_u64.. {
            let since = self.since(counter);
            let captured = pace.start + since;
            // Drawn ahead: a camera does not take its time out of the frame's.
            self.draw(counter, captured);
            if !pace.wait(captured) {
                break;
            }
            let key = keys.due(since, pace.key_wanted.swap(false, Ordering::Relaxed));
            let encoded = Bytes::from(self.encoder.encode(&self.picture, since as u64 / 1_000_000, key)?);
            let due = captured + ENCODING;
            frames.push(SentFrame { counter, captured, hash: picture_hash(&encoded) });
            let ticks = (counter * 90_000 / frame_rate) as u32;
            let payloads = payloader.payload(MOST_PAYLOAD, &encoded)?;
            let last = payloads.len().saturating_sub(1);
            let gap = PACKET_GAP.min(500_000_000 / frame_rate as Nanos / (last as Nanos + 1));
            for (i, payload) in payloads.into_iter().enumerate() {
                let due = due + i as Nanos * gap;
                sleep_until(pace.clock.instant(due));
                packets.send(payload, ticks, i == last, due)?;
            }
        }
        Ok(Sent { packets: packets.sent, frames, ..Sent::default() })
    }
}

/// Decides which pictures are key frames.
#[derive(Debug, Default)]
struct KeyFrames {
    latest: Option<Nanos>,
    second_sent: bool,
    asked: bool,
}

impl KeyFrames {
    /// Whether the picture `since` the start is to be one, given whether the far end has asked.
    fn due(&mut self, since: Nanos, asked: bool) -> bool {
        self.asked |= asked;
        let second = !self.second_sent && since >= SECOND_KEY;
        let due = self.latest.is_none_or(|latest| {
            let age = since - latest;
            second || age >= KEY_PERIOD || (self.asked && age >= KEY_PAUSE)
        });
        if due {
            self.second_sent |= second;
            self.asked = false;
            self.latest = Some(since);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_come_at_the_start_soon_again_on_request_and_regularly() {
        let mut keys = KeyFrames::default();
        let requests = [500, 533, 566, 1900];
        let due: Vec<Nanos> =
            (0..120).map(|i| i * 100 / 3).filter(|ms| keys.due(ms * 1_000_000, requests.contains(ms))).collect();
        // Both requests soon after the one at 500 are answered by one, 300 ms later.
        assert_eq!(due, [0, 200, 500, 800, 1900, 3900]);
    }
}
