//! Walking with foresight: the lanes know the next dozen nodes and blocks, so their lines can be asked for together instead of
//! one after the other, and they know which node is the one before.
//!
//! ```text
//!              a walk back                                     a walk forward
//!
//! block        far     left    the walk's           node       at    ...    turn    ...    later
//! asked for    lines   nodes   nodes (all here)     asked for  ───────── all up to ─────────^   and the lines of the next block
//! ```
//!
//! Forward, a few nodes are asked for at a time: when the walk comes to `turn`, `later` becomes that, and some more are asked for,
//! each time more than before. So a walk of ten entries asks for few that it does not come to (each costs a third of one that it
//! does). `turn` lies ahead, and is met, since it is in the base level. (Where a split comes in between two looks at a block it may lie
//! behind; then the walk goes on unaided, and so it does once the lane has ended.) A long walk asks twice, an outer cache first, and
//! goes by the lane above to have the blocks in time.
//!
//! Blocks have links to the right only; to the left leads the entry before in the block above, the parent.
//!
//! A scout only guesses. What it says of a predecessor is checked in the base level, and lanes that lag or change cost a search,
//! never an entry.

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::{Arrival, Digest, Look, Narrow};
use super::lane::{Goal, Landing, Recorder, Target, Trail};
use super::node::{Node, NodeRef, Ref, raw};
use super::prefetch::{self, Cache};
use super::search::{Found, Gap};
use super::{Key, List};

/// Nodes that a step back walks over to the one before, if the lowest lane lacks them. Sparse lanes leave gaps of one or two.
const REACH: usize = 8;

/// Whether walks back go by the block above. It is a kilobyte of code, and where addresses have 32 bits a search is cheap.
const PARENTS: bool = cfg!(target_pointer_width = "64");

/// Nodes that a search asks for from where it lands.
const NEAR: usize = 8;
/// Nodes that a walk forward then asks for at a time, at first; until the lane ends it has as many ahead of it. And how many more it
/// asks for each time, up to `NEAR`.
const STRIDE: u8 = 4;
/// The stride from which on a walk is a long one: after some seventy entries.
const LONG: u8 = 40;
/// Nodes that a long walk then asks an outer cache for, so that it has 24 on their way there when it asks the first for eight.
const FAR: usize = 32;
/// Blocks that it has on their way ahead of those nodes.
const LEAD: usize = 3;

/// Whether usual steps have code of their own, which is for speed alone.
const STRAIGHT: bool = cfg!(target_pointer_width = "64");

/// Where in the lowest lane a walk is, as far as it knows. Blocks are raw handles, 0 if not known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scout {
    heading: Heading,
    /// Of a walk back: so many entries of the block, entry 0 included, are before it.
    before: u8,
    /// Of a walk forward: how many nodes are asked for next, or, of a long one, that it is that.
    stride: u8,
    /// The block the walk is in; of a walk forward, where the last node is for which the first cache was asked.
    near: Spot,
    /// Of a long walk forward: the last node for which an outer cache was asked.
    ahead: Spot,
    /// In the lane above: of a walk back, `far`; of a long walk forward, the last block that was asked for.
    above: Spot,
    /// Of a walk forward: the node at which more are to be asked for.
    turn: Option<Ref<Node>>,
    /// Of a walk forward: the last node for which the first cache was asked.
    later: Option<Ref<Node>>,
    /// Of a walk back: the blocks to the left.
    left: u32,
    far: u32,
}

/// A block and one of its entries.
#[derive(Clone, Copy, Debug)]
struct Spot {
    block: u32,
    place: u8,
}

impl Spot {
    const NOWHERE: Self = Self::first_in(0);

