//! Sources that the other side does not declare: `a=ssrc` (RFC 5576) is optional, and many servers leave
//! it out. A packet then belongs to the section whose payload type it has (RFC 9143 §9.2). The library
//! drops such packets where there is more than one section; so we look at what it is about to drop, and
//! settle the same description with it once more, sources declared. Nothing of that leaves this box.

use std::{iter, sync::Arc, time::Duration};

use rtc::{
    interceptor::{Packet, StreamInfo, TaggedPacket},
    peer_connection::sdp::{RTCSdpType, RTCSessionDescription},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::sleep,
};
use webrtc::{error::Result, peer_connection::PeerConnection};

use super::passing::Look;
use crate::media::capture::Stream;

/// How long the second source is waited for once the first one came: settling starts the statistics of
/// both anew.
const TOGETHER: Duration = Duration::from_millis(50);

/// What stands in a description for the sources of sound and picture until they are known.
pub(crate) const PLACEHOLDERS: [u32; 2] = [0x6265_6C6C, 0x7765_7468];

/// A source as it was found.
pub(super) type Source = (Stream, u32);

/// Finds the sources that are not declared. What it sees is authenticated (SRTP).
pub(super) struct Undeclared {
    payload_types: [u8; 2],
    /// Whether the source of the stream is known.
    known: [bool; 2],
    found: UnboundedSender<Source>,
}

impl Undeclared {
    pub(super) fn new(payload_types: [u8; 2], found: UnboundedSender<Source>) -> Self {
        Self { payload_types, known: [false; 2], found }
    }

    /// The one stream that has this payload type.
    fn stream(&self, payload_type: u8) -> Option<Stream> {
        match self.payload_types.map(|of_stream| of_stream == payload_type) {
            [true, false] => Some(Stream::Audio),
            [false, true] => Some(Stream::Video),
            _ => None,
        }
    }
}

impl Look for Undeclared {
    fn begins(&mut self, declared: &StreamInfo) {
        if let Some(stream) = self.stream(declared.payload_type) {
            self.known[stream as usize] = true;
        }
    }

    fn incoming(&mut self, packet: &mut TaggedPacket) {
        let Packet::Rtp(packet) = &packet.message.packet else { return };
        let Some(stream) = self.stream(packet.header.payload_type) else { return };
        if !std::mem::replace(&mut self.known[stream as usize], true) {
            // Nobody waits for it any more once the call is over.
            let _ = self.found.send((stream, packet.header.ssrc));
        }
    }
}

/// Tells the connection of each source of the description `remote` as it is found.
pub(super) async fn learn(
    connection: Arc<dyn PeerConnection>,
    mut remote: RTCSessionDescription,
    mut found: UnboundedReceiver<Source>,
) {
    while let Some(first) = found.recv().await {
        sleep(TOGETHER).await;
        let mut sdp = std::mem::take(&mut remote.sdp);
        for source in iter::once(first).chain(iter::from_fn(|| found.try_recv().ok())) {
            sdp = declared(&sdp, source);
        }
        if let Err(error) = settle(&*connection, remote.sdp_type, sdp.clone()).await {
            tracing::debug!(%error, "an undeclared source was not taken in");
        }
        remote.sdp = sdp;
    }
}

async fn settle(connection: &dyn PeerConnection, kind: RTCSdpType, remote: String) -> Result<()> {
    if kind == RTCSdpType::Offer {
        connection.set_remote_description(RTCSessionDescription::offer(remote)?).await?;
        let answer = connection.create_answer(None).await?;
        return connection.set_local_description(answer).await;
    }
    let offer = connection.create_offer(None).await?;
    connection.set_local_description(offer).await?;
    connection.set_remote_description(RTCSessionDescription::answer(remote)?).await
}

/// The description with another source of the stream than it names.
fn declared(sdp: &str, (stream, ssrc): Source) -> String {
    let mut inside = false;
    let line = |line: &str| {
        if let Some(section) = line.strip_prefix("m=") {
            inside = section.starts_with(stream.name());
        }
        match line.strip_prefix("a=ssrc:") {
            Some(_) if inside => format!("a=ssrc:{ssrc} cname:far\r\n"),
            _ => format!("{line}\r\n"),
        }
    };
    sdp.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, and a packet needs an instant")]

    use rtc::rtp;
    use tokio::sync::mpsc;

    use super::*;
    use crate::media::clock::Clock;

    fn packet(payload_type: u8, ssrc: u32) -> TaggedPacket {
        let header = rtp::Header { version: 2, payload_type, ssrc, ..rtp::Header::default() };
        let packet = Packet::Rtp(rtp::Packet { header, ..rtp::Packet::default() });
        TaggedPacket { now: Clock::start().instant(0), transport: Default::default(), message: packet.into() }
    }

    #[test]
    fn the_first_source_with_the_number_of_a_stream_is_its_own_unless_one_is_declared() {
        let (sender, mut found) = mpsc::unbounded_channel();
        let mut undeclared = Undeclared::new([111, 102], sender);
        for (payload_type, ssrc) in [(127, 1), (102, 7), (102, 7), (102, 8), (111, 9)] {
            undeclared.incoming(&mut packet(payload_type, ssrc));
        }
        assert_eq!(found.try_recv(), Ok((Stream::Video, 7)));
        assert_eq!(found.try_recv(), Ok((Stream::Audio, 9)));
        assert!(found.try_recv().is_err());

        let (sender, mut found) = mpsc::unbounded_channel();
        let mut undeclared = Undeclared::new([111, 102], sender);
        undeclared.begins(&StreamInfo { ssrc: 7, payload_type: 102, ..StreamInfo::default() });
        undeclared.incoming(&mut packet(102, 8));
        assert!(found.try_recv().is_err(), "a source that is declared stays");

        let (sender, mut found) = mpsc::unbounded_channel();
        Undeclared::new([96, 96], sender).incoming(&mut packet(96, 8));
        assert!(found.try_recv().is_err(), "of which stream cannot be told");
    }

    #[test]
    fn a_source_stands_in_its_own_section_alone() {
        let sdp =
            "v=0\r\nm=audio 9 X 111\r\na=ssrc:1 cname:far\r\nm=video 9 X 102\r\na=mid:1\r\na=ssrc:2 cname:far\r\n";
        assert_eq!(declared(sdp, (Stream::Video, 77)), sdp.replace("ssrc:2", "ssrc:77"));
        assert_eq!(declared(sdp, (Stream::Audio, 77)), sdp.replace("ssrc:1", "ssrc:77"));
    }
}
