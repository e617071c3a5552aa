//! The queue of frozen tables, and rotation.
//!
//! A table is rotated out in three steps, none of which waits for a writer:
//! 1. a fresh table is made (or recycled), and the clock's epoch ended;
//! 2. the new set of tables takes the place of the old one, in all slots at once;
//! 3. the old table refuses further writes. Those still inside finish; whoever flushes it waits for them, and so does an
//!    insert-if-absent, which has to know what they wrote. Writes that are refused there find the new set and go on.
//!
//! A table leaves the set when it and all older ones are flushed. A younger one that is done first stays readable: without
//! it, the older one would show what it hides. So does, with what late writers put there, one that has it; see `tables`.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;
use std::vec::Vec;

use super::recycle::{Recycling, Rubbish};
use super::tables::{Generation, ManagedTable, Readable, TableId, Tables, WHOLE};
use super::{ManagerConfig, Shared};
use crate::clock::{SeqClock, SeqNo};
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
    /// Is flushed, and stays readable until all older tables are, or, if a writer was late, until the next ones are: it was
    /// inside when the table was rotated out, and what it wrote may be newer than what is in those. Of such a table only
    /// late versions are read, and it counts against no limit. While many threads write that is not rare.
    Flushed,
}

/// A frozen table in the queue.
pub(super) struct Queued<K: ?Sized, C, S> {
    pub(super) generation: Arc<Generation<K, C, S>>,
    pub(super) stage: TableStage,
    /// How often it was handed out.
    pub(super) attempts: u32,
    /// The table that was active when the flush completed: later ones have no number below any here, unless the engine gives
    /// it one, or the clock does not `observe`. For neither is anything kept for ever.
    pub(super) kept_for: TableId,
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
    /// The greatest number that is flushed.
    pub(super) flushed_max_seq: Option<SeqNo>,
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
            flushed_max_seq: None,
        }
    }

    /// The oldest table that is not flushed.
    fn unflushed(&self) -> &Generation<K, C, S> {
        let queued = self.frozen.iter().find(|queued| queued.stage != TableStage::Flushed);
        queued.map_or(&self.active, |queued| &queued.generation)
    }

    /// The frozen tables that are not flushed, or wait until an older one is. Not those that are kept for late versions: no
    /// flush that is to come before the next rotation may end that.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Queued<K, C, S>> {
        let unflushed = self.unflushed().id;
        self.frozen.iter().filter(move |queued| queued.generation.id >= unflushed)
    }

    /// How many tables wait, and the bytes in them.
    pub(super) fn backlog(&self) -> (usize, usize) {
        let bytes = self.waiting().map(|queued| queued.generation.table.memory_usage());
        bytes.fold((0, 0), |(tables, sum), bytes| (tables + 1, sum + bytes))
    }

    /// The set of tables as it is now, newest first.
    fn tables(&self) -> Tables<K, C, S> {
        let unflushed = self.unflushed();
        let late = SeqNo(unflushed.floor().0.saturating_add(1));
        let frozen = self.frozen.iter().rev().map(|queued| {
            let is_kept = queued.generation.id < unflushed.id;
            Readable { generation: Arc::clone(&queued.generation), from: if is_kept { late } else { WHOLE } }
        });
        Tables::new(core::iter::once(Readable::whole(&self.active)).chain(frozen).collect())
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
        let mut fresh = self.fresh(&mut state, &mut rubbish);
        fresh.start = seen.leave();
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
    pub(super) fn fresh(&self, state: &mut State<K, C, S>, rubbish: &mut Rubbish<K, C, S>) -> Generation<K, C, S> {
        let table: ManagedTable<K, C, S> = state.recycling.take(rubbish).unwrap_or_else(|| (self.make)());
        Generation::new(TableId(state.active.id.0 + 1), table, self.current.slots())
    }

    /// Queues the active generation and makes `fresh` the active one. Gives the old sets of tables.
    pub(super) fn install(&self, state: &mut State<K, C, S>, fresh: Generation<K, C, S>) -> Vec<Arc<Tables<K, C, S>>> {
        let full = core::mem::replace(&mut state.active, Arc::new(fresh));
        let now = Instant::now();
        full.rotated.get_or_init(|| now);
        let kept_for = full.id;
        state.frozen.push_back(Queued { generation: full, stage: TableStage::Frozen, attempts: 0, kept_for });
        state.rotations += 1;
        state.last_rotation = now;
        self.publish(state)
    }

    /// Shows the state's tables to everybody, and sets the level of backpressure by them.
    fn publish(&self, state: &State<K, C, S>) -> Vec<Arc<Tables<K, C, S>>> {
        let old = self.current.replace(|| state.tables());
        let (frozen_tables, frozen_bytes) = state.backlog();
        self.throttle.set(&self.config, frozen_tables, frozen_bytes);
        old
    }

    /// Takes tables out of the set that are flushed, as all older ones are, and hold nothing late. Called whenever a table is
    /// flushed: also if all stay, less may be shown of some, and fewer count.
    pub(super) fn retire(
        &self,
        state: &mut State<K, C, S>,
        rubbish: &mut Rubbish<K, C, S>,
    ) -> Vec<Arc<Tables<K, C, S>>> {
        let mut retired = Vec::new();
        let unflushed = state.unflushed();
        let (unflushed, floor) = (unflushed.id, unflushed.floor());
        state.frozen.retain(|Queued { generation, kept_for, .. }| {
            let is_late = *kept_for >= unflushed && generation.max_seq().is_some_and(|max| max > floor);
            let stays = generation.id >= unflushed || is_late;
            if !stays {
                retired.push(Arc::clone(generation));
            }
            stays
        });
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
