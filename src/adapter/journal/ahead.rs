//! A log ahead of the store: what was acknowledged is in it, on disk, before the store's own file has it.
//!
//! The store needs several writes for a batch, each of which waits for the disk. Here a batch is one frame behind the
//! last one, in a file whose room is there already: one write, one sync, and neither changes the file's size. The
//! store gets it in memory and writes it when it likes. A start puts into the store what only the log has.
//!
//! Two halves take turns: one is written over once the store has synced all that stands in it. Nothing is ever erased,
//! since numbers tell what is old: a half is read as far as its frames are whole and count up.
//!
//! A frame: the length of its rows (4 bytes), a checksum of all that follows (4), its number (8), the rows. A row: the
//! length of its key (2), that of its value (4, or [`REMOVED`]), key and value. Numbers are little-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of one half: seconds of a busy server, and little on a small disk.
pub const HALF_BYTES: u64 = 2 * 1024 * 1024;
const NAMES: [&str; 2] = ["ahead-0", "ahead-1"];
const HEADER_BYTES: usize = 16;
/// A row that is taken away has this instead of a length.
const REMOVED: u32 = u32::MAX;
/// A disk with less room than this is full.
const FREE_BYTES_LEAST: u64 = 1024 * 1024;
/// Frames that nobody waits for are kept in memory until somebody does, or until they are so many bytes.
const LAZY_BYTES_MAX: usize = 64 * 1024;

/// What a batch does to the store's rows, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Rows {
    pub fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.rows.push((key.into(), Some(value.into())));
    }

    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.rows.push((key.into(), None));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

/// A batch and its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub number: u64,
    pub rows: Rows,
}

pub struct Ahead {
    halves: [Half; 2],
    /// The half that is being written.
    at: usize,
    /// The number of the newest frame.
    newest: u64,
    /// The newest that is on disk, and all before it.
    synced: u64,
    /// Frames behind what is on disk. They stay here until a sync has covered them: after one that failed nobody knows
    /// what of them is there, and all are written again.
    unsynced: Vec<u8>,
}

struct Half {
    file: File,
    /// Where the next frame goes, those in memory counted.
    end: u64,
    /// Its newest frame.
    newest: u64,
}

/// Why a frame finds no place.
#[derive(Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The half is full: the other one has to be begun.
    Full,
    /// No half could hold it.
    TooLarge,
}

/// What a log holds, oldest first.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub frames: Vec<Frame>,
    /// The last one was half written, and is cut off.
    pub torn: bool,
}

impl Ahead {
    /// Opens the log in a store's folder, or makes one. What it holds is for the store; then it begins anew behind
    /// `newest`, the newest frame that the store has.
    pub fn open(folder: &Path) -> io::Result<(Ahead, Found)> {
        let halves = [open_half(&folder.join(NAMES[0]))?, open_half(&folder.join(NAMES[1]))?];
        // New files are found again only once their folder is on disk, too.
        File::open(folder)?.sync_all()?;
        let mut ahead = Ahead { halves, at: 0, newest: 0, synced: 0, unsynced: Vec::new() };
        let found = ahead.read()?;
        Ok((ahead, found))
    }

    /// Everything that can be read of both halves.
    pub fn read(&mut self) -> io::Result<Found> {
        let (mut found, mut ends) = (Found::default(), Vec::new());
        for half in &mut self.halves {
            let mut bytes = Vec::new();
            half.file.seek(SeekFrom::Start(0))?;
            (&half.file).take(HALF_BYTES).read_to_end(&mut bytes)?;
            let (frames, torn) = frames(&bytes);
            ends.push((frames.last().map(|frame| frame.number), torn));
            found.frames.extend(frames);
        }
        found.frames.sort_by_key(|frame| frame.number);
        // Only the half with the newest frame was being written.
        found.torn = ends.into_iter().max().is_some_and(|(_, torn)| torn);
        Ok(found)
    }

    /// All that it holds is in the store's file: both halves are free, and numbers go on behind this one.
    pub fn begin_behind(&mut self, newest: u64) {
        (self.newest, self.synced, self.at) = (newest, newest, 0);
        self.unsynced.clear();
        for half in &mut self.halves {
            (half.end, half.newest) = (0, newest);
        }
    }

