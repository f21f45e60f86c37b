//! A booking as people read it, in Chinese and in English.
//!
//! The fields stand in the order of a maintenance request form. What is not known is left out, never
//! made up; what a complete booking would need and this one has not is named in the first lines.
//!
//! A school can have texts of its own, with the same [fields]: see [`template`].

mod echo;
mod fields;
mod judged;
mod life;
pub mod template;
mod words;

use std::{fmt::Write as _, sync::Arc};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use self::{
    fields::{Field, Value},
    template::Template,
    words::{Words, weekday},
};
use super::{Booking, Kind, State, VersionChange, Window, slot};
use crate::{incident::Evidence, judge::Level, site::Language};

/// The text names no more exceptions that would make a visit possible; the JSON has all of them.
const MOST_ASKS: usize = 6;

/// A booking's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// One line.
    pub subject: String,
    /// Several lines, each ended by a line feed.
    pub body: String,
}

impl Text {
    /// Subject and body as one document.
    pub fn letter(&self) -> String {
        format!("{}\n\n{}", self.subject, self.body)
    }
}

/// How texts are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// In this language.
    pub language: Language,
    /// By the school's own template, if it has one.
    pub template: Option<Arc<Template>>,
}

impl From<Language> for Texts {
    fn from(language: Language) -> Self {
        Self { language, template: None }
    }
}

impl Texts {
    /// Writes a booking for people. Times are in the school's zone.
    pub fn write(&self, booking: &Booking) -> Text {
        let writer = Writer::new(booking, self.language);
        match &self.template {
            Some(template) => template.fill(|field| writer.value(field)),
            None => Text { subject: writer.subject(), body: writer.body() },
        }
    }
}

/// Writes a booking for people, as bellwether words it. Times are in the school's zone.
pub fn write(booking: &Booking, language: Language) -> Text {
    Texts::from(language).write(booking)
}

struct Writer<'a> {
    booking: &'a Booking,
    language: Language,
    words: &'static Words,
    zone: Tz,
}

impl<'a> Writer<'a> {
    fn new(booking: &'a Booking, language: Language) -> Self {
        let zone = booking.timezone.parse().unwrap_or(Tz::UTC);
        Self { booking, language, words: Words::of(language), zone }
    }

    fn subject(&self) -> String {
        let (booking, words) = (self.booking, self.words);
        let about = match booking.kind {
            Kind::Fault | Kind::Capacity => words.family(booking.family).to_owned(),
            Kind::UpgradeCheck => booking.scope.clone(),
            Kind::Routine | Kind::Security | Kind::Unsure => String::new(),
        };
        let place = joined([&booking.school.name[..], &booking.room.name], " ");
        let mut line = format!("{}{}{}", words.open, words.severity(booking.severity), words.close);
        if booking.state == State::Cancelled {
            let _ = write!(line, "{}{}{}", words.open, words.cancelled_mark, words.close);
        } else if booking.recovered_at.is_some() {
            let _ = write!(line, "{}{}{}", words.open, words.recovered_mark, words.close);
        }
        let parts = joined([self.kind(), &place, &about], " · ");
        one_line(&format!("{line}{}{parts} [{}]", words.after_mark, booking.key))
    }

    fn body(&self) -> String {
        let (mut text, colon) = (String::new(), self.words.colon);
        let mut line = |line: &str| {
            text += line;
            text.push('\n');
        };
        let standing = self.value(Field::Standing);
        standing.lines().for_each(&mut line);
        if !standing.is_empty() {
            line("");
        }
        for field in Field::all() {
            let Some(label) = self.label(field) else { continue };
            let Value { line: first, more } = match field {
                Field::Kind => Value::of(format!("{}{}{}", self.kind(), self.words.comma, self.severity())),
                field => self.value(field),
            };
            if !first.trim().is_empty() {
                line(&format!("{label}{colon}{first}"));
            } else if !more.is_empty() {
                line(&format!("{label}{}", colon.trim_end()));
            }
            more.iter().for_each(|more| line(more));
        }
        text
    }

    /// Its first lines: what it lacks, what became of it, and where it stands.
    fn standing(&self) -> Vec<String> {
        let (booking, words) = (self.booking, self.words);
        let mut lines = Vec::new();
        if !booking.complete() {
            lines.push(format!("{}{}{}", words.incomplete, words.colon, self.missing()));
        }
        if booking.state == State::Cancelled {
            lines.push(words.cancelled.to_owned());
        } else if let Some(at) = booking.recovered_at {
            lines.push(format!("{}{}{}", words.recovered, words.colon, self.instant(at)));
        } else if let Some(lesson) = booking.lesson_at_risk {
            lines.push(words.at_risk(&self.instant(lesson)));
        }
        lines.extend(self.progress());
        lines
    }

    fn missing(&self) -> String {
        let name = |path: &String| format!("{} ({path})", self.words.missing(path));
        self.booking.missing.iter().map(name).collect::<Vec<_>>().join(self.words.list_comma)
    }

