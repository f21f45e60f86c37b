//! Right-sizing: whether a box is too small for what is asked of it, or larger than it need be, and
//! whether a media server is. Advice for the next visit, never a fault.
//!
//! Looked at once a night, on the teaching time of the last teaching days. A box is too small when in
//! seven of the last ten its use was high in a twentieth of the half-hours; larger than needed when over
//! forty its use was low but for a hundredth of them, a busy day being among them. A service is larger
//! than needed when its highest load costs nothing that a usual one does not. Not soon after a term began,
//! a version changed or the size did, nor while a version or a program that runs away is booked.

use serde::{Deserialize, Serialize};

use super::{
    Engine,
    case::{Case, Cause, Scope, Severity, Standing, Verb},
    local::{DAY_BLOCKS, Local, start_of},
    rollout::Rollout,
    settings::{Part, Scale},
    state::Path,
    statistics::{median, quantile},
};

/// Teaching days that advice for a larger box looks at, and how many of them have to tell for it.
pub(super) const UP: (u32, usize) = (10, 7);
/// So few of them end that advice.
const UP_ENDS: usize = 3;
/// Teaching days that advice for a smaller size looks at.
pub(super) const DOWN: u32 = 40;
/// How many of them have to be measured.
const DOWN_MEASURED: usize = 32;
/// Share of half-hours that may lie above what a smaller box is advised at: P99.
const DOWN_SHARE: f64 = 0.01;
/// Share of half-hours of the last ten days that ends that advice.
const DOWN_ENDS: f64 = 0.05;
/// Shares of processor and memory in use from which on a box is too small.
pub(super) const HIGH: (f64, f64) = (0.80, 0.85);
/// Shares in use up to which it is larger than it need be.
pub(super) const LOW: (f64, f64) = (0.25, 0.40);
/// Teaching days after the begin of a term, a new version or another size without any advice.
const CALM: u32 = 10;
/// Teaching days after another size until the opposite is advised.
const OPPOSITE: u32 = 40;
/// Days without lessons after which a term begins; a week's holiday has nine.
const TERM_GAP: i32 = 14;
/// Busy levels of one term that are remembered, in teaching days.
const MOST_BUSY: usize = 160;
/// Half-hours with lessons that a day needs.
const LEAST_BLOCKS: usize = 8;
/// What the highest load may cost more than a usual one, in units of what is material.
pub(super) const COSTS: f64 = 0.1;
/// Bins of load between a usual and the highest one, so that there is something to compare.
const LEAST_BINS: u8 = 2;
/// Component of a version change that is the number of cores of a box.
const CORES: &str = "cores";
/// Name and family of advice.
const LOAD: &str = "load";

/// Which size is advised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A larger one.
    Up,
    /// A smaller one.
    Down,
}

/// The term that is taught, as far as the lessons tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Its first day with lessons.
    first: i32,
    /// The last day with lessons.
    last: Option<i32>,
    /// Days with lessons so far, in all terms.
    pub(super) taught: u32,
    /// Until when changes were looked at, in milliseconds.
    looked_until: i64,
}

/// What has to have settled before a size is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Calm {
    /// Teaching days since the begin of the term, a new version or another size.
    days: u32,
    /// Where the size went last, if that is known, and the teaching days since.
    resized: Option<(Option<Direction>, u32)>,
    /// First day of the term in which there was advice.
    advised: Option<i32>,
}

impl Calm {
    fn pass_day(&mut self) {
        self.days = self.days.saturating_add(1);
        if let Some((_, days)) = &mut self.resized {
            *days = days.saturating_add(1);
        }
    }

    fn allows(&self, direction: Direction, term: i32) -> bool {
        let opposite = |(went, days): (Option<Direction>, u32)| went != Some(direction) && days < OPPOSITE;
        self.days >= CALM && self.advised != Some(term) && !self.resized.is_some_and(opposite)
    }
}

/// Use of one part of a box in the teaching time of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Use {
    /// Share that 95 of 100 half-hours stayed under.
    pub p95: f32,
    /// Share that 99 of 100 half-hours stayed under.
    pub p99: f32,
    /// Half-hours above what a smaller box is advised at.
    pub above: u8,
    /// Half-hours.
    pub of: u8,
}

/// One teaching day of a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Day {
    /// Its number among the days with lessons.
    taught: u32,
    /// Its last block.
    pub block: i64,
    /// Use of the processor.
    pub cpu: Option<Use>,
    /// Use of the memory.
    pub mem: Option<Use>,
    /// What nine of ten loads of the service stayed under.
    pub busy: Option<f32>,
}

