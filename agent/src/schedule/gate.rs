//! Whether a probe that is due may run now. Pure.
//!
//! A light probe runs always: it is silent, small, and takes nothing that a lesson needs. A heavy one
//! runs in free time only. Of several reasons against it the first of these is named: nobody knows the
//! timetable, or there is a lesson; somebody asked for quiet; the room is occupied; a lesson is near.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Skip;
use crate::calendar::{Calendar, Certainty, Lesson};

/// How much a probe disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Not at all: it runs always.
    Light,
    /// It takes of what a lesson needs, or may be seen or heard: it runs in free time only.
    Heavy,
}

/// What holds probes back.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'c> {
    /// Lessons.
    pub calendar: &'c Calendar,
    /// How far a heavy probe keeps from lessons, before and after.
    pub margin: TimeDelta,
    /// Until when somebody asked for quiet.
    pub quiet_until: Option<DateTime<Utc>>,
    /// Whether the room is in use beside the timetable.
    pub occupied: bool,
}

/// Whether a probe of this weight that takes no longer than `longest` may start now.
///
/// # Errors
/// Why not.
pub fn gate(weight: Weight, longest: TimeDelta, conditions: Conditions<'_>, now: DateTime<Utc>) -> Result<(), Skip> {
    if weight == Weight::Light {
        return Ok(());
    }
    let lessons = held_by(longest, conditions, now);
    if matches!(lessons, Held::Unknown | Held::Lesson(_)) {
        return Err(Skip::Lesson);
    }
    if conditions.quiet_until.is_some_and(|until| now < until) {
        return Err(Skip::Quiet);
    }
    if conditions.occupied {
        return Err(Skip::Occupied);
    }
    if matches!(lessons, Held::Margin(_)) { Err(Skip::Margin) } else { Ok(()) }
}

/// Whether a probe that people in the room hear may run by itself at all: only where a timetable says when the
/// room is free. Without one, nothing else would keep it out of a lesson.
///
/// # Errors
/// [`Skip::Off`].
pub fn may_be_heard(calendar: &Calendar) -> Result<(), Skip> {
    if calendar.timetable() == Certainty::NoTimetable { Err(Skip::Off) } else { Ok(()) }
}

/// The next instant, `now` or later, at which a probe may start if nobody occupies the room then.
/// `None` if none is known.
pub fn free_again(
    weight: Weight,
    longest: TimeDelta,
    conditions: Conditions<'_>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let conditions = Conditions { occupied: false, ..conditions };
    let mut at = now;
    loop {
        let Err(skip) = gate(weight, longest, conditions, at) else { return Some(at) };
        let later = match (skip, held_by(longest, conditions, at)) {
            (Skip::Quiet, _) => conditions.quiet_until?,
            (_, Held::Lesson(lesson) | Held::Margin(lesson)) => lesson.end.checked_add_signed(conditions.margin)?,
            // Only what lies before the dates that were looked at is known later.
            _ => conditions.calendar.known().start.checked_add_signed(conditions.margin)?,
        };
        if later <= at {
            return None;
        }
        at = later;
    }
}

