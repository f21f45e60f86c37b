//! One end of a call. Beside its settings and the socket hook, the only file that names `webrtc`:
//! both ends of a self-test are built from it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::{
        configuration::{RTCConfiguration, RTCConfigurationBuilder, RTCIceServer, RTCIceTransportPolicy},
        sdp::RTCSessionDescription,
        state::{RTCIceConnectionState, RTCPeerConnectionState},
    },
    rtcp::payload_feedbacks::{full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication},
    rtp::Packet,
    rtp_transceiver::{
        RTCRtpTransceiverDirection, RTCRtpTransceiverInit,
        rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind},
    },
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use webrtc::{
    error::Result,
    media_stream::{
        track_local::{TrackLocal, TrackLocalEvent, static_rtp::TrackLocalStaticRTP},
        track_remote::{TrackRemote, TrackRemoteEvent},
    },
    peer_connection::{PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState},
};

use super::{capture::Stream, ice::Server, socket::StampingRuntime};

mod deliver;
mod passing;
mod settings;
mod setup;
mod sources;

pub(crate) use setup::{Direction, Setup, has_pictures, on_interface};
pub(crate) use sources::PLACEHOLDERS;

/// How long candidates may take that STUN and TURN servers have to answer for.
const GATHERING: Duration = Duration::from_secs(3);

/// What happens to a connection.
pub(crate) enum Event {
    /// All local candidates are known.
    Gathered,
    /// A candidate pair works.
    IceConnected,
    /// No candidate pair works, or none any longer.
    IceFailed,
    /// The DTLS handshake is done: media may flow.
    Connected,
    /// The connection is gone.
    Failed,
    /// The first packet of a track of the other side.
    Track(RemoteTrack),
    /// The other side cannot decode without a new key frame.
    KeyFrameWanted,
}

/// One connection with a track for sound and, unless it is for sound alone, one for pictures.
pub(crate) struct Peer {
    connection: Arc<dyn PeerConnection>,
    /// Sound and picture; they lead nowhere if the connection only receives, or has no pictures.
    tracks: [LocalTrack; 2],
    /// What happens to it, in order.
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    /// Sources that the other side does not declare; `None` once they are being learnt.
    sources: Option<mpsc::UnboundedReceiver<sources::Source>>,
    /// Learns them, for as long as this lives.
    learning: JoinSet<()>,
}

