//! Load of a media server: how many use it, what load was ever seen, and what a normal busy hour is.

use serde::{Deserialize, Serialize};

use super::{
    evidence::{Evidence, Gauge},
    healthy::LOAD_BINS,
    ring::{Bits, Bytes},
    statistics::quantile,
};

/// Blocks with lessons that a day needs to tell of its busy hours.
const LEAST_BLOCKS: usize = 8;
/// Days of which the busy hours are remembered.
const KEPT_DAYS: usize = 30;
/// Blocks in a bin of load that make it seen.
const SEEN_BLOCKS: u32 = 12;

/// How evidence for too small a service is counted, in blocks with lessons.
pub(super) const CAPACITY: Gauge =
    Gauge { material: 1.0, noise: 0.0, slack: 0.7, most: 4.0, alarm: 3.0, longest: 1.0, step: 0.5, clear: 36 };

/// Load of one media server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Sum and number of the samples of the open block.
    open: (f64, u32),
    /// Means of the learning time, with their blocks.
    learned: Vec<(i64, f32)>,
    /// Load that few blocks of the learning time exceeded; bins are a fourteenth of it.
    reference: Option<f64>,
    /// Bin of each of the last blocks.
    pub bins: Bytes,
    /// Blocks with a load never seen before.
    pub unseen: Bits,
    /// How many blocks fell into each bin, without the last days.
    counts: Vec<u32>,
    /// The same for each of the last days, the oldest first.
    recent: Vec<Vec<u16>>,
    /// Highest bin that was seen.
    highest: u8,
    /// Usual bin by hour class, for when the load is not known.
    usual: Vec<Option<u8>>,
    /// Means of today's blocks with lessons.
    busy: Vec<f32>,
    /// What nine of ten blocks with lessons stayed under, on the last days with lessons.
    busy_days: Vec<f32>,
    /// Mean of the last block whose load was measured.
    pub last: Option<f64>,
    /// Evidence that the service is too small.
    pub evidence: Evidence,
}

impl Load {
    /// Takes in a sample.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() && (0.0..1e12).contains(&value) {
            self.open.0 += value;
            self.open.1 += 1;
        }
    }

    /// Drops the open block.
    pub fn drop_open(&mut self) {
        self.open = (0.0, 0);
    }

    /// Closes a block: its mean load, if it was measured. Keeps its bin and whether it was ever seen.
    pub fn close(&mut self, block: i64, hour: u8, lesson: bool) -> Option<f64> {
        let (sum, n) = std::mem::take(&mut self.open);
        let mean = (n > 0).then(|| sum / f64::from(n));
        if self.counts.is_empty() {
            self.counts = vec![0; LOAD_BINS];
            self.usual = vec![None; 48];
        }
        let usual = self.usual.get(usize::from(hour)).copied().flatten();
        let bin = mean.map(|mean| self.bin(mean)).or(usual).unwrap_or(0);
        self.bins.set(block, bin);
        self.unseen.set(block, mean.is_some() && self.reference.is_some() && bin > self.highest);
        let mean = mean?;
        self.last = Some(mean);
        if let Some(usual) = self.usual.get_mut(usize::from(hour)) {
            *usual = Some(bin);
        }
        if self.reference.is_none() && self.learned.len() < 4096 {
            self.learned.push((block, mean as f32));
        } else if self.reference.is_some() {
            if self.recent.is_empty() {
                self.recent.push(vec![0; LOAD_BINS]);
            }
            if let Some(count) = self.recent.last_mut().and_then(|day| day.get_mut(usize::from(bin))) {
                *count = count.saturating_add(1);
            }
        }
        if lesson {
            self.busy.push(mean as f32);
        }
        Some(mean)
    }

    /// Ends a day; with `learned`, the learning time is over. `seen_after`: days until load counts as
    /// seen.
    pub fn end_day(&mut self, learned: bool, seen_after: usize) {
        if self.busy.len() >= LEAST_BLOCKS
            && let Some(busy) = quantile(&mut self.busy, 0.9)
        {
            if self.busy_days.len() >= KEPT_DAYS {
                self.busy_days.remove(0);
            }
            self.busy_days.push(busy as f32);
        }
        self.busy.clear();
        if self.reference.is_some() {
            self.recent.push(vec![0; LOAD_BINS]);
            while self.recent.len() > seen_after.max(1) {
                for (count, new) in self.counts.iter_mut().zip(self.recent.remove(0)) {
                    *count = count.saturating_add(u32::from(new));
                }
            }
            self.find_highest();
            return;
        }
        if !learned || self.learned.is_empty() {
            return;
        }
        let learned = std::mem::take(&mut self.learned);
        let mut means: Vec<f32> = learned.iter().map(|(_, mean)| *mean).collect();
        self.reference = quantile(&mut means, 0.99).filter(|reference| *reference > 0.0);
        for (block, mean) in learned {
            let bin = self.bin(f64::from(mean));
            self.bins.set(block, bin);
            self.counts[usize::from(bin)] += 1;
        }
        self.find_highest();
    }

    fn find_highest(&mut self) {
        let highest = self.counts.iter().rposition(|count| *count >= SEEN_BLOCKS);
        self.highest = highest.unwrap_or(0) as u8;
    }

    /// The bin of a mean load.
    pub fn bin(&self, mean: f64) -> u8 {
        let Some(reference) = self.reference else { return 0 };
        (mean / (reference / 14.0)).clamp(0.0, (LOAD_BINS - 1) as f64) as u8
    }

    /// Whether the load is known at all.
    pub fn is_known(&self) -> bool {
        self.reference.is_some()
    }

    /// Lowest and highest load of a bin.
    pub fn range(&self, bin: u8) -> Option<(f64, f64)> {
        let width = self.reference? / 14.0;
        Some((f64::from(bin) * width, (f64::from(bin) + 1.0) * width))
    }

    /// What nine of ten of today's blocks with lessons stayed under so far.
    pub fn busy_today(&self) -> Option<f64> {
        if self.busy.len() < LEAST_BLOCKS {
            return None;
        }
        quantile(&mut self.busy.clone(), 0.9)
    }

    /// Load of a normal busy hour: the middle of the last days with lessons.
    pub fn busy_hour(&self) -> Option<f64> {
        if self.busy_days.len() < 5 {
            return None;
        }
        super::statistics::median(&mut self.busy_days.clone())
    }

    /// Whether loaded state has the sizes that this code counts on.
    pub fn is_sound(&self) -> bool {
        (self.counts.is_empty() || self.counts.len() == LOAD_BINS)
            && self.recent.iter().all(|day| day.len() == LOAD_BINS)
    }
}
