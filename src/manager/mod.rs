//! The memtables of an engine: one takes writes, the others wait to be flushed, and reads see them as one.
//!
//! ```text
//!  writers ──► active table ──rotate──► frozen … frozen ──next_flush──► Flush ──complete──► retired, recycled
//!                   ▲                                  ◄──────fail───────┘
//!  readers ─────────┴── newest version of all tables ──────────────────►
//! ```
//!
//! One mechanism per file: `tables` is the set of tables and which version in it is the newest, `current` how that set is held,
//! `limits` when a table is full, `write` and `snapshot` what callers do with the set, `merge` how ranges become one, `queue`
//! rotation, `flush` the way of a frozen table, `worker` threads that go it, `shutdown` the end, `throttle` what keeps writers from running ahead,
//! `recycle` what becomes of the memory, `order` the memory orderings.

mod config;
mod current;
mod error;
mod flush;
mod limits;
mod merge;
mod order;
mod queue;
mod recycle;
mod shutdown;
mod snapshot;
mod stats;
mod tables;
mod throttle;
mod worker;
mod write;

pub use config::{ConfigError, ManagerConfig};
pub use error::{UnknownFlush, WriteError};
pub use flush::FlushJob;
pub use queue::TableStage;
pub use snapshot::{ManagerEntry, ManagerRange, ManagerSnapshot, OwnedManagerRange};
pub use stats::{ManagerStats, TableStats};
pub use tables::{FrozenManagedTable, ManagedTable, TableId, Tags};
pub use worker::Flush;
pub use write::Tagged;

use core::ops::RangeBounds;
use core::sync::atomic::AtomicBool;
use std::boxed::Box;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::vec::Vec;

use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::entry::Entry;
use crate::list::{Key, Kind};
use crate::memtable::{Memtable, Pressure};
use current::Current;
use queue::{Rotated, State};
use tables::{Generation, Readable, Tables};
use throttle::Throttle;

/// One active memtable and a queue of frozen ones, read as one, flushed by whoever asks for work.
///
/// Any number of threads may read, write, rotate and flush through `&MemtableManager`. Reads and writes take no lock but that of
/// the CPU's own place, to clone an `Arc`; a rotation keeps nobody waiting; a write stalls only when flushes fall behind
/// (see [`ManagerConfig`]).
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let manager = MemtableManager::new(ManagerConfig::new().max_table_entries(2))?;
/// for (key, value) in [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")] {
///     manager.put(key, value)?;
/// }
/// assert_eq!(manager.frozen_tables(), 1);
/// manager.delete(b"b")?;
/// let all: Vec<_> = manager.iter().map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect();
/// assert_eq!(all, [(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
///
/// while let Some(job) = manager.next_flush() {
///     // … write `job.table().versions()` to a file …
///     job.complete()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Numbers of the engine's log
///
/// A single write can bring its number ([`put_at`](Self::put_at)). A batch asks the clock, so an engine that numbers its records
/// brings a clock that gives the record's number to whatever is written, and moves on when all of it is in. That takes one
/// writer at a time, as a log does anyhow. What [`SeqClock`] says of a write that has ended holds of a record that the clock has
/// moved past; so readers use snapshots, and a plain read sees a batch before it counts.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// use memskip::{Bytewise, ManagerConfig, MemtableManager, SeqClock, SeqNo, WriteBatch};
///
/// /// The last record that readers may see. (Nobody calls `put_at` here, so there is nothing to `observe`.)
/// #[derive(Clone, Default)]
/// struct LogClock(Arc<AtomicU64>);
///
/// impl SeqClock for LogClock {
///     fn stamp(&self) -> SeqNo {
///         SeqNo(self.0.load(SeqCst) + 1)
///     }
///     fn snapshot(&self) -> SeqNo {
///         SeqNo(self.0.load(SeqCst))
///     }
/// }
///
/// let clock = LogClock::default();
/// let manager = MemtableManager::with_parts(ManagerConfig::new(), Bytewise, clock.clone())?;
/// for (number, value) in [(700, b"old"), (720, b"new")] {
///     let mut record = WriteBatch::new();
///     record.put(b"a", value);
///     record.put(b"b", value);
///     // Where numbers have gaps. Nothing is ever written in between, so that readers may see as far.
///     clock.0.store(number - 1, SeqCst);
///     assert_eq!(manager.apply(&record)?, SeqNo(number));
///     assert_ne!(manager.snapshot().get(b"a"), Some(&value[..]));
///     clock.0.store(number, SeqCst);
///     assert_eq!(manager.snapshot().get(b"b"), Some(&value[..]));
/// }
/// assert_eq!(manager.snapshot_at(SeqNo(719)).get(b"a"), Some(&b"old"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemtableManager<K: ?Sized = [u8], C = Bytewise, S = EpochClock> {
    shared: Arc<Shared<K, C, S>>,
    flushers: Mutex<Vec<JoinHandle<()>>>,
}

