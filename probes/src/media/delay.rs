//! Loop delays of packets, sound and picture: from this box through the far end back to it, all on
//! one clock.

use std::collections::HashMap;

use super::{
    capture::{Capture, DecodedFrame, HeardMarker, Nanos, SentMarker, SentPacket, Stream},
    identity::{last_packets, packets},
    stats::{Sample, Stat, seconds},
};
use crate::{Metric, Reading};

/// Delay of packets (kernel receive stamp minus send stamp, first copies, repeats left out), of
/// sound (markers) and of the picture (time codes), which is there when it is whole, and those decoded before
/// it are. This box's own work is no delay of the way, and taken out of the latter two: its lateness in sending,
/// which has a reading of its own, and decoding. Encoding stands for 10 ms, whatever it took.
pub fn readings(capture: &Capture) -> Vec<Reading> {
    let ts = capture.ended_at;
    let mut readings = Vec::new();
    for stream in Stream::ALL {
        let delays: Sample = packets(capture, stream)
            .unwrap_or_default()
            .iter()
            .filter_map(|packet| packet.delay().map(seconds))
            .collect();
        let stats = [Stat::Min, Stat::P50, Stat::P95, Stat::P99];
        readings.extend(delays.readings(ts, Metric::MediaPacketDelay, Some(stream), &stats));
    }
    let sound = sound(capture);
    readings.extend(sound.readings(ts, Metric::MediaAudioDelay, None, &[Stat::Min, Stat::P50, Stat::P95]));
    let last = last_packets(capture);
    let late = |captured| last(captured).map_or(0, |(due, at)| at - due);
    let mut whole = Nanos::MIN;
    let picture = frames(capture).into_iter().map(|(captured, frame)| {
        whole = whole.max(frame.completed);
        seconds(whole - captured - late(captured))
    });
    let picture: Sample = picture.collect();
    readings.extend(picture.readings(ts, Metric::MediaVideoDelay, None, &[Stat::P50, Stat::P95, Stat::P99]));
    readings
}

/// Loop delay of each marker, this box's lateness taken out.
pub(super) fn sound(capture: &Capture) -> Sample {
    let sent_at = carriers(capture);
    let delay = |(sent, heard): (&SentMarker, &HeardMarker)| {
        let carrier = sent_at.get(&sent.index);
        let late = carrier.and_then(|packet| Some(packet.at? - packet.due)).unwrap_or_default();
        seconds(heard.at - sent.generated - late)
    };
    markers(capture).into_iter().map(delay).collect()
}

/// Whole pictures of steady sending with their capture times, each when it was decoded first.
pub(super) fn frames(capture: &Capture) -> Vec<(Nanos, &DecodedFrame)> {
    let mut captured: HashMap<u64, Nanos> =
        capture.frames_sent.iter().map(|frame| (frame.counter, frame.captured)).collect();
    capture
        .frames_decoded
        .iter()
        .filter_map(|frame| Some((captured.remove(&frame.counter)?, frame)))
        .filter(|(captured, frame)| *captured >= capture.media_start && !frame.torn)
        .collect()
}

/// Media time between two markers, in units of the RTP clock of the sound.
const MARKER_PERIOD: u32 = 48_000;

/// The packet that carries the first sample of each marker, by the marker's index. The first packet
/// of the track carries the beginning of the signal, where marker 0 stands.
pub(super) fn carriers(capture: &Capture) -> HashMap<u64, &SentPacket> {
    let audio = || capture.sent.iter().filter(|packet| packet.stream == Stream::Audio);
    let Some(origin) = audio().min_by_key(|packet| packet.sequence).map(|packet| packet.rtp_time) else {
        return HashMap::new();
    };
    let place = |packet: &SentPacket| packet.rtp_time.wrapping_sub(origin);
    audio()
        .filter(|packet| place(packet).is_multiple_of(MARKER_PERIOD))
        .map(|packet| (u64::from(place(packet) / MARKER_PERIOD), packet))
        .collect()
}

const SECOND: Nanos = 1_000_000_000;

