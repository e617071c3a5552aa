//! loom models of the crate itself: every interleaving of a few threads, and every value that the memory model lets a
//! load return, with at most `PREEMPTIONS` involuntary switches per execution.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom`; `.ci/loom.sh` does that.
//!
//! - Each model gives the outcomes that it must have seen. It fails if one is missing, and if there is another.
//! - Each ordering in `src/sync.rs` that matters has a twin (`twins`, below): the same build with that one ordering
//!   weakened (`MEMSKIP_WEAKEN`), in which the model named there must fail. So it is known that the checker sees it.
//! - The orderings that no model can miss stand in a table at the end, with the reason.
//!
//! Traps: loom skips executions when whoever loads first and swaps later is the main thread or was spawned first
//! (tokio-rs/loom 166, 392), so readers are spawned last. loom takes `SeqCst` accesses for acquire and release, so where
//! the crate relies on their total order it has a fence under loom. Plain bytes are seen through the crate's `Witness`,
//! and through loom's atomics, whose creation counts as a write.
#![cfg(loom)]
#![allow(unsafe_code, reason = "an arena")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use loom::thread::{self, JoinHandle};
use memskip::{
    Arena, Builder, Bytewise, ChunkArena, ChunkSizes, Comparator, EpochClock, Global, Handle, InsertError, ManualClock,
    Memtable, OutOfMemory, SeqClock, SeqNo, Shard, ShardedArena, UNIT, WriteBatch,
};

/// Involuntary switches per execution, unless a model says otherwise; two are enough for every twin.
/// `LOOM_MAX_PREEMPTIONS` asks for another number.
const PREEMPTIONS: usize = 2;

/// Runs a model and compares the outcomes with those that it must have.
fn model<O: Ord + Debug + Send + 'static>(wanted: impl IntoIterator<Item = O>, body: fn() -> O) {
    bounded(PREEMPTIONS, wanted, body);
}

fn bounded<O: Ord + Debug + Send + 'static>(preemptions: usize, wanted: impl IntoIterator<Item = O>, body: fn() -> O) {
    let seen = Arc::new(Mutex::new(BTreeMap::<O, usize>::new()));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 10_000;
    let note = Arc::clone(&seen);
    builder.check(move || {
        let outcome = body();
        *note.lock().expect("never poisoned").entry(outcome).or_default() += 1;
    });
    let seen = seen.lock().expect("never poisoned");
    println!("executions: {}, outcomes: {seen:?}", seen.values().sum::<usize>());
    let wanted: Vec<O> = wanted.into_iter().collect();
    let never: Vec<&O> = wanted.iter().filter(|outcome| !seen.contains_key(*outcome)).collect();
    assert!(never.is_empty(), "{NEVER_SEEN}: {never:?}");
    let others: Vec<&O> = seen.keys().filter(|outcome| !wanted.contains(outcome)).collect();
    assert!(others.is_empty(), "not foreseen: {others:?}");
}

/// A model that has not seen what it must see proves nothing, so this does not count as a twin's failure.
const NEVER_SEEN: &str = "never seen";

loom::thread_local! {
    static SHARD: Cell<usize> = Cell::new(0);
}

/// A thread with an arena shard of its own, so that threads meet only where the model wants them to.
fn spawn<T: 'static>(shard: usize, body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    thread::spawn(move || {
        SHARD.with(|own| own.set(shard));
        body()
    })
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("the thread panicked")
}

/// An arena that is no part of the model: its own words are not loom's, so it costs no executions. The crate's arenas
/// have models of their own. One region per thread.
struct Still {
    shards: [Shard; THREADS],
    next: [AtomicU32; THREADS],
    memory: Box<[Lines]>,
    /// Where slabs of lane blocks lie.
    slabs: Mutex<Vec<Range<u32>>>,
}

const THREADS: usize = 4;
/// Units per region.
const REGION: u32 = 512;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lines(#[allow(dead_code, reason = "only its address counts")] [MaybeUninit<u8>; 64]);

impl Still {
    fn new() -> Self {
        let lines = THREADS * REGION as usize * UNIT / size_of::<Lines>();
        Self {
            shards: std::array::from_fn(|_| Shard::new()),
            // Not at 0, which is no handle, and aligned.
            next: std::array::from_fn(|region| AtomicU32::new(region as u32 * REGION + 8)),
            memory: vec![Lines([MaybeUninit::uninit(); 64]); lines].into(),
            slabs: Mutex::default(),
        }
    }
}

std::thread_local! {
    /// What was resolved and is no lane block: nodes, in models without batches and overwrites.
    static VISITED: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
}

// SAFETY: regions are disjoint and only moved through upwards; the memory is a box that lives as long as this.
unsafe impl Arena for Still {
    fn shards(&self) -> &[Shard] {
        &self.shards
    }
    fn current_shard(&self) -> usize {
        SHARD.with(Cell::get)
    }
    fn allocate(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        let next = &self.next[shard];
        // Only one of loom's threads runs at a time, and none is switched here.
        let start = next.load(Relaxed).next_multiple_of((align / UNIT).max(1) as u32);
        let end = start + size.div_ceil(UNIT) as u32;
        if end > (shard as u32 + 1) * REGION {
            return Err(OutOfMemory);
        }
        next.store(end, Relaxed);
        if align > UNIT {
            self.slabs.lock().expect("never poisoned").push(start..end);
        }
        Ok(Handle(start))
    }
    unsafe fn resolve(&self, handle: Handle) -> NonNull<u8> {
        assert!(!handle.is_none(), "handle 0 was followed");
        if !self.slabs.lock().expect("never poisoned").iter().any(|slab| slab.contains(&handle.0)) {
            VISITED.with_borrow_mut(|visited| _ = visited.insert(handle.0));
        }
        let memory = NonNull::from(&*self.memory).cast::<u8>();
        // SAFETY: handles are units of this memory.
        unsafe { memory.add(handle.0 as usize * UNIT) }
    }
    /// What makes the slabs that lane blocks are carved from (a part of this) as large as four blocks.
    fn used(&self) -> usize {
        32 << 10
    }
    fn reserved(&self) -> usize {
        self.memory.len() * size_of::<Lines>()
    }
    fn reset(&mut self) {
        *self = Self::new();
    }
}

type Table<S, const H: usize> = Memtable<[u8], Bytewise, Still, S, H>;

/// An empty table of `H` levels; base level only unless lanes are what it is about.
fn table<const H: usize>() -> Arc<Table<EpochClock, H>> {
    Arc::new(Builder::with_arena(Still::new()).max_height::<H>().build())
}

fn base() -> Arc<Table<EpochClock, 1>> {
    table()
}

/// One with a single shard.
fn one_shard() -> Arc<Memtable<[u8], Bytewise, ChunkArena, EpochClock, 1>> {
    let arena = ChunkArena::with_chunks(ChunkSizes { first: 2048, largest: 2048 }, Global);
    Arc::new(Builder::with_arena(arena).max_height::<1>().build())
}

/// Everything holds together, and the newest values are these.
fn holds<S: SeqClock, C: Comparator<[u8]>, A: Arena, const H: usize>(
    table: &Memtable<[u8], C, A, S, H>,
    wanted: &[(&[u8], &[u8])],
) {
    table.validate().unwrap_or_else(|broken| panic!("{broken:?}"));
    let found: Vec<_> = table.iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(found, wanted);
    for (key, value) in wanted {
        assert_eq!(table.get(key).map(|found| found.0), Some(*value));
    }
}

// ---- Single writes ---------------------------------------------------------------------------------------------------

/// Two keys into one gap: both are there, in order, and whoever comes second sees the first.
#[test]
fn two_inserts_beside_each_other() {
    model([(true, true), (true, false), (false, true)], || {
        let table = base();
        assert!(table.insert(b"a", b"0"));
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.insert(b"b", b"1").then(|| one.contains_key(b"c")));
        let two = spawn(2, move || two.insert(b"c", b"2").then(|| two.contains_key(b"b")));
        let saw = (join(one).expect("inserted"), join(two).expect("inserted"));
        holds(&table, &[(b"a", b"0"), (b"b", b"1"), (b"c", b"2")]);
        saw
    });
}

