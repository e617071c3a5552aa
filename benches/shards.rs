//! What the std layer costs: how a shard is chosen, what a manager adds to a table, what a hash index takes and gives.
//!
//! ```text
//! cargo bench --bench shards --features hash-index
//! ```

#![allow(missing_docs, reason = "`criterion_group!` makes a public function")]
#![allow(clippy::needless_for_each, clippy::cast_precision_loss, reason = "a benchmark in few lines")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use memskip::{ManagerConfig, Memtable, MemtableManager, ShardSelector, SingleShard, ThreadShards};
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

const ENTRIES: usize = 100_000;
const VALUE: [u8; 100] = [7; 100];

type Key = [u8; 16];

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

fn keys() -> Vec<Key> {
    (0..ENTRIES).map(key).collect()
}

/// What one does without a thread-local ordinal: hashes the id of the thread, each time.
#[derive(Clone, Copy)]
struct HashOfThreadId;

impl ShardSelector for HashOfThreadId {
    fn select(&self) -> usize {
        static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        STATE.hash_one(thread::current().id()) as usize
    }
}

/// Writes all keys, from as many threads as there are parts.
fn write_all(keys: &[Key], threads: usize, put: &(impl Fn(&Key) + Sync)) {
    thread::scope(|scope| {
        for part in keys.chunks(keys.len().div_ceil(threads)) {
            scope.spawn(move || part.iter().for_each(put));
        }
    });
}

fn selection(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    group.bench_function("thread-local", |bencher| bencher.iter(|| black_box(ThreadShards.select())));
    group.bench_function("single", |bencher| bencher.iter(|| black_box(SingleShard.select())));
    group.bench_function("hash of id", |bencher| bencher.iter(|| black_box(HashOfThreadId.select())));
    group.finish();

    let mut sorted = keys();
    sorted.sort_unstable();
    for (order, keys) in [("random", keys()), ("ascending", sorted)] {
        for threads in [1, 2, 4] {
            let mut group = criterion.benchmark_group(format!("put {order}, {threads} threads"));
            group.throughput(Throughput::Elements(ENTRIES as u64));
            macro_rules! run {
                ($name:literal, $selector:expr, $shards:expr) => {
                    group.bench_function($name, |bencher| {
                        bencher.iter_batched_ref(
                            || Memtable::<[u8]>::builder().selector($selector).shards($shards).build(),
                            |table| write_all(&keys, threads, &|key| assert!(table.put(key, &VALUE).is_ok())),
                            BatchSize::PerIteration,
                        );
                    });
                };
            }
            run!("thread-local", ThreadShards, 4);
            run!("single shard", SingleShard, 1);
            run!("hash of id", HashOfThreadId, 4);
            group.finish();
        }
    }
}

fn manager(criterion: &mut Criterion) {
    let keys = keys();
    let manager = |recycled| {
        let config = ManagerConfig::new().max_table_bytes(1 << 30).recycled_tables(recycled);
        MemtableManager::new(config.max_frozen_tables(usize::MAX)).expect("valid")
    };
    for threads in [1, 2] {
        let mut group = criterion.benchmark_group(format!("manager, {threads} threads"));
        group.throughput(Throughput::Elements(ENTRIES as u64));
        group.bench_function("put, table alone", |bencher| {
            bencher.iter_batched_ref(
                Memtable::new,
                |table| write_all(&keys, threads, &|key| assert!(table.put(key, &VALUE).is_ok())),
                BatchSize::PerIteration,
            );
        });
        group.bench_function("put", |bencher| {
            bencher.iter_batched_ref(
                || manager(0),
                |manager| write_all(&keys, threads, &|key| assert!(manager.put(key, &VALUE).is_ok())),
                BatchSize::PerIteration,
            );
        });
        let table = Memtable::new();
        write_all(&keys, 1, &|key| assert!(table.put(key, &VALUE).is_ok()));
        group.bench_function("get, table alone", |bencher| {
            bencher.iter(|| write_all(&keys, threads, &|key| assert!(black_box(table.get_live(key)).is_some())));
        });
        let full = manager(0);
        write_all(&keys, 1, &|key| assert!(full.put(key, &VALUE).is_ok()));
        group.bench_function("get", |bencher| {
            bencher.iter(|| {
                write_all(&keys, threads, &|key| {
                    assert!(black_box(full.get_with(key, |entry| entry.value.len())).is_some());
                });
            });
        });
        group.finish();
    }

    let mut group = criterion.benchmark_group("manager, reads");
    group.throughput(Throughput::Elements(ENTRIES as u64));
    for tables in [1, 4] {
        let spread = manager(0);
        for part in keys.chunks(ENTRIES / tables) {
            part.iter().for_each(|key| assert!(spread.put(key, &VALUE).is_ok()));
            spread.rotate();
        }
        let name = format!("{tables} tables");
        group.bench_function(format!("scan, borrowed, {name}"), |bencher| {
            bencher.iter(|| spread.snapshot().iter().map(|entry| entry.value.len()).sum::<usize>());
        });
        group.bench_function(format!("scan, owned, {name}"), |bencher| {
            bencher.iter(|| spread.iter().map(|entry| entry.value().len()).sum::<usize>());
        });
    }
    group.finish();

    let mut ascending = keys.clone();
    ascending.sort_unstable();
    let mut group = criterion.benchmark_group("manager, fill and flush ascending");
    group.throughput(Throughput::Elements(ENTRIES as u64));
    for (name, recycled) in [("fresh memory", 0), ("recycled memory", 1)] {
        let manager = manager(recycled);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                ascending.iter().for_each(|key| assert!(manager.put(key, &VALUE).is_ok()));
                manager.rotate();
                manager.next_flush().map(memskip::FlushJob::complete)
            });
        });
    }
    group.finish();
}

#[cfg(feature = "hash-index")]
fn hash_index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash index");
    for entries in [ENTRIES, 10 * ENTRIES] {
        group.throughput(Throughput::Elements(entries as u64));
        let keys: Vec<_> = (0..entries).map(key).collect();
        let table = Memtable::new();
        keys.iter().for_each(|key| assert!(table.put(key, &VALUE).is_ok()));
        let mut shuffled = keys.clone();
        shuffled.sort_unstable_by_key(|key| u128::from_be_bytes(*key).rotate_left(64));
        let absent: Vec<_> = (entries..2 * entries).map(key).collect();
        let frozen = table.freeze();
        let index = frozen.build_hash_index();
        let bytes = index.memory_usage() as f64 / entries as f64;
        println!("{entries} keys: {bytes:.1} bytes a key");
        group.bench_function(format!("build, {entries}"), |bencher| bencher.iter(|| frozen.build_hash_index().len()));
        for (name, keys) in [("hit", &shuffled), ("miss", &absent)] {
            group.bench_function(format!("{name}, index, {entries}"), |bencher| {
                bencher.iter(|| keys.iter().filter(|key| index.get_live(*key).is_some()).count());
            });
            group.bench_function(format!("{name}, search, {entries}"), |bencher| {
                bencher.iter(|| keys.iter().filter(|key| frozen.get_live(*key).is_some()).count());
            });
        }
    }
    group.finish();
}

#[cfg(not(feature = "hash-index"))]
fn hash_index(_: &mut Criterion) {}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = selection, manager, hash_index
}
criterion_main!(benches);
