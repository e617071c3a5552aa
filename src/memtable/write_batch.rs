//! A list of writes that can be applied together.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use crate::list::{Key, Kind};

/// Puts and tombstones that are applied together, by [`Memtable::apply`](crate::Memtable::apply). Of several for one key the last wins.
///
/// Keeps its own copy of keys and values, and its memory when it is cleared.
///
/// ```
/// use memskip::{Memtable, WriteBatch};
///
/// let mut batch = WriteBatch::new();
/// batch.put(b"a", b"1");
/// batch.delete(b"b");
/// let table = Memtable::new();
/// table.apply(&batch)?;
/// assert_eq!((table.len(), table.tombstones()), (1, 1));
/// # Ok::<(), memskip::InsertError>(())
/// ```
pub struct WriteBatch<K: ?Sized = [u8]> {
    bytes: Vec<u8>,
    writes: Vec<Slice>,
    keys: PhantomData<fn(&K) -> &K>,
}

/// Where a write's key begins in `bytes`, and where key and value end.
#[derive(Clone, Copy)]
struct Slice {
    start: usize,
    key_end: usize,
    end: usize,
    kind: Kind,
}

impl WriteBatch {
    /// An empty batch of byte-slice keys. For other keys: `WriteBatch::<str>::default()`.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<K: ?Sized> WriteBatch<K> {
    /// How many writes it holds.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Forgets all writes and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.writes.clear();
    }
}

impl<K: Key + ?Sized> WriteBatch<K> {
    /// Adds a value.
    pub fn put(&mut self, key: &K, value: &[u8]) {
        self.put_kind(key, value, Kind::VALUE);
    }

    /// Adds a tombstone, blind: whether or not the key is there, unlike [`Memtable::delete`](crate::Memtable::delete).
    pub fn delete(&mut self, key: &K) {
        self.put_kind(key, &[], Kind::TOMBSTONE);
    }

    /// Adds a version of any kind.
    pub fn put_kind(&mut self, key: &K, value: &[u8], kind: Kind) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.as_bytes());
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.writes.push(Slice { start, key_end, end: self.bytes.len(), kind });
    }

    /// The writes, in the order in which they were added: key, value, kind.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[u8], Kind)> + Clone {
        self.writes.iter().map(|write| {
            let key = crate::list::key_from(&self.bytes[write.start..write.key_end], self.keys);
            (key, &self.bytes[write.key_end..write.end], write.kind)
        })
    }
}

impl<K: ?Sized> Default for WriteBatch<K> {
    fn default() -> Self {
        Self { bytes: Vec::new(), writes: Vec::new(), keys: PhantomData }
    }
}

impl<K: ?Sized> Clone for WriteBatch<K> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), writes: self.writes.clone(), keys: PhantomData }
    }
}

impl<K: ?Sized> fmt::Debug for WriteBatch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBatch").field("len", &self.len()).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}
