//! When a probe is due: a pure function of the pattern, the last instant examined, and now.
//!
//! Nothing here keeps a timer. The caller asks once a minute, and at the exact instant that
//! [`Due::Wait`] names; a timer that fires early is simply told to wait again. Late runs are counted
//! and never made up for, because a burst after a suspend would measure itself.
//!
//! Daylight saving, in the schedule's own zone: a fixed hour that the clock leaps over is skipped, one
//! that it repeats runs at its first instant only; a pattern whose hour is `*` or `*/n` goes on through
//! both, so that a probe of every five minutes stays one of every five minutes.

pub mod gate;
pub mod look_ahead;
pub mod starved;

use std::time::Duration;

use chrono::{DateTime, Datelike, LocalResult, TimeDelta, TimeZone, Utc};
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
#[derive(Clone, Debug, PartialEq)]
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

/// Why a run that was due did not happen. Closed: the same word stands in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The probe's last run was still waiting or running.
    Busy,
    /// Its instant had passed: the box was suspended, stopped, or its clock was stepped.
    Missed,
    /// The room is taken, or nobody knows whether it is.
    Lesson,
    /// A lesson is too near for the probe to end before it, or has just ended.
    Margin,
    /// Somebody asked for quiet.
    Quiet,
    /// The room is in use beside its timetable.
    Occupied,
    /// It is heard in the room, and nobody has said when the room is free: no timetable is configured.
    Off,
}

impl Skip {
    /// All reasons.
    pub const ALL: [Self; 7] =
        [Self::Busy, Self::Missed, Self::Lesson, Self::Margin, Self::Quiet, Self::Occupied, Self::Off];

    /// Whether the hour is to blame, and not the box or the config.
    pub fn holds_back(self) -> bool {
        match self {
            Self::Busy | Self::Missed | Self::Off => false,
            Self::Lesson | Self::Margin | Self::Quiet | Self::Occupied => true,
        }
    }

