//! A table that has stopped changing.

use super::Memtable;
use crate::arena::Arena;
use crate::clock::{EpochClock, SeqClock};
use crate::comparator::{Bytewise, Comparator};
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::list::{Frozen, Key};

/// The reading side of a frozen table: everything on [`Table`](crate::Table), and what only a table that changes no more can
/// give.
///
/// ```
/// use memskip::{FrozenMemtable, Memtable};
///
/// fn flush(table: &FrozenMemtable) -> usize {
///     table.versions().count()
/// }
///
/// let table = Memtable::new();
/// table.insert(b"k", b"v");
/// assert_eq!(flush(table.freeze()), 1);
/// ```
pub type FrozenMemtable<
    K = [u8],
    C = Bytewise,
    A = DefaultArena,
    S = EpochClock,
    const MAX_HEIGHT: usize = DEFAULT_HEIGHT,
> = Frozen<Memtable<K, C, A, S, MAX_HEIGHT>>;

impl<K, C, A, S, const MAX_HEIGHT: usize> Frozen<Memtable<K, C, A, S, MAX_HEIGHT>>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Keys that split the table into at most `parts` ranges of about the same number of bytes, for flushes in parallel: the
    /// first range begins at the beginning, each key begins the next, the last goes on to the end. Fewer keys if there are
    /// not enough to split between.
    ///
    /// Walks the table once.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// for i in 0..100u8 {
    ///     table.insert(&[i], b"value");
    /// }
    /// let splits = table.freeze().partitions(4);
    /// assert_eq!(splits, [&[25], &[50], &[75]]);
    /// ```
    #[cfg(feature = "alloc")]
    pub fn partitions(&self, parts: usize) -> alloc::vec::Vec<&K> {
        let weight = |key: &K, value: &[u8]| key.as_bytes().len() + value.len() + 1;
        let total: usize = self.versions().map(|entry| weight(entry.key, entry.value)).sum();
        let mut splits = alloc::vec::Vec::new();
        let (mut sum, mut last) = (0, None::<&K>);
        for entry in self.versions() {
            let is_new = last.is_none_or(|last| self.comparator().compare(last, entry.key).is_ne());
            let due = (total as u128 * (splits.len() + 1) as u128 / parts.max(1) as u128) as usize;
            if is_new && last.is_some() && sum >= due && splits.len() + 1 < parts {
                splits.push(entry.key);
            }
            sum += weight(entry.key, entry.value);
            last = Some(entry.key);
        }
        splits
    }

    /// The least and the greatest key, tombstones included; `None` if the table is empty.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// for key in [b"b", b"c", b"a"] {
    ///     table.insert(key, b"");
    /// }
    /// assert_eq!(table.freeze().range_bounds(), Some((&b"a"[..], &b"c"[..])));
    /// ```
    pub fn range_bounds(&self) -> Option<(&K, &K)> {
        Some((self.first_key()?, self.last_key()?))
    }

    /// The table again as one that can be reset; it stays sealed until then.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// let (frozen, _) = table.seal().map_err(|_| "no fresh table")?;
    /// let mut recycled = frozen.thaw();
    /// assert!(recycled.is_sealed());
    /// recycled.reset();
    /// assert!(recycled.insert(b"k", b"v"));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn thaw(self) -> Memtable<K, C, A, S, MAX_HEIGHT> {
        self.into_table()
    }
}
