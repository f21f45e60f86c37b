//! Somebody asks for quiet: by the command, at the socket, before and after the daemon is killed.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    process::{Child, Command},
};

use crate::daemon::{Daemon, Home, NO_CALL, SOON, wait_for};

const ENGLISH: &str = "[site]\nlanguage = \"en\"\n";

fn quiet(daemon: &Daemon) -> Option<f64> {
    daemon.metric("bellwether_quiet")
}

fn hold(home: &Home) -> PathBuf {
    home.state().join("hold.json")
}

#[test]
fn quiet_holds_through_a_kill_until_it_is_taken_back() {
    let home = Home::new(&format!("{NO_CALL}{ENGLISH}"));
    let daemon = home.start();
    assert_eq!(quiet(&daemon), Some(0.0));
    let shown = home.run(["quiet"]);
    assert_eq!((shown.code, &*shown.stderr), (0, ""));
    assert!(shown.stdout.starts_with("nobody asks for quiet"), "{}", shown.stdout);

    let asked = home.run(["quiet", "for", "1h"]);
    assert_eq!((asked.code, &*asked.stderr), (0, ""));
    assert!(asked.stdout.starts_with("quiet until ") && asked.stdout.contains("(Asia/Shanghai)"), "{}", asked.stdout);
    assert_eq!(asked.stdout.lines().count(), 1, "it is on disk: {}", asked.stdout);
    assert_eq!(quiet(&daemon), Some(1.0), "from the answer on");
    assert_eq!(home.run(["quiet"]).stdout, asked.stdout);

    drop(daemon); // by SIGKILL
    assert!(home.state().join("control.sock").exists(), "nobody could take it away");
    let daemon = home.start();
    assert_eq!(quiet(&daemon), Some(1.0));
    assert_eq!(home.run(["quiet"]).stdout, asked.stdout);
    assert!(daemon.reload());
    assert_eq!(quiet(&daemon), Some(1.0), "a reload changes nothing of it");

    let off = home.run(["quiet", "off"]);
    assert!(off.stdout.starts_with("nobody asks for quiet"), "{}", off.stdout);
    assert_eq!((off.code, quiet(&daemon), hold(&home).exists()), (0, Some(0.0), false));
    daemon.stop();
    assert!(!home.state().join("control.sock").exists(), "the daemon took it away");
    let daemon = home.start();
    assert_eq!(quiet(&daemon), Some(0.0));
    daemon.stop();
}

#[test]
fn without_a_daemon_the_command_says_where_it_looked() {
    let home = Home::new(NO_CALL);
    for arguments in [&["quiet"][..], &["quiet", "off"], &["quiet", "until", "2026-11-30T15:00"]] {
        let mut command = home.command([]);
        let ended = crate::daemon::Ended::of(command.args(arguments));
        assert_eq!((ended.code, &*ended.stdout, ended.stderr.lines().count()), (69, "", 1), "{}", ended.stderr);
        for part in ["no daemon runs here", "state/control.sock", "systemctl start bellwether"] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("/run/bellwether"), "only the daemon of this state is meant");
    }
    assert!(!home.state().exists(), "asking leaves no state");
}

