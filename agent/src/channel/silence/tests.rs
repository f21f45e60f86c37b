//! What is done about silences, pure and over the wire.

use std::{fs, os::unix::fs::PermissionsExt};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{booking::examples, channel::http::install_provider};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time written here")
}

fn now() -> DateTime<Utc> {
    at("2026-11-24T04:00:00Z")
}

fn config(url: &str) -> Config {
    install_provider();
    serde_json::from_value(json!({ "url": url })).expect("a config")
}

fn until(text: &str) -> BTreeMap<String, DateTime<Utc>> {
    [("bw1-a".to_owned(), at(text))].into()
}

fn silence(id: &str, state: &str, comment: &str, ends_at: &str) -> Value {
    json!({
        "id": id,
        "status": { "state": state },
        "updatedAt": "2026-11-24T03:00:00.000Z",
        "comment": comment,
        "createdBy": "bellwether",
        "startsAt": "2026-11-24T03:00:00.000Z",
        "endsAt": ends_at,
        "matchers": [{ "name": "room", "value": "r1", "isRegex": false, "isEqual": true }],
    })
}

fn steps_of(there: Value, wanted: &BTreeMap<String, DateTime<Utc>>) -> Vec<Step> {
    let there: Vec<Silence> = serde_json::from_value(there).expect("silences");
    steps(&there, &config("http://127.0.0.1/").matchers("r1"), "r1", wanted, now())
}

const OURS: &str = "booking bw1-a: maintenance of room r1";

#[test]
fn a_booking_in_maintenance_wants_a_silence_an_hour_beyond_its_window() {
    let mut booking = examples::full();
    booking.life.appointment = Some(booking.wanted[0]);
    booking.life.started_at = Some(booking.wanted[0].start);
    assert_eq!(wanted([&booking]), BTreeMap::new());
    booking.state = State::InMaintenance;
    assert_eq!(wanted([&booking]), [(booking.key.clone(), at("2026-11-24T06:00:00Z"))].into());
    booking.life.appointment = None;
    assert_eq!(wanted([&booking]), [(booking.key.clone(), at("2026-11-24T06:00:00Z"))].into(), "by its usual length");
}

#[test]
fn a_silence_is_made_once_and_ended_once() {
    let wanted = until("2026-11-24T06:00:00Z");
    let expected = json!({
        "matchers": [{ "name": "room", "value": "r1", "isRegex": false, "isEqual": true }],
        "startsAt": "2026-11-24T04:00:00.000Z",
        "endsAt": "2026-11-24T06:00:00.000Z",
        "createdBy": "bellwether",
        "comment": OURS,
    });
    assert_eq!(steps_of(json!([]), &wanted), [Step::Post(expected.clone())]);
    for state in ["active", "pending"] {
        let there = json!([silence("s1", state, OURS, "2026-11-24T06:00:00.000Z")]);
        assert_eq!(steps_of(there.clone(), &wanted), [], "a repeat changes nothing");
        assert_eq!(steps_of(there, &BTreeMap::new()), [Step::Delete("s1".to_owned())]);
    }
    let there = json!([silence("s1", "expired", OURS, "2026-11-24T06:00:00.000Z")]);
    assert_eq!(steps_of(there.clone(), &wanted), [Step::Post(expected)]);
    assert_eq!(steps_of(there, &BTreeMap::new()), [], "a repeat changes nothing");
}

#[test]
fn a_silence_that_ends_too_early_is_prolonged() {
    let there = json!([silence("s1", "active", OURS, "2026-11-24T05:59:00.000Z")]);
    let [Step::Post(posted)] = &steps_of(there, &until("2026-11-24T06:00:00Z"))[..] else { panic!("one step") };
    assert_eq!((&posted["id"], &posted["startsAt"]), (&"s1".into(), &"2026-11-24T03:00:00.000Z".into()));
    assert_eq!(posted["endsAt"], "2026-11-24T06:00:00.000Z");
}

#[test]
fn what_others_silence_is_theirs() {
    let end = "2026-11-24T06:00:00.000Z";
    let mut human = silence("s1", "active", OURS, end);
    human["createdBy"] = "caretaker".into();
    let there = json!([
        human,
        silence("s2", "active", "booking bw1-a: maintenance of room r12", end),
        silence("s3", "active", "see booking bw1-a: maintenance of room r1", end),
        silence("s4", "active", "", end),
    ]);
    assert_eq!(steps_of(there, &BTreeMap::new()), []);
}

#[test]
fn a_silence_that_would_have_ended_is_not_made() {
    assert_eq!(steps_of(json!([]), &until("2026-11-24T04:00:00Z")), []);
}

