//! Lanes: what is searched instead of the base level. They may lack nodes, lag behind or be missing altogether, and
//! no answer changes; only the walk along the base gets longer.
//!
//! ```text
//! lane 2   [ b0 ............ b5 ]                              entries name blocks of lane 1
//! lane 1   [ a0 . a1 . a2 ] ──> [ a3 . a4 ]                    entries name blocks of lane 0
//! lane 0   [ n0 n1 n2 ] ──> [ n3 n4 ] ──> [ n5 ... ] ──> ...   entries name nodes
//! base     head ─> n0 ─> n1 ─> n2 ─> n3 ─> n4 ─> n5 ─> ...
//! ```
//!
//! Descending, in pseudo code:
//!
//! ```text
//! block = first block of the topmost lane
//! loop:
//!     if the block's fence is not above the key: block = right neighbour          (a parent did not know it yet)
//!     else entry = last one before the key, by hints, ties by key
//!          if the lane is the lowest: return the entry's node
//!          block = the entry's block, one lane below
//! ```
//!
//! The real code differs in this: each look is checked against the block's version before it is acted on, and repeated a
//! few times if a writer was there; after that entry 0 will do, which is never wrong. And a tie whose key is the very one
//! looked for ends the search.
//!
//! Filing a new node in the lowest lane: take the block the descent ended in, if nobody has it; make sure *by handles or
//! keys* that the node belongs between two of its entries, or go right; put it there. A full block is split first, and
//! the upper lane told of the new half, best effort all along: every failure (block busy, no memory, not where it should
//! be) drops the work and is nobody's error.

use core::cmp::Ordering;

use crate::arena::{Arena, Handle, MAX_ALIGN, Writer, carve};
use crate::clock::SeqClock;
use crate::comparator::Comparator;
use crate::sync::{self, AtomicU32, AtomicUsize, order};

use super::block::{
    Arrival, Block, Digest, Glance, Header, HighBlock, Look, LowBlock, Place, Probe, Proof, Shape, Ties,
};
use super::node::{Node, Ref};
use super::split::Split;
use super::{Key, List, prefetch};

/// Looks at a block that writers keep changing, before entry 0 has to do.
const LOOKS: usize = if cfg!(loom) { 2 } else { 16 };
/// Attempts to take a block, before the work is dropped.
const TAKES: usize = if cfg!(loom) { 1 } else { 4 };
/// Steps to the right while filing, before the work is dropped.
const HOPS: usize = 8;

/// The first blocks of the lanes. Lane `n` of the table's levels is level `n + 1`, so the last place is not used.
#[derive(Debug)]
pub(super) struct Lanes<const H: usize> {
    tops: [AtomicU32; H],
    /// Lanes that have a first block.
    height: AtomicUsize,
}

