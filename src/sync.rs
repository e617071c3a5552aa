//! Atomics, from `portable-atomic` (which is `core` where the target has them), from loom or from shuttle; with its
//! folder the only file that knows `cfg(loom)` and `cfg(shuttle)`, and the only place where memory orderings are chosen.
//!
//! Every ordering has a name in [`order`], and each name says who its partner is. One of them can be weakened, so that
//! it shows that checkers see it: under loom by the environment, `MEMSKIP_WEAKEN=NAME` (`tests/loom.rs` does so for
//! every one), elsewhere by `--cfg memskip_weaken="NAME"`.

#[cfg(all(not(any(loom, shuttle)), feature = "critical-section", not(target_has_atomic = "64")))]
mod masked;
#[cfg(loom)]
mod modelled;

#[cfg(all(not(any(loom, shuttle)), feature = "critical-section", not(target_has_atomic = "64")))]
pub(crate) use masked::AtomicU64;
#[cfg(all(loom, feature = "alloc"))]
pub(crate) use modelled::AtomicPtr;
#[cfg(loom)]
pub(crate) use modelled::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Order, fence};
#[cfg(all(not(any(loom, shuttle)), feature = "alloc"))]
pub(crate) use portable_atomic::AtomicPtr;
#[cfg(not(any(loom, shuttle, all(feature = "critical-section", not(target_has_atomic = "64")))))]
pub(crate) use portable_atomic::AtomicU64;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use portable_atomic::{AtomicBool, AtomicU32, AtomicUsize, fence};
#[cfg(all(shuttle, feature = "alloc"))]
pub(crate) use shuttle::sync::atomic::AtomicPtr;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

use core::sync::atomic::Ordering;

/// An ordering; under loom one that can be weakened at run time, so that one build serves all.
#[cfg(not(loom))]
type Order = Ordering;

/// `ordering!("name", ordering, weakened)`.
macro_rules! ordering {
    ($name:literal, $ordering:expr, $weakened:expr) => {{
        #[cfg(loom)]
        let order = super::Order::new($name, $ordering, $weakened);
        #[cfg(not(loom))]
        let order = if cfg!(memskip_weaken = $name) { $weakened } else { $ordering };
        order
    }};
}

/// Whether the store-load barriers are taken out.
fn without_store_load() -> bool {
    #[cfg(loom)]
    return modelled::is_weakened("store_load");
    #[cfg(not(loom))]
    return cfg!(memskip_weaken = "store_load");
}

/// The orderings of the crate, by what they are for.
pub(crate) mod order {
    use super::Order;
    use super::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

    /// Words that bring nothing with them: counters, advisory positions, values guarded by another word, and chunk addresses,
    /// whose reader has come by an acquiring load of a handle into the chunk.
    pub(crate) const PLAIN: Order = ordering!("plain", Relaxed, Relaxed);

    /// Publishes a node or version: everything written to it before is seen by whoever loads the link with
    /// [`FOLLOW`]. Sequentially consistent because a writer that stamps by itself reads the clock right after it
    /// (see `list::version`): partner of the fence behind [`crate::clock`]'s snapshots.
    pub(crate) const LINK: Order = ordering!("link", SeqCst, Relaxed);

    /// Publishes a node for the only writer, with a number that it was given, so that no clock is read behind it. Partner: [`FOLLOW`].
    pub(crate) const LINK_ALONE: Order = ordering!("link_alone", Release, Relaxed);

    /// The store-load barriers below, which are weakened by their absence (`store_load`).
    pub(crate) const BARRIER: Order = ordering!("barrier", SeqCst, SeqCst);

    /// Follows a link to what it publishes. Partner: [`LINK`], or [`FILE`] for lane entries.
    pub(crate) const FOLLOW: Order = ordering!("follow", Acquire, Relaxed);

    /// Files a handle into a lane block, publishes a block, or points a finger: the block's and node's contents come first.
    /// Partner: [`FOLLOW`].
    pub(crate) const FILE: Order = ordering!("file", Release, Relaxed);

    /// Takes a lane block (version odd). Partner: [`BLOCK_UNLOCK`] of the writer before.
    pub(crate) const BLOCK_LOCK: Order = ordering!("block_lock", Acquire, Relaxed);
    /// Keeps the stores of a block's writer behind the odd version. Partner: [`BLOCK_CHECK`].
    pub(crate) const BLOCK_WRITE: Order = ordering!("block_write", Release, Acquire);
    /// Gives a lane block back (version even again). Partner: [`BLOCK_READ`].
    pub(crate) const BLOCK_UNLOCK: Order = ordering!("block_unlock", Release, Relaxed);
    /// A reader's first look at the version. Partner: [`BLOCK_UNLOCK`].
    pub(crate) const BLOCK_READ: Order = ordering!("block_read", Acquire, Relaxed);
    /// The fence before a reader's second look: what it read came before. Partner: [`BLOCK_WRITE`].
    pub(crate) const BLOCK_CHECK: Order = ordering!("block_check", Acquire, Release);

    /// Decides the sequence number of a pending version or batch. Partner: [`STAMP_READ`]: whoever sees the number
    /// sees everything its writer saw, the clock included, so that numbers never run backwards along a chain.
    pub(crate) const STAMP: Order = ordering!("stamp", AcqRel, Relaxed);
    /// Copies a batch's number into a version. Partner: [`STAMP_READ`].
    pub(crate) const STAMP_STORE: Order = ordering!("stamp_store", Release, Relaxed);
    /// Reads a version's number. Partner: [`STAMP`].
    pub(crate) const STAMP_READ: Order = ordering!("stamp_read", Acquire, Relaxed);

