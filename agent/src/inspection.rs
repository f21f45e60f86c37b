//! One inspection, and what follows from it: [`conclude`].

use std::collections::{BTreeMap, BTreeSet};

use bellwether_probes::{ComponentVersion, Metric, ProbeRun, Reading, Validity};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    booking::{Booking, ChangeKind, Order, State, Trouble, VersionChange, life::Entry, plan},
    calendar::Calendar,
    channel::Channels,
    incident::{self, Echo, Incident},
    judge::{self, Verdict, room::RoomJudge},
    rule::{Book, Rules},
    site::Site,
};

/// How long version changes are remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// One pass over the probes that were due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Drawn by the daemon.
    pub id: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Its runs.
    pub runs: Vec<ProbeRun>,
    /// The start of the lesson before which everything was looked at once more, if that is what this is:
    /// what is still beyond its limit then is at risk of spoiling that lesson.
    #[serde(default)]
    pub before_lesson: Option<DateTime<Utc>>,
}

/// A component's version as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownVersion {
    /// The version.
    pub version: String,
    /// When it was first seen.
    pub since: DateTime<Utc>,
}

/// What the agent knows between inspections. Loaded at start; it changes only after the store took
/// the change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Drawn once per new database.
    pub ledger_id: String,
    /// State of the judge, per series.
    pub judge: BTreeMap<String, judge::Series>,
    /// Versions as they were last seen, per component.
    pub versions: BTreeMap<String, KnownVersion>,
    /// Version changes of the last 30 days, oldest first.
    pub changes: Vec<VersionChange>,
    /// Faults that are open, or recovered and not yet withdrawn.
    pub incidents: Vec<Incident>,
    /// Bookings that have not ended, by key.
    pub bookings: BTreeMap<String, Booking>,
    /// How many bookings ended, per `scope|family|cause`.
    pub epochs: BTreeMap<String, u32>,
    /// Channels on which a booking was opened, per booking key.
    pub opened_on: BTreeMap<String, Vec<String>>,
    /// Channels whose vendor certainly refused to open a booking, per booking key; they are not asked
    /// again for it.
    #[serde(default)]
    pub rejected_on: BTreeMap<String, Vec<String>>,
    /// Bookings that ended last, newest first.
    #[serde(default)]
    pub recent: Vec<Trouble>,
}

impl Memory {
    /// Whether somebody works on the room.
    pub fn in_maintenance(&self) -> bool {
        self.bookings.values().any(|booking| booking.state == State::InMaintenance)
    }
}

/// What follows from one inspection.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The memory after it, to be taken once the store has it.
    pub memory: Memory,
    /// What was judged, one verdict per reading of a series with a rule, in the order of the readings.
    pub verdicts: Vec<Verdict>,
    /// Versions that changed.
    pub changes: Vec<VersionChange>,
    /// Incidents that are new, or open again.
    pub opened: Vec<Incident>,
    /// Incidents whose last series came back.
    pub recovered: Vec<Incident>,
    /// Bookings that are new or changed.
    pub bookings: Vec<Booking>,
    /// Orders that are new.
    pub orders: Vec<Order>,
    /// What the audit trail keeps of it.
    pub entries: Vec<Entry>,
}

impl Conclusion {
    /// What follows from something that happened to bookings alone.
    pub fn of_plan(memory: Memory, plan: plan::Plan) -> Self {
        let plan::Plan { bookings, orders, entries } = plan;
        let (verdicts, changes, opened, recovered) = Default::default();
        Self { memory, verdicts, changes, opened, recovered, bookings, orders, entries }
    }
}

/// What inspections have in common, as far as the config and the calendar say.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// How metrics are judged.
    pub rules: &'a Rules,
    /// Who and where.
    pub site: &'a Site,
    /// The ways to the vendor.
    pub channels: &'a Channels,
    /// When the room is taught in, and the vendor works.
    pub calendar: &'a Calendar,
    /// Whether nothing is booked yet: what the vendor has of an earlier ledger is still to be read.
    pub is_adopting: bool,
}

