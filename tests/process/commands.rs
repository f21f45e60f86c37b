//! What needs no daemon: help, version, check of a config.

use std::{fs::File, process::Stdio};

use crate::daemon::{Ended, Home, NO_CALL, ROOM, SCHOOL, program};

#[test]
fn help_and_version_are_printed() {
    let help = Ended::of(program().arg("--help"));
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for word in [
        "inspect",
        "analyse",
        "check-config",
        "reflect",
        "bookings",
        "calendar",
        "slots",
        "explain",
        "holidays",
        "quiet",
        "--config",
        "--state",
    ] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    assert!(!help.stdout.contains("probe-worker"), "not for people");
    let version = Ended::of(program().arg("--version"));
    assert_eq!(version.code, 0);
    assert!(version.stdout.starts_with(concat!("bellwether ", env!("CARGO_PKG_VERSION"), " (")), "{}", version.stdout);
    let unknown = Ended::of(program().arg("inspekt"));
    assert_eq!((unknown.code, unknown.stdout.as_str()), (2, ""));
    assert!(unknown.stderr.contains("inspect"), "{}", unknown.stderr);
}

#[test]
fn a_config_is_checked_without_a_daemon() {
    let home = Home::new(&format!("{NO_CALL}{SCHOOL}{ROOM}"));
    let good = home.run(["check-config"]);
    assert_eq!((good.code, good.stderr.as_str()), (0, ""));
    assert_eq!(good.stdout, "the config is good: 3 probes, 1 channel\n");

    let other = home.path().join("other.toml");
    let other = other.to_str().expect("UTF-8");
    std::fs::write(other, "[site]\ntimezone = \"Mars\"\n[room]\nusers = \"many\"\n").expect("a file");
    let bad = home.run(["check-config", other]);
    assert_eq!((bad.code, bad.stdout.as_str()), (78, ""));
    assert_eq!(bad.stderr.lines().count(), 3, "{}", bad.stderr);
    for line in ["other.toml:2: site.timezone", "other.toml:4: room.users"] {
        assert!(bad.stderr.contains(line), "{line}: {}", bad.stderr);
    }
    let missing = home.run(["check-config", "/nonexistent/bellwether.toml"]);
    assert_eq!((missing.code, missing.stderr.lines().count()), (78, 1), "{}", missing.stderr);
    assert!(!home.state().exists(), "a check leaves no state");
}

#[test]
fn what_a_booking_would_lack_is_said_beforehand() {
    let home = Home::new(&format!("{NO_CALL}[school]\nname = \"Test School\"\n"));
    let good = home.run(["check-config"]);
    assert_eq!((good.code, good.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = good.stdout.lines().collect();
    let lacks = |what: &str| format!("bookings would be incomplete and go nowhere but into folders: {what} is missing");
    let expected = ["room.name", "school.contact.name", "school.contact.phone, or school.contact.email,"].map(lacks);
    assert_eq!(
        (lines[0], &lines[1..]),
        ("the config is good: 3 probes, 1 channel", &expected.each_ref().map(|line| &line[..])[..])
    );
}

#[test]
fn an_answer_that_cannot_be_printed_is_said_so_and_a_reader_that_goes_is_no_failure() {
    let home = Home::new(NO_CALL);
    let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
    let child = home.command(["check-config"]).stdout(full).stderr(Stdio::piped()).spawn().expect("it starts");
    let ended = child.wait_with_output().expect("our own child");
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), complaint.lines().count()), (Some(74), 1), "{complaint}");
    assert!(complaint.starts_with("bellwether: the answer could not be printed"), "{complaint}");

    let mut child =
        home.command(["check-config"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("our own child");
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{}", String::from_utf8_lossy(&ended.stderr));
}
