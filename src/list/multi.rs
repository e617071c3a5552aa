//! Many keys at once: a ring of searches that take turns, so that while one waits for memory the others work.
//!
//! A step of a search looks at one block or node, asks for the lines of the next, and makes room for the next search.
//! (Interleaving of independent lookups as in Kocberber, Falsafi, Grot: "Asynchronous Memory Access Chaining", VLDB 2015.)

use core::cmp::Ordering;

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::{Arrival, Glance, Look, Peek, Proof, Ties};
use super::lane::{Goal, Target};
use super::node::{Node, Ref};
use super::position::{Position, View, Visible};
use super::search::Found;
use super::{Key, List};

/// Searches under way at once: enough to cover a miss with work, few enough for the processor's own queue of misses.
pub(crate) const RING: usize = 16;

/// Below this many keys a ring costs more than it gains.
const FEW: usize = 2;

/// What a search does when it is its turn. (Where there are ties, lanes are bytes: a turn is no larger for them.)
#[derive(Clone, Copy)]
enum Turn {
    /// Nothing is left to do.
    Idle,
    /// Look at this block of this lane.
    Lane { lane: usize, at: u32, arrival: Arrival },
    /// Compare the key with this node, which ties with it in this block of the lowest lane.
    Tie { at: u32, node: Ref<Node> },
    /// Find the node under this entry of this block's, which will be compared with the key.
    Under { lane: u8, at: u32, entry: u32, ties: Ties },
    /// Look among these entries of this block's, which tie with the key.
    Among { lane: u8, at: u32, ties: Ties },
    /// Look at this block, with the keys that its hints do not tell apart.
    Keys { lane: usize, at: u32, arrival: Arrival },
    /// Look whether the key is between these nodes, walk from the first if that is not proven.
    Land { start: Option<Ref<Node>>, next: Option<Ref<Node>>, proof: Proof },
    /// Look at what this node holds.
    Read(Ref<Node>),
}

