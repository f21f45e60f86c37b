//! The password of a calendar's user, and the file that holds it.

use std::{fmt, path::Path};

use bellwether_probes::secret::read_bounded;

/// A password. Never shown.
#[derive(Clone)]
pub(super) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// Reads the one line of a file; blanks in it count, its end does not. The message of a mistake does not
    /// repeat it.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = String::from_utf8(read_bounded(path)?).map_err(|_| format!("{path:?} is no text"))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(format!("{path:?} holds no password"));
        }
        if line.chars().any(char::is_control) {
            return Err(format!("{path:?} holds several lines, expected one password"));
        }
        Ok(Self(line.to_owned()))
    }

    /// The password itself, for the one place it is meant for.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_and_never_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = |text: &str| {
            std::fs::write(file.path(), text).expect("a password");
            Password::read(file.path())
        };
        for (text, expected) in [("s3cret\n", "s3cret"), ("two w\u{f6}rds ", "two w\u{f6}rds "), ("a\r\n", "a")] {
            let found = read(text).expect(text);
            assert_eq!(found.expose(), expected);
            assert_eq!(format!("{found:?}"), "Password(…)");
        }
        for text in ["", "\n", "s3cret\ns3cret\n", "s3c\tret"] {
            let message = read(text).expect_err(text);
            assert!(!message.contains("s3c"), "{message}");
        }
    }
}
