//! SQLite behind the [`super::Store`]: one connection, one transaction a job.
//!
//! Transactions are plain `BEGIN`, `COMMIT` and `ROLLBACK` instead of sqlx's: on a full disk SQLite
//! itself may roll back, and sqlx 0.9 then counts a transaction that is no more, so that the next
//! `COMMIT` would only release a savepoint and nothing would be durable.

mod open;

use std::{collections::BTreeMap, fs::File, path::PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{Committed, OrderCount, OrderRecord, OrderState, Settlement, StoreError};
use crate::{
    booking::{Booking, Operation, Order},
    inspection::{Conclusion, Memory},
    judge::Series,
};

/// How much of a line for people is kept.
const DETAIL_BYTES: usize = 500;

/// Rows that one call of `prune` deletes of a kind, at most.
const BITE: i64 = 50;

/// The connection, and the lock on its folder.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    connection: SqliteConnection,
    _lock: Option<File>,
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

/// A conclusion as its rows, so that the writer needs nothing of the caller's.
pub(super) struct Batch {
    inspection_id: String,
    now: DateTime<Utc>,
    /// For each part of the memory a JSON object: key → value.
    memory: Vec<(&'static str, String)>,
    bookings: Vec<BookingRow>,
    orders: Vec<Order>,
}

impl Batch {
    pub(super) fn new(inspection_id: &str, conclusion: &Conclusion, now: DateTime<Utc>) -> Self {
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
                ("opened_on", json(&memory.opened_on)),
            ],
            bookings: conclusion.bookings.iter().map(BookingRow::new).collect(),
            orders: conclusion.orders.clone(),
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
        Ok(Memory {
            ledger_id,
            judge: self.series().await?,
            versions: self.part("version").await?.into_iter().collect(),
            changes: self.part("change").await?.into_iter().map(|(_, change)| change).collect(),
            incidents: self.part("incident").await?.into_iter().map(|(_, incident)| incident).collect(),
            bookings: bookings.into_iter().map(|booking| (booking.key.clone(), booking)).collect(),
            epochs: self.part("epoch").await?.into_iter().collect(),
            opened_on: self.part("opened_on").await?.into_iter().collect(),
        })
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
        self.end_transaction(result, "commit an inspection").await
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
        for booking in &batch.bookings {
            self.put_booking(booking, what).await?;
        }
        for order in &batch.orders {
            self.put_order(order, now).await?;
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

    async fn put_order(&mut self, order: &Order, now: i64) -> Result<(), StoreError> {
        let what = "write an order";
        sqlx::query(
            "INSERT INTO orders (op_key, booking_key, op_seq, channel, operation, body, created_ms, not_before_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        )
        .bind(&order.op_key)
        .bind(&order.booking_key)
        .bind(order.op_seq)
        .bind(&order.channel)
        .bind(order.operation.name())
        .bind(&order.body)
        .bind(ms(order.created_at))
        .execute(&mut self.connection)
        .await
        .map_err(|error| self.error(what, error))?;
        if order.operation == Operation::Update {
            // Only the newest update says anything; what was tried may have arrived and stays.
            sqlx::query(
                "UPDATE orders SET state = 'dead', detail = 'superseded', settled_ms = ?4
                 WHERE booking_key = ?1 AND channel = ?2 AND op_seq < ?3
                   AND operation = 'update' AND state = 'pending' AND attempt = 0",
            )
            .bind(&order.booking_key)
            .bind(&order.channel)
            .bind(order.op_seq)
            .bind(now)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        }
        self.bury(&order.booking_key, now).await
    }

    /// What was never tried behind an `open` that is dead would speak of a booking that the vendor
    /// does not have.
    async fn bury(&mut self, booking_key: &str, now: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE orders SET state = 'dead', detail = 'the booking was refused on this channel', settled_ms = ?2
             WHERE booking_key = ?1 AND state = 'pending' AND attempt = 0 AND operation <> 'open'
               AND EXISTS (SELECT 1 FROM orders o WHERE o.booking_key = ?1 AND o.channel = orders.channel
                           AND o.operation = 'open' AND o.state = 'dead')",
        )
        .bind(booking_key)
        .bind(now)
        .execute(&mut self.connection)
        .await
        .map_err(|error| self.error("write an order", error))?;
        Ok(())
    }

    /// See [`super::Store::due_orders`].
    pub(super) async fn due_orders(&mut self, now: DateTime<Utc>) -> Result<Vec<Order>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM (
                 SELECT *, row_number() OVER
                     (PARTITION BY channel ORDER BY not_before_ms, created_ms, booking_key, op_seq) AS place
                 FROM orders head WHERE state IN ('pending', 'ambiguous') AND not_before_ms <= ?
                 AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.booking_key = head.booking_key
                     AND o.channel = head.channel AND o.op_seq < head.op_seq
                     AND o.state IN ('pending', 'inflight', 'ambiguous')))
             WHERE place <= 8 ORDER BY not_before_ms, created_ms, booking_key, op_seq",
        )
        .bind(ms(now))
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.error("read the orders", error))?;
        rows.iter().map(|row| self.order(row)).collect()
    }

    /// See [`super::Store::next_due`].
    pub(super) async fn next_due(&mut self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let next: Option<i64> = sqlx::query_scalar(
            "SELECT min(not_before_ms) FROM orders head
             WHERE state IN ('pending', 'ambiguous') AND not_before_ms > ?
             AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.booking_key = head.booking_key
                 AND o.channel = head.channel AND o.op_seq < head.op_seq
                 AND o.state IN ('pending', 'inflight', 'ambiguous'))",
        )
        .bind(ms(now))
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| self.error("read the orders", error))?;
        next.map(|next| self.time(next)).transpose()
    }

    /// See [`super::Store::begin`].
    pub(super) async fn begin(&mut self, op_key: &str, now: DateTime<Utc>) -> Result<u32, StoreError> {
        // All rows, so that the statement has run to its end, its commit, when this returns.
        let attempt: Vec<u32> = sqlx::query_scalar(
            "UPDATE orders SET state = 'inflight', attempt = attempt + 1, sent_ms = ?
             WHERE op_key = ? AND state IN ('pending', 'ambiguous') RETURNING attempt",
        )
        .bind(ms(now))
        .bind(op_key)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.error("begin an order", error))?;
        match attempt[..] {
            [attempt, ..] => Ok(attempt),
            [] => Err(self.wrong_state(op_key, "pending or ambiguous").await?),
        }
    }

    /// See [`super::Store::settle`].
    pub(super) async fn settle(
        &mut self,
        op_key: &str,
        settlement: &Settlement,
        booking: Option<&BookingRow>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.begin_transaction("settle an order").await?;
        let result = self.settle_rows(op_key, settlement, booking, ms(now)).await;
        self.end_transaction(result, "settle an order").await
    }

    async fn settle_rows(
        &mut self,
        op_key: &str,
        settlement: &Settlement,
        booking: Option<&BookingRow>,
        now: i64,
    ) -> Result<(), StoreError> {
        let what = "settle an order";
        let (remote_id, not_before, detail) = match settlement {
            Settlement::Done { remote_id } => (remote_id.as_deref(), None, None),
            Settlement::Retry { not_before, detail, .. } => (None, Some(ms(*not_before)), Some(detail)),
            Settlement::Dead { detail } => (None, None, Some(detail)),
        };
        // Once an attempt may have arrived, a later one that certainly did not makes it no more certain.
        let booking_key: Vec<String> = sqlx::query_scalar(
            "UPDATE orders SET state = CASE WHEN ?1 = 'pending' AND doubtful THEN 'ambiguous' ELSE ?1 END,
                 doubtful = doubtful OR ?1 = 'ambiguous', remote_id = ?2,
                 not_before_ms = coalesce(?3, not_before_ms), detail = ?4, settled_ms = ?5
             WHERE op_key = ?6 AND state = 'inflight' RETURNING booking_key",
        )
        .bind(settlement.state().name())
        .bind(remote_id.map(short))
        .bind(not_before)
        .bind(detail.map(|detail| short(detail)))
        .bind(now)
        .bind(op_key)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.error(what, error))?;
        let [booking_key] = &booking_key[..] else {
            return match self.wrong_state(op_key, "inflight").await? {
                // The answer to the first call was lost; what it wrote was not.
                StoreError::Order { found, .. } if found == settlement.state().name() => Ok(()),
                StoreError::Order { found, .. }
                    if found == "ambiguous" && settlement.state() == OrderState::Pending =>
                {
                    Ok(())
                }
                error => Err(error),
            };
        };
        if let Some(booking) = booking {
            self.put_booking(booking, what).await?;
        }
        self.bury(booking_key, now).await
    }

    async fn wrong_state(&mut self, op_key: &str, expected: &'static str) -> Result<StoreError, StoreError> {
        let found: Option<String> = sqlx::query_scalar("SELECT state FROM orders WHERE op_key = ?")
            .bind(op_key)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.error("read an order", error))?;
        let found = found.unwrap_or_else(|| "unknown".to_owned());
        Ok(StoreError::Order { op_key: op_key.to_owned(), found, expected })
    }

    /// See [`super::Store::order_counts`].
    pub(super) async fn order_counts(&mut self) -> Result<Vec<OrderCount>, StoreError> {
        let rows = sqlx::query("SELECT channel, state, count(*) AS count FROM orders GROUP BY channel, state")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("count the orders", error))?;
        let count = |row| {
            let count: i64 = self.get(row, "count")?;
            Ok(OrderCount { channel: self.get(row, "channel")?, state: self.state(row)?, count: count.unsigned_abs() })
        };
        let mut counts = rows.iter().map(count).collect::<Result<Vec<_>, StoreError>>()?;
        counts.sort();
        Ok(counts)
    }

    /// See [`super::Store::bookings`].
    pub(super) async fn bookings(&mut self) -> Result<Vec<Booking>, StoreError> {
        let rows = sqlx::query("SELECT json FROM bookings ORDER BY opened_ms DESC, key LIMIT 1000")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("read the bookings", error))?;
        self.parse_all(&rows, "a booking")
    }

    /// See [`super::Store::orders_of`].
    pub(super) async fn orders_of(&mut self, booking_key: &str) -> Result<Vec<OrderRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM orders WHERE booking_key = ? ORDER BY op_seq")
            .bind(booking_key)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("read the orders", error))?;
        let record = |row| {
            let time = |column| self.get::<Option<i64>>(row, column)?.map(|ms| self.time(ms)).transpose();
            Ok(OrderRecord {
                order: self.order(row)?,
                state: self.state(row)?,
                attempt: self.get(row, "attempt")?,
                not_before: self.time(self.get(row, "not_before_ms")?)?,
                sent_at: time("sent_ms")?,
                settled_at: time("settled_ms")?,
                remote_id: self.get(row, "remote_id")?,
                detail: self.get(row, "detail")?,
            })
        };
        rows.iter().map(record).collect()
    }

    /// See [`super::Store::prune`].
    pub(super) async fn prune(&mut self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let what = "delete what is old";
        let old = ms(now - TimeDelta::days(400));
        let mut deleted = 0;
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

    fn order(&self, row: &SqliteRow) -> Result<Order, StoreError> {
        let operation: String = self.get(row, "operation")?;
        let known = [Operation::Open, Operation::Update, Operation::Cancel];
        let operation = known
            .into_iter()
            .find(|known| known.name() == operation)
            .ok_or_else(|| self.unreadable("an order", format!("unknown operation {operation:?}")))?;
        Ok(Order {
            op_key: self.get(row, "op_key")?,
            booking_key: self.get(row, "booking_key")?,
            op_seq: self.get(row, "op_seq")?,
            channel: self.get(row, "channel")?,
            operation,
            created_at: self.time(self.get(row, "created_ms")?)?,
            body: self.get(row, "body")?,
        })
    }

    fn state(&self, row: &SqliteRow) -> Result<OrderState, StoreError> {
        let state: String = self.get(row, "state")?;
        let known = OrderState::ALL.into_iter().find(|known| known.name() == state);
        known.ok_or_else(|| self.unreadable("an order", format!("unknown state {state:?}")))
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
            Some(Code::Constraint) => StoreError::Refused { what, source: error.into() },
            _ => StoreError::Database { path: self.path.clone(), what, source: error.into() },
        }
    }
}

/// The kinds of SQLite error that are told apart.
enum Code {
    Full,
    Damaged,
    Constraint,
}

/// Sorts an error by the low byte of its extended result code (<https://sqlite.org/rescode.html>).
fn code(error: &sqlx::Error) -> Option<Code> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    match code & 0xff {
        13 => Some(Code::Full),
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

/// The start of a line, cut between characters.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(DETAIL_BYTES)]
}

/// Our own types have string keys and no failing fields.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types become JSON")
}

#[cfg(test)]
mod tests;
