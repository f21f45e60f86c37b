//! The probes the daemon knows, and when each is due.

use std::{collections::BTreeMap, time::Duration};

use bellwether_agent::{
    export::ProbeStatus,
    rule::Rules,
    schedule::{Due, Skip, due, starved::starved},
};
use bellwether_probes::{Probe, ProbeConfig, ProbeRun, media::Profile};
use chrono::{DateTime, TimeDelta, Utc};

use super::pool;
use crate::config::ProbeEntry;

/// The loop looks at its clock once a minute; when more than this has passed it was not running.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// One configured probe.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: ProbeEntry,
    pub(super) generation: u64,
    /// The probe with what it keeps between runs; away while it runs.
    pub(super) probe: Option<Probe>,
    /// The last instant up to which the schedule was followed.
    examined: DateTime<Utc>,
    /// When it last ran; before its first run, when it was made.
    ran_at: DateTime<Utc>,
    /// Why it was last held back, if it has not run since.
    held: Option<Skip>,
}

/// All configured probes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) status: BTreeMap<String, ProbeStatus>,
    generations: u64,
    /// When it was last asked who starves.
    asked_at: Option<DateTime<Utc>>,
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
            let (examined, ran_at, held) =
                self.slots.get(name).map_or((now, now, None), |slot| (slot.examined, slot.ran_at, slot.held));
            let probe = Some(Probe::new(name, entry.config.clone()));
            let slot = Slot { entry: entry.clone(), generation: self.generations, probe, examined, ran_at, held };
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
            status.failures.retain(|reason, _| entry.config.can_fail_for(*reason));
            status.sound(entry.config.is_heard(), entry.config.listens());
        }
    }

    /// The probes of the first inspection: all that `may` run, but for what is heard in the room, as nobody
    /// expects a sound of a box that starts; and for light calls where a full one shows the same and more. What
    /// may not run stands beside them, and why not.
    pub(super) fn first(&self, may: impl Fn(&ProbeEntry) -> Result<(), Skip>) -> (Vec<String>, Vec<(String, Skip)>) {
        let profile = |slot: &Slot| match &slot.entry.config {
            ProbeConfig::Media(config) => Some(config.profile),
            _ => None,
        };
        let unheard = self.slots.iter().filter(|(_, slot)| !slot.entry.config.is_heard());
        let asked = unheard.map(|(name, slot)| (name.clone(), slot, may(&slot.entry)));
        let (free, held): (Vec<_>, Vec<_>) = asked.partition(|(_, _, may)| may.is_ok());
        let full = free.iter().any(|(_, slot, _)| profile(slot) == Some(Profile::Full));
        let runs = |slot: &Slot| !(full && profile(slot) == Some(Profile::Light));
        let free = free.into_iter().filter(|(_, slot, _)| runs(slot)).map(|(name, _, _)| name).collect();
        (free, held.into_iter().filter_map(|(name, _, may)| Some((name, may.err()?))).collect())
    }

    /// How long a pass over all probes takes at most; pools work side by side.
    pub(super) fn longest_pass(&self) -> Duration {
        let pass = |pool| {
            let slots = self.slots.values().filter(|slot| pool::Name::of(slot.entry.config.kind()) == pool);
            slots.fold(Duration::ZERO, |sum, slot| sum.saturating_add(slot.entry.timeout))
        };
        pool::Name::ALL.into_iter().map(pass).max().unwrap_or_default()
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

    /// Counts a run that was due and does not happen.
    pub(super) fn skip(&mut self, name: &str, reason: Skip) {
        if let Some(status) = self.status.get_mut(name) {
            status.skip(reason, 1);
        }
        let Some(slot) = self.slots.get_mut(name) else { return };
        match reason {
            Skip::Busy => tracing::warn!(probe = name, "still busy with its last run, this one is left out"),
            // Said once, when the config was read.
            Skip::Off => tracing::debug!(probe = name, "is off"),
            reason if !reason.holds_back() => {}
            reason if slot.held.replace(reason) == Some(reason) => {
                tracing::debug!(probe = name, reason = reason.name(), "held back");
            }
            reason => tracing::info!(probe = name, reason = reason.name(), "held back until further notice"),
        }
    }

    /// Counts a run that listened to the microphone, whatever became of it.
    pub(super) fn listened(&mut self, name: &str) {
        if let Some(status) = self.status.get_mut(name) {
            status.listened();
        }
    }

    /// Takes down a run that has ended.
    pub(super) fn ran(&mut self, name: &str, run: &ProbeRun, queued: Duration, now: DateTime<Utc>) {
        if let Some(status) = self.status.get_mut(name) {
            status.queued = queued;
            status.ran(run);
        }
        if let Some(slot) = self.slots.get_mut(name) {
            slot.ran_at = now;
            if slot.held.take().is_some() {
                tracing::info!(probe = name, "runs again");
            }
        }
    }

    /// Finds the probes that wait for free time in vain; whether that changed for any.
    pub(super) fn starve(&mut self, now: DateTime<Utc>) -> bool {
        // Nobody waited while the box slept, or while its clock leapt.
        let passed = now - self.asked_at.replace(now).unwrap_or(now);
        let leap = if (TimeDelta::zero()..=LONGEST_WAIT).contains(&passed) { TimeDelta::zero() } else { passed };
        let mut changed = false;
        for (name, slot) in &mut self.slots {
            slot.ran_at = slot.ran_at.checked_add_signed(leap).unwrap_or(now);
            let Some(status) = self.status.get_mut(name) else { continue };
            let is = starved(slot.ran_at, slot.held.is_some(), slot.entry.interval, now);
            if is && !status.starved {
                let hours = (now - slot.ran_at).num_hours();
                tracing::warn!(probe = %name, hours, "finds no free time");
            }
            changed |= std::mem::replace(&mut status.starved, is) != is;
        }
        changed
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
    use bellwether_agent::schedule::gate::Weight;
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

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
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
            assert_eq!(plan(&text).first(|_| Ok(())), (names(expected), Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_light_call_takes_the_place_of_a_full_one_that_is_held_back() {
        let in_a_lesson = |entry: &ProbeEntry| match entry.weight {
            Weight::Heavy => Err(Skip::Lesson),
            Weight::Light => Ok(()),
        };
        let (first, held) = plan("").first(in_a_lesson);
        assert_eq!(first, names(&["box", "versions", "voice"]));
        assert_eq!(held, [("call".to_owned(), Skip::Lesson)]);
    }

    #[test]
    fn what_is_heard_is_no_part_of_the_first_inspection_and_counts_its_uses_of_the_microphone() {
        let silent = "[probe.lesson-echo]\nkind = \"echo\"\nform = \"silent\"\n";
        let mut plan = plan(silent);
        let (first, held) = plan.first(|entry| if entry.config.is_heard() { Err(Skip::Off) } else { Ok(()) });
        assert_eq!((first, held), (names(&["box", "call", "lesson-echo", "versions"]), Vec::new()));
        plan.skip("echo", Skip::Off);
        plan.listened("echo");
        let status = |name: &str| plan.status.get(name).expect("configured").clone();
        let counted = |name: &str| (status(name).skipped.get(&Skip::Off).copied(), status(name).microphone_uses);
        assert_eq!(counted("echo"), (Some(1), Some(1)));
        assert_eq!(counted("lesson-echo"), (None, Some(0)));
        assert_eq!(counted("call"), (None, None));
        // It waits for a config, not for an hour.
        assert!(plan.slots["echo"].held.is_none());
    }

    #[test]
    fn a_probe_that_is_held_back_for_a_day_starves_until_it_runs() {
        let hour = |count| DateTime::UNIX_EPOCH + TimeDelta::hours(count);
        let mut plan = plan("");
        let starved = |plan: &Plan| plan.status.get("call").expect("built in").starved;
        // Nothing held it back: it did not run for other reasons.
        plan.skip("call", Skip::Busy);
        plan.skip("call", Skip::Missed);
        let until =
            |plan: &mut Plan, from, to| (from..=to).filter(|count| plan.starve(hour(*count))).collect::<Vec<_>>();
        assert_eq!(until(&mut plan, 0, 26), [0; 0]);
        plan.skip("call", Skip::Quiet);
        assert_eq!(until(&mut plan, 27, 28), [27]);
        assert!(starved(&plan));
        plan.ran("call", &ProbeRun::new("call", hour(28)), Duration::ZERO, hour(28));
        assert!(plan.starve(hour(28)) && !starved(&plan));
        plan.skip("call", Skip::Lesson);
        // The box slept for a night, and its clock was set back and forth: that is no waiting.
        assert_eq!(until(&mut plan, 29, 40), [0; 0]);
        assert_eq!(until(&mut plan, 50, 60), [0; 0]);
        assert_eq!(until(&mut plan, 10, 12), [0; 0]);
        assert_eq!(until(&mut plan, 60, 62), [61]);
        let skipped = &plan.status.get("call").expect("built in").skipped;
        assert_eq!((skipped[&Skip::Lesson], skipped[&Skip::Quiet], skipped[&Skip::Busy]), (1, 1, 1));
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
