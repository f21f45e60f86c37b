//! The daemon and `replay` agree: a day is lived through by the real loop, with a past, a version that slows
//! a page, and an hour in which the page fails; what was recorded of it is exported and replayed, and gives
//! the same verdicts, the same evidence to the last bit, and the same bookings.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends when something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "waits end")]

mod school;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bellwether::{bookings, config, daemon};
use bellwether_agent::{history, judge, site::Language, store::Store};
use chrono::{TimeDelta, Utc};
use school::{Metrics, NO_CALL, ROOM, School, local, runs};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const START: &str = "2026-11-24T00:00";

const TIMETABLE: &str = r#"
[holidays]
country = ""
[[timetable.bells]]
periods = ["08:00-12:00", "13:00-17:00"]
[[timetable.term]]
first_day = "2026-11-23"
weeks = 2
lessons = ["Tue 1-2: 数学", "Wed 1: 语文"]
"#;

/// How long the page takes, in milliseconds; none if it fails.
static DELAY: AtomicU64 = AtomicU64::new(20);
const FAILS: u64 = u64::MAX;

async fn serve(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            let _request = stream.read(&mut bytes).await;
            let delay = DELAY.load(Ordering::Relaxed);
            let answer = if delay == FAILS { "500 Internal Server Error" } else { "200 OK" };
            if delay != FAILS {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            // A client that went away needs no answer.
            let _gone = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// Ten days of the page, up to the start: of a longer past the oldest days are half-hours by now, rounded.
fn past() -> String {
    let noise = &mut fastrand::Rng::with_seed(5);
    let (mut lines, mut at) = (String::new(), local(START) - TimeDelta::days(10));
    while at < local(START) {
        for (metric, value) in [("page_response", 0.0225 + 0.002 * noise.f64()), ("page_success", 1.0)] {
            let labels = json!({ "room": ROOM, "probe": "portal" });
            let _ = writeln!(lines, "{}", json!({ "ts": at, "metric": metric, "labels": labels, "value": value }));
        }
        at += TimeDelta::minutes(5);
    }
    lines
}

fn run(school: &School, command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .arg("--config")
        .arg(school.config())
        .arg("--state")
        .arg(school.state())
        .args(command)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What a booking is known by in both: cause, metrics and onset.
type Known = (String, Vec<String>, String);

fn booked(bookings: &[Value]) -> Vec<Known> {
    let metrics = |booking: &Value| {
        let evidence = booking["evidence"].as_array().expect("a list");
        let mut names: Vec<String> =
            evidence.iter().map(|one| one["metric"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let onset =
        |at: &Value| at.as_str().expect("a time").parse::<chrono::DateTime<Utc>>().expect("a time").to_rfc3339();
    let faults = bookings.iter().filter(|booking| booking["kind"] != "upgrade_check");
    let mut known: Vec<Known> = faults
        .map(|booking| {
            let cause = booking["cause"].as_str().expect("a word").to_owned();
            (cause, metrics(booking), onset(&booking["judgement"]["onset"]))
        })
        .collect();
    known.sort();
    known
}

fn replayed(lines: &str) -> Vec<Known> {
    // A booking as it was said last.
    let mut said: BTreeMap<String, Value> = BTreeMap::new();
    for line in lines.lines() {
        let action: Value = serde_json::from_str(line).expect("JSON");
        if action["action"] != "check" {
            said.insert(action["booking"].as_str().expect("a name").to_owned(), action);
        }
    }
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|one| one.as_str().expect("text").to_owned()).collect()
    };
    let onset =
        |at: &Value| at.as_str().expect("a time").parse::<chrono::DateTime<Utc>>().expect("a time").to_rfc3339();
    let mut known: Vec<Known> = said
        .values()
        .map(|action| {
            let cause = action["cause"].as_str().expect("a word").to_owned();
            (cause, strings(&action["metrics"]), onset(&action["onset"]))
        })
        .collect();
    known.sort();
    known
}

/// Requires that a series of one state is in another, with all that is known of it; returns its place there.
fn same_series(state: &Value, place: usize, other: &Value) -> usize {
    let measure = &state["measures"][place];
    let same = |other: &&Value| other["metric"] == measure["metric"] && other["labels"] == measure["labels"];
    let others = other["measures"].as_array().expect("a list");
    let found = others.iter().position(|other| same(&other)).unwrap_or_else(|| panic!("{measure} is not there"));
    let of = |state: &Value, place: usize| state["rooms"][0]["series"][place].clone();
    for part in ["values", "clean", "healthy", "fast", "slow"] {
        assert_eq!(of(state, place)[part], of(other, found)[part], "{part} of {measure}");
    }
    found
}

/// What is on the page may be on its way into the ledger still: waits until it is there.
async fn written(school: &School) {
    let now = school.now().timestamp_millis();
    for _ in 0..400 {
        let store = Store::read_only(&daemon::ledger(&school.state())).await.expect("the ledger");
        let recorded = store.recorded(history::day_of(now)).await.expect("what was recorded");
        if recorded.iter().any(|entry| entry.at() >= now) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the last run is not in the ledger");
}

#[tokio::test]
async fn a_day_and_its_replay_give_the_same_verdicts_evidence_and_bookings() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener));
    let version = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(version.path(), "2.4.0").expect("a file");
    let config = format!(
        "{TIMETABLE}{NO_CALL}[engine]\nlearning_days = 7\n\
         [probe.portal]\nkind = \"page\"\nurl = \"http://{address}/\"\nschedule = \"*/5 * * * *\"\n\
         [probe.versions]\nschedule = \"*/5 * * * *\"\n[probe.versions.components.app]\nfile = {:?}\n",
        version.path()
    );
    let import = |school: &School| {
        let file = school.folder.path().join("past.jsonl");
        std::fs::write(&file, past()).expect("a file");
        run(school, &["history", "import", &file.to_string_lossy()]);
    };
    School::open_after(&config, START, import, async |school| {
        school.until("the first inspection", |page| runs(page, "portal") == 1).await;
        for step in 1..=288 {
            match step {
                60 => {
                    std::fs::write(version.path(), "2.5.0").expect("a file");
                    DELAY.store(60, Ordering::Relaxed);
                }
                200 => DELAY.store(FAILS, Ordering::Relaxed),
                212 => DELAY.store(60, Ordering::Relaxed),
                _ => {}
            }
            school.at(school.now() + TimeDelta::minutes(5)).await;
            let all = |page: &Metrics| ["portal", "versions"].iter().all(|probe| runs(page, probe) > step);
            school.until("the page", all).await;
        }

        written(school).await;
        let loaded = config::load(Some(&school.config()), school.now()).expect("a good config");
        let store = Store::read_only(&daemon::ledger(&school.state())).await.expect("the ledger");
        let (memory, judge) =
            (store.memory().await.expect("a memory"), daemon::learned(&store, &loaded).await.expect("a judge"));
        let listed = bookings::list(&school.state(), Language::English, true).await.expect("the ledger is read");
        let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");

        let history = school.folder.path().join("history.jsonl.gz");
        run(school, &["history", "export", &history.to_string_lossy()]);
        let state = school.folder.path().join("state.json");
        let said = run(school, &["replay", &history.to_string_lossy(), "--state-out", &state.to_string_lossy()]);

        let known = booked(&listed);
        assert_eq!(known, replayed(&said), "{said}");
        // What fails within two days of an upgrade that has done harm is more evidence of the same.
        let [(cause, metrics, _)] = &known[..] else { panic!("{known:#?}") };
        assert_eq!(cause, "version");
        assert!(["page_response", "page_success"].iter().all(|name| metrics.iter().any(|known| known == name)));

        let replayed: Value = serde_json::from_slice(&std::fs::read(&state).expect("a file")).expect("JSON");
        let lived: Value = serde_json::from_slice(&judge.stored()).expect("JSON");
        let measures = lived["measures"].as_array().expect("a list");
        for (place, measure) in measures.iter().enumerate() {
            let other = same_series(&lived, place, &replayed);
            let names = |key: &str| measure[key].as_str().expect("text");
            let series = judge::room::series(names("metric"), names("labels")).expect("one of our own");
            let id = judge::series_id(series.0, &series.1, &series.2);
            let Some(counted) = memory.judge.get(&id) else { continue };
            let level = &replayed["limits"][0][other.to_string()]["level"];
            assert_eq!(&serde_json::to_value(counted.level).expect("a word"), level, "{id}");
        }
        assert!(measures.len() > 3, "{measures:?}");

        // A judge whose state is lost learns the same again from what was recorded.
        let copy = school.folder.path().join("copy.db");
        run(school, &["history", "backup", &copy.to_string_lossy()]);
        let (copy, _) = Store::open(&copy, school.now(), "copy").await.expect("a ledger");
        copy.forget_judge().await.expect("it is written");
        let again = daemon::learned(&copy, &loaded).await.expect("a judge");
        let again: Value = serde_json::from_slice(&again.stored()).expect("JSON");
        for place in 0..measures.len() {
            same_series(&lived, place, &again);
        }
    })
    .await;
}
