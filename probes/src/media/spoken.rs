//! A call of sound alone in which somebody else speaks and listens: what the call itself says of it.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    Config, FarEnd, Profile,
    call::{self, Own},
    capture::{Capture, Nanos},
    host::Host,
};
use crate::{Failure, Reason, units::Span, worker::Job};

/// Bit rate of what is said. A light call's least is enough for markers, not for a loss by bands.
const BITS_PER_SECOND: u32 = 32_000;
/// Length of a packet.
const PERIOD: Nanos = 20_000_000;
/// Least share of what comes that is ours, packet by packet, in a call that has led back to us.
const OURS: f64 = 0.5;

/// What was spoken, and whether it may be judged.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// When the first sample was spoken, on the clock by which packets arrive.
    pub(crate) start: Nanos,
    /// How long was spoken.
    pub(crate) seconds: f64,
    pub(crate) ended_at: DateTime<Utc>,
    /// Why nothing that was heard may be judged.
    pub(crate) not_judged: Option<Reason>,
}

/// Calls `far_end`, and goes on for `duration` and a second to settle. Fails as a media call does; with
/// [`Reason::FirstRtp`] if nothing came back.
pub(crate) async fn speak(
    job: &Job,
    far_end: FarEnd,
    duration: Duration,
    own: Own,
    progress: &(dyn Fn(&str, f64) + Sync),
    end: impl Future<Output = Failure>,
) -> Result<Spoken, Failure> {
    let config = Config {
        profile: Profile::Light,
        far_end,
        duration: Span(duration),
        audio_bits_per_second: Some(BITS_PER_SECOND),
        ..Config::default()
    };
    let (seed, started_at) = (job.seed, job.started_at);
    let order = call::Order { config: &config, seed, started_at, connect: call::CONNECT, progress };
    Spoken::of(&call::call_with(&order, Some(own), end).await?)
}

impl Spoken {
    fn of(capture: &Capture) -> Result<Self, Failure> {
        let host = Host::of(capture);
        let sent = capture.sent.len();
        if capture.received.is_empty() && !host.starved {
            let detail = format!("connected and spoke in {sent} packets, but nothing came back");
            return Err(Failure::new(Reason::FirstRtp, detail));
        }
        let ours: HashSet<u64> = capture.sent.iter().map(|packet| packet.hash).collect();
        let again = capture.received.iter().filter(|packet| ours.contains(&packet.hash)).count();
        if !capture.received.is_empty() && again as f64 >= OURS * capture.received.len() as f64 {
            let detail = format!(
                "{again} of our own packets came back as they were: what is listened to is not the room, but \
                 what this call sends"
            );
            return Err(Failure::new(Reason::Signalling, detail));
        }
        let not_judged = if capture.received.is_empty() { Some(Reason::HostLimited) } else { host.reason };
        Ok(Self {
            start: capture.sent.first().map_or(0, |packet| packet.due - PERIOD),
            seconds: sent as f64 * PERIOD as f64 / 1e9,
            ended_at: capture.ended_at,
            not_judged,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::media::{
        capture::Stream,
        fixture::{MS, call},
    };

    /// A call whose sound comes back as something else.
    fn answered() -> Capture {
        let mut capture = call(10, |packet| (packet.stream == Stream::Audio).then_some(80 * MS));
        capture.sent.retain(|packet| packet.stream == Stream::Audio);
        capture.frames_sent.clear();
        capture.received.iter_mut().for_each(|packet| packet.hash ^= 1 << 60);
        capture
    }

    #[test]
    fn speaking_begins_a_packet_before_the_first_is_due() {
        let capture = answered();
        let spoken = Spoken::of(&capture).unwrap();
        assert_eq!(spoken.start, capture.sent[0].due - 20 * MS);
        assert!((spoken.seconds - capture.sent.len() as f64 * 0.02).abs() < 1e-9);
        assert_eq!((spoken.not_judged, spoken.ended_at), (None, capture.ended_at));
    }

    #[test]
    fn silence_is_a_failure_unless_the_box_stood_still() {
        let mut capture = answered();
        capture.received.clear();
        assert_eq!(Spoken::of(&capture).unwrap_err().reason, Reason::FirstRtp);
        capture.overshoots.iter_mut().for_each(|late| *late = 200 * MS);
        assert_eq!(Spoken::of(&capture).unwrap().not_judged, Some(Reason::HostLimited));
    }

    #[test]
    fn a_busy_box_and_a_stepped_clock_are_not_judged() {
        let mut capture = answered();
        capture.overshoots.iter_mut().for_each(|late| *late = 6 * MS);
        assert_eq!(Spoken::of(&capture).unwrap().not_judged, Some(Reason::HostLimited));
        let stepped = Capture { clock_drift: 500 * MS, ..answered() };
        assert_eq!(Spoken::of(&stepped).unwrap().not_judged, Some(Reason::ClockStep));
    }

    #[test]
    fn a_call_that_leads_back_to_us_is_no_call_to_the_room() {
        let mut capture = answered();
        capture.received.iter_mut().for_each(|packet| packet.hash ^= 1 << 60);
        let failure = Spoken::of(&capture).unwrap_err();
        assert_eq!(failure.reason, Reason::Signalling);
        assert!(failure.detail.starts_with("550 of our own packets came back"), "{failure:?}");
    }
}
