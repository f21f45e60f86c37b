//! The main loop. Every input (a beat, a pass of probes, an answer of the vendor, a signal) becomes
//! one [`Event`]; [`Daemon::handle`] is the only place that decides what follows.
//!
//! One inspection, from beat to booking:
//!
//! ```text
//! beat → Plan::due → Pool → probes run → Event::Passed
//!      → conclude (pure) → publish a snapshot → store.commit, one transaction
//!      → memory = the new one → wake the dispatcher → orders go out → Event::Settled
//! ```
//!
//! What is published comes before what is written: a full disk must not blind Prometheus. What is
//! sent comes after it: nothing is told to anyone that a power cut could make us forget.

mod ask;
mod beat;
mod bookings;
mod hours;
mod judge;
mod plan;
mod pool;
mod report;
mod silence;
mod start;
mod vendor;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bellwether_agent::{
    Inspection, Memory, booking,
    booking::dispatch::Settled,
    channel::{Channels, Outcome},
    conclude,
    export::{OrderCounts, Reload, Snapshot},
    inspection::{Terms, adopt},
    judge::room::RoomJudge,
    store::{Record, Store},
};
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use self::{
    hours::{Keeper, Read},
    plan::Plan,
    pool::{Pass, Pool, Surroundings},
    vendor::{Found, Reader},
};
pub use self::{
    judge::learned,
    report::chain,
    start::{Options, StartError, ledger, state_folder},
};
use crate::{
    Clock,
    config::{self, Config},
    control,
    heartbeat::{Beating, Heart},
    memory,
    occupied::Seen,
    quiet::Quiet,
    sound, systemd, web,
};

/// A stop waits this long for running calls and orders to end well.
const GOODBYE: Duration = Duration::from_millis(4500);

/// Everything that can happen to the daemon.
#[derive(Debug)]
enum Event {
    /// A minute has begun, or a probe's instant has come.
    Beat,
    /// Probes have run.
    Passed(Pass),
    /// A channel has answered, or not.
    Settled(Settled),
    /// Somebody asks something of the daemon.
    Asked(control::Request),
    /// Lessons and days off were read.
    Read(Read),
    /// Something about bookings was found out.
    Found(Found),
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
    /// systemd waits to hear from the loop.
    Watchdog,
}

/// Why a new config's address is not taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; `ss -ltnp` shows who has the port, and [web] listen names another address")]
struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Runs until it is told to stop. `clock` gives the time of day, and `heart` has it looked at.
///
/// # Errors
/// Whatever keeps the daemon from starting: see [`StartError`]. Once it has started it does not fail.
pub async fn run<C: Clock>(options: Options, clock: C, heart: Heart) -> Result<(), StartError> {
    // Before all else: a SIGHUP that finds no handler would end the process.
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let (mut daemon, mut inputs) = Daemon::start(options, clock, heart).await?;
    loop {
        let event = inputs.next(&mut signals, daemon.next_due(), daemon.watchdog).await;
        if matches!(event, Event::Stop) {
            break;
        }
        daemon.handle(event).await;
        daemon.say_alive();
    }
    daemon.stop(inputs).await;
    Ok(())
}

/// Where events come from.
#[derive(Debug)]
struct Inputs {
    beats: mpsc::Receiver<()>,
    passes: mpsc::Receiver<Pass>,
    settled: mpsc::Receiver<Settled>,
    asks: mpsc::Receiver<control::Request>,
    readings: mpsc::Receiver<Read>,
    found: mpsc::Receiver<Found>,
}

#[derive(Debug)]
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

impl Inputs {
    async fn next(&mut self, signals: &mut Signals, due: Instant, watchdog: Option<Duration>) -> Event {
        let watchdog = tokio::time::sleep(watchdog.unwrap_or(Duration::from_secs(3600)));
        tokio::select! {
            biased;
            _ = signals.terminate.recv() => Event::Stop,
            _ = signals.interrupt.recv() => Event::Stop,
            _ = signals.hangup.recv() => Event::Reload,
            Some(settled) = self.settled.recv() => Event::Settled(settled),
            Some(request) = self.asks.recv() => Event::Asked(request),
            Some(pass) = self.passes.recv() => Event::Passed(pass),
            Some(read) = self.readings.recv() => Event::Read(read),
            Some(found) = self.found.recv() => Event::Found(found),
            Some(()) = self.beats.recv() => Event::Beat,
            () = tokio::time::sleep_until(due) => Event::Beat,
            () = watchdog => Event::Watchdog,
        }
    }
}

