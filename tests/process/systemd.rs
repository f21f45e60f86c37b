//! What systemd is told, over the socket it names.

use std::{
    os::unix::net::UnixDatagram,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use crate::daemon::{Daemon, Home, NO_CALL, SOON, program, wait_for};

/// The end of the socket that systemd holds.
struct Manager {
    notices: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn listen(home: &Home) -> Self {
        let socket = UnixDatagram::bind(home.path().join("notify")).expect("a socket");
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                heard.lock().expect("no listener panics").push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
        });
        Self { notices }
    }

    fn notices(&self) -> Vec<String> {
        self.notices.lock().expect("no listener panics").clone()
    }

    /// Numbers of the notices that say `line`.
    fn saying(&self, line: &str) -> Vec<usize> {
        let notices = self.notices();
        (0..notices.len()).filter(|at| notices[*at].lines().any(|found| found == line)).collect()
    }

    fn wait_for(&self, line: &str, count: usize) -> usize {
        wait_for(&format!("{count} times {line}"), SOON, || self.saying(line).get(count - 1).copied())
    }
}

/// The daemon as systemd starts it; `more` are variables, in a shell's words.
fn start(home: &Home, more: &str) -> Daemon {
    let daemon = home.command([]);
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{more} exec \"$@\"")).arg("sh").arg(daemon.get_program()).args(daemon.get_args());
    for (name, _) in program().get_envs() {
        shell.env_remove(name);
    }
    shell.env("NOTIFY_SOCKET", home.path().join("notify"));
    Daemon::start(shell)
}

#[test]
fn systemd_is_told_of_start_reload_and_stop_in_order() {
    let home = Home::new(NO_CALL);
    let manager = Manager::listen(&home);
    let daemon = start(&home, "");
    let ready = manager.wait_for("READY=1", 1);
    assert!(manager.notices()[ready].contains("STATUS="), "{:?}", manager.notices());
    assert!(manager.notices()[ready].contains(daemon.address()), "{:?}", manager.notices());

    // A config that is taken, and one that is not: the reload ends either way.
    for (round, config) in [(1, NO_CALL), (2, "nonsense")] {
        home.configure(config);
        daemon.reload();
        let ready = manager.wait_for("READY=1", round + 1);
        let reloading = manager.saying("RELOADING=1")[round - 1];
        assert!(reloading < ready);
        let notice = &manager.notices()[reloading];
        let micros = notice.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(micros.is_some_and(|micros| micros.parse::<u64>().is_ok_and(|micros| micros > 0)), "{notice}");
    }

    daemon.stop();
    let stopping = manager.wait_for("STOPPING=1", 1);
    assert!(manager.saying("READY=1").iter().all(|ready| *ready < stopping));
    assert!(manager.saying("WATCHDOG=1").is_empty(), "nobody asked for it");
}

#[test]
fn the_watchdog_is_fed_while_it_watches() {
    let home = Home::new(NO_CALL);
    let manager = Manager::listen(&home);
    let daemon = start(&home, "WATCHDOG_USEC=1000000 WATCHDOG_PID=$$");
    manager.wait_for("WATCHDOG=1", 5);
    assert_eq!(manager.saying("READY=1").len(), 1);
    daemon.stop();
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let home = Home::new(NO_CALL);
    let manager = Manager::listen(&home);
    let daemon = start(&home, "WATCHDOG_USEC=30000 WATCHDOG_PID=1");
    // Each turn of the loop would feed it, and each reload is one.
    for round in 1..=3 {
        daemon.reload();
        manager.wait_for("READY=1", round + 1);
    }
    daemon.stop();
    manager.wait_for("STOPPING=1", 1);
    assert!(manager.saying("WATCHDOG=1").is_empty());
}
