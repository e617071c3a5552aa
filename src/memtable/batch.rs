//! Atomic batches.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use super::{Memtable, Totals};
use crate::arena::Arena;
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::error::InsertError;
use crate::list::{BatchWrite, Effect, Key, Kind};

/// Puts and tombstones that are applied together, by [`Memtable::apply`]. Of several for one key the last wins.
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

    /// Adds a (blind) tombstone.
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
        f.debug_struct("WriteBatch").field("len", &self.len()).field("bytes", &self.bytes.len()).finish()
    }
}

impl<K, C, A, S, const MAX_HEIGHT: usize> Memtable<K, C, A, S, MAX_HEIGHT>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Applies all writes of a batch or none: memory is reserved before the first is linked, and a snapshot sees all of
    /// them or none. Returns the number they all have.
    ///
    /// Batches exclude one another (the second waits, yielding with `std`, spinning without, so not for interrupt handlers);
    /// they keep neither readers nor single writers waiting. Plain reads of several keys are not one point in time: they may
    /// see the batch in the second and not in the first. Takes 8 bytes a write and 16 a batch on top.
    ///
    /// ```
    /// use memskip::{Memtable, WriteBatch};
    ///
    /// let table = Memtable::new();
    /// let mut transfer = WriteBatch::new();
    /// transfer.put(b"from", b"90");
    /// transfer.put(b"to", b"110");
    /// let seq = table.apply(&transfer)?;
    /// assert_eq!(table.entry(b"to").map(|e| e.seq), Some(seq));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    pub fn apply(&self, batch: &WriteBatch<K>) -> Result<SeqNo, InsertError> {
        let applied = self.apply_inside(batch);
        if applied.is_err() {
            let values = batch.writes.iter().filter(|write| !write.kind.is_tombstone()).count();
            let shard = &self.table.list.arena().shards()[0];
            shard.figures.add(Totals { failures: values, ..Totals::default() });
        }
        applied
    }

    fn apply_inside(&self, batch: &WriteBatch<K>) -> Result<SeqNo, InsertError> {
        for write in &batch.writes {
            if write.key_end - write.start > Self::MAX_KEY_LEN {
                return Err(InsertError::KeyTooLarge);
            }
            if write.end - write.key_end > Self::MAX_VALUE_LEN {
                return Err(InsertError::ValueTooLarge);
            }
        }
        let admission = self.enter()?;
        if batch.is_empty() {
            return Ok(self.table.list.clock().stamp());
        }
        self.table.check_thresholds(admission.shard, batch.bytes.len(), batch.len())?;
        let writes = batch.iter().map(|(key, value, kind)| BatchWrite { key, value, kind });
        let figures = &admission.shard.figures;
        let count = |effect: Effect| figures.add(effect.totals());
        let seq = self.table.list.apply(admission.number, writes, batch.len(), count)?;
        figures.note_seq(seq);
        Ok(seq)
    }
}
