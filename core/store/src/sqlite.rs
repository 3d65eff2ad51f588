//! A store in an `SQLite` database with a write-ahead log.
//!
//! Large records are in a table of their own under growing numbers, so that adding one touches the end of one tree and
//! no other page; small ones are in one tree by table and key. Each record carries a sum of itself, and the whole is
//! checked when it is opened, so that damage is found then and named.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::backend::{Backend, LARGE, Record, Write};
use crate::damage::{log_of, of_database};
use crate::error::StoreError;
use crate::log;

/// `PRAGMA application_id`: "PSTN".
const APPLICATION: i32 = i32::from_be_bytes(*b"PSTN");

/// The log is written back into the database above this many pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 4096;

/// The log is cut back to this, in bytes, once it is written back.
const LOG_BYTES: u32 = 32 << 20;

/// Cache of pages, in KiB.
const CACHE_KIB: u32 = 8 << 10;

/// For the broker alone.
pub(crate) const FILE_MODE: u32 = 0o600;

/// A database that this process closed a moment ago may take so long to be free.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// In a power cut one change may be half written, which nobody was told of: each waits for the disk before the next.
const TORN_CHANGES: u64 = 1;

const SCHEMA: &str = "
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE large (id INTEGER PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL) STRICT;
    CREATE TABLE small (tab INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, sum INTEGER NOT NULL,
                        PRIMARY KEY (tab, key)) STRICT, WITHOUT ROWID;
";

/// How a database is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The number of the records' format; a database of a higher one is refused.
    pub format: u32,
    /// Each commit waits until the disk says that it has it, and so survives a power cut. Without, what the system had
    /// not yet written is lost then; the database is sound in either case.
    pub fsync: bool,
    /// The database may have so many pages of 4 KiB; none is as many as the disk has room for.
    pub max_pages: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    lost: u64,
}

impl Sqlite {
    /// Opens the database of the namespace `owner` and checks it whole; makes it where there is none.
    ///
    /// # Errors
    /// Each names the file, says what is wrong, and what to do.
    pub(crate) fn open(path: &Path, owner: &str, options: Options) -> Result<Self, StoreError> {
        if !path.exists() {
            make(path, owner, options.format)?;
        }
        let log_path = log_of(path);
        let had_log = log_path.exists();
        let lost = log::look(&log_path).map_err(|source| StoreError::Files { path: log_path.clone(), source })?.lost;
        if options.fsync && lost > TORN_CHANGES {
            let what = format!("{lost} changes stand behind one that is not sound");
            return Err(StoreError::Damaged { path: log_path, what });
        }
        let mut opened = Self::connect(path)?;
        opened.lost = lost;
        opened.check_header(owner, options.format)?;
        opened.set_up(options)?;
        opened.check_whole()?;
        if opened.about("open")?.as_deref() == Some("1") && !had_log {
            return Err(opened.damaged("it was not closed, and its log is missing, with the latest changes".to_owned()));
        }
        // Whoever drops it without closing it leaves it as a kill does.
        opened.keep_log(true)?;
        opened.set_open(true)?;
        Ok(opened)
    }

