//! Captures of calls over a path that is known, in virtual time.

use chrono::{DateTime, TimeDelta, Utc};

use super::capture::{
    Capture, DecodedFrame, FarLog, FarPacket, FarSide, HeardMarker, Nanos, Phase, ReceivedFrame, ReceivedPacket,
    ReceptionReport, Repairs, SenderReport, SentFrame, SentMarker, SentPacket, Stream,
};

pub(super) const MS: Nanos = 1_000_000;
pub(super) const SECOND: Nanos = 1_000 * MS;
/// Packets of each frame.
pub(super) const PER_FRAME: u64 = 3;
/// From the capture of a picture until its packets are due: encoding.
const ENCODING: Nanos = 3 * MS;
/// From the completion of a picture until the decoder hands it out.
pub(super) const DECODING: Nanos = 2 * MS;
/// From the first sample of a block until it is due: packetisation.
const PACKETISATION: Nanos = 20 * MS;

/// What the far end adds to RTP time stamps.
const REBASED: u32 = 77_777;

/// Of a far end that received all that was sent until `at`, and 60 ms away.
fn reception_report(sent: &[SentPacket], stream: Stream, at: Nanos) -> ReceptionReport {
    let before = sent.iter().filter(|packet| packet.stream == stream && packet.due <= at);
    ReceptionReport {
        stream,
        at,
        ntp: 3 + 3932,
        highest_sequence: before.map(|packet| packet.sequence as u32).max().unwrap_or_default(),
        total_lost: 0,
        last_sender_report: 1,
        delay: 2,
    }
}

/// Of a far end whose clock says a round number when this call starts, and whose map is that of sending.
fn sender_report(sent: &[SentPacket], stream: Stream) -> Option<SenderReport> {
    let packet = sent.iter().find(|packet| packet.stream == stream)?;
    let parts = (i128::from(packet.at?) << 32) / 1_000_000_000;
    let rtp_time = packet.rtp_time.wrapping_add(REBASED);
    Some(SenderReport { stream, at: SECOND, ntp: (3_900_000_000 << 32) + parts as u64, rtp_time })
}

