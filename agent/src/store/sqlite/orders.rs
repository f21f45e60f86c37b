//! The statements that move an order from state to state.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::{BookingRow, Sqlite, ms};
use crate::{
    booking::{Operation, Order, life::Entry, outbox::Past},
    channel::Link,
    store::{Due, OrderCount, OrderRecord, OrderState, Settlement, StoreError},
};

/// How much of a line for people is kept.
const DETAIL_BYTES: usize = 500;

impl Sqlite {
    pub(super) async fn put_order(&mut self, order: &Order, now: i64) -> Result<(), StoreError> {
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

    /// See [`crate::store::Store::due_orders`].
    pub(in crate::store) async fn due_orders(&mut self, now: DateTime<Utc>) -> Result<Vec<Due>, StoreError> {
        let rows = sqlx::query(
            // Bodies are large: only those are read that go out.
            "SELECT orders.*, (SELECT o.remote_id FROM orders o WHERE o.booking_key = orders.booking_key
                 AND o.channel = orders.channel AND o.state = 'done' AND o.remote_id IS NOT NULL
                 ORDER BY o.op_seq DESC LIMIT 1) AS known_as
             FROM orders JOIN (
                 SELECT op_key AS first, row_number() OVER
                     (PARTITION BY channel ORDER BY not_before_ms, created_ms, booking_key, op_seq) AS place
                 FROM orders head WHERE state IN ('pending', 'ambiguous') AND not_before_ms <= ?
                 AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.booking_key = head.booking_key
                     AND o.channel = head.channel AND o.op_seq < head.op_seq
                     AND o.state IN ('pending', 'inflight', 'ambiguous'))) ON op_key = first
             WHERE place <= 8 ORDER BY not_before_ms, created_ms, booking_key, op_seq",
        )
        .bind(ms(now))
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.error("read the orders", error))?;
        let due = |row| {
            let sent_at = self.get::<Option<i64>>(row, "sent_ms")?.map(|ms| self.time(ms)).transpose()?;
            let (is_doubtful, misses) = (self.get(row, "doubtful")?, self.get(row, "misses")?);
            let past = Past { sent_at, is_doubtful, misses, link: Link { remote_id: self.get(row, "known_as")? } };
            Ok(Due { order: self.order(row)?, past })
        };
        rows.iter().map(due).collect()
    }

    /// See [`crate::store::Store::next_due`].
    pub(in crate::store) async fn next_due(&mut self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
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

    /// See [`crate::store::Store::begin`].
    pub(in crate::store) async fn begin(
        &mut self,
        op_key: &str,
        sends: bool,
        now: DateTime<Utc>,
    ) -> Result<u32, StoreError> {
        // All rows, so that the statement has run to its end, its commit, when this returns.
        let attempt: Vec<u32> = sqlx::query_scalar(
            "UPDATE orders SET state = 'inflight', attempt = attempt + 1,
                 sent_ms = CASE WHEN ?1 THEN ?2 ELSE coalesce(sent_ms, ?2) END,
                 misses = CASE WHEN ?1 THEN 0 ELSE misses END
             WHERE op_key = ?3 AND state IN ('pending', 'ambiguous') RETURNING attempt",
        )
        .bind(sends)
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

    /// See [`crate::store::Store::adopt`].
    pub(in crate::store) async fn adopt(
        &mut self,
        rows: &[(BookingRow, u32, String, Option<String>)],
        entries: &[Entry],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let what = "adopt bookings";
        self.begin_transaction(what).await?;
        let mut result = Ok(());
        for row in rows {
            result = match result {
                Ok(()) => self.adopt_row(row, ms(now)).await,
                failed => failed,
            };
        }
        for entry in entries {
            result = match result {
                Ok(()) => self.put_entry(entry).await,
                failed => failed,
            };
        }
        self.end_transaction(result, what).await
    }

    async fn adopt_row(
        &mut self,
        (booking, op_seq, channel, remote_id): &(BookingRow, u32, String, Option<String>),
        now: i64,
    ) -> Result<(), StoreError> {
        let what = "adopt bookings";
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM bookings WHERE key = ?")
            .bind(&booking.key)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        if known.is_some() {
            return Ok(());
        }
        self.put_booking(booking, what).await?;
        sqlx::query(
            "INSERT INTO orders (op_key, booking_key, op_seq, channel, operation, body, created_ms, state, attempt,
                 not_before_ms, settled_ms, remote_id, detail)
             VALUES (?1 || '.' || ?2, ?1, ?2, ?3, 'open', '', ?4, 'done', 0, ?4, ?4, ?5, 'sent by an earlier ledger')",
        )
        .bind(&booking.key)
        .bind(*op_seq)
        .bind(channel)
        .bind(now)
        .bind(remote_id)
        .execute(&mut self.connection)
        .await
        .map_err(|error| self.error(what, error))?;
        Ok(())
    }

    /// See [`crate::store::Store::links`].
    pub(in crate::store) async fn links(&mut self, channel: &str) -> Result<Vec<(String, Link)>, StoreError> {
        let rows = sqlx::query(
            "SELECT b.key AS booking_key, (SELECT o.remote_id FROM orders o WHERE o.booking_key = b.key
                 AND o.channel = ?1 AND o.state = 'done' AND o.remote_id IS NOT NULL
                 ORDER BY o.op_seq DESC LIMIT 1) AS known_as
             FROM bookings b WHERE ended = 0
             AND EXISTS (SELECT 1 FROM orders o WHERE o.booking_key = b.key AND o.channel = ?1
                 AND o.operation = 'open' AND o.state = 'done')
             AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.booking_key = b.key AND o.channel = ?1
                 AND o.state IN ('pending', 'inflight', 'ambiguous'))
             ORDER BY b.key",
        )
        .bind(channel)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.error("read the orders", error))?;
        let link = |row| Ok((self.get(row, "booking_key")?, Link { remote_id: self.get(row, "known_as")? }));
        rows.iter().map(link).collect()
    }

    /// See [`crate::store::Store::put_off`].
    pub(in crate::store) async fn put_off(&mut self, op_key: &str, until: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE orders SET not_before_ms = ? WHERE op_key = ? AND state IN ('pending', 'ambiguous')")
            .bind(ms(until))
            .bind(op_key)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error("put off an order", error))?;
        Ok(())
    }

    /// See [`crate::store::Store::settle`].
    pub(in crate::store) async fn settle(
        &mut self,
        op_key: &str,
        settlement: &Settlement,
        changed: Option<&(BookingRow, Entry)>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.begin_transaction("settle an order").await?;
        let result = self.settle_rows(op_key, settlement, changed, ms(now)).await;
        self.end_transaction(result, "settle an order").await
    }

    async fn settle_rows(
        &mut self,
        op_key: &str,
        settlement: &Settlement,
        changed: Option<&(BookingRow, Entry)>,
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
                 doubtful = doubtful OR ?1 = 'ambiguous', misses = misses + ?7, remote_id = ?2,
                 not_before_ms = coalesce(?3, not_before_ms), detail = ?4, settled_ms = ?5
             WHERE op_key = ?6 AND state = 'inflight' RETURNING booking_key",
        )
        .bind(settlement.state().name())
        .bind(remote_id.map(short))
        .bind(not_before)
        .bind(detail.map(|detail| short(detail)))
        .bind(now)
        .bind(op_key)
        .bind(matches!(settlement, Settlement::Retry { missed: true, .. }))
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
        if let Some((booking, entry)) = changed {
            self.put_booking(booking, what).await?;
            self.put_entry(entry).await?;
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

    /// See [`crate::store::Store::order_counts`].
    pub(in crate::store) async fn order_counts(&mut self) -> Result<Vec<OrderCount>, StoreError> {
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

    /// See [`crate::store::Store::oldest_order`].
    pub(in crate::store) async fn oldest_order(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let oldest: Option<i64> = sqlx::query_scalar(
            "SELECT min(created_ms) FROM orders WHERE state IN ('pending', 'inflight', 'ambiguous')",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| self.error("read the orders", error))?;
        oldest.map(|oldest| self.time(oldest)).transpose()
    }

    /// See [`crate::store::Store::orders_of`].
    pub(in crate::store) async fn orders_of(&mut self, booking_key: &str) -> Result<Vec<OrderRecord>, StoreError> {
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
}

/// The start of a line, cut between characters.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(DETAIL_BYTES)]
}
