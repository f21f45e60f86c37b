//! The JSON lines of a history, as `replay` reads them (`detection.md` §6): each sample is a reading in the one
//! shape of the program, with the room as one label more.
//!
//! A half-hour is a line with `"block_s":1800`, begun at `ts`: its typical value, of `n` samples, of
//! `low_confidence` if these were too few. The sum of a day is a line with `"block_s":86400`: its median,
//! `min`, `p95` and `max`.

use std::{collections::BTreeMap, sync::Arc};

use bellwether_probes::{Reason, Unit, Validity};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::{
    BLOCK_MS, DAY_MS, Event, PROBE_OK, Sample, Series, What,
    fold::{Block, Sum},
    pack::reason_of,
};
use crate::replay::{Item, Malformed, parse};

/// Labels that name the place, which is not part of a series.
const PLACES: [&str; 4] = ["room", "service", "building", "hardware"];

/// One thing that a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A sample of a series.
    Sample(Arc<Series>, Sample),
    /// A half-hour of a series, by its begin in milliseconds.
    Block(Arc<Series>, i64, Block),
    /// The sum of a UTC day of a series, by its begin in milliseconds.
    Sum(Arc<Series>, i64, Sum),
    /// An event.
    Event(Event),
}

impl Entry {
    /// Its instant, in milliseconds since 1970; of a half-hour or a day, when that begins.
    pub fn at(&self) -> i64 {
        match self {
            Self::Sample(_, sample) => sample.at,
            Self::Block(_, at, _) | Self::Sum(_, at, _) => *at,
            Self::Event(event) => event.at,
        }
    }
}

/// A line that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The room that it is of.
    pub room: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What it says; nothing, if that is of no use here.
    pub entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Shape<'a> {
    ts: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// A number is written as short as its own precision allows.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Single(f32),
    Double(f64),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rest<'a> {
    Reading {
        metric: &'a str,
        labels: BTreeMap<&'a str, &'a str>,
        value: Option<Number>,
        unit: Option<Unit>,
        n: u64,
        low: Option<f64>,
        high: Option<f64>,
        validity: Validity,
        reason: Option<Reason>,
        #[serde(skip_serializing_if = "Option::is_none")]
        block_s: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        min: Option<f32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        p95: Option<f32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max: Option<f32>,
    },
    Version {
        labels: BTreeMap<&'a str, &'a str>,
        from: &'a str,
        to: &'a str,
    },
    Lesson {
        labels: BTreeMap<&'a str, &'a str>,
        start: String,
        end: String,
    },
    Maintenance {
        labels: BTreeMap<&'a str, &'a str>,
        action: &'a str,
        booking: &'a str,
    },
}

fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn unit(series: &Series) -> Option<Unit> {
    if series.metric == PROBE_OK {
        return Some(Unit::One);
    }
    series.known().map(|metric| metric.spec().unit)
}

fn labels<'a>(room: &'a str, series: &'a Series) -> BTreeMap<&'a str, &'a str> {
    let own = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    own.chain([("room", room)]).collect()
}

/// The line of an entry of a room, without its end.
pub fn write(room: &str, entry: &Entry) -> String {
    let (at, event, rest) = match entry {
        Entry::Sample(series, sample) => {
            let Sample { at, value, n, low, high, validity, reason } = *sample;
            let rest = Rest::Reading {
                metric: &series.metric,
                labels: labels(room, series),
                value: value.map(Number::Double),
                unit: unit(series),
                n,
                low,
                high,
                validity,
                reason,
                block_s: None,
                min: None,
                p95: None,
                max: None,
            };
            (at, None, rest)
        }
        Entry::Block(series, at, block) => {
            let validity = if block.thin { Validity::LowConfidence } else { Validity::Ok };
            let reason = block.thin.then_some(Reason::FewSamples);
            (*at, None, aggregate(room, series, block.value, block.n, (validity, reason), BLOCK_MS))
        }
        Entry::Sum(series, at, sum) => {
            let mut rest = aggregate(room, series, sum.median, sum.n, (Validity::Ok, None), DAY_MS);
            if let Rest::Reading { min, p95, max, .. } = &mut rest {
                (*min, *p95, *max) = (Some(sum.min), Some(sum.p95), Some(sum.max));
            }
            (*at, None, rest)
        }
        Entry::Event(Event { at, what }) => {
            let mut labels = BTreeMap::from([("room", room)]);
            let (event, rest) = match what {
                What::VersionChange { component, from, to } => {
                    labels.insert("component", component);
                    ("version_change", Rest::Version { labels, from, to })
                }
                What::Lesson { start, end } => {
                    ("lesson", Rest::Lesson { labels, start: time(*start), end: time(*end) })
                }
                What::Maintenance { action, booking } => ("maintenance", Rest::Maintenance { labels, action, booking }),
            };
            (*at, Some(event), rest)
        }
    };
    // Our own types have string keys and no failing fields.
    serde_json::to_string(&Shape { ts: time(at), event, rest }).unwrap_or_default()
}

