//! skl, its `unique` map (one value a key) over one heap arena allocated beforehand.
//!
//! In 0.22.17 an insert searches each level from the head again (`find_splice` does not carry the predecessor down), so that it costs
//! time in proportion to the table: 2 microseconds at 1,000 entries, 150 at 30,000. It is kept to small tables; its reads are not slow.

use crate::peer::{Ability, Peer, Plan};
use skl::Arena as _;
use skl::generic::Builder;
use skl::generic::unique::Map as _;
use skl::generic::unique::sync::SkipMap;
use std::ops::Bound;

pub struct Skl(SkipMap<[u8], [u8]>);

impl Peer for Skl {
    const NAME: &'static str = "skl";
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];
    const MAX_ENTRIES: usize = 2_000;

    fn new(plan: &Plan) -> Self {
        let capacity = u32::try_from(plan.arena_bytes()).unwrap_or(u32::MAX);
        Self(Builder::new().with_capacity(capacity).alloc().expect("an arena on the heap"))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        matches!(self.0.insert(key, value), Ok(None))
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        matches!(self.0.insert(key, value), Ok(Some(_)))
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.get(key).map(|entry| read(&entry.value()))
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().for_each(|entry| each(entry.key(), &entry.value()));
    }

    fn scan_back(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().rev().for_each(|entry| each(entry.key(), &entry.value()));
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        for entry in self.0.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).take(count) {
            each(entry.key(), &entry.value());
        }
    }

    fn used_bytes(&self) -> Option<usize> {
        Some(self.0.allocated())
    }
}
