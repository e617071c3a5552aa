//! Configuring a table.

use core::fmt;
use core::marker::PhantomData;

#[cfg(feature = "alloc")]
use allocator_api2::alloc::{Allocator, Global};

use super::threshold::Limits;
use super::{Memtable, OnDuplicateSeqNo};
use crate::arena::Arena;
#[cfg(feature = "alloc")]
use crate::arena::{ChunkSizes, ShardSelector, ShardedArena};
use crate::clock::EpochClock;
use crate::comparator::Bytewise;
use crate::defaults::DEFAULT_HEIGHT;
use crate::list::{LaneDensity, List};

/// Configures a [`Memtable`]; from `Memtable::builder` (feature `alloc`) or [`Builder::with_arena`].
///
/// ```
/// use memskip::{CounterClock, Memtable, Reverse, Bytewise};
///
/// let table = Memtable::<[u8]>::builder()
///     .comparator(Reverse(Bytewise))
///     .clock(CounterClock::new())
///     .shards(2)
///     .max_memory_bytes(64 << 20)
///     .backpressure_ratio(0.8)
///     .build();
/// assert_eq!(table.max_memory_bytes(), 64 << 20);
/// ```
pub struct Builder<K: ?Sized, C, P, S, const MAX_HEIGHT: usize> {
    comparator: C,
    clock: S,
    plan: P,
    max_memory_bytes: usize,
    max_entries: usize,
    backpressure_ratio: f64,
    duplicates: OnDuplicateSeqNo,
    density: LaneDensity,
    keys: PhantomData<fn(&K)>,
}

/// What a builder makes an arena from.
pub trait ArenaPlan {
    /// The arena.
    type Arena: Arena;

    /// Makes it.
    fn make(self) -> Self::Arena;
}

/// An arena that the caller made.
#[derive(Debug)]
pub struct Given<A>(A);

impl<A: Arena> ArenaPlan for Given<A> {
    type Arena = A;

    fn make(self) -> A {
        self.0
    }
}

/// A growing, sharded arena over an allocator.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct Growing<Sel = crate::arena::DefaultSelector, Al = Global> {
    selector: Sel,
    allocator: Al,
    shards: Option<usize>,
    sizes: ChunkSizes,
}

#[cfg(feature = "alloc")]
impl<Sel: ShardSelector + Clone, Al: Allocator + Clone> ArenaPlan for Growing<Sel, Al> {
    type Arena = ShardedArena<Sel, Al>;

    fn make(self) -> Self::Arena {
        ShardedArena::with_parts(self.shards.unwrap_or_else(cpus), self.sizes, self.selector, self.allocator)
    }
}

/// The CPUs this process may use, asked for once.
#[cfg(feature = "std")]
fn cpus() -> usize {
    static CPUS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CPUS.get_or_init(|| std::thread::available_parallelism().map_or(1, core::num::NonZero::get))
}

/// Nobody to ask.
#[cfg(all(feature = "alloc", not(feature = "std")))]
fn cpus() -> usize {
    1
}

#[cfg(feature = "alloc")]
impl<K: ?Sized> Builder<K, Bytewise, Growing, EpochClock, DEFAULT_HEIGHT> {
    pub(super) fn new() -> Self {
        Self::from_plan(Growing {
            selector: crate::arena::DefaultSelector::default(),
            allocator: Global,
            shards: None,
            sizes: ChunkSizes::default(),
        })
    }
}

impl<A: Arena> Builder<[u8], Bytewise, Given<A>, EpochClock, DEFAULT_HEIGHT> {
    /// Starts with an arena: needs neither `alloc` nor `std`.
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use memskip::{Builder, FixedArena};
    ///
    /// let mut buffer = [MaybeUninit::uninit(); 1024];
    /// let table = Builder::with_arena(FixedArena::new(&mut buffer)).keys::<str>().max_height::<2>().build();
    /// assert!(table.insert("k", b"v"));
    /// ```
    pub fn with_arena(arena: A) -> Self {
        Self::from_plan(Given(arena))
    }
}

impl<K: ?Sized, P> Builder<K, Bytewise, P, EpochClock, DEFAULT_HEIGHT> {
    fn from_plan(plan: P) -> Self {
        Self {
            comparator: Bytewise,
            clock: EpochClock::new(),
            plan,
            max_memory_bytes: 0,
            max_entries: 0,
            backpressure_ratio: 0.9,
            duplicates: OnDuplicateSeqNo::default(),
            density: LaneDensity::default(),
            keys: PhantomData,
        }
    }
}

impl<K: ?Sized, C, P, S, const MAX_HEIGHT: usize> Builder<K, C, P, S, MAX_HEIGHT> {
    /// Everything the same but the four parts.
    fn with_parts<K2: ?Sized, C2, P2, S2, const H2: usize>(
        self,
        exchange: impl FnOnce(C, P, S) -> (C2, P2, S2),
    ) -> Builder<K2, C2, P2, S2, H2> {
        let (comparator, plan, clock) = exchange(self.comparator, self.plan, self.clock);
        Builder {
            comparator,
            clock,
            plan,
            max_memory_bytes: self.max_memory_bytes,
            max_entries: self.max_entries,
            backpressure_ratio: self.backpressure_ratio,
            duplicates: self.duplicates,
            density: self.density,
            keys: PhantomData,
        }
    }

