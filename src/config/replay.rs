//! What a replay needs of a config: the tables of the daemon's own, of one room or of many. What it does not
//! need is not looked at.

use std::{collections::BTreeMap, path::Path};

use bellwether_agent::{
    Rules,
    judge::engine::settings::Settings,
    replay::{EngineShape, MetricShape, RoomShape, SiteFile, SiteShape},
    rule::MetricConfig,
};
use bellwether_probes::{Metric, Mistake};
use serde::de::DeserializeOwned;

use super::{
    ConfigError, Source, merged,
    read::host_name,
    read_sources,
    source::{Places, Table},
};

/// Reads the engine's settings from a site file, or from the box's own config.
///
/// # Errors
/// The file cannot be read, or has mistakes: all of them.
pub fn replay_settings(path: Option<&Path>) -> Result<Settings, ConfigError> {
    settings(&read_sources(path)?)
}

fn settings(site: &[Source]) -> Result<Settings, ConfigError> {
    let sources = super::with_defaults(site);
    let mut places = Places::new(&sources);
    let Some((defaults, site, root)) = merged(&mut places) else {
        return Err(ConfigError::Mistakes(places.into_found()));
    };
    let (rules, metrics) = metrics(&mut places, &defaults, &site);
    let file = SiteFile {
        site: section::<SiteShape>(&mut places, &root, "site"),
        metrics,
        engine: section::<EngineShape>(&mut places, &root, "engine"),
        own: root.get("rooms").is_none(),
        rooms: rooms(&mut places, &root),
    };
    match file.settings(rules) {
        Ok(settings) if places.clean() => return Ok(settings),
        Ok(_) => {}
        Err(found) => found.into_iter().for_each(|mistake| places.report_at(&root, mistake)),
    }
    Err(ConfigError::Mistakes(places.into_found()))
}

fn section<T: DeserializeOwned + Default>(places: &mut Places<'_>, root: &Table<'_>, name: &str) -> T {
    root.get(name).and_then(|value| places.read(value.clone(), name)).unwrap_or_default()
}

/// `[[rooms]]`, or else the room of this box.
fn rooms(places: &mut Places<'_>, root: &Table<'_>) -> Vec<RoomShape> {
    if root.get("rooms").is_some() {
        return section(places, root, "rooms");
    }
    let mut room: RoomShape = section(places, root, "room");
    if room.id.is_empty() {
        room.id = host_name();
    }
    vec![room]
}

/// Rules of bellwether's own metrics, and the shapes of others.
fn metrics(places: &mut Places<'_>, defaults: &Table<'_>, site: &Table<'_>) -> (Rules, BTreeMap<String, MetricShape>) {
    let mut others = BTreeMap::new();
    let mut layer = |table: &Table<'_>| {
        let mut own: BTreeMap<Metric, MetricConfig> = BTreeMap::new();
        let Some(tables) = table.get("metrics").and_then(|value| value.get_ref().as_table()) else { return own };
        for (name, value) in tables {
            let path = format!("metrics.{}", name.get_ref());
            if let Ok(metric) = name.get_ref().parse::<Metric>() {
                own.extend(places.read(value.clone(), &path).map(|config| (metric, config)));
            } else {
                others.extend(places.read(value.clone(), &path).map(|shape| (name.get_ref().to_string(), shape)));
            }
        }
        own
    };
    let (below, above) = (layer(defaults), layer(site));
    let (rules, found) = Rules::build(&below, &above);
    found
        .into_iter()
        .map(|mistake| mistake.below("metrics"))
        .for_each(|mistake: Mistake| places.report_at(site, mistake));
    (rules, others)
}
