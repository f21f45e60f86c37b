//! `tls_server_config`: certificate and key, who must show a certificate, and what is offered.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rustls::{SupportedCipherSuite, SupportedProtocolVersion, crypto::SupportedKxGroup};

use crate::web::{
    keys::{At, Keys, Slip, shown},
    offer,
    yaml::Node,
};

/// `tls_server_config`.
pub(in crate::web) struct Tls {
    pub(in crate::web) certificate: Option<Pem>,
    pub(in crate::web) key: Option<Pem>,
    /// Who must show a certificate; `None` for nobody.
    pub(in crate::web) clients: Option<Clients>,
    pub(in crate::web) versions: Vec<&'static SupportedProtocolVersion>,
    /// Of TLS 1.2, in order; those of TLS 1.3 are always all. `None` for all.
    pub(in crate::web) suites: Option<Vec<SupportedCipherSuite>>,
    /// In order; `None` for all.
    pub(in crate::web) groups: Option<Vec<&'static dyn SupportedKxGroup>>,
    /// Whether our order of suites counts, and not the client's.
    pub(in crate::web) own_order: bool,
}

/// Certificates of clients.
#[derive(Debug)]
pub(in crate::web) struct Clients {
    /// Whose certificates count.
    pub(in crate::web) authority: Option<Pem>,
    /// Whether one without is turned away.
    pub(in crate::web) required: bool,
    /// The names of which the certificate must have one; `None` for any.
    pub(in crate::web) names: Option<Vec<String>>,
}

/// A text in PEM: in a file, or in the web config file itself.
pub(in crate::web) struct Pem {
    /// The key that says it.
    pub(in crate::web) key: &'static str,
    /// Its line, counted from 1.
    pub(in crate::web) line: usize,
    pub(in crate::web) source: Source,
}

/// Where a text in PEM is.
pub(in crate::web) enum Source {
    /// In a file.
    File(PathBuf),
    /// In the web config file itself.
    Inline(String),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).field("clients", &self.clients).finish()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({}, line {})", self.key, self.line)
    }
}

pub(super) fn read(node: &Node, line: Option<usize>, folder: &Path, slips: &mut Vec<Slip>) -> Option<Tls> {
    const PATH: &str = "tls_server_config";
    let known = [
        "cert",
        "key",
        "client_ca",
        "cert_file",
        "key_file",
        "client_auth_type",
        "client_ca_file",
        "client_allowed_sans",
        "min_version",
        "max_version",
        "cipher_suites",
        "prefer_server_cipher_suites",
        "curve_preferences",
    ];
    let keys = Keys::read(node, PATH, Some(&known), slips);
    if keys.entries.is_empty() {
        return None;
    }
    let certificate = pem(&keys, ["cert_file", "cert"], folder, slips);
    let key = pem(&keys, ["key_file", "key"], folder, slips);
    for (found, name, what) in
        [(&certificate, "cert_file", "the server's certificate"), (&key, "key_file", "its private key")]
    {
        if found.is_none() && !keys.says(name) {
            let message = format!("found no {name}, expected {what} in PEM");
            slips.push(Slip::new(line, PATH, message));
        }
    }
    let versions = versions(&keys, slips);
    let suites = keys.words("cipher_suites", slips).map(|words| {
        let suites = named(words, "cipher_suites", offer::suite, &offer::suites(), slips);
        let of_tls12 = |suite: &SupportedCipherSuite| suite.version().version == rustls::ProtocolVersion::TLSv1_2;
        let is_offered = versions.contains(&&rustls::version::TLS12);
        if is_offered && !suites.is_empty() && !suites.iter().any(of_tls12) {
            let message = "found no suite of TLS 1.2, expected one, or min_version: TLS13";
            slips.push(Slip::new(keys.line("cipher_suites"), format!("{PATH}.cipher_suites"), message));
        }
        suites.into_iter().filter(of_tls12).collect()
    });
    let groups = keys
        .words("curve_preferences", slips)
        .map(|words| named(words, "curve_preferences", offer::group, &offer::groups(), slips));
    Some(Tls {
        certificate,
        key,
        clients: clients(&keys, folder, slips),
        versions,
        suites: suites.filter(|suites: &Vec<_>| !suites.is_empty()),
        groups: groups.filter(|groups| !groups.is_empty()),
        own_order: keys.truth("prefer_server_cipher_suites", true, slips),
    })
}

