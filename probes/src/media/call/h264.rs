//! H.264 in RTP (RFC 6184): access units put together again from packets in order, and what a
//! payload or a unit holds. Nothing here trusts a length it reads.

use xxhash_rust::xxh3::Xxh3;

/// Annex B start code.
const START: [u8; 4] = [0, 0, 0, 1];
/// The largest access unit put together; what is larger is dropped.
pub(super) const MOST_BYTES: usize = 1 << 20;

const IDR: u8 = 5;
const PARAMETERS: u8 = 7;
const SINGLE: std::ops::RangeInclusive<u8> = 1..=23;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

fn kind(header: u8) -> u8 {
    header & 0x1F
}

/// Units of a single-time aggregation packet (§5.7.1), as far as it is well-formed.
fn aggregated(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some(unit)
    })
}

/// Whether a unit is part of a picture: a slice.
fn is_slice(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| (1..=IDR).contains(&kind(*header)))
}

/// Whether a payload is picture data. Parameter sets, delimiters and supplemental information
/// repeat byte for byte, so their hash names no packet.
pub(super) fn is_picture_data(payload: &[u8]) -> bool {
    match payload.first().map(|header| kind(*header)) {
        Some(STAP_A) => aggregated(payload).any(is_slice),
        Some(FU_A) => payload.get(1..).is_some_and(is_slice),
        _ => is_slice(payload),
    }
}

/// Whether a payload holds the first slice of a picture: the one that starts with macroblock 0, which
/// is a single set bit (ITU-T H.264 §7.3.3, `first_mb_in_slice`).
fn begins_picture(payload: &[u8]) -> bool {
    let first = |unit: &[u8]| is_slice(unit) && unit.get(1).is_some_and(|byte| byte & 0x80 != 0);
    match payload.first().map(|header| kind(*header)) {
        Some(STAP_A) => aggregated(payload).find(|unit| is_slice(unit)).is_some_and(first),
        // The start bit.
        Some(FU_A) => payload.get(1..).is_some_and(|unit| unit.first().is_some_and(|s| s & 0x80 != 0) && first(unit)),
        _ => first(payload),
    }
}

/// The units of an Annex B byte stream, without the zeros that may follow them.
fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let split = |bytes: &'_ [u8]| bytes.windows(3).position(|three| three == [0, 0, 1]);
    let mut rest = split(stream).and_then(|place| stream.get(place + 3..));
    std::iter::from_fn(move || {
        let bytes = rest?;
        let place = split(bytes);
        rest = place.and_then(|place| bytes.get(place + 3..));
        let unit = bytes.get(..place.unwrap_or(bytes.len())).unwrap_or_default();
        Some(unit.get(..unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)).unwrap_or_default())
    })
}

/// xxh3-64 of the slices of an access unit, each with its length before it: what a far end that packs
/// anew leaves as it is. Parameter sets, delimiters and supplemental information come and go; without a
/// slice there is no picture.
pub(super) fn picture_hash(stream: &[u8]) -> Option<u64> {
    let mut slices = units(stream).filter(|unit| is_slice(unit)).peekable();
    slices.peek()?;
    let mut hash = Xxh3::new();
    for slice in slices {
        hash.update(&(slice.len() as u64).to_le_bytes());
        hash.update(slice);
    }
    Some(hash.digest())
}

/// The `profile-level-id` (RFC 6184 §8.1) in the parameter sets of an access unit.
pub(super) fn profile(stream: &[u8]) -> Option<String> {
    let set = units(stream).find(|unit| unit.first().is_some_and(|header| kind(*header) == PARAMETERS))?;
    let [profile, constraints, level] = *set.get(1..)?.first_chunk::<3>()?;
    Some(format!("{profile:02x}{constraints:02x}{level:02x}"))
}

/// A whole access unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AccessUnit {
    /// Annex B byte stream.
    pub(super) bytes: Vec<u8>,
    /// Whether it can be decoded without anything before it.
    pub(super) key: bool,
}

/// What a packet did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembled {
    /// The access unit needs more.
    Partial,
    /// It is whole, and so is all it builds on.
    Whole(AccessUnit),
    /// It is whole, but builds on what is missing.
    Stranded(AccessUnit),
    /// It is over, and misses something.
    Useless,
}

/// Puts access units together. After a gap nothing is whole before the next key frame: a decoder
/// would show what was never sent.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    unit: AccessUnit,
    rtp_time: Option<u32>,
    /// Something of the unit at hand is missing.
    broken: bool,
    needs_key: bool,
}

