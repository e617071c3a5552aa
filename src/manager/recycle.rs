//! The memory of flushed tables, kept for the next one: the first touch of a fresh page costs nearly half of an ascending
//! insert.
//!
//! A retired table cannot be reset while a snapshot, a flusher or a reader under way still holds a share of it; it waits in
//! `retired` and is looked at again when the next table is needed. Both places are bounded. What falls out of `retired` is
//! freed by whoever holds the last share.

use std::sync::Arc;
use std::vec::Vec;

use super::tables::{Generation, ManagedTable};
use crate::clock::SeqClock;
use crate::comparator::Comparator;
use crate::list::Key;

pub(super) struct Recycling<K: ?Sized, C, S> {
    limit: usize,
    spare: Vec<ManagedTable<K, C, S>>,
    retired: Vec<Arc<Generation<K, C, S>>>,
    pub(super) recycled: usize,
}

/// What is to be dropped once no lock is held: giving back memory takes time.
pub(super) struct Rubbish<K: ?Sized, C, S> {
    tables: Vec<ManagedTable<K, C, S>>,
    generations: Vec<Arc<Generation<K, C, S>>>,
}

impl<K: ?Sized, C, S> Default for Rubbish<K, C, S> {
    fn default() -> Self {
        Self { tables: Vec::new(), generations: Vec::new() }
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Recycling<K, C, S> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, spare: Vec::new(), retired: Vec::new(), recycled: 0 }
    }

    pub(super) fn spare(&self) -> usize {
        self.spare.len()
    }

    /// Whether any memory is kept.
    pub(super) fn keeps_any(&self) -> bool {
        !self.spare.is_empty() || !self.retired.is_empty()
    }

    /// Takes in a generation that no set of tables has any more.
    pub(super) fn retire(&mut self, generation: Arc<Generation<K, C, S>>, rubbish: &mut Rubbish<K, C, S>) {
        self.retired.push(generation);
        while self.retired.len() > self.limit {
            rubbish.generations.push(self.retired.remove(0));
        }
    }

    /// An empty table, if one is to be had.
    pub(super) fn take(&mut self, rubbish: &mut Rubbish<K, C, S>) -> Option<ManagedTable<K, C, S>> {
        for generation in core::mem::take(&mut self.retired) {
            match Arc::try_unwrap(generation) {
                Ok(generation) => match Arc::try_unwrap(generation.table) {
                    Ok(mut table) if self.spare.len() < self.limit => {
                        table.reset();
                        self.spare.push(table);
                    }
                    Ok(table) => rubbish.tables.push(table),
                    // An entry or a range that somebody keeps; it frees the table.
                    Err(_shared) => {}
                },
                Err(shared) => self.retired.push(shared),
            }
        }
        let table = self.spare.pop();
        self.recycled += usize::from(table.is_some());
        table
    }

    /// Gives back all memory.
    pub(super) fn clear(&mut self, rubbish: &mut Rubbish<K, C, S>) {
        rubbish.tables.append(&mut self.spare);
        rubbish.generations.append(&mut self.retired);
    }
}
