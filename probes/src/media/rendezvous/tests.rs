#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::secret::Secret;

mod notes;

/// What a server does once it has answered.
#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    /// Keeps the connection open in silence.
    Hold,
    /// Sends this again and again.
    Repeat(&'static [u8]),
}

/// A server that answers a POST with `answer` and everything else with 200. It notes what it was
/// asked, as `METHOD PATH`, with the token.
struct Canned {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    async fn new(answer: &str, then: Then) -> Self {
        Self::after(Duration::ZERO, answer, then, None).await
    }

    async fn after(pause: Duration, answer: &str, then: Then, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answer, noted) = (answer.replace('\n', "\r\n"), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, noted, tls) = (answer.clone(), Arc::clone(&noted), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &noted, pause, &answer, then).await,
                        Some(tls) => serve(tls.accept(stream).await?, &noted, pause, &answer, then).await,
                    }
                });
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    asked: &Mutex<Vec<String>>,
    pause: Duration,
    answer: &str,
    then: Then,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let length = header("content-length: ").map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await?;
    let request = head.rsplit_once(" HTTP/1.1\r\n").map_or_else(|| head.split(" HTTP").next().unwrap(), |(it, _)| it);
    let request = request.lines().next().unwrap().to_owned();
    let token = header("authorization: ").unwrap_or_default();
    let is_post = request.starts_with("POST");
    asked.lock().unwrap().push(format!("{request} {token}").trim().to_owned());
    if !is_post {
        return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    }
    tokio::time::sleep(pause).await;
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    match then {
        Then::Close => stream.shutdown().await,
        Then::Hold => std::future::pending().await,
        Then::Repeat(bytes) => loop {
            stream.write_all(bytes).await?;
        },
    }
}

/// A way to a far end of kind `reflect`.
async fn way(table: serde_json::Value) -> Rendezvous {
    way_by(None, table).await
}

async fn way_by(interface: Option<&str>, table: serde_json::Value) -> Rendezvous {
    let mut full = json!({"kind": "reflect"});
    full.as_object_mut().unwrap().extend(table.as_object().unwrap().clone());
    let far_end: FarEnd = serde_json::from_value(full).unwrap();
    Rendezvous::new(&far_end, interface, &mut fastrand::Rng::with_seed(1)).await.unwrap()
}