/// A text in PEM, by the key that names its file or by the one that says it.
fn pem(keys: &Keys<'_>, [file, inline]: [&'static str; 2], folder: &Path, slips: &mut Vec<Slip>) -> Option<Pem> {
    let (named, said) = (keys.text(file, slips), keys.text(inline, slips));
    if let (Some(_), Some(said)) = (&named, &said) {
        let message = format!("found beside {file}, expected one of the two");
        slips.push(Slip::new(Some(said.line), keys.path_of(inline), message));
    }
    let named = named.map(|at| Pem { key: file, line: at.line, source: Source::File(folder.join(at.value)) });
    named.or_else(|| said.map(|at| Pem { key: inline, line: at.line, source: Source::Inline(at.value.to_owned()) }))
}

fn versions(keys: &Keys<'_>, slips: &mut Vec<Slip>) -> Vec<&'static SupportedProtocolVersion> {
    let mut version = |name: &str, default: u8| match keys.text(name, slips) {
        None => default,
        Some(At { value: "TLS12", .. }) => 12,
        Some(At { value: "TLS13", .. }) => 13,
        Some(At { line, value }) => {
            let why = if matches!(value, "TLS10" | "TLS11") { " (it is broken, and not offered)" } else { "" };
            let message = format!("found {}{why}, expected TLS12 or TLS13", shown(value));
            slips.push(Slip::new(Some(line), keys.path_of(name), message));
            default
        }
    };
    let (least, most) = (version("min_version", 12), version("max_version", 13));
    if least > most {
        let message = format!("found TLS{least}, above max_version, expected at most TLS{most}");
        slips.push(Slip::new(keys.line("min_version"), keys.path_of("min_version"), message));
    }
    let all = [(12, &rustls::version::TLS12), (13, &rustls::version::TLS13)];
    all.into_iter().filter(|(version, _)| (least..=most).contains(version)).map(|(_, version)| version).collect()
}

/// What a list of names stands for; each that is none of `known` is a mistake.
fn named<T>(
    words: Vec<At<&str>>,
    key: &str,
    find: impl Fn(&str) -> Option<T>,
    known: &[&str],
    slips: &mut Vec<Slip>,
) -> Vec<T> {
    let mut found = Vec::new();
    for (index, At { line, value }) in words.into_iter().enumerate() {
        match find(value) {
            Some(value) => found.push(value),
            None => {
                let message = format!("found {}, expected one of {}", shown(value), known.join(", "));
                slips.push(Slip::new(Some(line), format!("tls_server_config.{key}[{index}]"), message));
            }
        }
    }
    found
}

fn clients(keys: &Keys<'_>, folder: &Path, slips: &mut Vec<Slip>) -> Option<Clients> {
    let authority = pem(keys, ["client_ca_file", "client_ca"], folder, slips);
    let names = keys.words("client_allowed_sans", slips);
    let kind = keys.text("client_auth_type", slips);
    let line = kind.as_ref().map(|kind| kind.line);
    let required = match kind.map_or("NoClientCert", |kind| kind.value) {
        "NoClientCert" => None,
        "VerifyClientCertIfGiven" => Some(false),
        "RequireAndVerifyClientCert" => Some(true),
        other => {
            let unchecked = ["RequestClientCert", "RequireAnyClientCert", "RequireClientCert"].contains(&other);
            let why = if unchecked { ", which takes any certificate and protects nothing" } else { "" };
            let message = format!(
                "found {}{why}; expected NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
                shown(other)
            );
            slips.push(Slip::new(line, keys.path_of("client_auth_type"), message));
            return None;
        }
    };
    if let Some(authority) = authority.as_ref().filter(|_| required.is_none()) {
        let message = "found without client_auth_type, expected client_auth_type: RequireAndVerifyClientCert";
        slips.push(Slip::new(Some(authority.line), keys.path_of(authority.key), message));
    }
    if authority.is_none() && required.is_some() && !keys.says("client_ca_file") {
        let message = "found no client_ca_file, expected the certificates of those who sign the clients' ones";
        slips.push(Slip::new(line, keys.path_of("client_auth_type"), message));
    }
    if let Some(names) = &names {
        let mut wrong = |message| {
            slips.push(Slip::new(keys.line("client_allowed_sans"), keys.path_of("client_allowed_sans"), message));
        };
        if required != Some(true) {
            wrong("found without client_auth_type: RequireAndVerifyClientCert, expected it with it");
        }
        if names.is_empty() {
            wrong("found no name, expected those of which a client's certificate must have one");
        }
    }
    let names = names.map(|names| names.into_iter().map(|name| name.value.to_owned()).collect());
    required.map(|required| Clients { authority, required, names })
}
