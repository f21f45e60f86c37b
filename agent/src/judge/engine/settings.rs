//! What the engine is told: metrics, rooms and how careful to be. Nothing here is specific to one
//! metric: which way is worse, on what scale, and what is material, is data.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use crate::rule::Rules;

/// Scale on which changes of a metric are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// By factors: twice as long is as bad for a fast room as for a slow one.
    Log,
    /// By amounts.
    Linear,
}

/// Which way a metric gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Larger is worse.
    Up,
    /// Smaller is worse.
    Down,
    /// Farther from zero is worse; the scale is linear.
    AwayFromZero,
}

/// How one metric is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSettings {
    /// Its name in the input.
    pub name: String,
    /// Which way is worse.
    pub worse: Worse,
    /// On what scale.
    pub scale: Scale,
    /// What a person would notice, in transformed units: the logarithm of a factor, or an amount.
    pub material: f64,
    /// Values under this count as this, on a log scale; in the metric's unit.
    pub floor: f64,
    /// Metrics of one family describe one thing: they share a booking.
    pub family: String,
    /// Taken seldom and only when the room is free: judged by the last three readings.
    pub heavy: bool,
    /// A share that is mostly zero, of which a block takes the mean without the largest sample: loss.
    pub share: bool,
    /// The unit of a metric of bellwether's own.
    pub unit: Option<bellwether_probes::Unit>,
    /// Of a metric with several statistics, the one that is judged.
    pub stat: Option<&'static str>,
    /// Beyond it in 9 of 12 half-hours there is a booking, with or without a baseline.
    pub limit: Option<f64>,
    /// Beyond it in 3 samples and 10 minutes, at or before a lesson, the room is down.
    pub critical_limit: Option<f64>,
    /// Which part of a box it tells the use of, if any: that is what advice on the size of a box rests on.
    pub role: Option<Role>,
}

/// A part of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its processors.
    Processor,
    /// Its memory.
    Memory,
}

/// What a metric tells of the use of a box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Role {
    /// Of which part.
    pub part: Part,
    /// The value at full use, in the metric's unit: 100 of a percentage, 1 of a ratio.
    pub full: f64,
}

impl Role {
    /// What well-known names stand for: bellwether's own, and the usual percentages.
    pub fn of(metric: &str) -> Option<Self> {
        match metric {
            "cpu_utilization" => Some(Self { part: Part::Processor, full: 1.0 }),
            "memory_utilization" => Some(Self { part: Part::Memory, full: 1.0 }),
            "cpu_pct" => Some(Self { part: Part::Processor, full: 100.0 }),
            "mem_pct" => Some(Self { part: Part::Memory, full: 100.0 }),
            _ => None,
        }
    }
}

impl MetricSettings {
    /// Settings of a metric that stored state knows and nobody judges any more: nothing is ever material.
    pub fn judged_no_longer(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            worse: Worse::Up,
            scale: Scale::Linear,
            material: 1e30,
            floor: 1.0,
            family: name.to_owned(),
            heavy: false,
            share: false,
            unit: None,
            stat: None,
            limit: None,
            critical_limit: None,
            role: None,
        }
    }

    /// The value in transformed units, in which larger is worse. `None` if there is none.
    pub fn transformed(&self, value: f64) -> Option<f32> {
        if !value.is_finite() {
            return None;
        }
        let value = match self.scale {
            Scale::Log => value.max(self.floor).ln(),
            Scale::Linear => value,
        };
        let worse = match self.worse {
            Worse::Up => value,
            Worse::Down => -value,
            Worse::AwayFromZero => value.abs(),
        };
        // Absurd values are kept within what single precision holds.
        Some(worse.clamp(-1e30, 1e30) as f32)
    }

    /// The value in the metric's own unit of one in transformed units.
    pub fn shown(&self, transformed: f64) -> f64 {
        let value = if self.worse == Worse::Down { -transformed } else { transformed };
        match self.scale {
            Scale::Log => value.exp(),
            Scale::Linear => value,
        }
    }

    /// Whether the value, in the metric's own unit, is on the worse side of a limit.
    pub fn beyond(&self, value: f64, limit: f64) -> bool {
        match self.worse {
            Worse::Up => value > limit,
            Worse::Down => value < limit,
            Worse::AwayFromZero => value.abs() > limit.abs(),
        }
    }
}

