//! A lane block: a short sorted array of (hint, handle) in a few cache lines, read without a lock.
//!
//! ```text
//!          ┌───────────────────── header ────────────────────┐
//! lowest   | version | shape | next | first | fence's | like |  fence | hint 1..=12 | handle 0..=12 |            128 bytes
//! upper    | version | shape | next | first | fence's | like |  fence | head 1..=17 | handle 0..=17 | fence's tail | tail 1..=17 | 384 bytes
//! ```
//!
//! Entry 0 is the block's first key and has no hint: whoever is here has a key that is not less. `fence` is the hint
//! of the right neighbour's first key, and `fence's` that key's node; without a neighbour the block is open. `shape` is
//! the number of entries behind entry 0, and how many leading units the hints skip: what all keys of the block's range share. An
//! open block's range has no end, so nothing is shared by all of it. In upper lanes its hints skip what its entries share, and
//! `like` names one of them: hints are for keys that begin like that one, others are compared with keys. (Every search comes
//! through the topmost block, which is open on both sides.)
//!
//! Invariants, of a block's whole life:
//!
//! 1. Entry 0 and `first` never change. A block's range, from its first key to its right neighbour's, only shrinks, and only
//!    when the block is split.
//! 2. Every handle word holds, at any time, the handle of a published node (lowest lane) or of a block one lane below
//!    (upper lanes), or 0. So whatever a reader loads here it may follow unless it is 0, torn or not. As entry 0 of the lowest
//!    lane, 0 is the head of the list; everywhere else it means that the look is torn.
//! 3. While `version` is odd one writer owns the block. A reader acts on what it read only if `version` was even before
//!    and is the same after.
//! 4. Hints of unused entries are the greatest there are.
//! 5. What hints skip is shared by all keys of a closed block's range; of an open block's by its entries, its fence and `like`.
//!    It changes together with all hints, in the hands of the block's owner, so by (3) no reader acts on a mixture.

use core::cmp::Ordering;
use core::fmt;
use core::mem;
use core::ops::Range;

use crate::comparator::Comparator;
#[cfg(target_pointer_width = "64")]
use crate::sync::AtomicUsize;
use crate::sync::{AtomicU32, fence, order};

use super::node::{Node, Ref, raw};

/// A word that hints are made of.
pub(super) trait Word: Copy + Ord + fmt::Debug {
    /// The greatest there is.
    const MAX: Self;
    /// Where it is kept.
    type Cell;

    fn cell(self) -> Self::Cell;
    fn load(cell: &Self::Cell) -> Self;
    fn store(self, cell: &Self::Cell);
}

/// A word in an atomic of its size.
macro_rules! word_in {
    ($($word:ty, $cell:ty;)*) => {$(
        impl Word for $word {
            const MAX: Self = <$word>::MAX;
            type Cell = $cell;

            #[inline]
            fn cell(self) -> $cell {
                <$cell>::new(self)
            }
            #[inline]
            fn load(cell: &$cell) -> Self {
                cell.load(order::PLAIN)
            }
            #[inline]
            fn store(self, cell: &$cell) {
                cell.store(self, order::PLAIN);
            }
        }
    )*};
}

word_in! { u32, AtomicU32; }
#[cfg(target_pointer_width = "64")]
word_in! { usize, AtomicUsize; }

/// No word.
impl Word for () {
    const MAX: Self = ();
    type Cell = ();

    #[inline]
    fn cell(self) {}
    #[inline]
    fn load((): &()) {}
    #[inline]
    fn store(self, (): &()) {}
}

/// What a lane keeps of a key.
pub(super) trait Digest: Copy + Ord + fmt::Debug {
    /// The part that tells most keys apart.
    type Head: Word;
    /// The part that is looked at when heads are equal.
    type Tail: Word;
    /// Whether there is one.
    const HAS_TAIL: bool = size_of::<Self::Tail>() > 0;

    fn of<K: ?Sized>(comparator: &impl Comparator<K>, key: &K, skip: usize) -> Self;
    /// The head of [`of`](Self::of).
    fn head<K: ?Sized>(comparator: &impl Comparator<K>, key: &K, skip: usize) -> Self::Head;
    fn join(head: Self::Head, tail: Self::Tail) -> Self;
    fn parts(self) -> (Self::Head, Self::Tail);
    /// Whether it is less, without a branch.
    #[inline]
    fn precedes(self, other: Self) -> bool {
        self < other
    }
}

/// The greatest digest.
#[inline]
pub(super) fn greatest<D: Digest>() -> D {
    D::join(Word::MAX, Word::MAX)
}

/// The upper half of a hint word (all of it where words have 32 bits): for the lowest lane, whose keys lie so close
/// together that half a word behind what they share tells them apart.
pub(super) type Narrow = u32;