    const fn first_in(block: u32) -> Self {
        Self { block, place: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Heading {
    /// Not known: the next step sets out.
    Unknown,
    Forward,
    Backward,
}

impl Scout {
    /// Goes along with a [straight step back](List::step_straight_back).
    #[inline]
    pub(crate) fn follow_back(&mut self) {
        self.before -= 1;
    }

    /// Knows nothing.
    pub(crate) const fn new() -> Self {
        let (near, ahead, above) = (Spot::NOWHERE, Spot::NOWHERE, Spot::NOWHERE);
        let (turn, later) = (None, None);
        Self { heading: Heading::Unknown, before: 0, stride: 0, near, ahead, above, turn, later, left: 0, far: 0 }
    }
}

/// A search whose walk goes on from where it lands: asks for the nodes there before any of them is waited for.
struct Seeker<'a, K: ?Sized, C, A, S, const H: usize> {
    list: &'a List<K, C, A, S, H>,
    key: &'a K,
    goal: Goal,
    parent: u32,
    block: u32,
    /// The entry that seems to be the last before the key.
    entry: u8,
}

impl<K: ?Sized, C, A, S, const H: usize> Seeker<'_, K, C, A, S, H> {
    /// What it has come by.
    fn scout(&self) -> Scout {
        Scout { near: Spot::first_in(self.block), above: Spot::first_in(self.parent), ..Scout::new() }
    }
}

impl<K, C, A, S, const H: usize> Recorder for Seeker<'_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    #[inline]
    fn passed(&mut self, lane: usize, block: u32) {
        match lane {
            0 => {
                self.block = block;
                if self.list.is_large() {
                    self.entry = self.list.look_around(block, self.key, self.goal);
                }
            }
            1 => self.parent = block,
            _ => {}
        }
    }
    #[inline]
    fn strayed(&mut self, _: usize, _: u32) {}
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Finds a key, or where it would be, for a walk forward from there.
    #[inline]
    pub(super) fn seek(&self, key: &K, scout: &mut Scout) -> Found {
        let mut seeker = Seeker { list: self, key, goal: Goal::At, parent: 0, block: 0, entry: 0 };
        let found = self.find(key, &mut seeker);
        *scout = seeker.scout();
        if !self.is_large() {
            // There is nothing to set out for.
            scout.heading = Heading::Forward;
        } else if let Some(at) = found.node_or_next() {
            self.set_out_from(scout, at, usize::from(seeker.entry));
        }
        found
    }

    /// Begins to walk forward at the node to which a search has led, if that is the one for which it has asked first.
    #[inline(never)]
    fn set_out_from(&self, scout: &mut Scout, at: Ref<Node>, entry: usize) {
        if scout.near.block == 0 {
            return;
        }
        let block = self.low_block(scout.near.block);
        let here = entry + 1;
        if self.first_under(0, block.handle(here)) == Some(at) {
            let last = (here + NEAR).min(block.header().shape().count).max(here);
            scout.near.place = last as u8;
            let asked = last - here;
            self.ask_first(scout, self.first_under(0, block.handle(last)).filter(|_| asked > 0), NEAR - asked);
        }
    }

    /// Asks for what a walk needs when it begins: `count` nodes up to the turn, or else that turn, and some behind it.
    #[inline]
    fn ask_first(&self, scout: &mut Scout, turn: Option<Ref<Node>>, count: usize) {
        scout.heading = Heading::Forward;
        scout.turn = self.ask_on(&mut scout.near, count, Cache::First, None).or(turn);
        scout.later = self.ask_on(&mut scout.near, usize::from(STRIDE), Cache::First, None);
        scout.stride = STRIDE;
    }

    /// Finds a key, or where it would be (with `Before`: the gap before it, in any case), for a walk back from there.
    pub(super) fn seek_back(&self, key: &K, goal: Goal, scout: &mut Scout) -> Found {
        let mut seeker = Seeker { list: self, key, goal: Goal::Before, parent: 0, block: 0, entry: 0 };
        let found = match goal {
            Goal::At => self.find(key, &mut seeker),
            Goal::Before => Found::Gap(self.find_before(key, &mut seeker)),
        };
        *scout = seeker.scout();
        self.set_out_back(
            scout,
            key,
            match found {
                Found::Node(node) => Some(node),
                Found::Gap(gap) => gap.pred,
            },
        );
        found
    }

    /// Asks for the nodes of a block at a key's place, in the direction of the walk, and for the block behind them. Returns the
    /// entry before that place.
    #[inline(never)]
    fn look_around(&self, block: u32, key: &K, goal: Goal) -> u8 {
        let low = self.low_block(block);
        let header = low.header();
        let shape = header.shape();
        let entry = low.guess(Narrow::of(&self.comparator, key, shape.skip));
        if goal == Goal::Before {
            self.prefetch_nodes(block, 0, entry);
        } else {
            // The block first: the way on leads through it.
            let next = header.next();
            if next != 0 && shape.count < entry + 1 + NEAR + usize::from(STRIDE) {
                self.prefetch_block(0, next);
            }
            self.prefetch_nodes(block, entry, (entry + 1 + NEAR).min(shape.count));
        }
        entry as u8
    }

