//! Stored and read again at any block, and killed at any time.

use super::*;

fn faults() -> World {
    let mut world = World::new(8, 4, &["rtt_ms"], 12);
    world.settings.tuning.learning_days = 7;
    world.heed = 0.05;
    world
        .with(3..4, "rtt_ms", 8 * DAY + 10 * HOUR..9 * DAY, How::Times(2.2))
        .then(9 * DAY + 20 * HOUR, Event::Upgrade(0..8, "app", "2.0"))
        .with(0..8, "rtt_ms", 9 * DAY + 20 * HOUR..1000 * DAY, How::Times(1.8))
}

#[test]
fn a_run_that_is_stored_and_read_again_at_every_block_is_the_same() {
    let world = faults();
    let mut whole = Engine::new(world.settings.clone());
    let mut split = Engine::new(world.settings.clone());
    let mut bookings = 0;
    // The learning time in one piece; from then on each half-hour in another process.
    let learned = 7 * DAY - 12 * HOUR;
    world.play_on(&mut whole, 0..learned);
    world.play_on(&mut split, 0..learned);
    for block in 0..(world.days * DAY - learned) / 1800 {
        let span = learned + block * 1800..learned + (block + 1) * 1800;
        split = Engine::restore(world.settings.clone(), &split.stored()).expect("what was just stored");
        let (expected, found) = (world.play_on(&mut whole, span.clone()), world.play_on(&mut split, span));
        bookings += expected.len();
        assert_eq!(found, expected, "block {block}");
    }
    assert!(bookings >= 4, "{bookings}");
    assert_eq!(split.stored(), whole.stored());
}

#[test]
fn a_kill_costs_a_block_at_most() {
    let world = faults();
    let (_, all) = world.play();
    let opened = |actions: &[Action]| -> Vec<(i64, String)> {
        let opened = actions.iter().filter(|action| action.verb == Verb::Open);
        opened.map(|action| (action.at / 1000 - START, format!("{} {}", action.booking, action.scope.1))).collect()
    };
    assert_eq!(opened(&all).len(), 2, "{:?}", told(&all));
    let mut engine = Engine::new(world.settings.clone());
    let (mut now, mut said) = (0, Vec::new());
    // Before a fault, at its onset, while evidence grows, after a booking, in a rollout; in the middle of a
    // half-hour, whose samples so far are lost.
    let hours = [8 * 24 + 8, 8 * 24 + 10, 8 * 24 + 11, 8 * 24 + 13, 9 * 24 + 21, 9 * 24 + 22, 10 * 24];
    for hour in hours {
        let stored_at = hour * HOUR;
        said.extend(world.play_on(&mut engine, now..stored_at));
        now = stored_at;
        let mut killed = Engine::restore(world.settings.clone(), &engine.stored()).expect("what was just stored");
        let mut after = said.clone();
        let end = stored_at + 36 * HOUR;
        after.extend(world.play_on(&mut killed, stored_at + 900..end));
        let expected: Vec<(i64, String)> = opened(&all).into_iter().filter(|(at, _)| *at <= end - 1800).collect();
        let found = opened(&after);
        for (one, same) in found.iter().zip(&expected) {
            assert!(one.1 == same.1 && (one.0 - same.0).abs() <= 1800, "killed in hour {hour}: {found:?} {expected:?}");
        }
        assert!(found.len() >= expected.len(), "killed in hour {hour}: {found:?} {expected:?}");
    }
}

#[test]
fn a_box_that_is_back_after_an_hour_is_not_dead() {
    let silent = |until: i64| {
        let world = World { probes: true, step: 300, ..World::new(9, 3, &["rtt_ms"], 3) };
        let span = 2 * DAY + 10 * HOUR..2 * DAY + until;
        ["rtt_ms", "probe_ok"].into_iter().fold(world, |world, name| world.with(2..3, name, span.clone(), How::Silent))
    };
    // Last heard of at 09:55, and again at 10:55.
    assert_eq!(silent(10 * HOUR + 3300).told(), [""; 0]);
    assert_eq!(silent(11 * HOUR).told()[0], "2 11:00 open b0001 r02 probe_ok room");
}
