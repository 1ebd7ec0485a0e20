//! A store as one file: what is in it, row by row, as it is stored. Copies outlive the store's own format, and old ones
//! are what proves that old facts can still be read.

use std::io::{self, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use super::ahead::Rows;
use super::open;
use super::rows;
use super::store::{APPLIED, Order, Store, StoreError, StoreKind, Way, guarded};

/// The first bytes of a copy.
const MARK: &[u8] = b"holdline rows 1\n";
/// Rows written at once.
const BATCH: usize = 1000;
/// Far beyond any row of ours.
const BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Copies the journal of a data folder that nobody uses, whatever store it is in.
pub fn export(data: &Path, to: &mut dyn Write) -> io::Result<()> {
    let kind = StoreKind::of(&data.join("journal")).unwrap_or(StoreKind::Sqlite);
    let (_lock, store, _) = open::open(data, kind).map_err(io::Error::other)?;
    to.write_all(MARK)?;
    let written = guarded(|| {
        store.walk(&[]..&rows::behind(&[]), Order::Forward, &mut |key, value| {
            for part in [key, value] {
                to.write_all(&u32::try_from(part.len()).map_err(io::Error::other)?.to_be_bytes())?;
                to.write_all(part)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    });
    written.map_err(io::Error::other)
}

/// Makes a journal of a copy, in a data folder that has none.
pub fn import(data: &Path, kind: StoreKind, from: &mut dyn Read) -> io::Result<()> {
    if data.join("journal").exists() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "expected a folder without a journal, found one",
        ));
    }
    let mut mark = vec![0; MARK.len()];
    from.read_exact(&mut mark)?;
    if mark != MARK {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "expected a copy of a journal, found something else",
        ));
    }
    std::fs::create_dir_all(data)?;
    let store = kind.open(&data.join("journal")).map_err(io::Error::other)?;
    let mut filling = Filling::new(store.as_ref(), 0);
    while let Some(key) = part(from)? {
        let value = part(from)?.ok_or(ErrorKind::UnexpectedEof)?;
        filling.add(&key, &value).map_err(io::Error::other)?;
    }
    filling.finish().map_err(io::Error::other)
}

/// Puts all rows of one store into another one, which then stands where that one does.
pub fn pour(from: &dyn Store, into: &dyn Store) -> Result<(), StoreError> {
    let mut filling = Filling::new(into, from.number(APPLIED)?.unwrap_or(0));
    from.walk(&[]..&rows::behind(&[]), Order::Forward, &mut |key, value| {
        filling.add(key, value)?;
        Ok(ControlFlow::Continue(()))
    })?;
    filling.finish()
}

/// A store that gets its rows from elsewhere.
struct Filling<'s> {
    store: &'s dyn Store,
    /// Of the newest batch in it, when it is full.
    number: u64,
    batch: Rows,
    rows: usize,
}

impl Filling<'_> {
    fn new(store: &dyn Store, number: u64) -> Filling<'_> {
        Filling { store, number, batch: Rows::default(), rows: 0 }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.batch.insert(key, value);
        self.rows += 1;
        if self.rows.is_multiple_of(BATCH) { self.apply() } else { Ok(()) }
    }

    fn apply(&mut self) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut self.batch);
        guarded(|| self.store.apply(self.number, &batch, Way::AtOnce))?;
        if self.store.wants_sync() { guarded(|| self.store.sync()) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<(), StoreError> {
        self.apply()?;
        guarded(|| self.store.sync())
    }
}

/// A key or a value; none at the end of the file.
fn part(from: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..])?;
    let length = u32::from_be_bytes(length);
    if length > BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a row has {length} bytes")));
    }
    let mut part = Vec::new();
    let read = from.take(length.into()).read_to_end(&mut part)?;
    if read == usize::try_from(length).unwrap_or(usize::MAX) {
        Ok(Some(part))
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}