fn aggregate<'a>(
    room: &'a str,
    series: &'a Series,
    value: f32,
    n: u32,
    (validity, reason): (Validity, Option<Reason>),
    length: i64,
) -> Rest<'a> {
    Rest::Reading {
        metric: &series.metric,
        labels: labels(room, series),
        value: Some(Number::Single(value)),
        unit: unit(series),
        n: u64::from(n),
        low: None,
        high: None,
        validity,
        reason,
        block_s: Some(length / 1000),
        min: None,
        p95: None,
        max: None,
    }
}

/// What a line may say beyond what `replay` needs. Whatever is not as it should be counts as absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct More {
    n: Option<serde_json::Value>,
    low: Option<serde_json::Value>,
    high: Option<serde_json::Value>,
    validity: Option<serde_json::Value>,
    reason: Option<serde_json::Value>,
    min: Option<serde_json::Value>,
    p95: Option<serde_json::Value>,
    max: Option<serde_json::Value>,
    value: Option<serde_json::Value>,
    from: Option<serde_json::Value>,
}

fn number(value: Option<&serde_json::Value>) -> Option<f64> {
    value?.as_f64().filter(|number| number.is_finite())
}

fn single(value: Option<f64>) -> Option<f32> {
    value.map(|value| value as f32).filter(|value| value.is_finite())
}

/// Reads a line. What `replay` accepts is accepted; what it does not need and this does may be absent.
///
/// # Errors
/// As `replay`'s.
pub fn read(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let line = parse(bytes)?;
    let more: More = serde_json::from_slice(bytes).unwrap_or_default();
    let at = line.at;
    let series = |metric: &str| {
        Arc::new(Series {
            metric: metric.to_owned(),
            labels: line
                .labels
                .iter()
                .filter(|(name, _)| !PLACES.contains(&name.as_ref()))
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        })
    };
    let entries = match &line.item {
        Item::Values(values) => {
            values.iter().map(|(metric, value)| Entry::Sample(series(metric), sample(at, *value, &more))).collect()
        }
        Item::Unsure { metric, value, .. } => vec![Entry::Sample(series(metric), sample(at, Some(*value), &more))],
        Item::Block { metric, seconds, .. } => aggregated(series(metric), at, *seconds, &more).into_iter().collect(),
        Item::Version { to } => {
            let from = more.from.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            let component = line.label("component").unwrap_or_default().to_owned();
            event(at, What::VersionChange { component, from, to: to.to_string() })
        }
        Item::Lesson { start, end } => event(at, What::Lesson { start: *start, end: *end }),
        Item::Maintenance { action, booking } => {
            event(at, What::Maintenance { action: action.to_string(), booking: booking.to_string() })
        }
        Item::Other => Vec::new(),
    };
    Ok(Parsed { room: line.label("room").map(str::to_owned), at, entries })
}

fn event(at: i64, what: What) -> Vec<Entry> {
    vec![Entry::Event(Event { at, what })]
}

fn sample(at: i64, judged: Option<f64>, more: &More) -> Sample {
    let validity = more.validity.as_ref().and_then(|word| Validity::deserialize(word).ok()).unwrap_or(Validity::Ok);
    // What must not be judged was measured all the same.
    let value = judged.or_else(|| number(more.value.as_ref()).filter(|_| validity == Validity::Inconclusive));
    Sample {
        at,
        value,
        n: more.n.as_ref().and_then(serde_json::Value::as_u64).unwrap_or(1),
        low: number(more.low.as_ref()),
        high: number(more.high.as_ref()),
        validity,
        reason: more.reason.as_ref().and_then(serde_json::Value::as_str).and_then(reason_of),
    }
}

fn aggregated(series: Arc<Series>, at: i64, seconds: i64, more: &More) -> Option<Entry> {
    let value = single(number(more.value.as_ref()))?;
    let n = more.n.as_ref().and_then(serde_json::Value::as_u64).and_then(|n| u32::try_from(n).ok())?;
    match seconds.checked_mul(1000)? {
        BLOCK_MS if at.rem_euclid(BLOCK_MS) == 0 => {
            let thin = more.validity.as_ref().and_then(|word| word.as_str()) == Some("low_confidence");
            Some(Entry::Block(series, at, Block { value, n, thin }))
        }
        DAY_MS if at.rem_euclid(DAY_MS) == 0 => {
            let [min, p95, max] = [&more.min, &more.p95, &more.max].map(|value| single(number(value.as_ref())));
            Some(Entry::Sum(series, at, Sum { n, min: min?, median: value, p95: p95?, max: max? }))
        }
        _ => None,
    }
}

/// The labels of a line that tell series of one metric apart, as the decision engine names them; with the
/// metric they are its name of a measure.
pub fn measure_labels(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(",")
}
