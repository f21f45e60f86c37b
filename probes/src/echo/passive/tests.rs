#![allow(clippy::unwrap_used, reason = "tests")]

use super::{
    super::{
        room::{self, Room, true_loss},
        take::{Device, Devices},
        voices::{babble, music, voice},
    },
    *,
};

const SECOND: usize = RATE as usize;
/// Speech at −26 dBFS.
const SPEECH: f64 = 0.05;

fn devices() -> Devices {
    let device =
        |name: &str| Device { name: name.to_owned(), muted: false, volume_decibels: None, is_processed: false };
    Devices { loudspeaker: device("loudspeaker"), microphone: device("microphone") }
}

fn far(seconds: usize, seed: u64) -> Vec<f64> {
    voice(seconds * SECOND, seed).iter().map(|x| x * SPEECH).collect()
}

/// The echo in pink noise 15 dB below it.
fn echo(room: &Room, played: &[f64]) -> Vec<f64> {
    let echo = room.hear(played);
    room::with(&echo, &room::pink(echo.len(), room.seed), room::level(&echo) - 15.0)
}

fn analysed(played: &[f64], heard: &[f64]) -> Findings {
    let (reference, microphone) = (room::converted(played), room::converted(heard));
    let devices = devices();
    let reference = Some(Line { samples: &reference, start: 0.0 });
    analyse(&Take { microphone: Line { samples: &microphone, start: 0.0 }, reference, slips: 0, devices: &devices })
}

fn rooms() -> impl Iterator<Item = Room> {
    (0..3).map(|seed| Room::new(0.031 + 0.0904 * seed as f64, 12.0 + 8.0 * seed as f64, seed))
}

#[test]
fn half_a_minute_of_speech_tells_delay_and_loss_even_while_somebody_in_the_room_speaks_ten_times_as_loud() {
    for room in rooms() {
        let played = far(30, 40 + room.seed);
        let alone = echo(&room, &played);
        let near = voice(alone.len(), 80 + room.seed);
        let wide = true_loss(&room.response(), WIDE);
        for (level, within) in [(None, 0.2), (Some(0.0), 0.4), (Some(10.0), 0.6)] {
            let level = level.map_or(0.0, |level: f64| 10f64.powf((room::level(&alone) + level) / 20.0));
            let heard: Vec<f64> = alone.iter().zip(&near).map(|(x, near)| x + level * near).collect();
            let findings = analysed(&played, &heard);
            let delay = findings.delay_seconds.unwrap();
            assert!((delay - room.delay).abs() < 5e-5, "{delay}, not {}", room.delay);
            let (narrow, wideband) = (findings.return_loss.unwrap(), findings.return_loss_wideband.unwrap());
            assert!((narrow - room.loss).abs() < within, "{narrow}, not {}", room.loss);
            assert!((wideband - wide).abs() < within, "{wideband}, not {wide}");
            assert!(findings.coherence.unwrap() > if level > 0.0 { 0.02 } else { 0.8 });
            assert_eq!((findings.loudspeaker, findings.microphone), (State::Working, State::Working));
            assert_eq!(findings.reason, None);
        }
    }
}

#[test]
fn beside_a_voice_a_hundred_times_as_loud_the_loss_is_near_or_absent() {
    for room in rooms() {
        let played = far(30, 140 + room.seed);
        let alone = echo(&room, &played);
        let level = room::level(&alone) + 20.0;
        let findings = analysed(&played, &room::with(&alone, &voice(alone.len(), 180 + room.seed), level));
        assert!(findings.delay_seconds.is_none_or(|delay| (delay - room.delay).abs() < 2e-4));
        assert!(findings.return_loss.is_none_or(|loss| (loss - room.loss).abs() < 1.0));
        assert_eq!(findings.return_loss.is_none(), findings.reason.is_some(), "{findings:?}");
    }
}

/// So many samples, by a seed.
type Sound = fn(usize, u64) -> Vec<f64>;

