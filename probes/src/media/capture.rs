//! Plain data of one call: what was sent, what came back, and when. The analyses are pure
//! functions of it; it can be written to a file and analysed again. It holds numbers only: no
//! sample and no pixel, ours or anyone's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// Nanoseconds on the monotonic clock since the start of the call.
pub type Nanos = i64;

/// Which of the two tracks of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Opus.
    Audio,
    /// H.264.
    Video,
}

impl Stream {
    /// Both, in the order of export.
    pub const ALL: [Self; 2] = [Self::Audio, Self::Video];

    /// The value of the `stream` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// Name of its codec in SDP.
    pub fn codec(self) -> &'static str {
        match self {
            Self::Audio => "opus",
            Self::Video => "H264",
        }
    }

    /// RTP clock rate in hertz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

/// A packet we sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentPacket {
    /// Its track.
    pub stream: Stream,
    /// RTP sequence number, extended beyond 16 bits, counting from the first packet of the track.
    pub sequence: u64,
    /// RTP time stamp.
    pub rtp_time: u32,
    /// xxh3-64 of the RTP payload.
    pub hash: u64,
    /// Length of the payload in bytes.
    pub bytes: u32,
    /// Whether the hash names this packet alone (parameter sets repeat, and are not unique).
    pub unique: bool,
    /// When its media was due to be sent by the pacer.
    pub due: Nanos,
    /// Right before the system call that sent it first; `None` if it never reached the socket.
    pub at: Option<Nanos>,
}

/// A packet that came back. Repeats are listed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceivedPacket {
    /// Its track.
    pub stream: Stream,
    /// RTP sequence number as the far end numbers it, extended.
    pub sequence: u64,
    /// RTP time stamp as the far end writes it.
    pub rtp_time: u32,
    /// xxh3-64 of the RTP payload.
    pub hash: u64,
    /// Length of the payload in bytes; 0 in captures of older versions.
    #[serde(default)]
    pub bytes: u32,
    /// Kernel receive time stamp.
    pub at: Nanos,
    /// When the program saw it; the difference to `at` is this box's own lateness.
    pub seen: Nanos,
}

/// A picture we sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentFrame {
    /// Frame counter in the time code, extended.
    pub counter: u64,
    /// Its capture time: the instant its content stands for.
    pub captured: Nanos,
    /// xxh3-64 of its slices, however they are packed; absent in captures of older versions.
    #[serde(default)]
    pub hash: Option<u64>,
}

/// A whole picture that came back, whether it could be decoded or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceivedFrame {
    /// xxh3-64 of its slices, however they are packed.
    pub hash: u64,
    /// RTP time stamp as the far end writes it.
    pub rtp_time: u32,
    /// Kernel receive time stamp of the packet that completed it.
    pub completed: Nanos,
    /// Whether it can be decoded without any other.
    pub key: bool,
}

/// A picture that was decoded and whose time code was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecodedFrame {
    /// Frame counter read from the time code, extended.
    pub counter: u64,
    /// When the decoder handed it out.
    pub at: Nanos,
    /// Kernel receive time stamp of the packet that completed it.
    pub completed: Nanos,
    /// Whether the two strips of the time code disagreed (slice loss).
    pub torn: bool,
    /// RTP time stamp as the far end writes it; absent in captures of older versions.
    #[serde(default)]
    pub rtp_time: Option<u32>,
}

/// A marker (coded chirp) we sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentMarker {
    /// Running number of the marker: the second of the test signal it stands in.
    pub index: u64,
    /// Up-chirp (`true`) or its reverse.
    pub up: bool,
    /// The instant its first sample stands for.
    pub generated: Nanos,
}

/// A marker found in decoded sound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeardMarker {
    /// Up-chirp (`true`) or its reverse.
    pub up: bool,
    /// When its first sample arrived: kernel receive stamp of the packet that carries it, plus the
    /// position inside of the packet, codec look-ahead removed.
    pub at: Nanos,
    /// Peak over second peak of the matched filter, in decibels.
    pub margin_db: f64,
    /// RTP time stamp of its first sample as the far end counts; absent in captures of older versions.
    #[serde(default)]
    pub rtp_time: Option<u32>,
}

/// A packet that was repeated, or asked for again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Its track.
    pub stream: Stream,
    /// Its sequence number: as [`SentPacket`] or [`ReceivedPacket`] has it.
    pub sequence: u64,
    /// When, first.
    pub at: Nanos,
    /// How often it was sent again; 1 of one that was asked for, and in captures of older versions.
    #[serde(default = "once")]
    pub times: u16,
}

fn once() -> u16 {
    1
}

/// All repairs of a call (RFC 4585 §6.2.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repairs {
    /// Packets we sent again.
    pub resent: Vec<Repeat>,
    /// Packets we asked for, that came.
    pub requested: Vec<Repeat>,
}

/// What a sender report (RFC 3550 §6.4.1) of the far end says: one instant in two clocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SenderReport {
    /// The stream that comes back.
    pub stream: Stream,
    /// When the program saw it.
    pub at: Nanos,
    /// The instant by the far end's clock: seconds since 1900 in the upper 32 bits, their parts below.
    pub ntp: u64,
    /// The same instant in RTP time.
    pub rtp_time: u32,
}

