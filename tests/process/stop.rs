//! Stopping, asked for or not: nothing is left behind.

use std::{io::Write, net::TcpStream, path::PathBuf, time::Duration};

use crate::{
    daemon::{Daemon, Home, NO_CALL, SOON, wait_for},
    processes,
};

/// A daemon in the middle of its first call, of 8 s.
fn calling(home: &Home) -> Daemon {
    home.configure("");
    let daemon = home.start();
    wait_for("a call at work", SOON, || {
        let at_work = |call: &PathBuf| processes::processor_seconds(call).is_some_and(|seconds| seconds > 0.3);
        processes::calls(home).into_iter().find(at_work)
    });
    assert_eq!(daemon.metric("bellwether_probe_runs_total{probe=\"call\"}"), Some(0.0), "the call is over");
    assert_eq!(processes::of(home).len(), 2, "the daemon and its call");
    daemon
}

#[test]
fn asked_to_stop_amid_a_call_it_ends_well_and_leaves_no_process() {
    let home = Home::new("");
    let lines = calling(&home).stops_in_time(libc::SIGTERM);
    assert!(!lines.iter().any(|line| line.contains("did not end in time")), "the call was not asked to end: {lines:?}");
    assert_eq!(processes::of(&home), Vec::<PathBuf>::new());
}

#[test]
fn killed_amid_a_call_it_leaves_no_process() {
    let home = Home::new("");
    drop(calling(&home)); // kills it
    wait_for("the call to end", Duration::from_secs(10), || processes::of(&home).is_empty().then_some(()));
}

#[test]
fn asked_to_stop_amid_a_version_source_it_leaves_no_process() {
    // A number that no other process sleeps for.
    let seconds = format!("7{}.25", std::process::id());
    let source = format!("command = [\"/bin/sleep\", \"{seconds}\"]\ntimeout = \"50 s\"\n");
    let home = Home::new(&format!("{NO_CALL}[probe.versions.components.x]\n{source}"));
    let daemon = home.start();
    let sleeping = || processes::called_with(&seconds);
    wait_for("the source", SOON, || (!sleeping().is_empty()).then_some(()));
    daemon.stops_in_time(libc::SIGTERM);
    assert_eq!(sleeping(), Vec::<PathBuf>::new());
}

#[test]
fn an_interrupt_stops_it_as_well() {
    Home::new(NO_CALL).start().stops_in_time(libc::SIGINT);
}

#[test]
fn a_reader_that_never_reads_does_not_hold_up_the_stop() {
    let home = Home::new(NO_CALL);
    let daemon = home.start();
    let mut half = TcpStream::connect(daemon.address()).expect("a connection");
    half.write_all(b"GET /metrics HTTP/1.1\r\n").expect("half a request");
    let _silent = TcpStream::connect(daemon.address()).expect("a connection");
    daemon.stops_in_time(libc::SIGTERM);
}