impl Digest for Narrow {
    type Head = u32;
    type Tail = ();

    #[inline]
    fn of<K: ?Sized>(comparator: &impl Comparator<K>, key: &K, skip: usize) -> Self {
        Self::head(comparator, key, skip)
    }
    #[inline]
    fn head<K: ?Sized>(comparator: &impl Comparator<K>, key: &K, skip: usize) -> u32 {
        (comparator.hint(key, skip) >> (usize::BITS - u32::BITS)) as u32
    }
    #[inline]
    fn join(head: u32, (): ()) -> Self {
        head
    }
    #[inline]
    fn parts(self) -> (u32, ()) {
        (self, ())
    }
}

/// Two hint words: for upper lanes, whose keys lie far apart and may share long prefixes.
#[cfg(target_pointer_width = "64")]
pub(super) type Wide = [usize; 2];

#[cfg(target_pointer_width = "64")]
impl Digest for Wide {
    type Head = usize;
    type Tail = usize;

    #[inline]
    fn of<K: ?Sized>(comparator: &impl Comparator<K>, key: &K, skip: usize) -> Self {
        comparator.wide_hint(key, skip)
    }
    #[inline]
    fn head<K: ?Sized>(comparator: &impl Comparator<K>, key: &K, skip: usize) -> usize {
        comparator.hint(key, skip)
    }
    #[inline]
    fn join(head: usize, tail: usize) -> Self {
        [head, tail]
    }
    #[inline]
    fn parts(self) -> (usize, usize) {
        self.into()
    }
    #[inline]
    fn precedes(self, other: Self) -> bool {
        // One number is compared without a branch, two are not.
        let whole = |[head, tail]: Self| (head as u128) << usize::BITS | tail as u128;
        whole(self) < whole(other)
    }
}

/// What all blocks begin with, whatever their lane.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Header {
    version: AtomicU32,
    shape: AtomicU32,
    next: AtomicU32,
    /// The node of entry 0's key; 0 is the head of the list.
    first: u32,
    fence_node: AtomicU32,
    #[cfg(target_pointer_width = "64")]
    like: AtomicU32,
}

/// A block of one lane: up to `N` entries, entry 0 included.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(super) struct Block<D: Digest, const N: usize> {
    header: Header,
    /// Heads of hints. Entry 0 has none: the fence's is in its place.
    heads: [Cell<D::Head>; N],
    /// Of the lowest lane, entry 0 is `first` once more, which costs nothing: the space is there.
    handles: [AtomicU32; N],
    /// Tails of hints, the fence's first.
    tails: [Cell<D::Tail>; N],
}

type Cell<W> = <W as Word>::Cell;

/// Entries of a block in the lowest lane and above it. Few under loom and shuttle, so that models reach splits.
const LOW: usize = if cfg!(any(loom, shuttle)) { 3 } else { 13 };
#[cfg(target_pointer_width = "64")]
const HIGH: usize = if cfg!(any(loom, shuttle)) { 3 } else { 18 };

/// A block of the lowest lane.
pub(super) type LowBlock = Block<Narrow, LOW>;
/// A block of an upper lane.
#[cfg(target_pointer_width = "64")]
pub(super) type HighBlock = Block<Wide, HIGH>;
/// A block of an upper lane: where memories are small, of the same kind, which halves the code.
#[cfg(not(target_pointer_width = "64"))]
pub(super) type HighBlock = LowBlock;

/// Whether usual cases have code of their own. It is a kilobyte, which small cores would miss more than the time.
const GLANCES: bool = cfg!(target_pointer_width = "64");

/// How many entries there are behind entry 0, and what hints skip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) count: usize,
    pub(super) skip: usize,
}

const COUNT_BITS: u32 = 8;
/// The greatest `skip` that is kept; less than the truth is always correct.
pub(super) const MAX_SKIP: usize = (1 << (u32::BITS - COUNT_BITS)) - 1;

impl Shape {
    fn encode(self) -> u32 {
        debug_assert!(self.count < 1 << COUNT_BITS && self.skip <= MAX_SKIP);
        (self.skip as u32) << COUNT_BITS | self.count as u32
    }
    #[inline]
    fn decode(word: u32) -> Self {
        Self { count: (word & ((1 << COUNT_BITS) - 1)) as usize, skip: (word >> COUNT_BITS) as usize }
    }
}

impl Header {
    /// The node of the block's first key; none is the head of the list.
    #[inline]
    pub(super) fn first(&self) -> Option<Ref<Node>> {
        // SAFETY: (2); it was written before the block was published.
        unsafe { Ref::from_raw(self.first) }
    }

