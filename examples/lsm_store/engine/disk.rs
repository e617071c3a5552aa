//! The tree on disk, as readers may see it.
//!
//! # The moment of a flush
//!
//! A reader takes the memtables and a sequence number of the tree together, under a lock for reading
//! ([`Disk::view`]). A flushed table is first written to the tree, where it has a number that no view has yet; then,
//! under the lock for writing, the number is published and the memtable given back. So every view has the entries
//! either way, and none has them twice, or a memtable that was filled after the view was taken.
//!
//! # What `lsm-tree` does not carry
//!
//! An ingestion takes one version per key, and gives all of them one number of the tree's own. So older versions stay
//! behind at the flush, for nobody in the tree could tell them apart. Whoever may still need them is a snapshot that
//! was taken before, and it holds shares of the memtables: those are its older versions, and they live as long as it
//! does. The log's numbers end at the memtables as well; within the tree, only the order of the flushes counts, so
//! tables are flushed one at a time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use lsm_tree::{AbstractTree, AnyTree, Cache, Config, SequenceNumberCounter};

use super::{Error, Options};

pub(super) struct Disk {
    pub(super) tree: AnyTree,
    tables: PathBuf,
    /// The tree's number for its next change.
    visible: SequenceNumberCounter,
    current: RwLock<Arc<u64>>,
    /// Views that may still be in use: what they see must not be compacted away.
    views: Mutex<Vec<Arc<u64>>>,
    /// Held while a table is in the tree and not yet published.
    publishing: Mutex<()>,
    /// Held while the tree is compacted.
    compacting: Mutex<()>,
    /// Released with the last reader: whatever uses the files must be the only one.
    _lock: File,
    #[cfg(test)]
    pub(super) slow_views: std::sync::atomic::AtomicBool,
}

impl Disk {
    // `File::try_lock` is newer than the library's oldest compiler, and so is `lsm-tree`: this is an example's
    // dependency.
    #[allow(clippy::incompatible_msrv)]
    pub(super) fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let lock_path = dir.join("LOCK");
        let lock = File::options().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(Error::io(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => Error::InUse(dir.to_owned()),
            fs::TryLockError::Error(error) => Error::io(&lock_path)(error),
        })?;
        let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let path = dir.join("tree");
        let tree = Config::new(&path, next.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(options.block_cache_bytes)))
            .open()?;
        // The tree does not do this by itself. The first number is 1: 0 is the empty tree's.
        let first = tree.get_highest_seqno().map_or(1, |highest| highest + 1);
        next.fetch_max(first);
        visible.fetch_max(first);
        Ok(Self {
            tree,
            tables: path.join("tables"),
            visible,
            current: RwLock::new(Arc::new(first)),
            views: Mutex::default(),
            publishing: Mutex::default(),
            compacting: Mutex::default(),
            _lock: lock,
            #[cfg(test)]
            slow_views: false.into(),
        })
    }

    /// What `take` gives, and the tree's number that goes with it. The number is protected from compaction as long as
    /// the `Arc` is held.
    pub(super) fn view<T>(&self, take: impl FnOnce() -> T) -> (T, Arc<u64>) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        self.linger();
        let taken = take();
        #[cfg(test)]
        self.linger();
        (taken, Arc::clone(&current))
    }

    /// So that a test meets a flush here.
    #[cfg(test)]
    fn linger(&self) {
        if self.slow_views.load(std::sync::atomic::Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
    }

    /// Shows all that is in the tree to new views, and in the same moment hides (`hide`) what has moved into it.
    fn publish(&self, hide: impl FnOnce()) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, Arc::new(self.visible.get()));
        // Before the lock is let go: a watermark must not miss it.
        self.views.lock().unwrap_or_else(PoisonError::into_inner).push(before);
        hide();
    }

    /// The least number that a view has.
    fn watermark(&self) -> u64 {
        let current = **self.current.read().unwrap_or_else(PoisonError::into_inner);
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|view| Arc::strong_count(view) > 1);
        views.iter().map(|view| **view).min().map_or(current, |least| least.min(current))
    }

    /// Writes a sorted run into the tree: keys ascending, `None` for a delete. `hide` is called when it is durable
    /// and in the moment in which readers find it. Gives the bytes of keys and values.
    pub(super) fn ingest<'a>(
        &self,
        run: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        hide: impl FnOnce(),
    ) -> Result<u64, Error> {
        let mut ingestion = self.tree.ingestion()?;
        let mut bytes = 0;
        for (key, value) in run {
            bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            match value {
                Some(value) => ingestion.write(key, value)?,
                None => ingestion.write_tombstone(key)?,
            }
        }
        let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        ingestion.finish()?;
        self.publish(hide);
        drop(publishing);
        Ok(bytes)
    }

    /// Runs an ingestion. The tree leaves the files of a failed one until it is opened again, and a full disk would
    /// never become less full; so from the second attempt on they are removed. To tell them from files of a
    /// compaction, there is none meanwhile.
    pub(super) fn attempt(&self, attempt: u32, ingest: impl FnOnce() -> Result<u64, Error>) -> Result<u64, Error> {
        if attempt == 1 {
            return ingest();
        }
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let files = || fs::read_dir(&self.tables).into_iter().flatten().flatten().map(|file| file.path());
        let before: Vec<PathBuf> = files().collect();
        ingest().inspect_err(|_| {
            for path in files().filter(|path| !before.contains(path)) {
                // Best effort: opening removes it as well.
                let _ = fs::remove_file(path);
            }
        })
    }

    /// Compacts as long as there is anything to do, or `stop`.
    pub(super) fn compact(&self, stop: impl Fn() -> bool) -> Result<(), Error> {
        let levels = Arc::new(lsm_tree::compaction::Leveled::default());
        loop {
            let before = self.visible.get();
            let compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
            self.tree.compact(Arc::clone(&levels) as _, self.watermark())?;
            drop(compacting);
            if self.visible.get() == before || stop() {
                return Ok(());
            }
            // Readers go over to the compacted tables, and the old ones can be removed.
            let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
            self.publish(|| ());
            drop(publishing);
        }
    }
}
