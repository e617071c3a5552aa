//! Memory to the byte: what nodes and versions of every length take, which chunks an arena asks for, what it takes back, and
//! what it says about handles.
#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(unsafe_code, reason = "arenas and allocators are unsafe traits")]

#[macro_use]
mod common;

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use memskip::{
    Arena, Builder, ChunkArena, ChunkSizes, FixedArena, Global, Handle, InsertError, Kind, LaneDensity, Memtable,
    OutOfMemory, Shard, ShardSelector, ShardedArena, SingleShard, ThreadShards, UNIT,
};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;

// ---- Nodes and versions ----

fn bare() -> Memtable<[u8], memskip::Bytewise, ChunkArena> {
    // One chunk is enough for each test.
    let sizes = ChunkSizes { first: 8 << 20, largest: 8 << 20 };
    Memtable::<[u8]>::builder().lane_density(LaneDensity::Never).arena(ChunkArena::with_chunks(sizes, Global)).build()
}

/// A node is 20 bytes, its key and its value, and 8 for their lengths if the key has 256 bytes or more or the value 16 KiB. A
/// version is 16 and its value, and 4 from 2 MiB on. All in units of 8.
#[test]
fn what_nodes_and_versions_take() {
    for key_len in [0, 1, 4, 5, 16, 255, 256, 257, 1000] {
        for value_len in [0, 1, 3, 4, 5, 100, (1 << 14) - 1, 1 << 14, (1 << 14) + 1] {
            let table = bare();
            let (key, value) = (vec![7; key_len], vec![9; value_len]);
            table.put(&key, &value).unwrap();
            let lengths = if key_len < 256 && value_len < 1 << 14 { 0 } else { 8 };
            let size = (20 + lengths + key_len + value_len).max(24);
            assert_eq!(table.memory_usage(), size.next_multiple_of(8), "{key_len} {value_len}");
            assert_eq!(table.iter().map(|e| (e.key, e.value)).collect::<Vec<_>>(), [(&key[..], &value[..])]);
        }
    }
    for value_len in [0, 1, 7, 8, 9, (1 << 14) + 1, (1 << 21) - 1, 1 << 21, (1 << 21) + 1] {
        let table = bare();
        let value: Vec<u8> = (0..value_len).map(|i| (i % 251) as u8).collect();
        // 24 bytes behind the unit that is never handed out: the version follows without a gap.
        table.put(b"key4", b"").unwrap();
        let before = table.memory_usage();
        assert_eq!(before, 24);
        table.put(b"key4", &value).unwrap();
        let size: usize = 16 + value_len + if value_len < 1 << 21 { 0 } else { 4 };
        assert_eq!(table.memory_usage() - before, size.next_multiple_of(8), "{value_len}");
        assert_eq!(table.get_live(b"key4"), Some(&value[..]));
        assert_valid!(table);
    }
}

/// The longest key and value are refused by a full table, longer ones by any. Zeroed pages that nobody touches.
#[test]
fn the_longest_key_and_value() {
    const REQUEST: usize = if cfg!(target_pointer_width = "64") { u32::MAX as usize } else { 1 << 30 };
    let mut buffer = [MaybeUninit::uninit(); 256];
    let table = Builder::with_arena(FixedArena::new(&mut buffer)).build();
    let long = vec![0; REQUEST / 2 + 1];
    assert_eq!(table.put(&long[..REQUEST / 4], b""), Err(InsertError::OutOfMemory));
    for len in [REQUEST / 4 + 1, REQUEST / 4 + 2] {
        assert_eq!(table.put(&long[..len], b""), Err(InsertError::KeyTooLarge));
    }
    assert_eq!(table.put(b"k", &long[..REQUEST / 2]), Err(InsertError::OutOfMemory));
    assert_eq!(table.put(b"k", &long), Err(InsertError::ValueTooLarge));
    assert!(table.is_empty() && table.put(b"k", b"v").is_ok());
}

// ---- Chunks ----

/// The addresses of the first chunks, which come with the first.
const TABLE: Layout = Layout::new::<[usize; 8]>();

/// Writes down the layouts it is asked for, refuses those above a size, and can be stopped in the middle of an answer.
#[derive(Clone)]
struct Noting(Arc<Mutex<Vec<Layout>>>, Arc<(AtomicBool, Barrier)>, usize);

