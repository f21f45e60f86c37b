//! From the merged tables to a [`Config`], section by section; every mistake on the way is reported.

use std::{collections::BTreeMap, time::Duration};

use bellwether_agent::{
    Rules, Site,
    channel::{self, ChannelConfig},
    rule::MetricConfig,
    schedule::{self, Schedule},
    site::{Locale, Room, School, Vendor},
};
use bellwether_probes::{Kind, Metric, Mistake, ProbeConfig, Span, Unit};
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use toml::{Spanned, de::DeValue};

use super::{
    Config, ProbeEntry,
    source::{Places, Table, Value},
};

/// Keys of a probe's table that are not the probe's own.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Common {
    enabled: bool,
    schedule: Option<String>,
    timeout: Option<Span>,
}

impl Default for Common {
    fn default() -> Self {
        Self { enabled: true, schedule: None, timeout: None }
    }
}

/// Schedule and timeout of a probe that names none.
fn cadence(kind: Kind) -> (&'static str, Duration) {
    match kind {
        Kind::Media => ("*/5 * * * *", Duration::from_secs(40)),
        Kind::Resources => ("* * * * *", Duration::from_secs(10)),
        Kind::Page => ("*/5 * * * *", Duration::from_secs(10)),
        Kind::Versions => ("*/15 * * * *", Duration::from_secs(60)),
    }
}

const SECTIONS: &[&str] = &["school", "site", "room", "vendor", "web", "probe", "metrics", "channel"];

pub(super) struct Reader<'p, 's> {
    pub(super) places: &'p mut Places<'s>,
    pub(super) root: &'p Table<'s>,
}

