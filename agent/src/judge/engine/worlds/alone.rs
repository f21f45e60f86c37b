//! One box without sister rooms: what it blames, and what it leaves alone.

use super::*;

const METRICS: [&str; 4] = ["cpu_pct", "loss_pct", "response_ms", "rtt_ms"];

fn opened(world: &World) -> Vec<String> {
    let (_, actions) = world.play();
    let opened = actions.iter().filter(|action| action.verb == Verb::Open);
    opened
        .map(|action| {
            let since = action.at / 1000 - START;
            let cause = action.cause.expect("a cause").name();
            let what = format!("{} {}", action.metrics.join("+"), action.scope.0);
            format!("{} {:02}:{:02} {what} {cause}", since / DAY, since % DAY / HOUR, since % HOUR / 60)
        })
        .collect()
}

/// What was opened, without the times.
fn blamed(world: &World) -> Vec<String> {
    opened(world).iter().map(|line| line.splitn(3, ' ').skip(2).collect()).collect()
}

#[test]
fn probes_that_fail_for_half_an_hour_at_night_are_the_service() {
    let night = 16 * DAY + 2 * HOUR..16 * DAY + 5 * HOUR;
    let world = World { step: 300, probes: true, ..World::new(1, 1, &METRICS, 18) };
    let world = world
        .with(0..1, "probe_ok", night.clone(), How::Times(0.0))
        .with(0..1, "loss_pct", night, How::Is(100.0))
        .with(0..1, "probe_ok", 17 * DAY + 2 * HOUR..17 * DAY + 2 * HOUR + 1500, How::Times(0.0));
    // Its loss is no second booking; and less than half an hour of it is none.
    assert_eq!(opened(&world), ["16 02:30 probe_ok room service"]);
    // One of three rooms is not the service: what it loses is its own.
    let three = World { settings: World::new(3, 3, &METRICS, 18).settings, ..world };
    assert_eq!(blamed(&three), ["loss_pct room room"]);
}

#[test]
fn what_begins_with_a_version_of_the_service_is_that_version() {
    // At a weekend, when no load tells anything.
    let since = 19 * DAY + 4 * HOUR;
    let world = World::new(1, 1, &METRICS, 21).with(0..1, "rtt_ms", since..1000 * DAY, How::Times(1.8));
    assert_eq!(blamed(&world), ["rtt_ms room room"]);
    let upgraded = world.then(since, Event::ServiceUpgrade("7.1"));
    assert_eq!(blamed(&upgraded), ["rtt_ms room version"]);
    // The network follows later: the same. The processor has nothing to do with it.
    let more = upgraded.with(0..1, "loss_pct", since + 30 * HOUR..1000 * DAY, How::Plus(4.0)).with(
        0..1,
        "cpu_pct",
        since + 2 * HOUR..1000 * DAY,
        How::Plus(30.0),
    );
    assert_eq!(blamed(&more), ["cpu_pct room room", "rtt_ms room version"]);
}

#[test]
fn what_is_found_by_days_began_on_the_first_of_them() {
    // Too small for a half-hour's noise, not for a day's; found at the end of the day of the upgrade.
    let up = 16 * DAY + HOUR;
    let mut world = World::new(1, 1, &["rtt_ms"], 20).with(0..1, "rtt_ms", up..1000 * DAY, How::Times(1.055));
    world.settings.metrics[0].material = 0.02;
    assert_eq!(opened(&world), ["17 00:00 rtt_ms room room"]);
    assert_eq!(blamed(&world.then(up, Event::Upgrade(0..1, "app", "2.0"))), ["rtt_ms version version"]);
}

/// Days that differ by themselves: one is better, one as usual, one worse, and so on.
fn uneven(by: f64, until: i64, days: i64) -> World {
    let world = World::new(1, 1, &["cpu_pct"], days);
    (0..until).fold(world, |world, day| {
        world.with(0..1, "cpu_pct", day * DAY..(day + 1) * DAY, How::Plus(by * (day % 3 - 1) as f64))
    })
}

#[test]
fn days_that_differ_by_themselves_hold_evidence_back_more() {
    let by = |plus: f64| uneven(3.0, 22, 30).with(0..1, "cpu_pct", 22 * DAY..1000 * DAY, How::Plus(plus));
    assert_eq!(opened(&by(10.0)), Vec::<String>::new());
    assert_eq!(blamed(&by(20.0)), ["cpu_pct room room"]);
}

#[test]
fn a_day_like_others_is_no_regression() {
    let by = |plus: f64| {
        uneven(4.0, 22, 24).then(22 * DAY, Event::Upgrade(0..1, "app", "2.0")).with(
            0..1,
            "cpu_pct",
            22 * DAY..1000 * DAY,
            How::Plus(plus),
        )
    };
    assert_eq!(opened(&by(13.0)), Vec::<String>::new());
    assert_eq!(blamed(&by(20.0)), ["cpu_pct version version"]);
}
