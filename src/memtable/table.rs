//! The reading side, shared by [`Memtable`](super::Memtable) and [`FrozenMemtable`](super::FrozenMemtable).

use core::fmt;
use core::ops::{Bound, RangeBounds};

use super::threshold::{Admit, Limits, Tokens};
use super::{OnDuplicateSeqNo, Pressure, Stats};
use crate::arena::{Arena, Shard, Totals};
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::cursor::Cursor;
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::entry::Entry;
use crate::error::{Corruption, InsertError};
use crate::iter::{Iter, Range, Versions};
use crate::list::{Key, List, View};
use crate::snapshot::{Snapshot, copied, get_many_into, live};

/// What can be read from a table, growing or frozen. [`Memtable`](crate::Memtable) and
/// [`FrozenMemtable`](crate::FrozenMemtable) dereference to it.
///
/// No call blocks, waits or locks; none allocates unless it returns a `Vec`.
///
/// ```
/// let table = memskip::Memtable::new();
/// table.insert(b"k", b"v");
/// fn count(table: &memskip::Table) -> usize {
///     table.iter().count()
/// }
/// assert_eq!(count(&table), 1);
/// ```
pub struct Table<
    K: ?Sized = [u8],
    C = Bytewise,
    A = DefaultArena,
    S = EpochClock,
    const MAX_HEIGHT: usize = DEFAULT_HEIGHT,
> {
    pub(super) list: List<K, C, A, S, MAX_HEIGHT>,
    pub(super) limits: Limits,
    pub(super) duplicates: OnDuplicateSeqNo,
}

