//! The only writer of a table, as a type.

use core::fmt;
use core::ops::Deref;

#[cfg(feature = "alloc")]
use super::WriteBatch;
use super::batch::payload;
use super::threshold::Admit;
use super::{FrozenMemtable, Memtable, Table};
use crate::arena::Arena;
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::error::{BatchError, InsertError};
use crate::list::{Alone, Key, Kind, Refusal, Rule, Write, Written};

/// The only writer of a table, from [`Memtable::single_writer`]. It writes what a [`Memtable`] does, in the same way for readers, with
/// fewer instructions: nobody else is let in until it is dropped.
///
/// It may go from thread to thread, and be made anew as often as wanted: that takes three locked instructions for each arena shard, so that
/// a table for one writer has one shard best. Forgotten instead of dropped (`mem::forget`), it keeps everybody out until the table is reset, and a
/// freeze waiting.
///
/// What it does not do without: the exchange that publishes a key or version, which is the barrier before the clock is read, and the one that
/// numbers it; and with thresholds, one for each. A new key whose number is given needs neither of the first two, but the clock is told
/// of the number, which is an exchange if it is the greatest yet.
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::with_shards(1);
/// std::thread::scope(|scope| {
///     scope.spawn(|| table.snapshot().iter().count());
///     let mut writer = table.single_writer()?;
///     for i in 0..1000u32 {
///         writer.put(&i.to_be_bytes(), b"value")?;
///     }
///     Ok::<(), memskip::InsertError>(())
/// })?;
/// // It is gone: anybody may write again.
/// table.put(b"k", b"v")?;
/// assert_eq!(table.len(), 1001);
/// # Ok::<(), memskip::InsertError>(())
/// ```
///
/// One at a time:
///
/// ```
/// use memskip::{InsertError, Memtable};
///
/// let table = Memtable::new();
/// let writer = table.single_writer()?;
/// assert_eq!(table.single_writer().err(), Some(InsertError::Busy));
/// drop(writer);
/// assert!(table.single_writer().is_ok());
/// # Ok::<(), InsertError>(())
/// ```
pub struct SingleWriter<
    'a,
    K: ?Sized = [u8],
    C = Bytewise,
    A = DefaultArena,
    S = EpochClock,
    const MAX_HEIGHT: usize = DEFAULT_HEIGHT,
> {
    memtable: &'a Memtable<K, C, A, S, MAX_HEIGHT>,
    alone: Alone<'a, K, C, A, S, MAX_HEIGHT>,
}

