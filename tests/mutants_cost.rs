//! What lanes are worth, counted: comparisons, hints and visits to memory per operation, over loads that repeat exactly. Lanes
//! only save work, so a fault in them shows in no answer. It shows here.
//!
//! `mutants_cost.txt` has what was counted when it was written, in hundredths. A change of more than one in a hundred fails, up
//! or down: fewer visits may mean that nothing is asked for ahead any more. If the change is meant, copy what the failing
//! test prints.
#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(unsafe_code, reason = "an arena is an unsafe trait")]

#[macro_use]
mod common;

use common::Rng;
use memskip::{
    Arena, Bytewise, ChunkArena, Comparator, EpochClock, Handle, Kind, LaneDensity, Memtable, OutOfMemory, Shard,
};
use std::cell::Cell;
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

thread_local! {
    static COMPARED: Cell<usize> = const { Cell::new(0) };
    static HINTED: Cell<usize> = const { Cell::new(0) };
    static VISITED: Cell<usize> = const { Cell::new(0) };
}

fn count(counter: &'static std::thread::LocalKey<Cell<usize>>) {
    counter.set(counter.get() + 1);
}

/// Counts visits to memory.
struct Visited(ChunkArena);

// SAFETY: everything is the inner arena's.
unsafe impl Arena for Visited {
    as_inner_arena!(shards allocate release contains used reserved reset);

    unsafe fn resolve(&self, handle: Handle) -> NonNull<u8> {
        count(&VISITED);
        // SAFETY: the same contract.
        unsafe { self.0.resolve(handle) }
    }
}

thread_local! {
    /// The comparison after so many more ones panics; none does while this is 0.
    static FUSE: Cell<usize> = const { Cell::new(0) };
    /// Whether hints say nothing about the order.
    static LIES: Cell<bool> = const { Cell::new(false) };
    /// Whether every key comes before every other.
    static CIRCLES: Cell<bool> = const { Cell::new(false) };
}

/// Counts comparisons and hints.
#[derive(Default)]
struct Counting;

impl Comparator<[u8]> for Counting {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        count(&COMPARED);
        match FUSE.get() {
            0 => {}
            1 => {
                FUSE.set(0);
                std::panic::resume_unwind(Box::new(()));
            }
            left => FUSE.set(left - 1),
        }
        if CIRCLES.get() { Ordering::Less } else { Bytewise.compare(a, b) }
    }
    fn hint(&self, key: &[u8], skip: usize) -> usize {
        count(&HINTED);
        let hint = Bytewise.hint(key, skip);
        // One key in sixteen.
        if LIES.get() && (hint >> 16).trailing_zeros() >= 4 { hint.wrapping_mul(0x9E37_79B9_7F4A_7C15) } else { hint }
    }
    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        [self.hint(key, skip), Bytewise.hint(key, skip + 8)]
    }
    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        Bytewise.common_prefix(a, b)
    }
}

type Table = Memtable<[u8], Counting, Visited, EpochClock>;

/// The orders and shapes of keys.
#[derive(Clone, Copy, Debug)]
enum Load {
    Random,
    Ascending,
    Descending,
    /// 100 long prefixes, 50 keys behind each.
    Groups,
    /// What hints see of half of the keys is the greatest there is.
    Ones,
}

const KEYS: usize = 5_000;

fn keys(load: Load) -> Vec<Vec<u8>> {
    let spread = |n: usize| (n as u64 * 7919).to_be_bytes().to_vec();
    let make = |n: usize| match load {
        Load::Random | Load::Ascending => spread(n),
        Load::Descending => spread(KEYS - n),
        Load::Groups => format!("tenant/{:012}/table/row/{n:09}", n % 100 * 37).into_bytes(),
        Load::Ones => [&[0xFF; 24][..], &[0; 24]][n % 2].iter().copied().chain(spread(n)).collect(),
    };
    let mut keys: Vec<Vec<u8>> = (0..KEYS).map(make).collect();
    if !matches!(load, Load::Ascending | Load::Descending) {
        Rng::new(11).shuffle(&mut keys);
    }
    keys
}

/// What a piece of work costs per operation, in hundredths: comparisons, hints, visits.
fn cost(operations: usize, work: impl FnOnce()) -> [usize; 3] {
    let now = || [COMPARED.get(), HINTED.get(), VISITED.get()];
    let before = now();
    work();
    let after = now();
    [0, 1, 2].map(|i| (after[i] - before[i]) * 100 / operations)
}

