//! What bellwether thinks: it judges readings, remembers, books maintenance and exports.
//!
//! ```text
//! calendar   timetable, holidays, vendor hours → lessons and hours  pure
//! schedule   when a probe is due                                   pure
//! rule       how one metric is judged                              pure
//! judge      (rule, state, reading, now) → (state, verdict)        pure
//!   room     runs and verdicts → what is held against the room     pure
//!   engine   samples → half-hours → evidence → cases               pure
//! replay     recorded history through the decision engine          pure but for reading
//! history    what was measured, packed for years, and as JSON lines pure
//! archive    months and maintenances: stability, effect, intervals pure
//! incident   verdicts and cases → open faults                      pure
//! booking    incidents → bookings → orders                         pure, but for `dispatch`
//! inspection conclude(): all of the above for one inspection       pure
//! store      what must survive, one transaction a conclusion       shell
//! channel    one way to reach the vendor: request() pure, send()   shell
//! export     snapshot → Prometheus families                        pure
//! ```
//!
//! Invariants:
//! - Absence never heals: without a reading nothing closes.
//! - [`Memory`] changes only after the store took the change.
//! - An order's bytes are fixed when it is planned and are durable before they are sent.
//! - One open booking per scope, family and cause.
//! - Nothing here takes a reading, reads a clock or draws a random number by itself; `dispatch`,
//!   `channel` and `store` do I/O and are given the time.

pub mod archive;
pub mod booking;
pub mod calendar;
pub mod channel;
pub mod export;
pub mod history;
pub mod incident;
pub mod inspection;
pub mod judge;
pub mod replay;
pub mod rule;
pub mod schedule;
pub mod site;
pub mod store;

pub use booking::{Booking, Order};
pub use incident::Incident;
pub use inspection::{Conclusion, Inspection, Memory, conclude};
pub use rule::Rules;
pub use site::Site;
