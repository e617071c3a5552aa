//! Real threads: what readers, snapshots and freezes see while writers run. Loops are bounded and short; no timing is
//! asserted. Batches, races for one key, and shards are in `concurrent_races.rs`.
#![cfg(feature = "std")]

#[macro_use]
mod common;

use common::{Rng, Row, counter, key, rows, scaled, value};
use memskip::{Bytewise, CounterClock, DefaultArena, EpochClock, InsertError, Memtable, SeqClock, SeqNo, WriteBatch};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

/// Under the counter clock every write has a number of its own.
type Numbered = Memtable<[u8], Bytewise, DefaultArena, CounterClock>;

/// Sets the flag when dropped, so that the others end too when one thread fails.
struct Raises<'a>(&'a AtomicBool);

impl Drop for Raises<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One random write of any sort on one of a few keys.
fn write_something(table: &Memtable, rng: &mut Rng, n: u64) {
    let key = key(rng.below(64));
    match rng.below(6) {
        0 | 1 => assert!(table.put(&key, &value(n)).is_ok()),
        2 => assert!(table.put_tombstone(&key).is_ok()),
        3 => _ = table.delete(&key),
        4 => _ = table.insert(&[&key[..], &value(n)].concat(), &value(n)),
        _ => _ = table.get_or_insert(&key, &value(n)),
    }
}

/// A snapshot walked twice, in either direction or key by key, while writers overwrite, delete and insert, shows the
/// same each time; and the same still when the writers have ended.
#[test]
fn a_snapshot_walked_twice_is_identical() {
    let table = <Memtable>::with_shards(2);
    let stop = AtomicBool::new(false);
    let mut kept = Vec::new();
    thread::scope(|scope| {
        for seed in 0..3 {
            let (table, stop) = (&table, &stop);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                for n in 0..scaled(20_000) as u64 {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    write_something(table, &mut rng, n);
                }
            });
        }
        let _raises = Raises(&stop);
        for _ in 0..scaled(40) {
            let snapshot = table.snapshot();
            let first = rows(snapshot.iter());
            assert_eq!(rows(snapshot.iter()), first, "walked twice");
            let mut backwards = rows(snapshot.iter().rev());
            backwards.reverse();
            assert_eq!(backwards, first, "walked back");
            for row in first.iter().step_by(17) {
                assert_eq!(snapshot.get(&row.key), Some((&row.value[..], row.kind == 1)));
            }
            assert_eq!(rows(table.snapshot_at(snapshot.seq()).cursor()), first, "by its number");
            assert!(first.iter().all(|row| row.seq <= snapshot.seq().0));
            kept.push((snapshot, first));
        }
    });
    for (snapshot, first) in kept {
        assert_eq!(rows(snapshot.iter()), first, "after the writers");
    }
    assert_valid!(table);
}

/// What was complete before a snapshot is in it; what began after it is not.
fn snapshots_hold_all_before_and_nothing_after<S: SeqClock + Send + Sync>(clock: S) {
    const WRITERS: usize = 3;
    let table = Memtable::<[u8]>::builder().clock(clock).shards(2).build();
    let table = &table;
    let begun: [AtomicU64; WRITERS] = Default::default();
    let ended: [AtomicU64; WRITERS] = Default::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (begun, ended, stop) = (&begun[writer], &ended[writer], &stop);
            scope.spawn(move || {
                for n in 1..=scaled(20_000) as u64 {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    begun.store(n, Ordering::SeqCst);
                    // In turns: overwritten, deleted and brought back.
                    match n % 3 {
                        0 => assert!(table.put_tombstone(&key(writer)).is_ok()),
                        _ => assert!(table.put(&key(writer), &value(n)).is_ok()),
                    }
                    table.put(&key(1000 + writer * 1000 + usize::try_from(n).unwrap() % 100), &value(n)).unwrap();
                    ended.store(n, Ordering::SeqCst);
                }
            });
        }
        let _raises = Raises(&stop);
        for _ in 0..scaled(200) {
            let low: Vec<u64> = ended.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            let snapshot = table.snapshot();
            let high: Vec<u64> = begun.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            thread::yield_now();
            for writer in 0..WRITERS {
                let (low, high) = (low[writer], high[writer]);
                match snapshot.get(&key(writer)) {
                    None => assert_eq!(low, 0, "lost"),
                    Some((_, true)) => assert!((low..=high).any(|n| n % 3 == 0), "a tombstone not of {low}..={high}"),
                    Some((found, false)) => {
                        let n = counter(found);
                        assert!((low..=high).contains(&n), "{n} is not of {low}..={high}");
                    }
                }
                let spread = (0..100).filter_map(|i| snapshot.get(&key(1000 + writer * 1000 + i)));
                let newest = spread.map(|(found, _)| counter(found)).max().unwrap_or(0);
                assert!((low..=high).contains(&newest), "{newest} is not of {low}..={high}");
            }
        }
    });
    assert_valid!(table);
}