#[test]
fn no_sound_that_the_room_did_not_play_is_taken_for_echo() {
    // Some of many: 900 stand in `examples/no_echo.rs`.
    let length = 20 * SECOND;
    let (played, heard): ([Sound; 3], [Sound; 4]) = ([voice, music, babble], [voice, music, babble, room::pink]);
    for trial in 0..4 {
        let played = played[trial as usize % 3](length, trial);
        let heard = heard[(trial as usize + 1) % 4](length, 1000 + trial);
        let scale = |samples: &[f64]| samples.iter().map(|x| x * SPEECH).collect::<Vec<_>>();
        // No microphone is without noise.
        let heard = room::with(&scale(&heard), &room::white(length, trial), -70.0);
        let findings = analysed(&scale(&played), &heard);
        assert_eq!(findings.reason, Some(Reason::Noise), "{trial}: {findings:?}");
        assert_eq!((findings.delay_seconds, findings.return_loss), (None, None));
        assert_eq!((findings.loudspeaker, findings.microphone), (State::Unsure, State::Working));
    }
}

#[test]
fn both_lines_are_placed_by_their_starts_and_may_drift_apart() {
    let room = Room::new(0.08, 15.0, 5);
    let played = far(30, 5);
    let heard = room::resampled(&echo(&room, &played), 60e-6);
    let (reference, microphone) = (room::converted(&played[4800..]), room::converted(&heard[9600..]));
    let devices = devices();
    let findings = analyse(&Take {
        microphone: Line { samples: &microphone, start: 9600.0 + 0.75 },
        reference: Some(Line { samples: &reference, start: 4800.0 + 0.25 }),
        slips: 0,
        devices: &devices,
    });
    // Half a sample by the starts, and half a minute of 60 parts in a million, at its middle.
    let delay = room.delay + 0.5 / 48_000.0 + 15.0 * 60e-6;
    assert!((findings.delay_seconds.unwrap() - delay).abs() < 1.5e-4, "{findings:?}");
    assert!((findings.return_loss.unwrap() - room.loss).abs() < 0.3, "{findings:?}");
}

#[test]
fn sound_that_slips_in_between_gives_no_number() {
    let room = Room::new(0.15, 12.0, 6);
    let played = far(20, 6);
    let heard = echo(&room, &played);
    let (before, after) = heard.split_at(10 * SECOND);
    for slip in [100, 480, 4800] {
        let lost = [before, &after[slip..]].concat();
        let repeated = [before, &before[before.len() - slip..], after].concat();
        for heard in [lost, repeated] {
            let findings = analysed(&played, &heard);
            let numbers = (findings.delay_seconds, findings.return_loss);
            assert_eq!((findings.reason, numbers), (Some(Reason::Slip), (None, None)), "{slip}");
        }
    }
}

/// An exact copy, later and fainter, as of a server that mixes in whole samples.
fn copied(played: &[f64], delay: usize) -> Vec<f64> {
    let heard = std::iter::repeat_n(0.0, delay).chain(played.iter().map(|x| 0.25 * x));
    heard.take(played.len()).collect()
}

#[test]
fn the_loss_of_a_path_of_half_a_second_is_told_like_that_of_a_short_one() {
    let played = far(14, 9);
    for milliseconds in [5, 60, 150, 303, 333, 450] {
        let findings = analysed(&played, &copied(&played, milliseconds * 48));
        let (delay, loss) = (findings.delay_seconds.unwrap(), findings.return_loss.unwrap());
        assert!((delay - milliseconds as f64 / 1e3).abs() < 1e-5, "{milliseconds} ms: {findings:?}");
        assert!((loss - 12.04).abs() < 0.1 && findings.reason.is_none(), "{milliseconds} ms: {findings:?}");
    }
}

