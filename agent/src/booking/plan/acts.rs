//! What people, the vendor and the clock do to bookings, and what channels are told of it. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Plan, Planner, Terms};
use crate::{
    booking::{
        Booking, Kind, Operation, Severity, State, Window,
        life::{By, Life, VendorMinutes},
        lifecycle::{self, Act, NotNow},
    },
    calendar::Calendar,
    channel::Remote,
    incident::Cause,
    inspection::Memory,
};
use bellwether_probes::Family;

/// Why nothing happened to a booking.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// There is no such booking, or it is over.
    #[error("found no booking that is not over whose key begins with {0:?}; `bellwether bookings list` shows all")]
    Unknown(String),
    /// Several begin so.
    #[error("found {1} bookings whose keys begin with {0:?}: write more of the key")]
    Several(String, usize),
    /// Not as it stands.
    #[error(transparent)]
    NotNow(#[from] NotNow),
}

/// Lets something happen to the booking whose key begins with `key`, and plans what channels are told of it;
/// because of what was `heard` of the vendor's side, perhaps. `memory` is to be taken once this is durable.
///
/// # Errors
/// There is no such booking, or it does not stand so; then nothing changed.
pub fn act(
    memory: &mut Memory,
    key: &str,
    act: &Act,
    (by, heard): (&By, Option<&Remote>),
    terms: Terms<'_>,
    now: DateTime<Utc>,
) -> Result<Plan, ActError> {
    let mut found = memory.bookings.values().filter(|booking| booking.key.starts_with(key));
    let (booking, more) = (found.next().cloned(), found.count());
    let old = booking.ok_or_else(|| ActError::Unknown(key.to_owned()))?;
    if more > 0 {
        return Err(ActError::Several(key.to_owned(), more + 1));
    }
    let mut booking = old.clone();
    let entry = lifecycle::act(&mut booking, act, by, now)?;
    booking.life.heard = heard.cloned().or(booking.life.heard);
    let mut planner = Planner::new(memory, terms, now);
    planner.plan.entries.push(entry);
    booking.life.vendor_minutes = vendor_minutes(&booking.life, terms.calendar, now);
    if booking.state == State::Requested && booking.wanted.is_empty() {
        planner.ask_for_times(&mut booking);
    }
    match booking.state {
        State::Cancelled => {
            planner.tell(&mut booking, Operation::Cancel, by);
            planner.forget(booking);
        }
        State::Archived => {
            planner.tell(&mut booking, Operation::Update, by);
            // What was accepted as it is, is healthy from now on.
            planner
                .memory
                .incidents
                .retain(|incident| !is_of(&booking, (&incident.scope, incident.family, incident.cause)));
            planner.forget(booking);
        }
        State::Holding if old.state == State::Suspected => planner.put(Some(old), booking),
        _ => {
            if tells(act) {
                planner.tell(&mut booking, Operation::Update, by);
            }
            planner.memory.bookings.insert(booking.key.clone(), booking.clone());
            planner.plan.bookings.push(booking);
        }
    }
    Ok(planner.plan)
}

/// Whether the vendor is told of an act: of all that people said, or that changes what is agreed.
fn tells(act: &Act) -> bool {
    !matches!(act, Act::Taken | Act::Strand | Act::Start | Act::Examined | Act::Checked(_))
}

fn is_of(booking: &Booking, (scope, family, cause): (&str, Family, Cause)) -> bool {
    (&booking.scope[..], booking.family, booking.cause) == (scope, family, cause)
}

/// Opens a booking by hand: of a kind that nothing measured opens.
pub fn open(
    memory: &mut Memory,
    kind: Kind,
    severity: Severity,
    text: &str,
    by: &By,
    terms: Terms<'_>,
    now: DateTime<Utc>,
) -> Plan {
    let mut planner = Planner::new(memory, terms, now);
    let scope = terms.site.room.id.clone();
    let old = planner.find(kind, &scope, Family::App, Cause::Room).cloned();
    let mut booking =
        old.clone().unwrap_or_else(|| planner.new_booking(kind, &scope, Family::App, Cause::Room, severity));
    booking.severity = booking.severity.max(severity);
    planner.describe(&mut booking);
    if let Ok(entry) = lifecycle::act(&mut booking, &Act::Note(text.to_owned()), by, now) {
        planner.plan.entries.push(entry);
    }
    planner.put(old, booking);
    planner.plan
}

/// What the clock does to bookings at `now`: a window opens, or closes. What the numbers say after the
/// observation is for the caller to find out: see [`observed`].
pub fn acts_due(memory: &Memory, now: DateTime<Utc>) -> Vec<(String, Act)> {
    let due = |booking: &Booking| {
        let appointment = booking.life.appointment;
        match booking.state {
            State::Confirmed if appointment.is_some_and(|window| window.start <= now) => Some(Act::Start),
            State::InMaintenance if closes(booking).is_some_and(|at| at <= now) => Some(Act::Report(String::new())),
            _ => None,
        }
    };
    memory.bookings.values().filter_map(|booking| Some((booking.key.clone(), due(booking)?))).collect()
}

/// When a window that is open closes by itself.
pub fn closes(booking: &Booking) -> Option<DateTime<Utc>> {
    let started = booking.life.started_at?;
    let visit = booking.class().visit(crate::booking::slot::span(booking.vendor.duration));
    let by_length = started.checked_add_signed(visit)?;
    Some(booking.life.appointment.map_or(by_length, |window: Window| window.end.max(started)))
}

/// Keys of bookings whose observation is over at `now`.
pub fn observed(memory: &Memory, now: DateTime<Utc>) -> Vec<String> {
    let is_over = |booking: &&Booking| {
        let observe = TimeDelta::from_std(booking.visit.observe.0).unwrap_or(TimeDelta::MAX);
        booking.state == State::Observing
            && booking.life.observed_from.and_then(|at| at.checked_add_signed(observe)).is_some_and(|at| at <= now)
    };
    memory.bookings.values().filter(is_over).map(|booking| booking.key.clone()).collect()
}

/// How long the vendor took so far, in minutes of its working hours; `None` before it was asked.
fn vendor_minutes(life: &Life, calendar: &Calendar, now: DateTime<Utc>) -> Option<VendorMinutes> {
    let asked = life.requested_at?;
    let minutes = |from: DateTime<Utc>, to: DateTime<Utc>| {
        let (from, to) = (from.min(now), to.min(now));
        let worked = calendar.vendor(from..to).map(|(window, _)| window.end.min(to) - window.start.max(from));
        let minutes = worked.filter(|time| *time > TimeDelta::zero()).sum::<TimeDelta>().num_minutes();
        u32::try_from(minutes).unwrap_or(u32::MAX)
    };
    let since = |to: Option<DateTime<Utc>>| to.map(|to| minutes(asked, to));
    Some(VendorMinutes {
        acknowledge: since(life.acknowledged_at),
        confirm: since(life.confirmed_at),
        start: since(life.started_at),
        work: life.started_at.zip(life.reported_at).map(|(from, to)| minutes(from, to)),
    })
}

#[cfg(test)]
mod tests;
