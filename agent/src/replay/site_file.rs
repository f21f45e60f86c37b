//! The site file of a replay: metrics, rooms and the engine's settings, in the words of the daemon's
//! own config, of which it reads what it needs.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_probes::{Metric, Mistake};
use chrono_tz::Tz;
use serde::Deserialize;

use crate::{
    judge::engine::{
        own,
        settings::{MetricSettings, Part, Role, RoomSettings, Scale, Settings, Tuning, Worse},
    },
    rule::Rules,
};

/// What the file says, table by table. Keys that are not for a replay are not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SiteFile {
    /// `[site]`.
    pub site: SiteShape,
    /// `[metrics.NAME]` of metrics that are none of bellwether's own.
    pub metrics: BTreeMap<String, MetricShape>,
    /// `[engine]`.
    pub engine: EngineShape,
    /// `[[rooms]]`, or `[room]`.
    pub rooms: Vec<RoomShape>,
    /// Whether it is the config of a box, of its own room.
    #[serde(skip)]
    pub own: bool,
}

/// `[site]`, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SiteShape {
    timezone: Option<String>,
    load_metric: Option<String>,
}

/// How one metric is judged, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MetricShape {
    worse: Option<String>,
    scale: Option<String>,
    material: Option<f64>,
    family: Option<String>,
    heavy: bool,
    /// Values under this count as this, on a log scale.
    floor: Option<f64>,
    /// `median`, or `trimmed_mean` for a share that is mostly zero.
    block: Option<String>,
    limit: Option<LimitShape>,
    critical_limit: Option<LimitShape>,
    /// `cpu` or `memory`: what advice on the size of a box rests on.
    role: Option<String>,
    /// The value at full use of that part; 100 if the name ends in `_pct` or `_percent`, else 1.
    full: Option<f64>,
}

/// A limit, in the metric's own unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum LimitShape {
    /// The value.
    Value(f64),
    /// The value as `enter`; the engine has counts and a way back of its own.
    Table {
        /// Beyond it a value is bad.
        enter: f64,
    },
    /// Anything else is not for a replay.
    Other(serde::de::IgnoredAny),
}

impl LimitShape {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) | Self::Table { enter: value } => Some(*value),
            Self::Other(_) => None,
        }
    }
}

/// `[engine]`, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineShape {
    caution: Option<String>,
    follow_up_days: Option<i64>,
    learning_days: Option<i64>,
}

/// One of `[[rooms]]`, or `[room]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RoomShape {
    /// Its name in the history.
    pub id: String,
    building: String,
    service: String,
    hardware: String,
    cores: Option<u32>,
}

/// The least value on a log scale, unless the file says otherwise.
const FLOOR: f64 = 0.01;
/// The gate with high caution, in units of noise.
const CAREFUL: f64 = 3.0;
/// The most rooms of one file.
const MOST_ROOMS: usize = 10_000;

impl EngineShape {
    /// How much evidence is wanted. All mistakes at once, below `engine`.
    pub fn tuning(&self) -> (Tuning, Vec<Mistake>) {
        let (mut tuning, mut mistakes) = (Tuning::default(), Vec::new());
        match self.caution.as_deref() {
            None | Some("normal") => {}
            Some("high") => tuning.gate = CAREFUL,
            Some(other) => {
                mistakes.push(Mistake::new("caution", format!("found {other:?}, expected \"normal\" or \"high\"")));
            }
        }
        let mut days = |key: &str, days: Option<i64>, from: i64, to: i64, set: &mut dyn FnMut(i64)| match days {
            Some(days) if (from..=to).contains(&days) => set(days),
            Some(days) => mistakes.push(Mistake::new(key, format!("found {days}, expected {from} to {to}"))),
            None => {}
        };
        days("follow_up_days", self.follow_up_days, 1, 90, &mut |days| tuning.follow_up = days * 48);
        days("learning_days", self.learning_days, 7, 28, &mut |days| tuning.learning_days = days);
        (tuning, mistakes)
    }
}

