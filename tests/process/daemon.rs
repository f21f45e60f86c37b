//! A daemon with its own config and state, and what a test asks of it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{http, processes};

/// How long anything is waited for that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// How long something is waited for that happens with the next scheduled run, at most a minute off.
pub(crate) const NEXT_RUN: Duration = Duration::from_secs(100);
/// How long a stop may take: the issue's own bound.
const STOP: Duration = Duration::from_secs(5);

/// No call: for tests that are about something else.
pub(crate) const NO_CALL: &str = "[probe.call]\nenabled = false\n[probe.voice]\nenabled = false\n";

/// A series that is there once a first inspection was committed: runs are counted a moment before.
pub(crate) const OWN_VERSION: &str =
    concat!("bellwether_component_info{component=\"bellwether\",version=\"", env!("CARGO_PKG_VERSION"), "\"}");

/// A site that says everything a booking needs.
pub(crate) const SCHOOL: &str = r#"
[school]
name = "Test School"
[school.contact]
name = "IT office"
phone = "100"
"#;

/// A room of a fixed id, which is the scope of what is booked.
pub(crate) const ROOM: &str = "[room]\nid = \"r101\"\nname = \"Room 101\"\n";

/// Waits until `condition` gives something, and returns that.
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", within.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A limit that nothing can keep.
pub(crate) fn impossible(metric: &str) -> String {
    format!(
        "[metrics.{metric}]\nlimit = {{ enter = -1.0, clear = -2.0, bad = 1, of = 1, recover = 1 }}\n\
         critical_limit = false\n"
    )
}

/// A folder with a config and a state.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    /// A config that listens on any port and says `config`.
    pub(crate) fn new(config: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a folder") };
        home.configure(config);
        home
    }

    /// Replaces the config. The machine's own disk and memory are judged only if the config names them: a full
    /// disk would join any booking.
    pub(crate) fn configure(&self, config: &str) {
        let full = ["disk_utilization", "memory_utilization"].iter().filter(|metric| !config.contains(**metric));
        let off: String =
            full.map(|metric| format!("[metrics.{metric}]\nlimit = false\ncritical_limit = false\n")).collect();
        self.write_config(&format!("[web]\nlisten = \"127.0.0.1:0\"\n{config}{off}"));
    }

    /// Replaces the config with exactly this text.
    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).expect("the config is written");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("bellwether.toml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.state().join("bellwether.db")
    }

    /// The program with this config and state.
    pub(crate) fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = program();
        command.arg("--config").arg(self.config()).arg("--state").arg(self.state()).args(arguments);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run<const N: usize>(&self, arguments: [&str; N]) -> Ended {
        Ended::of(&mut self.command(arguments))
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) fn start(&self) -> Daemon {
        let mut command = self.command([]);
        command.env(processes::MARK, self.path());
        Daemon::start(command)
    }

    /// Starts what is not to start, and returns how it ended.
    pub(crate) fn fails_to_start(&self) -> Ended {
        Ended::of(&mut self.command([]))
    }

    /// `bookings list --json`.
    pub(crate) fn bookings(&self) -> Vec<Value> {
        let ended = self.run(["bookings", "list", "--json"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).expect("a JSON array")
    }
}

/// The program under test, without what the tests' own surroundings would tell it.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    for name in
        ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"]
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let end = Instant::now() + 2 * SOON;
        let status = loop {
            if let Some(status) = child.try_wait().expect("our own child") {
                break status;
            }
            if Instant::now() > end {
                child.kill().expect("our own child");
                panic!("{command:?} does not end: {}", stderr.join().expect("a reader"));
            }
            thread::sleep(Duration::from_millis(10));
        };
        let text = |reader: JoinHandle<String>| reader.join().expect("a reader");
        Self { code: status.code().expect("an exit code"), stdout: text(stdout), stderr: text(stderr) }
    }
}

