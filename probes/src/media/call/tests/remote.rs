//! Calls that go elsewhere: to small real servers on the loopback.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Mutex,
    thread,
};

use serde_json::json;

use super::*;
use crate::{
    Metric, ProbeRun,
    media::{
        analysis::analyse,
        capture::FarPacket,
        rendezvous::far::{Edit, Far, Farewell, Manner},
        socket::datagram::{Datagram, classify},
    },
};

fn to(far_end: serde_json::Value) -> Config {
    Config { far_end: serde_json::from_value(far_end).unwrap(), ..short() }
}

fn reflect(far: &Far) -> Config {
    to(json!({"kind": "reflect", "url": format!("{}/reflect", far.url)}))
}

fn whip_whep(far: &Far) -> Config {
    let (publish, subscribe) = (format!("{}/whip", far.url), format!("{}/whep", far.url));
    to(json!({"kind": "whip_whep", "publish": publish, "subscribe": subscribe}))
}

/// All that was sent during the steady part came back, and was recognised.
fn assert_whole(capture: &Capture) {
    let came: HashSet<u64> = capture.received.iter().map(|packet| packet.hash).collect();
    let steady = || capture.sent.iter().filter(|packet| packet.due >= capture.media_start);
    let lost = steady().filter(|packet| !came.contains(&packet.hash)).count();
    assert!(lost == 0 && steady().count() > 200, "{lost} of {} lost", steady().count());
    assert_eq!(capture.dropped, 0);
    assert!(capture.frames_decoded.len() > 60, "{}", capture.frames_decoded.len());
    assert!(capture.markers_heard.len() >= 2, "{:?}", capture.markers_heard);
}

async fn whole(config: &Config) -> Capture {
    let capture = make(config, std::future::pending()).await.unwrap();
    assert_whole(&capture);
    capture
}

#[tokio::test]
async fn another_box_reflects_on_one_connection_and_is_told_when_it_is_over() {
    let far = Far::new(Manner::default()).await;
    let capture = whole(&reflect(&far)).await;
    assert_eq!(capture.target, "reflect");
    assert_eq!(far.asked(), ["POST /reflect", "DELETE /session/reflect"]);
    let names: Vec<&str> = capture.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["dns", "tcp", "signalling", "ice", "dtls"]);
    let sum: f64 = capture.phases.iter().map(|phase| phase.seconds).sum();
    assert!((sum - capture.connect_seconds).abs() < 1e-3, "{sum} of {}", capture.connect_seconds);
}

#[tokio::test]
async fn another_box_says_of_each_packet_when_it_came_and_left() {
    let far = Far::new(Manner { farewell: Farewell::Notes, ..Manner::default() }).await;
    let capture = whole(&reflect(&far)).await;
    assert_eq!(far.asked(), ["POST /reflect", "DELETE /session/reflect"], "told once");
    let Some(FarSide::Noted(log)) = &capture.far_side else { panic!("{:?}", capture.far_side) };
    assert_eq!((log.unnoted, log.dropped), (0, 0));
    let far: HashMap<(Stream, u16), &FarPacket> =
        log.packets.iter().map(|packet| ((packet.stream, packet.sequence), packet)).collect();
    let came: HashMap<u64, Nanos> = capture.received.iter().map(|packet| (packet.hash, packet.at)).collect();
    let steady = capture.sent.iter().filter(|packet| packet.unique && packet.due >= capture.media_start);
    for sent in steady {
        let packet = far[&(sent.stream, sent.sequence as u16)];
        let stay = packet.left.unwrap() - packet.arrived;
        let loop_delay = came[&sent.hash] - sent.at.unwrap();
        // Each is rounded to whole microseconds.
        assert!((-1_000..=loop_delay + 1_000).contains(&stay), "{stay} of {loop_delay} ns");
    }
    let mut run = ProbeRun::new("call", capture.started_at);
    analyse(&capture, &mut run);
    assert!(!run.absent.iter().any(|failure| failure.detail.starts_with("delay by leg")), "{:?}", run.absent);
    for metric in [Metric::MediaOneWayDelay, Metric::MediaClockUncertainty, Metric::MediaReflectorDelay] {
        assert!(run.readings.iter().any(|reading| reading.metric == metric), "{metric}");
    }
}

#[tokio::test]
async fn a_farewell_without_end_costs_the_legs_and_not_the_call() {
    let far = Far::new(Manner { farewell: Farewell::Endless, ..Manner::default() }).await;
    let capture = whole(&reflect(&far)).await;
    let Some(FarSide::Unknown(failure)) = &capture.far_side else { panic!("{:?}", capture.far_side) };
    assert!(failure.detail.ends_with("longer than 512 KiB"), "{failure:?}");
}

