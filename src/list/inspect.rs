//! Looking at a list as a whole: does it hold together, and about how much lies between two keys.

use core::cmp::Ordering;
use core::ops::Bound;

use crate::arena::{Arena, Handle, Totals};
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::error::Corruption;
use crate::sync::AtomicU64;

use super::batch::Commit;
use super::block::{Block, Digest, HighBlock, LowBlock};
use super::node::{ChainWord, Node, Ref, Version, raw};
use super::scout::Scout;
use super::search::Found;
use super::version::{Above, Chain, SeqWord};
use super::write::{Effect, seen_state};
use super::{Key, List};

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Walks everything. Returns what the figures should be.
    ///
    /// First that every handle leads to something inside the arena that ends there, and that every walk ends; then what it
    /// all means.
    pub(crate) fn validate(&self) -> Result<Totals, Corruption> {
        self.check_base()?;
        for lane in 0..self.lanes.height() {
            self.check_lane(lane)?;
        }
        let totals = self.validate_base()?;
        for lane in 0..self.lanes.height() {
            let mut at = self.lanes.top(lane);
            while at != 0 {
                if lane == 0 {
                    self.validate_block(lane, self.low_block(at))?;
                } else {
                    self.validate_block(lane, self.high_block(at))?;
                }
                at = self.block_header(at).next();
            }
        }
        Ok(totals)
    }

    /// Nodes and versions lie inside the arena, and there are no more of them than fit.
    fn check_base(&self) -> Result<(), Corruption> {
        let mut room = self.arena().used() / size_of::<Version>();
        let mut spend = || {
            room = room.checked_sub(1).ok_or(Corruption::new("a walk does not end"))?;
            Ok(())
        };
        let mut last = None;
        while let Some(node) = self.next_link(last).follow() {
            spend()?;
            let inside = self.arena().contains(node.handle(), size_of::<Node>())
                && self.arena().contains(node.handle(), self.node(node).size());
            if !inside {
                return Err(Corruption::new("a node is not inside the arena"));
            }
            let header = self.node(node).header();
            self.check_number(&header.seq)?;
            let mut further = ChainWord::newest_of(self.node(node)).version();
            while let Some(version) = further {
                spend()?;
                let inside = self.arena().contains(version.handle(), size_of::<Version>())
                    && self.arena().contains(version.handle(), self.version(version).0.size());
                if !inside {
                    return Err(Corruption::new("a version is not inside the arena"));
                }
                let (version, header) = self.version(version);
                self.check_number(version.seq)?;
                further = ChainWord::older_than(header).version();
            }
            last = Some(node);
        }
        Ok(())
    }

    /// A version's number is one, or leads to a batch's record.
    fn check_number(&self, word: &AtomicU64) -> Result<(), Corruption> {
        match SeqWord::load(word) {
            SeqWord::Batch { record, .. } if !self.arena().contains(record, size_of::<Commit>()) => {
                Err(Corruption::new("a batch's record is not inside the arena"))
            }
            _ => Ok(()),
        }
    }

    /// The blocks of a lane lie inside the arena, and their entries are things of the level below, in the order of that level;
    /// so the lane ends when that does.
    fn check_lane(&self, lane: usize) -> Result<(), Corruption> {
        let mut below = self.below_lane(lane, 0);
        let mut at = self.lanes.top(lane);
        let mut is_first = true;
        while at != 0 {
            let size = if lane == 0 { size_of::<LowBlock>() } else { size_of::<HighBlock>() };
            if !self.arena().contains(Handle(at), size) {
                return Err(Corruption::new("a lane block is not inside the arena"));
            }
            let (count, is_tidy, entry): (usize, bool, &dyn Fn(usize) -> u32) = if lane == 0 {
                let block = self.low_block(at);
                (block.header().shape().count, block.is_tidy(), &|index| block.handle(index))
            } else {
                let block = self.high_block(at);
                (block.header().shape().count, block.is_tidy(), &|index| block.handle(index))
            };
            if !is_tidy {
                return Err(Corruption::new("a lane block has hints of entries that it has not"));
            }
            if count > if lane == 0 { LowBlock::ROOM } else { HighBlock::ROOM } {
                return Err(Corruption::new("a lane block has more entries than room"));
            }
            let like = self.block_header(at).like();
            let mut is_like = like.is_none();
            for index in 0..=count {
                // The head of the list is the first entry of the lowest lane, and nothing that could be met below.
                if lane == 0 && is_first && index == 0 {
                    is_first = false;
                    if entry(0) == 0 {
                        continue;
                    }
                }
                while below != entry(index) && below != 0 {
                    below = self.below_lane(lane, below);
                }
                if below == 0 {
                    return Err(Corruption::new("a lane entry is not in the level below"));
                }
                let first = self.first_under(lane, below);
                if index == 0 && self.block_header(at).first() != first {
                    return Err(Corruption::new("a lane block's first key is not its first entry's"));
                }
                is_like |= first == like;
                below = self.below_lane(lane, below);
            }
            if !is_like {
                return Err(Corruption::new("a lane block's hints are for keys like one that it has not"));
            }
            let next = self.block_header(at).next();
            let fence = self.block_header(at).fence_node();
            let neighbour =
                (next != 0 && self.arena().contains(Handle(next), size)).then(|| self.block_header(next).first());
            if neighbour.flatten() != fence {
                return Err(Corruption::new("a lane block's fence is not its neighbour's first key"));
            }
            at = next;
        }
        Ok(())
    }

    /// What comes behind a thing of the level below a lane (0: its first).
    fn below_lane(&self, lane: usize, at: u32) -> u32 {
        match (lane, at) {
            (0, _) => {
                // SAFETY: 0, or the handle of a node of the base level, which has been checked.
                let node = unsafe { Ref::from_raw(at) };
                raw(self.next_link(node).follow())
            }
            (_, 0) => self.lanes.top(lane - 1),
            (_, block) => self.block_header(block).next(),
        }
    }

    /// The base level: strictly ascending, each node found by a search, each chain sorted.
    fn validate_base(&self) -> Result<Totals, Corruption> {
        let mut totals = Totals::default();
        let mut last: Option<Ref<Node>> = None;
        while let Some(node) = self.next_link(last).follow() {
            if last.is_some_and(|last| self.compare(last, self.key(node)) != Ordering::Less) {
                return Err(Corruption::new("the base level is not ascending"));
            }
            if !matches!(self.search_for(node), Some(found) if found == node) {
                return Err(Corruption::new("a node of the base level is not found by a search"));
            }
            totals = totals.plus(self.validate_chain(node)?);
            last = Some(node);
        }
        Ok(totals)
    }

    fn search_for(&self, node: Ref<Node>) -> Option<Ref<Node>> {
        match self.find(self.key(node), &mut ()) {
            Found::Node(node) => Some(node),
            Found::Gap(_) => None,
        }
    }

    /// A chain: greatest number first. Returns what it adds to the figures.
    fn validate_chain(&self, node: Ref<Node>) -> Result<Totals, Corruption> {
        let node = self.node(node);
        let mut chain = Chain::new(self, node);
        let mut above = Above::Nothing;
        let mut newer = None;
        let mut totals = Totals::default();
        let mut last = SeqNo::MAX;
        while let Some((version, seq)) = chain.next_visible(&mut above) {
            if seq > last {
                return Err(Corruption::new("versions of a key are not sorted by sequence number"));
            }
            last = seq;
            let after = seen_state(version);
            let before = if newer.is_none() { None } else { Some(after) };
            newer = Some(version);
            let effect = Effect { before, after, key_len: node.key().len(), value_len: version.value().len() };
            totals = totals.plus(effect.totals());
        }
        Ok(totals)
    }

    /// A block: entries ascending and within its range, hints what the comparator says.
    fn validate_block<D: Digest, const N: usize>(&self, lane: usize, block: &Block<D, N>) -> Result<(), Corruption> {
        let header = block.header();
        let shape = header.shape();
        let mut last = header.first();
        for index in 1..=shape.count {
            let Some(node) = self.first_under(lane, block.handle(index)) else {
                return Err(Corruption::new("a lane entry names nothing"));
            };
            let key = self.key(node);
            if last.is_some_and(|last| self.compare(last, key) != Ordering::Less) {
                return Err(Corruption::new("a lane is not ascending"));
            }
            if block.hint(index) != D::of(self.comparator(), key, shape.skip) {
                return Err(Corruption::new("a lane entry's hint is not its key's"));
            }
            last = Some(node);
        }
        let Some(fence) = header.fence_node() else { return Ok(()) };
        if last.is_some_and(|last| self.compare(last, self.key(fence)) != Ordering::Less) {
            return Err(Corruption::new("a lane block reaches into its neighbour"));
        }
        if block.fence() != D::of(self.comparator(), self.key(fence), shape.skip) {
            return Err(Corruption::new("a lane block's fence hint is not its neighbour's first key's"));
        }
        Ok(())
    }

    /// About which part of all entries (0.0 to 1.0) comes before a key, from the lanes: in each lane the key's place among
    /// its block's entries, as in a search tree whose nodes hold equal shares.
    #[expect(clippy::cast_precision_loss, reason = "numbers of entries in a few blocks")]
    pub(crate) fn rank(&self, key: &K) -> f64 {
        let Some(top) = self.lanes.height().checked_sub(1) else { return 0.0 };
        let (mut low, mut share) = (0.0, 1.0);
        let mut at = self.lanes.top(top);
        for lane in (0..=top).rev() {
            let (part, parts, entry) = if lane == 0 {
                self.place_in_row(lane, at, key, Self::low_block)
            } else {
                self.place_in_row(lane, at, key, Self::high_block)
            };
            share /= parts as f64;
            low += share * part as f64;
            at = entry;
        }
        low
    }

    /// The entry that a key is behind, its number, and how many entries there are: in the blocks from `at` on in the topmost
    /// lane, in that one block below it.
    fn place_in_row<'a, D: Digest + 'a, const N: usize>(
        &'a self,
        lane: usize,
        mut at: u32,
        key: &K,
        block_at: impl Fn(&'a Self, u32) -> &'a Block<D, N>,
    ) -> (usize, usize, u32) {
        let is_top = lane + 1 == self.lanes.height();
        let (mut part, mut parts) = (0, 0);
        let mut entry = block_at(self, at).handle(0);
        while at != 0 {
            let block = block_at(self, at);
            let count = block.header().shape().count.min(Block::<D, N>::ROOM);
            for index in 0..=count {
                let handle = block.handle(index);
                let first = match index {
                    0 => block.header().first(),
                    // A writer is at it.
                    _ if handle == 0 => continue,
                    _ => self.first_under(lane, handle),
                };
                if first.is_none_or(|first| self.compare(first, key) == Ordering::Less) {
                    (part, entry) = (parts + index, handle);
                }
            }
            parts += count + 1;
            let fence = block.header().fence_node();
            let goes_on = fence.is_some_and(|fence| is_top || self.compare(fence, key) == Ordering::Less);
            at = if goes_on { block.header().next() } else { 0 };
        }
        (part, parts, entry)
    }

    /// How many positions lie within bounds, counted; gives up at `limit`.
    pub(crate) fn count_up_to(&self, start: Bound<&K>, end: Bound<&K>, limit: usize) -> usize {
        let mut scout = Scout::new();
        let mut next = self.first_from(&start, &mut scout).map(|first| self.stop(first));
        let mut count = 0;
        while let Some(at) = next.filter(|at| count < limit && self.is_within_end(*at, end)) {
            count += 1;
            next = self.next_stop(at, &mut scout);
        }
        count
    }

    /// How many entries the lowest lane has, for tests.
    #[cfg(all(test, feature = "std"))]
    pub(crate) fn lane_entries(&self) -> usize {
        let mut at = self.lanes.top(0);
        let mut entries = 0;
        while at != 0 {
            entries += self.low_block(at).header().shape().count;
            let next = self.low_block(at).header().next();
            entries += usize::from(next != 0);
            at = next;
        }
        entries
    }
}
