//! Real threads: races with exactly one winner, atomic batches, shards and threads that come and go.
#![cfg(feature = "std")]

#[macro_use]
mod common;

use common::{Rng, counter, key, rows, scaled, value};
use memskip::{ConcurrentSkipList, CounterClock, EpochClock, Memtable, SeqClock, WriteBatch};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, RwLock};
use std::thread;

/// Lets `threads` threads do `act(thread, round)` for every round, each round begun together, and gives what each
/// round's threads returned.
fn race<T: Send>(threads: usize, rounds: usize, act: impl Fn(usize, usize) -> T + Sync) -> Vec<Vec<T>> {
    /// Lets the others through when one fails.
    struct Opens<'a>(&'a AtomicUsize);
    impl Drop for Opens<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                self.0.store(usize::MAX / 2, Ordering::Relaxed);
            }
        }
    }
    let arrived = AtomicUsize::new(0);
    let mut columns: Vec<_> = thread::scope(|scope| {
        let (arrived, act) = (&arrived, &act);
        let racer = |me| {
            move || -> Vec<T> {
                let _opens = Opens(arrived);
                let run = |round| {
                    // A relaxed barrier, so that it orders nothing that the table should have ordered.
                    arrived.fetch_add(1, Ordering::Relaxed);
                    while arrived.load(Ordering::Relaxed) < (round + 1) * threads {
                        thread::yield_now();
                    }
                    act(me, round)
                };
                (0..rounds).map(run).collect()
            }
        };
        let racers: Vec<_> = (0..threads).map(|me| scope.spawn(racer(me))).collect();
        racers.into_iter().map(|racer| racer.join().expect("no racer fails").into_iter()).collect()
    });
    (0..rounds).map(|_| columns.iter_mut().map(|column| column.next().expect("a result a round")).collect()).collect()
}

fn winners(round: &[bool]) -> usize {
    round.iter().filter(|&&won| won).count()
}

/// Of many inserts of one key, exactly one wins, and its value stays.
#[test]
fn one_insert_wins() {
    let table = <Memtable>::with_shards(2);
    let rounds = race(4, scaled(1000), |me, round| table.insert(&key(round), &value(me as u64)));
    for (round, won) in rounds.iter().enumerate() {
        assert_eq!(winners(won), 1, "round {round}");
        let winner = won.iter().position(|&won| won).unwrap() as u64;
        assert_eq!(table.get_live(&key(round)).map(counter), Some(winner));
    }
    assert_eq!(
        (table.len(), table.version_count(), table.total_inserts()),
        (rounds.len(), rounds.len(), rounds.len() * 4)
    );
    assert_valid!(table);
}

/// Of many deletes of one live key, exactly one returns true; of many of an absent one, none.
#[test]
fn one_delete_wins() {
    let table = <Memtable>::with_shards(2);
    let n = scaled(1000);
    for i in 0..n {
        table.put(&key(i), b"").unwrap();
    }
    let rounds = race(4, n, |_, round| (table.delete(&key(round)), table.delete(&key(n + round))));
    for round in rounds {
        let (live, absent): (Vec<bool>, Vec<bool>) = round.into_iter().unzip();
        assert_eq!((winners(&live), winners(&absent)), (1, 0));
    }
    assert_eq!((table.len(), table.tombstones(), table.version_count()), (0, n, 2 * n));
    assert_valid!(table);
}

/// Of many `get_or_insert`s of one absent or deleted key, exactly one gets `true`, and all see the same value.
#[test]
fn one_get_or_insert_wins() {
    let table = <Memtable>::with_shards(2);
    let n = scaled(1000);
    for i in (0..n).step_by(2) {
        table.put_tombstone(&key(i)).unwrap();
    }
    let rounds = race(4, n, |me, round| {
        let (found, inserted) = table.get_or_insert(&key(round), &value(me as u64));
        (counter(found), inserted)
    });
    for (round, results) in rounds.iter().enumerate() {
        let won: Vec<u64> = results.iter().filter(|(_, inserted)| *inserted).map(|(found, _)| *found).collect();
        assert_eq!(won.len(), 1, "round {round}");
        assert!(results.iter().all(|(found, _)| *found == won[0]), "round {round}: {results:?}");
        assert_eq!(table.get_live(&key(round)).map(counter), Some(won[0]));
    }
    assert_eq!((table.len(), table.tombstones()), (n, 0));
    assert_valid!(table);
}

