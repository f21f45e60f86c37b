//! The state as it is stored, and what is done before stored state is used.

use super::{
    Engine, MOST_MEASURES,
    case::{Case, Scope},
    local::block_of,
    series::Shared,
    settings::{MetricSettings, Settings},
    state::{self, FORMAT, Measure, Room, State},
};

/// Stored state that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("the state cannot be read: {0}")]
    Torn(String),
    /// It is of another version.
    #[error("the state has format {0}, this program reads {FORMAT}")]
    Format(u32),
    /// It is of other rooms.
    #[error("the state is of other rooms, services or buildings than the site file names")]
    OtherSite,
    /// It contradicts itself.
    #[error("the state contradicts itself")]
    Unsound,
}

impl Engine {
    /// An engine that goes on from stored state.
    pub fn restore(settings: Settings, stored: &[u8]) -> Result<Self, StateError> {
        #[derive(serde::Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = serde_json::from_slice(stored).map_err(|error| StateError::Torn(error.to_string()))?;
        if format.format != FORMAT {
            return Err(StateError::Format(format.format));
        }
        let mut state: State = serde_json::from_slice(stored).map_err(|error| StateError::Torn(error.to_string()))?;
        let new = Self::new(settings);
        let same = state.rooms.iter().map(|room| &room.id).eq(new.state.rooms.iter().map(|room| &room.id))
            && state.services.iter().map(|group| &group.id).eq(new.state.services.iter().map(|group| &group.id))
            && state.buildings.iter().map(|group| (&group.id, &group.service)).eq(new
                .state
                .buildings
                .iter()
                .map(|group| (&group.id, &group.service)));
        if !same {
            return Err(StateError::OtherSite);
        }
        let mut new = new;
        // Metrics are found again by their names; a metric that is judged no longer loses its series.
        let mut lost = Vec::new();
        for (at, measure) in state.measures.iter().enumerate() {
            let metrics = &mut new.settings.metrics;
            if let Err(place) = metrics.binary_search_by(|metric| metric.name.as_str().cmp(&measure.metric)) {
                metrics.insert(place, MetricSettings::judged_no_longer(&measure.metric));
                lost.push(at);
            }
        }
        for measure in &mut state.measures {
            let by_name = |metric: &MetricSettings| metric.name.as_str().cmp(&measure.metric);
            measure.settings = new.settings.metrics.binary_search_by(by_name).unwrap_or_default();
        }
        if !is_sound(&state) {
            return Err(StateError::Unsound);
        }
        let mut engine = Self { state, ..new };
        engine.rules = (0..engine.state.measures.len()).map(|measure| engine.rule_of(measure)).collect();
        lost.into_iter().for_each(|measure| engine.forget_series(measure));
        Ok(engine)
    }

    /// Forgets what is known of a measure, and takes back what was held against it: it is judged no longer.
    fn forget_series(&mut self, measure: usize) {
        for room in &mut self.state.rooms {
            if let Some(series) = room.series.get_mut(measure) {
                *series = None;
            }
        }
        self.state.limits.iter_mut().for_each(|limits| drop(limits.remove(&measure)));
        let alarms: Vec<state::Alarm> =
            self.state.alarms.iter().filter(|alarm| alarm.measure == Some(measure)).copied().collect();
        let at = self.state.now;
        alarms.into_iter().for_each(|alarm| self.clear(block_of(at), at, alarm));
        self.state.waiting.retain(|waiting| waiting.alarm.measure != Some(measure));
    }

    /// Forgets the series that are `judged` no longer, by metric and labels. For a changed config only:
    /// a series that is merely absent is not well.
    pub fn retain(&mut self, judged: impl Fn(&str, &str) -> bool) {
        for measure in 0..self.state.measures.len() {
            let Measure { metric, labels, .. } = &self.state.measures[measure];
            if !judged(metric, labels) {
                self.forget_series(measure);
            }
        }
    }

    /// The state as it is stored.
    pub fn stored(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state).unwrap_or_default()
    }
}

/// Whether stored state holds together: every place that it names is there.
fn is_sound(state: &State) -> bool {
    let (rooms, measures) = (state.rooms.len(), state.measures.len());
    let of_room = |room: &Room| {
        room.series.len() <= measures
            && room.size.is_sound()
            && room.series.iter().flatten().all(|series| series.healthy.is_sound())
    };
    let shared = |shared: &[Shared]| shared.len() <= measures;
    let places = state.cases.iter().all(|case| {
        case.rooms.iter().all(|room| *room < rooms) && case.measures.iter().all(|measure| *measure < measures)
    }) && state.rollouts.iter().all(|rollout| {
        rollout.service < state.services.len()
            && rollout.rooms.keys().all(|room| *room < rooms)
            && rollout.covered.iter().all(|(room, measure)| *room < rooms && *measure < measures)
    });
    let alarm = |alarm: &state::Alarm| {
        alarm.measure.is_none_or(|measure| measure < measures)
            && match alarm.whose {
                state::Whose::Room(room) => room < rooms,
                state::Whose::Building(at) => at < state.buildings.len(),
                state::Whose::Service(at) => at < state.services.len(),
            }
    };
    let alarms = state.alarms.iter().all(alarm)
        && state.waiting.iter().all(|waiting| alarm(&waiting.alarm))
        && state.cases.iter().flat_map(|case| &case.alarms).all(alarm);
    let scope = |case: &Case| match &case.scope {
        Scope::Room(room) => *room < rooms,
        Scope::Building(at) => *at < state.buildings.len(),
        Scope::Service(at) | Scope::Version(_, _, at) => *at < state.services.len(),
    };
    measures <= MOST_MEASURES
        && state.limits.len() <= rooms
        && state.limits.iter().all(|limits| limits.keys().all(|measure| *measure < measures))
        && state.rooms.iter().all(of_room)
        && state
            .services
            .iter()
            .all(|service| service.load.is_sound() && service.size.is_sound() && shared(&service.shared))
        && state.buildings.iter().all(|building| shared(&building.shared))
        && places
        && alarms
        && state.cases.iter().all(scope)
}
