//! Probe `media`: one WebRTC call with our own test signal, from which network, sound and picture
//! are judged.
//!
//! The call itself runs in a child process ([`crate::worker`]): a decoder that crashes on what a
//! far end sends takes only the child with it, and the memory of a call goes with the call.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;

use crate::{
    Failure, Metric, Mistake, ProbeRun, Reading, Reason, RunContext,
    units::{Amount, Span, Unit},
    worker::{self, Job, Task},
};

pub mod analysis;
mod burst;
mod call;
pub mod capture;
mod clock;
mod codec;
pub mod delay;
mod far_end;
mod far_log;
mod file;
#[cfg(test)]
mod fixture;
mod freeze;
mod host;
mod ice;
mod identity;
pub mod jitter;
pub mod legs;
pub mod loss;
mod peer;
pub mod picture;
pub mod playout;
pub mod reflector;
mod rendezvous;
pub mod report;
mod sdp;
pub mod signal;
pub(crate) mod slice;
mod socket;
mod stats;
pub mod sync;
pub mod wire;

#[cfg(feature = "fuzz")]
pub use call::fuzz;
pub use far_end::{FarEnd, Remote};
pub use file::{CaptureError, read_capture};
pub use ice::IceServers;

/// The failures a run can end with.
pub const FAILURES: &[Reason] = &[
    Reason::Timeout,
    Reason::Cancelled,
    Reason::Worker,
    Reason::Source,
    Reason::Resolve,
    Reason::Connect,
    Reason::Tls,
    Reason::Signalling,
    Reason::Ice,
    Reason::Dtls,
    Reason::FirstRtp,
    Reason::Undecodable,
];

/// Those that say nothing of the path.
const OURS: &[Reason] = &[Reason::Worker, Reason::Source, Reason::Cancelled, Reason::HostLimited];

/// `[probe.NAME]` with `kind = "media"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the call goes to; `"reflector"`, the default, is this box itself.
    pub far_end: FarEnd,
    /// How long media is measured, 2 s to 60 s. Connecting and a second of warm-up come before it.
    pub duration: Span,
    /// Width of the picture in pixels, a multiple of 16 from 160 to 1920.
    pub width: u32,
    /// Height of the picture in pixels, an even number from 90 to 1088.
    pub height: u32,
    /// Pictures per second, 5 to 60.
    pub frame_rate: u32,
    /// Bit rate of the picture in bits per second, 60 000 to 8 000 000.
    pub video_bits_per_second: u32,
    /// Bit rate of the sound in bits per second, 12 000 to 128 000.
    pub audio_bits_per_second: u32,
    /// How our packets are marked.
    pub dscp: Dscp,
    /// The network interface that media and signalling go by; by default the routes decide.
    pub interface: Option<String>,
    /// A worse path on purpose.
    pub rehearsal: Rehearsal,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            far_end: FarEnd::default(),
            duration: Span(Duration::from_secs(8)),
            width: 640,
            height: 360,
            frame_rate: 30,
            video_bits_per_second: 500_000,
            audio_bits_per_second: 32_000,
            dscp: Dscp::default(),
            interface: None,
            rehearsal: Rehearsal::default(),
        }
    }
}

/// `dscp` of the probe: differentiated services code points (RFC 2474), 0 to 63, to measure what the
/// classroom's own client gets. 0 marks nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dscp {
    /// Of sound, connectivity checks, the handshake and reports.
    pub audio: u8,
    /// Of the picture.
    pub video: u8,
}

/// `[probe.NAME.rehearsal]`: what is done to our own outgoing media, to see the measurement and the
/// judgement work. Connectivity checks and the handshake are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rehearsal {
    /// How much later each packet leaves, up to 2 s.
    pub delay: Span,
    /// Share of packets that never leave, 0 to 0.5.
    #[serde(deserialize_with = "ratio")]
    pub loss: f64,
}

impl Default for Rehearsal {
    fn default() -> Self {
        Self { delay: Span(Duration::ZERO), loss: 0.0 }
    }
}