/// Deletes and puts of one key alternate exactly: a delete that says it was live took away one life.
#[test]
fn lives_and_deaths_balance() {
    let table = <Memtable>::with_shards(2);
    let results = race(4, scaled(2000), |me, round| match (me + round) % 2 {
        0 => table.get_or_insert(b"k", b"v").1,
        _ => table.delete(b"k"),
    });
    let (mut lives, mut deaths) = (0, 0);
    for (round, results) in results.iter().enumerate() {
        for (me, &done) in results.iter().enumerate() {
            *(if (me + round) % 2 == 0 { &mut lives } else { &mut deaths }) += usize::from(done);
        }
    }
    let live = usize::from(table.get_live(b"k").is_some());
    assert_eq!(lives - deaths, live, "{lives} lives, {deaths} deaths");
    assert_eq!((table.len(), table.version_count()), (live, lives + deaths));
}

/// Two numbers for one key from two engines' threads: one of many writers of the same (key, number) wins.
#[test]
fn one_put_at_wins() {
    let table = Memtable::<[u8]>::builder().clock(memskip::ManualClock::new()).shards(2).build();
    let rounds = race(4, scaled(1000), |me, round| {
        table.put_at(&key(round % 3), &value(me as u64), memskip::SeqNo(round as u64)).is_ok()
    });
    assert!(rounds.iter().all(|round| winners(round) == 1));
    assert_eq!(table.versions().count(), rounds.len());
    assert_valid!(table);
}

/// Threads write disjoint numbers of the same keys, in opposite directions: every chain comes out sorted and whole.
#[test]
fn put_at_from_many_threads_sorts_the_chain() {
    let n = scaled(600);
    let table = Memtable::<[u8]>::builder().clock(memskip::ManualClock::new()).shards(2).build();
    race(3, n, |me, round| {
        let seq = (if me == 1 { n - 1 - round } else { round } * 3 + me) as u64;
        table.put_at(&key(round % 2), &value(seq), memskip::SeqNo(seq)).unwrap();
    });
    let found = rows(table.versions());
    assert_eq!(found.len(), 3 * n);
    assert!(found.windows(2).all(|pair| pair[0].key < pair[1].key || pair[0].seq > pair[1].seq));
    assert!(found.iter().all(|row| counter(&row.value) == row.seq));
    assert_valid!(table);
}

/// Batches that overlap are each seen whole or not at all: two writers put their mark on the same keys in opposite
/// orders, so that a snapshot shows the mark of one batch on all of them.
fn batches_on_the_same_keys<S: SeqClock + Send + Sync>(clock: S) {
    const KEYS: usize = 5;
    let table = Memtable::<[u8]>::builder().clock(clock).shards(2).build();
    let table = &table;
    let running = AtomicUsize::new(2);
    thread::scope(|scope| {
        for writer in 0..2_u64 {
            let running = &running;
            scope.spawn(move || {
                for n in 0..scaled(2000) as u64 {
                    let mut batch = <WriteBatch>::new();
                    let mark = value(n * 2 + writer);
                    for i in 0..KEYS {
                        let key = key(if writer == 0 { i } else { KEYS - 1 - i });
                        batch.put(&key, &mark);
                    }
                    batch.put(&[&key(1)[..], &mark].concat(), &mark);
                    table.apply(&batch).unwrap();
                }
                running.fetch_sub(1, Ordering::AcqRel);
            });
        }
        let mut snapshots = 0;
        while running.load(Ordering::Acquire) > 0 || snapshots == 0 {
            let snapshot = table.snapshot();
            let marks: Vec<Option<u64>> = (0..KEYS).map(|i| snapshot.get(&key(i)).map(|(v, _)| counter(v))).collect();
            assert!(marks.windows(2).all(|pair| pair[0] == pair[1]), "half of a batch: {marks:?}");
            if let Some(mark) = marks[0] {
                assert!(snapshot.get(&[&key(1)[..], &value(mark)].concat()).is_some(), "its new key as well");
            }
            let fresh = snapshot.iter().filter(|e| e.key.len() > key(0).len()).count();
            assert_eq!(snapshot.iter().filter(|e| e.key.len() > key(0).len()).count(), fresh, "walked twice");
            snapshots += 1;
        }
    });
    let marks: Vec<_> = (0..KEYS).map(|i| table.get_live(&key(i)).map(counter)).collect();
    assert!(marks.windows(2).all(|pair| pair[0] == pair[1]), "the last batch won everywhere: {marks:?}");
    assert_eq!(table.len(), KEYS + 2 * scaled(2000));
    assert_valid!(table);
}

