//! Weeks of one room through `conclude`, as a daemon goes through them.

#![allow(clippy::expect_used, reason = "a test ends when something is not as it should be")]

use bellwether_probes::{ComponentVersion, Label, Metric, ProbeRun, Reading};
use chrono::{DateTime, TimeDelta, Utc};

use super::{RoomJudge, settings};
use crate::{
    Inspection, Memory, Rules, Site,
    booking::{self, Booking, Kind, Severity, examples},
    calendar::Calendar,
    channel::Channels,
    conclude,
    incident::Cause,
    inspection::Terms,
    judge::engine::{settings::Tuning, timetable::Span},
    site::Language,
};

/// What is measured of the room at an instant.
#[derive(Clone, Debug)]
struct Measured {
    round_trip: f64,
    loss: f64,
    users: f64,
    version: &'static str,
}

/// A room whose round trip grows with the users of its media server, as it is in health.
fn healthy(hour: f64, noise: &mut fastrand::Rng) -> Measured {
    let busy = (8.0..17.0).contains(&(hour.rem_euclid(24.0)));
    let users = if busy { 600.0 + 40.0 * (hour.rem_euclid(24.0) - 12.0).abs() } else { 50.0 } + 30.0 * noise.f64();
    let round_trip = 0.020 * (1.0 + users / 2000.0) * (1.0 + 0.08 * (noise.f64() - 0.5));
    Measured { round_trip, loss: 0.001 * noise.f64(), users, version: "2.4.0" }
}

fn start() -> DateTime<Utc> {
    "2026-03-02T00:00:00Z".parse().expect("a time written here")
}

fn runs(measured: &Measured, at: DateTime<Utc>) -> Vec<ProbeRun> {
    let mut call = ProbeRun::new("call", at);
    let reading = |metric, value| Reading::new(at, metric, value, 100);
    let with = |reading: Reading| reading.with(Label::Leg, "both").with(Label::Stat, "p95");
    call.readings.push(with(reading(Metric::MediaRoundTrip, measured.round_trip)));
    call.readings.push(reading(Metric::MediaLoss, measured.loss).with(Label::Stream, "audio"));
    let mut versions = ProbeRun::new("versions", at);
    let (component, version) = ("app".to_owned(), measured.version.to_owned());
    versions.versions.push(ComponentVersion { component, version, book_on_change: false });
    vec![call, versions]
}

struct Days {
    memory: Memory,
    judge: RoomJudge,
    rules: Rules,
    site: Site,
    channels: Channels,
    calendar: Calendar,
    noise: fastrand::Rng,
    /// Every booking that was ever there, as it was last.
    bookings: std::collections::BTreeMap<String, Booking>,
}

impl Days {
    fn new(limits: serde_json::Value) -> Self {
        let (rules, mistakes) = Rules::build(
            &serde_json::from_value(limits).expect("limits written here"),
            &std::collections::BTreeMap::new(),
        );
        assert_eq!(mistakes, []);
        let mut site = Site::default();
        site.room.id = "B1-101".to_owned();
        site.locale.timezone = chrono_tz::Tz::UTC;
        let mut judge = RoomJudge::new(settings(&site, &rules, &Tuning::default(), None));
        // Each day from eight to five; the room's clocks are those of Greenwich.
        for day in 0..60 {
            let start = (start() + TimeDelta::days(day)).timestamp_millis();
            judge.engine.lesson(0, Span::new(start + 8 * 3_600_000, start + 17 * 3_600_000).expect("nine hours"));
        }
        let calendar = examples::calendar(&site.vendor, start(), 60);
        let (memory, channels) = (Memory::default(), Channels::default());
        let (noise, bookings) = (fastrand::Rng::with_seed(11), std::collections::BTreeMap::new());
        Self { memory, judge, rules, site, channels, calendar, noise, bookings }
    }

