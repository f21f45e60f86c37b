//! Who is worse: the room, its building, or everything that uses the media server.

use super::{
    Engine,
    evidence::{Gauge, Turn},
    load::CAPACITY,
    local::{BLOCK_HOURS, DAY_BLOCKS, Local},
    rollout::SISTERS,
    series::Shared,
    settings::Scale,
    state::{Alarm, Path, Whose},
    statistics::median,
};

/// The least number of rooms with a value for a level of a building.
const NEIGHBOURS: usize = 4;
/// Evidence from which on nothing is learned.
const SUSPICIOUS: f64 = 1.0;
/// What is material to a building or a service, as a share of what it is to a room.
const SHARED_MATERIAL: f64 = 0.8;
/// Blocks of silence after which evidence is void.
const SILENCE: i64 = 7 * DAY_BLOCKS;

/// An alarm that was raised (since a block) or cleared.
pub(super) type Turned = (Alarm, Turn);

/// The gauge of the fast path.
fn fast(material: f64, noise: f64, heavy: bool) -> Gauge {
    let alarm = if heavy { 8.0 } else { 4.0 };
    Gauge { material, noise, slack: 0.8, most: 4.0, alarm, longest: 1.0, step: BLOCK_HOURS, clear: 36 }
}

/// The gauge of the slow path, in days.
fn slow(material: f64, noise: f64) -> Gauge {
    Gauge { material, noise, slack: 0.6, most: 2.5, alarm: 1.0, longest: 1.0, step: 1.0, clear: 2 }
}

/// By how much noise holds evidence back more of a room without sisters.
const ALONE: f64 = 1.2;
/// The same of evidence by days.
const ALONE_BY_DAYS: f64 = 1.4;
/// Noise that is not known holds everything back.
const UNKNOWN_NOISE: f64 = 1e9;

impl Engine {
    /// Levels of a block and what they add to the evidence. The alarms that turned.
    pub(super) fn find_levels(&mut self, block: i64, local: Local) -> Vec<Turned> {
        let mut turns = Vec::new();
        for measure in 0..self.state.measures.len() {
            let rooms = self.state.rooms.len();
            let rests: Vec<Option<f32>> = (0..rooms)
                .map(|room| {
                    let state = &self.state.rooms[room];
                    let muted = state.muted_until.is_some_and(|until| super::start_of(block) < until);
                    // An outage is told by its probes; what is measured in it is no fault of its own.
                    let out = state.failed.0 > 0 && self.is_told_alone(room);
                    if muted || out { None } else { self.rest(room, measure, block) }
                })
                .collect();
            if rests.iter().all(Option::is_none) {
                continue;
            }
            let mut levels = rests.clone();
            for service in 0..self.state.services.len() {
                self.find_shared(service, measure, block, local, &rests, &mut levels, &mut turns);
            }
            for room in 0..rooms {
                if let (Some(rest), Some(level)) = (rests[room], levels[room]) {
                    self.find_room(room, measure, block, local, (rest, level), &mut turns);
                }
            }
        }
        turns
    }

    /// Levels of a service and of its buildings, which are taken off those of the rooms.
    #[expect(clippy::too_many_arguments, reason = "one step of one loop")]
    fn find_shared(
        &mut self,
        service: usize,
        measure: usize,
        block: i64,
        local: Local,
        rests: &[Option<f32>],
        levels: &mut [Option<f32>],
        turns: &mut Vec<Turned>,
    ) {
        let group = self.site.services[service].clone();
        if group.rooms.len() < SISTERS {
            return;
        }
        let unseen = self.state.services[service].load.unseen.get(block);
        let mut known: Vec<f32> = group.rooms.iter().filter_map(|room| rests[*room]).collect();
        let common = if known.len() >= SISTERS { median(&mut known) } else { None };
        let taken = common.unwrap_or(0.0) as f32;
        for room in &group.rooms {
            levels[*room] = rests[*room].map(|rest| rest - taken);
        }
        let sensitive = if unseen { 0.5 * taken.max(0.0) } else { 0.0 };
        let sigma = self.usual_noise(&group.rooms, measure, |series| series.healthy.sigma());
        for building in 0..self.site.buildings.len() {
            if self.site.buildings[building].service != service {
                continue;
            }
            let rooms = self.site.buildings[building].rooms.clone();
            let mut known: Vec<f32> = rooms.iter().filter_map(|room| levels[*room]).collect();
            if known.len() < NEIGHBOURS {
                continue;
            }
            let Some(off) = median(&mut known) else { continue };
            for room in &rooms {
                levels[*room] = levels[*room].map(|level| level - off as f32);
            }
            let level = off.min(off + f64::from(taken)) - f64::from(sensitive);
            self.count_shared(Whose::Building(building), measure, block, local, level, false, sigma / 2.0, turns);
        }
        for room in &group.rooms {
            if let (Some(rest), Some(level)) = (rests[*room], levels[*room]) {
                levels[*room] = Some(level.min(rest) - sensitive);
            }
        }
        if let Some(level) = common {
            self.count_shared(Whose::Service(service), measure, block, local, level, unseen, sigma / 4.0, turns);
        }
    }

