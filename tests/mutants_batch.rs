//! Numbers of versions that meet: a batch half linked, given up or just committed, a write whose clock has not answered. Nothing
//! is left to chance: a comparator or a clock stops one thread at the place in question while another does its work.
#![cfg(all(feature = "std", target_pointer_width = "64"))]

#[macro_use]
mod common;

use common::row;
use memskip::{Bytewise, Comparator, Kind, LaneDensity, Memtable, SeqClock, SeqNo};
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// The stopped thread's: to say that it is there, and to be told to go on.
type Ends = (Sender<()>, Receiver<()>);

/// Where a thread is stopped: it says that it is there, and waits until it may go on.
#[derive(Clone, Default)]
struct Stop {
    panics: Arc<AtomicBool>,
    /// There while a thread is to be stopped.
    ends: Arc<Mutex<Option<Ends>>>,
}

impl Stop {
    /// A thread comes by.
    fn pass(&self) {
        if self.panics.swap(false, SeqCst) {
            std::panic::resume_unwind(Box::new(()));
        }
        let ends = self.ends.lock().unwrap().take();
        if let Some((here, go)) = ends {
            here.send(()).unwrap();
            _ = go.recv();
        }
    }

    /// Runs `stopped`, and `meanwhile` while that stands still.
    fn during<T, U: Send>(&self, stopped: impl FnOnce() -> U + Send, meanwhile: impl FnOnce() -> T) -> (U, T) {
        let ((here, is_here), (may_go, go)) = (channel(), channel());
        *self.ends.lock().unwrap() = Some((here, go));
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let done = stopped();
                // So that nobody waits for a thread that did not come by.
                drop(self.ends.lock().unwrap().take());
                done
            });
            is_here.recv().expect("comes by");
            let done = meanwhile();
            drop(may_go);
            (thread.join().unwrap(), done)
        })
    }
}

/// Bytewise, and stops when "mark" is held against "stop": where a batch of both has linked the first and looks for the second.
struct Stopping(Stop);

impl Comparator<[u8]> for Stopping {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if (a, b) == (b"mark", b"stop") {
            self.0.pass();
        }
        Bytewise.compare(a, b)
    }
}

/// Says what it was told to say; writes down what it is told.
#[derive(Clone)]
struct Dictated {
    says: Arc<AtomicU64>,
    told: Arc<Mutex<Vec<u64>>>,
    stop: Stop,
}

impl SeqClock for Dictated {
    fn stamp(&self) -> SeqNo {
        let seq = SeqNo(self.says.load(SeqCst));
        self.stop.pass();
        seq
    }
    fn snapshot(&self) -> SeqNo {
        SeqNo(self.says.load(SeqCst))
    }
    fn observe(&self, seq: SeqNo) {
        self.told.lock().unwrap().push(seq.0);
    }
}

type Table = Memtable<[u8], Stopping, memskip::ShardedArena, Dictated>;

struct Scene {
    table: Table,
    comparing: Stop,
    clock: Dictated,
}

fn scene(says: u64) -> Scene {
    let comparing = Stop::default();
    let clock = Dictated { says: Arc::new(AtomicU64::new(says)), told: Arc::default(), stop: Stop::default() };
    let builder = Memtable::<[u8]>::builder().comparator(Stopping(comparing.clone())).clock(clock.clone()).shards(1);
    Scene { table: builder.lane_density(LaneDensity::Never).build(), comparing, clock }
}

