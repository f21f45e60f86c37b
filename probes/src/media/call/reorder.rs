//! Packets back in order: by their sequence number extended beyond 16 bits (RFC 3550 A.1), giving
//! up on a gap when what waits behind it has waited long enough.

use std::collections::BTreeMap;

use crate::media::capture::Nanos;

/// Packets that wait at most; a far end that sends wilder than this loses them.
const MOST: usize = 4096;

/// Extends a sequence number to the value nearest to the newest seen.
#[derive(Debug, Default)]
pub(crate) struct Extender(Option<u64>);

impl Extender {
    /// The extended number of `sequence`. The first one seen stands for itself plus one cycle, so
    /// that earlier ones have room below.
    pub(crate) fn extend(&mut self, sequence: u16) -> u64 {
        const CYCLE: u64 = 1 << 16;
        let Some(newest) = self.0 else {
            let first = CYCLE + u64::from(sequence);
            self.0 = Some(first);
            return first;
        };
        let ahead = sequence.wrapping_sub(newest as u16);
        let extended = if ahead < 0x8000 {
            newest + u64::from(ahead)
        } else {
            newest.saturating_sub(u64::from(ahead.wrapping_neg()))
        };
        self.0 = Some(newest.max(extended));
        extended
    }
}

/// What comes out next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// The packet that was due.
    Packet(T),
    /// The packet that was due did not come in time, nor those up to the next that waits.
    Gap,
}

/// The packets that wait for their turn.
#[derive(Debug)]
pub(crate) struct Reorder<T> {
    patience: Nanos,
    next: Option<u64>,
    waiting: BTreeMap<u64, (Nanos, T)>,
}

impl<T> Reorder<T> {
    /// An empty buffer in which a packet waits at most `patience` for those before it.
    pub(crate) fn new(patience: Nanos) -> Self {
        Self { patience, next: None, waiting: BTreeMap::new() }
    }

    /// Takes a packet that came at `now`. One whose turn is over, or that is there already, is
    /// dropped.
    pub(crate) fn push(&mut self, sequence: u64, now: Nanos, item: T) {
        let next = *self.next.get_or_insert(sequence);
        if sequence >= next && self.waiting.len() < MOST {
            self.waiting.entry(sequence).or_insert((now, item));
        }
    }

    /// What is next at `now`; `None` while it may still come.
    pub(crate) fn pop(&mut self, now: Nanos) -> Option<Next<T>> {
        let next = self.next?;
        let (&first, _) = self.waiting.first_key_value()?;
        if first == next {
            self.next = Some(next + 1);
            return self.waiting.remove(&next).map(|(_, item)| Next::Packet(item));
        }
        let oldest = self.waiting.values().map(|(at, _)| *at).min()?;
        (now - oldest >= self.patience || self.waiting.len() >= MOST).then(|| {
            self.next = Some(first);
            Next::Gap
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_extend_to_the_nearest() {
        let mut extender = Extender::default();
        let seen: Vec<u64> = [65_534, 65_535, 0, 65_533, 1, 32_000].map(|n| extender.extend(n)).into();
        let base = 65_536 + 65_534;
        assert_eq!(seen, [base, base + 1, base + 2, base - 1, base + 3, base + 32_002]);
    }

    fn drain(buffer: &mut Reorder<u64>, now: Nanos) -> Vec<Next<u64>> {
        std::iter::from_fn(|| buffer.pop(now)).collect()
    }

    #[test]
    fn packets_leave_in_order_and_once() {
        let mut buffer = Reorder::new(100);
        for (now, sequence) in [(0, 10), (1, 12), (2, 12)] {
            buffer.push(sequence, now, sequence);
        }
        assert_eq!(drain(&mut buffer, 50), [Next::Packet(10)]);
        buffer.push(11, 60, 11);
        assert_eq!(drain(&mut buffer, 60), [Next::Packet(11), Next::Packet(12)]);
        buffer.push(11, 61, 11);
        assert_eq!(drain(&mut buffer, 1000), [], "its turn is over");
    }

    #[test]
    fn a_gap_is_given_up_by_the_age_of_what_waits_wherever_it_is() {
        let mut buffer = Reorder::new(100);
        buffer.push(1, 0, 1);
        assert_eq!(drain(&mut buffer, 0), [Next::Packet(1)]);
        // The newest comes late; the oldest that waits decides.
        buffer.push(5, 10, 5);
        buffer.push(3, 50, 3);
        assert_eq!(drain(&mut buffer, 109), []);
        assert_eq!(drain(&mut buffer, 110), [Next::Gap, Next::Packet(3), Next::Gap, Next::Packet(5)]);
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut buffer = Reorder::new(Nanos::MAX);
        buffer.push(0, 0, 0);
        drain(&mut buffer, 0);
        for sequence in 2..20_000 {
            buffer.push(sequence, 0, sequence);
        }
        assert!(buffer.waiting.len() <= MOST);
        assert_eq!(buffer.pop(0), Some(Next::Gap), "a full buffer moves on");
    }
}
