//! What the threads of a store share, and the way of a write: into the log, to the disk if that is asked for, into
//! the active memtable, and only then visible.
//!
//! Whoever comes first takes all that wait with him: one append and one sync for the group.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use memskip::{Bytewise, Kind, ManagerConfig, MemtableManager, SeqClock, SeqNo, TableId};
use tokio::sync::oneshot;

use super::disk::Disk;
use super::flush::Flushes;
use super::wal::{Segment, Segments};
use super::{Batch, Durability, Error, Options, record};

/// The log's numbers: writes have the one after the last that readers may see. There is one writer at a time, and it
/// raises that when all of its record is in; so a record is seen as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub(super) struct LogClock(Arc<AtomicU64>);

impl SeqClock for LogClock {
    fn stamp(&self) -> SeqNo {
        SeqNo(self.0.load(SeqCst) + 1)
    }

    fn snapshot(&self) -> SeqNo {
        SeqNo(self.0.load(SeqCst))
    }
}

/// A batch, and whom to tell.
type Waiting = (Batch, oneshot::Sender<Result<(), Error>>);

pub(super) struct Core {
    pub(super) options: Options,
    pub(super) memory: MemtableManager<[u8], Bytewise, LogClock>,
    clock: LogClock,
    pub(super) disk: Arc<Disk>,
    pub(super) segments: Segments,
    log: Mutex<Log>,
    waiting: Mutex<Vec<Waiting>>,
    /// Somebody is about to take all that wait.
    pub(super) is_led: AtomicBool,
    pub(super) flushes: Mutex<Flushes>,
    /// Told when a flush has ended, well or not, and when the store is closed.
    pub(super) flushed: Condvar,
    pub(super) closed: AtomicBool,
    poison: OnceLock<Error>,
}

/// The end of the log.
pub(super) struct Log {
    pub(super) segment: Segment,
    is_synced: bool,
    last_rotated: Option<TableId>,
    /// Bytes since the memtable's size was looked at.
    unmeasured: usize,
    buffer: Vec<u8>,
    batch: Batch,
}

impl Core {
    pub(super) fn new(disk: Disk, (segments, segment): (Segments, Segment), options: Options) -> Result<Self, Error> {
        // Tables are rotated by the writer, between two records: none that is in the log already has to wait for a
        // flush.
        let config = ManagerConfig::new().max_table_bytes(usize::MAX).max_frozen_tables(options.queued_memtables);
        let clock = LogClock::default();
        let memory = MemtableManager::with_parts(config, Bytewise, clock.clone());
        let (buffer, batch) = (Vec::new(), Batch::new());
        Ok(Self {
            memory: memory.map_err(|_| Error::Invalid("`queued_memtables` must not be zero"))?,
            options,
            clock,
            disk: Arc::new(disk),
            segments,
            log: Mutex::new(Log { segment, is_synced: true, last_rotated: None, unmeasured: 0, buffer, batch }),
            waiting: Mutex::default(),
            is_led: AtomicBool::new(false),
            flushes: Mutex::default(),
            flushed: Condvar::new(),
            closed: AtomicBool::new(false),
            poison: OnceLock::new(),
        })
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether writes are taken.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        match self.poison.get() {
            _ if self.closed.load(SeqCst) => Err(Error::Closed),
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Takes no writes from now on.
    fn poison(&self, error: Error) -> Error {
        self.poison.get_or_init(|| Error::Poisoned(Arc::new(error))).clone()
    }

    /// Reads the log back into the memtables; may take flushes on the way. `next_seq`: where it ends.
    pub(super) fn recover(&self, next_seq: u64) -> Result<(), Error> {
        let mut log = self.log();
        let lens = self.segments.lens().clone();
        for (number, len) in lens {
            self.segments.writing.store(number, SeqCst);
            self.segments.read((number, len, false), None, |seq, operations| {
                self.clock.0.store(seq - 1, SeqCst);
                self.wait_for_room()?;
                self.apply(number, operations, &mut log.batch)?;
                if log.is_full(operations.len(), self) {
                    self.memory.rotate();
                }
                Ok(())
            })?;
        }
        self.clock.0.store(next_seq - 1, SeqCst);
        Ok(())
    }

    /// Waits for the flusher if too many memtables are queued. An empty batch writes nothing, and waits as any other.
    fn wait_for_room(&self) -> Result<(), Error> {
        self.memory.apply(&Batch::new())?;
        Ok(())
    }

    /// Puts a record of the log into the active memtable, and shows it.
    fn apply(&self, segment: u64, operations: &[u8], batch: &mut Batch) -> Result<(), Error> {
        record::decode(operations, batch).ok_or(Error::Invalid("a record of the log is not a batch"))?;
        let memory = self.memory.tagged(segment);
        let seq = match batch.iter().next() {
            // The usual case, and a batch of its own takes more room.
            Some((key, value, Kind::VALUE)) if batch.len() == 1 => memory.put(key, value)?,
            _ => memory.apply(batch)?,
        };
        self.clock.0.store(seq.0, SeqCst);
        Ok(())
    }

    /// Queues a batch; it is committed by whoever next calls [`lead`](Self::lead).
    pub(super) fn queue(&self, batch: Batch) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        record::check(&batch)?;
        let (outcome, told) = oneshot::channel();
        self.waiting().push((batch, outcome));
        Ok(told)
    }

    /// Commits what is queued, as a group: all of it, or nothing.
    pub(super) fn lead(&self) {
        let mut log = self.log();
        self.is_led.store(false, SeqCst);
        let (batches, outcomes): (Vec<_>, Vec<_>) = mem::take(&mut *self.waiting()).into_iter().unzip();
        // Otherwise somebody else has taken it along.
        if !batches.is_empty() {
            let result = log.commit(self, &batches);
            for outcome in outcomes {
                // Whoever does not wait any more need not be told.
                let _ = outcome.send(result.clone());
            }
        }
    }

    pub(super) fn commit(&self, batch: Batch) -> Result<(), Error> {
        let mut told = self.queue(batch)?;
        self.lead();
        // It is told, unless a leader has panicked.
        told.try_recv().unwrap_or(Err(Error::Closed))
    }

    /// Brings what is in memory to the tree, and waits for it.
    pub(super) fn flush_all(&self) -> Result<(), Error> {
        let mut log = self.log();
        self.check_writable()?;
        log.rotate(self)?;
        let last = log.last_rotated;
        drop(log);
        last.map_or(Ok(()), |last| self.wait_flushed(last))
    }

    /// Syncs what has been appended.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let log = self.log();
        if log.is_synced {
            return Ok(());
        }
        let (file, path, len) = (Arc::clone(&log.segment.file), log.segment.path.clone(), log.segment.len);
        // Writers go on meanwhile.
        drop(log);
        self.segments.sync(&file, &path).map_err(|error| self.poison(error))?;
        let mut log = self.log();
        log.is_synced |= log.segment.len == len && log.segment.path == path;
        Ok(())
    }
}

