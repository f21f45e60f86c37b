//! Half-hours and days: blocks are counted in UTC, only hours and days are those of the site.

use chrono::{DateTime, Datelike, Offset, TimeZone, Timelike};
use chrono_tz::Tz;

/// Length of a block in milliseconds.
pub const BLOCK_MS: i64 = 1_800_000;
/// Length of a block in hours.
pub const BLOCK_HOURS: f64 = 0.5;
/// Blocks in 24 hours.
pub const DAY_BLOCKS: i64 = 48;

/// Number of the block that contains an instant, given in milliseconds since 1970.
pub fn block_of(at: i64) -> i64 {
    at.div_euclid(BLOCK_MS)
}

/// First instant of a block.
pub fn start_of(block: i64) -> i64 {
    block.saturating_mul(BLOCK_MS)
}

/// When a block begins by the clocks on the site's walls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Half-hour of the day, from 0 to 47.
    pub half_hour: u8,
    /// Whether the day is a Saturday or a Sunday.
    pub weekend: bool,
}

impl Local {
    /// Local time in the middle of a block, so that zones with odd offsets come out right.
    pub fn of(block: i64, zone: Tz) -> Self {
        Self::at(start_of(block).saturating_add(BLOCK_MS / 2), zone)
    }

    /// Local time of an instant in milliseconds since 1970.
    pub fn at(at: i64, zone: Tz) -> Self {
        let utc = DateTime::from_timestamp_millis(at).unwrap_or_default().naive_utc();
        let offset = i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
        let local = utc.checked_add_signed(chrono::TimeDelta::seconds(offset)).unwrap_or(utc);
        let half_hour = (local.hour() * 2 + local.minute() / 30).min(47) as u8;
        let weekend = local.weekday().number_from_monday() > 5;
        Self { day: local.num_days_from_ce() - 719_163, half_hour, weekend }
    }
}
