//! Iterators: entries and versions between two bounds, from both ends.
//!
//! An iterator remembers the last position it gave from each end; nodes never move, so both stay good, and the ends
//! have met when one comes to the other's. It sees what is inserted ahead of it while it runs, unless it reads at a
//! sequence number.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::Bound;

use crate::arena::Arena;
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::entry::Entry;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
use crate::list::Resting;
use crate::list::{Key, List, Position, STRAIGHT, Scout, Stop, VersionMark, View};

/// The positions within bounds that are not given out yet.
struct Walk<'a, 'k, K: ?Sized, C, A, S, const H: usize> {
    list: &'a List<K, C, A, S, H>,
    bounds: (Bound<&'k K>, Bound<&'k K>),
    /// None before the first step, and when the walk is over.
    front: Option<Stop<'a>>,
    back: Option<Stop<'a>>,
    /// What each end knows of what lies ahead of it.
    scouts: [Scout<'a>; 2],
    /// Whether there is an end that front and back have to look out for: a bound, or one another.
    guards: [bool; 2],
    done: bool,
}

impl<K: ?Sized, C, A, S, const H: usize> Clone for Walk<'_, '_, K, C, A, S, H> {
    fn clone(&self) -> Self {
        Self {
            list: self.list,
            bounds: self.bounds,
            front: self.front,
            back: self.back,
            scouts: self.scouts,
            guards: self.guards,
            done: self.done,
        }
    }
}

impl<'a, 'k, K: ?Sized, C, A, S, const H: usize> Walk<'a, 'k, K, C, A, S, H> {
    fn new(list: &'a List<K, C, A, S, H>, bounds: (Bound<&'k K>, Bound<&'k K>)) -> Self {
        Self::resume(list, bounds, (None, None), [Scout::new(); 2])
    }

    /// One whose ends have come so far.
    fn resume(
        list: &'a List<K, C, A, S, H>,
        bounds: (Bound<&'k K>, Bound<&'k K>),
        (front, back): (Option<Stop<'a>>, Option<Stop<'a>>),
        scouts: [Scout<'a>; 2],
    ) -> Self {
        let is_bound = |bound| !matches!(bound, Bound::Unbounded);
        let guards = [is_bound(bounds.1) || back.is_some(), is_bound(bounds.0) || front.is_some()];
        Self { list, bounds, front, back, scouts, guards, done: false }
    }
}

impl<'a, K, C, A, S, const H: usize> Walk<'a, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    #[inline]
    fn next(&mut self) -> Option<Stop<'a>> {
        if self.done {
            return None;
        }
        let next = match self.front {
            None => self.begin(),
            Some(front) => self.list.next_stop(front, &mut self.scouts[0]),
        };
        self.front = next.filter(|next| self.is_ahead(*next));
        self.guards[1] = true;
        self.end_unless(self.front)
    }

    /// Ends the walk for both ends, unless one has come to something.
    #[inline]
    fn end_unless(&mut self, found: Option<Stop<'a>>) -> Option<Stop<'a>> {
        if found.is_none() {
            (self.front, self.back, self.done) = (None, None, true);
        }
        found
    }

    /// Whether a stop that the front has come to lies within bounds, and the back has not been there.
    #[inline]
    fn is_ahead(&self, at: Stop<'_>) -> bool {
        // Most walks have nothing to look out for, and one test tells.
        let has_end = !matches!(self.bounds.1, Bound::Unbounded);
        !self.guards[0] || !at.is(self.back) && (!has_end || self.list.is_within_end(at, self.bounds.1))
    }

    /// The same of a stop that the back has come to.
    #[inline]
    fn is_left(&self, at: Stop<'_>) -> bool {
        let has_start = !matches!(self.bounds.0, Bound::Unbounded);
        !self.guards[1] || !at.is(self.front) && (!has_start || self.list.is_within_start(at, self.bounds.0))
    }

    #[inline]
    fn begin(&mut self) -> Option<Stop<'a>> {
        let first = self.list.first_from(&self.bounds.0, &mut self.scouts[0])?;
        Some(self.list.stop(first))
    }

