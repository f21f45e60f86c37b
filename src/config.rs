//! The root config: it nests what each part owns, and reports all mistakes at once.
//!
//! Layers: the embedded `default.toml`, then the site's file, then its drop-ins. A site's layer
//! changes single keys; no two of the site's files may say the same thing.

mod source;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

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

pub use self::source::{Located, Source};
use self::source::{Places, Table, Value};

/// The embedded settings.
pub const DEFAULTS: &str = include_str!("default.toml");
/// What messages call them.
const DEFAULTS_NAME: &str = "built-in settings";
/// A config file that is larger is no config file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who and where.
    pub site: Site,
    /// Probes that are switched on, by name.
    pub probes: BTreeMap<String, ProbeEntry>,
    /// How metrics are judged.
    pub rules: Rules,
    /// Channels, by name.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// The listener.
    pub web: crate::web::Config,
}

/// One probe with what the daemon needs to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeEntry {
    /// The probe's own config.
    pub config: ProbeConfig,
    /// When it runs.
    pub schedule: Schedule,
    /// The pattern as it was written.
    pub pattern: String,
    /// The smallest time between two runs.
    pub interval: Duration,
    /// Deadline of one run.
    pub timeout: Duration,
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files have mistakes.
    #[error("{}", list(.0))]
    Mistakes(Vec<Located>),
}

fn list(mistakes: &[Located]) -> String {
    let count = mistakes.len();
    let lines = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect::<String>();
    format!("{count} mistake{} in the config:{lines}", if count == 1 { "" } else { "s" })
}

/// Reads the files and what they say. `path` may be missing only if it is the default one.
pub fn load(path: Option<&Path>, now: DateTime<Utc>) -> Result<Config, ConfigError> {
    Config::parse(&read_sources(path)?, now)
}

/// The site's config file if none is named.
const SITE_FILE: &str = "/etc/bellwether/bellwether.toml";

fn read_sources(path: Option<&Path>) -> Result<Vec<Source>, ConfigError> {
    let main = path.unwrap_or(Path::new(SITE_FILE));
    let mut sources = Vec::new();
    match read_file(main) {
        Ok(source) => sources.push(source),
        Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(ConfigError::Read { path: main.to_owned(), source }),
    }
    let folder = main.with_file_name("conf.d");
    let mut drop_ins: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(ConfigError::Read { path: folder, source }),
    };
    drop_ins.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    drop_ins.sort();
    for path in drop_ins {
        sources.push(read_file(&path).map_err(|source| ConfigError::Read { path, source })?);
    }
    Ok(sources)
}

fn read_file(path: &Path) -> io::Result<Source> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("{size} bytes, more than a config file may have ({MAX_FILE_BYTES})")));
    }
    Ok(Source { name: path.to_owned(), text: std::fs::read_to_string(path)? })
}

impl Config {
    /// The embedded settings alone.
    pub fn defaults(now: DateTime<Utc>) -> Result<Self, ConfigError> {
        Self::parse(&[], now)
    }

    /// Reads the site's texts, in order, over the embedded settings. `now` only serves to measure
    /// intervals of schedules.
    pub fn parse(site: &[Source], now: DateTime<Utc>) -> Result<Self, ConfigError> {
        let defaults = Source { name: DEFAULTS_NAME.into(), text: DEFAULTS.to_owned() };
        let sources: Vec<Source> = std::iter::once(defaults).chain(site.iter().cloned()).collect();
        let mut places = Places::new(&sources);
        let mut layers = places.parse().into_iter();
        if !places.clean() {
            // What a broken text seems to say is not worth checking.
            return Err(ConfigError::Mistakes(places.into_found()));
        }
        let defaults = layers.next().unwrap_or_default();
        let mut site = Table::default();
        for layer in layers {
            merge_site(&mut places, &mut site, layer, "");
        }
        let mut merged = defaults.clone();
        overlay(&mut merged, site.clone());

        let config = Reader { places: &mut places, root: &merged }.config(&defaults, &site, now);
        match (config, places.into_found()) {
            (Some(config), found) if found.is_empty() => Ok(config),
            (_, found) => Err(ConfigError::Mistakes(found)),
        }
    }
}

/// Puts a further file of the site beside the others: none may say again what another says.
fn merge_site<'a>(places: &mut Places<'_>, site: &mut Table<'a>, layer: Table<'a>, path: &str) {
    for (name, value) in layer {
        let key = if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
        let known = site.iter().find(|(known, _)| known.get_ref() == name.get_ref()).map(|(known, _)| known.span());
        let Some(first) = known else {
            site.insert(name, value);
            continue;
        };
        // `[probe]` and the like are only drawers: what they hold must differ.
        let drawer = path.is_empty() && matches!(&*key, "probe" | "channel" | "metrics");
        match (site.get_mut(name.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref()) {
            (Some(DeValue::Table(into)), DeValue::Table(_)) if drawer => {
                if let DeValue::Table(inner) = value.into_inner() {
                    merge_site(places, into, inner, &key);
                }
            }
            _ => {
                let message =
                    format!("found a second time, expected once: it stands in {} already", places.shown(&first));
                places.report(name.span(), key, message);
            }
        }
    }
}

/// Lays `over` on `base`, key by key. A probe or channel of another kind replaces the whole table.
fn overlay<'a>(base: &mut Table<'a>, over: Table<'a>) {
    for (name, value) in over {
        let kind_changes = |a: &Table<'a>, b: &Table<'a>| {
            let kind =
                |table: &Table<'a>| table.get("kind").and_then(|kind| kind.get_ref().as_str().map(str::to_owned));
            kind(b).is_some_and(|kind_b| kind(a).is_some_and(|kind_a| kind_a != kind_b))
        };
        let both = match (base.get(name.get_ref().as_ref()).map(Spanned::get_ref), value.get_ref()) {
            (Some(DeValue::Table(a)), DeValue::Table(b)) => !kind_changes(a, b),
            _ => false,
        };
        if !both {
            base.remove(name.get_ref().as_ref());
            base.insert(name, value);
            continue;
        }
        let span = value.span();
        let Some((known, mut below)) = base.remove_entry(name.get_ref().as_ref()) else { continue };
        if let (DeValue::Table(a), DeValue::Table(b)) = (below.get_mut(), value.into_inner()) {
            overlay(a, b);
        }
        // The table is the site's now: its mistakes are shown where the site wrote it.
        base.insert(Spanned::new(name.span(), known.into_inner()), Spanned::new(span, below.into_inner()));
    }
}

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

struct Reader<'p, 's> {
    places: &'p mut Places<'s>,
    root: &'p Table<'s>,
}

impl<'s> Reader<'_, 's> {
    fn config(&mut self, defaults: &Table<'_>, site: &Table<'_>, now: DateTime<Utc>) -> Option<Config> {
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