fn table(density: LaneDensity) -> Table {
    let builder = Memtable::<[u8]>::builder().comparator(Counting).arena(Visited(ChunkArena::new()));
    builder.lane_density(density).build()
}

/// Every kind of work on one load, a line each.
fn measure(load: Load, density: LaneDensity) -> Vec<(String, [usize; 3])> {
    let keys = keys(load);
    let missing: Vec<Vec<u8>> = keys.iter().map(|key| [&key[..], b"+"].concat()).collect();
    let table = table(density);
    let mut lines = Vec::new();
    let mut line = |what: &str, cost| lines.push((format!("{load:?} {density:?} {what}"), cost));
    line("insert", cost(KEYS, || keys.iter().for_each(|key| assert!(table.insert(key, b"value")))));
    line("memory", [table.memory_usage(), 0, 0]);
    assert_valid!(table);
    line("get", cost(KEYS, || keys.iter().for_each(|key| assert!(table.contains_key(key)))));
    line("get missing", cost(KEYS, || missing.iter().for_each(|key| assert!(!table.contains_key(key)))));
    let many = |keys: &[Vec<u8>], found: usize| {
        keys.chunks(64).for_each(|keys| assert_eq!(table.get_many(keys).iter().flatten().count(), keys.len() * found));
    };
    line("get many", cost(KEYS, || many(&keys, 1)));
    line("get many missing", cost(KEYS, || many(&missing, 0)));
    line("last", cost(1, || assert!(table.last_key().is_some())));
    line("forward", cost(KEYS, || assert_eq!(table.iter().count(), KEYS)));
    line("backward", cost(KEYS, || assert_eq!(table.iter().rev().count(), KEYS)));
    let few = || keys.iter().step_by(10);
    line("seek back", cost(KEYS / 10, || few().for_each(|key| _ = table.range(..&key[..]).next_back())));
    line(
        "seek back, 30 on",
        cost(KEYS / 10, || few().for_each(|key| _ = table.range(..&key[..]).rev().take(30).count())),
    );
    line("seek, 30 on", cost(KEYS / 10, || few().for_each(|key| _ = table.range(&key[..]..).take(30).count())));
    line("count", cost(KEYS / 10, || few().for_each(|key| _ = table.approximate_count(..&key[..]))));
    line("overwrite", cost(KEYS, || keys.iter().for_each(|key| assert!(table.put(key, b"value").is_ok()))));
    lines
}

#[test]
fn costs_are_what_they_were() {
    let loads = [
        (Load::Random, LaneDensity::Every),
        (Load::Ascending, LaneDensity::Every),
        (Load::Descending, LaneDensity::Every),
        (Load::Groups, LaneDensity::Every),
        (Load::Ones, LaneDensity::Every),
        (Load::Random, LaneDensity::Sparse),
        (Load::Ascending, LaneDensity::Sparse),
    ];
    let lines: Vec<_> = loads.into_iter().flat_map(|(load, density)| measure(load, density)).collect();
    let now: Vec<String> = lines.iter().map(|(what, [c, h, v])| format!("{what}: {c} {h} {v}")).collect();
    let known: Vec<&str> = include_str!("mutants_cost.txt").lines().collect();
    let differs = |now: &str, known: &str| {
        let (what, numbers) = now.split_once(": ").expect("as written above");
        let (known_what, known_numbers) = known.split_once(": ").expect("a name and numbers");
        let number = |word: &str| word.parse::<usize>().expect("a number");
        let pairs = numbers.split(' ').map(number).zip(known_numbers.split(' ').map(number));
        what != known_what || pairs.into_iter().any(|(now, known)| now.abs_diff(known) * 100 > known + 100)
    };
    let changed: Vec<_> = now.iter().zip(&known).filter(|(now, known)| differs(now, known)).collect();
    assert!(changed.is_empty() && now.len() == known.len(), "now, then: {changed:#?}\nall of it:\n{}", now.join("\n"));
}

/// Keys whose hint is the greatest there is, the mark of unused places: they tie with each other, not with those places.
#[test]
fn the_greatest_hint_is_not_an_unused_place() {
    let table = table(LaneDensity::Every);
    let keys: Vec<Vec<u8>> = (0..9).map(|n| [&[0xFF; 16][..], &[n]].concat()).collect();
    assert!(table.insert(b"a", b""));
    for key in &keys {
        assert!(table.insert(key, b""));
    }
    let [compared, _, visited] = cost(keys.len(), || keys.iter().for_each(|key| assert!(table.contains_key(key))));
    assert!(compared <= 300 && visited <= 520, "{compared} {visited}");
    let [compared, _, visited] = cost(1, || assert!(!table.contains_key(&[0xFF; 17])));
    assert!(compared <= 600 && visited <= 1200, "{compared} {visited}");
}

