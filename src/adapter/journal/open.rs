//! Opening the store: one process a folder, and a store that can't be read is set aside, never thrown away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::ahead::{Ahead, Found, Rows};
use super::copy;
use super::rows;
use super::store::{APPLIED, Store, StoreError, StoreKind, Way, guarded};

/// The row that says what the other rows look like.
const FORMAT: &str = "format";
/// A store that is being made out of one of another kind.
const MOVING: &str = "journal.moving";
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

/// Writes the store's files over themselves. After a sync that failed, the kernel takes pages for clean that never
/// reached the disk: they are read back as if all were well, and the next sync has nothing to do. What is written behind
/// them would be lost with them when the machine loses power, though somebody was told.
pub fn write_again(kind: StoreKind, folder: &Path) -> Result<(), StoreError> {
    for name in kind.synced_files() {
        let path = folder.join(name);
        if path.exists() {
            write_file_again(&path)?;
        }
    }
    Ok(())
}

fn write_file_again(path: &Path) -> Result<(), StoreError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
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

/// Opens the store in the data folder at the start of the process. The lock is held as long as the file lives.
pub fn open(data: &Path, kind: StoreKind) -> Result<(File, Box<dyn Store>, Ahead), OpenError> {
    let of_folder = |source: io::Error| OpenError::Folder { path: data.to_owned(), source };
    std::fs::create_dir_all(data).map_err(of_folder)?;
    let lock = lock(data)?;
    let folder = data.join("journal");
    let (found, store) = open_or_set_aside(data, &folder, kind)?;
    let (mut store, mut ahead) = whole(data, &folder, store)?;
    if found != kind {
        drop(ahead);
        move_into(data, &folder, store, kind).map_err(|error| of_folder(io::Error::other(error)))?;
        tracing::info!(
            from = found.name(),
            to = kind.name(),
            "the journal was moved into another kind of store"
        );
        let moved = kind.open(&folder).map_err(|error| of_folder(io::Error::other(error)))?;
        (store, ahead) = whole(data, &folder, moved)?;
    }
    Ok((lock, store, ahead))
}

/// A store of a format that this version knows, with all that its log has.
fn whole(data: &Path, folder: &Path, store: Box<dyn Store>) -> Result<(Box<dyn Store>, Ahead), OpenError> {
    let of_folder = |source: io::Error| OpenError::Folder { path: data.to_owned(), source };
    let store = check_format(data, store)?;
    let (mut ahead, found) = Ahead::open(folder).map_err(of_folder)?;
    catch_up(store.as_ref(), &mut ahead, found).map_err(|error| of_folder(io::Error::other(error)))?;
    Ok((store, ahead))
}

/// The store that is there, of whatever kind, or a new one of the wanted kind.
fn open_or_set_aside(
    data: &Path,
    folder: &Path,
    wanted: StoreKind,
) -> Result<(StoreKind, Box<dyn Store>), OpenError> {
    let of_folder = |source: io::Error| OpenError::Folder { path: data.to_owned(), source };
    let found = StoreKind::of(folder).unwrap_or(wanted);
    match open_sound(found, folder) {
        Ok(store) => Ok((found, store)),
        Err(error) if error.is_of_the_folder() => Err(of_folder(io::Error::other(error))),
        Err(error) => {
            let aside = set_aside(data, folder).map_err(of_folder)?;
            tracing::error!(
                error = %error,
                set_aside = %aside.display(),
                "THE JOURNAL CAN'T BE READ. It was set aside as it is, and a new, empty one is begun: calls and \
                 workflows that were open are not continued. Keep that folder; what is in it may be rescued"
            );
            let begun = open_sound(wanted, folder).map_err(|error| of_folder(io::Error::other(error)))?;
            Ok((wanted, begun))
        }
    }
}

/// Makes a store of another kind out of this one. Until all of it is on disk, the old one stands where it stood; they
/// change places at once, and only then the old one goes.
fn move_into(data: &Path, folder: &Path, store: Box<dyn Store>, kind: StoreKind) -> Result<(), StoreError> {
    let other = data.join(MOVING);
    if other.exists() {
        // Of a start that did not come to its end.
        std::fs::remove_dir_all(&other)?;
    }
    let moved = kind.open(&other)?;
    copy::pour(store.as_ref(), moved.as_ref())?;
    drop((store, moved));
    rustix::fs::renameat_with(CWD, folder, CWD, &other, RenameFlags::EXCHANGE).map_err(io::Error::from)?;
    File::open(data)?.sync_all()?;
    Ok(std::fs::remove_dir_all(&other)?)
}

/// Puts into the store what only the log has, and frees the log.
pub fn catch_up(store: &dyn Store, ahead: &mut Ahead, found: Found) -> Result<(), StoreError> {
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
fn open_sound(kind: StoreKind, folder: &Path) -> Result<Box<dyn Store>, StoreError> {
    let store = match kind.open(folder) {
        Ok(store) => store,
        Err(error) if error.is_of_the_folder() => return Err(error),
        Err(error) => {
            if !kind.drop_half_written(folder) {
                return Err(error);
            }
            kind.open(folder)?
        }
    };
    guarded(move || {
        for (key, _) in store.rows(rows::OPEN)? {
            let place = rows::number(&key).unwrap_or_default();
            store.get(&rows::head(place))?;
        }
        Ok(store)
    })
}

fn check_format(data: &Path, store: Box<dyn Store>) -> Result<Box<dyn Store>, OpenError> {
    let of_folder =
        |error: StoreError| OpenError::Folder { path: data.to_owned(), source: io::Error::other(error) };
    match store.number(FORMAT).map_err(of_folder)? {
        Some(format) if format > rows::FORMAT => Err(OpenError::TooNew { path: data.to_owned(), format }),
        Some(rows::FORMAT) => Ok(store),
        // New, or of an older version: from here on this one writes.
        _ => {
            let marked = guarded(|| {
                let mut mark = Rows::default();
                mark.insert(rows::meta(FORMAT), rows::FORMAT.to_be_bytes());
                store.apply(store.number(APPLIED)?.unwrap_or(0), &mark, Way::AtOnce)?;
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
