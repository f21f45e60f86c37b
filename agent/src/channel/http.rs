//! What the channels that speak HTTP have in common: addresses, the client, bounded answers, and what a
//! failed attempt means.
//!
//! Proxies named by the environment are not used, and redirections are not followed: a channel talks to the
//! configured host alone. Nothing is retried here: what an [`Outcome`] means is decided by `booking::outbox`.

use std::{net::IpAddr, path::Path, time::Duration};

use bellwether_probes::{Mistake, Span, secret::read_bounded};
use chrono::{DateTime, Utc};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, header::HeaderMap, redirect::Policy};
use url::{Host, Url};

use super::Outcome;

/// Longest answer that is read.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// Longest wait that a vendor may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// How much of a refusal is shown to people, in characters.
const MAX_EXCERPT: usize = 160;
/// What we call ourselves.
pub(super) const USER_AGENT: &str = concat!("bellwether/", env!("CARGO_PKG_VERSION"));

/// Where a channel talks to, and how: the keys that all such channels have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint<'a> {
    /// The address.
    pub(super) url: &'a str,
    /// PEM file of the only certificate authorities to trust.
    pub(super) ca_file: Option<&'a Path>,
    /// Deadline of one request.
    pub(super) timeout: Span,
    /// Whether `http:` may go to other hosts than this one.
    pub(super) allow_plain_http: bool,
    /// What proves who we are, as a key of the config.
    pub(super) secret_key: &'static str,
}

impl Endpoint<'_> {
    /// Mistakes of the common keys, by their usual names.
    pub(super) fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if let Some(message) = self.url_mistake() {
            mistakes.push(Mistake::new("url", message));
        }
        if let Some(Err(message)) = self.ca_file.map(authorities) {
            mistakes.push(Mistake::new("ca_file", message));
        }
        let timeout = self.timeout.0;
        if timeout < Duration::from_millis(100) || timeout > Duration::from_secs(60) {
            mistakes.push(Mistake::new("timeout", "expected a time from 100 ms to 60 s"));
        }
        mistakes
    }

    fn url_mistake(&self) -> Option<String> {
        let url = match Url::parse(self.url) {
            Ok(url) => url,
            Err(error) => {
                return Some(format!("expected a web address such as \"https://vendor.example/hook\": {error}"));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Some(format!("found a user or password in it, expected none: see {}", self.secret_key));
        }
        match url.scheme() {
            "https" => None,
            "http" if self.allow_plain_http || is_loopback(&url) => None,
            "http" => Some(
                "found http: to another host, which anybody between can read and change; \
                 expected https:, or allow_plain_http = true"
                    .to_owned(),
            ),
            other => Some(format!("found {other}:, expected https:")),
        }
    }

    /// A client for one attempt: files are read anew, so that a changed one needs no restart.
    pub(super) fn client(&self) -> Result<Client, String> {
        if let Some(message) = self.url_mistake() {
            return Err(format!("url: {message}"));
        }
        let mut client = Client::builder()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .user_agent(USER_AGENT)
            // Less than the whole: a connection that cannot be made is certain non-delivery.
            .connect_timeout(self.timeout.0 / 2)
            .timeout(self.timeout.0);
        if let Some(path) = self.ca_file {
            client = client.tls_certs_only(authorities(path)?);
        } else if self.url.starts_with("http:") {
            // Plain http must work on a box without any certificates.
            client = client.tls_certs_only([]);
        }
        client.build().map_err(|error| format!("cannot prepare the connection: {}", innermost(&error)))
    }

    /// Scheme, host and port: what may be shown of the address.
    pub(super) fn place(&self) -> String {
        Url::parse(self.url).map_or_else(|_| "an invalid address".to_owned(), |url| url.origin().ascii_serialization())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let found = Certificate::from_pem_bundle(&read_bounded(path)?).map_err(|_| format!("{path:?} is no PEM file"))?;
    if found.is_empty() {
        return Err(format!("{path:?} holds no certificate"));
    }
    Ok(found)
}

/// An answer that arrived whole, or was cut off after as much as is read.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// The start of its body.
    pub(super) body: Vec<u8>,
    /// Whether the body is longer than that.
    pub(super) is_cut: bool,
}

impl Answer {
    /// `answered 404 Not Found: no such page`, for people.
    pub(super) fn detail(&self) -> String {
        format!("answered {}{}", self.status, excerpt(&self.body))
    }

    /// How long the vendor asks us to wait.
    pub(super) fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        retry_after(&self.headers, now)
    }
}

/// Sends one request and reads its answer, `place` being what may be shown of the address.
///
/// # Errors
/// No whole answer came: what that means for an order whose request this was.
pub(super) async fn exchange(request: RequestBuilder, place: &str) -> Result<Answer, Outcome> {
    exchange_up_to(MAX_ANSWER, request, place).await
}

/// As [`exchange`], for an answer of which up to `most` bytes are read.
///
/// # Errors
/// As [`exchange`].
pub(super) async fn exchange_up_to(most: usize, request: RequestBuilder, place: &str) -> Result<Answer, Outcome> {
    let failed = |error| failed(place, error);
    let mut answer = request.send().await.map_err(failed)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let (mut body, mut is_cut) = (Vec::new(), false);
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
        if body.len() == most {
            is_cut = true;
            break;
        }
    }
    Ok(Answer { status, headers, body, is_cut })
}

/// What a failed attempt means.
fn failed(place: &str, error: reqwest::Error) -> Outcome {
    let error = error.without_url();
    let cause = innermost(&error);
    if error.is_connect() {
        return Outcome::not_delivered(format!("{place}: no connection: {cause}"));
    }
    if error.is_builder() {
        return Outcome::not_delivered(format!("{place}: no request: {cause}"));
    }
    let detail = if error.is_timeout() {
        format!("{place}: no whole answer in time")
    } else {
        format!("{place}: no whole answer: {cause}")
    };
    Outcome::ambiguous(detail)
}

/// The last cause of an error, which names what happened.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// `Retry-After` (RFC 9110, 10.2.3) in seconds or as a date, at most an hour.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
            (until - now).to_std().unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The start of an answer on one line, for people.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * MAX_EXCERPT)]);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line: String = words.collect::<Vec<_>>().join(" ").chars().take(MAX_EXCERPT).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// Installs the process-wide TLS provider, once for all tests of the process.
#[cfg(test)]
pub(super) fn install_provider() {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("no other provider is installed");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_614_265_330, 0).expect("a time written here")
    }

    #[test]
    fn waits_are_read_in_both_forms_and_bounded() {
        let table = [
            ("120", Some(120)),
            ("0", Some(0)),
            ("999999999", Some(3600)),
            ("Thu, 25 Feb 2021 15:03:10 GMT", Some(60)),
            ("Thu, 25 Feb 2021 14:00:00 GMT", Some(0)),
            ("Sat, 25 Feb 2051 14:00:00 GMT", Some(3600)),
            ("-5", None),
            ("soon", None),
        ];
        for (text, expected) in table {
            let headers = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, text.parse().expect("a header"))]);
            assert_eq!(retry_after(&headers, now()), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_shown_on_one_short_line() {
        let body = format!("no\r\n such\u{1b}[31m  room{}", "教".repeat(10_000));
        let line = excerpt(body.as_bytes());
        assert!(line.starts_with(": no such [31m room教"), "{line}");
        assert!(line.chars().count() <= MAX_EXCERPT + 2 && !line.chars().any(char::is_control));
    }
}
