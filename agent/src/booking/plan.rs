//! Incidents and version changes → bookings and orders. Pure.
//!
//! One open booking per kind, scope, family and cause. What happens later to the same is evidence:
//! the booking is refreshed, and an `update` order is planned only when something changed that people
//! must know: a series joined, the severity rose, it recovered or came back, a version changed, or what
//! was missing is there now.

use std::{collections::BTreeSet, time::Duration};

use bellwether_probes::Family;
use chrono::{DateTime, Utc};

use crate::{
    booking::{
        Booking, ComponentState, Kind, Operation, Order, Severity, State, VersionChange, Window, booking_key, op_key,
        slot,
    },
    channel::{Channels, Outcome},
    incident::{Cause, Evidence, Incident, severity},
    inspection::{KnownVersion, Memory},
    site::Site,
};

/// What is to be written and sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Bookings that are new or changed.
    pub bookings: Vec<Booking>,
    /// Orders that are new.
    pub orders: Vec<Order>,
}

/// How long a fault must have been away before its booking is withdrawn.
pub const WITHDRAW_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Plans bookings for `memory.incidents` and for `checks`, the version changes of this inspection
/// that open an `upgrade_check`. Keeps `memory.bookings`, `memory.epochs`, `memory.opened_on` and
/// `memory.rejected_on`, and removes incidents whose booking was withdrawn.
///
/// A channel that refuses a booking gets no order; it is opened there by the first plan in which the
/// channel takes it.
pub fn plan(
    memory: &mut Memory,
    checks: &[VersionChange],
    site: &Site,
    channels: &Channels,
    now: DateTime<Utc>,
) -> Plan {
    let mut incidents = std::mem::take(&mut memory.incidents);
    incidents.sort_by(|a, b| (&a.scope, a.family, a.cause).cmp(&(&b.scope, b.family, b.cause)));
    let severities: Vec<_> = incidents.iter().map(|incident| severity(incident, &incidents)).collect();
    let mut planner = Planner { memory, site, channels, now, plan: Plan::default() };
    for (incident, severity) in incidents.into_iter().zip(severities) {
        if planner.fault(&incident, severity) {
            planner.memory.incidents.push(incident);
        }
    }

    // Checks that stay open are looked at, too: a channel may take them now.
    let open = planner.memory.bookings.values().filter(|booking| booking.kind == Kind::UpgradeCheck);
    let open = open.map(|booking| booking.scope.clone());
    let components: BTreeSet<String> = open.chain(checks.iter().map(|change| change.component.clone())).collect();
    for component in components {
        planner.upgrade_check(&component, checks);
    }

    planner.plan
}

/// Takes down how an order ended. Returns the booking if it changed: a channel has it now, or none
/// will ever have it.
pub fn settle(memory: &mut Memory, order: &Order, outcome: &Outcome, now: DateTime<Utc>) -> Option<Booking> {
    if order.operation != Operation::Open {
        return None;
    }
    let booking = memory.bookings.get_mut(&order.booking_key)?;
    let state = match outcome {
        Outcome::Done { .. } => State::Requested,
        Outcome::Rejected { .. } => {
            let opened = memory.opened_on.entry(order.booking_key.clone()).or_default();
            opened.retain(|channel| *channel != order.channel);
            let rejected = memory.rejected_on.entry(order.booking_key.clone()).or_default();
            if !rejected.contains(&order.channel) {
                rejected.push(order.channel.clone());
            }
            if opened.is_empty() { State::NeedsHuman } else { booking.state }
        }
        Outcome::NotDelivered { .. } | Outcome::Ambiguous { .. } => return None,
    };
    if booking.state == state {
        return None;
    }
    (booking.state, booking.updated_at) = (state, now);
    Some(booking.clone())
}

