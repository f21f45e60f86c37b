//! Where a call goes, as it is configured.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor, value::MapAccessDeserializer},
};
use url::Url;

use super::{
    ice::{self, IceServers},
    rendezvous::on_loopback,
};
use crate::{
    Mistake,
    dial::certificates,
    secret::{Secret, usable},
};

/// What is at the other end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FarEnd {
    /// The embedded reflector: a self-test of this box, without any network.
    #[default]
    Reflector,
    /// Something elsewhere.
    Remote(Box<Remote>),
}

/// The kinds of far end that are elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemoteKind {
    /// Another box that runs `bellwether reflect`.
    Reflect,
    /// A media server: publish by WHIP, subscribe by WHEP.
    WhipWhep,
    /// The echo test of a Janus server.
    Janus,
}

impl RemoteKind {
    const ALL: [Self; 3] = [Self::Reflect, Self::WhipWhep, Self::Janus];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reflect => "reflect",
            Self::WhipWhep => "whip_whep",
            Self::Janus => "janus",
        }
    }
}

/// `[probe.NAME.far_end]`: a far end elsewhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remote {
    /// `reflect`, `whip_whep` or `janus`.
    pub kind: String,
    /// Address of a reflecting box, or of a Janus server's HTTP API.
    pub url: Option<String>,
    /// Address to publish to by WHIP.
    pub publish: Option<String>,
    /// Address to subscribe from by WHEP.
    pub subscribe: Option<String>,
    /// File with a bearer token; of Janus, its `token`. Read for each call.
    pub token_file: Option<PathBuf>,
    /// A PEM file with certificates that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether only TURN relays are used.
    pub relay_only: bool,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServers>,
}

/// Path and query of an address may hold a key: they are not shown.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.addresses().map(|(_, url)| place(url)).collect();
        f.debug_struct("Remote").field("kind", &self.kind).field("at", &places).finish_non_exhaustive()
    }
}

fn place(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "an invalid address".to_owned(), |url| url.origin().ascii_serialization())
}

impl Serialize for FarEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reflector => serializer.serialize_str(self.name()),
            Self::Remote(remote) => remote.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FarEnd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FarEnd;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#""reflector", or a table with a kind"#)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<FarEnd, E> {
                match word {
                    "reflector" => Ok(FarEnd::Reflector),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<FarEnd, A::Error> {
                Remote::deserialize(MapAccessDeserializer::new(map)).map(|remote| FarEnd::Remote(Box::new(remote)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl FarEnd {
    /// The word in config and captures.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Remote(remote) => remote.kind().map_or("unknown", RemoteKind::name),
        }
    }

    /// Whether a TURN server is to be spoken to over a stream.
    pub(super) fn has_turn_by_stream(&self) -> bool {
        match self {
            Self::Reflector => false,
            Self::Remote(remote) => remote.ice_urls().any(|address| address.transport.is_stream()),
        }
    }

    /// Mistakes that the shape of the table does not show. Reads the files that it names.
    pub(crate) fn check(&self) -> Vec<Mistake> {
        match self {
            Self::Reflector => Vec::new(),
            Self::Remote(remote) => remote.check(),
        }
    }
}

impl Remote {
    pub(crate) fn kind(&self) -> Option<RemoteKind> {
        RemoteKind::ALL.into_iter().find(|kind| kind.name() == self.kind)
    }

    /// The addresses that are given, with their keys.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("url", &self.url), ("publish", &self.publish), ("subscribe", &self.subscribe)];
        all.into_iter().filter_map(|(key, url)| Some((key, url.as_deref()?)))
    }

    fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut mistake = |key: &str, message: String| mistakes.push(Mistake::new(key, message));
        let Some(kind) = self.kind() else {
            let known = RemoteKind::ALL.map(RemoteKind::name).join(", ");
            return vec![Mistake::new("kind", format!("found {:?}, expected one of {known}", self.kind))];
        };
        let needed: &[&str] = if kind == RemoteKind::WhipWhep { &["publish", "subscribe"] } else { &["url"] };
        let given: Vec<&str> = self.addresses().map(|(key, _)| key).collect();
        for key in needed.iter().filter(|key| !given.contains(key)) {
            mistake(
                "",
                format!(
                    "found no {key}, expected one: a far end of kind {} needs {}",
                    kind.name(),
                    needed.join(" and ")
                ),
            );
        }
        for key in given.iter().filter(|key| !needed.contains(key)) {
            mistake(key, format!("found beside kind = {:?}, which has {} only", kind.name(), needed.join(" and ")));
        }
        let mut encrypted = false;
        for (key, url) in self.addresses() {
            match web_address(url) {
                Ok(url) => {
                    encrypted |= url.scheme() == "https";
                    if self.token_file.is_some() && url.scheme() == "http" && !on_loopback(&url) {
                        let message = "found http: to another machine beside token_file: anybody between can read \
                                       the token; expected https:";
                        mistake(key, message.to_owned());
                    }
                }
                Err(message) => mistake(key, message),
            }
        }
        if let Some(Err(message)) = self.token_file.as_deref().map(|file| usable(file, Secret::read)) {
            mistake("token_file", message);
        }
        let turns = self.ice_urls().any(|address| address.transport == ice::Transport::TurnTls);
        if let Some(file) = &self.ca_file {
            if let Err(failure) = certificates(file) {
                mistake("ca_file", failure.detail);
            } else if !encrypted && !turns {
                mistake("ca_file", "found beside http: addresses alone, expected with https: or turns:".to_owned());
            }
        }
        // A Janus server names no servers of its own; the others may.
        if self.relay_only && kind == RemoteKind::Janus && !self.ice_urls().any(|address| address.is_turn()) {
            mistake("relay_only", "found true without a TURN server, expected one in ice_servers".to_owned());
        }
        mistakes.extend(ice::check(&self.ice_servers));
        mistakes
    }

    /// The usable addresses of servers.
    fn ice_urls(&self) -> impl Iterator<Item = ice::Address> {
        self.ice_servers.iter().flat_map(|server| &server.urls).filter_map(|url| ice::parse(url).ok())
    }
}

