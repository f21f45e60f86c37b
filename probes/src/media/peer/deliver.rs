//! Who gets to see RTCP: the application, what comes in, and the log, what is reported and asked for.

use std::sync::Arc;

use rtc::{
    interceptor::{Attribute, Packet, TaggedPacket},
    rtcp::{
        receiver_report::ReceiverReport, sender_report::SenderReport,
        transport_feedbacks::transport_layer_nack::TransportLayerNack,
    },
};

use super::passing::Look;
use crate::media::socket::{Log, datagram::PacketId, log::Says};

/// Lets RTCP through to the application, which otherwise ends at the interceptors: key frame
/// requests are ours to answer. Reports are noted in the log here, where all of them pass: to the
/// application they go by track, and a compound packet whole to that of its first part.
pub(super) struct Deliver(pub(super) Option<Arc<Log>>);

impl Look for Deliver {
    fn incoming(&mut self, packet: &mut TaggedPacket) {
        if let Packet::Rtcp(parts) = &packet.message.packet {
            if let Some(log) = &self.0 {
                parts.iter().for_each(|part| note(log, part.as_ref()));
            }
            packet.message.add(Attribute::DeliverToApplication);
        }
    }
}

/// Nearest to the wire: notes in the log which packets we ask for again, before the request leaves.
pub(super) struct Requests(pub(super) Option<Arc<Log>>);

impl Look for Requests {
    fn outgoing(&mut self, packet: &TaggedPacket) {
        if let (Packet::Rtcp(parts), Some(log)) = (&packet.message.packet, &self.0) {
            parts.iter().for_each(|part| note_requests(log, part.as_ref()));
        }
    }
}

/// Notes what a packet asks for (RFC 4585 §6.2.1).
fn note_requests(log: &Log, packet: &dyn rtc::rtcp::Packet) {
    let Some(request) = packet.as_any().downcast_ref::<TransportLayerNack>() else { return };
    for sequence in request.nacks.iter().flat_map(|pair| pair.packet_list()) {
        log.requesting(PacketId { ssrc: request.media_ssrc, sequence });
    }
}

/// Notes what a packet reports of each stream.
fn note(log: &Log, packet: &dyn rtc::rtcp::Packet) {
    let packet = packet.as_any();
    let blocks = if let Some(report) = packet.downcast_ref::<SenderReport>() {
        log.reported(report.ssrc, Says::Sent { ntp: report.ntp_time, rtp_time: report.rtp_time });
        &report.reports
    } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
        &report.reports
    } else {
        return;
    };
    for block in blocks {
        let says = Says::Received {
            highest_sequence: block.last_sequence_number,
            // 24 bits with a sign.
            total_lost: (block.total_lost << 8).cast_signed() >> 8,
            last_sender_report: block.last_sender_report,
            delay: block.delay,
        };
        log.reported(block.ssrc, says);
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::{
        reception_report::ReceptionReport, transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers,
    };

    use super::*;
    use crate::media::clock::Clock;

    #[test]
    fn sender_and_reception_reports_are_noted_by_stream() {
        let log = Log::new(Clock::start());
        let block = |ssrc, total_lost| ReceptionReport {
            ssrc,
            total_lost,
            last_sequence_number: 70_000,
            last_sender_report: 3,
            delay: 4,
            ..ReceptionReport::default()
        };
        let sender = SenderReport {
            ssrc: 1,
            ntp_time: 5 << 32,
            rtp_time: 6,
            reports: vec![block(2, 7)],
            ..SenderReport::default()
        };
        let receiver = ReceiverReport { ssrc: 9, reports: vec![block(2, 0x00FF_FFFE)], ..ReceiverReport::default() };
        note(&log, &sender);
        note(&log, &receiver);
        let received =
            |total_lost| Says::Received { highest_sequence: 70_000, total_lost, last_sender_report: 3, delay: 4 };
        let noted: Vec<(u32, Says)> = log.reports().iter().map(|report| (report.ssrc, report.says)).collect();
        assert_eq!(noted, [(1, Says::Sent { ntp: 5 << 32, rtp_time: 6 }), (2, received(7)), (2, received(-2))]);
    }

    #[test]
    fn each_packet_that_is_asked_for_is_noted() {
        let log = Log::new(Clock::start());
        let nacks = nack_pairs_from_sequence_numbers(&[65_535, 0, 7]);
        note_requests(&log, &TransportLayerNack { sender_ssrc: 1, media_ssrc: 2, nacks });
        let asked = |ssrc, sequence| log.requested(PacketId { ssrc, sequence }).is_some();
        assert!(asked(2, 65_535) && asked(2, 0) && asked(2, 7));
        assert!(!asked(2, 1) && !asked(1, 7));
    }
}
