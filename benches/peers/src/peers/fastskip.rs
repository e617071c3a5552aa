//! fastskip. Its values are never replaced: a second insert of a key is refused, so it sits out `overwrite`.
//!
//! It remembers the shard of a thread by the table's address, and panics when more threads write than there are shards. Making a table
//! takes a shard under the address it has before it is moved to its place, so it needs one more than there are writers; and since other
//! threads' memory outlives a table, the harness starts fresh threads for every measurement.

use crate::peer::{Ability, Peer, Plan};
use fastskip::ConcurrentSkipList;

// Boxed: the shard of a thread is found by the address of the table, which must not move between two writes.
pub struct Fastskip(Box<ConcurrentSkipList>);

impl Peer for Fastskip {
    const NAME: &'static str = "fastskip";
    const ABILITIES: &'static [Ability] = &[Ability::Grow, Ability::Share, Ability::Scan, Ability::Seek];

    fn new(plan: &Plan) -> Self {
        Self(Box::new(ConcurrentSkipList::with_shards(plan.writers + 1)))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.0.insert(key, value)
    }

    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        self.0.insert_batch(entries) == Ok(entries.len())
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.get_live(key).map(read)
    }

    fn get_many(&self, keys: &[&[u8]], mut read: impl FnMut(usize, Option<&[u8]>)) {
        for (index, value) in self.0.get_many(keys).into_iter().enumerate() {
            read(index, value);
        }
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().for_each(|entry| each(entry.key, entry.value));
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        if let Some(cursor) = self.0.cursor_at(from) {
            for entry in cursor.take(count) {
                each(entry.key, entry.value);
            }
        }
    }

    fn used_bytes(&self) -> Option<usize> {
        Some(self.0.memory_usage())
    }
}
