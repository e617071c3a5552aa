//! The way of a write: into the log, to the disk if that is asked for, into the active memtable, and when that is full into
//! the tree. Whoever comes first takes all that wait with him: one append and one sync for the group.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, mem, thread};

use lsm_tree::AbstractTree;
use memskip::{FlushJob, Kind, ManagerConfig, Memtable, MemtableManager, WriteError};
use parking_lot::Mutex;
use scopeguard::ScopeGuard;
use tokio::task::spawn_blocking;

use super::disk::Disk;
use super::names::sync_dir;
use super::wal::{self, Counts, Log};
use super::{Batch, Durability, Error, Front, Options, Snapshot, Stats};

/// The tree's limit.
pub(super) const MAX_KEY: usize = u16::MAX as usize;

/// A key-value store in a directory. Clones are the same store, for any number of threads; the last of them closes it.
#[derive(Clone)]
pub struct Store(Arc<Closing>);

/// Ends what goes on in the background: it has shares of the core, too.
type Closing = ScopeGuard<Arc<Core>, fn(Arc<Core>)>;

/// Batches that wait, and what will become of them.
type Group = (Vec<Batch>, Arc<OnceLock<Result<(), Error>>>);

pub(super) struct Core {
    options: Options,
    pub(super) memory: MemtableManager,
    pub(super) disk: Arc<Disk>,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) counts: Arc<Counts>,
    group: Mutex<Group>,
    /// Of a flush, of a compaction or of a new segment.
    pub(super) last_error: Mutex<Option<String>>,
    pub(super) closed: AtomicBool,
}

