//! What the integration tests share: scaling, a generator, two comparators of an engine's own, and the naive model
//! every answer is held against.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part of this module")]

use memskip::{Comparator, Entry};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Whether loops are to be short: under sanitizers, emulators and other slow places (`MEMSKIP_LIGHT=1`).
pub fn light() -> bool {
    std::env::var_os("MEMSKIP_LIGHT").is_some_and(|value| value == "1")
}

/// `n` rounds, or a tenth of them when [`light`].
pub fn scaled(n: usize) -> usize {
    if light() { n.div_ceil(10) } else { n }
}

/// Fails with the invariant that `validate` found broken.
#[allow(unused_macros, reason = "not every test crate needs it")]
macro_rules! assert_valid {
    ($table:expr) => {
        if let Err(broken) = $table.validate() {
            panic!("validate: {broken:?}");
        }
    };
}

/// Methods of `Arena`, by their names, for an arena around another: what `self.0` does.
#[allow(unused_macros, reason = "not every test crate needs it")]
macro_rules! as_inner_arena {
    ($($method:ident)*) => { $(as_inner_arena!(@ $method);)* };
    (@ shards) => {
        fn shards(&self) -> &[Shard] {
            self.0.shards()
        }
    };
    (@ allocate) => {
        fn allocate(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
            self.0.allocate(shard, size, align)
        }
    };
    (@ release) => {
        unsafe fn release(&self, shard: usize, handle: Handle, size: usize) -> bool {
            // SAFETY: the same contract.
            unsafe { self.0.release(shard, handle, size) }
        }
    };
    (@ resolve) => {
        unsafe fn resolve(&self, handle: Handle) -> NonNull<u8> {
            // SAFETY: the same contract.
            unsafe { self.0.resolve(handle) }
        }
    };
    (@ contains) => {
        fn contains(&self, handle: Handle, size: usize) -> bool {
            self.0.contains(handle, size)
        }
    };
    (@ used) => {
        fn used(&self) -> usize {
            self.0.used()
        }
    };
    (@ reserved) => {
        fn reserved(&self) -> usize {
            self.0.reserved()
        }
    };
    (@ reset) => {
        fn reset(&mut self) {
            self.0.reset();
        }
    };
}

/// A small repeatable generator (splitmix64).
pub struct Rng(u64);

impl Rng {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.bits() % n as u64).expect("below a usize")
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// The `i`-th of many keys, ascending with `i`.
pub fn key(i: usize) -> Vec<u8> {
    format!("key-{i:08}").into_bytes()
}

/// A counter as a value.
pub fn value(n: u64) -> [u8; 8] {
    n.to_le_bytes()
}

/// The counter in a value.
pub fn counter(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().expect("eight bytes"))
}

/// Counts down to a panic: the call that finds it at zero panics, once. Disarmed, it never does.
#[derive(Debug)]
pub struct Fuse(AtomicUsize);

impl Fuse {
    const OFF: usize = usize::MAX;

    /// One that is not armed.
    pub fn new() -> Self {
        Self(AtomicUsize::new(Self::OFF))
    }

    /// The call after `calls` more ones will panic.
    pub fn arm(&self, calls: usize) {
        self.0.store(calls, Relaxed);
    }

    /// No call will panic; says whether one would still have.
    pub fn disarm(&self) -> bool {
        self.0.swap(Self::OFF, Relaxed) != Self::OFF
    }

    /// One call.
    pub fn burn(&self) {
        match self.0.load(Relaxed) {
            Self::OFF => {}
            0 => {
                self.0.store(Self::OFF, Relaxed);
                panic!("the fuse has burned down");
            }
            left => self.0.store(left - 1, Relaxed),
        }
    }
}

/// An entry, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// Its sequence number.
    pub seq: u64,
    /// Its kind: 0 is a value, 1 a tombstone.
    pub kind: u8,
    /// The value.
    pub value: Vec<u8>,
}

/// Copies an entry out; its tombstone flag must agree with its kind.
pub fn row(entry: Entry<'_>) -> Row {
    assert_eq!(entry.is_tombstone, entry.kind() == memskip::Kind::TOMBSTONE);
    Row { key: entry.key.to_vec(), seq: entry.seq.0, kind: entry.kind().0, value: entry.value.to_vec() }
}

/// Copies entries out.
pub fn rows<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<Row> {
    entries.map(row).collect()
}

/// The same, last first.
pub fn reversed(mut rows: Vec<Row>) -> Vec<Row> {
    rows.reverse();
    rows
}

/// The orders keys are tested under, written as plainly as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Byte by byte.
    Bytewise,
    /// The opposite.
    Reverse,
    /// ASCII upper and lower case are the same.
    Folded,
    /// The opposite of that.
    ReverseFolded,
    /// Short keys first, then byte by byte.
    LengthFirst,
}

