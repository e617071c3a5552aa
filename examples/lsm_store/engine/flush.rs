//! From memory to disk: what the flusher and the compactor do, and when a segment of the log is no longer needed.

use std::error::Error as StdError;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use memskip::{Bytewise, FlushJob, SeqNo, TableId};

use super::Error;
use super::core::{Core, LogClock};
use super::record::DELETED;

#[derive(Clone, Debug, Default)]
pub(super) struct Flushes {
    /// The last table that is in the tree. They come in order.
    pub(super) last: Option<TableId>,
    pub(super) tables: usize,
    pub(super) bytes: u64,
    pub(super) last_error: Option<String>,
}

impl Core {
    pub(super) fn flushes(&self) -> MutexGuard<'_, Flushes> {
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the statistics: of what is tried again.
    pub(super) fn note_error(&self, error: &Error) {
        self.flushes().last_error = Some(error.to_string());
    }

    /// Flushes a table; for the manager's one background thread, which tries again after a while if this fails.
    pub(super) fn flush(
        &self,
        job: &FlushJob<[u8], Bytewise, LogClock>,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let ingested = self.disk.attempt(job.attempt(), || self.ingest(job));
        // This first: a write that is not yet in a memtable is in this segment, or a later one.
        let writing = self.segments.writing.load(SeqCst);
        let needed = self.memory.first_unflushed_tag().map_or(writing, |first| first.min(writing));
        let removed = ingested.as_ref().map_or(Ok(()), |_| self.segments.remove_below(needed));
        let mut flushes = self.flushes();
        flushes.last_error = ingested.as_ref().err().or(removed.as_ref().err()).map(ToString::to_string);
        if let Ok(bytes) = ingested {
            flushes.last = Some(job.id());
            flushes.tables += 1;
            flushes.bytes += bytes;
        }
        drop(flushes);
        self.flushed.notify_all();
        Ok(ingested.map(drop)?)
    }

    fn ingest(&self, job: &FlushJob<[u8], Bytewise, LogClock>) -> Result<u64, Error> {
        if self.closed.load(SeqCst) {
            return Err(Error::Closed);
        }
        // Should the table outlive a power failure, and a part of its log not, the rest would be read back over it.
        for number in job.tags().into_iter().flat_map(|tags| tags.first..=tags.last) {
            self.segments.sync_whole(number)?;
        }
        job.table().validate().map_err(|error| Error::Flush(error.to_string()))?;
        // The newest version of each key, deletes included.
        let newest = job.table().range_at(.., SeqNo::MAX);
        let run = newest.map(|entry| (entry.key, (entry.kind() != DELETED).then_some(entry.value)));
        self.disk.ingest(run, || {
            // Nobody else knows the job.
            let _ = self.memory.complete(job.id());
        })
    }

    /// Waits until all tables up to `table` are in the tree. A failure is reported, though it will be tried again.
    pub(super) fn wait_flushed(&self, table: TableId) -> Result<(), Error> {
        let failures = || self.memory.stats().failed_flushes;
        let before = failures();
        let mut flushes = self.flushes();
        while flushes.last.is_none_or(|last| last < table) {
            if failures() > before {
                return Err(Error::Flush(flushes.last_error.clone().unwrap_or_else(|| "it panicked".into())));
            }
            if self.closed.load(SeqCst) {
                return Err(Error::Closed);
            }
            // The manager counts a failure a little later than it is told here.
            let wait = self.flushed.wait_timeout(flushes, Duration::from_millis(10));
            flushes = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Compacts after each flush; for a thread of its own.
    pub(super) fn compact_until_closed(&self) {
        let mut seen = None;
        while !self.closed.load(SeqCst) {
            if let Err(error) = self.disk.compact(|| self.closed.load(SeqCst)) {
                self.note_error(&error);
            }
            let nothing_new = |flushes: &mut Flushes| flushes.last == seen && !self.closed.load(SeqCst);
            let flushes = self.flushed.wait_while(self.flushes(), nothing_new);
            seen = flushes.unwrap_or_else(PoisonError::into_inner).last;
        }
    }

    /// Syncs the log from time to time; for a thread of its own. A failure comes to the writers.
    pub(super) fn sync_until_closed(&self, interval: Duration) {
        while !self.closed.load(SeqCst) && self.sync().is_ok() {
            let is_open = |_: &mut Flushes| !self.closed.load(SeqCst);
            drop(self.flushed.wait_timeout_while(self.flushes(), interval, is_open));
        }
    }

    /// Tells all threads to end.
    pub(super) fn close(&self) {
        // Under the lock: whoever looks before waiting has seen it, or is waiting already.
        let flushes = self.flushes();
        self.closed.store(true, SeqCst);
        drop(flushes);
        self.flushed.notify_all();
        // A flush under way is finished; what is not flushed is in the log.
        drop(self.memory.shutdown(Duration::ZERO));
    }
}
