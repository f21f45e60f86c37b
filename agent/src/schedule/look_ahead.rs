//! When a room is looked at before it is taught in. Pure.
//!
//! Before the first lesson of a day, and before one that follows a long break, everything is looked at
//! while there is still time to act. As with [`super::due`], the caller asks once a minute; a check
//! whose time has passed is not made up for.

use chrono::{DateTime, TimeDelta, Utc};

use crate::calendar::{Calendar, Lesson, zone};

/// A clock that was set back by less repeats no check; one that was set back further is believed.
const BELIEVED: TimeDelta = TimeDelta::days(1);

/// When lessons are looked ahead of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookAhead {
    /// How long before a lesson the check may start; zero or less: never.
    pub ahead: TimeDelta,
    /// A lesson after at least this long without one is looked ahead of, too.
    pub long_break: TimeDelta,
    /// How far the check keeps from lessons, before and after.
    pub margin: TimeDelta,
    /// How long the check takes at most.
    pub longest: TimeDelta,
}

/// The lesson that a check is due for, given that every instant up to `last` was examined. The second
/// value is `last` for the next question.
///
/// Each lesson is given at most once: when its time began after `last` and still lasts. It lasts from
/// `ahead` before the lesson, or from the end of the last one and the margin, until the check could no
/// longer end by a margin before the lesson.
pub fn look_ahead(
    calendar: &Calendar,
    rule: LookAhead,
    last: DateTime<Utc>,
    now: DateTime<Utc>,
) -> (Option<&Lesson>, DateTime<Utc>) {
    if last > now {
        return (None, if last - now < BELIEVED { last } else { now });
    }
    let due = checks(calendar, rule, now)
        .take_while(|check| check.from <= now)
        .find(|check| check.from > last && now <= check.until)
        .map(|check| check.lesson);
    (due, now)
}

/// The next instant at which a check becomes due, and the lesson it is for; `None` if none is known.
pub fn next_look_ahead(calendar: &Calendar, rule: LookAhead, after: DateTime<Utc>) -> Option<(DateTime<Utc>, &Lesson)> {
    let next = checks(calendar, rule, after).find(|check| check.from > after)?;
    Some((next.from, next.lesson))
}

/// A check that is wanted, and from when until when it may start.
struct Check<'c> {
    lesson: &'c Lesson,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// The checks of the lessons that begin after an instant, by the lessons' and their own starts.
fn checks(calendar: &Calendar, rule: LookAhead, after: DateTime<Utc>) -> impl Iterator<Item = Check<'_>> {
    let lessons = calendar.all();
    let first = if rule.ahead > TimeDelta::zero() {
        lessons.partition_point(|lesson| lesson.start <= after)
    } else {
        lessons.len()
    };
    (first..lessons.len()).filter_map(move |index| check(calendar, rule, index))
}

