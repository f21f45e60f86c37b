//! Did the upgrade make it worse? Judged over the whole rollout against the rooms not yet upgraded.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde::{Deserialize, Serialize};

use super::{
    Engine,
    healthy::LOAD_BINS,
    local::DAY_BLOCKS,
    statistics::{Estimate, median, signed_rank, two_sample},
};

/// Blocks after an upgrade that no comparison uses.
pub(super) const WARM: i64 = 2;
/// Hours after a wave at which its rollout is judged, in blocks.
const TESTS: [i64; 4] = [24, 48, 96, 144];
/// How long a rollout is looked at, in blocks.
pub(super) const KEPT_ROLLOUT: i64 = 60 * DAY_BLOCKS;
/// Days before the rollout that it is compared with, in blocks.
const BEFORE: i64 = 7 * DAY_BLOCKS;
/// Blocks after an upgrade that a test at its regular time needs; one because of an alarm takes fewer.
pub(super) const REGULAR: usize = 12;
/// The same for the test of a room without sisters because of an alarm.
const LEAST_ALONE: usize = 8;
/// How many times what its days differ by themselves a room without sisters has to be off, at least, over 0.8.
const ALONE_DAYS: f64 = 3.0;
/// The least number of rooms for a comparison of rooms.
pub(super) const SISTERS: usize = 8;

/// An upgrade of one component to one version, in the rooms of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The component.
    pub component: String,
    /// The new version.
    pub version: String,
    /// Place of the service of its rooms.
    pub service: usize,
    /// Block of the upgrade of each room.
    pub rooms: BTreeMap<usize, i64>,
    /// Blocks at which it is still to be judged.
    pub tests: Vec<i64>,
    /// Block of the last wave's first upgrade.
    pub wave: i64,
    /// Rooms and measures that it made worse.
    pub covered: BTreeSet<(usize, usize)>,
    /// Whether it was said that no regression was found.
    pub cleared: bool,
    /// Name of the booking that blames it.
    pub booking: Option<String>,
}

impl Rollout {
    /// Takes in the upgrade of a room.
    pub fn add(&mut self, room: usize, block: i64) {
        if self.rooms.insert(room, block).is_some() {
            return;
        }
        let first = self.rooms.len() == 1;
        if first || block - self.wave > 24 {
            self.wave = block;
            self.tests.extend(TESTS.map(|after| block + after));
        } else if block > self.wave + 4 {
            // The last rooms of a wave: the last tests are those after them.
            self.tests.push(block + TESTS[3]);
        }
        self.tests.sort_unstable();
        self.tests.dedup();
    }

    /// Block of the first upgrade.
    pub fn first(&self) -> i64 {
        self.rooms.values().copied().min().unwrap_or(i64::MAX)
    }

    /// Block of the last upgrade so far.
    pub fn last(&self) -> i64 {
        self.rooms.values().copied().max().unwrap_or(i64::MIN)
    }
}

/// Shifts of the upgraded rooms, in units of what is material.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// By room.
    pub shifts: Vec<(usize, f64)>,
    /// Whether at least eight rooms not upgraded were there to compare with.
    pub controlled: bool,
    /// How many rooms not upgraded were there.
    pub control: usize,
}

/// An upgrade has made something worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Regressed {
    /// Rooms concerned.
    pub rooms: Vec<usize>,
    /// By how much, in units of what is material.
    pub size: f64,
    /// Hardware revisions, if only some are concerned.
    pub hardware: Option<Vec<String>>,
    /// Rooms whose alarms it explains.
    pub covered: Vec<usize>,
    /// Lower bound of the size.
    pub low: f64,
    /// Whether rooms not upgraded were there to compare with.
    pub controlled: bool,
}

/// How strict a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// As usual.
    Usual,
    /// There is an alarm of the whole service besides.
    Weak,
}

fn values(range: impl Iterator<Item = Option<f32>>) -> Vec<f32> {
    range.flatten().collect()
}