/// Judges an inspection and says what follows. Pure: everything it depends on is a parameter, and the
/// same inspection on the same memory and judge gives the same conclusion to the byte. The judge learns
/// from it, whether or not the conclusion can be written: what it holds against the room is said anew
/// each time.
///
/// A run that failed or must not be judged as a whole still counts for each reading of it that is
/// valid by itself: that the call did not connect is a reading of a failed run.
pub fn conclude(
    terms: Terms<'_>,
    memory: &Memory,
    judge: &mut RoomJudge,
    inspection: &Inspection,
    now: DateTime<Utc>,
) -> Conclusion {
    let Terms { rules, site, channels, calendar, is_adopting } = terms;
    let mut memory = memory.clone();
    let mut verdicts = Vec::new();
    let (changes, checks) = take_versions(&mut memory, &inspection.runs, now);
    judge.lessons(calendar, now);
    changes.iter().for_each(|change| judge.changed(change));
    if memory.in_maintenance() {
        // What is read while somebody works on the room is recorded and held against nobody; and what they
        // install needs no check by others.
        let (opened, recovered) = Default::default();
        let (bookings, orders, entries) = Default::default();
        return Conclusion { memory, verdicts, changes, opened, recovered, bookings, orders, entries };
    }
    for run in &inspection.runs {
        let mut of_run = judge_run(rules, &mut memory, run, now);
        judge.run(run, &mut of_run);
        verdicts.extend(of_run);
    }
    let incident::Update { incidents, opened, recovered } =
        incident::update(&memory.incidents, &verdicts, (&judge.findings(), judge.load()), &site.room.id, now);
    memory.incidents = incidents;
    if let Some(lesson) = inspection.before_lesson {
        incident::put_at_risk(&mut memory.incidents, &verdicts, lesson);
    }
    let plan = match is_adopting {
        true => plan::Plan::default(),
        false => plan::plan(&mut memory, &checks, site, channels, calendar, now),
    };
    let plan::Plan { bookings, orders, entries } = plan;
    Conclusion { memory, verdicts, changes, opened, recovered, bookings, orders, entries }
}

/// Takes a changed config into the memory: series that it no longer judges, because their rule or
/// their probe is gone, are forgotten and keep no incident open. To be called at start and at reload,
/// never because a reading is absent.
pub fn adopt(memory: &Memory, rules: &Rules, probes: &BTreeSet<String>, now: DateTime<Utc>) -> Memory {
    let mut memory = memory.clone();
    memory.judge.retain(|id, _| {
        judge::parse_series_id(id).is_some_and(|(metric, probe, labels)| {
            probes.contains(&probe) && rules.for_series(metric, &probe, &labels).is_some()
        })
    });
    let judged = |evidence: &incident::Evidence| {
        let rule = rules.for_series(evidence.metric, &evidence.probe, &evidence.labels);
        probes.contains(&evidence.probe) && rule.is_some_and(|rule| rule.book == Book::Maintenance)
    };
    memory.incidents = incident::forget(&memory.incidents, judged, now).incidents;
    memory
}

fn judge_run(rules: &Rules, memory: &mut Memory, run: &ProbeRun, now: DateTime<Utc>) -> Vec<Verdict> {
    let judge = |reading: &Reading| {
        let rule = rules.for_series(reading.metric, &run.probe, &reading.labels)?;
        let id = judge::series_id(reading.metric, &run.probe, &reading.labels);
        let state = memory.judge.entry(id).or_default();
        let (after, verdict) = judge::step(rule, &run.probe, state, Some(reading), now);
        *state = after;
        verdict
    };
    let mut verdicts: Vec<Verdict> = run.readings.iter().filter_map(judge).collect();
    let echo = echo_of(rules, run);
    let of_call = |metric| matches!(metric, Metric::EchoLoss | Metric::EchoLeastLoss | Metric::EchoImpairment);
    for verdict in verdicts.iter_mut().filter(|verdict| of_call(verdict.metric) && verdict.value.is_some()) {
        verdict.echo = echo;
    }
    verdicts
}

/// What a call has heard of its echo.
fn echo_of(rules: &Rules, run: &ProbeRun) -> Option<Echo> {
    let find = |metric| {
        let found = run.readings.iter().find(|reading| reading.metric == metric);
        found.filter(|reading| reading.validity != Validity::Inconclusive)
    };
    let (delay, loss) = (find(Metric::EchoDelay), find(Metric::EchoLoss));
    delay.or(loss)?;
    let rule = loss.and_then(|loss| rules.for_series(loss.metric, &run.probe, &loss.labels));
    let limit = rule.and_then(|rule| rule.limit.or(rule.critical)).map(|limit| limit.enter.low);
    Some(Echo {
        delay_seconds: delay.map(|delay| delay.value),
        loss_decibels: loss.map(|loss| loss.value),
        expected_decibels: limit.filter(|limit| limit.is_finite()),
    })
}

