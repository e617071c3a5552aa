//! How the set of tables is held: one place per slot, each with its own `Arc`, each on its own cache lines.
//!
//! A reader or writer takes the lock of its slot only to clone the `Arc`: some 20 ns, on lines no other CPU writes as long as
//! there are as many slots as CPUs. A change takes the locks of all slots, exchanges all of them, and lets go; so there is one
//! moment at which it takes effect for everybody, and whoever meets it waits for a few pointer moves, never for the making of
//! a table or for another write.

use std::boxed::Box;
use std::sync::{Arc, PoisonError, RwLock};
use std::vec::Vec;

use crate::arena::{ShardSelector, ThreadShards};

pub(super) struct Current<T> {
    slots: Box<[Slot<T>]>,
}

#[repr(align(128))]
struct Slot<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// `make` is called for each slot, and always gives the same set.
    pub(super) fn new(slots: usize, make: impl Fn() -> T) -> Self {
        let slot = |_| Slot(RwLock::new(Arc::new(make())));
        Self { slots: (0..slots.max(1)).map(slot).collect() }
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The caller's slot.
    #[inline]
    pub(super) fn slot(&self) -> usize {
        ThreadShards.select() % self.slots.len()
    }

    /// The set, as held by a slot.
    #[inline]
    pub(super) fn load_from(&self, slot: usize) -> Arc<T> {
        Arc::clone(&self.slots[slot].0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The set.
    #[inline]
    pub(super) fn load(&self) -> Arc<T> {
        self.load_from(self.slot())
    }

    /// Exchanges the set for all at once. The old ones come back, to be dropped where that disturbs nobody.
    pub(super) fn replace(&self, make: impl Fn() -> T) -> Vec<Arc<T>> {
        let mut sets: Vec<Arc<T>> = self.slots.iter().map(|_| Arc::new(make())).collect();
        let slots = self.slots.iter();
        let mut held: Vec<_> = slots.map(|slot| slot.0.write().unwrap_or_else(PoisonError::into_inner)).collect();
        for (slot, set) in held.iter_mut().zip(&mut sets) {
            core::mem::swap(&mut **slot, set);
        }
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::Current;

    #[test]
    fn every_slot_changes_at_once() {
        let current = Current::new(3, || 1);
        let old = current.replace(|| 2);
        assert_eq!(old.iter().map(|set| **set).collect::<std::vec::Vec<_>>(), [1, 1, 1]);
        assert!((0..3).all(|slot| *current.load_from(slot) == 2));
    }
}
