//! Probe `page`: response of one web address, by phase.
//!
//! Each run makes one GET on one fresh connection, without proxy, cookies, compression or a
//! resumed TLS session, so that runs can be compared. A redirect is a result like any other and
//! is not followed. The shell ([`fetch`]) yields an [`Observation`]; the pure [`analyse`] turns it
//! into readings.

mod fetch;

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::{Failure, Label, Metric, Mistake, ProbeRun, Reading, Reason, RunContext, Unit, units::Amount};

/// The failures a run can end with.
pub const FAILURES: &[Reason] = &[
    Reason::Timeout,
    Reason::Cancelled,
    Reason::Resolve,
    Reason::Connect,
    Reason::Tls,
    Reason::Http,
    Reason::TooLarge,
    Reason::Source,
];

const MEBIBYTE: u64 = 1024 * 1024;

/// `[probe.NAME]` with `kind = "page"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address: `https://lms.example.edu/login`.
    pub url: String,
    /// Status codes of a page that works; empty: 200 to 399. Redirects are not followed.
    pub expect_status: Vec<u16>,
    /// Text that a page that works contains, letter for letter.
    pub expect_text: Option<String>,
    /// Most bytes that the body may have; 1 MiB unless given: `"256 KiB"`.
    #[serde(deserialize_with = "bytes")]
    pub max_bytes: u64,
    /// A PEM file with certificates that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self { url: String::new(), expect_status: Vec::new(), expect_text: None, max_bytes: MEBIBYTE, ca_file: None }
    }
}

/// A size as a number of bytes or with a unit; fractions of a byte are dropped.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Amount(Unit::Bytes)).map(|bytes| bytes.max(0.0) as u64)
}

impl Config {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut mistake = |key: &str, message: String| mistakes.push(Mistake::new(key, message));
        let url = Url::parse(&self.url);
        match &url {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                mistake("url", format!("found scheme {:?}, expected http or https", url.scheme()));
            }
            // Not shown: it may hold a password.
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                mistake("url", "found a user name in the address, expected none".to_owned());
            }
            Ok(_) => {}
            Err(error) => mistake("url", format!("found {:?}, expected an address: {error}", self.url)),
        }
        for status in self.expect_status.iter().filter(|status| !(200..=599).contains(*status)) {
            mistake("expect_status", format!("found {status}, expected codes from 200 to 599"));
        }
        if self.expect_text.as_deref() == Some("") {
            mistake("expect_text", "found \"\", expected a text, or no such key".to_owned());
        }
        if !(1..=64 * MEBIBYTE).contains(&self.max_bytes) {
            mistake("max_bytes", format!("found {}, expected 1 byte to 64 MiB", self.max_bytes));
        }
        if let Some(file) = &self.ca_file {
            if !file.is_absolute() {
                mistake("ca_file", format!("found {:?}, expected an absolute path", file.display().to_string()));
            }
            if url.is_ok_and(|url| url.scheme() == "http") {
                mistake("ca_file", "found beside an http address, expected with https only".to_owned());
            }
        }
        mistakes
    }

    fn expects(&self, status: u16) -> bool {
        if self.expect_status.is_empty() { (200..400).contains(&status) } else { self.expect_status.contains(&status) }
    }
}

/// What one fetch saw; what it did not come to is missing.
#[derive(Clone, Debug, Default)]
struct Observation {
    /// Phases that were completed, in order, with their seconds.
    phases: Vec<(&'static str, f64)>,
    status: Option<u16>,
    /// Whether the expected text is in the body; known once the body has arrived whole.
    text_found: Option<bool>,
    /// From the start of resolving until the whole body had arrived, in seconds.
    response: Option<f64>,
    /// The server's certificate (DER), whether it was accepted or not.
    certificate: Option<Vec<u8>>,
}

/// The probe with what it keeps between runs.
#[derive(Debug)]
pub struct Probe {
    name: String,
    config: Config,
}

impl Probe {
    /// A probe that has not run yet.
    pub fn new(name: &str, config: Config) -> Self {
        Self { name: name.to_owned(), config }
    }

    /// The probe's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fetches the page once. A page that could not be fetched gives both the reading
    /// `page_success` 0 and a failure that names the phase.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        let mut seen = Observation::default();
        // A little less than the run has, so that what was seen is not lost to its deadline.
        let end = Instant::now() + (context.timeout - (context.timeout / 10).min(Duration::from_millis(250)));
        let failure = tokio::select! {
            done = timeout_at(end, fetch::fetch(&self.config, end, &mut seen)) => match done {
                Ok(result) => result.err(),
                Err(_) => {
                    let after = seen.phases.last().map_or("the start", |(phase, _)| phase);
                    let limit = Unit::Seconds.show(context.timeout.as_secs_f64());
                    Some(Failure::new(Reason::Timeout, format!("not finished within {limit}; last completed: {after}")))
                }
            },
            () = context.cancelled() => {
                let failure = Failure::new(Reason::Cancelled, "asked to stop");
                return ProbeRun::failed(&self.name, context.now, failure);
            }
        };
        let mut run = ProbeRun::new(&self.name, context.now);
        run.readings = analyse(&self.config, &seen, failure.is_none(), context.now);
        run.failure = failure;
        run
    }
}

/// Turns what was seen into readings stamped `ts`; `fetched` says whether the page arrived whole.
fn analyse(config: &Config, seen: &Observation, fetched: bool, ts: DateTime<Utc>) -> Vec<Reading> {
    let reading = |metric, value| Reading::new(ts, metric, value, 1);
    let expected = fetched && seen.status.is_some_and(|status| config.expects(status)) && seen.text_found == Some(true);
    let mut readings = vec![reading(Metric::PageSuccess, if expected { 1.0 } else { 0.0 })];
    if let Some(response) = seen.response {
        readings.push(reading(Metric::PageResponse, response));
    }
    for (phase, seconds) in &seen.phases {
        readings.push(reading(Metric::PageFetch, *seconds).with(Label::Phase, *phase));
    }
    if let Some(status) = seen.status {
        readings.push(reading(Metric::PageStatus, f64::from(status)));
    }
    if let Some((_, certificate)) =
        seen.certificate.as_ref().and_then(|der| x509_parser::parse_x509_certificate(der).ok())
    {
        let remaining = certificate.validity().not_after.timestamp() - ts.timestamp();
        readings.push(reading(Metric::CertificateRemaining, remaining as f64));
    }
    readings
}

#[cfg(test)]
mod tests;