impl<const H: usize> Lanes<H> {
    pub(super) fn new() -> Self {
        Self { tops: core::array::from_fn(|_| AtomicU32::new(0)), height: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn height(&self) -> usize {
        // With one level there is nothing here, and the compiler may know.
        if H == 1 { 0 } else { self.height.load(order::FOLLOW).min(H - 1) }
    }

    /// The first block of a lane, raw.
    #[inline]
    pub(super) fn top(&self, lane: usize) -> u32 {
        self.tops.get(lane).map_or(0, |top| top.load(order::FOLLOW))
    }
}

/// The blocks that a descent ended in, lane by lane, and where it found an entry that a parent lacks.
#[derive(Debug)]
pub(super) struct Trail<const H: usize> {
    blocks: [u32; H],
    /// The lowest lane in which the descent went right, and the block it came to.
    strayed: Option<(usize, u32)>,
}

impl<const H: usize> Trail<H> {
    pub(super) fn new() -> Self {
        Self { blocks: [0; H], strayed: None }
    }

    /// Where it has led.
    pub(super) fn lead(&self) -> Lead {
        let [low, above] = self.lowest();
        Lead { low, above }
    }

    /// The blocks of the two lowest lanes, raw.
    #[inline]
    pub(super) fn lowest(&self) -> [u32; 2] {
        [self.block(0), self.block(1)]
    }

    /// As if a descent had come by there in the two lowest lanes.
    #[inline]
    pub(super) fn pass_lowest(&mut self, [low, above]: [u32; 2]) {
        self.passed(0, low);
        self.passed(1, above);
    }

    /// The block of a lane, raw; 0 if no descent has come by.
    #[inline]
    pub(super) fn block(&self, lane: usize) -> u32 {
        self.blocks.get(lane).copied().unwrap_or(0)
    }
}

/// What a descent tells on its way.
pub(super) trait Recorder {
    fn passed(&mut self, lane: usize, block: u32);
    fn strayed(&mut self, lane: usize, to: u32);
    /// At which place in the lowest block the key is, or would be.
    #[inline]
    fn landed(&mut self, place: usize) {
        let _ = place;
    }
    /// That the key is the first under an entry of an upper block, or of the block to the right of that.
    #[inline]
    fn hit(&mut self, lane: usize, block: u32, place: usize) {
        let _ = (lane, block, place);
    }
}

impl Recorder for () {
    #[inline]
    fn passed(&mut self, _: usize, _: u32) {}
    #[inline]
    fn strayed(&mut self, _: usize, _: u32) {}
}

impl<const H: usize> Recorder for Trail<H> {
    #[inline]
    fn passed(&mut self, lane: usize, block: u32) {
        if let Some(place) = self.blocks.get_mut(lane) {
            *place = block;
        }
    }
    #[inline]
    fn strayed(&mut self, lane: usize, to: u32) {
        self.strayed = Some((lane, to));
    }
}

/// Where a key was found to belong by a search before: in this block of the lowest lane, under this one of the lane above, raw; 0 is
/// nowhere. It may be out of date or wrong, and costs time then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lead {
    pub(super) low: u32,
    pub(super) above: u32,
}

impl Lead {
    pub(crate) const NONE: Self = Self { low: 0, above: 0 };
}

/// The nodes between which a node was linked, where they are known; none is the head or the end.
pub(super) type Neighbours = Option<(Option<Ref<Node>>, Option<Ref<Node>>)>;

/// Where a descent ends.
pub(super) enum Landing {
    /// At the very key.
    Hit(Ref<Node>),
    /// Behind `start` (none: the head) and, as far as the lane knows, before `next`; how much of that is proven.
    Between { start: Option<Ref<Node>>, next: Option<Ref<Node>>, proof: Proof },
}

/// How a descent goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The node of this key, or where it would be.
    At,
    /// The last node before this key.
    Before,
}

/// A key on its way down.
pub(super) struct Target<'a, K: ?Sized, C, A, S, const H: usize> {
    pub(super) list: &'a List<K, C, A, S, H>,
    pub(super) key: &'a K,
    pub(super) goal: Goal,
    pub(super) trusts_hints: bool,
}

impl<K, C, A, S, const H: usize> Probe<K> for Target<'_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    #[inline]
    fn digest<D: Digest>(&self, skip: usize) -> D {
        D::of(&self.list.comparator, self.key, skip)
    }
    #[inline]
    fn head<D: Digest>(&self, skip: usize) -> D::Head {
        D::head(&self.list.comparator, self.key, skip)
    }
    #[inline]
    fn compare(&self, node: Ref<Node>) -> Ordering {
        self.list.compare(node, self.key)
    }
    #[inline]
    fn shares(&self, node: Ref<Node>, units: usize) -> bool {
        self.list.shares(node, self.key, units)
    }
    #[inline]
    fn trusts_hints(&self) -> bool {
        self.trusts_hints
    }
    #[inline]
    fn first_under(&self, lane: usize, entry: u32) -> Option<Ref<Node>> {
        self.list.first_under(lane, entry)
    }
    #[inline]
    fn prefetch(&self, lane: usize, entry: u32) {
        if let (Some(below), 1..) = (lane.checked_sub(1), entry) {
            self.list.prefetch_block(below, entry);
        }
    }
    #[inline]
    fn stops_at_equal(&self) -> bool {
        self.goal == Goal::At
    }
}

impl<K: ?Sized, C, A: Arena, S, const H: usize> List<K, C, A, S, H> {
    /// Whether it pays to ask for what will be needed.
    #[inline]
    pub(super) fn is_large(&self) -> bool {
        prefetch::EXISTS && self.lanes.height() >= prefetch::LARGE
    }

    /// Whether it pays to do so twice, or to search twice: a lane more.
    #[inline]
    pub(super) fn is_huge(&self) -> bool {
        prefetch::EXISTS && self.lanes.height() > prefetch::LARGE
    }

    /// A block of the lowest lane.
    #[inline]
    pub(super) fn low_block(&self, raw: u32) -> &LowBlock {
        // SAFETY: lane words hold handles of blocks of their lane, published with release and loaded with acquire.
        unsafe { self.object(Handle(raw)) }
    }

    /// A block of an upper lane.
    #[inline]
    pub(super) fn high_block(&self, raw: u32) -> &HighBlock {
        // SAFETY: lane words hold handles of blocks of their lane, published with release and loaded with acquire.
        unsafe { self.object(Handle(raw)) }
    }