impl Assembler {
    /// An assembler that waits for a key frame.
    pub(super) fn new() -> Self {
        Self { needs_key: true, ..Self::default() }
    }

    /// A packet is missing.
    pub(super) fn gap(&mut self) {
        self.broken = true;
        self.needs_key = true;
    }

    /// The decoder could not go on.
    pub(super) fn decoder_failed(&mut self) {
        self.needs_key = true;
    }

    /// Takes the next packet in order; `last` is its marker bit.
    pub(super) fn push(&mut self, payload: &[u8], rtp_time: u32, last: bool) -> Assembled {
        if self.rtp_time != Some(rtp_time) {
            if self.rtp_time.is_some() {
                // The end of the unit before is missing.
                self.gap();
            }
            self.unit = AccessUnit::default();
            self.rtp_time = Some(rtp_time);
            // If the gap was before the beginning of a unit, nothing of it is missing.
            self.broken &= is_picture_data(payload) && !begins_picture(payload);
        }
        self.broken |= !self.add(payload);
        if !last {
            return Assembled::Partial;
        }
        self.rtp_time = None;
        let unit = std::mem::take(&mut self.unit);
        if std::mem::take(&mut self.broken) || unit.bytes.is_empty() {
            self.needs_key = true;
            return Assembled::Useless;
        }
        self.needs_key &= !unit.key;
        if self.needs_key { Assembled::Stranded(unit) } else { Assembled::Whole(unit) }
    }

    /// Appends what a payload holds; `false` if it is malformed.
    fn add(&mut self, payload: &[u8]) -> bool {
        let Some((&header, rest)) = payload.split_first() else { return false };
        if self.unit.bytes.len() + payload.len() > MOST_BYTES {
            return false;
        }
        match kind(header) {
            FU_A => {
                let Some((&fragment, data)) = rest.split_first() else { return false };
                if fragment & 0x80 != 0 {
                    self.start(header & 0xE0 | kind(fragment));
                }
                self.unit.bytes.extend(data);
            }
            STAP_A => {
                for unit in aggregated(payload) {
                    let Some((&header, rest)) = unit.split_first() else { return false };
                    self.start(header);
                    self.unit.bytes.extend(rest);
                }
            }
            kind if SINGLE.contains(&kind) => {
                self.start(header);
                self.unit.bytes.extend(rest);
            }
            _ => return false,
        }
        true
    }

