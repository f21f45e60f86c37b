//! What a box without sister rooms can tell of what it shares with rooms that it knows nothing of.
//!
//! It cannot compare, so it names another cause than its room only where something speaks for it: its media server
//! was changed just before, or the fault belongs to one that is blamed on something else already.

use super::{
    Engine,
    book::SAME_ONSET,
    case::{Cause, Scope},
    local::{DAY_BLOCKS, block_of},
};

impl Engine {
    /// What an alarm of a room without sisters is blamed on, if no rollout is.
    pub(super) fn cause_alone(&self, room: usize, measure: usize, onset: i64) -> Cause {
        let metric = self.metric(measure);
        if metric.heavy || metric.role.is_some() {
            return Cause::Room;
        }
        // What is open for another cause takes in what it would take in of a room.
        let takes_in = self.state.cases.iter().find(|case| {
            case.scope == Scope::Room(room)
                && case.cause != Cause::Room
                && case.may_take_in()
                && (case.is_open() && case.families.contains(&metric.family)
                    || (case.onset - onset).abs() <= SAME_ONSET)
        });
        if let Some(case) = takes_in {
            return case.cause;
        }
        let changes = &self.state.services[self.site.service_of[room]].changes;
        if changes.iter().any(|(_, _, at)| (-4..=DAY_BLOCKS).contains(&(onset - block_of(*at)))) {
            return Cause::Version;
        }
        Cause::Room
    }
}
