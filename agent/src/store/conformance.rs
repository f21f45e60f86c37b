//! What every back end must do. Each check takes a fresh store; a back end runs them all by naming
//! itself in [`suite`].

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::needless_update, reason = "the judge's state may have more fields")]

use std::path::PathBuf;

use bellwether_probes::{Family, Labels, Metric};
use chrono::{DateTime, Utc};
use tempfile::TempDir;

use super::{Committed, OrderState, Record, Settlement, Store, StoreError};
use crate::{
    booking::{
        Booking, ChangeKind, Kind, Operation, Order, Severity, State, VersionChange,
        life::{By, Entry},
        op_key,
    },
    channel::Link,
    incident::{Cause, Evidence, Incident},
    inspection::{Conclusion, KnownVersion, Memory},
    judge::{Level, Series},
    site::Site,
};

/// A store of its own, with what is needed to open it again.
struct Fresh {
    folder: TempDir,
    store: Store,
    memory: Memory,
}

impl Fresh {
    fn path(&self) -> PathBuf {
        self.folder.path().join("bellwether.db")
    }

    async fn reopened(mut self) -> Self {
        self.store.close().await;
        (self.store, self.memory) = Store::open(&self.path(), at(9999), "another").await.unwrap();
        self
    }
}

async fn sqlite() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let (store, memory) = Store::open(&folder.path().join("bellwether.db"), at(0), "ledger").await.unwrap();
    Fresh { folder, store, memory }
}

macro_rules! suite {
    ($backend:ident: $($check:ident)*) => {
        mod $backend {
            $(#[tokio::test]
            async fn $check() {
                super::$check(super::$backend().await).await;
            })*
        }
    };
}

suite! { sqlite:
    a_new_ledger_keeps_its_name_and_is_empty
    what_was_committed_is_there_after_a_restart
    what_left_the_memory_leaves_the_store
    where_a_booking_was_opened_is_read_from_its_orders
    an_inspection_is_committed_once
    a_refused_conclusion_leaves_nothing
    a_booking_opens_once_per_channel
    an_order_number_is_used_once
    an_order_needs_its_booking
    only_the_head_of_a_line_is_due
    lines_do_not_wait_for_each_other
    a_channel_with_many_lines_hides_no_other
    what_may_have_arrived_stays_ambiguous
    an_order_waits_for_its_time
    only_a_waiting_order_begins
    only_an_order_in_flight_settles
    settling_again_with_the_same_end_is_no_error
    settling_takes_the_booking_along
    what_happened_to_bookings_is_chained
    an_old_trail_is_cut_and_what_is_left_still_holds
    a_booking_is_read_back_once_nothing_waits_there
    misses_are_counted_until_it_is_sent_again
    an_order_in_flight_is_ambiguous_after_a_restart
    a_newer_update_replaces_one_that_was_never_tried
    an_update_that_was_tried_is_kept
    opening_and_cancelling_never_collapse
    a_refused_opening_takes_its_followers_along
    counts_are_by_channel_and_state
    ended_bookings_are_listed_and_not_remembered
    old_and_ended_goes_in_small_bites
    a_long_detail_is_cut_between_characters
    a_closed_store_says_so
}

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
}

pub(crate) fn booking(key: &str) -> Booking {
    let site = Site::default();
    Booking {
        key: key.to_owned(),
        kind: Kind::Fault,
        state: State::Holding,
        severity: Severity::High,
        scope: "room-301".to_owned(),
        family: Family::Net,
        cause: Cause::Room,
        epoch: 0,
        opened_at: at(0),
        updated_at: at(0),
        recovered_at: None,
        lesson_at_risk: None,
        judgement: None,
        school: site.school,
        room: site.room,
        vendor: site.vendor,
        timezone: "Asia/Shanghai".to_owned(),
        versions: Vec::new(),
        changes: Vec::new(),
        evidence: vec![evidence()],
        wanted: Vec::new(),
        provisional: Vec::new(),
        no_window: None,
        asks: Vec::new(),
        life: Default::default(),
        visit: Default::default(),
        recent: Vec::new(),
        missing: vec!["school.name".to_owned()],
        op_seq: 0,
    }
}

