//! The layout of the store. All rows stand in one tree, because a batch is atomic only within one; the first byte says
//! what a row is, and numbers are big-endian, so that rows sort as they are to be read.
//!
//! | key | value | what for |
//! |---|---|---|
//! | `m` name | number | the format; the next row number, and the number of the batch, written with every batch |
//! | `k` key | place | where a story stands |
//! | `s` place | head as JSON | the list, newest last |
//! | `e` place row | facts as JSON, in pieces | the story itself, as long as it is not over |
//! | `d` script | a workflow, packed | the dictionary of packed stories |
//! | `p` place piece | row number, and a state, packed | the snapshot of an open story, and the first row behind it |
//! | `n` script | number | how many packed stories need it |
//! | `r` run | place | which story of another name holds a run |
//! | `o` place | | stories that are not over |
//! | `x` end place piece | facts, packed, in pieces | stories that are over, oldest end first |
//!
//! A story that ends moves: the rows of open stories come and go, and the store can throw whole leaves of them away;
//! those of ended ones are written once, in the order in which they will be deleted.

use holdline_actors::port::journal::JournalError;
use holdline_core::RunId;
use holdline_core::fact::{Entry, Fact, Key};

use super::pack::ScriptId;

/// Of this layout. A store that says a higher number was written by a later version; all lower ones can be read.
///
/// 2: stories that are over are packed, and move. 3: there is a log ahead of the store.
pub const FORMAT: u64 = 3;

pub const OPEN: &[u8] = b"o";
pub const HEADS: &[u8] = b"s";

/// Bytes of facts in one row. sled writes a leaf of some twenty rows at once, and can't hold a large one well.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// No key is longer.
const KEY_BYTES_MAX: usize = 1024;

/// A piece that another one follows, and the last one.
const MORE: u8 = 1;
const LAST: u8 = 0;

/// The end of all keys that begin so.
pub fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; KEY_BYTES_MAX]
}

pub fn meta(name: &str) -> Vec<u8> {
    [b"m", name.as_bytes()].concat()
}

pub fn place_of(key: &Key) -> Vec<u8> {
    match key {
        Key::Call(call) => [b"kc", call.0.as_bytes()].concat(),
        Key::Run(run) => [b"kr", run.0.as_bytes().as_slice()].concat(),
        Key::Delivery(delivery) => [b"kd", delivery.0.as_bytes().as_slice()].concat(),
        Key::Placement(placement) => [b"kp", placement.0.as_bytes().as_slice()].concat(),
        Key::Flow(flow) => [b"kf", flow.0.as_bytes()].concat(),
    }
}

pub fn head(place: u64) -> Vec<u8> {
    numbered(b's', &[place])
}

pub fn rows_of(place: u64) -> Vec<u8> {
    numbered(b'e', &[place])
}

pub fn row(place: u64, number: u64) -> Vec<u8> {
    numbered(b'e', &[place, number])
}

pub fn run(run: &RunId) -> Vec<u8> {
    [b"r", run.0.as_bytes().as_slice()].concat()
}

pub fn snapshot_of(place: u64) -> Vec<u8> {
    numbered(b'p', &[place])
}

pub fn snapshot(place: u64, number: u64) -> Vec<u8> {
    numbered(b'p', &[place, number])
}

pub fn open(place: u64) -> Vec<u8> {
    numbered(b'o', &[place])
}

/// Of a story that is over.
pub fn pieces_of(ended_ms: u64, place: u64) -> Vec<u8> {
    numbered(b'x', &[ended_ms, place])
}

pub fn piece(ended_ms: u64, place: u64, number: u64) -> Vec<u8> {
    numbered(b'x', &[ended_ms, place, number])
}

pub fn ended_before(ended_ms: u64) -> std::ops::Range<Vec<u8>> {
    numbered(b'x', &[0])..numbered(b'x', &[ended_ms])
}

/// The last number of a key or a value.
pub fn number(bytes: &[u8]) -> Result<u64, JournalError> {
    let tail = bytes.len().checked_sub(8).and_then(|start| bytes.get(start..));
    tail.and_then(|tail| tail.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| JournalError::Read(format!("expected a number of 8 bytes, got {} bytes", bytes.len())))
}

pub fn script(ScriptId(id): ScriptId) -> Vec<u8> {
    [b"d", id.as_slice()].concat()
}

pub fn users_of(ScriptId(id): ScriptId) -> Vec<u8> {
    [b"n", id.as_slice()].concat()
}

/// When and where a row of ended stories says that a story ended.
pub fn end_and_place(key: &[u8]) -> Result<(u64, u64), JournalError> {
    let until = |end| key.get(..end).unwrap_or_default();
    Ok((number(until(9))?, number(until(17))?))
}

/// Facts of one story as the values of consecutive rows.
pub fn pieces<'e>(entries: impl Iterator<Item = &'e Entry>) -> Result<Vec<Vec<u8>>, JournalError> {
    let facts: Vec<(u64, &Fact)> = entries.map(|entry| (entry.wall_ms, &entry.fact)).collect();
    let bytes = serde_json::to_vec(&facts).map_err(|error| JournalError::Write(error.to_string()))?;
    Ok(cut(&bytes))
}

/// All facts of a story as one list, from the values of its rows.
pub fn joined(lists: &[Vec<u8>]) -> Vec<u8> {
    // Each is a JSON list with something in it: what stands between their brackets is put into one.
    let inside = |list: &Vec<u8>| list.get(1..list.len().saturating_sub(1)).unwrap_or_default().to_vec();
    [b"[".as_slice(), &lists.iter().map(inside).collect::<Vec<_>>().join(&b','), b"]"].concat()
}

pub fn entries(key: &Key, lists: &[Vec<u8>]) -> Result<Vec<Entry>, JournalError> {
    let mut entries = Vec::new();
    for list in lists {
        let facts: Vec<(u64, Fact)> = serde_json::from_slice(list)
            .map_err(|error| JournalError::Read(format!("a fact of {key:?} can't be understood: {error}")))?;
        entries.extend(facts.into_iter().map(|(wall_ms, fact)| Entry { key: key.clone(), wall_ms, fact }));
    }
    Ok(entries)
}

/// What one row can't hold is cut, and put together again by [`lists`].
pub fn cut(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> =
        bytes.chunks(PIECE_BYTES_MAX - 1).map(|piece| [&[MORE], piece].concat()).collect();
    if let Some(flag) = pieces.last_mut().and_then(|piece| piece.first_mut()) {
        *flag = LAST;
    }
    pieces
}

/// The lists of facts in the values of a story's rows; some may be packed.
pub fn lists(values: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let mut lists = Vec::new();
    let mut list = Vec::new();
    for value in values {
        let Some((flag, piece)) = value.as_ref().split_first() else { continue };
        list.extend_from_slice(piece);
        if *flag == LAST {
            lists.push(std::mem::take(&mut list));
        }
    }
    lists
}

fn numbered(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut key = vec![kind];
    for number in numbers {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key
}
