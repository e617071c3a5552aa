//! Where sequence numbers come from.
//!
//! A write links its version first and draws the number afterwards; a snapshot draws its number first and looks at
//! links afterwards. If the writer reads the clock *before* the snapshot moved it, the version was linked before, and
//! every look of the snapshot sees it; if it reads the clock *after*, its number is above the snapshot's. Nothing that
//! is invisible to a snapshot can become visible to it later.

use core::fmt;

use crate::sync::{AtomicU64, order};

/// A sequence number. 0 is an ordinary one; [`SeqNo::MAX`] as a bound means "newest".
///
/// ```
/// use memskip::SeqNo;
///
/// assert!(SeqNo(3) < SeqNo::MAX);
/// assert!(SeqNo::LIMIT.0 >= (1 << 62) - 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// As a bound: the newest there is.
    pub const MAX: Self = Self(u64::MAX);
    /// The largest number a caller may give, 2^62 - 1. Clocks go on above it, as far again.
    pub const LIMIT: Self = Self((1 << 62) - 1);
}

impl From<u64> for SeqNo {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The greatest number that clocks here follow: the one above the greatest that a caller may give, for the write that comes next.
const HIGHEST: u64 = SeqNo::LIMIT.0 + 1;

/// A source of sequence numbers.
///
/// # Correctness
///
/// - Numbers from `stamp` never go down, also across threads that hand work to each other.
/// - `snapshot` returns a number S such that every `stamp` that starts after the call returns more than S, and every
///   `stamp` that ended before it returned at most S.
/// - After `observe(n)` has returned, `stamp` and `snapshot` that start later return at least n.
///
/// A clock that breaks these rules makes snapshots unstable and order doubtful, never memory unsafe. Numbers above
/// 2^63 - 1 are cut to it. A panic in a clock leaves the table usable; the version it was asked for is
/// stamped by whoever meets it next.
///
/// Not dyn-compatible, for [`ORDERED`](Self::ORDERED): there is no `dyn SeqClock`. A clock of which there are several kinds is an
/// enum.
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// use memskip::{Memtable, SeqClock, SeqNo};
///
/// /// Numbers shared by several tables.
/// static NEXT: AtomicU64 = AtomicU64::new(1);
///
/// #[derive(Clone, Default)]
/// struct Shared;
///
/// impl SeqClock for Shared {
///     fn stamp(&self) -> SeqNo {
///         SeqNo(NEXT.fetch_add(1, SeqCst))
///     }
///     fn snapshot(&self) -> SeqNo {
///         SeqNo(NEXT.fetch_add(1, SeqCst))
///     }
///     fn observe(&self, seq: SeqNo) {
///         NEXT.fetch_max(seq.0 + 1, SeqCst);
///     }
/// }
///
/// let table = Memtable::<[u8], _, _, _>::builder().clock(Shared).build();
/// let first = table.put(b"k", b"v")?;
/// assert!(table.put(b"k", b"w")? > first);
/// # Ok::<(), memskip::InsertError>(())
/// ```
pub trait SeqClock {
    /// Whether `stamp` and `snapshot` access their word with sequentially consistent operations, `snapshot` with a
    /// read-modify-write (or `stamp` with one). Spares a fence per write. `false` is always correct.
    const ORDERED: bool = false;

    /// The number for a version that is being committed.
    fn stamp(&self) -> SeqNo;

    /// A number that divides what is complete now from what starts later.
    fn snapshot(&self) -> SeqNo;