impl Peer {
    /// A connection, not connected yet. Its ids are drawn from `random`: both ends must not name
    /// their tracks alike, as feedback is routed by track name.
    pub(crate) async fn new(setup: Setup, mut runtime: StampingRuntime, random: &mut fastrand::Rng) -> Result<Self> {
        let (found, sources) = mpsc::unbounded_channel();
        let (engine, registry) = settings::media_engine(&setup, runtime.log.clone(), found)?;
        let (sender, events) = mpsc::unbounded_channel();
        let group = word(random);
        let tracks = Stream::ALL.map(|stream| LocalTrack::new(stream, &setup, &group, random));
        runtime.marks.picture = Some(tracks[Stream::Video as usize].ssrc);
        runtime.rounds = (!setup.servers.is_empty()).then(Arc::default);
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration(&setup))
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings::settings(&setup))
            .with_handler(Arc::new(Handler { events: sender.clone() }))
            .with_runtime(Arc::new(runtime))
            .with_udp_addrs(setup.addresses.clone())
            .build()
            .await?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        for &stream in setup.streams() {
            let local = &tracks[stream as usize];
            let track = Arc::clone(&local.track) as Arc<dyn TrackLocal>;
            match setup.direction {
                Direction::Both => drop(connection.add_track(track).await?),
                Direction::Send => drop(connection.add_transceiver_from_track(track, Some(send_only())).await?),
                Direction::Receive => {
                    connection.add_transceiver_from_kind(settings::kind(stream), None).await?;
                    continue;
                }
            }
            tokio::spawn(feedback(Arc::clone(&local.track), sender.clone()));
        }
        Ok(Self { connection, tracks, events, sources: Some(sources), learning: JoinSet::new() })
    }

    /// Our track of `stream`.
    pub(crate) fn track(&self, stream: Stream) -> &LocalTrack {
        &self.tracks[stream as usize]
    }

    /// Our offer, all candidates included.
    pub(crate) async fn offer(&mut self) -> Result<String> {
        let offer = self.connection.create_offer(None).await?;
        self.describe(offer).await
    }

    /// Takes the other side's offer; our answer, all candidates included.
    pub(crate) async fn answer(&mut self, offer: String) -> Result<String> {
        let offer = RTCSessionDescription::offer(offer)?;
        self.connection.set_remote_description(offer.clone()).await?;
        let answer = self.connection.create_answer(None).await?;
        let answer = self.describe(answer).await?;
        self.learn(offer);
        Ok(answer)
    }

    /// Takes the other side's answer, and the payload types in which it wants our tracks.
    pub(crate) async fn accept(&mut self, answer: String, payload_types: [u8; 2]) -> Result<()> {
        for (track, payload_type) in self.tracks.iter_mut().zip(payload_types) {
            track.payload_type = payload_type;
        }
        let answer = RTCSessionDescription::answer(answer)?;
        self.connection.set_remote_description(answer.clone()).await?;
        self.learn(answer);
        Ok(())
    }

    /// Has sources learnt that are not declared in what the other side described.
    fn learn(&mut self, remote: RTCSessionDescription) {
        if let Some(sources) = self.sources.take() {
            self.learning.spawn(sources::learn(Arc::clone(&self.connection), remote, sources));
        }
    }

    /// Ends the connection; its tracks end with it.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
    }

    async fn describe(&mut self, description: RTCSessionDescription) -> Result<String> {
        self.connection.set_local_description(description).await?;
        let gathered = async {
            while let Some(event) = self.events.recv().await {
                if matches!(event, Event::Gathered) {
                    break;
                }
            }
        };
        if timeout(GATHERING, gathered).await.is_err() {
            tracing::debug!("a STUN or TURN server did not answer in time; going on without it");
        }
        Ok(self.connection.local_description().await.map(|description| description.sdp).unwrap_or_default())
    }
}

/// A track we send.
#[derive(Clone)]
pub(crate) struct LocalTrack {
    track: Arc<TrackLocalStaticRTP>,
    /// Its SSRC.
    pub(crate) ssrc: u32,
    /// Its payload type, as offered or as the answer has it.
    pub(crate) payload_type: u8,
    /// Whether a TURN server may be on its way.
    relayed: bool,
}

impl LocalTrack {
    fn new(stream: Stream, setup: &Setup, group: &str, random: &mut fastrand::Rng) -> Self {
        let ssrc = random.u32(1..);
        let codec = settings::codec(stream, setup.payload_types);
        let coding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec: codec.rtp_codec,
            ..Default::default()
        };
        let kind = settings::kind(stream);
        let track = MediaStreamTrack::new(group.to_owned(), word(random), stream.name().to_owned(), kind, vec![coding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        Self { track, ssrc, payload_type: codec.payload_type, relayed: !setup.servers.is_empty() }
    }

    /// Sends a packet; its SSRC must be ours.
    pub(crate) async fn send(&self, packet: Packet) -> Result<()> {
        self.track.write_rtp(packet).await?;
        if self.relayed {
            // The library asks its TURN client for what to send before it hands it the packet, which then
            // lies there until the next round. An empty compound starts one, and is never sent itself.
            self.track.write_rtcp(Vec::new()).await?;
        }
        Ok(())
    }
}

/// A track we receive.
pub(crate) struct RemoteTrack {
    track: Arc<dyn TrackRemote>,
    /// Which of the two.
    pub(crate) stream: Stream,
    /// Its SSRC.
    pub(crate) ssrc: u32,
}

/// What comes with a track.
pub(crate) enum Incoming {
    /// A packet of it.
    Packet(Packet),
    /// A request for a key frame that was routed here (RTCP comes by the id of a track, and a
    /// compound of it by that of its first part).
    KeyFrameWanted,
}

impl RemoteTrack {
    /// The next thing that comes; `None` at the end of the track.
    pub(crate) async fn next(&self) -> Option<Incoming> {
        loop {
            match self.track.poll().await? {
                TrackRemoteEvent::OnRtpPacket(packet) => return Some(Incoming::Packet(packet)),
                TrackRemoteEvent::OnRtcpPacket(packets) if wants_key_frame(&packets) => {
                    return Some(Incoming::KeyFrameWanted);
                }
                TrackRemoteEvent::OnEnded | TrackRemoteEvent::OnError => return None,
                _ => {}
            }
        }
    }

