//! The memory orderings of the manager, by what they are for. Those of the tables themselves stand in `src/sync.rs`.
//!
//! Sets of tables and everything about the queue go from thread to thread through locks. What stands here are words that are
//! looked at without one.

use core::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};

/// Words that bring nothing with them: statistics, credits, tags, and the level of backpressure, which is set under the
/// manager's lock. What hangs on the level is decided under that lock, or by the gate of the table that a write gets to.
pub(super) const PLAIN: Ordering = Relaxed;

/// A batch of inserts notes its pin and then looks whether its table is being drained; who drains says so and then looks for
/// pins. Partner: itself, store before load on both sides: one of the two sees the other.
pub(super) const PIN: Ordering = SeqCst;
/// Lets go of a pin. Partner: [`PIN`], in the look for pins: what was inserted is in before the table is sealed.
pub(super) const UNPIN: Ordering = Release;

/// A table is being left, said before the clock is moved; and a write's look at that, after it has read the clock. Partner:
/// itself, by way of the clock: the write read it before it was moved, or sees that the table is left.
pub(super) const LEAVE: Ordering = SeqCst;

/// A table has tags, said after they are noted. Partner: [`TAGGED_READ`].
pub(super) const TAGGED: Ordering = Release;
/// Partner: [`TAGGED`]: who sees that there are tags does not read the words as they were before the first.
pub(super) const TAGGED_READ: Ordering = Acquire;

/// Background threads are to stop. Set under the manager's lock, under which whoever goes to sleep has looked; any other look
/// may come late.
pub(super) const STOP: Ordering = Relaxed;
