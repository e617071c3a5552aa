//! scc's `TreeIndex`, a concurrent B+ tree for reading. It clones keys and values when a leaf splits, so they are `Arc`s.

use crate::peer::{Ability, Peer, Plan};
use scc::Guard;
use std::ops::Bound;
use std::sync::Arc;

pub struct TreeIndex(scc::TreeIndex<Arc<[u8]>, Arc<[u8]>>);

impl Peer for TreeIndex {
    const NAME: &'static str = "treeindex";
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];

    fn new(_plan: &Plan) -> Self {
        Self(scc::TreeIndex::new())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.0.insert_sync(key.into(), value.into()).is_ok()
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        self.0.upsert_sync(key.into(), value.into());
        true
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.peek_with(key, |_, value| read(value))
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let guard = Guard::new();
        for (key, value) in self.0.iter(&guard) {
            each(key, value);
        }
    }

    fn scan_back(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let guard = Guard::new();
        for (key, value) in self.0.iter(&guard).rev() {
            each(key, value);
        }
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        let guard = Guard::new();
        let bounds = (Bound::Included(from), Bound::Unbounded);
        for (key, value) in self.0.range::<[u8], _>(bounds, &guard).take(count) {
            each(key, value);
        }
    }
}