/// What the daemon knows, and shows on `/metrics`.
struct Known {
    started_at: DateTime<Utc>,
    config: Config,
    memory: Memory,
    judge: RoomJudge,
    /// The half-hour that was open when the judge was stored.
    stored_block: Option<i64>,
    plan: Plan,
    orders: OrderCounts,
    oldest_order: Option<DateTime<Utc>>,
    /// Repeats that were made one again since the start, by channel.
    repeats: BTreeMap<String, u64>,
    commit_failures: u64,
    reload: Reload,
    quiet: Quiet,
    /// What the newest look at the room's use has found.
    seen: Option<Seen>,
}

/// The daemon's state. Only the loop touches it.
struct Daemon<C> {
    clock: C,
    config_path: Option<PathBuf>,
    known: Known,
    store: Store,
    state: PathBuf,
    hours: Keeper,
    reader: Reader,
    pools: BTreeMap<pool::Name, Pool>,
    surroundings: Surroundings,
    passes: mpsc::Sender<Pass>,
    random: fastrand::Rng,
    snapshots: watch::Sender<Arc<Snapshot>>,
    web: Option<web::Server>,
    /// Its file goes with it.
    _control: Option<control::Server>,
    channels: watch::Sender<Arc<Channels>>,
    orders_due: Arc<Notify>,
    cancel: watch::Sender<bool>,
    /// Its beats end with it.
    _heart: Beating,
    watchdog: Option<Duration>,
    /// Whether a start or a reload lies behind, whose memory was not handed back yet.
    settling: bool,
}

impl<C: Clock> Daemon<C> {
    async fn handle(&mut self, event: Event) {
        match event {
            Event::Beat => {
                self.beat();
                self.bookings_beat().await;
                self.listen_again().await;
            }
            Event::Passed(pass) => self.passed(pass).await,
            Event::Settled(settled) => self.settled(settled).await,
            Event::Asked(request) => self.asked(request).await,
            Event::Read(read) => self.take_hours(read),
            Event::Found(found) => self.found(found).await,
            Event::Reload => self.reload().await,
            Event::Stop | Event::Watchdog => {}
        }
    }

