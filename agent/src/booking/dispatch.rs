//! The shell that sends orders: due orders → channels → the loop.
//!
//! ```text
//! due order → outbox::next → begin (durable) → send, or look for it → Settled to the loop
//!           → the loop: store.settle → true on `done`
//! ```
//! Channels run side by side, so that a slow one holds no other; within a channel one order is under
//! way at a time, until its end is durable. A channel whose vendor asked for a pause, or that is locked out,
//! rests as a whole. If that end cannot be written, because the disk is full,
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

use chrono::{DateTime, Utc};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{Id, JoinSet},
    time::{Instant, sleep, timeout},
};

use crate::{
    booking::{
        Order,
        outbox::{self, Step},
    },
    channel::{Channels, Doubt, Outcome},
    store::{Due, Settlement, Store, StoreError},
};

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
    let (time, config, holding) = (clock.clone(), channels.clone(), channels.clone());
    let act = move |due: Due, step: Step| {
        let (channels, now) = (Arc::clone(&channels.borrow()), time());
        async move {
            let Due { order, past } = due;
            match step {
                Step::Probe => channels.probe(&order, &past.link, now).await,
                _ => channels.send(&order, &past.link, now).await,
            }
        }
    };
    let doubt = move |channel: &str| config.borrow().doubt(channel);
    let is_held = move |channel: &str| holding.borrow().held(channel).is_some();
    run_with(store, Courier { act, doubt, is_held }, wake, settled, clock, seed, cancel).await;
}

/// How orders are carried: what the channels do, and what they say of their doubts.
#[derive(Clone)]
struct Courier<A, D, H> {
    /// Sends an order, or looks for it.
    act: A,
    doubt: D,
    /// Whether nothing is sent on a channel for now.
    is_held: H,
}

async fn run_with<A, D, H, F>(
    store: Store,
    courier: Courier<A, D, H>,
    wake: Arc<Notify>,
    settled: mpsc::Sender<Settled>,
    clock: impl Fn() -> DateTime<Utc> + Clone + Send + 'static,
    seed: u64,
    cancel: impl Future<Output = ()>,
) where
    A: Fn(Due, Step) -> F + Clone + Send + 'static,
    D: Fn(&str) -> Doubt + Clone + Send + 'static,
    H: Fn(&str) -> bool + Clone + Send + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut cancel = pin!(cancel);
    let mut running = JoinSet::new();
    let mut busy: HashMap<Id, String> = HashMap::new();
    let mut resting: HashMap<String, Instant> = HashMap::new();
    loop {
        resting.retain(|_, until| *until > Instant::now());
        let pause = match next(&store, clock()).await {
            Ok((mut due, pause)) => {
                due.retain(|due| !(courier.is_held)(&due.order.channel));
                let taken = busy.values().chain(resting.keys()).cloned().collect();
                for due in one_per_channel(due, taken) {
                    let channel = due.order.channel.clone();
                    let carry = carry(store.clone(), courier.clone(), settled.clone(), clock.clone(), seed, due);
                    busy.insert(running.spawn(carry).id(), channel);
                }
                let rest = resting.values().map(|until| until.duration_since(Instant::now())).min();
                rest.map_or(pause, |rest| rest.min(pause))
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
                let (id, rest) = match ended {
                    Ok(ended) => ended,
                    Err(error) => {
                        // Its order stays in flight, and is ambiguous at the next start.
                        tracing::error!(error = %error, "a channel broke off while sending");
                        (error.id(), None)
                    }
                };
                if let (Some(channel), Some(rest)) = (busy.remove(&id), rest) {
                    resting.insert(channel, Instant::now() + rest);
                }
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
async fn next(store: &Store, now: DateTime<Utc>) -> Result<(Vec<Due>, Duration), StoreError> {
    let due = store.due_orders(now).await?;
    let wait = store.next_due(now).await?.and_then(|next| (next - now).to_std().ok());
    Ok((due, wait.map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN))))
}

/// The first order of each channel that is not taken.
fn one_per_channel(due: Vec<Due>, mut taken: HashSet<String>) -> Vec<Due> {
    due.into_iter().filter(|due| taken.insert(due.order.channel.clone())).collect()
}

/// Carries one order and returns once its end is durable; until then the channel is taken. Says how long the
/// channel is to rest.
async fn carry<A, D, H, F>(
    store: Store,
    courier: Courier<A, D, H>,
    settled: mpsc::Sender<Settled>,
    clock: impl Fn() -> DateTime<Utc>,
    seed: u64,
    due: Due,
) -> Option<Duration>
where
    A: Fn(Due, Step) -> F,
    D: Fn(&str) -> Doubt,
    F: Future<Output = Outcome>,
{
    let order = due.order.clone();
    let step = outbox::next((courier.doubt)(&order.channel), &due.past, clock());
    let begun = match step {
        Step::Wait(until) => store.put_off(&order.op_key, until).await.map(|()| None),
        Step::Send | Step::Probe | Step::Ask => store.begin(&order.op_key, step == Step::Send, clock()).await.map(Some),
    };
    let attempt = match begun {
        Ok(Some(attempt)) => attempt,
        Ok(None) => return None,
        Err(error) => {
            // Not durable, so not sent.
            warn("an order cannot be begun", &error);
            sleep(STORE_PAUSE).await;
            return None;
        }
    };
    let outcome = match step {
        Step::Ask => outbox::unknowable(&order.booking_key),
        _ => timeout(SEND_DEADLINE, (courier.act)(due, step))
            .await
            .unwrap_or_else(|_| Outcome::ambiguous(format!("no answer within {} s", SEND_DEADLINE.as_secs()))),
    };
    let settlement = outbox::after(&order.op_key, &outcome, attempt, seed, clock());
    let rest = outbox::rest(&outcome);
    loop {
        let (done, durable) = oneshot::channel();
        let (order, outcome, settlement) = (order.clone(), outcome.clone(), settlement.clone());
        if settled.send(Settled { order, attempt, outcome, settlement, done }).await.is_err() {
            // The loop is gone, so we are stopping: the order is ambiguous at the next start.
            return None;
        }
        if durable.await == Ok(true) {
            return rest;
        }
        sleep(STORE_PAUSE).await;
    }
}

fn warn(what: &str, error: &StoreError) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(error = %error, source, "{what}");
}

#[cfg(test)]
mod tests;
