use std::path::PathBuf;

use bellwether_probes::{Labels, Metric};
use chrono::{Days, NaiveDate, TimeDelta};

use super::*;
use crate::{
    booking::{ChangeKind, examples},
    calendar::{
        Certainty,
        build::{Sources, build},
        holidays::{self, Holidays},
    },
    channel::{ChannelConfig, folder, webhook},
    incident::Evidence,
    judge::Level,
    site::{Contact, Language, Locale, Room, School, Vendor},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time written here")
}

pub(super) fn start() -> DateTime<Utc> {
    at("2026-11-24T02:00:00Z")
}

pub(super) fn site() -> Site {
    Site {
        school: School {
            name: "School 1".into(),
            contact: Contact { name: "IT office".into(), phone: "1234".into(), email: String::new() },
            ..School::default()
        },
        room: Room { id: "r1".into(), name: "Room 1".into(), ..Room::default() },
        ..Site::default()
    }
}

pub(super) fn channels(names: &[&str]) -> Channels {
    let config = |name: &&str| match *name {
        "desk" => ChannelConfig::Folder(folder::Config::default()),
        _ => ChannelConfig::Webhook(
            serde_json::from_str(r#"{"url": "https://vendor.example/", "secret_file": "/nowhere"}"#)
                .map(|config: webhook::Config| config)
                .expect("a config written here"),
        ),
    };
    let configs = names.iter().map(|name| ((*name).to_owned(), config(name))).collect();
    Channels::new(configs, None, PathBuf::from("/nowhere"), Language::English)
}

/// By the hours of a school without a timetable.
pub(super) fn plan(
    memory: &mut Memory,
    checks: &[VersionChange],
    site: &Site,
    channels: &Channels,
    now: DateTime<Utc>,
) -> Plan {
    super::plan(memory, checks, site, channels, &examples::calendar(&site.vendor, start(), 60), now)
}

fn evidence(metric: Metric, level: Level) -> Evidence {
    Evidence {
        probe: "call".into(),
        metric,
        labels: Labels::new(),
        value: 0.05,
        worst: 0.06,
        limit: 0.03,
        level,
        since: start(),
        bad: 3,
        of: 4,
        echo: None,
        shift: None,
    }
}

fn incident(evidence: Vec<Evidence>) -> Incident {
    Incident {
        scope: "r1".into(),
        family: Family::Net,
        cause: Cause::Room,
        opened_at: start(),
        recovered_at: None,
        lesson_at_risk: None,
        judgement: None,
        evidence,
    }
}

fn change(component: &str, new: &str, at: DateTime<Utc>) -> VersionChange {
    VersionChange { component: component.into(), old: "1.0".into(), new: new.into(), kind: ChangeKind::Minor, at }
}

pub(super) fn memory() -> Memory {
    let known = KnownVersion { version: "1.0".into(), since: start() };
    Memory {
        ledger_id: "ledger".into(),
        versions: [("app".to_owned(), known)].into(),
        incidents: vec![incident(vec![evidence(Metric::MediaJitter, Level::Degraded)])],
        ..Memory::default()
    }
}

pub(super) fn operations(plan: &Plan) -> Vec<(&str, Operation, u32)> {
    plan.orders.iter().map(|order| (&order.channel[..], order.operation, order.op_seq)).collect()
}

fn only(memory: &Memory) -> &Booking {
    assert_eq!(memory.bookings.len(), 1);
    memory.bookings.values().next().expect("just counted")
}

#[test]
fn a_fault_is_opened_on_every_channel_and_only_once() {
    let (mut memory, site, channels) = (memory(), site(), channels(&["desk", "hook"]));
    let first = plan(&mut memory, &[], &site, &channels, start());
    assert_eq!(operations(&first), [("desk", Operation::Open, 1), ("hook", Operation::Open, 2)]);
    let booking = only(&memory);
    assert_eq!(first.bookings, std::slice::from_ref(booking));
    assert_eq!((booking.state, booking.op_seq, booking.severity), (State::Holding, 2, Severity::Normal));
    assert_eq!(booking.key, booking_key("ledger", "vendor", "r1", "net", "room", 0));
    assert_eq!(first.orders[1].op_key, format!("{}.2", booking.key));
    assert!(first.orders[1].body.contains(&first.orders[1].op_key));
    assert_eq!(booking.wanted.len(), 3);
    assert!(booking.missing.is_empty(), "{:?}", booking.missing);

    let before = memory.clone();
    for minutes in [0, 5, 600] {
        let again = plan(&mut memory, &[], &site, &channels, start() + TimeDelta::minutes(minutes));
        assert_eq!(again, Plan::default(), "after {minutes} min");
    }
    assert_eq!(memory, before);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let run = || plan(&mut memory(), &[change("app", "1.1", start())], &site(), &channels(&["desk", "hook"]), start());
    assert_eq!(run(), run());
}

#[test]
fn only_news_are_updates() {
    type Step = fn(&mut Memory);
    let table: [(&str, Step, bool); 11] = [
        ("a value moved", |memory| memory.incidents[0].evidence[0].value = 0.04, false),
        (
            "a series joined",
            |memory| {
                memory.incidents[0].evidence.push(evidence(Metric::MediaLoss, Level::Degraded));
            },
            true,
        ),
        ("severity rose", |memory| memory.incidents[0].evidence[0].level = Level::Critical, true),
        ("severity would fall", |memory| memory.incidents[0].evidence[0].level = Level::Degraded, false),
        ("recovered", |memory| memory.incidents[0].recovered_at = Some(start()), true),
        ("came back", |memory| memory.incidents[0].recovered_at = None, true),
        ("a version changed", |memory| memory.changes.push(change("app", "1.1", start())), true),
        ("a change got old", |memory| memory.changes.clear(), false),
        ("a lesson is at risk", |memory| memory.incidents[0].lesson_at_risk = Some(lesson(1)), true),
        ("another one is, too", |memory| memory.incidents[0].lesson_at_risk = Some(lesson(2)), true),
        ("still the same", |memory| memory.incidents[0].evidence[0].value = 0.05, false),
    ];
    let (mut memory, site, channels) = (memory(), site(), channels(&["desk", "hook"]));
    plan(&mut memory, &[], &site, &channels, start());
    let mut op_seq = 2;
    for (i, (name, step, is_news)) in table.into_iter().enumerate() {
        step(&mut memory);
        let now = start() + TimeDelta::minutes(i as i64 + 1);
        let planned = plan(&mut memory, &[], &site, &channels, now);
        let expected: &[_] = &[("desk", Operation::Update, op_seq + 1), ("hook", Operation::Update, op_seq + 2)];
        assert_eq!(operations(&planned), if is_news { expected } else { &[] }, "{name}");
        op_seq += if is_news { 2 } else { 0 };
        let booking = only(&memory);
        assert_eq!(booking.op_seq, op_seq, "{name}");
        assert_eq!(booking.evidence, memory.incidents[0].evidence, "{name}");
        if i >= 2 {
            assert_eq!(booking.severity, Severity::Critical, "{name}: never falls");
        }
    }
}

fn lesson(hours: i64) -> DateTime<Utc> {
    start() + TimeDelta::hours(hours)
}

#[test]
fn a_lesson_at_risk_is_critical_and_asks_for_the_earliest_times() {
    let (mut memory, site, desk) = (memory(), site(), channels(&["desk"]));
    plan(&mut memory, &[], &site, &desk, start());
    let asked = only(&memory).clone();
    assert_eq!((asked.severity, asked.lesson_at_risk), (Severity::Normal, None));

    // Half an hour earlier of the same day: all that was asked for is still to come, but not the soonest.
    let now = start() - TimeDelta::minutes(30);
    memory.incidents[0].lesson_at_risk = Some(lesson(1));
    let planned = plan(&mut memory, &[], &site, &desk, now);
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2)]);
    let booking = only(&memory);
    assert_eq!((booking.severity, booking.lesson_at_risk), (Severity::Critical, Some(lesson(1))));
    assert!(booking.wanted[0].start < asked.wanted[0].start, "{:?}", booking.wanted);
    assert!(planned.orders[0].body.contains("lesson_at_risk"), "{}", planned.orders[0].body);

    // What was opened by it says so at once.
    let mut fresh = super::tests::memory();
    fresh.incidents[0].lesson_at_risk = Some(lesson(1));
    let opened = plan(&mut fresh, &[], &site, &desk, now);
    assert_eq!(operations(&opened), [("desk", Operation::Open, 1)]);
    assert_eq!(only(&fresh).severity, Severity::Critical);

    // Recovered, it is no reason any more; the severity stays.
    (memory.incidents[0].recovered_at, memory.incidents[0].lesson_at_risk) = (Some(now), None);
    plan(&mut memory, &[], &site, &desk, now);
    let booking = only(&memory);
    assert_eq!((booking.severity, booking.lesson_at_risk), (Severity::Critical, None));
}