    /// The right neighbour, raw.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.next.load(order::FOLLOW)
    }

    /// The node of the right neighbour's first key.
    #[inline]
    pub(super) fn fence_node(&self) -> Option<Ref<Node>> {
        let raw = self.fence_node.load(order::FOLLOW);
        // SAFETY: (2), and an acquiring load.
        unsafe { Ref::from_raw(raw) }
    }

    /// A node with whose key a key has to share what hints skip before they say anything of it; none if all do.
    #[inline]
    pub(super) fn like(&self) -> Option<Ref<Node>> {
        #[cfg(target_pointer_width = "64")]
        let raw = self.like.load(order::FOLLOW);
        #[cfg(not(target_pointer_width = "64"))]
        let raw = 0;
        // SAFETY: (2), and an acquiring load.
        unsafe { Ref::from_raw(raw) }
    }

    /// For the owner of the block.
    pub(super) fn set_like(&self, like: Option<Ref<Node>>) {
        #[cfg(target_pointer_width = "64")]
        self.like.store(raw(like), order::FILE);
        #[cfg(not(target_pointer_width = "64"))]
        let _ = (self, like);
    }

    #[inline]
    pub(super) fn shape(&self) -> Shape {
        Shape::decode(self.shape.load(order::PLAIN))
    }

    /// Begins to read; none while a writer owns the block.
    #[inline]
    fn begin(&self) -> Option<u32> {
        let version = self.version.load(order::BLOCK_READ);
        (version & 1 == 0).then_some(version)
    }

    /// Whether nothing has changed since [`begin`](Self::begin).
    #[inline]
    fn unchanged(&self, version: u32) -> bool {
        fence(order::BLOCK_CHECK);
        self.version.load(order::PLAIN) == version
    }

    /// Takes the block, if nobody has it.
    #[inline]
    pub(super) fn try_take<const ALONE: bool>(&self) -> Option<Taken<'_>> {
        let version = self.version.load(order::PLAIN);
        if version & 1 == 1 {
            return None;
        }
        let odd = version.wrapping_add(1);
        if ALONE {
            self.version.store(odd, order::PLAIN);
        } else {
            self.version.compare_exchange(version, odd, order::BLOCK_LOCK, order::PLAIN).ok()?;
        }
        fence(order::BLOCK_WRITE);
        Some(Taken { header: self, version })
    }
}

/// A block that the holder owns; given back on drop, also when a comparator or allocator panics.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    header: &'a Header,
    version: u32,
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        self.header.version.store(self.version.wrapping_add(2), order::BLOCK_UNLOCK);
    }
}

/// How a search has come to a block, which tells what is known of its key there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// From the lane above: the key is in the block's range, unless that lane lags behind.
    FromAbove,
    /// From the left neighbour: the key may be behind the block's range, where its hints say nothing.
    FromLeft,
}

/// What a look that was not torn proves of the two entries it came between: a key that shares so many units with either is behind
/// the one and before (or at) the other; if there is no other, nothing in this lane is behind it.
///
/// Entries of a block share what its hints skip (5), so hints order them, and any key that shares it too. A key that has been
/// misled to this block may not: hence the condition. What is proven stays true, since keys never change; only what lies between
/// the two may, and their link says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof(u32);

impl Proof {
    /// Nothing is proven: an entry 0, which no look compares, or a reader that gave up.
    pub(super) const NONE: Self = Self(u32::MAX);

    /// On this condition, unless the key is behind entry 0 only. (Small cores do without: two comparisons more, 300 bytes less.)
    #[inline]
    fn of(entry: usize, skip: usize) -> Self {
        if entry == 0 || !GLANCES { Self::NONE } else { Self(skip as u32) }
    }

    /// How many units the key has to share; none if nothing is proven.
    #[inline]
    pub(super) fn units(self) -> Option<usize> {
        (GLANCES && self.0 != u32::MAX).then_some(self.0 as usize)
    }
}

/// Between an entry that is before a key and the last that may be, the one to ask.
#[inline]
fn middle(low: usize, high: usize) -> usize {
    low + (high - low).div_ceil(2)
}

/// The place of an entry in its block, for walks that begin there. (Small cores do without.)
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(#[cfg(target_pointer_width = "64")] u8);

impl Place {
    #[inline]
    pub(super) fn of(index: usize) -> Self {
        #[cfg(target_pointer_width = "64")]
        return Self(index as u8);
        #[cfg(not(target_pointer_width = "64"))]
        {
            let _ = index;
            Self()
        }
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        #[cfg(target_pointer_width = "64")]
        return usize::from(self.0);
        #[cfg(not(target_pointer_width = "64"))]
        0
    }
}

/// What a look into a block says.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// Go right, to this block.
    Right(u32),
    /// The key is behind this entry (its handle, raw, and its place in the block) and, in the lowest lane, before the next (raw), as far
    /// as is proven.
    Down { entry: u32, place: Place, next: u32, proof: Proof },
    /// The key is this node's, or that of the first node under the entry at this place, which is there or behind the last.
    Hit { node: Ref<Node>, place: Place },
    /// A writer was at it.
    Torn,
}

