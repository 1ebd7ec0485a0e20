//! Opening the store: one process a folder, and a store that can't be read is set aside, never thrown away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ahead::{Ahead, Found, Rows};
use super::sled_pen::Way;
use super::sled_rows as rows;

/// Pages of the store kept in memory. Its own default is a gigabyte, and it uses several times what it is told.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// A store that this process has just closed holds its lock until the store's own threads are done.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The number of the newest batch that the store has.
const APPLIED: &str = "applied";
/// How often the store writes by itself what it has in memory. The log is what makes a batch durable; this bounds what a
/// start has to put into the store, and how long a disk that fails goes unnoticed. The store throws away what is written
/// anew elsewhere behind each of these alone: with a second, 9,000 short calls take 60 MB of the disk; with this, 24.
const FLUSH_EVERY_MS: u64 = 100;
/// Of the store's file, when all of it is written again.
const COPIED_AT_ONCE: usize = 1024 * 1024;
/// Stores set aside that may lie in one folder before a person has to look.
const QUARANTINE_MAX: u32 = 1000;

/// Why there is no journal, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error(
        "can't keep data in {}: {source}. Set [journal] path (HOLDLINE__JOURNAL__PATH, --data) to a folder that this \
         user may write and that has room, or set [journal] kind = \"memory\" to keep nothing",
        path.display()
    )]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "the data folder {} is in use by another holdline ({owner}). Stop that one first, or set [journal] path \
         (HOLDLINE__JOURNAL__PATH, --data) to another folder",
        path.display()
    )]
    InUse { path: PathBuf, owner: String },
    #[error(
        "the journal in {} was written by a later version of holdline (format {format}, this one knows {}). Use that \
         version, or set [journal] path to another folder",
        path.display(), rows::FORMAT
    )]
    TooNew { path: PathBuf, format: u64 },
}

/// A store that is open.
pub struct Store {
    pub db: sled::Db,
    /// The store's own `flush` asks the kernel to write pages back and stops there: it syncs neither the file's size
    /// nor the drive's cache. This handle is for doing that.
    file: File,
}

impl Store {
    /// Everything that was applied is on disk, also for a machine that loses power now.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }

    /// Does to the rows what a batch says, and notes its number behind it.
    pub fn apply(&self, number: u64, rows: &Rows, way: Way) -> Result<(), StoreError> {
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

    pub fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let value = self.db.get(rows::meta(name))?;
        Ok(value.and_then(|value| rows::number(&value).ok()))
    }
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Store(#[from] sled::Error),
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("the store panicked")]
    Panicked,
}

impl StoreError {
    /// Somebody has the store open. The store says so in words only.
    fn is_lock(&self) -> bool {
        matches!(self, StoreError::Store(sled::Error::Io(error)) if error.to_string().contains("acquire lock"))
    }

