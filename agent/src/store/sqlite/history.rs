//! The statements that record, and read what was recorded.

use std::{collections::HashMap, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use super::{Sqlite, json, ms};
use crate::{
    booking::VersionChange,
    history::{DAY_MS, Event, Sample, Series, What, day_of, fold, line::Entry, pack, samples_of},
    store::{JudgeSnapshot, Page, Position, Record, Since, StoreError},
};

/// Rows of `runs` that are read at once.
pub(super) const ROWS: i64 = 64;
/// Series whose numbers are remembered, at most.
const MOST_SERIES: usize = 4096;

/// A record as its rows, so that the writer needs nothing of the caller's.
pub(super) struct Recording {
    runs: Vec<Vec<(Series, Sample)>>,
    events: Vec<Event>,
    judge: Option<JudgeSnapshot>,
}

impl Recording {
    pub(super) fn new(record: Record<'_>, changes: &[VersionChange], now: DateTime<Utc>) -> Self {
        let changes = changes.iter().map(|change| Event {
            at: ms(change.at),
            what: What::VersionChange {
                component: change.component.clone(),
                from: change.old.clone(),
                to: change.new.clone(),
            },
        });
        let at = ms(now);
        let lessons = record.lessons.iter();
        let lessons = lessons.map(|(start, end)| Event { at, what: What::Lesson { start: ms(*start), end: ms(*end) } });
        let maintenance = record.maintenance.iter().map(|(action, booking)| Event {
            at,
            what: What::Maintenance { action: (*action).to_owned(), booking: (*booking).to_owned() },
        });
        Self {
            runs: record.runs.iter().map(samples_of).collect(),
            events: changes.chain(lessons).chain(maintenance).collect(),
            judge: record.judge.cloned(),
        }
    }
}

/// An event as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum StoredEvent {
    VersionChange { component: String, from: String, to: String },
    Lesson { start: i64, end: i64 },
    Maintenance { action: String, booking: String },
}

impl From<&What> for StoredEvent {
    fn from(what: &What) -> Self {
        match what.clone() {
            What::VersionChange { component, from, to } => Self::VersionChange { component, from, to },
            What::Lesson { start, end } => Self::Lesson { start, end },
            What::Maintenance { action, booking } => Self::Maintenance { action, booking },
        }
    }
}

impl From<StoredEvent> for What {
    fn from(stored: StoredEvent) -> Self {
        match stored {
            StoredEvent::VersionChange { component, from, to } => Self::VersionChange { component, from, to },
            StoredEvent::Lesson { start, end } => Self::Lesson { start, end },
            StoredEvent::Maintenance { action, booking } => Self::Maintenance { action, booking },
        }
    }
}

impl Sqlite {
    /// Writes a record, as part of a transaction.
    pub(super) async fn record(&mut self, recording: &Recording) -> Result<(), StoreError> {
        for run in &recording.runs {
            let mut numbered = Vec::with_capacity(run.len());
            for (series, sample) in run {
                numbered.push((self.number_of(series).await?, *sample));
            }
            self.put_run(&mut numbered).await?;
        }
        for event in &recording.events {
            self.put_event(event).await?;
        }
        if let Some(judge) = &recording.judge {
            self.put_judge(judge).await?;
        }
        Ok(())
    }

