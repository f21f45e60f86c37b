//! Offers and exceptions as people read them, in Chinese and in English.

use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};
use chrono_tz::Tz;

use super::{Answer, Mark, Need, Nothing, Offer, Reason, Relaxation, Unknown, Window};
use crate::{
    calendar::{Calendar, Place},
    site::Language,
};

/// All of an answer: each offer with its reasons, or what would have to give, and what was not known.
/// Several lines, each ended by a line feed.
pub fn write(answer: &Answer, calendar: &Calendar, language: Language) -> String {
    let words = Words { language, zone: calendar.zone() };
    let mut lines = vec![words.length(answer)];
    for (number, offer) in (1..).zip(&answer.offers) {
        lines.push(format!("{number}. {}", words.offered(offer, calendar)));
        lines.extend(offer.reasons.iter().map(|reason| format!("   - {}", words.reason(reason))));
        lines.push(format!("   - {}", words.observed(offer.observed_until)));
    }
    if let Some(nothing) = answer.nothing() {
        lines.push(no_window(nothing, !answer.relaxations.is_empty(), language).to_owned());
    }
    lines.extend(answer.relaxations.iter().map(|relaxation| format!("  - {}", words.exception(relaxation))));
    lines.extend(answer.unknown.iter().map(|unknown| words.unknown(*unknown).to_owned()));
    lines.iter().map(|line| one_line(line) + "\n").collect()
}

/// What has to give and what that makes possible, in one line.
pub fn exception(relaxation: &Relaxation, zone: Tz, language: Language) -> String {
    one_line(&Words { language, zone }.exception(relaxation))
}

/// Why there is no offer, in one line; with exceptions it asks for one of them.
pub fn no_window(nothing: Nothing, exceptions: bool, language: Language) -> &'static str {
    let (chinese, english) = match (nothing, exceptions) {
        (Nothing::Unreadable, _) => (
            "课表无法读取，无法判断教室何时空闲，请先修复课表来源。",
            "The timetable cannot be read, so nobody knows when the room is free: please repair its source.",
        ),
        (Nothing::NoneFits, true) => (
            "没有合适的时间；以下任何一项例外即可安排，请确认其中一项：",
            "No time fits. Any one of these exceptions would do; please agree to one:",
        ),
        (Nothing::NoneFits, false) => (
            "没有合适的时间，放宽一两项条件也无法安排，请人工协调。",
            "No time fits, nor would one or two exceptions do: please arrange a time by hand.",
        ),
    };
    match language {
        Language::Chinese => chinese,
        Language::English => english,
    }
}

/// What a window that is provisional, or on a weekend, is marked with; empty for others.
pub fn marks(window: Window, provisional: bool, zone: Tz, language: Language) -> String {
    let words = Words { language, zone };
    let weekend = is_weekend(window.start.with_timezone(&zone).weekday());
    let marks = [
        weekend.then(|| words.pick("周末", "weekend")),
        provisional.then(|| {
            words.pick("暂定，待节假日安排或课表更新后确认", "provisional, until holidays or timetable are known")
        }),
    ];
    let marks: Vec<_> = marks.into_iter().flatten().collect();
    match marks.is_empty() {
        true => String::new(),
        false => words.pick(format!("（{}）", marks.join("；")), format!(" ({})", marks.join("; "))),
    }
}

/// Where a lesson stands in the table: 第N周 星期X 第N节.
pub fn place(place: Place, language: Language) -> String {
    let Place { week, weekday, first, last } = place;
    let periods = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match language {
        Language::Chinese => format!("第{week}周 {} 第{periods}节", weekday_name(weekday, language)),
        Language::English => format!("week {week} {} period {periods}", weekday_name(weekday, language)),
    }
}

/// 星期X, or its English short name.
pub fn weekday_name(weekday: Weekday, language: Language) -> &'static str {
    let (chinese, english) = match weekday {
        Weekday::Mon => ("星期一", "Mon"),
        Weekday::Tue => ("星期二", "Tue"),
        Weekday::Wed => ("星期三", "Wed"),
        Weekday::Thu => ("星期四", "Thu"),
        Weekday::Fri => ("星期五", "Fri"),
        Weekday::Sat => ("星期六", "Sat"),
        Weekday::Sun => ("星期日", "Sun"),
    };
    if language == Language::Chinese { chinese } else { english }
}

