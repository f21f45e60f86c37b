//! Round trips of the connectivity checks of one connection (RFC 8445 §7, RFC 7675).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::datagram::{Datagram, Transaction, classify};
use crate::media::capture::Nanos;

/// Most checks of a call; a call of a minute has some hundred.
const MOST: usize = 100_000;

/// The checks that one connection sent, and their answers.
#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    checks: HashMap<Transaction, Check>,
    round_trips: Vec<f64>,
}

#[derive(Debug)]
enum Check {
    Sent(Nanos),
    /// Sent again, or answered: no later answer can be told apart.
    Spent,
}

impl Checks {
    /// Notes that `bytes` is about to be sent.
    pub(super) fn sending(&self, bytes: &[u8], at: Nanos) {
        let Datagram::BindingRequest(transaction) = classify(bytes) else { return };
        let mut tables = self.tables();
        if tables.checks.len() < MOST {
            tables.checks.entry(transaction).and_modify(|check| *check = Check::Spent).or_insert(Check::Sent(at));
        }
    }

    /// Notes that `bytes` arrived.
    pub(super) fn arrived(&self, bytes: &[u8], at: Nanos) {
        let Datagram::BindingSuccess(transaction) = classify(bytes) else { return };
        let mut tables = self.tables();
        if let Some(check) = tables.checks.get_mut(&transaction)
            && let Check::Sent(sent) = std::mem::replace(check, Check::Spent)
        {
            tables.round_trips.push((at - sent) as f64 / 1e9);
        }
    }

    /// Round trips so far, in seconds.
    pub(crate) fn round_trips(&self) -> Vec<f64> {
        self.tables().round_trips.clone()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(kind: u16, id: u8) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0, 0x21, 0x12, 0xA4, 0x42]);
        bytes.extend([id; 12]);
        bytes
    }

    #[test]
    fn a_round_trip_needs_one_request_and_its_own_answer() {
        let checks = Checks::default();
        checks.sending(&stun(0x0001, 1), 1_000_000);
        checks.sending(&stun(0x0001, 2), 2_000_000);
        checks.sending(&stun(0x0001, 2), 3_000_000);
        checks.arrived(&stun(0x0101, 7), 4_000_000);
        checks.arrived(&stun(0x0101, 2), 5_000_000);
        assert!(checks.round_trips().is_empty(), "an answer to two requests says nothing (Karn)");
        checks.arrived(&stun(0x0101, 1), 6_000_000);
        checks.arrived(&stun(0x0101, 1), 7_000_000);
        let trips: Vec<i64> = checks.round_trips().iter().map(|s| (s * 1e9).round() as i64).collect();
        assert_eq!(trips, [5_000_000]);
    }
}
