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
    /// Entries per table.
    most: usize,
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
    /// Packets that arrived and found no room.
    unnoted: u64,
    overflow: u32,
    reports: Vec<Report>,
}

/// Departures of one packet. A repair repeats the number.
#[derive(Clone, Copy, Debug)]
struct Departures {
    first: Nanos,
    again: Option<Nanos>,
    times: u16,
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

/// SSRCs of a stream that came in and went out again, its packets as they were numbered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) came: u32,
    pub(crate) went: u32,
}

/// A packet that came in, and went out again as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) sequence: u16,
    /// Arrival of its first copy.
    pub(crate) arrived: Nanos,
    /// Right before the system call that first sent it on; `None` if nothing did.
    pub(crate) left: Option<Nanos>,
    /// It came only after we had asked for it again.
    pub(crate) asked: bool,
    /// How often it came.
    pub(crate) arrivals: u16,
    /// How often it was sent on.
    pub(crate) sendings: u16,
}

/// What passed of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passages {
    /// The packets of each source asked for, in order of arrival.
    pub(crate) packets: Vec<Vec<Passage>>,
    /// Packets of any source that found no room in the log.
    pub(crate) unnoted: u64,
    /// Datagrams the kernel dropped at the socket.
    pub(crate) overflow: u32,
}

impl Log {
    /// An empty log on `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self::of_most(MOST, clock)
    }

    /// An empty log on `clock`, with room for `most` entries of each kind.
    pub(crate) fn of_most(most: usize, clock: Clock) -> Self {
        Self { clock, most, tables: Mutex::default() }
    }

    /// The clock of all its times.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Notes that `bytes` is about to be sent.
    pub(super) fn sending(&self, bytes: &[u8], at: Nanos) {
        let Datagram::Rtp(id) = classify(bytes) else { return };
        let mut tables = self.tables();
        if tables.sent.len() < self.most {
            let first = Departures { first: at, again: None, times: 1 };
            let again = |sent: &mut Departures| {
                sent.again = sent.again.or(Some(at));
                sent.times = sent.times.saturating_add(1);
            };
            tables.sent.entry(id).and_modify(again).or_insert(first);
        }
    }

    /// Notes that `bytes` arrived.
    pub(in crate::media) fn arrived(&self, bytes: &[u8], at: Nanos) {
        let Datagram::Rtp(id) = classify(bytes) else { return };
        let mut tables = self.tables();
        if tables.received.contains_key(&id) {
            if tables.repeats.len() < self.most {
                tables.repeats.push((id, at));
            }
        } else if tables.received.len() < self.most {
            tables.received.insert(id, Arrival { first: at, taken: false });
        } else {
            tables.unnoted += 1;
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

    /// How often a packet was sent.
    pub(crate) fn sendings(&self, id: PacketId) -> u16 {
        self.tables().sent.get(&id).map_or(0, |sent| sent.times)
    }

    /// Notes that we ask for a packet again.
    pub(crate) fn requesting(&self, id: PacketId) {
        let at = self.clock.now();
        let mut tables = self.tables();
        if tables.requested.len() < self.most {
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

    /// What passed of `sources`; of none there are no packets.
    pub(crate) fn passages(&self, sources: &[Option<Source>]) -> Passages {
        let tables = self.tables();
        let mut repeats: HashMap<PacketId, u16> = HashMap::new();
        for (id, _) in &tables.repeats {
            let count = repeats.entry(*id).or_default();
            *count = count.saturating_add(1);
        }
        let of = |source: &Option<Source>| {
            let Some(source) = source else { return Vec::new() };
            let ours = tables.received.iter().filter(|(id, _)| id.ssrc == source.came);
            let mut packets: Vec<Passage> = ours
                .map(|(id, arrival)| {
                    let sent = tables.sent.get(&PacketId { ssrc: source.went, ..*id });
                    Passage {
                        sequence: id.sequence,
                        arrived: arrival.first,
                        left: sent.map(|sent| sent.first),
                        asked: tables.requested.get(id).is_some_and(|asked| *asked < arrival.first),
                        arrivals: repeats.get(id).copied().unwrap_or(0).saturating_add(1),
                        sendings: sent.map_or(0, |sent| sent.times),
                    }
                })
                .collect();
            packets.sort_unstable_by_key(|packet| (packet.arrived, packet.sequence));
            packets
        };
        let packets = sources.iter().map(of).collect();
        Passages { packets, unnoted: tables.unnoted, overflow: tables.overflow }
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
        assert_eq!((log.sendings(id(1)), log.sendings(id(2))), (2, 0));
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

    #[test]
    fn what_passed_is_told_by_source_and_number_in_order_of_arrival() {
        let log = Log::of_most(4, Clock::start());
        let of = |sequence: u16, ssrc: u8| {
            let mut bytes = rtp(sequence);
            bytes[11] = ssrc;
            bytes
        };
        // Asked for on the clock itself, which has not come to a year yet.
        let year = 365 * 86_400 * 1_000_000_000;
        log.requesting(id(2));
        log.requesting(id(3));
        for (sequence, at) in [(3, year + 3), (1, 10), (2, year + 20), (3, year + 9), (9, 1)] {
            log.arrived(&of(sequence, 5), at);
        }
        log.arrived(&of(7, 6), 70);
        log.arrived(&of(8, 6), 80);
        log.overflowed(2);
        log.sending(&of(1, 77), 15);
        log.sending(&of(1, 77), 16);
        log.sending(&of(3, 77), year + 8);
        log.sending(&of(2, 5), 1);
        let passed = |sequence, arrived, left, (asked, arrivals, sendings)| Passage {
            sequence,
            arrived,
            left,
            asked,
            arrivals,
            sendings,
        };
        let passages = log.passages(&[Some(Source { came: 5, went: 77 }), Some(Source { came: 8, went: 78 }), None]);
        let expected = vec![
            passed(9, 1, None, (false, 1, 0)),
            passed(1, 10, Some(15), (false, 1, 2)),
            passed(3, year + 3, Some(year + 8), (true, 2, 1)),
            passed(2, year + 20, None, (true, 1, 0)),
        ];
        assert_eq!(passages, Passages { packets: vec![expected, Vec::new(), Vec::new()], unnoted: 2, overflow: 2 });
        log.arrived(&of(9, 5), 2);
        for at in 0..100 {
            log.arrived(&of(9, 5), at);
        }
        assert_eq!(log.leftovers().repeats.len(), 0, "none was handed on");
        log.take(id(9));
        assert_eq!(log.leftovers().repeats.len(), 3, "all repeats together have no more room");
    }
}
