//! The only writer of a table: it writes what many would, everybody else is refused as long as it lives, and whatever ends it lets the
//! others in again.

#[macro_use]
mod common;

use common::{Fuse, Rng, Row, key, rows, scaled, value};
use memskip::{
    BatchError, Builder, Bytewise, Comparator, CounterClock, EpochClock, FixedArena, InsertError, Kind, ManualClock,
    Memtable, OnDuplicateSeqNo, SeqClock, SeqNo,
};
use std::cmp::Ordering;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;

type Fixed<'a, S = EpochClock> = Memtable<[u8], Bytewise, FixedArena<'a>, S>;

fn buffer(bytes: usize) -> Vec<MaybeUninit<u8>> {
    vec![MaybeUninit::uninit(); bytes + LINE]
}

/// All of a buffer but what alignment takes, so that every buffer of a size has room for as much.
fn aligned(buffer: &mut [MaybeUninit<u8>]) -> &mut [MaybeUninit<u8>] {
    let skip = buffer.as_ptr().align_offset(LINE);
    let end = skip + buffer.len() - LINE;
    &mut buffer[skip..end]
}

const LINE: usize = 64;

fn over<S: SeqClock + Default>(buffer: &mut [MaybeUninit<u8>]) -> Fixed<'_, S> {
    Builder::with_arena(FixedArena::new(aligned(buffer))).clock(S::default()).build()
}

/// What a write answers, whichever it is.
#[derive(Debug, PartialEq)]
enum Answer {
    Seq(Result<SeqNo, InsertError>),
    Done(Result<(), InsertError>),
    Yes(bool),
    Got(Result<(Vec<u8>, bool), InsertError>),
    Batch(Result<usize, BatchError>),
}

/// Which write a number stands for, of one who writes: `&Memtable` and `&mut SingleWriter` have the same methods.
macro_rules! write {
    ($writer:expr, $which:expr, $key:expr, $value:expr, $seq:expr) => {{
        let (key, value, seq): (&[u8], &[u8], SeqNo) = ($key, $value, $seq);
        match $which {
            0 => Answer::Yes($writer.insert(key, value)),
            1 => Answer::Seq($writer.try_insert(key, value)),
            2 => Answer::Seq($writer.put(key, value)),
            3 => Answer::Yes($writer.delete(key)),
            4 => Answer::Seq($writer.put_tombstone(key)),
            5 => Answer::Done($writer.put_at(key, value, seq)),
            6 => Answer::Done($writer.put_tombstone_at(key, seq)),
            7 => Answer::Done($writer.put_kind_at(key, value, Kind(9), seq)),
            8 => Answer::Got(Ok($writer.get_or_insert(key, value)).map(|(value, is_new)| (value.to_vec(), is_new))),
            9 => Answer::Got($writer.try_get_or_insert(key, value).map(|(value, is_new)| (value.to_vec(), is_new))),
            10 => {
                let entries: Vec<_> = (0..40u8).map(|i| ([key, &[i]].concat(), value)).collect();
                Answer::Batch($writer.insert_batch(&entries))
            }
            _ => Answer::Seq($writer.apply_slice(&[
                (key, value, Kind::VALUE),
                (&[key, b"!"].concat(), b"", Kind::TOMBSTONE),
                (key, b"twice", Kind(7)),
            ])),
        }
    }};
}

const WRITES: usize = 12;

/// Everything that can be told of a table.
fn whole<C: Comparator<[u8]>, A: memskip::Arena, S: SeqClock, const H: usize>(
    table: &Memtable<[u8], C, A, S, H>,
) -> (Vec<Row>, Vec<Row>, String) {
    (rows(table.versions()), rows(table.iter().rev()), format!("{:?}", table.stats()))
}

