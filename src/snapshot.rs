//! A stable point in time.

use core::fmt;
use core::ops::{Bound, RangeBounds};

use crate::arena::Arena;
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::cursor::Cursor;
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::entry::Entry;
use crate::iter::{Iter, Range};
use crate::list::{Key, List, View, Visible};

/// The table as of a sequence number: every write that was complete when the snapshot was taken is in it, nothing later
/// ever is, and what it shows once it always shows.
///
/// Costs two words, holds nothing back, and may be copied.
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::new();
/// table.put(b"k", b"old")?;
/// let snapshot = table.snapshot();
/// table.put(b"k", b"new")?;
/// table.delete(b"k");
/// assert_eq!(snapshot.get(b"k"), Some((&b"old"[..], false)));
/// assert_eq!(table.get_live(b"k"), None);
/// # Ok::<(), memskip::InsertError>(())
/// ```
pub struct Snapshot<
    'a,
    K: ?Sized = [u8],
    C = Bytewise,
    A = DefaultArena,
    S = EpochClock,
    const H: usize = DEFAULT_HEIGHT,
> {
    list: &'a List<K, C, A, S, H>,
    seq: SeqNo,
}

impl<'a, K: ?Sized, C, A, S, const H: usize> Snapshot<'a, K, C, A, S, H> {
    pub(crate) fn new(list: &'a List<K, C, A, S, H>, seq: SeqNo) -> Self {
        Self { list, seq }
    }

    /// The sequence number it stands at: versions with at most this one are in it.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }
}

impl<'a, K, C, A, S, const H: usize> Snapshot<'a, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// The version of a key: its value, and whether it is a tombstone.
    #[inline]
    pub fn get(&self, key: &K) -> Option<(&'a [u8], bool)> {
        self.list.get(key, View::at(self.seq)).map(|visible| (visible.value, visible.kind.is_tombstone()))
    }

    /// The value of a key; tombstones read as absent.
    #[inline]
    pub fn get_live(&self, key: &K) -> Option<&'a [u8]> {
        live(self.list.get(key, View::at(self.seq)))
    }

    /// Whether a key is there and no tombstone.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get_live(key).is_some()
    }

    /// The version of a key, with its number and kind.
    pub fn entry(&self, key: &K) -> Option<Entry<'a, K>> {
        let (key, visible) = self.list.get_with_key(key, View::at(self.seq))?;
        Some(Entry::new(key, visible))
    }

    /// The values of many keys, in their order; tombstones read as absent.
    #[cfg(feature = "alloc")]
    pub fn get_many<Q: AsRef<K>>(&self, keys: &[Q]) -> alloc::vec::Vec<Option<&'a [u8]>> {
        let mut values = alloc::vec![None; keys.len()];
        self.get_many_into(keys, &mut values);
        values
    }

    /// The same into a slice; what is longer of the two is left alone.
    pub fn get_many_into<Q: AsRef<K>>(&self, keys: &[Q], values: &mut [Option<&'a [u8]>]) {
        get_many_into(self.list, View::at(self.seq), keys, values);
    }

    /// Every key, ascending.
    pub fn iter(&self) -> Iter<'a, K, C, A, S, H> {
        Range::new(self.list, (Bound::Unbounded, Bound::Unbounded), View::at(self.seq))
    }

    /// The keys within bounds, ascending.
    pub fn range<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> Range<'a, 'k, K, C, A, S, H>
    where
        K: 'k,
    {
        Range::new(self.list, copied(&bounds), View::at(self.seq))
    }

    /// A cursor before the first entry.
    pub fn cursor(&self) -> Cursor<'a, K, C, A, S, H> {
        Cursor::new(self.list, View::at(self.seq))
    }
}

impl<'a, K, C, A, S, const H: usize> IntoIterator for &Snapshot<'a, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    type Item = Entry<'a, K>;
    type IntoIter = Iter<'a, K, C, A, S, H>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A visible version as a value, unless it is a tombstone.
#[inline]
pub(crate) fn live(visible: Option<Visible<'_>>) -> Option<&[u8]> {
    visible.filter(|visible| !visible.kind.is_tombstone()).map(|visible| visible.value)
}

/// Looks up many keys, as far as both slices reach.
pub(crate) fn get_many_into<'a, K, C, A, S, const H: usize, Q: AsRef<K>>(
    list: &'a List<K, C, A, S, H>,
    view: View,
    keys: &[Q],
    values: &mut [Option<&'a [u8]>],
) where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    let Some(first) = keys.first() else { return };
    let count = keys.len().min(values.len());
    // All are below the count; said so that nothing here can panic.
    let key = |index| keys.get(index).unwrap_or(first).as_ref();
    list.get_many(count, key, view, |index, visible| {
        if let Some(value) = values.get_mut(index) {
            *value = live(visible);
        }
    });
}

/// The bounds by value.
pub(crate) fn copied<'k, K: ?Sized>(bounds: &impl RangeBounds<&'k K>) -> (Bound<&'k K>, Bound<&'k K>) {
    (bounds.start_bound().cloned(), bounds.end_bound().cloned())
}

impl<K: ?Sized, C, A, S, const H: usize> Clone for Snapshot<'_, K, C, A, S, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, C, A, S, const H: usize> Copy for Snapshot<'_, K, C, A, S, H> {}

impl<K: ?Sized, C, A, S, const H: usize> fmt::Debug for Snapshot<'_, K, C, A, S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("seq", &self.seq).finish_non_exhaustive()
    }
}
