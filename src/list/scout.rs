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
use crate::sync::{AtomicU32, order};

/// Nodes that a search asks for from where it lands.
pub(super) const NEAR: usize = 8;
/// Nodes that a walk forward then asks for at a time, at first; until the lane ends it has as many ahead of it. And how many more it
/// asks for each time, up to `NEAR`.
pub(super) const STRIDE: usize = 4;

/// Blocks to the left that a long walk back knows.
pub(super) const AHEAD: usize = if cfg!(target_pointer_width = "64") { 6 } else { 2 };

/// Whether usual steps have code of their own, which is for speed alone.
pub(crate) const STRAIGHT: bool = cfg!(target_pointer_width = "64");

/// Where in the lowest lane a walk is, as far as it knows. Blocks are raw handles, 0 if not known. All but the run begins as zero, so that
/// a new one is a few stores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scout<'a> {
    pub(super) heading: Heading,
    /// Of a walk by the lane, and of one back: what is left of the block it is in.
    pub(super) run: Run<'a>,
    /// Of a walk that asks far ahead: how many nodes are asked for next, or, of a long one, that it is that. Of a walk back: how many
    /// blocks it has gone on to, up to a long one's.
    pub(super) stride: u32,
    /// The block that a search has led to. Then, of a walk back, the block it is in; of one forward, where the last node is for which
    /// the first cache was asked.
    pub(super) near: Spot,
    /// Of a long walk forward: the last node for which an outer cache was asked.
    pub(super) ahead: Spot,
    /// In the lane above: of a walk back, the last in `left`; of a long walk forward, the last block that was asked for.
    pub(super) above: Spot,
    /// Of a walk along links: the node at which to look at the lane again.
    pub(super) turn: Option<Ref<Node>>,
    /// Of a walk that asks far ahead: the last node for which the first cache was asked.
    pub(super) later: Option<Ref<Node>>,
    /// Of a walk back: the blocks to the left, the next one first; 0 behind those that are known.
    pub(super) left: [u32; AHEAD],
}

/// Entries side by side in a block of the lowest lane, which a walk comes to next: forward the first of them, back the last. Whoever owns
/// the block may change them at any time; they may be followed all the same (`block`, 2), and lead where the links say or are not believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    words: &'a [AtomicU32],
    /// The block, raw; not 0 where a walk goes by the lane, or back.
    pub(super) block: u32,
    /// The block to the right, as of when a walk forward came to this one: known by the time the walk comes to that. 0 if there was none.
    right: u32,
}

impl<'a> Run<'a> {
    const EMPTY: Self = Self { words: &[], block: 0, right: 0 };

    /// Where it is, with no entries.
    pub(super) fn without_entries(self) -> Self {
        Self { words: &[], ..self }
    }

    /// Goes along with a step, which has left so much of it.
    #[inline]
    pub(super) fn go_on(&mut self, rest: Rest<'a>) {
        self.words = rest.0;
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.words.is_empty()
    }

    /// The first entry, raw, and what is behind it.
    #[inline]
    pub(super) fn split_first(self) -> Option<(u32, Rest<'a>)> {
        self.words.split_first().map(|(first, rest)| (first.load(order::FOLLOW), Rest(rest)))
    }

    /// The last entry, raw, and what is before it.
    #[inline]
    pub(super) fn split_last(self) -> Option<(u32, Rest<'a>)> {
        self.words.split_last().map(|(last, rest)| (last.load(order::FOLLOW), Rest(rest)))
    }
}

/// What a step leaves of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest<'a>(&'a [AtomicU32]);

impl Rest<'_> {
    pub(super) const NONE: Self = Self(&[]);
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
    /// Forward by the lane, which tells of the next nodes all at once.
    Forward,
    /// Forward along the links: the lane lacks too many nodes.
    Links,
    Backward,
}

impl<'a> Scout<'a> {
    /// Goes along with a step, which has left so much of the run.
    #[inline]
    pub(crate) fn go_on(&mut self, rest: Rest<'a>) {
        self.run.go_on(rest);
    }

    /// Whether the lane tells where the walk goes.
    #[inline]
    pub(crate) fn goes_by_lane(&self) -> bool {
        matches!(self.heading, Heading::Forward | Heading::Backward)
    }

