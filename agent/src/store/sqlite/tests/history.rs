//! What is recorded: in the commit's own transaction, folded, forgotten, taken in, copied.

use std::{collections::BTreeSet, sync::Arc};

use bellwether_probes::{Label, Metric, ProbeRun, Reading};
use chrono::TimeDelta;

use super::*;
use crate::{
    booking::{ChangeKind, VersionChange},
    history::{
        BLOCK_MS, DAY_MS, Event, Sample, Series, What, day_of,
        fold::{Block, Sum},
        line::{self, Entry},
        samples_of,
    },
    store::{Committed, Imported, JudgeSnapshot, Page, Since},
};

/// A run of `probe` at a second, with a value of each of two series.
fn run(probe: &str, seconds: i64, value: f64) -> ProbeRun {
    let mut run = ProbeRun::new(probe, at(seconds));
    for (stat, factor) in [("p50", 0.5), ("p95", 1.0)] {
        let reading = Reading::new(at(seconds), Metric::MediaRoundTrip, value * factor, 80);
        run.readings.push(reading.with(Label::Leg, "both").with(Label::Stat, stat));
    }
    run
}

async fn commit(store: &Store, memory: &Memory, id: &str, record: Record<'_>, now: DateTime<Utc>) -> Committed {
    store.commit(id, &conclusion(memory, &[], &[]), record, now).await.unwrap()
}

async fn opened(path: &Path) -> (Store, Memory) {
    Store::open(path, at(0), "ledger").await.unwrap()
}

/// All that is recorded, as lines.
async fn lines(store: &Store) -> Vec<String> {
    let mut lines = Vec::new();
    for day in store.recorded_days().await.unwrap() {
        let entries = store.recorded(day).await.unwrap();
        assert!(entries.iter().all(|entry| day_of(entry.at()) == day), "{entries:?}");
        let mut day: Vec<(i64, String)> = entries.iter().map(|entry| (entry.at(), line::write("301", entry))).collect();
        day.sort();
        lines.extend(day.into_iter().map(|(_, line)| line));
    }
    lines
}

async fn pruned(store: &Store, now: DateTime<Utc>) {
    while store.prune(now).await.unwrap() > 0 {}
}

#[tokio::test]
async fn what_was_measured_is_recorded_once_or_not_at_all() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let runs = [run("call", 10, 0.1), run("other", 20, 0.2)];
    let record = Record { runs: &runs, ..Record::default() };
    let twice = [order("b", 1, "folder", Operation::Open), order("b", 2, "folder", Operation::Open)];
    let refused = conclusion(&memory, &[booking("b")], &twice);
    store.commit("first", &refused, record, at(30)).await.unwrap_err();
    assert_eq!(store.samples_since(Since::Snapshot).await.unwrap(), Page::default());
    assert_eq!(store.recorded_days().await.unwrap(), [0; 0]);

    for (time, expected) in [(30, Committed::New), (40, Committed::Repeated)] {
        assert_eq!(commit(&store, &memory, "first", record, at(time)).await, expected);
    }
    let page = store.samples_since(Since::Snapshot).await.unwrap();
    let expected: Vec<(Arc<Series>, Sample)> =
        runs.iter().flat_map(samples_of).map(|(series, sample)| (Arc::new(series), sample)).collect();
    assert_eq!(page, Page { samples: expected, events: Vec::new(), next: None });
    // Numbers of series that were given in the refused commit are given anew.
    assert_eq!(number(&store, "SELECT count(*) FROM series").await, 6);
}

