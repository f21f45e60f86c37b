//! Starting, with next to no config, and whatever keeps the daemon from starting.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use crate::{
    daemon::{Daemon, Ended, Home, NEXT_RUN, NO_CALL, SOON, wait_for},
    http,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn without_any_config_the_first_inspection_gives_media_resources_and_versions() {
    let home = Home::new("");
    let daemon = home.start();
    assert_eq!(http::get(daemon.address(), "/-/ready").status, 200);
    assert_eq!(http::get(daemon.address(), "/-/healthy").status, 200);
    assert_eq!(http::get(daemon.address(), "/").status, 200);
    assert_eq!(http::get(daemon.address(), "/nothing").status, 404);

    // The call takes 8 s of it.
    let complete = |names: &[&str]| {
        let metrics = daemon.metrics();
        names.iter().all(|name| metrics.keys().any(|series| series.starts_with(name))).then_some(())
    };
    let wanted = [
        "bellwether_media_success{probe=\"call\"}",
        "bellwether_media_path_info{probe=\"call\",stream=\"audio\",class=\"forward\",codec=\"opus\",profile=\"\"}",
        "bellwether_media_path_info{probe=\"call\",stream=\"video\",class=\"forward\",codec=\"H264\",profile=\"42",
        "bellwether_cpu_utilization_ratio{probe=\"box\"",
        "bellwether_memory_utilization_ratio{probe=\"box\"",
        "bellwether_component_info{component=\"os\"",
        "bellwether_component_info{component=\"kernel\"",
        "bellwether_component_info{component=\"bellwether\"",
    ];
    wait_for("the first inspection", Duration::from_secs(20), || complete(&wanted));
    assert_eq!(daemon.metric("bellwether_media_success{probe=\"call\"}"), Some(1.0));
    assert_eq!(daemon.metric("bellwether_commit_failures_total"), Some(0.0));
    assert_eq!(daemon.metric("bellwether_booking_duplicates_total{channel=\"folder\"}"), Some(0.0));
    assert_eq!(http::get(daemon.address(), "/-/ready").status, 200);
    daemon.stop();
}

#[test]
fn the_state_is_not_readable_by_everybody() {
    let home = Home::new(NO_CALL);
    let daemon = home.start();
    daemon.wait_for_runs("box", 1.0, SOON);
    let mut paths = vec![home.state()];
    paths.extend(fs::read_dir(home.state()).expect("a folder").map(|entry| entry.expect("an entry").path()));
    assert!(paths.contains(&home.ledger()));
    for path in paths {
        assert_eq!(mode(&path) & 0o007, 0, "{} is {:o}", path.display(), mode(&path));
    }
    daemon.stop();
}

/// A home with a component whose version is read by leaving a mark.
fn marked() -> (Home, std::path::PathBuf) {
    let home = Home::new("");
    let mark = home.path().join("probed");
    home.configure(&marking(&mark));
    (home, mark)
}

fn marking(mark: &Path) -> String {
    format!(
        "{NO_CALL}[probe.versions.components.mark]\ncommand = [\"/bin/sh\", \"-c\", \"echo 1 | tee {}\"]\n",
        mark.display()
    )
}

/// It ended with this code, one line that says `why`, and without having probed.
fn assert_refused(ended: &Ended, code: i32, why: &str, mark: &Path) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("bellwether: ") && ended.stderr.contains(why), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert!(!mark.exists(), "a probe ran");
}

/// Makes a ledger and closes it: a stop on a busy box may leave that to the next start.
fn make_ledger(home: &Home, mark: &Path) {
    wait_for("a ledger that is closed", 2 * SOON, || {
        assert_starts(home, mark);
        fs::remove_file(mark).expect("the mark");
        (!home.state().join("bellwether.db-wal").exists()).then_some(())
    });
}

/// The next start works, and does probe.
fn assert_starts(home: &Home, mark: &Path) {
    let daemon = home.start();
    wait_for("the mark of the probe", SOON, || mark.exists().then_some(()));
    daemon.stop();
}

