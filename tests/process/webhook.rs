//! Vendors whose receivers are slow, broken or strange: the order is kept, repeated unchanged, and
//! delivered once they are well.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use crate::{
    daemon::{Daemon, Home, NO_CALL, ROOM, SCHOOL, SOON, impossible},
    http::{Receiver, Reply, Request},
};

/// `[channel.vendor]` at this address, with a secret of its own.
pub(crate) fn channel(home: &Home, address: &str, more: &str) -> String {
    let secret = home.path().join("secret");
    fs::write(&secret, "whsec_c2VjcmV0IG9mIHRoZSBwcm9jZXNzIHRlc3Q=\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("our own file");
    let secret = secret.display();
    format!(
        "[channel.vendor]\nkind = \"webhook\"\nurl = \"http://{address}/bookings\"\nsecret_file = \"{secret}\"\n{more}\n"
    )
}

fn home(receiver: &Receiver, more: &str) -> Home {
    let home = Home::new("");
    let webhook = channel(&home, &receiver.address, more);
    home.configure(&format!("{NO_CALL}{SCHOOL}{ROOM}{webhook}{}", impossible("cpu_utilization")));
    home
}

fn wait_for_delivery(daemon: &Daemon) {
    daemon.wait_for_metric("bellwether_orders{channel=\"vendor\",state=\"done\"}", 1.0, SOON);
}

/// One order, and each try of it the same.
fn assert_same(requests: &[Request]) {
    let key = requests[0].header("idempotency-key").expect("a key");
    assert!(key.starts_with("\"bw1-") && key.ends_with(".2\"") || key.ends_with(".1\""), "{key}");
    for request in requests {
        assert_eq!(request.header("idempotency-key"), Some(key));
        assert_eq!(request.header("webhook-id"), Some(key.trim_matches('"')));
        assert!(request.header("webhook-signature").is_some_and(|signature| signature.starts_with("v1,")));
        assert_eq!(request.body, requests[0].body);
    }
    let event: serde_json::Value = serde_json::from_str(&requests[0].body).expect("JSON");
    assert_eq!(event["id"], key.trim_matches('"'));
}

/// The first try meets `reply`, of which the log says `says`; the second one is delivered.
fn survives(reply: Reply, says: &str, more: &str) {
    let receiver = Receiver::start(vec![reply]);
    let home = home(&receiver, more);
    let daemon = home.start();
    receiver.wait_for(1, SOON);
    daemon.wait_for_line(says, SOON);
    wait_for_delivery(&daemon);
    daemon.stop();
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_same(&requests);
    assert_eq!(home.bookings().len(), 1);
}

#[test]
fn a_receiver_that_fails_is_asked_again() {
    survives(Reply::status("500 Internal Server Error"), "perhaps delivered", "");
}

#[test]
fn a_receiver_that_speaks_no_http_is_asked_again() {
    survives(Reply::Bytes(b"\x00\xff\x16\x03 this is not HTTP\r\n\r\n".to_vec()), "perhaps delivered", "");
}

#[test]
fn a_receiver_that_closes_amid_its_answer_is_asked_again() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    survives(Reply::Bytes(half), "perhaps delivered", "");
}

#[test]
fn a_receiver_that_closes_without_an_answer_is_asked_again() {
    survives(Reply::Bytes(Vec::new()), "perhaps delivered", "");
}

#[test]
fn a_receiver_that_never_answers_is_asked_again() {
    survives(Reply::Never, "perhaps delivered", "timeout = \"1 s\"");
}

#[test]
fn a_redirect_is_not_followed_and_the_order_is_kept() {
    let elsewhere = Receiver::start(Vec::new());
    let redirect = format!("307 Temporary Redirect\r\nlocation: http://{}/bookings", elsewhere.address);
    survives(Reply::status(&redirect), "not delivered", "");
    assert_eq!(elsewhere.requests(), []);
}

#[test]
fn a_slow_receiver_is_asked_once() {
    let receiver = Receiver::start(vec![Reply::Late(Duration::from_secs(3))]);
    let home = home(&receiver, "");
    let daemon = home.start();
    wait_for_delivery(&daemon);
    daemon.stop();
    assert_eq!(receiver.requests().len(), 1);
    assert_same(&receiver.requests());
}

#[test]
fn a_slow_receiver_holds_up_neither_the_folder_nor_the_page() {
    let receiver = Receiver::start(vec![Reply::Never]);
    let home = home(&receiver, "timeout = \"60 s\"");
    let daemon = home.start();
    receiver.wait_for(1, SOON);
    daemon.wait_for_metric("bellwether_orders{channel=\"folder\",state=\"done\"}", 1.0, SOON);
    assert_eq!(daemon.metric("bellwether_orders{channel=\"vendor\",state=\"inflight\"}"), Some(1.0));
    daemon.stops_in_time(libc::SIGTERM);
    // Cut short, it may have arrived: it is repeated with the same key.
    let daemon = home.start();
    receiver.wait_for(2, SOON);
    wait_for_delivery(&daemon);
    daemon.stop();
    assert_same(&receiver.requests());
}

#[test]
fn an_order_that_is_refused_is_not_repeated() {
    let receiver = Receiver::start(vec![Reply::status("422 Unprocessable Content")]);
    let home = home(&receiver, "");
    let daemon = home.start();
    daemon.wait_for_metric("bellwether_orders{channel=\"vendor\",state=\"dead\"}", 1.0, SOON);
    daemon.stop();
    let daemon = home.start();
    daemon.wait_for_runs("box", 1.0, SOON);
    daemon.stop();
    assert_eq!(receiver.requests().len(), 1);
}
