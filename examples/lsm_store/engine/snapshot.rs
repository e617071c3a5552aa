//! Reads: memory over disk, at one point in time.

use std::cmp::Ordering;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::sync::Arc;

use double_ended_peekable::{DoubleEndedPeekable, DoubleEndedPeekableExt};
use lsm_tree::{AbstractTree, Guard, IterGuardImpl};
use memskip::{Bytewise, EpochClock, ManagerSnapshot, OwnedManagerRange};

use super::Error;
use super::core::{Core, MAX_KEY};
use super::disk::Disk;

/// Key and value.
type Item = Result<(Vec<u8>, Vec<u8>), Error>;

/// The store as of one moment: all batches that were complete, no part of any other. Keeps the memory of its
/// memtables, and what it sees of the tree, from being given back; also beyond the end of the store.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) memory: ManagerSnapshot<[u8], Bytewise, EpochClock>,
    /// The tree's number, and its protection.
    seen: Arc<u64>,
    disk: Arc<Disk>,
}

impl Snapshot {
    pub(super) fn new(core: &Core) -> Self {
        let (memory, seen) = core.disk.view(|| core.memory.snapshot());
        Self { memory, seen, disk: Arc::clone(&core.disk) }
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.memory.entry(key) {
            Some(entry) => Ok((!entry.is_tombstone).then(|| entry.value.to_vec())),
            // The tree takes no longer ones.
            None if key.len() > MAX_KEY => Ok(None),
            None => Ok(self.disk.tree.get(key, *self.seen)?.map(|value| value.to_vec())),
        }
    }

    /// Keys within bounds, ascending; from both ends. Bounds that contain nothing give nothing.
    pub fn range(&self, bounds: impl RangeBounds<Vec<u8>>) -> Result<Scan, Error> {
        let bounds = (bounds.start_bound().map(Vec::as_slice), bounds.end_bound().map(Vec::as_slice));
        let is_empty = match bounds {
            (Included(key) | Excluded(key), _) | (_, Included(key) | Excluded(key)) if key.len() > MAX_KEY => {
                return Err(Error::Invalid("a bound is longer than a key can be"));
            }
            (Included(start), Included(end)) => start > end,
            (Included(start) | Excluded(start), Included(end) | Excluded(end)) => start >= end,
            _ => false,
        };
        // No key is empty.
        let bounds = if is_empty { (Unbounded, Included(&[][..])) } else { bounds };
        let copy = |item: IterGuardImpl| Ok(item.into_inner().map(|(key, value)| (key.to_vec(), value.to_vec()))?);
        let tree: Tree = Box::new(self.disk.tree.range::<&[u8], _>(bounds, *self.seen, None).map(copy));
        let memory = self.memory.clone().into_range_with_tombstones(bounds);
        Ok(Scan { memory: memory.double_ended_peekable(), tree: tree.double_ended_peekable(), _seen: self.clone() })
    }

    /// Keys that begin with `prefix`.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Scan, Error> {
        let end = prefix.iter().rposition(|byte| *byte != u8::MAX).map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        });
        self.range((Included(prefix.to_vec()), end.map_or(Unbounded, Excluded)))
    }
}

type Memory = OwnedManagerRange<[u8], Bytewise, EpochClock>;
type Tree = Box<dyn DoubleEndedIterator<Item = Item> + Send>;

/// Keys and values in order; from [`Snapshot::range`]. What comes behind an error is not complete.
pub struct Scan {
    memory: DoubleEndedPeekable<Memory>,
    tree: DoubleEndedPeekable<Tree>,
    /// Outlives what is read.
    _seen: Snapshot,
}

/// A step from one end: of the lesser (or greater) key, and of what memory has where both have it.
macro_rules! step {
    ($scan:ident, $peek:ident, $next:ident, $compare:expr) => {
        loop {
            let order = match ($scan.memory.$peek(), $scan.tree.$peek()) {
                (Some(entry), Some(Ok((key, _)))) => $compare(entry.key(), key.as_slice()),
                (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            let in_tree = if order.is_ge() { $scan.tree.$next() } else { None };
            if order.is_gt() {
                return in_tree;
            }
            if let Some(entry) = $scan.memory.$next().filter(|entry| !entry.is_tombstone()) {
                return Some(Ok((entry.key().to_vec(), entry.value().to_vec())));
            }
        }
    };
}

impl Iterator for Scan {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        step!(self, peek, next, |ours: &[u8], theirs| ours.cmp(theirs))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Item> {
        step!(self, peek_back, next_back, |ours: &[u8], theirs: &[u8]| theirs.cmp(ours))
    }
}
