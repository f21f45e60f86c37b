//! What became of each packet we sent, told by the hash of its payload. A forwarding server
//! rewrites sequence numbers, time stamps and SSRC, but not the payload.

use std::collections::HashMap;

use super::{
    capture::{Capture, Nanos, Stream},
    stats::{Sample, Stat, seconds},
};

const MILLISECOND: Nanos = 1_000_000;
/// How long the capture goes on listening after the last packet was sent.
pub(super) const LISTENED: Nanos = 500 * MILLISECOND;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It came back before any newer one.
    InOrder,
    /// It came back behind a newer one (RFC 4737 type-P-reordered), but too soon for a repeat.
    Reordered,
    /// It came back so long after a newer one that it must have been sent again.
    Repaired,
    /// It never came back.
    Lost,
}

/// A packet we sent that can be told from every other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Packet {
    /// Right before the system call that sent it first.
    pub(super) sent: Nanos,
    /// Kernel stamp of its first copy.
    pub(super) received: Option<Nanos>,
    pub(super) fate: Fate,
}

impl Packet {
    /// Loop delay of a packet that took the direct way; a repeat's delay says nothing of the path.
    pub(super) fn delay(&self) -> Option<Nanos> {
        self.received.filter(|_| self.fate != Fate::Repaired).map(|received| received - self.sent)
    }
}

/// The packets of `stream` sent during steady sending, in order of sending. `None` if packets came
/// back but most are not ours: the far end packs or codes anew, and identity says nothing.
///
/// Left out: packets whose payload is not unique, packets that never reached the socket, and those
/// sent so late that the slowest packet seen would not have made it back in time.
pub(super) fn packets(capture: &Capture, stream: Stream) -> Option<Vec<Packet>> {
    let mut by_hash: HashMap<u64, Option<usize>> = HashMap::new();
    for (i, packet) in capture.sent.iter().enumerate().filter(|(_, packet)| packet.stream == stream) {
        let alone = (packet.unique && packet.at.is_some()).then_some(i);
        by_hash.entry(packet.hash).and_modify(|which| *which = None).or_insert(alone);
    }
    let mut received: Vec<_> = capture.received.iter().filter(|packet| packet.stream == stream).collect();
    // Among equal stamps in sequence: nothing shows that one was overtaken.
    received.sort_by_key(|packet| (packet.at, packet.sequence));
    let ours = received.iter().filter(|packet| by_hash.contains_key(&packet.hash)).count();
    if ours * 2 < received.len() {
        return None;
    }

    let patience = patience(capture);
    // Each packet newer than all before it, with its arrival.
    let mut newest: Vec<(u64, Nanos)> = Vec::new();
    let mut arrivals: HashMap<usize, (Nanos, Fate)> = HashMap::new();
    for packet in received {
        let Some(&Some(i)) = by_hash.get(&packet.hash) else { continue };
        if arrivals.contains_key(&i) {
            continue;
        }
        let sequence = capture.sent[i].sequence;
        let overtaken = newest.get(newest.partition_point(|(newer, _)| *newer <= sequence));
        let fate = match overtaken {
            None => {
                newest.push((sequence, packet.at));
                Fate::InOrder
            }
            Some((_, since)) if packet.at - since > patience => Fate::Repaired,
            Some(_) => Fate::Reordered,
        };
        arrivals.insert(i, (packet.at, fate));
    }

    let packet = |&i: &usize| {
        let arrival = arrivals.get(&i);
        Some(Packet {
            sent: capture.sent[i].at?,
            received: arrival.map(|(at, _)| *at),
            fate: arrival.map_or(Fate::Lost, |(_, fate)| *fate),
        })
    };
    let mut alone: Vec<usize> = by_hash.into_values().flatten().collect();
    alone.sort_unstable();
    let all: Vec<Packet> = alone.iter().filter_map(packet).collect();
    let last = last_counted(capture, all.iter().filter_map(|packet| Some(packet.received? - packet.sent)));
    Some(all.into_iter().filter(|packet| (capture.media_start..=last).contains(&packet.sent)).collect())
}

/// The last instant of sending that had time to come back, given every delay that was seen.
pub(super) fn last_counted(capture: &Capture, delays: impl Iterator<Item = Nanos>) -> Nanos {
    capture.media_end - (delays.max().unwrap_or(0) - LISTENED).max(0)
}

/// How long behind a newer packet one may come without counting as repaired: a repeat takes one
/// round trip (the median; 20 ms if none was measured). Never below 10 ms: receivers wait some time
/// before they ask for a repeat, so as not to take reordering for loss.
fn patience(capture: &Capture) -> Nanos {
    let round_trips: Sample = capture.round_trips.iter().copied().collect();
    let typical = round_trips.quantile(Stat::P50).unwrap_or_else(|| seconds(20 * MILLISECOND));
    ((typical * 1e9) as Nanos).max(10 * MILLISECOND)
}
