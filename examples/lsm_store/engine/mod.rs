//! A storage engine: memskip's [`MemtableManager`](memskip::MemtableManager) in front, a write-ahead log, and
//! `lsm-tree` for all that is on disk.
//!
//! ```text
//!  write ──► log segment ──(sync)──► active memtable
//!                                        │ full: the next memtable, the next segment
//!                                   frozen memtables ──flush──► tree on disk, compacted in the background
//!  read ◄── newest of ───────────────────┴─────────────────────────┘     (then the segment is removed)
//! ```
//!
//! `store` is the way of a write, `wal` the log, `disk` the tree and the moment of a flush, `snapshot` reads and scans;
//! `names` makes folders that a power failure leaves.

mod disk;
mod error;
mod names;
mod snapshot;
mod store;
mod wal;

pub use error::Error;
/// Puts and deletes that are committed together: all or none. Of several for one key the last wins.
pub use memskip::WriteBatch as Batch;
pub use snapshot::{Order, Snapshot};
pub use store::Store;

use std::time::Duration;

use memskip::ManagerStats;

#[derive(Clone, Debug)]
pub struct Options {
    /// The size at which a memtable is frozen and flushed, and its log segment ended.
    pub memtable_bytes: usize,
    /// Frozen memtables beyond which writers wait for the flusher.
    pub queued_memtables: usize,
    pub durability: Durability,
    pub front: Front,
}

impl Default for Options {
    fn default() -> Self {
        let durability = Durability::Interval(Duration::from_millis(100));
        Self { memtable_bytes: 64 << 20, queued_memtables: 4, durability, front: Front::Memskip }
    }
}

/// What an acknowledged write has survived. Each of them survives the end of the process. Damage to what was not synced
/// looks like a power failure: it costs the writes from there on, and is not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Written to the operating system; the log is synced only as its memtable is full. A power failure may lose what
    /// was not, from some write on.
    None,
    /// Synced in the background: a power failure loses at most this much time, and what a sync takes; from some write
    /// on, too. Zero is refused.
    Interval(Duration),
    /// Synced before it is acknowledged.
    Always,
}

/// Whose memtables take the writes. Those of the tree are there to be measured against: reads show what is newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Memskip,
    Tree,
}

/// The figures of a store; counted from when it was opened.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Memtables, flushes, failed flushes, writes that had to wait.
    pub memory: ManagerStats,
    /// Of a flush, of a compaction or of a new segment; `None` again after a flush.
    pub last_error: Option<String>,
    pub wal_syncs: u64,
    pub disk_bytes: u64,
}
