//! Parts that lie or panic: comparators, clocks and selectors. Wrong answers are allowed where a contract is broken; a
//! crash, an endless loop, or the loss of what was there before a panic is not. Allocators are in `hostile_memory.rs`.
#![cfg(feature = "alloc")]

#[macro_use]
mod common;

use common::{Fuse, Model, Rng, Row, counter, key, row, rows, scaled, value};
use memskip::{Bytewise, Comparator, CounterClock, EpochClock, Memtable, SeqClock, SeqNo, WriteBatch};
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

// ---- Comparators that lie ----

/// The ways of lying.
#[derive(Clone, Copy, Debug)]
enum Lie {
    AlwaysLess,
    AlwaysGreater,
    AlwaysEqual,
    Random,
    RockPaperScissors,
    NothingEqualsItself,
    RandomHint,
    GrowingHint,
    HugePrefix,
}

const LIES: [Lie; 9] = [
    Lie::AlwaysLess,
    Lie::AlwaysGreater,
    Lie::AlwaysEqual,
    Lie::Random,
    Lie::RockPaperScissors,
    Lie::NothingEqualsItself,
    Lie::RandomHint,
    Lie::GrowingHint,
    Lie::HugePrefix,
];

/// A comparator that lies in one of these ways.
#[derive(Debug)]
struct Liar {
    lie: Lie,
    state: AtomicU64,
}

impl Liar {
    fn random(&self) -> usize {
        Rng::new(self.state.fetch_add(1, Relaxed)).below(usize::MAX)
    }
}

impl Comparator<[u8]> for Liar {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let digit = |key: &[u8]| key.last().map_or(0, |byte| byte % 3);
        match self.lie {
            Lie::AlwaysLess => Ordering::Less,
            Lie::AlwaysGreater => Ordering::Greater,
            Lie::AlwaysEqual => Ordering::Equal,
            Lie::Random => [Ordering::Less, Ordering::Equal, Ordering::Greater][self.random() % 3],
            Lie::RockPaperScissors => match (3 + digit(a) - digit(b)) % 3 {
                0 => a.cmp(b),
                1 => Ordering::Greater,
                _ => Ordering::Less,
            },
            Lie::NothingEqualsItself => a.cmp(b).then(Ordering::Less),
            Lie::RandomHint | Lie::GrowingHint | Lie::HugePrefix => a.cmp(b),
        }
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        match self.lie {
            Lie::RandomHint => self.random(),
            Lie::GrowingHint => self.random() % 2 + key.len().wrapping_mul(skip),
            _ => Bytewise.hint(key, skip),
        }
    }

    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        match self.lie {
            Lie::RandomHint | Lie::Random => self.random() % 20,
            Lie::HugePrefix => usize::MAX,
            _ => Comparator::<[u8]>::common_prefix(&Bytewise, a, b),
        }
    }
}

