//! Bookings for tests.

use bellwether_probes::{Family, Label, Labels, Metric};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;

use super::{
    Booking, ChangeKind, ComponentState, Kind, Severity, State, Trouble, VersionChange, Window, booking_key,
    life::{By, Check, Effect, Life, Note, Rating, SeriesEffect, VendorMinutes},
    slot,
};
use crate::{
    archive::effect::Verdict,
    calendar::{Calendar, Certainty, Day, DayKind, zone},
    channel::{Remote, Standing},
    incident::{Cause, Evidence},
    judge::Level,
    site::{Contact, Room, School, Vendor, Visit},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time written here")
}

/// The hours of a school without a timetable, in Shanghai, from the day before `from`.
pub(crate) fn calendar(vendor: &Vendor, from: DateTime<Utc>, days: usize) -> Calendar {
    let zone = Tz::Asia__Shanghai;
    let (open, close) = (NaiveTime::from_hms_opt(7, 0, 0), NaiveTime::from_hms_opt(22, 0, 0));
    let first = zone::date(zone, from).pred_opt().expect("a day before");
    let dates: Vec<_> = first.iter_days().take(days).collect();
    let day = |date: &NaiveDate| Day {
        date: *date,
        kind: DayKind::Teaching,
        name: "".into(),
        week: None,
        follows: None,
        known: true,
    };
    let open = |date: &NaiveDate| zone::window(zone, *date, open?, close?);
    let works = |date: &&NaiveDate| vendor.days.contains(&date.weekday());
    let hours = |date: &NaiveDate| Some((zone::window(zone, *date, vendor.from, vendor.to)?, true));
    Calendar::of_parts(
        zone,
        dates.iter().map(day).collect(),
        Vec::new(),
        dates.iter().filter_map(open).collect(),
        dates.iter().filter(works).filter_map(hours).collect(),
        Certainty::NoTimetable,
    )
}

fn wanted(now: DateTime<Utc>) -> Vec<Window> {
    let vendor = Vendor::default();
    let answer = slot::wanted(&calendar(&vendor, now, 40), &vendor, slot::Class::Patch, &[], now);
    answer.offers.into_iter().map(|offer| offer.window).collect()
}

/// A fault with everything that a booking can say.
pub(crate) fn full() -> Booking {
    let opened_at = at("2026-11-24T02:00:00Z");
    let evidence = |metric, stream: &str, value, worst, limit, level| Evidence {
        probe: "call".into(),
        metric,
        labels: Labels::from([(Label::Stream, stream.to_owned())]),
        value,
        worst,
        limit,
        level,
        since: at("2026-11-24T01:30:00Z"),
        bad: 3,
        of: 4,
        echo: None,
        shift: None,
    };
    let change = |component: &str, old: &str, new: &str, time| VersionChange {
        component: component.into(),
        old: old.into(),
        new: new.into(),
        kind: ChangeKind::Minor,
        at: at(time),
    };
    let version =
        |component: &str, version: &str| ComponentState { component: component.into(), version: version.into() };
    Booking {
        key: booking_key("ledger", "维护公司", "j3-302", "net", "room", 0),
        kind: Kind::Fault,
        state: State::Holding,
        severity: Severity::Critical,
        scope: "j3-302".into(),
        family: Family::Net,
        cause: Cause::Room,
        epoch: 0,
        opened_at,
        updated_at: opened_at,
        recovered_at: None,
        lesson_at_risk: None,
        judgement: None,
        school: School {
            name: "示范小学".into(),
            campus: "东校区".into(),
            contact: Contact {
                name: "信息中心".into(),
                phone: "010-5550100".into(),
                email: "it@school.example".into(),
            },
        },
        room: Room {
            id: "j3-302".into(),
            name: "三年级二班".into(),
            building: "三号楼".into(),
            service: "sfu-1".into(),
            hardware: "BX-20".into(),
            deployment: "on_premises".into(),
            users: 45,
            usage: "远程互动课".into(),
        },
        vendor: Vendor { name: "维护公司".into(), ..Vendor::default() },
        timezone: "Asia/Shanghai".into(),
        versions: vec![version("app", "2.4.1"), version("kernel", "6.1.0-28")],
        changes: vec![
            change("app", "2.4.0", "2.4.1", "2026-11-23T10:00:00Z"),
            change("kernel", "6.1.0-27", "6.1.0-28", "2026-11-10T18:05:00Z"),
        ],
        evidence: vec![
            evidence(Metric::MediaJitter, "audio", 0.0312, 0.0455, 0.03, Level::Critical),
            evidence(Metric::MediaLoss, "video", 0.024, 0.031, 0.01, Level::Degraded),
        ],
        wanted: wanted(opened_at),
        provisional: Vec::new(),
        no_window: None,
        asks: Vec::new(),
        life: Life::default(),
        visit: Visit::default(),
        recent: Vec::new(),
        missing: Vec::new(),
        op_seq: 1,
    }
}