impl Day {
    /// Whether the processor was, and whether the memory was, in use to the full.
    pub(super) fn high(&self) -> (bool, bool) {
        let over = |used: Option<Use>, share: f64| used.is_some_and(|used| f64::from(used.p95) >= share);
        (over(self.cpu, HIGH.0), over(self.mem, HIGH.1))
    }
}

/// How large a box is, and need be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BoxSize {
    calm: Calm,
    /// Cores by the site file, as last seen.
    configured: Option<u32>,
    /// Cores of its processor, if known.
    pub(super) cores: Option<u32>,
    /// Number of the first teaching day at this size.
    first: Option<u32>,
    /// The last teaching days, oldest first.
    days: Vec<Day>,
}

impl BoxSize {
    /// Whether loaded state has the sizes that this code counts on.
    pub(super) fn is_sound(&self) -> bool {
        self.days.len() <= DOWN as usize
    }

    /// The days that are among the last `last` of `taught`.
    pub(super) fn recent(&self, taught: u32, last: u32) -> impl Iterator<Item = &Day> {
        self.days.iter().filter(move |day| day.taught <= taught && taught - day.taught < last)
    }

    /// Half-hours above what a smaller box is advised at, and all: of processor and memory. `None` on too
    /// few days, or if one of both was not measured.
    pub(super) fn above(&self, taught: u32, last: u32, least: usize) -> Option<[(u32, u32); 2]> {
        let mut sums = [(0, 0); 2];
        let mut measured = 0;
        for day in self.recent(taught, last) {
            let (Some(cpu), Some(mem)) = (day.cpu, day.mem) else { continue };
            measured += 1;
            for (sum, used) in sums.iter_mut().zip([cpu, mem]) {
                *sum = (sum.0 + u32::from(used.above), sum.1 + u32::from(used.of));
            }
        }
        (measured >= least).then_some(sums)
    }

    /// Whether it was there long enough for the advice of a smaller one.
    fn is_long_known(&self, taught: u32) -> bool {
        self.first.is_some_and(|first| taught.saturating_sub(first) >= DOWN - 1)
    }

    fn has_another_size(&mut self, went: Option<Direction>) {
        self.days.clear();
        self.first = None;
        self.calm = Calm { days: 0, resized: Some((went, 0)), ..self.calm };
    }

    fn has_cores(&mut self, cores: u32) {
        if let Some(before) = self.cores.replace(cores).filter(|before| *before != cores) {
            self.has_another_size(Some(if cores > before { Direction::Up } else { Direction::Down }));
        }
    }
}

/// One teaching day of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ServiceDay {
    taught: u32,
    block: i64,
    /// Bins of the usual and of the highest load in teaching time.
    usual: u8,
    highest: u8,
    busy: f32,
}

/// How large a service need be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceSize {
    calm: Calm,
    /// Number of the first teaching day at this size.
    first: Option<u32>,
    days: Vec<ServiceDay>,
    /// What nine of ten loads stayed under, on each teaching day of the term.
    busy: Vec<f32>,
}

impl ServiceSize {
    /// Whether loaded state has the sizes that this code counts on.
    pub(super) fn is_sound(&self) -> bool {
        self.days.len() <= DOWN as usize && self.busy.len() <= MOST_BUSY
    }

    /// What nine of ten busy levels of the term stayed under.
    pub(super) fn busy_day(&self) -> Option<f64> {
        quantile(&mut self.busy.clone(), 0.9)
    }

    /// The highest busy level of the days that are looked at.
    pub(super) fn busiest(&self) -> Option<f64> {
        self.days.iter().map(|day| f64::from(day.busy)).reduce(f64::max)
    }

    /// Usual and highest bin of load over the last forty teaching days.
    pub(super) fn bins(&self, taught: u32) -> Option<(u8, u8)> {
        let days = || self.days.iter().filter(|day| day.taught <= taught && taught - day.taught < DOWN);
        let long = self.first.is_some_and(|first| taught.saturating_sub(first) >= DOWN - 1);
        if !long || days().count() < DOWN_MEASURED {
            return None;
        }
        let usual = median(&mut days().map(|day| f32::from(day.usual)).collect::<Vec<f32>>())?;
        Some((usual as u8, days().map(|day| day.highest).max()?))
    }
}

