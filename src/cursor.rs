//! A cursor: a place between entries that can be moved both ways and set anew.

use core::fmt;
use core::ops::Bound;

use crate::arena::Arena;
use crate::clock::{EpochClock, SeqClock};
use crate::comparator::{Bytewise, Comparator};
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::entry::Entry;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
use crate::list::Resting;
use crate::list::{Key, List, Position, Scout, Stop, View};

/// Where a cursor stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<P = Position> {
    /// Before whatever comes first, and before no entry in particular.
    Start,
    /// Before this one, which is visible.
    Before(P),
    /// Behind the last one.
    End,
}

impl<P> Place<P> {
    /// Before this position, or behind everything if there is none.
    fn before(position: Option<P>) -> Self {
        position.map_or(Self::End, Self::Before)
    }

    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    fn map<Q>(self, to: impl FnOnce(P) -> Q) -> Place<Q> {
        match self {
            Self::Start => Place::Start,
            Self::Before(at) => Place::Before(to(at)),
            Self::End => Place::End,
        }
    }
}

/// Stands before an entry. From [`cursor`](crate::Table::cursor) and snapshots; visits tombstones, too.
///
/// A step forward is one link; so is a step back, which the lanes tell from where, and a search where they do not.
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::new();
/// for key in [b"a", b"c", b"e"] {
///     table.insert(key, b"");
/// }
/// let mut cursor = table.cursor();
/// assert!(cursor.seek(b"b"));
/// assert_eq!(cursor.entry().map(|e| e.key), Some(&b"c"[..]));
/// assert_eq!(cursor.prev_entry().map(|e| e.key), Some(&b"a"[..]));
/// assert!(cursor.seek_for_prev(b"d"));
/// assert_eq!(cursor.next_entry().map(|e| e.key), Some(&b"c"[..]));
/// assert_eq!(cursor.map(|e| e.key).collect::<Vec<_>>(), [b"e"]);
/// ```
pub struct Cursor<'a, K: ?Sized = [u8], C = Bytewise, A = DefaultArena, S = EpochClock, const H: usize = DEFAULT_HEIGHT>
{
    list: &'a List<K, C, A, S, H>,
    view: View,
    place: Place<Stop<'a>>,
    /// What it knows of what lies ahead, where it went last. (One for both ways: a cursor is moved into place by who gets it, and the
    /// fewer bytes that are the better.)
    scout: Scout<'a>,
}

