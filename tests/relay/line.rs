//! The path itself: two sockets, one for each side, and for each way a thread that takes packets in and
//! one that lets them go when they are due.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    log::{Done, Entry, Outcome},
    plan::{Nanos, Plan, Queue, Schedule, Stream, Way},
    release::{self, Held, wall},
    sdp, stamp,
};

/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// First bytes of RTP and RTCP, and second bytes of RTCP (RFC 7983 §7, RFC 5761 §4).
const MEDIA: std::ops::RangeInclusive<u8> = 128..=191;
const REPORTS: std::ops::RangeInclusive<u8> = 192..=223;

/// What both sides have said.
#[derive(Debug, Default)]
struct Call {
    caller: OnceLock<SocketAddr>,
    far: OnceLock<SocketAddr>,
    streams: OnceLock<Vec<(u8, Stream)>>,
}

/// The path of one call.
#[derive(Debug)]
pub(crate) struct Relay {
    call: Arc<Call>,
    stop: Arc<AtomicBool>,
    /// The socket the caller sees.
    near: SocketAddr,
    /// The socket the far end sees.
    far: SocketAddr,
}

impl Relay {
    /// A path that waits for its call, and its two ways.
    pub(crate) fn start(plan: &Plan, seed: u64) -> io::Result<(Self, Vec<Line>)> {
        let (near, far) = (socket()?, socket()?);
        let relay =
            Self { call: Arc::default(), stop: Arc::default(), near: near.local_addr()?, far: far.local_addr()? };
        let line = |way, from: &Arc<UdpSocket>, to: &Arc<UdpSocket>| {
            let (from, out) = (Arc::clone(from), Out { way, socket: Arc::clone(to), call: Arc::clone(&relay.call) });
            Line::start(from, out, plan, seed, Arc::clone(&relay.stop))
        };
        let lines = vec![line(Way::Up, &near, &far)?, line(Way::Down, &far, &near)?];
        Ok((relay, lines))
    }

    /// Notes what an offer says; the offer for the far end. `None` if it names no address, or if a call was
    /// made already.
    pub(crate) fn offered(&self, offer: &str) -> Option<String> {
        self.call.caller.set(sdp::address(offer)?).ok()?;
        self.call.streams.set(sdp::streams(offer)).ok()?;
        Some(sdp::rewrite(offer, self.far))
    }

    /// Notes what the answer says; the answer for the caller.
    pub(crate) fn answered(&self, answer: &str) -> Option<String> {
        self.call.far.set(sdp::address(answer)?).ok()?;
        Some(sdp::rewrite(answer, self.near))
    }

    /// Ends both ways; what is under way still arrives.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn socket() -> io::Result<Arc<UdpSocket>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(LOOK))?;
    stamp::enable(&socket)?;
    Ok(Arc::new(socket))
}

/// Where packets of one way leave.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    way: Way,
    socket: Arc<UdpSocket>,
    call: Arc<Call>,
}

impl Out {
    /// Sends to the other side; whether that could be done.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        let to = match self.way {
            Way::Up => self.call.far.get(),
            Way::Down => self.call.caller.get(),
        };
        to.is_some_and(|to| self.socket.send_to(bytes, to).is_ok())
    }
}

/// One way.
#[derive(Debug)]
pub(crate) struct Line {
    way: Way,
    taking: JoinHandle<Taken>,
    letting_go: JoinHandle<Vec<Entry>>,
}

impl Line {
    fn start(from: Arc<UdpSocket>, out: Out, plan: &Plan, seed: u64, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let way = out.way;
        let (sender, held) = channel();
        let intake = Intake {
            out: out.clone(),
            schedules: [Stream::Audio, Stream::Video, Stream::Other]
                .map(|stream| Schedule::new(plan, way, stream, seed)),
            queue: Queue::default(),
            rate: plan.way(way).bits_per_second,
            everything: plan.everything,
            began: None,
            held: sender,
            taken: Taken::default(),
        };
        let name = |what: &str| thread::Builder::new().name(format!("{} {what}", way.name()));
        let taking = name("in").spawn(move || intake.run(&from, &stop))?;
        let letting_go = name("out").spawn(move || release::run(&held, &out))?;
        Ok(Self { way, taking, letting_go })
    }

    /// Waits for its end.
    pub(crate) fn join(self) -> io::Result<Done> {
        let broken = |_| io::Error::other("a thread of the relay panicked");
        let taken = self.taking.join().map_err(broken)?;
        let entries = self.letting_go.join().map_err(broken)?;
        Ok(Done { way: self.way, entries, others: taken.others, unlogged: taken.unlogged })
    }
}

