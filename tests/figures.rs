//! The figures are exact after any sequence of calls, and the memory figures add up.
#![cfg(feature = "alloc")]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]

#[macro_use]
mod common;

use common::{Model, Rng, key, scaled};
use memskip::{CounterClock, InsertError, Kind, Memtable, Pressure, SeqNo, WriteBatch};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Every exact figure of `$table` is what `$model` says.
macro_rules! assert_figures {
    ($table:expr, $model:expr) => {{
        let (table, model) = (&$table, &$model);
        let (live, dead) = model.counts();
        let seqs = || model.all().into_iter().map(|row| row.seq);
        assert_eq!((table.len(), table.tombstones()), (live, dead));
        assert_eq!(table.version_count(), model.stored);
        assert_eq!(table.iter().count(), live + dead);
        assert_eq!(table.versions().count(), model.all().len());
        assert_eq!(table.min_seq().map(|seq| seq.0), seqs().min());
        assert_eq!(table.max_seq().map(|seq| seq.0), seqs().max());
        let newest = model.newest();
        assert_eq!(table.first_key(), newest.first().map(|row| &row.key[..]));
        assert_eq!(table.last_key(), newest.last().map(|row| &row.key[..]));
        let stats = table.stats();
        assert_eq!((stats.live_keys, stats.tombstones, stats.versions), (live, dead, model.stored));
        assert_eq!((stats.min_seq, stats.max_seq), (table.min_seq(), table.max_seq()));
        assert_memory!(table);
        assert_valid!(table);
    }};
}

/// What is handed out and what is idle make up what is reserved, and the entries fit into what is handed out.
macro_rules! assert_memory {
    ($table:expr) => {{
        let table = &$table;
        let (used, reserved, idle) = (table.memory_usage(), table.memory_reserved(), table.memory_idle());
        assert_eq!(used + idle, reserved);
        let payload: usize = table.versions().map(|e| e.value.len()).sum();
        let keys: usize = table.iter().map(|e| e.key.len()).sum();
        assert!(payload + keys <= used, "{payload} + {keys} bytes in {used}");
        let utilization = table.memory_utilization();
        assert!((0.0..=1.0).contains(&utilization));
        if reserved > 0 {
            assert!((utilization - used as f64 / reserved as f64).abs() < 1e-3);
        }
        let stats = table.stats();
        assert_eq!((stats.memory_usage, stats.memory_reserved, stats.memory_idle), (used, reserved, idle));
    }};
}

/// An empty table has nothing of anything.
#[test]
fn an_empty_table_has_zeros() {
    let table = <Memtable>::new();
    assert_figures!(table, Model::default());
    assert!(table.is_empty());
    assert_eq!((table.total_inserts(), table.max_memory_bytes(), table.max_entries()), (0, 0, 0));
    assert_eq!((table.avg_key_size(), table.avg_value_size()), (0.0, 0.0));
    assert_eq!(table.pressure(), Pressure::Normal);
    assert!(!table.is_under_backpressure());
    assert_eq!(table.approximate_count(..), 0);
}