/// Keeps the versions that were seen. Returns what changed, and of that what opens an `upgrade_check`.
fn take_versions(
    memory: &mut Memory,
    runs: &[ProbeRun],
    now: DateTime<Utc>,
) -> (Vec<VersionChange>, Vec<VersionChange>) {
    let (mut changes, mut checks) = (Vec::new(), Vec::new());
    for seen in runs.iter().flat_map(|run| &run.versions) {
        if let Some(change) = take_version(memory, seen, now) {
            if seen.book_on_change {
                checks.push(change.clone());
            }
            changes.push(change);
        }
    }
    memory.changes.extend(changes.iter().cloned());
    memory.changes.retain(|change| now - change.at <= REMEMBERED);
    (changes, checks)
}

/// Keeps a component's version; says so if it is another one than before. The first sight of a
/// component is no change, and neither is a source that names no version.
fn take_version(memory: &mut Memory, seen: &ComponentVersion, now: DateTime<Utc>) -> Option<VersionChange> {
    let ComponentVersion { component, version, .. } = seen;
    if version.is_empty() {
        return None;
    }
    let known = KnownVersion { version: version.clone(), since: now };
    match memory.versions.get_mut(component) {
        None => {
            memory.versions.insert(component.clone(), known);
            None
        }
        Some(old) if old.version == *version => None,
        Some(old) => {
            let old = std::mem::replace(old, known).version;
            let kind = change_kind(&old, version);
            Some(VersionChange { component: component.clone(), old, new: version.clone(), kind, at: now })
        }
    }
}

/// How far two versions are apart, in either direction: by the first of their leading dotted numbers
/// that differs, a missing one being 0. The epoch of a Debian version (`1:`), a leading `v` and all
/// from the last hyphen on, its revision, are left out; what has no leading number, such as a
/// commit's hash, is [`ChangeKind::Other`].
pub fn change_kind(old: &str, new: &str) -> ChangeKind {
    let (old, new) = (numbers(old), numbers(new));
    if old.is_empty() || new.is_empty() {
        return ChangeKind::Other;
    }
    let part = |numbers: &[String], at: usize| numbers.get(at).cloned().unwrap_or_default();
    let differs = (0..3).find(|at| part(&old, *at) != part(&new, *at));
    match differs {
        Some(0) => ChangeKind::Major,
        Some(1) => ChangeKind::Minor,
        Some(_) => ChangeKind::Patch,
        None => ChangeKind::Other,
    }
}

