#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use super::*;
use crate::echo::{
    findings::State,
    room::{Room, babble, converted, convolve, delayed, music, pink, resampled, rms, talker, true_loss, white},
    take::{Device, Devices},
};

pub(in crate::echo) fn devices() -> Devices {
    let device =
        |name: &str| Device { name: name.to_owned(), muted: false, volume_decibels: None, is_processed: false };
    Devices { loudspeaker: device("spk"), microphone: device("mic") }
}

pub(in crate::echo) const ACTIVE: Sweeps = Sweeps { count: 4, level: -20.0, reverberation: false };

/// What is played, as numbers.
pub(in crate::echo) fn played(sweeps: &Sweeps) -> Vec<f64> {
    let mut samples = vec![0_i16; sweeps.length()];
    sweeps.play(0, &mut samples);
    samples.iter().map(|x| f64::from(*x) / 32_768.0).collect()
}

/// What a microphone takes of sweeps in a room, without noise, and the root mean square of one sweep's echo.
/// One sweep goes through the room and is set at each place: as exact, and faster.
pub(super) fn echo(sweeps: &Sweeps, room: &Room, skew: f64) -> (Vec<f64>, f64) {
    let play = played(&Sweeps { level: sweeps.level, count: 1, reverberation: false });
    let one = convolve(&play[crate::echo::signal::LEAD..][..SWEEP], &room.response());
    let arrives = (room.delay * f64::from(RATE)) as usize;
    let loud = rms(&one[arrives..arrives + SWEEP]);
    let mut all = vec![0.0; (sweeps.length() as f64 * (1.0 + skew)) as usize];
    let mut put = |one: &[f64], begin: usize| {
        let at = begin as f64 * (1.0 + skew);
        let part = if skew == 0.0 { one.to_vec() } else { delayed(one, at - at.floor()) };
        for (sum, x) in all[at.floor() as usize..].iter_mut().zip(part) {
            *sum += x;
        }
    };
    let by_clock = |one: Vec<f64>| if skew == 0.0 { one } else { resampled(&one, skew) };
    let one = by_clock(one);
    for begin in sweeps.begins() {
        put(&one, begin);
    }
    if sweeps.reverberation {
        let begin = sweeps.long_begins();
        let long: Vec<f64> = (0..crate::echo::signal::LONG)
            .map(|n| sweeps.gain() * crate::echo::signal::sweep(n as f64, crate::echo::signal::LONG))
            .collect();
        put(&by_clock(convolve(&long, &room.response())), begin);
    }
    (all, loud)
}

pub(super) fn noisy(echo: &[f64], noise: &[f64], from: usize, level: f64) -> Vec<i16> {
    let noise = noise.iter().cycle().skip(from % noise.len());
    converted(&echo.iter().zip(noise).map(|(x, n)| x + level * n).collect::<Vec<f64>>())
}

fn read(samples: &[i16], sweeps: &Sweeps) -> Findings {
    let devices = devices();
    let take = Take { microphone: Line { samples, start: 0.0 }, reference: None, slips: 0, devices: &devices };
    analyse(&take, sweeps)
}

/// A room, its noise, and how it is listened to.
struct Trial<'a> {
    sweeps: Sweeps,
    noise: &'a [f64],
    /// Echo above the noise in decibels, as root mean square during a sweep.
    ratio: f64,
    skew: f64,
}

/// The greatest errors of several rooms.
#[derive(Debug, Default)]
struct Errors {
    /// In milliseconds.
    delay: f64,
    /// In decibels.
    loss: f64,
    wide: f64,
    /// In parts in a million, and how many were told.
    skew: f64,
    skews: u32,
    /// Skews outside of their interval.
    outside: u32,
}

