//! The commands `history export`, `import` and `backup` on real ledgers: out of one, into another, out again; and what
//! `replay` says of an export.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs::{self, File},
    io::Read as _,
    path::PathBuf,
    process::{Command, Output},
    sync::Arc,
};

use bellwether_agent::{
    Conclusion, Memory,
    booking::{ChangeKind, VersionChange},
    history::{Series, line::Entry, samples_of},
    store::{JudgeSnapshot, Record, Store},
};
use bellwether_probes::{Failure, Label, Metric, ProbeRun, Reading, Reason};
use chrono::{DateTime, TimeDelta, Utc};
use flate2::read::MultiGzDecoder;

/// 2026-03-02T00:00:00Z, a Monday.
const BEGIN: i64 = 1_772_409_600;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(BEGIN + seconds, 0).unwrap()
}

/// Some noise that is the same each time, from −1 to 1.
fn noise(seed: i64) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A box: its config and its state.
struct Room(tempfile::TempDir);

impl Room {
    fn new(id: &str, language: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config =
            format!("[site]\ntimezone = \"Asia/Shanghai\"\nlanguage = \"{language}\"\n\n[room]\nid = \"{id}\"\n");
        fs::write(folder.path().join("bellwether.toml"), config).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn store(&self) -> (Store, Memory) {
        Store::open(&self.path("state/bellwether.db"), at(0), "ledger").await.unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command.current_dir(&self.0).args(["--config", "bellwether.toml", "--state", "state"]).args(arguments);
        command.output().unwrap()
    }

    /// What it prints when all goes well.
    fn well(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {:?}: {said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// How it ends when it does not, and all that it says.
    fn badly(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn export(&self) -> String {
        self.well(&["history", "export"])
    }
}

fn nothing(memory: &Memory) -> Conclusion {
    Conclusion {
        memory: memory.clone(),
        verdicts: Vec::new(),
        opened: Vec::new(),
        recovered: Vec::new(),
        changes: Vec::new(),
        bookings: Vec::new(),
        orders: Vec::new(),
        entries: Vec::new(),
    }
}

/// Three days of a call and a look at the box each half-hour, with all that can happen, of which the first day
/// is old enough to be half-hours.
async fn three_days(store: &Store, memory: &Memory) {
    for half in 0..144 {
        let (second, seed) = (half * 1800, half * 16);
        let mut call = ProbeRun::new("call", at(second));
        call.duration_seconds = 8.0;
        for stat in ["p50", "p95"] {
            let value = 0.04 + 0.01 * noise(seed);
            let reading =
                Reading::new(at(second + 8), Metric::MediaRoundTrip, value, 80).between(0.9 * value, 1.1 * value);
            call.readings.push(reading.with(Label::Leg, "both").with(Label::Stat, stat));
        }
        if half % 7 == 0 {
            call.failure = Some(Failure::new(Reason::Ice, "no pair"));
            call.readings.clear();
        }
        if half % 5 == 0 {
            call.readings =
                call.readings.into_iter().map(|reading| reading.inconclusive(Reason::HostLimited)).collect();
        }
        let mut resources = ProbeRun::new("resources", at(second + 3));
        resources.readings.push(Reading::new(at(second + 4), Metric::CpuUtilization, 0.3 + 0.1 * noise(seed + 1), 1));
        let disk = Reading::new(at(second + 4), Metric::DiskUtilization, 0.5, 1);
        resources.readings.push(disk.with(Label::Mount, "/var/\"教室\\"));
        let runs = [call, resources];
        let lesson = [(at(86_400 * (half / 48) + 7200), at(86_400 * (half / 48) + 9900))];
        let mut conclusion = nothing(memory);
        if half == 30 {
            conclusion.changes.push(VersionChange {
                component: "app".to_owned(),
                old: "1.2.0".to_owned(),
                new: "1.3.0".to_owned(),
                kind: ChangeKind::Minor,
                at: at(second),
            });
        }
        let record = Record {
            runs: &runs,
            lessons: &lesson,
            maintenance: &[("start", "bw1-x")][..usize::from(half == 31)],
            judge: None,
        };
        store.commit(&half.to_string(), &conclusion, record, at(second + 9)).await.unwrap();
    }
    while store.prune(at(16 * 86_400 - 3600)).await.unwrap() > 0 {}
}

#[tokio::test]
async fn what_goes_out_and_in_and_out_again_is_the_same() {
    let (old, new) = (Room::new("r301", "en"), Room::new("r301", "en"));
    let (daemon, memory) = old.store().await;
    three_days(&daemon, &memory).await;
    // Beside the daemon, which holds its lock.
    let exported = old.export();
    let count = |what: &str| exported.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("\"block_s\":1800"), count("\"block_s\":86400")), (4 * 48 + 2 * 33, 6));
    assert_eq!((count("\"event\":\"lesson\""), count("version_change"), count("maintenance")), (3, 1, 1));
    assert_eq!(count("\"metric\":\"probe_ok\""), 2 * 2 * 48 + 2 * 48 + 2, "of two days, and half-hours of the first");
    let times: Vec<&str> = exported.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert!(times.is_sorted());
    fs::write(new.path("old.jsonl"), &exported).unwrap();

    assert!(new.well(&["history", "import", "old.jsonl"]).contains(", 0 known before"));
    assert_eq!(new.export(), exported);
    let again = new.well(&["history", "import", "old.jsonl"]);
    assert!(again.contains(": 0 entries taken in"), "{again}");
    assert_eq!(new.export(), exported);
    assert_eq!(new.well(&["bookings", "list"]), "no bookings\n");

    // A file, compressed, of a span.
    let span = ["--from", "2026-03-03T00:00:00Z", "--to", "2026-03-03T12:00:00Z"];
    old.well(&[&["history", "export"], &span[..], &["part.jsonl.gz"]].concat());
    let mut part = String::new();
    MultiGzDecoder::new(File::open(old.path("part.jsonl.gz")).unwrap()).read_to_string(&mut part).unwrap();
    let expected: String = exported
        .lines()
        .filter(|line| {
            line.contains("\"ts\":\"2026-03-03T0")
                || line.contains("\"ts\":\"2026-03-03T10")
                || line.contains("\"ts\":\"2026-03-03T11")
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(part, expected);
    assert!(!old.path("part.jsonl.gz.new").exists());

    let (code, said) = old.badly(&["history", "import", "old.jsonl"]);
    assert_eq!(code, 66, "no such file: {said}");
    fs::copy(new.path("old.jsonl"), old.path("old.jsonl")).unwrap();
    let (code, said) = old.badly(&["history", "import", "old.jsonl"]);
    assert!(code == 1 && said.contains("stop the daemon first"), "{code}: {said}");
    daemon.close().await;
    // Its own samples are known, whoever wrote them.
    let own = old.well(&["history", "import", "old.jsonl"]);
    assert!(own.contains(": 0 entries taken in"), "{own}");
    assert_eq!(old.export(), exported);
}

#[tokio::test]
async fn a_box_that_has_learned_is_asked_twice_and_another_room_by_its_name() {
    let (old, new) = (Room::new("r301", "en"), Room::new("r302", "zh-CN"));
    let (store, memory) = old.store().await;
    three_days(&store, &memory).await;
    store.close().await;
    fs::write(new.path("old.jsonl"), old.export()).unwrap();
    let (code, said) = new.badly(&["history", "import", "old.jsonl"]);
    assert!(code == 3 && said.contains("r301；请用 --room 指定"), "{code}: {said}");

    let (store, memory) = new.store().await;
    let judge = JudgeSnapshot { format: 1, at: at(0), bytes: b"learned".to_vec() };
    let record = Record { judge: Some(&judge), ..Record::default() };
    store.commit("first", &nothing(&memory), record, at(0)).await.unwrap();
    store.close().await;
    let asked = ["history", "import", "--room", "r301", "old.jsonl"];
    let (code, said) = new.badly(&asked);
    assert!(code == 1 && said.contains("--force"), "{code}: {said}");
    assert_eq!(new.export(), "");
    new.well(&[&asked[..], &["--force"]].concat());
    assert_eq!(new.export().replace("\"r302\"", "\"r301\""), old.export());
    assert_eq!(new.store().await.0.judge_snapshot().await.unwrap(), None, "it learns anew");
}

#[tokio::test]
async fn bad_lines_are_told_as_replay_tells_them() {
    let room = Room::new("r301", "en");
    let sample = |seconds: i64| {
        format!("{{\"ts\":{},\"metric\":\"rtt_ms\",\"labels\":{{\"room\":\"r301\"}},\"value\":20}}\n", BEGIN + seconds)
    };
    // Two leaps that nothing confirms, one that is late, and a line that is none.
    let times = [0, 90_000, 86_000, 9_000_000, 90_300, 80_000];
    let text = times.map(sample).concat() + "{\"ts\":\n";
    fs::write(room.path("bad.jsonl"), text).unwrap();
    let (code, said) = room.badly(&["history", "import", "bad.jsonl"]);
    assert!(code == 2 && said.contains("bad.jsonl: line 7"), "{code}: {said}");
    let said = room.well(&["history", "import", "--skip-bad", "bad.jsonl"]);
    assert!(said.starts_with("7 lines (1 unreadable, 3 late, 0 not of room r301): "), "{said}");
    assert_eq!(room.export().lines().count(), 3);
}

#[tokio::test]
async fn a_copy_is_a_ledger() {
    let room = Room::new("r301", "en");
    let (daemon, memory) = room.store().await;
    three_days(&daemon, &memory).await;
    assert!(room.well(&["history", "backup", "copy.db"]).contains("copy.db"));
    let (code, said) = room.badly(&["history", "backup", "copy.db"]);
    assert!(code == 1 && said.contains("there is a file at copy.db already"), "{code}: {said}");
    let copy = Room::new("r301", "en");
    fs::create_dir(copy.path("state")).unwrap();
    fs::rename(room.path("copy.db"), copy.path("state/bellwether.db")).unwrap();
    assert_eq!(copy.export(), room.export());
    let (code, said) = Room::new("r301", "en").badly(&["history", "backup", "copy.db"]);
    assert!(code == 1 && said.contains("there is no database"), "{code}: {said}");
}

/// Days of pages that answer in some 0.2 s, twice as long from a day on, each five minutes.
async fn slow_pages(room: &Room, days: i64, fault: i64) -> Store {
    let (store, _) = room.store().await;
    let mut known: Vec<Arc<Series>> = Vec::new();
    for day in 0..days {
        let mut entries = Vec::new();
        for step in day * 288..(day + 1) * 288 {
            let mut page = ProbeRun::new("portal", at(step * 300));
            let slow = if step * 300 >= fault { 2.0 } else { 1.0 };
            let value = slow * (0.2 + 0.01 * noise(step));
            page.readings.push(Reading::new(at(step * 300), Metric::PageResponse, value, 1));
            for (place, (series, sample)) in samples_of(&page).into_iter().enumerate() {
                if known.len() <= place {
                    known.push(Arc::new(series));
                }
                entries.push(Entry::Sample(known[place].clone(), sample));
            }
        }
        store.import(at(day * 86_400).timestamp_millis() / 86_400_000, entries).await.unwrap();
    }
    store
}

#[tokio::test]
async fn replay_finds_in_an_export_what_it_finds_in_the_samples() {
    let (room, fault) = (Room::new("r301", "en"), 20 * 86_400 + 7200);
    let store = slow_pages(&room, 24, fault).await;
    let replay = |name: &str| -> Vec<serde_json::Value> {
        room.well(&["history", "export", name]);
        let said = room.well(&["replay", name]);
        let actions = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        actions.filter(|action| action["action"] == "open").collect()
    };
    let samples = replay("samples.jsonl");
    while store.prune(at(0) + TimeDelta::days(24)).await.unwrap() > 0 {}
    let mixed = replay("mixed.jsonl");
    let blocks = fs::read_to_string(room.path("mixed.jsonl")).unwrap();
    assert_eq!(blocks.lines().filter(|line| line.contains("\"block_s\":1800")).count(), 10 * 48 * 2);
    for found in [&samples, &mixed] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["metrics"], serde_json::json!(["page_response"]));
        assert_eq!(found[0]["onset"], "2026-03-22T02:00:00Z");
    }
    assert_eq!(samples[0]["ts"], mixed[0]["ts"]);
    // From half-hours alone, as one does with last term's history.
    while store.prune(at(0) + TimeDelta::days(60)).await.unwrap() > 0 {}
    let halves = replay("halves.jsonl.gz");
    assert_eq!((halves.len(), &halves[0]["onset"]), (1, &samples[0]["onset"]));
}
