//! What did not come back, or not in time, or not in order: counts by identity, nothing estimated.

use super::{
    burst,
    capture::{Capture, Stream},
    identity::{Fate, Packet, packets},
    jitter::variation,
    stats::{Stat, ratio, seconds},
};
use crate::{Label, Metric, Reading};

/// Shares of the packets of each stream:
/// - loss before repair: never back, or back only as a repeat;
/// - residual loss: never back at all;
/// - late: back, but after the smallest delay plus the reference jitter buffer;
/// - repaired: back as a repeat;
/// - reordered: back behind a newer one, without repeat (RFC 4737 §3.3), and how far behind at most;
/// - duplicates: back more than once, further repeats that were asked for left out (RFC 5560).
pub fn readings(capture: &Capture) -> Vec<Reading> {
    Stream::ALL.into_iter().flat_map(|stream| of_stream(capture, stream)).collect()
}

fn of_stream(capture: &Capture, stream: Stream) -> Vec<Reading> {
    let ts = capture.ended_at;
    let packets = packets(capture, stream).unwrap_or_default();
    let n = packets.len() as u64;
    let count = |fate| packets.iter().filter(|packet| packet.fate == fate).count() as u64;
    let (lost, repaired, reordered) = (count(Fate::Lost), count(Fate::Repaired), count(Fate::Reordered));
    let copied = packets.iter().filter(|packet| packet.copied).count() as u64;
    let mut shares = vec![
        (Metric::MediaLoss, lost + repaired),
        (Metric::MediaResidualLoss, lost),
        (Metric::MediaRepairedPackets, repaired),
        (Metric::MediaReordering, reordered),
        (Metric::MediaDuplicates, copied),
    ];
    if let Some(buffer) = reference_buffer(&packets) {
        let least = packets.iter().filter_map(Packet::delay).min().unwrap_or(0);
        let delays = packets.iter().filter_map(|packet| Some(packet.received? - packet.sent));
        let late = delays.filter(|delay| seconds(delay - least) > buffer).count();
        shares.push((Metric::MediaLatePackets, late as u64));
    }
    let mut readings: Vec<Reading> =
        shares.into_iter().filter_map(|(metric, hits)| ratio(ts, metric, Some(stream), hits, n)).collect();
    let extent = packets.iter().map(|packet| packet.extent).max();
    readings.extend(extent.map(|extent| {
        Reading::new(ts, Metric::MediaReorderingExtent, extent as f64, reordered).with(Label::Stream, stream.name())
    }));
    readings.extend(burst::readings(ts, stream, &packets));
    readings
}