fn drain(pipe: Option<impl std::io::Read + Send + 'static>) -> JoinHandle<String> {
    let mut pipe = pipe.expect("a pipe");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a readable pipe");
        String::from_utf8(bytes).expect("UTF-8")
    })
}

/// A daemon that listens; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    address: String,
}

impl Daemon {
    pub(crate) fn start(command: Command) -> Self {
        let mut daemon = Self::launch(command);
        daemon.address = wait_for("the daemon to listen", SOON, || {
            let status = daemon.child.try_wait().expect("our own child");
            assert!(status.is_none(), "the daemon ended: {status:?}");
            daemon.listens_on().last().cloned()
        });
        daemon
    }

    /// Starts it, and does not wait until it listens.
    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the daemon starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                written.lock().expect("no reader panics").push(line);
            }
        });
        Self { child, lines, reader: Some(reader), address: String::new() }
    }

    /// Every address it has said it listens on, oldest first.
    pub(crate) fn listens_on(&self) -> Vec<String> {
        let lines = self.lines();
        let urls = lines.iter().filter_map(|line| line.split_once("listening on http"));
        let address = |url: &str| Some(url.split_once("://")?.1.trim().to_owned());
        urls.filter_map(|(_, url)| address(url)).collect()
    }

    /// Talks to this address from now on.
    pub(crate) fn moved_to(&mut self, address: String) {
        self.address = address;
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no reader panics").clone()
    }

    /// How many lines it has logged that contain `text`.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn wait_for_line(&self, text: &str, within: Duration) {
        wait_for(&format!("the line {text:?}"), within, || (self.logged(text) > 0).then_some(()));
    }

    /// The samples of `/metrics`, by what stands before the value.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let page = http::get(&self.address, "/metrics");
        assert_eq!(page.status, 200);
        let samples = page.body.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            (series.to_owned(), value.parse().expect("a number"))
        };
        samples.map(sample).collect()
    }

    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        self.metrics().get(series).copied()
    }

    /// Waits until a series has at least this value.
    pub(crate) fn wait_for_metric(&self, series: &str, least: f64, within: Duration) {
        wait_for(&format!("{series} {least}"), within, || self.metric(series).filter(|value| *value >= least));
    }

    /// How many runs of a probe have ended.
    pub(crate) fn wait_for_runs(&self, probe: &str, least: f64, within: Duration) {
        self.wait_for_metric(&format!("bellwether_probe_runs_total{{probe=\"{probe}\"}}"), least, within);
    }

    #[expect(unsafe_code, reason = "the standard library sends no signal but SIGKILL")]
    pub(crate) fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: plain numbers. The child was not waited for, so the number is still its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
    }

    /// Asks for a reload and waits for its end; whether the config was taken.
    pub(crate) fn reload(&self) -> bool {
        let ends = |daemon: &Self| (daemon.logged("the config was read again"), daemon.logged("and not taken"));
        let before = ends(self);
        self.signal(libc::SIGHUP);
        let after = wait_for("the end of the reload", SOON, || Some(ends(self)).filter(|now| now.0 > before.0));
        after.1 == before.1
    }

    /// Sends it a signal that ends it; how it ended, and after what time.
    fn end(&mut self, signal: libc::c_int) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(signal);
        let status = wait_for("the end", SOON, || self.child.try_wait().expect("our own child"));
        self.reader.take().map(JoinHandle::join);
        (status, asked.elapsed())
    }

    /// Stops it as systemd would; it ends well.
    pub(crate) fn stop(mut self) {
        let (status, _) = self.end(libc::SIGTERM);
        assert!(status.success(), "ended with {status}");
    }

    /// Stops it in the middle of something; it ends well and in time. What it has logged.
    pub(crate) fn stops_in_time(mut self, signal: libc::c_int) -> Vec<String> {
        let (status, took) = self.end(signal);
        assert!(status.success(), "ended with {status}");
        assert!(took < STOP, "it took {took:?}");
        self.lines()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if thread::panicking() {
            eprintln!("the daemon said:\n{}", self.lines().join("\n"));
        }
    }
}