fn evidence() -> Evidence {
    Evidence {
        probe: "call".to_owned(),
        metric: Metric::MediaRoundTrip,
        labels: Labels::default(),
        value: 0.1 + 0.2,
        worst: 1.0 / 3.0,
        limit: 0.1,
        level: Level::Degraded,
        since: at(-300),
        bad: 3,
        of: 4,
        echo: None,
        shift: None,
    }
}

pub(crate) fn order(booking: &str, seq: u32, channel: &str, operation: Operation) -> Order {
    Order {
        op_key: op_key(booking, seq),
        booking_key: booking.to_owned(),
        op_seq: seq,
        channel: channel.to_owned(),
        operation,
        created_at: at(i64::from(seq)),
        body: format!("{{\"教室\":\"{seq}\"}}\n"),
    }
}

pub(crate) fn entry(key: &str, act: &str) -> Entry {
    let (from, to) = (State::Holding, State::Requested);
    Entry {
        booking: key.to_owned(),
        at: at(5),
        by: By::Bellwether,
        act: act.to_owned(),
        from,
        to,
        detail: String::new(),
    }
}

pub(crate) fn conclusion(memory: &Memory, bookings: &[Booking], orders: &[Order]) -> Conclusion {
    let mut memory = memory.clone();
    for booking in bookings {
        if booking.state.ended() {
            memory.bookings.remove(&booking.key);
        } else {
            memory.bookings.insert(booking.key.clone(), booking.clone());
        }
    }
    for order in orders.iter().filter(|order| order.operation == Operation::Open) {
        if memory.bookings.contains_key(&order.booking_key) {
            memory.opened_on.entry(order.booking_key.clone()).or_default().push(order.channel.clone());
        }
    }
    Conclusion {
        memory,
        verdicts: Vec::new(),
        opened: Vec::new(),
        recovered: Vec::new(),
        changes: Vec::new(),
        bookings: bookings.to_vec(),
        orders: orders.to_vec(),
        entries: Vec::new(),
    }
}

/// Commits booking `b` with orders given as (seq, channel, operation).
async fn with_orders(fresh: &Fresh, orders: &[(u32, &str, Operation)]) {
    let orders: Vec<_> = orders.iter().map(|(seq, channel, operation)| order("b", *seq, channel, *operation)).collect();
    let id = format!("inspection-{}", orders.first().map_or(0, |order| order.op_seq));
    let conclusion = conclusion(&fresh.memory, &[booking("b")], &orders);
    assert_eq!(fresh.store.commit(&id, &conclusion, Record::default(), at(10)).await.unwrap(), Committed::New);
}

/// The orders that are due at a second.
pub(crate) async fn due_orders(store: &Store, now: i64) -> Vec<Order> {
    store.due_orders(at(now)).await.unwrap().into_iter().map(|due| due.order).collect()
}

async fn due(store: &Store, now: i64) -> Vec<String> {
    store.due_orders(at(now)).await.unwrap().into_iter().map(|due| due.order.op_key).collect()
}

async fn states(store: &Store) -> Vec<OrderState> {
    store.orders_of("b").await.unwrap().into_iter().map(|record| record.state).collect()
}

fn done() -> Settlement {
    Settlement::Done { remote_id: Some("4711".to_owned()) }
}

fn retry(seconds: i64, ambiguous: bool) -> Settlement {
    Settlement::Retry { not_before: at(seconds), ambiguous, missed: false, detail: "no answer".to_owned() }
}

fn dead() -> Settlement {
    Settlement::Dead { detail: "422".to_owned() }
}

pub(crate) fn full_memory(memory: &Memory) -> Memory {
    let mut memory = memory.clone();
    for n in 0..12 {
        // Keys with everything that a path or a quote could trip over.
        let key = format!("call media_loss{{direction=\"up\", mount=\"/a'b\\\\c\", n=\"{n}\"}} 教室");
        memory.judge.insert(key, Series { level: Level::Degraded, since: Some(at(n)), ..Series::default() });
        memory.changes.push(VersionChange {
            component: "board".to_owned(),
            old: format!("1.{n}"),
            new: format!("1.{}", n + 1),
            kind: ChangeKind::Minor,
            at: at(n),
        });
    }
    memory.versions.insert("board".to_owned(), KnownVersion { version: "1.12".to_owned(), since: at(12) });
    memory.incidents.push(Incident {
        scope: "room-301".to_owned(),
        family: Family::Net,
        cause: Cause::Room,
        opened_at: at(-300),
        recovered_at: None,
        lesson_at_risk: None,
        judgement: None,
        evidence: vec![evidence()],
    });
    memory.epochs.insert("room-301|net|room".to_owned(), 7);
    memory
}

