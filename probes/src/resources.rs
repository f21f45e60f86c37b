//! Probe `resources`: the box itself. Processor, memory, disks, network cards, pressure, heat and
//! named processes.
//!
//! One look ([`observe`]) reads counters and levels into a plain [`snapshot::Snapshot`]; the pure
//! [`analyse`] turns two of them into readings. A source that is missing (a kernel without PSI, a
//! container without sensors) gives no reading and one entry under `absent`, never a zero.

mod analyse;
mod observe;
mod snapshot;

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use self::{
    observe::{Handles, Roots},
    snapshot::Snapshot,
};
use crate::{Failure, Mistake, ProbeRun, Reason, RunContext};

/// The failures a run can end with, or list as absent.
pub const FAILURES: &[Reason] = &[Reason::Timeout, Reason::Source, Reason::Parse, Reason::NotPermitted];

/// Series are bounded: at most so many mounts, disks, network cards and sensors each.
const MAX_DEVICES: usize = 8;

/// At most so many named processes.
const MAX_PROCESSES: usize = 16;

/// Distance of the two looks of the first run, so that rates exist from the start.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// `[probe.NAME]` with `kind = "resources"`.
///
/// In the lists of excluded names a `*` at the end stands for any ending: `"veth*"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Mount points to measure; empty: every local disk file system. File systems of the network
    /// are measured only when named here, for a dead server holds up the whole look.
    pub mounts: Vec<String>,
    /// Mount points to leave out.
    pub exclude_mounts: Vec<String>,
    /// Disks and network cards to measure (`"sda"`, `"eth0"`); empty: all, physical ones first.
    pub devices: Vec<String>,
    /// Disks and network cards to leave out.
    pub exclude_devices: Vec<String>,
    /// Processes to watch, `[[probe.NAME.process]]`.
    pub process: Vec<ProcessConfig>,
}

/// One watched process; all processes that match it count together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Name of the executable, without its folder: `"janus"`.
    pub name: String,
    /// Text that some argument of the command line must contain, for programs that share an
    /// executable: `"jitsi-videobridge"` of several `java`.
    #[serde(default)]
    pub argument: Option<String>,
    /// Value of the label `component`; the name unless given.
    #[serde(default)]
    pub component: Option<String>,
}

impl ProcessConfig {
    /// Value of the label `component`.
    pub fn component(&self) -> &str {
        self.component.as_deref().unwrap_or(&self.name)
    }
}

impl Config {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for (key, mounts) in [("mounts", &self.mounts), ("exclude_mounts", &self.exclude_mounts)] {
            for mount in mounts.iter().filter(|mount| !mount.starts_with('/')) {
                mistakes.push(Mistake::new(key, format!("found {mount:?}, expected a mount point such as \"/var\"")));
            }
        }
        for (key, devices) in [("devices", &self.devices), ("exclude_devices", &self.exclude_devices)] {
            for device in devices.iter().filter(|device| device.is_empty() || device.contains('/')) {
                mistakes.push(Mistake::new(
                    key,
                    format!("found {device:?}, expected a name such as \"sda\" or \"eth0\", without a folder"),
                ));
            }
        }
        for (key, count, most) in [
            ("mounts", self.mounts.len(), MAX_DEVICES),
            ("devices", self.devices.len(), 2 * MAX_DEVICES),
            ("process", self.process.len(), MAX_PROCESSES),
        ] {
            if count > most {
                mistakes.push(Mistake::new(key, format!("found {count} entries, expected at most {most}")));
            }
        }
        let mut seen = HashSet::new();
        for (index, process) in self.process.iter().enumerate() {
            let key = format!("process.{index}");
            if process.name.is_empty() || process.name.contains('/') {
                mistakes.push(Mistake::new(
                    format!("{key}.name"),
                    format!("found {:?}, expected the name of an executable without its folder", process.name),
                ));
            }
            if process.argument.as_deref() == Some("") {
                mistakes.push(Mistake::new(
                    format!("{key}.argument"),
                    "found \"\", expected part of an argument, or no such key",
                ));
            }
            if process.component.as_deref() == Some("") {
                mistakes.push(Mistake::new(format!("{key}.component"), "found \"\", expected a label, or no such key"));
            }
            if !seen.insert(process.component()) {
                mistakes.push(Mistake::new(
                    format!("{key}.component"),
                    format!("found {:?} a second time, expected a component of its own", process.component()),
                ));
            }
        }
        mistakes
    }

    /// Components whose series can exist.
    pub fn components(&self) -> Vec<String> {
        self.process.iter().map(|process| process.component().to_owned()).collect()
    }
}