/// What the timetable says of a heavy run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held<'c> {
    /// Nothing against it.
    Free,
    /// Nobody knows, of some instant of it or of its margins.
    Unknown,
    /// It would start in this lesson; the one that ends last if there are several.
    Lesson(&'c Lesson),
    /// This lesson is too near, after or before; the one before it if both are.
    Margin(&'c Lesson),
}

/// What the timetable says of a heavy run of at most `longest` that starts now; [`gate`] goes by it.
pub fn held_by(longest: TimeDelta, conditions: Conditions<'_>, now: DateTime<Utc>) -> Held<'_> {
    let Conditions { calendar, margin, .. } = conditions;
    if calendar.timetable() == Certainty::NoTimetable {
        return Held::Free;
    }
    let from = now.checked_sub_signed(margin);
    let until = now.checked_add_signed(longest).and_then(|end| end.checked_add_signed(margin));
    let (Some(from), Some(until)) = (from, until) else { return Held::Unknown };
    let known = calendar.known();
    if calendar.timetable() == Certainty::Unreadable || from < known.start || until > known.end {
        return Held::Unknown;
    }
    if let Some(lesson) = calendar.lesson_at(now) {
        return Held::Lesson(lesson);
    }
    if let Some(lesson) = calendar.last_before(now).filter(|lesson| lesson.end > from) {
        return Held::Margin(lesson);
    }
    match calendar.next_lesson(now) {
        Some(lesson) if lesson.start < until => Held::Margin(lesson),
        _ => Held::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::tests::{calendar, random_lessons};

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant written here")
    }

    fn minutes(count: i64) -> TimeDelta {
        TimeDelta::minutes(count)
    }

    fn conditions(calendar: &Calendar) -> Conditions<'_> {
        Conditions { calendar, margin: minutes(10), quiet_until: None, occupied: false }
    }

    #[test]
    fn a_heavy_probe_keeps_out_of_lessons_and_their_margins() {
        let calendar = calendar(&[(480, 525), (585, 630)]);
        let table = [
            ("07:45:00", Ok(())),
            ("07:45:01", Err(Skip::Margin)),
            ("07:59:59", Err(Skip::Margin)),
            ("08:00:00", Err(Skip::Lesson)),
            ("08:44:59", Err(Skip::Lesson)),
            ("08:45:00", Err(Skip::Margin)),
            ("08:54:59", Err(Skip::Margin)),
            ("08:55:00", Ok(())),
            ("09:30:00", Ok(())),
            ("09:30:01", Err(Skip::Margin)),
            ("10:40:00", Ok(())),
        ];
        for (clock, expected) in table {
            let now = utc(&format!("2026-11-23T{clock}Z"));
            assert_eq!(gate(Weight::Heavy, minutes(5), conditions(&calendar), now), expected, "{clock}");
            assert_eq!(gate(Weight::Light, minutes(5), conditions(&calendar), now), Ok(()), "{clock}");
        }
        let held = |clock: &str| {
            let now = utc(&format!("2026-11-23T{clock}:00Z"));
            match held_by(minutes(5), conditions(&calendar), now) {
                Held::Lesson(lesson) => format!("in {}", lesson.title),
                Held::Margin(lesson) => format!("near {}", lesson.title),
                other => format!("{other:?}"),
            }
        };
        let clocks = ["07:45", "07:46", "08:00", "08:50", "08:55", "09:31"].map(held);
        assert_eq!(clocks, ["Free", "near 480-525", "in 480-525", "near 480-525", "Free", "near 585-630"]);
    }

    #[test]
    fn the_first_of_several_reasons_is_named() {
        let calendar = calendar(&[(480, 525)]);
        let quiet_until = Some(utc("2026-11-23T15:00:00Z"));
        let table = [
            ("08:00:00", quiet_until, true, Err(Skip::Lesson)),
            ("08:46:00", quiet_until, true, Err(Skip::Quiet)),
            ("08:46:00", None, true, Err(Skip::Occupied)),
            ("08:46:00", None, false, Err(Skip::Margin)),
            ("14:59:59", quiet_until, false, Err(Skip::Quiet)),
            ("15:00:00", quiet_until, true, Err(Skip::Occupied)),
            ("15:00:00", quiet_until, false, Ok(())),
        ];
        for (clock, quiet_until, occupied, expected) in table {
            let conditions = Conditions { quiet_until, occupied, ..conditions(&calendar) };
            let now = utc(&format!("2026-11-23T{clock}Z"));
            assert_eq!(gate(Weight::Heavy, minutes(1), conditions, now), expected, "{clock}");
            assert_eq!(gate(Weight::Light, minutes(1), conditions, now), Ok(()), "{clock}");
        }
    }

    #[test]
    fn what_nobody_knows_is_a_lesson() {
        let known = calendar(&[]);
        let table = [
            ("2026-11-23T00:09:59Z", Err(Skip::Lesson)),
            ("2026-11-23T00:10:00Z", Ok(())),
            ("2026-11-26T23:45:00Z", Ok(())),
            ("2026-11-26T23:45:01Z", Err(Skip::Lesson)),
            ("2027-01-01T00:00:00Z", Err(Skip::Lesson)),
        ];
        for (now, expected) in table {
            assert_eq!(gate(Weight::Heavy, minutes(5), conditions(&known), utc(now)), expected, "{now}");
        }
        for now in [utc("2026-11-24T12:00:00Z"), DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let unreadable = known.clone().believed(Certainty::Unreadable);
            assert_eq!(gate(Weight::Heavy, minutes(5), conditions(&unreadable), now), Err(Skip::Lesson));
            assert_eq!(free_again(Weight::Heavy, minutes(5), conditions(&unreadable), now), None);
            let none = known.clone().believed(Certainty::NoTimetable);
            assert_eq!(gate(Weight::Heavy, minutes(5), conditions(&none), now), Ok(()));
        }
        let stale = known.believed(Certainty::Stale);
        assert_eq!(gate(Weight::Heavy, minutes(5), conditions(&stale), utc("2026-11-24T12:00:00Z")), Ok(()));
    }

    #[test]
    fn what_is_heard_waits_for_a_timetable_however_little_is_known_of_it() {
        let known = calendar(&[]);
        assert_eq!(may_be_heard(&known), Ok(()));
        assert_eq!(may_be_heard(&known.clone().believed(Certainty::Unreadable)), Ok(()), "nothing is free then");
        assert_eq!(may_be_heard(&known.believed(Certainty::NoTimetable)), Err(Skip::Off));
        assert!(!Skip::Off.holds_back(), "no hour makes up for it");
    }

    #[test]
    fn a_run_and_its_margins_touch_no_lesson_and_the_next_chance_is_the_first() {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut runs, mut again) = (0, 0);
        for _ in 0..60 {
            let calendar = calendar(&random_lessons(&mut random));
            let known = calendar.known();
            let (longest, margin) = (minutes(random.i64(0..30)), minutes(random.i64(0..15)));
            let quiet_until = random.bool().then(|| known.start + minutes(random.i64(0..1000)));
            let conditions = Conditions { margin, quiet_until, ..conditions(&calendar) };
            let may = |now: DateTime<Utc>| gate(Weight::Heavy, longest, conditions, now).is_ok();
            let until = known.end - known.start;
            let grid: Vec<_> = (-60..until.num_minutes() + 60).map(|minute| known.start + minutes(minute)).collect();
            let mut next = None;
            for now in grid.into_iter().rev() {
                let run = now - margin..now + longest + margin;
                let apart = calendar.all().iter().all(|lesson| {
                    lesson.end <= run.start || lesson.start >= run.end && !(lesson.start <= now && now < lesson.end)
                });
                let inside = known.start <= run.start && run.end <= known.end;
                let free = apart && inside && quiet_until.is_none_or(|until| until <= now);
                assert_eq!(may(now), free, "{now}");
                next = if free { Some(now) } else { next };
                runs += i32::from(free);
                again += i32::from(next.is_some() && !free);
                assert_eq!(free_again(Weight::Heavy, longest, conditions, now), next, "{now}");
            }
        }
        assert!(runs > 20_000 && again > 20_000, "{runs} runs, {again} times to wait");
    }
}
