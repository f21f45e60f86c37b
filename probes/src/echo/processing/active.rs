//! What sweeps tell where the microphone's sound passes through a client's canceller, suppressor or gain control:
//! WebRTC's.
#![allow(clippy::unwrap_used, reason = "tests")]

use sonora::config::NoiseSuppressionLevel;

use super::{Processing, processed};
use crate::{
    Reason,
    echo::{
        active::{
            analyse,
            tests::{ACTIVE, devices, played},
        },
        findings::{Findings, State},
        room::{Room, converted, pink, with},
        signal::Sweeps,
        take::{Line, Take},
    },
};

const CANCELLER: Processing = Processing { canceller: true, suppressor: None, gain_control: false };
const SUPPRESSOR: Processing =
    Processing { canceller: false, suppressor: Some(NoiseSuppressionLevel::High), gain_control: false };
const GAIN_CONTROL: Processing = Processing { canceller: false, suppressor: None, gain_control: true };
const ALL: Processing = Processing { canceller: true, gain_control: true, ..SUPPRESSOR };

/// What is found in a room, in faint noise, through a process; whether the server says that there is one.
fn found(room: &Room, processing: Processing, is_told: bool) -> Findings {
    let sweeps = Sweeps { reverberation: true, ..ACTIVE };
    let far = played(&sweeps);
    let near = room.hear(&far);
    let near = converted(&with(&near, &pink(near.len(), room.seed), -60.0));
    let out = processed(&near, Some(&converted(&far)), processing);
    let mut devices = devices();
    devices.microphone.is_processed = is_told;
    let microphone = Line { samples: &out, start: 0.0 };
    analyse(&Take { microphone, reference: None, slips: 0, devices: &devices }, &sweeps)
}

/// Milliseconds by which the echo is found later than without the process.
fn later(found: &Findings, room: &Room) -> f64 {
    // The loudspeaker and the microphone of the virtual room take 0.034 ms.
    1e3 * (found.delay_seconds.unwrap() - room.delay) - 0.034
}

#[test]
fn a_suppressor_is_seven_milliseconds_and_gain_control_is_none() {
    let room = Room::new(0.08, 20.0, 7);
    // Where nobody tells of the process, a loss is claimed: it is as wrong as the process makes it. A canceller's
    // filter bank would add 0.95 ms to gain control; by itself, this build has none.
    for (processing, late, loss) in [
        (Processing::default(), -0.02..0.02, -0.02..0.02),
        (SUPPRESSOR, 6.75..7.15, 0.2..0.6),
        (GAIN_CONTROL, -0.02..0.02, -14.8..-13.8),
    ] {
        let untold = found(&room, processing, false);
        let gained = untold.return_loss.unwrap() - room.loss;
        assert!(late.contains(&later(&untold, &room)) && loss.contains(&gained), "{processing:?}: {untold:?}");
        let told = found(&room, processing, true);
        assert!(late.contains(&later(&told, &room)), "{processing:?}: {told:?}");
        assert_eq!((told.reason, told.microphone, told.loudspeaker), (None, State::Working, State::Working));
        let numbers = [told.return_loss, told.return_loss_wideband, told.distortion, told.reverberation_seconds];
        assert!(numbers.iter().all(Option::is_none), "{processing:?}: {told:?}");
        assert!(told.clock_skew.unwrap().abs() < 2e-6, "{told:?}");
    }
}

#[test]
fn through_a_canceller_no_wrong_delay_is_told() {
    // What a canceller leaves is blurred by its own window of 8 ms: of 40 rooms the earliest was 1.1 ms early.
    // Where it has learnt more of one sweep than of the next, too few of them are alike, and nothing is told.
    let mut random = fastrand::Rng::with_seed(4);
    let rooms = (0..8).map(|seed| Room::new(0.02 + 0.2 * random.f64(), 8.0 + 22.0 * random.f64(), seed));
    let mut rooms: Vec<Room> = rooms.step_by(3).collect();
    // Here what is left of three sweeps agrees on a wall, 57 ms later.
    rooms.push(Room::new(0.215, 23.0, 1));
    for (processing, late) in [(CANCELLER, 9.04), (ALL, 15.04)] {
        let mut told = 0;
        for room in &rooms {
            let found = found(room, processing, true);
            assert!([found.return_loss, found.distortion].iter().all(Option::is_none), "{found:?}");
            match found.reason {
                None => {
                    told += 1;
                    let off = later(&found, room) - late;
                    assert!((-1.2..0.2).contains(&off), "{processing:?} in {room:?}: {off} ms");
                }
                Some(reason) => {
                    assert!(matches!(reason, Reason::FewSamples | Reason::Noise), "{found:?}");
                    assert_eq!(found.delay_seconds, None);
                }
            }
            assert!(found.loudspeaker != State::Dead && found.microphone != State::Dead, "{found:?}");
        }
        assert!(told > 0, "{processing:?}");
    }
}

#[test]
fn a_canceller_that_lets_nothing_through_makes_no_device_dead() {
    let level = |level: f64| converted(&pink(ACTIVE.length(), 8).iter().map(|x| level * x).collect::<Vec<_>>());
    let mut devices = devices();
    devices.microphone.is_processed = true;
    let states = |samples: &[i16]| {
        let microphone = Line { samples, start: 0.0 };
        let found = analyse(&Take { microphone, reference: None, slips: 0, devices: &devices }, &ACTIVE);
        (found.loudspeaker, found.microphone, found.reason)
    };
    // As a room sounds, as a suppressor leaves a quiet one, and as its gate does between sounds.
    for mut samples in [level(1e-3), level(2e-5)] {
        assert_eq!(states(&samples), (State::Unsure, State::Unsure, Some(Reason::Noise)));
        samples[100_000..140_000].fill(0);
        assert_eq!(states(&samples), (State::Unsure, State::Unsure, Some(Reason::Noise)));
    }
    assert_eq!(states(&vec![0; ACTIVE.length()]), (State::Unsure, State::Dead, Some(Reason::Dead)));
}