/// Random sequences of writes on few keys: overwritten, deleted, deleted again, brought back, refused.
#[test]
fn mixed_writes_are_counted_exactly() {
    for seed in 1..=4 {
        let table = Memtable::<[u8]>::builder().clock(CounterClock::new()).shards(2).first_chunk(64).build();
        let (mut model, mut attempts) = (Model::default(), 0);
        let mut rng = Rng::new(seed);
        for step in 0..scaled(1500) {
            let key = key(rng.below(40));
            let value = vec![7; rng.below(30)];
            match rng.below(6) {
                0 => {
                    attempts += 1;
                    match table.try_insert(&key, &value) {
                        Ok(seq) => model.write(&key, seq.0, 0, &value),
                        Err(error) => {
                            assert_eq!(error, InsertError::DuplicateKey);
                            assert!(model.get(&key).is_some());
                        }
                    }
                }
                1 | 2 => {
                    attempts += 1;
                    model.write(&key, table.put(&key, &value).unwrap().0, 0, &value);
                }
                3 => {
                    assert_eq!(table.delete(&key), model.is_live(&key));
                    if model.is_live(&key) {
                        model.write(&key, table.entry(&key).unwrap().seq.0, 1, b"");
                    }
                }
                4 => model.write(&key, table.put_tombstone(&key).unwrap().0, 1, b""),
                _ => {
                    attempts += 1;
                    if table.get_or_insert(&key, &value).1 {
                        assert!(!model.is_live(&key));
                        model.write(&key, table.entry(&key).unwrap().seq.0, 0, &value);
                    }
                }
            }
            if step % 50 == 0 {
                assert_figures!(table, model);
            }
        }
        assert_figures!(table, model);
        assert_eq!(table.total_inserts(), attempts, "failed ones included, tombstones not");
        assert_figures!(table.freeze(), model);
    }
}

/// Numbers given by the engine, in any order, move the smallest and the largest and decide who is live.
#[test]
fn given_numbers_are_counted_exactly() {
    let table = Memtable::<[u8]>::builder().clock(memskip::ManualClock::new()).build();
    let mut model = Model::default();
    let mut rng = Rng::new(5);
    for _ in 0..scaled(1000) {
        let (key, seq) = (key(rng.below(10)), 1000 + rng.below(500) as u64);
        let fresh = !model.all().iter().any(|row| row.key == key && row.seq == seq);
        let tombstone = rng.below(3) == 0;
        let done =
            if tombstone { table.put_tombstone_at(&key, SeqNo(seq)) } else { table.put_at(&key, b"v", SeqNo(seq)) };
        assert_eq!(done, if fresh { Ok(()) } else { Err(InsertError::DuplicateSeqNo) });
        if fresh {
            model.write(&key, seq, u8::from(tombstone), if tombstone { b"" } else { b"v" });
        }
    }
    assert_figures!(table, model);
    table.put_at(b"zero", b"", SeqNo(0)).unwrap();
    model.write(b"zero", 0, 0, b"");
    assert_figures!(table, model);
}

/// Batches count like the writes they hold; a refused one counts nothing.
#[test]
fn batches_are_counted_exactly() {
    let table = Memtable::<[u8]>::builder().clock(CounterClock::new()).max_entries(40).build();
    let mut model = Model::default();
    let mut rng = Rng::new(6);
    let mut refused = 0;
    while refused < 5 {
        let mut batch = <WriteBatch>::new();
        let names: Vec<usize> = (0..=rng.below(6)).map(|_| rng.below(12)).collect();
        let dead = rng.below(3) == 0;
        for &i in &names {
            if dead {
                batch.delete(&key(i));
            } else {
                batch.put(&key(i), b"value");
            }
        }
        match table.apply(&batch) {
            Ok(seq) => {
                // Of two for one key the last is seen, and both are stored.
                for i in names {
                    model.write(&key(i), seq.0, u8::from(dead), if dead { b"" } else { b"value" });
                }
            }
            Err(error) => {
                assert_eq!(error, InsertError::ThresholdReached);
                refused += 1;
            }
        }
        assert_figures!(table, model);
    }
    assert!(table.version_count() <= 40);
}

/// The averages are the sums divided by the number, not guesses: sizes here differ by a factor of a thousand.
#[test]
fn averages_are_exact() {
    let table = <Memtable>::new();
    let (mut keys, mut values) = (0, 0);
    for i in 0..100_usize {
        let (k, v) = ([&key(i)[..], &vec![b'k'; i * 7 % 50]].concat(), vec![1; if i % 10 == 0 { 3000 } else { i % 4 }]);
        keys += k.len();
        values += v.len();
        table.put(&k, &v).unwrap();
        let n = (i + 1) as f64;
        assert!((table.avg_key_size() - keys as f64 / n).abs() < 1e-6);
        assert!((table.avg_value_size() - values as f64 / n).abs() < 1e-6);
    }
}