    /// What a block of any lane begins with.
    #[inline]
    pub(super) fn block_header(&self, raw: u32) -> &Header {
        // SAFETY: all blocks begin with a header; published with release and loaded with acquire.
        unsafe { self.object(Handle(raw)) }
    }

    /// The node of the first key under an entry of a lane; none for the head, and for the 0 that a torn look into an upper
    /// block may show.
    #[inline]
    pub(super) fn first_under(&self, lane: usize, entry: u32) -> Option<Ref<Node>> {
        if lane == 0 {
            // SAFETY: entries of the lowest lane are nodes, loaded with acquire.
            unsafe { Ref::from_raw(entry) }
        } else if entry == 0 {
            None
        } else {
            self.block_header(entry).first()
        }
    }
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// From the topmost lane to a place in the base level.
    #[inline]
    pub(super) fn descend(&self, target: &Target<'_, K, C, A, S, H>, recorder: &mut impl Recorder) -> Landing {
        let Some(mut lane) = self.lanes.height().checked_sub(1) else {
            return Landing::Between { start: None, next: None, proof: Proof::NONE };
        };
        let mut at = self.lanes.top(lane);
        let mut arrival = Arrival::FromAbove;
        while lane > 0 {
            match Self::look(self.high_block(at), lane, target, arrival) {
                Look::Hit { node, place } => {
                    recorder.hit(lane, at, place.index());
                    return Landing::Hit(node);
                }
                Look::Right(to) => {
                    (at, arrival) = (to, Arrival::FromLeft);
                    recorder.strayed(lane, to);
                    self.prefetch_block(lane, at);
                }
                Look::Down { entry, .. } => {
                    recorder.passed(lane, at);
                    (at, arrival) = (entry, Arrival::FromAbove);
                    lane -= 1;
                    self.prefetch_block(lane, at);
                }
                Look::Torn => {}
            }
        }
        loop {
            recorder.passed(0, at);
            match Self::look(self.low_block(at), 0, target, arrival) {
                Look::Hit { node, place } => {
                    recorder.landed(place.index());
                    return Landing::Hit(node);
                }
                Look::Right(to) => {
                    (at, arrival) = (to, Arrival::FromLeft);
                    recorder.strayed(0, to);
                    self.prefetch_block(0, at);
                }
                Look::Down { entry, place, next, proof } => {
                    recorder.landed(place.index() + 1);
                    let (start, next) = (self.first_under(0, entry), self.first_under(0, next));
                    return Landing::Between { start, next, proof };
                }
                Look::Torn => {}
            }
        }
    }

    /// A look that is never torn.
    #[expect(clippy::inline_always, reason = "as a call, what it returns goes through memory: 30 cycles")]
    #[inline(always)]
    pub(super) fn look<D: Digest, const N: usize>(
        block: &Block<D, N>,
        lane: usize,
        target: &Target<'_, K, C, A, S, H>,
        arrival: Arrival,
    ) -> Look {
        match block.glance::<_, false>(lane, target, arrival) {
            Glance::Sure(look) => look,
            Glance::Tied(ties) => Self::look_among(block, lane, target, ties),
            Glance::Unsure => Self::look_closely(block, lane, target, arrival),
        }
    }

    /// Looks among the entries of an upper lane that tie.
    #[inline(never)]
    pub(super) fn look_among<D: Digest, const N: usize>(
        block: &Block<D, N>,
        lane: usize,
        target: &Target<'_, K, C, A, S, H>,
        ties: Ties,
    ) -> Look {
        block.ask_ahead(lane, target, ties);
        match block.bisect(lane, target, ties, 0) {
            Look::Torn => Self::look_closely(block, lane, target, Arrival::FromAbove),
            seen => seen,
        }
    }

    /// Looks until no writer is in the way; gives up after a few times and takes entry 0.
    #[inline(never)]
    pub(super) fn look_closely<D: Digest, const N: usize>(
        block: &Block<D, N>,
        lane: usize,
        target: &Target<'_, K, C, A, S, H>,
        arrival: Arrival,
    ) -> Look {
        for _ in 0..LOOKS {
            match block.look(lane, target, arrival) {
                Look::Torn => sync::spin(),
                seen => return seen,
            }
        }
        Look::Down { entry: block.handle(0), place: Place::of(0), next: 0, proof: Proof::NONE }
    }

    #[inline]
    pub(super) fn prefetch_block(&self, lane: usize, raw: u32) {
        // SAFETY: the handle of a block, from a lane word.
        let at = unsafe { self.at(Handle(raw)) };
        prefetch::lines(at.as_ptr(), if lane == 0 { LowBlock::HOT } else { HighBlock::HOT });
    }

