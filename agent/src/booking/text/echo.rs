//! What a person would say of echo and of the room's sound: one sentence, of what stands in several readings.

use bellwether_probes::{Label, Metric, Unit};
use chrono::{DateTime, Utc};

use crate::{
    booking::{Booking, VersionChange},
    incident::{Echo, Evidence},
    judge::Level,
    site::Language,
};

/// No more version changes are named in the sentence; the list below it has all of them.
const MOST_CHANGES: usize = 3;

/// What is beyond its limits of echo and of loudspeaker and microphone, since when, and what changed before.
/// `None` if nothing of it is. `instant` writes a time.
pub(super) fn sentence(
    booking: &Booking,
    language: Language,
    instant: impl Fn(DateTime<Utc>) -> String,
) -> Option<String> {
    let beyond: Vec<&Evidence> = booking.evidence.iter().filter(|evidence| evidence.level > Level::Pass).collect();
    let teller = Teller { language };
    let mut told: Vec<(String, DateTime<Utc>)> = Vec::new();
    let mut probes: Vec<&str> =
        beyond.iter().filter(|evidence| of_call(evidence.metric)).map(|evidence| &*evidence.probe).collect();
    probes.dedup();
    for probe in probes {
        let of_probe: Vec<&Evidence> =
            beyond.iter().copied().filter(|evidence| evidence.probe == probe && of_call(evidence.metric)).collect();
        let since = of_probe.iter().map(|evidence| evidence.since).min();
        told.extend(teller.call(&of_probe).zip(since));
    }
    for evidence in beyond {
        told.extend(teller.room(evidence).map(|clause| (clause, evidence.since)));
    }
    let first = told.iter().map(|(_, since)| *since).min()?;
    let clauses = told.iter().map(|(clause, since)| {
        let since = instant(*since);
        teller.pick(format!("{clause}，自 {since} 起"), format!("{clause}, since {since}"))
    });
    let clauses = clauses.collect::<Vec<_>>().join(teller.pick("；", "; "));
    let before: Vec<String> = booking
        .changes
        .iter()
        .filter(|change| change.at <= first)
        .take(MOST_CHANGES)
        .map(|VersionChange { component, old, new, at, .. }| {
            let at = instant(*at);
            teller.pick(format!("{component} {old} → {new}（{at}）"), format!("{component} {old} → {new} ({at})"))
        })
        .collect();
    let before = if before.is_empty() {
        teller.pick("此前未发现版本变更", "no version changed before, as far as is known").to_owned()
    } else {
        let list = before.join(teller.pick("、", ", "));
        teller.pick(format!("此前的变更：{list}"), format!("what changed before: {list}"))
    };
    let text = teller.pick(format!("{clauses}；{before}。"), format!("{clauses}; {before}."));
    Some(capital(&text))
}

/// Numbers of the echo of one call, which go into one clause.
fn of_call(metric: Metric) -> bool {
    matches!(metric, Metric::EchoLoss | Metric::EchoImpairment | Metric::EchoLeastLoss)
}

struct Teller {
    language: Language,
}

impl Teller {
    fn pick<T>(&self, chinese: T, english: T) -> T {
        match self.language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }

    /// The echo of the calls of one probe.
    fn call(&self, beyond: &[&Evidence]) -> Option<String> {
        let of = |metric| beyond.iter().find(|evidence| evidence.metric == metric);
        let (own, impairment) = (of(Metric::EchoLoss), of(Metric::EchoImpairment));
        let main = own.or(impairment);
        let Some(main) = main else {
            let least = of(Metric::EchoLeastLoss)?;
            let (down, expected) = (decibels(least.value), decibels(least.limit));
            return Some(self.pick(
                format!("远端的声音在某一频带仅衰减 {down} 就返回（应不低于 {expected}），教室可能啸叫"),
                format!("in one band the far end hears itself only {down} down (expected at least {expected}), so that the room may howl"),
            ));
        };
        let Echo { delay_seconds, loss_decibels, expected_decibels } = main.echo.unwrap_or_default();
        let after = delay_seconds.map(|delay| {
            let delay = Unit::Seconds.show(delay);
            self.pick(format!("在 {delay} 后"), format!(" after {delay}"))
        });
        let down = own.map(|own| own.value).or(loss_decibels).map(|loss| {
            let loss = decibels(loss);
            self.pick(format!("，仅衰减 {loss}"), format!(", {loss} down"))
        });
        let expected = match own {
            Some(own) => {
                let limit = decibels(expected_decibels.unwrap_or(own.limit));
                self.pick(format!("（应不低于 {limit}）"), format!(" (expected at least {limit})"))
            }
            None => self.pick("（对这样迟的回声太少）", " (too little for an echo that late)").to_owned(),
        };
        let (after, down) = (after.unwrap_or_default(), down.unwrap_or_default());
        Some(self.pick(
            format!("远端{after}听到自己的声音{down}{expected}"),
            format!("the far end hears itself{after}{down}{expected}"),
        ))
    }

    /// One reading of the room itself.
    fn room(&self, evidence: &Evidence) -> Option<String> {
        let value = evidence.value;
        let show = evidence.metric.spec().unit.show(value.abs());
        let than = |more: (&'static str, &'static str), less: (&'static str, &'static str)| {
            let (chinese, english) = if value > 0.0 { more } else { less };
            self.pick(chinese, english)
        };
        let component = self.component(evidence.labels.get(Label::Component).unwrap_or_default());
        let clause = match evidence.metric {
            Metric::EchoReturnLossChange => {
                let how = than(("轻", "softer"), ("响", "louder"));
                self.pick(
                    format!("麦克风拾取到的扬声器声音比验收状态{how} {show}"),
                    format!("what the microphone takes of the loudspeaker is {show} {how} than in the accepted state"),
                )
            }
            Metric::EchoDelayChange => {
                let how = than(("晚", "later"), ("早", "earlier"));
                self.pick(
                    format!("播放的声音到达麦克风比验收状态{how} {show}"),
                    format!("what is played reaches the microphone {show} {how} than in the accepted state"),
                )
            }
            Metric::EchoNoiseFloorRise => self.pick(
                format!("教室的本底噪声比验收状态高 {show}"),
                format!("the noise floor of the room is {show} higher than in the accepted state"),
            ),
            Metric::MicrophoneWorking => {
                self.pick("麦克风失灵：完全收不到声音", "the microphone is dead: it takes no sound at all").to_owned()
            }
            Metric::LoudspeakerWorking => self
                .pick(
                    "扬声器失灵：播放的声音完全听不到",
                    "the loudspeaker is dead: nothing of what it is given is heard",
                )
                .to_owned(),
            Metric::SoundMuted => self.pick(format!("{component}已静音"), format!("the {component} is muted")),
            Metric::SoundDeviceChanged => self.pick(
                format!("{component}与验收时不是同一设备"),
                format!("the {component} is another device than in the accepted state"),
            ),
            Metric::SoundGainChange => {
                let how = than(("高", "higher"), ("低", "lower"));
                self.pick(
                    format!("{component}的增益比验收状态{how} {show}"),
                    format!("the gain of the {component} is {show} {how} than in the accepted state"),
                )
            }
            Metric::EchoDistortion => self.pick(
                format!("扬声器或麦克风失真：谐波仅比播放的声音低 {show}"),
                format!("loudspeaker or microphone distort: harmonics are only {show} below what is played"),
            ),
            Metric::EchoClockSkew => {
                let parts = (value.abs() * 1e6).round();
                self.pick(
                    format!("扬声器与麦克风的时钟相差百万分之 {parts}"),
                    format!("the clocks of loudspeaker and microphone drift apart by {parts} parts in a million"),
                )
            }
            Metric::EchoReverberation => {
                self.pick(format!("教室的混响时间为 {show}"), format!("the room reverberates for {show}"))
            }
            Metric::EchoHum => self.pick(
                format!("工频哼声高出邻近频率 {show}"),
                format!("hum of the mains stands {show} above its neighbours"),
            ),
            Metric::EchoClipping => self.pick("麦克风信号过强，已削波", "the microphone is overdriven").to_owned(),
            Metric::EchoOffset => self.pick(
                format!("麦克风有 {show} 的直流偏置"),
                format!("the microphone gives a constant offset of {show} of full scale"),
            ),
            _ => return None,
        };
        Some(clause)
    }

