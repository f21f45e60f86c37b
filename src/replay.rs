//! The command `replay`: recorded history through the decision engine, as if it happened now.
//!
//! Reads the site file and the history, prints what the engine says. Everything in between is pure
//! ([`bellwether_agent::replay`]); the clock is the data's own.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use bellwether_agent::{
    judge::engine::{
        Engine, StateError,
        case::{Action, Verb},
        settings::Settings,
    },
    replay::{ReadError, Replay, Summary, compare, late_lessons, printer, read},
};
use flate2::read::MultiGzDecoder;
use tokio::time::Instant;

use crate::{
    cli,
    config::{self, ConfigError},
};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// The largest state file, in bytes: ten thousand rooms of twenty metrics.
const LARGEST_STATE: u64 = 4 << 30;

/// Why a history could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The site file is no good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file of the history cannot be opened.
    #[error("cannot read {}", .0.display())]
    Open(PathBuf, #[source] io::Error),
    /// A file of the history is no good.
    #[error("{}", .0.display())]
    History(PathBuf, #[source] ReadError),
    /// The stored state cannot be read.
    #[error("cannot read the state {}", .0.display())]
    State(PathBuf, #[source] io::Error),
    /// The stored state is no good.
    #[error("the state {} cannot be gone on from; it was left as it is", .0.display())]
    BadState(PathBuf, #[source] StateError),
    /// The state cannot be stored.
    #[error("cannot write the state {}", .0.display())]
    StoreState(PathBuf, #[source] io::Error),
    /// What was found cannot be printed.
    #[error("the answer could not be printed")]
    Print(#[source] io::Error),
}

impl ReplayError {
    /// How the program ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,
            Self::Open(..) | Self::State(..) => 66,
            Self::BadState(..) => 65,
            Self::History(_, ReadError::Input(_)) => 66,
            Self::History(_, ReadError::Malformed(..)) => 2,
            Self::History(_, ReadError::Output(_)) | Self::Print(_) | Self::StoreState(..) => 74,
        }
    }
}

/// Replays, prints to `out`, and says in one line what was read.
///
/// # Errors
/// Files that cannot be read or written, and what is wrong in them.
pub fn run(config: Option<&Path>, asked: &cli::Replay, out: impl Write) -> Result<String, ReplayError> {
    let begun = Instant::now();
    let settings = config::replay_settings(config)?;
    let mut out = BufWriter::with_capacity(BUFFER, out);
    let mut opened = 0;
    let (replay, rooms) = match &asked.compare {
        None => {
            let mut replay = start(settings, asked.state_in.as_deref())?;
            let mut print = printer(&mut out, asked.explain);
            history(asked, &mut replay, |engine, action| {
                opened += u64::from(action.verb == Verb::Open);
                print(engine, action)
            })?;
            (replay, 1)
        }
        Some(other) => {
            let other = config::replay_settings(Some(other))?;
            let (first, second) = (kept(asked, settings)?, kept(asked, other)?);
            compare(&mut out, &first.1, &second.1).map_err(ReplayError::Print)?;
            opened = first.1.iter().filter(|action| action.verb == Verb::Open).count() as u64;
            (first.0, 2)
        }
    };
    out.flush().map_err(ReplayError::Print)?;
    if let Some(path) = &asked.state_out {
        store(path, &replay.stored()).map_err(|source| ReplayError::StoreState(path.clone(), source))?;
    }
    Ok(said(&replay.summary, replay.engine(), opened, rooms, begun.elapsed().as_secs_f64()))
}

/// All that the engine says of the history under one config.
fn kept(asked: &cli::Replay, settings: Settings) -> Result<(Replay, Vec<Action>), ReplayError> {
    let mut replay = Replay::new(settings);
    let mut actions = Vec::new();
    history(asked, &mut replay, |_, action| {
        actions.push(action);
        Ok(())
    })?;
    Ok((replay, actions))
}

fn start(settings: Settings, state: Option<&Path>) -> Result<Replay, ReplayError> {
    let Some(path) = state else { return Ok(Replay::new(settings)) };
    let mut stored = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_STATE).read_to_end(&mut stored))
        .map_err(|source| ReplayError::State(path.to_owned(), source))?;
    Replay::restore(settings, &stored).map_err(|source| ReplayError::BadState(path.to_owned(), source))
}

/// Puts a whole file in its place, or leaves what was there.
fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

/// Reads all files into `replay`, and ends it.
fn history(
    asked: &cli::Replay,
    replay: &mut Replay,
    mut say: impl FnMut(&Engine, Action) -> io::Result<()>,
) -> Result<(), ReplayError> {
    let span = (asked.from.map(|from| from.timestamp_millis()), asked.to.map(|to| to.timestamp_millis()));
    for path in &asked.files {
        let cannot = |source| ReplayError::Open(path.clone(), source);
        // A timetable is known beforehand, wherever in the history it stands; what comes by a pipe is read once.
        if path.as_os_str() != "-" {
            late_lessons(open(path).map_err(cannot)?, &mut [replay]).map_err(cannot)?;
        }
        let mut lines = open(path).map_err(cannot)?;
        read(&mut lines, replay, span, asked.skip_bad, &mut say)
            .map_err(|source| ReplayError::History(path.clone(), source))?;
    }
    replay.finish();
    for action in replay.take_actions() {
        say(replay.engine(), action).map_err(ReplayError::Print)?;
    }
    Ok(())
}

/// A file of lines, plain or compressed, or the input.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
    }
    let file = File::open(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
}

fn said(summary: &Summary, engine: &Engine, opened: u64, times: u32, seconds: f64) -> String {
    let Summary { lines, malformed, values, late, twice, unknown_metrics, unknown_rooms, absent } = *summary;
    let series = engine.state().rooms.iter().flat_map(|room| &room.series).flatten().count();
    let times = if times == 1 { "" } else { ", read twice" };
    format!(
        "{lines} lines ({malformed} unreadable, {late} late), {values} values ({twice} twice, {absent} absent, \
         {unknown_metrics} of unknown metrics, {unknown_rooms} of unknown rooms), {series} series, {opened} \
         bookings, {seconds:.1} s{times}\n"
    )
}
