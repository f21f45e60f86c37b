//! `why`: what is known of a metric, or of the series of a booking. Level, what the room would read in
//! health, evidence, and what it takes to alarm or to clear. Read from the ledger, beside a running
//! daemon or without one.

mod words;

use std::path::Path;

use bellwether_agent::{
    Booking,
    judge::{self, Series, engine::explain::Explained},
    store::{Store, StoreError},
};
use bellwether_probes::Metric;
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{config::Config, daemon};

/// Why nothing is explained.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Store(#[from] StoreError),
    /// It is neither a metric nor a booking.
    #[error(
        "found neither a metric {0:?} nor a booking whose key begins so; `bellwether bookings list` shows all bookings"
    )]
    Unknown(String),
    /// Nothing was measured of it.
    #[error("nothing of {0} was measured yet")]
    NotMeasured(Metric),
}

/// What is known of one series.
struct Known {
    explained: Explained,
    /// Where it stands to its limits, by runs.
    limits: Option<Series>,
}

/// Explains a metric, or a booking whose key begins with `asked`.
///
/// # Errors
/// Nothing is known of it; see [`WhyError`].
pub async fn run(config: &Config, state: &Path, asked: &str, as_json: bool) -> Result<String, WhyError> {
    let store = Store::read_only(&daemon::ledger(state)).await?;
    let memory = store.memory().await?;
    let booking = if asked.starts_with("bw1-") {
        let found = store.bookings().await?.into_iter().find(|booking| booking.key.starts_with(asked));
        Some(found.ok_or_else(|| WhyError::Unknown(asked.to_owned()))?)
    } else {
        None
    };
    let judge = daemon::learned(&store, config).await?;
    let metrics: Vec<Metric> = match &booking {
        Some(booking) => {
            let mut metrics: Vec<Metric> = booking.evidence.iter().map(|evidence| evidence.metric).collect();
            metrics.dedup();
            metrics
        }
        None => vec![asked.parse().map_err(|_| WhyError::Unknown(asked.to_owned()))?],
    };
    let series: Vec<Known> = metrics
        .iter()
        .flat_map(|metric| judge.explain(*metric))
        .filter(|explained| booking.as_ref().is_none_or(|booking| concerns(booking, explained)))
        .map(|explained| {
            let id = judge::room::series(&explained.metric, &explained.labels)
                .map(|(metric, probe, labels)| judge::series_id(metric, &probe, &labels));
            let limits = id.and_then(|id| memory.judge.get(&id).cloned());
            Known { explained, limits }
        })
        .collect();
    if series.is_empty()
        && let (None, Some(metric)) = (&booking, metrics.first())
    {
        return Err(WhyError::NotMeasured(*metric));
    }
    if as_json {
        let series: Vec<_> =
            series.iter().map(|known| json!({ "series": known.explained, "limits": known.limits })).collect();
        return Ok(format!("{:#}\n", json!({ "booking": booking, "series": series })));
    }
    let zone = config.site.locale.timezone;
    let instant = |at: DateTime<Utc>| at.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string();
    let words = words::Words { language: config.site.locale.language, instant: &instant };
    let mut text = booking.as_ref().map(|booking| words.booking(booking)).unwrap_or_default();
    for known in &series {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &words.series(&known.explained, known.limits.as_ref(), config);
    }
    Ok(text)
}

fn concerns(booking: &Booking, explained: &Explained) -> bool {
    judge::room::series(&explained.metric, &explained.labels).is_some_and(|(metric, probe, labels)| {
        let same = |evidence: &bellwether_agent::incident::Evidence| {
            (evidence.metric, &evidence.probe, &evidence.labels) == (metric, &probe, &labels)
        };
        booking.evidence.iter().any(same)
    })
}
