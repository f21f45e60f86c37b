//! SIGHUP: a new config is taken whole or not at all, and what it does not change goes on.

use std::{collections::BTreeSet, fs};

use crate::{
    daemon::{Daemon, Home, NEXT_RUN, NO_CALL, OWN_VERSION, SOON, wait_for},
    http::{self, Page},
    processes,
};

fn runs(daemon: &Daemon, probe: &str) -> Option<f64> {
    daemon.metric(&format!("bellwether_probe_runs_total{{probe=\"{probe}\"}}"))
}

fn names(daemon: &Daemon) -> BTreeSet<String> {
    daemon.metrics().into_keys().collect()
}

fn of_probe(daemon: &Daemon, probe: &str) -> Vec<String> {
    names(daemon).into_iter().filter(|series| series.contains(&format!("probe=\"{probe}\""))).collect()
}

#[test]
fn a_reload_amid_a_call_and_a_fetch_keeps_what_it_does_not_change() {
    let page = Page::start(true);
    let other = Page::start(true);
    let call = "[probe.call]\nschedule = \"* * * * *\"\nduration = \"8 s\"\n[probe.voice]\nenabled = false\n";
    let lasting = page.probe("lasting", "timeout = \"50 s\"");
    let before = format!("{call}{lasting}{}{}", page.probe("slow", "timeout = \"50 s\""), other.probe("leaving", ""));
    let home = Home::new(&before);
    let daemon = home.start();
    let probes = ["box", "call", "lasting", "leaving", "slow", "versions"];
    probes.iter().for_each(|probe| daemon.wait_for_runs(probe, 1.0, SOON));

    // The next runs: a fetch that is held up, and a call beside it.
    page.set_open(false);
    let asked = page.asked();
    wait_for("the next fetch", NEXT_RUN, || (page.asked() > asked).then_some(()));
    wait_for("the next call", SOON, || (!processes::calls(&home).is_empty()).then_some(()));
    let counted = |probe| runs(&daemon, probe);
    let counts: Vec<_> = probes.iter().map(|probe| counted(probe)).collect();

    home.configure(&format!(
        "{call}{lasting}{}{}",
        page.probe("slow", "timeout = \"40 s\""),
        other.probe("joining", "")
    ));
    assert!(daemon.reload());
    let timeout = |probe: &str| daemon.metric(&format!("bellwether_probe_timeout_seconds{{probe=\"{probe}\"}}"));
    assert_eq!((timeout("slow"), timeout("lasting")), (Some(40.0), Some(50.0)));
    for (probe, before) in probes.iter().zip(&counts).filter(|(probe, _)| **probe != "leaving") {
        // What ran meanwhile may have ended, but nothing began anew.
        assert!(counted(probe) >= *before, "{probe}: {before:?}, then {:?}", counted(probe));
    }
    assert_eq!(of_probe(&daemon, "leaving"), Vec::<String>::new());
    assert_eq!(counted("joining"), Some(0.0));

    // What was under way comes out, and what joined runs with the next minute.
    page.set_open(true);
    for (probe, before) in ["call", "lasting", "box"].iter().map(|probe| (probe, counts[position(&probes, probe)])) {
        daemon.wait_for_runs(probe, before.unwrap_or_default() + 1.0, NEXT_RUN);
    }
    daemon.wait_for_runs("slow", 2.0, NEXT_RUN);
    daemon.wait_for_runs("joining", 1.0, NEXT_RUN);
    let failed = |probe: &str| daemon.metric(&format!("bellwether_probe_success{{probe=\"{probe}\"}}"));
    assert_eq!((failed("slow"), failed("lasting"), failed("joining")), (Some(1.0), Some(1.0), Some(1.0)));
    assert_eq!(of_probe(&daemon, "leaving"), Vec::<String>::new());
    daemon.stop();
}

fn position(probes: &[&str], probe: &str) -> usize {
    probes.iter().position(|found| *found == probe).expect("one of them")
}