impl Trial<'_> {
    fn rooms(&self, count: u64) -> Errors {
        let mut random = fastrand::Rng::with_seed(7);
        let mut errors = Errors::default();
        for number in 0..count {
            let room = Room::new(0.02 + 0.28 * random.f64(), 10.0 + 30.0 * random.f64(), 1000 + number);
            let (echo, loud) = echo(&self.sweeps, &room, self.skew);
            let level = loud * 10f64.powf(-self.ratio / 20.0);
            let samples = noisy(&echo, self.noise, random.usize(..self.noise.len()), level);
            let found = read(&samples, &self.sweeps);
            assert_eq!(found.reason, None, "{room:?}");
            assert_eq!((found.loudspeaker, found.microphone), (State::Working, State::Working));
            let most = |error: &mut f64, found: Option<f64>, truth: f64| {
                *error = error.max((found.unwrap() - truth).abs());
            };
            most(&mut errors.delay, found.delay_seconds.map(|delay| 1e3 * delay), 1e3 * room.delay);
            most(&mut errors.loss, found.return_loss, room.loss);
            most(&mut errors.wide, found.return_loss_wideband, true_loss(&room.response(), WIDE));
            if let Some(skew) = found.clock_skew {
                most(&mut errors.skew, Some(1e6 * skew), 1e6 * self.skew);
                errors.skews += 1;
                // Of a hundred, five may be; what is far outside is not honest.
                errors.outside += u32::from((skew - self.skew).abs() > 2.0 * found.clock_skew_within + 0.2e-6);
            }
        }
        println!("{} dB, {} sweeps, {:.0} ppm: {errors:.3?}", self.ratio, self.sweeps.count, 1e6 * self.skew);
        errors
    }
}

pub(super) const NOISE_LENGTH: usize = 12 * RATE as usize;

#[test]
fn delay_and_loss_are_right_in_stationary_noise() {
    let noise = pink(NOISE_LENGTH, 1);
    for (ratio, bar) in [(20.0, 0.1), (0.0, 0.2), (-10.0, 0.5)] {
        let errors = Trial { sweeps: ACTIVE, noise: &noise, ratio, skew: 0.0 }.rooms(4);
        assert!(errors.delay < 0.05 && errors.loss < bar && errors.wide < bar, "{ratio} dB: {errors:?}");
    }
}

#[test]
fn delay_and_loss_are_right_while_many_talk() {
    let noise = babble(NOISE_LENGTH, 2);
    for (ratio, bar) in [(10.0, 0.2), (0.0, 0.5)] {
        let errors = Trial { sweeps: ACTIVE, noise: &noise, ratio, skew: 0.0 }.rooms(4);
        assert!(errors.delay < 0.05 && errors.loss < bar && errors.wide < bar, "{ratio} dB: {errors:?}");
    }
}

#[test]
fn the_quiet_form_reads_an_echo_fifteen_decibels_below_the_noise() {
    let sweeps = Sweeps { count: 16, level: -45.0, reverberation: false };
    for noise in [pink(NOISE_LENGTH, 3), babble(2 * NOISE_LENGTH, 4)] {
        let errors = Trial { sweeps, noise: &noise, ratio: -15.0, skew: 0.0 }.rooms(2);
        assert!(errors.delay < 0.05 && errors.loss < 1.0 && errors.wide < 1.0, "{errors:?}");
    }
}

#[test]
fn skew_is_within_two_parts_in_a_million_after_a_minute() {
    let sweeps = Sweeps { count: 40, level: -20.0, reverberation: false };
    let noise = pink(NOISE_LENGTH, 5);
    for (skew, ratio) in [(80e-6, 20.0), (-150e-6, 0.0)] {
        let errors = Trial { sweeps, noise: &noise, ratio, skew }.rooms(1);
        assert!(errors.skews == 1 && errors.skew < 2.0 && errors.outside == 0, "{errors:?}");
        assert!(errors.delay < 0.2 && errors.loss < 0.5, "{errors:?}");
    }
}

#[test]
fn skew_of_four_sweeps_is_within_fifteen_parts_in_a_million_or_absent() {
    for (noise, ratio) in
        [(pink(NOISE_LENGTH, 6), 10.0), (pink(NOISE_LENGTH, 7), -10.0), (babble(NOISE_LENGTH, 8), 0.0)]
    {
        for skew in [-100e-6, 43e-6] {
            let errors = Trial { sweeps: ACTIVE, noise: &noise, ratio, skew }.rooms(2);
            assert!(errors.skew < 15.0 && errors.outside == 0, "{errors:?}");
            assert!(errors.delay < 0.2 && errors.loss < 0.5, "{errors:?}");
        }
    }
}

#[test]
fn no_echo_is_found_in_900_rooms_that_have_none() {
    let length = 20 * RATE as usize;
    let mut random = fastrand::Rng::with_seed(9);
    let sweeps = Sweeps { count: 3, ..ACTIVE };
    let mut plan = Plan::new(&sweeps);
    let noises = [
        ("white", white(length, 1)),
        ("pink", pink(length, 2)),
        ("babble", babble(length, 3)),
        ("one talker", talker(length, 4)),
        ("music", music(length, 5)),
    ];
    for (name, noise) in noises {
        let silence = vec![0.0; sweeps.length() - crate::echo::signal::TAIL];
        let (mut most, mut two) = (0.0_f64, 0.0_f64);
        for _ in 0..180 {
            let samples = noisy(&silence, &noise, random.usize(..length), 0.03);
            match search(&Line { samples: &samples, start: 0.0 }, &sweeps, &mut plan) {
                Search::Missed(peak) => {
                    most = most.max(peak.margin());
                    two = two.max(peak.second_margin());
                }
                found => panic!("{name}: {:?}", found.is_heard()),
            }
        }
        println!("{name}: {most:.2} dB at most, {two:.2} dB of two");
    }
}