/// One key from two threads: one wins, and the other sees the winner's value at once.
#[test]
fn two_inserts_of_the_same_key() {
    model([b"1", b"2"], || {
        let table = base();
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let insert = |table: &Table<EpochClock, 1>, value: &'static [u8; 1]| {
            let won = table.insert(b"k", value);
            let found = table.get_live(b"k").expect("inserted here or elsewhere");
            assert_eq!(won, found == value);
            won
        };
        let one = spawn(1, move || insert(&one, b"1"));
        let two = spawn(2, move || insert(&two, b"2"));
        let (one, two) = (join(one), join(two));
        assert!(one != two, "{one} {two}");
        let winner = if one { b"1" } else { b"2" };
        holds(&table, &[(b"k", winner)]);
        assert_eq!((table.len(), table.version_count()), (1, 1));
        winner
    });
}

/// Two writers of one shard: the one that finds no sole writer inside is that, counts without read-modify-writes, and sees what the
/// one before it has counted; the other knows that it is not.
#[test]
fn sole_and_joint_writers() {
    model([(true, true), (true, false), (false, true)], || {
        let table = base();
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.insert(b"a", b"1").then(|| one.contains_key(b"b")));
        let two = spawn(1, move || two.insert(b"b", b"2").then(|| two.contains_key(b"a")));
        let saw = (join(one).expect("inserted"), join(two).expect("inserted"));
        assert_eq!((table.len(), table.version_count()), (2, 2));
        holds(&table, &[(b"a", b"1"), (b"b", b"2")]);
        saw
    });
}

/// Two writers of one shard whose keys both belong right behind its last one, so that neither searches: one links, the other
/// finds its gap taken. Both keys are there, in order.
#[test]
fn one_finger_for_two_writers() {
    model([[b"c", b"d"], [b"d", b"c"]], || {
        let table = table::<2>();
        assert!(table.insert(b"a", b"0") && table.insert(b"b", b"0"));
        let order: Arc<Mutex<Vec<&[u8; 1]>>> = Arc::default();
        let insert = |table: &Table<EpochClock, 2>, key: &'static [u8; 1], order: &Mutex<Vec<&[u8; 1]>>| {
            assert!(table.insert(key, b"1"));
            order.lock().expect("never poisoned").push(key);
        };
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let (first, second) = (Arc::clone(&order), Arc::clone(&order));
        // The shard of the thread that wrote the first two.
        let one = spawn(0, move || insert(&one, b"c", &first));
        let two = spawn(0, move || insert(&two, b"d", &second));
        join(one);
        join(two);
        holds(&table, &[(b"a", b"0"), (b"b", b"0"), (b"c", b"1"), (b"d", b"1")]);
        let order = order.lock().expect("never poisoned");
        [order[0], order[1]]
    });
}

