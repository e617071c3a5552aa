//! Figures, and the check of everything.

use std::fmt;
use std::sync::atomic::Ordering::SeqCst;

use lsm_tree::AbstractTree;

use super::core::Core;
use super::{Error, Snapshot};

/// The figures of a store; counted from when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub memtable_bytes: usize,
    pub memtable_entries: usize,
    /// Memtables that are frozen and not yet in the tree.
    pub queued_tables: usize,
    /// Writes that had to wait for the flusher.
    pub stalls: usize,
    pub flushed_tables: usize,
    /// Keys and values.
    pub flushed_bytes: u64,
    pub flush_retries: usize,
    /// Of a flush, of a compaction or of a new segment; `None` again after a flush.
    pub last_flush_error: Option<String>,
    pub wal_segments: usize,
    pub wal_bytes: u64,
    pub wal_appends: u64,
    pub wal_syncs: u64,
    /// What opening cut off the end of the log.
    pub torn_bytes: u64,
    pub disk_bytes: u64,
    pub disk_tables: usize,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#?}")
    }
}

/// What a check has seen.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Keys in memory and on disk that are not deleted.
    pub keys: u64,
    /// Bytes of those and their values.
    pub bytes: u64,
    /// Keys in memtables, deleted ones included.
    pub memory_entries: u64,
    pub wal_segments: usize,
    pub wal_records: u64,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#?}")
    }
}

impl Core {
    pub(super) fn stats(&self) -> Stats {
        let (memory, flushes) = (self.memory.stats(), self.flushes().clone());
        let lens = self.segments.lens().clone();
        Stats {
            memtable_bytes: memory.tables[0].memory_usage,
            memtable_entries: memory.tables[0].versions,
            queued_tables: memory.tables.len() - 1,
            stalls: memory.stalls,
            flushed_tables: flushes.tables,
            flushed_bytes: flushes.bytes,
            flush_retries: memory.failed_flushes,
            last_flush_error: flushes.last_error,
            wal_segments: lens.len(),
            wal_bytes: lens.values().sum(),
            wal_appends: self.segments.appends.load(SeqCst),
            wal_syncs: self.segments.syncs.load(SeqCst),
            torn_bytes: self.segments.torn_bytes.load(SeqCst),
            disk_bytes: self.disk.tree.disk_space(),
            disk_tables: self.disk.tree.table_count(),
        }
    }

    /// Checks the records of the log; walks memory, and all keys, and checks that they ascend. (The tree checks its
    /// blocks as it reads them. A memtable's inner structure is validated when it is flushed: the manager shows no
    /// others.)
    pub(super) fn verify(&self) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        // Under the log's lock, lengths are those of whole records.
        let lens = {
            let _log = self.log();
            self.segments.lens().clone()
        };
        for (number, len) in lens {
            let mut records = 0;
            let count = |_, _: &[u8]| {
                records += 1;
                Ok(())
            };
            match self.segments.read((number, len, false), None, count) {
                Err(Error::Io(..)) if !self.segments.lens().contains_key(&number) => continue, // flushed meanwhile
                read => read?,
            };
            verified.wal_segments += 1;
            verified.wal_records += records;
        }
        let snapshot = Snapshot::new(self);
        let in_memory = snapshot.memory.iter().map(|entry| Ok((entry.key.to_vec(), Vec::new())));
        verified.memory_entries = in_order(in_memory)?.0;
        (verified.keys, verified.bytes) = in_order(snapshot.range(..)?)?;
        Ok(verified)
    }
}

/// Counts entries, and bytes.
fn in_order(entries: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Error>>) -> Result<(u64, u64), Error> {
    let (mut before, mut count, mut bytes) = (Vec::new(), 0, 0);
    for entry in entries {
        let (key, value) = entry?;
        if key <= before {
            return Err(Error::Invalid("a scan gave keys that do not ascend"));
        }
        bytes += (key.len() + value.len()) as u64;
        (before, count) = (key, count + 1);
    }
    Ok((count, bytes))
}
