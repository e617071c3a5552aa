//! Snapshots, ranges and cursors that own a share of their table, for tasks and threads.

use alloc::sync::Arc;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::{Bound, Deref, RangeBounds};

use super::{Memtable, Table};
use crate::arena::Arena;
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::cursor::{Cursor, Place};
use crate::entry::Entry;
use crate::list::{Frozen, Kept, Key, Kind, Position, Resting, View, Visible};
use crate::snapshot::Snapshot;

/// A snapshot that owns a share of its table: `Send + 'static` if the table is. `T` is [`Memtable`] or
/// [`FrozenMemtable`](crate::FrozenMemtable).
///
/// ```
/// use std::sync::Arc;
/// use memskip::Memtable;
///
/// let table = Arc::new(Memtable::new());
/// table.insert(b"k", b"v");
/// let snapshot = table.snapshot_arc();
/// let reader = std::thread::spawn(move || snapshot.as_snapshot().iter().count());
/// assert_eq!(reader.join().map_err(|_| "panicked")?, 1);
/// # Ok::<(), &str>(())
/// ```
pub struct OwnedSnapshot<T = Memtable> {
    table: Arc<T>,
    seq: SeqNo,
}

impl<T> Clone for OwnedSnapshot<T> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table), seq: self.seq }
    }
}

impl<T> fmt::Debug for OwnedSnapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSnapshot").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl<T> OwnedSnapshot<T> {
    /// The sequence number it stands at.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }
}

impl<T, K, C, A, S, const H: usize> OwnedSnapshot<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
    /// The borrowed form, with everything that can be read.
    pub fn as_snapshot(&self) -> Snapshot<'_, K, C, A, S, H> {
        self.table.snapshot_at(self.seq)
    }

    /// The version of a key: its value, and whether it is a tombstone.
    pub fn get(&self, key: &K) -> Option<(&[u8], bool)> {
        self.as_snapshot().get(key)
    }

    /// The value of a key; tombstones read as absent.
    pub fn get_live(&self, key: &K) -> Option<&[u8]> {
        self.as_snapshot().get_live(key)
    }

    /// The values of many keys, in their order; tombstones read as absent. See [`Table::get_many`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use memskip::Memtable;
    ///
    /// let table = Arc::new(Memtable::new());
    /// table.insert(b"k", b"v");
    /// let snapshot = table.snapshot_arc();
    /// table.delete(b"k");
    /// assert_eq!(snapshot.get_many(&[b"k", b"l"]), [Some(&b"v"[..]), None]);
    /// ```
    pub fn get_many<Q: AsRef<K>>(&self, keys: &[Q]) -> alloc::vec::Vec<Option<&[u8]>> {
        self.as_snapshot().get_many(keys)
    }

    /// Everything from the beginning, or within bounds, as an iterator that owns its table.
    pub fn range<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> OwnedRange<T>
    where
        K: 'k,
    {
        OwnedRange::new(&self.table, &bounds, View::at(self.seq))
    }

    /// Everything, as an iterator that owns its table.
    pub fn iter(&self) -> OwnedRange<T> {
        self.range(..)
    }

    /// A cursor before the first entry that owns its table.
    pub fn cursor(&self) -> OwnedCursor<T> {
        OwnedCursor::new(&self.table, View::at(self.seq))
    }
}

impl<T, K, C, A, S, const H: usize> IntoIterator for &OwnedSnapshot<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
    type Item = OwnedEntry<T>;
    type IntoIter = OwnedRange<T>;

    fn into_iter(self) -> OwnedRange<T> {
        self.iter()
    }
}

/// An entry that owns a share of its table.
///
/// ```
/// use std::sync::Arc;
/// use memskip::Memtable;
///
/// let table = Arc::new(Memtable::new());
/// table.insert(b"k", b"v");
/// let entry = table.range_arc(..).next().ok_or("empty")?;
/// drop(table);
/// assert_eq!((entry.key(), entry.value()), (&b"k"[..], &b"v"[..]));
/// # Ok::<(), &str>(())
/// ```
pub struct OwnedEntry<T = Memtable> {
    table: Arc<T>,
    version: Kept,
    seq: SeqNo,
    kind: Kind,
}

impl<T> OwnedEntry<T> {
    /// The version's sequence number.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }

    /// What the version is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the key is deleted as of this version.
    pub fn is_tombstone(&self) -> bool {
        self.kind.is_tombstone()
    }
}