/// The same writes in the same order, one table by the only writer, the other as one of many: all answers, entries and figures agree,
/// memory included; and so do they when the writer is made anew again and again.
fn agree<S: SeqClock + Default>(seed: u64, duplicates: OnDuplicateSeqNo) {
    let (mut one, mut two) = (buffer(1 << 18), buffer(1 << 18));
    let [alone, many]: [Fixed<'_, S>; 2] = [&mut one, &mut two].map(|buffer| {
        let arena = FixedArena::new(aligned(buffer));
        Builder::with_arena(arena).clock(S::default()).on_duplicate_seqno(duplicates).max_entries(2500).build()
    });
    let mut rng = Rng::new(seed);
    let mut writer = Some(alone.single_writer().unwrap());
    for n in 0..scaled(2000) as u64 {
        let (which, key, value) = (rng.below(WRITES), key(rng.below(200)), value(n));
        let seq = SeqNo(if rng.below(50) == 0 { u64::MAX / 2 } else { rng.below(2000) as u64 });
        if rng.below(20) == 0 {
            drop(writer.take());
            writer = Some(alone.single_writer().unwrap());
        }
        let writer = writer.as_mut().unwrap();
        let wanted = write!(many, which, &key, &value, seq);
        assert_eq!(write!(writer, which, &key, &value, seq), wanted, "write {which} of {key:?}, the {n}th");
        if rng.below(30) == 0 {
            assert_eq!(writer.snapshot().seq(), many.snapshot().seq());
        }
    }
    drop(writer);
    let (found, wanted) = (whole(&alone), whole(&many));
    assert_eq!(found.2, wanted.2);
    assert_eq!((found.0, found.1), (wanted.0, wanted.1));
    assert_valid!(alone);
}

#[test]
fn it_writes_what_one_of_many_would() {
    for seed in 0..4 {
        agree::<EpochClock>(seed, OnDuplicateSeqNo::Reject);
        agree::<CounterClock>(seed, OnDuplicateSeqNo::Replace);
        agree::<ManualClock>(seed, OnDuplicateSeqNo::Reject);
    }
}

/// Ascending, descending and random, up to the last byte of a small buffer: as many go in as by one of many.
#[test]
fn it_fills_memory_as_far() {
    for size in (0..3000).step_by(37) {
        for order in 0..3 {
            let at = |i: usize| match order {
                0 => key(i),
                1 => key(1000 - i),
                _ => key(Rng::new(i as u64).below(1 << 20)),
            };
            let (mut one, mut two) = (buffer(size), buffer(size));
            let (alone, many): (Fixed<'_>, Fixed<'_>) = (over(&mut one), over(&mut two));
            let wanted = (0..200).map(|i| many.try_insert(&at(i), &value(7))).collect::<Vec<_>>();
            let mut writer = alone.single_writer().unwrap();
            let found = (0..200).map(|i| writer.try_insert(&at(i), &value(7))).collect::<Vec<_>>();
            assert_eq!(found, wanted, "{size} bytes");
            drop(writer);
            assert_eq!(rows(alone.versions()), rows(many.versions()));
            assert_valid!(alone);
        }
    }
}

#[test]
fn all_others_are_refused() {
    let mut memory = buffer(1 << 16);
    let table: Fixed<'_> = over(&mut memory);
    let (k, v) = (&b"k"[..], &b"v"[..]);
    table.put(k, v).unwrap();
    let mut writer = table.single_writer().unwrap();
    let before = whole(&table);
    for which in 0..WRITES {
        let busy = InsertError::Busy;
        let wanted = match which {
            0 | 3 => Answer::Yes(false),
            1 | 2 | 4 | 11 => Answer::Seq(Err(busy)),
            5..=7 => Answer::Done(Err(busy)),
            // What cannot be written can be read.
            8 | 9 => Answer::Got(Ok((v.to_vec(), false))),
            _ => Answer::Batch(Err(BatchError::PartialFailure { succeeded: 0, failed: 40 })),
        };
        assert_eq!(write!(table, which, k, b"w", SeqNo(5)), wanted, "write {which}");
    }
    assert_eq!(table.try_get_or_insert(b"l", v), Err(InsertError::Busy));
    assert_eq!(table.single_writer().err(), Some(InsertError::Busy));
    assert!(!table.is_sealed());
    let after = whole(&table);
    assert_eq!((before.0, before.1), (after.0, after.1));
    writer.put(k, b"w").unwrap();
    drop(writer);
    table.put(k, b"x").unwrap();
    assert_eq!((table.get_live(k), table.version_count()), (Some(&b"x"[..]), 3));
    assert_valid!(table);
}

