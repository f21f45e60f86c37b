#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::{
    media::{
        Rehearsal,
        capture::ReceivedPacket,
        rendezvous::far::{Far, Manner},
    },
    units::Span,
};

async fn make(config: &Config, end: impl Future<Output = Failure>) -> Result<Capture, Failure> {
    let order = Order { config, seed: 1, started_at: DateTime::UNIX_EPOCH, progress: &|_, _| {} };
    call(&order, end).await
}

fn short() -> Config {
    Config { duration: Span(Duration::from_secs(3)), ..Config::default() }
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

#[tokio::test]
async fn a_call_ends_when_it_is_told_to() {
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Failure::new(Reason::Cancelled, "enough")
    };
    assert_eq!(make(&short(), end).await, Err(Failure::new(Reason::Cancelled, "enough")));
}

fn to(far_end: serde_json::Value) -> Config {
    Config { far_end: serde_json::from_value(far_end).unwrap(), ..short() }
}

/// All that was sent came back, and was recognised.
fn assert_whole(capture: &Capture) {
    let sent: Vec<u64> = capture.sent.iter().filter(|packet| packet.at.is_some()).map(|packet| packet.hash).collect();
    let came: std::collections::HashSet<u64> = capture.received.iter().map(|packet| packet.hash).collect();
    let steady = capture.sent.iter().filter(|packet| packet.due >= capture.media_start);
    let lost = steady.filter(|packet| !came.contains(&packet.hash)).count();
    assert!(lost == 0 && !sent.is_empty(), "{lost} of {} lost", sent.len());
    assert_eq!(capture.dropped, 0);
    assert!(capture.frames_decoded.len() > 60, "{}", capture.frames_decoded.len());
    assert!(capture.markers_heard.len() >= 2, "{:?}", capture.markers_heard);
}

#[tokio::test]
async fn another_box_reflects_on_one_connection_and_is_told_when_it_is_over() {
    let far = Far::new(Manner::default()).await;
    let config = to(json!({"kind": "reflect", "url": format!("{}/reflect", far.url)}));
    let capture = make(&config, std::future::pending()).await.unwrap();
    assert_eq!(capture.target, "reflect");
    assert_whole(&capture);
    assert_eq!(far.asked(), ["POST /reflect", "DELETE /session/reflect"]);
    let names: Vec<&str> = capture.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["dns", "tcp", "signalling", "ice", "dtls"]);
    let sum: f64 = capture.phases.iter().map(|phase| phase.seconds).sum();
    assert!((sum - capture.connect_seconds).abs() < 1e-3, "{sum} of {}", capture.connect_seconds);
}

#[tokio::test]
async fn a_media_server_forwards_from_one_connection_to_the_other() {
    let far = Far::new(Manner { not_yet: 2, ..Manner::default() }).await;
    let config = to(json!({
        "kind": "whip_whep", "publish": format!("{}/whip", far.url), "subscribe": format!("{}/whep", far.url),
    }));
    let capture = make(&config, std::future::pending()).await.unwrap();
    assert_eq!(capture.target, "whip_whep");
    assert_whole(&capture);
    let mut asked = far.asked();
    let ends = asked.split_off(4);
    assert_eq!(asked, ["POST /whip", "POST /whep", "POST /whep", "POST /whep"], "again until it is there");
    assert!(ends.len() == 2 && ends.iter().all(|end| end.starts_with("DELETE")), "{ends:?}");
}