impl Order {
    /// How `a` and `b` compare.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Self::Bytewise => a.cmp(b),
            Self::Reverse => b.cmp(a),
            Self::Folded => a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()),
            Self::ReverseFolded => b.to_ascii_lowercase().cmp(&a.to_ascii_lowercase()),
            Self::LengthFirst => (a.len(), a).cmp(&(b.len(), b)),
        }
    }

    /// The spelling under which equal keys are the same bytes.
    pub fn fold(self, key: &[u8]) -> Vec<u8> {
        match self {
            Self::Folded | Self::ReverseFolded => key.to_ascii_lowercase(),
            Self::Bytewise | Self::Reverse | Self::LengthFirst => key.to_vec(),
        }
    }
}

/// An engine's case-insensitive order: it folds before it compares, and so it does before it hints.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaseInsensitive;

impl Comparator<[u8]> for CaseInsensitive {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        let rest = key.get(skip..).unwrap_or(&[]);
        let bytes = rest.iter().map(u8::to_ascii_lowercase).chain(std::iter::repeat(0));
        bytes.take(size_of::<usize>()).fold(0, |hint, byte| hint << 8 | usize::from(byte))
    }

    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        a.iter().zip(b).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    }
}

/// An engine's order by length, then bytes. Its hint is the length; there are no leading units to share.
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthFirst;

impl Comparator<[u8]> for LengthFirst {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }

    fn hint(&self, key: &[u8], _skip: usize) -> usize {
        key.len()
    }
}

/// A key as the model sorts it.
#[derive(Clone, Debug)]
struct Sorted(Order, Vec<u8>);

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compare(&self.1, &other.1)
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sorted {}

/// The specification of a memtable: a sorted map from (key ascending, sequence number descending) to a version.
#[derive(Clone, Debug)]
pub struct Model {
    order: Order,
    versions: BTreeMap<(Sorted, Reverse<u64>), (u8, Vec<u8>)>,
    /// How many versions were written, those that share a number with a newer one included.
    pub stored: usize,
}

impl Default for Model {
    fn default() -> Self {
        Self::new(Order::Bytewise)
    }
}

impl Model {
    /// An empty one, sorted by `order`.
    pub fn new(order: Order) -> Self {
        Self { order, versions: BTreeMap::new(), stored: 0 }
    }

    /// A version is written; one of the same key and number gives way to it.
    pub fn write(&mut self, key: &[u8], seq: u64, kind: u8, value: &[u8]) {
        let at = (Sorted(self.order, self.order.fold(key)), Reverse(seq));
        self.versions.insert(at, (kind, value.to_vec()));
        self.stored += 1;
    }

    /// Every version, in flush order.
    pub fn all(&self) -> Vec<Row> {
        let rows = self.versions.iter().map(|((key, Reverse(seq)), (kind, value))| Row {
            key: key.1.clone(),
            seq: *seq,
            kind: *kind,
            value: value.clone(),
        });
        rows.collect()
    }

    /// The newest version of each key with a number up to `seq`.
    pub fn at(&self, seq: u64) -> Vec<Row> {
        let mut rows = self.all();
        rows.retain(|row| row.seq <= seq);
        rows.dedup_by(|later, kept| self.order.compare(&later.key, &kept.key).is_eq());
        rows
    }

    /// The newest version of each key.
    pub fn newest(&self) -> Vec<Row> {
        self.at(u64::MAX)
    }

    /// The newest version of `key` with a number up to `seq`.
    pub fn get_at(&self, key: &[u8], seq: u64) -> Option<Row> {
        let from = (Sorted(self.order, key.to_vec()), Reverse(seq));
        let ((found, seq), version) = self.versions.range(from..).next()?;
        let same = self.order.compare(&found.1, key).is_eq();
        same.then(|| Row { key: found.1.clone(), seq: seq.0, kind: version.0, value: version.1.clone() })
    }

    /// The newest version of `key`.
    pub fn get(&self, key: &[u8]) -> Option<Row> {
        self.get_at(key, u64::MAX)
    }

    /// Whether the newest version of `key` is not a tombstone.
    pub fn is_live(&self, key: &[u8]) -> bool {
        self.get(key).is_some_and(|row| row.kind != 1)
    }

    /// How many keys are live, and how many are tombstones.
    pub fn counts(&self) -> (usize, usize) {
        let (mut live, mut dead, mut last) = (0, 0, None);
        for ((key, _), (kind, _)) in &self.versions {
            if last != Some(key) {
                *(if *kind == 1 { &mut dead } else { &mut live }) += 1;
            }
            last = Some(key);
        }
        (live, dead)
    }

    /// Those of `rows` that lie between the bounds.
    pub fn within(&self, rows: Vec<Row>, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Vec<Row> {
        let above = |key: &[u8]| match low {
            Bound::Included(low) => self.order.compare(key, low).is_ge(),
            Bound::Excluded(low) => self.order.compare(key, low).is_gt(),
            Bound::Unbounded => true,
        };
        let below = |key: &[u8]| match high {
            Bound::Included(high) => self.order.compare(key, high).is_le(),
            Bound::Excluded(high) => self.order.compare(key, high).is_lt(),
            Bound::Unbounded => true,
        };
        rows.into_iter().filter(|row| above(&row.key) && below(&row.key)).collect()
    }

    /// Everything is gone.
    pub fn clear(&mut self) {
        self.versions.clear();
        self.stored = 0;
    }
}
