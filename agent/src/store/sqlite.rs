//! SQLite behind the [`super::Store`]: one connection, one transaction a job.
//!
//! Transactions are plain `BEGIN`, `COMMIT` and `ROLLBACK` instead of sqlx's: on a full disk SQLite
//! itself may roll back, and sqlx 0.9 then counts a transaction that is no more, so that the next
//! `COMMIT` would only release a savepoint and nothing would be durable.

mod audit;
mod fold;
mod history;
mod open;
mod orders;

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::PathBuf,
};

use chrono::{DateTime, TimeDelta, Utc};
pub(super) use history::backup;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{Committed, Record, StoreError};
use crate::{
    booking::{Booking, Order, Trouble, life::Entry, plan::RECENT},
    inspection::{Conclusion, Memory},
    judge::Series,
};

/// How long the audit trail is kept.
const AUDITED: TimeDelta = TimeDelta::days(400);
/// Rows that one call of `prune` deletes of a kind, at most.
const BITE: i64 = 50;

/// The connection, and the lock on its folder.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    connection: SqliteConnection,
    lock: Option<File>,
    /// Numbers of series that are durable, by metric and labels.
    series: HashMap<String, i64>,
}

/// A booking as its row.
pub(super) struct BookingRow {
    key: String,
    state: &'static str,
    ended: bool,
    json: String,
    opened_ms: i64,
    updated_ms: i64,
}

impl BookingRow {
    pub(super) fn new(booking: &Booking) -> Self {
        Self {
            key: booking.key.clone(),
            state: booking.state.name(),
            ended: booking.state.ended(),
            json: json(booking),
            opened_ms: ms(booking.opened_at),
            updated_ms: ms(booking.updated_at),
        }
    }
}

/// Names of channels, per booking key.
type ChannelsOf = BTreeMap<String, Vec<String>>;

/// A conclusion as its rows, so that the writer needs nothing of the caller's.
pub(super) struct Batch {
    inspection_id: String,
    now: DateTime<Utc>,
    /// For each part of the memory a JSON object: key → value.
    memory: Vec<(&'static str, String)>,
    bookings: Vec<BookingRow>,
    orders: Vec<Order>,
    entries: Vec<Entry>,
    recording: history::Recording,
}

impl Batch {
    pub(super) fn new(inspection_id: &str, conclusion: &Conclusion, record: Record<'_>, now: DateTime<Utc>) -> Self {
        let memory = &conclusion.memory;
        let incidents = memory.incidents.iter().enumerate();
        let changes = memory.changes.iter().enumerate();
        Self {
            inspection_id: inspection_id.to_owned(),
            now,
            memory: vec![
                ("series", json(&memory.judge)),
                ("version", json(&memory.versions)),
                ("change", json(&changes.map(|(n, change)| (place(n), change)).collect::<BTreeMap<_, _>>())),
                ("incident", json(&incidents.map(|(n, incident)| (place(n), incident)).collect::<BTreeMap<_, _>>())),
                ("epoch", json(&memory.epochs)),
            ],
            bookings: conclusion.bookings.iter().map(BookingRow::new).collect(),
            orders: conclusion.orders.clone(),
            entries: conclusion.entries.clone(),
            recording: history::Recording::new(record, &conclusion.changes, now),
        }
    }
}

impl Sqlite {
    /// Closes the file and then frees its folder.
    pub(super) async fn close(self) {
        open::close(&self.path, self.connection).await;
    }

    /// Reads what the agent knew.
    pub(super) async fn memory(&mut self) -> Result<Memory, StoreError> {
        let what = "read the memory";
        let ledger_id = sqlx::query_scalar("SELECT ledger_id FROM meta")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        let rows = sqlx::query("SELECT json FROM bookings WHERE ended = 0")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        let bookings = self.parse_all::<Booking>(&rows, "a booking")?;
        let (opened_on, rejected_on) = self.opened().await?;
        Ok(Memory {
            ledger_id,
            judge: self.series().await?,
            versions: self.part("version").await?.into_iter().collect(),
            changes: self.part("change").await?.into_iter().map(|(_, change)| change).collect(),
            incidents: self.part("incident").await?.into_iter().map(|(_, incident)| incident).collect(),
            bookings: bookings.into_iter().map(|booking| (booking.key.clone(), booking)).collect(),
            epochs: self.part("epoch").await?.into_iter().collect(),
            opened_on,
            rejected_on,
            recent: self.recent().await?,
        })
    }