    /// Judges what was measured, shows it, writes it, and only then lets it be sent.
    async fn passed(&mut self, pass: Pass) {
        if let Some(pool) = self.pools.get_mut(&pass.pool) {
            pool.finished();
        }
        if let Some(seen) = pass.seen {
            seen.report(self.known.seen.as_ref());
            self.known.seen = Some(seen);
        }
        let now = (self.clock)();
        let mut runs = Vec::with_capacity(pass.done.len());
        for done in pass.done {
            let current = self.known.plan.give_back(&done.name, done.generation, done.probe);
            if let Some(seconds) = done.listened {
                sound::listened(&done.name, seconds);
                self.known.plan.listened(&done.name);
            }
            match done.run {
                Ok(run) => {
                    report::run(&run);
                    if current {
                        self.known.plan.ran(&done.name, &run, done.queued, now);
                        runs.push(run);
                    }
                }
                Err(skip) => self.known.plan.skip(&done.name, skip),
            }
        }
        self.start_pools();
        if runs.is_empty() {
            self.publish();
            return;
        }
        let before_lesson = self.hours.was_ahead(runs.iter().map(|run| &*run.probe));
        let id = BASE32_NOPAD.encode(&self.random.u128(..).to_be_bytes()).to_ascii_lowercase();
        let inspection = Inspection { id, started_at: pass.started_at, runs, before_lesson };
        let channels = self.channels.borrow().clone();
        let calendar = self.hours.calendar(&self.known.config, now);
        let Known { config, memory, judge, .. } = &mut self.known;
        let is_adopting = self.reader.is_adopting(now);
        let (rules, site) = (&config.rules, &config.site);
        let terms = Terms { rules, site, channels: &channels, calendar: &calendar, is_adopting };
        let conclusion = conclude(terms, memory, judge, &inspection, now);
        report::conclusion(&conclusion);
        self.publish();
        let lessons = self.hours.lessons_near(now);
        // Once a half-hour; whatever is measured until the next time can be taken in again.
        let block = self.known.judge.block();
        let learned = if block == self.known.stored_block { None } else { judge::snapshot(&self.known.judge, now) };
        let record = Record { runs: &inspection.runs, lessons: &lessons, judge: learned.as_ref(), ..Record::default() };
        match self.store.commit(&inspection.id, &conclusion, record, now).await {
            Ok(_) => {
                self.known.memory = conclusion.memory;
                self.known.stored_block = block;
                if !conclusion.orders.is_empty() {
                    self.orders_due.notify_one();
                }
                if !conclusion.changes.is_empty() {
                    // What a new version did to the room should not wait for the schedule.
                    self.run_all_soon(None);
                }
            }
            Err(error) => {
                self.known.commit_failures += 1;
                tracing::error!(
                    error = report::chain(&error),
                    "the inspection could not be written; nothing was booked"
                );
            }
        }
        self.examined().await;
        // A few rows at a time, and never fewer than are added.
        if let Err(error) = self.store.prune(now).await {
            tracing::error!(error = report::chain(&error), "the ledger could not be pruned");
        }
        self.count_orders().await;
        self.publish();
        memory::hand_back();
    }

    /// An order came back from its channel.
    async fn settled(&mut self, settled: Settled) {
        let now = (self.clock)();
        report::settled(&settled);
        let mut memory = self.known.memory.clone();
        let channels = self.channels.borrow().clone();
        let changed = booking::plan::settle(&mut memory, &settled.order, &settled.outcome, channels.record(), now);
        match self.store.settle(&settled.order.op_key, &settled.settlement, changed.as_ref(), now).await {
            Ok(()) => {
                self.known.memory = memory;
                if let Outcome::Done { repeats, .. } = settled.outcome {
                    *self.known.repeats.entry(settled.order.channel.clone()).or_default() += u64::from(repeats);
                }
                acknowledge(settled, true);
            }
            Err(error) => {
                tracing::error!(
                    error = report::chain(&error),
                    order = settled.order.op_key,
                    "the outcome could not be written"
                );
                acknowledge(settled, false);
            }
        }
        self.count_orders().await;
        self.publish();
    }

    /// Takes a new config whole, or not at all.
    async fn reload(&mut self) {
        systemd::reloading();
        let now = (self.clock)();
        let taken = self.take_config(now).await;
        self.known.reload.successful = taken.is_ok();
        match taken {
            Ok(()) => {
                self.known.reload.succeeded_at = now;
                tracing::info!("the config was read again");
            }
            Err(error) => tracing::error!(error = report::chain(&*error), "the config was read again and not taken"),
        }
        self.publish();
        systemd::ready(&self.status_line());
    }

    async fn take_config(&mut self, now: DateTime<Utc>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let new = config::load(self.config_path.as_deref(), now)?;
        if new.web.listen != self.known.config.web.listen {
            self.move_listener(&new).await?;
        } else if let Some(web) = &self.web {
            web.take(&new.web, &new.access);
        }
        self.known.plan.take(&new.probes, &new.rules, now);
        self.channels.send_replace(Arc::new(vendor::unchecked(new.channels(&self.state))));
        self.reader.check_anew();
        self.known.memory = adopt(&self.known.memory, &new.rules, &new.probes.keys().cloned().collect(), now);
        self.known.judge = judge::adopted(&self.known.judge, &new);
        self.known.config = new;
        report::lacking(&self.known.config, self.config_path.as_deref());
        sound::say_what_is_off(&self.known.config);
        self.hours.read(&self.known.config, &self.state, true, now);
        self.settling = true;
        self.orders_due.notify_one();
        self.listen_again().await;
        Ok(())
    }

