//! Searches that were misled: a descent comes to a block where its key does not belong, because a parent is stale or because
//! writers are at work. Hints prove nothing there by themselves, so what is found must still be exact.
#![cfg(feature = "alloc")]

#[macro_use]
mod common;

use Weaker::{OneByte, SharesLess};
use common::{Rng, scaled};
use memskip::{Bytewise, Comparator, DefaultArena, EpochClock, LaneDensity, Memtable, Reverse};
use std::cell::Cell;
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

/// Without lanes there is nothing that misleads.
const DENSITIES: [LaneDensity; 2] = [LaneDensity::Every, LaneDensity::Sparse];

thread_local! {
    /// How many calls of a comparator are left until one panics; 0: none does.
    static FUSE: Cell<usize> = const { Cell::new(0) };
}

fn burn() {
    let left = FUSE.replace(FUSE.get().saturating_sub(1));
    if left == 1 {
        // Without a message: there are thousands.
        resume_unwind(Box::new(()));
    }
}

/// A comparator that panics when [`FUSE`] has burned down.
struct Fused<C>(C);

impl<C: Comparator<[u8]>> Comparator<[u8]> for Fused<C> {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        burn();
        self.0.compare(a, b)
    }
    fn hint(&self, key: &[u8], skip: usize) -> usize {
        burn();
        self.0.hint(key, skip)
    }
    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        burn();
        self.0.wide_hint(key, skip)
    }
    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        burn();
        self.0.common_prefix(a, b)
    }
}

/// `Bytewise`, correct but weaker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weaker {
    /// The first word of a hint is one byte, so that most searches need the second.
    OneByte,
    /// Some keys are said to share less than they do.
    SharesLess,
}

impl Comparator<[u8]> for Weaker {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }
    fn hint(&self, key: &[u8], skip: usize) -> usize {
        let kept = if *self == OneByte { 0xFF << (usize::BITS - 8) } else { usize::MAX };
        Bytewise.hint(key, skip) & kept
    }
    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        [self.hint(key, skip), if *self == OneByte { Bytewise.hint(key, skip + 1) } else { 0 }]
    }
    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        let shared = Bytewise.common_prefix(a, b);
        let sum = |key: &[u8]| key.iter().fold(0, |sum: usize, &byte| sum.wrapping_mul(31) ^ usize::from(byte));
        shared - if *self == OneByte { 0 } else { (sum(a) ^ sum(b).rotate_left(7)) % (shared + 1) }
    }
}