    /// The node behind another, if a scout has nothing to do on the way: the usual step.
    #[inline]
    pub(super) fn step_straight(scout: &Scout, node: NodeRef<'_>) -> Option<Ref<Node>> {
        let next = node.header().next.follow()?;
        (STRAIGHT && scout.heading == Heading::Forward && scout.turn != Some(next)).then_some(next)
    }

    /// The node behind `at`, which is `node`, with the ones that follow on their way.
    #[inline]
    pub(super) fn step_forward(&self, scout: &mut Scout, at: Ref<Node>, node: NodeRef<'_>) -> Option<Ref<Node>> {
        let next = node.header().next.follow();
        let goes_straight = scout.heading == Heading::Forward && (scout.turn != next || next.is_none());
        if !goes_straight {
            self.turn_forward(scout, at, next);
        }
        next
    }

    /// What a walk forward does every few steps: sets out, or asks for more.
    #[inline(never)]
    fn turn_forward(&self, scout: &mut Scout, at: Ref<Node>, next: Option<Ref<Node>>) {
        if scout.heading != Heading::Forward {
            self.set_out(scout, at);
        }
        if prefetch::EXISTS && scout.turn.is_some() && scout.turn == next {
            self.look_ahead(scout);
        }
    }

    /// Begins to walk forward: finds its place in the lowest lane, and asks for what follows.
    fn set_out(&self, scout: &mut Scout, at: Ref<Node>) {
        *scout = Scout { heading: Heading::Forward, near: scout.near, above: scout.above, ..Scout::new() };
        if !self.is_large() {
            return;
        }
        if self.find_in_block(scout, Some(at)) {
            return self.ask_first(scout, None, NEAR);
        }
        // It begins another block, or is not filed. Then the entry before will do.
        let mut trail = Trail::<H>::new();
        let target = Target { list: self, key: self.key(at), goal: Goal::Before, trusts_hints: true };
        if let Landing::Between { start, .. } = self.descend(&target, &mut trail) {
            scout.near = Spot::first_in(trail.block(0));
            scout.above = Spot::first_in(trail.block(1));
            if self.find_in_block(scout, start) {
                return self.ask_first(scout, None, NEAR + 1);
            }
        }
        // A writer was in the way. The next step tries again, for the price of a descent.
        *scout = Scout::new();
    }

    /// Where a node is in the walk's block, if it is there.
    fn find_in_block(&self, scout: &mut Scout, node: Option<Ref<Node>>) -> bool {
        if scout.near.block == 0 {
            return false;
        }
        let place = self.low_block(scout.near.block).place_of(raw(node));
        scout.near.place = place.unwrap_or(0) as u8;
        place.is_some()
    }

    /// Asks for a few nodes more, once the walk has come to `turn`.
    fn look_ahead(&self, scout: &mut Scout) {
        scout.turn = scout.later;
        if scout.later.is_some() {
            if !self.find_in_block(scout, scout.later) {
                // The block was split. The next step sets out anew.
                *scout = Scout::new();
                return;
            }
            scout.later = if scout.stride < LONG {
                let count = usize::from(scout.stride).min(NEAR);
                scout.stride += STRIDE;
                self.ask_on(&mut scout.near, count, Cache::First, None)
            } else {
                self.ask_far(scout);
                self.ask_on(&mut scout.near, NEAR, Cache::First, None)
            };
        }
    }

    /// Asks for nodes that a long walk comes to later still, and for the blocks that know those. A chain of blocks is as slow as one
    /// of nodes; so it goes by the lane above, which knows a dozen at once.
    fn ask_far(&self, scout: &mut Scout) {
        let mut count = NEAR;
        if scout.ahead.block == 0 {
            if !self.is_huge() {
                return;
            }
            scout.ahead = scout.near;
            self.find_above(scout);
            count = FAR;
        }
        let above = Some(&mut scout.above).filter(|above| above.block != 0);
        self.ask_on(&mut scout.ahead, count, Cache::Outer, above);
    }

    /// Finds the block that a long walk has come to in the lane above, at or a little behind where it was when the walk began.
    fn find_above(&self, scout: &mut Scout) {
        /// Parents that the entries up to there can lie in.
        const PASSED: usize = 3;
        let mut at = scout.above.block;
        scout.above = Spot::NOWHERE;
        for _ in 0..PASSED {
            if at == 0 {
                return;
            }
            let parent = self.high_block(at);
            if let Some(place) = parent.place_of(scout.ahead.block) {
                scout.above = Spot { block: at, place: place as u8 };
                return (0..LEAD).for_each(|_| self.ask_block(&mut scout.above));
            }
            at = parent.header().next();
        }
    }

