//! Incidents: open faults, one per scope, family and cause.
//!
//! An incident opens with the first series that is held against the room: beyond its limit, or too far from
//! what the room would read in health. It gathers what the engine takes for the same fault, and is
//! *recovered* when all of that is back. It stays in memory after that, so that the plan
//! can wait before it withdraws a booking, and is open again as soon as one goes beyond. A series that
//! nothing is heard of keeps it open.

mod held;

use bellwether_probes::{Family, Labels, Metric, Scale, Worse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::held::{Judgement, Shift};
use crate::{
    booking::{Booking, Kind, Severity},
    judge::{Level, Verdict, engine::finding::Finding, room::LoadSeries},
    rule::Book,
};

/// What a fault is blamed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// This room: its box, its devices, its network.
    Room,
    /// A version that was installed.
    Version,
    /// More users than the media server bears.
    Load,
    /// Something that many rooms share.
    Service,
}

impl Cause {
    /// The word used in keys, JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Version => "version",
            Self::Load => "load",
            Self::Service => "service",
        }
    }
}

/// The echo of a call as one run has heard it: one number of it says little without the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Echo {
    /// After how many seconds the far end hears itself.
    pub delay_seconds: Option<f64>,
    /// How many decibels down.
    pub loss_decibels: Option<f64>,
    /// How many it should be at least, by the plain limit.
    pub expected_decibels: Option<f64>,
}

/// One series that is, or was, beyond its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Name of the probe.
    pub probe: String,
    /// The metric.
    pub metric: Metric,
    /// Labels of the series.
    pub labels: Labels,
    /// The value when evidence was last taken, in base units.
    pub value: f64,
    /// The worst value seen while the incident was open.
    pub worst: f64,
    /// The limit it is beyond.
    pub limit: f64,
    /// Whether it is beyond the critical limit, the plain one, or back within.
    pub level: Level,
    /// Since when it has been beyond.
    pub since: DateTime<Utc>,
    /// How many of the last runs were beyond, of how many.
    pub bad: u32,
    /// See `bad`.
    pub of: u32,
    /// Of the echo of a call: what the run that gave `value` has heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<Echo>,
    /// How far it is from what the room would read in health, if that is held against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
}

impl Evidence {
    /// Whether it was taken for being beyond a limit.
    fn is_by_limit(&self) -> bool {
        self.level > Level::Pass || self.shift.is_none()
    }

    /// Whether it is beyond a limit, or too far from what the room would read in health.
    pub fn is_bad(&self) -> bool {
        self.level > Level::Pass || self.shift.as_ref().is_some_and(|shift| shift.on)
    }
}

/// An open fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The room, service or component concerned.
    pub scope: String,
    /// The family of its metrics.
    pub family: Family,
    /// What it is blamed on.
    pub cause: Cause,
    /// When its first series went beyond its limit.
    pub opened_at: DateTime<Utc>,
    /// When all of its series were back within their limits; `None` while one is beyond.
    pub recovered_at: Option<DateTime<Utc>>,
    /// Start of the newest lesson before which it was still there; `None` once it recovered.
    #[serde(default)]
    pub lesson_at_risk: Option<DateTime<Utc>>,
    /// What the engine makes of it, once it has something to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// Its series, sorted by probe, metric and labels.
    pub evidence: Vec<Evidence>,
}

impl Incident {
    /// The fault that a booking of an earlier ledger was opened for, as it was told last. `None` for a booking that
    /// nothing measured opened.
    pub fn of_booking(booking: &Booking) -> Option<Self> {
        matches!(booking.kind, Kind::Fault | Kind::Capacity).then(|| Self {
            scope: booking.scope.clone(),
            family: booking.family,
            cause: booking.cause,
            opened_at: booking.opened_at,
            recovered_at: booking.recovered_at,
            lesson_at_risk: None,
            judgement: None,
            evidence: booking.evidence.clone(),
        })
    }
}

/// The incidents after an inspection, and what became of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// All incidents, sorted by scope, family and cause.
    pub incidents: Vec<Incident>,
    /// Those that are new, or open again.
    pub opened: Vec<Incident>,
    /// Those whose last series came back.
    pub recovered: Vec<Incident>,
}