impl<K, C, A, S, const MAX_HEIGHT: usize> Table<K, C, A, S, MAX_HEIGHT>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// The newest version of a key: its value, and whether it is a tombstone.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"k", b"v");
    /// assert_eq!(table.get(b"k"), Some((&b"v"[..], false)));
    /// assert_eq!(table.get(b"other"), None);
    /// ```
    #[inline]
    pub fn get(&self, key: &K) -> Option<(&[u8], bool)> {
        self.list.get(key, View::NEWEST).map(|visible| (visible.value, visible.kind.is_tombstone()))
    }

    /// The newest value of a key; tombstones read as absent.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"k", b"v");
    /// table.delete(b"k");
    /// assert_eq!(table.get_live(b"k"), None);
    /// ```
    #[inline]
    pub fn get_live(&self, key: &K) -> Option<&[u8]> {
        live(self.list.get(key, View::NEWEST))
    }

    /// Whether a key is there and its newest version is no tombstone.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"k", b"v");
    /// assert!(table.contains_key(b"k"));
    /// ```
    #[inline]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get_live(key).is_some()
    }

    /// The newest version of a key, with its number and kind.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// let seq = table.put(b"k", b"v")?;
    /// assert_eq!(table.entry(b"k").map(|e| e.seq), Some(seq));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn entry(&self, key: &K) -> Option<Entry<'_, K>> {
        self.get_at(key, SeqNo::MAX)
    }

    /// The newest version of a key with a sequence number of at most `seq`.
    ///
    /// ```
    /// use memskip::{Memtable, SeqNo};
    ///
    /// let table = Memtable::new();
    /// table.put_at(b"k", b"v", SeqNo(5))?;
    /// assert!(table.get_at(b"k", SeqNo(4)).is_none());
    /// assert!(table.get_at(b"k", SeqNo(5)).is_some());
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn get_at(&self, key: &K, seq: SeqNo) -> Option<Entry<'_, K>> {
        let (key, visible) = self.list.get_with_key(key, View::at(seq))?;
        Some(Entry::new(key, visible))
    }

    /// The newest values of many keys, in their order; tombstones read as absent. The searches are interleaved, which
    /// makes each several times cheaper than one alone. Keys are whatever is `AsRef<K>`; for arrays see
    /// [`get_many_into`](Self::get_many_into).
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"b", b"2");
    /// assert_eq!(table.get_many(&[b"a", b"b"]), [None, Some(&b"2"[..])]);
    /// ```
    #[cfg(feature = "alloc")]
    pub fn get_many<Q: AsRef<K>>(&self, keys: &[Q]) -> alloc::vec::Vec<Option<&[u8]>> {
        let mut values = alloc::vec![None; keys.len()];
        self.get_many_into(keys, &mut values);
        values
    }

    /// The same into a slice; what is longer of the two is left alone.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"b", b"2");
    /// let mut values = [None; 2];
    /// table.get_many_into(&[b"a", b"b"], &mut values);
    /// assert_eq!(values, [None, Some(&b"2"[..])]);
    /// ```
    ///
    /// Keys are whatever is `AsRef<K>`: for `[u8]` also arrays, `Vec<u8>`, strings. An array is not `AsRef` of itself, so where `K` is
    /// `[u8; N]` keys come in boxes, or in a type of the caller's:
    ///
    /// ```
    /// use memskip::Memtable;
    ///
    /// struct Id([u8; 4]);
    ///
    /// impl AsRef<[u8; 4]> for Id {
    ///     fn as_ref(&self) -> &[u8; 4] {
    ///         &self.0
    ///     }
    /// }
    ///
    /// let table = Memtable::<[u8; 4]>::builder().build();
    /// table.insert_batch(&[(Id(*b"0001"), b"1"), (Id(*b"0002"), b"2")])?;
    /// assert_eq!(table.get_many(&[Id(*b"0002")]), [Some(&b"2"[..])]);
    /// assert_eq!(table.get_many(&[Box::new(*b"0002")]), [Some(&b"2"[..])]);
    /// # Ok::<(), memskip::BatchError>(())
    /// ```
    pub fn get_many_into<'a, Q: AsRef<K>>(&'a self, keys: &[Q], values: &mut [Option<&'a [u8]>]) {
        get_many_into(&self.list, View::NEWEST, keys, values);
    }

    /// The newest version of every key, ascending, tombstones included; double-ended. Sees what is inserted ahead of it. The same as
    /// `for entry in &table`.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"b", b"");
    /// table.insert(b"a", b"");
    /// let keys: Vec<_> = table.iter().map(|e| e.key).collect();
    /// assert_eq!(keys, [b"a", b"b"]);
    /// for entry in &table {
    ///     assert!(!entry.is_tombstone);
    /// }
    /// ```
    pub fn iter(&self) -> Iter<'_, K, C, A, S, MAX_HEIGHT> {
        Range::new(&self.list, (Bound::Unbounded, Bound::Unbounded), View::NEWEST)
    }

    /// The same within bounds. A range that ends before it begins is empty.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// for key in [b"a", b"b", b"c"] {
    ///     table.insert(key, b"");
    /// }
    /// assert_eq!(table.range(&b"b"[..]..).count(), 2);
    /// ```
    pub fn range<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> Range<'_, 'k, K, C, A, S, MAX_HEIGHT>
    where
        K: 'k,
    {
        self.range_at(bounds, SeqNo::MAX)
    }

    /// Of each key within bounds the newest version with a sequence number of at most `seq`.
    ///
    /// ```
    /// use memskip::{Memtable, SeqNo};
    ///
    /// let table = Memtable::new();
    /// table.put_at(b"k", b"v", SeqNo(5))?;
    /// assert_eq!(table.range_at(.., SeqNo(4)).count(), 0);
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    pub fn range_at<'k, R>(&self, bounds: R, seq: SeqNo) -> Range<'_, 'k, K, C, A, S, MAX_HEIGHT>
    where
        K: 'k,
        R: RangeBounds<&'k K>,
    {
        Range::new(&self.list, copied(&bounds), View::at(seq))
    }

    /// Every version: keys ascending, of each the newest first; double-ended. The order of a flush.
    ///
    /// ```
    /// use memskip::{Memtable, SeqNo};
    ///
    /// let table = Memtable::new();
    /// table.put_at(b"k", b"v", SeqNo(1))?;
    /// table.put_tombstone_at(b"k", SeqNo(2))?;
    /// assert_eq!(table.versions().map(|e| e.seq.0).collect::<Vec<_>>(), [2, 1]);
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    pub fn versions(&self) -> Versions<'_, '_, K, C, A, S, MAX_HEIGHT> {
        Versions::new(&self.list, (Bound::Unbounded, Bound::Unbounded))
    }

    /// The same within bounds.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"a", b"");
    /// assert_eq!(table.range_versions(..&b"a"[..]).count(), 0);
    /// ```
    pub fn range_versions<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> Versions<'_, 'k, K, C, A, S, MAX_HEIGHT>
    where
        K: 'k,
    {
        Versions::new(&self.list, copied(&bounds))
    }

    /// A cursor before the first entry. Of an empty table it stands at the end and stays there, whatever is inserted later, until it
    /// is sent elsewhere.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"a", b"");
    /// assert_eq!(table.cursor().next_entry().map(|e| e.key), Some(&b"a"[..]));
    ///
    /// let table = memskip::Memtable::new();
    /// let mut cursor = table.cursor();
    /// table.insert(b"a", b"");
    /// assert!(cursor.next_entry().is_none());
    /// assert!(cursor.seek_to_first());
    /// ```
    pub fn cursor(&self) -> Cursor<'_, K, C, A, S, MAX_HEIGHT> {
        Cursor::new(&self.list, View::NEWEST)
    }

    /// A cursor before the first entry whose key is not less; `None` if there is no such entry.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"b", b"");
    /// assert!(table.cursor_at(b"a").is_some());
    /// assert!(table.cursor_at(b"c").is_none());
    /// ```
    pub fn cursor_at(&self, key: &K) -> Option<Cursor<'_, K, C, A, S, MAX_HEIGHT>> {
        let mut cursor = Cursor::nowhere(&self.list, View::NEWEST);
        cursor.seek(key).then_some(cursor)
    }

    /// A stable point in time: now.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// let before = table.snapshot();
    /// table.insert(b"k", b"v");
    /// assert_eq!(before.iter().count(), 0);
    /// ```
    pub fn snapshot(&self) -> Snapshot<'_, K, C, A, S, MAX_HEIGHT> {
        Snapshot::new(&self.list, self.list.draw_snapshot())
    }

    /// The table as of a sequence number of the engine's. Stable as long as the engine writes no number at or below it
    /// any more.
    ///
    /// ```
    /// use memskip::{Memtable, SeqNo};
    ///
    /// let table = Memtable::new();
    /// table.put_at(b"k", b"v", SeqNo(5))?;
    /// assert_eq!(table.snapshot_at(SeqNo(5)).get(b"k"), Some((&b"v"[..], false)));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    pub fn snapshot_at(&self, seq: SeqNo) -> Snapshot<'_, K, C, A, S, MAX_HEIGHT> {
        Snapshot::new(&self.list, seq)
    }

    /// The clock.
    pub fn clock(&self) -> &S {
        self.list.clock()
    }

    /// The comparator.
    pub fn comparator(&self) -> &C {
        self.list.comparator()
    }

    /// The least key.
    pub fn first_key(&self) -> Option<&K> {
        self.iter().next().map(|entry| entry.key)
    }

    /// The greatest key.
    pub fn last_key(&self) -> Option<&K> {
        self.iter().next_back().map(|entry| entry.key)
    }

    /// Walks everything and reports the first broken invariant: order on every level, reachability of every node, order of
    /// versions, hints, and the figures. For tests, and for engines' paranoid mode; exact when nobody writes meanwhile.
    pub fn validate(&self) -> Result<(), Corruption> {
        let walked = self.list.validate()?;
        let counted = self.totals();
        if (Totals { failures: 0, ..counted }) == walked {
            Ok(())
        } else {
            Err(Corruption::new("the figures are not what a walk counts"))
        }
    }

    /// About how many keys lie within bounds, from the lanes: exact below 32; for a twentieth of the table and more within a
    /// factor of two as a rule (three was seen, where keys came unevenly); for small parts of a large table sometimes ten times too
    /// many or too few. Without lanes ([`LaneDensity::Never`](crate::LaneDensity::Never), one level) there is nothing to go by, and
    /// what it gives from 32 on means nothing.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// for i in 0..1000u32 {
    ///     table.insert(&i.to_be_bytes(), b"");
    /// }
    /// let half = table.approximate_count(&500u32.to_be_bytes()[..]..);
    /// assert!((250..=750).contains(&half));
    /// ```
    pub fn approximate_count<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> usize
    where
        K: 'k,
    {
        /// Up to this many are counted.
        const FEW: usize = if cfg!(loom) { 1 } else { 32 };
        let (start, end) = copied(&bounds);
        let counted = self.list.count_up_to(start, end, FEW);
        if counted < FEW {
            return counted;
        }
        let keys = self.len() + self.tombstones();
        let rank = |bound: Bound<&K>, open: f64| match bound {
            Bound::Unbounded => open,
            Bound::Included(key) | Bound::Excluded(key) => self.list.rank(key),
        };
        let part = (rank(end, 1.0) - rank(start, 0.0)).clamp(0.0, 1.0);
        #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "an estimate")]
        let estimate = (part * keys as f64) as usize;
        estimate.min(keys).max(counted)
    }

    /// About how many bytes of keys and values lie within bounds: [`approximate_count`](Self::approximate_count) times
    /// the average entry.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"key", b"value");
    /// assert_eq!(table.approximate_bytes(..), 8);
    /// ```
    pub fn approximate_bytes<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> usize
    where
        K: 'k,
    {
        let totals = self.totals();
        let keys = totals.live.wrapping_add(totals.tombstones).max(1);
        let bytes = totals.key_bytes.saturating_add(totals.value_bytes);
        let count = self.approximate_count(bounds);
        #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "an estimate")]
        let estimate = (bytes as f64 / keys as f64 * count as f64) as usize;
        estimate
    }

    /// Lets a write of some bytes (of key and value) and versions in, if the thresholds do.
    #[inline]
    pub(super) fn admit(&self, shard: &Shard, cost: (usize, usize), admit: Admit) -> Result<Tokens<'_>, InsertError> {
        let shards = self.list.arena().shards();
        let used = || self.memory_usage();
        self.limits.admit((shard, shards), cost, used, admit).ok_or(InsertError::ThresholdReached)
    }

    /// The range of sequence numbers: as noted, or by a walk if a clock has panicked and a number was not.
    fn seq_range(&self) -> Option<(SeqNo, SeqNo)> {
        let shards = self.list.arena().shards().iter();
        let ranges = shards.map(|shard| shard.figures.seq_range());
        let (mut min, mut max) = ranges.fold((u64::MAX, 0), |(min, max), (low, high)| (min.min(low), max.max(high)));
        if self.list.arena().shards().iter().any(|shard| shard.figures.is_unsure()) {
            for version in self.versions() {
                (min, max) = (min.min(version.seq.0), max.max(version.seq.0));
            }
        }
        (min <= max).then_some((SeqNo(min), SeqNo(max)))
    }

    /// The least sequence number of any version; `None` without versions.
    pub fn min_seq(&self) -> Option<SeqNo> {
        self.seq_range().map(|(min, _)| min)
    }

    /// The greatest sequence number of any version; `None` without versions.
    pub fn max_seq(&self) -> Option<SeqNo> {
        self.seq_range().map(|(_, max)| max)
    }

    /// All figures at once.
    pub fn stats(&self) -> Stats {
        let totals = self.totals();
        let (memory_usage, memory_reserved) = (self.memory_usage(), self.memory_reserved());
        let range = self.seq_range();
        Stats {
            live_keys: totals.live,
            tombstones: totals.tombstones,
            versions: totals.versions,
            total_inserts: total_inserts(totals),
            key_bytes: totals.key_bytes,
            value_bytes: totals.value_bytes,
            avg_key_size: avg_key_size(totals),
            avg_value_size: avg_value_size(totals),
            min_seq: range.map(|(min, _)| min),
            max_seq: range.map(|(_, max)| max),
            memory_usage,
            memory_reserved,
            memory_idle: memory_reserved.saturating_sub(memory_usage),
            memory_utilization: ratio(memory_usage, memory_reserved).min(1.0),
            pressure: self.limits.pressure(memory_usage, totals.versions),
            is_sealed: self.is_sealed(),
        }
    }
}

