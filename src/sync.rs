//! Atomics, from `portable-atomic` (which is `core` where the target has them) or from loom; the only file that
//! knows `cfg(loom)`, and the only place where memory orderings are chosen.
//!
//! Every ordering has a name in [`order`], and each name says who its partner is. `--cfg memskip_weaken="NAME"`
//! (under loom only) weakens one of them to `Relaxed`; the models must then fail.

#[cfg(all(loom, feature = "alloc"))]
pub(crate) use loom::sync::atomic::AtomicPtr;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(all(not(loom), feature = "alloc"))]
pub(crate) use portable_atomic::AtomicPtr;
#[cfg(not(loom))]
pub(crate) use portable_atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

pub(crate) use core::sync::atomic::Ordering;

/// The orderings of the crate, by what they are for.
pub(crate) mod order {
    use super::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

    /// Words nobody derives another access from: counters, advisory positions, values guarded by another word.
    pub(crate) const PLAIN: Ordering = Relaxed;

    /// Publishes a node or version: everything written to it before is seen by whoever loads the link with
    /// [`FOLLOW`]. Sequentially consistent because a writer that stamps by itself reads the clock right after it
    /// (see `list::version`): partner of the fence behind [`crate::clock`]'s snapshots.
    pub(crate) const LINK: Ordering = if cfg!(memskip_weaken = "link") { Relaxed } else { SeqCst };

    /// Follows a link to what it publishes. Partner: [`LINK`], or [`FILE`] for lane entries.
    pub(crate) const FOLLOW: Ordering = if cfg!(memskip_weaken = "follow") { Relaxed } else { Acquire };

    /// Files a handle into a lane block, or publishes a block: the block's and node's contents come first.
    /// Partner: [`FOLLOW`].
    pub(crate) const FILE: Ordering = if cfg!(memskip_weaken = "file") { Relaxed } else { Release };

    /// Takes a lane block (version odd). Partner: [`BLOCK_UNLOCK`] of the writer before.
    pub(crate) const BLOCK_LOCK: Ordering = Acquire;
    /// Keeps the stores of a block's writer behind the odd version. Partner: [`BLOCK_CHECK`].
    pub(crate) const BLOCK_WRITE: Ordering = if cfg!(memskip_weaken = "block_write") { Acquire } else { Release };
    /// Gives a lane block back (version even again). Partner: [`BLOCK_READ`].
    pub(crate) const BLOCK_UNLOCK: Ordering = if cfg!(memskip_weaken = "block_unlock") { Relaxed } else { Release };
    /// A reader's first look at the version. Partner: [`BLOCK_UNLOCK`].
    pub(crate) const BLOCK_READ: Ordering = Acquire;
    /// The fence before a reader's second look: what it read came before. Partner: [`BLOCK_WRITE`].
    pub(crate) const BLOCK_CHECK: Ordering = if cfg!(memskip_weaken = "block_check") { Release } else { Acquire };

    /// Decides the sequence number of a pending version or batch. Partner: [`STAMP_READ`]: whoever sees the number
    /// sees everything its writer saw, the clock included, so that numbers never run backwards along a chain.
    pub(crate) const STAMP: Ordering = if cfg!(memskip_weaken = "stamp") { Relaxed } else { AcqRel };
    /// Copies a batch's number into a version. Partner: [`STAMP_READ`].
    pub(crate) const STAMP_STORE: Ordering = Release;
    /// Reads a version's number. Partner: [`STAMP`].
    pub(crate) const STAMP_READ: Ordering = Acquire;

    /// Moves a batch from linking to linked, and is followed by a clock read. Partner: the fence behind snapshots,
    /// as for [`LINK`].
    pub(crate) const COMMIT: Ordering = if cfg!(memskip_weaken = "commit") { Relaxed } else { SeqCst };

    /// The clock's own word, on both sides of the store-buffering race.
    pub(crate) const CLOCK: Ordering = if cfg!(memskip_weaken = "clock") { Relaxed } else { SeqCst };

    /// A writer passes the gate (count up). One word holds count and seal, so the order of its modifications
    /// decides; acquiring makes a reset or an earlier freeze visible.
    pub(crate) const GATE_ENTER: Ordering = Acquire;
    /// A writer leaves the gate. Partner: [`GATE_WAIT`]: a freeze that sees the count at zero sees the write.
    pub(crate) const GATE_LEAVE: Ordering = if cfg!(memskip_weaken = "gate_leave") { Relaxed } else { Release };
    /// A freeze closes the gate, and watches it empty. Partner: [`GATE_LEAVE`].
    pub(crate) const GATE_WAIT: Ordering = AcqRel;
    /// A plain look at the gate. Partner: [`GATE_LEAVE`].
    pub(crate) const GATE_LOOK: Ordering = Acquire;

    /// Takes a piece of a chunk, or makes a chunk current. Partner: [`CHUNK_READ`]: whoever allocates from a chunk
    /// sees its header and its place in the directory, and so does whoever is given a handle into it.
    pub(crate) const CHUNK: Ordering = if cfg!(memskip_weaken = "chunk") { Relaxed } else { AcqRel };
    /// Reads the current chunk, a directory, or a list of spare chunks. Partner: [`CHUNK`].
    pub(crate) const CHUNK_READ: Ordering = Acquire;

    /// Takes the lock that keeps batches apart. Partner: [`BATCH_UNLOCK`].
    pub(crate) const BATCH_LOCK: Ordering = Acquire;
    /// Gives it back. Partner: [`BATCH_LOCK`].
    pub(crate) const BATCH_UNLOCK: Ordering = Release;
}

/// The store-load barrier between linking a version and reading the clock.
///
/// The link is a `SeqCst` read-modify-write and the stock clocks are read with `SeqCst`, which together are the
/// barrier (and free on x86-64); a clock that does not promise that gets a fence. loom treats `SeqCst` accesses as
/// acquire and release only, so that under it the fence is always there.
#[inline(always)]
pub(crate) fn link_then_clock(clock_is_ordered: bool) {
    if cfg!(memskip_weaken = "store_load") {
        return;
    }
    if cfg!(loom) || !clock_is_ordered {
        fence(Ordering::SeqCst);
    }
}

/// The full fence of the rare side: a snapshot between advancing the clock and its first look at a link, and a
/// helper between seeing a pending version and reading the clock on its behalf.
#[inline]
pub(crate) fn full_fence() {
    if !cfg!(memskip_weaken = "store_load") {
        fence(Ordering::SeqCst);
    }
}

/// One turn of a bounded or documented wait.
#[inline]
pub(crate) fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(all(not(loom), feature = "std"))]
    std::thread::yield_now();
    #[cfg(all(not(loom), not(feature = "std")))]
    core::hint::spin_loop();
}

/// One turn of a short retry that will not be repeated more than a few times.
#[inline]
pub(crate) fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}

/// Makes the publication of plain bytes visible to loom, which cannot see them by itself: written once at the end
/// of initialisation, read in every accessor. Nothing at all outside loom.
#[derive(Debug)]
pub(crate) struct Witness(#[cfg(loom)] loom::cell::UnsafeCell<()>);

impl Witness {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self(
            #[cfg(loom)]
            loom::cell::UnsafeCell::new(()),
        )
    }

    /// To be called by the one thread that initialises, after everything else is written.
    #[inline(always)]
    pub(crate) fn written(&self) {
        #[cfg(loom)]
        self.0.with_mut(|_| ());
    }

    /// To be called by every reader of the plain bytes.
    #[inline(always)]
    pub(crate) fn read(&self) {
        #[cfg(loom)]
        self.0.with(|_| ());
    }
}
