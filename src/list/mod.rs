//! The skip list: nodes, versions, base level, lanes, search, cursors. The only floor with concurrency in it, and with
//! `arena` the only one with `unsafe`.
//!
//! *Thread safety.* Any number of threads read and write through `&List`. Readers take no lock, write nothing but the number
//! of a version that is still pending, and never wait. Writers publish by one compare-and-swap; they wait for nobody. (Atomic
//! batches exclude one another, nobody else.) Nothing is freed before the list is reset or dropped, both of which need it
//! exclusively; so whatever was reached stays valid.
//!
//! Invariants, which comments in this folder quote by number:
//!
//! 1. The base level is a singly linked list of nodes, one per key, strictly ascending. It is the truth.
//! 2. A node is completely written before the compare-and-swap of its predecessor's `next` publishes it (or the store of a writer that is
//!    `alone`); its key and first value never change.
//! 3. Nodes, versions, blocks and records are never unlinked, moved or freed.
//! 4. A link word holds 0 or the handle of something published, of the kind the word is for.
//! 5. Lanes (see `lane`) are hints. Every answer is checked in the base level: by key, or, where hints prove that a key is
//!    between two nodes (`block::Proof`), by the link from the one to the other.
//! 6. Versions: see `version`. Batches: see `batch`.
//!
//! ```text
//! head ──> n1 ──────> n3 ──> ...        before
//!               n2 ──┘                  n2 written, its `next` names n3; nobody can see it
//! head ──> n1 ──> n2 ──> n3 ──> ...     the compare-and-swap of n1.next from n3 to n2: now everybody can
//! ```
//!
//! *The race of two inserts into one gap, told both ways.* Both expect `n1.next == n3`. The first to swap wins; the other's
//! swap fails, it walks on from n1 and meets the winner: the same key, then it adds a version there, or another, and it tries
//! the gap that is left. There is no third way, since `next` of a published node changes by such swaps only, while there is more than
//! one writer.

mod alone;
mod backward;
mod batch;
mod block;
mod forward;
mod inspect;
mod key;
mod lane;
mod multi;
mod node;
mod position;
mod prefetch;
mod run;
mod scout;
mod search;
mod split;
mod transparent;
mod version;
mod write;

#[cfg(all(test, not(any(loom, shuttle)), feature = "std"))]
mod tests;

pub(crate) use alone::Alone;
pub(crate) use batch::BatchWrite;
pub use key::Key;
#[cfg(feature = "alloc")]
pub(crate) use key::key_from;
pub(crate) use multi::{GROUP, Leads};
pub use node::Kind;
pub(crate) use node::{MAX_KEY_LEN, MAX_VALUE_LEN};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub(crate) use position::Kept;
pub(crate) use position::{Position, Stop, VersionMark, View, Visible};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub(crate) use scout::Resting;
pub(crate) use scout::{STRAIGHT, Scout};
pub use transparent::Frozen;
pub(crate) use write::{Refusal, Rule, Write, Written};

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::arena::{Arena, Handle};
use batch::BatchLock;
use lane::Lanes;
use node::{Link, Node, NodeRef, Ref, Version, VersionRef};

/// How densely the lowest lane samples the base level.
///
/// ```
/// use memskip::{LaneDensity, Memtable};
///
/// let table = Memtable::<[u8]>::builder().lane_density(LaneDensity::Sparse).build();
/// assert!(table.insert(b"k", b"v"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneDensity {
    /// Every node: the fastest reads, about 17 bytes an entry. The default where addresses have 64 bits.
    Every,
    /// About every second node: half the memory of the lanes, one more cache miss in many searches. The default where addresses
    /// have 32 bits.
    Sparse,
    /// None: no memory for lanes, and searches that walk the whole list. For tables of a few dozen entries.
    Never,
}

impl Default for LaneDensity {
    fn default() -> Self {
        if cfg!(target_pointer_width = "64") { Self::Every } else { Self::Sparse }
    }
}

/// The list.
pub(crate) struct List<K: ?Sized, C, A, S, const H: usize> {
    arena: A,
    comparator: C,
    clock: S,
    head: Link,
    lanes: Lanes<H>,
    batches: BatchLock,
    density: LaneDensity,
    /// Bytes in use beyond which lanes get no more memory; 0 is no limit.
    lane_limit: usize,
    #[cfg(all(test, feature = "std"))]
    refuse_lanes: core::sync::atomic::AtomicU32,
    /// Keys go in and out as references only.
    keys: PhantomData<fn(&K) -> &K>,
}

impl<K: ?Sized, C, A, S, const H: usize> List<K, C, A, S, H> {
    pub(crate) fn new(parts: (C, A, S), density: LaneDensity, lane_limit: usize) -> Self {
        const { assert!(H >= 1, "MAX_HEIGHT counts the base level, so it is at least 1") };
        const { assert!(H <= 32, "32 levels are more than 32-bit handles can fill") };
        let (comparator, arena, clock) = parts;
        Self {
            arena,
            comparator,
            clock,
            head: Link::new(None),
            lanes: Lanes::new(),
            batches: BatchLock::new(),
            density,
            lane_limit,
            #[cfg(all(test, feature = "std"))]
            refuse_lanes: core::sync::atomic::AtomicU32::new(0),
            keys: PhantomData,
        }
    }

