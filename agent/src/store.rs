//! What must survive a power cut: the memory, the bookings and the orders.
//!
//! [`Store`] is a cheap handle. The one connection behind it lives in a task that takes jobs over a
//! bounded queue, one after another; each job is one transaction, and a caller that goes away does
//! not interrupt it. Probes never wait for the store.
//!
//! What an order may do, and what guards it:
//! ```text
//! commit   → pending                       one `open` per booking and channel, one `op_seq` each
//! begin    pending|ambiguous → inflight    durable before the first byte is sent; one per line
//! settle   inflight → done | pending | ambiguous | dead
//! open()   inflight → ambiguous            it may have arrived: the same key, the same bytes again
//! ```
//! A *line* is the orders of one booking on one channel; only the head of a line is ever due.

#[cfg(test)]
pub(crate) mod conformance;
mod error;
mod history;
mod schema;
mod sqlite;

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};

pub use error::StoreError;
pub use history::{Imported, JudgeSnapshot, Page, Position, Record, Since};

use crate::{
    booking::{Booking, Order, life::Entry, outbox::Past},
    channel::Link,
    inspection::{Conclusion, Memory},
};

/// How many jobs may wait for the connection before callers do.
const QUEUE: usize = 16;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrderState {
    /// To be sent.
    Pending,
    /// Being sent.
    Inflight,
    /// Sent, and it may have arrived: to be repeated with the same key and bytes.
    Ambiguous,
    /// The vendor has it.
    Done,
    /// Never to be sent: refused, or superseded before it was tried.
    Dead,
}

impl OrderState {
    /// All states, in the order of an order's life.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Inflight, Self::Ambiguous, Self::Done, Self::Dead];

    /// The word used in the database, labels and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Inflight => "inflight",
            Self::Ambiguous => "ambiguous",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

/// What becomes of an order that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The vendor has it.
    Done {
        /// The vendor's own name for it.
        remote_id: Option<String>,
    },
    /// Again, not before a time.
    Retry {
        /// The earliest time.
        not_before: DateTime<Utc>,
        /// Whether this attempt may have arrived. If an earlier one may have, the order is ambiguous all
        /// the same.
        ambiguous: bool,
        /// Whether it was looked for, and is not there.
        missed: bool,
        /// One line for people.
        detail: String,
    },
    /// Never again.
    Dead {
        /// One line for people.
        detail: String,
    },
}

impl Settlement {
    /// The state that it leads to, for an order no attempt of which may have arrived before.
    pub fn state(&self) -> OrderState {
        match self {
            Self::Done { .. } => OrderState::Done,
            Self::Retry { ambiguous: true, .. } => OrderState::Ambiguous,
            Self::Retry { ambiguous: false, .. } => OrderState::Pending,
            Self::Dead { .. } => OrderState::Dead,
        }
    }
}

/// An order and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRecord {
    /// The order; its `created_at` is kept to the millisecond.
    pub order: Order,
    /// Where it stands.
    pub state: OrderState,
    /// How often it was begun.
    pub attempt: u32,
    /// Not to be sent before.
    pub not_before: DateTime<Utc>,
    /// When it was begun last.
    pub sent_at: Option<DateTime<Utc>>,
    /// When its last attempt ended.
    pub settled_at: Option<DateTime<Utc>>,
    /// The vendor's own name for it.
    pub remote_id: Option<String>,
    /// How its last attempt ended, for people.
    pub detail: Option<String>,
}

/// An order whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The order.
    pub order: Order,
    /// What is known of its attempts.
    pub past: Past,
}

/// What happened to bookings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditTrail {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// Where the chain of hashes breaks, if somebody has changed the trail.
    pub broken: Option<Broken>,
}

/// Where the audit trail was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Number of the first entry that does not follow from the one before.
    pub seq: i64,
}

/// How many orders of a channel are in a state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderCount {
    /// Name of the channel.
    pub channel: String,
    /// The state.
    pub state: OrderState,
    /// How many; never 0.
    pub count: u64,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Everything of it is durable now.
    New,
    /// An inspection of this id was committed before, and nothing was written. The memory to go on
    /// with is the stored one: [`Store::memory`].
    Repeated,
}