#[test]
fn a_freeze_waits_for_it_and_it_is_told() {
    let mut memory = buffer(1 << 16);
    let table: Fixed<'_> = over(&mut memory);
    let mut writer = table.single_writer().unwrap();
    writer.put(b"k", b"v").unwrap();
    assert!(table.try_freeze().is_none());
    let key = &b"l"[..];
    for which in 0..WRITES {
        let sealed = InsertError::Sealed;
        let wanted = match which {
            0 | 3 => Answer::Yes(false),
            1 | 2 | 4 | 11 => Answer::Seq(Err(sealed)),
            5..=7 => Answer::Done(Err(sealed)),
            8 => Answer::Got(Ok((Vec::new(), false))),
            9 => Answer::Got(Err(sealed)),
            _ => Answer::Batch(Err(BatchError::PartialFailure { succeeded: 0, failed: 40 })),
        };
        assert_eq!(write!(writer, which, key, b"v", SeqNo(5)), wanted, "write {which}");
    }
    assert_eq!(table.put(key, b"v"), Err(InsertError::Sealed));
    assert!(table.try_freeze().is_none());
    let frozen = writer.freeze();
    assert_eq!((frozen.len(), frozen.version_count()), (1, 1));
    assert_eq!(table.single_writer().err(), Some(InsertError::Sealed));
    assert!(table.try_freeze().is_some());
}

#[test]
fn a_freeze_elsewhere_ends_when_it_goes() {
    let mut memory = buffer(1 << 16);
    let table: Fixed<'_> = over(&mut memory);
    let mut writer = table.single_writer().unwrap();
    thread::scope(|scope| {
        let freezer = scope.spawn(|| table.freeze().len());
        let mut written = 0;
        while writer.put(&key(written % 50), b"v") != Err(InsertError::Sealed) {
            written += 1;
        }
        drop(writer);
        assert_eq!(freezer.join().unwrap(), written.min(50));
    });
}

#[test]
fn forgotten_it_keeps_everybody_out_until_a_reset() {
    let mut memory = buffer(1 << 16);
    let mut table: Fixed<'_> = over(&mut memory);
    std::mem::forget(table.single_writer().unwrap());
    assert_eq!(table.put(b"k", b"v"), Err(InsertError::Busy));
    assert!(table.try_freeze().is_none());
    table.reset();
    assert!(table.insert(b"k", b"v") && table.single_writer().is_ok_and(|mut writer| writer.insert(b"l", b"v")));
    assert!(table.try_freeze().is_some());
}

/// A comparator that panics, or that writes itself while the only writer does.
struct Meddling<'a> {
    fuse: &'a Fuse,
    table: &'a AtomicUsize,
    refused: &'a AtomicUsize,
}

type Meddled<'a> = Memtable<[u8], Meddling<'a>, FixedArena<'a>>;

impl Comparator<[u8]> for Meddling<'_> {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.fuse.burn();
        let address = self.table.swap(0, Relaxed);
        if address != 0 {
            // SAFETY: the address of the table that this is the comparator of, while it lives.
            #[allow(unsafe_code, reason = "a table that is reached from its own comparator")]
            let table = unsafe { &*(address as *const Meddled<'_>) };
            assert_eq!(table.put(b"m", b"from within"), Err(InsertError::Busy));
            assert_eq!(table.single_writer().err(), Some(InsertError::Busy));
            assert!(table.try_freeze().is_none());
            self.refused.fetch_add(1, Relaxed);
        }
        a.cmp(b)
    }
}

#[test]
fn a_panic_inside_leaves_the_table_whole_and_lets_others_in() {
    let (fuse, address, refused) = (Fuse::new(), AtomicUsize::new(0), AtomicUsize::new(0));
    for calls in 1..12 {
        let mut memory = buffer(1 << 16);
        let comparator = Meddling { fuse: &fuse, table: &address, refused: &refused };
        let table: Meddled<'_> = Builder::with_arena(FixedArena::new(&mut memory)).comparator(comparator).build();
        let mut writer = table.single_writer().unwrap();
        (0..40).step_by(2).for_each(|i| assert!(writer.insert(&key(i), b"v")));
        fuse.arm(calls);
        let panicked =
            catch_unwind(AssertUnwindSafe(|| (1..40).step_by(2).for_each(|i| _ = writer.insert(&key(i), b"w"))));
        assert!(panicked.is_err() && !fuse.disarm());
        // It goes on itself, and so does whoever comes after it.
        assert!(writer.insert(b"x", b"v"));
        assert_eq!(table.put(b"y", b"v"), Err(InsertError::Busy));
        drop(writer);
        assert!(table.insert(b"z", b"v"));
        assert_valid!(table);
        assert_eq!(table.iter().count(), table.len());
    }
}

