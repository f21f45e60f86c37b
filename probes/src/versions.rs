//! Probe `versions`: what runs here, and which version.
//!
//! The operating system, the kernel and bellwether itself are always reported; classroom
//! components as configured. A source that hangs, floods or lies costs its own deadline and gives
//! one entry under `absent`; the others are still read.

mod child;
mod source;

#[cfg(feature = "fuzz")]
pub use source::fuzz;

use std::{collections::BTreeMap, time::Duration};

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use crate::{ComponentVersion, Failure, Mistake, ProbeRun, Reason, RunContext, Span};

/// The failures a run can end with, or list as absent.
pub const FAILURES: &[Reason] = &[
    Reason::Timeout,
    Reason::Cancelled,
    Reason::Source,
    Reason::Parse,
    Reason::NotPermitted,
    Reason::TooLarge,
    Reason::Connect,
    Reason::Http,
];

/// Names that are reported without config.
const BUILT_IN: [&str; 3] = ["os", "kernel", "bellwether"];

/// Series are bounded: at most so many configured components.
const MAX_COMPONENTS: usize = 32;

/// Deadline of one source unless configured.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest deadline of one source.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// `[probe.NAME]` with `kind = "versions"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Component name → where its version is found, `[probe.NAME.components.COMPONENT]`.
    pub components: BTreeMap<String, ComponentConfig>,
}

/// Where the version of one component is found: exactly one of `deb`, `rpm`, `command`, `file`
/// and `url`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComponentConfig {
    /// Name of a Debian package.
    pub deb: Option<String>,
    /// Name of an RPM package.
    pub rpm: Option<String>,
    /// A program with its arguments, such as `["/usr/bin/janus", "--version"]`. No shell is involved.
    pub command: Option<Vec<String>>,
    /// A text file.
    pub file: Option<String>,
    /// An address that answers with JSON; asked directly, without a proxy. Redirects are followed
    /// on the same host only.
    pub url: Option<String>,
    /// Where in the JSON of `url` the version stands, as RFC 6901 writes it: `/data/version`.
    pub pointer: Option<String>,
    /// What to take from the text of `command` or `file`: the first group of this pattern, or all
    /// that it matches. Without it the first line that is not empty.
    pub pattern: Option<String>,
    /// Deadline of this source; 5 s unless given, at most 60 s.
    pub timeout: Option<Span>,
    /// Whether a change opens a booking of kind `upgrade_check`; yes unless given.
    pub book_on_change: Option<bool>,
}

impl ComponentConfig {
    fn timeout(&self) -> Duration {
        self.timeout.map_or(DEFAULT_TIMEOUT, |span| span.0)
    }

    /// Mistakes of this table, keys relative to it.
    fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut mistake = |key: &str, message: String| mistakes.push(Mistake::new(key, message));
        let sources = [
            ("deb", self.deb.is_some()),
            ("rpm", self.rpm.is_some()),
            ("command", self.command.is_some()),
            ("file", self.file.is_some()),
            ("url", self.url.is_some()),
        ];
        let named: Vec<&str> = sources.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if named.len() != 1 {
            let found = if named.is_empty() { "no source".to_owned() } else { named.join(" and ") };
            mistake("", format!("found {found}, expected exactly one of deb, rpm, command, file and url"));
        }
        for (key, package) in [("deb", &self.deb), ("rpm", &self.rpm)] {
            if let Some(package) = package.as_ref().filter(|package| !is_package(package)) {
                mistake(key, format!("found {package:?}, expected the name of a package"));
            }
        }
        if let Some(command) = &self.command
            && !command.first().is_some_and(|program| program.starts_with('/'))
        {
            mistake("command", format!("found {command:?}, expected an absolute path and arguments"));
        }
        if let Some(file) = self.file.as_ref().filter(|file| !file.starts_with('/')) {
            mistake("file", format!("found {file:?}, expected an absolute path"));
        }
        if let Some(url) = &self.url {
            match url::Url::parse(url) {
                Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                    mistake("url", format!("found scheme {:?}, expected http or https", url.scheme()));
                }
                // Not shown: it may hold a password.
                Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                    mistake("url", "found a user name in the address, expected none".to_owned());
                }
                Ok(_) => {}
                Err(error) => mistake("url", format!("found {url:?}, expected an address: {error}")),
            }
        }
        match (&self.pointer, &self.url) {
            (Some(pointer), Some(_)) if !pointer.starts_with('/') => {
                mistake("pointer", format!("found {pointer:?}, expected a JSON pointer such as \"/data/version\""));
            }
            (None, Some(_)) => {
                mistake(
                    "pointer",
                    "found none beside url, expected a JSON pointer such as \"/data/version\"".to_owned(),
                );
            }
            (Some(_), None) => mistake("pointer", "found without url, expected beside url only".to_owned()),
            _ => {}
        }
        if let Some(pattern) = &self.pattern {
            if self.command.is_none() && self.file.is_none() {
                mistake("pattern", "found without command or file, expected beside these only".to_owned());
            }
            if let Err(error) = Regex::new(pattern) {
                mistake("pattern", format!("found {pattern:?}, expected a regular expression: {error}"));
            }
        }
        if self.timeout().is_zero() || self.timeout() > MAX_TIMEOUT {
            let found = self.timeout().as_secs_f64();
            mistake("timeout", format!("found {found} s, expected more than 0 s and at most 60 s"));
        }
        mistakes
    }
}

