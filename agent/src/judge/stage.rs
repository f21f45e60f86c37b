//! At which stage of a call a fault lies, as far as the run itself shows it.

use bellwether_probes::{Class, Label, Metric, ProbeRun, Reading, Reason};
use serde::{Deserialize, Serialize};

/// A loss on one leg below this is no evidence: both legs then share what was lost.
const LEAST_LOSS: f64 = 0.002;

/// A stage of a call, in the order in which they are suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// This box was too busy to measure.
    HostLimited,
    /// The way from this box to the far end.
    Uplink,
    /// The far end itself.
    Server,
    /// The way back.
    Downlink,
    /// There is no evidence for one of them.
    Unknown,
}

impl Stage {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostLimited => "host_limited",
            Self::Uplink => "uplink",
            Self::Server => "server",
            Self::Downlink => "downlink",
            Self::Unknown => "unknown",
        }
    }
}

/// The stage at fault of a call of which `beyond` are the readings beyond a limit; `None` if there are
/// none. Of several the first in order is named, as it may be the cause of the others.
///
/// - Loss lies on the leg where the greater part of it was, as the far end counts or reports.
/// - Delay to another box lies where packets certainly were for more than half of their time: what they
///   stayed there is known, and of each way the delay, less what the clocks are uncertain by, or at least
///   how much it varied. Delay variation lies where more than half of all of it arose.
/// - Of any other far end delay lies there if media takes more than twice the round trip to it, of checks or
///   of RTCP. If not, it lies on the way, of which a round trip cannot tell there from back. Where media
///   goes and comes on two connections, the round trip is the mean of both: half of each is on the way.
pub fn stage_at_fault(run: &ProbeRun, beyond: &[&Reading]) -> Option<Stage> {
    if run.inconclusive == Some(Reason::HostLimited) {
        return Some(Stage::HostLimited);
    }
    let of_call =
        |reading: &&&Reading| reading.metric.name().starts_with("media_") || reading.metric == Metric::MouthToEar;
    beyond.iter().filter(of_call).map(|reading| of_reading(run, reading)).min()
}

fn of_reading(run: &ProbeRun, reading: &Reading) -> Stage {
    let stream = reading.labels.get(Label::Stream).unwrap_or("video");
    match reading.metric {
        Metric::MediaLoss
        | Metric::MediaResidualLoss
        | Metric::MediaBurstLoss
        | Metric::MediaFrameRatio
        | Metric::MediaFreezeRatio => of_loss(run, stream),
        Metric::MediaPacketDelay => of_delay(run, stream, Metric::MediaPacketDelay),
        Metric::MediaAudioDelay | Metric::MouthToEar => of_delay(run, "audio", Metric::MediaAudioDelay),
        Metric::MediaVideoDelay => of_delay(run, "video", Metric::MediaVideoDelay),
        Metric::MediaDelayVariation | Metric::MediaDelayChange | Metric::MediaJitter | Metric::MediaLatePackets => {
            of_variation(run).unwrap_or(Stage::Unknown)
        }
        _ => Stage::Unknown,
    }
}

/// Sound goes the same way and is not repaired, so it tells where pictures do not.
fn of_loss(run: &ProbeRun, stream: &str) -> Stage {
    let leg = |stream, leg| value(run, Metric::MediaReportedLoss, &[(Label::Leg, leg), (Label::Stream, stream)]);
    let legs = |stream| leg(stream, "uplink").zip(leg(stream, "downlink"));
    match legs(stream).or_else(|| legs("audio")) {
        Some((up, down)) if up.max(down) < LEAST_LOSS => Stage::Unknown,
        Some((up, down)) if up >= down => Stage::Uplink,
        Some(_) => Stage::Downlink,
        None => Stage::Unknown,
    }
}

/// Packets tell best. Where none come back, as the far end codes anew, what they carry does.
fn of_delay(run: &ProbeRun, stream: &str, media: Metric) -> Stage {
    if let Some(stage) = of_legs(run) {
        return stage;
    }
    let coded_anew = run.paths.iter().any(|path| path.stream.name() == stream && path.class == Class::Transcode);
    let p50 = (Label::Stat, "p50");
    let delay = match media {
        _ if !coded_anew => value(run, Metric::MediaPacketDelay, &[p50, (Label::Stream, stream)]),
        Metric::MediaPacketDelay => None,
        media => value(run, media, &[p50]),
    };
    let leg = |leg| value(run, Metric::MediaRoundTrip, &[p50, (Label::Leg, leg)]);
    let checks = leg("both").or_else(|| Some((leg("uplink")? + leg("downlink")?) / 2.0));
    // RTCP waits where media waits; checks may be let through.
    let reports = value(run, Metric::MediaReportRoundTrip, &[p50]);
    let round_trip = [checks, reports].into_iter().flatten().reduce(f64::max);
    match delay.zip(round_trip) {
        Some((delay, round_trip)) if delay > 2.0 * round_trip => Stage::Server,
        _ => Stage::Unknown,
    }
}