/// A search beside an insert finds all that was there, in order, and the new key or not; once found it stays.
#[test]
fn insert_against_search() {
    model([(false, false), (false, true), (true, true)], || {
        let table = base();
        assert!(table.insert(b"a", b"0") && table.insert(b"c", b"2"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || assert!(writer.insert(b"b", b"1")));
        let reader = spawn(2, move || {
            let first = reader.get_live(b"b").inspect(|value| assert_eq!(*value, b"1")).is_some();
            let keys: Vec<_> = reader.iter().map(|entry| entry.key).collect();
            let second = keys == [b"a", b"b", b"c"];
            assert!(second || keys == [b"a", b"c"], "{keys:?}");
            (first, second)
        });
        join(writer);
        let saw = join(reader);
        holds(&table, &[(b"a", b"0"), (b"b", b"1"), (b"c", b"2")]);
        saw
    });
}

/// Reads of a key that is overwritten twice: never absent, never backwards.
#[test]
fn overwrite_against_read() {
    let never_back = [b"0", b"1", b"2"].map(|first| [b"0", b"1", b"2"].map(|second| (first, second)));
    model(never_back.into_iter().flatten().filter(|(first, second)| first <= second), || {
        let table = base();
        assert!(table.insert(b"k", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || {
            let first = writer.put(b"k", b"1").expect("room");
            assert!(first <= writer.put(b"k", b"2").expect("room"));
        });
        let reader = spawn(2, move || {
            let get = || match reader.get_live(b"k") {
                Some(b"0") => b"0",
                Some(b"1") => b"1",
                Some(b"2") => b"2",
                other => panic!("{other:?}"),
            };
            (get(), get())
        });
        join(writer);
        let saw = join(reader);
        assert!(saw.0 <= saw.1, "{saw:?}");
        holds(&table, &[(b"k", b"2")]);
        saw
    });
}

/// Two overwrites of one key: both are in the chain, the figures are exact.
#[test]
fn two_overwrites() {
    model([b"1", b"2"], || {
        let table = base();
        assert!(table.insert(b"k", b"0"));
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.put(b"k", b"1").expect("room"));
        let two = spawn(2, move || two.put(b"k", b"2").expect("room"));
        let (one, two) = (join(one), join(two));
        let last = if table.get_live(b"k") == Some(b"1") { b"1" } else { b"2" };
        assert!(if last == b"1" { two <= one } else { one <= two });
        holds(&table, &[(b"k", last)]);
        assert_eq!((table.len(), table.version_count()), (1, 3));
        last
    });
}

// ---- Snapshots -------------------------------------------------------------------------------------------------------

/// A snapshot beside an overwrite: what it shows once it always shows, and a read after it is no older.
#[test]
fn overwrite_against_snapshot() {
    model([(b"0", b"0"), (b"0", b"1"), (b"1", b"1")], || {
        let table = base();
        assert!(table.insert(b"k", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.put(b"k", b"1").expect("room"));
        let reader = spawn(2, move || {
            let snapshot = reader.snapshot();
            let value = |value: Option<&[u8]>| if value.expect("never absent") == b"0" { b"0" } else { b"1" };
            let first = value(snapshot.get_live(b"k"));
            let newest = value(reader.get_live(b"k"));
            assert_eq!(value(snapshot.get_live(b"k")), first, "the snapshot changed");
            assert!(newest >= first);
            (snapshot.seq(), first, newest)
        });
        let written = join(writer);
        let (seq, first, newest) = join(reader);
        assert_eq!(written <= seq, first == b"1");
        holds(&table, &[(b"k", b"1")]);
        (first, newest)
    });
}

/// The same with a new key.
#[test]
fn insert_against_snapshot() {
    model([(false, false), (false, true), (true, true)], || {
        let table = base();
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.put(b"k", b"1").expect("room"));
        let reader = spawn(2, move || {
            let snapshot = reader.snapshot();
            let first = snapshot.contains_key(b"k");
            let newest = reader.contains_key(b"k");
            assert_eq!(snapshot.contains_key(b"k"), first, "the snapshot changed");
            (snapshot.seq(), first, newest)
        });
        let written = join(writer);
        let (seq, first, newest) = join(reader);
        assert_eq!(written <= seq, first);
        holds(&table, &[(b"k", b"1")]);
        (first, newest)
    });
}

/// A snapshot beside a delete.
#[test]
fn delete_against_snapshot() {
    model([(false, false), (true, false), (true, true)], || {
        let table = base();
        assert!(table.insert(b"k", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || assert!(writer.delete(b"k")));
        let reader = spawn(2, move || {
            let snapshot = reader.snapshot();
            let first = snapshot.get(b"k").expect("a value or a tombstone");
            let newest = reader.contains_key(b"k");
            assert_eq!(snapshot.get(b"k"), Some(first), "the snapshot changed");
            (!first.1, newest)
        });
        join(writer);
        let saw = join(reader);
        table.validate().expect("valid");
        assert_eq!((table.len(), table.tombstones(), table.version_count()), (0, 1, 2));
        saw
    });
}

/// Of two deletes one finds the key.
#[test]
fn two_deletes() {
    model([(true, false), (false, true)], || {
        let table = base();
        assert!(table.insert(b"k", b"0"));
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.delete(b"k"));
        let two = spawn(2, move || two.delete(b"k"));
        let won = (join(one), join(two));
        table.validate().expect("valid");
        assert_eq!((table.len(), table.tombstones(), table.version_count()), (0, 1, 2));
        won
    });
}

/// An effect is never in a snapshot without its cause: who reads `a` and then writes `b` gets a number that is no less.
#[test]
fn cause_before_effect() {
    model([(false, false), (true, false), (true, true)], || {
        let table = base();
        let (first, second, reader) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let first = spawn(1, move || first.put(b"a", b"1").expect("room"));
        let second =
            spawn(2, move || second.entry(b"a").map(|cause| (cause.seq, second.put(b"b", b"2").expect("room"))));
        let reader = spawn(3, move || assert!(reader.snapshot().seq() > SeqNo(0)));
        let cause = join(first);
        let effect = join(second);
        join(reader);
        if let Some((seen, effect)) = effect {
            assert!(seen == cause && effect >= cause, "{effect} because of {cause}");
        }
        (effect.is_some(), effect.is_some_and(|(_, effect)| effect > cause))
    });
}

/// A clock that counts who draws numbers.
#[derive(Default)]
struct Watched {
    clock: EpochClock,
    drawn: [AtomicUsize; THREADS],
}

impl SeqClock for Watched {
    // The fences are the crate's to place.
    const ORDERED: bool = false;
    fn stamp(&self) -> SeqNo {
        self.drawn[SHARD.with(Cell::get)].fetch_add(1, Relaxed);
        self.clock.stamp()
    }
    fn snapshot(&self) -> SeqNo {
        self.clock.snapshot()
    }
    fn observe(&self, seq: SeqNo) {
        self.clock.observe(seq);
    }
}

/// A reader that meets a pending version stamps it; the writer takes the number that was decided first. Told by who drew a
/// number, and whether the reader found the version.
#[test]
fn helping_a_pending_version() {
    model([(false, false), (true, false), (true, true)], || {
        let table = Builder::with_arena(Still::new()).clock(Watched::default()).max_height::<1>().build();
        let table: Arc<Table<Watched, 1>> = Arc::new(table);
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.put(b"k", b"1").expect("room"));
        let reader = spawn(2, move || {
            let snapshot = reader.snapshot();
            let seen = reader.entry(b"k").map(|entry| entry.seq);
            let shown = snapshot.contains_key(b"k");
            if let Some(seq) = seen {
                assert_eq!(shown, seq <= snapshot.seq());
            }
            assert_eq!(shown, snapshot.contains_key(b"k"), "the snapshot changed");
            seen
        });
        let written = join(writer);
        let seen = join(reader);
        assert!(seen.is_none_or(|seen| seen == written), "{seen:?} {written}");
        holds(&table, &[(b"k", b"1")]);
        let helped = table.clock().drawn[2].load(Relaxed) > 0;
        (seen.is_some(), seen.is_some() && helped)
    });
}

// ---- Numbers of the engine's own -------------------------------------------------------------------------------------

fn numbered() -> Arc<Table<ManualClock, 1>> {
    Arc::new(Builder::with_arena(Still::new()).clock(ManualClock::new()).max_height::<1>().build())
}

fn value_at(table: &Table<ManualClock, 1>, seq: u64) -> Option<&[u8]> {
    table.get_at(b"k", SeqNo(seq)).map(|entry| entry.value)
}

/// Numbers out of order across threads: the chain is sorted whatever the order of arrival, and a read at a number never
/// goes back. Told by what the reader saw at 25.
#[test]
fn out_of_order_put_at() {
    let values = [&b"10"[..], b"20", b"15"];
    model([values[0], values[1], values[2]], || {
        let table = numbered();
        assert_eq!(table.put_at(b"k", b"10", SeqNo(10)), Ok(()));
        let (high, low, reader) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let high = spawn(1, move || assert_eq!(high.put_at(b"k", b"20", SeqNo(20)), Ok(())));
        let low = spawn(2, move || assert_eq!(low.put_at(b"k", b"15", SeqNo(15)), Ok(())));
        let reader = spawn(3, move || {
            let first = value_at(&reader, 25).expect("never absent").to_vec();
            assert!(value_at(&reader, 25).expect("never absent") >= &first[..], "went back");
            assert_eq!(value_at(&reader, 12), Some(&b"10"[..]));
            first
        });
        join(high);
        join(low);
        let saw = join(reader);
        holds(&table, &[(b"k", b"20")]);
        let numbers: Vec<_> = table.versions().map(|entry| entry.seq.0).collect();
        assert_eq!(numbers, [20, 15, 10]);
        [&b"10"[..], b"20", b"15"].into_iter().find(|value| *value == saw).expect("one of these")
    });
}

/// The same number twice: one is refused, and says so.
#[test]
fn the_same_number_twice() {
    model([true, false], || {
        let table = numbered();
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.put_at(b"k", b"1", SeqNo(5)));
        let two = spawn(2, move || two.put_at(b"k", b"2", SeqNo(5)));
        let (one, two) = (join(one), join(two));
        let refused = Err(InsertError::DuplicateSeqNo);
        assert!((one == Ok(()) && two == refused) || (one == refused && two == Ok(())), "{one:?} {two:?}");
        holds(&table, &[(b"k", if one.is_ok() { b"1" } else { b"2" })]);
        one.is_ok()
    });
}