/// Wednesday, 25 November 2026, in Shanghai.
const WEDNESDAY: &str = "2026-11-25";

/// A school in Shanghai whose room has these periods of a Monday to Friday table.
fn taught(lessons: &[&str], holidays: &Holidays, first: &str, days: u64) -> Calendar {
    let zone = Locale::default().timezone;
    let timetable = serde_json::from_value(serde_json::json!({
        "bells": [{ "periods": ["08:00-11:30", "11:30-13:30", "13:30-17:30"] }],
        "term": [{ "first_day": "2026-11-23", "weeks": 12, "lessons": lessons }],
    }));
    let first: NaiveDate = first.parse().expect("a date written here");
    let sources = Sources {
        timetable: &timetable.expect("a timetable written here"),
        ical: &[],
        holidays,
        vendor: &Vendor::default(),
        vendor_holidays: holidays,
        zone,
    };
    build(sources, first..first + Days::new(days))
}

fn of_day(windows: &[Window]) -> Vec<String> {
    let zone = Locale::default().timezone;
    windows.iter().map(|window| window.start.with_timezone(&zone).format("%m-%d %H:%M").to_string()).collect()
}

#[test]
fn a_time_that_a_new_lesson_takes_is_replaced_and_people_are_told() {
    let (mut memory, site, desk) = (memory(), site(), channels(&["desk"]));
    let none = Holidays::none();
    let before = taught(&["Tue 1: a"], &none, WEDNESDAY, 60);
    super::plan(&mut memory, &[], &site, &desk, &before, start());
    assert_eq!(of_day(&only(&memory).wanted), ["11-25 09:00", "11-26 09:00", "11-27 09:00"]);

    // A lesson elsewhere changes nothing that was asked for.
    let elsewhere = taught(&["Tue 1: a", "Mon 1: b"], &none, WEDNESDAY, 60);
    assert_eq!(super::plan(&mut memory, &[], &site, &desk, &elsewhere, start()), Plan::default());

    let after = taught(&["Tue 1: a", "Thu 1: b"], &none, WEDNESDAY, 60);
    let planned = super::plan(&mut memory, &[], &site, &desk, &after, start());
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2)]);
    assert_eq!(of_day(&only(&memory).wanted), ["11-25 09:00", "11-26 11:45", "11-27 09:00"]);
    assert_eq!(super::plan(&mut memory, &[], &site, &desk, &after, start()), Plan::default());
}

