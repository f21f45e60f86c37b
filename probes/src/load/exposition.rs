//! The text in which exporters expose their metrics: Prometheus' format 0.0.4 and what OpenMetrics adds to a
//! line. Strict, as Prometheus itself is: one line that is none spoils the whole.
//!
//! `prometheus-parse` leaves out lines that it does not understand, which would make a sum silently too small;
//! `openmetrics-parser` is under the LGPL.

use std::borrow::Cow;

use crate::{Failure, Reason};

/// One line: a series and its value now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) series: Series<'a>,
    /// May be infinite or no number.
    pub(super) value: f64,
}

/// Name and labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Series<'_> {
    /// The value of a label; `""` without it, which is the same to Prometheus.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// The samples of a text, line by line; its end is the first line that is no sample.
pub(super) fn samples(text: &str) -> impl Iterator<Item = Result<Sample<'_>, Failure>> {
    let lines = text.lines().zip(1..).map(|(line, number)| (trim(line), number));
    lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')).map(|(line, number)| {
        // The line itself is not repeated: it may be anything.
        sample(line).map_err(|what| Failure::new(Reason::Parse, format!("line {number} of the answer: {what}")))
    })
}

fn sample(line: &str) -> Result<Sample<'_>, &'static str> {
    let (series, rest) = series(line)?;
    let (value, rest) = token(rest);
    let value = value.parse().map_err(|_| "no value behind the name")?;
    let (time, rest) = token(rest);
    // OpenMetrics puts an exemplar behind the value, after a `#`.
    if !time.is_empty() && time != "#" {
        time.parse::<f64>().map_err(|_| "no time behind the value")?;
        if !rest.is_empty() && !rest.starts_with('#') {
            return Err("more than a value and its time");
        }
    }
    Ok(Sample { series, value })
}

/// Reads `name{label="value",…}`; also what stands behind it. The name may stand in the braces, quoted, as it must
/// if it has other characters than Prometheus knew for long.
pub(super) fn series(text: &str) -> Result<(Series<'_>, &str), &'static str> {
    let (word, mut rest) = word(trim(text));
    let mut name = Cow::from(word);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = trim(inner);
        while !rest.starts_with('}') {
            let quoted_key = rest.starts_with('"');
            let (key, behind) = if quoted_key { quoted(rest)? } else { plain(rest) };
            if let Some(value) = behind.strip_prefix('=') {
                let (value, behind) = quoted(trim(value))?;
                labels.push((key, value));
                rest = behind;
            } else if quoted_key && name.is_empty() {
                (name, rest) = (key, behind);
            } else {
                return Err("a label without a value");
            }
            match rest.strip_prefix(',') {
                Some(next) => rest = trim(next),
                None if rest.starts_with('}') => {}
                None => return Err("labels without an end"),
            }
        }
        rest = trim(rest.get(1..).unwrap_or_default());
    }
    if name.is_empty() || labels.iter().any(|(key, _)| key.is_empty()) {
        return Err("no name");
    }
    Ok((Series { name, labels }, rest))
}

fn plain(text: &str) -> (Cow<'_, str>, &str) {
    let (word, rest) = word(text);
    (word.into(), rest)
}

/// A name without quotes, or `""`; also what stands behind it.
fn word(text: &str) -> (&str, &str) {
    let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let end = text.find(|c| !of_word(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { end });
    (word, trim(rest))
}

/// A text in quotes, with `\\`, `\"` and `\n` for what cannot stand there; also what stands behind it.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    const OPEN: &str = "a text without quotes, or without their end";
    let inner = text.strip_prefix('"').ok_or(OPEN)?;
    let mut escaped = false;
    let end = inner.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let (raw, rest) = inner.split_at_checked(end.ok_or(OPEN)?).ok_or(OPEN)?;
    let rest = trim(rest.get(1..).unwrap_or_default());
    if !raw.contains('\\') {
        return Ok((raw.into(), rest));
    }
    let mut plain = String::with_capacity(raw.len());
    let mut letters = raw.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('n') => plain.push('\n'),
                Some(letter @ ('\\' | '"')) => plain.push(letter),
                // As Prometheus does: what is no escape stands for itself.
                other => plain.extend(std::iter::once('\\').chain(other)),
            },
            (letter, false) => plain.push(letter),
        }
    }
    Ok((plain.into(), rest))
}