async fn a_new_ledger_keeps_its_name_and_is_empty(fresh: Fresh) {
    assert_eq!(fresh.memory, Memory { ledger_id: "ledger".to_owned(), ..Memory::default() });
    assert_eq!(fresh.reopened().await.memory.ledger_id, "ledger");
}

async fn what_was_committed_is_there_after_a_restart(fresh: Fresh) {
    let conclusion = conclusion(
        &full_memory(&fresh.memory),
        &[booking("b")],
        &[order("b", 1, "folder", Operation::Open), order("b", 2, "hook", Operation::Open)],
    );
    fresh.store.commit("first", &conclusion, Record::default(), at(10)).await.unwrap();
    let fresh = fresh.reopened().await;
    assert_eq!(fresh.memory, conclusion.memory);
    assert_eq!(fresh.store.bookings().await.unwrap(), conclusion.bookings);
    assert_eq!(due_orders(&fresh.store, 10).await, conclusion.orders);
}

async fn what_left_the_memory_leaves_the_store(fresh: Fresh) {
    let full = conclusion(&full_memory(&fresh.memory), &[], &[]);
    fresh.store.commit("first", &full, Record::default(), at(10)).await.unwrap();
    let mut less = full;
    less.memory.judge.pop_first();
    less.memory.changes.drain(..5);
    less.memory.incidents.clear();
    less.memory.epochs.insert("room-301|net|room".to_owned(), 8);
    fresh.store.commit("second", &less, Record::default(), at(20)).await.unwrap();
    assert_eq!(fresh.store.memory().await.unwrap(), less.memory);
}

async fn where_a_booking_was_opened_is_read_from_its_orders(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open), (2, "hook", Operation::Open)]).await;
    fresh.store.begin("b.2", true, at(5)).await.unwrap();
    let refused = Settlement::Dead { detail: "HTTP 422".to_owned() };
    fresh.store.settle("b.2", &refused, None, at(6)).await.unwrap();
    let memory = fresh.reopened().await.memory;
    assert_eq!(memory.opened_on["b"], ["folder"]);
    assert_eq!(memory.rejected_on["b"], ["hook"]);
}

async fn an_inspection_is_committed_once(fresh: Fresh) {
    let first = conclusion(&fresh.memory, &[booking("b")], &[order("b", 1, "folder", Operation::Open)]);
    assert_eq!(fresh.store.commit("same", &first, Record::default(), at(10)).await.unwrap(), Committed::New);
    let again = conclusion(&full_memory(&fresh.memory), &[booking("c")], &[order("c", 1, "folder", Operation::Open)]);
    assert_eq!(fresh.store.commit("same", &again, Record::default(), at(11)).await.unwrap(), Committed::Repeated);
    assert_eq!(fresh.store.memory().await.unwrap(), first.memory);
    assert_eq!(due(&fresh.store, 20).await, ["b.1"]);
}

async fn a_refused_conclusion_leaves_nothing(fresh: Fresh) {
    // The second order breaks a constraint after everything else was written.
    let twice = [order("b", 1, "folder", Operation::Open), order("b", 2, "folder", Operation::Open)];
    let refused = conclusion(&full_memory(&fresh.memory), &[booking("b")], &twice);
    let error = fresh.store.commit("first", &refused, Record::default(), at(10)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert_eq!(fresh.store.memory().await.unwrap(), fresh.memory);
    assert_eq!(fresh.store.bookings().await.unwrap(), []);
    assert_eq!(due(&fresh.store, 20).await, [""; 0]);
    assert_eq!(fresh.store.failures(), 1);
    // Not even its id: it can be committed once it is right.
    let right = conclusion(&fresh.memory, &[booking("b")], &twice[..1]);
    assert_eq!(fresh.store.commit("first", &right, Record::default(), at(11)).await.unwrap(), Committed::New);
    assert_eq!(due(&fresh.reopened().await.store, 20).await, ["b.1"]);
}

async fn a_booking_opens_once_per_channel(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open)]).await;
    let again = conclusion(&fresh.memory, &[booking("b")], &[order("b", 2, "folder", Operation::Open)]);
    let error = fresh.store.commit("again", &again, Record::default(), at(11)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    with_orders(&fresh, &[(2, "hook", Operation::Open)]).await;
}

