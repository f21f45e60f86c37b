//! The probe against small real servers on the loopback.

#![expect(clippy::disallowed_methods, reason = "real connections take real time")]

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a server does once it has sent its answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Keeps the connection open in silence.
    Hold,
    /// Sends this again and again.
    Repeat(&'static [u8]),
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Vec<u8>,
    then: Then,
) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    stream.write_all(&answer).await?;
    stream.flush().await?;
    match then {
        Then::Close => stream.shutdown().await?,
        Then::Hold => std::future::pending().await,
        Then::Repeat(bytes) => loop {
            stream.write_all(bytes).await?;
        },
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

/// Starts a server for one connection; its address, and the request it got.
async fn server(answer: impl Into<Vec<u8>>, then: Then) -> (String, tokio::task::JoinHandle<std::io::Result<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("is bound");
    let answer = answer.into();
    let task = tokio::spawn(async move { serve(listener.accept().await?.0, answer, then).await });
    (format!("http://{address}/a/page?x=1"), task)
}

fn context(timeout: Duration) -> RunContext {
    RunContext {
        now: Utc::now(),
        timeout,
        worker: "/nonexistent".into(),
        seed: 1,
        cancel: tokio::sync::watch::channel(false).1,
        progress: None,
        capture: None,
        longest: None,
        accepted: None,
    }
}

const LONG: Duration = Duration::from_secs(30);

async fn run(config: Config) -> ProbeRun {
    run_within(LONG, config).await
}

async fn run_within(timeout: Duration, config: Config) -> ProbeRun {
    assert_eq!(config.check(), []);
    Probe::new("page", config).run(&context(timeout)).await
}

fn at(url: &str) -> Config {
    Config { url: url.to_owned(), ..Config::default() }
}

fn value(run: &ProbeRun, metric: Metric) -> Option<f64> {
    run.readings.iter().find(|reading| reading.metric == metric).map(|reading| reading.value)
}

fn phases(run: &ProbeRun) -> Vec<&str> {
    run.readings.iter().filter_map(|reading| reading.labels.get(Label::Phase)).collect()
}

fn reason(run: &ProbeRun) -> Option<Reason> {
    run.failure.as_ref().map(|failure| failure.reason)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nWelcome back";

#[tokio::test]
async fn a_page_that_works_has_all_its_phases_and_they_make_up_the_response() {
    let (url, request) = server(OK, Then::Hold).await;
    let run = run(at(&url)).await;
    assert_eq!(run.failure, None);
    assert_eq!(phases(&run), ["resolve", "connect", "first_byte", "whole"]);
    assert_eq!((value(&run, Metric::PageSuccess), value(&run, Metric::PageStatus)), (Some(1.0), Some(200.0)));
    let response = value(&run, Metric::PageResponse).expect("it arrived");
    let sum: f64 = run.readings.iter().filter(|r| r.metric == Metric::PageFetch).map(|reading| reading.value).sum();
    assert!(sum > 0.0 && (response - sum).abs() < 1e-9, "{sum} of {response}");
    assert_eq!(value(&run, Metric::CertificateRemaining), None);
    request.abort();

    let (url, request) = server(OK, Then::Close).await;
    run_within(LONG, at(&url)).await;
    let request = request.await.expect("no panic").expect("was served");
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("has a host");
    assert!(request.starts_with("GET /a/page?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
}

#[tokio::test]
async fn status_and_text_decide_what_works() {
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    for (answer, statuses, text, status, success) in [
        (OK, vec![], Some("come ba"), 200.0, 1.0),
        (OK, vec![], Some("Login"), 200.0, 0.0),
        (OK, vec![204], None, 200.0, 0.0),
        (redirect, vec![], None, 302.0, 1.0),
        (redirect, vec![200], None, 302.0, 0.0),
        (busy, vec![], None, 503.0, 0.0),
        (busy, vec![503], None, 503.0, 1.0),
    ] {
        let (url, _) = server(answer, Then::Close).await;
        let run = run(Config { expect_status: statuses, expect_text: text.map(str::to_owned), ..at(&url) }).await;
        assert_eq!(run.failure, None, "a wrong answer is an answer");
        assert_eq!(value(&run, Metric::PageStatus), Some(status));
        assert_eq!(value(&run, Metric::PageSuccess), Some(success), "{answer} {text:?}");
        assert!(value(&run, Metric::PageResponse).is_some());
    }
}

#[tokio::test]
async fn whatever_a_server_does_is_a_typed_failure_in_time() {
    let short = Duration::from_millis(400);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, answer, then, timeout, expected, last) in [
        ("slow head", "HTTP/1.1 200 OK\r\nX-A: 1\r\n", Then::Hold, short, Reason::Timeout, "connect"),
        ("endless head", "HTTP/1.1 200 OK\r\n", Then::Repeat(b"X-A: 1\r\n"), LONG, Reason::Http, "connect"),
        ("silence", "", Then::Hold, short, Reason::Timeout, "connect"),
        ("close at once", "", Then::Close, LONG, Reason::Http, "connect"),
        ("other protocol", "220 mail ESMTP\r\n", Then::Hold, LONG, Reason::Http, "connect"),
        ("endless body", head, Then::Repeat(b"8\r\n12345678\r\n"), LONG, Reason::TooLarge, "first_byte"),
        (
            "stalled body",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1",
            Then::Hold,
            short,
            Reason::Timeout,
            "first_byte",
        ),
        ("cut body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1", Then::Close, LONG, Reason::Http, "first_byte"),
        ("broken chunks", head, Then::Repeat(b"zz\r\n"), LONG, Reason::Http, "first_byte"),
    ] {
        let (url, _) = server(answer, then).await;
        let run = run_within(timeout, Config { max_bytes: 10_000, ..at(&url) }).await;
        assert_eq!(reason(&run), Some(expected), "{what}: {:?}", run.failure);
        assert_eq!(value(&run, Metric::PageSuccess), Some(0.0), "{what}");
        assert_eq!(value(&run, Metric::PageResponse), None, "{what}");
        assert_eq!(phases(&run).last(), Some(&last), "{what}");
    }
}

#[tokio::test]
async fn a_port_without_a_listener_and_a_name_without_an_address_are_told_apart() {
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("loopback").local_addr().expect("is bound");
    let refused = run(at(&format!("http://{unused}/"))).await;
    assert_eq!(reason(&refused), Some(Reason::Connect));
    assert_eq!(value(&refused, Metric::PageSuccess), Some(0.0));
    // RFC 6761: this top-level domain never resolves.
    let unknown = run(at("http://school.invalid/")).await;
    assert_eq!(reason(&unknown), Some(Reason::Resolve), "{:?}", unknown.failure);
    assert_eq!(phases(&unknown), [""; 0]);
}

#[tokio::test]
async fn a_run_that_is_asked_to_stop_says_so() {
    let (url, _) = server("", Then::Hold).await;
    let (cancel, receiver) = tokio::sync::watch::channel(false);
    let context = RunContext { cancel: receiver, ..context(LONG) };
    let mut probe = Probe::new("page", at(&url));
    let (run, sent) = tokio::join!(probe.run(&context), async { cancel.send(true) });
    sent.expect("the run listens");
    assert_eq!(reason(&run), Some(Reason::Cancelled));
    assert_eq!(run.readings, []);
}

/// A certificate authority of a school, and the folder with its file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file");
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self) -> Option<PathBuf> {
        Some(self.folder.path().join("ca.pem"))
    }

    /// A server with a certificate for `name` that ends with the year before `until`.
    async fn server(&self, name: &str, until: i32) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        tls_server(certificate.der().clone(), &key).await
    }
}

