//! The way there and the way back apart, where the far end is a box that reflects and says when each packet
//! came and left again (as TWAMP does, RFC 5357).
//!
//! What one clock tells is exact: which packets were lost on which way, how long each stayed in the other
//! box, and how long the network took for both ways together. The delay of one way needs both clocks. No
//! packet takes less than no time, so every packet there says that the other clock is ahead by at most so
//! much, every packet back that it is ahead by at least so much; a clock that goes at a constant rate is a
//! straight line between the two. The line taken lies where the room above and below it is greatest, and as
//! level as chance allows, which removes offset and skew; how far the true one can be from it is
//! [`Metric::MediaClockUncertainty`]. That is half of the smallest round trip of the network where packets of
//! least delay come throughout the call, and more where they do not. So a constant delay of one way cannot be
//! told from one of the other; but how delays *vary* on a way is free of the offset.

use chrono::{DateTime, Utc};

use super::{
    capture::{Capture, FarLog, FarSide, Nanos, Stream},
    course::{Course, courses},
    host::is_step,
    identity::{Packet, class, packets},
    stats::{Sample, Stat, ratio, seconds},
};
use crate::{Class, Failure, Label, Metric, Reading, Reason};

mod clocks;

use clocks::{Clocks, Point};

/// The values of the `leg` label.
const UPLINK: &str = "uplink";
const DOWNLINK: &str = "downlink";
/// Fewest packets each way from which the other clock is told.
const FEWEST: usize = 50;

/// A packet of ours that is counted, with what became of it on both ways.
struct Passed<'a> {
    sent: Nanos,
    course: Course<'a>,
}

impl Passed<'_> {
    /// Seconds to the far end, by which its clock is ahead included; and when.
    fn there(&self) -> Option<Point> {
        Some(Point { at: seconds(self.sent), excess: between(self.sent, self.course.arrived()?.arrived) })
    }

    /// Seconds at the far end.
    fn stay(&self) -> Option<f64> {
        self.course.far.and_then(|far| Some(between(far.arrived, far.left?)))
    }

    /// Seconds back, less by what the far end's clock is ahead; and when.
    fn back(&self) -> Option<Point> {
        let (left, received) = self.course.returned()?;
        Some(Point { at: seconds(received), excess: between(left, received) })
    }

    /// Seconds in the network, both ways together.
    fn network(&self) -> Option<f64> {
        Some(self.there()?.excess + self.back()?.excess)
    }
}

/// Seconds from one instant to another, of whatever clocks.
fn between(from: Nanos, to: Nanos) -> f64 {
    (to as f64 - from as f64) / 1e9
}

/// The packets of steady sending of a stream that can be told from every other.
fn passed<'a>(capture: &Capture, log: &'a FarLog, stream: Stream) -> Vec<Passed<'a>> {
    if !matches!(class(capture, stream), Some(Class::Forward) | None) {
        return Vec::new();
    }
    let courses = courses(capture, log, stream);
    let passed = |packet: Packet| Some(Passed { sent: packet.sent, course: *courses.get(&packet.sequence)? });
    packets(capture, stream).unwrap_or_default().into_iter().filter_map(passed).collect()
}

