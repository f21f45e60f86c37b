//! Probe `load`: how many users the room's media server has now, and its own processor, memory and network.
//!
//! Each run asks one [`Source`] once: an exporter for Prometheus, a JSON document, or the Admin API of a Janus
//! server. The shell ([`fetch`]) yields a text; the pure readers below turn it into values. What counts up
//! becomes a rate over the time since the last answer; the first answer has none. What is not there, or cannot
//! be, is absent with its reason, never zero.

mod config;
mod document;
mod exposition;
mod fetch;
mod host;
mod janus;
mod selector;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};

pub use self::config::{Config, Place, Source};
use self::{
    exposition::samples,
    host::{Counters, Host, Measured},
    selector::Selector,
};
use crate::{Failure, Metric, ProbeRun, Reading, Reason, RunContext, Unit, secret::Secret};

/// The failures a run can end with, or list as absent.
pub const FAILURES: &[Reason] = &[
    Reason::Timeout,
    Reason::Cancelled,
    Reason::Resolve,
    Reason::Connect,
    Reason::Tls,
    Reason::Http,
    Reason::TooLarge,
    Reason::Source,
    Reason::Parse,
    Reason::NotPermitted,
    Reason::FewSamples,
    Reason::ClockStep,
];

/// What it measures. Each is one series of a probe, and any of them can be the load of the room's service.
pub const METRICS: [Metric; 5] = [
    Metric::ServiceUsers,
    Metric::ServiceCpuUtilization,
    Metric::ServiceMemoryUtilization,
    Metric::ServiceNetworkReceive,
    Metric::ServiceNetworkTransmit,
];

/// How far the wall clock and the clock of rates may part between two runs, in seconds.
const CLOCKS_PART: f64 = 1.0;

/// The probe with what it keeps between runs.
#[derive(Debug)]
pub struct Probe {
    name: String,
    config: Config,
    last: Option<Look>,
}

/// The counters of a run, and when it was.
#[derive(Debug)]
struct Look {
    counters: Counters,
    /// When the answer had come, on the clock of rates.
    at: Instant,
    /// The same instant twice: the start of the run on either clock.
    began: (Instant, DateTime<Utc>),
}

impl Probe {
    /// A probe that has not run yet.
    pub fn new(name: &str, config: Config) -> Self {
        Self { name: name.to_owned(), config, last: None }
    }

    /// The probe's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks once. A run without any value has failed; a rate that is not known yet is no failure.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        let began = (Instant::now(), context.now);
        // A little less than the run has, so that the failure is ours to word.
        let end = began.0 + (context.timeout - (context.timeout / 10).min(Duration::from_millis(250)));
        let asked = tokio::select! {
            asked = timeout_at(end, self.ask(context, end, began)) => asked.unwrap_or_else(|_| {
                let limit = Unit::Seconds.show(context.timeout.as_secs_f64());
                Err(Failure::new(Reason::Timeout, format!("no whole answer within {limit}")))
            }),
            () = context.cancelled() => Err(Failure::new(Reason::Cancelled, "asked to stop")),
        };
        let mut run = ProbeRun::new(&self.name, context.now);
        match asked {
            Ok(values) => (run.readings, run.absent) = readings(values, context.now),
            Err(failure) => run.failure = Some(failure),
        }
        if run.readings.is_empty() {
            let fails = |failure: &&Failure| !matches!(failure.reason, Reason::FewSamples | Reason::ClockStep);
            run.failure = run.failure.or_else(|| run.absent.iter().find(fails).cloned());
        }
        run
    }

    async fn ask(
        &mut self,
        context: &RunContext,
        end: Instant,
        began: (Instant, DateTime<Utc>),
    ) -> Result<Vec<(Metric, Measured)>, Failure> {
        let config = &self.config;
        match config.source() {
            Some(Source::Prometheus) => {
                let text = fetch::fetch(config, "text/plain;version=0.0.4,*/*;q=0.1", None, end).await?;
                let at = Instant::now();
                let before = self.last.as_ref().map(|last| {
                    let passed = (began.0.saturating_duration_since(last.began.0)).as_secs_f64();
                    let by_wall = (began.1 - last.began.1).as_seconds_f64();
                    let seconds = at.saturating_duration_since(last.at).as_secs_f64();
                    (&last.counters, together(passed, by_wall).map(|()| seconds))
                });
                let (values, counters) = exposed(config, &text, before)?;
                self.last = config.host.then_some(Look { counters, at, began });
                Ok(values)
            }
            Some(Source::Json) => {
                let text = fetch::fetch(config, "application/json", None, end).await?;
                document::values(&text, config.places().map(|(metric, _, place)| (metric, place)))
            }
            Some(Source::Janus) => {
                let file = config.admin_secret_file.as_deref();
                let file = file.ok_or_else(|| Failure::new(Reason::Source, "no admin_secret_file is configured"))?;
                let secret = Secret::read(file).map_err(|message| Failure::new(Reason::Source, message))?;
                let transaction = format!("bellwether-{:x}", context.seed);
                let request = janus::request(&secret, &transaction);
                let text = fetch::fetch(config, "application/json", Some(request), end).await?;
                Ok(vec![(Metric::ServiceUsers, janus::sessions(&text, &transaction))])
            }
            None => Err(Failure::new(Reason::Source, "no source is configured")),
        }
    }
}