/// A number of the engine's beside one from the clock: both are there, sorted; a plain put over it is newer.
#[test]
fn put_at_against_put() {
    model([true, false], || {
        let table = numbered();
        let (given, drawn) = (Arc::clone(&table), Arc::clone(&table));
        let given = spawn(1, move || assert_eq!(given.put_at(b"k", b"given", SeqNo(7)), Ok(())));
        let drawn = spawn(2, move || drawn.put(b"k", b"drawn").expect("room"));
        join(given);
        let drawn = join(drawn);
        assert_ne!(drawn, SeqNo(7));
        holds(&table, &[(b"k", if drawn > SeqNo(7) { b"drawn" } else { b"given" })]);
        assert_eq!(table.versions().count(), 2);
        drawn > SeqNo(7)
    });
}

// ---- Batches ---------------------------------------------------------------------------------------------------------

fn batch(keys: [&[u8]; 2], value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for key in keys {
        batch.put(key, value);
    }
    batch
}

/// A batch shows as a whole: plain reads, once they see a part, see the rest, and a snapshot sees all or nothing.
#[test]
fn batch_against_reads() {
    model([(false, false), (false, true), (true, true)], || {
        let table = base();
        assert!(table.insert(b"a", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.apply(&batch([b"a", b"b"], b"1")).expect("room"));
        let reader = spawn(2, move || {
            let first = reader.get_live(b"a").expect("never absent") == b"1";
            let second = reader.get_live(b"b").is_some();
            assert!(second || !first, "a part of the batch");
            (first, second)
        });
        join(writer);
        let saw = join(reader);
        holds(&table, &[(b"a", b"1"), (b"b", b"1")]);
        saw
    });
}

/// The same with a snapshot, in both directions.
#[test]
fn batch_against_snapshot() {
    bounded(1, [(false, false), (false, true), (true, true)], || {
        let table = base();
        assert!(table.insert(b"a", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.apply(&batch([b"a", b"b"], b"1")).expect("room"));
        let reader = spawn(2, move || {
            let snapshot = reader.snapshot();
            let second = snapshot.contains_key(b"b");
            let first = snapshot.get_live(b"a").expect("never absent") == b"1";
            assert_eq!(first, second, "a part of the batch");
            assert_eq!(snapshot.contains_key(b"b"), second, "the snapshot changed");
            (first, reader.contains_key(b"b"))
        });
        let seq = join(writer);
        let saw = join(reader);
        holds(&table, &[(b"a", b"1"), (b"b", b"1")]);
        assert!(table.versions().filter(|entry| entry.value == b"1").all(|entry| entry.seq == seq));
        saw
    });
}

/// A single put onto a key of a batch that may still be linking: it is seen by its own thread at once, by itself or under
/// the batch; all versions are there, the chain sorted, the figures exact. Told by which is newest in the end.
#[test]
fn put_onto_a_linking_batch() {
    model([b"b", b"s"], || {
        let table = base();
        assert!(table.insert(b"k", b"0"));
        let (writer, single) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.apply(&batch([b"k", b"l"], b"b")).expect("room"));
        let single = spawn(2, move || {
            let seq = single.put(b"k", b"s").expect("room");
            let newest = single.entry(b"k").expect("just written");
            assert!(newest.value != b"0" && newest.seq >= seq);
            seq
        });
        let (batch, single) = (join(writer), join(single));
        let newest = if table.get_live(b"k") == Some(b"b") { b"b" } else { b"s" };
        assert!(if newest == b"b" { single <= batch } else { batch <= single });
        holds(&table, &[(b"k", newest), (b"l", b"b")]);
        assert_eq!((table.len(), table.version_count()), (2, 4));
        newest
    });
}

/// The same with a snapshot: the single put is below the batch or above it, at every look.
#[test]
fn put_onto_a_linking_batch_against_snapshot() {
    bounded(1, [b"0", b"b", b"s"], || {
        let table = base();
        assert!(table.insert(b"k", b"0"));
        let (writer, single, reader) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.apply(&batch([b"k", b"l"], b"b")).expect("room"));
        let single = spawn(2, move || single.put(b"k", b"s").expect("room"));
        let reader = spawn(3, move || {
            let snapshot = reader.snapshot();
            let first = snapshot.get_live(b"k").expect("never absent");
            let batch = snapshot.contains_key(b"l");
            assert!(first != b"0" || !batch, "a part of the batch");
            assert!(first != b"b" || batch, "a part of the batch");
            assert_eq!(snapshot.get_live(b"k"), Some(first), "the snapshot changed");
            [b"0", b"b", b"s"].into_iter().find(|value| *value == first).expect("one of these")
        });
        join(writer);
        join(single);
        let saw = join(reader);
        table.validate().expect("valid");
        saw
    });
}

/// A number of the engine's onto a key of a linking batch: the batch commits above it or was there before.
#[test]
fn put_at_onto_a_linking_batch() {
    model([true, false], || {
        let table = numbered();
        assert_eq!(table.put_at(b"k", b"0", SeqNo(1)), Ok(()));
        let (writer, single) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.apply(&batch([b"k", b"l"], b"b")).expect("room"));
        let single = spawn(2, move || {
            assert_eq!(single.put_at(b"k", b"s", SeqNo(5)), Ok(()));
            assert!(single.entry(b"k").expect("there").seq >= SeqNo(5));
        });
        let batch = join(writer);
        join(single);
        holds(&table, &[(b"k", if batch > SeqNo(5) { b"b" } else { b"s" }), (b"l", b"b")]);
        assert_eq!((table.len(), table.version_count()), (2, 4));
        batch > SeqNo(5)
    });
}

/// A number of the engine's below the batch that brings a key: whoever of both is first, there is one live key, and it is counted
/// once. The batch counts what slipped in below it before it had counted itself.
#[test]
fn put_at_below_a_new_keys_batch() {
    model([true], || {
        let table = numbered();
        let (writer, single) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.apply(&batch([b"k", b"l"], b"b")).expect("room"));
        let single = spawn(2, move || assert_eq!(single.put_at(b"k", b"s", SeqNo(0)), Ok(())));
        let batch = join(writer);
        join(single);
        holds(&table, &[(b"k", b"b"), (b"l", b"b")]);
        assert_eq!((table.len(), table.version_count()), (2, 3));
        batch > SeqNo(0)
    });
}

/// `cause_before_effect` with a batch for the cause, whose number is copied from its record.
#[test]
fn batch_before_effect() {
    model([(false, false), (true, false), (true, true)], || {
        let table = base();
        let (first, second, reader) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let first = spawn(1, move || first.apply(&batch([b"a", b"c"], b"1")).expect("room"));
        let second =
            spawn(2, move || second.entry(b"a").map(|cause| (cause.seq, second.put(b"b", b"2").expect("room"))));
        let reader = spawn(3, move || assert!(reader.snapshot().seq() > SeqNo(0)));
        let cause = join(first);
        let effect = join(second);
        join(reader);
        if let Some((seen, effect)) = effect {
            assert!(seen == cause && effect >= cause, "{effect} because of {cause}");
        }
        (effect.is_some(), effect.is_some_and(|(_, effect)| effect > cause))
    });
}

