//! What a writer touches on every write, in one place of its own: the bump position, the gate, the figures.

use core::fmt;

use super::slab::Slab;
use crate::clock::SeqNo;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, order};

/// The words that writers of one shard share: kept apart from other shards' by alignment, so that writers of
/// different shards do not slow one another down. An [`Arena`](crate::Arena) owns one or more.
///
/// ```
/// let shard = memskip::Shard::new();
/// assert!(format!("{shard:?}").contains("Shard"));
/// ```
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
pub struct Shard {
    pub(crate) gate: Gate,
    pub(super) bump: Bump,
    pub(super) slab: Slab,
    pub(crate) figures: Figures,
}

impl Shard {
    /// A shard in which nothing has been written.
    pub fn new() -> Self {
        Self { gate: Gate::new(), bump: Bump::new(), slab: Slab::new(), figures: Figures::new() }
    }

    /// Back to nothing written, nothing sealed.
    ///
    /// For a caller that has the whole table exclusively.
    pub(crate) fn clear(&self) {
        self.gate.0.store(0, order::PLAIN);
        self.slab.clear();
        for counter in self.figures.counters() {
            counter.store(0, order::PLAIN);
        }
        self.figures.min_seq.store(u64::MAX, order::PLAIN);
        self.figures.max_seq.store(0, order::PLAIN);
        self.figures.is_unsure.store(false, order::PLAIN);
        self.figures.reclaim_bytes();
        self.figures.reclaim_entries();
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("gate", &self.gate).finish_non_exhaustive()
    }
}

/// Where a region's next bytes come from: the state of the stock arenas.
#[derive(Debug)]
pub(super) struct Bump {
    /// The handle of the next free unit; 0 before the first chunk.
    pub(super) next: AtomicU32,
    /// Units handed out from chunks that are full or an entry's own.
    #[cfg(feature = "alloc")]
    pub(super) retired: AtomicUsize,
}

impl Bump {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicU32::new(0),
            #[cfg(feature = "alloc")]
            retired: AtomicUsize::new(0),
        }
    }
}

/// Counts the writers inside, and can be closed. One word, so that "count myself in" and "is it closed" are one
/// read-modify-write: either the freeze comes first and the writer turns back, or the writer comes first and the
/// freeze waits for it.
pub(crate) struct Gate(AtomicU32);

const SEALED: u32 = 1 << 31;

impl Gate {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts the caller in, unless the gate is closed.
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        let open = self.0.fetch_add(1, order::GATE_ENTER) & SEALED == 0;
        if !open {
            self.leave();
        }
        open
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, order::GATE_LEAVE);
    }

    pub(crate) fn seal(&self) {
        self.0.fetch_or(SEALED, order::GATE_WAIT);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.0.load(order::GATE_LOOK) & SEALED != 0
    }

    /// Whether everybody who was let in has left. Writers that are just being turned back may show up here for a
    /// moment; they change nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(order::GATE_LOOK) & !SEALED == 0
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("sealed", &self.is_sealed()).finish_non_exhaustive()
    }
}

/// One shard's part of the figures. Single counters may run below zero here (a key written through one shard and
/// deleted through another); only the sums over all shards mean something.
#[derive(Debug)]
pub(crate) struct Figures {
    live: AtomicUsize,
    tombstones: AtomicUsize,
    versions: AtomicUsize,
    /// Versions that are tombstones, newest or not.
    burials: AtomicUsize,
    key_bytes: AtomicUsize,
    value_bytes: AtomicUsize,
    /// Refused attempts to write a value.
    failures: AtomicUsize,
    min_seq: AtomicU64,
    max_seq: AtomicU64,
    /// Whether a clock has panicked, so that a version has a number that was not noted.
    is_unsure: AtomicBool,
    /// What may still be written here before the thresholds are looked at again, in bytes and entries.
    byte_credit: AtomicUsize,
    entry_credit: AtomicUsize,
}

/// What one write adds to the figures. Differences wrap: they are sums modulo the word size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) live: usize,
    pub(crate) tombstones: usize,
    pub(crate) versions: usize,
    pub(crate) burials: usize,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) failures: usize,
}

impl Figures {
    fn new() -> Self {
        Self {
            live: AtomicUsize::new(0),
            tombstones: AtomicUsize::new(0),
            versions: AtomicUsize::new(0),
            burials: AtomicUsize::new(0),
            key_bytes: AtomicUsize::new(0),
            value_bytes: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            min_seq: AtomicU64::new(u64::MAX),
            max_seq: AtomicU64::new(0),
            is_unsure: AtomicBool::new(false),
            byte_credit: AtomicUsize::new(0),
            entry_credit: AtomicUsize::new(0),
        }
    }

    fn counters(&self) -> [&AtomicUsize; 7] {
        [
            &self.live,
            &self.tombstones,
            &self.versions,
            &self.burials,
            &self.key_bytes,
            &self.value_bytes,
            &self.failures,
        ]
    }

