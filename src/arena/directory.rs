//! Chunks and where they lie: from the upper bits of a handle to an address.
//!
//! ```text
//! handle = chunk << 20 | offset
//!
//! table ── at first ──> small[chunk]     the first 8 chunks; allocated with the first of them
//!       └─ then ──────> large[chunk]     all 4096; allocated with the 9th, begins with a copy of the small one
//!
//! chunk:  | unit 0 | block | block | ... | free |      unit 0 is never handed out, so that no handle is 0
//! ```
//!
//! A place is taken by a compare-and-swap from null, in order, so that there are no gaps: when the ninth place is
//! wanted, the first eight are filled for good and can be copied. Both tables are allocated, though the small one would fit the
//! arena, so that to look up a handle takes no decision.
//!
//! Chunks that nobody writes to (after a reset, or when two threads grew at once) hang in a list of spares. Taking
//! from it takes the whole list and puts the rest back, so that there is no ABA.

use core::alloc::Layout;
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};

use allocator_api2::alloc::Allocator;

use super::{Handle, UNIT};
use crate::error::OutOfMemory;
use crate::sync::{self, AtomicPtr, AtomicU32, AtomicUsize, order};

/// Bits of a handle that are an offset within a chunk.
const OFFSET_BITS: u32 = 20;
const OFFSET_MASK: u32 = (1 << OFFSET_BITS) - 1;
/// Places for chunks. Few under loom, so that models reach the large table.
const PLACES: usize = if cfg!(loom) { 8 } else { 1 << (u32::BITS - OFFSET_BITS) };
/// Those of the small table.
const FEW: usize = if cfg!(loom) { 1 } else { 8 };
/// From here on chunks are as large as they can be, so that small chunks do not use up the places.
const HURRY: usize = PLACES / 2;

/// Alignment of chunks; of those that can hold one, a huge page.
const CHUNK_ALIGN: usize = if cfg!(target_pointer_width = "64") { 64 } else { 16 };
const HUGE_PAGE: usize = 2 << 20;

/// The most that a chunk of many blocks can hold, in units; one less than the offsets there are, so that "full" is
/// an offset too.
pub(super) const MAX_UNITS: u32 = OFFSET_MASK;

/// How large chunks are, in bytes.
///
/// ```
/// use memskip::ChunkSizes;
///
/// let sizes = ChunkSizes::default();
/// assert!(sizes.first <= sizes.largest);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// The first chunk of each region; each further one is twice the one before.
    pub first: usize,
    /// No chunk is larger, up to 8 MiB, except for an entry of more than a quarter of this, which gets its own. When half
    /// of the 4,096 places for chunks are used, this counts as 8 MiB, so that the rest reaches for 16 GiB of entries of up
    /// to 2 MiB.
    pub largest: usize,
}

impl Default for ChunkSizes {
    /// 16 KiB, doubling up to 8 MiB.
    fn default() -> Self {
        Self { first: 16 << 10, largest: 8 << 20 }
    }
}

/// Where blocks begin in a chunk, in units.
pub(super) const START: u32 = 1;

/// A place for a chunk: null, or where the chunk begins, for good.
type Slot = AtomicPtr<u8>;

/// What is kept of a chunk outside it: bytes of entries never decide about memory. Valid once its place is known to be taken.
struct Info {
    /// Its size in units.
    units: AtomicU32,
    /// Of a spare chunk, the number of the next one plus one; 0 ends the list. Of one in use, where the bump position was before,
    /// or [`ALONE`].
    link: AtomicU32,
    /// Of one in use by a bump position: the offset of its first block. What is below that is not handed out.
    begin: AtomicU32,
}

/// In place of a bump position: the chunk was made for one block. (Bump positions have an offset.)
const ALONE: u32 = 1 << OFFSET_BITS;

/// How a chunk came to be in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// For one block.
    Alone,
    /// A bump position moved here from `before`, raw, and handed out its first block at offset `begin`.
    Bump { before: u32, begin: u32 },
}

impl Info {
    fn new() -> Self {
        Self { units: AtomicU32::new(0), link: AtomicU32::new(0), begin: AtomicU32::new(0) }
    }
}

