//! Interarrival jitter (RFC 3550 §6.4.1, code in A.8), and the two readings of delay variation:
//! between neighbours (IPDV, RFC 5481 §4.1) and above the least (PDV, §4.2).

use super::{
    capture::{Capture, Nanos, ReceivedPacket, Stream},
    identity::{Packet, packets},
    stats::{Sample, Stat, low_confidence, seconds},
};
use crate::{Label, Metric, Reading};

/// A difference beyond this is a new time base of the far end, not jitter, in seconds.
const NEW_BASE: f64 = 10.0;
/// Updates of J until it has settled to within 5 %; they do not enter its mean.
const SETTLING: usize = 48;
/// Updates of J, or pairs of packets, below which their mean is of low confidence.
const FEWEST: u64 = 50;

/// J averaged over the steady part of the call, the mean of |IPDV|, and PDV above the smallest delay,
/// by stream.
pub fn readings(capture: &Capture) -> Vec<Reading> {
    let ts = capture.ended_at;
    let mut readings = Vec::new();
    for stream in Stream::ALL {
        let mean = |metric, mean: f64, n: u64| {
            let reading = Reading::new(ts, metric, mean, n).with(Label::Stream, stream.name());
            if n < FEWEST { low_confidence(reading) } else { reading }
        };
        let course = interarrival(&capture.received, stream);
        let settling = SETTLING.min(course.len() / 2);
        let steady: Vec<f64> =
            course.iter().skip(settling).filter(|(at, _)| *at >= capture.media_start).map(|(_, j)| *j).collect();
        if !steady.is_empty() {
            let sum: f64 = steady.iter().sum();
            readings.push(mean(Metric::MediaJitter, sum / steady.len() as f64, steady.len() as u64));
        }
        let packets = packets(capture, stream).unwrap_or_default();
        readings.extend(change(&packets).map(|(change, n)| mean(Metric::MediaDelayChange, change, n)));
        let stats = [Stat::P50, Stat::P95, Stat::P99];
        readings.extend(variation(&packets).readings(ts, Metric::MediaDelayVariation, Some(stream), &stats));
    }
    readings
}

/// Mean of |IPDV| in seconds, and of how many pairs: the difference of the delays of two packets sent
/// one after the other. A pair of which one was lost or repaired has none.
fn change(packets: &[Packet]) -> Option<(f64, u64)> {
    let differences: Vec<Nanos> = packets
        .windows(2)
        .filter_map(|pair| Some(pair.last()?.delay()?.abs_diff(pair.first()?.delay()?) as Nanos))
        .collect();
    let n = differences.len();
    (n > 0).then(|| (differences.iter().map(|difference| seconds(*difference)).sum::<f64>() / n as f64, n as u64))
}

/// PDV of each packet that took the direct way: its delay above the smallest, in seconds.
pub(super) fn variation(packets: &[Packet]) -> Sample {
    let delays = || packets.iter().filter_map(Packet::delay);
    let least = delays().min().unwrap_or(0);
    delays().map(|delay| seconds(delay - least)).collect()
}

