#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{HashMap, HashSet};

use super::*;
use crate::{
    Class, Family, Metric, ProbeRun,
    media::{
        Profile, Rehearsal,
        analysis::analyse,
        capture::{ReceivedPacket, ReceptionReport},
        socket::datagram::PacketId,
    },
    units::Span,
};

mod remote;

async fn make(config: &Config, end: impl Future<Output = Failure>) -> Result<Capture, Failure> {
    make_within(CONNECT, config, end).await
}

async fn make_within(
    connect: Duration,
    config: &Config,
    end: impl Future<Output = Failure>,
) -> Result<Capture, Failure> {
    let order = Order { config, seed: 1, started_at: DateTime::UNIX_EPOCH, connect, progress: &|_, _| {} };
    call(&order, end).await
}

fn short() -> Config {
    // However slow this build and this box are.
    Config { duration: Span(Duration::from_secs(3)), cpu_share: Some(1.0), ..Config::default() }
}

fn light() -> Config {
    Config { profile: Profile::Light, cpu_share: None, ..short() }
}

fn analysed(capture: &Capture) -> ProbeRun {
    let mut run = ProbeRun::new("call", DateTime::UNIX_EPOCH);
    analyse(capture, &mut run);
    run
}

/// Sound alone was sent, all of it came back, and nothing is said of a picture.
fn assert_sound_alone(capture: &Capture) {
    assert!(capture.sound_only && capture.sent.len() > 150);
    assert!(capture.sent.iter().all(|packet| packet.stream == Stream::Audio && packet.at.is_some()));
    let came: HashMap<u64, &ReceivedPacket> = capture.received.iter().map(|packet| (packet.hash, packet)).collect();
    assert!(
        capture
            .sent
            .iter()
            .filter(|packet| packet.due >= capture.media_start)
            .all(|packet| came.contains_key(&packet.hash))
    );
    assert!(capture.received.iter().all(|packet| packet.stream == Stream::Audio));
    assert!(capture.frames_sent.is_empty() && capture.frames_received.is_empty() && capture.frames_decoded.is_empty());
    assert!(capture.markers_heard.len() >= 2, "{:?}", capture.markers_heard);
    assert!(capture.round_trips.len() >= 2 && !capture.reception_reports.is_empty());

    let run = analysed(capture);
    assert_eq!(run.failure, None);
    assert_eq!(run.absent, capture.bounds);
    let paths: Vec<_> = run.paths.iter().map(|path| (path.stream, path.class)).collect();
    assert_eq!(paths, [(Stream::Audio, Class::Forward)]);
    for reading in &run.readings {
        let of_picture = matches!(reading.metric.spec().family, Family::Video | Family::Sync)
            || reading.labels.values().any(|value| value == "video");
        assert!(!of_picture, "{reading:?}");
    }
    for metric in
        [Metric::MediaSuccess, Metric::MediaConnect, Metric::MediaAudioDelay, Metric::MediaLoss, Metric::MouthToEar]
    {
        assert!(run.readings.iter().any(|reading| reading.metric == metric), "{metric}");
    }
}

#[tokio::test]
async fn a_light_call_is_of_sound_alone_and_complete() {
    let capture = make(&light(), std::future::pending()).await.unwrap();
    assert_sound_alone(&capture);
    assert_eq!((capture.bounds.as_slice(), capture.dropped), (&[][..], 0));
    // 24 kbit/s in packets of 20 ms, and none like another.
    assert!(capture.sent.iter().all(|packet| packet.bytes == 60), "{:?}", capture.sent.first());
    let hashes: HashSet<u64> = capture.sent.iter().map(|packet| packet.hash).collect();
    assert_eq!(hashes.len(), capture.sent.len());
}