impl<'a, K, C, A, S, const MAX_HEIGHT: usize> SingleWriter<'a, K, C, A, S, MAX_HEIGHT>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    pub(super) fn enter(memtable: &'a Memtable<K, C, A, S, MAX_HEIGHT>, shard: usize) -> Option<Self> {
        Some(Self { memtable, alone: Alone::enter(&memtable.table.list, shard)? })
    }

    /// The reading side, for reads that go on while this writes.
    ///
    /// ```
    /// let table = memskip::Memtable::with_shards(1);
    /// table.put(b"k", b"v")?;
    /// let mut writer = table.single_writer()?;
    /// for entry in writer.table().iter() {
    ///     writer.put(entry.key, b"w")?;
    /// }
    /// assert_eq!(writer.get_live(b"k"), Some(&b"w"[..]));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn table(&self) -> &'a Table<K, C, A, S, MAX_HEIGHT> {
        self.memtable
    }

    /// As [`Memtable::insert`].
    #[inline]
    pub fn insert(&mut self, key: &K, value: &[u8]) -> bool {
        self.try_insert(key, value).is_ok()
    }

    /// As [`Memtable::try_insert`].
    #[inline]
    pub fn try_insert(&mut self, key: &K, value: &[u8]) -> Result<SeqNo, InsertError> {
        self.put_with(key, value, Kind::VALUE, Rule::IfAbsent)
    }

    /// As [`Memtable::put`].
    #[inline]
    pub fn put(&mut self, key: &K, value: &[u8]) -> Result<SeqNo, InsertError> {
        self.put_with(key, value, Kind::VALUE, Rule::Newest)
    }

    /// As [`Memtable::delete`].
    #[inline]
    pub fn delete(&mut self, key: &K) -> bool {
        let write = Write::new(key, &[], Kind::TOMBSTONE, Rule::IfLive);
        self.write_apart(&write, Admit::Always).is_ok()
    }

    /// As [`Memtable::put_tombstone`].
    #[inline]
    pub fn put_tombstone(&mut self, key: &K) -> Result<SeqNo, InsertError> {
        self.put_with(key, &[], Kind::TOMBSTONE, Rule::Newest)
    }

    /// As [`Memtable::put_at`].
    #[inline]
    pub fn put_at(&mut self, key: &K, value: &[u8], seq: SeqNo) -> Result<(), InsertError> {
        self.put_kind_at(key, value, Kind::VALUE, seq)
    }

    /// As [`Memtable::put_tombstone_at`].
    #[inline]
    pub fn put_tombstone_at(&mut self, key: &K, seq: SeqNo) -> Result<(), InsertError> {
        self.put_kind_at(key, &[], Kind::TOMBSTONE, seq)
    }

    /// As [`Memtable::put_kind_at`].
    #[inline]
    pub fn put_kind_at(&mut self, key: &K, value: &[u8], kind: Kind, seq: SeqNo) -> Result<(), InsertError> {
        self.put_with(key, value, kind, self.memtable.rule_at(seq)).map(drop)
    }

    /// As [`Memtable::get_or_insert`].
    pub fn get_or_insert(&mut self, key: &K, value: &[u8]) -> (&'a [u8], bool) {
        self.try_get_or_insert(key, value).unwrap_or((&[], false))
    }

    /// As [`Memtable::try_get_or_insert`].
    pub fn try_get_or_insert(&mut self, key: &K, value: &[u8]) -> Result<(&'a [u8], bool), InsertError> {
        let write = Write::new(key, value, Kind::VALUE, Rule::UnlessLive);
        match self.write_apart(&write, Admit::WithinThresholds) {
            Ok(written) => Ok((written.value, true)),
            Err(refusal) => self.table().present_or_refused(key, refusal),
        }
    }

    /// As [`Memtable::insert_batch`].
    pub fn insert_batch<Q: AsRef<K>, V: AsRef<[u8]>>(&mut self, entries: &[(Q, V)]) -> Result<usize, BatchError> {
        let (table, shard) = (self.table(), self.alone.shard());
        table.in_groups(
            entries,
            || shard,
            |pairs, leads| {
                let insert = |&(index, &(key, value)): &(usize, &(&K, &[u8]))| {
                    let write = Write::new(key, value, Kind::VALUE, Rule::IfAbsent).led_by(leads, index);
                    let written = self.write(&write, Admit::WithinThresholds);
                    written.map_err(|refusal| table.refused(Kind::VALUE, refusal)).is_ok()
                };
                pairs.iter().enumerate().filter(insert).count()
            },
        )
    }

    /// As [`Memtable::apply`].
    #[cfg(feature = "alloc")]
    pub fn apply(&mut self, batch: &WriteBatch<K>) -> Result<SeqNo, InsertError> {
        self.apply_all(batch.iter(), batch.len())
    }

    /// As [`Memtable::apply_slice`].
    pub fn apply_slice(&mut self, writes: &[(&K, &[u8], Kind)]) -> Result<SeqNo, InsertError> {
        self.apply_all(writes.iter().copied(), writes.len())
    }

    fn apply_all<'b>(
        &mut self,
        writes: impl Iterator<Item = (&'b K, &'b [u8], Kind)> + Clone,
        count: usize,
    ) -> Result<SeqNo, InsertError>
    where
        K: 'b,
    {
        let table = self.table();
        let applied = payload(writes.clone()).and_then(|bytes| {
            self.check_sealed()?;
            table.apply_by(self.alone.as_one_of_many(), writes.clone(), (bytes, count))
        });
        applied.map_err(|error| table.refused_all(writes, error))
    }

    /// Freezes the table as [`Memtable::freeze`] does, which would wait for this. Nobody else writes in between.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// let mut writer = table.single_writer()?;
    /// writer.put(b"k", b"v")?;
    /// assert_eq!(writer.freeze().versions().count(), 1);
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    pub fn freeze(self) -> &'a FrozenMemtable<K, C, A, S, MAX_HEIGHT> {
        let memtable = self.memtable;
        // Sealed first, so that nobody comes in behind this.
        memtable.seal_gates();
        drop(self);
        memtable.freeze()
    }

    /// One write that returns a number: a call, with all that is usual in it.
    #[inline(never)]
    fn put_with(&mut self, key: &K, value: &[u8], kind: Kind, rule: Rule) -> Result<SeqNo, InsertError> {
        let write = Write::new(key, value, kind, rule);
        match self.write(&write, Admit::WithinThresholds) {
            Ok(written) => Ok(written.seq),
            Err(refusal) => Err(self.memtable.refused(kind, refusal)),
        }
    }

    /// A write that answers with more than a number.
    #[inline(never)]
    fn write_apart(&mut self, write: &Write<'_, K>, admit: Admit) -> Result<Written<'a>, Refusal<'a>> {
        self.write(write, admit)
    }

    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call, what it returns goes through memory")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn write(&mut self, write: &Write<'_, K>, admit: Admit) -> Result<Written<'a>, Refusal<'a>> {
        self.check_sealed()?;
        let tokens = self.memtable.table.admit_one(self.alone.shard(), write, admit)?;
        self.alone.write(write, || tokens.spent())
    }

    /// Refuses writes once a freeze waits for this to go.
    #[inline]
    fn check_sealed(&self) -> Result<(), InsertError> {
        if self.alone.shard().gate.is_sealed() { Err(InsertError::Sealed) } else { Ok(()) }
    }
}

impl<K: ?Sized, C, A, S, const MAX_HEIGHT: usize> Deref for SingleWriter<'_, K, C, A, S, MAX_HEIGHT> {
    type Target = Table<K, C, A, S, MAX_HEIGHT>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        self.memtable
    }
}

impl<K: ?Sized, C, A, S, const MAX_HEIGHT: usize> fmt::Debug for SingleWriter<'_, K, C, A, S, MAX_HEIGHT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleWriter").field("memtable", &self.memtable).finish_non_exhaustive()
    }
}
