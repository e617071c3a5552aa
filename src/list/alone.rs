//! A list with one writer: what that may do without, and how it is known to be the only one.
//!
//! *What holds.* Everything that many writers decide among themselves by a read-modify-write, one may decide by a load and a store: what
//! of a chunk is its own, whether a block is free, what it has counted; and the link of a node that brings its number along. Readers see
//! the same words change in the same order, published with release as before. What stays is what readers have a part in: the link
//! of a node without a number is the barrier before the clock (see `version`), and its number may be set by whoever meets it first. The
//! links of chains stay exchanges, too, for the same reason.
//!
//! *How it is known.* Writers come in by the gates of the table's shards, and allocate, link and file inside only. [`Alone`] holds all of
//! them. Before it there is, by acquire, all that others did before they left; after it, by release, all that it did: in between nobody
//! else changes a word but a pending version's number.

use crate::arena::{Arena, Gates, Shard, Writer};
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::write::{Refusal, Write, Written};
use super::{Key, List};

/// The only writer of a list, as long as it lives.
pub(crate) struct Alone<'a, K: ?Sized, C, A, S, const H: usize> {
    list: &'a List<K, C, A, S, H>,
    /// By which it writes, and its number.
    shard: (&'a Shard, usize),
    gates: Gates<'a>,
}

impl<'a, K: ?Sized, C, A: Arena, S, const H: usize> Alone<'a, K, C, A, S, H> {
    /// The caller as the only writer, by the shard of this number, unless somebody is writing or the table is sealed.
    pub(crate) fn enter(list: &'a List<K, C, A, S, H>, number: usize) -> Option<Self> {
        let shards = list.arena.shards();
        let number = number.checked_rem(shards.len())?;
        let shard = (shards.get(number)?, number);
        let gates = Gates::hold(shards)?;
        Some(Self { list, shard, gates })
    }

    /// The shard that it writes by.
    #[inline]
    pub(crate) fn shard(&self) -> &'a Shard {
        self.shard.0
    }

    #[inline]
    fn writer(&mut self) -> Writer<'_, true> {
        let (shard, number) = self.shard;
        // SAFETY: these are all gates of this list, which it is used for, below, while this is borrowed exclusively.
        unsafe { Writer::alone(&self.gates, shard, number) }
    }

    /// The same writer, as writes see it that have no way of their own for it.
    #[inline]
    pub(crate) fn as_one_of_many(&mut self) -> Writer<'_> {
        self.writer().as_one_of_many()
    }
}

impl<'a, K, C, A, S, const H: usize> Alone<'a, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// As [`List::write`].
    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call, what it returns goes through memory")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(crate) fn write(&mut self, write: &Write<'_, K>, linked: impl FnOnce()) -> Result<Written<'a>, Refusal<'a>> {
        self.list.write(self.writer(), write, linked)
    }
}