/// A call of one second of warm-up and `length` seconds of steady sending. `path` gives the delay
/// of each packet, or `None` for one that is lost; audio packets come every 20 ms, video frames of
/// three packets at 30 a second, every sixtieth a key frame.
pub(super) fn call(length: i64, mut path: impl FnMut(&SentPacket) -> Option<Nanos>) -> Capture {
    // Before a picture and a marker are captured, and not at the same instant.
    let media_start = SECOND - PACKETISATION;
    let media_end = media_start + length * SECOND;
    let mut capture = Capture {
        format: 1,
        started_at: DateTime::UNIX_EPOCH,
        ended_at: DateTime::<Utc>::UNIX_EPOCH + TimeDelta::nanoseconds(media_end + SECOND),
        target: "sfu".to_owned(),
        phases: ["signalling", "ice", "dtls"].map(|name| Phase { name: name.to_owned(), seconds: 0.05 }).to_vec(),
        connect_seconds: 0.15,
        first_sound: Some(300 * MS),
        first_frame: Some(400 * MS),
        media_start,
        media_end,
        frame_rate: 30.0,
        sound_only: false,
        bounds: Vec::new(),
        sent: Vec::new(),
        received: Vec::new(),
        frames_sent: Vec::new(),
        frames_received: Vec::new(),
        video_profile: Some("42c01f".to_owned()),
        frames_decoded: Vec::new(),
        markers_sent: Vec::new(),
        markers_heard: Vec::new(),
        repairs: None,
        sender_reports: Vec::new(),
        reception_reports: Vec::new(),
        far_side: None,
        round_trips: vec![0.060; 20],
        round_trips_downlink: None,
        overshoots: vec![MS / 10; 2000],
        clock_drift: 0,
        dropped: 0,
    };
    let mut send = |stream, sequence, rtp_time, due| {
        let hash = sequence * 2 + u64::from(stream == Stream::Video);
        let packet =
            SentPacket { stream, sequence, rtp_time, hash, bytes: 100, unique: true, due, at: Some(due + MS / 10) };
        let arrival = path(&packet).map(|delay| due + MS / 10 + delay);
        if let Some(at) = arrival {
            let sequence = sequence + 5_000;
            let rtp_time = rtp_time.wrapping_add(REBASED);
            let seen = at + MS / 10;
            capture.received.push(ReceivedPacket { stream, sequence, rtp_time, hash, bytes: 100, at, seen });
        }
        capture.sent.push(packet);
        arrival
    };
    for block in 0..(1 + length as u64) * 50 {
        let due = block as Nanos * 20 * MS;
        // The time stamp wraps within the call.
        let rtp_time = (u32::MAX - 100_000).wrapping_add(block as u32 * 960);
        let arrival = send(Stream::Audio, block, rtp_time, due);
        if block % 50 == 0 {
            let marker = SentMarker {
                index: block / 50,
                up: super::signal::sound::is_up(block / 50),
                generated: due - PACKETISATION,
            };
            if let Some(at) = arrival {
                let rtp_time = Some(rtp_time.wrapping_add(REBASED));
                capture.markers_heard.push(HeardMarker { up: marker.up, at, margin_db: 20.0, rtp_time });
            }
            capture.markers_sent.push(marker);
        }
    }
    for counter in 0..(1 + length as u64) * 30 {
        let due = counter as Nanos * SECOND / 30;
        let rtp_time = (u32::MAX - 200_000).wrapping_add(counter as u32 * 3000);
        let parts: Vec<Option<Nanos>> =
            (0..PER_FRAME).map(|part| send(Stream::Video, counter * PER_FRAME + part, rtp_time, due)).collect();
        let hash = 1_000_000 + counter;
        capture.frames_sent.push(SentFrame { counter, captured: due - ENCODING, hash: Some(hash) });
        if let Some(completed) = parts.into_iter().collect::<Option<Vec<_>>>().and_then(|parts| parts.into_iter().max())
        {
            let (rtp_time, key) = (rtp_time.wrapping_add(REBASED), counter % 60 == 0);
            capture.frames_received.push(ReceivedFrame { hash, rtp_time, completed, key });
            capture.frames_decoded.push(DecodedFrame {
                counter,
                at: completed + DECODING,
                completed,
                torn: false,
                rtp_time: Some(rtp_time),
            });
        }
    }
    for second in 1..=length {
        capture
            .reception_reports
            .extend(Stream::ALL.map(|stream| reception_report(&capture.sent, stream, second * SECOND)));
    }
    capture.sender_reports =
        Stream::ALL.into_iter().filter_map(|stream| sender_report(&capture.sent, stream)).collect();
    capture.received.sort_by_key(|packet| packet.at);
    capture.frames_decoded.sort_by_key(|frame| frame.at);
    capture.markers_heard.sort_by_key(|marker| marker.at);
    capture
}

/// What becomes of a packet on its way to a box that reflects: there, how long it stays, and back; `None`
/// where it is lost.
pub(super) type Way = (Option<Nanos>, Nanos, Option<Nanos>);

/// A call to a box that reflects, whose clock is `far` of ours.
pub(super) fn reflected(length: i64, far: impl Fn(Nanos) -> Nanos, mut way: impl FnMut(&SentPacket) -> Way) -> Capture {
    let mut packets = Vec::new();
    let mut capture = call(length, |packet| {
        let ((there, stay, back), sent) = (way(packet), packet.at?);
        let arrived = sent + there?;
        packets.push(FarPacket {
            stream: packet.stream,
            sequence: packet.sequence as u16,
            arrived: far(arrived),
            left: Some(far(arrived + stay)),
            asked: false,
            arrivals: 1,
            sendings: 1,
        });
        Some(arrived + stay + back? - sent)
    });
    capture.target = "reflect".to_owned();
    capture.repairs = Some(Repairs::default());
    capture.far_side = Some(FarSide::Noted(FarLog { packets, ..FarLog::default() }));
    capture
}