/// Takes the verdicts of one inspection of `room` into its incidents, and what the engine holds against it.
/// Idempotent: the same once more opens and recovers nothing.
pub fn update(
    incidents: &[Incident],
    verdicts: &[Verdict],
    (findings, load): (&[Finding], Option<&LoadSeries>),
    room: &str,
    now: DateTime<Utc>,
) -> Update {
    let mut updated = incidents.to_vec();
    for verdict in verdicts.iter().filter(|verdict| verdict.book == Book::Maintenance) {
        let (Some(value), Some(limit)) = (verdict.value, verdict.limit) else { continue };
        if verdict.level > Level::Pass && !verdict.held {
            continue;
        }
        if verdict.level == Level::Pass {
            // Wherever it was held against the room.
            updated.iter_mut().for_each(|incident| incident.take(verdict, value, limit, now));
            continue;
        }
        let home = held::home(&updated, findings, (verdict.metric, &verdict.probe, &verdict.labels), room);
        let at = updated.iter().position(|incident| incident.home() == home).unwrap_or_else(|| {
            updated.push(Incident::new(home, now));
            updated.len() - 1
        });
        updated[at].take(verdict, value, limit, now);
        // What is blamed on something else now is no evidence of what it was blamed on before.
        for (_, other) in updated.iter_mut().enumerate().filter(|(other, _)| *other != at) {
            let same = |evidence: &&mut Evidence| {
                (&evidence.probe, evidence.metric, &evidence.labels)
                    == (&verdict.probe, verdict.metric, &verdict.labels)
            };
            other.evidence.iter_mut().filter(same).for_each(|evidence| evidence.level = Level::Pass);
        }
    }
    held::take(&mut updated, findings, load, room, now);
    settle(incidents, updated, now)
}

/// Forgets the series that are judged no longer: they do not keep their incident open. For a changed
/// config only, because a series that is merely absent is not recovered.
pub fn forget(incidents: &[Incident], judged: impl Fn(&Evidence) -> bool, now: DateTime<Utc>) -> Update {
    let mut updated = incidents.to_vec();
    for evidence in updated.iter_mut().flat_map(|incident| &mut incident.evidence) {
        if !judged(evidence) {
            (evidence.level, evidence.shift) = (Level::Pass, None);
        }
    }
    settle(incidents, updated, now)
}

/// Finds what opened and what recovered between `before` and `after`.
fn settle(before: &[Incident], mut after: Vec<Incident>, now: DateTime<Utc>) -> Update {
    after.sort_by(|a, b| a.identity().cmp(&b.identity()));
    let (mut opened, mut recovered) = (Vec::new(), Vec::new());
    for incident in &mut after {
        let was_open =
            before.iter().any(|earlier| earlier.identity() == incident.identity() && earlier.recovered_at.is_none());
        let on = incident.judgement.as_ref().is_some_and(|judgement| judgement.on);
        let is_open = on || incident.evidence.iter().any(Evidence::is_bad);
        incident.recovered_at = if is_open { None } else { incident.recovered_at.or(Some(now)) };
        incident.lesson_at_risk = incident.lesson_at_risk.filter(|_| is_open);
        match (was_open, is_open) {
            (false, true) => opened.push(incident.clone()),
            (true, false) => recovered.push(incident.clone()),
            _ => {}
        }
    }
    Update { incidents: after, opened, recovered }
}

/// Marks the open incidents of which something was seen to be beyond its limit when everything was looked
/// at before `lesson`.
pub fn put_at_risk(incidents: &mut [Incident], verdicts: &[Verdict], lesson: DateTime<Utc>) {
    let seen = |evidence: &Evidence| {
        let same = |verdict: &&Verdict| {
            (&verdict.probe, verdict.metric, &verdict.labels) == (&evidence.probe, evidence.metric, &evidence.labels)
        };
        verdicts.iter().find(same).is_some_and(|verdict| verdict.alone > Level::Pass)
    };
    for incident in incidents.iter_mut().filter(|incident| incident.recovered_at.is_none()) {
        if incident.evidence.iter().any(seen) {
            incident.lesson_at_risk = Some(lesson);
        }
    }
}

impl Incident {
    fn new((scope, family, cause): held::Home, opened_at: DateTime<Utc>) -> Self {
        let (recovered_at, lesson_at_risk, judgement) = (None, None, None);
        Self { scope, family, cause, opened_at, recovered_at, lesson_at_risk, judgement, evidence: Vec::new() }
    }

    fn identity(&self) -> (&str, Family, Cause) {
        (&self.scope, self.family, self.cause)
    }

