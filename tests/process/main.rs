//! The real program, driven from outside as anyone would drive it: files, HTTP, signals, systemd's
//! socket.
//!
//! Every daemon has a folder and a port of its own, so that all tests run side by side. Nothing sleeps
//! where something can be waited for, and no timing is asserted but that of a stop.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends when something is not as it should be"
)]
#![allow(clippy::disallowed_methods, reason = "waits end, and a stop is timed")]

mod bookings;
mod commands;
mod daemon;
mod disk;
mod echo;
mod hours;
mod http;
mod inspect;
mod lessons;
mod processes;
mod quiet;
mod reflect;
mod reload;
mod start;
mod stop;
mod systemd;
mod versions;
mod webhook;
