//! A growing arena with several regions over one directory of chunks.

use core::fmt;
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, Global};
use allocator_api2::vec::Vec;

use super::chunk::{Region, used};
use super::directory::{ChunkSizes, Directory};
use super::selector::ShardSelector;
use super::shard::Bump;
use super::{Arena, Handle, Shard};
use crate::error::OutOfMemory;

/// The selector that is used when none is named.
#[cfg(feature = "std")]
pub(crate) type DefaultSelector = super::ThreadShards;
/// The selector that is used when none is named.
#[cfg(not(feature = "std"))]
pub(crate) type DefaultSelector = super::SingleShard;

/// Several regions, so that writers do not meet at one bump position, over one directory of chunks. A
/// [`ShardSelector`] says which region a caller uses; any number of callers may share one.
///
/// ```
/// use memskip::{Arena, ShardedArena};
///
/// let arena = ShardedArena::new(4);
/// assert_eq!(arena.shards().len(), 4);
/// ```
pub struct ShardedArena<Sel = DefaultSelector, Al: Allocator = Global> {
    directory: Directory<Al>,
    sizes: ChunkSizes,
    selector: Sel,
    shards: Vec<Shard, Al>,
    /// Stands in when there is no memory for `shards`.
    only: Shard,
}

impl ShardedArena {
    /// An arena over the global allocator with the default selector and `shards` regions (0 counts as 1).
    pub fn new(shards: usize) -> Self {
        Self::with_parts(shards, ChunkSizes::default(), DefaultSelector::default(), Global)
    }
}

impl<Sel, Al: Allocator + Clone> ShardedArena<Sel, Al> {
    /// An arena of the given parts. If there is no memory even for the shards' own words, it has one shard.
    pub fn with_parts(shards: usize, sizes: ChunkSizes, selector: Sel, allocator: Al) -> Self {
        let mut list = Vec::new_in(allocator.clone());
        // One shard needs no list.
        if shards > 1 && list.try_reserve_exact(shards).is_ok() {
            list.resize_with(shards, Shard::new);
        }
        Self { directory: Directory::new(allocator), sizes, selector, shards: list, only: Shard::new() }
    }

    /// The allocator.
    pub fn allocator(&self) -> &Al {
        self.directory.allocator()
    }

    #[inline]
    fn region(&self, shard: usize) -> Region<'_, Al> {
        let shard = match self.shards.get(shard) {
            Some(shard) => shard,
            None => shard.checked_rem(self.shards.len()).map_or(&self.only, |shard| &self.shards[shard]),
        };
        self.region_of(&shard.bump)
    }

    /// In another chunk; when there is no more memory, another region may have some left.
    #[cold]
    #[inline(never)]
    fn allocate_elsewhere(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        self.region(shard)
            .allocate(size, align)
            .or_else(|error| self.bumps().find_map(|bump| self.region_of(bump).squeeze(size, align)).ok_or(error))
    }

    #[inline]
    fn region_of<'a>(&'a self, bump: &'a Bump) -> Region<'a, Al> {
        Region { directory: &self.directory, sizes: self.sizes, bump }
    }

    fn bumps(&self) -> impl Iterator<Item = &Bump> {
        self.shards.iter().chain([&self.only]).map(|shard| &shard.bump)
    }
}

// SAFETY: (1), (2) `Region`, each with a bump position of its own; (3) chunks are on the heap; (4) the list of shards
// never changes; (5) an allocator or selector that panics does so before anything is changed.
unsafe impl<Sel: ShardSelector + Clone, Al: Allocator + Clone> Arena for ShardedArena<Sel, Al> {
    #[inline]
    fn shards(&self) -> &[Shard] {
        if self.shards.is_empty() { core::slice::from_ref(&self.only) } else { &self.shards }
    }

    #[inline]
    fn current_shard(&self) -> usize {
        self.selector.select()
    }

    #[inline]
    fn allocate(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        // The usual case first, with no more than that needs.
        match self.region(shard).squeeze(size, align) {
            Some(handle) => Ok(handle),
            None => self.allocate_elsewhere(shard, size, align),
        }
    }

    #[inline]
    unsafe fn allocate_alone(&self, shard: usize, size: usize, align: usize) -> Result<Handle, OutOfMemory> {
        // SAFETY: the caller's promise.
        match unsafe { self.region(shard).squeeze_alone(size, align) } {
            Some(handle) => Ok(handle),
            None => self.allocate_elsewhere(shard, size, align),
        }
    }

    #[inline]
    unsafe fn release(&self, shard: usize, handle: Handle, size: usize) -> bool {
        // SAFETY: the caller's promise; what came from another region is the last block of neither.
        unsafe { self.region(shard).release(handle, size) }
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
        self.bumps().map(used).sum()
    }

    fn reserved(&self) -> usize {
        self.directory.reserved()
    }

    fn reset(&mut self) {
        self.directory.reset();
        for shard in self.shards.iter_mut().chain([&mut self.only]) {
            shard.bump = Bump::new();
        }
    }

    fn renew(&self) -> Option<Self> {
        let (selector, allocator) = (self.selector.clone(), self.directory.allocator().clone());
        Some(Self::with_parts(self.shards.len(), self.sizes, selector, allocator))
    }
}

impl<Sel, Al: Allocator> fmt::Debug for ShardedArena<Sel, Al> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedArena")
            .field("shards", &self.shards.len())
            .field("reserved", &self.directory.reserved())
            .finish_non_exhaustive()
    }
}