/// A usual room in usual noise, and what is heard there.
pub(super) fn usual() -> (Room, Vec<f64>, f64) {
    let room = Room::new(0.0731, 22.0, 5);
    let (echo, loud) = echo(&ACTIVE, &room, 0.0);
    (room, echo, loud)
}

#[test]
fn an_added_delay_shifts_the_delay_and_nothing_else() {
    let noise = pink(NOISE_LENGTH, 11);
    let (_, echo, loud) = usual();
    let before = read(&noisy(&echo, &noise, 0, 0.1 * loud), &ACTIVE);
    for late in [1_usize, 480, 9000] {
        let mut later = vec![0.0; late];
        later.extend_from_slice(&echo[..echo.len() - late]);
        let after = read(&noisy(&later, &noise, 0, 0.1 * loud), &ACTIVE);
        let added = after.delay_seconds.unwrap() - before.delay_seconds.unwrap();
        assert!((added - late as f64 / f64::from(RATE)).abs() < 5e-6, "{late}: {added}");
        assert!((after.return_loss.unwrap() - before.return_loss.unwrap()).abs() < 0.05);
        assert!((after.distortion.unwrap_or(-60.0) - before.distortion.unwrap_or(-60.0)).abs() < 3.0);
    }
    // The same, where it is the microphone that begins later.
    let samples = noisy(&echo, &noise, 0, 0.1 * loud);
    let devices = devices();
    let line = Line { samples: &samples[5000..], start: 5000.25 };
    let later = analyse(&Take { microphone: line, reference: None, slips: 0, devices: &devices }, &ACTIVE);
    let added = later.delay_seconds.unwrap() - before.delay_seconds.unwrap();
    assert!((added - 0.25 / f64::from(RATE)).abs() < 2e-6, "{added}");
}

#[test]
fn a_gain_changes_the_loss_and_nothing_else() {
    let noise = pink(NOISE_LENGTH, 12);
    let (_, echo, loud) = usual();
    let all: Vec<f64> = echo.iter().zip(&noise).map(|(x, n)| x + 0.1 * loud * n).collect();
    let before = read(&converted(&all), &ACTIVE);
    for gain in [-12.0, 6.0, 12.0] {
        let louder: Vec<f64> = all.iter().map(|x| x * 10f64.powf(gain / 20.0)).collect();
        let after = read(&converted(&louder), &ACTIVE);
        assert!((after.return_loss.unwrap() + gain - before.return_loss.unwrap()).abs() < 0.01);
        assert!((after.return_loss_wideband.unwrap() + gain - before.return_loss_wideband.unwrap()).abs() < 0.01);
        let floor = after.noise_floor.unwrap() - gain - before.noise_floor.unwrap();
        assert!(floor.abs() < 0.05, "{floor}");
        assert!((after.delay_seconds.unwrap() - before.delay_seconds.unwrap()).abs() < 1e-6);
    }
}

/// Power of orders 2 to 5 of a sine that goes through `bend`, against order 1, as the sweep's band lets
/// them be seen.
fn harmonics(bend: impl Fn(f64) -> f64) -> f64 {
    const STEPS: usize = 4096;
    let turn = |n: usize| std::f64::consts::TAU * n as f64 / STEPS as f64;
    let bent: Vec<f64> = (0..STEPS).map(|n| bend(turn(n).sin())).collect();
    let power = |order: usize| {
        let sum: Complex64 = bent.iter().enumerate().map(|(n, x)| Complex64::from_polar(*x, turn(n * order))).sum();
        sum.norm_sqr() * (BAND.1 - BAND.0 * order as f64)
    };
    decibels((2..=5).map(power).sum::<f64>() / power(1))
}

