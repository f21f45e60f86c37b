#![allow(clippy::unwrap_used, reason = "tests")]

use std::{future::pending, time::Duration};

use bytes::Bytes;
use chrono::DateTime;
use serde_json::json;

use super::*;
use crate::{
    Metric,
    echo::Form,
    media::{
        codec::{SoundDecoder, SoundEncoder, browser::BrowserEncoder},
        far::{Far, Manner, Room},
    },
    units::Span,
    worker::Task,
};

const MS: i64 = 1_000_000;

#[test]
fn what_arrives_as_it_is_spoken_lies_before_its_place_by_what_decoding_lags() {
    assert!((place(0) + 312.0).abs() < 1e-9);
    assert!((place(100 * MS) - 4488.0).abs() < 1e-9);
    assert!((place(-100 * MS) + 5112.0).abs() < 1e-9);
}

/// 30 s of talk by packets of 20 ms, 7 ms on the way there and 11 ms back, to a room that plays them and sends
/// what its microphone takes. The packets wait longer now and then.
fn by_a_room(delay: usize, gain: f32) -> Findings {
    let (mut talk, mut decoder) = (Talk::new(), SoundDecoder::new().unwrap());
    let (mut ours, mut theirs) = (SoundEncoder::light(32_000).unwrap(), BrowserEncoder::new(32_000));
    let mut ear = Ear::new(Buffer::new(40 * RATE as usize, 0).unwrap()).unwrap();
    let mut air = vec![0.0; delay];
    let blocks = 31 * 50;
    for block in 0..blocks {
        let mut samples = [0.0; SOUND_FRAME];
        talk.fill(block * SOUND_FRAME as u64, &mut samples);
        air.extend_from_slice(decoder.decode(&ours.encode(&samples).unwrap()).unwrap());
        let taken: Vec<f32> = air.drain(..SOUND_FRAME).map(|sample| gain * sample).collect();
        let payload = Bytes::from(theirs.encode(taken.as_slice().try_into().unwrap()));
        let waits = if block % 3 == 1 { 0 } else { (block as i64 * 7) % 25 };
        // Spoken from 500 ms on: one packet's length until it leaves here, and one until it leaves there.
        let at = (500 + 20 + 7 + 20 + 11 + 20 * block as i64 + waits) * MS;
        let rtp_time = (block as u32 * SOUND_FRAME as u32).wrapping_add(u32::MAX - 400_000);
        ear.take(&HeardPacket { ssrc: 1, sequence: block as u16, rtp_time, payload: &payload, at });
    }
    ear.finish();
    let (samples, first) = ear.heard().unwrap();
    returned::analyse(&Line { samples, start: place(first - 500 * MS) }, blocks as f64 * 0.02)
}

#[test]
fn delay_and_loss_of_a_room_come_out_of_packets() {
    for (delay, decibels) in [(2400, 6.0), (9600, 40.0)] {
        let findings = by_a_room(delay, 10f64.powf(-decibels / 20.0) as f32);
        assert_eq!(findings.reason, None);
        // Both ways, both packets, and the look-ahead of one of two encoders: that of the other is taken out.
        let wanted = delay as f64 / 48e3 + 0.007 + 0.011 + 0.040 + 0.0065;
        let (found, loss) = (findings.delay_seconds.unwrap(), findings.echo_loss.unwrap());
        assert!((found - wanted).abs() < 0.001, "{found} s instead of {wanted}");
        assert!((loss - decibels).abs() < 1.0, "{loss} dB instead of {decibels}");
        let initial = findings.initial_loss.unwrap();
        assert!((initial - decibels).abs() < 1.0, "{initial} dB at first instead of {decibels}");
    }
}

fn job(config: &Config) -> Job {
    Job {
        probe: "echo".to_owned(),
        task: Task::Echo(config.clone(), None),
        seed: 1,
        timeout_seconds: 60.0,
        started_at: DateTime::UNIX_EPOCH,
        capture: None,
    }
}

fn to(url: String, seconds: u64) -> Config {
    let far_end = serde_json::from_value(json!({"kind": "reflect", "url": url})).unwrap();
    let duration = Some(Span(Duration::from_secs(seconds)));
    Config { form: Form::Call, far_end: Some(far_end), duration, ..Config::default() }
}

async fn call_to(manner: Manner, seconds: u64) -> ProbeRun {
    let far = Far::new(manner).await;
    let config = to(format!("{}/reflect", far.url), seconds);
    called(&job(&config), &config, &|_, _| {}, pending()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_called_gives_back_what_we_say() {
    let room = Room { delay: 3840, gain: 0.1 };
    let run = call_to(Manner { room: Some(room), ..Manner::default() }, 29).await;
    assert_eq!(run.failure, None);
    if run.inconclusive == Some(Reason::HostLimited) {
        // Said, and nothing claimed.
        assert_eq!(run.readings, []);
        return;
    }
    let value = |metric| run.readings.iter().find(|reading| reading.metric == metric).unwrap().value;
    assert!((value(Metric::EchoLoss) - 20.0).abs() < 1.0, "{:?}", run.readings);
    // What it cannot be below; above it, only what this box takes.
    let delay = value(Metric::EchoDelay);
    assert!((0.080 + 0.020 + 0.0055..0.5).contains(&delay), "{delay} s");
}

#[tokio::test]
async fn a_room_that_says_nothing_and_one_that_is_not_there_are_told_apart() {
    let run = call_to(Manner { mute: true, ..Manner::default() }, 3).await;
    let reason = run.failure.as_ref().map(|failure| failure.reason);
    assert!(reason == Some(Reason::FirstRtp) || run.inconclusive == Some(Reason::HostLimited), "{run:?}");
    assert_eq!(run.readings, []);

    let config = to("http://127.0.0.1:9/".to_owned(), 3);
    let run = called(&job(&config), &config, &|_, _| {}, pending()).await;
    assert_eq!(run.failure.unwrap().reason, Reason::Connect);
}

#[tokio::test]
async fn our_own_packets_are_no_echo() {
    let run = call_to(Manner::default(), 3).await;
    assert_eq!(run.failure.unwrap().reason, Reason::Signalling);
    assert_eq!(run.readings, []);
}

#[tokio::test]
async fn a_call_that_is_ended_early_says_why_and_nothing_else() {
    let far = Far::new(Manner { room: Some(Room { delay: 0, gain: 1.0 }), ..Manner::default() }).await;
    let config = to(format!("{}/reflect", far.url), 30);
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Failure::new(Reason::Cancelled, "enough")
    };
    let run = called(&job(&config), &config, &|_, _| {}, end).await;
    assert_eq!(run.failure, Some(Failure::new(Reason::Cancelled, "enough")));
    assert_eq!(run.readings, []);
}
