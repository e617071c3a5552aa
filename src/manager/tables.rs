//! The set of tables that a read looks at: the active one and the frozen ones, newest first.
//!
//! A set never changes; a rotation or a finished flush makes another. Whoever holds one keeps its tables readable.
//!
//! # Which version is the newest
//!
//! The one with the greatest (sequence number, generation). The generation alone would not do: a writer that was already
//! inside when its table was rotated out may be stamped after a write to the next table. And an engine with its own numbers
//! may bring them across a rotation in any order. Nor would the number alone: with [`EpochClock`], two writes of one key that
//! overlap, on either side of a rotation, may have the same.
//!
//! # What is left of a flushed table
//!
//! An engine looks into its files only if memory has no version of a key. So no version in memory may be older than one of the
//! same key that was in memory and is not any more. The clock's numbers are greater than `start` in a table and in all later
//! ones: it is the snapshot that was drawn between the table and the one before it. Let `floor` be `start + 1` of the oldest
//! table that is not flushed; what is in that table and behind it has at least the floor. The flushed tables before it give up
//! what has at most the floor (if a number is equal, the later table wins), and go on showing what is above: that is late, its
//! writers were inside when those tables were rotated out. Not shown whole, since another of them that has nothing late, and
//! is gone, may have replaced the rest.
//!
//! When the next table is flushed the floor rises. Late writers are through before their table is flushed, so no table that
//! is rotated in afterwards has a lesser number; that ends it.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::boxed::Box;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::limits::Credits;
use super::order;
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::defaults::DefaultArena;
use crate::entry::Entry;
use crate::list::Key;
use crate::memtable::{FrozenMemtable, Memtable};

/// A table of a [`MemtableManager`](super::MemtableManager): its clock is shared with all others.
pub type ManagedTable<K = [u8], C = Bytewise, S = EpochClock> = Memtable<K, C, DefaultArena, Arc<S>>;

/// The same, frozen: what a flush reads.
pub type FrozenManagedTable<K = [u8], C = Bytewise, S = EpochClock> = FrozenMemtable<K, C, DefaultArena, Arc<S>>;

/// Names a table of a manager. Later tables have greater ids; ids are not used twice.
///
/// ```
/// assert!(memskip::TableId(1) < memskip::TableId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u64);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The least and the greatest tag (the position in a write-ahead log, say) that came with a write into a table.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager, Tags};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.tagged(7).put(b"a", b"")?;
/// manager.tagged(9).put(b"b", b"")?;
/// manager.rotate();
/// let job = manager.next_flush().ok_or("nothing frozen")?;
/// assert_eq!(job.tags(), Some(Tags { first: 7, last: 9 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// The least.
    pub first: u64,
    /// The greatest.
    pub last: u64,
}

/// A table and what the manager knows about it.
pub(super) struct Generation<K: ?Sized, C, S> {
    pub(super) id: TableId,
    pub(super) table: Arc<ManagedTable<K, C, S>>,
    pub(super) credits: Credits,
    pub(super) first_write: OnceLock<Instant>,
    pub(super) rotated: OnceLock<Instant>,
    /// Batches of inserts that are under way: the table is not sealed before they are through.
    pins: AtomicUsize,
    /// Is being rotated out.
    leaving: AtomicBool,
    /// No further pins.
    draining: AtomicBool,
    /// Set when nothing in the table changes any more: its greatest sequence number.
    max_seq: OnceLock<Option<SeqNo>>,
    /// Whatever the clock numbers in this table and in later ones is greater. The first table, with none before it, needs no
    /// such number.
    pub(super) start: SeqNo,
    first_tag: AtomicU64,
    last_tag: AtomicU64,
    is_tagged: AtomicBool,
}

/// Keeps a generation from being sealed.
pub(super) struct Pin<'a>(&'a AtomicUsize);

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, order::UNPIN);
    }
}

impl<K: ?Sized, C, S> Generation<K, C, S> {
    pub(super) fn new(id: TableId, table: ManagedTable<K, C, S>, slots: usize) -> Self {
        Self {
            id,
            table: Arc::new(table),
            credits: Credits::new(slots),
            first_write: OnceLock::new(),
            rotated: OnceLock::new(),
            pins: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            max_seq: OnceLock::new(),
            start: SeqNo(0),
            first_tag: AtomicU64::new(u64::MAX),
            last_tag: AtomicU64::new(0),
            is_tagged: AtomicBool::new(false),
        }
    }