    /// On which channels each open booking was opened, and on which that was refused for good: read
    /// from the orders themselves, so that nothing can contradict them.
    async fn opened(&mut self) -> Result<(ChannelsOf, ChannelsOf), StoreError> {
        let rows = sqlx::query(
            "SELECT booking_key, channel, orders.state = 'dead' AS dead FROM orders
             JOIN bookings ON bookings.key = booking_key
             WHERE operation = 'open' AND ended = 0 ORDER BY op_seq",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.error("read the memory", error))?;
        let (mut opened, mut rejected) = (ChannelsOf::new(), ChannelsOf::new());
        for row in &rows {
            let into = if self.get(row, "dead")? { &mut rejected } else { &mut opened };
            into.entry(self.get(row, "booking_key")?).or_default().push(self.get(row, "channel")?);
        }
        Ok((opened, rejected))
    }

    /// The bookings that ended last, newest first.
    async fn recent(&mut self) -> Result<Vec<Trouble>, StoreError> {
        let rows = sqlx::query("SELECT json FROM bookings WHERE ended = 1 ORDER BY updated_ms DESC, key LIMIT ?")
            .bind(RECENT as i64)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("read the memory", error))?;
        self.parse_all(&rows, "a booking")
    }

    /// A state of the judge that cannot be read is learnt again within its next runs; that is no
    /// reason not to start.
    async fn series(&mut self) -> Result<BTreeMap<String, Series>, StoreError> {
        let parts = self.part::<serde_json::Value>("series").await?;
        let read = |(key, value): (String, serde_json::Value)| match serde_json::from_value(value) {
            Ok(series) => Some((key, series)),
            Err(error) => {
                tracing::warn!(series = key, error = %error, "the state of a series cannot be read and is learnt again");
                None
            }
        };
        Ok(parts.into_iter().filter_map(read).collect())
    }

    async fn part<T: DeserializeOwned>(&mut self, part: &'static str) -> Result<Vec<(String, T)>, StoreError> {
        let rows = sqlx::query("SELECT key, json FROM memory WHERE part = ? ORDER BY key")
            .bind(part)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("read the memory", error))?;
        rows.iter().map(|row| Ok((self.get(row, "key")?, self.parse(row, part)?))).collect()
    }

    /// See [`super::Store::commit`].
    pub(super) async fn commit(&mut self, batch: Batch) -> Result<Committed, StoreError> {
        self.begin_transaction("commit an inspection").await?;
        let result = self.write(&batch).await;
        let result = self.end_transaction(result, "commit an inspection").await;
        if result.is_err() {
            // Numbers that were given in it are not.
            self.series.clear();
        }
        result
    }

    async fn write(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let (what, now) = ("commit an inspection", ms(batch.now));
        let new = sqlx::query("INSERT INTO inspections (id, committed_ms) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(&batch.inspection_id)
            .bind(now)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        if new.rows_affected() == 0 {
            return Ok(Committed::Repeated);
        }
        for (part, rows) in &batch.memory {
            // Two statements a part, however many series; rows that did not change are not written.
            sqlx::query("DELETE FROM memory WHERE part = ?1 AND key NOT IN (SELECT key FROM json_each(?2))")
                .bind(*part)
                .bind(rows)
                .execute(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
            sqlx::query(
                "INSERT INTO memory (part, key, json)
                 SELECT ?1, key, value FROM json_each(?2) WHERE true
                 ON CONFLICT (part, key) DO UPDATE SET json = excluded.json WHERE json <> excluded.json",
            )
            .bind(*part)
            .bind(rows)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        }
        self.record(&batch.recording).await?;
        for booking in &batch.bookings {
            self.put_booking(booking, what).await?;
        }
        for order in &batch.orders {
            self.put_order(order, now).await?;
        }
        for entry in &batch.entries {
            self.put_entry(entry).await?;
        }
        Ok(Committed::New)
    }

    async fn put_booking(&mut self, booking: &BookingRow, what: &'static str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO bookings (key, state, ended, json, opened_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (key) DO UPDATE SET state = excluded.state, ended = excluded.ended,
                 json = excluded.json, updated_ms = excluded.updated_ms",
        )
        .bind(&booking.key)
        .bind(booking.state)
        .bind(booking.ended)
        .bind(&booking.json)
        .bind(booking.opened_ms)
        .bind(booking.updated_ms)
        .execute(&mut self.connection)
        .await
        .map_err(|error| self.error(what, error))?;
        Ok(())
    }

    /// See [`super::Store::bookings`].
    pub(super) async fn bookings(&mut self) -> Result<Vec<Booking>, StoreError> {
        let rows = sqlx::query("SELECT json FROM bookings ORDER BY opened_ms DESC, key LIMIT 1000")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("read the bookings", error))?;
        self.parse_all(&rows, "a booking")
    }

