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
/// - Loss lies on the leg where the greater part of it was, by the far end's own reports.
/// - Delay lies with the far end if media takes more than twice the round trip to it, of checks or of
///   RTCP. If not, it lies on the way, of which a round trip cannot tell there from back. Where media goes
///   and comes on two connections, the round trip is the mean of both: half of each is on the way.
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