/// Two batches of one key, and a clock that moves: the later one has the greater number, or the same.
#[test]
fn batches_in_turn() {
    model([b"1", b"2"], || {
        let table = base();
        let (one, two, reader) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let write = |table: &Table<EpochClock, 1>, value: &[u8]| {
            let mut batch = WriteBatch::new();
            batch.put(&b"k"[..], value);
            table.apply(&batch).expect("room")
        };
        let one = spawn(1, move || write(&one, b"1"));
        let two = spawn(2, move || write(&two, b"2"));
        let reader = spawn(3, move || assert!(reader.snapshot().seq() > SeqNo(0)));
        let (one, two) = (join(one), join(two));
        join(reader);
        let last = if table.get_live(b"k") == Some(b"1") { b"1" } else { b"2" };
        assert!(if last == b"1" { two <= one } else { one <= two });
        holds(&table, &[(b"k", last)]);
        last
    });
}

/// Two batches that overlap in opposite orders, beside a snapshot: one is above the other on both keys.
#[test]
fn two_batches() {
    bounded(1, [[None, None], [Some(b"1"), Some(b"1")], [Some(b"2"), Some(b"2")]], || {
        let table = base();
        let (one, two, reader) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.apply(&batch([b"a", b"b"], b"1")).expect("room"));
        let two = spawn(2, move || two.apply(&batch([b"b", b"a"], b"2")).expect("room"));
        let reader = spawn(3, move || {
            let snapshot = reader.snapshot();
            [b"b", b"a"].map(|key| snapshot.get_live(key).map(|value| if value == b"1" { b"1" } else { b"2" }))
        });
        let (one, two) = (join(one), join(two));
        let saw = join(reader);
        assert_eq!(saw[0], saw[1], "parts of batches");
        let last = table.get_live(b"a").expect("there");
        assert!(if last == b"1" { two <= one } else { one <= two });
        holds(&table, &[(b"a", last), (b"b", last)]);
        saw
    });
}

// ---- Lanes -----------------------------------------------------------------------------------------------------------

/// Whether the lanes lead straight to a key: then its node is the only one that is visited.
fn is_filed<S: SeqClock, const H: usize>(table: &Table<S, H>, key: &[u8]) -> bool {
    VISITED.take();
    assert!(table.contains_key(key));
    VISITED.take().len() == 1
}

/// Two writers at one block: a writer that finds it taken drops its work, and nothing else is lost. Told by who was filed.
#[test]
fn lane_lock_refused() {
    model([(true, true), (true, false), (false, true)], || {
        let table = table::<2>();
        assert!(table.insert(b"b", b"0"));
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || assert!(one.insert(b"d", b"1")));
        let two = spawn(2, move || assert!(two.insert(b"f", b"2")));
        join(one);
        join(two);
        holds(&table, &[(b"b", b"0"), (b"d", b"1"), (b"f", b"2")]);
        (is_filed(&table, b"d"), is_filed(&table, b"f"))
    });
}

/// The third key splits the block, and makes the next lane; a reader on its way down to a key behind it sees the lanes
/// before, after, or gives up on them, and finds everything. One switch is enough: what a lane holds is read without a
/// lock, so a reader that starts late may still see any of it.
#[test]
fn lane_split_against_reader() {
    bounded(1, [false, true], || split_against_reader(|table| table.insert(b"f", b"1")));
}

/// Whether a reader beside the third insert has come to its key.
fn split_against_reader(insert: fn(&Table<EpochClock, 3>) -> bool) -> bool {
    let table = table::<3>();
    assert!(table.insert(b"b", b"0") && table.insert(b"d", b"0"));
    let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
    let writer = spawn(1, move || assert!(insert(&writer)));
    let reader = spawn(2, move || {
        // The reader of an absent key goes all the way down.
        let last = reader.range(..&b"g"[..]).next_back().expect("there are others").key;
        assert!(last == b"d" || last == b"f");
        last == b"f"
    });
    join(writer);
    let saw = join(reader);
    holds(&table, &[(b"b", b"0"), (b"d", b"0"), (b"f", b"1")]);
    saw
}

/// A table at whose end two nodes wait to be filed: an ascending load by shard 0 has just begun a block.
fn waiting() -> Arc<Table<EpochClock, 3>> {
    let table = table::<3>();
    assert!([b"b", b"d", b"f", b"h", b"j"].into_iter().all(|key| table.insert(key, b"0")));
    table
}

/// The third of a run is filed with the two that waited, and begins a block; a reader meets the lane before, after, or gives up on it.
#[test]
fn run_filed_against_reader() {
    bounded(1, [false, true], || {
        let table = waiting();
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(0, move || assert!(writer.insert(b"l", b"1")));
        let reader = spawn(2, move || {
            assert!(reader.contains_key(b"h"));
            let last = reader.range(..&b"m"[..]).next_back().expect("there are others").key;
            assert!(last == b"j" || last == b"l");
            last == b"l"
        });
        join(writer);
        let saw = join(reader);
        holds(&table, &[(b"b", b"0"), (b"d", b"0"), (b"f", b"0"), (b"h", b"0"), (b"j", b"0"), (b"l", b"1")]);
        saw
    });
}

/// Somebody links and files a node among those that wait while they are filed, by another shard or by the same.
#[test]
fn run_filed_beside_a_writer_among_it() {
    bounded(1, [true], || run_beside(1, b"i"));
}

#[test]
fn run_filed_beside_a_writer_of_its_shard() {
    bounded(1, [true], || run_beside(0, b"i"));
}

/// The same behind it, where the next block begins.
#[test]
fn run_filed_beside_a_writer_behind_it() {
    bounded(1, [true], || run_beside(1, b"m"));
}

fn run_beside(shard: usize, key: &'static [u8; 1]) -> bool {
    let table = waiting();
    let (one, other) = (Arc::clone(&table), Arc::clone(&table));
    let one = spawn(0, move || assert!(one.insert(b"l", b"1")));
    let other = spawn(shard, move || assert!(other.insert(key, b"1")));
    join(one);
    join(other);
    let mut wanted: Vec<(&[u8], &[u8])> =
        vec![(b"b", b"0"), (b"d", b"0"), (b"f", b"0"), (b"h", b"0"), (b"j", b"0"), (b"l", b"1"), (key, b"1")];
    wanted.sort();
    holds(&table, &wanted);
    // Whoever comes next by that shard files what is left.
    assert!([b"s", b"u", b"w", b"y"].into_iter().all(|key| table.insert(key, b"2")));
    table.validate().is_ok()
}

/// One sole writer goes on where another one began, by the same shard.
#[test]
fn run_of_two_writers() {
    bounded(1, [true], || {
        let table = table::<3>();
        assert!([b"b", b"d", b"f"].into_iter().all(|key| table.insert(key, b"0")));
        let (one, other) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(0, move || assert!(one.insert(b"h", b"1") && one.insert(b"j", b"1")));
        let other = spawn(0, move || assert!(other.insert(b"l", b"1")));
        join(one);
        join(other);
        holds(&table, &[(b"b", b"0"), (b"d", b"0"), (b"f", b"0"), (b"h", b"1"), (b"j", b"1"), (b"l", b"1")]);
        true
    });
}

