//! What the decision engine holds against the room becomes evidence of incidents.

use bellwether_probes::{Family, Labels, Metric};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Cause, Evidence, Incident, worse};
use crate::{
    booking::Severity,
    judge::{
        Level,
        engine::{
            case::{RuledOut, Size},
            finding::Finding,
        },
        room::LoadSeries,
    },
};

/// How far a series is from what the room would read in health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// What the room would read in health at the same load and hour, in base units.
    pub before: f64,
    /// What it reads: the middle of the last half-hours, in base units.
    pub now: f64,
    /// The difference, in units of what is material.
    pub material: f64,
    /// Half-hours since the onset that were worse by half of what is material.
    pub bad: u32,
    /// Half-hours since the onset.
    pub of: u32,
    /// By what it was found: `fast`, `slow`, `version`, `capacity`, or a limit.
    pub path: String,
    /// Evidence so far, in material-hours, or material-days if it was found by days.
    pub s: f64,
    /// Evidence that makes an alarm.
    pub h: f64,
    /// Whether it is held against the room still.
    pub on: bool,
}

/// What the engine makes of an incident as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// How soon somebody should come, by the size of it.
    pub severity: Severity,
    /// When it began, as far as the evidence tells.
    pub onset: DateTime<Utc>,
    /// How often it was there, this time included.
    pub episodes: u32,
    /// How many other rooms it was compared with; 0 for a box that knows of none.
    pub peers: u32,
    /// What was tested and is not the cause.
    pub ruled_out: Vec<RuledOut>,
    /// Whether it is there although no single series shows it, as with too many users.
    pub on: bool,
    /// Whether a better explained incident has taken it over.
    pub superseded: bool,
}

/// Where a series belongs.
pub(super) type Home = (String, Family, Cause);

/// The incident that a series belongs to, if it was found beyond a limit just now: the one that has it
/// already, unless the engine has come to blame something else.
pub(super) fn home(
    incidents: &[Incident],
    findings: &[Finding],
    (metric, probe, labels): (Metric, &str, &Labels),
    room: &str,
) -> Home {
    let mine =
        |evidence: &&Evidence| (evidence.metric, evidence.probe.as_str(), &evidence.labels) == (metric, probe, labels);
    let mut open = incidents.iter().filter(|incident| incident.recovered_at.is_none());
    let known = open.rfind(|incident| incident.evidence.iter().any(|evidence| mine(&evidence)));
    let has = |finding: &&Finding| {
        finding
            .series
            .iter()
            .filter_map(|found| found.series())
            .any(|(of, by, with)| (of, by.as_str(), &with) == (metric, probe, labels))
    };
    let found = findings.iter().rev().filter(|finding| finding.open).find(has);
    match (known, found) {
        (Some(known), Some(found)) if known.cause == found.cause => known.home(),
        (_, Some(found)) => found.home(room),
        (Some(known), None) => known.home(),
        (None, None) => (room.to_owned(), metric.spec().family, Cause::Room),
    }
}

/// Takes in what the engine holds against the room.
pub(super) fn take(
    incidents: &mut Vec<Incident>,
    findings: &[Finding],
    load: Option<&LoadSeries>,
    room: &str,
    now: DateTime<Utc>,
) {
    for evidence in incidents.iter_mut().flat_map(|incident| &mut incident.evidence) {
        if let Some(shift) = &mut evidence.shift {
            shift.on = false;
        }
    }
    for judgement in incidents.iter_mut().filter_map(|incident| incident.judgement.as_mut()) {
        judgement.on = false;
    }
    for finding in findings {
        let home = finding.home(room);
        let place = incidents.iter().position(|incident| incident.home() == home);
        let held = finding.open && (finding.series.is_empty() || finding.series.iter().any(|found| found.by_evidence));
        let incident = match place {
            Some(place) => &mut incidents[place],
            None if held => {
                incidents.push(Incident::new(home, finding.onset().unwrap_or(now).min(now)));
                let last = incidents.len() - 1;
                &mut incidents[last]
            }
            None => continue,
        };
        if finding.open || finding.superseded {
            incident.judgement = Some(finding.judgement(now));
        }
        if finding.open {
            incident.hold(finding, now);
        }
        if let (true, Some(load), Some(size)) = (finding.open, load, finding.load) {
            incident.hold_load(load, size, finding);
        }
    }
}