impl Noting {
    fn new() -> Self {
        Self(Arc::default(), Arc::new((AtomicBool::new(false), Barrier::new(2))), usize::MAX)
    }

    /// The sizes of chunks that were asked for since the last time; every alignment is that of its size.
    fn sizes(&self) -> Vec<usize> {
        let mut noted = std::mem::take(&mut *self.0.lock().unwrap());
        noted.retain(|layout| *layout != TABLE);
        let lines = if cfg!(target_pointer_width = "64") { 64 } else { 16 };
        let align = |size: usize| if size >= 2 << 20 { 2 << 20 } else { lines };
        assert!(noted.iter().all(|layout| layout.align() == align(layout.size())), "{noted:?}");
        noted.iter().map(Layout::size).collect()
    }
}

// SAFETY: every block is `Global`'s, passed through.
unsafe impl Allocator for Noting {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.lock().unwrap().push(layout);
        if self.1.0.swap(false, SeqCst) {
            self.1.1.wait();
            self.1.1.wait();
        }
        if layout.size() > self.2 { Err(AllocError) } else { Global.allocate(layout) }
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block came from `Global` with this layout.
        unsafe { Global.deallocate(block, layout) }
    }
}

fn noting(first: usize, largest: usize) -> (ChunkArena<Noting>, Noting) {
    let notes = Noting::new();
    (ChunkArena::with_chunks(ChunkSizes { first, largest }, notes.clone()), notes)
}

/// Each chunk is twice the one before, up to the largest; at least four times the request that made it; and a request of more
/// than a quarter of the largest has its own.
#[test]
fn which_chunks_are_asked_for() {
    let (arena, notes) = noting(256, 2048);
    let fill = |size: usize, count: usize| (0..count).for_each(|_| assert!(arena.allocate(0, size, UNIT).is_ok()));
    fill(8, 31);
    assert_eq!((notes.sizes(), arena.used()), (vec![256], 248));
    fill(8, 1);
    assert_eq!((notes.sizes(), arena.used()), (vec![512], 256));
    fill(8, 62 + 127 + 255 + 255 + 1);
    assert_eq!((notes.sizes(), arena.used()), (vec![1024, 2048, 2048, 2048], 8 * (31 + 63 + 127 + 255 + 255 + 1)));
    fill(512, 1);
    fill(8, 185);
    assert_eq!(notes.sizes(), []);
    fill(520, 1);
    assert_eq!((notes.sizes(), arena.reserved()), (vec![528], TABLE.size() + 256 + 512 + 1024 + 3 * 2048 + 528));
    fill(8, 5);
    assert_eq!(notes.sizes(), []);
    fill(512, 1);
    assert_eq!(notes.sizes(), [2048]);
    let (arena, notes) = noting(256, 1 << 20);
    assert!(arena.allocate(0, 1000, UNIT).is_ok());
    assert_eq!(notes.sizes(), [4000]);
    assert!(arena.allocate(0, 3000, 64).is_ok());
    assert_eq!(notes.sizes(), [12000]);
    assert!(arena.allocate(0, 300_000, 64).is_ok());
    // 8 units are skipped, 1 of which is never handed out anyway.
    assert_eq!(notes.sizes(), [300_000 + 64]);
    assert!(arena.allocate(0, 3 << 20, UNIT).is_ok());
    assert_eq!(notes.sizes(), [(3 << 20) + 8]);
}

/// If there is not enough memory for a chunk, there may be for one that just holds the request.
#[test]
fn a_chunk_that_is_refused_is_asked_for_again_as_small_as_can_be() {
    let mut notes = Noting::new();
    notes.2 = 200;
    let arena = ChunkArena::with_chunks(ChunkSizes { first: 256, largest: 2048 }, notes.clone());
    assert!(arena.allocate(0, 40, UNIT).is_ok());
    assert_eq!(notes.sizes(), [256, 48]);
    assert!(arena.allocate(0, 104, 64).is_ok());
    assert_eq!(notes.sizes(), [416, 104 + 64]);
    assert_eq!(arena.allocate(0, 200, UNIT), Err(OutOfMemory));
    assert_eq!(
        (notes.sizes(), arena.used(), arena.reserved()),
        (vec![800, 208], 40 + 56 + 104, TABLE.size() + 48 + 168)
    );
}