/// Comparisons that panic leave splits half told: blocks that the lane above does not know. Whoever comes by one tells it.
#[test]
fn what_a_panic_left_undone_is_mended() {
    let table = table(LaneDensity::Every);
    let keys = keys(Load::Random);
    let mut rng = Rng::new(3);
    for key in &keys {
        FUSE.set(1 + rng.below(20));
        _ = catch_unwind(AssertUnwindSafe(|| table.insert(key, b"")));
        FUSE.set(0);
    }
    assert!(table.len() < KEYS);
    for key in &keys {
        table.insert(key, b"");
    }
    let [compared, _, visited] = cost(KEYS, || keys.iter().for_each(|key| assert!(table.contains_key(key))));
    assert!(compared <= 109 && visited <= 936, "{compared} {visited}");
    let [compared, ..] = cost(KEYS, || assert_eq!(table.iter().rev().count(), KEYS));
    assert!(compared <= 60, "{compared}");
}

/// Hints that lie mislead a descent. If it ends behind the key, another one is led by keys; nothing is walked from the head.
#[test]
fn lying_hints_cost_another_descent() {
    let table = table(LaneDensity::Every);
    let keys = keys(Load::Random);
    for key in &keys {
        assert!(table.insert(key, b""));
    }
    LIES.set(true);
    let before = |key: &[u8]| table.range(..key).next_back().map(|before| before.key);
    let right = |key: &&Vec<u8>| before(key).is_none_or(|before| before < &key[..]);
    let [compared, hinted, _] = cost(KEYS, || assert_ne!(keys.iter().filter(right).count(), KEYS));
    LIES.set(false);
    assert!(compared <= 4_150 && hinted <= 1_760, "{compared} {hinted}");
    assert_eq!(keys.iter().filter(right).count(), KEYS);
    assert_valid!(table);
}

/// Hints that lie to a write put its key where they say. `validate` tells.
#[test]
fn keys_that_hints_have_misplaced_are_noticed() {
    let table = table(LaneDensity::Every);
    LIES.set(true);
    for key in keys(Load::Random) {
        table.insert(&key, b"");
    }
    LIES.set(false);
    assert!(table.validate().is_err());
}

/// An order that is none leads nowhere, and above all not in circles.
#[test]
fn a_walk_back_without_an_order_ends() {
    for keys in [3, 20, 500] {
        let table = table(LaneDensity::Every);
        for n in 0..keys {
            assert!(table.insert(&common::key(n), b""));
        }
        CIRCLES.set(true);
        assert!(table.iter().rev().take(1000).count() < 1000);
        assert!(table.range(..&common::key(keys / 2)[..]).rev().take(1000).count() < 1000);
        let mut cursor = table.cursor();
        cursor.seek_to_last();
        assert!(std::iter::from_fn(|| cursor.prev_entry()).take(1000).count() < 1000);
        CIRCLES.set(false);
    }
}

/// What is counted already is not looked up by a walk.
#[test]
fn figures_are_counted_not_walked() {
    let table = table(LaneDensity::Every);
    for key in keys(Load::Random) {
        assert!(table.put(&key, b"value").is_ok());
    }
    let [_, _, visited] = cost(1, || assert!(table.min_seq() <= table.max_seq() && table.len() == KEYS));
    assert_eq!(visited, 0);
}

/// What a batch has written costs the first read as little as any other.
#[test]
fn a_batch_leaves_nothing_behind_that_reads_pay_for() {
    let table = table(LaneDensity::Every);
    let visits = |key: &[u8]| cost(1, || assert!(table.contains_key(key)))[2];
    assert!(table.apply_slice(&[(b"a", b"", Kind::VALUE), (b"b", b"", Kind::VALUE)]).is_ok());
    assert_eq!(visits(b"a"), visits(b"a"));
}

