//! Evidence in material-hours: how far a level is off, in units of what is material, times how long.
//!
//! A cumulative sum (Page 1954) that leaks: what does not last is forgotten, and what comes and goes
//! for half of the time is found all the same.

use serde::{Deserialize, Serialize};

/// How one kind of evidence is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gauge {
    /// What is material, in transformed units.
    pub material: f64,
    /// Noise that holds evidence back: gate times sigma, in transformed units.
    pub noise: f64,
    /// So much is taken off for every hour (or day).
    pub slack: f64,
    /// The most that one block may count, before the slack.
    pub most: f64,
    /// The alarm, in material-hours (or material-days).
    pub alarm: f64,
    /// Longest time that one block stands for, in hours (or days).
    pub longest: f64,
    /// Time that the first block stands for.
    pub step: f64,
    /// Blocks (or days) of good health, less two for each bad one, that clear an alarm.
    pub clear: u16,
}

/// The least that one block may count.
const LEAST: f64 = -1.5;

/// Evidence against one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Material-hours (or material-days) so far.
    pub sum: f64,
    /// The last block at which there was none.
    pub onset: i64,
    /// The last block that counted.
    pub last: Option<i64>,
    /// Whether there is an alarm.
    pub alarm: bool,
    /// Blocks of good health since, less two for each bad one.
    pub good: u16,
}

/// What a block has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is an alarm now, since the given block.
    Alarm(i64),
    /// The alarm has cleared.
    Clear,
}

impl Evidence {
    /// Takes in a block. `level` is how much worse, in transformed units; `now` and `span` are the
    /// block and the hours (or days) since the last one; with `blind`, what is worse does not count.
    pub fn step(&mut self, level: f64, now: i64, hours_per_step: f64, blind: bool, gauge: &Gauge) -> Option<Turn> {
        let span = match self.last {
            Some(last) => ((now - last) as f64 * hours_per_step).clamp(0.0, gauge.longest),
            None => gauge.step,
        };
        self.last = Some(now);
        let size = level / gauge.material;
        let counted = if size > 0.0 { size.min(level / gauge.noise.max(1e-9)) } else { size };
        let counted = if blind { counted.min(0.0) } else { counted };
        if self.sum <= 0.0 {
            self.onset = now;
        }
        let added = (counted.clamp(LEAST, gauge.most) - gauge.slack) * span;
        self.sum = (self.sum + added).clamp(0.0, 3.0 * gauge.alarm);
        if !self.alarm {
            if self.sum < gauge.alarm {
                return None;
            }
            (self.alarm, self.good) = (true, 0);
            return Some(Turn::Alarm(self.onset));
        }
        self.good = if size < 0.5 { self.good.saturating_add(1) } else { self.good.saturating_sub(2) };
        if self.good < gauge.clear {
            return None;
        }
        (self.alarm, self.sum) = (false, 0.0);
        Some(Turn::Clear)
    }

    /// The clock was set back to `block`: nothing was later than that.
    pub fn set_back(&mut self, block: i64) {
        self.onset = self.onset.min(block);
        self.last = self.last.map(|last| last.min(block));
    }

    /// Silence of a week is not health, and no evidence either: what was counted is void.
    pub fn forget_if_silent(&mut self, now: i64, silence: i64) -> Option<Turn> {
        if self.last.is_none_or(|last| now - last < silence) {
            return None;
        }
        let was = self.alarm;
        *self = Self::default();
        was.then_some(Turn::Clear)
    }
}