/// What the heads of hints say, and in upper lanes their tails.
#[derive(Clone, Copy)]
pub(super) enum Glance {
    Sure(Look),
    /// The key ties with these entries of an upper lane.
    Tied(Ties),
    /// A closer look has to tell.
    Unsure,
}

/// Entries that tie with a key: it is behind entry `low` and before entry `high + 1`. And when that was so.
#[derive(Clone, Copy)]
pub(super) struct Ties {
    low: u8,
    high: u8,
    version: u32,
}

impl Ties {
    /// The one to ask first.
    #[inline]
    pub(super) fn middle(self) -> usize {
        middle(usize::from(self.low), usize::from(self.high))
    }
}

/// What hints alone say, in the lowest lane.
#[derive(Clone, Copy)]
pub(super) enum Peek {
    Sure(Look),
    /// The key may be this node's.
    Tie(Ref<Node>),
    /// The key may be behind this node, the first of the next block.
    Fence(Ref<Node>),
}

/// Compares the key of a node with the one that is looked for.
pub(super) trait Probe<K: ?Sized> {
    fn digest<D: Digest>(&self, skip: usize) -> D;
    fn head<D: Digest>(&self, skip: usize) -> D::Head;
    fn compare(&self, node: Ref<Node>) -> Ordering;
    /// Whether the key shares so many units with a node's.
    fn shares(&self, node: Ref<Node>, units: usize) -> bool;
    /// Whether hints may be used.
    fn trusts_hints(&self) -> bool;
    /// The node of the first key under an upper entry.
    fn first_under(&self, lane: usize, entry: u32) -> Option<Ref<Node>>;
    /// Asks for the block that an entry of an upper lane names before it is needed.
    fn prefetch(&self, lane: usize, entry: u32);
    /// Whether to stop when a node of the very key is met.
    fn stops_at_equal(&self) -> bool;
}

impl<D: Digest, const N: usize> Block<D, N> {
    /// Bytes that every look touches; what is behind them is for ties.
    pub(super) const HOT: usize = mem::offset_of!(Self, tails);
    /// The most entries behind entry 0.
    pub(super) const ROOM: usize = N - 1;

    /// A block whose only entry is its first.
    pub(super) fn new(first: Option<Ref<Node>>, entry: u32) -> Self {
        Self {
            header: Header {
                version: AtomicU32::new(0),
                shape: AtomicU32::new(Shape { count: 0, skip: 0 }.encode()),
                next: AtomicU32::new(0),
                first: raw(first),
                fence_node: AtomicU32::new(0),
                #[cfg(target_pointer_width = "64")]
                like: AtomicU32::new(0),
            },
            heads: core::array::from_fn(|_| D::Head::MAX.cell()),
            handles: core::array::from_fn(|index| AtomicU32::new(if index == 0 { entry } else { 0 })),
            tails: core::array::from_fn(|_| D::Tail::MAX.cell()),
        }
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The handle of an entry, raw; 0 if there is no room for such an entry.
    #[inline]
    pub(super) fn handle(&self, index: usize) -> u32 {
        self.handles.get(index).map_or(0, |handle| handle.load(order::FOLLOW))
    }

    /// The handles of entries from one to another, raw.
    #[inline]
    pub(super) fn handles(&self, from: usize, to: usize) -> impl Iterator<Item = u32> + '_ {
        self.handles.iter().take(to.saturating_add(1)).skip(from).map(|handle| handle.load(order::FOLLOW))
    }

    /// The words that hold the handles of some entries. (Where they begin does not wait for how many there are: a walk that comes to
    /// another block looks at the first of them at once.)
    #[inline]
    pub(super) fn words(&self, entries: Range<usize>) -> &[AtomicU32] {
        let end = entries.end.min(self.handles.len());
        &self.handles[entries.start.min(end)..end]
    }

    /// The first entry with this handle.
    pub(super) fn place_of(&self, handle: u32) -> Option<usize> {
        self.handles(0, self.header.shape().count).position(|entry| entry == handle)
    }

    /// The hint of an entry; of entry 0 the fence.
    #[inline]
    pub(super) fn hint(&self, index: usize) -> D {
        match (self.heads.get(index), self.tails.get(index)) {
            (Some(head), Some(tail)) => D::join(Word::load(head), Word::load(tail)),
            _ => greatest(),
        }
    }

