//! Writes that saw a batch on its way and are finished after it: the batch has been given up, or is there but not yet counted.
#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

#[macro_use]
mod common;

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use common::light;
use memskip::{
    Bytewise, Comparator, CounterClock, Global, InsertError, Kind, LaneDensity, Memtable, SeqNo, ShardedArena,
    ThreadShards,
};
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// The stopped thread's: to say that it is there, and to be told to go on.
type Ends = (Sender<()>, Receiver<()>);

/// Where one thread says that it is there, and waits until it may go on.
#[derive(Clone, Default)]
struct Stop(Arc<Mutex<Option<Ends>>>);

impl Stop {
    /// The next one who comes by stops: who waits for that, and who lets it go on by being dropped.
    fn next(&self) -> (Receiver<()>, Sender<()>) {
        let ((here, is_here), (may_go, go)) = (channel(), channel());
        *self.0.lock().unwrap() = Some((here, go));
        (is_here, may_go)
    }

    /// Whether this one had to stop.
    fn pass(&self) -> bool {
        let ends = self.0.lock().unwrap().take();
        ends.is_some_and(|(here, go)| {
            here.send(()).unwrap();
            _ = go.recv();
            true
        })
    }
}

/// Bytewise, until "mark" is held against "stop", where a batch of both is half linked: stops there and panics.
struct Failing(Stop);

impl Comparator<[u8]> for Failing {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if (a, b) == (b"mark", b"stop") && self.0.pass() {
            std::panic::resume_unwind(Box::new(()));
        }
        Bytewise.compare(a, b)
    }
}

/// Stops before it gives a large block.
#[derive(Clone)]
struct Slow(Stop);

// SAFETY: every block is `Global`'s, passed through.
unsafe impl Allocator for Slow {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() > LARGE {
            self.0.pass();
        }
        Global.allocate(layout)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block came from `Global` with this layout.
        unsafe { Global.deallocate(block, layout) }
    }
}

const LARGE: usize = 1 << 16;

type Table = Memtable<[u8], Failing, ShardedArena<ThreadShards, Slow>, CounterClock>;

/// A batch writes "k" and stops; `slow` sees that, finds its place and stops; the batch panics; `fast` runs, then `slow` goes on.
fn beside_a_batch_given_up<T: Send, U>(
    first: impl FnOnce(&Table),
    slow: impl FnOnce(&Table, &[u8]) -> T + Send,
    fast: impl FnOnce(&Table) -> U,
) -> (Table, T, U) {
    let (comparing, allocating) = (Stop::default(), Stop::default());
    let builder = Memtable::<[u8]>::builder().comparator(Failing(comparing.clone())).clock(CounterClock::new());
    let builder = builder.allocator(Slow(allocating.clone())).shards(1).largest_chunk(LARGE);
    let table = builder.lane_density(LaneDensity::Never).build();
    first(&table);
    let writes = [&b"k"[..], b"mark", b"stop"].map(|key| (key, &b"dead"[..], Kind::VALUE));
    let (slow, fast) = thread::scope(|scope| {
        let (is_linking, may_die) = comparing.next();
        let batch = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| table.apply_slice(&writes))).is_err());
        is_linking.recv().unwrap();
        let (has_found, may_link) = allocating.next();
        let slow = scope.spawn(|| slow(&table, &vec![7; LARGE]));
        has_found.recv().unwrap();
        drop(may_die);
        assert!(batch.join().unwrap(), "given up");
        let fast = fast(&table);
        drop(may_link);
        (slow.join().unwrap(), fast)
    });
    assert_valid!(table);
    (table, slow, fast)
}

#[test]
fn one_of_two_inserts_is_first() {
    let (table, slow, fast) = beside_a_batch_given_up(
        |table| _ = (table.insert(b"k", b"old"), table.delete(b"k")),
        |table, value| table.get_or_insert(b"k", value).1,
        |table| table.get_or_insert(b"k", b"fast").1,
    );
    assert_eq!((slow, fast, table.len(), table.get_live(b"k")), (false, true, 1, Some(&b"fast"[..])));
}

#[test]
fn later_is_above_earlier() {
    let (table, slow, fast) = beside_a_batch_given_up(
        |table| assert!(table.insert(b"k", b"old")),
        |table, value| table.put(b"k", value).unwrap(),
        |table| table.put(b"k", b"fast").unwrap(),
    );
    assert_eq!(table.versions().map(|entry| entry.seq).collect::<Vec<_>>(), [slow, fast, SeqNo(1)]);
}