#[tokio::test]
async fn the_judge_goes_on_after_what_it_has_seen() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    assert_eq!(store.judge_snapshot().await.unwrap(), None);
    let lesson = [(at(5000), at(7700))];
    for (id, second) in [("one", 10), ("two", 20), ("three", 15)] {
        let judge = JudgeSnapshot { format: 7, at: at(second), bytes: id.as_bytes().to_vec() };
        let judge = (id != "three").then_some(judge);
        let runs = [run("call", second, 0.1)];
        let record = Record { runs: &runs, lessons: &lesson, judge: judge.as_ref(), ..Record::default() };
        commit(&store, &memory, id, record, at(second)).await;
    }
    let record = Record { maintenance: &[("done", "b")], ..Record::default() };
    commit(&store, &memory, "four", record, at(30)).await;
    store.close().await;
    let (store, _) = opened(&path).await;
    let kept = JudgeSnapshot { format: 7, at: at(20), bytes: b"two".to_vec() };
    assert_eq!(store.judge_snapshot().await.unwrap(), Some(kept));
    // What was committed later counts, though it was measured earlier; the lesson was written once.
    let page = store.samples_since(Since::Snapshot).await.unwrap();
    assert_eq!(page.samples.iter().map(|(_, sample)| sample.at).collect::<BTreeSet<_>>(), [ms(at(15))].into());
    let done = What::Maintenance { action: "done".to_owned(), booking: "b".to_owned() };
    assert_eq!(page.events, [Event { at: ms(at(30)), what: done.clone() }]);
    // Since an instant, by time.
    let page = store.samples_since(Since::Instant(at(15))).await.unwrap();
    assert_eq!(
        page.samples.iter().map(|(_, sample)| sample.at).collect::<BTreeSet<_>>(),
        [ms(at(15)), ms(at(20))].into()
    );
    assert_eq!(page.events, [Event { at: ms(at(30)), what: done }]);
    let all = store.samples_since(Since::Instant(at(-900_000))).await.unwrap();
    assert_eq!((all.samples.len(), all.events.len()), (9, 2));
    assert_eq!(store.samples_since(Since::Instant(at(900_000))).await.unwrap(), Page::default());
    store.forget_judge().await.unwrap();
    assert_eq!(store.judge_snapshot().await.unwrap(), None);
    assert_eq!(store.samples_since(Since::Snapshot).await.unwrap().samples.len(), 9);
}

#[tokio::test]
async fn pages_are_whole_and_in_the_order_of_commits() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    for second in 0..150 {
        let runs = [run("call", second, 0.1)];
        commit(&store, &memory, &second.to_string(), Record { runs: &runs, ..Record::default() }, at(second)).await;
    }
    let (mut since, mut seen, mut pages) = (Some(Since::Snapshot), Vec::new(), 0);
    while let Some(from) = since {
        let page = store.samples_since(from).await.unwrap();
        seen.extend(page.samples.iter().map(|(_, sample)| sample.at));
        since = page.next.map(Since::After);
        pages += 1;
    }
    let expected: Vec<i64> = (0..150).flat_map(|second| [ms(at(second)); 3]).collect();
    assert_eq!((seen, pages), (expected, 3));
}

#[tokio::test]
async fn version_changes_are_recorded() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let mut changed = conclusion(&memory, &[], &[]);
    changed.changes.push(VersionChange {
        component: "app".to_owned(),
        old: "1.2".to_owned(),
        new: "1.3".to_owned(),
        kind: ChangeKind::Minor,
        at: at(7),
    });
    store.commit("first", &changed, Record::default(), at(10)).await.unwrap();
    let what = What::VersionChange { component: "app".to_owned(), from: "1.2".to_owned(), to: "1.3".to_owned() };
    assert_eq!(store.samples_since(Since::Snapshot).await.unwrap().events, [Event { at: ms(at(7)), what }]);
}

/// Twenty days of an inspection each ten minutes.
async fn twenty_days(store: &Store, memory: &Memory) -> DateTime<Utc> {
    number(store, "PRAGMA synchronous = 0; SELECT 1").await;
    let begin = at(0) - TimeDelta::milliseconds(ms(at(0)).rem_euclid(DAY_MS));
    for tenth in 0..20 * 144_i64 {
        let second = (begin - at(0)).num_seconds() + tenth * 600;
        // Many probes, so that a day takes more than one bite.
        let runs: Vec<ProbeRun> = (0..5).map(|n| run(&format!("p{n}"), second, 0.1 + tenth as f64 * 1e-3)).collect();
        commit(store, memory, &tenth.to_string(), Record { runs: &runs, ..Record::default() }, at(second)).await;
    }
    begin + TimeDelta::days(20)
}