    /// The number of the newest frame.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// All frames up to this one are on disk.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// Takes a frame; [`Ahead::sync`] brings it to the disk.
    pub fn put(&mut self, rows: &Rows) -> Result<u64, NoPlace> {
        let number = self.newest + 1;
        let frame = encode(number, rows).ok_or(NoPlace::TooLarge)?;
        let length = u64::try_from(frame.len()).map_err(|_| NoPlace::TooLarge)?;
        if length > HALF_BYTES {
            return Err(NoPlace::TooLarge);
        }
        let half = &mut self.halves[self.at];
        if half.end + length > HALF_BYTES {
            return Err(NoPlace::Full);
        }
        half.end += length;
        half.newest = number;
        self.newest = number;
        self.unsynced.extend_from_slice(&frame);
        Ok(number)
    }

    /// Brings everything to the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let half = &self.halves[self.at];
        has_room(&half.file)?;
        let length = u64::try_from(self.unsynced.len()).unwrap_or(u64::MAX);
        half.file.write_all_at(&self.unsynced, half.end.saturating_sub(length))?;
        half.file.sync_data()?;
        self.unsynced.clear();
        self.synced = self.newest;
        Ok(())
    }

    /// Whether what nobody waits for has become so much that it should go to the disk.
    pub fn is_lazy(&self) -> bool {
        self.unsynced.len() > LAZY_BYTES_MAX
    }

    /// The frame up to which the store must be on disk before the other half can be begun.
    pub fn blocked_by(&self) -> u64 {
        self.halves[1 - self.at].newest
    }

    /// Goes on in the other half, from its beginning. Everything is on disk, and the store has what was in that half.
    pub fn turn_over(&mut self) {
        debug_assert!(self.unsynced.is_empty(), "a half is left with everything on disk");
        self.at = 1 - self.at;
        self.halves[self.at].end = 0;
    }
}

fn open_half(path: &Path) -> io::Result<Half> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let length = file.metadata()?.len();
    if length < HALF_BYTES {
        // Written, not only reserved: the first write to reserved room changes the file system's own books, and a sync
        // has to wait for them.
        file.seek(SeekFrom::Start(length))?;
        let missing = usize::try_from(HALF_BYTES - length).unwrap_or_default();
        file.write_all(&vec![0; missing])?;
        file.sync_all()?;
    }
    Ok(Half { file, end: 0, newest: 0 })
}

/// The log has its room, but what is in it must find one in the store as well: on a full disk nothing is taken.
pub fn has_room(file: &File) -> io::Result<()> {
    let volume = rustix::fs::fstatvfs(file)?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    if free >= FREE_BYTES_LEAST {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::StorageFull,
        format!("expected {FREE_BYTES_LEAST} bytes free on the disk at least, found {free}"),
    ))
}

fn encode(number: u64, rows: &Rows) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    for (key, value) in &rows.rows {
        let length = match value {
            Some(value) => u32::try_from(value.len()).ok().filter(|length| *length != REMOVED)?,
            None => REMOVED,
        };
        frame.extend_from_slice(&u16::try_from(key.len()).ok()?.to_le_bytes());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(key);
        frame.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    let length = u32::try_from(frame.len() - HEADER_BYTES).ok()?;
    let checksum = checksum(number, frame.get(HEADER_BYTES..)?);
    let header = [&length.to_le_bytes()[..], &checksum.to_le_bytes(), &number.to_le_bytes()].concat();
    frame.splice(..HEADER_BYTES, header);
    Some(frame)
}

fn checksum(number: u64, rows: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&number.to_le_bytes());
    checksum.update(rows);
    checksum.finalize()
}

/// The frames of a half, as far as they are whole and count up; and whether the one behind them was begun.
fn frames(bytes: &[u8]) -> (Vec<Frame>, bool) {
    let mut frames: Vec<Frame> = Vec::new();
    let mut rest = bytes;
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let [l0, l1, l2, l3, c0, c1, c2, c3, number @ ..] = *header;
        let number = u64::from_le_bytes(number);
        let is_next = frames.last().is_none_or(|last| number == last.number + 1);
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let whole = (number > 0).then(|| behind.split_at_checked(length)).flatten();
        let whole = whole
            .filter(|_| is_next)
            .filter(|(rows, _)| checksum(number, rows) == u32::from_le_bytes([c0, c1, c2, c3]));
        let Some((rows, behind)) = whole.and_then(|(rows, behind)| Some((decode(rows)?, behind))) else {
            return (frames, is_next && number > 0);
        };
        frames.push(Frame { number, rows });
        rest = behind;
    }
    (frames, false)
}

