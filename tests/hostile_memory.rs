//! Memory that runs out: an allocator that fails or panics at the n-th call, for every n, and a fixed buffer of every
//! size. Every failure is a value, everything from before stays readable, and the figures stay exact.
#![cfg(feature = "std")]
#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

#[macro_use]
mod common;

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use common::{Fuse, Model, Rng, key, light, row, rows};
use memskip::{
    Arena, ChunkArena, ChunkSizes, Comparator, CounterClock, FixedArena, Global, InsertError, Memtable, SeqClock,
    SeqNo, WriteBatch,
};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

// ---- A scenario that meets the end of memory anywhere ----

/// Writes of every sort until `steps` were tried; after each refusal everything from before is read again. Gives the
/// number of refusals.
fn write_until_full<C, A, S, const H: usize>(
    table: &Memtable<[u8], C, A, S, H>,
    model: &mut Model,
    seed: u64,
    steps: usize,
) -> usize
where
    C: Comparator<[u8]>,
    A: Arena,
    S: SeqClock,
{
    let mut rng = Rng::new(seed);
    let mut refusals = 0;
    for _ in 0..steps {
        let k = key(rng.below(24));
        let v = vec![rng.bits().to_le_bytes()[0]; rng.below(60)];
        let outcome = match rng.below(8) {
            0 => table.try_insert(&k, &v).map(|seq| model.write(&k, seq.0, 0, &v)),
            1 => table.put_tombstone(&k).map(|seq| model.write(&k, seq.0, 1, b"")),
            2 => {
                let seq = rng.below(1000) as u64;
                table.put_at(&k, &v, SeqNo(seq)).map(|()| model.write(&k, seq, 0, &v))
            }
            3 => {
                let live = model.is_live(&k);
                if table.delete(&k) {
                    assert!(live);
                    model.write(&k, table.entry(&k).expect("just deleted").seq.0, 1, b"");
                }
                Ok(())
            }
            4 => {
                let mut batch = <WriteBatch>::new();
                let keys = [rng.below(24), 30 + rng.below(24), 60];
                for i in keys {
                    batch.put(&key(i), &v);
                }
                table.apply(&batch).map(|seq| keys.iter().for_each(|&i| model.write(&key(i), seq.0, 0, &v)))
            }
            _ => table.put(&k, &v).map(|seq| model.write(&k, seq.0, 0, &v)),
        };
        match outcome {
            Ok(()) | Err(InsertError::DuplicateKey | InsertError::DuplicateSeqNo) => {}
            Err(error) => {
                assert_eq!(error, InsertError::OutOfMemory);
                if refusals < 3 {
                    read_everything(table, model);
                }
                refusals += 1;
            }
        }
    }
    read_everything(table, model);
    refusals
}

/// Every read and every figure is what the model says.
fn read_everything<C, A, S, const H: usize>(table: &Memtable<[u8], C, A, S, H>, model: &Model)
where
    C: Comparator<[u8]>,
    A: Arena,
    S: SeqClock,
{
    let (all, newest) = (model.all(), model.newest());
    assert_eq!(rows(table.versions()), all);
    assert_eq!(rows(table.iter()), newest);
    assert!(table.iter().rev().map(row).eq(newest.iter().rev().cloned()));
    for row in &newest {
        assert_eq!(table.get(&row.key), Some((&row.value[..], row.kind == 1)));
    }
    assert_eq!((table.len(), table.tombstones()), model.counts());
    assert_eq!(table.version_count(), model.stored);
    assert_eq!(table.memory_usage() + table.memory_idle(), table.memory_reserved());
    assert_valid!(table);
}

// ---- A fixed buffer of every size ----