impl Engine {
    /// Shift of a room by `rollout`: the last two days after its upgrade, at least `least` blocks of
    /// them, against the week before the rollout began; at loads that were seen. In transformed units.
    fn shift(&self, rollout: &Rollout, room: usize, measure: usize, from: i64, now: i64, least: usize) -> Option<f64> {
        let service = rollout.service;
        let seen = |block: &i64| !self.state.services[service].load.unseen.get(*block);
        let first = rollout.first();
        let oldest = now - super::ring::KEPT as i64 + 2;
        let rest = |block: i64| self.rest(room, measure, block);
        let after = values((from.max(oldest)..=now).filter(seen).map(rest));
        let mut before = values(((first - BEFORE).max(oldest)..first).filter(seen).map(rest));
        // A week with a fault in it is no measure of what was before: then only its good half-hours are.
        let series = self.series(room, measure)?;
        let clean = |block: &i64| series.clean.get(*block);
        let good = values(((first - BEFORE).max(oldest)..first).filter(seen).filter(clean).map(rest));
        if good.len() * 4 < before.len() * 3 {
            before = good;
        }
        if after.len() < least || before.len() < 24 {
            return None;
        }
        let recent = after.len().saturating_sub(2 * DAY_BLOCKS as usize);
        Some(median(&mut after[recent..].to_vec())? - median(&mut before)?)
    }

    /// Shifts of the upgraded rooms, each less the shift of the rooms not upgraded over the same hours:
    /// what the whole campus has at night must not be held against rooms that were upgraded at night.
    pub fn cohort(&self, rollout: &Rollout, measure: usize, now: i64, least: usize) -> Option<Cohort> {
        let material = self.metric(measure).material;
        let upgraded = rollout.rooms.iter().filter(|(_, block)| **block <= now);
        let shifts: Vec<(usize, i64, f64)> = upgraded
            .filter_map(|(room, block)| {
                Some((*room, block + WARM, self.shift(rollout, *room, measure, block + WARM, now, least)?))
            })
            .collect();
        if shifts.is_empty() {
            return None;
        }
        let service = &self.site.services[rollout.service];
        let not_yet = |room: &&usize| rollout.rooms.get(*room).is_none_or(|block| *block > now);
        let others: Vec<usize> = service.rooms.iter().filter(not_yet).copied().collect();
        let mut bases: BTreeMap<i64, f64> = BTreeMap::new();
        let mut control = usize::MAX;
        for (_, from, _) in &shifts {
            let from = (*from).max(now - 2 * DAY_BLOCKS);
            if others.len() < SISTERS || bases.contains_key(&from) {
                continue;
            }
            let shift = |room: &usize| self.shift(rollout, *room, measure, from, now, 4);
            let mut shifts: Vec<f32> = others.iter().filter_map(shift).map(|shift| shift as f32).collect();
            control = control.min(shifts.len());
            bases.insert(from, median(&mut shifts).unwrap_or(0.0));
        }
        let control = if bases.is_empty() { 0 } else { control };
        let controlled = control >= SISTERS;
        let base = |from: i64| match bases.get(&from.max(now - 2 * DAY_BLOCKS)) {
            Some(base) if controlled => *base,
            _ => 0.0,
        };
        let shifts = shifts.into_iter().map(|(room, from, shift)| (room, (shift - base(from)) / material)).collect();
        Some(Cohort { shifts, controlled, control })
    }

