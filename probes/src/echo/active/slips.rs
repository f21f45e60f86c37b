//! Sound that was lost or repeated, at every place of a take.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use super::{
    tests::{ACTIVE, NOISE_LENGTH, devices, echo, noisy, played, usual},
    *,
};
use crate::echo::room::{Room, babble, converted, pink, white};

/// Samples that a take begins before what is played, and samples of a take.
const LEAD: usize = 33_600;
const LENGTH: usize = 9 * RATE as usize;
/// Samples that were repeated, or lost where negative. 0.5 ms are 24.
const JUMPS: [i64; 10] = [-4800, 25, 480, -48, 4800, -25, -480, 100, 48, -100];

/// Samples at the begin of the first and at the end of the last sweep in which a jump may go unseen, as it leaves
/// the numbers right: half of a part that is looked at; all of it in a room, which may be weak there.
fn edge(ratio: f64) -> usize {
    if ratio < 50.0 { 6500 } else { 3000 }
}

/// What a take of a sound holds.
fn whole(sound: &[f64]) -> Vec<f64> {
    let mut all = vec![0.0; LEAD];
    all.extend_from_slice(sound);
    all.resize(LENGTH, 0.0);
    all
}

/// The same with a jump. What is put in is what came before, or silence.
fn jumped(samples: &[i16], at: usize, jump: i64, is_silent: bool) -> Vec<i16> {
    let count = jump.unsigned_abs() as usize;
    let mut out = samples.to_vec();
    if jump < 0 {
        out.drain(at..(at + count).min(samples.len()));
    } else if is_silent || at < count {
        out.splice(at..at, vec![0; count]);
    } else {
        out.splice(at..at, samples[at - count..at].to_vec());
    }
    out
}

/// What is wrong with what was found in a take with a jump, if anything is. The first sweep arrives `late` samples
/// after it was played; the jump makes a delay longer by `longer` seconds if it is before all sweeps.
fn wrong(found: &Findings, at: usize, late: usize, room: &Room, longer: f64, ratio: f64) -> Option<String> {
    let first = LEAD + crate::echo::signal::LEAD + late;
    let last = first + 3 * PERIOD + SWEEP;
    let is_within = (first + edge(ratio)..last - edge(ratio)).contains(&at);
    let numbers = [found.delay_seconds, found.return_loss, found.return_loss_wideband, found.clock_skew];
    let is_empty = numbers.iter().all(Option::is_none);
    let truth = room.delay + if at < first + edge(ratio) { longer } else { 0.0 };
    let is_right = || {
        (found.delay_seconds.unwrap() - truth).abs() < 0.2e-3 && (found.return_loss.unwrap() - room.loss).abs() < 0.5
    };
    let is_fine = match found.reason {
        Some(Reason::Slip) => is_empty,
        Some(Reason::Noise) => is_empty && ratio < 5.0,
        Some(_) => false,
        None => !is_within && is_right(),
    };
    (!is_fine).then(|| format!("{:?} {:?} {:?}, {truth}", found.reason, found.delay_seconds, found.return_loss))
}

/// What is heard where a wire leads from the loudspeaker to the microphone, as in a virtual room of a sound server.
fn wire() -> (Room, Vec<f64>, f64) {
    let gain = 0.1;
    let room = Room::new(0.05, weighted_loss(&[gain * gain]), 0);
    let echo: Vec<f64> =
        std::iter::repeat_n(0.0, RATE as usize / 20).chain(played(&ACTIVE).iter().map(|x| gain * x)).collect();
    (room, echo, gain * ACTIVE.gain())
}

/// What is wrong with jumps of the microphone: at each place of 0.1 s those for which `is_asked`.
fn microphone(
    (room, echo, loud): &(Room, Vec<f64>, f64),
    ratio: f64,
    is_asked: impl Fn(usize, usize) -> bool,
) -> Vec<String> {
    let noise = pink(NOISE_LENGTH, 31);
    let heard = noisy(&whole(echo), &noise, 1000, loud * 10f64.powf(-ratio / 20.0));
    let devices = devices();
    let mut all = Vec::new();
    for place in 0..LENGTH / 4800 {
        for (number, jump) in JUMPS.iter().enumerate().filter(|(number, _)| is_asked(place, *number)) {
            let samples = jumped(&heard, 4800 * place, *jump, (place + number).is_multiple_of(2));
            let line = Line { samples: &samples, start: -(LEAD as f64) };
            let found = analyse(&Take { microphone: line, reference: None, slips: 0, devices: &devices }, &ACTIVE);
            let late = (room.delay * f64::from(RATE)) as usize;
            let longer = *jump as f64 / f64::from(RATE);
            let fault = wrong(&found, 4800 * place, late, room, longer, ratio);
            all.extend(fault.map(|fault| format!("{ratio} dB, {jump} at {place}: {fault}")));
        }
    }
    all
}