/// From 0 bytes up, byte by byte, at every alignment, with and without lanes: all refusals are values, and a larger
/// buffer holds more in the end.
fn every_size<const H: usize>() {
    let step = if light() { 13 } else { 1 };
    let mut most = 0;
    let mut backing = vec![MaybeUninit::uninit(); 2048 + 8];
    for size in (0..=2048).step_by(step) {
        let buffer = &mut backing[size % 8..][..size];
        let table = Memtable::<[u8]>::builder()
            .arena(FixedArena::new(buffer))
            .clock(CounterClock::starting_at(SeqNo(2000)))
            .max_height::<H>()
            .build();
        let mut model = Model::default();
        let refusals = write_until_full(&table, &mut model, size as u64, 60);
        assert!(table.memory_reserved() <= size && table.memory_usage() <= size);
        assert!(refusals > 0 || size > 512, "60 writes in {size} bytes");
        assert!(size > 8 || model.stored == 0, "{} entries in {size} bytes", model.stored);
        most = most.max(model.stored);
        if size >= 1024 {
            assert!(model.stored >= 5, "{} entries in {size} bytes", model.stored);
        }
        // Full or not, it freezes, and stays as it is.
        assert_eq!(rows(table.freeze().versions()), model.all());
    }
    assert!(most >= 20, "{most} entries at most");
}

/// Without lanes.
#[test]
fn fixed_buffers_of_every_size_base_only() {
    every_size::<1>();
}

/// With one lane.
#[test]
fn fixed_buffers_of_every_size_one_lane() {
    every_size::<2>();
}

/// With as many as there can be.
#[test]
fn fixed_buffers_of_every_size_default() {
    every_size::<12>();
}

/// A full buffer can be reset and filled again with the same.
#[test]
fn a_full_buffer_is_reset_whole() {
    let mut buffer = [MaybeUninit::uninit(); 2000];
    let mut table = Memtable::<[u8]>::builder().arena(FixedArena::new(&mut buffer)).build();
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push((0..1000).take_while(|&i| table.insert(&key(i), b"value")).count());
        assert_valid!(table);
        table.reset();
        assert_eq!(table.iter().count(), 0);
    }
    assert!(counts[0] > 10 && counts.iter().all(|&count| count == counts[0]), "{counts:?}");
}

// ---- An allocator that fails ----

/// Fails the calls whose number lies in a range, and panics at one; knows what is out, and notes what is given back that
/// it never gave.
#[derive(Clone)]
struct Failing(Arc<State>);

struct State {
    fails: Range<usize>,
    fuse: Fuse,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    calls: usize,
    blocks: HashMap<usize, Layout>,
    never_given: Vec<Layout>,
}

impl Failing {
    fn new(fails: Range<usize>) -> Self {
        Self(Arc::new(State { fails, fuse: Fuse::new(), ledger: Mutex::default() }))
    }

    fn calls(&self) -> usize {
        self.0.ledger.lock().unwrap().calls
    }

    /// Every block was given back, as it was given, and nothing else was.
    fn assert_settled(&self) {
        let ledger = self.0.ledger.lock().unwrap();
        assert!(ledger.blocks.is_empty(), "kept: {:?}", ledger.blocks.values());
        assert!(ledger.never_given.is_empty(), "never given: {:?}", ledger.never_given);
    }
}

// SAFETY: every block is `Global`'s, passed through; clones share their state and the blocks.
unsafe impl Allocator for Failing {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.fuse.burn();
        let mut ledger = self.0.ledger.lock().unwrap();
        ledger.calls += 1;
        if self.0.fails.contains(&(ledger.calls - 1)) {
            return Err(AllocError);
        }
        let block = Global.allocate(layout)?;
        ledger.blocks.insert(block.cast::<u8>().as_ptr() as usize, layout);
        Ok(block)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let mut ledger = self.0.ledger.lock().unwrap();
        if ledger.blocks.remove(&(block.as_ptr() as usize)) != Some(layout) {
            ledger.never_given.push(layout);
            return;
        }
        // SAFETY: the block came from `Global` with this layout, and is taken back for the first time.
        unsafe { Global.deallocate(block, layout) }
    }
}

/// Runs the scenario over chunks from an allocator that fails in `fails`; gives the calls it made and the refusals.
fn run_over(fails: Range<usize>) -> (usize, usize) {
    let allocator = Failing::new(fails);
    let arena = ChunkArena::with_chunks(ChunkSizes { first: 64, largest: 512 }, allocator.clone());
    let table = Memtable::<[u8]>::builder().arena(arena).clock(CounterClock::starting_at(SeqNo(2000))).build();
    let refusals = write_until_full(&table, &mut Model::default(), 7, 200);
    let calls = allocator.calls();
    drop(table);
    allocator.assert_settled();
    (calls, refusals)
}

