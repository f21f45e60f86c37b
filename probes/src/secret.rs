//! Files that hold a secret, and the secrets: read for each use, never shown.
//!
//! A system service may not read the folder of secrets, which is root's: the service manager hands it what lay
//! there when it started, as credentials (systemd.exec(5), `LoadCredential=`). A config names the same file for
//! the service and for a command by hand.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Longest secret or certificate file that is read.
const MAX_FILE: u64 = 256 * 1024;
/// The folder that the unit loads its credentials from, and what it calls them.
const FOLDER: &str = "/etc/bellwether/credentials";
const CREDENTIAL: &str = "secret";

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

/// Whether a config may name this secret file: it is guarded, and `read` reads it.
pub fn usable<T>(path: &Path, read: impl FnOnce(&Path) -> Result<T, String>) -> Result<(), String> {
    // The commands of a reload are shown no credentials: the service, which is, looks at them next.
    if matches!(Place::of(path), Place::Hidden) {
        return Ok(());
    }
    guarded(path)?;
    read(path).map(drop)
}

/// Whether nobody but its owner can read a secret file.
pub fn guarded(path: &Path) -> Result<(), String> {
    let place = Place::of(path);
    let mode = fs::metadata(place.path(path)).map_err(|error| place.cannot_read(path, &error))?.permissions().mode();
    // The service manager guards its credentials by an access list, which shows as a group's right.
    let given = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| place.path(path).starts_with(folder));
    if mode & 0o077 != 0 && !given {
        return Err(format!("{path:?} has mode {:04o}, expected 0600: others can read the secret", mode & 0o7777));
    }
    Ok(())
}

/// Reads a small file.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let place = Place::of(path);
    let cannot = |error| place.cannot_read(path, &error);
    let mut bytes = Vec::new();
    fs::File::open(place.path(path)).map_err(cannot)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{path:?} has more than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

/// Where a file is read that a config names.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Where it says.
    Named,
    /// It is a credential of this service.
    Given(PathBuf),
    /// It would be one, and was not there when the service started.
    NotGiven,
    /// This process belongs to the service, and is shown no credentials.
    Hidden,
}

impl Place {
    fn of(path: &Path) -> Self {
        Self::among(path, std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).as_deref())
    }

    fn among(path: &Path, credentials: Option<&Path>) -> Self {
        let (Some(credentials), Ok(name)) = (credentials, path.strip_prefix(FOLDER)) else { return Self::Named };
        let name = name.to_string_lossy().replace('/', "_");
        let given = credentials.join(format!("{CREDENTIAL}_{name}"));
        match fs::metadata(&given) {
            Ok(_) => Self::Given(given),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Hidden,
            Err(_) => Self::NotGiven,
        }
    }

    fn path<'a>(&'a self, named: &'a Path) -> &'a Path {
        match self {
            Self::Given(given) => given,
            _ => named,
        }
    }

    fn cannot_read(&self, path: &Path, error: &io::Error) -> String {
        match self {
            Self::NotGiven => format!(
                "cannot read {path:?}: found no such file when the service started; put it there, and \
                 `systemctl restart bellwether`"
            ),
            _ => format!("cannot read {path:?}: {error}"),
        }
    }
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

    #[test]
    fn a_file_of_the_folder_is_a_credential_in_a_service() {
        let credentials = tempfile::tempdir().unwrap();
        fs::write(credentials.path().join("secret_media"), "s3cret").unwrap();
        fs::write(credentials.path().join("secret_vendor_key"), "s3cret").unwrap();
        let place = |path: &str| Place::among(Path::new(path), Some(credentials.path()));
        let given = |name: &str| Place::Given(credentials.path().join(name));
        assert_eq!(place("/etc/bellwether/credentials/media"), given("secret_media"));
        assert_eq!(place("/etc/bellwether/credentials/vendor/key"), given("secret_vendor_key"));
        assert_eq!(place("/etc/bellwether/credentials/other"), Place::NotGiven);
        assert_eq!(place("/srv/media"), Place::Named);
        let media = Path::new("/etc/bellwether/credentials/media");
        assert_eq!(Place::among(media, None), Place::Named);
        let message = Place::NotGiven.cannot_read(media, &io::ErrorKind::NotFound.into());
        assert!(message.contains("credentials/media") && message.contains("systemctl restart"), "{message}");
    }

    #[test]
    fn the_unit_loads_what_is_looked_for() {
        let unit = include_str!("../../systemd/bellwether.service");
        let loads = format!("LoadCredential={CREDENTIAL}:{FOLDER}");
        assert!(unit.lines().any(|line| line == loads), "expected {loads}");
    }
}
