//! The judge of the room: as the config would have it, brought from the ledger to the present at a start,
//! and kept there once a half-hour.

use std::io::{Read, Write};

use bellwether_agent::{
    history::{Event, line::Entry},
    judge::{
        engine::{settings::Settings, state::FORMAT},
        room::{self, RoomJudge},
    },
    store::{JudgeSnapshot, Since, Store, StoreError},
};
use chrono::{DateTime, Utc};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use super::report;
use crate::config::Config;

/// The largest state that is read, in bytes: some hundred times that of a large room.
const LARGEST_STATE: u64 = 256 << 20;

/// What the judge is told of a config.
pub(super) fn settings(config: &Config) -> Settings {
    let cores = std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok());
    room::settings(&config.site, &config.rules, &config.engine, cores)
}

/// The judge by a changed config. Of another room nothing is known.
pub(super) fn adopted(judge: &RoomJudge, config: &Config) -> RoomJudge {
    judge.adopt(settings(config), |_, probe, _| config.probes.contains_key(probe)).unwrap_or_else(|error| {
        tracing::warn!(error = report::chain(&error), "what was learned of the room is set aside");
        RoomJudge::new(settings(config))
    })
}

/// The judge as the ledger has it: what was stored last, and what was measured since. If that is torn, or of
/// another version or room, it is set aside, and learned again from what was recorded.
///
/// # Errors
/// The ledger cannot be read.
pub async fn learned(store: &Store, config: &Config) -> Result<RoomJudge, StoreError> {
    if let Some(snapshot) = store.judge_snapshot().await? {
        match restored(&snapshot, config) {
            Ok(mut judge) => {
                since(store, &mut judge).await?;
                return Ok(adopted(&judge, config));
            }
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "what the judge had stored is set aside; it learns again from what was recorded"
                );
            }
        }
    }
    let mut judge = RoomJudge::new(settings(config));
    for day in store.recorded_days().await? {
        let mut entries = store.recorded(day).await?;
        entries.sort_by_key(Entry::at);
        entries.iter().for_each(|entry| judge.recorded(entry));
    }
    Ok(adopted(&judge, config))
}

fn restored(snapshot: &JudgeSnapshot, config: &Config) -> Result<RoomJudge, String> {
    if snapshot.format != FORMAT {
        return Err(format!("it has format {}, this program reads {FORMAT}", snapshot.format));
    }
    let mut bytes = Vec::new();
    let mut reader = DeflateDecoder::new(&snapshot.bytes[..]).take(LARGEST_STATE);
    reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    RoomJudge::restore(settings(config), &bytes).map_err(|error| error.to_string())
}

/// What was measured since the judge was stored.
async fn since(store: &Store, judge: &mut RoomJudge) -> Result<(), StoreError> {
    let mut from = Some(Since::Snapshot);
    let mut entries = Vec::new();
    while let Some(since) = from {
        let page = store.samples_since(since).await?;
        entries.extend(page.events.into_iter().map(|event: Event| Entry::Event(event)));
        entries.extend(page.samples.into_iter().map(|(series, sample)| Entry::Sample(series, sample)));
        from = page.next.map(Since::After);
    }
    entries.sort_by_key(Entry::at);
    entries.iter().for_each(|entry| judge.recorded(entry));
    Ok(())
}

/// The judge as it is to be stored.
pub(super) fn snapshot(judge: &RoomJudge, now: DateTime<Utc>) -> Option<JudgeSnapshot> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // A vector takes whatever is written to it.
    encoder.write_all(&judge.stored()).ok()?;
    Some(JudgeSnapshot { format: FORMAT, at: now, bytes: encoder.finish().ok()? })
}