    /// Listens elsewhere. The old listener goes only when the new one is there; but for another
    /// address of the same port, which cannot be had before.
    async fn move_listener(&mut self, new: &Config) -> Result<(), ListenError> {
        let mut server = self.listen(&new.web, &new.access).await;
        let in_use = matches!(&server, Err(error) if error.kind() == std::io::ErrorKind::AddrInUse);
        if let Some(old) = self.web.take_if(|old| in_use && old.address().port() == new.web.listen.port()) {
            let known = &self.known.config;
            let (back, access) =
                (web::Config { listen: old.address(), ..known.web.clone() }, Arc::clone(&known.access));
            // Its listener is closed at once; only a slow reader of the old page can take longer.
            let _slow = tokio::time::timeout(Duration::from_secs(1), old.stop()).await;
            server = self.listen(&new.web, &new.access).await;
            if server.is_err() {
                self.web = self.listen(&back, &access).await.ok();
            }
        }
        let server = server.map_err(|source| ListenError { address: new.web.listen, source })?;
        if let Some(old) = self.web.replace(server) {
            // In the background: a slow reader of the old page must not hold the loop.
            tokio::spawn(old.stop());
        }
        Ok(())
    }

    /// Tries to have the address that was not to be had before, which was said then.
    async fn listen_again(&mut self) {
        if self.web.is_some() {
            return;
        }
        let known = &self.known.config;
        if let Ok(server) = self.listen(&known.web, &known.access).await {
            self.web = Some(server);
            systemd::ready(&self.status_line());
        }
    }

    async fn listen(&self, config: &web::Config, access: &Arc<web::Access>) -> std::io::Result<web::Server> {
        web::Server::start(config, access, self.snapshots.subscribe(), self.clock.clone()).await
    }

    async fn count_orders(&mut self) {
        match self.store.order_counts().await {
            Ok(counts) => self.known.orders = report::with_zeros(counts, &self.channels.borrow()),
            Err(error) => tracing::error!(error = report::chain(&error), "orders could not be counted"),
        }
        // What cannot be read was said just before.
        self.known.oldest_order = self.store.oldest_order().await.unwrap_or(self.known.oldest_order);
    }

    fn publish(&self) {
        self.snapshots.send_replace(Arc::new(self.known.snapshot(&self.channels.borrow(), self.hours.exported())));
    }

    /// When the next probe is due, on the clock that sleeps are counted on. Never later than a minute:
    /// the wall clock may be stepped meanwhile.
    fn next_due(&self) -> Instant {
        let now = (self.clock)();
        let wait = self.known.plan.next(now).and_then(|at| (at - now).to_std().ok()).unwrap_or_default();
        Instant::now() + wait.min(Duration::from_secs(60))
    }

    /// Feeds the watchdog: the loop has just gone round, and no pass has outlived its deadlines.
    fn say_alive(&self) {
        if self.watchdog.is_none() {
            return;
        }
        match self.pools.iter().find(|(_, pool)| pool.overdue()) {
            None => systemd::alive(),
            Some((name, _)) => {
                tracing::error!(pool = ?name, "a pass has outlived its deadlines; the watchdog is not fed")
            }
        }
    }

    async fn stop(mut self, mut inputs: Inputs) {
        systemd::stopping();
        tracing::info!("stopping");
        self.cancel.send_replace(true);
        let mut pools = std::mem::take(&mut self.pools);
        let calls = async {
            for pool in pools.values_mut() {
                pool.drained().await;
            }
        };
        let rest = async {
            // Orders under way may still come back, and are written down until the dispatcher ends.
            while let Some(settled) = inputs.settled.recv().await {
                self.settled(settled).await;
            }
            self.store.close().await;
            if let Some(web) = self.web {
                web.stop().await;
            }
        };
        let goodbye = async { tokio::join!(calls, rest) };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::warn!("a call, an order or a reader did not end in time; an order is repeated with the same key");
        }
    }
}

/// Tells the dispatcher whether an outcome is durable. One that is not is handed over again; a
/// dispatcher that has ended needs no answer.
fn acknowledge(settled: Settled, durable: bool) {
    let _ended = settled.done.send(durable);
}
