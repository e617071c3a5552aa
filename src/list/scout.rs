//! Walking with foresight: the lowest lane knows the next dozen nodes, so their lines can be asked for together instead of one
//! after the other, and it knows which node is the one before.
//!
//! A scout only guesses. What it says of a predecessor is checked in the base level, and a lane that lags costs a search, never
//! an entry.

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::lane::{Goal, Landing, Recorder, Target};
use super::node::{Node, Ref};
use super::{Key, List};

/// Where in the lowest lane a walk is, as far as it knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scout {
    /// The block the walk is in, raw; 0 if that is not known.
    block: u32,
    heading: Heading,
}

#[derive(Clone, Copy, Debug)]
enum Heading {
    /// Nothing has been asked for yet.
    Unknown,
    /// The walk enters the next block with this node.
    Forward { turn: Option<Ref<Node>> },
    /// The walk is at this entry of its block. `left`: the block before, once that has been looked up.
    Backward { entry: usize, left: u32 },
}

impl Scout {
    /// Knows nothing.
    pub(crate) const fn new() -> Self {
        Self { block: 0, heading: Heading::Unknown }
    }
}

impl Recorder for Scout {
    #[inline]
    fn passed(&mut self, lane: usize, block: u32) {
        if lane == 0 {
            *self = Self { block, heading: Heading::Unknown };
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
    /// The node behind `at`, with the ones that follow on their way.
    #[inline]
    pub(super) fn step_forward(&self, scout: &mut Scout, at: Ref<Node>) -> Option<Ref<Node>> {
        let next = self.next_link(Some(at)).follow();
        match scout.heading {
            Heading::Forward { turn } if next.is_none() || turn != next => {}
            Heading::Forward { .. } => self.enter_next(scout),
            _ => self.set_out(scout, at),
        }
        next
    }

    /// Into the next block: its nodes are on their way already, so it is time for those of the one after.
    fn enter_next(&self, scout: &mut Scout) {
        let next = self.low_block(scout.block).header().next();
        if next == 0 {
            scout.heading = Heading::Forward { turn: None };
            return;
        }
        scout.block = next;
        self.look_ahead(scout);
    }

    /// Asks for the nodes of the block after the one the walk is in, and for the block after that.
    fn look_ahead(&self, scout: &mut Scout) {
        let header = self.low_block(scout.block).header();
        scout.heading = Heading::Forward { turn: header.fence_node() };
        let ahead = header.next();
        if ahead != 0 {
            self.prefetch_nodes(ahead, 0);
            let after = self.low_block(ahead).header().next();
            if after != 0 {
                self.prefetch_block(0, after);
            }
        }
    }

    /// Begins to walk forward: finds its block if need be, and asks for the rest of it.
    #[cold]
    fn set_out(&self, scout: &mut Scout, at: Ref<Node>) {
        if scout.block == 0 {
            scout.block = self.block_of(self.key(at), Goal::At);
        }
        if scout.block == 0 {
            // No lanes; not to be asked again for a while.
            scout.heading = Heading::Forward { turn: None };
            return;
        }
        self.prefetch_nodes(scout.block, 1);
        self.look_ahead(scout);
    }

    /// The block of the lowest lane in which a key is, or before which it is; 0 without lanes.
    fn block_of(&self, key: &K, goal: Goal) -> u32 {
        let mut scout = Scout::new();
        let target = Target { list: self, key, goal, trusts_hints: true };
        let (Landing::Hit(_) | Landing::Between { .. }) = self.descend(&target, &mut scout);
        scout.block
    }

    /// Asks for the nodes of a block, from an entry on.
    fn prefetch_nodes(&self, block: u32, from: usize) {
        let block = self.low_block(block);
        let count = block.header().shape().count;
        for index in from..=count {
            if let Some(node) = self.first_under(0, block.handle(index)) {
                self.prefetch_node(node);
            }
        }
    }

    /// The node before `at`, by the lane if it knows, else by a search.
    pub(super) fn step_back(&self, scout: &mut Scout, at: Ref<Node>) -> Option<Ref<Node>> {
        if let Heading::Backward { entry, left } = scout.heading {
            let block = self.low_block(scout.block);
            if entry > 0 {
                // The entry before is the node before, if that says so itself.
                if let Some(node) = self.first_under(0, block.handle(entry - 1)) {
                    if self.next_link(Some(node)).follow() == Some(at) {
                        self.look_back(scout, entry - 1, left);
                        return Some(node);
                    }
                }
            }
        }
        self.turn_back(scout, at)
    }

    /// Keeps the block to the left on its way: looked up half-way through a block, its nodes asked for near the end.
    #[inline]
    fn look_back(&self, scout: &mut Scout, entry: usize, mut left: u32) {
        if entry == LOOK_LEFT {
            if let Some(first) = self.block_header(scout.block).first() {
                left = self.block_of(self.key(first), Goal::Before);
                if left != 0 {
                    self.prefetch_block(0, left);
                }
            }
        } else if entry == ASK_LEFT && left != 0 {
            self.prefetch_nodes(left, 0);
        }
        scout.heading = Heading::Backward { entry, left };
    }

    /// Finds the node before `at` in another block: the one to the left, if the walk has come to the beginning of its own.
    fn turn_back(&self, scout: &mut Scout, at: Ref<Node>) -> Option<Ref<Node>> {
        if let Heading::Backward { left: left @ 1.., .. } = scout.heading {
            if let Some(node) = self.last_before(left, at) {
                scout.block = left;
                let entry = self.low_block(left).header().shape().count;
                self.look_back(scout, entry, 0);
                return Some(node);
            }
        }
        let mut fresh = Scout::new();
        let gap = self.find_before(self.key(at), &mut fresh);
        *scout = fresh;
        let pred = gap.pred.filter(|_| gap.succ == Some(at))?;
        if scout.block != 0 {
            let block = self.low_block(scout.block);
            let count = block.header().shape().count;
            let entry = (0..=count).rev().find(|index| self.first_under(0, block.handle(*index)) == Some(pred));
            if let Some(entry) = entry {
                self.prefetch_nodes(scout.block, 0);
                scout.heading = Heading::Backward { entry, left: 0 };
            }
        }
        Some(pred)
    }

    /// The last entry of a block, if it is the node before `at`.
    fn last_before(&self, block: u32, at: Ref<Node>) -> Option<Ref<Node>> {
        let block = self.low_block(block);
        let node = self.first_under(0, block.handle(block.header().shape().count))?;
        (self.next_link(Some(node)).follow() == Some(at)).then_some(node)
    }
}

/// The entry of a block at which a walk back looks for the block to the left, and the one at which it asks for its nodes.
const LOOK_LEFT: usize = 4;
const ASK_LEFT: usize = 2;
