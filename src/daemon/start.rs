//! From nothing to a daemon that is ready: config, ledger, listener, dispatcher, heart; in this order,
//! so that what is wrong is said before any probe runs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bellwether_agent::{
    booking::dispatch,
    export::Reload,
    inspection::adopt,
    store::{Store, StoreError},
};
use data_encoding::BASE32_NOPAD;
use tokio::sync::{Notify, mpsc, watch};
use tokio_cron_scheduler::JobSchedulerError;

use super::{
    Daemon, Inputs, Known, Plan, Pool, Surroundings,
    hours::Keeper,
    judge, pool, report,
    vendor::{self, Reader},
};
use crate::{
    Clock,
    config::{self, ConfigError},
    control,
    heartbeat::Heart,
    quiet::Quiet,
    sound, systemd, web,
};

/// How long a start waits for lessons to be read, before the first inspection has to do without.
const FIRST_READING: Duration = Duration::from_secs(3);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The config file; `None` for the usual one, which may be missing.
    pub config: Option<PathBuf>,
    /// Folder of the ledger and of booking files.
    pub state: PathBuf,
    /// The program that serves `probe-worker`: this one.
    pub worker: PathBuf,
    /// Where commands are taken.
    pub control: control::Socket,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config cannot be used.
    #[error("the config cannot be used")]
    Config(#[from] ConfigError),
    /// The state folder cannot be made.
    #[error("cannot make the state folder {}", path.display())]
    StateFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger cannot be used.
    #[error("the ledger cannot be used")]
    Store(#[from] StoreError),
    /// Signals cannot be handled.
    #[error("cannot handle signals")]
    Signals(#[source] std::io::Error),
    /// The heart does not beat.
    #[error("cannot start the heartbeat")]
    Heartbeat(#[from] JobSchedulerError),
}

impl StartError {
    /// The exit code, as sysexits.h names them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,                                                   // EX_CONFIG
            Self::StateFolder { .. } | Self::Store(StoreError::Folder { .. }) => 73, // EX_CANTCREAT
            Self::Store(StoreError::Damaged { .. }) => 65,                           // EX_DATAERR
            Self::Store(StoreError::Newer { .. }) => 76,                             // EX_PROTOCOL
            Self::Store(StoreError::Locked { .. }) => 75,                            // EX_TEMPFAIL
            Self::Store(_) => 74,                                                    // EX_IOERR
            Self::Signals(_) | Self::Heartbeat(_) => 71,                             // EX_OSERR
        }
    }
}

/// Where the ledger and the booking files lie, if the command line does not say.
pub fn state_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let below_home = || variable("HOME").unwrap_or_default().join(".local/state");
    variable("STATE_DIRECTORY")
        .unwrap_or_else(|| variable("XDG_STATE_HOME").unwrap_or_else(below_home).join("bellwether"))
}

/// Name of the ledger in the state folder.
pub fn ledger(state: &Path) -> PathBuf {
    state.join("bellwether.db")
}