    fn next_back(&mut self) -> Option<Stop<'a>> {
        if self.done {
            return None;
        }
        let next = match self.back {
            None => self.list.last_to(&self.bounds.1, &mut self.scouts[1]),
            Some(back) => self.list.previous_position(back.position, &mut self.scouts[1]),
        };
        self.back = next.map(|next| self.list.stop(next)).filter(|next| self.is_left(*next));
        self.guards[0] = true;
        self.end_unless(self.back)
    }

    /// What there is at a stop that an end has come to, if that is for it to give, and was written once.
    #[inline]
    fn reader<const BACK: bool>(&self, view: View) -> impl Fn(Stop<'a>) -> Option<Entry<'a, K>> {
        // Once for a whole fold.
        let (list, is_guarded) = (self.list, self.guards[usize::from(BACK)]);
        move |at| {
            if is_guarded && !(if BACK { self.is_left(at) } else { self.is_ahead(at) }) {
                return None;
            }
            let (key, visible) = list.read_plainly(at, view)?;
            Some(Entry::new(key, visible))
        }
    }

    /// Usual steps of one end, as many as there are: where it stands does not go through memory between them.
    #[inline]
    fn fold_straight<const BACK: bool, B>(
        &mut self,
        view: View,
        folded: B,
        f: &mut impl FnMut(B, Entry<'a, K>) -> B,
    ) -> B {
        let mut scout = self.scouts[usize::from(BACK)];
        let Some(mut at) = (if BACK { self.back } else { self.front }).filter(|_| scout.goes_by_lane()) else {
            return folded;
        };
        let folded = self.list.fold_straight::<BACK, _, _>((&mut at, &mut scout), self.reader::<BACK>(view), folded, f);
        *(if BACK { &mut self.back } else { &mut self.front }) = Some(at);
        self.scouts[usize::from(BACK)] = scout;
        folded
    }

    /// The usual step of the front: to the next key, as expected, that was written once. None, and it stands where it stood, if it is
    /// not that.
    #[expect(clippy::inline_always, reason = "as a call, what it returns goes through memory: half of a step")]
    #[inline(always)]
    fn step(&mut self, view: View) -> Option<Entry<'a, K>> {
        let (next, rest) = self.list.next_straight(self.front?, &mut self.scouts[0])?;
        let entry = self.reader::<false>(view)(next)?;
        self.front = Some(next);
        self.scouts[0].go_on(rest);
        Some(entry)
    }

    /// The same of the back.
    #[inline]
    fn step_back(&mut self, view: View) -> Option<Entry<'a, K>> {
        let (next, rest) = self.list.previous_straight(self.back?, &mut self.scouts[1])?;
        let entry = self.reader::<true>(view)(next)?;
        self.back = Some(next);
        self.scouts[1].go_on(rest);
        Some(entry)
    }
}

/// The newest visible version of each key within bounds, tombstones included, ascending; double-ended. From
/// [`iter`](crate::Table::iter), [`range`](crate::Table::range), [`range_at`](crate::Table::range_at) and snapshots.
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::new();
/// for key in [b"a", b"b", b"c"] {
///     table.insert(key, b"");
/// }
/// let mut range = table.range(&b"a"[..]..&b"c"[..]);
/// assert_eq!(range.next_back().map(|e| e.key), Some(&b"b"[..]));
/// assert_eq!(range.next().map(|e| e.key), Some(&b"a"[..]));
/// assert!(range.next().is_none());
/// ```
pub struct Range<
    'a,
    'k,
    K: ?Sized = [u8],
    C = Bytewise,
    A = DefaultArena,
    S = EpochClock,
    const H: usize = DEFAULT_HEIGHT,
> {
    walk: Walk<'a, 'k, K, C, A, S, H>,
    view: View,
}

/// Everything: a [`Range`] without bounds.
pub type Iter<'a, K = [u8], C = Bytewise, A = DefaultArena, S = EpochClock, const H: usize = DEFAULT_HEIGHT> =
    Range<'a, 'a, K, C, A, S, H>;

