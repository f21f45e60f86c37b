//! What the far end reports by RTCP (RFC 3550 §6.4): loss on the way to it, the round trip to it, and
//! by which clock it would have sound and picture played together. A second opinion, never the first;
//! what it does not report is absent. Where the far end notes each packet, loss by leg is counted from
//! that instead: it is the same quantity under the same name, only exact.

use super::{
    capture::{Capture, ReceptionReport, SenderReport, Stream},
    delay::{frames, markers},
    identity::{Fate, class, packets},
    legs::loss,
    stats::{Sample, Stat, low_confidence, ratio, seconds},
    sync::{enough, own_picture, own_sound},
};
use crate::{Class, Label, Metric, Reading};

/// Loss by leg, round trip, and the error of the far end's mapping of both streams to one clock.
pub fn readings(capture: &Capture) -> Vec<Reading> {
    let ts = capture.ended_at;
    let exact_or_reported = |stream| loss(capture, stream).unwrap_or_else(|| legs(capture, stream));
    let mut readings: Vec<Reading> = Stream::ALL.into_iter().flat_map(exact_or_reported).collect();
    let round_trips: Sample = capture.reception_reports.iter().filter_map(round_trip).collect();
    readings.extend(round_trips.readings(ts, Metric::MediaReportRoundTrip, None, &[Stat::Min, Stat::P50, Stat::P95]));
    readings.extend(map_skew(capture));
    readings
}

/// Uplink: what the far end misses of the packets it should have had, as it says. Downlink: what of all
/// loss of the same packets that leaves, `1 − (1 − loss) / (1 − uplink)`; absent if the far end does not
/// forward packets, and if something was repaired: a repeat that reached the far end is no loss to it, and
/// which leg it repaired is not known.
fn legs(capture: &Capture, stream: Stream) -> Vec<Reading> {
    let ts = capture.ended_at;
    let Some(Reported { after, expected, lost }) = uplink(capture, stream) else { return Vec::new() };
    let up = ratio(ts, Metric::MediaReportedLoss, Some(stream), lost, expected);
    let forwarded = class(capture, stream) == Some(Class::Forward);
    let mut packets = packets(capture, stream).filter(|_| forwarded).unwrap_or_default();
    packets.retain(|packet| {
        let place = (packet.sequence as u16).wrapping_sub(after);
        place > 0 && u64::from(place) <= expected
    });
    let n = packets.len() as u64;
    let came = n - packets.iter().filter(|packet| packet.missed()).count() as u64;
    let repaired = packets.iter().any(|packet| packet.fate == Fate::Repaired);
    let down = (n > 0 && lost < expected && !repaired).then(|| {
        let share = 1.0 - came as f64 / n as f64 * expected as f64 / (expected - lost) as f64;
        Reading::new(ts, Metric::MediaReportedLoss, share.max(0.0), n).with(Label::Stream, stream.name())
    });
    let leg = |reading: Option<Reading>, name| reading.map(|reading| reading.with(Label::Leg, name));
    [leg(up, "uplink"), leg(down, "downlink")].into_iter().flatten().collect()
}

/// What the far end reports of a run of packets.
struct Reported {
    /// Sequence number of the packet before the first.
    after: u16,
    expected: u64,
    lost: u64,
}

/// The packets between the first and the last report of steady sending; if there is but one, those
/// before it, from the last report of the warm-up or from our first packet on (differences as in §A.3).
fn uplink(capture: &Capture, stream: Stream) -> Option<Reported> {
    let reports = || capture.reception_reports.iter().filter(move |report| report.stream == stream);
    let steady = || reports().filter(|report| report.at > capture.media_start);
    let last = steady().max_by_key(|report| report.at)?;
    let first = steady().min_by_key(|report| report.at).filter(|first| first.at < last.at);
    let warm_up = || reports().filter(|report| report.at <= capture.media_start).max_by_key(|report| report.at);
    let sent = || capture.sent.iter().filter(|packet| packet.stream == stream).map(|packet| packet.sequence).min();
    let (sequence, total) = match first.or_else(warm_up) {
        Some(report) => (report.highest_sequence, report.total_lost),
        None => ((sent()? as u32).wrapping_sub(1), 0),
    };
    let expected = u64::from(last.highest_sequence.wrapping_sub(sequence));
    // Copies make it negative.
    let lost = u64::from(last.total_lost.saturating_sub(total).max(0).unsigned_abs()).min(expected);
    // No call has as many packets as there are numbers: that would be a report from before.
    (1..1 << 16).contains(&expected).then_some(Reported { after: sequence as u16, expected, lost })
}

