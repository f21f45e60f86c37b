//! From a capture to readings: all analyses of one call, and whether they may be judged.
//!
//! The gates, in order:
//! 1. **Run.** If the p99 of the timer's lateness is above 5 ms, or the p95 of the sender's is
//!    above its least (encoding) by 5 ms for sound or 15 ms for pictures, if anything was dropped on
//!    this box or a twentieth was never sent, the run is `host_limited`; if
//!    the wall clock, from which kernel stamps are converted, jumped by more than 0.2 ms beside the
//!    500 ppm by which NTP slews it, it is `clock_step`. No timing, loss or freeze is judged.
//! 2. **Single stops.** If the box only once stood still for over 50 ms, the run is sound but for
//!    what one stop can move: freezes, jitter, late packets and p99; these alone are inconclusive.
//! 3. **Absence.** No media at all is a failure of the far end, however busy the box, unless the box
//!    sent nothing or stood still a tenth of a second at a time. Media that cannot be decoded is one
//!    only if gate 1 is passed: a dropped packet may cost the picture.
//!
//! What the box says of itself (sender lateness, timer overshoot) is always valid.

use super::{
    capture::{Capture, FarSide, Stream},
    delay,
    host::Host,
    identity, jitter, legs, loss, picture, playout, report,
    stats::{Sample, Stat, seconds},
    sync, wire,
};
use crate::{Class, Failure, Label, MediaPath, Metric, ProbeRun, Reading, Reason};

/// One analysis: what it says of a call.
type Analysis = fn(&Capture) -> Vec<Reading>;

/// The analyses of the media, by what each measures, and whether it takes a picture.
const PARTS: [(&str, bool, Analysis); 8] = [
    ("packet, sound and picture delay", false, delay::readings),
    ("jitter", false, jitter::readings),
    ("loss", false, loss::readings),
    ("sound against picture", true, sync::readings),
    ("frame rate and freezes", true, picture::readings),
    ("playout", false, playout::readings),
    ("throughput and key frames", false, wire::readings),
    ("what the far end reports", false, report::readings),
];

/// Fills `run` with what `capture` shows: readings, what is absent, and whether the run failed or
/// must not be judged.
pub fn analyse(capture: &Capture, run: &mut ProbeRun) {
    let host = Host::of(capture);
    run.inconclusive = host.reason;
    run.absent.extend_from_slice(&capture.bounds);
    let success = |value| Reading::new(capture.ended_at, Metric::MediaSuccess, value, 1);

    match absence(capture) {
        None => run.readings.push(success(1.0)),
        Some(failure) => {
            let excused = match failure.reason {
                Reason::FirstRtp => host.starved,
                _ => host.reason.is_some(),
            };
            if excused {
                run.inconclusive = Some(Reason::HostLimited);
                run.readings.push(success(0.0).inconclusive(Reason::HostLimited));
                run.absent.push(failure);
            } else {
                // The busy box did not cause this, so it does not excuse it.
                run.inconclusive = None;
                run.readings.push(success(0.0));
                run.failure = Some(failure);
            }
        }
    }

    if run.failure.is_none() {
        run.paths = paths(capture);
        run.absent.extend(run.paths.iter().filter(|path| path.class == Class::Transcode).map(|path| {
            let detail = format!("{} packets: the far end codes anew, and none of ours comes back", path.stream.name());
            Failure::new(Reason::Transcode, detail)
        }));
    }

    let connecting = connecting(capture);
    // Without media the rest would only say once more that nothing came.
    let parts: &[(&str, bool, Analysis)] = if run.failure.is_some() { &[] } else { &PARTS };
    run.readings.extend(connecting.into_iter().map(|reading| host.judge(reading)));
    for (what, _, readings) in parts.iter().filter(|(_, picture, _)| !(*picture && capture.sound_only)) {
        let readings = readings(capture);
        if readings.is_empty() {
            run.absent.push(Failure::new(Reason::FewSamples, format!("{what}: nothing to measure it by came back")));
        }
        run.readings.extend(readings.into_iter().map(|reading| host.judge(reading)));
    }
    let unknown = match &capture.far_side {
        Some(FarSide::Noted(log)) if run.failure.is_none() => {
            let (readings, unknown) = legs::readings(capture, log);
            run.readings.extend(readings.into_iter().map(|reading| host.judge(reading)));
            unknown
        }
        Some(FarSide::Unknown(failure)) => Some(failure.clone()),
        _ => None,
    };
    let absent = |failure: Failure| Failure::new(failure.reason, format!("delay by leg: {}", failure.detail));
    run.absent.extend(unknown.map(absent));
    run.readings.extend(host.readings(capture));
}