/// The small table.
type Small = [Slot; FEW];

/// The large table, and what is kept of the chunks. Where they begin stands by itself, since that is all that resolving a handle
/// needs.
#[repr(C)]
struct Large {
    slots: [Slot; PLACES],
    infos: [Info; PLACES],
}

/// A chunk that has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkNumber(u32);

impl ChunkNumber {
    /// The handle of the unit at `offset`.
    pub(super) fn handle(self, offset: u32) -> Handle {
        debug_assert!(offset <= OFFSET_MASK);
        Handle(self.0 << OFFSET_BITS | offset)
    }

    /// The chunk and offset of a handle.
    pub(super) fn split(handle: Handle) -> (Self, u32) {
        (Self(handle.0 >> OFFSET_BITS), handle.0 & OFFSET_MASK)
    }
}

pub(super) struct Directory<Al: Allocator> {
    /// The slots of the table in use; null before the first chunk.
    table: AtomicPtr<Slot>,
    /// The small table, kept for those who still look there when the large one is in use.
    small: AtomicPtr<Small>,
    /// What is kept of the chunks that have a place in the small table.
    infos: [Info; FEW],
    /// A lower bound of the places taken.
    taken: AtomicUsize,
    /// Number of the first spare chunk plus one.
    spares: AtomicU32,
    /// How many there are, in the list or in somebody's hand.
    spare_count: AtomicUsize,
    reserved: AtomicUsize,
    allocator: Al,
}

impl<Al: Allocator> Directory<Al> {
    pub(super) fn new(allocator: Al) -> Self {
        Self {
            table: AtomicPtr::new(null_mut()),
            small: AtomicPtr::new(null_mut()),
            infos: core::array::from_fn(|_| Info::new()),
            taken: AtomicUsize::new(0),
            spares: AtomicU32::new(0),
            spare_count: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            allocator,
        }
    }

    pub(super) fn allocator(&self) -> &Al {
        &self.allocator
    }

    pub(super) fn reserved(&self) -> usize {
        self.reserved.load(order::PLAIN)
    }

    /// The address of a unit.
    ///
    /// # Safety
    ///
    /// `handle` came from a chunk of this directory, and the caller has learned of it by a chain of acquiring loads
    /// that starts where it was allocated.
    #[inline]
    pub(super) unsafe fn resolve(&self, handle: Handle) -> NonNull<u8> {
        let (place, offset) = ChunkNumber::split(handle);
        // SAFETY: by the contract the place is taken.
        let chunk = unsafe { self.chunk(place) };
        // SAFETY: by the contract the offset is within the chunk.
        unsafe { chunk.add(offset as usize * UNIT) }
    }

    /// The start of a chunk.
    ///
    /// # Safety
    ///
    /// `place` is taken, and the caller has learned of it by a chain of acquiring loads.
    #[inline]
    unsafe fn chunk(&self, place: ChunkNumber) -> NonNull<u8> {
        let slots = self.table.load(order::CHUNK_READ);
        // SAFETY: a table is in use before a place in it is taken, so whoever knows of one finds that table here, or a larger one.
        let slot = unsafe { slots.add(place.0 as usize) };
        // SAFETY: a table is filled before it comes into use, and lives as long as the directory.
        let slot = unsafe { &*slot };
        // The chain of the contract orders this load behind the store that filled the slot.
        let chunk = slot.load(order::PLAIN);
        // SAFETY: a slot that is taken is not null.
        unsafe { NonNull::new_unchecked(chunk) }
    }

    /// What is kept of a chunk; of the first few always in the arena itself.
    ///
    /// # Safety
    ///
    /// As for [`chunk`](Self::chunk).
    #[inline]
    unsafe fn info(&self, place: ChunkNumber) -> &Info {
        let index = place.0 as usize;
        if let Some(info) = self.infos.get(index) {
            return info;
        }
        let large = self.table.load(order::CHUNK_READ).cast::<Large>();
        // SAFETY: a place that is taken and not one of the first few is in the large table, which is in use.
        let large = unsafe { &*large };
        &large.infos[index % PLACES]
    }