#[test]
fn what_starts_pauses_and_starts_again_in_digital_silence_is_no_slip() {
    let mut played = far(22, 10);
    for pause in [0..4, 9..11, 16..17] {
        played[pause.start * SECOND..pause.end * SECOND].fill(0.0);
    }
    let room = Room::new(0.2, 12.0, 10);
    for (heard, delay, loss) in [(copied(&played, 14_544), 0.303, 12.04), (room.hear(&played), room.delay, room.loss)] {
        let findings = analysed(&played, &heard);
        assert!((findings.delay_seconds.unwrap() - delay).abs() < 5e-5, "{findings:?}");
        assert!((findings.return_loss.unwrap() - loss).abs() < 0.35, "{findings:?}");
        assert_eq!((findings.microphone, findings.reason), (State::Working, None));
    }
    // A microphone that is not there yet when the sound begins.
    let mut late = room.hear(&played);
    late[..5 * SECOND].fill(0.0);
    let findings = analysed(&played, &late);
    assert!((findings.return_loss.unwrap() - room.loss).abs() < 1.0, "{findings:?}");
}

#[test]
fn what_keeps_an_echo_from_being_measured_is_named() {
    let played = room::converted(&far(12, 7));
    let noise = room::converted(&room::pink(12 * SECOND, 7).iter().map(|x| x * 0.001).collect::<Vec<_>>());
    let mut gap = noise.clone();
    gap[SECOND..SECOND + DEAD].fill(0);
    let line = |samples| Line { samples, start: 0.0 };
    let good = devices();
    let base = Take { microphone: line(&noise), reference: Some(line(&played)), slips: 0, devices: &good };
    let reason = |take: Take<'_>| analyse(&take).reason;
    for is_loudspeaker in [true, false] {
        let mut muted = devices();
        let device = if is_loudspeaker { &mut muted.loudspeaker } else { &mut muted.microphone };
        device.muted = true;
        assert_eq!(reason(Take { devices: &muted, ..base }), Some(Reason::Muted));
    }
    let dead = analyse(&Take { microphone: line(&gap), ..base });
    assert_eq!((dead.reason, dead.microphone), (Some(Reason::Dead), State::Dead));
    // A gate is no death.
    let mut processed = devices();
    processed.microphone.is_processed = true;
    assert_ne!(reason(Take { microphone: line(&gap), devices: &processed, ..base }), Some(Reason::Dead));
    assert_eq!(reason(Take { slips: 1, ..base }), Some(Reason::Slip));
    assert_eq!(reason(Take { reference: None, ..base }), Some(Reason::NoDevice));
    assert_eq!(reason(Take { reference: Some(line(&noise)), ..base }), Some(Reason::NothingPlayed));
    assert_eq!(reason(Take { reference: Some(line(&played[..9 * SECOND])), ..base }), Some(Reason::NothingPlayed));
    assert_eq!(reason(base), Some(Reason::Noise));
}

#[test]
fn takes_cut_off_or_far_apart_give_a_reason() {
    let played = room::converted(&far(12, 8));
    let noise = room::converted(&room::white(12 * SECOND, 8).iter().map(|x| x * 0.01).collect::<Vec<_>>());
    let devices = devices();
    for (count, start) in [(0, 0.0), (1, 0.0), (SECOND, 0.0), (12 * SECOND, 1e300), (12 * SECOND, -1e300)] {
        for start in [start, f64::NAN, f64::INFINITY, 0.5, -1e7] {
            let microphone = Line { samples: &noise[..count], start };
            let reference = Some(Line { samples: &played, start: 0.0 });
            let findings = analyse(&Take { microphone, reference, slips: 0, devices: &devices });
            assert!(findings.reason.is_some() && findings.delay_seconds.is_none());
        }
    }
    let empty = Line { samples: &[], start: 0.0 };
    let take = Take { microphone: empty, reference: Some(empty), slips: 0, devices: &devices };
    assert_eq!(analyse(&take).reason, Some(Reason::NothingPlayed));
}