/// The check before a lesson; `None` if none is wanted, or if there is no time for one.
fn check(calendar: &Calendar, rule: LookAhead, index: usize) -> Option<Check<'_>> {
    let lesson = calendar.all().get(index)?;
    let mut from = lesson.start.checked_sub_signed(rule.ahead)?;
    let until = lesson.start.checked_sub_signed(rule.margin)?.checked_sub_signed(rule.longest)?;
    if let Some(index) = index.checked_sub(1) {
        let (before, reached) = (calendar.all().get(index)?, calendar.reached(index)?);
        let date = |at| zone::date(calendar.zone(), at);
        let first_of_day = date(before.start) < date(lesson.start);
        if reached.end >= lesson.start || !(first_of_day || lesson.start - reached.end >= rule.long_break) {
            return None;
        }
        from = from.max(reached.end.checked_add_signed(rule.margin)?);
    }
    (from <= until).then_some(Check { lesson, from, until })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::tests::{calendar, random_lessons};

    const MONDAY: &str = "2026-11-23T00:00:00Z";

    fn at(minute: i64) -> DateTime<Utc> {
        MONDAY.parse::<DateTime<Utc>>().expect("an instant written here") + TimeDelta::minutes(minute)
    }

    fn rule(ahead: i64, long_break: i64, margin: i64, longest: i64) -> LookAhead {
        let minutes = TimeDelta::minutes;
        LookAhead {
            ahead: minutes(ahead),
            long_break: minutes(long_break),
            margin: minutes(margin),
            longest: minutes(longest),
        }
    }

    /// The checks of beats once a minute, each as its minute and the minute of its lesson.
    fn beats(calendar: &Calendar, rule: LookAhead, minutes: impl Iterator<Item = i64>) -> Vec<(i64, i64)> {
        let (mut last, mut found) = (None, Vec::new());
        for minute in minutes {
            let (due, examined) = look_ahead(calendar, rule, last.unwrap_or(at(minute)), at(minute));
            last = Some(examined);
            found.extend(due.map(|lesson| (minute, (lesson.start - at(0)).num_minutes())));
        }
        found
    }

    #[test]
    fn the_first_lesson_of_a_day_and_one_after_a_long_break_are_looked_ahead_of() {
        let day = 24 * 60;
        let lessons = [
            (480, 525),
            (535, 580),
            // Twenty minutes less than a long break, and then exactly one.
            (680, 720),
            (840, 885),
            (day + 480, day + 525),
            // Over midnight: not the next day's first, and nobody may look during it.
            (day + 1400, 2 * day + 30),
            (2 * day + 65, 2 * day + 90),
            (2 * day + 100, 2 * day + 110),
        ];
        let calendar = calendar(&lessons);
        let every =
            [(450, 480), (810, 840), (day + 450, day + 480), (day + 1370, day + 1400), (2 * day + 40, 2 * day + 65)];
        assert_eq!(beats(&calendar, rule(30, 120, 10, 5), 0..4 * day), every);
        // With more time needed than there is after the night's event, that one is left out.
        assert_eq!(beats(&calendar, rule(30, 120, 10, 16), 0..4 * day), every[..4]);
        assert_eq!(beats(&calendar, rule(0, 120, 10, 5), 0..4 * day), []);
        let mut next = Vec::new();
        let mut after = at(0);
        while let Some((from, lesson)) = next_look_ahead(&calendar, rule(30, 120, 10, 5), after) {
            next.push(((from - at(0)).num_minutes(), (lesson.start - at(0)).num_minutes()));
            after = from;
        }
        assert_eq!(next, every);
    }

    #[test]
    fn a_check_is_made_once_in_its_time_or_not_at_all() {
        let calendar = calendar(&[(480, 525)]);
        let rule = rule(30, 120, 10, 5);
        let table: [(&str, &[i64], &[i64]); 8] = [
            ("each minute", &[448, 449, 450, 451, 452], &[450]),
            ("a late beat", &[440, 460, 461], &[460]),
            ("the last instant", &[440, 465, 466], &[465]),
            ("too late", &[440, 466, 467], &[]),
            ("started within its time", &[455, 456, 457], &[]),
            ("set back over it", &[449, 450, 430, 449, 450, 451], &[450]),
            ("set forward, then back", &[449, 470, 440, 450, 460], &[]),
            ("set back by a day, and believed", &[2000, 449, 450, 451], &[450]),
        ];
        for (name, minutes, expected) in table {
            let expected: Vec<_> = expected.iter().map(|minute| (*minute, 480)).collect();
            assert_eq!(beats(&calendar, rule, minutes.iter().copied()), expected, "{name}");
        }
    }

    #[test]
    fn no_lesson_is_looked_ahead_of_twice_nor_in_a_lesson_however_the_clock_is_stepped() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut count = 0;
        for _ in 0..40 {
            let calendar = calendar(&random_lessons(&mut random));
            let (margin, longest) = (random.i64(0..15), random.i64(0..10));
            let rule = rule(random.i64(20..60), random.i64(30..200), margin, longest);
            // Never back by a day: such a clock is believed.
            let (mut minutes, mut minute, mut furthest) = (Vec::new(), -100, -100);
            while minute < 4 * 24 * 60 {
                minutes.push(minute);
                furthest = minute.max(furthest);
                minute = if random.u16(0..1000) == 0 { furthest + random.i64(-1439..600) } else { minute + 1 };
            }
            let checks = beats(&calendar, rule, minutes.into_iter());
            count += checks.len();
            let mut lessons: Vec<_> = checks.iter().map(|(_, lesson)| *lesson).collect();
            lessons.sort_unstable();
            lessons.dedup();
            assert_eq!(lessons.len(), checks.len(), "{checks:?}");
            for (minute, lesson) in checks {
                assert!(minute + longest + margin <= lesson);
                let (from, until) = (at(minute - margin), at(minute + longest + margin));
                assert_eq!(calendar.lessons(from..until).count(), 0, "{minute} in a lesson");
            }
        }
        assert!(count > 100, "{count} checks");
    }
}
