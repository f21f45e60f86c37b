//! Sound against picture.

use super::{
    capture::{Capture, Nanos, Stream},
    delay::{carriers, frames, markers},
    stats::{Sample, Stat, low_confidence, seconds},
};
use crate::{Metric, Reading};

/// Fewest markers and pictures of a sound comparison.
const FEWEST: (usize, usize) = (5, 30);

/// `media_skew`: delay of the picture minus delay of the sound, between medians; positive when the
/// sound is early (the sign of ITU-R BT.1359).
///
/// Taken out of both is what this box's own coding adds, so that a perfect path reads 0: of the
/// sound the Opus look-ahead (already absent from [`super::capture::HeardMarker::at`]) and the time
/// from a marker's first sample until the packet that carries it is sent (packetisation, 20 ms); of
/// the picture the time from capture until its first packet is sent (encoding), and decoding, by
/// taking the kernel stamp of the packet that completed it. What remains is the path: the network
/// and the buffers of the far end. A far end that mixes or codes anew has buffers of its own and
/// needs its own baseline.
pub fn readings(capture: &Capture) -> Vec<Reading> {
    let markers = markers(capture);
    let frames = frames(capture);
    let sound: Sample = markers.iter().map(|(sent, heard)| seconds(heard.at - sent.generated)).collect();
    let picture: Sample = frames.iter().map(|(captured, frame)| seconds(frame.completed - captured)).collect();
    let own = own_sound(capture).zip(own_picture(capture));
    let (Some(sound_delay), Some(picture_delay), Some((own_sound, own_picture))) =
        (sound.quantile(Stat::P50), picture.quantile(Stat::P50), own)
    else {
        return Vec::new();
    };
    let own = own_picture - own_sound;
    let n = sound.len().min(picture.len());
    let mut reading = Reading::new(capture.ended_at, Metric::MediaSkew, picture_delay - sound_delay - own, n as u64);
    if let (Some(sound), Some(picture)) = (sound.interval(Stat::P50), picture.interval(Stat::P50)) {
        reading = reading.between(picture.0 - sound.1 - own, picture.1 - sound.0 - own);
    }
    vec![if enough(&sound, &picture) { reading } else { low_confidence(reading) }]
}

/// Whether there are samples enough to compare sound with picture.
pub(super) fn enough(sound: &Sample, picture: &Sample) -> bool {
    sound.len() >= FEWEST.0 && picture.len() >= FEWEST.1
}

/// Median time from a marker's first sample until the packet that carries it was sent, in seconds.
pub(super) fn own_sound(capture: &Capture) -> Option<f64> {
    let carriers = carriers(capture);
    let steady = capture.markers_sent.iter().filter(|marker| marker.generated >= capture.media_start);
    let wait = steady.filter_map(|marker| Some(seconds(carriers.get(&marker.index)?.at? - marker.generated)));
    wait.collect::<Sample>().quantile(Stat::P50)
}

/// Median time from the capture of a picture until its first packet was sent, in seconds: the first
/// packet after its capture, as encoding takes less than the time between two pictures.
pub(super) fn own_picture(capture: &Capture) -> Option<f64> {
    let mut sent: Vec<Nanos> =
        capture.sent.iter().filter(|packet| packet.stream == Stream::Video).filter_map(|packet| packet.at).collect();
    sent.sort_unstable();
    let steady = capture.frames_sent.iter().filter(|frame| frame.captured >= capture.media_start);
    let wait = steady.filter_map(|frame| {
        let first = sent.get(sent.partition_point(|at| *at < frame.captured))?;
        Some(seconds(first - frame.captured))
    });
    wait.collect::<Sample>().quantile(Stat::P50)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Validity,
        media::fixture::{MS, call},
    };

    fn skew(capture: &Capture) -> f64 {
        readings(capture).first().expect("a reading").value
    }

    #[test]
    fn a_perfect_path_is_in_sync_whatever_its_delay() {
        for delay in [0, 80, 300] {
            let skew = skew(&call(10, |_| Some(delay * MS)));
            assert!(skew.abs() < 1e-9, "{delay} ms: {skew}");
        }
    }

    #[test]
    fn delaying_one_stream_shows_with_its_sign() {
        for extra in [-120_i64, -40, 40, 120] {
            let path =
                |stream| if (stream == Stream::Video) == (extra > 0) { (50 + extra.abs()) * MS } else { 50 * MS };
            let capture = call(10, |packet| Some(path(packet.stream)));
            let skew = skew(&capture);
            assert!((skew - extra as f64 * 1e-3).abs() < 1e-9, "{extra} ms: {skew}");
            let reading = &readings(&capture)[0];
            assert_eq!(reading.n, 10);
            assert!(reading.low.is_some_and(|low| low <= reading.value));
            assert!(reading.high.is_some_and(|high| high >= reading.value));
        }
    }

    #[test]
    fn slow_encoding_and_decoding_are_no_skew() {
        let mut capture = call(10, |_| Some(50 * MS));
        capture.frames_sent.iter_mut().for_each(|frame| frame.captured -= 15 * MS);
        capture.frames_decoded.iter_mut().for_each(|frame| frame.at += 25 * MS);
        assert!(skew(&capture).abs() < 1e-9);
    }

    #[test]
    fn jitter_of_both_streams_averages_out() {
        let mut rng = fastrand::Rng::with_seed(8);
        let capture = call(30, |packet| {
            Some(50 * MS + rng.i64(0..20 * MS) + if packet.stream == Stream::Video { 40 * MS } else { 0 })
        });
        // The last of a picture's three packets completes it: 15 ms of 20 on average, sound 10.
        assert!((skew(&capture) - 0.0455).abs() < 0.006, "{}", skew(&capture));
    }

    #[test]
    fn one_stream_alone_gives_no_skew_and_few_markers_low_confidence() {
        assert_eq!(readings(&call(10, |packet| (packet.stream == Stream::Audio).then_some(MS))), []);
        assert_eq!(readings(&call(10, |packet| (packet.stream == Stream::Video).then_some(MS))), []);
        assert_eq!(readings(&call(4, |_| Some(MS)))[0].validity, Validity::LowConfidence);
    }
}
