//! Receiving: the task of a track only stamps and hands on; decoding, and looking for our signal
//! in what was decoded, has a thread of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use rtc::rtp::Packet;
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Hear, HeardPacket,
    h264::{AccessUnit, Assembled, Assembler, picture_hash, profile},
    reorder::{Extender, Next, Reorder},
    sound::Ear,
};
use crate::media::{
    capture::{DecodedFrame, HeardMarker, Nanos, ReceivedFrame, ReceivedPacket, Stream},
    clock::Clock,
    codec::{CodecError, PictureDecoder},
    peer::{Incoming, KeyFrameRequests, RemoteTrack},
    signal::picture,
    socket::{Log, datagram::PacketId},
};

/// Packets between the tasks and the listener; more are dropped, and counted.
const QUEUE: usize = 2048;
/// Packets kept of one call.
const MOST_PACKETS: usize = 200_000;
/// How long a packet waits for those before it. A repair takes a round trip or two; sound is not
/// repaired, and its time is that of arrival whenever it is decoded.
const PATIENCE: [Nanos; 2] = [200_000_000, 400_000_000];
/// How often the listener looks for gaps to give up.
const LOOK: Duration = Duration::from_millis(20);
/// Key frames are asked for at most this often.
const REQUEST_PAUSE: Nanos = 300_000_000;

/// What the tasks hand to the listener.
enum Message {
    Track(Stream, KeyFrameRequests),
    Packet { stream: Stream, packet: Packet, at: Nanos, seen: Nanos },
}

/// The tasks' end.
#[derive(Clone)]
pub(super) struct Inlet {
    log: Arc<Log>,
    queue: SyncSender<Message>,
    /// Packets that came.
    pub(super) received: Arc<AtomicU64>,
    /// Packets that did not fit into the queue.
    pub(super) dropped: Arc<AtomicU64>,
    key_wanted: Arc<AtomicBool>,
}

impl Inlet {
    /// Both ends. `key_wanted` is set when the far end asks for a key frame of ours.
    pub(super) fn new(log: Arc<Log>, key_wanted: Arc<AtomicBool>) -> (Self, Outlet) {
        let (queue, messages) = sync_channel(QUEUE);
        let (received, dropped) = (Arc::default(), Arc::default());
        (Self { log, queue, received, dropped, key_wanted }, Outlet(messages))
    }

    /// Notes that the far end cannot go on without a key frame of ours.
    pub(super) fn want_key_frame(&self) {
        self.key_wanted.store(true, Ordering::Relaxed);
    }

    /// Serves a track until it ends.
    pub(super) async fn serve(self, track: RemoteTrack) {
        self.hand_on(Message::Track(track.stream, track.requests()));
        while let Some(incoming) = track.next().await {
            match incoming {
                Incoming::KeyFrameWanted => self.want_key_frame(),
                Incoming::Packet(packet) => {
                    let seen = self.log.clock().now();
                    let id = PacketId { ssrc: packet.header.ssrc, sequence: packet.header.sequence_number };
                    let at = self.log.take(id).unwrap_or(seen);
                    self.received.fetch_add(1, Ordering::Relaxed);
                    self.hand_on(Message::Packet { stream: track.stream, packet, at, seen });
                }
            }
        }
    }

    fn hand_on(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The listener's end.
pub(super) struct Outlet(Receiver<Message>);

/// What was received and recognised.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Packets, with the id under which the socket knows them.
    pub(super) packets: Vec<(PacketId, ReceivedPacket)>,
    /// Whole pictures, whether they could be decoded or not.
    pub(super) pictures: Vec<ReceivedFrame>,
    /// Their profile, once parameter sets came.
    pub(super) profile: Option<String>,
    pub(super) frames: Vec<DecodedFrame>,
    pub(super) markers: Vec<HeardMarker>,
    pub(super) first_sound: Option<Nanos>,
}

/// A packet on its way through the reorder buffer.
struct Waiting {
    packet: Packet,
    at: Nanos,
}

/// What a listener decodes with. Made before the call: it takes a while.
pub(super) struct Senses {
    ear: Hearing,
    decoder: Option<PictureDecoder>,
}

/// What a listener hears with.
enum Hearing {
    /// That for the markers of the test sound.
    Markers(Box<Ear>),
    /// That of a call with another sound. It gets the packets as they come.
    Own(Box<dyn Hear>),
}

impl Senses {
    /// An ear, unless there is an `own` one, and eyes if there are `pictures` to be seen.
    pub(super) fn new(pictures: bool, own: Option<Box<dyn Hear>>) -> Result<Self, CodecError> {
        let ear = match own {
            Some(own) => Hearing::Own(own),
            None => Hearing::Markers(Box::new(Ear::new()?)),
        };
        Ok(Self { ear, decoder: pictures.then(PictureDecoder::new).transpose()? })
    }
}

/// Decodes and recognises.
pub(super) struct Listener {
    clock: Clock,
    runtime: Handle,
    stream_number: u8,
    extenders: [Extender; 2],
    buffers: [Reorder<Waiting>; 2],
    ear: Hearing,
    /// `None` of a call with sound alone.
    decoder: Option<PictureDecoder>,
    assembler: Assembler,
    /// Arrival of the latest packet of the access unit at hand.
    completed: Nanos,
    newest_counter: u64,
    requests: Option<KeyFrameRequests>,
    requested: Option<Nanos>,
    heard: Heard,
}

impl Listener {
    /// A listener for pictures numbered `stream_number`, which asks for key frames on `runtime`.
    pub(super) fn new(clock: Clock, runtime: Handle, stream_number: u8, senses: Senses) -> Self {
        Self {
            clock,
            runtime,
            stream_number,
            extenders: Default::default(),
            buffers: PATIENCE.map(Reorder::new),
            ear: senses.ear,
            decoder: senses.decoder,
            assembler: Assembler::new(),
            completed: 0,
            newest_counter: 0,
            requests: None,
            requested: None,
            heard: Heard::default(),
        }
    }