#[test]
fn a_bad_config_is_refused_with_every_mistake() {
    let (home, mark) = marked();
    let good = fs::read_to_string(home.config()).expect("the config");
    home.write_config(&format!("{good}[school]\nnaem = 1\n[site]\ntimezone = \"Mars\"\n"));
    let ended = home.fails_to_start();
    assert_eq!(ended.code, 78);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stderr);
    assert!(lines[0].starts_with("bellwether: ") && lines[0].contains("2 mistakes in the config"), "{}", lines[0]);
    assert!(lines[1].contains("bellwether.toml:") && lines[1].contains("school.naem"), "{}", lines[1]);
    assert!(lines[2].contains("bellwether.toml:") && lines[2].contains("site.timezone"), "{}", lines[2]);
    assert!(!mark.exists() && !home.state().exists());

    fs::remove_file(home.config()).expect("our own file");
    assert_refused(&home.fails_to_start(), 78, "bellwether.toml", &mark);
    home.write_config(&good);
    assert_starts(&home, &mark);
}

#[test]
fn a_port_in_use_is_said_once_and_holds_back_nothing_else() {
    let (home, mark) = marked();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    home.write_config(&format!("[web]\nlisten = \"{address}\"\n{}", marking(&mark)));
    let daemon = Daemon::launch(home.command([]));
    daemon.wait_for_line(&format!("cannot listen on {address}"), SOON);
    wait_for("the mark of the probe", SOON, || mark.exists().then_some(()));
    drop(taken);
    daemon.wait_for_line(&format!("listening on http://{address}"), NEXT_RUN);
    assert_eq!(daemon.logged("cannot listen"), 1, "{:?}", daemon.lines());
    daemon.stop();
}

#[test]
fn a_state_folder_below_a_file_is_refused() {
    let (home, mark) = marked();
    let file = home.path().join("file");
    fs::write(&file, "kept").expect("a file");
    let mut command = crate::daemon::program();
    command.arg("--config").arg(home.config()).arg("--state").arg(file.join("below"));
    assert_refused(&Ended::of(&mut command), 73, "file/below", &mark);
    assert_eq!(fs::read(&file).expect("the file"), b"kept");
}

#[test]
fn a_damaged_database_is_set_aside_and_kept() {
    // One that never was a database, and one that was.
    for foreign in [true, false] {
        let (home, mark) = marked();
        if foreign {
            fs::create_dir(home.state()).expect("a folder");
            fs::write(home.ledger(), "this is no database\n".repeat(1000)).expect("a file");
        } else {
            make_ledger(&home, &mark);
            let file = fs::OpenOptions::new().write(true).open(home.ledger()).expect("the ledger");
            let length = file.metadata().expect("the ledger").len();
            file.write_all_at(&vec![0xff; usize::try_from(length).expect("small") - 2048], 2048).expect("written");
        }
        let damaged = fs::read(home.ledger()).expect("the ledger");
        assert_refused(&home.fails_to_start(), 65, "set aside", &mark);
        assert!(!home.ledger().exists());
        let kept = |home: &Home| {
            let entries = fs::read_dir(home.state()).expect("a folder").map(|entry| entry.expect("an entry").path());
            let aside = |path: &std::path::PathBuf| path.to_string_lossy().contains("bellwether.db.damaged-");
            entries.filter(aside).map(|path| fs::read(path).expect("a file")).collect::<Vec<_>>()
        };
        assert!(kept(&home).contains(&damaged), "foreign: {foreign}");
        assert_starts(&home, &mark);
        assert!(kept(&home).contains(&damaged), "foreign: {foreign}");
        assert_eq!(home.bookings().len(), 0);
    }
}

#[test]
fn a_newer_database_is_left_alone() {
    let (home, mark) = marked();
    make_ledger(&home, &mark);
    // The schema's number: `user_version` in the header of the file (sqlite.org/fileformat2.html, 1.3).
    let file = fs::OpenOptions::new().write(true).open(home.ledger()).expect("the ledger");
    file.write_all_at(&9999_u32.to_be_bytes(), 60).expect("written");
    let before = fs::read(home.ledger()).expect("the ledger");
    assert_refused(&home.fails_to_start(), 76, "9999", &mark);
    assert_eq!(fs::read(home.ledger()).expect("the ledger"), before);
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let (home, mark) = marked();
    let daemon = home.start();
    wait_for("the mark of the probe", SOON, || mark.exists().then_some(()));
    fs::remove_file(&mark).expect("the mark");
    assert_refused(&home.fails_to_start(), 75, "another bellwether", &mark);
    // The first one goes on.
    assert_eq!(http::get(daemon.address(), "/-/ready").status, 200);
    daemon.stop();
}