/// When half of the 4,096 places are used, chunks are 8 MiB, whatever was asked for.
#[test]
fn small_chunks_do_not_use_up_the_places() {
    let (arena, notes) = noting(64, 64);
    for _ in 0..2048 {
        assert!(arena.allocate(0, 16, UNIT).is_ok() && arena.allocate(0, 16, UNIT).is_ok());
        assert!(arena.allocate(0, 16, UNIT).is_ok() && arena.allocate(0, 8, UNIT).is_ok());
    }
    let tables = notes.0.lock().unwrap().iter().filter(|layout| layout.align() < 64).count();
    assert_eq!((tables, notes.0.lock().unwrap().len()), (2, 2050));
    notes.0.lock().unwrap().clear();
    assert!(arena.allocate(0, 8, UNIT).is_ok());
    assert_eq!(notes.sizes(), [128]);
    assert!((0..100).all(|_| arena.allocate(0, 10_000, UNIT).is_ok()));
    assert_eq!(notes.sizes(), [40_000, 80_000, 160_000, 320_000, 640_000]);
}

/// After a reset no chunk is handed out for a request that it just does not hold.
#[test]
fn a_spare_chunk_that_is_a_unit_short_is_not_taken() {
    for (wanted, asked) in [(1992, vec![]), (2000, vec![2008])] {
        let (mut arena, notes) = noting(256, 2048);
        assert!(arena.allocate(0, 1992, UNIT).is_ok());
        assert_eq!(notes.sizes(), [2000]);
        arena.reset();
        assert!(arena.allocate(0, wanted, UNIT).is_ok());
        assert_eq!(notes.sizes(), asked);
    }
    // The rest of the list goes back: three chunks, taken again one by one.
    let (mut arena, notes) = noting(256, 256);
    let fill = |arena: &ChunkArena<Noting>| (0..3).for_each(|_| _ = arena.allocate(0, 200, UNIT));
    fill(&arena);
    assert_eq!(notes.sizes(), [208, 208, 208]);
    arena.reset();
    fill(&arena);
    assert_eq!(notes.sizes(), []);
}

/// Two threads find their region full; while one waits for the allocator the other grows. The first uses that chunk.
#[test]
fn a_chunk_that_somebody_else_brought_is_used() {
    static ARENA: OnceLock<ChunkArena<Noting>> = OnceLock::new();
    let (arena, notes) = noting(256, 4096);
    let arena = ARENA.get_or_init(|| arena);
    notes.1.0.store(true, SeqCst);
    thread::scope(|scope| {
        let slow = scope.spawn(|| arena.allocate(0, 80, 64));
        notes.1.1.wait();
        let fast = arena.allocate(0, 16, UNIT);
        notes.1.1.wait();
        assert_eq!((fast, slow.join().unwrap()), (Ok(Handle(1)), Ok(Handle(8))));
    });
    assert_eq!((arena.used(), notes.sizes()), (17 * UNIT, vec![320, 256]));
}

// ---- What is given back ----

fn gives_back(arena: &impl Arena) {
    let take = |size: usize| arena.allocate(0, size, UNIT).unwrap();
    let (first, second) = (take(16), take(40));
    let used = arena.used();
    // SAFETY: live, and not used any more.
    assert!(!unsafe { arena.release(0, first, 16) });
    // SAFETY: as above.
    assert!(!unsafe { arena.release(0, second, 48) });
    // SAFETY: as above.
    assert!(!unsafe { arena.release(0, second, usize::MAX) });
    assert_eq!(arena.used(), used);
    // SAFETY: as above.
    assert!(unsafe { arena.release(0, second, 40) });
    assert_eq!((arena.used(), take(24)), (used - 40, second));
}

