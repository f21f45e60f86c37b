//! Four weeks of half-hours in constant memory. A place is found by the number of the block; what is
//! older is overwritten.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// How many blocks are kept: 28 days.
pub(super) const KEPT: usize = 28 * 48;

/// The place of a block in a ring.
fn place(block: i64) -> usize {
    block.rem_euclid(KEPT as i64) as usize
}

/// Values of the last [`KEPT`] blocks; a block without a value is no number.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Box<[f32]>);

impl Default for Values {
    fn default() -> Self {
        Self(vec![f32::NAN; KEPT].into_boxed_slice())
    }
}

impl Values {
    /// The value of a block, which must be one of the last [`KEPT`].
    pub fn get(&self, block: i64) -> f32 {
        self.0[place(block)]
    }

    /// Puts the value of a block, over that of four weeks before.
    pub fn set(&mut self, block: i64, value: f32) {
        self.0[place(block)] = value;
    }
}

/// One bit for each of the last [`KEPT`] blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bits(Packed<{ KEPT / 8 }>);

impl Bits {
    /// The bit of a block.
    pub fn get(&self, block: i64) -> bool {
        let at = place(block);
        self.0.0[at / 8] >> (at % 8) & 1 == 1
    }

    /// Sets the bit of a block.
    pub fn set(&mut self, block: i64, bit: bool) {
        let at = place(block);
        if bit {
            self.0.0[at / 8] |= 1 << (at % 8);
        } else {
            self.0.0[at / 8] &= !(1 << (at % 8));
        }
    }
}

/// One small number for each of the last [`KEPT`] blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(Packed<KEPT>);

impl Bytes {
    /// The number of a block.
    pub fn get(&self, block: i64) -> u8 {
        self.0.0[place(block)]
    }

    /// Puts the number of a block.
    pub fn set(&mut self, block: i64, value: u8) {
        self.0.0[place(block)] = value;
    }
}

/// Bytes that are stored as text.
#[derive(Clone, Debug, PartialEq)]
struct Packed<const LENGTH: usize>(Box<[u8]>);

impl<const LENGTH: usize> Default for Packed<LENGTH> {
    fn default() -> Self {
        Self(vec![0; LENGTH].into_boxed_slice())
    }
}

/// Bytes as text, as short as JSON allows.
fn packed(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

fn unpacked<E: Error>(text: &str, length: usize) -> Result<Vec<u8>, E> {
    let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(E::custom)?;
    if bytes.len() == length { Ok(bytes) } else { Err(E::custom("a ring of another length")) }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        packed(&bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = unpacked::<D::Error>(&String::deserialize(deserializer)?, KEPT * 4)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(Self(words.iter().map(|word| f32::from_le_bytes(*word)).collect()))
    }
}

impl<const LENGTH: usize> Serialize for Packed<LENGTH> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        packed(&self.0).serialize(serializer)
    }
}

impl<'de, const LENGTH: usize> Deserialize<'de> for Packed<LENGTH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(unpacked::<D::Error>(&String::deserialize(deserializer)?, LENGTH)?.into_boxed_slice()))
    }
}
