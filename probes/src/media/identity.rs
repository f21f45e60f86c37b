//! What became of each packet we sent, told by the hash of its payload. A forwarding server
//! rewrites sequence numbers, time stamps and SSRC, but not the payload. One that packs pictures anew
//! leaves whole pictures as they were, and these have a hash as well.

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    capture::{Capture, FarSide, Nanos, ReceivedPacket, Repairs, Repeat, SentPacket, Stream},
    course::{Course, courses},
    stats::{Sample, Stat, seconds},
};
use crate::Class;

const MILLISECOND: Nanos = 1_000_000;
/// How long the capture goes on listening after the last packet was sent.
pub(super) const LISTENED: Nanos = 500 * MILLISECOND;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It came back before any newer one.
    InOrder,
    /// It came back behind a newer one (RFC 4737 type-P-reordered), and is no repeat.
    Reordered,
    /// It came back after it had been sent again, or asked for again, and the far end did not note that this
    /// was in vain; where repeats are not known, so long after a newer one that it must be one.
    Repaired,
    /// It never came back.
    Lost,
}

/// A packet we sent that can be told from every other; or a picture, where the far end packs anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Packet {
    /// RTP sequence number as we sent it, extended; the counter of a picture.
    pub(super) sequence: u64,
    /// Right before the system call that sent it first, or sent the last packet of the picture.
    pub(super) sent: Nanos,
    /// Kernel stamp of its first copy, or of the packet that completed the picture.
    pub(super) received: Option<Nanos>,
    pub(super) fate: Fate,
    /// If it was reordered: how many places behind the first newer one it came (RFC 4737 §4.2.2).
    pub(super) extent: u64,
    /// It came again without having been asked for.
    pub(super) copied: bool,
}

impl Packet {
    /// Loop delay of a packet that took the direct way; a repeat's delay says nothing of the path.
    pub(super) fn delay(&self) -> Option<Nanos> {
        self.received.filter(|_| self.fate != Fate::Repaired).map(|received| received - self.sent)
    }

    /// Whether it was missing before any repair.
    pub(super) fn missed(&self) -> bool {
        matches!(self.fate, Fate::Lost | Fate::Repaired)
    }
}

/// The packets of `stream` sent during steady sending, in order of sending; its pictures, if the far
/// end packs them anew. `None` if it codes anew, as identity says nothing then.
///
/// Left out: packets whose payload is not unique, packets that never reached the socket, and those
/// sent so late that the slowest packet seen would not have made it back in time.
pub(super) fn packets(capture: &Capture, stream: Stream) -> Option<Vec<Packet>> {
    let ((sent, received), known) = match class(capture, stream) {
        Some(Class::Transcode) => return None,
        // Which picture a repeat was part of is not known.
        Some(Class::Repacketise) => (pictures(capture), false),
        // Of nothing at all all is lost.
        Some(Class::Forward) | None => {
            let (mut sent, received) = single(capture, stream);
            if let Some(FarSide::Noted(log)) = &capture.far_side {
                let courses = courses(capture, log, stream);
                let whole = |item: &Item| courses.get(&item.sequence).is_some_and(Course::is_whole);
                sent.iter_mut().for_each(|item| item.whole = whole(item));
            }
            ((sent, received), capture.repairs.is_some())
        }
    };
    Some(follow(capture, stream, &sent, received, known))
}

/// What the far end does to a stream, by the shares of packets and of whole pictures that came back as
/// they were sent; `None` if nothing came. Seen in practice are more than 99 % and next to nothing.
/// Small pictures fill one packet each, and are the same packet again when they are packed anew: so
/// between 1 and 99 % of the packets the pictures decide.
pub(super) fn class(capture: &Capture, stream: Stream) -> Option<Class> {
    const NEARLY_ALL: f64 = 0.99;
    let (sent, received) = single(capture, stream);
    let share = |sent: &[Item], received: &[Item]| {
        let hashes: HashSet<u64> = sent.iter().map(|item| item.hash).collect();
        let ours = received.iter().filter(|item| hashes.contains(&item.hash)).count();
        (!received.is_empty()).then(|| ours as f64 / received.len() as f64)
    };
    let packets = share(&sent, &received)?;
    let (sent, received) = pictures(capture);
    let pictures = share(&sent, &received).filter(|_| stream == Stream::Video).unwrap_or_default();
    Some(if packets >= NEARLY_ALL {
        Class::Forward
    } else if pictures >= NEARLY_ALL {
        Class::Repacketise
    } else if packets >= 0.5 {
        Class::Forward
    } else if pictures >= 0.5 {
        Class::Repacketise
    } else {
        Class::Transcode
    })
}

