#![allow(clippy::unwrap_used, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use rtc::rtp::Header;
use tokio::{net::UdpSocket, time::timeout};

use super::*;
use crate::media::{
    clock::Clock,
    socket::{
        Log,
        datagram::{Datagram, PacketId, classify},
    },
};

/// A path between two ends on which what the far end sends as media arrives twice.
struct Wire {
    near_side: UdpSocket,
    far_side: UdpSocket,
}

impl Wire {
    async fn new() -> Self {
        let socket = || async { UdpSocket::bind("127.0.0.1:0").await.unwrap() };
        Self { near_side: socket().await, far_side: socket().await }
    }

    async fn carry(self, near: SocketAddr, far: SocketAddr) {
        let (mut up, mut down) = ([0; 1500], [0; 1500]);
        loop {
            tokio::select! {
                got = self.near_side.recv(&mut up) => {
                    self.far_side.send_to(&up[..got.unwrap()], far).await.unwrap();
                }
                got = self.far_side.recv(&mut down) => {
                    let bytes = &down[..got.unwrap()];
                    let copies = if matches!(classify(bytes), Datagram::Rtp(_)) { 2 } else { 1 };
                    for _ in 0..copies {
                        self.near_side.send_to(bytes, near).await.unwrap();
                    }
                }
            }
        }
    }
}

/// The description with all candidates moved to the port of `socket`, and where they were.
fn moved(description: &str, socket: &UdpSocket) -> (String, SocketAddr) {
    let port = socket.local_addr().unwrap().port();
    let mut was = None;
    let lines = description.split_inclusive('\n').map(|line| {
        let Some(candidate) = line.strip_prefix("a=candidate:") else { return line.to_owned() };
        let mut words: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
        was.get_or_insert_with(|| SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap()));
        words[5] = port.to_string();
        format!("a=candidate:{}", words.join(" "))
    });
    (lines.collect(), was.unwrap())
}

async fn connected(peer: &mut Peer) {
    while !matches!(peer.events.recv().await.unwrap(), Event::Connected) {}
}

async fn first_track(peer: &mut Peer) -> RemoteTrack {
    loop {
        if let Event::Track(track) = peer.events.recv().await.unwrap() {
            return track;
        }
    }
}

#[tokio::test]
async fn what_arrives_twice_is_handed_on_once_and_both_arrivals_are_known() {
    let mut random = fastrand::Rng::with_seed(3);
    let log = Arc::new(Log::new(Clock::start()));
    let runtime = StampingRuntime { log: Some(Arc::clone(&log)), ..StampingRuntime::default() };
    let mut near = Peer::new(Setup::at("127.0.0.1:0"), runtime, &mut random).await.unwrap();
    let mut far = Peer::new(Setup::at("127.0.0.1:0"), StampingRuntime::default(), &mut random).await.unwrap();
    let wire = Wire::new().await;
    let (offer, near_address) = moved(&near.offer().await.unwrap(), &wire.far_side);
    let (answer, far_address) = moved(&far.answer(offer).await.unwrap(), &wire.near_side);
    near.accept(answer, Setup::PAYLOAD_TYPES).await.unwrap();
    let wire = tokio::spawn(wire.carry(near_address, far_address));
    connected(&mut near).await;
    connected(&mut far).await;

    let track = far.track(Stream::Audio).clone();
    let id = |sequence| PacketId { ssrc: track.ssrc, sequence };
    for sequence in 0..20 {
        let header = Header {
            version: 2,
            payload_type: track.payload_type,
            sequence_number: sequence,
            timestamp: 960 * u32::from(sequence),
            ssrc: track.ssrc,
            ..Header::default()
        };
        track.send(Packet { header, payload: Bytes::from_static(&[0xFC; 40]) }).await.unwrap();
    }

    let heard = first_track(&mut near).await;
    for sequence in 0..20 {
        let Some(Incoming::Packet(packet)) = heard.next().await else { unreachable!("the track goes on") };
        assert_eq!(packet.header.sequence_number, sequence, "each is handed on once");
        assert!(log.take(id(sequence)).is_some());
    }
    let all = async {
        while log.leftovers().repeats.len() < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), all).await.unwrap();
    let mut left = log.leftovers();
    left.repeats.sort_by_key(|(id, _)| id.sequence);
    assert_eq!(left.dropped, 0);
    assert_eq!(left.repeats.len(), 20);
    for (sequence, (repeated, at)) in (0..).zip(left.repeats) {
        assert_eq!(repeated, id(sequence));
        assert!(at >= log.take(id(sequence)).unwrap(), "a repeat comes after the first");
    }
    near.close().await;
    far.close().await;
    wire.abort();
}