    /// Asks for the block behind a place in the lane above the lowest, which moves on with it.
    fn ask_block(&self, from: &mut Spot) {
        let mut parent = self.high_block(from.block);
        let count = parent.header().shape().count as u8;
        if from.place < count {
            from.place += 1;
        } else {
            let next = parent.header().next();
            if next == 0 {
                return;
            }
            parent = self.high_block(next);
            // Entry 0, unless the parent was split.
            let place = (from.place - count).min(parent.header().shape().count as u8);
            *from = Spot { block: next, place };
            if let after @ 1.. = parent.header().next() {
                self.prefetch_block(1, after);
            }
        }
        let block = parent.handle(usize::from(from.place));
        if block != 0 {
            self.prefetch_block(0, block);
        }
    }

    /// Asks for up to `count` nodes behind a place in the lowest lane, which moves on with them, and for a block with every block it
    /// comes to: the next one that `above` knows, or its neighbour. Returns the last of the nodes.
    fn ask_on(&self, from: &mut Spot, count: usize, cache: Cache, mut above: Option<&mut Spot>) -> Option<Ref<Node>> {
        let mut last = None;
        let mut low = self.low_block(from.block);
        let mut entries = low.header().shape().count;
        for _ in 0..count {
            if usize::from(from.place) < entries {
                from.place += 1;
            } else {
                let next = low.header().next();
                if next == 0 {
                    break;
                }
                *from = Spot::first_in(next);
                low = self.low_block(next);
                entries = low.header().shape().count;
                if let Some(above) = above.as_deref_mut() {
                    // Blocks that were split behind it have it fall back.
                    let is_behind = self.high_block(above.block).handle(usize::from(above.place)) == next;
                    (0..if is_behind { LEAD } else { 1 }).for_each(|_| self.ask_block(above));
                } else if let after @ 1.. = low.header().next() {
                    self.prefetch_block(0, after);
                }
            }
            let Some(node) = self.first_under(0, low.handle(usize::from(from.place))) else { break };
            prefetch::start(self.node(node).address(), cache);
            last = Some(node);
        }
        last
    }

