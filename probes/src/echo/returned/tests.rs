#![allow(clippy::unwrap_used, reason = "tests")]

use sonora::config::NoiseSuppressionLevel;

use super::{
    super::{
        processing::{Processing, processed},
        room::{self, Room, true_loss},
        voices::{babble, music, voice},
    },
    *,
};
use crate::media::codec::{LOOK_AHEAD, SOUND_FRAME, SoundDecoder, SoundEncoder, browser::BrowserEncoder};

const SECONDS: f64 = 30.0;

fn talk() -> Vec<f64> {
    let mut samples = vec![0.0; (SECONDS * f64::from(RATE)) as usize];
    Talk::new().fill(0, &mut samples);
    samples.into_iter().map(f64::from).collect()
}

/// The echo, with noise of a quiet room at so many decibels.
fn echo(room: &Room, noise: f64) -> Vec<f64> {
    let echo = room.hear(&talk());
    room::with(&echo, &room::pink(echo.len(), room.seed), noise)
}

/// Through an encoder and our decoder, the look-ahead taken out.
fn through(mut encode: impl FnMut(&[f32; SOUND_FRAME]) -> Vec<u8>, samples: &[f64]) -> Vec<f64> {
    let mut decoder = SoundDecoder::new().unwrap();
    let mut out = Vec::new();
    for chunk in samples.chunks_exact(SOUND_FRAME) {
        let block: Vec<f32> = chunk.iter().map(|x| *x as f32).collect();
        let packet = encode(block.first_chunk().unwrap());
        out.extend(decoder.decode(&packet).unwrap().iter().map(|x| f64::from(*x)));
    }
    out.drain(..LOOK_AHEAD as usize);
    out
}

/// Through Opus as in a call of ours.
fn coded(mut encoder: SoundEncoder, samples: &[f64]) -> Vec<f64> {
    through(|block| encoder.encode(block).unwrap(), samples)
}

/// What comes back without any coding.
fn plain(heard: &[f64]) -> Findings {
    compared(&Line { samples: &room::converted(heard), start: 0.0 }, SECONDS, |_| 0.0)
}

fn wide(room: &Room) -> f64 {
    true_loss(&room.response(), WIDE)
}

#[test]
fn a_share_of_the_power_spoken_is_told_to_a_quarter_of_a_decibel() {
    for (loss, delay) in [(6.0, 0.03), (35.0, 0.4), (60.0, 1.3)] {
        let room = Room::new(delay, loss, 1);
        let findings = plain(&echo(&room, -90.0));
        let (told, initial) = (findings.echo_loss.unwrap(), findings.initial_loss.unwrap());
        assert!((told - wide(&room)).abs() < 0.3 && !findings.echo_loss_is_bound, "{told}, not {}", wide(&room));
        assert!((initial - wide(&room)).abs() < 0.6, "{initial}, not {}", wide(&room));
        assert!((findings.delay_seconds.unwrap() - delay).abs() < 1e-4, "{findings:?}");
        let least = findings.least_loss.unwrap();
        assert!((told - 6.0..told).contains(&least), "{least}");
        let impairment = echo_impairment(told, findings.delay_seconds.unwrap() / 2.0);
        assert!((findings.impairment.unwrap() - impairment).abs() < 1e-9);
    }
}

/// Through Opus as a browser encodes, its look-ahead taken out.
fn by_browser(bits_per_second: i32, samples: &[f64]) -> Vec<f64> {
    let mut encoder = BrowserEncoder::new(bits_per_second);
    through(|block| encoder.encode(block), samples)
}