    /// The word in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Missed => "missed",
            Self::Lesson => "lesson",
            Self::Margin => "margin",
            Self::Quiet => "quiet",
            Self::Occupied => "occupied",
            Self::Off => "off",
        }
    }
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
        if cron.find_next_occurrence(&DateTime::UNIX_EPOCH.naive_utc(), true).is_err() {
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
        // Beyond the year 5000 the search finds nothing, and takes long to do so.
        if after.year() >= 4900 {
            return None;
        }
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
    if next == DateTime::<Utc>::MAX_UTC {
        return (Due::Wait { at: next }, now);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant written here")
    }

    fn schedule(pattern: &str, zone: Tz) -> Schedule {
        Schedule::parse(pattern, zone, Duration::ZERO).expect("a pattern written here")
    }

    /// The instants in `(from, to]`, on the wall clock of the zone.
    fn between(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
        let (mut at, to) = (schedule.next(utc(from)), utc(to));
        let mut found = Vec::new();
        while at <= to {
            found.push(at.with_timezone(&schedule.zone).format("%d %H:%M %z").to_string());
            at = schedule.next(at);
        }
        found
    }

    #[test]
    fn instants_follow_the_wall_clock_of_the_school() {
        let table: [(&str, Tz, &str, &str, &[&str]); 11] = [
            // No daylight saving: 06:40 in Shanghai is 22:40 UTC of the day before.
            (
                "40 6 * * 1-5",
                Tz::Asia__Shanghai,
                "2026-11-19T00:00:00Z",
                "2026-11-23T23:00:00Z",
                &["20 06:40 +0800", "23 06:40 +0800", "24 06:40 +0800"],
            ),
            // Berlin leaps from 02:00 to 03:00 on 29 March: a fixed hour in the gap is skipped.
            (
                "30 2 * * *",
                Tz::Europe__Berlin,
                "2026-03-28T00:00:00Z",
                "2026-03-30T23:00:00Z",
                &["28 02:30 +0100", "30 02:30 +0200"],
            ),
            (
                "30 1-3 * * *",
                Tz::Europe__Berlin,
                "2026-03-29T00:00:00Z",
                "2026-03-29T10:00:00Z",
                &["29 01:30 +0100", "29 03:30 +0200"],
            ),
            // A wildcard hour goes on by elapsed time.
            (
                "*/30 * * * *",
                Tz::Europe__Berlin,
                "2026-03-29T00:00:00Z",
                "2026-03-29T01:30:00Z",
                &["29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"],
            ),
            // Berlin repeats 02:00 to 03:00 on 25 October: a fixed hour runs at its first instant.
            (
                "30 2 * * *",
                Tz::Europe__Berlin,
                "2026-10-24T12:00:00Z",
                "2026-10-26T12:00:00Z",
                &["25 02:30 +0200", "26 02:30 +0100"],
            ),
            (
                "30 2 * * *",
                Tz::Europe__Berlin,
                // 02:05 for the second time: 02:30 was half an hour ago.
                "2026-10-25T01:05:00Z",
                "2026-10-26T12:00:00Z",
                &["26 02:30 +0100"],
            ),
            (
                "*/30 2 * * *",
                Tz::Europe__Berlin,
                "2026-10-24T12:00:00Z",
                "2026-10-25T12:00:00Z",
                &["25 02:00 +0200", "25 02:30 +0200"],
            ),
            (
                "*/30 * * * *",
                Tz::Europe__Berlin,
                "2026-10-25T00:00:00Z",
                "2026-10-25T02:00:00Z",
                &["25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100"],
            ),
            (
                "0 1 * * *",
                Tz::America__New_York,
                "2026-10-31T12:00:00Z",
                "2026-11-02T12:00:00Z",
                &["01 01:00 -0400", "02 01:00 -0500"],
            ),
            // Lord Howe moves by half an hour: 02:00 to 02:30 in October, 02:00 to 01:30 in April.
            (
                "15 2 * * *",
                Tz::Australia__Lord_Howe,
                "2026-10-02T18:00:00Z",
                "2026-10-04T18:00:00Z",
                &["05 02:15 +1100"],
            ),
            (
                "*/15 * * * *",
                Tz::Australia__Lord_Howe,
                "2026-04-04T14:15:00Z",
                "2026-04-04T15:45:00Z",
                &[
                    "05 01:30 +1100",
                    "05 01:45 +1100",
                    "05 01:30 +1030",
                    "05 01:45 +1030",
                    "05 02:00 +1030",
                    "05 02:15 +1030",
                ],
            ),
        ];
        for (pattern, zone, from, to, expected) in table {
            assert_eq!(between(&schedule(pattern, zone), from, to), expected, "{pattern} in {zone} from {from}");
        }
    }

    #[test]
    fn a_probe_of_every_five_minutes_stays_one_through_every_change() {
        for (zone, from) in [
            (Tz::Europe__Berlin, "2026-03-28T22:00:00Z"),
            (Tz::Europe__Berlin, "2026-10-24T22:00:00Z"),
            (Tz::America__New_York, "2026-03-08T04:00:00Z"),
            (Tz::America__New_York, "2026-11-01T04:00:00Z"),
            (Tz::Australia__Lord_Howe, "2026-04-04T12:00:00Z"),
            (Tz::Australia__Lord_Howe, "2026-10-03T12:00:00Z"),
        ] {
            let schedule = schedule("*/5 * * * *", zone);
            let mut at = schedule.next(utc(from));
            for _ in 0..100 {
                let next = schedule.next(at);
                assert_eq!(next - at, TimeDelta::minutes(5), "{zone} at {at}");
                at = next;
            }
        }
    }

    #[test]
    fn the_pattern_has_five_fields() {
        let refused = |pattern| Schedule::parse(pattern, Tz::UTC, Duration::ZERO).expect_err("no pattern");
        assert_eq!(
            refused("0 */5 * * * *"),
            "found \"0 */5 * * * *\" with 6 fields, expected a cron pattern of five fields (minute hour day month \
             weekday), such as \"*/5 * * * *\""
        );
        assert!(refused("@hourly").contains("with 1 fields"));
        assert!(refused("61 * * * *").starts_with("found \"61 * * * *\" ("));
        assert!(refused("0 0 31 2 *").contains("which never comes"));
        assert!(Schedule::parse("0 0 29 2 *", Tz::UTC, Duration::ZERO).is_ok());
    }

    #[test]
    fn the_smallest_gap_is_found_wherever_it_is() {
        let table = [
            ("*/5 * * * *", 300),
            ("*/7 * * * *", 240),
            ("0,1 3 * * *", 60),
            ("*/5 8-17 * * 1-5", 300),
            ("0 8 * * *", 86_400 - 3600),
            ("0 8 1 * *", 30 * 86_400),
        ];
        for (pattern, seconds) in table {
            let schedule = schedule(pattern, Tz::Europe__Berlin);
            let got = schedule.min_interval(utc("2026-03-23T12:00:00Z"));
            assert_eq!(got, Duration::from_secs(seconds), "{pattern}");
        }
    }

    #[test]
    fn the_splay_spreads_rooms_and_stays_below_the_interval() {
        let five = Duration::from_secs(300);
        let rooms: Vec<String> = (0..300).map(|room| format!("B{}-{room}", room % 7)).collect();
        let mut taken: Vec<u64> = rooms.iter().map(|room| splay(room, five).as_secs()).collect();
        assert!(taken.iter().all(|seconds| *seconds < 300));
        taken.sort_unstable();
        taken.dedup();
        // 300 balls into 300 boxes fill 190 of them on average.
        assert!(taken.len() > 160, "only {} different", taken.len());
        assert_eq!(splay("B1-101", Duration::from_secs(86_400)), splay("B1-101", five));
        assert!(splay("B1-101", Duration::from_secs(60)) < Duration::from_secs(60));
        assert_eq!(splay("B1-101", Duration::ZERO), Duration::ZERO);
        // Stable between versions: a fleet must not move when it is updated.
        assert_eq!(splay("B1-101", five), Duration::from_secs(293));
    }

    #[test]
    fn the_splay_moves_every_instant() {
        let plain = schedule("*/5 * * * *", Tz::UTC);
        let now = utc("2026-11-24T10:00:10Z");
        let splayed = plain.clone().for_room("B1-102", now);
        let shift = TimeDelta::from_std(splay("B1-102", Duration::from_secs(300))).expect("short");
        assert!(shift > TimeDelta::zero());
        assert_eq!(splayed.next(now), plain.next(now - shift) + shift);
    }

    #[test]
    fn what_is_due_follows_from_the_last_instant_examined_and_now() {
        let schedule = schedule("*/5 * * * *", Tz::UTC);
        let wait = |at: &str| Due::Wait { at: utc(at) };
        let table = [
            ("nothing between", "10:00:00", "10:04:59", wait("2026-11-24T10:05:00Z"), "10:04:59"),
            (
                "the exact instant",
                "10:04:59",
                "10:05:00",
                Due::Run { at: utc("2026-11-24T10:05:00Z"), missed: 0 },
                "10:05:00",
            ),
            ("not again", "10:05:00", "10:05:01", wait("2026-11-24T10:10:00Z"), "10:05:01"),
            (
                "a late beat",
                "10:04:30",
                "10:06:30",
                Due::Run { at: utc("2026-11-24T10:05:00Z"), missed: 0 },
                "10:06:30",
            ),
            (
                "too late",
                "10:04:30",
                "10:06:31",
                Due::Missed { count: 1, next: utc("2026-11-24T10:10:00Z") },
                "10:06:31",
            ),
            (
                "stepped forward",
                "10:00:00",
                "11:03:00",
                Due::Missed { count: 12, next: utc("2026-11-24T11:05:00Z") },
                "11:03:00",
            ),
            ("suspended", "10:00:00", "11:05:20", Due::Run { at: utc("2026-11-24T11:05:00Z"), missed: 12 }, "11:05:20"),
            ("back a little", "10:05:01", "10:04:50", wait("2026-11-24T10:10:00Z"), "10:05:01"),
            ("back, nothing run between", "10:04:40", "10:03:00", wait("2026-11-24T10:05:00Z"), "10:04:40"),
            ("back by an interval", "10:05:01", "10:00:01", wait("2026-11-24T10:05:00Z"), "10:00:01"),
            ("back by hours", "10:05:01", "07:01:00", wait("2026-11-24T07:05:00Z"), "07:01:00"),
        ];
        for (name, last, now, expected, examined) in table {
            let at = |clock: &str| utc(&format!("2026-11-24T{clock}Z"));
            assert_eq!(due(&schedule, at(last), at(now)), (expected, at(examined)), "{name}");
        }
    }

    #[test]
    fn a_clock_that_starts_in_1970_is_answered_at_once() {
        let schedule = schedule("* * * * *", Tz::Asia__Shanghai);
        let (due, _) = due(&schedule, DateTime::UNIX_EPOCH, utc("2026-11-24T10:00:00Z"));
        assert_eq!(due, Due::Run { at: utc("2026-11-24T10:00:00Z"), missed: MAX_MISSED });
    }

    #[test]
    fn a_clock_beyond_all_reason_waits() {
        for pattern in ["* * * * *", "0 8 * * *"] {
            let schedule = schedule(pattern, Tz::Asia__Shanghai);
            for now in [utc("9000-01-01T00:00:00Z"), DateTime::<Utc>::MAX_UTC] {
                assert_eq!(due(&schedule, now, now).0, Due::Wait { at: DateTime::<Utc>::MAX_UTC });
                assert_eq!(due(&schedule, DateTime::<Utc>::MAX_UTC, now).0, Due::Wait { at: DateTime::<Utc>::MAX_UTC });
            }
        }
    }

    /// Beats once a minute, as the daemon does, on a clock that is stepped by `step` after `before` beats.
    fn runs(pattern: &str, step: TimeDelta, before: u32) -> Vec<DateTime<Utc>> {
        let schedule = schedule(pattern, Tz::Asia__Shanghai);
        let mut now = utc("2026-11-24T09:58:20Z");
        let (mut last, mut runs) = (now, Vec::new());
        for beat in 0..240 {
            let (due, examined) = due(&schedule, last, now);
            last = examined;
            if let Due::Run { at, .. } = due {
                runs.push(at);
            }
            now += TimeDelta::minutes(1);
            if beat == before {
                now += step;
            }
        }
        runs
    }

    #[test]
    fn a_clock_stepped_back_neither_repeats_a_run_nor_silences_the_probe() {
        for seconds in [1, 20, 59, 60, 61, 119, 180, 299] {
            for before in 0..12 {
                let mut runs = runs("*/5 * * * *", TimeDelta::seconds(-seconds), before);
                let count = runs.len();
                runs.dedup();
                assert_eq!(runs.len(), count, "a run was repeated: {seconds} s back at beat {before}");
                assert!(count >= 47, "{count} runs: {seconds} s back at beat {before}");
            }
        }
        for hours in [1, 24, 24 * 365] {
            for before in 0..12 {
                let count = runs("*/5 * * * *", TimeDelta::hours(-hours), before).len();
                assert!((47..=48).contains(&count), "{count} runs: {hours} h back at beat {before}");
            }
        }
    }

    #[test]
    fn every_minute_is_run_by_a_beat_of_every_minute() {
        assert_eq!(runs("* * * * *", TimeDelta::zero(), 0).len(), 239);
    }
}
