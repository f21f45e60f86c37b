//! A far end that sends every packet back unchanged, on tracks of its own. Embedded, it lives in the
//! process of the call, so a call to it measures this box and nothing beyond; as `bellwether reflect`
//! it is another room's far end, and notes when each packet came and left again: numbers, kept for as
//! long as the call. It decodes nothing and keeps no media.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rtc::shared::error::{Error, Result};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    capture::Stream,
    clock::Clock,
    far_log,
    peer::{Event, Incoming, KeyFrameRequests, LocalTrack, Peer, RemoteTrack, Setup, has_pictures},
    sdp, slice,
    socket::{Log, StampingRuntime, log::Source},
};

/// How often it is looked whether packets still come.
const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row without a packet after which nobody is there any more.
const MOST_SILENT: u32 = 10;

/// An offer was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReflectError {
    /// It is none, or offers nothing that can be reflected.
    #[error("the offer cannot be answered")]
    Offer(#[source] Error),
    /// No connection can be set up on this box.
    #[error("no connection can be set up here")]
    Own(#[source] Error),
}

/// Why reflecting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// The connection broke, or was never made.
    Gone,
    /// No media came for ten seconds.
    Silent,
}

/// Shortens the turns of this thread and of those it starts, so that what arrives is sent back without
/// waiting for threads that compute. For a program that does nothing else.
pub fn take_short_turns() {
    slice::short();
}

/// What a reflector notes of a call.
#[derive(Clone, Debug)]
pub struct Notes {
    log: Arc<Log>,
    /// The first track of each stream.
    sources: Arc<Mutex<[Option<Source>; 2]>>,
}

impl Notes {
    /// Nothing yet, on a clock that starts now.
    pub(crate) fn new() -> Self {
        Self { log: Arc::new(Log::of_most(far_log::MOST_PACKETS, Clock::start())), sources: Arc::default() }
    }

    fn add(&self, stream: Stream, track: Source) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get_mut(stream as usize) {
            source.get_or_insert(track);
        }
    }

    /// What was noted so far, for the caller: JSON of at most half a MiB. Takes some milliseconds; empty
    /// if it would be longer.
    pub fn text(&self) -> String {
        let sources = *self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let passages = self.log.passages(&sources);
        far_log::write(&passages, self.log.clock().drift())
    }
}

/// Answers the offer of a caller at `caller`, and from then on reflects what it sends, on loopback for a
/// caller of this box and on all interfaces for any other. Ids are drawn from `random`.
///
/// # Errors
/// [`ReflectError`]: the offer cannot be answered, or this box cannot answer any.
pub async fn answer(
    offer: String,
    caller: IpAddr,
    random: &mut fastrand::Rng,
) -> std::result::Result<(String, Reflecting), ReflectError> {
    // Anybody's: the library is to see no more of it than it needs, nor send checks to all it names.
    let plain = sdp::plain(&offer, true, has_pictures(&offer))
        .map_err(|error| ReflectError::Offer(Error::Other(error.to_string())))?;
    let setup = match loopback(caller) {
        Some(address) => Setup::at(address),
        None => Setup::on_interfaces(false),
    };
    let setup = Setup { payload_types: plain.payload_types, ..setup }.for_offer(&plain.sdp);
    let reflector = Reflector::with(setup, Some(Notes::new()), random).await.map_err(ReflectError::Own)?;
    reflector.answer(plain.sdp).await.map_err(ReflectError::Offer)
}

/// Where to meet a caller of this box.
fn loopback(caller: IpAddr) -> Option<&'static str> {
    let caller = caller.to_canonical();
    caller.is_loopback().then_some(if caller.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" })
}

/// A far end that waits for an offer.
pub(crate) struct Reflector {
    peer: Peer,
    notes: Option<Notes>,
}

impl Reflector {
    /// A reflector on the loopback interface, for this offer, which notes nothing: all it could tell, the
    /// caller sees.
    pub(crate) async fn new(offer: &str, random: &mut fastrand::Rng) -> Result<Self> {
        Self::with(Setup::at("127.0.0.1:0").for_offer(offer), None, random).await
    }

    pub(crate) async fn with(setup: Setup, notes: Option<Notes>, random: &mut fastrand::Rng) -> Result<Self> {
        let log = notes.as_ref().map(|notes| Arc::clone(&notes.log));
        let runtime = StampingRuntime { log, ..StampingRuntime::default() };
        Ok(Self { peer: Peer::new(setup, runtime, random).await?, notes })
    }

    /// Answers an offer, and from then on reflects until it is closed.
    pub(crate) async fn answer(mut self, offer: String) -> Result<(String, Reflecting)> {
        let answer = match self.peer.answer(offer).await {
            Ok(answer) => answer,
            Err(error) => {
                self.peer.close().await;
                return Err(error);
            }
        };
        let (stop, stopped) = oneshot::channel();
        let packets = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(reflect(self.peer, self.notes.clone(), Arc::clone(&packets), stopped));
        Ok((answer, Reflecting { stop, task: Some(task), packets, notes: self.notes }))
    }
}