    /// Adds a write's differences; those that are zero cost a compare.
    #[inline]
    pub(crate) fn add(&self, totals: Totals) {
        for (counter, difference) in self.counters().into_iter().zip(totals.in_order()) {
            if difference != 0 {
                counter.fetch_add(difference, order::PLAIN);
            }
        }
    }

    /// Widens the range of sequence numbers; a read-modify-write only when it grows.
    #[inline]
    pub(crate) fn note_seq(&self, seq: SeqNo) {
        if self.min_seq.load(order::PLAIN) > seq.0 {
            self.min_seq.fetch_min(seq.0, order::PLAIN);
        }
        if self.max_seq.load(order::PLAIN) < seq.0 {
            self.max_seq.fetch_max(seq.0, order::PLAIN);
        }
    }

    /// To be held while a clock is asked for the number of something that is linked already.
    #[inline]
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking(self)
    }

    /// Whether the range of sequence numbers has to be found by a walk.
    pub(crate) fn is_unsure(&self) -> bool {
        self.is_unsure.load(order::PLAIN)
    }

    /// The range of sequence numbers written here; empty (`min > max`) if there are none.
    pub(crate) fn seq_range(&self) -> (u64, u64) {
        (self.min_seq.load(order::PLAIN), self.max_seq.load(order::PLAIN))
    }

    pub(crate) fn totals(&self) -> Totals {
        let [live, tombstones, versions, burials, key_bytes, value_bytes, failures] =
            self.counters().map(|counter| counter.load(order::PLAIN));
        Totals { live, tombstones, versions, burials, key_bytes, value_bytes, failures }
    }

    /// Takes from the credit of bytes; `false` when it does not cover them.
    #[inline]
    pub(crate) fn spend_bytes(&self, bytes: usize) -> bool {
        spend(&self.byte_credit, bytes)
    }

    /// Takes from the credit of entries; `false` when it does not cover them.
    #[inline]
    pub(crate) fn spend_entries(&self, entries: usize) -> bool {
        spend(&self.entry_credit, entries)
    }

    pub(crate) fn grant_bytes(&self, bytes: usize) {
        self.byte_credit.fetch_add(bytes, order::PLAIN);
    }

    pub(crate) fn grant_entries(&self, entries: usize) {
        self.entry_credit.fetch_add(entries, order::PLAIN);
    }

    /// The credit of bytes that is not spent.
    pub(crate) fn byte_credit(&self) -> usize {
        self.byte_credit.load(order::PLAIN)
    }

    /// Takes back the bytes that are not spent.
    pub(crate) fn reclaim_bytes(&self) {
        self.byte_credit.store(0, order::PLAIN);
    }

    /// Takes back the entries that are not spent, and says how many.
    pub(crate) fn reclaim_entries(&self) -> usize {
        self.entry_credit.swap(0, order::PLAIN)
    }
}

/// While this lives a clock is being asked; if it is dropped, the clock has panicked.
pub(crate) struct Asking<'a>(&'a Figures);

impl Asking<'_> {
    #[inline]
    pub(crate) fn answered(self) {
        core::mem::forget(self);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.is_unsure.store(true, order::PLAIN);
    }
}

#[inline]
fn spend(credit: &AtomicUsize, cost: usize) -> bool {
    credit.fetch_update(order::PLAIN, order::PLAIN, |left| left.checked_sub(cost)).is_ok()
}

impl Totals {
    #[inline]
    fn in_order(self) -> [usize; 7] {
        [self.live, self.tombstones, self.versions, self.burials, self.key_bytes, self.value_bytes, self.failures]
    }

    /// With what is below zero brought to zero.
    #[must_use]
    pub(crate) fn at_least_zero(self) -> Self {
        let brought = |sum: usize| if sum > isize::MAX as usize { 0 } else { sum };
        Self {
            live: brought(self.live),
            tombstones: brought(self.tombstones),
            versions: brought(self.versions),
            burials: brought(self.burials),
            key_bytes: brought(self.key_bytes),
            value_bytes: brought(self.value_bytes),
            failures: brought(self.failures),
        }
    }

    /// Both together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            live: self.live.wrapping_add(other.live),
            tombstones: self.tombstones.wrapping_add(other.tombstones),
            versions: self.versions.wrapping_add(other.versions),
            burials: self.burials.wrapping_add(other.burials),
            key_bytes: self.key_bytes.wrapping_add(other.key_bytes),
            value_bytes: self.value_bytes.wrapping_add(other.value_bytes),
            failures: self.failures.wrapping_add(other.failures),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_empties() {
        let gate = Gate::new();
        assert!(gate.enter());
        gate.seal();
        assert!(!gate.enter());
        assert!(!gate.is_empty());
        gate.leave();
        assert!(gate.is_empty() && gate.is_sealed());
    }
}
