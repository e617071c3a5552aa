//! The part to copy into an engine: one active memtable, and a queue of sealed ones that are flushed while the writers
//! go on.
//!
//! The rules:
//!
//! 1. A writer keeps the active table for a whole batch and takes no lock to write.
//! 2. A write that is refused with `ThresholdReached` or `Sealed` rotates, and is tried again on the fresh table.
//! 3. Rotation freezes first and publishes the fresh table afterwards. `freeze` returns when every write that had begun
//!    has ended, so a sealed table holds exactly the writes that were acknowledged, and never changes again.
//! 4. A sealed table answers reads until its file is complete and durable; only then is it dropped.
//! 5. Writers wait only when the flusher is [`MAX_SEALED`] tables behind: that bounds memory.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memskip::{Bytewise, DefaultArena, FrozenMemtable, InsertError, ManualClock, Memtable, Pressure, SeqNo};

use crate::Failure;
use crate::log::{Op, Record};
use crate::sorted_file::{self, SortedFile};

/// The log numbers the operations, so the tables draw no numbers of their own.
pub type Table = Memtable<[u8], Bytewise, DefaultArena, ManualClock>;
pub type SealedTable = FrozenMemtable<[u8], Bytewise, DefaultArena, ManualClock>;

/// The smallest table that still has room for a few lines of [`crate::source::MAX_LINE`].
pub const MIN_TABLE_BYTES: usize = 256 << 10;
const USUAL_TABLE_BYTES: u64 = 64 << 20;

/// Sealed tables waiting for the flusher before writers have to wait too.
const MAX_SEALED: usize = 4;

/// A table size that gives a dozen tables or more, and few enough files to be merged in one go. (An engine takes 64 MiB
/// and is done.)
pub fn table_bytes_for(input_bytes: u64) -> usize {
    let wanted = (input_bytes / 8).min(USUAL_TABLE_BYTES).max(input_bytes / 64);
    usize::try_from(wanted).unwrap_or(usize::MAX).max(MIN_TABLE_BYTES)
}

pub struct Engine {
    table_bytes: usize,
    state: Mutex<State>,
    /// Told when a table was sealed, or when there will be no more.
    sealed_one: Condvar,
    /// Told when a sealed table has become a file.
    flushed_one: Condvar,
    backpressure: AtomicU64,
    stalls: AtomicU64,
    stalled_nanos: AtomicU64,
    longest_freeze_nanos: AtomicU64,
}

struct State {
    active: Arc<Table>,
    /// Made ahead while the active table is under backpressure, so that a rotation is little more than a swap.
    spare: Option<Arc<Table>>,
    /// Oldest first.
    sealed: VecDeque<Waiting>,
    flushed: u64,
    closed: bool,
    stopped: bool,
    /// The first thing that went wrong; what follows from it is not reported.
    failure: Option<Failure>,
}

/// A sealed table in the queue.
#[derive(Clone)]
struct Waiting {
    table: Arc<SealedTable>,
    /// When it was frozen. It has as many when it is flushed, or rule 3 does not hold.
    versions: usize,
}

/// Every table that a read has to ask, held for as long as the read lasts.
pub struct View {
    pub active: Arc<Table>,
    sealed: Vec<Arc<SealedTable>>,
    /// Tables that had become files by then, and are no longer asked.
    pub flushed: u64,
}

pub struct Statistics {
    pub backpressure: u64,
    pub stalls: u64,
    pub stalled: Duration,
    pub longest_freeze: Duration,
}

/// The engine stopped because of a failure elsewhere.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the engine has stopped")
    }
}

impl Error for Stopped {}

impl Engine {
    pub fn new(table_bytes: usize) -> Self {
        Self {
            table_bytes,
            state: Mutex::new(State {
                active: Arc::new(fresh_table(table_bytes)),
                spare: None,
                sealed: VecDeque::new(),
                flushed: 0,
                closed: false,
                stopped: false,
                failure: None,
            }),
            sealed_one: Condvar::new(),
            flushed_one: Condvar::new(),
            backpressure: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            stalled_nanos: AtomicU64::new(0),
            longest_freeze_nanos: AtomicU64::new(0),
        }
    }

    pub fn view(&self) -> View {
        let state = self.lock();
        View {
            active: Arc::clone(&state.active),
            sealed: state.sealed.iter().map(|waiting| Arc::clone(&waiting.table)).collect(),
            flushed: state.flushed,
        }
    }

    /// Applies one operation. `table` is the writer's own idea of the active table; a rotation brings it up to date.
    pub fn apply(&self, table: &mut Arc<Table>, record: &Record<'_>) -> Result<(), Failure> {
        loop {
            let applied = match record.op {
                Op::Put(value) => table.put_at(record.key, value, record.seq),
                Op::Delete => table.put_tombstone_at(record.key, record.seq),
            };
            match applied {
                Ok(()) => return Ok(()),
                // An entry that does not even fit an empty table never will: without this, rotation would go on for ever.
                Err(error @ (InsertError::ThresholdReached | InsertError::OutOfMemory))
                    if table.version_count() == 0 && !table.is_sealed() =>
                {
                    return Err(format!("an entry does not fit an empty table: {error}").into());
                }
                Err(InsertError::Sealed | InsertError::ThresholdReached | InsertError::OutOfMemory) => {
                    *table = self.rotate(table)?;
                }
                Err(error) => return Err(format!("sequence number {}: {error}", record.seq.0).into()),
            }
        }
    }

