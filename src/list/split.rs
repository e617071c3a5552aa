//! Putting an entry into a lane block, and splitting a block that is full.
//!
//! ```text
//! before   [ k0 k1 ... k12 ] ───────────────────> [ next ]        the new entry goes behind k4, say
//! after    [ k0 ... k4 new k5 ] ──> [ k6 ... k12 ] ──> [ next ]
//! at end   [ k0 k1 ... k12 ] ──> [ new ]                          the largest key yet: ascending loads fill blocks completely
//! ```
//!
//! A block's range shrinks when it is split, so its keys may share more than before: then both halves are hinted anew, behind
//! what they share now. All that is worked out before the block is touched, since it calls the comparator and the
//! allocator, which may panic.

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::{Block, Digest, LowBlock, MAX_SKIP, Shape, Taken, greatest};
use super::node::{Node, Ref};
use super::{Key, List};

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Puts an entry behind another into a taken block, splitting it if it is full; says what the lane above is
    /// to be told then.
    #[expect(
        clippy::inline_always,
        reason = "both kinds of writers have it in their own code: as a call it is a tenth of a write"
    )]
    #[inline(always)]
    pub(super) fn put<D: Digest, const N: usize>(
        &self,
        shard: usize,
        lane: usize,
        (block, taken): (&Block<D, N>, Taken<'_>),
        index: usize,
        (key, node, entry): (&K, Ref<Node>, u32),
    ) -> Option<Split> {
        let Shape { count, skip } = block.header().shape();
        if count < Block::<D, N>::ROOM {
            if let Some((lowest, highest)) = self.ends(lane, block, index, node) {
                // What its entries share may be less now.
                let (first, fence) = (block.header().first(), block.header().fence_node());
                let plan = self.plan(lane, block, (0, count), (first, Some(lowest)), (fence, Some(highest)));
                let hint = D::of(&self.comparator, key, plan.skip);
                plan.rehint(block);
                block.put_behind(index, hint, entry);
            } else {
                block.put_behind(index, D::of(&self.comparator, key, skip), entry);
            }
            return None;
        }
        let is_largest = index == count && block.header().fence_node().is_none();
        let split = if is_largest {
            // The largest key yet: it begins a block of its own, and this one stays full.
            self.split_at_end(shard, lane, block, (node, entry)).map(|right| (right, node))
        } else {
            self.split_in_two(shard, lane, block, index, (key, node, entry))
        };
        drop(taken);
        let (right, first) = split?;
        Some(Split { first, right, has_entry: is_largest || index >= count.div_ceil(2) })
    }

    /// Fills the last block of the lowest lane, which has nothing but its first entry yet, with the nodes that links lead to from there, and
    /// begins a new one with `last`. Nothing, if links do not lead there in as many steps as fill it, or if it is not such a block.
    pub(super) fn fill(&self, shard: usize, at: u32, (first, last): (Ref<Node>, Ref<Node>)) -> Option<Split> {
        let block = self.low_block(at);
        let taken = block.header().try_take::<false>()?;
        let header = block.header();
        if header.shape().count > 0 || header.first() != Some(first) || header.fence_node().is_some() {
            return None;
        }
        let mut nodes = [last; LowBlock::ROOM];
        let mut reached = first;
        for node in &mut nodes {
            reached = self.next_link(Some(reached)).follow()?;
            *node = reached;
        }
        if self.next_link(Some(reached)).follow() != Some(last) {
            return None;
        }
        let skip = self.comparator.common_prefix(self.key(first), self.key(last)).min(MAX_SKIP);
        let hint = |node| Digest::of(&self.comparator, self.key(node), skip);
        let (hints, fence) = (nodes.map(hint), hint(last));
        let right = self.new_block(shard, LowBlock::new(Some(last), last.handle().0))?;
        // Nothing below calls foreign code: from here on the block changes as a whole.
        for (index, (node, hint)) in nodes.into_iter().zip(hints).enumerate() {
            block.set(index + 1, hint, node.handle().0);
        }
        block.set_hint(0, fence);
        block.set_shape(Shape { count: LowBlock::ROOM, skip });
        block.set_neighbour(right, Some(last));
        drop(taken);
        Some(Split { first: last, right, has_entry: true })
    }

    /// Begins a new block with the largest key. The full one becomes its left neighbour, closed and hinted anew.
    fn split_at_end<D: Digest, const N: usize>(
        &self,
        shard: usize,
        lane: usize,
        block: &Block<D, N>,
        (node, entry): (Ref<Node>, u32),
    ) -> Option<u32> {
        let count = block.header().shape().count;
        let lowest = self.ends(lane, block, count, node).map(|(lowest, _)| lowest);
        let left = self.plan(lane, block, (0, count), (block.header().first(), lowest), (Some(node), None));
        let right = self.new_block(shard, Block::<D, N>::new(Some(node), entry))?;
        // Nothing below calls foreign code: from here on the block changes as a whole.
        left.rehint(block);
        block.set_neighbour(right, Some(node));
        Some(right)
    }

    /// Splits a full block in the middle, the new entry included.
    fn split_in_two<D: Digest, const N: usize>(
        &self,
        shard: usize,
        lane: usize,
        block: &Block<D, N>,
        index: usize,
        (key, node, entry): (&K, Ref<Node>, u32),
    ) -> Option<(u32, Ref<Node>)> {
        let count = block.header().shape().count;
        let middle = count.div_ceil(2);
        // Entries `middle..=count` go right; the new one goes behind entry `index`, wherever that is.
        let first = self.first_of(lane, block, middle)?;
        let fence_node = block.header().fence_node();
        let goes_right = index >= middle;
        let (lowest, highest) = self.ends(lane, block, index, node).unzip();
        let left = self.plan(lane, block, (0, middle - 1), (block.header().first(), lowest), (Some(first), None));
        let right = self.plan(lane, block, (middle, count - middle), (Some(first), None), (fence_node, highest));
        let hint = D::of(&self.comparator, key, if goes_right { right.skip } else { left.skip });

        let fresh = Block::<D, N>::new(Some(first), block.handle(middle));
        for index in 1..=count - middle {
            fresh.set(index, block.hint(middle + index), block.handle(middle + index));
        }
        right.rehint(&fresh);
        fresh.set_neighbour(block.header().next(), fence_node);
        if goes_right {
            fresh.put_behind(index - middle, hint, entry);
        }
        let fresh = self.new_block(shard, fresh)?;
        // Nothing below calls foreign code: from here on the block changes as a whole.
        block.forget_behind(middle - 1);
        left.rehint(block);
        block.set_neighbour(fresh, Some(first));
        if !goes_right {
            block.put_behind(index, hint, entry);
        }
        Some((fresh, first))
    }

    /// The node of the key of an entry, whatever the lane: upper entries know it through their block.
    fn first_of<D: Digest, const N: usize>(&self, lane: usize, block: &Block<D, N>, index: usize) -> Option<Ref<Node>> {
        if index == 0 {
            return block.header().first();
        }
        self.first_under(lane, block.handle(index))
    }

    /// Of an open block of an upper lane: the nodes that all its entries behind entry 0 are between, once `node` is behind entry
    /// `index`.
    fn ends<D: Digest, const N: usize>(
        &self,
        lane: usize,
        block: &Block<D, N>,
        index: usize,
        node: Ref<Node>,
    ) -> Option<(Ref<Node>, Ref<Node>)> {
        let header = block.header();
        if !D::HAS_TAIL || header.first().is_some() && header.fence_node().is_some() {
            return None;
        }
        let count = header.shape().count;
        let lowest = if index == 0 { node } else { self.first_of(lane, block, 1)? };
        let highest = if index == count { node } else { self.first_of(lane, block, count)? };
        Some((lowest, highest))
    }

    /// What the hints of the `count` entries behind another become when their range is from `first` (none: open) to `fence` (none:
    /// open), and they are from `lowest` to `highest` (none: there are none, or the range is not open).
    fn plan<D: Digest, const N: usize>(
        &self,
        lane: usize,
        block: &Block<D, N>,
        (behind, count): (usize, usize),
        (first, lowest): (Option<Ref<Node>>, Option<Ref<Node>>),
        (fence, highest): (Option<Ref<Node>>, Option<Ref<Node>>),
    ) -> Plan<D, N> {
        let shared = |low, high| self.comparator.common_prefix(self.key(low), self.key(high)).min(MAX_SKIP);
        let head = |node| D::head(&self.comparator, self.key(node), 0);
        let (shared, like) = match ((first, fence), (first.or(lowest), fence.or(highest))) {
            ((Some(first), Some(fence)), _) => (shared(first, fence), None),
            // Where heads tell them apart that is better: they are for all keys.
            (_, (Some(low), Some(high))) if low != high && head(low) == head(high) => {
                let shared = shared(low, high);
                (shared, Some(low).filter(|_| shared > 0))
            }
            _ => (0, None),
        };
        let mut hints = [greatest::<D>(); N];
        let changes = shared != block.header().shape().skip;
        if changes {
            let node = |index| self.first_of(lane, block, behind + index);
            (1..=count).filter_map(node).for_each(|node| self.prefetch_node(node));
            for (index, hint) in hints.iter_mut().take(count).enumerate() {
                let old = block.hint(behind + index + 1);
                *hint = node(index + 1).map_or(old, |node| D::of(&self.comparator, self.key(node), shared));
            }
        }
        let fence = fence.map_or(greatest(), |fence| D::of(&self.comparator, self.key(fence), shared));
        Plan { skip: shared, like, fence, hints: changes.then_some(hints), count }
    }
}

/// A new block, which the lane above does not know yet.
pub(super) struct Split {
    pub(super) first: Ref<Node>,
    pub(super) right: u32,
    /// Whether the entry that was put is in there.
    pub(super) has_entry: bool,
}

/// New hints for a block, worked out before anything is changed, since that calls the comparator.
struct Plan<D, const N: usize> {
    skip: usize,
    like: Option<Ref<Node>>,
    fence: D,
    hints: Option<[D; N]>,
    count: usize,
}

impl<D: Digest, const N: usize> Plan<D, N> {
    fn rehint(&self, block: &Block<D, N>) {
        let hints = self.hints.iter().flatten().take(self.count);
        hints.enumerate().for_each(|(behind, hint)| block.set_hint(behind + 1, *hint));
        block.set_hint(0, self.fence);
        block.set_shape(Shape { count: self.count, skip: self.skip });
        block.header().set_like(self.like);
    }
}
