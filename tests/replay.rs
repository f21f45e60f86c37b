//! The command `replay`, as a user runs it: a history of one room and of nine, its bookings, and what bad input
//! gets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};

const SITE: &str = r#"
[site]
timezone = "Asia/Shanghai"

[metrics.rtt_ms]
worse = "up"
scale = "log"
material = 1.4
family = "net"

[metrics.cpu_utilization]
limit = "85 %"
"#;

/// Five minutes, in seconds.
const STEP: i64 = 300;
/// 2026-03-02T00:00:00Z, a Monday.
const BEGIN: i64 = 1_772_409_600;
/// Days that are recorded.
const DAYS: i64 = 24;
/// When the fault begins: day 20, 02:00.
const FAULT: i64 = BEGIN + 20 * 86_400 + 7200;

fn site(rooms: usize) -> String {
    let mut text = SITE.to_owned();
    for room in 0..rooms {
        write!(text, "\n[[rooms]]\nid = \"r{room:03}\"\nbuilding = \"b0\"\nservice = \"sfu-1\"\n").unwrap();
    }
    text
}

/// Some noise that is the same each time, from −1 to 1.
fn noise(seed: i64) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A healthy history, but for room r000, whose way to the media server takes twice as long from a day on.
fn history(rooms: i64) -> String {
    let mut lines = String::new();
    for at in (BEGIN..BEGIN + DAYS * 86_400).step_by(STEP as usize) {
        for room in 0..rooms {
            let seed = at / STEP * 64 + room;
            let slow = if room == 0 && at >= FAULT { 2.0 } else { 1.0 };
            let (rtt, cpu) = (slow * (20.0 + 2.0 * noise(seed)), 0.3 + 0.05 * noise(seed + 7));
            writeln!(
                lines,
                r#"{{"ts":{at},"labels":{{"room":"r{room:03}"}},"values":{{"rtt_ms":{rtt:.2},"cpu_utilization":{cpu:.3}}}}}"#
            )
            .unwrap();
        }
    }
    lines
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(rooms: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("site.toml"), site(rooms)).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command.current_dir(&self.0).args(["--config", "site.toml", "replay"]).args(arguments);
        command
    }

    fn replay(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints of a good history.
    fn bookings(&self, arguments: &[&str]) -> String {
        let output = self.replay(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{:?}: {said}", output.status);
        assert!(said.contains(" values ("), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn opened(bookings: &str) -> Vec<serde_json::Value> {
    let lines = bookings.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["action"] == "open").collect()
}

#[test]
fn a_slow_room_is_booked_once_beside_its_sisters_and_alone() {
    for (rooms, peers) in [(9, serde_json::json!(8)), (1, serde_json::json!("none"))] {
        let folder = Folder::new(rooms);
        folder.file("history.jsonl", &history(rooms as i64));
        let bookings = folder.bookings(&["history.jsonl"]);
        let opened = opened(&bookings);
        assert_eq!(opened.len(), 1, "{rooms} rooms: {bookings}");
        let booking = &opened[0];
        assert_eq!(booking["rooms"], serde_json::json!(["r000"]), "{booking}");
        assert_eq!(booking["metrics"], serde_json::json!(["rtt_ms"]), "{booking}");
        assert_eq!((&booking["cause"], &booking["peers"]), (&serde_json::json!("room"), &peers), "{booking}");
        // 2026-03-22T02:00Z began it; a doubled time is 2.06 material, found in about three and a half hours.
        assert_eq!(booking["onset"], "2026-03-22T02:00:00Z", "{booking}");
        let found = booking["ts"].as_str().unwrap();
        assert!(("2026-03-22T04:00:00Z".."2026-03-22T08:00:00Z").contains(&found), "{booking}");
    }
}

#[test]
fn files_in_parts_compressed_and_by_a_pipe_say_the_same() {
    let folder = Folder::new(1);
    let history = history(1);
    folder.file("whole.jsonl", &history);
    let whole = folder.bookings(&["whole.jsonl"]);
    let middle = history.len() / 2 + history[history.len() / 2..].find('\n').unwrap() + 1;
    folder.file("first.jsonl", &history[..middle]);
    folder.file("second.jsonl", &history[middle..]);
    assert_eq!(folder.bookings(&["first.jsonl", "second.jsonl"]), whole);

    let first = folder.bookings(&["first.jsonl", "--state-out", "state"]);
    assert_eq!(first + &folder.bookings(&["second.jsonl", "--state-in", "state"]), whole);

    let mut packed = GzEncoder::new(File::create(folder.0.path().join("whole.jsonl.gz")).unwrap(), Compression::fast());
    packed.write_all(history.as_bytes()).unwrap();
    packed.finish().unwrap();
    assert_eq!(folder.bookings(&["whole.jsonl.gz"]), whole);

    let mut piped = folder.command(&["-"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(history.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(piped.wait_with_output().unwrap().stdout).unwrap(), whole);
}

#[test]
fn a_span_bounds_what_is_read_and_two_configs_are_compared() {
    let folder = Folder::new(1);
    folder.file("history.jsonl", &history(1));
    assert!(opened(&folder.bookings(&["history.jsonl", "--to", "2026-03-22T02:00:00Z"])).is_empty());
    // What is material only beyond twice is not booked.
    folder.file("other.toml", &site(1).replace("material = 1.4", "material = 4.0"));
    let differ = folder.bookings(&["history.jsonl", "--compare", "other.toml"]);
    let line: serde_json::Value = serde_json::from_str(differ.trim()).unwrap();
    assert_eq!(
        (&line["action"], &line["only"]),
        (&serde_json::json!("compare"), &serde_json::json!("first")),
        "{line}"
    );
    assert_eq!(folder.bookings(&["history.jsonl", "--compare", "site.toml"]), "");
    assert!(folder.bookings(&["history.jsonl", "--explain"]).contains(r#""action":"explain""#));
}

/// How it ends, and what it says.
fn refused(folder: &Folder, arguments: &[&str]) -> (i32, String) {
    let output = folder.replay(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn bad_input_is_named() {
    let folder = Folder::new(1);
    folder.file(
        "bad.jsonl",
        "{\"ts\":1772409600,\"metric\":\"rtt_ms\",\"labels\":{\"room\":\"r000\"},\"value\":20}\n{\"ts\":\n",
    );
    let (code, said) = refused(&folder, &["bad.jsonl"]);
    assert!(code == 2 && said.contains("bad.jsonl: line 2"), "{code}: {said}");
    assert!(folder.replay(&["bad.jsonl", "--skip-bad"]).status.success());

    let (code, said) = refused(&folder, &["missing.jsonl"]);
    assert!(code == 66 && said.contains("missing.jsonl"), "{code}: {said}");

    for (state, expected) in [("{", "cannot be read"), (r#"{"format":99}"#, "format 99"), ("\0\u{1}", "cannot be read")]
    {
        folder.file("state", state);
        let (code, said) = refused(&folder, &["bad.jsonl", "--state-in", "state"]);
        assert!(code == 65 && said.contains(expected), "{code}: {said}");
        assert_eq!(fs::read_to_string(folder.0.path().join("state")).unwrap(), state, "it was not left as it is");
    }
}

#[test]
fn all_mistakes_of_a_site_file_are_told_at_once() {
    let folder = Folder::new(1);
    folder.file(
        "site.toml",
        r#"
[site]
timezone = "Mars/Olympus"
[engine]
caution = "some"
[metrics.rtt_ms]
scale = "log"
material = 0.5
[metrics.cpu_utilization]
limit = "85 parsecs"
[[rooms]]
id = "r000"
[[rooms]]
id = "r000"
"#,
    );
    folder.file("history.jsonl", "");
    let (code, said) = refused(&folder, &["history.jsonl"]);
    assert_eq!(code, 78, "{said}");
    for expected in [
        "site.toml:3: site.timezone",
        "site.toml:5: engine.caution",
        "site.toml:6: metrics.rtt_ms.worse: found none",
        "site.toml:8: metrics.rtt_ms.material: found \"0.5\"",
        "site.toml:10: metrics.cpu_utilization.limit",
        "rooms[1].id: found \"r000\" a second time",
    ] {
        assert!(said.contains(expected), "{expected} is not said: {said}");
    }
}
