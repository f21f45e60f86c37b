//! The statements that turn days that are over into half-hours, forget what is old, and take in what another
//! ledger has recorded.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};

use super::{
    BITE, Sqlite,
    history::{ROWS, span},
    ms,
};
use crate::{
    history::{
        BLOCK_MS, DAY_MS, KEPT_DAYS, RAW_DAYS, day_of,
        fold::{self, Block, Day, Manner, Sum},
        line::Entry,
    },
    store::{Imported, StoreError},
};

/// Series that are folded at once: their samples of a day are held in memory.
const AT_ONCE: usize = 8;
/// How long after its end a day is folded, in milliseconds: a long run may still come.
const GRACE: i64 = 3_600_000;

impl Sqlite {
    /// Folds some series of the oldest day that is over and not yet folded. Returns how many.
    pub(super) async fn fold(&mut self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let what = "fold a day";
        let open: Option<(i64, i64)> =
            sqlx::query_as("SELECT day, folded_to FROM days WHERE state = 'open' AND day < ? ORDER BY day LIMIT 1")
                .bind(day_of(ms(now).saturating_sub(GRACE)))
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
        let Some((day, folded_to)) = open else { return Ok(0) };
        let (samples, more) = self.samples(day, folded_to).await?;
        let names = self.names().await?;
        let last = samples.keys().next_back().copied().unwrap_or(folded_to);
        let mut rows = Vec::with_capacity(samples.len());
        for (number, samples) in &samples {
            let manner = Manner::of(&*self.name(&names, *number)?);
            rows.extend(fold::fold(day, manner, samples).map(|day| (*number, fold::pack(&day))));
        }
        self.begin_transaction(what).await?;
        let result = self.write_folds(day, &rows, (last, !more)).await;
        self.end_transaction(result, what).await?;
        Ok(samples.len().max(1) as u64)
    }

    /// A day's samples of the next few series after one, and whether there are more.
    async fn samples(&mut self, day: i64, after: i64) -> Result<(BTreeMap<i64, Vec<(i64, f64)>>, bool), StoreError> {
        let (from, to) = span(day);
        let (mut samples, mut more) = (BTreeMap::<i64, Vec<(i64, f64)>>::new(), false);
        let mut place = (from, 0);
        loop {
            let rows = self.runs(place, to, ROWS).await?;
            let Some(last) = rows.last() else { return Ok((samples, more)) };
            place = (self.get(last, "first_ms")?, self.get(last, "id")?);
            for row in &rows {
                for (number, sample) in self.unpack(row)? {
                    // Once a series was too many, a smaller number can still push it out, never a larger one in.
                    let full = samples.len() >= AT_ONCE && !samples.contains_key(&number);
                    if number <= after || full && samples.keys().next_back().is_some_and(|last| number > *last) {
                        more |= number > after;
                        continue;
                    }
                    if full {
                        samples.pop_last();
                        more = true;
                    }
                    samples.entry(number).or_default().extend(sample.judged().map(|value| (sample.at, value)));
                }
            }
        }
    }

