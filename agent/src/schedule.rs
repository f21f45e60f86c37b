//! When a probe is due: a pure function of the pattern, the last instant examined, and now.
//!
//! Nothing here keeps a timer. The caller asks once a minute, and at the exact instant that
//! [`Due::Wait`] names; a timer that fires early is simply told to wait again. Late runs are counted
//! and never made up for, because a burst after a suspend would measure itself.
//!
//! Daylight saving, in the schedule's own zone: a fixed hour that the clock leaps over is skipped, one
//! that it repeats runs at its first instant only; a pattern whose hour is `*` or `*/n` goes on through
//! both, so that a probe of every five minutes stays one of every five minutes.

use std::time::Duration;

use chrono::{DateTime, LocalResult, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use sha2::{Digest, Sha256};

/// How late a run may start. Above the minute between two beats, so that one beat may be lost.
const GRACE: TimeDelta = TimeDelta::seconds(90);

/// Rooms are spread over no more than this.
const MAX_SPLAY: Duration = Duration::from_secs(300);

/// More missed runs than this are not counted one by one: a box without a battery clock starts in 1970.
const MAX_MISSED: u32 = 10_000;

/// When a probe runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
    splay: TimeDelta,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing until `at`.
    Wait {
        /// The next instant of the schedule; far in the future if there is none.
        at: DateTime<Utc>,
    },
    /// Run once, now.
    Run {
        /// The instant that this run is for; at most the grace of 90 s ago.
        at: DateTime<Utc>,
        /// How many instants before `at` have passed without a run.
        missed: u32,
    },
    /// The instants that have passed are too long ago to run for.
    Missed {
        /// How many there were.
        count: u32,
        /// The next instant of the schedule.
        next: DateTime<Utc>,
    },
}

impl Schedule {
    /// A schedule of a cron pattern of five fields in `zone`, every instant of it later by `splay`.
    ///
    /// # Errors
    /// What is wrong with the pattern, in one line: not five fields, no cron pattern, or no instant.
    pub fn parse(pattern: &str, zone: Tz, splay: Duration) -> Result<Self, String> {
        const EXPECTED: &str =
            "expected a cron pattern of five fields (minute hour day month weekday), such as \"*/5 * * * *\"";
        let fields = pattern.split_whitespace().count();
        if fields != 5 {
            return Err(format!("found {pattern:?} with {fields} fields, {EXPECTED}"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(pattern).map_err(|error| format!("found {pattern:?} ({error}), {EXPECTED}"))?;
        // Any instant does to ask from: a pattern without years that matches once matches again.
        let from = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap_or_default().and_hms_opt(0, 0, 0).unwrap_or_default();
        if cron.find_next_occurrence(&from, true).is_err() {
            return Err(format!("found {pattern:?}, which never comes, {EXPECTED}"));
        }
        let splay = TimeDelta::from_std(splay).map_err(|_| format!("found a splay of {} s", splay.as_secs()))?;
        Ok(Self { cron, zone, splay })
    }

    /// The same pattern, spread for `room_id` by [`splay`].
    #[must_use]
    pub fn for_room(self, room_id: &str, now: DateTime<Utc>) -> Self {
        let splay = splay(room_id, self.min_interval(now));
        Self { splay: TimeDelta::from_std(splay).unwrap_or_default(), ..self }
    }

    /// The first instant after `after`; `DateTime::MAX_UTC` if there is none.
    pub fn next(&self, after: DateTime<Utc>) -> DateTime<Utc> {
        let found = after.checked_sub_signed(self.splay).and_then(|after| self.next_of_cron(after));
        found.and_then(|at| at.checked_add_signed(self.splay)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn next_of_cron(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = after.with_timezone(&self.zone);
        if self.cron.pattern.hours.from_wildcard {
            return Some(self.cron.find_next_occurrence(&local, false).ok()?.with_timezone(&Utc));
        }
        // Walked on the wall clock, which knows no leaps, and then looked up in the zone.
        let mut wall = local.naive_local();
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            match self.zone.from_local_datetime(&wall) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) if at > after => {
                    return Some(at.with_timezone(&Utc));
                }
                // Leapt over, or the second instant of a repeated hour.
                _ => {}
            }
        }
    }

    /// The smallest gap between the instants after `now`: of the next 100, and of no more than nine
    /// days. A run's deadline must be below it.
    pub fn min_interval(&self, now: DateTime<Utc>) -> Duration {
        let mut at = self.next(now);
        let mut least: Option<TimeDelta> = None;
        for _ in 0..100 {
            let following = self.next(at);
            let gap = following - at;
            least = Some(least.map_or(gap, |least| least.min(gap)));
            if following - now > TimeDelta::days(9) {
                break;
            }
            at = following;
        }
        least.unwrap_or(TimeDelta::MAX).to_std().unwrap_or(Duration::MAX)
    }
}

/// How much later than its pattern everything in a room runs, so that the rooms of a school do not
/// all measure at once: a hash of the room's identifier modulo `interval`, at most 300 s. Whole
/// seconds, below `interval`; the same for all probes of a room with the same interval, so that they
/// keep their order.
pub fn splay(room_id: &str, interval: Duration) -> Duration {
    let seconds = interval.min(MAX_SPLAY).as_secs();
    let digest = Sha256::digest(room_id.as_bytes());
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    Duration::from_secs(hash.checked_rem(seconds).unwrap_or(0))
}

/// Says whether a probe is due, given that every instant up to `last` was examined. The second value
/// is `last` for the next question.
///
/// A clock that was stepped back by less than an interval repeats nothing: the next run is the first
/// instant that was not examined before the step. One that was stepped back further is believed: the
/// next run is the first instant after `now`, so a probe is never silent for longer than an interval
/// and the step together.
pub fn due(schedule: &Schedule, last: DateTime<Utc>, now: DateTime<Utc>) -> (Due, DateTime<Utc>) {
    let next = schedule.next(now);
    if last > now {
        let interval = schedule.next(next) - next;
        return if last - now < interval {
            (Due::Wait { at: schedule.next(last) }, last)
        } else {
            (Due::Wait { at: next }, now)
        };
    }
    // The newest instant that is not too old, and then how many there were before it.
    let mut newest = None;
    let mut at = schedule.next(last.max(now - GRACE - TimeDelta::seconds(1)));
    while at <= now {
        if now - at <= GRACE {
            newest = Some(at);
        }
        at = schedule.next(at);
    }
    let count = count_between(schedule, last, newest.unwrap_or(at));
    let due = match newest {
        Some(at) => Due::Run { at, missed: count },
        None if count > 0 => Due::Missed { count, next },
        None => Due::Wait { at: next },
    };
    (due, now)
}

/// How many instants lie between the two, both excluded; at most [`MAX_MISSED`].
fn count_between(schedule: &Schedule, after: DateTime<Utc>, before: DateTime<Utc>) -> u32 {
    let mut count = 0;
    let mut at = schedule.next(after);
    while at < before && count < MAX_MISSED {
        count += 1;
        at = schedule.next(at);
    }
    count
}
