//! The tree on disk, as readers may see it.
//!
//! # The moment of a flush
//!
//! A reader takes the memtables and a number of the tree together, under a lock for reading ([`Disk::view`]). A flushed
//! table is first written to the tree; then, under the lock for writing, the number is published and the memtable given
//! back. So a view misses nothing, and sees no table in the tree that was filled after the view was taken. (It may see
//! one in both, with the same in it: a memtable hides what the tree has.)
//!
//! # What `lsm-tree` does not carry
//!
//! An ingestion takes one version per key, and gives all of them one number of the tree's own. So older versions stay
//! behind at the flush. Whoever may still need them is a snapshot that was taken before, and it holds shares of the
//! memtables. Within the tree only the order of the flushes counts, so tables are flushed one at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::{self as fs, File};
use lsm_tree::compaction::Leveled;
use lsm_tree::config::CompressionPolicy;
use lsm_tree::{AbstractTree, AnyTree, Cache, CompressionType, Config, SequenceNumberCounter};
use parking_lot::{Mutex, RwLock};

use super::{Error, Options};

pub(super) struct Disk {
    pub(super) tree: AnyTree,
    tables: PathBuf,
    /// The tree's number for its next change.
    visible: SequenceNumberCounter,
    /// Numbers that may still be in use, ascending: what they see must not be compacted away. New readers get the last.
    views: RwLock<Vec<Arc<u64>>>,
    /// Held while the tree is compacted.
    compacting: Mutex<()>,
    /// Released with the last reader: whatever uses the files must be the only one.
    _lock: File,
}

/// How both this store and the one it is measured against have their tree.
pub(crate) fn config(
    path: &Path,
    options: &Options,
    next: &SequenceNumberCounter,
    visible: &SequenceNumberCounter,
) -> Config {
    Config::new(path, next.clone(), visible.clone())
        .use_cache(Arc::new(Cache::with_capacity_bytes(options.block_cache_bytes)))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
}

impl Disk {
    // `try_lock` is newer than the library's oldest compiler, and so is `lsm-tree`.
    #[allow(clippy::incompatible_msrv)]
    pub(super) fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        fs::create_dir_all(dir)?;
        let lock = File::create(dir.join("LOCK"))?;
        lock.file().try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::InUse(dir.to_owned()),
            std::fs::TryLockError::Error(error) => error.into(),
        })?;
        let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = config(&dir.join("tree"), options, &next, &visible).open()?;
        // The tree does not do this by itself. The first number is 1: 0 is the empty tree's.
        let first = tree.get_highest_seqno().map_or(1, |highest| highest + 1);
        next.fetch_max(first);
        visible.fetch_max(first);
        let (tables, views) = (dir.join("tree").join("tables"), RwLock::new(vec![Arc::new(first)]));
        Ok(Self { tree, tables, visible, views, compacting: Mutex::default(), _lock: lock })
    }

    /// What `take` gives, and the tree's number that goes with it. The number is protected from compaction as long as
    /// the `Arc` is held.
    pub(super) fn view<T>(&self, take: impl FnOnce() -> T) -> (T, Arc<u64>) {
        let views = self.views.read();
        let seen = Arc::clone(views.last().expect("there is always one"));
        // So that a test meets a flush here.
        #[cfg(test)]
        std::thread::yield_now();
        (take(), seen)
    }

    /// Shows all that is in the tree to new readers, and in the same moment hides (`hide`) what has moved into it. Gives
    /// the least number that is in use.
    fn publish(&self, hide: impl FnOnce()) -> u64 {
        let mut views = self.views.write();
        views.retain(|view| Arc::strong_count(view) > 1);
        views.push(Arc::new(self.visible.get()));
        hide();
        *views[0]
    }

    /// Writes a sorted run into the tree: keys ascending, `None` for a delete. `hide` is called when it is durable
    /// and in the moment in which readers find it.
    ///
    /// The tree leaves the files of a failed attempt until it is opened again, and a full disk would never become less
    /// full; so from the second on they are removed. To tell them from files of a compaction, there is none meanwhile.
    pub(super) fn ingest<'a>(
        &self,
        attempt: u32,
        run: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        hide: impl FnOnce(),
    ) -> Result<(), Error> {
        let files = || fs::read_dir(&self.tables).into_iter().flatten().flatten().map(|file| file.path());
        let alone = (attempt > 1).then(|| (self.compacting.lock(), files().collect::<BTreeSet<_>>()));
        let ingested = self.tree.ingestion().and_then(|mut ingestion| {
            for (key, value) in run {
                match value {
                    Some(value) => ingestion.write(key, value)?,
                    None => ingestion.write_tombstone(key)?,
                }
            }
            ingestion.finish()
        });
        ingested.inspect_err(|_| {
            for path in alone.iter().flat_map(|(_, before)| files().filter(|path| !before.contains(path))) {
                // Best effort: opening removes it as well.
                let _ = fs::remove_file(path);
            }
        })?;
        self.publish(hide);
        Ok(())
    }

    /// Compacts as long as there is anything to do, or `stop`.
    pub(super) fn compact(&self, stop: impl Fn() -> bool) -> Result<(), Error> {
        let levels = Arc::new(Leveled::default());
        loop {
            // Readers go over to the compacted tables, and the old ones can be removed.
            let (watermark, before) = (self.publish(|| ()), self.visible.get());
            let compacting = self.compacting.lock();
            self.tree.compact(Arc::clone(&levels) as _, watermark)?;
            drop(compacting);
            if self.visible.get() == before || stop() {
                return Ok(());
            }
        }
    }
}
