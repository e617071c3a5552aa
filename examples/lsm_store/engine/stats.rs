//! Figures, and the check of everything.

use std::fmt;
use std::sync::atomic::Ordering::SeqCst;

use lsm_tree::AbstractTree;

use super::core::Core;
use super::{Error, Snapshot, wal};

/// The figures of a store; counted from when it was opened.
#[derive(Clone, Debug)]
pub struct Stats {
    pub memtable_bytes: usize,
    /// Memtables that are frozen and not yet in the tree.
    pub queued_tables: usize,
    /// Writes that had to wait for the flusher.
    pub stalls: usize,
    pub flushed_tables: usize,
    pub flush_retries: usize,
    /// Of a flush, of a compaction or of a new segment; `None` again after a flush.
    pub last_flush_error: Option<String>,
    pub wal_segments: usize,
    pub wal_appends: u64,
    pub wal_syncs: u64,
    /// What opening cut off the end of the log.
    pub torn_bytes: u64,
    pub disk_bytes: u64,
    pub disk_tables: usize,
}

/// What a check has seen.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Keys in memory and on disk that are not deleted.
    pub keys: u64,
    /// Keys in memtables, deleted ones included.
    pub memory_entries: u64,
    pub wal_records: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#?}")
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#?}")
    }
}

impl Core {
    pub(super) fn stats(&self) -> Stats {
        let (memory, log) = (self.memory.stats(), &self.counts);
        Stats {
            memtable_bytes: memory.tables[0].memory_usage,
            queued_tables: memory.tables.len() - 1,
            stalls: memory.stalls,
            flushed_tables: memory.flushes,
            flush_retries: memory.failed_flushes,
            last_flush_error: self.last_error.lock().clone(),
            wal_segments: wal::segments(&self.wal).map_or(0, |segments| segments.len()),
            wal_appends: log.appends.load(SeqCst),
            wal_syncs: log.syncs.load(SeqCst),
            torn_bytes: log.torn_bytes.load(SeqCst),
            disk_bytes: self.disk.tree.disk_space(),
            disk_tables: self.disk.tree.table_count(),
        }
    }

    /// Checks memtables and the records of the log, while writers wait; then walks all keys, and checks that they
    /// ascend. (The tree checks its blocks as it reads them.)
    pub(super) fn verify(&self) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let log = self.log.lock();
        self.memory.validate().map_err(|_| Error::Invalid("a memtable is damaged"))?;
        for number in wal::segments(&self.wal)? {
            let read = wal::read(&self.wal, number, None, false, |_| {
                verified.wal_records += 1;
                Ok(())
            });
            // Otherwise it was flushed meanwhile.
            if wal::path(&self.wal, number).exists() {
                read?;
            }
        }
        drop(log);
        let snapshot = Snapshot::new(self);
        verified.memory_entries = snapshot.memory.range_with_tombstones(..).count() as u64;
        let mut before = Vec::new();
        for item in snapshot.range(..)? {
            let (key, _) = item?;
            if key <= before {
                return Err(Error::Invalid("a scan gave keys that do not ascend"));
            }
            verified.keys += 1;
            before = key;
        }
        Ok(verified)
    }
}
