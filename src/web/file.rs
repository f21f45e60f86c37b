//! The web config file: TLS, users, headers and a limit of requests, in the format of the Prometheus exporters
//! (prometheus/exporter-toolkit, docs/web-configuration.md). Reading it is pure; [`super::tls`] reads the files
//! that it names.
//!
//! It is taken more strictly than the exporters do: what they pass over in silence, and what is not offered
//! here, is a mistake.

mod tls;

use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::http::{HeaderName, HeaderValue};

pub(super) use self::tls::{Clients, Pem, Source, Tls};
use super::{
    hash::Hash,
    keys::{At, Keys, Slip, shown},
    yaml::{self, Node, Value},
};

/// Headers that may be set on answers, each with the values it may have; without any, whatever fits in a header.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];
/// The longest name of a user, in bytes.
pub(super) const LONGEST_USER: usize = 255;

/// What a file says, as far as it could be understood.
#[derive(Debug, Default)]
pub(super) struct File {
    /// `tls_server_config`.
    pub(super) tls: Option<Tls>,
    /// `basic_auth_users`: names and hashes of passwords.
    pub(super) users: BTreeMap<String, Hash>,
    /// `http_server_config.headers`, for each answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// `rate_limit`, unless it is none.
    pub(super) rate: Option<Rate>,
}

/// `rate_limit`: a bucket of `burst` requests, to which one is added each `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

/// Reads the text of a file that lies in `folder`; what it names relative is relative to that. Also says what is
/// wrong with it.
pub(super) fn parse(text: &str, folder: &Path) -> (File, Vec<Slip>) {
    let mut slips = Vec::new();
    let file = match yaml::parse(text) {
        Ok(root) => file(&root, folder, &mut slips),
        Err(broken) => {
            slips.push(Slip::new(Some(broken.line), "", broken.message));
            File::default()
        }
    };
    (file, slips)
}

fn file(root: &Node, folder: &Path, slips: &mut Vec<Slip>) -> File {
    let known = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
    let root = Keys::read(root, "", Some(&known), slips);
    let mut file = File::default();
    if let Some(node) = root.get("tls_server_config") {
        file.tls = tls::read(node, root.line("tls_server_config"), folder, slips);
    }
    if let Some(node) = root.get("http_server_config") {
        let keys = Keys::read(node, "http_server_config", Some(&["http2", "headers"]), slips);
        // HTTP/2 may be spoken where this is true, and need not be.
        let _allowed = keys.truth("http2", true, slips);
        file.headers = keys.get("headers").map(|node| headers(node, slips)).unwrap_or_default();
    }
    file.users = root.get("basic_auth_users").map(|node| users(node, slips)).unwrap_or_default();
    file.rate = root.get("rate_limit").and_then(|node| rate(node, slips));
    file
}

fn headers(node: &Node, slips: &mut Vec<Slip>) -> Vec<(HeaderName, HeaderValue)> {
    let path = "http_server_config.headers";
    let keys = Keys::read(node, path, Some(&HEADERS.map(|(name, _)| name)), slips);
    let mut headers = Vec::new();
    for (name, allowed) in HEADERS {
        let Some(At { line, value }) = keys.text(name, slips) else { continue };
        let fits = allowed.is_empty() || allowed.contains(&value);
        match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) if fits => headers.push((name, value)),
            _ => {
                let expected = if allowed.is_empty() { "a line of ASCII".to_owned() } else { allowed.join(" or ") };
                let message = format!("found {}, expected {expected}", shown(value));
                slips.push(Slip::new(Some(line), keys.path_of(name), message));
            }
        }
    }
    headers
}

fn users(node: &Node, slips: &mut Vec<Slip>) -> BTreeMap<String, Hash> {
    let keys = Keys::read(node, "basic_auth_users", None, slips);
    let mut users = BTreeMap::new();
    for (name, entry) in &keys.entries {
        let node = &entry.node;
        let path = keys.path_of(name);
        if name.is_empty() || name.len() > LONGEST_USER || name.contains(|c: char| c == ':' || c.is_control()) {
            let message = format!("found another name, expected up to {LONGEST_USER} bytes without colon");
            slips.push(Slip::new(Some(node.line), path, message));
            continue;
        }
        match &node.value {
            Value::Scalar { text, .. } => match Hash::parse(text) {
                Ok(hash) => {
                    users.insert((*name).to_owned(), hash);
                }
                Err(why) => {
                    let message = format!("found {why}; `htpasswd -nBC 10 USER` makes one");
                    slips.push(Slip::new(Some(node.line), path, message));
                }
            },
            _ => {
                let message = format!("found {}, expected a password's bcrypt hash", node.kind());
                slips.push(Slip::new(Some(node.line), path, message));
            }
        }
    }
    users
}

fn rate(node: &Node, slips: &mut Vec<Slip>) -> Option<Rate> {
    let keys = Keys::read(node, "rate_limit", Some(&["interval", "burst"]), slips);
    let interval = keys.text("interval", slips);
    let burst = keys.text("burst", slips);
    let mut wrong = |name: &str, At { line, value }: At<&str>, expected| {
        let message = format!("found {}, expected {expected}", shown(value));
        slips.push(Slip::new(Some(line), keys.path_of(name), message));
    };
    let interval = interval.and_then(|at| {
        duration(at.value).or_else(|| {
            wrong("interval", at, "a time such as 1s or 100ms, or 0 for no limit");
            None
        })
    });
    let interval = interval.filter(|interval| !interval.is_zero());
    let count = burst.as_ref().map_or(Ok(0), |at| at.value.parse::<u32>());
    match (interval, count) {
        (None, Ok(_)) => None,
        (Some(interval), Ok(burst)) if burst > 0 => Some(Rate { interval, burst }),
        _ => {
            let at = burst.unwrap_or(At { line: node.line, value: "0" });
            wrong("burst", at, "how many requests may come at once, at least 1");
            None
        }
    }
}

/// A time as Go writes it: `1m30s`, `1.5s`, or nanoseconds without a unit.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| number + end);
        let scale = match &rest[number..unit] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += rest[..number].parse::<f64>().ok()? * scale;
        rest = &rest[unit..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests;
