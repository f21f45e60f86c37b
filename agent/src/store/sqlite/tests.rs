//! What is SQLite's alone: files, locks, damage, a full disk, stored databases.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use bellwether_probes::{Metric, ProbeRun, Reading};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::{
    booking::{Operation, State},
    store::{
        Backend, JudgeSnapshot, OrderState, Settlement, Since, Store,
        conformance::{at, booking, conclusion, due_orders, entry, full_memory, order},
        schema,
    },
};

mod history;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state").join("bellwether.db");
    (folder, path)
}

/// Other than through the store.
async fn raw(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn made(path: &Path) {
    let (store, memory) = Store::open(path, at(0), "ledger").await.unwrap();
    let conclusion = conclusion(&full_memory(&memory), &[booking("b")], &[order("b", 1, "folder", Operation::Open)]);
    store.commit("first", &conclusion, Record::default(), at(10)).await.unwrap();
    store.close().await;
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn number(store: &Store, sql: &'static str) -> i64 {
    store
        .call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                Ok(sqlx::query_scalar(sql).fetch_one(&mut database.connection).await.unwrap())
            })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn the_connection_is_set_up_as_promised() {
    let (_folder, path) = place();
    let (store, _) = Store::open(&path, at(0), "ledger").await.unwrap();
    for (pragma, value) in [
        ("PRAGMA synchronous", 2),
        ("PRAGMA foreign_keys", 1),
        ("PRAGMA busy_timeout", 5000),
        ("PRAGMA cache_size", -256),
        ("PRAGMA auto_vacuum", 2),
        ("PRAGMA user_version", schema::VERSION),
        ("PRAGMA application_id", schema::APPLICATION),
        ("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'", 1),
        ("SELECT schema FROM meta", schema::VERSION),
    ] {
        assert_eq!(number(&store, pragma).await, value, "{pragma}");
    }
}

#[tokio::test]
async fn what_is_new_is_not_for_everybody_and_what_is_old_is_closed_to_them() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (_folder, path) = place();
    for _ in 0..2 {
        let (store, _) = Store::open(&path, at(0), "ledger").await.unwrap();
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        for name in names(&path) {
            assert_eq!(mode(&path.with_file_name(&name)) & 0o007, 0, "{name}");
        }
        store.close().await;
        // As an umask of 022 once left it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_next_start_begins_anew() {
    let garbage = vec![b'x'; 8192];
    let (_folder, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for (number, aside) in
        ["bellwether.db.damaged-20260921T141321Z", "bellwether.db.damaged-20260921T141321Z-2"].into_iter().enumerate()
    {
        fs::write(&path, &garbage).unwrap();
        fs::write(path.with_file_name("bellwether.db-wal"), b"log").unwrap();
        let error = Store::open(&path, at(1), "ledger").await.unwrap_err();
        let StoreError::Damaged { aside: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!(found, &path.with_file_name(aside), "round {number}");
        assert!(fs::read(found).unwrap() == garbage, "kept as it was found");
        assert_eq!(fs::read(path.with_file_name(format!("{aside}-wal"))).unwrap(), b"log");
        assert!(!path.exists());
    }
    let (_, memory) = Store::open(&path, at(2), "second").await.unwrap();
    assert_eq!(memory.ledger_id, "second");
}

#[tokio::test]
async fn a_broken_page_is_damage() {
    let (_folder, path) = place();
    made(&path).await;
    let mut bytes = fs::read(&path).unwrap();
    // Every page but the first, whose header stays right.
    bytes[4096..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let error = Store::open(&path, at(1), "ledger").await.unwrap_err();
    let StoreError::Damaged { aside, .. } = &error else { panic!("{error:?}") };
    assert!(fs::read(aside).unwrap() == bytes, "kept as it was found");
}

#[tokio::test]
async fn a_cut_off_file_is_damage() {
    let (_folder, path) = place();
    made(&path).await;
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Store::open(&path, at(1), "ledger").await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stranger_s_database_is_set_aside_unchanged() {
    let (_folder, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"").unwrap();
    raw(&path, "CREATE TABLE theirs (id INTEGER); INSERT INTO theirs VALUES (1)").await;
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path, at(1), "ledger").await.unwrap_err();
    let StoreError::Damaged { aside, .. } = &error else { panic!("{error:?}") };
    assert!(fs::read(aside).unwrap() == before, "kept as it was found");
}

#[tokio::test]
async fn an_empty_file_is_a_new_database() {
    // What a power cut leaves between making the file and its first commit.
    let (_folder, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"").unwrap();
    let (_, memory) = Store::open(&path, at(1), "ledger").await.unwrap();
    assert_eq!(memory.ledger_id, "ledger");
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let (_folder, path) = place();
    made(&path).await;
    raw(&path, "PRAGMA user_version = 999").await;
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path, at(1), "ledger").await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 999, known: schema::VERSION, .. }), "{error:?}");
    assert!(fs::read(&path).unwrap() == before, "kept as it was found");
    assert_eq!(names(&path), ["bellwether.db", "bellwether.lock"]);
    let error = Store::read_only(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error:?}");
}

