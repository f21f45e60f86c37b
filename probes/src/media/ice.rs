//! STUN and TURN servers: their config, and their addresses (RFC 7064, RFC 7065).

use std::path::PathBuf;

use rtc::ice::url::{ProtoType, SchemeType, Url};
use serde::{Deserialize, Serialize};

use crate::{
    Failure, Mistake, Reason,
    secret::{Secret, usable},
};

/// Most servers, and most addresses of one.
const MOST: usize = 8;

/// `[[probe.NAME.far_end.ice_servers]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IceServers {
    /// Addresses: `stun:HOST`, `turn:HOST:3478?transport=udp`, `turns:HOST:5349?transport=tcp`.
    pub urls: Vec<String>,
    /// User name at a TURN server.
    pub username: Option<String>,
    /// File with the password at a TURN server.
    pub credential_file: Option<PathBuf>,
}

/// A server with its password, as one call uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) urls: Vec<String>,
    /// Empty for STUN.
    pub(crate) username: String,
    /// Empty for STUN.
    pub(crate) credential: Secret,
}

impl Server {
    /// Whether we can speak to it: servers may name what they like.
    pub(crate) fn is_usable(&self) -> bool {
        let known = !self.username.is_empty() && !self.credential.expose().is_empty();
        let usable = |url: &String| parse(url).is_ok_and(|address| !address.is_turn() || known);
        !self.urls.is_empty() && self.urls.iter().all(usable)
    }
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    StunUdp,
    TurnUdp,
    TurnTcp,
    TurnTls,
}

impl Transport {
    /// Whether it is a stream, and so goes by way of a bridge.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::TurnTcp | Self::TurnTls)
    }
}

/// A server's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) transport: Transport,
    /// Name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Takes an address apart. The message says what would be right.
pub(crate) fn parse(url: &str) -> Result<Address, String> {
    let expected = r#"expected such as "stun:HOST", "turn:HOST:3478?transport=udp" or "turns:HOST:5349?transport=tcp""#;
    let found = Url::parse_url(url).map_err(|_| format!("found {url:?}, {expected}"))?;
    let transport = match (found.scheme, found.proto) {
        (SchemeType::Stun, _) => Transport::StunUdp,
        (SchemeType::Turn, ProtoType::Udp) => Transport::TurnUdp,
        (SchemeType::Turn, ProtoType::Tcp) => Transport::TurnTcp,
        (SchemeType::Turns, ProtoType::Tcp) => Transport::TurnTls,
        (SchemeType::Turns, ProtoType::Udp) => {
            return Err(format!("found {url:?}: TURN over DTLS, expected turns: with transport=tcp, or turn:"));
        }
        (SchemeType::Stuns, _) => return Err(format!("found {url:?}: STUN over TLS, expected stun:")),
        _ => return Err(format!("found {url:?}, {expected}")),
    };
    if found.host.is_empty() {
        return Err(format!("found {url:?}, {expected}"));
    }
    Ok(Address { transport, host: found.host, port: found.port })
}

impl Address {
    pub(crate) fn is_turn(&self) -> bool {
        self.transport != Transport::StunUdp
    }
}

/// Mistakes in a list of servers.
pub(crate) fn check(servers: &[IceServers]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut mistake = |message: String| mistakes.push(Mistake::new("ice_servers", message));
    if servers.len() > MOST {
        mistake(format!("found {} servers, expected at most {MOST}", servers.len()));
    }
    for server in servers {
        let IceServers { urls, username, credential_file } = server;
        if urls.is_empty() || urls.len() > MOST {
            mistake(format!("found {} urls, expected 1 to {MOST}", urls.len()));
        }
        let mut turn = false;
        for url in urls {
            match parse(url) {
                Ok(address) => turn |= address.is_turn(),
                Err(message) => mistake(message),
            }
        }
        if turn && (username.as_deref().unwrap_or_default().is_empty() || credential_file.is_none()) {
            mistake("found a TURN server without username and credential_file, expected both".to_owned());
        }
        if let Some(file) = credential_file
            && let Err(message) = usable(file, Secret::read)
        {
            mistake(format!("credential_file: {message}"));
        }
    }
    mistakes
}

/// The servers with their passwords, read now.
pub(crate) fn read(servers: &[IceServers]) -> Result<Vec<Server>, Failure> {
    let read = |server: &IceServers| {
        let credential = match &server.credential_file {
            Some(file) => Secret::read(file).map_err(|message| Failure::new(Reason::Source, message))?,
            None => Secret::new(""),
        };
        Ok(Server { urls: server.urls.clone(), username: server.username.clone().unwrap_or_default(), credential })
    };
    servers.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, expected) in [
            ("stun:a.example", Some((Transport::StunUdp, "a.example", 3478))),
            ("stun:[2001:db8::1]:99", Some((Transport::StunUdp, "2001:db8::1", 99))),
            ("turn:a.example", Some((Transport::TurnUdp, "a.example", 3478))),
            ("turn:a.example:5?transport=udp", Some((Transport::TurnUdp, "a.example", 5))),
            ("turn:a.example?transport=tcp", Some((Transport::TurnTcp, "a.example", 3478))),
            ("turns:a.example", Some((Transport::TurnTls, "a.example", 5349))),
            ("turns:a.example?transport=udp", None),
            ("stuns:a.example", None),
            ("https://a.example", None),
            ("turn:", None),
            ("a.example", None),
            ("", None),
        ] {
            let found = parse(url);
            let shown = found.as_ref().ok().map(|it| (it.transport, it.host.as_str(), it.port));
            assert_eq!(shown, expected, "{url}: {found:?}");
        }
    }

    #[test]
    fn a_list_is_checked_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "s3cret\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let turn = IceServers {
            urls: vec!["turn:a.example".to_owned()],
            username: Some("user".to_owned()),
            credential_file: Some(file.clone()),
        };
        let messages = |servers: &[IceServers]| {
            check(servers).into_iter().map(|mistake| mistake.message).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(messages(std::slice::from_ref(&turn)), "");
        assert_eq!(read(std::slice::from_ref(&turn)).unwrap()[0].credential, Secret::new("s3cret"));
        let without = |username: Option<&str>| IceServers { username: username.map(str::to_owned), ..turn.clone() };
        assert!(messages(&[without(None)]).contains("without username"));
        assert!(messages(&[without(Some(""))]).contains("without username"));
        assert!(messages(&[IceServers { credential_file: None, ..turn.clone() }]).contains("expected both"));
        assert!(messages(&[IceServers::default()]).contains("found 0 urls"));
        assert!(messages(&vec![turn.clone(); 9]).contains("found 9 servers"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(messages(std::slice::from_ref(&turn)).contains("mode 0644"));
        let missing = [IceServers { credential_file: Some("/nowhere".into()), ..turn }];
        assert!(messages(&missing).contains("cannot read"));
        assert_eq!(read(&missing).unwrap_err().reason, Reason::Source);
    }
}
