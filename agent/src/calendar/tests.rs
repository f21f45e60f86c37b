//! Look-ups, against the plain reading of what they promise.

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant written here")
}

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

/// Lessons, from and to minutes after the start of 2026-11-23, a Monday, in UTC.
pub(crate) fn calendar(lessons: &[(i64, i64)]) -> Calendar {
    let monday = utc("2026-11-23T00:00:00Z");
    let lesson = |&(from, to): &(i64, i64)| Lesson {
        start: monday + minutes(from),
        end: monday + minutes(to),
        title: format!("{from}-{to}").into(),
        taken: Taken::Lesson,
        place: None,
    };
    let first = monday.date_naive();
    let dates = first..first + chrono::Days::new(4);
    let day = |date: NaiveDate| Day {
        date,
        kind: DayKind::Teaching,
        name: Arc::default(),
        week: None,
        follows: None,
        known: date != first + chrono::Days::new(3),
    };
    let days: Vec<_> = first.iter_days().take(4).map(day).collect();
    let hours = |day: i64, from: i64, to: i64| Window {
        start: monday + minutes(24 * 60 * day + from),
        end: monday + minutes(24 * 60 * day + to),
    };
    let open = (0..4).map(|day| hours(day, 7 * 60, 22 * 60)).collect();
    let vendor = (0..4).map(|day| (hours(day, 9 * 60, 17 * 60 + 30), day != 3)).collect();
    Calendar::new(Tz::UTC, dates, lessons.iter().map(lesson).collect(), days, open, vendor, Certainty::Known)
}

impl Calendar {
    /// The same, with another word on its timetable.
    pub(crate) fn believed(self, timetable: Certainty) -> Self {
        Self { timetable, ..self }
    }
}

/// Some lessons that overlap, some of them long.
pub(crate) fn random_lessons(random: &mut fastrand::Rng) -> Vec<(i64, i64)> {
    let lesson = |_| {
        let from = random.i64(0..4 * 24 * 60);
        let length = if random.u8(0..10) == 0 { random.i64(1..2000) } else { random.i64(1..90) };
        (from, from + length)
    };
    (0..12).map(lesson).collect()
}

#[test]
fn a_room_is_taken_soon_free_closed_or_unknown() {
    let calendar = calendar(&[(480, 525), (500, 600), (500, 510), (1500, 1560)]);
    let room = |clock: &str| match calendar.at(utc(&format!("2026-11-{clock}:00Z")), minutes(10)).room {
        RoomState::Lesson(lesson) => format!("lesson {}", lesson.title),
        RoomState::Soon(lesson) => format!("soon {}", lesson.title),
        RoomState::Free { next } => format!("free {}", next.map_or("", |lesson| &lesson.title)),
        RoomState::Closed { next } => format!("closed {}", next.map_or("", |lesson| &lesson.title)),
        RoomState::Unknown => "unknown".to_owned(),
    };
    let table = [
        ("22T23:59", "unknown"),
        ("23T00:00", "closed 480-525"),
        ("23T06:59", "closed 480-525"),
        ("23T07:00", "free 480-525"),
        ("23T07:49", "free 480-525"),
        ("23T07:50", "soon 480-525"),
        ("23T08:00", "lesson 480-525"),
        // Of several, the one that ends last.
        ("23T08:20", "lesson 500-600"),
        ("23T09:59", "lesson 500-600"),
        ("23T10:00", "free 1500-1560"),
        ("23T22:00", "closed 1500-1560"),
        ("24T00:55", "soon 1500-1560"),
        ("24T02:00", "closed "),
        ("26T12:00", "free "),
        ("27T00:00", "unknown"),
    ];
    for (clock, expected) in table {
        assert_eq!(room(clock), expected, "{clock}");
    }
    let moment = |clock: &str| calendar.at(utc(&format!("2026-11-{clock}:00Z")), minutes(10));
    assert_eq!((moment("23T08:59").vendor, moment("23T09:00").vendor), (false, true));
    assert_eq!((moment("23T17:29").vendor, moment("23T17:30").vendor), (true, false));
    assert_eq!(moment("25T12:00").certainty, Certainty::Known);
    assert_eq!(moment("26T12:00").certainty, Certainty::UnknownYear);
    assert_eq!(moment("27T12:00").certainty, Certainty::Unreadable);
}

