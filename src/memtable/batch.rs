//! Applying a batch.

#[cfg(feature = "alloc")]
use super::WriteBatch;
use super::threshold::Admit;
use super::{Memtable, Table};
use crate::arena::{Arena, Writer};
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::error::InsertError;
use crate::list::{BatchWrite, Key, Kind, MAX_KEY_LEN, MAX_VALUE_LEN};

/// Bytes that a batch needs beyond its writes.
const RECORD: usize = 32;

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
    #[cfg(feature = "alloc")]
    pub fn apply(&self, batch: &WriteBatch<K>) -> Result<SeqNo, InsertError> {
        self.apply_all(batch.iter(), batch.len())
    }

    /// The same for writes that lie elsewhere (key, value, kind): needs no allocator.
    ///
    /// ```
    /// use memskip::{Kind, Memtable};
    ///
    /// let table = Memtable::new();
    /// table.apply_slice(&[(&b"a"[..], b"1", Kind::VALUE), (b"b", b"", Kind::TOMBSTONE)])?;
    /// assert_eq!((table.len(), table.tombstones()), (1, 1));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    pub fn apply_slice(&self, writes: &[(&K, &[u8], Kind)]) -> Result<SeqNo, InsertError> {
        self.apply_all(writes.iter().copied(), writes.len())
    }

    fn apply_all<'b>(
        &self,
        writes: impl Iterator<Item = (&'b K, &'b [u8], Kind)> + Clone,
        count: usize,
    ) -> Result<SeqNo, InsertError>
    where
        K: 'b,
    {
        let applied = payload(writes.clone()).and_then(|bytes| {
            let admission = self.enter()?;
            self.table.apply_by(admission.0, writes.clone(), (bytes, count))
        });
        applied.map_err(|error| self.table.refused_all(writes, error))
    }
}

/// The bytes of all keys and values, none of which is too long; asked before the gate, since keys are the caller's.
pub(super) fn payload<'b, K: Key + ?Sized + 'b>(
    writes: impl Iterator<Item = (&'b K, &'b [u8], Kind)>,
) -> Result<usize, InsertError> {
    let mut bytes = 0usize;
    for (key, value, _) in writes {
        let key = key.as_bytes();
        if key.len() > MAX_KEY_LEN {
            return Err(InsertError::KeyTooLarge);
        }
        if value.len() > MAX_VALUE_LEN {
            return Err(InsertError::ValueTooLarge);
        }
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
    }
    Ok(bytes)
}

impl<K, C, A, S, const MAX_HEIGHT: usize> Table<K, C, A, S, MAX_HEIGHT>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Applies a batch of this [`payload`] and number of writes.
    pub(super) fn apply_by<'b>(
        &self,
        by: Writer<'_>,
        writes: impl Iterator<Item = (&'b K, &'b [u8], Kind)> + Clone,
        (bytes, count): (usize, usize),
    ) -> Result<SeqNo, InsertError>
    where
        K: 'b,
    {
        if count == 0 {
            return Ok(self.list.clock().stamp());
        }
        let cost = (bytes.saturating_add(RECORD), count);
        let tokens = self.admit(by.shard, cost, Admit::WithinThresholds)?;
        let writes = writes.map(|(key, value, kind)| BatchWrite { key, value, kind });
        self.list.apply(by, writes, count, || tokens.spent())
    }

    /// Why a batch was refused; its values count as attempts.
    #[cold]
    pub(super) fn refused_all<'b>(
        &self,
        writes: impl Iterator<Item = (&'b K, &'b [u8], Kind)>,
        error: InsertError,
    ) -> InsertError
    where
        K: 'b,
    {
        self.count_failures(writes.filter(|(_, _, kind)| !kind.is_tombstone()).count());
        error
    }
}
