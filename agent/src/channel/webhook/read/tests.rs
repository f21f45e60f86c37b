#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    booking::examples,
    channel::webhook::{
        secret::Secret,
        tests::{config, now},
    },
};

/// Answers one request with `answer` as it stands, and hands out the head of what was asked.
async fn answered<T>(answer: &str, ask: impl AsyncFnOnce(&Config) -> T) -> (String, T) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = config(&format!("http://{}/hook/?token=s3cret", listener.local_addr().unwrap()));
    let receiver = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await.unwrap();
        }
        // Who has read enough hangs up.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        String::from_utf8(head).unwrap()
    };
    tokio::join!(receiver, ask(&place.config))
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn signed(head: &str, id: &str) -> bool {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let at = now().timestamp();
    let mut expected = format!("\r\nwebhook-id: {id}\r\nwebhook-timestamp: {at}\r\n");
    write!(expected, "webhook-signature: {}\r\n", secret.sign(id, at, "")).unwrap();
    head.contains(&expected)
}

#[tokio::test]
async fn a_booking_is_read_by_its_key() {
    let answer = json!({
        "key": "bw1-k", "id": 17, "state": "confirmed", "note": " at \n nine ", "more": 1,
        "window": {"start": "2026-11-26T01:00:00Z", "end": "2026-11-26T02:00:00Z"},
    });
    let answer = http("200 OK", &answer.to_string());
    let (head, remote) = answered(&answer, async |config| read(config, "bw1-k", now()).await).await;
    assert!(head.starts_with("GET /hook/bw1-k?token=s3cret HTTP/1.1\r\n"), "{head}");
    assert!(signed(&head, "read.bw1-k"), "{head}");
    let window =
        Window { start: "2026-11-26T01:00:00Z".parse().unwrap(), end: "2026-11-26T02:00:00Z".parse().unwrap() };
    let expected = Remote {
        remote_id: Some("17".into()),
        standing: Standing::Confirmed,
        window: Some(window),
        note: Some("at nine".into()),
    };
    assert_eq!(remote, Ok(expected));
}

