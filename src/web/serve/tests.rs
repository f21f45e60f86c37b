#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, net::SocketAddr, path::Path};

use axum::{middleware, routing::get};
use bellwether_agent::export::Reload;
use chrono::DateTime;
use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::web::{access::Access, guard, peers::MOST_CONNECTIONS};

/// How long anything is waited for that should happen at once.
const SOON: Duration = Duration::from_secs(20);

struct Serving {
    address: SocketAddr,
    guard: Arc<Guard>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Serves `/`, and `/slow`, which takes long.
async fn serving(file: Option<&Path>) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let access = Arc::new(file.map(|file| Access::read(file).unwrap()).unwrap_or_default());
    let clock = Box::new(|| DateTime::UNIX_EPOCH);
    let guard = Arc::new(Guard::new(file.map(Path::to_owned), access, address, clock).unwrap());
    let slow = async || {
        sleep(Duration::from_millis(300)).await;
        "slow"
    };
    let router = Router::new()
        .route("/", get(|| async { "page" }))
        .route("/slow", get(slow))
        .layer(middleware::from_fn_with_state(Arc::clone(&guard), guard::check));
    let (stop, stopped) = watch::channel(false);
    let shared = Shared { router, guard: Arc::clone(&guard), connections: Connections::default(), stopped };
    Serving { address, guard, stop, task: tokio::spawn(serve(listener, shared)) }
}

/// Sends a text and reads until the end of the connection.
async fn asks(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may have been closed already.
    let _sent = stream.write_all(text.as_bytes()).await;
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends it as well.
    let _end = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn request(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n")
}

#[tokio::test]
async fn a_page_is_served_and_nothing_is_written() {
    let serving = serving(None).await;
    assert!(asks(serving.address, &request("/", "")).await.ends_with("\r\n\r\npage"));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let text = format!("{method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc");
        let answer = asks(serving.address, &text).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
    }
    assert_eq!(serving.guard.reload(), None::<Reload>);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let serving = serving(None).await;
    let long = asks(serving.address, &request("/", &format!("a: {}\r\n", "x".repeat(20 << 10)))).await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    let many = asks(serving.address, &request("/", &"a: b\r\n".repeat(MOST_HEADERS))).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
}

#[tokio::test]
async fn nothing_is_reached_without_a_password_and_each_answer_has_the_headers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    let hash = bcrypt::hash("s3cret", 4).unwrap();
    let headers = "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    fs::write(&file, format!("basic_auth_users: {{alice: {hash}}}\n{headers}")).unwrap();
    let serving = serving(Some(&file)).await;
    // alice:s3cret, and alice:secret
    let (right, wrong) = ("Basic YWxpY2U6czNjcmV0", "Basic YWxpY2U6c2VjcmV0");
    for (path, shown, status) in [
        ("/", Some(right), "200"),
        ("/", Some(wrong), "401"),
        ("/", None, "401"),
        ("/nowhere", None, "401"),
        ("/nowhere", Some(right), "404"),
        ("/", Some(right), "200"),
    ] {
        let more = shown.map(|shown| format!("Authorization: {shown}\r\n")).unwrap_or_default();
        let answer = asks(serving.address, &request(path, &more)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {shown:?}: {answer}");
        assert!(answer.contains("x-frame-options: deny"), "{answer}");
        assert_eq!(answer.contains("www-authenticate: Basic realm="), status == "401", "{answer}");
    }
}

#[tokio::test]
async fn more_requests_than_the_limit_are_put_off() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    fs::write(&file, "rate_limit: {interval: 1h, burst: 2}\n").unwrap();
    let serving = serving(Some(&file)).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(asks(serving.address, &request("/", "")).await[9..12].to_owned());
    }
    assert_eq!(statuses, ["200", "200", "429"]);
}

#[tokio::test]
async fn plain_http_gets_a_word_where_tls_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = folder.path().join("web.yml");
    fs::write(folder.path().join("crt"), own.cert.pem()).unwrap();
    fs::write(folder.path().join("key"), own.signing_key.serialize_pem()).unwrap();
    fs::write(&file, "tls_server_config: {cert_file: crt, key_file: key}\n").unwrap();
    let serving = serving(Some(&file)).await;
    let answer = asks(serving.address, &request("/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("expected https, found http\n"), "{answer}");
    assert_eq!(asks(serving.address, &"\0".repeat(64)).await.find("page"), None);
}

#[tokio::test]
async fn however_many_hang_there_is_room_for_one_more() {
    let serving = serving(None).await;
    let mut idle = TcpStream::connect(serving.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let mut hanging = Vec::new();
    for _ in 0..MOST_CONNECTIONS + 50 {
        let mut stream = TcpStream::connect(serving.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\na").await.unwrap();
        hanging.push(stream);
        if hanging.len() % 50 == 0 {
            let answer = timeout(SOON, asks(serving.address, &request("/", ""))).await.unwrap();
            assert!(answer.ends_with("page"), "{answer}");
        }
    }
    let mut open = 0;
    for stream in &mut hanging {
        open += usize::from(timeout(Duration::from_millis(5), rest(stream)).await.is_err());
    }
    assert!(open < MOST_CONNECTIONS, "{open} are still there");
    // Of those of one address, who is silent in a request goes before who waits for the next.
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut idle).await.ends_with("page"));
}

#[tokio::test]
async fn a_stop_waits_for_what_is_being_answered_and_for_nothing_else() {
    let serving = serving(None).await;
    let mut idle = TcpStream::connect(serving.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut silent = TcpStream::connect(serving.address).await.unwrap();
    let mut half = TcpStream::connect(serving.address).await.unwrap();
    half.write_all(b"GET / HT").await.unwrap();
    let mut asking = TcpStream::connect(serving.address).await.unwrap();
    asking.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    serving.stop.send_replace(true);
    timeout(SOON, serving.task).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "it waited for others");
    assert!(rest(&mut asking).await.ends_with("slow"));
    assert!(rest(&mut idle).await.ends_with("page"));
    assert_eq!(rest(&mut silent).await + &rest(&mut half).await, "");
    assert!(TcpStream::connect(serving.address).await.is_err());
}

#[tokio::test]
async fn a_change_of_the_file_ends_connections_that_were_made_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    fs::write(&file, "").unwrap();
    let serving = serving(Some(&file)).await;
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    fs::write(&file, format!("basic_auth_users: {{alice: {}}}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    serving.guard.take(Some(file.clone()), Arc::new(Access::read(&file).unwrap()));
    assert!(rest(&mut stream).await.ends_with("page"));
    assert!(asks(serving.address, &request("/", "")).await.starts_with("HTTP/1.1 401 "));
}
