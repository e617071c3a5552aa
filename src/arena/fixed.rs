//! A caller's buffer: no allocator, no growth.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::{Arena, Handle, MAX_ALIGN, Shard, UNIT, align_units, align_up, units};
use crate::error::OutOfMemory;
use crate::sync::order;

/// A buffer of the caller's, `&'static mut [MaybeUninit<u8>]` included; at most 32 GiB of it are used.
///
/// The first [`UNIT`] bytes after alignment are not handed out, so that no handle is 0.
///
/// ```
/// use core::mem::MaybeUninit;
/// use memskip::{Bytewise, FixedArena, Memtable};
///
/// let mut buffer = [MaybeUninit::uninit(); 4096];
/// let table: Memtable<[u8], Bytewise, FixedArena<'_>> = Memtable::new_in(FixedArena::new(&mut buffer));
/// while table.insert(&table.len().to_be_bytes(), b"value") {}
/// assert!(table.len() > 10);
/// ```
pub struct FixedArena<'buf> {
    base: NonNull<u8>,
    /// Units behind `base`.
    units: u32,
    shard: Shard,
    buffer: PhantomData<&'buf mut [MaybeUninit<u8>]>,
}

// SAFETY: the buffer is borrowed exclusively for 'buf and handed out in disjoint blocks; the rest is atomic.
unsafe impl Send for FixedArena<'_> {}
// SAFETY: as above.
unsafe impl Sync for FixedArena<'_> {}

/// Where handles start, in units: everything below is never handed out.
const START: u32 = 1;

impl<'buf> FixedArena<'buf> {
    /// An arena over `buffer`, of any length and alignment; none is too small, it is then full at once.
    pub fn new(buffer: &'buf mut [MaybeUninit<u8>]) -> Self {
        let start = buffer.as_mut_ptr().cast::<u8>();
        let skip = start.align_offset(MAX_ALIGN).min(buffer.len());
        let units = ((buffer.len() - skip) / UNIT).min(u32::MAX as usize) as u32;
        // SAFETY: `skip` is at most the buffer's length.
        let base = unsafe { start.add(skip) };
        // A buffer too small to hold an aligned byte leaves `base` at its end, not null.
        let base = NonNull::new(base).unwrap_or(NonNull::dangling());
        let shard = Shard::new();
        shard.bump.next.store(START, order::PLAIN);
        Self { base, units, shard, buffer: PhantomData }
    }
}

impl FixedArena<'_> {
    /// Where there is room behind `next`, and what is next then.
    #[inline]
    fn room(&self, next: u32, size: usize, align: usize) -> Result<(Handle, u32), OutOfMemory> {
        let wanted = units(size).ok_or(OutOfMemory)?;
        let start = align_up(next, align_units(align).ok_or(OutOfMemory)?).ok_or(OutOfMemory)?;
        let end = start.checked_add(wanted).filter(|end| *end <= self.units).ok_or(OutOfMemory)?;
        Ok((Handle(start), end))
    }
}

// SAFETY: (1) a block is a range of units that one compare-and-swap moved `next` across, or one store while nobody else moved it,
// so blocks are disjoint and start behind unit 0; (2) `base` is aligned to `MAX_ALIGN` and derived from the exclusively borrowed
// buffer; (3) the buffer is not part of the value; (4) one shard; (5) nobody else's parts are used.
unsafe impl Arena for FixedArena<'_> {
    #[inline]
    fn shards(&self) -> &[Shard] {
        core::slice::from_ref(&self.shard)
    }

    #[inline]
    fn allocate(&self, _shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        let bump = &self.shard.bump.next;
        let mut next = bump.load(order::CHUNK_READ);
        loop {
            let (start, end) = self.room(next, size, align)?;
            match bump.compare_exchange_weak(next, end, order::CHUNK, order::CHUNK_READ) {
                Ok(_) => return Ok(start),
                Err(now) => next = now,
            }
        }
    }

    #[inline]
    unsafe fn allocate_alone(&self, _shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        let bump = &self.shard.bump.next;
        let (start, end) = self.room(bump.load(order::CHUNK_READ), size, align)?;
        // Whoever allocates next comes after us.
        bump.store(end, order::PLAIN);
        Ok(start)
    }

    unsafe fn release(&self, _shard: usize, handle: Handle, size: usize) -> bool {
        let Some(end) = units(size).and_then(|units| handle.0.checked_add(units)) else { return false };
        self.shard.bump.next.compare_exchange(end, handle.0, order::CHUNK, order::CHUNK_READ).is_ok()
    }

    #[inline]
    unsafe fn resolve(&self, handle: Handle) -> NonNull<u8> {
        // SAFETY: a live handle is within the buffer.
        unsafe { self.base.add(handle.0 as usize * UNIT) }
    }

    fn contains(&self, handle: Handle, size: usize) -> bool {
        let end = units(size).and_then(|units| handle.0.checked_add(units));
        handle.0 >= START && end.is_some_and(|end| end <= self.units)
    }

    fn used(&self) -> usize {
        (self.shard.bump.next.load(order::PLAIN) - START) as usize * UNIT
    }

    fn reserved(&self) -> usize {
        self.units.saturating_sub(START) as usize * UNIT
    }

    fn reset(&mut self) {
        self.shard.bump.next.store(START, order::PLAIN);
    }
}

impl fmt::Debug for FixedArena<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedArena")
            .field("reserved", &self.reserved())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Every capacity byte by byte: what is handed out lies inside, aligned and disjoint, and the figures add up.
    #[test]
    fn every_size_of_buffer() {
        for len in 0..600 {
            let mut buffer = std::vec![MaybeUninit::uninit(); len];
            let range = buffer.as_ptr_range();
            let arena = FixedArena::new(&mut buffer);
            let mut last_end = 0;
            while let Ok(handle) = arena.allocate(0, 24, UNIT) {
                // SAFETY: just allocated.
                let start = unsafe { arena.resolve(handle) }.as_ptr() as usize;
                assert!(!handle.is_none() && start >= last_end && start % UNIT == 0);
                assert!(start >= range.start as usize && start + 24 <= range.end as usize);
                last_end = start + 24;
            }
            assert!(arena.reserved() - arena.used().min(arena.reserved()) < 24);
            assert_eq!(arena.allocate(0, usize::MAX, UNIT), Err(OutOfMemory));
        }
    }

    #[test]
    fn only_the_last_block_can_be_released() -> Result<(), OutOfMemory> {
        let mut buffer = [MaybeUninit::uninit(); 256];
        let arena = FixedArena::new(&mut buffer);
        let first = arena.allocate(0, 16, UNIT)?;
        let second = arena.allocate(0, 16, UNIT)?;
        // SAFETY: live, and not used afterwards.
        assert!(!unsafe { arena.release(0, first, 16) });
        // SAFETY: as above.
        assert!(unsafe { arena.release(0, second, 16) });
        assert_eq!(arena.allocate(0, 16, UNIT)?, second);
        Ok(())
    }
}