async fn an_order_number_is_used_once(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open)]).await;
    let again = conclusion(&fresh.memory, &[booking("b")], &[order("b", 1, "hook", Operation::Open)]);
    let error = fresh.store.commit("again", &again, Record::default(), at(11)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
}

async fn an_order_needs_its_booking(fresh: Fresh) {
    let orphan = conclusion(&fresh.memory, &[], &[order("b", 1, "folder", Operation::Open)]);
    let error = fresh.store.commit("orphan", &orphan, Record::default(), at(10)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
}

async fn only_the_head_of_a_line_is_due(fresh: Fresh) {
    with_orders(
        &fresh,
        &[(1, "folder", Operation::Open), (2, "folder", Operation::Update), (3, "folder", Operation::Cancel)],
    )
    .await;
    let store = &fresh.store;
    for (seq, next) in [("b.1", "b.2"), ("b.2", "b.3")] {
        assert_eq!(due(store, 20).await, [seq]);
        store.begin(seq, true, at(20)).await.unwrap();
        assert_eq!(due(store, 20).await, [""; 0], "nothing passes an order in flight");
        store.settle(seq, &retry(30, true), None, at(21)).await.unwrap();
        assert_eq!(due(store, 29).await, [""; 0], "nothing passes an order that waits");
        store.begin(seq, true, at(30)).await.unwrap();
        store.settle(seq, &done(), None, at(31)).await.unwrap();
        assert_eq!(due(store, 31).await, [next]);
    }
}

async fn lines_do_not_wait_for_each_other(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open), (2, "hook", Operation::Open)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    assert_eq!(due(&fresh.store, 20).await, ["b.2"]);
}

async fn a_channel_with_many_lines_hides_no_other(fresh: Fresh) {
    let keys: Vec<_> = (0..20).map(|n| format!("b{n:02}")).collect();
    let bookings: Vec<_> = keys.iter().map(|key| booking(key)).collect();
    let mut orders: Vec<_> = keys.iter().map(|key| order(key, 1, "hook", Operation::Open)).collect();
    orders.push(order("b19", 2, "folder", Operation::Open));
    fresh
        .store
        .commit("first", &conclusion(&fresh.memory, &bookings, &orders), Record::default(), at(10))
        .await
        .unwrap();
    let mut expected: Vec<_> = (0..8).map(|n| format!("b{n:02}.1")).collect();
    expected.push("b19.2".to_owned());
    assert_eq!(due(&fresh.store, 20).await, expected);
}

async fn what_may_have_arrived_stays_ambiguous(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open), (2, "hook", Operation::Open)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    fresh.store.settle("b.1", &retry(30, true), None, at(21)).await.unwrap();
    fresh.store.begin("b.2", true, at(20)).await.unwrap();
    // The second stays in flight over the restart.
    let fresh = fresh.reopened().await;
    for key in ["b.1", "b.2"] {
        fresh.store.begin(key, true, at(30)).await.unwrap();
        // That this attempt did not arrive says nothing of the first; and saying so twice is no error.
        fresh.store.settle(key, &retry(40, false), None, at(31)).await.unwrap();
        fresh.store.settle(key, &retry(40, false), None, at(31)).await.unwrap();
    }
    assert_eq!(states(&fresh.store).await, [OrderState::Ambiguous; 2]);
}

async fn an_order_waits_for_its_time(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open), (2, "hook", Operation::Open)]).await;
    let store = &fresh.store;
    assert_eq!(store.next_due(at(20)).await.unwrap(), None, "what is due already is not next");
    assert_eq!(store.next_due(at(0)).await.unwrap(), Some(at(1)));
    for (seq, until) in [("b.1", 500), ("b.2", 90)] {
        store.begin(seq, true, at(20)).await.unwrap();
        store.settle(seq, &retry(until, false), None, at(21)).await.unwrap();
    }
    assert_eq!(due(store, 89).await, [""; 0]);
    assert_eq!(store.next_due(at(89)).await.unwrap(), Some(at(90)));
    assert_eq!(due(store, 90).await, ["b.2"]);
    assert_eq!(store.next_due(at(90)).await.unwrap(), Some(at(500)));
}

