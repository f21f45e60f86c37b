//! Why a probe may or may not run at an instant: asks the same gate as the daemon.

use std::path::Path;

use bellwether_agent::{
    booking::Window,
    calendar::{Moment, RoomState, zone},
    schedule::{
        Skip,
        gate::{Conditions, Weight, free_again, gate, may_be_heard},
    },
    site::Language,
};
use chrono::{DateTime, Days, TimeDelta, Utc};
use serde_json::json;

use super::{CalendarError, code, list, words};
use crate::{config::Config, quiet, table, timetable, when};

/// Says why each probe may or may not run; with the exit code, 3 if a source of the timetable cannot be
/// used. Knows the calendar and the switch `quiet`, not who is in the room at this moment.
///
/// # Errors
/// An instant that says nothing.
pub async fn explain(
    config: &Config,
    state: &Path,
    instant: &str,
    as_json: bool,
    now: DateTime<Utc>,
) -> Result<(String, u8), CalendarError> {
    let (zone, language) = (config.site.locale.timezone, config.site.locale.language);
    let at = when::instant(instant, zone, now)
        .map_err(|message| CalendarError::Argument { argument: "INSTANT", message })?;
    let date = zone::date(zone, at);
    let from = date.checked_sub_days(Days::new(1)).unwrap_or(date);
    let to = date.checked_add_days(Days::new(60)).unwrap_or(date);
    let known = timetable::read(config, state, from..to, false, now).await;
    let margin = TimeDelta::from_std(config.timetable.margin.0).unwrap_or(TimeDelta::MAX);
    let calendar = &*known.calendar;
    let conditions = Conditions { calendar, margin, quiet_until: quiet::held(state), occupied: false };
    let answers: Vec<Answer<'_>> = config
        .probes
        .iter()
        .map(|(name, entry)| {
            let longest = TimeDelta::from_std(entry.timeout).unwrap_or(TimeDelta::MAX);
            let off = may_be_heard(calendar).err().filter(|_| entry.config.is_heard());
            let refused = off.or_else(|| gate(entry.weight, longest, conditions, at).err());
            // What is off is so until the config changes.
            let again = refused.filter(|_| off.is_none());
            let again = again.and_then(|_| free_again(entry.weight, longest, conditions, at));
            Answer { name, weight: entry.weight, refused, again }
        })
        .collect();
    let moment = calendar.at(at, margin);
    let text = if as_json {
        let probes = answers.iter().map(|answer| {
            let reason = answer.refused.map(Skip::name);
            json!({ "probe": answer.name, "weight": answer.weight, "may_run": reason.is_none(), "reason": reason,
                    "free_again": answer.again })
        });
        let room = room_name(&moment.room);
        let answer = json!({
            "at": at, "room": room, "vendor_at_work": moment.vendor, "certainty": moment.certainty,
            "probes": probes.collect::<Vec<_>>(), "notes": list::notes(&known),
        });
        format!("{answer:#}\n")
    } else {
        let day = calendar.day(date).map(|day| {
            let week = day.week.map(|week| format!("  {}", words::week(week, language))).unwrap_or_default();
            format!("{week}  {}  {}", words::kind(day.kind, language), day.name)
        });
        let head = format!("{}{}", words::instant(at, zone, language), day.unwrap_or_default());
        let rows = answers.iter().map(|answer| answer.row(zone, language));
        let rows: Vec<_> = std::iter::once(words::HEAD.map(|word| words::pick(language, word).to_owned()).to_vec())
            .chain(rows)
            .collect();
        let facts = facts(&moment, zone, language);
        format!("{}\n{facts}\n{}{}", head.trim_end(), table::lay_out(&rows), list::notes_text(&known))
    };
    Ok((text, code(&known)))
}

/// What the gate says of one probe.
struct Answer<'c> {
    name: &'c str,
    weight: Weight,
    refused: Option<Skip>,
    again: Option<DateTime<Utc>>,
}

impl Answer<'_> {
    fn row(&self, zone: chrono_tz::Tz, language: Language) -> Vec<String> {
        let weight = match self.weight {
            Weight::Light => ("light", "轻"),
            Weight::Heavy => ("heavy", "重"),
        };
        let may = if self.refused.is_none() { ("yes", "可以") } else { ("no", "不可以") };
        let why = self.refused.map(|skip| words::skip(skip, language)).unwrap_or_default();
        let again = self.again.map(|at| {
            format!("{} {}", words::pick(language, ("; free from", "；最早")), words::instant(at, zone, language))
        });
        let why = format!("{why}{}", again.unwrap_or_default());
        vec![self.name.to_owned(), words::pick(language, weight).to_owned(), words::pick(language, may).to_owned(), why]
    }
}

fn room_name(room: &RoomState<'_>) -> &'static str {
    match room {
        RoomState::Lesson(_) => "lesson",
        RoomState::Soon(_) => "soon",
        RoomState::Free { .. } => "free",
        RoomState::Closed { .. } => "closed",
        RoomState::Unknown => "unknown",
    }
}

/// Room, vendor and certainty, a line each.
fn facts(moment: &Moment<'_>, zone: chrono_tz::Tz, language: Language) -> String {
    let pick = |words| words::pick(language, words);
    let (word, lesson) = match &moment.room {
        RoomState::Lesson(lesson) => (("in a lesson", "上课中"), Some(*lesson)),
        RoomState::Soon(lesson) => (("a lesson is about to begin", "即将上课"), Some(*lesson)),
        RoomState::Free { next: None } => (("free, and no lesson is known to come", "空闲；之后没有已知的课"), None),
        RoomState::Free { next } => (("free; next", "空闲；下一节"), *next),
        RoomState::Closed { next: None } => {
            (("closed, and no lesson is known to come", "关闭；之后没有已知的课"), None)
        }
        RoomState::Closed { next } => (("closed; next", "关闭；下一节"), *next),
        RoomState::Unknown => (("nobody knows, so it counts as taken", "未知，按占用处理"), None),
    };
    let lesson = lesson.map(|lesson| {
        let date = zone::date(zone, lesson.start);
        let hours = words::span(Window { start: lesson.start, end: lesson.end }, date, zone);
        format!(": {} {hours} {}", words::date(date, language), words::lesson(lesson, language))
    });
    let vendor = pick(if moment.vendor { ("at work", "上班") } else { ("not at work", "不上班") });
    format!(
        "{}: {}{}\n{}: {vendor}\n{}\n",
        pick(("room", "教室")),
        pick(word),
        lesson.unwrap_or_default().trim_end(),
        pick(("vendor", "厂商")),
        words::certainty(moment.certainty, language),
    )
}