/// The page has the same series as before.
fn assert_shows(daemon: &Daemon, before: &BTreeSet<String>) {
    let now = names(daemon);
    assert_eq!(now.symmetric_difference(before).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_bad_config_changes_nothing_and_a_mended_one_is_taken() {
    let page = Page::start(true);
    // Without the box, whose disks and cards may come and go.
    let rest = format!("{NO_CALL}[probe.box]\nenabled = false\n");
    let good = format!("{rest}{}", page.probe("portal", ""));
    let home = Home::new(&good);
    let daemon = home.start();
    daemon.wait_for_runs("portal", 1.0, SOON);
    daemon.wait_for_metric(OWN_VERSION, 1.0, SOON);
    let successful = |daemon: &Daemon| daemon.metric("bellwether_config_last_reload_successful");
    let taken_at = |daemon: &Daemon| daemon.metric("bellwether_config_last_reload_success_timestamp_seconds");
    let (before, first) = (names(&daemon), taken_at(&daemon));
    assert_eq!(successful(&daemon), Some(1.0));

    // One mistake in what would add a probe, take one away and switch another off.
    let versions_off = "[probe.versions]\nenabled = false\n";
    home.configure(&format!("{rest}{}{versions_off}[school]\nnaem = \"x\"\n", page.probe("another", "")));
    assert!(!daemon.reload());
    assert_shows(&daemon, &before);
    assert_eq!((successful(&daemon), taken_at(&daemon)), (Some(0.0), first));
    assert!(daemon.logged("school.naem") > 0, "the mistake is not in the log");
    // Nor does a file that is gone.
    fs::remove_file(home.config()).expect("our own file");
    assert!(!daemon.reload());
    assert_shows(&daemon, &before);
    assert_eq!(successful(&daemon), Some(0.0));

    home.configure(&good);
    assert!(daemon.reload());
    assert_shows(&daemon, &before);
    assert_eq!(successful(&daemon), Some(1.0));
    assert!(taken_at(&daemon) > first);
    daemon.stop();
}

#[test]
fn a_drop_in_is_read_and_a_second_one_that_says_the_same_is_not_taken() {
    let home = Home::new(NO_CALL);
    let daemon = home.start();
    let folder = home.path().join("conf.d");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("a.toml"), "[room]\nid = \"r7\"\n").expect("a file");
    assert!(daemon.reload());
    let room = |daemon: &Daemon| names(daemon).into_iter().find(|name| name.starts_with("bellwether_room_info"));
    assert!(room(&daemon).is_some_and(|room| room.contains("room=\"r7\"")));
    fs::write(folder.join("b.toml"), "[room]\nid = \"r8\"\n").expect("a file");
    assert!(!daemon.reload());
    assert!(room(&daemon).is_some_and(|room| room.contains("room=\"r7\"")));
    daemon.stop();
}

/// A port that is free at all addresses and stays so: it lies below those that a system gives to whoever asks
/// for any.
fn port_of_nobody() -> u16 {
    let mut ports = 20_000 + std::process::id() as u16 % 10_000..;
    ports.find(|port| std::net::TcpListener::bind(("0.0.0.0", *port)).is_ok()).expect("a free port")
}

#[test]
fn the_listener_moves_and_a_taken_port_loses_nothing() {
    let home = Home::new(NO_CALL);
    let mut daemon = home.start();
    let first = daemon.address().to_owned();
    let listen =
        |address: &str, more: &str| home.write_config(&format!("[web]\nlisten = \"{address}\"\n{NO_CALL}{more}"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken_address = taken.local_addr().expect("an address").to_string();
    listen(&taken_address, "[room]\nid = \"elsewhere\"\n");
    assert!(!daemon.reload());
    assert!(daemon.logged(&taken_address) > 0, "the address is not in the log");
    assert_eq!(daemon.metric("bellwether_config_last_reload_successful"), Some(0.0));
    assert!(!names(&daemon).iter().any(|name| name.contains("elsewhere")), "half of the config was taken");

    let port = port_of_nobody();
    listen(&format!("127.0.0.2:{port}"), "");
    assert!(daemon.reload());
    daemon.moved_to(format!("127.0.0.2:{port}"));
    assert_eq!(http::get(daemon.address(), "/-/ready").status, 200);
    assert_eq!(daemon.metric("bellwether_config_last_reload_successful"), Some(1.0));
    wait_for("the old listener to go", SOON, || http::try_get(&first, "/-/ready").is_err().then_some(()));

    // The usual change: the same port, for everybody. The old listener is in its way.
    listen(&format!("0.0.0.0:{port}"), "");
    assert!(daemon.reload());
    daemon.moved_to(format!("127.0.0.1:{port}"));
    assert_eq!(http::get(daemon.address(), "/-/ready").status, 200);
    daemon.stop();
}