/// What a tombstone carries is stored and given back. It is a tombstone all the same; its bytes are counted as values' are.
#[test]
fn tombstones_may_carry_something() {
    let table = <Memtable>::new();
    table.put_at(b"k", b"value", SeqNo(1)).unwrap();
    table.put_kind_at(b"k", b"payload", Kind::TOMBSTONE, SeqNo(2)).unwrap();
    let mut batch = WriteBatch::new();
    batch.put_kind(b"l", b"why", Kind::TOMBSTONE);
    table.apply(&batch).unwrap();
    assert_eq!(table.get(b"k"), Some((&b"payload"[..], true)));
    assert_eq!(table.get_live(b"k"), None);
    assert_eq!(table.entry(b"l").map(|e| (e.value, e.is_tombstone)), Some((&b"why"[..], true)));
    assert_eq!((table.len(), table.tombstones(), table.total_inserts()), (0, 2, 1));
    assert_eq!((table.stats().value_bytes, table.avg_value_size()), (15, 15.0));
    assert_valid!(table);
}

/// A new value of the same size moves no average, however often it is written.
#[test]
fn averages_do_not_drift_on_overwrite() {
    let table = <Memtable>::new();
    for _ in 0..50 {
        for i in 0..10 {
            table.put(&key(i), &[0; 24]).unwrap();
        }
        assert_eq!((table.avg_key_size(), table.avg_value_size()), (12.0, 24.0));
    }
}

/// Memory grows with what is written, and failed or refused writes hand out nothing.
#[test]
fn memory_figures_add_up() {
    let table = Memtable::<[u8]>::builder().shards(1).first_chunk(256).largest_chunk(2048).build();
    assert_memory!(table);
    let mut last = table.memory_usage();
    for i in 0..300 {
        assert!(table.insert(&key(i), &[1; 50]));
        assert!(table.memory_usage() >= last + key(i).len() + 50, "an entry takes at least its bytes");
        last = table.memory_usage();
        assert!(!table.insert(&key(i / 2), &[2; 500]), "a duplicate");
        assert!(!table.delete(b"absent"));
        assert_eq!(table.memory_usage(), last);
        assert_memory!(table);
    }
    table.freeze();
    assert!(!table.insert(b"new", b"") && table.put(b"new", b"").is_err());
    assert_eq!(table.memory_usage(), last);
}

/// `max_entries` counts versions: exactly so many go in, then every write but `delete` is refused, and nothing is lost.
#[test]
fn max_entries_is_exact() {
    let table = <Memtable>::with_capacity_and_shards(1024, 1, 0, 20);
    for i in 0..20 {
        assert_ne!(table.pressure(), Pressure::Full, "{i}");
        table.put(&key(i % 7), b"v").unwrap();
    }
    assert_eq!((table.version_count(), table.len()), (20, 7));
    assert_eq!(table.pressure(), Pressure::Full);
    assert!(table.is_under_backpressure());
    let full = InsertError::ThresholdReached;
    assert_eq!(table.put(&key(1), b"w"), Err(full));
    assert_eq!(table.try_insert(b"new", b"w"), Err(full));
    assert_eq!(table.put_tombstone(&key(1)), Err(full));
    assert_eq!(table.put_at(&key(1), b"w", SeqNo(1 << 40)), Err(full));
    assert!(!table.insert(b"new", b"w"));
    assert!(table.insert_batch(&[("new", "w")]).is_err());
    assert_eq!((table.version_count(), table.len(), table.tombstones()), (20, 7, 0));
    assert_eq!(table.get_or_insert(&key(1), b"w"), (&b"v"[..], false), "reading what is there is no write");
    assert!(table.delete(&key(1)), "its bool could not say so");
    assert_eq!((table.version_count(), table.len(), table.tombstones()), (21, 6, 1));
    assert_valid!(table);
}

