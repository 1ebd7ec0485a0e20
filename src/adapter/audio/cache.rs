//! Sounds that were asked for lately, within a bound of bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// What an entry costs besides its sound and its words.
const ENTRY_BYTES: usize = 256;

/// Keeps what was used last.
pub(super) struct Cache {
    bytes_max: usize,
    bytes: usize,
    /// Counts uses; nothing here tells the time.
    uses: u64,
    entries: BTreeMap<Key, Entry>,
    /// By their last use.
    order: BTreeMap<u64, Key>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A file that has changed is another one.
    File { path: PathBuf, modified: Option<SystemTime>, bytes: u64 },
    /// All that decides how it sounds.
    Speech(Vec<String>),
}

struct Entry {
    audio: Arc<[u8]>,
    used: u64,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Cache {
        Cache { bytes_max, bytes: 0, uses: 0, entries: BTreeMap::new(), order: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<Arc<[u8]>> {
        let entry = self.entries.get_mut(key)?;
        self.order.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.order.insert(self.uses, key.clone());
        Some(entry.audio.clone())
    }

    pub(super) fn put(&mut self, key: Key, audio: Arc<[u8]>) {
        let cost = cost(&key, &audio);
        if cost > self.bytes_max {
            return; // it would push out all the others, and then itself
        }
        self.remove(&key);
        while self.bytes + cost > self.bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.remove(&oldest);
        }
        self.uses += 1;
        self.bytes += cost;
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { audio, used: self.uses });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= cost(key, &entry.audio);
        }
    }
}

/// A key stands in both maps.
fn cost(key: &Key, audio: &[u8]) -> usize {
    let words = match key {
        Key::File { path, .. } => path.as_os_str().len(),
        Key::Speech(words) => words.iter().map(String::len).sum(),
    };
    ENTRY_BYTES + 2 * words + audio.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(word: &str) -> Key {
        Key::Speech(vec![word.to_owned()])
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_the_bound_holds() {
        let sound: Arc<[u8]> = vec![0; 1000].into();
        let each = cost(&key("a"), &sound);
        let mut cache = Cache::new(3 * each);
        for word in ["a", "b", "c"] {
            cache.put(key(word), sound.clone());
        }
        assert!(cache.get(&key("a")).is_some());
        cache.put(key("d"), sound.clone());
        assert!(cache.get(&key("b")).is_none());
        cache.put(key("c"), vec![0; 2000].into());
        let held = ["a", "b", "c", "d"].map(|word| cache.get(&key(word)).is_some());
        assert_eq!(held, [false, false, true, true]);
        assert_eq!(cache.bytes, 2 * each + 1000);
        cache.put(key("huge"), vec![0; 4 * each].into());
        assert!(cache.get(&key("huge")).is_none() && cache.get(&key("c")).is_some());
        assert_eq!(cache.entries.len(), cache.order.len());
    }
}