/// A batch of these keys.
fn batch(table: &Table, keys: &[&'static [u8]], value: &'static [u8]) -> SeqNo {
    let writes: Vec<_> = keys.iter().map(|key| (*key, value, Kind::VALUE)).collect();
    table.apply_slice(&writes).unwrap()
}

impl Scene {
    fn told(&self) -> Vec<u64> {
        std::mem::take(&mut self.clock.told.lock().unwrap())
    }
}

const HALF: [&[u8]; 3] = [b"k", b"mark", b"stop"];

#[test]
fn a_number_given_below_a_linking_batch_is_less_than_the_batchs() {
    let scene = scene(5);
    let table = &scene.table;
    table.put(b"k", b"old").unwrap();
    let (seq, ()) =
        scene.comparing.during(|| batch(table, &HALF, b"batch"), || table.put_at(b"k", b"given", SeqNo(100)).unwrap());
    assert_eq!(seq, SeqNo(101));
    assert_eq!(table.versions().map(row).map(|row| row.seq).take(3).collect::<Vec<_>>(), [101, 100, 5]);
    assert_eq!(scene.told().last(), Some(&101));
    assert_valid!(table);
}

#[test]
fn a_number_drawn_below_a_linking_batch_is_not_above_the_batchs() {
    let scene = scene(50);
    let table = &scene.table;
    let meanwhile = || {
        let seq = table.put(b"k", b"single").unwrap();
        let value = table.get_live(b"k");
        scene.clock.says.store(5, SeqCst);
        (seq, value)
    };
    let (seq, single) = scene.comparing.during(|| batch(table, &HALF, b"batch"), meanwhile);
    assert_eq!((seq, single), (SeqNo(50), (SeqNo(50), Some(&b"single"[..]))));
    assert_eq!(table.get_live(b"k"), Some(&b"batch"[..]));
    assert_valid!(table);
}

#[test]
fn what_only_a_linking_batch_holds_is_not_there_to_delete() {
    let scene = scene(5);
    let table = &scene.table;
    let (_, (deleted, value, inserted)) = scene.comparing.during(
        || batch(table, &HALF, b"batch"),
        || (table.delete(b"k"), table.get(b"k"), table.insert(b"mark", b"single")),
    );
    assert_eq!((deleted, value, inserted), (false, None, true));
    assert_eq!((table.len(), table.version_count()), (3, 4));
    assert_valid!(table);
}

#[test]
fn a_batch_that_was_given_up_covers_nothing() {
    let scene = scene(5);
    let table = &scene.table;
    table.put(b"z", b"").unwrap();
    scene.comparing.panics.store(true, SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| batch(table, &HALF, b"dead"))).is_err());
    assert_eq!((table.len(), table.get(b"k")), (1, None));
    batch(table, &[b"k"], b"batch");
    assert_eq!((table.len(), table.get_live(b"k")), (2, Some(&b"batch"[..])));
    table.put(b"mark", b"single").unwrap();
    assert_eq!((table.len(), table.version_count()), (3, 3));
    assert_valid!(table);
}

#[test]
fn a_reader_that_numbers_a_write_goes_above_what_it_covers() {
    let scene = scene(5);
    let table = &scene.table;
    table.put_at(b"k", b"given", SeqNo(1000)).unwrap();
    let (seq, seen) = scene.clock.stop.during(
        || table.put(b"k", b"drawn").unwrap(),
        || table.entry(b"k").map(|entry| (entry.seq, entry.value.to_vec())),
    );
    assert_eq!((seq, seen), (SeqNo(1001), Some((SeqNo(1001), b"drawn".to_vec()))));
    assert_eq!(table.versions().count(), 2);
    assert_valid!(table);
}

/// Two writers at once, one stopped inside: the other one's numbers count, whichever way they widen the range.
#[test]
fn the_range_of_numbers_of_two_writers() {
    let scene = scene(50);
    let table = &scene.table;
    let meanwhile = || {
        table.put_at(b"low", b"", SeqNo(20)).unwrap();
        table.put_at(b"high", b"", SeqNo(80)).unwrap();
        table.put_at(b"between", b"", SeqNo(60)).unwrap();
    };
    let (seq, ()) = scene.clock.stop.during(|| table.put(b"k", b"").unwrap(), meanwhile);
    assert_eq!((seq, table.min_seq(), table.max_seq()), (SeqNo(50), Some(SeqNo(20)), Some(SeqNo(80))));
    assert_valid!(table);
}

