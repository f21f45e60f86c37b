//! A school's own text of bookings, from a file.
//!
//! ```text
//! 【{{severity}}】{{school}} {{place}} [{{key}}]
//!
//! {{standing}}
//! 报修内容：{{request}}
//! 可上门时间：{{wanted}}
//! ```
//!
//! The first line is the subject; an empty line and the body follow. `{{name}}` stands for a field of the built-in
//! text, which also exists as a whole: `{{subject}}`, `{{body}}`. `{{{{` is `{{`. Of a list, each item comes on
//! a line of its own, below the line that names it. A line all of whose fields are empty is left out. What became
//! of a booking is said first, unless the template places `{{standing}}` itself.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    Text,
    fields::{Field, Value},
    one_line,
};

/// Longest file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A template without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    subject: Vec<Piece>,
    body: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where, counted from 1.
    pub line: usize,
    /// What was found, and what would be right.
    pub message: String,
}

impl Template {
    /// Reads the file of a template.
    ///
    /// # Errors
    /// It cannot be read, or is no template: all mistakes, with file and line, for people.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        let bytes = bounded(path).map_err(|error| vec![format!("cannot read {}: {error}", path.display())])?;
        let place = |wrong: Wrong| format!("{}:{}: {}", path.display(), wrong.line, wrong.message);
        Self::parse(&bytes).map_err(|found| found.into_iter().map(place).collect())
    }

    /// Reads the bytes of a template.
    ///
    /// # Errors
    /// All mistakes, in the order of lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Wrong>> {
        if bytes.len() as u64 > MAX_BYTES {
            let message = format!("found more than {MAX_BYTES} bytes, expected the text of a booking");
            return Err(vec![Wrong { line: 1, message }]);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
            vec![Wrong { line, message: "found bytes that are not UTF-8, expected a text in UTF-8".to_owned() }]
        })?;
        // Some editors begin a file with a byte order mark.
        let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
        let mut found = Vec::new();
        let mut wrong = |line, message: &str| found.push(Wrong { line, message: message.to_owned() });

        let first = lines.next().unwrap_or_default();
        if first.trim().is_empty() {
            wrong(1, "found no subject, expected it on the first line");
        }
        let second = lines.next().unwrap_or_default();
        if !second.trim().is_empty() {
            wrong(2, "found text, expected an empty line between subject and body");
        }
        let rest: Vec<&str> = lines.collect();
        if rest.iter().all(|line| line.trim().is_empty()) {
            wrong(3, "found no body, expected it after the subject and an empty line");
        }
        let subject = pieces(first, 1, &mut found);
        for piece in &subject {
            if let Piece::Field(field) = piece
                && field.is_list()
            {
                let message = format!("found {{{{{}}}}} in the subject, expected fields of one line", field.name());
                found.push(Wrong { line: 1, message });
            }
        }
        let body: Vec<_> = rest.iter().zip(3..).map(|(line, number)| pieces(line, number, &mut found)).collect();
        let template = Self { subject, body };
        if ![Field::Key, Field::Subject, Field::Body].into_iter().any(|field| template.places(field)) {
            let message = "found no {{key}}, expected it in the subject or the body: people and machines find a \
                           booking by it";
            found.push(Wrong { line: 1, message: message.to_owned() });
        }
        if found.is_empty() {
            Ok(template)
        } else {
            found.sort_by_key(|wrong| wrong.line);
            Err(found)
        }
    }

    fn places(&self, field: Field) -> bool {
        self.body.iter().flatten().chain(&self.subject).any(|piece| *piece == Piece::Field(field))
    }

    /// The text with these values.
    pub(super) fn fill(&self, value: impl Fn(Field) -> Value) -> Text {
        let subject: String = self
            .subject
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Field(field) => value(*field).line,
            })
            .collect();
        let mut lines = Vec::new();
        if !self.places(Field::Standing) && !self.places(Field::Body) {
            lines.extend(value(Field::Standing).lines().map(str::to_owned));
            if !lines.is_empty() {
                lines.push(String::new());
            }
        }
        let mut is_gap = false;
        for pieces in &self.body {
            let before = lines.len();
            let is_blank = pieces.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty()));
            if !is_blank {
                fill_line(pieces, &value, &mut lines);
            } else if !(is_gap && lines.last().is_none_or(String::is_empty)) {
                lines.push(String::new());
            }
            // Around what was left out, one empty line is enough.
            is_gap = lines.len() == before;
        }
        let body = lines.into_iter().map(|line| one_line(&line) + "\n").collect();
        Text { subject: one_line(subject.trim()), body }
    }
}