    /// Keeps what a verdict says of a series of this incident; a series that passes only if it is known.
    fn take(&mut self, verdict: &Verdict, value: f64, limit: f64, now: DateTime<Utc>) {
        let Verdict { level, bad, of, .. } = *verdict;
        let place = self.evidence.binary_search_by(|evidence| {
            (&evidence.probe, evidence.metric, &evidence.labels).cmp(&(&verdict.probe, verdict.metric, &verdict.labels))
        });
        match place {
            Ok(at) => {
                let evidence = &mut self.evidence[at];
                let (was, is) = (evidence.level, level);
                (evidence.value, evidence.echo) = (value, verdict.echo);
                if is == Level::Pass {
                    evidence.level = is;
                    return;
                }
                if was == Level::Pass {
                    evidence.since = now;
                }
                // A good run of a bad series says nothing of the side that it is beyond.
                if was != is || verdict.alone > Level::Pass {
                    evidence.limit = limit;
                }
                evidence.worst = worse(verdict.metric, evidence.worst, value);
                (evidence.level, evidence.bad, evidence.of) = (is, bad, of);
            }
            Err(_) if level == Level::Pass => {}
            Err(at) => {
                let (probe, metric, labels) = (verdict.probe.clone(), verdict.metric, verdict.labels.clone());
                let (since, worst, echo, shift) = (now, value, verdict.echo, None);
                let new = Evidence { probe, metric, labels, value, worst, limit, level, since, bad, of, echo, shift };
                self.evidence.insert(at, new);
            }
        }
    }
}

/// The worse of two values.
fn worse(metric: Metric, a: f64, b: f64) -> f64 {
    match metric.spec().worse {
        Worse::Down => a.min(b),
        Worse::AwayFromZero if a.abs() >= b.abs() => a,
        Worse::AwayFromZero => b,
        Worse::Up | Worse::Neither => a.max(b),
    }
}

/// How soon somebody should come for an incident, by what was measured so far.
///
/// A series beyond its critical limit is critical, and so is whatever puts a lesson at risk. High is a
/// fault that shows in two families at once, or in a value more than three material changes beyond its
/// limit. All else is normal, unless the engine has come to another judgement of what it holds against
/// the room.
pub fn severity(incident: &Incident, incidents: &[Incident]) -> Severity {
    let critical = incident.evidence.iter().any(|evidence| evidence.level == Level::Critical);
    if critical || incident.lesson_at_risk.is_some() {
        return Severity::Critical;
    }
    let open = |other: &&Incident| other.scope == incident.scope && other.recovered_at.is_none();
    let elsewhere = incidents.iter().filter(open).any(|other| other.family != incident.family);
    let families = || incident.evidence.iter().map(|evidence| evidence.metric.spec().family);
    let several = families().next().is_some_and(|first| families().any(|family| family != first));
    let limits = || incident.evidence.iter().filter(|evidence| evidence.is_by_limit());
    if elsewhere || several || limits().any(|evidence| material_beyond(evidence) > 3.0) {
        return Severity::High;
    }
    let least = if limits().next().is_some() { Severity::Normal } else { Severity::Low };
    incident.judgement.as_ref().map_or(Severity::Normal, |judgement| judgement.severity.max(least))
}