/// `None` if the legs are not known.
fn of_legs(run: &ProbeRun) -> Option<Stage> {
    let uncertainty = value(run, Metric::MediaClockUncertainty, &[])?;
    let leg = |metric, leg| value(run, metric, &[(Label::Leg, leg), (Label::Stat, "p95")]);
    let legs = |metric| leg(metric, "uplink").zip(leg(metric, "downlink"));
    let ((up, down), (up_varied, down_varied)) =
        (legs(Metric::MediaOneWayDelay)?, legs(Metric::MediaOneWayDelayVariation)?);
    let stay = value(run, Metric::MediaReflectorDelay, &[(Label::Stat, "p95")])?;
    let certain = [
        (Stage::Uplink, (up - uncertainty).max(up_varied)),
        (Stage::Server, stay),
        (Stage::Downlink, (down - uncertainty).max(down_varied)),
    ];
    Some(greater_part(up + stay + down, certain))
}

/// `None` if the legs are not known.
fn of_variation(run: &ProbeRun) -> Option<Stage> {
    let leg = |leg| value(run, Metric::MediaOneWayDelayVariation, &[(Label::Leg, leg), (Label::Stat, "p95")]);
    let stay = |stat| value(run, Metric::MediaReflectorDelay, &[(Label::Stat, stat)]);
    let (up, down, stay) = (leg("uplink")?, leg("downlink")?, stay("p95")? - stay("p50")?);
    Some(greater_part(up + stay + down, [(Stage::Uplink, up), (Stage::Server, stay), (Stage::Downlink, down)]))
}

/// The stage that accounts for more than half of `whole`.
fn greater_part(whole: f64, stages: [(Stage, f64); 3]) -> Stage {
    stages.into_iter().find(|(_, part)| *part > whole / 2.0).map_or(Stage::Unknown, |(stage, _)| stage)
}

/// The value of the one series with these labels, if it may be judged.
fn value(run: &ProbeRun, metric: Metric, labels: &[(Label, &str)]) -> Option<f64> {
    let fits = |reading: &&Reading| {
        reading.metric == metric
            && labels.iter().all(|(label, value)| reading.labels.get(*label).is_some_and(|found| found == *value))
    };
    let valid = |reading: &&Reading| reading.validity != bellwether_probes::Validity::Inconclusive;
    run.readings.iter().filter(fits).find(valid).map(|reading| reading.value)
}

#[cfg(test)]
mod tests {
    use bellwether_probes::{MediaPath, media::capture::Stream};
    use chrono::DateTime;

    use super::*;

    fn reading(metric: Metric, labels: &[(Label, &str)], value: f64) -> Reading {
        let reading = Reading::new(DateTime::UNIX_EPOCH, metric, value, 100);
        labels.iter().fold(reading, |reading, (label, value)| reading.with(*label, *value))
    }

    fn lost(stream: &str) -> Reading {
        reading(Metric::MediaLoss, &[(Label::Stream, stream)], 0.05)
    }

    fn leg(leg: &str, stream: &str, value: f64) -> Reading {
        reading(Metric::MediaReportedLoss, &[(Label::Leg, leg), (Label::Stream, stream)], value)
    }

    fn packets(stream: &str, stat: &str, value: f64) -> Reading {
        reading(Metric::MediaPacketDelay, &[(Label::Stream, stream), (Label::Stat, stat)], value)
    }

    fn checks(value: f64) -> Reading {
        checks_of("both", value)
    }

    fn checks_of(leg: &str, value: f64) -> Reading {
        reading(Metric::MediaRoundTrip, &[(Label::Leg, leg), (Label::Stat, "p50")], value)
    }

    fn sound(value: f64) -> Reading {
        reading(Metric::MediaAudioDelay, &[(Label::Stat, "p50")], value)
    }