#[tokio::test]
async fn days_are_folded_and_old_samples_go_in_small_bites() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let now = twenty_days(&store, &memory).await;
    let (rows, mut bites) = (number(&store, "SELECT count(*) FROM runs").await, 0);
    assert_eq!(rows, 20 * 144 * 5);
    loop {
        let before = number(&store, "SELECT count(*) FROM runs").await;
        let done = store.prune(now + TimeDelta::hours(2)).await.unwrap();
        assert!(before - number(&store, "SELECT count(*) FROM runs").await <= BITE);
        if done == 0 {
            break;
        }
        bites += 1;
    }
    assert!(bites > 80, "{bites} bites");
    // Fourteen whole days before today, which has just begun.
    assert_eq!(number(&store, "SELECT count(*) FROM runs").await, 14 * 144 * 5);
    assert_eq!(number(&store, "SELECT count(*) FROM folds").await, 20 * 15);
    let days = store.recorded_days().await.unwrap();
    assert_eq!(days.len(), 20);

    let first = store.recorded(days[0]).await.unwrap();
    let of = |entry: &&Entry| match entry {
        Entry::Block(series, ..) | Entry::Sum(series, ..) => {
            series.labels.get("probe").is_some_and(|probe| probe == "p3")
                && series.labels.get("stat").is_some_and(|stat| stat == "p95")
        }
        other => panic!("a sample or an event is left: {other:?}"),
    };
    let of_series: Vec<&Entry> = first.iter().filter(of).collect();
    assert_eq!(of_series.len(), 49);
    let Entry::Block(_, begin, block) = of_series[1] else { panic!("{of_series:?}") };
    assert_eq!((*begin, *block), (days[0] * DAY_MS + BLOCK_MS, Block { value: 0.104, n: 3, thin: false }));
    let Entry::Sum(_, _, sum) = of_series[48] else { panic!("{of_series:?}") };
    assert_eq!(*sum, Sum { n: 144, min: 0.1, median: 0.1715, p95: 0.236, max: 0.243 });
    assert_eq!(store.recorded(days[10]).await.unwrap().len(), 144 * 15, "samples are still there");
}

#[tokio::test]
async fn a_day_is_folded_again_when_something_of_it_comes_late() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let runs = [run("call", 0, 0.1)];
    commit(&store, &memory, "first", Record { runs: &runs, ..Record::default() }, at(0)).await;
    let soon = at(0) + TimeDelta::minutes(30);
    pruned(&store, soon).await;
    assert_eq!(number(&store, "SELECT count(*) FROM folds").await, 0, "the day is not over");
    let later = at(0) + TimeDelta::days(2);
    pruned(&store, later).await;
    let sums = "SELECT count(*) FROM folds WHERE length(body) > 0";
    assert_eq!(number(&store, sums).await, 3);
    let changes = number(&store, "SELECT total_changes()").await;
    pruned(&store, later).await;
    assert_eq!(number(&store, "SELECT total_changes()").await, changes, "nothing is left to do");
    let bytes = "SELECT sum(length(body)) FROM folds";
    let before = number(&store, bytes).await;
    let runs = [run("call", 1800, 0.7)];
    commit(&store, &memory, "second", Record { runs: &runs, ..Record::default() }, later).await;
    pruned(&store, later).await;
    assert_eq!(number(&store, sums).await, 3);
    assert!(number(&store, bytes).await > before, "one half-hour more");
}

#[tokio::test]
async fn a_run_over_midnight_is_of_both_days() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let midnight = (DAY_MS - ms(at(0)).rem_euclid(DAY_MS)) / 1000;
    let mut over = run("call", midnight - 10, 0.1);
    over.readings[1].ts = at(midnight + 10);
    over.duration_seconds = 20.0;
    let runs = [over];
    commit(&store, &memory, "first", Record { runs: &runs, ..Record::default() }, at(midnight + 11)).await;
    let days = store.recorded_days().await.unwrap();
    let counts = [store.recorded(days[0]).await.unwrap().len(), store.recorded(days[1]).await.unwrap().len()];
    assert_eq!((days.len(), counts), (2, [1, 2]));
    assert_eq!(store.samples_since(Since::Instant(at(midnight))).await.unwrap().samples.len(), 2);
}