/// What stands before the next blank, and behind it.
fn token(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    (token, trim(rest))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, labels and value.
    type Told = (String, Vec<(String, String)>, String);

    fn one(line: &str) -> Result<Told, String> {
        let mut found = samples(line);
        let sample = found.next().expect("a sample").map_err(|failure| failure.detail)?;
        assert_eq!(found.next(), None, "{line}");
        let labels = sample.series.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Ok((sample.series.name.to_string(), labels, sample.value.to_string()))
    }

    #[test]
    fn a_line_has_a_name_labels_and_a_value() {
        for (line, name, labels, value) in [
            ("users 12", "users", &[][..], "12"),
            ("users{} 12", "users", &[], "12"),
            (" \tusers \t 1.25e1 \r\n", "users", &[], "12.5"),
            ("a:b_c{k=\"v\"} +Inf", "a:b_c", &[("k", "v")], "inf"),
            ("x -Inf 1700000000000", "x", &[], "-inf"),
            ("x NaN", "x", &[], "NaN"),
            ("x{ a = \"1\" , b=\"2\", } 3", "x", &[("a", "1"), ("b", "2")], "3"),
            ("x{a=\"}\"} 3", "x", &[("a", "}")], "3"),
            ("x{a=\"\"}3", "x", &[("a", "")], "3"),
            (r#"x{a="\"q\\n\n\\",b="\d"} 3"#, "x", &[("a", "\"q\\n\n\\"), ("b", "\\d")], "3"),
            ("x{room=\"三楼 301\"} 3", "x", &[("room", "三楼 301")], "3"),
            (r#"{"sfu.users",a="1"} 4"#, "sfu.users", &[("a", "1")], "4"),
            (r#"{a="1","sfu.users"} 4"#, "sfu.users", &[("a", "1")], "4"),
            (r#"x{"a.b"="1"} 4"#, "x", &[("a.b", "1")], "4"),
            (r#"x_total 4 # {trace="1"} 0.5 1.7e9"#, "x_total", &[], "4"),
            (r#"x_total 4 1.7e9 # {trace="1"} 0.5"#, "x_total", &[], "4"),
        ] {
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(one(line), Ok((name.to_owned(), labels, value.to_owned())), "{line}");
        }
    }

    #[test]
    fn what_is_no_sample_is_refused_by_its_line() {
        for (line, what) in [
            ("users", "no value behind the name"),
            ("users many", "no value behind the name"),
            ("users 1 soon", "no time behind the value"),
            ("users 1 2 3", "more than a value and its time"),
            ("1users 1", "no name"),
            ("{a=\"1\"} 1", "no name"),
            ("x{=\"1\"} 1", "no name"),
            ("x{a} 1", "a label without a value"),
            ("x{\"y\"} 1", "a label without a value"),
            ("x{a=1} 1", "a text without quotes, or without their end"),
            ("x{a=\"1} 1", "a text without quotes, or without their end"),
            ("x{a=\"1\\\"} 1", "a text without quotes, or without their end"),
            ("x{a=\"1\" b=\"2\"} 1", "labels without an end"),
            ("x{a=\"1\"", "labels without an end"),
            ("<!doctype html>", "no name"),
        ] {
            assert_eq!(one(line), Err(format!("line 1 of the answer: {what}")), "{line}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_left_out_and_lines_are_counted_all_the_same() {
        let text = "# HELP x \"\n# TYPE x gauge\n\nx 1\n  # a remark\nx{a=\"1\"} 2\n# EOF\n";
        let values: Vec<f64> = samples(text).map(|sample| sample.expect("a sample").value).collect();
        assert_eq!(values, [1.0, 2.0]);
        let last = samples("x 1\n\n#\nx\n").last().expect("a line").expect_err("has no value");
        assert_eq!((last.reason, &*last.detail), (Reason::Parse, "line 4 of the answer: no value behind the name"));
    }
}
