//! `reflect`, as its callers and its owner see it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};
use serde_json::json;

use crate::daemon::{Daemon, Ended, Home, SOON, program, wait_for};

/// An offer of a real call.
const OFFER: &str = include_str!("offer.sdp");
const TOKEN: &str = "0123456789abcdef-secret";

/// The program at work, listening on loopback.
fn reflect(more: &[&str]) -> Daemon {
    let mut command = program();
    command.args(["reflect", "--listen", "127.0.0.1:0"]).args(more);
    Daemon::start(command)
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("an option");
    stream
}

fn ask(address: &str, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    exchange(connect(address), request, &[&[("host", address)], headers].concat(), body)
}

fn exchange(mut stream: impl Read + Write, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer, and then the end");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no end of the head in {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

const SDP: (&str, &str) = ("content-type", "application/sdp");

fn offer(daemon: &Daemon) -> Answer {
    ask(daemon.address(), "POST /reflect", &[SDP], OFFER)
}

#[test]
fn an_offer_is_answered_and_the_call_ends_when_told() {
    let daemon = reflect(&[]);
    let answer = offer(&daemon);
    assert_eq!((answer.status, answer.header("content-type")), (201, Some("application/sdp")), "{answer:?}");
    assert!(answer.body.starts_with("v=0\r\n") && answer.body.contains("opus/48000"), "{}", answer.body);
    let candidates: Vec<&str> = answer.body.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    assert!(!candidates.is_empty());
    assert!(candidates.iter().all(|line| line.contains(" 127.0.0.1 ")), "a caller of this box: {candidates:?}");
    let call = answer.header("location").expect("where the call is").to_owned();
    let id = call.strip_prefix("/reflect/").expect("below the place of offers");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_ne!(offer(&daemon).header("location"), Some(call.as_str()), "no two have one id");

    let end = || ask(daemon.address(), &format!("DELETE {call}"), &[], "");
    let (ended, again) = (end(), end());
    assert_eq!((ended.status, again.status), (200, 404));
    assert_eq!(ended.header("content-type"), Some("application/json"));
    let noted: serde_json::Value = serde_json::from_str(&ended.body).expect("JSON");
    assert_eq!((&noted["version"], &noted["audio"]["sequence"]), (&json!(1), &json!([])), "none came: {noted}");
    assert!(!again.body.contains("version"), "it is handed out once");
    daemon.wait_for_line("reflected 0 packets of 127.0.0.1", SOON);
    let lines = daemon.stops_in_time(libc::SIGTERM);
    assert_eq!(lines.iter().filter(|line| line.contains("reflected 0 packets")).count(), 2, "one a call: {lines:?}");
}

#[test]
fn what_is_no_offer_is_refused_in_a_few_words() {
    let daemon = reflect(&[]);
    let long = format!("v=0\r\n{}", "a=x\r\n".repeat(20_000));
    let text = ("content-type", "text/plain");
    for (request, headers, body, status) in [
        ("GET /reflect", &[][..], "", 405),
        ("PATCH /reflect/0123", &[SDP], "", 405),
        ("POST /", &[SDP], OFFER, 404),
        ("DELETE /reflect/0123", &[], "", 404),
        ("POST /reflect", &[], OFFER, 415),
        ("POST /reflect", &[text], OFFER, 415),
        ("POST /reflect", &[SDP], "", 400),
        ("POST /reflect", &[SDP], "hello", 400),
        ("POST /reflect", &[SDP], "v=0\r\nnothing more", 400),
        ("POST /reflect", &[SDP], "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", 400),
        ("POST /reflect", &[SDP], &long, 413),
    ] {
        let answer = ask(daemon.address(), request, headers, body);
        assert_eq!(answer.status, status, "{request} {headers:?} {:.40}: {answer:?}", body);
        assert!(answer.body.len() < 100 && answer.body.ends_with('\n'), "{answer:?}");
    }
    assert_eq!(offer(&daemon).status, 201, "it goes on");
    daemon.stops_in_time(libc::SIGINT);
}

#[test]
fn a_fifth_call_is_asked_to_come_again() {
    let daemon = reflect(&[]);
    let calls: Vec<Answer> = (0..4).map(|_| offer(&daemon)).collect();
    assert!(calls.iter().all(|call| call.status == 201));
    let full = offer(&daemon);
    assert_eq!((full.status, full.header("retry-after")), (503, Some("10")), "{full:?}");
    let first = calls[0].header("location").expect("a call");
    assert_eq!(ask(daemon.address(), &format!("DELETE {first}"), &[], "").status, 200);
    wait_for("the place of the call that ended", SOON, || (offer(&daemon).status == 201).then_some(()));
    daemon.stops_in_time(libc::SIGTERM);
}

#[test]
fn a_call_that_never_comes_is_given_up() {
    let daemon = reflect(&[]);
    assert_eq!(offer(&daemon).status, 201);
    // By silence, or as no candidate pair worked.
    daemon.wait_for_line("reflected 0 packets", Duration::from_secs(20));
    daemon.stops_in_time(libc::SIGTERM);
}

#[test]
fn a_request_that_is_never_finished_is_cut_off() {
    let daemon = reflect(&[]);
    let beginnings = [
        "POST /reflect HTTP/1.1\r\nhost: x\r\n",
        "POST /reflect HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\ncontent-length: 1000\r\n\r\nv=0\r\n",
    ];
    let streams = beginnings.map(|beginning| {
        let mut stream = connect(daemon.address());
        stream.write_all(beginning.as_bytes()).expect("sent");
        stream
    });
    for mut stream in streams {
        assert_eq!(stream.read_to_end(&mut Vec::new()).expect("the end, in time"), 0);
    }
    assert_eq!(offer(&daemon).status, 201, "it goes on");
    daemon.stops_in_time(libc::SIGTERM);
}

#[test]
fn only_who_shows_the_token_is_reflected() {
    let home = Home::new("");
    let file = home.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let daemon = reflect(&["--token-file", file.to_str().expect("UTF-8")]);
    let bearer = |token: &str| format!("Bearer {token}");
    for (shown, status) in [(bearer(TOKEN), 201), (bearer("0123456789abcdef-secreT"), 401), (TOKEN.to_owned(), 401)] {
        let answer = ask(daemon.address(), "POST /reflect", &[SDP, ("authorization", &shown)], OFFER);
        assert_eq!(answer.status, status, "{shown}");
        if status == 201 {
            let call = answer.header("location").expect("a call");
            assert_eq!(ask(daemon.address(), &format!("DELETE {call}"), &[], "").status, 401, "nor ended");
        } else {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(offer(&daemon).status, 401);
    let lines = daemon.stops_in_time(libc::SIGTERM);
    assert!(!lines.iter().any(|line| line.contains(TOKEN)), "{lines:?}");
}

#[test]
fn with_a_certificate_it_speaks_https_and_nothing_else() {
    let home = Home::new("");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (chain, key) = (home.path().join("chain.pem"), home.path().join("key.pem"));
    for (file, pem) in [(&chain, made.cert.pem()), (&key, made.signing_key.serialize_pem())] {
        fs::write(file, pem).expect("a file");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    let mut command = program();
    command.args(["reflect", "--listen", "127.0.0.1:0", "--tls-cert"]).arg(&chain).arg("--tls-key").arg(&key);
    let daemon = Daemon::start(command);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let stream = StreamOwned::new(session, connect(daemon.address()));
    assert_eq!(exchange(stream, "POST /reflect", &[("host", "localhost"), SDP], OFFER).status, 201);
    let mut plain = connect(daemon.address());
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    // It may end with a reset.
    let _ended = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    daemon.stops_in_time(libc::SIGTERM);
}

#[test]
fn what_others_can_reach_needs_a_token_and_says_so() {
    let home = Home::new("");
    let (open, short) = (home.path().join("open"), home.path().join("short"));
    for (file, mode, text) in [(&open, 0o644, TOKEN), (&short, 0o600, "short")] {
        fs::write(file, text).expect("a file");
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let (open, short) = (open.to_str().expect("UTF-8"), short.to_str().expect("UTF-8"));
    for (arguments, code, words) in [
        (&["--listen", "0.0.0.0:0"][..], 64, "--token-file"),
        (&["--listen", "[::]:0"], 64, "--token-file"),
        (&["--listen", "0.0.0.0:0", "--token-file", open], 66, "0600"),
        (&["--listen", "0.0.0.0:0", "--token-file", short], 66, "16"),
        (&["--listen", "0.0.0.0:0", "--token-file", "/nonexistent"], 66, "/nonexistent"),
        (&["--listen", "127.0.0.1:0", "--tls-cert", open, "--tls-key", short], 66, "PEM"),
        (&["--listen", "127.0.0.1:0", "--tls-cert", open], 2, "--tls-key"),
        (&["--listen", "nowhere"], 2, "--listen"),
    ] {
        let ended = Ended::of(program().arg("reflect").args(arguments));
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
    }
    let taken = reflect(&[]);
    let ended = Ended::of(program().args(["reflect", "--listen", taken.address()]));
    assert_eq!((ended.code, ended.stderr.lines().count()), (69, 1), "{}", ended.stderr);
}

#[test]
fn a_call_of_another_process_comes_back_whole() {
    let daemon = reflect(&[]);
    let url = format!("http://{}/reflect", daemon.address());
    let far_end = format!("far_end = {{ kind = \"reflect\", url = \"{url}\" }}");
    let home = Home::new(&format!("[probe.call]\nduration = \"3 s\"\n{far_end}\n"));
    let ended = home.run(["inspect", "call", "--json"]);
    // A busy box may be unsure of it.
    assert!((0..=3).contains(&ended.code), "{}: {}", ended.code, ended.stderr);
    let found: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(found["runs"][0]["failure"], serde_json::Value::Null, "{}", ended.stdout);
    let read = |metric: &str| -> Vec<f64> {
        let readings = found["readings"].as_array().expect("a list").iter();
        readings.filter(|reading| reading["metric"] == metric).filter_map(|reading| reading["value"].as_f64()).collect()
    };
    assert_eq!(read("media_success"), [1.0]);
    assert_eq!(read("media_residual_loss"), [0.0; 2]);
    assert_eq!(read("media_reported_loss"), [0.0; 4], "two legs, two streams");
    // The other box says when each packet came and left again.
    let [uncertainty] = read("media_clock_uncertainty")[..] else { panic!("{}", ended.stdout) };
    let (there_and_back, varied) = (read("media_one_way_delay"), read("media_one_way_delay_variation"));
    assert_eq!((there_and_back.len(), varied.len(), read("media_reflector_delay").len()), (4, 4, 3));
    assert!(there_and_back.iter().chain(&varied).all(|delay| *delay >= 0.0), "{there_and_back:?} {varied:?}");
    assert!(uncertainty > 0.0 && read("media_network_round_trip").iter().all(|trip| *trip > 0.0));
    // The caller hangs up by DELETE: the call is not left to fall silent.
    daemon.wait_for_line("ended: told to", SOON);
    let lines = daemon.stops_in_time(libc::SIGTERM);
    let packets = |line: &String| line.split_once("reflected ")?.1.split_once(' ')?.0.parse::<u64>().ok();
    assert!(lines.iter().find_map(packets).is_some_and(|packets| packets > 300), "{lines:?}");
}
