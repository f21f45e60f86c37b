//! When each packet of a call passed our socket.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::datagram::{Datagram, PacketId, classify};
use crate::media::{capture::Nanos, clock::Clock};

/// Entries per table. A call of a minute has some ten thousand packets; whatever a far end sends
/// beyond this is no longer stamped.
const MOST: usize = 200_000;

/// Reports of the far end kept of one call; usual is one a second and stream.
const MOST_REPORTS: usize = 10_000;

/// The socket's memory of one call.
#[derive(Debug)]
pub(crate) struct Log {
    clock: Clock,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    sent: HashMap<PacketId, Departures>,
    /// When we first asked for a packet again.
    requested: HashMap<PacketId, Nanos>,
    received: HashMap<PacketId, Arrival>,
    /// Further arrivals of packets that had come.
    repeats: Vec<(PacketId, Nanos)>,
    overflow: u32,
    reports: Vec<Report>,
}

/// Departures of one packet. A repair repeats the number.
#[derive(Clone, Copy, Debug)]
struct Departures {
    first: Nanos,
    again: Option<Nanos>,
}

/// The arrival of one packet: SRTP hands on the first only, and drops the others as replays.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    first: Nanos,
    taken: bool,
}

/// What the far end reports of one stream by RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// SSRC of the stream.
    pub(crate) ssrc: u32,
    /// When it was seen.
    pub(crate) at: Nanos,
    pub(crate) says: Says,
}

/// See [`crate::media::capture::SenderReport`] and [`crate::media::capture::ReceptionReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Sent { ntp: u64, rtp_time: u32 },
    Received { highest_sequence: u32, total_lost: i32, last_sender_report: u32, delay: u32 },
}

/// What the socket saw and the program never did.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Further arrivals of packets that were handed on.
    pub(crate) repeats: Vec<(PacketId, Nanos)>,
    /// Packets that arrived and were never handed on, plus datagrams the kernel dropped. Those before
    /// the first that was handed on came before there were keys for them; a source of which none was
    /// handed on is not ours.
    pub(crate) dropped: u64,
}

