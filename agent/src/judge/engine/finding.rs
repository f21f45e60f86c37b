//! What the engine holds against a room at this instant: its cases as a whole, not what changed of them.
//! Whoever takes this in as it stands loses nothing, even if it could not write down what came before.

use serde::{Deserialize, Serialize};

use super::{
    Engine,
    case::{Action, Cause, Scope, Standing, Verb},
    state::{Path, Whose},
};

/// A case as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is said of it.
    pub said: Action,
    /// The family it was booked for.
    pub family: String,
    /// What is blamed.
    pub cause: Cause,
    /// Of a version: the component.
    pub component: Option<String>,
    /// Whether the fault is there.
    pub open: bool,
    /// Whether a better explained case has taken it over.
    pub superseded: bool,
    /// How often it was opened.
    pub episodes: u32,
    /// Its series.
    pub series: Vec<Found>,
    /// Of a load: what it is, and what it is in a usual busy hour.
    pub load: Option<(f64, f64)>,
}

/// A series of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Name of the metric.
    pub metric: String,
    /// Its other labels, as `name=value` joined by commas.
    pub labels: String,
    /// Whether its evidence is against it, be that by half-hours, by days or over a rollout.
    pub by_evidence: bool,
    /// Whether a limit is, by runs or by half-hours.
    pub by_limit: bool,
}

impl Engine {
    /// The cases that are there, or may come back, in the order in which they were opened.
    pub fn findings(&self) -> Vec<Finding> {
        (0..self.state.cases.len()).map(|place| self.finding(place)).collect()
    }

    fn finding(&self, place: usize) -> Finding {
        let case = &self.state.cases[place];
        let series = case.measures.iter().map(|measure| {
            let mine = || case.alarms.iter().filter(|alarm| alarm.measure == Some(*measure));
            let limit = |path: Path| matches!(path, Path::Limit | Path::Critical | Path::Runs);
            // A version's case is over as a whole, not alarm by alarm.
            let version = case.cause == Cause::Version && case.is_open();
            Found {
                metric: self.metric(*measure).name.clone(),
                labels: self.state.measures[*measure].labels.clone(),
                by_evidence: version || mine().any(|alarm| !limit(alarm.path)),
                by_limit: mine().any(|alarm| limit(alarm.path) && matches!(alarm.whose, Whose::Room(_))),
            }
        });
        let component = match &case.scope {
            Scope::Version(component, ..) => Some(component.clone()),
            Scope::Room(_) | Scope::Building(_) | Scope::Service(_) => None,
        };
        let verb = if case.is_open() { Verb::Open } else { Verb::Recovered };
        Finding {
            said: self.action(place, self.state.now, verb, None),
            family: case.family.clone(),
            cause: case.cause,
            component,
            open: case.is_open(),
            superseded: case.standing == Standing::Closed,
            episodes: case.episodes,
            series: series.collect(),
            load: match case.scope {
                Scope::Service(at) if case.cause == Cause::Load => {
                    let load = &self.state.services[at].load;
                    load.last.zip(load.busy_hour())
                }
                _ => None,
            },
        }
    }
}