/// The figures. Each is a sum over the shards, made when asked for, and exact when nobody writes meanwhile.
impl<K: ?Sized, C, A: Arena, S, const MAX_HEIGHT: usize> Table<K, C, A, S, MAX_HEIGHT> {
    fn totals(&self) -> Totals {
        let shards = self.list.arena().shards().iter();
        // While writers run, one shard may be read before and another after a change that concerns both.
        shards.fold(Totals::default(), |sum, shard| sum.plus(shard.figures.totals())).at_least_zero()
    }

    /// Keys whose newest version is not a tombstone.
    pub fn len(&self) -> usize {
        self.totals().live
    }

    /// Whether no key is live; there may be tombstones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys whose newest version is a tombstone.
    pub fn tombstones(&self) -> usize {
        self.totals().tombstones
    }

    /// Versions stored, tombstones included.
    pub fn version_count(&self) -> usize {
        self.totals().versions
    }

    /// Attempts to write a value, refused ones included; tombstones are not counted.
    pub fn total_inserts(&self) -> usize {
        total_inserts(self.totals())
    }

    /// Bytes handed out by the arena: entries with their nodes, lanes, alignment.
    pub fn memory_usage(&self) -> usize {
        self.list.arena().used()
    }

    /// Bytes the arena holds.
    pub fn memory_reserved(&self) -> usize {
        self.list.arena().reserved()
    }