/// Exchanges an offer, and ends what came of it.
async fn exchange(table: serde_json::Value, patience: Duration) -> Result<Described, Failure> {
    let mut way = way(table).await;
    let described = way.exchange(Leg::Both, "v=0\r\n".to_owned(), Instant::now() + patience).await;
    way.teardown().await;
    described
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(400);

#[tokio::test]
async fn every_way_to_misbehave_is_a_failure_that_says_so_in_time_and_ends_what_was_made() {
    let created = "HTTP/1.1 201 Created\nlocation: /made\n";
    let refused = "v=0\ns=-\nm=audio 0 UDP/TLS/RTP/SAVPF 111\n";
    let with = |body: &str| format!("{created}content-length: {}\n\n{body}", body.replace('\n', "\r\n").len());
    for (what, answer, then, patience, reason, detail, made) in [
        ("silence", String::new(), Then::Hold, SHORT, Reason::Signalling, "no answer in time", false),
        ("slow head", "HTTP/1.1 201 Cr".to_owned(), Then::Hold, SHORT, Reason::Signalling, "no answer in time", false),
        (
            "endless head",
            "HTTP/1.1 200 OK\n".to_owned(),
            Then::Repeat(b"x: y\r\n"),
            LONG,
            Reason::Signalling,
            "",
            false,
        ),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\n\n".to_owned(), Then::Hold, LONG, Reason::Signalling, "", false),
        ("an end", String::new(), Then::Close, LONG, Reason::Signalling, "", false),
        (
            "slow body",
            format!("{created}content-length: 9\n\nv=0"),
            Then::Hold,
            SHORT,
            Reason::Signalling,
            "did not end in time",
            true,
        ),
        (
            "endless body",
            format!("{created}\nv=0\n"),
            Then::Repeat(&[b'x'; 4096]),
            LONG,
            Reason::Signalling,
            "longer than 256 KiB",
            true,
        ),
        (
            "no text",
            format!("{created}content-length: 1\n\n\u{1}"),
            Then::Close,
            LONG,
            Reason::Signalling,
            "no session description",
            true,
        ),
        ("a page", with("<html>"), Then::Close, LONG, Reason::Signalling, "no session description", true),
        ("no codec", with(refused), Then::Close, LONG, Reason::Signalling, "Opus was refused", true),
        (
            "401",
            "HTTP/1.1 401 No\n\n".to_owned(),
            Then::Close,
            LONG,
            Reason::Signalling,
            "status 401 Unauthorized, expected 201",
            false,
        ),
        ("503", "HTTP/1.1 503 No\n\n".to_owned(), Then::Close, LONG, Reason::Signalling, "status 503", false),
        (
            "200",
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n".to_owned(),
            Then::Close,
            LONG,
            Reason::Signalling,
            "status 200 OK",
            false,
        ),
        ("406", "HTTP/1.1 406 No\n\n".to_owned(), Then::Close, LONG, Reason::Signalling, "status 406", false),
        (
            "a loop",
            "HTTP/1.1 307 Go\nlocation: /s3cret\n\n".to_owned(),
            Then::Close,
            LONG,
            Reason::Signalling,
            "more than 3 times",
            false,
        ),
        (
            "nowhere",
            "HTTP/1.1 308 Go\n\n".to_owned(),
            Then::Close,
            LONG,
            Reason::Signalling,
            "without a usable Location",
            false,
        ),
        (
            "a mailbox",
            "HTTP/1.1 308 Go\nlocation: mailto:a@b\n\n".to_owned(),
            Then::Close,
            LONG,
            Reason::Signalling,
            "without a usable",
            false,
        ),
    ] {
        let server = Canned::new(&answer, then).await;
        let failure =
            exchange(json!({"url": format!("{}/s3cret?key=s3cret", server.url)}), patience).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{what}: {failure:?}");
        assert!(failure.detail.contains(detail) && !failure.detail.contains("s3cret"), "{what}: {failure:?}");
        let ended = server.asked().iter().any(|asked| asked == "DELETE /made");
        assert_eq!(ended, made, "{what}: {:?}", server.asked());
    }
}

#[tokio::test]
async fn nobody_there_and_a_name_without_an_address_are_told_apart() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, reason) in [
        (format!("http://{unused}/s3cret"), Reason::Connect),
        ("http://name.invalid/s3cret".to_owned(), Reason::Resolve),
    ] {
        let failure = exchange(json!({"url": url}), LONG).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(failure.detail.starts_with("POST http://") && !failure.detail.contains("s3cret"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_server_is_spoken_to_by_the_interface_of_the_call() {
    let server = Canned::new("HTTP/1.1 503 No\n\n", Then::Close).await;
    for (interface, reason, detail) in
        [("lo", Reason::Signalling, "status 503"), ("no-such-card", Reason::Connect, "No such device")]
    {
        let mut way = way_by(Some(interface), json!({"url": server.url})).await;
        let failure = way.exchange(Leg::Both, String::new(), Instant::now() + LONG).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(failure.detail.contains(detail), "{failure:?}");
    }
    assert_eq!(server.asked(), ["POST /"]);
}

#[tokio::test]
async fn a_relay_by_stream_that_a_server_names_is_of_no_use_to_sockets_of_another_interface() {
    let (urls, username) = (vec!["turn:127.0.0.1?transport=tcp".to_owned()], "user".to_owned());
    let named = Server { urls, username, credential: Secret::new("pass") };
    for (interface, used) in [(None, true), (Some("lo"), true), (Some("eth0"), false)] {
        let mut way = way_by(interface, json!({"url": "http://127.0.0.1/"})).await;
        assert_eq!(way.adopt(vec![named.clone()]).await.unwrap(), used, "{interface:?}");
    }
}

#[tokio::test]
async fn a_token_goes_to_its_own_origin_alone_and_what_is_created_elsewhere_is_ended_there() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let other = Canned::new("HTTP/1.1 201 Created\nlocation: made?x=1\ncontent-length: 0\n\n", Then::Close).await;
    let first = Canned::new(&format!("HTTP/1.1 307 Go\nlocation: {}/a/b\n\n", other.url), Then::Close).await;
    let failure = exchange(json!({"url": format!("{}/whip", first.url), "token_file": token}), LONG).await.unwrap_err();
    assert!(failure.detail.contains("no session description"), "{failure:?}");
    assert_eq!(first.asked(), ["POST /whip Bearer s3cret"]);
    assert_eq!(other.asked(), ["POST /a/b", "DELETE /a/made?x=1"]);

    let home = Canned::new("HTTP/1.1 201 Created\nlocation: /made\ncontent-length: 0\n\n", Then::Close).await;
    exchange(json!({"url": format!("{}/whip", home.url), "token_file": token}), LONG).await.unwrap_err();
    assert_eq!(home.asked(), ["POST /whip Bearer s3cret", "DELETE /made Bearer s3cret"]);
}

#[tokio::test]
async fn an_offer_under_way_when_the_call_ends_is_waited_for_and_ended() {
    let answer = "HTTP/1.1 201 Created\nlocation: /made\ncontent-length: 0\n\n";
    let server = Canned::after(Duration::from_millis(100), answer, Then::Close, None).await;
    let mut way = way(json!({"url": format!("{}/whip", server.url)})).await;
    {
        let exchange = way.exchange(Leg::Both, "v=0\r\n".to_owned(), Instant::now() + LONG);
        tokio::pin!(exchange);
        let asked = async {
            while server.asked().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut exchange => unreachable!("the answer takes a while"),
            () = asked => {}
        }
    }
    way.teardown().await;
    assert_eq!(server.asked(), ["POST /whip", "DELETE /made"]);
}

#[tokio::test]
async fn a_server_needs_a_certificate_that_is_trusted_and_never_sends_us_back_to_plain_http() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap())
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, authority.pem()).unwrap();
    let answer = "HTTP/1.1 307 Go\nlocation: http://127.0.0.1/\n\n";
    let server = Canned::after(Duration::ZERO, answer, Then::Close, Some(tls)).await;
    let failure = exchange(json!({"url": server.url}), LONG).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Tls, "{failure:?}");
    let mut trusting = way(json!({"url": server.url, "ca_file": ca_file})).await;
    let failure = trusting.exchange(Leg::Both, String::new(), Instant::now() + LONG).await.unwrap_err();
    assert!(failure.detail.contains("from https: to http:"), "{failure:?}");
    assert!(!trusting.timing().unwrap().tls.is_zero());
}

