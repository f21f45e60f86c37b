//! What was recorded, and what the judge made of it: the use cases of the history.

use std::{path::Path, sync::Arc};

use bellwether_probes::ProbeRun;
use chrono::{DateTime, Utc};

use super::{Backend, Store, StoreError, sqlite};
use crate::history::{Event, Sample, Series, line::Entry};

/// What a commit records beside the conclusion itself. Version changes are taken from the conclusion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// What was measured.
    pub runs: &'a [ProbeRun],
    /// Lessons that are known, begin and end. Each is written once, so that they may be said again.
    pub lessons: &'a [(DateTime<Utc>, DateTime<Utc>)],
    /// What people did with bookings: the word (confirm, start, done, accept), and the booking's key.
    pub maintenance: &'a [(&'a str, &'a str)],
    /// The judge as it is after this inspection, to replace the one that is stored.
    pub judge: Option<&'a JudgeSnapshot>,
}

/// The state of the judge: bytes that only it can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeSnapshot {
    /// Version of the format of its bytes.
    pub format: u32,
    /// The instant that it stands for; kept to the millisecond.
    pub at: DateTime<Utc>,
    /// The state.
    pub bytes: Vec<u8>,
}

/// A place in the order of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(pub(super) i64);

/// From where on samples are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Those that the stored judge has not seen, by the order of commits; all, if no judge is stored.
    Snapshot,
    /// Those of an instant, and later.
    Instant(DateTime<Utc>),
    /// The next page.
    After(Position),
}

/// Some of the samples, in the order in which they were committed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Samples. Those of a day that was folded are there as long as its runs are, for 14 days at least.
    pub samples: Vec<(Arc<Series>, Sample)>,
    /// Events, on the first page only and then all of them, by time.
    pub events: Vec<Event>,
    /// Where to go on; `None` after the last page.
    pub next: Option<Position>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that were written.
    pub new: u64,
    /// Entries that were there, or whose day is known better.
    pub known: u64,
}

impl Store {
    /// The judge as it was committed last.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn judge_snapshot(&self) -> Result<Option<JudgeSnapshot>, StoreError> {
        self.call(|backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.judge_snapshot().await
            })
        })
        .await
    }

    /// Has the judge begin anew at the next start.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_judge(&self) -> Result<(), StoreError> {
        self.call(|backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.forget_judge().await
            })
        })
        .await
    }

    /// Samples, a page of some thousand at a time; see [`Page`].
    ///
    /// # Errors
    /// The database cannot be read, or holds what this version cannot read.
    pub async fn samples_since(&self, since: Since) -> Result<Page, StoreError> {
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.samples_since(since).await
            })
        })
        .await
    }

    /// The UTC days of which something is known, in days since 1970, in order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn recorded_days(&self) -> Result<Vec<i64>, StoreError> {
        self.call(|backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.recorded_days().await
            })
        })
        .await
    }

    /// Everything that is known of a UTC day, unsorted: its samples or, when these are gone, its half-hours
    /// and sums.
    ///
    /// # Errors
    /// The database cannot be read, or holds what this version cannot read.
    pub async fn recorded(&self, day: i64) -> Result<Vec<Entry>, StoreError> {
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.recorded(day).await
            })
        })
        .await
    }

    /// Takes in what another ledger has recorded of a UTC day, in one transaction; entries of other days are
    /// left out. Doing so again changes nothing.
    ///
    /// # Errors
    /// The database cannot be written; then nothing of the day was.
    pub async fn import(&self, day: i64, entries: Vec<Entry>) -> Result<Imported, StoreError> {
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.import(day, &entries).await
            })
        })
        .await
    }

    /// Writes a copy of the whole ledger as it is at this instant, also beside a running daemon. The copy
    /// is a database that bellwether opens.
    ///
    /// # Errors
    /// There is a file already ([`StoreError::Exists`]); it cannot be written.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let to = to.to_owned();
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                sqlite::backup(database, &to).await
            })
        })
        .await
    }
}