async fn only_a_waiting_order_begins(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open)]).await;
    let store = &fresh.store;
    assert_eq!(store.begin("b.1", true, at(20)).await.unwrap(), 1);
    let error = store.begin("b.1", true, at(20)).await.unwrap_err();
    assert_eq!(error.to_string(), "order b.1 is inflight, expected pending or ambiguous");
    store.settle("b.1", &retry(30, false), None, at(21)).await.unwrap();
    assert_eq!(store.begin("b.1", true, at(30)).await.unwrap(), 2, "attempts count on");
    store.settle("b.1", &done(), None, at(31)).await.unwrap();
    assert!(store.begin("b.1", true, at(40)).await.is_err());
    let error = store.begin("b.9", true, at(40)).await.unwrap_err();
    assert_eq!(error.to_string(), "order b.9 is unknown, expected pending or ambiguous");
}

async fn only_an_order_in_flight_settles(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open)]).await;
    let error = fresh.store.settle("b.1", &done(), None, at(20)).await.unwrap_err();
    assert_eq!(error.to_string(), "order b.1 is pending, expected inflight");
    assert_eq!(states(&fresh.store).await, [OrderState::Pending]);
}

async fn settling_again_with_the_same_end_is_no_error(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    fresh.store.settle("b.1", &done(), None, at(21)).await.unwrap();
    fresh.store.settle("b.1", &done(), None, at(22)).await.unwrap();
    assert!(fresh.store.settle("b.1", &dead(), None, at(23)).await.is_err());
    let record = fresh.store.orders_of("b").await.unwrap().remove(0);
    assert_eq!((record.state, record.settled_at), (OrderState::Done, Some(at(21))));
    assert_eq!((record.remote_id.as_deref(), record.sent_at, record.attempt), (Some("4711"), Some(at(20)), 1));
}

async fn settling_takes_the_booking_along(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    let requested = Booking { state: State::Requested, updated_at: at(21), ..booking("b") };
    let taken = (requested.clone(), entry("b", "taken"));
    fresh.store.settle("b.1", &done(), Some(&taken), at(21)).await.unwrap();
    let fresh = fresh.reopened().await;
    assert_eq!(fresh.memory.bookings["b"], requested);
    assert_eq!(fresh.store.audit(Some("b")).await.unwrap().entries, [taken.1]);
}

async fn what_happened_to_bookings_is_chained(fresh: Fresh) {
    let mut conclusion = conclusion(&fresh.memory, &[booking("a"), booking("b")], &[]);
    conclusion.entries = vec![entry("a", "plan"), entry("b", "plan"), entry("a", "taken")];
    fresh.store.commit("first", &conclusion, Record::default(), at(10)).await.unwrap();
    let fresh = fresh.reopened().await;
    let all = fresh.store.audit(None).await.unwrap();
    assert_eq!((&all.entries, all.broken), (&conclusion.entries, None));
    let of_a = fresh.store.audit(Some("a")).await.unwrap().entries;
    assert_eq!(of_a, [entry("a", "plan"), entry("a", "taken")]);
}

async fn an_old_trail_is_cut_and_what_is_left_still_holds(fresh: Fresh) {
    let mut conclusion = conclusion(&fresh.memory, &[booking("a")], &[]);
    conclusion.entries = (0..70).map(|_| entry("a", "note")).collect();
    fresh.store.commit("first", &conclusion, Record::default(), at(10)).await.unwrap();
    let later = DateTime::from_timestamp(1_790_000_000 + 401 * 86_400, 0).unwrap();
    fresh.store.prune(later).await.unwrap();
    let left = fresh.store.audit(None).await.unwrap();
    assert_eq!((left.entries.len(), left.broken), (20, None), "a bite, and the chain is whole from its anchor on");
    while fresh.store.prune(later).await.unwrap() > 0 {}
    assert_eq!(fresh.store.audit(None).await.unwrap().entries, []);
    let mut next = self::conclusion(&fresh.memory, &[], &[]);
    next.entries = vec![entry("a", "note")];
    fresh.store.commit("second", &next, Record::default(), later).await.unwrap();
    assert_eq!(fresh.store.audit(None).await.unwrap().broken, None, "it goes on from the anchor");
}

