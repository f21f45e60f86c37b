//! The clock is tokio's, and it moves only when a test moves it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use chrono::TimeDelta;
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, advance},
};

use super::*;
use crate::{
    booking::{Operation, outbox::Past},
    channel::Class,
    store::{
        OrderState, Record,
        conformance::{at, booking, conclusion, order},
    },
};

fn not_delivered() -> Outcome {
    Outcome::NotDelivered { detail: "refused".to_owned(), retry_after: None }
}

fn done() -> Outcome {
    Outcome::done(None)
}

fn clock(start: Instant) -> impl Fn() -> DateTime<Utc> + Clone + Send + 'static {
    move || at(100) + TimeDelta::from_std(start.elapsed()).unwrap()
}

struct Bench {
    _folder: TempDir,
    store: Store,
    start: Instant,
    wake: Arc<Notify>,
    settled: mpsc::Receiver<Settled>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// Keeps the clock from moving by itself while the database, a thread of its own, is at work.
    _still: std::sync::mpsc::Sender<()>,
}

/// A dispatcher at work on these orders; there is a booking `b` in any case.
async fn bench<S, F>(orders: &[Order], send: S) -> Bench
where
    S: Fn(Order) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    bench_with(orders, |_, _| send).await
}

async fn bench_with<S, F>(orders: &[Order], send: impl FnOnce(Store, Instant) -> S) -> Bench
where
    S: Fn(Order) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    bench_of(orders, |store, start| sending(send(store, start))).await
}

/// A courier that can but send, by keys.
#[allow(clippy::type_complexity, reason = "what it is does not matter")]
fn sending<S, F>(
    send: S,
) -> Courier<impl Fn(Due, Step) -> F + Clone, impl Fn(&str) -> Doubt + Clone, impl Fn(&str) -> bool + Clone>
where
    S: Fn(Order) -> F + Clone,
{
    let doubt = |_: &str| doubt(Class::Keyed);
    Courier { act: move |due: Due, _| send(due.order), doubt, is_held: |channel: &str| channel == "held" }
}

fn doubt(class: Class) -> Doubt {
    Doubt { class, settles_within: Duration::from_secs(60) }
}

async fn bench_of<A, D, H, F>(orders: &[Order], courier: impl FnOnce(Store, Instant) -> Courier<A, D, H>) -> Bench
where
    A: Fn(Due, Step) -> F + Clone + Send + Sync + 'static,
    D: Fn(&str) -> Doubt + Clone + Send + Sync + 'static,
    H: Fn(&str) -> bool + Clone + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    let (still, moving) = std::sync::mpsc::channel();
    tokio::task::spawn_blocking(move || moving.recv());
    let folder = tempfile::tempdir().unwrap();
    let (store, memory) = Store::open(&folder.path().join("bellwether.db"), at(0), "ledger").await.unwrap();
    let keys: std::collections::BTreeSet<_> = orders.iter().map(|order| order.booking_key.as_str()).collect();
    let bookings: Vec<_> = keys.into_iter().chain(["b"]).map(booking).collect();
    store.commit("first", &conclusion(&memory, &bookings, orders), Record::default(), at(10)).await.unwrap();
    let (wake, start) = (Arc::new(Notify::new()), Instant::now());
    let (sender, settled) = mpsc::channel(4);
    let (stop, stopped) = oneshot::channel();
    let cancel = async {
        let _ = stopped.await;
    };
    let courier = courier(store.clone(), start);
    let task = tokio::spawn(run_with(store.clone(), courier, Arc::clone(&wake), sender, clock(start), 7, cancel));
    Bench { _folder: folder, store, start, wake, settled, stop, task, _still: still }
}

impl Bench {
    /// The next end, or `None` once nothing happens any more at this instant.
    async fn at_once(&mut self) -> Option<Settled> {
        for _ in 0..10 {
            // The store takes its jobs in turn, so this returns after what was asked before.
            self.store.order_counts().await.unwrap();
            tokio::task::yield_now().await;
            if let Ok(event) = self.settled.try_recv() {
                return Some(event);
            }
        }
        None
    }

    /// The next end; the clock moves on until there is one.
    async fn event(&mut self) -> Settled {
        for _ in 0..1000 {
            match self.at_once().await {
                Some(event) => return event,
                None => advance(Duration::from_secs(1)).await,
            }
        }
        panic!("nothing happened for 1000 s");
    }

    /// What the loop does with an end: makes it durable and says so.
    async fn take(&self, event: Settled) {
        let now = clock(self.start)();
        self.store.settle(&event.order.op_key, &event.settlement, None, now).await.unwrap();
        event.done.send(true).unwrap();
    }

    /// Takes the next end. Returns order and attempt.
    async fn settle(&mut self) -> (String, u32) {
        let event = self.event().await;
        let result = (event.order.op_key.clone(), event.attempt);
        self.take(event).await;
        result
    }