    pub(crate) fn arena(&self) -> &A {
        &self.arena
    }

    pub(crate) fn comparator(&self) -> &C {
        &self.comparator
    }

    pub(crate) fn clock(&self) -> &S {
        &self.clock
    }

    pub(crate) fn density(&self) -> LaneDensity {
        self.density
    }

    /// The `next` of a node, or the head's.
    #[inline]
    fn next_link(&self, node: Option<Ref<Node>>) -> &Link
    where
        A: Arena,
    {
        match node {
            None => &self.head,
            Some(node) => &self.node(node).header().next,
        }
    }

    /// Whether a new node is to be filed, which a search came to by walking `steps` nodes behind a lane's entry.
    ///
    /// Sparse lanes take every other node, by a coin that its handle tosses, and one at the end of a longer gap. Without the coin
    /// a descending load would file none: each of its keys comes right behind an entry.
    #[inline]
    fn wants_lane(&self, node: Ref<Node>, steps: usize) -> bool {
        /// From here on a gap is closed.
        const GAP: usize = 3;
        let coin = node.handle().0.wrapping_mul(0x9E37_79B9) >> 31 == 0;
        self.density != LaneDensity::Sparse || coin || steps >= GAP
    }

    /// Whether lane maintenance is to be dropped.
    #[inline]
    fn refuses_lanes(&self) -> bool {
        #[cfg(all(test, feature = "std"))]
        {
            use core::sync::atomic::Ordering::Relaxed;
            // A one-in-n refusal, at (pseudo) random; n = 1 is always.
            match self.refuse_lanes.load(Relaxed) {
                0 => {}
                one_in => {
                    static STATE: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(1);
                    let mixed = STATE.fetch_add(0x9E37_79B9, Relaxed).wrapping_mul(0x85EB_CA6B);
                    if (mixed >> 16).checked_rem(one_in) == Some(0) {
                        return true;
                    }
                }
            }
        }
        self.density == LaneDensity::Never
    }

    #[cfg(all(test, feature = "std"))]
    pub(crate) fn refuse_lanes(&self, one_in: u32) {
        self.refuse_lanes.store(one_in, core::sync::atomic::Ordering::Relaxed);
    }
}

impl<K: ?Sized, C, A: Arena, S, const H: usize> List<K, C, A, S, H> {
    /// The address of a live handle.
    ///
    /// # Safety
    ///
    /// `handle` is live: it is one this list allocated, or one loaded with acquire from a word that holds such.
    #[inline]
    unsafe fn at(&self, handle: Handle) -> NonNull<u8> {
        debug_assert!(!handle.is_none(), "handle 0 names nothing");
        // SAFETY: the same contract.
        unsafe { self.arena.resolve(handle) }
    }

    /// What a handle names.
    ///
    /// # Safety
    ///
    /// `handle` is live and names a completely written `T`.
    #[inline]
    unsafe fn object<T>(&self, handle: Handle) -> &T {
        // SAFETY: the same contract.
        let at = unsafe { self.at(handle) };
        // SAFETY: it is a `T`, completely written, and lives as long as the list (3).
        unsafe { at.cast().as_ref() }
    }

    /// A node of this list.
    #[inline]
    fn node(&self, node: Ref<Node>) -> NodeRef<'_> {
        // SAFETY: a reference names something published (4).
        let at = unsafe { self.at(node.handle()) };
        // SAFETY: it is a node, completely written (2), and lives as long as the list (3).
        unsafe { NodeRef::new(at) }
    }

    /// A further version of this list.
    #[inline]
    fn version(&self, version: Ref<Version>) -> (VersionRef<'_>, &Version) {
        // SAFETY: a reference names something published (4).
        let at = unsafe { self.at(version.handle()) };
        // SAFETY: it is a version, completely written, and lives as long as the list (3).
        unsafe { VersionRef::new(at) }
    }

    /// Forgets everything and keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.head.clear();
        self.lanes = Lanes::new();
        self.batches = BatchLock::new();
        self.arena.reset();
    }
}

impl<K: Key + ?Sized, C, A: Arena, S, const H: usize> List<K, C, A, S, H> {
    /// The key of a node.
    #[inline]
    fn key(&self, node: Ref<Node>) -> &K {
        self.key_of(self.node(node))
    }

    /// The same of one that is resolved.
    #[inline]
    #[expect(clippy::unused_self, reason = "the node is this list's")]
    fn key_of<'a>(&'a self, node: NodeRef<'a>) -> &'a K {
        // SAFETY: these bytes were written from a key of this type.
        unsafe { K::from_bytes(node.key()) }
    }

    /// The key of a node and its first version.
    #[inline]
    #[expect(clippy::unused_self, reason = "the node is this list's")]
    fn key_and_first_version<'a>(&'a self, node: NodeRef<'a>) -> (&'a K, VersionRef<'a>) {
        let (key, version) = node.key_and_first_version();
        // SAFETY: these bytes were written from a key of this type.
        (unsafe { K::from_bytes(key) }, version)
    }
}

impl<K: ?Sized, C, A, S, const H: usize> fmt::Debug for List<K, C, A, S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("levels", &H).field("density", &self.density).finish_non_exhaustive()
    }
}
