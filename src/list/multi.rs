//! Many keys at once: a group of searches that go down side by side, lane by lane, so that while one waits for memory the others work.
//!
//! A search looks at one block or node, asks for the lines of the next, and makes room for the next search; when it is its turn again
//! the lines are there. What kind of look it is depends on the lane alone, so there is nothing to guess. The few that hints do
//! not lead on look at keys when all others are a lane further.
//! (Group prefetching: Chen, Ailamaki, Gibbons, Mowry: "Improving Hash Join Performance through Prefetching", ICDE 2004.)

use core::cmp::Ordering;
use core::ptr::NonNull;

use crate::arena::{Arena, Shard};
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::{Arrival, Block, Digest, Glance, Look, Peek, Proof, Ties};
use super::lane::{Goal, Lead, Target};
use super::node::{Node, Ref};
use super::position::{Position, View, Visible};
use super::prefetch::{self, Cache};
use super::search::Found;
use super::{Key, List};

/// Searches under way at once: enough to cover a miss with work, few enough for the processor's own queue of misses.
pub(crate) const GROUP: usize = 16;

/// Below this many keys a group costs more than it gains.
const FEW: usize = 2;

/// Where the keys of a group belong.
pub(crate) type Leads = [Lead; GROUP];

/// Where one of them does, as far as that was found out.
#[inline]
pub(crate) fn lead_of(leads: Option<&Leads>, index: usize) -> Lead {
    leads.and_then(|leads| leads.get(index)).copied().unwrap_or(Lead::NONE)
}

/// Has the processor fetch the keys that are looked for, wherever they are.
#[inline(never)]
fn ask_for_keys<'k, K: ?Sized + 'k>(count: usize, key: &impl Fn(usize) -> &'k K) {
    (0..count).for_each(|index| prefetch::start(NonNull::from(key(index)).cast(), Cache::First));
}

/// Where a search stands.
#[derive(Clone, Copy)]
enum Stand {
    /// At this block of the lane that its group is in.
    In(u32),
    /// In this block of the lowest lane at this node, which ties with the key.
    Tie { at: u32, node: Ref<Node> },
    /// Between these nodes, as far as is proven.
    Between { start: Option<Ref<Node>>, next: Option<Ref<Node>>, proof: Proof },
    /// At the key's node.
    At(Ref<Node>),
}

/// Why hints do not lead a search on.
#[derive(Clone, Copy)]
enum Doubt {
    /// The key ties with these entries.
    Tied(Ties),
    /// Else.
    Other,
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Looks up key after key and hands over what `view` shows of each, with its number.
    pub(crate) fn get_many<'a, 'k>(
        &'a self,
        count: usize,
        key: impl Fn(usize) -> &'k K,
        view: View,
        mut found: impl FnMut(usize, Option<Visible<'a>>),
    ) where
        K: 'k,
    {
        // Where nothing can be asked for ahead there is nothing to gain (and on small cores a kilobyte to lose).
        let top = self.lanes.height().checked_sub(1).filter(|_| prefetch::EXISTS && count >= FEW);
        let Some(top) = top else {
            return (0..count).for_each(|index| found(index, self.get(key(index), view)));
        };
        let mut done = 0;
        while done < count {
            let left = count - done;
            // The last two are of one size, or the very last might be a key or two.
            let size = if left > GROUP && left < 2 * GROUP { left / 2 } else { left.min(GROUP) };
            let key = |index| key(done + index);
            let mut stands = [Stand::In(self.lanes.top(top)); GROUP];
            let stands = stands.get_mut(..size).unwrap_or_default();
            self.descend_as_group(top, &key, stands, |_, _| {});
            for (index, stand) in stands.iter().enumerate() {
                let landing = match *stand {
                    Stand::At(node) => Some(Found::Node(node)),
                    Stand::Between { start: Some(start), next, proof } => {
                        self.land(key(index), Goal::At, (start, next), proof)
                    }
                    Stand::Between { start: None, .. } => Some(self.walk(None, key(index), Goal::At)),
                    Stand::In(_) | Stand::Tie { .. } => None,
                };
                let node = landing.unwrap_or_else(|| self.find(key(index), &mut ())).node();
                found(done + index, node.and_then(|node| self.visible(Position::of(node), view)));
            }
            done += size;
        }
    }

    /// Whether it pays to find out for several writes by a shard where they belong: not in small tables, nor in an ascending load, which
    /// needs no search.
    pub(crate) fn leads_pay(&self, shard: &Shard) -> bool {
        self.is_large() && shard.finger.of_run().is_none()
    }

    /// Finds out where the keys of a group belong, for writes of them, and has the processor fetch what they will touch: all at once
    /// instead of one after the other.
    pub(crate) fn leads<'k>(&self, count: usize, key: impl Fn(usize) -> &'k K) -> Option<Leads>
    where
        K: 'k,
    {
        let top = self.lanes.height().checked_sub(1).filter(|_| prefetch::EXISTS && count >= FEW)?;
        let mut leads = [Lead::NONE; GROUP];
        let mut stands = [Stand::In(self.lanes.top(top)); GROUP];
        self.descend_as_group(top, &key, stands.get_mut(..count).unwrap_or_default(), |lane, stands| {
            for (lead, stand) in leads.iter_mut().zip(stands) {
                match (lane, stand) {
                    (0, Stand::In(at)) => lead.low = *at,
                    (1, Stand::In(at)) => lead.above = *at,
                    _ => {}
                }
            }
        });
        Some(leads)
    }