/// One that has lived through everything.
pub(crate) fn lived() -> Booking {
    let full = full();
    let appointment = full.wanted[0];
    let point = |text: &str, vendor| Check { text: text.into(), school: true, vendor };
    let note = |by, text: &str| Note { at: at("2026-11-25T02:00:00Z"), by, text: text.into() };
    let series = SeriesEffect {
        metric: "media_loss".into(),
        labels: "probe=call,stream=video".into(),
        verdict: Verdict::Solved,
        left: Some([-0.2, 0.1, 0.4]),
        repair: None,
    };
    let life = Life {
        appointment: Some(appointment),
        requested_at: Some(full.opened_at),
        acknowledged_at: Some(at("2026-11-24T03:00:00Z")),
        confirmed_at: Some(at("2026-11-24T03:00:00Z")),
        examined_at: Some(appointment.start),
        started_at: Some(appointment.start),
        reported_at: Some(appointment.end),
        report: Some("更换网线".into()),
        observed_from: Some(appointment.end),
        evaluated_at: Some(at("2026-12-09T02:00:00Z")),
        effect: Some(Effect { verdict: Verdict::Solved, series: vec![series] }),
        accepted_at: None,
        archived_at: None,
        rating: Some(Rating { stars: 5, words: "很好".into() }),
        vendor_minutes: Some(VendorMinutes { acknowledge: Some(60), confirm: Some(60), start: None, work: Some(60) }),
        heard: Some(Remote {
            remote_id: Some("4711".into()),
            standing: Standing::Reported,
            window: Some(appointment),
            note: None,
        }),
        decisions: 2,
        reopened: 1,
        checklist: vec![point("画面与声音正常", true), point("钥匙已归还", false)],
        notes: vec![
            note(By::School(Some(1000)), "请从东门进入"),
            note(By::Vendor("calendar".into()), "ok"),
            note(By::Bellwether, "back"),
        ],
    };
    let recent = vec![Trouble {
        key: booking_key("ledger", "vendor", "j3-302", "net", "room", 9),
        kind: Kind::Fault,
        family: Family::Net,
        state: State::Archived,
        opened_at: at("2026-10-24T02:00:00Z"),
    }];
    let visit = Visit {
        escort: "信息中心".into(),
        prepare: vec!["清空讲台".into()],
        checklist: vec!["画面与声音正常".into(), "钥匙已归还".into()],
        ..Visit::default()
    };
    Booking { state: State::Evaluated, life, visit, recent, ..full }
}

/// A fault for which no time fits, with every exception there is.
pub(crate) fn exceptional() -> Booking {
    use slot::{Need, Relaxation};
    let window = |start, minutes| Window { start: at(start), end: at(start) + chrono::TimeDelta::minutes(minutes) };
    let ask = |needs, windows| Relaxation { needs, windows, provisional: false };
    let sunday = window("2026-11-29T01:00:00Z", 60);
    let asks = vec![
        ask(
            vec![Need::Later { date: "2026-12-23".parse().expect("a date written here") }],
            vec![window("2026-12-23T08:00:00Z", 60)],
        ),
        ask(vec![Need::AfterHours { minutes: 45 }], vec![window("2026-11-25T09:15:00Z", 60)]),
        ask(vec![Need::LessNotice { minutes: 30 }], vec![window("2026-11-24T02:30:00Z", 60)]),
        Relaxation { provisional: true, ..ask(vec![Need::Weekend { vendor: true, building: true }], vec![sunday]) },
        ask(vec![Need::Shorter { minutes: 45 }], vec![window("2026-11-24T04:15:00Z", 45)]),
        ask(
            vec![Need::Weekend { vendor: true, building: false }, Need::Split { parts: 2, minutes: 30 }],
            vec![window("2026-11-28T04:15:00Z", 30), window("2026-11-29T04:15:00Z", 30)],
        ),
    ];
    Booking { wanted: Vec::new(), no_window: Some(slot::Nothing::NoneFits), asks, ..full() }
}

/// A check on a box that knows nothing of its school.
pub(crate) fn minimal() -> Booking {
    let full = full();
    Booking {
        key: booking_key("ledger", "vendor", "app", "app", "upgrade_check", 0),
        kind: Kind::UpgradeCheck,
        state: State::NeedsHuman,
        severity: Severity::Low,
        scope: "app".into(),
        family: Family::App,
        cause: Cause::Version,
        school: School::default(),
        room: Room::default(),
        vendor: Vendor::default(),
        versions: Vec::new(),
        changes: vec![VersionChange { kind: ChangeKind::Patch, ..full.changes[0].clone() }],
        evidence: Vec::new(),
        wanted: Vec::new(),
        missing: ["school.name", "room.id", "room.name", "school.contact.name", "school.contact.phone", "versions"]
            .map(str::to_owned)
            .to_vec(),
        op_seq: 0,
        ..full
    }
}
