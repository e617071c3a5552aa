//! What the threads of a store share, and the way of a write: into the log, to the disk if that is asked for, and into
//! the active memtable. Whoever comes first takes all that wait with him: one append and one sync for the group.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use memskip::{Kind, ManagerConfig, Memtable, MemtableManager};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::disk::Disk;
use super::wal::{Counts, Log};
use super::{Batch, Durability, Error, Options};

/// The tree's limit.
pub(super) const MAX_KEY: usize = u16::MAX as usize;

type Outcome = Result<(), Error>;

pub(super) struct Core {
    pub(super) options: Options,
    pub(super) memory: MemtableManager,
    pub(super) disk: Arc<Disk>,
    pub(super) wal: PathBuf,
    pub(super) log: Mutex<Log>,
    pub(super) counts: Arc<Counts>,
    /// Batches, and whom to tell.
    queue: Mutex<Vec<(Batch, oneshot::Sender<Outcome>)>>,
    /// The last table that is in the tree. They come in order.
    pub(super) flushed: AtomicU64,
    /// Of a flush, of a compaction or of a new segment.
    pub(super) last_error: Mutex<Option<String>>,
    pub(super) closed: AtomicBool,
}

impl Core {
    pub(super) fn new(disk: Disk, wal: PathBuf, options: Options) -> Result<Self, Error> {
        // The writer rotates, between two records: none that is in the log already has to wait for a flush.
        let config = ManagerConfig::new().max_table_bytes(usize::MAX).max_frozen_tables(options.queued_memtables);
        let memory = MemtableManager::new(config).map_err(|_| Error::Invalid("`queued_memtables` must not be zero"))?;
        // All goes into one memtable: nothing is flushed before the whole log is known to be in order.
        let log = Log::open(&wal, |segment, batch| apply(&memory, segment, &batch))?;
        let (disk, counts, log) = (Arc::new(disk), Arc::clone(&log.counts), Mutex::new(log));
        let (queue, flushed, last_error, closed) = Default::default();
        Ok(Self { options, memory, disk, wal, log, counts, queue, flushed, last_error, closed })
    }

    /// Queues a batch; it is committed by whoever next calls [`lead`](Self::lead). `true`: nobody is about to.
    pub(super) fn queue(&self, batch: Batch) -> Result<(bool, oneshot::Receiver<Outcome>), Error> {
        if batch.iter().any(|(key, ..)| key.is_empty() || key.len() > MAX_KEY) {
            return Err(Error::Invalid("keys have 1 to 65535 bytes"));
        }
        let bytes = batch.iter().map(|(key, value, _)| key.len() + value.len() + 9);
        if bytes.sum::<usize>() > Memtable::<[u8]>::MAX_VALUE_LEN {
            return Err(Error::Invalid("value or batch too large"));
        }
        let (outcome, told) = oneshot::channel();
        let mut queue = self.queue.lock();
        queue.push((batch, outcome));
        Ok((queue.len() == 1, told))
    }

    /// Commits what is queued, as a group: all of it, or nothing.
    pub(super) fn lead(&self) {
        let mut log = self.log.lock();
        let (batches, outcomes): (Vec<_>, Vec<_>) = mem::take(&mut *self.queue.lock()).into_iter().unzip();
        // Otherwise somebody else has taken it along.
        if !batches.is_empty() {
            let result = self.commit_group(&mut log, &batches);
            for outcome in outcomes {
                // Whoever does not wait any more need not be told.
                let _ = outcome.send(result.clone());
            }
        }
    }

    pub(super) fn commit(&self, batch: Batch) -> Outcome {
        let (_, mut told) = self.queue(batch)?;
        self.lead();
        // It is told, unless a leader has panicked.
        told.try_recv().unwrap_or(Err(Error::Closed))
    }

    fn commit_group(&self, log: &mut Log, batches: &[Batch]) -> Outcome {
        self.memory.wait_for_room()?;
        log.append(batches)?;
        if self.options.durability == Durability::Always {
            log.sync()?;
        }
        // It is in the log: without it, nothing may come behind it.
        let applied = batches.iter().try_for_each(|batch| apply(&self.memory, log.number, batch));
        applied.map_err(|error| log.poison(error))?;
        if self.memory.active_memory_usage() >= self.options.memtable_bytes
            && let Err(error) = self.rotate(log)
        {
            // These writes are safe. The memtable grows, and it is tried again with the next.
            *self.last_error.lock() = Some(error.to_string());
        }
        Ok(())
    }

    /// Freezes the active memtable, and gives the next one a segment of its own.
    pub(super) fn rotate(&self, log: &mut Log) -> Outcome {
        if self.memory.active_memory_usage() > 0 {
            log.rotate()?;
            self.memory.rotate();
        }
        Ok(())
    }
}

fn apply(memory: &MemtableManager, segment: u64, batch: &Batch) -> Outcome {
    match batch.iter().next() {
        // The usual case, and a batch of its own takes more room.
        Some((key, value, Kind::VALUE)) if batch.len() == 1 => memory.tagged(segment).put(key, value)?,
        _ => memory.tagged(segment).apply(batch)?,
    };
    Ok(())
}
