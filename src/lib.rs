//! A lock-free, arena-backed, multi-version skip list: the memtable of LSM-tree storage engines.
//!
//! ```
//! use memskip::Memtable;
//!
//! let table = Memtable::new();
//! table.put(b"apple", b"red")?;
//! let snapshot = table.snapshot();
//! table.put(b"apple", b"green")?;
//! table.put_tombstone(b"pear")?;
//! assert_eq!(table.get_live(b"apple"), Some(&b"green"[..]));
//! assert_eq!(snapshot.get_live(b"apple"), Some(&b"red"[..]));
//! for entry in table.freeze().versions() {
//!     println!("{:?} at {}: {:?}", entry.key, entry.seq, entry.value);
//! }
//! # Ok::<(), memskip::InsertError>(())
//! ```
//!
//! # What it is for
//!
//! The write buffer of a storage engine: sequence numbers from its log or from a clock, stable snapshots, blind tombstones,
//! overwrites, atomic batches, flush order, rotation while writers run, memory bounds. Also where there is no allocator, on small
//! cores and in interrupt handlers (see [`design`]).
//!
//! # What it is not
//!
//! A map: nothing is removed before the whole table goes. Durable: the log is the engine's. A transaction manager: plain reads of
//! several keys are not one point in time.
//!
//! # What a read beside writers sees
//!
//! A plain read sees the newest version that is complete; while a key is overwritten it sees the one before or the new one, never
//! none, and never the one before after the new one. An iterator sees every entry that was there when it began, and of those
//! inserted since the ones ahead of it, perhaps. A [`Snapshot`] sees what was complete when it was taken, and nothing else ever.
//!
//! # Choosing parts
//!
//! [`Memtable`] is generic over the key ([`Key`]: `[u8]`, `str`, `[u8; N]`, your own), its order ([`Comparator`]), memory ([`Arena`]:
//! [`FixedArena`] over a caller's buffer; with `alloc` growing ones over any allocator), numbers ([`SeqClock`]: [`EpochClock`],
//! [`CounterClock`], [`ManualClock`]) and the number of levels. The defaults make the common case one word.
//!
//! # One writer
//!
//! Engines that write from one thread at a time take a [`SingleWriter`] ([`Memtable::single_writer`]): the same writes with
//! fewer locked instructions (of ascending keys, on processors where those are dear, for three quarters of the time in tables that the
//! caches hold). Everybody else is refused until it goes; readers are as ever.
//!
//! # Memory
//!
//! A node is 20 bytes and its key and value; lanes take about 17 more an entry by default ([`LaneDensity`]). Nothing is freed
//! singly; [`Memtable::reset`] keeps everything for the next fill.
//!
//! # Features
//!
//! `std` (default), `alloc`, `hash-index`, `critical-section`, `unsafe-assume-single-core`. Without any the crate is `core` only.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test, loom))]
extern crate std;

// `portable-atomic` would take spin locks here, if any crate of the program enables its `fallback`.
#[cfg(not(any(
    target_has_atomic = "64",
    feature = "critical-section",
    feature = "unsafe-assume-single-core",
    portable_atomic_unsafe_assume_single_core,
    loom,
    shuttle
)))]
compile_error!(
    "this target has no 64-bit atomics: enable memskip's feature `critical-section` (the program supplies the \
     implementation) or `unsafe-assume-single-core` (a single core, in privileged mode)"
);

// The floors, bottom up: each uses only what stands above it here.
mod sync;

mod clock;
mod comparator;
mod error;

#[expect(unsafe_code, reason = "hands out memory; one of the two places")]
mod arena;
#[expect(unsafe_code, reason = "reads and publishes that memory; the other")]
mod list;

mod defaults;

mod cursor;
mod entry;
mod iter;
mod snapshot;

mod memtable;

#[cfg(feature = "std")]
mod caught;
#[cfg(feature = "std")]
mod gauge;
#[cfg(feature = "std")]
mod manager;
#[cfg(feature = "std")]
mod monitor;

pub mod design;

/// The README's code, as a test.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(feature = "std")]
pub use arena::ThreadShards;
pub use arena::{Arena, FixedArena, Handle, MAX_ALIGN, Shard, ShardSelector, SingleShard, UNIT};
#[cfg(feature = "alloc")]
pub use arena::{ChunkArena, ChunkSizes, ShardedArena};
pub use clock::{CounterClock, EpochClock, ManualClock, SeqClock, SeqNo};
pub use comparator::{BigEndian, Bytewise, CommonPrefix, Comparator, Reverse};
pub use cursor::Cursor;
pub use defaults::{DEFAULT_HEIGHT, DefaultArena};
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
    ArenaPlan, Builder, ConcurrentSkipList, FrozenMemtable, Given, Memtable, OnDuplicateSeqNo, Pressure, SingleWriter,
    Stats, Table,
};
#[cfg(all(feature = "hash-index", target_has_atomic = "ptr"))]
pub use memtable::{ByteEquality, HashIndex};
#[cfg(feature = "alloc")]
pub use memtable::{Growing, WriteBatch};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use memtable::{OwnedCursor, OwnedEntry, OwnedRange, OwnedSnapshot};
#[cfg(feature = "std")]
pub use monitor::{MonitorLimits, PressureEvent, ThresholdMonitor};
pub use snapshot::Snapshot;

/// What an allocator is, and the global one, as `allocator-api2` has them.
#[cfg(feature = "alloc")]
pub use allocator_api2::alloc::{AllocError, Allocator, Global};