/// A name that a package manager cannot take for an option or a pattern.
fn is_package(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._:".contains(c))
}

impl Config {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.components.len() > MAX_COMPONENTS {
            let found = self.components.len();
            mistakes.push(Mistake::new("components", format!("found {found}, expected at most {MAX_COMPONENTS}")));
        }
        for (name, component) in &self.components {
            let key = format!("components.{name}");
            if BUILT_IN.contains(&&**name) {
                mistakes.push(Mistake::new(
                    &key,
                    format!("found {name:?}, expected another name: this one is always read"),
                ));
            }
            if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
                mistakes.push(Mistake::new(&key, format!("found {name:?}, expected a name of 1 to 64 characters")));
            }
            mistakes.extend(component.check().into_iter().map(|mistake| mistake.below(&key)));
        }
        mistakes
    }

    /// Components whose series can exist.
    pub fn components(&self) -> Vec<String> {
        BUILT_IN.into_iter().map(str::to_owned).chain(self.components.keys().cloned()).collect()
    }
}

/// The probe with what it keeps between runs.
#[derive(Debug)]
pub struct Probe {
    name: String,
    config: Config,
    /// Made when the first address is asked.
    client: Option<reqwest::Client>,
}

impl Probe {
    /// A probe that has not run yet.
    pub fn new(name: &str, config: Config) -> Self {
        Self { name: name.to_owned(), config, client: None }
    }

    /// The probe's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads one source after another, each under its own deadline and all under that of the run.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        let mut run = ProbeRun::new(&self.name, context.now);
        tokio::select! {
            () = self.read(&mut run, context.timeout) => run,
            () = context.cancelled() => {
                ProbeRun::failed(&self.name, context.now, Failure::new(Reason::Cancelled, "asked to stop"))
            }
        }
    }

    async fn read(&mut self, run: &mut ProbeRun, whole: Duration) {
        // What is left over pays for ending a child that overran, so that the versions read so far
        // are not lost to the deadline of the run.
        let end = Instant::now() + (whole - (whole / 2).min(Duration::from_secs(1)));
        for name in BUILT_IN {
            let version = match name {
                "os" => source::operating_system().await,
                "kernel" => source::kernel(),
                _ => Ok(env!("CARGO_PKG_VERSION").to_owned()),
            };
            note(run, name, version, false);
        }
        for (name, component) in &self.config.components {
            let left = end.saturating_duration_since(Instant::now());
            let deadline = component.timeout().min(left);
            let version = if left.is_zero() {
                Err(Failure::new(Reason::Timeout, "no time was left for it"))
            } else {
                source::version(component, &mut self.client, deadline).await
            };
            note(run, name, version, component.book_on_change.unwrap_or(true));
        }
    }
}

/// Adds a version, or why there is none, to the run.
fn note(run: &mut ProbeRun, component: &str, version: Result<String, Failure>, book_on_change: bool) {
    let component = component.to_owned();
    match version {
        Ok(version) => run.versions.push(ComponentVersion { component, version, book_on_change }),
        Err(failure) => run.absent.push(Failure::new(failure.reason, format!("{component}: {}", failure.detail))),
    }
}