/// A reflector at work.
#[derive(Debug)]
pub struct Reflecting {
    stop: oneshot::Sender<()>,
    /// `None` once it has ended.
    task: Option<JoinHandle<Ended>>,
    packets: Arc<AtomicU64>,
    notes: Option<Notes>,
}

impl Reflecting {
    /// Waits until it ends by itself. May be dropped and called again.
    pub async fn ended(&mut self) -> Ended {
        let Some(task) = &mut self.task else { return Ended::Gone };
        let ended = task.await;
        self.task = None;
        ended.unwrap_or_else(|error| {
            tracing::debug!(%error, "the reflector ended badly");
            Ended::Gone
        })
    }

    /// Packets reflected so far.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// What it notes, which outlasts it; the embedded one notes nothing.
    pub fn notes(&self) -> Option<Notes> {
        self.notes.clone()
    }

    /// Ends it and waits for its end.
    pub async fn close(mut self) {
        let Some(task) = self.task.take() else { return };
        drop(self.stop);
        if let Err(error) = task.await {
            tracing::debug!(%error, "the reflector ended badly");
        }
    }
}

async fn reflect(
    mut peer: Peer,
    notes: Option<Notes>,
    packets: Arc<AtomicU64>,
    mut stopped: oneshot::Receiver<()>,
) -> Ended {
    let mut source: Option<KeyFrameRequests> = None;
    let mut silence = Silence::default();
    let mut looks = looks();
    let ended = loop {
        let event = tokio::select! {
            event = peer.events.recv() => event,
            _ = &mut stopped => break Ended::Told,
            _ = looks.tick() => {
                if silence.is_too_long(packets.load(Ordering::Relaxed)) {
                    break Ended::Silent;
                }
                continue;
            }
        };
        match event {
            None | Some(Event::Failed | Event::IceFailed) => break Ended::Gone,
            Some(Event::Track(track)) => {
                if track.stream == Stream::Video {
                    source = Some(track.requests());
                }
                let back = peer.track(track.stream).clone();
                if let Some(notes) = &notes {
                    notes.add(track.stream, Source { came: track.ssrc, went: back.ssrc });
                }
                tokio::spawn(send_back(track, back, Arc::clone(&packets)));
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
    };
    peer.close().await;
    ended
}

fn looks() -> Interval {
    let mut looks = interval(LOOK);
    // A box that stood still gives the caller its full time.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// For how long no packet came.
#[derive(Debug, Default)]
struct Silence {
    packets: u64,
    looks: u32,
}

impl Silence {
    /// One look at how many packets came so far; the first look is at the start.
    fn is_too_long(&mut self, packets: u64) -> bool {
        self.looks = if packets == self.packets { self.looks + 1 } else { 0 };
        self.packets = packets;
        self.looks > MOST_SILENT
    }
}

/// Payload, number, time stamp and marker stay; SSRC and payload type are those of our track.
async fn send_back(track: RemoteTrack, back: LocalTrack, packets: Arc<AtomicU64>) {
    let requests = track.requests();
    while let Some(incoming) = track.next().await {
        match incoming {
            Incoming::Packet(mut packet) => {
                packet.header.ssrc = back.ssrc;
                packet.header.payload_type = back.payload_type;
                packets.fetch_add(1, Ordering::Relaxed);
                if back.send(packet).await.is_err() {
                    break;
                }
            }
            Incoming::KeyFrameWanted => requests.send().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_without_a_packet_are_too_long_whenever_they_come() {
        let mut silence = Silence::default();
        let mut too_long =
            |packets: u64, looks: usize| -> Vec<bool> { (0..looks).map(|_| silence.is_too_long(packets)).collect() };
        assert_eq!(too_long(0, 10), [false; 10]);
        assert_eq!(too_long(7, 11), [false; 11], "a packet starts it anew");
        assert_eq!(too_long(7, 1), [true]);
    }

    #[tokio::test]
    async fn an_offer_is_reduced_before_it_is_answered() {
        let mut random = fastrand::Rng::with_seed(1);
        let runtime = StampingRuntime::default();
        let mut caller = Peer::new(Setup::at("127.0.0.1:0"), runtime, &mut random).await.expect("a connection");
        let offer = caller.offer().await.expect("an offer").replace("a=ssrc", "a=x-ssrc");
        let here = IpAddr::from([127, 0, 0, 1]);
        let (answered, reflecting) = answer(offer.clone(), here, &mut random).await.expect("an answer");
        assert!(answered.contains("m=video"), "{answered}");
        reflecting.close().await;
        let refused = answer(offer.replace("BUNDLE", "NONE"), here, &mut random).await;
        assert!(matches!(refused, Err(ReflectError::Offer(_))), "{refused:?}");
        caller.close().await;
    }

    #[test]
    fn a_caller_of_this_box_is_met_on_loopback_and_no_other() {
        for (caller, met) in [
            ("127.0.0.1", Some("127.0.0.1:0")),
            ("127.1.2.3", Some("127.0.0.1:0")),
            ("::ffff:127.0.0.1", Some("127.0.0.1:0")),
            ("::1", Some("[::1]:0")),
            ("192.0.2.7", None),
            ("2001:db8::7", None),
        ] {
            assert_eq!(loopback(caller.parse().expect("an address")), met, "{caller}");
        }
    }
}
