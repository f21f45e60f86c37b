//! Recorded history through the decision engine, with the data's own clock.
//!
//! ```text
//! bytes → line (one JSON object) → order (sorted within 15 minutes) → engine → output (JSON lines)
//! ```
//!
//! Forgiving: a line that cannot be read ends the run with its number, or is counted when bad lines are
//! skipped; lines that are late, twice, absurd or of unknown metrics are counted. No wall clock and no
//! randomness: the same input and configuration give the same bytes.

mod compare;
mod line;
mod order;
mod output;
mod run;
mod site_file;

pub use compare::compare;
pub use line::{Item, Line, Malformed, parse};
pub use output::write;
pub use run::{LONGEST_LINE, ReadError, Replay, Summary, late_lessons, printer, read, read_line};
pub use site_file::{EngineShape, LimitShape, MetricShape, RoomShape, SiteFile, SiteShape};

#[cfg(test)]
mod tests;