/// The same of the reference, the microphone being whole.
fn reference(is_asked: impl Fn(usize, usize) -> bool) -> Vec<String> {
    let noise = pink(NOISE_LENGTH, 32);
    let (room, echo, loud) = usual();
    let heard = noisy(&whole(&echo), &noise, 1000, 0.1 * loud);
    let played = converted(&whole(&played(&ACTIVE)));
    let devices = devices();
    let mut all = Vec::new();
    for place in 0..LENGTH / 4800 {
        for (number, jump) in JUMPS.iter().enumerate().filter(|(number, _)| is_asked(place, *number)) {
            let samples = jumped(&played, 4800 * place, *jump, (place + number).is_multiple_of(2));
            let line = Line { samples: &samples, start: -(LEAD as f64) };
            let whole = Line { samples: &heard, ..line };
            let take = Take { microphone: whole, reference: Some(line), slips: 0, devices: &devices };
            let longer = -*jump as f64 / f64::from(RATE);
            let fault = wrong(&analyse(&take, &ACTIVE), 4800 * place, 0, &room, longer, 90.0);
            all.extend(fault.map(|fault| format!("{jump} at {place}: {fault}")));
        }
    }
    all
}

#[test]
fn sound_lost_or_repeated_before_the_microphone_at_any_place_voids_the_numbers() {
    // Each place once, with one jump after the other, through a wire and in little, in some and in much noise.
    let of = |quarter: usize| {
        move |place: usize, number: usize| {
            place % 4 == quarter && (10..72).contains(&place) && number == place * 7 / 4 % 10
        }
    };
    let mut faults = microphone(&wire(), 90.0, of(0));
    for (quarter, ratio) in [(1, 30.0), (2, 10.0), (3, 0.0)] {
        faults.extend(microphone(&usual(), ratio, of(quarter)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn sound_lost_or_repeated_in_the_reference_at_any_place_voids_the_numbers() {
    let faults = reference(|place, number| place % 9 == 4 && number == place / 9 % 10);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_door_that_slams_is_left_out_and_is_no_slip() {
    let noise = pink(NOISE_LENGTH, 35);
    let (room, echo, loud) = usual();
    let slam = white(RATE as usize / 2, 36);
    for (number, at) in (40_000..320_000).step_by(31_000).enumerate() {
        let mut sound = echo.clone();
        let peak = loud * [10.0, 40.0, 3.0][number % 3];
        for (n, (sum, x)) in sound[at..].iter_mut().zip(&slam).enumerate() {
            *sum += peak * x * (-(n as f64) / 3000.0).exp();
        }
        let samples = noisy(&sound, &noise, 0, 0.1 * loud);
        let line = Line { samples: &samples, start: 0.0 };
        let found = analyse(&Take { microphone: line, reference: None, slips: 0, devices: &devices() }, &ACTIVE);
        println!("{at}: {:?} of {}, {:?}", found.reason, found.samples, found.return_loss);
        assert_ne!(found.reason, Some(Reason::Slip), "{at}");
        if found.reason.is_none() {
            assert!((found.return_loss.unwrap() - room.loss).abs() < 0.5, "{at}: {found:?}");
            assert!((found.delay_seconds.unwrap() - room.delay).abs() < 0.2e-3, "{at}: {found:?}");
        }
    }
}

/// Numbers of the rooms in which a slip is seen though there was none.
fn false_slips(numbers: std::ops::Range<u64>) -> Vec<u64> {
    let noises = [pink(NOISE_LENGTH, 33), babble(NOISE_LENGTH, 34)];
    let devices = devices();
    let is_slip = |number: &u64| {
        let mut random = fastrand::Rng::with_seed(*number);
        let delay = 0.01 + 0.3 * random.f64();
        let room = Room {
            reverberation: 0.3 + 0.9 * random.f64(),
            direct: 6.0 - 12.0 * random.f64(),
            ..Room::new(delay, 10.0 + 25.0 * random.f64(), 2000 + number)
        };
        let skew = if number.is_multiple_of(3) { 0.0 } else { 200e-6 * (2.0 * random.f64() - 1.0) };
        let (echo, loud) = echo(&ACTIVE, &room, skew);
        let ratio = 40.0 - 50.0 * random.f64();
        let from = random.usize(..NOISE_LENGTH);
        let samples = noisy(&echo, &noises[(number % 2) as usize], from, loud * 10f64.powf(-ratio / 20.0));
        let line = Line { samples: &samples, start: 0.0 };
        let found = analyse(&Take { microphone: line, reference: None, slips: 0, devices: &devices }, &ACTIVE);
        found.reason == Some(Reason::Slip)
    };
    numbers.filter(is_slip).collect()
}

#[test]
fn no_slip_is_seen_in_honest_rooms() {
    assert!(false_slips(0..12).is_empty());
}