#[test]
fn a_provisional_time_becomes_certain_or_is_replaced_when_the_next_year_is_known() {
    let day_before_new_year = at("2026-12-31T02:00:00Z");
    let notice = |work: &str| {
        let json = format!(
            r#"{{ "year": 2027, "papers": ["notice"], "days": [
                {{ "name": "元旦", "date": "2027-01-01", "isOffDay": true }},
                {{ "name": "元旦", "date": "{work}", "isOffDay": true }},
                {{ "name": "春节", "date": "2027-02-06", "isOffDay": true }},
                {{ "name": "春节", "date": "2027-02-07", "isOffDay": true }},
                {{ "name": "春节", "date": "2027-02-20", "isOffDay": false }},
                {{ "name": "国庆节", "date": "2027-10-01", "isOffDay": true }},
                {{ "name": "国庆节", "date": "2027-10-02", "isOffDay": true }} ] }}"#
        );
        let import = holidays::parse(&json, "CN", Locale::default().timezone).expect("a notice written here");
        import.years.into_iter().fold(Holidays::of_country("CN"), Holidays::with)
    };
    let unknown = taught(&[], &Holidays::of_country("CN"), "2026-12-30", 40);
    let open = || {
        let (mut memory, site, desk) = (memory(), site(), channels(&["desk"]));
        super::plan(&mut memory, &[], &site, &desk, &unknown, day_before_new_year);
        (memory, site, desk)
    };

    let (mut memory, site, desk) = open();
    assert_eq!(of_day(&only(&memory).wanted), ["12-31 12:00", "01-01 09:00", "01-04 09:00"]);
    assert_eq!(of_day(&only(&memory).provisional), ["01-01 09:00", "01-04 09:00"]);
    let again = super::plan(&mut memory, &[], &site, &desk, &unknown, day_before_new_year);
    assert_eq!(again, Plan::default());

    // 1 January is off, and so is the Monday: both are replaced.
    let known = taught(&[], &notice("2027-01-04"), "2026-12-30", 40);
    let planned = super::plan(&mut memory, &[], &site, &desk, &known, day_before_new_year);
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2)]);
    assert_eq!(of_day(&only(&memory).wanted), ["12-31 12:00", "01-05 09:00", "01-06 09:00"]);
    assert_eq!(only(&memory).provisional, []);

    // What stays possible stays, and is certain.
    let (mut memory, site, desk) = open();
    let booking = memory.bookings.values_mut().next().expect("it was opened");
    booking.wanted.remove(1);
    booking.provisional.remove(0);
    let planned = super::plan(&mut memory, &[], &site, &desk, &known_but(&notice), day_before_new_year);
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2)]);
    assert_eq!(of_day(&only(&memory).wanted), ["12-31 12:00", "01-04 09:00"]);
    assert_eq!(only(&memory).provisional, []);
}

