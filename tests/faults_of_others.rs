//! Faults that other memtables have, or had, each with a test named after it. Some have theirs where the setting is:
//! a table rebuilt at its address under live threads in `concurrent_races`, a snapshot counted around a writer's end in
//! `concurrent`, both ends of an iterator meeting in `boundaries`, the end of the arena byte by byte in
//! `hostile_memory`, flipped bytes in `flipped_bytes`; a position used with another table does not compile.
#![cfg(feature = "std")]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]

#[macro_use]
mod common;

use common::{CaseInsensitive, LengthFirst, Order, Rng, counter, key, row, rows, scaled, value};
use memskip::{
    Bytewise, ChunkArena, ChunkSizes, CommonPrefix, Comparator, FixedArena, InsertError, LaneDensity, Memtable,
    Reverse, WriteBatch,
};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

// ---- Shards and threads ----

/// One thread fills and drops many tables of different shard counts, each at the address of the one before.
#[test]
fn a_shard_cache_keyed_by_address_that_survives_its_table() {
    for round in 0..scaled(200) {
        let mut table = Box::new(<Memtable>::with_shards(1 + round % 5));
        for i in 0..20 {
            assert!(table.insert(&key(i), &key(round)));
        }
        *table = <Memtable>::with_shards(1 + round % 3);
        assert!(table.is_empty() && table.get(&key(0)).is_none());
        assert!(table.insert(&key(0), b"") && table.len() == 1);
        assert_valid!(table);
    }
}

/// Twelve threads at once over one, two and three shards.
#[test]
fn a_panic_when_there_are_more_threads_than_shards() {
    for shards in 1..=3 {
        let table = <Memtable>::with_shards(shards);
        thread::scope(|scope| {
            for me in 0..12 {
                let table = &table;
                scope.spawn(move || (0..50).for_each(|i| assert!(table.insert(&key(me * 50 + i), b""))));
            }
        });
        assert_eq!(table.len(), 600);
    }
}

/// More threads than shards, one after another, each gone before the next comes.
#[test]
fn more_short_lived_threads_than_shards() {
    let table = <Memtable>::with_shards(2);
    for i in 0..scaled(100) {
        thread::scope(|scope| scope.spawn(|| assert!(table.insert(&key(i), b""))).join().unwrap());
    }
    assert_eq!(table.len(), scaled(100));
    assert_valid!(table);
}

// ---- Snapshots and versions ----

/// A delete after the snapshot does not reach into it, nor does the value that comes after that.
#[test]
fn a_snapshot_that_changes_when_walked_twice_or_sees_later_deletes() {
    let table = <Memtable>::new();
    for i in 0..30 {
        table.put(&key(i), &value(1)).unwrap();
    }
    let snapshot = table.snapshot();
    let first = rows(snapshot.iter());
    for i in 0..30 {
        assert!(table.delete(&key(i)));
        assert_eq!(rows(snapshot.iter()), first);
        table.put(&key(i), &value(2)).unwrap();
        assert_eq!(snapshot.get(&key(i)), Some((&value(1)[..], false)));
    }
    assert_eq!(rows(snapshot.iter()), first);
}

/// One thread overwrites, another reads: there is always a value.
#[test]
fn an_overwrite_during_which_the_key_reads_as_absent() {
    let table = <Memtable>::new();
    table.put(b"k", &value(0)).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..scaled(20_000) as u64 {
                table.put(b"k", &value(n)).unwrap();
            }
            ended.store(true, Ordering::Release);
        });
        let mut last = 0;
        while !ended.load(Ordering::Acquire) {
            let (now, walked) = (table.get_live(b"k").map(counter), table.iter().next().map(|e| counter(e.value)));
            let (now, walked) = (now.expect("never absent"), walked.expect("never absent"));
            assert!(last <= now && now <= walked, "{last}, then {now}, then {walked}");
            last = walked;
        }
    });
}

/// A key that only an older table has: the tombstone is recorded here and comes out in the flush.
#[test]
fn delete_unable_to_record_a_tombstone_for_a_key_of_an_older_table() {
    let table = <Memtable>::new();
    table.put(b"here", b"1").unwrap();
    let seq = table.put_tombstone(b"older").unwrap();
    let flushed = rows(table.freeze().versions());
    assert_eq!(flushed.len(), 2);
    assert_eq!((&flushed[1].key[..], flushed[1].kind, flushed[1].seq), (&b"older"[..], 1, seq.0));
}

