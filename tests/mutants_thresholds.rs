//! Thresholds that several shards share: what one has been promised and has not used counts, and comes back when it is needed.
#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(unsafe_code, reason = "an arena is an unsafe trait")]

#[macro_use]
mod common;

use common::key;
use memskip::{
    Arena, ChunkArena, Comparator, Handle, InsertError, Kind, LaneDensity, Memtable, OutOfMemory, SeqClock, SeqNo,
    Shard, UNIT,
};
use std::cell::Cell;
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

fn shard() -> usize {
    SHARD.get()
}

/// Keys in turn, through one shard, until one is refused or `enough` says so.
fn fill<A: Arena>(
    table: &Memtable<[u8], memskip::Bytewise, A>,
    through: usize,
    enough: impl Fn() -> bool,
) -> Result<(), InsertError> {
    SHARD.set(through);
    while !enough() {
        table.put(&key(table.len()), b"some value")?;
    }
    Ok(())
}

/// The last entry is let in whichever shard it comes through, and no more.
#[test]
fn entries_promised_to_an_idle_shard_are_not_lost() {
    for max in [1, 10, 100, 1000] {
        let builder = Memtable::<[u8]>::builder().selector(shard as fn() -> usize).shards(3);
        let table = builder.max_entries(max).build();
        for through in [0, 1, 2] {
            let before = table.len();
            _ = fill(&table, through, || table.len() > before);
        }
        assert_eq!(fill(&table, 1, || false), Err(InsertError::ThresholdReached));
        assert_eq!(table.version_count(), max);
        assert_eq!(fill(&table, 2, || false), Err(InsertError::ThresholdReached));
        assert_valid!(table);
    }
}

/// What is promised to one shard is not given to another as well.
#[test]
fn bytes_promised_to_an_idle_shard_are_kept_for_it() {
    let max = 100_000;
    let builder = Memtable::<[u8]>::builder().selector(shard as fn() -> usize).shards(2);
    let table = builder.lane_density(LaneDensity::Never).max_memory_bytes(max).build();
    assert_eq!(fill(&table, 0, || !table.is_empty()), Ok(()));
    _ = fill(&table, 1, || table.memory_usage() > max - 1000);
    assert!(table.memory_usage() > max * 3 / 4, "{}", table.memory_usage());
    assert_eq!(fill(&table, 0, || false), Err(InsertError::ThresholdReached));
    assert!(table.memory_usage() <= max, "{}", table.memory_usage());
    assert_valid!(table);
}

/// Counts how often it is asked what is used.
struct Asked<'a>(ChunkArena, &'a AtomicUsize);

// SAFETY: everything is the inner arena's.
unsafe impl Arena for Asked<'_> {
    as_inner_arena!(shards allocate resolve reserved reset);

    fn used(&self) -> usize {
        self.1.fetch_add(1, Relaxed);
        self.0.used()
    }
}

/// A shard has credit; a write does not add up all figures.
#[test]
fn most_writes_do_not_ask_what_is_used() {
    let asked = AtomicUsize::new(0);
    let builder = Memtable::<[u8]>::builder().arena(Asked(ChunkArena::new(), &asked)).max_memory_bytes(1 << 20);
    let table = builder.lane_density(LaneDensity::Never).build();
    while table.put(b"the key", b"some value").is_ok() {}
    let versions = table.version_count();
    assert!(versions > 20_000 && asked.load(Relaxed) < 200, "{versions} {}", asked.load(Relaxed));
}

/// Lanes take nothing that would bring the table above its threshold, and what they would take without one below it.
#[test]
fn lanes_keep_to_the_threshold() {
    let build = |max: usize| Memtable::<[u8]>::builder().arena(ChunkArena::new()).max_memory_bytes(max).build();
    for max in (512..8192).step_by(UNIT) {
        let table = build(max);
        while table.put(&key(table.len()), b"some value").is_ok() {}
        assert!(table.memory_usage() <= max, "{} of {max}", table.memory_usage());
    }
    let (bound, free) = (build(1 << 20), build(0));
    let ten = |table: &Memtable<[u8], memskip::Bytewise, ChunkArena>| {
        for i in 0..10 {
            assert!(table.insert(&key(i), b""));
        }
        table.memory_usage()
    };
    assert_eq!(ten(&bound), ten(&free));
    let small = build(4096);
    assert_eq!(ten(&small), ten(&build(0)));
}

/// Panics whenever it is asked for a number.
struct Burning;

impl SeqClock for Burning {
    fn stamp(&self) -> SeqNo {
        std::panic::resume_unwind(Box::new(()))
    }
    fn snapshot(&self) -> SeqNo {
        SeqNo(5)
    }
}

/// Panics when it meets "burn".
struct Picky;

impl Comparator<[u8]> for Picky {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if a == b"burn" || b == b"burn" {
            std::panic::resume_unwind(Box::new(()));
        }
        a.cmp(b)
    }
}

/// A write that panics has spent its entry if it is in, and else gives it back.
#[test]
fn entries_of_writes_that_panic() {
    let table = Memtable::<[u8]>::builder().clock(Burning).comparator(Picky).shards(1).max_entries(10).build();
    let panics = |write: &dyn Fn() -> bool| catch_unwind(AssertUnwindSafe(write)).is_err();
    assert!(panics(&|| table.insert(b"first", b"")), "is in, without a number");
    assert!((0..30).all(|_| panics(&|| table.insert(b"burn", b""))));
    let batch = |keys: [&[u8]; 3]| table.apply_slice(&keys.map(|key| (key, &b""[..], Kind::VALUE))).is_ok();
    assert!((0..30).all(|_| panics(&|| batch([b"x", b"y", b"burn"]))));
    assert_eq!(table.version_count(), 1);
    assert!(panics(&|| batch([b"a", b"b", b"c"])), "is in, too");
    for i in 0..30 {
        assert_eq!(panics(&|| table.insert(&[i], b"")), i < 6, "the rest is refused");
    }
    assert!(!panics(&|| batch([b"d", b"e", b"f"])));
    assert_eq!(table.version_count(), 10);
}
