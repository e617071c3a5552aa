//! Walking back: by the lowest lane, which knows the node before.
//!
//! ```text
//! block        left[1]   left[0]   the walk's            of a long walk   left[5]   left[3]                    left[0]
//! asked for    lines     nodes     nodes (all here)                       lines     nodes, of an outer cache   nodes
//! ```
//!
//! Blocks have links to the right only; to the left leads the entry before in the block above, the parent.

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::{Arrival, Digest, Look, Narrow};
use super::lane::{Goal, Target};
use super::node::{Node, NodeRef, Ref};
use super::prefetch::Cache;
use super::scout::{Heading, Rest, STRAIGHT, Scout, Seeker};
use super::search::{Found, Gap};
use super::{Key, List};

/// Nodes that a step back walks over to the one before, if the lowest lane lacks them. Sparse lanes leave gaps of one or two.
const REACH: usize = 8;

/// Blocks that a walk back has gone on to when it is a long one.
const LONG: u32 = 9;
/// Of which block to the left a long walk asks for the nodes first.
const FAR: usize = 3;

/// Whether walks back go by the block above. It is a kilobyte of code, and where addresses have 32 bits a search is cheap.
const PARENTS: bool = cfg!(target_pointer_width = "64");

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Finds a key, or where it would be (with `Before`: the gap before it, in any case), for a walk back from there.
    pub(super) fn seek_back<'a>(&'a self, key: &K, goal: Goal, scout: &mut Scout<'a>) -> Found {
        let mut seeker = Seeker::new(self, key, Goal::Before);
        let found = match goal {
            Goal::At => self.find(key, &mut seeker),
            Goal::Before => Found::Gap(self.find_before(key, &mut seeker)),
        };
        *scout = Scout::new();
        (scout.near, scout.above) = seeker.spots();
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

    /// The node before another, if the blocks that the walk knows tell: the usual step. The scout is to [go along](Scout::go_on) then;
    /// all that changes before is that at the start of a block it goes on to the one to the left.
    #[inline]
    pub(super) fn step_straight_back<'a>(
        &'a self,
        scout: &mut Scout<'a>,
        at: Ref<Node>,
    ) -> Option<(Ref<Node>, NodeRef<'a>, Rest<'a>)> {
        if !STRAIGHT {
            return None;
        }
        let (entry, rest) = self.entry_behind(scout)?;
        let entry = self.first_under(0, entry)?;
        let node = self.node(entry);
        (node.header().next.follow() == Some(at)).then_some((entry, node, rest))
    }

    /// The entry before where a walk back is, if need be that at the end of the block to the left.
    #[inline]
    fn entry_behind<'a>(&'a self, scout: &mut Scout<'a>) -> Option<(u32, Rest<'a>)> {
        if scout.run.is_empty() {
            self.enter_left(scout);
        }
        scout.run.split_last()
    }

    /// The node before `at`, by the lanes if they know, else by a search.
    pub(super) fn step_back<'a>(&'a self, scout: &mut Scout<'a>, at: Ref<Node>) -> Option<Ref<Node>> {
        if STRAIGHT && scout.heading == Heading::Forward {
            self.turn_back(scout, at);
        }
        if scout.heading == Heading::Backward {
            if let Some((entry, rest)) = self.entry_behind(scout) {
                let entry = self.first_under(0, entry);
                if let Some(Gap { pred, .. }) = self.last_before(entry, at) {
                    if pred == entry {
                        scout.go_on(rest);
                    }
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
    fn set_out_back<'a>(&'a self, scout: &mut Scout<'a>, key: &K, at: Option<Ref<Node>>) {
        if scout.near.block == 0 {
            return;
        }
        let block = self.low_block(scout.near.block);
        let entry = block.guess(Narrow::of(&self.comparator, key, block.header().shape().skip));
        let is_at = self.first_under(0, block.handle(entry)) == at;
        self.go_back_from(scout, scout.near.block, entry + usize::from(!is_at));
    }

    /// Begins to walk back at a node that a walk forward has come to, if that is in the block that it is in.
    fn turn_back<'a>(&'a self, scout: &mut Scout<'a>, at: Ref<Node>) {
        if let Some(spot) = self.spot_in(scout.run.block, Some(at)) {
            *scout = Scout { above: scout.above, ..Scout::new() };
            self.go_back_from(scout, spot.block, spot.place as usize);
        }
    }

    /// Walks back from before an entry.
    fn go_back_from<'a>(&'a self, scout: &mut Scout<'a>, block: u32, place: usize) {
        scout.heading = Heading::Backward;
        scout.near.block = block;
        scout.run = self.run_before(block, place);
        self.find_in_parent(scout, block);
        scout.left[0] = self.take_left(scout);
        self.look_left(scout);
    }

    /// Goes on to the block to the left, if that is known.
    #[inline]
    pub(super) fn enter_left<'a>(&'a self, scout: &mut Scout<'a>) -> bool {
        let is_known = scout.left[0] != 0;
        if is_known {
            self.turn_page_back(scout);
        }
        is_known
    }

    /// Into the block to the left: its nodes are on their way already.
    #[inline(never)]
    fn turn_page_back<'a>(&'a self, scout: &mut Scout<'a>) {
        scout.near.block = scout.left[0];
        scout.run = self.run_from(scout.near.block, 0);
        let known = scout.left;
        scout.left = core::array::from_fn(|index| known.get(index + 1).copied().unwrap_or(0));
        scout.stride += u32::from(scout.stride < LONG && self.is_huge());
        self.look_left(scout);
    }

    /// Asks for the nodes of the block to the left, and for the blocks to the left of those that are known.
    fn look_left(&self, scout: &mut Scout<'_>) {
        if scout.left[0] == 0 {
            return;
        }
        self.ask_left(scout.left[0], Cache::First);
        if scout.stride < LONG {
            scout.left[1] = self.take_left(scout);
        } else {
            self.look_far(scout);
        }
    }

    /// What a long walk does besides.
    #[inline(never)]
    fn look_far(&self, scout: &mut Scout<'_>) {
        let mut left = scout.left;
        if let Some(far @ 1..) = left.get(FAR) {
            self.ask_left(*far, Cache::Outer);
        }
        // One is missing; when the walk has just become a long one, some more.
        for unknown in left.iter_mut().filter(|block| **block == 0) {
            *unknown = self.take_left(scout);
        }
        scout.left = left;
    }

    /// Asks for the nodes of a block.
    #[inline]
    fn ask_left(&self, block: u32, cache: Cache) {
        if self.is_large() {
            self.prefetch_nodes(block, 0, self.low_block(block).header().shape().count, cache);
        }
    }

    /// The block to the left of those that are known, on its way; 0 if there is none, or the lanes do not tell.
    fn take_left(&self, scout: &mut Scout<'_>) -> u32 {
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
        let left = self.high_block(scout.above.block).handle(scout.above.place as usize);
        if left != 0 {
            self.prefetch_block(0, left);
        }
        left
    }

    /// Where a block is among the entries of its parent, if that has it.
    fn find_in_parent(&self, scout: &mut Scout<'_>, block: u32) {
        if !PARENTS || scout.above.block == 0 {
            return;
        }
        match self.high_block(scout.above.block).place_of(block) {
            Some(place) => scout.above.place = place as u32,
            None => scout.above.block = 0,
        }
    }

    /// To the last entry of the parent's left neighbour, by a search in the lanes above; to none if a writer is in the way.
    #[cold]
    fn leave_parent(&self, scout: &mut Scout<'_>) {
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
                Look::Hit { .. } | Look::Torn => return,
            }
            self.prefetch_block(lane, at);
        }
    }

    /// Of a walk back, for tests: how many blocks to the left it knows, if they are that.
    #[cfg(all(test, feature = "std", not(any(loom, shuttle)), any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn blocks_behind(&self, scout: &Scout<'_>) -> Option<usize> {
        let known = scout.left.iter().take_while(|left| **left != 0);
        let rights = core::iter::once(&scout.near.block).chain(&scout.left);
        let is_chain = known.clone().zip(rights).all(|(left, right)| self.block_header(*left).next() == *right);
        is_chain.then(|| known.count())
    }
}