impl Engine {
    /// Looks at all sizes at the end of a day.
    pub(super) fn judge_sizes(&mut self, block: i64, local: Local) {
        let blocks: Vec<i64> = (block - DAY_BLOCKS - 2..=block)
            .filter(|block| {
                let other = Local::of(*block, self.settings.zone);
                other.day == local.day && self.state.timetable.in_lesson(other)
            })
            .collect();
        let taught = blocks.len() >= LEAST_BLOCKS;
        if taught {
            self.begin_day(block, local.day);
        }
        self.find_changes(block);
        if !taught {
            return;
        }
        for service in 0..self.state.services.len() {
            self.add_service_day(service, block, &blocks);
        }
        for room in 0..self.state.rooms.len() {
            self.add_day(room, block, &blocks);
        }
        self.end_advice(block);
        for room in 0..self.state.rooms.len() {
            self.judge_box(room, block);
        }
        for service in 0..self.state.services.len() {
            self.judge_service(service, block);
        }
    }

    /// Versions and cores that have changed since the last night.
    fn find_changes(&mut self, block: i64) {
        let since = std::mem::replace(&mut self.state.term.looked_until, start_of(block + 1));
        let mut told: Vec<(usize, u32)> = Vec::new();
        for (room, (state, settings)) in self.state.rooms.iter_mut().zip(&self.settings.rooms).enumerate() {
            if settings.cores != state.size.configured {
                state.size.configured = settings.cores;
                told.extend(settings.cores.map(|cores| (room, cores)));
            }
            for (component, version, _) in state.changes.iter().filter(|(_, _, at)| *at >= since) {
                state.size.calm.days = 0;
                let cores = version.parse().ok().filter(|cores| component == CORES && *cores > 0);
                told.extend(cores.map(|cores| (room, cores)));
            }
        }
        for service in &mut self.state.services {
            if service.changes.iter().any(|(_, _, at)| *at >= since) {
                service.size.calm.days = 0;
            }
        }
        for (room, cores) in told {
            if self.state.rooms[room].size.cores.is_some_and(|before| before != cores) {
                self.close_advice(block, "the size was changed", |case| case.scope == Scope::Room(room));
            }
            self.state.rooms[room].size.has_cores(cores);
        }
    }

    /// A day with lessons: of the same term, or the first of another.
    fn begin_day(&mut self, block: i64, day: i32) {
        let new = self.state.term.last.is_none_or(|last| day.saturating_sub(last) > TERM_GAP);
        let term = &mut self.state.term;
        term.last = Some(day);
        term.taught = term.taught.saturating_add(1);
        if new {
            term.first = day;
        }
        let rooms = self.state.rooms.iter_mut().map(|room| &mut room.size.calm);
        for calm in rooms.chain(self.state.services.iter_mut().map(|service| &mut service.size.calm)) {
            calm.pass_day();
            if new {
                calm.days = 0;
            }
        }
        if new {
            self.state.services.iter_mut().for_each(|service| service.size.busy.clear());
            self.close_advice(block, "another term has begun", |_| true);
        }
    }

    fn close_advice(&mut self, block: i64, reason: &str, of: impl Fn(&Case) -> bool) {
        for place in 0..self.state.cases.len() {
            let case = &mut self.state.cases[place];
            if case.advice.is_some() && case.is_open() && of(case) {
                (case.standing, case.recovered) = (Standing::Closed, Some(block));
                self.say(place, start_of(block + 1), Verb::Close, Some(reason.to_owned()));
            }
        }
    }

    fn add_service_day(&mut self, service: usize, block: i64, blocks: &[i64]) {
        let taught = self.state.term.taught;
        let service = &mut self.state.services[service];
        let Some(busy) = service.load.busy_today() else { return };
        let size = &mut service.size;
        if size.busy.len() >= MOST_BUSY {
            size.busy.remove(0);
        }
        size.busy.push(busy as f32);
        let mut bins: Vec<f32> = blocks.iter().map(|block| f32::from(service.load.bins.get(*block))).collect();
        let (Some(usual), Some(highest)) = (median(&mut bins), quantile(&mut bins, 0.99)) else { return };
        if !service.load.is_known() {
            return;
        }
        if size.days.len() >= DOWN as usize {
            size.days.remove(0);
        }
        let (usual, highest) = (usual as u8, highest.round() as u8);
        size.first.get_or_insert(taught);
        size.days.push(ServiceDay { taught, block, usual, highest, busy: busy as f32 });
    }