/// Under the epoch clock, where both batches may have the same number.
#[test]
fn overlapping_batches_are_whole_under_epochs() {
    batches_on_the_same_keys(EpochClock::new());
}

/// Under the counter clock.
#[test]
fn overlapping_batches_are_whole_under_counters() {
    batches_on_the_same_keys(CounterClock::new());
}

/// Batches that share one key, with single writes on it in between: whose mark the shared key has, theirs the other
/// key has too.
#[test]
fn batches_that_share_one_key_are_whole() {
    let table = <Memtable>::with_shards(2);
    let table = &table;
    let running = AtomicUsize::new(3);
    thread::scope(|scope| {
        for writer in 0..3_u64 {
            let running = &running;
            scope.spawn(move || {
                for n in 0..scaled(4000) as u64 {
                    let mark = value(n * 3 + writer);
                    let mut batch = <WriteBatch>::new();
                    match writer {
                        0 => {
                            batch.put(b"a", &mark);
                            batch.put(b"shared", &mark);
                        }
                        1 => {
                            batch.put(b"shared", &mark);
                            batch.put(b"z", &mark);
                        }
                        _ => assert!(table.put(b"shared", &mark).is_ok()),
                    }
                    table.apply(&batch).unwrap();
                }
                running.fetch_sub(1, Ordering::AcqRel);
            });
        }
        while running.load(Ordering::Acquire) > 0 {
            let snapshot = table.snapshot();
            let at = |key: &[u8]| snapshot.get(key).map(|(v, _)| counter(v));
            for _ in 0..2 {
                match at(b"shared") {
                    Some(mark) if mark % 3 == 0 => assert_eq!(at(b"a"), Some(mark)),
                    Some(mark) if mark % 3 == 1 => assert_eq!(at(b"z"), Some(mark)),
                    _ => {}
                }
            }
        }
    });
    assert_valid!(table);
}

/// Batches and single writes on the same keys: numbers never go back under a reader, and whoever has written reads its
/// own write or a newer one.
fn batches_beside_single_writes<S: SeqClock + Send + Sync>(clock: S) {
    let table = Memtable::<[u8]>::builder().clock(clock).shards(2).build();
    let table = &table;
    for i in 0..2 {
        table.put(&key(i), b"").unwrap();
    }
    let running = AtomicUsize::new(4);
    thread::scope(|scope| {
        for writer in 0..4_usize {
            let running = &running;
            scope.spawn(move || {
                let mut batch = <WriteBatch>::new();
                for i in [writer % 2, 1 - writer % 2] {
                    batch.put(&key(i), &value(writer as u64));
                }
                for n in 0..scaled(2000) {
                    let seq = match writer {
                        0 | 1 => table.apply(&batch),
                        _ if n % 4 == 0 => table.put_tombstone(&key(writer % 2)),
                        _ => table.put(&key(writer % 2), b"single"),
                    };
                    let (seq, keys) = (seq.unwrap(), if writer < 2 { 0..2 } else { writer % 2..writer % 2 + 1 });
                    for i in keys {
                        let found = table.entry(&key(i)).expect("never absent").seq;
                        assert!(found >= seq, "wrote {seq:?}, then read {found:?}");
                    }
                }
                running.fetch_sub(1, Ordering::AcqRel);
            });
        }
        let mut last = [memskip::SeqNo(0); 2];
        while running.load(Ordering::Acquire) > 0 && !thread::panicking() {
            for (i, last) in last.iter_mut().enumerate() {
                let found = table.entry(&key(i)).expect("never absent").seq;
                assert!(found >= *last, "back from {last:?} to {found:?}");
                *last = found;
            }
        }
    });
    assert_eq!(table.version_count(), 2 + 6 * scaled(2000));
    assert_valid!(table);
}