    /// The last node that the lanes know, for a walk to the end.
    pub(super) fn descend_to_last(&self) -> Option<Ref<Node>> {
        let mut lane = self.lanes.height().checked_sub(1)?;
        let mut at = self.lanes.top(lane);
        loop {
            while let next @ 1.. = self.block_header(at).next() {
                at = next;
            }
            // A torn read still names some entry, and any will do.
            let entry = if lane == 0 { last_entry(self.low_block(at)) } else { last_entry(self.high_block(at)) };
            if lane == 0 {
                return self.first_under(0, entry);
            }
            (lane, at) = (lane - 1, entry);
        }
    }

    /// Files a node in the lowest lane. `trail` then leads to where it is; to nowhere if it could not be filed.
    pub(super) fn file_node<const ALONE: bool>(
        &self,
        writer: Writer<'_, ALONE>,
        node: Ref<Node>,
        neighbours: Neighbours,
        trail: &mut Trail<H>,
    ) {
        let shard = writer.number;
        if H == 1 || self.refuses_lanes() || !self.has_lane(shard, 0) {
            return trail.passed(0, 0);
        }
        let strayed = trail.strayed;
        if let Some(split) = self.file(Self::low_block, writer, 0, (node, node.handle().0), neighbours, trail) {
            self.tell_above(writer.as_one_of_many(), 0, split, trail);
        }
        if let Some((lane, right)) = strayed {
            // The lane above lacks this block: it could have been reached from there.
            if let (true, Some(first)) = (lane + 1 < self.lanes.height(), self.block_header(right).first()) {
                self.tell_above(writer.as_one_of_many(), lane, Split { first, right, has_entry: false }, trail);
            }
        }
    }

    /// Files a new block of a lane in the one above, and what that splits in the one above that. A loop, so that the stack does not grow
    /// with the table.
    #[inline(never)]
    pub(super) fn tell_above(&self, writer: Writer<'_>, mut lane: usize, split: Split, trail: &mut Trail<H>) {
        let mut untold = Some(split);
        while let Some(Split { first, right, .. }) = untold {
            lane += 1;
            if lane + 1 >= H || !self.has_lane(writer.number, lane) {
                return;
            }
            if trail.block(lane) == 0 {
                // The writer came by its finger, which does not lead so far up.
                let mut way = Trail::<H>::new();
                self.retrace(first, &mut way);
                (lane..H).for_each(|lane| trail.passed(lane, way.block(lane)));
            }
            untold = self.file(Self::high_block, writer, lane, (first, right), None, trail);
        }
    }

    /// Files a node that was left out, also if the trail leads nowhere.
    pub(super) fn file_later(&self, writer: Writer<'_>, node: Ref<Node>, neighbours: Neighbours, trail: &mut Trail<H>) {
        if trail.block(0) == 0 {
            self.retrace(node, trail);
        }
        self.file_node(writer, node, neighbours, trail);
    }

    /// Finds the blocks that a node belongs in.
    fn retrace(&self, node: Ref<Node>, trail: &mut Trail<H>) {
        let target = Target { list: self, key: self.key(node), goal: Goal::Before, trusts_hints: true };
        let (Landing::Hit(_) | Landing::Between { .. }) = self.descend(&target, trail);
    }

    /// Makes sure that a lane has its first block.
    #[inline]
    pub(super) fn has_lane(&self, shard: usize, lane: usize) -> bool {
        self.lanes.top(lane) != 0 || (lane + 1 < H && self.add_lane(shard, lane))
    }

    /// Gives a lane its first block, which begins at the head of the list.
    #[cold]
    fn add_lane(&self, shard: usize, lane: usize) -> bool {
        let block = if lane == 0 {
            self.new_block(shard, LowBlock::new(None, 0))
        } else {
            self.new_block(shard, HighBlock::new(None, self.lanes.top(lane - 1)))
        };
        let (Some(block), Some(top)) = (block, self.lanes.tops.get(lane)) else { return false };
        // A loser leaves a few lines unused; this happens once per lane.
        let _ = top.compare_exchange(0, block, order::LINK, order::PLAIN);
        self.lanes.height.fetch_max(lane + 1, order::LINK);
        true
    }

    /// Publishes nothing yet: puts a block into the arena, if there is room and lanes may have it.
    pub(super) fn new_block<B>(&self, shard: usize, block: B) -> Option<u32> {
        let handle = carve(&self.arena, shard, size_of::<B>(), align_of::<B>().min(MAX_ALIGN), self.lane_limit)?;
        // SAFETY: just allocated.
        let at = unsafe { self.at(handle) };
        // SAFETY: the block is ours, large enough and aligned.
        unsafe { at.cast::<B>().write(block) };
        Some(handle.0)
    }

