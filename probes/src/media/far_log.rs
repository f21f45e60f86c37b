//! What a box that reflects notes of a call, as it hands it to the caller once: one JSON object, a column
//! a quantity, whole microseconds, each instant as the difference to the one before it. Some 12 bytes a
//! packet.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    capture::{FarLog, FarPacket, Nanos, Stream},
    socket::log::{Passage, Passages},
};

/// Version of the format that is written, and read.
const VERSION: u32 = 1;
/// Packets noted of a call: a minute of sound and a megabit of picture, and more than half as many again.
pub(super) const MOST_PACKETS: usize = 20_000;
/// The longest text that is written, and read: 26 bytes a packet.
pub(super) const MOST_BYTES: usize = 512 << 10;
/// Farthest from the start of a far end's clock, in microseconds: eleven days.
const FARTHEST: i64 = 1_000_000_000_000;
const MICROSECOND: Nanos = 1_000;

/// Why a text is not what a far end noted.
#[derive(Debug, thiserror::Error)]
pub(super) enum FarLogError {
    #[error("it is not the JSON that is expected")]
    Json(#[from] serde_json::Error),
    #[error("found version {0}, expected {VERSION}")]
    Version(u32),
    #[error("the columns of {} are not of one length", .0.name())]
    Columns(Stream),
    #[error("found more than {MOST_PACKETS} packets")]
    TooMany,
    #[error("an instant of {} is farther away than a call can be long", .0.name())]
    Instant(Stream),
}

#[derive(Debug, Serialize, Deserialize)]
struct Wire {
    version: u32,
    unnoted: u64,
    dropped: u64,
    /// In nanoseconds.
    clock_drift: Nanos,
    #[serde(default)]
    audio: Columns,
    #[serde(default)]
    video: Columns,
}

/// The packets of one stream.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Columns {
    /// Numbers, each less the one before, modulo 2¹⁶.
    sequence: Vec<u16>,
    /// Arrivals, each less the one before.
    arrived: Vec<i64>,
    /// How long until it was sent back; none if it never was.
    stayed: Vec<Option<i64>>,
    /// Those that were not merely passed on once: number, whether it came only after it had been asked for
    /// again, how often it came, and how often it was sent back.
    others: Vec<(u16, bool, u16, u16)>,
}

/// Writes what passed of sound and picture; empty if it would be longer than anybody reads.
pub(super) fn write(passages: &Passages, clock_drift: Nanos) -> String {
    let columns = |stream: Stream| passages.packets.get(stream as usize).map_or_else(Columns::default, |it| pack(it));
    let wire = Wire {
        version: VERSION,
        unnoted: passages.unnoted,
        dropped: u64::from(passages.overflow),
        clock_drift,
        audio: columns(Stream::Audio),
        video: columns(Stream::Video),
    };
    let text = serde_json::to_string(&wire).unwrap_or_default();
    if text.len() <= MOST_BYTES { text } else { String::new() }
}

fn pack(packets: &[Passage]) -> Columns {
    let mut columns = Columns::default();
    let (mut number, mut instant) = (0, 0);
    for packet in packets {
        let arrived = whole(packet.arrived);
        columns.sequence.push(packet.sequence.wrapping_sub(number));
        columns.arrived.push(arrived.saturating_sub(instant));
        columns.stayed.push(packet.left.map(|left| whole(left).saturating_sub(arrived)));
        let passed = (packet.asked, packet.arrivals, packet.sendings);
        if passed != once(packet.left) {
            columns.others.push((packet.sequence, passed.0, passed.1, passed.2));
        }
        (number, instant) = (packet.sequence, arrived);
    }
    columns
}

/// How most packets pass: not asked for, arriving once, and sent back once if at all.
fn once(left: Option<i64>) -> (bool, u16, u16) {
    (false, 1, u16::from(left.is_some()))
}

/// Nanoseconds as the nearest whole microseconds.
fn whole(nanos: Nanos) -> i64 {
    nanos.saturating_add(MICROSECOND / 2).div_euclid(MICROSECOND)
}

