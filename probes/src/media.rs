//! Probe `media`.

pub mod analysis;
pub mod capture;
pub mod delay;
#[cfg(test)]
mod fixture;
mod host;
mod identity;
pub mod jitter;
pub mod loss;
pub mod picture;
pub mod signal;
mod stats;
pub mod sync;

use serde::{Deserialize, Serialize};

use crate::{Mistake, ProbeRun, Reason, RunContext};

/// The failures a run can end with.
pub const FAILURES: &[Reason] = &[Reason::Timeout];

/// `[probe.NAME]` with `kind = "media"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}

impl Config {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        Vec::new()
    }
}

/// The probe with what it keeps between runs.
#[derive(Debug)]
pub struct Probe {
    name: String,
}

impl Probe {
    /// A probe that has not run yet.
    pub fn new(name: &str, _config: Config) -> Self {
        Self { name: name.to_owned() }
    }

    /// The probe's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs once.
    pub async fn run(&mut self, context: &RunContext) -> ProbeRun {
        ProbeRun::new(&self.name, context.now)
    }
}
