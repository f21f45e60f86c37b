//! Pools: probes of one pool run one after another, so that a call never competes with another call
//! and slow pages never hold up the box's own readings.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use bellwether_agent::schedule::{Skip, gate::Weight};
use bellwether_probes::{Kind, Probe, ProbeRun, RunContext};
use chrono::{DateTime, Utc};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::hours::{Hours, Manner, span};
use crate::{
    Clock,
    occupied::{self, Seen},
    sound,
};

/// Which probes wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// Calls.
    Media,
    /// Everything that costs next to nothing.
    Light,
}

impl Name {
    pub(super) const ALL: [Self; 2] = [Self::Media, Self::Light];

    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Media | Kind::Echo => Self::Media,
            Kind::Resources | Kind::Page | Kind::Versions | Kind::Load => Self::Light,
        }
    }
}

/// A probe on its way through a pool.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: String,
    /// Which configuration of this name it is: a reload may have replaced it meanwhile.
    pub(super) generation: u64,
    pub(super) probe: Probe,
    pub(super) timeout: Duration,
    pub(super) manner: Manner,
    pub(super) seed: u64,
    /// The state folder, if the accepted state of the room's sound is wanted of it.
    pub(super) accepted: Option<PathBuf>,
    /// The longest that media of a call is measured, if it is shortened.
    pub(super) longest: Option<Duration>,
    pub(super) queued_at: Instant,
}

/// A probe that has come out, with what it measured, or why it was held back or stopped.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) name: String,
    pub(super) generation: u64,
    pub(super) probe: Probe,
    pub(super) run: Result<ProbeRun, Skip>,
    /// For how many seconds the microphone of the room may have been listened to, even if it was stopped.
    pub(super) listened: Option<f64>,
    pub(super) queued: Duration,
}

/// One pass over the probes of a pool that were due.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) pool: Name,
    pub(super) started_at: DateTime<Utc>,
    pub(super) done: Vec<Done>,
    /// What the last look at the room's use has found, if there was one.
    pub(super) seen: Option<Seen>,
}

/// What every run of the daemon is given.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) worker: Arc<PathBuf>,
    pub(super) cancel: watch::Receiver<bool>,
    pub(super) hours: watch::Receiver<Hours>,
}

/// A pool: what runs, and what waits for it.
#[derive(Debug)]
pub(super) struct Pool {
    name: Name,
    waiting: VecDeque<Job>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    names: Vec<String>,
    overdue_at: Instant,
}

impl Pool {
    pub(super) fn new(name: Name) -> Self {
        Self { name, waiting: VecDeque::new(), running: None }
    }

    /// Whether the probe waits or runs already.
    pub(super) fn holds(&self, name: &str) -> bool {
        let runs = |running: &Running| running.names.iter().any(|running| running == name);
        self.running.as_ref().is_some_and(runs) || self.waiting.iter().any(|job| job.name == name)
    }

    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// How long a probe that is put in now may have to wait for its turn.
    pub(super) fn queue(&self) -> Duration {
        let running = |running: &Running| running.overdue_at.saturating_duration_since(Instant::now());
        let waiting: Duration = self.waiting.iter().map(|job| job.timeout + GRACE).sum();
        self.running.as_ref().map(running).unwrap_or_default() + waiting
    }

    /// Starts a pass over all that waits, unless one is under way.
    pub(super) fn start<C: Clock>(&mut self, surroundings: &Surroundings, clock: &C, done: &mpsc::Sender<Pass>) {
        if self.running.is_some() || self.waiting.is_empty() {
            return;
        }
        let jobs: Vec<Job> = self.waiting.drain(..).collect();
        let names = jobs.iter().map(|job| job.name.clone()).collect();
        let allowed: Duration = jobs.iter().map(|job| job.timeout + GRACE).sum();
        let (pool, surroundings, clock, done) = (self.name, surroundings.clone(), clock.clone(), done.clone());
        let task = tokio::spawn(async move {
            let pass = pass(pool, jobs, &surroundings, &clock).await;
            // The loop is gone only when the daemon ends.
            let _ended = done.send(pass).await;
        });
        self.running = Some(Running { task, names, overdue_at: Instant::now() + allowed });
    }

    /// The pass under way has come out.
    pub(super) fn finished(&mut self) {
        self.running = None;
    }

    /// Whether the pass under way has outlived every deadline it was given.
    pub(super) fn overdue(&self) -> bool {
        self.running.as_ref().is_some_and(|running| Instant::now() > running.overdue_at)
    }

