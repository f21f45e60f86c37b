//! Too many bookings within an hour: what comes beyond joins one booking, and stays with it.

use bellwether_probes::Family;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Planner, orders::same_series};
use crate::{
    booking::{
        Booking, Kind, Severity,
        life::{By, Note},
        lifecycle::Act,
    },
    incident::{Cause, Incident},
};

/// The span in which bookings are counted.
const STORM: TimeDelta = TimeDelta::hours(1);
/// How long all that joined must have been away before the booking is withdrawn.
const STAYED_AWAY: TimeDelta = TimeDelta::hours(24);

impl Planner<'_> {
    /// Whether an incident without a booking has its part in the one booking that all join once too many were opened
    /// within an hour; what has joined it stays with it.
    pub(super) fn is_joined(&self, incident: &Incident) -> bool {
        let kind = if incident.cause == Cause::Load { Kind::Capacity } else { Kind::Fault };
        if self.find(kind, &incident.scope, incident.family, incident.cause).is_some() {
            return false;
        }
        let joint = self.find(Kind::Unsure, &self.site.room.id, Family::App, Cause::Room);
        let has = |booking: &Booking| {
            booking.evidence.iter().any(|known| incident.evidence.iter().any(|found| same_series(known, found)))
        };
        let is_new = |opened: DateTime<Utc>| self.now - opened < STORM && opened <= self.now;
        let open = self.memory.bookings.values().filter(|booking| booking.kind != Kind::UpgradeCheck);
        let lately = open.map(|booking| booking.opened_at).chain(self.memory.recent.iter().map(|one| one.opened_at));
        let count = lately.filter(|opened| is_new(*opened)).count();
        joint.is_some_and(has) || incident.recovered_at.is_none() && count >= self.site.policy.most_per_hour as usize
    }

    /// Plans the one booking for all that has joined.
    pub(super) fn join(&mut self, joined: Vec<(Incident, Severity)>) {
        let Some(severity) = joined.iter().map(|(_, severity)| *severity).max() else { return };
        let old = self.find(Kind::Unsure, &self.site.room.id, Family::App, Cause::Room).cloned();
        let mut booking = old.clone().unwrap_or_else(|| {
            let room = &self.site.room.id;
            let mut booking = self.new_booking(Kind::Unsure, room, Family::App, Cause::Room, severity);
            let most = self.site.policy.most_per_hour;
            let text = format!("{most} bookings were opened within an hour: what came then is joined here");
            booking.life.notes.push(Note { at: self.now, by: By::Bellwether, text });
            booking
        });
        booking.severity = booking.severity.max(severity);
        let gone = joined.iter().map(|(incident, _)| incident.recovered_at).collect::<Option<Vec<_>>>();
        booking.recovered_at = gone.and_then(|times| times.into_iter().max());
        booking.evidence = joined.iter().flat_map(|(incident, _)| incident.evidence.iter().cloned()).collect();
        booking.changes = self.memory.changes.iter().rev().cloned().collect();
        self.describe(&mut booking);
        let is_over = booking.recovered_at.is_some_and(|at| self.now - at >= STAYED_AWAY);
        if is_over && !booking.state.is_under_way() {
            return self.end(booking, &Act::Cancel("it went away".to_owned()), &By::Bellwether);
        }
        self.memory.incidents.extend(joined.into_iter().map(|(incident, _)| incident));
        self.put(old, booking);
    }
}
