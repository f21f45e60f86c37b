//! Small histories with one purpose each: a campus in code, with noise of its own that depends on nothing
//! but the place and the instant, so that the same half-hour reads the same at any cadence.
//!
//! Time is in seconds from Monday, 2025-09-01, 00:00, in UTC.

mod alone;
mod cadence;
mod restarts;
mod rules;
mod sizes;
mod surges;
mod texts;

use std::ops::Range;

use chrono_tz::Tz;

use super::{
    Engine,
    case::{Action, Severity, Verb},
    settings::{MetricSettings, Role, RoomSettings, Scale, Settings, Tuning, Worse},
    timetable::Span,
};

const START: i64 = 1_756_684_800;
pub(super) const HOUR: i64 = 3600;
pub(super) const DAY: i64 = 24 * HOUR;

/// What is otherwise than usual, for a while.
#[derive(Clone, Debug)]
struct Effect {
    rooms: Range<usize>,
    metric: &'static str,
    span: Range<i64>,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Times(f64),
    Is(f64),
    Plus(f64),
    Silent,
}

#[derive(Clone, Debug)]
enum Event {
    Upgrade(Range<usize>, &'static str, &'static str),
    ServiceUpgrade(&'static str),
    Maintenance(&'static str, &'static str),
}

#[derive(Clone, Debug)]
struct World {
    settings: Settings,
    days: i64,
    /// Seconds between samples.
    step: i64,
    /// How many of a hundred samples are lost.
    lost: u64,
    effects: Vec<Effect>,
    events: Vec<(i64, Event)>,
    /// What the load is multiplied by, for a while.
    surges: Vec<(Range<i64>, f64)>,
    /// Days without lessons, besides weekends.
    holidays: Range<i64>,
    /// By how much the usual peak of load lengthens a round trip, as a part of it.
    heed: f64,
    /// Whether a probe tells that each room is there.
    probes: bool,
}

fn metric(name: &str, scale: Scale, material: f64, family: &str) -> MetricSettings {
    MetricSettings {
        name: name.to_owned(),
        worse: Worse::Up,
        scale,
        material,
        floor: 0.01,
        family: family.to_owned(),
        heavy: false,
        share: false,
        unit: None,
        stat: None,
        limit: None,
        critical_limit: None,
        role: Role::of(name),
    }
}

/// A number of -1 to 1 with a bell's shape, of some place and instant.
fn noise(place: u64, instant: i64) -> f64 {
    let mut state = place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (instant as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    let sum: f64 = (0..4)
        .map(|_| {
            // SplitMix64 (Steele, Lea and Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
        })
        .sum();
    sum / 2.0 - 1.0
}

impl World {
    /// Rooms of one service, `each` to a building, with the named metrics, for some days.
    fn new(rooms: usize, each: usize, metrics: &[&'static str], days: i64) -> Self {
        let known = [
            metric("cpu_pct", Scale::Linear, 12.0, "app"),
            metric("loss_pct", Scale::Linear, 1.0, "net"),
            metric("mem_pct", Scale::Linear, 10.0, "app"),
            metric("response_ms", Scale::Log, 1.2_f64.ln(), "app"),
            metric("rtt_ms", Scale::Log, 1.4_f64.ln(), "net"),
        ];
        let room = |room: usize| RoomSettings {
            id: format!("r{room:02}"),
            building: format!("b{}", room / each),
            service: "sfu".to_owned(),
            hardware: "A".to_owned(),
            cores: None,
        };
        Self {
            settings: Settings {
                zone: Tz::UTC,
                load_metric: "users".to_owned(),
                metrics: known.into_iter().filter(|known| metrics.contains(&known.name.as_str())).collect(),
                rooms: (0..rooms).map(room).collect(),
                tuning: Tuning::default(),
                own: false,
                rules: crate::rule::Rules::default(),
            },
            days,
            step: 900,
            lost: 0,
            effects: Vec::new(),
            events: Vec::new(),
            surges: Vec::new(),
            holidays: 0..0,
            heed: 0.3,
            probes: false,
        }
    }

    fn with(mut self, rooms: Range<usize>, metric: &'static str, span: Range<i64>, how: How) -> Self {
        self.effects.push(Effect { rooms, metric, span, how });
        self
    }

    fn then(mut self, at: i64, event: Event) -> Self {
        self.events.push((at, event));
        self
    }

    fn teaches(&self, day: i64) -> bool {
        day % 7 < 5 && !self.holidays.contains(&day)
    }

    fn load_at(&self, since: i64) -> f64 {
        let teaching = self.teaches(since / DAY) && (8..16).contains(&(since % DAY / HOUR));
        // A busier and a quieter week, so that loads differ.
        let usual = if teaching { 900.0 + 100.0 * noise(7, since / (4 * HOUR)) } else { 90.0 };
        let surge: f64 = self.surges.iter().filter(|(span, _)| span.contains(&since)).map(|(_, times)| times).product();
        usual * surge * (1.0 + 0.02 * noise(8, since / 1800))
    }

    fn value(&self, room: usize, metric: &str, since: i64) -> Option<f64> {
        let place = (room * 16 + metric.len() * 4096 + 100) as u64;
        let slow = noise(place, since / (6 * HOUR));
        let quick = noise(place + 1, since);
        let lost = (noise(place + 2, since).abs() * 1e6) as u64 % 100 < self.lost;
        if lost {
            return None;
        }
        let spread = room as f64;
        let mut value = match metric {
            "rtt_ms" => {
                let crowded = 1.0 + self.heed * (self.load_at(since) / 900.0).powi(2);
                (20.0 + spread) * (0.03 * slow + 0.1 * quick).exp() * crowded
            }
            "probe_ok" => 1.0,
            "loss_pct" => 0.1 * quick.abs(),
            "cpu_pct" => 30.0 + spread + slow + 2.0 * quick,
            _ => 50.0 + 0.5 * slow + quick,
        };
        for effect in &self.effects {
            if effect.metric != metric || !effect.rooms.contains(&room) || !effect.span.contains(&since) {
                continue;
            }
            match effect.how {
                How::Times(times) => value *= times,
                How::Is(level) => value = level + slow + 2.0 * quick,
                How::Plus(amount) => value += amount,
                How::Silent => return None,
            }
        }
        Some(value)
    }

    /// The engine after the whole history, and what it said; every text is taken apart on the way.
    fn play(&self) -> (Engine, Vec<Action>) {
        let mut engine = Engine::new(self.settings.clone());
        let actions = self.play_on(&mut engine, 0..self.days * DAY);
        (engine, actions)
    }

    fn play_on(&self, engine: &mut Engine, span: Range<i64>) -> Vec<Action> {
        let mut actions = Vec::new();
        let metrics: Vec<String> = self.settings.metrics.iter().map(|metric| metric.name.clone()).collect();
        let measures: Vec<usize> =
            metrics.iter().map(|metric| engine.measure(metric, "").expect("it is judged")).collect();
        let mut since = span.start;
        while since < span.end {
            let at = (START + since) * 1000;
            engine.advance(at);
            if since % DAY == 0 && self.teaches(since / DAY) {
                let lesson = Span::new(at + 8 * HOUR * 1000, at + 16 * HOUR * 1000).expect("eight hours");
                (0..self.settings.rooms.len()).for_each(|room| engine.lesson(room, lesson));
            }
            for (_, event) in self.events.iter().filter(|(when, _)| (since..since + self.step).contains(when)) {
                self.happen(engine, at, event);
            }
            engine.load(0, self.load_at(since));
            for room in 0..self.settings.rooms.len() {
                if self.probes
                    && let Some(ok) = self.value(room, "probe_ok", since)
                {
                    engine.probe(at, room, ok > 0.5);
                }
                for (metric, measure) in metrics.iter().zip(&measures) {
                    if let Some(value) = self.value(room, metric, since) {
                        engine.sample(at, room, *measure, value);
                    }
                }
            }
            actions.append(&mut engine.take_actions());
            since += self.step;
        }
        engine.advance((START + span.end) * 1000);
        actions.append(&mut engine.take_actions());
        actions.iter().for_each(texts::check);
        actions
    }

    fn happen(&self, engine: &mut Engine, at: i64, event: &Event) {
        match event {
            Event::Upgrade(rooms, component, version) => {
                rooms.clone().for_each(|room| engine.room_upgraded(at, room, component, version));
            }
            Event::ServiceUpgrade(version) => engine.service_upgraded(at, 0, "sfu", version),
            Event::Maintenance(action, booking) => {
                assert!(engine.maintenance(at, action, booking), "{booking} is there to {action}");
            }
        }
    }

    /// What is said of faults and advice, a line each: day and time, what, of what, whose fault.
    fn told(&self) -> Vec<String> {
        told(&self.play().1)
    }
}

fn told(actions: &[Action]) -> Vec<String> {
    let told = actions.iter().filter(|action| action.verb != Verb::Check).map(|action| {
        let since = action.at / 1000 - START;
        let (day, minute) = (since / DAY, since % DAY / 60);
        let verb = serde_json::to_value(action.verb).expect("a word");
        let cause = action.cause.map_or("", |cause| cause.name());
        let reason = action.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!(
            "{day} {:02}:{:02} {} {} {} {} {cause}{reason}",
            minute / 60,
            minute % 60,
            verb.as_str().expect("a word"),
            action.booking,
            action.scope.1,
            action.metrics.join("+"),
        )
    });
    told.collect()
}