#[derive(Clone, Copy)]
struct Search {
    index: usize,
    turn: Turn,
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
        let Some(lane) = self.lanes.height().checked_sub(1).filter(|_| count >= FEW) else {
            return (0..count).for_each(|index| found(index, self.get(key(index), view)));
        };
        let first = Turn::Lane { lane, at: self.lanes.top(lane), arrival: Arrival::FromAbove };
        let mut started = 0;
        let mut running = 0;
        let mut ring = [Search { index: 0, turn: Turn::Idle }; RING];
        for search in ring.iter_mut().take(count) {
            *search = Search { index: started, turn: first };
            started += 1;
            running += 1;
        }
        while running > 0 {
            for search in &mut ring {
                let turn = match search.turn {
                    Turn::Idle => continue,
                    Turn::Lane { lane, at, arrival } => self.turn_in_lane(key(search.index), lane, at, arrival),
                    Turn::Tie { at, node } => Ok(Some(self.turn_at_tie(key(search.index), at, node))),
                    Turn::Under { lane, at, entry, ties } => Ok(Some(self.turn_under(lane, at, entry, ties))),
                    Turn::Among { lane, at, ties } => self.turn_among(key(search.index), lane, at, ties),
                    Turn::Keys { lane, at, arrival } => self.turn_at_keys(key(search.index), lane, at, arrival),
                    Turn::Land { start, next, proof } => self.turn_at_landing(key(search.index), (start, next), proof),
                    Turn::Read(node) => {
                        found(search.index, self.visible(Position::of(node), view));
                        Ok(None)
                    }
                };
                search.turn = match turn {
                    Ok(Some(turn)) => turn,
                    finished => {
                        if finished.is_err() {
                            found(search.index, self.get(key(search.index), view));
                        }
                        if let Turn::Land { .. } = search.turn {
                            if finished.is_ok() {
                                found(search.index, None);
                            }
                        }
                        if started < count {
                            search.index = started;
                            started += 1;
                            first
                        } else {
                            running -= 1;
                            Turn::Idle
                        }
                    }
                };
            }
        }
    }

    /// Brings what inserts of these keys will touch into the cache, if the table is so large that it is not there anyway.
    pub(crate) fn fetch<'k>(&self, count: usize, key: impl Fn(usize) -> &'k K)
    where
        K: 'k,
    {
        if self.is_huge() {
            self.get_many(count, key, View::NEWEST, |_, _| {});
        }
    }

    /// One look at a block. `Err`: better searched alone (a writer in the way).
    #[inline]
    fn turn_in_lane(&self, key: &K, lane: usize, at: u32, arrival: Arrival) -> Result<Option<Turn>, Alone> {
        let target = Target { list: self, key, goal: Goal::At, trusts_hints: true };
        if lane > 0 {
            return match self.high_block(at).glance(lane, &target, arrival) {
                Glance::Sure(look) => self.turn_after(lane, look),
                Glance::Tied(ties) => self.turn_at_ties(&target, lane, at, ties),
                Glance::Unsure => self.turn_in_doubt(&target, lane, at, arrival),
            };
        }
        if arrival == Arrival::FromLeft {
            return self.turn_at_keys(key, lane, at, arrival);
        }
        match self.low_block(at).peek(&target) {
            Peek::Sure(look) => self.turn_after(lane, look),
            Peek::Tie(node) => {
                self.prefetch_node(node);
                Ok(Some(Turn::Tie { at, node }))
            }
            Peek::Fence(node) => {
                self.prefetch_node(node);
                Ok(Some(Turn::Keys { lane, at, arrival }))
            }
        }
    }

    /// In an upper lane, where keys have to be compared: asks for what that will touch.
    #[inline(never)]
    fn turn_at_ties(
        &self,
        target: &Target<'_, K, C, A, S, H>,
        lane: usize,
        at: u32,
        ties: Ties,
    ) -> Result<Option<Turn>, Alone> {
        let block = self.high_block(at);
        block.ask_ahead(lane, target, ties);
        // A torn look may show a 0.
        let entry = if self.is_large() { block.handle(ties.middle()) } else { 0 };
        if entry == 0 {
            return self.turn_among(target.key, lane as u8, at, ties);
        }
        self.prefetch_block(lane - 1, entry);
        Ok(Some(Turn::Under { lane: lane as u8, at, entry, ties }))
    }

    #[inline]
    fn turn_under(&self, lane: u8, at: u32, entry: u32, ties: Ties) -> Turn {
        if let Some(node) = self.first_under(usize::from(lane), entry) {
            self.prefetch_node(node);
        }
        Turn::Among { lane, at, ties }
    }

    #[inline(never)]
    fn turn_among(&self, key: &K, lane: u8, at: u32, ties: Ties) -> Result<Option<Turn>, Alone> {
        let target = Target { list: self, key, goal: Goal::At, trusts_hints: true };
        let lane = usize::from(lane);
        match self.high_block(at).bisect(lane, &target, ties, 0) {
            Look::Torn => self.turn_at_keys(key, lane, at, Arrival::FromAbove),
            look => self.turn_after(lane, look),
        }
    }

    /// In an upper lane, where hints tell nothing: if that is so for the next block's first key, asks for that.
    #[inline(never)]
    fn turn_in_doubt(
        &self,
        target: &Target<'_, K, C, A, S, H>,
        lane: usize,
        at: u32,
        arrival: Arrival,
    ) -> Result<Option<Turn>, Alone> {
        let may_wait = self.is_large() && arrival == Arrival::FromAbove;
        match may_wait.then(|| self.high_block(at).doubtful_fence(target)).flatten() {
            Some(node) => {
                self.prefetch_node(node);
                Ok(Some(Turn::Keys { lane, at, arrival }))
            }
            None => self.turn_at_keys(target.key, lane, at, arrival),
        }
    }

    /// Where a look leads.
    #[inline]
    fn turn_after(&self, lane: usize, look: Look) -> Result<Option<Turn>, Alone> {
        match look {
            Look::Hit { node, .. } => Ok(Some(Turn::Read(node))),
            Look::Right(at) => {
                self.prefetch_block(lane, at);
                Ok(Some(Turn::Lane { lane, at, arrival: Arrival::FromLeft }))
            }
            Look::Down { entry, .. } if lane > 0 => {
                self.prefetch_block(lane - 1, entry);
                Ok(Some(Turn::Lane { lane: lane - 1, at: entry, arrival: Arrival::FromAbove }))
            }
            Look::Down { entry, next, proof, .. } => {
                let (start, next) = (self.first_under(0, entry), self.first_under(0, next));
                let touched = [start, next.filter(|_| proof.units().is_none())];
                touched.into_iter().flatten().for_each(|node| self.prefetch_node(node));
                Ok(Some(Turn::Land { start, next, proof }))
            }
            Look::Torn => Err(Alone),
        }
    }

    /// Most often this is the key.
    #[inline]
    fn turn_at_tie(&self, key: &K, at: u32, node: Ref<Node>) -> Turn {
        // The node's line is here, so what follows need not wait for its turn.
        if self.compare(node, key) == Ordering::Equal {
            Turn::Read(node)
        } else {
            Turn::Keys { lane: 0, at, arrival: Arrival::FromAbove }
        }
    }

    fn turn_at_keys(&self, key: &K, lane: usize, at: u32, arrival: Arrival) -> Result<Option<Turn>, Alone> {
        let target = Target { list: self, key, goal: Goal::At, trusts_hints: true };
        let look = match lane {
            0 => self.low_block(at).look(lane, &target, arrival),
            _ => self.high_block(at).look(lane, &target, arrival),
        };
        self.turn_after(lane, look)
    }

    /// The last step: `Ok(None)` is a miss.
    #[inline]
    fn turn_at_landing(
        &self,
        key: &K,
        (start, next): (Option<Ref<Node>>, Option<Ref<Node>>),
        proof: Proof,
    ) -> Result<Option<Turn>, Alone> {
        if let Some(start) = start {
            if self.holds(proof, start, key) {
                if self.gap_between(start, next).is_some() {
                    return Ok(None);
                }
            } else if self.compare(start, key) != Ordering::Less {
                return Err(Alone);
            }
        }
        match self.walk(start, key, Goal::At) {
            Found::Node(node) => Ok(Some(Turn::Read(node))),
            Found::Gap(_) => Ok(None),
        }
    }
}

/// The search is finished by itself, from the top.
#[derive(Clone, Copy, Debug)]
struct Alone;
