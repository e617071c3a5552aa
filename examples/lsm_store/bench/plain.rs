//! `lsm-tree` alone, behind the engine's log: the same tree, options, cache and compaction, the same log and syncs, and a
//! memtable of the same size that a thread flushes.
//!
//! Different: the memtable is the tree's own (crossbeam-skiplist), a read hands out a shared slice where the store makes a
//! copy, reads take no snapshot, and writers do not leave their batches to whoever has the log (but share its syncs).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lsm_tree::{AbstractTree, AnyTree, Guard, SequenceNumberCounter, Slice, compaction::Leveled};
use parking_lot::Mutex;

use super::Engine;
use crate::engine::wal::{self, Counts, Log};
use crate::engine::{Batch, Durability, Options, disk};

/// Of threads that look whether there is work.
const PAUSE: Duration = Duration::from_millis(1);

pub struct Plain {
    tree: AnyTree,
    next: SequenceNumberCounter,
    visible: SequenceNumberCounter,
    options: Options,
    wal: PathBuf,
    log: Mutex<Log>,
    /// How many appends are on disk. Whoever waits for the lock may find nothing left to do.
    synced: Mutex<u64>,
    counts: Arc<Counts>,
    ended: AtomicBool,
}

/// Opens an empty tree, and closes it after the measurement.
pub fn with(dir: &Path, options: &Options, measure: impl FnOnce(&Plain) -> Result<()> + Send) -> Result<()> {
    let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
    let tree = disk::config(&dir.join("tree"), options, &next, &visible).open()?;
    let (wal, synced, ended, options) = (dir.join("wal"), Mutex::default(), AtomicBool::new(false), options.clone());
    let log = Log::open(&wal, |_, _| Ok(()))?;
    let (counts, log) = (Arc::clone(&log.counts), Mutex::new(log));
    let plain = &Plain { tree, next, visible, options, wal, log, synced, counts, ended };
    let interval = if let Durability::Interval(interval) = plain.options.durability { interval } else { Duration::MAX };
    thread::scope(|scope| {
        let work: [(fn(&_) -> _, _); 3] = [(Plain::flush, PAUSE), (Plain::compact, PAUSE), (Plain::sync, interval)];
        let background = work.map(|(work, interval)| scope.spawn(move || plain.repeat(work, interval)));
        let measured = scope.spawn(|| measure(plain)).join();
        plain.ended.store(true, SeqCst);
        background.into_iter().try_for_each(|thread| thread.join().expect("a background thread panicked"))?;
        measured.expect("the measurement panicked")
    })
}

impl Plain {
    /// Until the end, or a failure, which is the end.
    fn repeat(&self, work: fn(&Self) -> Result<()>, interval: Duration) -> Result<()> {
        let mut last = Instant::now();
        while !self.ended.load(SeqCst) {
            if last.elapsed() >= interval {
                work(self).inspect_err(|_| self.ended.store(true, SeqCst))?;
                last = Instant::now();
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if self.tree.sealed_memtable_count() > 0 {
            // All before it belong to memtables that are sealed.
            let writing = self.log.lock().number;
            self.tree.flush(&self.tree.get_flush_lock(), self.visible.get())?;
            wal::remove_below(&self.wal, writing)?;
        }
        Ok(())
    }

    fn compact(&self) -> Result<()> {
        Ok(self.tree.compact(Arc::new(Leveled::default()), self.visible.get())?)
    }

    fn sync(&self) -> Result<()> {
        self.sync_to(self.counts.appends.load(SeqCst))
    }

    fn sync_to(&self, needed: u64) -> Result<()> {
        let mut synced = self.synced.lock();
        if *synced < needed {
            let appends = self.counts.appends.load(SeqCst);
            let file = Arc::clone(&self.log.lock().file);
            wal::sync(&file, &self.counts)?;
            *synced = appends;
        }
        Ok(())
    }
}

impl Engine for Plain {
    type Bytes = Slice;

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(key, value);
        while self.tree.sealed_memtable_count() >= self.options.queued_memtables && !self.ended.load(SeqCst) {
            thread::sleep(PAUSE);
        }
        ensure!(!self.ended.load(SeqCst), "flush, compaction or sync has failed");
        let mut log = self.log.lock();
        log.append(&[batch])?;
        let seq = self.next.next();
        let size = self.tree.insert(key, value, seq).1;
        self.visible.fetch_max(seq + 1);
        if size >= self.options.memtable_bytes as u64 {
            log.rotate()?;
            self.tree.rotate_memtable();
        }
        let appends = self.counts.appends.load(SeqCst);
        drop(log);
        if self.options.durability == Durability::Always { self.sync_to(appends) } else { Ok(()) }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        Ok(self.tree.get(key, u64::MAX)?)
    }

    fn scan(&self, from: &[u8], limit: usize) -> Result<Vec<(Slice, Slice)>> {
        self.tree.range(from.., u64::MAX, None).take(limit).map(|entry| Ok(entry.into_inner()?)).collect()
    }
}
