//! Walking with foresight: the lanes know the next dozen nodes and blocks, so their lines can be asked for together instead of
//! one after the other, and they know which node is the one before. What a walk has seen of them is its scout;
//! [forward](super::forward) and [back](super::backward) have a file of their own.
//!
//! A scout only guesses. What it says of a predecessor is checked in the base level, and lanes that lag or change cost a search,
//! never an entry.

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::{Digest, Narrow};
use super::lane::{Goal, Recorder};
use super::node::{Node, Ref, raw};
use super::prefetch::{self, Cache};
use super::{Key, List};

/// Nodes that a search asks for from where it lands.
pub(super) const NEAR: usize = 8;
/// Nodes that a walk forward then asks for at a time, at first; until the lane ends it has as many ahead of it. And how many more it
/// asks for each time, up to `NEAR`.
pub(super) const STRIDE: usize = 4;

/// Blocks to the left that a long walk back knows.
pub(super) const AHEAD: usize = if cfg!(target_pointer_width = "64") { 6 } else { 2 };

/// Whether usual steps have code of their own, which is for speed alone.
pub(super) const STRAIGHT: bool = cfg!(target_pointer_width = "64");

/// Where in the lowest lane a walk is, as far as it knows. Blocks are raw handles, 0 if not known. Everything has four bytes and begins as
/// zero, so that a new one is a few stores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scout {
    pub(super) heading: Heading,
    /// Of a walk back: so many entries of the block, entry 0 included, are before it. Else 0.
    pub(super) before: u32,
    /// Of a walk forward: how many nodes are asked for next, or, of a long one, that it is that. Of a walk back: how many blocks it
    /// has gone on to, up to a long one's.
    pub(super) stride: u32,
    /// The block the walk is in; of a walk forward, where the last node is for which the first cache was asked.
    pub(super) near: Spot,
    /// Of a long walk forward: the last node for which an outer cache was asked.
    pub(super) ahead: Spot,
    /// In the lane above: of a walk back, the last in `left`; of a long walk forward, the last block that was asked for.
    pub(super) above: Spot,
    /// Of a walk forward: the node at which more are to be asked for.
    pub(super) turn: Option<Ref<Node>>,
    /// Of a walk forward: the last node for which the first cache was asked.
    pub(super) later: Option<Ref<Node>>,
    /// Of a walk back: the blocks to the left, the next one first; 0 behind those that are known.
    pub(super) left: [u32; AHEAD],
}

/// A block and one of its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) block: u32,
    pub(super) place: u32,
}

impl Spot {
    pub(super) const NOWHERE: Self = Self::first_in(0);

    pub(super) const fn first_in(block: u32) -> Self {
        Self { block, place: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Heading {
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
        Self { heading: Heading::Unknown, before: 0, stride: 0, near, ahead, above, turn, later, left: [0; AHEAD] }
    }
}

/// A search whose walk goes on from where it lands: asks for the nodes there before any of them is waited for.
pub(super) struct Seeker<'a, K: ?Sized, C, A, S, const H: usize> {
    list: &'a List<K, C, A, S, H>,
    key: &'a K,
    goal: Goal,
    parent: u32,
    block: u32,
    /// The entry that seems to be the last before the key.
    pub(super) entry: u8,
}

impl<'a, K: ?Sized, C, A, S, const H: usize> Seeker<'a, K, C, A, S, H> {
    pub(super) fn new(list: &'a List<K, C, A, S, H>, key: &'a K, goal: Goal) -> Self {
        Self { list, key, goal, parent: 0, block: 0, entry: 0 }
    }

    /// What it has come by.
    pub(super) fn scout(&self) -> Scout {
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
    /// Asks for the nodes of a block at a key's place, in the direction of the walk, and for the block behind them. Returns the
    /// entry before that place.
    #[inline(never)]
    fn look_around(&self, block: u32, key: &K, goal: Goal) -> u8 {
        let low = self.low_block(block);
        let header = low.header();
        let shape = header.shape();
        let entry = low.guess(Narrow::of(&self.comparator, key, shape.skip));
        if goal == Goal::Before {
            self.prefetch_nodes(block, 0, entry, Cache::First);
        } else {
            // The block first: the way on leads through it.
            let next = header.next();
            if next != 0 && shape.count < entry + 1 + NEAR + STRIDE {
                self.prefetch_block(0, next);
            }
            self.prefetch_nodes(block, entry, (entry + 1 + NEAR).min(shape.count), Cache::First);
        }
        entry as u8
    }

    /// Asks for the nodes of a block, from one entry to another.
    #[inline]
    pub(super) fn prefetch_nodes(&self, block: u32, from: usize, to: usize, cache: Cache) {
        for handle in self.low_block(block).handles(from, to) {
            if let Some(node) = self.first_under(0, handle) {
                prefetch::start(self.node(node).address(), cache);
            }
        }
    }

    /// Finds a node (none: the head) in a block of the lowest lane.
    pub(super) fn spot_in(&self, block: u32, node: Option<Ref<Node>>) -> Option<Spot> {
        if block == 0 {
            return None;
        }
        let place = self.low_block(block).place_of(raw(node))?;
        Some(Spot { block, place: place as u32 })
    }

    /// The same for one that was at this place.
    pub(super) fn spot_again(&self, at: Spot, node: Option<Ref<Node>>) -> Option<Spot> {
        let (low, place) = (self.low_block(at.block), at.place as usize);
        // Behind the last entry lies what was moved away when the block was split.
        let is_there = place <= low.header().shape().count && low.handle(place) == raw(node);
        if is_there { Some(at) } else { self.spot_in(at.block, node) }
    }
}