#[test]
fn distortion_is_that_of_a_known_soft_clip() {
    let play = played(&ACTIVE);
    let peak = play.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let noise = pink(NOISE_LENGTH, 13);
    // Overdriven on both sides; on one; hardly.
    for (drive, bias) in [(1.5, 0.0), (0.8, 0.3), (0.4, 0.0)] {
        let bend = |x: f64| ((drive * (x + bias)).tanh() - (drive * bias).tanh()) / drive;
        let bent: Vec<f64> = play.iter().map(|x| peak * bend(x / peak)).collect();
        let truth = harmonics(bend);
        let room = Room { reverberation: 0.3, ..Room::new(0.05, 15.0, 3) };
        let heard = room.hear(&bent);
        let found = read(&noisy(&heard, &noise, 0, 0.01 * rms(&heard)), &ACTIVE).distortion.unwrap();
        assert!((found - truth).abs() < 0.3, "{truth} dB: {found}");
    }
    let clean = read(&noisy(&Room::new(0.05, 15.0, 3).hear(&play), &noise, 0, 1e-5), &ACTIVE);
    assert!(clean.distortion.unwrap() < -50.0, "{:?}", clean.distortion);
}

#[test]
fn the_reverberation_time_is_right_within_nine_hundredths_or_absent() {
    let sweeps = Sweeps { reverberation: true, ..ACTIVE };
    let noise = pink(NOISE_LENGTH, 14);
    for (time, seed) in [(0.3, 1), (0.5, 2), (0.8, 3), (1.2, 4)] {
        let room = Room { reverberation: time, ..Room::new(0.06, 15.0, seed) };
        let (echo, loud) = echo(&sweeps, &room, 0.0);
        for ratio in [40.0, 25.0, 0.0] {
            let found = read(&noisy(&echo, &noise, 0, loud * 10f64.powf(-ratio / 20.0)), &sweeps);
            assert_eq!(found.reason, None);
            println!("{time} s at {ratio} dB: {:.3?}", found.reverberation_seconds);
            match found.reverberation_seconds {
                Some(found) => {
                    assert!((found / time - 1.0).abs() < 0.09 && ratio > 0.0, "{time} s, {ratio} dB: {found}")
                }
                None => assert!(ratio < 30.0, "{time} s: nothing at {ratio} dB"),
            }
        }
        assert_eq!(read(&noisy(&echo, &noise, 0, 0.01 * loud), &ACTIVE).reverberation_seconds, None);
    }
}

#[test]
fn every_state_of_the_devices_is_told_apart() {
    use State::{Dead, Unsure, Working};
    let noise = pink(NOISE_LENGTH, 15);
    let (_, echo, loud) = usual();
    let nothing = vec![0.0; echo.len()];
    let (played_line, silent) = (converted(&played(&ACTIVE)), vec![0_i16; echo.len()]);
    let heard = noisy(&echo, &noise, 0, 0.1 * loud);
    // -60 dBFS in the room, -80 dBFS of an amplifier with nothing before it, and as loud as the sweeps.
    let (room, bare, roar) =
        (noisy(&nothing, &noise, 0, 1e-3), noisy(&nothing, &noise, 0, 1e-4), noisy(&nothing, &noise, 0, 0.1));
    let state = |microphone: &[i16], reference: Option<&[i16]>, muted: [bool; 2]| {
        let mut devices = devices();
        (devices.loudspeaker.muted, devices.microphone.muted) = (muted[0], muted[1]);
        let reference = reference.map(|samples| Line { samples, start: 0.0 });
        let microphone = Line { samples: microphone, start: 0.0 };
        let found = analyse(&Take { microphone, reference, slips: 0, devices: &devices }, &ACTIVE);
        let numbers = [found.return_loss, found.delay_seconds, found.distortion, found.clock_skew];
        assert_eq!(found.reason.is_some(), numbers.iter().all(Option::is_none), "{found:?}");
        (found.loudspeaker, found.microphone, found.reason)
    };
    let open = [false, false];
    assert_eq!(state(&heard, None, open), (Working, Working, None));
    assert_eq!(state(&heard, Some(&played_line), open), (Working, Working, None));
    // Heard all the same: the reference is that of another device.
    assert_eq!(state(&heard, Some(&silent), open), (Working, Working, None));
    assert_eq!(state(&silent, None, open), (Unsure, Dead, Some(Reason::Dead)));
    assert_eq!(state(&vec![77; silent.len()], Some(&played_line), open), (Unsure, Dead, Some(Reason::Dead)));
    assert_eq!(state(&room, None, open), (Dead, Working, Some(Reason::Dead)));
    assert_eq!(state(&room, Some(&played_line), open), (Dead, Working, Some(Reason::Dead)));
    assert_eq!(state(&room, Some(&silent), open), (Unsure, Working, Some(Reason::NothingPlayed)));
    assert_eq!(state(&bare, None, open), (Unsure, Unsure, Some(Reason::Dead)));
    assert_eq!(state(&roar, None, open), (Unsure, Unsure, Some(Reason::Noise)));
    assert_eq!(state(&silent, None, [false, true]), (Unsure, Unsure, Some(Reason::Muted)));
    assert_eq!(state(&heard, None, [false, true]), (Unsure, Unsure, Some(Reason::Muted)));
    assert_eq!(state(&room, Some(&played_line), [true, false]), (Unsure, Working, Some(Reason::Muted)));
    assert_eq!(state(&silent, None, [true, true]), (Unsure, Unsure, Some(Reason::Muted)));
}