    /// The first unit behind what can be handed out of a chunk.
    ///
    /// # Safety
    ///
    /// As for [`chunk`](Self::chunk).
    #[inline]
    pub(super) unsafe fn units(&self, place: ChunkNumber) -> u32 {
        // SAFETY: the same contract.
        let units = unsafe { self.info(place) }.units.load(order::PLAIN);
        units.min(MAX_UNITS)
    }

    /// Writes down how a chunk comes to be in use, before it does.
    ///
    /// # Safety
    ///
    /// As for [`chunk`](Self::chunk); and the chunk is the caller's, from [`take`](Self::take).
    pub(super) unsafe fn set_origin(&self, place: ChunkNumber, origin: Origin) {
        let (link, begin) = match origin {
            Origin::Alone => (ALONE, START),
            Origin::Bump { before, begin } => (before, begin),
        };
        // SAFETY: the same contract.
        let info = unsafe { self.info(place) };
        info.link.store(link, order::PLAIN);
        info.begin.store(begin, order::PLAIN);
    }

    /// How a chunk came to be in use; anything, if it is not by now.
    ///
    /// # Safety
    ///
    /// As for [`chunk`](Self::chunk).
    pub(super) unsafe fn origin(&self, place: ChunkNumber) -> Origin {
        // SAFETY: the same contract.
        let info = unsafe { self.info(place) };
        match info.link.load(order::PLAIN) {
            ALONE => Origin::Alone,
            before => Origin::Bump { before, begin: info.begin.load(order::PLAIN) },
        }
    }

    /// Whether `size` bytes from `handle` on lie inside a chunk; for handles of any origin.
    pub(super) fn contains(&self, handle: Handle, size: usize) -> bool {
        let (place, offset) = ChunkNumber::split(handle);
        if place.0 as usize >= self.taken.load(order::CHUNK_READ) || offset < START {
            return false;
        }
        // SAFETY: below `taken` every place is taken.
        let units = unsafe { self.info(place) }.units.load(order::PLAIN);
        super::units(size).is_some_and(|wanted| offset.checked_add(wanted).is_some_and(|end| end <= units))
    }

    /// A chunk that can hold at least `least` units, better `wanted`: a spare one, or a new one. `changed` is asked after the
    /// allocator has answered; if it says yes, the memory is given back and the answer is `None`.
    pub(super) fn take(
        &self,
        wanted: usize,
        least: usize,
        changed: impl FnOnce() -> bool,
    ) -> Result<Option<ChunkNumber>, OutOfMemory> {
        if let Some(spare) = self.take_spare(least) {
            return Ok(Some(spare));
        }
        let fresh = self.allocate(wanted.max(least)).or_else(|| self.allocate(least)).ok_or(OutOfMemory)?;
        if changed() {
            return Ok(None);
        }
        self.settle(fresh).map(Some).ok_or(OutOfMemory)
    }

    /// Whether half of the places are taken, so that it is time for large chunks.
    pub(super) fn is_crowded(&self) -> bool {
        self.taken.load(order::PLAIN) >= HURRY
    }

