//! A school whose time is in a test's hands: the real loop, with a clock and beats that the test gives.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends when something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "waits end")]
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use bellwether::{
    control,
    daemon::{self, Options},
    heartbeat::Heart,
};
use chrono::{DateTime, Utc};
use chrono_tz::Asia::Shanghai;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

/// How long anything is waited for that should happen at once.
const SOON: Duration = Duration::from_secs(20);

pub const ROOM: &str = "j3-302";

pub const NO_CALL: &str = "[probe.call]\nenabled = false\n[probe.voice]\nenabled = false\n[probe.box]\nenabled = false\n\
                       [probe.echo]\nenabled = false\n";

pub fn local(text: &str) -> DateTime<Utc> {
    let wall = format!("{text}:00").parse::<chrono::NaiveDateTime>().expect("a time written here");
    wall.and_local_timezone(Shanghai).single().expect("no leap in Shanghai").with_timezone(&Utc)
}

/// A port of our own, below those that a system gives to whoever asks for any.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + std::process::id() as u16 % 10_000;
    let mut ports = (0..).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// A school whose time is in our hands.
pub struct School {
    /// Its config and state.
    pub folder: TempDir,
    /// Where its page is.
    pub port: u16,
    millis: Arc<AtomicI64>,
    beat: mpsc::Sender<()>,
}

pub type Metrics = BTreeMap<String, f64>;

impl School {
    /// Starts a daemon at `start` and lives through what `day` does with it.
    pub async fn open<F: AsyncFnOnce(&School)>(config: &str, start: &str, day: F) {
        Self::open_after(config, start, |_| {}, day).await;
    }

    /// The same, with something done to its folder before the daemon starts.
    pub async fn open_after<F: AsyncFnOnce(&School)>(config: &str, start: &str, before: impl Fn(&School), day: F) {
        // Another test of this process may have done so.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let (beat, beats) = mpsc::channel(1);
        let millis = Arc::new(AtomicI64::new(local(start).timestamp_millis()));
        let school = School { folder: tempfile::tempdir().expect("a folder"), port: port(), millis, beat };
        school.configure(config);
        before(&school);
        let time = school.millis.clone();
        let clock = move || DateTime::from_timestamp_millis(time.load(Ordering::Relaxed)).expect("a time of our days");
        let options = Options {
            config: Some(school.config()),
            state: school.state(),
            worker: PathBuf::from("/nonexistent/worker"),
            control: control::socket(|_| None, &school.state()),
        };
        tokio::select! {
            ended = daemon::run(options, clock, Heart::Given(beats)) => panic!("the daemon ended: {ended:?}"),
            () = async { school.listens().await; day(&school).await } => {}
        }
    }

    pub fn configure(&self, config: &str) {
        let head = format!("[web]\nlisten = \"127.0.0.1:{}\"\n[room]\nid = \"{ROOM}\"\n", self.port);
        std::fs::write(self.config(), head + config).expect("the config is written");
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("bellwether.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.millis.load(Ordering::Relaxed)).expect("a time of our days")
    }

    /// Moves the clock, and returns when the loop has looked at it and begun what follows.
    pub async fn at(&self, instant: DateTime<Utc>) {
        self.millis.store(instant.timestamp_millis(), Ordering::Relaxed);
        self.beat.send(()).await.expect("the daemon runs");
        // Once taken, a beat is handled before anybody else has a turn.
        while self.beat.capacity() == 0 {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    }

    pub async fn listens(&self) {
        let end = Instant::now() + SOON;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < end, "the daemon does not listen");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn metrics(&self) -> Metrics {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        let request = b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("it answers");
        let lines = page.lines().filter(|line| line.starts_with("bellwether_"));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        lines.filter_map(sample).collect()
    }

    /// Waits until the page shows what is expected, and returns it.
    pub async fn until(&self, what: &str, shows: impl Fn(&Metrics) -> bool) -> Metrics {
        let end = Instant::now() + SOON;
        loop {
            let metrics = self.metrics().await;
            if shows(&metrics) {
                return metrics;
            }
            if Instant::now() > end {
                let counts: Metrics = metrics.into_iter().filter(|(name, value)| counts(name, *value)).collect();
                panic!("at {} in vain for {what}; the page has {counts:#?}", self.now().with_timezone(&Shanghai));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub fn counts(name: &str, value: f64) -> bool {
    value > 0.0 && ["runs_total", "skipped_total", "room_timetable"].iter().any(|part| name.contains(part))
}

pub fn value(metrics: &Metrics, series: &str) -> u64 {
    *metrics.get(series).unwrap_or_else(|| panic!("the page has no {series}")) as u64
}

pub fn runs(metrics: &Metrics, probe: &str) -> u64 {
    value(metrics, &format!("bellwether_probe_runs_total{{probe=\"{probe}\"}}"))
}
