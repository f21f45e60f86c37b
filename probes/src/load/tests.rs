//! The probe against small real servers on the loopback.

#![expect(clippy::disallowed_methods, reason = "real connections take real time")]

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use rcgen::generate_simple_self_signed;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a server does once it has sent an answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Keeps the connection open in silence.
    Hold,
    /// Sends this again and again.
    Repeat(&'static [u8]),
}

/// Reads a request with its body and answers it.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl FnOnce(&str) -> String,
    then: Then,
) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    request.extend(body);
    let request = String::from_utf8_lossy(&request).into_owned();
    stream.write_all(answer(&request).as_bytes()).await?;
    stream.flush().await?;
    match then {
        Then::Close => stream.shutdown().await?,
        Then::Hold => std::future::pending().await,
        Then::Repeat(bytes) => loop {
            stream.write_all(bytes).await?;
        },
    }
    Ok(request)
}

/// A server that gives these answers, one a connection; its address, and the requests it got.
async fn server(
    answers: impl IntoIterator<Item = String>,
    then: Then,
) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("is bound");
    let answers: Vec<String> = answers.into_iter().collect();
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let stream = listener.accept().await.expect("loopback").0;
            requests.extend(serve(stream, |_| answer, then).await);
        }
        requests
    });
    (format!("http://{address}"), task)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn context(timeout: Duration) -> RunContext {
    RunContext {
        now: Utc::now(),
        timeout,
        worker: "/nonexistent".into(),
        seed: 0xbe11,
        cancel: tokio::sync::watch::channel(false).1,
        progress: None,
        capture: None,
        longest: None,
        accepted: None,
    }
}

const LONG: Duration = Duration::from_secs(30);

fn probe(table: serde_json::Value) -> Probe {
    let config: Config = serde_json::from_value(table).expect("a config");
    assert_eq!(config.check(), []);
    Probe::new("service", config)
}

fn value(run: &ProbeRun, metric: Metric) -> Option<f64> {
    run.readings.iter().find(|reading| reading.metric == metric).map(|reading| reading.value)
}

fn failed(run: &ProbeRun) -> Option<Reason> {
    run.failure.as_ref().map(|failure| failure.reason)
}

fn absent(run: &ProbeRun) -> Vec<(Reason, &str)> {
    run.absent.iter().map(|failure| (failure.reason, &*failure.detail)).collect()
}

/// Of an exporter: users, and seconds, bytes and memory of its box.
fn page(users: &str, seconds: f64, bytes: f64) -> String {
    format!(
        "# TYPE janus_sessions gauge\n\
         janus_sessions{{plugin=\"videoroom\",room=\"1\"}} {users}\n\
         janus_sessions{{plugin=\"videoroom\",room=\"2\"}} 3\n\
         janus_sessions{{plugin=\"echotest\",room=\"1\"}} 100\n\
         node_cpu_seconds_total{{cpu=\"0\",mode=\"idle\"}} {seconds}\n\
         node_cpu_seconds_total{{cpu=\"0\",mode=\"user\"}} {seconds}\n\
         node_memory_MemTotal_bytes 4e9\n\
         node_memory_MemAvailable_bytes 3e9\n\
         node_network_receive_bytes_total{{device=\"eth0\"}} {bytes}\n\
         node_network_transmit_bytes_total{{device=\"eth0\"}} {bytes}\n"
    )
}

#[tokio::test]
async fn users_of_an_exporter_are_the_sum_of_the_series_that_are_meant() {
    let (url, requests) = server([ok(&page("4", 1.0, 1.0))], Then::Close).await;
    let url = format!("{url}/metrics?a=1");
    let users = r#"janus_sessions{plugin="videoroom"}"#;
    let run = probe(json!({"source": "prometheus", "url": url, "users": users})).run(&context(LONG)).await;
    assert_eq!((run.failure.as_ref(), run.absent.len(), run.readings.len()), (None, 0, 1));
    assert_eq!(value(&run, Metric::ServiceUsers), Some(7.0));
    let request = requests.await.expect("no panic").remove(0);
    assert!(request.starts_with("GET /metrics?a=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\naccept: text/plain;version=0.0.4,"), "{request}");
}

#[tokio::test]
async fn a_sum_that_is_no_count_is_absent_and_so_are_series_that_are_not_there() {
    for (users, at, detail) in [
        ("NaN", "janus_sessions", "service_users: found NaN, expected a number of 0 or more"),
        ("+Inf", "janus_sessions", "service_users: found inf, expected a number of 0 or more"),
        ("-200", "janus_sessions", "service_users: found -97, expected a number of 0 or more"),
        ("1", "janus_rooms", "service_users: found no series janus_rooms"),
    ] {
        let (url, _) = server([ok(&page(users, 1.0, 1.0))], Then::Close).await;
        let run = probe(json!({"source": "prometheus", "url": url, "users": at})).run(&context(LONG)).await;
        assert_eq!((absent(&run), failed(&run)), (vec![(Reason::Parse, detail)], Some(Reason::Parse)), "{users}");
    }
}

