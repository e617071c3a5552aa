//! Reading several tables as one: a point in time, and ranges over it.

use core::iter::FusedIterator;
use core::ops::{Bound, RangeBounds};
use std::fmt;
use std::sync::Arc;
use std::vec::Vec;

use super::merge::{End, Merge, Tombstones, Versioned};
use super::tables::{ManagedTable, Tables};
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::entry::Entry;
use crate::iter::Range;
use crate::list::{Key, View};
use crate::memtable::{OwnedEntry, OwnedRange};

/// An entry that owns a share of the table it lies in.
pub type ManagerEntry<K = [u8], C = Bytewise, S = EpochClock> = OwnedEntry<ManagedTable<K, C, S>>;

/// All tables of a manager as of one moment, across rotations: what was complete before is in it, nothing later ever is.
///
/// Owns shares of the tables, so it stays readable while they are flushed and retired (and their memory stays in use), and may
/// go to another thread.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.put(b"a", b"1")?;
/// manager.rotate();
/// manager.put(b"b", b"2")?;
/// let before = manager.snapshot();
/// manager.delete(b"a")?;
/// assert_eq!(before.iter().map(|e| e.value).collect::<Vec<_>>(), [b"1", b"2"]);
/// assert_eq!(before.get(b"a"), Some(&b"1"[..]));
/// assert_eq!(manager.get(b"a"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagerSnapshot<K: ?Sized = [u8], C = Bytewise, S = EpochClock> {
    tables: Arc<Tables<K, C, S>>,
    seq: SeqNo,
}

impl<K: ?Sized, C, S> Clone for ManagerSnapshot<K, C, S> {
    fn clone(&self) -> Self {
        Self { tables: Arc::clone(&self.tables), seq: self.seq }
    }
}

impl<K: ?Sized, C, S> ManagerSnapshot<K, C, S> {
    pub(super) fn new(tables: Arc<Tables<K, C, S>>, seq: SeqNo) -> Self {
        Self { tables, seq }
    }

    /// The sequence number it stands at.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> ManagerSnapshot<K, C, S> {
    /// The value of a key; tombstones read as absent.
    pub fn get(&self, key: &K) -> Option<&[u8]> {
        self.entry(key).filter(|entry| !entry.is_tombstone).map(|entry| entry.value)
    }

    /// Whether a key is there and not deleted.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The version of a key, tombstones included. Whether it is final, or files may have a later one that the snapshot is to
    /// see: as with [`MemtableManager::get_entry`](super::MemtableManager::get_entry).
    pub fn entry(&self, key: &K) -> Option<Entry<'_, K>> {
        self.tables.find(key, self.seq)
    }

    /// Every key that is not deleted, ascending; double-ended.
    pub fn iter(&self) -> ManagerRange<'_, '_, K, C, S> {
        self.merge((Bound::Unbounded, Bound::Unbounded), Tombstones::Hide)
    }

    /// The keys within bounds that are not deleted, ascending; double-ended. Merged as it goes: takes no memory per entry.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// for key in [b"c", b"a", b"b"] {
    ///     manager.put(key, b"")?;
    ///     manager.rotate();
    /// }
    /// let snapshot = manager.snapshot();
    /// let mut range = snapshot.range(&b"b"[..]..);
    /// assert_eq!(range.next_back().map(|e| e.key), Some(&b"c"[..]));
    /// assert_eq!(range.next().map(|e| e.key), Some(&b"b"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> ManagerRange<'_, 'k, K, C, S>
    where
        K: 'k,
    {
        self.merge(crate::snapshot::copied(&bounds), Tombstones::Hide)
    }

    /// The same with deleted keys, as what lies below the memtables needs them: newest version of each key, tombstones
    /// included.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.delete(b"in a file")?;
    /// let snapshot = manager.snapshot();
    /// assert!(snapshot.range_with_tombstones(..).all(|entry| entry.is_tombstone));
    /// assert_eq!(snapshot.iter().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range_with_tombstones<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> ManagerRange<'_, 'k, K, C, S>
    where
        K: 'k,
    {
        self.merge(crate::snapshot::copied(&bounds), Tombstones::Show)
    }

    fn merge<'k>(&self, bounds: (Bound<&'k K>, Bound<&'k K>), tombstones: Tombstones) -> ManagerRange<'_, 'k, K, C, S> {
        let ranges = self.tables.shown().map(|(table, from)| (table.range_at(bounds, self.seq), from));
        ManagerRange { merge: Merge::new(ranges, tombstones), comparator: self.tables.active().table.comparator() }
    }
}

