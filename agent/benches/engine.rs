//! What the decision engine costs. A replay is to take in a million values a second from plain JSON lines on one
//! core; one sample is to be handled within 50 µs in 99 of 100 cases, the nightly fit of a series within 1 ms,
//! and a series is to take less than 8 kB.
//!
//! Before the benchmarks it prints a table of what they do not show: quantiles, and bytes.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(clippy::print_stdout, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark takes the time")]
#![allow(unsafe_code, reason = "an allocator that counts what it hands to the system's")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use bellwether_agent::{
    judge::engine::{Engine, settings::Settings},
    replay::{Replay, SiteFile, read},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group};

/// Monday, 2025-09-01, in seconds.
const START: i64 = 1_756_684_800;
const DAY: i64 = 86_400;
/// Between samples, in seconds.
const STEP: i64 = 300;
const ROOMS: usize = 24;
/// Days of which the first fourteen are learned.
const DAYS: i64 = 21;
/// Name, unit of the middle, whether it is on a log scale.
const METRICS: [(&str, f64, bool); 8] = [
    ("rtt_ms", 20.0, true),
    ("jitter_ms", 4.0, true),
    ("loss_pct", 0.2, false),
    ("response_ms", 200.0, true),
    ("cpu_pct", 25.0, false),
    ("mem_pct", 45.0, false),
    ("sharpness_pct", 20.0, false),
    ("echo_pct", 15.0, false),
];

/// Counts what this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn settings() -> Settings {
    let metrics = METRICS.iter().map(|(name, _, log)| {
        let (scale, material) = if *log { ("log", 1.4) } else { ("linear", 10.0) };
        (
            (*name).to_owned(),
            serde_json::json!({ "worse": "up", "scale": scale, "material": material, "family": "net" }),
        )
    });
    let rooms = (0..ROOMS).map(|room| {
        serde_json::json!({ "id": format!("r{room:03}"), "building": format!("b{}", room / 8), "service": "sfu" })
    });
    let site: SiteFile = serde_json::from_value(serde_json::json!({
        "site": { "timezone": "Asia/Shanghai", "load_metric": "users" },
        "metrics": metrics.collect::<serde_json::Map<_, _>>(),
        "rooms": rooms.collect::<Vec<_>>(),
    }))
    .expect("a site file");
    site.settings(bellwether_agent::Rules::default()).expect("no mistakes")
}

/// A value of a room: noise around a middle, more under load.
fn value(rng: &mut fastrand::Rng, metric: usize, room: usize, busy: bool) -> f64 {
    let (_, middle, _) = METRICS[metric];
    let noise = (0..4).map(|_| rng.f64() - 0.5).sum::<f64>();
    middle * (1.0 + 0.02 * room as f64) * (0.1 * noise).exp() * if busy { 1.3 } else { 1.0 }
}

fn is_busy(since: i64) -> bool {
    since / DAY % 7 < 5 && (8..16).contains(&(since % DAY / 3600))
}