#[tokio::test]
async fn a_second_daemon_is_refused_until_the_first_ends() {
    let (_folder, path) = place();
    let (first, _) = Store::open(&path, at(0), "ledger").await.unwrap();
    let error = Store::open(&path, at(1), "other").await.unwrap_err();
    assert!(matches!(&error, StoreError::Locked { path } if path.ends_with("bellwether.lock")), "{error:?}");
    first.close().await;
    Store::open(&path, at(2), "other").await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let (folder, path) = place();
    // A file where the folder should be: refused whoever runs the test.
    fs::write(folder.path().join("state"), b"").unwrap();
    let error = Store::open(&path, at(0), "ledger").await.unwrap_err();
    assert!(matches!(&error, StoreError::Folder { folder: named, .. } if *named == folder.path().join("state")));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_names_the_folder() {
    let (_folder, path) = place();
    made(&path).await;
    let (store, _) = Store::open(&path, at(20), "ledger").await.unwrap();
    // The same code as for a file of another owner, whoever runs the test.
    assert_eq!(number(&store, "PRAGMA query_only = 1; SELECT 7").await, 7);
    let error = store.begin("b.1", true, at(30)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Folder { folder, .. } if folder == path.parent().unwrap()), "{error:?}");
}

#[tokio::test]
async fn reading_needs_no_lock_and_writes_nothing() {
    let (_folder, path) = place();
    assert!(matches!(Store::read_only(&path).await, Err(StoreError::Missing { .. })));
    made(&path).await;
    let (daemon, _) = Store::open(&path, at(20), "ledger").await.unwrap();
    for reader in [Store::read_only(&path).await.unwrap(), {
        daemon.close().await;
        Store::read_only(&path).await.unwrap()
    }] {
        assert_eq!(reader.bookings().await.unwrap(), [booking("b")]);
        assert_eq!(reader.orders_of("b").await.unwrap().len(), 1);
        let error = reader.begin("b.1", true, at(30)).await.unwrap_err();
        assert!(matches!(error, StoreError::Database { .. }), "{error:?}");
        reader.close().await;
    }
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_passes() {
    let (_folder, path) = place();
    let (store, memory) = Store::open(&path, at(0), "ledger").await.unwrap();
    let small = conclusion(&memory, &[booking("b")], &[order("b", 1, "folder", Operation::Open)]);
    store.commit("first", &small, Record::default(), at(10)).await.unwrap();
    store.begin("b.1", true, at(11)).await.unwrap();

    let pages = number(&store, "PRAGMA page_count").await;
    assert_eq!(number(&store, "PRAGMA max_page_count = 1").await, pages, "no page more than there are");
    let mut large = conclusion(&full_memory(&memory), &[booking("c")], &[order("c", 1, "folder", Operation::Open)]);
    large.orders[0].body = "x".repeat(100_000);
    // More than once: the connection must come out of it clean each time.
    for _ in 0..3 {
        let error = store.commit("second", &large, Record::default(), at(20)).await.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert_eq!(store.memory().await.unwrap(), small.memory);
        assert_eq!(store.bookings().await.unwrap(), small.bookings);
    }
    // What needs no room still goes through, and is durable.
    store.settle("b.1", &Settlement::Done { remote_id: None }, None, at(21)).await.unwrap();

    number(&store, "PRAGMA max_page_count = 1000000").await;
    assert_eq!(store.commit("second", &large, Record::default(), at(30)).await.unwrap(), Committed::New);
    store.close().await;
    let (store, memory) = Store::open(&path, at(40), "ledger").await.unwrap();
    assert_eq!(memory.bookings.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(store.orders_of("b").await.unwrap()[0].state, OrderState::Done);
    assert_eq!(due_orders(&store, 40).await, large.orders);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_half_way_leaves_nothing() {
    let (_folder, path) = place();
    let (store, memory) = Store::open(&path, at(0), "ledger").await.unwrap();
    store.close().await;
    let half = conclusion(&full_memory(&memory), &[booking("b")], &[order("b", 1, "folder", Operation::Open)]);
    let mut database = Sqlite::open(&path, at(1), "ledger").await.unwrap();
    database.begin_transaction("test").await.unwrap();
    database.write(&Batch::new("first", &half, Record::default(), at(1))).await.unwrap();
    assert_eq!(database.bookings().await.unwrap().len(), 1, "it was under way");
    drop(database);
    let (store, memory) = Store::open(&path, at(2), "ledger").await.unwrap();
    assert_eq!(memory, Memory { ledger_id: "ledger".to_owned(), ..Memory::default() });
    assert_eq!(number(&store, "SELECT count(*) FROM orders").await, 0);
    assert_eq!(store.commit("first", &half, Record::default(), at(3)).await.unwrap(), Committed::New);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_cut_a_commit_short() {
    let (_folder, path) = place();
    let (store, memory) = Store::open(&path, at(0), "ledger").await.unwrap();
    let all = conclusion(&full_memory(&memory), &[booking("b")], &[order("b", 1, "folder", Operation::Open)]);
    let mut commit = Box::pin(store.commit("first", &all, Record::default(), at(10)));
    // Polled once, so that the job is in the queue, and dropped.
    std::future::poll_fn(|context| {
        assert!(commit.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(commit);
    assert_eq!(store.memory().await.unwrap(), all.memory);
    assert_eq!(due_orders(&store, 10).await, all.orders);
}

#[tokio::test]
async fn an_unchanged_memory_is_not_written_again() {
    let (_folder, path) = place();
    let (store, memory) = Store::open(&path, at(0), "ledger").await.unwrap();
    let mut same = conclusion(&full_memory(&memory), &[], &[]);
    store.commit("first", &same, Record::default(), at(10)).await.unwrap();
    let before = number(&store, "SELECT total_changes()").await;
    store.commit("second", &same, Record::default(), at(20)).await.unwrap();
    assert_eq!(number(&store, "SELECT total_changes()").await - before, 1, "the inspection's id alone");
    same.memory.epochs.insert("room-301|net|room".to_owned(), 8);
    store.commit("third", &same, Record::default(), at(30)).await.unwrap();
    assert_eq!(number(&store, "SELECT total_changes()").await - before, 3);
}

#[tokio::test]
async fn a_judge_s_state_that_cannot_be_read_is_learnt_again() {
    let (_folder, path) = place();
    made(&path).await;
    raw(&path, "INSERT INTO memory VALUES ('series', 'strange', '{\"level\":\"purple\"}')").await;
    let (store, memory) = Store::open(&path, at(20), "ledger").await.unwrap();
    assert_eq!(memory.judge.len(), 12);
    store.close().await;
    raw(&path, "UPDATE bookings SET json = '{}'").await;
    let error = Store::open(&path, at(30), "ledger").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "a booking is not forgotten: {error:?}");
    assert!(path.exists());
}

const STORED: [&str; 3] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/databases/v1.db"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/databases/v2.db"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/databases/v3.db"),
];
/// The states that there were before schema 3.
const STATES_BEFORE: [State; 4] = [State::Holding, State::Requested, State::NeedsHuman, State::Cancelled];

#[tokio::test]
async fn the_stored_databases_of_all_schemas_open() {
    if std::env::var_os("BLESS").is_some() {
        write_the_stored_database().await;
    }
    for (stored, schema) in STORED.iter().zip(1..) {
        let (_folder, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(stored, &path).unwrap();
        let (store, memory) = Store::open(&path, at(100), "other").await.unwrap();
        assert_eq!(memory.ledger_id, format!("stored-v{schema}"));
        let states = if schema < 3 { &STATES_BEFORE[..] } else { &State::ALL };
        is_as_it_was_stored(&store, &memory, states).await;
        let trail = store.audit(None).await.unwrap();
        assert_eq!((trail.entries.len(), trail.broken), (usize::from(schema >= 3), None));
        let (samples, judge) = (store.samples_since(Since::Instant(at(-100))).await, store.judge_snapshot().await);
        let expected = if schema < 2 { (0, None) } else { (2, Some(7)) };
        assert_eq!((samples.unwrap().samples.len(), judge.unwrap().map(|judge| judge.format)), expected);
    }
}

async fn is_as_it_was_stored(store: &Store, memory: &Memory, expected: &[State]) {
    assert_eq!(memory.judge.len(), 12, "states of the judge");
    assert_eq!((memory.versions.len(), memory.changes.len(), memory.incidents.len()), (1, 12, 1));
    assert_eq!(memory.epochs["room-301|net|room"], 7);
    let states: Vec<_> = store.bookings().await.unwrap().into_iter().map(|booking| booking.state).collect();
    assert_eq!(states, expected);
    let open = expected.iter().filter(|state| !state.ended()).count();
    assert_eq!((memory.bookings.len(), memory.recent.len()), (open, expected.len() - open));
    let orders = store.orders_of("holding").await.unwrap();
    let orders: Vec<_> = orders.into_iter().map(|record| (record.order.channel, record.state)).collect();
    let expected =
        [OrderState::Pending, OrderState::Ambiguous, OrderState::Ambiguous, OrderState::Done, OrderState::Dead]
            .into_iter()
            .zip(OrderState::ALL)
            .map(|(now, was)| (was.name().to_owned(), now));
    assert_eq!(orders, expected.collect::<Vec<_>>(), "what was in flight is ambiguous");
    assert_eq!(number(store, "PRAGMA user_version").await, schema::VERSION);
}

/// Writes the database of the present schema. A schema that was released is never written again.
async fn write_the_stored_database() {
    let (_folder, path) = place();
    let (store, memory) = Store::open(&path, at(0), "stored-v3").await.unwrap();
    let bookings: Vec<_> = State::ALL
        .into_iter()
        .enumerate()
        .map(|(n, state)| Booking { state, opened_at: at(-(n as i64)), ..booking(state.name()) })
        .collect();
    let orders: Vec<_> =
        (1..).zip(OrderState::ALL).map(|(seq, state)| order("holding", seq, state.name(), Operation::Open)).collect();
    let mut run = ProbeRun::new("call", at(9));
    run.readings.push(Reading::new(at(9), Metric::MediaLoss, 0.01, 500));
    let judge = JudgeSnapshot { format: 7, at: at(10), bytes: b"judge".to_vec() };
    let record = Record { runs: &[run], judge: Some(&judge), ..Record::default() };
    let mut conclusion = conclusion(&full_memory(&memory), &bookings, &orders);
    conclusion.entries.push(entry("holding", "plan"));
    store.commit("first", &conclusion, record, at(10)).await.unwrap();
    for order in &orders[1..] {
        store.begin(&order.op_key, true, at(20)).await.unwrap();
    }
    let retry = Settlement::Retry {
        not_before: at(60),
        ambiguous: true,
        missed: false,
        detail: "no answer within 10 s".to_owned(),
    };
    let settlements = [
        (&orders[2], retry),
        (&orders[3], Settlement::Done { remote_id: Some("4711".to_owned()) }),
        (&orders[4], Settlement::Dead { detail: "HTTP 422".to_owned() }),
    ];
    for (order, settlement) in settlements {
        store.settle(&order.op_key, &settlement, None, at(30)).await.unwrap();
    }
    store.close().await;
    fs::copy(&path, STORED[2]).unwrap();
}

#[tokio::test]
async fn a_trail_that_somebody_changed_says_where() {
    for (change, broken) in [
        ("UPDATE audit SET entry = replace(entry, 'plan', 'plot') WHERE seq = 2", 2),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 2", 3),
        ("DELETE FROM audit WHERE seq = 1", 2),
    ] {
        let (_folder, path) = place();
        let (store, memory) = Store::open(&path, at(0), "ledger").await.unwrap();
        let mut conclusion = conclusion(&memory, &[booking("a")], &[]);
        conclusion.entries = vec![entry("a", "plan"); 3];
        store.commit("first", &conclusion, Record::default(), at(10)).await.unwrap();
        store.close().await;
        raw(&path, change).await;
        let store = Store::read_only(&path).await.unwrap();
        assert_eq!(store.audit(None).await.unwrap().broken.map(|broken| broken.seq), Some(broken), "{change}");
    }
}