#[tokio::test]
async fn what_another_ledger_has_recorded_is_taken_in_once() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let now = twenty_days(&store, &memory).await;
    let lessons = [(now, now + TimeDelta::minutes(45))];
    commit(&store, &memory, "lesson", Record { lessons: &lessons, ..Record::default() }, now).await;
    pruned(&store, now + TimeDelta::hours(2)).await;
    let before = lines(&store).await;
    let (_other_folder, other_path) = place();
    let (other, _) = opened(&other_path).await;
    for round in 0..2 {
        let mut sum = Imported::default();
        for day in store.recorded_days().await.unwrap() {
            let entries = store.recorded(day).await.unwrap();
            let Imported { new, known } = other.import(day, entries).await.unwrap();
            (sum.new, sum.known) = (sum.new + new, sum.known + known);
        }
        let all = before.len() as u64;
        let expected = [Imported { new: all, known: 0 }, Imported { new: 0, known: all }];
        assert_eq!(sum, expected[round]);
        assert!(lines(&other).await == before, "round {round}");
        // Days that came as samples are folded here, too.
        pruned(&other, now + TimeDelta::hours(2)).await;
    }
    assert!(lines(&other).await == before);
    assert_eq!(other.memory().await.unwrap(), Memory { ledger_id: "ledger".to_owned(), ..Memory::default() });
    // Half-hours are no better than samples that are here; entries of other days are not of this one.
    let day = store.recorded_days().await.unwrap()[0];
    let mut worse = store.recorded(day).await.unwrap();
    let count = worse.len() as u64;
    for entry in &mut worse {
        if let Entry::Block(_, at, _) | Entry::Sum(_, at, _) = entry {
            *at += 15 * DAY_MS;
        }
    }
    assert_eq!(other.import(day, worse.clone()).await.unwrap(), Imported::default());
    assert_eq!(other.import(day + 15, worse).await.unwrap(), Imported { new: 0, known: count });
    assert!(lines(&other).await == before);
}

#[tokio::test]
async fn five_years_later_nothing_is_left() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let runs = [run("call", 0, 0.1)];
    let lessons = [(at(5000), at(7700))];
    commit(&store, &memory, "first", Record { runs: &runs, lessons: &lessons, ..Record::default() }, at(0)).await;
    pruned(&store, at(0) + TimeDelta::days(5 * 365)).await;
    assert_eq!(number(&store, "SELECT count(*) FROM runs").await, 0);
    assert_eq!(number(&store, "SELECT count(*) FROM folds").await, 3);
    assert_eq!(lines(&store).await.len(), 7);
    pruned(&store, at(0) + TimeDelta::days(5 * 365 + 4)).await;
    assert_eq!(lines(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_run_that_was_changed_on_the_disk_is_not_believed() {
    let (_folder, path) = place();
    let (store, memory) = opened(&path).await;
    let runs = [run("call", 0, 0.1)];
    commit(&store, &memory, "first", Record { runs: &runs, ..Record::default() }, at(0)).await;
    store.close().await;
    raw(&path, "UPDATE runs SET body = CAST(substr(body, 1, length(body) - 3) || x'ffffff' AS BLOB)").await;
    let (store, _) = opened(&path).await;
    let error = store.samples_since(Since::Snapshot).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_backup_beside_a_running_daemon_is_a_ledger_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = place();
    let (daemon, memory) = opened(&path).await;
    let runs = [run("call", 0, 0.1)];
    let judge = JudgeSnapshot { format: 1, at: at(0), bytes: vec![0; 1000] };
    let record = Record { runs: &runs, judge: Some(&judge), ..Record::default() };
    let all = conclusion(&full_memory(&memory), &[booking("b")], &[order("b", 1, "folder", Operation::Open)]);
    daemon.commit("first", &all, record, at(10)).await.unwrap();
    let copy = folder.path().join("copies").join("bellwether.db");
    let reader = Store::read_only(&path).await.unwrap();
    let error = reader.backup(&copy).await.unwrap_err();
    assert!(matches!(error, StoreError::Folder { .. }), "{error:?}");
    fs::create_dir(copy.parent().unwrap()).unwrap();
    reader.backup(&copy).await.unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o007, 0);
    let before = fs::read(&copy).unwrap();
    let error = reader.backup(&copy).await.unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error:?}");
    assert!(fs::read(&copy).unwrap() == before, "nothing is written over");
    // Later changes are not in it.
    daemon.commit("second", &conclusion(&memory, &[], &[]), record, at(20)).await.unwrap();
    let (copied, found) = Store::open(&copy, at(30), "other").await.unwrap();
    assert_eq!(found, all.memory);
    assert_eq!(copied.judge_snapshot().await.unwrap(), Some(judge));
    assert_eq!(copied.samples_since(Since::Instant(at(-100))).await.unwrap().samples.len(), 3);
    assert_eq!(number(&copied, "PRAGMA auto_vacuum").await, 2);
}