/// The Sunday is off instead of the Monday.
fn known_but(notice: &dyn Fn(&str) -> Holidays) -> Calendar {
    taught(&[], &notice("2027-01-03"), "2026-12-30", 40)
}

#[test]
fn where_nothing_fits_an_exception_is_asked_for_until_something_does() {
    let (mut memory, site, desk) = (memory(), site(), channels(&["desk"]));
    let all_day: Vec<_> = ["Mon", "Tue", "Wed", "Thu", "Fri"].map(|day| format!("{day} 1-3: a")).into();
    let all_day: Vec<&str> = all_day.iter().map(String::as_str).collect();
    let full = taught(&all_day, &Holidays::none(), WEDNESDAY, 32);
    let planned = super::plan(&mut memory, &[], &site, &desk, &full, start());
    assert_eq!(operations(&planned), [("desk", Operation::Open, 1)]);
    let booking = only(&memory);
    assert_eq!((booking.wanted.len(), booking.no_window), (0, Some(slot::Nothing::NoneFits)));
    let needs: Vec<_> = booking.asks.iter().flat_map(|ask| &ask.needs).collect();
    let quarter_after = slot::Need::AfterHours { minutes: 75 };
    let weekend = slot::Need::Weekend { vendor: true, building: true };
    assert_eq!(needs, [&quarter_after, &weekend]);
    assert!(planned.orders[0].body.contains("after_hours"), "{}", planned.orders[0].body);
    for hours in [0, 1, 5] {
        let now = start() + TimeDelta::hours(hours);
        assert_eq!(super::plan(&mut memory, &[], &site, &desk, &full, now), Plan::default(), "{hours} h later");
    }

    let free = taught(&all_day[1..], &Holidays::none(), WEDNESDAY, 32);
    let planned = super::plan(&mut memory, &[], &site, &desk, &free, start());
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2)]);
    let booking = only(&memory);
    assert_eq!(of_day(&booking.wanted), ["11-30 09:00", "12-07 09:00", "12-14 09:00"]);
    assert_eq!((booking.asks.len(), booking.no_window), (0, None));
}

#[test]
fn a_timetable_that_cannot_be_read_neither_moves_a_visit_nor_places_one() {
    let (mut memory, site, desk) = (memory(), site(), channels(&["desk"]));
    let days = |calendar: &Calendar| calendar.days().to_vec();
    let unreadable = |calendar: &Calendar| {
        let zone = calendar.zone();
        Calendar::of_parts(zone, days(calendar), vec![], vec![], vec![], Certainty::Unreadable)
    };
    let readable = taught(&[], &Holidays::none(), WEDNESDAY, 60);
    let broken = unreadable(&readable);
    super::plan(&mut memory, &[], &site, &desk, &broken, start());
    assert_eq!((only(&memory).wanted.len(), only(&memory).no_window), (0, Some(slot::Nothing::Unreadable)));
    assert_eq!(super::plan(&mut memory, &[], &site, &desk, &broken, start()), Plan::default());
    let planned = super::plan(&mut memory, &[], &site, &desk, &readable, start());
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2)]);
    assert_eq!(only(&memory).wanted.len(), 3);
    assert_eq!(super::plan(&mut memory, &[], &site, &desk, &broken, start()), Plan::default());
}

