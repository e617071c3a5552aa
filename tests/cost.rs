//! What operations cost, counted and not timed: how often they look at a key, to compare it or for what it shares with another,
//! by a comparator that counts. That is the same in every run, so a bound that is passed is a change in the code.
//!
//! With hints an operation looks at a few keys, whatever the size of the table; the small part that grows with it comes from keys
//! that tie. Bounds are what was measured and a third more.
#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use common::Rng;
use memskip::{Bytewise, Comparator, LaneDensity, Memtable};
use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Operations that are counted together, at most.
const TIMES: usize = 1_000;
/// Keys of one `get_many`.
const MANY: usize = 16;

/// How much a comparator says about a key besides its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hints {
    Full,
    /// All keys look alike.
    None,
}

/// Counts at how many keys a table looks.
#[derive(Clone, Debug)]
struct Counting {
    compared: Arc<AtomicUsize>,
    hints: Hints,
}

impl Counting {
    fn new(hints: Hints) -> Self {
        Self { compared: Arc::default(), hints }
    }

    /// Looks at keys, for each of `times` operations.
    fn each(&self, times: usize, act: impl FnOnce()) -> f64 {
        self.compared.store(0, Relaxed);
        act();
        self.compared.load(Relaxed) as f64 / times as f64
    }
}

impl Comparator<[u8]> for Counting {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.compared.fetch_add(1, Relaxed);
        a.cmp(b)
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        if self.hints == Hints::Full { Bytewise.hint(key, skip) } else { 0 }
    }

    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        if self.hints == Hints::Full { Bytewise.wide_hint(key, skip) } else { [0; 2] }
    }

    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        self.compared.fetch_add(1, Relaxed);
        if self.hints == Hints::Full { Bytewise.common_prefix(a, b) } else { 0 }
    }
}

/// What keys look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// 16 random bytes.
    Random,
    /// 19 digits behind a prefix of 40 bytes.
    LongPrefix,
    /// Random UUIDs as text.
    Uuid,
    /// Tenant, table, row: tenants and tables in random order, rows ascending within.
    ThreeParts,
    /// 1 to 40 bytes, many the beginning of others, under several prefixes.
    Mixed,
}

const SHAPES: [Shape; 5] = [Shape::Random, Shape::LongPrefix, Shape::Uuid, Shape::ThreeParts, Shape::Mixed];

impl Shape {
    /// Keys in random order, all different.
    fn keys(self, count: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut ordinals: Vec<u64> = (1..=count as u64).collect();
        rng.shuffle(&mut ordinals);
        ordinals.into_iter().map(|ordinal| self.key(ordinal, rng)).collect()
    }

    fn key(self, ordinal: u64, rng: &mut Rng) -> Vec<u8> {
        let random = rng.bits();
        match self {
            Self::Random => [random.to_be_bytes(), ordinal.to_be_bytes()].concat(),
            Self::LongPrefix => {
                format!("/database/production/schema/public/user:{:019}", ordinal * 1000 + random % 1000).into_bytes()
            }
            Self::Uuid => {
                let (high, low) = (random >> 16, random & 0xFFFF);
                format!(
                    "{:08x}-{:04x}-4{:03x}-8{:03x}-{ordinal:012x}",
                    high >> 16,
                    high & 0xFFFF,
                    low >> 4,
                    low & 0xFFF
                )
                .into_bytes()
            }
            Self::ThreeParts => {
                let (tenant, table) = (random % 50, (random >> 32) % 20);
                format!("tenant/{tenant:04}/table/{table:03}/row/{:012}", ordinal * 400 + random % 400).into_bytes()
            }
            Self::Mixed => match ordinal % 4 {
                0 => [b"#", &ordinal.to_be_bytes()[ordinal.leading_zeros() as usize / 8..]].concat(),
                1 => format!("idx/{random:x}/{ordinal}").into_bytes(),
                2 => format!("meta/settings/{ordinal}/").into_bytes(),
                _ => format!("meta/settings/{}/profile/{:010}", random % 500, ordinal * 5).into_bytes(),
            },
        }
    }
}

/// Looks at keys, per operation.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    hit: f64,
    miss: f64,
    insert: f64,
    ascending: f64,
    descending: f64,
    seek: f64,
    step: f64,
    step_back: f64,
    many: f64,
}

type Table = Memtable<[u8], Counting>;

fn empty(counting: &Counting, density: LaneDensity) -> Table {
    Memtable::<[u8]>::builder().comparator(counting.clone()).lane_density(density).shards(1).build()
}

