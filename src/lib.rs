//! A lock-free, arena-backed, multi-version skip list: the memtable of LSM-tree storage engines.
//!
//! ```
//! use memskip::Memtable;
//!
//! let table = Memtable::new();
//! table.put(b"apple", b"red")?;
//! let snapshot = table.snapshot();
//! table.put(b"apple", b"green")?;
//! assert_eq!(table.get_live(b"apple"), Some(&b"green"[..]));
//! assert_eq!(snapshot.get_live(b"apple"), Some(&b"red"[..]));
//! # Ok::<(), memskip::InsertError>(())
//! ```
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test, loom))]
extern crate std;

// The floors, bottom up: each uses only what stands above it here.
mod sync;

mod clock;
mod comparator;
mod error;

#[expect(unsafe_code, reason = "hands out memory; one of the two places")]
mod arena;
#[expect(unsafe_code, reason = "reads and publishes that memory; the other")]
mod list;

mod cursor;
mod entry;
mod iter;
mod snapshot;

mod memtable;

#[cfg(feature = "std")]
mod gauge;
#[cfg(feature = "std")]
mod manager;
#[cfg(feature = "std")]
mod monitor;

pub mod design;

#[cfg(feature = "std")]
pub use arena::ThreadShards;
pub use arena::{Arena, FixedArena, Handle, MAX_ALIGN, Shard, ShardSelector, SingleShard, UNIT};
#[cfg(feature = "alloc")]
pub use arena::{ChunkArena, ChunkSizes, ShardedArena};
pub use clock::{CounterClock, EpochClock, ManualClock, SeqClock, SeqNo};
pub use comparator::{BigEndian, Bytewise, CommonPrefix, Comparator, Reverse};
pub use cursor::Cursor;
pub use entry::Entry;
pub use error::{BatchError, Corruption, InsertError, OutOfMemory, SealError};
#[cfg(feature = "std")]
pub use gauge::{Gauge, MemoryBudget};
pub use iter::{Iter, Range, Versions};
pub use list::{Frozen, Key, Kind, LaneDensity};
#[cfg(feature = "std")]
pub use manager::{
    ConfigError, Flush, FlushJob, FoundEntry, FrozenManagedTable, ManagedTable, ManagerConfig, ManagerEntry,
    ManagerRange, ManagerSnapshot, ManagerStats, MemtableManager, OwnedManagerRange, TableId, TableStage, TableStats,
    Tagged, Tags, UnknownFlush, WriteError,
};
pub use memtable::{
    ArenaPlan, Builder, ConcurrentSkipList, DEFAULT_HEIGHT, DefaultArena, FrozenMemtable, Given, Memtable,
    OnDuplicateSeqNo, Pressure, Stats, Table,
};
#[cfg(feature = "hash-index")]
pub use memtable::{ByteEquality, HashIndex};
#[cfg(feature = "alloc")]
pub use memtable::{Growing, OwnedCursor, OwnedEntry, OwnedRange, OwnedSnapshot, WriteBatch};
#[cfg(feature = "std")]
pub use monitor::{MonitorLimits, PressureEvent, ThresholdMonitor};
pub use snapshot::Snapshot;

/// The global allocator, as `allocator-api2` has it.
#[cfg(feature = "alloc")]
pub use allocator_api2::alloc::Global;