impl<T, K, C, A, S, const H: usize> OwnedEntry<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
    /// The borrowed form.
    pub fn entry(&self) -> Entry<'_, K> {
        Entry::new(self.key(), Visible { value: self.value(), kind: self.kind, seq: self.seq })
    }

    /// The key.
    pub fn key(&self) -> &K {
        self.table.list.kept_key(self.version)
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        self.table.list.kept_value(self.version)
    }
}

impl<T> fmt::Debug for OwnedEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedEntry").field("seq", &self.seq).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A range that owns a share of its table, and copies of its bounds.
///
/// ```
/// use std::sync::Arc;
/// use memskip::Memtable;
///
/// let table = Arc::new(Memtable::new());
/// table.insert(b"a", b"");
/// table.insert(b"b", b"");
/// let mut range = table.range_arc(&b"a"[..]..);
/// assert_eq!(range.next_back().map(|e| e.key().to_vec()), Some(b"b".to_vec()));
/// assert_eq!(range.count(), 1);
/// ```
pub struct OwnedRange<T = Memtable> {
    table: Arc<T>,
    view: View,
    start: Bound<alloc::boxed::Box<[u8]>>,
    end: Bound<alloc::boxed::Box<[u8]>>,
    front: Option<Position>,
    back: Option<Position>,
    scouts: [Resting; 2],
    done: bool,
}

impl<T> fmt::Debug for OwnedRange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRange").field("view", &self.view).finish_non_exhaustive()
    }
}

impl<T, K, C, A, S, const H: usize> OwnedRange<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
    pub(crate) fn new<'k>(table: &Arc<T>, bounds: &impl RangeBounds<&'k K>, view: View) -> Self
    where
        K: 'k,
    {
        let boxed = |bound: Bound<&&'k K>| bound.map(|key| key.as_bytes().into());
        Self {
            table: Arc::clone(table),
            view,
            start: boxed(bounds.start_bound()),
            end: boxed(bounds.end_bound()),
            front: None,
            back: None,
            scouts: [Resting::new(); 2],
            done: false,
        }
    }

    /// One step of the borrowed iterator, resumed where this one stands.
    fn step(&mut self, which: End) -> Option<OwnedEntry<T>> {
        if self.done {
            return None;
        }
        let key = |bytes| crate::list::key_from(bytes, core::marker::PhantomData);
        let bounds = (self.start.as_ref().map(|b| key(b)), self.end.as_ref().map(|b| key(b)));
        let mut range =
            crate::iter::Range::resume(&self.table.list, bounds, self.view, (self.front, self.back), self.scouts);
        let entry = match which {
            End::Front => range.next(),
            End::Back => range.next_back(),
        };
        (self.front, self.back, self.scouts) = range.ends();
        let at = if which == End::Front { self.front } else { self.back };
        // Unless there is an entry to give: an end is the end.
        self.done = true;
        let (entry, at) = (entry?, at?);
        let version = self.table.list.keep(at, entry.value)?;
        self.done = false;
        Some(OwnedEntry { table: Arc::clone(&self.table), version, seq: entry.seq, kind: entry.kind() })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

impl<T, K, C, A, S, const H: usize> Iterator for OwnedRange<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
    type Item = OwnedEntry<T>;

    fn next(&mut self) -> Option<OwnedEntry<T>> {
        self.step(End::Front)
    }
}

impl<T, K, C, A, S, const H: usize> DoubleEndedIterator for OwnedRange<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
    fn next_back(&mut self) -> Option<OwnedEntry<T>> {
        self.step(End::Back)
    }
}

impl<T, K, C, A, S, const H: usize> FusedIterator for OwnedRange<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
}

/// A cursor that owns a share of its table. Moves like [`Cursor`], and lends its entries.
///
/// A position cannot get into another table; there is no way to put one there:
///
/// ```compile_fail
/// # use std::sync::Arc;
/// # let (one, other) = (Arc::new(memskip::Memtable::new()), Arc::new(memskip::Memtable::new()));
/// one.cursor_arc().with(|cursor| *cursor = other.cursor());
/// ```
///
/// ```
/// use std::sync::Arc;
/// use memskip::Memtable;
///
/// let table = Arc::new(Memtable::new());
/// table.insert(b"a", b"1");
/// let mut cursor = table.cursor_arc();
/// assert_eq!(cursor.next_entry().map(|e| e.value), Some(&b"1"[..]));
/// ```
pub struct OwnedCursor<T = Memtable> {
    table: Arc<T>,
    view: View,
    place: Place,
    scout: Resting,
}

