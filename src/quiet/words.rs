//! What is said of it, in both languages. Pure.

use bellwether_agent::site::Language;
use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::Tz;

use super::{Answer, when::TimeError};

/// What the daemon answered, in a line or two.
pub(super) fn shown(answer: &Answer) -> String {
    let quiet = answer.quiet_until.map(|until| instant(until, answer.timezone, answer.language));
    let mut text = match (quiet, answer.language) {
        (Some(until), Language::English) => {
            format!("quiet until {until}: heavy probes wait, light ones go on\n")
        }
        (Some(until), Language::Chinese) => format!("静默至 {until}：重型检测暂停，轻量检测照常进行\n"),
        (None, Language::English) => "nobody asks for quiet: heavy probes run whenever the room is free\n".to_owned(),
        (None, Language::Chinese) => "未要求静默：教室空闲时照常进行重型检测\n".to_owned(),
    };
    if let Some(why) = &answer.not_durable {
        text.push_str(&match answer.language {
            Language::English => format!("a restart would forget this: {why}\n"),
            Language::Chinese => format!("注意：重启后此设置将失效（{why}）\n"),
        });
    }
    text
}

/// Why a time was not taken.
pub(super) fn refusal(error: &TimeError, language: Language) -> String {
    if language == Language::English {
        return error.to_string();
    }
    match error {
        TimeError::NoTime(found) => {
            format!("“{found}”不是时间，应如 15:00、2026-11-30T15:00 或 2026-11-30T15:00:00+08:00")
        }
        TimeError::NoLength(found) => format!("“{found}”不是时长，应带单位，如 \"90 min\" 或 \"2 h\""),
        TimeError::PassedToday { time, tomorrow } => format!("{time} 已过；若指明天，请写明日期：{tomorrow}"),
        TimeError::Passed(found) => format!("“{found}”已过，应为将来的时间"),
        TimeError::TooFar(found) => format!("“{found}”太久，最长为 7 天"),
    }
}

/// Date, weekday and time on the school's wall clock, with its zone.
fn instant(at: DateTime<Utc>, zone: Tz, language: Language) -> String {
    let local = at.with_timezone(&zone);
    let time = local.format(if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" });
    let day = local.weekday().num_days_from_monday() as usize;
    let weekday = match language {
        Language::English => ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        Language::Chinese => ["周一", "周二", "周三", "周四", "周五", "周六", "周日"],
    }
    .get(day)
    .copied()
    .unwrap_or_default();
    format!("{} {weekday} {time} ({zone})", local.format("%Y-%m-%d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(until: Option<&str>, language: Language) -> Answer {
        let utc = |text: &str| text.parse().expect("an instant written here");
        Answer {
            now: utc("2026-11-29T06:30:00Z"),
            quiet_until: until.map(utc),
            not_durable: None,
            timezone: Tz::Asia__Shanghai,
            language,
        }
    }

    #[test]
    fn answers_are_in_the_language_and_on_the_clock_of_the_school() {
        for (until, language, expected) in [
            (
                Some("2026-11-29T07:00:00Z"),
                Language::English,
                "quiet until 2026-11-29 Sun 15:00 (Asia/Shanghai): heavy probes wait, light ones go on\n",
            ),
            (
                Some("2026-11-29T16:00:30Z"),
                Language::Chinese,
                "静默至 2026-11-30 周一 00:00:30 (Asia/Shanghai)：重型检测暂停，轻量检测照常进行\n",
            ),
            (None, Language::English, "nobody asks for quiet: heavy probes run whenever the room is free\n"),
            (None, Language::Chinese, "未要求静默：教室空闲时照常进行重型检测\n"),
        ] {
            assert_eq!(shown(&answer(until, language)), expected);
        }
    }

    #[test]
    fn what_a_restart_would_forget_is_said() {
        for language in [Language::English, Language::Chinese] {
            let answer = Answer { not_durable: Some("no space".to_owned()), ..answer(None, language) };
            let shown = shown(&answer);
            assert_eq!((shown.lines().count(), shown.contains("no space")), (2, true), "{shown}");
        }
    }

    #[test]
    fn a_refusal_names_what_was_found_in_both_languages() {
        for error in [
            TimeError::NoTime("x1".into()),
            TimeError::NoLength("x1".into()),
            TimeError::PassedToday { time: "x1".into(), tomorrow: "2026-11-30T15:00".into() },
            TimeError::Passed("x1".into()),
            TimeError::TooFar("x1".into()),
        ] {
            let (english, chinese) = (refusal(&error, Language::English), refusal(&error, Language::Chinese));
            assert!(english.contains("x1") && english.is_ascii(), "{english}");
            assert!(chinese.contains("x1") && !chinese.is_ascii(), "{chinese}");
        }
    }
}
