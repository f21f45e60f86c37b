//! Opening streams, and what may be wrong with them.

use std::ffi::CString;

use pulseaudio::protocol::{
    ChannelMap, ChannelVolume, Command, CreatePlaybackStreamReply, CreateRecordStreamReply, GetSinkInfo, GetSourceInfo,
    PlaybackStreamParams, Prop, Props, RecordStreamParams, SampleFormat, SampleSpec, SetStreamMuteParams,
    SetStreamVolumeParams, SinkInfo, SinkInputInfo, SourceInfo, SourceOutputInfo, Volume,
    command::{SinkState, SourceState},
    stream::{BufferAttr, StreamFlags},
};
use tokio::time::Instant;

use super::{MICROPHONE, NAMES, Player, REFERENCE, Recorder, STREAM, Session, Streams, WAKES};
use crate::{
    Failure, Reason,
    echo::{RATE, buffer::Buffer},
};

/// What a recorder sends at once while something is played, and while nothing is, in bytes: 20 ms, so that
/// clocks are read close to what they tell of, and 100 ms, for little work.
const FRAGMENT: [u32; 2] = [2 * RATE / 50, 2 * RATE / 10];
/// What is given to the player ahead, in bytes: 400 ms, so that a busy box does not let it run dry.
const AHEAD: u32 = 4 * RATE / 5;

/// One channel of 16 bit, as this processor has them.
const FORMAT: SampleSpec = SampleSpec {
    format: if cfg!(target_endian = "big") { SampleFormat::S16Be } else { SampleFormat::S16Le },
    channels: 1,
    sample_rate: RATE,
};

impl Streams {
    /// Opens the recorders and, if something is to be played, the player, which plays silence.
    pub(in super::super) async fn open(session: Session, buffer: Buffer, plays: bool) -> Result<Self, Failure> {
        let (source, reference) = (session.source, session.reference);
        let mut streams = Self { session, buffer, recorders: [None, None], player: None, slips: 0, clocks: Vec::new() };
        streams.record(MICROPHONE, source, plays).await?;
        if let Some(reference) = reference {
            streams.record(REFERENCE, reference, plays).await?;
        }
        if plays {
            streams.play().await?;
        }
        Ok(streams)
    }

    async fn record(&mut self, place: usize, source: u32, plays: bool) -> Result<(), Failure> {
        let params = RecordStreamParams {
            sample_spec: FORMAT,
            channel_map: ChannelMap::mono(),
            source_index: Some(source),
            buffer_attr: BufferAttr { fragment_size: FRAGMENT[usize::from(!plays)], ..BufferAttr::default() },
            flags: flags(),
            cvolume: Some(ChannelVolume::norm(1)),
            props: properties(),
            ..RecordStreamParams::default()
        };
        let what = format!("to record from the {}", NAMES[place]);
        let reply: CreateRecordStreamReply = self.ask(&what, Command::CreateRecordStream(params)).await?;
        self.recorders[place] = Some(Recorder {
            channel: reply.channel,
            stream: reply.stream_index,
            received: 0,
            kept_from: None,
            kept: 0,
            stalls: Instant::now() + WAKES,
            ahead: None,
        });
        as_asked(&what, reply.sample_spec)
    }

    async fn play(&mut self) -> Result<(), Failure> {
        let params = PlaybackStreamParams {
            sample_spec: FORMAT,
            channel_map: ChannelMap::mono(),
            sink_index: Some(self.session.sink),
            buffer_attr: BufferAttr { target_length: AHEAD, ..BufferAttr::default() },
            flags: flags(),
            cvolume: Some(ChannelVolume::norm(1)),
            props: properties(),
            ..PlaybackStreamParams::default()
        };
        let what = "to play on the loudspeaker";
        let reply: CreatePlaybackStreamReply = self.ask(what, Command::CreatePlaybackStream(params)).await?;
        self.player = Some(Player {
            channel: reply.channel,
            stream: reply.stream_index,
            wanted: (reply.requested_bytes as usize).min(super::MOST_WANTED),
            given: 0,
            stalls: Instant::now() + WAKES,
            sound: None,
        });
        as_asked(what, reply.sample_spec)?;
        self.feed().await
    }

