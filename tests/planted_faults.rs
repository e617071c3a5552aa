//! Faults on purpose, one for each checker that must report it (`.ci/tsan.sh`, `.ci/asan.sh`): a checker that lets these
//! pass proves nothing by letting the other tests pass. Ignored, and empty without `MEMSKIP_PLANT=1`.
#![cfg(feature = "std")]
#![expect(unsafe_code, reason = "the faults")]

use memskip::{Comparator, Memtable};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

fn wanted() -> bool {
    std::env::var_os("MEMSKIP_PLANT").is_some_and(|value| value == "1")
}

/// An order that counts its calls without saying so.
#[derive(Default)]
struct Careless {
    calls: UnsafeCell<usize>,
}

// SAFETY: none, and that is the fault: `compare` writes without an order between threads.
unsafe impl Sync for Careless {}

impl Comparator<[u8]> for Careless {
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        // SAFETY: as above.
        unsafe { *self.calls.get() += 1 };
        a.cmp(b)
    }
}

/// Two threads in the same plain word, inside the table's own search: a race that `ThreadSanitizer` must report, though
/// everything else in the test is ordered by the table.
#[test]
#[ignore = "a planted fault: .ci/tsan.sh runs it and wants it reported"]
fn race() {
    if !wanted() {
        return;
    }
    let table = Memtable::<[u8]>::builder().comparator(Careless::default()).build();
    let arrived = AtomicUsize::new(0);
    thread::scope(|scope| {
        for me in 0..2_u8 {
            let (table, arrived) = (&table, &arrived);
            scope.spawn(move || {
                // Relaxed, so that the barrier does not order what it is to bring together.
                arrived.fetch_add(1, Ordering::Relaxed);
                while arrived.load(Ordering::Relaxed) < 2 {
                    thread::yield_now();
                }
                for n in 0..100 {
                    assert!(table.insert(&[n, me], b""));
                }
            });
        }
    });
}

/// One byte read behind a value's memory.
#[test]
#[ignore = "a planted fault: .ci/asan.sh runs it and wants it reported"]
fn overflow() {
    if !wanted() {
        return;
    }
    let bytes = std::hint::black_box(vec![7_u8; 24]);
    let end = bytes.as_ptr_range().end;
    // SAFETY: none: one past the end.
    let behind = unsafe { end.read() };
    std::hint::black_box(behind);
}

/// An entry read after its table, and with it the arena, is gone.
#[test]
#[ignore = "a planted fault: .ci/asan.sh runs it and wants it reported"]
fn use_after_drop() {
    if !wanted() {
        return;
    }
    let table = Memtable::new();
    assert!(table.insert(b"key", b"value"));
    let value: *const [u8] = table.get_live(b"key").unwrap();
    drop(table);
    // SAFETY: none: the table's memory is given back.
    let first = unsafe { (*std::hint::black_box(value))[0] };
    std::hint::black_box(first);
}

/// A table that nobody drops.
#[test]
#[ignore = "a planted fault: .ci/asan.sh runs it and wants it reported"]
fn leak() {
    if !wanted() {
        return;
    }
    let table = Memtable::new();
    assert!(table.insert(b"key", b"value"));
    std::mem::forget(std::hint::black_box(table));
}
