//! The journal on disk: an embedded store, and a log of our own ahead of it.
//!
//! What is written is durable in the log, and then in the store for whoever reads. After a failed write everything is
//! refused until the store is opened again; what the failed batch left behind is then looked up, so that nothing is
//! written twice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdline_actors::port::journal::{Journal, JournalError, Kind, Listed, Story};
use holdline_core::fact::{Entry, Key};
use holdline_core::{CallId, RunId};

use super::ahead::{HALF_BYTES, Rows};
use super::open::{self, OpenError};
use super::pack::{self, ScriptId};
use super::pen::{Pen, Shelf};
use super::rows;
use super::store::{Order, Row, StoreError, StoreKind, Way};

pub struct DiskJournal {
    shelf: Arc<Shelf>,
    pen: Option<Pen>,
    /// The last batch is durable, and its giver was told that it failed: it is given again.
    given: bool,
}

impl DiskJournal {
    /// Opens the journal of a data folder, or begins one, in a store of this kind. One that was kept in another kind of
    /// store is moved; one that can't be read is set aside.
    pub fn open(data: &Path, kind: StoreKind) -> Result<DiskJournal, OpenError> {
        let (lock, store, ahead) = open::open(data, kind)?;
        let shelf = Arc::new(Shelf::new(data.to_owned(), kind, store));
        let pen = Pen::new(lock, ahead, &shelf).map_err(|error| OpenError::Folder {
            path: data.to_owned(),
            source: std::io::Error::other(error),
        })?;
        Ok(DiskJournal { shelf, pen: Some(pen), given: false })
    }

    fn write(&mut self, rows: Rows, durable: bool) -> Result<(), JournalError> {
        let pen = self.pen.as_mut().ok_or_else(reads_only)?;
        pen.put(&self.shelf, rows, Way::AtOnce, durable).map_err(cannot_write)?;
        pen.settle(&self.shelf).map_err(cannot_write)
    }

    /// After a failed write the store is opened anew, once the disk takes something again.
    fn mend(&mut self) -> Result<(), JournalError> {
        self.pen.as_mut().ok_or_else(reads_only)?.mend(&self.shelf).map_err(cannot_write)
    }

    fn forget(&mut self, key: &Key, durable: bool) -> Result<(), JournalError> {
        self.mend()?;
        let Some(place) = self.shelf.place(key)? else { return Ok(()) };
        let head = self.shelf.head(place)?.unwrap_or_else(|| Story::of(key.clone()));
        let mut batch = Rows::default();
        let rows = self.shelf.rows(place, &head)?;
        // A story that can't be understood can still be deleted; its runs then lead nowhere.
        let (lists, scripts) = self.shelf.unpacked(&rows).unwrap_or_default();
        for run in runs_of(key, rows::entries(key, &lists).unwrap_or_default().iter()) {
            batch.remove(rows::run(&run));
        }
        for script in scripts {
            match self.shelf.users(script)? {
                0 | 1 => {
                    batch.remove(rows::script(script));
                    batch.remove(rows::users_of(script));
                }
                users => batch.insert(rows::users_of(script), (users - 1).to_be_bytes()),
            }
        }
        for (key, _) in rows.iter().chain(&self.shelf.snapshot(place)?) {
            batch.remove(key.to_vec());
        }
        batch.remove(rows::open(place));
        batch.remove(rows::head(place));
        batch.remove(rows::place_of(key));
        self.write(batch, durable)?;
        self.shelf.tidy(&rows);
        Ok(())
    }

    /// A reader sees what was acknowledged before it looks.
    fn catch_up(&self) {
        if self.pen.is_none() {
            self.shelf.catch_up();
        }
    }
}

/// What both hands read.
impl Shelf {
    fn place(&self, key: &Key) -> Result<Option<u64>, JournalError> {
        let value = self.with(|store| store.get(&rows::place_of(key))).map_err(cannot_read)?;
        value.map(|value| rows::number(&value)).transpose()
    }

