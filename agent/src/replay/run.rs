//! The loop: lines into the engine, in order, and what it says out of it.

use std::{
    collections::HashMap,
    io::{self, BufRead},
    ops::AddAssign,
};

use super::{
    line::{Item, Line, Malformed, parse},
    order::{Ordered, Place},
    output,
};
use crate::judge::engine::{Engine, StateError, case::Action, labels, settings::Settings, timetable::Span};

/// The longest line that is read, in bytes.
pub const LONGEST_LINE: usize = 1 << 20;
/// Length of the blocks of the engine, in seconds.
const HALF_HOUR: i64 = 1800;
/// Name of the metric that tells whether a probe came through.
const PROBE_OK: &str = "probe_ok";
/// Name of the metric that, with a room, counts its people.
const PEOPLE: &str = "users";

/// What was read, for the end of standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines.
    pub lines: u64,
    /// Lines that could not be read and were skipped.
    pub malformed: u64,
    /// Values.
    pub values: u64,
    /// Lines more than 15 minutes out of order, or far ahead of all others.
    pub late: u64,
    /// Values that were there before.
    pub twice: u64,
    /// Values of metrics that the site file does not name.
    pub unknown_metrics: u64,
    /// Values and events of rooms or services that the site file does not name.
    pub unknown_rooms: u64,
    /// Values that were not obtained.
    pub absent: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.malformed += other.malformed;
        self.values += other.values;
        self.late += other.late;
        self.twice += other.twice;
        self.unknown_metrics += other.unknown_metrics;
        self.unknown_rooms += other.unknown_rooms;
        self.absent += other.absent;
    }
}

/// One entry, with all names resolved.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Value { room: u32, measure: u32, value: f64 },
    Block { room: u32, measure: u32, value: f64 },
    Probe { room: u32, ok: bool },
    People { room: u32, count: f64 },
    Load { service: u32, value: f64 },
    Rare(Box<Rare>),
}

/// Entries that are seldom.
#[derive(Clone, Debug, PartialEq)]
enum Rare {
    RoomVersion { room: usize, component: String, to: String },
    ServiceVersion { service: usize, component: String, to: String },
    Lesson { room: usize, lesson: Span },
    Maintenance { action: String, booking: String },
    Unsure { room: usize, measure: usize, value: f64, interval: (f64, f64) },
}

/// What a metric of a line is.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    Measure(u32),
    Load,
    Probe,
    People,
    Unknown,
}

/// A replay of one site.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    rooms: HashMap<String, u32>,
    services: HashMap<String, u32>,
    meanings: HashMap<String, Meaning>,
    load_metric: String,
    ordered: Ordered<Entry>,
    /// What was read so far.
    pub summary: Summary,
}

impl Replay {
    /// A replay from the beginning.
    pub fn new(settings: Settings) -> Self {
        Self::with(Engine::new(settings))
    }

    /// A replay that goes on from stored state.
    pub fn restore(settings: Settings, stored: &[u8]) -> Result<Self, StateError> {
        Ok(Self::with(Engine::restore(settings, stored)?))
    }

    fn with(engine: Engine) -> Self {
        let rooms = engine.settings().rooms.iter().map(|room| room.id.clone()).zip(0..).collect();
        let services = engine.state().services.iter().map(|service| service.id.clone()).zip(0..).collect();
        let newest = engine.state().block.map(|_| engine.state().now);
        Self {
            rooms,
            services,
            meanings: HashMap::new(),
            load_metric: engine.settings().load_metric.clone(),
            ordered: Ordered::after(newest),
            summary: Summary::default(),
            engine,
        }
    }

    /// The engine, for explanations.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The state to be stored.
    pub fn stored(&self) -> Vec<u8> {
        self.engine.stored()
    }

    /// What the engine has said since the last call.
    pub fn take_actions(&mut self) -> Vec<Action> {
        self.engine.take_actions()
    }

    /// A lesson that is known beforehand, whenever it is announced in the history.
    pub fn know_lesson(&mut self, line: &Line<'_>) {
        if let Item::Lesson { start, end } = line.item
            && let (Some(room), Some(lesson)) = (self.room(line), Span::new(start, end))
        {
            self.engine.lesson(room as usize, lesson);
        }
    }

    /// Takes in a line.
    pub fn line(&mut self, line: &Line<'_>) {
        let place = self.ordered.place(line.at);
        if place == Place::Late {
            self.summary.late += 1;
            return;
        }
        match &line.item {
            Item::Values(values) => self.values(line, place, values),
            Item::Unsure { metric, value, interval } => self.unsure(line, place, metric, *value, *interval),
            Item::Block { metric, value, seconds } => self.block(line, place, metric, *value, *seconds),
            Item::Version { to } => self.version(line, place, to),
            Item::Lesson { start, end } => match (self.room(line), Span::new(*start, *end)) {
                (Some(room), Some(lesson)) => {
                    self.rare(line.at, place, Rare::Lesson { room: room as usize, lesson });
                }
                (None, _) => self.summary.unknown_rooms += 1,
                (Some(_), None) => self.summary.absent += 1,
            },
            Item::Maintenance { action, booking } => {
                let (action, booking) = (action.clone().into_owned(), booking.clone().into_owned());
                self.rare(line.at, place, Rare::Maintenance { action, booking });
            }
            Item::Other => {}
        }
        while let Some((at, entry)) = self.ordered.next() {
            self.apply(at, entry);
        }
    }