async fn tls_server(certificate: CertificateDer<'static>, key: &KeyPair) -> String {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("is bound").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        serve(stream, OK.into(), Then::Close).await
    });
    format!("https://localhost:{port}/")
}

#[tokio::test]
async fn a_certificate_of_the_schools_own_authority_is_trusted_when_configured() {
    let authority = Authority::new();
    let url = authority.server("localhost", 2999).await;
    let run = run(Config { ca_file: authority.file(), ..at(&url) }).await;
    assert_eq!(run.failure, None);
    assert_eq!(phases(&run), ["resolve", "connect", "tls", "first_byte", "whole"]);
    assert_eq!(value(&run, Metric::PageSuccess), Some(1.0));
    let end = date_time_ymd(2999, 1, 1).unix_timestamp() - run.started_at.timestamp();
    assert_eq!(value(&run, Metric::CertificateRemaining).map(|seconds| seconds as i64), Some(end));
}

#[tokio::test]
async fn certificates_that_must_not_be_trusted_fail_and_their_end_is_still_known() {
    let authority = Authority::new();
    let good = authority.server("localhost", 2999).await;
    let expired = authority.server("localhost", 2020).await;
    let other = authority.server("other.example", 2999).await;
    let by_number = authority.server("localhost", 2999).await.replace("localhost", "127.0.0.1");
    let trusted = authority.file();
    // Beside the store of the system, or without one, this authority is unknown.
    let unknown = Authority::new().issuer;
    let stranger = Authority { issuer: unknown, folder: tempfile::tempdir().expect("a folder") };
    let foreign = stranger.server("localhost", 2999).await;
    for (what, url, ca_file, word, remains) in [
        ("expired", expired, trusted.clone(), "expired", false),
        ("other name", other, trusted.clone(), "not valid for", true),
        ("address for name", by_number, trusted.clone(), "not valid for", true),
        ("other authority", foreign, trusted, "", true),
    ] {
        let run = run(Config { ca_file, ..at(&url) }).await;
        assert_eq!(reason(&run), Some(Reason::Tls), "{what}: {:?}", run.failure);
        let detail = run.failure.as_ref().map(|failure| failure.detail.as_str()).unwrap_or_default();
        assert!(detail.contains(word), "{what}: {detail}");
        assert_eq!(value(&run, Metric::PageSuccess), Some(0.0), "{what}");
        assert_eq!(value(&run, Metric::CertificateRemaining).map(|left| left > 0.0), Some(remains), "{what}");
        assert_eq!(phases(&run), ["resolve", "connect"], "{what}");
    }
    let run = run(Config { ca_file: Some("/no/such/file.pem".into()), ..at(&good) }).await;
    assert_eq!(reason(&run), Some(Reason::Source));
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_when_it_is_the_configured_one() {
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.pem");
    std::fs::write(&file, certificate.pem()).expect("a file");
    let url = tls_server(certificate.der().clone(), &key).await;
    let run = run(Config { ca_file: Some(file), ..at(&url) }).await;
    assert_eq!(run.failure, None);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_fails_at_tls() {
    let (url, _) = server("HTTP/1.1 400 Bad Request\r\n\r\n", Then::Close).await;
    let authority = Authority::new();
    let url = url.replace("http:", "https:");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let silent = format!("https://{}/", listener.local_addr().expect("is bound"));
    // The first server waits for the end of a head that never comes, so both are silent.
    for url in [url, silent] {
        let config = Config { ca_file: authority.file(), ..at(&url) };
        let run = run_within(Duration::from_millis(1500), config).await;
        assert_eq!(reason(&run), Some(Reason::Timeout));
        assert_eq!(phases(&run), ["resolve", "connect"]);
    }
    let garbage = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://{}/", garbage.local_addr().expect("is bound"));
    tokio::spawn(async move {
        let (mut stream, _) = garbage.accept().await?;
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await?;
        std::future::pending::<std::io::Result<()>>().await
    });
    let run = run(Config { ca_file: authority.file(), ..at(&url) }).await;
    assert_eq!(reason(&run), Some(Reason::Tls));
}

#[test]
fn every_mistake_is_reported_once_with_its_key() {
    let good = at("https://lms.example.edu/");
    assert_eq!(good.check(), []);
    let table = [
        (at("lms.example.edu"), "url", "found \"lms.example.edu\", expected an address: relative URL without a base"),
        (at("ftp://x/"), "url", "found scheme \"ftp\", expected http or https"),
        (at("https://u:p@x/"), "url", "found a user name in the address, expected none"),
        (
            Config { expect_status: vec![200, 99], ..good.clone() },
            "expect_status",
            "found 99, expected codes from 200 to 599",
        ),
        (
            Config { expect_text: Some(String::new()), ..good.clone() },
            "expect_text",
            "found \"\", expected a text, or no such key",
        ),
        (Config { max_bytes: 0, ..good.clone() }, "max_bytes", "found 0, expected 1 byte to 64 MiB"),
        (Config { ca_file: Some("ca.pem".into()), ..good }, "ca_file", "found \"ca.pem\", expected an absolute path"),
        (
            Config { ca_file: Some("/ca.pem".into()), ..at("http://x/") },
            "ca_file",
            "found beside an http address, expected with https only",
        ),
    ];
    for (config, key, message) in table {
        assert_eq!(config.check(), [Mistake::new(key, message)]);
    }
}

#[test]
fn a_size_is_a_number_or_has_a_unit() {
    let parse = |json: &str| serde_json::from_str::<Config>(json).map(|config| config.max_bytes);
    assert_eq!(parse(r#"{"url":"http://x/"}"#).ok(), Some(1_048_576));
    assert_eq!(parse(r#"{"max_bytes":4096}"#).ok(), Some(4096));
    assert_eq!(parse(r#"{"max_bytes":"256 KiB"}"#).ok(), Some(262_144));
    assert!(parse(r#"{"max_bytes":"3 s"}"#).is_err());
    assert!(parse(r#"{"follow_redirects":true}"#).is_err(), "unknown keys are mistakes");
}
