//! A booking as people read it, in Chinese and in English.
//!
//! The fields stand in the order of a maintenance request form. What is not known is left out, never
//! made up; what a complete booking would need and this one has not is named in the first lines.

mod echo;
mod judged;
mod words;

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use self::words::{Words, weekday};
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

/// Writes a booking for people. Times are in the school's zone.
pub fn write(booking: &Booking, language: Language) -> Text {
    let zone = booking.timezone.parse().unwrap_or(Tz::UTC);
    let writer = Writer { booking, language, words: Words::of(language), zone };
    Text { subject: writer.subject(), body: writer.body() }
}

struct Writer<'a> {
    booking: &'a Booking,
    language: Language,
    words: &'static Words,
    zone: Tz,
}

impl Writer<'_> {
    fn subject(&self) -> String {
        let (booking, words) = (self.booking, self.words);
        let about = match booking.kind {
            Kind::Fault | Kind::Capacity => words.family(booking.family).to_owned(),
            Kind::UpgradeCheck => booking.scope.clone(),
        };
        let place = joined([&booking.school.name[..], &booking.room.name], " ");
        let mut line = format!("{}{}{}", words.open, words.severity(booking.severity), words.close);
        if booking.state == State::Cancelled {
            let _ = write!(line, "{}{}{}", words.open, words.cancelled_mark, words.close);
        } else if booking.recovered_at.is_some() {
            let _ = write!(line, "{}{}{}", words.open, words.recovered_mark, words.close);
        }
        let parts = joined([words.kind(booking.kind), &place, &about], " · ");
        one_line(&format!("{line}{}{parts} [{}]", words.after_mark, booking.key))
    }

    fn body(&self) -> String {
        let (booking, words) = (self.booking, self.words);
        let mut out = Lines { text: String::new(), colon: words.colon };
        if !booking.complete() {
            out.line(&format!("{}{}{}", words.incomplete, words.colon, self.missing()));
        }
        if booking.state == State::Cancelled {
            out.line(words.cancelled);
        } else if let Some(at) = booking.recovered_at {
            out.line(&format!("{}{}{}", words.recovered, words.colon, self.instant(at)));
        } else if let Some(lesson) = booking.lesson_at_risk {
            out.line(&words.at_risk(&self.instant(lesson)));
        }
        if !out.text.is_empty() {
            out.line("");
        }

        out.field(words.school, &booking.school.name);
        out.field(words.place, &self.place());
        let versions = booking.versions.iter().map(|known| format!("{} {}", known.component, known.version));
        out.list(words.versions, versions);
        let contact = &booking.school.contact;
        out.field(words.contact, &joined([&contact.name[..], &contact.phone, &contact.email], " / "));
        out.list(words.wanted, booking.wanted.iter().map(|window| self.window(window)));
        if let Some(nothing) = booking.no_window.filter(|_| booking.wanted.is_empty()) {
            out.field(words.wanted, slot::text::no_window(nothing, !booking.asks.is_empty(), self.language));
            let asks = booking.asks.iter().take(MOST_ASKS);
            out.items(asks.map(|ask| slot::text::exception(ask, self.zone, self.language)));
        }
        let visit = booking.class().visit(slot::span(booking.vendor.duration));
        out.field(words.duration, &words.minutes(visit.num_minutes()));
        out.field(words.kind, &format!("{}{}{}", words.kind(booking.kind), words.comma, self.severity()));
        out.field(words.request, &self.request());
        out.field(words.deployment, words.deployment(&booking.room.deployment));
        if booking.room.users > 0 {
            out.field(words.users, &booking.room.users.to_string());
        }
        out.field(words.usage, &booking.room.usage);
        out.list(words.evidence, booking.evidence.iter().map(|evidence| self.evidence(evidence)));
        if let Some(judgement) = &booking.judgement {
            out.list(words.not, judged::not(judgement, words).into_iter());
            out.field(words.again, &judged::again(judgement, words));
            if booking.evidence.iter().any(|evidence| evidence.shift.as_ref().is_some_and(|shift| shift.on)) {
                out.field(words.clears, judged::clears(words));
            }
        }
        out.list(words.changes, booking.changes.iter().map(|change| self.change(change)));
        out.field(words.metrics, &self.metrics());
        out.field(words.hardware, &booking.room.hardware);
        out.field(words.vendor, &booking.vendor.name);
        out.field(words.zone, &booking.timezone);
        out.field(words.key, &booking.key);
        out.text
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

/// Lines of a form.
struct Lines {
    text: String,
    colon: &'static str,
}

impl Lines {
    fn line(&mut self, line: &str) {
        self.text += &one_line(line);
        self.text.push('\n');
    }

    fn field(&mut self, name: &str, value: &str) {
        if !value.trim().is_empty() {
            self.line(&format!("{name}{}{value}", self.colon));
        }
    }

    fn list(&mut self, name: &str, items: impl Iterator<Item = String>) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.line(&format!("{name}{}", self.colon.trim_end()));
        }
        self.items(items);
    }

    fn items(&mut self, items: impl Iterator<Item = String>) {
        for item in items {
            self.line(&format!("  - {item}"));
        }
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