impl<K, C, S> ManagerSnapshot<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    /// [`range`](Self::range) in a form that owns shares of the tables and copies of the bounds.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", b"v")?;
    /// let range = manager.snapshot().into_range(..);
    /// let reader = std::thread::spawn(move || range.map(|entry| entry.value().to_vec()).collect::<Vec<_>>());
    /// assert_eq!(reader.join().map_err(|_| "panicked")?, [b"v"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_range<'k, R: RangeBounds<&'k K>>(self, bounds: R) -> OwnedManagerRange<K, C, S>
    where
        K: 'k,
    {
        self.into_merge(&bounds, Tombstones::Hide)
    }

    /// [`range_with_tombstones`](Self::range_with_tombstones) in a form that owns shares of the tables and copies of the
    /// bounds: for an iterator of the engine's that merges memory over files.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"a", b"1")?;
    /// manager.rotate();
    /// manager.delete(b"b")?;
    /// let mut range = manager.snapshot().into_range_with_tombstones(..);
    /// assert!(range.next_back().is_some_and(|entry| entry.key() == b"b" && entry.is_tombstone()));
    /// assert!(range.next().is_some_and(|entry| entry.key() == b"a" && !entry.is_tombstone()));
    /// assert!(range.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_range_with_tombstones<'k, R: RangeBounds<&'k K>>(self, bounds: R) -> OwnedManagerRange<K, C, S>
    where
        K: 'k,
    {
        self.into_merge(&bounds, Tombstones::Show)
    }

    fn into_merge<'k>(self, bounds: &impl RangeBounds<&'k K>, tombstones: Tombstones) -> OwnedManagerRange<K, C, S>
    where
        K: 'k,
    {
        let range = |table| OwnedRange::new(table, bounds, View::at(self.seq));
        let ranges = self.tables.shown().map(|(table, from)| (range(table), from));
        OwnedManagerRange { merge: Merge::new(ranges, tombstones), tables: self.tables }
    }
}

impl<S: SeqClock + 'static> ManagerSnapshot<[u8], Bytewise, S> {
    /// The keys that begin with `prefix` and are not deleted, ascending; double-ended. An empty prefix is every key.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// for key in [&b"a"[..], b"ab", b"b", &[0xff], &[0xff, 0xff]] {
    ///     manager.put(key, b"")?;
    /// }
    /// let count = |prefix: &[u8]| manager.snapshot().scan_prefix(prefix).count();
    /// assert_eq!((count(b"a"), count(&[]), count(&[0xff])), (2, 5, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scan_prefix(self, prefix: &[u8]) -> OwnedManagerRange<[u8], Bytewise, S> {
        let end = behind_prefix(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.into_range((Bound::Included(prefix), end))
    }
}

/// The least key that is greater than all that begin with `prefix`; `None` if there is none.
fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

impl<'a, K: Key + ?Sized, C: Comparator<K>, S: SeqClock> IntoIterator for &'a ManagerSnapshot<K, C, S> {
    type Item = Entry<'a, K>;
    type IntoIter = ManagerRange<'a, 'a, K, C, S>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: ?Sized, C, S> fmt::Debug for ManagerSnapshot<K, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerSnapshot")
            .field("seq", &self.seq)
            .field("tables", &(1 + self.tables.frozen().len()))
            .finish_non_exhaustive()
    }
}

impl<K: ?Sized> Versioned<K> for Entry<'_, K> {
    fn key(&self) -> &K {
        self.key
    }

    fn seq(&self) -> SeqNo {
        self.seq
    }

    fn is_tombstone(&self) -> bool {
        self.is_tombstone
    }
}

impl<K, C, S> Versioned<K> for ManagerEntry<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    fn key(&self) -> &K {
        self.key()
    }

    fn seq(&self) -> SeqNo {
        self.seq()
    }

    fn is_tombstone(&self) -> bool {
        self.is_tombstone()
    }
}

/// Keys of several tables in one order; borrowed from a [`ManagerSnapshot`].
pub struct ManagerRange<'a, 'k, K: Key + ?Sized = [u8], C: Comparator<K> = Bytewise, S: SeqClock = EpochClock> {
    merge: Merge<Range<'a, 'k, K, C, DefaultArena, Arc<S>, DEFAULT_HEIGHT>>,
    comparator: &'a C,
}

impl<'a, K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Iterator for ManagerRange<'a, '_, K, C, S> {
    type Item = Entry<'a, K>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merge.step(End::Front, self.comparator)
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> DoubleEndedIterator for ManagerRange<'_, '_, K, C, S> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.merge.step(End::Back, self.comparator)
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> FusedIterator for ManagerRange<'_, '_, K, C, S> {}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> fmt::Debug for ManagerRange<'_, '_, K, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerRange").finish_non_exhaustive()
    }
}

/// The same, owning shares of the tables: `Send + 'static`.
pub struct OwnedManagerRange<K = [u8], C = Bytewise, S = EpochClock>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    merge: Merge<OwnedRange<ManagedTable<K, C, S>>>,
    tables: Arc<Tables<K, C, S>>,
}

impl<K, C, S> Iterator for OwnedManagerRange<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    type Item = ManagerEntry<K, C, S>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merge.step(End::Front, self.tables.active().table.comparator())
    }
}

impl<K, C, S> DoubleEndedIterator for OwnedManagerRange<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        self.merge.step(End::Back, self.tables.active().table.comparator())
    }
}

impl<K, C, S> FusedIterator for OwnedManagerRange<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
}

impl<K, C, S> fmt::Debug for OwnedManagerRange<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedManagerRange").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::behind_prefix;

    #[test]
    fn a_prefix_of_the_greatest_bytes_has_no_end() {
        assert_eq!(behind_prefix(&[]), None);
        assert_eq!(behind_prefix(&[0xff, 0xff]), None);
        assert_eq!(behind_prefix(&[1, 0xff]), Some([2].to_vec()));
        assert_eq!(behind_prefix(&[1, 2]), Some([1, 3].to_vec()));
    }
}
