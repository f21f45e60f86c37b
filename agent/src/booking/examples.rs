//! Bookings for tests.

use bellwether_probes::{Family, Label, Labels, Metric};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Booking, ChangeKind, ComponentState, Kind, Severity, State, VersionChange, booking_key, slot};
use crate::{
    incident::{Cause, Evidence},
    judge::Level,
    site::{Contact, Room, School, Vendor},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time written here")
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
        wanted: slot::wanted(&Vendor::default(), Tz::Asia__Shanghai, opened_at),
        missing: Vec::new(),
        op_seq: 1,
    }
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
        changes: vec![full.changes[0].clone()],
        evidence: Vec::new(),
        wanted: Vec::new(),
        missing: ["school.name", "room.id", "room.name", "school.contact.name", "school.contact.phone", "versions"]
            .map(str::to_owned)
            .to_vec(),
        op_seq: 0,
        ..full
    }
}
