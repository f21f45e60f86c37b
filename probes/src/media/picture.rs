//! Frame rate, missing, repeated and torn pictures. "Shown" means handed out by the decoder: no display
//! is involved.

use std::collections::HashSet;

use super::{
    capture::{Capture, DecodedFrame, Nanos},
    freeze,
    identity::last_counted,
    stats::{ratio, seconds},
};
use crate::{Metric, Reading};

/// Frame rate and frame ratio by distinct counters; of the pictures decoded, those that show nothing
/// new and those made up of parts of two; freezes by the times between new pictures.
pub fn readings(capture: &Capture) -> Vec<Reading> {
    let ts = capture.ended_at;
    let captured: std::collections::HashMap<u64, Nanos> =
        capture.frames_sent.iter().map(|frame| (frame.counter, frame.captured)).collect();
    let shown = new_pictures(capture);
    let delays = shown.iter().filter_map(|frame| Some(frame.at - captured.get(&frame.counter)?));
    let last = last_counted(capture, delays);
    let counted: HashSet<u64> = capture
        .frames_sent
        .iter()
        .filter(|frame| frame.captured >= capture.media_start && frame.captured < last)
        .map(|frame| frame.counter)
        .collect();
    let decoded: HashSet<u64> =
        capture.frames_decoded.iter().map(|frame| frame.counter).filter(|counter| counted.contains(counter)).collect();

    let mut readings = Vec::new();
    let span = seconds(last - capture.media_start);
    if !counted.is_empty() && span > 0.0 {
        let rate = decoded.len() as f64 / span;
        readings.push(Reading::new(ts, Metric::MediaFrameRate, rate, decoded.len() as u64));
        readings.extend(ratio(ts, Metric::MediaFrameRatio, None, decoded.len() as u64, counted.len() as u64));
    }
    let steady = || capture.frames_decoded.iter().filter(|frame| frame.at >= capture.media_start);
    let n = steady().count() as u64;
    let new = shown.iter().filter(|frame| frame.at >= capture.media_start).count() as u64;
    let torn = steady().filter(|frame| frame.torn).count() as u64;
    readings.extend(ratio(ts, Metric::MediaRepeatedFrames, None, n - new, n));
    readings.extend(ratio(ts, Metric::MediaTornFrames, None, torn, n));
    let shown: Vec<Nanos> = shown.iter().map(|frame| frame.at).collect();
    readings.extend(freeze::readings(capture, &shown));
    readings
}