/// J in seconds after each packet, in order of arrival, with the arrival.
///
/// Only the first packet of a picture counts, as the others share its time stamp but are sent
/// later. Packets older than the newest are left out: most are repeats, and a repeat's time of
/// arrival says nothing of the path.
fn interarrival(received: &[ReceivedPacket], stream: Stream) -> Vec<(Nanos, f64)> {
    let mut arrivals: Vec<&ReceivedPacket> = received.iter().filter(|packet| packet.stream == stream).collect();
    arrivals.sort_by_key(|packet| (packet.at, packet.sequence));
    let rate = f64::from(stream.clock_rate());
    let mut course = Vec::new();
    let mut jitter = 0.0;
    let mut previous: Option<&ReceivedPacket> = None;
    let mut newest: Option<u64> = None;
    for packet in arrivals {
        if newest.is_some_and(|newest| packet.sequence <= newest) {
            continue;
        }
        newest = Some(packet.sequence);
        if stream == Stream::Video && previous.is_some_and(|previous| previous.rtp_time == packet.rtp_time) {
            continue;
        }
        if let Some(previous) = previous {
            // The difference of time stamps is signed and survives their wrap.
            let sent = f64::from(packet.rtp_time.wrapping_sub(previous.rtp_time).cast_signed()) / rate;
            let difference = seconds(packet.at - previous.at) - sent;
            if difference.abs() < NEW_BASE {
                jitter += (difference.abs() - jitter) / 16.0;
                course.push((packet.at, jitter));
            }
        }
        previous = Some(packet);
    }
    course
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        fixture::{MS, call, congruential, value},
        identity::Fate,
    };

    fn packet(stream: Stream, sequence: u64, rtp_time: u32, at: Nanos) -> ReceivedPacket {
        ReceivedPacket { stream, sequence, rtp_time, hash: sequence, bytes: 0, at, seen: at }
    }

    #[test]
    fn constant_delay_has_no_jitter_even_where_time_stamps_wrap() {
        let readings = readings(&call(10, |_| Some(80 * MS)));
        for stream in ["audio", "video"] {
            // A third of a second is no whole number of nanoseconds.
            assert!(value(&readings, Metric::MediaJitter, &[stream]).expect("packets") < 1e-6);
            assert!(value(&readings, Metric::MediaDelayChange, &[stream]).expect("packets") < 1e-12);
            for stat in ["p50", "p95", "p99"] {
                assert!(value(&readings, Metric::MediaDelayVariation, &[stream, stat]).expect("packets").abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_step_of_delay_peaks_at_a_sixteenth_and_decays_by_fifteen_sixteenths() {
        let received: Vec<_> = (0..100_u32)
            .map(|i| {
                let step = if i >= 40 { 40 * MS } else { 0 };
                packet(Stream::Audio, u64::from(i), i * 960, Nanos::from(i) * 20 * MS + step)
            })
            .collect();
        let course = interarrival(&received, Stream::Audio);
        assert_eq!(course.len(), 99);
        for (i, (_, j)) in course.iter().enumerate() {
            let want = if i < 39 { 0.0 } else { 0.040 / 16.0 * (15.0_f64 / 16.0).powi(i as i32 - 39) };
            assert!((j - want).abs() < 1e-12, "update {i}: {j}, not {want}");
        }
    }

    /// RFC 3550 A.8, integer arithmetic in clock units as printed there, scaled by 16.
    fn appendix_a8(trace: &[(u32, Nanos)], rate: i64) -> f64 {
        let (mut transit, mut jitter) = (None, 0_i64);
        for (rtp_time, at) in trace {
            let arrival = (at * rate / 1_000_000_000) as u32;
            let now = arrival.wrapping_sub(*rtp_time) as i32;
            if let Some(before) = transit.replace(now) {
                let d = i64::from(now.wrapping_sub(before)).abs();
                jitter += d - ((jitter + 8) >> 4);
            }
        }
        (jitter >> 4) as f64 / rate as f64
    }

    #[test]
    fn agrees_with_the_code_of_the_standard() {
        let mut rng = fastrand::Rng::with_seed(9);
        for _ in 0..20 {
            let start = rng.u32(..);
            let mut at = 0;
            let trace: Vec<(u32, Nanos)> = (0..500_u32)
                .map(|i| {
                    at = (Nanos::from(i) * 20 * MS + rng.i64(0..30 * MS)).max(at + 1);
                    (start.wrapping_add(i * 960), at)
                })
                .collect();
            let received: Vec<_> =
                trace.iter().enumerate().map(|(i, (time, at))| packet(Stream::Audio, i as u64, *time, *at)).collect();
            let last = interarrival(&received, Stream::Audio).last().expect("500 packets").1;
            // The standard's code rounds to whole clock units on the way.
            assert!((last - appendix_a8(&trace, 48_000)).abs() < 2.5 / 48_000.0, "{last}");
        }
    }

    #[test]
    fn agrees_with_numpy_on_the_same_trace() {
        // Width of the uniform delay in ns; then last and mean J by the formula of §6.4.1 in floating
        // point, mean |IPDV|, and p95 and p99 of PDV by the inverted distribution.
        let table = [
            (7, 500, 12_000_000, 0.00388274013328, 0.00388047656513, 0.0039971922004, 0.01129708, 0.011788416),
            (8, 1500, 30_000_000, 0.0099121664622, 0.0099441088813, 0.010487316523, 0.028763079, 0.02967048),
            (9, 500, 90_000_000, 0.0190078279742, 0.0188057687182, 0.0300222353447, 0.085506143, 0.089109455),
        ];
        let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-9, "{got}, not {want}");
        for (seed, n, width, last, mean, ipdv, p95, p99) in table {
            let mut random = congruential(seed);
            let mut at = -1;
            let received: Vec<_> = (0..n)
                .map(|i| {
                    at = (Nanos::from(i) * 20 * MS + random() as Nanos % width).max(at + 1);
                    packet(Stream::Audio, u64::from(i), u32::MAX.wrapping_add(i * 960), at)
                })
                .collect();
            let course = interarrival(&received, Stream::Audio);
            near(course.last().expect("updates").1, last);
            near(course.iter().map(|(_, j)| j).sum::<f64>() / course.len() as f64, mean);

            let mut random = congruential(seed);
            let packets: Vec<Packet> = (0..n)
                .map(|i| {
                    let sent = Nanos::from(i) * 20 * MS;
                    let received = Some(sent + 50 * MS + random() as Nanos % width);
                    Packet { sequence: u64::from(i), sent, received, fate: Fate::InOrder, extent: 0, copied: false }
                })
                .collect();
            near(change(&packets).expect("pairs").0, ipdv);
            near(variation(&packets).quantile(Stat::P95).expect("packets"), p95);
            near(variation(&packets).quantile(Stat::P99).expect("packets"), p99);
        }
    }

    #[test]
    fn only_pairs_of_which_both_came_directly_have_a_difference() {
        // Every third takes 10 ms more; of each ten the eighth is lost.
        let path = |s: u64| (s % 10 != 7).then_some(if s.is_multiple_of(3) { 90 * MS } else { 80 * MS });
        let readings = readings(&call(10, |packet| path(packet.sequence)));
        let pairs = (49..548).filter(|s| path(*s).is_some() && path(s + 1).is_some());
        let differences: Vec<f64> = pairs.map(|s| if path(s) == path(s + 1) { 0.0 } else { 0.010 }).collect();
        let want = differences.iter().sum::<f64>() / differences.len() as f64;
        let reading = readings.iter().find(|reading| reading.metric == Metric::MediaDelayChange).expect("audio first");
        assert_eq!(reading.n, differences.len() as u64);
        assert!((reading.value - want).abs() < 1e-12, "{}, not {want}", reading.value);
    }

    #[test]
    fn independent_delays_give_the_expected_mean() {
        // Uniform on 0 to 12 ms: the mean of |difference| is a third of the width.
        let mut rng = fastrand::Rng::with_seed(2);
        let capture = call(120, |_| Some(50 * MS + rng.i64(0..12 * MS)));
        let got = value(&readings(&capture), Metric::MediaJitter, &["audio"]).expect("packets");
        assert!((got / 0.004 - 1.0).abs() < 0.05, "{got}");
        let p95 = value(&readings(&capture), Metric::MediaDelayVariation, &["audio", "p95"]).expect("packets");
        assert!((p95 - 0.95 * 0.012).abs() < 0.0002, "{p95}");
    }

    #[test]
    fn packets_of_one_picture_sent_one_after_another_are_no_jitter() {
        let capture = call(10, |packet| {
            Some(80 * MS + if packet.stream == Stream::Video { packet.sequence as Nanos % 3 * MS } else { 0 })
        });
        assert!(value(&readings(&capture), Metric::MediaJitter, &["video"]).expect("packets") < 1e-6);
    }

    #[test]
    fn repeats_are_neither_jitter_nor_variation() {
        let late =
            |packet: &crate::media::capture::SentPacket| packet.stream == Stream::Video && packet.sequence % 60 == 31;
        let capture = call(20, |packet| Some(if late(packet) { 300 * MS } else { 80 * MS }));
        let readings = readings(&capture);
        assert!(value(&readings, Metric::MediaJitter, &["video"]).expect("packets") < 1e-6);
        assert!(value(&readings, Metric::MediaDelayVariation, &["video", "p99"]).expect("packets") < 1e-6);
    }

    #[test]
    fn a_new_time_base_of_the_far_end_is_no_jitter() {
        let mut capture = call(10, |_| Some(80 * MS));
        capture.received.iter_mut().filter(|packet| packet.at > 5_000 * MS).for_each(|packet| {
            packet.rtp_time = packet.rtp_time.wrapping_add(1_500_000_000);
        });
        assert!(value(&readings(&capture), Metric::MediaJitter, &["audio"]).expect("packets") < 1e-6);
    }

    #[test]
    fn garbage_does_not_panic() {
        let mut rng = fastrand::Rng::with_seed(3);
        let received: Vec<_> = (0..500)
            .map(|_| packet(Stream::Video, rng.u64(..), rng.u32(..), rng.i64(-1_000_000_000_000..1_000_000_000_000)))
            .collect();
        assert!(interarrival(&received, Stream::Video).iter().all(|(_, j)| j.is_finite() && *j >= 0.0));
    }
}
