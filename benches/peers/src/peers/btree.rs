//! The standard library's `BTreeMap` in a `parking_lot` read-write lock: what one would write without any library.

use crate::peer::{Ability, Peer, Plan};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;

type Bytes = Box<[u8]>;

pub struct LockedBTree(RwLock<BTreeMap<Bytes, Bytes>>);

impl Peer for LockedBTree {
    const NAME: &'static str = "btreemap";
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];

    fn new(_plan: &Plan) -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        let (key, value) = (key.into(), value.into());
        self.0.write().insert(key, value).is_none()
    }

    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        let mut map = self.0.write();
        entries.iter().fold(true, |all, (key, value)| map.insert((*key).into(), (*value).into()).is_none() && all)
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        let (key, value) = (key.into(), value.into());
        self.0.write().insert(key, value).is_some()
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.read().get(key).map(|value| read(value))
    }

    fn get_many(&self, keys: &[&[u8]], mut read: impl FnMut(usize, Option<&[u8]>)) {
        let map = self.0.read();
        for (index, key) in keys.iter().enumerate() {
            read(index, map.get(*key).map(AsRef::as_ref));
        }
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.read().iter().for_each(|(key, value)| each(key, value));
    }

    fn scan_back(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.read().iter().rev().for_each(|(key, value)| each(key, value));
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        let map = self.0.read();
        for (key, value) in map.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).take(count) {
            each(key, value);
        }
    }
}