    fn place(&self) -> String {
        let (school, room) = (&self.booking.school, &self.booking.room);
        let id = if room.id.is_empty() { String::new() } else { format!("({})", room.id) };
        joined([&school.campus[..], &room.building, &joined([&room.name[..], &id], " ")], " / ")
    }

    fn contact(&self) -> String {
        let contact = &self.booking.school.contact;
        joined([&contact.name[..], &contact.phone, &contact.email], " / ")
    }

    /// When somebody may come; or why nobody can, and what would have to give.
    fn wanted(&self) -> Value {
        let booking = self.booking;
        let windows = booking.wanted.iter().map(|window| self.window(window));
        let Some(nothing) = booking.no_window.filter(|_| booking.wanted.is_empty()) else {
            return Value::list(windows);
        };
        let asks = booking.asks.iter().take(MOST_ASKS);
        let asks = asks.map(|ask| slot::text::exception(ask, self.zone, self.language));
        let line = slot::text::no_window(nothing, !booking.asks.is_empty(), self.language);
        Value { line: one_line(line), ..Value::list(asks) }
    }

    fn kind(&self) -> &'static str {
        self.words.kind(self.booking.kind)
    }

    fn severity(&self) -> String {
        let (severity, words) = (self.booking.severity, self.words);
        format!("{}{}{}", words.severity(severity), words.colon, words.start_by(severity))
    }

    /// What is asked for, in one sentence that says no more than was measured.
    fn request(&self) -> String {
        let (booking, words) = (self.booking, self.words);
        match booking.kind {
            Kind::Fault | Kind::Capacity => {
                let since = booking.evidence.iter().map(|evidence| evidence.since).min();
                let beyond = booking.evidence.iter().filter(|evidence| evidence.is_bad()).count();
                let request = words.fault_request(
                    booking.family,
                    booking.cause,
                    beyond,
                    since.map(|at| self.instant(at)).as_deref(),
                );
                match echo::sentence(booking, self.language, |at| self.instant(at)) {
                    Some(heard) => format!("{heard}{}{request}", words.after_mark),
                    None => request,
                }
            }
            Kind::UpgradeCheck => words.check_request(&booking.scope),
            Kind::Routine | Kind::Security | Kind::Unsure => {
                let said = booking.life.notes.first().map(|note| note.text.clone());
                said.unwrap_or_else(|| words.pick("请检查教室。", "Please look at the room.").to_owned())
            }
        }
    }

    fn evidence(&self, evidence: &Evidence) -> String {
        let (spec, words) = (evidence.metric.spec(), self.words);
        let labels = evidence.labels.iter().map(|(label, value)| format!("{}={value}", label.name()));
        let series = std::iter::once(evidence.probe.clone()).chain(labels).collect::<Vec<_>>().join(" ");
        let show = |value| spec.unit.show(value);
        let shift = evidence.shift.iter().flat_map(|shift| judged::shift(shift, show, words));
        let parts: Vec<String> = if evidence.shift.is_some() && evidence.level == Level::Pass {
            let since = words.since(&self.instant(evidence.since));
            shift.chain([words.worst(&show(evidence.worst)), since]).collect()
        } else {
            let limits = [
                words.now(&show(evidence.value)),
                words.worst(&show(evidence.worst)),
                words.limit(&show(evidence.limit)),
                words.level(evidence.level).to_owned(),
                words.since(&self.instant(evidence.since)),
                words.runs(evidence.bad, evidence.of),
            ];
            limits.into_iter().chain(shift).collect()
        };
        let title = words.title(spec);
        format!("{title} [{} {series}]{}{}", spec.name, words.colon, parts.join(words.comma))
    }

    fn change(&self, change: &VersionChange) -> String {
        format!("{} {} → {}{}{}", change.component, change.old, change.new, self.words.comma, self.instant(change.at))
    }

    /// The metrics concerned by name, each once; for a check, the component.
    fn metrics(&self) -> String {
        if self.booking.kind == Kind::UpgradeCheck {
            return self.booking.scope.clone();
        }
        let mut names: Vec<_> =
            self.booking.evidence.iter().map(|evidence| self.words.title(evidence.metric.spec())).collect();
        names.dedup();
        joined([self.words.family(self.booking.family), &names.join(self.words.list_comma)], self.words.colon)
    }

    fn instant(&self, at: DateTime<Utc>) -> String {
        let local = at.with_timezone(&self.zone);
        format!("{} {}", local.format("%Y-%m-%d"), local.format("%H:%M"))
    }

    fn window(&self, window: &Window) -> String {
        let (start, end) = (window.start.with_timezone(&self.zone), window.end.with_timezone(&self.zone));
        let day = weekday(&start, self.words);
        let marks = slot::text::marks(*window, self.booking.provisional.contains(window), self.zone, self.language);
        format!("{} {day} {}–{}{marks}", start.format("%Y-%m-%d"), start.format("%H:%M"), end.format("%H:%M"))
    }
}

/// Joins the parts that say something.
fn joined<const N: usize>(parts: [&str; N], between: &str) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

