//! Rounds that the library's loop makes ahead of its timer. What a TURN server relays takes it several:
//! in one it is unwrapped, in the next answered, and in the one after the answer leaves; what a timer makes
//! leaves one round late as well. In between the loop waits for the next timer, up to half a second, and a
//! handshake has several such answers. So where there is such a server, the timer runs out at once for as
//! many rounds (webrtc 0.21.1, `driver.rs`: `poll_writes` comes before `poll_reads`, and asks the TURN
//! client for what it has before handing it more).

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use tokio::task;

/// Rounds after a datagram: its event and its answer, and each may lead to a further one.
const AFTER_ARRIVAL: usize = 4;
/// Rounds after a timer ran out.
const AFTER_TIMER: usize = 2;

/// The rounds of one connection.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    ahead: AtomicUsize,
    /// The task that runs the loop; others wait for their timers.
    task: OnceLock<task::Id>,
}

impl Rounds {
    /// Notes that the loop runs in the task that runs now.
    pub(super) fn run_here(&self) {
        if let Some(id) = task::try_id() {
            self.task.get_or_init(|| id);
        }
    }

    /// Notes that something came which may be answered.
    pub(super) fn arrived(&self) {
        self.ahead.fetch_max(AFTER_ARRIVAL, Ordering::Relaxed);
    }

    /// Notes that a timer of the loop ran out.
    pub(super) fn timed_out(&self) {
        self.ahead.fetch_max(AFTER_TIMER, Ordering::Relaxed);
    }

    /// Whether the loop is what runs now.
    pub(super) fn is_here(&self) -> bool {
        self.task.get().is_some_and(|loops| task::try_id() == Some(*loops))
    }

    /// Takes one round off; `false` if there is none.
    pub(super) fn take(&self) -> bool {
        self.ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ahead| ahead.checked_sub(1)).is_ok()
    }
}
