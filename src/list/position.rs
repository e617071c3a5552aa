//! Reading: where the floors above stand in the list, and what they see there.

use core::cmp::Ordering;
use core::ops::Bound;

use crate::arena::Arena;
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::sync;

use super::lane::Goal;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
use super::node::{ChainWord, Version};
use super::node::{Kind, Node, NodeRef, Ref, VersionRef};
use super::scout::{Rest, STRAIGHT, Scout};
use super::search::Found;
use super::version::{Above, Chain, GREATEST, Mark, plainly_visible};
use super::{Key, List};

/// A node, to the floors above. It stays where it is as long as the list is not reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(Ref<Node>);

impl Position {
    pub(super) fn of(node: Ref<Node>) -> Self {
        Self(node)
    }
}

/// A position and its address: looked up once, however often it is read.
#[derive(Clone, Copy)]
pub(crate) struct Stop<'a> {
    pub(crate) position: Position,
    node: NodeRef<'a>,
}

impl Stop<'_> {
    /// Whether this is that: of two words one comparison, where `Option` would make it two.
    #[inline]
    pub(crate) fn is(self, that: Option<Self>) -> bool {
        that.map(|that| that.node.address()) == Some(self.node.address())
    }

    /// Whether its key was written once, and `view` shows that.
    #[inline]
    pub(crate) fn shows_plainly(self, view: View) -> bool {
        plainly_visible(self.node, view).is_some()
    }
}

#[cfg(all(test, feature = "std", not(any(loom, shuttle)), any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Stop<'_> {
    /// The node behind it.
    pub(super) fn next(&self) -> Option<Ref<Node>> {
        self.node.header().next.follow()
    }
}

impl core::fmt::Debug for Stop<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.position.fmt(f)
    }
}

/// What a reader is to see: the newest versions, or those of a point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View(SeqNo);

impl View {
    /// All that is there.
    pub(crate) const NEWEST: Self = Self(GREATEST);

    /// Versions with at most this number.
    #[inline]
    pub(crate) fn at(seq: SeqNo) -> Self {
        Self(seq.min(GREATEST))
    }

    /// Whether a version's word is a number within the view. Words that are no numbers are greater than any.
    #[inline]
    pub(super) fn shows(self, word: u64) -> bool {
        word <= self.0.0
    }

    /// Whether a number is within the view.
    #[inline]
    pub(super) fn includes(self, seq: SeqNo) -> bool {
        seq <= self.0
    }
}

/// The version that was given last in a walk over those of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VersionMark {
    mark: Mark,
    pub(crate) seq: SeqNo,
}

/// A version, to those who own a share of the table and cannot borrow from it.
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    node: Ref<Node>,
    /// None is the node's first version.
    version: Option<Ref<Version>>,
}

/// A visible version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visible<'a> {
    pub(crate) value: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) seq: SeqNo,
}

