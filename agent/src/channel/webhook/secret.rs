//! The shared secret that signs a webhook's orders, and the file that holds it.

use std::{fmt, path::Path};

use bellwether_probes::secret::read_bounded;
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A shared secret. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Reads one line: `whsec_` and base64, or the raw secret. The message of a mistake does not
    /// repeat it.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        match line.strip_prefix("whsec_") {
            Some(text) => {
                BASE64.decode(text.as_bytes()).map(Self).map_err(|_| "found whsec_ and no base64 after it".to_owned())
            }
            None => Ok(Self(line.as_bytes().to_vec())),
        }
    }

    /// `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY` (Standard Webhooks, "Signature
    /// scheme").
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

/// Reads all secrets of a file, the newest first as they stand there.
pub(super) fn secrets(path: &Path) -> Result<Vec<Secret>, String> {
    let text = String::from_utf8(read_bounded(path)?).map_err(|_| format!("{path:?} is no text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let secrets =
        lines.map(Secret::parse).collect::<Result<Vec<_>, _>>().map_err(|error| format!("{path:?}: {error}"))?;
    if secrets.is_empty() || secrets.iter().any(|secret| secret.0.is_empty()) {
        return Err(format!("{path:?} holds no secret"));
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_match_the_published_example() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("the example's secret");
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
