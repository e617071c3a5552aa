//! What happens in the background: tables go from memory to disk, their segments of the log are removed, the tree is
//! compacted, the log synced.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use memskip::{FlushJob, SeqNo};

use super::core::Core;
use super::{Error, wal};

impl Core {
    /// Flushes a table; for the manager's one background thread, which tries again after a while if this fails.
    pub(super) fn flush(&self, job: &FlushJob) -> Result<(), Error> {
        let ingested = self.ingest(job);
        // What cannot be removed now is so after the next flush.
        let removed = if ingested.is_ok() { self.remove_segments() } else { Ok(()) };
        *self.last_error.lock() = ingested.as_ref().and(removed.as_ref()).err().map(ToString::to_string);
        if ingested.is_ok() {
            self.flushed.store(job.id().0, SeqCst);
        }
        ingested
    }

    fn ingest(&self, job: &FlushJob) -> Result<(), Error> {
        job.table().validate().map_err(|error| Error::Flush(error.to_string()))?;
        // The newest version of each key, deletes included.
        let newest = job.table().range_at(.., SeqNo::MAX);
        let run = newest.map(|entry| (entry.key, (!entry.is_tombstone).then_some(entry.value)));
        self.disk.ingest(job.attempt(), run, || {
            // Nobody else knows the job.
            let _ = self.memory.complete(job.id());
        })
    }

    fn remove_segments(&self) -> Result<(), Error> {
        // This first: a write that is not yet in a memtable is in this segment, or a later one.
        let needed = self.counts.needed.load(SeqCst);
        wal::remove_below(&self.wal, self.memory.first_unflushed_tag().map_or(needed, |first| first.min(needed)))
    }

    /// Brings what is in memory to the tree, and waits for it. A failure is reported, though it will be tried again.
    pub(super) fn flush_all(&self) -> Result<(), Error> {
        self.rotate(&mut self.log.lock())?;
        let before = self.memory.stats();
        // Ids have no gaps; the first table is the active one.
        let last = before.tables[0].id.0 - 1;
        loop {
            let failures = self.memory.stats().failed_flushes;
            let last_error = self.last_error.lock().clone();
            match last_error {
                _ if self.flushed.load(SeqCst) >= last => return Ok(()),
                error if failures > before.failed_flushes => {
                    return Err(Error::Flush(error.unwrap_or_else(|| "the flusher panicked".to_owned())));
                }
                _ if self.closed.load(SeqCst) => return Err(Error::Closed),
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub(super) fn compact(&self) {
        if let Err(error) = self.disk.compact(|| self.closed.load(SeqCst)) {
            *self.last_error.lock() = Some(error.to_string());
        }
    }

    /// Syncs the log at intervals, while writers go on. A failure comes to the next of them.
    pub(super) fn sync_until(&self, is_over: impl Fn() -> bool) {
        let mut synced = 0;
        while !is_over() {
            let appends = self.counts.appends.load(SeqCst);
            if appends > mem::replace(&mut synced, appends) {
                let file = Arc::clone(&self.log.lock().file);
                if let Err(error) = wal::sync(&file, &self.counts) {
                    self.log.lock().poison(error);
                }
            }
        }
    }
}