    /// Whether the rollout has made a measure worse.
    pub fn regressed(
        &self,
        rollout: &Rollout,
        measure: usize,
        now: i64,
        least: usize,
        strictness: Strictness,
    ) -> Option<Regressed> {
        if self.site.services[rollout.service].rooms.len() < SISTERS {
            return self.regressed_alone(rollout, measure, now, least);
        }
        let Cohort { shifts, controlled, .. } = self.cohort(rollout, measure, now, least)?;
        let weak = strictness == Strictness::Weak;
        let enough = match (weak, controlled) {
            (true, _) => 0.5,
            (false, true) => 0.6,
            (false, false) => 0.8,
        };
        let mut by_hardware: BTreeMap<&str, Vec<(usize, f64)>> = BTreeMap::new();
        for (room, shift) in &shifts {
            by_hardware.entry(&self.settings.rooms[*room].hardware).or_default().push((*room, *shift));
        }
        let estimates: Vec<(&str, Estimate)> = by_hardware
            .iter()
            .filter_map(|(hardware, shifts)| Some((*hardware, estimate(&sizes(shifts), controlled)?)))
            .collect();
        let hit: Vec<&str> = estimates
            .iter()
            .filter(|(_, estimate)| estimate.center >= f64::max(enough, 0.8) && estimate.low > 0.45)
            .map(|(hardware, _)| *hardware)
            .collect();
        let spared = estimates.iter().any(|(_, estimate)| estimate.center < 0.35);
        if !hit.is_empty() && spared {
            let concerned: Vec<(usize, f64)> =
                hit.iter().filter_map(|hardware| by_hardware.get(hardware)).flatten().copied().collect();
            let low = estimates.iter().filter(|(hardware, _)| hit.contains(hardware));
            let low = low.map(|(_, estimate)| estimate.low).fold(f64::INFINITY, f64::min);
            let hardware = Some(hit.iter().map(|hardware| (*hardware).to_owned()).collect());
            let regressed = regressed_of(&concerned, middle(&sizes(&concerned)), low, hardware);
            // Another revision that is spared is as good as rooms not upgraded.
            return Some(Regressed { controlled: true, ..regressed });
        }
        let sizes = sizes(&shifts);
        if let Some(Estimate { center, low }) = signed_rank(&sizes) {
            let bound = if weak { 0.3 } else { 0.35 };
            let regressed = || Regressed { controlled, ..regressed_of(&shifts, center, low, None) };
            return (center >= enough && low > bound).then(regressed);
        }
        let least = match sizes.len() {
            2 => 0.9,
            3 => 0.6,
            _ => return None,
        };
        let low = sizes.iter().copied().fold(f64::INFINITY, f64::min);
        let mut regressed = regressed_of(&shifts, middle(&sizes), low, None);
        regressed.covered.clone_from(&regressed.rooms);
        regressed.controlled = controlled;
        (controlled && low >= least).then_some(regressed)
    }

    /// The same for a room without sisters: its half-hours of a day after the upgrade against its week before.
    /// Half a day alone is too little: in a surge that is its mornings, which are not the mornings of the week
    /// before. Only an alarm is judged by what there is.
    fn regressed_alone(&self, rollout: &Rollout, measure: usize, now: i64, least: usize) -> Option<Regressed> {
        let material = self.metric(measure).material;
        let mut hit = Vec::new();
        let mut worst: Option<Estimate> = None;
        for (room, up) in &rollout.rooms {
            let regular = least >= REGULAR;
            // Later it would be the same day once more.
            if regular && !(DAY_BLOCKS..2 * DAY_BLOCKS).contains(&(now - up)) {
                continue;
            }
            let least = if regular { least } else { LEAST_ALONE };
            let Some(estimate) = self.shift_alone(rollout, *room, measure, now, least) else { continue };
            // Gated by how far its days differ by themselves, as evidence by days is.
            let days = self.series(*room, measure).and_then(|series| series.healthy.between_days).unwrap_or(0.0);
            if estimate.center >= 0.8 * material.max(ALONE_DAYS * days) && estimate.low > 0.0 {
                hit.push((*room, estimate.center / material));
                worst = worst.filter(|worst| worst.low <= estimate.low).or(Some(estimate));
            }
        }
        let worst = worst?;
        Some(regressed_of(&hit, middle(&sizes(&hit)), worst.low / material, None))
    }