impl<C: Clock> Daemon<C> {
    pub(super) async fn start(options: Options, clock: C, heart: Heart) -> Result<(Self, Inputs), StartError> {
        let now = clock();
        let config = config::load(options.config.as_deref(), now)?;
        make_folder(&options.state)?;
        let mut random = fastrand::Rng::new();
        let ledger_id = BASE32_NOPAD.encode(&random.u128(..).to_be_bytes()).to_ascii_lowercase();
        let (store, memory) = Store::open(&ledger(&options.state), now, &ledger_id).await?;
        let memory = adopt(&memory, &config.rules, &config.probes.keys().cloned().collect(), now);

        let judge = judge::learned(&store, &config).await?;

        let channels = Arc::new(vendor::unchecked(config.channels(&options.state)));
        let orders = report::with_zeros(store.order_counts().await?, &channels);
        let (channels, channels_seen) = watch::channel(channels);
        let mut plan = Plan::default();
        plan.take(&config.probes, &config.rules, now);
        let reload = Reload { successful: true, succeeded_at: now };
        let known = Known {
            started_at: now,
            quiet: Quiet::read(&options.state, now),
            seen: None,
            config,
            memory,
            stored_block: judge.block(),
            judge,
            plan,
            orders,
            oldest_order: store.oldest_order().await?,
            repeats: BTreeMap::new(),
            commit_failures: 0,
            reload,
        };
        let (readings_sender, readings) = mpsc::channel(1);
        let mut hours = Keeper::new(&known.config, readings_sender);
        hours.quiet(known.quiet.until(now));
        hours.read(&known.config, &options.state, false, now);
        let first = known.snapshot(&channels.borrow(), hours.exported());
        let (snapshots, snapshots_seen) = watch::channel(Arc::new(first));
        // Before it is said that the daemon listens: whoever waits for that may have a command.
        let (asks_sender, asks) = mpsc::channel(4);
        let control = match control::Server::start(&options.control, asks_sender).await {
            Ok(server) => Some(server),
            Err(error) => {
                // A box that cannot be commanded is still better inspected than not.
                tracing::error!(error = report::chain(&error), "commands such as `bellwether quiet` are not taken");
                None
            }
        };
        let listen = known.config.web.listen;
        // A box whose results nobody can fetch is still better inspected than not.
        let server = web::Server::start(&known.config.web, &known.config.access, snapshots_seen, clock.clone())
            .await
            .inspect_err(|error| report::no_listener(listen, error))
            .ok();
        report::lacking(&known.config, options.config.as_deref());
        sound::say_what_is_off(&known.config);

        let (cancel, cancelled) = watch::channel(false);
        let orders_due = Arc::new(Notify::new());
        let (settled_sender, settled) = mpsc::channel(16);
        let mut ended = cancelled.clone();
        tokio::spawn(dispatch::run(
            store.clone(),
            channels_seen,
            orders_due.clone(),
            settled_sender,
            clock.clone(),
            random.u64(..),
            async move {
                // An error means that the daemon is gone, which ends the dispatcher as well.
                let _gone = ended.wait_for(|cancel| *cancel).await;
            },
        ));
        let (beats, heart) = heart.start().await?;
        let (passes_sender, passes) = mpsc::channel(4);
        let (found_sender, found) = mpsc::channel(4);
        let is_new = known.memory.bookings.is_empty() && known.memory.epochs.is_empty();
        let reader = Reader::new(found_sender, is_new.then_some(now));
        let mut daemon = Self {
            clock,
            config_path: options.config,
            known,
            store,
            pools: pool::Name::ALL.into_iter().map(|name| (name, Pool::new(name))).collect::<BTreeMap<_, _>>(),
            surroundings: Surroundings { worker: Arc::new(options.worker), cancel: cancelled, hours: hours.watch() },
            hours,
            reader,
            state: options.state,
            passes: passes_sender,
            random,
            snapshots,
            web: server,
            _control: control,
            channels,
            orders_due,
            cancel,
            _heart: heart,
            watchdog: systemd::watchdog_period(),
            settling: true,
        };
        let mut inputs = Inputs { beats, passes, settled, readings, asks, found };
        // What takes longer comes as an event; until then nothing is free.
        if let Ok(Some(read)) = tokio::time::timeout(FIRST_READING, inputs.readings.recv()).await {
            daemon.take_hours(read);
        }
        daemon.check_channels(now);
        daemon.read_back(now).await;
        let adopted = async {
            while daemon.reader.is_adopting(now) {
                let Some(found) = inputs.found.recv().await else { return };
                daemon.found(found).await;
            }
        };
        // What takes longer comes as an event; nothing is booked until then.
        let _late = tokio::time::timeout(FIRST_READING, adopted).await;
        // The first inspection follows at once: a box that was just started has something to tell.
        daemon.run_first();
        systemd::ready(&daemon.status_line());
        Ok((daemon, inputs))
    }

    pub(super) fn status_line(&self) -> String {
        let listens = match &self.web {
            Some(web) => format!("{}/metrics", web.url()),
            None => "not listening".to_owned(),
        };
        format!("{} probes, {listens}", self.known.plan.slots.len())
    }
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .map_err(|source| StartError::StateFolder { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_systemds_then_the_users() {
        let folder = |set: &[(&str, &str)]| {
            let set: BTreeMap<String, PathBuf> = set.iter().map(|(key, value)| ((*key).into(), value.into())).collect();
            state_folder(move |key| set.get(key).cloned())
        };
        assert_eq!(
            folder(&[("STATE_DIRECTORY", "/var/lib/bellwether"), ("HOME", "/h")]),
            Path::new("/var/lib/bellwether")
        );
        assert_eq!(folder(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), Path::new("/x/bellwether"));
        assert_eq!(folder(&[("HOME", "/h")]), Path::new("/h/.local/state/bellwether"));
    }
}