#[derive(Clone, Copy)]
struct Words {
    language: Language,
    zone: Tz,
}

impl Words {
    fn pick<T>(self, chinese: T, english: T) -> T {
        match self.language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }

    fn length(self, answer: &Answer) -> String {
        let Answer { visit_minutes, observation_minutes, .. } = answer;
        self.pick(
            format!("预计时长 {visit_minutes} 分钟，之后观察 {observation_minutes} 分钟（观察期间可以上课）"),
            format!("{visit_minutes} minutes, then {observation_minutes} minutes of observation, in which lessons may be held"),
        )
    }

    fn offered(self, offer: &Offer, calendar: &Calendar) -> String {
        let date = self.local(offer.window.start).date_naive();
        let week = calendar.day(date).and_then(|day| day.week);
        let week = week.map(|week| self.pick(format!("第{week}周 "), format!("week {week} "))).unwrap_or_default();
        let mark = marks(offer.window, offer.provisional, self.zone, self.language);
        format!("{} {week}{}{mark}", date, self.hours(offer.window))
    }

    fn local(self, at: DateTime<Utc>) -> DateTime<Tz> {
        at.with_timezone(&self.zone)
    }

    /// The weekday and the times of a window; the date of its end only if it is another one.
    fn hours(self, window: Window) -> String {
        let (start, end) = (self.local(window.start), self.local(window.end));
        let other =
            if start.date_naive() == end.date_naive() { String::new() } else { format!("{} ", end.date_naive()) };
        let day = weekday_name(start.weekday(), self.language);
        format!("{day} {}–{other}{}", start.format("%H:%M"), end.format("%H:%M"))
    }

    fn window(self, window: Window) -> String {
        format!("{} {}", self.local(window.start).date_naive(), self.hours(window))
    }