/// A Janus server as far as it is needed, with its reply to the message.
async fn janus(event: serde_json::Value) -> (String, Arc<Mutex<Vec<serde_json::Value>>>) {
    use axum::{Json, Router, extract::State, routing::post};
    type Asked = Arc<Mutex<Vec<serde_json::Value>>>;
    let asked = Asked::default();
    let reply = |State(asked): State<Asked>, Json(message): Json<serde_json::Value>| async move {
        let kind = message["janus"].as_str().unwrap().to_owned();
        asked.lock().unwrap().push(message);
        Json(match kind.as_str() {
            "create" => json!({"janus": "success", "data": {"id": 7}}),
            "attach" => json!({"janus": "success", "data": {"id": 9}}),
            "message" => json!({"janus": "ack"}),
            _ => json!({"janus": "success"}),
        })
    };
    let events = Arc::new(Mutex::new(vec![event, json!([{"janus": "webrtcup"}]), json!({"janus": "keepalive"})]));
    let poll = move || async move { Json(events.lock().unwrap().pop().unwrap_or_default()) };
    let router = Router::new()
        .route("/janus", post(reply))
        .route("/janus/7", post(reply).get(poll))
        .route("/janus/7/9", post(reply))
        .with_state(Arc::clone(&asked));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/janus", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test]
async fn a_janus_session_is_opened_asked_and_destroyed_whatever_it_says() {
    for (event, expected) in [
        (json!({"janus": "event", "jsep": {"type": "answer", "sdp": "v=1"}}), "no session description"),
        (json!({"janus": "event", "plugindata": {"data": {"error": "No\nway"}}}), "the echo test refused: Noway"),
        (json!({"janus": "error", "error": {"code": 458, "reason": "No such session"}}), "error 458: No such session"),
        (json!("text"), "not of a Janus server"),
    ] {
        let (url, asked) = janus(event).await;
        let mut way = way(json!({"kind": "janus", "url": url})).await;
        let failure = way.exchange(Leg::Both, "v=0\r\n".to_owned(), Instant::now() + LONG).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Signalling);
        assert!(failure.detail.contains(expected), "{failure:?}");
        way.teardown().await;
        let asked: Vec<String> =
            asked.lock().unwrap().iter().map(|message| message["janus"].as_str().unwrap().to_owned()).collect();
        assert_eq!(asked, ["create", "attach", "message", "destroy"], "{expected}");
    }
}

#[tokio::test]
async fn a_janus_session_is_kept_alive_while_the_call_lasts() {
    let (url, asked) = janus(json!({"janus": "event", "jsep": {"type": "answer", "sdp": "v=1"}})).await;
    let mut way = way(json!({"kind": "janus", "url": url})).await;
    way.exchange(Leg::Both, "v=0\r\n".to_owned(), Instant::now() + LONG).await.unwrap_err();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(26)).await;
    tokio::time::resume();
    while asked.lock().unwrap().last().unwrap()["janus"] != "keepalive" {
        tokio::task::yield_now().await;
    }
    way.teardown().await;
    assert_eq!(asked.lock().unwrap().last().unwrap()["janus"], "destroy");
}