    /// Bytes the arena holds and has not handed out.
    pub fn memory_idle(&self) -> usize {
        self.memory_reserved().saturating_sub(self.memory_usage())
    }

    /// The part of the memory held that is handed out, 0.0-1.0; 0.0 if none is held.
    pub fn memory_utilization(&self) -> f64 {
        ratio(self.memory_usage(), self.memory_reserved()).min(1.0)
    }

    /// Bytes of a key on average; 0.0 without keys.
    pub fn avg_key_size(&self) -> f64 {
        avg_key_size(self.totals())
    }

    /// Bytes of a value on average, over all versions that are not tombstones; 0.0 without values. What tombstones carry (see
    /// [`Entry::value`]) is counted among the bytes and not among the versions, so it makes the average greater.
    pub fn avg_value_size(&self) -> f64 {
        avg_value_size(self.totals())
    }

    /// The threshold of [`memory_usage`](Self::memory_usage) in bytes; 0 is none.
    pub fn max_memory_bytes(&self) -> usize {
        self.limits.max_memory_bytes
    }

    /// The threshold of [`version_count`](Self::version_count); 0 is none.
    pub fn max_entries(&self) -> usize {
        self.limits.max_entries
    }

    /// How close the table is to its thresholds.
    pub fn pressure(&self) -> Pressure {
        self.limits.pressure(self.memory_usage(), self.version_count())
    }