    fn lesson(self, lesson: &Mark) -> String {
        let (start, end) = (self.local(lesson.start).format("%H:%M"), self.local(lesson.end).format("%H:%M"));
        let place = lesson.place.map(|lesson| place(lesson, self.language)).unwrap_or_default();
        let parts = [&place[..], lesson.title.trim(), &format!("{start}–{end}")];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn reason(self, reason: &Reason) -> String {
        let fixed = |chinese: &str, english: &str| self.pick(chinese, english).to_owned();
        match reason {
            Reason::WithinHours => {
                fixed("学校开放，维护单位在工作时间内", "the building is open and the vendor at work")
            }
            Reason::NoTimetable => fixed(
                "未配置课表，不知道教室是否有课",
                "no timetable is configured: whether the room is taught in is not known",
            ),
            Reason::NoLessons => fixed("当天教室没有课", "no lesson in the room on this date"),
            Reason::After { lesson } => {
                let lesson = self.lesson(lesson);
                self.pick(format!("在这节课之后：{lesson}"), format!("after the lesson {lesson}"))
            }
            Reason::Before { lesson } => {
                let lesson = self.lesson(lesson);
                self.pick(
                    format!("在这节课之前，不能超时：{lesson}"),
                    format!("before the lesson {lesson}, so it must end in time"),
                )
            }
            Reason::DayOff { name } if name.is_empty() => fixed("假期", "a day off or a break"),
            Reason::DayOff { name } => self.pick(format!("假期：{name}"), format!("a day off or a break: {name}")),
            Reason::Weekend => fixed("周末", "a weekend"),
            Reason::MakeUp => fixed("调休上班日", "a make-up working day"),
            Reason::ClearOfBookings { count } => self.pick(
                format!("避开了本教室其他预约的 {count} 个时间"),
                format!("clear of {count} times of the room's other bookings"),
            ),
            Reason::Capacity { left } => self.pick(
                format!("维护单位当天还可安排 {left} 次上门"),
                format!("the vendor can take {left} more appointments on this date"),
            ),
            Reason::Load { percent } => self.pick(
                format!("所在时段的系统负载最高 {percent} %"),
                format!("load of at most {percent} % in these hours"),
            ),
            Reason::UnknownYear => fixed(
                "暂定：这一天的节假日与调休安排尚未公布",
                "provisional: holidays and make-up days of this date are not published yet",
            ),
            Reason::Stale => fixed("暂定：课表已很久没有更新", "provisional: the timetable was not refreshed for long"),
        }
    }

    fn observed(self, until: DateTime<Utc>) -> String {
        let until = self.local(until);
        let until = until.format("%Y-%m-%d %H:%M");
        self.pick(format!("观察至 {until}"), format!("observed until {until}"))
    }

    fn exception(self, relaxation: &Relaxation) -> String {
        let needs: Vec<_> = relaxation.needs.iter().map(|need| self.need(*need)).collect();
        let windows: Vec<_> = relaxation.windows.iter().map(|window| self.window(*window)).collect();
        let first = relaxation.windows.first();
        let mark = first.map(|window| marks(*window, relaxation.provisional, self.zone, self.language));
        let (needs, windows) = (needs.join(self.pick("，并且", ", and ")), windows.join(self.pick("、", ", ")));
        format!("{needs}{}{windows}{}", self.pick("：", ": "), mark.unwrap_or_default())
    }

    fn need(self, need: Need) -> String {
        match need {
            Need::Later { date } => self.later(date),
            Need::AfterHours { minutes } => self.pick(
                format!("维护单位同意在工作时间之外上门（提前或延后不超过 {minutes} 分钟）"),
                format!("the vendor agrees to work up to {minutes} minutes before or after its hours"),
            ),
            Need::LessNotice { minutes } => self.pick(
                format!("维护单位接受只提前 {minutes} 分钟通知"),
                format!("the vendor accepts a notice of {minutes} minutes"),
            ),
            Need::Weekend { vendor: true, building: true } => self
                .pick(
                    "休息日上门（维护单位同意，学校开门）",
                    "on a day off, if the vendor agrees and the building is opened",
                )
                .to_owned(),
            Need::Weekend { vendor: true, .. } => {
                self.pick("休息日上门（维护单位同意）", "on a day off, if the vendor agrees").to_owned()
            }
            Need::Weekend { .. } => {
                self.pick("休息日上门（学校开门）", "on a day off, if the building is opened").to_owned()
            }
            Need::Shorter { minutes } => {
                self.pick(format!("时长缩短为 {minutes} 分钟"), format!("shortened to {minutes} minutes"))
            }
            Need::Split { parts, minutes } => self.pick(
                format!("分 {parts} 次进行，每次 {minutes} 分钟"),
                format!("split into {parts} visits of {minutes} minutes"),
            ),
        }
    }

    fn later(self, date: NaiveDate) -> String {
        self.pick(format!("推迟到 {date}"), format!("postponed to {date}"))
    }

    fn unknown(self, unknown: Unknown) -> &'static str {
        match unknown {
            Unknown::Unreadable => self.pick("课表：无法读取", "timetable: cannot be read"),
            Unknown::NoTimetable => self.pick(
                "课表：未配置，仅按开放时间与维护单位工作时间安排",
                "timetable: none is configured; only opening hours and the vendor's hours were looked at",
            ),
            Unknown::Stale => self.pick(
                "课表：长时间未更新，所有时间均为暂定",
                "timetable: not refreshed for long; all times are provisional",
            ),
            Unknown::Beyond => self
                .pick("日期：部分日期超出校历范围，未予考虑", "dates: some lie beyond the calendar and were left out"),
            Unknown::Capacity => self.pick(
                "维护单位每日可上门次数：未知，未予考虑",
                "appointments that the vendor can take in a day: not known, not looked at",
            ),
            Unknown::Load => self.pick("各时段系统负载：未知，未予考虑", "load by hour: not known, not looked at"),
        }
    }
}

fn is_weekend(weekday: Weekday) -> bool {
    matches!(weekday, Weekday::Sat | Weekday::Sun)
}

/// A title from a file must not start a line of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
