//! What bookings cost: planning a thousand that are open is to take less than 50 ms, and a commit with an order,
//! which is on the disk when it returns, less than 20 ms on an ordinary disk.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::{collections::BTreeMap, hint::black_box, path::PathBuf};

use bellwether_agent::{
    Site,
    booking::plan::plan,
    calendar::{
        Calendar,
        build::{Sources, build},
        config::Timetable,
        holidays::Holidays,
    },
    channel::{ChannelConfig, Channels, folder},
    incident::{Cause, Evidence, Incident},
    inspection::{Conclusion, Memory},
    judge::Level,
    site::Language,
    store::{Record, Store},
};
use bellwether_probes::{Family, Labels, Metric};
use chrono::{DateTime, Days, TimeDelta, Utc};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const OPEN: usize = 1000;

fn now() -> DateTime<Utc> {
    "2026-11-24T02:00:00Z".parse().unwrap()
}

fn incident(number: usize) -> Incident {
    let evidence = Evidence {
        probe: format!("call-{number}"),
        metric: Metric::MediaLoss,
        labels: Labels::new(),
        value: 0.05,
        worst: 0.06,
        limit: 0.03,
        level: Level::Degraded,
        since: now(),
        bad: 3,
        of: 4,
        echo: None,
        shift: None,
    };
    Incident {
        scope: format!("room-{number}"),
        family: Family::Net,
        cause: Cause::Room,
        opened_at: now(),
        recovered_at: None,
        lesson_at_risk: None,
        judgement: None,
        evidence: vec![evidence],
    }
}

fn site() -> Site {
    let mut site = Site::default();
    (site.room.id, site.policy.most_per_hour) = ("r1".into(), u32::MAX);
    site
}

fn channels() -> Channels {
    let configs = BTreeMap::from([("desk".to_owned(), ChannelConfig::Folder(folder::Config::default()))]);
    Channels::new(configs, None, PathBuf::from("/nowhere"), Language::Chinese)
}

fn calendar(site: &Site) -> Calendar {
    let (timetable, holidays) = (Timetable::default(), Holidays::of_country("CN"));
    let sources = Sources {
        timetable: &timetable,
        ical: &[],
        holidays: &holidays,
        vendor: &site.vendor,
        vendor_holidays: &holidays,
        zone: site.locale.timezone,
    };
    let first = now().date_naive();
    build(sources, first..first + Days::new(60))
}

fn planning(criterion: &mut Criterion) {
    let (site, channels) = (site(), channels());
    let calendar = calendar(&site);
    let mut memory = Memory { incidents: (0..OPEN).map(incident).collect(), ..Memory::default() };
    plan(&mut memory, &[], &site, &channels, &calendar, now());
    assert_eq!(memory.bookings.len(), OPEN);
    let later = now() + TimeDelta::minutes(5);
    let mut group = criterion.benchmark_group("plan a thousand open bookings");
    group.bench_function("nothing new", |bencher| {
        let run = |memory: &mut Memory| black_box(plan(memory, &[], &site, &channels, &calendar, later));
        bencher.iter_batched_ref(|| memory.clone(), run, BatchSize::LargeInput);
    });
    group.finish();
}

fn committing(criterion: &mut Criterion) {
    let (site, channels) = (site(), channels());
    let calendar = calendar(&site);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Beside the build, since a folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, first) = runtime.block_on(Store::open(&folder.path().join("ledger.db"), now(), "ledger")).unwrap();
    let mut number = 0;
    criterion.bench_function("commit of a booking with its order", |bencher| {
        let conclusion = || {
            number += 1;
            let mut memory = Memory { incidents: vec![incident(number)], ..first.clone() };
            let plan = plan(&mut memory, &[], &site, &channels, &calendar, now());
            assert_eq!(plan.orders.len(), 1);
            (number.to_string(), Conclusion::of_plan(memory, plan))
        };
        let commit = |(id, conclusion): (String, Conclusion)| {
            runtime.block_on(store.commit(&id, &conclusion, Record::default(), now())).unwrap()
        };
        bencher.iter_batched(conclusion, commit, BatchSize::PerIteration);
    });
}

criterion_group!(benches, planning, committing);
criterion_main!(benches);