/// Counts every operation on tables of `n` keys.
fn count(shape: Shape, n: usize, hints: Hints, density: LaneDensity) -> Costs {
    let counting = Counting::new(hints);
    let mut rng = Rng::new(n as u64);
    let few = TIMES.min(n / 4);
    let keys = shape.keys(n + few, &mut rng);
    let (fill, absent) = keys.split_at(n);
    let mut sorted = fill.to_vec();
    sorted.sort();

    let fresh = || empty(&counting, density);
    let insert = |table: &Table, key: &[u8]| assert!(table.insert(key, b""));
    let mut costs = Costs::default();

    // In order, either way: the whole load counts. Not where tables of this size are slow to fill.
    if n <= 10_000 || !cfg!(debug_assertions) {
        let table = fresh();
        costs.ascending = counting.each(n, || sorted.iter().for_each(|key| insert(&table, key)));
        let table = fresh();
        costs.descending = counting.each(n, || sorted.iter().rev().for_each(|key| insert(&table, key)));
    }

    let table = fresh();
    fill[..n - few].iter().for_each(|key| insert(&table, key));
    costs.insert = counting.each(few, || fill[n - few..].iter().for_each(|key| insert(&table, key)));
    let wanted: Vec<&Vec<u8>> = (0..TIMES).map(|_| &fill[rng.below(n)]).collect();
    costs.hit = counting.each(TIMES, || wanted.iter().for_each(|key| assert!(table.contains_key(key))));
    costs.miss = counting.each(few, || absent.iter().for_each(|key| assert!(!table.contains_key(key))));
    let mut cursor = table.cursor();
    costs.seek = counting.each(few, || absent.iter().for_each(|key| _ = cursor.seek(key)));
    costs.step = counting.each(n, || assert_eq!(table.iter().count(), n));
    costs.step_back = counting.each(n, || assert_eq!(table.iter().rev().count(), n));
    costs.many = counting.each(TIMES, || {
        for wanted in wanted.chunks(MANY) {
            let mut values = [None; MANY];
            table.get_many_into(wanted, &mut values[..wanted.len()]);
            assert!(values[..wanted.len()].iter().all(Option::is_some));
        }
    });
    costs
}

impl Costs {
    const NAMES: [&str; 9] =
        ["hit", "miss", "insert", "ascending", "descending", "seek", "step", "step back", "get_many"];

    const fn all(self) -> [f64; 9] {
        let Self { hit, miss, insert, ascending, descending, seek, step, step_back, many } = self;
        [hit, miss, insert, ascending, descending, seek, step, step_back, many]
    }

    /// The operations that cost more than they may.
    fn beyond(self, most: [Bound; 9], n: usize) -> Vec<String> {
        let names = Self::NAMES.into_iter().zip(self.all()).zip(most);
        let beyond = names.filter(|((_, cost), most)| *cost > most.at(n));
        beyond.map(|((name, cost), most)| format!("{name}: {cost:.2} > {:.2}", most.at(n))).collect()
    }
}

/// A bound: so much at a thousand entries, and so much more for each time as many.
#[derive(Clone, Copy, Debug)]
struct Bound(f64, f64);

impl Bound {
    fn at(self, n: usize) -> f64 {
        self.0 + self.1 * (n as f64 / 1000.0).log10()
    }
}

/// What operations may cost, in the order of [`Costs::NAMES`].
///
/// `ascending`: a key that goes behind the last node takes one comparison; the rest are splits of blocks. `miss`: that a key is between
/// two neighbours is proven by their hints, if it begins like one of them. `insert`: the same, and splits; where in a lane block the
/// node belongs is told by handles.
fn bounds(shape: Shape) -> [Bound; 9] {
    let flat = |most: f64| Bound(most, 0.0);
    let [hit, miss, insert, descending] = match shape {
        Shape::Random => [flat(1.3), flat(1.5), flat(2.2), flat(1.8)],
        Shape::Uuid => [flat(1.3), flat(1.5), flat(2.2), Bound(1.8, 1.2)],
        Shape::LongPrefix => [flat(3.5), flat(3.6), flat(4.5), Bound(10.2, 2.0)],
        Shape::ThreeParts => [flat(5.9), flat(7.7), flat(9.0), Bound(10.2, 2.0)],
        Shape::Mixed => [flat(2.2), flat(2.7), flat(3.4), Bound(7.3, 0.9)],
    };
    let (ascending, step_back) = (flat(1.8), flat(0.05));
    [hit, miss, insert, ascending, descending, miss, flat(0.02), step_back, Bound(hit.0 * 1.1, hit.1)]
}

