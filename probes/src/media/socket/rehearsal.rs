//! A worse path on purpose: delay and loss of our own outgoing media, to rehearse what the
//! measurement says of it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::net::UdpSocket;

use super::{Log, system};
use crate::media::clock::sleep_until;

/// A datagram on its way to being late.
struct Held {
    due: Instant,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
    dscp: u8,
    log: Option<Arc<Log>>,
}

/// Delays and drops.
pub(crate) struct Impairment {
    delay: Duration,
    loss: f64,
    random: Mutex<fastrand::Rng>,
    line: Option<mpsc::Sender<Held>>,
}

impl Impairment {
    /// Sends media `delay` late and loses the share `loss` of it. The line is a thread of its own:
    /// the runtime's timer counts in milliseconds only.
    pub(crate) fn new(delay: Duration, loss: f64, seed: u64) -> std::io::Result<Self> {
        let line = if delay.is_zero() {
            None
        } else {
            let (line, held) = mpsc::channel();
            thread::Builder::new().name("delay".to_owned()).spawn(move || run(&held, delay))?;
            Some(line)
        };
        Ok(Self { delay, loss, random: Mutex::new(fastrand::Rng::with_seed(seed)), line })
    }

    /// Whether the next packet is to be lost.
    pub(super) fn loses(&self) -> bool {
        self.loss > 0.0 && self.random.lock().unwrap_or_else(PoisonError::into_inner).f64() < self.loss
    }

    /// Takes a datagram that was to leave at `now` marked with `dscp`, and stamps it in `log`; `false`
    /// if there is no delay and the caller sends it.
    pub(super) fn hold(
        &self,
        socket: &Arc<UdpSocket>,
        to: SocketAddr,
        bytes: &[u8],
        dscp: u8,
        log: Option<&Arc<Log>>,
        now: Instant,
    ) -> bool {
        let Some(line) = &self.line else { return false };
        let due = now + self.delay;
        line.send(Held { due, socket: Arc::clone(socket), to, bytes: bytes.to_vec(), dscp, log: log.cloned() }).is_ok()
    }
}

impl fmt::Debug for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Impairment").field("delay", &self.delay).field("loss", &self.loss).finish_non_exhaustive()
    }
}

/// All are delayed alike, so they leave in the order they came. Ends when the call does.
fn run(held: &mpsc::Receiver<Held>, delay: Duration) {
    while let Ok(Held { due, socket, to, bytes, dscp, log }) = held.recv() {
        sleep_until(due);
        // The path is to be worse by `delay`, no more: if a busy processor lets this thread go late,
        // the packet was sent late.
        if let Some(log) = log {
            log.sending(&bytes, log.clock().before(delay));
        }
        if let Err(error) = system::send(&socket, to, &bytes, dscp) {
            tracing::debug!(%error, "a delayed packet was not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_same_seed_loses_the_same_packets_in_about_the_asked_share() {
        let losses = |seed| {
            let impairment = Impairment::new(Duration::ZERO, 0.1, seed).unwrap();
            (0..10_000).map(|_| impairment.loses()).collect::<Vec<_>>()
        };
        assert_eq!(losses(1), losses(1));
        assert_ne!(losses(1), losses(2));
        let lost = losses(1).iter().filter(|lost| **lost).count();
        assert!((900..1100).contains(&lost), "{lost} of 10000");
        assert!(!Impairment::new(Duration::ZERO, 0.0, 1).unwrap().loses());
    }
}