    /// Told of a number that did not come from this clock, once its version is in the table: one that a caller gave
    /// ([`put_at`](crate::Memtable::put_at)), or one above such a number. At most [`SeqNo::LIMIT`] + 1.
    ///
    /// The default does nothing, which keeps the rules only where nobody gives numbers, or where the engine moves the clock itself
    /// before it gives them. Elsewhere what is written above a given number is missing from snapshots until the clock has caught up.
    fn observe(&self, seq: SeqNo) {
        let _ = seq;
    }
}

impl<S: SeqClock + ?Sized> SeqClock for &S {
    const ORDERED: bool = S::ORDERED;
    #[inline]
    fn stamp(&self) -> SeqNo {
        (**self).stamp()
    }
    #[inline]
    fn snapshot(&self) -> SeqNo {
        (**self).snapshot()
    }
    #[inline]
    fn observe(&self, seq: SeqNo) {
        (**self).observe(seq);
    }
}

#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
impl<S: SeqClock + ?Sized> SeqClock for alloc::sync::Arc<S> {
    const ORDERED: bool = S::ORDERED;
    #[inline]
    fn stamp(&self) -> SeqNo {
        (**self).stamp()
    }
    #[inline]
    fn snapshot(&self) -> SeqNo {
        (**self).snapshot()
    }
    #[inline]
    fn observe(&self, seq: SeqNo) {
        (**self).observe(seq);
    }
}

/// Raises `word` to `floor`, touching it only if it is lower.
#[inline]
fn raise(word: &AtomicU64, floor: u64) {
    if word.load(order::CLOCK) < floor {
        word.fetch_max(floor, order::CLOCK);
    }
}

/// Makes the parts that the stock clocks have in common: one word, copied on `clone`.
macro_rules! one_word_clock {
    ($name:ident) => {
        impl $name {
            /// A clock that has given out nothing yet.
            pub fn new() -> Self {
                Self::starting_at(SeqNo(0))
            }

            /// A clock that goes on behind `seq`, the last number that is in use elsewhere.
            pub fn starting_at(seq: SeqNo) -> Self {
                Self { last: AtomicU64::new(seq.0.min(SeqNo::LIMIT.0)) }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl Clone for $name {
            /// A clock of its own that goes on from the same number.
            fn clone(&self) -> Self {
                Self { last: AtomicU64::new(self.last.load(order::CLOCK)) }
            }
        }
    };
}

/// Writers only read the clock; a snapshot advances it. The default: the write path shares nothing.
///
/// Several writes between two snapshots share a number; of those to one key the last one counts, and
/// [`versions`](crate::Table::versions) shows only that one.
///
/// ```
/// use memskip::{EpochClock, SeqClock, SeqNo};
///
/// let clock = EpochClock::new();
/// assert_eq!(clock.stamp(), clock.stamp());
/// let snapshot = clock.snapshot();
/// assert!(clock.stamp() > snapshot);
/// ```
#[derive(Debug)]
pub struct EpochClock {
    /// The last closed epoch: writers stamp one more.
    last: AtomicU64,
}

one_word_clock!(EpochClock);

impl SeqClock for EpochClock {
    const ORDERED: bool = true;
    #[inline]
    fn stamp(&self) -> SeqNo {
        SeqNo(self.last.load(order::CLOCK) + 1)
    }
    #[inline]
    fn snapshot(&self) -> SeqNo {
        SeqNo(self.last.fetch_add(1, order::CLOCK) + 1)
    }
    #[inline]
    fn observe(&self, seq: SeqNo) {
        // The open epoch becomes `seq`, so that the next snapshot is at least that.
        raise(&self.last, seq.0.min(HIGHEST).saturating_sub(1));
    }
}

/// A new number for every write: a total order of writes, for one shared counter on the write path.
///
/// A batch has one number for all its writes. A write to one of its keys that comes while it is being applied may get that number, too:
/// it counts as written just before the batch, whose version covers it.
///
/// ```
/// use memskip::{CounterClock, SeqClock, SeqNo};
///
/// let clock = CounterClock::starting_at(SeqNo(41));
/// assert_eq!(clock.stamp(), SeqNo(42));
/// assert_eq!(clock.snapshot(), SeqNo(42));
/// assert_eq!(clock.stamp(), SeqNo(43));
/// ```
#[derive(Debug)]
pub struct CounterClock {
    /// The last number given out.
    last: AtomicU64,
}

one_word_clock!(CounterClock);

impl SeqClock for CounterClock {
    const ORDERED: bool = true;
    #[inline]
    fn stamp(&self) -> SeqNo {
        SeqNo(self.last.fetch_add(1, order::CLOCK) + 1)
    }
    #[inline]
    fn snapshot(&self) -> SeqNo {
        SeqNo(self.last.load(order::CLOCK))
    }
    #[inline]
    fn observe(&self, seq: SeqNo) {
        raise(&self.last, seq.0.min(HIGHEST));
    }
}

/// The engine's own numbers, from its write-ahead log: writes name theirs
/// ([`put_at`](crate::Memtable::put_at)), in any order.
///
/// A snapshot stands at the highest number the table has been told, and does not use one up: two in a row are equal,
/// and the log's next number is above both. A write that names no number takes the next one. Writing a number at or
/// below a snapshot's is the engine's own change of the past, and shows in that snapshot.
///
/// ```
/// use memskip::{ManualClock, Memtable, SeqNo};
///
/// let table = Memtable::<[u8], _, _, _>::builder().clock(ManualClock::new()).build();
/// table.put_at(b"k", b"from the log", SeqNo(700))?;
/// assert_eq!(table.snapshot().seq(), SeqNo(700));
/// # Ok::<(), memskip::InsertError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    counter: CounterClock,
}

impl ManualClock {
    /// A clock that has been told nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock that goes on behind `seq`.
    pub fn starting_at(seq: SeqNo) -> Self {
        Self { counter: CounterClock::starting_at(seq) }
    }

    /// Moves the clock forward to `seq`; it never goes back.
    pub fn advance_to(&self, seq: SeqNo) {
        self.observe(seq);
    }
}

impl SeqClock for ManualClock {
    const ORDERED: bool = CounterClock::ORDERED;
    #[inline]
    fn stamp(&self) -> SeqNo {
        self.counter.stamp()
    }
    #[inline]
    fn snapshot(&self) -> SeqNo {
        self.counter.snapshot()
    }
    #[inline]
    fn observe(&self, seq: SeqNo) {
        self.counter.observe(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every stock clock promises, told in one thread.
    fn divides(clock: &impl SeqClock) {
        for round in 0..5 {
            let before = clock.stamp();
            let snapshot = clock.snapshot();
            assert!(before <= snapshot, "round {round}");
            assert!(clock.stamp() > snapshot, "round {round}");
        }
        clock.observe(SeqNo(1000));
        assert!(clock.snapshot() >= SeqNo(1000));
        assert!(clock.stamp() > SeqNo(1000));
    }

    #[test]
    fn stock_clocks_divide_before_from_after() {
        divides(&EpochClock::new());
        divides(&CounterClock::new());
        divides(&ManualClock::starting_at(SeqNo(7)));
    }
}
