//! Incidents and version changes → bookings and orders. Pure.
//!
//! One open booking per kind, scope, family and cause. What happens later to the same is evidence:
//! the booking is refreshed, and an `update` order is planned only when something changed that people
//! must know: a series joined, the severity rose, it recovered or came back, a version changed, what
//! was missing is there now, or a time that was asked for has become impossible or certain.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bellwether_probes::Family;
use chrono::{DateTime, Utc};

use crate::{
    booking::{
        Booking, ComponentState, Kind, Operation, Order, Severity, State, VersionChange, Window, booking_key,
        life::{By, Check, Entry, Life},
        lifecycle::{self, Act},
        slot,
    },
    calendar::Calendar,
    channel::{Channels, Outcome},
    incident::{Cause, Incident, severity},
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
    /// What the audit trail keeps of it.
    pub entries: Vec<Entry>,
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
    let mut planner = Planner::new(memory, Terms { site, channels, calendar }, now);
    let mut joined = Vec::new();
    for (incident, severity) in incidents.into_iter().zip(severities) {
        if planner.is_joined(&incident) {
            joined.push((incident, severity));
        } else if planner.fault(&incident, severity) {
            planner.memory.incidents.push(incident);
        }
    }
    planner.join(joined);

    // Checks that stay open are looked at, too: a channel may take them now.
    let open = planner.memory.bookings.values().filter(|booking| booking.kind == Kind::UpgradeCheck);
    let open = open.map(|booking| booking.scope.clone());
    let components: BTreeSet<String> = open.chain(checks.iter().map(|change| change.component.clone())).collect();
    for component in components {
        planner.upgrade_check(&component, checks);
    }

    planner.plan
}

/// Takes down how an order ended. Returns the booking if it changed, and what the audit trail keeps of it: a
/// channel has it now, or none will ever have it.
///
/// A booking strands once its channel of `record`, or else the last of its channels, has refused it.
pub fn settle(
    memory: &mut Memory,
    order: &Order,
    outcome: &Outcome,
    record: Option<&str>,
    now: DateTime<Utc>,
) -> Option<(Booking, Entry)> {
    if order.operation != Operation::Open {
        return None;
    }
    let booking = memory.bookings.get_mut(&order.booking_key)?;
    let act = match outcome {
        Outcome::Done { .. } => Act::Taken,
        Outcome::Rejected { .. } => {
            let opened = memory.opened_on.entry(order.booking_key.clone()).or_default();
            opened.retain(|channel| *channel != order.channel);
            let rejected = memory.rejected_on.entry(order.booking_key.clone()).or_default();
            if !rejected.contains(&order.channel) {
                rejected.push(order.channel.clone());
            }
            if !opened.is_empty() && record != Some(&order.channel) {
                return None;
            }
            Act::Strand
        }
        Outcome::NotDelivered { .. }
        | Outcome::LockedOut { .. }
        | Outcome::Ambiguous { .. }
        | Outcome::Missing { .. } => return None,
    };
    let before = booking.state;
    let mut entry = lifecycle::act(booking, &act, &By::Bellwether, now).ok()?;
    if booking.state == before {
        return None;
    }
    entry.detail.clone_from(&order.channel);
    Some((booking.clone(), entry))
}

/// What bookings are planned by.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Who and where.
    pub site: &'a Site,
    /// The ways to the vendor.
    pub channels: &'a Channels,
    /// When the room is taught in, and the vendor works.
    pub calendar: &'a Calendar,
}

/// What tells open bookings apart. Not their keys: a key holds what the config said when its booking was planned.
type Identity = (Kind, String, Family, Cause);

fn identity(booking: &Booking) -> Identity {
    (booking.kind, booking.scope.clone(), booking.family, booking.cause)
}

