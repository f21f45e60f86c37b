//! Opening the file: the folder's lock, the checks, the migrations.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Code, Sqlite, StoreError, code};
use crate::store::schema::{APPLICATION, MIGRATIONS, VERSION};

/// Name of the lock file, beside the database.
const LOCK: &str = "bellwether.lock";

/// KiB of pages kept in memory.
const CACHE: &str = "PRAGMA cache_size = -256";

/// What stands between a connected file and its use.
enum Fault {
    /// It is not, or no longer, a database of ours.
    Damaged(String),
    Other(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Other(error)
    }
}

impl Sqlite {
    /// Opens or makes the database; see [`crate::store::Store::open`].
    pub(in crate::store) async fn open(path: &Path, now: DateTime<Utc>, ledger_id: &str) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        keep_private(path)?;
        let connection = options(path).create_if_missing(true).connect().await.map_err(|error| failed(path, error))?;
        let mut database = Self { path: path.to_owned(), connection, lock: Some(lock), series: HashMap::new() };
        match database.prepare(ledger_id).await {
            Ok(()) => Ok(database),
            Err(Fault::Other(error)) => {
                database.close().await;
                Err(error)
            }
            Err(Fault::Damaged(reason)) => {
                // Moved before it is closed, so that closing cannot tidy the files away by name.
                let aside = set_aside(path, now);
                database.close().await;
                Err(StoreError::Damaged { path: path.to_owned(), aside: aside?, reason })
            }
        }
    }

    /// Opens an existing database for reading.
    pub(in crate::store) async fn read_only(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let connection = options(path).read_only(true).connect().await.map_err(|error| failed(path, error))?;
        let mut database = Self { path: path.to_owned(), connection, lock: None, series: HashMap::new() };
        let (application, version) = (database.pragma("application_id").await?, database.pragma("user_version").await?);
        if version > VERSION {
            return Err(StoreError::Newer { path: path.to_owned(), found: version, known: VERSION });
        }
        database.execute(CACHE, "set up the connection").await?;
        if application != APPLICATION || version != VERSION {
            let source = format!("application {application:#x}, schema {version}, expected schema {VERSION}").into();
            return Err(StoreError::Unreadable { path: path.to_owned(), what: "a file".to_owned(), source });
        }
        Ok(database)
    }

    /// Checks the file, brings its schema up to date and its orders in flight to rest.
    async fn prepare(&mut self, ledger_id: &str) -> Result<(), Fault> {
        // Nothing is written to a file before it is known to be ours.
        let application = self.checked("application_id").await?;
        let version = self.checked("user_version").await?;
        let tables = self.number("SELECT count(*) FROM sqlite_schema").await.map_err(|error| self.damage(error))?;
        let new = application == 0 && version == 0 && tables == 0;
        if !new && application != APPLICATION {
            return Err(Fault::Damaged(format!("it belongs to application {application:#x}")));
        }
        if version > VERSION {
            return Err(StoreError::Newer { path: self.path.clone(), found: version, known: VERSION }.into());
        }
        let check: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.damage(error))?;
        if check != "ok" {
            return Err(Fault::Damaged(check.replace('\n', " ")));
        }
        if new {
            // Only before the first table.
            self.execute("PRAGMA auto_vacuum = INCREMENTAL", "set up the file").await?;
        }
        // With synchronous FULL a commit is on the disk when it returns; the log stays near 1 MiB.
        for pragma in [
            CACHE,
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA wal_autocheckpoint = 250",
            "PRAGMA journal_size_limit = 1048576",
        ] {
            self.execute(pragma, "set up the file").await?;
        }
        self.begin_transaction("bring the schema up to date").await?;
        let result = self.migrate(version, ledger_id).await;
        self.end_transaction(result, "bring the schema up to date").await?;
        Ok(())
    }

    async fn migrate(&mut self, from: i64, ledger_id: &str) -> Result<(), StoreError> {
        let what = "bring the schema up to date";
        let steps = MIGRATIONS.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
        for step in steps {
            sqlx::raw_sql(*step).execute(&mut self.connection).await.map_err(|error| self.error(what, error))?;
        }
        if !steps.is_empty() {
            // Both are part of the transaction.
            let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}");
            sqlx::raw_sql(AssertSqlSafe(marks))
                .execute(&mut self.connection)
                .await
                .map_err(|error| self.error(what, error))?;
            sqlx::query(
                "INSERT INTO meta (id, ledger_id, schema) VALUES (1, ?, ?)
                 ON CONFLICT (id) DO UPDATE SET schema = excluded.schema",
            )
            .bind(ledger_id)
            .bind(VERSION)
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.error(what, error))?;
        }
        let cut_short =
            "UPDATE orders SET state = 'ambiguous', doubtful = 1, detail = 'cut short: the agent stopped while it was sent'
             WHERE state = 'inflight'";
        self.execute(cut_short, "bring orders in flight to rest").await
    }

    async fn pragma(&mut self, name: &'static str) -> Result<i64, StoreError> {
        let sql = format!("PRAGMA {name}");
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.error("read the file's marks", error))
    }

    async fn checked(&mut self, name: &'static str) -> Result<i64, Fault> {
        let sql = format!("PRAGMA {name}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await.map_err(|error| self.damage(error))
    }

    async fn number(&mut self, sql: &'static str) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(sql).fetch_one(&mut self.connection).await
    }

    /// An error while checking: damage, if SQLite says so.
    fn damage(&self, error: sqlx::Error) -> Fault {
        match code(&error) {
            Some(Code::Damaged) => Fault::Damaged(error.to_string()),
            _ => Fault::Other(self.error("check the file", error)),
        }
    }
}

