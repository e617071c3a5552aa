//! `lsm-tree` alone: its own memtable, behind a log that does the work of the engine's.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use lsm_tree::{AbstractTree, AnyTree, Cache, Config, Guard, SequenceNumberCounter, Slice};

use super::{Engine, Pair};
use crate::Failure;
use crate::engine::{Durability, Options};

pub const DIFFERENCES: &str = "\
memskip in front: this store as it is. lsm-tree alone: the same tree, options, cache and compaction; a log with the same records,
checksums, group commit and syncs; a memtable of the same size, flushed by a thread. Different: its memtable is the tree's own
(crossbeam-skiplist), a read hands out a shared slice where this store makes a copy, and reads take no snapshot.
";

pub struct Plain {
    shared: Arc<Shared>,
    background: Vec<JoinHandle<Result<(), Failure>>>,
}

struct Shared {
    tree: AnyTree,
    next: SequenceNumberCounter,
    visible: SequenceNumberCounter,
    options: Options,
    dir: PathBuf,
    waiting: Mutex<Vec<Write>>,
    log: Mutex<Log>,
    /// A memtable was sealed or flushed, or this is the end.
    changed: Condvar,
    ended: AtomicBool,
}

struct Write {
    key: Slice,
    value: Slice,
    done: Arc<AtomicBool>,
}

/// One file per memtable.
struct Log {
    file: Arc<File>,
    number: u64,
    records: Vec<u8>,
    is_synced: bool,
    flushes: u64,
}

impl Plain {
    pub fn open(dir: &Path, options: &Options) -> Result<Self, Failure> {
        let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = Config::new(dir.join("tree"), next.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(options.block_cache_bytes)))
            .open()?;
        let log = Log { file: create_log(dir, 0)?.into(), number: 0, records: Vec::new(), is_synced: true, flushes: 0 };
        let shared = Arc::new(Shared {
            tree,
            next,
            visible,
            options: options.clone(),
            dir: dir.to_owned(),
            waiting: Mutex::default(),
            log: Mutex::new(log),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let background = [Shared::flush, Shared::compact, Shared::sync].map(|work| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(&shared).inspect_err(|_| shared.end()))
        });
        Ok(Self { shared, background: background.into() })
    }

    pub fn close(self) -> Result<(), Failure> {
        self.shared.end();
        self.background.into_iter().try_for_each(|thread| thread.join().expect("a background thread panicked"))
    }
}

fn create_log(dir: &Path, number: u64) -> io::Result<File> {
    let file = File::create(dir.join(number.to_string()))?;
    file.sync_all()?;
    sync_dir(dir).map(|()| file)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no writer panics")
    }

    fn end(&self) {
        let log = self.lock();
        self.ended.store(true, SeqCst);
        drop(log);
        self.changed.notify_all();
    }

    /// Waits, without the lock, as long as `wait`; not beyond the end.
    fn wait_while<'a>(&self, log: MutexGuard<'a, Log>, wait: impl Fn(&Log) -> bool) -> MutexGuard<'a, Log> {
        self.changed.wait_while(log, |log| wait(log) && !self.ended.load(SeqCst)).expect("no writer panics")
    }

    fn write(&self, log: &mut Log, group: Vec<Write>) -> Result<(), Failure> {
        log.records.clear();
        for Write { key, value, .. } in &group {
            let start = log.records.len() + 4;
            log.records.extend([0; 16]);
            for part in [&(value.len() as u32).to_le_bytes(), &(key.len() as u32).to_le_bytes(), &**key, &**value] {
                log.records.extend_from_slice(part);
            }
            let crc = crc32fast::hash(&log.records[start..]);
            log.records[start - 4..start].copy_from_slice(&crc.to_le_bytes());
        }
        (&*log.file).write_all(&log.records)?;
        log.is_synced = self.options.durability == Durability::Always;
        if log.is_synced {
            log.file.sync_data()?;
        }
        let mut size = 0;
        for Write { key, value, done } in group {
            let seq = self.next.next();
            size = self.tree.insert(key, value, seq).1;
            self.visible.fetch_max(seq + 1);
            done.store(true, SeqCst);
        }
        if size >= self.options.memtable_bytes as u64 {
            if self.options.durability != Durability::None && !log.is_synced {
                log.file.sync_data()?;
            }
            log.number += 1;
            (log.file, log.is_synced) = (create_log(&self.dir, log.number)?.into(), true);
            self.tree.rotate_memtable();
            self.changed.notify_all();
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Failure> {
        let mut first = 0;
        while !self.ended.load(SeqCst) {
            let writing = self.wait_while(self.lock(), |_| self.tree.sealed_memtable_count() == 0).number;
            let sealed: Vec<_> = (first..writing).map(|number| self.dir.join(number.to_string())).collect();
            sealed.iter().try_for_each(|path| File::open(path)?.sync_data())?;
            self.tree.flush(&self.tree.get_flush_lock(), self.visible.get())?;
            sealed.iter().try_for_each(|path| fs::remove_file(path).and_then(|()| sync_dir(&self.dir)))?;
            first = writing;
            self.lock().flushes += 1;
            self.changed.notify_all();
        }
        Ok(())
    }

    fn compact(&self) -> Result<(), Failure> {
        let levels = Arc::new(lsm_tree::compaction::Leveled::default());
        let mut seen = 0;
        while !self.ended.load(SeqCst) {
            seen = self.wait_while(self.lock(), |log| log.flushes == seen).flushes;
            let mut version = None;
            while version != Some(self.tree.current_version().id()) && !self.ended.load(SeqCst) {
                version = Some(self.tree.current_version().id());
                self.tree.compact(Arc::clone(&levels) as _, self.visible.get())?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Failure> {
        let Durability::Interval(interval) = self.options.durability else {
            return Ok(());
        };
        while !self.ended.load(SeqCst) {
            let is_open = |_: &mut Log| !self.ended.load(SeqCst);
            let woken = self.changed.wait_timeout_while(self.lock(), interval, is_open);
            let mut log = woken.expect("no writer panics").0;
            if !mem::replace(&mut log.is_synced, true) {
                let file = Arc::clone(&log.file);
                drop(log);
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

impl Engine for Plain {
    type Bytes = Slice;

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let (shared, done) = (&self.shared, Arc::new(AtomicBool::new(false)));
        let write = Write { key: key.into(), value: value.into(), done: Arc::clone(&done) };
        shared.waiting.lock().expect("nothing fails under this lock").push(write);
        let mut log = shared.lock();
        // Whoever had the lock before may have taken it along.
        if !done.load(SeqCst) {
            log = shared.wait_while(log, |_| shared.tree.sealed_memtable_count() >= shared.options.queued_memtables);
            let group = mem::take(&mut *shared.waiting.lock().expect("nothing fails under this lock"));
            shared.write(&mut log, group).inspect_err(|_| shared.ended.store(true, SeqCst))?;
        }
        if shared.ended.load(SeqCst) {
            return Err("the log or a background thread has failed".into());
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failure> {
        Ok(self.shared.tree.get(key, u64::MAX)?)
    }

    fn scan(&self, from: &[u8], limit: usize) -> Result<Vec<Pair<Slice>>, Failure> {
        let entries = self.shared.tree.range(from.., u64::MAX, None);
        entries.take(limit).map(|entry| Ok(entry.into_inner()?)).collect()
    }
}
