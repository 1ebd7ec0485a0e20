//! The writing hand on the store: a batch goes into the log first, and is durable there; then into the store, in memory.
//!
//! A store that fails is opened again, and gets from the log what it lost with that. Now and then a thread of its own
//! syncs the store, so that the log can be written over.

#![allow(clippy::disallowed_methods)] // it measures the disk, which no test can hold

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ahead::{Ahead, NoPlace, Rows};
use super::open;
use super::rows;
use super::store::{Store, StoreError, StoreKind, Way, guarded};

/// A disk that takes this much again is taken for usable; opening a store on a full one only makes things worse.
const PROBE_BYTES: usize = 4 * 1024 * 1024;
/// How often the store is synced where the log does not ask for it.
const KEEP_EVERY: Duration = Duration::from_secs(8);
/// What a reader waits for the writing hand, which is never long behind. One that fails tells nothing newer anyway.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// What readers and the one writer share.
pub struct Shelf {
    data: PathBuf,
    kind: StoreKind,
    /// `None` while it is opened again.
    store: RwLock<Option<Box<dyn Store>>>,
    marks: Mutex<Marks>,
    moved: Condvar,
}

/// How far batches have come, by their numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    /// Durable in the log.
    logged: u64,
    /// In the store, for everybody to read.
    applied: u64,
    /// To be synced in the store, as soon as may be.
    wanted: u64,
    /// On disk in the store itself.
    synced: u64,
    /// The store could not be synced.
    failed: bool,
    closed: bool,
}

/// What only the writer has.
pub struct Pen {
    pub next_row: u64,
    pub next_place: u64,
    /// How long the last batch waited for the disk.
    pub last_sync: Option<Duration>,
    ahead: Ahead,
    /// Batches on their way from the log to the store.
    waiting: VecDeque<Batch>,
    broken: bool,
    /// The batch that could not be written: it is given again.
    failed: Option<Failed>,
    keeper: Option<JoinHandle<()>>,
    kept_at: Instant,
    _lock: File,
}

/// A batch that is given again, and what follows on it.
#[derive(Debug, Clone, Copy)]
struct Failed {
    number: u64,
    next_row: u64,
    next_place: u64,
}

struct Batch {
    number: u64,
    rows: Rows,
    way: Way,
    /// It waits for the disk.
    durable: bool,
}

impl Shelf {
    pub fn new(data: PathBuf, kind: StoreKind, store: Box<dyn Store>) -> Shelf {
        let (store, marks) = (RwLock::new(Some(store)), Mutex::default());
        Shelf { data, kind, store, marks, moved: Condvar::new() }
    }

    pub fn with<T>(&self, work: impl FnOnce(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let store = self.store();
        let Some(store) = store.as_deref() else {
            return Err(StoreError::File(std::io::Error::other("the store is being opened again")));
        };
        guarded(|| work(store))
    }

    /// Waits until the store has what was acknowledged before this.
    pub fn catch_up(&self) {
        let marks = self.marks();
        let logged = marks.logged;
        let behind = |marks: &mut Marks| marks.applied < logged && !marks.failed && !marks.closed;
        drop(self.moved.wait_timeout_while(marks, READER_PATIENCE, behind));
    }

    fn store(&self) -> RwLockReadGuard<'_, Option<Box<dyn Store>>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark<T>(&self, change: impl FnOnce(&mut Marks) -> T) -> T {
        let changed = change(&mut self.marks());
        self.moved.notify_all();
        changed
    }

