//! Thresholds: how much a table may hold, and when it is close to that.
//!
//! A write must not sum up all shards. So a shard may have a credit, a part of what is left, and looks at the sums again
//! when that is used up. Credits that are not spent count as used when another is granted, so that together with what is
//! stored they never exceed the threshold; when nothing else is left they are taken back. Close to a threshold credits
//! are too small to matter, and every write looks.

use crate::arena::{Shard, UNIT};

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
    /// A threshold is reached: writes are refused.
    Full,
}

/// The configured thresholds; 0 is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_memory_bytes: usize,
    pub(super) max_entries: usize,
    /// Where backpressure begins.
    soft_memory_bytes: usize,
    soft_entries: usize,
}

/// Bytes that a write may need beyond key and value: node, lengths, alignment.
const OVERHEAD: usize = 5 * UNIT;

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
        }
    }

    #[inline(always)]
    pub(super) fn are_set(&self) -> bool {
        self.max_memory_bytes != 0 || self.max_entries != 0
    }

    /// Whether a write of `bytes` (of key and value) in `entries` versions fits, when `used` bytes and `stored` versions are
    /// there; grants the shard a credit if much is left.
    pub(super) fn admit(
        &self,
        shard: &Shard,
        shards: &[Shard],
        (bytes, entries): (usize, usize),
        (used, stored): (usize, usize),
    ) -> bool {
        let bytes = bytes.saturating_add(OVERHEAD.saturating_mul(entries));
        let left = |limit: usize, sum: usize, cost: usize| match limit {
            0 => Some(usize::MAX),
            limit => limit.checked_sub(sum)?.checked_sub(cost),
        };
        let unspent = shards.iter().map(|shard| shard.figures.credit());
        let unspent = unspent.fold((0usize, 0usize), |(bytes, entries), credit| {
            (bytes.saturating_add(credit.0), entries.saturating_add(credit.1))
        });
        let left_bytes = left(self.max_memory_bytes, used.saturating_add(unspent.0), bytes);
        let left_entries = left(self.max_entries, stored.saturating_add(unspent.1), entries);
        if let (Some(left_bytes), Some(left_entries)) = (left_bytes, left_entries) {
            let parts = (2 * shards.len()).max(1);
            // Never so much that sums could overflow where there is no threshold.
            let part = |left: usize| (left / parts).min(usize::MAX >> 16);
            shard.figures.grant(part(left_bytes), part(left_entries));
            return true;
        }
        // What others have not spent is all that is left.
        for shard in shards {
            shard.figures.reclaim();
        }
        left(self.max_memory_bytes, used, bytes).is_some() && left(self.max_entries, stored, entries).is_some()
    }

    /// Whether the shard's credit covers the write.
    #[inline(always)]
    pub(super) fn has_credit(shard: &Shard, bytes: usize, entries: usize) -> bool {
        shard.figures.spend(bytes.saturating_add(OVERHEAD * entries), entries)
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
