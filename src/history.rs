//! `history export`, `history import` and `history backup`: what was measured, out of the ledger and into another.
//!
//! Everything that decides is pure, in [`bellwether_agent::history`]; here files are read and written.

mod import;
mod words;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use bellwether_agent::{
    history::{DAY_MS, day_of, line},
    replay::Malformed,
    store::{Store, StoreError},
};
use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};

pub use self::import::{Asked, import};
use crate::{config::Config, daemon};

/// Bytes that are written at once.
const BUFFER: usize = 1 << 18;

/// Why the history could not be read, or taken in.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The ledger cannot be read or written.
    #[error("the ledger cannot be used")]
    Store(#[source] StoreError),
    /// The daemon runs.
    #[error("{0}")]
    Running(&'static str, #[source] StoreError),
    /// The box has learned already.
    #[error("{0}")]
    Learned(&'static str),
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A line of it cannot be read. What came before it was taken in.
    #[error("{}: line {number}: {malformed}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        number: u64,
        /// What is wrong with it.
        malformed: Malformed,
    },
    /// The file cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

impl From<StoreError> for HistoryError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl HistoryError {
    /// How the program ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(_) | Self::Running(..) | Self::Learned(_) => 1,
            Self::Line { .. } => 2,
            Self::Read(..) => 66,
            Self::Write(..) => 74,
        }
    }
}

/// Writes what was measured between two instants to a file, or to `out` if that is called `-`. Returns what is
/// to be said of it.
///
/// # Errors
/// The ledger cannot be read; the file cannot be written, and is left as it was.
pub async fn export(
    config: &Config,
    state: &Path,
    (from, to): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    file: &Path,
    out: impl Write,
) -> Result<String, HistoryError> {
    let store = Store::read_only(&daemon::ledger(state)).await?;
    let span = (from.map_or(i64::MIN, |from| from.timestamp_millis()), to.map_or(i64::MAX, |to| to.timestamp_millis()));
    let room = &config.site.room.id;
    let failed = |source| HistoryError::Write(file.to_owned(), source);
    let lines = if file.as_os_str() == "-" {
        let mut out = BufWriter::with_capacity(BUFFER, out);
        let lines = lines(&store, room, span, &mut out, file).await?;
        // A reader that has heard enough, such as `head`, is no failure.
        out.flush().or_else(enough).map_err(failed)?;
        lines
    } else {
        // Half an export must not be taken for one.
        let mut name = file.as_os_str().to_owned();
        name.push(".new");
        let beside = PathBuf::from(name);
        let made = File::create(&beside).map_err(failed)?;
        let written = write_file(&store, room, span, made, file).await;
        let placed = written.and_then(|lines| fs::rename(&beside, file).map(|()| lines).map_err(failed));
        if placed.is_err() {
            // What is left of it is of no use.
            let _ = fs::remove_file(&beside);
        }
        placed?
    };
    store.close().await;
    Ok(words::exported(lines, room, config.site.locale.language))
}

async fn write_file(store: &Store, room: &str, span: (i64, i64), made: File, file: &Path) -> Result<u64, HistoryError> {
    let failed = |source| HistoryError::Write(file.to_owned(), source);
    let mut out = BufWriter::with_capacity(BUFFER, made);
    let written = if file.extension().is_some_and(|extension| extension == "gz") {
        let mut packed = GzEncoder::new(&mut out, Compression::default());
        let written = lines(store, room, span, &mut packed, file).await?;
        packed.finish().map_err(failed)?;
        written
    } else {
        lines(store, room, span, &mut out, file).await?
    };
    let made = out.into_inner().map_err(|error| failed(error.into_error()))?;
    made.sync_all().map_err(failed)?;
    Ok(written)
}

/// Writes the lines day by day. How many they were.
async fn lines(
    store: &Store,
    room: &str,
    (from, to): (i64, i64),
    out: &mut impl Write,
    file: &Path,
) -> Result<u64, HistoryError> {
    let mut written = 0;
    for day in store.recorded_days().await? {
        let begin = day.saturating_mul(DAY_MS);
        if day_of(from) > day || begin >= to {
            continue;
        }
        let mut lines: Vec<(i64, bool, String)> = Vec::new();
        for entry in store.recorded(day).await? {
            let at = entry.at();
            if (from..to).contains(&at) {
                // What happened comes before what was measured at the same instant.
                lines.push((at, !matches!(entry, line::Entry::Event(_)), line::write(room, &entry)));
            }
        }
        lines.sort_unstable();
        for (_, _, line) in &lines {
            match out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")) {
                Ok(()) => written += 1,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(written),
                Err(error) => return Err(HistoryError::Write(file.to_owned(), error)),
            }
        }
    }
    Ok(written)
}

fn enough(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// Copies the whole ledger into a new file. Returns what is to be said of it.
///
/// # Errors
/// There is such a file; it cannot be written; the ledger cannot be read.
pub async fn backup(config: &Config, state: &Path, file: &Path) -> Result<String, HistoryError> {
    let store = Store::read_only(&daemon::ledger(state)).await?;
    store.backup(file).await?;
    store.close().await;
    let bytes = fs::metadata(file).map_err(|source| HistoryError::Read(file.to_owned(), source))?.len();
    Ok(words::copied(file, bytes, config.site.locale.language))
}
