//! How far one sound lags behind another that is known, though it is mixed with others: by coherence, over
//! groups of seconds each, along lines of constant drift between both clocks.
//!
//! Speech codecs, cancellers and clocks that drift leave no sound in phase over half a minute, but over some
//! seconds. So each group of blocks gives its own correlation, and only powers are added across groups.

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    scratch::Scratch,
    spectrum::{Transform, decibels},
    take::Line,
};

/// Samples of one block: 0.7 s.
const BLOCK: usize = 1 << 15;
/// Blocks of a group, each half over the one before: 3 s.
const GROUP: usize = 8;
/// Below this root mean square, of full scale, nothing is played that could be told: −50 dBFS.
const SILENCE: f64 = 3.2e-3;
/// What is compared, in hertz.
const BAND: (f64, f64) = (200.0, 6500.0);
/// The strongest drift between two clocks that is looked for, and its step, as ratios.
const DRIFT: (i32, f64) = (50, 5e-6);
/// The same as a ratio.
const MOST_DRIFT: f64 = DRIFT.0 as f64 * DRIFT.1;
/// Samples by which the lag must jump to be a slip: 0.5 ms.
const SLIP: f64 = 24.0;
/// Samples before and after a peak that belong to it: 10 ms, and 100 ms of reflections.
const BESIDE: (usize, usize) = (480, 4800);

/// The correlations of each group, as powers over the lag.
pub(crate) struct Course {
    /// The lag of the first, in samples.
    first: f64,
    /// How many lags.
    lags: usize,
    groups: Vec<Group>,
    /// Blocks in which enough was played.
    pub(crate) blocks: usize,
}

/// Some seconds.
struct Group {
    /// Their middle, in samples of what was played.
    middle: f64,
    /// Power over lag; its mean is 1.
    power: Scratch<f32>,
}

/// Where two sounds agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peak {
    /// The lag in samples at `middle`.
    pub(crate) lag: f64,
    /// The place, in samples of what was played, for which it holds.
    pub(crate) middle: f64,
    /// Samples by which the lag grows a sample.
    pub(crate) drift: f64,
    /// Power of the peak above that of the highest elsewhere, in decibels.
    pub(crate) clearness: f64,
}

impl Peak {
    /// The lag at a place.
    pub(crate) fn lag_at(&self, place: f64) -> f64 {
        self.lag + self.drift * (place - self.middle)
    }
}

impl Course {
    /// Correlates `heard` with what was played. `played` fills a block from a place on, whole samples of the
    /// line on which `heard` stands too; of it are `length` samples. Looked for are `lags` samples from
    /// `earliest` on.
    pub(crate) fn new(
        mut played: impl FnMut(u64, &mut [f64]),
        length: u64,
        heard: &Line<'_>,
        earliest: i64,
        lags: usize,
    ) -> Self {
        let begin = heard.start.floor();
        let part = heard.start - begin;
        let mut course = Self { first: earliest as f64 + part, lags, groups: Vec::new(), blocks: 0 };
        let transform = Transform::new(BLOCK + lags);
        let size = transform.length();
        let window = hann(BLOCK);
        let mut buffer = Scratch::<Complex64>::new(size);
        let mut sums = Sums::new(size / 2 + 1);
        let mut block = Scratch::<f64>::new(BLOCK);
        for place in (0..length.saturating_sub(BLOCK as u64 - 1)).step_by(BLOCK / 2) {
            played(place, &mut block);
            let power = block.iter().map(|x| x * x).sum::<f64>() / BLOCK as f64;
            // What was heard from the earliest lag on; what is beyond its ends is silence.
            let from = place as f64 + earliest as f64 - begin;
            if power.sqrt() < SILENCE || from < 0.0 || from + BLOCK as f64 > heard.samples.len() as f64 {
                continue;
            }
            let from = from as usize;
            let piece = &heard.samples[from..heard.samples.len().min(from + BLOCK + lags)];
            buffer.fill(Complex64::default());
            for ((value, sample), weight) in buffer.iter_mut().zip(block.iter()).zip(&window) {
                value.re = sample * weight;
            }
            for (value, sample) in buffer.iter_mut().zip(piece) {
                value.im = f64::from(*sample) / 32_768.0;
            }
            transform.forward(&mut buffer);
            sums.add(&buffer, place as f64 + BLOCK as f64 / 2.0);
            course.blocks += 1;
            if sums.count == GROUP {
                course.close(&mut sums, &transform, &mut buffer);
            }
        }
        // A rest is a group of its own, unless it is short.
        if sums.count > GROUP / 2 || course.groups.is_empty() {
            course.close(&mut sums, &transform, &mut buffer);
        }
        course
    }