impl<'a, K, C, A, S, const H: usize> Cursor<'a, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    pub(crate) fn new(list: &'a List<K, C, A, S, H>, view: View) -> Self {
        let mut cursor = Self::nowhere(list, view);
        cursor.seek_to_first();
        cursor
    }

    /// A cursor that is still to be sent somewhere.
    pub(crate) fn nowhere(list: &'a List<K, C, A, S, H>, view: View) -> Self {
        Self { list, view, place: Place::Start, scout: Scout::new() }
    }

    /// A cursor that stands where another one stood.
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub(crate) fn resume(list: &'a List<K, C, A, S, H>, view: View, place: Place, scout: Resting) -> Self {
        Self { list, view, place: place.map(|at| list.stop(at)), scout: list.rouse(scout) }
    }

    /// Where it stands, and what it knows.
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub(crate) fn place(&self) -> (Place, Resting) {
        (self.place.map(|at| at.position), Resting::of(&self.scout))
    }

    /// The entry the cursor stands before; none at the end, and before the beginning.
    pub fn entry(&self) -> Option<Entry<'a, K>> {
        match self.place {
            Place::Before(at) => self.read(at),
            Place::Start | Place::End => None,
        }
    }

    /// Returns the entry the cursor stands before, and steps over it. A cursor that has come to the end stays there, whatever
    /// is inserted later.
    #[expect(clippy::inline_always, reason = "as a call, what it returns goes through memory: half of a step")]
    #[inline(always)]
    pub fn next_entry(&mut self) -> Option<Entry<'a, K>> {
        self.step().or_else(|| self.next_slowly())
    }

    /// The usual step: over a key that was written once, along a link, to another such. None, and it stands where it stood, if it is
    /// not that.
    #[expect(clippy::inline_always, reason = "as a call, what it returns goes through memory: half of a step")]
    #[inline(always)]
    fn step(&mut self) -> Option<Entry<'a, K>> {
        let Place::Before(at) = self.place else { return None };
        let (next, rest) = self.list.next_straight(at, &mut self.scout)?;
        // The cursor stands before it from now on: what `entry` shows is what the next step gives.
        if !next.shows_plainly(self.view) {
            return None;
        }
        let (key, visible) = self.list.read_plainly(at, self.view)?;
        self.place = Place::Before(next);
        self.scout.go_on(rest);
        Some(Entry::new(key, visible))
    }

    #[inline(never)]
    fn next_slowly(&mut self) -> Option<Entry<'a, K>> {
        let at = match self.place {
            Place::Start => self.list.first_position().map(|first| self.list.stop(first)),
            Place::Before(at) => Some(at),
            Place::End => None,
        };
        let found = self.visible_from(at);
        let next = found.and_then(|at| self.list.next_stop(at, &mut self.scout));
        self.place = Place::before(self.visible_from(next));
        self.read(found?)
    }

    /// Steps back over the entry before, and returns it. Without one the cursor stays where it is.
    pub fn prev_entry(&mut self) -> Option<Entry<'a, K>> {
        let at = match self.place {
            Place::Start => None,
            Place::Before(at) => self.list.previous_position(at.position, &mut self.scout),
            Place::End => {
                // What lay ahead lies behind.
                self.scout = Scout::new();
                self.list.last_position()
            }
        };
        let at = self.visible_back_from(at)?;
        self.place = Place::Before(at);
        self.read(at)
    }

    /// Goes before the first entry whose key is not less; `false`, and to the end, if there is none.
    pub fn seek(&mut self, key: &K) -> bool {
        self.scout = Scout::new();
        let first = self.list.first_from(&Bound::Included(key), &mut self.scout);
        self.stand_at_visible(first)
    }

    /// Goes before the last entry whose key is not greater; `false`, and before the beginning, if there is none.
    pub fn seek_for_prev(&mut self, key: &K) -> bool {
        self.scout = Scout::new();
        let last = self.list.last_to(&Bound::Included(key), &mut self.scout);
        let found = self.visible_back_from(last);
        self.place = found.map_or(Place::Start, Place::Before);
        found.is_some()
    }

    /// Goes before the first entry; `false`, and to the end, if there is none.
    pub fn seek_to_first(&mut self) -> bool {
        self.scout = Scout::new();
        let first = self.list.first_from(&Bound::Unbounded, &mut self.scout);
        self.stand_at_visible(first)
    }

    /// Goes before the last entry; `false`, and to the end, if there is none.
    pub fn seek_to_last(&mut self) -> bool {
        self.scout = Scout::new();
        let found = self.visible_back_from(self.list.last_position());
        self.place = Place::before(found);
        found.is_some()
    }

    /// Goes before the first visible entry from a position on; whether there is one.
    #[inline]
    fn stand_at_visible(&mut self, first: Option<Position>) -> bool {
        let found = self.visible_from(first.map(|first| self.list.stop(first)));
        self.place = Place::before(found);
        found.is_some()
    }

    /// What is to be seen at a stop.
    #[inline]
    fn read(&self, at: Stop<'a>) -> Option<Entry<'a, K>> {
        let (key, visible) = self.list.read(at, self.view)?;
        Some(Entry::new(key, visible))
    }

    /// The first visible entry from a stop on.
    #[inline]
    fn visible_from(&mut self, mut at: Option<Stop<'a>>) -> Option<Stop<'a>> {
        while at.is_some_and(|at| !self.list.shows(at, self.view)) {
            at = self.list.next_stop(at?, &mut self.scout);
        }
        at
    }

    /// The first visible entry from a position back.
    fn visible_back_from(&mut self, mut at: Option<Position>) -> Option<Stop<'a>> {
        loop {
            let stop = self.list.stop(at?);
            if self.list.shows(stop, self.view) {
                return Some(stop);
            }
            at = self.list.previous_position(stop.position, &mut self.scout);
        }
    }
}

impl<'a, K, C, A, S, const H: usize> Iterator for Cursor<'a, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    type Item = Entry<'a, K>;

    fn next(&mut self) -> Option<Entry<'a, K>> {
        self.next_entry()
    }
}

impl<K: ?Sized, C, A, S, const H: usize> Clone for Cursor<'_, K, C, A, S, H> {
    fn clone(&self) -> Self {
        Self { list: self.list, view: self.view, place: self.place, scout: self.scout }
    }
}

impl<K: ?Sized, C, A, S, const H: usize> fmt::Debug for Cursor<'_, K, C, A, S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("place", &self.place).finish_non_exhaustive()
    }
}