    #[inline]
    pub(super) fn fence(&self) -> D {
        self.hint(0)
    }

    /// Whether an entry has this head.
    #[inline]
    fn has_head(&self, index: usize, head: D::Head) -> bool {
        self.heads.get(index).is_some_and(|cell| D::Head::load(cell) == head)
    }

    /// Whether an entry has this hint.
    #[inline]
    fn has_hint(&self, index: usize, (head, tail): (D::Head, D::Tail)) -> bool {
        self.has_head(index, head) && self.tails.get(index).is_some_and(|cell| D::Tail::load(cell) == tail)
    }

    /// How many heads are less than `head`. Unused ones never are (4).
    ///
    /// In two steps: every fourth, then the four behind the last of those that is less, and the next. That is a third of the
    /// instructions of counting them all, and no branch that could be guessed wrong.
    #[inline]
    fn rank(&self, head: D::Head) -> usize {
        const STRIDE: usize = 4;
        let is_less = |cell: &Cell<D::Head>| usize::from(D::Head::load(cell) < head);
        if !GLANCES {
            return self.heads.iter().skip(1).map(is_less).sum();
        }
        // A loop: `step_by` is a call where a program has several codegen units.
        let mut strides = 0;
        for stride in 0..(N - 3) / STRIDE {
            strides += self.heads.get(1 + STRIDE + STRIDE * stride).map_or(0, is_less);
        }
        let start = STRIDE * strides;
        start + self.heads.iter().skip(1 + start).take(STRIDE + 1).map(is_less).sum::<usize>()
    }

    /// How many hints are less than `wanted`: the last entry that is surely before it.
    #[inline]
    fn rank_whole(&self, wanted: D) -> usize {
        self.rank_in_tie(wanted, self.rank(wanted.parts().0))
    }

    /// Whether the tails tell that a key is before the fence, where heads do not.
    #[inline(never)]
    fn is_before_fence(&self, wanted: D) -> bool {
        D::HAS_TAIL && wanted < self.fence()
    }

    /// The [ties](Self::ties) of a key, of which `rank` have less heads.
    #[inline(never)]
    fn ties_by_tails(&self, wanted: D, rank: usize, count: usize) -> (usize, usize) {
        self.ties_from(wanted, self.rank_in_tie(wanted, rank), count)
    }

    /// The same without a branch: two bisections of all there is. The hint comes in parts, since a pair would come by way of memory.
    #[inline(never)]
    fn ties_unguessed(&self, (head, tail): (D::Head, D::Tail), count: usize) -> (usize, usize) {
        let wanted = D::join(head, tail);
        let low = self.last_entry_for_which(|hint| hint.precedes(wanted));
        let high = self.last_entry_for_which(|hint| !wanted.precedes(hint));
        (low.min(count), high.min(count))
    }

    /// The last entry whose hint `holds`, 0 if the first does not. It holds for none behind one for which it does not.
    #[inline]
    fn last_entry_for_which(&self, holds: impl Fn(D) -> bool) -> usize {
        let (mut last, mut left) = (0, N - 1);
        while left > 0 {
            let step = left.div_ceil(2);
            last = if holds(self.hint(last + step)) { last + step } else { last };
            left -= step;
        }
        last
    }

    /// From the rank among heads to that among whole hints.
    #[inline]
    fn rank_in_tie(&self, wanted: D, mut rank: usize) -> usize {
        let (head, tail) = wanted.parts();
        while self.has_head(rank + 1, head) && self.tails.get(rank + 1).is_some_and(|cell| D::Tail::load(cell) < tail) {
            rank += 1;
        }
        rank
    }

