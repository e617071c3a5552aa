//! The queue of frozen tables, and rotation.
//!
//! A table is rotated out in three steps, none of which waits for a writer:
//! 1. a fresh table is made (or recycled), and the clock's epoch ended;
//! 2. the new set of tables takes the place of the old one, in all slots at once;
//! 3. the old table refuses further writes. Those still inside finish; whoever flushes it waits for them, and so does an
//!    insert-if-absent, which has to know what they wrote. Writes that are refused there find the new set and go on.
//!
//! A table leaves the set when it and all older ones are flushed. A younger one that is done first stays readable: without
//! it, the older one would show what it hides.

use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;
use std::vec::Vec;

use super::recycle::{Recycling, Rubbish};
use super::tables::{Generation, ManagedTable, TableId, Tables};
use super::{ManagerConfig, Shared};
use crate::clock::SeqClock;
use crate::comparator::Comparator;
use crate::list::Key;

/// Where a table is on its way.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager, TableStage};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.put(b"k", b"v")?;
/// manager.rotate();
/// let stages: Vec<_> = manager.stats().tables.iter().map(|table| table.stage).collect();
/// assert_eq!(stages, [TableStage::Active, TableStage::Frozen]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableStage {
    /// Takes writes.
    Active,
    /// Waits to be flushed.
    Frozen,
    /// Is being flushed.
    Flushing,
    /// Is flushed, and stays readable until all older tables are.
    Flushed,
}

/// A frozen table in the queue.
pub(super) struct Queued<K: ?Sized, C, S> {
    pub(super) generation: Arc<Generation<K, C, S>>,
    pub(super) stage: TableStage,
    /// How often it was handed out.
    pub(super) attempts: u32,
}

/// What the manager's lock guards. Reads and writes take it only to rotate.
pub(super) struct State<K: ?Sized, C, S> {
    pub(super) active: Arc<Generation<K, C, S>>,
    /// Oldest first.
    pub(super) frozen: VecDeque<Queued<K, C, S>>,
    pub(super) recycling: Recycling<K, C, S>,
    pub(super) last_rotation: Instant,
    pub(super) rotations: usize,
    pub(super) flushes: usize,
    pub(super) failed_flushes: usize,
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> State<K, C, S> {
    /// `shards`: of a table's arena.
    pub(super) fn new(active: Arc<Generation<K, C, S>>, config: &ManagerConfig, shards: usize) -> Self {
        Self {
            active,
            frozen: VecDeque::new(),
            recycling: Recycling::new(config, shards),
            last_rotation: Instant::now(),
            rotations: 0,
            flushes: 0,
            failed_flushes: 0,
        }
    }

    pub(super) fn frozen_bytes(&self) -> usize {
        self.frozen.iter().map(|queued| queued.generation.table.memory_usage()).sum()
    }

    /// The set of tables as it is now, newest first.
    fn tables(&self) -> Tables<K, C, S> {
        let frozen = self.frozen.iter().rev().map(|queued| &queued.generation);
        let generations: Box<[_]> = core::iter::once(&self.active).chain(frozen).map(Arc::clone).collect();
        Tables::new(generations)
    }
}

/// Whether a rotation happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotated {
    Yes(TableId),
    /// Nothing is in the active table.
    Empty,
    /// Somebody else rotated it out first.
    Already,
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Shared<K, C, S> {
    /// The manager's lock. Of the caller's code only `Clone` of the comparator and the clock run under it, and before anything
    /// is changed: if they panic, the contents are still whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<K, C, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fresh table in the place of `seen`, if that is still the active one.
    pub(super) fn rotate_out(&self, seen: &Arc<Generation<K, C, S>>) -> Rotated {
        let mut rubbish = Rubbish::default();
        let mut state = self.lock();
        if state.active.id != seen.id || self.throttle.is_closed() {
            return Rotated::Already;
        }
        if !seen.is_used() {
            return Rotated::Empty;
        }
        let fresh = self.fresh(&mut state, &mut rubbish);
        seen.leave();
        let old = self.install(&mut state, fresh);
        drop(state);
        self.work.notify_all();
        // Asks the clock for numbers that are still to come. If it panics, whoever waits for work has been told.
        seen.try_drain();
        drop(old);
        drop(rubbish);
        Rotated::Yes(seen.id)
    }

    /// Gives back the memory of flushed tables; says whether there was any.
    #[cold]
    pub(super) fn give_back_spares(&self) -> bool {
        let mut rubbish = Rubbish::default();
        let mut state = self.lock();
        let any = state.recycling.keeps_any();
        state.recycling.clear(&mut rubbish);
        drop(state);
        drop(rubbish);
        any
    }

    /// An empty generation behind the active one.
    pub(super) fn fresh(&self, state: &mut State<K, C, S>, rubbish: &mut Rubbish<K, C, S>) -> Arc<Generation<K, C, S>> {
        let table: ManagedTable<K, C, S> = state.recycling.take(rubbish).unwrap_or_else(|| (self.make)());
        Arc::new(Generation::new(TableId(state.active.id.0 + 1), table, self.current.slots()))
    }

    /// Queues the active generation and makes `fresh` the active one. Gives the old sets of tables.
    pub(super) fn install(
        &self,
        state: &mut State<K, C, S>,
        fresh: Arc<Generation<K, C, S>>,
    ) -> Vec<Arc<Tables<K, C, S>>> {
        let full = core::mem::replace(&mut state.active, fresh);
        let now = Instant::now();
        full.rotated.get_or_init(|| now);
        state.frozen.push_back(Queued { generation: full, stage: TableStage::Frozen, attempts: 0 });
        state.rotations += 1;
        state.last_rotation = now;
        self.publish(state)
    }

    /// Shows the state's tables to everybody, and sets the level of backpressure by them.
    fn publish(&self, state: &State<K, C, S>) -> Vec<Arc<Tables<K, C, S>>> {
        let old = self.current.replace(|| state.tables());
        self.throttle.set(&self.config, state.frozen.len(), state.frozen_bytes());
        old
    }

    /// Takes flushed tables out of the set, oldest first, as far as there is no gap.
    pub(super) fn retire(
        &self,
        state: &mut State<K, C, S>,
        rubbish: &mut Rubbish<K, C, S>,
    ) -> Vec<Arc<Tables<K, C, S>>> {
        let mut retired = Vec::new();
        while state.frozen.front().is_some_and(|queued| queued.stage == TableStage::Flushed) {
            retired.extend(state.frozen.pop_front().map(|queued| queued.generation));
        }
        if retired.is_empty() {
            return Vec::new();
        }
        let old = self.publish(state);
        for generation in retired {
            state.recycling.retire(generation, rubbish);
        }
        old
    }

    /// When memory that is kept is to be given back.
    pub(super) fn idle_due(&self, state: &State<K, C, S>) -> Option<Instant> {
        state.recycling.keeps_any().then(|| state.last_rotation.checked_add(self.config.recycle_idle)).flatten()
    }

    /// Gives back memory nobody has asked for in a while, and says when to look again.
    pub(super) fn release_idle(&self, state: &mut State<K, C, S>, rubbish: &mut Rubbish<K, C, S>) -> Option<Instant> {
        let due = self.idle_due(state)?;
        if due > Instant::now() {
            return Some(due);
        }
        state.recycling.clear(rubbish);
        None
    }
}
