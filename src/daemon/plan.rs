//! The probes the daemon knows, and when each is due.

use std::collections::BTreeMap;

use bellwether_agent::{
    export::ProbeStatus,
    rule::Rules,
    schedule::{Due, Skip, due},
};
use bellwether_probes::{Probe, ProbeConfig, media::Profile};
use chrono::{DateTime, Utc};

use crate::config::ProbeEntry;

/// One configured probe.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: ProbeEntry,
    pub(super) generation: u64,
    /// The probe with what it keeps between runs; away while it runs.
    pub(super) probe: Option<Probe>,
    /// The last instant up to which the schedule was followed.
    examined: DateTime<Utc>,
}

/// All configured probes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) status: BTreeMap<String, ProbeStatus>,
    generations: u64,
}

impl Plan {
    /// Takes a config. Probes that it leaves as they were keep everything: their phase, counters and
    /// handles. A probe that changed starts anew and keeps its counters.
    pub(super) fn take(&mut self, probes: &BTreeMap<String, ProbeEntry>, rules: &Rules, now: DateTime<Utc>) {
        self.slots.retain(|name, _| probes.contains_key(name));
        self.status.retain(|name, _| probes.contains_key(name));
        for (name, entry) in probes {
            if matches!(&entry.config, ProbeConfig::Media(config) if config.rehearses()) {
                tracing::warn!(probe = %name, "rehearses: its path is made worse on purpose, and what follows is real");
            }
            if self.slots.get(name).is_some_and(|slot| slot.entry == *entry) {
                continue;
            }
            self.generations += 1;
            let examined = self.slots.get(name).map_or(now, |slot| slot.examined);
            let probe = Some(Probe::new(name, entry.config.clone()));
            let slot = Slot { entry: entry.clone(), generation: self.generations, probe, examined };
            self.slots.insert(name.clone(), slot);
            let fresh =
                ProbeStatus::new(entry.config.kind(), entry.interval, entry.timeout, |metric| rules.edges(metric));
            let status = match self.status.get_mut(name).filter(|status| status.kind == fresh.kind) {
                Some(status) => {
                    (status.interval, status.timeout) = (entry.interval, entry.timeout);
                    for (metric, histogram) in fresh.distributions {
                        status.distributions.entry(metric).or_insert(histogram);
                    }
                    status
                }
                None => self.status.entry(name.clone()).insert_entry(fresh).into_mut(),
            };
            status.distributions.retain(|metric, _| entry.config.measures(*metric));
        }
    }

    /// The probes of the first inspection: all, but for light calls where a full one shows the same and more.
    pub(super) fn first(&self) -> Vec<String> {
        let profile = |slot: &Slot| match &slot.entry.config {
            ProbeConfig::Media(config) => Some(config.profile),
            _ => None,
        };
        let full = self.slots.values().any(|slot| profile(slot) == Some(Profile::Full));
        let runs = |slot: &Slot| !(full && profile(slot) == Some(Profile::Light));
        self.slots.iter().filter(|(_, slot)| runs(slot)).map(|(name, _)| name.clone()).collect()
    }

    /// The probes to run at `now`; runs that were missed are counted and not made up for.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Vec<String> {
        let mut names = Vec::new();
        for (name, slot) in &mut self.slots {
            let (due, examined) = due(&slot.entry.schedule, slot.examined, now);
            slot.examined = examined;
            let (run, missed) = match due {
                Due::Wait { .. } => continue,
                Due::Run { missed, .. } => (true, missed),
                Due::Missed { count, .. } => (false, count),
            };
            if missed > 0 {
                tracing::warn!(probe = %name, missed, "runs were missed and are not made up for");
            }
            if let Some(status) = self.status.get_mut(name) {
                status.skip(Skip::Missed, missed.into());
            }
            names.extend(run.then(|| name.clone()));
        }
        names
    }

    /// When the next probe is due, seen from `now`.
    pub(super) fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at = |slot: &Slot| match due(&slot.entry.schedule, slot.examined, now).0 {
            Due::Wait { at } => at,
            Due::Run { .. } | Due::Missed { .. } => now,
        };
        self.slots.values().map(at).min()
    }

    /// Gives a probe back after its run, unless a reload has replaced it meanwhile.
    pub(super) fn give_back(&mut self, name: &str, generation: u64, probe: Probe) -> bool {
        let slot = self.slots.get_mut(name).filter(|slot| slot.generation == generation);
        slot.map(|slot| slot.probe = Some(probe)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use bellwether_probes::Metric;

    use super::*;
    use crate::config::{Config, Source};

    fn plan(text: &str) -> Plan {
        let now = DateTime::UNIX_EPOCH;
        let site = Source { name: "bellwether.toml".into(), text: text.to_owned() };
        let config = Config::parse(&[site], now).expect("a good config");
        let mut plan = Plan::default();
        plan.take(&config.probes, &config.rules, now);
        plan
    }

    #[test]
    fn the_first_inspection_makes_one_call_and_no_light_one_beside_a_full_one() {
        let off = |name: &str| format!("[probe.{name}]\nenabled = false\n");
        let lab = "[probe.lab]\nkind = \"media\"\nprofile = \"light\"\n";
        for (text, expected) in [
            (String::new(), &["box", "call", "versions"][..]),
            (off("call"), &["box", "versions", "voice"]),
            (off("voice") + lab, &["box", "call", "versions"]),
            (off("call") + &off("voice"), &["box", "versions"]),
            (off("call") + lab, &["box", "lab", "versions", "voice"]),
        ] {
            assert_eq!(plan(&text).first(), expected, "{text}");
        }
    }

    #[test]
    fn full_and_light_calls_are_never_due_at_one_instant() {
        let plan = plan("");
        let instants = |name: &str| {
            let schedule = &plan.slots.get(name).expect("built in").entry.schedule;
            let mut at = DateTime::UNIX_EPOCH;
            (0..300).map(move |_| {
                at = schedule.next(at);
                at
            })
        };
        let full: Vec<_> = instants("call").take(48).collect();
        let least = instants("voice").flat_map(|light| full.iter().map(move |full| (light - full).abs())).min();
        assert_eq!(least.map(|least| least.num_seconds()), Some(120));
        assert!(full.windows(2).all(|pair| (pair[1] - pair[0]).num_minutes() == 30));
    }

    #[test]
    fn a_light_call_has_no_histogram_of_pictures() {
        let plan = plan("");
        let counted =
            |name: &str| plan.status.get(name).expect("built in").distributions.contains_key(&Metric::MediaVideoDelay);
        assert!(counted("call") && !counted("voice"));
    }
}
