//! Whether the room is in use beside its timetable: a program that runs, a unit that is active, somebody
//! who plays or records sound. Looked at just before a heavy probe would start and, each minute, while
//! one runs; at no other time.
//!
//! What may not be seen is said so and holds nothing back: a box that sees nothing must not be silent for
//! ever. Of a stream only the program is read, never what it plays or what its window is called.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bellwether_agent::export::RoomUse;
use bellwether_probes::Mistake;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tokio::time::timeout;

mod child;
mod processes;
mod sound;
mod units;

/// Longest lists of programs and of units.
const MOST_NAMES: usize = 32;
/// How long one look may take; its parts look side by side.
const LONGEST_LOOK: Duration = Duration::from_secs(6);

/// `[occupied]`: what shows that the room is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Names of executables, such as `zoom`.
    pub processes: Vec<String>,
    /// systemd units, such as `lesson-recorder.service`.
    pub units: Vec<String>,
    /// Whether somebody who plays or records sound shows it.
    pub sound: bool,
}

impl Config {
    /// Whether there is anything to look at.
    pub fn looks(&self) -> bool {
        self.sound || !self.processes.is_empty() || !self.units.is_empty()
    }

    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for name in self.processes.iter().filter(|name| !is_program(name)) {
            let message =
                format!("found {name:?}, expected the name of an executable, such as \"zoom\", without a folder");
            mistakes.push(Mistake::new("processes", message));
        }
        for name in self.units.iter().filter(|name| !is_unit(name)) {
            let message = format!("found {name:?}, expected a systemd unit, such as \"lesson-recorder.service\"");
            mistakes.push(Mistake::new("units", message));
        }
        for (key, count) in [("processes", self.processes.len()), ("units", self.units.len())] {
            if count > MOST_NAMES {
                mistakes.push(Mistake::new(key, format!("found {count} names, expected at most {MOST_NAMES}")));
            }
        }
        mistakes
    }
}

fn is_program(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 255 && !name.contains(['/', '\0', '\n'])
}

/// systemd.unit(5): what a unit may be called.
fn is_unit(name: &str) -> bool {
    const KINDS: [&str; 7] = ["service", "socket", "target", "timer", "scope", "slice", "path"];
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    let (stem, kind) = name.rsplit_once('.').unwrap_or_default();
    !stem.is_empty() && !stem.starts_with('-') && name.len() <= 255 && KINDS.contains(&kind) && stem.chars().all(usable)
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Programs that run.
    Process,
    /// Units that are active.
    Unit,
    /// Streams of a sound server.
    Sound,
}

impl Component {
    /// The word in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Unit => "unit",
            Self::Sound => "sound",
        }
    }
}

/// What a look at one of them has found. Its texts are for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing shows that the room is in use.
    Free,
    /// It is in use, by this.
    Occupied(String),
    /// The system does not let us see this.
    NotPermitted(String),
    /// There is nothing to look at, or it does not answer.
    Unavailable(String),
}

impl Answer {
    fn exported(&self) -> Result<bool, &'static str> {
        match self {
            Self::Free => Ok(false),
            Self::Occupied(_) => Ok(true),
            Self::NotPermitted(_) => Err("not_permitted"),
            Self::Unavailable(_) => Err("unavailable"),
        }
    }
}

/// What one look has found, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it looked.
    pub at: DateTime<Utc>,
    /// What it found; without what was not to be looked at.
    pub answers: BTreeMap<Component, Answer>,
}

impl Seen {
    /// By what the room is in use, if it is.
    pub fn occupied(&self) -> Option<(Component, &str)> {
        self.answers.iter().find_map(|(component, answer)| match answer {
            Answer::Occupied(by) => Some((*component, &**by)),
            _ => None,
        })
    }

    /// As the exporter takes it.
    pub(crate) fn exported(&self) -> RoomUse {
        let components = self.answers.iter().map(|(component, answer)| (component.name(), answer.exported()));
        RoomUse { at: self.at, components: components.collect() }
    }

    /// Says what is not as in the look before.
    pub(crate) fn report(&self, before: Option<&Self>) {
        for (component, answer) in &self.answers {
            if before.and_then(|before| before.answers.get(component)) == Some(answer) {
                continue;
            }
            let component = component.name();
            match answer {
                Answer::Free => tracing::debug!(component, "the room is not in use"),
                Answer::Occupied(by) => tracing::info!(component, by, "the room is in use: heavy probes wait"),
                Answer::NotPermitted(detail) => {
                    tracing::warn!(component, detail, "the system does not let us see whether the room is in use");
                }
                Answer::Unavailable(detail) => {
                    tracing::warn!(component, detail, "it cannot be seen whether the room is in use");
                }
            }
        }
    }
}

