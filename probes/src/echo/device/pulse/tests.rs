//! Servers that are none, and bad ones. Real servers are tried by the tests of the whole program.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

use std::{
    io::Cursor,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use pulseaudio::protocol::{
    CommandReply, CreatePlaybackStreamReply, CreateRecordStreamReply, PlaybackLatency, PulseError, RecordLatency,
    SampleFormat, SampleSpec, SinkInputInfo, SourceOutputInfo, encode_reply_message, write_error, write_memblock,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    time::Instant,
};

use super::*;
use crate::echo::device::{LEAD, Sound};

/// Numbers of the test server's streams and devices.
const MICROPHONE: u32 = 1;
const MONITOR: u32 = 2;
const SINK: u32 = 3;
const PLAYER: u32 = 7;
/// Bytes that the monitor keeps back, as those that may still be taken back: 0.3 s.
const WITHHELD: usize = 28_800;

/// What a test server does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// Answers nothing.
    Mute,
    /// Answers with what is no protocol.
    Nonsense,
    /// Announces a message of 2 GB.
    Huge,
    /// Closes the connection at once.
    Closes,
    /// Refuses what opens a recorder.
    Refuses(PulseError),
    /// Records at another rate than asked.
    Rate,
    /// Stops sending sound after some.
    Stops,
    /// Goes away while sound is taken.
    Vanishes,
    /// Kills the recorder while sound is taken.
    Kills,
    /// Keeps the microphone's stream muted.
    Muted,
    /// Loses some bytes that it counts.
    Loses,
}

/// A socket of its own for a test.
fn place() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("bellwether-pulse-{}-{number}", std::process::id()))
}

fn config(server: PathBuf) -> Config {
    Config {
        server: Some(server),
        loudspeaker: "speaker".to_owned(),
        microphone: "mic".to_owned(),
        ..Config::default()
    }
}

/// A take of 0.9 s of sound after 0.1 s of silence, and how it ended.
async fn attempt(server: PathBuf) -> Result<(Course, Vec<i16>), Failure> {
    let session = Session::open(&config(server)).await?;
    let mut sound = |_: &[i16]| -> Sound { Box::new(|_, piece| piece.fill(1000)) };
    let plan =
        Plan { silence: 4800, length: 43_200, sound: Some(&mut sound), microphone: &|| {}, progress: &|_, _| {} };
    let room = Plan::room_for(plan.silence, plan.length, true);
    let (course, buffer) = session.take(plan, Buffer::new(room, room)?).await?;
    let heard = buffer.microphone()[..course.microphone].to_vec();
    Ok((course, heard))
}

/// The same against a server with a fault.
async fn with(fault: Fault) -> Result<(Course, Vec<i16>), Failure> {
    let place = place();
    let listener = UnixListener::bind(&place).unwrap();
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        Server::new(stream, fault).serve().await
    };
    let (_, tried) = tokio::join!(server, timeout(Duration::from_secs(30), attempt(place.clone())));
    let tried = tried.unwrap();
    std::fs::remove_file(&place).unwrap();
    tried
}

/// A server as simple as can be: it records and plays by its own clock.
struct Server {
    stream: UnixStream,
    fault: Fault,
    /// When the microphone, the monitor and the player were opened.
    opened: [Option<Instant>; 3],
    /// Bytes that went to or came from them.
    moved: [usize; 3],
}

impl Server {
    fn new(stream: UnixStream, fault: Fault) -> Self {
        Self { stream, fault, opened: [None; 3], moved: [0; 3] }
    }