/// Fills a line, below which its lists come; nothing if it has fields and all are empty.
fn fill_line(pieces: &[Piece], value: &impl Fn(Field) -> Value, lines: &mut Vec<String>) {
    let before = lines.len();
    let (mut open, mut says) = (String::new(), pieces.iter().all(|piece| matches!(piece, Piece::Text(_))));
    for piece in pieces {
        match piece {
            Piece::Text(text) => open += text,
            Piece::Field(field) => {
                let value = value(*field);
                says |= !value.is_empty();
                open += &value.line;
                if !value.more.is_empty() {
                    lines.extend(Some(open.trim_end().to_owned()).filter(|open| !open.is_empty()));
                    lines.extend(value.more);
                    open.clear();
                }
            }
        }
    }
    if says && (lines.len() == before || !open.trim().is_empty()) {
        lines.push(open);
    }
}

/// The pieces of a line; what is no field is added to `found`.
fn pieces(line: &str, number: usize, found: &mut Vec<Wrong>) -> Vec<Piece> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), line);
    while let Some((before, after)) = rest.split_once("{{") {
        text += before;
        if let Some(after) = after.strip_prefix("{{") {
            text += "{{";
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once("}}") else {
            let message =
                format!("found {{{{{after} without an end, expected {{{{name}}}}, or {{{{{{{{ for {{{{ itself");
            found.push(Wrong { line: number, message });
            return pieces;
        };
        match Field::named(name.trim()) {
            Some(field) => pieces.extend([Piece::Text(std::mem::take(&mut text)), Piece::Field(field)]),
            None => {
                let message = format!("found {{{{{name}}}}}, expected one of {}", Field::names());
                found.push(Wrong { line: number, message });
            }
        }
        rest = after;
    }
    text += rest;
    pieces.push(Piece::Text(text));
    pieces
}