    /// The order of keys.
    #[must_use]
    pub fn comparator<C2>(self, comparator: C2) -> Builder<K, C2, P, S, MAX_HEIGHT> {
        self.with_parts(|_, plan, clock| (comparator, plan, clock))
    }

    /// The source of sequence numbers.
    #[must_use]
    pub fn clock<S2>(self, clock: S2) -> Builder<K, C, P, S2, MAX_HEIGHT> {
        self.with_parts(|comparator, plan, _| (comparator, plan, clock))
    }

    /// The type of keys.
    #[must_use]
    pub fn keys<K2: ?Sized>(self) -> Builder<K2, C, P, S, MAX_HEIGHT> {
        self.with_parts(|comparator, plan, clock| (comparator, plan, clock))
    }

    /// The number of levels, the base level included: 1 is the base level only.
    #[must_use]
    pub fn max_height<const H: usize>(self) -> Builder<K, C, P, S, H> {
        self.with_parts(|comparator, plan, clock| (comparator, plan, clock))
    }

    /// An arena of the caller's, instead of one that is made.
    #[must_use]
    pub fn arena<A: Arena>(self, arena: A) -> Builder<K, C, Given<A>, S, MAX_HEIGHT> {
        self.with_parts(|comparator, _, clock| (comparator, Given(arena), clock))
    }

    /// The threshold of [`memory_usage`](crate::Table::memory_usage) in bytes; 0 (the default) is none. The writes under way can
    /// pass it, one a thread, and [`delete`](Memtable::delete) passes it.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.max_memory_bytes = bytes;
        self
    }

    /// The threshold of [`version_count`](crate::Table::version_count); 0 (the default) is none. Exact, but for
    /// [`delete`](Memtable::delete), which it does not refuse.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// The part of either threshold from which on the table is under backpressure; 0.9 by default, brought to 0.0-1.0.
    #[must_use]
    pub fn backpressure_ratio(mut self, ratio: f64) -> Self {
        self.backpressure_ratio = ratio;
        self
    }

    /// What becomes of a second version of the same key and sequence number; refused by default.
    #[must_use]
    pub fn on_duplicate_seqno(mut self, duplicates: OnDuplicateSeqNo) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// How densely the lanes sample; every node by default.
    #[must_use]
    pub fn lane_density(mut self, density: LaneDensity) -> Self {
        self.density = density;
        self
    }

    /// Makes the table. Cannot fail; a table that cannot get memory is full.
    pub fn build(self) -> Memtable<K, C, P::Arena, S, MAX_HEIGHT>
    where
        P: ArenaPlan,
    {
        let limits = Limits::new(self.max_memory_bytes, self.max_entries, self.backpressure_ratio);
        let parts = (self.comparator, self.plan.make(), self.clock);
        Memtable::assemble(List::new(parts, self.density, self.max_memory_bytes), limits, self.duplicates)
    }
}

#[cfg(feature = "alloc")]
impl<K: ?Sized, C, Sel, Al, S, const MAX_HEIGHT: usize> Builder<K, C, Growing<Sel, Al>, S, MAX_HEIGHT> {
    /// The allocator that chunks come from.
    #[must_use]
    pub fn allocator<Al2: Allocator>(self, allocator: Al2) -> Builder<K, C, Growing<Sel, Al2>, S, MAX_HEIGHT> {
        self.with_parts(|comparator, plan, clock| {
            let Growing { selector, shards, sizes, .. } = plan;
            (comparator, Growing { selector, allocator, shards, sizes }, clock)
        })
    }

    /// What says which shard the calling thread uses.
    #[must_use]
    pub fn selector<Sel2: ShardSelector>(self, selector: Sel2) -> Builder<K, C, Growing<Sel2, Al>, S, MAX_HEIGHT> {
        self.with_parts(|comparator, plan, clock| {
            let Growing { allocator, shards, sizes, .. } = plan;
            (comparator, Growing { selector, allocator, shards, sizes }, clock)
        })
    }

    /// The number of arena shards; by default as many as CPUs with `std`, else 1. 0 counts as 1.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.plan.shards = Some(shards);
        self
    }

    /// The first chunk of each shard, in bytes; at most 8 MiB, and no more than [`largest_chunk`](Self::largest_chunk).
    #[must_use]
    pub fn first_chunk(mut self, bytes: usize) -> Self {
        self.plan.sizes.first = bytes;
        self
    }

    /// The largest chunk that is shared by entries, in bytes, up to 8 MiB.
    #[must_use]
    pub fn largest_chunk(mut self, bytes: usize) -> Self {
        self.plan.sizes.largest = bytes;
        self
    }
}

impl<K: ?Sized, C, P, S, const MAX_HEIGHT: usize> fmt::Debug for Builder<K, C, P, S, MAX_HEIGHT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_memory_bytes", &self.max_memory_bytes)
            .field("max_entries", &self.max_entries)
            .field("levels", &MAX_HEIGHT)
            .finish_non_exhaustive()
    }
}