/// Backpressure begins at nine tenths of either threshold, or where the builder says.
#[test]
fn backpressure_begins_at_its_ratio() {
    for (ratio, quiet, loud) in [(None, 89, 91), (Some(0.5), 49, 51), (Some(0.25), 24, 26)] {
        let builder = Memtable::<[u8]>::builder().max_entries(100);
        let table = match ratio {
            Some(ratio) => builder.backpressure_ratio(ratio).build(),
            None => builder.build(),
        };
        for i in 0..100 {
            let entries = table.version_count();
            if entries <= quiet {
                assert_eq!((table.is_under_backpressure(), table.pressure()), (false, Pressure::Normal), "{entries}");
            } else if entries >= loud {
                assert_eq!(
                    (table.is_under_backpressure(), table.pressure()),
                    (true, Pressure::Backpressure),
                    "{entries}"
                );
            }
            table.put(&key(i), b"").unwrap();
        }
        assert_eq!((table.is_under_backpressure(), table.pressure()), (true, Pressure::Full));
    }
}

/// The memory threshold ends the writing near its limit, and everything written stays.
#[test]
fn max_memory_bytes_bounds_the_table() {
    const LIMIT: usize = 64 << 10;
    let table = <Memtable>::with_capacity_and_shards(1024, 1, LIMIT, 0);
    let mut written = 0;
    let mut warned = false;
    let refused = loop {
        match table.put(&key(written), &[3; 100]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        warned |= table.pressure() == Pressure::Backpressure;
        assert!(written < LIMIT / 100, "the threshold never came");
    };
    assert_eq!(refused, InsertError::ThresholdReached);
    assert!(warned && table.is_under_backpressure());
    // One entry or lane block beyond, no more; and not far below either.
    assert!(table.memory_usage() <= LIMIT + 2048, "{}", table.memory_usage());
    assert!(table.memory_usage() >= LIMIT / 2, "{}", table.memory_usage());
    assert_eq!(table.len(), written);
    assert!((0..written).all(|i| table.get_live(&key(i)) == Some(&[3; 100][..])));
    assert_valid!(table);
}

/// The threshold comes first, also for a key that is there. A write that is larger than all of it is refused for ever, and one that
/// is larger than what is left before the table is full.
#[test]
fn thresholds_refuse_before_the_table_is_looked_at() {
    let full = InsertError::ThresholdReached;
    let table = <Memtable>::with_capacity_and_shards(0, 1, 0, 1);
    table.put(b"k", b"v").unwrap();
    assert_eq!(table.try_insert(b"k", b"w"), Err(full));
    table.freeze();
    assert_eq!(table.try_insert(b"k", b"w"), Err(InsertError::Sealed));

    let table = <Memtable>::with_capacity_and_shards(0, 1, 4096, 0);
    let mut batch = WriteBatch::new();
    batch.put(b"k", &[0; 4096]);
    for _ in 0..3 {
        assert_eq!(table.put(b"k", &[0; 4096]), Err(full));
        assert_eq!(table.apply(&batch), Err(full));
        assert_eq!((table.version_count(), table.pressure()), (0, Pressure::Normal));
    }
    assert_eq!(table.renew().map(|fresh| fresh.put(b"k", &[0; 4096])), Some(Err(full)));

    let table = <Memtable>::with_capacity_and_shards(0, 1, 100_000, 0);
    while table.put(&key(table.len()), &vec![0; 40_000]).is_ok() {}
    assert_eq!((table.len(), table.pressure()), (2, Pressure::Normal));
    assert!(table.put(b"small", b"").is_ok());
    assert_valid!(table);
}

/// A threshold holds for the table, not for each shard: what one shard was allowed and did not use, another may have used.
#[test]
fn thresholds_hold_across_shards() {
    const LIMIT: usize = 64 << 10;
    let shard = AtomicUsize::new(1);
    let table = |entries, bytes| {
        let builder = Memtable::<[u8]>::builder().selector(|| shard.load(Relaxed)).shards(2).first_chunk(64);
        builder.max_entries(entries).max_memory_bytes(bytes).build()
    };
    let (entries, bytes) = (table(100, 0), table(0, LIMIT));
    for (i, turn) in [1, 0, 1, 0].into_iter().enumerate() {
        shard.store(turn, Relaxed);
        // The first time one write, then as many as go in.
        for j in 0..if i == 0 { 1 } else { 10_000 } {
            _ = (entries.put(&key(j), &key(i)), bytes.put(&key(j), &[0; 50]));
        }
    }
    assert!(entries.version_count() <= 100, "{} of 100 entries", entries.version_count());
    assert!(bytes.memory_usage() <= LIMIT + 2048, "{} of {LIMIT} bytes", bytes.memory_usage());
}

/// Nor do racing writers get past it, but for the one write that each may have begun.
#[test]
fn thresholds_hold_under_races() {
    for shards in [1, 4] {
        let table = Memtable::<[u8]>::builder().shards(shards).max_entries(1000).build();
        let written: usize = std::thread::scope(|scope| {
            let table = &table;
            let writer =
                |me: usize| move || (0..1000_usize).filter(|&i| table.put(&key(i * 4 + me), b"").is_ok()).count();
            let writers: Vec<_> = (0..4).map(|me| scope.spawn(writer(me))).collect();
            writers.into_iter().map(|writer| writer.join().expect("no panic")).sum()
        });
        assert_eq!(table.version_count(), written);
        assert!(written <= 1000 + 4, "{written} of 1000 entries over {shards} shards");
        assert_valid!(table);
    }
}

/// `reset` empties the table and keeps its memory, as often as one likes.
#[test]
fn reset_keeps_the_memory() {
    let mut table = Memtable::<[u8]>::builder().shards(2).first_chunk(128).max_entries(500).build();
    let mut reserved = 0;
    for round in 0..5 {
        for i in 0..400 {
            table.put(&key(i), &key(round)).unwrap();
        }
        assert_eq!(table.len(), 400);
        assert!(table.iter().all(|e| e.value == key(round)), "nothing of an earlier round");
        if round > 1 {
            assert_eq!(table.memory_reserved(), reserved, "round {round} took new memory");
        }
        reserved = table.memory_reserved();
        if round % 2 == 1 {
            table.freeze();
        }
        table.reset();
        assert!(!table.is_sealed());
        assert_eq!(table.memory_reserved(), reserved);
        assert!(table.memory_usage() < reserved / 4);
        assert_figures!(table, Model::default());
        assert!(table.get(&key(3)).is_none() && table.snapshot().iter().next().is_none());
    }
}

/// The approximations are of the right size for the whole, and nothing for nothing.
#[test]
fn approximations_are_of_the_right_size() {
    let table = <Memtable>::new();
    let n = scaled(20_000);
    let mut order: Vec<usize> = (0..n).collect();
    Rng::new(8).shuffle(&mut order);
    for i in order {
        table.put(&key(i), &[0; 50]).unwrap();
    }
    let (low, high) = (key(n / 4), key(3 * n / 4));
    let all = table.approximate_count(..);
    let half = table.approximate_count(&low[..]..&high[..]);
    assert!(all >= n / 4 && all <= n * 4, "{all} for {n}");
    assert!(half >= n / 8 && half <= n * 2, "{half} for {}", n / 2);
    let bytes = table.approximate_bytes(&low[..]..&high[..]);
    assert!(bytes >= n / 8 * 62 && bytes <= n * 2 * 200, "{bytes} for {}", n / 2 * 62);
    assert!(table.approximate_count(&high[..]..&low[..]) <= all / 8);
    assert!(table.approximate_count(&b"z"[..]..) <= all / 8);
}