    fn add_day(&mut self, room: usize, block: i64, blocks: &[i64]) {
        if let Some(since) = self.distrusted_since(room) {
            // What a bad version or a program that runs away uses is no measure of the size.
            self.state.rooms[room].size.days.retain(|day| day.block < since);
            return;
        }
        let (cpu, mem) = (self.used(room, Part::Processor, blocks), self.used(room, Part::Memory, blocks));
        if cpu.is_none() && mem.is_none() {
            return;
        }
        let busy = self.state.services[self.site.service_of[room]].load.busy_today().map(|busy| busy as f32);
        let day = Day { taught: self.state.term.taught, block, cpu, mem, busy };
        let days = &mut self.state.rooms[room].size.days;
        if days.len() >= DOWN as usize {
            days.remove(0);
        }
        days.push(day);
        let taught = self.state.term.taught;
        self.state.rooms[room].size.first.get_or_insert(taught);
    }

    /// Use of a part of a box in some blocks; of several series of it, the one most in use.
    fn used(&self, room: usize, part: Part, blocks: &[i64]) -> Option<Use> {
        let low = if part == Part::Processor { LOW.0 } else { LOW.1 };
        let measures = (0..self.state.measures.len()).filter_map(|measure| {
            let role = self.metric(measure).role.filter(|role| role.part == part)?;
            let series = self.series(room, measure)?;
            let values = blocks.iter().filter(|block| !series.warm.get(**block)).map(|block| series.values.get(*block));
            let mut shares: Vec<f32> = values
                .filter(|value| !value.is_nan())
                .map(|value| (self.metric(measure).shown(f64::from(value)) / role.full) as f32)
                .collect();
            if shares.len() < LEAST_BLOCKS {
                return None;
            }
            let above = shares.iter().filter(|share| f64::from(**share) > low).count();
            let (p95, p99) = (quantile(&mut shares, 0.95)?, quantile(&mut shares, 0.99)?);
            Some(Use { p95: p95 as f32, p99: p99 as f32, above: above as u8, of: shares.len() as u8 })
        });
        measures.max_by(|a, b| a.p95.total_cmp(&b.p95))
    }

    /// Since which block a version that is blamed, or a booking of the use itself, makes the use of a box no
    /// measure of its size. A box that was off whenever its version was judged is not named, and has it all the same.
    fn distrusted_since(&self, room: usize) -> Option<i64> {
        let used = |measure: &usize| self.metric(*measure).role.is_some();
        let hardware = &self.settings.rooms[room].hardware;
        let upgraded = |case: &Case| {
            let blamed = |rollout: &Rollout| rollout.booking.as_ref() == Some(&case.id);
            (case.hardware.is_empty() || case.hardware.contains(hardware))
                && self.state.rollouts.iter().any(|rollout| blamed(rollout) && rollout.rooms.contains_key(&room))
        };
        let spoils = |case: &&Case| {
            case.is_open()
                && case.advice.is_none()
                && (case.rooms.contains(&room) || upgraded(case))
                && (case.cause == Cause::Version || case.measures.iter().any(used))
        };
        self.state.cases.iter().filter(spoils).map(|case| case.onset).min()
    }

    fn judge_box(&mut self, room: usize, block: i64) {
        let (taught, term) = (self.state.term.taught, self.state.term.first);
        let size = &self.state.rooms[room].size;
        if self.distrusted_since(room).is_some() {
            return;
        }
        let high = |day: &&Day| day.high() != (false, false);
        let onset = |day: &Day| day.block.saturating_sub(DAY_BLOCKS - 1);
        if size.calm.allows(Direction::Up, term) && size.recent(taught, UP.0).filter(high).count() >= UP.1 {
            let since = size.recent(taught, UP.0).find(high).map(onset);
            self.advise(block, Scope::Room(room), Direction::Up, since);
        } else if size.calm.allows(Direction::Down, term)
            && size.cores != Some(1)
            && size.is_long_known(taught)
            && size.above(taught, DOWN, DOWN_MEASURED).is_some_and(|[cpu, mem]| {
                let few = |(above, of): (u32, u32)| f64::from(above) <= DOWN_SHARE * f64::from(of);
                few(cpu) && few(mem)
            })
            && self.was_busy(room)
        {
            let since = size.recent(taught, DOWN).next().map(onset);
            self.advise(block, Scope::Room(room), Direction::Down, since);
        }
    }