/// An estimate, which looks at blocks without their version: whatever it sees, it follows no handle that is not there yet.
#[test]
fn lane_split_against_estimate() {
    bounded(1, [true], || {
        let table = table::<3>();
        assert!(table.insert(b"b", b"0") && table.insert(b"d", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || assert!(writer.insert(b"f", b"1")));
        let reader = spawn(2, move || reader.approximate_count(..&b"g"[..]) <= 3);
        join(writer);
        join(reader)
    });
}

/// A split in the middle of a block, where entries move.
#[test]
fn lane_split_in_two_against_reader() {
    bounded(1, [false, true], || {
        let table = table::<3>();
        assert!(table.insert(b"b", b"0") && table.insert(b"f", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || assert!(writer.insert(b"d", b"1")));
        let reader = spawn(2, move || {
            assert!(reader.contains_key(b"f"));
            reader.contains_key(b"d")
        });
        join(writer);
        let saw = join(reader);
        holds(&table, &[(b"b", b"0"), (b"d", b"1"), (b"f", b"0")]);
        saw
    });
}

/// A split beside a walk to the end, which goes along the lanes without a look at the blocks' versions.
#[test]
fn lane_split_against_last() {
    bounded(1, [&b"d"[..], b"f"], || {
        let table = table::<3>();
        assert!(table.insert(b"b", b"0") && table.insert(b"d", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || assert!(writer.insert(b"f", b"1")));
        let reader = spawn(2, move || if reader.last_key() == Some(b"f") { &b"f"[..] } else { b"d" });
        join(writer);
        let saw = join(reader);
        holds(&table, &[(b"b", b"0"), (b"d", b"0"), (b"f", b"1")]);
        saw
    });
}

/// Two splits at once, by writers of one shard: their new blocks come from one slab, or from elsewhere if it is taken, and
/// do not overlap.
#[test]
fn slab_shared() {
    bounded(1, [(true, true)], || {
        // The table's slab is begun, and belongs to the shard that both use.
        SHARD.with(|own| own.set(1));
        let table = table::<2>();
        assert!([b"b", b"d", b"f"].into_iter().all(|key| table.insert(key, b"0")));
        // By another one, so that no run waits to be filed.
        SHARD.with(|own| own.set(2));
        assert!([b"h", b"j"].into_iter().all(|key| table.insert(key, b"0")));
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || assert!(one.insert(b"c", b"0")));
        let two = spawn(1, move || assert!(two.insert(b"z", b"0")));
        join(one);
        join(two);
        holds(&table, &[b"b", b"c", b"d", b"f", b"h", b"j", b"z"].map(|key| (&key[..], &b"0"[..])));
        (is_filed(&table, b"c"), is_filed(&table, b"z"))
    });
}

/// A split beside a writer whose key belongs to the other half, or to the same.
#[test]
fn lane_split_against_writer() {
    bounded(1, [(true, true), (true, false), (false, true)], || {
        let table = table::<2>();
        assert!(table.insert(b"b", b"0") && table.insert(b"f", b"0"));
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || assert!(one.insert(b"d", b"1")));
        let two = spawn(2, move || assert!(two.insert(b"h", b"2")));
        join(one);
        join(two);
        holds(&table, &[(b"b", b"0"), (b"d", b"1"), (b"f", b"0"), (b"h", b"2")]);
        (is_filed(&table, b"d"), is_filed(&table, b"h"))
    });
}

/// The topmost block, whose hints come to skip what its entries share while a reader is there.
#[test]
fn open_block_hinted_anew_against_reader() {
    const KEYS: [&[u8]; 6] = [b"prefix: b", b"prefix: d", b"prefix: f", b"prefix: h", b"prefix: j", b"prefix: l"];
    bounded(1, [false, true], || {
        let table = table::<3>();
        for key in &KEYS[..5] {
            assert!(table.insert(key, b"0"));
        }
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        // It begins a block, the third.
        let writer = spawn(1, move || assert!(writer.insert(KEYS[5], b"0")));
        let reader = spawn(2, move || reader.get(KEYS[5]).is_some());
        join(writer);
        let seen = join(reader);
        holds(&table, &KEYS.map(|key| (key, &b"0"[..])));
        seen
    });
}

// ---- Arenas ----------------------------------------------------------------------------------------------------------

fn small() -> ChunkSizes {
    ChunkSizes { first: 256, largest: 512 }
}

/// Two threads that need a new chunk, and the large table for it, at once: blocks are disjoint, and the loser's chunk is kept for
/// later. Told by the bytes held: one after the other they need one more, at once two.
#[test]
fn chunk_growth_raced() {
    fn fill(arena: &ChunkArena, byte: u8) -> Handle {
        let handle = arena.allocate(0, 64, UNIT).expect("memory");
        // SAFETY: just allocated.
        let block = unsafe { arena.resolve(handle) };
        // SAFETY: the block has 64 bytes.
        unsafe { block.write_bytes(byte, 64) };
        handle
    }
    model([false, true], || {
        let arena = Arc::new(ChunkArena::with_chunks(small(), Global));
        for byte in 3..6 {
            fill(&arena, byte);
        }
        let (one, two) = (Arc::clone(&arena), Arc::clone(&arena));
        let one = spawn(1, move || fill(&one, 1));
        let two = spawn(2, move || fill(&two, 2));
        for (handle, byte) in [(join(one), 1), (join(two), 2)] {
            assert!(arena.contains(handle, 64));
            // SAFETY: allocated above.
            let block = unsafe { arena.resolve(handle) };
            // SAFETY: 64 bytes, written before the thread was joined.
            let bytes = unsafe { NonNull::slice_from_raw_parts(block, 64).as_ref() };
            assert!(bytes.iter().all(|found| *found == byte));
        }
        assert_eq!(arena.used(), 320);
        arena.reserved() >= 256 + 2 * 512
    });
}

/// One thread gives back what it took across two chunks, while another takes a block: nothing is handed out twice. Told by whether
/// all of it went back, and with it the chunk.
#[test]
fn chunk_given_back_raced() {
    fn fill(arena: &ChunkArena, byte: u8) -> (Handle, usize) {
        let size = 8 * usize::from(byte);
        let handle = arena.allocate(0, size, UNIT).expect("memory");
        // SAFETY: just allocated.
        let block = unsafe { arena.resolve(handle) };
        // SAFETY: as long as that.
        unsafe { block.write_bytes(byte, size) };
        (handle, size)
    }
    model([false, true], || {
        let arena = Arc::new(ChunkArena::with_chunks(small(), Global));
        fill(&arena, 5);
        fill(&arena, 19);
        let (one, two) = (Arc::clone(&arena), Arc::clone(&arena));
        let one = spawn(1, move || {
            let blocks = [fill(&one, 5), fill(&one, 8)];
            // SAFETY: not used any more.
            let gone = blocks.into_iter().rev().all(|(handle, size)| unsafe { one.release(0, handle, size) });
            (gone, [fill(&one, 3), fill(&one, 9)])
        });
        let two = spawn(2, move || fill(&two, 7));
        let (gone, blocks) = join(one);
        let blocks = [blocks[0], blocks[1], join(two), fill(&arena, 6)];
        for ((handle, size), byte) in blocks.into_iter().zip([3, 9, 7, 6]) {
            // SAFETY: allocated above.
            let block = unsafe { arena.resolve(handle) };
            // SAFETY: `size` bytes, written before the thread was joined.
            let bytes = unsafe { NonNull::slice_from_raw_parts(block, size).as_ref() };
            assert!(bytes.iter().all(|found| *found == byte));
        }
        gone
    });
}

/// Two threads in one chunk, the first: whoever takes the second piece knows where the chunk is. Told by the bytes held: if
/// both made a chunk, one of them is a spare.
#[test]
fn chunk_shared() {
    model([false, true], || {
        let arena = Arc::new(ChunkArena::with_chunks(ChunkSizes { first: 512, largest: 512 }, Global));
        let fill = |arena: &ChunkArena| {
            let handle = arena.allocate(0, 64, UNIT).expect("memory");
            // SAFETY: just allocated.
            let block = unsafe { arena.resolve(handle) };
            // SAFETY: the block has 64 bytes.
            unsafe { block.write_bytes(7, 64) };
            block.as_ptr() as usize
        };
        let (one, two) = (Arc::clone(&arena), Arc::clone(&arena));
        let one = spawn(1, move || fill(&one));
        let two = spawn(2, move || fill(&two));
        assert_eq!(join(one).abs_diff(join(two)), 64);
        assert_eq!(arena.used(), 128);
        arena.reserved() >= 2 * 512
    });
}

/// Nodes in chunks that were taken while others wrote and read, with a table each: whoever is given a handle finds its chunk.
#[test]
fn chunk_growth_against_reader() {
    model([(false, false), (false, true), (true, false), (true, true)], || {
        let arena = ChunkArena::with_chunks(small(), Global);
        let table = Arc::new(Builder::with_arena(arena).max_height::<1>().build());
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let read = |table: &Memtable<[u8], Bytewise, ChunkArena, EpochClock, 1>, key: &[u8]| {
            table.get_live(key).inspect(|value| assert_eq!(value.len(), 108)).is_some()
        };
        let one = spawn(1, move || {
            assert!(one.insert(b"b", &[1; 108]));
            read(&one, b"c")
        });
        let two = spawn(2, move || {
            let first = read(&two, b"b");
            assert!(two.insert(b"c", &[2; 108]));
            first
        });
        let saw = (join(one), join(two));
        holds(&table, &[(b"b", &[1; 108]), (b"c", &[2; 108])]);
        saw
    });
}

/// Two regions over one directory, their first chunks taken at once.
#[test]
fn two_regions_grow() {
    model([(false, true), (true, false), (true, true)], || {
        let selector: fn() -> usize = || SHARD.with(Cell::get);
        let arena = ShardedArena::with_parts(2, small(), selector, Global);
        let table = Arc::new(Builder::with_arena(arena).max_height::<1>().build());
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(0, move || one.insert(b"b", b"1").then(|| one.contains_key(b"c")));
        let two = spawn(1, move || two.insert(b"c", b"2").then(|| two.contains_key(b"b")));
        let saw = (join(one).expect("inserted"), join(two).expect("inserted"));
        holds(&table, &[(b"b", b"1"), (b"c", b"2")]);
        saw
    });
}

// ---- One writer ------------------------------------------------------------------------------------------------------

/// Nodes that the only writer links by a store, before one and at the end: a search sees each completely, or not.
#[test]
fn single_writer_against_search() {
    model([(false, 2), (false, 3), (false, 4), (true, 3), (true, 4)], || {
        let table = base();
        assert!(table.insert(b"a", b"0") && table.insert(b"c", b"2"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || {
            let mut writer = writer.single_writer().expect("nobody else writes");
            writer.put_at(b"b", b"1", SeqNo(5)).expect("nothing refuses it");
            writer.put_at(b"d", b"3", SeqNo(6)).expect("nothing refuses it");
        });
        let reader = spawn(2, move || {
            let first = reader.get_live(b"b").inspect(|value| assert_eq!(*value, b"1")).is_some();
            let all: Vec<_> = reader.iter().map(|entry| (entry.key, entry.value)).collect();
            let keys: Vec<_> = all.iter().map(|(key, _)| *key).collect();
            assert!(keys.is_sorted() && keys.len() >= 2, "{keys:?}");
            assert!(!first || keys.contains(&&b"b"[..]));
            (first, keys.len())
        });
        join(writer);
        let saw = join(reader);
        holds(&table, &[(b"a", b"0"), (b"b", b"1"), (b"c", b"2"), (b"d", b"3")]);
        saw
    });
}

/// The third key splits the block, which the only writer took by a store: as in `lane_split_against_reader`.
#[test]
fn single_writer_splits_against_reader() {
    bounded(1, [false, true], || {
        split_against_reader(|table| table.single_writer().expect("nobody else writes").insert(b"f", b"1"))
    });
}

/// What the only writer has written a snapshot of later shows, and one of before does not.
#[test]
fn single_writer_against_snapshot() {
    model([(0, 0), (0, 1), (1, 1)], || {
        let table = base();
        assert!(table.insert(b"a", b"0"));
        let (writer, reader) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || {
            let mut writer = writer.single_writer().expect("nobody else writes");
            assert!(writer.insert(b"b", b"1"));
        });
        let reader = spawn(2, move || {
            let snapshot = reader.snapshot();
            let first = snapshot.iter().count() - 1;
            assert_eq!(snapshot.iter().count() - 1, first, "it moved");
            (first, reader.iter().count() - 1)
        });
        join(writer);
        join(reader)
    });
}

/// A writer beside one that wants to be the only one, in one region of one chunk: one after the other, or one is refused; never both
/// inside.
#[test]
fn single_writer_against_writer() {
    bounded(5, [(true, true), (true, false), (false, true)], || {
        let table = one_shard();
        assert!(table.insert(b"a", &[7; 20]));
        let (many, alone) = (Arc::clone(&table), Arc::clone(&table));
        // With numbers of their own: the barrier before the clock would stand in for the gate's release.
        let many = spawn(1, move || many.put_at(b"b", &[1; 20], SeqNo(5)));
        let alone = spawn(2, move || {
            let mut writer = alone.single_writer()?;
            writer.put_at(b"c", &[2; 20], SeqNo(6))
        });
        let (many, alone) = (join(many), join(alone));
        for written in [many, alone] {
            assert!(matches!(written, Ok(()) | Err(InsertError::Busy)), "{written:?}");
        }
        let wanted = [(&b"a"[..], Some(7)), (b"b", many.ok().map(|_| 1)), (b"c", alone.ok().map(|_| 2))];
        let wanted: Vec<_> = wanted.into_iter().filter_map(|(key, byte)| Some((key, [byte?; 20]))).collect();
        let wanted: Vec<_> = wanted.iter().map(|(key, value)| (*key, &value[..])).collect();
        assert_eq!(table.len(), wanted.len());
        holds(&table, &wanted);
        // Whoever comes now is let in.
        assert!(table.insert(b"d", b"") && table.single_writer().is_ok());
        (many.is_ok(), alone.is_ok())
    });
}

/// Two writers, of which one may join the other, beside one that wants to be the only one: it sees what both have left, and they what it
/// has.
#[test]
fn single_writer_among_sole_and_joint() {
    let beside_it = [(true, true, true), (true, false, true), (false, true, true), (false, false, true)];
    // One shard: nobody is turned away by one that is turned away itself.
    bounded(1, beside_it.into_iter().chain([(true, true, false)]), || {
        let table = one_shard();
        let [one, two, alone] = [0; 3].map(|_| Arc::clone(&table));
        let one = spawn(1, move || one.put_at(b"a", b"1", SeqNo(5)).is_ok());
        let two = spawn(2, move || two.put_at(b"b", b"2", SeqNo(6)).is_ok());
        let alone = spawn(3, move || {
            // Its key is before the others', so that no link on the way says what they have done.
            alone.single_writer().is_ok_and(|mut writer| writer.put_at(b"0", b"3", SeqNo(7)).is_ok())
        });
        let outcome = (join(one), join(two), join(alone));
        assert_eq!(table.len(), [outcome.0, outcome.1, outcome.2].map(usize::from).iter().sum::<usize>());
        table.validate().unwrap_or_else(|broken| panic!("{broken:?}"));
        outcome
    });
}

/// Of two that want to be the only writer one gets to be it, at least.
#[test]
fn two_single_writers() {
    bounded(5, [(true, true), (true, false), (false, true)], || {
        let table = one_shard();
        let (one, two) = (Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.single_writer().is_ok_and(|mut writer| writer.insert(b"a", b"1")));
        let two = spawn(2, move || two.single_writer().is_ok_and(|mut writer| writer.insert(b"b", b"2")));
        let (one, two) = (join(one), join(two));
        assert_eq!(table.len(), usize::from(one) + usize::from(two));
        table.validate().expect("one after the other");
        (one, two)
    });
}

// ---- The end of a table ----------------------------------------------------------------------------------------------

/// A freeze beside a writer: the write is in the frozen table or refused, never later.
#[test]
fn freeze_against_writer() {
    model([true, false], || {
        let table = base();
        assert!(table.insert(b"a", b"0"));
        // So that the next number is a greater one.
        assert!(table.snapshot().contains_key(b"a"));
        let (writer, freezer) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || writer.put(b"b", b"1").map(drop));
        let freezer = spawn(2, move || {
            let frozen = freezer.freeze();
            frozen.validate().expect("exact as soon as it is frozen");
            let seen = frozen.entry(b"b").map(|entry| entry.seq);
            assert!(seen.is_none() || frozen.max_seq() == seen, "not all of the write");
            seen.is_some()
        });
        let written = join(writer);
        let seen = join(freezer);
        assert_eq!(written, if seen { Ok(()) } else { Err(InsertError::Sealed) });
        assert_eq!(table.contains_key(b"b"), seen);
        seen
    });
}