    fn head(&self, place: u64) -> Result<Option<Story>, JournalError> {
        let value = self.with(|store| store.get(&rows::head(place))).map_err(cannot_read)?;
        let Some(value) = value else { return Ok(None) };
        serde_json::from_slice(&value).map(Some).map_err(|error| {
            JournalError::Read(format!("the head of story {place} can't be understood: {error}"))
        })
    }

    /// A story's rows: their keys and values, in order. What it was packed into when it ended comes first.
    fn rows(&self, place: u64, head: &Story) -> Result<Vec<Row>, JournalError> {
        let packed = head.ended_ms.map(|ended_ms| rows::pieces_of(ended_ms, place));
        let prefixes = packed.into_iter().chain([rows::rows_of(place)]);
        self.with(|store| {
            let mut found = Vec::new();
            for prefix in prefixes {
                found.append(&mut store.rows(&prefix)?);
            }
            Ok(found)
        })
        .map_err(cannot_read)
    }

    fn tidy(&self, removed: &[Row]) {
        if let Err(error) = self.with(|store| store.tidy(removed)) {
            tracing::warn!(%error, "the store could not be tidied; it takes more of the disk than it must");
        }
    }

    fn snapshot(&self, place: u64) -> Result<Vec<Row>, JournalError> {
        self.with(|store| store.rows(&rows::snapshot_of(place))).map_err(cannot_read)
    }

    fn entries(&self, key: &Key, place: u64, head: &Story) -> Result<Vec<Entry>, JournalError> {
        let (lists, _) = self.unpacked(&self.rows(place, head)?)?;
        rows::entries(key, &lists)
    }

    /// The lists of facts in a story's rows, unpacked, and the scripts that were needed for it.
    fn unpacked(&self, rows: &[Row]) -> Result<(Vec<Vec<u8>>, Vec<ScriptId>), JournalError> {
        let values: Vec<&Vec<u8>> = rows.iter().map(|(_, value)| value).collect();
        let (mut lists, mut scripts) = (rows::lists(&values), Vec::new());
        for list in &mut lists {
            let Some(script) = pack::needs(list) else { continue };
            scripts.extend(script);
            let text = script.map(|script| self.script(script)).transpose()?;
            *list = pack::unpack(list, text.as_deref().unwrap_or_default())?;
        }
        Ok((lists, scripts))
    }

    fn script(&self, script: ScriptId) -> Result<Vec<u8>, JournalError> {
        let packed = self.with(|store| store.get(&rows::script(script))).map_err(cannot_read)?;
        let packed = packed
            .ok_or_else(|| JournalError::Read("the workflow of a packed story is not here".to_owned()))?;
        pack::unpack_script(&packed)
    }

    /// How many packed stories need a script.
    fn users(&self, script: ScriptId) -> Result<u64, JournalError> {
        let value = self.with(|store| store.get(&rows::users_of(script))).map_err(cannot_read)?;
        value.map_or(Ok(0), |value| rows::number(&value))
    }
}

