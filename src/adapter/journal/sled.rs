//! The store over sled.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::ahead::Rows;
use super::rows;
use super::store::{APPLIED, Order, Row, Store, StoreError, Visitor, Way};

/// The file with the rows.
pub const FILE: &str = "db";
/// Pages of the store kept in memory. Its own default is a gigabyte, and it uses several times what it is told.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Twenty rows, which it writes as one leaf, must stay well below a quarter of this: a larger leaf goes into a file of
/// its own that it never syncs. A power of two.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
/// How often the store writes by itself what it has in memory. The log is what makes a batch durable; this bounds what a
/// start has to put into the store, and how long a disk that fails goes unnoticed. The store throws away what is written
/// anew elsewhere behind each of these alone: with a second, 9,000 short calls take 60 MB of the disk; with this, 24.
const FLUSH_EVERY_MS: u64 = 100;
/// A store that this process has just closed holds its lock until the store's own threads are done.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

pub struct SledStore {
    db: sled::Db,
    /// The store's own `flush` asks the kernel to write pages back and stops there: it syncs neither the file's size
    /// nor the drive's cache. This handle is for doing that.
    file: File,
}

impl SledStore {
    pub fn open(folder: &Path) -> Result<SledStore, StoreError> {
        for _ in 0..LOCK_TRIES {
            match SledStore::try_open(folder) {
                Err(error) if error.is_lock() => pause(),
                opened => return opened,
            }
        }
        SledStore::try_open(folder)
    }

    fn try_open(folder: &Path) -> Result<SledStore, StoreError> {
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .open()?;
        let file = File::open(folder.join(FILE))?;
        // A new file is found again only once its folder is on disk, too.
        File::open(folder)?.sync_all()?;
        Ok(SledStore { db, file })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn walk(&self, range: Range<&[u8]>, order: Order, visit: Visitor<'_>) -> Result<(), StoreError> {
        let mut rows = self.db.range(range);
        loop {
            let row = match order {
                Order::Forward => rows.next(),
                Order::Backward => rows.next_back(),
            };
            let Some(row) = row else { return Ok(()) };
            let (key, value) = row?;
            if visit(&key, &value)?.is_break() {
                return Ok(());
            }
        }
    }

    fn apply(&self, number: u64, rows: &Rows, way: Way) -> Result<(), StoreError> {
        let applied = (rows::meta(APPLIED), number.to_be_bytes());
        match way {
            Way::InOrder => {
                for (key, value) in rows.iter() {
                    match value {
                        Some(value) => self.db.insert(key, value)?,
                        None => self.db.remove(key)?,
                    };
                }
                self.db.insert(applied.0, &applied.1)?;
            }
            Way::AtOnce => {
                let mut batch = sled::Batch::default();
                for (key, value) in rows.iter() {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                batch.insert(applied.0, &applied.1);
                self.db.apply_batch(batch)?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(self.db.size_on_disk()?)
    }

    /// A leaf that has lost its rows keeps its place on disk, with all that was in it, until somebody comes by; then the
    /// store merges it with the one beside it.
    fn tidy(&self, removed: &[Row]) -> Result<(), StoreError> {
        for (key, _) in removed {
            self.db.get(key)?;
        }
        Ok(())
    }
}

/// A process that died while the store wrote its own shortcut for the next start leaves one that is half written; the
/// store does not open beside it, and does not need it.
pub fn drop_half_written(folder: &Path) -> bool {
    let mut dropped = false;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            dropped |= std::fs::remove_file(entry.path()).is_ok();
        }
    }
    dropped
}

#[allow(clippy::disallowed_methods)] // at a start or on the journal's own thread, where no call waits
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}