/// Loss of a stream by leg, before repair, packet by packet: there what never arrived, or only when it had
/// been asked for again; back the same of what was sent back. `None` if the far end notes nothing, or not
/// everything. What its own box dropped cannot be told from what never came.
pub(super) fn loss(capture: &Capture, stream: Stream) -> Option<Vec<Reading>> {
    let Some(FarSide::Noted(log)) = &capture.far_side else { return None };
    let packets = passed(capture, log, stream);
    if log.unnoted > 0 || packets.is_empty() {
        return None;
    }
    let count = |which: &dyn Fn(&Passed<'_>) -> bool| packets.iter().filter(|packet| which(packet)).count() as u64;
    let left = |packet: &Passed<'_>| packet.course.far.is_some_and(|far| far.left.is_some());
    let share = |leg, hits, n| {
        let reading = ratio(capture.ended_at, Metric::MediaReportedLoss, Some(stream), hits, n)?;
        Some(reading.with(Label::Leg, leg))
    };
    let there = share(UPLINK, count(&|packet| packet.course.arrived().is_none()), packets.len() as u64);
    let there = there.map(|it| if log.dropped > 0 { it.inconclusive(Reason::HostLimited) } else { it });
    let back = share(DOWNLINK, count(&|packet| left(packet) && packet.course.returned().is_none()), count(&left));
    Some([there, back].into_iter().flatten().collect())
}

/// The time packets stay at the far end; the round trip of the network without it; the delay of each leg,
/// with how far it may be off, and its variation above the least. Of both streams together, repeats left
/// out. What cannot be told, and why.
pub fn readings(capture: &Capture, log: &FarLog) -> (Vec<Reading>, Option<Failure>) {
    let length = capture.received.iter().map(|packet| packet.at).fold(capture.media_end, Nanos::max);
    if is_step(log.clock_drift, length) {
        let detail = "the clock of the far end was set during the call";
        return (Vec::new(), Some(Failure::new(Reason::ClockStep, detail)));
    }
    let ts = capture.ended_at;
    let packets: Vec<Passed<'_>> = Stream::ALL.into_iter().flat_map(|stream| passed(capture, log, stream)).collect();
    let stays: Sample = packets.iter().filter_map(Passed::stay).collect();
    let mut readings = stays.readings(ts, Metric::MediaReflectorDelay, None, &[Stat::P50, Stat::P95, Stat::P99]);
    let network: Sample = packets.iter().filter_map(Passed::network).collect();
    let stats = [Stat::Min, Stat::P50, Stat::P95];
    readings.extend(network.readings(ts, Metric::MediaNetworkRoundTrip, None, &stats));

    let there: Vec<Point> = packets.iter().filter_map(Passed::there).collect();
    let back: Vec<Point> = packets.iter().filter_map(Passed::back).collect();
    if there.len().min(back.len()) < FEWEST {
        let detail = format!("{} packets there and {} back, fewer than {FEWEST}", there.len(), back.len());
        return (readings, Some(Failure::new(Reason::FewSamples, detail)));
    }
    let Some(clocks) = Clocks::of(&there, &back) else {
        let detail = "the clocks of the two boxes do not go at constant rates";
        return (readings, Some(Failure::new(Reason::ClockStep, detail)));
    };
    let n = there.len().min(back.len()) as u64;
    readings.push(Reading::new(ts, Metric::MediaClockUncertainty, clocks.uncertainty, n));
    let there = there.iter().map(|point| point.excess - clocks.ahead(point.at)).collect();
    let back = back.iter().map(|point| point.excess + clocks.ahead(point.at)).collect();
    for (leg, delays) in [(UPLINK, there), (DOWNLINK, back)] {
        readings.extend(of_leg(ts, leg, &delays, &clocks));
    }
    (readings, None)
}

/// Delay and variation of a leg, each as far as the clocks allow.
fn of_leg(ts: DateTime<Utc>, leg: &str, delays: &Sample, clocks: &Clocks) -> Vec<Reading> {
    let widened = |reading: Reading, by: f64| {
        let (low, high) = (reading.low.unwrap_or(reading.value), reading.high.unwrap_or(reading.value));
        reading.between((low - by).max(0.0), high + by)
    };
    let of = |sample: &Sample, metric, off: f64| {
        let readings = sample.readings(ts, metric, None, &[Stat::P50, Stat::P95]);
        readings.into_iter().map(move |reading| widened(reading, off).with(Label::Leg, leg))
    };
    let variation = delays.above_least();
    of(delays, Metric::MediaOneWayDelay, clocks.uncertainty)
        .chain(of(&variation, Metric::MediaOneWayDelayVariation, clocks.scatter))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        capture::{ReceivedPacket, Repeat, SentPacket},
        fixture::{MS, SECOND, Way, reflected, value},
        identity::Fate,
    };

    const MICROSECOND: Nanos = 1_000;

    /// A clock three hours ahead, and 40 parts in a million too fast.
    fn fast(at: Nanos) -> Nanos {
        at + 3 * 3600 * SECOND + at / 25_000
    }

    fn log(capture: &mut Capture) -> &mut FarLog {
        match &mut capture.far_side {
            Some(FarSide::Noted(log)) => log,
            other => unreachable!("{other:?}"),
        }
    }

    fn read(capture: &Capture) -> (Vec<Reading>, Option<Failure>) {
        match &capture.far_side {
            Some(FarSide::Noted(log)) => readings(capture, log),
            other => unreachable!("{other:?}"),
        }
    }

    fn near(got: Option<f64>, want: f64, within: f64) {
        let got = got.expect("a reading");
        assert!((got - want).abs() <= within, "{got}, not {want}");
    }

    #[test]
    fn both_legs_are_read_whatever_the_other_clock_says() {
        // Least delay there and back, by how much it varies, and the stay. In milliseconds: how well each is
        // to be known, beside what the asymmetry hides.
        for (there, back, jitter, stay) in [
            (10, 10, [0, 0], 100 * MICROSECOND),
            (10, 10, [30, 2], 100 * MICROSECOND),
            (4, 40, [2, 30], 3 * MS),
            (1, 1, [80, 80], 20 * MS),
        ] {
            let mut random = fastrand::Rng::with_seed(9);
            let mut varied = |least: i64, jitter: i64| least * MS + random.i64(0..=jitter * MS);
            let mut truth: [Vec<f64>; 2] = Default::default();
            let capture = reflected(20, fast, |packet| {
                let (there, back) = (varied(there, jitter[0]), varied(back, jitter[1]));
                if packet.at >= Some(SECOND - 20 * MS) {
                    truth[0].push(seconds(there));
                    truth[1].push(seconds(back));
                }
                (Some(there), stay, Some(back))
            });
            let (readings, lacking) = read(&capture);
            assert_eq!(lacking, None);
            let uncertainty = value(&readings, Metric::MediaClockUncertainty, &[]).expect("published");
            let half = (there + back) as f64 / 2e3;
            // A quarter more for the ends of the call; and packets of least delay do not come all the time.
            let most = 1.25 * half + 0.003;
            assert!((half - 1e-6..most).contains(&uncertainty), "{uncertainty}, half a round trip is {half}");
            near(value(&readings, Metric::MediaReflectorDelay, &["p95"]), seconds(stay), 2e-7 + seconds(stay) * 4e-5);
            near(value(&readings, Metric::MediaNetworkRoundTrip, &["min"]), 2.0 * half, 0.006);
            let hidden = (there - back) as f64 / 2e3;
            for (leg, truth, hidden) in [("uplink", &truth[0], hidden), ("downlink", &truth[1], -hidden)] {
                let truth: Sample = truth.iter().copied().collect();
                for (name, stat) in [("p50", Stat::P50), ("p95", Stat::P95)] {
                    let want = truth.quantile(stat).expect("packets");
                    let got = value(&readings, Metric::MediaOneWayDelay, &[leg, name]);
                    near(got, want, uncertainty);
                    near(got, want - hidden, 0.0015);
                    let want = truth.above_least().quantile(stat).expect("packets");
                    near(value(&readings, Metric::MediaOneWayDelayVariation, &[leg, name]), want, 0.001);
                }
            }
            let of_leg = readings.iter().filter(|reading| reading.metric == Metric::MediaOneWayDelay);
            for reading in of_leg {
                let (low, high) = (reading.low.expect("a bound"), reading.high.expect("a bound"));
                assert!(low <= (reading.value - uncertainty).max(0.0) && high >= reading.value + uncertainty);
            }
        }
    }

    #[test]
    fn the_offset_of_the_other_clock_changes_nothing() {
        let at = |offset: Nanos| {
            let mut random = fastrand::Rng::with_seed(5);
            let mut way = |_: &SentPacket| -> Way {
                (Some(MS + random.i64(0..9 * MS)), 90 * MICROSECOND, Some(2 * MS + random.i64(0..MS)))
            };
            read(&reflected(8, |at| at + offset, &mut way)).0
        };
        let near = at(0);
        for offset in [-SECOND, 17, 3 * 3600 * SECOND, 1_000_000 * SECOND] {
            for (near, far) in near.iter().zip(&at(offset)) {
                assert_eq!((near.metric, &near.labels, near.n), (far.metric, &far.labels, far.n));
                assert!((near.value - far.value).abs() < 1e-6, "{}: {} and {}", near.metric, near.value, far.value);
            }
        }
    }

    /// Share and number of packets of a leg.
    fn lost(capture: &Capture, leg: &str, stream: Stream) -> (u64, u64) {
        let readings = loss(capture, stream).expect("noted");
        let labels = [leg, stream.name()];
        let reading = readings.iter().find(|reading| reading.labels.values().eq(labels)).expect("both legs");
        ((reading.value * reading.n as f64).round() as u64, reading.n)
    }

    #[test]
    fn loss_is_counted_on_the_leg_where_it_was() {
        let up = |s: u64| [60, 61, 200].contains(&s);
        let down = |s: u64| [60, 90, 333, 334, 548].contains(&s);
        let capture = reflected(10, fast, |packet| {
            let s = packet.sequence;
            ((!up(s)).then_some(20 * MS), MS, (!down(s)).then_some(20 * MS))
        });
        // Steady sending: audio 49 to 548, video 90 to 989. What never arrived cannot be lost on the way back.
        assert_eq!(lost(&capture, "uplink", Stream::Audio), (3, 500));
        assert_eq!(lost(&capture, "downlink", Stream::Audio), (4, 497));
        assert_eq!(lost(&capture, "uplink", Stream::Video), (1, 900));
        assert_eq!(lost(&capture, "downlink", Stream::Video), (4, 899));
    }

    #[test]
    fn what_was_repaired_was_lost_on_the_leg_that_had_to_repeat_it() {
        let mut capture = reflected(10, fast, |_| (Some(20 * MS), MS, Some(20 * MS)));
        // Of each packet: how often we sent it, it came there, was sent back, and was back. All were asked for
        // by both, as what is missing there is missing here too, and all took a repeat's time.
        for (sequence, sendings, arrivals, sent_back, copies) in [
            // Lost there, and back.
            (101, 2, 1, 1, 1),
            (102, 1, 1, 2, 1),
            // Late on both.
            (103, 2, 2, 2, 2),
            // Lost there, and back, and repeated more than once.
            (104, 3, 2, 2, 2),
            (105, 2, 2, 3, 2),
        ] {
            let video = |packet: &&mut ReceivedPacket| packet.stream == Stream::Video;
            let packet = capture.received.iter_mut().filter(video).find(|packet| packet.sequence == 5_000 + sequence);
            let packet = packet.expect("it came");
            packet.at += 100 * MS;
            let again = |sequence, at, times| Repeat { stream: Stream::Video, sequence, at, times };
            let repairs = capture.repairs.as_mut().expect("known");
            repairs.requested.push(again(packet.sequence, packet.at - 60 * MS, 1));
            repairs.resent.extend((sendings > 1).then(|| again(sequence, packet.at - 80 * MS, sendings - 1)));
            let copy = ReceivedPacket { at: packet.at + 30 * MS, ..packet.clone() };
            capture.received.extend(vec![copy; copies - 1]);
            let far = log(&mut capture).packets.iter_mut().filter(|packet| packet.stream == Stream::Video);
            let far = far.into_iter().find(|packet| u64::from(packet.sequence) == sequence).expect("it arrived");
            (far.asked, far.arrivals, far.sendings) = (true, arrivals, sent_back);
        }
        assert_eq!(lost(&capture, "uplink", Stream::Video), (2, 900));
        assert_eq!(lost(&capture, "downlink", Stream::Video), (2, 900));
        // What was late on both ways is no repeat, though all were asked for.
        let packets = packets(&capture, Stream::Video).expect("they are ours");
        let count = |fate| packets.iter().filter(|packet| packet.fate == fate).count();
        assert_eq!((count(Fate::Repaired), count(Fate::Reordered)), (4, 1));
        assert!(!packets.iter().any(|packet| packet.copied), "all were asked for");
        // Nor is a repeat's time that of the way.
        let (readings, _) = read(&capture);
        let count = |metric| readings.iter().find(|reading| reading.metric == metric).map(|reading| reading.n);
        assert_eq!(count(Metric::MediaNetworkRoundTrip), Some(1400 - 4));
        near(value(&readings, Metric::MediaOneWayDelayVariation, &["uplink", "p95"]), 0.0, 1e-5);
    }

    #[test]
    fn what_the_far_end_did_not_note_or_its_box_dropped_is_no_loss_of_the_way() {
        let mut capture = reflected(5, fast, |packet| ((packet.sequence % 10 != 0).then_some(MS), MS, Some(MS)));
        log(&mut capture).dropped = 3;
        let readings = loss(&capture, Stream::Audio).expect("noted");
        let validity: Vec<_> = readings.iter().map(|reading| (reading.validity, reading.reason)).collect();
        use crate::Validity::{Inconclusive, Ok};
        assert_eq!(validity, [(Inconclusive, Some(Reason::HostLimited)), (Ok, None)]);
        log(&mut capture).unnoted = 1;
        assert_eq!(loss(&capture, Stream::Audio), None);
        let mut kept = reflected(5, fast, |_| (Some(MS), MS, None));
        log(&mut kept).packets.iter_mut().for_each(|packet| packet.left = None);
        assert_eq!(loss(&kept, Stream::Audio).expect("noted").len(), 1, "none was sent back to be lost");
    }

    #[test]
    fn a_call_of_one_stream_is_read_alike() {
        let mut capture = reflected(8, fast, |_| (Some(5 * MS), MS, Some(5 * MS)));
        capture.sent.retain(|packet| packet.stream == Stream::Audio);
        capture.received.retain(|packet| packet.stream == Stream::Audio);
        log(&mut capture).packets.retain(|packet| packet.stream == Stream::Audio);
        let (readings, lacking) = read(&capture);
        assert_eq!(lacking, None);
        near(value(&readings, Metric::MediaOneWayDelay, &["downlink", "p50"]), 0.005, 1e-6);
        assert_eq!(loss(&capture, Stream::Video), None);
        assert_eq!(lost(&capture, "uplink", Stream::Audio), (0, 400));
    }

    #[test]
    fn what_cannot_be_told_is_absent_and_says_why() {
        let way = |_: &SentPacket| (Some(5 * MS), MS, Some(5 * MS));
        let reason = |capture: &Capture| read(capture).1.map(|failure| failure.reason);
        let mut stepped = reflected(8, fast, way);
        log(&mut stepped).clock_drift = 50 * MS;
        assert_eq!(reason(&stepped), Some(Reason::ClockStep));
        assert_eq!(read(&stepped).0, []);
        let away = reflected(8, |at| if at < 5 * SECOND { at } else { at + 30 * MS }, way);
        assert_eq!(reason(&away), Some(Reason::ClockStep));
        let few = reflected(2, fast, |packet| ((packet.sequence % 20 == 0).then_some(MS), MS, Some(MS)));
        assert_eq!(reason(&few), Some(Reason::FewSamples));
        let silent = reflected(8, fast, |_| (None, MS, None));
        assert_eq!((read(&silent).0, reason(&silent)), (Vec::new(), Some(Reason::FewSamples)));
    }

    #[test]
    fn garbage_gives_finite_readings_and_no_panic() {
        let mut random = fastrand::Rng::with_seed(13);
        for _ in 0..50 {
            let mut capture = reflected(2, fast, |_| (Some(MS), MS, Some(MS)));
            for packet in &mut log(&mut capture).packets {
                (packet.arrived, packet.left) = (random.i64(..), random.bool().then(|| random.i64(..)));
                (packet.sequence, packet.asked) = (random.u16(..), random.bool());
                (packet.arrivals, packet.sendings) = (random.u16(..), random.u16(..));
            }
            let readings = read(&capture).0.into_iter().chain(loss(&capture, Stream::Audio).unwrap_or_default());
            for reading in readings {
                assert!(reading.value.is_finite(), "{}", reading.metric);
            }
        }
    }
}
