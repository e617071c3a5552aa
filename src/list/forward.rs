//! Walking forward, in one of two ways.
//!
//! *By the lane*, where that has every node and the table is not large. The walk holds the run of entries that are left in its block.
//! The first of them should be the next node; the link says whether it is:
//!
//! ```text
//! block   [ n7 n8 n9 | n10 n11 n12 ] ──> [ n13 ... ]
//!            at ──^   └── run ──┘        └ known by then, too
//! base     n9 ──> n10      the link has to name what the run begins with
//! ```
//!
//! A processor that takes the branch "it does" for granted has the addresses of a whole run before it has seen one link: instead of
//! waiting for link, chunk table, link it reads several nodes at once. At the end of a run comes the block to the right. If the link
//! names another node, the walk goes there, as the links are the truth, and looks for its place in the lane; if the lane lacks the
//! node, it goes along links up to the one that the run begins with. (If entries have moved meanwhile, that may lie behind. Then the walk
//! goes on unaided.)
//!
//! *Along links*, in large tables, where what the processor has on its way by itself is not far enough ahead, and where lanes are sparse:
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
#[cfg(all(test, feature = "std", not(any(loom, shuttle)), any(target_arch = "x86_64", target_arch = "aarch64")))]
use super::position::Stop;
use super::prefetch::{self, Cache};
use super::scout::{Heading, NEAR, Rest, Run, STRAIGHT, STRIDE, Scout, Seeker, Spot};
use super::search::Found;
use super::{Key, LaneDensity, List};

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
    /// Finds a key, or where it would be, for a walk forward from there. The scout knows nothing yet.
    #[inline]
    pub(super) fn seek<'a>(&'a self, key: &K, scout: &mut Scout<'a>) -> Found {
        let mut seeker = Seeker::new(self, key, Goal::At);
        let found = self.find(key, &mut seeker);
        (scout.near, scout.above) = seeker.spots();
        if let (Some(at), true) = (found.node_or_next(), scout.near.block != 0) {
            if self.asks_far() {
                self.set_out_from(scout, at, usize::from(seeker.entry));
            } else if self.has_every() {
                self.stand_in_lane(scout, at);
            }
        }
        found
    }

    /// The first node, for a walk forward from there.
    #[inline]
    pub(super) fn start<'a>(&'a self, scout: &mut Scout<'a>) -> Option<Ref<Node>> {
        let first = self.first()?;
        if STRAIGHT {
            *scout = self.scout_at_start();
            if scout.near.block != 0 && self.has_every() && !self.asks_far() {
                self.stand_in_lane(scout, first);
            }
        }
        Some(first)
    }

    /// Whether the lane lacks no nodes, so that walks go by it. (Not on small cores, which do not guess ahead.)
    #[inline]
    fn has_every(&self) -> bool {
        STRAIGHT && self.density == LaneDensity::Every
    }

    /// Whether walks forward go along links and ask for nodes far ahead: in a large table. By the lane they have several on their way
    /// as it is, which will do while the next cache has them.
    #[inline]
    pub(super) fn asks_far(&self) -> bool {
        if self.has_every() { self.is_huge() } else { self.is_large() }
    }

    /// Begins to walk forward by the lane at the node to which a search has led, if that is where it came to the lane.
    #[inline]
    fn stand_in_lane<'a>(&'a self, scout: &mut Scout<'a>, at: Ref<Node>) {
        let mut run = self.run_from(scout.near.block, scout.near.place as usize);
        if run.is_empty() {
            run = self.run_right_of(run).unwrap_or(run);
        }
        match run.split_first() {
            Some((entry, rest)) if entry == at.handle().0 => {
                (scout.heading, scout.run) = (Heading::Forward, run);
                scout.go_on(rest);
            }
            _ => {}
        }
    }

    /// Begins to walk forward along links at the node to which a search has led, if that is the one for which it has asked first.
    #[inline(never)]
    fn set_out_from(&self, scout: &mut Scout<'_>, at: Ref<Node>, entry: usize) {
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
    fn ask_first(&self, scout: &mut Scout<'_>, turn: Option<Ref<Node>>, count: usize) {
        scout.heading = Heading::Links;
        scout.turn = self.ask_on(&mut scout.near, count, Cache::First, None).or(turn);
        scout.later = self.ask_on(&mut scout.near, STRIDE, Cache::First, None);
        scout.stride = STRIDE as u32;
    }

    /// The node behind another, if that takes but a link: the usual step. The scout is to [go along](Scout::go_on) then; all that
    /// changes before is that at the end of a block it goes on to the next.
    ///
    /// By the lane it does not wait for the link: which node is next, and where, is known by then, and the link has to agree. (A walk
    /// along links waits for a link, for where the chunk begins, for the next link: twice as long where all is in the first cache.)
    #[inline]
    pub(super) fn step_straight<'a>(
        &'a self,
        scout: &mut Scout<'a>,
        node: NodeRef<'_>,
    ) -> Option<(Ref<Node>, NodeRef<'a>, Rest<'a>)> {
        if !STRAIGHT {
            return None;
        }
        let link = &node.header().next;
        let (entry, rest) = match (scout.run.split_first(), scout.heading) {
            (Some(ahead), _) => ahead,
            (None, Heading::Forward) => self.turn_page(scout)?,
            (None, Heading::Links) => {
                let next = link.follow()?;
                return (scout.turn != Some(next)).then(|| (next, self.node(next), Rest::NONE));
            }
            (None, _) => return None,
        };
        let next = self.first_under(0, entry)?;
        (link.follow() == Some(next)).then(|| (next, self.node(next), rest))
    }

    /// Goes on to the next block, and says what its first entry is.
    #[inline]
    fn turn_page<'a>(&'a self, scout: &mut Scout<'a>) -> Option<(u32, Rest<'a>)> {
        let right = self.run_right_of(scout.run)?;
        scout.run = right;
        if self.is_large() {
            self.ask_right(right.block);
        }
        right.split_first()
    }

    /// Goes on to the next block, if it goes by the lane and there is one.
    #[inline]
    pub(super) fn enter_right<'a>(&'a self, scout: &mut Scout<'a>) -> bool {
        scout.heading == Heading::Forward && self.turn_page(scout).is_some()
    }

    /// The first entry of a run, or of the block to its right.
    #[inline]
    fn entry_ahead(&self, run: Run<'_>) -> Option<u32> {
        let (entry, _) = run.split_first().or_else(|| self.run_right_of(run)?.split_first())?;
        Some(entry)
    }

    /// Asks for the nodes of the block behind one, and for the block behind that.
    #[inline(never)]
    fn ask_right(&self, block: u32) {
        let right = self.block_header(block).next();
        if right != 0 {
            self.prefetch_nodes(right, 0, self.low_block(right).header().shape().count, Cache::First);
            if let further @ 1.. = self.block_header(right).next() {
                self.prefetch_block(0, further);
            }
        }
    }

    /// The node behind `at`, which is `node`, with the ones that follow on their way.
    #[inline]
    pub(super) fn step_forward<'a>(
        &'a self,
        scout: &mut Scout<'a>,
        at: Ref<Node>,
        node: NodeRef<'_>,
    ) -> Option<Ref<Node>> {
        let next = node.header().next.follow()?;
        if !STRAIGHT && !prefetch::EXISTS {
            return Some(next);
        }
        if !matches!(scout.heading, Heading::Forward | Heading::Links) {
            self.set_out(scout, at);
        }
        match (scout.heading, scout.run.split_first()) {
            (Heading::Forward, Some((entry, rest))) if entry == next.handle().0 => scout.go_on(rest),
            (Heading::Forward, _) => self.find_again(scout, next),
            (Heading::Links, _) if scout.turn == Some(next) => {
                if self.asks_far() {
                    self.look_ahead(scout);
                } else {
                    self.find_again(scout, next);
                }
            }
            // Or it could not set out: a writer was in the way.
            _ => {}
        }
        Some(next)
    }

    /// Finds a walk's place in the lane where that does not go on as expected: it was changed meanwhile, or lacks this node, or a cursor
    /// has turned.
    #[inline(never)]
    fn find_again<'a>(&'a self, scout: &mut Scout<'a>, next: Ref<Node>) {
        let here = scout.run.block;
        let right = if here == 0 { 0 } else { self.block_header(here).next() };
        match self.spot_in(here, Some(next)).or_else(|| self.spot_near(right, next)) {
            Some(at) => {
                self.go_by_lane(scout, at);
            }
            None => self.go_along_links(scout, scout.run),
        }
    }

    /// Goes by the lane from a place where it has come to.
    #[inline]
    fn go_by_lane<'a>(&'a self, scout: &mut Scout<'a>, at: Spot) {
        (scout.heading, scout.run) = (Heading::Forward, self.run_from(at.block, at.place as usize + 1));
    }

    /// Goes along links, until it meets the node behind a place in the lane.
    #[inline(never)]
    fn go_along_links<'a>(&'a self, scout: &mut Scout<'a>, run: Run<'a>) {
        if run.block != 0 {
            scout.turn = self.entry_ahead(run).and_then(|entry| self.first_under(0, entry));
        }
        (scout.heading, scout.run) = (Heading::Links, run.without_entries());
    }

    /// Begins to walk forward: finds its place in the lowest lane, and asks for what follows.
    #[inline(never)]
    fn set_out<'a>(&'a self, scout: &mut Scout<'a>, at: Ref<Node>) {
        *scout = Scout { heading: Heading::Links, near: scout.near, above: scout.above, ..Scout::new() };
        let asks_far = self.asks_far();
        if !asks_far && !self.has_every() {
            return;
        }
        match self.spot_near(scout.near.block, at) {
            Some(spot) if asks_far => {
                scout.near = spot;
                self.ask_first(scout, None, NEAR);
            }
            Some(spot) => {
                self.go_by_lane(scout, spot);
            }
            None if asks_far => self.set_out_unfiled(scout, at),
            // Not filed: the lane goes on behind the place that the search came to.
            None if scout.near.block != 0 => {
                self.go_along_links(scout, self.run_from(scout.near.block, scout.near.place as usize));
            }
            None => {}
        }
    }

    /// Begins at a node that is not filed, or whose block is not known: then the entry before will do.
    fn set_out_unfiled(&self, scout: &mut Scout<'_>, at: Ref<Node>) {
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
    fn look_ahead(&self, scout: &mut Scout<'_>) {
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
    fn ask_far(&self, scout: &mut Scout<'_>) {
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
    fn find_above(&self, scout: &mut Scout<'_>) {
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

    /// Whether a walk forward that has come to a node knows where in the lane it is, for tests.
    #[cfg(all(test, feature = "std", not(any(loom, shuttle)), any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn is_on_course(&self, scout: &Scout<'_>, at: Stop<'_>) -> bool {
        let next = at.next();
        match scout.heading {
            // The next step sets out.
            Heading::Unknown => true,
            Heading::Forward => self.entry_ahead(scout.run).and_then(|entry| self.first_under(0, entry)) == next,
            Heading::Links => scout.turn.is_some_and(|turn| self.compare(turn, self.key_at(at.position)).is_gt()),
            Heading::Backward => false,
        }
    }

    /// Of a long walk forward, for tests: how many blocks lie from the last node asked for near by to the last far ahead, and from there
    /// to the last block asked for.
    #[cfg(all(test, feature = "std", not(any(loom, shuttle)), any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn blocks_ahead(&self, scout: &Scout<'_>) -> Option<(usize, usize)> {
        let steps = |from: u32, to: u32| {
            let behind = |at: &u32| Some(self.block_header(*at).next()).filter(|next| *next != 0);
            core::iter::successors(Some(from), behind).take(30).position(|block| block == to)
        };
        let last =
            self.high_block(Some(scout.above.block).filter(|above| *above != 0)?).handle(scout.above.place as usize);
        Some((steps(scout.near.block, scout.ahead.block)?, steps(scout.ahead.block, last)?))
    }
}
