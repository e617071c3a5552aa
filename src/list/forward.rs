//! Walking forward: along the links, and asking for what the lanes say comes next.
//!
//! ```text
//! node       at    ...    turn    ...    later
//! asked for  ───────── all up to ─────────^   and the lines of the next block
//! ```
//!
//! A few nodes are asked for at a time: when the walk comes to `turn`, `later` becomes that, and some more are asked for, each time
//! more than before. So a walk of ten entries asks for few that it does not come to (each costs a third of one that it does). `turn`
//! lies ahead, and is met, since it is in the base level. (Where a split comes in between two looks at a block it may lie behind; then
//! the walk goes on unaided, and so it does once the lane has ended.) A long walk asks twice, an outer cache first, and goes by the lane
//! above to have the blocks in time.

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::lane::{Goal, Landing, Target, Trail};
use super::node::{Node, NodeRef, Ref};
use super::prefetch::{self, Cache};
use super::scout::{Heading, NEAR, STRAIGHT, STRIDE, Scout, Seeker, Spot};
use super::search::Found;
use super::{Key, List};

/// The stride from which on a walk is a long one: after some seventy entries.
const LONG: u32 = 40;
/// Nodes that a long walk then asks an outer cache for, so that it has 24 on their way there when it asks the first for eight.
const FAR: usize = 32;
/// Blocks that it has on their way ahead of those nodes.
const LEAD: usize = 3;

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
        let mut seeker = Seeker::new(self, key, Goal::At);
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
        let (count, here) = (block.header().shape().count, entry + 1);
        if here <= count && self.first_under(0, block.handle(here)) == Some(at) {
            let last = (here + NEAR).min(count);
            let asked = last - here;
            scout.near.place = last as u32;
            self.ask_first(scout, self.first_under(0, block.handle(last)).filter(|_| asked > 0), NEAR - asked);
        }
    }

    /// Asks for what a walk needs when it begins: `count` nodes up to the turn, or else that turn, and some behind it.
    #[inline]
    fn ask_first(&self, scout: &mut Scout, turn: Option<Ref<Node>>, count: usize) {
        scout.heading = Heading::Forward;
        scout.turn = self.ask_on(&mut scout.near, count, Cache::First, None).or(turn);
        scout.later = self.ask_on(&mut scout.near, STRIDE, Cache::First, None);
        scout.stride = STRIDE as u32;
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
        if let Some(spot) = self.spot_near(scout.near.block, at) {
            scout.near = spot;
            return self.ask_first(scout, None, NEAR);
        }
        // It is not filed, or its block is not known. Then the entry before will do.
        let mut trail = Trail::<H>::new();
        let target = Target { list: self, key: self.key(at), goal: Goal::Before, trusts_hints: true };
        if let Landing::Between { start, .. } = self.descend(&target, &mut trail) {
            scout.above = Spot::first_in(trail.block(1));
            if let Some(spot) = self.spot_in(trail.block(0), start) {
                scout.near = spot;
                return self.ask_first(scout, None, NEAR + 1);
            }
        }
        // A writer was in the way. The next step tries again, for the price of a descent.
        *scout = Scout::new();
    }

    /// Finds a node in a block, or at the beginning of the next.
    fn spot_near(&self, block: u32, node: Ref<Node>) -> Option<Spot> {
        self.spot_in(block, Some(node)).or_else(|| {
            let next = if block == 0 { 0 } else { self.block_header(block).next() };
            let begins_next = next != 0 && self.first_under(0, self.low_block(next).handle(0)) == Some(node);
            begins_next.then_some(Spot::first_in(next))
        })
    }

    /// Asks for a few nodes more, once the walk has come to `turn`.
    fn look_ahead(&self, scout: &mut Scout) {
        scout.turn = scout.later;
        if scout.later.is_some() {
            let Some(spot) = self.spot_again(scout.near, scout.later) else {
                // The block was split. The next step sets out anew.
                *scout = Scout::new();
                return;
            };
            scout.near = spot;
            scout.later = if scout.stride < LONG {
                let count = (scout.stride as usize).min(NEAR);
                scout.stride += STRIDE as u32;
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
                scout.above = Spot { block: at, place: place as u32 };
                return (0..LEAD).for_each(|_| self.ask_block(&mut scout.above));
            }
            at = parent.header().next();
        }
    }

    /// Asks for the block behind a place in the lane above the lowest, which moves on with it.
    fn ask_block(&self, from: &mut Spot) {
        let mut parent = self.high_block(from.block);
        let count = parent.header().shape().count as u32;
        if from.place < count {
            from.place += 1;
        } else {
            let next = parent.header().next();
            if next == 0 {
                return;
            }
            parent = self.high_block(next);
            // Entry 0, unless the parent was split.
            let place = (from.place - count).min(parent.header().shape().count as u32);
            *from = Spot { block: next, place };
            if let after @ 1.. = parent.header().next() {
                self.prefetch_block(1, after);
            }
        }
        let block = parent.handle(from.place as usize);
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
            if (from.place as usize) < entries {
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
                    let is_behind = self.high_block(above.block).handle(above.place as usize) == next;
                    (0..if is_behind { LEAD } else { 1 }).for_each(|_| self.ask_block(above));
                } else if let after @ 1.. = low.header().next() {
                    self.prefetch_block(0, after);
                }
            }
            let Some(node) = self.first_under(0, low.handle(from.place as usize)) else { break };
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
            self.high_block(Some(scout.above.block).filter(|above| *above != 0)?).handle(scout.above.place as usize);
        Some((steps(scout.near.block, scout.ahead.block)?, steps(scout.ahead.block, last)?))
    }
}
