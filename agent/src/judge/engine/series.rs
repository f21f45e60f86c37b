//! One series of one room: the open block, four weeks of blocks, the model, the evidence.

use serde::{Deserialize, Serialize};

use super::{
    evidence::Evidence,
    healthy::Healthy,
    local::BLOCK_MS,
    ring::{Bits, Values},
    settings::MetricSettings,
    statistics::median,
};

/// The most samples of one series and block that are kept.
const MOST_SAMPLES: usize = 120;
/// The oldest of three readings of a heavy probe, in blocks.
const OLDEST_READING: i64 = 12;

/// Levels of the half-hours of a local day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Today(Vec<Option<f32>>);

impl Today {
    /// Puts the level of a half-hour of the day.
    pub fn set(&mut self, half_hour: u8, level: f32) {
        if self.0.is_empty() {
            self.0.resize(48, None);
        }
        if let Some(place) = self.0.get_mut(usize::from(half_hour)) {
            *place = level.is_finite().then_some(level);
        }
    }

    /// The level of the day: the lower one of its two halves' medians, so that what is bad for half
    /// a day, such as sunlight, is not taken for lasting. `None` if it was hardly seen. Starts a new day.
    pub fn take(&mut self) -> Option<f64> {
        let levels = std::mem::take(&mut self.0);
        let (morning, afternoon) = levels.split_at(levels.len() / 2);
        let known = |half: &[Option<f32>]| half.iter().copied().flatten().collect::<Vec<f32>>();
        let (mut morning, mut afternoon) = (known(morning), known(afternoon));
        if morning.len() >= 4 && afternoon.len() >= 4 {
            return Some(median(&mut morning)?.min(median(&mut afternoon)?));
        }
        morning.append(&mut afternoon);
        if morning.len() >= 5 { median(&mut morning) } else { None }
    }
}

/// One series of one room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Samples of the open block: seconds into it, value in transformed units.
    open: Vec<(u16, f32)>,
    /// What the open block is to be, whatever its samples: these are gone, and their typical value was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<f32>,
    /// Time of the last sample, in milliseconds.
    last_at: i64,
    /// Middle distances between samples in the last blocks, in seconds.
    gaps: Vec<u16>,
    /// The last readings of a heavy probe, with their blocks.
    readings: Vec<(i64, f32)>,
    /// Blocks of the last four weeks.
    pub values: Values,
    /// Which of them may be learned from.
    pub clean: Bits,
    /// Which of them lie in the warm-up after an upgrade.
    pub warm: Bits,
    /// The first block with a value.
    pub first: Option<i64>,
    /// The model of it in health.
    pub healthy: Healthy,
    /// Evidence by half-hours.
    pub fast: Evidence,
    /// Evidence by days.
    pub slow: Evidence,
    /// Levels of today.
    pub today: Today,
    /// Which of the last blocks were beyond the plain limit, the newest in the lowest bit.
    pub beyond: u16,
    /// How many of the last blocks that tells of, at most twelve.
    pub beyond_of: u8,
    /// Samples in a row beyond the critical limit.
    pub critical: u16,
    /// When the first of them was taken.
    pub critical_since: i64,
}

impl Series {
    /// Takes in a sample of a light probe, or a reading of a heavy one. False if it was there already.
    pub fn add(&mut self, at: i64, block: i64, value: f32, heavy: bool) -> bool {
        if at <= self.last_at && self.last_at != 0 {
            return false;
        }
        self.last_at = at;
        if heavy {
            if self.readings.len() >= 3 {
                self.readings.remove(0);
            }
            self.readings.push((block, value));
            if self.open.is_empty() {
                self.open.push((0, value));
            }
        } else if self.open.len() < MOST_SAMPLES {
            self.open.push(((at.rem_euclid(BLOCK_MS) / 1000) as u16, value));
        }
        true
    }

    /// Later instants than `at`, in `block`, are void: the clock was set back to it.
    pub fn set_back(&mut self, at: i64, block: i64) {
        self.last_at = self.last_at.min(at - 1);
        self.readings.retain(|(read, _)| *read <= block);
        self.first = self.first.map(|first| first.min(block));
        self.critical_since = self.critical_since.min(at);
        self.fast.set_back(block);
        self.slow.set_back(block);
    }

    /// Takes in the typical value that was kept of the open block of a light probe, or a reading of a heavy
    /// one. False if it was there already.
    pub fn put(&mut self, at: i64, block: i64, value: f32, heavy: bool) -> bool {
        let new = self.add(at, block, value, heavy);
        if new && !heavy {
            self.kept = Some(value);
        }
        new
    }

    /// The newest sample of the open block.
    pub fn newest(&self) -> Option<f32> {
        self.open.last().map(|(_, value)| *value)
    }

    /// Drops the open block: its times cannot be trusted.
    pub fn drop_open(&mut self) {
        self.open.clear();
        self.kept = None;
    }

    /// Closes the block and keeps its value.
    pub fn close(&mut self, block: i64, metric: &MetricSettings) -> Option<f32> {
        let kept = self.kept.take();
        let value = if metric.heavy { self.reading(block) } else { kept.or_else(|| self.typical(metric)) };
        self.open.clear();
        self.values.set(block, value.unwrap_or(f32::NAN));
        if value.is_some() && self.first.is_none() {
            self.first = Some(block);
        }
        value
    }

    /// Median of the last three readings, if there was one in this block.
    fn reading(&mut self, block: i64) -> Option<f32> {
        let fresh = !self.open.is_empty() && self.readings.len() == 3;
        if !fresh || block - self.readings[0].0 > OLDEST_READING {
            return None;
        }
        let mut values: Vec<f32> = self.readings.iter().map(|(_, value)| *value).collect();
        median(&mut values).map(|value| value as f32)
    }

    /// The typical value of the open block, if at least half of the samples are there that should be.
    fn typical(&mut self, metric: &MetricSettings) -> Option<f32> {
        let n = self.open.len();
        if n < 2 {
            return None;
        }
        let mut gaps: Vec<u16> = self.open.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).collect();
        let middle = gaps.len() / 2;
        let gap = *gaps.select_nth_unstable(middle).1;
        if self.gaps.len() >= 5 {
            self.gaps.remove(0);
        }
        self.gaps.push(gap.max(1));
        let mut gaps = [0; 5];
        gaps[..self.gaps.len()].copy_from_slice(&self.gaps);
        let gaps = &mut gaps[..self.gaps.len()];
        gaps.sort_unstable();
        let usual = i64::from(gaps[gaps.len() / 2]);
        let expected = (BLOCK_MS / 1000 + usual / 2) / usual;
        if (n as i64) * 2 < expected {
            return None;
        }
        let mut values: Vec<f32> = self.open.iter().map(|(_, value)| *value).collect();
        if metric.share {
            values.sort_unstable_by(f32::total_cmp);
            let kept = &values[..n - 1];
            return Some((kept.iter().map(|value| f64::from(*value)).sum::<f64>() / kept.len() as f64) as f32);
        }
        median(&mut values).map(|value| value as f32)
    }
}

/// What a building or a service has of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    /// Evidence by half-hours.
    pub fast: Evidence,
    /// Evidence by days.
    pub slow: Evidence,
    /// Levels of today.
    pub today: Today,
}

impl Shared {
    /// As [`Series::set_back`].
    pub fn set_back(&mut self, block: i64) {
        self.fast.set_back(block);
        self.slow.set_back(block);
    }
}