#[tokio::test]
async fn a_media_server_forwards_from_one_connection_to_the_other() {
    let far = Far::new(Manner { not_yet: 2, ..Manner::default() }).await;
    let capture = whole(&whip_whep(&far)).await;
    assert_eq!(capture.target, "whip_whep");
    let back = capture.round_trips_downlink.as_ref().map_or(0, Vec::len);
    assert!(capture.round_trips.len() >= 6 && back >= 6, "{} up, {back} down", capture.round_trips.len());
    let mut asked = far.asked();
    let ends = asked.split_off(4);
    assert_eq!(asked, ["POST /whip", "POST /whep", "POST /whep", "POST /whep"], "again until it is there");
    assert!(ends.len() == 2 && ends.iter().all(|end| end.starts_with("DELETE")), "{ends:?}");
    let sum: f64 = capture.phases.iter().map(|phase| phase.seconds).sum();
    assert!((sum - capture.connect_seconds).abs() < 2e-3, "{sum} of {}", capture.connect_seconds);
}

#[tokio::test]
async fn a_server_that_makes_the_offer_is_answered_in_its_own_numbers() {
    let far = Far::new(Manner { offers: true, payload_types: Some([96, 97]), ..Manner::default() }).await;
    whole(&whip_whep(&far)).await;
    assert_eq!(far.asked()[..3], ["POST /whip", "POST /whep", "PATCH /session/subscribe \"e1\""]);
    assert_eq!(far.asked().len(), 5, "both sessions are ended: {:?}", far.asked());
}

#[tokio::test]
async fn a_server_that_makes_the_offer_begins_the_handshake_unless_it_wants_us_to() {
    for (offered, answered) in [("actpass", "passive"), ("active", "passive"), ("passive", "active")] {
        let setup = format!("a=setup:{offered}");
        let edit: Edit = Box::new(move |sdp| sdp.replace("a=setup:actpass", &setup));
        let far = Far::new(Manner { offers: true, edit_answer: Some(edit), ..Manner::default() }).await;
        whole(&whip_whep(&far)).await;
        assert!(far.answer().contains(&format!("a=setup:{answered}\r\n")), "{offered}: {}", far.answer());
    }
}

#[tokio::test]
async fn what_is_sent_has_the_numbers_of_the_answer() {
    let far = Far::new(Manner { payload_types: Some([96, 97]), offers: true, ..Manner::default() }).await;
    whole(&whip_whep(&far)).await;
    assert!(far.came().into_iter().eq([96, 97]), "{:?}", far.came());
    let far = Far::new(Manner::default()).await;
    whole(&whip_whep(&far)).await;
    assert!(far.came().into_iter().eq([102, 111]), "{:?}", far.came());
}

#[tokio::test]
async fn a_server_that_declares_no_sources_is_heard_all_the_same() {
    for (offers, way) in [(false, whip_whep as fn(&Far) -> Config), (true, whip_whep), (false, reflect)] {
        let without: Edit = Box::new(|sdp| {
            assert!(sdp.contains("a=ssrc:"), "{sdp}");
            by_line(|line| (!line.starts_with("a=ssrc")).then(|| line.to_owned()), &sdp)
        });
        let far = Far::new(Manner { offers, edit_answer: Some(without), ..Manner::default() }).await;
        let capture = whole(&way(&far)).await;
        assert!(capture.first_frame.is_some_and(|at| at < capture.media_start), "{:?}", capture.first_frame);
    }
}