    /// A handle to ask for key frames with.
    pub(crate) fn requests(&self) -> KeyFrameRequests {
        KeyFrameRequests { track: Arc::clone(&self.track), ssrc: self.ssrc }
    }
}

/// Asks the sender of a track for key frames.
#[derive(Clone)]
pub(crate) struct KeyFrameRequests {
    track: Arc<dyn TrackRemote>,
    ssrc: u32,
}

impl KeyFrameRequests {
    /// Asks once (picture loss indication, RFC 4585 §6.3.1).
    pub(crate) async fn send(&self) {
        let request = PictureLossIndication { sender_ssrc: 0, media_ssrc: self.ssrc };
        if let Err(error) = self.track.write_rtcp(vec![Box::new(request)]).await {
            tracing::debug!(%error, "a key frame request was not sent");
        }
    }
}

fn wants_key_frame(packets: &[Box<dyn rtc::rtcp::Packet>]) -> bool {
    packets.iter().any(|packet| {
        let packet = packet.as_any();
        packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>()
    })
}

/// Hands on what the other side says of a track of ours, until the connection ends.
async fn feedback(track: Arc<TrackLocalStaticRTP>, events: mpsc::UnboundedSender<Event>) {
    while let Some(event) = track.poll().await {
        let TrackLocalEvent::OnRtcpPacket(packets) = event else { continue };
        if wants_key_frame(&packets) && events.send(Event::KeyFrameWanted).is_err() {
            break;
        }
    }
}

fn configuration(setup: &Setup) -> RTCConfiguration {
    let server = |server: &Server| RTCIceServer {
        urls: server.urls.clone(),
        username: server.username.clone(),
        credential: server.credential.expose().to_owned(),
    };
    let policy = if setup.relay_only { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
    RTCConfigurationBuilder::new()
        .with_ice_servers(setup.servers.iter().map(server).collect())
        .with_ice_transport_policy(policy)
        .build()
}

fn send_only() -> RTCRtpTransceiverInit {
    let direction = RTCRtpTransceiverDirection::Sendonly;
    RTCRtpTransceiverInit { direction, streams: Vec::new(), send_encodings: Vec::new() }
}

fn word(random: &mut fastrand::Rng) -> String {
    format!("{:016x}", random.u64(..))
}

struct Handler {
    events: mpsc::UnboundedSender<Event>,
}

impl Handler {
    fn tell(&self, event: Event) {
        // Nobody listens any more once the call is over.
        let _ = self.events.send(event);
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.tell(Event::Gathered);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        match state {
            RTCIceConnectionState::Connected => self.tell(Event::IceConnected),
            RTCIceConnectionState::Failed => self.tell(Event::IceFailed),
            _ => {}
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.tell(Event::Connected),
            RTCPeerConnectionState::Failed => self.tell(Event::Failed),
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let stream = match track.kind().await {
            RtpCodecKind::Audio => Stream::Audio,
            RtpCodecKind::Video => Stream::Video,
            _ => return,
        };
        if let Some(&ssrc) = track.ssrcs().await.first() {
            self.tell(Event::Track(RemoteTrack { track, stream, ssrc }));
        }
    }
}

#[cfg(test)]
mod tests;