/// Pictures newer than all before them, in order of decoding: a repeat shows nothing new.
fn new_pictures(capture: &Capture) -> Vec<&DecodedFrame> {
    let mut shown: Vec<_> = capture.frames_decoded.iter().collect();
    shown.sort_by_key(|frame| frame.at);
    let mut newest = None;
    shown.retain(|frame| {
        let new = newest.is_none_or(|newest| frame.counter > newest);
        newest = newest.max(Some(frame.counter));
        new
    });
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        capture::Stream,
        fixture::{MS, PER_FRAME, call, value},
    };

    /// A call in which the pictures of these counters are lost.
    fn without(lost: impl Fn(u64) -> bool) -> Capture {
        call(10, |packet| (packet.stream == Stream::Audio || !lost(packet.sequence / PER_FRAME)).then_some(80 * MS))
    }

    fn get(capture: &Capture, metric: Metric) -> f64 {
        value(&readings(capture), metric, &[]).expect("a reading")
    }

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got}, not {want}");
    }

    #[test]
    fn a_clean_call_shows_all_pictures_and_no_freeze() {
        let capture = without(|_| false);
        near(get(&capture, Metric::MediaFrameRate), 30.0);
        near(get(&capture, Metric::MediaFrameRatio), 1.0);
        near(get(&capture, Metric::MediaFreezes), 0.0);
        near(get(&capture, Metric::MediaFreezeRatio), 0.0);
    }

    #[test]
    fn missing_pictures_are_counted_one_by_one() {
        let capture = without(|counter| counter % 10 == 4);
        near(get(&capture, Metric::MediaFrameRate), 27.0);
        near(get(&capture, Metric::MediaFrameRatio), 0.9);
        near(get(&capture, Metric::MediaFreezes), 0.0);
    }

    #[test]
    fn freezes_are_counted_and_timed_exactly() {
        // 9 missing: 333 ms. 24 missing: 833 ms. 3 missing: 133 ms, no freeze.
        let lost =
            |counter| (100..109).contains(&counter) || (200..224).contains(&counter) || (280..283).contains(&counter);
        let capture = without(lost);
        near(get(&capture, Metric::MediaFreezes), 2.0);
        assert!((get(&capture, Metric::MediaFreezeRatio) - (10.0 + 25.0) / 300.0).abs() < 1e-6);
    }

    #[test]
    fn the_limit_is_average_plus_150_ms_or_three_times_average() {
        // 30 a second: 33.3 + 150 = 183.3 ms.
        for (gap, freezes) in [(183 * MS, 0.0), (184 * MS, 1.0)] {
            let mut capture = without(|_| false);
            let from = capture.frames_decoded[149].at + gap;
            for frame in &mut capture.frames_decoded[150..] {
                frame.at = frame.at.max(from);
            }
            near(get(&capture, Metric::MediaFreezes), freezes);
        }
        // 5 a second: three times 200 ms.
        for (gap, freezes) in [(2_u64, 0.0), (3, 1.0)] {
            let capture = without(|counter| counter % 6 != 0 || (120..120 + (gap - 1) * 6).contains(&counter));
            near(get(&capture, Metric::MediaFreezes), freezes);
        }
    }

    #[test]
    fn a_picture_that_stops_for_good_is_frozen_to_the_end() {
        let capture = without(|counter| counter >= 180);
        near(get(&capture, Metric::MediaFreezes), 1.0);
        assert!((get(&capture, Metric::MediaFreezeRatio) - 0.5).abs() < 0.02);
    }

    #[test]
    fn repeated_and_older_pictures_are_not_new() {
        let mut capture = without(|counter| (100..130).contains(&counter));
        let stale = capture.frames_decoded[90].clone();
        let from = capture.frames_decoded[99].at;
        for i in 1..25 {
            let mut repeat = stale.clone();
            repeat.at = from + i * 33 * MS;
            capture.frames_decoded.push(repeat);
        }
        near(get(&capture, Metric::MediaFreezes), 1.0);
        near(get(&capture, Metric::MediaFrameRatio), 0.9);
    }

    #[test]
    fn repeated_and_torn_pictures_are_counted() {
        let mut capture = without(|_| false);
        // Each twentieth shows what was there already, two are torn.
        for i in (40..300).step_by(20) {
            capture.frames_decoded[i].counter = capture.frames_decoded[i - 2].counter;
        }
        capture.frames_decoded[100].torn = true;
        capture.frames_decoded[101].torn = true;
        capture.frames_decoded[3].torn = true;
        let n = capture.frames_decoded.iter().filter(|frame| frame.at >= capture.media_start).count() as f64;
        near(get(&capture, Metric::MediaRepeatedFrames), 13.0 / n);
        near(get(&capture, Metric::MediaTornFrames), 2.0 / n);
    }

    #[test]
    fn a_freeze_during_warm_up_does_not_count() {
        let capture = without(|counter| (5..20).contains(&counter));
        near(get(&capture, Metric::MediaFreezes), 0.0);
    }

    #[test]
    fn no_picture_at_all_is_a_rate_of_zero_and_no_freeze_reading() {
        let capture = without(|_| true);
        near(get(&capture, Metric::MediaFrameRate), 0.0);
        near(get(&capture, Metric::MediaFrameRatio), 0.0);
        assert_eq!(value(&readings(&capture), Metric::MediaFreezes, &[]), None);
    }
}