    fn start(&mut self, header: u8) {
        self.unit.key |= kind(header) == IDR;
        self.unit.bytes.extend(START);
        self.unit.bytes.push(header);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtc::rtp::{codec::h264::H264Payloader, packetizer::Payloader as _};

    use super::*;

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&START[..], unit].concat()).collect()
    }

    fn payloads(units: &[&[u8]]) -> Vec<Bytes> {
        H264Payloader::default().payload(100, &Bytes::from(stream(units))).expect("well-formed")
    }

    fn feed(assembler: &mut Assembler, packets: &[Bytes], rtp_time: u32) -> Assembled {
        let mut result = Assembled::Partial;
        for (i, packet) in packets.iter().enumerate() {
            result = assembler.push(packet, rtp_time, i + 1 == packets.len());
        }
        result
    }

    fn key_frame() -> [Vec<u8>; 3] {
        [vec![0x67, 1, 2, 3], vec![0x68, 4], [vec![0x65], (0..=255).collect()].concat()]
    }

    fn frame() -> Vec<u8> {
        [vec![0x41], (0..=254).rev().collect()].concat()
    }

    #[test]
    fn what_is_packetised_comes_back_as_it_was() {
        let key = key_frame();
        let key: Vec<&[u8]> = key.iter().map(Vec::as_slice).collect();
        let mut assembler = Assembler::new();
        let unit = AccessUnit { bytes: stream(&key), key: true };
        assert_eq!(feed(&mut assembler, &payloads(&key), 1), Assembled::Whole(unit));
        let unit = AccessUnit { bytes: stream(&[&frame()]), key: false };
        assert_eq!(feed(&mut assembler, &payloads(&[&frame()]), 2), Assembled::Whole(unit));
    }

    #[test]
    fn after_a_gap_only_a_key_frame_is_whole() {
        let key = key_frame();
        let key: Vec<&[u8]> = key.iter().map(Vec::as_slice).collect();
        let (key, frame) = (payloads(&key), payloads(&[&frame()]));
        let mut assembler = Assembler::new();
        let stranded = |result| matches!(result, Assembled::Stranded(unit) if !unit.key);
        assert!(stranded(feed(&mut assembler, &frame, 0)), "nothing to build on");
        assert!(matches!(feed(&mut assembler, &key, 1), Assembled::Whole(_)));
        // A middle packet, the last packet, and a whole frame are missing.
        assembler.push(&frame[0], 2, false);
        assembler.gap();
        assert_eq!(assembler.push(&frame[2], 2, true), Assembled::Useless);
        assert!(stranded(feed(&mut assembler, &frame, 3)));
        assert!(matches!(feed(&mut assembler, &key, 4), Assembled::Whole(_)));
        assembler.push(&frame[0], 5, false);
        assert!(stranded(feed(&mut assembler, &frame, 6)), "the one before it misses its end, it misses nothing");
        assembler.gap();
        assert_eq!(feed(&mut assembler, &frame[1..], 6), Assembled::Useless, "it misses its beginning");
        assembler.gap();
        assert!(matches!(feed(&mut assembler, &key, 7), Assembled::Whole(_)), "the gap ends before the key frame");
    }

    #[test]
    fn only_picture_data_names_a_packet() {
        let key = key_frame();
        let key: Vec<&[u8]> = key.iter().map(Vec::as_slice).collect();
        let data: Vec<bool> = payloads(&key).iter().map(|payload| is_picture_data(payload)).collect();
        assert_eq!(data, [false, true, true, true], "parameter sets, then a key frame in three parts");
        for (payload, expected) in [
            (&[0x41, 1][..], true),
            (&[0x09, 0xF0], false),
            (&[0x06, 5], false),
            (&[0x78, 0, 2, 0x41, 1], true),
            (&[0x78, 0, 9, 0x41, 1], false),
            (&[0x7C], false),
            (&[], false),
        ] {
            assert_eq!(is_picture_data(payload), expected, "{payload:?}");
        }
    }

    #[test]
    fn the_first_slice_begins_a_picture_in_whatever_payload() {
        for (payload, begins) in [
            (&[0x41, 0x80][..], true),
            (&[0x41, 0x40], false),
            (&[0x41], false),
            (&[0x67, 0x80], false),
            // Fragments: start of a first slice, of a later one, and a middle.
            (&[0x7C, 0x81, 0x80], true),
            (&[0x7C, 0x81, 0x40], false),
            (&[0x7C, 0x01, 0x80], false),
            (&[0x7C], false),
            // Aggregated: supplemental information before the slice, and no slice.
            (&[0x78, 0, 2, 0x06, 5, 0, 2, 0x41, 0x80], true),
            (&[0x78, 0, 2, 0x06, 0x80, 0, 2, 0x41, 0x40], false),
            (&[0x78, 0, 2, 0x06, 0x80], false),
        ] {
            assert_eq!(begins_picture(payload), begins, "{payload:?}");
        }
    }

    #[test]
    fn a_picture_has_one_hash_however_it_is_packed() {
        let [sps, pps, slice] = key_frame();
        let second: &[u8] = &[0x65, 9, 9, 3];
        let plain = stream(&[&slice, second]);
        // Other start codes, trailing zeros, and units that are no slices.
        let dressed = [
            &[0, 0, 1, 0x09, 0xF0][..],
            &stream(&[&sps, &pps, &[0x06, 5, 1]]),
            &[0, 0, 1],
            &slice,
            &[0, 0, 0, 0, 1],
            second,
            &[0, 0],
        ]
        .concat();
        assert_eq!(picture_hash(&plain), picture_hash(&dressed));
        let moved = stream(&[&[&slice[..], &second[..1]].concat(), &second[1..]]);
        for other in [stream(&[&slice]), stream(&[second, &slice]), moved] {
            assert_ne!(picture_hash(&plain), picture_hash(&other));
        }
        assert_eq!((picture_hash(&stream(&[&sps, &pps])), picture_hash(&[])), (None, None));
        assert_eq!((profile(&dressed), profile(&plain)), (Some("010203".to_owned()), None));
        assert_eq!(profile(&stream(&[&[0x67, 0x42]])), None);
    }

    #[test]
    fn garbage_is_never_whole_and_never_panics() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut assembler = Assembler::new();
        for round in 0..20_000 {
            let payload: Vec<u8> = (0..random.usize(0..12)).map(|_| random.u8(..)).collect();
            assembler.push(&payload, round / 3, random.bool());
        }
        assert_eq!(assembler.push(&[0x78, 0], u32::MAX, true), Assembled::Useless);
    }
}
