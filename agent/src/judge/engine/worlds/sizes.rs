//! Right-sizing.

use super::*;

const ALWAYS: Range<i64> = 0..1000 * DAY;
const BOTH: [&str; 2] = ["cpu_pct", "mem_pct"];

fn small(days: i64) -> World {
    World::new(2, 2, &BOTH, days).with(0..1, "cpu_pct", ALWAYS, How::Is(90.0))
}

fn large(days: i64) -> World {
    let world = World::new(2, 2, &BOTH, days).with(0..1, "cpu_pct", ALWAYS, How::Is(20.0));
    world.with(0..1, "mem_pct", ALWAYS, How::Is(20.0))
}

#[test]
fn a_box_that_is_too_small_is_told_once_a_term() {
    let mut world = small(66);
    world.settings.rooms[0].cores = Some(4);
    // Three weeks without lessons; a new term begins on day 49.
    world.holidays = 28..49;
    let (_, actions) = world.play();
    let expected = [
        "15 00:00 open b0001 r00 cpu_pct load",
        "50 00:00 close b0001 r00 cpu_pct load: another term has begun",
        "64 00:00 open b0002 r00 cpu_pct load",
    ];
    assert_eq!(told(&actions), expected);
    let opened = &actions[0];
    assert_eq!(opened.severity, Some(Severity::Low));
    let text = opened.text.as_ref().expect("a text");
    assert!(text.contains("with 8 cores instead of 4, cpu_pct would be 45."), "{text}");
    // Without the number of cores nothing is predicted.
    let (_, unknown) = small(16).play();
    assert!(!unknown[0].text.as_ref().expect("a text").contains("cores"), "{unknown:?}");
}

#[test]
fn six_high_days_of_ten_are_not_enough() {
    let fill = |days: &[i64]| {
        days.iter().fold(World::new(2, 2, &BOTH, 22), |world, day| {
            world.with(0..1, "mem_pct", day * DAY..(day + 1) * DAY, How::Is(90.0))
        })
    };
    // So many that what is high at times is usual, and no fault.
    let mut few = fill(&[1, 2, 4, 8, 11, 14]);
    few.settings.tuning.learning_days = 28;
    assert_eq!(few.told(), [""; 0]);
    let mut enough = fill(&[1, 2, 4, 8, 9, 11, 14]);
    enough.settings.tuning.learning_days = 28;
    assert_eq!(enough.told(), ["15 00:00 open b0001 r00 mem_pct load"]);
}

#[test]
fn a_new_version_puts_advice_off() {
    let world = small(27).then(11 * DAY + 20 * HOUR, Event::Upgrade(0..1, "app", "2.0"));
    assert_eq!(world.told(), ["26 00:00 open b0001 r00 cpu_pct load"]);
}

#[test]
fn a_box_that_was_off_when_its_version_was_judged_needs_no_larger_size() {
    const OFF: Range<i64> = 17 * DAY + 16 * HOUR..21 * DAY + 8 * HOUR;
    // Two waves; the box answers all the while, but tells nothing of its use.
    let world = World::new(12, 4, &["cpu_pct", "mem_pct", "rtt_ms"], 36)
        .then(16 * DAY, Event::Upgrade(8..12, "app", "2.0"))
        .with(8..12, "cpu_pct", 16 * DAY..1000 * DAY, How::Is(90.0))
        .then(18 * DAY, Event::Upgrade(0..8, "app", "2.0"))
        .with(0..8, "cpu_pct", 18 * DAY..1000 * DAY, How::Is(90.0))
        .with(0..1, "cpu_pct", OFF, How::Silent)
        .with(0..1, "mem_pct", OFF, How::Silent);
    let (_, actions) = world.play();
    let named = |action: &Action| action.verb != Verb::Check && action.rooms.iter().any(|room| room == "r00");
    let named: Vec<Action> = actions.iter().filter(|action| named(action)).cloned().collect();
    assert_eq!(told(&named), [""; 0]);
    let is_blamed = |line: &String| line.ends_with(" 2.0 cpu_pct version");
    assert!(told(&actions).iter().any(is_blamed), "{:?}", told(&actions));
}

#[test]
fn a_program_that_runs_away_is_no_reason_for_a_larger_box() {
    let world = World::new(2, 2, &BOTH, 41).with(0..1, "cpu_pct", 20 * DAY..1000 * DAY, How::Is(90.0));
    // Once somebody has said that it shall be so, it is the size that does not fit.
    let world = world.then(30 * DAY + 12 * HOUR, Event::Maintenance("accept", "b0001"));
    let expected = [
        "20 01:30 open b0001 r00 cpu_pct room",
        "30 12:00 close b0001 r00 cpu_pct room: accepted",
        "39 00:00 open b0002 r00 cpu_pct load",
    ];
    assert_eq!(world.told(), expected);
}

#[test]
fn a_box_that_is_larger_than_it_need_be() {
    assert_eq!(large(56).told(), ["54 00:00 open b0001 r00 cpu_pct+mem_pct load"]);
    // A hundredth of the half-hours may be busy, no more.
    let busy = |hours: i64| large(56).with(0..1, "cpu_pct", 21 * DAY..21 * DAY + (8 + hours) * HOUR, How::Is(28.0));
    assert_eq!(busy(3).told().len(), 1);
    assert_eq!(busy(4).told(), [""; 0]);
}

#[test]
fn a_box_that_was_off_on_busy_days_is_not_too_large() {
    let fridays = || (0..8).map(|week| (7 * week + 4) * DAY..(7 * week + 5) * DAY);
    let mut world = World::new(2, 2, &["cpu_pct", "mem_pct", "rtt_ms"], 62);
    world.effects = large(62).effects;
    world.surges = fridays().map(|span| (span, 1.3)).collect();
    let off = fridays().fold(world.clone(), |world, span| {
        world.with(0..1, "cpu_pct", span.clone(), How::Silent).with(0..1, "mem_pct", span, How::Silent)
    });
    assert_eq!(world.told().len(), 1);
    assert_eq!(off.told(), [""; 0]);
}

#[test]
fn a_service_whose_load_costs_nothing_may_be_smaller() {
    let mut world = World::new(2, 2, &["rtt_ms"], 70);
    // Days of many loads, so that a usual and a high one differ.
    world.surges = (0..70).map(|day| (day * DAY..(day + 1) * DAY, 0.5 + 0.1 * (day % 5) as f64)).collect();
    let free = World { heed: 0.0, ..world.clone() };
    assert_eq!(free.told(), ["68 00:00 open b0001 sfu load load"]);
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn a_box_that_was_made_larger_is_measured_anew() {
    let world = small(27).then(16 * DAY, Event::Maintenance("done", "b0001"));
    let (engine, actions) = world.play();
    assert_eq!(told(&actions), ["15 00:00 open b0001 r00 cpu_pct load"]);
    assert_eq!(engine.state.rooms[0].size.recent(engine.state.term.taught, 40).count(), 8);
    // The number of cores tells as well.
    let world = small(27).then(16 * DAY, Event::Upgrade(0..1, "cores", "4"));
    let world = world.then(17 * DAY, Event::Upgrade(0..1, "cores", "8"));
    let expected =
        ["15 00:00 open b0001 r00 cpu_pct load", "18 00:00 close b0001 r00 cpu_pct load: the size was changed"];
    assert_eq!(world.told(), expected);
}