// ---- Memory and figures ----

/// A batch that does not fit is refused whole, whatever its size, and what fits still goes in.
#[test]
fn a_batch_half_applied_when_memory_runs_out() {
    let mut refused = 0;
    for size in (512..8192).step_by(if common::light() { 512 } else { 64 }) {
        let mut buffer = vec![MaybeUninit::uninit(); size];
        let table = Memtable::<[u8], Bytewise, FixedArena<'_>>::new_in(FixedArena::new(&mut buffer));
        let before = usize::from(table.put(b"before", b"1").is_ok());
        let mut batch = <WriteBatch>::new();
        for i in 0..40 {
            batch.put(&key(i), &[5; 40]);
            batch.delete(&key(100 + i));
        }
        match table.apply(&batch) {
            Ok(_) => assert_eq!((table.len(), table.tombstones()), (before + 40, 40)),
            Err(error) => {
                refused += 1;
                assert_eq!(error, InsertError::OutOfMemory);
                assert_eq!((table.len(), table.tombstones(), table.version_count()), (before, 0, before));
                assert_eq!((table.iter().count(), table.snapshot().iter().count()), (before, before));
            }
        }
        assert_valid!(table);
    }
    assert!(refused > 0);
}

/// Overwriting and deleting again and again changes the counts by what really changed, and by nothing else.
#[test]
fn accounting_that_drifts_on_overwrite_and_repeated_delete() {
    let table = <Memtable>::new();
    for _ in 0..100 {
        table.put(b"k", b"value").unwrap();
        assert_eq!((table.len(), table.tombstones()), (1, 0));
        assert!(table.delete(b"k") && !table.delete(b"k"));
        table.put_tombstone(b"k").unwrap();
        assert!(!table.delete(b"absent"));
        assert_eq!((table.len(), table.tombstones()), (0, 1));
    }
    assert_eq!(table.version_count(), 300);
}

/// One huge value among many small ones shows in the average at once.
#[test]
fn averages_that_are_guesses() {
    let table = <Memtable>::new();
    for i in 0..9 {
        table.put(&key(i), &[0; 10]).unwrap();
    }
    table.put(&key(9), &vec![0; 1_000_010]).unwrap();
    assert_eq!((table.avg_key_size(), table.avg_value_size()), (12.0, 100_010.0));
}

/// `seal` either gives both tables, or the old one back with everything in it.
#[test]
fn a_seal_error_that_loses_the_table() {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let fixed = Memtable::<[u8], Bytewise, FixedArena<'_>>::new_in(FixedArena::new(&mut buffer));
    fixed.put(b"k", b"1").unwrap();
    let error = fixed.seal().expect_err("a buffer serves one table");
    assert!(!format!("{error} {error:?}").is_empty());
    let table = error.into_table();
    assert_eq!(table.get_live(b"k"), Some(&b"1"[..]));
    assert_valid!(table);
    assert_eq!(table.freeze().len(), 1);
}

/// An oversize request, then a small one, in every arena: the first is refused or served, the second always served.
#[test]
fn one_oversize_request_that_poisons_or_eats_the_arena() {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let fixed = Memtable::<[u8], Bytewise, FixedArena<'_>>::new_in(FixedArena::new(&mut buffer));
    for i in 0..10 {
        assert_eq!(fixed.put(&key(i), &[0; 5000]), Err(InsertError::OutOfMemory));
        assert_eq!(fixed.put(&[1; 5000], b""), Err(InsertError::OutOfMemory));
        fixed.put(&key(i), b"small").unwrap();
    }
    assert_eq!((fixed.len(), fixed.version_count()), (10, 10));
    assert_valid!(fixed);

    let sizes = ChunkSizes { first: 128, largest: 256 };
    let chunks = Memtable::<[u8]>::builder().arena(ChunkArena::with_chunks(sizes, memskip::Global)).build();
    chunks.put(b"before", b"small").unwrap();
    let reserved = chunks.memory_reserved();
    chunks.put(b"oversize", &vec![0; 1 << 20]).unwrap();
    let grown = chunks.memory_reserved() - reserved;
    assert!(grown < (1 << 20) + 4096, "{grown} bytes for one of 2^20");
    for i in 0..3 {
        chunks.put(&key(i), b"small").unwrap();
    }
    assert!(chunks.memory_reserved() - reserved - grown <= 1024, "its own chunk, and the others go on as they were");
}