    /// Ends the input.
    pub fn finish(&mut self) {
        while let Some((at, entry)) = self.ordered.rest() {
            self.apply(at, entry);
        }
        self.summary.late += std::mem::take(&mut self.ordered.leaps);
        self.engine.finish();
    }

    fn room(&self, line: &Line<'_>) -> Option<u32> {
        self.rooms.get(line.label("room")?).copied()
    }

    fn rare(&mut self, at: i64, place: Place, rare: Rare) {
        self.ordered.put(at, place, Entry::Rare(Box::new(rare)));
    }

    fn version(&mut self, line: &Line<'_>, place: Place, to: &str) {
        let component = line.label("component").unwrap_or_default().to_owned();
        let to = to.to_owned();
        let service = line.label("service").and_then(|id| self.services.get(id)).copied();
        let rare = match (self.room(line), service) {
            (Some(room), _) => Rare::RoomVersion { room: room as usize, component, to },
            (None, Some(service)) if line.label("room").is_none() => {
                Rare::ServiceVersion { service: service as usize, component, to }
            }
            _ => {
                self.summary.unknown_rooms += 1;
                return;
            }
        };
        self.rare(line.at, place, rare);
    }

    fn values(&mut self, line: &Line<'_>, place: Place, values: &[(std::borrow::Cow<'_, str>, Option<f64>)]) {
        self.summary.values += values.len() as u64;
        let known = line.label("room").is_none() || self.room(line).is_some();
        let (room, at) = (self.room(line), line.at);
        let service = line.label("service").and_then(|id| self.services.get(id)).copied();
        let others = others(line);
        for (metric, value) in values {
            let Some(value) = value else {
                self.summary.absent += 1;
                continue;
            };
            let value = *value;
            let entry = match (room, service) {
                (None, Some(service)) if known && **metric == *self.load_metric => Entry::Load { service, value },
                (Some(room), _) => match self.meaning(metric, &others) {
                    Meaning::Load => Entry::Load { service: self.engine.service_of(room as usize) as u32, value },
                    Meaning::Measure(measure) => Entry::Value { room, measure, value },
                    Meaning::Probe => Entry::Probe { room, ok: value > 0.5 },
                    Meaning::People => Entry::People { room, count: value },
                    Meaning::Unknown => {
                        self.summary.unknown_metrics += 1;
                        continue;
                    }
                },
                (None, _) if known && service.is_some() => {
                    self.summary.unknown_metrics += 1;
                    continue;
                }
                (None, _) => {
                    self.summary.unknown_rooms += 1;
                    continue;
                }
            };
            self.ordered.put(at, place, entry);
        }
    }

    fn unsure(&mut self, line: &Line<'_>, place: Place, metric: &str, value: f64, interval: (f64, f64)) {
        match (self.room(line), self.meaning(metric, &others(line))) {
            (Some(room), Meaning::Measure(measure)) => {
                self.summary.values += 1;
                let (room, measure) = (room as usize, measure as usize);
                self.rare(line.at, place, Rare::Unsure { room, measure, value, interval });
            }
            // Counted as any other value is.
            _ => self.values(line, place, &[(metric.into(), Some(value))]),
        }
    }

    /// A half-hour whose samples are gone. Other lengths of time, and whether probes came through, tell
    /// nothing that could be judged.
    fn block(&mut self, line: &Line<'_>, place: Place, metric: &str, value: Option<f64>, seconds: i64) {
        self.summary.values += 1;
        let Some(room) = self.room(line) else {
            self.summary.unknown_rooms += 1;
            return;
        };
        let (Some(value), true) = (value, seconds == HALF_HOUR) else {
            self.summary.absent += 1;
            return;
        };
        match self.meaning(metric, &others(line)) {
            Meaning::Measure(measure) => self.ordered.put(line.at, place, Entry::Block { room, measure, value }),
            Meaning::Load => {
                let service = self.engine.service_of(room as usize) as u32;
                self.ordered.put(line.at, place, Entry::Load { service, value });
            }
            Meaning::Probe | Meaning::People => self.summary.absent += 1,
            Meaning::Unknown => self.summary.unknown_metrics += 1,
        }
    }

    fn meaning(&mut self, metric: &str, others: &str) -> Meaning {
        if others.is_empty()
            && let Some(meaning) = self.meanings.get(metric)
        {
            return *meaning;
        }
        let meaning = match self.engine.measure(metric, others) {
            Some(measure) => Meaning::Measure(measure as u32),
            // A box tells the load of its media server as one of its own readings.
            None if self.engine.settings().own && *metric == *self.load_metric => Meaning::Load,
            None if metric == PROBE_OK => Meaning::Probe,
            None if metric == PEOPLE => Meaning::People,
            None => Meaning::Unknown,
        };
        if others.is_empty() && self.meanings.len() < 4096 {
            self.meanings.insert(metric.to_owned(), meaning);
        }
        meaning
    }

    fn value(&mut self, at: i64, room: usize, measure: usize, value: f64, interval: (f64, f64)) {
        if self.engine.sample(at, room, measure, value) {
            self.engine.run(at, room, measure, interval);
        } else {
            self.summary.twice += 1;
        }
    }

    fn apply(&mut self, at: i64, entry: Entry) {
        self.engine.advance(at);
        match entry {
            Entry::Value { room, measure, value } => {
                self.value(at, room as usize, measure as usize, value, (value, value));
            }
            Entry::Block { room, measure, value } => {
                if !self.engine.block(at, room as usize, measure as usize, value) {
                    self.summary.twice += 1;
                }
            }
            Entry::Probe { room, ok } => self.engine.probe(at, room as usize, ok),
            Entry::People { room, count } => self.engine.people(at, room as usize, count),
            Entry::Load { service, value } => self.engine.load(service as usize, value),
            Entry::Rare(rare) => match *rare {
                Rare::Unsure { room, measure, value, interval } => self.value(at, room, measure, value, interval),
                Rare::RoomVersion { room, component, to } => self.engine.room_upgraded(at, room, &component, &to),
                Rare::ServiceVersion { service, component, to } => {
                    self.engine.service_upgraded(at, service, &component, &to);
                }
                Rare::Lesson { room, lesson } => self.engine.lesson(room, lesson),
                Rare::Maintenance { action, booking } => {
                    if !self.engine.maintenance(at, &action, &booking) {
                        self.summary.unknown_rooms += 1;
                    }
                }
            },
        }
    }
}

