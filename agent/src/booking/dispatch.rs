//! The shell that sends orders: due orders → channels → the loop.
//!
//! ```text
//! due order → begin (durable) → send → Settled to the loop → the loop: store.settle → true on `done`
//! ```
//! Channels run side by side, so that a slow one holds no other; within a channel one order is under
//! way at a time, until its end is durable. If that end cannot be written, because the disk is full,
//! it is kept and handed over again before anything else is sent on that channel: forgetting it would
//! send the order once more. (The key and the bytes would be the same, so a receiver that honours keys
//! would not book twice; others might.)
//!
//! Nothing is given up: an order is tried until the vendor has it or refuses it.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{Id, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    booking::Order,
    channel::{Channels, Outcome},
    store::{Settlement, Store, StoreError},
};

/// The first wait between two attempts; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait of our own choosing.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// The shortest wait, so that no draw makes a loop of it.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that a vendor can impose on us.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// A channel has a deadline of its own; this one is for a channel that breaks it.
const SEND_DEADLINE: Duration = Duration::from_secs(120);
/// How long a failing store is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How often the orders are looked at without a reason: the clock may have been set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long the orders under way may take when we stop.
const DRAIN: Duration = Duration::from_secs(3);

/// The end of an attempt, for the loop to make durable.
#[derive(Debug)]
pub struct Settled {
    /// The order.
    pub order: Order,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// What the channel said.
    pub outcome: Outcome,
    /// What becomes of the order: to be given to [`Store::settle`].
    pub settlement: Settlement,
    /// To be answered with whether the settlement is durable. If not, or if it is dropped, the same
    /// end is handed over again a little later.
    pub done: oneshot::Sender<bool>,
}

/// Sends due orders until `cancel` is ready, then waits up to 3 s for the ones under way; what is left
/// then becomes ambiguous at the next start. The loop must go on receiving until this returns.
///
/// `wake` is notified after a commit that has orders. `seed` is the room's: it spreads the waits of
/// many boxes. `clock` gives the time that is stored.
pub async fn run(
    store: Store,
    channels: watch::Receiver<Arc<Channels>>,
    wake: Arc<Notify>,
    settled: mpsc::Sender<Settled>,
    clock: impl Fn() -> DateTime<Utc> + Clone + Send + 'static,
    seed: u64,
    cancel: impl Future<Output = ()>,
) {
    let time = clock.clone();
    let send = move |order: Order| {
        let (channels, now) = (Arc::clone(&channels.borrow()), time());
        async move { channels.send(&order, now).await }
    };
    run_with(store, send, wake, settled, clock, seed, cancel).await;
}

async fn run_with<S, F>(
    store: Store,
    send: S,
    wake: Arc<Notify>,
    settled: mpsc::Sender<Settled>,
    clock: impl Fn() -> DateTime<Utc> + Clone + Send + 'static,
    seed: u64,
    cancel: impl Future<Output = ()>,
) where
    S: Fn(Order) -> F + Clone + Send + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut cancel = pin!(cancel);
    let mut running = JoinSet::new();
    let mut busy: HashMap<Id, String> = HashMap::new();
    loop {
        let pause = match next(&store, clock()).await {
            Ok((due, pause)) => {
                let taken: HashSet<_> = busy.values().cloned().collect();
                for order in one_per_channel(due, &taken) {
                    let channel = order.channel.clone();
                    let carry = carry(store.clone(), send.clone(), settled.clone(), clock.clone(), seed, order);
                    busy.insert(running.spawn(carry).id(), channel);
                }
                pause
            }
            Err(error) => {
                warn("the orders cannot be read", &error);
                STORE_PAUSE
            }
        };
        tokio::select! {
            biased;
            () = &mut cancel => break,
            Some(ended) = running.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        // Its order stays in flight, and is ambiguous at the next start.
                        tracing::error!(error = %error, "a channel broke off while sending");
                        error.id()
                    }
                };
                busy.remove(&id);
            }
            () = wake.notified() => {}
            () = sleep(pause) => {}
        }
    }
    let drained = timeout(DRAIN, async { while running.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(orders = running.len(), "stopped while sending: these orders are repeated at the next start");
    }
    running.shutdown().await;
}