/// How large five years of a room are: `FIVE_YEARS=1 cargo test -p bellwether-agent five_years -- --nocapture`
/// writes all of them; else a month, of which two days are samples.
#[expect(clippy::print_stdout, reason = "a size is to be read, not only bounded")]
#[tokio::test]
async fn five_years_of_a_room_take_less_than_100_mib() {
    let all = std::env::var_os("FIVE_YEARS").is_some();
    let (days, raw_days) = if all { (1826, 14) } else { (32, 2) };
    let size = async |store: &Store| number(store, "PRAGMA page_count").await * 4096;
    let (_folder, path) = place();
    let (store, _) = opened(&path).await;
    let mut rng = fastrand::Rng::with_seed(3);
    let series: Vec<Arc<Series>> = (0..60)
        .map(|n| {
            let reading = Reading::new(at(0), Metric::ALL[n], 0.0, 0);
            let mut run = ProbeRun::new(["call", "resources", "page"][n % 3], at(0));
            run.readings.push(reading);
            Arc::new(samples_of(&run).remove(1).0)
        })
        .collect();
    let first = day_of(ms(at(0)));
    let (mut folds, usual) = (0, samples_of(&run("x", 0, 0.1))[1].1);
    for day in first..first + days {
        let (mut entries, raw) = (Vec::new(), day >= first + days - raw_days);
        if day == first + days - raw_days {
            folds = size(&store).await;
        }
        for (n, series) in series.iter().enumerate() {
            // A third each minute, the others each five; every fourth is a count or a share that is mostly zero.
            let step = if n % 3 == 1 { 60_000 } else { 300_000 };
            let noise =
                |rng: &mut fastrand::Rng| if n % 4 == 0 { f64::from(rng.u8(0..4) / 3) } else { 0.1 + 0.02 * rng.f64() };
            if raw {
                entries.extend((0..DAY_MS / step).map(|place| {
                    let value = Some(noise(&mut rng));
                    let at = day * DAY_MS + place * step;
                    Entry::Sample(series.clone(), Sample { at, value, ..usual })
                }));
                continue;
            }
            entries.extend((0..48).map(|place| {
                let block =
                    Block { value: noise(&mut rng) as f32, n: (BLOCK_MS / step) as u32 - rng.u32(0..2), thin: false };
                Entry::Block(series.clone(), day * DAY_MS + place * BLOCK_MS, block)
            }));
            let sum = Sum { n: 288, min: rng.f32(), median: rng.f32(), p95: rng.f32(), max: rng.f32() };
            entries.push(Entry::Sum(series.clone(), day * DAY_MS, sum));
        }
        store.import(day, entries).await.unwrap();
    }
    let samples = size(&store).await - folds;
    let now = DateTime::from_timestamp_millis((first + days) * DAY_MS + 2 * 3_600_000).unwrap();
    pruned(&store, now).await;
    let (rows, file) = (number(&store, "SELECT count(*) FROM runs").await, size(&store).await);
    let mib = |bytes: i64| bytes as f64 / f64::from(1 << 20);
    let years = mib(folds) * 1826.0 / (days - raw_days) as f64;
    let raw = mib(samples) * 14.0 / raw_days as f64;
    println!(
        "{days} days of 60 series: {:.1} MiB, of which half-hours {:.1}, samples {:.1} in {rows} rows; five years: {:.1} MiB",
        mib(file),
        mib(folds),
        mib(samples),
        years + raw,
    );
    assert!(years + raw < 100.0);
}
