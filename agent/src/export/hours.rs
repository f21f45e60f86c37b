//! What the page says of the room's hours.

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::family::Families;
use crate::calendar::{Calendar, Certainty, RoomState, zone};

/// A page names at most as many sources of lessons.
const MAX_SOURCES: usize = 16;
/// The words of `bellwether_room_timetable`.
const STATES: [&str; 5] = ["lesson", "soon", "free", "closed", "unknown"];
/// The words of `bellwether_calendar_certainty`.
const CERTAINTIES: [&str; 5] = ["known", "no_timetable", "unknown_year", "stale", "unreadable"];

/// The room's hours, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Hours {
    /// Lessons; `None` until they were read for the first time.
    pub calendar: Option<Arc<Calendar>>,
    /// How far heavy probes keep from lessons.
    pub margin: TimeDelta,
    /// Each source of lessons that is read again, and when it was last read well.
    pub sources: Vec<(String, Option<DateTime<Utc>>)>,
    /// The last date of which days off are known; `None` if not even today's are, `NaiveDate::MAX` if
    /// no country's are followed.
    pub covered_until: Option<NaiveDate>,
    /// Until when somebody asked for quiet.
    pub quiet_until: Option<DateTime<Utc>>,
}

pub(super) fn write(families: &mut Families, hours: &Hours, now: DateTime<Utc>) {
    let moment = hours.calendar.as_ref().map(|calendar| calendar.at(now, hours.margin));
    let state = moment.as_ref().map_or("unknown", |moment| match moment.room {
        RoomState::Lesson(_) => "lesson",
        RoomState::Soon(_) => "soon",
        RoomState::Free { .. } => "free",
        RoomState::Closed { .. } => "closed",
        RoomState::Unknown => "unknown",
    });
    let help = "What the timetable says of the room now: 1 for the state that it is in.";
    one_of(families, "bellwether_room_timetable", help, &STATES, state);
    let certainty = moment.as_ref().map_or("unreadable", |moment| match moment.certainty {
        Certainty::Known => "known",
        Certainty::NoTimetable => "no_timetable",
        Certainty::UnknownYear => "unknown_year",
        Certainty::Stale => "stale",
        Certainty::Unreadable => "unreadable",
    });
    let help = "How sure the state of the room is: 1 for the word that holds.";
    one_of(families, "bellwether_calendar_certainty", help, &CERTAINTIES, certainty);
    let quiet = hours.quiet_until.is_some_and(|until| now < until);
    families.gauge("bellwether_quiet", "Whether somebody asked for quiet.", &[], f64::from(u8::from(quiet)));

    let mut named: Vec<&str> = Vec::new();
    for (component, _) in &hours.sources {
        if named.len() == MAX_SOURCES || named.contains(&&**component) {
            continue;
        }
        named.push(component);
        // The oldest of those that share a name: what is exported is a worry. One that was never read has no
        // age, and leaves the whole timetable unreadable.
        let same = hours.sources.iter().filter(|(other, _)| other == component);
        let Some(oldest) = same.map(|(_, read_at)| *read_at).min().flatten() else { continue };
        let age = seconds(now - oldest).max(0.0);
        let help = "Time since a source of lessons was last read well; absent if it never was.";
        families.gauge("bellwether_timetable_age_seconds", help, &[("component", component)], age);
    }
    if let Some(left) = coverage(hours, now) {
        let help = "How far ahead days off and make-up days are known without a gap; 0 if today's are not.";
        families.gauge("bellwether_holiday_coverage_seconds", help, &[], left);
    }
}

/// Seconds to the end of the last known date; `None` where no country's days off are followed.
fn coverage(hours: &Hours, now: DateTime<Utc>) -> Option<f64> {
    let calendar = hours.calendar.as_ref()?;
    let Some(last) = hours.covered_until else { return Some(0.0) };
    let end = last.checked_add_days(Days::new(1))?;
    let end = zone::instant(calendar.zone(), end.and_time(NaiveTime::MIN))?;
    Some(seconds(end - now).max(0.0))
}

fn one_of(families: &mut Families, name: &str, help: &str, words: &[&str], holds: &str) {
    for word in words {
        families.gauge(name, help, &[("state", word)], f64::from(u8::from(*word == holds)));
    }
}