impl Log {
    /// An empty log on `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, tables: Mutex::default() }
    }

    /// The clock of all its times.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Notes that `bytes` is about to be sent.
    pub(super) fn sending(&self, bytes: &[u8], at: Nanos) {
        let Datagram::Rtp(id) = classify(bytes) else { return };
        let mut tables = self.tables();
        if tables.sent.len() < MOST {
            let first = Departures { first: at, again: None };
            let again = |sent: &mut Departures| sent.again = sent.again.or(Some(at));
            tables.sent.entry(id).and_modify(again).or_insert(first);
        }
    }

    /// Notes that `bytes` arrived.
    pub(in crate::media) fn arrived(&self, bytes: &[u8], at: Nanos) {
        let Datagram::Rtp(id) = classify(bytes) else { return };
        let mut tables = self.tables();
        if tables.received.contains_key(&id) {
            if tables.repeats.len() < MOST {
                tables.repeats.push((id, at));
            }
        } else if tables.received.len() < MOST {
            tables.received.insert(id, Arrival { first: at, taken: false });
        }
    }

    /// Notes what the far end reports of the stream of an SSRC.
    pub(crate) fn reported(&self, ssrc: u32, says: Says) {
        let at = self.clock.now();
        let mut tables = self.tables();
        if tables.reports.len() < MOST_REPORTS {
            tables.reports.push(Report { ssrc, at, says });
        }
    }

    /// The reports so far.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.tables().reports.clone()
    }

    /// Notes the kernel's count of datagrams dropped at the socket.
    pub(super) fn overflowed(&self, count: u32) {
        let mut tables = self.tables();
        tables.overflow = tables.overflow.max(count);
    }

    /// When a packet was first sent.
    pub(crate) fn sent(&self, id: PacketId) -> Option<Nanos> {
        self.tables().sent.get(&id).map(|sent| sent.first)
    }

    /// When a packet was sent a second time.
    pub(crate) fn sent_again(&self, id: PacketId) -> Option<Nanos> {
        self.tables().sent.get(&id)?.again
    }

    /// Notes that we ask for a packet again.
    pub(crate) fn requesting(&self, id: PacketId) {
        let at = self.clock.now();
        let mut tables = self.tables();
        if tables.requested.len() < MOST {
            tables.requested.entry(id).or_insert(at);
        }
    }

    /// When we first asked for a packet again.
    pub(crate) fn requested(&self, id: PacketId) -> Option<Nanos> {
        self.tables().requested.get(&id).copied()
    }

    /// When the packet that was just handed on arrived.
    pub(crate) fn take(&self, id: PacketId) -> Option<Nanos> {
        let mut tables = self.tables();
        let arrival = tables.received.get_mut(&id)?;
        arrival.taken = true;
        Some(arrival.first)
    }

    /// What was never handed on.
    pub(crate) fn leftovers(&self) -> Leftovers {
        let tables = self.tables();
        let mut left = Leftovers { dropped: u64::from(tables.overflow), ..Leftovers::default() };
        let mut begun: HashMap<u32, Nanos> = HashMap::new();
        for (id, arrival) in tables.received.iter().filter(|(_, arrival)| arrival.taken) {
            let first = begun.entry(id.ssrc).or_insert(arrival.first);
            *first = arrival.first.min(*first);
        }
        let is_taken = |id: &PacketId| tables.received.get(id).is_some_and(|arrival| arrival.taken);
        left.repeats.extend(tables.repeats.iter().filter(|(id, _)| is_taken(id)));
        for (id, arrival) in tables.received.iter().filter(|(_, arrival)| !arrival.taken) {
            left.dropped += u64::from(begun.get(&id.ssrc).is_some_and(|begun| arrival.first >= *begun));
        }
        left
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtp(sequence: u16) -> Vec<u8> {
        let [a, b] = sequence.to_be_bytes();
        vec![0x80, 111, a, b, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3]
    }

    fn id(sequence: u16) -> PacketId {
        PacketId { ssrc: 5, sequence }
    }

    #[test]
    fn the_first_sending_and_the_first_arrival_count() {
        let log = Log::new(Clock::start());
        log.sending(&rtp(1), 10);
        log.sending(&rtp(1), 20);
        log.arrived(&rtp(1), 30);
        log.arrived(&rtp(1), 40);
        log.arrived(&rtp(2), 50);
        log.overflowed(3);
        log.overflowed(2);
        assert_eq!(log.sent(id(1)), Some(10));
        assert_eq!((log.sent_again(id(1)), log.sent_again(id(2))), (Some(20), None));
        assert_eq!(log.sent(id(2)), None);
        assert_eq!(log.take(id(1)), Some(30));
        assert_eq!(log.take(id(9)), None);
        let left = log.leftovers();
        assert_eq!(left.repeats, [(id(1), 40)]);
        assert_eq!(left.dropped, 4, "three in the kernel, and packet 2");
    }

    #[test]
    fn a_flood_of_copies_fills_one_table_and_no_more() {
        let log = Log::new(Clock::start());
        for sequence in 0..3 {
            (0..MOST as Nanos).for_each(|at| log.arrived(&rtp(sequence), at));
            log.take(id(sequence));
        }
        assert_eq!(log.leftovers().repeats.len(), MOST);
    }

    #[test]
    fn what_came_before_there_were_keys_or_is_not_ours_was_not_dropped_by_us() {
        let log = Log::new(Clock::start());
        for (sequence, at) in [(1, 10), (2, 20), (3, 30)] {
            log.arrived(&rtp(sequence), at);
        }
        log.take(id(2));
        let mut other = rtp(1);
        other[11] = 6;
        log.arrived(&other, 40);
        assert_eq!(log.leftovers().dropped, 1, "packet 3 alone");
    }
}