/// How far the worst value is beyond the limit, in material changes of the metric.
fn material_beyond(evidence: &Evidence) -> f64 {
    let Evidence { worst, limit, .. } = *evidence;
    match evidence.metric.spec().scale {
        Scale::Log(factor) if worst > 0.0 && limit > 0.0 => (worst / limit).ln().abs() / factor.ln(),
        Scale::Log(_) => 0.0,
        Scale::Linear(amount) => (worst - limit).abs() / amount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minute)
    }

    fn verdict(metric: Metric, value: f64, limit: f64, level: Level) -> Verdict {
        Verdict {
            probe: "call".to_owned(),
            metric,
            labels: Labels::new(),
            value: Some(value),
            level,
            inconclusive: None,
            changed: false,
            alone: level,
            limit: Some(limit),
            bad: 3,
            of: 4,
            book: Book::Maintenance,
            held: level > Level::Pass,
            echo: None,
        }
    }

    fn loss(value: f64, level: Level) -> Verdict {
        verdict(Metric::MediaLoss, value, 0.01, level)
    }

    fn connect(value: f64, level: Level) -> Verdict {
        verdict(Metric::MediaConnect, value, 2.0, level)
    }

    fn freeze(value: f64, level: Level) -> Verdict {
        verdict(Metric::MediaFreezeRatio, value, 0.01, level)
    }

    /// The incidents after each of the inspections, a minute apart.
    fn after(inspections: &[&[Verdict]]) -> Vec<Incident> {
        let fold = |incidents: Vec<Incident>, (verdicts, minute): (&&[Verdict], i64)| {
            update(&incidents, verdicts, (&[], None), "B1-101", at(minute)).incidents
        };
        inspections.iter().zip(0..).fold(Vec::new(), fold)
    }

    #[test]
    fn opens_with_the_first_bad_series_and_gathers_its_family() {
        assert_eq!(after(&[&[loss(0.0, Level::Pass)]]), []);
        let both =
            after(&[&[loss(0.02, Level::Degraded)], &[loss(0.03, Level::Degraded), connect(3.0, Level::Degraded)]]);
        assert_eq!(both.len(), 1);
        let incident = &both[0];
        assert_eq!((incident.scope.as_str(), incident.family, incident.opened_at), ("B1-101", Family::Net, at(0)));
        // `media_connect` stands before `media_loss` in the vocabulary.
        let metrics: Vec<Metric> = incident.evidence.iter().map(|evidence| evidence.metric).collect();
        assert_eq!(metrics, [Metric::MediaConnect, Metric::MediaLoss]);
    }

    #[test]
    fn families_stand_apart() {
        let both = after(&[&[freeze(0.02, Level::Degraded), loss(0.02, Level::Degraded)]]);
        let families: Vec<Family> = both.iter().map(|incident| incident.family).collect();
        assert_eq!(families, [Family::Net, Family::Video]);
    }

    #[test]
    fn keeps_the_worst_and_since_when() {
        let [incident] =
            after(&[&[loss(0.02, Level::Degraded)], &[loss(0.05, Level::Critical)], &[loss(0.03, Level::Critical)]])
                .try_into()
                .expect("one incident");
        let evidence = &incident.evidence[0];
        assert_eq!((evidence.value, evidence.worst, evidence.since), (0.03, 0.05, at(0)));
        assert_eq!(evidence.level, Level::Critical);
        for (metric, values, worst) in [
            (Metric::MediaFrameRatio, [0.8, 0.6, 0.7], 0.6),
            (Metric::MediaSkew, [0.05, -0.2, 0.1], -0.2),
            (Metric::MediaConnect, [3.0, 9.0, 4.0], 9.0),
        ] {
            let verdicts = values.map(|value| [verdict(metric, value, 0.5, Level::Degraded)]);
            let incidents = after(&[&verdicts[0], &verdicts[1], &verdicts[2]]);
            assert_eq!(incidents[0].evidence[0].worst.to_bits(), f64::to_bits(worst), "{metric}");
        }
    }

    #[test]
    fn the_limit_is_the_one_that_was_passed_last() {
        let skew = |value, limit, level, alone| Verdict { alone, ..verdict(Metric::MediaSkew, value, limit, level) };
        let degraded = Level::Degraded;
        let early = skew(0.05, 0.045, degraded, degraded);
        let good = skew(-0.01, -0.125, degraded, Level::Pass);
        let late = skew(-0.13, -0.125, degraded, degraded);
        let limit = |inspections: &[&[Verdict]]| after(inspections)[0].evidence[0].limit.to_bits();
        let (early, good, late) = ([early], [good], [late]);
        assert_eq!(limit(&[&early, &good]), f64::to_bits(0.045));
        assert_eq!(limit(&[&early, &good, &late]), f64::to_bits(-0.125));
    }

    #[test]
    fn recovers_only_when_all_of_its_series_are_back() {
        let bad: &[Verdict] = &[loss(0.02, Level::Degraded), connect(3.0, Level::Degraded)];
        let half: &[Verdict] = &[loss(0.0, Level::Pass), connect(3.0, Level::Degraded)];
        let good: &[Verdict] = &[connect(1.0, Level::Pass)];
        let states: Vec<Option<DateTime<Utc>>> =
            (1..=4).map(|count| after(&[bad, half, good, good][..count])[0].recovered_at).collect();
        assert_eq!(states, [None, None, Some(at(2)), Some(at(2))]);
        let again = after(&[bad, half, good, bad]);
        assert_eq!((again[0].recovered_at, again[0].opened_at), (None, at(0)));
        assert_eq!(again[0].evidence[0].since, at(3));
    }

    #[test]
    fn absence_and_inconclusive_readings_keep_it_open() {
        let bad: &[Verdict] = &[loss(0.02, Level::Degraded)];
        let blind = Verdict { value: None, ..loss(0.02, Level::Degraded) };
        let open = after(&[bad]);
        assert_eq!(after(&[bad, &[], &[blind], &[freeze(0.0, Level::Pass)]]), open);
    }

    #[test]
    fn says_what_opened_and_what_recovered_once() {
        let bad = [loss(0.02, Level::Degraded)];
        let good = [loss(0.0, Level::Pass)];
        let mut incidents = Vec::new();
        let mut said = Vec::new();
        for (verdicts, minute) in [&bad, &bad, &good, &good, &bad].into_iter().zip(0..) {
            let update = update(&incidents, verdicts, (&[], None), "B1-101", at(minute));
            said.push((update.opened.len(), update.recovered.len()));
            incidents = update.incidents;
        }
        assert_eq!(said, [(1, 0), (0, 0), (0, 1), (0, 0), (1, 0)]);
    }

    #[test]
    fn a_series_that_books_nothing_makes_no_incident() {
        assert_eq!(after(&[&[Verdict { book: Book::None, ..loss(0.5, Level::Critical) }]]), []);
    }

    #[test]
    fn a_series_that_is_judged_no_longer_does_not_keep_it_open() {
        let open = after(&[&[loss(0.02, Level::Degraded), freeze(0.02, Level::Degraded)]]);
        let update = forget(&open, |evidence| evidence.metric != Metric::MediaLoss, at(5));
        let states: Vec<_> = update.incidents.iter().map(|incident| incident.recovered_at).collect();
        assert_eq!(states, [Some(at(5)), None]);
        assert_eq!(update.recovered.len(), 1);
    }

    #[test]
    fn what_is_still_seen_before_a_lesson_puts_it_at_risk_until_it_recovers() {
        let half: &[Verdict] = &[freeze(0.02, Level::Degraded), loss(0.02, Level::Degraded)];
        let mut incidents = after(&[half]);
        // A good run that does not bring its series back says that the room works just now.
        let better = Verdict { alone: Level::Pass, ..loss(0.0, Level::Degraded) };
        put_at_risk(&mut incidents, &[better, freeze(0.03, Level::Degraded)], at(60));
        let at_risk = |incidents: &[Incident]| incidents.iter().map(|one| one.lesson_at_risk).collect::<Vec<_>>();
        assert_eq!(at_risk(&incidents), [None, Some(at(60))]);
        let severities: Vec<_> = incidents.iter().map(|incident| severity(incident, &incidents)).collect();
        assert_eq!(severities, [Severity::High, Severity::Critical]);
        // Nothing was seen of it: nothing is said.
        put_at_risk(&mut incidents, &[connect(3.0, Level::Degraded)], at(120));
        assert_eq!(at_risk(&incidents), [None, Some(at(60))]);
        let recovered = update(&incidents, &[freeze(0.0, Level::Pass)], (&[], None), "B1-101", at(70)).incidents;
        assert_eq!(at_risk(&recovered), [None, None]);
        let mut recovered = recovered;
        put_at_risk(&mut recovered, &[freeze(0.02, Level::Degraded)], at(120));
        assert_eq!(at_risk(&recovered), [None, None]);
    }

    #[test]
    fn severity_follows_from_what_was_measured() {
        let one = |verdict: Verdict| after(&[&[verdict]]);
        let of_first = |incidents: &[Incident]| severity(&incidents[0], incidents);
        assert_eq!(of_first(&one(loss(0.02, Level::Degraded))), Severity::Normal);
        assert_eq!(of_first(&one(loss(0.05, Level::Critical))), Severity::Critical);
        // Material: 0.01 on the linear scale of loss, a factor of 1.5 on the one of connecting.
        assert_eq!(of_first(&one(loss(0.039, Level::Degraded))), Severity::Normal);
        assert_eq!(of_first(&one(loss(0.041, Level::Degraded))), Severity::High);
        assert_eq!(of_first(&one(connect(6.7, Level::Degraded))), Severity::Normal);
        assert_eq!(of_first(&one(connect(6.8, Level::Degraded))), Severity::High);
        let two: &[Verdict] = &[loss(0.02, Level::Degraded), freeze(0.02, Level::Degraded)];
        assert_eq!(of_first(&after(&[two])), Severity::High);
        let net = after(&[&[loss(0.02, Level::Degraded)]]);
        let elsewhere = update(&net, &[freeze(0.02, Level::Degraded)], (&[], None), "B1-102", at(1)).incidents;
        assert_eq!(of_first(&elsewhere), Severity::Normal);
        let one_is_back = after(&[two, &[freeze(0.0, Level::Pass)]]);
        assert_eq!(of_first(&one_is_back), Severity::Normal);
    }
}