impl Rehearsal {
    /// Whether nothing is done.
    fn is_none(&self) -> bool {
        self.delay.0.is_zero() && self.loss <= 0.0
    }
}

fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Amount(Unit::Ratio))
}

impl Config {
    /// Whether the path is made worse on purpose.
    pub fn rehearses(&self) -> bool {
        !self.rehearsal.is_none()
    }

    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut expect = |key: &str, good: bool, found: String, expected: &str| {
            if !good {
                mistakes.push(Mistake::new(key, format!("found {found}, expected {expected}")));
            }
        };
        let seconds = |span: Span| Unit::Seconds.show(span.0.as_secs_f64());
        let duration = self.duration.0.as_secs_f64();
        expect("duration", (2.0..=60.0).contains(&duration), seconds(self.duration), "2 s to 60 s");
        let width = (160..=1920).contains(&self.width) && self.width.is_multiple_of(16);
        expect("width", width, self.width.to_string(), "a multiple of 16 from 160 to 1920");
        let height = (90..=1088).contains(&self.height) && self.height.is_multiple_of(2);
        expect("height", height, self.height.to_string(), "an even number from 90 to 1088");
        expect("frame_rate", (5..=60).contains(&self.frame_rate), self.frame_rate.to_string(), "5 to 60");
        let (video, audio) = (self.video_bits_per_second, self.audio_bits_per_second);
        expect("video_bits_per_second", (60_000..=8_000_000).contains(&video), video.to_string(), "60000 to 8000000");
        expect("audio_bits_per_second", (12_000..=128_000).contains(&audio), audio.to_string(), "12000 to 128000");
        for (key, value) in [("dscp.audio", self.dscp.audio), ("dscp.video", self.dscp.video)] {
            expect(key, value < 64, value.to_string(), "0 to 63");
        }
        if let Some(name) = &self.interface {
            // The kernel would cut what is longer, and take the interface of the rest (netdevice(7)).
            let good = (1..=15).contains(&name.len()) && !name.contains(['/', ' ', '\0']);
            expect("interface", good, format!("{name:?}"), "the name of a network interface, such as eth0");
            let reachable = self.far_end != FarEnd::Reflector || name == "lo" || !good;
            expect("interface", reachable, format!("{name:?} beside the embedded far end"), "none, or lo");
            let reachable = !self.far_end.has_turn_by_stream() || name == "lo";
            expect("interface", reachable, format!("{name:?} beside TURN over TCP or TLS"), "TURN over UDP");
        }
        let Rehearsal { delay, loss } = self.rehearsal;
        expect("rehearsal.delay", delay.0 <= Duration::from_secs(2), seconds(delay), "at most 2 s");
        expect("rehearsal.loss", (0.0..=0.5).contains(&loss), Unit::Ratio.show(loss), "0 to 50 %");
        mistakes.extend(self.far_end.check().into_iter().map(|mistake| mistake.below("far_end")));
        mistakes
    }
}

/// The probe. It keeps nothing between runs.
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

    /// Makes one call in a child process. A call that failed on its way reads `media_success` 0;
    /// where it failed on us, nothing is read.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        let started = Instant::now();
        let run = worker::run(&self.name, Task::Media(self.config.clone()), context).await;
        let mut run = run.unwrap_or_else(|failure| ProbeRun::failed(&self.name, context.now, failure));
        let read = run.readings.iter().any(|reading| reading.metric == Metric::MediaSuccess);
        if !read && run.failure.as_ref().is_some_and(|failure| !OURS.contains(&failure.reason)) {
            let ended = context.now + started.elapsed();
            run.readings.push(Reading::new(ended, Metric::MediaSuccess, 0.0, 1));
        }
        run
    }
}

