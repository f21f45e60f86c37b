//! What a probe run yields: readings, facts, or why there are none.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    echo::Accepted,
    labels::Labels,
    media::capture::Stream,
    metric::{Label, Metric},
    units::Unit,
};

/// Whether a value may be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// Measured as specified.
    Ok,
    /// Measured, but from fewer samples than the definition asks for.
    LowConfidence,
    /// Not to be judged and not exported; the reading's reason says why.
    Inconclusive,
}

/// Why a value or a run is inconclusive, or a run failed. Closed: the same word stands in logs,
/// metrics and bookings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The box itself was too busy for its timing to be believed.
    HostLimited,
    /// The wall clock was stepped during the run.
    ClockStep,
    /// Too few samples for a number.
    FewSamples,
    /// The run's own deadline passed.
    Timeout,
    /// The daemon was asked to stop.
    Cancelled,
    /// The worker process could not be started, or died.
    Worker,
    /// Offer and answer could not be exchanged.
    Signalling,
    /// No candidate pair worked.
    Ice,
    /// The DTLS handshake failed.
    Dtls,
    /// Connected, but no media arrived.
    FirstRtp,
    /// Media arrived, but none could be decoded as ours.
    Undecodable,
    /// The far end codes anew, so none of our packets comes back.
    Transcode,
    /// The name could not be resolved.
    Resolve,
    /// The connection was refused, reset or unreachable.
    Connect,
    /// The TLS handshake failed, certificate included.
    Tls,
    /// The request could not be sent, or its answer was no HTTP.
    Http,
    /// More bytes came than the configured bound.
    TooLarge,
    /// A source that should hold a value could not be read.
    Source,
    /// A source was read, but held no value.
    Parse,
    /// The system does not let us look.
    NotPermitted,
    /// A share of link or processor, as configured, left less room than was asked for.
    Bounded,
    /// No sound server answers.
    NoServer,
    /// There is no loudspeaker or microphone of this name, or none at all.
    NoDevice,
    /// A sound device is taken by somebody else.
    DeviceBusy,
    /// A sound device went away while it was used.
    DeviceLost,
    /// A sound device or server took or gave no sound for too long.
    Stalled,
    /// The sound that came was not in the format that was agreed upon.
    Format,
    /// Sound was lost, repeated or shifted on its way through the box.
    Slip,
    /// The loudspeaker or the microphone is muted.
    Muted,
    /// A loudspeaker or a microphone is dead, so there is no echo to be measured.
    Dead,
    /// The echo cannot be told from the noise.
    Noise,
    /// The microphone is driven beyond full scale.
    Clipped,
    /// The room plays too little that could come back.
    NothingPlayed,
}

impl Reason {
    /// The word used in logs, metrics and bookings.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostLimited => "host_limited",
            Self::ClockStep => "clock_step",
            Self::FewSamples => "few_samples",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Worker => "worker",
            Self::Signalling => "signalling",
            Self::Ice => "ice",
            Self::Dtls => "dtls",
            Self::FirstRtp => "first_rtp",
            Self::Undecodable => "undecodable",
            Self::Transcode => "transcode",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::TooLarge => "too_large",
            Self::Source => "source",
            Self::Parse => "parse",
            Self::NotPermitted => "not_permitted",
            Self::Bounded => "bounded",
            Self::NoServer => "no_server",
            Self::NoDevice => "no_device",
            Self::DeviceBusy => "device_busy",
            Self::DeviceLost => "device_lost",
            Self::Stalled => "stalled",
            Self::Format => "format",
            Self::Slip => "slip",
            Self::Muted => "muted",
            Self::Dead => "dead",
            Self::Noise => "noise",
            Self::Clipped => "clipped",
            Self::NothingPlayed => "nothing_played",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When the measurement was finished.
    pub ts: DateTime<Utc>,
    /// What was measured.
    pub metric: Metric,
    /// Which series of the metric, beside the probe.
    #[serde(default)]
    pub labels: Labels,
    /// The value in base units of the metric.
    pub value: f64,
    /// The metric's unit, repeated for readers without the vocabulary.
    pub unit: Unit,
    /// How many samples the value rests on.
    pub n: u64,
    /// Lower end of the 95 % interval, where one is defined.
    pub low: Option<f64>,
    /// Upper end of the 95 % interval, where one is defined.
    pub high: Option<f64>,
    /// Whether the value may be judged.
    pub validity: Validity,
    /// Why it is not `ok`.
    pub reason: Option<Reason>,
}