/// Under the epoch clock.
#[test]
fn epoch_snapshots_hold_all_before_and_nothing_after() {
    snapshots_hold_all_before_and_nothing_after(EpochClock::new());
}

/// Under the counter clock.
#[test]
fn counter_snapshots_hold_all_before_and_nothing_after() {
    snapshots_hold_all_before_and_nothing_after(CounterClock::new());
}

/// Keys that exist are never absent for a moment while they are overwritten, and no read of any sort goes back in time.
#[test]
fn reads_never_miss_a_key_and_never_go_back() {
    const KEYS: usize = 8;
    let table = <Memtable>::with_shards(2);
    let table = &table;
    for i in 0..KEYS {
        table.put(&key(i), &value(0)).unwrap();
    }
    let running = AtomicUsize::new(2);
    thread::scope(|scope| {
        for writer in 0..2 {
            let running = &running;
            scope.spawn(move || {
                for n in 1..=scaled(5_000) as u64 {
                    for i in (writer..KEYS).step_by(2) {
                        table.put(&key(i), &value(n)).unwrap();
                    }
                    // Neighbours come and fill the lanes meanwhile.
                    table.put(&[&key(writer)[..], &value(n)].concat(), b"").unwrap();
                }
                running.fetch_sub(1, Ordering::AcqRel);
            });
        }
        for reader in 0..2 {
            let running = &running;
            scope.spawn(move || {
                let mut last = [(0, SeqNo(0)); KEYS];
                let mut saw = |i: usize, found: u64, seq: SeqNo| {
                    assert!((found, seq) >= last[i], "key {i} went back from {:?} to {found} ({seq:?})", last[i]);
                    last[i] = (found, seq);
                };
                while running.load(Ordering::Acquire) > 0 {
                    if reader == 0 {
                        for i in 0..KEYS {
                            let entry = table.entry(&key(i)).expect("never absent");
                            saw(i, counter(entry.value), entry.seq);
                        }
                        let keys: Vec<_> = (0..KEYS).map(key).collect();
                        assert!(table.get_many(&keys).iter().all(Option::is_some), "never absent");
                    } else {
                        let own = |k: &[u8]| (0..KEYS).find(|&i| k == key(i));
                        let seen: Vec<usize> = table
                            .iter()
                            .filter_map(|e| own(e.key).inspect(|&i| saw(i, counter(e.value), e.seq)))
                            .collect();
                        assert!(seen.iter().copied().eq(0..KEYS), "never absent: {seen:?}");
                        let mut cursor = table.cursor();
                        for i in 0..KEYS {
                            assert!(cursor.seek_for_prev(&key(i)));
                            let entry = cursor.entry().expect("it found it");
                            assert_eq!(entry.key, key(i));
                            saw(i, counter(entry.value), entry.seq);
                        }
                        assert!(table.first_key() == Some(&key(0)) && table.contains_key(&key(KEYS - 1)));
                    }
                }
            });
        }
    });
    assert_valid!(table);
}