#[test]
fn a_config_is_checked_with_its_files() {
    let of = |change: fn(&mut Config)| {
        let mut config = config("https://alerts.example/am/");
        change(&mut config);
        config
            .check()
            .iter()
            .map(|mistake| format!("{}: {}", mistake.key, mistake.message))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(of(|_| {}), "");
    assert!(of(|config| config.url = "http://alerts.example/".into()).contains("allow_plain_http"));
    assert!(of(|config| config.matchers = Some(BTreeMap::new())).starts_with("matchers: found none"));
    for (name, value) in [("a-b", "x"), ("", "x"), ("1a", "x"), ("a", ""), ("a", "x\ny")] {
        let mut config = config("https://alerts.example/");
        config.matchers = Some([(name.to_owned(), value.to_owned())].into());
        assert_eq!(config.check().len(), 1, "{name}={value}");
    }
    assert!(of(|config| config.user = Some("u".into())).starts_with("user: found no password_file"));
    assert!(of(|config| config.password_file = Some("/nowhere".into())).starts_with("password_file: found no user"));
    assert!(
        of(|config| {
            config.user = Some("u".into());
            config.password_file = Some("/nowhere".into());
        })
        .starts_with("password_file: cannot read")
    );
}

/// Answers one request after the other; the requests.
async fn serve(listener: TcpListener, answers: &[String]) -> Vec<String> {
    let mut requests = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        while !is_whole(&request) {
            let count = stream.read(&mut buffer).await.expect("a request");
            assert_ne!(count, 0, "the request ended early");
            request.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(answer.as_bytes()).await.expect("room for the answer");
        stream.shutdown().await.expect("an end");
        requests.push(String::from_utf8(request).expect("text"));
    }
    requests
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    request.len() >= head.len() + 4 + length.map_or(0, |length| length.parse().expect("a number"))
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// What is asked of an Alertmanager that gives these answers, and what comes of it.
async fn asked(
    change: impl FnOnce(&mut Config),
    wanted: &BTreeMap<String, DateTime<Utc>>,
    answers: &[String],
) -> (Vec<String>, Result<(), String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = config(&format!("http://{}/am/", listener.local_addr().expect("an address")));
    change(&mut config);
    tokio::join!(serve(listener, answers), keep(&config, "r1", wanted, now()))
}

fn head(request: &str) -> &str {
    request.lines().next().unwrap_or_default()
}

#[tokio::test]
async fn a_silence_is_listed_made_and_ended_over_the_wire() {
    let wanted = until("2026-11-24T06:00:00Z");
    let made = answer("200 OK", r#"{"silenceID":"s1"}"#);
    let (requests, done) = asked(|_| {}, &wanted, &[answer("200 OK", "[]"), made]).await;
    assert_eq!((done, requests.len()), (Ok(()), 2));
    assert_eq!(head(&requests[0]), "GET /am/api/v2/silences?filter=room%3D%22r1%22 HTTP/1.1");
    assert_eq!(head(&requests[1]), "POST /am/api/v2/silences HTTP/1.1");
    let (head_lines, body) = requests[1].split_once("\r\n\r\n").expect("a body");
    assert!(head_lines.contains("content-type: application/json") && !head_lines.contains("authorization"));
    let posted: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&posted["comment"], &posted["endsAt"]), (&OURS.into(), &"2026-11-24T06:00:00.000Z".into()));

    let there = answer("200 OK", &json!([silence("s1", "active", OURS, "2026-11-24T06:00:00Z")]).to_string());
    let (requests, done) = asked(|_| {}, &wanted, std::slice::from_ref(&there)).await;
    assert_eq!((done, requests.len()), (Ok(()), 1), "it is there");
    let (requests, done) = asked(|_| {}, &BTreeMap::new(), &[there, answer("200 OK", "")]).await;
    assert_eq!(done, Ok(()));
    assert_eq!(head(&requests[1]), "DELETE /am/api/v2/silence/s1 HTTP/1.1");
}

#[tokio::test]
async fn matchers_and_password_are_the_configs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "s3cret\n").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let change = |config: &mut Config| {
        config.matchers = Some([("building", "3 \"b\\"), ("campus", "东")].map(|(a, b)| (a.into(), b.into())).into());
        (config.user, config.password_file) = (Some("bell".into()), Some(file));
        assert_eq!(config.check(), []);
        assert!(!format!("{config:?}").contains("s3cret") && !format!("{config:?}").contains("/am"), "{config:?}");
    };
    let answers = [answer("200 OK", "[]"), answer("200 OK", "{}")];
    let (requests, done) = asked(change, &until("2026-11-24T06:00:00Z"), &answers).await;
    assert_eq!(done, Ok(()));
    let filters = "filter=building%3D%223+%5C%22b%5C%5C%22&filter=campus%3D%22%E4%B8%9C%22";
    assert_eq!(head(&requests[0]), format!("GET /am/api/v2/silences?{filters} HTTP/1.1"));
    assert!(requests.iter().all(|request| request.contains("authorization: Basic YmVsbDpzM2NyZXQ=")));
    assert!(requests[1].contains(r#""name":"building","value":"3 \"b\\""#), "{}", requests[1]);
}

#[tokio::test]
async fn what_goes_wrong_is_one_line_and_nothing_more_is_asked() {
    let wanted = until("2026-11-24T06:00:00Z");
    for (answers, expected) in [
        (vec![answer("401 Unauthorized", "who?")], "answered 401 Unauthorized: who?; check user and password_file"),
        (vec![answer("302 Found", "")], "answered 302 Found"),
        (vec![answer("200 OK", "<h1>portal</h1>")], "answered no list of silences; check url"),
        (vec![answer("200 OK", &format!("[{}", " ".repeat(MAX_ANSWER)))], "found more than 65536 bytes of silences"),
        (vec![answer("200 OK", "[]"), answer("500 Oops", "disk")], "answered 500 Internal Server Error: disk"),
        (vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[".to_owned()], "no whole answer"),
    ] {
        let (requests, done) = asked(|_| {}, &wanted, &answers).await;
        let message = done.expect_err("it did not go well");
        assert!(message.starts_with("http://127.0.0.1:") && message.contains(expected), "{message}");
        assert_eq!((requests.len(), message.lines().count()), (answers.len(), 1));
    }
}