/// Reads what [`write()`] wrote; `text` is at most [`MOST_BYTES`] long.
pub(super) fn read(text: &str) -> Result<FarLog, FarLogError> {
    let wire: Wire = serde_json::from_str(text)?;
    if wire.version != VERSION {
        return Err(FarLogError::Version(wire.version));
    }
    let mut packets = unpack(Stream::Audio, &wire.audio)?;
    packets.extend(unpack(Stream::Video, &wire.video)?);
    if packets.len() > MOST_PACKETS {
        return Err(FarLogError::TooMany);
    }
    Ok(FarLog { packets, unnoted: wire.unnoted, dropped: wire.dropped, clock_drift: wire.clock_drift })
}

fn unpack(stream: Stream, columns: &Columns) -> Result<Vec<FarPacket>, FarLogError> {
    let n = columns.sequence.len();
    if columns.arrived.len() != n || columns.stayed.len() != n || columns.others.len() > n {
        return Err(FarLogError::Columns(stream));
    }
    let near = |instant: Option<i64>| {
        instant.filter(|it| (-FARTHEST..=FARTHEST).contains(it)).ok_or(FarLogError::Instant(stream))
    };
    let others = columns.others.iter();
    let others: HashMap<u16, _> = others.map(|&(number, asked, came, went)| (number, (asked, came, went))).collect();
    let (mut sequence, mut arrived) = (0_u16, 0_i64);
    let rows = columns.sequence.iter().zip(&columns.arrived).zip(&columns.stayed);
    rows.map(|((number, later), stayed)| {
        sequence = sequence.wrapping_add(*number);
        arrived = near(arrived.checked_add(*later))?;
        let left = stayed.map(|stayed| near(arrived.checked_add(stayed))).transpose()?;
        let (asked, arrivals, sendings) = others.get(&sequence).copied().unwrap_or_else(|| once(left));
        let (arrived, left) = (arrived * MICROSECOND, left.map(|left| left * MICROSECOND));
        Ok(FarPacket { stream, sequence, arrived, left, asked, arrivals, sendings })
    })
    .collect()
}

