//! The model of a healthy room: what a series would read at this load, with so many people in the
//! room, at this hour. Learned from the last four weeks of blocks that nothing was wrong with.
//!
//! `value = anchor + by load + by people + by hour + rest`, fitted by backfitting with medians
//! (Tukey's median polish with more than two ways) and a level of its own for every day, so that a
//! change of level is never taken for a shape. A cell without fresh blocks keeps what it knew.

use serde::{Deserialize, Serialize};

use super::statistics::{median, median_deviation};

/// Bins of load.
pub(super) const LOAD_BINS: usize = 40;
/// Bins of people in the room.
pub(super) const PEOPLE_BINS: usize = 4;
/// Hours of a day with lessons, then hours of another day.
pub(super) const HOUR_CLASSES: usize = 48;
/// Daily levels that are kept: 16 weeks.
const LEVELS: usize = 112;
/// Clean blocks that a fit needs.
const LEAST_BLOCKS: usize = 60;

/// The bin of a mean number of people in the room.
pub(super) fn people_bin(people: f64) -> u8 {
    match people {
        p if p < 3.0 => 0,
        p if p < 20.0 => 1,
        p if p < 38.0 => 2,
        _ => 3,
    }
}

/// What a healthy series looks like. All numbers are in transformed units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Healthy {
    /// By bin of load.
    load: Vec<f32>,
    /// Bins of load that were ever fitted.
    seen: u64,
    /// By bin of people in the room; none for an empty room.
    people: [f32; PEOPLE_BINS],
    /// By hour class.
    hour: Vec<f32>,
    /// The level it is held against; `None` until learned.
    pub anchor: Option<f64>,
    /// Noise within a day, from half-hour to half-hour.
    pub within_day: Option<f64>,
    /// Noise from day to day.
    pub between_days: Option<f64>,
    /// Levels of the last days, oldest first.
    levels: Vec<Option<f32>>,
}

impl Default for Healthy {
    fn default() -> Self {
        Self {
            load: vec![0.0; LOAD_BINS],
            seen: 0,
            people: [0.0; PEOPLE_BINS],
            hour: vec![0.0; HOUR_CLASSES],
            anchor: None,
            within_day: None,
            between_days: None,
            levels: Vec::new(),
        }
    }
}

/// Where a block lies: its bins and classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Bin of load.
    pub load: u8,
    /// Bin of people in the room.
    pub people: u8,
    /// Hour class.
    pub hour: u8,
}

/// A block to learn from.
#[derive(Clone, Copy, Debug)]
pub struct Lesson {
    /// Value in transformed units.
    pub value: f32,
    /// Where it lies.
    pub cell: Cell,
    /// Day of the window, from 0.
    pub day: u8,
}

/// Room to work in, used again for every series.
#[derive(Debug, Default)]
pub struct Workshop {
    rest: Vec<f32>,
    sorted: Vec<f32>,
    starts: Vec<usize>,
    medians: Vec<Option<f32>>,
    levels: Vec<Option<f32>>,
}

impl Workshop {
    /// Median of `rest` in each of `groups` groups with at least `least` members.
    fn by_group(&mut self, lessons: &[Lesson], group: impl Fn(&Lesson) -> u8, groups: usize, least: usize) {
        self.starts.clear();
        self.starts.resize(groups + 1, 0);
        for (lesson, rest) in lessons.iter().zip(&self.rest) {
            if !rest.is_nan() {
                self.starts[usize::from(group(lesson)).min(groups - 1) + 1] += 1;
            }
        }
        for at in 0..groups {
            self.starts[at + 1] += self.starts[at];
        }
        self.sorted.clear();
        self.sorted.resize(self.starts[groups], 0.0);
        let mut next = [0_usize; 64];
        let next = &mut next[..groups];
        next.copy_from_slice(&self.starts[..groups]);
        for (lesson, rest) in lessons.iter().zip(&self.rest) {
            if !rest.is_nan() {
                let at = &mut next[usize::from(group(lesson)).min(groups - 1)];
                self.sorted[*at] = *rest;
                *at += 1;
            }
        }
        self.medians.clear();
        for at in 0..groups {
            let members = &mut self.sorted[self.starts[at]..self.starts[at + 1]];
            let enough = members.len() >= least;
            self.medians.push(if enough { median(members).map(|m| m as f32) } else { None });
        }
    }
}

/// How fast the anchor follows the series, as a share of the way per day.
const FOLLOW: f64 = 1.0 / 90.0;

