//! Bytes → content lines (RFC 5545 §3.1), each with the number of the line it begins on.

/// No line that a date stands on is longer; descriptions and attachments may be.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// A content line, unfolded but not yet taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it begins, from 1.
    pub(crate) number: usize,
    /// Its text, without line ends and folds.
    pub(crate) text: String,
    /// Whether some bytes were no UTF-8; they stand in the text as U+FFFD.
    pub(crate) broken: bool,
    /// Whether the line went on beyond [`MAX_LINE`].
    pub(crate) cut: bool,
}

/// A content line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    /// Where it begins, from 1.
    pub(crate) line: usize,
    /// Its name, in capitals.
    pub(crate) name: String,
    /// Its parameters: names in capitals, values without quotes.
    pub(crate) parameters: Vec<(String, String)>,
    /// What stands after the colon.
    pub(crate) value: String,
}

impl Property {
    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// The lines of a text; ends of lines may be CRLF or LF, and empty lines are left out.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = Line> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let ended = text.strip_suffix(b"\n").unwrap_or(text);
    let mut physical = ended.split(|byte| *byte == b'\n').enumerate().peekable();
    std::iter::from_fn(move || {
        loop {
            let (index, first) = physical.next()?;
            // A fold may be within a character: the bytes are put together before they are decoded.
            let mut bytes = without_return(first).to_vec();
            let mut cut = bytes.len() > MAX_LINE;
            while let Some((_, next)) = physical.next_if(|(_, next)| matches!(next.first(), Some(b' ' | b'\t'))) {
                let next = without_return(next.get(1..).unwrap_or_default());
                cut |= bytes.len() + next.len() > MAX_LINE;
                if !cut {
                    bytes.extend_from_slice(next);
                }
            }
            bytes.truncate(MAX_LINE);
            if bytes.iter().any(|byte| !byte.is_ascii_whitespace()) {
                let decoded = String::from_utf8_lossy(&bytes);
                let broken = matches!(decoded, std::borrow::Cow::Owned(_));
                return Some(Line { number: index + 1, text: decoded.into_owned(), broken, cut });
            }
        }
    })
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The name that a line begins with, in capitals, whether or not the rest can be read.
pub(crate) fn name(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.chars().take_while(|c| is_name(*c)).map(|c| c.to_ascii_uppercase()).collect()
}

/// Takes a line apart; `None` if it is no content line.
pub(crate) fn property(line: &Line) -> Option<Property> {
    let name = name(&line.text);
    let mut rest = line.text.get(name.len()..).filter(|_| !name.is_empty())?;
    let mut parameters = Vec::new();
    loop {
        if let Some(value) = rest.strip_prefix(':') {
            return Some(Property { line: line.number, name, parameters, value: value.to_owned() });
        }
        let (parameter, after) = rest.strip_prefix(';')?.split_once('=')?;
        let (value, after) = parameter_value(after)?;
        parameters.push((parameter.to_ascii_uppercase(), value));
        rest = after;
    }
}

/// The value of a parameter, without quotes, and what follows it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ':' | ';' if !quoted => return Some((value, text.get(at..)?)),
            _ => value.push(c),
        }
    }
    None
}

/// A text with its escapes undone (RFC 5545 §3.3.11), line ends as spaces, cut after `most` characters.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let mut found = String::new();
    let mut chars = text.chars();
    for _ in 0..most {
        match chars.next() {
            Some('\\') => match chars.next() {
                Some('n' | 'N') => found.push(' '),
                Some(c) => found.push(c),
                None => found.push('\\'),
            },
            Some(c) if c.is_control() => found.push(' '),
            Some(c) => found.push(c),
            None => break,
        }
    }
    found.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &[u8]) -> Vec<(usize, String)> {
        lines(text).map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn folds_are_undone_and_the_first_line_counts() {
        let expected = vec![(1, "A:bcd".to_owned()), (4, "E: f".to_owned())];
        assert_eq!(texts(b"A:b\r\n c\r\n\td\r\nE: f\r\n"), expected);
        assert_eq!(texts(b"\xEF\xBB\xBFA:b\n c\n\td\nE: f"), expected);
        assert_eq!(texts(b"A:1\n\n  \nB:2\n").last(), Some(&(4, "B:2".to_owned())), "an empty line is none");
    }

    #[test]
    fn a_fold_within_a_character_is_undone() {
        let mut folded = "SUMMARY:数学".as_bytes().to_vec();
        folded.splice(9..9, *b"\r\n ");
        assert!(std::str::from_utf8(&folded).is_err(), "it is cut in the middle of a character");
        assert_eq!(texts(&folded), vec![(1, "SUMMARY:数学".to_owned())]);
        let gbk = lines(b"SUMMARY:\xca\xfd\xd1\xa7").next().expect("a line");
        assert!(gbk.broken && gbk.text.starts_with("SUMMARY:"));
    }

    #[test]
    fn a_long_line_is_cut() {
        let long = [b"DESCRIPTION:".as_slice(), &vec![b'x'; MAX_LINE], b"\n y\nB:1"].concat();
        let found: Vec<_> = lines(&long).collect();
        assert!(found[0].cut && found[0].text.len() == MAX_LINE);
        assert_eq!((found[1].number, found[1].cut), (3, false));
    }

    #[test]
    fn a_line_is_taken_apart() {
        let line = |text: &str| Line { number: 7, text: text.to_owned(), broken: false, cut: false };
        let found =
            property(&line("dtstart;tzid=\"(UTC+08:00) Beijing; Chongqing\";X=a,b:2026:1")).expect("a property");
        assert_eq!((found.name.as_str(), found.value.as_str(), found.line), ("DTSTART", "2026:1", 7));
        assert_eq!(found.parameter("TZID"), Some("(UTC+08:00) Beijing; Chongqing"));
        assert_eq!(found.parameter("X"), Some("a,b"));
        assert_eq!(found.parameter("Y"), None);
        for bad in ["", ":1", "DTSTART", "DTSTART;", "DTSTART;TZID:1", "DTSTART;TZID=\"a:1", "DT START:1", "数:1"] {
            assert_eq!(property(&line(bad)), None, "{bad}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(plain(r"数学\, 301\; A\\B\n2\", 200), r"数学, 301; A\B 2\");
        assert_eq!(plain("长课名", 2), "长课");
    }
}
