//! What becomes of one booking: its orders, its row, and whether people must know. Pure.

use super::{Planner, identity, times::Times};
use crate::{
    booking::{
        Booking, Operation, Order, State, Trouble,
        life::{By, Entry},
        lifecycle::{self, Act},
        op_key, slot,
    },
    incident::Evidence,
};

/// How many bookings that are over a new one names.
pub(crate) const RECENT: usize = 5;

/// Whether people must know what changed.
fn news(old: &Booking, new: &Booking) -> bool {
    let known = |evidence: &Evidence| old.evidence.iter().any(|old| same_series(old, evidence));
    new.severity > old.severity
        || other_lesson_at_risk(old, new)
        || new.recovered_at.is_some() != old.recovered_at.is_some()
        || new.complete() && !old.complete()
        || !new.evidence.iter().all(known)
        || !new.changes.iter().all(|change| old.changes.contains(change))
}

/// Whether another lesson is at risk than people were told of.
fn other_lesson_at_risk(old: &Booking, new: &Booking) -> bool {
    new.lesson_at_risk.is_some() && new.lesson_at_risk != old.lesson_at_risk
}

pub(super) fn same_series(a: &Evidence, b: &Evidence) -> bool {
    (&a.probe, a.metric, &a.labels) == (&b.probe, b.metric, &b.labels)
}

impl Planner<'_> {
    /// Plans the orders of a booking, and keeps it if anything about it changed.
    pub(super) fn put(&mut self, old: Option<Booking>, mut booking: Booking) {
        let opened = self.memory.opened_on.get(&booking.key).cloned().unwrap_or_default();
        let rejected = self.memory.rejected_on.get(&booking.key).cloned().unwrap_or_default();
        let has = |list: &[String], name: &str| list.iter().any(|channel| channel == name);
        let too_late = old.as_ref().is_some_and(|old| other_lesson_at_risk(old, &booking));
        let times = match booking.state {
            // What was agreed, or offered, is not ours alone to change.
            State::Countered | State::Refused => Times::Keep,
            state if state.is_under_way() => Times::Keep,
            _ if too_late => Times::Replace,
            _ => self.times(&booking),
        };
        let reopened = old.as_ref().is_some_and(|old| old.life.reopened != booking.life.reopened);
        let news = reopened
            || matches!(times, Times::Settle | Times::Replace)
            || old.as_ref().is_some_and(|old| news(old, &booking));
        let mut orders = Vec::new();
        for name in self.channels.names() {
            // What is proposed is nobody's business yet.
            if booking.state == State::Suspected
                || has(&rejected, name)
                || self.channels.accepts(name, &booking).is_err()
            {
                continue;
            }
            if !has(&opened, name) {
                orders.push((name.to_owned(), Operation::Open));
            } else if news {
                orders.push((name.to_owned(), Operation::Update));
            }
        }

        let open = orders.iter().any(|(_, operation)| *operation == Operation::Open);
        if opened.is_empty() && matches!(booking.state, State::Holding | State::NeedsHuman) {
            booking.state = if open { State::Holding } else { State::NeedsHuman };
        }
        // Windows that a vendor was told stay until it is told others.
        if opened.is_empty() || !orders.is_empty() {
            match times {
                Times::Keep => {}
                Times::Settle => booking.provisional.retain(|window| slot::provisional(self.calendar, *window)),
                Times::Refresh | Times::Replace => self.ask_for_times(&mut booking),
            }
        }
        for (channel, operation) in orders {
            self.order(&mut booking, channel, operation);
        }

        if old.is_none() {
            self.note_planned(&booking);
        }
        if old.as_ref() != Some(&booking) {
            booking.updated_at = self.now;
            self.open.insert(identity(&booking), booking.key.clone());
            self.memory.bookings.insert(booking.key.clone(), booking.clone());
            self.plan.bookings.push(booking);
        }
    }

    /// Ends a booking, and says so wherever it was opened; not where it was said.
    pub(super) fn end(&mut self, mut booking: Booking, act: &Act, by: &By) {
        let Ok(entry) = lifecycle::act(&mut booking, act, by, self.now) else { return };
        self.plan.entries.push(entry);
        self.tell(&mut booking, Operation::Cancel, by);
        self.forget(booking);
    }

    /// Plans an order on each channel that has the booking; not on the one that said it.
    pub(super) fn tell(&mut self, booking: &mut Booking, operation: Operation, by: &By) {
        let opened = self.memory.opened_on.get(&booking.key).cloned().unwrap_or_default();
        let said = |name: &str| matches!(by, By::Vendor(channel) if channel == name);
        let told = |name: &&str| opened.iter().any(|other| other == name) && !said(name);
        let names: Vec<_> = self.channels.names().filter(told).map(str::to_owned).collect();
        for name in names {
            self.order(booking, name, operation);
        }
    }

    /// Takes a booking that is over out of the memory.
    pub(super) fn forget(&mut self, booking: Booking) {
        self.memory.opened_on.remove(&booking.key);
        self.memory.rejected_on.remove(&booking.key);
        self.open.remove(&identity(&booking));
        self.memory.bookings.remove(&booking.key);
        *self.memory.epochs.entry(booking.identity()).or_default() += 1;
        let trouble = Trouble {
            key: booking.key.clone(),
            kind: booking.kind,
            family: booking.family,
            state: booking.state,
            opened_at: booking.opened_at,
        };
        self.memory.recent.insert(0, trouble);
        self.memory.recent.truncate(RECENT);
        self.plan.bookings.push(booking);
    }

    pub(super) fn note_planned(&mut self, booking: &Booking) {
        self.plan.entries.push(Entry {
            booking: booking.key.clone(),
            at: self.now,
            by: By::Bellwether,
            act: "plan".to_owned(),
            from: booking.state,
            to: booking.state,
            detail: booking.identity(),
        });
    }

    pub(super) fn order(&mut self, booking: &mut Booking, channel: String, operation: Operation) {
        booking.op_seq += 1;
        booking.updated_at = self.now;
        let op_key = op_key(&booking.key, booking.op_seq);
        let body = self.channels.render(&channel, booking, operation, &op_key);
        if operation == Operation::Open {
            self.memory.opened_on.entry(booking.key.clone()).or_default().push(channel.clone());
        }
        self.plan.orders.push(Order {
            op_key,
            booking_key: booking.key.clone(),
            op_seq: booking.op_seq,
            channel,
            operation,
            created_at: self.now,
            body,
        });
    }
}
