//! The audit trail: what happened to bookings, each entry chained to the one before by a hash.
//!
//! `hash = SHA-256(hash before | seq | time | key | entry)`, lengths before the texts, numbers big-endian. What was
//! pruned leaves its last hash as the anchor, so that the rest can still be verified.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{BITE, Sqlite, json, ms};
use crate::{
    booking::life::Entry,
    store::{AuditTrail, Broken, StoreError},
};

/// The hash before the first entry of all.
const GENESIS: [u8; 32] = [0; 32];

fn chained(before: &[u8], seq: i64, at_ms: i64, key: &str, entry: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(seq.to_be_bytes());
    hash.update(at_ms.to_be_bytes());
    for text in [key, entry] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

impl Sqlite {
    /// Number and hash of the newest entry, or of the newest that was pruned.
    async fn newest_entry(&mut self) -> Result<(i64, Vec<u8>), StoreError> {
        let newest: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT seq, hash FROM (SELECT seq, hash FROM audit UNION ALL SELECT seq, hash FROM audit_anchor)
             ORDER BY seq DESC LIMIT 1",
        )
        .fetch_optional(&mut self.connection)
        .await
        .map_err(|error| self.error("read the audit trail", error))?;
        Ok(newest.unwrap_or((0, GENESIS.to_vec())))
    }

    pub(super) async fn put_entry(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let (last, before) = self.newest_entry().await?;
        let (seq, at_ms, text) = (last + 1, ms(entry.at), json(entry));
        let hash = chained(&before, seq, at_ms, &entry.booking, &text);
        sqlx::query("INSERT INTO audit (seq, at_ms, booking_key, entry, hash) VALUES (?, ?, ?, ?, ?)")
            .bind(seq)
            .bind(at_ms)
            .bind(&entry.booking)
            .bind(&text)
            .bind(&hash[..])
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error("write the audit trail", error))?;
        Ok(())
    }

    /// See [`crate::store::Store::audit`].
    pub(in crate::store) async fn audit(&mut self, booking_key: Option<&str>) -> Result<AuditTrail, StoreError> {
        let what = "read the audit trail";
        let anchor: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT seq, hash FROM audit_anchor")
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        let (mut seq, mut before) = anchor.unwrap_or((0, GENESIS.to_vec()));
        let rows: Vec<(i64, i64, String, String, Vec<u8>)> =
            sqlx::query_as("SELECT seq, at_ms, booking_key, entry, hash FROM audit ORDER BY seq")
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
        let mut trail = AuditTrail::default();
        for (number, at_ms, key, text, hash) in rows {
            seq += 1;
            if trail.broken.is_none() && (number != seq || chained(&before, number, at_ms, &key, &text)[..] != hash[..])
            {
                trail.broken = Some(Broken { seq: number });
            }
            (seq, before) = (number, hash);
            if booking_key.is_none_or(|wanted| wanted == key) {
                let entry = serde_json::from_str(&text).map_err(|error| self.unreadable("the audit trail", error))?;
                trail.entries.push(entry);
            }
        }
        Ok(trail)
    }

    /// Deletes the oldest entries, a few at a time, and keeps the last hash of them.
    pub(super) async fn prune_audit(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let what = "delete what is old";
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(seq) FROM (SELECT seq, at_ms FROM audit ORDER BY seq LIMIT ?1) WHERE at_ms < ?2",
        )
        .bind(BITE)
        .bind(ms(before))
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| self.error(what, error))?;
        let Some(last) = last else { return Ok(0) };
        self.begin_transaction(what).await?;
        let result = self.cut_audit(last).await;
        self.end_transaction(result, what).await
    }

    async fn cut_audit(&mut self, last: i64) -> Result<u64, StoreError> {
        let what = "delete what is old";
        sqlx::query(
            "INSERT INTO audit_anchor (id, seq, hash) SELECT 1, seq, hash FROM audit WHERE seq = ?
             ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        )
        .bind(last)
        .execute(&mut self.connection)
        .await
        .map_err(|error| self.error(what, error))?;
        let deleted = sqlx::query("DELETE FROM audit WHERE seq <= ?")
            .bind(last)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        Ok(deleted.rows_affected())
    }
}
