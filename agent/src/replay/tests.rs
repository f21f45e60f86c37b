//! Properties of the whole way from lines to bookings, on a small campus: twelve rooms in two
//! buildings for 27 days, with a fault of one room, an upgrade that costs, and a slow service.

use std::fmt::Write as _;

use super::{Replay, SiteFile, parse, read};
use crate::{
    judge::engine::{
        case::{Action, Verb},
        settings::Settings,
    },
    rule::Rules,
};

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
        site.settings(Rules::default()).expect("no mistakes")
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

#[test]
fn what_must_not_be_judged_is_no_value_and_a_half_hour_is_told_apart() {
    use super::Item;
    let item = |rest: &str| {
        let text = format!(r#"{{"ts":{START},"metric":"rtt_ms","value":20,"low":19,"high":null{rest}}}"#);
        match parse(text.as_bytes()).expect("a line").item {
            Item::Values(values) => (None, values[0].1),
            Item::Block { value, seconds, .. } => (Some(seconds), value),
            // What has no upper end has its own value for one.
            Item::Unsure { value, interval: (19.0, 20.0), .. } => (None, Some(value)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(item(r#","validity":"ok""#), (None, Some(20.0)));
    assert_eq!(item(r#","validity":"low_confidence""#), (None, Some(20.0)));
    assert_eq!(item(r#","validity":"inconclusive""#), (None, None));
    // Also on the slow way, that of a number with an exponent.
    assert_eq!(item(r#","validity":"inconclusive","n":1e3"#), (None, None));
    assert_eq!(item(r#","validity":"ok","block_s":1800"#), (Some(1800), Some(20.0)));
    assert_eq!(item(r#","validity":"low_confidence","block_s":1800"#), (Some(1800), None));
}

#[test]
fn a_half_hour_counts_as_its_samples_did() {
    let world = World::new();
    let samples = |value: f64, at: i64| {
        (0..6).map(move |n| {
            format!(r#"{{"ts":{},"labels":{{"room":"r00"}},"values":{{"rtt_ms":{value}}}}}"#, at + n * 300)
        })
    };
    let block = |value: f64, at: i64| {
        format!(r#"{{"ts":{at},"metric":"rtt_ms","labels":{{"room":"r00"}},"value":{value},"n":6,"block_s":1800}}"#)
    };
    // The state after two days of which the second day is one or the other: all but the samples themselves.
    let values = |kept: bool| {
        let mut text = String::new();
        for half in 0..96 {
            let (value, at) = (20.0 + (half % 7) as f64, START + half * 1800);
            if kept && half < 48 {
                text += &(block(value, at) + "\n");
            } else {
                samples(value, at).for_each(|line| text += &(line + "\n"));
            }
        }
        let mut replay = Replay::new(world.settings());
        read(&mut text.as_bytes(), &mut replay, (None, None), false, |_, _| Ok(())).expect("good lines");
        replay.finish();
        assert_eq!((replay.summary.absent, replay.summary.twice), (0, 0));
        let first = START / 1800;
        let series = replay.engine().state().rooms[0].series[0].as_ref().expect("a series");
        let values: Vec<f32> = (first..first + 95).map(|block| series.values.get(block)).collect();
        values
    };
    let kept = values(true);
    assert!(kept.iter().all(|value| value.is_finite()), "{kept:?}");
    assert_eq!(kept, values(false));
}

#[test]
fn the_site_file_tells_what_the_size_of_a_box_rests_on() {
    use crate::judge::engine::settings::{Part, Role};
    let site = |role: &str, full: f64| -> SiteFile {
        serde_json::from_value(serde_json::json!({
            "metrics": {
                "busy": { "worse": "up", "scale": "linear", "material": 0.1, "role": role, "full": full },
                "ram_pct": { "worse": "up", "scale": "linear", "material": 10, "role": "memory" },
                "cpu_pct": { "worse": "up", "scale": "linear", "material": 12 },
                "rtt_ms": { "worse": "up", "scale": "log", "material": 1.4 },
            },
            "rooms": [{ "id": "a", "cores": 4 }, { "id": "b", "cores": 0 }, { "id": "c" }],
        }))
        .expect("a site file")
    };
    let settings = site("cpu", 2.0).settings(Rules::default()).expect("no mistakes");
    let others = ["busy", "cpu_pct", "ram_pct", "rtt_ms"];
    let named = settings.metrics.iter().filter(|metric| others.contains(&metric.name.as_str()));
    let roles: Vec<(&str, Option<Role>)> = named.map(|metric| (metric.name.as_str(), metric.role)).collect();
    let role = |part: Part, full: f64| Some(Role { part, full });
    let expected = [
        ("busy", role(Part::Processor, 2.0)),
        ("cpu_pct", role(Part::Processor, 100.0)),
        ("ram_pct", role(Part::Memory, 100.0)),
        ("rtt_ms", None),
    ];
    assert_eq!(roles, expected);
    let cores: Vec<Option<u32>> = settings.rooms.iter().map(|room| room.cores).collect();
    assert_eq!(cores, [Some(4), None, None]);
    let mistakes = |site: SiteFile| site.settings(Rules::default()).map_err(|found| found[0].key.clone());
    assert_eq!(mistakes(site("gpu", 1.0)), Err("metrics.busy.role".to_owned()));
    assert_eq!(mistakes(site("cpu", -1.0)), Err("metrics.busy.full".to_owned()));
}

/// A seed of another format would be thrown away at once, and its fuzz target find nothing.
#[test]
fn the_seed_of_the_fuzz_target_is_a_state_of_this_format() {
    let file: SiteFile = serde_json::from_value(serde_json::json!({
        "metrics": { "rtt_ms": { "worse": "up", "scale": "log", "material": 1.4, "family": "net" } },
        "rooms": [{ "id": "a", "building": "b", "service": "s" }, { "id": "c", "building": "b", "service": "s" }],
    }))
    .expect("a site file");
    let seed = include_bytes!("../../fuzz/seeds/state/two-rooms");
    let replay = Replay::restore(file.settings(Rules::default()).expect("no mistakes"), seed).expect("a state");
    assert_eq!(replay.stored().len(), seed.trim_ascii().len());
}

/// What is blamed for a room without sisters, and how many hours after its upgrade, if its processor load is
/// so many times material above the usual from then on.
fn alone(above: impl Fn(i64) -> f64) -> Vec<(&'static str, i64)> {
    let (day, upgrade) = (86_400, 21 * 86_400);
    let mut rng = fastrand::Rng::with_seed(4);
    let mut lines = Vec::new();
    for since in (0..24 * day).step_by(STEP as usize) {
        let at = START + since;
        if since == upgrade {
            let labels = r#""labels":{"room":"r00","component":"app"}"#;
            lines.push(format!(r#"{{"ts":{at},"event":"version_change",{labels},"to":"2.0"}}"#));
        }
        let after = since - upgrade;
        let cpu = 30.0 + 4.0 * (rng.f64() - 0.5) + if after >= 0 { 12.0 * above(after / 3600) } else { 0.0 };
        lines.push(format!(r#"{{"ts":{at},"labels":{{"room":"r00"}},"values":{{"cpu_pct":{cpu},"probe_ok":1}}}}"#));
    }
    let mut settings = World::new().settings();
    settings.rooms.truncate(1);
    let opened = run(settings, &lines).into_iter().filter(|action| action.verb == Verb::Open);
    opened.map(|action| (action.cause.expect("a cause").name(), (action.at / 1000 - START - upgrade) / 3600)).collect()
}

#[test]
fn a_room_alone_judges_an_upgrade_by_a_whole_day() {
    // Half a day is not enough to blame it, a day is, and an alarm before that is judged at once.
    assert_eq!(alone(|hour| if hour < 13 { 1.0 } else { 0.0 }), []);
    assert_eq!(alone(|_| 0.9), [("version", 24)]);
    let strong = alone(|_| 2.0);
    assert!(matches!(strong[..], [("version", 4..7)]), "{strong:?}");
    assert_eq!(alone(|_| 0.0), []);
}