    /// Waits until nothing runs.
    pub(super) async fn drained(&mut self) {
        self.waiting.clear();
        if let Some(running) = self.running.take() {
            // A panic of a probe is in the log already.
            let _panicked = running.task.await;
        }
    }
}

/// What a probe may take beyond its deadline: its frame, and the scheduling of a busy box.
const GRACE: Duration = Duration::from_secs(15);

async fn pass<C: Clock>(pool: Name, jobs: Vec<Job>, surroundings: &Surroundings, clock: &C) -> Pass {
    let started_at = clock();
    let mut done = Vec::with_capacity(jobs.len());
    let mut seen = None;
    for mut job in jobs {
        let queued = job.queued_at.elapsed();
        // It was allowed to run when it was put in; what ran before it may have taken its time.
        let allowed = may_start(&job, surroundings, clock, &mut seen).await;
        let (run, listened) = match allowed {
            Ok(()) => run(&mut job, surroundings, clock, &mut seen).await,
            Err(skip) => (Err(skip), None),
        };
        done.push(Done { name: job.name, generation: job.generation, probe: job.probe, run, listened, queued });
    }
    Pass { pool, started_at, done, seen }
}

/// Whether a job may start now. If nothing else speaks against it, the room is looked at before a heavy one.
async fn may_start<C: Clock>(
    job: &Job,
    surroundings: &Surroundings,
    clock: &C,
    seen: &mut Option<Seen>,
) -> Result<(), Skip> {
    let hours = surroundings.hours.borrow().clone();
    hours.may_start(job.manner, span(job.timeout), clock())?;
    if job.manner.weight == Weight::Light || !hours.look.looks() {
        return Ok(());
    }
    let found = seen.insert(occupied::look(&hours.look, clock()).await);
    // What holds it back may have changed meanwhile.
    let hours = Hours { occupied: found.occupied().is_some(), ..surroundings.hours.borrow().clone() };
    hours.may_start(job.manner, span(job.timeout), clock())
}

/// Runs a probe, and stops it as soon as it may run no longer. What it had measured by then is dropped:
/// it says more of the stop than of the room. Also says for how long the microphone was listened to.
async fn run<C: Clock>(
    job: &mut Job,
    surroundings: &Surroundings,
    clock: &C,
    seen: &mut Option<Seen>,
) -> (Result<ProbeRun, Skip>, Option<f64>) {
    let (stop, cancel) = watch::channel(false);
    let context = RunContext {
        now: clock(),
        timeout: job.timeout,
        worker: surroundings.worker.to_path_buf(),
        seed: job.seed,
        cancel,
        progress: None,
        capture: None,
        longest: job.longest,
        accepted: job.accepted.as_deref().and_then(|state| sound::accepted(state, &job.name)),
    };
    let (manner, end) = (job.manner, Instant::now() + job.timeout);
    let listens = job.accepted.is_some();
    let (mut goodbye, mut hours) = (surroundings.cancel.clone(), surroundings.hours.clone());
    let run = job.probe.run(&context);
    tokio::pin!(run);
    let held = async {
        loop {
            // An error means that the loop is gone, which says goodbye.
            if hours.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let left = span(end.saturating_duration_since(Instant::now()));
            let now = hours.borrow_and_update().clone();
            if let Err(skip) = now.may_go_on(manner, left, clock()) {
                break skip;
            }
            if listens && manner.weight == Weight::Heavy {
                // The sound that is to be seen is its own, perhaps in the name of the sound server.
                let others = occupied::Config { sound: false, ..(*now.look).clone() };
                if others.looks() && occupied::look(&others, clock()).await.occupied().is_some() {
                    break Skip::Occupied;
                }
                continue;
            }
            // Somebody may have come in.
            let looks = manner.weight == Weight::Heavy && now.look.looks();
            if looks {
                let found = seen.insert(occupied::look(&now.look, clock()).await);
                if found.occupied().is_some() {
                    break Skip::Occupied;
                }
            }
        }
    };
    let ended = tokio::select! {
        run = &mut run => {
            let listened = listened(&run);
            return (Ok(run), listened);
        }
        skip = held => Err(skip),
        _ = goodbye.wait_for(|cancel| *cancel) => Ok(()),
    };
    stop.send_replace(true);
    let run = run.await;
    let listened = listened(&run);
    (ended.map(|()| run), listened)
}

fn listened(run: &ProbeRun) -> Option<f64> {
    run.microphone.then_some(run.duration_seconds)
}
