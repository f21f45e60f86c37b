//! What becomes of bookings: the fuse, superseding, withdrawal, reopening, acceptance.

use super::*;

const FOREVER: i64 = 1000 * DAY;

/// One metric, learned in a week.
fn campus(rooms: usize, each: usize, days: i64) -> World {
    let mut world = World::new(rooms, each, &["rtt_ms"], days);
    world.settings.tuning.learning_days = 7;
    world.heed = 0.05;
    world
}

fn verbs(told: &[String]) -> Vec<String> {
    told.iter().map(|line| line.split(' ').skip(2).take(1).collect()).collect()
}

#[test]
fn many_rooms_at_once_wait_for_a_verdict_on_all() {
    // Eight rooms of as many buildings have it together: five are booked, three an hour later.
    let rooms = (0..8).fold(campus(24, 3, 10), |world, room| {
        world.with(3 * room..3 * room + 1, "rtt_ms", 9 * DAY + 2 * HOUR..FOREVER, How::Times(6.0))
    });
    let told = rooms.told();
    let expected: Vec<String> = (0..8)
        .map(|room| {
            let hour = if room < 5 { "03" } else { "04" };
            format!("9 {hour}:30 open b{:04} r{:02} rtt_ms room", room + 1, 3 * room)
        })
        .collect();
    assert_eq!(told[..8], expected);
    assert!(told[8..].iter().all(|line| line.contains(" update ")), "{told:?}");

    // All others follow within the hour: those that waited are the service's, and so are the five.
    let all = rooms.with(0..24, "rtt_ms", 9 * DAY + 2 * HOUR + 1800..FOREVER, How::Times(6.0));
    let told = all.told();
    let opened: Vec<&String> = told.iter().filter(|line| line.contains(" open ")).collect();
    assert_eq!(opened.len(), 6, "{told:?}");
    assert!(opened[5].ends_with("b0006 sfu rtt_ms service"), "{told:?}");
    assert_eq!(told.iter().filter(|line| line.ends_with("superseded_by b0006")).count(), 5, "{told:?}");
}

#[test]
fn a_service_takes_over_what_was_blamed_on_its_rooms() {
    let early = 9 * DAY + HOUR;
    let world = campus(12, 6, 10)
        .with(3..4, "rtt_ms", early..FOREVER, How::Times(3.0))
        .with(0..3, "rtt_ms", early + 2 * HOUR..FOREVER, How::Times(3.0))
        .with(4..12, "rtt_ms", early + 2 * HOUR..FOREVER, How::Times(3.0));
    let expected = [
        "9 03:00 open b0001 r03 rtt_ms room",
        "9 04:30 open b0002 sfu rtt_ms service",
        "9 04:30 close b0001 r03 rtt_ms room: superseded_by b0002",
    ];
    assert_eq!(world.told()[..3], expected);
    // Not what somebody has confirmed, nor what began long before.
    let confirmed = world.clone().then(early + 2 * HOUR, Event::Maintenance("confirm", "b0001"));
    assert_eq!(verbs(&confirmed.told()), ["open", "open", "recovered"]);
    let long_before = World { effects: world.effects[1..].to_vec(), ..world }.with(
        3..4,
        "rtt_ms",
        early - 5 * HOUR..FOREVER,
        How::Times(3.0),
    );
    assert!(!long_before.told().iter().any(|line| line.contains("superseded")), "{:?}", long_before.told());
}

#[test]
fn what_goes_away_before_anybody_confirmed_it_is_withdrawn() {
    let saturday = 12 * DAY;
    let world = campus(8, 8, 14).with(3..4, "rtt_ms", saturday..saturday + 6 * HOUR, How::Times(3.0));
    let expected =
        ["12 02:00 open b0001 r03 rtt_ms room", "13 00:00 withdraw b0001 r03 rtt_ms room: went away after 24 h"];
    assert_eq!(world.told(), expected);
    // Not when a lesson was hit, or when somebody has confirmed it.
    let confirmed = world.clone().then(saturday + 4 * HOUR, Event::Maintenance("confirm", "b0001"));
    assert_eq!(verbs(&confirmed.told()), ["open", "recovered"]);
    let friday = 11 * DAY + 6 * HOUR;
    let lesson = campus(8, 8, 14).with(3..4, "rtt_ms", friday..friday + 6 * HOUR, How::Times(3.0));
    assert_eq!(verbs(&lesson.told()), ["open", "recovered"]);
}

#[test]
fn what_comes_back_within_a_fortnight_is_the_same() {
    let hours = |day: i64| day * DAY..day * DAY + 6 * HOUR;
    let visit = |world: World, day: i64| world.with(3..4, "rtt_ms", hours(day), How::Times(3.0));
    let world = [12, 19, 26].into_iter().fold(campus(8, 8, 28), visit);
    let told = world.told();
    assert_eq!(verbs(&told), ["open", "withdraw", "reopen", "withdraw", "reopen", "recovered"]);
    assert!(told.iter().all(|line| line.contains(" b0001 r03 ")), "{told:?}");
    assert!(told[2].ends_with(": episode 2") && told[4].ends_with(": episode 3, intermittent"), "{told:?}");
    // Fifteen days later it is another one.
    let world = [12, 28].into_iter().fold(campus(8, 8, 30), visit);
    let told = world.told();
    assert_eq!(verbs(&told), ["open", "withdraw", "open", "withdraw"]);
    assert!(told[2].contains(" b0002 "), "{told:?}");
}

#[test]
fn what_is_accepted_is_normal_from_then_on() {
    let world = campus(8, 8, 24).with(3..4, "rtt_ms", 10 * DAY..FOREVER, How::Times(2.0));
    let world = world.then(11 * DAY + 12 * HOUR, Event::Maintenance("accept", "b0001"));
    let (engine, actions) = world.play();
    assert_eq!(verbs(&told(&actions)), ["open", "close"]);
    assert!(told(&actions)[1].ends_with(": accepted"));
    let anchor = |room: usize| engine.series(room, 0).and_then(|series| series.healthy.anchor).expect("learned");
    // A room of the same base level, but for the one millisecond between them.
    let raised = anchor(3) - anchor(4);
    assert!((raised - (2.0 * 23.0 / 24.0_f64).ln()).abs() < 0.05, "{raised}");
    // What comes on top of it is a fault again, and a new one.
    let worse = world.with(3..4, "rtt_ms", 20 * DAY..FOREVER, How::Times(2.0));
    let told = worse.told();
    assert_eq!(verbs(&told[..3]), ["open", "close", "open"]);
    assert!(told[2].starts_with("20 ") && told[2].contains(" b0002 r03 "), "{told:?}");
}

#[test]
fn a_brighter_day_than_usual_is_no_fault() {
    // The sun is on one room's camera every afternoon; on the last day it is two and a half times as strong.
    let sunny = |usual: f64| {
        let mut world = World::new(8, 4, &["cpu_pct"], 17);
        (world.step, world.settings.metrics[0].heavy, world.holidays) = (1800, true, 0..17);
        let afternoon = |day: i64| day * DAY + 9 * HOUR..day * DAY + 17 * HOUR;
        let world = (0..16).fold(world, |world, day| world.with(2..3, "cpu_pct", afternoon(day), How::Plus(usual)));
        world.with(2..3, "cpu_pct", afternoon(16), How::Plus(usual + 24.0))
    };
    assert_eq!(sunny(16.0).told(), [""; 0]);
    assert_eq!(verbs(&sunny(0.0).told()), ["open"], "{:?}", sunny(0.0).told());
}