    /// The middle of the rooms' noise.
    fn usual_noise(&self, rooms: &[usize], measure: usize, of: impl Fn(&super::series::Series) -> Option<f64>) -> f64 {
        let mut noise: Vec<f32> =
            rooms.iter().filter_map(|room| of(self.series(*room, measure)?)).map(|noise| noise as f32).collect();
        median(&mut noise).unwrap_or(UNKNOWN_NOISE)
    }

    fn shared(&mut self, whose: Whose, measure: usize) -> Option<&mut Shared> {
        let shared = match whose {
            Whose::Service(at) => &mut self.state.services.get_mut(at)?.shared,
            Whose::Building(at) => &mut self.state.buildings.get_mut(at)?.shared,
            Whose::Room(_) => return None,
        };
        if shared.len() <= measure {
            shared.resize_with(measure + 1, Shared::default);
        }
        shared.get_mut(measure)
    }

    #[expect(clippy::too_many_arguments, reason = "one step of one loop")]
    fn count_shared(
        &mut self,
        whose: Whose,
        measure: usize,
        block: i64,
        local: Local,
        level: f64,
        blind: bool,
        sigma: f64,
        turns: &mut Vec<Turned>,
    ) {
        let metric = self.metric(measure);
        let gauge = fast(metric.material * SHARED_MATERIAL, self.settings.tuning.gate * sigma, metric.heavy);
        let Some(shared) = self.shared(whose, measure) else { return };
        let turn = shared.fast.step(level, block, BLOCK_HOURS, blind, &gauge);
        if !blind {
            shared.today.set(local.half_hour, level as f32);
        }
        let suspicious = shared.fast.alarm
            || shared.fast.sum >= SUSPICIOUS
            || shared.slow.alarm && matches!(whose, Whose::Service(_));
        let rooms = match whose {
            Whose::Service(at) => self.site.services[at].rooms.clone(),
            Whose::Building(at) => self.site.buildings[at].rooms.clone(),
            Whose::Room(_) => Vec::new(),
        };
        let from = match turn {
            Some(Turn::Alarm(onset)) => onset,
            _ if suspicious => block,
            _ => i64::MAX,
        };
        for room in rooms {
            self.distrust(room, measure, from, block);
        }
        if let Some(turn) = turn {
            turns.push((Alarm { whose, measure: Some(measure), path: Path::Fast }, turn));
        }
    }

    /// Nothing is learned from these blocks of a series.
    fn distrust(&mut self, room: usize, measure: usize, from: i64, to: i64) {
        let Some(Some(series)) = self.state.rooms[room].series.get_mut(measure) else { return };
        for block in from.max(to - super::KEPT as i64 + 1)..=to {
            series.clean.set(block, false);
        }
    }