/// Writers that overwrite, delete, insert and number their own writes, until they are told that the table is sealed;
/// each gives back what was acknowledged.
fn write_until_sealed(table: &Numbered, me: usize) -> Vec<Row> {
    let mut acknowledged = Vec::new();
    let mut rng = Rng::new(me as u64);
    for n in 0.. {
        let key = [&key(rng.below(50))[..], &me.to_le_bytes()[..1]].concat();
        let (kind, payload) = if n % 4 == 3 { (1, vec![]) } else { (0, value(n).to_vec()) };
        let written = match n % 4 {
            3 => table.put_tombstone(&key),
            2 => table.try_insert(&key, &payload),
            1 => {
                let mut batch = <WriteBatch>::new();
                batch.put(&key, &payload);
                table.apply(&batch)
            }
            _ => table.put(&key, &payload),
        };
        match written {
            Ok(seq) => acknowledged.push(Row { key, seq: seq.0, kind, value: payload }),
            Err(InsertError::DuplicateKey) => {}
            Err(error) => {
                assert_eq!(error, InsertError::Sealed);
                break;
            }
        }
    }
    acknowledged
}

/// `freeze` while writers run: what it leaves is exactly what was acknowledged, and it is all there at once.
#[test]
fn freeze_holds_exactly_the_acknowledged_writes() {
    for round in 0..scaled(20) {
        let table = Memtable::<[u8]>::builder().clock(CounterClock::new()).shards(1 + round % 3).build();
        let table = &table;
        let start = Barrier::new(4);
        let (at_freeze, mut acknowledged) = thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|me| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        write_until_sealed(table, me)
                    })
                })
                .collect();
            start.wait();
            while table.version_count() < 100 + 50 * round {
                thread::yield_now();
            }
            let frozen = if round % 2 == 0 {
                table.freeze()
            } else {
                loop {
                    if let Some(frozen) = table.try_freeze() {
                        break frozen;
                    }
                    thread::yield_now();
                }
            };
            let (versions, count) = (rows(frozen.versions()), frozen.version_count());
            assert_eq!(versions.len(), count, "the counter clock gives each its own number");
            let acknowledged: Vec<Row> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
            (versions, acknowledged)
        });
        assert_eq!(rows(table.versions()), at_freeze, "nothing changed after");
        acknowledged.sort_by(|a, b| a.key.cmp(&b.key).then(b.seq.cmp(&a.seq)));
        assert_eq!(at_freeze, acknowledged);
        assert_valid!(table.freeze());
    }
}

/// Many threads freeze at once: all get the same table, and after `try_freeze` refuses to wait, writes are refused too.
#[test]
fn freezing_is_idempotent_across_threads() {
    for _ in 0..scaled(50) {
        let table = <Memtable>::with_shards(2);
        let start = Barrier::new(4);
        let found: Vec<usize> = thread::scope(|scope| {
            let (table, start) = (&table, &start);
            let writer = scope.spawn(move || {
                start.wait();
                (0..10_000_000).take_while(|&i| table.insert(&key(i), b"")).count()
            });
            let freezers: Vec<_> = (0..3)
                .map(|i| {
                    scope.spawn(move || {
                        start.wait();
                        if i == 0 && table.try_freeze().is_none() {
                            assert!(table.is_sealed());
                            assert_eq!(table.put(b"late", b""), Err(InsertError::Sealed));
                        }
                        table.freeze().len()
                    })
                })
                .collect();
            let mut found: Vec<usize> = freezers.into_iter().map(|f| f.join().unwrap()).collect();
            found.push(writer.join().unwrap());
            found
        });
        assert!(found.iter().all(|&len| len == found[3]), "{found:?}");
    }
}