    /// Files an entry (the node of its key, its handle) in a lane. `trail` then leads to where it is; to nowhere if it could not
    /// be filed.
    fn file<'a, D: Digest + 'a, const N: usize, const ALONE: bool>(
        &'a self,
        block_at: fn(&'a Self, u32) -> &'a Block<D, N>,
        writer: Writer<'_, ALONE>,
        lane: usize,
        (node, entry): (Ref<Node>, u32),
        neighbours: Neighbours,
        trail: &mut Trail<H>,
    ) -> Option<Split> {
        let key = self.key(node);
        let mut at = match trail.block(lane) {
            0 => self.lanes.top(lane),
            block => block,
        };
        trail.passed(lane, 0);
        for _ in 0..HOPS {
            let block = block_at(self, at);
            let taken = (0..TAKES).find_map(|_| {
                let taken = block.header().try_take::<ALONE>();
                if taken.is_none() {
                    sync::spin();
                }
                taken
            })?;
            match self.place(block, lane, key, entry, neighbours) {
                Filing::Right => at = block.header().next(),
                Filing::Nowhere => return None,
                Filing::Behind(index) => {
                    let split = self.put(writer.number, lane, (block, taken), index, (key, node, entry));
                    let right = split.as_ref().filter(|split| split.has_entry).map(|split| split.right);
                    trail.passed(lane, right.unwrap_or(at));
                    return split;
                }
            }
        }
        None
    }

    /// Where in a taken block a key belongs: by handles or keys, never by hints alone, which say nothing about a key
    /// outside the block's range.
    #[expect(
        clippy::inline_always,
        reason = "both kinds of writers have it in their own code: as a call it is a tenth of a write"
    )]
    #[inline(always)]
    fn place<D: Digest, const N: usize>(
        &self,
        block: &Block<D, N>,
        lane: usize,
        key: &K,
        entry: u32,
        neighbours: Neighbours,
    ) -> Filing {
        let Shape { count, skip } = block.header().shape();
        let key_of = |index: usize| {
            if index == 0 { block.header().first() } else { self.first_under(lane, block.handle(index)) }
        };
        let after = |index: usize| if index < count { key_of(index + 1) } else { block.header().fence_node() };
        let is_between = |index: usize, (pred, succ)| key_of(index) == pred && after(index) == succ;
        // The cheapest case is an ascending load's: behind them all.
        if neighbours.is_some_and(|neighbours| is_between(count, neighbours)) {
            return Filing::Behind(count);
        }
        let index = block.guess(D::of(&self.comparator, key, skip));
        // The cheap case: the node was linked between the very nodes of two neighbouring entries.
        if let Some(neighbours) = neighbours {
            let is_it = |index: &usize| is_between(*index, neighbours);
            // Where hints tie they point at the first of many; the others are compared by handle, which touches no key.
            let index = Some(index).filter(is_it).or_else(|| (0..=count).rev().find(is_it));
            if let Some(index) = index {
                return Filing::Behind(index);
            }
        }
        let is_before = |node: Option<Ref<Node>>| node.is_none_or(|node| self.compare(node, key) == Ordering::Less);
        let is_after = |node: Option<Ref<Node>>| node.is_none_or(|node| self.compare(node, key) == Ordering::Greater);
        if index > 0 && block.handle(index) == entry || index < count && block.handle(index + 1) == entry {
            return Filing::Nowhere;
        }
        if is_before(key_of(index)) && is_after(after(index)) {
            return Filing::Behind(index);
        }
        if !is_after(block.header().fence_node()) {
            return Filing::Right;
        }
        if !is_before(key_of(0)) {
            return Filing::Nowhere;
        }
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if is_before(key_of(middle)) { low = middle } else { high = middle - 1 }
        }
        // Filed already, or not where a total order would have it.
        if is_after(after(low)) { Filing::Behind(low) } else { Filing::Nowhere }
    }
}

/// Where an entry belongs, seen from a block.
enum Filing {
    Behind(usize),
    Right,
    /// Not here, or here already.
    Nowhere,
}

#[inline]
fn last_entry<D: Digest, const N: usize>(block: &Block<D, N>) -> u32 {
    let count = block.header().shape().count;
    // A block that is being split may show an entry that is gone; entry 0 always is there.
    match block.handle(count) {
        0 => block.handle(0),
        entry => entry,
    }
}
