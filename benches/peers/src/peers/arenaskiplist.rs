//! arenaskiplist, over one buffer allocated beforehand as its documentation advises. An overwrite is a higher version of the key,
//! numbered by a shared counter as an engine's log would number it.

use crate::peer::{Ability, Peer, Plan};
use arenaskiplist::{Arena, Inserter, SkipList};
use std::sync::atomic::{AtomicU64, Ordering};

pub struct Arenaskiplist {
    list: SkipList,
    version: AtomicU64,
}

impl Peer for Arenaskiplist {
    const NAME: &'static str = "arenaskiplist";
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];
    /// Its arena ends at 4 GiB.
    const MAX_ENTRIES: usize = 5_000_000;

    fn new(plan: &Plan) -> Self {
        Self { list: SkipList::new(Arena::with_capacity(plan.arena_bytes())), version: AtomicU64::new(1) }
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.list.insert(key, value).is_ok()
    }

    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        // `insert_batch` swallows duplicates; there are none.
        self.list.insert_batch(entries, &mut Inserter::new()).is_ok()
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        let version = self.version.fetch_add(1, Ordering::Relaxed);
        self.list.insert_with_version(key, version, value).is_ok()
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.list.get_value(key).map(read)
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.list.iter().for_each(|entry| each(entry.key(), entry.value()));
    }

    fn scan_back(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.list.iter().rev().for_each(|entry| each(entry.key(), entry.value()));
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        // `seek_ge` on an unbounded iterator: `range` would copy the key to the heap.
        let mut entries = self.list.iter();
        entries.seek_ge(from);
        for _ in 0..count {
            let Some(entry) = entries.current() else {
                break;
            };
            each(entry.key(), entry.value());
            entries.advance();
        }
    }

    fn used_bytes(&self) -> Option<usize> {
        Some(self.list.size())
    }
}
