//! Reads: memory over disk, at one point in time.

use std::cmp::Ordering;
use std::ops::Bound::{Excluded, Included};
use std::ops::RangeBounds;
use std::sync::Arc;

use itertools::EitherOrBoth::{Both, Left, Right};
use itertools::Itertools;
use lsm_tree::{AbstractTree, Guard, util::prefix_to_range};
use memskip::{Bytewise, EpochClock, ManagerEntry, ManagerSnapshot};

use super::disk::Disk;
use super::store::{Core, MAX_KEY};
use super::{Error, Front};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Keys and values in order. What comes behind an error is not complete.
pub type Scan = Box<dyn Iterator<Item = Item> + Send>;
type Item = Result<(Vec<u8>, Vec<u8>), Error>;
type Version = ManagerEntry<[u8], Bytewise, EpochClock>;

/// The store as of one moment: all batches that were complete, no part of any other. Keeps the memory of its
/// memtables, and what it sees of the tree, from being given back; also beyond the end of the store.
#[derive(Clone)]
pub struct Snapshot {
    /// `None`: writes went to the tree.
    memory: Option<ManagerSnapshot<[u8], Bytewise, EpochClock>>,
    /// The tree's number, and its protection.
    seen: Arc<u64>,
    disk: Arc<Disk>,
}

impl Snapshot {
    pub(super) fn new(core: &Core) -> Self {
        let disk = Arc::clone(&core.disk);
        let (memory, seen) = match disk.front {
            Front::Memskip => disk.view(|| Some(core.memory.snapshot())),
            Front::Tree => (None, Arc::new(u64::MAX)),
        };
        Self { memory, seen, disk }
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        // What memory has is final: its numbers come from its clock. Nor is anybody late: only who holds the log writes and
        // rotates, one at a time.
        match self.memory.as_ref().and_then(|memory| memory.entry(key)) {
            Some(entry) => Ok((!entry.is_tombstone).then(|| entry.value.to_vec())),
            // The tree takes no longer ones.
            None if key.len() > MAX_KEY => Ok(None),
            None => Ok(self.disk.tree.get(key, *self.seen).map_err(Arc::new)?.map(|value| value.to_vec())),
        }
    }

    /// Keys within bounds. Bounds that contain nothing give nothing.
    pub fn range(&self, bounds: impl RangeBounds<Vec<u8>>, order: Order) -> Result<Scan, Error> {
        let bounds = (bounds.start_bound().map(Vec::as_slice), bounds.end_bound().map(Vec::as_slice));
        if [bounds.0, bounds.1].iter().any(|at| matches!(at, Included(key) | Excluded(key) if key.len() > MAX_KEY)) {
            return Err(Error::Invalid("a bound is longer than a key can be"));
        }
        let memory = self.memory.clone().map(|memory| memory.into_range_with_tombstones(bounds)).into_iter().flatten();
        // What is read lives as long as the snapshot.
        let snapshot = self.clone();
        let tree = self.disk.tree.range::<&[u8], _>(bounds, *self.seen, None).map(move |item| {
            let _ = &snapshot;
            let (key, value) = item.into_inner().map_err(Arc::new)?;
            Ok((key.to_vec(), value.to_vec()))
        });
        Ok(match order {
            Order::Ascending => merge(memory, tree, Ord::cmp),
            Order::Descending => merge(memory.rev(), tree.rev(), |ours, theirs| theirs.cmp(ours)),
        })
    }

    /// Keys that begin with `prefix`.
    pub fn prefix(&self, prefix: &[u8], order: Order) -> Result<Scan, Error> {
        let (start, end) = prefix_to_range(prefix);
        self.range((start.map(|key| key.to_vec()), end.map(|key| key.to_vec())), order)
    }
}

/// Of what both have, memory has the newer version, as in [`Snapshot::get`].
fn merge(
    memory: impl Iterator<Item = Version> + Send + 'static,
    tree: impl Iterator<Item = Item> + Send + 'static,
    order: fn(&[u8], &[u8]) -> Ordering,
) -> Scan {
    let compare = move |ours: &Version, theirs: &Item| {
        theirs.as_ref().map_or(Ordering::Greater, |(theirs, _)| order(ours.key(), theirs))
    };
    Box::new(memory.merge_join_by(tree, compare).filter_map(|version| match version {
        Left(ours) | Both(ours, _) => (!ours.is_tombstone()).then(|| Ok((ours.key().to_vec(), ours.value().to_vec()))),
        Right(theirs) => Some(theirs),
    }))
}