    /// Sees to it that our own streams, which a server may have set as it remembers them, are unmuted and
    /// at 100 %. Devices, and streams of others, are left as they are.
    pub(super) async fn at_full_volume(&mut self) -> Result<(), Failure> {
        let volume = ChannelVolume::norm(1);
        if let Some(index) = self.player.as_ref().map(|player| player.stream) {
            for last in [false, true] {
                let info: SinkInputInfo = self.ask("for our stream", Command::GetSinkInputInfo(index)).await?;
                let off = info.has_volume && !self.session.flat[0] && !is_full(&info.cvolume);
                if !must_set("loudspeaker", info.corked, info.muted, off, last)? {
                    break;
                }
                let volume = Command::SetSinkInputVolume(SetStreamVolumeParams { index, volume });
                let mute = Command::SetSinkInputMute(SetStreamMuteParams { index, mute: false });
                self.set(if off { vec![volume, mute] } else { vec![mute] }).await?;
            }
        }
        for place in [MICROPHONE, REFERENCE] {
            let Some(index) = self.recorders[place].as_ref().map(|recorder| recorder.stream) else { continue };
            for last in [false, true] {
                let info: SourceOutputInfo = self.ask("for our stream", Command::GetSourceOutputInfo(index)).await?;
                let off = info.has_volume && !self.session.flat[1 + place] && !is_full(&info.cvolume);
                if !must_set(NAMES[place], info.corked, info.muted, off, last)? {
                    break;
                }
                let volume = Command::SetSourceOutputVolume(SetStreamVolumeParams { index, volume });
                let mute = Command::SetSourceOutputMute(SetStreamMuteParams { index, mute: false });
                self.set(if off { vec![volume, mute] } else { vec![mute] }).await?;
            }
        }
        Ok(())
    }

    async fn set(&mut self, commands: Vec<Command>) -> Result<(), Failure> {
        let first = self.session.wire.send(&commands).await?;
        for request in 0..commands.len() as u32 {
            self.answer("to set our own stream's volume", first.wrapping_add(request)).await?;
        }
        Ok(())
    }

    /// Why a device gives or takes nothing: the server may not have got hold of it.
    pub(super) async fn stalled(&mut self, name: &'static str) -> Failure {
        if self.is_suspended(name).await.unwrap_or(false) {
            let detail = format!("the sound server does not run the {name}: another program may hold the device");
            return Failure::new(Reason::DeviceBusy, detail);
        }
        let seconds = super::STALL.as_secs();
        Failure::new(Reason::Stalled, format!("the {name} stood still for {seconds} s"))
    }

    async fn is_suspended(&mut self, name: &str) -> Result<bool, Failure> {
        if name == "loudspeaker" {
            let what = GetSinkInfo { index: Some(self.session.sink), name: None };
            let info: SinkInfo = self.ask("for the loudspeaker", Command::GetSinkInfo(what)).await?;
            return Ok(info.state == SinkState::Suspended);
        }
        let source = if name == NAMES[REFERENCE] { self.session.reference } else { Some(self.session.source) };
        let what = GetSourceInfo { index: source, name: None };
        let info: SourceInfo = self.ask("for the microphone", Command::GetSourceInfo(what)).await?;
        Ok(info.state == SourceState::Suspended)
    }
}

/// Whether our stream is muted, or off its full volume, and has to be set. If that did not help, it fails.
fn must_set(name: &str, corked: bool, muted: bool, off: bool, last: bool) -> Result<bool, Failure> {
    let state = match (corked, muted, off) {
        (false, false, false) => return Ok(false),
        (true, _, _) => "has paused",
        (_, true, _) => "keeps muted",
        _ => "keeps below or above its full volume",
    };
    if !corked && !last {
        return Ok(true);
    }
    let detail = format!("the sound server {state} our own stream of the {name}");
    Err(Failure::new(Reason::NotPermitted, detail))
}

fn is_full(volume: &ChannelVolume) -> bool {
    volume.channels().iter().all(|channel| *channel == Volume::NORM)
}

/// Streams start unmuted, at a volume that is relative to that of the device, and stay where they are. The
/// devices' own buffers are not asked to fit ours: where they do, PulseAudio's null sinks tell places that
/// jump by milliseconds.
fn flags() -> StreamFlags {
    StreamFlags { no_move: true, start_muted: Some(false), relative_volume: true, ..StreamFlags::default() }
}

fn properties() -> Props {
    let mut properties = Props::new();
    properties.set(Prop::MediaName, STREAM);
    // Nobody's filter between us and the devices, and nothing from what is remembered of us.
    properties.set(Prop::FilterSuppress, c"echo-cancel");
    properties.set_bytes(CString::from(c"state.restore-props"), c"false".to_bytes_with_nul());
    properties.set_bytes(CString::from(c"state.restore-target"), c"false".to_bytes_with_nul());
    properties
}

fn as_asked(what: &str, format: SampleSpec) -> Result<(), Failure> {
    if format == FORMAT {
        return Ok(());
    }
    let detail = format!(
        "the sound server, asked {what} with one channel of 16 bit at {RATE} Hz, gave {} channels of {:?} at {} Hz",
        format.channels, format.format, format.sample_rate
    );
    Err(Failure::new(Reason::Format, detail))
}
