//! Finding a place in the base level.

use core::cmp::Ordering;

use crate::arena::{Arena, Shard};
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::{Arrival, Look, Proof};
use super::lane::{Goal, Landing, Lead, Recorder, Target, Trail};
use super::node::{Node, Ref};
use super::prefetch::{self, Cache};
use super::{Key, List};

/// Descents that may be misled before hints are no longer believed, and then keys.
const HINTED: usize = 2;
const EXACT: usize = 2;

/// A gap in the base level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// The last node before the key; none is the head.
    pub(super) pred: Option<Ref<Node>>,
    /// The node behind it when we looked.
    pub(super) succ: Option<Ref<Node>>,
    /// Where the walk to it began; none is the head.
    pub(super) start: Option<Ref<Node>>,
    /// Nodes walked over that the lanes did not lead past.
    pub(super) steps: usize,
}

/// Where a key is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// In this node.
    Node(Ref<Node>),
    /// Nowhere; it would be here.
    Gap(Gap),
}

impl Found {
    /// The node of the key itself.
    #[inline]
    pub(super) fn node(self) -> Option<Ref<Node>> {
        match self {
            Self::Node(node) => Some(node),
            Self::Gap(_) => None,
        }
    }

    /// The node, or the one behind the gap.
    #[inline]
    pub(super) fn node_or_next(self) -> Option<Ref<Node>> {
        match self {
            Self::Node(node) => Some(node),
            Self::Gap(gap) => gap.succ,
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
    /// Finds a key, or where it would be.
    #[inline]
    pub(super) fn find(&self, key: &K, recorder: &mut impl Recorder) -> Found {
        self.search(key, Goal::At, recorder)
    }

    /// The same for a writer, which looks first whether the key belongs right behind the one before, and then where it is led.
    #[expect(
        clippy::inline_always,
        reason = "both kinds of writers have it in their own code: as a call it is a tenth of a write"
    )]
    #[inline(always)]
    pub(super) fn find_place(&self, key: &K, shard: &Shard, lead: Lead, trail: &mut Trail<H>) -> Found {
        let finger = shard.finger.of_run().filter(|(_, blocks)| blocks[0] != 0 || self.lanes.height() == 0);
        if let Some((last, blocks)) = finger {
            // SAFETY: fingers point at nodes that were linked, and the load acquires.
            let last = unsafe { Ref::from_raw(last) };
            if let Some(gap) = last.and_then(|last| self.gap_behind(last, key)) {
                trail.pass_lowest(blocks);
                return Found::Gap(gap);
            }
        }
        if prefetch::EXISTS && lead.low != 0 {
            if let Some(found) = self.find_led(key, lead, trail) {
                return found;
            }
        }
        self.find(key, trail)
    }

    /// Finds a key where it is led, unless that is out of date: the block may have been split since, often (a batch into one gap), and the
    /// key may be far behind it. So the block has to prove where the key is; it is no place to begin a walk.
    #[inline(never)]
    fn find_led(&self, key: &K, lead: Lead, trail: &mut Trail<H>) -> Option<Found> {
        let target = Target { list: self, key, goal: Goal::At, trusts_hints: true };
        trail.pass_lowest([lead.low, lead.above]);
        match Self::look(self.low_block(lead.low), 0, &target, Arrival::FromAbove) {
            Look::Hit { node, .. } => Some(Found::Node(node)),
            Look::Down { entry, next, proof, .. } => {
                let (start, next) = (self.first_under(0, entry)?, self.first_under(0, next));
                if self.holds(proof, start, key) {
                    return Some(
                        self.gap_between(start, next).unwrap_or_else(|| self.walk(Some(start), key, Goal::At)),
                    );
                }
                self.gap_behind(start, key).map(Found::Gap)
            }
            Look::Right(_) | Look::Torn => None,
        }
    }

