//! Bits that flip in the arena, as failing memory or a stray write would: `validate` reports it, or every read stays in
//! bounds and ends. The allocator keeps its own pointers to the blocks it gave, and flips bits while nobody reads.
#![cfg(feature = "std")]
#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

mod common;

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use common::{Rng, key, light};
use memskip::{ChunkArena, ChunkSizes, Global, Memtable};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

/// Gives zeroed blocks and remembers the chunks among them; what is smaller are the arena's own addresses of chunks.
#[derive(Clone, Default)]
struct Remembering(Arc<Mutex<Vec<Block>>>);

const FIRST_CHUNK: usize = 256;

/// The start and length of a block.
struct Block(NonNull<u8>, usize);

// SAFETY: a block is only touched under the lock, by the one thread of the test.
unsafe impl Send for Block {}

// SAFETY: every block is `Global`'s, passed through.
unsafe impl Allocator for Remembering {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = Global.allocate_zeroed(layout)?;
        if layout.size() >= FIRST_CHUNK {
            self.0.lock().unwrap().push(Block(block.cast(), layout.size()));
        }
        Ok(block)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.0.lock().unwrap().retain(|known| known.0 != block);
        // SAFETY: the block came from `Global` with this layout.
        unsafe { Global.deallocate(block, layout) }
    }
}

impl Remembering {
    /// Flips the given bits of all blocks taken together; twice is as before.
    fn flip(&self, bits: &[usize]) {
        let blocks = self.0.lock().unwrap();
        for &bit in bits {
            let (mut block, mut byte) = (0, bit / 8);
            while byte >= blocks[block].1 {
                byte -= blocks[block].1;
                block += 1;
            }
            // SAFETY: the byte lies in the block.
            let mut byte = unsafe { blocks[block].0.add(byte) };
            // SAFETY: the block is still allocated, and the table is not in use meanwhile.
            *unsafe { byte.as_mut() } ^= 1 << (bit % 8);
        }
    }

    fn bits(&self) -> usize {
        self.0.lock().unwrap().iter().map(|block| block.1 * 8).sum()
    }
}

/// Every bit in turn, and then random handfuls of them.
#[test]
fn flipped_bytes_in_the_arena_are_reported_or_harmless() {
    let allocator = Remembering::default();
    let arena = ChunkArena::with_chunks(ChunkSizes { first: FIRST_CHUNK, largest: 1024 }, allocator.clone());
    let table = Memtable::<[u8]>::builder().arena(arena).build();
    for i in 0..40 {
        table.put(&key(i * 7 % 40), &key(i)).unwrap();
        table.put(&key(i / 2 * 7 % 40), b"again").unwrap();
    }
    let clean = table.versions().count();
    let mut reported = 0;
    let mut rng = Rng::new(1);
    let bits = allocator.bits();
    let singles = (0..bits).step_by(if light() { 101 } else { 7 }).map(|bit| vec![bit]);
    let handfuls: Vec<Vec<usize>> = (0..500).map(|_| (0..8).map(|_| rng.below(bits)).collect()).collect();
    for flipped in singles.chain(handfuls) {
        allocator.flip(&flipped);
        if table.validate().is_err() {
            reported += 1;
        } else {
            let read = |value: &[u8]| value.iter().map(|&byte| usize::from(byte)).sum::<usize>();
            let limit = 100 * clean;
            assert!(table.iter().map(|e| read(e.key) + read(e.value)).take(limit).count() < limit);
            assert!(table.iter().rev().map(|e| read(e.key) + read(e.value)).take(limit).count() < limit);
            assert!(table.versions().map(|e| read(e.key) + read(e.value)).take(limit).count() < limit);
            for i in 0..42 {
                _ = table.get(&key(i)).map(|(value, _)| read(value));
            }
        }
        allocator.flip(&flipped);
    }
    assert!(reported > 0);
    assert!(table.validate().is_ok() && table.versions().count() == clean);
}
