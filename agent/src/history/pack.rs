//! Samples as few bytes: what one run measured is one row.
//!
//! ```text
//! row      format 1 · number of samples · samples · CRC-16 of all before it
//! sample   series · time after the one before · flags · value · [low · high] · n · [reason]
//! flags    bits 0–3 bytes of the value, 15: none · bit 4 low · bit 5 high · bit 6 a word of validity
//! ```
//! Whole numbers are variable in length, seven bits a byte, signed ones zigzag. Of a number in floating point the
//! trailing zero bytes are left out: shares and counts have many.

use bellwether_probes::{Reason, Validity};
use serde::{Deserialize, de::value::StrDeserializer};

use super::Sample;

/// The first byte of a row.
const FORMAT: u8 = 1;
/// Most samples of a row; what has more is no row of ours.
const MOST: u64 = 100_000;
/// In place of the bytes of a value: there is none.
const NONE: u8 = 15;
const LOW: u8 = 1 << 4;
const HIGH: u8 = 1 << 5;
const WORDS: u8 = 1 << 6;

/// Why bytes cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// They end too early, or go on too long.
    #[error("it has another length than it says")]
    Length,
    /// They were changed.
    #[error("its checksum is another one")]
    Checksum,
    /// They are in a format of another version.
    #[error("it has format {0}")]
    Format(u8),
    /// They hold what nobody writes.
    #[error("it holds what cannot be")]
    Absurd,
}

/// Packs samples with the numbers of their series. `from` is the instant that the row says beside it, in
/// milliseconds.
pub fn pack(from: i64, samples: &[(i64, Sample)]) -> Vec<u8> {
    let mut writer = Writer::new(FORMAT);
    writer.unsigned(samples.len() as u64);
    let (mut series_before, mut at_before) = (0, from);
    for (series, sample) in samples {
        writer.signed(series.wrapping_sub(series_before));
        writer.signed(sample.at.wrapping_sub(at_before));
        (series_before, at_before) = (*series, sample.at);
        let words = sample.validity != Validity::Ok || sample.reason.is_some();
        let value = sample.value.map(significant);
        let mut flags = value.map_or(NONE, |(_, length)| length as u8);
        flags |= if sample.low.is_some() { LOW } else { 0 };
        flags |= if sample.high.is_some() { HIGH } else { 0 };
        flags |= if words { WORDS } else { 0 };
        writer.byte(flags);
        if let Some((bytes, length)) = value {
            writer.bytes(&bytes[..length]);
        }
        for end in [sample.low, sample.high].into_iter().flatten() {
            writer.bytes(&end.to_be_bytes());
        }
        writer.unsigned(sample.n);
        if words {
            writer.byte(match sample.validity {
                Validity::Ok => 0,
                Validity::LowConfidence => 1,
                Validity::Inconclusive => 2,
            });
            let reason = sample.reason.map_or("", Reason::name);
            writer.unsigned(reason.len() as u64);
            writer.bytes(reason.as_bytes());
        }
    }
    writer.finish()
}

/// The reverse of [`pack`].
///
/// # Errors
/// The bytes are not those that were packed.
pub fn unpack(from: i64, bytes: &[u8]) -> Result<Vec<(i64, Sample)>, PackError> {
    let mut reader = Reader::new(bytes, FORMAT)?;
    let count = reader.unsigned()?;
    if count > MOST {
        return Err(PackError::Absurd);
    }
    let mut samples = Vec::with_capacity(count.min(bytes.len() as u64) as usize);
    let (mut series, mut at) = (0_i64, from);
    for _ in 0..count {
        series = series.wrapping_add(reader.signed()?);
        at = at.wrapping_add(reader.signed()?);
        let flags = reader.byte()?;
        let value = match flags & 15 {
            NONE => None,
            length @ 0..=8 => Some(reader.number(usize::from(length))?),
            _ => return Err(PackError::Absurd),
        };
        let mut end = |flag: u8| if flags & flag != 0 { reader.number(8).map(Some) } else { Ok(None) };
        let (low, high) = (end(LOW)?, end(HIGH)?);
        let n = reader.unsigned()?;
        let (mut validity, mut reason) = (Validity::Ok, None);
        if flags & WORDS != 0 {
            validity = match reader.byte()? {
                0 => Validity::Ok,
                1 => Validity::LowConfidence,
                2 => Validity::Inconclusive,
                _ => return Err(PackError::Absurd),
            };
            let length = usize::try_from(reader.unsigned()?).map_err(|_| PackError::Length)?;
            let word = std::str::from_utf8(reader.bytes(length)?).map_err(|_| PackError::Absurd)?;
            reason = if word.is_empty() { None } else { Some(reason_of(word).ok_or(PackError::Absurd)?) };
        }
        samples.push((series, Sample { at, value, n, low, high, validity, reason }));
    }
    reader.finish()?;
    Ok(samples)
}

/// The reason that has this name.
pub(super) fn reason_of(name: &str) -> Option<Reason> {
    Reason::deserialize(StrDeserializer::<serde::de::value::Error>::new(name)).ok()
}

/// The bytes of a number, and how many of them are not trailing zeros.
fn significant(value: f64) -> ([u8; 8], usize) {
    let bytes = value.to_be_bytes();
    (bytes, bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
}

/// Puts bytes one after the other.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(format: u8) -> Self {
        Self(vec![format])
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn unsigned(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.unsigned(((number << 1) ^ (number >> 63)) as u64);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let check = crc(&self.0);
        self.0.extend_from_slice(&check.to_be_bytes());
        self.0.shrink_to_fit();
        self.0
    }
}

/// Takes bytes one after the other.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], format: u8) -> Result<Self, PackError> {
        let (bytes, check) = bytes.split_last_chunk::<2>().ok_or(PackError::Length)?;
        if crc(bytes) != u16::from_be_bytes(*check) {
            return Err(PackError::Checksum);
        }
        match bytes.split_first() {
            Some((first, rest)) if *first == format => Ok(Self(rest)),
            Some((first, _)) => Err(PackError::Format(*first)),
            None => Err(PackError::Length),
        }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], PackError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(PackError::Length)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PackError> {
        let (byte, rest) = self.0.split_first().ok_or(PackError::Length)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, PackError> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(PackError::Absurd)
    }

    pub(super) fn signed(&mut self) -> Result<i64, PackError> {
        let number = self.unsigned()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A number in floating point, of which `length` bytes are there.
    fn number(&mut self, length: usize) -> Result<f64, PackError> {
        let mut whole = [0; 8];
        whole.get_mut(..length).ok_or(PackError::Absurd)?.copy_from_slice(self.bytes(length)?);
        let number = f64::from_be_bytes(whole);
        if number.is_finite() { Ok(number) } else { Err(PackError::Absurd) }
    }

    pub(super) fn finish(self) -> Result<(), PackError> {
        if self.0.is_empty() { Ok(()) } else { Err(PackError::Length) }
    }
}

/// CRC-16/IBM-3740: polynomial 0x1021, begun with 0xffff. Finds every change of up to 16 bits in a row.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        let mut crc = crc ^ (u16::from(*byte) << 8);
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}