/// Every write, then every read, from one thread and from three: everything ends, and no slice is out of bounds.
#[test]
fn lying_comparators_give_wrong_answers_at_worst() {
    let n = scaled(400);
    let mut endless = Vec::new();
    for lie in LIES {
        let table = Memtable::<[u8]>::builder().comparator(Liar { lie, state: AtomicU64::new(1) }).shards(2).build();
        let write = |seed: u64| {
            let mut rng = Rng::new(seed);
            for i in 0..n {
                let key = key(rng.below(n));
                match rng.below(7) {
                    0 => _ = table.insert(&key, b"value"),
                    1 => _ = table.delete(&key),
                    2 => _ = table.put_tombstone(&key),
                    3 => _ = table.get_or_insert(&key, b"value"),
                    4 => _ = table.put_at(&key, b"value", SeqNo(i as u64)),
                    5 => {
                        let mut batch = <WriteBatch>::new();
                        for _ in 0..4 {
                            batch.put(&common::key(rng.below(n)), b"value");
                        }
                        _ = table.apply(&batch);
                    }
                    _ => _ = table.put(&key, b"value"),
                }
                _ = table.get_live(&key).map(<[u8]>::to_vec);
            }
        };
        write(1);
        std::thread::scope(|scope| (2..4).for_each(|seed| drop(scope.spawn(move || write(seed)))));

        let limit = 100 * n + 1000;
        let snapshot = table.snapshot();
        let (low, high) = (key(n / 3), key(n / 2));
        let mut ends = |what: &str, entries: &mut dyn Iterator<Item = memskip::Entry<'_>>| {
            if entries.inspect(|e| assert!(e.key.len() == 12)).take(limit).count() == limit {
                endless.push(format!("{what}, {lie:?}"));
            }
        };
        ends("iter", &mut table.iter());
        ends("iter, backwards", &mut table.iter().rev());
        ends("versions", &mut table.versions());
        ends("versions, backwards", &mut table.versions().rev());
        ends("a range", &mut table.range(&low[..]..&high[..]));
        ends("a range, backwards", &mut table.range(&low[..]..&high[..]).rev());
        ends("a range of a snapshot", &mut snapshot.range(&low[..]..&high[..]));
        let mut cursor = table.cursor();
        for i in 0..50 {
            _ = (cursor.seek(&key(i)), cursor.seek_for_prev(&key(n - i.min(n))));
            _ = (cursor.prev_entry().map(row), cursor.next_entry().map(row));
        }
        _ = table.get_many(&(0..40).map(key).collect::<Vec<_>>());
        _ = (table.first_key(), table.last_key(), table.stats(), table.approximate_count(&low[..]..));
        _ = table.validate();
        _ = table.freeze().partitions(4);
    }
    assert!(endless.is_empty(), "without an end: {endless:?}");
}

// ---- Comparators that panic ----

/// Bytewise, with a fuse.
#[derive(Clone, Debug)]
struct Fused(Arc<Fuse>);

impl Comparator<[u8]> for Fused {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.0.burn();
        a.cmp(b)
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        self.0.burn();
        Bytewise.hint(key, skip)
    }

    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        self.0.burn();
        Comparator::<[u8]>::common_prefix(&Bytewise, a, b)
    }
}

/// What is done while the fuse burns; everything here names keys the table has and keys it has not.
fn one_of_everything<C, A, S>(table: &Memtable<[u8], C, A, S>, what: usize)
where
    C: Comparator<[u8]>,
    A: memskip::Arena,
    S: SeqClock,
{
    match what {
        0 => assert!(table.insert(b"key-new", b"new")),
        1 => assert!(table.put(&key(3), b"new").is_ok()),
        2 => assert!(table.delete(&key(4))),
        3 => assert!(table.put_tombstone(b"key-dead").is_ok()),
        4 => assert!(table.get_or_insert(b"key-new", b"new").1),
        5 => {
            let mut batch = <WriteBatch>::new();
            batch.put(b"key-new", b"new");
            batch.put(&key(3), b"new");
            batch.delete(&key(4));
            assert!(table.apply(&batch).is_ok());
        }
        6 => assert_eq!(table.insert_batch(&[("key-a", "new"), ("key-b", "new")]), Ok(2)),
        7 => assert!(table.get(&key(7)).is_some() && table.get_many(&[key(1), key(99)])[0].is_some()),
        8 => assert!(table.range(&key(5)[..]..).rev().count() > 0 && table.iter().rev().count() > 0),
        9 => {
            let mut cursor = table.cursor();
            assert!(cursor.seek(&key(9)) && cursor.prev_entry().is_some() && cursor.seek_for_prev(b"z"));
        }
        _ => assert!(table.snapshot().iter().count() > 0 && table.versions().rev().count() > 0),
    }
}

/// How many there are.
const EVERYTHING: usize = 11;

