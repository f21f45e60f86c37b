//! What went over the wire: bytes, and how far key frames are apart.

use super::{
    capture::{Capture, Nanos, Stream},
    stats::{low_confidence, seconds},
};
use crate::{Label, Metric, Reading};

/// Fewest times between key frames of a mean.
const FEWEST: usize = 3;

/// Throughput by stream and direction, and the mean time between key frames that came back.
pub fn readings(capture: &Capture) -> Vec<Reading> {
    let mut readings: Vec<Reading> = capture.streams().iter().flat_map(|stream| throughput(capture, *stream)).collect();
    readings.extend(key_frame_interval(capture));
    readings
}

/// Bytes of payload per second of steady sending: sent, and received in as long a time from the first
/// arrival on. Of captures that do not know how many were received only those sent.
fn throughput(capture: &Capture, stream: Stream) -> Vec<Reading> {
    let span = capture.media_end - capture.media_start;
    if span <= 0 {
        return Vec::new();
    }
    let sent: Vec<(Nanos, u32)> = capture
        .sent
        .iter()
        .filter(|packet| packet.stream == stream)
        .filter_map(|packet| Some((packet.at?, packet.bytes)))
        .collect();
    let received: Vec<(Nanos, u32)> = capture
        .received
        .iter()
        .filter(|packet| packet.stream == stream)
        .map(|packet| (packet.at, packet.bytes))
        .collect();
    let rate = |packets: &[(Nanos, u32)], direction: &str| {
        let known = packets.is_empty() || packets.iter().any(|(_, bytes)| *bytes > 0);
        let steady = || packets.iter().filter(|(at, _)| *at >= capture.media_start);
        let start = steady().map(|(at, _)| *at).min().unwrap_or(capture.media_start);
        let counted = || steady().filter(|(at, _)| at - start < span);
        let bytes: u64 = counted().map(|(_, bytes)| u64::from(*bytes)).sum();
        known.then(|| {
            Reading::new(
                capture.ended_at,
                Metric::MediaThroughput,
                bytes as f64 / seconds(span),
                counted().count() as u64,
            )
            .with(Label::Stream, stream.name())
            .with(Label::Direction, direction)
        })
    };
    [rate(&sent, "transmit"), rate(&received, "receive")].into_iter().flatten().collect()
}

/// Mean time between the key frames received, of those that end during steady sending.
fn key_frame_interval(capture: &Capture) -> Option<Reading> {
    let mut keys: Vec<Nanos> =
        capture.frames_received.iter().filter(|frame| frame.key).map(|frame| frame.completed).collect();
    keys.sort_unstable();
    let times: Vec<Nanos> = keys
        .windows(2)
        .filter_map(|pair| Some((*pair.first()?, *pair.last()?)))
        .filter(|(_, end)| *end >= capture.media_start)
        .map(|(start, end)| end - start)
        .collect();
    let n = times.len();
    let mean = times.iter().map(|time| seconds(*time)).sum::<f64>() / n as f64;
    let reading = (n > 0).then(|| Reading::new(capture.ended_at, Metric::MediaKeyFrameInterval, mean, n as u64))?;
    Some(if n < FEWEST { low_confidence(reading) } else { reading })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{MS, call, value};

    #[test]
    fn throughput_is_that_of_each_stream_and_direction() {
        // 100 bytes a packet: sound 50 and pictures 90 packets a second, of which each fourth is lost.
        let lossy = call(10, |packet| {
            (packet.stream == Stream::Audio || !packet.sequence.is_multiple_of(4)).then_some(80 * MS)
        });
        let readings = readings(&lossy);
        for (stream, direction, want) in [
            ("audio", "transmit", 5000.0),
            ("audio", "receive", 5000.0),
            ("video", "transmit", 9000.0),
            ("video", "receive", 6750.0),
        ] {
            let got = value(&readings, Metric::MediaThroughput, &[stream, direction]).expect("sent");
            assert!((got - want).abs() < 1e-9, "{stream} {direction}: {got}, not {want}");
        }
    }

    #[test]
    fn a_dead_stream_receives_nothing_and_an_old_capture_does_not_know() {
        let dead = readings(&call(5, |packet| (packet.stream == Stream::Audio).then_some(MS)));
        assert_eq!(value(&dead, Metric::MediaThroughput, &["video", "receive"]), Some(0.0));
        let mut old = call(5, |_| Some(MS));
        old.received.iter_mut().for_each(|packet| packet.bytes = 0);
        assert_eq!(value(&readings(&old), Metric::MediaThroughput, &["audio", "receive"]), None);
    }

    #[test]
    fn key_frames_are_two_seconds_apart() {
        let readings = readings(&call(10, |_| Some(80 * MS)));
        let reading =
            readings.iter().find(|reading| reading.metric == Metric::MediaKeyFrameInterval).expect("five key frames");
        assert!((reading.value - 2.0).abs() < 1e-9, "{}", reading.value);
        assert_eq!(reading.n, 5);
        assert_eq!(super::readings(&call(10, |_| None)).len(), 4, "without pictures no interval");
    }
}