/// What the manager shares with its flushers.
struct Shared<K: ?Sized, C, S> {
    config: ManagerConfig,
    /// Makes a table, over the shared clock.
    make: Box<dyn Fn() -> ManagedTable<K, C, S> + Send + Sync>,
    current: Current<Tables<K, C, S>>,
    throttle: Throttle,
    state: Mutex<State<K, C, S>>,
    /// There may be something to flush.
    work: Condvar,
    /// A flush has ended.
    room: Condvar,
    /// The background threads are to stop.
    stop: Condvar,
    stopped: AtomicBool,
}

impl MemtableManager {
    /// A manager of byte-string keys in their own order.
    pub fn new(config: ManagerConfig) -> Result<Self, ConfigError> {
        Self::with_parts(config, Bytewise, EpochClock::new())
    }
}

impl<K, C, S> MemtableManager<K, C, S>
where
    K: Key + ?Sized,
    C: Comparator<K> + Clone + Send + Sync + 'static,
    S: SeqClock + Send + Sync + 'static,
{
    /// A manager of other keys, another order, another clock. The clock is shared by all tables.
    ///
    /// ```
    /// use memskip::{Bytewise, CounterClock, ManagerConfig, MemtableManager, Reverse, SeqNo};
    ///
    /// let clock = CounterClock::starting_at(SeqNo(1000));
    /// let manager: MemtableManager<str, _, _> =
    ///     MemtableManager::with_parts(ManagerConfig::new(), Reverse(Bytewise), clock)?;
    /// assert_eq!(manager.put("k", b"v"), Ok(SeqNo(1001)));
    /// # Ok::<(), memskip::ConfigError>(())
    /// ```
    pub fn with_parts(config: ManagerConfig, comparator: C, clock: S) -> Result<Self, ConfigError> {
        config.check()?;
        let clock = Arc::new(clock);
        let (shards, first_chunk) = (config.shards, config.first_chunk);
        let make = move || {
            let mut builder = Memtable::<K>::builder();
            if let Some(shards) = shards {
                builder = builder.shards(shards);
            }
            if let Some(bytes) = first_chunk {
                builder = builder.first_chunk(bytes);
            }
            builder.comparator(comparator.clone()).clock(Arc::clone(&clock)).build()
        };
        // As many as CPUs: a thread then seldom meets another at its place.
        let slots = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
        let active = Arc::new(Generation::new(TableId(1), make(), slots));
        let current = Current::new(slots, || Tables::new(Box::new([Readable::whole(&active)])));
        let shared = Shared {
            make: Box::new(make),
            current,
            throttle: Throttle::default(),
            state: Mutex::new(State::new(active, &config, shards.unwrap_or(slots))),
            work: Condvar::new(),
            room: Condvar::new(),
            stop: Condvar::new(),
            stopped: AtomicBool::new(false),
            config,
        };
        Ok(Self { shared: Arc::new(shared), flushers: Mutex::new(Vec::new()) })
    }
}

