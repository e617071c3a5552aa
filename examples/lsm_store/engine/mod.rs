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
//! `wal` is the log, `core` the way of a write and recovery, `flush` that from memory to disk, `disk` the tree and the
//! moment of a flush, `snapshot` reads and scans, `group_commit` the asynchronous front.

mod core;
pub(crate) mod disk;
mod error;
mod flush;
mod group_commit;
mod snapshot;
mod stats;
pub(crate) mod wal;

pub use error::Error;
pub use group_commit::AsyncStore;
/// Puts and deletes that are committed together: all or none. Of several for one key the last wins.
pub use memskip::WriteBatch as Batch;
pub use snapshot::{Scan, Snapshot};
pub use stats::{Stats, Verified};

use std::mem;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError::Timeout, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use self::core::Core;
use self::disk::Disk;

#[derive(Clone, Debug)]
pub struct Options {
    /// The size at which a memtable is frozen and flushed, and its log segment ended.
    pub memtable_bytes: usize,
    /// Frozen memtables beyond which writers wait for the flusher.
    pub queued_memtables: usize,
    pub durability: Durability,
    /// The tree's cache of blocks that were read from disk.
    pub block_cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        let durability = Durability::Interval(Duration::from_millis(100));
        Self { memtable_bytes: 64 << 20, queued_memtables: 4, durability, block_cache_bytes: 64 << 20 }
    }
}

/// What an acknowledged write has survived. Each of them survives the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Written to the operating system; the log is synced only as its memtable is full. A power failure may lose what
    /// was not, and as the system writes in any order, leave a log that is reported as corrupt.
    None,
    /// Synced in the background: a power failure loses at most this much time.
    Interval(Duration),
    /// Synced before it is acknowledged.
    Always,
}

/// A key-value store in a directory. Clones are the same store, for any number of threads; it is closed with the last
/// of them.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    /// Each ends when it is not to be woken any more.
    threads: Mutex<Vec<(Sender<()>, JoinHandle<()>)>>,
}

impl Store {
    /// Opens or creates. Nobody else may have it open.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let (dir, durability) = (dir.as_ref(), options.durability);
        if options.memtable_bytes == 0 || durability == Durability::Interval(Duration::ZERO) {
            return Err(Error::Invalid("a memtable of no size, or no time between syncs"));
        }
        let disk = Disk::open(dir, &options)?;
        let core = Arc::new(Core::new(disk, dir.join("wal"), options)?);
        wal::sync_dir(dir)?;
        // Whatever fails from here on, its drop ends the threads.
        let store = Self(Arc::new(Inner { core: Arc::clone(&core), threads: Mutex::default() }));
        let compactor = store.spawn(|core, wake| wake.iter().for_each(|()| core.compact()))?;
        let flusher = Arc::clone(&core);
        core.memory.start_flushers(1, move |job: &_| {
            flusher.flush(job)?;
            Ok(compactor.send(())?)
        })?;
        if let Durability::Interval(interval) = durability {
            store.spawn(move |core, wake| core.sync_until(|| wake.recv_timeout(interval) != Err(Timeout)))?;
        }
        Ok(store)
    }

    fn spawn(&self, run: impl FnOnce(&Core, Receiver<()>) + Send + 'static) -> Result<Sender<()>, Error> {
        let (core, (sender, wake)) = (Arc::clone(&self.0.core), mpsc::channel());
        let thread = thread::Builder::new().name("lsm-store".into()).spawn(move || run(&core, wake))?;
        self.0.threads.lock().push((sender.clone(), thread));
        Ok(sender)
    }

    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.core.commit(single(key, Some(value)))
    }

    pub fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.0.core.commit(single(key, None))
    }

    /// All of a batch or nothing, for readers as after a crash.
    pub fn write(&self, batch: &Batch) -> Result<(), Error> {
        self.0.core.commit(batch.clone())
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.snapshot()?.get(key)
    }

    /// The store as it is now, memory and disk. See [`Snapshot`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        if self.0.core.closed.load(SeqCst) { Err(Error::Closed) } else { Ok(Snapshot::new(&self.0.core)) }
    }

    /// Keys within bounds, as of now; from both ends.
    pub fn range(&self, bounds: impl RangeBounds<Vec<u8>>) -> Result<Scan, Error> {
        self.snapshot()?.range(bounds)
    }

    /// Keys that begin with `prefix`, as of now; from both ends.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Scan, Error> {
        self.snapshot()?.prefix(prefix)
    }

    /// Brings what is in memory to the tree, and waits for it. An error if that fails; it is tried again in the
    /// background.
    pub fn flush(&self) -> Result<(), Error> {
        self.0.core.flush_all()
    }

    pub fn stats(&self) -> Stats {
        self.0.core.stats()
    }

    /// Reads everything there is and checks it.
    pub fn verify(&self) -> Result<Verified, Error> {
        self.0.core.verify()
    }

    /// Syncs the log, whatever the durability, and ends the store for all clones. What is in memory is read back from
    /// the log when it is opened again.
    pub fn close(self) -> Result<(), Error> {
        self.0.end()
    }
}

impl Inner {
    fn end(&self) -> Result<(), Error> {
        // In between two commits.
        let log = self.core.log.lock();
        self.core.closed.store(true, SeqCst);
        // A flush under way is finished; what is not flushed is in the log.
        drop(self.core.memory.shutdown(Duration::ZERO));
        drop(log);
        for (wake, thread) in mem::take(&mut *self.threads.lock()) {
            drop(wake);
            let _ = thread.join();
        }
        self.core.log.lock().sync()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Who wants to know calls `close`.
        let _ = self.end();
    }
}

fn single(key: &[u8], value: Option<&[u8]>) -> Batch {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    }
    batch
}
