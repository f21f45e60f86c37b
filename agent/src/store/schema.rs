//! The tables, and the way from every older schema to the newest.
//!
//! Times are integer milliseconds UTC. A memory row is one series, component, change, incident, epoch
//! or booking, with its value as JSON. What was measured is packed as [`crate::history`] says.

/// `PRAGMA application_id` of our files: "bwth".
pub(super) const APPLICATION: i64 = 0x6277_7468;

/// The newest schema: `PRAGMA user_version`, and `schema` in `meta`.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Step `n` leads from schema `n` to `n + 1`; schema 0 is an empty file.
pub(super) const MIGRATIONS: &[&str] = &[V1, V2, V3];

const V1: &str = "
CREATE TABLE meta (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    ledger_id   TEXT NOT NULL CHECK (ledger_id <> ''),
    schema      INTEGER NOT NULL
) STRICT;

CREATE TABLE inspections (
    id           TEXT PRIMARY KEY,
    committed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE memory (
    part TEXT NOT NULL CHECK (part IN ('series', 'version', 'change', 'incident', 'epoch')),
    key  TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (part, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE bookings (
    key        TEXT PRIMARY KEY,
    state      TEXT NOT NULL CHECK (state IN ('suspected', 'holding', 'requested', 'countered', 'confirmed',
                   'in_maintenance', 'reported', 'observing', 'evaluated', 'archived',
                   'refused', 'cancelled', 'needs_human')),
    ended      INTEGER NOT NULL CHECK (ended IN (0, 1)),
    json       TEXT NOT NULL,
    opened_ms  INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE orders (
    op_key        TEXT PRIMARY KEY,
    booking_key   TEXT NOT NULL REFERENCES bookings (key) ON DELETE CASCADE,
    op_seq        INTEGER NOT NULL,
    channel       TEXT NOT NULL,
    operation     TEXT NOT NULL,
    body          TEXT NOT NULL,
    created_ms    INTEGER NOT NULL,
    state         TEXT NOT NULL DEFAULT 'pending'
                  CHECK (state IN ('pending', 'inflight', 'done', 'ambiguous', 'dead')),
    attempt       INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    doubtful      INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1)),
    not_before_ms INTEGER NOT NULL,
    sent_ms       INTEGER,
    settled_ms    INTEGER,
    remote_id     TEXT,
    detail        TEXT,
    UNIQUE (booking_key, op_seq),
    CHECK (op_key = booking_key || '.' || op_seq),
    CHECK (state <> 'inflight' OR (attempt > 0 AND sent_ms IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX orders_one_open ON orders (booking_key, channel) WHERE operation = 'open';
CREATE UNIQUE INDEX orders_one_inflight ON orders (booking_key, channel) WHERE state = 'inflight';
CREATE INDEX orders_unsettled ON orders (booking_key, channel, op_seq)
    WHERE state IN ('pending', 'inflight', 'ambiguous');
";

/// History. A row of `runs` is what one run measured within one UTC day, as it was committed; a row of
/// `folds` is a day of one series. A day is `open` until its half-hours are complete, `folded` while its
/// runs are kept beside them, and `packed` when these are gone or never were here.
const V2: &str = "
CREATE TABLE series (
    id     INTEGER PRIMARY KEY,
    metric TEXT NOT NULL CHECK (metric <> ''),
    labels TEXT NOT NULL,
    UNIQUE (metric, labels)
) STRICT;

CREATE TABLE runs (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    first_ms INTEGER NOT NULL,
    body     BLOB NOT NULL
) STRICT;
CREATE INDEX runs_by_time ON runs (first_ms);

CREATE TABLE days (
    day       INTEGER PRIMARY KEY,
    state     TEXT NOT NULL CHECK (state IN ('open', 'folded', 'packed')),
    folded_to INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX days_to_do ON days (state, day) WHERE state <> 'packed';

CREATE TABLE folds (
    day    INTEGER NOT NULL,
    series INTEGER NOT NULL REFERENCES series (id),
    body   BLOB NOT NULL,
    PRIMARY KEY (day, series)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    key   TEXT NOT NULL UNIQUE,
    json  TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (at_ms);

CREATE TABLE judge (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    format     INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    seen_run   INTEGER NOT NULL,
    seen_event INTEGER NOT NULL,
    bytes      BLOB NOT NULL
) STRICT;
";

/// How often an order was looked for and missed since it was sent last; and what became of bookings, each entry
/// with the hash over itself and the hash before it.
const V3: &str = "
ALTER TABLE orders ADD COLUMN misses INTEGER NOT NULL DEFAULT 0 CHECK (misses >= 0);

CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY,
    at_ms       INTEGER NOT NULL,
    booking_key TEXT NOT NULL,
    entry       TEXT NOT NULL,
    hash        BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_of_booking ON audit (booking_key, seq);

CREATE TABLE audit_anchor (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
";