/// Labels beyond those that name the room, sorted: they tell series of one metric apart.
fn others(line: &Line<'_>) -> String {
    const PLACES: [&str; 4] = ["room", "service", "building", "hardware"];
    let other = |name: &str| !PLACES.contains(&name);
    if !line.labels.iter().any(|(name, _)| other(name)) {
        return String::new();
    }
    labels::text(line.labels.iter().filter(|(name, _)| other(name)).map(|(name, value)| (&**name, &**value)))
}

/// How a run ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The input cannot be read.
    #[error("the input cannot be read")]
    Input(#[source] io::Error),
    /// A line cannot be read.
    #[error("line {0}: {1}")]
    Malformed(u64, Malformed),
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
}

/// Reads all lines between two instants, in milliseconds, into `replay` and hands on what the engine
/// says. With `skip_bad`, lines that cannot be read are counted.
pub fn read(
    reader: &mut impl BufRead,
    replay: &mut Replay,
    (from, to): (Option<i64>, Option<i64>),
    skip_bad: bool,
    mut say: impl FnMut(&Engine, Action) -> io::Result<()>,
) -> Result<(), ReadError> {
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        let length = read_line(reader, &mut bytes).map_err(ReadError::Input)?;
        if length == 0 {
            return Ok(());
        }
        number += 1;
        replay.summary.lines += 1;
        if bytes.iter().all(u8::is_ascii_whitespace) && length <= LONGEST_LINE {
            continue;
        }
        let parsed = if length > LONGEST_LINE { Err(Malformed::Long(LONGEST_LINE)) } else { parse(&bytes) };
        match parsed {
            Ok(line) if from.is_some_and(|from| line.at < from) || to.is_some_and(|to| line.at >= to) => {}
            Ok(line) => {
                replay.line(&line);
                for action in replay.engine.take_actions() {
                    say(&replay.engine, action).map_err(ReadError::Output)?;
                }
            }
            Err(_) if skip_bad => replay.summary.malformed += 1,
            Err(malformed) => return Err(ReadError::Malformed(number, malformed)),
        }
    }
}

/// Reads a line of bounded length into `bytes`; of a longer one, the rest is skipped. The length of it.
///
/// # Errors
/// The input cannot be read.
pub fn read_line(reader: &mut (impl BufRead + ?Sized), bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(length);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        if bytes.len() + part.len() <= LONGEST_LINE {
            bytes.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        length += used;
        if end.is_some() {
            return Ok(length);
        }
    }
}

/// Writes what the engine says, with an explanation of each new booking if wanted.
pub fn printer(out: &mut impl io::Write, explain: bool) -> impl FnMut(&Engine, Action) -> io::Result<()> + '_ {
    move |engine, action| {
        output::write(out, &action)?;
        if explain { output::explain(out, engine, &action) } else { Ok(()) }
    }
}

/// Reads a history for the lessons that it announces only after they began, as one does that was
/// recorded late: a timetable is known beforehand.
pub fn late_lessons(mut reader: impl BufRead, replays: &mut [&mut Replay]) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if read_line(&mut reader, &mut bytes)? == 0 {
            return Ok(());
        }
        if !bytes.windows(8).take(80).any(|part| part == b"\"lesson\"") {
            continue;
        }
        if let Ok(line) = parse(&bytes)
            && let Item::Lesson { start, .. } = line.item
            && start < line.at
        {
            replays.iter_mut().for_each(|replay| replay.know_lesson(&line));
        }
    }
}
