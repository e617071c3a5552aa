//! Reads: memory over disk, at one point in time.

use std::cmp::Ordering;
use std::iter;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::sync::Arc;

use lsm_tree::{AbstractTree, Guard};
use memskip::{Bytewise, Entry, ManagerEntry, ManagerSnapshot};

use super::Error;
use super::core::{Core, LogClock};
use super::disk::Disk;
use super::record::{DELETED, MAX_KEY};

/// Key and value.
type Item = Result<(Vec<u8>, Vec<u8>), Error>;

/// The store as of one moment: all batches that were complete, no part of any other. Keeps the memory of its
/// memtables, and what it sees of the tree, from being given back; also beyond the end of the store.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) memory: ManagerSnapshot<[u8], Bytewise, LogClock>,
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
            Some(entry) => Ok(value(&entry)),
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
        let mut scan =
            Scan { memory: Source::new(iter::empty()), disk: Source::new(iter::empty()), _seen: self.clone() };
        if !is_empty {
            let on_disk = self.disk.tree.range::<&[u8], _>(bounds, *self.seen, None);
            scan.memory = Source::new(self.memory.clone().into_range(bounds));
            scan.disk = Source::new(on_disk.map(|item| {
                let (key, value) = item.into_inner()?;
                Ok((key.to_vec(), value.to_vec()))
            }));
        }
        Ok(scan)
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

/// `None` if it is deleted.
pub(super) fn value(entry: &Entry<'_>) -> Option<Vec<u8>> {
    (entry.kind() != DELETED).then(|| entry.value.to_vec())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

/// Keys and values in order; from [`Snapshot::range`]. Ends after an error.
pub struct Scan {
    memory: Source<ManagerEntry<[u8], Bytewise, LogClock>>,
    disk: Source<Item>,
    /// Outlives what is read.
    _seen: Snapshot,
}

impl Scan {
    fn step(&mut self, end: End) -> Option<Item> {
        loop {
            let order = match (self.memory.peek(end), self.disk.peek(end)) {
                (_, Some(Err(_))) => {
                    let error = self.disk.take(end);
                    self.memory = Source::new(iter::empty());
                    self.disk = Source::new(iter::empty());
                    return error;
                }
                (Some(entry), Some(Ok((key, _)))) if end == End::Front => entry.key().cmp(key),
                (Some(entry), Some(Ok((key, _)))) => key.as_slice().cmp(entry.key()),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            if order == Ordering::Greater {
                return self.disk.take(end);
            }
            if order == Ordering::Equal {
                self.disk.take(end);
            }
            let entry = self.memory.take(end)?;
            if entry.kind() != DELETED {
                return Some(Ok((entry.key().to_vec(), entry.value().to_vec())));
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.step(End::Front)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Item> {
        self.step(End::Back)
    }
}

/// An iterator that can be looked into at both ends.
struct Source<T> {
    iter: Box<dyn DoubleEndedIterator<Item = T> + Send>,
    /// By `End`.
    heads: [Option<T>; 2],
}

impl<T> Source<T> {
    fn new(iter: impl DoubleEndedIterator<Item = T> + Send + 'static) -> Self {
        Self { iter: Box::new(iter.fuse()), heads: [None, None] }
    }

    fn peek(&mut self, end: End) -> Option<&T> {
        let (here, there) = (end as usize, 1 - end as usize);
        if self.heads[here].is_none() {
            let next = if end == End::Front { self.iter.next() } else { self.iter.next_back() };
            // The last one may have been taken out for a look at the other end.
            self.heads[here] = next.or_else(|| self.heads[there].take());
        }
        self.heads[here].as_ref()
    }

    fn take(&mut self, end: End) -> Option<T> {
        self.peek(end);
        self.heads[end as usize].take()
    }
}