#[test]
fn bookings_of_a_room_do_not_ask_for_the_same_time() {
    let mut memory = memory();
    memory.incidents.push(Incident { family: Family::Audio, ..memory.incidents[0].clone() });
    plan(&mut memory, &[], &site(), &channels(&["desk"]), start());
    let wanted: Vec<_> = memory.bookings.values().flat_map(|booking| booking.wanted.clone()).collect();
    assert_eq!(wanted.len(), 6);
    let overlap = |a: &Window, b: &Window| a.start < b.end && b.start < a.end;
    let clashes = wanted.iter().enumerate().any(|(i, a)| wanted[i + 1..].iter().any(|b| overlap(a, b)));
    assert!(!clashes, "{:?}", of_day(&wanted));
}

#[test]
fn an_incomplete_booking_waits_for_its_config() {
    let (mut memory, complete) = (memory(), site());
    let bare = Site::default();
    let hook = channels(&["hook"]);
    let planned = plan(&mut memory, &[], &bare, &hook, start());
    assert_eq!(planned.orders, []);
    let booking = only(&memory);
    assert_eq!(booking.state, State::NeedsHuman);
    let lacking = ["school.name", "room.id", "room.name", "school.contact.name", "school.contact.phone"];
    assert_eq!(booking.missing, lacking);
    assert_eq!(plan(&mut memory, &[], &bare, &hook, start()), Plan::default());

    // A folder takes it as it is.
    let both = channels(&["desk", "hook"]);
    let planned = plan(&mut memory, &[], &bare, &both, start());
    assert_eq!(operations(&planned), [("desk", Operation::Open, 1)]);
    assert_eq!(only(&memory).state, State::Holding);

    // The config was completed, days later: the hook gets it, with times that are to come.
    let later = start() + TimeDelta::days(3);
    let planned = plan(&mut memory, &[], &complete, &both, later);
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2), ("hook", Operation::Open, 3)]);
    assert!(only(&memory).wanted[0].start > later);
}

#[test]
fn without_any_channel_the_booking_says_so() {
    let mut memory = memory();
    memory.versions.clear();
    memory.incidents[0].evidence.clear();
    plan(&mut memory, &[], &site(), &Channels::default(), start());
    assert_eq!(only(&memory).missing, ["versions", "evidence", "channel"]);
    assert_eq!(only(&memory).state, State::NeedsHuman);
}

#[test]
fn series_of_one_family_are_one_booking_and_others_are_another() {
    let mut memory = memory();
    memory.incidents[0].evidence.push(evidence(Metric::MediaLoss, Level::Degraded));
    memory.incidents.push(Incident { family: Family::Audio, ..memory.incidents[0].clone() });
    let planned = plan(&mut memory, &[], &site(), &channels(&["desk"]), start());
    assert_eq!((planned.bookings.len(), planned.orders.len()), (2, 2));
    assert_ne!(planned.bookings[0].key, planned.bookings[1].key);
}

#[test]
fn a_fault_that_stays_away_is_withdrawn_and_its_return_has_another_key() {
    let (mut memory, site, both) = (memory(), site(), channels(&["desk", "hook"]));
    plan(&mut memory, &[], &site, &both, start());
    let key = only(&memory).key.clone();

    memory.incidents[0].recovered_at = Some(start());
    let hold = TimeDelta::from_std(WITHDRAW_AFTER).expect("a day");
    plan(&mut memory, &[], &site, &both, start());
    plan(&mut memory, &[], &site, &both, start() + hold - TimeDelta::seconds(1));
    assert_eq!(only(&memory).key, key, "not a second too early");

    let planned = plan(&mut memory, &[], &site, &both, start() + hold);
    assert_eq!(operations(&planned), [("desk", Operation::Cancel, 5), ("hook", Operation::Cancel, 6)]);
    assert_eq!((planned.bookings[0].state, planned.bookings[0].op_seq), (State::Cancelled, 6));
    assert_eq!((memory.bookings.len(), memory.incidents.len(), memory.opened_on.len()), (0, 0, 0));
    assert_eq!(memory.epochs["r1|net|room"], 1);

    memory.incidents.push(incident(vec![evidence(Metric::MediaJitter, Level::Degraded)]));
    let planned = plan(&mut memory, &[], &site, &both, start() + hold);
    assert_eq!(operations(&planned), [("desk", Operation::Open, 1), ("hook", Operation::Open, 2)]);
    assert_ne!(only(&memory).key, key);
    assert_eq!(only(&memory).epoch, 1);
}