#[tokio::test]
async fn the_second_scrape_has_rates_and_a_restart_of_the_server_costs_one() {
    let pages = [page("4", 100.0, 1e6), page("4", 103.0, 4e6), page("4", 2.0, 5.0), page("4", 4.0, 5.0)];
    let (url, _) = server(pages.map(|page| ok(&page)), Then::Close).await;
    let mut probe = probe(json!({"source": "prometheus", "url": url, "host": true}));
    let cpu = |run: &ProbeRun| value(run, Metric::ServiceCpuUtilization);
    let few = |run: &ProbeRun| run.absent.iter().filter(|failure| failure.reason == Reason::FewSamples).count();
    let first = probe.run(&context(LONG)).await;
    assert_eq!((first.failure.as_ref(), cpu(&first), few(&first)), (None, None, 3));
    assert_eq!(value(&first, Metric::ServiceMemoryUtilization), Some(0.25));
    let pause = || tokio::time::sleep(Duration::from_millis(1100));
    pause().await;
    let second = probe.run(&context(LONG)).await;
    assert_eq!((cpu(&second), second.absent.len()), (Some(0.5), 0), "{:?}", second.absent);
    // At most what came, over the second that passed at least.
    let received = value(&second, Metric::ServiceNetworkReceive).expect("a rate");
    assert!(received > 0.0 && received < 3e6, "{received}");
    assert_eq!(value(&second, Metric::ServiceNetworkTransmit), Some(received));
    pause().await;
    let restarted = probe.run(&context(LONG)).await;
    assert_eq!((cpu(&restarted), few(&restarted)), (None, 3));
    pause().await;
    assert_eq!(cpu(&probe.run(&context(LONG)).await), Some(0.5));
}

#[tokio::test]
async fn rates_over_a_time_that_two_clocks_see_differently_are_none() {
    let (url, _) = server([page("4", 1.0, 1.0), page("4", 9.0, 9.0)].map(|page| ok(&page)), Then::Close).await;
    let mut probe = probe(json!({"source": "prometheus", "url": url, "host": true}));
    probe.run(&context(LONG)).await;
    let later = RunContext { now: Utc::now() + chrono::TimeDelta::hours(1), ..context(LONG) };
    let run = probe.run(&later).await;
    let reasons: Vec<Reason> = run.absent.iter().map(|failure| failure.reason).collect();
    assert_eq!((failed(&run), reasons), (None, vec![Reason::ClockStep; 3]));
    assert!(together(600.0, 606.0).is_ok() && together(60.0, 62.0).is_err() && together(60.0, 58.0).is_err());
}

#[tokio::test]
async fn a_document_gives_the_values_that_it_has() {
    let document = json!({"users": [1, 2, 3], "cpu": 37.5, "memory": 1.5, "in": 800, "out": -1});
    let (url, requests) = server([ok(&document.to_string())], Then::Close).await;
    let config = json!({
        "source": "json", "url": url, "users": "/users", "cpu": {"at": "/cpu", "times": 0.01}, "memory": "/memory",
        "network_receive": {"at": "/in", "times": 125}, "network_transmit": "/out",
    });
    let run = probe(config).run(&context(LONG)).await;
    let found: Vec<(Metric, f64)> = run.readings.iter().map(|reading| (reading.metric, reading.value)).collect();
    let expected =
        [(Metric::ServiceUsers, 3.0), (Metric::ServiceCpuUtilization, 0.375), (Metric::ServiceNetworkReceive, 1e5)];
    assert_eq!((run.failure.as_ref(), found), (None, expected.to_vec()));
    let expected = [
        (Reason::Parse, "service_memory_utilization: found 1.5, expected a share from 0 to 1 (of 100: times = 0.01)"),
        (Reason::Parse, "service_network_transmit: found -1, expected a number of 0 or more"),
    ];
    assert_eq!(absent(&run), expected);
    assert!(requests.await.expect("no panic")[0].contains("\r\naccept: application/json\r\n"));
}

