//! What the journal asks of a store: rows in the order of their keys, changed by numbered batches. The log ahead makes a
//! batch durable; a store only has to keep its rows whole, and to bring them to the disk when it is told to.

use std::io::{self, ErrorKind};
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::ahead::Rows;
use super::rows;
use super::sled::SledStore;
use super::sqlite::SqliteStore;

/// The number of the newest batch that the store has.
pub const APPLIED: &str = "applied";

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);
/// Looks at a row, and says whether it wants the next one.
pub type Visitor<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>;

pub trait Store: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows the rows of a range one after the other. The visitor may ask the store for more meanwhile.
    fn walk(&self, range: Range<&[u8]>, order: Order, visit: Visitor<'_>) -> Result<(), StoreError>;

    /// Does to the rows what a batch says, and notes its number with it.
    fn apply(&self, number: u64, rows: &Rows, way: Way) -> Result<(), StoreError>;

    /// Everything that was applied is on disk, also for a machine that loses power now.
    fn sync(&self) -> Result<(), StoreError>;

    /// Whether it would rather be synced soon than when the log asks for it.
    fn wants_sync(&self) -> bool {
        false
    }

    fn size_on_disk(&self) -> Result<u64, StoreError>;

    /// These rows are gone, and nobody will come by where they were.
    fn tidy(&self, _removed: &[Row]) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Forward,
    Backward,
}

/// How a batch goes into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Whoever reads meanwhile may see a beginning of it, where that costs the store less.
    InOrder,
    /// Whoever reads sees none of it, or all.
    AtOnce,
}

impl dyn Store + '_ {
    pub fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let value = self.get(&rows::meta(name))?;
        Ok(value.and_then(|value| rows::number(&value).ok()))
    }

    /// All rows whose keys begin so, in order.
    pub fn rows(&self, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        self.walk(prefix..&rows::behind(prefix), Order::Forward, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The last row whose key begins so.
    pub fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        let mut last = None;
        self.walk(prefix..&rows::behind(prefix), Order::Backward, &mut |key, value| {
            last = Some((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(last)
    }
}

/// The stores that there are. One place to touch for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite,
    Sled,
}

impl StoreKind {
    pub const ALL: [StoreKind; 2] = [StoreKind::Sqlite, StoreKind::Sled];

    /// As it is called in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            StoreKind::Sqlite => "sqlite",
            StoreKind::Sled => "sled",
        }
    }

    /// The file in a journal's folder that holds the rows, and shows whose folder it is.
    pub fn file(self) -> &'static str {
        match self {
            StoreKind::Sqlite => super::sqlite::FILE,
            StoreKind::Sled => super::sled::FILE,
        }
    }

    /// Whose folder this is; nobody's where none has begun.
    pub fn of(folder: &Path) -> Option<StoreKind> {
        StoreKind::ALL.into_iter().find(|kind| folder.join(kind.file()).exists())
    }

    /// The store in this folder, as it is; fails where it can't be read.
    pub fn open(self, folder: &Path) -> Result<Box<dyn Store>, StoreError> {
        guarded(|| {
            Ok(match self {
                StoreKind::Sqlite => Box::new(SqliteStore::open(folder)?) as Box<dyn Store>,
                StoreKind::Sled => Box::new(SledStore::open(folder)?),
            })
        })
    }

    /// The files that a sync brings to the disk.
    pub fn synced_files(self) -> &'static [&'static str] {
        match self {
            StoreKind::Sqlite => &[super::sqlite::FILE, super::sqlite::WAL],
            StoreKind::Sled => &[super::sled::FILE],
        }
    }

    /// Throws away what a process that died left half written beside the store, and says whether there was something.
    pub fn drop_half_written(self, folder: &Path) -> bool {
        match self {
            StoreKind::Sqlite => false,
            StoreKind::Sled => super::sled::drop_half_written(folder),
        }
    }
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("the row {key} is damaged: its checksum does not fit")]
    Damaged { key: String },
    #[error("the store panicked")]
    Panicked,
}

impl StoreError {
    /// Somebody has the store open.
    pub fn is_lock(&self) -> bool {
        match self {
            // sled says so in words only.
            StoreError::Sled(sled::Error::Io(error)) => error.to_string().contains("acquire lock"),
            StoreError::Sqlite(error) => super::sqlite::is_lock(error),
            _ => false,
        }
    }

    /// The surroundings are to blame, not what is written in the store: it is not set aside for that.
    pub fn is_of_the_folder(&self) -> bool {
        let kind = match self {
            _ if self.is_lock() => return true,
            StoreError::Sqlite(error) => return super::sqlite::is_of_the_folder(error),
            StoreError::Sled(sled::Error::Io(error)) | StoreError::File(error) => error.kind(),
            _ => return false,
        };
        matches!(
            kind,
            ErrorKind::PermissionDenied
                | ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::FileTooLarge
                | ErrorKind::OutOfMemory
        )
    }
}

/// A store's own panics are errors like others: an embedded store of sled's age has some.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(StoreError::Panicked))
}