    /// Takes a group from a lane to nodes; `note` is told where it stands in each lane.
    #[inline]
    fn descend_as_group<'k>(
        &self,
        mut lane: usize,
        key: &impl Fn(usize) -> &'k K,
        stands: &mut [Stand],
        mut note: impl FnMut(usize, &[Stand]),
    ) where
        K: 'k,
    {
        if self.is_large() {
            ask_for_keys(stands.len(), key);
        }
        while lane > 0 {
            note(lane, stands);
            self.go_down(lane, key, stands);
            lane -= 1;
        }
        note(0, stands);
        self.arrive(key, stands);
    }

    #[inline]
    fn target<'a>(&'a self, key: &'a K) -> Target<'a, K, C, A, S, H> {
        Target { list: self, key, goal: Goal::At, trusts_hints: true }
    }

    /// Takes a group from an upper lane to the next below.
    #[inline]
    fn go_down<'k>(&self, lane: usize, key: &impl Fn(usize) -> &'k K, stands: &mut [Stand])
    where
        K: 'k,
    {
        let mut doubts = [(0, Doubt::Other); GROUP];
        let mut doubtful = 0;
        for (index, stand) in stands.iter_mut().enumerate() {
            let Stand::In(at) = *stand else { continue };
            let target = self.target(key(index));
            let block = self.high_block(at);
            let doubt = match block.glance::<_, true>(lane, &target, Arrival::FromAbove) {
                Glance::Sure(Look::Down { entry, .. }) => {
                    *stand = self.below(lane, entry);
                    continue;
                }
                // Further up keys are few, and at hand.
                Glance::Tied(ties) if lane > 1 => {
                    if let Some(led) = self.led(lane, Self::look_among(block, lane, &target, ties)) {
                        *stand = led;
                        continue;
                    }
                    Doubt::Other
                }
                Glance::Tied(ties) => {
                    block.ask_ahead(lane, &target, ties);
                    Doubt::Tied(ties)
                }
                Glance::Unsure | Glance::Sure(_) => {
                    block.doubtful_fence(&target).into_iter().for_each(|node| self.prefetch_node(node));
                    Doubt::Other
                }
            };
            if let Some(place) = doubts.get_mut(doubtful) {
                *place = (index, doubt);
                doubtful += 1;
            }
        }
        if let Some(doubts @ [_, ..]) = doubts.get(..doubtful) {
            self.settle(lane, key, stands, doubts);
        }
    }

    /// At the block that an entry of an upper lane names.
    #[inline]
    fn below(&self, lane: usize, entry: u32) -> Stand {
        self.prefetch_block(lane - 1, entry);
        Stand::In(entry)
    }

    /// Where a look in an upper lane leads, if it does.
    #[inline]
    fn led(&self, lane: usize, look: Look) -> Option<Stand> {
        match look {
            Look::Hit { node, .. } => Some(Stand::At(node)),
            Look::Down { entry, .. } => Some(self.below(lane, entry)),
            Look::Right(_) | Look::Torn => None,
        }
    }

    /// Has searches that hints do not lead on look at keys.
    #[inline(never)]
    fn settle<'k>(&self, lane: usize, key: &impl Fn(usize) -> &'k K, stands: &mut [Stand], doubts: &[(usize, Doubt)])
    where
        K: 'k,
    {
        if self.is_large() {
            for (index, doubt) in doubts {
                if let (Doubt::Tied(ties), Some(Stand::In(at))) = (doubt, stands.get(*index)) {
                    let middle = self.high_block(*at).handle(ties.middle());
                    self.first_under(lane, middle).into_iter().for_each(|node| self.prefetch_node(node));
                }
            }
        }
        for (index, doubt) in doubts {
            let Some((stand, at)) = stands.get_mut(*index).and_then(|stand| match *stand {
                Stand::In(at) => Some((stand, at)),
                _ => None,
            }) else {
                continue;
            };
            let target = self.target(key(*index));
            let look = match doubt {
                Doubt::Tied(ties) => self.high_block(at).bisect(lane, &target, *ties, 0),
                Doubt::Other => Look::Torn,
            };
            let look = match look {
                Look::Torn => self.look_on(Self::high_block, lane, &target, at),
                look => look,
            };
            // Always, from `look_on`.
            if let Some(led) = self.led(lane, look) {
                *stand = led;
            }
        }
    }

    /// Looks until it is clear where a search goes on below, also in blocks to the right.
    fn look_on<'a, D: Digest + 'a, const N: usize>(
        &'a self,
        block_at: fn(&'a Self, u32) -> &'a Block<D, N>,
        lane: usize,
        target: &Target<'_, K, C, A, S, H>,
        mut at: u32,
    ) -> Look {
        let mut arrival = Arrival::FromAbove;
        loop {
            match Self::look_closely(block_at(self, at), lane, target, arrival) {
                Look::Right(to) => (at, arrival) = (to, Arrival::FromLeft),
                look => return look,
            }
        }
    }

    /// Takes a group from the lowest lane to nodes.
    #[inline]
    fn arrive<'k>(&self, key: &impl Fn(usize) -> &'k K, stands: &mut [Stand])
    where
        K: 'k,
    {
        for (index, stand) in stands.iter_mut().enumerate() {
            let Stand::In(at) = *stand else { continue };
            match self.low_block(at).peek(&self.target(key(index))) {
                Peek::Sure(Look::Down { entry, next, proof, .. }) => *stand = self.between(entry, next, proof),
                Peek::Tie(node) => {
                    self.prefetch_node(node);
                    *stand = Stand::Tie { at, node };
                }
                Peek::Fence(node) => self.prefetch_node(node),
                Peek::Sure(_) => {}
            }
        }
        for (index, stand) in stands.iter_mut().enumerate() {
            let at = match *stand {
                // Most often this is the key.
                Stand::Tie { node, .. } if self.compare(node, key(index)) == Ordering::Equal => {
                    *stand = Stand::At(node);
                    continue;
                }
                Stand::Tie { at, .. } | Stand::In(at) => at,
                Stand::Between { .. } | Stand::At(_) => continue,
            };
            *stand = match self.look_on(Self::low_block, 0, &self.target(key(index)), at) {
                Look::Hit { node, .. } => Stand::At(node),
                Look::Down { entry, next, proof, .. } => self.between(entry, next, proof),
                // Not from `look_on`.
                Look::Right(_) | Look::Torn => *stand,
            };
        }
    }

    /// Between two entries of the lowest lane.
    #[inline]
    fn between(&self, entry: u32, next: u32, proof: Proof) -> Stand {
        let (start, next) = (self.first_under(0, entry), self.first_under(0, next));
        let touched = [start, next.filter(|_| proof.units().is_none())];
        touched.into_iter().flatten().for_each(|node| self.prefetch_node(node));
        Stand::Between { start, next, proof }
    }
}