impl<'a, 'k, K: ?Sized, C, A, S, const H: usize> Range<'a, 'k, K, C, A, S, H> {
    pub(crate) fn new(list: &'a List<K, C, A, S, H>, bounds: (Bound<&'k K>, Bound<&'k K>), view: View) -> Self {
        Self { walk: Walk::new(list, bounds), view }
    }
}

impl<'a, 'k, K, C, A, S, const H: usize> Range<'a, 'k, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Any step: the first visible entry that a step of the walk leads to.
    #[inline(never)]
    fn step_slowly(
        &mut self,
        step: impl Fn(&mut Walk<'a, 'k, K, C, A, S, H>) -> Option<Stop<'a>>,
    ) -> Option<Entry<'a, K>> {
        loop {
            let at = step(&mut self.walk)?;
            if let Some((key, visible)) = self.walk.list.read(at, self.view) {
                return Some(Entry::new(key, visible));
            }
        }
    }
}

impl<'a, K, C, A, S, const H: usize> Iterator for Range<'a, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    type Item = Entry<'a, K>;

    #[expect(clippy::inline_always, reason = "as a call, what it returns goes through memory: half of a step")]
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.step(self.view).or_else(|| self.step_slowly(Walk::next))
    }

    /// The same steps; but where it stands does not go through memory between them.
    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = init;
        loop {
            folded = self.walk.fold_straight::<false, _>(self.view, folded, &mut f);
            let Some(entry) = self.next() else { return folded };
            folded = f(folded, entry);
        }
    }
}

impl<K, C, A, S, const H: usize> DoubleEndedIterator for Range<'_, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.walk.step_back(self.view).or_else(|| self.step_slowly(Walk::next_back))
    }

    /// As [`fold`](Iterator::fold).
    #[inline]
    fn rfold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = init;
        loop {
            folded = self.walk.fold_straight::<true, _>(self.view, folded, &mut f);
            let Some(entry) = self.next_back() else { return folded };
            folded = f(folded, entry);
        }
    }
}

impl<K, C, A, S, const H: usize> FusedIterator for Range<'_, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
}

impl<K: ?Sized, C, A, S, const H: usize> Clone for Range<'_, '_, K, C, A, S, H> {
    fn clone(&self) -> Self {
        Self { walk: self.walk.clone(), view: self.view }
    }
}

impl<K: ?Sized, C, A, S, const H: usize> fmt::Debug for Range<'_, '_, K, C, A, S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").field("view", &self.view).finish_non_exhaustive()
    }
}

/// Every version within bounds: keys ascending, of each key the newest first, which is the order of a flush.
/// Backwards: keys descending, of each key the oldest first (and every step walks the newer versions of its key). Of several
/// versions with one sequence number it gives the newest, so that `(key, seq)` is unique.
///
/// ```
/// use memskip::{Memtable, SeqNo};
///
/// let table = Memtable::new();
/// table.put_at(b"k", b"old", SeqNo(1))?;
/// table.put_at(b"k", b"new", SeqNo(2))?;
/// let values: Vec<_> = table.versions().map(|e| e.value).collect();
/// assert_eq!(values, [b"new", b"old"]);
/// # Ok::<(), memskip::InsertError>(())
/// ```
pub struct Versions<
    'a,
    'k,
    K: ?Sized = [u8],
    C = Bytewise,
    A = DefaultArena,
    S = EpochClock,
    const H: usize = DEFAULT_HEIGHT,
> {
    walk: Walk<'a, 'k, K, C, A, S, H>,
    /// The key that is being given from the front, and the version given last; none behind a key that was written once.
    front: Option<(Position, VersionMark)>,
    /// The same from the back: the number given last.
    back: Option<(Position, SeqNo)>,
}

impl<'a, 'k, K: ?Sized, C, A, S, const H: usize> Versions<'a, 'k, K, C, A, S, H> {
    pub(crate) fn new(list: &'a List<K, C, A, S, H>, bounds: (Bound<&'k K>, Bound<&'k K>)) -> Self {
        Self { walk: Walk::new(list, bounds), front: None, back: None }
    }
}

