//! Keeps Alertmanager silent about the room while somebody works on it. Beside the loop, which waits for nothing.

use std::collections::BTreeMap;

use bellwether_agent::channel::silence::{self, Config};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinHandle;

use super::{Daemon, vendor::Found};
use crate::Clock;

/// How long nothing is tried after it failed: less than from one beat to the next, so that each tries.
const REST: TimeDelta = TimeDelta::seconds(30);

/// The silences that should be there, by booking, and where.
pub(super) type Kept = (Config, BTreeMap<String, DateTime<Utc>>);

/// What is known of the silences.
#[derive(Debug, Default)]
pub(super) struct Silences {
    /// Those that were made sure of. Unknown after a start: there may be some of before it.
    kept: Option<Kept>,
    running: Option<JoinHandle<()>>,
    failed_at: Option<DateTime<Utc>>,
    /// What went wrong the last time, so that it is said once.
    failing: Option<String>,
}

impl<C: Clock> Daemon<C> {
    /// Starts to make the silences those that should be there, if they may be others.
    pub(super) fn keep_silences(&mut self, now: DateTime<Utc>) {
        let site = &self.known.config.site;
        let Some(config) = site.policy.silence.clone() else { return };
        let kept: Kept = (config, silence::wanted(self.known.memory.bookings.values()));
        let silences = &mut self.reader.silences;
        let is_running = silences.running.as_ref().is_some_and(|running| !running.is_finished());
        let rests = silences.failed_at.is_some_and(|at| at <= now && now - at < REST);
        if is_running || rests || silences.kept.as_ref() == Some(&kept) {
            return;
        }
        let (results, room) = (self.reader.results.clone(), site.room.id.clone());
        silences.running = Some(tokio::spawn(async move {
            let done = silence::keep(&kept.0, &room, &kept.1, now).await.map(|()| kept);
            // The loop may have ended meanwhile.
            let _gone = results.send(Found::Silenced(done)).await;
        }));
    }

    /// Takes in what came of it. What changed meanwhile is made so next.
    pub(super) fn silenced(&mut self, done: Result<Kept, String>) {
        let now = (self.clock)();
        let silences = &mut self.reader.silences;
        silences.running = None;
        match done {
            Ok(kept) => {
                if silences.failing.take().is_some() {
                    tracing::info!("silences can be set again");
                }
                (silences.kept, silences.failed_at) = (Some(kept), None);
                self.keep_silences(now);
            }
            Err(detail) => {
                silences.failed_at = Some(now);
                if silences.failing.replace(detail.clone()).as_ref() != Some(&detail) {
                    tracing::warn!(detail, "silences for maintenance cannot be set; it is tried again every minute");
                }
            }
        }
    }
}