/// A batch that goes on behind a run of keys needs no searches, also by a thread whose number is beyond the shards there are.
#[test]
fn ascending_batches_cost_the_same_whatever_the_selector_says() {
    let cost = |selector: fn() -> usize| {
        let (n, more) = (80_000, 2_000);
        let table = Memtable::<[u8]>::builder().comparator(Counting).selector(selector).shards(2).build();
        for i in 0..n {
            assert!(table.insert(&u64::to_be_bytes(i), b""));
        }
        let batch: Vec<_> = (n..n + more).map(|i| (i.to_be_bytes(), b"")).collect();
        COMPARED.set(0);
        HINTED.set(0);
        assert_eq!(table.insert_batch(&batch), Ok(batch.len()));
        (COMPARED.get(), HINTED.get())
    };
    assert_eq!(cost(|| 1), cost(|| 3));
}

/// Keys behind all others need a hint or two for the lanes, whichever kind of batch brings them, and no search.
#[test]
fn ascending_batches_search_nothing() {
    let table = table(LaneDensity::Every);
    let key = |i: u64| i.to_be_bytes();
    assert!((0..40_000).all(|i| table.insert(&key(i), b"")));
    let [inserted, applied]: [Vec<_>; 2] = [40_000, 41_600].map(|start| (start..start + 1_600).map(key).collect());
    let batch: Vec<_> = inserted.iter().map(|key| (key, b"")).collect();
    let [_, at_once, _] = cost(1_600, || assert_eq!(table.insert_batch(&batch), Ok(1_600)));
    let batch: Vec<_> = applied.iter().map(|key| (&key[..], &b""[..], Kind::VALUE)).collect();
    let [_, in_batches, _] = cost(1_600, || {
        for some in batch.chunks(100) {
            assert!(table.apply_slice(some).is_ok());
        }
    });
    assert!(at_once < 300 && in_batches < 300, "{at_once} {in_batches}");
}

/// A table of so many keys with gaps between, and keys in random order, in groups that begin alike: all belong into the gap behind one key,
/// with which a block of the lowest lane begins, or all over the place.
fn apart(n: u64, more: u64, in_one_gap: bool) -> (Table, Vec<Vec<u8>>) {
    let table = table(LaneDensity::Every);
    let key = |gap: u64, group: u64, place: u64| [gap, group << 56, place].map(u64::to_be_bytes).concat();
    for gap in 0..n {
        assert!(table.insert(&key(gap, 0, 0), b""));
    }
    let mut rng = Rng::new(11);
    // The later the group, the less what follows: hints of one group mislead keys of another.
    let mut random = |_| {
        let (gap, group) = (if in_one_gap { 12 + 13 * 1_000 } else { rng.bits() % n }, rng.bits() % 64);
        key(gap, group, (64 - group) << 56 | rng.bits() >> 8)
    };
    (table, (0..more).map(&mut random).collect())
}

/// Applies keys in batches of so many; hints and visits to memory for each key, in hundredths.
fn cost_of_batches(table: &Table, keys: &[Vec<u8>], size: usize) -> [usize; 2] {
    let [_, hints, visits] = cost(keys.len(), || {
        for some in keys.chunks(size) {
            let batch: Vec<_> = some.iter().map(|key| (&key[..], &b""[..], Kind::VALUE)).collect();
            assert!(table.apply_slice(&batch).is_ok());
        }
    });
    [hints, visits]
}

/// A batch looks once where its keys belong: first all of a group, for the memory they need, and from there when they are linked. Hints are
/// as many as when this was written, or nothing is found out ahead any more.
#[test]
fn a_batch_searches_once() {
    let (table, keys) = apart(40_000, 1_600, false);
    let [_, one_by_one, _] = cost(800, || keys[..800].iter().for_each(|key| assert!(table.insert(key, b""))));
    let (applied, inserted) = keys[800..].split_at(400);
    let [in_groups, _] = cost_of_batches(&table, applied, 16);
    let batch: Vec<_> = inserted.iter().map(|key| (key, b"")).collect();
    let [_, at_once, _] = cost(400, || assert_eq!(table.insert_batch(&batch), Ok(400)));
    let counted = [one_by_one, in_groups, at_once];
    let is_close = |(is, was): (usize, usize)| is.abs_diff(was) <= was / 100;
    assert!(counted.into_iter().zip([1315, 1221, 1064]).all(is_close), "{counted:?}");
}

/// What was found out for a key is out of date when its block has been split for others of the batch, however often.
#[test]
fn a_batch_into_one_gap_is_not_led_astray() {
    let [few, many] = [400, 6_400].map(|more| {
        let (table, keys) = apart(40_000, more, true);
        cost_of_batches(&table, &keys, keys.len())
    });
    // A lane or so more; a walk from where the block was would grow with the number of keys.
    assert!(many[0] < few[0] * 2 && many[1] < few[1] * 2, "{few:?} {many:?}");
}
