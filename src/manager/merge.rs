//! The k-way merge of several tables into one order, from both ends, one entry at a time.
//!
//! Each source has a head at either end: the entry it would give next. `order` holds the sources by their heads, the best
//! last; a step pops the best, refills it, and files it again by bisection: one comparison per binary digit of the number of
//! tables, plus one per table that has the key too. When a source runs dry at one end while the other end holds a head, that
//! head changes sides, and the order of the side it left is made anew before it is used.

use core::cmp::Ordering;
use core::mem;
use std::vec::Vec;

use crate::clock::SeqNo;
use crate::comparator::Comparator;

/// What the merge needs to know of an entry.
pub(super) trait Versioned<K: ?Sized> {
    fn key(&self) -> &K;
    fn seq(&self) -> SeqNo;
    fn is_tombstone(&self) -> bool;
}

/// Whether deleted keys are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tombstones {
    Hide,
    Show,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

struct Source<I: Iterator> {
    iter: I,
    /// The least number that is given.
    from: SeqNo,
    /// By `End`.
    heads: [Option<I::Item>; 2],
}

/// The sources by their heads at one end, the best last.
#[derive(Default)]
struct Side {
    order: Vec<usize>,
    is_sorted: bool,
}

pub(super) struct Merge<I: Iterator> {
    /// Newest table first.
    sources: Vec<Source<I>>,
    sides: [Side; 2],
    tombstones: Tombstones,
}

impl<I: DoubleEndedIterator> Merge<I> {
    /// `iters`: of the newest table first, each with one version per key, and the least number that is to be given of it.
    pub(super) fn new(iters: impl Iterator<Item = (I, SeqNo)>, tombstones: Tombstones) -> Self {
        let sources = iters.map(|(iter, from)| Source { iter, from, heads: [None, None] }).collect();
        Self { sources, sides: [Side::default(), Side::default()], tombstones }
    }

    /// The next key from one end, as its newest version.
    pub(super) fn step<K: ?Sized, C: Comparator<K>>(&mut self, end: End, comparator: &C) -> Option<I::Item>
    where
        I::Item: Versioned<K>,
    {
        loop {
            if !mem::replace(&mut self.sides[end as usize].is_sorted, true) {
                self.sides[end as usize].order.clear();
                (0..self.sources.len()).for_each(|source| self.file(source, end, comparator));
            }
            let newest = self.take_best(end, comparator)?;
            while self.best(end).is_some_and(|next| comparator.compare(next.key(), newest.key()).is_eq()) {
                self.take_best(end, comparator);
            }
            if self.tombstones == Tombstones::Show || !newest.is_tombstone() {
                return Some(newest);
            }
        }
    }

    fn best(&self, end: End) -> Option<&I::Item> {
        let source = *self.sides[end as usize].order.last()?;
        self.sources[source].heads[end as usize].as_ref()
    }

    fn take_best<K: ?Sized, C: Comparator<K>>(&mut self, end: End, comparator: &C) -> Option<I::Item>
    where
        I::Item: Versioned<K>,
    {
        let source = self.sides[end as usize].order.pop()?;
        let head = self.sources[source].heads[end as usize].take();
        self.file(source, end, comparator);
        head
    }

    /// Refills a source's head, and files the source.
    fn file<K: ?Sized, C: Comparator<K>>(&mut self, source: usize, end: End, comparator: &C)
    where
        I::Item: Versioned<K>,
    {
        let (here, there) = (end as usize, 1 - end as usize);
        let Source { iter, from, heads } = &mut self.sources[source];
        if heads[here].is_none() {
            heads[here] = match end {
                End::Front => iter.find(|entry| entry.seq() >= *from),
                End::Back => iter.rfind(|entry| entry.seq() >= *from),
            };
        }
        if heads[here].is_none() && heads[there].is_some() {
            heads.swap(here, there);
            self.sides[there].is_sorted = false;
        }
        let sources = &self.sources;
        let Some(head) = &sources[source].heads[here] else { return };
        let is_worse = |other: &usize| {
            let Some(other_head) = &sources[*other].heads[here] else { return true };
            let by_key = comparator.compare(other_head.key(), head.key());
            let by_key = if end == End::Front { by_key } else { by_key.reverse() };
            // Of the same key the greater number comes first, then the newer table.
            let order = by_key.then_with(|| head.seq().cmp(&other_head.seq())).then(other.cmp(&source));
            order == Ordering::Greater
        };
        let order = &mut self.sides[here].order;
        order.insert(order.partition_point(is_worse), source);
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Merge, Tombstones, Versioned};
    use crate::{Bytewise, SeqNo};
    use std::collections::BTreeMap;
    use std::vec::Vec;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Item([u8; 1], u64, bool);

    impl Versioned<[u8]> for Item {
        fn key(&self) -> &[u8] {
            &self.0
        }
        fn seq(&self) -> SeqNo {
            SeqNo(self.1)
        }
        fn is_tombstone(&self) -> bool {
            self.2
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Whatever the mix of steps from both ends, the merge gives the map of newest versions.
    #[test]
    fn both_ends_agree_with_a_map() {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..400 {
            let tables = 1 + random(&mut state) % 6;
            let mut model = BTreeMap::new();
            let mut sources = Vec::new();
            for table in (0..tables).rev() {
                let mut keys = BTreeMap::new();
                for _ in 0..random(&mut state) % 12 {
                    let key = (random(&mut state) % 16) as u8;
                    let seq = if random(&mut state) % 4 == 0 { table / 2 + 2 } else { table / 2 };
                    keys.insert(key, Item([key], seq, random(&mut state) % 3 == 0));
                }
                // Now and then a table shows only what is late in it.
                let from = if random(&mut state) % 3 == 0 { 1 + random(&mut state) % 3 } else { 0 };
                for (key, item) in keys.iter().filter(|(_, item)| item.1 >= from) {
                    let newest = model.entry(*key).or_insert(*item);
                    if item.1 > newest.1 {
                        *newest = *item;
                    }
                }
                sources.push((keys.into_values().collect::<Vec<_>>(), SeqNo(from)));
            }
            let mut expected: Vec<Item> = model.into_values().filter(|item| !item.2).collect();
            let sources = sources.into_iter().map(|(items, from)| (items.into_iter(), from));
            let mut merge = Merge::new(sources, Tombstones::Hide);
            while !expected.is_empty() {
                if random(&mut state) % 2 == 0 {
                    assert_eq!(merge.step(End::Front, &Bytewise), Some(expected.remove(0)));
                } else {
                    assert_eq!(merge.step(End::Back, &Bytewise), expected.pop());
                }
            }
            assert_eq!(merge.step(End::Front, &Bytewise), None);
            assert_eq!(merge.step(End::Back, &Bytewise), None);
        }
    }
}