impl Log {
    fn commit(&mut self, core: &Core, batches: &[Batch]) -> Result<(), Error> {
        core.check_writable()?;
        core.wait_for_room()?;
        let seq = core.clock.0.load(SeqCst) + 1;
        self.buffer.clear();
        let mut starts = Vec::with_capacity(batches.len() + 1);
        for (batch, seq) in batches.iter().zip(seq..) {
            starts.push(self.buffer.len() + record::HEAD);
            record::encode(batch, (self.segment.number, self.segment.len), seq, &mut self.buffer);
        }
        starts.push(self.buffer.len() + record::HEAD);
        self.segment.append(&self.buffer).map_err(|(error, not_undone)| match not_undone {
            Some(_) => core.poison(error),
            None => error,
        })?;
        core.segments.appended(&self.segment);
        self.is_synced = false;
        if core.options.durability == Durability::Always {
            self.sync(core)?;
        }
        for record in starts.windows(2) {
            // It is in the log: without it, nothing may come behind it.
            let operations = &self.buffer[record[0]..record[1] - record::HEAD];
            let applied = core.apply(self.segment.number, operations, &mut self.batch);
            applied.map_err(|error| core.poison(error))?;
        }
        if self.is_full(self.buffer.len(), core)
            && let Err(error) = self.rotate(core)
        {
            // These writes are safe. The memtable grows, and it is tried again soon.
            core.note_error(&error);
        }
        Ok(())
    }

    /// After a failure nobody knows what is on disk: nothing may be appended behind it.
    fn sync(&mut self, core: &Core) -> Result<(), Error> {
        core.segments.sync(&self.segment.file, &self.segment.path).map_err(|error| core.poison(error))?;
        self.is_synced = true;
        Ok(())
    }

    /// Whether the active memtable has its size; looked at from time to time.
    fn is_full(&mut self, appended: usize, core: &Core) -> bool {
        self.unmeasured += appended;
        if self.unmeasured < core.options.memtable_bytes / 64 {
            return false;
        }
        self.unmeasured = 0;
        core.memory.stats().tables[0].memory_usage >= core.options.memtable_bytes
    }

    /// Freezes the active memtable, and gives the next one a segment of its own.
    fn rotate(&mut self, core: &Core) -> Result<(), Error> {
        if core.memory.stats().tables[0].versions == 0 {
            return Ok(());
        }
        if core.options.durability != Durability::None && !self.is_synced {
            // A torn tail is forgiven at the end of the log only.
            self.sync(core)?;
        }
        self.segment = core.segments.create(self.segment.number + 1, core.clock.0.load(SeqCst) + 1)?;
        self.is_synced = true;
        core.segments.writing.store(self.segment.number, SeqCst);
        self.last_rotated = core.memory.rotate().or(self.last_rotated);
        Ok(())
    }
}