#[test]
fn an_echo_far_below_the_noise_is_no_number() {
    let noise = pink(NOISE_LENGTH, 16);
    let (_, echo, loud) = usual();
    let found = read(&noisy(&echo, &noise, 0, 30.0 * loud), &ACTIVE);
    assert_eq!((found.reason, found.return_loss, found.delay_seconds), (Some(Reason::Noise), None, None));
    assert!(found.noise_floor.is_some());
}

#[test]
fn a_clipped_microphone_gives_no_number() {
    let noise = pink(NOISE_LENGTH, 17);
    let (_, echo, loud) = usual();
    let peak = echo.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let louder: Vec<f64> = echo.iter().map(|x| x * 1.5 / peak).collect();
    let found = read(&noisy(&louder, &noise, 0, 0.1 * loud), &ACTIVE);
    assert_eq!((found.reason, found.return_loss), (Some(Reason::Clipped), None));
    assert!(found.clipping.unwrap() > 1e-4);
    // A door that slams in one sweep is left out with it.
    let mut samples = noisy(&echo, &noise, 0, 0.1 * loud);
    let from = 24_000 + PERIOD + 20_000;
    for (n, sample) in samples[from..from + 3000].iter_mut().enumerate() {
        *sample = if n % 300 < 150 { i16::MAX } else { i16::MIN };
    }
    let found = read(&samples, &ACTIVE);
    assert_eq!((found.reason, found.samples), (None, 3));
    assert!((found.return_loss.unwrap() - 22.0).abs() < 0.3, "{found:?}");
}

#[test]
fn sound_that_was_lost_or_repeated_voids_the_numbers() {
    let noise = pink(NOISE_LENGTH, 18);
    let (_, echo, loud) = usual();
    let heard = noisy(&echo, &noise, 0, 0.3 * loud);
    let play = converted(&played(&ACTIVE));
    let devices = devices();
    let reason = |microphone: &[i16], reference: Option<&[i16]>, slips: u32| {
        let microphone = Line { samples: microphone, start: 0.0 };
        let reference = reference.map(|samples| Line { samples, start: 0.0 });
        let found = analyse(&Take { microphone, reference, slips, devices: &devices }, &ACTIVE);
        assert_eq!(found.return_loss.is_none(), found.reason.is_some());
        found.reason
    };
    assert_eq!(reason(&heard, Some(&play), 0), None);
    assert_eq!(reason(&heard, Some(&play), 1), Some(Reason::Slip));
    // Between two sweeps, within one, and within the last one: a quantum, 5 ms, 1 ms, 73 ms.
    for at in [200_000, 100_000, 24_000 + 3 * PERIOD + 35_000] {
        for count in [1024, 240, 48, 3504] {
            let mut lost = heard.clone();
            lost.drain(at..at + count);
            assert_eq!(reason(&lost, None, 0), Some(Reason::Slip), "{count} lost at {at}");
            let mut again = heard.clone();
            again.splice(at..at, heard[at - count..at].to_vec());
            assert_eq!(reason(&again, None, 0), Some(Reason::Slip), "{count} again at {at}");
        }
    }
    let mut lost = play.clone();
    lost.drain(200_000..200_256);
    assert_eq!(reason(&heard, Some(&lost), 0), Some(Reason::Slip));
    // So much that too few sweeps are left.
    assert_eq!(reason(&heard[..2 * PERIOD], None, 1), Some(Reason::Slip));
    assert_eq!(reason(&heard[..2 * PERIOD], None, 0), Some(Reason::FewSamples));
}