/// Does one of everything with the fuse set to every length, on a fresh table each time, until it does not burn down
/// any more. After the panic everything from before is there, the rest of the operation is there whole, in part only
/// where it is not atomic, or not at all; the figures agree with what is there; and the table goes on working.
fn burn_everywhere<C, A, S>(fuse: &Fuse, mut make: impl FnMut() -> Memtable<[u8], C, A, S>)
where
    C: Comparator<[u8]>,
    A: memskip::Arena,
    S: SeqClock,
{
    let mut panics = 0;
    for what in 0..EVERYTHING {
        for length in 0.. {
            let table = make();
            for i in 0..40 {
                assert!(table.insert(&key(i * 7 % 40), &value(i as u64)));
            }
            let before = rows(table.iter());
            fuse.arm(length);
            let outcome = catch_unwind(AssertUnwindSafe(|| one_of_everything(&table, what)));
            let unburnt = fuse.disarm();
            panics += usize::from(outcome.is_err());

            let at = format!("operation {what}, fuse {length}");
            let after = rows(table.iter());
            let touched = |row: &Row| row.key == key(3) || row.key == key(4);
            let kept = |row: &&Row| after.contains(row) || touched(row);
            assert!(before.iter().filter(kept).count() == before.len(), "lost: {at}");
            let new: Vec<bool> = [&b"key-new"[..], &key(3), &key(4)]
                .iter()
                .map(|key| table.get(key).is_some_and(|(v, dead)| dead || v == b"new"))
                .collect();
            if what == 5 {
                assert!(new.iter().all(|&there| there == new[0]), "half a batch: {at}: {new:?}");
            }
            let dead = after.iter().filter(|row| row.kind == 1).count();
            assert_eq!((table.len(), table.tombstones()), (after.len() - dead, dead), "{at}");
            if let Err(broken) = table.validate() {
                panic!("{at}: {broken:?}");
            }
            table.put(b"key-new", b"newer").unwrap();
            let mut batch = <WriteBatch>::new();
            batch.put(&key(3), b"newer");
            table.apply(&batch).unwrap();
            assert_eq!(table.get_live(b"key-new"), Some(&b"newer"[..]), "{at}");
            assert_eq!(table.snapshot().get(&key(3)), Some((&b"newer"[..], false)), "{at}");
            // A writer that unwound is no longer running.
            assert_eq!(table.freeze().get_live(&key(3)), Some(&b"newer"[..]), "{at}");
            if unburnt && outcome.is_ok() {
                break;
            }
            assert!(length < 20_000, "{at}: the fuse never lasts");
        }
    }
    assert!(panics > 0);
}

/// A comparator that panics at the n-th call, for every n.
#[test]
fn panicking_comparators_leave_the_table_usable() {
    let fuse = Arc::new(Fuse::new());
    burn_everywhere(&fuse, || {
        Memtable::<[u8]>::builder().comparator(Fused(Arc::clone(&fuse))).shards(1).first_chunk(256).build()
    });
}

// ---- Clocks ----

/// A clock with a fuse.
#[derive(Clone, Debug)]
struct FusedClock<S>(Arc<Fuse>, S);

impl<S: SeqClock> SeqClock for FusedClock<S> {
    fn stamp(&self) -> SeqNo {
        self.0.burn();
        self.1.stamp()
    }

    fn snapshot(&self) -> SeqNo {
        self.0.burn();
        self.1.snapshot()
    }

    fn observe(&self, seq: SeqNo) {
        self.0.burn();
        self.1.observe(seq);
    }
}

/// A clock that panics at the n-th call, for every n.
#[test]
fn panicking_clocks_leave_the_table_usable() {
    let fuse = Arc::new(Fuse::new());
    burn_everywhere(&fuse, || {
        let clock = FusedClock(Arc::clone(&fuse), EpochClock::new());
        Memtable::<[u8]>::builder().clock(clock).shards(1).build()
    });
    burn_everywhere(&fuse, || {
        let clock = FusedClock(Arc::clone(&fuse), CounterClock::new());
        Memtable::<[u8]>::builder().clock(clock).shards(1).build()
    });
}

/// A clock that answers from a function.
struct Answers<F>(F);

impl<F: Fn() -> u64> SeqClock for Answers<F> {
    fn stamp(&self) -> SeqNo {
        SeqNo((self.0)())
    }

    fn snapshot(&self) -> SeqNo {
        SeqNo((self.0)())
    }
}

