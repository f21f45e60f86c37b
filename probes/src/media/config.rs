//! `[probe.NAME]` with `kind = "media"`: what a call is to be. Keys whose default depends on the profile are
//! resolved in one place, [`Config::wanted`].

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    FarEnd,
    bounds::{PictureFormat, Plan},
};
use crate::{
    Mistake,
    units::{Amount, Span, Unit},
};

/// What a call carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Sound and picture.
    #[default]
    Full,
    /// Sound alone: no picture is offered, made, sent or decoded.
    Light,
}

/// `[probe.NAME]` with `kind = "media"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the call carries.
    pub profile: Profile,
    /// What the call goes to; `"reflector"`, the default, is this box itself.
    pub far_end: FarEnd,
    /// How long media is measured, 2 s to 60 s. Connecting and a second of warm-up come before it.
    pub duration: Span,
    /// Width of the picture in pixels, a multiple of 16 from 160 to 1920; 640 by default.
    pub width: Option<u32>,
    /// Height of the picture in pixels, an even number from 90 to 1088; 360 by default.
    pub height: Option<u32>,
    /// Pictures per second, 5 to 60; 30 by default.
    pub frame_rate: Option<u32>,
    /// Bit rate of the picture in bits per second, 60 000 to 8 000 000; 500 000 by default.
    pub video_bits_per_second: Option<u32>,
    /// Bit rate of the sound in bits per second: of a full call 12 000 to 128 000, 32 000 by default; of a
    /// light one 24 000 to 32 000, 24 000 by default.
    pub audio_bits_per_second: Option<u32>,
    /// The share of the link's speed that the call may fill, 1 % to 100 %.
    #[serde(deserialize_with = "ratio")]
    pub link_share: f64,
    /// The share of one core that coding of the picture may take, 1 % to 100 %; 25 % by default.
    #[serde(deserialize_with = "some_ratio")]
    pub cpu_share: Option<f64>,
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
            profile: Profile::Full,
            far_end: FarEnd::default(),
            duration: Span(Duration::from_secs(20)),
            width: None,
            height: None,
            frame_rate: None,
            video_bits_per_second: None,
            audio_bits_per_second: None,
            link_share: 0.10,
            cpu_share: None,
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
    pub(crate) fn is_none(&self) -> bool {
        self.delay.0.is_zero() && self.loss <= 0.0
    }
}

fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Amount(Unit::Ratio))
}

fn some_ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    // The worker is told `null` where the config says nothing.
    #[derive(Deserialize)]
    struct Share(#[serde(deserialize_with = "ratio")] f64);
    Ok(Option::<Share>::deserialize(deserializer)?.map(|share| share.0))
}

/// Bit rates of a light call's sound. The least keeps it within 60 kbit/s on the wire on every path, IPv6
/// and TURN included; the most does over IPv4 without a relay.
const LIGHT_BITS_PER_SECOND: RangeInclusive<u32> = 24_000..=32_000;
/// What is expected of a key of the picture beside a light profile.
const NO_PICTURE: &str = "none: a light call has no picture";
/// Bit rates of a full call's sound.
const FULL_BITS_PER_SECOND: RangeInclusive<u32> = 12_000..=128_000;

impl Config {
    /// Whether the path is made worse on purpose.
    pub fn rehearses(&self) -> bool {
        !self.rehearsal.is_none()
    }

    /// What is to be sent, whatever link and processor allow: what the config says, and where it says
    /// nothing the default of the profile.
    pub(crate) fn wanted(&self) -> Plan {
        let (sound, picture) = match self.profile {
            Profile::Full => (32_000, true),
            Profile::Light => (*LIGHT_BITS_PER_SECOND.start(), false),
        };
        let format = PictureFormat {
            width: self.width.unwrap_or(640),
            height: self.height.unwrap_or(360),
            frame_rate: self.frame_rate.unwrap_or(30),
            bits_per_second: self.video_bits_per_second.unwrap_or(500_000),
        };
        Plan {
            sound_bits_per_second: self.audio_bits_per_second.unwrap_or(sound),
            light: self.profile == Profile::Light,
            picture: picture.then_some(format),
            bounds: Vec::new(),
        }
    }

