//! `[probe.NAME]` with `kind = "load"`.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use url::Url;

use super::selector::Selector;
use crate::{
    Metric, Mistake,
    dial::certificates,
    media::on_loopback,
    secret::{Secret, usable},
};

/// Most network cards that can be named.
const MAX_DEVICES: usize = 16;

/// Who is asked, and in which language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An exporter for Prometheus, of the media server or of its box.
    Prometheus,
    /// A JSON document.
    Json,
    /// The Admin API of a Janus server.
    Janus,
}

impl Source {
    const ALL: [Self; 3] = [Self::Prometheus, Self::Json, Self::Janus];

    /// The word in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Json => "json",
            Self::Janus => "janus",
        }
    }

    /// The keys that mean something to it, beside those of all.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Prometheus => &["users", "host", "devices"],
            Self::Json => &["users", "cpu", "memory", "network_receive", "network_transmit"],
            Self::Janus => &["admin_secret_file"],
        }
    }
}

/// Where a value stands, and how many base units one of it is: `"/users"`, or `{ at = "/cpu_percent", times = 0.01 }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// A selector of series (`prometheus`), or a pointer as RFC 6901 writes it (`json`).
    pub at: String,
    /// What the value there is multiplied with; 1 unless given.
    pub times: f64,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            at: String,
            times: f64,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a table such as { at = \"/cpu_percent\", times = 0.01 }")
            }

            fn visit_str<E: de::Error>(self, at: &str) -> Result<Place, E> {
                Ok(Place { at: at.to_owned(), times: 1.0 })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
                let Table { at, times } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Place { at, times })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// `[probe.NAME]` with `kind = "load"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who is asked: `prometheus`, `json` or `janus`.
    pub source: String,
    /// The address: of an exporter, a JSON document, or an Admin API (`https://media.example.edu:7889/admin`).
    pub url: String,
    /// Where the number of users stands; of several series, their sum.
    pub users: Option<Place>,
    /// Whether processor, memory and network are read as `node_exporter` shows them.
    pub host: bool,
    /// Network cards that count; empty: all but loopback and those that seem virtual.
    pub devices: Vec<String>,
    /// Where the busy share of the processors stands, from 0 to 1.
    pub cpu: Option<Place>,
    /// Where the used share of memory stands, from 0 to 1.
    pub memory: Option<Place>,
    /// Where the bytes per second that come in stand.
    pub network_receive: Option<Place>,
    /// Where the bytes per second that go out stand.
    pub network_transmit: Option<Place>,
    /// File with the `admin_secret` of a Janus server; read for each run.
    pub admin_secret_file: Option<PathBuf>,
    /// A PEM file with certificates that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// Who is asked.
    pub fn source(&self) -> Option<Source> {
        Source::ALL.into_iter().find(|source| source.name() == self.source)
    }

    /// The metrics that have a place of their own.
    pub(super) fn places(&self) -> impl Iterator<Item = (Metric, &'static str, &Place)> {
        let places = [
            (Metric::ServiceUsers, "users", &self.users),
            (Metric::ServiceCpuUtilization, "cpu", &self.cpu),
            (Metric::ServiceMemoryUtilization, "memory", &self.memory),
            (Metric::ServiceNetworkReceive, "network_receive", &self.network_receive),
            (Metric::ServiceNetworkTransmit, "network_transmit", &self.network_transmit),
        ];
        places.into_iter().filter_map(|(metric, key, place)| Some((metric, key, place.as_ref()?)))
    }

    /// Whether a run can measure the metric.
    pub fn measures(&self, metric: Metric) -> bool {
        let of_host = self.host && super::METRICS.contains(&metric) && metric != Metric::ServiceUsers;
        let of_janus = self.source() == Some(Source::Janus) && metric == Metric::ServiceUsers;
        of_host || of_janus || self.places().any(|(placed, ..)| placed == metric)
    }

    fn given(&self) -> Vec<&'static str> {
        let mut given: Vec<&str> = self.places().map(|(_, key, _)| key).collect();
        let others = [
            ("host", self.host),
            ("devices", !self.devices.is_empty()),
            ("admin_secret_file", self.admin_secret_file.is_some()),
        ];
        given.extend(others.into_iter().filter(|(_, given)| *given).map(|(key, _)| key));
        given
    }

    /// Mistakes that the shape of the table does not show. Reads the files that it names.
    pub fn check(&self) -> Vec<Mistake> {
        let Some(source) = self.source() else {
            let known = Source::ALL.map(Source::name).join(", ");
            return vec![Mistake::new("source", format!("found {:?}, expected one of {known}", self.source))];
        };
        let mut mistakes = Vec::new();
        let mut mistake = |key: &str, message: String| mistakes.push(Mistake::new(key, message));
        let url = web_address(&self.url);
        match &url {
            Err(message) => mistake("url", message.clone()),
            Ok(url) => {
                if self.admin_secret_file.is_some() && url.scheme() == "http" && !on_loopback(url) {
                    let message = "found http: to another machine beside admin_secret_file: anybody between can read \
                                   the secret; expected https:";
                    mistake("url", message.to_owned());
                }
            }
        }
        for key in self.given().into_iter().filter(|key| !source.keys().contains(key)) {
            mistake(
                key,
                format!("found beside source = {:?}, which has {} only", source.name(), source.keys().join(", ")),
            );
        }
        match source {
            Source::Prometheus if self.users.is_none() && !self.host => {
                mistake("", "found nothing to read, expected users, host = true, or both".to_owned());
            }
            Source::Json if self.places().next().is_none() => {
                mistake("", format!("found nothing to read, expected one of {}", source.keys().join(", ")));
            }
            Source::Janus if self.admin_secret_file.is_none() => {
                mistake("", "found no admin_secret_file, expected one".to_owned());
            }
            _ => {}
        }
        for (_, key, Place { at, times }) in self.places() {
            let example = match source {
                Source::Prometheus => Selector::parse(at).err().map(|what| {
                    format!("found {at:?}: {what}; expected such as 'janus_sessions{{plugin=\"videoroom\"}}'")
                }),
                _ => (!at.is_empty() && !at.starts_with('/'))
                    .then(|| format!("found {at:?}, expected a pointer such as \"/users\"")),
            };
            if let Some(message) = example {
                mistake(key, message);
            }
            if !(times.is_finite() && *times > 0.0) {
                mistake(&format!("{key}.times"), format!("found {times}, expected a number above 0"));
            }
        }
        if self.devices.len() > MAX_DEVICES {
            mistake("devices", format!("found {}, expected at most {MAX_DEVICES}", self.devices.len()));
        }
        if !self.devices.is_empty() && !self.host && source == Source::Prometheus {
            mistake("devices", "found without host = true, which reads them".to_owned());
        }
        if let Some(Err(message)) = self.admin_secret_file.as_deref().map(|file| usable(file, Secret::read)) {
            mistake("admin_secret_file", message);
        }
        if let Some(file) = &self.ca_file {
            if let Err(failure) = certificates(file) {
                mistake("ca_file", failure.detail);
            } else if url.is_ok_and(|url| url.scheme() == "http") {
                mistake("ca_file", "found beside an http address, expected with https only".to_owned());
            }
        }
        mistakes
    }
}