/// What was taken in beside RTP.
#[derive(Debug, Default)]
struct Taken {
    others: u64,
    unlogged: u64,
}

/// Takes packets in and decides on each.
struct Intake {
    out: Out,
    schedules: [Schedule; 3],
    queue: Queue,
    rate: Option<f64>,
    everything: bool,
    /// Arrival of the first RTP packet.
    began: Option<Nanos>,
    held: Sender<Held>,
    taken: Taken,
}

impl Intake {
    fn run(mut self, from: &UdpSocket, stop: &AtomicBool) -> Taken {
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            // Nothing came for a while, or an earlier packet could not be delivered.
            let Ok(arrival) = stamp::receive(from, &mut buffer) else { continue };
            self.taken.unlogged = self.taken.unlogged.max(u64::from(arrival.dropped));
            if let Some(bytes) = buffer.get(..arrival.length) {
                self.take(bytes, arrival.at.unwrap_or_else(wall));
            }
        }
        self.taken
    }

    fn take(&mut self, bytes: &[u8], arrived: Nanos) {
        let streams = self.out.call.streams.get().map_or(&[][..], Vec::as_slice);
        let rtp = rtp(bytes, streams);
        self.taken.others += u64::from(rtp.is_none());
        if rtp.is_none() && !self.everything && !is_media(bytes) {
            self.out.send(bytes);
            return;
        }
        if rtp.is_some() {
            self.began.get_or_insert(arrived);
        }
        let stream = rtp.map_or(Stream::Other, |rtp| rtp.stream);
        let fate = self.schedules[stream as usize].next(arrived - self.began.unwrap_or(arrived));
        let due = match fate.lost {
            true => arrived,
            false => self.queue.due(arrived, stream, &fate, bytes.len(), self.rate),
        };
        let outcome = if fate.lost { Outcome::Lost } else { Outcome::Sent };
        let entry = |outcome| {
            let Rtp { stream, ssrc, sequence } = rtp?;
            Some(Entry { stream, ssrc, sequence, bytes: bytes.len(), arrived, due, released: due, outcome })
        };
        let hold = |outcome| {
            // It fails only once the other thread has ended, which is after this one.
            let _gone = self.held.send(Held { due, bytes: bytes.to_vec(), entry: entry(outcome) });
        };
        if rtp.is_some() || outcome == Outcome::Sent {
            hold(outcome);
        }
        if fate.doubled && outcome == Outcome::Sent {
            hold(Outcome::Copy);
        }
    }
}

/// What the clear header of an RTP packet tells (RFC 3711 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rtp {
    stream: Stream,
    ssrc: u32,
    sequence: u16,
}

fn is_media(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| MEDIA.contains(first))
}

/// Reads the header, if it is one of a stream that was offered.
fn rtp(bytes: &[u8], streams: &[(u8, Stream)]) -> Option<Rtp> {
    let [first, second, s0, s1, _, _, _, _, a, b, c, d] = *bytes.first_chunk()?;
    if !MEDIA.contains(&first) || REPORTS.contains(&second) {
        return None;
    }
    let (_, stream) = *streams.iter().find(|(kind, _)| *kind == second & 0x7F)?;
    Some(Rtp { stream, ssrc: u32::from_be_bytes([a, b, c, d]), sequence: u16::from_be_bytes([s0, s1]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_is_told_from_reports_checks_and_the_handshake() {
        let streams = [(111, Stream::Audio), (102, Stream::Video)];
        let packet = |first: u8, second: u8| {
            let mut bytes = vec![first, second, 0xAB, 0xCD, 0, 0, 0, 1, 0x11, 0x22, 0x33, 0x44];
            bytes.extend([7; 30]);
            bytes
        };
        let of = |stream| Some(Rtp { stream, ssrc: 0x1122_3344, sequence: 0xABCD });
        for (what, bytes, expected) in [
            ("sound", packet(0x80, 111), of(Stream::Audio)),
            ("a picture's last packet", packet(0x90, 0x80 | 102), of(Stream::Video)),
            ("a stream nobody offered", packet(0x80, 96), None),
            ("a sender report", packet(0x80, 200), None),
            ("feedback", packet(0x81, 205), None),
            ("a check", packet(0x00, 1), None),
            ("the handshake", packet(22, 254), None),
            ("a stump", packet(0x80, 111)[..11].to_vec(), None),
        ] {
            assert_eq!(rtp(&bytes, &streams), expected, "{what}");
        }
    }
}