impl SiteFile {
    /// Checks the file; `rules` are those of bellwether's own metrics, which need not be described. All
    /// mistakes at once.
    pub fn settings(&self, rules: Rules) -> Result<Settings, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let name = self.site.timezone.as_deref().unwrap_or("UTC");
        let zone: Tz = name.parse().unwrap_or_else(|_| {
            let message = format!("found {name:?}, expected a name such as \"Asia/Shanghai\"");
            mistakes.push(Mistake::new("site.timezone", message));
            Tz::UTC
        });
        let mut metrics = own::metrics(&rules);
        metrics.extend(self.metrics.iter().map(|(name, shape)| shape.check(name, &mut mistakes)));
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        let mut rooms: Vec<RoomSettings> = Vec::new();
        let mut names = BTreeSet::new();
        for (at, RoomShape { id, building, service, hardware, cores }) in self.rooms.iter().enumerate() {
            if id.is_empty() {
                mistakes.push(Mistake::new(format!("rooms[{at}].id"), "found none, expected the room's name"));
            } else if !names.insert(id) {
                mistakes.push(Mistake::new(
                    format!("rooms[{at}].id"),
                    format!("found {id:?} a second time, expected once"),
                ));
            }
            let (id, building, cores) = (id.clone(), building.clone(), cores.filter(|cores| *cores > 0));
            rooms.push(RoomSettings { id, building, service: service.clone(), hardware: hardware.clone(), cores });
        }
        if rooms.len() > MOST_ROOMS {
            mistakes.push(Mistake::new("rooms", format!("found {}, expected at most {MOST_ROOMS}", rooms.len())));
        }
        let (tuning, found) = self.engine.tuning();
        mistakes.extend(found.into_iter().map(|mistake| mistake.below("engine")));
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let load_metric = self.site.load_metric.clone().unwrap_or_else(|| Metric::ServiceUsers.name().to_owned());
        Ok(Settings { zone, load_metric, metrics, rooms, tuning, own: self.own, rules })
    }
}

impl MetricShape {
    fn check(&self, name: &str, mistakes: &mut Vec<Mistake>) -> MetricSettings {
        let mut wrong = |key: &str, found: Option<&str>, expected: &str| {
            let found = found.map_or_else(|| "none".to_owned(), |found| format!("{found:?}"));
            mistakes.push(Mistake::new(format!("metrics.{name}.{key}"), format!("found {found}, expected {expected}")));
        };
        let worse = match self.worse.as_deref() {
            Some("up") => Worse::Up,
            Some("down") => Worse::Down,
            Some("away_from_zero") => Worse::AwayFromZero,
            other => {
                wrong(
                    "worse",
                    other,
                    "\"up\", \"down\" or \"away_from_zero\" of a metric that is none of bellwether's own",
                );
                Worse::Up
            }
        };
        let scale = match self.scale.as_deref() {
            Some("log") if worse == Worse::AwayFromZero => {
                wrong("scale", Some("log"), "\"linear\" for what is worse away from zero");
                Scale::Linear
            }
            Some("log") => Scale::Log,
            Some("linear") => Scale::Linear,
            other => {
                wrong("scale", other, "\"log\" or \"linear\"");
                Scale::Linear
            }
        };
        let material = match (scale, self.material) {
            (Scale::Log, Some(factor)) if factor > 1.0 && factor.is_finite() => factor.ln(),
            (Scale::Linear, Some(amount)) if amount > 0.0 && amount.is_finite() => amount,
            (Scale::Log, other) => {
                wrong("material", other.map(|other| other.to_string()).as_deref(), "a factor above 1 on a log scale");
                1.0
            }
            (Scale::Linear, other) => {
                wrong("material", other.map(|other| other.to_string()).as_deref(), "an amount above 0");
                1.0
            }
        };
        let floor = self.floor.unwrap_or(FLOOR);
        if !(floor > 0.0 && floor.is_finite()) {
            wrong("floor", Some(&floor.to_string()), "a number above 0");
        }
        let family = self.family.clone().unwrap_or_else(|| name.to_owned());
        let share = match self.block.as_deref() {
            None => scale == Scale::Linear && family == "net" && name.contains("loss"),
            Some("median") => false,
            Some("trimmed_mean") => true,
            Some(other) => {
                wrong("block", Some(other), "\"median\" or \"trimmed_mean\"");
                false
            }
        };
        let limit = self.limit.as_ref().and_then(LimitShape::value);
        let critical_limit = self.critical_limit.as_ref().and_then(LimitShape::value);
        let full = if name.ends_with("_pct") || name.ends_with("_percent") { 100.0 } else { 1.0 };
        let full = self.full.unwrap_or(full);
        if !(full > 0.0 && full.is_finite()) {
            wrong("full", Some(&full.to_string()), "a number above 0");
        }
        let role = match self.role.as_deref() {
            None => Role::of(name),
            Some("cpu") => Some(Role { part: Part::Processor, full }),
            Some("memory") => Some(Role { part: Part::Memory, full }),
            Some(other) => {
                wrong("role", Some(other), "\"cpu\" or \"memory\"");
                None
            }
        };
        let (name, heavy, unit, stat) = (name.to_owned(), self.heavy, None, None);
        MetricSettings {
            name,
            worse,
            scale,
            material,
            floor,
            family,
            heavy,
            share,
            unit,
            stat,
            limit,
            critical_limit,
            role,
        }
    }
}
