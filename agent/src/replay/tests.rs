//! Properties of the whole way from lines to bookings, on a small campus: twelve rooms in two
//! buildings for 27 days, with a fault of one room, an upgrade that costs, and a slow service.

use std::fmt::Write as _;

use super::{Replay, SiteFile, parse, read};
use crate::judge::engine::{case::Action, settings::Settings};

const START: i64 = 1_756_684_800; // Monday, 2025-09-01
const ROOMS: usize = 12;
const DAYS: i64 = 27;
const STEP: i64 = 900;

#[derive(Clone)]
struct World {
    /// Name of each room.
    names: Vec<String>,
    /// Order of the rooms in the site file and at each instant.
    order: Vec<usize>,
    /// What each room's round trip is multiplied by, and what is added to its processor load.
    scale: Vec<(f64, f64)>,
    /// Seconds that all is later.
    later: i64,
    /// Each line so many times.
    copies: usize,
}

impl World {
    fn new() -> Self {
        Self {
            names: (0..ROOMS).map(|room| format!("r{room:02}")).collect(),
            order: (0..ROOMS).collect(),
            scale: vec![(1.0, 0.0); ROOMS],
            later: 0,
            copies: 1,
        }
    }

    fn settings(&self) -> Settings {
        let rooms = self.order.iter().map(|room| {
            serde_json::json!({
                "id": self.names[*room], "building": if *room < 6 { "east" } else { "west" },
                "service": "sfu", "hardware": "A",
            })
        });
        let site: SiteFile = serde_json::from_value(serde_json::json!({
            "site": { "timezone": "UTC", "load_metric": "users" },
            "metrics": {
                "rtt_ms": { "worse": "up", "scale": "log", "material": 1.4, "family": "net" },
                "cpu_pct": { "worse": "up", "scale": "linear", "material": 12.0, "family": "app" },
            },
            "rooms": rooms.collect::<Vec<_>>(),
        }))
        .expect("a site file");
        site.settings(Vec::new()).expect("no mistakes")
    }

