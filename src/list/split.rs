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

use super::block::{Block, Digest, MAX_SKIP, Shape, Taken, greatest};
use super::lane::{Goal, Landing, Target, Trail};
use super::node::{Node, Ref};
use super::{Key, List};

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Puts an entry behind another into a taken block, splitting it if it is full; says which new block
    /// has it then.
    pub(super) fn put<D: Digest, const N: usize>(
        &self,
        shard: usize,
        lane: usize,
        (block, taken): (&Block<D, N>, Taken<'_>),
        index: usize,
        (key, node, entry): (&K, Ref<Node>, u32),
        trail: &mut Trail<H>,
    ) -> Option<u32> {
        let Shape { count, skip } = block.header().shape();
        if count < Block::<D, N>::ROOM {
            let hint = D::of(&self.comparator, key, skip);
            block.put_behind(index, hint, entry);
            return None;
        }
        let is_largest = index == count && block.header().fence_node().is_none();
        let split = if is_largest {
            // The largest key yet: it begins a block of its own, and this one stays full.
            self.split_at_end(shard, lane, block, (key, node, entry)).map(|right| (right, node))
        } else {
            self.split_in_two(shard, lane, block, index, (key, entry))
        };
        drop(taken);
        let (right, first) = split?;
        if lane + 2 < H && self.has_lane(shard, lane + 1) {
            if trail.block(lane + 1) == 0 {
                // The writer came by its finger, which does not lead so far up.
                let target = Target { list: self, key: self.key(first), goal: Goal::Before, trusts_hints: true };
                let (Landing::Hit(_) | Landing::Between { .. }) = self.descend(&target, trail);
            }
            self.file(Self::high_block, shard, lane + 1, (first, right), None, trail);
        }
        (is_largest || index >= count.div_ceil(2)).then_some(right)
    }

    /// Begins a new block with the largest key. The full one becomes its left neighbour, closed and hinted anew.
    fn split_at_end<D: Digest, const N: usize>(
        &self,
        shard: usize,
        lane: usize,
        block: &Block<D, N>,
        (key, node, entry): (&K, Ref<Node>, u32),
    ) -> Option<u32> {
        let Shape { count, skip } = block.header().shape();
        let left = self.plan::<D, N>(block.header().first(), Some(key), skip, count, |index| {
            (block.hint(index), self.first_of(lane, block, index))
        });
        let fence = D::of(&self.comparator, key, left.skip);
        let right = self.new_block(shard, Block::<D, N>::new(Some(node), entry))?;
        // Nothing below calls foreign code: from here on the block changes as a whole.
        left.rehint(block);
        block.truncate(count, left.skip);
        block.set_neighbour(right, Some(node), fence);
        Some(right)
    }

    /// Splits a full block in the middle, the new entry included.
    fn split_in_two<D: Digest, const N: usize>(
        &self,
        shard: usize,
        lane: usize,
        block: &Block<D, N>,
        index: usize,
        (key, entry): (&K, u32),
    ) -> Option<(u32, Ref<Node>)> {
        let Shape { count, skip } = block.header().shape();
        let middle = count.div_ceil(2);
        // Entries `middle..=count` go right; the new one goes behind entry `index`, wherever that is.
        let first = self.first_of(lane, block, middle)?;
        let first_key = self.key(first);
        let fence_node = block.header().fence_node();
        let fence_key = fence_node.map(|node| self.key(node));
        let left = self.plan::<D, N>(block.header().first(), Some(first_key), skip, middle - 1, |index| {
            (block.hint(index), self.first_of(lane, block, index))
        });
        let right = self.plan::<D, N>(Some(first), fence_key, skip, count - middle, |index| {
            (block.hint(middle + index), self.first_of(lane, block, middle + index))
        });
        let left_fence = D::of(&self.comparator, first_key, left.skip);
        let right_fence = fence_key.map_or(greatest(), |key| D::of(&self.comparator, key, right.skip));
        let goes_right = index >= middle;
        let hint = D::of(&self.comparator, key, if goes_right { right.skip } else { left.skip });

        let fresh = Block::<D, N>::new(Some(first), block.handle(middle));
        for index in 1..=count - middle {
            fresh.set(index, block.hint(middle + index), block.handle(middle + index));
        }
        fresh.set_shape(Shape { count: count - middle, skip: right.skip });
        right.rehint(&fresh);
        fresh.set_neighbour(block.header().next(), fence_node, right_fence);
        if goes_right {
            fresh.put_behind(index - middle, hint, entry);
        }
        let fresh = self.new_block(shard, fresh)?;
        // Nothing below calls foreign code: from here on the block changes as a whole.
        left.rehint(block);
        block.truncate(middle - 1, left.skip);
        block.set_neighbour(fresh, Some(first), left_fence);
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

    /// What the hints of a block become when its range is from `first` (none: open) to `fence` (none: open).
    fn plan<D: Digest, const N: usize>(
        &self,
        first: Option<Ref<Node>>,
        fence: Option<&K>,
        skip: usize,
        count: usize,
        entry: impl Fn(usize) -> (D, Option<Ref<Node>>),
    ) -> Plan<D, N> {
        let shared = match (first, fence) {
            (Some(first), Some(fence)) => self.comparator.common_prefix(self.key(first), fence).min(MAX_SKIP),
            _ => 0,
        };
        let mut hints = [greatest::<D>(); N];
        let changes = shared > skip;
        if changes {
            (1..=count).filter_map(|index| entry(index).1).for_each(|node| self.prefetch_node(node));
            for (behind, hint) in hints.iter_mut().take(count).enumerate() {
                let (old, node) = entry(behind + 1);
                *hint = node.map_or(old, |node| D::of(&self.comparator, self.key(node), shared));
            }
        }
        Plan { skip: shared.max(skip), hints: changes.then_some(hints), count }
    }
}

/// New hints for a block, worked out before anything is changed, since that calls the comparator.
struct Plan<D, const N: usize> {
    skip: usize,
    hints: Option<[D; N]>,
    count: usize,
}

impl<D: Digest, const N: usize> Plan<D, N> {
    fn rehint(&self, block: &Block<D, N>) {
        let hints = self.hints.iter().flatten().take(self.count);
        hints.enumerate().for_each(|(behind, hint)| block.set_hint(behind + 1, *hint));
    }
}