    /// A new chunk for `units` units and unit 0.
    fn allocate(&self, units: usize) -> Option<Fresh<'_, Al>> {
        let units = u32::try_from(units.checked_add(START as usize)?).ok()?;
        let layout = chunk_layout(units)?;
        let chunk = self.allocator.allocate(layout).ok()?.cast();
        Some(Fresh { allocator: &self.allocator, chunk, units })
    }

    /// Finds a place for a chunk; `None` if all are taken, or there is no memory for a table.
    fn settle(&self, fresh: Fresh<'_, Al>) -> Option<ChunkNumber> {
        for index in self.taken.load(order::CHUNK_READ)..PLACES {
            let (slot, info) = match self.infos.get(index) {
                Some(info) => (self.small()?.get(index)?, info),
                None => {
                    let large = self.large()?;
                    (large.slots.get(index)?, large.infos.get(index)?)
                }
            };
            let claim = slot.compare_exchange(null_mut(), fresh.chunk.as_ptr(), order::CHUNK, order::CHUNK_READ);
            if claim.is_ok() {
                info.units.store(fresh.units, order::PLAIN);
                self.reserved.fetch_add(fresh.units as usize * UNIT, order::PLAIN);
                core::mem::forget(fresh);
                self.taken.fetch_max(index + 1, order::CHUNK);
                return Some(ChunkNumber(index as u32));
            }
        }
        None
    }

    /// The small table, made if need be.
    #[cold]
    fn small(&self) -> Option<&Small> {
        let mut small = self.small.load(order::CHUNK_READ);
        if small.is_null() {
            let fresh = self.allocate_table::<Small>()?;
            // SAFETY: allocated for this type, and ours.
            unsafe { fresh.write(core::array::from_fn(|_| Slot::new(null_mut()))) };
            // SAFETY: just allocated for this type.
            small = unsafe { self.publish(&self.small, null_mut(), fresh) };
        }
        // Whoever made it, it is in use (or its successor is) before a place in it is taken.
        let _ = self.table.compare_exchange(null_mut(), small.cast(), order::CHUNK, order::CHUNK_READ);
        // SAFETY: it was filled before it was published, and lives as long as the directory.
        Some(unsafe { &*small })
    }

    /// The large table, made if need be. Called only when every place in the small one is taken.
    #[cold]
    fn large(&self) -> Option<&Large> {
        let small = self.small.load(order::CHUNK_READ);
        let mut table = self.table.load(order::CHUNK_READ).cast::<Large>();
        if table == small.cast() {
            let fresh = self.allocate_table::<Large>()?;
            // SAFETY: there is one, since its places are taken; see `small`.
            let few = unsafe { &*small };
            for index in 0..PLACES {
                let chunk = few.get(index).map_or(null_mut(), |slot| slot.load(order::CHUNK_READ));
                // SAFETY: the table begins with `PLACES` slots.
                let slot = unsafe { fresh.cast::<Slot>().add(index) };
                // SAFETY: allocated for this type, and ours.
                unsafe { slot.write(Slot::new(chunk)) };
            }
            // SAFETY: allocated for this type.
            let infos = unsafe { fresh.byte_add(offset_of!(Large, infos)) }.cast::<Info>();
            for index in 0..PLACES {
                // SAFETY: as many infos follow.
                let info = unsafe { infos.add(index) };
                // SAFETY: as for the slots.
                unsafe { info.write(Info::new()) };
            }
            // SAFETY: just allocated for this type.
            table = unsafe { self.publish(&self.table, small.cast(), fresh) };
        }
        // SAFETY: what is in use and is not the small table is the large one; it was filled before it was published, and lives as
        // long as the directory.
        Some(unsafe { &*table })
    }

    fn allocate_table<T>(&self) -> Option<NonNull<T>> {
        Some(self.allocator.allocate(Layout::new::<T>()).ok()?.cast())
    }

    /// Publishes a table in place of what is expected there. If somebody else was first, gives the table back and returns theirs.
    ///
    /// # Safety
    ///
    /// `fresh` came from `allocate_table::<T>`, and nobody has seen it.
    unsafe fn publish<T, W>(&self, word: &AtomicPtr<W>, expected: *mut W, fresh: NonNull<T>) -> *mut T {
        match word.compare_exchange(expected, fresh.as_ptr().cast(), order::CHUNK, order::CHUNK_READ) {
            Ok(_) => {
                self.reserved.fetch_add(size_of::<T>(), order::PLAIN);
                fresh.as_ptr()
            }
            Err(others) => {
                // SAFETY: allocated with this layout.
                unsafe { self.allocator.deallocate(fresh.cast(), Layout::new::<T>()) };
                others.cast()
            }
        }
    }

    /// Puts a chunk that nothing was handed out from into the list of spares.
    pub(super) fn put_spare(&self, place: ChunkNumber) {
        self.spare_count.fetch_add(1, order::PLAIN);
        self.push_spare(place);
    }

    fn push_spare(&self, place: ChunkNumber) {
        // SAFETY: the caller has the place from `take`, or exclusively.
        let info = unsafe { self.info(place) };
        let mut first = self.spares.load(order::CHUNK_READ);
        loop {
            info.link.store(first, order::PLAIN);
            match self.spares.compare_exchange_weak(first, place.0 + 1, order::CHUNK, order::CHUNK_READ) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// A spare chunk with room for `least` units, if there is one.
    fn take_spare(&self, least: usize) -> Option<ChunkNumber> {
        /// Looks at a list that somebody else has in hand, before a new chunk is taken after all.
        const LOOKS: usize = if cfg!(loom) { 1 } else { 64 };
        for _ in 0..LOOKS {
            if self.spare_count.load(order::PLAIN) == 0 {
                return None;
            }
            let list = self.spares.swap(0, order::CHUNK);
            if list != 0 {
                return self.pick_spare(list, least);
            }
            sync::spin();
        }
        None
    }

    /// Takes the first chunk that fits out of a list that is ours, and puts the rest back.
    fn pick_spare(&self, mut next: u32, least: usize) -> Option<ChunkNumber> {
        while let Some(index) = next.checked_sub(1) {
            let place = ChunkNumber(index);
            // SAFETY: the list was taken with acquire, so its chunks are known to us.
            let info = unsafe { self.info(place) };
            next = info.link.load(order::PLAIN);
            let room = info.units.load(order::PLAIN) - START;
            if room as usize >= least {
                self.spare_count.fetch_sub(1, order::PLAIN);
                self.put_back(next);
                return Some(place);
            }
            self.push_spare(place);
        }
        None
    }

    /// Puts back the rest of a list: at once, if there is no other by now.
    fn put_back(&self, mut rest: u32) {
        if rest == 0 || self.spares.compare_exchange(0, rest, order::CHUNK, order::CHUNK_READ).is_ok() {
            return;
        }
        while let Some(index) = rest.checked_sub(1) {
            let place = ChunkNumber(index);
            // SAFETY: part of a list that was taken with acquire.
            rest = unsafe { self.info(place) }.link.load(order::PLAIN);
            self.push_spare(place);
        }
    }

    /// Every chunk becomes a spare one.
    pub(super) fn reset(&mut self) {
        self.spares.store(0, order::PLAIN);
        self.spare_count.store(0, order::PLAIN);
        // Backwards, so that the list begins with the first.
        for index in (0..self.taken.load(order::PLAIN)).rev() {
            self.put_spare(ChunkNumber(index as u32));
        }
    }
}

/// A chunk that has no place yet: given back unless it gets one, also when something panics.
struct Fresh<'a, Al: Allocator> {
    allocator: &'a Al,
    chunk: NonNull<u8>,
    units: u32,
}