#[tokio::test]
async fn a_call_that_is_ended_early_tells_every_server() {
    let far = Far::new(Manner::default()).await;
    let end = async {
        while !far.asked().iter().any(|asked| asked.starts_with("POST /whep")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        Failure::new(Reason::Cancelled, "enough")
    };
    assert_eq!(make(&whip_whep(&far), end).await, Err(Failure::new(Reason::Cancelled, "enough")));
    let asked = far.asked();
    for session in ["publish", "subscribe"] {
        assert!(asked.contains(&format!("DELETE /session/{session}")), "{asked:?}");
    }
}

#[tokio::test]
async fn a_far_end_at_an_address_of_ipv6_works_alike() {
    let far = Far::new(Manner { at: Some("[::1]:0"), ..Manner::default() }).await;
    assert!(far.url.starts_with("http://[::1]:"), "{}", far.url);
    whole(&reflect(&far)).await;
}

#[tokio::test]
async fn servers_named_by_a_server_are_used_by_asking_again_with_them() {
    // Nobody answers there: gathering goes on without it.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let link = format!("<stun:{}>; rel=\"ice-server\"", silent.local_addr().unwrap());
    let far = Far::new(Manner { link: Some(link), ..Manner::default() }).await;
    whole(&reflect(&far)).await;
    let expected = ["POST /reflect", "DELETE /session/reflect", "POST /reflect", "DELETE /session/reflect"];
    assert_eq!(far.asked(), expected);
    silent.set_nonblocking(true).unwrap();
    assert!(silent.recv(&mut [0; 100]).is_ok_and(|length| length >= 20), "it was asked");
}

/// Changes each line of a description; `None` leaves it out.
fn by_line(change: impl FnMut(&str) -> Option<String>, sdp: &str) -> String {
    sdp.lines().filter_map(change).map(|line| line + "\r\n").collect()
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate")
}

/// One candidate instead of all there are.
fn only_candidate(at: SocketAddr, sdp: &str) -> String {
    let mut first = true;
    let change = |line: &str| match is_candidate(line) {
        false => Some(line.to_owned()),
        true => std::mem::take(&mut first)
            .then(|| format!("a=candidate:1 1 udp 2130706431 {} {} typ host", at.ip(), at.port())),
    };
    by_line(change, sdp)
}

fn without_candidates() -> Edit {
    Box::new(|sdp| by_line(|line| (!is_candidate(line)).then(|| line.to_owned()), &sdp))
}

/// Passes connectivity checks between whoever speaks to it and `far`, and nothing else.
fn checks_only(far: Arc<Mutex<Option<SocketAddr>>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    thread::spawn(move || {
        let (mut buffer, mut near) = ([0; 2000], None);
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(far) = *far.lock().unwrap() else { continue };
            if from != far {
                near = Some(from);
            }
            let to = if from == far { near } else { Some(far) };
            if let (Some(to), 0..=3) = (to, buffer[0]) {
                let _ = socket.send_to(&buffer[..length], to);
            }
        }
    });
    address
}

#[tokio::test]
async fn what_fails_on_the_way_is_named_and_the_session_is_ended_all_the_same() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = silent.local_addr().unwrap();
    let behind = Arc::new(Mutex::new(None));
    let relay = checks_only(Arc::clone(&behind));
    let relayed: Edit = Box::new(move |sdp| {
        let port = sdp.lines().filter(|line| is_candidate(line)).find_map(|line| line.split(' ').nth(5)?.parse().ok());
        *behind.lock().unwrap() = port.map(|port| (Ipv4Addr::LOCALHOST, port).into());
        only_candidate(relay, &sdp)
    });
    let other_certificate: Edit = Box::new(|sdp| {
        let wrong = format!("a=fingerprint:sha-256 {}AA", "AA:".repeat(31));
        by_line(|line| Some(if line.starts_with("a=fingerprint") { wrong.clone() } else { line.to_owned() }), &sdp)
    });
    for (what, manner, reason, detail) in [
        (
            "ICE that never completes",
            Manner {
                edit_offer: Some(without_candidates()),
                edit_answer: Some(Box::new(move |sdp| only_candidate(dead, &sdp))),
                ..Manner::default()
            },
            Reason::Ice,
            "no candidate pair worked within 1.5 s",
        ),
        (
            "DTLS that stalls",
            Manner { edit_offer: Some(without_candidates()), edit_answer: Some(relayed), ..Manner::default() },
            Reason::Dtls,
            "the handshake did not end within 1.5 s",
        ),
        (
            "another certificate than announced",
            Manner { edit_answer: Some(other_certificate), ..Manner::default() },
            Reason::Dtls,
            "",
        ),
        (
            "H.264 refused",
            Manner { edit_answer: Some(Box::new(|sdp| sdp.replace("m=video 9", "m=video 0"))), ..Manner::default() },
            Reason::Signalling,
            "H.264 was refused",
        ),
    ] {
        let far = Far::new(manner).await;
        let made = make_within(Duration::from_millis(1500), &reflect(&far), std::future::pending()).await;
        let failure = made.map(|_| ()).unwrap_err();
        assert_eq!(failure.reason, reason, "{what}: {failure:?}");
        assert!(failure.detail.contains(detail), "{what}: {failure:?}");
        assert_eq!(far.asked(), ["POST /reflect", "DELETE /session/reflect"], "{what}");
    }
}

#[tokio::test]
async fn where_only_relays_may_be_used_a_far_end_without_one_is_not_called() {
    let far = Far::new(Manner::default()).await;
    let config = to(json!({"kind": "reflect", "url": format!("{}/reflect", far.url), "relay_only": true}));
    let failure = make(&config, std::future::pending()).await.map(|_| ()).unwrap_err();
    assert_eq!(failure.reason, Reason::Ice, "{failure:?}");
    assert!(failure.detail.contains("no TURN server is configured or named"), "{failure:?}");
    assert_eq!(far.asked(), ["POST /reflect", "DELETE /session/reflect"]);
}