/// The leading dotted numbers of a version, as digits without leading zeros, so that any length fits.
fn numbers(version: &str) -> Vec<String> {
    let version = version.trim();
    let without_epoch = match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => version,
    };
    let upstream = without_epoch.rsplit_once('-').map_or(without_epoch, |(upstream, _)| upstream);
    let mut numbers = Vec::new();
    for part in upstream.trim_start_matches(['v', 'V']).split('.') {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, suffix) = part.split_at(digits);
        // `9f3ab12` is a name that happens to start with a digit; `1w` in `1.1.1w` is not.
        let name = numbers.is_empty() && suffix.starts_with(|c: char| c.is_alphanumeric());
        if number.is_empty() || name {
            break;
        }
        numbers.push(number.trim_start_matches('0').to_owned());
        if !suffix.is_empty() {
            break;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use bellwether_probes::{Failure, Label, Metric, Reason};

    use super::*;
    use crate::{
        booking::{Severity, examples},
        judge::{
            Level,
            engine::settings::Tuning,
            room::{self, RoomJudge},
        },
        rule::MetricConfig,
    };

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn rules(metrics: serde_json::Value) -> Rules {
        let site: BTreeMap<Metric, MetricConfig> = serde_json::from_value(metrics).expect("rules written here");
        let (rules, mistakes) = Rules::build(&BTreeMap::new(), &site);
        assert_eq!(mistakes, []);
        rules
    }

    fn usual_rules() -> Rules {
        rules(serde_json::json!({
            "media_success": { "limit": 0.5, "critical_limit": 0.5 },
            "media_round_trip": { "limit": { "enter": 0.1, "clear": 0.08 } },
            "disk_utilization": { "limit": 0.85 },
        }))
    }

    fn site() -> Site {
        let mut site = Site::default();
        site.room.id = "B1-101".to_owned();
        site
    }

    /// A judge that has learned nothing: what counts runs is in the memory.
    fn judge(rules: &Rules) -> RoomJudge {
        RoomJudge::new(room::settings(&site(), rules, &Tuning::default(), None))
    }

    fn conclude_by(rules: &Rules, memory: &Memory, inspection: &Inspection, now: DateTime<Utc>) -> Conclusion {
        let (site, channels, calendar) = (site(), Channels::default(), calendar());
        let terms = Terms { rules, site: &site, channels: &channels, calendar: &calendar, is_adopting: false };
        conclude(terms, memory, &mut judge(rules), inspection, now)
    }

    fn calendar() -> Calendar {
        examples::calendar(&site().vendor, at(0), 120)
    }

    fn round_trip(value: f64) -> ProbeRun {
        let mut run = ProbeRun::new("call", at(0));
        for (stat, factor) in [("p50", 0.5), ("p95", 1.0)] {
            let reading = Reading::new(at(0), Metric::MediaRoundTrip, value * factor, 80);
            run.readings.push(reading.with(Label::Leg, "both").with(Label::Stat, stat));
        }
        run
    }

    fn versions(components: &[(&str, &str, bool)]) -> ProbeRun {
        let mut run = ProbeRun::new("versions", at(0));
        run.versions = components
            .iter()
            .map(|(component, version, book_on_change)| ComponentVersion {
                component: (*component).to_owned(),
                version: (*version).to_owned(),
                book_on_change: *book_on_change,
            })
            .collect();
        run
    }

    fn conclude_with(memory: &Memory, runs: Vec<ProbeRun>, minute: i64) -> Conclusion {
        let inspection = Inspection { id: format!("i{minute}"), started_at: at(minute), runs, before_lesson: None };
        conclude_by(&usual_rules(), memory, &inspection, at(minute))
    }

    #[test]
    fn only_series_with_a_rule_are_judged_and_remembered() {
        let conclusion = conclude_with(&Memory::default(), vec![round_trip(0.2)], 0);
        let stats: Vec<&str> =
            conclusion.verdicts.iter().map(|verdict| verdict.labels.get(Label::Stat).expect("the label")).collect();
        assert_eq!(stats, ["p95"]);
        let ids: Vec<&String> = conclusion.memory.judge.keys().collect();
        assert_eq!(ids, ["media_round_trip{probe=\"call\",leg=\"both\",stat=\"p95\"}"]);
    }

    #[test]
    fn bad_runs_open_an_incident_and_good_ones_recover_it() {
        let mut memory = Memory::default();
        let mut said = Vec::new();
        for (value, minute) in [0.2, 0.2, 0.2, 0.2, 0.05, 0.05, 0.05].into_iter().zip(0..) {
            let conclusion = conclude_with(&memory, vec![round_trip(value)], minute);
            said.push((conclusion.opened.len(), conclusion.recovered.len()));
            memory = conclusion.memory;
        }
        assert_eq!(said, [(0, 0), (0, 0), (1, 0), (0, 0), (0, 0), (0, 1), (0, 0)]);
    }

    #[test]
    fn what_a_look_ahead_still_finds_is_critical() {
        let mut memory = Memory::default();
        for minute in 0..3 {
            memory = conclude_with(&memory, vec![round_trip(0.2)], minute).memory;
        }
        let severity = |conclusion: &Conclusion| {
            conclusion.memory.bookings.values().map(|booking| booking.severity).collect::<Vec<_>>()
        };
        let ahead = |value, before_lesson| {
            let inspection =
                Inspection { id: "i".to_owned(), started_at: at(9), runs: vec![round_trip(value)], before_lesson };
            conclude_by(&usual_rules(), &memory, &inspection, at(9))
        };
        assert_eq!(severity(&ahead(0.2, None)), [Severity::Normal]);
        assert_eq!(severity(&ahead(0.2, Some(at(30)))), [Severity::Critical]);
        assert_eq!(severity(&ahead(0.05, Some(at(30)))), [Severity::Normal]);
    }

    #[test]
    fn a_failed_run_is_judged_for_the_readings_that_it_has() {
        let failed = || {
            let mut run = ProbeRun::failed("call", at(0), Failure::new(Reason::Ice, "no pair"));
            run.inconclusive = Some(Reason::HostLimited);
            run.readings.push(Reading::new(at(0), Metric::MediaSuccess, 0.0, 1));
            run
        };
        let first = conclude_with(&Memory::default(), vec![failed()], 0);
        let second = conclude_with(&first.memory, vec![failed()], 5);
        assert_eq!(second.verdicts[0].level, Level::Critical);
        assert_eq!(second.memory.incidents[0].scope, "B1-101");
        // Nothing was read: nothing is said, and nothing heals.
        let silent = ProbeRun::failed("call", at(0), Failure::new(Reason::Worker, "gone"));
        let third = conclude_with(&second.memory, vec![silent], 10);
        assert_eq!((third.verdicts, third.memory.incidents), (vec![], second.memory.incidents));
    }

    /// A call to the room, as its far end heard it.
    fn echo_call(delay: f64, loss: Option<f64>, bound: bool, impairment: f64) -> ProbeRun {
        let mut run = ProbeRun::new("room", at(0));
        run.readings.push(Reading::new(at(0), Metric::EchoDelay, delay, 12));
        run.readings.extend(loss.map(|loss| {
            let mut reading = Reading::new(at(0), Metric::EchoLoss, loss, 12);
            if bound {
                reading = reading.between(loss, 120.0);
                reading.validity = Validity::LowConfidence;
            }
            reading
        }));
        run.readings.push(Reading::new(at(0), Metric::EchoImpairment, impairment, 12));
        run
    }

    fn echo_rules() -> Rules {
        rules(serde_json::json!({
            "echo_loss": {
                "limit": { "enter": 46.0, "clear": 48.0, "bad": 3, "of": 4, "recover": 2 },
                "critical_limit": { "enter": 40.0, "clear": 43.0, "bad": 2, "of": 2, "recover": 2 },
            },
            "echo_impairment": { "limit": { "enter": 13.0, "clear": 11.0, "bad": 3, "of": 4, "recover": 2 } },
            "microphone_working": { "limit": { "enter": 0.5, "clear": 0.5, "bad": 2, "of": 2, "recover": 2 } },
        }))
    }

    fn conclude_echo(memory: &Memory, runs: Vec<ProbeRun>, minute: i64) -> Conclusion {
        let inspection = Inspection { id: format!("i{minute}"), started_at: at(minute), runs, before_lesson: None };
        conclude_by(&echo_rules(), memory, &inspection, at(minute))
    }

    #[test]
    fn an_echo_that_got_worse_is_one_booking_that_says_what_the_far_end_hears_and_what_changed_before() {
        let mut memory = Memory::default();
        let mut opened = 0;
        for minute in 0..12 {
            let version = if minute < 4 { "2.4.0" } else { "2.5.0" };
            // The canceller went with the new version.
            let call = if minute < 5 {
                echo_call(0.32, Some(55.0), false, 2.0)
            } else {
                echo_call(0.32, Some(24.0), false, 61.0)
            };
            let conclusion = conclude_echo(&memory, vec![versions(&[("app", version, false)]), call], minute);
            opened += conclusion.opened.len();
            memory = conclusion.memory;
        }
        assert_eq!((opened, memory.incidents.len(), memory.bookings.len()), (1, 1, 1));
        let booking = memory.bookings.values().next().expect("the one");
        assert_eq!(booking.evidence.len(), 2, "loss and impairment are of one cause");
        let text = crate::booking::text::write(booking, crate::site::Language::English).body;
        let said = "The far end hears itself after 320 ms, 24 dB down (expected at least 46 dB), since 1970-01-01 08:06; \
                    what changed before: app 2.4.0 → 2.5.0 (1970-01-01 08:04).";
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn a_bound_of_the_loss_opens_nothing_and_is_good_where_it_is_high_enough() {
        let mut memory = Memory::default();
        for minute in 0..6 {
            memory = conclude_echo(&memory, vec![echo_call(0.1, Some(20.0), true, 2.0)], minute).memory;
        }
        assert_eq!(memory.incidents, []);
        for minute in 6..9 {
            memory = conclude_echo(&memory, vec![echo_call(0.1, Some(30.0), false, 2.0)], minute).memory;
        }
        let open = |memory: &Memory| memory.incidents.iter().filter(|incident| incident.recovered_at.is_none()).count();
        assert_eq!(open(&memory), 1);
        for minute in 9..12 {
            memory = conclude_echo(&memory, vec![echo_call(0.1, Some(42.0), true, 2.0)], minute).memory;
        }
        assert_eq!(open(&memory), 1, "it may still be there");
        for minute in 12..14 {
            memory = conclude_echo(&memory, vec![echo_call(0.1, Some(60.0), true, 2.0)], minute).memory;
        }
        assert_eq!(open(&memory), 0);
    }

    #[test]
    fn a_dead_microphone_is_booked_although_the_run_has_no_number_of_the_echo() {
        let mut dead = ProbeRun::new("echo", at(0));
        dead.inconclusive = Some(Reason::Dead);
        dead.readings.push(Reading::new(at(0), Metric::MicrophoneWorking, 0.0, 4));
        let first = conclude_echo(&Memory::default(), vec![dead.clone()], 0);
        assert_eq!(first.memory.bookings.len(), 0);
        let second = conclude_echo(&first.memory, vec![dead], 1);
        let booking = second.bookings.first().expect("a booking");
        let text = crate::booking::text::write(booking, crate::site::Language::Chinese).body;
        assert!(text.contains("麦克风失灵：完全收不到声音，自 "), "{text}");
    }

    #[test]
    fn a_conclusion_is_the_same_to_the_byte_each_time() {
        let mut memory = Memory::default();
        for minute in 0..6 {
            let runs = vec![round_trip(0.2), versions(&[("bbb", if minute < 3 { "2.4.0" } else { "2.5.0" }, true)])];
            let inspection = Inspection { id: format!("i{minute}"), started_at: at(minute), runs, before_lesson: None };
            // What is stored and read back is the same memory too.
            let stored = serde_json::to_string(&memory).expect("plain data");
            let restored: Memory = serde_json::from_str(&stored).expect("what was just written");
            let conclude = |memory: &Memory| conclude_by(&usual_rules(), memory, &inspection, at(minute));
            let (once, twice) = (conclude(&memory), conclude(&restored));
            assert_eq!(once, twice);
            let bytes = |conclusion: &Conclusion| serde_json::to_string(&conclusion.memory).expect("plain data");
            assert_eq!(bytes(&once), bytes(&twice));
            memory = once.memory;
        }
    }

    #[test]
    fn a_version_changes_when_it_is_another_one_than_last_seen() {
        let mut memory = Memory::default();
        let mut said: Vec<Vec<String>> = Vec::new();
        let sights: [&[(&str, &str, bool)]; 7] = [
            &[("bbb", "2.4.0", true), ("os", "12.5", false)],
            &[("bbb", "2.4.0", true)],
            &[],
            &[("bbb", "", true)],
            &[("bbb", "2.5.0", true), ("os", "12.6", false)],
            &[("bbb", "2.4.0", true)],
            &[("bbb", "2.4.0", true)],
        ];
        for (sight, minute) in sights.into_iter().zip(0..) {
            let conclusion = conclude_with(&memory, vec![versions(sight)], minute);
            said.push(
                conclusion
                    .changes
                    .iter()
                    .map(|change| format!("{} {} {}", change.component, change.old, change.new))
                    .collect(),
            );
            memory = conclusion.memory;
        }
        let none: Vec<String> = Vec::new();
        assert_eq!(said[..4], [none.clone(), none.clone(), none.clone(), none.clone()]);
        assert_eq!(said[4], ["bbb 2.4.0 2.5.0", "os 12.5 12.6"]);
        assert_eq!(said[5..], [vec!["bbb 2.5.0 2.4.0".to_owned()], none]);
        assert_eq!(memory.versions["bbb"], KnownVersion { version: "2.4.0".to_owned(), since: at(5) });
        assert_eq!(memory.changes.len(), 3);
    }

    #[test]
    fn only_a_component_that_books_on_change_opens_a_check() {
        let mut memory = Memory::default();
        let runs = |version| [versions(&[("bbb", version, true), ("os", version, false)])];
        assert_eq!(take_versions(&mut memory, &runs("1"), at(0)), (vec![], vec![]));
        let (changes, checks) = take_versions(&mut memory, &runs("2"), at(1));
        let names =
            |changes: &[VersionChange]| changes.iter().map(|change| change.component.clone()).collect::<Vec<_>>();
        assert_eq!((names(&changes), names(&checks)), (vec!["bbb".into(), "os".into()], vec!["bbb".into()]));
    }

    #[test]
    fn changes_are_remembered_for_thirty_days() {
        let day = 24 * 60;
        let first = conclude_with(&Memory::default(), vec![versions(&[("bbb", "1", true)])], 0);
        let second = conclude_with(&first.memory, vec![versions(&[("bbb", "2", true)])], 1);
        assert_eq!(conclude_with(&second.memory, vec![], 30 * day + 1).memory.changes.len(), 1);
        assert_eq!(conclude_with(&second.memory, vec![], 30 * day + 2).memory.changes, []);
    }

    #[test]
    fn the_kind_of_a_change_is_the_first_number_that_differs() {
        use ChangeKind::{Major, Minor, Other, Patch};
        let table = [
            ("2.4.0", "3.0.0", Major),
            ("2.4.0", "2.5.1", Minor),
            ("2.4.0", "2.4.1", Patch),
            ("2.4.1", "2.4.0", Patch),
            ("1:2.4.0-1", "1:2.4.0-2", Other),
            ("1:2.4.0-1", "2:2.4.0-1", Other),
            ("1:2.4.0-1", "1:2.4.1-1", Patch),
            ("1:2.4.0-1", "2.5.0", Minor),
            ("v2.4", "2.4.0", Other),
            ("2.4", "2.4.1", Patch),
            ("2.4.0+dfsg-1", "2.4.0+dfsg-2", Other),
            ("2.4.0+dfsg-1", "2.4.1+dfsg-1", Patch),
            ("2.4.0~rc1", "2.4.0", Other),
            ("1.1.1v", "1.1.1w", Other),
            ("6.1.0-18-amd64", "6.1.0-21-amd64", Other),
            ("2.4.0.7", "2.4.0.8", Other),
            ("9f3ab12", "1c0ffee", Other),
            ("2.04", "2.4", Other),
            ("99999999999999999999999.1", "99999999999999999999999.2", Minor),
            ("nightly", "2.4.0", Other),
            ("120", "121", Major),
            ("", "1", Other),
        ];
        for (old, new, kind) in table {
            assert_eq!(change_kind(old, new), kind, "{old} → {new}");
        }
    }

    #[test]
    fn a_changed_config_forgets_what_it_judges_no_longer_and_nothing_else() {
        let mut memory = Memory::default();
        for minute in 0..3 {
            let mut disk = ProbeRun::new("box", at(0));
            disk.readings.push(Reading::new(at(0), Metric::DiskUtilization, 0.99, 1).with(Label::Mount, "/"));
            memory = conclude_with(&memory, vec![round_trip(0.2), disk], minute).memory;
        }
        let open = |memory: &Memory| memory.incidents.iter().filter(|incident| incident.recovered_at.is_none()).count();
        assert_eq!((memory.judge.len(), open(&memory)), (2, 1), "two families at once are one fault");
        let probes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let both = probes(&["box", "call"]);
        assert_eq!(adopt(&memory, &usual_rules(), &both, at(9)), memory);
        let without_probe = adopt(&memory, &usual_rules(), &probes(&["call"]), at(9));
        assert_eq!((without_probe.judge.len(), open(&without_probe)), (1, 1));
        let without_rule =
            adopt(&memory, &rules(serde_json::json!({ "disk_utilization": { "limit": 0.85 } })), &both, at(9));
        assert_eq!((without_rule.judge.len(), open(&without_rule)), (1, 1));
        assert_eq!(adopt(&memory, &Rules::default(), &both, at(9)).judge.len(), 0);
        let unbooked = rules(serde_json::json!({
            "disk_utilization": { "limit": 0.85, "book": "none" },
            "media_round_trip": { "limit": 0.1 },
        }));
        let without_booking = adopt(&memory, &unbooked, &both, at(9));
        assert_eq!((without_booking.judge.len(), open(&without_booking)), (2, 1));
    }
}