#[test]
fn only_the_last_block_is_taken_back() {
    gives_back(&ChunkArena::new());
    gives_back(&ShardedArena::new(3));
    gives_back(&FixedArena::new(&mut [MaybeUninit::uninit(); 1024]));
    // To the last unit of the largest chunk there is.
    let arena = ChunkArena::with_chunks(ChunkSizes { first: 8 << 20, largest: 8 << 20 }, Global);
    assert!((0..3).all(|_| arena.allocate(0, (2 << 20) - 8, UNIT).is_ok()));
    let rest = arena.allocate(0, (2 << 20) + 8, UNIT).unwrap();
    assert_eq!(rest.0, 1 + 3 * ((1 << 18) - 1));
    // SAFETY: live, and not used any more.
    assert!(unsafe { arena.release(0, rest, (2 << 20) + 8) });
}

/// A batch is refused at its last write: what it took before, in many chunks and in chunks of its own, is there for others.
#[test]
fn a_refused_batch_gives_back_its_chunks() {
    for value in [100, 600] {
        let mut notes = Noting::new();
        // Enough for the large table of addresses.
        notes.2 = 100_000;
        let arena = ChunkArena::with_chunks(ChunkSizes { first: 256, largest: 2048 }, notes);
        let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Never).arena(arena).build();
        assert!(table.insert(b"known", b""));
        let (keys, values) = ([0u32; 100].map(|_| b"key"), [vec![7; value], vec![7; 150_000]]);
        let mut writes: Vec<_> = keys.iter().map(|key| (&key[..], &values[0][..], Kind::VALUE)).collect();
        writes.push((b"too long", &values[1], Kind::VALUE));
        let before = table.memory_usage();
        let mut reserved = None;
        for _ in 0..10 {
            assert_eq!(table.apply_slice(&writes), Err(InsertError::OutOfMemory));
            // What alignment skips may stay.
            assert!(table.memory_usage() <= before + 8 && table.len() == 1, "{}", table.memory_usage());
            let now = table.memory_reserved();
            assert!(now <= *reserved.get_or_insert(now) + 2048, "{now} after {reserved:?}");
        }
        assert_eq!(table.apply_slice(&writes[..100]).map(drop), Ok(()), "{value}");
        assert_valid!(table);
    }
}

/// Of two inserts of one key the second gives its memory back, also if that was a chunk of its own.
#[test]
fn a_lost_race_keeps_no_chunk() {
    let (arena, notes) = noting(256, 2048);
    let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Never).arena(arena).build();
    assert!(table.insert(b"a", b""));
    let before = table.memory_usage();
    notes.1.0.store(true, SeqCst);
    thread::scope(|scope| {
        let slow = scope.spawn(|| table.insert(b"key", &[7; 1000]));
        notes.1.1.wait();
        assert!(table.insert(b"key", b"fast"));
        notes.1.1.wait();
        assert!(!slow.join().unwrap());
    });
    assert_eq!(table.memory_usage() - before, 32);
}

// ---- What is said of handles and arenas ----

fn contains(arena: &impl Arena, room: u32) {
    let first = arena.allocate(0, 16, UNIT).unwrap();
    assert_eq!(first, Handle(1));
    assert!(!arena.contains(Handle::NONE, 8) && !arena.contains(Handle(u32::MAX), 8));
    assert!(arena.contains(first, 16) && !arena.contains(first, usize::MAX));
    assert!(arena.contains(Handle(room), 8) && !arena.contains(Handle(room), 9));
    assert!(!arena.contains(Handle(room + 1), 8));
}

#[repr(align(64))]
struct Aligned([MaybeUninit<u8>; 256]);

#[test]
fn which_handles_are_inside() {
    let sizes = ChunkSizes { first: 256, largest: 256 };
    contains(&ChunkArena::with_chunks(sizes, Global), 31);
    contains(&ShardedArena::with_parts(2, sizes, SingleShard, Global), 31);
    contains(&FixedArena::new(&mut Aligned([MaybeUninit::uninit(); 256]).0), 31);
    assert!(Handle::NONE.is_none() && !Handle(1).is_none());
}

/// An arena that leaves the rest to the trait.
struct Least(ChunkArena);

// SAFETY: everything is the inner arena's.
unsafe impl Arena for Least {
    as_inner_arena!(shards allocate resolve used reserved reset);
}

