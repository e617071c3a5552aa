//! Thresholds: how much a table may hold, and when it is close to that.
//!
//! A write must not sum up all shards, nor touch a word that all share. So shards hold credits, and what is not spent of them
//! counts as used.
//!
//! Entries are tokens: as many as the threshold, in a pool, handed to shards by the few dozen; a write spends one, a write that
//! fails gives it back, and when the pool is empty it collects what shards have left. So the threshold is never passed, and
//! a writer alone gets all of them. But a write that will fail for another reason holds its tokens meanwhile, and one that
//! collects holds what it has found; who needs them just then is refused just below the threshold.
//!
//! Bytes are not known before they are allocated, so a write asks for the most it can need. A shard gets a part of what is left
//! by the arena's own count, and looks again when that is spent. Several writers that look at the same moment may each be
//! let in by what all of them see, so the threshold can be passed by the writes under way, one per thread.

use crate::arena::{Shard, UNIT};
use crate::sync::{AtomicUsize, order};

/// How close a table is to its thresholds.
///
/// ```
/// use memskip::{Memtable, Pressure};
///
/// let table = Memtable::with_capacity_and_shards(4096, 1, 0, 10);
/// assert_eq!(table.pressure(), Pressure::Normal);
/// for i in 0..10u8 {
///     table.insert(&[i], b"");
/// }
/// assert_eq!(table.pressure(), Pressure::Full);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// Below the backpressure ratio of both thresholds.
    Normal,
    /// At or above it: time to seal the table and start another.
    Backpressure,
    /// A threshold is reached: writes are refused. Large ones are refused sooner, with
    /// [`ThresholdReached`](crate::InsertError::ThresholdReached), when what is left does not hold them.
    Full,
}

/// Whether a write is subject to the thresholds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    WithinThresholds,
    /// Takes a token if there is one, and goes ahead without.
    Always,
}

/// What a write has taken from the pool: given back unless it is spent, also when something panics before the write is in.
pub(super) struct Tokens<'a> {
    limits: &'a Limits,
    count: usize,
}

impl Tokens<'_> {
    /// The write is in.
    #[inline]
    pub(super) fn spent(self) {
        core::mem::forget(self);
    }
}

impl Drop for Tokens<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.count != 0 {
            self.limits.pool.fetch_add(self.count, order::PLAIN);
        }
    }
}

/// The configured thresholds; 0 is none.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) max_memory_bytes: usize,
    pub(super) max_entries: usize,
    /// Where backpressure begins.
    soft_memory_bytes: usize,
    soft_entries: usize,
    /// Entries that may still be written and are no shard's.
    pool: AtomicUsize,
}

/// Bytes that a write may need beyond key and value: a node or version with its lengths, alignment, a batch's slot.
const OVERHEAD: usize = 7 * UNIT;
/// Entries that a shard gets at a time, at most.
const HANDFUL: usize = 64;

impl Limits {
    pub(super) fn new(max_memory_bytes: usize, max_entries: usize, ratio: f64) -> Self {
        // NaN counts as no backpressure before the threshold itself.
        let ratio = if ratio.is_nan() { 1.0 } else { ratio.clamp(0.0, 1.0) };
        #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a ratio of a size, not a size")]
        let part = |limit: usize| (limit as f64 * ratio) as usize;
        Self {
            max_memory_bytes,
            max_entries,
            soft_memory_bytes: part(max_memory_bytes).max(1),
            soft_entries: part(max_entries).max(1),
            pool: AtomicUsize::new(max_entries),
        }
    }

    /// The same thresholds for another table.
    pub(super) fn renew(&self) -> Self {
        let Self { max_memory_bytes, max_entries, soft_memory_bytes, soft_entries, pool: _ } = *self;
        Self { max_memory_bytes, max_entries, soft_memory_bytes, soft_entries, pool: AtomicUsize::new(max_entries) }
    }

    /// As if nothing had been written. For a caller that has the table exclusively.
    pub(super) fn reset(&mut self) {
        *self = self.renew();
    }

    /// Lets a write in; `used` tells how many bytes are handed out.
    #[inline]
    pub(super) fn admit(
        &self,
        (shard, shards): (&Shard, &[Shard]),
        (bytes, entries): (usize, usize),
        used: impl Fn() -> usize,
        admit: Admit,
    ) -> Option<Tokens<'_>> {
        let fits = admit == Admit::Always || self.has_room(shard, shards, (bytes, entries), used);
        let mut tokens = Tokens { limits: self, count: 0 };
        if fits && self.max_entries != 0 {
            if shard.figures.spend_entries(entries) || self.draw_entries(shard, shards, entries) {
                tokens.count = entries;
            } else if admit == Admit::WithinThresholds {
                return None;
            }
        }
        fits.then_some(tokens)
    }

    #[cold]
    fn draw_entries(&self, shard: &Shard, shards: &[Shard], entries: usize) -> bool {
        let parts = 4 * shards.len();
        let handful = |left: usize| left.checked_div(parts).unwrap_or(0).min(HANDFUL);
        let drawn = self.pool.fetch_update(order::PLAIN, order::PLAIN, |left| {
            let left = left.checked_sub(entries)?;
            Some(left - handful(left))
        });
        if let Ok(before) = drawn {
            shard.figures.grant_entries(handful(before - entries));
            return true;
        }
        // What other shards have left is all there is.
        let found = shards.iter().map(|shard| shard.figures.reclaim_entries()).sum::<usize>();
        let found = found + self.pool.swap(0, order::PLAIN);
        let left = found.checked_sub(entries);
        self.pool.fetch_add(left.unwrap_or(found), order::PLAIN);
        left.is_some()
    }

    /// Whether a write of `bytes` in `entries` versions fits.
    #[inline]
    fn has_room(
        &self,
        shard: &Shard,
        shards: &[Shard],
        (bytes, entries): (usize, usize),
        used: impl Fn() -> usize,
    ) -> bool {
        if self.max_memory_bytes == 0 {
            return true;
        }
        let bytes = bytes.saturating_add(OVERHEAD.saturating_mul(entries));
        shard.figures.spend_bytes(bytes) || self.look_at_bytes(shard, shards, bytes, used())
    }

    #[cold]
    fn look_at_bytes(&self, shard: &Shard, shards: &[Shard], bytes: usize, used: usize) -> bool {
        let unspent = shards.iter().map(|shard| shard.figures.byte_credit());
        let promised = unspent.fold(used, usize::saturating_add);
        let left = |used: usize| self.max_memory_bytes.checked_sub(used)?.checked_sub(bytes);
        if let Some(left) = left(promised) {
            shard.figures.grant_bytes(left.checked_div(4 * shards.len()).unwrap_or(0));
            return true;
        }
        // What is promised to others and not spent is all that is left.
        for shard in shards {
            shard.figures.reclaim_bytes();
        }
        left(used).is_some()
    }

    pub(super) fn pressure(&self, used: usize, stored: usize) -> Pressure {
        let reaches = |limit: usize, sum: usize, hard: usize| hard != 0 && sum >= limit;
        let full = |limit: usize, sum: usize, least: usize| limit != 0 && sum.saturating_add(least) > limit;
        if full(self.max_memory_bytes, used, OVERHEAD) || full(self.max_entries, stored, 1) {
            Pressure::Full
        } else if reaches(self.soft_memory_bytes, used, self.max_memory_bytes)
            || reaches(self.soft_entries, stored, self.max_entries)
        {
            Pressure::Backpressure
        } else {
            Pressure::Normal
        }
    }
}