/// `work` within `deadline`.
async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(deadline, work).await.unwrap_or_else(|_| {
        let detail = format!("no version within {}", crate::Unit::Seconds.show(deadline.as_secs_f64()));
        Err(Failure::new(Reason::Timeout, detail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ComponentConfig {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        ComponentConfig { command: Some(command), ..ComponentConfig::default() }
    }

    fn config<const N: usize>(components: [(&str, ComponentConfig); N]) -> Config {
        Config { components: components.into_iter().map(|(name, config)| (name.to_owned(), config)).collect() }
    }

    #[test]
    fn every_mistake_is_reported_once_with_its_key() {
        let text = |text: &str| Some(text.to_owned());
        let none = ComponentConfig::default();
        let table = [
            (none.clone(), "components.x", "found no source, expected exactly one of deb, rpm, command, file and url"),
            (
                ComponentConfig { deb: text("a"), file: text("/b"), ..none.clone() },
                "components.x",
                "found deb and file, expected exactly one of deb, rpm, command, file and url",
            ),
            (
                ComponentConfig { deb: text("--help"), ..none.clone() },
                "components.x.deb",
                "found \"--help\", expected the name of a package",
            ),
            (
                ComponentConfig { command: Some(vec!["janus".to_owned()]), ..none.clone() },
                "components.x.command",
                "found [\"janus\"], expected an absolute path and arguments",
            ),
            (
                ComponentConfig { file: text("etc/x"), ..none.clone() },
                "components.x.file",
                "found \"etc/x\", expected an absolute path",
            ),
            (
                ComponentConfig { url: text("ftp://x/"), pointer: text("/v"), ..none.clone() },
                "components.x.url",
                "found scheme \"ftp\", expected http or https",
            ),
            (
                ComponentConfig { url: text("https://u:p@x/"), pointer: text("/v"), ..none.clone() },
                "components.x.url",
                "found a user name in the address, expected none",
            ),
            (
                ComponentConfig { url: text("https://x/"), ..none.clone() },
                "components.x.pointer",
                "found none beside url, expected a JSON pointer such as \"/data/version\"",
            ),
            (
                ComponentConfig { deb: text("a"), pattern: text("x"), ..none.clone() },
                "components.x.pattern",
                "found without command or file, expected beside these only",
            ),
            (
                ComponentConfig { deb: text("a"), timeout: Some(Span(Duration::ZERO)), ..none.clone() },
                "components.x.timeout",
                "found 0 s, expected more than 0 s and at most 60 s",
            ),
        ];
        for (component, key, message) in table {
            assert_eq!(config([("x", component)]).check(), [Mistake::new(key, message)]);
        }
        let pattern = ComponentConfig { file: text("/x"), pattern: text("("), ..none };
        assert_eq!(config([("x", pattern)]).check()[0].key, "components.x.pattern");
        assert_eq!(config([("os", shell("echo 1"))]).check()[0].key, "components.os");
        assert_eq!(config([("x", shell("echo 1"))]).check(), []);
    }

    #[tokio::test]
    async fn a_source_that_hangs_floods_or_lies_costs_only_its_own_version() {
        let hangs = ComponentConfig { timeout: Some(Span(Duration::from_millis(200))), ..shell("sleep 1000") };
        let config = config([
            ("a_hangs", hangs),
            ("b_floods", shell("while :; do echo 0123456789; done")),
            ("c_lies", shell("printf '1.0\\033[2J'")),
            ("d_good", ComponentConfig { book_on_change: Some(false), ..shell("echo 2.0") }),
            ("e_good", shell("echo 3.0")),
        ]);
        let names = config.components();
        let (cancel, receiver) = tokio::sync::watch::channel(false);
        let context = RunContext {
            now: chrono::DateTime::UNIX_EPOCH,
            timeout: Duration::from_secs(60),
            worker: "/nonexistent".into(),
            seed: 1,
            cancel: receiver,
            progress: None,
            capture: None,
            longest: None,
            accepted: None,
        };
        let mut probe = Probe::new("what", config);
        let run = probe.run(&context).await;
        assert_eq!(run.failure, None);
        let absent: Vec<_> = run.absent.iter().map(|failure| (failure.reason, &failure.detail[..3])).collect();
        assert_eq!(absent, [(Reason::Timeout, "a_h"), (Reason::TooLarge, "b_f"), (Reason::Parse, "c_l")]);
        let found: Vec<_> = run.versions.iter().map(|found| (&*found.component, found.book_on_change)).collect();
        assert_eq!(
            found,
            [("os", false), ("kernel", false), ("bellwether", false), ("d_good", false), ("e_good", true)]
        );
        assert!(found.iter().all(|(name, _)| names.iter().any(|known| known == name)));
        assert_eq!(run.versions[4].version, "3.0");

        // With next to no time the built-in ones are still read, and the rest is named.
        let run = probe.run(&RunContext { timeout: Duration::ZERO, ..context.clone() }).await;
        assert_eq!((run.versions.len(), run.absent.len()), (3, 5));
        assert!(run.absent.iter().all(|failure| failure.reason == Reason::Timeout));

        // A source that takes all the time there is costs neither the run nor what was read before.
        let hangs = Config { components: BTreeMap::from([("x".to_owned(), shell("trap '' TERM; sleep 1000"))]) };
        let mut whole = crate::Probe::new("what", crate::ProbeConfig::Versions(hangs));
        let run = whole.run(&RunContext { timeout: Duration::from_secs(2), ..context.clone() }).await;
        assert_eq!((run.failure, run.versions.len(), run.absent.len()), (None, 3, 1));

        cancel.send(true).expect("the context listens");
        let failure = probe.run(&context).await.failure.expect("asked to stop");
        assert_eq!(failure.reason, Reason::Cancelled);
    }
}