/// Whether two clocks saw the same time pass, in seconds: else one was set, or the box slept.
fn together(passed: f64, by_wall: f64) -> Result<(), Failure> {
    if (passed - by_wall).abs() <= CLOCKS_PART + passed / 100.0 {
        return Ok(());
    }
    Err(Failure::new(Reason::ClockStep, "the clock of this box was set, or it slept, since the last scrape"))
}

/// What an exporter's text says, with the counters of the last one and the seconds since; and its counters.
fn exposed(
    config: &Config,
    text: &str,
    before: Option<(&Counters, Result<f64, Failure>)>,
) -> Result<(Vec<(Metric, Measured)>, Counters), Failure> {
    let users = config.users.as_ref();
    let selector = users.map(|users| Selector::parse(&users.at)).transpose();
    let selector = selector.map_err(|what| Failure::new(Reason::Source, format!("users: {what}")))?;
    let (mut sum, mut host) = (None, Host::default());
    for sample in samples(text) {
        let sample = sample?;
        if selector.as_ref().is_some_and(|selector| selector.selects(&sample.series)) {
            *sum.get_or_insert(0.0) += sample.value;
        }
        if config.host {
            host.take(&sample, &config.devices);
        }
    }
    let mut values = Vec::new();
    if let Some(users) = users {
        let none = || Failure::new(Reason::Parse, format!("found no series {}", users.at));
        values.push((Metric::ServiceUsers, sum.map(|sum| sum * users.times).ok_or_else(none)));
    }
    if config.host {
        values.extend(host.values(before));
    }
    Ok((values, host.counters))
}

/// Readings stamped `ts` of the values that can be, and why the others are none.
fn readings(values: Vec<(Metric, Measured)>, ts: DateTime<Utc>) -> (Vec<Reading>, Vec<Failure>) {
    let (mut readings, mut absent) = (Vec::new(), Vec::new());
    for (metric, value) in values {
        match value.and_then(|value| possible(metric, value)) {
            Ok(value) => readings.push(Reading::new(ts, metric, value, 1)),
            Err(Failure { reason, detail }) => absent.push(Failure::new(reason, format!("{metric}: {detail}"))),
        }
    }
    (readings, absent)
}

/// A value that the metric can have: a count or rate of 0 or more, a share of 1 at most.
fn possible(metric: Metric, value: f64) -> Measured {
    let (possible, expected) = match metric.spec().unit {
        Unit::Ratio => ((0.0..=1.0).contains(&value), "a share from 0 to 1 (of 100: times = 0.01)"),
        _ => ((0.0..=f64::MAX).contains(&value), "a number of 0 or more"),
    };
    if possible { Ok(value) } else { Err(Failure::new(Reason::Parse, format!("found {value}, expected {expected}"))) }
}

/// Door for the fuzz target: what a media server and its exporters may answer.
#[cfg(feature = "fuzz")]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let users = Some(Place { at: "users{room=\"1\"}".to_owned(), times: 1.0 });
    let config = Config { users, host: true, ..Config::default() };
    let first = exposed(&config, text, None);
    if let Ok((values, counters)) = first {
        let twice = exposed(&config, text, Some((&counters, Ok(60.0))));
        let (again, _) = twice.unwrap_or_else(|failure| unreachable!("{failure:?}: it was read before"));
        let found = [values, again].map(|values| readings(values, DateTime::UNIX_EPOCH).0);
        for reading in found.iter().flatten() {
            assert!(reading.value.is_finite() && reading.value >= 0.0, "{reading:?}");
        }
    }
    // Whatever is one series stays the same series when it is written out again.
    for sample in samples(text).map_while(Result::ok) {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels =
            sample.series.labels.iter().map(|(key, value)| format!(",\"{}\"=\"{}\"", quote(key), quote(value)));
        let written = format!("{{\"{}\"{}}}", quote(&sample.series.name), labels.collect::<String>());
        let (read, rest) = exposition::series(&written).unwrap_or_else(|what| unreachable!("{written}: {what}"));
        assert_eq!((read, rest), (sample.series, ""), "{written}");
    }
    let place = Place { at: "/users/0".to_owned(), times: 0.5 };
    let _numbers = document::values(text, [(Metric::ServiceUsers, &place)].into_iter());
    let _sessions = janus::sessions(text, "t");
}

#[cfg(test)]
mod tests;
