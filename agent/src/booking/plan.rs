//! Incidents and version changes → bookings and orders.

use chrono::{DateTime, Utc};

use crate::{
    booking::{Booking, Order, VersionChange},
    channel::Channels,
    inspection::Memory,
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

/// Plans bookings for `memory.incidents` and for `checks`, the version changes of this inspection
/// that open an `upgrade_check`. Keeps `memory.bookings`, `memory.epochs` and `memory.opened_on`.
pub fn plan(
    _memory: &mut Memory,
    _checks: &[VersionChange],
    _site: &Site,
    _channels: &Channels,
    _now: DateTime<Utc>,
) -> Plan {
    Plan::default()
}
