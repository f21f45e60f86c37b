//! Properties of packing, folding and lines, over samples drawn at random from a fixed seed.

use std::{collections::BTreeMap, sync::Arc};

use bellwether_probes::{Failure, Label, Metric, ProbeRun, Reading, Reason, Validity};
use chrono::DateTime;

use super::{
    BLOCK_MS, DAY_MS, Event, Sample, Series, What,
    fold::{self, Block, Day, Manner, Sum},
    line::{self, Entry},
    pack, samples_of,
};

/// 2026-09-21, a Monday.
const DAY: i64 = 20_717;
const MIDNIGHT: i64 = DAY * DAY_MS;

fn any_sample(rng: &mut fastrand::Rng, at: i64) -> Sample {
    let value = match rng.u8(0..6) {
        0 => 0.0,
        1 => -0.0,
        2 => f64::from(rng.u32(..)),
        3 => rng.f64() * 1e-300,
        4 => f64::MAX,
        _ => (rng.f64() - 0.5) * 1e3,
    };
    let (validity, reason) = match rng.u8(0..4) {
        0 => (Validity::LowConfidence, Some(Reason::FewSamples)),
        1 => (Validity::Inconclusive, Some(Reason::HostLimited)),
        2 => (Validity::Inconclusive, None),
        _ => (Validity::Ok, None),
    };
    Sample {
        at,
        value: rng.bool().then_some(value),
        n: rng.u64(..) >> rng.u8(0..64),
        low: rng.bool().then(|| rng.f64()),
        high: rng.bool().then(|| -rng.f64()),
        validity,
        reason,
    }
}

fn any_run(rng: &mut fastrand::Rng) -> (i64, Vec<(i64, Sample)>) {
    let from = MIDNIGHT + rng.i64(0..DAY_MS);
    let count = rng.usize(0..40);
    let samples = (0..count).map(|_| {
        let at = from + rng.i64(-1000..100_000);
        (rng.i64(0..300), any_sample(rng, at))
    });
    (from, samples.collect())
}

fn any_day(rng: &mut fastrand::Rng) -> Day {
    let blocks = (0..48).filter(|_| rng.bool()).collect::<Vec<u8>>();
    let blocks = blocks.into_iter().map(|place| {
        let value = [0.0, rng.f32() * 1e-3, -rng.f32() * 1e30, 1.0][rng.usize(0..4)];
        (place, Block { value, n: rng.u32(..) >> rng.u8(0..32), thin: rng.bool() })
    });
    let blocks = blocks.collect();
    let sum = Sum { n: rng.u32(..), min: -rng.f32(), median: rng.f32(), p95: f32::MAX, max: f32::MIN_POSITIVE };
    Day { blocks, sum }
}

#[test]
fn what_was_packed_is_unpacked_to_the_last_bit() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..2000 {
        let (from, run) = any_run(&mut rng);
        let bytes = pack::pack(from, &run);
        let again = pack::unpack(from, &bytes).expect("what was packed");
        // Equal bytes, so that −0 is not 0.
        assert_eq!((&again, pack::pack(from, &again)), (&run, bytes));
        let day = any_day(&mut rng);
        let bytes = fold::pack(&day);
        let again = fold::unpack(&bytes).expect("what was packed");
        assert_eq!((&again, fold::pack(&again)), (&day, bytes));
    }
}

#[test]
fn bytes_that_were_cut_or_changed_are_an_error() {
    let mut rng = fastrand::Rng::with_seed(8);
    for _ in 0..300 {
        let (from, run) = any_run(&mut rng);
        let (run, day) = (pack::pack(from, &run), fold::pack(&any_day(&mut rng)));
        let refused = |run: &[u8], day: &[u8]| {
            assert!(pack::unpack(from, run).is_err(), "{run:?}");
            assert!(fold::unpack(day).is_err(), "{day:?}");
        };
        let cut = (rng.usize(0..run.len()), rng.usize(0..day.len()));
        refused(&run[..cut.0], &day[..cut.1]);
        let mut changed = (run.clone(), day.clone());
        changed.0[cut.0] ^= rng.u8(1..);
        changed.1[cut.1] ^= rng.u8(1..);
        refused(&changed.0, &changed.1);
        refused(&day, &run);
    }
}

