//! What a read returns.

use core::fmt;

use crate::clock::SeqNo;
use crate::list::{Kind, Visible};

/// A version of a key, borrowed from the table.
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::new();
/// table.put(b"k", b"v")?;
/// let entry = table.entry(b"k").ok_or("not there")?;
/// assert_eq!((entry.key, entry.value, entry.is_tombstone), (&b"k"[..], &b"v"[..], false));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Entry<'a, K: ?Sized = [u8]> {
    /// The key.
    pub key: &'a K,
    /// The value. Of a tombstone it is empty, unless [`put_kind_at`](crate::Memtable::put_kind_at) or a batch's `put_kind` gave it
    /// one.
    pub value: &'a [u8],
    /// Whether the key is deleted as of this version.
    pub is_tombstone: bool,
    /// The version's sequence number.
    pub seq: SeqNo,
    kind: Kind,
}

impl<'a, K: ?Sized> Entry<'a, K> {
    pub(crate) fn new(key: &'a K, visible: Visible<'a>) -> Self {
        let Visible { value, kind, seq } = visible;
        Self { key, value, is_tombstone: kind.is_tombstone(), seq, kind }
    }

    /// What the version is: value, tombstone, or a kind of the engine's.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl<K: ?Sized> Clone for Entry<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized> Copy for Entry<'_, K> {}

impl<K: ?Sized + PartialEq> PartialEq for Entry<'_, K> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value && self.seq == other.seq && self.kind == other.kind
    }
}

impl<K: ?Sized + Eq> Eq for Entry<'_, K> {}

impl<K: ?Sized + fmt::Debug> fmt::Debug for Entry<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value", &self.value)
            .field("seq", &self.seq)
            .field("kind", &self.kind)
            .finish()
    }
}