    fn component<'a>(&self, word: &'a str) -> &'a str {
        match word {
            "loudspeaker" => self.pick("扬声器", "loudspeaker"),
            "microphone" => self.pick("麦克风", "microphone"),
            other => other,
        }
    }
}

fn decibels(value: f64) -> String {
    Unit::Decibels.show(value)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bellwether_probes::{Family, Labels};

    use super::*;
    use crate::booking::{examples, text::write};

    fn evidence(metric: Metric, value: f64, limit: f64) -> Evidence {
        let template = examples::full().evidence.remove(0);
        Evidence { metric, value, worst: value, limit, labels: Labels::new(), probe: "room".into(), ..template }
    }

    fn booking(evidence: Vec<Evidence>) -> Booking {
        Booking { family: Family::Audio, evidence, ..examples::full() }
    }

    fn request(booking: &Booking, language: Language) -> String {
        let start = match language {
            Language::Chinese => "需求描述：",
            Language::English => "Request: ",
        };
        let body = write(booking, language).body;
        body.lines().find_map(|line| line.strip_prefix(start)).expect("a request").to_owned()
    }

    fn heard() -> Option<Echo> {
        Some(Echo { delay_seconds: Some(0.32), loss_decibels: Some(24.0), expected_decibels: Some(46.0) })
    }

    #[test]
    fn what_the_far_end_hears_of_itself_is_one_clause_in_both_languages() {
        let echo = heard();
        let all = booking(vec![
            Evidence { echo, ..evidence(Metric::EchoImpairment, 61.0, 23.0) },
            Evidence { echo, ..evidence(Metric::EchoLeastLoss, 5.0, 6.0) },
            Evidence { echo, ..evidence(Metric::EchoLoss, 24.0, 40.0) },
        ]);
        assert_eq!(
            request(&all, Language::English),
            "The far end hears itself after 320 ms, 24 dB down (expected at least 46 dB), since 2026-11-24 09:30; \
             what changed before: app 2.4.0 → 2.4.1 (2026-11-23 18:00), kernel 6.1.0-27 → 6.1.0-28 (2026-11-11 02:05). \
             sound: 3 series beyond limits, since 2026-11-24 09:30; please check and repair."
        );
        assert_eq!(
            request(&all, Language::Chinese),
            "远端在 320 ms 后听到自己的声音，仅衰减 24 dB（应不低于 46 dB），自 2026-11-24 09:30 起；\
             此前的变更：app 2.4.0 → 2.4.1（2026-11-23 18:00）、kernel 6.1.0-27 → 6.1.0-28（2026-11-11 02:05）。\
             声音有 3 项指标超限，自 2026-11-24 09:30 起，请检查并修复。"
        );
    }

    #[test]
    fn a_late_echo_and_one_band_have_words_of_their_own() {
        let echo = Some(Echo { delay_seconds: Some(0.4), loss_decibels: Some(50.0), expected_decibels: Some(46.0) });
        let mut late = booking(vec![Evidence { echo, ..evidence(Metric::EchoImpairment, 40.0, 23.0) }]);
        late.changes.clear();
        let text = request(&late, Language::English);
        let start = "The far end hears itself after 400 ms, 50 dB down (too little for an echo that late), since ";
        assert!(text.starts_with(start) && text.contains("; no version changed before"), "{text}");
        let band = booking(vec![evidence(Metric::EchoLeastLoss, 4.0, 6.0)]);
        let text = request(&band, Language::English);
        assert!(
            text.starts_with("In one band the far end hears itself only 4 dB down (expected at least 6 dB)"),
            "{text}"
        );
        // A version that came after it did not bring it.
        let mut after = booking(vec![evidence(Metric::EchoLoss, 24.0, 46.0)]);
        after.changes[0].at = after.evidence[0].since + chrono::TimeDelta::minutes(1);
        let text = request(&after, Language::English);
        assert!(!text.contains("app 2.4.0") && text.contains("kernel"), "{text}");
        assert!(text.starts_with("The far end hears itself, 24 dB down"), "{text}");
    }

    #[test]
    fn each_fault_of_the_rooms_sound_is_told_in_words() {
        let of = |metric, value, component: &str| {
            let labels = match component {
                "" => Labels::new(),
                name => Labels::from([(Label::Component, name.to_owned())]),
            };
            Evidence { labels, ..evidence(metric, value, 0.0) }
        };
        let table = [
            (
                of(Metric::EchoReturnLossChange, -7.0, ""),
                "what the microphone takes of the loudspeaker is 7 dB louder than",
                "响 7 dB",
            ),
            (of(Metric::EchoReturnLossChange, 7.0, ""), "7 dB softer than", "轻 7 dB"),
            (of(Metric::EchoDelayChange, 0.04, ""), "40 ms later than", "晚 40 ms"),
            (
                of(Metric::EchoNoiseFloorRise, 8.0, ""),
                "the noise floor of the room is 8 dB higher",
                "本底噪声比验收状态高 8 dB",
            ),
            (of(Metric::MicrophoneWorking, 0.0, ""), "the microphone is dead", "麦克风失灵"),
            (of(Metric::LoudspeakerWorking, 0.0, ""), "the loudspeaker is dead", "扬声器失灵"),
            (of(Metric::SoundMuted, 1.0, "microphone"), "the microphone is muted", "麦克风已静音"),
            (
                of(Metric::SoundDeviceChanged, 1.0, "loudspeaker"),
                "the loudspeaker is another device",
                "扬声器与验收时不是同一设备",
            ),
            (
                of(Metric::SoundGainChange, -6.0, "microphone"),
                "gain of the microphone is 6 dB lower",
                "麦克风的增益比验收状态低 6 dB",
            ),
            (of(Metric::EchoDistortion, -18.0, ""), "only 18 dB below", "低 18 dB"),
            (of(Metric::EchoClockSkew, -0.00012, ""), "by 120 parts in a million", "百万分之 120"),
            (of(Metric::EchoReverberation, 1.3, ""), "reverberates for 1.3 s", "混响时间为 1.3 s"),
            (of(Metric::EchoHum, 15.0, ""), "hum of the mains stands 15 dB", "高出邻近频率 15 dB"),
            (of(Metric::EchoClipping, 0.01, ""), "overdriven", "削波"),
            (of(Metric::EchoOffset, 0.02, ""), "constant offset of 2 %", "2 % 的直流偏置"),
        ];
        for (evidence, english, chinese) in table {
            let booking = booking(vec![evidence]);
            let text = request(&booking, Language::English).to_lowercase();
            assert!(text.contains(&english.to_lowercase()) && text.contains("; what changed before: app"), "{text}");
            let text = request(&booking, Language::Chinese);
            assert!(text.contains(chinese) && text.contains("；此前的变更：app"), "{text}");
        }
        // What is back within its limit, or of another kind, is told as ever.
        let mut back = evidence(Metric::EchoLoss, 60.0, 46.0);
        back.level = Level::Pass;
        let text = request(&booking(vec![back, evidence(Metric::MediaAudioDelay, 0.5, 0.3)]), Language::English);
        assert!(text.starts_with("sound: 1 series beyond limits"), "{text}");
    }
}