impl Reading {
    /// A valid reading without labels, of `n` samples.
    pub fn new(ts: DateTime<Utc>, metric: Metric, value: f64, n: u64) -> Self {
        let unit = metric.spec().unit;
        Self {
            ts,
            metric,
            labels: Labels::new(),
            value,
            unit,
            n,
            low: None,
            high: None,
            validity: Validity::Ok,
            reason: None,
        }
    }

    /// The same with one more label.
    #[must_use]
    pub fn with(mut self, label: Label, value: impl AsRef<str>) -> Self {
        debug_assert!(self.metric.spec().labels.contains(&label), "{} has no label {}", self.metric, label.name());
        self.labels.insert(label, value);
        self
    }

    /// The same with its 95 % interval.
    #[must_use]
    pub fn between(mut self, low: f64, high: f64) -> Self {
        (self.low, self.high) = (Some(low), Some(high));
        self
    }

    /// The same, no longer to be judged.
    #[must_use]
    pub fn inconclusive(mut self, reason: Reason) -> Self {
        (self.validity, self.reason) = (Validity::Inconclusive, Some(reason));
        self
    }
}

/// What a component's version was when the probe looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentVersion {
    /// Component name as configured, or `os`, `kernel`, `bellwether`.
    pub component: String,
    /// The version as its source writes it.
    pub version: String,
    /// Whether a change of it opens a booking of kind `upgrade_check`.
    pub book_on_change: bool,
}

/// What the far end of a call does to a stream, by what of it comes back as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Packets come back: the far end selects and forwards.
    Forward,
    /// Pictures come back, in other packets. What is lost before the far end leaves no gap behind it,
    /// so packets are counted in whole pictures.
    Repacketise,
    /// Neither comes back, only what they show: the far end codes anew, or mixes. Nothing is known of
    /// single packets.
    Transcode,
}

impl Class {
    /// The word used in labels and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Repacketise => "repacketise",
            Self::Transcode => "transcode",
        }
    }
}

/// How one stream of a call came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaPath {
    /// Which stream.
    pub stream: Stream,
    /// What the far end does to it.
    pub class: Class,
    /// The codec that was agreed upon, as SDP names it.
    pub codec: String,
    /// The profile received: of H.264 the `profile-level-id` (RFC 6184 §8.1).
    pub profile: Option<String>,
}

/// Why a run gave no readings, or not all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The closed reason: a phase, or what the run ran into.
    pub reason: Reason,
    /// One line for people: what was tried and what happened. Never a label, never a secret.
    pub detail: String,
}

impl Failure {
    /// A failure for `reason`, explained by `detail`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// One execution of one probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRun {
    /// Name of the probe in the config.
    pub probe: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
    /// Everything that was measured.
    pub readings: Vec<Reading>,
    /// Versions that were read.
    pub versions: Vec<ComponentVersion>,
    /// How the streams of a call came back.
    #[serde(default)]
    pub paths: Vec<MediaPath>,
    /// Parts that could not be measured, or not as configured, each with its reason; the run itself still
    /// counts.
    pub absent: Vec<Failure>,
    /// Why the whole run failed; `None` if it is a run to be judged.
    pub failure: Option<Failure>,
    /// Why the run must not be judged although it measured.
    pub inconclusive: Option<Reason>,
    /// Whether the microphone of the room was listened to.
    #[serde(default)]
    pub microphone: bool,
    /// The state of the room's sound that this run has found, if all of it is sure: what a person may accept.
    #[serde(default)]
    pub acceptable: Option<Accepted>,
}

impl ProbeRun {
    /// An empty run, to be filled.
    pub fn new(probe: impl Into<String>, started_at: DateTime<Utc>) -> Self {
        Self {
            probe: probe.into(),
            started_at,
            duration_seconds: 0.0,
            readings: Vec::new(),
            versions: Vec::new(),
            paths: Vec::new(),
            absent: Vec::new(),
            failure: None,
            inconclusive: None,
            microphone: false,
            acceptable: None,
        }
    }

    /// A run that failed as a whole.
    pub fn failed(probe: impl Into<String>, started_at: DateTime<Utc>, failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::new(probe, started_at) }
    }
}
