//! The last good copy of a source, as one file that is whole or not there: a line of JSON that says
//! what it is a copy of, and then the text, byte by byte.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bellwether_agent::calendar::ical::MAX_BYTES;
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{self, Readers};

/// Longest first line.
const MAX_HEAD: usize = 4096;

/// One source as it was last good.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Copy {
    /// The path or address it is a copy of.
    pub(super) source: String,
    /// When it was read.
    pub(super) read_at: DateTime<Utc>,
    /// Its iCalendar text.
    pub(super) text: Arc<[u8]>,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    source: String,
    read_at: DateTime<Utc>,
}

/// Where the copy of a source is kept.
pub(super) fn path(state: &Path, source: &str) -> PathBuf {
    let digest = Sha256::digest(source.as_bytes());
    let name = HEXLOWER.encode(digest.get(..8).unwrap_or_default());
    state.join("timetable").join(format!("{name}.ics"))
}

/// The copy, if there is one of this source that can be read.
pub(super) fn load(path: &Path, source: &str) -> Option<Copy> {
    let bytes = files::read_bytes(path, (MAX_HEAD + MAX_BYTES) as u64).ok()?;
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let Head { source: found, read_at } = serde_json::from_slice(bytes.get(..end)?).ok()?;
    let text = bytes.get(end + 1..)?.into();
    (found == source).then_some(Copy { source: found, read_at, text })
}

/// Replaces the copy. After a power cut the old one is there, or the new one.
pub(super) fn store(path: &Path, copy: &Copy) -> io::Result<()> {
    let head = Head { source: copy.source.clone(), read_at: copy.read_at };
    let mut bytes = serde_json::to_vec(&head)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&copy.text);
    files::replace(path, &bytes, Readers::Owner)
}
