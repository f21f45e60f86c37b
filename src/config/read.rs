//! From the merged tables to a [`Config`], section by section; every mistake on the way is reported.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bellwether_agent::{
    Rules, Site,
    booking::text::template::Template,
    calendar::config::{HolidayConfig, Timetable},
    channel::{self, ChannelConfig},
    replay::EngineShape,
    rule::MetricConfig,
    schedule::{self, Schedule, gate::Weight},
    site::{Locale, Policy, Room, School, Vendor, Visit},
};
use bellwether_probes::{Kind, Metric, Mistake, ProbeConfig, Span, Unit, media::Profile};
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use toml::{Spanned, de::DeValue};

use super::{
    Config, ProbeEntry,
    source::{Places, Table, Value},
};
use crate::web::Access;

/// Keys of a probe's table that are not the probe's own.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Common {
    enabled: bool,
    schedule: Option<String>,
    timeout: Option<Span>,
    weight: Option<Weight>,
    like: Option<Spanned<String>>,
}

impl Default for Common {
    fn default() -> Self {
        Self { enabled: true, schedule: None, timeout: None, weight: None, like: None }
    }
}

/// Keys of a channel's table that are not the channel's own.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct ChannelCommon {
    enabled: bool,
    role: Option<Role>,
}

impl Default for ChannelCommon {
    fn default() -> Self {
        Self { enabled: true, role: None }
    }
}

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    /// What is agreed there counts.
    Record,
    /// It is told.
    Inform,
}

/// Schedule and timeout of a probe that names none.
fn cadence(config: &ProbeConfig) -> (&'static str, Duration) {
    match config {
        ProbeConfig::Media(config) => match config.profile {
            Profile::Full => ("*/30 * * * *", Duration::from_secs(40)),
            // Not at the instant of a full call.
            Profile::Light => ("2-59/5 * * * *", Duration::from_secs(40)),
        },
        ProbeConfig::Resources(_) => ("* * * * *", Duration::from_secs(10)),
        ProbeConfig::Page(_) => ("*/5 * * * *", Duration::from_secs(10)),
        ProbeConfig::Versions(_) => ("*/15 * * * *", Duration::from_secs(60)),
        ProbeConfig::Echo(_) => ("25 7,18 * * *", Duration::from_secs(90)),
        ProbeConfig::Load(_) => ("* * * * *", Duration::from_secs(10)),
    }
}

/// How much a probe disturbs that does not say so.
fn weight(config: &ProbeConfig) -> Weight {
    match config {
        ProbeConfig::Media(config) if config.profile == Profile::Full => Weight::Heavy,
        ProbeConfig::Echo(config) if config.form.is_heard() => Weight::Heavy,
        _ => Weight::Light,
    }
}

/// Keys of a call that another one may be like in: where it goes, and by what way.
const ALIKE: [&str; 3] = ["far_end", "interface", "dscp"];

/// A probe's table, read.
struct Read {
    name: String,
    common: Common,
    config: ProbeConfig,
    /// Keys of [`ALIKE`] that it says itself.
    own: Vec<&'static str>,
}