    /// Replaces `full` as the active table, unless another writer was quicker, and returns the active one.
    fn rotate(&self, full: &Arc<Table>) -> Result<Arc<Table>, Failure> {
        let mut state = self.lock();
        while Arc::ptr_eq(&state.active, full) && state.sealed.len() >= MAX_SEALED && !state.stopped {
            self.stalls.fetch_add(1, Ordering::Relaxed);
            let started = Instant::now();
            state = self.flushed_one.wait(state).unwrap_or_else(PoisonError::into_inner);
            self.stalled_nanos.fetch_add(nanos(started.elapsed()), Ordering::Relaxed);
        }
        if state.stopped {
            return Err(Stopped.into());
        }
        if Arc::ptr_eq(&state.active, full) {
            self.seal_active(&mut state);
        }
        Ok(Arc::clone(&state.active))
    }

    /// Rule 3. The writes that `freeze` waits for need no lock, so waiting for them under ours is safe, and short.
    fn seal_active(&self, state: &mut State) {
        let started = Instant::now();
        let table = state.active.freeze_arc();
        self.longest_freeze_nanos.fetch_max(nanos(started.elapsed()), Ordering::Relaxed);
        state.sealed.push_back(Waiting { versions: table.version_count(), table });
        state.active = state.spare.take().unwrap_or_else(|| Arc::new(fresh_table(self.table_bytes)));
        self.sealed_one.notify_all();
    }

    /// What a writer does every few dozen writes: see the rotation coming, and have the next table ready for it.
    pub fn watch_pressure(&self, table: &Arc<Table>) {
        if table.pressure() == Pressure::Normal {
            return;
        }
        self.backpressure.fetch_add(1, Ordering::Relaxed);
        if self.lock().spare.is_none() {
            // Made outside the lock; if another writer does the same, one of the two is dropped.
            let spare = Arc::new(fresh_table(self.table_bytes));
            self.lock().spare.get_or_insert(spare);
        }
    }

    /// Seals the last table. The writers are done.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.active.version_count() > 0 {
            self.seal_active(&mut state);
        }
        state.closed = true;
        self.sealed_one.notify_all();
    }

    /// The flusher's thread: turns sealed tables into files, oldest first, until the engine is closed.
    pub fn flush_sealed_tables(&self, directory: &Path) -> Result<Vec<SortedFile>, Failure> {
        let mut files = Vec::new();
        while let Some(Waiting { table, versions }) = self.next_sealed()? {
            let path = directory.join(format!("{:06}.sorted", files.len() + 1));
            files.push(sorted_file::write(&path, &table, versions)?);

            // Rule 4: until here the table was in the queue, and so in every view.
            let mut state = self.lock();
            state.sealed.pop_front();
            state.flushed += 1;
            drop(state);
            self.flushed_one.notify_all();
        }
        Ok(files)
    }

    fn next_sealed(&self) -> Result<Option<Waiting>, Failure> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Err(Stopped.into());
            }
            if let Some(waiting) = state.sealed.front() {
                return Ok(Some(waiting.clone()));
            }
            if state.closed {
                return Ok(None);
            }
            state = self.sealed_one.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs one thread's work. If it fails, everybody stops: a flusher that is gone must not leave writers waiting.
    pub fn supervise<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Option<T> {
        let outcome = panic::catch_unwind(AssertUnwindSafe(work));
        match outcome.unwrap_or_else(|_| Err("a thread panicked".into())) {
            Ok(value) => Some(value),
            Err(failure) => {
                let mut state = self.lock();
                state.failure = state.failure.take().or_else(|| (!state.stopped).then_some(failure));
                state.stopped = true;
                drop(state);
                self.sealed_one.notify_all();
                self.flushed_one.notify_all();
                None
            }
        }
    }

    /// The failure that stopped the engine, if one did.
    pub fn take_failure(&self) -> Option<Failure> {
        self.lock().failure.take()
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            backpressure: self.backpressure.load(Ordering::Relaxed),
            stalls: self.stalls.load(Ordering::Relaxed),
            stalled: Duration::from_nanos(self.stalled_nanos.load(Ordering::Relaxed)),
            longest_freeze: Duration::from_nanos(self.longest_freeze_nanos.load(Ordering::Relaxed)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// The number of the newest version of `key` in memory. Writers apply the log out of order, so a newer version may
    /// lie in an older table: all are asked. (An engine whose tables hold disjoint runs of numbers stops at the first.)
    pub fn newest(&self, key: &[u8]) -> Option<SeqNo> {
        let active = self.active.entry(key).map(|entry| entry.seq);
        let sealed = self.sealed.iter().filter_map(|table| table.entry(key)).map(|entry| entry.seq);
        active.into_iter().chain(sealed).max()
    }

    pub fn tables(&self) -> usize {
        1 + self.sealed.len()
    }
}

fn fresh_table(table_bytes: usize) -> Table {
    Memtable::builder().clock(ManualClock::new()).max_memory_bytes(table_bytes).build()
}

pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