    /// Moves a batch from linking to linked, and is followed by a clock read. Partner: the fence behind snapshots,
    /// as for [`LINK`].
    pub(crate) const COMMIT: Order = ordering!("commit", SeqCst, Relaxed);

    /// The clock's own word, on both sides of the store-buffering race.
    pub(crate) const CLOCK: Order = ordering!("clock", SeqCst, Relaxed);

    /// A writer passes the gate, or holds it. Partner: [`GATE_LEAVE`] of those before: a sole writer sees the figures as the one before
    /// left them, one that is alone everything, and whoever comes after that sees what it has left.
    pub(crate) const GATE_ENTER: Order = ordering!("gate_enter", Acquire, Relaxed);
    /// A writer leaves the gate, or releases it. Partners: [`GATE_LOOK`]: a freeze that sees nobody inside sees the write; and
    /// [`GATE_ENTER`].
    pub(crate) const GATE_LEAVE: Order = ordering!("gate_leave", Release, Relaxed);
    /// A freeze seals the gate; it watches it empty with [`GATE_LOOK`].
    pub(crate) const GATE_WAIT: Order = ordering!("gate_wait", AcqRel, Relaxed);
    /// Looks at the gate, or closes it. Partner: [`GATE_LEAVE`].
    pub(crate) const GATE_LOOK: Order = ordering!("gate_look", Acquire, Relaxed);

    /// Takes a piece of a chunk, or makes a chunk current. Partner: [`CHUNK_READ`]: whoever allocates from a chunk
    /// sees its size and its place in the directory, and so does whoever is given a handle into it.
    pub(crate) const CHUNK: Order = ordering!("chunk", AcqRel, Relaxed);
    /// Reads the current chunk, a directory, or a list of spare chunks. Partner: [`CHUNK`].
    pub(crate) const CHUNK_READ: Order = ordering!("chunk_read", Acquire, Relaxed);

    /// Takes a slab. Partner: [`SLAB_UNLOCK`].
    pub(crate) const SLAB_LOCK: Order = ordering!("slab_lock", Acquire, Relaxed);
    /// Gives a slab back. Partner: [`SLAB_LOCK`].
    pub(crate) const SLAB_UNLOCK: Order = ordering!("slab_unlock", Release, Relaxed);

    /// Takes the lock that keeps batches apart. Partner: [`BATCH_UNLOCK`].
    pub(crate) const BATCH_LOCK: Order = ordering!("batch_lock", Acquire, Relaxed);
    /// Gives it back. Partner: [`BATCH_LOCK`].
    pub(crate) const BATCH_UNLOCK: Order = ordering!("batch_unlock", Release, Relaxed);
}

/// The store-load barrier between linking a version and reading the clock.
///
/// The link is a `SeqCst` read-modify-write and the stock clocks are read with `SeqCst`, which together are the
/// barrier (and free on x86-64); a clock that does not promise that gets a fence. loom treats `SeqCst` accesses as
/// acquire and release only, so that under it the fence is always there.
#[inline]
pub(crate) fn link_then_clock(clock_is_ordered: bool) {
    if without_store_load() {
        return;
    }
    // A section of `masked` orders less than a `SeqCst` access where there are several cores.
    let is_masked = cfg!(all(feature = "critical-section", not(target_has_atomic = "64")));
    if cfg!(loom) || is_masked || !clock_is_ordered {
        fence(order::BARRIER);
    }
}

/// The full fence of the rare side: a snapshot between advancing the clock and its first look at a link, and a
/// helper between seeing a pending version and reading the clock on its behalf.
#[inline]
pub(crate) fn full_fence() {
    if !without_store_load() {
        fence(order::BARRIER);
    }
}

/// One turn of a bounded or documented wait.
#[inline]
pub(crate) fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
    #[cfg(all(not(any(loom, shuttle)), feature = "std"))]
    std::thread::yield_now();
    #[cfg(all(not(any(loom, shuttle)), not(feature = "std")))]
    core::hint::spin_loop();
}

/// One turn of a short retry that will not be repeated more than a few times.
#[inline]
pub(crate) fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
    #[cfg(not(any(loom, shuttle)))]
    core::hint::spin_loop();
}

/// Makes the publication of plain bytes visible to loom, which cannot see them by itself: written once at the end
/// of initialisation, read in every accessor. Nothing at all outside loom.
#[derive(Debug)]
pub(crate) struct Witness(#[cfg(loom)] loom::cell::UnsafeCell<()>);

#[cfg_attr(not(loom), expect(clippy::unused_self, reason = "there is nothing to write or read outside loom"))]
impl Witness {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(
            #[cfg(loom)]
            loom::cell::UnsafeCell::new(()),
        )
    }

    /// To be called by the one thread that initialises, after everything else is written.
    #[inline]
    pub(crate) fn written(&self) {
        #[cfg(loom)]
        self.0.with_mut(|_| ());
    }

    /// To be called by every reader of the plain bytes.
    #[inline]
    pub(crate) fn read(&self) {
        #[cfg(loom)]
        self.0.with(|_| ());
    }
}
