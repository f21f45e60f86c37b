//! How our connections are set up: codecs, timers of ICE, repair.

use std::{sync::Arc, time::Duration};

use rtc::{
    ice::mdns::MulticastDnsMode,
    interceptor::{ReceiverReportBuilder, SenderReportBuilder, Slot},
    peer_connection::configuration::{
        interceptor_registry::{Registry, configure_nack},
        media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine},
        setting_engine::{SettingEngine, SettingEngineBuilder},
    },
    peer_connection::transport::RTCDtlsRole,
    rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind},
    shared::error::Error,
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    deliver::{Deliver, Requests},
    passing::Passing,
    setup::Setup,
    sources::{Source, Undeclared},
};
use crate::media::{capture::Stream, socket::Log};

/// Pace of connectivity checks while connecting: Ta of RFC 8445 §14.2.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Checks per pair before it is given up: five seconds of them.
const MOST_CHECKS: u16 = 100;
/// Pace of checks on the chosen pair, with pictures. RFC 7675 asks for 5 s; each is a sample of the round
/// trip, and the shortest call is to yield several.
const KEEPALIVE: Duration = Duration::from_millis(500);
/// The same without: checks are not to take much beside sound alone.
const LIGHT_KEEPALIVE: Duration = Duration::from_secs(1);
/// How often RTCP reports, with pictures and without.
const REPORTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// The slots nearest to the wire, which all that leaves passes last.
const FIRST_SLOTS: [usize; 2] = [500, 501];
/// The slot nearest to the application, behind everything that reads RTCP for itself.
const LAST_SLOT: usize = 14_000;

pub(super) fn kind(stream: Stream) -> RtpCodecKind {
    match stream {
        Stream::Audio => RtpCodecKind::Audio,
        Stream::Video => RtpCodecKind::Video,
    }
}

/// Payload type and parameters of a track: the one codec offered for it.
pub(super) fn codec(stream: Stream, payload_types: [u8; 2]) -> RTCRtpCodecParameters {
    let feedback = |parameter: &str| RTCPFeedback { typ: "nack".to_owned(), parameter: parameter.to_owned() };
    let (mime_type, channels, fmtp, rtcp_feedback) = match stream {
        Stream::Audio => (MIME_TYPE_OPUS, 2, "minptime=10;useinbandfec=1", Vec::new()),
        Stream::Video => (
            MIME_TYPE_H264,
            0,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            vec![feedback(""), feedback("pli")],
        ),
    };
    let rtp_codec = RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate: stream.clock_rate(),
        channels,
        sdp_fmtp_line: fmtp.to_owned(),
        rtcp_feedback,
    };
    RTCRtpCodecParameters { rtp_codec, payload_type: payload_types[stream as usize] }
}

/// The codecs, and the interceptors that repair and report; what the other side reports goes to `log`, the
/// sources it does not declare to `sources`.
pub(super) fn media_engine(
    setup: &Setup,
    log: Option<Arc<Log>>,
    sources: UnboundedSender<Source>,
) -> Result<(MediaEngine, Registry), Error> {
    let mut engine = MediaEngine::default();
    for stream in setup.streams() {
        engine.register_codec(codec(*stream, setup.payload_types), kind(*stream))?;
    }
    let period = REPORTS[usize::from(!setup.pictures)];
    let registry = configure_nack(Registry::new(), &mut engine)
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().with_interval(period).build())
        .with(Slot::SenderReport, SenderReportBuilder::new().with_interval(period).build())
        .with(Slot::from(FIRST_SLOTS[0]), Passing::new(Requests(log.clone())))
        .with(Slot::from(FIRST_SLOTS[1]), Passing::new(Undeclared::new(setup.payload_types, sources)))
        .with(Slot::from(LAST_SLOT), Passing::new(Deliver(log)));
    Ok((engine, registry))
}

/// Multicast DNS is off: it joins a multicast group, which fails on a box without a default route.
/// A relay is usually the last resort and waits for better pairs; alone it has none to wait for.
pub(super) fn settings(setup: &Setup) -> SettingEngine {
    let keepalive = if setup.pictures { KEEPALIVE } else { LIGHT_KEEPALIVE };
    let engine = SettingEngineBuilder::new();
    let engine = if setup.passive { engine.with_answering_dtls_role(RTCDtlsRole::Server) } else { engine };
    engine
        .with_relay_acceptance_min_wait(setup.relay_only.then_some(Duration::ZERO))
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(true)
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(MOST_CHECKS))
        .with_ice_timeouts(None, None, Some(keepalive))
        .build()
}