/// What the far end did to each stream that came back.
fn paths(capture: &Capture) -> Vec<MediaPath> {
    let path = |stream: Stream| {
        let class = identity::class(capture, stream)?;
        let profile = capture.video_profile.clone().filter(|_| stream == Stream::Video);
        Some(MediaPath { stream, class, codec: stream.codec().to_owned(), profile })
    };
    Stream::ALL.into_iter().filter_map(path).collect()
}

/// Why the call carried no media of ours, if so.
fn absence(capture: &Capture) -> Option<Failure> {
    let sent = capture.sent.iter().filter(|packet| packet.at.is_some()).count();
    if capture.received.is_empty() {
        let arrived = match &capture.far_side {
            Some(FarSide::Noted(log)) => format!("; {} arrived at the far end", log.packets.len()),
            _ => String::new(),
        };
        let detail = format!("connected and sent {sent} packets, but none came back{arrived}");
        return Some(Failure::new(Reason::FirstRtp, detail));
    }
    if capture.frames_decoded.is_empty() && capture.markers_heard.is_empty() {
        let received = capture.received.len();
        let detail = format!("{received} packets came back, but neither time code nor marker was found in them");
        return Some(Failure::new(Reason::Undecodable, detail));
    }
    None
}

/// Times of connecting, and round trips of connectivity checks.
fn connecting(capture: &Capture) -> Vec<Reading> {
    let ts = capture.ended_at;
    let once = |metric, value| Reading::new(ts, metric, value, 1);
    let mut readings = vec![once(Metric::MediaConnect, capture.connect_seconds)];
    let phase =
        |phase: &super::capture::Phase| once(Metric::MediaSetup, phase.seconds).with(Label::Phase, phase.name.as_str());
    readings.extend(capture.phases.iter().map(phase));
    readings.extend(capture.first_frame.map(|at| once(Metric::MediaFirstFrame, seconds(at))));
    readings.extend(capture.first_sound.map(|at| once(Metric::MediaFirstSound, seconds(at))));
    for (leg, round_trips) in round_trips(capture) {
        let sample: Sample = round_trips.iter().copied().collect();
        let of_leg = sample.readings(ts, Metric::MediaRoundTrip, None, &[Stat::Min, Stat::P50, Stat::P95]);
        readings.extend(of_leg.into_iter().map(|reading| reading.with(Label::Leg, leg)));
    }
    readings
}