impl<T> fmt::Debug for OwnedCursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedCursor").field("view", &self.view).finish_non_exhaustive()
    }
}

impl<T, K, C, A, S, const H: usize> OwnedCursor<T>
where
    T: Deref<Target = Table<K, C, A, S, H>>,
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    A: Arena + 'static,
    S: SeqClock + 'static,
{
    fn new(table: &Arc<T>, view: View) -> Self {
        let (place, scout) = Cursor::new(&table.list, view).place();
        Self { table: Arc::clone(table), view, place, scout }
    }

    /// Does something with the borrowed form, and stays where that ended. Not for users: they could put a cursor of another
    /// table there.
    fn with<'a, R>(&'a mut self, act: impl FnOnce(&mut Cursor<'a, K, C, A, S, H>) -> R) -> R {
        let mut cursor = Cursor::resume(&self.table.list, self.view, self.place, self.scout);
        let result = act(&mut cursor);
        (self.place, self.scout) = cursor.place();
        result
    }

    /// The entry the cursor stands before.
    pub fn entry(&self) -> Option<Entry<'_, K>> {
        Cursor::resume(&self.table.list, self.view, self.place, self.scout).entry()
    }

    /// Returns the entry the cursor stands before, and steps over it.
    pub fn next_entry(&mut self) -> Option<Entry<'_, K>> {
        self.with(Cursor::next_entry)
    }

    /// Steps back over the entry before, and returns it.
    pub fn prev_entry(&mut self) -> Option<Entry<'_, K>> {
        self.with(Cursor::prev_entry)
    }

    /// Goes before the first entry whose key is not less.
    pub fn seek(&mut self, key: &K) -> bool {
        self.with(|cursor| cursor.seek(key))
    }

    /// Goes before the last entry whose key is not greater.
    pub fn seek_for_prev(&mut self, key: &K) -> bool {
        self.with(|cursor| cursor.seek_for_prev(key))
    }

    /// Goes before the first entry.
    pub fn seek_to_first(&mut self) -> bool {
        self.with(Cursor::seek_to_first)
    }

    /// Goes before the last entry.
    pub fn seek_to_last(&mut self) -> bool {
        self.with(Cursor::seek_to_last)
    }
}

/// The owning forms, from a shared table of either kind.
macro_rules! owning_forms {
    ($table:ty) => {
        impl<K, C, A, S, const H: usize> $table
        where
            K: Key + ?Sized + 'static,
            C: Comparator<K> + 'static,
            A: Arena + 'static,
            S: SeqClock + 'static,
        {
            /// A snapshot that owns a share of the table.
            pub fn snapshot_arc(self: &Arc<Self>) -> OwnedSnapshot<Self> {
                OwnedSnapshot { table: Arc::clone(self), seq: self.snapshot().seq() }
            }

            /// The table as of a sequence number of the engine's, as [`snapshot_at`](Table::snapshot_at) gives it, owning a share
            /// of the table.
            ///
            /// ```
            /// use std::sync::Arc;
            /// use memskip::{Memtable, SeqNo};
            ///
            /// let table = Arc::new(Memtable::new());
            /// table.put_at(b"k", b"old", SeqNo(5))?;
            /// let snapshot = table.snapshot_at_arc(SeqNo(6));
            /// table.put_at(b"k", b"new", SeqNo(7))?;
            /// assert_eq!(snapshot.get_live(b"k"), Some(&b"old"[..]));
            /// # Ok::<(), memskip::InsertError>(())
            /// ```
            pub fn snapshot_at_arc(self: &Arc<Self>, seq: SeqNo) -> OwnedSnapshot<Self> {
                OwnedSnapshot { table: Arc::clone(self), seq }
            }

            /// A range of the newest versions that owns a share of the table.
            pub fn range_arc<'k, R: RangeBounds<&'k K>>(self: &Arc<Self>, bounds: R) -> OwnedRange<Self>
            where
                K: 'k,
            {
                OwnedRange::new(self, &bounds, View::NEWEST)
            }

            /// A cursor before the first entry that owns a share of the table.
            pub fn cursor_arc(self: &Arc<Self>) -> OwnedCursor<Self> {
                OwnedCursor::new(self, View::NEWEST)
            }
        }
    };
}

owning_forms!(Memtable<K, C, A, S, H>);
owning_forms!(Frozen<Memtable<K, C, A, S, H>>);