    /// Where a key belongs, without a lock: the usual case, in which hints alone tell that, or which entries to compare it with.
    /// If they do not, [`look`](Self::look) has to. `GROUPED` is for one of several searches side by side, whose others a wrong
    /// guess would hold up; a search on its own gains more by right ones.
    #[expect(clippy::inline_always, reason = "as a call, what it returns goes through memory: 30 cycles")]
    #[inline(always)]
    pub(super) fn glance<K: ?Sized, const GROUPED: bool>(
        &self,
        lane: usize,
        probe: &impl Probe<K>,
        arrival: Arrival,
    ) -> Glance {
        let Some(version) = self.header.begin().filter(|_| GLANCES) else { return Glance::Unsure };
        let Shape { count, skip } = self.header.shape();
        if !probe.trusts_hints() || arrival == Arrival::FromLeft {
            return Glance::Unsure;
        }
        if self.header.like().is_some_and(|like| !probe.shares(like, skip)) {
            return Glance::Unsure;
        }
        let head = probe.head::<D>(skip);
        let is_near_fence = self.heads.first().is_some_and(|fence| head >= Word::load(fence));
        if is_near_fence && self.header.fence_node().is_some() && !self.is_before_fence(probe.digest(skip)) {
            return Glance::Unsure;
        }
        let mut rank = self.rank(head);
        if self.has_head(rank + 1, head) {
            if D::HAS_TAIL {
                let (wanted, count): (D, _) = (probe.digest(skip), count.min(Self::ROOM));
                let (low, high) = if GROUPED {
                    self.ties_unguessed(wanted.parts(), count)
                } else {
                    self.ties_by_tails(wanted, rank, count)
                };
                if low < high {
                    return Glance::Tied(Ties { low: low as u8, high: high as u8, version });
                }
                rank = low;
            } else {
                let is_alone = lane == 0 && rank < count && !self.has_head(rank + 2, head);
                let node = if is_alone { probe.first_under(0, self.handle(rank + 1)) } else { None };
                let Some(node) = node else { return Glance::Unsure };
                match probe.compare(node) {
                    Ordering::Equal if probe.stops_at_equal() => {
                        return Glance::Sure(Look::Hit { node, place: Place::of(rank + 1) });
                    }
                    Ordering::Equal | Ordering::Greater => {}
                    Ordering::Less => rank += 1,
                }
            }
        }
        let entry = self.handle(rank);
        let (next, proof) = if lane == 0 { (self.next(rank, count), Proof::of(rank, skip)) } else { (0, Proof::NONE) };
        if self.header.unchanged(version) {
            Glance::Sure(Look::Down { entry, place: Place::of(rank), next, proof })
        } else {
            Glance::Unsure
        }
    }

    /// Where a key belongs, without a lock: by hints, ties by key.
    pub(super) fn look<K: ?Sized>(&self, lane: usize, probe: &impl Probe<K>, arrival: Arrival) -> Look {
        let Some(version) = self.header.begin() else { return Look::Torn };
        let shape = self.header.shape();
        let wanted: D = probe.digest(shape.skip);
        let trusts_hints = probe.trusts_hints() && self.header.like().is_none_or(|like| probe.shares(like, shape.skip));
        let fence_node = self.header.fence_node();
        if let Some(node) = fence_node {
            let by_hint = trusts_hints && (arrival == Arrival::FromAbove || shape.skip == 0);
            let order = if by_hint { wanted.cmp(&self.fence()) } else { Ordering::Equal };
            let order = order.then_with(|| probe.compare(node).reverse());
            if order == Ordering::Equal && probe.stops_at_equal() {
                return Look::Hit { node, place: Place::of(N) };
            }
            if order == Ordering::Greater {
                let next = self.header.next();
                return if self.header.unchanged(version) { Look::Right(next) } else { Look::Torn };
            }
        }
        let count = shape.count.min(Self::ROOM);
        let (low, high) = if trusts_hints { self.ties(wanted, count) } else { (0, count) };
        let ties = Ties { low: low as u8, high: high as u8, version };
        self.ask_ahead(lane, probe, ties);
        // With keys compared, or with `like`, which it shares them with, there is no condition.
        let is_conditional = trusts_hints && self.header.like().is_none();
        self.bisect(lane, probe, ties, if is_conditional { shape.skip } else { 0 })
    }

    /// Asks for the blocks below the outermost entries that tie: the search goes on at one of them, if it is not between.
    #[inline]
    pub(super) fn ask_ahead<K: ?Sized>(&self, lane: usize, probe: &impl Probe<K>, ties: Ties) {
        if ties.low < ties.high {
            probe.prefetch(lane, self.handle(usize::from(ties.low)));
            probe.prefetch(lane, self.handle(usize::from(ties.high)));
        }
    }

    /// Where among entries that tie with it a key belongs, by comparing keys. What that proves has a condition: so many units.
    #[inline]
    pub(super) fn bisect<K: ?Sized>(&self, lane: usize, probe: &impl Probe<K>, ties: Ties, units: usize) -> Look {
        let (mut low, mut high) = (usize::from(ties.low), usize::from(ties.high));
        while low < high {
            let middle = middle(low, high);
            let Some(node) = probe.first_under(lane, self.handle(middle)) else { return Look::Torn };
            match probe.compare(node) {
                Ordering::Less => low = middle,
                Ordering::Equal if probe.stops_at_equal() => return Look::Hit { node, place: Place::of(middle) },
                Ordering::Equal | Ordering::Greater => high = middle - 1,
            }
        }
        let (entry, next) = (self.handle(low), self.next(low, self.header.shape().count.min(Self::ROOM)));
        let proof = Proof::of(low, units);
        if self.header.unchanged(ties.version) {
            Look::Down { entry, place: Place::of(low), next, proof }
        } else {
            Look::Torn
        }
    }

