//! The memory of flushed tables, kept for the next one: the first touch of a fresh page costs nearly half of an ascending
//! insert.
//!
//! A retired table cannot be reset while a snapshot, a flusher or a reader under way still holds a share of it; it waits in
//! `retired` and is looked at again when the next table is needed. Both places together are bounded. What falls out of
//! `retired` is freed by whoever holds the last share.
//!
//! Not every table is worth keeping. A value that is large beside the largest chunk gets a chunk of just its size, which no
//! larger value can have afterwards; with values of ever other sizes, a table that is used again and again would hold the
//! chunks of all of them. So one that holds much more than it needs is not kept.

use std::sync::Arc;
use std::vec::Vec;

use super::ManagerConfig;
use super::tables::{Generation, ManagedTable};
use crate::arena::ChunkSizes;
use crate::clock::SeqClock;
use crate::comparator::Comparator;
use crate::list::Key;

pub(super) struct Recycling<K: ?Sized, C, S> {
    limit: usize,
    /// Bytes that a table is to hold, whatever it was used for. It may hold twice that.
    fair_bytes: usize,
    /// Bytes that shards hold before much is written; the same for chunks that they have only begun.
    first_bytes: usize,
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
    /// `shards`: of a table's arena.
    pub(super) fn new(config: &ManagerConfig, shards: usize) -> Self {
        let first_chunk = config.first_chunk.unwrap_or(ChunkSizes::default().first);
        Self {
            limit: config.recycled_tables,
            // Without a limit, only what a table was used for says what the next one will be.
            fair_bytes: config.max_table_bytes.filter(|bytes| *bytes != usize::MAX).unwrap_or(0),
            first_bytes: shards.saturating_mul(first_chunk),
            spare: Vec::new(),
            retired: Vec::new(),
            recycled: 0,
        }
    }

    /// Tables that are kept.
    pub(super) fn kept(&self) -> usize {
        self.spare.len() + self.retired.len()
    }

    /// Whether any memory is kept.
    pub(super) fn keeps_any(&self) -> bool {
        self.kept() > 0
    }

    /// Takes in a generation that no set of tables has any more.
    pub(super) fn retire(&mut self, generation: Arc<Generation<K, C, S>>, rubbish: &mut Rubbish<K, C, S>) {
        if !self.is_worth_keeping(&generation.table) {
            rubbish.generations.push(generation);
            return;
        }
        self.retired.push(generation);
        // Of those that may still be shared, the oldest; spares can be used at once.
        let excess = self.kept().saturating_sub(self.limit).min(self.retired.len());
        rubbish.generations.extend(self.retired.drain(..excess));
    }

    /// Whether a table that was used holds no more than about twice what it, or the next one, needs.
    fn is_worth_keeping(&self, table: &ManagedTable<K, C, S>) -> bool {
        let needed = table.memory_usage().max(self.fair_bytes).saturating_add(self.first_bytes);
        table.memory_reserved() / 2 <= needed
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
