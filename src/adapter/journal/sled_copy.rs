//! A store as one file: what is in it, row by row, as it is stored. Copies outlive the store's own format, and old ones
//! are what proves that old facts can still be read.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use super::sled_open::{self, StoreError, guarded};

/// The first bytes of a copy.
const MARK: &[u8] = b"holdline rows 1\n";
/// Rows written at once.
const BATCH: usize = 1000;
/// Far beyond any row of ours.
const BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Copies the journal of a data folder that nobody uses.
pub fn export(data: &Path, to: &mut dyn Write) -> io::Result<()> {
    let (_lock, store, _) = sled_open::open(data).map_err(io::Error::other)?;
    to.write_all(MARK)?;
    let rows: Vec<(sled::IVec, sled::IVec)> =
        guarded(|| Ok(store.db.iter().collect::<Result<_, _>>()?)).map_err(io::Error::other)?;
    for (key, value) in rows {
        for part in [&key, &value] {
            to.write_all(&u32::try_from(part.len()).map_err(io::Error::other)?.to_be_bytes())?;
            to.write_all(part)?;
        }
    }
    Ok(())
}

/// Makes a journal of a copy, in a data folder that has none.
pub fn import(data: &Path, from: &mut dyn Read) -> io::Result<()> {
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
    let store = sled_open::open_store(&data.join("journal")).map_err(io::Error::other)?;
    let apply =
        |batch| guarded(|| Ok::<_, StoreError>(store.db.apply_batch(batch)?)).map_err(io::Error::other);
    let (mut batch, mut rows) = (sled::Batch::default(), 0);
    while let Some(key) = part(from)? {
        let value = part(from)?.ok_or(ErrorKind::UnexpectedEof)?;
        batch.insert(key, value);
        rows += 1;
        if rows % BATCH == 0 {
            apply(std::mem::take(&mut batch))?;
        }
    }
    apply(batch)?;
    store.sync().map_err(io::Error::other)
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
