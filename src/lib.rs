//! The binary: it wires probes and agent together and owns everything that listens, beats or ends.
//!
//! [`daemon`] is the main loop. Start reading there.

use chrono::{DateTime, Utc};

pub mod analyse;
pub mod baseline;
pub mod bookings;
pub mod calendar;
pub mod channel;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod files;
pub mod heartbeat;
pub mod history;
pub mod holidays;
pub mod inspect;
pub mod memory;
pub mod occupied;
pub mod quiet;
pub mod reflect;
pub mod replay;
mod sound;
pub mod systemd;
pub mod table;
pub mod timetable;
pub mod web;
pub mod when;
pub mod why;

/// Where the time comes from; tests bring their own.
pub trait Clock: Fn() -> DateTime<Utc> + Clone + Send + Sync + 'static {}

impl<F: Fn() -> DateTime<Utc> + Clone + Send + Sync + 'static> Clock for F {}
