//! Whether this box was quick enough for its own figures to be believed.
//!
//! A busy box sends late, is woken late and decodes late; its figures then speak of the box, not of
//! the path. Such a run is inconclusive: never degraded, and never a pass either.

use std::collections::HashSet;

use super::{
    capture::{Capture, Nanos, SentPacket, Stream},
    stats::{Sample, Stat, seconds},
};
use crate::{Metric, Reading, Reason};

/// Largest p99 of the lateness of the timer, in seconds. On two cores a timer thread stays
/// below 1 ms idle and with one core taken, and is above 10 ms once both are.
const OVERSHOOT: f64 = 0.005;
/// Largest p95 of the lateness of sending above the least of the same stream, in seconds. The least
/// is what encoding takes on this box however idle it is; that shifts no figure. Pictures may take
/// longer than that, as their encoding depends on the content; the path's figures stand on send
/// stamps and do not see it.
fn lateness_limit(stream: Stream) -> f64 {
    match stream {
        Stream::Audio => 0.005,
        Stream::Video => 0.015,
    }
}
/// Least share of the pictures and packets due that were really sent.
const SENT: f64 = 0.95;
/// A single stop of this length, in seconds, cannot make a freeze of 183 ms by itself, a longer one
/// may.
const STALL: f64 = 0.050;
/// A box whose timer is this late in one case of twenty, in seconds, may have missed a whole call.
const STARVED: f64 = 0.100;
/// Least change of the wall clock against the monotonic clock that is a step, beside the 500 parts
/// in a million by which a clock is slewed, in nanoseconds.
const STEP: Nanos = 200_000;

/// What is known of the box during a call.
#[derive(Debug)]
pub(super) struct Host {
    overshoots: Sample,
    lateness: Sample,
    /// Why no timing, loss or freeze of this call may be judged.
    pub(super) reason: Option<Reason>,
    /// The box stood still once for longer than 50 ms: what a single stop can move is not to be
    /// judged, the rest is.
    pub(super) stalled: bool,
    /// So busy, or so silent, that even the absence of all media says nothing of the far end.
    pub(super) starved: bool,
}

impl Host {
    pub(super) fn of(capture: &Capture) -> Self {
        let overshoots: Sample = capture.overshoots.iter().map(|late| seconds(*late)).collect();
        let steady = || {
            let within = capture.media_start..=capture.media_end;
            capture.sent.iter().filter(move |packet| within.contains(&packet.due))
        };
        let late = |packet: &SentPacket| Some(seconds(packet.at? - packet.due));
        let lateness: Sample = steady().filter_map(late).collect();
        let sends_late = Stream::ALL.into_iter().any(|stream| {
            // One a block or picture: a key frame's many packets must not outweigh the others.
            let mut dues = HashSet::new();
            let first = |packet: &&SentPacket| packet.stream == stream && dues.insert(packet.due);
            let lateness: Sample = steady().filter(first).filter_map(late).collect();
            let above = lateness.quantile(Stat::P95).zip(lateness.quantile(Stat::Min)).map(|(p95, least)| p95 - least);
            above.is_some_and(|above| above > lateness_limit(stream))
        });
        let seen_late: Sample = capture.received.iter().map(|packet| seconds(packet.seen - packet.at)).collect();

        // Without a timer nothing vouches for the box.
        let above = |sample: &Sample, stat, limit| sample.quantile(stat).is_none_or(|late| late > limit);
        let limited = above(&overshoots, Stat::P99, OVERSHOOT)
            || sends_late
            || lateness.len() == 0
            || capture.dropped > 0
            || (lateness.len() as f64) < SENT * steady().count() as f64
            || pictures_sent(capture) < SENT;
        let length = capture.received.iter().map(|packet| packet.at).fold(capture.media_end, Nanos::max);
        let stepped = is_step(capture.clock_drift, length);
        let reason = if limited { Some(Reason::HostLimited) } else { stepped.then_some(Reason::ClockStep) };
        let stalled =
            [&overshoots, &lateness, &seen_late].iter().any(|sample| sample.max().is_some_and(|late| late > STALL));
        let starved = lateness.len() == 0 || above(&overshoots, Stat::P95, STARVED);
        Self { overshoots, lateness, reason, stalled, starved }
    }

    /// How late the timer fired and the sender sent. These are judged by nobody and always valid.
    pub(super) fn readings(&self, capture: &Capture) -> Vec<Reading> {
        let stats = [Stat::P50, Stat::P95, Stat::P99];
        let mut readings = self.lateness.readings(capture.ended_at, Metric::MediaSenderLateness, None, &stats);
        readings.extend(self.overshoots.readings(capture.ended_at, Metric::MediaTimerOvershoot, None, &stats));
        readings
    }

    /// The reading, inconclusive if the box may have made it what it is.
    pub(super) fn judge(&self, reading: Reading) -> Reading {
        if let Some(reason) = self.reason {
            return reading.inconclusive(reason);
        }
        let a_stop_moves_it = match reading.metric {
            Metric::MediaFreezes
            | Metric::MediaFreezeRatio
            | Metric::MediaPauses
            | Metric::MediaFreezesLibwebrtc
            | Metric::MediaFreezeDurationLibwebrtc
            | Metric::MediaLatePackets
            | Metric::MediaPlayoutDelay
            | Metric::MouthToEar
            | Metric::MediaJitter
            | Metric::MediaDelayChange => true,
            // Kernel stamps do not wait for us, those of the decoder do; the embedded far end waits too.
            Metric::MediaVideoDelay | Metric::MediaPacketDelay | Metric::MediaDelayVariation => {
                reading.labels.values().any(|value| value == "p99")
            }
            _ => false,
        };
        if self.stalled && a_stop_moves_it { reading.inconclusive(Reason::HostLimited) } else { reading }
    }
}

/// Whether a wall clock that went away by `drift` from the monotonic clock in a call of `length` was set,
/// not slewed.
pub(super) fn is_step(drift: Nanos, length: Nanos) -> bool {
    drift.saturating_abs() > STEP + length / 2000
}

/// Share of the pictures due during steady sending that were made.
fn pictures_sent(capture: &Capture) -> f64 {
    let within = capture.media_start..capture.media_end;
    let sent = capture.frames_sent.iter().filter(|frame| within.contains(&frame.captured)).count();
    let due = seconds(capture.media_end - capture.media_start) * capture.frame_rate;
    let video = capture.sent.iter().any(|packet| packet.stream == Stream::Video) || sent > 0;
    // One picture more or less is the edge of the window; a call without video owes none.
    if video && due >= 1.0 { (sent + 1) as f64 / due } else { 1.0 }
}