/// One room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomSettings {
    /// Its name in the input.
    pub id: String,
    /// The building it is in; empty if unknown.
    pub building: String,
    /// The media server it uses; empty if unknown.
    pub service: String,
    /// Its hardware revision; empty if unknown.
    pub hardware: String,
    /// Cores of its processor, if known.
    pub cores: Option<u32>,
}

/// How much evidence is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Size in noise units at which noise stops holding evidence back: 2.5, or 3.0 with high caution.
    pub gate: f64,
    /// How long a recovered fault that comes back is the same fault, in blocks.
    pub follow_up: i64,
    /// Days in which a series is only learned.
    pub learning_days: i64,
    /// Nights between two fits of the healthy model.
    pub refit_every: i64,
    /// Load that was first seen less than so many days ago counts as unseen.
    pub load_is_seen_after: i64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { gate: 2.5, follow_up: 14 * 48, learning_days: 14, refit_every: 1, load_is_seen_after: 4 }
    }
}

/// All that the engine is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The site's zone: hours of the day and days are those of its clocks.
    pub zone: Tz,
    /// Name of the metric that, with a service label, is the load.
    pub load_metric: String,
    /// The metrics, sorted by name.
    pub metrics: Vec<MetricSettings>,
    /// The rooms, as listed.
    pub rooms: Vec<RoomSettings>,
    /// How much evidence is wanted.
    pub tuning: Tuning,
    /// Whether a box judges the room that it stands in: it does not look for its own silence, and what its
    /// probes came through is told by metrics of their own.
    pub own: bool,
    /// Limits of bellwether's own metrics, by runs.
    pub rules: Rules,
}

/// Rooms that share something, by their places in [`Settings::rooms`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name of what they share.
    pub id: String,
    /// For a building: place of its service in [`Site::services`].
    pub service: usize,
    /// The rooms.
    pub rooms: Vec<usize>,
}

/// Which rooms belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Rooms of one media server, sorted by name.
    pub services: Vec<Group>,
    /// Rooms of one building at one media server, sorted by name.
    pub buildings: Vec<Group>,
    /// Place of each room's service.
    pub service_of: Vec<usize>,
    /// Place of each room's building.
    pub building_of: Vec<usize>,
}

impl Site {
    /// Groups the rooms.
    pub fn of(rooms: &[RoomSettings]) -> Self {
        let mut services: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut buildings: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (at, room) in rooms.iter().enumerate() {
            services.entry(&room.service).or_default().push(at);
            buildings.entry((&room.service, &room.building)).or_default().push(at);
        }
        let (mut service_of, mut building_of) = (vec![0; rooms.len()], vec![0; rooms.len()]);
        let place: BTreeMap<&str, usize> = services.keys().copied().zip(0..).collect();
        let group = |id: &str, service: usize, rooms: Vec<usize>| Group { id: id.to_owned(), service, rooms };
        let services: Vec<Group> =
            services.into_iter().zip(0..).map(|((id, rooms), at)| group(id, at, rooms)).collect();
        let buildings: Vec<Group> =
            buildings.into_iter().map(|((service, id), rooms)| group(id, place[service], rooms)).collect();
        for (at, service) in services.iter().enumerate() {
            service.rooms.iter().for_each(|room| service_of[*room] = at);
        }
        for (at, building) in buildings.iter().enumerate() {
            building.rooms.iter().for_each(|room| building_of[*room] = at);
        }
        Self { services, buildings, service_of, building_of }
    }
}