/// Under the epoch clock.
#[test]
fn batches_beside_single_writes_under_epochs() {
    batches_beside_single_writes(EpochClock::new());
}

/// Under the counter clock.
#[test]
fn batches_beside_single_writes_under_counters() {
    batches_beside_single_writes(CounterClock::new());
}

/// A write to a key that a batch is being applied to may get the batch's number, also under a clock that gives each write its own. Then
/// it counts as written before, and is covered: what that number shows is the batch's.
#[test]
fn a_batch_covers_what_shares_its_number() {
    let table = Memtable::<[u8]>::builder().clock(CounterClock::new()).build();
    let mut batch = WriteBatch::new();
    batch.put(b"shared", b"batch");
    (0..8).for_each(|other| batch.put(&key(other), b"batch"));
    let rounds = race(2, scaled(1000), |me, _| {
        if me == 0 { table.apply(&batch) } else { table.put(b"shared", b"alone") }.expect("there is room")
    });
    for round in rounds {
        let [batch, alone] = round[..] else { unreachable!("two threads") };
        let seen = |seq| table.get_at(b"shared", seq).map(|entry| (entry.seq, entry.value));
        assert_eq!(seen(batch), Some((batch, &b"batch"[..])));
        assert!(batch == alone || seen(alone) == Some((alone, &b"alone"[..])));
    }
    assert!(
        table.versions().is_sorted_by(|one, other| (one.key, other.seq) < (other.key, one.seq)),
        "each number once a key"
    );
}

/// A batch races a conditional write for its keys: the batch is never lost, and the other either came first or saw it.
#[test]
fn batches_beside_conditional_writes() {
    let table = <Memtable>::with_shards(2);
    let n = scaled(1000);
    let live = |i: usize| key(10 * i + 2);
    for i in 0..n {
        table.put(&live(i), b"old").unwrap();
    }
    let rounds = race(2, n, |me, i| {
        let [inserted, got, live] = [key(10 * i), key(10 * i + 1), live(i)];
        if me == 0 {
            let mut batch = <WriteBatch>::new();
            for key in [&live, &inserted, &got] {
                batch.put(key, b"batch");
            }
            return table.apply(&batch).is_ok();
        }
        table.insert(&inserted, b"insert");
        let (value, first) = table.get_or_insert(&got, b"got");
        assert_eq!(value, if first { &b"got"[..] } else { b"batch" });
        // It was live before the batch, and is live after it.
        table.delete(&live)
    });
    assert!(rounds.iter().flatten().all(|&done| done));
    for i in 0..n {
        assert_eq!(table.get_live(&key(10 * i)), Some(&b"batch"[..]), "round {i}");
        assert_eq!(table.get_live(&key(10 * i + 1)), Some(&b"batch"[..]), "round {i}");
        assert!(table.get(&live(i)).is_some_and(|(value, dead)| dead || value == b"batch"), "round {i}");
    }
    assert_valid!(table);
}