#[tokio::test]
async fn a_picture_that_costs_too_much_is_left_out_and_that_is_said() {
    let size = (Some(1920), Some(1080));
    let config = Config { cpu_share: Some(0.01), width: size.0, height: size.1, ..short() };
    let capture = make(&config, std::future::pending()).await.unwrap();
    assert_sound_alone(&capture);
    let said: Vec<&str> = capture.bounds.iter().map(|bound| bound.detail.as_str()).collect();
    assert!(
        matches!(said[..], [said] if said.starts_with("no picture, not even 5 a second: coding one takes ")),
        "{said:?}"
    );
}

#[tokio::test]
async fn over_the_reflector_everything_comes_back_once_and_is_known_for_what_it_is() {
    let capture = make(&short(), std::future::pending()).await.unwrap();

    let names: Vec<&str> = capture.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["signalling", "ice", "dtls"]);
    let sum: f64 = capture.phases.iter().map(|phase| phase.seconds).sum();
    assert!((sum - capture.connect_seconds).abs() < 1e-3, "{sum} of {}", capture.connect_seconds);
    assert!(capture.first_sound.is_some() && capture.first_frame.is_some());
    assert_eq!(capture.media_end - capture.media_start, 3_000_000_000);

    assert_eq!(capture.dropped, 0);
    assert_eq!(capture.received.len(), capture.sent.len());
    let by_hash: HashMap<u64, &ReceivedPacket> = capture.received.iter().map(|packet| (packet.hash, packet)).collect();
    for sent in &capture.sent {
        let received = by_hash[&sent.hash];
        assert_eq!(received.stream, sent.stream, "{sent:?}");
        if sent.unique {
            assert_eq!(received.sequence as u16, sent.sequence as u16, "{sent:?}");
            assert_eq!(received.rtp_time, sent.rtp_time, "{sent:?}");
            let at = sent.at.unwrap();
            assert!(sent.due <= at && at <= received.at && received.at <= received.seen, "{sent:?} {received:?}");
        }
    }
    let unique = capture.sent.iter().filter(|packet| packet.unique).count();
    let repeated = capture.sent.len() - unique;
    // Parameter sets: at the start, 0.2 s later, and every two seconds from there.
    assert!((2..=6).contains(&repeated), "{repeated}");
    assert_eq!(by_hash.len(), unique + 1, "all parameter sets are alike, all else differs");

    let sent: Vec<u64> = capture.frames_sent.iter().map(|frame| frame.counter).collect();
    let decoded: Vec<u64> = capture.frames_decoded.iter().map(|frame| frame.counter).collect();
    assert_eq!(decoded, sent);
    assert!(capture.frames_decoded.iter().all(|frame| !frame.torn && frame.completed < frame.at));

    let hashes: Vec<Option<u64>> = capture.frames_sent.iter().map(|frame| frame.hash).collect();
    let came: Vec<Option<u64>> = capture.frames_received.iter().map(|frame| Some(frame.hash)).collect();
    assert_eq!(came, hashes, "pictures are what they were");
    assert_eq!(
        capture.frames_received.iter().filter(|frame| frame.key).count(),
        repeated,
        "parameter sets come with keys"
    );
    assert!(
        capture.video_profile.as_ref().is_some_and(|profile| profile.starts_with("42")),
        "{:?}",
        capture.video_profile
    );
    for stream in Stream::ALL {
        assert!(capture.sender_reports.iter().any(|report| report.stream == stream), "{stream:?}");
        let of = |report: &&ReceptionReport| report.stream == stream;
        let known = |report: &ReceptionReport| report.last_sender_report != 0 && report.total_lost == 0;
        assert!(capture.reception_reports.iter().filter(of).any(known), "{stream:?}: {:?}", capture.reception_reports);
    }

    // The last whole second may lack what its marker needs behind it; the first one its beginning.
    let heard: Vec<bool> = capture.markers_heard.iter().map(|marker| marker.up).collect();
    let sent: Vec<bool> = capture.markers_sent.iter().map(|marker| marker.up).collect();
    assert!(heard.len() >= 3 && heard.len() <= sent.len(), "{heard:?} of {sent:?}");
    assert!(capture.round_trips.len() >= 6, "{:?}", capture.round_trips);
    assert!(capture.overshoots.len() > 400 && capture.overshoots.iter().all(|late| *late >= 0));
}

