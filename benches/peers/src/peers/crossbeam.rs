//! crossbeam-skiplist's `SkipMap`: a general map with removal, an allocation per node, keys and values boxed.

use crate::peer::{Ability, Peer, Plan};
use crossbeam_skiplist::SkipMap;
use std::ops::Bound;

pub struct Crossbeam(SkipMap<Box<[u8]>, Box<[u8]>>);

impl Peer for Crossbeam {
    const NAME: &'static str = "crossbeam";
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];

    fn new(_plan: &Plan) -> Self {
        Self(SkipMap::new())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.0.insert(key.into(), value.into());
        true
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        self.insert(key, value)
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.get(key).map(|entry| read(entry.value()))
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().for_each(|entry| each(entry.key(), entry.value()));
    }

    fn scan_back(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().rev().for_each(|entry| each(entry.key(), entry.value()));
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        for entry in self.0.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).take(count) {
            each(entry.key(), entry.value());
        }
    }
}
