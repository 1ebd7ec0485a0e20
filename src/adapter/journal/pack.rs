//! How a story that is over is kept small. Most of what a call leaves is its workflow, which the next call leaves
//! again, and words that all facts share: both are a dictionary that the story is deflated against.
//!
//! What was packed once must unpack for ever, so nothing here changes without another [`VERSION`].

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use holdline_actors::port::journal::JournalError;
use holdline_core::fact::{Entry, Fact, RunFact};
use sha2::{Digest, Sha256};

/// The first byte of what is packed. Facts that are not begin with the bracket of their list.
const VERSION: u8 = 1;
/// The best that deflate does; a story is packed once, on the journal's own thread.
const LEVEL: u32 = 9;
/// Without a header and a checksum: the stores have their own.
const RAW: bool = false;
/// What deflate looks back at, less the words and a little of the story itself.
const SCRIPT_BYTES_MAX: usize = 24 * 1024;
/// No story comes near it. What says more is damage.
const PLAIN_BYTES_MAX: usize = 1 << 30;
const GROW: usize = 16 * 1024;

/// What every story has in it, the most frequent last.
const WORDS: &[u8] = include_bytes!("words.txt");

thread_local! {
    /// One of each for the thread that writes, and for the one that reads. A press takes 300 KiB: made anew for each
    /// story, it leaves holes of that size between what the store keeps in memory, and memory grows with every call.
    static PRESSES: RefCell<(Compress, Decompress)> =
        RefCell::new((Compress::new(Compression::new(LEVEL), RAW), Decompress::new(RAW)));
}

/// The name of a workflow's snapshot; stories of the same one share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptId(pub [u8; ID_BYTES]);

const ID_BYTES: usize = 16;
/// Of a story without a workflow.
const NONE: [u8; ID_BYTES] = [0; ID_BYTES];

/// The workflow that a story tells of, as it stands in its facts.
pub fn script_of(entries: &[Entry]) -> Option<(ScriptId, Vec<u8>)> {
    let script = entries.iter().find_map(|entry| match &entry.fact {
        Fact::Run(RunFact::Begun(begun)) => Some(&begun.script),
        _ => None,
    })?;
    let text = serde_json::to_vec(script).ok()?;
    let mut id = [0; ID_BYTES];
    id.iter_mut().zip(Sha256::digest(&text)).for_each(|(to, from)| *to = from);
    Some((ScriptId(id), text))
}

/// A list of facts, small.
pub fn pack(list: &[u8], script: Option<(ScriptId, &[u8])>) -> Result<Vec<u8>, JournalError> {
    let (id, text) = script.map_or((NONE, &[][..]), |(ScriptId(id), text)| (id, text));
    let mut packed = vec![VERSION];
    packed.extend_from_slice(&id);
    packed.extend(deflate(list, &dictionary(text))?);
    Ok(packed)
}

/// The script that has to be known to unpack this; `None` where it is not packed at all.
pub fn needs(bytes: &[u8]) -> Option<Option<ScriptId>> {
    let (VERSION, rest) = bytes.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    let id: [u8; ID_BYTES] = rest.get(..ID_BYTES)?.try_into().ok()?;
    Some((id != NONE).then_some(ScriptId(id)))
}

pub fn unpack(packed: &[u8], script: &[u8]) -> Result<Vec<u8>, JournalError> {
    inflate(packed.get(1 + ID_BYTES..).unwrap_or_default(), &dictionary(script))
}

/// A script as it is kept for those who need it.
pub fn pack_script(text: &[u8]) -> Result<Vec<u8>, JournalError> {
    deflate(text, WORDS)
}

pub fn unpack_script(packed: &[u8]) -> Result<Vec<u8>, JournalError> {
    inflate(packed, WORDS)
}

fn dictionary(script: &[u8]) -> Vec<u8> {
    let script = script.get(..SCRIPT_BYTES_MAX).unwrap_or(script);
    [script, WORDS].concat()
}

fn deflate(plain: &[u8], dictionary: &[u8]) -> Result<Vec<u8>, JournalError> {
    let failed = |why: &dyn std::fmt::Display| JournalError::Write(format!("a story can't be packed: {why}"));
    PRESSES.with_borrow_mut(|(press, _)| {
        press.reset();
        press.set_dictionary(dictionary).map_err(|error| failed(&error))?;
        let mut packed = Vec::with_capacity(GROW);
        loop {
            let rest = rest_of(plain, press.total_in());
            let status = press.compress_vec(rest, &mut packed, FlushCompress::Finish);
            if status.map_err(|error| failed(&error))? == Status::StreamEnd {
                return Ok(packed);
            }
            packed.reserve(GROW);
        }
    })
}

fn inflate(packed: &[u8], dictionary: &[u8]) -> Result<Vec<u8>, JournalError> {
    let failed = |why: &str| JournalError::Read(format!("a packed story is damaged: {why}"));
    PRESSES.with_borrow_mut(|(_, press)| {
        press.reset(RAW);
        press.set_dictionary(dictionary).map_err(|error| failed(&error.to_string()))?;
        let mut plain = Vec::with_capacity(GROW);
        loop {
            let rest = rest_of(packed, press.total_in());
            let status = press.decompress_vec(rest, &mut plain, FlushDecompress::Finish);
            if status.map_err(|error| failed(&error.to_string()))? == Status::StreamEnd {
                return Ok(plain);
            }
            if plain.len() < plain.capacity() {
                return Err(failed("it ends too early"));
            }
            if plain.len() > PLAIN_BYTES_MAX {
                return Err(failed("it has no end"));
            }
            plain.reserve(plain.len().max(GROW));
        }
    })
}

fn rest_of(bytes: &[u8], done: u64) -> &[u8] {
    usize::try_from(done).ok().and_then(|done| bytes.get(done..)).unwrap_or_default()
}