    /// Whether one of the days that are looked at was as busy as a busy day of the term.
    fn was_busy(&self, room: usize) -> bool {
        let service = &self.state.services[self.site.service_of[room]];
        let busiest = self.state.rooms[room].size.recent(self.state.term.taught, DOWN).filter_map(|day| day.busy);
        let busiest = busiest.map(f64::from).reduce(f64::max);
        busiest.zip(service.size.busy_day()).is_some_and(|(busiest, usual)| busiest >= usual)
    }

    fn judge_service(&mut self, service: usize, block: i64) {
        let term = self.state.term.first;
        let size = &self.state.services[service].size;
        let idle = size.calm.allows(Direction::Down, term)
            && size.busiest().zip(size.busy_day()).is_some_and(|(busiest, usual)| busiest >= usual)
            && self.cost_of_load(service).is_some_and(|costs| costs < COSTS)
            && !self.state.cases.iter().any(|case| {
                let here = match &case.scope {
                    Scope::Service(at) | Scope::Version(_, _, at) => *at == service,
                    Scope::Building(at) => self.site.buildings[*at].service == service,
                    Scope::Room(_) => false,
                };
                here && case.is_open()
            });
        if idle {
            let since = size.days.first().map(|day| day.block.saturating_sub(DAY_BLOCKS - 1));
            self.advise(block, Scope::Service(service), Direction::Down, since);
        }
    }

    /// What the highest load of the last forty teaching days costs more than a usual one, in units of what is
    /// material: of the metric that it costs most. `None` if it was not learned, or the load was always alike.
    fn cost_of_load(&self, service: usize) -> Option<f64> {
        let (usual, highest) = self.state.services[service].size.bins(self.state.term.taught)?;
        if highest < usual.saturating_add(LEAST_BINS) {
            return None;
        }
        let costs = self.load_measures().filter_map(|measure| {
            let (usual, highest) = (self.by_load(service, measure, usual)?, self.by_load(service, measure, highest)?);
            Some((highest - usual) / self.metric(measure).material)
        });
        costs.reduce(f64::max)
    }

    /// Measures that load makes worse where it is too much: as for capacity.
    pub(super) fn load_measures(&self) -> impl Iterator<Item = usize> {
        (0..self.state.measures.len()).filter(|measure| {
            let metric = self.metric(*measure);
            !metric.heavy && metric.scale == Scale::Log
        })
    }

    /// What a bin of load adds: the middle of the rooms that have learned it, in transformed units.
    pub(super) fn by_load(&self, service: usize, measure: usize, bin: u8) -> Option<f64> {
        let learned = self.site.services[service].rooms.iter().filter_map(|room| {
            let healthy = &self.series(*room, measure)?.healthy;
            healthy.anchor.map(|_| healthy.by_load(bin))
        });
        median(&mut learned.collect::<Vec<f32>>())
    }

    /// Ends advice that the last days no longer tell for.
    fn end_advice(&mut self, block: i64) {
        let taught = self.state.term.taught;
        for place in 0..self.state.cases.len() {
            let case = &self.state.cases[place];
            let Some(direction) = case.advice.filter(|_| case.is_open()) else { continue };
            let holds = match (&case.scope, direction) {
                (Scope::Room(room), Direction::Up) => {
                    let days = self.state.rooms[*room].size.recent(taught, UP.0);
                    days.filter(|day| day.high() != (false, false)).count() > UP_ENDS
                }
                (Scope::Room(room), Direction::Down) => {
                    let above = self.state.rooms[*room].size.above(taught, UP.0, 1);
                    above.is_none_or(|parts| {
                        parts.iter().all(|(above, of)| f64::from(*above) <= DOWN_ENDS * f64::from(*of))
                    })
                }
                (Scope::Service(service), _) => self.cost_of_load(*service).is_none_or(|costs| costs < 2.0 * COSTS),
                _ => true,
            };
            if !holds {
                self.recover(place, block, start_of(block + 1));
            }
        }
    }