    async fn write_folds(
        &mut self,
        day: i64,
        rows: &[(i64, Vec<u8>)],
        (last, done): (i64, bool),
    ) -> Result<(), StoreError> {
        for (series, body) in rows {
            self.put_fold(day, *series, body).await?;
        }
        sqlx::query("UPDATE days SET folded_to = ?, state = iif(?, 'folded', 'open') WHERE day = ?")
            .bind(if done { 0 } else { last })
            .bind(done)
            .bind(day)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error("fold a day", error))?;
        Ok(())
    }

    async fn put_fold(&mut self, day: i64, series: i64, body: &[u8]) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO folds (day, series, body) VALUES (?, ?, ?)
             ON CONFLICT (day, series) DO UPDATE SET body = excluded.body",
        )
        .bind(day)
        .bind(series)
        .bind(body)
        .execute(&mut self.connection)
        .await
        .map_err(|error| self.error("write half-hours", error))?;
        Ok(())
    }

    /// Forgets a few rows of what is old. Returns how many.
    pub(super) async fn prune_history(&mut self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let what = "delete what is old";
        let today = day_of(ms(now));
        let old = today.saturating_sub(KEPT_DAYS);
        let mut deleted = 0;
        // First the mark, so that half a day is never taken for a whole one.
        for (sql, bound) in [
            (
                "UPDATE days SET state = 'packed' WHERE day IN
                 (SELECT day FROM days WHERE state = 'folded' AND day < ? ORDER BY day LIMIT ?)",
                today.saturating_sub(RAW_DAYS),
            ),
            ("DELETE FROM folds WHERE (day, series) IN (SELECT day, series FROM folds WHERE day < ? LIMIT ?)", old),
            (
                "DELETE FROM days WHERE day IN (SELECT day FROM days WHERE day < ? AND state = 'packed'
                 AND NOT EXISTS (SELECT 1 FROM folds WHERE folds.day = days.day) LIMIT ?)",
                old,
            ),
            (
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at_ms < ? LIMIT ?)",
                old.saturating_mul(DAY_MS),
            ),
        ] {
            let result = sqlx::query(sql)
                .bind(bound)
                .bind(BITE)
                .execute(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
            deleted += result.rows_affected();
        }
        let oldest: Option<i64> = sqlx::query_scalar("SELECT min(first_ms) FROM runs")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        let Some(day) = oldest.map(day_of) else { return Ok(deleted) };
        if self.day_state(day).await?.as_deref() == Some("packed") {
            let (from, to) = span(day);
            let result = sqlx::query(
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE first_ms >= ? AND first_ms < ? LIMIT ?)",
            )
            .bind(from)
            .bind(to)
            .bind(BITE)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
            deleted += result.rows_affected();
        }
        Ok(deleted)
    }

    /// See [`crate::store::Store::import`].
    pub(in crate::store) async fn import(&mut self, day: i64, entries: &[Entry]) -> Result<Imported, StoreError> {
        let what = "import a day";
        self.begin_transaction(what).await?;
        let result = self.import_now(day, entries).await;
        let result = self.end_transaction(result, what).await;
        if result.is_err() {
            self.series.clear();
        }
        result
    }

    async fn import_now(&mut self, day: i64, entries: &[Entry]) -> Result<Imported, StoreError> {
        let state = self.day_state(day).await?;
        let packed = state.as_deref() == Some("packed");
        let mut imported = Imported::default();
        let mut known = if packed { HashSet::new() } else { self.known(day).await? };
        let (mut samples, mut folds) = (Vec::new(), BTreeMap::<i64, (Vec<(u8, Block)>, Option<Sum>)>::new());
        for entry in entries {
            match entry {
                Entry::Event(event) if day_of(event.at) == day => {
                    let new = self.put_event(event).await?;
                    *(if new { &mut imported.new } else { &mut imported.known }) += 1;
                }
                Entry::Sample(series, sample) if day_of(sample.at) == day => {
                    let number = self.number_of(series).await?;
                    if packed || !known.insert((number, sample.at)) {
                        imported.known += 1;
                    } else {
                        samples.push((number, *sample));
                        imported.new += 1;
                    }
                }
                Entry::Block(series, at, block) if day_of(*at) == day => {
                    let place = (at.rem_euclid(DAY_MS) / BLOCK_MS) as u8;
                    folds.entry(self.number_of(series).await?).or_default().0.push((place, *block));
                }
                Entry::Sum(series, at, sum) if day_of(*at) == day => {
                    folds.entry(self.number_of(series).await?).or_default().1 = Some(*sum);
                }
                _ => {}
            }
        }
        samples.sort_by_key(|(_, sample)| sample.at);
        for run in samples.chunk_by_mut(|(_, a), (_, b)| a.at == b.at) {
            self.put_run(run).await?;
        }
        // Half-hours of a day whose samples are here would only be worse.
        let wanted = packed || state.is_none() && samples.is_empty();
        for (series, (blocks, sum)) in folds {
            let count = blocks.len() as u64 + u64::from(sum.is_some());
            if wanted && !self.is_folded(day, series).await? {
                self.put_fold(day, series, &fold::pack(&whole(blocks, sum))).await?;
                imported.new += count;
            } else {
                imported.known += count;
            }
        }
        if wanted {
            sqlx::query(
                "INSERT INTO days (day, state) SELECT ?1, 'packed' WHERE EXISTS (SELECT 1 FROM folds WHERE day = ?1)
                 ON CONFLICT DO NOTHING",
            )
            .bind(day)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error("import a day", error))?;
        }
        Ok(imported)
    }

    /// The samples of a day, by series and time.
    async fn known(&mut self, day: i64) -> Result<HashSet<(i64, i64)>, StoreError> {
        let (from, to) = span(day);
        let (mut known, mut place) = (HashSet::new(), (from, 0));
        loop {
            let rows = self.runs(place, to, ROWS).await?;
            let Some(last) = rows.last() else { return Ok(known) };
            place = (self.get(last, "first_ms")?, self.get(last, "id")?);
            for row in &rows {
                known.extend(self.unpack(row)?.into_iter().map(|(number, sample)| (number, sample.at)));
            }
        }
    }

    async fn is_folded(&mut self, day: i64, series: i64) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM folds WHERE day = ? AND series = ?)")
            .bind(day)
            .bind(series)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.error("import a day", error))
    }
}

/// A day of half-hours in any order, of which the first of several counts. Without its sum, the sum is that of
/// its half-hours.
fn whole(mut blocks: Vec<(u8, Block)>, sum: Option<Sum>) -> Day {
    blocks.sort_by_key(|(place, _)| *place);
    blocks.dedup_by_key(|(place, _)| *place);
    let sum = sum.or_else(|| {
        let values: Vec<(i64, f64)> =
            blocks.iter().map(|(place, block)| (i64::from(*place) * BLOCK_MS, f64::from(block.value))).collect();
        let n = blocks.iter().fold(0_u32, |n, (_, block)| n.saturating_add(block.n));
        fold::fold(0, Manner::Median, &values).map(|day| Sum { n, ..day.sum })
    });
    Day { blocks, sum: sum.unwrap_or_default() }
}
