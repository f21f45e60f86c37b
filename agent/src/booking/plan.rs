//! Incidents and version changes → bookings and orders. Pure.
//!
//! One open booking per kind, scope, family and cause. What happens later to the same is evidence:
//! the booking is refreshed, and an `update` order is planned only when something changed that people
//! must know: a series joined, the severity rose, it recovered or came back, a version changed, what
//! was missing is there now, or a time that was asked for has become impossible or certain.

use std::{collections::BTreeSet, time::Duration};

use bellwether_probes::Family;
use chrono::{DateTime, Utc};

use crate::{
    booking::{
        Booking, ComponentState, Kind, Operation, Order, Severity, State, VersionChange, Window, booking_key, op_key,
        slot,
    },
    calendar::Calendar,
    channel::{Channels, Outcome},
    incident::{Cause, Evidence, Incident, severity},
    inspection::{KnownVersion, Memory},
    site::Site,
};

/// What is to be written and sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Bookings that are new or changed.
    pub bookings: Vec<Booking>,
    /// Orders that are new.
    pub orders: Vec<Order>,
}

/// How long a fault must have been away before its booking is withdrawn.
pub const WITHDRAW_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Plans bookings for `memory.incidents` and for `checks`, the version changes of this inspection
/// that open an `upgrade_check`. Keeps `memory.bookings`, `memory.epochs`, `memory.opened_on` and
/// `memory.rejected_on`, and removes incidents whose booking was withdrawn.
///
/// A booking of an incident that puts a lesson at risk asks for the earliest times anew: a visit that was
/// good for a plain fault is too late for it. Where the vendor is not at work before the lesson, the
/// first time after that is still the best there is.
///
/// A channel that refuses a booking gets no order; it is opened there by the first plan in which the
/// channel takes it.
pub fn plan(
    memory: &mut Memory,
    checks: &[VersionChange],
    site: &Site,
    channels: &Channels,
    calendar: &Calendar,
    now: DateTime<Utc>,
) -> Plan {
    let mut incidents = std::mem::take(&mut memory.incidents);
    incidents.sort_by(|a, b| (&a.scope, a.family, a.cause).cmp(&(&b.scope, b.family, b.cause)));
    let severities: Vec<_> = incidents.iter().map(|incident| severity(incident, &incidents)).collect();
    let mut planner = Planner { memory, site, channels, calendar, now, plan: Plan::default() };
    for (incident, severity) in incidents.into_iter().zip(severities) {
        if planner.fault(&incident, severity) {
            planner.memory.incidents.push(incident);
        }
    }

    // Checks that stay open are looked at, too: a channel may take them now.
    let open = planner.memory.bookings.values().filter(|booking| booking.kind == Kind::UpgradeCheck);
    let open = open.map(|booking| booking.scope.clone());
    let components: BTreeSet<String> = open.chain(checks.iter().map(|change| change.component.clone())).collect();
    for component in components {
        planner.upgrade_check(&component, checks);
    }

    planner.plan
}

/// Takes down how an order ended. Returns the booking if it changed: a channel has it now, or none
/// will ever have it.
pub fn settle(memory: &mut Memory, order: &Order, outcome: &Outcome, now: DateTime<Utc>) -> Option<Booking> {
    if order.operation != Operation::Open {
        return None;
    }
    let booking = memory.bookings.get_mut(&order.booking_key)?;
    let state = match outcome {
        Outcome::Done { .. } => State::Requested,
        Outcome::Rejected { .. } => {
            let opened = memory.opened_on.entry(order.booking_key.clone()).or_default();
            opened.retain(|channel| *channel != order.channel);
            let rejected = memory.rejected_on.entry(order.booking_key.clone()).or_default();
            if !rejected.contains(&order.channel) {
                rejected.push(order.channel.clone());
            }
            if opened.is_empty() { State::NeedsHuman } else { booking.state }
        }
        Outcome::NotDelivered { .. } | Outcome::Ambiguous { .. } => return None,
    };
    if booking.state == state {
        return None;
    }
    (booking.state, booking.updated_at) = (state, now);
    Some(booking.clone())
}

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

fn same_series(a: &Evidence, b: &Evidence) -> bool {
    (&a.probe, a.metric, &a.labels) == (&b.probe, b.metric, &b.labels)
}

/// What is to become of the times that a booking asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// They stay.
    Keep,
    /// Others are asked for when there is something to say anyway.
    Refresh,
    /// Some are certain now that were not: people must know.
    Settle,
    /// One has become impossible, or there is one at last: people must know.
    Replace,
}