    /// Turns sums into a group.
    fn close(&mut self, sums: &mut Sums, transform: &Transform, buffer: &mut [Complex64]) {
        if sums.count == 0 {
            return;
        }
        let size = transform.length();
        buffer.fill(Complex64::default());
        let bin = |hertz: f64| (hertz / f64::from(RATE) * size as f64) as usize;
        for (bin, value) in buffer.iter_mut().enumerate().take(bin(BAND.1)).skip(bin(BAND.0)) {
            // Weighted by the coherence itself: what only noise has does not drown what both have.
            let both = sums.played[bin] * sums.heard[bin];
            *value = sums.cross[bin] * (sums.cross[bin].norm() / (both + 1e-30));
        }
        transform.inverse(buffer);
        let mut power = Scratch::<f32>::new(self.lags);
        let mean = buffer[..self.lags].iter().map(Complex64::norm_sqr).sum::<f64>() / self.lags as f64;
        for (power, value) in power.iter_mut().zip(buffer.iter()) {
            *power = (value.norm_sqr() / (mean + 1e-30)) as f32;
        }
        self.groups.push(Group { middle: sums.place / sums.count as f64, power });
        sums.clear();
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The best line through the first `count` groups.
    pub(crate) fn peak(&self, count: usize) -> Option<Peak> {
        let groups = &self.groups[..count.min(self.groups.len())];
        let middle = groups.iter().map(|group| group.middle).sum::<f64>() / groups.len().max(1) as f64;
        let steps = if groups.len() > 1 { DRIFT.0 } else { 0 };
        let mut best = vec![(0.0_f32, 0_i32); self.lags];
        let mut sum = Scratch::<f32>::new(self.lags);
        for step in -steps..=steps {
            sum.fill(0.0);
            for group in groups {
                let shift = (f64::from(step) * DRIFT.1 * (group.middle - middle)).round() as i64;
                let (to, from) = (0.max(-shift) as usize, 0.max(shift) as usize);
                let to = &mut sum[to.min(self.lags)..];
                to.iter_mut().zip(&group.power[from.min(self.lags)..]).for_each(|(sum, power)| *sum += power);
            }
            for (best, sum) in best.iter_mut().zip(sum.iter()) {
                if *sum > best.0 {
                    *best = (*sum, step);
                }
            }
        }
        let (at, (power, step)) = best.iter().enumerate().max_by(|a, b| a.1.0.total_cmp(&b.1.0))?;
        let beside = |(lag, _): &(usize, &(f32, i32))| lag + BESIDE.0 < at || *lag > at + BESIDE.1;
        let next = best.iter().enumerate().filter(beside).map(|(_, best)| best.0).fold(0.0, f32::max);
        (*power > 0.0 && next > 0.0).then(|| Peak {
            lag: self.first + at as f64,
            middle,
            drift: f64::from(*step) * DRIFT.1,
            clearness: decibels(f64::from(power / next)),
        })
    }

    /// Whether sound was lost, repeated or shifted between: two groups that follow each other agree on a lag, the
    /// next two on another by more than [`SLIP`], each clear by `gate` decibels, and at the other's lag neither
    /// shows anything as clear. One group between them may hold both. What is less plain is no slip.
    pub(crate) fn slips(&self, gate: f64) -> bool {
        let clear: Vec<(Peak, &Group)> = self
            .groups
            .iter()
            .filter_map(|group| Some((Self::single(self.first, self.lags, group)?, group)))
            .filter(|(peak, _)| peak.clearness >= gate)
            .collect();
        // A drift moves all of them alike; a slip is rarer than every second group.
        let lag = |n: usize| clear[n].0.lag;
        let mut drifts: Vec<f64> = (1..clear.len())
            .map(|n| (lag(n) - lag(n - 1)) / (clear[n].0.middle - clear[n - 1].0.middle).max(1.0))
            .collect();
        drifts.sort_by(f64::total_cmp);
        let Some(drift) = drifts.get(drifts.len() / 2).map(|drift| drift.clamp(-MOST_DRIFT, MOST_DRIFT)) else {
            return false;
        };
        let straight = |n: usize| lag(n) - drift * clear[n].0.middle;
        let agree = |one: usize, other: usize| (straight(one) - straight(other)).abs() <= SLIP / 2.0;
        // How far a group's own peak stands above what it has near the lag of another.
        let apart = |one: usize, other: usize| {
            let there = (straight(other) + drift * clear[one].0.middle - self.first).round() as i64;
            let near = (there - SLIP as i64..=there + SLIP as i64).filter_map(|lag| usize::try_from(lag).ok());
            let most = near.filter_map(|lag| clear[one].1.power.get(lag)).copied().fold(0.0, f32::max);
            let own = clear[one].1.power.iter().copied().fold(0.0, f32::max);
            decibels(f64::from(own / most.max(1e-9))) >= gate
        };
        (1..clear.len()).any(|before| {
            [before + 1, before + 2].into_iter().any(|after| {
                after + 1 < clear.len()
                    && agree(before - 1, before)
                    && agree(after, after + 1)
                    && (straight(before) - straight(after)).abs() > SLIP
                    && apart(before, after)
                    && apart(after, before)
            })
        })
    }

    /// The peak of one group.
    fn single(first: f64, lags: usize, group: &Group) -> Option<Peak> {
        let (at, power) = group.power.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        let beside = |lag: &usize| lag + BESIDE.0 < at || *lag > at + BESIDE.1;
        let next = (0..lags).filter(beside).map(|lag| group.power[lag]).fold(0.0, f32::max);
        let clearness = decibels(f64::from(power / next.max(1e-9)));
        Some(Peak { lag: first + at as f64, middle: group.middle, drift: 0.0, clearness })
    }
}

/// Sums over the blocks of a group.
pub(crate) struct Sums {
    pub(crate) cross: Scratch<Complex64>,
    pub(crate) played: Scratch<f64>,
    pub(crate) heard: Scratch<f64>,
    /// Of the middles of the blocks.
    pub(crate) place: f64,
    pub(crate) count: usize,
}

impl Sums {
    /// Of so many bins.
    pub(crate) fn new(bins: usize) -> Self {
        Self { cross: Scratch::new(bins), played: Scratch::new(bins), heard: Scratch::new(bins), place: 0.0, count: 0 }
    }

    /// Adds a spectrum whose samples held what was played in their real parts, what was heard in the others.
    pub(crate) fn add(&mut self, both: &[Complex64], place: f64) {
        for bin in 0..self.cross.len() {
            let (one, other) = (both[bin], both[(both.len() - bin) % both.len()].conj());
            let (played, heard) = (0.5 * (one + other), Complex64::new(0.0, -0.5) * (one - other));
            self.cross[bin] += played.conj() * heard;
            self.played[bin] += played.norm_sqr();
            self.heard[bin] += heard.norm_sqr();
        }
        self.place += place;
        self.count += 1;
    }

    fn clear(&mut self) {
        self.cross.fill(Complex64::default());
        self.played.fill(0.0);
        self.heard.fill(0.0);
        (self.place, self.count) = (0.0, 0);
    }
}

/// A Hann window.
pub(crate) fn hann(length: usize) -> Vec<f64> {
    let turn = std::f64::consts::TAU / length as f64;
    (0..length).map(|n| 0.5 - 0.5 * (turn * n as f64).cos()).collect()
}
