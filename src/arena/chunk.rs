//! A growing arena with one region, and the region itself: how a bump position moves through chunks.

use core::fmt;
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, Global};

use super::directory::{ChunkNumber, ChunkSizes, Directory, MAX_UNITS, Origin, START};
use super::shard::Bump;
use super::{Arena, Handle, Shard, UNIT, align_units, align_up, units};
use crate::error::OutOfMemory;
use crate::sync::order;

/// Takes memory chunk by chunk from an allocator: small chunks first, each twice the one before, up to a cap. An
/// entry that would waste much of a chunk gets one of its own.
///
/// One region for all threads; [`ShardedArena`](super::ShardedArena) has several.
///
/// ```
/// use memskip::{Bytewise, ChunkArena, Memtable};
///
/// let table: Memtable<[u8], Bytewise, ChunkArena> = Memtable::new_in(ChunkArena::new());
/// assert!(table.insert(b"k", &[0; 100_000]));
/// ```
pub struct ChunkArena<Al: Allocator = Global> {
    directory: Directory<Al>,
    sizes: ChunkSizes,
    shard: Shard,
}

impl ChunkArena {
    /// An arena over the global allocator; takes no memory yet.
    pub fn new() -> Self {
        Self::new_in(Global)
    }
}

impl Default for ChunkArena {
    fn default() -> Self {
        Self::new()
    }
}

impl<Al: Allocator> ChunkArena<Al> {
    /// An arena over `allocator`; takes no memory yet.
    pub fn new_in(allocator: Al) -> Self {
        Self::with_chunks(ChunkSizes::default(), allocator)
    }

    /// The same, with chunk sizes of the caller's.
    pub fn with_chunks(sizes: ChunkSizes, allocator: Al) -> Self {
        Self { directory: Directory::new(allocator), sizes, shard: Shard::new() }
    }

    /// The allocator.
    pub fn allocator(&self) -> &Al {
        self.directory.allocator()
    }

    #[inline]
    fn region(&self) -> Region<'_, Al> {
        Region { directory: &self.directory, sizes: self.sizes, bump: &self.shard.bump }
    }
}

// SAFETY: (1), (2) `Region`; (3) chunks are on the heap; (4) one shard; (5) an allocator that panics does so before
// anything is changed.
unsafe impl<Al: Allocator + Clone> Arena for ChunkArena<Al> {
    #[inline]
    fn shards(&self) -> &[Shard] {
        core::slice::from_ref(&self.shard)
    }

    #[inline]
    fn allocate(&self, _shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        self.region().allocate(size, align)
    }

    #[inline]
    unsafe fn allocate_alone(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        // SAFETY: the caller's promise.
        match unsafe { self.region().squeeze_alone(size, align) } {
            Some(handle) => Ok(handle),
            None => self.allocate(shard, size, align),
        }
    }

    #[inline]
    unsafe fn release(&self, _shard: usize, handle: Handle, size: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.region().release(handle, size) }
    }

    #[inline]
    unsafe fn resolve(&self, handle: Handle) -> NonNull<u8> {
        // SAFETY: a live handle came from this directory, and its user learned of it through acquiring loads.
        unsafe { self.directory.resolve(handle) }
    }

    fn contains(&self, handle: Handle, size: usize) -> bool {
        self.directory.contains(handle, size)
    }

    fn used(&self) -> usize {
        used(&self.shard.bump)
    }

    fn reserved(&self) -> usize {
        self.directory.reserved()
    }

    fn reset(&mut self) {
        self.directory.reset();
        self.shard.bump = Bump::new();
    }

    fn renew(&self) -> Option<Self> {
        Some(Self::with_chunks(self.sizes, self.directory.allocator().clone()))
    }
}

impl<Al: Allocator> fmt::Debug for ChunkArena<Al> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkArena")
            .field("reserved", &self.directory.reserved())
            .field("used", &used(&self.shard.bump))
            .finish_non_exhaustive()
    }
}