    fn wait_while(&self, still: impl FnMut(&mut Marks) -> bool) -> MutexGuard<'_, Marks> {
        self.moved.wait_while(self.marks(), still).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the disk takes something at all.
    fn probe(&self) -> Result<(), StoreError> {
        let path = self.data.join("probe");
        let tried = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0; PROBE_BYTES])?;
            file.sync_data()
        });
        let _ = std::fs::remove_file(&path);
        Ok(tried?)
    }

    fn reopen(&self, ahead: &mut Ahead) -> Result<(), StoreError> {
        let folder = self.data.join("journal");
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        // It holds the lock of its folder until it is gone.
        drop(store.take());
        open::write_again(self.kind, &folder)?;
        let opened = self.kind.open(&folder)?;
        let found = ahead.read()?;
        open::catch_up(opened.as_ref(), ahead, found)?;
        *store = Some(opened);
        Ok(())
    }

    /// Syncs the store whenever that is wanted, until the house closes.
    fn keep(&self) {
        loop {
            let marks =
                self.wait_while(|marks| (marks.wanted <= marks.synced || marks.failed) && !marks.closed);
            if marks.closed {
                return;
            }
            let wanted = marks.wanted;
            drop(marks);
            let synced = self.with(|store| store.sync());
            if let Err(error) = &synced {
                tracing::warn!(%error, "the store could not be synced; it is opened again");
            }
            self.mark(|marks| match synced {
                Ok(()) => marks.synced = marks.synced.max(wanted),
                Err(_) => marks.failed = true,
            });
        }
    }
}

impl Pen {
    /// The log begins behind what the store has.
    pub fn new(lock: File, ahead: Ahead, shelf: &Arc<Shelf>) -> Result<Pen, StoreError> {
        let mut pen = Pen {
            next_row: 0,
            next_place: 0,
            last_sync: None,
            ahead,
            waiting: VecDeque::new(),
            broken: false,
            failed: None,
            keeper: None,
            kept_at: Instant::now(),
            _lock: lock,
        };
        pen.begin(shelf)?;
        let kept = shelf.clone();
        let keeper = std::thread::Builder::new().name("journal-keeper".to_owned()).spawn(move || kept.keep());
        pen.keeper = Some(keeper?);
        Ok(pen)
    }

    /// Everything is in the store, and on disk there.
    fn begin(&mut self, shelf: &Shelf) -> Result<(), StoreError> {
        self.waiting.clear();
        self.find_place(shelf)?;
        let newest = self.ahead.newest();
        shelf.mark(|marks| {
            *marks = Marks {
                logged: newest,
                applied: newest,
                wanted: newest,
                synced: newest,
                failed: false,
                closed: marks.closed,
            };
        });
        Ok(())
    }

    /// Where the next story and the next row go.
    fn find_place(&mut self, shelf: &Shelf) -> Result<(), StoreError> {
        shelf.with(|store| {
            self.next_row = store.number("next_row")?.unwrap_or(1);
            let newest = store.last(rows::HEADS)?;
            let newest = newest.and_then(|(key, _)| rows::number(&key).ok()).unwrap_or(0);
            self.next_place = newest + 1;
            Ok(())
        })
    }

    /// Ready for the next batch: a store that failed is opened anew, once the disk takes something again.
    pub fn mend(&mut self, shelf: &Shelf) -> Result<(), StoreError> {
        self.broken |= shelf.marks().failed;
        if self.broken {
            shelf.probe()?;
            self.ahead.sync()?;
            shelf.reopen(&mut self.ahead)?;
            self.begin(shelf)?;
            self.broken = false;
        }
        self.settle(shelf)
    }

    /// Whether the batch that is given again was written after all, or is now.
    pub fn was_written(&mut self, shelf: &Shelf) -> Result<bool, StoreError> {
        let written = self.failed.filter(|failed| failed.number <= self.ahead.newest());
        if let Some(Failed { next_row, next_place, .. }) = written {
            self.sync(shelf)?;
            (self.next_row, self.next_place) = (next_row, next_place);
        }
        self.failed = None;
        Ok(written.is_some())
    }