    /// The number of a series, which is given when it is first seen.
    pub(super) async fn number_of(&mut self, series: &Series) -> Result<i64, StoreError> {
        let what = "write a series";
        let labels = json(&series.labels);
        let key = format!("{} {labels}", series.metric);
        if let Some(number) = self.series.get(&key) {
            return Ok(*number);
        }
        let known: Option<i64> = sqlx::query_scalar("SELECT id FROM series WHERE metric = ? AND labels = ?")
            .bind(&series.metric)
            .bind(&labels)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        let number = match known {
            Some(number) => number,
            None => sqlx::query_scalar("INSERT INTO series (metric, labels) VALUES (?, ?) RETURNING id")
                .bind(&series.metric)
                .bind(&labels)
                .fetch_one(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?,
        };
        if self.series.len() >= MOST_SERIES {
            self.series.clear();
        }
        self.series.insert(key, number);
        Ok(number)
    }

    /// Writes what a run measured: a row, and one more for each midnight that it saw.
    pub(super) async fn put_run(&mut self, samples: &mut [(i64, Sample)]) -> Result<(), StoreError> {
        let what = "write what was measured";
        samples.sort_by_key(|(_, sample)| day_of(sample.at));
        for part in samples.chunk_by(|(_, a), (_, b)| day_of(a.at) == day_of(b.at)) {
            let Some(first) = part.iter().map(|(_, sample)| sample.at).min() else { continue };
            // Half-hours that were complete before are not any more.
            sqlx::query(
                "INSERT INTO days (day, state) VALUES (?, 'open') ON CONFLICT (day) DO UPDATE
                 SET state = 'open', folded_to = 0 WHERE state = 'folded' OR state = 'open' AND folded_to > 0",
            )
            .bind(day_of(first))
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
            sqlx::query("INSERT INTO runs (first_ms, body) VALUES (?, ?)")
                .bind(first)
                .bind(pack::pack(first, part))
                .execute(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
        }
        Ok(())
    }

    /// Writes an event, once. Returns whether it is new.
    pub(super) async fn put_event(&mut self, event: &Event) -> Result<bool, StoreError> {
        let stored = json(&StoredEvent::from(&event.what));
        // A lesson is the same whenever it became known.
        let key = match event.what {
            What::Lesson { .. } => stored.clone(),
            _ => format!("{} {stored}", event.at),
        };
        let result = sqlx::query("INSERT INTO events (at_ms, key, json) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(event.at)
            .bind(key)
            .bind(stored)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error("write an event", error))?;
        Ok(result.rows_affected() > 0)
    }

    async fn put_judge(&mut self, judge: &JudgeSnapshot) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO judge (id, format, at_ms, bytes, seen_run, seen_event) VALUES (1, ?, ?, ?,
                 (SELECT coalesce(max(id), 0) FROM runs), (SELECT coalesce(max(id), 0) FROM events))
             ON CONFLICT (id) DO UPDATE SET format = excluded.format, at_ms = excluded.at_ms,
                 bytes = excluded.bytes, seen_run = excluded.seen_run, seen_event = excluded.seen_event",
        )
        .bind(judge.format)
        .bind(ms(judge.at))
        .bind(&judge.bytes)
        .execute(&mut self.connection)
        .await
        .map_err(|error| self.error("write the judge's state", error))?;
        Ok(())
    }

