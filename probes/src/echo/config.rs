//! `[probe.NAME]` with `kind = "echo"`.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Metric, Mistake, Reason, Unit, media::FarEnd, units::Span};

/// How echo is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Sweeps that everybody in the room hears.
    #[default]
    Active,
    /// More sweeps, below the noise of the room.
    Quiet,
    /// Nothing is played: what the room plays anyway comes back.
    Silent,
    /// A call to the room, by its media server.
    Call,
}

impl Form {
    /// The word in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quiet => "quiet",
            Self::Silent => "silent",
            Self::Call => "call",
        }
    }

    /// Whether people in the room hear that it runs.
    pub fn is_heard(self) -> bool {
        match self {
            Self::Active | Self::Quiet | Self::Call => true,
            Self::Silent => false,
        }
    }
}

/// What reaches the sound devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// A PulseAudio server, or PipeWire as one.
    #[default]
    Pulse,
    /// ALSA devices themselves, in a build with the feature `alsa`.
    Alsa,
}

/// `[probe.NAME]` with `kind = "echo"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How echo is looked for.
    pub form: Form,
    /// What reaches the devices.
    pub system: System,
    /// Socket of the sound server; by default where servers of the session and of the system are.
    pub server: Option<PathBuf>,
    /// `"default"`, a device's name, or a pattern with `*`; of several that match, none is taken.
    pub loudspeaker: String,
    /// The same of what is listened to.
    pub microphone: String,
    /// What the loudspeaker is given, to be heard beside the microphone: `"monitor"`, its own where there
    /// is one; `"none"`; or a device as above.
    pub reference: String,
    /// Sweeps of 1 s each, every 1.5 s: 4 to 35; 4 of the active form by default, 16 of the quiet one.
    pub sweeps: Option<u32>,
    /// Root mean square of the active form's sweeps in decibels below full scale, −40 to −12; −20 by default.
    pub level: f64,
    /// How long the silent form listens, 10 s to 30 s; and how long a call speaks, 29 s to 60 s; 30 s by default.
    pub duration: Option<Span>,
    /// Whether the reverberation time is measured as well, by one more sweep of 2 s.
    pub reverberation: bool,
    /// Where the call goes; the form `call` needs it.
    pub far_end: Option<FarEnd>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            form: Form::Active,
            system: System::Pulse,
            server: None,
            loudspeaker: "default".to_owned(),
            microphone: "default".to_owned(),
            reference: "monitor".to_owned(),
            sweeps: None,
            level: -20.0,
            duration: None,
            reverberation: false,
            far_end: None,
        }
    }
}

/// Seconds a call must speak: the first 17 s are discarded (3GPP TS 26.132 §8.7).
const CALL_SECONDS: RangeInclusive<u64> = 29..=60;
/// Seconds the silent form listens.
const SILENT_SECONDS: RangeInclusive<u64> = 10..=30;
/// Sweeps of the active and quiet forms: with all that belongs to a take they stay within the 60 s of the
/// microphone that are ever held.
const SWEEPS: RangeInclusive<u32> = 4..=35;

impl Config {
    /// How many sweeps are played, but for that of the reverberation time.
    pub fn sweeps(&self) -> u32 {
        self.sweeps.unwrap_or(match self.form {
            Form::Active => 4,
            Form::Quiet => 16,
            Form::Silent | Form::Call => 0,
        })
    }

    /// How long is listened to what others play, or spoken in a call.
    pub fn duration(&self) -> Duration {
        self.duration.map_or(Duration::from_secs(30), |duration| duration.0)
    }

    /// Whether the microphone of the room is listened to.
    pub fn listens(&self) -> bool {
        self.form != Form::Call
    }

    /// Whether a metric can be read by this form.
    pub fn measures(&self, metric: Metric) -> bool {
        let (active, silent) = (self.form == Form::Active, self.form == Form::Silent);
        match metric {
            Metric::EchoDelay => true,
            Metric::EchoLoss | Metric::EchoInitialLoss | Metric::EchoLeastLoss | Metric::EchoImpairment => {
                self.form == Form::Call
            }
            // Below the noise of the room there are no harmonics to be told from it.
            Metric::EchoDistortion => active,
            Metric::EchoReverberation => active && self.reverberation,
            Metric::EchoCoherence => silent,
            // Of a room that is taught in, the floor is that of the lesson.
            Metric::EchoNoiseFloorRise => self.listens() && !silent,
            Metric::EchoReturnLoss
            | Metric::EchoReturnLossWideband
            | Metric::EchoReturnLossChange
            | Metric::EchoDelayChange
            | Metric::EchoClockSkew
            | Metric::EchoNoiseFloor
            | Metric::EchoHum
            | Metric::EchoClipping
            | Metric::EchoOffset
            | Metric::MicrophoneWorking
            | Metric::LoudspeakerWorking
            | Metric::SoundMuted
            | Metric::SoundDeviceChanged
            | Metric::SoundGainChange => self.listens(),
            _ => false,
        }
    }