/// Something with an identity: a packet, or a whole picture.
struct Item {
    hash: u64,
    /// Whether the hash names it alone.
    unique: bool,
    sequence: u64,
    at: Option<Nanos>,
    /// When it was first sent again, or asked for again.
    repeat: Option<Nanos>,
    /// Whether it is known to have been there and back at the first attempt, whoever asked for it.
    whole: bool,
}

/// Packets that were sent, and received.
fn single(capture: &Capture, stream: Stream) -> (Vec<Item>, Vec<Item>) {
    let of = |repeats: fn(&Repairs) -> &Vec<Repeat>| -> HashMap<u64, Nanos> {
        let repeats = capture.repairs.as_ref().map(repeats).into_iter().flatten();
        repeats.filter(|repeat| repeat.stream == stream).map(|repeat| (repeat.sequence, repeat.at)).collect()
    };
    let (resent, requested) = (of(|repairs| &repairs.resent), of(|repairs| &repairs.requested));
    let sent = capture.sent.iter().filter(|packet| packet.stream == stream).map(|packet| {
        let SentPacket { hash, unique, sequence, at, .. } = *packet;
        Item { hash, unique, sequence, at, repeat: resent.get(&sequence).copied(), whole: false }
    });
    // A packet without payload only probes or pads.
    let empty = xxh3_64(&[]);
    let received = capture.received.iter().filter(|packet| packet.stream == stream && packet.hash != empty);
    let received = received.map(|packet| {
        let ReceivedPacket { hash, sequence, at, .. } = *packet;
        Item { hash, unique: true, sequence, at: Some(at), repeat: requested.get(&sequence).copied(), whole: false }
    });
    (sent.collect(), received.collect())
}

/// Pictures that were sent, when their last packet was, and whole ones that were received.
fn pictures(capture: &Capture) -> (Vec<Item>, Vec<Item>) {
    let last = last_packets(capture);
    let sent = capture.frames_sent.iter().filter_map(|frame| {
        let at = last(frame.captured).map(|(_, at)| at);
        Some(Item { hash: frame.hash?, unique: true, sequence: frame.counter, at, repeat: None, whole: false })
    });
    let received = capture.frames_received.iter().map(|frame| Item {
        hash: frame.hash,
        unique: true,
        sequence: 0,
        at: Some(frame.completed),
        repeat: None,
        whole: false,
    });
    (sent.collect(), received.collect())
}

/// When the last packet of the picture captured at an instant was due, and was sent: all packets of a
/// picture are due before the next one is captured.
pub(super) fn last_packets(capture: &Capture) -> impl Fn(Nanos) -> Option<(Nanos, Nanos)> {
    let video = capture.sent.iter().filter(|packet| packet.stream == Stream::Video);
    let mut packets: Vec<(Nanos, Nanos)> = video.filter_map(|packet| Some((packet.due, packet.at?))).collect();
    packets.sort_unstable();
    let period = (1e9 / capture.frame_rate) as Nanos;
    move |captured| {
        let next = packets.partition_point(|(due, _)| *due < captured.saturating_add(period));
        let last = next.checked_sub(1).and_then(|last| packets.get(last));
        last.filter(|(due, _)| *due >= captured).copied()
    }
}

/// How something came back first.
struct Arrival {
    at: Nanos,
    fate: Fate,
    extent: u64,
    /// When the first newer one had come, if one had.
    overtaken: Option<Nanos>,
    copied: bool,
}