    /// The share of one core that coding of the picture may take.
    pub(crate) fn cpu_share(&self) -> f64 {
        self.cpu_share.unwrap_or(0.25)
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
        let shown = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
        let light = self.profile == Profile::Light;
        let mut of_picture = |key: &str, value: Option<u32>, fits: fn(u32) -> bool, expected: &str| {
            let expected = if light { NO_PICTURE } else { expected };
            expect(key, value.is_none_or(|value| !light && fits(value)), shown(value), expected);
        };
        let width = |width: u32| (160..=1920).contains(&width) && width.is_multiple_of(16);
        of_picture("width", self.width, width, "a multiple of 16 from 160 to 1920");
        let height = |height: u32| (90..=1088).contains(&height) && height.is_multiple_of(2);
        of_picture("height", self.height, height, "an even number from 90 to 1088");
        of_picture("frame_rate", self.frame_rate, |rate| (5..=60).contains(&rate), "5 to 60");
        let bits = |bits: u32| (60_000..=8_000_000).contains(&bits);
        of_picture("video_bits_per_second", self.video_bits_per_second, bits, "60000 to 8000000");
        let (range, expected) = match self.profile {
            Profile::Full => (FULL_BITS_PER_SECOND, "12000 to 128000"),
            Profile::Light => (LIGHT_BITS_PER_SECOND, "24000 to 32000 of a light call"),
        };
        let sound = self.audio_bits_per_second;
        expect("audio_bits_per_second", sound.is_none_or(|bits| range.contains(&bits)), shown(sound), expected);
        let share = |share: f64| (0.01..=1.0).contains(&share);
        expect("link_share", share(self.link_share), Unit::Ratio.show(self.link_share), "1 % to 100 %");
        if let Some(found) = self.cpu_share {
            let expected = if light { NO_PICTURE } else { "1 % to 100 %" };
            expect("cpu_share", !light && share(found), Unit::Ratio.show(found), expected);
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{
        super::{IceServers, Remote},
        *,
    };

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
            let mut far_end: Remote = serde_json::from_str(r#"{"kind":"reflect","url":"https://a.example"}"#).unwrap();
            far_end.ice_servers = vec![IceServers { urls: vec![url.to_owned()], ..Default::default() }];
            let far_end = FarEnd::Remote(Box::new(far_end));
            let named = Config { interface: Some("eth0".to_owned()), far_end, ..Config::default() };
            let found = named.check().into_iter().filter(|mistake| mistake.key == "interface").count();
            assert_eq!(found, mistakes, "{url}");
        }
        assert!(serde_json::from_str::<Config>(r#"{"bitrate":1}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"far_end":"nowhere"}"#).is_err());
    }

    fn mistakes(text: &str) -> Vec<String> {
        config(text).check().iter().map(|mistake| format!("{}: {}", mistake.key, mistake.message)).collect()
    }

    #[test]
    fn what_is_not_said_is_as_the_profile_has_it() {
        let format = PictureFormat { width: 640, height: 360, frame_rate: 30, bits_per_second: 500_000 };
        let plan = |sound_bits_per_second, picture: Option<PictureFormat>| Plan {
            sound_bits_per_second,
            light: picture.is_none(),
            picture,
            bounds: Vec::new(),
        };
        for (text, expected) in [
            ("{}", plan(32_000, Some(format))),
            (r#"{"profile":"full","audio_bits_per_second":64000}"#, plan(64_000, Some(format))),
            (
                r#"{"width":320,"height":180,"frame_rate":15,"video_bits_per_second":100000}"#,
                plan(32_000, Some(PictureFormat { width: 320, height: 180, frame_rate: 15, bits_per_second: 100_000 })),
            ),
            (r#"{"profile":"light"}"#, plan(24_000, None)),
            (r#"{"profile":"light","audio_bits_per_second":32000}"#, plan(32_000, None)),
        ] {
            assert_eq!(config(text).wanted(), expected, "{text}");
            assert_eq!(mistakes(text), [""; 0], "{text}");
            // As the worker is told.
            let told: Config = serde_json::from_str(&serde_json::to_string(&config(text)).unwrap()).unwrap();
            assert_eq!(told, config(text), "{text}");
        }
        assert!((config("{}").cpu_share() - 0.25).abs() < 1e-12);
        assert!((config(r#"{"cpu_share":"10 %"}"#).cpu_share() - 0.10).abs() < 1e-12);
        assert!(serde_json::from_str::<Config>(r#"{"profile":"heavy"}"#).is_err());
    }

    /// They stand as comments there: a site's light call could not unsay them.
    #[test]
    fn the_embedded_settings_say_the_defaults_of_a_full_call() {
        let text = include_str!("../../../src/default.toml");
        let mut said = serde_json::Map::new();
        for key in ["width", "height", "frame_rate", "video_bits_per_second", "audio_bits_per_second", "cpu_share"] {
            let start = format!("# {key} = ");
            let line = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
            let value = line.split('#').next().unwrap().trim().replace('_', "");
            said.insert(key.to_owned(), serde_json::from_str(&value).unwrap());
        }
        let said: Config = serde_json::from_value(said.into()).unwrap();
        assert_eq!(said.wanted(), Config::default().wanted());
        assert_eq!(said.cpu_share, Some(Config::default().cpu_share()));
    }

    #[test]
    fn keys_of_the_picture_do_not_fit_a_light_call_and_its_sound_has_a_range_of_its_own() {
        let all = r#"{"profile":"light","width":640,"height":360,"frame_rate":30,"video_bits_per_second":500000,
            "audio_bits_per_second":12000,"cpu_share":0.25,"dscp":{"audio":46,"video":34}}"#;
        let none = "expected none: a light call has no picture";
        assert_eq!(
            mistakes(all),
            [
                format!("width: found 640, {none}"),
                format!("height: found 360, {none}"),
                format!("frame_rate: found 30, {none}"),
                format!("video_bits_per_second: found 500000, {none}"),
                "audio_bits_per_second: found 12000, expected 24000 to 32000 of a light call".to_owned(),
                format!("cpu_share: found 25 %, {none}"),
            ]
        );
        assert_eq!(mistakes(r#"{"profile":"light","audio_bits_per_second":32001}"#).len(), 1);
    }

    #[test]
    fn every_range_is_checked_and_the_message_says_what_was_found_and_expected() {
        let all = r#"{"duration":1,"width":632,"height":361,"frame_rate":0,"video_bits_per_second":1,
            "audio_bits_per_second":500000,"link_share":0.001,"cpu_share":"200 %","dscp":{"audio":64,"video":255},"interface":"the first one",
            "rehearsal":{"delay":"3 s","loss":0.9}}"#;
        assert_eq!(
            mistakes(all),
            [
                "duration: found 1 s, expected 2 s to 60 s",
                "width: found 632, expected a multiple of 16 from 160 to 1920",
                "height: found 361, expected an even number from 90 to 1088",
                "frame_rate: found 0, expected 5 to 60",
                "video_bits_per_second: found 1, expected 60000 to 8000000",
                "audio_bits_per_second: found 500000, expected 12000 to 128000",
                "link_share: found 0.1 %, expected 1 % to 100 %",
                "cpu_share: found 200 %, expected 1 % to 100 %",
                "dscp.audio: found 64, expected 0 to 63",
                "dscp.video: found 255, expected 0 to 63",
                "interface: found \"the first one\", expected the name of a network interface, such as eth0",
                "rehearsal.delay: found 3 s, expected at most 2 s",
                "rehearsal.loss: found 90 %, expected 0 to 50 %",
            ]
        );
    }
}
