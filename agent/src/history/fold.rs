//! A day of one series as half-hours and their sum: one row of some two hundred bytes.
//!
//! ```text
//! row     format 1 · bits of the 48 half-hours · half-hours · n · min · median · p95 · max · CRC-16
//! block   token: bits 0–2 bytes of the value that differ from the one before, bits 3–7 change of n · bytes · [n]
//! n       twice the number of samples, and one more if they are too few to be judged
//! ```

use bellwether_probes::{Family, Scale, Unit};

use super::{
    BLOCK_MS, DAY_MS, PROBE_OK, Sample, Series, day_of,
    pack::{PackError, Reader, Writer},
};

const FORMAT: u8 = 1;
/// In place of a change of n: it follows.
const LONG: u8 = 31;
/// Half-hours of a day.
pub const BLOCKS: usize = 48;

/// A half-hour of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its typical value, see [`Manner`].
    pub value: f32,
    /// How many samples it is of.
    pub n: u32,
    /// Whether they are fewer than two, or than half of those that should be there: not to be judged.
    pub thin: bool,
}

/// The sum of a day, over its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// How many samples.
    pub n: u32,
    /// The least.
    pub min: f32,
    /// The median; of an even number, the mean of the middle two.
    pub median: f32,
    /// The least that 95 % are not above (nearest rank).
    pub p95: f32,
    /// The largest.
    pub max: f32,
}

/// A day of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// Half-hours by their place in the UTC day; at most 48.
    pub blocks: Vec<(u8, Block)>,
    /// The sum of it.
    pub sum: Sum,
}

/// How a half-hour's typical value comes about (`detection.md` §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The median of at least two samples, and of half of those that should be there.
    Median,
    /// Of a share that is mostly zero: the mean without the largest.
    Trimmed,
    /// The median of however few: probes that run once a half-hour at most.
    Heavy,
    /// The mean: how many probes of all came through.
    Mean,
}

impl Manner {
    /// That of a series.
    pub fn of(series: &Series) -> Self {
        if series.metric == PROBE_OK {
            return Self::Mean;
        }
        let Some(spec) = series.known().map(|metric| metric.spec()) else { return Self::Median };
        match (spec.family, spec.unit, spec.scale) {
            (Family::Video | Family::Audio | Family::Sync, ..) => Self::Heavy,
            (Family::Net, Unit::Ratio, Scale::Linear(_)) => Self::Trimmed,
            _ => Self::Median,
        }
    }

    fn typical(self, sorted: &[f64]) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        match (self, sorted) {
            (Self::Trimmed, [kept @ .., _]) if !kept.is_empty() => mean(kept),
            (Self::Mean, _) => mean(sorted),
            _ => median(sorted),
        }
    }
}

/// Folds a day's samples of one series; `None` if none of them has a value to be judged. Samples of other
/// days are left out, and of several of one instant the first counts.
pub fn fold(day: i64, manner: Manner, samples: &[(i64, f64)]) -> Option<Day> {
    let mut samples: Vec<(i64, f64)> =
        samples.iter().filter(|(at, value)| day_of(*at) == day && (*value as f32).is_finite()).copied().collect();
    samples.sort_by_key(|(at, _)| *at);
    samples.dedup_by_key(|(at, _)| *at);
    let expected = expected(&samples);
    let mut blocks = Vec::new();
    for block in samples.chunk_by(|(a, _), (b, _)| a.div_euclid(BLOCK_MS) == b.div_euclid(BLOCK_MS)) {
        let Some((at, _)) = block.first() else { continue };
        let values = sorted(block);
        let n = values.len() as u32;
        let thin = manner != Manner::Heavy && (n < 2 || i64::from(n) * 2 < expected);
        let value = manner.typical(&values) as f32;
        blocks.push(((at.rem_euclid(DAY_MS) / BLOCK_MS) as u8, Block { value, n, thin }));
    }
    let values = sorted(&samples);
    let sum = Sum {
        n: values.len() as u32,
        min: *values.first()? as f32,
        median: median(&values) as f32,
        p95: *values.get((values.len() * 95).div_ceil(100) - 1)? as f32,
        max: *values.last()? as f32,
    };
    Some(Day { blocks, sum })
}

