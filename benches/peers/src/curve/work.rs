//! The work whose cost is counted: a table is filled, then one operation after the other is done some thousand times.

use crate::keys::{self, Keys, Shape};
use crate::rng::Rng;
use memskip::{Bytewise, Comparator, Memtable};
use std::cmp::Ordering;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Operations of a phase, at most.
const OPERATIONS: usize = 20_000;
const SEEK_LENGTH: usize = 10;
const MULTIGET: usize = 16;

/// What is done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Insert the largest keys, in order, into a table that was filled in order.
    InsertAscending,
    /// Walk over keys and do nothing with them: what is no cost of the table.
    Loop,
    Hit,
    Miss,
    Seek,
    Scan,
    ScanBack,
    MultiGet,
    Overwrite,
    Insert,
}

impl Phase {
    pub const ALL: [Self; 10] = [
        Self::InsertAscending,
        Self::Loop,
        Self::Hit,
        Self::Miss,
        Self::Seek,
        Self::Scan,
        Self::ScanBack,
        Self::MultiGet,
        Self::Overwrite,
        Self::Insert,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::InsertAscending => "ascending insert",
            Self::Loop => "empty loop",
            Self::Hit => "get hit",
            Self::Miss => "get miss",
            Self::Seek => "seek + next 10",
            Self::Scan => "scan",
            Self::ScanBack => "scan back",
            Self::MultiGet => "multiget-16",
            Self::Overwrite => "overwrite",
            Self::Insert => "random insert",
        }
    }

    /// Whether it walks over keys, as the empty loop does.
    pub const fn has_keys(self) -> bool {
        !matches!(self, Self::Scan | Self::ScanBack | Self::Loop)
    }
}

/// [`Bytewise`], and how often it was asked for the order of two keys.
#[derive(Clone, Debug, Default)]
pub struct Counting(Arc<AtomicU64>);

impl Counting {
    /// The count since the last call.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Relaxed)
    }
}

impl Comparator<[u8]> for Counting {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.0.fetch_add(1, Relaxed);
        a.cmp(b)
    }
    fn hint(&self, key: &[u8], skip: usize) -> usize {
        Bytewise.hint(key, skip)
    }
    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        Bytewise.wide_hint(key, skip)
    }
    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        Bytewise.common_prefix(a, b)
    }
}

/// What is done with a phase: it, the number of its operations, and a function that does them.
pub type Step<'a> = &'a mut dyn FnMut(Phase, usize, &mut dyn FnMut());

/// Does all of it. Every phase is handed to `step` with the number of its operations; what leads up to it happens in between.
pub fn work<C>(comparator: &C, entries: usize, (shape, value_size): (Shape, usize), step: Step<'_>)
where
    C: Comparator<[u8]> + Clone,
{
    let mut rng = Rng::new(1);
    let few = (entries / 4).clamp(1, OPERATIONS);
    let all = keys::generate(shape, entries + 2 * few, &mut rng);
    let hits = all.pick((0..OPERATIONS).map(|_| rng.below(entries)));
    let misses = all.pick((0..OPERATIONS).map(|_| entries + few + rng.below(few)));
    let value = vec![7; value_size];
    let empty = || Memtable::<[u8]>::builder().comparator(comparator.clone()).shards(1).build();
    let insert = |table: &Memtable<[u8], C>, keys: &Keys, range: Range<usize>| {
        for index in range {
            assert!(table.insert(keys.key(index), &value), "a new key");
        }
    };

    let sorted = all.pick(0..entries).sorted();
    let table = empty();
    insert(&table, &sorted, 0..entries - few);
    step(Phase::InsertAscending, few, &mut || insert(&table, &sorted, entries - few..entries));
    drop((table, sorted));

    let table = empty();
    insert(&table, &all, 0..entries);
    let each = |keys: &Keys, act: &mut dyn FnMut(&[u8])| (0..keys.len()).for_each(|index| act(keys.key(index)));
    let scanned = entries.min(OPERATIONS);
    step(Phase::Loop, OPERATIONS, &mut || each(&hits, &mut |key| _ = black_box(key)));
    step(Phase::Hit, OPERATIONS, &mut || each(&hits, &mut |key| assert!(table.get_live(key).is_some())));
    step(Phase::Miss, OPERATIONS, &mut || each(&misses, &mut |key| assert!(table.get_live(key).is_none())));
    step(Phase::Seek, OPERATIONS, &mut || {
        each(&hits, &mut |key| {
            let mut cursor = table.cursor_at(key).expect("a key that is there");
            for _ in 0..SEEK_LENGTH {
                black_box(cursor.next_entry());
            }
        });
    });
    step(Phase::Scan, scanned, &mut || table.iter().take(scanned).for_each(|entry| _ = black_box(entry.value[0])));
    step(Phase::ScanBack, scanned, &mut || {
        table.iter().rev().take(scanned).for_each(|entry| _ = black_box(entry.value[0]));
    });
    step(Phase::MultiGet, OPERATIONS, &mut || {
        for start in (0..OPERATIONS).step_by(MULTIGET) {
            let wanted: [&[u8]; MULTIGET] = std::array::from_fn(|index| hits.key(start + index));
            let mut values = [None; MULTIGET];
            table.get_many_into(&wanted, &mut values);
            assert!(values.iter().all(Option::is_some));
        }
    });
    step(Phase::Overwrite, OPERATIONS, &mut || each(&hits, &mut |key| assert!(table.put(key, &value).is_ok())));
    step(Phase::Insert, few, &mut || insert(&table, &all, entries..entries + few));
}
