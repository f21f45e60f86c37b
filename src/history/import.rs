//! `history import`: lines into the ledger, a day at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufRead,
    path::{Path, PathBuf},
};

use bellwether_agent::{
    history::{DAY_MS, day_of, line},
    replay::{LONGEST_LINE, Malformed, read_line},
    store::{Store, StoreError},
};
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;

use super::{HistoryError, words};
use crate::{config::Config, daemon, replay};

/// How far out of order a line may be, as in a replay, in milliseconds.
const TOLERANCE: i64 = 900_000;
/// Rooms that are named when nothing was found, at most.
const MOST_NAMES: usize = 5;

/// What is to be taken in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The file.
    pub file: PathBuf,
    /// The room in it, if not that of this box.
    pub room: Option<String>,
    /// Also into a ledger whose judge has learned.
    pub force: bool,
    /// Lines that cannot be read are counted.
    pub skip_bad: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) lines: u64,
    pub(super) new: u64,
    pub(super) known: u64,
    pub(super) late: u64,
    pub(super) malformed: u64,
    pub(super) elsewhere: u64,
    /// Names of rooms that were not asked for, some of them.
    pub(super) others: BTreeSet<String>,
}

impl Count {
    /// Whether nothing was of the room.
    pub(super) fn nothing(&self) -> bool {
        self.new + self.known == 0
    }
}

/// Days that are not complete yet. A line that is more than a day ahead of all others is believed when the next
/// one agrees, as in a replay.
#[derive(Debug, Default)]
struct Days {
    open: BTreeMap<i64, Vec<line::Entry>>,
    newest: Option<i64>,
    ahead: Option<(i64, Vec<line::Entry>)>,
}

impl Days {
    /// Takes in what a line says. How many lines were too late, or ahead of all others.
    fn put(&mut self, at: i64, entries: Vec<line::Entry>) -> u64 {
        let mut lost = 0;
        match self.ahead.take() {
            Some((leap, waiting)) if at >= leap - TOLERANCE => self.insert(leap, waiting),
            Some(_) => lost += 1,
            None => {}
        }
        match self.newest {
            // Its day may have been written already.
            Some(newest) if at < newest - TOLERANCE => lost += 1,
            Some(newest) if at > newest.saturating_add(DAY_MS) => self.ahead = Some((at, entries)),
            _ => self.insert(at, entries),
        }
        lost
    }

    fn insert(&mut self, at: i64, entries: Vec<line::Entry>) {
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        self.open.entry(day_of(at)).or_default().extend(entries);
    }

    /// A day of which nothing more can come.
    fn complete(&mut self) -> Option<(i64, Vec<line::Entry>)> {
        let oldest = *self.open.keys().next()?;
        let still = day_of(self.newest? - TOLERANCE);
        if oldest < still { self.open.pop_first() } else { None }
    }
}

/// Takes in a history. Returns what is to be said of it, and how the program ends: with 3 if there was nothing of
/// the room.
///
/// # Errors
/// The daemon runs; its judge has learned; the file is no good; the ledger cannot be written. What was complete
/// before is taken in.
pub async fn import(
    config: &Config,
    state: &Path,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Result<(String, u8), HistoryError> {
    let language = config.site.locale.language;
    let cannot = |source| HistoryError::Read(asked.file.clone(), source);
    let mut lines = replay::open(&asked.file).map_err(cannot)?;
    let ledger_id = BASE32_NOPAD.encode(&fastrand::u128(..).to_be_bytes()).to_ascii_lowercase();
    let (store, _) = Store::open(&daemon::ledger(state), now, &ledger_id).await.map_err(|error| match error {
        StoreError::Locked { .. } => HistoryError::Running(words::running(language), error),
        error => HistoryError::Store(error),
    })?;
    let result = match (store.judge_snapshot().await?, asked.force) {
        (Some(_), false) => Err(HistoryError::Learned(words::learned(language))),
        (Some(_), true) => store.forget_judge().await.map_err(HistoryError::Store),
        (None, _) => Ok(()),
    };
    let room = asked.room.as_deref().unwrap_or(&config.site.room.id);
    let result = match result {
        Ok(()) => take_in(&store, room, asked, &mut *lines).await,
        Err(error) => Err(error),
    };
    store.close().await;
    let count = result?;
    Ok((words::imported(&count, room, language), if count.nothing() { 3 } else { 0 }))
}

async fn take_in(store: &Store, room: &str, asked: &Asked, lines: &mut dyn BufRead) -> Result<Count, HistoryError> {
    let (mut count, mut days, mut bytes) = (Count::default(), Days::default(), Vec::new());
    loop {
        bytes.clear();
        let length = read_line(lines, &mut bytes).map_err(|source| HistoryError::Read(asked.file.clone(), source))?;
        if length == 0 {
            break;
        }
        count.lines += 1;
        if bytes.iter().all(u8::is_ascii_whitespace) && length <= LONGEST_LINE {
            continue;
        }
        let read = if length > LONGEST_LINE { Err(Malformed::Long(LONGEST_LINE)) } else { line::read(&bytes) };
        match read {
            Ok(line) if line.room.as_deref() != Some(room) => {
                count.elsewhere += 1;
                if count.others.len() < MOST_NAMES {
                    count.others.extend(line.room);
                }
            }
            Ok(line) => count.late += days.put(line.at, line.entries),
            Err(_) if asked.skip_bad => count.malformed += 1,
            Err(malformed) => {
                return Err(HistoryError::Line { path: asked.file.clone(), number: count.lines, malformed });
            }
        }
        while let Some((day, entries)) = days.complete() {
            write(store, day, entries, &mut count).await?;
        }
    }
    count.late += u64::from(days.ahead.take().is_some());
    for (day, entries) in std::mem::take(&mut days.open) {
        write(store, day, entries, &mut count).await?;
    }
    Ok(count)
}

async fn write(store: &Store, day: i64, entries: Vec<line::Entry>, count: &mut Count) -> Result<(), HistoryError> {
    let imported = store.import(day, entries).await?;
    (count.new, count.known) = (count.new + imported.new, count.known + imported.known);
    Ok(())
}