/// The arena grows by many chunks while readers hold what they found in the first ones.
#[test]
fn growth_under_readers() {
    let table = Memtable::<[u8]>::builder().first_chunk(64).largest_chunk(128).shards(2).build();
    table.put(b"\0", b"kept").unwrap();
    let (kept, ended) = (table.get_live(b"\0").unwrap(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for me in 0..2 {
            let (table, ended) = (&table, &ended);
            scope.spawn(move || {
                for i in 0..scaled(2000) {
                    table.put(&key(2 * i + me), &vec![1; i % 200]).unwrap();
                }
                ended.fetch_add(1, Ordering::Release);
            });
        }
        while ended.load(Ordering::Acquire) < 2 {
            assert_eq!(kept, b"kept");
            assert!(table.iter().take(50).all(|e| e.value.iter().all(|&byte| byte == 1) || e.value == b"kept"));
        }
    });
    assert_eq!(table.len(), 1 + 2 * scaled(2000));
    assert_valid!(table);
}

/// A batch that does not fit gives back all that it took before it found out, so that trying again costs nothing.
#[test]
fn a_refused_batch_that_keeps_memory() {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let table: Memtable<[u8], Bytewise, FixedArena<'_>> = Memtable::new_in(FixedArena::new(&mut buffer));
    table.put(b"known", b"").unwrap();
    let before = table.memory_usage();
    let large = [0; 2000];
    let value = memskip::Kind::VALUE;
    let batch = [(&b"a"[..], &large[..20], value), (b"known", &large[..30], value), (b"b", &large[..41], value)];
    for len in 0..4 {
        let mut batch = batch[..len.min(3)].to_vec();
        batch.push((b"c", &large, value));
        assert_eq!(table.apply_slice(&batch), Err(InsertError::OutOfMemory));
        // Where the buffer is aligned to 8 bytes only, that much may be left over in front of the batch, once.
        assert!(table.memory_usage() <= before + 8, "{} after a batch of {}", table.memory_usage(), batch.len());
    }
    table.apply_slice(&batch).unwrap();
    assert_eq!(table.len(), 3);
}

// ---- Positions, hints and cost ----

/// Whatever position a table keeps between inserts, jumps in the order of keys and other threads' inserts do not make
/// it file a key wrongly: ascending runs are cut by random keys, by smaller ones and by a second writer.
#[test]
fn a_kept_insert_position_gone_stale() {
    let table = <Memtable>::with_shards(1);
    let n = scaled(4000);
    let write = |seed: u64| {
        let mut rng = Rng::new(seed);
        let mut inserted = 0;
        let mut at = 0;
        for _ in 0..n {
            at = if rng.below(8) == 0 { rng.below(2 * n) } else { (at + 1) % (2 * n) };
            inserted += usize::from(table.insert(&key(at), b""));
            assert!(!table.insert(&key(at), b"again"), "a duplicate");
        }
        inserted
    };
    let inserted: usize = thread::scope(|scope| {
        let writers = [1, 2].map(|seed| scope.spawn(move || write(seed)));
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!((table.len(), table.iter().count()), (inserted, inserted));
    assert!(table.iter().zip(table.iter().skip(1)).all(|(a, b)| a.key < b.key));
    assert_valid!(table);
}

/// A position kept from before a reset names a node that is gone: runs begin anew, the same keys or others.
#[test]
fn a_kept_insert_position_that_outlives_a_reset() {
    let mut table = <Memtable>::with_shards(1);
    for round in 0..50 {
        for i in 0..40 + round {
            assert!(table.insert(&key(round % 3 + i), &value(i as u64)));
        }
        assert_eq!(table.iter().count(), 40 + round);
        assert_valid!(table);
        table.reset();
        assert!(table.is_empty() && table.first_key().is_none());
    }
}

/// Ascending writers that share a shard, and so a kept position, take it from one another all the time. (What lanes they leave:
/// `ascending_loads_make_up_for_refused_lanes`.)
#[test]
fn a_kept_insert_position_that_several_writers_share() {
    for shards in [1, 3] {
        let (n, table) = (scaled(20_000), <Memtable>::with_shards(shards));
        thread::scope(|scope| {
            for me in 0..3 {
                let table = &table;
                scope.spawn(move || (0..n).for_each(|i| assert!(table.insert(&key(me * n + i), b""))));
            }
        });
        assert_valid!(table);
        assert!((0..3 * n).all(|i| table.contains_key(&key(i))));
        assert_eq!(table.len(), 3 * n);
    }
}

/// Counts what a table compares; passes hints on, or says nothing.
#[derive(Clone, Debug)]
struct Counting {
    compared: Arc<AtomicUsize>,
    hints: bool,
}

impl Comparator<[u8]> for Counting {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        self.compared.fetch_add(1, Ordering::Relaxed);
        a.cmp(b)
    }

    fn hint(&self, key: &[u8], skip: usize) -> usize {
        if self.hints { Bytewise.hint(key, skip) } else { 0 }
    }

    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        if self.hints { Comparator::<[u8]>::common_prefix(&Bytewise, a, b) } else { 0 }
    }
}

