//! Who may call: the token, and the certificate that callers see.

use std::{
    fmt, fs,
    hint::black_box,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// The largest file that is read.
const MOST_BYTES: u64 = 256 << 10;
/// The shortest token: 16 characters of base64 are 96 bits.
const SHORTEST: usize = 16;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the token, or the key.
    #[error("{} has mode {mode:04o}, expected 0600: others can read it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The token is none.
    #[error("{} holds no token of at least {SHORTEST} visible ASCII characters", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// A PEM file is none.
    #[error("{} is no PEM file with what is expected of it", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// Key and certificate do not match, or are of no use.
    #[error("certificate and key cannot be used")]
    Tls(#[source] rustls::Error),
}

/// What callers must show.
pub(super) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Reads the token of a file that only its owner can read.
    pub(super) fn read(path: &Path) -> Result<Self, GuardError> {
        let bytes = secret(path)?;
        let no_token = || GuardError::Token { path: path.to_owned() };
        let text = String::from_utf8(bytes).map_err(|_| no_token())?;
        Self::parse(&text).ok_or_else(no_token)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let good = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }

    /// Whether `header` (RFC 6750 §2.1) shows it. What it takes tells the length of what was shown, and
    /// nothing of the token.
    pub(super) fn is_shown(&self, header: &[u8]) -> bool {
        let (scheme, shown) = header.split_at_checked(b"Bearer ".len()).unwrap_or_default();
        let token = self.0.as_bytes();
        let mut difference = u8::from(shown.len() != token.len());
        for (shown, expected) in shown.iter().zip(token.iter().cycle()) {
            difference |= black_box(shown ^ expected);
        }
        scheme.eq_ignore_ascii_case(b"Bearer ") & (black_box(difference) == 0)
    }
}

/// What makes TLS of a connection, from a certificate chain and its key.
pub(super) fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, GuardError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| GuardError::Pem { path, source }
    };
    let found = read(chain)?;
    let chain_of = CertificateDer::pem_slice_iter(&found).collect::<Result<Vec<_>, _>>().map_err(pem(chain))?;
    let key = PrivateKeyDer::from_pem_slice(&secret(key)?).map_err(pem(key))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain_of, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(GuardError::Tls)?)))
}

/// Reads a file that only its owner may read. The service manager guards its credentials by an access
/// list, which shows as a group's right.
fn secret(path: &Path) -> Result<Vec<u8>, GuardError> {
    let metadata = fs::metadata(path).map_err(|source| GuardError::Read { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o7777;
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.starts_with(folder));
    if mode & 0o077 != 0 && !credential {
        return Err(GuardError::Open { path: path.to_owned(), mode });
    }
    read(path)
}

fn read(path: &Path) -> Result<Vec<u8>, GuardError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path);
    file.and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
        .map_err(|source| GuardError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_the_token_itself_is_taken() {
        let token = Token::parse("0123456789abcdefghij\n").unwrap();
        for (header, taken) in [
            ("Bearer 0123456789abcdefghij", true),
            ("bearer 0123456789abcdefghij", true),
            ("Bearer 0123456789abcdefghiJ", false),
            ("Bearer 0123456789abcdefghi", false),
            ("Bearer 0123456789abcdefghij0123456789abcdefghij", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic  0123456789abcdefghij", false),
            ("0123456789abcdefghij", false),
            ("", false),
        ] {
            assert_eq!(token.is_shown(header.as_bytes()), taken, "{header:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_short_or_strange_token_is_none() {
        for text in ["", "\n", "0123456789abcde", "0123456789 abcdef", "0123456789abcdéf"] {
            assert!(Token::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "0123456789abcdef").unwrap();
        for (mode, taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Token::read(file.path()).is_ok(), taken, "{mode:o}");
        }
        assert!(matches!(Token::read(Path::new("/nonexistent")), Err(GuardError::Read { .. })));
    }
}