#[test]
fn a_certainty_is_the_worst_that_applies() {
    use Certainty::{Known, NoTimetable, Stale, UnknownYear, Unreadable};
    let table = [
        (Known, Known, UnknownYear),
        (NoTimetable, NoTimetable, UnknownYear),
        (Stale, Stale, Stale),
        (Unreadable, Unreadable, Unreadable),
    ];
    for (timetable, known, unknown) in table {
        let calendar = calendar(&[]).believed(timetable);
        let found = |date: &str| calendar.at(utc(&format!("{date}T12:00:00Z")), minutes(10));
        assert_eq!((found("2026-11-23").certainty, found("2026-11-26").certainty), (known, unknown));
        assert_eq!(found("2026-11-23").room == RoomState::Unknown, timetable == Unreadable);
    }
}

#[test]
fn lessons_are_found_as_by_looking_at_all_of_them() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..300 {
        let calendar = calendar(&random_lessons(&mut random));
        let all = calendar.all();
        assert!(all.is_sorted_by_key(|lesson| lesson.start));
        for _ in 0..60 {
            // Half of them at an edge, where mistakes are.
            let edge = all[random.usize(..all.len())].clone();
            let now = match random.u8(0..4) {
                0 => edge.start,
                1 => edge.end,
                _ => utc("2026-11-23T00:00:00Z") + minutes(random.i64(-100..4 * 24 * 60 + 100)),
            };
            let until = now + minutes(random.i64(0..300));
            let touching: Vec<_> = all.iter().filter(|lesson| lesson.start < until && lesson.end > now).collect();
            assert_eq!(calendar.lessons(now..until).collect::<Vec<_>>(), touching);
            let end = all.iter().filter(|lesson| lesson.start <= now && lesson.end > now).map(|lesson| lesson.end);
            assert_eq!(calendar.lesson_at(now).map(|lesson| lesson.end), end.max());
            let begun = all.iter().filter(|lesson| lesson.start < now).map(|lesson| lesson.end);
            assert_eq!(calendar.last_before(now).map(|lesson| lesson.end), begun.max());
            assert_eq!(calendar.next_lesson(now), all.iter().find(|lesson| lesson.start > now));
            let date = now.date_naive();
            assert_eq!(calendar.first_lesson(date), all.iter().find(|lesson| lesson.start.date_naive() == date));
            let open: Vec<_> = calendar.open.iter().filter(|open| open.start < until && open.end > now).collect();
            assert!(calendar.open(now..until).eq(open.into_iter().copied()));
            let vendor: Vec<_> = calendar.vendor.iter().filter(|(at, _)| at.start < until && at.end > now).collect();
            assert!(calendar.vendor(now..until).eq(vendor.into_iter().copied()));
        }
    }
}

#[test]
fn instants_and_dates_beyond_all_reason_are_unknown() {
    let calendar = calendar(&[(480, 525)]);
    for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, DateTime::UNIX_EPOCH] {
        for margin in [TimeDelta::MIN, TimeDelta::zero(), TimeDelta::MAX] {
            let moment = calendar.at(now, margin);
            assert_eq!(
                (moment.room, moment.vendor, moment.certainty),
                (RoomState::Unknown, false, Certainty::Unreadable)
            );
        }
    }
    for date in [NaiveDate::MIN, NaiveDate::MAX] {
        assert_eq!((calendar.day(date), calendar.first_lesson(date)), (None, None));
    }
    // The other way round, nothing is between.
    assert_eq!(calendar.lessons(DateTime::<Utc>::MAX_UTC..DateTime::<Utc>::MIN_UTC).count(), 0);
}