impl Store {
    /// Opens or creates. Nobody else may have it open.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let (dir, durability) = (dir.as_ref(), options.durability);
        if durability == Durability::Interval(Duration::ZERO) {
            return Err(Error::Invalid("an interval between syncs must not be zero: `Always` is what comes next"));
        }
        let disk = Arc::new(Disk::open(dir, options.front)?);
        // The writer rotates, between two records: none that is in the log already has to wait for a flush.
        let config = ManagerConfig::new().max_table_bytes(usize::MAX).max_frozen_tables(options.queued_memtables);
        let memory = MemtableManager::new(config).map_err(|_| Error::Invalid("`queued_memtables` must not be zero"))?;
        // All goes into one memtable: nothing is flushed before the whole log is known to be in order.
        let log = Log::open(&dir.join("wal"), |segment, batch| apply(&memory, &disk, segment, &batch).map(drop))?;
        // The lock, and the folder of the tree.
        sync_dir(dir)?;
        let (counts, log) = (Arc::clone(&log.counts), Arc::new(Mutex::new(log)));
        let (group, last_error, closed) = Default::default();
        let core = Arc::new(Core { options, memory, disk, log, counts, group, last_error, closed });
        let store = Self(Arc::new(scopeguard::guard(Arc::clone(&core), |core| drop(core.close()))));
        let flusher = Arc::clone(&core);
        core.memory.start_flushers(1, move |job: &_| Ok(flusher.note(flusher.flush(job))?))?;
        if let Durability::Interval(interval) = durability {
            wal::sync_at_intervals(&core.log, interval)?;
        }
        Ok(store)
    }

    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.put(key, value);
        self.write(batch)
    }

    pub fn delete(&self, key: &[u8]) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.delete(key);
        self.write(batch)
    }

    /// All of a batch or nothing, for readers as after a crash.
    pub fn write(&self, batch: Batch) -> Result<(), Error> {
        // The log would grow, and no memtable with it that is ever full.
        if batch.is_empty() {
            return Ok(());
        }
        let bytes: usize = batch.iter().map(|(key, value, _)| key.len() + value.len() + 9).sum();
        let is_wrong = |(key, ..): (&[u8], _, _)| key.is_empty() || key.len() > MAX_KEY;
        if bytes >= Memtable::<[u8]>::MAX_VALUE_LEN || batch.iter().any(is_wrong) {
            return Err(Error::Invalid("keys have 1 to 65535 bytes, and values and batches a limit, too"));
        }
        let outcome = {
            let mut group = self.0.group.lock();
            group.0.push(batch);
            Arc::clone(&group.1)
        };
        // One of those that wait commits for all; who comes once it has begun is of the next group.
        let lead = || {
            let (mut log, mut group) = (self.0.log.lock(), self.0.group.lock());
            // Unless who led it before has panicked.
            let batches = Arc::ptr_eq(&group.1, &outcome).then(|| mem::take(&mut *group).0);
            drop(group);
            batches.map_or(Err(WriteError::ShutDown.into()), |batches| self.0.commit(&mut log, &batches))
        };
        outcome.get_or_init(lead).clone()
    }

    /// Any call for a task of tokio. It waits on a thread of the pool; writes that wait there are a group, too.
    pub async fn run_async<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        spawn_blocking(move || call(&store)).await.map_err(io::Error::other)?
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.snapshot()?.get(key)
    }

    /// The store as it is now, memory and disk: for scans, and for several reads of one moment.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        if self.0.closed.load(SeqCst) { Err(WriteError::ShutDown.into()) } else { Ok(Snapshot::new(&self.0)) }
    }

    /// Brings what is in memory to the tree, and waits for it. If it fails it is tried again in the background.
    pub fn flush(&self) -> Result<(), Error> {
        self.0.rotate(&mut self.0.log.lock())?;
        let before = self.0.memory.stats();
        // The first table is the active one, the last one the oldest.
        while self.0.memory.stats().tables.last().is_some_and(|oldest| oldest.id < before.tables[0].id) {
            if self.0.memory.stats().failed_flushes > before.failed_flushes || self.0.closed.load(SeqCst) {
                let reason = self.0.last_error.lock().clone();
                return Err(Error::Flush(reason.unwrap_or_else(|| "the flusher has panicked, or ended".to_owned())));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub fn stats(&self) -> Stats {
        Stats {
            memory: self.0.memory.stats(),
            last_error: self.0.last_error.lock().clone(),
            wal_syncs: self.0.counts.syncs.load(SeqCst),
            disk_bytes: self.0.disk.tree.disk_space(),
        }
    }

    /// Syncs the log, and ends the store for all clones. What is in memory will be read back from the log.
    pub fn close(self) -> Result<(), Error> {
        self.0.close()
    }
}

impl Core {
    fn close(&self) -> Result<(), Error> {
        // In between two commits.
        let mut log = self.log.lock();
        self.closed.store(true, SeqCst);
        // A flush under way is finished; what is not flushed is in the log.
        drop(self.memory.shutdown(Duration::ZERO));
        log.sync()
    }

    /// All of a group, or nothing.
    fn commit(&self, log: &mut Log, batches: &[Batch]) -> Result<(), Error> {
        self.memory.wait_for_room()?;
        log.append(batches)?;
        if self.options.durability == Durability::Always {
            log.sync()?;
        }
        // It is in the log: without it, nothing may come behind it.
        let applied = batches.iter().try_fold(0, |_, batch| apply(&self.memory, &self.disk, log.segment, batch));
        if applied.map_err(|error| log.poison(error))? >= self.options.memtable_bytes {
            // These writes are safe. If it fails the memtable grows, and it is tried again with the next.
            let _ = self.note(self.rotate(log));
        }
        Ok(())
    }

    fn note(&self, outcome: Result<(), Error>) -> Result<(), Error> {
        outcome.inspect_err(|error| *self.last_error.lock() = Some(error.to_string()))
    }

    /// Freezes the active memtable, and gives the next one a segment of its own.
    fn rotate(&self, log: &mut Log) -> Result<(), Error> {
        if self.memory.active_memory_usage() > 0 {
            log.rotate()?;
            // Without effect, unless writes went there.
            self.disk.tree.rotate_memtable();
            self.memory.rotate();
        }
        Ok(())
    }

    /// For the manager's one background thread. As long as there is nothing else to flush, the tree is compacted.
    fn flush(&self, job: &FlushJob) -> Result<(), Error> {
        self.disk.flush(job)?;
        *self.last_error.lock() = None;
        // From here on nothing is tried again. Nobody else knows the job.
        let _ = self.memory.complete(job.id());
        // This first: a write that is not yet in a memtable is in this segment, or a later one.
        let needed = self.counts.needed.load(SeqCst);
        self.counts.remove_below(self.memory.first_unflushed_tag().map_or(needed, |first| first.min(needed)))?;
        while self.memory.frozen_tables() == 0 && !self.closed.load(SeqCst) && self.disk.compact()? {}
        Ok(())
    }
}

/// Gives how many bytes are in the active memtable.
fn apply(memory: &MemtableManager, disk: &Disk, segment: u64, batch: &Batch) -> Result<usize, Error> {
    let tagged = memory.tagged(segment);
    match batch.iter().next() {
        _ if disk.front == Front::Tree => {
            // The manager has but a mark of each memtable: it says when to flush, what to remove, and who waits.
            if memory.active_memory_usage() == 0 {
                tagged.delete(b"")?;
            }
            return Ok(disk.insert(batch));
        }
        // The usual case, and a batch of its own takes more room.
        Some((key, value, Kind::VALUE)) if batch.len() == 1 => tagged.put(key, value)?,
        _ => tagged.apply(batch)?,
    };
    Ok(memory.active_memory_usage())
}