/// The most entries of a table of a shape: a debug build fills only one large table. (All shapes keep their bounds at a million.)
fn largest(shape: Shape) -> usize {
    match (cfg!(debug_assertions), shape) {
        _ if common::light() => 1_000,
        (true, Shape::ThreeParts) => 100_000,
        (true, _) => 10_000,
        (false, Shape::Random | Shape::ThreeParts) => 1_000_000,
        (false, _) => 100_000,
    }
}

/// A thousand to a million entries.
#[test]
fn operations_compare_a_few_keys_whatever_the_size() {
    for shape in SHAPES {
        for n in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|n| *n <= largest(shape)) {
            let costs = count(shape, n, Hints::Full, LaneDensity::Every);
            let beyond = costs.beyond(bounds(shape), n);
            assert!(beyond.is_empty(), "{shape:?}, {n} keys: {beyond:?} of {costs:.2?}");
        }
    }
}

/// The bounds see what they are for: without hints, or without lanes, every search is beyond them.
#[test]
fn what_should_cost_more_is_beyond_the_bounds() {
    for (hints, density) in [(Hints::None, LaneDensity::Every), (Hints::Full, LaneDensity::Never)] {
        for shape in SHAPES {
            let n = 1_000;
            let beyond = count(shape, n, hints, density).beyond(bounds(shape), n);
            for name in ["hit", "miss", "seek", "get_many"] {
                let is_beyond = beyond.iter().any(|line| line.starts_with(name));
                assert!(is_beyond, "{shape:?}, hints {hints:?}, lanes {density:?}: {name} is not in {beyond:?}");
            }
        }
    }
}

thread_local! {
    /// The lowest address of the stack that a comparison has seen.
    static LOWEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Bytewise; notes how deep in the stack it is asked.
struct Sounding;

impl Sounding {
    fn sound() {
        let here = 0_u8;
        let here = core::ptr::from_ref(core::hint::black_box(&here)).addr();
        LOWEST.set(LOWEST.get().min(here));
    }
}

impl Comparator<[u8]> for Sounding {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        Self::sound();
        Bytewise.compare(a, b)
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        Self::sound();
        Bytewise.hint(key, skip)
    }

    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        Self::sound();
        Bytewise.common_prefix(a, b)
    }
}

/// A cursor that turns finds its place in the block that it is in, and searches where that ends; where walks go along links (sparse
/// lanes, large tables) each turn is a search.
#[test]
fn a_cursor_that_turns_seldom_searches() {
    const TURNS: usize = 2_000;
    for (density, count, most) in
        [(LaneDensity::Every, 2 * TURNS, 0.2), (LaneDensity::Every, 40_000, 3.5), (LaneDensity::Sparse, 2 * TURNS, 3.5)]
    {
        let counting = Counting::new(Hints::Full);
        let table = empty(&counting, density);
        let mut keys = Shape::Random.keys(count, &mut Rng::new(5));
        assert!(keys.iter().all(|key| table.insert(key, b"")));
        keys.sort();
        let mut cursor = table.cursor();
        let cost = counting.each(TURNS, || {
            for pair in keys.windows(2).take(TURNS) {
                let [one, other] = pair else { unreachable!("two keys") };
                assert_eq!(cursor.next_entry().map(|entry| entry.key), Some(&one[..]));
                assert_eq!(cursor.next_entry().map(|entry| entry.key), Some(&other[..]));
                assert_eq!(cursor.prev_entry().map(|entry| entry.key), Some(&other[..]));
            }
        });
        assert!(cost <= most, "{density:?} {count}: {cost} comparisons a turn");
    }
}

/// A write that splits blocks in all lanes needs no more stack than one that splits one in the lowest.
#[test]
fn the_stack_of_a_write_does_not_grow_with_the_table() {
    if common::light() {
        // A sanitizer may keep locals elsewhere.
        return;
    }
    let table = Memtable::<[u8]>::builder().comparator(Sounding).build();
    // Descending: splits meet in several lanes at once. The first hundreds split blocks in two lanes, of which each has code of its own.
    let fill = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            assert!(table.insert(&(u32::MAX - number).to_be_bytes(), b""));
        }
        LOWEST.get()
    };
    let (few, many) = (fill(0..500), fill(500..20_000));
    assert!(many + 64 > few, "{} bytes more", few - many);
}
