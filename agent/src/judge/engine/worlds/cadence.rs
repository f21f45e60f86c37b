//! How often is measured, and how much of it gets lost, does not matter; nor does how long it goes on.

use super::*;

/// A fault of one room by steps, one of another metric, an upgrade that costs, and a slow service.
fn faults() -> World {
    let mut world = World::new(10, 5, &["cpu_pct", "rtt_ms"], 15);
    world.settings.tuning.learning_days = 7;
    world.heed = 0.05;
    world
        .with(3..4, "rtt_ms", 8 * DAY + 10 * HOUR..10 * DAY, How::Times(2.2))
        .with(6..7, "cpu_pct", 9 * DAY + 3 * HOUR..11 * DAY, How::Plus(30.0))
        .then(11 * DAY + 4 * HOUR, Event::Upgrade(0..9, "app", "2.0"))
        .with(0..9, "cpu_pct", 11 * DAY + 4 * HOUR..1000 * DAY, How::Plus(25.0))
        .with(0..10, "rtt_ms", 13 * DAY + 9 * HOUR..1000 * DAY, How::Times(2.0))
}

/// Instant, and what was opened.
fn opened(actions: &[Action]) -> Vec<(i64, String)> {
    let opened = actions.iter().filter(|action| action.verb == Verb::Open);
    opened
        .map(|action| {
            let cause = action.cause.expect("a cause").name();
            (action.at / 1000, format!("{} {} {} {cause}", action.scope.0, action.scope.1, action.metrics.join("+")))
        })
        .collect()
}

fn assert_alike(found: &[(i64, String)], expected: &[(i64, String)], within: i64) {
    assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.1, expected.1);
        assert!((found.0 - expected.0).abs() <= within, "{found:?} {expected:?}");
    }
}

#[test]
fn each_minute_or_each_quarter_of_an_hour_is_the_same() {
    let every = |step: i64| opened(&World { step, ..faults() }.play().1);
    let expected = every(300);
    let what: Vec<&str> = expected.iter().map(|(_, what)| what.as_str()).collect();
    let all =
        ["room r03 rtt_ms room", "room r06 cpu_pct room", "version 2.0 cpu_pct version", "service sfu rtt_ms service"];
    assert_eq!(what, all);
    assert_alike(&every(60), &expected, HOUR);
    assert_alike(&every(900), &expected, HOUR);
}

#[test]
fn a_tenth_of_the_samples_may_be_lost() {
    let expected = opened(&World { step: 300, ..faults() }.play().1);
    let found = opened(&World { step: 300, lost: 10, ..faults() }.play().1);
    assert_alike(&found, &expected, HOUR);
}

#[test]
fn what_is_remembered_does_not_grow_over_a_year() {
    let mut world = World::new(2, 2, &["cpu_pct", "rtt_ms"], 364);
    world.settings.tuning.refit_every = 7;
    let versions = ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"];
    for (version, month) in versions.into_iter().zip(0..) {
        let day = 28 * month + 15;
        let fault = day * DAY..(day + 3) * DAY;
        world = world.then((day - 5) * DAY, Event::Upgrade(0..2, "app", version));
        world = world.with((month % 2) as usize..2, "rtt_ms", fault, How::Times(3.0));
    }
    let mut engine = Engine::new(world.settings.clone());
    let mut months = Vec::new();
    let mut bookings = 0;
    for month in 0..13 {
        let actions = world.play_on(&mut engine, 28 * month * DAY..28 * (month + 1) * DAY);
        bookings += actions.iter().filter(|action| action.verb == Verb::Open).count();
        months.push(engine.stored().len());
    }
    assert!(bookings >= 12, "{bookings}");
    // Levels of 16 weeks, forty teaching days, thirty busy ones: full after a third of the year.
    let (early, late) = (months[4..7].iter().max(), months[10..].iter().max());
    let (early, late) = (early.copied().unwrap_or_default(), late.copied().unwrap_or_default());
    assert!(late * 100 <= early * 103, "{months:?}");
}