    /// Whether the table is at or above the backpressure ratio (0.9 by default) of a threshold.
    pub fn is_under_backpressure(&self) -> bool {
        self.pressure() >= Pressure::Backpressure
    }

    /// Whether the table is frozen, or being frozen.
    pub fn is_sealed(&self) -> bool {
        self.list.arena().shards().iter().any(|shard| shard.gate.is_sealed())
    }
}

/// Versions that are not tombstones. While writers run, a tombstone may be counted before the version that it is.
fn values(totals: Totals) -> usize {
    totals.versions.saturating_sub(totals.burials)
}

fn total_inserts(totals: Totals) -> usize {
    values(totals).saturating_add(totals.failures)
}

fn avg_key_size(totals: Totals) -> f64 {
    ratio(totals.key_bytes, totals.live.wrapping_add(totals.tombstones))
}

fn avg_value_size(totals: Totals) -> f64 {
    ratio(totals.value_bytes, values(totals))
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl<K: ?Sized, C, A, S, const MAX_HEIGHT: usize> fmt::Debug for Table<K, C, A, S, MAX_HEIGHT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("list", &self.list).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::mem::MaybeUninit;

    use super::*;
    use crate::arena::Writer;
    use crate::{Bytewise, EpochClock, FixedArena, Memtable};

    /// As a sum beside writers can be.
    #[test]
    fn figures_of_more_tombstones_than_versions_do_not_wrap() {
        let totals = Totals { versions: 7, burials: 8, value_bytes: 9, failures: 2, ..Totals::default() };
        assert_eq!(total_inserts(totals), 2);
        assert!(avg_value_size(totals) < 10.0);
    }

    /// As a full table is where addresses have 32 bits.
    #[test]
    fn figures_above_half_of_all_addresses_are_not_below_zero() {
        const HALF: usize = usize::MAX / 2;
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let table = Memtable::<[u8], Bytewise, FixedArena<'_>, EpochClock>::new_in(FixedArena::new(&mut buffer));
        table.put(b"k", b"v").unwrap();
        let shard = &table.list.arena().shards()[0];
        let writer = Writer::enter(shard, 0).unwrap();
        writer.add(Totals { key_bytes: HALF, value_bytes: HALF + 1, ..Totals::default() });
        writer.leave();
        let stats = table.stats();
        assert_eq!((stats.key_bytes, stats.value_bytes), (HALF + 1, HALF + 2));
        assert!(stats.avg_key_size > 1.0 && stats.avg_value_size > 1.0);
        assert_eq!(table.approximate_bytes(..), usize::MAX);
        // These may be, beside writers.
        let totals = Totals { live: 0usize.wrapping_sub(1), tombstones: 0usize.wrapping_sub(2), ..Totals::default() };
        assert_eq!(totals.at_least_zero(), Totals::default());
    }
}
