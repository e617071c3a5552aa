//! Which region of a sharded arena a caller writes to.

/// Chooses a shard for the calling thread.
///
/// Any number will do: it is reduced modulo the number of shards, and callers that share one lose speed, never
/// safety. It should be cheap, the same for a thread most of the time, and different for threads that run at once.
///
/// A plain function or closure is one; the number of the CPU, say, where a kernel or a runtime can tell it.
///
/// ```
/// use memskip::{Memtable, ShardSelector};
///
/// fn cpu_number() -> usize {
///     3 // from the kernel
/// }
///
/// assert_eq!(cpu_number.select(), 3);
/// let table = Memtable::<[u8]>::builder().selector(cpu_number as fn() -> usize).shards(4).build();
/// assert!(table.insert(b"k", b"v"));
/// ```
pub trait ShardSelector {
    /// The caller's shard.
    fn select(&self) -> usize;
}

impl<F: Fn() -> usize> ShardSelector for F {
    #[inline]
    fn select(&self) -> usize {
        self()
    }
}

/// Always the first shard.
///
/// ```
/// use memskip::{ShardSelector, SingleShard};
///
/// assert_eq!(SingleShard.select(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SingleShard;

impl ShardSelector for SingleShard {
    #[inline]
    fn select(&self) -> usize {
        0
    }
}

/// A number per thread, given out in the order in which threads first write to any table of the process.
///
/// It belongs to the thread, not to a table: nothing is kept about tables that are gone, and a table that is made
/// where another one lay meets no memory of it.
///
/// ```
/// use memskip::{ShardSelector, ThreadShards};
///
/// assert_eq!(ThreadShards.select(), ThreadShards.select());
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadShards;

#[cfg(feature = "std")]
impl ShardSelector for ThreadShards {
    #[inline]
    fn select(&self) -> usize {
        ordinal::of_this_thread()
    }
}

#[cfg(feature = "std")]
mod ordinal {
    use core::cell::Cell;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// How many threads have asked. Not one of the algorithm's words: only distinctness matters, so `Relaxed`.
    static THREADS: AtomicUsize = AtomicUsize::new(0);

    std::thread_local! {
        /// This thread's ordinal plus one; 0 before it has one. Has no destructor, so it can be read at any time
        /// of a thread's life.
        static ORDINAL: Cell<usize> = const { Cell::new(0) };
    }

    #[inline]
    pub(super) fn of_this_thread() -> usize {
        match ORDINAL.get() {
            0 => first_time(),
            plus_one => plus_one - 1,
        }
    }

    #[cold]
    fn first_time() -> usize {
        let ordinal = THREADS.fetch_add(1, Relaxed);
        ORDINAL.set(ordinal.wrapping_add(1));
        ordinal
    }
}
