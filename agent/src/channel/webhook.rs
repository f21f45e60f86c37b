//! Channel `webhook`: one signed CloudEvent per order, posted to a web address.
//!
//! The receiver can tell repeats by any of three equal marks: `Idempotency-Key` (IETF draft
//! draft-ietf-httpapi-idempotency-key-header), the CloudEvents `id` (CloudEvents 1.0, structured
//! JSON), and `webhook-id` (Standard Webhooks). All are the order's key, and a repeat has the same
//! bytes; only the time and the signature of the attempt differ.
//!
//! | Answer | Outcome |
//! |---|---|
//! | 200–204, whatever its body | done; a JSON field `id` becomes the remote id |
//! | other 2xx | ambiguous: such a status may carry an error within |
//! | 3xx, 404, 405, 407 | not delivered: an operator has to mend the config; never followed |
//! | 401, 403 | locked out: the same, and the channel rests |
//! | 429 | not delivered, `Retry-After` honoured |
//! | 408, 409, 5xx | ambiguous, `Retry-After` honoured |
//! | other 4xx (400, 410, 422) | rejected |
//! | no connection (name, refused, TLS) | not delivered |
//! | timeout, reset or end amid the answer | ambiguous |

mod answer;
mod read;
mod secret;

use std::{fmt, path::PathBuf, time::Duration};

use bellwether_probes::{Mistake, Span, secret::usable};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

pub(super) use self::read::{check, list, read};
use self::secret::{Secret, secrets};
use super::{
    Class, Doubt, Outcome,
    http::{Endpoint, USER_AGENT, exchange},
};
use crate::booking::{Booking, Operation, Order};

/// `[channel.NAME]` with `kind = "webhook"`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to post. Its path and query may be secret and are never shown.
    pub url: String,
    /// File with the shared secret: `whsec_` and base64, or the raw secret. Several lines sign
    /// several times, so that a secret can be changed without a gap.
    pub secret_file: PathBuf,
    /// PEM file of the only certificate authorities to trust, instead of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Deadline of one attempt.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Allows `http:` to other hosts than this one.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// Whether the receiver takes an order of one key once, as the contract asks. If not, an order that may
    /// have arrived is not repeated: a person is asked.
    #[serde(default = "yes")]
    pub honours_keys: bool,
    /// Whether its bookings can be read, as the contract asks. If not, what becomes of them there is not seen, and a
    /// new ledger cannot learn what is open.
    #[serde(default)]
    pub read_back: bool,
}

fn yes() -> bool {
    true
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(10))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.endpoint().place())
            .field("secret_file", &self.secret_file)
            .field("ca_file", &self.ca_file)
            .field("timeout", &self.timeout)
            .field("allow_plain_http", &self.allow_plain_http)
            .field("honours_keys", &self.honours_keys)
            .field("read_back", &self.read_back)
            .finish()
    }
}

impl Config {
    /// Mistakes that the shape of the table does not show. Reads the files that it names.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = self.endpoint().check();
        if let Err(message) = usable(&self.secret_file, secrets) {
            mistakes.push(Mistake::new("secret_file", message));
        }
        mistakes
    }

    /// How doubts are resolved.
    pub(super) fn doubt(&self) -> Doubt {
        let class = if self.honours_keys { Class::Keyed } else { Class::Blind };
        Doubt { class, settles_within: Duration::ZERO }
    }

    fn endpoint(&self) -> Endpoint<'_> {
        Endpoint {
            url: &self.url,
            ca_file: self.ca_file.as_deref(),
            timeout: self.timeout,
            allow_plain_http: self.allow_plain_http,
            secret_key: "secret_file, by which orders are signed",
        }
    }
}

/// A CloudEvent 1.0 in structured JSON.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    r#type: String,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: &'a Booking,
}

/// The bytes of an order.
pub(super) fn body(booking: &Booking, operation: Operation, op_key: &str) -> String {
    let event = Event {
        specversion: "1.0",
        id: op_key,
        source: format!("bellwether/{}", percent_encoded(&booking.room.id)),
        r#type: format!("bellwether.booking.{}.v1", operation.name()),
        subject: &booking.key,
        time: booking.updated_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        datacontenttype: "application/json",
        data: booking,
    };
    serde_json::to_string(&event).expect("a booking has string keys and no failing serializer")
}