/// Threads that go on trying to write to a sealed table do not keep a freeze from ending.
#[test]
fn refused_writers_do_not_hold_up_a_freeze() {
    let table = <Memtable>::with_shards(2);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for me in 0..4 {
            let (table, ended) = (&table, &ended);
            scope.spawn(move || {
                for _ in 0..50_000_000 {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    _ = table.put(&key(me), b"");
                }
                panic!("refused for fifty million times, and the freeze has not ended");
            });
        }
        let _raises = Raises(&ended);
        for _ in 0..scaled(200) {
            assert_eq!(table.freeze().tombstones(), 0);
        }
    });
    assert!(table.try_freeze().is_some());
}

/// A snapshot counted before and after a writer's end, by `Arc`ed threads that are joined in between, is one number.
#[test]
fn a_snapshot_counts_the_same_around_a_writers_end() {
    for round in 0..scaled(40) {
        let table = Arc::new(<Memtable>::with_shards(2));
        let done = Arc::new(AtomicUsize::new(0));
        let writer = thread::spawn({
            let table = Arc::clone(&table);
            let done = Arc::clone(&done);
            move || {
                for i in 0..300 {
                    assert!(table.insert(&key(i), b""));
                    done.store(i + 1, Ordering::Release);
                }
            }
        });
        while done.load(Ordering::Acquire) < round {
            thread::yield_now();
        }
        let snapshot = table.snapshot();
        let before = snapshot.iter().count();
        assert!(before >= round);
        writer.join().unwrap();
        assert_eq!(snapshot.iter().count(), before);
        assert_eq!(table.len(), 300);
    }
}

/// The test of `LevelDB`: each key's generations only grow. A reader notes the generations before it starts; walking, it must
/// meet every (key, generation) that existed then, in order, and may meet later ones.
#[test]
fn generations_of_leveldb() {
    const KEYS: usize = 4;
    let entry = |k: usize, generation: u64| [&[u8::try_from(k).unwrap()][..], &generation.to_be_bytes()].concat();
    let parse = |e: &[u8]| (usize::from(e[0]), u64::from_be_bytes(e[1..].try_into().unwrap()));
    let table = <Memtable>::with_shards(2);
    let current: [AtomicU64; KEYS] = Default::default();
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(1);
            for _ in 0..scaled(10_000) {
                let k = rng.below(KEYS);
                let generation = current[k].load(Ordering::Relaxed) + 1;
                assert!(table.insert(&entry(k, generation), b""));
                current[k].store(generation, Ordering::Release);
            }
            running.store(false, Ordering::Release);
        });
        for seed in 2..4 {
            let (table, current, running) = (&table, &current, &running);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                while running.load(Ordering::Acquire) {
                    let initial: Vec<u64> = current.iter().map(|g| g.load(Ordering::Acquire)).collect();
                    // Everything between `pos`, which was asked for or passed, and what is met next did not exist.
                    let mut pos = (rng.below(KEYS), 0);
                    let mut cursor = table.cursor();
                    cursor.seek(&entry(pos.0, pos.1));
                    loop {
                        let met = cursor.entry().map_or((KEYS, 0), |e| parse(e.key));
                        assert!(pos <= met, "never back from {pos:?} to {met:?}");
                        while pos < met {
                            if pos.1 == 0 {
                                pos.1 = 1; // Generation 0 is never inserted.
                                continue;
                            }
                            assert!(pos.1 > initial[pos.0], "{pos:?} was missed on the way to {met:?}; {initial:?}");
                            pos = if pos.0 < met.0 { (pos.0 + 1, 0) } else { (pos.0, pos.1 + 1) };
                        }
                        if met.0 == KEYS {
                            break;
                        }
                        if rng.below(2) == 0 {
                            cursor.next_entry();
                            pos.1 += 1;
                        } else {
                            let target = (rng.below(KEYS), rng.bits() % (initial[pos.0] + 2));
                            if target > pos {
                                pos = target;
                                cursor.seek(&entry(pos.0, pos.1));
                            }
                        }
                    }
                }
            });
        }
    });
    assert_valid!(table);
}