    /// The first node of the next block, if hints do not tell whether a key is behind it.
    pub(super) fn doubtful_fence<K: ?Sized>(&self, probe: &impl Probe<K>) -> Option<Ref<Node>> {
        let Shape { skip, .. } = self.header.shape();
        let is_alike = self.header.like().is_none_or(|like| probe.shares(like, skip));
        self.header.fence_node().filter(|_| is_alike && probe.digest::<D>(skip) == self.fence())
    }

    /// In the lowest lane: what is behind an entry, raw. Behind the last it is the right neighbour's first; without a neighbour, 0.
    #[inline]
    fn next(&self, entry: usize, count: usize) -> u32 {
        if entry < count { self.handle(entry + 1) } else { self.header.fence_node.load(order::FOLLOW) }
    }

    /// The last entry of `count` that is surely before a key with this hint, and the last that is not surely behind it.
    #[inline]
    fn ties(&self, wanted: D, count: usize) -> (usize, usize) {
        self.ties_from(wanted, self.rank_whole(wanted), count)
    }

    /// The same, of which `rank` have less hints.
    #[inline]
    fn ties_from(&self, wanted: D, rank: usize, count: usize) -> (usize, usize) {
        let low = rank.min(count);
        let mut high = low;
        while high < count && self.has_hint(high + 1, wanted.parts()) {
            high += 1;
        }
        (low, high)
    }

    /// Where a key belongs as far as hints tell, without touching a key, in the lowest lane.
    #[inline]
    pub(super) fn peek<K: ?Sized>(&self, probe: &impl Probe<K>) -> Peek {
        let Some(version) = self.header.begin() else { return Peek::Sure(Look::Torn) };
        let shape = self.header.shape();
        let wanted: D = probe.digest(shape.skip);
        let fence = self.header.fence_node().map(|node| (wanted.cmp(&self.fence()), node));
        let seen = match fence {
            Some((Ordering::Equal, node)) => Peek::Fence(node),
            Some((Ordering::Greater, _)) => Peek::Sure(Look::Right(self.header.next())),
            Some((Ordering::Less, _)) | None => {
                let count = shape.count.min(Self::ROOM);
                let low = self.rank_whole(wanted).min(count);
                let next = self.next(low, count);
                let ties = low < count && self.has_hint(low + 1, wanted.parts());
                match probe.first_under(0, next).filter(|_| ties) {
                    Some(node) => Peek::Tie(node),
                    None => {
                        let proof = Proof::of(low, shape.skip);
                        Peek::Sure(Look::Down { entry: self.handle(low), place: Place::of(low), next, proof })
                    }
                }
            }
        };
        if self.header.unchanged(version) { seen } else { Peek::Sure(Look::Torn) }
    }

    /// Whether (4) holds, for checks; a writer in the way is given the benefit of the doubt.
    pub(super) fn is_tidy(&self) -> bool {
        let Some(version) = self.header.begin() else { return true };
        let is_tidy = (self.header.shape().count + 1..N).all(|index| self.hint(index) == greatest());
        is_tidy || !self.header.unchanged(version)
    }

    // What follows is for the owner of the block (see `Taken`), or of one that is not published yet.

    /// Where among the entries a key belongs, hints first: the last that is before it as far as hints tell.
    pub(super) fn guess(&self, wanted: D) -> usize {
        self.rank_whole(wanted).min(self.header.shape().count)
    }

    /// Puts an entry behind entry `index`. There is room.
    pub(super) fn put_behind(&self, index: usize, hint: D, handle: u32) {
        let Shape { count, skip } = self.header.shape();
        debug_assert!(index <= count && count < Self::ROOM);
        for to in (index + 1..=count).rev() {
            self.set(to + 1, self.hint(to), self.handle(to));
        }
        self.set(index + 1, hint, handle);
        self.set_shape(Shape { count: count + 1, skip });
    }

    /// Writes an entry behind entry 0.
    pub(super) fn set(&self, index: usize, hint: D, handle: u32) {
        if let Some(word) = self.handles.get(index) {
            word.store(handle, order::FILE);
            self.set_hint(index, hint);
        }
    }

    pub(super) fn set_hint(&self, index: usize, hint: D) {
        let (head, tail) = hint.parts();
        if let (Some(to), Some(rest)) = (self.heads.get(index), self.tails.get(index)) {
            head.store(to);
            tail.store(rest);
        }
    }