/// Round trips by the leg that their connection serves: where media goes and comes on two connections,
/// these may lead to two servers.
fn round_trips(capture: &Capture) -> Vec<(&'static str, &[f64])> {
    match &capture.round_trips_downlink {
        None => vec![("both", &capture.round_trips)],
        Some(downlink) => vec![("uplink", &capture.round_trips), ("downlink", downlink)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Family, Validity,
        media::{
            capture::SentPacket,
            fixture::{MS, PER_FRAME, SECOND, call, reflected, value},
        },
    };

    fn analysed(capture: &Capture) -> ProbeRun {
        let mut run = ProbeRun::new("media", capture.started_at);
        analyse(capture, &mut run);
        run
    }

    fn clean() -> Capture {
        call(10, |_| Some(80 * MS))
    }

    /// The sound of a call, and nothing else.
    fn sound_alone(mut path: impl FnMut(&SentPacket) -> Option<i64>) -> Capture {
        let mut capture = call(10, |packet| path(packet).filter(|_| packet.stream == Stream::Audio));
        (capture.sound_only, capture.frame_rate, capture.first_frame) = (true, 0.0, None);
        capture.video_profile = None;
        capture.sent.retain(|packet| packet.stream == Stream::Audio);
        capture.frames_sent.clear();
        capture.sender_reports.retain(|report| report.stream == Stream::Audio);
        capture.reception_reports.retain(|report| report.stream == Stream::Audio);
        capture
    }

    fn about_the_box(reading: &Reading) -> bool {
        matches!(reading.metric, Metric::MediaSenderLateness | Metric::MediaTimerOvershoot)
    }

    /// Only success and the box's own figures may be valid on a run that must not be judged.
    fn assert_not_judged(run: &ProbeRun, reason: Reason) {
        assert_eq!(run.inconclusive, Some(reason));
        assert_eq!(run.failure, None);
        for reading in &run.readings {
            let valid = about_the_box(reading) || (reading.metric == Metric::MediaSuccess && reading.value > 0.5);
            assert_eq!(reading.validity == Validity::Inconclusive, !valid, "{}", reading.metric);
        }
    }

    #[test]
    fn a_clean_call_is_conclusive_and_complete() {
        let capture = reflected(10, |at| at, |_| (Some(40 * MS), MS, Some(39 * MS)));
        let run = analysed(&capture);
        assert_eq!((run.inconclusive, run.failure.clone()), (None, None));
        assert_eq!(run.absent, []);
        assert_eq!(value(&run.readings, Metric::MediaSuccess, &[]), Some(1.0));
        assert_eq!(value(&run.readings, Metric::MediaSetup, &["dtls"]), Some(0.05));
        assert_eq!(value(&run.readings, Metric::MediaFirstFrame, &[]), Some(0.4));
        assert_eq!(value(&run.readings, Metric::MediaRoundTrip, &["both", "p95"]), Some(0.060));
        let media = |metric: &&Metric| metric.name().starts_with("media_");
        for metric in Metric::ALL.iter().filter(media) {
            assert!(run.readings.iter().any(|reading| reading.metric == *metric), "{metric} is missing");
        }
        for reading in &run.readings {
            assert_ne!(reading.validity, Validity::Inconclusive, "{}", reading.metric);
            assert_eq!(reading.ts, clean().ended_at);
        }
    }

    #[test]
    fn two_connections_have_a_round_trip_each() {
        let run = analysed(&Capture { round_trips_downlink: Some(vec![0.015; 20]), ..clean() });
        let of = |leg| value(&run.readings, Metric::MediaRoundTrip, &[leg, "p50"]);
        assert_eq!((of("uplink"), of("downlink"), of("both")), (Some(0.060), Some(0.015), None));
    }

    #[test]
    fn a_far_end_that_does_not_say_what_arrived_costs_the_legs_alone() {
        let mut capture = reflected(10, |at| at, |_| (Some(40 * MS), MS, Some(39 * MS)));
        capture.far_side = Some(FarSide::Unknown(Failure::new(Reason::Parse, "nothing")));
        let run = analysed(&capture);
        assert_eq!((run.inconclusive, run.failure.clone()), (None, None));
        assert_eq!(run.absent, [Failure::new(Reason::Parse, "delay by leg: nothing")]);
        assert_eq!(value(&run.readings, Metric::MediaOneWayDelay, &["uplink", "p50"]), None);
        assert_eq!(value(&run.readings, Metric::MediaReportedLoss, &["uplink", "audio"]), Some(0.0), "by RTCP");
    }

    #[test]
    fn a_busy_box_makes_the_run_inconclusive_never_degraded() {
        let late_timer =
            |capture: &mut Capture| capture.overshoots.iter_mut().step_by(50).for_each(|late| *late = 6 * MS);
        let late_sender = |capture: &mut Capture| {
            for packet in capture.sent.iter_mut().filter(|packet| packet.stream == Stream::Audio).step_by(10) {
                packet.at = packet.at.map(|at| at + 6 * MS);
            }
        };
        let late_pictures = |capture: &mut Capture| {
            let often = |packet: &&mut SentPacket| {
                packet.stream == Stream::Video && (packet.sequence / PER_FRAME).is_multiple_of(10)
            };
            capture.sent.iter_mut().filter(often).for_each(|packet| packet.at = packet.at.map(|at| at + 16 * MS));
        };
        let drops = |capture: &mut Capture| capture.dropped = 1;
        let unsent = |capture: &mut Capture| capture.sent.iter_mut().step_by(15).for_each(|packet| packet.at = None);
        let few_pictures = |capture: &mut Capture| capture.frames_sent.retain(|frame| frame.counter % 10 != 0);
        let no_timer = |capture: &mut Capture| capture.overshoots.clear();
        let cases: [&dyn Fn(&mut Capture); 7] =
            [&late_timer, &late_sender, &late_pictures, &drops, &unsent, &few_pictures, &no_timer];
        for (i, disturb) in cases.into_iter().enumerate() {
            // The path is bad as well: that must not show.
            let mut capture = call(10, |packet| (packet.sequence % 5 != 0).then_some(400 * MS));
            assert_eq!(analysed(&capture).inconclusive, None, "case {i} before");
            disturb(&mut capture);
            assert_not_judged(&analysed(&capture), Reason::HostLimited);
        }
    }

    #[test]
    fn lateness_below_the_gate_leaves_the_run_conclusive() {
        let mut capture = clean();
        capture.overshoots.iter_mut().step_by(50).for_each(|late| *late = 4 * MS);
        capture.sent.iter_mut().step_by(50).for_each(|packet| packet.at = packet.at.map(|at| at + 20 * MS));
        assert_eq!(analysed(&capture).inconclusive, None);
    }

    #[test]
    fn encoding_slowly_but_evenly_is_not_lateness() {
        let mut capture = clean();
        for packet in capture.sent.iter_mut().filter(|packet| packet.stream == Stream::Video) {
            packet.at = packet.at.map(|at| at + 12 * MS);
        }
        assert_eq!(analysed(&capture).inconclusive, None);
    }

    #[test]
    fn a_single_stop_takes_only_what_it_can_move() {
        let mut capture = clean();
        capture.overshoots[77] = 180 * MS;
        let run = analysed(&capture);
        assert_eq!(run.inconclusive, None);
        let of = |metric, label: &str| {
            let fits = |reading: &&Reading| {
                reading.metric == metric && (label.is_empty() || reading.labels.values().any(|value| value == label))
            };
            run.readings.iter().find(fits).expect("a reading").validity
        };
        assert_eq!(of(Metric::MediaFreezes, ""), Validity::Inconclusive);
        assert_eq!(of(Metric::MediaPacketDelay, "p99"), Validity::Inconclusive);
        assert_eq!(of(Metric::MediaPacketDelay, "p95"), Validity::Ok);
        assert_eq!(of(Metric::MediaLoss, ""), Validity::Ok);
        assert_eq!(of(Metric::MediaSkew, ""), Validity::Ok);
    }

    #[test]
    fn a_stepped_clock_makes_the_run_inconclusive_and_a_slewed_one_does_not() {
        let mut capture = clean();
        // 11 s at 500 ppm are 5.5 ms.
        for (drift, reason) in [(5_600_000, None), (-5_600_000, None), (6_000_000, Some(Reason::ClockStep))] {
            capture.clock_drift = drift;
            assert_eq!(analysed(&capture).inconclusive, reason, "{drift} ns");
        }
        assert_not_judged(&analysed(&capture), Reason::ClockStep);
        capture.clock_drift = i64::MIN;
        assert_not_judged(&analysed(&capture), Reason::ClockStep);
    }

    #[test]
    fn no_packet_back_is_a_failure_even_of_a_busy_box() {
        let mut capture = call(10, |_| None);
        for busy in [false, true] {
            if busy {
                capture.overshoots.iter_mut().step_by(20).for_each(|late| *late = 20 * MS);
            }
            let run = analysed(&capture);
            assert_eq!(run.failure.map(|failure| failure.reason), Some(Reason::FirstRtp));
            assert_eq!(run.inconclusive, None);
            assert_eq!(value(&run.readings, Metric::MediaSuccess, &[]), Some(0.0));
            assert_eq!(value(&run.readings, Metric::MediaLoss, &["audio"]), None);
        }
    }

    #[test]
    fn no_packet_back_is_told_with_how_many_arrived_there() {
        for (capture, detail) in [
            (reflected(10, |at| at, |_| (None, MS, None)), "none came back; 0 arrived at the far end"),
            (reflected(2, |at| at, |_| (Some(MS), MS, None)), "none came back; 420 arrived at the far end"),
            (call(10, |_| None), "none came back"),
        ] {
            let failure = analysed(&capture).failure.expect("no media");
            assert!(failure.detail.ends_with(detail), "{failure:?}");
        }
    }

    #[test]
    fn no_packet_back_says_nothing_if_none_was_sent_or_the_box_stood_still() {
        let mut silent = call(10, |_| None);
        silent.sent.iter_mut().for_each(|packet| packet.at = None);
        let mut starved = call(10, |_| None);
        starved.overshoots.iter_mut().step_by(10).for_each(|late| *late = 200 * MS);
        for capture in [silent, starved] {
            let run = analysed(&capture);
            assert_eq!((run.failure, run.inconclusive), (None, Some(Reason::HostLimited)));
            assert_eq!(run.readings[0].validity, Validity::Inconclusive);
        }
    }

    #[test]
    fn media_that_is_not_ours_is_undecodable_unless_the_box_lost_it() {
        let mut capture = clean();
        capture.frames_decoded.clear();
        capture.markers_heard.clear();
        let run = analysed(&capture);
        assert_eq!(run.failure.map(|failure| failure.reason), Some(Reason::Undecodable));
        assert_eq!(value(&run.readings, Metric::MediaSuccess, &[]), Some(0.0));
        capture.dropped = 3;
        let run = analysed(&capture);
        assert_eq!((run.failure, run.inconclusive), (None, Some(Reason::HostLimited)));
    }

    #[test]
    fn a_call_of_sound_alone_is_complete_without_a_word_of_pictures() {
        let mut capture = sound_alone(|_| Some(80 * MS));
        let run = analysed(&capture);
        assert_eq!((run.inconclusive, run.failure.clone()), (None, None));
        assert_eq!(run.absent, []);
        assert_eq!(value(&run.readings, Metric::MediaSuccess, &[]), Some(1.0));
        let found: Vec<_> = run.paths.iter().map(|path| (path.stream, path.class)).collect();
        assert_eq!(found, [(Stream::Audio, Class::Forward)]);
        let of_picture = |metric: &Metric| matches!(metric.spec().family, Family::Video | Family::Sync);
        for metric in
            analysed(&clean()).readings.iter().map(|reading| reading.metric).filter(|metric| !of_picture(metric))
        {
            assert!(run.readings.iter().any(|reading| reading.metric == metric), "{metric} is missing");
        }
        for reading in &run.readings {
            assert!(!of_picture(&reading.metric), "{}", reading.metric);
            assert!(!reading.labels.values().any(|value| value == "video"), "{reading:?}");
            assert_ne!(reading.validity, Validity::Inconclusive, "{}", reading.metric);
        }
        // What was bounded is said, here as of a call whose picture was left out.
        capture.bounds = vec![Failure::new(Reason::Bounded, "no picture")];
        assert_eq!(analysed(&capture).absent, capture.bounds);
    }

    #[test]
    fn of_sound_alone_the_gates_and_absence_hold_as_well() {
        let mut late = sound_alone(|_| Some(400 * MS));
        late.sent.iter_mut().step_by(10).for_each(|packet| packet.at = packet.at.map(|at| at + 6 * MS));
        assert_not_judged(&analysed(&late), Reason::HostLimited);
        let run = analysed(&sound_alone(|_| None));
        assert_eq!(run.failure.map(|failure| failure.reason), Some(Reason::FirstRtp));
        let mut foreign = sound_alone(|_| Some(80 * MS));
        foreign.markers_heard.clear();
        assert_eq!(analysed(&foreign).failure.map(|failure| failure.reason), Some(Reason::Undecodable));
        let mut mixed = sound_alone(|_| Some(80 * MS));
        mixed.received.iter_mut().for_each(|packet| packet.hash ^= 1 << 60);
        let run = analysed(&mixed);
        assert_eq!(run.paths.iter().map(|path| path.class).collect::<Vec<_>>(), [Class::Transcode]);
        assert_eq!(value(&run.readings, Metric::MediaAudioDelay, &["p50"]), Some(0.1));
    }

    #[test]
    fn parts_without_samples_are_named_absent() {
        let run = analysed(&call(10, |packet| (packet.stream == Stream::Audio).then_some(80 * MS)));
        assert_eq!(value(&run.readings, Metric::MediaSuccess, &[]), Some(1.0));
        assert_eq!(run.absent.len(), 1);
        assert_eq!(run.absent[0].reason, Reason::FewSamples);
        assert_eq!(run.paths.len(), 1, "{:?}", run.paths);
        assert_eq!(value(&run.readings, Metric::MediaFrameRatio, &[]), Some(0.0));
    }

    #[test]
    fn a_far_end_that_codes_anew_is_named_and_takes_only_what_packets_tell() {
        let mut capture = clean();
        capture.received.iter_mut().for_each(|packet| packet.hash ^= 1 << 60);
        capture.frames_received.iter_mut().for_each(|frame| frame.hash ^= 1 << 60);
        let run = analysed(&capture);
        assert_eq!((run.failure, run.inconclusive), (None, None));
        let found: Vec<_> = run.paths.iter().map(|path| (path.stream, path.class, &*path.codec)).collect();
        assert_eq!(found, [(Stream::Audio, Class::Transcode, "opus"), (Stream::Video, Class::Transcode, "H264")]);
        assert_eq!(run.paths[1].profile.as_deref(), Some("42c01f"));
        let named: Vec<_> =
            run.absent.iter().map(|failure| failure.reason).filter(|r| *r == Reason::Transcode).collect();
        assert_eq!(named.len(), 2);
        let read = |metric| run.readings.iter().any(|reading| reading.metric == metric);
        for metric in [Metric::MediaPacketDelay, Metric::MediaDelayVariation, Metric::MediaLoss, Metric::MediaBurstLoss]
        {
            assert!(!read(metric), "{metric}");
        }
        for metric in [
            Metric::MediaAudioDelay,
            Metric::MediaVideoDelay,
            Metric::MediaSkew,
            Metric::MediaJitter,
            Metric::MediaFreezes,
        ] {
            assert!(read(metric), "{metric}");
        }
    }

    #[test]
    fn a_capture_written_and_read_again_gives_the_same_readings() {
        let mut rng = fastrand::Rng::with_seed(6);
        let capture = call(10, |packet| (packet.sequence % 33 != 0).then(|| 50 * MS + rng.i64(0..30 * MS)));
        let text = serde_json::to_string(&capture).expect("a capture is plain data");
        let again: Capture = serde_json::from_str(&text).expect("what was written");
        assert_eq!(again, capture);
        let (before, after) = (analysed(&capture), analysed(&again));
        assert_eq!(before, after);
        let text = serde_json::to_string(&before).expect("a run is plain data");
        assert_eq!(serde_json::from_str::<ProbeRun>(&text).expect("what was written"), before);
    }

    #[test]
    fn constant_delay_shifts_delay_and_nothing_else() {
        let at = |delay| analysed(&call(10, |packet| (packet.sequence % 33 != 0).then_some(delay))).readings;
        let (near, far) = (at(20 * MS), at(220 * MS));
        for (near, far) in near.iter().zip(&far) {
            assert_eq!((near.metric, &near.labels), (far.metric, &far.labels));
            let shift = match near.metric {
                Metric::MediaPacketDelay
                | Metric::MediaAudioDelay
                | Metric::MediaVideoDelay
                | Metric::MediaPlayoutDelay => 0.2,
                Metric::MouthToEar => 0.1,
                _ => 0.0,
            };
            assert!((far.value - near.value - shift).abs() < 1e-6, "{}: {} and {}", near.metric, near.value, far.value);
        }
    }

    #[test]
    fn any_numbers_give_finite_readings_and_no_panic() {
        let mut rng = fastrand::Rng::with_seed(13);
        for _ in 0..200 {
            let mut capture = call(2, |_| Some(50 * MS));
            let mut instant = || rng.i64(-10 * SECOND..100 * SECOND);
            capture.media_start = instant();
            capture.media_end = instant();
            capture.sent.iter_mut().for_each(|packet| (packet.due, packet.at) = (instant(), Some(instant())));
            capture.received.iter_mut().for_each(|packet| (packet.at, packet.seen) = (instant(), instant()));
            capture.frames_sent.iter_mut().for_each(|frame| frame.captured = instant());
            capture.frames_decoded.iter_mut().for_each(|frame| (frame.at, frame.completed) = (instant(), instant()));
            capture.markers_sent.iter_mut().for_each(|marker| marker.generated = instant());
            capture.markers_heard.iter_mut().for_each(|marker| marker.at = instant());
            for reading in analysed(&capture).readings {
                assert!(reading.value.is_finite(), "{}", reading.metric);
            }
        }
    }
}
