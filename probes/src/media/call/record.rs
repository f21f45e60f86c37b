//! What a call yielded, as plain data.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::{Call, Media};
use crate::media::{
    capture::{Capture, Nanos, ReceivedPacket},
    file,
    socket::datagram::PacketId,
};

impl Call<'_> {
    /// Puts together what the call yielded.
    pub(super) fn capture(&self, connected: Nanos, media: Media) -> Capture {
        let Media { start, end, sound, pictures, overshoots, heard, dropped } = media;
        let left = self.log.leftovers();
        let known: HashMap<PacketId, &ReceivedPacket> =
            heard.packets.iter().map(|(id, packet)| (*id, packet)).collect();
        let repeats = left.repeats.iter().filter_map(|(id, at)| {
            let packet = known.get(id)?;
            Some(ReceivedPacket { at: *at, seen: *at, ..(*packet).clone() })
        });
        let mut received: Vec<ReceivedPacket> = repeats.collect();
        received.extend(heard.packets.iter().map(|(_, packet)| packet.clone()));
        received.sort_by_key(|packet| packet.at);
        let mut sent = sound.packets;
        sent.extend(pictures.packets);
        for packet in &mut sent {
            packet.at =
                self.log.sent(PacketId { ssrc: self.ssrcs[packet.stream as usize], sequence: packet.sequence as u16 });
        }
        Capture {
            format: file::FORMAT,
            started_at: self.order.started_at,
            ended_at: self.order.started_at + TimeDelta::nanoseconds(self.clock.now()),
            target: self.order.config.far_end.name().to_owned(),
            phases: self.phases.clone(),
            connect_seconds: connected as f64 / 1e9,
            first_sound: heard.first_sound,
            first_frame: heard.frames.first().map(|frame| frame.at),
            media_start: start,
            media_end: end,
            frame_rate: f64::from(self.order.config.frame_rate),
            sent,
            received,
            frames_sent: pictures.frames,
            frames_decoded: heard.frames,
            markers_sent: sound.markers,
            markers_heard: heard.markers,
            round_trips: self.log.round_trips(),
            overshoots,
            clock_drift: self.clock.drift(),
            dropped: left.dropped + dropped,
        }
    }
}
