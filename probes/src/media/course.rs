//! How often each packet was sent, arrived at the far end, was sent back and came back: whether one that came
//! after it had been asked for was late, or its repeat.

use std::collections::HashMap;

use super::capture::{Capture, FarLog, FarPacket, Nanos, Repairs, Repeat, Stream};

/// The course of a packet of ours. If as many came as were sent, none was lost, whoever asked for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course<'a> {
    /// How often it was sent.
    sendings: usize,
    /// What the far end noted of it; `None` if it never arrived there.
    pub(super) far: Option<&'a FarPacket>,
    /// When it was back first; `None` if it never was.
    received: Option<Nanos>,
    /// It was back only after we had asked for it again.
    asked: bool,
    /// How often it came back.
    copies: usize,
}

impl<'a> Course<'a> {
    /// What the far end noted of it, if it arrived there at the first attempt.
    pub(super) fn arrived(&self) -> Option<&'a FarPacket> {
        self.far.filter(|far| !(far.asked && usize::from(far.arrivals) < self.sendings))
    }

    /// When it left the far end, and was back at the first attempt.
    pub(super) fn returned(&self) -> Option<(Nanos, Nanos)> {
        let far = self.far?;
        let received = self.received.filter(|_| !(self.asked && self.copies < usize::from(far.sendings)))?;
        Some((far.left?, received))
    }

    /// Whether it was there and back at the first attempt.
    pub(super) fn is_whole(&self) -> bool {
        self.arrived().is_some() && self.returned().is_some()
    }
}

/// The course of each packet of a stream that is named by its payload alone, by its sequence number, where the
/// far end noted them and passes packets on as they are.
pub(super) fn courses<'a>(capture: &Capture, log: &'a FarLog, stream: Stream) -> HashMap<u64, Course<'a>> {
    let far = log.packets.iter().filter(|packet| packet.stream == stream);
    let far: HashMap<u16, &FarPacket> = far.map(|packet| (packet.sequence, packet)).collect();
    let repeats = |which: fn(&Repairs) -> &Vec<Repeat>| {
        let repeats = capture.repairs.iter().flat_map(which).filter(move |repeat| repeat.stream == stream);
        repeats.map(|repeat| (repeat.sequence, repeat)).collect::<HashMap<u64, &Repeat>>()
    };
    let (resent, requested) = (repeats(|repairs| &repairs.resent), repeats(|repairs| &repairs.requested));
    // How the far end numbers each packet, when it was back first, and how often.
    let mut came: HashMap<u64, (u64, Nanos, usize)> = HashMap::new();
    for packet in capture.received.iter().filter(|packet| packet.stream == stream) {
        let (_, first, copies) = came.entry(packet.hash).or_insert((packet.sequence, packet.at, 0));
        (*first, *copies) = ((*first).min(packet.at), *copies + 1);
    }
    let sent = capture.sent.iter().filter(|packet| packet.stream == stream && packet.unique);
    let course = |sequence, hash| {
        let came = came.get(&hash);
        let asked = came.and_then(|(number, first, _)| Some(*first >= requested.get(number)?.at));
        Course {
            sendings: 1 + resent.get(&sequence).map_or(0, |repeat| usize::from(repeat.times)),
            far: far.get(&(sequence as u16)).copied(),
            received: came.map(|(_, first, _)| *first),
            asked: asked.unwrap_or_default(),
            copies: came.map_or(0, |(.., copies)| *copies),
        }
    };
    sent.map(|packet| (packet.sequence, course(packet.sequence, packet.hash))).collect()
}