/// The orders that are due, and how long to wait if nothing happens.
async fn next(store: &Store, now: DateTime<Utc>) -> Result<(Vec<Order>, Duration), StoreError> {
    let due = store.due_orders(now).await?;
    let wait = store.next_due(now).await?.and_then(|next| (next - now).to_std().ok());
    Ok((due, wait.map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN))))
}

/// The first order of each channel that is not taken.
fn one_per_channel(due: Vec<Order>, taken: &HashSet<String>) -> Vec<Order> {
    let mut taken = taken.clone();
    due.into_iter().filter(|order| taken.insert(order.channel.clone())).collect()
}

/// Sends one order and returns once its end is durable; until then the channel is taken.
async fn carry<S, F>(
    store: Store,
    send: S,
    settled: mpsc::Sender<Settled>,
    clock: impl Fn() -> DateTime<Utc>,
    seed: u64,
    order: Order,
) where
    S: Fn(Order) -> F,
    F: Future<Output = Outcome>,
{
    let attempt = match store.begin(&order.op_key, clock()).await {
        Ok(attempt) => attempt,
        Err(error) => {
            // Not durable, so not sent.
            warn("an order cannot be begun", &error);
            return sleep(STORE_PAUSE).await;
        }
    };
    let outcome = timeout(SEND_DEADLINE, send(order.clone())).await.unwrap_or_else(|_| Outcome::Ambiguous {
        detail: format!("no answer within {} s", SEND_DEADLINE.as_secs()),
        retry_after: None,
    });
    let settlement = after(&order.op_key, &outcome, attempt, seed, clock());
    loop {
        let (done, durable) = oneshot::channel();
        let (order, outcome, settlement) = (order.clone(), outcome.clone(), settlement.clone());
        if settled.send(Settled { order, attempt, outcome, settlement, done }).await.is_err() {
            // The loop is gone, so we are stopping: the order is ambiguous at the next start.
            return;
        }
        if durable.await == Ok(true) {
            return;
        }
        sleep(STORE_PAUSE).await;
    }
}

/// What becomes of an order after attempt number `attempt` (from 1). Pure.
///
/// The wait doubles from 5 s to 15 min, and is drawn between 1 s and that ("full jitter") from the
/// order, the attempt and `seed`, so that many boxes do not come back at once. A vendor's
/// `Retry-After` is the least wait, up to a day.
pub fn after(op_key: &str, outcome: &Outcome, attempt: u32, seed: u64, now: DateTime<Utc>) -> Settlement {
    let retry = |detail: &str, retry_after: Option<Duration>, ambiguous| {
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let wait = backoff(op_key, attempt, seed).max(asked);
        // Both are at most a day.
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        let not_before = now.checked_add_signed(wait).unwrap_or(now);
        Settlement::Retry { not_before, ambiguous, detail: detail.to_owned() }
    };
    match outcome {
        Outcome::Done { remote_id } => Settlement::Done { remote_id: remote_id.clone() },
        Outcome::NotDelivered { detail, retry_after } => retry(detail, *retry_after, false),
        Outcome::Ambiguous { detail, retry_after } => retry(detail, *retry_after, true),
        Outcome::Rejected { detail } => Settlement::Dead { detail: detail.clone() },
    }
}

fn backoff(op_key: &str, attempt: u32, seed: u64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
    let ceiling = doubled.min(LONGEST_WAIT);
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(attempt.to_be_bytes());
    hash.update(op_key.as_bytes());
    let draw = hash.finalize().iter().take(4).fold(0u32, |draw, byte| draw << 8 | u32::from(*byte));
    SHORTEST_WAIT + (ceiling - SHORTEST_WAIT).mul_f64(f64::from(draw) / f64::from(u32::MAX))
}

fn warn(what: &str, error: &StoreError) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(error = %error, source, "{what}");
}

#[cfg(test)]
mod tests;
