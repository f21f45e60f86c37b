//! Against canned answers, each as a real RT gave it or as a bad one could.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    booking::{Booking, Operation, Order, State, examples, op_key},
    channel::{Link, Outcome, Standing},
    site::Language,
};

const NUMBER: u64 = 7;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn key() -> String {
    examples::full().key
}

fn order_of(booking: &Booking, operation: Operation) -> Order {
    let op_key = op_key(&booking.key, 2);
    Order {
        body: body(booking, operation, &op_key, &Language::English.into()),
        op_key,
        booking_key: booking.key.clone(),
        op_seq: 2,
        channel: "vendor".into(),
        operation,
        created_at: booking.updated_at,
    }
}

fn order(operation: Operation) -> Order {
    order_of(&examples::full(), operation)
}

fn link() -> Link {
    Link { remote_id: Some(NUMBER.to_string()) }
}

/// A server that gives one answer after the other, each on a connection of its own.
struct Vendor {
    _folder: TempDir,
    config: Config,
    asked: Arc<Mutex<Vec<String>>>,
    answers: usize,
}

impl Vendor {
    async fn new(answers: &[String]) -> Self {
        // The tests of another channel may have installed it.
        crate::channel::http::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        fs::write(&token_file, "1-14-s3cret\n").unwrap();
        fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = json!({
            "url": format!("http://{}/rt/", listener.local_addr().unwrap()),
            "token_file": token_file,
            "queue": "AV-Vendor",
            "timeout": "5 s",
        });
        let config: Config = serde_json::from_value(config).unwrap();
        assert_eq!(config.check(), []);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, queue) = (Arc::clone(&asked), answers.to_vec());
        tokio::spawn(async move {
            for answer in queue {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) {
                    assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request ended early");
                }
                heard.lock().unwrap().push(String::from_utf8(request).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { _folder: folder, config, asked, answers: answers.len() }
    }

    /// What was asked, as `METHOD PATH`, the path without its start; as many requests as there were answers.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), self.answers, "{asked:#?}");
        let line = |request: &String| {
            let (method, rest) = request.split_once(' ').unwrap();
            let path = rest.split([' ', '?']).next().unwrap();
            format!("{method} {}", path.strip_prefix("/rt/REST/2.0/").unwrap())
        };
        asked.iter().map(line).collect()
    }

    /// The JSON of a request.
    fn sent(&self, at: usize) -> Value {
        let asked = self.asked.lock().unwrap();
        serde_json::from_str(asked[at].split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn head(&self, at: usize) -> String {
        self.asked.lock().unwrap()[at].split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    request.len() >= head.len() + 4 + length
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nETag: \"53\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn ok(body: Value) -> String {
    answer("200 OK", &body.to_string())
}

fn page(items: &[Value]) -> String {
    ok(json!({ "items": items, "total": items.len(), "count": items.len(), "page": 1, "per_page": 20 }))
}

fn created() -> String {
    answer("201 Created", &json!({ "id": NUMBER.to_string(), "type": "ticket" }).to_string())
}

fn commented() -> String {
    answer("201 Created", r#"["Comments added"]"#)
}

/// A ticket as a search shows it.
fn hit(number: u64, key: &str) -> Value {
    json!({
        "id": number.to_string(), "EffectiveId": number.to_string(), "Status": "new", "Subject": "by hand",
        "Starts": "1970-01-01T00:00:00Z", "Due": "1970-01-01T00:00:00Z",
        "Creator": { "id": "bellwether" }, "LastUpdatedBy": { "id": "bellwether" },
        "CustomFields": [{ "name": "BW.Key", "values": [key] }, { "name": "BW.Room", "values": ["j3-302"] }],
    })
}

fn with(mut ticket: Value, field: &str, value: impl Into<Value>) -> Value {
    ticket[field] = value.into();
    ticket
}

/// A ticket of ours whose key RT dropped.
fn keyless(number: u64) -> Value {
    let ticket = with(hit(number, ""), "Subject", format!("[high] fault [{}]", key()));
    with(ticket, "CustomFields", json!([{ "name": "BW.Key", "values": [] }, { "name": "BW.Room", "values": [] }]))
}

fn mark() -> Value {
    let mark = with(hit(1, "bw-canary-AV-Vendor"), "Status", "resolved");
    let fields = ["BW.Key", "BW.Room"].map(|name| json!({ "name": name, "values": ["bw-canary-AV-Vendor"] }));
    with(mark, "CustomFields", json!(fields))
}

fn file(name: &str) -> String {
    ok(json!({ "items": [{ "id": "31", "Filename": name }, { "id": "30", "Filename": "" }], "total": null }))
}

fn attachment(booking: &Booking) -> String {
    let text = serde_json::to_string(booking).unwrap();
    ok(json!({ "id": 31, "Content": BASE64.encode(text.as_bytes()) }))
}

async fn sent(operation: Operation, answers: &[String]) -> (Vendor, Outcome) {
    let vendor = Vendor::new(answers).await;
    let link = if operation == Operation::Open { Link::default() } else { link() };
    let outcome = send(&vendor.config, &order(operation), &link, now()).await;
    (vendor, outcome)
}

async fn probed(operation: Operation, answers: &[String]) -> (Vendor, Outcome) {
    let vendor = Vendor::new(answers).await;
    let link = if operation == Operation::Open { Link::default() } else { link() };
    let outcome = probe(&vendor.config, &order(operation), &link, now()).await;
    (vendor, outcome)
}

fn merged_into(number: u64, repeats: u32) -> Outcome {
    Outcome::Done { remote_id: Some(number.to_string()), repeats }
}

fn done(number: u64) -> Outcome {
    Outcome::done(Some(number.to_string()))
}

/// The line of an outcome of a kind.
macro_rules! detail {
    ($outcome:expr, $kind:ident) => {
        match $outcome {
            Outcome::$kind { detail, .. } => detail,
            other => unreachable!("{other:?}"),
        }
    };
}

#[tokio::test]
async fn a_ticket_is_looked_for_made_and_found_again() {
    let answers = [page(&[mark()]), created(), page(&[mark(), hit(NUMBER, &key())])];
    let (vendor, outcome) = sent(Operation::Open, &answers).await;
    assert_eq!(outcome, done(NUMBER));
    assert_eq!(vendor.asked(), ["GET tickets", "POST ticket", "GET tickets"]);
    assert_eq!(vendor.sent(1)["CustomFields"]["BW.Key"], key());
    assert!(vendor.head(1).contains("\r\nauthorization: token 1-14-s3cret"), "{}", vendor.head(1));
}

#[tokio::test]
async fn what_is_there_already_is_not_made_again() {
    for there in [hit(NUMBER, &key()), keyless(NUMBER)] {
        // A ticket that was moved to another queue has no such field any more.
        let moved = with(keyless(NUMBER), "CustomFields", "");
        for found in [hit(NUMBER, &key()), moved] {
            let (vendor, outcome) = sent(Operation::Open, &[page(&[mark(), found])]).await;
            assert_eq!((outcome, vendor.asked().len()), (done(NUMBER), 1));
        }
        let (_, outcome) = probed(Operation::Open, &[page(&[with(there, "EffectiveId", "12")])]).await;
        assert_eq!(outcome, done(12), "what was merged into another is that one");
    }
}

#[tokio::test]
async fn a_search_that_finds_nothing_at_all_is_not_believed() {
    // As a real RT answers for a field that is gone or may not be seen.
    let (vendor, outcome) = sent(Operation::Open, &[page(&[])]).await;
    assert!(detail!(outcome, NotDelivered).contains("its own mark"));
    assert_eq!(vendor.asked(), ["GET tickets"]);
    let (_, outcome) = probed(Operation::Open, &[page(&[])]).await;
    assert!(detail!(outcome, Ambiguous).contains("its own mark"));
    let (_, outcome) = probed(Operation::Open, &[page(&[mark()])]).await;
    assert!(detail!(outcome, Missing).contains(&key()));
}

#[tokio::test]
async fn tickets_of_others_are_not_adopted_and_make_a_miss_worthless() {
    let reply = with(hit(3, "bw1-other"), "Subject", format!("Re: [{}]", key()));
    let all = [mark(), hit(2, "bw1-other"), reply];
    let (vendor, outcome) = sent(Operation::Open, &[page(&all)]).await;
    assert!(detail!(outcome, NotDelivered).contains("its own mark"));
    assert_eq!(vendor.asked(), ["GET tickets"]);
    let ours = [&all[..], &[hit(NUMBER, &key())]].concat();
    let (_, outcome) = probed(Operation::Open, &[page(&ours)]).await;
    assert_eq!(outcome, done(NUMBER));
}

#[tokio::test]
async fn a_key_that_was_dropped_is_set_once_more() {
    let refused = ok(json!(["Permission Denied"]));
    let start = [page(&[mark()]), created(), page(&[mark(), keyless(NUMBER)]), refused.clone()];
    let restored = [&start[..], &[ok(hit(NUMBER, &key()))]].concat();
    let (vendor, outcome) = sent(Operation::Open, &restored).await;
    assert_eq!(outcome, done(NUMBER));
    assert_eq!(vendor.sent(3), json!({ "CustomFields": { "BW.Key": key() } }));

    let lost = [&start[..], &[ok(keyless(NUMBER)), commented()]].concat();
    let (vendor, outcome) = sent(Operation::Open, &lost).await;
    let detail = detail!(outcome, Rejected);
    assert!(detail.contains("ticket 7") && detail.contains("BW.Key") && detail.contains(&key()), "{detail}");
    let asked = ["GET tickets", "POST ticket", "GET tickets", "PUT ticket/7", "GET ticket/7", "POST ticket/7/comment"];
    assert_eq!(vendor.asked(), asked);
    assert!(vendor.sent(5)["Content"].as_str().unwrap().contains(&key()));

    // The search does not find it either: it is read by its number.
    let unknown = with(keyless(NUMBER), "CustomFields", json!([]));
    let blind = [page(&[mark()]), created(), page(&[]), ok(unknown.clone()), refused, ok(unknown), commented()];
    let (_, outcome) = sent(Operation::Open, &blind).await;
    assert!(detail!(outcome, Rejected).contains("ticket 7"));
}

#[tokio::test]
async fn repeats_are_merged_into_the_first() {
    let merged = || [ok(json!(["Merge Successful"])), commented()];
    // The second by its key, the third by its subject and maker; the fourth is a person's, the fifth is merged.
    let fourth = with(keyless(11), "Creator", json!({ "id": "desk" }));
    let fifth = with(hit(12, &key()), "EffectiveId", "5");
    let found = page(&[mark(), hit(5, &key()), hit(9, &key()), keyless(10), fourth, fifth]);
    let answers = [&[found][..], &merged(), &merged()].concat();
    let (vendor, outcome) = sent(Operation::Open, &answers).await;
    assert_eq!(outcome, merged_into(5, 3), "two were merged now, the fifth before");
    let (first, second) = ("PUT ticket/9", "PUT ticket/10");
    let comment = "POST ticket/5/comment";
    assert_eq!(vendor.asked(), ["GET tickets", first, comment, second, comment]);
    assert_eq!(vendor.sent(1), json!({ "MergeInto": 5 }));

    // One that lost a race, with "unique values" set in RT, has no key and a higher or a lower number.
    let lost = [page(&[mark()]), created(), page(&[mark(), keyless(NUMBER), hit(8, &key())])];
    let (vendor, outcome) = sent(Operation::Open, &[&lost[..], &merged()].concat()).await;
    assert_eq!(outcome, merged_into(8, 1));
    assert_eq!(vendor.asked()[3], "PUT ticket/7");
}

#[tokio::test]
async fn before_the_ticket_is_asked_for_a_failure_is_certain() {
    let table: [(&str, &str, &str); 8] = [
        ("401 Unauthorized", "{}", "LockedOut"),
        ("403 Forbidden", "{}", "LockedOut"),
        ("404 Not Found", "<html>", "NotDelivered"),
        ("302 Found", "", "NotDelivered"),
        ("400 Bad Request", r#"{"message":"Unknown field"}"#, "NotDelivered"),
        ("500 Oops", "", "NotDelivered"),
        ("200 OK", "<html>login</html>", "NotDelivered"),
        ("200 OK", r#"{"items":[{"id":"x"}]}"#, "NotDelivered"),
    ];
    for (status, body, expected) in table {
        let (vendor, outcome) = sent(Operation::Open, &[answer(status, body)]).await;
        assert!(format!("{outcome:?}").starts_with(expected), "{status}: {outcome:?}");
        assert_eq!(vendor.asked(), ["GET tickets"]);
    }
    let (_, outcome) = sent(Operation::Open, &[String::new()]).await;
    assert!(matches!(outcome, Outcome::NotDelivered { .. }), "{outcome:?}");
}

#[tokio::test]
async fn when_the_ticket_was_asked_for_only_rt_can_say_that_there_is_none() {
    let table: [(&str, &str, &str); 8] = [
        ("401 Unauthorized", "{}", "LockedOut"),
        ("403 Forbidden", "{}", "LockedOut"),
        ("400 Bad Request", "{}", "Rejected"),
        ("422 No", "{}", "Rejected"),
        ("500 Oops", "", "Ambiguous"),
        ("201 Created", "garbage", "Ambiguous"),
        ("201 Created", r#"{"message":"done"}"#, "Ambiguous"),
        ("200 OK", r#"{"id":"7"}"#, "Ambiguous"),
    ];
    for (status, body, expected) in table {
        let (vendor, outcome) = sent(Operation::Open, &[page(&[mark()]), answer(status, body)]).await;
        assert!(format!("{outcome:?}").starts_with(expected), "{status}: {outcome:?}");
        assert_eq!(vendor.asked(), ["GET tickets", "POST ticket"]);
    }
    let slow = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let (_, outcome) = sent(Operation::Open, &[page(&[mark()]), slow]).await;
    assert!(format!("{outcome:?}").contains("retry_after: Some(7s)"), "{outcome:?}");
    // It was made, and what came after failed: nothing says that it was not.
    for failed in [answer("500 Oops", ""), answer("401 Unauthorized", "{}"), String::new()] {
        let (_, outcome) = sent(Operation::Open, &[page(&[mark()]), created(), failed]).await;
        assert!(matches!(outcome, Outcome::Ambiguous { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_ticket_behind_an_error_is_found_by_a_probe() {
    let (_, outcome) = sent(Operation::Open, &[page(&[mark()]), answer("500 Oops", "mail failed")]).await;
    assert!(detail!(outcome, Ambiguous).contains("mail failed"));
    let (_, outcome) = probed(Operation::Open, &[page(&[mark(), hit(NUMBER, &key())])]).await;
    assert_eq!(outcome, done(NUMBER));
}

#[tokio::test]
async fn a_probe_that_learns_nothing_leaves_the_doubt() {
    let huge = format!("{{\"items\":[{}]}}", "0,".repeat(64 * 1024));
    for failed in [answer("500 Oops", ""), answer("404 Not Found", "{}"), answer("200 OK", &huge), String::new()] {
        let (_, outcome) = probed(Operation::Open, &[failed]).await;
        assert!(matches!(outcome, Outcome::Ambiguous { .. }), "{outcome:?}");
    }
    let (_, outcome) = probed(Operation::Open, &[answer("401 Unauthorized", "{}")]).await;
    assert!(format!("{outcome:?}").contains("retry_after: Some(1800s)"), "{outcome:?}");
}

#[tokio::test]
async fn an_update_is_a_comment() {
    let (vendor, outcome) = sent(Operation::Update, &[ok(hit(NUMBER, &key())), commented()]).await;
    assert_eq!(outcome, done(NUMBER));
    assert_eq!(vendor.asked(), ["GET ticket/7", "POST ticket/7/comment"]);
    let comment = vendor.sent(1);
    let order = order(Operation::Update);
    assert_eq!(comment["Content"].as_str().unwrap().trim_end().lines().last(), Some(&order.op_key[..]));
    assert_eq!(comment["Attachments"][0]["FileName"], format!("booking-{}.json", order.op_key));
    // The survivor of a merger answers for the old number.
    let (vendor, outcome) = sent(Operation::Update, &[ok(hit(12, "")), commented()]).await;
    assert_eq!((outcome, &vendor.asked()[1][..]), (done(12), "POST ticket/12/comment"));
}

fn agreed() -> Booking {
    let mut booking = Booking { state: State::Confirmed, ..examples::full() };
    booking.life.appointment = Some(booking.wanted[1]);
    booking
}

/// A ticket that has an appointment.
fn arranged(booking: &Booking, shift: TimeDelta) -> Value {
    let window = booking.life.appointment.unwrap();
    let time = |at: DateTime<Utc>| (at + shift).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    with(with(hit(NUMBER, &key()), "Starts", time(window.start)), "Due", time(window.end))
}

#[tokio::test]
async fn an_agreed_time_is_set_and_read_back() {
    let booking = agreed();
    let order = order_of(&booking, Operation::Update);
    let before = examples::full();
    let name = "booking-x.1.json";
    let moved = ok(json!(["Starts changed"]));
    let start = [ok(hit(NUMBER, &key())), file(name), attachment(&before)];
    let right = ok(arranged(&booking, TimeDelta::zero()));
    let wrong = ok(hit(NUMBER, &key()));
    let stale = answer("412 Precondition Failed", "{}");
    let unwell = answer("502 Bad", "");
    let table: [(&str, Vec<String>, &str); 4] = [
        ("set", vec![moved.clone(), right, commented()], "Done"),
        ("not taken, with status 200", vec![moved, wrong], "Rejected"),
        ("somebody was quicker", vec![stale], "NotDelivered"),
        ("no comment was made yet", vec![unwell], "NotDelivered"),
    ];
    for (name, rest, expected) in table {
        let vendor = Vendor::new(&[&start[..], &rest].concat()).await;
        let outcome = send(&vendor.config, &order, &link(), now()).await;
        assert!(format!("{outcome:?}").starts_with(expected), "{name}: {outcome:?}");
        assert_eq!(
            vendor.asked()[..4],
            ["GET ticket/7", "GET ticket/7/attachments", "GET attachment/31", "PUT ticket/7"]
        );
        assert!(vendor.head(3).contains("\r\nif-match: \"53\""), "{}", vendor.head(3));
        assert_eq!(vendor.sent(3), order::moved(Some(booking.wanted[1]), None));
    }
}

#[tokio::test]
async fn what_the_vendor_moved_is_left_alone() {
    let booking = agreed();
    let order = order_of(&booking, Operation::Update);
    let ticket = ok(arranged(&booking, TimeDelta::hours(3)));
    let vendor = Vendor::new(&[ticket, file("booking-x.1.json"), attachment(&booking), commented()]).await;
    assert_eq!(send(&vendor.config, &order, &link(), now()).await, done(NUMBER));
    assert_eq!(vendor.asked()[3], "POST ticket/7/comment");
    // As it is to be: nothing else is looked at.
    let vendor = Vendor::new(&[ok(arranged(&booking, TimeDelta::zero())), commented()]).await;
    assert_eq!(send(&vendor.config, &order, &link(), now()).await, done(NUMBER));
    assert_eq!(vendor.asked(), ["GET ticket/7", "POST ticket/7/comment"]);
}

#[tokio::test]
async fn what_is_asked_for_again_is_asked_for_by_the_ticket_too() {
    let asked = |decisions| {
        let mut booking = Booking { state: State::Requested, ..examples::full() };
        (booking.life.appointment, booking.life.decisions) = (None, decisions);
        booking
    };
    let (before, again) = (asked(1), asked(2));
    let [first, agreed] = [again.wanted[0], again.wanted[1]];
    let mut confirmed = asked(2);
    (confirmed.life.appointment, confirmed.state) = (Some(agreed), State::Confirmed);
    let new = "new".to_owned();
    let both = |window| Some(order::moved(Some(window), Some(&new)));
    // Where the ticket stands, what our last order said, what this one says, and what is changed by it.
    let table: [(&str, &Booking, &Booking, Option<Value>); 8] = [
        ("rejected", &before, &again, both(first)),
        ("resolved", &before, &again, both(first)),
        ("open", &before, &again, both(first)),
        ("new", &before, &again, Some(order::moved(Some(first), None))),
        ("rejected", &again, &again, None),
        ("open", &again, &again, None),
        // What the school agreed to is what the vendor has confirmed.
        ("open", &before, &confirmed, Some(order::moved(Some(agreed), None))),
        ("rejected", &before, &confirmed, both(agreed)),
    ];
    for (status, last, next, expected) in table {
        let ticket = with(hit(NUMBER, &key()), "Status", status);
        let start = [ok(ticket.clone()), file("booking-x.1.json"), attachment(last)];
        let window = next.life.appointment.unwrap_or(first);
        let is_set = expected.as_ref().is_some_and(|change| change["Status"] == "new");
        let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let timed = with(with(ticket, "Starts", time(window.start)), "Due", time(window.end));
        let changed = if is_set { with(timed, "Status", "new") } else { timed };
        let rest = [ok(json!(["changed"])), ok(changed), commented()];
        let skipped = if expected.is_some() { 0 } else { 2 };
        let vendor = Vendor::new(&[&start[..], &rest[skipped..]].concat()).await;
        let outcome = send(&vendor.config, &order_of(next, Operation::Update), &link(), now()).await;
        assert_eq!(outcome, done(NUMBER), "{status} {expected:?}");
        assert_eq!(expected.as_ref().map(|_| vendor.sent(3)), expected, "{status}");
        assert_eq!(vendor.asked().len(), 6 - skipped, "{status}");
    }
    // A status that the queue does not have.
    let ticket = with(hit(NUMBER, &key()), "Status", "rejected");
    let start = [ok(ticket.clone()), file("booking-x.1.json"), attachment(&before)];
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let timed = with(with(ticket, "Starts", time(first.start)), "Due", time(first.end));
    let vendor = Vendor::new(&[&start[..], &[ok(json!(["no such status"])), ok(timed)]].concat()).await;
    let outcome = send(&vendor.config, &order_of(&again, Operation::Update), &link(), now()).await;
    assert!(detail!(outcome, Rejected).contains("the status `asked` (no such status)"));
}

#[tokio::test]
async fn a_cancellation_rejects_what_nobody_began() {
    let rejected = ok(json!(["Status changed"]));
    let (vendor, outcome) = sent(Operation::Cancel, &[ok(hit(NUMBER, &key())), rejected, commented()]).await;
    assert_eq!(outcome, done(NUMBER));
    assert_eq!(vendor.asked(), ["GET ticket/7", "PUT ticket/7", "POST ticket/7/comment"]);
    assert_eq!(vendor.sent(1), json!({ "Status": "rejected" }));
    assert!(vendor.head(1).contains("\r\nif-match: \"53\""));
    for status in ["open", "resolved", "rejected"] {
        let ticket = ok(with(hit(NUMBER, &key()), "Status", status));
        let (vendor, outcome) = sent(Operation::Cancel, &[ticket, commented()]).await;
        assert_eq!((outcome, vendor.asked().len()), (done(NUMBER), 2), "{status}");
    }
}

#[tokio::test]
async fn a_ticket_that_is_gone_needs_no_cancelling_and_takes_no_update() {
    let gone = || answer("404 Not Found", r#"{"message":"Not Found"}"#);
    let deleted = ok(with(hit(NUMBER, &key()), "Status", "deleted"));
    for answer in [gone(), deleted] {
        assert_eq!(sent(Operation::Cancel, std::slice::from_ref(&answer)).await.1, done(NUMBER));
        assert!(detail!(sent(Operation::Update, &[answer]).await.1, Rejected).contains("deleted"));
    }
    // Moved out of sight, and not all out of sight.
    let forbidden = || answer("403 Forbidden", r#"{"message":"Forbidden"}"#);
    let (_, outcome) = sent(Operation::Update, &[forbidden(), page(&[mark()])]).await;
    assert!(detail!(outcome, Rejected).contains("ticket 7 was moved"));
    let (_, outcome) = sent(Operation::Update, &[forbidden(), forbidden()]).await;
    assert!(matches!(outcome, Outcome::LockedOut { .. }), "{outcome:?}");
    // Another's page is not RT.
    let (_, outcome) = sent(Operation::Cancel, &[answer("404 Not Found", "<html>")]).await;
    assert!(detail!(outcome, NotDelivered).contains("check url"));
}

#[tokio::test]
async fn a_comment_is_found_by_the_name_of_its_file() {
    let name = format!("booking-{}.json", order(Operation::Update).op_key);
    let (_, outcome) = probed(Operation::Update, &[ok(hit(NUMBER, &key())), file(&name)]).await;
    assert_eq!(outcome, done(NUMBER));
    let other = file(&name.replace(".2.", ".22."));
    let missed = [ok(hit(NUMBER, &key())), other, page(&[mark()])];
    let seen = [&missed[..], &[file("bellwether-mark.txt")]].concat();
    let (vendor, outcome) = probed(Operation::Update, &seen).await;
    assert!(detail!(outcome, Missing).contains(".2"));
    assert_eq!(vendor.asked()[3], "GET ticket/1/attachments");
    // Comments may be there that we may not see.
    let unseen = [&missed[..], &[file("")]].concat();
    let (_, outcome) = probed(Operation::Update, &unseen).await;
    assert!(detail!(outcome, Ambiguous).contains("not seen"));
    let (_, outcome) = probed(Operation::Cancel, &[&missed[..2], &[page(&[])]].concat()).await;
    assert!(detail!(outcome, Ambiguous).contains("its own mark"));
}

#[tokio::test]
async fn a_ticket_is_read_back() {
    let booking = agreed();
    let ticket = with(arranged(&booking, TimeDelta::zero()), "Status", "open");
    let vendor = Vendor::new(&[ok(ticket.clone())]).await;
    let remote = read(&vendor.config, &key(), &link(), now()).await.unwrap();
    assert_eq!((remote.standing, remote.window), (Standing::Confirmed, booking.life.appointment));
    assert_eq!((remote.remote_id.as_deref(), remote.note), (Some("7"), None));

    let history = json!({ "items": [{ "id": "9", "Type": "Status" }, { "id": "8", "Type": "Correspond" }] });
    let part = json!({ "id": "5", "ContentType": "text/plain", "Filename": "", "Content": "At nine.\nBye" });
    let answers =
        [ok(with(ticket, "LastUpdatedBy", json!({ "id": "desk" }))), ok(history), ok(json!({ "items": [part] }))];
    let vendor = Vendor::new(&answers).await;
    let remote = read(&vendor.config, &key(), &link(), now()).await.unwrap();
    assert_eq!(remote.note.as_deref(), Some("At nine."));
    assert_eq!(vendor.asked()[2], "GET transaction/8/attachments");

    let vendor = Vendor::new(&[answer("404 Not Found", r#"{"message":"Not Found"}"#)]).await;
    let remote = read(&vendor.config, &key(), &link(), now()).await.unwrap();
    assert_eq!(remote.standing, Standing::Missing);
    // That nothing is found means nothing.
    let vendor = Vendor::new(&[page(&[])]).await;
    assert!(read(&vendor.config, &key(), &Link::default(), now()).await.is_err());
}

#[tokio::test]
async fn open_tickets_of_a_room_are_listed_with_their_bookings() {
    let booking = examples::full();
    let other_room = with(hit(8, "bw1-other"), "CustomFields", json!([{ "name": "BW.Room", "values": ["j3"] }]));
    let by_hand = hit(9, "");
    let found = page(&[mark(), hit(NUMBER, &key()), other_room, by_hand, hit(10, &key())]);
    let vendor = Vendor::new(&[found, file("booking-x.1.json"), attachment(&booking)]).await;
    let listed = list(&vendor.config, "j3-302", now()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key, listed[0].remote.remote_id.as_deref()), (&key(), Some("7")));
    assert_eq!(listed[0].booking.as_ref(), Some(&booking));
    vendor.asked();

    // A booking that cannot be read is a booking all the same.
    let spoilt = ok(json!({ "id": 31, "Content": "!" }));
    let vendor = Vendor::new(&[page(&[mark(), hit(NUMBER, &key())]), file("booking-x.1.json"), spoilt]).await;
    assert_eq!(list(&vendor.config, "j3-302", now()).await.unwrap()[0].booking, None);

    let vendor = Vendor::new(&[page(&[hit(NUMBER, &key())])]).await;
    assert!(list(&vendor.config, "j3-302", now()).await.unwrap_err().contains("its own mark"));
    assert!(list(&vendor.config, "CF.{BW.Key}", now()).await.is_err());
}

#[tokio::test]
async fn a_token_is_read_anew_and_never_shown() {
    let vendor = Vendor::new(&[]).await;
    assert!(!format!("{:?}", vendor.config).contains("s3cret"));
    fs::remove_file(&vendor.config.token_file).unwrap();
    let outcome = send(&vendor.config, &order(Operation::Open), &Link::default(), now()).await;
    assert!(detail!(outcome, NotDelivered).contains("cannot read"));
    assert!(check(&vendor.config, now()).await[0].wrong.as_ref().unwrap().contains("cannot read"));
}

#[test]
fn a_config_is_checked_with_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    fs::write(&token_file, "1-14-s3cret\n").unwrap();
    fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).unwrap();
    let config = json!({ "url": "https://rt.vendor.example", "token_file": token_file, "queue": "AV" });
    let of = |key: &str, value: Value| {
        let config: Config = serde_json::from_value(with(config.clone(), key, value)).unwrap();
        config.check().iter().map(|found| format!("{}: {}", found.key, found.message)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(of("queue", json!("教室 维护")), "");
    let table = [
        ("url", json!("ftp://v.example"), "url: found ftp:"),
        ("token_file", json!("/nowhere"), "token_file: cannot read"),
        ("queue", json!("A'V"), "queue: found \"A'V\""),
        ("key_field", json!("BW}"), "key_field: found \"BW}\""),
        ("room_field", json!("BW.Key"), "room_field: found the key_field"),
        ("asked", json!("open"), "asked: found \"open\""),
        ("confirmed", json!([]), "confirmed: found an empty list"),
        ("refused", json!(["open"]), "refused: found \"open\""),
        ("max_server_time", json!("2 h"), "max_server_time: expected"),
    ];
    for (key, value, expected) in table {
        let found = of(key, value);
        assert!(found.starts_with(expected) && !found.contains("; "), "{found}");
    }
    let config: Config = serde_json::from_value(config).unwrap();
    assert_eq!(config.doubt(), Doubt { class: Class::Searchable, settles_within: Duration::from_secs(90) });
}
