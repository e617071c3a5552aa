//! Lane blocks side by side.
//!
//! A search visits several lane blocks and one or two nodes. Strewn among the nodes the blocks of a large table lie on as many
//! pages as the table has, more than the processor can translate without walking page tables; side by side they lie on a
//! tenth of that. So blocks are carved from slabs, which grow with the table. (Measured: see `design`.)
//!
//! A slab is taken by try-lock; who finds it taken allocates a block by itself. Lanes are hints, and so is where they lie.

use core::fmt;

use super::{Arena, Handle, UNIT, align_units, align_up, units};
use crate::sync::{AtomicBool, AtomicU32, order};

/// The largest slab in bytes.
const LARGEST: usize = 64 << 10;
/// A slab is at most this part of what the table holds, so that an unfinished one costs little.
const PART: usize = 64;

/// The slab of one shard: what is left of it, in units.
pub(super) struct Slab {
    taken: AtomicBool,
    next: AtomicU32,
    end: AtomicU32,
}

impl Slab {
    pub(super) fn new() -> Self {
        Self { taken: AtomicBool::new(false), next: AtomicU32::new(0), end: AtomicU32::new(0) }
    }

    /// Forgets the slab. For a caller that has the table exclusively.
    pub(super) fn clear(&self) {
        self.taken.store(false, order::PLAIN);
        self.next.store(0, order::PLAIN);
        self.end.store(0, order::PLAIN);
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slab")
    }
}

/// Holds a slab; given back on drop, also when an allocator panics.
struct Held<'a>(&'a Slab);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, order::SLAB_UNLOCK);
    }
}

/// Memory for a lane block of `size` bytes; none if that would bring what the table holds, and what its writers have been
/// promised, above `limit` bytes (0: no limit).
pub(crate) fn carve(arena: &impl Arena, shard: usize, size: usize, align: usize, limit: usize) -> Option<Handle> {
    let room = || match limit {
        0 => usize::MAX,
        limit => {
            let promised = arena.shards().iter().map(|shard| shard.figures.byte_credit());
            limit.saturating_sub(promised.fold(arena.used(), usize::saturating_add))
        }
    };
    let alone = || (room() >= size + align).then(|| arena.allocate(shard, size, align).ok())?;
    // Where addresses have 32 bits, memories are too small for this to pay.
    if cfg!(not(target_pointer_width = "64")) {
        return alone();
    }
    let Some(slab) = arena.shards().get(shard).map(|shard| &shard.slab) else { return alone() };
    if slab.taken.swap(true, order::SLAB_LOCK) {
        return alone();
    }
    let held = Held(slab);
    let wanted = units(size)?;
    let start = align_up(slab.next.load(order::PLAIN), align_units(align)?)?;
    if start != 0 && start.checked_add(wanted).is_some_and(|end| end <= slab.end.load(order::PLAIN)) {
        slab.next.store(start + wanted, order::PLAIN);
        return Some(Handle(start));
    }
    let slab_size = (arena.used() / PART).min(LARGEST).min(room().saturating_sub(align));
    if slab_size < 2 * size {
        drop(held);
        return alone();
    }
    let Ok(fresh) = arena.allocate(shard, slab_size, align) else {
        drop(held);
        return alone();
    };
    slab.next.store(fresh.0 + wanted, order::PLAIN);
    slab.end.store(fresh.0 + (slab_size / UNIT) as u32, order::PLAIN);
    Some(fresh)
}