    /// See [`crate::store::Store::judge_snapshot`].
    pub(in crate::store) async fn judge_snapshot(&mut self) -> Result<Option<JudgeSnapshot>, StoreError> {
        let row = sqlx::query("SELECT format, at_ms, bytes FROM judge")
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.error("read the judge's state", error))?;
        let Some(row) = row else { return Ok(None) };
        let at = self.time(self.get(&row, "at_ms")?)?;
        Ok(Some(JudgeSnapshot { format: self.get(&row, "format")?, at, bytes: self.get(&row, "bytes")? }))
    }

    /// See [`crate::store::Store::forget_judge`].
    pub(in crate::store) async fn forget_judge(&mut self) -> Result<(), StoreError> {
        self.execute("DELETE FROM judge", "forget the judge's state").await
    }

    /// See [`crate::store::Store::samples_since`].
    pub(in crate::store) async fn samples_since(&mut self, since: Since) -> Result<Page, StoreError> {
        let what = "read what was measured";
        let (after, instant) = match since {
            Since::After(Position(after)) => (after, i64::MIN),
            Since::Instant(instant) => (self.before(ms(instant)).await?, ms(instant)),
            Since::Snapshot => (self.seen("SELECT seen_run FROM judge").await?, i64::MIN),
        };
        let events = match since {
            Since::After(_) => Vec::new(),
            Since::Instant(instant) => self.events(0, (ms(instant), i64::MAX)).await?,
            Since::Snapshot => {
                let seen = self.seen("SELECT seen_event FROM judge").await?;
                self.events(seen, (i64::MIN, i64::MAX)).await?
            }
        };
        let rows = sqlx::query("SELECT id, first_ms, body FROM runs WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(ROWS)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        let last = match rows.last() {
            Some(last) if rows.len() as i64 == ROWS => Some(Position(self.get(last, "id")?)),
            _ => None,
        };
        let names = self.names().await?;
        let mut samples = Vec::new();
        for row in &rows {
            let run = self.unpack(row)?;
            for (number, sample) in run.into_iter().filter(|(_, sample)| sample.at >= instant) {
                samples.push((self.name(&names, number)?, sample));
            }
        }
        Ok(Page { samples, events, next: last })
    }

    /// The last row before the first that can hold something of `instant` or later.
    async fn before(&mut self, instant: i64) -> Result<i64, StoreError> {
        // A row lies within one day, and so begins no earlier than the day of its last sample.
        sqlx::query_scalar("SELECT coalesce((SELECT min(id) FROM runs WHERE first_ms >= ?) - 1, max(id), 0) FROM runs")
            .bind(day_of(instant).saturating_mul(DAY_MS))
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.error("read what was measured", error))
    }

    async fn seen(&mut self, sql: &'static str) -> Result<i64, StoreError> {
        let seen: Option<i64> = sqlx::query_scalar(sql)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.error("read the judge's state", error))?;
        Ok(seen.unwrap_or(0))
    }

    async fn events(&mut self, after: i64, (from, to): (i64, i64)) -> Result<Vec<Event>, StoreError> {
        let rows =
            sqlx::query("SELECT at_ms, json FROM events WHERE id > ? AND at_ms >= ? AND at_ms < ? ORDER BY at_ms, id")
                .bind(after)
                .bind(from)
                .bind(to)
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| self.error("read the events", error))?;
        let event =
            |row| Ok(Event { at: self.get(row, "at_ms")?, what: self.parse::<StoredEvent>(row, "an event")?.into() });
        rows.iter().map(event).collect()
    }

    /// All series, by their numbers.
    pub(super) async fn names(&mut self) -> Result<HashMap<i64, Arc<Series>>, StoreError> {
        let rows = sqlx::query("SELECT id, metric, labels AS json FROM series")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("read the series", error))?;
        let name = |row| {
            let series = Series { metric: self.get(row, "metric")?, labels: self.parse(row, "a series")? };
            Ok((self.get(row, "id")?, Arc::new(series)))
        };
        rows.iter().map(name).collect()
    }

    pub(super) fn name(&self, names: &HashMap<i64, Arc<Series>>, number: i64) -> Result<Arc<Series>, StoreError> {
        let name = names.get(&number).cloned();
        name.ok_or_else(|| self.unreadable("a run", format!("it names series {number}, which is not known")))
    }

    /// What a row of `runs` holds.
    pub(super) fn unpack(&self, row: &SqliteRow) -> Result<Vec<(i64, Sample)>, StoreError> {
        let body: &[u8] = self.get(row, "body")?;
        pack::unpack(self.get(row, "first_ms")?, body).map_err(|error| self.unreadable("a run", error))
    }

    /// See [`crate::store::Store::recorded_days`].
    pub(in crate::store) async fn recorded_days(&mut self) -> Result<Vec<i64>, StoreError> {
        let what = "read which days were recorded";
        let mut days: Vec<i64> = sqlx::query_scalar("SELECT day FROM days")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        let events: Vec<i64> = sqlx::query_scalar("SELECT at_ms FROM events")
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        days.extend(events.into_iter().map(day_of));
        days.sort_unstable();
        days.dedup();
        Ok(days)
    }

    /// See [`crate::store::Store::recorded`].
    pub(in crate::store) async fn recorded(&mut self, day: i64) -> Result<Vec<Entry>, StoreError> {
        let what = "read what was recorded";
        // One view of all: the daemon may pack the day meanwhile.
        self.execute("BEGIN", what).await?;
        let result = self.recorded_now(day).await;
        self.end_transaction(result, what).await
    }

    async fn recorded_now(&mut self, day: i64) -> Result<Vec<Entry>, StoreError> {
        let (from, to) = span(day);
        let names = self.names().await?;
        let events = self.events(0, (from, to)).await?;
        let mut entries: Vec<Entry> = events.into_iter().map(Entry::Event).collect();
        if self.day_state(day).await?.as_deref() == Some("packed") {
            for (number, folded) in self.folds(day).await? {
                let name = self.name(&names, number)?;
                let at = |place: u8| from + i64::from(place) * crate::history::BLOCK_MS;
                entries
                    .extend(folded.blocks.iter().map(|(place, block)| Entry::Block(name.clone(), at(*place), *block)));
                entries.push(Entry::Sum(name, from, folded.sum));
            }
            return Ok(entries);
        }
        let mut after = (from, 0);
        loop {
            let rows = self.runs(after, to, ROWS).await?;
            let Some(last) = rows.last() else { return Ok(entries) };
            after = (self.get(last, "first_ms")?, self.get(last, "id")?);
            for row in &rows {
                for (number, sample) in self.unpack(row)? {
                    entries.push(Entry::Sample(self.name(&names, number)?, sample));
                }
            }
        }
    }

    /// Rows of `runs` by time, after one of them and before an instant.
    pub(super) async fn runs(&mut self, after: (i64, i64), to: i64, most: i64) -> Result<Vec<SqliteRow>, StoreError> {
        sqlx::query(
            "SELECT id, first_ms, body FROM runs WHERE (first_ms, id) > (?, ?) AND first_ms < ?
             ORDER BY first_ms, id LIMIT ?",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(to)
        .bind(most)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.error("read what was measured", error))
    }

    pub(super) async fn day_state(&mut self, day: i64) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT state FROM days WHERE day = ?")
            .bind(day)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.error("read which days were recorded", error))
    }

    async fn folds(&mut self, day: i64) -> Result<Vec<(i64, fold::Day)>, StoreError> {
        let rows = sqlx::query("SELECT series, body FROM folds WHERE day = ? ORDER BY series")
            .bind(day)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.error("read the half-hours", error))?;
        let folded = |row| {
            let day = fold::unpack(self.get(row, "body")?).map_err(|error| self.unreadable("a half-hour", error))?;
            Ok((self.get(row, "series")?, day))
        };
        rows.iter().map(folded).collect()
    }
}

/// The instants of a UTC day, in milliseconds.
pub(super) fn span(day: i64) -> (i64, i64) {
    (day.saturating_mul(DAY_MS), day.saturating_add(1).saturating_mul(DAY_MS))
}

/// See [`crate::store::Store::backup`].
pub(in crate::store) async fn backup(database: &mut Sqlite, to: &Path) -> Result<(), StoreError> {
    let refused = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::Exists { path: to.to_owned() },
        _ => StoreError::Folder { folder: super::open::folder(to).to_owned(), source },
    };
    // Made first, so that it is private and nothing is written over; SQLite fills files that are empty.
    let file = super::open::private().create_new(true).open(to).map_err(refused)?;
    let filled = sqlx::query("VACUUM INTO ?")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut database.connection)
        .await
        .map_err(|error| database.error("write a backup", error));
    let durable = match filled {
        Ok(_) => file.sync_all().map_err(refused),
        Err(error) => Err(error),
    };
    if durable.is_err() {
        // Half a backup must not be taken for one.
        let _ = std::fs::remove_file(to);
    }
    durable
}