    /// Knows nothing.
    pub(crate) const fn new() -> Self {
        Self {
            heading: Heading::Unknown,
            run: Run::EMPTY,
            stride: 0,
            near: Spot::NOWHERE,
            ahead: Spot::NOWHERE,
            above: Spot::NOWHERE,
            turn: None,
            later: None,
            left: [0; AHEAD],
        }
    }
}

/// A scout that borrows nothing, to those who own a share of the table.
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting {
    scout: Scout<'static>,
    /// Where its run was, and how long.
    block: u32,
    len: usize,
}

#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
impl Resting {
    /// Knows nothing.
    pub(crate) const fn new() -> Self {
        Self { scout: Scout::new(), block: 0, len: 0 }
    }

    pub(crate) fn of(scout: &Scout<'_>) -> Self {
        let Scout { heading, run, stride, near, ahead, above, turn, later, left } = *scout;
        let scout = Scout { heading, run: Run::EMPTY, stride, near, ahead, above, turn, later, left };
        Self { scout, block: run.block, len: run.words.len() }
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
    /// The place of the key in that block.
    place: u8,
}

impl<'a, K: ?Sized, C, A, S, const H: usize> Seeker<'a, K, C, A, S, H> {
    pub(super) fn new(list: &'a List<K, C, A, S, H>, key: &'a K, goal: Goal) -> Self {
        Self { list, key, goal, parent: 0, block: 0, entry: 0, place: 0 }
    }

    /// Where it came to in the lowest lane, and through which block of the one above.
    #[inline]
    pub(super) fn spots(&self) -> (Spot, Spot) {
        (Spot { block: self.block, place: u32::from(self.place) }, Spot::first_in(self.parent))
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
                if self.list.asks_far() {
                    self.entry = self.list.look_around(block, self.key, self.goal);
                }
            }
            1 => self.parent = block,
            _ => {}
        }
    }
    #[inline]
    fn strayed(&mut self, _: usize, _: u32) {}
    #[inline]
    fn landed(&mut self, place: usize) {
        if STRAIGHT {
            self.place = place as u8;
        }
    }
    #[cold]
    fn hit(&mut self, lane: usize, block: u32, place: usize) {
        if !STRAIGHT {
            return;
        }
        let parent = self.list.high_block(block);
        let (mut lane, mut entry) = match parent.handle(place) {
            0 => (lane + 1, parent.header().next()),
            entry => (lane, entry),
        };
        self.parent = block;
        // The key is the first of them all.
        while lane > 1 && entry != 0 {
            self.parent = entry;
            (lane, entry) = (lane - 1, self.list.high_block(entry).handle(0));
        }
        (self.block, self.place) = (entry, 0);
    }
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// What there is to know before the first node.
    pub(super) fn scout_at_start(&self) -> Scout<'_> {
        let [low, high] = [0, 1].map(|lane| self.lanes.top(lane));
        Scout { near: Spot { block: low, place: 1 }, above: Spot::first_in(high), ..Scout::new() }
    }

    /// Takes up a scout from this list where it rested.
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub(crate) fn rouse(&self, Resting { scout, block, len }: Resting) -> Scout<'_> {
        if block == 0 {
            return scout;
        }
        let run = match scout.heading {
            // What has come in between since shows when the walk goes on.
            Heading::Forward => {
                self.run_from(block, (self.low_block(block).header().shape().count + 1).saturating_sub(len))
            }
            Heading::Backward => self.run_before(block, len),
            _ => Run { block, ..Run::EMPTY },
        };
        Scout { run, ..scout }
    }

    /// The entries of a block from one on.
    #[inline]
    pub(super) fn run_from(&self, block: u32, place: usize) -> Run<'_> {
        let low = self.low_block(block);
        let header = low.header();
        Run { words: low.words(place..header.shape().count + 1), block, right: header.next() }
    }

    /// The entries of a block before one.
    #[inline]
    pub(super) fn run_before(&self, block: u32, place: usize) -> Run<'_> {
        Run { words: self.low_block(block).words(0..place), block, right: 0 }
    }

    /// The entries of the block to the right of a run. (If another has come in between since, the walk goes along links over what that
    /// has.)
    #[inline]
    pub(super) fn run_right_of(&self, run: Run<'_>) -> Option<Run<'_>> {
        let right = if run.right == 0 { self.block_header(run.block).next() } else { run.right };
        (right != 0).then(|| self.run_from(right, 0))
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
