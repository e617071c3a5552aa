//! An allocator of one's own: memory that all tables of an engine draw from, counted and bounded.
//!
//! ```text
//! cargo run --example own_allocator
//! ```
//!
//! A memtable asks its allocator for whole chunks, seldom, and gives them back when it is dropped. So the place to count,
//! bound, pin to a NUMA node or back with huge pages (see `huge_pages.rs`) is an `allocator_api2` allocator: the same
//! trait as the standard library's unstable one, on stable Rust. An allocator that refuses is an ordinary event:
//! [`InsertError::OutOfMemory`], and the table as it was.

#![expect(unsafe_code, reason = "`Allocator` is an unsafe trait")]

use std::alloc::Layout;
use std::error::Error;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use allocator_api2::alloc::{AllocError, Allocator, Global};
use memskip::{InsertError, Memtable};

/// The memory that all memtables of an engine share.
#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
    requests: AtomicUsize,
}

impl Budget {
    fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), requests: AtomicUsize::new(0) }
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), AllocError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let take = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| AllocError)?;
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The global allocator, on a budget. Cheap to clone; every table has one.
#[derive(Clone, Debug)]
struct Budgeted(Arc<Budget>);

// SAFETY: memory comes from `Global` and goes back to it with the layout it was asked for. Moving or cloning `Budgeted`
// changes nothing about it.
unsafe impl Allocator for Budgeted {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.take(layout.size())?;
        Global.allocate(layout).inspect_err(|_| self.0.give_back(layout.size()))
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller got `ptr` from `allocate` above with a layout that fits, which passed it on to `Global`.
        unsafe { Global.deallocate(ptr, layout) };
        self.0.give_back(layout.size());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    const LIMIT: usize = 4 << 20;
    let budget = Arc::new(Budget::new(LIMIT));

    let table = Memtable::<[u8]>::builder()
        .shards(1)
        .allocator(Budgeted(Arc::clone(&budget)))
        .first_chunk(64 << 10)
        .largest_chunk(512 << 10)
        .build();

    // Fill it until the budget is spent.
    let mut written = 0u32;
    let refused = loop {
        match table.put(&written.to_be_bytes(), &[0xAB; 100]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, InsertError::OutOfMemory);
    println!(
        "{written} entries of 104 bytes in {} of {LIMIT} bytes, {} requests; then: {refused}",
        budget.used(),
        budget.requests.load(Ordering::Relaxed),
    );
    // What the table says it has reserved is what the allocator gave it.
    assert!(table.memory_reserved() <= budget.used());
    assert!(budget.used() <= LIMIT);
    assert!(table.memory_usage() <= table.memory_reserved());

    // Nothing was lost, and the table goes on being useful.
    assert_eq!(table.len(), written as usize);
    table.validate()?;

    // Sealed and dropped, it gives everything back, to whichever table comes next.
    let frozen = Arc::new(table).freeze_arc();
    assert_eq!(frozen.versions().count(), written as usize);
    drop(frozen);
    assert_eq!(budget.used(), 0);
    println!("dropped: {} bytes in use", budget.used());
    Ok(())
}