#[tokio::test]
async fn of_two_connections_the_one_that_fails_is_named() {
    let far = Far::new(Manner { not_yet: usize::MAX, ..Manner::default() }).await;
    let made = make_within(Duration::from_millis(1500), &whip_whep(&far), std::future::pending()).await;
    let failure = made.map(|_| ()).unwrap_err();
    assert_eq!(failure.reason, Reason::Signalling);
    let place = format!("subscribe: POST {}: found status 409 Conflict, expected 201 Created", far.url);
    assert_eq!(failure.detail, place);
    assert_eq!(far.asked().last().map(String::as_str), Some("DELETE /session/publish"));
}

#[tokio::test]
async fn a_far_end_that_gives_nothing_back_leaves_what_was_sent() {
    let far = Far::new(Manner { mute: true, ..Manner::default() }).await;
    let capture = make(&reflect(&far), std::future::pending()).await.unwrap();
    assert!(capture.received.is_empty() && !capture.sent.is_empty());
    assert_eq!(analysed(&capture).failure.map(|failure| failure.reason), Some(Reason::FirstRtp));
}

fn made_light(config: Config) -> Config {
    Config { profile: Profile::Light, cpu_share: None, ..config }
}

#[tokio::test]
async fn a_light_call_offers_sound_alone_to_every_kind_of_far_end() {
    let offered: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&offered);
    let note: Edit = Box::new(move |sdp| {
        noted.lock().unwrap().push(sdp.clone());
        sdp
    });
    let reflecting = Far::new(Manner { edit_offer: Some(note), farewell: Farewell::Notes, ..Manner::default() }).await;
    let forwarding = Far::new(Manner::default()).await;
    // This one offers pictures too.
    let offering = Far::new(Manner { offers: true, payload_types: Some([96, 97]), ..Manner::default() }).await;
    for config in [reflect(&reflecting), whip_whep(&forwarding), whip_whep(&offering)] {
        let capture = make(&made_light(config), std::future::pending()).await.unwrap();
        assert_sound_alone(&capture);
    }
    let offered = offered.lock().unwrap();
    assert!(offered.len() == 1 && offered[0].contains("m=audio ") && !offered[0].contains("m=video"), "{offered:?}");
    assert!(offering.came().into_iter().eq([96]), "{:?}", offering.came());
}

/// For each way, length of every datagram, and whether it is media.
type Passed = Arc<Mutex<[Vec<(usize, bool)>; 2]>>;

/// Passes everything between whoever speaks to it and `far`, and counts it.
fn counting(far: Arc<Mutex<Option<SocketAddr>>>, passed: Passed) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    thread::spawn(move || {
        let (mut buffer, mut near) = ([0; 2000], None);
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(far) = *far.lock().unwrap() else { continue };
            let back = from == far;
            if !back {
                near = Some(from);
            }
            let bytes = &buffer[..length];
            passed.lock().unwrap()[usize::from(back)].push((length, matches!(classify(bytes), Datagram::Rtp(_))));
            if let Some(to) = if back { near } else { Some(far) } {
                let _ = socket.send_to(bytes, to);
            }
        }
    });
    address
}

#[tokio::test]
async fn a_light_call_takes_at_most_60_kbit_per_second_each_way_even_over_ipv6_and_turn() {
    // Of one datagram: IPv6, UDP, and the header of TURN's channel data (RFC 8656 §12.4).
    const AROUND: usize = 40 + 8 + 4;
    let (behind, passed) = (Arc::new(Mutex::new(None)), Passed::default());
    let relay = counting(Arc::clone(&behind), Arc::clone(&passed));
    let relayed: Edit = Box::new(move |sdp| {
        let port = sdp.lines().filter(|line| is_candidate(line)).find_map(|line| line.split(' ').nth(5)?.parse().ok());
        *behind.lock().unwrap() = port.map(|port| (Ipv4Addr::LOCALHOST, port).into());
        only_candidate(relay, &sdp)
    });
    let manner = Manner { edit_offer: Some(without_candidates()), edit_answer: Some(relayed), ..Manner::default() };
    let far = Far::new(manner).await;
    let config = Config { duration: Span(Duration::from_secs(6)), ..made_light(reflect(&far)) };
    make(&config, std::future::pending()).await.unwrap();
    for (way, passed) in ["there", "back"].into_iter().zip(&*passed.lock().unwrap()) {
        // From one packet of sound to another is 20 ms of media.
        let is_media = |(_, media): &(usize, bool)| *media;
        let (first, last) = (passed.iter().position(is_media).unwrap(), passed.iter().rposition(is_media).unwrap());
        let between = &passed[first..last];
        let seconds = 0.020 * between.iter().filter(|passed| is_media(passed)).count() as f64;
        let bits: usize = between.iter().map(|(length, _)| 8 * (length + AROUND)).sum();
        let rate = bits as f64 / seconds;
        assert!(seconds > 6.0 && rate > 40_000.0 && rate <= 60_000.0, "{way}: {rate:.0} bit/s in {seconds} s");
        assert!(between.len() > (seconds * 50.0) as usize + 5, "{way}: checks and reports are among them");
    }
}