/// Where the system shows what it does; tests have their own.
#[derive(Clone, Debug)]
struct Roots {
    proc: PathBuf,
    run: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), run: "/run".into() }
    }
}

/// Looks once; `at` is now. Never longer than some seconds, and never on the thread of the caller for long.
pub async fn look(config: &Config, at: DateTime<Utc>) -> Seen {
    look_at(&Roots::default(), config, at).await
}

async fn look_at(roots: &Roots, config: &Config, at: DateTime<Utc>) -> Seen {
    let process = within(!config.processes.is_empty(), processes::look(&roots.proc, &config.processes));
    let unit = within(!config.units.is_empty(), units::look(&config.units));
    let sound = within(config.sound, sound::look(roots));
    let (process, unit, sound) = tokio::join!(process, unit, sound);
    let all = [(Component::Process, process), (Component::Unit, unit), (Component::Sound, sound)];
    let answers = all.into_iter().filter_map(|(component, answer)| Some((component, answer?))).collect();
    Seen { at, answers }
}

async fn within(wanted: bool, look: impl Future<Output = Answer>) -> Option<Answer> {
    if !wanted {
        return None;
    }
    let late = |_| Answer::Unavailable(format!("found no answer within {} s", LONGEST_LOOK.as_secs()));
    Some(timeout(LONGEST_LOOK, look).await.unwrap_or_else(late))
}

/// An error of a file or a program that stands between us and an answer.
fn refused(what: &Path, error: &std::io::Error) -> Answer {
    let detail = format!("{}: {error}", what.display());
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Answer::NotPermitted(detail),
        _ => Answer::Unavailable(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(processes: &[&str], units: &[&str], sound: bool) -> Config {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Config { processes: owned(processes), units: owned(units), sound }
    }

    #[test]
    fn names_that_cannot_be_are_found_before_they_are_looked_for() {
        let good = config(&["zoom", "腾讯会议", "obs studio"], &["a.service", "b@1.scope", "dev-\\x2d.target"], true);
        assert_eq!(good.check(), []);
        let bad =
            config(&["", "/usr/bin/zoom"], &["recorder", "--help.service", "a b.service", ".service", "a.mp3"], false);
        let keys: Vec<String> = bad.check().into_iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["processes", "processes", "units", "units", "units", "units", "units"]);
        let many = Config { processes: vec!["a".to_owned(); 33], ..Config::default() };
        assert_eq!(many.check()[0].message, "found 33 names, expected at most 32");
    }

    #[test]
    fn only_what_is_seen_to_be_in_use_holds_back() {
        let at = DateTime::UNIX_EPOCH;
        let denied = || Answer::NotPermitted("x".to_owned());
        let seen = |answers: Vec<(Component, Answer)>| Seen { at, answers: answers.into_iter().collect() };
        assert_eq!(seen(vec![]).occupied(), None);
        assert_eq!(seen(vec![(Component::Process, Answer::Free), (Component::Sound, denied())]).occupied(), None);
        let used = seen(vec![
            (Component::Process, denied()),
            (Component::Unit, Answer::Unavailable("y".to_owned())),
            (Component::Sound, Answer::Occupied("zoom".to_owned())),
        ]);
        assert_eq!(used.occupied(), Some((Component::Sound, "zoom")));
        let expected = [("process", Err("not_permitted")), ("sound", Ok(true)), ("unit", Err("unavailable"))];
        assert_eq!(used.exported(), RoomUse { at, components: expected.into() });
    }

    #[tokio::test]
    async fn only_what_was_asked_for_is_looked_at() {
        assert!(!Config::default().looks());
        let at = DateTime::UNIX_EPOCH;
        assert_eq!(look(&Config::default(), at).await, Seen { at, answers: BTreeMap::new() });
        let tree = tempfile::tempdir().expect("a folder");
        let roots = Roots { proc: tree.path().join("proc"), run: tree.path().join("run") };
        let seen = look_at(&roots, &config(&["zoom"], &[], true), at).await;
        assert_eq!(seen.answers.keys().copied().collect::<Vec<_>>(), [Component::Process, Component::Sound]);
        assert_eq!(seen.occupied(), None);
    }
}