#[test]
fn through_a_browser_the_loss_is_told_to_a_decibel_and_the_delay_to_a_millisecond() {
    for (loss, bits_per_second) in [(10.0, 32_000), (33.0, 48_000), (40.0, 64_000)] {
        let room = Room { reverberation: 0.4, direct: 2.0, ..Room::new(0.25, loss, 200 + loss as u64) };
        let heard = by_browser(bits_per_second, &echo(&room, -90.0));
        let findings = analyse(&Line { samples: &room::converted(&heard), start: 0.0 }, SECONDS);
        let told = findings.echo_loss.unwrap();
        assert!((told - wide(&room)).abs() < 1.0 && !findings.echo_loss_is_bound, "{told}, not {}", wide(&room));
        let initial = findings.initial_loss.unwrap();
        assert!((initial - wide(&room)).abs() < 1.0, "{initial} at first, not {}", wide(&room));
        assert!((findings.delay_seconds.unwrap() - room.delay).abs() < 1e-3, "{findings:?}");
    }
}

#[test]
fn through_another_opus_the_loss_is_told_to_two_and_a_half_decibels() {
    for loss in [8.0, 35.0] {
        let room = Room::new(0.25, loss, 300);
        let heard = coded(SoundEncoder::new(32_000).unwrap(), &echo(&room, -90.0));
        let findings = analyse(&Line { samples: &room::converted(&heard), start: 0.0 }, SECONDS);
        let told = findings.echo_loss.unwrap();
        assert!((told - wide(&room)).abs() < 2.5 && !findings.echo_loss_is_bound, "{told}, not {}", wide(&room));
        assert!((findings.delay_seconds.unwrap() - room.delay).abs() < 1e-3, "{findings:?}");
    }
}

#[test]
fn the_encoder_of_a_light_call_keeps_the_power_of_the_talk() {
    let mut heard = coded(SoundEncoder::light(32_000).unwrap(), &talk());
    heard.resize(heard.len() + 4800, 0.0);
    let told = plain(&heard).echo_loss.unwrap();
    assert!(told.abs() < 0.7, "{told}");
}

#[test]
fn the_line_may_begin_anywhere_and_drift() {
    let room = Room::new(0.3, 30.0, 3);
    let heard = room::resampled(&echo(&room, -90.0), 80e-6);
    let samples = room::converted(&heard[12_345..]);
    let findings = compared(&Line { samples: &samples, start: 12_345.5 }, SECONDS, |_| 0.0);
    assert!((findings.delay_seconds.unwrap() - room.delay).abs() < 3e-3, "{findings:?}");
    assert!((findings.echo_loss.unwrap() - wide(&room)).abs() < 0.3, "{findings:?}");
}

#[test]
fn a_canceller_is_given_its_time_to_learn() {
    let room = Room::new(0.2, 20.0, 4);
    let mut heard = echo(&room, -100.0);
    let learnt = 15 * RATE as usize;
    heard[learnt..].iter_mut().for_each(|x| *x *= 0.05);
    let findings = plain(&heard);
    assert!((findings.initial_loss.unwrap() - wide(&room)).abs() < 0.6, "{findings:?}");
    assert!((findings.echo_loss.unwrap() - wide(&room) - 26.02).abs() < 0.5, "{findings:?}");
}

#[test]
fn who_speaks_in_the_room_hides_an_echo_but_is_never_taken_for_one() {
    for (loss, seed) in [(20.0, 5), (30.0, 6), (50.0, 7)] {
        let room = Room::new(0.2, loss, seed);
        let heard = echo(&room, -80.0);
        let findings = plain(&room::with(&heard, &voice(heard.len(), seed), -26.0));
        let told = findings.echo_loss.unwrap();
        if findings.echo_loss_is_bound {
            assert!(told < wide(&room), "at least {told}, but it is {}", wide(&room));
            assert_eq!((findings.delay_seconds, findings.impairment), (None, None));
        } else {
            assert!((told - wide(&room)).abs() < 2.0, "{told}, not {}", wide(&room));
        }
    }
}