#[test]
fn where_sound_was_lost_no_device_is_dead_for_want_of_sweeps() {
    let hiss = pink(NOISE_LENGTH, 23);
    let room = noisy(&vec![0.0; ACTIVE.length()], &hiss, 0, 1e-3);
    let devices = devices();
    let found = |samples: &[i16], slips| {
        let microphone = Line { samples, start: 0.0 };
        analyse(&Take { microphone, reference: None, slips, devices: &devices }, &ACTIVE)
    };
    let state = |found: Findings| (found.loudspeaker, found.microphone, found.reason);
    for samples in [room.clone(), vec![0; room.len()]] {
        assert_eq!(state(found(&samples, 1)), (State::Unsure, State::Unsure, Some(Reason::Slip)));
        assert_eq!(state(found(&samples, 0)).2, Some(Reason::Dead));
    }
}

#[test]
fn what_the_server_does_not_know_of_its_output_drops_out_by_the_reference() {
    let noise = pink(NOISE_LENGTH, 19);
    let (room, echo, loud) = usual();
    let microphone = noisy(&echo, &noise, 0, 0.1 * loud);
    let play = converted(&played(&ACTIVE));
    let devices = devices();
    for late in [256.0, -100.5] {
        let microphone = Line { samples: &microphone, start: late };
        let reference = Some(Line { samples: &play, start: late });
        let take = Take { microphone, reference, slips: 0, devices: &devices };
        let found = analyse(&take, &ACTIVE).delay_seconds.unwrap();
        assert!((found - room.delay).abs() < 5e-5, "{found}");
        let found = analyse(&Take { reference: None, ..take }, &ACTIVE).delay_seconds.unwrap();
        assert!((found - late / f64::from(RATE) - room.delay).abs() < 5e-5, "{found}");
    }
}

#[test]
fn no_input_makes_it_fail() {
    let noise: Vec<i16> = converted(&white(400_000, 20));
    let devices = devices();
    let absurd = [0.0, 1e300, -1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 4e5, -4e5, 1e15];
    for length in [0, 1, 2, 100, 6000, 23_999, 72_000, 144_000] {
        for start in absurd {
            let line = Line { samples: &noise[..length], start };
            for reference in [None, Some(line)] {
                let take = Take { microphone: line, reference, slips: 0, devices: &devices };
                let found = analyse(&take, &ACTIVE);
                assert!(found.reason.is_some() && found.return_loss.is_none());
            }
        }
    }
    let line = Line { samples: &noise, start: 0.0 };
    let take = Take { microphone: line, reference: Some(line), slips: 0, devices: &devices };
    for (count, level) in [(0, -20.0), (1, -20.0), (4, f64::NAN), (4, 1e9), (4, -1e9), (4, f64::INFINITY)] {
        let found = analyse(&take, &Sweeps { count, level, reverberation: true });
        assert!(found.reason.is_some() && found.return_loss.is_none());
    }
}

#[test]
fn a_take_that_ends_early_is_told_from_what_it_holds_or_not_at_all() {
    let noise = pink(NOISE_LENGTH, 21);
    let (room, echo, loud) = usual();
    let samples = noisy(&echo, &noise, 0, 0.1 * loud);
    for length in (0..samples.len()).step_by(30_001) {
        let found = read(&samples[..length], &ACTIVE);
        match found.return_loss {
            Some(loss) => assert!((loss - room.loss).abs() < 0.3 && found.samples >= 3, "{length}: {found:?}"),
            None => assert_eq!(found.reason, Some(Reason::FewSamples), "{length}"),
        }
    }
}

#[test]
fn quiet_sweeps_are_fifteen_decibels_below_the_noise_when_they_come_back() {
    // White noise of -40 dBFS has 6800 of its 24000 Hz within the band of the sweeps.
    let silence = converted(&white(RATE as usize, 22).iter().map(|x| 0.01 * x).collect::<Vec<_>>());
    let noise = -40.0 + decibels(6800.0 / 24_000.0);
    assert!((quiet_level(&silence, Some(20.0)) - (noise + 5.0)).abs() < 0.5);
    assert!((quiet_level(&silence, None) - (noise - 5.0)).abs() < 0.5);
    // Never louder than the active form; never below what a converter can play; nothing known is quietest.
    for (silence, loss, level) in [
        (&silence[..], 60.0, -20.0),
        (&silence, -60.0, -70.0),
        (&vec![0; 48_000], 20.0, -70.0),
        (&[], 20.0, -70.0),
        (&silence, f64::NAN, noise - 5.0),
    ] {
        assert!((quiet_level(silence, Some(loss)) - level).abs() < 0.5);
    }
}
