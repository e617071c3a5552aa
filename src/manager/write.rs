//! Writes: into the active table, wherever that is by the time.

use std::sync::Arc;
use std::time::Instant;

use super::error::WriteError;
use super::queue::Rotated;
use super::tables::{Generation, Pin, Tables};
use super::{MemtableManager, Shared};
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::error::{BatchError, InsertError};
use crate::list::{Key, Kind};
use crate::memtable::WriteBatch;

/// The writes of a manager, each noting a tag at the table it goes to; from
/// [`tagged`](MemtableManager::tagged).
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// let position = 4096; // of the record in the write-ahead log
/// manager.tagged(position).put(b"k", b"v")?;
/// assert_eq!(manager.first_unflushed_tag(), Some(position));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tagged<'a, K: ?Sized = [u8], C = Bytewise, S = crate::EpochClock> {
    pub(super) shared: &'a Shared<K, C, S>,
    pub(super) tag: Option<u64>,
}

impl<K: ?Sized, C, S> core::fmt::Debug for Tagged<'_, K, C, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tagged").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// What a write costs the active table's limits.
#[derive(Clone, Copy)]
struct Cost {
    bytes: usize,
    entries: usize,
}

/// Beyond key and value: node, lengths, lanes. Only decides how often the limits are looked at.
const OVERHEAD: usize = 40;