#[tokio::test]
async fn janus_is_asked_for_its_sessions_with_the_secret_that_nothing_repeats() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cret\n").expect("is writable");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("is ours");
    let listed = json!({"janus": "success", "transaction": "bellwether-be11", "sessions": [11, 12]});
    let refused = json!({"janus": "error", "error": {"code": 403, "reason": "Unauthorized s3cret"}});
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /other/admin\r\nContent-Length: 0\r\n\r\n".to_owned();
    let (url, requests) = server([moved, ok(&listed.to_string()), ok(&refused.to_string())], Then::Close).await;
    let mut probe = probe(json!({"source": "janus", "url": format!("{url}/admin"), "admin_secret_file": file}));
    let run = probe.run(&context(LONG)).await;
    assert_eq!((run.failure.as_ref(), value(&run, Metric::ServiceUsers)), (None, Some(2.0)));
    let run = probe.run(&context(LONG)).await;
    assert_eq!((failed(&run), value(&run, Metric::ServiceUsers)), (Some(Reason::NotPermitted), None));
    let shown = format!("{run:?} {probe:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let requests = requests.await.expect("no panic");
    for (request, path) in requests.iter().zip(["/admin", "/other/admin", "/admin"]) {
        assert!(request.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((&body["janus"], &body["admin_secret"]), (&json!("list_sessions"), &json!("s3cret")));
    }
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(failed(&probe.run(&context(LONG)).await), Some(Reason::Source));
}

#[tokio::test]
async fn redirects_end_and_stay_with_the_server() {
    let moved = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    for (answers, expected) in [
        (vec![moved("/a"), moved("b"), ok("[1]")], None),
        (vec![moved("/a"); 4], Some("redirected more than 3 times")),
        (vec![moved("http://192.0.2.1/")], Some("redirected to another server, which is not followed")),
        (vec![moved("http://")], Some("redirected without a usable Location")),
    ] {
        let (url, _) = server(answers, Then::Close).await;
        let run = probe(json!({"source": "json", "url": url, "users": "/0"})).run(&context(LONG)).await;
        assert_eq!(run.failure.as_ref().map(|failure| &*failure.detail), expected);
        assert!(run.failure.is_none_or(|failure| failure.reason == Reason::Source));
    }
}

#[tokio::test]
async fn whatever_a_server_does_is_a_typed_failure_in_time() {
    let short = Duration::from_millis(400);
    let long = "x".repeat(1000);
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let chunk: &[u8] = Box::leak(format!("3e8\r\n{long}\r\n").into_bytes().into_boxed_slice());
    let status = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    for (what, answer, then, timeout, expected) in [
        ("silence", String::new(), Then::Hold, short, Reason::Timeout),
        (
            "half an answer",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[".to_owned(),
            Then::Hold,
            short,
            Reason::Timeout,
        ),
        ("a head without an end", "HTTP/1.1 200 OK\r\n".to_owned(), Then::Repeat(b"X-A: 1\r\n"), LONG, Reason::Http),
        ("a body without an end", endless, Then::Repeat(chunk), LONG, Reason::TooLarge),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), Then::Close, LONG, Reason::Http),
        (
            "an end too early",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[".to_owned(),
            Then::Close,
            LONG,
            Reason::Http,
        ),
        ("busy", status("503 Busy"), Then::Close, LONG, Reason::Source),
        ("a closed door", status("401 Unauthorized"), Then::Close, LONG, Reason::NotPermitted),
        ("no JSON", ok("<html>"), Then::Close, LONG, Reason::Parse),
    ] {
        let (url, _) = server([answer], then).await;
        let run = probe(json!({"source": "json", "url": url, "users": "/0"})).run(&context(timeout)).await;
        assert_eq!((failed(&run), run.readings.len()), (Some(expected), 0), "{what}: {:?}", run.failure);
    }
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("loopback").local_addr().expect("is bound");
    for (url, expected) in
        [(format!("http://{unused}/"), Reason::Connect), ("http://nowhere.invalid/".to_owned(), Reason::Resolve)]
    {
        let run = probe(json!({"source": "prometheus", "url": url, "users": "a"})).run(&context(LONG)).await;
        assert_eq!(failed(&run), Some(expected), "{url}: {:?}", run.failure);
    }
}

#[tokio::test]
async fn one_line_that_is_no_sample_spoils_the_whole() {
    let (url, _) = server([ok("users 4\nusers{ 5\n")], Then::Close).await;
    let run = probe(json!({"source": "prometheus", "url": url, "users": "users"})).run(&context(LONG)).await;
    assert_eq!((failed(&run), value(&run, Metric::ServiceUsers)), (Some(Reason::Parse), None));
    let detail = run.failure.map(|failure| failure.detail);
    assert_eq!(detail.as_deref(), Some("line 2 of the answer: a label without a value"));
}

#[tokio::test]
async fn a_run_that_is_asked_to_stop_ends() {
    let (url, _) = server([String::new()], Then::Hold).await;
    let (stop, cancel) = tokio::sync::watch::channel(false);
    let context = RunContext { cancel, ..context(LONG) };
    let mut probe = probe(json!({"source": "json", "url": url, "users": "/0"}));
    let (run, _) = tokio::join!(probe.run(&context), async { stop.send(true) });
    assert_eq!(failed(&run), Some(Reason::Cancelled));
}

#[tokio::test]
async fn a_server_is_trusted_by_its_certificate_alone() {
    let made = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a usable certificate");
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("is bound").port();
    tokio::spawn(async move {
        loop {
            let stream = listener.accept().await.expect("loopback").0;
            if let Ok(stream) = acceptor.accept(stream).await {
                let _request = serve(stream, |_| ok("[1, 2]"), Then::Close).await;
            }
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).expect("is writable");
    let url = format!("https://localhost:{port}/");
    let strange = probe(json!({"source": "json", "url": url, "users": "/1"})).run(&context(LONG)).await;
    assert_eq!(failed(&strange), Some(Reason::Tls));
    let known = json!({"source": "json", "url": url, "users": "/1", "ca_file": file});
    let known = probe(known).run(&context(LONG)).await;
    assert_eq!((known.failure.as_ref(), value(&known, Metric::ServiceUsers)), (None, Some(2.0)));
}