/// The same beside two writers of one shard: one is the sole writer, the other may join it, or come in when it has left, or not have
/// seen the seal yet.
#[test]
fn freeze_against_sole_and_joint_writer() {
    bounded(3, [(true, true), (true, false), (false, true), (false, false)], || {
        let table = base();
        let (one, two, freezer) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let one = spawn(1, move || one.put(b"a", b"1").map(drop));
        let two = spawn(1, move || two.put(b"b", b"2").map(drop));
        let freezer = spawn(2, move || {
            let frozen = freezer.freeze();
            frozen.validate().expect("exact as soon as it is frozen");
            (frozen.contains_key(b"a"), frozen.contains_key(b"b"))
        });
        let outcome = |seen| if seen { Ok(()) } else { Err(InsertError::Sealed) };
        let (one, two) = (join(one), join(two));
        let seen = join(freezer);
        assert_eq!((one, two), (outcome(seen.0), outcome(seen.1)));
        assert_eq!((table.contains_key(b"a"), table.contains_key(b"b")), seen);
        seen
    });
}

/// A freeze beside the only writer: it waits for it; what that has written by then is in the frozen table, and nothing else ever.
#[test]
fn freeze_against_single_writer() {
    bounded(5, [(true, true), (true, false), (false, false)], || {
        let table = one_shard();
        let (writer, freezer) = (Arc::clone(&table), Arc::clone(&table));
        let writer = spawn(1, move || Ok(writer.single_writer()?.put(b"a", b"1").map(drop)));
        let freezer = spawn(2, move || {
            let frozen = freezer.freeze();
            frozen.validate().expect("exact as soon as it is frozen");
            frozen.contains_key(b"a")
        });
        let (written, seen) = (join(writer), join(freezer));
        assert_eq!(table.contains_key(b"a"), seen);
        let sealed = Err(InsertError::Sealed);
        let (was_let_in, written) = (written.is_ok(), written.unwrap_or_else(Err));
        assert_eq!(written, if seen { Ok(()) } else { sealed });
        (was_let_in, seen)
    });
}

