//! What a call yielded, as plain data.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::{Call, Heard, Media};
use crate::media::{
    capture::{Capture, Nanos, ReceivedPacket, ReceptionReport, Repairs, Repeat, SenderReport, SentPacket, Stream},
    clock::Clock,
    file,
    rendezvous::Leg,
    socket::{
        datagram::PacketId,
        log::{Report, Says},
    },
};

impl Call<'_> {
    /// Puts together what the call yielded.
    pub(super) fn capture(&self, connected: Nanos, media: Media) -> Capture {
        let Media { start, end, sound, pictures, overshoots, heard, far_side, dropped } = media;
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
        let ours = |ssrc| Stream::ALL.into_iter().find(|stream| self.ssrcs[*stream as usize] == ssrc);
        let theirs: HashMap<u32, Stream> = heard.packets.iter().map(|(id, packet)| (id.ssrc, packet.stream)).collect();
        let reports = self.log.reports();
        let sender_reports = reports.iter().filter_map(|report| sender_report(report, &theirs)).collect();
        let reception_reports =
            reports.iter().filter_map(|report| reception_report(report, ours(report.ssrc)?, self.clock)).collect();
        let mut sent = sound.packets;
        sent.extend(pictures.packets);
        for packet in &mut sent {
            packet.at =
                self.log.sent(PacketId { ssrc: self.ssrcs[packet.stream as usize], sequence: packet.sequence as u16 });
        }
        let repairs = self.repairs(&sent, &heard);
        let [outward, back] = self.checks.each_ref().map(|checks| checks.round_trips());
        let subscribed = self.rendezvous.legs().contains(&Leg::Subscribe);
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
            frame_rate: self.plan.picture.map_or(0.0, |picture| f64::from(picture.frame_rate)),
            sound_only: self.plan.picture.is_none(),
            bounds: self.plan.bounds.clone(),
            sent,
            received,
            frames_sent: pictures.frames,
            frames_received: heard.pictures,
            video_profile: heard.profile,
            frames_decoded: heard.frames,
            markers_sent: sound.markers,
            markers_heard: heard.markers,
            repairs: Some(repairs),
            sender_reports,
            reception_reports,
            far_side,
            round_trips: outward,
            round_trips_downlink: subscribed.then_some(back),
            overshoots,
            clock_drift: self.clock.drift(),
            dropped: left.dropped + dropped,
        }
    }

    /// Which packets were repeated, and which asked for.
    fn repairs(&self, sent: &[SentPacket], heard: &Heard) -> Repairs {
        let resent = sent.iter().filter_map(|packet| {
            let SentPacket { stream, sequence, .. } = *packet;
            let id = PacketId { ssrc: self.ssrcs[stream as usize], sequence: sequence as u16 };
            Some(Repeat {
                stream,
                sequence,
                at: self.log.sent_again(id)?,
                times: self.log.sendings(id).saturating_sub(1),
            })
        });
        let requested = heard.packets.iter().filter_map(|(id, packet)| {
            let ReceivedPacket { stream, sequence, .. } = *packet;
            Some(Repeat { stream, sequence, at: self.log.requested(*id)?, times: 1 })
        });
        Repairs { resent: resent.collect(), requested: requested.collect() }
    }
}

/// What a report on a stream that comes back says.
fn sender_report(report: &Report, theirs: &HashMap<u32, Stream>) -> Option<SenderReport> {
    let Says::Sent { ntp, rtp_time } = report.says else { return None };
    Some(SenderReport { stream: *theirs.get(&report.ssrc)?, at: report.at, ntp, rtp_time })
}

/// What a report on our `stream` says.
fn reception_report(report: &Report, stream: Stream, clock: Clock) -> Option<ReceptionReport> {
    let Says::Received { highest_sequence, total_lost, last_sender_report, delay } = report.says else { return None };
    let (at, ntp) = (report.at, clock.short_ntp(report.at));
    Some(ReceptionReport { stream, at, ntp, highest_sequence, total_lost, last_sender_report, delay })
}
