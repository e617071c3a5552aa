//! A manager whose memory runs out: the table that cannot grow is rotated, its successor takes over as soon as a flush has
//! freed memory, and nothing that was acknowledged is lost. In a program of its own, since it brings a global allocator.

// Chunks are told by their alignment, which is less where addresses have 32 bits.
#![cfg(all(feature = "std", target_pointer_width = "64", not(any(loom, shuttle))))]
#![allow(unsafe_code, reason = "an allocator")]

use memskip::{InsertError, ManagerConfig, MemtableManager, WriteError};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Refuses chunks of tables, which it knows by their alignment, beyond a limit on all of them together.
struct Limited;

fn is_chunk(layout: Layout) -> bool {
    layout.align() >= 64 && layout.size() >= 4 << 10
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

static OUT: AtomicUsize = AtomicUsize::new(0);
const LIMIT: usize = 1 << 20;

// SAFETY: passes everything on, or refuses.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_chunk(layout) && OUT.fetch_add(layout.size(), Relaxed) + layout.size() > LIMIT {
            OUT.fetch_sub(layout.size(), Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if is_chunk(layout) {
            OUT.fetch_sub(layout.size(), Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

fn key(i: u32) -> [u8; 4] {
    i.to_be_bytes()
}

#[test]
fn a_table_that_cannot_grow_is_rotated_and_writes_go_on_after_a_flush() {
    let config = ManagerConfig::new().shards(1).first_chunk(16 << 10).max_frozen_tables(usize::MAX);
    let manager: MemtableManager = MemtableManager::new(config).unwrap();
    let value = [7; 4096];
    let (mut written, mut flushed, mut refusals) = (0, 0, 0);
    while refusals < 4 {
        match manager.put(&key(written), &value) {
            Ok(_) => written += 1,
            Err(error) => {
                assert!(matches!(error, WriteError::Insert(InsertError::OutOfMemory)), "{error}");
                refusals += 1;
                assert!((0..written).skip(flushed as usize).all(|i| manager.contains_key(&key(i))), "lost");
                // Refused again, as long as nothing is flushed, and still nothing is lost.
                assert!(manager.put(b"again", &value).is_err());
                assert!(manager.frozen_tables() >= 1, "what could not grow was rotated");
                while let Some(job) = manager.next_flush() {
                    for entry in job.table() {
                        assert_eq!((entry.key, entry.value), (&key(flushed)[..], &value[..]));
                        flushed += 1;
                    }
                    job.complete().unwrap();
                }
                assert_eq!(flushed, written, "every acknowledged write was in a rotated table");
            }
        }
    }
    // Four times what fits at once.
    assert!(written as usize * value.len() > 3 * LIMIT, "{written}");
}
