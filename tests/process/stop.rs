//! Stopping, asked for or not: nothing is left behind.

use std::{fs, path::PathBuf, time::Duration};

use crate::daemon::{Daemon, Home, NO_CALL, SOON, STOP, wait_for};

/// Marks a daemon and all of its children in their environment.
const MARK: &str = "BELLWETHER_TEST_MARK";

/// A daemon in the middle of a call.
fn calling(home: &Home) -> Daemon {
    let mut command = home.command([]);
    command.env(MARK, home.path());
    let daemon = Daemon::start(command);
    wait_for("a call that works", SOON, || {
        workers(home).into_iter().find(|process| processor_seconds(process).is_some_and(|seconds| seconds > 0.5))
    });
    assert_eq!(daemon.metric("bellwether_probe_runs_total{probe=\"call\"}"), Some(0.0), "the call is over");
    daemon
}

/// All processes that are the daemon of this home or descend from it.
fn processes(home: &Home) -> Vec<PathBuf> {
    let mark = format!("{MARK}={}", home.path().display());
    with(|process| fs::read(process.join("environ")).is_ok_and(|environment| holds(&environment, &mark)))
}

/// Those of them that make a call.
fn workers(home: &Home) -> Vec<PathBuf> {
    let mut workers = processes(home);
    workers.retain(|process| has_argument(process, "probe-worker"));
    workers
}

fn has_argument(process: &PathBuf, argument: &str) -> bool {
    fs::read(process.join("cmdline")).is_ok_and(|line| holds(&line, argument))
}

/// Whether one of the texts that are separated by zeros is this one.
fn holds(texts: &[u8], text: &str) -> bool {
    texts.split(|byte| *byte == 0).any(|found| found == text.as_bytes())
}

fn with(is: impl Fn(&PathBuf) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").expect("a Linux system").map_while(Result::ok).map(|entry| entry.path());
    let number = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    entries.filter(|path| number(path) && is(path)).collect()
}

/// Processor time a process has used, by the 100 Hz clock of proc(5).
fn processor_seconds(process: &PathBuf) -> Option<f64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

#[test]
fn asked_to_stop_amid_a_call_it_ends_well_and_leaves_no_process() {
    let home = Home::new("");
    let mut daemon = calling(&home);
    assert_eq!(processes(&home).len(), 2, "the daemon and its call");
    let (status, took) = daemon.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "it took {took:?}");
    assert_eq!(processes(&home), Vec::<PathBuf>::new());
}

#[test]
fn asked_to_stop_amid_a_version_source_it_leaves_no_process() {
    // A number that no other process sleeps for.
    let seconds = format!("7{}.25", std::process::id());
    let hangs =
        format!("[probe.versions.components.x]\ncommand = [\"/bin/sleep\", \"{seconds}\"]\ntimeout = \"50 s\"\n");
    let home = Home::new(&format!("{NO_CALL}{hangs}"));
    let mut daemon = home.start();
    let sleeping = || with(|process| has_argument(process, &seconds));
    wait_for("the source", SOON, || Some(sleeping()).filter(|found| !found.is_empty()));
    let (status, took) = daemon.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "it took {took:?}");
    assert_eq!(sleeping(), Vec::<PathBuf>::new());
}

#[test]
fn an_interrupt_stops_it_as_well() {
    let home = Home::new(NO_CALL);
    let daemon = home.start();
    daemon.signal(libc::SIGINT);
    wait_for("the line", SOON, || (daemon.logged("stopping") > 0).then_some(()));
    drop(daemon);
}

#[test]
fn a_reader_that_never_reads_does_not_hold_up_the_stop() {
    use std::io::Write;
    let home = Home::new(NO_CALL);
    let mut daemon = home.start();
    // Half a request, and a connection that says nothing.
    let mut half = std::net::TcpStream::connect(daemon.address()).expect("a connection");
    half.write_all(b"GET /metrics HTTP/1.1\r\n").expect("sent");
    let _silent = std::net::TcpStream::connect(daemon.address()).expect("a connection");
    let (status, took) = daemon.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "it took {took:?}");
}

#[test]
fn killed_amid_a_call_it_leaves_no_worker() {
    let home = Home::new("");
    let daemon = calling(&home);
    drop(daemon); // kills it
    wait_for("the worker to end", Duration::from_secs(10), || processes(&home).is_empty().then_some(()));
}
