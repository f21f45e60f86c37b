//! The embedded far end: sends every packet back unchanged, on tracks of its own. It lives in the
//! process of the call, so a call to it measures this box and nothing beyond.

use rtc::shared::error::Result;

use super::{
    capture::Stream,
    peer::{Event, Incoming, KeyFrameRequests, LocalTrack, Peer, RemoteTrack},
    socket::StampingRuntime,
};

/// A far end on the loopback interface.
pub(crate) struct Reflector {
    peer: Peer,
}

impl Reflector {
    /// A reflector that waits for an offer.
    pub(crate) async fn new(random: &mut fastrand::Rng) -> Result<Self> {
        Ok(Self { peer: Peer::new(StampingRuntime::default(), "127.0.0.1:0", random).await? })
    }

    /// Answers an offer, and from then on reflects until it is closed.
    pub(crate) async fn answer(mut self, offer: String) -> Result<(String, Reflecting)> {
        let answer = self.peer.answer(offer).await?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(reflect(self.peer, stopped));
        Ok((answer, Reflecting { stop, task }))
    }
}

/// A reflector at work.
pub(crate) struct Reflecting {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Reflecting {
    /// Ends it.
    pub(crate) async fn close(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::debug!(%error, "the reflector ended badly");
        }
    }
}

async fn reflect(mut peer: Peer, mut stopped: tokio::sync::oneshot::Receiver<()>) {
    let mut source: Option<KeyFrameRequests> = None;
    loop {
        let event = tokio::select! {
            event = peer.events.recv() => event,
            _ = &mut stopped => None,
        };
        match event {
            None | Some(Event::Failed | Event::IceFailed) => break,
            Some(Event::Track(track)) => {
                if track.stream == Stream::Video {
                    source = Some(track.requests());
                }
                let back = peer.track(track.stream).clone();
                tokio::spawn(send_back(track, back));
            }
            // Whoever watches our picture cannot decode it: as it is the sender's, the sender
            // must make the key frame.
            Some(Event::KeyFrameWanted) => {
                if let Some(source) = &source {
                    source.send().await;
                }
            }
            Some(Event::Gathered | Event::IceConnected | Event::Connected) => {}
        }
    }
    peer.close().await;
}

/// Payload, number, time stamp and marker stay; SSRC and payload type are those of our track.
async fn send_back(track: RemoteTrack, back: LocalTrack) {
    let requests = track.requests();
    while let Some(incoming) = track.next().await {
        match incoming {
            Incoming::Packet(mut packet) => {
                packet.header.ssrc = back.ssrc;
                packet.header.payload_type = back.payload_type;
                if back.send(packet).await.is_err() {
                    break;
                }
            }
            Incoming::KeyFrameWanted => requests.send().await,
        }
    }
}