/// Overwrites a few keys under a clock that is wrong: chains stay sorted, figures exact, values ones that were written.
fn wrong_clock(clock: impl SeqClock) {
    let table = Memtable::<[u8]>::builder().clock(clock).shards(1).build();
    let (mut versions, mut keys) = (0, std::collections::BTreeSet::new());
    for n in 0..scaled(500) as u64 {
        let i = usize::try_from(n % 13).unwrap();
        let written = if n % 5 == 4 { table.put_tombstone(&key(i)) } else { table.put(&key(i), &value(n)) };
        if written.is_ok() {
            versions += 1;
            keys.insert(i);
        }
        if n % 50 == 0 {
            assert!(table.snapshot().iter().rev().take(100).count() < 100, "it does not end");
        }
    }
    assert_eq!(table.version_count(), versions);
    assert_eq!(table.len() + table.tombstones(), keys.len());
    assert_eq!(table.iter().count(), keys.len());
    let found = rows(table.versions());
    assert!(found.windows(2).all(|pair| pair[0].key < pair[1].key || pair[0].seq > pair[1].seq));
    for row in &found {
        let i = keys.iter().find(|&&i| key(i) == row.key).expect("a key that was written");
        assert!(row.kind == 1 || counter(&row.value) % 13 == *i as u64);
    }
    assert_valid!(table);
    assert_eq!(table.freeze().version_count(), versions);
}

/// A clock that stands still gives every version one number: the newest of each key is shown.
#[test]
fn clocks_that_stand_still() {
    for now in [0, 5, SeqNo::LIMIT.0] {
        wrong_clock(Answers(move || now));
        let table = Memtable::<[u8]>::builder().clock(Answers(move || now)).build();
        let mut model = Model::default();
        for n in 0..100 {
            let key = key(n % 7);
            let seq = table.put(&key, &value(n as u64)).unwrap();
            model.write(&key, seq.0, 0, &value(n as u64));
            assert_eq!(table.entry(&key).map(row), model.get(&key));
        }
        assert_eq!(rows(table.versions()), model.all());
    }
}

/// Clocks that go back, that jump about, and that answer beyond every number that can be stored.
#[test]
fn clocks_that_go_back() {
    let now = AtomicU64::new(10_000);
    wrong_clock(Answers(|| now.fetch_sub(1, Relaxed)));
    let state = AtomicU64::new(1);
    wrong_clock(Answers(|| Rng::new(state.fetch_add(1, Relaxed)).bits() >> 3));
    wrong_clock(Answers(|| Rng::new(state.fetch_add(1, Relaxed)).bits() % 4));
    wrong_clock(Answers(|| Rng::new(state.fetch_add(1, Relaxed)).bits()));
    wrong_clock(Answers(|| u64::MAX));
}

// ---- Selectors ----

/// A selector may return any number, and another one each time.
#[test]
fn selectors_that_return_any_number() {
    for shards in [1, 2, 7] {
        let state = AtomicU64::new(0);
        let state = &state;
        let anything = move || match state.fetch_add(1, Relaxed) % 5 {
            0 => usize::MAX,
            1 => usize::MAX / 2 + 1,
            2 => shards,
            n => usize::try_from(n).unwrap() << 7,
        };
        let table = Memtable::<[u8]>::builder().selector(anything).shards(shards).first_chunk(64).build();
        for i in 0..scaled(500) {
            table.put(&key(i), &key(i)).unwrap();
            assert!(table.delete(&key(i / 2)));
            table.put(&key(i / 2), &key(i)).unwrap();
        }
        assert_eq!((table.len(), table.tombstones()), (scaled(500), 0));
        assert_valid!(table);
        assert_eq!(table.freeze().len(), scaled(500));
    }
}

/// A selector that panics at the n-th call, for every n.
#[test]
fn panicking_selectors_leave_the_table_usable() {
    let fuse = Arc::new(Fuse::new());
    burn_everywhere(&fuse, || {
        let fuse = Arc::clone(&fuse);
        let selector = move || {
            fuse.burn();
            1
        };
        Memtable::<[u8]>::builder().selector(selector).shards(2).first_chunk(256).build()
    });
}
