//! Files that hold a secret, and the secrets: read for each use, never shown.

use std::{fmt, fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

/// Longest secret or certificate file that is read.
const MAX_FILE: u64 = 256 * 1024;

/// A token or password. Its text is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A secret that came from elsewhere than a file.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads the one line of a file, of printable ASCII so that it fits into a header. The message
    /// of a mistake does not repeat it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = String::from_utf8(read_bounded(path)?).map_err(|_| format!("{path:?} is no text"))?;
        let line = text.trim();
        if line.is_empty() {
            return Err(format!("{path:?} holds no secret"));
        }
        if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{path:?} holds blanks, line breaks or other characters than ASCII, expected one word"
            ));
        }
        Ok(Self(line.to_owned()))
    }

    /// The secret itself, for the one place it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether nobody but its owner can read a secret file.
pub fn guarded(path: &Path) -> Result<(), String> {
    let mode = fs::metadata(path).map_err(|error| format!("cannot read {path:?}: {error}"))?.permissions().mode();
    // The service manager guards its credentials by an access list, which shows as a group's right.
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.starts_with(folder));
    if mode & 0o077 != 0 && !credential {
        return Err(format!("{path:?} has mode {:04o}, expected 0600: others can read the secret", mode & 0o7777));
    }
    Ok(())
}

/// Reads a small file.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error| format!("cannot read {path:?}: {error}");
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(cannot)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{path:?} has more than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_secret_is_one_word_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (text, expected) in [
            ("s3cret\n", Ok("s3cret")),
            ("  s3cret", Ok("s3cret")),
            ("\n", Err("holds no secret")),
            ("s3cret one", Err("expected one word")),
            ("s3cret\nold", Err("expected one word")),
            ("s3crét", Err("expected one word")),
        ] {
            fs::write(&path, text).unwrap();
            let read = Secret::read(&path);
            let shown = format!("{read:?}");
            assert!(!shown.contains("s3c"), "{text:?}: {shown}");
            match expected {
                Ok(secret) => assert_eq!(read.unwrap().expose(), secret),
                Err(message) => assert!(read.unwrap_err().contains(message), "{text:?}: {shown}"),
            }
        }
        fs::write(&path, vec![b'x'; 300_000]).unwrap();
        assert!(Secret::read(&path).unwrap_err().contains("more than"));
        assert!(Secret::read(Path::new("/nowhere")).unwrap_err().starts_with("cannot read"));
    }
}