/// Comparisons for each of an insert, a hit, a miss and a step back are at most a few times log2 of the entries, at a
/// thousand, ten thousand and a hundred thousand, in whatever order they came, with hints and without.
#[test]
fn search_cost_that_grows_linearly() {
    for hints in [true, false] {
        for order in ["ascending", "descending", "random"] {
            for n in [1000, 10_000, 100_000] {
                // The largest for the order that costs most; elsewhere a hundredfold is growth enough.
                if n > 10_000 && (order != "random" || common::light()) {
                    continue;
                }
                // Sparse lanes where hints help, and dense ones where nothing else does.
                let density = if hints && n < 100_000 { LaneDensity::Sparse } else { LaneDensity::Every };
                let compared = Arc::new(AtomicUsize::new(0));
                let table = Memtable::<[u8]>::builder()
                    .comparator(Counting { compared: Arc::clone(&compared), hints })
                    .lane_density(density)
                    .shards(1)
                    .build();
                let mut input: Vec<usize> = (0..n).collect();
                match order {
                    "descending" => input.reverse(),
                    "random" => Rng::new(n as u64).shuffle(&mut input),
                    _ => {}
                }
                let bound = 4.0 * (n as f64).log2();
                let cost = |what: &str, times: usize, act: &mut dyn FnMut(usize)| {
                    compared.store(0, Ordering::Relaxed);
                    (0..times).for_each(act);
                    let each = compared.load(Ordering::Relaxed) as f64 / times as f64;
                    assert!(each <= bound, "{each} comparisons for {what}, {n} keys {order}, hints: {hints}");
                };
                cost("an insert", n, &mut |i| assert!(table.insert(&key(2 * input[i]), b"")));
                let mut rng = Rng::new(1);
                cost("a hit", 1000, &mut |_| assert!(table.contains_key(&key(2 * rng.below(n)))));
                cost("a miss", 1000, &mut |_| assert!(!table.contains_key(&key(2 * rng.below(n) + 1))));
                let mut backwards = table.iter().rev();
                cost("a step back", 1000, &mut |_| assert!(backwards.next().is_some()));
                let mut cursor = table.cursor();
                cost("a seek", 1000, &mut |_| assert!(cursor.seek_for_prev(&key(2 * rng.below(n)))));
            }
        }
    }
}

/// With fewer levels than the table needs, the topmost lane is walked block by block, and no hint is believed for a key outside
/// the block that it is about: that led astray, to walks over half of the table.
#[test]
fn few_levels_that_mislead_searches() {
    fn check<const H: usize>(most: f64) {
        let (n, compared) = (scaled(20_000), Arc::new(AtomicUsize::new(0)));
        let counting = Counting { compared: Arc::clone(&compared), hints: true };
        let table = Memtable::<[u8]>::builder().shards(1).comparator(counting).max_height::<H>().build();
        let mut rng = Rng::new(7);
        let keys: Vec<[u8; 8]> = (0..n).map(|_| rng.bits().to_be_bytes()).collect();
        for key in &keys {
            assert!(table.insert(key, b""));
        }
        compared.store(0, Ordering::Relaxed);
        let some = || keys.iter().step_by(n / 500);
        for key in some() {
            assert!(table.contains_key(key));
        }
        let each = compared.load(Ordering::Relaxed) as f64 / some().count() as f64;
        assert!(each <= most * n as f64, "{each} comparisons for a get, {n} keys, {H} levels");
        let asked: Vec<&[u8]> = some().map(|key| &key[..]).collect();
        assert!(table.get_many(&asked).iter().all(Option::is_some));
    }
    // Half of the blocks of the top lane, of some eight and eighty keys.
    check::<2>(0.1);
    check::<3>(0.01);
    check::<4>(0.001);
}