/// For the fuzz target `far_log`.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz(text: &str) {
    let Ok(log) = read(text) else { return };
    assert!(log.packets.len() <= MOST_PACKETS, "more packets than are read");
    let passages = |stream| {
        let of = log.packets.iter().filter(move |packet| packet.stream == stream);
        of.map(|packet| {
            let &FarPacket { sequence, arrived, left, asked, arrivals, sendings, .. } = packet;
            Passage { sequence, arrived, left, asked, arrivals, sendings }
        })
        .collect()
    };
    let again = Passages {
        packets: Stream::ALL.map(passages).to_vec(),
        unnoted: log.unnoted,
        overflow: u32::try_from(log.dropped).unwrap_or_default(),
    };
    let text = write(&again, log.clock_drift);
    let read_again = (!text.is_empty()).then(|| read(&text)).and_then(Result::ok);
    assert!(read_again.is_none_or(|again| again.packets == log.packets), "what is written is not what was read");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn passage(sequence: u16, arrived: Nanos, stayed: Option<Nanos>) -> Passage {
        let (asked, arrivals, sendings) = once(stayed);
        Passage { sequence, arrived, left: stayed.map(|stayed| arrived + stayed), asked, arrivals, sendings }
    }

    #[test]
    fn what_is_written_is_read_to_the_microsecond() {
        let sound = vec![
            passage(65_534, 7_000_400, Some(85_300)),
            passage(65_535, 27_000_600, Some(-200)),
            Passage { asked: true, arrivals: 3, ..passage(1, 27_100_499, None) },
            Passage { sendings: 2, ..passage(2, 27_200_000, Some(1)) },
            passage(0, 90_000_000_000, Some(3_000_000_000)),
        ];
        let passages = Passages { packets: vec![sound, Vec::new()], unnoted: 3, overflow: 2 };
        let log = read(&write(&passages, -1234)).unwrap();
        assert_eq!((log.unnoted, log.dropped, log.clock_drift), (3, 2, -1234));
        assert_eq!(log.packets.len(), 5);
        for (read, written) in log.packets.iter().zip(&passages.packets[0]) {
            assert_eq!((read.stream, read.sequence), (Stream::Audio, written.sequence));
            let passed = (written.asked, written.arrivals, written.sendings);
            assert_eq!((read.asked, read.arrivals, read.sendings), passed);
            assert!((read.arrived - written.arrived).abs() <= 500, "{read:?} {written:?}");
            assert_eq!(read.left.is_some(), written.left.is_some());
            assert!(read.left.zip(written.left).is_none_or(|(read, written)| (read - written).abs() <= 500));
        }
    }

    #[test]
    fn a_whole_call_is_short_and_what_nobody_would_read_is_not_written() {
        let mut at = 0;
        let mut call = |n: u16, gap: Nanos| -> Vec<Passage> {
            let packet = |sequence| {
                at += gap;
                passage(sequence, at, Some(85_000))
            };
            (0..n).map(packet).collect()
        };
        let most = call(20_000, 4_000_000);
        let text = write(&Passages { packets: vec![Vec::new(), most], unnoted: 0, overflow: 0 }, 0);
        assert!(text.len() < 13 * MOST_PACKETS, "{} bytes", text.len());
        assert_eq!(read(&text).unwrap().packets.len(), MOST_PACKETS);
        let far_apart = call(60_000, 5_000_000_000);
        assert_eq!(write(&Passages { packets: vec![far_apart], unnoted: 0, overflow: 0 }, 0), "");
    }

    #[test]
    fn what_no_far_end_writes_is_refused_with_the_reason() {
        let with = |audio: &str| format!(r#"{{"version":1,"unnoted":0,"dropped":0,"clock_drift":0,"audio":{audio}}}"#);
        let columns = |sequence: &str, arrived: &str, stayed: &str, others: &str| {
            with(&format!(
                r#"{{"sequence":[{sequence}],"arrived":[{arrived}],"stayed":[{stayed}],"others":[{others}]}}"#
            ))
        };
        let many = |what: &str| vec![what; MOST_PACKETS + 1].join(",");
        for (text, expected) in [
            (String::new(), "not the JSON"),
            ("<html>".to_owned(), "not the JSON"),
            ("{}".to_owned(), "not the JSON"),
            (with("[]"), "not the JSON"),
            (columns("65536", "0", "0", ""), "not the JSON"),
            (columns("1.5", "0", "0", ""), "not the JSON"),
            (columns("1", "99999999999999999999", "0", ""), "not the JSON"),
            (with("{}"), "not the JSON"),
            (columns("", "", "", "").replace("\"version\":1", "\"version\":2"), "version 2, expected 1"),
            (columns("1,2", "1", "1", ""), "audio are not of one length"),
            (columns("1", "1", "", ""), "audio are not of one length"),
            (columns("", "", "", "[5,true,1,1]"), "audio are not of one length"),
            (columns("1", "1", "1", "1"), "not the JSON"),
            (columns("1", "1", "1", "[1,true,-1,1]"), "not the JSON"),
            (columns(&many("1"), &many("1"), &many("1"), ""), "more than 20000 packets"),
            (columns("1,1", "9000000000000000000,9000000000000000000", "0,0", ""), "an instant of audio"),
            (columns("1", "1", "-9223372036854775808", ""), "an instant of audio"),
            (columns("1", "1000000000001", "0", ""), "an instant of audio"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} of {text:.80}");
        }
        // A stream that was not sent is left out, and what a newer far end adds is nobody's harm.
        let text = r#"{"version":1,"unnoted":0,"dropped":0,"clock_drift":0,"more":[1]}"#;
        assert_eq!(read(text).unwrap(), FarLog::default());
    }
}