    /// See [`super::Store::prune`].
    pub(super) async fn prune(&mut self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let what = "delete what is old";
        let old = ms(now - TimeDelta::days(400));
        let mut deleted =
            self.fold(now).await? + self.prune_history(now).await? + self.prune_audit(now - AUDITED).await?;
        for (sql, before) in [
            (
                "DELETE FROM bookings WHERE key IN (SELECT key FROM bookings b WHERE ended = 1 AND updated_ms < ?
                 AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.booking_key = b.key
                     AND o.state IN ('pending', 'inflight', 'ambiguous')) LIMIT ?)",
                old,
            ),
            (
                "DELETE FROM orders WHERE op_key IN (SELECT op_key FROM orders WHERE operation = 'update'
                 AND state IN ('done', 'dead') AND settled_ms < ? LIMIT ?)",
                old,
            ),
            (
                "DELETE FROM inspections WHERE id IN (SELECT id FROM inspections WHERE committed_ms < ? LIMIT ?)",
                ms(now - TimeDelta::days(2)),
            ),
        ] {
            let result = sqlx::query(sql)
                .bind(before)
                .bind(BITE)
                .execute(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
            deleted += result.rows_affected();
        }
        if deleted > 0 {
            // Gives a few free pages back to the file system; each row of it is one step.
            sqlx::query("PRAGMA incremental_vacuum(32)")
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
        }
        Ok(deleted)
    }

    async fn execute(&mut self, sql: &'static str, what: &'static str) -> Result<(), StoreError> {
        sqlx::query(sql).execute(&mut self.connection).await.map_err(|error| self.error(what, error))?;
        Ok(())
    }

    async fn begin_transaction(&mut self, what: &'static str) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE", what).await
    }

    /// Commits if all went well, else leaves nothing.
    async fn end_transaction<T>(&mut self, result: Result<T, StoreError>, what: &'static str) -> Result<T, StoreError> {
        let result = match result {
            Ok(value) => self.execute("COMMIT", what).await.map(|()| value),
            Err(error) => Err(error),
        };
        if result.is_err() {
            // Fails if SQLite rolled back by itself, and then there is nothing left to do.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        }
        result
    }

    fn get<'r, T>(&self, row: &'r SqliteRow, column: &str) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        row.try_get(column).map_err(|error| self.unreadable("a row", error))
    }

    fn parse<T: DeserializeOwned>(&self, row: &SqliteRow, what: &str) -> Result<T, StoreError> {
        let text: &str = self.get(row, "json")?;
        serde_json::from_str(text).map_err(|error| self.unreadable(what, error))
    }

    fn parse_all<T: DeserializeOwned>(&self, rows: &[SqliteRow], what: &str) -> Result<Vec<T>, StoreError> {
        rows.iter().map(|row| self.parse(row, what)).collect()
    }

    fn time(&self, ms: i64) -> Result<DateTime<Utc>, StoreError> {
        DateTime::from_timestamp_millis(ms).ok_or_else(|| self.unreadable("a time", format!("{ms} ms is out of range")))
    }

    fn unreadable(&self, what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Unreadable { path: self.path.clone(), what: what.to_owned(), source: source.into() }
    }

    fn error(&self, what: &'static str, error: sqlx::Error) -> StoreError {
        match code(&error) {
            Some(Code::Full) => StoreError::Full { path: self.path.clone() },
            // The folder is ours, the file in it is not.
            Some(Code::ReadOnly) if self.lock.is_some() => {
                StoreError::Folder { folder: open::folder(&self.path).to_owned(), source: std::io::Error::other(error) }
            }
            Some(Code::Constraint) => StoreError::Refused { what, source: error.into() },
            _ => StoreError::Database { path: self.path.clone(), what, source: error.into() },
        }
    }
}

/// The kinds of SQLite error that are told apart.
enum Code {
    Full,
    Damaged,
    ReadOnly,
    Constraint,
}

/// Sorts an error by the low byte of its extended result code (<https://sqlite.org/rescode.html>).
fn code(error: &sqlx::Error) -> Option<Code> {
    /// SQLITE_IOERR_SHMSIZE: the index of the log, a file of its own, cannot grow.
    const INDEX_CANNOT_GROW: i32 = 4874;
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    match code & 0xff {
        _ if code == INDEX_CANNOT_GROW => Some(Code::Full),
        13 => Some(Code::Full),
        8 => Some(Code::ReadOnly),
        11 | 26 => Some(Code::Damaged),
        19 => Some(Code::Constraint),
        _ => None,
    }
}

fn ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// The key of an item of a list: sorts as the list does.
fn place(index: usize) -> String {
    format!("{index:06}")
}

/// Our own types have string keys and no failing fields.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types become JSON")
}

#[cfg(test)]
mod tests;