impl<'s> Reader<'_, 's> {
    pub(super) fn config(&mut self, defaults: &Table<'_>, site: &Table<'_>, now: DateTime<Utc>) -> Option<Config> {
        for (name, _) in self.root.iter().filter(|(name, _)| !SECTIONS.contains(&name.get_ref().as_ref())) {
            let message = format!("found an unknown section, expected one of {}", SECTIONS.join(", "));
            self.places.report(name.span(), name.get_ref().to_string(), message);
        }
        let school: Option<School> = self.section("school");
        let locale: Option<Locale> = self.section("site");
        let room: Option<Room> = self.section("room");
        let vendor: Option<Vendor> = self.section("vendor");
        let web: Option<crate::web::Config> = self.section("web");
        let mut site_config = Site { school: school?, room: room?, locale: locale?, vendor: vendor? };
        self.mistakes("vendor", site_config.vendor.check());
        if site_config.room.id.is_empty() {
            site_config.room.id = host_name();
        }
        let probes = self.probes(&site_config, now);
        let rules = self.rules(defaults, site, &probes);
        let channels = self.channels();
        Some(Config { site: site_config, probes, rules, channels, web: web? })
    }

    fn mistakes(&mut self, path: &str, found: Vec<Mistake>) {
        for mistake in found {
            self.places.report_at(self.root, mistake.below(path));
        }
    }

    fn section<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.root.get(name)?.clone();
        self.places.read(value, name)
    }

    /// The tables of a drawer such as `[probe.NAME]`, each with a usable name.
    fn drawer(&mut self, drawer: &str) -> Vec<(String, Value<'s>)> {
        let Some(value) = self.root.get(drawer) else { return Vec::new() };
        let Some(tables) = value.get_ref().as_table() else {
            self.places.report(value.span(), drawer, format!("found a value, expected tables such as [{drawer}.NAME]"));
            return Vec::new();
        };
        let mut named = Vec::new();
        for (name, value) in tables {
            let key = format!("{drawer}.{}", name.get_ref());
            let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
            if name.get_ref().is_empty() || name.get_ref().len() > 40 || !name.get_ref().chars().all(usable) {
                let message = "found a name with other characters, expected up to 40 of a-z, 0-9, '-' and '_'";
                self.places.report(name.span(), key, message);
            } else if value.get_ref().is_table() {
                named.push((name.get_ref().to_string(), value.clone()));
            } else {
                self.places.report(value.span(), key, "found a value, expected a table");
            }
        }
        named
    }

    /// Takes `kind` out of a table; reports it if it is missing or none of `known`.
    fn kind(&mut self, table: &mut Value<'s>, path: &str, known: &[&str]) -> Option<String> {
        let span = table.span();
        let DeValue::Table(entries) = table.get_mut() else { return None };
        let Some(kind) = entries.remove("kind") else {
            self.places.report(span, path, format!("found no kind, expected kind = one of {}", known.join(", ")));
            return None;
        };
        match kind.get_ref().as_str().filter(|kind| known.contains(kind)) {
            Some(kind) => Some(kind.to_owned()),
            None => {
                let found = kind.get_ref().as_str().unwrap_or(kind.get_ref().type_str()).to_owned();
                let message = format!("found {found:?}, expected one of {}", known.join(", "));
                self.places.report(kind.span(), format!("{path}.kind"), message);
                None
            }
        }
    }

    fn probes(&mut self, site: &Site, now: DateTime<Utc>) -> BTreeMap<String, ProbeEntry> {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let mut probes = BTreeMap::new();
        for (name, mut table) in self.drawer("probe") {
            let path = format!("probe.{name}");
            let Some(kind) = self.kind(&mut table, &path, &names) else { continue };
            let Some(kind) = Kind::ALL.iter().copied().find(|known| known.name() == kind) else { continue };
            let common = take(&mut table, &["enabled", "schedule", "timeout"]);
            let common: Option<Common> = self.places.read(common, &path);
            let config = match kind {
                Kind::Media => self.places.read(table, &path).map(ProbeConfig::Media),
                Kind::Resources => self.places.read(table, &path).map(ProbeConfig::Resources),
                Kind::Page => self.places.read(table, &path).map(ProbeConfig::Page),
                Kind::Versions => self.places.read(table, &path).map(ProbeConfig::Versions),
            };
            let (Some(common), Some(config)) = (common, config) else { continue };
            self.mistakes(&path, config.check());
            if let Some(entry) = self.entry(&path, &common, config, site, now).filter(|_| common.enabled) {
                probes.insert(name, entry);
            }
        }
        probes
    }

    fn entry(
        &mut self,
        path: &str,
        common: &Common,
        config: ProbeConfig,
        site: &Site,
        now: DateTime<Utc>,
    ) -> Option<ProbeEntry> {
        let (pattern, timeout) = cadence(config.kind());
        let pattern = common.schedule.as_deref().unwrap_or(pattern);
        let at = |key: &str| format!("{path}.{key}");
        let unspread = Schedule::parse(pattern, site.locale.timezone, Duration::ZERO);
        let interval = match unspread {
            Ok(schedule) => schedule.min_interval(now),
            Err(error) => {
                self.places.report_at(self.root, Mistake::new(at("schedule"), error.to_string()));
                return None;
            }
        };
        let splay = schedule::splay(&site.room.id, interval);
        let schedule = Schedule::parse(pattern, site.locale.timezone, splay).ok()?;
        let timeout = common.timeout.map_or(timeout, |timeout| timeout.0);
        let show = |time: Duration| Unit::Seconds.show(time.as_secs_f64());
        if timeout.is_zero() || timeout >= interval {
            let message = format!(
                "found {}, expected more than 0 and less than the interval of {}",
                show(timeout),
                show(interval)
            );
            self.places.report_at(self.root, Mistake::new(at("timeout"), message));
        }
        Some(ProbeEntry { config, schedule, pattern: pattern.to_owned(), interval, timeout })
    }

    fn rules(&mut self, defaults: &Table<'_>, site: &Table<'_>, probes: &BTreeMap<String, ProbeEntry>) -> Rules {
        let defaults = self.metrics(defaults);
        let site = self.metrics(site);
        for (metric, config) in &site {
            for probe in config.probe.keys().filter(|probe| !probes.contains_key(*probe)) {
                let known = probes.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let message = format!("found no probe of this name that is switched on, expected one of {known}");
                self.places.report_at(self.root, Mistake::new(format!("metrics.{metric}.probe.{probe}"), message));
            }
        }
        let (rules, found) = Rules::build(&defaults, &site);
        self.mistakes("metrics", found);
        rules
    }

    /// `[metrics]` of one layer.
    fn metrics(&mut self, layer: &Table<'_>) -> BTreeMap<Metric, MetricConfig> {
        let mut metrics = BTreeMap::new();
        let Some(tables) = layer.get("metrics").and_then(|value| value.get_ref().as_table()) else { return metrics };
        for (name, value) in tables {
            let path = format!("metrics.{}", name.get_ref());
            match name.get_ref().parse::<Metric>() {
                Err(error) => self.places.report(name.span(), path, error.to_string()),
                Ok(metric) => {
                    if let Some(config) = self.places.read(value.clone(), &path) {
                        metrics.insert(metric, config);
                    }
                }
            }
        }
        metrics
    }

    fn channels(&mut self) -> BTreeMap<String, ChannelConfig> {
        let channel_kinds: Vec<&str> = channel::Kind::ALL.iter().map(|kind| kind.name()).collect();
        let mut channels = BTreeMap::new();
        for (name, mut table) in self.drawer("channel") {
            let path = format!("channel.{name}");
            let Some(kind) = self.kind(&mut table, &path, &channel_kinds) else { continue };
            let enabled = take(&mut table, &["enabled"]);
            let enabled: Option<Common> = self.places.read(enabled, &path);
            let config = match &*kind {
                "folder" => self.places.read(table, &path).map(ChannelConfig::Folder),
                _ => self.places.read(table, &path).map(ChannelConfig::Webhook),
            };
            let (Some(config), Some(Common { enabled, .. })) = (config, enabled) else { continue };
            self.mistakes(&path, config.check());
            if enabled {
                channels.insert(name, config);
            }
        }
        channels
    }
}

/// Moves some keys of a table into a table of their own.
fn take<'s>(table: &mut Value<'s>, keys: &[&str]) -> Value<'s> {
    let span = table.span();
    let mut taken = Table::default();
    if let DeValue::Table(entries) = table.get_mut() {
        for key in keys {
            if let Some((name, value)) = entries.remove_entry(*key) {
                taken.insert(name, value);
            }
        }
    }
    Spanned::new(span, DeValue::Table(taken))
}

/// The host's name, where the room has no id of its own.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "room".to_owned(), |name| name.trim().to_owned())
}