    fn find_room(
        &mut self,
        room: usize,
        measure: usize,
        block: i64,
        local: Local,
        (rest, level): (f32, f32),
        turns: &mut Vec<Turned>,
    ) {
        let service = self.site.service_of[room];
        let alone = self.site.services[service].rooms.len() < SISTERS;
        // Without sisters a load never seen before is no evidence against a room.
        let blind = alone && self.state.services[service].load.unseen.get(block);
        // No sister rooms take off what is noise to all of them.
        let gate = self.settings.tuning.gate * if alone { ALONE } else { 1.0 };
        let metric = &self.settings.metrics[self.state.measures[measure].settings];
        let Some(Some(series)) = self.state.rooms[room].series.get_mut(measure) else { return };
        let sigma = series.healthy.sigma().unwrap_or(UNKNOWN_NOISE);
        let gauge = fast(metric.material, gate * sigma, metric.heavy);
        // What an hour adds every day, sunlight on a picture, it may add twice on a bright one, or not at all on a
        // dull one, and for days on end: so much is no evidence. Sister rooms do not take it off, each has its own.
        let swing = series.healthy.by_hour(self.state.hours.get(block)).abs();
        let counted = if level > 0.0 { (level - swing).max(0.0) } else { level };
        let turn = series.fast.step(f64::from(counted), block, BLOCK_HOURS, blind, &gauge);
        series.today.set(local.half_hour, level);
        let rest = f64::from(rest);
        let odd = rest.abs() > (5.0 * sigma).max(3.0 * metric.material) || rest > 2.0 * metric.material;
        let suspicious = series.fast.alarm || series.fast.sum >= SUSPICIOUS || series.slow.alarm || odd;
        let from = match turn {
            Some(Turn::Alarm(onset)) => onset,
            _ if suspicious => block,
            _ => i64::MAX,
        };
        self.distrust(room, measure, from, block);
        if let Some(turn) = turn {
            turns.push((Alarm { whose: Whose::Room(room), measure: Some(measure), path: Path::Fast }, turn));
        }
    }

    /// Evidence by days, at the end of a local day.
    pub(super) fn find_slow(&mut self, block: i64, turns: &mut Vec<Turned>) {
        let step = 1.0 / DAY_BLOCKS as f64;
        let since = |turn: Turn| match turn {
            Turn::Alarm(onset) => Turn::Alarm(onset - DAY_BLOCKS + 1),
            Turn::Clear => Turn::Clear,
        };
        for measure in 0..self.state.measures.len() {
            let material = self.metric(measure).material;
            let alarm = |whose, path| Alarm { whose, measure: Some(measure), path };
            for service in 0..self.site.services.len() {
                let rooms = self.site.services[service].rooms.clone();
                let noise = self.usual_noise(&rooms, measure, |series| series.healthy.between_days);
                let of_service = self.site.buildings.iter().zip(0..).filter(|(group, _)| group.service == service);
                let buildings: Vec<Whose> = of_service.map(|(_, at)| Whose::Building(at)).collect();
                let groups = buildings.into_iter().map(|whose| (whose, 2.0)).chain([(Whose::Service(service), 4.0)]);
                for (whose, steadier) in groups {
                    let gauge = slow(material * SHARED_MATERIAL, 2.5 * noise / steadier);
                    let Some(shared) = self.shared(whose, measure) else { continue };
                    if let Some(level) = shared.today.take()
                        && let Some(turn) = shared.slow.step(level, block, step, false, &gauge)
                    {
                        turns.push((alarm(whose, Path::Slow), since(turn)));
                    }
                    let silent = shared.fast.forget_if_silent(block, SILENCE).map(|turn| (Path::Fast, turn));
                    let silent_days = shared.slow.forget_if_silent(block, SILENCE).map(|turn| (Path::Slow, turn));
                    for (path, turn) in silent.into_iter().chain(silent_days) {
                        turns.push((alarm(whose, path), turn));
                    }
                }
            }
            for (room, at) in self.state.rooms.iter_mut().zip(0..) {
                let Some(Some(series)) = room.series.get_mut(measure) else { continue };
                let noise = series.healthy.between_days.unwrap_or(UNKNOWN_NOISE);
                let alone = self.site.services[self.site.service_of[at]].rooms.len() < SISTERS;
                let gate = 2.5 * if alone { ALONE_BY_DAYS } else { 1.0 };
                if let Some(level) = series.today.take()
                    && let Some(turn) = series.slow.step(level, block, step, false, &slow(material, gate * noise))
                {
                    turns.push((alarm(Whose::Room(at), Path::Slow), since(turn)));
                }
                let silent = series.fast.forget_if_silent(block, SILENCE).map(|turn| (Path::Fast, turn));
                let silent_days = series.slow.forget_if_silent(block, SILENCE).map(|turn| (Path::Slow, turn));
                for (path, turn) in silent.into_iter().chain(silent_days) {
                    turns.push((alarm(Whose::Room(at), path), turn));
                }
            }
        }
    }