#[test]
fn a_room_that_gives_nothing_back_gives_a_bound() {
    // Some of many: 900 stand in `examples/no_echo.rs`.
    let length = (SECONDS * f64::from(RATE)) as usize;
    for trial in 0..4 {
        let (sound, level) = match trial % 4 {
            0 => (voice(length, trial), -26.0),
            1 => (music(length, trial), -26.0),
            2 => (babble(length, trial), -30.0),
            _ => (room::pink(length, trial), -60.0),
        };
        let findings = plain(&room::with(&vec![0.0; length], &sound, level));
        assert!(findings.echo_loss_is_bound && findings.echo_loss.is_some(), "{trial}: {findings:?}");
        assert_eq!((findings.delay_seconds, findings.impairment, findings.least_loss), (None, None, None));
        if trial % 4 == 3 {
            // What is heard is 34 dB below the talk, and does not follow it.
            assert!(findings.echo_loss.unwrap() > 40.0, "{findings:?}");
        }
    }
}

#[test]
fn cut_off_or_absurd_lines_give_a_reason() {
    let noise = room::converted(&room::white(30 * RATE as usize, 8).iter().map(|x| x * 0.01).collect::<Vec<_>>());
    for (count, start, spoken) in [
        (0, 0.0, 30.0),
        (1, 0.0, 30.0),
        (30 * 48_000, f64::NAN, 30.0),
        (30 * 48_000, 1e300, 30.0),
        (30 * 48_000, -1e8, 30.0),
        (30 * 48_000, 0.0, f64::NAN),
        (30 * 48_000, 0.0, -5.0),
        (20 * 48_000, 0.0, 30.0),
        (30 * 48_000, 0.0, 20.0),
    ] {
        let findings = analyse(&Line { samples: &noise[..count], start }, spoken);
        assert_eq!((findings.reason, findings.echo_loss), (Some(Reason::FewSamples), None), "{count} {start} {spoken}");
    }
    assert_eq!(analyse(&Line { samples: &vec![0; 30 * 48_000], start: 0.0 }, 30.0).reason, Some(Reason::Dead));
    // A longer one than any is no harm.
    assert!(analyse(&Line { samples: &noise, start: 0.0 }, f64::MAX).echo_loss_is_bound);
}

/// What comes back of a room by way of a client.
fn by_client(room: &Room, processing: Processing) -> Findings {
    let far = room::converted(&talk());
    let near = room::converted(&echo(room, -65.0));
    let out = processed(&near, Some(&far), processing);
    compared(&Line { samples: &out, start: 0.0 }, SECONDS, |_| 0.0)
}

#[test]
fn a_canceller_is_told_from_none() {
    let room = Room::new(0.08, 15.0, 9);
    let off = by_client(&room, Processing::default());
    assert!((off.echo_loss.unwrap() - wide(&room)).abs() < 0.5 && !off.echo_loss_is_bound, "{off:?}");
    let on = by_client(&room, Processing { canceller: true, ..Processing::default() });
    let gained = on.echo_loss.unwrap() - off.echo_loss.unwrap();
    // Only bounded: no more is heard of it.
    assert!((31.0..37.0).contains(&gained) && on.echo_loss_is_bound, "{gained}: {on:?}");
}

#[test]
fn noise_suppression_takes_some_of_the_echo_and_gain_control_raises_it() {
    let room = Room::new(0.08, 15.0, 10);
    let off = by_client(&room, Processing::default()).echo_loss.unwrap();
    let later = |found: &Findings| 1e3 * (found.delay_seconds.unwrap() - room.delay);
    let suppressor = Some(NoiseSuppressionLevel::High);
    // Smeared by the room, the talk is nearly as steady as noise.
    let suppressed = by_client(&room, Processing { suppressor, ..Processing::default() });
    let taken = suppressed.echo_loss.unwrap() - off;
    assert!((6.7..8.7).contains(&taken), "{suppressed:?}, not {off}");
    assert!((later(&suppressed) - 6.95).abs() < 0.2, "{suppressed:?}");
    let raised = by_client(&room, Processing { gain_control: true, ..Processing::default() });
    let gained = off - raised.echo_loss.unwrap();
    assert!((6.7..8.7).contains(&gained) && later(&raised).abs() < 0.1, "{raised:?}, not {off}");
}