    /// Makes the places behind entry `count` unused (4).
    pub(super) fn forget_behind(&self, count: usize) {
        (count + 1..N).for_each(|index| self.set_hint(index, greatest()));
    }

    pub(super) fn set_shape(&self, shape: Shape) {
        self.header.shape.store(shape.encode(), order::PLAIN);
    }

    /// Sets the right neighbour and its first node; the hint of that is hint 0.
    pub(super) fn set_neighbour(&self, next: u32, fence_node: Option<Ref<Node>>) {
        self.header.fence_node.store(raw(fence_node), order::FILE);
        self.header.next.store(next, order::FILE);
    }
}

impl<D: Digest, const N: usize> fmt::Debug for Block<D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("shape", &self.header.shape()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The sizes that the drawing above promises.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn blocks_fill_their_lines() {
        assert_eq!(size_of::<LowBlock>(), 128);
        assert_eq!(size_of::<HighBlock>(), 384);
    }

    #[test]
    fn entries_stay_sorted_and_padded() {
        let block = LowBlock::new(None, 0);
        for hint in [5, 1, 3, 9, 7] {
            block.put_behind(block.guess(hint), hint, hint);
        }
        let hints: std::vec::Vec<_> = (1..=5).map(|index| block.hint(index)).collect();
        assert_eq!(hints, [1, 3, 5, 7, 9]);
        assert_eq!((block.handle(0), block.handle(3)), (0, 5));
        assert_eq!((block.guess(0), block.guess(4), block.guess(u32::MAX)), (0, 2, 5));
    }

    /// Every number of entries, and heads on both sides of each: in steps or counted, the rank is the same.
    fn ranks_are_counts<D: Digest, const N: usize>(digest: impl Fn(usize) -> D) {
        for count in 0..N {
            let block = Block::<D, N>::new(None, 0);
            (1..=count).for_each(|index| block.put_behind(index - 1, digest(2 * index), 7));
            for wanted in (0..=2 * N).map(&digest).chain([greatest()]) {
                let less = (1..=count).filter(|index| digest(2 * index) < wanted).count();
                let less_heads = (1..=count).filter(|index| digest(2 * index).parts().0 < wanted.parts().0).count();
                assert_eq!(block.rank_whole(wanted), less, "{wanted:?} among {count}");
                assert_eq!(block.rank(wanted.parts().0), less_heads, "{wanted:?} among {count}");
                let is_tied = (1..=count).any(|index| digest(2 * index) == wanted);
                assert_eq!(block.ties(wanted, count), (less, less + usize::from(is_tied)), "{wanted:?} among {count}");
                assert_eq!(
                    block.ties_by_tails(wanted, less_heads, count),
                    block.ties(wanted, count),
                    "{wanted:?} among {count}"
                );
                assert_eq!(
                    block.ties_unguessed(wanted.parts(), count),
                    block.ties(wanted, count),
                    "{wanted:?} among {count}"
                );
            }
        }
    }

    /// Hints that are the same, in runs of any length.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn ties_are_found_with_and_without_guesses() {
        for (count, run) in (0..HIGH).flat_map(|count| (1..=HIGH).map(move |run| (count, run))) {
            let block = HighBlock::new(None, 0);
            let hint = |index: usize| [index / run / 2, index / run];
            (1..=count).for_each(|index| block.put_behind(index - 1, hint(index), 7));
            for wanted in (0..=HIGH).map(hint).chain([greatest()]) {
                let less = (1..=count).filter(|&index| hint(index) < wanted).count();
                let ties = (1..=count).filter(|&index| hint(index) == wanted).count();
                assert_eq!(block.ties(wanted, count), (less, less + ties), "{wanted:?} among {count} in runs of {run}");
                assert_eq!(block.ties_unguessed(wanted.parts(), count), block.ties(wanted, count));
            }
        }
    }

    #[test]
    fn ranks() {
        ranks_are_counts::<Narrow, LOW>(|n| n as u32 * 1000);
        #[cfg(target_pointer_width = "64")]
        {
            ranks_are_counts::<Wide, HIGH>(|n| [n << 40, 0]);
            // Heads that tie in fives, and all of them.
            ranks_are_counts::<Wide, HIGH>(|n| [(n / 10) << 40, n]);
            ranks_are_counts::<Wide, HIGH>(|n| [usize::MAX, n]);
        }
    }

    #[test]
    fn a_taken_block_cannot_be_read_or_taken() {
        let block = LowBlock::new(None, 0);
        let before = block.header().begin();
        let taken = block.header().try_take::<false>();
        assert!(taken.is_some() && block.header().begin().is_none() && block.header().try_take::<false>().is_none());
        drop(taken);
        assert!(block.header().begin() > before);
    }
}
