//! A limit, not a rival: hashbrown's hash map in a `parking_lot` read-write lock. It has no order, so it sits out all scans.

use crate::peer::{Ability, Peer, Plan};
use hashbrown::HashMap;
use parking_lot::RwLock;

type Bytes = Box<[u8]>;

pub struct LockedHashTable(RwLock<HashMap<Bytes, Bytes>>);

impl Peer for LockedHashTable {
    const NAME: &'static str = "hashbrown";
    const ABILITIES: &'static [Ability] = &[Ability::Overwrite, Ability::Grow, Ability::Share];

    fn new(_plan: &Plan) -> Self {
        Self(RwLock::new(HashMap::new()))
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
}