/// What the far end reports of a stream it receives from us (RFC 3550 §6.4.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceptionReport {
    /// The stream we send.
    pub stream: Stream,
    /// When the program saw it.
    pub at: Nanos,
    /// The same by the wall clock: the middle 32 bits of its NTP time.
    pub ntp: u32,
    /// The highest sequence number received, with the count of cycles above it.
    pub highest_sequence: u32,
    /// Packets lost since the beginning; copies make it negative.
    pub total_lost: i32,
    /// The middle 32 bits of the NTP time of our newest report that arrived; 0 if none did.
    pub last_sender_report: u32,
    /// Since when, in 1/65536 s.
    pub delay: u32,
}

/// A packet of ours that arrived at a box that reflects, by that box's own monotonic clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FarPacket {
    /// Its track.
    pub stream: Stream,
    /// Its sequence number, the lower 16 bits of what [`SentPacket`] has.
    pub sequence: u16,
    /// Kernel receive time stamp of its first copy.
    pub arrived: Nanos,
    /// Right before the system call that sent it back; `None` if it never was.
    pub left: Option<Nanos>,
    /// Whether it came only after that box had asked for it again.
    pub asked: bool,
    /// How often it came.
    pub arrivals: u16,
    /// How often it was sent back.
    pub sendings: u16,
}

/// What a box that reflects noted of our packets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FarLog {
    /// Packets that arrived, those of each track in order of arrival.
    pub packets: Vec<FarPacket>,
    /// Packets that arrived and did not fit into its memory.
    pub unnoted: u64,
    /// Datagrams its kernel dropped at the socket.
    pub dropped: u64,
    /// Its wall clock minus its monotonic clock at the end, less the same at the start, in nanoseconds.
    pub clock_drift: Nanos,
}

/// What is known of the far end's side of a call to a box that reflects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FarSide {
    /// What it noted.
    Noted(FarLog),
    /// Why that is not known.
    Unknown(Failure),
}

/// Duration of one phase of connecting, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// `dns`, `tcp`, `tls`, `signalling`, `ice`, `dtls`.
    pub name: String,
    /// Its duration.
    pub seconds: f64,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// Version of this format: 1.
    pub format: u32,
    /// Wall clock at the start of the call.
    pub started_at: DateTime<Utc>,
    /// Wall clock at its end.
    pub ended_at: DateTime<Utc>,
    /// Where the call went: `reflector` is the embedded far end, a self-test of this box.
    pub target: String,
    /// Phases of connecting, in order.
    pub phases: Vec<Phase>,
    /// From the start until DTLS was done, in seconds.
    pub connect_seconds: f64,
    /// From the start until the first decoded sound.
    pub first_sound: Option<Nanos>,
    /// From the start until the first decoded picture with our time code.
    pub first_frame: Option<Nanos>,
    /// First instant of steady sending; before it, packets and frames warm up.
    pub media_start: Nanos,
    /// When sending ended; packets sent before it had at least 500 ms to come back.
    pub media_end: Nanos,
    /// Pictures per second that were to be sent; 0 of a call with sound alone.
    pub frame_rate: f64,
    /// Whether no picture was to be sent at all; never in captures of older versions.
    #[serde(default)]
    pub sound_only: bool,
    /// What shares of link and processor lowered or left out; nothing in captures of older versions.
    #[serde(default)]
    pub bounds: Vec<Failure>,
    /// Everything sent on either track.
    pub sent: Vec<SentPacket>,
    /// Everything received, in order of arrival.
    pub received: Vec<ReceivedPacket>,
    /// Pictures sent.
    pub frames_sent: Vec<SentFrame>,
    /// Whole pictures received, in order of RTP; none in captures of older versions.
    #[serde(default)]
    pub frames_received: Vec<ReceivedFrame>,
    /// The `profile-level-id` (RFC 6184 §8.1) of the pictures received, if parameter sets came.
    #[serde(default)]
    pub video_profile: Option<String>,
    /// Pictures decoded, in order of decoding.
    pub frames_decoded: Vec<DecodedFrame>,
    /// Markers sent.
    pub markers_sent: Vec<SentMarker>,
    /// Markers heard.
    pub markers_heard: Vec<HeardMarker>,
    /// Repairs; in captures of older versions they are not known, and guessed by how late a packet came.
    #[serde(default)]
    pub repairs: Option<Repairs>,
    /// Sender reports of the far end; none in captures of older versions.
    #[serde(default)]
    pub sender_reports: Vec<SenderReport>,
    /// What the far end reports of our streams; nothing in captures of older versions.
    #[serde(default)]
    pub reception_reports: Vec<ReceptionReport>,
    /// The far end's side of a call to a box that reflects; of no other, nor in captures of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub far_side: Option<FarSide>,
    /// Round trips of connectivity checks, in seconds; those of the connection we send on, if another
    /// one brings media back.
    pub round_trips: Vec<f64>,
    /// Those of the connection that brings media back, if it is another. Captures of older versions mix
    /// both.
    #[serde(default)]
    pub round_trips_downlink: Option<Vec<f64>>,
    /// How late a periodic timer fired, each time, in nanoseconds: of 5 ms, or of 10 ms in a call of sound
    /// alone.
    pub overshoots: Vec<Nanos>,
    /// Wall clock minus monotonic clock at the end, less the same at the start, in nanoseconds.
    pub clock_drift: Nanos,
    /// Datagrams the kernel dropped at our socket, and packets we dropped ourselves.
    pub dropped: u64,
}

impl Capture {
    /// The streams that were to be sent.
    pub fn streams(&self) -> &'static [Stream] {
        if self.sound_only { &[Stream::Audio] } else { &Stream::ALL }
    }
}