/// The probe with what it keeps between runs.
#[derive(Debug)]
pub struct Probe {
    name: String,
    config: Config,
    handles: Box<Handles>,
    previous: Option<Box<Snapshot>>,
    /// A look that did not come back within an earlier run's deadline.
    pending: Option<oneshot::Receiver<(Box<Handles>, Box<Snapshot>)>>,
}

impl Probe {
    /// A probe that has not run yet.
    pub fn new(name: &str, config: Config) -> Self {
        Self { name: name.to_owned(), config, handles: Box::default(), previous: None, pending: None }
    }

    /// The probe's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs once: two looks 1 s apart the first time, later one look, compared with the last.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        if self.previous.is_none() {
            match self.look().await {
                Ok(snapshot) => self.previous = Some(snapshot),
                Err(failure) => return ProbeRun::failed(&self.name, context.now, failure),
            }
            tokio::time::sleep(FIRST_INTERVAL).await;
        }
        let snapshot = match self.look().await {
            Ok(snapshot) => snapshot,
            Err(failure) => return ProbeRun::failed(&self.name, context.now, failure),
        };
        let mut run = ProbeRun::new(&self.name, context.now);
        (run.readings, run.absent) = analyse::analyse(&self.config, self.previous.as_deref(), &snapshot, context.now);
        self.previous = Some(snapshot);
        run
    }

    /// Takes one look on a thread of its own: a file system that does not answer must not hold up
    /// the daemon. While such a look hangs no second one is started.
    async fn look(&mut self) -> Result<Box<Snapshot>, Failure> {
        let pending = match &mut self.pending {
            Some(pending) => pending,
            none => {
                let mut handles = std::mem::take(&mut self.handles);
                let config = self.config.clone();
                let (send, receive) = oneshot::channel();
                std::thread::Builder::new()
                    .name("resources".to_owned())
                    .spawn(move || {
                        let snapshot = Box::new(observe::observe(&Roots::default(), &config, &mut handles));
                        // The probe may be gone; then nobody needs the look.
                        let _ = send.send((handles, snapshot));
                    })
                    .map_err(|error| Failure::new(Reason::Source, format!("start a thread: {error}")))?;
                none.insert(receive)
            }
        };
        let look = pending.await;
        self.pending = None;
        let (handles, snapshot) = look.map_err(|_| Failure::new(Reason::Source, "the look ended without a result"))?;
        self.handles = handles;
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    fn context() -> RunContext {
        RunContext {
            now: chrono::DateTime::UNIX_EPOCH,
            timeout: Duration::from_secs(20),
            worker: "/nonexistent".into(),
            seed: 1,
            cancel: tokio::sync::watch::channel(false).1,
            progress: None,
            capture: None,
            longest: None,
            accepted: None,
        }
    }

    fn process(name: &str) -> ProcessConfig {
        ProcessConfig { name: name.to_owned(), argument: None, component: None }
    }

    #[test]
    fn every_mistake_is_reported_once_with_its_key() {
        let config = Config {
            mounts: vec!["var".to_owned()],
            exclude_devices: vec!["/dev/sda".to_owned()],
            process: vec![
                process("java"),
                ProcessConfig { argument: Some(String::new()), ..process("java") },
                process("/usr/bin/janus"),
            ],
            ..Config::default()
        };
        let keys: Vec<String> = config.check().into_iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["mounts", "exclude_devices", "process.1.argument", "process.1.component", "process.2.name"]);
        assert_eq!(Config::default().check(), []);
        let many = Config { mounts: vec!["/a".to_owned(); 9], ..Config::default() };
        assert_eq!(many.check()[0].message, "found 9 entries, expected at most 8");
    }

    #[tokio::test]
    async fn the_first_run_on_this_host_already_has_rates() {
        let own = std::env::current_exe().expect("the test has a name");
        let own = own.file_name().expect("it is a file").to_string_lossy().into_owned();
        let config = Config { process: vec![process(&own), process("no-such-program")], ..Config::default() };
        let run = Probe::new("box", config).run(&context()).await;
        assert_eq!(run.failure, None);
        let values = |metric| {
            run.readings.iter().filter(|reading| reading.metric == metric).map(|r| r.value).collect::<Vec<_>>()
        };
        for metric in [Metric::CpuUtilization, Metric::MemoryUtilization, Metric::CpuSteal] {
            assert!(matches!(values(metric)[..], [share] if (0.0..=1.0).contains(&share)), "{metric}");
        }
        assert_eq!(values(Metric::ProcessPresent), [1.0, 0.0]);
        assert!(values(Metric::ProcessMemory)[0] > 0.0);
        assert!(values(Metric::Uptime)[0] > 0.0);
    }
}