#[tokio::test]
async fn a_rehearsal_delays_and_loses_media_and_leaves_the_checks_alone() {
    let delay = Duration::from_millis(120);
    let config = Config { rehearsal: Rehearsal { delay: Span(delay), loss: 0.1 }, ..short() };
    let capture = make(&config, std::future::pending()).await.unwrap();
    let sent: HashMap<u64, Nanos> =
        capture.sent.iter().filter(|packet| packet.unique).map(|packet| (packet.hash, packet.at.unwrap())).collect();
    let delays: Vec<Nanos> =
        capture.received.iter().filter_map(|packet| Some(packet.at - sent.get(&packet.hash)?)).collect();
    assert!(delays.iter().all(|found| *found >= nanos(delay)), "{:?}", delays.iter().min());
    let sound = |stream: Stream| stream == Stream::Audio;
    let came = capture.received.iter().filter(|packet| sound(packet.stream)).count();
    let went = capture.sent.iter().filter(|packet| sound(packet.stream)).count();
    assert!(came < went && came > went / 2, "sound is not repaired: {came} of {went}");
    let fastest = capture.round_trips.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(fastest < delay.as_secs_f64(), "{:?}", capture.round_trips);
}

/// A datagram of the far end's sound.
fn sound(sequence: u16) -> Vec<u8> {
    let [a, b] = sequence.to_be_bytes();
    vec![0x80, 111, a, b, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3]
}

#[tokio::test]
async fn a_packet_that_came_twice_stands_in_the_capture_twice() {
    let config = short();
    let order =
        Order { config: &config, seed: 1, started_at: DateTime::UNIX_EPOCH, connect: CONNECT, progress: &|_, _| {} };
    let mut random = fastrand::Rng::with_seed(1);
    let rendezvous = Rendezvous::new(&config.far_end, None, &mut random).await.unwrap();
    let call = Call::new(&order, config.wanted(), random, rendezvous, None);
    let mut heard = Heard::default();
    for sequence in 0..3 {
        let (at, id) = (1000 * i64::from(sequence), PacketId { ssrc: 5, sequence });
        call.log.arrived(&sound(sequence), at);
        assert_eq!(call.log.take(id), Some(at));
        let (sequence, hash) = (u64::from(sequence), 100 + u64::from(sequence));
        heard.packets.push((
            id,
            ReceivedPacket { stream: Stream::Audio, sequence, rtp_time: 960, hash, bytes: 3, at, seen: at + 7 },
        ));
    }
    call.log.arrived(&sound(1), 1500);
    call.log.arrived(&sound(1), 5000);
    // Never handed on: not ours, or not whole.
    call.log.arrived(&sound(9), 6000);
    let nothing = || Sent { packets: Vec::new(), frames: Vec::new(), markers: Vec::new() };
    let media = Media {
        start: 0,
        end: 1,
        sound: nothing(),
        pictures: nothing(),
        overshoots: Vec::new(),
        heard,
        far_side: None,
        dropped: 0,
    };
    let capture = call.capture(0, media);
    let received: Vec<(u64, u64, Nanos)> =
        capture.received.iter().map(|packet| (packet.sequence, packet.hash, packet.at)).collect();
    assert_eq!(received, [(0, 100, 0), (1, 101, 1000), (1, 101, 1500), (2, 102, 2000), (1, 101, 5000)]);
    assert_eq!(capture.dropped, 1);
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_named() {
    let config = Config { interface: Some("no-such-card".to_owned()), ..short() };
    let failure = make(&config, std::future::pending()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Ice);
    assert_eq!(failure.detail, "the network interface no-such-card: No such device (os error 19)");
}

#[tokio::test]
async fn a_call_ends_when_it_is_told_to() {
    for config in [short(), light()] {
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Failure::new(Reason::Cancelled, "enough")
        };
        assert_eq!(make(&config, end).await, Err(Failure::new(Reason::Cancelled, "enough")));
    }
}