/// Numbers of 31 bits from a linear congruential generator, which any language repeats.
pub(super) fn congruential(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

/// The value of the one reading of `metric` with these label values, in any order.
pub(super) fn value(readings: &[crate::Reading], metric: crate::Metric, labels: &[&str]) -> Option<f64> {
    let fits = |reading: &&crate::Reading| {
        reading.metric == metric
            && reading.labels.len() == labels.len()
            && reading.labels.values().all(|value| labels.contains(&value))
    };
    let mut found = readings.iter().filter(fits);
    let value = found.next().map(|reading| reading.value);
    assert!(found.next().is_none(), "{metric} {labels:?} stands twice");
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, path::Path};

    use super::*;
    use crate::media::read_capture;

    /// Sound as it was sent, pictures packed anew: some were lost before that.
    fn repacketised() -> Capture {
        let mut random = congruential(1);
        let mut lost = false;
        let mut capture = call(3, |packet| {
            if packet.stream == Stream::Audio || packet.sequence.is_multiple_of(PER_FRAME) {
                lost = packet.stream == Stream::Video && random() % 100 < 8;
            }
            (!lost).then(|| 60 * MS + random() as Nanos % (4 * MS))
        });
        let video = capture.received.iter_mut().filter(|packet| packet.stream == Stream::Video);
        video.for_each(|packet| packet.hash ^= 1 << 40);
        capture
    }

    /// Nothing as it was sent, and sound 140 ms behind the picture.
    fn transcoded() -> Capture {
        let mut random = congruential(2);
        let mut capture = call(3, |packet| {
            let way = if packet.stream == Stream::Audio { 200 * MS } else { 60 * MS };
            Some(way + random() as Nanos % (8 * MS))
        });
        capture.received.iter_mut().for_each(|packet| packet.hash ^= 1 << 40);
        capture.frames_received.iter_mut().for_each(|frame| frame.hash ^= 1 << 40);
        capture
    }

    /// Losses in bursts, delays that overtake, and copies.
    fn bursty() -> Capture {
        let mut random = congruential(3);
        let mut lost = false;
        let mut capture = call(3, |packet| {
            lost = random() % 100 < if lost { 75 } else { 2 };
            let late = if packet.sequence % 40 == 11 { 25 * MS } else { 0 };
            (!lost).then(|| 60 * MS + late + random() as Nanos % (6 * MS))
        });
        let copy =
            |packet: &ReceivedPacket| ReceivedPacket { at: packet.at + MS, seen: packet.at + MS, ..packet.clone() };
        let copies: Vec<_> = capture.received.iter().step_by(30).map(copy).collect();
        capture.received.extend(copies);
        capture.received.sort_by_key(|packet| packet.at);
        capture
    }

    /// Another box, its clock an hour behind and slower: a queue and losses on the way there, a longer way back.
    fn two_boxes() -> Capture {
        let mut random = congruential(4);
        let behind = |at: Nanos| at - 3_600 * SECOND - at / 50_000;
        reflected(3, behind, |_| {
            let (queue, lost) = (random() as Nanos % (25 * MS), random() % 100);
            let there = (lost >= 4).then_some(2 * MS + queue);
            (there, MS / 10 + random() as Nanos % (MS / 10), (lost < 99).then_some(6 * MS + random() as Nanos % MS))
        })
    }

    /// `BLESS=1` writes them anew; what they say is kept beside them by a test of the program.
    #[test]
    fn stored_captures_of_virtual_time_are_those_made_here() {
        for (name, mut capture) in [
            ("repacketised", repacketised()),
            ("transcoded", transcoded()),
            ("bursty", bursty()),
            ("two_boxes", two_boxes()),
        ] {
            capture.overshoots.truncate(700);
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures").join(format!("{name}.json"));
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, serde_json::to_string(&capture).unwrap()).unwrap();
            }
            assert_eq!(read_capture(&path).unwrap(), capture, "{name}");
        }
    }
}