impl Finding {
    fn home(&self, room: &str) -> Home {
        let known = [Family::Net, Family::Video, Family::Audio, Family::Sync, Family::App];
        // What is not about a family of metrics, such as the load, is about the box and its programs.
        let family = known.into_iter().find(|family| family.name() == self.family).unwrap_or(Family::App);
        let scope = match (self.cause, &self.component) {
            (Cause::Version, Some(component)) => component.clone(),
            (Cause::Load | Cause::Service, _) if !self.said.scope.1.is_empty() => self.said.scope.1.clone(),
            _ => room.to_owned(),
        };
        (scope, family, self.cause)
    }

    fn onset(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.said.onset?)
    }

    fn judgement(&self, now: DateTime<Utc>) -> Judgement {
        Judgement {
            severity: self.said.severity.unwrap_or(Severity::Normal),
            onset: self.onset().unwrap_or(now),
            episodes: self.episodes,
            peers: u32::try_from(self.said.peers.unwrap_or(0)).unwrap_or(u32::MAX),
            ruled_out: self.said.ruled_out.clone(),
            on: self.open && self.series.is_empty(),
            superseded: self.superseded,
        }
    }

    fn size(&self, metric: &str, labels: &str) -> Option<&Size> {
        self.said.evidence.iter().find(|size| size.metric == metric && size.labels == labels)
    }
}

impl Incident {
    pub(super) fn home(&self) -> Home {
        (self.scope.clone(), self.family, self.cause)
    }

    /// Keeps what the load is, of an incident that is blamed on it.
    fn hold_load(&mut self, load: &LoadSeries, (now, before): (f64, f64), finding: &Finding) {
        let LoadSeries { metric, probe, labels } = load;
        let worst = self.evidence.first().map_or(now, |evidence| evidence.worst.max(now));
        let (material, path, on) = (finding.said.evidence.first().map_or(0.0, |size| size.material), "capacity", true);
        let shift = Shift { before, now, material, bad: 0, of: 0, path: path.to_owned(), s: 0.0, h: 0.0, on };
        self.evidence = vec![Evidence {
            probe: probe.clone(),
            metric: *metric,
            labels: labels.clone(),
            value: now,
            worst,
            limit: before,
            level: Level::Pass,
            since: finding.onset().unwrap_or(self.opened_at),
            bad: 0,
            of: 0,
            echo: None,
            shift: Some(shift),
        }];
    }

    /// Keeps what a finding says of the series of this incident.
    fn hold(&mut self, finding: &Finding, now: DateTime<Utc>) {
        let onset = finding.onset().unwrap_or(now).min(now);
        for found in &finding.series {
            let (Some((metric, probe, labels)), Some(size)) =
                (found.series(), finding.size(&found.metric, &found.labels))
            else {
                continue;
            };
            let shift = Shift {
                before: size.before,
                now: size.now,
                material: size.material,
                bad: size.bad,
                of: size.of,
                path: size.path.to_owned(),
                s: size.s,
                h: size.h,
                on: found.by_evidence,
            };
            let place = self.evidence.binary_search_by(|evidence| {
                (&evidence.probe, evidence.metric, &evidence.labels).cmp(&(&probe, metric, &labels))
            });
            match place {
                // What a limit alone has found is told by that.
                Ok(at) if !found.by_evidence && self.evidence[at].shift.is_none() => {}
                Ok(at) => {
                    let evidence = &mut self.evidence[at];
                    evidence.worst = worse(metric, evidence.worst, size.now);
                    if evidence.level == Level::Pass {
                        (evidence.value, evidence.bad, evidence.of) = (size.now, size.bad, size.of);
                    }
                    evidence.shift = Some(shift);
                }
                Err(_) if !found.by_evidence => {}
                Err(at) => {
                    let (value, worst, limit) = (size.now, size.now, size.before);
                    let (level, bad, of) = (Level::Pass, size.bad, size.of);
                    let (since, echo, shift) = (onset, None, Some(shift));
                    let new =
                        Evidence { probe, metric, labels, value, worst, limit, level, since, bad, of, echo, shift };
                    self.evidence.insert(at, new);
                }
            }
        }
    }
}
