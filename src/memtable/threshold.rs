//! Thresholds: how much a table may hold, and when it is close to that.
//!
//! A write must not sum up all shards. So each shard has a credit, a part of what was left when it last looked, and looks
//! again when that is used up. All credits together never exceed half of what was left, so that the bound holds; near the
//! bound credits are too small to matter and every write looks.

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

    /// Whether a write of `bytes` (of key and value) in `entries` versions fits, and what credit the shard gets if so.
    /// `used` and `stored` are the table's sums, `shards` their number.
    pub(super) fn admit(
        &self,
        shard: &Shard,
        (bytes, entries): (usize, usize),
        (used, stored): (usize, usize),
        shards: usize,
    ) -> bool {
        let left = |limit: usize, sum: usize, cost: usize| match limit {
            0 => Some(usize::MAX),
            limit => limit.checked_sub(sum)?.checked_sub(cost),
        };
        let bytes = bytes.saturating_add(OVERHEAD * entries);
        let left_bytes = left(self.max_memory_bytes, used, bytes);
        let left_entries = left(self.max_entries, stored, entries);
        let (Some(left_bytes), Some(left_entries)) = (left_bytes, left_entries) else { return false };
        shard.figures.grant(left_bytes / (2 * shards), left_entries / (2 * shards));
        true
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
