//! The smallest tests of faults that a hostile reading of the crate has found in it. Each failed once.
#![cfg(feature = "alloc")]
#![expect(unsafe_code, reason = "an arena's addresses, and a key type that lies")]

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use memskip::{
    Arena, Builder, ChunkArena, ChunkSizes, Comparator, CounterClock, FixedArena, Global, Key, Memtable, SeqClock,
    SeqNo, UNIT, WriteBatch,
};

thread_local! {
    /// What runs once in the middle of an operation of this thread.
    static HOOK: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    /// After how many comparisons with a key that begins like this it runs.
    static FUSE: Cell<Option<(u8, usize)>> = const { Cell::new(None) };
}

fn arm(hook: impl FnOnce() + 'static) {
    HOOK.set(Some(Box::new(hook)));
}

fn fire() {
    let hook = HOOK.with_borrow_mut(Option::take);
    if let Some(hook) = hook {
        hook();
    }
}

fn disarm() {
    FUSE.set(None);
    HOOK.set(None);
}

/// Runs the hook when it is asked for a number.
#[derive(Clone, Default)]
struct HookedClock(Arc<AtomicU64>);

impl SeqClock for HookedClock {
    fn stamp(&self) -> SeqNo {
        fire();
        SeqNo(self.0.load(SeqCst) + 1)
    }
    fn snapshot(&self) -> SeqNo {
        SeqNo(self.0.fetch_add(1, SeqCst) + 1)
    }
    fn observe(&self, seq: SeqNo) {
        self.0.fetch_max(seq.0.saturating_sub(1), SeqCst);
    }
}

/// Runs the hook when the fuse has burnt down.
#[derive(Clone, Default)]
struct HookedOrder;

impl Comparator<[u8]> for HookedOrder {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        match FUSE.get() {
            Some((first, 0)) if b.first() == Some(&first) => {
                FUSE.set(None);
                fire();
            }
            Some((first, left)) if b.first() == Some(&first) => FUSE.set(Some((first, left - 1))),
            _ => {}
        }
        a.cmp(b)
    }
}

/// The offset of a block of nearly a chunk does not spill into the chunk's number.
#[test]
fn a_first_entry_of_nearly_a_chunk() {
    let arena = ChunkArena::with_chunks(ChunkSizes { first: 8 << 20, largest: 8 << 20 }, Global);
    let mut blocks: Vec<(usize, usize)> = [8 << 20, (8 << 20) - 8, (8 << 20) - 16, 2 << 20, 64, 64, 64]
        .into_iter()
        .map(|size| {
            let handle = arena.allocate(0, size, UNIT).expect("there is memory");
            // SAFETY: just allocated.
            (unsafe { arena.resolve(handle) }.as_ptr() as usize, size)
        })
        .collect();
    blocks.sort_unstable();
    assert!(blocks.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));

    let table = Memtable::<[u8]>::builder().shards(1).first_chunk(8 << 20).build();
    table.put(b"large", &vec![1; (8 << 20) - 33]).expect("there is memory");
    let mut model = BTreeMap::new();
    for i in 0..100_u8 {
        let value = vec![i; usize::from(i) * 3];
        table.put(&[i], &value).expect("there is memory");
        model.insert([i], value);
    }
    assert_eq!(table.validate(), Ok(()));
    assert!(model.iter().all(|(key, value)| table.get_live(key) == Some(&value[..])));
}

/// Entries of a size between a quarter of the first chunk and of the largest share chunks, which are few and filled.
#[test]
fn entries_of_some_kilobytes_share_chunks() {
    for (first, len, count) in [(16 << 10, 9 << 10, 5000_u32), (0, 100, 50_000), (64, 100, 50_000)] {
        let table = Memtable::<[u8]>::builder().shards(1).first_chunk(first).build();
        let value = vec![0; len];
        for i in 0..count {
            assert!(table.insert(&i.to_be_bytes(), &value), "entry {i} of {len} bytes, first chunk {first}");
        }
        assert!(table.memory_reserved() < 3 * table.memory_usage(), "{:?}", table.stats());
    }
}

/// A request of nothing, and one of an alignment that nobody has, get an answer.
#[test]
fn odd_requests_of_an_arena() {
    let arena = ChunkArena::with_chunks(ChunkSizes { first: 200, largest: 200 }, Global);
    arena.allocate(0, 40, UNIT).expect("there is memory");
    assert!(arena.allocate(0, 0, 16).is_ok());
    assert!(arena.allocate(0, 8, 1 << 20).is_err());
}

