//! Who may call: the token, and the certificate that callers see.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
};

use bellwether_probes::secret::{Secret, guarded, read_bounded};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// The shortest token: 16 characters of base64 are 96 bits.
const SHORTEST: usize = 16;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It cannot be read, or others can read it too, or what it holds is no secret.
    #[error("{0}")]
    File(String),
    /// The token is easily guessed.
    #[error("{} holds a token of less than {SHORTEST} characters", path.display())]
    Short {
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
#[derive(Debug)]
pub(super) struct Token(Secret);

impl Token {
    /// Reads the token of a file that only its owner can read.
    pub(super) fn read(path: &Path) -> Result<Self, GuardError> {
        guarded(path).map_err(GuardError::File)?;
        let token = Secret::read(path).map_err(GuardError::File)?;
        if token.expose().len() < SHORTEST {
            return Err(GuardError::Short { path: path.to_owned() });
        }
        Ok(Self(token))
    }

    /// Whether `header` (RFC 6750 §2.1) shows it. What it takes tells the length of what was shown, and
    /// nothing of the token.
    pub(super) fn is_shown(&self, header: &[u8]) -> bool {
        let (scheme, shown) = header.split_at_checked(b"Bearer ".len()).unwrap_or_default();
        let token = self.0.expose().as_bytes();
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
    guarded(key).map_err(GuardError::File)?;
    let found = read_bounded(chain).map_err(GuardError::File)?;
    let chain_of = CertificateDer::pem_slice_iter(&found).collect::<Result<Vec<_>, _>>().map_err(pem(chain))?;
    let found = read_bounded(key).map_err(GuardError::File)?;
    let key = PrivateKeyDer::from_pem_slice(&found).map_err(pem(key))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain_of, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(GuardError::Tls)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn only_the_token_itself_is_taken() {
        let token = Token(Secret::new("0123456789abcdefghij"));
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
    }

    #[test]
    fn a_file_that_others_can_read_or_a_short_token_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, text, taken) in [
            (0o600, "0123456789abcdef\n", true),
            (0o400, "0123456789abcdef", true),
            (0o640, "0123456789abcdef", false),
            (0o604, "0123456789abcdef", false),
            (0o600, "0123456789abcde\n", false),
            (0o600, "", false),
        ] {
            fs::write(file.path(), text).unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Token::read(file.path()).is_ok(), taken, "{mode:o} {text:?}");
        }
        assert!(matches!(Token::read(Path::new("/nonexistent")), Err(GuardError::File(_))));
    }
}