    /// Whether a walk forward that has come to a node will be told when to ask for more, for tests.
    #[cfg(all(test, feature = "std", not(any(loom, shuttle)), any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn looks_ahead(&self, scout: &Scout, at: &K) -> bool {
        match scout.heading {
            // The next step sets out.
            Heading::Unknown => true,
            Heading::Forward => scout.turn.is_some_and(|turn| self.compare(turn, at).is_gt()),
            Heading::Backward => false,
        }
    }

    /// Of a long walk forward, for tests: how many blocks lie from the last node asked for near by to the last far ahead, and from there
    /// to the last block asked for.
    #[cfg(all(test, feature = "std", not(any(loom, shuttle)), any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn blocks_ahead(&self, scout: &Scout) -> Option<(usize, usize)> {
        let steps = |from: u32, to: u32| {
            let behind = |at: &u32| Some(self.block_header(*at).next()).filter(|next| *next != 0);
            core::iter::successors(Some(from), behind).take(30).position(|block| block == to)
        };
        let last =
            self.high_block(Some(scout.above.block).filter(|above| *above != 0)?).handle(scout.above.place.into());
        Some((steps(scout.near.block, scout.ahead.block)?, steps(scout.ahead.block, last)?))
    }

    /// Asks for the nodes of a block, from one entry to another.
    #[inline]
    fn prefetch_nodes(&self, block: u32, from: usize, to: usize) {
        for handle in self.low_block(block).handles(from, to) {
            if let Some(node) = self.first_under(0, handle) {
                self.prefetch_node(node);
            }
        }
    }

    /// The node before another, if the block that the walk is in knows it: the usual step.
    #[inline]
    pub(super) fn step_straight_back(&self, scout: &Scout, at: Ref<Node>) -> Option<(Ref<Node>, NodeRef<'_>)> {
        let before = scout.before.checked_sub(1).filter(|_| STRAIGHT && scout.heading == Heading::Backward)?;
        let entry = self.first_under(0, self.low_block(scout.near.block).handle(usize::from(before)))?;
        let node = self.node(entry);
        (node.header().next.follow() == Some(at)).then_some((entry, node))
    }

    /// The node before `at`, by the lanes if they know, else by a search.
    pub(super) fn step_back(&self, scout: &mut Scout, at: Ref<Node>) -> Option<Ref<Node>> {
        if scout.heading == Heading::Backward {
            if scout.before == 0 && scout.left != 0 {
                self.enter_left(scout);
            }
            if let Some(entry) = scout.before.checked_sub(1) {
                let entry = self.first_under(0, self.low_block(scout.near.block).handle(usize::from(entry)));
                if let Some(Gap { pred, .. }) = self.last_before(entry, at) {
                    scout.before -= u8::from(pred == entry);
                    return pred;
                }
            }
        }
        match self.seek_back(self.key(at), Goal::Before, scout) {
            Found::Gap(gap) if gap.succ == Some(at) => gap.pred,
            _ => None,
        }
    }

    /// The node before `at`, in a short walk from a node that should not be far (none: the head).
    #[inline]
    fn last_before(&self, start: Option<Ref<Node>>, at: Ref<Node>) -> Option<Gap> {
        let mut pred = start;
        for steps in 0..REACH {
            let next = self.next_link(pred).follow()?;
            if next == at {
                return Some(Gap { pred, succ: Some(at), start, steps });
            }
            pred = Some(next);
        }
        None
    }

    /// Begins to walk back at a node to which a search for a key has led: the key's, or the one before.
    fn set_out_back(&self, scout: &mut Scout, key: &K, at: Option<Ref<Node>>) {
        if scout.near.block == 0 {
            return;
        }
        let block = self.low_block(scout.near.block);
        let entry = block.guess(Narrow::of(&self.comparator, key, block.header().shape().skip));
        let is_at = self.first_under(0, block.handle(entry)) == at;
        scout.heading = Heading::Backward;
        scout.before = entry as u8 + u8::from(!is_at);
        self.find_in_parent(scout, scout.near.block);
        scout.left = self.take_left(scout);
        if scout.left != 0 {
            self.ask_left(scout);
        }
    }

    /// Into the block to the left: its nodes are on their way already.
    fn enter_left(&self, scout: &mut Scout) {
        scout.near.block = scout.left;
        scout.left = scout.far;
        if scout.left != 0 {
            self.ask_left(scout);
        }
        scout.before = self.low_block(scout.near.block).header().shape().count as u8 + 1;
    }

    /// Asks for the nodes of the block to the left, and for the block to the left of that.
    fn ask_left(&self, scout: &mut Scout) {
        if self.is_large() {
            self.prefetch_nodes(scout.left, 0, self.low_block(scout.left).header().shape().count);
        }
        scout.far = self.take_left(scout);
    }

    /// The block to the left of those that are known, on its way; 0 if there is none, or the lanes do not tell.
    fn take_left(&self, scout: &mut Scout) -> u32 {
        if !PARENTS || scout.above.block == 0 {
            return 0;
        }
        if scout.above.place == 0 {
            self.leave_parent(scout);
            if scout.above.block == 0 {
                return 0;
            }
        } else {
            scout.above.place -= 1;
        }
        let left = self.high_block(scout.above.block).handle(usize::from(scout.above.place));
        if left != 0 {
            self.prefetch_block(0, left);
        }
        left
    }

    /// Where a block is among the entries of its parent, if that has it.
    fn find_in_parent(&self, scout: &mut Scout, block: u32) {
        if !PARENTS || scout.above.block == 0 {
            return;
        }
        match self.high_block(scout.above.block).place_of(block) {
            Some(place) => scout.above.place = place as u8,
            None => scout.above.block = 0,
        }
    }

    /// To the last entry of the parent's left neighbour, by a search in the lanes above; to none if a writer is in the way.
    #[cold]
    fn leave_parent(&self, scout: &mut Scout) {
        let first = self.block_header(core::mem::take(&mut scout.above.block)).first();
        let (Some(first), Some(mut lane)) = (first, self.lanes.height().checked_sub(1)) else { return };
        let target = Target { list: self, key: self.key(first), goal: Goal::Before, trusts_hints: true };
        let mut at = self.lanes.top(lane);
        let mut arrival = Arrival::FromAbove;
        while lane > 0 {
            match self.high_block(at).look(lane, &target, arrival) {
                Look::Right(to) => (at, arrival) = (to, Arrival::FromLeft),
                Look::Down { entry, .. } if lane == 1 => {
                    scout.above.block = at;
                    return self.find_in_parent(scout, entry);
                }
                Look::Down { entry, .. } => (lane, at, arrival) = (lane - 1, entry, Arrival::FromAbove),
                Look::Hit(_) | Look::Torn => return,
            }
            self.prefetch_block(lane, at);
        }
    }
}