/// What became of each of `sent`. Whether something is a repeat is `known`, or told by how late it came.
fn follow(capture: &Capture, stream: Stream, sent: &[Item], mut received: Vec<Item>, known: bool) -> Vec<Packet> {
    let mut by_hash: HashMap<u64, Option<usize>> = HashMap::new();
    for (i, item) in sent.iter().enumerate() {
        let alone = (item.unique && item.at.is_some()).then_some(i);
        by_hash.entry(item.hash).and_modify(|which| *which = None).or_insert(alone);
    }
    // Among equal stamps in sequence: nothing shows that one was overtaken.
    received.sort_by_key(|item| (item.at, item.sequence));

    let patience = patience(capture);
    // Each that is newer than all before it, with its arrival and its place among all arrivals.
    let mut newest: Vec<(u64, Nanos, u64)> = Vec::new();
    let mut arrivals: HashMap<usize, Arrival> = HashMap::new();
    for item in received {
        let (Some(&Some(i)), Some(at)) = (by_hash.get(&item.hash), item.at) else { continue };
        let repeated = [sent[i].repeat, item.repeat].into_iter().flatten().any(|since| at >= since);
        if let Some(first) = arrivals.get_mut(&i) {
            // Sound is not asked for again. A picture's packet may have been, if it was overtaken; its
            // repeat then takes a round trip from there.
            let late = stream == Stream::Video && first.overtaken.is_some_and(|since| at - since > patience);
            first.copied |= !if known { repeated } else { late };
            continue;
        }
        let sequence = sent[i].sequence;
        let place = arrivals.len() as u64;
        let overtaken = newest.get(newest.partition_point(|(newer, ..)| *newer <= sequence)).copied();
        if overtaken.is_none() {
            newest.push((sequence, at, place));
        }
        let late = overtaken.is_some_and(|(_, since, _)| at - since > patience);
        let repaired = !sent[i].whole && if known { repeated } else { late };
        let (fate, extent) = match overtaken {
            _ if repaired => (Fate::Repaired, 0),
            None => (Fate::InOrder, 0),
            Some((_, _, first)) => (Fate::Reordered, place - first),
        };
        let overtaken = overtaken.map(|(_, since, _)| since);
        arrivals.insert(i, Arrival { at, fate, extent, overtaken, copied: false });
    }

    let packet = |&i: &usize| {
        let arrival = arrivals.get(&i);
        Some(Packet {
            sequence: sent[i].sequence,
            sent: sent[i].at?,
            received: arrival.map(|arrival| arrival.at),
            fate: arrival.map_or(Fate::Lost, |arrival| arrival.fate),
            extent: arrival.map_or(0, |arrival| arrival.extent),
            copied: arrival.is_some_and(|arrival| arrival.copied),
        })
    };
    let mut alone: Vec<usize> = by_hash.into_values().flatten().collect();
    alone.sort_unstable();
    let all: Vec<Packet> = alone.iter().filter_map(packet).collect();
    let last = last_counted(capture, all.iter().filter_map(|packet| Some(packet.received? - packet.sent)));
    all.into_iter().filter(|packet| (capture.media_start..=last).contains(&packet.sent)).collect()
}

/// The last instant of sending that had time to come back, given every delay that was seen.
pub(super) fn last_counted(capture: &Capture, delays: impl Iterator<Item = Nanos>) -> Nanos {
    capture.media_end - (delays.max().unwrap_or(0) - LISTENED).max(0)
}