#[test]
fn what_the_trait_gives() {
    let arena = Least(ChunkArena::new());
    let block = arena.allocate(0, 8, UNIT).unwrap();
    assert!(arena.contains(block, 8) && arena.renew().is_none());
    assert_eq!((arena.current_shard(), arena.0.current_shard()), (0, 0));
    // SAFETY: live, and not used any more.
    assert!(!unsafe { arena.release(0, block, 8) });
    let table = Memtable::<[u8]>::builder().arena(arena).build();
    assert!(table.insert(b"k", b"v"));
    assert_valid!(table);
}

#[test]
fn arenas_are_renewed_with_their_parts() {
    let (arena, notes) = noting(512, 1024);
    let again = arena.renew().unwrap();
    assert!(again.allocate(0, 8, UNIT).is_ok());
    assert_eq!((notes.sizes(), again.reserved(), arena.reserved()), (vec![512], TABLE.size() + 512, 0));
    let sizes = ChunkSizes { first: 512, largest: 1024 };
    for (shards, list) in [(0, 1), (1, 1), (2, 2), (5, 5)] {
        let arena = ShardedArena::with_parts(shards, sizes, SingleShard, notes.clone());
        assert_eq!(arena.shards().len(), list);
        assert_eq!(notes.0.lock().unwrap().drain(..).count(), usize::from(shards > 1));
        assert_eq!(arena.renew().unwrap().shards().len(), list);
        notes.0.lock().unwrap().clear();
    }
}

/// A table that was reset knows nothing of where its last writes went.
#[test]
fn nothing_is_left_behind_by_a_reset() {
    let mut table = Memtable::<[u8]>::builder().shards(1).build();
    for round in 0..20 {
        for i in 0..100 {
            assert!(table.insert(&common::key(i), b""));
        }
        table.reset();
        for i in [150, 30, 151, 152, 10] {
            assert!(table.insert(&common::key(i + round), b""));
            assert!(table.contains_key(&common::key(i + round)));
        }
        assert_eq!((table.iter().count(), table.len()), (5, 5));
        assert_valid!(table);
        table.reset();
    }
}

/// A table's successor is as dense.
#[test]
fn tables_are_renewed_with_their_density() {
    let used = |table: &Memtable| {
        for i in 0..1000 {
            assert!(table.insert(&common::key(i), b""));
        }
        table.memory_usage()
    };
    let mut seen = Vec::new();
    for density in [LaneDensity::Every, LaneDensity::Sparse, LaneDensity::Never] {
        let table = Memtable::<[u8]>::builder().lane_density(density).shards(1).build();
        let renewed = table.renew().unwrap();
        seen.push(used(&table));
        assert_eq!(used(&renewed), used(&table.seal().unwrap().1));
        assert_eq!(Some(&used(&renewed.renew().unwrap())), seen.last());
    }
    assert!(seen[0] > seen[1] && seen[1] > seen[2]);
}

#[test]
fn selectors() {
    assert_eq!(SingleShard.select(), 0);
    let numbers = || thread::spawn(|| [ThreadShards.select(), ThreadShards.select()]).join().unwrap();
    let pairs = [numbers(), numbers(), numbers()];
    assert!(pairs.iter().all(|[first, again]| first == again));
    assert!(pairs[0] != pairs[1] && pairs[1] != pairs[2] && pairs[0] != pairs[2]);
}

/// Every public type says its name.
#[test]
fn debug_output() {
    let shows = |what: &dyn std::fmt::Debug, parts: &[&str]| {
        let shown = format!("{what:?}");
        assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
    };
    shows(&ChunkArena::new(), &["ChunkArena", "reserved: 0", "used: 0"]);
    shows(&ShardedArena::new(3), &["ShardedArena", "shards: 3", "reserved: 0"]);
    shows(&FixedArena::new(&mut [MaybeUninit::uninit(); 256]), &["FixedArena", "used: 0"]);
    shows(&Shard::new(), &["Shard", "Gate", "sealed: false"]);
    let table = <Memtable>::new();
    assert!(table.insert(b"k", b"v"));
    shows(&table, &["Memtable", "List", "levels: 12", "density: "]);
    let cursor = table.cursor_at(b"k").unwrap();
    assert!(format!("{cursor:?}").contains(|shown: char| shown.is_ascii_digit()), "{cursor:?}");
    shows(&table.seal().unwrap().0, &["Frozen(Memtable"]);
}