    /// Goes through the hours from `from` to `to`, in steps of five minutes.
    fn run(&mut self, from: f64, to: f64, change: impl Fn(f64, Measured) -> Measured) {
        for step in (from * 12.0) as i64..(to * 12.0) as i64 {
            let at = start() + TimeDelta::minutes(5 * step);
            let hour = step as f64 / 12.0;
            let measured = change(hour, healthy(hour, &mut self.noise));
            self.judge.engine.load(0, measured.users);
            let inspection =
                Inspection { id: step.to_string(), started_at: at, runs: runs(&measured, at), before_lesson: None };
            let Self { rules, site, channels, calendar, memory, judge, .. } = self;
            let terms = Terms { rules, site, channels, calendar, is_adopting: false };
            let conclusion = conclude(terms, memory, judge, &inspection, at);
            self.bookings.extend(conclusion.bookings.iter().map(|booking| (booking.key.clone(), booking.clone())));
            self.memory = conclusion.memory;
        }
    }

    fn one(&self) -> &Booking {
        assert_eq!(self.bookings.len(), 1, "{:#?}", self.bookings.values().collect::<Vec<_>>());
        self.bookings.values().next().expect("there is one")
    }
}

const DAY: f64 = 24.0;

fn slower(measured: Measured) -> Measured {
    Measured { round_trip: measured.round_trip * 2.0, ..measured }
}

fn limits() -> serde_json::Value {
    serde_json::json!({ "media_round_trip": { "limit": 0.1 }, "media_loss": { "limit": { "enter": 0.01, "clear": 0.005 } } })
}

