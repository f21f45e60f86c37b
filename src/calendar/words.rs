//! Words for days, lessons and certainty, in both languages.

use bellwether_agent::{
    booking::{Window, slot::text::weekday_name},
    calendar::{Certainty, DayKind, Lesson, Place, Taken, holidays::National},
    schedule::Skip,
    site::Language,
};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Tz;

pub(super) fn pick(language: Language, (english, chinese): (&'static str, &'static str)) -> &'static str {
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

pub(super) fn kind(kind: DayKind, language: Language) -> &'static str {
    let words = match kind {
        DayKind::Teaching => ("school day", "上课日"),
        DayKind::MakeUp => ("make-up day", "调休上课日"),
        DayKind::Exams => ("exams", "考试周"),
        DayKind::Weekend => ("weekend", "周末"),
        DayKind::Holiday => ("day off", "放假"),
        DayKind::Break => ("break", "假期"),
    };
    pick(language, words)
}

pub(super) fn certainty(certainty: Certainty, language: Language) -> &'static str {
    let words = match certainty {
        Certainty::Known => ("the timetable is known", "课表已知"),
        Certainty::NoTimetable => {
            ("no timetable is configured: nothing is held back for lessons", "未配置课表：不会为上课避让")
        }
        Certainty::UnknownYear => {
            ("holidays and make-up days of this date are not known yet", "该日期的节假日与调休安排尚未公布")
        }
        Certainty::Stale => (
            "the timetable could not be refreshed for long; the last good one is used",
            "课表长期未能更新，沿用最近一次有效的课表",
        ),
        Certainty::Unreadable => {
            ("the timetable cannot be read: nothing counts as free", "课表无法读取：不认为任何时间空闲")
        }
    };
    pick(language, words)
}

/// 第3周, or week 3.
pub(super) fn week(week: u32, language: Language) -> String {
    match language {
        Language::English => format!("week {week}"),
        Language::Chinese => format!("第{week}周"),
    }
}

/// 第1-2节, or periods 1-2.
pub(super) fn periods(place: &Place, language: Language) -> String {
    let (first, last) = (place.first, place.last);
    match (language, first == last) {
        (Language::English, true) => format!("period {first}"),
        (Language::English, false) => format!("periods {first}-{last}"),
        (Language::Chinese, true) => format!("第{first}节"),
        (Language::Chinese, false) => format!("第{first}-{last}节"),
    }
}

/// What takes the room, in a few words: 第1-2节 数学.
pub(super) fn lesson(lesson: &Lesson, language: Language) -> String {
    let taken = match lesson.taken {
        Taken::Lesson => None,
        Taken::Exam => Some(("exams", "考试")),
        Taken::MakeUp => Some(("make-up day, plan not named", "调休上课，未指定所补课表")),
        Taken::Possible => Some(("may be a make-up day, not announced yet", "可能调休上课，安排尚未公布")),
    };
    let place = lesson.place.as_ref().map(|place| periods(place, language));
    let taken = taken.map(|words| pick(language, words).to_owned());
    let title = Some(lesson.title.to_string()).filter(|title| !title.is_empty());
    [place, title, taken].into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// 2026-11-30 星期一.
pub(crate) fn date(date: NaiveDate, language: Language) -> String {
    format!("{date} {}", weekday_name(date.weekday(), language))
}

/// 08:00–09:40; an edge on another date carries it.
pub(super) fn span(window: Window, on: NaiveDate, zone: Tz) -> String {
    let edge = |at: DateTime<Utc>| {
        let local = at.with_timezone(&zone);
        let format = if local.date_naive() == on { "%H:%M" } else { "%m-%d %H:%M" };
        local.format(format).to_string()
    };
    format!("{}–{}", edge(window.start), edge(window.end))
}

/// 2026-11-30 星期一 08:00.
pub(super) fn instant(at: DateTime<Utc>, zone: Tz, language: Language) -> String {
    let local = at.with_timezone(&zone);
    format!("{} {}", date(local.date_naive(), language), local.format("%H:%M"))
}

/// Columns of `explain`.
pub(super) const HEAD: [(&str, &str); 4] =
    [("PROBE", "检测项"), ("WEIGHT", "影响"), ("MAY RUN", "可否运行"), ("WHY", "原因")];

/// Why a probe does not run.
pub(super) fn skip(skip: Skip, language: Language) -> &'static str {
    let words = match skip {
        Skip::Busy => ("its last run is still under way", "上一次检测尚未结束"),
        Skip::Missed => ("its instant had passed", "已错过时间"),
        Skip::Lesson => ("the room is taken", "教室被占用"),
        Skip::Margin => ("too near to a lesson", "距上课或下课太近"),
        Skip::Quiet => ("somebody asked for quiet", "已要求静默"),
        Skip::Occupied => ("the room is in use", "教室正在使用"),
        Skip::Off => (
            "it is heard, and no [timetable] says when the room is free; `bellwether inspect` runs it by hand",
            "会在教室内发出声音，且未配置课表 [timetable]；可用 bellwether inspect 手动运行",
        ),
    };
    pick(language, words)
}

/// What a country does on a date.
pub(crate) fn national(national: &National, language: Language) -> String {
    let named = |words, name: &str| format!("{} ({name})", pick(language, words));
    match national {
        National::Off(name) => named(("day off", "放假"), name),
        National::MakeUp(name) => named(("make-up day", "调休上班"), name),
        National::Plain => pick(language, ("usual day", "照常")).to_owned(),
        National::Unknown => pick(language, ("unknown", "未公布")).to_owned(),
    }
}