/// Length of the reference jitter buffer in seconds: PDV p99 rounded up to 10 ms, within 20 and
/// 200 ms. The same for every tool that judges the call, so that results compare.
pub(super) fn reference_buffer(packets: &[Packet]) -> Option<f64> {
    let p99 = variation(packets).quantile(Stat::P99)?;
    // A hair less, so that 30 ms computed as 30.000001 does not become 40.
    Some((((p99 - 1e-6) * 100.0).ceil() / 100.0).clamp(0.020, 0.200))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        capture::{Nanos, ReceivedPacket},
        fixture::{MS, call, value},
    };

    /// Hits and events of a share.
    fn counts(readings: &[Reading], metric: Metric, stream: &str) -> (u64, u64) {
        let n = readings
            .iter()
            .find(|reading| reading.metric == metric && reading.labels.values().any(|label| label == stream))
            .expect("a reading")
            .n;
        let share = value(readings, metric, &[stream]).expect("a reading");
        ((share * n as f64).round() as u64, n)
    }

    #[test]
    fn lost_packets_are_counted_one_by_one() {
        let lost = |s: u64| [60, 61, 62, 200, 333, 548].contains(&s);
        let readings = readings(&call(10, |packet| (!lost(packet.sequence)).then_some(80 * MS)));
        // Steady sending: audio 49 to 548, video 90 to 989.
        assert_eq!(counts(&readings, Metric::MediaLoss, "audio"), (6, 500));
        assert_eq!(counts(&readings, Metric::MediaResidualLoss, "audio"), (6, 500));
        assert_eq!(counts(&readings, Metric::MediaLoss, "video"), (3, 900));
        assert_eq!(counts(&readings, Metric::MediaReordering, "audio").0, 0);
        assert_eq!(counts(&readings, Metric::MediaRepairedPackets, "audio").0, 0);
        let loss = readings.iter().find(|reading| reading.metric == Metric::MediaLoss).expect("audio first");
        assert!(loss.low.expect("interval") < 0.012 && loss.high.expect("interval") > 0.012);
    }

    #[test]
    fn repeats_are_loss_before_repair_and_none_after() {
        // Round trip 60 ms: a repeat comes 60 ms and more after the packet that showed the gap.
        let repaired = |s: u64| s % 100 == 7;
        let readings = readings(&call(10, |packet| Some(if repaired(packet.sequence) { 200 * MS } else { 80 * MS })));
        assert_eq!(counts(&readings, Metric::MediaLoss, "audio"), (5, 500));
        assert_eq!(counts(&readings, Metric::MediaResidualLoss, "audio"), (0, 500));
        assert_eq!(counts(&readings, Metric::MediaRepairedPackets, "audio"), (5, 500));
        assert_eq!(counts(&readings, Metric::MediaReordering, "audio"), (0, 500));
        assert_eq!(counts(&readings, Metric::MediaLatePackets, "audio"), (5, 500));
    }

    #[test]
    fn overtaken_packets_are_reordered_not_lost() {
        // 30 ms more than the next: behind it by 10 ms, less than a round trip.
        let readings = readings(&call(10, |packet| Some(if packet.sequence % 50 == 9 { 110 * MS } else { 80 * MS })));
        assert_eq!(counts(&readings, Metric::MediaReordering, "audio"), (10, 500));
        assert_eq!(counts(&readings, Metric::MediaLoss, "audio"), (0, 500));
        assert_eq!(counts(&readings, Metric::MediaRepairedPackets, "audio"), (0, 500));
    }

    #[test]
    fn the_extent_of_reordering_is_how_far_behind_the_first_newer_one() {
        // 50 ms more than the others: two have passed, and the third comes 10 ms later.
        let capture = call(10, |packet| Some(if packet.sequence == 99 { 130 * MS } else { 80 * MS }));
        let readings = readings(&capture);
        assert_eq!(value(&readings, Metric::MediaReorderingExtent, &["audio"]), Some(2.0));
        assert_eq!(counts(&readings, Metric::MediaReordering, "audio").0, 1);
    }

    #[test]
    fn packets_that_came_again_are_duplicates_unless_a_repeat_was_asked_for() {
        let mut capture = call(10, |packet| {
            Some(match (packet.stream, packet.sequence) {
                // Behind newer ones by more than a round trip: repaired. By less: reordered.
                (_, s) if s % 100 == 7 => 200 * MS,
                (_, s) if s % 100 == 51 => 105 * MS,
                _ => 80 * MS,
            })
        });
        let again = |packet: &ReceivedPacket, after: Nanos| {
            let at = packet.at + after * MS;
            ReceivedPacket { at, seen: at, ..packet.clone() }
        };
        // A copy right behind, of some that came in order, one that was overtaken, and one repaired; and
        // one that comes as late as a repeat would.
        for (sequence, after) in [(120, 1), (121, 1), (121, 2), (151, 1), (207, 1), (160, 150), (451, 150)] {
            let came = |packet: &&ReceivedPacket| packet.sequence == 5_000 + sequence;
            let copies: Vec<_> = capture.received.iter().filter(came).map(|packet| again(packet, after)).collect();
            assert_eq!(copies.len(), if sequence == 121 && after == 2 { 4 } else { 2 }, "{sequence}");
            capture.received.extend(copies);
        }
        let readings = readings(&capture);
        // Repeats of sound are never asked for. Of pictures, 207 and the late one of 451 were.
        assert_eq!(counts(&readings, Metric::MediaDuplicates, "audio"), (6, 500));
        assert_eq!(counts(&readings, Metric::MediaDuplicates, "video"), (4, 900));
    }

    #[test]
    fn without_a_round_trip_twenty_milliseconds_part_repeats_from_reordering() {
        for (behind, reordered) in [(19, 10), (21, 0)] {
            let mut capture =
                call(10, |packet| Some(if packet.sequence % 50 == 9 { (100 + behind) * MS } else { 80 * MS }));
            capture.round_trips.clear();
            assert_eq!(counts(&readings(&capture), Metric::MediaReordering, "audio").0, reordered, "{behind} ms");
        }
    }

    #[test]
    fn late_is_beyond_the_reference_buffer() {
        // PDV p99 is 25 ms, so the buffer is 30 ms; two packets are 31 ms late, two 29.
        let readings = readings(&call(10, |packet| {
            Some(match packet.sequence {
                100 | 300 => 111 * MS,
                200 | 400 => 109 * MS,
                s if s % 10 == 0 => 105 * MS,
                _ => 80 * MS,
            })
        }));
        assert_eq!(counts(&readings, Metric::MediaLatePackets, "audio"), (2, 500));
    }

    #[test]
    fn what_could_not_be_back_in_time_does_not_count() {
        // All packets take 800 ms; those of the last 300 ms cannot be told from lost ones.
        let mut capture = call(10, |_| Some(800 * MS));
        let end = capture.media_end + 500 * MS;
        capture.received.retain(|packet| packet.at <= end);
        let (lost, n) = counts(&readings(&capture), Metric::MediaLoss, "audio");
        assert_eq!(lost, 0);
        assert!((484..=486).contains(&n), "{n}");
    }

    #[test]
    fn copies_and_order_of_the_list_change_nothing() {
        let mut capture = call(10, |packet| (packet.sequence % 40 != 3).then_some(80 * MS));
        let plain = readings(&capture);
        let copies: Vec<_> = capture.received.iter().take(400).cloned().collect();
        capture.received.extend(copies);
        fastrand::Rng::with_seed(1).shuffle(&mut capture.received);
        let but_duplicates = |mut readings: Vec<Reading>| {
            readings.retain(|reading| reading.metric != Metric::MediaDuplicates);
            readings
        };
        assert_eq!(but_duplicates(readings(&capture)), but_duplicates(plain));
    }

    #[test]
    fn a_dead_stream_is_lost_entirely_and_the_other_is_not_touched() {
        let readings = readings(&call(10, |packet| (packet.stream == Stream::Audio).then_some(80 * MS)));
        assert_eq!(counts(&readings, Metric::MediaResidualLoss, "video"), (900, 900));
        assert_eq!(counts(&readings, Metric::MediaResidualLoss, "audio"), (0, 500));
        assert_eq!(value(&readings, Metric::MediaLatePackets, &["video"]), None, "nothing came to be late");
    }

    #[test]
    fn packets_never_sent_are_not_lost() {
        let mut capture = call(10, |_| Some(80 * MS));
        capture.sent.iter_mut().filter(|packet| packet.sequence == 222).for_each(|packet| packet.at = None);
        capture.received.retain(|packet| packet.sequence != 5_222);
        assert_eq!(counts(&readings(&capture), Metric::MediaLoss, "audio"), (0, 499));
    }

    #[test]
    fn nothing_sent_gives_no_reading() {
        let mut capture = call(10, |_| Some(80 * MS));
        capture.sent.clear();
        assert_eq!(readings(&capture), []);
    }
}
