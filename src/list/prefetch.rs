//! Asking for a cache line before it is needed. Does nothing where there is no such instruction, or no cache.

use core::ptr::NonNull;

/// Bytes of a cache line, for stepping.
pub(super) const LINE: usize = 64;

/// Whether there is such an instruction.
pub(super) const EXISTS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Lanes of a table that is too large for the caches next to the processor: some ten thousand entries. In smaller ones looking
/// ahead costs more than it gains.
pub(super) const LARGE: usize = 4;

/// The cache into which a line is asked for.
#[derive(Clone, Copy)]
pub(super) enum Cache {
    /// The first. A core can wait for some twenty lines at once, and what it asks for first must be worth a place.
    First,
    /// One further out, which takes more requests; from there a line comes soon, and so does not hold its place for long. (On the
    /// machines measured, AMD's, that is the cache that cores share.)
    Outer,
}

/// Asks for the line at `at`, which may be any address.
#[inline]
fn line(at: *const u8, cache: Cache) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match cache {
            // SAFETY: a prefetch reads nothing and cannot fault; SSE is part of x86-64.
            Cache::First => unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) },
            // SAFETY: as above.
            Cache::Outer => unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) },
        }
    }
    #[cfg(all(target_arch = "aarch64", not(loom)))]
    {
        use core::arch::asm;
        match cache {
            // SAFETY: a prefetch reads nothing and cannot fault.
            Cache::First => unsafe {
                asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
            },
            // SAFETY: as above.
            Cache::Outer => unsafe {
                asm!("prfm pldl2keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
            },
        }
    }
    #[cfg(any(loom, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = (at, cache);
}

/// Asks for the lines of `size` bytes from `at` on (if that is where a line begins: else perhaps not for the last).
#[inline]
pub(super) fn lines(at: *const u8, size: usize) {
    let mut offset = 0;
    while offset < size {
        line(at.wrapping_add(offset), Cache::First);
        offset += LINE;
    }
}

/// Asks for the line at `at`, and for the next if a header and a short key reach into it.
#[inline]
pub(super) fn start(at: NonNull<u8>, cache: Cache) {
    /// A node's header and a key of 16 bytes.
    const REACH: usize = 36;
    line(at.as_ptr(), cache);
    line(at.as_ptr().wrapping_add(REACH), cache);
}

/// Asks for memory behind a block that was just handed out, for the blocks to come: what is written to memory that was used before, by
/// a table that was reset or by whoever freed it, has to be read first. (Pages that nobody has touched are not brought in by this.)
#[inline]
pub(super) fn room_behind(at: NonNull<u8>, size: usize) {
    /// A few blocks of a few lines, which take as long to be written as a line takes to come.
    const LEAD: usize = 1024;
    /// From here on the processor looks ahead by itself, up to the end of a page.
    const LONG: usize = 512;
    const PAGE: usize = 4096;
    if size <= LINE {
        // Several share a line, and the processor sees to those, too.
        return;
    }
    if size < LONG {
        return lines(at.as_ptr().wrapping_add(LEAD), size);
    }
    let (begin, lead) = (at.as_ptr() as usize % PAGE, PAGE - LEAD);
    // The first block to get there asks for the beginning of the next page.
    if begin < lead && begin + size >= lead {
        lines(at.as_ptr().wrapping_add((begin + size).next_multiple_of(PAGE) - begin), LONG);
    }
}