/// A number from the caller is covered by a greater one, a number of the clock's by the same; the clock hears of it if it is not
/// its own.
#[test]
fn a_clock_that_stands_still_is_told_what_goes_beyond_it() {
    let scene = scene(5);
    let table = &scene.table;
    assert_eq!((table.put(b"a", b"1"), table.put(b"a", b"2"), scene.told()), (Ok(SeqNo(5)), Ok(SeqNo(5)), vec![]));
    assert_eq!((batch(table, &[b"a", b"b"], b"3"), scene.told()), (SeqNo(5), vec![]));
    table.put_at(b"k", b"given", SeqNo(1000)).unwrap();
    assert_eq!((scene.told(), table.put(b"k", b""), scene.told()), (vec![1000], Ok(SeqNo(1001)), vec![1001]));
    assert_eq!((batch(table, &[b"k"], b"4"), scene.told()), (SeqNo(1001), vec![1001]));
    table.put_at(b"l", b"given", SeqNo(2000)).unwrap();
    assert_eq!((scene.told(), batch(table, &[b"l", b"m"], b"5"), scene.told()), (vec![2000], SeqNo(2001), vec![2001]));
    assert_eq!(table.get_live(b"l"), Some(&b"5"[..]));
    assert_valid!(table);
}

/// Number 0 is one like any other, for a batch too.
#[test]
fn a_batch_at_number_zero() {
    let scene = scene(0);
    assert_eq!(batch(&scene.table, &[b"a", b"b"], b"v"), SeqNo(0));
    assert_eq!((scene.table.get_live(b"a"), scene.table.snapshot().get_live(b"b")), (Some(&b"v"[..]), Some(&b"v"[..])));
}

/// The clock panics, so that readers number the batch; the second finds the record's number, not yet copied to its version.
#[test]
fn a_batch_that_its_readers_number_zero() {
    let scene = scene(0);
    scene.clock.stop.panics.store(true, SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| batch(&scene.table, &[b"a", b"b"], b"v"))).is_err());
    assert_eq!((scene.table.get_live(b"a"), scene.table.get_live(b"b")), (Some(&b"v"[..]), Some(&b"v"[..])));
    assert_valid!(scene.table);
}

/// A clock that says more than there is room for is cut to the greatest number.
#[test]
fn a_clock_beyond_the_greatest_number() {
    let scene = scene(u64::MAX);
    let greatest = SeqNo((1 << 63) - 1);
    assert_eq!((scene.table.put(b"a", b"1"), batch(&scene.table, &[b"a", b"b"], b"2")), (Ok(greatest), greatest));
    assert_eq!((scene.table.get_live(b"a"), scene.table.snapshot().seq()), (Some(&b"2"[..]), greatest));
}

/// What a batch takes: its record, a slot and a node or version per write, and nothing if it fails.
#[test]
fn a_batch_takes_what_it_needs_and_gives_it_back() {
    let used = |keys: &[&'static [u8]]| {
        let scene = scene(1);
        scene.table.put(b"known", b"").unwrap();
        let before = scene.table.memory_usage();
        batch(&scene.table, keys, b"12345678");
        scene.table.memory_usage() - before
    };
    // A node of 20 and 4 + 8 bytes; two slots of 8; a version of 16 and 8, aligned to 16.
    assert_eq!(used(&[b"new1", b"new2", b"new3", b"new4"]) - used(&[b"new1", b"new2"]), 2 * 32 + 16);
    assert_eq!(used(&[b"new1", b"new1"]), used(&[b"new1", b"new2"]));
    assert_eq!(used(&[b"known", b"known"]), used(&[b"new1", b"new2"]));
    // Sizes that leave no gaps between blocks aligned to 16: what lies before a gap could not be given back.
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    let table =
        memskip::Builder::with_arena(memskip::FixedArena::new(&mut buffer)).lane_density(LaneDensity::Never).build();
    table.put(b"known", b"").unwrap();
    table.put(b"odd", b"").unwrap();
    let before = table.memory_usage();
    assert_eq!(before, 32 + 24);
    for last in [800, 900, 2000] {
        let writes: [(&[u8], &[u8], Kind); 4] = [
            (b"a", &[1; 11], Kind::VALUE),
            (b"known", &[2; 16], Kind::VALUE),
            (b"b", &[3; 27], Kind::VALUE),
            (b"c", &vec![0; last], Kind::VALUE),
        ];
        assert!(table.apply_slice(&writes).is_err());
        assert_eq!(table.memory_usage(), before);
    }
    assert_eq!(table.len(), 2);
}
