//! memskip, as anyone would use it: the default table, no capacity named. And the same over an allocator of 2 MiB pages.

use super::huge_pages::{HUGE_PAGE, HugePages};
use crate::peer::{Ability, Peer, Plan};
use memskip::{Arena, Bytewise, DefaultArena, Memtable, ShardedArena, ThreadShards};

/// Keys that one call of `get_many_into` is given at most.
const MOST: usize = 64;

pub struct Memskip<A: Arena = DefaultArena>(pub(super) Memtable<[u8], Bytewise, A>);

/// Where its memory comes from.
pub trait Memory: Arena + Send + Sync + Sized {
    const NAME: &'static str;

    fn table() -> Memtable<[u8], Bytewise, Self>;
}

impl Memory for DefaultArena {
    const NAME: &'static str = "memskip";

    fn table() -> Memtable {
        Memtable::new()
    }
}

/// Chunks of whole 2 MiB pages.
pub type HugeArena = ShardedArena<ThreadShards, HugePages>;

impl Memory for HugeArena {
    const NAME: &'static str = "memskip-huge";

    fn table() -> Memtable<[u8], Bytewise, Self> {
        Memtable::<[u8]>::builder().allocator(HugePages).first_chunk(HUGE_PAGE).largest_chunk(4 * HUGE_PAGE).build()
    }
}

impl<A: Memory> Peer for Memskip<A> {
    const NAME: &'static str = A::NAME;
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];

    fn new(_plan: &Plan) -> Self {
        Self(A::table())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.0.insert(key, value)
    }

    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        self.0.insert_batch(entries) == Ok(entries.len())
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        self.0.put(key, value).is_ok()
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.get_live(key).map(read)
    }

    fn get_many(&self, keys: &[&[u8]], mut read: impl FnMut(usize, Option<&[u8]>)) {
        let mut values = [None; MOST];
        for (start, keys) in (0..).step_by(MOST).zip(keys.chunks(MOST)) {
            let values = &mut values[..keys.len()];
            self.0.get_many_into(keys, values);
            for (index, value) in values.iter().enumerate() {
                read(start + index, *value);
            }
        }
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().for_each(|entry| each(entry.key, entry.value));
    }

    fn scan_back(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().rev().for_each(|entry| each(entry.key, entry.value));
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        if let Some(mut cursor) = self.0.cursor_at(from) {
            for _ in 0..count {
                let Some(entry) = cursor.next_entry() else {
                    break;
                };
                each(entry.key, entry.value);
            }
        }
    }

    fn used_bytes(&self) -> Option<usize> {
        Some(self.0.memory_usage())
    }
}