/// Makes the call in this process and analyses it; ends early with the failure that `end` gives.
pub(crate) async fn make_call(
    job: &Job,
    config: &Config,
    progress: &(dyn Fn(&str, f64) + Sync),
    end: impl Future<Output = Failure>,
) -> ProbeRun {
    let (seed, started_at) = (job.seed, job.started_at);
    let order = call::Order { config, seed, started_at, connect: call::CONNECT, progress };
    let capture = match call::call(&order, end).await {
        Ok(capture) => capture,
        Err(failure) => return ProbeRun::failed(&job.probe, job.started_at, failure),
    };
    let mut run = ProbeRun::new(&job.probe, job.started_at);
    if let Some(folder) = &job.capture
        && let Err(error) = file::write_capture(folder, &job.probe, job.started_at, &capture)
    {
        let detail = format!("no capture could be written into {}: {error}", folder.display());
        run.absent.push(Failure::new(Reason::Worker, detail));
    }
    analysis::analyse(&capture, &mut run);
    run
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn defaults_are_right_and_values_carry_units() {
        assert_eq!(config("{}"), Config::default());
        assert!(Config::default().check().is_empty());
        let rehearsal = r#"{"duration":"10 s","rehearsal":{"delay":"80 ms","loss":"2 %"}}"#;
        let expected = Rehearsal { delay: Span(Duration::from_millis(80)), loss: 0.02 };
        assert_eq!(config(rehearsal).rehearsal, expected);
        let marked = r#"{"dscp":{"audio":46,"video":34},"interface":"lo"}"#;
        assert!(config(marked).check().is_empty());
        assert_eq!(config(marked).dscp, Dscp { audio: 46, video: 34 });
        assert_eq!(config(r#"{"dscp":{"audio":46}}"#).dscp.video, 0);
        for interface in ["", "a/b", "sixteen-letters-", "eth0"] {
            let named = Config { interface: Some(interface.to_owned()), ..Config::default() };
            assert_eq!(named.check().len(), 1, "{interface}");
        }
        for (url, mistakes) in [("turn:a.example", 0), ("turn:a.example?transport=tcp", 1), ("turns:a.example", 1)] {
            let mut far_end: far_end::Remote =
                serde_json::from_str(r#"{"kind":"reflect","url":"https://a.example"}"#).expect("a far end");
            far_end.ice_servers = vec![ice::IceServers { urls: vec![url.to_owned()], ..Default::default() }];
            let far_end = FarEnd::Remote(Box::new(far_end));
            let named = Config { interface: Some("eth0".to_owned()), far_end, ..Config::default() };
            let found = named.check().into_iter().filter(|mistake| mistake.key == "interface").count();
            assert_eq!(found, mistakes, "{url}");
        }
        assert!(serde_json::from_str::<Config>(r#"{"bitrate":1}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"far_end":"nowhere"}"#).is_err());
    }

    #[test]
    fn every_range_is_checked_and_the_message_says_what_was_found_and_expected() {
        let all = r#"{"duration":1,"width":632,"height":361,"frame_rate":0,"video_bits_per_second":1,
            "audio_bits_per_second":500000,"dscp":{"audio":64,"video":255},"interface":"the first one",
            "rehearsal":{"delay":"3 s","loss":0.9}}"#;
        let mistakes: Vec<String> =
            config(all).check().iter().map(|mistake| format!("{}: {}", mistake.key, mistake.message)).collect();
        assert_eq!(
            mistakes,
            [
                "duration: found 1 s, expected 2 s to 60 s",
                "width: found 632, expected a multiple of 16 from 160 to 1920",
                "height: found 361, expected an even number from 90 to 1088",
                "frame_rate: found 0, expected 5 to 60",
                "video_bits_per_second: found 1, expected 60000 to 8000000",
                "audio_bits_per_second: found 500000, expected 12000 to 128000",
                "dscp.audio: found 64, expected 0 to 63",
                "dscp.video: found 255, expected 0 to 63",
                "interface: found \"the first one\", expected the name of a network interface, such as eth0",
                "rehearsal.delay: found 3 s, expected at most 2 s",
                "rehearsal.loss: found 90 %, expected 0 to 50 %",
            ]
        );
    }
}