impl Cost {
    fn of<K: Key + ?Sized>(key: &K, value: &[u8]) -> Self {
        Self { bytes: key.as_bytes().len() + value.len() + OVERHEAD, entries: 1 }
    }

    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), entries: self.entries + other.entries }
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Tagged<'_, K, C, S> {
    /// See [`MemtableManager::insert`].
    pub fn insert(&self, key: &K, value: &[u8]) -> bool {
        self.try_insert(key, value).is_ok()
    }

    /// See [`MemtableManager::try_insert`].
    pub fn try_insert(&self, key: &K, value: &[u8]) -> Result<SeqNo, WriteError> {
        self.write(Cost::of(key, value), |tables| {
            if tables.is_in_frozen(key) {
                return Err(InsertError::DuplicateKey);
            }
            tables.active().table.try_insert(key, value)
        })
    }

    /// See [`MemtableManager::put`].
    pub fn put(&self, key: &K, value: &[u8]) -> Result<SeqNo, WriteError> {
        self.write(Cost::of(key, value), |tables| tables.active().table.put(key, value))
    }

    /// See [`MemtableManager::delete`].
    pub fn delete(&self, key: &K) -> Result<SeqNo, WriteError> {
        self.write(Cost::of(key, &[]), |tables| tables.active().table.put_tombstone(key))
    }

    /// See [`MemtableManager::put_at`].
    pub fn put_at(&self, key: &K, value: &[u8], seq: SeqNo) -> Result<(), WriteError> {
        self.write(Cost::of(key, value), |tables| tables.active().table.put_at(key, value, seq))
    }

    /// See [`MemtableManager::put_kind_at`].
    pub fn put_kind_at(&self, key: &K, value: &[u8], kind: Kind, seq: SeqNo) -> Result<(), WriteError> {
        self.write(Cost::of(key, value), |tables| tables.active().table.put_kind_at(key, value, kind, seq))
    }

    /// See [`MemtableManager::delete_at`].
    pub fn delete_at(&self, key: &K, seq: SeqNo) -> Result<(), WriteError> {
        self.write(Cost::of(key, &[]), |tables| tables.active().table.put_tombstone_at(key, seq))
    }

    /// See [`MemtableManager::apply`].
    pub fn apply(&self, batch: &WriteBatch<K>) -> Result<SeqNo, WriteError> {
        let nothing = Cost { bytes: 0, entries: 0 };
        let cost = batch.iter().map(|(key, value, _)| Cost::of(key, value)).fold(nothing, Cost::plus);
        // An empty batch asks the clock and stores nothing.
        self.write_if(cost, |_| !batch.is_empty(), |tables| tables.active().table.apply(batch))
    }

    /// See [`MemtableManager::try_insert_batch`].
    pub fn try_insert_batch<Q: AsRef<K>, V: AsRef<[u8]>>(&self, entries: &[(Q, V)]) -> Result<usize, WriteError> {
        let nothing = Cost { bytes: 0, entries: 0 };
        let cost = entries.iter().map(|(key, value)| Cost::of(key.as_ref(), value.as_ref())).fold(nothing, Cost::plus);
        self.write_if(cost, |inserted| *inserted != 0, |tables| insert_into(tables, entries))
    }

    /// See [`MemtableManager::insert_batch`].
    pub fn insert_batch<Q: AsRef<K>, V: AsRef<[u8]>>(&self, entries: &[(Q, V)]) -> Result<usize, BatchError> {
        let succeeded = self.try_insert_batch(entries).unwrap_or(0);
        match entries.len() - succeeded {
            0 => Ok(succeeded),
            failed => Err(BatchError::PartialFailure { succeeded, failed }),
        }
    }

    /// One write, into whichever table is active when it gets there. `act` writes nothing when it fails.
    fn write<T>(
        &self,
        cost: Cost,
        act: impl FnMut(&Tables<K, C, S>) -> Result<T, InsertError>,
    ) -> Result<T, WriteError> {
        self.write_if(cost, |_| true, act)
    }

    /// The same, where `act` may succeed without having stored anything, as `has_stored` tells.
    fn write_if<T>(
        &self,
        cost: Cost,
        has_stored: impl Fn(&T) -> bool,
        mut act: impl FnMut(&Tables<K, C, S>) -> Result<T, InsertError>,
    ) -> Result<T, WriteError> {
        let shared = self.shared;
        loop {
            shared.admit()?;
            let slot = shared.current.slot();
            let tables = shared.current.load_from(slot);
            let active = tables.active();
            match act(&tables) {
                Ok(done) => {
                    active.settle();
                    // A table that nothing was written to has no age, and need never be flushed, which is when a tag goes.
                    if !has_stored(&done) {
                        return Ok(done);
                    }
                    if let Some(tag) = self.tag {
                        active.note_tag(tag);
                    }
                    if !active.credits.spend(slot, cost.bytes, cost.entries) {
                        shared.look_at_limits(active, slot);
                    }
                    return Ok(done);
                }
                // Rotated out (or shut down, as `admit` will say). The set that has its successor is already there.
                Err(InsertError::Sealed) => {}
                Err(error @ (InsertError::OutOfMemory | InsertError::ThresholdReached)) => {
                    // An empty table that has no memory: perhaps tables that are kept for later have it.
                    if shared.rotate_out(active) == Rotated::Empty && !shared.give_back_spares() {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Inserts what is absent, all into the active table. Refused as a whole if that is being rotated out.
fn insert_into<K, C, S, Q, V>(tables: &Tables<K, C, S>, entries: &[(Q, V)]) -> Result<usize, InsertError>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    S: SeqClock,
    Q: AsRef<K>,
    V: AsRef<[u8]>,
{
    let _pin: Pin<'_> = tables.active().pin().ok_or(InsertError::Sealed)?;
    let mut succeeded = 0;
    for (key, value) in entries {
        let key = key.as_ref();
        if tables.is_in_frozen(key) {
            continue;
        }
        match tables.active().table.try_insert(key, value.as_ref()) {
            Ok(_) => succeeded += 1,
            // Nothing is in yet: the next table may have room for all.
            Err(error @ (InsertError::OutOfMemory | InsertError::ThresholdReached)) if succeeded == 0 => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    Ok(succeeded)
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Shared<K, C, S> {
    /// Compares the active table with the limits: rotates it, or grants the slot another credit.
    #[cold]
    fn look_at_limits(&self, active: &Arc<Generation<K, C, S>>, slot: usize) {
        if active.first_write.set(Instant::now()).is_ok() && self.config.max_table_age.is_some() {
            // Whoever waits for work now has a time to wait until; it computes that under the lock.
            drop(self.lock());
            self.work.notify_all();
        }
        let left = |limit: Option<usize>, used: usize| limit.map_or(usize::MAX, |limit| limit.saturating_sub(used));
        let bytes_left = left(self.config.max_table_bytes, active.table.memory_usage());
        let entries_left = left(self.config.max_table_entries, active.table.version_count());
        if bytes_left == 0 || entries_left == 0 || self.is_over_age(active) {
            self.rotate_out(active);
        } else {
            active.credits.grant(slot, bytes_left, entries_left);
        }
    }

    /// Whether the table is to be rotated because of its age.
    pub(super) fn is_over_age(&self, active: &Generation<K, C, S>) -> bool {
        let age = active.first_write.get().map(Instant::elapsed);
        self.config.max_table_age.zip(age).is_some_and(|(limit, age)| age >= limit)
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> MemtableManager<K, C, S> {
    fn untagged(&self) -> Tagged<'_, K, C, S> {
        Tagged { shared: &self.shared, tag: None }
    }

    /// Writes that carry the caller's tag (the position in a write-ahead log, say) to the table they go to. The tag of a
    /// write that is still under way is not yet there.
    pub fn tagged(&self, tag: u64) -> Tagged<'_, K, C, S> {
        Tagged { shared: &self.shared, tag: Some(tag) }
    }

    /// Inserts if the key has no version in any table here, tombstones included: the first value wins. `false` if it has one,
    /// and for every other reason that [`try_insert`](Self::try_insert) tells. What has been flushed and retired is not seen.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// assert!(manager.insert(b"k", b"first"));
    /// manager.rotate();
    /// assert!(!manager.insert(b"k", b"second"));
    /// # Ok::<(), memskip::ConfigError>(())
    /// ```
    pub fn insert(&self, key: &K, value: &[u8]) -> bool {
        self.untagged().insert(key, value)
    }

    /// The same, saying why not.
    pub fn try_insert(&self, key: &K, value: &[u8]) -> Result<SeqNo, WriteError> {
        self.untagged().try_insert(key, value)
    }

    /// Adds a version that becomes the newest. Returns its sequence number.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", b"old")?;
    /// manager.rotate();
    /// manager.put(b"k", b"new")?;
    /// assert_eq!(manager.get(b"k").as_deref(), Some(&b"new"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put(&self, key: &K, value: &[u8]) -> Result<SeqNo, WriteError> {
        self.untagged().put(key, value)
    }

    /// Writes a tombstone, whether the key is here, in an older table, in a file, or nowhere: blind, as a table's
    /// [`put_tombstone`](crate::Memtable::put_tombstone), and not only if the key is live, as its
    /// [`delete`](crate::Memtable::delete).
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", b"v")?;
    /// manager.rotate();
    /// manager.delete(b"k")?;
    /// assert_eq!(manager.get(b"k"), None);
    /// assert!(manager.get_entry(b"k").is_some_and(|entry| entry.is_tombstone));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete(&self, key: &K) -> Result<SeqNo, WriteError> {
        self.untagged().delete(key)
    }

    /// Adds a version with the engine's own sequence number, in any order: also across a rotation the greatest number is the
    /// newest. That a number is used twice is noticed within a table only.
    ///
    /// Once a table is flushed and retired, only files know its numbers. If a lesser one of the same key comes into a later
    /// table, what memory answers is not final: see [`get_entry`](Self::get_entry).
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager, SeqNo};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put_at(b"k", b"later", SeqNo(20))?;
    /// manager.rotate();
    /// manager.put_at(b"k", b"earlier", SeqNo(10))?;
    /// assert_eq!(manager.get(b"k").as_deref(), Some(&b"later"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_at(&self, key: &K, value: &[u8], seq: SeqNo) -> Result<(), WriteError> {
        self.untagged().put_at(key, value, seq)
    }

    /// Adds a version of any kind with the engine's own sequence number, as [`put_at`](Self::put_at) adds a value.
    ///
    /// ```
    /// use memskip::{Kind, ManagerConfig, MemtableManager, SeqNo};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put_kind_at(b"k", b"+3", Kind(7), SeqNo(5))?;
    /// manager.rotate();
    /// let found = manager.get_entry(b"k").ok_or("not there")?;
    /// assert_eq!((found.kind, found.value, found.seq), (Kind(7), b"+3".to_vec(), SeqNo(5)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_kind_at(&self, key: &K, value: &[u8], kind: Kind, seq: SeqNo) -> Result<(), WriteError> {
        self.untagged().put_kind_at(key, value, kind, seq)
    }

    /// Writes a tombstone with the engine's own sequence number. As with [`put_at`](Self::put_at), a lesser number than one that
    /// is flushed does not hide it, and what memory answers is then not final.
    pub fn delete_at(&self, key: &K, seq: SeqNo) -> Result<(), WriteError> {
        self.untagged().delete_at(key, seq)
    }

    /// Applies all writes of a batch or none, in one table; a snapshot sees all of them or none.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager, WriteBatch};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// let mut batch = WriteBatch::new();
    /// batch.put(b"a", b"1");
    /// batch.delete(b"b");
    /// manager.apply(&batch)?;
    /// assert_eq!(manager.iter().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(&self, batch: &WriteBatch<K>) -> Result<SeqNo, WriteError> {
        self.untagged().apply(batch)
    }

    /// Inserts each entry whose key has no version here, all into one table. `Ok` with their number if all went in. Keys are whatever
    /// is `AsRef<K>`; for arrays see [`Table::get_many_into`](crate::Table::get_many_into).
    ///
    /// A batch that is refused as a whole (the manager is shut down, or writes stall) is one of which none succeeded;
    /// [`try_insert_batch`](Self::try_insert_batch) tells that apart.
    ///
    /// ```
    /// use memskip::{BatchError, ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// assert_eq!(manager.insert_batch(&[(b"a", b"1"), (b"b", b"2")]), Ok(2));
    /// manager.rotate();
    /// let refused = manager.insert_batch(&[(b"b", b"3"), (b"c", b"4")]);
    /// assert_eq!(refused, Err(BatchError::PartialFailure { succeeded: 1, failed: 1 }));
    /// # Ok::<(), memskip::ConfigError>(())
    /// ```
    pub fn insert_batch<Q: AsRef<K>, V: AsRef<[u8]>>(&self, entries: &[(Q, V)]) -> Result<usize, BatchError> {
        self.untagged().insert_batch(entries)
    }

    /// The same, giving the number of entries that went in, which may be less than there are; an error if the batch was refused as a
    /// whole, saying why.
    ///
    /// ```
    /// use std::time::Duration;
    /// use memskip::{ManagerConfig, MemtableManager, WriteError};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// assert_eq!(manager.try_insert_batch(&[(b"a", b"1"), (b"b", b"2")]), Ok(2));
    /// assert_eq!(manager.try_insert_batch(&[(b"b", b"3"), (b"c", b"4")]), Ok(1));
    /// manager.shutdown(Duration::ZERO);
    /// assert_eq!(manager.try_insert_batch(&[(b"d", b"5")]), Err(WriteError::ShutDown));
    /// # Ok::<(), memskip::ConfigError>(())
    /// ```
    pub fn try_insert_batch<Q: AsRef<K>, V: AsRef<[u8]>>(&self, entries: &[(Q, V)]) -> Result<usize, WriteError> {
        self.untagged().try_insert_batch(entries)
    }
}