#[test]
fn a_return_within_the_hold_keeps_the_booking() {
    let (mut memory, site, desk) = (memory(), site(), channels(&["desk"]));
    plan(&mut memory, &[], &site, &desk, start());
    let key = only(&memory).key.clone();
    for day in 0..4 {
        memory.incidents[0].recovered_at = Some(start() + TimeDelta::days(day));
        plan(&mut memory, &[], &site, &desk, start() + TimeDelta::days(day));
        memory.incidents[0].recovered_at = None;
        plan(&mut memory, &[], &site, &desk, start() + TimeDelta::hours(24 * day + 23));
        assert_eq!(only(&memory).key, key);
    }
    assert_eq!(only(&memory).op_seq, 9, "each recovery and each return was said");
}

#[test]
fn a_check_is_no_fault_and_further_changes_are_evidence() {
    let (mut memory, site, desk) = (memory(), site(), channels(&["desk"]));
    memory.incidents[0] =
        Incident { scope: "app".into(), family: Family::App, cause: Cause::Version, ..memory.incidents[0].clone() };
    let first = change("app", "1.1", start());
    let planned = plan(&mut memory, std::slice::from_ref(&first), &site, &desk, start());
    let kinds: Vec<_> = planned.bookings.iter().map(|booking| booking.kind).collect();
    assert_eq!(kinds, [Kind::Fault, Kind::UpgradeCheck], "the same scope, family and cause, yet two");
    let check = &planned.bookings[1];
    assert_eq!(check.key, booking_key("ledger", "vendor", "app", "app", "upgrade_check", 0));
    assert_eq!((check.severity, &check.changes[..]), (Severity::Low, std::slice::from_ref(&first)));
    assert_eq!(plan(&mut memory, &[], &site, &desk, start()), Plan::default());
    assert_eq!(plan(&mut memory, std::slice::from_ref(&first), &site, &desk, start()), Plan::default());

    let second = change("app", "1.2", start() + TimeDelta::hours(1));
    let planned = plan(&mut memory, std::slice::from_ref(&second), &site, &desk, start() + TimeDelta::hours(1));
    assert_eq!(operations(&planned), [("desk", Operation::Update, 2)]);
    assert_eq!(planned.bookings[0].changes, [second, first], "newest first");
    assert_eq!(memory.bookings.len(), 2);

    // A channel that is added later gets the check, too.
    let planned = plan(&mut memory, &[], &site, &channels(&["desk", "hook"]), start());
    assert_eq!(operations(&planned), [("hook", Operation::Open, 2), ("hook", Operation::Open, 3)]);
}

#[test]
fn a_channel_that_is_gone_gets_no_order() {
    let (mut memory, site) = (memory(), site());
    plan(&mut memory, &[], &site, &channels(&["desk", "hook"]), start());
    memory.incidents[0].recovered_at = Some(start());
    let planned = plan(&mut memory, &[], &site, &channels(&["desk"]), start());
    assert_eq!(operations(&planned), [("desk", Operation::Update, 3)]);
    let planned = plan(&mut memory, &[], &site, &channels(&["desk"]), start() + TimeDelta::days(2));
    assert_eq!(operations(&planned), [("desk", Operation::Cancel, 4)]);
}