    /// Serves until the client goes, and tells what it has ended itself.
    async fn serve(mut self) -> Vec<(&'static str, u32)> {
        let mut ended = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let (mut header, mut got) = ([0; protocol::DESCRIPTOR_SIZE], 0);
        loop {
            tokio::select! {
                count = self.stream.read(&mut header[got..]) => match count {
                    Ok(count) if count > 0 => got += count,
                    _ => return ended,
                },
                _ = ticks.tick() => if !self.tick().await { return ended },
            }
            if got < header.len() {
                continue;
            }
            got = 0;
            let header = protocol::read_descriptor(&mut Cursor::new(header)).unwrap();
            let mut content = vec![0; header.length as usize];
            self.stream.read_exact(&mut content).await.unwrap();
            if header.channel == u32::MAX {
                let (request, command) = Command::read_tag_prefixed(&mut Cursor::new(content), MAX_VERSION).unwrap();
                match command {
                    Command::DeletePlaybackStream(channel) => ended.push(("player", channel)),
                    Command::DeleteRecordStream(channel) => ended.push(("recorder", channel)),
                    _ => {}
                }
                if !self.answer(request, command).await {
                    return ended;
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    async fn reply<R: CommandReply>(&mut self, request: u32, reply: &R) -> bool {
        let mut bytes = Vec::new();
        encode_reply_message(&mut bytes, request, reply, MAX_VERSION).unwrap();
        self.send(&bytes).await
    }

    async fn command(&mut self, command: Command) -> bool {
        let mut bytes = Vec::new();
        protocol::encode_command_message(&mut bytes, u32::MAX, &command, MAX_VERSION).unwrap();
        self.send(&bytes).await
    }

    /// False if the connection ends here.
    async fn answer(&mut self, request: u32, command: Command) -> bool {
        let rate = if self.fault == Fault::Rate { 44_100 } else { 48_000 };
        let sample_spec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: rate };
        let now = Instant::now();
        match (command, self.fault) {
            (_, Fault::Mute) => true,
            (_, Fault::Closes) => false,
            (_, Fault::Nonsense) => {
                self.send(&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".repeat(4)).await
            }
            (_, Fault::Huge) => self.send(&[[0x7f; 4], [0xff; 4]].concat().repeat(4)).await,
            (Command::CreateRecordStream(_), Fault::Refuses(error)) => {
                let mut bytes = Vec::new();
                write_error(&mut bytes, request, &error).unwrap();
                self.send(&bytes).await
            }
            (Command::Auth(_), _) => {
                self.reply(request, &AuthReply { version: MAX_VERSION, ..AuthReply::default() }).await
            }
            (Command::SetClientName(_), _) => self.reply(request, &SetClientNameReply { client_id: 1 }).await,
            (Command::GetServerInfo, _) => self.reply(request, &ServerInfo::default()).await,
            (Command::GetSinkInfoList, _) => {
                let sink = SinkInfo {
                    index: SINK,
                    name: c"speaker".to_owned(),
                    monitor_source_index: Some(MONITOR),
                    cvolume: ChannelVolume::norm(2),
                    flags: SinkFlags::DECIBEL_VOLUME,
                    ..SinkInfo::default()
                };
                self.reply(request, &vec![sink]).await
            }
            (Command::GetSourceInfoList, _) => {
                let source = |index, name: &std::ffi::CStr, monitor_of_sink_index| SourceInfo {
                    index,
                    name: name.to_owned(),
                    monitor_of_sink_index,
                    cvolume: ChannelVolume::norm(1),
                    ..SourceInfo::default()
                };
                let sources = vec![source(MICROPHONE, c"mic", None), source(MONITOR, c"speaker.monitor", Some(SINK))];
                self.reply(request, &sources).await
            }
            (Command::CreateRecordStream(params), _) => {
                let channel = params.source_index.unwrap();
                self.opened[channel as usize - 1] = Some(now);
                let reply = CreateRecordStreamReply {
                    channel,
                    stream_index: channel,
                    sample_spec,
                    ..CreateRecordStreamReply::default()
                };
                self.reply(request, &reply).await
            }
            (Command::CreatePlaybackStream(params), _) => {
                assert_eq!((params.sink_index, params.flags.relative_volume), (Some(SINK), true));
                self.opened[2] = Some(now);
                let reply = CreatePlaybackStreamReply {
                    channel: PLAYER,
                    requested_bytes: 9600,
                    sample_spec,
                    ..CreatePlaybackStreamReply::default()
                };
                self.reply(request, &reply).await
            }
            (Command::GetSinkInputInfo(_), _) => {
                let info =
                    SinkInputInfo { cvolume: ChannelVolume::norm(1), has_volume: true, ..SinkInputInfo::default() };
                self.reply(request, &info).await
            }
            (Command::GetSourceOutputInfo(index), fault) => {
                let muted = fault == Fault::Muted && index == MICROPHONE;
                let buffer_latency = if index == MONITOR { WITHHELD as u64 * 1000 / 96 } else { 0 };
                let cvolume = ChannelVolume::norm(1);
                let info = SourceOutputInfo { muted, buffer_latency, cvolume, ..SourceOutputInfo::default() };
                self.reply(request, &info).await
            }
            (Command::GetPlaybackLatency(_), _) => {
                let reply = PlaybackLatency {
                    sink_usec: 0,
                    source_usec: 0,
                    playing: true,
                    local_time: std::time::UNIX_EPOCH,
                    remote_time: std::time::SystemTime::now(),
                    write_offset: 0,
                    read_offset: self.due(2, now) as i64,
                    underrun_for: 0,
                    playing_for: 1,
                };
                self.reply(request, &reply).await
            }
            (Command::GetRecordLatency(params), _) => {
                let place = params.channel as usize - 1;
                let reply = RecordLatency {
                    sink_usec: 0,
                    // What was recorded and not yet sent.
                    source_usec: self.ready(place, now) as u64 * 1000 / 96,
                    playing: true,
                    local_time: std::time::UNIX_EPOCH,
                    remote_time: std::time::SystemTime::now(),
                    write_offset: self.moved[place] as i64,
                    read_offset: self.moved[place] as i64,
                };
                self.reply(request, &reply).await
            }
            _ => {
                let mut bytes = Vec::new();
                protocol::write_ack_message(&mut bytes, request).unwrap();
                self.send(&bytes).await
            }
        }
    }

    /// Bytes that a stream has moved by now.
    fn due(&self, place: usize, now: Instant) -> usize {
        let microseconds = self.opened[place].map_or(0, |opened| (now - opened).as_micros() as usize);
        (microseconds * 96 / 1000) & !1
    }

    /// Bytes of a recorder that may be sent.
    fn ready(&self, place: usize, now: Instant) -> usize {
        let withheld = if place == 1 { WITHHELD } else { 0 };
        self.due(place, now).saturating_sub(withheld).saturating_sub(self.moved[place])
    }

    /// Sends what was recorded, and asks for what was played. False if the server goes.
    async fn tick(&mut self) -> bool {
        let now = Instant::now();
        let late = self.moved[0] > 140_000;
        match self.fault {
            Fault::Stops if late => return true,
            Fault::Vanishes if late => return false,
            Fault::Kills if late => return self.command(Command::RecordStreamKilled(MICROPHONE)).await,
            _ => {}
        }
        for (place, channel) in [(0, MICROPHONE), (1, MONITOR)] {
            let count = self.ready(place, now);
            // What comes before a take is kept is another sound.
            let sample: u8 = if self.moved[place] + count < 2 * LEAD { 9 } else { 5 };
            self.moved[place] += count;
            let lost = if self.fault == Fault::Loses && late && place == 0 { count.min(100) } else { 0 };
            let sound = [sample, 0].repeat((count - lost) / 2);
            let mut bytes = Vec::new();
            write_memblock(&mut bytes, channel, &sound, 0).unwrap();
            if count > 0 && !self.send(&bytes).await {
                return false;
            }
        }
        let count = self.due(2, now) - self.moved[2];
        self.moved[2] += count;
        let wanted = protocol::Request { channel: PLAYER, length: count as u32 };
        count == 0 || self.command(Command::Request(wanted)).await
    }
}

fn reason(tried: Result<(Course, Vec<i16>), Failure>) -> Reason {
    tried.unwrap_err().reason
}

#[tokio::test]
async fn a_take_holds_what_came_once_the_devices_were_awake_and_both_lines_fit() {
    let (course, heard) = with(Fault::None).await.unwrap();
    // Both streams of the test server stand still or run together: only their openings lie apart.
    assert!((course.microphone_start + 4800.0).abs() < 12_000.0, "{course:?}");
    let end = course.microphone_start + course.microphone as f64;
    assert!((43_200.0..72_000.0).contains(&end), "{course:?}");
    // What the monitor keeps back comes late: the first that was kept of it is older.
    let (_, reference_start) = course.reference.unwrap();
    let older = course.microphone_start - reference_start;
    assert!((older - WITHHELD as f64 / 2.0).abs() < 4800.0, "{course:?}");
    assert_eq!(course.slips, 0);
    assert!(heard.iter().all(|sample| *sample == 5), "what came before is kept");
}

#[tokio::test]
async fn what_is_no_sound_server_is_told_as_such_soon() {
    let begin = Instant::now();
    for fault in [Fault::Nonsense, Fault::Huge, Fault::Closes] {
        assert_eq!(reason(with(fault).await), Reason::NoServer, "{fault:?}");
    }
    let nowhere = attempt(place()).await.unwrap_err();
    assert_eq!(nowhere.reason, Reason::NoServer);
    assert!(nowhere.detail.contains("/bellwether-pulse-") && nowhere.detail.contains("`server`"), "{}", nowhere.detail);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_server_that_answers_nothing_stalls() {
    assert_eq!(reason(with(Fault::Mute).await), Reason::Stalled);
}

#[tokio::test]
async fn what_the_server_refuses_has_its_reason() {
    for (error, expected) in [
        (PulseError::AccessDenied, Reason::NotPermitted),
        (PulseError::Busy, Reason::DeviceBusy),
        (PulseError::NoEntity, Reason::NoDevice),
        (PulseError::NotSupported, Reason::Format),
        (PulseError::Timeout, Reason::Stalled),
    ] {
        assert_eq!(reason(with(Fault::Refuses(error)).await), expected, "{error:?}");
    }
}

#[tokio::test]
async fn another_rate_than_asked_is_no_format_for_a_number() {
    let failure = with(Fault::Rate).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Format);
    assert!(failure.detail.contains("44100"), "{}", failure.detail);
}

#[tokio::test]
async fn a_microphone_that_stops_stalls_and_one_that_goes_is_lost() {
    let stopped = with(Fault::Stops).await.unwrap_err();
    assert_eq!(stopped.reason, Reason::Stalled);
    assert!(stopped.detail.contains("microphone"), "{}", stopped.detail);
    assert_eq!(reason(with(Fault::Vanishes).await), Reason::DeviceLost);
    assert_eq!(reason(with(Fault::Kills).await), Reason::DeviceLost);
}

#[tokio::test]
async fn bytes_that_are_lost_on_the_way_are_slips() {
    let (course, _) = with(Fault::Loses).await.unwrap();
    assert!(course.slips > 0, "{course:?}");
}

#[tokio::test]
async fn a_stream_that_the_server_keeps_muted_gives_no_number() {
    let failure = with(Fault::Muted).await.unwrap_err();
    assert_eq!(failure.reason, Reason::NotPermitted);
    assert!(failure.detail.contains("muted"), "{}", failure.detail);
}

#[tokio::test]
async fn devices_are_free_once_a_take_is_done_or_dropped() {
    let place = place();
    let listener = UnixListener::bind(&place).unwrap();
    let serve = async || Server::new(listener.accept().await.unwrap().0, Fault::None).serve().await;
    let (ended, tried) = tokio::join!(serve(), attempt(place.clone()));
    tried.unwrap();
    assert_eq!(ended, [("player", PLAYER), ("recorder", MICROPHONE), ("recorder", MONITOR)]);
    // A take that is dropped halfway: the server sees the connection end.
    let dropped = timeout(Duration::from_millis(700), attempt(place.clone()));
    let (_, dropped) = tokio::join!(timeout(Duration::from_secs(5), serve()), dropped);
    assert!(dropped.is_err());
    std::fs::remove_file(&place).unwrap();
}