/// How long behind a newer packet one may come without counting as repaired: a repeat takes one
/// round trip (the median; 20 ms if none was measured). Never below 10 ms: receivers wait some time
/// before they ask for a repeat, so as not to take reordering for loss.
fn patience(capture: &Capture) -> Nanos {
    let back = capture.round_trips_downlink.iter().flatten();
    let round_trips: Sample = capture.round_trips.iter().chain(back).copied().collect();
    let typical = round_trips.quantile(Stat::P50).unwrap_or_else(|| seconds(20 * MILLISECOND));
    ((typical * 1e9) as Nanos).max(10 * MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{MS, PER_FRAME, call};

    /// A far end, and what it is known for in sound and pictures.
    type Case<'a> = (&'a dyn Fn(&mut Capture), [Option<Class>; 2]);

    fn anew(capture: &mut Capture, which: impl Fn(&ReceivedPacket) -> bool) {
        capture.received.iter_mut().filter(|packet| which(packet)).for_each(|packet| packet.hash ^= 1 << 60);
    }

    fn video(packet: &ReceivedPacket) -> bool {
        packet.stream == Stream::Video
    }

    #[test]
    fn a_far_end_is_known_by_what_comes_back_as_it_was_sent() {
        let forward = |_: &mut Capture| {};
        let repacketise = |capture: &mut Capture| anew(capture, video);
        // Small pictures are one packet each, and come back as they were.
        let small = |capture: &mut Capture| anew(capture, |packet| video(packet) && packet.sequence % 5 < 2);
        let padded = |capture: &mut Capture| {
            let pad = |packet: &ReceivedPacket| ReceivedPacket { hash: xxh3_64(&[]), ..packet.clone() };
            let padding: Vec<_> = capture.received.iter().map(pad).collect();
            capture.received.extend(padding);
        };
        let others = |capture: &mut Capture| {
            anew(capture, |packet| packet.sequence % 5 == 0);
            capture.frames_received.iter_mut().step_by(3).for_each(|frame| frame.hash ^= 1 << 60);
        };
        let transcode = |capture: &mut Capture| {
            anew(capture, |_| true);
            capture.frames_received.iter_mut().for_each(|frame| frame.hash ^= 1 << 60);
        };
        let mixes_sound = |capture: &mut Capture| anew(capture, |packet| !video(packet));
        let older = |capture: &mut Capture| {
            anew(capture, video);
            capture.frames_received.clear();
            capture.frames_sent.iter_mut().for_each(|frame| frame.hash = None);
        };
        let silent = |capture: &mut Capture| capture.received.clear();
        use Class::{Forward, Repacketise, Transcode};
        let table: [Case<'_>; 9] = [
            (&forward, [Some(Forward); 2]),
            (&repacketise, [Some(Forward), Some(Repacketise)]),
            (&small, [Some(Forward), Some(Repacketise)]),
            (&padded, [Some(Forward); 2]),
            (&others, [Some(Forward); 2]),
            (&transcode, [Some(Transcode); 2]),
            (&mixes_sound, [Some(Transcode), Some(Forward)]),
            (&older, [Some(Forward), Some(Transcode)]),
            (&silent, [None; 2]),
        ];
        for (i, (far_end, expected)) in table.into_iter().enumerate() {
            let mut capture = call(5, |_| Some(80 * MS));
            far_end(&mut capture);
            assert_eq!(Stream::ALL.map(|stream| class(&capture, stream)), expected, "case {i}");
        }
    }

    #[test]
    fn behind_a_far_end_that_packs_anew_pictures_are_counted() {
        // A single packet of each of these pictures is lost, and with it the picture; another is late.
        let lost = [60, 61, 200];
        let mut capture = call(10, |packet| match packet.sequence / PER_FRAME {
            counter if packet.stream == Stream::Video && lost.contains(&counter) => {
                (packet.sequence % PER_FRAME != 1).then_some(80 * MS)
            }
            250 if packet.stream == Stream::Video && packet.sequence % PER_FRAME == 2 => Some(120 * MS),
            _ => Some(80 * MS),
        });
        anew(&mut capture, video);
        let packets = packets(&capture, Stream::Video).expect("pictures are ours");
        let count = |fate| packets.iter().filter(|packet| packet.fate == fate).count();
        assert_eq!((packets.len(), count(Fate::Lost), count(Fate::Reordered)), (300, 3, 1));
        let other = packets.iter().filter(|packet| packet.delay().is_some_and(|delay| delay != 80 * MS)).count();
        assert_eq!(other, 1);
        assert_eq!(super::packets(&capture, Stream::Audio).map(|packets| packets.len()), Some(500));
    }

    #[test]
    fn where_repairs_are_known_lateness_is_none_of_them() {
        // 300 ms behind, which is more than a repeat takes; and 5 ms behind, which is less.
        let late = |s: u64| if s % 90 == 40 { 380 * MS } else { 80 * MS };
        let mut capture =
            call(10, |packet| Some(late(packet.sequence) + if packet.sequence % 90 == 70 { 25 * MS } else { 0 }));
        let fates = |capture: &Capture, stream| {
            let packets = packets(capture, stream).expect("they are ours");
            let count = |fate| packets.iter().filter(|packet| packet.fate == fate).count();
            (count(Fate::Reordered), count(Fate::Repaired), packets.iter().filter(|packet| packet.copied).count())
        };
        // Sound 130, 160, …: steady sending is 49 to 548, pictures' 90 to 989.
        assert_eq!(fates(&capture, Stream::Audio), (6, 5, 0), "by lateness");
        capture.repairs = Some(Repairs::default());
        assert_eq!(fates(&capture, Stream::Audio), (11, 0, 0), "nothing was repeated");
        // One was sent again and one asked for before it came; one was sent again after it had come.
        let at = |sequence: u64| {
            let came = |packet: &&ReceivedPacket| packet.stream == Stream::Audio && packet.sequence == 5_000 + sequence;
            capture.received.iter().find(came).expect("it came").at
        };
        let repeat = |sequence, at| Repeat { stream: Stream::Audio, sequence, at, times: 1 };
        let repairs = Repairs {
            resent: vec![repeat(130, at(130) - MS), repeat(220, at(220) + MS)],
            requested: vec![repeat(5_250, at(250) - MS)],
        };
        // Copies: of the last two, which were repeated by then, and of one that was not.
        let copies: Vec<ReceivedPacket> = [220, 250, 300]
            .into_iter()
            .filter_map(|sequence| {
                let came =
                    |packet: &&ReceivedPacket| packet.stream == Stream::Audio && packet.sequence == 5_000 + sequence;
                let packet = capture.received.iter().find(came)?;
                Some(ReceivedPacket { at: packet.at + 2 * MS, ..packet.clone() })
            })
            .collect();
        capture.repairs = Some(repairs);
        capture.received.extend(copies);
        assert_eq!(fates(&capture, Stream::Audio), (9, 2, 1));
    }

    #[test]
    fn where_nothing_comes_back_all_is_lost() {
        let capture = call(3, |_| None);
        let packets = packets(&capture, Stream::Video).expect("all of it lost");
        assert!(!packets.is_empty() && packets.iter().all(|packet| packet.fate == Fate::Lost));
    }
}
