//! What a replay needs of a config: the tables of the daemon's own, of one room or of many. What it does not
//! need is not looked at.

use std::{collections::BTreeMap, path::Path};

use bellwether_agent::{
    Rules,
    judge::engine::settings::{MetricSettings, Scale, Settings, Worse},
    replay::{EngineShape, MetricShape, RoomShape, SiteFile, SiteShape},
    rule::{Book, MetricConfig, Rule},
};
use bellwether_probes::{Family, Metric, Mistake, Unit};
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
    let (known, metrics) = metrics(&mut places, &defaults, &site);
    let file = SiteFile {
        site: section::<SiteShape>(&mut places, &root, "site"),
        metrics,
        engine: section::<EngineShape>(&mut places, &root, "engine"),
        rooms: rooms(&mut places, &root),
    };
    match file.settings(known) {
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

/// The metrics of bellwether's own, and the shapes of others.
fn metrics(
    places: &mut Places<'_>,
    defaults: &Table<'_>,
    site: &Table<'_>,
) -> (Vec<MetricSettings>, BTreeMap<String, MetricShape>) {
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
    let own = Metric::ALL.iter().filter_map(|metric| own(*metric, rules.of(*metric)));
    (own.collect(), others)
}

/// How the engine judges a metric of bellwether's own. `None` where no side is worse, or nothing is booked.
fn own(metric: Metric, rule: Option<&Rule>) -> Option<MetricSettings> {
    let spec = metric.spec();
    if rule.is_some_and(|rule| rule.book == Book::None) {
        return None;
    }
    let worse = match spec.worse {
        bellwether_probes::Worse::Up => Worse::Up,
        bellwether_probes::Worse::Down => Worse::Down,
        bellwether_probes::Worse::AwayFromZero => Worse::AwayFromZero,
        bellwether_probes::Worse::Neither => return None,
    };
    let (scale, material) = match rule.map_or(spec.scale, |rule| rule.scale) {
        bellwether_probes::Scale::Log(factor) => (Scale::Log, factor.ln()),
        bellwether_probes::Scale::Linear(amount) => (Scale::Linear, amount),
    };
    // The wider side of a band that is not even: the engine knows only the distance from zero.
    let edge = |limit: &bellwether_agent::rule::Limit| match worse {
        Worse::Up => limit.enter.high,
        Worse::Down => limit.enter.low,
        Worse::AwayFromZero => limit.enter.low.abs().max(limit.enter.high.abs()),
    };
    let limit = |limit: Option<&bellwether_agent::rule::Limit>| limit.map(edge).filter(|edge| edge.is_finite());
    Some(MetricSettings {
        name: spec.name.to_owned(),
        worse,
        scale,
        material,
        floor: if spec.unit == Unit::Seconds { LEAST_SECONDS } else { LEAST },
        family: spec.family.name().to_owned(),
        // What only a full call or a look at the room's sound tells comes each half-hour at most.
        heavy: matches!(spec.family, Family::Video | Family::Audio | Family::Sync),
        share: scale == Scale::Linear && spec.family == Family::Net && spec.unit == Unit::Ratio,
        limit: limit(rule.and_then(|rule| rule.limit.as_ref())),
        critical_limit: limit(rule.and_then(|rule| rule.critical.as_ref())),
    })
}

/// Values below count as this on a log scale: a tenth of a millisecond, and a hundredth of anything else.
const LEAST_SECONDS: f64 = 1e-4;
const LEAST: f64 = 0.01;