/// Any number of threads share any number of shards; threads that come and go leave nothing behind that matters.
#[test]
fn threads_come_and_go() {
    for shards in [1, 2, 5] {
        let table = <Memtable>::with_shards(shards);
        let generations = scaled(20);
        for generation in 0..generations {
            thread::scope(|scope| {
                for me in 0..8 {
                    let table = &table;
                    scope.spawn(move || {
                        for i in 0..10 {
                            let key = key((generation * 8 + me) * 10 + i);
                            table.put(&key, b"1").unwrap();
                            assert!(table.delete(&key));
                            table.put(&key, &key).unwrap();
                        }
                    });
                }
            });
        }
        let n = generations * 80;
        assert_eq!((table.len(), table.tombstones(), table.version_count()), (n, 0, 3 * n));
        assert!((0..n).all(|i| table.get_live(&key(i)) == Some(&key(i)[..])));
        assert_valid!(table);
    }
}

/// A table dropped and another made at the same address, with other shards, under threads that live on: what they
/// remember of the old one harms neither.
#[test]
fn tables_are_replaced_at_the_same_address() {
    let slot = RwLock::new(ConcurrentSkipList::with_shards(4));
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = std::ptr::from_ref(&*slot.read().unwrap());
    let turn = Barrier::new(5);
    let generations = scaled(30);
    thread::scope(|scope| {
        for me in 0..4 {
            let (slot, turn, stop, written) = (&slot, &turn, &stop, &written);
            scope.spawn(move || {
                loop {
                    turn.wait();
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    let table = slot.read().unwrap();
                    for i in 0..50 {
                        let key = key(i * 4 + me);
                        let done = table.insert(&key, &key) && table.get_live(&key) == Some(&key[..]);
                        written.fetch_add(usize::from(done), Ordering::AcqRel);
                    }
                    drop(table);
                    turn.wait();
                }
            });
        }
        for generation in 0..generations {
            turn.wait();
            turn.wait();
            let mut table = slot.write().unwrap();
            // Nothing is asserted while a barrier may be waited for: a panic here would leave the others waiting.
            let whole = table.len() == 200 && table.iter().count() == 200 && table.validate().is_ok();
            written.fetch_add(usize::from(whole), Ordering::AcqRel);
            *table = ConcurrentSkipList::with_shards(1 + generation % 4);
        }
        stop.store(true, Ordering::Release);
        turn.wait();
    });
    assert_eq!(written.into_inner(), generations * 201);
    assert_eq!(std::ptr::from_ref(&*slot.read().unwrap()), address);
}

/// Random keys from several threads into one table: everything is there, in order, and duplicates were refused.
#[test]
fn everything_that_was_inserted_is_there() {
    let table = <Memtable>::with_shards(3);
    let n = scaled(10_000);
    let inserted: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|seed| {
                let table = &table;
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    (0..n / 2).filter(|_| table.insert(&key(rng.below(n)), b"")).count()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let keys: Vec<&[u8]> = table.iter().map(|e| e.key).collect();
    assert_eq!((keys.len(), table.len()), (inserted, inserted));
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(keys.iter().all(|key| table.contains_key(key)));
    assert_valid!(table);
}

/// Writers that keep knocking at a table that is being frozen are not counted as writers: how often one has to look is bounded.
#[test]
fn freezing_ends_while_refused_writers_keep_trying() {
    for (threads, shards) in [(32, 1), (32, 32)] {
        let table = Memtable::with_shards(shards);
        let is_over = AtomicBool::new(false);
        let begun = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    while !is_over.load(Ordering::SeqCst) {
                        let _ = table.insert(b"k", b"v");
                    }
                });
            }
            while begun.load(Ordering::SeqCst) < threads {
                thread::yield_now();
            }
            let looks = (0..5).map(|_| {
                (0..LOOKS).find(|_| {
                    thread::yield_now();
                    table.try_freeze().is_some()
                })
            });
            let ends = looks.max_by_key(|look| look.unwrap_or(LOOKS));
            is_over.store(true, Ordering::SeqCst);
            assert!(ends.flatten().is_some(), "{threads} writers, {shards} shards: not frozen after {LOOKS} looks");
        });
    }
}

/// Far more than it takes for every writer to have its turn.
const LOOKS: usize = 2_000;