/// Markers of steady sending, each with where it was heard.
///
/// Markers say only up or down. All that were heard are laid over the sequence that was sent, a
/// second apart, at every start that needs no negative delay; the start where most directions agree
/// is the right one, and among equals that of the smallest delay. Five markers in a row name their
/// place, so a delay of several seconds is told from one of their remainder.
pub(super) fn markers<'a>(capture: &'a Capture) -> Vec<(&'a SentMarker, &'a HeardMarker)> {
    let mut heard: Vec<&HeardMarker> = capture.markers_heard.iter().collect();
    heard.sort_by_key(|marker| marker.at);
    let Some(first) = heard.first() else { return Vec::new() };
    let sent: HashMap<u64, &SentMarker> = capture.markers_sent.iter().map(|marker| (marker.index, marker)).collect();
    // Whole seconds after the first, rounded.
    let slot = |marker: &HeardMarker| ((marker.at - first.at + SECOND / 2).max(0) / SECOND) as u64;
    let pair = |start: u64, heard: &'a HeardMarker| {
        let sent = *sent.get(&start.checked_add(slot(heard))?)?;
        (sent.up == heard.up && heard.at >= sent.generated).then_some((sent, heard))
    };
    let pairs = |start: u64| -> Vec<_> { heard.iter().filter_map(|heard| pair(start, heard)).collect() };
    let best = capture
        .markers_sent
        .iter()
        .filter(|marker| marker.generated <= first.at)
        .map(|marker| (marker.generated, pairs(marker.index)))
        .max_by_key(|(generated, pairs)| (pairs.len(), *generated));
    let mut best = best.map(|(_, pairs)| pairs).unwrap_or_default();
    best.retain(|(sent, _)| sent.generated >= capture.media_start);
    best.dedup_by_key(|(sent, _)| sent.index);
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{MS, PER_FRAME, call, value};

    fn near(got: Option<f64>, want: f64) {
        let got = got.expect("a reading");
        assert!((got - want).abs() < 1e-9, "{got}, not {want}");
    }

    #[test]
    fn a_constant_delay_is_read_exactly_everywhere() {
        let readings = readings(&call(10, |_| Some(80 * MS)));
        for stream in ["audio", "video"] {
            for stat in ["min", "p50", "p95", "p99"] {
                near(value(&readings, Metric::MediaPacketDelay, &[stream, stat]), 0.080);
            }
        }
        // The send stamp's 0.1 ms after due is the box's own, and taken out. Packetisation 20 ms.
        near(value(&readings, Metric::MediaAudioDelay, &["p50"]), 0.1);
        // Encoding 3 ms; what decoding takes is this box's own.
        near(value(&readings, Metric::MediaVideoDelay, &["p50"]), 0.083);
    }

    #[test]
    fn a_picture_is_there_once_those_before_it_are() {
        // Of one picture in thirty a packet comes 60 ms late, as its repeat does, and the next one waits for it.
        let late = |s: u64| s % (30 * PER_FRAME) == 1;
        let mut capture = call(10, |packet| {
            Some(80 * MS + if packet.stream == Stream::Video && late(packet.sequence) { 60 * MS } else { 0 })
        });
        capture.frames_decoded.sort_by_key(|frame| frame.counter);
        let readings = readings(&capture);
        near(value(&readings, Metric::MediaVideoDelay, &["p50"]), 0.083);
        let p95 = value(&readings, Metric::MediaVideoDelay, &["p95"]).expect("pictures");
        assert!((p95 - (0.083 + 0.060 - 1.0 / 30.0)).abs() < 1e-6, "{p95}: of 30, one waits for 60 ms and one for 27");
    }

    #[test]
    fn percentiles_are_those_of_the_delays_given() {
        // 500 audio packets count: 70 ms, every tenth 90 ms, every hundredth 150 ms.
        let readings = readings(&call(10, |packet| match packet.sequence {
            s if s % 100 == 5 => Some(150 * MS),
            s if s % 10 == 5 => Some(90 * MS),
            _ => Some(70 * MS),
        }));
        let p = |stat| value(&readings, Metric::MediaPacketDelay, &["audio", stat]);
        near(p("min"), 0.070);
        near(p("p50"), 0.070);
        near(p("p95"), 0.090);
        let n = readings.iter().find(|reading| reading.metric == Metric::MediaPacketDelay).expect("audio first").n;
        assert!((495..=501).contains(&n), "{n}: warm-up must not count");
    }

    #[test]
    fn repeats_and_copies_do_not_count_as_delay() {
        let mut capture = call(10, |packet| Some(if packet.sequence % 50 == 7 { 300 * MS } else { 70 * MS }));
        let copy = |packet: &crate::media::capture::ReceivedPacket| {
            let mut copy = packet.clone();
            copy.at += 400 * MS;
            copy
        };
        let copies: Vec<_> = capture.received.iter().take(200).map(copy).collect();
        capture.received.extend(copies);
        let readings = readings(&capture);
        near(value(&readings, Metric::MediaPacketDelay, &["audio", "p99"]), 0.070);
    }

    #[test]
    fn packets_that_look_alike_are_left_out() {
        let mut capture = call(10, |_| Some(70 * MS));
        // Parameter sets: the same payload at each key frame, paired at random they read minutes.
        for packet in
            capture.sent.iter_mut().filter(|packet| packet.stream == Stream::Video && packet.sequence % 90 == 0)
        {
            packet.hash = 999_999_999;
        }
        for packet in capture
            .received
            .iter_mut()
            .filter(|packet| packet.stream == Stream::Video && packet.sequence % 90 == 5_000 % 90)
        {
            packet.hash = 999_999_999;
        }
        near(value(&readings(&capture), Metric::MediaPacketDelay, &["video", "p99"]), 0.070);
    }

    #[test]
    fn a_server_that_codes_anew_leaves_packet_delay_absent_but_not_sound_and_picture() {
        let mut capture = call(10, |_| Some(70 * MS));
        capture.received.iter_mut().for_each(|packet| packet.hash += 1_000_000_000);
        capture.frames_received.iter_mut().for_each(|frame| frame.hash += 1_000_000_000);
        let readings = readings(&capture);
        assert_eq!(value(&readings, Metric::MediaPacketDelay, &["video", "p50"]), None);
        assert!(value(&readings, Metric::MediaAudioDelay, &["p50"]).is_some());
        assert!(value(&readings, Metric::MediaVideoDelay, &["p50"]).is_some());
    }

    #[test]
    fn a_sound_delay_beyond_a_second_is_told_from_its_remainder() {
        for delay in [0, 900, 1_700, 4_300, 11_250] {
            let readings = readings(&call(30, |_| Some(delay * MS)));
            near(value(&readings, Metric::MediaAudioDelay, &["p50"]), delay as f64 * 1e-3 + 0.02);
        }
    }

    #[test]
    fn missing_and_misheard_markers_do_not_mislead() {
        let mut capture = call(20, |_| Some(2_300 * MS));
        capture.markers_heard.remove(0);
        capture.markers_heard.remove(6);
        capture.markers_heard[4].up ^= true;
        near(value(&readings(&capture), Metric::MediaAudioDelay, &["p95"]), 2.32);
    }

    #[test]
    fn nothing_heard_or_seen_gives_no_reading() {
        let capture = call(10, |_| None);
        assert_eq!(readings(&capture), []);
    }
}