/// The newest version of a key, copied out of the table it was found in.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// let seq = manager.put(b"k", b"v")?;
/// let found = manager.get_entry(b"k").ok_or("not there")?;
/// assert_eq!((found.value, found.seq, found.is_tombstone), (b"v".to_vec(), seq, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundEntry {
    /// The value. Of a tombstone it is empty, unless [`put_kind_at`](MemtableManager::put_kind_at) or a batch's `put_kind` gave it
    /// one.
    pub value: Vec<u8>,
    /// Whether the key is deleted as of this version.
    pub is_tombstone: bool,
    /// What the version is.
    pub kind: Kind,
    /// The version's sequence number.
    pub seq: SeqNo,
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> MemtableManager<K, C, S> {
    /// The newest value of a key, copied; tombstones read as absent. Without a copy: [`get_with`](Self::get_with), or from a
    /// [`snapshot`](Self::snapshot).
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", b"v")?;
    /// assert_eq!(manager.get(b"k"), Some(b"v".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: &K) -> Option<Vec<u8>> {
        self.get_with(key, |entry| (!entry.is_tombstone).then(|| entry.value.to_vec()))?
    }

    /// The newest version of a key, copied; tombstones included: below a tombstone nothing is to be looked for in files.
    ///
    /// What memory answers is final if numbers come from the clock, or the engine's own never go down from one table to the
    /// next: then no file has a later version, also if a writer was inside its table when that was rotated out. With numbers
    /// in any other order ([`put_at`](Self::put_at)) it is to be compared with what is in files, unless its number is at
    /// least [`flushed_max_seq`](Self::flushed_max_seq), asked for afterwards.
    pub fn get_entry(&self, key: &K) -> Option<FoundEntry> {
        self.get_with(key, |entry| FoundEntry {
            value: entry.value.to_vec(),
            is_tombstone: entry.is_tombstone,
            kind: entry.kind(),
            seq: entry.seq,
        })
    }

    /// What `read` makes of the newest version of a key, tombstones included, where it lies. When that is final,
    /// [`get_entry`](Self::get_entry) says.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", &[0; 1000])?;
    /// assert_eq!(manager.get_with(b"k", |entry| entry.value.len()), Some(1000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_with<R>(&self, key: &K, read: impl FnOnce(Entry<'_, K>) -> R) -> Option<R> {
        let tables = self.shared.current.load();
        tables.find(key, SeqNo::MAX).map(read)
    }

    /// Whether a key is there and not deleted.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get_with(key, |entry| !entry.is_tombstone).unwrap_or(false)
    }

    /// A stable point in time across all tables: now.
    pub fn snapshot(&self) -> ManagerSnapshot<K, C, S> {
        // The number first: a write that is complete by now is in a table of the set that is taken next, whatever is rotated
        // in between.
        let seq = self.shared.current.load().active().table.snapshot().seq();
        ManagerSnapshot::new(self.shared.current.load(), seq)
    }

    /// All tables as of a sequence number of the engine's, or of an earlier [`snapshot`](Self::snapshot)'s. Stable as long as
    /// nothing is written at or below it any more. What has been flushed and retired since is not in it: that is in files.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager, SeqNo};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put_at(b"k", b"old", SeqNo(5))?;
    /// manager.rotate();
    /// manager.put_at(b"k", b"new", SeqNo(7))?;
    /// assert_eq!(manager.snapshot_at(SeqNo(6)).get(b"k"), Some(&b"old"[..]));
    /// assert_eq!(manager.snapshot_at(SeqNo(4)).get(b"k"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot_at(&self, seq: SeqNo) -> ManagerSnapshot<K, C, S> {
        ManagerSnapshot::new(self.shared.current.load(), seq)
    }

    /// Freezes the active table and starts another, whatever its size. The frozen one's id; `None` if nothing was in the active
    /// table, or the manager is shut down.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// assert_eq!(manager.rotate(), None);
    /// manager.put(b"k", b"v")?;
    /// assert!(manager.rotate().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate(&self) -> Option<TableId> {
        let active = Arc::clone(self.shared.current.load().active());
        match self.shared.rotate_out(&active) {
            Rotated::Yes(id) => Some(id),
            // Whatever was complete when this was called is in a frozen table now.
            Rotated::Already if !self.shared.throttle.is_closed() => Some(active.id),
            Rotated::Already | Rotated::Empty => None,
        }
    }

    /// How close writers are to being held back: [`Backpressure`](Pressure::Backpressure) above a soft limit,
    /// [`Full`](Pressure::Full) when they stall or the manager is shut down.
    pub fn pressure(&self) -> Pressure {
        self.shared.throttle.pressure()
    }

    /// The limits.
    pub fn config(&self) -> &ManagerConfig {
        &self.shared.config
    }
}

impl<K, C, S> MemtableManager<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    /// Every key that is not deleted, ascending, as of now; double-ended. Merged as it goes.
    pub fn iter(&self) -> OwnedManagerRange<K, C, S> {
        self.range(..)
    }

    /// The keys within bounds that are not deleted, ascending, as of now; double-ended. Merged as it goes: the first entry costs
    /// one search per table. A [`snapshot`](Self::snapshot)'s is cheaper per entry.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"a", b"1")?;
    /// manager.rotate();
    /// manager.put(b"b", b"2")?;
    /// assert_eq!(manager.range(..).rev().map(|e| e.key().to_vec()).collect::<Vec<_>>(), [b"b", b"a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range<'k, R: RangeBounds<&'k K>>(&self, bounds: R) -> OwnedManagerRange<K, C, S>
    where
        K: 'k,
    {
        self.snapshot().into_range(bounds)
    }
}

impl<S: SeqClock + 'static> MemtableManager<[u8], Bytewise, S> {
    /// The keys that begin with `prefix` and are not deleted, ascending, as of now; double-ended. See
    /// [`ManagerSnapshot::scan_prefix`].
    pub fn scan_prefix(&self, prefix: &[u8]) -> OwnedManagerRange<[u8], Bytewise, S> {
        self.snapshot().scan_prefix(prefix)
    }
}

impl<K, C, S> IntoIterator for &MemtableManager<K, C, S>
where
    K: Key + ?Sized + 'static,
    C: Comparator<K> + 'static,
    S: SeqClock + 'static,
{
    type Item = ManagerEntry<K, C, S>;
    type IntoIter = OwnedManagerRange<K, C, S>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: ?Sized, C, S> Drop for MemtableManager<K, C, S> {
    /// Stops the background threads. What is not flushed is gone, unless somebody holds a share; see
    /// [`shutdown`](MemtableManager::shutdown).
    fn drop(&mut self) {
        self.stop_flushers();
    }
}

impl<K: ?Sized, C, S> fmt::Debug for MemtableManager<K, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemtableManager").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