struct Planner<'a> {
    memory: &'a mut Memory,
    site: &'a Site,
    channels: &'a Channels,
    calendar: &'a Calendar,
    now: DateTime<Utc>,
    plan: Plan,
}

impl Planner<'_> {
    /// Plans for one incident; says whether it stays.
    fn fault(&mut self, incident: &Incident, severity: Severity) -> bool {
        let kind = if incident.cause == Cause::Load { Kind::Capacity } else { Kind::Fault };
        let old = self.find(kind, &incident.scope, incident.family, incident.cause);
        let mut booking = old
            .clone()
            .unwrap_or_else(|| self.new_booking(kind, &incident.scope, incident.family, incident.cause, severity));
        booking.severity = booking.severity.max(severity);
        booking.recovered_at = incident.recovered_at;
        booking.lesson_at_risk = incident.lesson_at_risk;
        booking.judgement = incident.judgement.clone();
        booking.evidence = incident.evidence.clone();
        booking.changes = self.memory.changes.iter().rev().cloned().collect();
        self.describe(&mut booking);
        let gone = |at| self.now.signed_duration_since(at).to_std().is_ok_and(|time| time >= WITHDRAW_AFTER);
        // What is booked elsewhere now need not be waited for.
        let superseded = incident.judgement.as_ref().is_some_and(|judgement| judgement.superseded);
        if incident.recovered_at.is_some_and(|at| superseded || gone(at)) {
            self.withdraw(booking);
            return false;
        }
        self.put(old, booking);
        true
    }

    /// Plans for the changes of one component among `checks`, and for its check that may be open.
    fn upgrade_check(&mut self, component: &str, checks: &[VersionChange]) {
        let old = self.find(Kind::UpgradeCheck, component, Family::App, Cause::Version);
        let mut booking = old.clone().unwrap_or_else(|| {
            self.new_booking(Kind::UpgradeCheck, component, Family::App, Cause::Version, Severity::Low)
        });
        for change in checks.iter().filter(|change| change.component == component) {
            if !booking.changes.contains(change) {
                booking.changes.push(change.clone());
            }
        }
        booking.changes.sort_by_key(|change| std::cmp::Reverse(change.at));
        self.describe(&mut booking);
        self.put(old, booking);
    }

    fn find(&self, kind: Kind, scope: &str, family: Family, cause: Cause) -> Option<Booking> {
        // Not by key: the key holds what the config said when the booking was planned.
        let same = |booking: &&Booking| {
            (booking.kind, &booking.scope[..], booking.family, booking.cause) == (kind, scope, family, cause)
        };
        self.memory.bookings.values().find(same).cloned()
    }

    fn new_booking(&self, kind: Kind, scope: &str, family: Family, cause: Cause, severity: Severity) -> Booking {
        let mut booking = Booking {
            key: String::new(),
            kind,
            state: State::Holding,
            severity,
            scope: scope.to_owned(),
            family,
            cause,
            epoch: 0,
            opened_at: self.now,
            updated_at: self.now,
            recovered_at: None,
            lesson_at_risk: None,
            judgement: None,
            school: self.site.school.clone(),
            room: self.site.room.clone(),
            vendor: self.site.vendor.clone(),
            timezone: String::new(),
            versions: Vec::new(),
            changes: Vec::new(),
            evidence: Vec::new(),
            wanted: Vec::new(),
            provisional: Vec::new(),
            no_window: None,
            asks: Vec::new(),
            missing: Vec::new(),
            op_seq: 0,
        };
        booking.epoch = self.memory.epochs.get(&booking.identity()).copied().unwrap_or(0);
        let (vendor, cause) = (&self.site.vendor.name, booking.cause_word());
        booking.key = booking_key(&self.memory.ledger_id, vendor, scope, family.name(), cause, booking.epoch);
        booking
    }

    /// Brings what the booking says of who and where up to date, and what it lacks.
    fn describe(&self, booking: &mut Booking) {
        let site = self.site;
        booking.school = site.school.clone();
        booking.room = site.room.clone();
        booking.vendor = site.vendor.clone();
        booking.timezone = site.locale.timezone.name().to_owned();
        let state = |(component, known): (&String, &KnownVersion)| ComponentState {
            component: component.clone(),
            version: known.version.clone(),
        };
        booking.versions = self.memory.versions.iter().map(state).collect();

        let (school, room) = (&site.school, &site.room);
        let needed = [
            ("school.name", !school.name.trim().is_empty()),
            ("room.id", !room.id.trim().is_empty()),
            ("room.name", !room.name.trim().is_empty()),
            ("school.contact.name", !school.contact.name.trim().is_empty()),
            (
                "school.contact.phone",
                !(school.contact.phone.trim().is_empty() && school.contact.email.trim().is_empty()),
            ),
            ("versions", !booking.versions.is_empty()),
            ("evidence", booking.kind == Kind::UpgradeCheck || !booking.evidence.is_empty()),
            ("channel", self.channels.names().next().is_some()),
        ];
        booking.missing = needed.iter().filter(|(_, there)| !there).map(|(path, _)| (*path).to_owned()).collect();
    }

    /// Plans the orders of a booking, and keeps it if anything about it changed.
    fn put(&mut self, old: Option<Booking>, mut booking: Booking) {
        let opened = self.memory.opened_on.get(&booking.key).cloned().unwrap_or_default();
        let rejected = self.memory.rejected_on.get(&booking.key).cloned().unwrap_or_default();
        let has = |list: &[String], name: &str| list.iter().any(|channel| channel == name);
        let too_late = old.as_ref().is_some_and(|old| other_lesson_at_risk(old, &booking));
        let times = if too_late { Times::Replace } else { self.times(&booking) };
        let news =
            matches!(times, Times::Settle | Times::Replace) || old.as_ref().is_some_and(|old| news(old, &booking));
        let mut orders = Vec::new();
        for name in self.channels.names() {
            if has(&rejected, name) || self.channels.accepts(name, &booking).is_err() {
                continue;
            }
            if !has(&opened, name) {
                orders.push((name.to_owned(), Operation::Open));
            } else if news {
                orders.push((name.to_owned(), Operation::Update));
            }
        }

        let open = orders.iter().any(|(_, operation)| *operation == Operation::Open);
        if opened.is_empty() {
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

        if old.as_ref() != Some(&booking) {
            booking.updated_at = self.now;
            self.memory.bookings.insert(booking.key.clone(), booking.clone());
            self.plan.bookings.push(booking);
        }
    }

    /// What is to become of the times that a booking asks for.
    fn times(&self, booking: &Booking) -> Times {
        let to_come = |window: &&Window| window.start > self.now;
        let passed = |window: &Window| window.start <= self.now;
        if booking.wanted.is_empty() {
            if !self.answer(booking).offers.is_empty() {
                return Times::Replace;
            }
            let mut asked = booking.asks.iter().flat_map(|ask| &ask.windows);
            return if booking.asks.is_empty() || asked.any(passed) { Times::Refresh } else { Times::Keep };
        }
        let visit = booking.class().visit(slot::span(self.site.vendor.duration));
        if !booking.wanted.iter().filter(to_come).all(|window| slot::possible(self.calendar, *window)) {
            Times::Replace
        } else if booking.wanted.iter().any(|window| passed(window) || window.end - window.start != visit) {
            Times::Refresh
        } else if booking.provisional.iter().any(|window| !slot::provisional(self.calendar, *window)) {
            Times::Settle
        } else {
            Times::Keep
        }
    }

    fn ask_for_times(&self, booking: &mut Booking) {
        let answer = self.answer(booking);
        booking.no_window = answer.nothing();
        booking.provisional =
            answer.offers.iter().filter(|offer| offer.provisional).map(|offer| offer.window).collect();
        booking.wanted = answer.offers.iter().map(|offer| offer.window).collect();
        booking.asks = answer.relaxations;
    }

    /// Times that are free beside those that the room's other bookings ask for.
    fn answer(&self, booking: &Booking) -> slot::Answer {
        let others = self.memory.bookings.values().filter(|other| other.key != booking.key);
        let taken: Vec<Window> = others.flat_map(|other| &other.wanted).copied().collect();
        slot::wanted(self.calendar, &self.site.vendor, booking.class(), &taken, self.now)
    }

    /// Ends a booking whose fault went away, wherever it was opened.
    fn withdraw(&mut self, mut booking: Booking) {
        booking.state = State::Cancelled;
        booking.updated_at = self.now;
        let opened = self.memory.opened_on.remove(&booking.key).unwrap_or_default();
        self.memory.rejected_on.remove(&booking.key);
        let configured: Vec<_> =
            self.channels.names().filter(|name| opened.iter().any(|other| other == name)).collect();
        for name in configured {
            self.order(&mut booking, name.to_owned(), Operation::Cancel);
        }
        self.memory.bookings.remove(&booking.key);
        *self.memory.epochs.entry(booking.identity()).or_default() += 1;
        self.plan.bookings.push(booking);
    }

    fn order(&mut self, booking: &mut Booking, channel: String, operation: Operation) {
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

#[cfg(test)]
mod tests;
