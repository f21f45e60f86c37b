//! Who may come in, and how: what a web config file and the files that it names say together.

use std::{collections::BTreeMap, fs, io, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use axum::http::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use sha2::{Digest, Sha256};

use super::{
    file::{self, Rate, Source},
    hash::Hash,
    keys::Slip,
    tls,
};
use crate::files::read_bytes;

/// The largest web config file, certificate or key, in bytes.
const MOST_BYTES: u64 = 256 << 10;

/// What counts for whoever connects. By default anybody may, in plain HTTP.
#[derive(Clone, Default)]
pub struct Access {
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Whether whoever connects must show a certificate.
    pub(super) clients_named: bool,
    pub(super) users: BTreeMap<String, Hash>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) rate: Option<Rate>,
    /// What a person should know of the files.
    pub(super) warnings: Vec<String>,
    /// Of all that was read.
    pub(super) digest: [u8; 32],
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (tls, users) = (self.tls.is_some(), self.users.len());
        f.debug_struct("Access").field("tls", &tls).field("users", &users).finish_non_exhaustive()
    }
}

/// What the files were found to say.
#[derive(Debug)]
pub(super) struct Reading {
    /// Of all that was read: the same as long as nothing changes.
    pub(super) digest: [u8; 32],
    /// Or all mistakes, each with file, line, key, what was found and what was expected.
    pub(super) access: Result<Access, Vec<String>>,
}

impl Access {
    /// Reads a web config file and the files that it names.
    ///
    /// # Errors
    /// All mistakes, each a line that begins with the file; no password, hash or key is in them.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        read(path).access
    }

    /// Begins with `https` or `http`.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.tls.is_some() { "https" } else { "http" })
    }

    /// What this no longer asks for and `older` did.
    pub(super) fn gives_up(&self, older: &Self) -> Option<&'static str> {
        if older.tls.is_some() && self.tls.is_none() {
            Some("TLS")
        } else if older.clients_named && !self.clients_named {
            Some("certificates of clients")
        } else if !older.users.is_empty() && self.users.is_empty() {
            Some("passwords")
        } else {
            None
        }
    }

    /// What others than this box can do who reach `listen`, in one line with the remedy; nothing if they cannot, or
    /// only what they may.
    pub(super) fn exposure(&self, listen: SocketAddr, file: Option<&Path>) -> Option<String> {
        if listen.ip().to_canonical().is_loopback() {
            return None;
        }
        let at = file.map_or("a file named by [web] config_file".to_owned(), |path| path.display().to_string());
        match (&self.tls, self.users.is_empty()) {
            (None, true) => Some(format!(
                "whoever reaches {listen} can read what is measured: ask for TLS and a password in {at}, or let only \
                 Prometheus through the firewall"
            )),
            (None, false) => Some(format!(
                "passwords come to {listen} in plain HTTP, which the network can read: add tls_server_config to {at}"
            )),
            (Some(_), true) if !self.clients_named => Some(format!(
                "whoever reaches {listen} can read what is measured: add basic_auth_users, or client_auth_type, to {at}"
            )),
            _ => None,
        }
    }
}

/// Reads everything, and tells whether it differs from another time.
pub(super) fn read(path: &Path) -> Reading {
    let mut sum = Sha256::new();
    let mut take = |path: &Path| {
        let found = read_bytes(path, MOST_BYTES);
        match &found {
            Ok(bytes) => sum.update(Sha256::digest(bytes)),
            Err(error) => sum.update(Sha256::digest(error.to_string())),
        }
        found
    };
    let (access, slips) = match take(path).and_then(text) {
        Ok(text) => from_text(&text, path, &mut take),
        Err(error) => (Access::default(), vec![Slip::new(None, "", format!("cannot be read: {error}"))]),
    };
    let digest = sum.finalize().into();
    let place = |slip: Slip| {
        let colon = if slip.line.is_some() { ":" } else { ": " };
        format!("{}{colon}{slip}", path.display())
    };
    let access =
        if slips.is_empty() { Ok(Access { digest, ..access }) } else { Err(slips.into_iter().map(place).collect()) };
    Reading { digest, access }
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::other("found bytes that are not UTF-8, expected a text in UTF-8"))
}

fn from_text(text: &str, path: &Path, take: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> (Access, Vec<Slip>) {
    let (file, mut slips) = file::parse(text, path.parent().unwrap_or(Path::new("")));
    let mut source = |source: &Source| match source {
        Source::Inline(text) => Ok(text.clone().into_bytes()),
        Source::File(path) => take(path).map_err(|error| format!("cannot read {}: {error}", path.display())),
    };
    let tls = file.tls.as_ref().and_then(|tls| tls::build(tls, &mut source, &mut slips));
    slips.sort();
    let key = file.tls.as_ref().and_then(|tls| tls.key.as_ref()).map(|key| &key.source);
    let mut warnings = Vec::new();
    if let Some(Source::File(key)) = key {
        warnings.extend(readable_by_all(key, "the private key"));
    }
    if !file.users.is_empty() || matches!(key, Some(Source::Inline(_))) {
        warnings.extend(readable_by_all(path, "the web config file, which holds secrets"));
    }
    let clients_named = file.tls.and_then(|tls| tls.clients).is_some_and(|clients| clients.required);
    let access = Access {
        tls,
        clients_named,
        users: file.users,
        headers: file.headers,
        rate: file.rate,
        warnings,
        digest: [0; 32],
    };
    (access, slips)
}

fn readable_by_all(path: &Path, what: &str) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let shown = path.display();
    (mode & 0o004 != 0).then(|| format!("everybody on this box can read {what}: chmod o-r {shown}"))
}

#[cfg(test)]
mod tests;