    /// Whether a run of this form can fail for a reason.
    pub fn can_fail_for(&self, reason: Reason) -> bool {
        match reason {
            Reason::NoServer
            | Reason::NoDevice
            | Reason::DeviceBusy
            | Reason::DeviceLost
            | Reason::Stalled
            | Reason::Format => self.form != Form::Call,
            Reason::Source
            | Reason::Resolve
            | Reason::Connect
            | Reason::Tls
            | Reason::Signalling
            | Reason::Ice
            | Reason::Dtls
            | Reason::FirstRtp
            | Reason::Undecodable => self.form == Form::Call,
            _ => true,
        }
    }

    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut expect = |key: &str, good: bool, found: String, expected: String| {
            if !good {
                mistakes.push(Mistake::new(key, format!("found {found}, expected {expected}")));
            }
        };
        let form = self.form;
        let none = |what: &str| format!("none: the form {} {what}", form.name());
        match (form, &self.far_end) {
            (Form::Call, Some(FarEnd::Remote(_))) | (Form::Active | Form::Quiet | Form::Silent, None) => {}
            (Form::Call, Some(FarEnd::Reflector)) => {
                let expected = "a table with a kind: the embedded far end is no room";
                expect("far_end", false, "\"reflector\"".to_owned(), expected.to_owned());
            }
            (Form::Call, None) => {
                expect("", false, "no far_end".to_owned(), "one: the form call needs a room to call".to_owned());
            }
            (_, Some(_)) => expect("far_end", false, "a far end".to_owned(), none("calls nobody")),
        }
        if let Some(found) = self.sweeps {
            let expected = match form {
                Form::Active | Form::Quiet => "4 to 35".to_owned(),
                Form::Silent | Form::Call => none("plays no sweeps"),
            };
            let good = matches!(form, Form::Active | Form::Quiet) && SWEEPS.contains(&found);
            expect("sweeps", good, found.to_string(), expected);
        }
        let level = (-40.0..=-12.0).contains(&self.level);
        expect("level", level, Unit::Decibels.show(self.level), "-40 dB to -12 dB".to_owned());
        if let Some(Span(found)) = self.duration {
            let within = |range: RangeInclusive<u64>| {
                (*range.start() as f64..=*range.end() as f64).contains(&found.as_secs_f64())
            };
            let (good, expected) = match form {
                Form::Silent => (within(SILENT_SECONDS), "10 s to 30 s".to_owned()),
                Form::Call => (within(CALL_SECONDS), "29 s to 60 s".to_owned()),
                Form::Active | Form::Quiet => (false, none("is as long as its sweeps")),
            };
            expect("duration", good, Unit::Seconds.show(found.as_secs_f64()), expected);
        }
        // A decay of 35 dB needs an echo far above the noise.
        let loud = !self.reverberation || form == Form::Active;
        expect("reverberation", loud, "true".to_owned(), "false: the form active alone is loud enough".to_owned());
        for (key, pattern) in
            [("loudspeaker", &self.loudspeaker), ("microphone", &self.microphone), ("reference", &self.reference)]
        {
            let good = !pattern.trim().is_empty() && pattern.len() <= 200 && !pattern.contains(char::is_control);
            let expected = "\"default\", the name of a device, or a pattern with *";
            expect(key, good, format!("{pattern:?}"), expected.to_owned());
        }
        if let Some(server) = &self.server {
            let good = server.is_absolute();
            expect("server", good, format!("{server:?}"), "the path of a socket, from / on".to_owned());
            let reached = self.system == System::Pulse;
            expect("server", reached, format!("{server:?}"), "none: bare ALSA devices have no server".to_owned());
        }
        let built = self.system == System::Pulse || cfg!(feature = "alsa");
        let expected = "\"pulse\": this build is without the feature alsa".to_owned();
        expect("system", built, "\"alsa\"".to_owned(), expected);
        if form == Form::Call {
            let far_end = self.far_end.iter().flat_map(FarEnd::check);
            mistakes.extend(far_end.map(|mistake| mistake.below("far_end")));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    fn mistakes(text: &str) -> Vec<String> {
        config(text).check().iter().map(|mistake| format!("{}: {}", mistake.key, mistake.message)).collect()
    }

    const ROOM: &str =
        r#""far_end":{"kind":"whip_whep","publish":"https://a.example/in","subscribe":"https://a.example/out"}"#;

    #[test]
    fn defaults_are_right_and_stand_up_to_the_way_to_the_worker() {
        for text in [
            "{}",
            r#"{"form":"quiet","sweeps":35}"#,
            r#"{"form":"silent","duration":"10 s"}"#,
            r#"{"reverberation":true,"level":-12,"server":"/run/bellwether-audio/native"}"#,
            &format!(r#"{{"form":"call","duration":"60 s",{ROOM}}}"#),
        ] {
            assert_eq!(mistakes(text), [""; 0], "{text}");
            let told: Config = serde_json::from_str(&serde_json::to_string(&config(text)).unwrap()).unwrap();
            assert_eq!(told, config(text));
        }
        assert_eq!(config("{}"), Config::default());
        assert_eq!((config("{}").sweeps(), config(r#"{"form":"quiet"}"#).sweeps()), (4, 16));
        assert!(serde_json::from_str::<Config>(r#"{"volume":1}"#).is_err());
    }

    #[test]
    fn every_range_is_checked_and_the_message_says_what_was_found_and_expected() {
        let all = r#"{"sweeps":3,"level":0,"duration":"30 s","loudspeaker":"","microphone":" ","reference":"a\nb",
            "server":"pulse/native","far_end":"reflector"}"#;
        let device = "expected \"default\", the name of a device, or a pattern with *";
        assert_eq!(
            mistakes(all),
            [
                "far_end: found a far end, expected none: the form active calls nobody".to_owned(),
                "sweeps: found 3, expected 4 to 35".to_owned(),
                "level: found 0 dB, expected -40 dB to -12 dB".to_owned(),
                "duration: found 30 s, expected none: the form active is as long as its sweeps".to_owned(),
                format!("loudspeaker: found \"\", {device}"),
                format!("microphone: found \" \", {device}"),
                format!("reference: found \"a\\nb\", {device}"),
                "server: found \"pulse/native\", expected the path of a socket, from / on".to_owned(),
            ]
        );
        for (text, key) in [
            (r#"{"sweeps":41}"#, "sweeps"),
            (r#"{"form":"silent","sweeps":4}"#, "sweeps"),
            (r#"{"form":"silent","duration":"9 s"}"#, "duration"),
            (r#"{"form":"silent","duration":"31 s"}"#, "duration"),
            (r#"{"form":"quiet","reverberation":true}"#, "reverberation"),
            (r#"{"level":-41}"#, "level"),
            (r#"{"form":"call"}"#, ""),
            (r#"{"form":"call","far_end":"reflector"}"#, "far_end"),
            (r#"{"form":"call","far_end":{"kind":"bridge"}}"#, "far_end.kind"),
            (r#"{"form":"call","far_end":{"kind":"janus","url":"x"}}"#, "far_end.url"),
            (&format!(r#"{{"form":"call","duration":"28 s",{ROOM}}}"#), "duration"),
        ] {
            let found: Vec<_> = config(text).check().into_iter().map(|mistake| mistake.key).collect();
            assert_eq!(found, [key], "{text}");
        }
        let alsa = mistakes(r#"{"system":"alsa"}"#);
        if cfg!(feature = "alsa") {
            assert_eq!(alsa, [""; 0]);
            assert_eq!(mistakes(r#"{"system":"alsa","server":"/run/x"}"#).len(), 1);
        } else {
            assert_eq!(alsa, ["system: found \"alsa\", expected \"pulse\": this build is without the feature alsa"]);
        }
    }

    #[test]
    fn each_form_reads_its_own_metrics_and_none_of_other_kinds() {
        let reads = |text: &str, metric| config(text).measures(metric);
        let call = format!(r#"{{"form":"call",{ROOM}}}"#);
        let forms = ["{}", r#"{"form":"quiet"}"#, r#"{"form":"silent"}"#, &call];
        for (metric, expected) in [
            (Metric::EchoDelay, [true, true, true, true]),
            (Metric::EchoLoss, [false, false, false, true]),
            (Metric::EchoReturnLoss, [true, true, true, false]),
            (Metric::EchoDistortion, [true, false, false, false]),
            (Metric::EchoReverberation, [false; 4]),
            (Metric::EchoCoherence, [false, false, true, false]),
            (Metric::EchoNoiseFloorRise, [true, true, false, false]),
            (Metric::MicrophoneWorking, [true, true, true, false]),
            (Metric::MediaLoss, [false; 4]),
        ] {
            assert_eq!(forms.map(|form| reads(form, metric)), expected, "{metric}");
        }
        assert!(reads(r#"{"reverberation":true}"#, Metric::EchoReverberation));
    }
}
