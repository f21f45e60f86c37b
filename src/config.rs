//! The root config: it nests what each part owns, and reports all mistakes at once.
//!
//! Layers: the embedded `default.toml`, then the site's file, then its drop-ins. A site's layer
//! changes single keys; no two of the site's files may say the same thing.

mod read;
mod replay;
mod source;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bellwether_agent::{
    Rules, Site,
    booking::text::{Texts, template::Template},
    calendar::config::{HolidayConfig, Timetable},
    channel::{ChannelConfig, Channels},
    judge::engine::settings::Tuning,
    schedule::{Schedule, gate::Weight},
};
use bellwether_probes::ProbeConfig;
use chrono::{DateTime, Utc};
use toml::{Spanned, de::DeValue};

use self::{
    read::Reader,
    source::{Places, Table},
};
pub use self::{
    replay::replay_settings,
    source::{Located, Source},
};

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
    /// How much evidence it takes to hold something against the room.
    pub engine: Tuning,
    /// When the room is taught in.
    pub timetable: Timetable,
    /// Days off.
    pub holidays: HolidayConfig,
    /// What shows that the room is in use beside its timetable.
    pub occupied: crate::occupied::Config,
    /// Channels, by name.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// The channel of record, if there is a channel.
    pub record: Option<String>,
    /// The school's own text of bookings, if it has one.
    pub template: Option<Arc<Template>>,
    /// The listener.
    pub web: crate::web::Config,
    /// Who may come to it: what its own config file says.
    pub access: Arc<crate::web::Access>,
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
    /// How much it disturbs.
    pub weight: Weight,
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}{}", path.display(), remedy(source))]
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

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": let the user that runs bellwether read it; `chgrp bellwether` and `chmod g+r` do for the service"
        }
        _ => "",
    }
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
pub(crate) const SITE_FILE: &str = "/etc/bellwether/bellwether.toml";

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

    /// The channels of a daemon with its state there: a `folder` that names no path is below it.
    pub fn channels(&self, state: &Path) -> Channels {
        let folder = state.join("bookings");
        let texts = Texts { language: self.site.locale.language, template: self.template.clone() };
        Channels::new(self.channels.clone(), self.record.clone(), folder, texts)
    }

    /// What is said of a config without mistakes: how much it has, and what its bookings would lack.
    pub fn summary(&self) -> String {
        let counted = |count: usize, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (probes, channels) = (counted(self.probes.len(), "probe"), counted(self.channels.len(), "channel"));
        let mut text = format!("the config is good: {probes}, {channels}\n");
        for path in self.site.missing() {
            let or = if path == "school.contact.phone" { ", or school.contact.email," } else { "" };
            text += &format!("bookings would be incomplete and go nowhere but into folders: {path}{or} is missing\n");
        }
        text
    }

    /// Reads the site's texts, in order, over the embedded settings. `now` only serves to measure
    /// intervals of schedules.
    pub fn parse(site: &[Source], now: DateTime<Utc>) -> Result<Self, ConfigError> {
        let sources = with_defaults(site);
        let mut places = Places::new(&sources);
        let Some((defaults, site, root)) = merged(&mut places) else {
            return Err(ConfigError::Mistakes(places.into_found()));
        };
        let config = Reader { places: &mut places, root: &root }.config(&defaults, &site, now);
        match (config, places.into_found()) {
            (Some(config), found) if found.is_empty() => Ok(config),
            (_, found) => Err(ConfigError::Mistakes(found)),
        }
    }
}

/// The embedded settings before the site's texts.
fn with_defaults(site: &[Source]) -> Vec<Source> {
    let defaults = Source { name: DEFAULTS_NAME.into(), text: DEFAULTS.to_owned() };
    std::iter::once(defaults).chain(site.iter().cloned()).collect()
}

/// The tables of the embedded settings, of the site, and of both. `None` if a text is broken: what it seems
/// to say then is not worth checking.
fn merged<'a>(places: &mut Places<'a>) -> Option<(Table<'a>, Table<'a>, Table<'a>)> {
    let mut layers = places.parse().into_iter();
    if !places.clean() {
        return None;
    }
    let defaults = layers.next().unwrap_or_default();
    let mut site = Table::default();
    for layer in layers {
        merge_site(places, &mut site, layer, "");
    }
    let mut both = defaults.clone();
    overlay(&mut both, site.clone());
    Some((defaults, site, both))
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