    /// Listens until all tracks have ended.
    pub(super) fn run(mut self, outlet: &Outlet) -> Heard {
        loop {
            match outlet.0.recv_timeout(LOOK) {
                Ok(Message::Track(Stream::Video, requests)) => self.requests = Some(requests),
                Ok(Message::Track(Stream::Audio, _)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Packet { stream, packet, at, seen }) => self.receive(stream, packet, at, seen),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.drain(self.clock.now());
        }
        // What still waits is not waited for.
        self.drain(Nanos::MAX);
        match &mut self.ear {
            Hearing::Markers(ear) => self.heard.markers.extend(ear.finish()),
            Hearing::Own(ear) => ear.finish(),
        }
        self.heard
    }

    fn receive(&mut self, stream: Stream, packet: Packet, at: Nanos, seen: Nanos) {
        let header = &packet.header;
        let sequence = self.extenders[stream as usize].extend(header.sequence_number);
        if self.heard.packets.len() < MOST_PACKETS {
            let id = PacketId { ssrc: header.ssrc, sequence: header.sequence_number };
            let (rtp_time, hash) = (header.timestamp, xxh3_64(&packet.payload));
            let bytes = packet.payload.len() as u32;
            self.heard.packets.push((id, ReceivedPacket { stream, sequence, rtp_time, hash, bytes, at, seen }));
        }
        if let (Stream::Audio, Hearing::Own(ear)) = (stream, &mut self.ear) {
            let (ssrc, sequence, rtp_time) = (header.ssrc, header.sequence_number, header.timestamp);
            ear.take(&HeardPacket { ssrc, sequence, rtp_time, payload: &packet.payload, at });
            return;
        }
        self.buffers[stream as usize].push(sequence, seen, Waiting { packet, at });
    }

    fn drain(&mut self, now: Nanos) {
        while let Some(next) = self.buffers[Stream::Audio as usize].pop(now) {
            // A gap shows in the time stamps.
            let (Next::Packet(Waiting { packet, at }), Hearing::Markers(ear)) = (next, &mut self.ear) else { continue };
            match ear.hear(&packet.payload, packet.header.timestamp, at) {
                Ok(found) => {
                    self.heard.first_sound.get_or_insert_with(|| self.clock.now());
                    self.heard.markers.extend(found);
                }
                Err(error) => not_decoded(&error),
            }
        }
        while let Some(next) = self.buffers[Stream::Video as usize].pop(now) {
            match next {
                Next::Gap => self.assembler.gap(),
                Next::Packet(waiting) => self.see(&waiting),
            }
        }
    }

    fn see(&mut self, Waiting { packet, at }: &Waiting) {
        self.completed = self.completed.max(*at);
        match self.assembler.push(&packet.payload, packet.header.timestamp, packet.header.marker) {
            Assembled::Partial => {}
            Assembled::Useless => self.request_key_frame(),
            Assembled::Stranded(unit) => {
                self.note(&unit, packet.header.timestamp);
                self.request_key_frame();
            }
            Assembled::Whole(unit) => {
                self.note(&unit, packet.header.timestamp);
                let look = |luma: crate::media::codec::Luma<'_>| {
                    picture::read(luma.pixels, luma.width, luma.height, luma.stride)
                };
                let Some(decoder) = &mut self.decoder else { return };
                match decoder.decode(&unit.bytes, look) {
                    Ok(read) => self.recognise(read.flatten(), packet.header.timestamp),
                    Err(error) => {
                        self.assembler.decoder_failed();
                        not_decoded(&error);
                        self.request_key_frame();
                    }
                }
            }
        }
        if packet.header.marker {
            self.completed = 0;
        }
    }

    /// Notes that a whole picture came.
    fn note(&mut self, unit: &AccessUnit, rtp_time: u32) {
        if let Some(hash) = picture_hash(&unit.bytes)
            && self.heard.pictures.len() < MOST_PACKETS
        {
            self.heard.pictures.push(ReceivedFrame { hash, rtp_time, completed: self.completed, key: unit.key });
        }
        self.heard.profile = self.heard.profile.take().or_else(|| profile(&unit.bytes));
    }

    fn recognise(&mut self, read: Option<picture::ReadCode>, rtp_time: u32) {
        let at = self.clock.now();
        let Some(read) = read.filter(|read| read.code.stream == self.stream_number) else { return };
        let counter = read.code.extended(self.newest_counter);
        self.newest_counter = self.newest_counter.max(counter);
        let (completed, rtp_time) = (self.completed, Some(rtp_time));
        self.heard.frames.push(DecodedFrame { counter, at, completed, torn: read.torn, rtp_time });
    }

    fn request_key_frame(&mut self) {
        let now = self.clock.now();
        if self.requested.is_some_and(|requested| now - requested < REQUEST_PAUSE) {
            return;
        }
        if let Some(requests) = &self.requests {
            self.requested = Some(now);
            self.runtime.block_on(requests.send());
        }
    }
}

fn not_decoded(error: &CodecError) {
    tracing::debug!(error = error as &dyn std::error::Error, "not decoded");
}