struct Planner<'a> {
    memory: &'a mut Memory,
    /// Keys of the open bookings.
    open: BTreeMap<Identity, String>,
    site: &'a Site,
    channels: &'a Channels,
    calendar: &'a Calendar,
    now: DateTime<Utc>,
    /// The search for times that was made last: bookings for which there are none all ask the same.
    answered: Option<(slot::Class, Vec<Window>, slot::Answer)>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(memory: &'a mut Memory, Terms { site, channels, calendar }: Terms<'a>, now: DateTime<Utc>) -> Self {
        let open = memory.bookings.values().map(|booking| (identity(booking), booking.key.clone())).collect();
        Self { memory, open, site, channels, calendar, now, answered: None, plan: Plan::default() }
    }

    /// Plans for one incident; says whether it stays.
    fn fault(&mut self, incident: &Incident, severity: Severity) -> bool {
        let kind = if incident.cause == Cause::Load { Kind::Capacity } else { Kind::Fault };
        let old = self.find(kind, &incident.scope, incident.family, incident.cause).cloned();
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
        if let Some(back) = self.relapse(&booking, old.as_ref()) {
            self.act(&mut booking, &back);
        }
        let gone = |at| self.now.signed_duration_since(at).to_std().is_ok_and(|time| time >= WITHDRAW_AFTER);
        // What is booked elsewhere now need not be waited for; but people may be on the road.
        let superseded = incident.judgement.as_ref().is_some_and(|judgement| judgement.superseded);
        let is_over = incident.recovered_at.is_some_and(|at| superseded || gone(at));
        if is_over && !booking.state.is_under_way() {
            self.end(booking, &Act::Cancel("it went away".to_owned()), &By::Bellwether);
            return false;
        }
        self.put(old, booking);
        true
    }

    /// Whether what a maintenance was for is back, or never went, although the work is done.
    fn relapse(&self, booking: &Booking, old: Option<&Booking>) -> Option<Act> {
        if !matches!(booking.state, State::Reported | State::Observing | State::Evaluated) {
            return None;
        }
        let came_back = booking.recovered_at.is_none() && old?.recovered_at.is_some();
        let stayed = booking.recovered_at.is_none()
            && booking
                .life
                .observed_from
                .is_some_and(|at| self.now.signed_duration_since(at).to_std().is_ok_and(|time| time >= WITHDRAW_AFTER));
        (came_back || stayed).then_some(Act::Relapsed)
    }

    /// What bellwether itself lets happen to a booking; what is not possible does not happen.
    fn act(&mut self, booking: &mut Booking, act: &Act) {
        if let Ok(entry) = lifecycle::act(booking, act, &By::Bellwether, self.now) {
            self.plan.entries.push(entry);
        }
    }

    /// Plans for the changes of one component among `checks`, and for its check that may be open.
    fn upgrade_check(&mut self, component: &str, checks: &[VersionChange]) {
        let old = self.find(Kind::UpgradeCheck, component, Family::App, Cause::Version).cloned();
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

    fn find(&self, kind: Kind, scope: &str, family: Family, cause: Cause) -> Option<&Booking> {
        self.memory.bookings.get(self.open.get(&(kind, scope.to_owned(), family, cause))?)
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
            life: Life { checklist: self.checklist(), ..Life::default() },
            visit: self.site.visit.clone(),
            recent: self.memory.recent.clone(),
            missing: Vec::new(),
            op_seq: 0,
        };
        if self.site.policy.proposes(kind, severity) {
            booking.state = State::Suspected;
        }
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
        booking.visit = site.visit.clone();
        booking.timezone = site.locale.timezone.name().to_owned();
        let state = |(component, known): (&String, &KnownVersion)| ComponentState {
            component: component.clone(),
            version: known.version.clone(),
        };
        booking.versions = self.memory.versions.iter().map(state).collect();

        let needed = [
            ("versions", !booking.versions.is_empty()),
            ("evidence", !matches!(booking.kind, Kind::Fault | Kind::Capacity) || !booking.evidence.is_empty()),
            ("channel", self.channels.names().next().is_some()),
        ];
        let lacks = needed.iter().filter(|(_, there)| !there).map(|(path, _)| *path);
        booking.missing = site.missing().into_iter().chain(lacks).map(str::to_owned).collect();
    }

    fn checklist(&self) -> Vec<Check> {
        let points = self.site.visit.checklist.iter();
        points.map(|text| Check { text: text.clone(), school: false, vendor: false }).collect()
    }
}

mod acts;
mod joint;
mod orders;
mod times;

pub use acts::{ActError, act, acts_due, closes, observed, open};
pub(crate) use orders::RECENT;

#[cfg(test)]
pub(super) mod tests;