/// Bytes with a right checksum and nonsense before it, as a program with a mistake could write them.
#[test]
fn nonsense_is_no_panic_and_takes_no_memory() {
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..20_000 {
        let length = rng.usize(0..80);
        let mut writer = pack::Writer::new(1);
        let count = if rng.bool() { u64::MAX } else { rng.u64(0..4) };
        writer.unsigned(count);
        (0..length).for_each(|_| writer.byte(rng.u8(..)));
        let bytes = writer.finish();
        let _either = pack::unpack(MIDNIGHT, &bytes);
        let _either = fold::unpack(&bytes);
    }
    assert_eq!(pack::unpack(0, &[]), Err(pack::PackError::Length));
    let other = pack::Writer::new(2).finish();
    assert_eq!(pack::unpack(0, &other), Err(pack::PackError::Format(2)));
}

#[test]
fn the_checksum_is_the_published_one() {
    // "123456789" gives 0x29b1 (reveng.sourceforge.io, CRC-16/IBM-3740).
    let mut writer = pack::Writer::new(b'1');
    writer.bytes(b"23456789");
    assert_eq!(writer.finish()[9..], [0x29, 0xb1]);
}

fn series(metric: &str) -> Series {
    Series { metric: metric.to_owned(), labels: BTreeMap::from([("probe".to_owned(), "call".to_owned())]) }
}

#[test]
fn half_hours_are_as_the_engine_defines_them() {
    let five_minutes = |values: &[f64]| -> Vec<(i64, f64)> {
        (0..).zip(values).map(|(place, value)| (MIDNIGHT + place * 300_000 + 7, *value)).collect()
    };
    let of =
        |metric: &str, samples: &[(i64, f64)]| fold::fold(DAY, Manner::of(&series(metric)), samples).expect("a day");
    // A spike is gone from the median; of a share, the largest is left out of the mean.
    let spiky = five_minutes(&[0.2, 0.0, 0.1, 9.0, 0.0, 0.1, 0.4]);
    let block = |day: &Day, place: usize| (day.blocks[place].0, day.blocks[place].1);
    let rtt = of("media_round_trip", &spiky);
    assert_eq!(block(&rtt, 0), (0, Block { value: 0.1, n: 6, thin: false }));
    assert_eq!(block(&rtt, 1), (1, Block { value: 0.4, n: 1, thin: true }), "one sample tells little");
    assert_eq!(rtt.sum, Sum { n: 7, min: 0.0, median: 0.1, p95: 9.0, max: 9.0 });
    assert!((of("media_loss", &spiky).blocks[0].1.value - 0.08).abs() < 1e-6);
    assert!(!of("media_frame_ratio", &spiky).blocks[1].1.thin, "a full call comes once a half-hour");
    // Fewer than half of those that should be there.
    let mut thin: Vec<(i64, f64)> = five_minutes(&[1.0; 18]);
    thin.retain(|(at, _)| !(MIDNIGHT + BLOCK_MS + 600_000..MIDNIGHT + 2 * BLOCK_MS).contains(at));
    let thin = of("cpu_utilization", &thin);
    assert_eq!(
        thin.blocks.iter().map(|(_, block)| (block.n, block.thin)).collect::<Vec<_>>(),
        [(6, false), (2, true), (6, false)]
    );
    // The share of probes that came through.
    let probe: Vec<(i64, f64)> = five_minutes(&[1.0, 1.0, 0.0, 1.0]);
    let share = Block { value: 0.75, n: 4, thin: false };
    assert_eq!(of(super::PROBE_OK, &probe).blocks, [(0, share)]);
    // Of other days, twice, or beyond all numbers that are kept.
    let odd = [(MIDNIGHT - 1, 5.0), (MIDNIGHT, 1.0), (MIDNIGHT, 7.0), (MIDNIGHT + DAY_MS, 5.0), (MIDNIGHT + 5, 1e300)];
    assert_eq!(of("cpu_utilization", &odd).sum, Sum { n: 1, min: 1.0, median: 1.0, p95: 1.0, max: 1.0 });
    assert_eq!(fold::fold(DAY, Manner::Median, &[]), None);
}

#[test]
fn a_run_is_its_readings_and_whether_it_came_through() {
    let start = DateTime::from_timestamp_millis(MIDNIGHT + 250).expect("an instant");
    let mut run = ProbeRun::new("call", start);
    run.duration_seconds = 8.5;
    let reading =
        Reading::new(start, Metric::MediaRoundTrip, 0.04, 80).with(Label::Stat, "p95").between(0.03, f64::NAN);
    run.readings.push(reading.inconclusive(Reason::FewSamples));
    let samples = samples_of(&run);
    let names: Vec<_> = samples.iter().map(|(series, _)| line::measure_labels(series)).collect();
    assert_eq!(names, ["probe=call", "probe=call,stat=p95"]);
    let expected = Sample {
        at: MIDNIGHT + 250,
        value: Some(0.04),
        n: 80,
        low: Some(0.03),
        high: None,
        validity: Validity::Inconclusive,
        reason: Some(Reason::FewSamples),
    };
    assert_eq!((samples[1].1, samples[1].1.judged()), (expected, None));
    assert_eq!((samples[0].1.at, samples[0].1.value), (MIDNIGHT + 8750, Some(1.0)));
    run.failure = Some(Failure::new(Reason::Ice, ""));
    assert_eq!((samples_of(&run)[0].1.value, samples_of(&run)[0].1.reason), (Some(0.0), Some(Reason::Ice)));
    run.failure = Some(Failure::new(Reason::Cancelled, ""));
    assert_eq!(samples_of(&run)[0].1.value, None, "the daemon was stopped: that says nothing of the room");
}