    /// Shift of a room by `rollout`, by itself: its half-hours of the first day after its upgrade, up to
    /// `now`, against those of the week before; at loads that were seen. In transformed units.
    pub(super) fn shift_alone(
        &self,
        rollout: &Rollout,
        room: usize,
        measure: usize,
        now: i64,
        least: usize,
    ) -> Option<Estimate> {
        let up = rollout.rooms.get(&room).copied().filter(|up| *up <= now)?;
        let seen = |block: &i64| !self.state.services[rollout.service].load.unseen.get(*block);
        let oldest = self.state.block.unwrap_or(now).max(now) - super::ring::KEPT as i64 + 2;
        let (day, week) = (up + WARM..=now.min(up + WARM + DAY_BLOCKS), (up - BEFORE).max(oldest)..up);
        let rest = |block: i64| self.rest(room, measure, block);
        let (before, after) = (values(week.clone().filter(seen).map(rest)), values(day.clone().filter(seen).map(rest)));
        if after.len() < least || before.len() < 24 {
            return None;
        }
        let by_model = two_sample(&before, &after)?;
        // In a surge, hours come with loads that they never had: then the two ways to take the load off differ, and
        // what only one of them sees is no regression.
        let held = self.held_by_load(room, measure, oldest..up);
        let (before, after) = (values(week.filter(seen).map(&held)), values(day.filter(seen).map(&held)));
        let by_load = two_sample(&before, &after).filter(|_| after.len() >= LEAST_ALONE);
        Some(by_load.filter(|by_load| by_load.center < by_model.center).unwrap_or(by_model))
    }

    /// What half-hours read beyond those of the same load in `usual`, whatever the hour; `None` where that load
    /// was rare. In transformed units.
    fn held_by_load(&self, room: usize, measure: usize, usual: Range<i64>) -> impl Fn(i64) -> Option<f32> + '_ {
        let plain = move |block: i64| {
            let (series, cell) = (self.series(room, measure)?, self.cell(room, block));
            let shapes = series.healthy.by_load(cell.load) + series.healthy.by_hour(cell.hour);
            Some((usize::from(cell.load), self.rest(room, measure, block)? + shapes))
        };
        let is_clean = |block: &i64| self.series(room, measure).is_some_and(|series| series.clean.get(*block));
        let mut bins: Vec<Vec<f32>> = vec![Vec::new(); LOAD_BINS];
        for (bin, value) in usual.filter(is_clean).filter_map(plain) {
            if let Some(values) = bins.get_mut(bin) {
                values.push(value);
            }
        }
        let middle = |values: &mut Vec<f32>| if values.len() < 6 { None } else { median(values) };
        let usual: Vec<Option<f64>> = bins.iter_mut().map(middle).collect();
        move |block| {
            let (bin, value) = plain(block)?;
            Some(value - usual.get(bin).copied().flatten()? as f32)
        }
    }

    /// Whether the rollout has made a measure better: by mirror image, for all of its rooms.
    pub fn improved(&self, rollout: &Rollout, measure: usize, now: i64) -> Option<f64> {
        let Cohort { shifts, controlled, .. } = self.cohort(rollout, measure, now, REGULAR)?;
        let mirrored: Vec<f64> = shifts.iter().map(|(_, shift)| -shift).collect();
        let Estimate { center, low } = signed_rank(&mirrored)?;
        (center >= if controlled { 0.6 } else { 0.8 } && low > 0.35).then_some(-center)
    }
}

fn sizes(shifts: &[(usize, f64)]) -> Vec<f64> {
    shifts.iter().map(|(_, shift)| *shift).collect()
}

fn middle(sizes: &[f64]) -> f64 {
    let mut sizes: Vec<f32> = sizes.iter().map(|size| *size as f32).collect();
    median(&mut sizes).unwrap_or(0.0)
}

/// Centre and bound of the shifts of one hardware revision; two or three need rooms to compare with.
fn estimate(sizes: &[f64], controlled: bool) -> Option<Estimate> {
    if sizes.len() >= 4 {
        return signed_rank(sizes);
    }
    let least = sizes.iter().copied().fold(f64::INFINITY, f64::min);
    (sizes.len() >= 2 && controlled).then(|| Estimate { center: middle(sizes), low: least - 0.15 })
}

fn regressed_of(shifts: &[(usize, f64)], size: f64, low: f64, hardware: Option<Vec<String>>) -> Regressed {
    let rooms = shifts.iter().map(|(room, _)| *room).collect();
    let covered = shifts.iter().filter(|(_, shift)| *shift > 0.4).map(|(room, _)| *room).collect();
    Regressed { rooms, size, hardware, covered, low, controlled: false }
}