/// `A − LSR − DLSR` (§6.4.1) in seconds. Absent if the far end has seen no report of ours, or does not
/// say how long ago.
fn round_trip(report: &ReceptionReport) -> Option<f64> {
    let known = report.last_sender_report != 0 && report.delay != 0;
    let units = report.ntp.wrapping_sub(report.last_sender_report).wrapping_sub(report.delay).cast_signed();
    (known && units >= 0).then(|| f64::from(units) / 65_536.0)
}

/// By how much sound comes early for a receiver that plays both streams together as the far end's last
/// sender reports have it: a real receiver does. What this box's own coding adds is taken out, as it is
/// of `media_skew`.
fn map_skew(capture: &Capture) -> Option<Reading> {
    let last = |stream| {
        let reports = capture.sender_reports.iter().filter(|report| report.stream == stream && report.ntp != 0);
        reports.max_by_key(|report| report.at)
    };
    let (sound_map, picture_map) = (last(Stream::Audio)?, last(Stream::Video)?);
    let markers = markers(capture);
    let sound: Sample = markers
        .iter()
        .filter_map(|(sent, heard)| Some(since(sound_map, heard.rtp_time?) - seconds(sent.generated)))
        .collect();
    let frames = frames(capture);
    let picture: Sample = frames
        .iter()
        .filter_map(|(captured, frame)| Some(since(picture_map, frame.rtp_time?) - seconds(*captured)))
        .collect();
    // 32 bits of whole seconds, 32 of their parts.
    let apart = picture_map.ntp.wrapping_sub(sound_map.ntp).cast_signed() as f64 / 4_294_967_296.0;
    let own = own_picture(capture)? - own_sound(capture)?;
    let skew = picture.quantile(Stat::P50)? + apart - sound.quantile(Stat::P50)? - own;
    let n = sound.len().min(picture.len()) as u64;
    let reading = Reading::new(capture.ended_at, Metric::MediaMapSkew, skew, n);
    Some(if enough(&sound, &picture) { reading } else { low_confidence(reading) })
}