async fn a_booking_is_read_back_once_nothing_waits_there(fresh: Fresh) {
    with_orders(&fresh, &[(1, "desk", Operation::Open), (2, "desk", Operation::Update)]).await;
    assert_eq!(fresh.store.links("desk").await.unwrap(), []);
    assert_eq!(fresh.store.oldest_order().await.unwrap(), Some(at(1)));
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    fresh.store.settle("b.1", &done(), None, at(21)).await.unwrap();
    assert_eq!(fresh.store.links("desk").await.unwrap(), [], "an update waits");
    let due = fresh.store.due_orders(at(30)).await.unwrap().remove(0);
    assert_eq!(due.past.link, Link { remote_id: Some("4711".to_owned()) }, "the update knows the name");
    fresh.store.begin("b.2", true, at(30)).await.unwrap();
    fresh.store.settle("b.2", &Settlement::Done { remote_id: None }, None, at(31)).await.unwrap();
    let link = Link { remote_id: Some("4711".to_owned()) };
    assert_eq!(fresh.store.links("desk").await.unwrap(), [("b".to_owned(), link)]);
    assert_eq!(fresh.store.links("folder").await.unwrap(), []);
    assert_eq!(fresh.store.oldest_order().await.unwrap(), None, "nothing waits");
}

async fn misses_are_counted_until_it_is_sent_again(fresh: Fresh) {
    with_orders(&fresh, &[(1, "desk", Operation::Open)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    fresh.store.settle("b.1", &retry(21, true), None, at(21)).await.unwrap();
    let missed =
        Settlement::Retry { not_before: at(30), ambiguous: true, missed: true, detail: "not there".to_owned() };
    let past = |now| {
        let store = fresh.store.clone();
        async move { store.due_orders(at(now)).await.unwrap().remove(0).past }
    };
    for misses in 1..=2 {
        fresh.store.begin("b.1", false, at(29)).await.unwrap();
        fresh.store.settle("b.1", &missed, None, at(30)).await.unwrap();
        let now = past(30).await;
        assert_eq!((now.misses, now.sent_at, now.is_doubtful), (misses, Some(at(20)), true));
    }
    fresh.store.put_off("b.1", at(60)).await.unwrap();
    assert!(due(&fresh.store, 59).await.is_empty() && due(&fresh.store, 60).await == ["b.1"]);
    fresh.store.begin("b.1", true, at(60)).await.unwrap();
    fresh.store.settle("b.1", &retry(61, true), None, at(61)).await.unwrap();
    let now = past(61).await;
    assert_eq!((now.misses, now.sent_at), (0, Some(at(60))));
}

async fn an_order_in_flight_is_ambiguous_after_a_restart(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open), (2, "hook", Operation::Open)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    let fresh = fresh.reopened().await;
    assert_eq!(states(&fresh.store).await, [OrderState::Ambiguous, OrderState::Pending]);
    let before = order("b", 1, "folder", Operation::Open);
    let again = fresh.store.due_orders(at(20)).await.unwrap().remove(0);
    assert_eq!(again.order, before, "the same key and the same bytes");
    assert_eq!((again.past.is_doubtful, again.past.sent_at, again.past.misses), (true, Some(at(20)), 0));
    assert_eq!(fresh.store.begin("b.1", true, at(30)).await.unwrap(), 2);
}

async fn a_newer_update_replaces_one_that_was_never_tried(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open), (2, "folder", Operation::Update)]).await;
    with_orders(&fresh, &[(3, "folder", Operation::Update), (4, "hook", Operation::Update)]).await;
    let records = fresh.store.orders_of("b").await.unwrap();
    let states: Vec<_> = records.iter().map(|record| record.state).collect();
    use OrderState::{Dead, Pending};
    assert_eq!(states, [Pending, Dead, Pending, Pending]);
    assert_eq!(records[1].detail.as_deref(), Some("superseded"));
}

async fn an_update_that_was_tried_is_kept(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Update)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    fresh.store.settle("b.1", &retry(30, false), None, at(21)).await.unwrap();
    with_orders(&fresh, &[(2, "folder", Operation::Update)]).await;
    assert_eq!(states(&fresh.store).await, [OrderState::Pending, OrderState::Pending]);
    assert_eq!(due(&fresh.store, 40).await, ["b.1"]);
}

async fn opening_and_cancelling_never_collapse(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open), (2, "folder", Operation::Cancel)]).await;
    with_orders(&fresh, &[(3, "folder", Operation::Update)]).await;
    assert_eq!(states(&fresh.store).await, [OrderState::Pending; 3]);
}