impl Healthy {
    /// What a block in this cell should read; `None` until learned.
    pub fn expected(&self, cell: Cell) -> Option<f64> {
        Some(self.anchor? + f64::from(self.shape(cell)))
    }

    /// The part of it that is not the anchor.
    fn shape(&self, cell: Cell) -> f32 {
        self.by_load(cell.load) + self.people[usize::from(cell.people).min(PEOPLE_BINS - 1)] + self.by_hour(cell.hour)
    }

    /// What a load adds.
    pub fn by_load(&self, bin: u8) -> f32 {
        self.load.get(usize::from(bin)).or(self.load.last()).copied().unwrap_or(0.0)
    }

    /// What an hour adds.
    pub fn by_hour(&self, class: u8) -> f32 {
        self.hour.get(usize::from(class)).copied().unwrap_or(0.0)
    }

    /// Noise of a half-hour; `None` until learned.
    pub fn sigma(&self) -> Option<f64> {
        Some(self.within_day?.hypot(self.between_days?))
    }

    /// Holds the series against another level from now on.
    pub fn accept(&mut self, level: f64) {
        self.anchor = self.anchor.map(|anchor| anchor + level);
    }

    /// Whether loaded state has the sizes that this code counts on.
    pub fn is_sound(&self) -> bool {
        self.load.len() == LOAD_BINS && self.hour.len() == HOUR_CLASSES && self.levels.len() <= LEVELS
    }

    /// Fits the model to `lessons`, which span `days` days of which the last `fresh` are new. With
    /// `first`, everything is set anew from them. Nothing is learned from fewer than 60 blocks.
    pub fn fit(
        &mut self,
        lessons: &[Lesson],
        days: usize,
        fresh: usize,
        first: bool,
        material: f64,
        workshop: &mut Workshop,
    ) {
        if lessons.len() < LEAST_BLOCKS || days == 0 || days > 64 {
            return;
        }
        for round in 0..if first { 4 } else { 1 } {
            self.find_levels(lessons, days, workshop);
            self.find_people(lessons, workshop);
            self.find_load(lessons, workshop);
            self.find_hours(lessons, first && round == 0, workshop);
        }
        self.find_levels(lessons, days, workshop);
        self.find_noise(lessons, workshop);
        self.follow(days, fresh, first, material, workshop);
    }

    /// Level of each day: what is left when the shapes are taken off.
    fn find_levels(&self, lessons: &[Lesson], days: usize, workshop: &mut Workshop) {
        workshop.rest.clear();
        workshop.rest.extend(lessons.iter().map(|lesson| lesson.value - self.shape(lesson.cell)));
        workshop.by_group(lessons, |lesson| lesson.day, days, 6);
        workshop.levels.clone_from(&workshop.medians);
    }

    /// What is left of each block by `left`, less the level of its day; no number on days without one.
    fn rest(lessons: &[Lesson], left: impl Fn(&Lesson) -> f32, workshop: &mut Workshop) {
        workshop.rest.clear();
        for lesson in lessons {
            let level = workshop.levels.get(usize::from(lesson.day)).copied().flatten().unwrap_or(f32::NAN);
            workshop.rest.push(left(lesson) - level);
        }
    }

    fn find_people(&mut self, lessons: &[Lesson], workshop: &mut Workshop) {
        let left = |lesson: &Lesson| lesson.value - self.by_load(lesson.cell.load) - self.by_hour(lesson.cell.hour);
        Self::rest(lessons, left, workshop);
        workshop.by_group(lessons, |lesson| lesson.cell.people, PEOPLE_BINS, 8);
        for (people, median) in self.people.iter_mut().zip(&workshop.medians) {
            *people = median.unwrap_or(*people);
        }
        let empty = self.people[0];
        self.people.iter_mut().for_each(|people| *people -= empty);
    }