const SECTIONS: &[&str] = &[
    "school",
    "site",
    "room",
    "vendor",
    "visit",
    "bookings",
    "timetable",
    "holidays",
    "occupied",
    "web",
    "engine",
    "probe",
    "metrics",
    "channel",
];

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
        let visit: Option<Visit> = self.section("visit");
        let policy: Option<Policy> = self.section("bookings");
        let web: Option<crate::web::Config> = self.section("web");
        let access = self.access(web.as_ref());
        let before = self.places.count();
        let timetable: Option<Timetable> = self.section("timetable");
        let whole = self.places.count() == before;
        let holidays: Option<HolidayConfig> = self.section("holidays");
        let occupied: Option<crate::occupied::Config> = self.section("occupied");
        let mut site_config =
            Site { school: school?, room: room?, locale: locale?, vendor: vendor?, visit: visit?, policy: policy? };
        self.mistakes("site", site_config.locale.check());
        self.mistakes("vendor", site_config.vendor.check());
        self.mistakes("visit", site_config.visit.check());
        self.mistakes("bookings", site_config.policy.check());
        let (timetable, holidays, occupied) = (timetable?, holidays?, occupied?);
        if whole {
            // Of a table of which something was left out, too much would be found missing.
            self.mistakes("timetable", timetable.check());
        }
        self.mistakes("holidays", holidays.check());
        self.mistakes("occupied", occupied.check());
        if site_config.room.id.is_empty() {
            site_config.room.id = host_name();
        }
        let probes = self.probes(&site_config, now);
        self.one_load(&site_config, &probes);
        let rules = self.rules(defaults, site, &probes);
        let (channels, record) = self.channels();
        let template = self.template(&site_config.policy);
        let (engine, found) = self.section::<EngineShape>("engine").unwrap_or_default().tuning();
        self.mistakes("engine", found);
        let site = site_config;
        Some(Config {
            site,
            timetable,
            holidays,
            occupied,
            probes,
            rules,
            engine,
            channels,
            record,
            template,
            web: web?,
            access,
        })
    }

    /// The school's own text of bookings.
    fn template(&mut self, policy: &Policy) -> Option<Arc<Template>> {
        match Template::read(policy.template.as_deref()?) {
            Ok(template) => Some(Arc::new(template)),
            Err(found) => {
                let mistakes = found.into_iter().map(|message| Mistake::new("template", message)).collect();
                self.mistakes("bookings", mistakes);
                None
            }
        }
    }

    /// What the web config file says, if there is one.
    fn access(&mut self, web: Option<&crate::web::Config>) -> Arc<Access> {
        let Some(path) = web.and_then(|web| web.config_file.as_deref()) else { return Arc::default() };
        Access::read(path).map(Arc::new).unwrap_or_else(|found| {
            let mistakes = found.into_iter().map(|message| Mistake::new("config_file", message)).collect();
            self.mistakes("web", mistakes);
            Arc::default()
        })
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
        let mut read = Vec::new();
        for (name, mut table) in self.drawer("probe") {
            let path = format!("probe.{name}");
            let Some(kind) = self.kind(&mut table, &path, &names) else { continue };
            let Some(kind) = Kind::ALL.iter().copied().find(|known| known.name() == kind) else { continue };
            let keys: &[&str] = match kind {
                Kind::Media => &["enabled", "schedule", "timeout", "weight", "like"],
                _ => &["enabled", "schedule", "timeout", "weight"],
            };
            let common = take(&mut table, keys);
            let common: Option<Common> = self.places.read(common, &path);
            let says = |key: &&str| table.get_ref().as_table().is_some_and(|table| table.contains_key(*key));
            let own = ALIKE.into_iter().filter(says).collect();
            let config = match kind {
                Kind::Media => self.places.read(table, &path).map(ProbeConfig::Media),
                Kind::Resources => self.places.read(table, &path).map(ProbeConfig::Resources),
                Kind::Page => self.places.read(table, &path).map(ProbeConfig::Page),
                Kind::Versions => self.places.read(table, &path).map(ProbeConfig::Versions),
                Kind::Echo => self.places.read(table, &path).map(ProbeConfig::Echo),
                Kind::Load => self.places.read(table, &path).map(ProbeConfig::Load),
            };
            if let (Some(common), Some(config)) = (common, config) {
                read.push(Read { name, common, config, own });
            }
        }
        for index in 0..read.len() {
            self.liken(&mut read, index);
        }
        let mut probes = BTreeMap::new();
        for Read { name, common, config, own } in read {
            let path = format!("probe.{name}");
            // What is wrong with the other's keys is said where they stand.
            let others = |mistake: &Mistake| {
                let key = mistake.key.split('.').next().unwrap_or_default();
                common.like.is_some() && ALIKE.contains(&key) && !own.contains(&key)
            };
            let found = config.check().into_iter().filter(|mistake| !others(mistake)).collect();
            self.mistakes(&path, found);
            if let Some(entry) = self.entry(&path, &common, config, site, now).filter(|_| common.enabled) {
                probes.insert(name, entry);
            }
        }
        probes
    }

    /// The load of the room's service is one number: a second probe that measures it would leave open which.
    fn one_load(&mut self, site: &Site, probes: &BTreeMap<String, ProbeEntry>) {
        let metric = site.locale.load_metric;
        let measures = |entry: &ProbeEntry| matches!(&entry.config, ProbeConfig::Load(load) if load.measures(metric));
        let mut measuring = probes.iter().filter(|(_, entry)| measures(entry)).map(|(name, _)| name);
        let Some(first) = measuring.next() else { return };
        for second in measuring {
            let message = format!(
                "found beside probe.{first}, which measures {metric} too; expected one probe of what site.load_metric names"
            );
            self.places.report_at(self.root, Mistake::new(format!("probe.{second}"), message));
        }
    }

    /// Takes from another call, switched on or not, what a call that is to be like it does not say itself.
    fn liken(&mut self, read: &mut [Read], index: usize) {
        let Some(Read { name, common, .. }) = read.get(index) else { return };
        let Some(like) = &common.like else { return };
        let known = |other: &&Read| matches!(other.config, ProbeConfig::Media(_)) && other.common.like.is_none();
        let calls: Vec<&Read> = read.iter().filter(known).collect();
        let found = calls.iter().find_map(|other| match &other.config {
            ProbeConfig::Media(config) if other.name == *like.get_ref() => Some(config.clone()),
            _ => None,
        });
        let Some(other) = found else {
            let calls = calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>().join(", ");
            let message = format!("found {:?}, expected a call that is not like another: {calls}", like.get_ref());
            self.places.report(like.span(), format!("probe.{name}.like"), message);
            return;
        };
        if let Some(Read { config: ProbeConfig::Media(config), own, .. }) = read.get_mut(index) {
            let copies = |key: &str| !own.contains(&key);
            if copies("far_end") {
                config.far_end = other.far_end;
            }
            if copies("interface") {
                config.interface = other.interface;
            }
            if copies("dscp") {
                config.dscp = other.dscp;
            }
        }
    }

    fn entry(
        &mut self,
        path: &str,
        common: &Common,
        config: ProbeConfig,
        site: &Site,
        now: DateTime<Utc>,
    ) -> Option<ProbeEntry> {
        let (pattern, timeout) = cadence(&config);
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
        let least = weight(&config);
        let weight = common.weight.unwrap_or(least);
        if weight < least {
            let message = match &config {
                ProbeConfig::Echo(_) => {
                    "found \"light\", expected \"heavy\" for what is heard in the room; form = \"silent\" is not"
                }
                _ => "found \"light\", expected \"heavy\" for a call with a picture; profile = \"light\" has none",
            };
            self.places.report_at(self.root, Mistake::new(at("weight"), message));
        }
        Some(ProbeEntry { config, schedule, pattern: pattern.to_owned(), interval, timeout, weight })
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

    /// The channels that are switched on, and the one of record: the one that says so, or else the first that
    /// reaches a vendor's machine, or else the first.
    fn channels(&mut self) -> (BTreeMap<String, ChannelConfig>, Option<String>) {
        let channel_kinds: Vec<&str> = channel::Kind::ALL.iter().map(|kind| kind.name()).collect();
        let (mut channels, mut of_record, mut informed) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (name, mut table) in self.drawer("channel") {
            let path = format!("channel.{name}");
            let Some(kind) = self.kind(&mut table, &path, &channel_kinds) else { continue };
            let common = take(&mut table, &["enabled", "role"]);
            let common: Option<ChannelCommon> = self.places.read(common, &path);
            let config = match &*kind {
                "folder" => self.places.read(table, &path).map(ChannelConfig::Folder),
                "rt" => self.places.read(table, &path).map(ChannelConfig::Rt),
                "caldav" => self.places.read(table, &path).map(ChannelConfig::Caldav),
                _ => self.places.read(table, &path).map(ChannelConfig::Webhook),
            };
            let (Some(config), Some(ChannelCommon { enabled, role })) = (config, common) else { continue };
            self.mistakes(&path, config.check());
            if enabled {
                if role == Some(Role::Record) {
                    of_record.push(name.clone());
                }
                informed.extend((role == Some(Role::Inform)).then(|| name.clone()));
                channels.insert(name, config);
            }
        }
        if let [first, second, ..] = &of_record[..] {
            let found = format!("found \"record\" here and at channel.{first}, expected it at one of them");
            self.places.report_at(self.root, Mistake::new(format!("channel.{second}.role"), found));
        }
        let record = of_record.first().cloned().or_else(|| {
            let mut free = channels.iter().filter(|(name, _)| !informed.contains(name));
            let reaches = |config: &ChannelConfig| config.kind() != channel::Kind::Folder;
            free.clone().find(|(_, config)| reaches(config)).or_else(|| free.next()).map(|(name, _)| name.clone())
        });
        (channels, record)
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
pub(super) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "room".to_owned(), |name| name.trim().to_owned())
}
