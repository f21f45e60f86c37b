//! Which half-hours and days are for teaching, as far as the lessons that were announced tell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::local::{BLOCK_MS, Local, block_of};

/// How many days are remembered.
const KEPT_DAYS: i32 = 160;
/// The most lessons of one room that are remembered at a time.
const MOST_LESSONS: usize = 20_000;
/// The longest lesson that is believed, in milliseconds.
const LONGEST: i64 = 24 * 3_600_000;

/// Lessons on site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timetable {
    /// By local day: one bit for each half-hour with a lesson in its middle.
    days: BTreeMap<i32, u64>,
}

impl Timetable {
    /// Takes in a lesson in any room.
    pub fn add(&mut self, lesson: Span, zone: chrono_tz::Tz) {
        let middle = |block: i64| block * BLOCK_MS + BLOCK_MS / 2;
        let mut any = false;
        for block in block_of(lesson.start)..=block_of(lesson.end) {
            if lesson.contains(middle(block)) {
                let local = Local::of(block, zone);
                *self.days.entry(local.day).or_default() |= 1 << local.half_hour;
                any = true;
            }
        }
        if !any {
            // Too short to reach the middle of a half-hour: the day is a day with lessons all the same.
            self.days.entry(Local::at(lesson.start, zone).day).or_default();
        }
    }

    /// Whether there are lessons on that day.
    pub fn teaches(&self, day: i32) -> bool {
        self.days.contains_key(&day)
    }

    /// Whether there is a lesson on site in the middle of that half-hour.
    pub fn in_lesson(&self, local: Local) -> bool {
        self.days.get(&local.day).is_some_and(|bits| bits >> local.half_hour & 1 == 1)
    }

    /// Forgets what is long past.
    pub fn prune(&mut self, today: i32) {
        self.days = self.days.split_off(&(today - KEPT_DAYS));
    }
}

/// A stretch of time, in milliseconds since 1970; the end is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// First instant.
    pub start: i64,
    /// The instant after the last.
    pub end: i64,
}

impl Span {
    /// A stretch that is neither empty nor longer than a day.
    pub fn new(start: i64, end: i64) -> Option<Self> {
        (start < end && end.checked_sub(start)? <= LONGEST).then_some(Self { start, end })
    }

    /// Whether the instant is part of it.
    pub fn contains(self, at: i64) -> bool {
        self.start <= at && at < self.end
    }

    /// How much of it lies between two instants, in milliseconds.
    fn within(self, from: i64, to: i64) -> i64 {
        (self.end.min(to) - self.start.max(from)).max(0)
    }
}

/// Lessons of one room, sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lessons(Vec<Span>);

impl Lessons {
    /// Takes in a lesson.
    pub fn add(&mut self, lesson: Span) {
        if let Err(at) = self.0.binary_search(&lesson)
            && self.0.len() < MOST_LESSONS
        {
            self.0.insert(at, lesson);
        }
    }

    /// Milliseconds of lessons between two instants.
    pub fn between(&self, from: i64, to: i64) -> i64 {
        let first = self.0.partition_point(|lesson| lesson.start < from - LONGEST);
        self.0[first..].iter().take_while(|lesson| lesson.start < to).map(|lesson| lesson.within(from, to)).sum()
    }

    /// Whether a lesson is on, or begins within an hour.
    pub fn near(&self, at: i64) -> bool {
        self.between(at, at + 3_600_000) > 0
    }

    /// Forgets lessons that ended before.
    pub fn prune(&mut self, before: i64) {
        self.0.retain(|lesson| lesson.end >= before);
    }
}