    /// The gap right behind a node, if that is where a key belongs.
    #[expect(
        clippy::inline_always,
        reason = "as a call, what it returns goes through memory: a seventh of an ascending insert"
    )]
    #[inline(always)]
    fn gap_behind(&self, pred: Ref<Node>, key: &K) -> Option<Gap> {
        let succ = self.next_link(Some(pred)).follow();
        let is_behind = self.compare(pred, key) == Ordering::Less;
        let is_it = is_behind && succ.is_none_or(|succ| self.compare(succ, key) == Ordering::Greater);
        is_it.then_some(Gap { pred: Some(pred), succ, start: Some(pred), steps: 0 })
    }

    /// The gap before the first node whose key is not less.
    pub(super) fn find_before(&self, key: &K, recorder: &mut impl Recorder) -> Gap {
        match self.search(key, Goal::Before, recorder) {
            Found::Gap(gap) => gap,
            // Not with this goal.
            Found::Node(node) => Gap { pred: Some(node), succ: None, start: None, steps: 0 },
        }
    }

    /// Descends, makes sure that the node it came to is before the key, and walks on from there.
    ///
    /// A descent is misled only by a lane that was changing, or by a comparator whose hints lie. So it is repeated, then
    /// repeated by keys alone; only an order that is none leaves the head as the start.
    #[inline]
    fn search(&self, key: &K, goal: Goal, recorder: &mut impl Recorder) -> Found {
        let mut target = Target { list: self, key, goal, trusts_hints: true };
        for attempt in 0..HINTED + EXACT {
            target.trusts_hints = attempt < HINTED;
            match self.descend(&target, recorder) {
                Landing::Hit(node) => return Found::Node(node),
                Landing::Between { start, next, proof } => {
                    let Some(start) = start else { return self.walk(None, key, goal) };
                    self.prefetch_node(start);
                    if let (Some(next), true) = (next, goal == Goal::Before || proof.units().is_none()) {
                        self.prefetch_node(next);
                    }
                    if let Some(found) = self.land(key, goal, (start, next), proof) {
                        return found;
                    }
                }
            }
        }
        self.walk(None, key, goal)
    }

    /// What is behind the node that a descent has come to and before the next it knows of; none if it was misled.
    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call, what it returns goes through memory")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(super) fn land(
        &self,
        key: &K,
        goal: Goal,
        (start, next): (Ref<Node>, Option<Ref<Node>>),
        proof: Proof,
    ) -> Option<Found> {
        if self.holds(proof, start, key) {
            return Some(self.gap_between(start, next).unwrap_or_else(|| self.walk(Some(start), key, goal)));
        }
        match self.compare(start, key) {
            Ordering::Less => Some(self.walk(Some(start), key, goal)),
            Ordering::Equal if goal == Goal::At => Some(Found::Node(start)),
            Ordering::Equal | Ordering::Greater => None,
        }
    }

    /// Whether a key shares so many units with a node's.
    #[inline]
    pub(super) fn shares(&self, node: Ref<Node>, key: &K, units: usize) -> bool {
        self.comparator.shares_prefix(self.key(node), key, units)
    }

    /// Whether what is proven of keys that begin like this node's holds for this one.
    #[inline]
    pub(super) fn holds(&self, proof: Proof, node: Ref<Node>, key: &K) -> bool {
        let Some(units) = proof.units() else { return false };
        let units = units.max(self.comparator.assumed_prefix());
        units == 0 || self.shares(node, key, units)
    }

    /// The gap of a key that is proven to lie between two nodes (or behind the first, if there is no second), unless there is
    /// something between them.
    ///
    /// Whoever links a node there does it before our load of the link or after it. Before: we see that, and walk. After: the key
    /// was nowhere when we looked, and a writer's compare-and-swap will fail.
    #[inline]
    pub(super) fn gap_between(&self, pred: Ref<Node>, next: Option<Ref<Node>>) -> Option<Found> {
        let succ = self.next_link(Some(pred)).follow();
        (succ == next).then_some(Found::Gap(Gap { pred: Some(pred), succ, start: Some(pred), steps: 0 }))
    }

    /// Walks along the base level from a node that is before the key (none: the head).
    #[inline]
    pub(super) fn walk(&self, start: Option<Ref<Node>>, key: &K, goal: Goal) -> Found {
        let mut gap = Gap { pred: start, succ: None, start, steps: 0 };
        loop {
            gap.succ = self.next_link(gap.pred).follow();
            let Some(node) = gap.succ else { return Found::Gap(gap) };
            match self.compare(node, key) {
                Ordering::Less => gap = Gap { pred: Some(node), succ: None, start, steps: gap.steps + 1 },
                Ordering::Equal if goal == Goal::At => return Found::Node(node),
                Ordering::Equal | Ordering::Greater => return Found::Gap(gap),
            }
        }
    }

    /// The first node.
    pub(super) fn first(&self) -> Option<Ref<Node>> {
        self.next_link(None).follow()
    }

    /// The last node.
    pub(super) fn last(&self) -> Option<Ref<Node>> {
        let mut last = self.descend_to_last();
        while let Some(next) = self.next_link(last).follow() {
            last = Some(next);
        }
        last
    }

    /// The order of a node's key and another key.
    #[inline]
    pub(super) fn compare(&self, node: Ref<Node>, key: &K) -> Ordering {
        self.comparator.compare(self.key(node), key)
    }

    /// Asks for the lines that a comparison and a look at the first version need.
    #[inline]
    pub(super) fn prefetch_node(&self, node: Ref<Node>) {
        prefetch::start(self.node(node).address(), Cache::First);
    }
}
