//! What is started, and when: by the schedule, before a lesson, after a change; never in a lesson.

use std::time::Duration;

use bellwether_agent::schedule::Skip;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    Daemon,
    hours::{Manner, Read, span},
    pool::{self, Job, Pool},
};
use crate::{Clock, config::ProbeEntry, memory};

/// How long the call of the first inspection measures media.
const FIRST_CALL: Duration = Duration::from_secs(8);

impl<C: Clock> Daemon<C> {
    /// Starts what is due. A probe that still waits or runs is not started again: it is counted.
    pub(super) fn beat(&mut self) {
        let now = (self.clock)();
        if std::mem::take(&mut self.settling) {
            memory::hand_back();
        }
        if self.known.quiet.lapse(now) {
            tracing::info!("quiet has ended");
            self.hours.quiet(None);
        }
        self.hours.refresh(&self.known.config, &self.state, now);
        self.hours.beat(now);
        let mut counted = false;
        for name in self.known.plan.due(now) {
            if let Err(skip) = self.try_run(&name, None, now) {
                self.known.plan.skip(&name, skip);
                counted = true;
            }
        }
        if let Some(lesson) = self.look_ahead(now) {
            tracing::info!(%lesson, "everything is looked at before the lesson");
            self.run_all_soon(Some(lesson));
        }
        if self.known.plan.starve(now) || counted {
            self.publish();
        }
        self.start_pools();
    }

    /// The start of a lesson before which everything must be looked at now.
    fn look_ahead(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let longest = self.known.plan.longest_pass();
        self.hours.look_ahead(&self.known.config, span(longest), now)
    }

    /// Takes what was read of lessons and days off. Probes that run ask again whether they may.
    pub(super) fn take_hours(&mut self, read: Read) {
        let now = (self.clock)();
        self.hours.take(read, &self.known.config, now);
        // It may be time again: reading took long, or the clock leapt meanwhile.
        self.hours.refresh(&self.known.config, &self.state, now);
        self.publish();
    }

    /// Puts a probe into its pool, if it may run now and is not there already.
    fn try_run(&mut self, name: &str, longest: Option<Duration>, now: DateTime<Utc>) -> Result<(), Skip> {
        let Some(slot) = self.known.plan.slots.get(name) else { return Ok(()) };
        self.may_run(&slot.entry, now)?;
        if self.enqueue(name, longest) { Ok(()) } else { Err(Skip::Busy) }
    }

    /// Whether a probe may run now, after all that waits in its pool.
    fn may_run(&self, entry: &ProbeEntry, now: DateTime<Utc>) -> Result<(), Skip> {
        let pool = self.pools.get(&pool::Name::of(entry.config.kind()));
        let queue = pool.map(Pool::queue).unwrap_or_default();
        self.hours.hours().may_start(Manner::of(entry), span(entry.timeout.saturating_add(queue)), now)
    }

    /// Puts a probe into its pool, unless it is there already; a call measures media no longer than that.
    fn enqueue(&mut self, name: &str, longest: Option<Duration>) -> bool {
        let Some(slot) = self.known.plan.slots.get_mut(name) else { return false };
        let pool = pool::Name::of(slot.entry.config.kind());
        let Some(pool) = self.pools.get_mut(&pool) else { return false };
        let Some(probe) = slot.probe.take_if(|_| !pool.holds(name)) else { return false };
        pool.push(Job {
            name: name.to_owned(),
            generation: slot.generation,
            probe,
            timeout: slot.entry.timeout,
            manner: Manner::of(&slot.entry),
            accepted: slot.entry.config.listens().then(|| self.state.clone()),
            seed: self.random.u64(..),
            longest,
            queued_at: Instant::now(),
        });
        true
    }

    /// Runs every probe that is not busy and may run, beside its schedule; before a lesson, perhaps.
    pub(super) fn run_all_soon(&mut self, before: Option<DateTime<Utc>>) {
        let now = (self.clock)();
        let names: Vec<String> = self.known.plan.slots.keys().cloned().collect();
        for name in names {
            match self.try_run(&name, None, now) {
                // Busy with a run that serves as well as another.
                Ok(()) | Err(Skip::Busy) => {
                    if let Some(lesson) = before {
                        self.hours.is_ahead(&name, lesson);
                    }
                }
                Err(skip) => self.known.plan.skip(&name, skip),
            }
        }
        self.start_pools();
    }

    /// The first inspection: soon over, so that somebody who has just installed the box sees all of it.
    pub(super) fn run_first(&mut self) {
        let now = (self.clock)();
        let before = self.look_ahead(now);
        let (first, held) = self.known.plan.first(|entry| self.may_run(entry, now));
        for name in first {
            self.enqueue(&name, Some(FIRST_CALL));
            if let Some(lesson) = before {
                self.hours.is_ahead(&name, lesson);
            }
        }
        for (name, skip) in held {
            self.known.plan.skip(&name, skip);
        }
        self.publish();
        self.start_pools();
    }

    pub(super) fn start_pools(&mut self) {
        for pool in self.pools.values_mut() {
            pool.start(&self.surroundings, &self.clock, &self.passes);
        }
    }
}