/// An address that can be asked. It is not shown where it may hold a password.
fn web_address(text: &str) -> Result<Url, String> {
    let example = r#"expected such as "https://media.school.example/metrics""#;
    let url = Url::parse(text).map_err(|error| format!("found no address, {example}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("found scheme {:?}, expected http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("found a user name in the address, expected none".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn messages(table: &serde_json::Value) -> Vec<String> {
        let config: Config = serde_json::from_value(table.clone()).expect("a config");
        config.check().into_iter().map(|mistake| format!("{}: {}", mistake.key, mistake.message)).collect()
    }

    #[test]
    fn what_can_be_read_is_no_mistake_and_the_rest_is_named_by_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s3cret\n").expect("is writable");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("is ours");
        let node = "http://a.example:9100/metrics";
        for (table, expected) in [
            (json!({"source": "prometheus", "url": node, "host": true, "devices": ["eth0"]}), &[][..]),
            (json!({"source": "prometheus", "url": node, "users": "a{b=\"c\"}"}), &[]),
            (json!({"source": "json", "url": "https://a.example/", "cpu": {"at": "/c", "times": 0.01}}), &[]),
            (json!({"source": "json", "url": "https://a.example/", "users": ""}), &[]),
            (json!({"source": "janus", "url": "http://127.0.0.1:7088/admin", "admin_secret_file": secret}), &[]),
            (json!({"source": "janus", "url": "https://a.example/admin", "admin_secret_file": secret}), &[]),
            (json!({"url": node}), &["source: found \"\", expected one of prometheus, json, janus"]),
            (json!({"source": "json", "url": "ftp://a.example/", "users": "/u"}), &["url: found scheme \"ftp\""]),
            (json!({"source": "json", "url": "", "users": "/u"}), &["url: found no address"]),
            (json!({"source": "json", "url": "http://u:p@a.example/", "users": "/u"}), &["url: found a user name"]),
            (json!({"source": "prometheus", "url": node}), &[": found nothing to read, expected users, host"]),
            (json!({"source": "json", "url": node}), &[": found nothing to read, expected one of users, cpu"]),
            (json!({"source": "janus", "url": node}), &[": found no admin_secret_file"]),
            (
                json!({"source": "janus", "url": node, "admin_secret_file": secret}),
                &["url: found http: to another machine beside admin_secret_file"],
            ),
            (
                json!({"source": "janus", "url": "https://a.example/", "admin_secret_file": "/nowhere"}),
                &["admin_secret_file: cannot read"],
            ),
            (
                json!({"source": "prometheus", "url": node, "users": "sum(a)", "cpu": "b"}),
                &["cpu: found beside source = \"prometheus\"", "users: found \"sum(a)\": something behind the labels"],
            ),
            (
                json!({"source": "json", "url": node, "host": true, "users": "u"}),
                &["host: found beside source = \"json\"", "users: found \"u\", expected a pointer"],
            ),
            (
                json!({"source": "json", "url": node, "users": {"at": "/u", "times": 0.0}}),
                &["users.times: found 0, expected a number above 0"],
            ),
            (
                json!({"source": "prometheus", "url": node, "users": "a", "devices": ["eth0"]}),
                &["devices: found without host = true"],
            ),
            (
                json!({"source": "json", "url": "https://a.example/", "users": "/u", "ca_file": "/nowhere"}),
                &["ca_file: /nowhere"],
            ),
        ] {
            let found = messages(&table);
            assert_eq!(found.len(), expected.len(), "{table}: {found:?}");
            for (found, start) in found.iter().zip(expected) {
                assert!(found.starts_with(start), "{table}: {found}");
            }
        }
    }

    #[test]
    fn what_is_measured_follows_from_what_is_read() {
        let measured = |table: serde_json::Value| {
            let config: Config = serde_json::from_value(table).expect("a config");
            let names = Metric::ALL.iter().filter(|metric| config.measures(**metric)).map(|metric| metric.name());
            names.map(|name| name.trim_start_matches("service_")).collect::<Vec<_>>()
        };
        let host = ["cpu_utilization", "memory_utilization", "network_receive", "network_transmit"];
        assert_eq!(measured(json!({"source": "prometheus", "host": true})), host);
        assert_eq!(measured(json!({"source": "prometheus", "users": "a"})), ["users"]);
        assert_eq!(measured(json!({"source": "json", "cpu": "/a", "network_transmit": "/b"})), [host[0], host[3]]);
        assert_eq!(measured(json!({"source": "janus"})), ["users"]);
    }
}