/// Under orders whose hints are easily wrong, every lookup of every spelling finds exactly what is there.
#[test]
fn a_comparator_that_disagrees_with_its_hint() {
    fn check<C: Comparator<[u8]>>(comparator: C, order: Order, prefix: &str) {
        let table = Memtable::<[u8]>::builder().comparator(comparator).shards(1).build();
        let mut keys: Vec<String> = (0..scaled(1500))
            .map(|i| match i % 3 {
                0 => format!("{prefix}Tenant-{:04}/Row", i * 7 % 1999),
                1 => format!("{prefix}tenant-{:04}/roW-{i}", i * 7 % 1999),
                _ => format!("{prefix}{}", "aA\0z".repeat(i % 13)),
            })
            .collect();
        keys.sort_by(|a, b| order.compare(a.as_bytes(), b.as_bytes()));
        keys.dedup_by(|a, b| order.compare(a.as_bytes(), b.as_bytes()).is_eq());
        let mut input = keys.clone();
        Rng::new(3).shuffle(&mut input);
        for key in &input {
            assert!(table.insert(key.as_bytes(), key.as_bytes()), "{key:?}");
        }
        assert!(table.iter().map(|e| e.key).eq(keys.iter().map(String::as_bytes)));
        assert!(table.iter().rev().map(|e| e.key).eq(keys.iter().rev().map(String::as_bytes)));
        for key in &keys {
            let mut spellings = vec![key.clone()];
            if order == Order::Folded {
                spellings.extend([key.to_ascii_lowercase(), key.to_ascii_uppercase()]);
            }
            for spelling in &spellings {
                let found = table.entry(spelling.as_bytes()).map(row);
                assert_eq!(found.map(|row| row.value), Some(key.clone().into_bytes()), "{spelling:?}");
                assert!(!table.insert(spelling.as_bytes(), b"again"));
            }
            assert!(table.get(format!("{key}!").as_bytes()).is_none());
        }
        assert_valid!(table);
    }
    check(CaseInsensitive, Order::Folded, "");
    check(Reverse(CaseInsensitive), Order::ReverseFolded, "");
    check(Reverse(Bytewise), Order::Reverse, "");
    check(LengthFirst, Order::LengthFirst, "");
    check(CommonPrefix::new(Bytewise, 12), Order::Bytewise, "db/0000/one/");
    check(CommonPrefix::new(CaseInsensitive, 12), Order::Folded, "db/0000/one/");
    check(Reverse(CommonPrefix::new(Bytewise, 12)), Order::Reverse, "db/0000/one/");
}

/// Bounds that do not begin with what a table's keys are promised to share: the usual end of a scan of all keys with a prefix.
#[test]
fn bounds_outside_of_a_common_prefix() {
    let order = CommonPrefix::new(Bytewise, "db/0017/".len());
    let table = Memtable::<[u8]>::builder().comparator(order).shards(1).build();
    let key = |i: usize| format!("db/0017/{:08}", i * 7919 % 100_003);
    let mut keys: Vec<String> = (0..scaled(3000)).map(key).collect();
    for key in &keys {
        assert!(table.insert(key.as_bytes(), b""));
    }
    keys.sort();
    for bound in
        ["", "a", "db/0016/99999999", "db/0017", "db/0017/", "db/0018", "db/0018/00050000", "db/0018/99999999", "z"]
    {
        let is_below = |key: &&String| key.as_str() < bound;
        let (below, bound) = (keys.iter().filter(is_below).count(), bound.as_bytes());
        assert_eq!(table.range(..bound).count(), below, "{bound:?}");
        assert_eq!(table.range(bound..).count(), keys.len() - below, "{bound:?}");
        assert_eq!(table.range(..bound).next_back().map(|e| e.key), below.checked_sub(1).map(|i| keys[i].as_bytes()));
        assert_eq!(table.range(bound..).next().map(|e| e.key), keys.get(below).map(String::as_bytes));
        assert!(!table.contains_key(bound) && table.get_many(&[bound, bound]) == [None, None]);
    }
    assert_valid!(table);
}