    /// Changes that the log had behind one that is not sound, and that are lost therefore: after a power cut, or by damage.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn connect(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(|error| of_database(path, error))?;
        let opened = Self { connection, path: path.to_path_buf(), lost: 0 };
        opened.run(|c| {
            c.busy_timeout(BUSY_WAIT)?;
            // No other process: so the index of the log needs no file, and nothing can be in our way.
            c.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            c.pragma_update(None, "trusted_schema", false)?;
            c.pragma_update(None, "cell_size_check", true)?;
            c.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))
        })?;
        Ok(opened)
    }

    fn set_up(&self, options: Options) -> Result<(), StoreError> {
        self.run(|c| {
            c.pragma_update(None, "journal_mode", "WAL")?;
            c.pragma_update(None, "synchronous", if options.fsync { "FULL" } else { "NORMAL" })?;
            c.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            c.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
            options.max_pages.map_or(Ok(()), |pages| c.pragma_update(None, "max_page_count", pages))
        })
    }

    fn check_header(&self, owner: &str, known: u32) -> Result<(), StoreError> {
        let application: i32 = self.run(|c| c.pragma_query_value(None, "application_id", |row| row.get(0)))?;
        if application != APPLICATION {
            let what = "it is a database of another program".to_owned();
            return Err(StoreError::Foreign { path: self.path.clone(), what });
        }
        let found: u32 = self.run(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if found > known {
            return Err(StoreError::Newer { path: self.path.clone(), found, known });
        }
        match self.about("owner")? {
            Some(name) if name == owner => Ok(()),
            Some(name) => Err(StoreError::Foreign {
                path: self.path.clone(),
                what: format!("it belongs to the namespace {}", name.escape_debug()),
            }),
            None => Err(self.damaged("it does not say whose it is".to_owned())),
        }
    }

    fn check_whole(&self) -> Result<(), StoreError> {
        let found: String = self.run(|c| c.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
        if found == "ok" { Ok(()) } else { Err(self.damaged(found)) }
    }

    fn about(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.run(|c| c.query_row("SELECT value FROM about WHERE name = ?1", [name], |row| row.get(0)).optional())
    }

    /// Whether the log is needed to know all, in the database itself, so that a log that is gone is missed.
    fn set_open(&mut self, open: bool) -> Result<(), StoreError> {
        self.run(|c| {
            c.execute("UPDATE about SET value = ?1 WHERE name = 'open'", [if open { "1" } else { "0" }])?;
            c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
    }

    /// Whether the log stays when the database is left.
    fn keep_log(&self, keep: bool) -> Result<(), StoreError> {
        self.run(|c| c.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop))
    }

    fn write(&mut self, batch: &[Write]) -> rusqlite::Result<()> {
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put_large = change.prepare_cached("INSERT OR REPLACE INTO large VALUES (?1, ?2, ?3)")?;
            let mut put_small = change.prepare_cached("INSERT OR REPLACE INTO small VALUES (?1, ?2, ?3, ?4)")?;
            let mut cut_large = change.prepare_cached("DELETE FROM large WHERE id = ?1")?;
            let mut cut_small = change.prepare_cached("DELETE FROM small WHERE tab = ?1 AND key = ?2")?;
            for Write { table, key, value } in batch {
                match (value, *table) {
                    (Some(value), LARGE) => put_large.execute(params![number(key), value, sum(*table, key, value)])?,
                    (Some(value), _) => put_small.execute(params![table, key, value, sum(*table, key, value)])?,
                    (None, LARGE) => cut_large.execute([number(key)])?,
                    (None, _) => cut_small.execute(params![table, key])?,
                };
            }
        }
        change.commit()
    }

    fn run<T>(&self, what: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        what(&self.connection).map_err(|error| of_database(&self.path, error))
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what }
    }

    fn check(record: Record<'_>, sum: u32) -> Result<(), String> {
        if record.sum() == sum { Ok(()) } else { Err(format!("a record of table {} has changed", record.table)) }
    }
}

impl Backend for Sqlite {
    fn commit(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        self.write(batch).map_err(|error| of_database(&self.path, error))
    }

    fn scan(&mut self, take: &mut dyn FnMut(Record<'_>) -> Result<(), String>) -> Result<(), StoreError> {
        let failed = |error| of_database(&self.path, error);
        let mut hand_over = |table: u8, key: &[u8], value: &[u8], sum: u32| {
            let record = Record { table, key, value };
            Self::check(record, sum).and_then(|()| take(record)).map_err(|what| self.damaged(what))
        };
        let mut large = self.connection.prepare("SELECT id, value, sum FROM large ORDER BY id").map_err(failed)?;
        let mut rows = large.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let id: i64 = row.get(0).map_err(failed)?;
            let value = row.get_ref(1).map_err(failed)?.as_blob().unwrap_or_default();
            hand_over(LARGE, &id.to_be_bytes(), value, row.get(2).map_err(failed)?)?;
        }
        let mut small =
            self.connection.prepare("SELECT tab, key, value, sum FROM small ORDER BY tab, key").map_err(failed)?;
        let mut rows = small.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let key = row.get_ref(1).map_err(failed)?.as_blob().unwrap_or_default();
            let value = row.get_ref(2).map_err(failed)?.as_blob().unwrap_or_default();
            hand_over(row.get(0).map_err(failed)?, key, value, row.get(3).map_err(failed)?)?;
        }
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        self.set_open(false)?;
        self.keep_log(false)?;
        let Self { connection, path, .. } = *self;
        connection.close().map_err(|(_, error)| of_database(&path, error))
    }
}

/// Makes a database under another name and then gives it its own, so that one that is empty is known to be damaged.
fn make(path: &Path, owner: &str, format: u32) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let failed = |source| StoreError::Files { path: new.clone(), source };
    if new.exists() {
        fs::remove_file(&new).map_err(failed)?;
    }
    // SQLite takes it as it finds it, and gives its log the same mode.
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&new).map_err(failed)?;
    let made = Sqlite::connect(&new)?;
    made.run(|c| {
        c.execute_batch("BEGIN IMMEDIATE")?;
        c.execute_batch(SCHEMA)?;
        c.execute("INSERT INTO about VALUES ('owner', ?1), ('open', '0')", [owner])?;
        c.pragma_update(None, "application_id", APPLICATION)?;
        c.pragma_update(None, "user_version", format)?;
        c.execute_batch("COMMIT")
    })?;
    made.connection.close().map_err(|(_, error)| of_database(&new, error))?;
    fs::rename(&new, path).map_err(failed)
}

fn sum(table: u8, key: &[u8], value: &[u8]) -> u32 {
    Record { table, key, value }.sum()
}

/// The number that a key of [`LARGE`] is.
fn number(key: &[u8]) -> i64 {
    i64::from_be_bytes(key.try_into().expect("keys of the large table have eight bytes"))
}