#[test]
fn a_room_that_gets_worse_far_within_its_limits_is_booked_once_and_explained() {
    let mut days = Days::new(limits());
    days.run(0.0, 20.0 * DAY, |_, measured| measured);
    assert_eq!(days.bookings.len(), 0, "nothing is wrong");
    days.run(20.0 * DAY, 22.0 * DAY, |_, measured| slower(measured));
    let booking = days.one();
    assert_eq!((booking.kind, booking.cause, booking.scope.as_str()), (Kind::Fault, Cause::Room, "B1-101"));
    let judgement = booking.judgement.as_ref().expect("it was judged by its past");
    assert_eq!(judgement.peers, 0);
    let onset = (judgement.onset - start()).num_minutes() as f64 / 60.0;
    assert!((onset - 20.0 * DAY).abs() <= 1.0, "since hour {onset}");
    let shift = booking.evidence[0].shift.as_ref().expect("a shift");
    assert!((shift.now / shift.before - 2.0).abs() < 0.1, "{shift:?}");
    for (language, parts) in [
        (
            Language::English,
            [
                "media round trip [media_round_trip call leg=both stat=p95]: ",
                "in health it would be",
                "times what is material",
                "not the version: none was changed in the 14 days before",
                "not the load: at ",
                "peers: none",
                "Clears: ",
            ],
        ),
        (
            Language::Chinese,
            [
                "健康时应为",
                "可察觉变化的",
                "不是版本：此前 14 天内没有版本变更",
                "不是负载：在 ",
                "本机只了解本教室",
                "恢复条件",
                "证据",
            ],
        ),
    ] {
        let text = booking::text::write(booking, language).body;
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    // It goes away, and is withdrawn a day after it has recovered.
    days.run(22.0 * DAY, 26.0 * DAY, |_, measured| measured);
    assert!(days.one().state.ended(), "{:?}", days.one().state);
    assert_eq!(days.memory.incidents.len(), 0);
}

#[test]
fn a_version_that_slows_the_room_is_blamed_and_one_that_does_not_is_cleared() {
    let mut days = Days::new(limits());
    days.run(0.0, 20.0 * DAY, |_, measured| measured);
    let newer = |measured: Measured| Measured { version: "2.5.0", ..measured };
    days.run(20.0 * DAY, 22.0 * DAY, |_, measured| newer(slower(measured)));
    let booking = days.one();
    assert_eq!((booking.kind, booking.cause, booking.scope.as_str()), (Kind::Fault, Cause::Version, "app"));
    let text = booking::text::write(booking, Language::English).body;
    assert!(text.contains("hold its rollout") && text.contains("app 2.4.0 → 2.5.0"), "{text}");

    let mut days = Days::new(limits());
    days.run(0.0, 18.0 * DAY, |_, measured| measured);
    days.run(18.0 * DAY, 20.0 * DAY, |_, measured| newer(measured));
    assert_eq!(days.bookings.len(), 0, "a version alone is no fault");
    days.run(20.0 * DAY, 22.0 * DAY, |_, measured| newer(slower(measured)));
    let booking = days.one();
    assert_eq!(booking.cause, Cause::Room);
    let text = booking::text::write(booking, Language::English).body;
    assert!(text.contains("not the version: from app 2.5.0 to the onset at "), "{text}");
}

#[test]
fn more_users_than_ever_are_blamed_on_the_load() {
    let mut days = Days::new(limits());
    days.run(0.0, 20.0 * DAY, |_, measured| measured);
    let crowded = |hour: f64, measured: Measured| {
        let busy = (8.0..17.0).contains(&hour.rem_euclid(24.0));
        if busy { Measured { users: measured.users * 2.0, ..slower(measured) } } else { measured }
    };
    days.run(20.0 * DAY, 25.0 * DAY, crowded);
    let booking = days.one();
    assert_eq!((booking.kind, booking.cause), (Kind::Capacity, Cause::Load));
    assert!(booking.severity <= Severity::Normal);
}

#[test]
fn limits_count_from_the_first_minute_and_by_half_hours_once_there_is_a_past() {
    let mut days = Days::new(limits());
    let lossy = |_: f64, measured: Measured| Measured { loss: 0.02, ..measured };
    days.run(0.0, 1.0, lossy);
    let evidence = &days.one().evidence[0];
    assert_eq!((evidence.metric, &evidence.shift), (Metric::MediaLoss, &None));
    let known = &days.judge.explain(Metric::MediaRoundTrip)[0];
    assert!(known.now.is_some() && known.learning.is_some_and(|days| (0.01..0.1).contains(&days)), "{known:?}");
    // The runs before it recovers are no news, and neither is a hiccup of an hour later.
    let mut days = Days::new(limits());
    days.run(0.0, 20.0 * DAY, |_, measured| measured);
    days.run(20.0 * DAY, 20.0 * DAY + 1.0, lossy);
    days.run(20.0 * DAY + 1.0, 21.0 * DAY, |_, measured| measured);
    assert_eq!(days.bookings.len(), 0);
    days.run(21.0 * DAY, 22.0 * DAY, lossy);
    assert_eq!(days.one().evidence[0].metric, Metric::MediaLoss);
}

#[test]
fn what_is_hard_counts_at_once_with_a_past_as_well() {
    let hard = serde_json::json!({ "media_loss": { "limit": { "enter": 0.01, "clear": 0.005, "bad": 2, "of": 2, "recover": 2 } } });
    let mut days = Days::new(hard);
    days.run(0.0, 20.0 * DAY, |_, measured| measured);
    days.run(20.0 * DAY, 20.0 * DAY + 0.25, |_, measured| Measured { loss: 0.02, ..measured });
    assert_eq!(days.one().evidence[0].metric, Metric::MediaLoss);
}

#[test]
fn what_was_learned_outlives_a_restart_and_a_changed_config() {
    let mut days = Days::new(limits());
    days.run(0.0, 20.0 * DAY, |_, measured| measured);
    let fresh = |days: &Days| settings(&days.site, &days.rules, &Tuning::default(), None);
    days.judge = RoomJudge::restore(fresh(&days), &days.judge.stored()).expect("what was just stored");
    days.judge = days.judge.adopt(fresh(&days), |_, probe, _| probe == "call").expect("the same room");
    days.run(20.0 * DAY, 22.0 * DAY, |_, measured| slower(measured));
    assert_eq!(days.one().cause, Cause::Room);
    // A series that nobody judges any more is no evidence.
    days.judge =
        days.judge.adopt(fresh(&days), |metric, _, _| metric != Metric::MediaRoundTrip).expect("the same room");
    let open = days.judge.findings().iter().filter(|finding| finding.open).count();
    assert_eq!(open, 0);
    let mut other = fresh(&days);
    other.rooms[0].id = "B1-102".to_owned();
    assert!(days.judge.adopt(other, |_, _, _| true).is_err(), "another room has another past");
}