/// Units of the largest chunk that is shared: every offset in it, its end included, fits a handle.
const LARGEST: usize = MAX_UNITS as usize;

/// Bytes handed out through a bump position.
pub(super) fn used(bump: &Bump) -> usize {
    let (_, offset) = ChunkNumber::split(Handle(bump.next.load(order::PLAIN)));
    (bump.retired.load(order::PLAIN) + offset.saturating_sub(START) as usize) * UNIT
}

/// One bump position over a directory.
///
/// Invariant: `bump.next` is 0, or an offset within a chunk that is current for this position only; everything below
/// the offset is handed out, everything above is free. So whoever moves it up by a compare-and-swap owns what it
/// moved across; and so does whoever stores it while nobody else moves it.
pub(super) struct Region<'a, Al: Allocator> {
    pub(super) directory: &'a Directory<Al>,
    pub(super) sizes: ChunkSizes,
    pub(super) bump: &'a Bump,
}

impl<Al: Allocator> Region<'_, Al> {
    #[inline]
    pub(super) fn allocate(&self, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        match self.squeeze(size, align) {
            Some(handle) => Ok(handle),
            None => self.grow(units(size).ok_or(OutOfMemory)?, align_units(align).ok_or(OutOfMemory)?),
        }
    }

    /// Allocates from the current chunk, if there is room.
    #[inline]
    pub(super) fn squeeze(&self, size: usize, align: usize) -> Option<Handle> {
        let wanted = (units(size)?, align_units(align)?);
        let mut next = self.bump.next.load(order::CHUNK_READ);
        loop {
            let (start, end) = self.room(next, wanted)?;
            match self.bump.next.compare_exchange_weak(next, end, order::CHUNK, order::CHUNK_READ) {
                Ok(_) => return Some(start),
                Err(now) => next = now,
            }
        }
    }

    /// The same without a read-modify-write.
    ///
    /// # Safety
    ///
    /// Nobody else moves this position meanwhile.
    #[inline]
    pub(super) unsafe fn squeeze_alone(&self, size: usize, align: usize) -> Option<Handle> {
        let wanted = (units(size)?, align_units(align)?);
        let (start, end) = self.room(self.bump.next.load(order::CHUNK_READ), wanted)?;
        // Whoever allocates next comes after us.
        self.bump.next.store(end, order::PLAIN);
        Some(start)
    }

    /// Where there is room behind `next` in its chunk, for some units aligned to some; and what is next then.
    #[inline]
    fn room(&self, next: u32, (wanted, align): (u32, u32)) -> Option<(Handle, u32)> {
        if next == 0 {
            return None;
        }
        let (place, offset) = ChunkNumber::split(Handle(next));
        let start = align_up(offset, align)?;
        // SAFETY: `next` was read with acquire, and is in a chunk of this directory.
        let limit = unsafe { self.directory.units(place) };
        let fits = wanted <= limit && start <= limit - wanted;
        fits.then(|| (place.handle(start), place.handle(start + wanted).0))
    }

    /// Moves on to another chunk, or takes one just for this request.
    #[cold]
    fn grow(&self, wanted: u32, align: u32) -> Result<Handle, OutOfMemory> {
        let start = align_up(START, align).ok_or(OutOfMemory)?;
        loop {
            let next = self.bump.next.load(order::CHUNK_READ);
            let (place, offset) = ChunkNumber::split(Handle(next));
            // SAFETY: `next` was read with acquire, and is in a chunk of this directory.
            let limit = if next == 0 { 0 } else { unsafe { self.directory.units(place) } };
            let aligned = align_up(offset, align).ok_or(OutOfMemory)?;
            if next != 0 && aligned <= limit && limit - aligned >= wanted {
                // Somebody else grew meanwhile.
                return self.allocate(wanted as usize * UNIT, align as usize * UNIT);
            }
            let largest = if self.directory.is_crowded() { LARGEST } else { (self.sizes.largest / UNIT).min(LARGEST) };
            if wanted as usize > largest / 4 {
                return self.alone(wanted, start);
            }
            let doubled = if next == 0 { self.sizes.first / UNIT } else { 2 * limit as usize };
            let chunk = doubled.max(4 * wanted as usize).min(largest);
            let least = (start - START) as usize + wanted as usize;
            let changed = || self.bump.next.load(order::PLAIN) != next;
            let Some(fresh) = self.directory.take(chunk.saturating_sub(START as usize), least, changed)? else {
                continue;
            };
            // SAFETY: just taken.
            unsafe { self.directory.set_origin(fresh, Origin::Bump { before: next, begin: start }) };
            // `wanted` is at most a quarter of `LARGEST`, so the end is an offset (and `take` gave a chunk with that much room).
            let end = fresh.handle(start + wanted).0;
            // Counted before it shows, so that the sum never dips.
            let left = offset.saturating_sub(START) as usize;
            self.bump.retired.fetch_add(left, order::PLAIN);
            if self.bump.next.compare_exchange(next, end, order::CHUNK, order::CHUNK_READ).is_ok() {
                return Ok(fresh.handle(start));
            }
            self.bump.retired.fetch_sub(left, order::PLAIN);
            self.directory.put_spare(fresh);
        }
    }

    /// A chunk for one request; the current one goes on being used.
    fn alone(&self, wanted: u32, start: u32) -> Result<Handle, OutOfMemory> {
        let least = (start - START) as usize + wanted as usize;
        let place = self.directory.take(0, least, || false)?.ok_or(OutOfMemory)?;
        // SAFETY: just taken.
        unsafe { self.directory.set_origin(place, Origin::Alone) };
        self.bump.retired.fetch_add(wanted as usize, order::PLAIN);
        Ok(place.handle(start))
    }

    /// Takes a block back, if it is the last one, or had a chunk to itself.
    ///
    /// *Back into the chunk before.* The position is where its chunk begins, so nothing in there is handed out; and it came there from
    /// the end of this block, so nothing behind that is, either. Both stay so while the position does, also if it goes away and comes
    /// back: it can leave this chunk for the one before only over the end of this block, which is ours.
    ///
    /// # Safety
    ///
    /// `handle` is live, of this size, and from here.
    #[cold]
    pub(super) unsafe fn release(&self, handle: Handle, size: usize) -> bool {
        let Some(units) = units(size) else { return false };
        let (place, offset) = ChunkNumber::split(handle);
        // SAFETY: the handle is live.
        if unsafe { self.directory.origin(place) } == Origin::Alone {
            self.bump.retired.fetch_sub(units as usize, order::PLAIN);
            self.directory.put_spare(place);
            return true;
        }
        let Some(end) = offset.checked_add(units).filter(|end| *end < 1 << 20) else { return false };
        let move_from = |next| self.bump.next.compare_exchange(next, handle.0, order::CHUNK, order::CHUNK_READ).is_ok();
        let next = self.bump.next.load(order::CHUNK_READ);
        if next == place.handle(end).0 {
            return move_from(next);
        }
        let (current, at) = ChunkNumber::split(Handle(next));
        // SAFETY: `next` was read with acquire, and is in a chunk of this directory.
        let origin = unsafe { self.directory.origin(current) };
        let is_right_behind = origin == Origin::Bump { before: place.handle(end).0, begin: at };
        let is_back = is_right_behind && move_from(next);
        if is_back {
            self.bump.retired.fetch_sub((end - START) as usize, order::PLAIN);
            self.directory.put_spare(current);
        }
        is_back
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::MAX_ALIGN;
    use super::*;

    fn small() -> ChunkArena {
        ChunkArena::with_chunks(ChunkSizes { first: 256, largest: 1024 }, Global)
    }

    /// Blocks are disjoint and aligned across chunks, far more of them than near places; figures are exact.
    #[test]
    fn grows_and_counts() -> Result<(), OutOfMemory> {
        let arena = small();
        let mut blocks = std::vec::Vec::new();
        let mut sum = 0;
        for i in 0..2000 {
            let size = 8 + (i * 40) % 400;
            let handle = arena.allocate(0, size, UNIT)?;
            // SAFETY: just allocated.
            let start = unsafe { arena.resolve(handle) }.as_ptr();
            // SAFETY: the block is `size` bytes long.
            unsafe { start.write_bytes(i as u8, size) };
            blocks.push((start as usize, size));
            sum += size;
        }
        assert_eq!(arena.used(), sum);
        assert!(arena.reserved() >= sum);
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        Ok(())
    }

    #[test]
    fn an_oversize_block_leaves_the_current_chunk_in_use() -> Result<(), OutOfMemory> {
        let arena = small();
        let first = arena.allocate(0, 8, UNIT)?;
        arena.allocate(0, 1 << 20, UNIT)?;
        assert_eq!(arena.allocate(0, 8, UNIT)?.0, first.0 + 1);
        assert_eq!(arena.allocate(0, usize::MAX, UNIT), Err(OutOfMemory));
        assert_eq!(arena.used(), 16 + (1 << 20));
        Ok(())
    }

    /// From the last block to the first everything goes back, whatever chunks it lies in; and the chunks are there for the next.
    #[test]
    fn blocks_go_back_in_turn() -> Result<(), OutOfMemory> {
        let arena = small();
        arena.allocate(0, 24, UNIT)?;
        let mut reserved = 0;
        for round in 0..20 {
            let sizes = (0..200).map(|i| 16 * (1 + (i * 5 + round) % 25));
            let blocks: std::vec::Vec<_> =
                sizes.map(|size| Ok((arena.allocate(0, size, 16)?, size))).collect::<Result<_, _>>()?;
            for (handle, size) in blocks.into_iter().rev() {
                // SAFETY: allocated above, and not used any more.
                assert!(unsafe { arena.release(0, handle, size) }, "{handle:?}");
            }
            // A unit is skipped where the first block begins in another chunk.
            assert!([24, 32].contains(&arena.used()), "{}", arena.used());
            reserved = if round == 0 { arena.reserved() } else { reserved };
        }
        assert!(arena.reserved() <= 2 * reserved, "{} after {reserved}", arena.reserved());
        Ok(())
    }

    /// Out of turn nothing goes back: what is behind it is in use.
    #[test]
    fn blocks_out_of_turn_stay() -> Result<(), OutOfMemory> {
        let arena = small();
        let take = |size| Ok((arena.allocate(0, size, UNIT)?, size));
        // SAFETY: allocated below, given back once.
        let give = |(handle, size): (Handle, usize)| unsafe { arena.release(0, handle, size) };
        let (first, second) = (take(56)?, take(184)?);
        // In the next chunk, with its first block and the end of that.
        let (third, fourth) = (take(56)?, take(8)?);
        assert_eq!(ChunkNumber::split(third.0), (ChunkNumber::split(fourth.0).0, START));
        assert!(!give(first) && !give(second) && !give(third));
        assert!(give(fourth) && !give(second) && give(third));
        // A block of its own does not stand in the way.
        let alone = take(2000)?;
        assert!(give(second) && give(first) && give(alone));
        assert_eq!(arena.used(), 0);
        Ok(())
    }

    #[test]
    fn reset_reuses_every_chunk() -> Result<(), OutOfMemory> {
        let mut arena = small();
        let fill = |arena: &ChunkArena| (0..500).try_for_each(|_| arena.allocate(0, 64, MAX_ALIGN).map(drop));
        fill(&arena)?;
        let reserved = arena.reserved();
        for _ in 0..5 {
            arena.reset();
            assert_eq!(arena.used(), 0);
            fill(&arena)?;
        }
        assert!(arena.reserved() <= reserved + 2048, "{} after {reserved}", arena.reserved());
        Ok(())
    }
}