impl Journal for DiskJournal {
    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.mend()?;
        if !std::mem::take(&mut self.given) {
            self.log(entries)?;
        }
        self.settle().inspect_err(|_| self.given = true)
    }

    fn log(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.mend()?;
        let pen = self.pen.as_mut().ok_or_else(reads_only)?;
        if pen.was_written(&self.shelf).map_err(cannot_write)? {
            return Ok(());
        }
        let mut batch = Rows::default();
        let (mut next_row, mut next_place) = (pen.next_row, pen.next_place);
        // Rows first, and what leads to them behind: whoever reads in between finds a beginning, or nothing.
        for (key, entries) in by_story(entries) {
            let known = self.shelf.place(key)?;
            let place = known.unwrap_or(next_place);
            for piece in rows::pieces(entries.iter().copied())? {
                batch.insert(rows::row(place, next_row), piece);
                next_row += 1;
            }
            for run in runs_of(key, entries.iter().copied()) {
                batch.insert(rows::run(&run), place.to_be_bytes());
            }
            if known.is_none() {
                next_place += 1;
                batch.insert(rows::place_of(key), place.to_be_bytes());
            }
            if known.is_none() || entries.iter().any(|entry| Story::concerns(&entry.fact)) {
                let head = if known.is_some() { self.shelf.head(place)? } else { None };
                let mut head = head.unwrap_or_else(|| Story::of(key.clone()));
                entries.iter().for_each(|entry| head.learn(&entry.fact));
                batch.insert(rows::head(place), json(&head)?);
            }
            if known.is_none() {
                batch.insert(rows::open(place), []);
            }
        }
        batch.insert(rows::meta("next_row"), next_row.to_be_bytes());
        pen.append(&self.shelf, batch, next_row, next_place).map_err(cannot_write)
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        self.mend()
    }

    fn read(&self, key: &Key) -> Result<Vec<Entry>, JournalError> {
        self.catch_up();
        let Some(place) = self.shelf.place(key)? else { return Ok(Vec::new()) };
        let mut head = self.shelf.head(place)?;
        // The writer may move or delete the story meanwhile. It does either once, so this ends.
        loop {
            let Some(before) = head else { return Ok(Vec::new()) };
            let entries = self.shelf.entries(key, place, &before);
            head = self.shelf.head(place)?;
            if head.as_ref().is_some_and(|after| after.ended_ms == before.ended_ms) {
                return entries;
            }
        }
    }

    fn story(&self, key: &Key) -> Result<Option<Story>, JournalError> {
        self.catch_up();
        match self.shelf.place(key)? {
            Some(place) => self.shelf.head(place),
            None => Ok(None),
        }
    }

    fn open_stories(&self) -> Result<Vec<Story>, JournalError> {
        self.catch_up();
        let open = self.shelf.with(|store| store.rows(rows::OPEN)).map_err(cannot_read)?;
        let mut stories = Vec::with_capacity(open.len());
        for (key, _) in open {
            stories.extend(self.shelf.head(rows::number(&key)?)?);
        }
        Ok(stories)
    }

    /// Packs the story, against the workflow that it has in common with others, and moves it. Not synced: a story that
    /// is found open again is closed again.
    fn close(&mut self, key: &Key) -> Result<(), JournalError> {
        self.mend()?;
        let Some(place) = self.shelf.place(key)? else { return Ok(()) };
        let Some(mut head) = self.shelf.head(place)?.filter(|head| head.ended_ms.is_none()) else {
            return Ok(());
        };
        let rows = self.shelf.rows(place, &head)?;
        let (lists, _) = self.shelf.unpacked(&rows)?;
        let entries = rows::entries(key, &lists)?;
        let ended_ms = entries.last().map_or(0, |entry| entry.wall_ms);
        head.ended_ms = Some(ended_ms);
        let mut batch = Rows::default();
        let script = pack::script_of(&entries);
        if let Some((script, text)) = &script {
            let users = self.shelf.users(*script)?;
            if users == 0 {
                batch.insert(rows::script(*script), pack::pack_script(text)?);
            }
            batch.insert(rows::users_of(*script), users.saturating_add(1).to_be_bytes());
        }
        let script = script.as_ref().map(|(script, text)| (*script, text.as_slice()));
        for (number, piece) in (0..).zip(rows::cut(&pack::pack(&rows::joined(&lists), script)?)) {
            batch.insert(rows::piece(ended_ms, place, number), piece);
        }
        for (key, _) in rows.iter().chain(&self.shelf.snapshot(place)?) {
            batch.remove(key.to_vec());
        }
        batch.insert(rows::head(place), json(&head)?);
        batch.remove(rows::open(place));
        self.write(batch, false)?;
        self.shelf.tidy(&rows);
        Ok(())
    }

    /// Not synced: with less than all of it, more facts are folded.
    fn keep_snapshot(&mut self, key: &Key, state: &[u8]) -> Result<(), JournalError> {
        self.mend()?;
        let Some(place) = self.shelf.place(key)? else { return Ok(()) };
        if self.shelf.head(place)?.is_none_or(|head| head.ended_ms.is_some()) {
            return Ok(());
        }
        let next_row = self.pen.as_ref().ok_or_else(reads_only)?.next_row;
        let kept = [next_row.to_be_bytes().as_slice(), &pack::pack_script(state)?].concat();
        let mut batch = Rows::default();
        self.shelf.snapshot(place)?.iter().for_each(|(key, _)| batch.remove(key.to_vec()));
        for (number, piece) in (0..).zip(rows::cut(&kept)) {
            batch.insert(rows::snapshot(place, number), piece);
        }
        self.write(batch, false)
    }

    fn read_on(&self, key: &Key) -> Result<(Option<Vec<u8>>, Vec<Entry>), JournalError> {
        self.catch_up();
        let Some(place) = self.shelf.place(key)? else { return Ok((None, Vec::new())) };
        let rows = self.shelf.snapshot(place)?;
        let values: Vec<&Vec<u8>> = rows.iter().map(|(_, value)| value).collect();
        let kept = rows::lists(&values).pop();
        let Some((next_row, state)) = kept.as_deref().and_then(|kept| kept.split_first_chunk()) else {
            return Ok((None, self.read(key)?));
        };
        let next_row = rows::row(place, u64::from_be_bytes(*next_row));
        let mut after: Vec<Row> = Vec::new();
        self.shelf
            .with(|store| {
                store.walk(&next_row..&rows::rows_of(place + 1), Order::Forward, &mut |key, value| {
                    after.push((key.to_vec(), value.to_vec()));
                    Ok(ControlFlow::Continue(()))
                })
            })
            .map_err(cannot_read)?;
        let entries = rows::entries(key, &self.shelf.unpacked(&after)?.0)?;
        // It may have ended meanwhile, and then nothing of this need be what was there.
        if self.shelf.head(place)?.is_none_or(|head| head.ended_ms.is_some()) {
            return Ok((None, self.read(key)?));
        }
        Ok((Some(pack::unpack_script(state)?), entries))
    }

    fn list(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError> {
        self.catch_up();
        let (start, end) = (rows::head(0), rows::head(after.unwrap_or(u64::MAX)));
        let mut listed = Vec::new();
        self.shelf
            .with(|store| {
                store.walk(&start..&end, Order::Backward, &mut |place, head| {
                    listed.extend(row_of_list(place, head).filter(|row| kind.holds(&row.key)));
                    Ok(enough(listed.len() >= limit))
                })
            })
            .map_err(cannot_read)?;
        Ok(listed)
    }

    fn list_open(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError> {
        self.catch_up();
        let (start, end) = (rows::open(0), rows::open(after.unwrap_or(u64::MAX)));
        let mut listed = Vec::new();
        self.shelf
            .with(|store| {
                store.walk(&start..&end, Order::Backward, &mut |place, _| {
                    let Ok(number) = rows::number(place) else { return Ok(ControlFlow::Continue(())) };
                    let head = store.get(&rows::head(number))?;
                    let row = head.and_then(|head| row_of_list(place, &head));
                    listed.extend(row.filter(|row| kind.holds(&row.key)));
                    Ok(enough(listed.len() >= limit))
                })
            })
            .map_err(cannot_read)?;
        Ok(listed)
    }

    fn story_of(&self, run: &RunId) -> Result<Option<Key>, JournalError> {
        self.catch_up();
        let own = Key::Run(*run);
        if self.shelf.place(&own)?.is_some() {
            return Ok(Some(own));
        }
        let place = self.shelf.with(|store| store.get(&rows::run(run))).map_err(cannot_read)?;
        let Some(place) = place else { return Ok(None) };
        Ok(self.shelf.head(rows::number(&place)?)?.map(|head| head.key))
    }

    fn delete(&mut self, key: &Key) -> Result<(), JournalError> {
        self.forget(key, true)
    }

    fn prune(&mut self, ended_before_ms: u64, most: usize) -> Result<usize, JournalError> {
        if let Some(pen) = &mut self.pen {
            pen.keep(&self.shelf);
        }
        let ended = rows::ended_before(ended_before_ms);
        let mut old: BTreeSet<(u64, u64)> = BTreeSet::new();
        self.shelf
            .with(|store| {
                store.walk(&ended.start..&ended.end, Order::Forward, &mut |key, _| {
                    let (Ok(row), true) = (rows::end_and_place(key), old.len() < most) else {
                        return Ok(ControlFlow::Break(()));
                    };
                    old.insert(row);
                    Ok(ControlFlow::Continue(()))
                })
            })
            .map_err(cannot_read)?;
        for (ended_ms, place) in &old {
            match self.shelf.head(*place)? {
                Some(head) => self.forget(&head.key, false)?,
                None => {
                    let mut batch = Rows::default();
                    let left = self.shelf.rows(*place, &Story { ended_ms: Some(*ended_ms), ..nobody() })?;
                    left.iter().for_each(|(key, _)| batch.remove(key.to_vec()));
                    self.write(batch, false)?;
                }
            }
        }
        Ok(old.len())
    }

    fn reader(&self) -> Option<Box<dyn Journal>> {
        Some(Box::new(DiskJournal { shelf: self.shelf.clone(), pen: None, given: false }))
    }

    fn last_sync(&self) -> Option<Duration> {
        self.pen.as_ref()?.last_sync
    }

    fn disk_bytes(&self) -> Option<u64> {
        self.shelf.with(|store| store.size_on_disk()).ok().map(|bytes| bytes + 2 * HALF_BYTES)
    }
}

impl Drop for DiskJournal {
    fn drop(&mut self) {
        if let Some(pen) = &mut self.pen {
            pen.close(&self.shelf);
        }
    }
}

/// The batch's entries story by story; the order within a story is kept, which is all that counts.
fn by_story(entries: &[Entry]) -> Vec<(&Key, Vec<&Entry>)> {
    let mut found: BTreeMap<&Key, usize> = BTreeMap::new();
    let mut stories: Vec<(&Key, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        let at = *found.entry(&entry.key).or_insert(stories.len());
        match stories.get_mut(at) {
            Some((_, entries)) => entries.push(entry),
            None => stories.push((&entry.key, vec![entry])),
        }
    }
    stories
}

/// The runs inside a story that can't be found by the story's own name.
fn runs_of<'e>(key: &Key, entries: impl Iterator<Item = &'e Entry>) -> BTreeSet<RunId> {
    entries.filter_map(Story::run_of).filter(|run| *key != Key::Run(*run)).collect()
}

/// A story of the list, by the key and the value of its head.
fn row_of_list(place: &[u8], head: &[u8]) -> Option<Listed> {
    let Story { key, .. } = serde_json::from_slice(head).ok()?;
    Some(Listed { place: rows::number(place).ok()?, key })
}

fn enough(is_enough: bool) -> ControlFlow<()> {
    if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// The head of a story whose head is lost.
fn nobody() -> Story {
    Story::of(Key::Call(CallId(String::new())))
}

fn json(head: &Story) -> Result<Vec<u8>, JournalError> {
    serde_json::to_vec(head).map_err(|error| JournalError::Write(error.to_string()))
}

fn reads_only() -> JournalError {
    JournalError::Write("this hand on the journal only reads".to_owned())
}

fn cannot_write(error: StoreError) -> JournalError {
    JournalError::Write(error.to_string())
}

fn cannot_read(error: StoreError) -> JournalError {
    JournalError::Read(error.to_string())
}
