//! A box with four weeks of history and a toy service that a Debian package brings: slowed by an upgrade of
//! that package, slowed without one, and crowded. The service, the package and the probes are real; the
//! clock is the test's. Needs root, and Debian: `tests/run debian`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends when something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "waits end")]

mod school;

use std::{
    fmt::Write as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bellwether::bookings;
use bellwether_agent::site::Language;
use chrono::{DateTime, TimeDelta, Utc};
use school::{Metrics, NO_CALL, ROOM, School, local, runs};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const PACKAGE: &str = "bellwether-toy-service";
/// What the package brings: how long the service takes to answer, in milliseconds.
const DELAY: &str = "/usr/share/bellwether-toy-service/delay";
const START: &str = "2026-11-24T06:00";

/// Lessons from eight to five on each day of the week.
const TIMETABLE: &str = r#"
[holidays]
country = ""
[[timetable.bells]]
periods = ["08:00-12:00", "12:00-17:00"]
[[timetable.term]]
first_day = "2026-10-19"
weeks = 8
lessons = ["Mon 1-2: 课", "Tue 1-2: 课", "Wed 1-2: 课", "Thu 1-2: 课", "Fri 1-2: 课", "Sat 1-2: 课", "Sun 1-2: 课"]
"#;

/// Users of the media server now.
static USERS: AtomicU64 = AtomicU64::new(0);

fn install(version: &str, delay: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("DEBIAN")).expect("a folder");
    let control = format!(
        "Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\nMaintainer: bellwether <bellwether@localhost>\n\
         Description: toy service of a test\n"
    );
    std::fs::write(root.join("DEBIAN/control"), control).expect("a file");
    let file = root.join(DELAY.trim_start_matches('/'));
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(file, delay.as_millis().to_string()).expect("a file");
    let package = folder.path().join("toy.deb");
    run(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&root).arg(&package));
    run(Command::new("dpkg").arg("--install").arg(&package));
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes the package away whatever happens.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        let _gone = Command::new("dpkg").args(["--purge", PACKAGE]).output();
    }
}

/// Answers `/` after as long as the package says, and `/load` at once.
async fn serve(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).await.unwrap_or_default();
            let body = if bytes[..length].starts_with(b"GET /load") {
                json!({ "users": USERS.load(Ordering::Relaxed) }).to_string()
            } else {
                let delay = std::fs::read_to_string(DELAY).ok().and_then(|text| text.trim().parse().ok());
                tokio::time::sleep(Duration::from_millis(delay.unwrap_or(0))).await;
                "ok".to_owned()
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // A client that went away needs no answer.
            let _gone = stream.write_all((head + &body).as_bytes()).await;
        });
    }
}

/// Users of a plain day.
fn usual(at: DateTime<Utc>) -> u64 {
    let minute = (at - local("2026-01-01T00:00")).num_minutes().rem_euclid(1440);
    if (480..1020).contains(&minute) { 400 + (minute % 97) as u64 } else { 20 + (minute % 7) as u64 }
}

/// Four weeks in which the service took `base` to answer, up to the start.
fn history(base: Duration) -> String {
    let noise = &mut fastrand::Rng::with_seed(5);
    let (end, mut lines) = (local(START), String::new());
    let mut at = end - TimeDelta::days(28);
    let labels = |probe: &str| json!({ "room": ROOM, "probe": probe });
    while at < end {
        if at == local(&format!("{}T00:00", at.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d"))) {
            for hours in [(8, 12), (12, 17)] {
                let (start, end) = (at + TimeDelta::hours(hours.0), at + TimeDelta::hours(hours.1));
                let lesson =
                    json!({ "ts": at, "event": "lesson", "labels": { "room": ROOM }, "start": start, "end": end });
                let _ = writeln!(lines, "{lesson}");
            }
        }
        let response = base.as_secs_f64() * (1.0 + 0.1 * (noise.f64() - 0.3)) + 0.002;
        for (metric, probe, value) in [
            ("page_response", "whiteboard", response),
            ("page_success", "whiteboard", 1.0),
            ("service_users", "load", usual(at) as f64),
        ] {
            let _ =
                writeln!(lines, "{}", json!({ "ts": at, "metric": metric, "labels": labels(probe), "value": value }));
        }
        at += TimeDelta::minutes(5);
    }
    lines
}

/// Imports the history as somebody does who sets up a box in place of another.
fn import(school: &School, base: Duration) {
    let file = school.folder.path().join("history.jsonl");
    std::fs::write(&file, history(base)).expect("a file");
    run(Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .arg("--config")
        .arg(school.config())
        .arg("--state")
        .arg(school.state())
        .args(["history", "import"])
        .arg(&file));
}

/// Lives through `hours`, five minutes at a time.
async fn live(school: &School, hours: i64, users: impl Fn(DateTime<Utc>) -> u64) {
    let mut done = runs(&school.metrics().await, "whiteboard");
    for _ in 0..hours * 12 {
        let at = school.now() + TimeDelta::minutes(5);
        USERS.store(users(at), Ordering::Relaxed);
        school.at(at).await;
        done += 1;
        school.until("the page", |page: &Metrics| runs(page, "whiteboard") >= done).await;
    }
}

/// What was booked beside checks of versions.
async fn faults(state: &Path) -> Vec<Value> {
    let listed = bookings::list(state, Language::English, true).await.expect("the ledger is read");
    let all: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    all.into_iter().filter(|booking| booking["kind"] != "upgrade_check").collect()
}

#[tokio::test]
async fn the_same_slow_down_is_blamed_on_the_version_the_room_or_the_load_as_the_case_is() {
    let (base, slow) = (Duration::from_millis(60), Duration::from_millis(130));
    let _installed = Installed;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener));
    let config = format!(
        "{TIMETABLE}{NO_CALL}\
         [probe.whiteboard]\nkind = \"page\"\nurl = \"http://{address}/\"\nschedule = \"*/5 * * * *\"\n\
         [probe.load]\nkind = \"load\"\nsource = \"json\"\nurl = \"http://{address}/load\"\nusers = \"/users\"\n\
         schedule = \"*/5 * * * *\"\ntimeout = \"10 s\"\n\
         [probe.versions]\nschedule = \"*/5 * * * *\"\n[probe.versions.components.service]\ndeb = \"{PACKAGE}\"\n"
    );
    for case in ["version", "room", "load"] {
        install("1.0.0-1", base);
        School::open_after(
            &config,
            START,
            |school| import(school, base),
            async |school| {
                school.until("the first inspection", |page| runs(page, "whiteboard") == 1).await;
                live(school, 3, usual).await;
                assert_eq!(faults(&school.state()).await, Vec::<Value>::new(), "nothing is wrong");
                match case {
                    "version" => install("1.1.0-1", slow),
                    _ => std::fs::write(DELAY, slow.as_millis().to_string()).expect("a file"),
                }
                live(school, 9, |at| if case == "load" { usual(at) * 3 } else { usual(at) }).await;
                let found = faults(&school.state()).await;
                let [booking] = &found[..] else { panic!("{case}: {found:#?}") };
                assert_eq!(booking["cause"], case, "{booking:#}");
            },
        )
        .await;
    }
}