impl<'a> Visible<'a> {
    #[inline]
    fn of((version, seq): (VersionRef<'a>, SeqNo)) -> Self {
        Self { value: version.value(), kind: version.meta.kind(), seq }
    }
}

impl<K: ?Sized, C, A: Arena, S, const H: usize> List<K, C, A, S, H> {
    /// A position with its address.
    #[inline]
    pub(crate) fn stop(&self, position: Position) -> Stop<'_> {
        Stop { position, node: self.node(position.0) }
    }
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// What `view` shows of a key.
    #[inline]
    pub(crate) fn get(&self, key: &K, view: View) -> Option<Visible<'_>> {
        match self.find(key, &mut ()) {
            Found::Node(node) => self.visible(Position(node), view),
            Found::Gap(_) => None,
        }
    }

    /// The same, with the key as it lies in the list.
    #[inline]
    pub(crate) fn get_with_key(&self, key: &K, view: View) -> Option<(&K, Visible<'_>)> {
        match self.find(key, &mut ()) {
            Found::Node(node) => self.entry_at(Position(node), view),
            Found::Gap(_) => None,
        }
    }

    /// The key at a position, and what `view` shows of it.
    #[inline]
    pub(crate) fn entry_at(&self, at: Position, view: View) -> Option<(&K, Visible<'_>)> {
        self.read(self.stop(at), view)
    }

    /// The key at a stop, and what `view` shows of it.
    #[inline]
    pub(crate) fn read<'a>(&'a self, at: Stop<'a>, view: View) -> Option<(&'a K, Visible<'a>)> {
        self.read_plainly(at, view).or_else(|| {
            let visible = self.visible_of_many(at.node, view)?;
            Some((self.key_of(at.node), Visible::of(visible)))
        })
    }

    /// The same of a key that was written once; none may also mean that [`read`](Self::read) has to look.
    #[inline]
    pub(crate) fn read_plainly<'a>(&'a self, at: Stop<'a>, view: View) -> Option<(&'a K, Visible<'a>)> {
        let seq = plainly_visible(at.node, view)?;
        let (key, version) = self.key_and_first_version(at.node);
        Some((key, Visible::of((version, seq))))
    }

    /// Whether [`read`](Self::read) shows anything at a stop.
    #[inline]
    pub(crate) fn shows(&self, at: Stop<'_>, view: View) -> bool {
        at.shows_plainly(view) || self.visible_of_many(at.node, view).is_some()
    }

    /// What `view` shows at a position.
    #[inline]
    pub(crate) fn visible(&self, at: Position, view: View) -> Option<Visible<'_>> {
        self.visible_in(self.node(at.0), view).map(Visible::of)
    }

    /// The key at a position.
    #[inline]
    pub(crate) fn key_at(&self, at: Position) -> &K {
        self.key(at.0)
    }

    /// The first position.
    pub(crate) fn first_position(&self) -> Option<Position> {
        self.first().map(Position)
    }

    /// The last position.
    pub(crate) fn last_position(&self) -> Option<Position> {
        self.last().map(Position)
    }

    /// The stop behind another, if it takes but a link to get there; none may also mean that [`next_stop`](Self::next_stop) has
    /// to look.
    #[inline]
    pub(crate) fn next_straight<'a>(&'a self, at: Stop<'a>, scout: &mut Scout<'a>) -> Option<(Stop<'a>, Rest<'a>)> {
        let (at, node, rest) = self.step_straight(scout, at.node)?;
        Some((Stop { position: Position(at), node }, rest))
    }

    /// Usual steps one after the other, forward or back by the lane, as far as that goes and `read` reads. What takes part in them is in
    /// registers meanwhile.
    #[inline]
    pub(crate) fn fold_straight<'a, const BACK: bool, E, B>(
        &'a self,
        (at, scout): (&mut Stop<'a>, &mut Scout<'a>),
        read: impl Fn(Stop<'a>) -> Option<E>,
        mut folded: B,
        mut f: impl FnMut(B, E) -> B,
    ) -> B {
        if !STRAIGHT {
            return folded;
        }
        loop {
            let (mut here, mut run) = (*at, scout.run);
            while let Some((entry, rest)) = if BACK { run.split_last() } else { run.split_first() } {
                let Some(next) = self.first_under(0, entry) else { break };
                let next = Stop { position: Position(next), node: self.node(next) };
                let (before, behind) = if BACK { (next, here) } else { (here, next) };
                if before.node.header().next.follow() != Some(behind.position.0) {
                    break;
                }
                let Some(entry) = read(next) else { break };
                folded = f(folded, entry);
                here = next;
                run.go_on(rest);
            }
            (*at, scout.run) = (here, run);
            let goes_on = run.is_empty() && if BACK { self.enter_left(scout) } else { self.enter_right(scout) };
            if !goes_on {
                return folded;
            }
        }
    }

    /// The stop behind another; `scout` remembers what it has seen from there.
    pub(crate) fn next_stop<'a>(&'a self, at: Stop<'a>, scout: &mut Scout<'a>) -> Option<Stop<'a>> {
        let next = self.step_forward(scout, at.position.0, at.node)?;
        Some(self.stop(Position(next)))
    }

    /// The position before another: by the lane, or one search. With an order that is none there may be no way back; then
    /// there is no answer, rather than one that leads in circles.
    pub(crate) fn previous_position<'a>(&'a self, at: Position, scout: &mut Scout<'a>) -> Option<Position> {
        self.step_back(scout, at.0).map(Position)
    }

    /// The stop before another, if the lane tells it at once; none may also mean that
    /// [`previous_position`](Self::previous_position) has to look.
    #[inline]
    pub(crate) fn previous_straight<'a>(&'a self, at: Stop<'a>, scout: &mut Scout<'a>) -> Option<(Stop<'a>, Rest<'a>)> {
        let (at, node, rest) = self.step_straight_back(scout, at.position.0)?;
        Some((Stop { position: Position(at), node }, rest))
    }

    /// The first position that is not before a bound. (By reference: a bound that was just written is copied in halves that are not those
    /// it was written in, which a processor waits for: a third of the time to the first entry of a range in a small table.)
    #[inline]
    pub(crate) fn first_from<'a>(&'a self, bound: &Bound<&K>, scout: &mut Scout<'a>) -> Option<Position> {
        let key = match bound {
            Bound::Unbounded => return self.start(scout).map(Position),
            Bound::Included(key) | Bound::Excluded(key) => key,
        };
        match (self.seek(key, scout), bound) {
            (Found::Node(node), Bound::Excluded(_)) => Some(self.next_stop(self.stop(Position(node)), scout)?.position),
            (found, _) => found.node_or_next().map(Position),
        }
    }

    /// The last position that is not behind a bound.
    pub(crate) fn last_to<'a>(&'a self, bound: &Bound<&K>, scout: &mut Scout<'a>) -> Option<Position> {
        let found = match bound {
            Bound::Unbounded => return self.last_position(),
            Bound::Excluded(key) => self.seek_back(key, Goal::Before, scout),
            Bound::Included(key) => self.seek_back(key, Goal::At, scout),
        };
        match found {
            Found::Node(node) => Some(Position(node)),
            Found::Gap(gap) => gap.pred.map(Position),
        }
    }

    /// Whether a stop is within an upper bound.
    #[inline(never)]
    pub(crate) fn is_within_end(&self, at: Stop<'_>, end: Bound<&K>) -> bool {
        match end {
            Bound::Unbounded => true,
            Bound::Included(key) => self.comparator.compare(self.key_of(at.node), key) != Ordering::Greater,
            Bound::Excluded(key) => self.comparator.compare(self.key_of(at.node), key) == Ordering::Less,
        }
    }

    /// Whether a stop is within a lower bound.
    #[inline(never)]
    pub(crate) fn is_within_start(&self, at: Stop<'_>, start: Bound<&K>) -> bool {
        match start {
            Bound::Unbounded => true,
            Bound::Included(key) => self.comparator.compare(self.key_of(at.node), key) != Ordering::Less,
            Bound::Excluded(key) => self.comparator.compare(self.key_of(at.node), key) == Ordering::Greater,
        }
    }

    /// The versions at a position, newest first, one per number: the first, or the one behind `last`.
    pub(crate) fn next_version(&self, at: Position, last: Option<VersionMark>) -> Option<(Visible<'_>, VersionMark)> {
        let node = self.node(at.0);
        let (mut chain, mut above) = match last {
            None => (Chain::new(self, node), Above::Nothing),
            Some(last) => (Chain::resume(self, node, last.mark), Above::Stamped(last.seq)),
        };
        loop {
            let (version, seq) = chain.next_visible(&mut above)?;
            if last.is_none_or(|last| seq < last.seq) {
                return Some((Visible::of((version, seq)), VersionMark { mark: chain.mark(), seq }));
            }
        }
    }

    /// Of the versions at a position with a number above `limit` (none: of all), the oldest; of several with that
    /// number the newest. Walks all that are newer.
    pub(crate) fn version_above(&self, at: Position, limit: Option<SeqNo>) -> Option<Visible<'_>> {
        let mut chain = Chain::new(self, self.node(at.0));
        let mut above = Above::Nothing;
        let mut oldest: Option<Visible<'_>> = None;
        while let Some((version, seq)) = chain.next_visible(&mut above) {
            if limit.is_some_and(|limit| seq <= limit) {
                break;
            }
            if oldest.is_none_or(|oldest| seq < oldest.seq) {
                oldest = Some(Visible::of((version, seq)));
            }
        }
        oldest
    }

    /// A number that divides what is complete from what starts later, with the fence that goes with it.
    pub(crate) fn draw_snapshot(&self) -> SeqNo {
        let seq = self.clock.snapshot().min(GREATEST);
        sync::full_fence();
        seq
    }

    /// Names the version at a position whose value this is.
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub(crate) fn keep(&self, at: Position, value: &[u8]) -> Option<Kept> {
        let node = self.node(at.0);
        let is_it = |version: VersionRef<'_>| core::ptr::eq(version.value().as_ptr(), value.as_ptr());
        if is_it(node.first_version()) {
            return Some(Kept { node: at.0, version: None });
        }
        let mut further = ChainWord::newest_of(node).version();
        while let Some(reference) = further {
            let (version, header) = self.version(reference);
            if is_it(version) {
                return Some(Kept { node: at.0, version: Some(reference) });
            }
            further = ChainWord::older_than(header).version();
        }
        None
    }

    /// The key of a version that was kept from this list.
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub(crate) fn kept_key(&self, kept: Kept) -> &K {
        self.key(kept.node)
    }

    /// The value of a version that was kept from this list.
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub(crate) fn kept_value(&self, kept: Kept) -> &[u8] {
        kept.version.map_or_else(|| self.node(kept.node).first_version(), |version| self.version(version).0).value()
    }
}