/// One segment of a URI path (RFC 3986, unreserved characters).
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The headers of one attempt at `now`; the body is the order's, unchanged.
fn headers(order: &Order, secrets: &[Secret], now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let timestamp = now.timestamp();
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(&order.op_key, timestamp, &order.body)).collect();
    vec![
        ("content-type", "application/cloudevents+json; charset=utf-8".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        // A structured-header string: the quotes belong to it.
        ("idempotency-key", format!("\"{}\"", order.op_key)),
        ("webhook-id", order.op_key.clone()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

/// Makes one attempt. Reads the secret anew, so that a changed one needs no restart.
pub(super) async fn send(config: &Config, order: &Order, now: DateTime<Utc>) -> Outcome {
    let endpoint = config.endpoint();
    let place = endpoint.place();
    let prepared = endpoint.client().and_then(|client| Ok((client, secrets(&config.secret_file)?)));
    let (client, secrets) = match prepared {
        Ok(prepared) => prepared,
        Err(detail) => return Outcome::not_delivered(detail),
    };
    let mut request = client.post(&config.url).body(order.body.clone());
    for (name, value) in headers(order, &secrets, now) {
        request = request.header(name, value);
    }
    match exchange(request, &place).await {
        Ok(answer) => answer::parse(&answer, now).at(&place),
        Err(outcome) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{
        booking::{examples, op_key},
        channel::http::{MAX_ANSWER, install_provider},
    };

    const NOW: i64 = 1_614_265_330;

    pub(super) fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(NOW, 0).expect("a time written here")
    }

    fn order() -> Order {
        let booking = examples::full();
        let op_key = op_key(&booking.key, 1);
        Order {
            body: body(&booking, Operation::Open, &op_key),
            op_key,
            booking_key: booking.key.clone(),
            op_seq: 1,
            channel: "hook".into(),
            operation: Operation::Open,
            created_at: booking.updated_at,
        }
    }

    pub(super) struct Place {
        _folder: tempfile::TempDir,
        pub(super) config: Config,
    }

    pub(super) fn config(url: &str) -> Place {
        install_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let secret_file = folder.path().join("secret");
        fs::write(&secret_file, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a secret");
        fs::set_permissions(&secret_file, fs::Permissions::from_mode(0o600)).expect("a mode");
        let timeout = Span(Duration::from_secs(20));
        let config = Config {
            url: url.to_owned(),
            secret_file,
            ca_file: None,
            timeout,
            allow_plain_http: false,
            honours_keys: true,
            read_back: true,
        };
        Place { _folder: folder, config }
    }

    /// A receiver for one request: it reads it whole, answers with `answer` as it stands, and closes.
    /// `hold` keeps the connection open instead.
    async fn receive(listener: TcpListener, answer: &[u8], hold: bool) -> (String, Option<TcpStream>) {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !complete(&request) {
            let count = stream.read(&mut buffer).await.expect("a request");
            assert_ne!(count, 0, "the request ended early");
            request.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(answer).await.expect("room for the answer");
        if !hold {
            stream.shutdown().await.expect("an end");
        }
        (String::from_utf8(request).expect("text"), hold.then_some(stream))
    }

    fn complete(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        request.len() >= head.len() + 4 + length.parse::<usize>().expect("a number")
    }

    async fn exchange(answer: &[u8]) -> (String, Outcome) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = config(&format!("http://{}/hook?token=s3cret", listener.local_addr().expect("an address")));
        let order = order();
        let ((request, _), outcome) =
            tokio::join!(receive(listener, answer, false), send(&place.config, &order, now()));
        (request, outcome)
    }

    #[test]
    fn each_secret_signs_the_same_bytes() {
        let place = config("http://127.0.0.1/");
        let path = &place.config.secret_file;
        fs::write(path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\n  an older raw one \n").expect("a secret");
        let secrets = secrets(path).expect("two secrets");
        assert_eq!(secrets.len(), 2);
        let order = order();
        let headers = headers(&order, &secrets, now());
        let value = |name: &str| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| &value[..]);
        let (new, old) = value("webhook-signature").and_then(|text| text.split_once(' ')).expect("two signatures");
        assert_ne!(new, old);
        assert_eq!(old, Secret(b"an older raw one".to_vec()).sign(&order.op_key, NOW, &order.body));
        assert_eq!(value("webhook-id"), Some(&order.op_key[..]));
        assert_eq!(value("webhook-timestamp"), Some("1614265330"));
        assert_eq!(value("idempotency-key"), Some(&format!("\"{}\"", order.op_key)[..]));
    }

    #[test]
    fn the_body_is_a_cloud_event() {
        let mut booking = examples::full();
        booking.room.id = "三-302 a".into();
        let event: serde_json::Value =
            serde_json::from_str(&body(&booking, Operation::Cancel, "bw1-x.7")).expect("it is JSON");
        assert_eq!(
            event,
            json!({
                "specversion": "1.0",
                "id": "bw1-x.7",
                "source": "bellwether/%E4%B8%89-302%20a",
                "type": "bellwether.booking.cancel.v1",
                "subject": booking.key,
                "time": "2026-11-24T02:00:00.000Z",
                "datacontenttype": "application/json",
                "data": booking,
            })
        );
    }

    #[test]
    fn secrets_are_never_shown() {
        let mut place = config("https://vendor.example:8443/hook/s3cret?token=s3cret");
        assert_eq!(place.config.check(), []);
        let shown = format!("{:?} {:?}", place.config, secrets(&place.config.secret_file));
        assert!(shown.contains("https://vendor.example:8443"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("MfKQ") && !shown.contains("49"), "{shown}");
        fs::write(&place.config.secret_file, "whsec_s3cret!").expect("a secret");
        place.config.url = "http://user:s3cret@vendor.example/s3cret".into();
        let mistakes = format!("{:?}", place.config.check());
        assert!(!mistakes.contains("s3cret"), "{mistakes}");
    }

    #[test]
    fn a_config_is_checked_with_its_files() {
        let of = |change: fn(&mut Config)| {
            let mut place = config("https://vendor.example/hook");
            change(&mut place.config);
            let mistakes = place.config.check();
            mistakes
                .iter()
                .map(|mistake| format!("{}: {}", mistake.key, mistake.message))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(of(|_| {}), "");
        for url in ["http://127.0.0.1:8080/", "http://[::1]/", "http://localhost/"] {
            let mut place = config(url);
            assert_eq!(place.config.check(), [], "{url}");
            place.config.url = url.replace("http", "ftp");
            assert_eq!(place.config.check().len(), 1, "{url}");
        }
        assert!(of(|config| config.url = "http://vendor.example/".into()).contains("allow_plain_http"));
        assert_eq!(
            of(|config| {
                config.url = "http://10.0.0.1/".into();
                config.allow_plain_http = true;
            }),
            ""
        );
        assert!(of(|config| config.url = "http://localhost.example/".into()).starts_with("url: "));
        assert!(of(|config| config.url = "vendor".into()).starts_with("url: "));
        assert!(of(|config| config.url = "https://a:b@vendor.example/".into()).starts_with("url: "));
        assert!(of(|config| config.secret_file = "/nowhere".into()).starts_with("secret_file: cannot read"));
        assert!(of(|config| drop(fs::write(&config.secret_file, "\n"))).contains("holds no secret"));
        assert!(of(|config| drop(fs::write(&config.secret_file, "whsec_!"))).contains("no base64"));
        for mode in [0o640, 0o604, 0o620] {
            let place = config("https://vendor.example/hook");
            fs::set_permissions(&place.config.secret_file, fs::Permissions::from_mode(mode)).expect("a mode");
            let mistakes = place.config.check();
            assert!(mistakes[0].message.contains(&format!("mode {mode:04o}")), "{mistakes:?}");
        }
        assert!(of(|config| config.ca_file = Some("/nowhere".into())).starts_with("ca_file: cannot read"));
        assert!(of(|config| config.ca_file = Some(config.secret_file.clone())).starts_with("ca_file: "));
        assert!(of(|config| config.timeout = Span(Duration::ZERO)).starts_with("timeout: "));
    }

    #[test]
    fn only_url_and_secret_file_are_needed() {
        let config: Config =
            serde_json::from_value(json!({ "url": "https://v.example/", "secret_file": "/s" })).expect("enough");
        assert_eq!((config.timeout, config.allow_plain_http), (Span(Duration::from_secs(10)), false));
        assert!(serde_json::from_value::<Config>(json!({ "url": "https://v.example/" })).is_err());
    }

    #[tokio::test]
    async fn a_receiver_gets_the_order_as_it_was_planned() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 13\r\n\r\n{\"id\": \"T-1\"}";
        let (request, outcome) = exchange(answer).await;
        assert_eq!(outcome, Outcome::done(Some("T-1".into())));
        let (head, sent) = request.split_once("\r\n\r\n").expect("a head");
        let order = order();
        assert_eq!(sent, order.body);
        assert!(head.starts_with("POST /hook?token=s3cret HTTP/1.1\r\n"));
        let expected = headers(&order, &[Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("one")], now());
        assert_eq!(expected.len(), 6);
        for (name, value) in expected {
            assert_eq!(head.matches(&format!("\r\n{name}: {value}")).count(), 1, "{name} in {head}");
        }
    }

    #[tokio::test]
    async fn answers_over_the_wire() {
        let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n{}", "x".repeat(2 * MAX_ANSWER));
        let table: [(&str, &str, &str); 11] = [
            ("no body", "HTTP/1.1 204 No Content\r\n\r\n", "Done { remote_id: None, "),
            ("no JSON", "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\ngarbage", "Done { remote_id: None, "),
            ("an answer without end", &huge, "Done { remote_id: None, "),
            ("an error", "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "Ambiguous"),
            ("elsewhere", "HTTP/1.1 307 Go\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n", "is not followed"),
            ("too many", "HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", "retry_after: Some(7s)"),
            ("busy", "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", "retry_after: Some(7s)"),
            ("refused", "HTTP/1.1 422 No\r\ncontent-length: 7\r\n\r\nno room", "Unprocessable Entity: no room"),
            ("closed at once", "", "Ambiguous"),
            ("closed amid the head", "HTTP/1.1 200 OK\r\ncontent-le", "Ambiguous"),
            ("closed amid the body", "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"id\":", "Ambiguous"),
        ];
        for (name, answer, expected) in table {
            let (_, outcome) = exchange(answer.as_bytes()).await;
            let shown = format!("{outcome:?}");
            assert!(shown.contains(expected), "{name}: {shown}");
            assert!(!shown.contains("s3cret"), "{name}: {shown}");
        }
        let (_, outcome) = exchange(b"nonsense\r\n\r\n").await;
        assert!(matches!(outcome, Outcome::Ambiguous { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn silence_is_ambiguous() {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"id\":"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let mut place = config(&format!("http://{}/", listener.local_addr().expect("an address")));
            place.config.timeout = Span(Duration::from_secs(1));
            let order = order();
            let (_held, outcome) =
                tokio::join!(receive(listener, answer.as_bytes(), true), send(&place.config, &order, now()));
            let Outcome::Ambiguous { detail, .. } = outcome else { unreachable!("{outcome:?}") };
            assert!(detail.ends_with("no whole answer in time"), "{detail}");
        }
    }

    #[tokio::test]
    async fn without_a_connection_nothing_was_delivered() {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        for url in [format!("http://{closed}/s3cret"), format!("https://{closed}/s3cret")] {
            let outcome = send(&config(&url).config, &order(), now()).await;
            let Outcome::NotDelivered { detail, .. } = outcome else { unreachable!("{outcome:?}") };
            assert!(detail.contains("refused") && !detail.contains("s3cret"), "{detail}");
        }
        // A receiver that speaks no TLS.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = config(&format!("https://{}/", listener.local_addr().expect("an address")));
        let plain = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await;
            stream
        };
        let order = order();
        let (_stream, outcome) = tokio::join!(plain, send(&place.config, &order, now()));
        assert!(matches!(outcome, Outcome::NotDelivered { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn without_its_secret_nothing_is_sent() {
        let mut place = config("http://127.0.0.1:9/");
        place.config.secret_file = "/nowhere".into();
        let outcome = send(&place.config, &order(), now()).await;
        let Outcome::NotDelivered { detail, .. } = outcome else { unreachable!("{outcome:?}") };
        assert!(detail.contains("/nowhere"), "{detail}");
    }

    #[tokio::test]
    async fn only_the_configured_authority_is_trusted() {
        let authority = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(authority.signing_key.serialize_der()).expect("a key");
        for trusted in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let mut place = config(&format!("https://{}/", listener.local_addr().expect("an address")));
            let ca_file = place.config.secret_file.with_file_name("ca.pem");
            let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
            let pem = if trusted { authority.cert.pem() } else { other.cert.pem() };
            fs::write(&ca_file, pem).expect("a file");
            place.config.ca_file = Some(ca_file);
            assert_eq!(place.config.check(), []);

            let server = rustls::ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(vec![authority.cert.der().clone()], key.clone_key())
                .expect("a server");
            let receiver = async {
                let (stream, _) = listener.accept().await.expect("a connection");
                let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while !complete(&request) {
                    stream.read_buf(&mut request).await.expect("a request");
                }
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("room for the answer");
                stream.shutdown().await.expect("an end");
            };
            let order = order();
            let ((), outcome) = tokio::join!(receiver, send(&place.config, &order, now()));
            match outcome {
                Outcome::Done { .. } => assert!(trusted),
                Outcome::NotDelivered { detail, .. } => assert!(!trusted && detail.contains("certificate"), "{detail}"),
                other => unreachable!("{other:?}"),
            }
        }
    }
}
