//! What the engine remembers. Plain data: it can be stored after any block and read again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    case::Case,
    load::Load,
    ring::Bytes,
    rollout::Rollout,
    series::{Series, Shared},
    sizing::{BoxSize, ServiceSize, Term},
    timetable::{Lessons, Timetable},
};

/// Version of the stored form. Another version is not read.
pub const FORMAT: u32 = 2;

/// What is measured: a metric, and labels beyond the room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Measure {
    /// Name of the metric.
    pub metric: String,
    /// The other labels, as `name=value` joined by commas; mostly empty.
    pub labels: String,
    /// Place of its settings; found again when stored state is read.
    #[serde(skip)]
    pub settings: usize,
}

/// One room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Its name.
    pub id: String,
    /// Its series, by measure.
    pub series: Vec<Option<Box<Series>>>,
    /// Sum and number of the counts of people in the open block.
    pub people_open: (f64, u32),
    /// Bin of people in each of the last blocks.
    pub people: Bytes,
    /// Lessons in it.
    pub lessons: Lessons,
    /// Time of the last sample of any metric, in milliseconds.
    pub heard: Option<i64>,
    /// Probes failed in a row, and when the first of them did.
    pub failed: (u16, i64),
    /// The last block of warm-up after an upgrade.
    pub warm_until: Option<i64>,
    /// Nothing is judged before this instant: somebody works in the room, or did until an hour ago.
    pub muted_until: Option<i64>,
    /// Whether it was found dead.
    pub dead: bool,
    /// Whether it was found down.
    pub down: bool,
    /// Versions that were changed in it: component, version, when in milliseconds. The newest last.
    pub changes: Vec<(String, String, i64)>,
    /// How large its box is, and need be.
    pub size: BoxSize,
}

/// One media server and the rooms that use it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub id: String,
    /// Its load.
    pub load: Load,
    /// Evidence, by measure.
    pub shared: Vec<Shared>,
    /// Whether it was found out of order.
    pub out: bool,
    /// Versions that were changed on it, as of a room.
    pub changes: Vec<(String, String, i64)>,
    /// How large it need be.
    pub size: ServiceSize,
}

/// One building.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Building {
    /// Its name.
    pub id: String,
    /// Name of the service of its rooms.
    pub service: String,
    /// Evidence, by measure.
    pub shared: Vec<Shared>,
    /// Whether it was found out of order.
    pub out: bool,
}

/// Whose level an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// A media server, by place.
    Service(usize),
    /// A building, by place.
    Building(usize),
    /// A room, by place.
    Room(usize),
}

/// By what an alarm was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Evidence by half-hours.
    Fast,
    /// Evidence by days.
    Slow,
    /// The plain limit, in 9 of 12 half-hours.
    Limit,
    /// Probes fail, at once.
    Critical,
    /// Evidence for too small a service.
    Capacity,
    /// The comparison over a rollout.
    Version,
    /// The plain limit, in so many of the last runs.
    Runs,
}

impl Path {
    /// The word used in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Limit => "limit",
            Self::Critical => "critical",
            Self::Capacity => "capacity",
            Self::Version => "version",
            Self::Runs => "runs",
        }
    }
}

/// One alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alarm {
    /// Whose.
    pub whose: Whose,
    /// Place of the measure; `None` for probes that fail and for capacity.
    pub measure: Option<usize>,
    /// By what.
    pub path: Path,
}

/// An alarm that waits for something before it becomes a booking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The alarm.
    pub alarm: Alarm,
    /// Its onset, as a block.
    pub onset: i64,
    /// The block at which it is looked at again.
    pub until: i64,
    /// What it waits for.
    pub what: What,
}

/// What an alarm waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Enough time after an upgrade to judge it.
    Upgrade,
    /// The end of what the whole building or service has.
    Group,
    /// Whether many rooms have it.
    Fuse,
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// See [`FORMAT`].
    pub format: u32,
    /// The open block; `None` before the first input.
    pub block: Option<i64>,
    /// The first block.
    pub first: i64,
    /// Newest time seen, in milliseconds.
    pub now: i64,
    /// The next beat of the critical path, in milliseconds.
    pub beat: i64,
    /// Nights since the last fit.
    pub nights: i64,
    /// What is measured.
    pub measures: Vec<Measure>,
    /// The rooms, as in the settings.
    pub rooms: Vec<Room>,
    /// The services, as in the site.
    pub services: Vec<Service>,
    /// The buildings, as in the site.
    pub buildings: Vec<Building>,
    /// Hour class of each of the last blocks.
    pub hours: Bytes,
    /// Days and half-hours with lessons.
    pub timetable: Timetable,
    /// The term that is taught.
    pub term: Term,
    /// Upgrades that are looked at.
    pub rollouts: Vec<Rollout>,
    /// Bookings that are open or may open again.
    pub cases: Vec<Case>,
    /// Alarms that wait.
    pub waiting: Vec<Waiting>,
    /// Blocks at which room bookings were opened in the last week.
    pub opened: Vec<i64>,
    /// Number of the next booking.
    pub next: u64,
    /// Alarms on series whose metrics were muted or unknown, for the summary.
    pub dropped: BTreeMap<String, u64>,
    /// Alarms that are on.
    pub alarms: BTreeSet<Alarm>,
    /// Where series stand to their limits by runs, by room and measure, if the engine counts that itself.
    pub limits: Vec<BTreeMap<usize, crate::judge::Series>>,
}
