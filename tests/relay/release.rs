//! Lets packets go when they are due, to some microseconds on an idle box; how late each was is in the log.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hint,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    line::Out,
    log::{Entry, Outcome},
    plan::Nanos,
};

/// How long before it is due a packet is waited for without sleeping: waking up takes some time.
const SPIN: Nanos = 100_000;
/// How long is slept when nothing is under way.
const IDLE: Duration = Duration::from_secs(1);

/// A packet under way.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) due: Nanos,
    pub(crate) bytes: Vec<u8>,
    /// `None` for what is no RTP.
    pub(crate) entry: Option<Entry>,
}

/// Packets under way, the next one due on top; among equals the one that came first.
#[derive(Debug, Default)]
struct Waiting {
    order: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// By the order of coming.
    packets: Vec<Option<Held>>,
}

impl Waiting {
    fn push(&mut self, held: Held) {
        self.order.push(Reverse((held.due, self.packets.len())));
        self.packets.push(Some(held));
    }

    fn next_due(&self) -> Option<Nanos> {
        self.order.peek().map(|Reverse((due, _))| *due)
    }

    fn pop(&mut self) -> Option<Held> {
        let Reverse((_, number)) = self.order.pop()?;
        self.packets.get_mut(number)?.take()
    }
}

/// Runs until nothing more can come and all has left; what was done to each RTP packet.
pub(crate) fn run(held: &Receiver<Held>, out: &Out) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut waiting = Waiting::default();
    let mut more = true;
    while more || waiting.next_due().is_some() {
        let left = waiting.next_due().map(|due| due - wall());
        match left {
            Some(left) if left <= 0 => {
                if let Some(packet) = waiting.pop() {
                    entries.extend(release(packet, out));
                }
            }
            // Whatever comes now may be due sooner.
            Some(left) if left <= SPIN => {
                if let Ok(packet) = held.try_recv() {
                    note(packet, &mut waiting, &mut entries);
                } else {
                    hint::spin_loop();
                }
            }
            left => {
                let sleep = left.map_or(IDLE, |left| Duration::from_nanos((left - SPIN) as u64));
                match held.recv_timeout(sleep) {
                    Ok(packet) => note(packet, &mut waiting, &mut entries),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        more = false;
                        // What is left is waited for below, without the channel that is gone.
                        std::thread::sleep(left.map_or(Duration::ZERO, |_| sleep));
                    }
                }
            }
        }
    }
    entries
}

/// Takes a packet in; one that is lost is only written down.
fn note(packet: Held, waiting: &mut Waiting, entries: &mut Vec<Entry>) {
    match packet.entry {
        Some(entry) if entry.outcome == Outcome::Lost => entries.push(entry),
        _ => waiting.push(packet),
    }
}

/// Sends a packet. One that the kernel will not take is as good as lost.
fn release(packet: Held, out: &Out) -> Option<Entry> {
    let released = wall();
    let outcome = |entry: &Entry| if out.send(&packet.bytes) { entry.outcome } else { Outcome::Lost };
    match packet.entry {
        Some(entry) => Some(Entry { released, outcome: outcome(&entry), ..entry }),
        None => {
            out.send(&packet.bytes);
            None
        }
    }
}

/// Nanoseconds since 1970.
pub(crate) fn wall() -> Nanos {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as Nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_by_when_they_are_due_and_equals_as_they_came() {
        let mut waiting = Waiting::default();
        for (due, byte) in [(30, 1), (10, 2), (30, 3), (20, 4), (10, 5)] {
            waiting.push(Held { due, bytes: vec![byte], entry: None });
        }
        assert_eq!(waiting.next_due(), Some(10));
        let order: Vec<u8> = std::iter::from_fn(|| waiting.pop()).map(|held| held.bytes[0]).collect();
        assert_eq!(order, [2, 5, 4, 1, 3]);
    }
}
