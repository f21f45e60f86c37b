//! Freezes and pauses, by the times between new pictures.

use std::collections::VecDeque;

use super::{
    capture::{Capture, Nanos},
    stats::{low_confidence, seconds},
};
use crate::{Metric, Reading};

/// Pictures over which the usual time between two is averaged (W3C webrtc-stats, `freezeCount`).
const AVERAGED: usize = 30;
/// Shortest excess over the average that is a freeze, in nanoseconds (the same).
const EXCESS: Nanos = 150_000_000;
/// Longest time between two pictures that is no pause, in nanoseconds (the same, `pauseCount`).
const PAUSE: Nanos = 5_000_000_000;
/// Times between pictures below which libwebrtc sees no freeze.
const FEWEST_AVERAGED: usize = 5;
/// Pictures below which the count of freezes is of low confidence.
const FEWEST: usize = 30;

/// Freezes by both rules, and pauses. `shown` are the instants at which new pictures came, in order.
///
/// The whole time between two pictures counts as frozen. The warm-up gives the first averages and no
/// freezes.
pub(super) fn readings(capture: &Capture, shown: &[Nanos]) -> Vec<Reading> {
    let whole = capture.media_end - capture.media_start;
    if shown.len() < 2 || whole <= 0 {
        return Vec::new();
    }
    let w3c = w3c(capture, shown);
    let frozen: Nanos = w3c.iter().map(|(start, end)| within(capture, *start, *end)).sum();
    let pauses = w3c.iter().filter(|(start, end)| end - start > PAUSE).count();
    let libwebrtc = libwebrtc(capture, shown);
    let n = shown.len() as u64;
    [
        (Metric::MediaFreezes, w3c.len() as f64),
        (Metric::MediaFreezeRatio, seconds(frozen) / seconds(whole)),
        (Metric::MediaPauses, pauses as f64),
        (Metric::MediaFreezesLibwebrtc, libwebrtc.len() as f64),
        (Metric::MediaFreezeDurationLibwebrtc, libwebrtc.iter().sum::<i64>() as f64 / 1e3),
    ]
    .map(|(metric, value)| Reading::new(capture.ended_at, metric, value, n))
    .map(|reading| if shown.len() < FEWEST { low_confidence(reading) } else { reading })
    .to_vec()
}

/// How much of a time lies within steady sending.
fn within(capture: &Capture, start: Nanos, end: Nanos) -> Nanos {
    end.min(capture.media_end) - start.max(capture.media_start)
}

/// A freeze is a time between two new pictures of at least `max(3 × average, average + 150 ms)`,
/// the average being that of the up to 30 times before it (W3C webrtc-stats; the standard leaves
/// open whether the time itself is averaged in). A picture that does not move again before sending ends
/// is frozen until then.
fn w3c(capture: &Capture, shown: &[Nanos]) -> Vec<(Nanos, Nanos)> {
    let ends = shown.iter().skip(1).copied().chain([capture.media_end]);
    let mut before = Recent::default();
    let mut freezes = Vec::new();
    for (start, end) in shown.iter().copied().zip(ends) {
        let time = end - start;
        if time > 0 && before.is_exceeded(time, EXCESS, 1) && within(capture, start, end) > 0 {
            freezes.push((start, end));
        }
        before.add(time);
    }
    freezes
}

/// The lengths in milliseconds of what libwebrtc counts as freezes (`video_quality_observer2.cc`): the
/// time itself is in the average, which is rounded down and needs five times; all in whole
/// milliseconds. A picture that never moves again is none: it counts when the next one is shown.
fn libwebrtc(capture: &Capture, shown: &[Nanos]) -> Vec<i64> {
    let mut recent = Recent::default();
    let mut freezes = Vec::new();
    for pair in shown.windows(2) {
        let &[start, end] = pair else { continue };
        let time = end.div_euclid(1_000_000) - start.div_euclid(1_000_000);
        recent.add(time);
        if recent.is_exceeded(time, EXCESS / 1_000_000, FEWEST_AVERAGED) && within(capture, start, end) > 0 {
            freezes.push(time);
        }
    }
    freezes
}

/// The times between the latest pictures.
#[derive(Default)]
struct Recent(VecDeque<i64>);

impl Recent {
    fn add(&mut self, time: i64) {
        if self.0.len() == AVERAGED {
            self.0.pop_front();
        }
        self.0.push_back(time);
    }

    /// Whether `time` is at least `max(3 × average, average + excess)`; of fewer times than `fewest`
    /// nothing is said.
    fn is_exceeded(&self, time: i64, excess: i64, fewest: usize) -> bool {
        let average = self.0.iter().sum::<i64>() / self.0.len().max(1) as i64;
        self.0.len() >= fewest && time >= (3 * average).max(average + excess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::{MS, SECOND, call, value};

    /// Freezes by both rules and pauses, of pictures that came these many milliseconds apart during
    /// steady sending.
    fn counted(times: &[i64]) -> [u64; 3] {
        let mut capture = call(60, |_| None);
        let mut at = capture.media_start;
        let shown: Vec<Nanos> = [0]
            .iter()
            .chain(times)
            .map(|time| {
                at += time * MS;
                at
            })
            .collect();
        capture.media_end = at;
        let readings = readings(&capture, &shown);
        [Metric::MediaFreezes, Metric::MediaFreezesLibwebrtc, Metric::MediaPauses]
            .map(|metric| value(&readings, metric, &[]).expect("two pictures") as u64)
    }

    #[test]
    fn the_smallest_freeze_is_that_of_each_rule() {
        // Time between pictures; smallest freeze by W3C and by libwebrtc after 40 pictures and after 5,
        // from an independent implementation of both rules.
        let table = [
            (33, 40, 183, 188),
            (33, 5, 183, 212),
            (66, 40, 216, 221),
            (66, 5, 216, 327),
            (100, 40, 300, 321),
            (100, 5, 300, 495),
            (200, 40, 600, 642),
            (200, 5, 600, 996),
        ];
        for (usual, before, w3c, libwebrtc) in table {
            let found = |gap| counted(&[vec![usual; before], vec![gap, usual]].concat());
            for (rule, smallest) in [(0, w3c), (1, libwebrtc)] {
                assert_eq!((found(smallest - 1)[rule], found(smallest)[rule]), (0, 1), "{usual} {before} {rule}");
            }
        }
    }

    #[test]
    fn a_pause_is_longer_than_five_seconds() {
        for (gap, pauses) in [(5_000, 0), (5_001, 1)] {
            assert_eq!(counted(&[vec![33; 40], vec![gap, 33]].concat()), [1, 1, pauses]);
        }
    }

    #[test]
    fn libwebrtc_adds_up_whole_milliseconds_and_waits_for_the_next_picture() {
        let capture = call(10, |_| None);
        let start = capture.media_start;
        let mut shown: Vec<Nanos> = (0..60).map(|i| start + i * 33 * MS).collect();
        shown.push(start + 59 * 33 * MS + 400 * MS + MS / 2);
        let of = |shown: &[Nanos]| value(&readings(&capture, shown), Metric::MediaFreezeDurationLibwebrtc, &[]);
        assert_eq!(of(&shown), Some(0.400));
        assert_eq!(of(&shown[..60]), Some(0.0));
        let w3c = value(&readings(&capture, &shown), Metric::MediaFreezes, &[]);
        assert_eq!(w3c, Some(2.0), "and the last picture never moves again");
        assert!(capture.media_end > shown[60] + SECOND);
    }
}