fn seconds(time: TimeDelta) -> f64 {
    time.num_milliseconds() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::calendar::{Day, DayKind, Lesson, Taken};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time written here")
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date written here")
    }

    /// Tuesday, 24 November 2026 in Shanghai, with a lesson from 08:00 to 08:45.
    fn calendar() -> Calendar {
        let lesson = Lesson {
            start: at("2026-11-24T00:00:00Z"),
            end: at("2026-11-24T00:45:00Z"),
            title: "".into(),
            taken: Taken::Lesson,
            place: None,
        };
        let dates = date("2026-11-23")..date("2026-11-26");
        let day = |date| Day { date, kind: DayKind::Teaching, name: "".into(), week: None, follows: None, known: true };
        let days = dates.start.iter_days().take(3).map(day).collect();
        Calendar::new(Tz::Asia__Shanghai, dates, vec![lesson], days, vec![], vec![], Certainty::Known)
    }

    /// Lines of the page without comments, and without zeros.
    fn page(hours: &Hours, now: &str) -> Vec<String> {
        let mut families = Families::default();
        write(&mut families, hours, at(now));
        let text = families.text();
        text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0")).map(str::to_owned).collect()
    }

    #[test]
    fn the_room_is_in_one_state() {
        let hours = Hours { calendar: Some(calendar().into()), margin: TimeDelta::minutes(10), ..Hours::default() };
        for (now, state) in [
            ("2026-11-23T23:49:59Z", "closed"),
            ("2026-11-23T23:50:00Z", "soon"),
            ("2026-11-24T00:00:00Z", "lesson"),
            ("2026-11-24T00:45:00Z", "closed"),
            ("2026-11-26T00:00:00Z", "unknown"),
        ] {
            let lines = page(&hours, now);
            let states: Vec<_> = lines.iter().filter(|line| line.contains("room_timetable")).collect();
            assert_eq!(states, [&format!("bellwether_room_timetable{{state=\"{state}\"}} 1")], "{now}");
        }
        let nothing = page(&Hours::default(), "2026-11-24T00:00:00Z");
        let expected =
            ["bellwether_room_timetable{state=\"unknown\"} 1", "bellwether_calendar_certainty{state=\"unreadable\"} 1"];
        assert_eq!(nothing, expected);
    }

    #[test]
    fn ages_and_coverage_are_as_of_now() {
        let hours = Hours {
            calendar: Some(calendar().into()),
            sources: vec![
                ("r301.ics".to_owned(), Some(at("2026-11-23T23:00:00Z"))),
                ("school.ics".to_owned(), Some(at("2026-11-23T23:59:00Z"))),
                ("never.ics".to_owned(), None),
                ("r301.ics".to_owned(), Some(at("2026-11-23T22:00:00Z"))),
            ],
            // To the end of that day in Shanghai.
            covered_until: Some(date("2026-11-24")),
            quiet_until: Some(at("2026-11-24T00:00:01Z")),
            ..Hours::default()
        };
        let lines = page(&hours, "2026-11-24T00:00:00Z");
        let expected = [
            "bellwether_quiet 1",
            "bellwether_timetable_age_seconds{component=\"r301.ics\"} 7200",
            "bellwether_timetable_age_seconds{component=\"school.ics\"} 60",
            "bellwether_holiday_coverage_seconds 57600",
        ];
        assert_eq!(lines[2..], expected);
        let later = page(&hours, "2026-11-24T00:00:01Z");
        assert!(!later.iter().any(|line| line.contains("bellwether_quiet")), "{later:?}");
        let nobody = Hours { covered_until: Some(NaiveDate::MAX), ..hours };
        assert!(!page(&nobody, "2026-11-24T00:00:00Z").iter().any(|line| line.contains("coverage")));
    }

    #[test]
    fn a_page_names_no_more_than_some_sources() {
        let read_at = Some(at("2026-11-23T23:00:00Z"));
        let sources = (0..40).map(|number| (format!("{number}.ics"), read_at)).collect();
        let lines = page(&Hours { sources, ..Hours::default() }, "2026-11-24T00:00:00Z");
        assert_eq!(lines.iter().filter(|line| line.contains("timetable_age")).count(), MAX_SOURCES);
    }
}
