//! More users than ever: the load's fault, never a room's or a version's.

use super::*;

/// Twice the users in two days of teaching.
fn surge() -> World {
    let mut world = World::new(10, 5, &["rtt_ms"], 18);
    world.heed = 0.3;
    world.surges = vec![(15 * DAY..17 * DAY, 2.0)];
    world
}

fn opened(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter(|action| action.verb == Verb::Open)
        .map(|action| format!("{} {}", action.scope.0, action.cause.expect("a cause").name()))
        .collect()
}

fn parts(actions: &[Action], verb: Verb) -> texts::Parts {
    let action = actions.iter().find(|action| action.verb == verb).expect("it was said");
    texts::parse(action.text.as_ref().expect("a text")).expect("all parts")
}

#[test]
fn a_surge_is_load() {
    let (_, actions) = surge().play();
    assert_eq!(opened(&actions), ["service load"]);
    let parts = parts(&actions, Verb::Open);
    let (name, before, now) = &parts.what[0];
    assert_eq!(name, "users");
    assert!((850.0..1050.0).contains(before) && now.is_some_and(|now| now > 1700.0), "{parts:?}");
    assert_eq!(parts.not, [("version".to_owned(), "none changed for 48 h before".to_owned())]);
    assert_eq!(parts.not_ruled_out, None);
}

#[test]
fn a_surge_on_the_day_of_a_rollout_is_load() {
    // Upgraded in the night before: the early hours tell that the version is well.
    let world = surge().then(15 * DAY, Event::Upgrade(0..10, "app", "2.0"));
    let (_, actions) = world.play();
    assert_eq!(opened(&actions), ["service load"]);
    let parts = parts(&actions, Verb::Open);
    assert_eq!(parts.not_ruled_out, None);
    let (cause, because) = &parts.not[0];
    assert_eq!(cause, "version");
    assert!(because.starts_with("10 rooms on app 2.0 at ") && because.ends_with(" at loads seen before"), "{because}");
}

/// Upgraded in the middle of the surge, so that no half-hour is left to tell the two apart by.
#[test]
fn a_version_that_cannot_be_judged_yet_is_judged_at_night() {
    let upgrade = 15 * DAY + 8 * HOUR;
    let world = surge().then(upgrade, Event::Upgrade(0..10, "app", "2.0"));
    let (_, actions) = world.play();
    assert_eq!(opened(&actions), ["service load"]);
    let doubted = parts(&actions, Verb::Open).not_ruled_out;
    assert_eq!(doubted.as_deref(), Some("no half-hour at a load seen before since app 2.0"));
    let told = told(&actions);
    let update = "16 00:00 update b0001 sfu load load: judged again: not the version";
    assert!(told.iter().any(|line| line == update), "{told:?}");
    assert_eq!(parts(&actions, Verb::Update).not[0].0, "version");

    // And when it is the version as well, that is found then.
    let worse = world.with(0..10, "rtt_ms", upgrade..1000 * DAY, How::Times(1.36));
    let (_, actions) = worse.play();
    assert_eq!(opened(&actions), ["service load", "version version"]);
    let found = actions.iter().find(|action| action.scope.0 == "version" && action.verb == Verb::Open);
    assert_eq!(found.map(|action| action.at / 1000 - START), Some(16 * DAY));

    // A version of the service itself is doubted in the same way.
    let (_, actions) = surge().then(upgrade, Event::ServiceUpgrade("7.1")).play();
    let doubted = parts(&actions, Verb::Open).not_ruled_out;
    assert_eq!(doubted.as_deref(), Some("no half-hour at a load seen before since sfu 7.1"));
}