#[test]
fn a_number_is_given_once() {
    let (table, slow, fast) = beside_a_batch_given_up(
        |table| assert!(table.insert(b"k", b"old")),
        |table, value| table.put_at(b"k", value, SeqNo(9)),
        |table| table.put_at(b"k", b"fast", SeqNo(9)),
    );
    assert_eq!((slow, fast, table.version_count()), (Err(InsertError::DuplicateSeqNo), Ok(()), 2));
}

/// What a later batch goes above, which has to know of the slow one.
#[test]
fn a_later_batch_is_above_an_earlier_write() {
    let (table, slow, fast) = beside_a_batch_given_up(
        |table| assert!(table.insert(b"k", b"old")),
        |table, value| table.put(b"k", value).unwrap(),
        |table| table.apply_slice(&[(b"k", b"fast", Kind::VALUE), (b"l", b"", Kind::VALUE)]).unwrap(),
    );
    assert_eq!(table.versions().map(|entry| entry.seq).collect::<Vec<_>>(), [slow, fast, SeqNo(1), fast]);
}

/// The dead version is the node's first, which has no link of its own.
#[test]
fn a_key_that_only_the_batch_had() {
    for by_batch in [false, true] {
        let (table, slow, fast) = beside_a_batch_given_up(
            |_| {},
            |table, value| table.put(b"k", value).unwrap(),
            |table| {
                if by_batch {
                    table.apply_slice(&[(b"k", b"fast", Kind::VALUE)]).unwrap()
                } else {
                    table.put(b"k", b"fast").unwrap()
                }
            },
        );
        assert_eq!(table.versions().map(|entry| entry.seq).collect::<Vec<_>>(), [slow, fast]);
        assert_eq!((table.len(), table.version_count()), (1, 2));
    }
}

/// A batch of many keys, so that it takes a while until the last, "zz", is counted; as soon as that is seen, `meanwhile` writes below
/// it. The figures are what a walk counts.
fn beside_a_batch_that_is_counted<C: Comparator<[u8]> + Sync>(
    comparator: impl Fn() -> C,
    before: impl Fn(&Counted<C>),
    meanwhile: impl Fn(&Counted<C>),
) {
    for _ in 0..if light() { 1 } else { 5 } {
        let builder = Memtable::<[u8]>::builder().comparator(comparator()).shards(2);
        let table = builder.clock(CounterClock::starting_at(SeqNo(100))).build();
        before(&table);
        let keys: Vec<_> = (0..if light() { 50 } else { 5000u32 }).map(u32::to_be_bytes).collect();
        let keys = keys.iter().map(|key| &key[..]).chain([&b"zz"[..]]);
        let batch: Vec<_> = keys.map(|key| (key, &b"batch"[..], Kind::VALUE)).collect();
        thread::scope(|scope| {
            scope.spawn(|| table.apply_slice(&batch).unwrap());
            while table.get_live(b"zz") != Some(b"batch") {
                thread::yield_now();
            }
            meanwhile(&table);
        });
        assert_eq!((table.len(), table.tombstones()), (batch.len(), 0));
        assert_valid!(table);
    }
}

type Counted<C> = Memtable<[u8], C, ShardedArena, CounterClock>;

/// Though another stands above the batch's version.
#[test]
fn below_a_version_that_is_not_counted_yet() {
    beside_a_batch_that_is_counted(
        || Bytewise,
        |table| table.put_at(b"zz", b"old", SeqNo(1)).unwrap(),
        |table| {
            table.put(b"zz", b"above").unwrap();
            table.put_tombstone_at(b"zz", SeqNo(2)).unwrap();
        },
    );
}

/// Where there is only a dead first version below: its key's word says nothing of whether the one above is counted.
#[test]
fn below_a_version_that_is_not_counted_yet_and_above_a_dead_one() {
    struct Once(AtomicBool);
    impl Comparator<[u8]> for Once {
        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            if (a, b) == (b"zz mark", b"zz stop") && self.0.swap(false, SeqCst) {
                std::panic::resume_unwind(Box::new(()));
            }
            Bytewise.compare(a, b)
        }
    }
    beside_a_batch_that_is_counted(
        || Once(AtomicBool::new(true)),
        |table| {
            let dead = [&b"zz"[..], b"zz mark", b"zz stop"].map(|key| (key, &b"dead"[..], Kind::VALUE));
            assert!(catch_unwind(AssertUnwindSafe(|| table.apply_slice(&dead))).is_err());
        },
        |table| table.put_tombstone_at(b"zz", SeqNo(2)).unwrap(),
    );
}