/// A history as plain JSON lines, and how many values of rooms it holds.
fn history() -> (String, u64) {
    let mut rng = fastrand::Rng::with_seed(5);
    let (mut lines, mut values) = (String::new(), 0);
    for since in (0..DAYS * DAY).step_by(STEP as usize) {
        let (at, busy) = (START + since, is_busy(since));
        let users = if busy { 900.0 } else { 90.0 } * (0.9 + 0.2 * rng.f64());
        let _ = writeln!(lines, r#"{{"ts":{at},"metric":"users","labels":{{"service":"sfu"}},"value":{users:.1}}}"#);
        for room in 0..ROOMS {
            if since % DAY == 0 && since / DAY % 7 < 5 {
                let (start, end) = (at + 8 * 3600, at + 16 * 3600);
                let _ = writeln!(
                    lines,
                    r#"{{"ts":{at},"event":"lesson","labels":{{"room":"r{room:03}"}},"start":{start},"end":{end}}}"#
                );
            }
            let _ = write!(lines, r#"{{"ts":{at},"labels":{{"room":"r{room:03}"}},"values":{{"#);
            for (metric, (name, ..)) in METRICS.iter().enumerate() {
                let _ = write!(lines, r#""{name}":{:.2},"#, value(&mut rng, metric, room, busy));
                values += 1;
            }
            let _ = writeln!(lines, r#""probe_ok":1,"users":{}}}}}"#, if busy { 30 } else { 0 });
        }
    }
    (lines, values)
}

fn replayed(lines: &str) -> Replay {
    let mut replay = Replay::new(settings());
    read(&mut lines.as_bytes(), &mut replay, (None, None), false, |_, _| Ok(())).expect("a history");
    replay.finish();
    replay
}

/// An engine that has learned all but the last day, and what each sample and each close of a block of that day
/// costs.
struct Measured {
    samples: Vec<Duration>,
    blocks: Vec<Duration>,
    nights: Vec<Duration>,
    bytes: isize,
    series: usize,
}

fn measured() -> Measured {
    let held = HELD.get();
    let mut engine = Engine::new(settings());
    let places: Vec<usize> = METRICS.iter().map(|(name, ..)| engine.measure(name, "").expect("a metric")).collect();
    let mut rng = fastrand::Rng::with_seed(6);
    let mut found = Measured { samples: Vec::new(), blocks: Vec::new(), nights: Vec::new(), bytes: 0, series: 0 };
    found.samples.reserve(ROOMS * METRICS.len() * (DAYS * DAY / STEP) as usize);
    let own = HELD.get();
    for since in (0..DAYS * DAY).step_by(STEP as usize) {
        let (at, busy, learned) = ((START + since) * 1000, is_busy(since), since >= 15 * DAY);
        let begun = Instant::now();
        engine.advance(at);
        if learned && since % 1800 == 0 {
            // Local midnight is at 16:00 UTC.
            if since % DAY == 16 * 3600 { &mut found.nights } else { &mut found.blocks }.push(begun.elapsed());
        }
        engine.load(0, if busy { 900.0 } else { 90.0 } * (0.9 + 0.2 * rng.f64()));
        for room in 0..ROOMS {
            engine.people(at, room, if busy { 30.0 } else { 0.0 });
            for (metric, place) in places.iter().enumerate() {
                let value = value(&mut rng, metric, room, busy);
                let begun = Instant::now();
                engine.advance(at);
                engine.sample(at, room, *place, value);
                if learned {
                    found.samples.push(begun.elapsed());
                }
            }
        }
        engine.take_actions();
    }
    let grown = (HELD.get() - own)
        - (found.blocks.capacity() + found.nights.capacity()) as isize * size_of::<Duration>() as isize;
    found.bytes = own - held - (found.samples.capacity() * size_of::<Duration>()) as isize + grown;
    found.series = engine.state().rooms.iter().flat_map(|room| &room.series).flatten().count();
    found.samples.sort_unstable();
    found.blocks.sort_unstable();
    found.nights.sort_unstable();
    found
}

fn table() {
    let (lines, values) = history();
    let begun = Instant::now();
    black_box(replayed(&lines));
    let seconds = begun.elapsed().as_secs_f64();
    let Measured { samples, blocks, nights, bytes, series } = measured();
    let of = |times: &[Duration], share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    // Of the night's work, what no other block has.
    let night = (of(&nights, 0.5) - of(&blocks, 0.5)) / series as f64;
    let worst = (of(&nights, 1.0) - of(&blocks, 0.5)) / series as f64;
    println!("{ROOMS} rooms, {} metrics, {DAYS} days, {values} values", METRICS.len());
    println!("replay from JSON lines     {:10.0} values/s   target 1000000", values as f64 / seconds);
    println!("one sample, p50            {:10.2} µs", of(&samples, 0.5));
    println!("one sample, p99            {:10.2} µs         target 50", of(&samples, 0.99));
    println!("one sample, most           {:10.2} µs", of(&samples, 1.0));
    println!("close of a block, p50      {:10.2} µs         all {series} series", of(&blocks, 0.5));
    println!("nightly fit of a series    {:10.2} µs         target 1000; the slowest night {worst:.2}", night);
    println!(
        "state of a series          {:10.0} bytes      target 8000, with its share of all else",
        bytes as f64 / series as f64
    );
}

fn engine(c: &mut Criterion) {
    let (lines, values) = history();
    let mut group = c.benchmark_group("engine");
    group.sample_size(10).throughput(Throughput::Elements(values));
    group.bench_function("replay from JSON lines", |b| b.iter(|| replayed(black_box(&lines))));
    let replay = replayed(&lines);
    let stored = replay.engine().stored();
    let restored = || Engine::restore(settings(), &stored).expect("its own state");
    let end = (START + DAYS * DAY) * 1000;
    group.throughput(Throughput::Elements(1));
    group.bench_function("one sample", |b| {
        let (mut engine, mut at) = (restored(), end);
        let place = engine.measure("rtt_ms", "").expect("a metric");
        b.iter(|| {
            at += 1000;
            engine.advance(at);
            engine.sample(at, 3, place, black_box(21.0))
        });
    });
    group.throughput(Throughput::Elements((ROOMS * METRICS.len()) as u64));
    group.bench_function("a day's end, all series", |b| {
        b.iter_batched_ref(
            || {
                let mut engine = restored();
                engine.advance(end + 16 * 3_600_000 - 1);
                engine
            },
            |engine| engine.advance(end + 16 * 3_600_000),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, engine);

fn main() {
    table();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