/// The samples that may be judged.
pub fn judged(samples: impl IntoIterator<Item = Sample>) -> impl Iterator<Item = (i64, f64)> {
    samples.into_iter().filter_map(|sample| Some((sample.at, sample.judged()?)))
}

fn sorted(samples: &[(i64, f64)]) -> Vec<f64> {
    let mut values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => below / 2.0 + above / 2.0,
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

/// How many samples a half-hour should have, by the middle distance between those of the day.
fn expected(samples: &[(i64, f64)]) -> i64 {
    let mut gaps: Vec<i64> = samples.windows(2).filter_map(|pair| Some(pair.last()?.0 - pair.first()?.0)).collect();
    if gaps.is_empty() {
        return 0;
    }
    let middle = gaps.len() / 2;
    let usual = (*gaps.select_nth_unstable(middle).1).max(1);
    (BLOCK_MS + usual / 2) / usual
}

/// Packs a day. Half-hours have to be sorted by their place.
pub fn pack(day: &Day) -> Vec<u8> {
    let mut writer = Writer::new(FORMAT);
    let bits = day.blocks.iter().fold(0_u64, |bits, (place, _)| bits | 1 << (place % 48));
    writer.bytes(&bits.to_le_bytes()[..6]);
    let (mut value_before, mut n_before) = (0, 0);
    for (_, block) in &day.blocks {
        let value = block.value.to_bits();
        let bytes = (value ^ value_before).to_be_bytes();
        let differing = bytes.iter().position(|byte| *byte != 0).map_or(0, |first| 4 - first);
        let n = i64::from(block.n) * 2 + i64::from(block.thin);
        let change = n - n_before;
        let short = ((change << 1) ^ (change >> 63)) as u64;
        let token = if short < u64::from(LONG) { short as u8 } else { LONG };
        writer.byte(token << 3 | differing as u8);
        writer.bytes(&bytes[4 - differing..]);
        if token == LONG {
            writer.signed(change);
        }
        (value_before, n_before) = (value, n);
    }
    let Sum { n, min, median, p95, max } = day.sum;
    writer.unsigned(u64::from(n));
    for value in [min, median, p95, max] {
        writer.bytes(&value.to_be_bytes());
    }
    writer.finish()
}

/// The reverse of [`pack`].
///
/// # Errors
/// The bytes are not those that were packed.
pub fn unpack(bytes: &[u8]) -> Result<Day, PackError> {
    let mut reader = Reader::new(bytes, FORMAT)?;
    let mut bits = [0; 8];
    bits[..6].copy_from_slice(reader.bytes(6)?);
    let bits = u64::from_le_bytes(bits);
    let mut blocks = Vec::with_capacity(bits.count_ones() as usize);
    let (mut value, mut n) = (0_u32, 0_i64);
    for place in (0..BLOCKS as u8).filter(|place| bits >> place & 1 == 1) {
        let token = reader.byte()?;
        let differing = usize::from(token & 7);
        let mut bytes = [0; 4];
        let place_of = bytes.get_mut(4_usize.checked_sub(differing).ok_or(PackError::Absurd)?..);
        place_of.ok_or(PackError::Absurd)?.copy_from_slice(reader.bytes(differing)?);
        value ^= u32::from_be_bytes(bytes);
        let change = match token >> 3 {
            LONG => reader.signed()?,
            short => i64::from(short >> 1) ^ -i64::from(short & 1),
        };
        n = n.checked_add(change).ok_or(PackError::Absurd)?;
        let block = Block {
            value: finite(f32::from_bits(value))?,
            n: u32::try_from(n >> 1).map_err(|_| PackError::Absurd)?,
            thin: n & 1 == 1,
        };
        blocks.push((place, block));
    }
    let n = u32::try_from(reader.unsigned()?).map_err(|_| PackError::Absurd)?;
    let mut number = || {
        let bytes = reader.bytes(4)?.first_chunk::<4>().ok_or(PackError::Length)?;
        finite(f32::from_be_bytes(*bytes))
    };
    let sum = Sum { n, min: number()?, median: number()?, p95: number()?, max: number()? };
    reader.finish()?;
    Ok(Day { blocks, sum })
}

fn finite(value: f32) -> Result<f32, PackError> {
    if value.is_finite() { Ok(value) } else { Err(PackError::Absurd) }
}
