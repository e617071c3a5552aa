//! Where bytes live: allocated in one direction, never freed singly, named by 32-bit handles.
//!
//! ```text
//! handle    | chunk: 12 bits | offset in units of 8 bytes: 20 bits |     growing arenas
//! handle    |         offset in units of 8 bytes: 32 bits          |     a fixed buffer
//! ```
//!
//! A handle is half a pointer, needs only 32-bit atomics, and holds wherever the memory lies. Handle 0 is "none".

mod fixed;
mod gate;
mod selector;
mod shard;
mod slab;

#[cfg(feature = "alloc")]
mod chunk;
#[cfg(feature = "alloc")]
mod directory;
#[cfg(feature = "alloc")]
mod sharded;

#[cfg(feature = "alloc")]
pub use chunk::ChunkArena;
#[cfg(feature = "alloc")]
pub use directory::ChunkSizes;
pub use fixed::FixedArena;
#[cfg(feature = "std")]
pub use selector::ThreadShards;
pub use selector::{ShardSelector, SingleShard};
pub use shard::Shard;
#[cfg(feature = "alloc")]
pub(crate) use sharded::DefaultSelector;
#[cfg(feature = "alloc")]
pub use sharded::ShardedArena;

pub(crate) use gate::Gates;
pub(crate) use shard::{Totals, Writer};
pub(crate) use slab::carve;

use core::ptr::NonNull;

use crate::error::OutOfMemory;

/// The unit of handles, in bytes, and the least alignment of everything an arena hands out.
pub const UNIT: usize = 8;

/// The largest alignment an arena must honour: a cache line where there are caches.
pub const MAX_ALIGN: usize = if cfg!(target_pointer_width = "64") { 64 } else { 16 };

/// The most bytes one allocation can have.
pub(crate) const MAX_REQUEST: usize = if cfg!(target_pointer_width = "64") { u32::MAX as usize } else { 1 << 30 };

/// Names a place in an arena: an offset in units of [`UNIT`] bytes, in the arena's own numbering. 0 is "none".
///
/// ```
/// use memskip::Handle;
///
/// assert!(Handle::NONE.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Handle(pub u32);

impl Handle {
    /// The handle that names nothing.
    pub const NONE: Self = Self(0);

    /// Whether this names nothing.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Memory for one table.
///
/// Words: a handle is *live* from the moment [`allocate`](Self::allocate) or [`allocate_alone`](Self::allocate_alone) returns it
/// until [`reset`](Self::reset), a successful [`release`](Self::release) of it, or the arena's drop; its *block* is the `size` bytes it was
/// allocated with.
///
/// # Safety
///
/// An implementation promises, for calls from any number of threads:
///
/// 1. A live handle is not 0, is a multiple of the requested alignment in units of [`UNIT`] bytes, and the blocks of
///    different live handles do not overlap.
/// 2. `resolve` of a live handle always returns the same address (and of that handle plus n, for n units within its block,
///    the address n * [`UNIT`] bytes on), aligned to the greater of [`UNIT`] and the
///    requested alignment (a power of two up to [`MAX_ALIGN`]), and derived from the provenance of memory that is
///    readable and writable for the whole block while the handle lives, and that nobody else touches.
/// 3. Moving the arena value moves no block.
/// 4. `shards` returns the same non-empty slice every time, and no other arena returns it.
/// 5. `renew` and every allocation keep to these promises even if a part supplied by somebody else (an allocator, a
///    selector) panics or returns an error.
///
/// An arena that hands out one place twice is wrong:
///
/// ```no_run
/// # use memskip::{Arena, Handle, OutOfMemory, Shard}; use core::ptr::NonNull;
/// struct Wrong(Shard, NonNull<u8>);
///
/// // Not safe: two calls to `allocate` return overlapping blocks, against (1).
/// unsafe impl Arena for Wrong {
///     fn shards(&self) -> &[Shard] { core::slice::from_ref(&self.0) }
///     fn allocate(&self, _: usize, _: usize, _: usize) -> Result<Handle, OutOfMemory> { Ok(Handle(1)) }
///     unsafe fn resolve(&self, _: Handle) -> NonNull<u8> { self.1 }
///     fn used(&self) -> usize { 0 }
///     fn reserved(&self) -> usize { 0 }
///     fn reset(&mut self) {}
/// }
/// ```
pub unsafe trait Arena {
    /// The per-shard words (see [`Shard`]), at least one.
    fn shards(&self) -> &[Shard];

    /// The shard the calling thread should use; any number, it is reduced modulo the number of shards.
    #[inline]
    fn current_shard(&self) -> usize {
        0
    }

    /// Hands out `size` bytes aligned to `align`, by preference from the region of shard number `shard` (any number).
    fn allocate(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory>;

    /// The same for a caller that is the only one, which an arena can make use of: as it is, it is the same.
    ///
    /// # Safety
    ///
    /// No other call of `allocate`, `allocate_alone` or `release` runs meanwhile: each has happened before this one, or happens after.
    #[inline]
    unsafe fn allocate_alone(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        self.allocate(shard, size, align)
    }

    /// Takes back a block nobody has seen, if nothing was handed out after it; returns whether it did.
    ///
    /// # Safety
    ///
    /// `handle` is live, came from `allocate(shard, size, _)` or `allocate_alone(shard, size, _)`, and is not used afterwards if this returns `true`.
    #[inline]
    unsafe fn release(&self, shard: usize, handle: Handle, size: usize) -> bool {
        let _ = (shard, handle, size);
        false
    }

    /// The address of a block.
    ///
    /// # Safety
    ///
    /// `handle` is live.
    unsafe fn resolve(&self, handle: Handle) -> NonNull<u8>;

    /// Whether `size` bytes from a handle on, of whatever origin, lie in the arena's memory; for checks of memory that may
    /// have been damaged. An arena that says yes to everything is only as safe as its memory.
    fn contains(&self, handle: Handle, size: usize) -> bool {
        let _ = (handle, size);
        true
    }

    /// Bytes handed out, alignment included.
    fn used(&self) -> usize;

    /// Bytes held, handed out or not.
    fn reserved(&self) -> usize;

    /// Takes everything back and keeps the memory. All handles are dead afterwards; the shards are the table's to clear.
    fn reset(&mut self);

    /// A new, empty arena of the same configuration, if one can be made.
    fn renew(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// `size` in whole units, at least one, if it is one that an arena can hand out at all.
#[inline]
pub(crate) fn units(size: usize) -> Option<u32> {
    (size <= MAX_REQUEST).then_some(size.div_ceil(UNIT).max(1) as u32)
}

/// `align` in units, if it is one that an arena can honour.
#[inline]
pub(crate) fn align_units(align: usize) -> Option<u32> {
    (align.is_power_of_two() && align <= MAX_ALIGN).then_some((align / UNIT).max(1) as u32)
}

/// The first aligned unit that is not before one. `align` is from [`align_units`]: a power of two, so that this is no division.
#[inline]
pub(crate) fn align_up(unit: u32, align: u32) -> Option<u32> {
    Some(unit.checked_add(align - 1)? & !(align - 1))
}