impl<Al: Allocator> Drop for Fresh<'_, Al> {
    fn drop(&mut self) {
        if let Some(layout) = chunk_layout(self.units) {
            // SAFETY: allocated with this layout, and nobody has seen it.
            unsafe { self.allocator.deallocate(self.chunk, layout) };
        }
    }
}

impl<Al: Allocator> Drop for Directory<Al> {
    fn drop(&mut self) {
        for index in 0..self.taken.load(order::CHUNK_READ) {
            let place = ChunkNumber(index as u32);
            // SAFETY: below `taken` every place is taken, and we have the directory exclusively.
            let units = unsafe { self.info(place) }.units.load(order::PLAIN);
            // SAFETY: as above.
            let chunk = unsafe { self.chunk(place) };
            // Nothing refers to it any more.
            drop(Fresh { allocator: &self.allocator, chunk, units });
        }
        let (small, table) = (self.small.load(order::CHUNK_READ), self.table.load(order::CHUNK_READ));
        if let Some(large) = NonNull::new(table).filter(|table| table.as_ptr() != small.cast()) {
            // SAFETY: allocated with this layout in `large`.
            unsafe { self.allocator.deallocate(large.cast(), Layout::new::<Large>()) };
        }
        if let Some(small) = NonNull::new(small) {
            // SAFETY: allocated with this layout in `small`.
            unsafe { self.allocator.deallocate(small.cast(), Layout::new::<Small>()) };
        }
    }
}

/// Large chunks are aligned to huge pages, so that an allocator can ask the system for them.
fn chunk_layout(units: u32) -> Option<Layout> {
    let size = (units as usize).checked_mul(UNIT)?;
    let align = if size >= HUGE_PAGE { HUGE_PAGE } else { CHUNK_ALIGN };
    Layout::from_size_align(size, align).ok()
}