    /// Takes a batch that is given again when this fails; the next one begins at `next_row` and `next_place`.
    pub fn append(
        &mut self,
        shelf: &Shelf,
        rows: Rows,
        next_row: u64,
        next_place: u64,
    ) -> Result<(), StoreError> {
        let number = self.ahead.newest() + 1;
        let put = self.put(shelf, rows, Way::InOrder, true);
        match &put {
            Ok(()) => (self.next_row, self.next_place) = (next_row, next_place),
            Err(_) => self.failed = Some(Failed { number, next_row, next_place }),
        }
        put
    }

    /// Takes a batch, and waits for the disk where it must be `durable`. It is in the store once it is settled.
    pub fn put(&mut self, shelf: &Shelf, rows: Rows, way: Way, durable: bool) -> Result<(), StoreError> {
        let number = loop {
            match self.ahead.put(&rows) {
                Ok(number) => break number,
                Err(NoPlace::Full) => self.turn_over(shelf)?,
                Err(NoPlace::TooLarge) => return self.pass_by(shelf, &rows),
            }
        };
        self.waiting.push_back(Batch { number, rows, way, durable });
        if durable || self.ahead.is_lazy() { self.sync(shelf) } else { Ok(()) }
    }

    /// The store gets what is durable, and what need not be.
    pub fn settle(&mut self, shelf: &Shelf) -> Result<(), StoreError> {
        while let Some(batch) = self.waiting.front() {
            if batch.durable && batch.number > self.ahead.synced() {
                break;
            }
            let applied = shelf.with(|store| {
                store.apply(batch.number, &batch.rows, batch.way)?;
                Ok(store.wants_sync())
            });
            self.broken |= applied.is_err();
            shelf.mark(|marks| match &applied {
                Ok(wants_sync) => {
                    marks.applied = batch.number;
                    if *wants_sync {
                        marks.wanted = batch.number;
                    }
                }
                Err(_) => marks.failed = true,
            });
            applied?;
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn sync(&mut self, shelf: &Shelf) -> Result<(), StoreError> {
        let began = Instant::now();
        self.ahead.sync()?;
        self.last_sync = Some(began.elapsed());
        shelf.mark(|marks| marks.logged = self.ahead.synced());
        Ok(())
    }

    /// Goes on in the other half of the log, which the store must have synced by then.
    fn turn_over(&mut self, shelf: &Shelf) -> Result<(), StoreError> {
        self.sync(shelf)?;
        self.settle(shelf)?;
        let needed = self.ahead.blocked_by();
        shelf.mark(|marks| marks.wanted = marks.wanted.max(needed));
        if shelf.wait_while(|marks| marks.synced < needed && !marks.failed).failed {
            self.broken = true;
            return Err(StoreError::File(std::io::Error::other("the store could not be synced")));
        }
        self.ahead.turn_over();
        shelf.mark(|marks| marks.wanted = marks.applied);
        Ok(())
    }

    /// A batch that the log can't hold goes into the store as it is, and is synced there with all before it.
    fn pass_by(&mut self, shelf: &Shelf, rows: &Rows) -> Result<(), StoreError> {
        self.sync(shelf)?;
        self.settle(shelf)?;
        let number = self.ahead.newest() + 1;
        let began = Instant::now();
        let written = shelf.with(|store| {
            store.apply(number, rows, Way::AtOnce)?;
            store.sync()
        });
        self.broken |= written.is_err();
        written?;
        self.last_sync = Some(began.elapsed());
        self.ahead.begin_behind(number);
        self.begin(shelf)
    }

    /// Has the store synced now and then also when little is written: a start has less to do, and a disk that fails is
    /// noticed.
    pub fn keep(&mut self, shelf: &Shelf) {
        if self.kept_at.elapsed() >= KEEP_EVERY {
            self.kept_at = Instant::now();
            shelf.mark(|marks| marks.wanted = marks.applied);
        }
    }

    /// The writing hand is put down; whoever still reads need not wait for it.
    pub fn close(&mut self, shelf: &Shelf) {
        // What is left in memory nobody waited for, and it is lost as well as it would be by a kill.
        let _ = self.ahead.sync();
        shelf.mark(|marks| marks.closed = true);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
