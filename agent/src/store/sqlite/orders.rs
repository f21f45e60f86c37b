//! The statements that move an order from state to state.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::{BookingRow, Sqlite, ms};
use crate::{
    booking::{Operation, Order},
    store::{OrderCount, OrderRecord, OrderState, Settlement, StoreError},
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
    pub(in crate::store) async fn due_orders(&mut self, now: DateTime<Utc>) -> Result<Vec<Order>, StoreError> {
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
    pub(in crate::store) async fn begin(&mut self, op_key: &str, now: DateTime<Utc>) -> Result<u32, StoreError> {
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

    /// See [`crate::store::Store::settle`].
    pub(in crate::store) async fn settle(
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