/// Small on purpose: the whole daemon has 4 MiB of anonymous memory. Nothing here makes connecting read
/// the file: a connection that fails closes behind our back, and tidies a damaged file's log away.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(16)
        .command_buffer_size(4)
        .row_buffer_size(4)
        .thread_name(|_| "store".to_owned())
        .disable_statement_logging()
}

fn failed(path: &Path, error: sqlx::Error) -> StoreError {
    match code(&error) {
        Some(Code::Full) => StoreError::Full { path: path.to_owned() },
        _ => StoreError::Folder { folder: folder(path).to_owned(), source: io::Error::other(error) },
    }
}

pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the folder and takes its lock. The system frees the lock when the process ends, however.
fn lock(path: &Path) -> Result<File, StoreError> {
    let folder = folder(path);
    let refused = |source| StoreError::Folder { folder: folder.to_owned(), source };
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).recursive(true).create(folder).map_err(refused)?;
    let path = folder.join(LOCK);
    let file = private().open(&path).map_err(refused)?;
    hand_over(&file, folder);
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

/// Makes the file, unless it is there, and takes it out of the reach of those who are neither its owner
/// nor of its group: a school's contacts are in it. SQLite gives its log and index the same mode.
fn keep_private(path: &Path) -> Result<(), StoreError> {
    let private = || -> io::Result<()> {
        let file = private().open(path)?;
        hand_over(&file, folder(path));
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o007 != 0 {
            file.set_permissions(Permissions::from_mode(mode & 0o770))?;
        }
        Ok(())
    };
    private().map_err(|source| StoreError::Folder { folder: folder(path).to_owned(), source })
}

/// What root makes here by a command by hand is the daemon's, as the folder is. SQLite does the same with its log.
fn hand_over(file: &File, folder: &Path) {
    let (Ok(file_is), Ok(folder_is)) = (file.metadata(), fs::metadata(folder)) else { return };
    if file_is.uid() == 0 && folder_is.uid() != 0 {
        // Only root can, and whoever else may write to it has no need to.
        let _not_root = fchown(file, Some(folder_is.uid()), Some(folder_is.gid()));
    }
}

/// Opens without reading, and makes what is not there.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o640);
    options
}

/// Renames the file with its log and index; returns the file's new name. Never overwrites.
fn set_aside(path: &Path, now: DateTime<Utc>) -> Result<PathBuf, StoreError> {
    let with = |suffix: &str| -> PathBuf {
        let mut name = OsString::from(path);
        name.push(suffix);
        name.into()
    };
    let stamp = format!(".damaged-{}", now.format("%Y%m%dT%H%M%SZ"));
    let tag = (1u32..).map(|n| if n == 1 { stamp.clone() } else { format!("{stamp}-{n}") });
    let tag = tag.into_iter().find(|tag| !with(tag).exists()).unwrap_or(stamp.clone());
    let aside = with(&tag);
    // The log first: a crash in between must not leave an old log beside a new database.
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(with(suffix), with(&format!("{tag}{suffix}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Folder { folder: folder(path).to_owned(), source: error });
            }
            _ => {}
        }
    }
    Ok(aside)
}

/// Closes the connection, which folds the log into the file, and frees the folder.
pub(super) async fn close(path: &Path, connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(path = %path.display(), error = %error, "the database did not close cleanly");
    }
}
