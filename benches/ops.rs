//! memskip's own operations, one by one, on tables of 100,000 entries: 16-byte random keys, 100-byte values.
//!
//! ```text
//! cargo bench --bench ops                 # all of them, under a minute
//! cargo bench --bench ops -- get          # those with "get" in their name
//! ```
//!
//! Time is per operation or, for inserts and scans, per entry ("thrpt" is what to look at). Its peers are beside it in `benches/peers`.

#![allow(missing_docs, reason = "`criterion_group!` makes a public function")]

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use memskip::{Memtable, WriteBatch};
use std::hint::black_box;
use std::time::Duration;

type Key = [u8; 16];

/// Entries of a table.
const ENTRIES: usize = 100_000;
/// Writes in one measurement on a filled table: few, so that it stays about its size.
const WRITES: usize = 10_000;
/// Puts in one `WriteBatch`.
const BATCH: usize = 100;
/// Entries read by one seek.
const SEEK_LENGTH: usize = 10;
const VALUE: [u8; 100] = [7; 100];

/// The `number`-th random key (`SplitMix64`): distinct numbers give distinct keys.
fn key(number: usize) -> Key {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let high = mix((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (u128::from(high) << 64 | u128::from(mix(high))).to_be_bytes()
}

/// Keys in the table, in random order.
fn keys() -> Vec<Key> {
    (0..ENTRIES).map(key).collect()
}

/// The same in another random order, so that reads do not follow the order in which memory was handed out.
fn shuffled(keys: &[Key]) -> Vec<Key> {
    let mut shuffled = keys.to_vec();
    shuffled.sort_unstable_by_key(|key| u128::from_be_bytes(*key).rotate_left(64));
    shuffled
}

fn filled(keys: &[Key]) -> Memtable {
    let table = Memtable::new();
    for key in keys {
        table.insert(key, &VALUE);
    }
    table
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, elements: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(elements as u64));
    group
}

fn insert(criterion: &mut Criterion) {
    let random = keys();
    let mut ascending = random.clone();
    ascending.sort_unstable();
    let mut group = group(criterion, "insert", ENTRIES);
    for (order, keys) in [("random", &random), ("ascending", &ascending)] {
        group.bench_function(order, |bencher| {
            bencher.iter_batched_ref(
                Memtable::new,
                |table| keys.iter().filter(|key| table.insert(*key, &VALUE)).count(),
                BatchSize::PerIteration,
            );
        });
    }
    for (order, keys) in [("random, one writer", &random), ("ascending, one writer", &ascending)] {
        group.bench_function(order, |bencher| {
            let insert = |table: &mut Memtable| {
                let mut writer = table.single_writer().expect("nobody else writes");
                keys.iter().filter(|key| writer.insert(*key, &VALUE)).count()
            };
            bencher.iter_batched_ref(Memtable::new, insert, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn get(criterion: &mut Criterion) {
    let keys = keys();
    let table = filled(&keys);
    let misses: Vec<Key> = (ENTRIES..2 * ENTRIES).map(key).collect();
    let mut group = group(criterion, "get", 1);
    for (name, keys) in [("hit", shuffled(&keys)), ("miss", misses)] {
        let mut keys = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| keys.next().and_then(|key| table.get(key)).map(|(value, _)| value[0]));
        });
    }
    group.finish();
}

fn get_many(criterion: &mut Criterion) {
    let keys = keys();
    let table = filled(&keys);
    let keys = shuffled(&keys);
    for count in [8, 64] {
        let mut group = group(criterion, "get_many", count);
        let mut chunks = keys.chunks_exact(count).cycle();
        let mut values = vec![None; count];
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                if let Some(keys) = chunks.next() {
                    table.get_many_into(keys, &mut values);
                }
                values.iter().flatten().map(|value| usize::from(value[0])).sum::<usize>()
            });
        });
        group.finish();
    }
}

fn scan(criterion: &mut Criterion) {
    let table = filled(&keys());
    let mut group = group(criterion, "scan", ENTRIES);
    group.bench_function("forward", |bencher| {
        bencher.iter(|| table.iter().map(|entry| entry.value.len()).sum::<usize>());
    });
    group.bench_function("reverse", |bencher| {
        bencher.iter(|| table.iter().rev().map(|entry| entry.value.len()).sum::<usize>());
    });
    group.finish();
}

fn seek(criterion: &mut Criterion) {
    let keys = keys();
    let table = filled(&keys);
    let keys = shuffled(&keys);
    let mut keys = keys.iter().cycle();
    let mut group = group(criterion, "seek", 1);
    group.bench_function("and next 10", |bencher| {
        bencher.iter(|| {
            let cursor = keys.next().and_then(|key| table.cursor_at(key));
            cursor.map(|cursor| cursor.take(SEEK_LENGTH).map(|entry| entry.value.len()).sum::<usize>())
        });
    });
    group.finish();
}

fn overwrite(criterion: &mut Criterion) {
    let keys = keys();
    let targets = shuffled(&keys);
    let mut group = group(criterion, "put", WRITES);
    group.bench_function("overwrite", |bencher| {
        bencher.iter_batched_ref(
            || filled(&keys),
            |table| targets[..WRITES].iter().filter(|key| table.put(*key, &VALUE).is_ok()).count(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let keys = keys();
    let table = filled(&keys);
    let keys = shuffled(&keys);
    let mut group = group(criterion, "snapshot", 1);
    group.bench_function("take", |bencher| bencher.iter(|| black_box(table.snapshot()).seq()));
    let snapshot = table.snapshot();
    let mut keys = keys.iter().cycle();
    group.bench_function("get", |bencher| {
        bencher.iter(|| keys.next().and_then(|key| snapshot.get(key)).map(|(value, _)| value[0]));
    });
    group.finish();
}

fn apply(criterion: &mut Criterion) {
    let keys = keys();
    let batches: Vec<WriteBatch> = (ENTRIES..ENTRIES + WRITES)
        .step_by(BATCH)
        .map(|first| {
            let mut batch = WriteBatch::<[u8]>::new();
            for number in first..first + BATCH {
                batch.put(&key(number), &VALUE);
            }
            batch
        })
        .collect();
    let mut group = group(criterion, "apply", WRITES);
    group.bench_function(BenchmarkId::from_parameter(BATCH), |bencher| {
        bencher.iter_batched_ref(
            || filled(&keys),
            |table| batches.iter().filter(|batch| table.apply(batch).is_ok()).count(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = insert, get, get_many, scan, seek, overwrite, snapshot, apply
}
criterion_main!(benches);