/// The content of a file, and a byte more than it may have if it is larger.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        // A pipe would be waited for.
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        booking::{State, examples, text},
        site::Language,
    };

    fn wrong(text: &str) -> Vec<String> {
        let found = Template::parse(text.as_bytes()).expect_err("a template with mistakes");
        found.into_iter().map(|wrong| format!("{}: {}", wrong.line, wrong.message)).collect()
    }

    /// A booking by a template.
    fn filled(booking: &crate::booking::Booking, template: &str) -> Text {
        let template = Some(Arc::new(Template::parse(template.as_bytes()).expect("a good template")));
        text::Texts { language: Language::English, template }.write(booking)
    }

    #[test]
    fn fields_are_filled_in_and_lists_come_below_their_line() {
        let template = "报修 {{ school }} [{{key}}]\r\n\r\nDear {{vendor}}, {{{{request}}\n\nVersions: {{versions}} (all)\n\
                        {{wanted}}\nUsers: {{users}}\n\n\nend }} {";
        let text = filled(&examples::full(), template);
        assert_eq!(text.subject, "报修 示范小学 [bw1-45b7owc4xnml7vgq6mxpp5oml4]");
        let expected = "Dear 维护公司, {{request}}\n\nVersions:\n  - app 2.4.1\n  - kernel 6.1.0-28\n (all)\n  \
                        - 2026-11-24 Tue 12:00–13:00\n  - 2026-11-25 Wed 09:00–10:00\n  - 2026-11-26 Thu 09:00–10:00\n\
                        Users: 45\n\n\nend }} {\n";
        assert_eq!(text.body, expected);
    }

    #[test]
    fn a_line_whose_fields_are_empty_is_left_out_with_the_gap_that_it_leaves() {
        let mut booking = examples::full();
        (booking.room.users, booking.room.hardware) = (0, String::new());
        let template = "{{key}}\n\n{{report}}\n\nA\n\nUsers: {{users}}\nUsers: {{users}}, {{hardware}}\n\nRecent: {{recent}}\n\
                        \nUsers: {{users}}, {{vendor}}\nB\n";
        assert_eq!(filled(&booking, template).body, "A\n\nUsers: , 维护公司\nB\n");
    }

    #[test]
    fn the_built_in_text_is_a_field_too() {
        for booking in [examples::full(), examples::lived(), examples::minimal(), examples::exceptional()] {
            let built_in = text::write(&booking, Language::English);
            assert_eq!(filled(&booking, "{{subject}}\n\n{{body}}"), built_in);
            let text = filled(&booking, "Room: {{subject}}\n\nPlease note our gate.\n\n{{body}}");
            assert_eq!(text.subject, format!("Room: {}", built_in.subject));
            assert_eq!(text.body, format!("Please note our gate.\n\n{}", built_in.body));
        }
    }

    #[test]
    fn every_part_of_the_form_is_a_field() {
        let booking = examples::lived();
        let form = text::write(&booking, Language::English).body;
        let all: String = Field::all()
            .filter(|field| !matches!(field, Field::Subject | Field::Body))
            .map(|field| format!("{{{{{}}}}}\n", field.name()))
            .collect();
        let text = filled(&booking, &format!("{{{{key}}}}\n\n{all}")).body;
        for line in form.lines().filter(|line| !line.is_empty() && !line.ends_with(':')) {
            // Kind and severity share a line of the form.
            let value =
                if line.starts_with(' ') { line } else { line.split_once(": ").map_or(line, |(_, value)| value) };
            let value = value.strip_prefix("fault, ").unwrap_or(value);
            assert!(text.lines().any(|line| line == value), "{value}: {text}");
        }
    }

    #[test]
    fn what_became_of_a_booking_is_said_first_wherever_a_template_leaves_it_out() {
        let mut booking = examples::full();
        assert_eq!(filled(&booking, "{{key}}\n\nHello").body, "Hello\n");
        booking.state = State::Cancelled;
        let said = "This booking is withdrawn: the problem went away, no visit is needed.\n";
        assert_eq!(filled(&booking, "{{key}}\n\nHello").body, format!("{said}\nHello\n"));
        assert_eq!(filled(&booking, "{{key}}\n\nHello\n{{standing}}").body, format!("Hello\n{said}"));
        booking.missing.push("school.name".to_owned());
        let lacks = "Incomplete, missing: name of the school (school.name)\n";
        assert_eq!(filled(&booking, "{{key}}\n\nNews: {{standing}}").body, format!("News: {lacks}{said}"));
    }

    #[test]
    fn mistakes_are_found_all_at_once() {
        let found = wrong("{{versions}} for\nno gap\n{{scool}} and {{ }} and {{school\nfine {{school}}\n{{{school}}}");
        let starts = [
            "1: found {{versions}} in the subject, expected fields of one line",
            "1: found no {{key}}, expected it in the subject or the body",
            "2: found text, expected an empty line",
            "3: found {{scool}}, expected one of subject, body, standing, school, place, ",
            "3: found {{ }}, expected one of ",
            "3: found {{school without an end, expected {{name}}, or {{{{ for {{ itself",
            "5: found {{{school}}, expected one of ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found}");
        }
    }

    #[test]
    fn what_is_no_text_of_a_booking_is_refused() {
        assert_eq!(wrong("{{key}}\n\n \n"), ["3: found no body, expected it after the subject and an empty line"]);
        assert_eq!(wrong("{{key}}").len(), 1);
        assert!(wrong("\n\n{{key}}")[0].starts_with("1: found no subject"));
        assert_eq!(wrong("").len(), 3, "no subject, no body, no key");
        let found = Template::parse(b"{{key}}\n\nab\n\xff\n").expect_err("no UTF-8");
        assert_eq!((found.len(), found[0].line), (1, 4));
        let most = format!("{{{{key}}}}\n\n{}", "x".repeat(MAX_BYTES as usize - 9));
        assert!(Template::parse(most.as_bytes()).is_ok());
        assert!(wrong(&format!("{most}x"))[0].starts_with("1: found more than 65536 bytes"));
    }

    #[test]
    fn a_file_is_read_as_far_as_it_may_be_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("booking.txt");
        std::fs::write(&path, "\u{feff}{{key}}\n\n{{body}}\n").expect("a file");
        assert_eq!(Template::read(&path), Template::parse(b"{{key}}\n\n{{body}}").map_err(|_| Vec::new()));
        std::fs::write(&path, "{{kee}}\n\n{{body}}\n").expect("a file");
        let found = Template::read(&path).expect_err("a mistake");
        assert!(
            found[0].starts_with(&format!("{}:1: found {{{{kee}}}}, expected one of ", path.display())),
            "{found:?}"
        );
        std::fs::write(&path, vec![b'x'; 200_000]).expect("a file");
        assert!(Template::read(&path).expect_err("too long")[0].contains("more than"));
        assert!(Template::read(folder.path()).expect_err("a folder")[0].contains("it is no file"));
        assert!(Template::read(Path::new("/nowhere")).expect_err("nothing")[0].starts_with("cannot read /nowhere"));
    }

    #[test]
    fn a_value_never_starts_a_line_of_its_own() {
        let mut booking = examples::full();
        booking.school.name = "School\nKey: none\r".into();
        booking.versions[0].version = "1.0\n\nversion".into();
        let template = "{{school}} {{key}}\n\n{{school}}\n{{versions}}\tx\n{{body}}";
        let text = filled(&booking, template);
        assert_eq!(text.subject.lines().count(), 1);
        assert_eq!(text.body.lines().count(), filled(&examples::full(), template).body.lines().count());
        assert!(!text.body.replace('\n', "").contains(char::is_control), "{:?}", text.body);
    }
}