    /// `None` if the generation has been rotated out.
    ///
    /// Either the pin comes before `draining` is set, and whoever seals sees it; or it comes after, and is seen here.
    pub(super) fn pin(&self) -> Option<Pin<'_>> {
        self.pins.fetch_add(1, order::PIN);
        let pin = Pin(&self.pins);
        (!self.draining.load(order::PIN)).then_some(pin)
    }

    /// The greatest sequence number, once nothing in the table changes any more; `None` also if it is empty.
    pub(super) fn max_seq(&self) -> Option<SeqNo> {
        self.max_seq.get().copied().flatten()
    }

    /// Whether nothing in the table changes any more.
    pub(super) fn is_drained(&self) -> bool {
        self.max_seq.get().is_some()
    }

    /// The least number that may be in this table or a later one.
    pub(super) fn floor(&self) -> SeqNo {
        // The active one at the end of a shutdown: nothing comes into it, nor behind it.
        let is_void = self.is_drained() && self.max_seq().is_none();
        if is_void { SeqNo::MAX } else { SeqNo(self.start.0.saturating_add(1)) }
    }

    pub(super) fn note_tag(&self, tag: u64) {
        self.first_tag.fetch_min(tag, order::PLAIN);
        self.last_tag.fetch_max(tag, order::PLAIN);
        self.is_tagged.store(true, order::TAGGED);
    }

    pub(super) fn tags(&self) -> Option<Tags> {
        let tags = || Tags { first: self.first_tag.load(order::PLAIN), last: self.last_tag.load(order::PLAIN) };
        self.is_tagged.load(order::TAGGED_READ).then(tags)
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Generation<K, C, S> {
    /// Whether anything was written.
    pub(super) fn is_used(&self) -> bool {
        self.table.version_count() > 0
    }

    /// Ends the epoch in which the table takes writes: the next one's come behind it, see [`settle`](Self::settle). Gives the
    /// number that divides them, the next one's `start`. Writes that are inside may still get a greater one.
    pub(super) fn leave(&self) -> SeqNo {
        self.leaving.store(true, order::LEAVE);
        self.table.snapshot().seq()
    }

    /// After a write, before its caller is told: whatever is written after that, in whichever table, has a greater number.
    ///
    /// Either the write was stamped before `leaving` was set, and the snapshot that [`leave`](Self::leave) draws afterwards
    /// divides it from the next table; or that is seen here, and the snapshot drawn here does.
    #[inline]
    pub(super) fn settle(&self) {
        if self.leaving.load(order::LEAVE) {
            let _ = self.table.snapshot();
        }
    }

    /// Refuses further writes; whether the ones that had begun are all through. The generation has been rotated out.
    pub(super) fn try_drain(&self) -> bool {
        if self.max_seq.get().is_some() {
            return true;
        }
        self.draining.store(true, order::PIN);
        if self.pins.load(order::PIN) != 0 || self.table.try_freeze().is_none() {
            return false;
        }
        self.max_seq.get_or_init(|| self.table.max_seq());
        true
    }

    /// The same, and waits for the writes that had begun.
    pub(super) fn drain(&self) -> &FrozenManagedTable<K, C, S> {
        while !self.try_drain() {
            std::thread::yield_now();
        }
        self.table.freeze()
    }

    /// Whether the table, which has been rotated out, may hold a version that is newer than `seq`.
    fn may_exceed(&self, seq: SeqNo) -> bool {
        !self.try_drain() || self.max_seq.get().is_none_or(|max| max.is_some_and(|max| max > seq))
    }
}

/// A table of a set.
pub(super) struct Readable<K: ?Sized, C, S> {
    pub(super) generation: Arc<Generation<K, C, S>>,
    /// The least number that is shown; above [`WHOLE`] if the table is flushed and only kept for what is late in it.
    pub(super) from: SeqNo,
}

/// Everything in a table is shown.
pub(super) const WHOLE: SeqNo = SeqNo(0);

impl<K: ?Sized, C, S> Readable<K, C, S> {
    pub(super) fn whole(generation: &Arc<Generation<K, C, S>>) -> Self {
        Self { generation: Arc::clone(generation), from: WHOLE }
    }
}

/// The tables, newest first: the active one, then the frozen ones.
pub(super) struct Tables<K: ?Sized, C, S> {
    readable: Box<[Readable<K, C, S>]>,
}

impl<K: ?Sized, C, S> Tables<K, C, S> {
    /// `readable`: newest first, at least one.
    pub(super) fn new(readable: Box<[Readable<K, C, S>]>) -> Self {
        debug_assert!(!readable.is_empty());
        Self { readable }
    }

    pub(super) fn active(&self) -> &Arc<Generation<K, C, S>> {
        &self.readable[0].generation
    }

    pub(super) fn frozen(&self) -> &[Readable<K, C, S>] {
        &self.readable[1..]
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<ManagedTable<K, C, S>>> {
        self.readable.iter().map(|readable| &readable.generation.table)
    }

    /// The tables, each with the least number that is shown of it.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&Arc<ManagedTable<K, C, S>>, SeqNo)> {
        self.readable.iter().map(|readable| (&readable.generation.table, readable.from))
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Tables<K, C, S> {
    /// The newest version of a key with a sequence number of at most `view`, tombstones included.
    ///
    /// Goes from the newest table to the oldest, and past those that cannot hold anything newer than what was found.
    pub(super) fn find(&self, key: &K, view: SeqNo) -> Option<Entry<'_, K>> {
        let mut newest: Option<Entry<'_, K>> = None;
        for Readable { generation, from } in &self.readable {
            if newest.is_none_or(|newest| generation.may_exceed(newest.seq)) {
                let entry = generation.table.get_at(key, view).filter(|entry| entry.seq >= *from);
                newest = entry.filter(|entry| newest.is_none_or(|newest| entry.seq > newest.seq)).or(newest);
            }
        }
        newest
    }

    /// Whether a table that is not the active one has a version of a key, tombstones included. Waits for writes that were
    /// inside such a table when it was rotated out.
    pub(super) fn is_in_frozen(&self, key: &K) -> bool {
        let is_in = |table: &Readable<K, C, S>| {
            table.generation.drain().entry(key).is_some_and(|entry| entry.seq >= table.from)
        };
        self.frozen().iter().any(is_in)
    }
}
