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

/// Asks for the lines of `size` bytes at `at`, which is where a line begins.
#[inline]
pub(super) fn lines(at: NonNull<u8>, size: usize) {
    let mut offset = 0;
    while offset < size {
        line(at.as_ptr().wrapping_add(offset), Cache::First);
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