/// Makes keys of few different bytes, which begin with stems that begin with one another.
struct Keys(Vec<Vec<u8>>, &'static [u8]);

impl Keys {
    fn new(rng: &mut Rng) -> Self {
        let mut keys = Self(vec![vec![]], [&b"\0a"[..], b"\0\x01", b"\0ab\xFF", b"012345"][rng.below(4)]);
        for _ in 0..rng.below(40) {
            let mut stem = keys.0[rng.below(keys.0.len())].clone();
            (0..rng.below(14)).for_each(|_| stem.push(keys.1[rng.below(keys.1.len())]));
            keys.0.push(stem);
        }
        keys
    }

    /// A stem, sometimes cut short, and a few bytes more or none.
    fn any(&self, rng: &mut Rng) -> Vec<u8> {
        let mut key = self.0[rng.below(self.0.len())].clone();
        if rng.below(8) == 0 {
            key.truncate(rng.below(key.len() + 1));
        }
        (0..[0, 1, 2, 5, 9, 14][rng.below(6)]).for_each(|_| key.push(self.1[rng.below(self.1.len())]));
        key
    }
}

type Table<C, const H: usize> = Memtable<[u8], Fused<C>, DefaultArena, EpochClock, H>;

fn table<C: Comparator<[u8]>, const H: usize>(comparator: C, density: LaneDensity) -> Table<C, H> {
    Memtable::<[u8]>::builder().comparator(Fused(comparator)).lane_density(density).shards(2).max_height::<H>().build()
}

/// Every kind of search for each of `probes` gives what `model`, which is sorted, gives.
fn assert_exact<C: Comparator<[u8]>, const H: usize>(table: &Table<C, H>, model: &[Vec<u8>], probes: &[Vec<u8>]) {
    let find = |probe: &[u8]| model.binary_search_by(|key| table.comparator().compare(key, probe));
    let mut cursor = table.cursor();
    for probe in probes {
        let (from, behind) = find(probe).map_or_else(|at| (at, at), |at| (at, at + 1));
        let next = model.get(from).map(Vec::as_slice);
        let last = |end: usize| model[..end].last().map(Vec::as_slice);
        assert_eq!(table.contains_key(probe), from < behind, "{probe:?}");
        assert_eq!(table.range(&probe[..]..).next().map(|e| e.key), next, "from {probe:?}");
        assert_eq!(table.range(..&probe[..]).next_back().map(|e| e.key), last(from), "before {probe:?}");
        assert_eq!(table.range(..=&probe[..]).next_back().map(|e| e.key), last(behind), "up to {probe:?}");
        assert_eq!((cursor.seek(probe), cursor.entry().map(|e| e.key)), (next.is_some(), next), "seek {probe:?}");
    }
    for probes in probes.chunks(33) {
        for (probe, found) in probes.iter().zip(table.get_many(probes)) {
            assert_eq!(found.is_some(), find(probe).is_ok(), "one of many, {probe:?}");
        }
    }
}

/// Panics during inserts leave parents stale, and lanes that lead to the wrong block. Then every search for keys that are there
/// and for keys that are not is exact all the same, and so are the inserts that go on.
#[test]
fn answers_are_exact_where_parents_are_stale() {
    fn check<const H: usize>(comparator: impl Comparator<[u8]> + Copy, seed: u64, count: usize) {
        for (seed, density) in (2 * seed..).zip(DENSITIES) {
            let mut rng = Rng::new(seed);
            let (keys, table, mut model) = (Keys::new(&mut rng), table::<_, H>(comparator, density), vec![]);
            for i in 0..count {
                let key = keys.any(&mut rng);
                let at = model.binary_search_by(|other: &Vec<u8>| comparator.compare(other, &key));
                if rng.below(3) == 0 {
                    FUSE.set(1 + rng.below(90));
                }
                let inserted = catch_unwind(AssertUnwindSafe(|| table.insert(&key, b"")));
                FUSE.set(0);
                assert!(inserted.is_err() || inserted.is_ok_and(|inserted| inserted == at.is_err()), "{key:?}");
                if table.len() > model.len() {
                    model.insert(at.expect_err("a duplicate"), key);
                }
                if i % 50 == 0 {
                    let probes: Vec<_> = (0..8).map(|_| keys.any(&mut rng)).collect();
                    assert_exact(&table, &model, &probes);
                }
            }
            let mut probes: Vec<_> = (0..scaled(300)).map(|_| keys.any(&mut rng)).collect();
            probes.extend(model.iter().step_by(5).cloned());
            assert_exact(&table, &model, &probes);
            assert!(table.iter().map(|e| e.key).eq(model.iter().map(Vec::as_slice)));
            assert_valid!(table);
        }
    }
    fn check_heights(comparator: impl Comparator<[u8]> + Copy, seed: u64) {
        check::<2>(comparator, 3 * seed, scaled(300));
        check::<3>(comparator, 3 * seed + 1, scaled(800));
        check::<12>(comparator, 3 * seed + 2, scaled(1500));
    }
    let rounds = if cfg!(debug_assertions) { 3 } else { 8 };
    for round in 0..scaled(rounds) as u64 {
        check_heights(Bytewise, 4 * round);
        check_heights(Reverse(Bytewise), 4 * round + 1);
        check_heights(OneByte, 4 * round + 2);
        check_heights(SharesLess, 4 * round + 3);
    }
}

/// Beside writers a thread finds each of its own keys, and none that nobody writes; and what it finds next to such a key is never
/// beyond the nearest of its own.
#[test]
fn answers_are_exact_beside_writers() {
    /// The last byte of a key tells whose it is. Nobody writes these.
    const NOBODY: u8 = 9;
    fn write<C: Comparator<[u8]>, const H: usize>(table: &Table<C, H>, keys: &Keys, me: u8) -> Vec<Vec<u8>> {
        let (mut rng, mut own, order) = (Rng::new(u64::from(me)), Vec::<Vec<u8>>::new(), table.comparator());
        for _ in 0..scaled(1000) {
            let key = [keys.any(&mut rng), vec![me]].concat();
            let at = own.binary_search_by(|other| order.compare(other, &key));
            assert_eq!(table.insert(&key, b""), at.is_err(), "{key:?}");
            if let Err(at) = at {
                own.insert(at, key);
            }
            assert!(table.contains_key(&own[rng.below(own.len())]));
            let none = [keys.any(&mut rng), vec![NOBODY]].concat();
            let at = own.binary_search_by(|other| order.compare(other, &none)).expect_err("nobody's");
            assert!(!table.contains_key(&none), "{none:?}");
            assert!(table.get_many(&[&none, &own[0]]).iter().map(Option::is_some).eq([false, true]), "{none:?}");
            // From the nearest of its own before that key to the nearest behind it: these ascend.
            let before = own[..at].last().map(Vec::as_slice);
            let found_before = table.range(..&none[..]).next_back().map(|e| e.key);
            let found_behind = table.range(&none[..]..).next().map(|e| e.key);
            let behind = own.get(at).map(Vec::as_slice);
            assert!(before.is_none() || found_before.is_some(), "before {none:?}");
            assert!(behind.is_none() || found_behind.is_some(), "from {none:?}");
            let ascending: Vec<&[u8]> =
                [before, found_before, Some(&none), found_behind, behind].into_iter().flatten().collect();
            assert!(ascending.is_sorted_by(|a, b| order.compare(a, b).is_le()), "{ascending:?}");
        }
        own
    }
    fn check<const H: usize>(comparator: impl Comparator<[u8]> + Copy + Sync, seed: u64) {
        for (seed, density) in (2 * seed..).zip(DENSITIES) {
            let (keys, table) = (Keys::new(&mut Rng::new(seed)), table::<_, H>(comparator, density));
            let mut all = thread::scope(|scope| {
                let writers = [0, 1, 2].map(|me| {
                    let (table, keys) = (&table, &keys);
                    scope.spawn(move || write(table, keys, me))
                });
                writers.map(|writer| writer.join().unwrap()).concat()
            });
            all.sort_by(|a, b| comparator.compare(a, b));
            assert!(table.iter().map(|e| e.key).eq(all.iter().map(Vec::as_slice)));
            assert_exact(&table, &all, &all[..all.len().min(scaled(200))]);
            assert_valid!(table);
        }
    }
    check::<3>(Bytewise, 0);
    check::<12>(Bytewise, 1);
    check::<12>(Reverse(Bytewise), 2);
    check::<3>(OneByte, 3);
    check::<12>(OneByte, 4);
    check::<12>(SharesLess, 5);
}
