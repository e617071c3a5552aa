//! The counting allocator. It counts only while a [`Meter`] exists: otherwise libraries that allocate per entry would pay for it in
//! the timed rounds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

pub struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
/// Bytes asked for and not given back.
static LIVE: AtomicIsize = AtomicIsize::new(0);
/// Bytes that takes of the heap, the allocator's rounding and header included.
static RESERVED: AtomicIsize = AtomicIsize::new(0);
/// The highest `RESERVED` so far.
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// Bytes of the heap's own in front of each allocation.
const HEADER: usize = size_of::<usize>();

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn held(block: *mut u8, _layout: Layout) -> isize {
    // SAFETY: `block` came from the system allocator and is not freed yet.
    let usable = unsafe { libc::malloc_usable_size(block.cast()) };
    (usable + HEADER) as isize
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn held(_block: *mut u8, layout: Layout) -> isize {
    (layout.size() + HEADER) as isize
}

fn count(block: *mut u8, layout: Layout) {
    if COUNTING.load(Ordering::Relaxed) && !block.is_null() {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        let added = held(block, layout);
        let reserved = RESERVED.fetch_add(added, Ordering::Relaxed) + added;
        PEAK.fetch_max(reserved, Ordering::Relaxed);
    }
}

fn discount(block: *mut u8, layout: Layout) {
    if COUNTING.load(Ordering::Relaxed) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        RESERVED.fetch_sub(held(block, layout), Ordering::Relaxed);
    }
}

// SAFETY: every call is handed on to the system allocator unchanged; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc(layout) };
        count(block, layout);
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc_zeroed(layout) };
        count(block, layout);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        discount(block, layout);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        discount(block, layout);
        // SAFETY: the caller's promise.
        let grown = unsafe { System.realloc(block, layout, size) };
        // SAFETY: a caller of `realloc` promises a size that makes a layout with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if grown.is_null() {
            count(block, layout)
        } else {
            count(grown, new)
        }
        grown
    }
}

/// Bytes a table has taken of the global allocator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub live: usize,
    pub reserved: usize,
    /// The most that was reserved at one time.
    pub peak: usize,
}

/// Counts from its making until it is dropped. One at a time.
#[derive(Debug)]
pub struct Meter(());

impl Meter {
    pub fn start() -> Self {
        for counter in [&LIVE, &RESERVED, &PEAK] {
            counter.store(0, Ordering::Relaxed);
        }
        COUNTING.store(true, Ordering::Relaxed);
        Self(())
    }

    pub fn read(&self) -> Memory {
        let bytes = |counter: &AtomicIsize| usize::try_from(counter.load(Ordering::Relaxed)).unwrap_or(0);
        Memory { live: bytes(&LIVE), reserved: bytes(&RESERVED), peak: bytes(&PEAK) }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        COUNTING.store(false, Ordering::Relaxed);
    }
}