#[test]
fn who_writes_from_within_is_refused() {
    let (fuse, address, refused) = (Fuse::new(), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut memory = buffer(1 << 16);
    let comparator = Meddling { fuse: &fuse, table: &address, refused: &refused };
    let table: Meddled<'_> = Builder::with_arena(FixedArena::new(&mut memory)).comparator(comparator).build();
    let mut writer = table.single_writer().unwrap();
    assert!(writer.insert(b"a", b"v") && writer.insert(b"c", b"v"));
    address.store(std::ptr::from_ref(&table) as usize, Relaxed);
    // The freeze from within has sealed the table: this write still ends, no other begins.
    assert!(writer.insert(b"b", b"v"));
    assert_eq!(refused.load(Relaxed), 1);
    assert!(!writer.insert(b"d", b"v"));
    let frozen = writer.freeze();
    assert_eq!(rows(frozen.iter()).len(), 3);
    assert_valid!(frozen);
}

/// While one writes, whoever else wants to be the writer is refused; the write is not.
#[test]
fn who_is_writing_is_not_shut_out() {
    /// Waits in its first look at "w" until told to go on.
    struct Waiting<'a>(&'a AtomicBool, &'a AtomicBool);
    impl Comparator<[u8]> for Waiting<'_> {
        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            if (a == b"w" || b == b"w") && !self.0.swap(true, SeqCst) {
                while !self.1.load(SeqCst) {
                    thread::yield_now();
                }
            }
            a.cmp(b)
        }
    }
    let (is_inside, may_go_on) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut memory = buffer(1 << 16);
    let table: Memtable<[u8], Waiting<'_>, FixedArena<'_>> =
        Builder::with_arena(FixedArena::new(&mut memory)).comparator(Waiting(&is_inside, &may_go_on)).build();
    table.put(b"a", b"v").unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| table.put(b"w", b"v"));
        while !is_inside.load(SeqCst) {
            thread::yield_now();
        }
        for _ in 0..3 {
            assert_eq!(table.single_writer().err(), Some(InsertError::Busy));
            // Nor does the attempt leave anything behind.
            table.put(b"b", b"v").unwrap();
        }
        may_go_on.store(true, SeqCst);
        writing.join().unwrap().unwrap();
    });
    assert!(table.single_writer().is_ok());
    assert_eq!(table.len(), 3);
}

/// It may be sent, and lent, to other threads.
#[test]
fn it_goes_from_thread_to_thread() {
    fn is_send_and_sync<T: Send + Sync>(value: T) -> T {
        value
    }
    let mut memory = buffer(1 << 20);
    let table: Fixed<'_> = over(&mut memory);
    let mut writer = is_send_and_sync(table.single_writer().unwrap());
    for round in 0..scaled(40) {
        writer = thread::scope(|scope| {
            let write = move || {
                (0..50).for_each(|i| _ = writer.put(&key(i * 40 + round), &value(round as u64)));
                writer
            };
            scope.spawn(write).join().unwrap()
        });
    }
    drop(writer);
    assert_eq!(table.len(), 50 * scaled(40));
    assert_valid!(table);
}

