//! The tree on disk, as readers may see it.
//!
//! # The moment of a flush
//!
//! A reader takes the memtables and a number of the tree together, under a lock for reading ([`Disk::view`]). A flushed
//! table is first written to the tree; then, under the lock for writing, the number is published; then the memtable is
//! given back. So a view misses nothing, and sees no table in the tree that was filled after the view was taken. (It may
//! see one in both, with the same in it: a memtable hides what the tree has.)
//!
//! # What `lsm-tree` does not carry
//!
//! An ingestion takes one version per key, with one number of the tree's own for all; older ones stay behind. Snapshots
//! that may need them hold shares of the memtables. The order of flushes counts, so tables are flushed one at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::{self as fs, File};
use lsm_tree::compaction::Leveled;
use lsm_tree::config::CompressionPolicy;
use lsm_tree::{AbstractTree, AnyTree, Cache, CompressionType, Config, SequenceNumberCounter};
use memskip::{FlushJob, SeqNo};
use parking_lot::RwLock;

use super::names::create_dir;
use super::{Batch, Error, Front};

pub(super) struct Disk {
    pub(super) front: Front,
    pub(super) tree: AnyTree,
    tables: PathBuf,
    next: SequenceNumberCounter,
    /// The number behind the tree's last change.
    visible: SequenceNumberCounter,
    /// Numbers that may still be in use, ascending: what they see must not be compacted away. New readers get the last.
    views: RwLock<Vec<Arc<u64>>>,
    /// Released with the last reader: whatever uses the files must be the only one.
    _lock: File,
}

impl Disk {
    // `try_lock` is newer than the library's oldest compiler, and so is `lsm-tree`.
    #[allow(clippy::incompatible_msrv)]
    pub(super) fn open(dir: &Path, front: Front) -> Result<Self, Error> {
        create_dir(dir)?;
        let lock = File::create(dir.join("LOCK"))?;
        lock.file().try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::InUse(dir.to_owned()),
            std::fs::TryLockError::Error(error) => error.into(),
        })?;
        let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = Config::new(dir.join("tree"), next.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(64 << 20)))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
            .open()
            .map_err(Arc::new)?;
        // The tree does not do this by itself. The first number is 1: 0 is the empty tree's.
        let first = tree.get_highest_seqno().map_or(1, |highest| highest + 1);
        next.fetch_max(first);
        visible.fetch_max(first);
        let (tables, views) = (dir.join("tree").join("tables"), RwLock::new(vec![Arc::new(first)]));
        Ok(Self { front, tree, tables, next, visible, views, _lock: lock })
    }

    /// What `take` gives, and the tree's number that goes with it, protected from compaction as long as it is held.
    pub(super) fn view<T>(&self, take: impl FnOnce() -> T) -> (T, Arc<u64>) {
        let views = self.views.read();
        let seen = Arc::clone(views.last().expect("there is always one"));
        #[cfg(test)] // So that a test meets a flush here.
        std::thread::yield_now();
        (take(), seen)
    }

    /// Shows all that is in the tree to new readers. Gives the least number that is in use.
    fn publish(&self) -> u64 {
        let mut views = self.views.write();
        views.retain(|view| Arc::strong_count(view) > 1);
        views.push(Arc::new(self.visible.get()));
        *views[0]
    }

    /// Writes a batch into the tree's own memtable, and gives the bytes that are there.
    pub(super) fn insert(&self, batch: &Batch) -> usize {
        let (seq, mut size) = (self.next.next(), 0);
        for (key, value, kind) in batch.iter() {
            size = if kind.is_tombstone() { self.tree.remove(key, seq) } else { self.tree.insert(key, value, seq) }.1;
        }
        self.visible.fetch_max(seq + 1);
        size as usize
    }

    /// Writes a memtable into the tree. When this returns it is durable, and new readers find it. Not while the tree is
    /// compacted: new files have to be its own.
    pub(super) fn flush(&self, job: &FlushJob) -> Result<(), Error> {
        let files = || fs::read_dir(&self.tables).into_iter().flatten().flatten().map(|file| file.path());
        let now = || fs::read(self.tables.with_file_name("current")).ok();
        let (before, version) = (files().collect::<BTreeSet<_>>(), now());
        let flushed = match self.front {
            Front::Tree => self.tree.flush(&self.tree.get_flush_lock(), self.visible.get()).map(drop),
            Front::Memskip => self.tree.ingestion().and_then(|mut ingestion| {
                // The newest version of each key, deletes included.
                for entry in job.table().range_at(.., SeqNo::MAX) {
                    match (!entry.is_tombstone).then_some(entry.value) {
                        Some(value) => ingestion.write(entry.key, value)?,
                        None => ingestion.write_tombstone(entry.key)?,
                    }
                }
                ingestion.finish()
            }),
        };
        flushed.map_err(|error| {
            // The tree leaves them until it is opened again; a full disk would stay full. On disk it may have them already.
            files()
                .filter(|path| !before.contains(path) && now() == version)
                .for_each(|path| drop(fs::remove_file(path)));
            Arc::new(error)
        })?;
        self.publish();
        Ok(())
    }

    /// One step of compaction. `false`: there is nothing to do.
    pub(super) fn compact(&self) -> Result<bool, Error> {
        // Readers go over to the compacted tables, and the old ones can be removed.
        let (watermark, before) = (self.publish(), self.tree.current_version().id());
        self.tree.compact(Arc::new(Leveled::default()), watermark).map_err(Arc::new)?;
        Ok(self.tree.current_version().id() > before)
    }
}