    /// Advises another size, once in a term.
    fn advise(&mut self, block: i64, scope: Scope, direction: Direction, since: Option<i64>) {
        let term = self.state.term.first;
        let rooms = match &scope {
            Scope::Room(room) => {
                self.state.rooms[*room].size.calm.advised = Some(term);
                vec![*room]
            }
            Scope::Service(service) => {
                self.state.services[*service].size.calm.advised = Some(term);
                self.site.services[*service].rooms.clone()
            }
            Scope::Building(_) | Scope::Version(..) => return,
        };
        let metrics = match &scope {
            Scope::Room(room) => self.metrics_of(*room, direction),
            _ => [LOAD.to_owned()].into(),
        };
        let at = start_of(block + 1);
        let Some(id) = self.next_name() else { return };
        self.state.cases.push(Case {
            id,
            scope,
            cause: Cause::Load,
            family: LOAD.to_owned(),
            families: [LOAD.to_owned()].into(),
            metrics,
            measures: std::collections::BTreeSet::new(),
            rooms: rooms.into_iter().collect(),
            opened: at,
            onset: since.unwrap_or(block),
            last: block,
            alarms: std::collections::BTreeSet::new(),
            standing: Standing::Open,
            recovered: None,
            episodes: 1,
            severity: Severity::Low,
            size: 0.0,
            hardware: Vec::new(),
            confirmed: false,
            lesson_days: std::collections::BTreeSet::new(),
            advice: Some(direction),
            in_doubt: false,
        });
        self.say(self.state.cases.len() - 1, at, Verb::Open, None);
    }

    /// The metrics that advice on a box rests on.
    fn metrics_of(&self, room: usize, direction: Direction) -> std::collections::BTreeSet<String> {
        let days = || self.state.rooms[room].size.recent(self.state.term.taught, UP.0);
        let (cpu, mem) = match direction {
            Direction::Up => (days().any(|day| day.high().0), days().any(|day| day.high().1)),
            Direction::Down => (true, true),
        };
        let concerned = |part: Part| if part == Part::Processor { cpu } else { mem };
        let named = (0..self.state.measures.len()).filter_map(|measure| {
            self.series(room, measure)?;
            let metric = self.metric(measure);
            metric.role.filter(|role| concerned(role.part)).map(|_| metric.name.clone())
        });
        named.collect()
    }

    /// Advice was followed: the size is another one from now on.
    pub(super) fn resized_by(&mut self, place: usize) {
        let case = &self.state.cases[place];
        match (&case.scope, case.advice) {
            (Scope::Room(room), Some(direction)) => {
                let size = &mut self.state.rooms[*room].size;
                size.has_another_size(Some(direction));
            }
            (Scope::Service(service), advice) if case.cause == Cause::Load => {
                let size = &mut self.state.services[*service].size;
                size.days.clear();
                size.first = None;
                size.calm.days = 0;
                size.calm.resized = Some((Some(advice.unwrap_or(Direction::Up)), 0));
            }
            _ => {}
        }
    }

    /// The path of advice, as it is printed.
    pub(super) fn path_of_advice() -> &'static str {
        Path::Capacity.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opposite_is_advised_after_forty_teaching_days() {
        let settled = Calm { days: 200, resized: None, advised: None };
        let resized = |went, days| Calm { resized: Some((went, days)), ..settled.clone() };
        let table = [
            (settled.clone(), Direction::Up, true),
            (Calm { days: CALM - 1, ..settled.clone() }, Direction::Up, false),
            (Calm { advised: Some(7), ..settled.clone() }, Direction::Up, false),
            (Calm { advised: Some(6), ..settled.clone() }, Direction::Up, true),
            (resized(Some(Direction::Up), 20), Direction::Up, true),
            (resized(Some(Direction::Up), 39), Direction::Down, false),
            (resized(Some(Direction::Up), 40), Direction::Down, true),
            (resized(Some(Direction::Down), 39), Direction::Up, false),
            (resized(None, 39), Direction::Up, false),
        ];
        for (calm, direction, expected) in table {
            assert_eq!(calm.allows(direction, 7), expected, "{calm:?} {direction:?}");
        }
    }

    #[test]
    fn other_cores_are_another_size() {
        let day = Day { taught: 3, ..Day::default() };
        let mut size = BoxSize { days: vec![day], first: Some(3), ..BoxSize::default() };
        size.has_cores(4);
        size.has_cores(4);
        assert_eq!((size.days.len(), &size.calm.resized), (1, &None));
        size.has_cores(2);
        assert_eq!((size.days.len(), size.first, size.calm.resized), (0, None, Some((Some(Direction::Down), 0))));
        size.has_cores(8);
        assert_eq!(size.calm.resized, Some((Some(Direction::Up), 0)));
    }
}
