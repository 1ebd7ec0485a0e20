//! The store over SQLite: one table of rows, one connection for all, and one beside it that syncs.
//!
//! Batches gather in one transaction, in memory, and whoever reads sees them there: the log ahead has made them durable.
//! A sync commits it, so that a page which many batches have changed is written once, and moves what it wrote from
//! SQLite's own log into the file, on the keeper's thread: most of it beside those who read and write, the rest, and the
//! taking back of the log's room, in a moment that is its own.
//!
//! SQLite has no checksums over its rows, so each value has one in front.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, params};

use super::ahead::Rows;
use super::rows;
use super::store::{APPLIED, Order, Row, Store, StoreError, Visitor, Way};

/// The file with the rows, and SQLite's log beside it.
pub const FILE: &str = "rows.sqlite";
pub const WAL: &str = "rows.sqlite-wal";
/// SQLite's log is moved into the file when it is longer, though nobody needs that yet: it takes disk, and a start
/// reads it.
const WAL_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Pages kept in memory; changed ones that find no room go into the log before their transaction is over.
const CACHE_KIBIBYTES: i64 = 8 * 1024;
/// What the keeper needs for moving pages.
const KEEPER_KIBIBYTES: i64 = 64;
/// Rows that a reader takes at once. Between two takes others have their turn.
const TAKEN_AT_ONCE: usize = 256;
/// Another process that looks into the file with SQLite's own tools is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
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
    hand: Mutex<Hand>,
    keeper: Mutex<Connection>,
}

/// The connection that everybody uses, one after the other.
struct Hand {
    connection: Connection,
    /// Batches wait in a transaction.
    is_open: bool,
    /// One of them is there in part.
    is_torn: bool,
}

impl Hand {
    fn begin(&mut self) -> Result<(), rusqlite::Error> {
        if !self.is_open {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.is_open = true;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), rusqlite::Error> {
        if self.is_open {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            self.is_open = false;
        }
        Ok(())
    }
}

impl SqliteStore {
    pub fn open(folder: &Path) -> Result<SqliteStore, StoreError> {
        std::fs::create_dir_all(folder)?;
        let connection = connect(folder, CACHE_KIBIBYTES)?;
        // Its log is synced, and moved into the file, by the keeper alone.
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.execute(TABLE, [])?;
        let keeper = connect(folder, KEEPER_KIBIBYTES)?;
        // A new file is found again only once its folder is on disk, too.
        File::open(folder)?.sync_all()?;
        let hand = Hand { connection, is_open: false, is_torn: false };
        Ok(SqliteStore { folder: folder.to_owned(), hand: Mutex::new(hand), keeper: Mutex::new(keeper) })
    }

    fn take(&self, range: Range<&[u8]>, order: Order) -> Result<Vec<Row>, StoreError> {
        let hand = locked(&self.hand);
        let mut taking = hand.connection.prepare_cached(match order {
            Order::Forward => FORWARD,
            Order::Backward => BACKWARD,
        })?;
        let most = i64::try_from(TAKEN_AT_ONCE).unwrap_or(i64::MAX);
        let rows =
            taking.query_map(params![range.start, range.end, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn length_of(&self, file: &str) -> u64 {
        std::fs::metadata(self.folder.join(file)).map_or(0, |file| file.len())
    }
}

impl Store for SqliteStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let hand = locked(&self.hand);
        let mut getting = hand.connection.prepare_cached(GET)?;
        let mut rows = getting.query([key])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let sealed = row.get_ref(0)?.as_blob().map_err(|_| damaged(key))?;
        Ok(Some(checked(key, sealed)?.to_vec()))
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

    /// One that fails leaves a part of the batch behind: the store has to be opened again, which forgets it.
    fn apply(&self, number: u64, rows: &Rows, _: Way) -> Result<(), StoreError> {
        let mut hand = locked(&self.hand);
        hand.begin()?;
        hand.is_torn = true;
        let mut put = hand.connection.prepare_cached(PUT)?;
        let mut remove = hand.connection.prepare_cached(REMOVE)?;
        let applied = (rows::meta(APPLIED), number.to_be_bytes());
        for (key, value) in rows.iter().chain([(applied.0.as_slice(), Some(applied.1.as_slice()))]) {
            match value {
                Some(value) => put.execute(params![key, sealed(key, value)])?,
                None => remove.execute([key])?,
            };
        }
        drop((put, remove));
        hand.is_torn = false;
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let keeper = locked(&self.keeper);
        locked(&self.hand).commit()?;
        checkpoint(&keeper, "PASSIVE")?;
        let mut hand = locked(&self.hand);
        hand.commit()?;
        let somebody_reads = checkpoint(&hand.connection, "TRUNCATE")?;
        if somebody_reads {
            // Not one of ours; then rows may still be in the log alone.
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

/// The next start finds all in its place. Where this fails it has the log, as after a kill.
impl Drop for SqliteStore {
    fn drop(&mut self) {
        let mut hand = locked(&self.hand);
        if !hand.is_torn {
            let _ = hand.commit();
        }
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

fn connect(folder: &Path, cache_kibibytes: i64) -> Result<Connection, StoreError> {
    let connection = Connection::open(folder.join(FILE))?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -cache_kibibytes)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // Without it a statement is planned anew for every value it is given.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Syncs SQLite's log, and moves it into the file. Says whether somebody was in the way.
fn checkpoint(connection: &Connection, how: &str) -> Result<bool, rusqlite::Error> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0))
}

/// A value as it is stored: with a checksum over it and its key in front.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&checksum(key, value)[..], value].concat()
}

fn checked<'v>(key: &[u8], sealed: &'v [u8]) -> Result<&'v [u8], StoreError> {
    match sealed.split_first_chunk::<CHECKSUM_BYTES>() {
        Some((found, value)) if *found == checksum(key, value) => Ok(value),
        _ => Err(damaged(key)),
    }
}

fn damaged(key: &[u8]) -> StoreError {
    StoreError::Damaged { key: format!("{:?}", String::from_utf8_lossy(key)) }
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
