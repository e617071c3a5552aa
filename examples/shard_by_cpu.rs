//! Arena shards chosen by a function: here, by the CPU the caller runs on.
//!
//! ```text
//! cargo run --release --example shard_by_cpu
//! ```
//!
//! Writers that allocate from different shards do not touch each other's memory. With `std` the default gives every
//! thread a shard of its own; an engine that knows better passes a function. It may return any number, and may be wrong:
//! two threads in one shard cost speed, never safety. That matters here, for a thread may be moved to another CPU between
//! the question and the write.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use memskip::{InsertError, Memtable};

const WRITERS: u32 = 16;
const KEYS_PER_WRITER: u32 = 5_000;

/// Calls to the selector, to show that it is ours that is asked.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// A selector is any `Fn() -> usize`. Without `std`, read the core's number from its register.
fn current_cpu() -> usize {
    ASKED.fetch_add(1, Ordering::Relaxed);
    cpu::number()
}

#[cfg(target_os = "linux")]
mod cpu {
    #![expect(unsafe_code, reason = "the C library is asked for the CPU's number")]

    pub(super) fn number() -> usize {
        // SAFETY: `sched_getcpu` has no preconditions.
        let cpu = unsafe { libc::sched_getcpu() };
        // -1 where the kernel does not know; any number will do.
        usize::try_from(cpu).unwrap_or(0)
    }
}

#[cfg(not(target_os = "linux"))]
mod cpu {
    use std::hash::{DefaultHasher, Hash, Hasher};

    /// Elsewhere, something that differs between threads.
    pub(super) fn number() -> usize {
        let mut hasher = DefaultHasher::new();
        std::thread::current().id().hash(&mut hasher);
        hasher.finish() as usize
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cpus = thread::available_parallelism()?.get();
    let table = Memtable::<[u8]>::builder().shards(cpus).selector(current_cpu).build();

    // Many more threads than shards: any number of them may share one.
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let table = &table;
                scope.spawn(move || {
                    for number in 0..KEYS_PER_WRITER {
                        let key = (number * WRITERS + writer).to_be_bytes();
                        table.put(&key, &writer.to_be_bytes())?;
                    }
                    Ok::<(), InsertError>(())
                })
            })
            .collect();
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    })?;

    let total = (WRITERS * KEYS_PER_WRITER) as usize;
    assert_eq!(table.len(), total);
    assert!(ASKED.load(Ordering::Relaxed) >= total);
    table.validate()?;

    // The shards are one table: entries are in key order, whichever shard they lie in.
    assert!(table.iter().zip(0u32..).all(|(entry, number)| entry.key == number.to_be_bytes()));
    println!(
        "{total} entries from {WRITERS} threads in {cpus} shards: {} bytes used, {} reserved",
        table.memory_usage(),
        table.memory_reserved(),
    );
    Ok(())
}