/// A handle to the database; clones share one connection.
#[derive(Clone, Debug)]
pub struct Store {
    messages: mpsc::Sender<Message>,
    failures: Arc<AtomicU64>,
}

/// The database behind a [`Store`].
#[derive(Debug)]
enum Backend {
    Sqlite(sqlite::Sqlite),
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Job = Box<dyn for<'a> FnOnce(&'a mut Backend) -> Answer<'a, ()> + Send>;

enum Message {
    Job(Job),
    Close(oneshot::Sender<()>),
}

impl Store {
    /// Opens the database file `path`, or begins a new ledger called `ledger_id_if_new` if there is
    /// none; its folder is made if needed. Orders found in flight become ambiguous.
    ///
    /// # Errors
    /// The folder cannot be written; another daemon holds it (`bellwether.lock`); the file is damaged
    /// (it was set aside, and the next call begins a new ledger); its schema is newer.
    pub async fn open(path: &Path, now: DateTime<Utc>, ledger_id_if_new: &str) -> Result<(Self, Memory), StoreError> {
        let mut database = sqlite::Sqlite::open(path, now, ledger_id_if_new).await?;
        let memory = database.memory().await?;
        Ok((Self::start(Backend::Sqlite(database)), memory))
    }

    /// Opens an existing database for reading only, as the command line does when no daemon runs.
    ///
    /// # Errors
    /// There is none, or it cannot be read by this version. A damaged file is left where it is.
    pub async fn read_only(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::start(Backend::Sqlite(sqlite::Sqlite::read_only(path).await?)))
    }

    fn start(mut backend: Backend) -> Self {
        let (messages, mut inbox) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut asked = None;
            while let Some(message) = inbox.recv().await {
                match message {
                    Message::Job(job) => job(&mut backend).await,
                    Message::Close(reply) => {
                        asked = Some(reply);
                        break;
                    }
                }
            }
            let Backend::Sqlite(database) = backend;
            database.close().await;
            if let Some(reply) = asked {
                // Nobody listens any more if the caller of close() gave up: it is closed all the same.
                let _ = reply.send(());
            }
        });
        Self { messages, failures: Arc::default() }
    }

    async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Backend) -> Answer<'a, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |backend| {
            Box::pin(async move {
                // A caller that went away does not need the answer; the work is done all the same.
                let _ = reply.send(work(backend).await);
            })
        });
        let result = match self.messages.send(Message::Job(job)).await {
            Ok(()) => answer.await.unwrap_or(Err(StoreError::Closed)),
            Err(_) => Err(StoreError::Closed),
        };
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Finishes the jobs that wait, closes the database and frees its folder. Later calls on any clone
    /// fail with [`StoreError::Closed`].
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.messages.send(Message::Close(reply)).await.is_ok() {
            // An error means that the task ended, which closes as well.
            let _ = answer.await;
        }
    }

    /// How many calls failed since this store was opened.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The memory as it is stored.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn memory(&self) -> Result<Memory, StoreError> {
        self.call(|backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.memory().await
            })
        })
        .await
    }

    /// Makes what follows from an inspection durable, in one transaction: memory, bookings, orders, and
    /// what is to be recorded beside them. An older update of the same line that was never tried becomes dead, `superseded`.
    ///
    /// # Errors
    /// Nothing was written: the disk is full, or a constraint refuses the conclusion.
    pub async fn commit(
        &self,
        inspection_id: &str,
        conclusion: &Conclusion,
        record: Record<'_>,
        now: DateTime<Utc>,
    ) -> Result<Committed, StoreError> {
        let batch = sqlite::Batch::new(inspection_id, conclusion, record, now);
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.commit(batch).await
            })
        })
        .await
    }

    /// The orders to be sent now, oldest first: of each line the head alone, if it is pending or
    /// ambiguous and its time has come. At most 8 of a channel, so that one with a long line hides no other.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn due_orders(&self, now: DateTime<Utc>) -> Result<Vec<Due>, StoreError> {
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.due_orders(now).await
            })
        })
        .await
    }

    /// When the next order becomes due that is not due at `now`; `None` if there is none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn next_due(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.next_due(now).await
            })
        })
        .await
    }

    /// Marks an order as being sent, or, unless `sends`, as being looked for: durably, before the first
    /// byte. Returns the number of this attempt, from 1.
    ///
    /// # Errors
    /// The order is neither pending nor ambiguous ([`StoreError::Order`]); the database cannot be
    /// written. Then it must not be sent.
    pub async fn begin(&self, op_key: &str, sends: bool, now: DateTime<Utc>) -> Result<u32, StoreError> {
        let op_key = op_key.to_owned();
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.begin(&op_key, sends, now).await
            })
        })
        .await
    }

    /// Leaves an order alone until then.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn put_off(&self, op_key: &str, until: DateTime<Utc>) -> Result<(), StoreError> {
        let op_key = op_key.to_owned();
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.put_off(&op_key, until).await
            })
        })
        .await
    }

    /// Takes over bookings that the vendor has open under keys of an earlier ledger, each with its channel and the
    /// vendor's own name for it: as if they had been sent from here. Those that are known are left alone.
    ///
    /// # Errors
    /// The database cannot be written; then nothing was taken over.
    pub async fn adopt(
        &self,
        found: &[(Booking, String, Option<String>)],
        entries: &[Entry],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let rows: Vec<_> = found
            .iter()
            .map(|(booking, channel, remote_id)| {
                (sqlite::BookingRow::new(booking), booking.op_seq, channel.clone(), remote_id.clone())
            })
            .collect();
        let entries = entries.to_vec();
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.adopt(&rows, &entries, now).await
            })
        })
        .await
    }

    /// The bookings that a channel has, and of which nothing waits to be sent there: what may be read back.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn links(&self, channel: &str) -> Result<Vec<(String, Link)>, StoreError> {
        let channel = channel.to_owned();
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.links(&channel).await
            })
        })
        .await
    }

    /// What happened to one booking, or to all; the whole chain is verified.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn audit(&self, booking_key: Option<&str>) -> Result<AuditTrail, StoreError> {
        let booking_key = booking_key.map(str::to_owned);
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.audit(booking_key.as_deref()).await
            })
        })
        .await
    }

    /// Records how an attempt ended, with the booking as that changed it, in one transaction.
    /// Settling again with the same end is no error. If an `open` is dead, the orders behind it that
    /// were never tried are dead as well.
    ///
    /// # Errors
    /// The order is not in flight ([`StoreError::Order`]); the database cannot be written.
    pub async fn settle(
        &self,
        op_key: &str,
        settlement: &Settlement,
        changed: Option<&(Booking, Entry)>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (op_key, settlement) = (op_key.to_owned(), settlement.clone());
        let changed = changed.map(|(booking, entry)| (sqlite::BookingRow::new(booking), entry.clone()));
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.settle(&op_key, &settlement, changed.as_ref(), now).await
            })
        })
        .await
    }

    /// How many orders there are, by channel and state, sorted.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn order_counts(&self) -> Result<Vec<OrderCount>, StoreError> {
        self.call(|backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.order_counts().await
            })
        })
        .await
    }

    /// When the oldest order was planned that the vendor has not got, and has not refused.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn oldest_order(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.call(|backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.oldest_order().await
            })
        })
        .await
    }

    /// The bookings, ended ones too, newest first; at most 1000.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn bookings(&self) -> Result<Vec<Booking>, StoreError> {
        self.call(|backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.bookings().await
            })
        })
        .await
    }

    /// The orders of a booking, by `op_seq`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn orders_of(&self, booking_key: &str) -> Result<Vec<OrderRecord>, StoreError> {
        let booking_key = booking_key.to_owned();
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.orders_of(&booking_key).await
            })
        })
        .await
    }

    /// Deletes what is older than 400 days and over: ended bookings whose orders are all settled, and
    /// settled updates; and the ids of inspections older than 2 days. Folds the days that are over into
    /// half-hours, and deletes samples that are older than 14 days and folded, half-hours and events that are
    /// older than five years. A call takes a small bite: call it again while it returns more than 0.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn prune(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        self.call(move |backend| {
            Box::pin(async move {
                let Backend::Sqlite(database) = backend;
                database.prune(now).await
            })
        })
        .await
    }
}
