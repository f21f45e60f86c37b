//! What is not the cause of a booking without a measure: load, and probes that fail. And a version that
//! nothing can be said of yet, because no half-hour since it had a load that was ever seen before.

use super::{
    Engine,
    case::{Case, Cause, RuledOut, Scope, Verb},
    critical::FRESH,
    local::{DAY_BLOCKS, block_of},
    rollout::{Rollout, Strictness, WARM},
    text::change,
};

/// A version changed within so many blocks before the onset may be the cause.
const RECENT: i64 = 2 * DAY_BLOCKS;
/// Half-hours at loads seen before that a version is judged by.
const LEAST: usize = 4;
/// Other rooms that have to be heard of to say anything of them.
const OTHERS: usize = 3;

impl Engine {
    /// Upgrades of rooms of a service shortly before an onset, by place, and until now.
    fn recent_rollouts(&self, service: usize, onset: i64, block: i64) -> Vec<usize> {
        let recent = |rollout: &Rollout| {
            let mut blocks = rollout.rooms.values();
            rollout.service == service && blocks.any(|up| (onset.saturating_sub(RECENT)..=block).contains(up))
        };
        (0..self.state.rollouts.len()).filter(|place| recent(&self.state.rollouts[*place])).collect()
    }

    /// Component, version and block of the changes on a service shortly before an onset.
    fn recent_changes(&self, service: usize, onset: i64, block: i64) -> Vec<(&str, &str, i64)> {
        let changes = self.state.services[service].changes.iter();
        let blocks = changes.map(|(component, version, at)| (component.as_str(), version.as_str(), block_of(*at)));
        blocks.filter(|(_, _, at)| (onset.saturating_sub(RECENT)..=block).contains(at)).collect()
    }

    /// Versions that may be the cause of what looks like load, and of which nothing can be said yet.
    fn not_ruled_out(&self, service: usize, onset: i64, block: i64) -> Vec<String> {
        let load = &self.state.services[service].load;
        let unjudged = |since: i64| {
            let oldest = block - super::KEPT as i64 + 2;
            (since.saturating_add(WARM).max(oldest)..=block).filter(|block| !load.unseen.get(*block)).count() < LEAST
        };
        let rollouts = self.recent_rollouts(service, onset, block).into_iter().map(|place| &self.state.rollouts[place]);
        let of_rooms = rollouts
            .filter(|rollout| unjudged(rollout.first()))
            .map(|rollout| format!("{} {}", rollout.component, rollout.version));
        let of_service = self.recent_changes(service, onset, block).into_iter();
        let of_service = of_service
            .filter(|(_, _, since)| unjudged(*since))
            .map(|(component, version, _)| format!("{component} {version}"));
        of_rooms.chain(of_service).collect()
    }

    /// What a booking of load says of versions that cannot be judged yet; empty if there is none.
    pub(super) fn doubt(&self, case: &Case, block: i64) -> String {
        let Scope::Service(service) = case.scope else { return String::new() };
        if case.cause != Cause::Load || case.advice.is_some() {
            return String::new();
        }
        let versions = self.not_ruled_out(service, case.onset, block);
        if versions.is_empty() {
            return String::new();
        }
        format!(" Version not ruled out: no half-hour at a load seen before since {}.", versions.join(" and "))
    }

    /// Remembers that a booking of load has a version to be judged later.
    pub(super) fn remember_doubt(&mut self, id: &str, block: i64) {
        let Some(place) = self.state.cases.iter().position(|case| case.id == id) else { return };
        self.state.cases[place].in_doubt = !self.doubt(&self.state.cases[place], block).is_empty();
    }

    /// Bookings of load whose versions could not be judged: those that can be by now, at night.
    pub(super) fn judge_doubts(&mut self, block: i64, at: i64) {
        for place in 0..self.state.cases.len() {
            let case = &self.state.cases[place];
            let Scope::Service(service) = case.scope else { continue };
            if !case.in_doubt || !case.is_open() || !self.doubt(case, block).is_empty() {
                continue;
            }
            let onset = case.onset;
            self.state.cases[place].in_doubt = false;
            let mut blamed = false;
            for rollout in self.recent_rollouts(service, onset, block) {
                for measure in 0..self.state.measures.len() {
                    let known = &self.state.rollouts[rollout];
                    if let Some(regressed) = self.regressed(known, measure, block, LEAST, Strictness::Usual) {
                        self.blame(block, at, rollout, measure, &regressed, None);
                        blamed = true;
                    }
                }
            }
            if !blamed {
                self.say(place, at, Verb::Update, Some("judged again: not the version".to_owned()));
            }
        }
    }

    /// Causes of load, or of probes that fail, that were looked at and are not it.
    pub(super) fn not_without_measure(&self, case: &Case, block: i64) -> Vec<RuledOut> {
        let mut out = Vec::new();
        let Some(first) = case.rooms.first().copied() else { return out };
        let service = self.site.service_of[first];
        match case.cause {
            Cause::Load => out.extend(self.not_the_version(service, case.onset, block)),
            Cause::Version => {}
            Cause::Room | Cause::Service => {
                let rollouts = self.recent_rollouts(service, case.onset, block);
                if rollouts.is_empty() && self.recent_changes(service, case.onset, block).is_empty() {
                    out.push(none_changed());
                }
                out.extend(self.not_the_service(case, service));
            }
        }
        out
    }

    fn not_the_version(&self, service: usize, onset: i64, block: i64) -> Option<RuledOut> {
        if !self.not_ruled_out(service, onset, block).is_empty() {
            return None;
        }
        let rollouts = self.recent_rollouts(service, onset, block);
        if rollouts.is_empty() {
            return self.recent_changes(service, onset, block).is_empty().then(none_changed);
        }
        let rollout = &self.state.rollouts[*rollouts.first()?];
        let (measure, cohort) =
            self.load_measures().find_map(|measure| Some((measure, self.cohort(rollout, measure, block, LEAST)?)))?;
        let mut shifts: Vec<f32> = cohort.shifts.iter().map(|(_, shift)| *shift as f32).collect();
        let level = super::statistics::median(&mut shifts)?;
        let Rollout { component, version, .. } = rollout;
        let shift = change(self.metric(measure), level);
        let because = format!("{} rooms on {component} {version} at {shift} at loads seen before", shifts.len());
        let because_zh = format!("使用 {component} {version} 的 {} 间教室在以往负载下变化 {shift}", shifts.len());
        Some(RuledOut::new("version", because, because_zh))
    }

    /// Whether the other rooms of the service answer, by their last probes.
    fn not_the_service(&self, case: &Case, service: usize) -> Option<RuledOut> {
        if matches!(case.scope, Scope::Service(_) | Scope::Version(..)) {
            return None;
        }
        let others = self.site.services[service].rooms.iter().filter(|room| !case.rooms.contains(room));
        let heard = |room: &&usize| {
            self.state.rooms[**room].heard.is_some_and(|heard| self.state.now.saturating_sub(heard) <= FRESH)
        };
        let others: Vec<usize> = others.filter(heard).copied().collect();
        let answer = others.iter().filter(|room| self.state.rooms[**room].failed.0 == 0).count();
        let (all, id) = (others.len(), &self.site.services[service].id);
        let told = all >= OTHERS && answer * 2 > all;
        told.then(|| {
            RuledOut::new(
                "service",
                format!("{answer} of {all} other rooms on {id} answer"),
                format!("{id} 上另外 {all} 间教室中有 {answer} 间正常"),
            )
        })
    }
}

fn none_changed() -> RuledOut {
    RuledOut::new("version", "none changed for 48 h before", "此前 48 小时没有版本变更")
}