    fn find_load(&mut self, lessons: &[Lesson], workshop: &mut Workshop) {
        let people = self.people;
        let left = |lesson: &Lesson| {
            lesson.value - people[usize::from(lesson.cell.people).min(PEOPLE_BINS - 1)] - self.by_hour(lesson.cell.hour)
        };
        Self::rest(lessons, left, workshop);
        workshop.by_group(lessons, |lesson| lesson.cell.load, LOAD_BINS, 6);
        // Fresh bins keep, on the whole, the level they had: stale bins stay comparable with them.
        let known = |bin: usize, seen: u64| seen >> bin & 1 == 1;
        let mut shifts: Vec<f32> = (0..LOAD_BINS)
            .filter(|bin| known(*bin, self.seen))
            .filter_map(|bin| workshop.medians[bin].map(|new| new - self.load[bin]))
            .collect();
        let shift = median(&mut shifts).map(|shift| shift as f32);
        for bin in 0..LOAD_BINS {
            if let Some(new) = workshop.medians[bin] {
                self.load[bin] = new - shift.unwrap_or(0.0);
                self.seen |= 1 << bin;
            }
        }
        self.bridge();
        if shift.is_none() {
            let base = self.load[0];
            self.load.iter_mut().for_each(|load| *load -= base);
        }
    }

    /// Bins without data: between two known ones in proportion, below the lowest as it, and above the
    /// highest by the slope of the last three for at most eight bins.
    fn bridge(&mut self) {
        let mut last: Option<usize> = None;
        for bin in (0..LOAD_BINS).filter(|bin| self.seen >> bin & 1 == 1) {
            let high = self.load[bin];
            match last {
                Some(low) => {
                    let start = self.load[low];
                    for between in low + 1..bin {
                        self.load[between] = start + (high - start) * (between - low) as f32 / (bin - low) as f32;
                    }
                }
                None => self.load[..bin].fill(high),
            }
            last = Some(bin);
        }
        let Some(last) = last else { return };
        let top = self.load[last];
        let slope = if last >= 3 { ((top - self.load[last - 3]) / 3.0).max(0.0) } else { 0.0 };
        for bin in last + 1..LOAD_BINS {
            self.load[bin] = top + slope * (bin - last).min(8) as f32;
        }
    }

    fn find_hours(&mut self, lessons: &[Lesson], anew: bool, workshop: &mut Workshop) {
        let people = self.people;
        let left = |lesson: &Lesson| {
            lesson.value - people[usize::from(lesson.cell.people).min(PEOPLE_BINS - 1)] - self.by_load(lesson.cell.load)
        };
        Self::rest(lessons, left, workshop);
        workshop.by_group(lessons, |lesson| lesson.cell.hour, HOUR_CLASSES, 5);
        let fresh = self.hour.iter().zip(&workshop.medians);
        let mut shifts: Vec<f32> =
            fresh.filter_map(|(old, new)| new.map(|new| if anew { new } else { new - old })).collect();
        let shift = median(&mut shifts).unwrap_or(0.0) as f32;
        for (hour, new) in self.hour.iter_mut().zip(&workshop.medians) {
            *hour = new.map_or(*hour, |new| new - shift);
        }
    }

    fn find_noise(&mut self, lessons: &[Lesson], workshop: &mut Workshop) {
        let left = |lesson: &Lesson| lesson.value - self.shape(lesson.cell);
        Self::rest(lessons, left, workshop);
        let rest = workshop.rest.iter().filter(|rest| !rest.is_nan());
        workshop.sorted.clear();
        workshop.sorted.extend(rest.map(|rest| rest.abs()));
        if workshop.sorted.len() > 20 {
            self.within_day = median(&mut workshop.sorted).map(|median| 1.4826 * median);
        }
    }

    /// Lets the anchor follow, slowly to the worse and twice as fast to the better.
    fn follow(&mut self, days: usize, fresh: usize, first: bool, material: f64, workshop: &Workshop) {
        let mut known: Vec<f32> = workshop.levels.iter().copied().flatten().collect();
        if known.len() < 5 {
            return;
        }
        if first {
            self.levels.clear();
        }
        let new = if first { days } else { fresh.min(days) };
        self.levels.extend_from_slice(&workshop.levels[days - new..]);
        self.levels.drain(..self.levels.len().saturating_sub(LEVELS));
        let mut kept: Vec<f32> = self.levels.iter().copied().flatten().collect();
        if kept.len() >= 5 {
            let center = median(&mut kept.clone()).unwrap_or(0.0);
            self.between_days = median_deviation(&kept, center).map(|deviation| 1.4826 * deviation);
            kept.clear();
        }
        match self.anchor {
            Some(anchor) if !first => {
                let last = known.len().saturating_sub(7);
                let off = median(&mut known[last..]).unwrap_or(anchor) - anchor;
                let pace = if off > 0.0 { FOLLOW } else { 2.0 * FOLLOW };
                self.anchor = Some(anchor + off.clamp(-material, 0.5 * material) * pace * fresh as f64);
            }
            _ => self.anchor = median(&mut known),
        }
    }
}