    /// The surroundings are to blame, not what is written in the store: it is not set aside for that.
    fn is_of_the_folder(&self) -> bool {
        let kind = match self {
            _ if self.is_lock() => return true,
            StoreError::Store(sled::Error::Io(error)) | StoreError::File(error) => error.kind(),
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

/// The store's own panics are errors like others: an embedded store of this age has some.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(StoreError::Panicked))
}

/// The store in this folder, as it is; fails where it can't be read.
pub fn open_store(folder: &Path) -> Result<Store, StoreError> {
    for _ in 0..LOCK_TRIES {
        match try_open(folder) {
            Err(error) if error.is_lock() => pause(),
            opened => return opened,
        }
    }
    try_open(folder)
}

#[allow(clippy::disallowed_methods)] // at a start or on the journal's own thread, where no call waits
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

/// Writes the store's file over itself. After a sync that failed, the kernel takes pages for clean that never reached
/// the disk: they are read back as if all were well, and the next sync has nothing to do. What is written behind them
/// would be lost with them when the machine loses power, though somebody was told.
pub fn write_again(folder: &Path) -> Result<(), StoreError> {
    let mut file = OpenOptions::new().read(true).write(true).open(folder.join("db"))?;
    let mut piece = vec![0; COPIED_AT_ONCE];
    loop {
        let at = file.stream_position()?;
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(piece.get(..read).unwrap_or_default())?;
    }
    Ok(file.sync_all()?)
}

fn try_open(folder: &Path) -> Result<Store, StoreError> {
    guarded(|| {
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .segment_size(rows::SEGMENT_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .open()?;
        let file = File::open(folder.join("db"))?;
        // A new file is found again only once its folder is on disk, too.
        File::open(folder)?.sync_all()?;
        Ok(Store { db, file })
    })
}

/// Opens the store in the data folder at the start of the process. The lock is held as long as the file lives.
pub fn open(data: &Path) -> Result<(File, Store, Ahead), OpenError> {
    let of_folder = |source: io::Error| OpenError::Folder { path: data.to_owned(), source };
    std::fs::create_dir_all(data).map_err(of_folder)?;
    let lock = lock(data)?;
    let folder = data.join("journal");
    let store = match open_sound(&folder) {
        Ok(store) => Ok(store),
        Err(error) if error.is_of_the_folder() => Err(of_folder(io::Error::other(error))),
        Err(error) => {
            let aside = set_aside(data, &folder).map_err(of_folder)?;
            tracing::error!(
                error = %error,
                set_aside = %aside.display(),
                "THE JOURNAL CAN'T BE READ. It was set aside as it is, and a new, empty one is begun: calls and \
                 workflows that were open are not continued. Keep that folder; what is in it may be rescued"
            );
            open_sound(&folder).map_err(|error| of_folder(io::Error::other(error)))
        }
    };
    let store = check_format(data, store?)?;
    let (mut ahead, found) = Ahead::open(&folder).map_err(of_folder)?;
    catch_up(&store, &mut ahead, found).map_err(|error| of_folder(io::Error::other(error)))?;
    Ok((lock, store, ahead))
}

/// Puts into the store what only the log has, and frees the log.
pub fn catch_up(store: &Store, ahead: &mut Ahead, found: Found) -> Result<(), StoreError> {
    if found.torn {
        tracing::warn!(
            "the last batch in the journal's log was half written, and is cut off: nobody was told of it"
        );
    }
    guarded(|| {
        let applied = store.number(APPLIED)?.unwrap_or(0);
        let mut newest = applied;
        for frame in found.frames.into_iter().filter(|frame| frame.number > applied) {
            if frame.number > newest + 1 {
                tracing::error!(
                    from = newest + 1,
                    to = frame.number - 1,
                    "BATCHES ARE MISSING between the journal's store and its log. Somebody has changed its files, or \
                     the disk lost what it had taken; what is there is used"
                );
            }
            store.apply(frame.number, &frame.rows, Way::InOrder)?;
            newest = frame.number;
        }
        // Also when there was nothing to do: what the store has may not be on disk yet.
        store.sync()?;
        if newest > applied {
            tracing::info!(batches = newest - applied, "the journal's store got from its log what it lacked");
        }
        ahead.begin_behind(newest);
        Ok(())
    })
}

/// A store that opened may still hide damage: what every start needs is read here.
fn open_sound(folder: &Path) -> Result<Store, StoreError> {
    let store = match open_store(folder) {
        Ok(store) => store,
        Err(error) if error.is_of_the_folder() => return Err(error),
        Err(error) => {
            if !drop_half_written(folder) {
                return Err(error);
            }
            open_store(folder)?
        }
    };
    guarded(move || {
        for row in store.db.scan_prefix(rows::OPEN) {
            let (key, _) = row?;
            let place = rows::number(&key).unwrap_or_default();
            store.db.get(rows::head(place))?;
        }
        Ok(store)
    })
}

/// A process that died while the store wrote its own shortcut for the next start leaves one that is half written; the
/// store does not open beside it, and does not need it.
fn drop_half_written(folder: &Path) -> bool {
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

fn check_format(data: &Path, store: Store) -> Result<Store, OpenError> {
    let of_folder =
        |error: StoreError| OpenError::Folder { path: data.to_owned(), source: io::Error::other(error) };
    match store.number("format").map_err(of_folder)? {
        Some(format) if format > rows::FORMAT => Err(OpenError::TooNew { path: data.to_owned(), format }),
        Some(rows::FORMAT) => Ok(store),
        // New, or of an older version: from here on this one writes.
        _ => {
            let marked = guarded(|| {
                store.db.insert(rows::meta("format"), &rows::FORMAT.to_be_bytes())?;
                store.sync()
            });
            marked.map(|()| store).map_err(of_folder)
        }
    }
}

fn lock(data: &Path) -> Result<File, OpenError> {
    let of_folder = |source: io::Error| OpenError::Folder { path: data.to_owned(), source };
    let path = data.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(of_folder)?;
    match file.try_lock() {
        Ok(()) => {
            // For whoever finds the folder locked; a lock without a name is a lock all the same.
            let _ = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.take(64).read_to_string(&mut owner);
            let owner =
                if owner.is_empty() { "a process that did not give its name".to_owned() } else { owner };
            Err(OpenError::InUse { path: data.to_owned(), owner })
        }
        Err(TryLockError::Error(error)) => Err(of_folder(error)),
    }
}

fn set_aside(data: &Path, folder: &Path) -> io::Result<PathBuf> {
    let free =
        (1..=QUARANTINE_MAX).map(|n| data.join(format!("journal.corrupt-{n}"))).find(|path| !path.exists());
    let aside = free.ok_or_else(|| {
        io::Error::other(format!("{QUARANTINE_MAX} damaged journals (journal.corrupt-*) lie here already"))
    })?;
    std::fs::rename(folder, &aside)?;
    Ok(aside)
}