/// One call fails, any one: at most some writes are refused, and later ones succeed.
#[test]
fn an_allocator_that_fails_once() {
    let (whole, refusals) = run_over(0..0);
    assert!(whole > 10 && refusals == 0, "{whole} calls");
    for n in 0..whole {
        let (_, refusals) = run_over(n..n + 1);
        assert!(refusals <= 1, "{refusals} writes refused for one failure at call {n}");
    }
}

/// From some call on all fail: what was written before stays, and every later refusal is a value.
#[test]
fn an_allocator_that_fails_from_then_on() {
    let (whole, _) = run_over(0..0);
    for n in 0..whole {
        let (_, refusals) = run_over(n..usize::MAX);
        assert!(refusals > 0 || n + 8 > whole, "nothing refused after call {n} of {whole}");
    }
}

/// The same over shards, through the builder, with entries larger than any chunk.
#[test]
fn sharded_tables_over_a_failing_allocator() {
    for n in 0..40 {
        for fails in [n..n + 1, n..usize::MAX] {
            let allocator = Failing::new(fails);
            let table = Memtable::<[u8]>::builder()
                .allocator(allocator.clone())
                .shards(3)
                .first_chunk(64)
                .largest_chunk(256)
                .build();
            let mut written = Vec::new();
            for i in 0..60 {
                let size = if i % 10 == 9 { 3000 } else { 20 };
                match table.put(&key(i), &vec![1; size]) {
                    Ok(_) => written.push(i),
                    Err(error) => assert_eq!(error, InsertError::OutOfMemory),
                }
            }
            assert!(table.iter().map(|e| e.key.to_vec()).eq(written.iter().map(|&i| key(i))));
            assert_eq!(table.len(), written.len());
            assert_valid!(table);
            drop(table);
            allocator.assert_settled();
        }
    }
}

/// The allocator panics at the n-th call, for every n: the write unwinds, and the table goes on.
#[test]
fn an_allocator_that_panics() {
    let (whole, _) = run_over(0..0);
    for n in 0..whole {
        let allocator = Failing::new(0..0);
        allocator.0.fuse.arm(n);
        let arena = ChunkArena::with_chunks(ChunkSizes { first: 64, largest: 512 }, allocator.clone());
        // A table is made without memory, or not at all.
        let Ok(table) = catch_unwind(AssertUnwindSafe(|| Memtable::<[u8]>::builder().arena(arena).build())) else {
            continue;
        };
        let mut written = Vec::new();
        for i in 0..80 {
            let put = || table.put(&key(i * 31 % 80), &key(i)).is_ok();
            match catch_unwind(AssertUnwindSafe(put)) {
                Ok(done) => assert!(done),
                // It may have been linked before the panic, or not.
                Err(_) if table.get(&key(i * 31 % 80)).is_none() => continue,
                Err(_) => {}
            }
            written.push(i * 31 % 80);
        }
        written.sort_unstable();
        assert!(table.iter().map(|e| e.key.to_vec()).eq(written.iter().map(|&i| key(i))));
        assert_eq!((table.len(), table.version_count()), (written.len(), written.len()));
        assert_valid!(table);
        assert_eq!(table.freeze().len(), written.len());
        drop(table);
        // What the panic interrupted may be leaked; what was never given must not come back.
        assert!(allocator.0.ledger.lock().unwrap().never_given.is_empty());
    }
}

/// `seal` and `reset` under an allocator that fails: the old table is never lost.
#[test]
fn seal_and_reset_over_a_failing_allocator() {
    for n in 0..12 {
        let allocator = Failing::new(n..usize::MAX);
        let mut table = Memtable::<[u8]>::builder().allocator(allocator.clone()).shards(1).first_chunk(512).build();
        let first = (0..20).take_while(|&i| table.insert(&key(i), &[0; 100])).count();
        table.reset();
        let written = (0..20).take_while(|&i| table.insert(&key(i), &[0; 100])).count();
        assert!(written >= first, "the memory is kept");
        match table.seal() {
            Ok((frozen, fresh)) => {
                assert_eq!((frozen.iter().count(), fresh.iter().count()), (written, 0));
                assert_eq!(fresh.insert(b"k", &[0; 5000]), fresh.get(b"k").is_some());
            }
            Err(error) => assert_eq!(error.into_table().iter().count(), written),
        }
        allocator.assert_settled();
    }
}
