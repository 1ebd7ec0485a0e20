//! The store over SQLite: one table of rows, one connection that writes, one that syncs, a few that read.
//!
//! A batch is a transaction; it goes into SQLite's own write-ahead log, in memory of the kernel, without a sync. What
//! syncs is a checkpoint, on the keeper's thread: it moves the rows into the file, while others read and write, and then
//! takes the log's room back in the moment in which nobody does.
//!
//! SQLite has no checksums over its rows, so each value has one in front.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::ahead::Rows;
use super::rows;
use super::store::{APPLIED, Order, Store, StoreError, Visitor, Way};

/// The file with the rows, and SQLite's log beside it.
pub const FILE: &str = "rows.sqlite";
pub const WAL: &str = "rows.sqlite-wal";
/// A log that is longer is moved into the file, though nobody needs it there yet: it takes disk, and a start reads it.
const WAL_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Pages kept in memory by the connection that writes, and by each that reads.
const WRITER_KIBIBYTES: i64 = 4 * 1024;
const READER_KIBIBYTES: i64 = 512;
/// Connections that are kept for whoever reads next.
const READERS_KEPT: usize = 4;
/// Rows that a reader takes at once. Between two takes nothing of the store is held.
const TAKEN_AT_ONCE: usize = 256;
/// What the writer waits at most for a checkpoint that wants the log to itself.
const WRITER_PATIENCE: Duration = Duration::from_secs(30);
/// What a checkpoint waits at most for readers; without it the log's room is taken back by the next one.
const KEEPER_PATIENCE: Duration = Duration::from_millis(100);
const CHECKSUM_BYTES: usize = 4;

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
const GET: &str = "SELECT value FROM rows WHERE key = ?1";
const PUT: &str = "INSERT INTO rows (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2";
const REMOVE: &str = "DELETE FROM rows WHERE key = ?1";
const FORWARD: &str = "SELECT key, value FROM rows WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
const BACKWARD: &str = "SELECT key, value FROM rows WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3";

pub struct SqliteStore {
    folder: PathBuf,
    writer: Mutex<Connection>,
    keeper: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl SqliteStore {
    pub fn open(folder: &Path) -> Result<SqliteStore, StoreError> {
        std::fs::create_dir_all(folder)?;
        let writer = connect(folder, WRITER_KIBIBYTES, WRITER_PATIENCE)?;
        // The log is what is durable; SQLite's own is synced by checkpoints alone, and those are the keeper's.
        writer.pragma_update(None, "journal_mode", "wal")?;
        writer.pragma_update(None, "wal_autocheckpoint", 0)?;
        writer.execute(TABLE, [])?;
        let keeper = connect(folder, READER_KIBIBYTES, KEEPER_PATIENCE)?;
        // A new file is found again only once its folder is on disk, too.
        File::open(folder)?.sync_all()?;
        Ok(SqliteStore {
            folder: folder.to_owned(),
            writer: Mutex::new(writer),
            keeper: Mutex::new(keeper),
            readers: Mutex::default(),
        })
    }

    fn reading<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        // Any other connection has to read again what this one has changed. It is free whenever the writing hand asks.
        if let Ok(writer) = self.writer.try_lock() {
            return Ok(read(&writer)?);
        }
        let kept = locked(&self.readers).pop();
        let reader = match kept {
            Some(reader) => reader,
            None => connect(&self.folder, READER_KIBIBYTES, WRITER_PATIENCE)?,
        };
        let found = read(&reader);
        let mut readers = locked(&self.readers);
        if readers.len() < READERS_KEPT {
            readers.push(reader);
        }
        Ok(found?)
    }

    fn take(&self, range: Range<&[u8]>, order: Order) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.reading(|reader| {
            let mut taking = reader.prepare_cached(match order {
                Order::Forward => FORWARD,
                Order::Backward => BACKWARD,
            })?;
            let most = i64::try_from(TAKEN_AT_ONCE).unwrap_or(i64::MAX);
            let rows = taking
                .query_map(params![range.start, range.end, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    fn length_of(&self, file: &str) -> u64 {
        std::fs::metadata(self.folder.join(file)).map_or(0, |file| file.len())
    }
}

impl Store for SqliteStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value: Option<Vec<u8>> =
            self.reading(|reader| reader.prepare_cached(GET)?.query_row([key], |row| row.get(0)).optional())?;
        value.map(|value| Ok(checked(key, &value)?.to_vec())).transpose()
    }

    fn walk(&self, range: Range<&[u8]>, order: Order, visit: Visitor<'_>) -> Result<(), StoreError> {
        let (mut start, mut end) = (range.start.to_vec(), range.end.to_vec());
        loop {
            let taken = self.take(&start..&end, order)?;
            for (key, value) in &taken {
                if visit(key, checked(key, value)?)?.is_break() {
                    return Ok(());
                }
            }
            let Some((last, _)) = taken.last().filter(|_| taken.len() == TAKEN_AT_ONCE) else {
                return Ok(());
            };
            match order {
                Order::Forward => start = [last, &[0][..]].concat(),
                Order::Backward => end.clone_from(last),
            }
        }
    }

    fn apply(&self, number: u64, rows: &Rows, _: Way) -> Result<(), StoreError> {
        let mut writer = locked(&self.writer);
        let batch = writer.transaction()?;
        {
            let (mut put, mut remove) = (batch.prepare_cached(PUT)?, batch.prepare_cached(REMOVE)?);
            let applied = (rows::meta(APPLIED), number.to_be_bytes());
            for (key, value) in rows.iter().chain([(applied.0.as_slice(), Some(applied.1.as_slice()))]) {
                match value {
                    Some(value) => put.execute(params![key, sealed(key, value)])?,
                    None => remove.execute([key])?,
                };
            }
        }
        Ok(batch.commit()?)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let keeper = locked(&self.keeper);
        let checkpoint = |how: &str| {
            keeper.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get::<_, i64>(0))
        };
        // Most of it beside those who write; what they wrote meanwhile, and the log's end, while they wait.
        checkpoint("PASSIVE")?;
        let somebody_reads = checkpoint("TRUNCATE")? != 0;
        if somebody_reads {
            // Then rows may still be in the log alone.
            File::open(self.folder.join(WAL))?.sync_data()?;
        }
        Ok(())
    }

    fn wants_sync(&self) -> bool {
        self.length_of(WAL) > WAL_BYTES_MAX
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(self.length_of(FILE) + self.length_of(WAL))
    }
}

/// Somebody has the file open who does not let us in.
pub fn is_lock(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The disk or the folder does not let us read or write; what is written is not to blame.
pub fn is_of_the_folder(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::NoLargeFileSupport
        )
    )
}

fn connect(folder: &Path, cache_kibibytes: i64, patience: Duration) -> Result<Connection, StoreError> {
    let connection = Connection::open(folder.join(FILE))?;
    connection.busy_timeout(patience)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -cache_kibibytes)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // Without it a statement is planned anew for every value it is given.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// A value as it is stored: with a checksum over it and its key in front.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&checksum(key, value)[..], value].concat()
}

fn checked<'v>(key: &[u8], sealed: &'v [u8]) -> Result<&'v [u8], StoreError> {
    match sealed.split_first_chunk::<CHECKSUM_BYTES>() {
        Some((found, value)) if *found == checksum(key, value) => Ok(value),
        _ => Err(StoreError::Damaged { key: format!("{:?}", String::from_utf8_lossy(key)) }),
    }
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(key);
    checksum.update(value);
    checksum.finalize().to_le_bytes()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
