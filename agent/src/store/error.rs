//! Why the store failed, and what a person can do.

use std::{error::Error, io, path::PathBuf};

/// Why the store failed. Each variant says what to do; none repeats its source.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state folder cannot be made or written.
    #[error("cannot write to the state folder {}: give it to the user that runs bellwether", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another daemon works on this folder.
    #[error("{} is held by another bellwether: stop that one, or give this one a STATE_DIRECTORY of its own", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file was no database of ours, or a broken one. It was set aside.
    #[error(
        "{} is damaged ({reason}); it was set aside as {}: start again to begin a new ledger, or put a backup in its place first",
        path.display(), aside.display()
    )]
    Damaged {
        /// Where it was.
        path: PathBuf,
        /// Where it is.
        aside: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer bellwether wrote it. It was left alone.
    #[error("{} has schema {found}, and this bellwether knows none above {known}: install the newer one again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// There is no database to read.
    #[error("there is no database at {}: the daemon has not run with this state folder", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a file where one was to be made.
    #[error("there is a file at {} already: choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk, or the share of it that we may use, is full. Nothing was changed.
    #[error("no room on the disk of {}: free some; nothing was changed", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// A stored value is not what this version writes.
    #[error("{} holds {what} that this version cannot read: restore a backup, or move the file away", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What was read.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An order is not in the state that the step needs.
    #[error("order {op_key} is {found}, expected {expected}")]
    Order {
        /// The order.
        op_key: String,
        /// Its state, or `unknown`.
        found: String,
        /// The states in which the step is possible.
        expected: &'static str,
    },
    /// A constraint refuses it. Nothing was changed.
    #[error("the ledger refuses to {what}; nothing was changed")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The constraint.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Anything else that the database said.
    #[error("cannot {what} in {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the database said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