/// An address that can be spoken to. It is not shown where it may hold a password.
fn web_address(text: &str) -> Result<Url, String> {
    let example = r#"expected such as "https://media.school.example/whip""#;
    let url = Url::parse(text).map_err(|error| format!("found no address, {example}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("found scheme {:?}, expected http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("found a user name in the address, expected none: a token stands in token_file".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, os::unix::fs::PermissionsExt};

    use serde_json::json;

    use super::*;

    fn messages(value: &serde_json::Value) -> Vec<String> {
        let far_end: FarEnd = serde_json::from_value(value.clone()).unwrap();
        far_end.check().into_iter().map(|mistake| format!("{}: {}", mistake.key, mistake.message)).collect()
    }

    #[test]
    fn a_far_end_is_a_word_or_a_table_and_is_written_as_it_was_read() {
        for (value, name) in [
            (json!("reflector"), "reflector"),
            (json!({"kind": "reflect", "url": "https://a.example/reflect"}), "reflect"),
            (json!({"kind": "janus", "url": "http://a.example:8088/janus", "relay_only": true}), "janus"),
            (
                json!({"kind": "whip_whep", "publish": "https://a.example/", "subscribe": "https://a.example/"}),
                "whip_whep",
            ),
        ] {
            let far_end: FarEnd = serde_json::from_value(value).unwrap();
            assert_eq!(far_end.name(), name);
            let again: FarEnd = serde_json::from_str(&serde_json::to_string(&far_end).unwrap()).unwrap();
            assert_eq!(again, far_end);
        }
        for wrong in [json!("nowhere"), json!(1), json!({"kind": "reflect", "uri": ""}), json!({"kind": 1})] {
            assert!(serde_json::from_value::<FarEnd>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_mistake_says_what_was_found_and_what_would_be_right() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "s3cret").unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem()).unwrap();
        for (value, expected) in [
            (json!("reflector"), &[][..]),
            (json!({"kind": "reflect", "url": "https://a.example/", "token_file": token, "ca_file": ca}), &[]),
            (json!({"kind": "reflect", "url": "http://127.0.0.1/", "token_file": token}), &[]),
            (json!({"kind": "janus", "url": "http://[::1]:8088/janus", "token_file": token}), &[]),
            (json!({"kind": "whip_whep", "publish": "http://a.example/", "subscribe": "https://b.example/"}), &[]),
            (json!({}), &["kind: found \"\", expected one of reflect, whip_whep, janus"]),
            (json!({"kind": "jitsi", "url": "ftp:"}), &["kind: found \"jitsi\", expected one of"]),
            (json!({"kind": "whip_whep", "publish": "http://a.example/"}), &[": found no subscribe, expected one"]),
            (json!({"kind": "reflect"}), &[": found no url"]),
            (
                json!({"kind": "janus", "url": "http://a.example/", "publish": "http://a.example/"}),
                &["publish: found beside kind = \"janus\", which has url only"],
            ),
            (json!({"kind": "reflect", "url": "a.example"}), &["url: found no address, expected such as"]),
            (json!({"kind": "reflect", "url": "ftp://a.example"}), &["url: found scheme \"ftp\""]),
            (json!({"kind": "reflect", "url": "https://user:s3cret@a.example"}), &["url: found a user name"]),
            (
                json!({"kind": "reflect", "url": "http://a.example/", "token_file": token}),
                &["url: found http: to another machine beside token_file"],
            ),
            (
                json!({"kind": "reflect", "url": "https://a.example/", "token_file": "/nowhere"}),
                &["token_file: cannot read"],
            ),
            (json!({"kind": "reflect", "url": "https://a.example/", "ca_file": "/nowhere"}), &["ca_file: /nowhere: "]),
            (json!({"kind": "reflect", "url": "https://a.example/", "ca_file": token}), &["ca_file: "]),
            (json!({"kind": "reflect", "url": "http://a.example/", "ca_file": ca}), &["ca_file: found beside http:"]),
            (
                json!({"kind": "janus", "url": "http://a.example/", "relay_only": true}),
                &["relay_only: found true without"],
            ),
            (json!({"kind": "reflect", "url": "https://a.example/", "relay_only": true}), &[]),
            (
                json!({"kind": "janus", "url": "http://a.example/", "ice_servers": [{"urls": ["turn:a"]}]}),
                &["ice_servers: found a TURN server without"],
            ),
        ] {
            let found = messages(&value);
            assert_eq!(found.len(), expected.len(), "{value}: {found:?}");
            assert!(found.iter().zip(expected).all(|(found, start)| found.starts_with(start)), "{value}: {found:?}");
            assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
        }
        fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
        let found = messages(&json!({"kind": "reflect", "url": "https://a.example/", "token_file": token}));
        assert!(found[0].contains("mode 0640"), "{found:?}");
    }

    #[test]
    fn keys_in_addresses_are_not_shown() {
        let value = json!({"kind": "reflect", "url": "https://a.example/s3cret?key=s3cret"});
        let shown = format!("{:?}", serde_json::from_value::<FarEnd>(value).unwrap());
        assert!(shown.contains("https://a.example") && !shown.contains("s3cret"), "{shown}");
    }
}