    /// The stage of a run of these readings, of which the first is beyond its limit.
    fn stage(readings: &[Reading], class: Class) -> Option<Stage> {
        let mut run = ProbeRun::new("call", DateTime::UNIX_EPOCH);
        run.readings = readings.to_vec();
        run.paths = Stream::ALL
            .map(|stream| MediaPath { stream, class, codec: stream.codec().to_owned(), profile: None })
            .to_vec();
        stage_at_fault(&run, &readings.iter().take(1).collect::<Vec<_>>())
    }

    #[test]
    fn loss_lies_where_the_far_end_says_it_was_not_or_was() {
        use Stage::{Downlink, Unknown, Uplink};
        for (up, down, expected) in [
            (0.05, 0.0, Uplink),
            (0.0, 0.05, Downlink),
            (0.02, 0.03, Downlink),
            (0.03, 0.02, Uplink),
            (0.0, 0.001, Unknown),
        ] {
            for (beyond, stream) in [
                (lost("audio"), "audio"),
                (lost("video"), "video"),
                (reading(Metric::MediaFrameRatio, &[], 0.5), "video"),
                (reading(Metric::MediaFreezeRatio, &[], 0.5), "video"),
            ] {
                let found = stage(&[beyond, leg("uplink", stream, up), leg("downlink", stream, down)], Class::Forward);
                assert_eq!(found, Some(expected), "{stream} {up} {down}");
            }
        }
        // Sound tells of pictures, but not pictures of sound, and one leg alone says nothing.
        let sound = [leg("uplink", "audio", 0.1), leg("downlink", "audio", 0.0)];
        assert_eq!(
            stage(&[&[lost("video"), leg("uplink", "video", 0.01)], &sound[..]].concat(), Class::Forward),
            Some(Uplink)
        );
        let pictures = [leg("uplink", "video", 0.1), leg("downlink", "video", 0.0)];
        assert_eq!(stage(&[&[lost("audio")], &pictures[..]].concat(), Class::Forward), Some(Unknown));
        assert_eq!(stage(&[lost("audio"), leg("uplink", "audio", 0.1)], Class::Forward), Some(Unknown));
        let doubtful = leg("uplink", "audio", 0.1).inconclusive(Reason::ClockStep);
        assert_eq!(stage(&[lost("audio"), doubtful, leg("downlink", "audio", 0.0)], Class::Forward), Some(Unknown));
    }

    #[test]
    fn delay_lies_with_the_far_end_if_checks_are_not_delayed() {
        use Stage::{Server, Unknown};
        let late = |of: f64, checks_take: f64| [packets("audio", "p50", of), checks(checks_take)];
        assert_eq!(stage(&late(0.2, 0.01), Class::Forward), Some(Server));
        assert_eq!(stage(&late(0.2, 0.19), Class::Forward), Some(Unknown), "there or back cannot be told");
        let reports = reading(Metric::MediaReportRoundTrip, &[(Label::Stat, "p50")], 0.19);
        assert_eq!(stage(&[&late(0.2, 0.01)[..], &[reports]].concat(), Class::Forward), Some(Unknown));
        assert_eq!(stage(&late(0.2, 0.19)[..1], Class::Forward), Some(Unknown), "no check was answered");
        let (up, down) = (checks_of("uplink", 0.002), checks_of("downlink", 0.15));
        let two = |of| [packets("audio", "p50", of), up.clone(), down.clone()];
        assert_eq!(stage(&two(0.16), Class::Forward), Some(Server), "more than half of each, twice");
        assert_eq!(stage(&two(0.15), Class::Forward), Some(Unknown), "one of the ways is long");
        assert_eq!(stage(&two(0.16)[..2], Class::Forward), Some(Unknown), "of one leg nothing is known");
        let coded = [sound(0.3), packets("audio", "p50", 0.001), checks(0.01)];
        assert_eq!(stage(&coded, Class::Transcode), Some(Server));
        assert_eq!(stage(&coded, Class::Forward), Some(Unknown), "packets took the time of a check");
    }

