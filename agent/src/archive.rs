//! What remains of a month or a maintenance: how stable a room was, and what a repair has brought.
//!
//! ```text
//! availability   minutes of lessons in which all that a lesson needs worked, and how many were seen
//! incidents      how often something broke, how long until it was well again
//! standardised   the bad end of a metric, as it was and as it would have been under the usual load
//! months         better, worse, or no clear change, against what the sister rooms did meanwhile
//! effect         before and after a maintenance: solved, not solved, inconclusive
//! ```
//!
//! Pure: values, lessons, bookings and the time come as arguments. Every estimate has its 95 % interval,
//! and what was not measured is said, not guessed. Half-hours of one room follow each other closely, so
//! none of the intervals counts them as independent: the spread is that of whole shifts of other rooms,
//! or of whole days.

pub mod availability;
pub mod effect;
pub mod incidents;
pub mod maintenance;
pub mod months;
pub mod standardised;
pub mod statistics;

use serde::Serialize;

/// An estimate with its two-sided 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The best guess.
    pub estimate: f64,
    /// Lower end; minus infinity if nothing is known of it.
    pub low: f64,
    /// Upper end; infinity if nothing is known of it.
    pub high: f64,
}

impl Interval {
    /// The same in units that are `factor` times as small; `factor` is above 0. Shifts in material units
    /// become shifts in the metric's own (transformed) unit when scaled by what is material.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { estimate: self.estimate * factor, low: self.low * factor, high: self.high * factor }
    }

    /// What the whole interval says of a change, where more is worse: `least` is the smallest change that
    /// counts.
    pub fn change(self, least: f64) -> Change {
        if self.low > least {
            Change::Worse
        } else if self.high < -least {
            Change::Better
        } else {
            Change::Unclear
        }
    }
}

/// The three words for a change between two months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The whole interval lies on the better side.
    Better,
    /// The whole interval lies on the worse side.
    Worse,
    /// Neither: no clear change.
    #[serde(rename = "no_clear_change")]
    Unclear,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_by_its_whole_interval() {
        let of = |low: f64, high: f64| Interval { estimate: f64::midpoint(low, high), low, high }.change(0.25);
        assert_eq!(of(0.3, 9.0), Change::Worse);
        assert_eq!(of(-9.0, -0.3), Change::Better);
        for (low, high) in [(0.2, 9.0), (-9.0, -0.2), (-9.0, 9.0), (f64::NEG_INFINITY, f64::INFINITY)] {
            assert_eq!(of(low, high), Change::Unclear, "{low} to {high}");
        }
    }
}