#[tokio::test]
async fn only_the_agreed_answer_counts() {
    let long = format!(r#"{{"key": "k", "state": "requested", "note": "{}"}}"#, "x".repeat(MAX_ANSWER));
    let table = [
        (
            "plain",
            http("200 OK", r#"{"key": "k", "state": "requested"}"#),
            "Ok(Remote { remote_id: None, standing: Requ",
        ),
        ("withdrawn", http("200 OK", r#"{"key": "k", "state": "withdrawn"}"#), "standing: Withdrawn"),
        ("not there", http("404 Not Found", r#"{"error": "unknown"}"#), "standing: Missing"),
        ("no such address", http("404 Not Found", "<html>"), "check url"),
        ("another 404", http("404 Not Found", r#"{"error": "no such page"}"#), "check url"),
        ("gone", http("410 Gone", r#"{"error": "unknown"}"#), "Err(\"http://127.0.0.1:"),
        ("a stranger's", http("200 OK", r#"{"key": "j", "state": "requested"}"#), "another booking"),
        ("nobody's", http("200 OK", r#"{"state": "requested"}"#), "missing field `key`"),
        ("an unknown word", http("200 OK", r#"{"key": "k", "state": "open"}"#), "unknown variant"),
        ("a word of ours", http("200 OK", r#"{"key": "k", "state": "missing"}"#), "expected an answer 404"),
        (
            "backwards",
            http(
                "200 OK",
                r#"{"key": "k", "state": "requested",
                    "window": {"start": "2026-11-26T02:00:00Z", "end": "2026-11-26T01:00:00Z"}}"#,
            ),
            "ends before it begins",
        ),
        ("too long", http("200 OK", &long), "more than is read"),
        ("no JSON", http("200 OK", "yes"), "not as agreed"),
        ("locked out", http("401 Unauthorized", ""), "check secret_file"),
        ("elsewhere", http("302 Found", ""), "302"),
        ("broken", http("500 Oops", ""), "500"),
        ("cut", "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned(), "no whole answer"),
    ];
    for (name, answer, expected) in table {
        let (_, remote) = answered(&answer, async |config| read(config, "k", now()).await).await;
        let shown = format!("{remote:?}");
        assert!(shown.contains(expected), "{name}: {shown}");
        assert!(!shown.contains("s3cret"), "{name}: {shown}");
        assert_eq!(remote.is_ok(), ["plain", "withdrawn", "not there"].contains(&name), "{name}: {shown}");
    }
}

#[test]
fn a_key_stays_one_segment_and_a_room_one_value() {
    let url = "https://v.example/hook?token=t";
    assert_eq!(address_of(url, "../a/b?c#d").unwrap().as_str(), "https://v.example/hook/..%2Fa%2Fb%3Fc%23d?token=t");
    assert_eq!(address_of("https://v.example", "k").unwrap().as_str(), "https://v.example/k");
    let room = address_of_room(url, "三 & 302=").unwrap();
    assert_eq!(room.as_str(), "https://v.example/hook?token=t&room=%E4%B8%89+%26+302%3D");
}

#[tokio::test]
async fn the_bookings_of_a_room_are_listed_with_their_data() {
    let booking = examples::full();
    let old = json!({"key": "bw1-old", "room": {"id": booking.room.id}, "shape": "of another version"});
    let answer = json!({"bookings": [
        {"key": booking.key, "id": "V-1", "state": "requested", "data": booking},
        {"key": "bw1-old", "id": "V-2", "state": "confirmed", "window": null, "data": old},
    ]});
    let answer = http("200 OK", &answer.to_string());
    let (head, listed) = answered(&answer, async |config| list(config, &booking.room.id, now()).await).await;
    assert!(head.starts_with("GET /hook/?token=s3cret&room=j3-302 HTTP/1.1\r\n"), "{head}");
    assert!(signed(&head, "list.j3-302"), "{head}");
    let listed = listed.unwrap();
    let names: Vec<_> = listed.iter().map(|listed| (&listed.key[..], listed.remote.standing)).collect();
    assert_eq!(names, [(&booking.key[..], Standing::Requested), ("bw1-old", Standing::Confirmed)]);
    assert_eq!(listed[0].booking, Some(booking));
    assert_eq!(listed[1].booking, None);
}

#[tokio::test]
async fn strangers_bookings_are_not_adopted() {
    let booking = examples::full();
    let entry =
        |data: Value| json!({"bookings": [{"key": booking.key, "state": "requested", "data": data}]}).to_string();
    let mut other_key = json!(booking);
    other_key["key"] = "bw1-other".into();
    let mut other_room = json!(booking);
    other_room["room"]["id"] = "r2".into();
    let table = [
        ("another key", entry(other_key), "of another booking"),
        ("another room", entry(other_room), "other rooms"),
        ("no data", json!({"bookings": [{"key": "k", "state": "requested"}]}).to_string(), "missing field `data`"),
        ("no list", "[]".to_owned(), "not as agreed"),
    ];
    for (name, body, expected) in table {
        let answer = http("200 OK", &body);
        let (_, listed) = answered(&answer, async |config| list(config, &booking.room.id, now()).await).await;
        let shown = format!("{listed:?}");
        assert!(listed.is_err() && shown.contains(expected), "{name}: {shown}");
    }
}

#[tokio::test]
async fn a_check_finds_what_is_wrong_before_a_booking_does() {
    let dated = |status: &str, date: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let (unknown, on_time) = (r#"{"error": "unknown"}"#, "Thu, 25 Feb 2021 15:02:10 GMT");
    let table = [
        ("fine", dated("404 Not Found", on_time, unknown), [None, None]),
        ("a minute", dated("404 Not Found", "Thu, 25 Feb 2021 15:01:10 GMT", unknown), [None, None]),
        ("late", dated("404 Not Found", "Thu, 25 Feb 2021 15:01:09 GMT", unknown), [None, Some("61 s behind")]),
        ("early", dated("404 Not Found", "Thu, 25 Feb 2021 16:02:10 GMT", unknown), [None, Some("3600 s ahead")]),
        ("without a date", http("404 Not Found", unknown), [None, None]),
        ("another secret", dated("401 Unauthorized", on_time, ""), [Some("check secret_file"), None]),
        ("another address", dated("404 Not Found", on_time, "no"), [Some("check url"), None]),
        (
            "knows everything",
            dated("200 OK", on_time, &format!(r#"{{"key": "{NO_KEY}", "state": "requested"}}"#)),
            [Some("as if it had it"), None],
        ),
    ];
    for (name, answer, expected) in table {
        let (_, found) = answered(&answer, async |config| check(config, now()).await).await;
        assert_eq!(found.len(), 2, "{name}: {found:?}");
        for (finding, expected) in found.iter().zip(expected) {
            match (&finding.wrong, expected) {
                (None, None) => {}
                (Some(wrong), Some(expected)) if wrong.contains(expected) => {}
                _ => unreachable!("{name}: {finding:?}, expected {expected:?}"),
            }
        }
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let found = check(&config(&format!("http://{closed}/")).config, now()).await;
    assert!(matches!(&found[..], [Finding { wrong: Some(wrong), .. }] if wrong.contains("no connection")), "{found:?}");

    let mut place = config(&format!("http://{closed}/"));
    place.config.read_back = false;
    let found = check(&place.config, now()).await;
    assert!(matches!(&found[..], [Finding { wrong: None, .. }]), "{found:?}");
    place.config.secret_file = "/nowhere".into();
    let found = check(&place.config, now()).await;
    assert!(matches!(&found[..], [Finding { wrong: Some(wrong), .. }] if wrong.contains("/nowhere")), "{found:?}");
}