/// Whether people must know what changed.
fn news(old: &Booking, new: &Booking) -> bool {
    let known = |evidence: &Evidence| old.evidence.iter().any(|old| same_series(old, evidence));
    new.severity > old.severity
        || new.recovered_at.is_some() != old.recovered_at.is_some()
        || new.complete() && !old.complete()
        || !new.evidence.iter().all(known)
        || !new.changes.iter().all(|change| old.changes.contains(change))
}

fn same_series(a: &Evidence, b: &Evidence) -> bool {
    (&a.probe, a.metric, &a.labels) == (&b.probe, b.metric, &b.labels)
}

struct Planner<'a> {
    memory: &'a mut Memory,
    site: &'a Site,
    channels: &'a Channels,
    now: DateTime<Utc>,
    plan: Plan,
}

impl Planner<'_> {
    /// Plans for one incident; says whether it stays.
    fn fault(&mut self, incident: &Incident, severity: Severity) -> bool {
        let old = self.find(Kind::Fault, &incident.scope, incident.family, incident.cause);
        let mut booking = old.clone().unwrap_or_else(|| {
            self.new_booking(Kind::Fault, &incident.scope, incident.family, incident.cause, severity)
        });
        booking.severity = booking.severity.max(severity);
        booking.recovered_at = incident.recovered_at;
        booking.evidence = incident.evidence.clone();
        booking.changes = self.memory.changes.iter().rev().cloned().collect();
        self.describe(&mut booking);
        let gone = |at| self.now.signed_duration_since(at).to_std().is_ok_and(|time| time >= WITHDRAW_AFTER);
        if incident.recovered_at.is_some_and(gone) {
            self.withdraw(booking);
            return false;
        }
        self.put(old, booking);
        true
    }

    /// Plans for the changes of one component among `checks`, and for its check that may be open.
    fn upgrade_check(&mut self, component: &str, checks: &[VersionChange]) {
        let old = self.find(Kind::UpgradeCheck, component, Family::App, Cause::Version);
        let mut booking = old.clone().unwrap_or_else(|| {
            self.new_booking(Kind::UpgradeCheck, component, Family::App, Cause::Version, Severity::Low)
        });
        for change in checks.iter().filter(|change| change.component == component) {
            if !booking.changes.contains(change) {
                booking.changes.push(change.clone());
            }
        }
        booking.changes.sort_by_key(|change| std::cmp::Reverse(change.at));
        self.describe(&mut booking);
        self.put(old, booking);
    }

    fn find(&self, kind: Kind, scope: &str, family: Family, cause: Cause) -> Option<Booking> {
        // Not by key: the key holds what the config said when the booking was planned.
        let same = |booking: &&Booking| {
            (booking.kind, &booking.scope[..], booking.family, booking.cause) == (kind, scope, family, cause)
        };
        self.memory.bookings.values().find(same).cloned()
    }

    fn new_booking(&self, kind: Kind, scope: &str, family: Family, cause: Cause, severity: Severity) -> Booking {
        let mut booking = Booking {
            key: String::new(),
            kind,
            state: State::Holding,
            severity,
            scope: scope.to_owned(),
            family,
            cause,
            epoch: 0,
            opened_at: self.now,
            updated_at: self.now,
            recovered_at: None,
            school: self.site.school.clone(),
            room: self.site.room.clone(),
            vendor: self.site.vendor.clone(),
            timezone: String::new(),
            versions: Vec::new(),
            changes: Vec::new(),
            evidence: Vec::new(),
            wanted: Vec::new(),
            missing: Vec::new(),
            op_seq: 0,
        };
        booking.epoch = self.memory.epochs.get(&booking.identity()).copied().unwrap_or(0);
        let (vendor, cause) = (&self.site.vendor.name, booking.cause_word());
        booking.key = booking_key(&self.memory.ledger_id, vendor, scope, family.name(), cause, booking.epoch);
        booking
    }

    /// Brings what the booking says of who and where up to date, and what it lacks.
    fn describe(&self, booking: &mut Booking) {
        let site = self.site;
        booking.school = site.school.clone();
        booking.room = site.room.clone();
        booking.vendor = site.vendor.clone();
        booking.timezone = site.locale.timezone.name().to_owned();
        let state = |(component, known): (&String, &KnownVersion)| ComponentState {
            component: component.clone(),
            version: known.version.clone(),
        };
        booking.versions = self.memory.versions.iter().map(state).collect();

        let (school, room) = (&site.school, &site.room);
        let needed = [
            ("school.name", !school.name.trim().is_empty()),
            ("room.id", !room.id.trim().is_empty()),
            ("room.name", !room.name.trim().is_empty()),
            ("school.contact.name", !school.contact.name.trim().is_empty()),
            (
                "school.contact.phone",
                !(school.contact.phone.trim().is_empty() && school.contact.email.trim().is_empty()),
            ),
            ("versions", !booking.versions.is_empty()),
            ("evidence", booking.kind != Kind::Fault || !booking.evidence.is_empty()),
            ("channel", self.channels.names().next().is_some()),
        ];
        booking.missing = needed.iter().filter(|(_, there)| !there).map(|(path, _)| (*path).to_owned()).collect();
    }

    /// Plans the orders of a booking, and keeps it if anything about it changed.
    fn put(&mut self, old: Option<Booking>, mut booking: Booking) {
        let opened = self.memory.opened_on.get(&booking.key).cloned().unwrap_or_default();
        let rejected = self.memory.rejected_on.get(&booking.key).cloned().unwrap_or_default();
        let has = |list: &[String], name: &str| list.iter().any(|channel| channel == name);
        let news = old.as_ref().is_some_and(|old| news(old, &booking));
        let mut orders = Vec::new();
        for name in self.channels.names() {
            if has(&rejected, name) || self.channels.accepts(name, &booking).is_err() {
                continue;
            }
            if !has(&opened, name) {
                orders.push((name.to_owned(), Operation::Open));
            } else if news {
                orders.push((name.to_owned(), Operation::Update));
            }
        }

        let open = orders.iter().any(|(_, operation)| *operation == Operation::Open);
        if opened.is_empty() {
            booking.state = if open { State::Holding } else { State::NeedsHuman };
        }
        // Windows that a vendor was told stay until it is told others.
        let passed = booking.wanted.first().is_none_or(|window: &Window| window.start <= self.now);
        if passed && (opened.is_empty() || !orders.is_empty()) {
            booking.wanted = slot::wanted(&self.site.vendor, self.site.locale.timezone, self.now);
        }
        for (channel, operation) in orders {
            self.order(&mut booking, channel, operation);
        }

        if old.as_ref() != Some(&booking) {
            booking.updated_at = self.now;
            self.memory.bookings.insert(booking.key.clone(), booking.clone());
            self.plan.bookings.push(booking);
        }
    }

    /// Ends a booking whose fault went away, wherever it was opened.
    fn withdraw(&mut self, mut booking: Booking) {
        booking.state = State::Cancelled;
        booking.updated_at = self.now;
        let opened = self.memory.opened_on.remove(&booking.key).unwrap_or_default();
        self.memory.rejected_on.remove(&booking.key);
        let configured: Vec<_> =
            self.channels.names().filter(|name| opened.iter().any(|other| other == name)).collect();
        for name in configured {
            self.order(&mut booking, name.to_owned(), Operation::Cancel);
        }
        self.memory.bookings.remove(&booking.key);
        *self.memory.epochs.entry(booking.identity()).or_default() += 1;
        self.plan.bookings.push(booking);
    }

    fn order(&mut self, booking: &mut Booking, channel: String, operation: Operation) {
        booking.op_seq += 1;
        booking.updated_at = self.now;
        let op_key = op_key(&booking.key, booking.op_seq);
        let body = self.channels.render(&channel, booking, operation, &op_key);
        if operation == Operation::Open {
            self.memory.opened_on.entry(booking.key.clone()).or_default().push(channel.clone());
        }
        self.plan.orders.push(Order {
            op_key,
            booking_key: booking.key.clone(),
            op_seq: booking.op_seq,
            channel,
            operation,
            created_at: self.now,
            body,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bellwether_probes::{Labels, Metric};
    use chrono::TimeDelta;

    use super::*;
    use crate::judge::Level;
    use crate::{
        booking::ChangeKind,
        channel::{ChannelConfig, folder, webhook},
        site::{Contact, Language, Room, School},
    };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time written here")
    }

    fn start() -> DateTime<Utc> {
        at("2026-11-24T02:00:00Z")
    }

    fn site() -> Site {
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

    fn channels(names: &[&str]) -> Channels {
        let config = |name: &&str| match *name {
            "desk" => ChannelConfig::Folder(folder::Config::default()),
            _ => ChannelConfig::Webhook(
                serde_json::from_str(r#"{"url": "https://vendor.example/", "secret_file": "/nowhere"}"#)
                    .map(|config: webhook::Config| config)
                    .expect("a config written here"),
            ),
        };
        let configs = names.iter().map(|name| ((*name).to_owned(), config(name))).collect();
        Channels::new(configs, PathBuf::from("/nowhere"), Language::English)
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
        }
    }

    fn incident(evidence: Vec<Evidence>) -> Incident {
        Incident {
            scope: "r1".into(),
            family: Family::Net,
            cause: Cause::Room,
            opened_at: start(),
            recovered_at: None,
            evidence,
        }
    }

    fn change(component: &str, new: &str, at: DateTime<Utc>) -> VersionChange {
        VersionChange { component: component.into(), old: "1.0".into(), new: new.into(), kind: ChangeKind::Minor, at }
    }

    fn memory() -> Memory {
        let known = KnownVersion { version: "1.0".into(), since: start() };
        Memory {
            ledger_id: "ledger".into(),
            versions: [("app".to_owned(), known)].into(),
            incidents: vec![incident(vec![evidence(Metric::MediaJitter, Level::Degraded)])],
            ..Memory::default()
        }
    }

    fn operations(plan: &Plan) -> Vec<(&str, Operation, u32)> {
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
        let run =
            || plan(&mut memory(), &[change("app", "1.1", start())], &site(), &channels(&["desk", "hook"]), start());
        assert_eq!(run(), run());
    }

    #[test]
    fn only_news_are_updates() {
        type Step = fn(&mut Memory);
        let table: [(&str, Step, bool); 8] = [
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
        let done = Outcome::Done { remote_id: None };
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
                let booking = settle(&mut memory, order, outcome, now);
                assert_eq!(booking.as_ref().map(|booking| booking.state), state, "{name}");
                assert!(booking.is_none_or(|booking| booking == *only(&memory) && booking.updated_at == now), "{name}");
            }
            assert_eq!(
                plan(&mut memory, &[], &site, &both, now),
                Plan::default(),
                "{name}: a refusal is not asked again"
            );

            memory.incidents[0].recovered_at = Some(now);
            let planned = plan(&mut memory, &[], &site, &both, now + WITHDRAW_AFTER);
            let told = outcomes.iter().filter(|(outcome, _)| !matches!(outcome, Outcome::Rejected { .. })).count();
            assert_eq!(planned.orders.len(), told, "{name}: only who may have it is told that it is over");
            assert!(memory.opened_on.is_empty() && memory.rejected_on.is_empty(), "{name}");
        }
    }

    #[test]
    fn settling_what_is_over_changes_nothing() {
        let (mut memory, done) = (memory(), Outcome::Done { remote_id: None });
        let opened = plan(&mut memory, &[], &site(), &channels(&["desk"]), start());
        let update = Order { operation: Operation::Update, ..opened.orders[0].clone() };
        assert_eq!(settle(&mut memory, &update, &done, start()), None);
        memory.bookings.clear();
        let before = memory.clone();
        assert_eq!(settle(&mut memory, &opened.orders[0], &Outcome::Rejected { detail: String::new() }, start()), None);
        assert_eq!(memory, before);
    }
}
