//! How long the analyses of one call take. A run of 20 s is to be analysed within 300 ms, so that it adds
//! nothing to speak of to the call itself.

#![allow(missing_docs, reason = "a benchmark")]

use bellwether_probes::{
    ProbeRun, Reading,
    media::{
        analysis::analyse,
        capture::{
            Capture, DecodedFrame, HeardMarker, Nanos, ReceivedFrame, ReceivedPacket, SentFrame, SentMarker,
            SentPacket, Stream,
        },
        delay, jitter, loss, picture, playout, sync, wire,
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, criterion_group, criterion_main};

const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MS;
const PER_FRAME: u64 = 4;

/// A call of a second of warm-up and `length` seconds: 2 % loss, delays from 50 to 80 ms, copies.
fn call(length: i64) -> Capture {
    let mut random = fastrand::Rng::with_seed(1);
    let media_end = (1 + length) * SECOND;
    let text = format!(
        r#"{{"format":1,"started_at":"1970-01-01T00:00:00Z","ended_at":"1970-01-01T00:01:00Z","target":"sfu",
        "phases":[],"connect_seconds":0.1,"first_sound":1,"first_frame":1,"media_start":{SECOND},
        "media_end":{media_end},"frame_rate":30.0,"sent":[],"received":[],"frames_sent":[],"frames_decoded":[],
        "markers_sent":[],"markers_heard":[],"round_trips":[0.06,0.06],"overshoots":[],"clock_drift":0,"dropped":0}}"#
    );
    let mut capture: Capture = serde_json::from_str(&text).expect("a capture");
    capture.ended_at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(length + 2);
    capture.overshoots = vec![MS / 10; length as usize * 200];
    let mut send = |capture: &mut Capture, stream, sequence, rtp_time, due: Nanos| {
        let hash = random.u64(..);
        let packet = SentPacket { stream, sequence, rtp_time, hash, bytes: 900, unique: true, due, at: Some(due) };
        capture.sent.push(packet);
        let at = due + random.i64(50 * MS..80 * MS);
        let came = random.f64() >= 0.02;
        for _ in 0..usize::from(came) + usize::from(came && random.f64() < 0.01) {
            capture.received.push(ReceivedPacket { stream, sequence, rtp_time, hash, bytes: 900, at, seen: at });
        }
        came.then_some(at)
    };
    for block in 0..(1 + length as u64) * 50 {
        let (due, rtp_time) = (block as Nanos * 20 * MS, block as u32 * 960);
        let arrival = send(&mut capture, Stream::Audio, block, rtp_time, due);
        if block % 50 == 0 {
            let up = block % 150 == 0;
            capture.markers_sent.push(SentMarker { index: block / 50, up, generated: due - 20 * MS });
            let heard = |at| HeardMarker { up, at, margin_db: 20.0, rtp_time: Some(rtp_time) };
            capture.markers_heard.extend(arrival.map(heard));
        }
    }
    for counter in 0..(1 + length as u64) * 30 {
        let (due, rtp_time) = (counter as Nanos * SECOND / 30, counter as u32 * 3000);
        let parts: Vec<Option<Nanos>> = (0..PER_FRAME)
            .map(|part| send(&mut capture, Stream::Video, counter * PER_FRAME + part, rtp_time, due))
            .collect();
        capture.frames_sent.push(SentFrame { counter, captured: due, hash: Some(counter) });
        if let Some(completed) = parts.into_iter().collect::<Option<Vec<_>>>().and_then(|parts| parts.into_iter().max())
        {
            let key = counter % 60 == 0;
            capture.frames_received.push(ReceivedFrame { hash: counter, rtp_time, completed, key });
            let (at, rtp_time) = (completed + MS, Some(rtp_time));
            capture.frames_decoded.push(DecodedFrame { counter, at, completed, torn: false, rtp_time });
        }
    }
    capture.received.sort_by_key(|packet| packet.at);
    capture
}

fn analyses(criterion: &mut Criterion) {
    let capture = call(20);
    criterion.bench_function("all analyses of 20 s", |bencher| {
        bencher.iter(|| {
            let mut run = ProbeRun::new("call", capture.started_at);
            analyse(&capture, &mut run);
            run
        });
    });
    // Six times the call is to take six times as long, not thirty-six.
    let long = call(120);
    criterion.bench_function("all analyses of 120 s", |bencher| {
        bencher.iter(|| {
            let mut run = ProbeRun::new("call", long.started_at);
            analyse(&long, &mut run);
            run
        });
    });
    type Part = (&'static str, fn(&Capture) -> Vec<Reading>);
    let parts: [Part; 7] = [
        ("delay", delay::readings),
        ("jitter", jitter::readings),
        ("loss", loss::readings),
        ("sync", sync::readings),
        ("picture", picture::readings),
        ("playout", playout::readings),
        ("wire", wire::readings),
    ];
    for (name, readings) in parts {
        criterion.bench_function(name, |bencher| bencher.iter(|| readings(&capture)));
    }
}

criterion_group!(benches, analyses);
criterion_main!(benches);