#[test]
fn a_time_that_cannot_be_is_refused_in_the_language_of_the_site() {
    let home = Home::new(NO_CALL);
    let daemon = home.start();
    for (arguments, part) in [
        (["quiet", "until", "soon"], "“soon”不是时间"),
        (["quiet", "until", "2020-01-01 08:00"], "已过"),
        (["quiet", "for", "8d"], "最长为 7 天"),
        (["quiet", "for", "2"], "不是时长"),
    ] {
        let ended = home.run(arguments);
        assert_eq!((ended.code, &*ended.stdout, ended.stderr.lines().count()), (64, "", 1), "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!((quiet(&daemon), hold(&home).exists()), (Some(0.0), false));
    // In two words, and with an offset.
    let two = home.run(["quiet", "for", "90", "min"]);
    assert!(two.stdout.starts_with("静默至 "), "{} {}", two.stdout, two.stderr);
    daemon.stop();
}

/// What the socket answers to a request as it stands.
fn asked(home: &Home, request: &str) -> String {
    let mut stream = UnixStream::connect(home.state().join("control.sock")).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_socket_is_its_owners_and_takes_nothing_that_cannot_be() {
    let home = Home::new(NO_CALL);
    let daemon = home.start();
    let mode = fs::metadata(home.state().join("control.sock")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let post = |body: &str| {
        let head = "POST /quiet HTTP/1.1\r\nHost: x\r\nContent-Length";
        asked(&home, &format!("{head}: {}\r\n\r\n{body}", body.len()))
    };
    for (body, status, part) in [
        ("{\"until\": \"1999-01-01T00:00:00Z\"}", 422, "has passed"),
        ("{\"until\": \"9999-01-01T00:00:00Z\"}", 422, "at most 7 days"),
        ("{\"until\": 7}", 400, "expected"),
        ("", 400, "expected"),
    ] {
        let answer = post(body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{body}: {answer}");
    }
    let shown = asked(&home, "GET /quiet HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(shown.starts_with("HTTP/1.1 200 ") && shown.contains("\"quiet_until\":null"), "{shown}");
    assert_eq!(quiet(&daemon), Some(0.0));
    daemon.stop();
}

#[test]
fn a_broken_hold_is_set_aside_and_one_that_has_ended_is_removed() {
    let home = Home::new(NO_CALL);
    home.start().stop();
    fs::write(hold(&home), "{\"quiet_until\":").expect("a file");
    let daemon = home.start();
    assert_eq!(
        (quiet(&daemon), daemon.logged("cannot be read: no quiet"), hold(&home).exists()),
        (Some(0.0), 1, false)
    );
    let names = fs::read_dir(home.state()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().starts_with("hold.json.damaged-")).count(), 1);
    daemon.stop();
    let ended = r#"{"quiet_until":"2020-01-01T08:00:00Z","asked_at":"2020-01-01T07:00:00Z"}"#;
    fs::write(hold(&home), ended).expect("a file");
    let daemon = home.start();
    assert_eq!((quiet(&daemon), hold(&home).exists()), (Some(0.0), false));
    daemon.stop();
}

#[test]
fn quiet_that_cannot_be_written_holds_now_and_says_that_it_is_forgotten() {
    let home = Home::new(&format!("{NO_CALL}{ENGLISH}"));
    let daemon = home.start();
    // Nothing can be written where a folder stands, whoever asks.
    fs::create_dir(home.state().join("hold.new")).expect("a folder");
    let asked = home.run(["quiet", "for", "1h"]);
    assert_eq!((asked.code, asked.stdout.lines().count(), quiet(&daemon)), (0, 2, Some(1.0)), "{}", asked.stdout);
    assert!(asked.stdout.contains("a restart would forget this: "), "{}", asked.stdout);
    wait_for("the line", SOON, || (daemon.logged("a restart forgets it") == 1).then_some(()));
    drop(daemon);
    let daemon = home.start();
    assert_eq!(quiet(&daemon), Some(0.0), "as was said");
    daemon.stop();
}

/// Only the full call, which is heavy.
const NO_VOICE: &str = "[probe.voice]\nenabled = false\n";

fn skipped(daemon: &Daemon, reason: &str) -> Option<f64> {
    daemon.metric(&format!("bellwether_probe_skipped_total{{probe=\"call\",reason=\"{reason}\"}}"))
}

#[test]
fn heavy_probes_wait_while_it_is_quiet_and_light_ones_go_on() {
    let home = Home::new(NO_CALL);
    let daemon = home.start();
    assert_eq!(home.run(["quiet", "for", "1h"]).code, 0);
    daemon.stop();
    home.configure(NO_VOICE);
    let daemon = home.start();
    daemon.wait_for_runs("box", 1.0, SOON);
    assert_eq!(skipped(&daemon, "quiet"), Some(1.0));
    assert_eq!(daemon.metric("bellwether_probe_runs_total{probe=\"call\"}"), Some(0.0));
    daemon.stop();
}

/// A program of a name that nobody else has; killed when dropped.
struct Lesson(Child, String);

impl Lesson {
    fn start(home: &Home) -> Self {
        let name = format!("bw-lesson-{}", std::process::id());
        let path = home.path().join(&name);
        fs::copy("/bin/sleep", &path).expect("a copy");
        Self(Command::new(path).arg("1000").spawn().expect("it starts"), name)
    }
}

impl Drop for Lesson {
    fn drop(&mut self) {
        self.0.kill().expect("our own child");
        self.0.wait().expect("our own child");
    }
}

#[test]
fn heavy_probes_wait_while_the_room_is_in_use() {
    let home = Home::new("");
    let lesson = Lesson::start(&home);
    let occupied = format!("[occupied]\nprocesses = [\"{}\"]\n", lesson.1);
    home.configure(&format!("{NO_VOICE}{occupied}"));
    let daemon = home.start();
    wait_for("the call to be held back", SOON, || skipped(&daemon, "occupied").filter(|count| *count > 0.0));
    assert_eq!(daemon.metric("bellwether_occupied{component=\"process\"}"), Some(1.0));
    assert_eq!(daemon.metric("bellwether_probe_runs_total{probe=\"call\"}"), Some(0.0));
    assert_eq!(daemon.logged("the room is in use: heavy probes wait"), 1);
    daemon.stop();
    drop(lesson);
    let daemon = home.start();
    daemon.wait_for_runs("call", 1.0, SOON);
    assert_eq!(daemon.metric("bellwether_occupied{component=\"process\"}"), Some(0.0));
    assert_eq!(skipped(&daemon, "occupied"), Some(0.0));
    daemon.stop();
}