    async fn states(&self) -> Vec<OrderState> {
        self.store.orders_of("b").await.unwrap().into_iter().map(|record| record.state).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_is_sent_in_its_order_and_the_same_bytes_again() {
    let orders = [order("b", 1, "folder", Operation::Open), order("b", 2, "folder", Operation::Cancel)];
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    let mut bench = bench(&orders, move |order: Order| {
        let mut log = log.lock().unwrap();
        log.push(order);
        let outcome = match log.len() {
            1 => not_delivered(),
            2 => Outcome::Ambiguous { detail: "cut off".to_owned(), retry_after: None },
            _ => done(),
        };
        async { outcome }
    })
    .await;
    for expected in [("b.1", 1), ("b.1", 2), ("b.1", 3), ("b.2", 1)] {
        let (key, attempt) = bench.settle().await;
        assert_eq!((key.as_str(), attempt), expected);
    }
    let [open, cancel] = orders;
    assert_eq!(*sent.lock().unwrap(), [open.clone(), open.clone(), open, cancel]);
    assert_eq!(bench.states().await, [OrderState::Done, OrderState::Done]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_durable_before_its_first_byte_and_not_before_its_time() {
    let orders = [order("b", 1, "folder", Operation::Open)];
    let send = |store: Store, start| {
        move |order: Order| {
            let store = store.clone();
            async move {
                let record = store.orders_of(&order.booking_key).await.unwrap().remove(0);
                assert_eq!(record.state, OrderState::Inflight);
                assert!(record.not_before <= clock(start)(), "sent too early");
                not_delivered()
            }
        }
    };
    let mut bench = bench_with(&orders, send).await;
    let mut event = bench.event().await;
    for attempt in 1..=6 {
        assert_eq!((event.attempt, &event.outcome), (attempt, &not_delivered()));
        let Settlement::Retry { not_before, .. } = event.settlement else { panic!("{:?}", event.settlement) };
        bench.take(event).await;
        for _ in 0..(not_before - clock(bench.start)()).num_seconds() {
            assert!(bench.at_once().await.is_none(), "too early");
            advance(Duration::from_secs(1)).await;
        }
        // The rest of the last second, and one more for what is rounded.
        advance(Duration::from_secs(2)).await;
        event = bench.at_once().await.expect("sent when its time has come");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_channel_holds_no_other_and_has_one_order_under_way() {
    let mut orders = vec![order("b", 1, "hook", Operation::Open), order("b", 2, "folder", Operation::Open)];
    orders.extend(["c", "d", "e"].map(|key| order(key, 3, "folder", Operation::Open)));
    let under_way = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&under_way);
    let mut bench = bench(&orders, move |order: Order| {
        let count = Arc::clone(&count);
        async move {
            if order.channel == "hook" {
                std::future::pending::<()>().await;
            }
            assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two at once");
            sleep(Duration::from_secs(5)).await;
            count.fetch_sub(1, Ordering::SeqCst);
            done()
        }
    })
    .await;
    for expected in ["b.2", "c.3", "d.3", "e.3"] {
        assert_eq!(bench.settle().await.0, expected);
    }
    // The outer deadline ends even a channel that has none.
    let event = bench.event().await;
    assert_eq!(event.outcome, Outcome::Ambiguous { detail: "no answer within 120 s".to_owned(), retry_after: None });
    assert!(matches!(event.settlement, Settlement::Retry { ambiguous: true, .. }));
    assert!(bench.start.elapsed() <= SEND_DEADLINE + Duration::from_secs(2), "{:?}", bench.start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_durable_is_handed_over_again_and_nothing_is_sent_meanwhile() {
    let orders = [order("b", 1, "folder", Operation::Open), order("b", 2, "folder", Operation::Cancel)];
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let mut bench = bench(&orders, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { done() }
    })
    .await;
    for round in 0..4 {
        let event = bench.event().await;
        assert_eq!((event.order.op_key.as_str(), event.attempt, &event.outcome), ("b.1", 1, &done()));
        // The loop says no, or forgets to answer.
        if round % 2 == 0 {
            event.done.send(false).unwrap()
        } else {
            drop(event.done)
        }
        bench.wake.notify_one();
        assert_eq!(sent.load(Ordering::SeqCst), 1);
    }
    assert_eq!(bench.settle().await.0, "b.1");
    assert_eq!(bench.settle().await.0, "b.2");
    assert_eq!(sent.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_order_is_sent_when_woken() {
    let mut bench = bench(&[], |_| async { done() }).await;
    let memory = bench.store.memory().await.unwrap();
    let orders = [order("b", 1, "folder", Operation::Open)];
    bench.store.commit("second", &conclusion(&memory, &[], &orders), Record::default(), at(20)).await.unwrap();
    assert!(bench.at_once().await.is_none(), "not seen yet");
    bench.wake.notify_one();
    let event = bench.at_once().await.expect("seen when woken");
    assert_eq!(event.order, orders[0]);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_begun_is_not_sent() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let bench = bench(&[], move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { done() }
    })
    .await;
    bench.store.close().await;
    let lost = order("b", 1, "folder", Operation::Open);
    let send = {
        let sent = Arc::clone(&sent);
        move |_| {
            sent.fetch_add(1, Ordering::SeqCst);
            async { done() }
        }
    };
    let (sender, mut settled) = mpsc::channel(1);
    let lost = Due { order: lost, past: Past::default() };
    let carry = carry(bench.store.clone(), sending(send), sender, clock(bench.start), 7, lost);
    let (_, ()) = tokio::join!(timeout(Duration::from_secs(6), carry), advance(Duration::from_secs(10)));
    assert!(settled.recv().await.is_none());
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    assert!(bench.store.failures() > 0, "counted");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_under_way_but_not_for_long() {
    for (takes, settled) in [(Duration::from_secs(2), true), (Duration::from_secs(60), false)] {
        let (started, mut starts) = mpsc::unbounded_channel();
        let orders = [order("b", 1, "folder", Operation::Open), order("b", 2, "folder", Operation::Cancel)];
        let mut bench = bench(&orders, move |_| {
            started.send(()).unwrap();
            async move {
                sleep(takes).await;
                done()
            }
        })
        .await;
        assert!(bench.at_once().await.is_none());
        starts.try_recv().unwrap();
        let (stop, _) = oneshot::channel();
        std::mem::replace(&mut bench.stop, stop).send(()).unwrap();
        let mut seconds = 0;
        while !bench.task.is_finished() {
            if let Some(event) = bench.at_once().await {
                bench.take(event).await;
            } else {
                advance(Duration::from_secs(1)).await;
                seconds += 1;
            }
        }
        assert!(seconds <= 4, "{seconds} s");
        assert!(starts.try_recv().is_err(), "nothing else is sent");
        let first = if settled { OrderState::Done } else { OrderState::Inflight };
        assert_eq!(bench.states().await, [first, OrderState::Pending]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_may_have_arrived_is_missed_twice_before_it_is_sent_again() {
    let orders = [order("b", 1, "desk", Operation::Open)];
    let steps = Arc::new(Mutex::new(Vec::new()));
    let courier = |_, start| {
        let log = Arc::clone(&steps);
        let act = move |due: Due, step: Step| {
            let mut log = log.lock().unwrap();
            let sent_at = due.past.sent_at.map(|at| (at - clock(start)()).num_seconds());
            let outcome = match (step, log.len()) {
                (Step::Send, 0) => Outcome::ambiguous("cut off"),
                (Step::Send, _) => done(),
                // A search that could not be made is no miss.
                (_, 1) => Outcome::ambiguous("no answer"),
                _ => Outcome::Missing { detail: "not there".to_owned() },
            };
            assert!(step == Step::Send || sent_at.unwrap() <= -60, "looked for too early: {sent_at:?}");
            log.push(step);
            async { outcome }
        };
        Courier { act, doubt: |_: &str| doubt(Class::Searchable), is_held: |_: &str| false }
    };
    let mut bench = bench_of(&orders, courier).await;
    while bench.states().await != [OrderState::Done] {
        bench.settle().await;
    }
    assert_eq!(*steps.lock().unwrap(), [Step::Send, Step::Probe, Step::Probe, Step::Probe, Step::Send]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_found_out_a_person_is_asked_and_nothing_is_repeated() {
    let orders = [order("b", 1, "mail", Operation::Open)];
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let courier = |_, _| Courier {
        act: move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Outcome::ambiguous("cut off") }
        },
        doubt: |_: &str| doubt(Class::Blind),
        is_held: |_: &str| false,
    };
    let mut bench = bench_of(&orders, courier).await;
    bench.settle().await;
    let asked = bench.event().await;
    assert!(matches!(&asked.outcome, Outcome::Rejected { detail } if detail.contains("look for b at")));
    bench.take(asked).await;
    assert_eq!((bench.states().await, sent.load(Ordering::SeqCst)), (vec![OrderState::Dead], 1));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_locked_out_rests_and_the_others_go_on() {
    let orders = [
        order("b", 1, "desk", Operation::Open),
        order("c", 2, "desk", Operation::Open),
        order("d", 3, "folder", Operation::Open),
    ];
    let mut bench = bench(&orders, |order: Order| async move {
        if order.channel == "desk" { Outcome::LockedOut { detail: "401".to_owned() } } else { done() }
    })
    .await;
    let mut first = vec![bench.settle().await.0, bench.settle().await.0];
    first.sort();
    assert_eq!(first, ["b.1", "d.3"], "the second order of the desk does not try the lock");
    for _ in 0..30 * 60 - 5 {
        assert!(bench.at_once().await.is_none(), "too early");
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.settle().await.0, "c.2");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_on_a_channel_that_is_held() {
    let orders = [order("b", 1, "held", Operation::Open), order("c", 2, "folder", Operation::Open)];
    let mut bench = bench(&orders, |_| async { done() }).await;
    assert_eq!(bench.settle().await.0, "c.2");
    for _ in 0..120 {
        assert!(bench.at_once().await.is_none(), "it is held");
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.states().await, [OrderState::Pending]);
}