    /// The history, a line for each entry.
    fn lines(&self) -> Vec<String> {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut noise = move || (0..4).map(|_| rng.f64() - 0.5).sum::<f64>();
        let mut lines = Vec::new();
        let day = 86_400;
        for step in 0..DAYS * day / STEP {
            let since = step * STEP;
            let at = START + self.later + since;
            let hour = since % day / 3600;
            let teaching = since / day % 7 < 5 && (8..16).contains(&hour);
            let mut now = Vec::new();
            if since % day == 0 && since / day % 7 < 5 {
                for name in &self.names {
                    now.push(format!(
                        r#"{{"ts":{at},"event":"lesson","labels":{{"room":"{name}"}},"start":{},"end":{}}}"#,
                        at + 8 * 3600,
                        at + 16 * 3600
                    ));
                }
            }
            let users = if teaching { 900.0 } else { 90.0 } * (1.0 + 0.05 * noise());
            now.push(format!(r#"{{"ts":{at},"metric":"users","labels":{{"service":"sfu"}},"value":{users:.1}}}"#));
            let mut values = vec![String::new(); ROOMS];
            for (room, line) in values.iter_mut().enumerate() {
                let spread = room as f64;
                let mut rtt = (20.0 + spread) * (0.1 * noise()).exp() * if teaching { 1.3 } else { 1.0 };
                let mut cpu = 20.0 + spread + 2.0 * noise();
                if room == 3 && (16 * day..20 * day).contains(&since) {
                    rtt *= 2.2;
                }
                if since > 21 * day + 4 * 3600 && room < 11 {
                    cpu += 25.0;
                }
                if since > 25 * day + 9 * 3600 {
                    rtt *= 2.0;
                }
                let (factor, amount) = self.scale[room];
                let _ = write!(
                    line,
                    r#"{{"ts":{at},"labels":{{"room":"{}"}},"values":{{"rtt_ms":{},"cpu_pct":{},"probe_ok":1,"users":{}}}}}"#,
                    self.names[room],
                    rtt * factor,
                    cpu + amount,
                    if teaching { 30 } else { 0 }
                );
            }
            if since == 21 * day + 4 * 3600 {
                for room in &self.order {
                    let name = &self.names[*room];
                    now.push(format!(
                        r#"{{"ts":{at},"event":"version_change","labels":{{"room":"{name}","component":"app"}},"to":"2.0"}}"#
                    ));
                }
            }
            now.extend(self.order.iter().map(|room| values[*room].clone()));
            lines.extend(now.into_iter().flat_map(|line| vec![line; self.copies]));
        }
        lines
    }

    fn run(&self) -> Vec<Action> {
        run(self.settings(), &self.lines())
    }
}

fn run(settings: Settings, lines: &[String]) -> Vec<Action> {
    let mut replay = Replay::new(settings);
    let mut actions = feed(&mut replay, lines);
    replay.finish();
    actions.extend(replay.take_actions());
    actions
}

fn feed(replay: &mut Replay, lines: &[String]) -> Vec<Action> {
    let mut actions = Vec::new();
    for line in lines {
        replay.line(&parse(line.as_bytes()).expect("a line"));
        actions.extend(replay.take_actions());
    }
    actions
}

/// What must not change: when, what, about what, whose fault. Sorted, because names order equals.
fn told(actions: &[Action], world: &World) -> Vec<String> {
    let place = |name: &String| world.names.iter().position(|known| known == name).expect("a room");
    // A check names the room that was upgraded first, of those at one instant the first in the input.
    let mut told: Vec<String> = actions
        .iter()
        .filter(|action| action.verb != crate::judge::engine::case::Verb::Check)
        .map(|action| {
            let mut rooms: Vec<usize> = action.rooms.iter().map(place).collect();
            rooms.sort_unstable();
            let at = action.at / 1000 - world.later;
            format!("{at} {:?} {rooms:?} {:?} {:?} {:?}", action.verb, action.metrics, action.cause, action.severity)
        })
        .collect();
    told.sort_unstable();
    told
}

#[test]
fn faults_are_found_and_named() {
    let world = World::new();
    let actions = world.run();
    let opened: Vec<(String, String, &str)> = actions
        .iter()
        .filter(|action| action.verb == crate::judge::engine::case::Verb::Open)
        .map(|action| {
            let cause = action.cause.expect("a cause").name();
            (format!("{} {}", action.scope.0, action.scope.1), action.metrics.join(" "), cause)
        })
        .collect();
    let expected =
        [("room r03", "rtt_ms", "room"), ("version 2.0", "cpu_pct", "version"), ("service sfu", "rtt_ms", "service")]
            .map(|(scope, metric, cause)| (scope.to_owned(), metric.to_owned(), cause));
    assert_eq!(opened, expected);
    for action in actions.iter().filter(|action| action.verb == crate::judge::engine::case::Verb::Open) {
        let text = action.text.as_ref().expect("a text");
        for part in [" -> ", " since ", "Changed before: ", "Clears when "] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("Not the ") || text.contains("Not examined: "), "{text}");
    }
}

#[test]
fn the_size_of_what_is_healthy_does_not_matter() {
    let plain = World::new();
    let mut scaled = World::new();
    scaled.scale[3] = (3.0, 0.0);
    scaled.scale[5] = (0.25, 11.0);
    scaled.scale[8] = (1.0, -9.0);
    assert_eq!(told(&scaled.run(), &scaled), told(&plain.run(), &plain));
}

#[test]
fn names_and_order_do_not_matter() {
    let plain = World::new();
    let mut renamed = World::new();
    renamed.names = (0..ROOMS).map(|room| format!("x{:02}", ROOMS - room)).collect();
    renamed.order.reverse();
    assert_eq!(told(&renamed.run(), &renamed), told(&plain.run(), &plain));
}

#[test]
fn lines_that_come_twice_or_weeks_later_do_not_matter() {
    let plain = World::new();
    let twice = World { copies: 2, ..World::new() };
    let later = World { later: 14 * 86_400, ..World::new() };
    let expected = told(&plain.run(), &plain);
    assert_eq!(told(&twice.run(), &twice), expected);
    assert_eq!(told(&later.run(), &later), expected);
}

#[test]
fn lines_within_a_quarter_of_an_hour_may_come_in_any_order() {
    let world = World::new();
    let mut lines = world.lines();
    // Swap whole instants in pairs: each comes 15 minutes late or early.
    let at = |line: &String| parse(line.as_bytes()).expect("a line").at / (2 * STEP * 1000);
    let instant = |line: &String| parse(line.as_bytes()).expect("a line").at;
    lines.sort_by_key(|line| (at(line), std::cmp::Reverse(instant(line))));
    assert_eq!(told(&run(world.settings(), &lines), &world), told(&world.run(), &world));
}

#[test]
fn a_run_may_be_split_at_any_block() {
    let world = World::new();
    let lines = world.lines();
    let expected = run(world.settings(), &lines);
    let instant = |line: &String| parse(line.as_bytes()).expect("a line").at / 1000 - START;
    let day = 86_400;
    for split in [1800, 14 * day, 16 * day + 5 * 3600, 18 * day + 1800, 21 * day + 6 * 3600, 26 * day] {
        let place = lines.partition_point(|line| instant(line) < split);
        let mut first = Replay::new(world.settings());
        let mut actions = feed(&mut first, &lines[..place]);
        first.finish();
        actions.extend(first.take_actions());
        let mut second = Replay::restore(world.settings(), &first.stored()).expect("what was just stored");
        actions.extend(feed(&mut second, &lines[place..]));
        second.finish();
        actions.extend(second.take_actions());
        assert_eq!(actions, expected, "split after {split} s");
    }
}

#[test]
fn bad_lines_and_torn_states_are_no_reason_to_fall_over() {
    let world = World::new();
    let lines = world.lines();
    let mut rng = fastrand::Rng::with_seed(9);
    let mut text: Vec<u8> = lines[..6000].join("\n").into_bytes();
    for _ in 0..4000 {
        let at = rng.usize(..text.len());
        text[at] = *rng.choice(b"0123456789eE+-.,:\"\\{}[]nulNaIfity \n\xff").expect("not empty");
    }
    let mut replay = Replay::new(world.settings());
    read(&mut text.as_slice(), &mut replay, (None, None), true, |_, _| Ok(())).expect("bad lines are skipped");
    assert!(replay.summary.malformed > 0 && replay.summary.values > 1000);
    replay.finish();

    let stored = replay.stored();
    assert!(Replay::restore(world.settings(), &stored[..stored.len() / 2]).is_err());
    assert!(Replay::restore(world.settings(), b"{\"format\":99}").is_err());
    let short: Vec<String> = lines[6000..6500].to_vec();
    for _ in 0..300 {
        let mut torn = stored.clone();
        for _ in 0..3 {
            let at = rng.usize(..torn.len());
            torn[at] = rng.u8(32..127);
        }
        if let Ok(mut restored) = Replay::restore(world.settings(), &torn) {
            feed(&mut restored, &short[..rng.usize(..short.len())]);
        }
    }
}

#[test]
fn unusual_values_are_read() {
    let line = |text: &str| parse(text.as_bytes()).map(|line| format!("{:?}", line.item));
    let table = [
        (r#"{"ts":1.5,"metric":"a","value":NaN}"#, "None"),
        (r#"{"ts":1,"metric":"a","value":-Infinity}"#, "None"),
        (r#"{"ts":1,"metric":"a","value":null}"#, "None"),
        (r#"{"ts":1,"metric":"a","value":1e300}"#, "Some(1e300)"),
        (r#"{"ts":1,"metric":"a","value":-0.125}"#, "Some(-0.125)"),
        (
            r#"{"ts":"2025-09-24T01:05:00+08:00","metric":"a","value":12345678901234567890}"#,
            "Some(1.2345678901234567e19)",
        ),
        ("{\"ts\":1,\"metric\":\"\\u0061\",\"value\":2}", "Some(2.0)"),
    ];
    for (text, expected) in table {
        let found = line(text).expect("a line");
        assert!(found.contains(expected), "{text}: {found}");
    }
    for text in
        ["", "{}", "[]", r#"{"ts":1}"#, r#"{"ts":"today","metric":"a","value":1}"#, r#"{"ts":1,"event":"lesson"}"#]
    {
        assert!(line(text).is_err(), "{text}");
    }
}