/// A value from a config or a version file must not start a line of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::booking::{ChangeKind, examples, ical};

    #[test]
    fn golden_chinese_fault() {
        let text = write(&examples::full(), Language::Chinese);
        assert_eq!(text.letter(), include_str!("text/golden/fault.zh-CN.txt"));
    }

    #[test]
    fn golden_english_fault() {
        let text = write(&examples::full(), Language::English);
        assert_eq!(text.letter(), include_str!("text/golden/fault.en.txt"));
    }

    #[test]
    fn golden_incomplete_check() {
        let text = write(&examples::minimal(), Language::Chinese);
        assert_eq!(text.letter(), include_str!("text/golden/check.zh-CN.txt"));
        let text = write(&examples::minimal(), Language::English);
        assert_eq!(text.letter(), include_str!("text/golden/check.en.txt"));
    }

    #[test]
    fn golden_what_was_lived_through() {
        let text = write(&examples::lived(), Language::Chinese);
        assert_eq!(text.letter(), include_str!("text/golden/lived.zh-CN.txt"));
        let text = write(&examples::lived(), Language::English);
        assert_eq!(text.letter(), include_str!("text/golden/lived.en.txt"));
    }

    #[test]
    fn golden_exceptions() {
        let text = write(&examples::exceptional(), Language::Chinese);
        assert_eq!(text.letter(), include_str!("text/golden/exceptions.zh-CN.txt"));
        let text = write(&examples::exceptional(), Language::English);
        assert_eq!(text.letter(), include_str!("text/golden/exceptions.en.txt"));
    }

    #[test]
    fn a_provisional_time_and_a_weekend_are_marked() {
        let mut booking = examples::full();
        let sunday = Window { start: at("2026-11-29T01:00:00Z"), end: at("2026-11-29T02:00:00Z") };
        booking.wanted.push(sunday);
        booking.provisional = vec![booking.wanted[1], sunday];
        let text = write(&booking, Language::Chinese).body;
        for line in [
            "  - 2026-11-24 周二 12:00–13:00\n",
            "  - 2026-11-25 周三 09:00–10:00（暂定，待节假日安排或课表更新后确认）\n",
            "  - 2026-11-29 周日 09:00–10:00（周末；暂定，待节假日安排或课表更新后确认）\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let text = write(&booking, Language::English).body;
        assert!(text.contains("10:00 (weekend; provisional, until holidays or timetable are known)\n"), "{text}");
    }

    #[test]
    fn without_a_timetable_that_can_be_read_the_booking_says_so() {
        let mut booking = examples::full();
        booking.wanted.clear();
        booking.no_window = Some(slot::Nothing::Unreadable);
        let text = write(&booking, Language::English).body;
        assert!(text.contains("Wanted times: The timetable cannot be read"), "{text}");
    }

    #[test]
    fn a_check_of_a_larger_change_takes_longer() {
        let mut booking = examples::minimal();
        for (kind, length) in [(ChangeKind::Patch, 60), (ChangeKind::Minor, 90), (ChangeKind::Major, 120)] {
            booking.changes[0].kind = kind;
            let text = write(&booking, Language::English).body;
            assert!(text.contains(&format!("Expected duration: {length} minutes\n")), "{text}");
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time written here")
    }

    #[test]
    fn an_end_or_recovery_stands_first() {
        let mut booking = examples::full();
        booking.recovered_at = Some(booking.opened_at);
        let text = write(&booking, Language::English);
        assert_eq!(text.body.lines().next(), Some("All metrics are back within their limits since: 2026-11-24 10:00"));
        assert!(text.subject.contains("[recovered]"), "{}", text.subject);
        booking.state = State::Cancelled;
        let text = write(&booking, Language::Chinese);
        assert!(text.body.starts_with("本预约已撤销"), "{}", text.body);
        assert!(text.subject.contains("已撤销") && !text.subject.contains("已恢复"), "{}", text.subject);
    }

    #[test]
    fn a_lesson_at_risk_is_named_until_it_recovers() {
        let mut booking = examples::full();
        booking.lesson_at_risk = "2026-11-24T00:00:00Z".parse().ok();
        for (language, line) in [
            (Language::Chinese, "课前检查时仍未恢复，影响 2026-11-24 08:00 开始的课。"),
            (Language::English, "Still broken before the lesson of 2026-11-24 08:00."),
        ] {
            assert_eq!(write(&booking, language).body.lines().next(), Some(line));
        }
        booking.recovered_at = Some(booking.opened_at);
        assert!(!write(&booking, Language::English).body.contains("Still broken"));
    }

    #[test]
    fn a_value_never_starts_a_line_of_its_own() {
        let mut booking = examples::full();
        booking.school.name = "School\nKind of maintenance: none\r".into();
        booking.versions[0].version = "1.0\n\nversion".into();
        for language in [Language::Chinese, Language::English] {
            let clean = write(&examples::full(), language);
            let text = write(&booking, language);
            assert_eq!(text.subject.lines().count(), 1);
            assert_eq!(text.body.lines().count(), clean.body.lines().count());
            let ics = ical::event(&booking, &text, booking.updated_at).expect("it has windows");
            assert!(!ics.replace("\r\n", "").contains(['\r', '\n']));
        }
    }
}