thread_local! {
    /// How many more times a `Growing` key is short.
    static SHORT: Cell<usize> = const { Cell::new(0) };
}

/// A key that is short when it is measured and long when it is copied.
#[repr(transparent)]
struct Growing([u8]);

impl Growing {
    fn new(bytes: &[u8]) -> &Self {
        // SAFETY: `repr(transparent)` over `[u8]`.
        unsafe { &*(std::ptr::from_ref(bytes) as *const Self) }
    }
}

impl Key for Growing {
    fn as_bytes(&self) -> &[u8] {
        let left = SHORT.get();
        SHORT.set(left.saturating_sub(1));
        if left == 0 { &self.0 } else { &self.0[..1] }
    }
    unsafe fn from_bytes(bytes: &[u8]) -> &Self {
        Self::new(bytes)
    }
}

struct GrowingOrder;

impl Comparator<Growing> for GrowingOrder {
    fn compare(&self, a: &Growing, b: &Growing) -> Ordering {
        a.0.cmp(&b.0)
    }
}

/// What was measured is what is copied.
#[test]
fn a_key_that_grows_between_two_looks() {
    for short in 1..8 {
        let mut buffer = vec![std::mem::MaybeUninit::uninit(); 4096];
        let builder = Builder::with_arena(FixedArena::new(&mut buffer)).keys::<Growing>().comparator(GrowingOrder);
        let table = builder.max_height::<1>().build();
        SHORT.set(short);
        table.insert(Growing::new(&[7; 200]), b"");
        SHORT.set(0);
        let stored = table.first_key().map_or(0, |key| key.0.len());
        assert!(table.memory_usage() >= stored, "{stored} bytes of key in {} of memory", table.memory_usage());
    }
}

/// A clock that panics under a batch leaves its versions to be counted by the batch alone, whatever slips in below later.
#[test]
fn figures_after_a_clock_has_panicked_in_a_batch() {
    for fuse in 0..10 {
        let clock = HookedClock(Arc::new(AtomicU64::new(100)));
        let table = Rc::new(Memtable::<[u8]>::builder().comparator(HookedOrder).clock(clock).build());
        let batch = |writes: &[(&[u8], &[u8])]| {
            let mut batch = WriteBatch::new();
            for (key, value) in writes {
                batch.put(key, value);
            }
            batch
        };
        arm(|| panic!("clock"));
        assert!(catch_unwind(AssertUnwindSafe(|| table.apply(&batch(&[(b"k", b"1")])))).is_err());
        assert_eq!(table.validate(), Ok(()));
        table.put(b"z", b"").expect("there is room");
        FUSE.set(Some((b'z', fuse)));
        let past = Rc::clone(&table);
        arm(move || past.put_at(b"k", b"0", SeqNo(1)).expect("there is room"));
        table.apply(&batch(&[(b"k", b"2"), (b"z", b"2")])).expect("there is room");
        disarm();
        assert_eq!((table.validate(), table.len()), (Ok(()), 2), "fuse {fuse}");
    }
}

/// A version whose clock or whose lanes' comparator panicked is within `min_seq..=max_seq`.
#[test]
fn the_greatest_number_is_known_after_a_panic() {
    let table = Memtable::<[u8]>::builder().comparator(HookedOrder).clock(HookedClock::default()).build();
    for i in 0..100 {
        table.put(&[b'a', i], b"").expect("there is room");
    }
    for fuse in 0..40 {
        table.snapshot();
        let key = [b'b', fuse as u8];
        FUSE.set(Some((b'b', fuse)));
        arm(|| panic!("comparator or clock"));
        let _ = catch_unwind(AssertUnwindSafe(|| table.put(&key, b"")));
        disarm();
        if let Some(entry) = table.entry(&key) {
            assert!(table.max_seq() >= Some(entry.seq), "fuse {fuse}");
        }
        assert_eq!(table.validate(), Ok(()), "fuse {fuse}");
    }
}