fn decode(mut bytes: &[u8]) -> Option<Rows> {
    let mut rows = Rows::default();
    while !bytes.is_empty() {
        let (key, behind) = bytes.split_first_chunk()?;
        let (value, behind) = behind.split_first_chunk()?;
        let (key, behind) = behind.split_at_checked(u16::from_le_bytes(*key).into())?;
        match u32::from_le_bytes(*value) {
            REMOVED => {
                rows.remove(key);
                bytes = behind;
            }
            length => {
                let (value, behind) = behind.split_at_checked(usize::try_from(length).ok()?)?;
                rows.insert(key, value);
                bytes = behind;
            }
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Rows {
        let mut rows = Rows::default();
        rows.insert(text, format!("{text} is here"));
        rows.insert("nothing in it", "");
        rows.remove("another");
        rows
    }

    fn numbers(found: &Found) -> Vec<u64> {
        found.frames.iter().map(|frame| frame.number).collect()
    }

    #[test]
    fn what_was_synced_is_found_again_and_a_torn_tail_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ahead, found) = Ahead::open(folder.path()).unwrap();
        assert_eq!(found, Found::default());
        ahead.begin_behind(41);
        for text in ["one", "two", "three"] {
            ahead.put(&rows(text)).unwrap();
            ahead.sync().unwrap();
        }
        let end = ahead.halves[0].end;
        drop(ahead);
        let (_, found) = Ahead::open(folder.path()).unwrap();
        assert_eq!(numbers(&found), [42, 43, 44]);
        assert_eq!(found.frames[1].rows, rows("two"));
        assert!(!found.torn);
        // The last one, cut at each of its bytes, or with one bit turned.
        let whole = std::fs::read(folder.path().join(NAMES[0])).unwrap();
        let end = usize::try_from(end).unwrap();
        let second = frames(&whole[..end]).0.len() - 1;
        assert_eq!(second, 2);
        let third = end - encode(44, &rows("three")).unwrap().len();
        for at in third..end {
            let mut torn = whole.clone();
            torn[at..end].fill(0);
            let (kept, _) = frames(&torn);
            assert_eq!(kept.len(), if torn == whole { 3 } else { 2 }, "cut at {at}");
            let mut turned = whole.clone();
            turned[at] ^= 0x10;
            assert_eq!(frames(&turned).0.len(), 2, "turned at {at}");
        }
        let mut torn = whole.clone();
        torn[end - 1] ^= 1;
        assert!(frames(&torn).1, "it can be told that one was begun");
    }

    #[test]
    fn a_half_that_is_written_over_tells_nothing_of_what_was_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ahead, _) = Ahead::open(folder.path()).unwrap();
        ahead.begin_behind(0);
        let (mut last, mut turns) = (0, 0);
        while turns < 3 {
            let text = "x".repeat(100_000 + usize::try_from(last).unwrap());
            match ahead.put(&rows(&text[..60_000])) {
                Ok(number) => last = number,
                Err(NoPlace::Full) => {
                    ahead.sync().unwrap();
                    ahead.turn_over();
                    turns += 1;
                }
                Err(NoPlace::TooLarge) => panic!("it is small"),
            }
        }
        ahead.put(&rows("the first of the fourth")).unwrap();
        ahead.sync().unwrap();
        assert_eq!(ahead.synced(), last + 1);
        let found = ahead.read().unwrap();
        let numbers = numbers(&found);
        assert_eq!(numbers.last(), Some(&(last + 1)));
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
        assert!(numbers.len() < 40, "the half before it, and one: {numbers:?}");
    }

    #[test]
    fn what_no_half_could_hold_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ahead, _) = Ahead::open(folder.path()).unwrap();
        let mut rows = Rows::default();
        rows.insert("large", vec![0; usize::try_from(HALF_BYTES).unwrap()]);
        assert_eq!(ahead.put(&rows), Err(NoPlace::TooLarge));
        assert_eq!(ahead.newest(), 0);
    }
}