async fn a_refused_opening_takes_its_followers_along(fresh: Fresh) {
    with_orders(
        &fresh,
        &[(1, "folder", Operation::Open), (2, "folder", Operation::Update), (3, "hook", Operation::Open)],
    )
    .await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    fresh.store.settle("b.1", &dead(), None, at(21)).await.unwrap();
    with_orders(&fresh, &[(4, "folder", Operation::Cancel), (5, "hook", Operation::Cancel)]).await;
    use OrderState::{Dead, Pending};
    assert_eq!(states(&fresh.store).await, [Dead, Dead, Pending, Dead, Pending]);
}

async fn counts_are_by_channel_and_state(fresh: Fresh) {
    with_orders(
        &fresh,
        &[(1, "hook", Operation::Open), (2, "folder", Operation::Open), (3, "hook", Operation::Cancel)],
    )
    .await;
    fresh.store.begin("b.2", true, at(20)).await.unwrap();
    let counts = fresh.store.order_counts().await.unwrap();
    let counts: Vec<_> = counts.iter().map(|c| (c.channel.as_str(), c.state, c.count)).collect();
    assert_eq!(counts, [("folder", OrderState::Inflight, 1), ("hook", OrderState::Pending, 2)]);
}

async fn ended_bookings_are_listed_and_not_remembered(fresh: Fresh) {
    let ended = Booking { state: State::Cancelled, ..booking("a") };
    let newer = Booking { opened_at: at(5), ..booking("b") };
    let both = conclusion(&fresh.memory, &[ended.clone(), newer.clone()], &[]);
    fresh.store.commit("first", &both, Record::default(), at(10)).await.unwrap();
    assert_eq!(fresh.store.bookings().await.unwrap(), [newer.clone(), ended]);
    assert_eq!(fresh.store.memory().await.unwrap().bookings.into_values().collect::<Vec<_>>(), [newer]);
}

async fn old_and_ended_goes_in_small_bites(fresh: Fresh) {
    let day = 86_400;
    let ended = |n: usize| Booking { state: State::Cancelled, ..booking(&format!("old-{n:03}")) };
    let mut bookings: Vec<_> = (0..120).map(ended).collect();
    bookings.push(Booking { state: State::Cancelled, ..booking("unsettled") });
    bookings.push(Booking { state: State::Cancelled, updated_at: at(2 * day), ..booking("younger") });
    bookings.push(booking("open"));
    let orders = [
        order("unsettled", 1, "folder", Operation::Cancel),
        order("open", 1, "folder", Operation::Open),
        order("open", 2, "folder", Operation::Update),
        order("open", 3, "folder", Operation::Update),
    ];
    let all = conclusion(&fresh.memory, &bookings, &orders);
    fresh.store.commit("first", &all, Record::default(), at(10)).await.unwrap();
    let now = at(401 * day);
    let mut bites = Vec::new();
    loop {
        match fresh.store.prune(now).await.unwrap() {
            0 => break,
            deleted => bites.push(deleted),
        }
    }
    // 120 bookings, the superseded update and the inspection's id.
    assert_eq!(bites, [52, 50, 20]);
    let left: Vec<_> = fresh.store.bookings().await.unwrap().into_iter().map(|booking| booking.key).collect();
    assert_eq!(left, ["open", "unsettled", "younger"]);
    let open = fresh.store.orders_of("open").await.unwrap();
    assert_eq!(open.iter().map(|record| record.order.op_seq).collect::<Vec<_>>(), [1, 3]);
}

async fn a_long_detail_is_cut_between_characters(fresh: Fresh) {
    with_orders(&fresh, &[(1, "folder", Operation::Open)]).await;
    fresh.store.begin("b.1", true, at(20)).await.unwrap();
    let detail = "教室".repeat(1000);
    fresh.store.settle("b.1", &Settlement::Dead { detail: detail.clone() }, None, at(21)).await.unwrap();
    let kept = fresh.store.orders_of("b").await.unwrap().remove(0).detail.unwrap();
    assert_eq!(kept.len(), 498);
    assert!(detail.starts_with(&kept));
}

async fn a_closed_store_says_so(fresh: Fresh) {
    let clone = fresh.store.clone();
    fresh.store.close().await;
    assert!(matches!(clone.memory().await, Err(StoreError::Closed)));
    clone.close().await;
}