/// Tombstones by `delete` use up room for entries, as far as there is any; writes that panic do not.
#[test]
fn room_for_entries_is_neither_lost_nor_made() {
    let table = Memtable::with_capacity_and_shards(4096, 1, 0, 100);
    for i in 0..50 {
        assert!(table.insert(&[i], b"") && table.delete(&[i]));
    }
    assert!(!table.insert(b"one more", b""));
    assert_eq!(table.version_count(), 100);

    let table = Memtable::<[u8]>::builder().comparator(HookedOrder).max_entries(100).build();
    table.insert(b"a", b"");
    for _ in 0..200 {
        FUSE.set(Some((b'b', 0)));
        arm(|| panic!("comparator"));
        assert!(catch_unwind(AssertUnwindSafe(|| table.put(b"b", b""))).is_err());
    }
    disarm();
    assert_eq!(table.put(b"c", b"").map(drop), Ok(()));
}

/// A threshold of bytes holds for one writer, lanes and batches included.
#[test]
fn one_writer_does_not_pass_the_threshold_of_bytes() {
    for limit in [10_000, 100_000, 4 << 20] {
        let single = Memtable::with_capacity_and_shards(4096, 1, limit, 0);
        let batches = Memtable::with_capacity_and_shards(4096, 1, limit, 0);
        let scattered = |i: u32| i.wrapping_mul(0x9E37_79B1).to_be_bytes();
        assert!((0..1 << 20).any(|i| single.put(&scattered(i), b"value").is_err()));
        assert!((0..1 << 20).step_by(10).any(|i| {
            let mut batch = WriteBatch::new();
            (i..i + 10).for_each(|i| batch.put(&scattered(i), b"12"));
            batches.apply(&batch).is_err()
        }));
        for table in [&single, &batches] {
            let used = table.memory_usage();
            assert!(used <= limit && used + used / 8 + 1024 > limit, "{used} of {limit}");
        }
    }
}

/// The numbers of a fresh table are above those of the one it takes over from.
#[test]
fn a_fresh_table_uses_no_number_again() {
    let table = Memtable::new();
    let old = table.put(b"k", b"old").expect("there is room");
    let (frozen, fresh) = table.seal().expect("a fresh table");
    assert!(fresh.put(b"k", b"new").expect("there is room") > old);
    assert!(fresh.min_seq() > frozen.max_seq());
}

/// The largest number a caller may give leaves clocks room above it.
#[test]
fn writes_after_the_largest_number() {
    let table = Memtable::new();
    table.put_at(b"a", b"1", SeqNo::LIMIT).expect("there is room");
    let snapshot = table.snapshot();
    table.put(b"a", b"2").expect("there is room");
    table.put(b"b", b"late").expect("there is room");
    assert_eq!((snapshot.get_live(b"a"), snapshot.get_live(b"b")), (Some(&b"1"[..]), None));
    assert_eq!(table.versions().count(), 3);
}

/// A walk over the versions of one key goes on behind the version it gave last: what is put above that is not given, what is
/// put below is.
#[test]
fn a_walk_over_versions_goes_on_where_it_stood() {
    let table = Memtable::<[u8]>::builder().clock(CounterClock::new()).build();
    for i in (0..100_u64).map(|i| 2 * i + 1) {
        table.put_at(b"hot", &i.to_be_bytes(), SeqNo(i)).expect("there is room");
    }
    let mut walk = table.versions();
    let mut seen: Vec<u64> = walk.by_ref().take(50).map(|entry| entry.seq.0).collect();
    // Above where the walk stands nothing new is given, below it everything is.
    for i in (0..100_u64).map(|i| 2 * i) {
        table.put_at(b"hot", &i.to_be_bytes(), SeqNo(i)).expect("there is room");
    }
    seen.extend(walk.map(|entry| entry.seq.0));
    let expected: Vec<u64> = (50..100).rev().map(|i| 2 * i + 1).chain((0..=100).rev()).collect();
    assert_eq!(seen, expected);
    assert_eq!(table.versions().count(), 200);
}

/// Filling a table again after a reset takes the memory that is there.
#[test]
fn a_table_that_is_reset_does_not_grow() {
    let mut table = Memtable::with_shards(2);
    let fill = |table: &Memtable| {
        std::thread::scope(|scope| {
            for thread in 0..2_u32 {
                scope.spawn(move || {
                    for i in 0..3000 {
                        assert!(table.insert(&(i * 2 + thread).to_be_bytes(), &[0; 100]));
                    }
                });
            }
        });
    };
    fill(&table);
    let reserved = table.memory_reserved();
    for _ in 0..20 {
        table.reset();
        fill(&table);
    }
    assert!(table.memory_reserved() <= 2 * reserved, "{} after {reserved}", table.memory_reserved());
}
