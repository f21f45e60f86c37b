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
    /// Time that the first block stands for, and the first after a long silence.
    pub step: f64,
    /// Blocks (or days) of good health, less two for each bad one, that clear an alarm.
    pub clear: u16,
}

/// After a silence of more than so many of the longest times, a block stands for itself alone: what came up in a
/// night without samples is known of since the morning, and a hiccup at that hour is no longer than at another.
const SILENCE: f64 = 3.0;
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
        let since = self.last.map(|last| (now - last) as f64 * hours_per_step);
        let span = match since {
            Some(since) if since <= SILENCE * gauge.longest => since.clamp(0.0, gauge.longest),
            _ => gauge.step,
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

#[cfg(test)]
mod tests {
    use super::*;

    const GAUGE: Gauge =
        Gauge { material: 1.0, noise: 0.0, slack: 0.8, most: 4.0, alarm: 4.0, longest: 1.0, step: 0.5, clear: 36 };

    /// Evidence after health at block 0 and five times what is material at some blocks.
    fn after(blocks: &[i64]) -> Evidence {
        let mut evidence = Evidence::default();
        evidence.step(0.0, 0, 0.5, false, &GAUGE);
        for block in blocks {
            evidence.step(5.0, *block, 0.5, false, &GAUGE);
        }
        evidence
    }

    #[test]
    fn a_hiccup_after_a_night_of_silence_is_a_hiccup() {
        assert!((after(&[20, 21]).sum - 3.2).abs() < 1e-9);
        assert!(!after(&[20, 21]).alarm && after(&[20, 21, 22]).alarm);
        // A half-hour or two that were lost are bridged.
        assert!((after(&[2]).sum - 3.2).abs() < 1e-9 && (after(&[6]).sum - 3.2).abs() < 1e-9);
        assert!((after(&[7]).sum - 1.6).abs() < 1e-9);
    }
}