/// Several shards: all gates are taken, by whichever shard anybody writes.
#[cfg(feature = "std")]
mod with_shards {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    #[test]
    fn every_shard_is_shut() {
        let table = Memtable::with_shards(7);
        let writer = table.single_writer().unwrap();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    assert_eq!(table.put(b"k", b"v"), Err(InsertError::Busy));
                    assert_eq!(table.single_writer().err(), Some(InsertError::Busy));
                });
            }
        });
        drop(writer);
        thread::scope(|scope| {
            let table = &table;
            (0..20u8).for_each(|i| _ = scope.spawn(move || table.put(&[i], b"v").unwrap()));
        });
        assert_eq!(table.len(), 20);
    }

    /// Threads that write as many, and threads that want to be the only one: what was accepted is there, once, and nothing else.
    #[test]
    fn they_take_turns() {
        let table = Memtable::<[u8]>::builder().shards(3).clock(CounterClock::new()).build();
        let accepted = Mutex::new(BTreeMap::new());
        let refused = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (table, accepted, refused) = (&table, &accepted, &refused);
                scope.spawn(move || {
                    let mut own = Vec::new();
                    let mut rng = Rng::new(thread);
                    for n in 0..scaled(3000) as u64 {
                        let (key, value) = (key(rng.below(300)), value(n));
                        let mut note = |written: Result<SeqNo, InsertError>| match written {
                            Ok(seq) => own.push(((key.clone(), seq), value)),
                            Err(error) => {
                                assert_eq!(error, InsertError::Busy);
                                refused.fetch_add(1, Relaxed);
                            }
                        };
                        if thread % 2 == 0 {
                            note(table.put(&key, &value));
                        } else {
                            match table.single_writer() {
                                Ok(mut writer) => note(writer.put(&key, &value)),
                                // No attempt to write anything.
                                Err(error) => assert_eq!(error, InsertError::Busy),
                            }
                        }
                    }
                    accepted.lock().unwrap().extend(own);
                });
            }
            scope.spawn(|| {
                for _ in 0..scaled(60) {
                    let snapshot = table.snapshot();
                    let first = rows(snapshot.iter());
                    assert_eq!(rows(snapshot.iter()), first, "it moved");
                }
            });
        });
        let accepted = accepted.into_inner().unwrap();
        let found: BTreeMap<_, _> = table
            .versions()
            .map(|entry| ((entry.key.to_vec(), entry.seq), value(common::counter(entry.value))))
            .collect();
        assert_eq!(found, accepted);
        assert_eq!(table.total_inserts(), accepted.len() + refused.load(Relaxed));
        assert_valid!(table);
    }

    /// Readers beside it: scans are in order and never shrink, and what a snapshot has shown it shows ever after.
    #[test]
    fn readers_are_as_ever() {
        let table = Memtable::with_shards(1);
        let is_done = AtomicBool::new(false);
        let count = scaled(40_000);
        // The key that is written in this very moment.
        let newest = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut least = 0;
                while !is_done.load(SeqCst) {
                    let keys: Vec<_> = table.iter().map(|entry| entry.key).collect();
                    assert!(keys.is_sorted() && keys.len() >= least, "{} after {least}", keys.len());
                    least = keys.len();
                }
            });
            scope.spawn({
                let (table, is_done, newest) = (&table, &is_done, &newest);
                move || {
                    let mut seen = Vec::new();
                    while !is_done.load(SeqCst) {
                        let snapshot = table.snapshot();
                        let near = newest.load(Relaxed)..newest.load(Relaxed) + 4;
                        let shown: Vec<_> = near.clone().map(|n| snapshot.get(&key(n)).is_some()).collect();
                        seen.push((snapshot, near, shown));
                    }
                    for (snapshot, near, shown) in seen {
                        let again: Vec<_> = near.clone().map(|n| snapshot.get(&key(n)).is_some()).collect();
                        assert_eq!(again, shown, "the snapshot at {} moved, keys {near:?}", snapshot.seq());
                    }
                }
            });
            let mut writer = table.single_writer().unwrap();
            for n in 0..count {
                newest.store(n, Relaxed);
                writer.put(&key(n), &value(n as u64)).unwrap();
            }
            is_done.store(true, SeqCst);
        });
        assert_eq!(table.len(), count);
        assert_valid!(table);
    }

    /// Whoever waits for it to go finds the table sealed.
    #[test]
    fn nobody_comes_in_before_its_own_freeze() {
        for _ in 0..scaled(100) {
            let table = Memtable::with_shards(1);
            let mut writer = table.single_writer().unwrap();
            assert!(writer.insert(b"k", b"v"));
            let begin = std::sync::Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    while table.put(b"l", b"v") == Err(InsertError::Busy) {}
                });
                begin.wait();
                assert_eq!(writer.freeze().len(), 1);
            });
        }
    }

    /// With the type's parameters left out it is the default table's.
    #[test]
    fn it_has_the_defaults() {
        fn load(writer: &mut memskip::SingleWriter<'_>) -> usize {
            writer.insert_batch(&[(b"a", b"1"), (b"b", b"2")]).unwrap()
        }
        let table = Memtable::new();
        assert_eq!(load(&mut table.single_writer().unwrap()), 2);
    }
}