#[test]
fn settling_follows_the_channels() {
    let done = Outcome::done(None);
    let rejected = Outcome::Rejected { detail: "no".into() };
    let unclear = Outcome::Ambiguous { detail: "?".into(), retry_after: None };
    let undelivered = Outcome::NotDelivered { detail: "?".into(), retry_after: None };
    let (ask, hold, human) = (Some(State::Requested), None, Some(State::NeedsHuman));
    // Outcomes of the two open orders in turn, and the state that each brings.
    let table = [
        ("both take it", [(&done, ask), (&done, None)]),
        ("the second takes it", [(&rejected, hold), (&done, ask)]),
        ("the first takes it", [(&done, ask), (&rejected, None)]),
        ("none takes it", [(&rejected, hold), (&rejected, human)]),
        ("not yet", [(&unclear, hold), (&undelivered, hold)]),
    ];
    for (name, outcomes) in table {
        let (mut memory, site, both) = (memory(), site(), channels(&["desk", "hook"]));
        let opened = plan(&mut memory, &[], &site, &both, start());
        let now = start() + TimeDelta::seconds(1);
        for (order, (outcome, state)) in opened.orders.iter().zip(outcomes) {
            let booking = settle(&mut memory, order, outcome, None, now).map(|(booking, _)| booking);
            assert_eq!(booking.as_ref().map(|booking| booking.state), state, "{name}");
            assert!(booking.is_none_or(|booking| booking == *only(&memory) && booking.updated_at == now), "{name}");
        }
        assert_eq!(plan(&mut memory, &[], &site, &both, now), Plan::default(), "{name}: a refusal is not asked again");

        memory.incidents[0].recovered_at = Some(now);
        let planned = plan(&mut memory, &[], &site, &both, now + WITHDRAW_AFTER);
        let told = outcomes.iter().filter(|(outcome, _)| !matches!(outcome, Outcome::Rejected { .. })).count();
        assert_eq!(planned.orders.len(), told, "{name}: only who may have it is told that it is over");
        assert!(memory.opened_on.is_empty() && memory.rejected_on.is_empty(), "{name}");
    }
}

#[test]
fn settling_what_is_over_changes_nothing() {
    let (mut memory, done) = (memory(), Outcome::done(None));
    let opened = plan(&mut memory, &[], &site(), &channels(&["desk"]), start());
    let update = Order { operation: Operation::Update, ..opened.orders[0].clone() };
    assert_eq!(settle(&mut memory, &update, &done, None, start()), None);
    memory.bookings.clear();
    let before = memory.clone();
    assert_eq!(
        settle(&mut memory, &opened.orders[0], &Outcome::Rejected { detail: String::new() }, None, start()),
        None
    );
    assert_eq!(memory, before);
}

#[test]
fn too_many_within_an_hour_join_one_booking_and_stay_with_it() {
    let (mut memory, mut site, desk) = (memory(), site(), channels(&["desk"]));
    site.policy.most_per_hour = 2;
    let metrics = [
        (Metric::MediaJitter, Family::Net),
        (Metric::PageResponse, Family::App),
        (Metric::MediaSkew, Family::Sync),
        (Metric::EchoLoss, Family::Audio),
    ];
    memory.incidents = metrics
        .into_iter()
        .map(|(metric, family)| Incident { family, ..incident(vec![evidence(metric, Level::Degraded)]) })
        .collect();
    let stormy = plan(&mut memory, &[], &site, &desk, start());
    // By hand: the first two have bookings of their own, in the order of their families.
    let mut kinds: Vec<_> = stormy.bookings.iter().map(|booking| (booking.kind, booking.evidence.len())).collect();
    kinds.sort();
    assert_eq!(kinds, [(Kind::Fault, 1), (Kind::Fault, 1), (Kind::Unsure, 2)]);
    assert_eq!((stormy.orders.len(), memory.incidents.len()), (3, 4));
    let joint = |memory: &Memory| memory.bookings.values().find(|booking| booking.kind == Kind::Unsure).cloned();
    assert!(joint(&memory).expect("it is open").life.notes[0].text.starts_with("2 bookings"));

    for hours in [0, 2, 48] {
        let later = plan(&mut memory, &[], &site, &desk, start() + TimeDelta::hours(hours));
        assert_eq!(operations(&later), [], "nothing leaves it after {hours} h");
    }
    let back = start() + TimeDelta::hours(50);
    memory.incidents.iter_mut().for_each(|incident| incident.recovered_at = Some(back));
    plan(&mut memory, &[], &site, &desk, back);
    let over = plan(&mut memory, &[], &site, &desk, back + WITHDRAW_AFTER);
    assert_eq!((over.orders.len(), joint(&memory), memory.incidents.len()), (3, None, 0));
}