/// Seconds from the instant of a sender report to that for which `rtp_time` stands.
fn since(report: &SenderReport, rtp_time: u32) -> f64 {
    f64::from(rtp_time.wrapping_sub(report.rtp_time).cast_signed()) / f64::from(report.stream.clock_rate())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        capture::Nanos,
        fixture::{MS, SECOND, call, value},
    };

    #[test]
    fn loss_is_parted_into_legs() {
        // One of 20 is lost on the way there, and of the rest one of 10 on the way back.
        let up = |s: u64| s.is_multiple_of(20);
        let lost = |s: u64| up(s) || s % 20 == 10;
        let mut capture = call(20, |packet| (!lost(packet.sequence)).then_some(80 * MS));
        capture.reception_reports.clear();
        for stream in Stream::ALL {
            let sent = || capture.sent.iter().filter(move |packet| packet.stream == stream);
            let report = |at: Nanos| {
                let before = || sent().filter(move |packet| packet.at.is_some_and(|sent| sent < at));
                ReceptionReport {
                    stream,
                    at,
                    ntp: 0,
                    highest_sequence: before().map(|packet| packet.sequence as u32).max().unwrap_or_default(),
                    total_lost: before().filter(|packet| up(packet.sequence)).count() as i32,
                    last_sender_report: 0,
                    delay: 0,
                }
            };
            let reports: Vec<_> = (0..20).map(|s| report(s * SECOND + 300 * MS)).collect();
            capture.reception_reports.extend(reports);
        }
        let leg = |capture: &Capture, leg, stream| value(&readings(capture), Metric::MediaReportedLoss, &[leg, stream]);
        for stream in ["audio", "video"] {
            let (up, down) = (leg(&capture, "uplink", stream), leg(&capture, "downlink", stream));
            assert!((up.expect("reported") - 0.05).abs() < 1e-12, "{stream}: {up:?}");
            assert!((down.expect("both known") - 1.0 / 19.0).abs() < 1e-12, "{stream}: {down:?}");
        }
        // What was repaired may have been missing on either leg.
        let mut repaired = capture.clone();
        let late = repaired.received.iter_mut().filter(|packet| packet.stream == Stream::Video).nth(500);
        late.expect("a thousand pictures came").at += 300 * MS;
        assert!(leg(&repaired, "uplink", "video").is_some() && leg(&repaired, "downlink", "audio").is_some());
        assert_eq!(leg(&repaired, "downlink", "video"), None);
        let mut packed = capture.clone();
        packed
            .received
            .iter_mut()
            .filter(|packet| packet.stream == Stream::Video)
            .for_each(|packet| packet.hash ^= 1 << 60);
        assert_eq!(leg(&packed, "downlink", "video"), None, "pictures are not packets");
        // One single report counts from the first packet on.
        capture.reception_reports.retain(|report| report.at == 15 * SECOND + 300 * MS);
        assert!((leg(&capture, "uplink", "audio").expect("reported") - 0.05).abs() < 2e-3);
        capture.reception_reports[0].at = 300 * MS;
        capture.reception_reports.truncate(1);
        assert_eq!(leg(&capture, "uplink", "audio"), None, "nothing of steady sending");
    }

    #[test]
    fn reports_that_cannot_be_are_no_loss() {
        let mut capture = call(5, |_| Some(MS));
        let report = ReceptionReport {
            stream: Stream::Audio,
            at: 4 * SECOND,
            ntp: 0,
            highest_sequence: 200,
            total_lost: -7,
            last_sender_report: 0,
            delay: 0,
        };
        capture.reception_reports = vec![report.clone()];
        assert_eq!(value(&readings(&capture), Metric::MediaReportedLoss, &["uplink", "audio"]), Some(0.0));
        capture.reception_reports = vec![ReceptionReport { total_lost: i32::MAX, ..report.clone() }];
        assert_eq!(value(&readings(&capture), Metric::MediaReportedLoss, &["uplink", "audio"]), Some(1.0));
        assert_eq!(value(&readings(&capture), Metric::MediaReportedLoss, &["downlink", "audio"]), None);
        let sequence = capture.sent[0].sequence as u32;
        capture.reception_reports = vec![ReceptionReport { highest_sequence: sequence.wrapping_sub(9), ..report }];
        assert_eq!(value(&readings(&capture), Metric::MediaReportedLoss, &["uplink", "audio"]), None);
    }

    #[test]
    fn the_round_trip_is_that_of_the_standard() {
        let report = |ntp, last_sender_report, delay| ReceptionReport {
            stream: Stream::Audio,
            at: 0,
            ntp,
            highest_sequence: 0,
            total_lost: 0,
            last_sender_report,
            delay,
        };
        // The example of figure 2: 46864.500 − 5.250 − 46853.125 = 6.125 s.
        let example = report(0xB710_8000, 0xB705_2000, 0x0005_4000);
        assert_eq!(round_trip(&example), Some(6.125));
        // Across the wrap.
        assert_eq!(round_trip(&report(0x0000_4000, 0xFFFF_C000, 0x4000)), Some(0.25));
        for (ntp, sent, delay) in [(9, 0, 5), (9, 5, 0), (100, 90, 11)] {
            assert_eq!(round_trip(&report(ntp, sent, delay)), None, "{ntp} {sent} {delay}");
        }
    }

    #[test]
    fn the_map_is_off_by_what_the_reports_are_off_whatever_the_delay() {
        for (sound, picture) in [(0, 0), (40, 0), (0, 40), (-120, 30)] {
            // The way of each stream is no part of it.
            let mut capture = call(10, |packet| Some(if packet.stream == Stream::Audio { 20 * MS } else { 170 * MS }));
            for report in &mut capture.sender_reports {
                let late = if report.stream == Stream::Audio { sound } else { picture };
                report.ntp = report.ntp.wrapping_add_signed(late * 4_294_967_296 / 1000);
            }
            let got = value(&readings(&capture), Metric::MediaMapSkew, &[]).expect("reports came");
            let want = (picture - sound) as f64 / 1e3;
            assert!((got - want).abs() < 1e-4, "{sound} {picture}: {got}");
        }
        let mut capture = call(10, |_| Some(20 * MS));
        capture.sender_reports.retain(|report| report.stream == Stream::Audio);
        assert_eq!(value(&readings(&capture), Metric::MediaMapSkew, &[]), None, "one stream has no report");
    }
}