impl<'a, K, C, A, S, const H: usize> Iterator for Versions<'a, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    type Item = Entry<'a, K>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Most keys were written once: nothing is to be remembered of those.
        let once = if STRAIGHT && self.front.is_none() { self.walk.step(View::NEWEST) } else { None };
        once.or_else(|| self.next_slowly())
    }

    /// As [`Range`]'s.
    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = init;
        loop {
            if self.front.is_none() {
                folded = self.walk.fold_straight::<false, _>(View::NEWEST, folded, &mut f);
            }
            let Some(entry) = self.next() else { return folded };
            folded = f(folded, entry);
        }
    }
}

impl<'a, K, C, A, S, const H: usize> Versions<'a, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    #[inline(never)]
    fn next_slowly(&mut self) -> Option<Entry<'a, K>> {
        let list = self.walk.list;
        loop {
            let (at, given) = match self.front {
                Some((at, given)) => (at, Some(given)),
                None => match self.walk.next() {
                    Some(stop) => {
                        if STRAIGHT {
                            if let Some((key, visible)) = list.read_plainly(stop, View::NEWEST) {
                                return Some(Entry::new(key, visible));
                            }
                        }
                        (stop.position, None)
                    }
                    // The walk is over: what is left is the rest of the key that the back is at.
                    None => (self.back?.0, None),
                },
            };
            let next = list.next_version(at, given);
            let next = next.filter(|(next, _)| self.back.is_none_or(|(back, given)| back != at || next.seq > given));
            if let Some((visible, mark)) = next {
                self.front = Some((at, mark));
                return Some(Entry::new(list.key_at(at), visible));
            }
            self.front = None;
            if self.back.is_some_and(|(back, _)| back == at) {
                self.back = None;
                return None;
            }
        }
    }
}

impl<K, C, A, S, const H: usize> DoubleEndedIterator for Versions<'_, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        let list = self.walk.list;
        loop {
            let (at, limit) = match self.back {
                Some((at, given)) => (at, Some(given)),
                None => (self.walk.next_back().map(|stop| stop.position).or(self.front.map(|(at, _)| at))?, None),
            };
            let next = list.version_above(at, limit);
            let next = next.filter(|next| self.front.is_none_or(|(front, last)| front != at || next.seq < last.seq));
            if let Some(visible) = next {
                self.back = Some((at, visible.seq));
                return Some(Entry::new(list.key_at(at), visible));
            }
            self.back = None;
            if self.front.is_some_and(|(front, _)| front == at) {
                self.front = None;
                return None;
            }
        }
    }
}

impl<K, C, A, S, const H: usize> FusedIterator for Versions<'_, '_, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
}

impl<K: ?Sized, C, A, S, const H: usize> Clone for Versions<'_, '_, K, C, A, S, H> {
    fn clone(&self) -> Self {
        Self { walk: self.walk.clone(), front: self.front, back: self.back }
    }
}

impl<K: ?Sized, C, A, S, const H: usize> fmt::Debug for Versions<'_, '_, K, C, A, S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions").finish_non_exhaustive()
    }
}

#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
impl<'a, 'k, K, C, A, S, const H: usize> Range<'a, 'k, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// A range that goes on where another one stood.
    pub(crate) fn resume(
        list: &'a List<K, C, A, S, H>,
        bounds: (Bound<&'k K>, Bound<&'k K>),
        view: View,
        (front, back): (Option<Position>, Option<Position>),
        scouts: [Resting; 2],
    ) -> Self {
        let scouts = scouts.map(|scout| list.rouse(scout));
        let [front, back] = [front, back].map(|end| end.map(|at| list.stop(at)));
        Self { walk: Walk::resume(list, bounds, (front, back), scouts), view }
    }

    /// Where it stands, and what its ends know.
    pub(crate) fn ends(&self) -> (Option<Position>, Option<Position>, [Resting; 2]) {
        let position = |end: Option<Stop<'_>>| Some(end?.position);
        (position(self.walk.front), position(self.walk.back), self.walk.scouts.each_ref().map(Resting::of))
    }
}