    #[test]
    fn delay_to_another_box_lies_where_packets_certainly_were_longest() {
        use Stage::{Downlink, Server, Unknown, Uplink};
        // Delay and variation there, stay, delay and variation back, uncertainty: p95 in milliseconds.
        for (values, expected) in [
            // Five there and back, and a queue on one way.
            ([65.0, 60.0, 0.2, 5.0, 0.5, 5.0], Uplink),
            ([5.0, 0.5, 0.2, 65.0, 60.0, 5.0], Downlink),
            ([5.0, 0.5, 40.0, 5.0, 0.5, 5.0], Server),
            // A constant delay of one way looks like one of both.
            ([40.0, 0.5, 0.2, 40.0, 0.5, 40.0], Unknown),
            ([35.0, 30.0, 0.2, 35.0, 30.0, 5.0], Unknown),
            // Longer than the clocks can be wrong, though it hardly varies.
            ([50.0, 1.0, 0.2, 5.0, 1.0, 6.0], Uplink),
            ([50.0, 1.0, 0.2, 5.0, 1.0, 25.0], Unknown),
        ] {
            let [up, up_varied, stay, down, down_varied, uncertainty] = values.map(|ms: f64| ms / 1e3);
            let of = |metric, leg, value| reading(metric, &[(Label::Leg, leg), (Label::Stat, "p95")], value);
            let stays = |stat, value| reading(Metric::MediaReflectorDelay, &[(Label::Stat, stat)], value);
            let known = [
                of(Metric::MediaOneWayDelay, "uplink", up),
                of(Metric::MediaOneWayDelay, "downlink", down),
                of(Metric::MediaOneWayDelayVariation, "uplink", up_varied),
                of(Metric::MediaOneWayDelayVariation, "downlink", down_varied),
                reading(Metric::MediaClockUncertainty, &[], uncertainty),
                stays("p95", stay),
                stays("p50", 0.0001),
                // Without the legs these would name the far end.
                checks(0.001),
            ];
            for beyond in [packets("audio", "p95", 0.2), sound(0.2)] {
                let delay = packets("audio", "p50", 0.2);
                let found = stage(&[&[beyond, delay], &known[..]].concat(), Class::Forward);
                assert_eq!(found, Some(expected), "{values:?}");
            }
        }
    }

    #[test]
    fn delay_variation_lies_where_most_of_it_arose() {
        use Stage::{Downlink, Server, Unknown, Uplink};
        for (up, stay, down, expected) in [
            (0.030, 0.0, 0.002, Uplink),
            (0.002, 0.001, 0.030, Downlink),
            (0.002, 0.030, 0.002, Server),
            (0.030, 0.0, 0.030, Unknown),
        ] {
            let of = |leg, value| {
                reading(Metric::MediaOneWayDelayVariation, &[(Label::Leg, leg), (Label::Stat, "p95")], value)
            };
            let stays = |stat, value| reading(Metric::MediaReflectorDelay, &[(Label::Stat, stat)], value);
            let known = [of("uplink", up), of("downlink", down), stays("p50", 0.0005), stays("p95", 0.0005 + stay)];
            let varied = [(Label::Stream, "audio"), (Label::Stat, "p95")];
            for beyond in [
                reading(Metric::MediaDelayVariation, &varied, 0.05),
                reading(Metric::MediaJitter, &varied[..1], 0.05),
                reading(Metric::MediaDelayChange, &varied[..1], 0.05),
                reading(Metric::MediaLatePackets, &varied[..1], 0.05),
            ] {
                assert_eq!(stage(std::slice::from_ref(&beyond), Class::Forward), Some(Unknown), "no other box");
                assert_eq!(
                    stage(&[&[beyond], &known[..]].concat(), Class::Forward),
                    Some(expected),
                    "{up} {stay} {down}"
                );
            }
        }
    }

    #[test]
    fn a_busy_box_comes_first_and_what_is_within_limits_is_at_no_fault() {
        let mut run = ProbeRun::new("call", DateTime::UNIX_EPOCH);
        assert_eq!(stage_at_fault(&run, &[]), None);
        let (disk, skew) = (reading(Metric::DiskUtilization, &[], 1.0), reading(Metric::MediaSkew, &[], 0.3));
        assert_eq!(stage_at_fault(&run, &[&disk]), None, "no stage of a call");
        assert_eq!(stage_at_fault(&run, &[&disk, &skew]), Some(Stage::Unknown));
        run.readings = vec![
            lost("audio"),
            lost("video"),
            leg("uplink", "video", 0.05),
            leg("downlink", "video", 0.0),
            leg("uplink", "audio", 0.0),
            leg("downlink", "audio", 0.05),
        ];
        let beyond: Vec<&Reading> = run.readings.iter().take(2).chain([&skew]).collect();
        assert_eq!(stage_at_fault(&run, &beyond), Some(Stage::Uplink), "the first in order");
        let mut busy = run.clone();
        busy.inconclusive = Some(Reason::HostLimited);
        assert_eq!(stage_at_fault(&busy, &beyond), Some(Stage::HostLimited));
    }
}
