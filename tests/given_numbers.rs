//! Numbers that callers give, at the end of their range and beside batches: what is complete is in the next snapshot, and a write that
//! is refused has changed no number.
#![cfg(feature = "std")]

use memskip::{
    Builder, Bytewise, Comparator, CounterClock, EpochClock, FixedArena, InsertError, Kind, ManualClock, Memtable,
    SeqClock, SeqNo, WriteBatch,
};
use std::cmp::Ordering;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

/// A put, then a batch, above a version of the greatest number there is for callers.
fn are_in_the_next_snapshot<S: SeqClock>(clock: S) {
    let table = Memtable::<[u8]>::builder().clock(clock).build();
    table.put_at(b"k", b"given", SeqNo::LIMIT).unwrap();
    let put = table.put(b"k", b"put").unwrap();
    let snapshot = table.snapshot();
    assert_eq!(snapshot.get_live(b"k"), Some(&b"put"[..]), "number {put}, snapshot {}", snapshot.seq());

    let mut batch = WriteBatch::new();
    batch.put(b"k", b"batch");
    batch.put(b"other", b"batch");
    let batch = table.apply(&batch).unwrap();
    assert!(batch >= put);
    let snapshot = table.snapshot();
    assert_eq!(snapshot.get_live(b"k"), Some(&b"batch"[..]), "number {batch}, snapshot {}", snapshot.seq());
    assert_eq!(snapshot.get_live(b"other"), Some(&b"batch"[..]));
    assert_eq!(table.validate(), Ok(()));
}

#[test]
fn what_is_above_the_greatest_given_number_is_in_the_next_snapshot() {
    are_in_the_next_snapshot(EpochClock::new());
    are_in_the_next_snapshot(CounterClock::new());
    are_in_the_next_snapshot(ManualClock::new());
}

#[test]
fn a_renewed_table_goes_on_above_it() {
    let table = Memtable::new();
    table.put_at(b"k", b"given", SeqNo::LIMIT).unwrap();
    let seq = table.put(b"k", b"put").unwrap();
    let next = table.renew().unwrap();
    assert!(next.put(b"k", b"later").unwrap() > seq);
}

/// Bytewise; the second look for the key "z" waits until it is told to go on. A batch that ends with it has linked all else by then.
#[derive(Clone, Copy)]
struct Pausing<'a>(&'a AtomicUsize);

const GO_ON: usize = 1000;

impl Comparator<[u8]> for Pausing<'_> {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if (a == b"z" || b == b"z") && self.0.fetch_add(1, SeqCst) == 1 {
            while self.0.load(SeqCst) < GO_ON {
                thread::yield_now();
            }
        }
        Bytewise.compare(a, b)
    }
}

/// Beside a batch that has linked its version of "k", a write of `seq` there that finds no memory. Gives the number of the batch, and that
/// of the next snapshot, which has to show it.
fn beside_a_refused_write<S: SeqClock + Sync>(clock: S, seq: SeqNo) -> (SeqNo, SeqNo) {
    let looks = AtomicUsize::new(0);
    let mut buffer = vec![MaybeUninit::uninit(); 4096];
    let table = Builder::with_arena(FixedArena::new(&mut buffer))
        .comparator(Pausing(&looks))
        .clock(clock)
        .max_height::<1>()
        .build();
    table.put(b"k", b"first").unwrap();
    let writes = [(&b"k"[..], &b"batch"[..], Kind::VALUE), (b"z", b"batch", Kind::VALUE)];
    let number = thread::scope(|scope| {
        let batch = scope.spawn(|| table.apply_slice(&writes));
        while looks.load(SeqCst) < 2 {
            thread::yield_now();
        }
        assert_eq!(table.put_at(b"k", &[0; 8192], seq), Err(InsertError::OutOfMemory));
        looks.store(GO_ON, SeqCst);
        batch.join().unwrap().unwrap()
    });
    let snapshot = table.snapshot();
    assert_eq!(snapshot.get_live(b"k"), Some(&b"batch"[..]), "batch {number}, snapshot {}", snapshot.seq());
    (number, snapshot.seq())
}

#[test]
fn a_refused_write_leaves_the_number_of_a_batch_alone() {
    for seq in [SeqNo(1_000_000), SeqNo::LIMIT] {
        let numbers = [
            beside_a_refused_write(EpochClock::new(), seq),
            beside_a_refused_write(CounterClock::new(), seq),
            beside_a_refused_write(ManualClock::new(), seq),
        ];
        for (batch, snapshot) in numbers {
            assert!(batch < SeqNo(100) && snapshot < SeqNo(100), "batch {batch}, snapshot {snapshot}");
        }
    }
}