// ---- Twins -----------------------------------------------------------------------------------------------------------

/// Runs a model with an ordering weakened, in a process of its own, since loom does not survive a failure. Whether it
/// passes, and what it says.
fn weakened(ordering: &str, model: &str) -> (bool, String) {
    let program = std::env::current_exe().expect("this program");
    let mut twin = std::process::Command::new(program);
    twin.args(["--exact", model, "--nocapture"]).env("MEMSKIP_WEAKEN", ordering).env("RUST_BACKTRACE", "0");
    let output = twin.output().expect("it runs");
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(text.contains("running 1 test"), "no model {model}");
    (output.status.success(), text)
}

/// The model must fail when the ordering is weakened.
fn must_fail(ordering: &str, model: &str) {
    let (passes, text) = weakened(ordering, model);
    assert!(!passes, "{model} does not see '{ordering}' weakened:\n{text}");
    assert!(!text.contains(NEVER_SEEN), "{model} with '{ordering}' weakened sees less, which proves nothing:\n{text}");
    let why = text.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or("it crashed");
    println!("{ordering}: {model}: {why}");
}

macro_rules! twins {
    ($($ordering:ident: $model:ident;)+) => {
        mod twins {
            $(#[test]
            fn $ordering() {
                // Checked by the compiler: there is such a model.
                let _: fn() = super::$model;
                super::must_fail(stringify!($ordering), stringify!($model));
            })+
        }
    };
}

twins! {
    link: insert_against_search;
    link_alone: single_writer_against_search;
    follow: insert_against_search;
    store_load: overwrite_against_snapshot;
    stamp: cause_before_effect;
    stamp_read: batch_against_reads;
    stamp_store: batch_before_effect;
    commit: batch_against_reads;
    file: lane_split_against_last;
    block_lock: lane_split_against_writer;
    block_write: lane_split_against_reader;
    block_unlock: lane_split_against_reader;
    block_read: lane_split_against_reader;
    block_check: lane_split_against_reader;
    gate_enter: sole_and_joint_writers;
    gate_leave: freeze_against_writer;
    gate_look: freeze_against_writer;
    chunk: chunk_shared;
    chunk_read: chunk_shared;
    slab_lock: slab_shared;
    slab_unlock: slab_shared;
}

// The orderings without a twin, and why weakening them changes nothing that a model could see:
//
// | ordering               | reason |
// | ---------------------- | ------ |
// | clock                  | its partner is the total order of `SeqCst`, for which the fences of `store_load` stand in under loom |
// | gate_wait              | every freeze looks at the gate again behind it, with gate_look, before it says anything |
// | batch_lock, batch_unlock | the lock only excludes, which any read-modify-write does: who puts a version onto another batch's has loaded (follow) the link that the other closed (link) after it was linked, so it sees the record pending at least |
