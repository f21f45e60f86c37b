//! Whether a probe waits for free time in vain. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Nobody wonders about a probe that did not run for a day of lessons.
const LEAST: Duration = Duration::from_secs(24 * 3600);
/// A probe that runs seldom may wait for as many of its intervals.
const INTERVALS: u32 = 8;

/// Whether a probe that last ran `since` found no free time for too long: for more than a day and for
/// more than eight of its intervals, while it was `held` back at least once.
pub fn starved(since: DateTime<Utc>, held: bool, interval: Duration, now: DateTime<Utc>) -> bool {
    let waited = (now - since).to_std().unwrap_or_default();
    held && waited > LEAST.max(interval.saturating_mul(INTERVALS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_starves_after_a_day_and_eight_intervals_without_free_time() {
        let hour = 3600;
        for (interval, waited, held, expected) in [
            (hour / 2, 24 * hour, true, false),
            (hour / 2, 24 * hour + 1, true, true),
            (hour / 2, 24 * hour + 1, false, false),
            (12 * hour, 96 * hour, true, false),
            (12 * hour, 96 * hour + 1, true, true),
            // The clock was stepped back.
            (hour / 2, -hour, true, false),
        ] {
            let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(waited);
            let interval = Duration::from_secs(interval as u64);
            assert_eq!(starved(DateTime::UNIX_EPOCH, held, interval, now), expected, "{interval:?} {waited} {held}");
        }
        assert!(!starved(DateTime::UNIX_EPOCH, true, Duration::MAX, DateTime::<Utc>::MAX_UTC));
    }
}