    /// Whether the service is too small: what its load alone adds, against a normal busy hour.
    pub(super) fn find_capacity(&mut self, block: i64, lesson: bool, turns: &mut Vec<Turned>) {
        if !lesson {
            return;
        }
        for service in 0..self.state.services.len() {
            let load = &self.state.services[service].load;
            let Some(busy) = load.busy_hour() else { continue };
            let (now, usual, unseen) = (load.bins.get(block), load.bin(busy), load.unseen.get(block));
            let rooms = &self.site.services[service].rooms;
            let alone = rooms.len() < SISTERS;
            let mut worst: Option<f64> = None;
            for measure in 0..self.state.measures.len() {
                let metric = self.metric(measure);
                if metric.heavy || metric.scale != Scale::Log {
                    continue;
                }
                let material = metric.material;
                let by_load = |bin: u8| {
                    let learned = rooms.iter().filter_map(|room| {
                        let healthy = &self.series(*room, measure)?.healthy;
                        healthy.anchor.map(|_| healthy.by_load(bin))
                    });
                    median(&mut learned.collect::<Vec<f32>>())
                };
                let (Some(with), Some(without)) = (by_load(now), by_load(usual)) else { continue };
                let mut added = (with - without) / material;
                if unseen && !self.is_explained(service, measure) {
                    let mut rests: Vec<f32> =
                        rooms.iter().filter_map(|room| self.rest(*room, measure, block)).collect();
                    // A room alone tells as well what all of them would.
                    let enough = rests.len() >= SISTERS.min(rooms.len());
                    added += if enough { median(&mut rests).unwrap_or(0.0) / material } else { 0.0 };
                }
                // What one room shows has that room's noise.
                if let (true, [room]) = (alone, &rooms[..]) {
                    let sigma = self.series(*room, measure).and_then(|series| series.healthy.sigma());
                    let noise = sigma.map_or(UNKNOWN_NOISE, |sigma| self.settings.tuning.gate * sigma / material);
                    added = if added > 0.0 { added / noise.max(1.0) } else { added };
                }
                worst = Some(worst.map_or(added, |worst| worst.max(added)));
            }
            let Some(worst) = worst else { continue };
            let evidence = &mut self.state.services[service].load.evidence;
            if let Some(turn) = evidence.step(worst, block, BLOCK_HOURS, false, &CAPACITY) {
                turns.push((Alarm { whose: Whose::Service(service), measure: None, path: Path::Capacity }, turn));
            }
        }
    }

    /// The plain limit, in 9 of 12 half-hours; off again after as many within it.
    pub(super) fn find_limits(&mut self, block: i64, turns: &mut Vec<Turned>) {
        for (room, at) in self.state.rooms.iter_mut().zip(0..) {
            for (measure, place) in self.state.measures.iter().zip(0..) {
                let metric = &self.settings.metrics[measure.settings];
                let Some(limit) = metric.limit else { continue };
                let Some(Some(series)) = room.series.get_mut(place) else { continue };
                let value = series.values.get(block);
                if value.is_nan() {
                    continue;
                }
                let beyond = metric.beyond(metric.shown(f64::from(value)), limit);
                series.beyond = (series.beyond << 1 | u16::from(beyond)) & 0xfff;
                series.beyond_of = (series.beyond_of + 1).min(12);
                let alarm = Alarm { whose: Whose::Room(at), measure: Some(place), path: Path::Limit };
                let on = self.state.alarms.contains(&alarm);
                let bad = series.beyond.count_ones();
                if !on && bad >= 9 {
                    turns.push((alarm, Turn::Alarm(block - 12)));
                } else if on && series.beyond_of == 12 && bad <= 3 {
                    turns.push((alarm, Turn::Clear));
                }
            }
        }
    }
}