#[test]
fn a_line_read_again_is_the_same_line() {
    let mut rng = fastrand::Rng::with_seed(10);
    let strange = Series {
        metric: "rtt_ms".to_owned(),
        labels: BTreeMap::from([("mount".to_owned(), "/a \"b\\ 教室".to_owned())]),
    };
    for _ in 0..500 {
        let series = Arc::new(if rng.bool() { strange.clone() } else { series("media_loss") });
        let at = MIDNIGHT + rng.i64(0..DAY_MS);
        let begin = MIDNIGHT + rng.i64(0..48) * BLOCK_MS;
        let day = any_day(&mut rng);
        let what = match rng.u8(0..3) {
            0 => What::VersionChange { component: "app".to_owned(), from: "1.\"2".to_owned(), to: "1.3".to_owned() },
            1 => What::Lesson { start: at + 1, end: at + 45 },
            _ => What::Maintenance { action: "done".to_owned(), booking: "bw1-abc".to_owned() },
        };
        let sample = any_sample(&mut rng, at);
        let mut entries = vec![Entry::Event(Event { at, what }), Entry::Sum(series.clone(), MIDNIGHT, day.sum)];
        entries.push(Entry::Sample(series.clone(), sample));
        entries.extend(day.blocks.first().map(|(_, block)| Entry::Block(series.clone(), begin, *block)));
        for entry in entries {
            let text = line::write("301", &entry);
            let read = line::read(text.as_bytes()).expect("a line of ours");
            assert_eq!((read.room.as_deref(), &read.entries[..]), (Some("301"), &[entry][..]), "{text}");
        }
    }
}

#[test]
fn a_sample_is_the_one_shape_of_a_reading() {
    let sample = Sample {
        at: MIDNIGHT + 1500,
        value: Some(0.125),
        n: 500,
        low: None,
        high: Some(0.5),
        validity: Validity::LowConfidence,
        reason: Some(Reason::FewSamples),
    };
    assert_eq!(
        line::write("301", &Entry::Sample(Arc::new(series("media_loss")), sample)),
        r#"{"ts":"2026-09-21T00:00:01.500Z","metric":"media_loss","labels":{"probe":"call","room":"301"},"value":0.125,"unit":"ratio","n":500,"low":null,"high":0.5,"validity":"low_confidence","reason":"few_samples"}"#
    );
    let block = Block { value: 0.1, n: 6, thin: false };
    let text = line::write("301", &Entry::Block(Arc::new(series("media_loss")), MIDNIGHT, block));
    assert!(text.contains(r#""value":0.1,"#) && text.ends_with(r#""block_s":1800}"#), "{text}");
}

#[test]
fn lines_of_others_are_read_as_replay_reads_them() {
    let read = |text: &str| line::read(text.as_bytes());
    let both =
        read(r#"{"ts":1758675900,"labels":{"room":"r1","building":"b"},"values":{"rtt_ms":23.1,"probe_ok":null}}"#);
    let both = both.expect("a line");
    let values = both.entries.iter().map(|entry| match entry {
        Entry::Sample(series, sample) => (series.metric.as_str(), series.labels.len(), sample.value, sample.n),
        other => panic!("{other:?}"),
    });
    let values: Vec<_> = values.collect();
    assert_eq!(values, [("rtt_ms", 0, Some(23.1), 1), ("probe_ok", 0, None, 1)]);
    assert!(read(r#"{"ts":"never","metric":"x","value":1}"#).is_err());
    assert!(read("nonsense").is_err());
    // Of another length than is kept, or begun in the midst of one.
    for block in [r#""ts":1800,"block_s":900"#, r#""ts":1801,"block_s":1800"#, r#""ts":0,"block_s":9e300"#] {
        let text = format!(r#"{{{block},"metric":"x","value":1,"n":3,"min":0,"p95":1,"max":1}}"#);
        assert_eq!(read(&text).expect("a line").entries, [], "{text}");
    }
}
