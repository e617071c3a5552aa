//! Asking for a cache line before it is needed. Does nothing where there is no such instruction, or no cache.

use core::ptr::NonNull;

/// Bytes of a cache line, for stepping.
pub(super) const LINE: usize = 64;

/// Whether there is such an instruction.
pub(super) const EXISTS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Lanes of a table that is too large for the caches next to the processor: some ten thousand entries. In smaller ones looking
/// ahead costs more than it gains.
pub(super) const LARGE: usize = 4;

/// Asks for the line at `at`, which may be any address.
#[inline]
pub(super) fn line(at: NonNull<u8>) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and cannot fault; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.as_ptr().cast_const().cast()) };
    }
    #[cfg(all(target_arch = "aarch64", not(loom)))]
    {
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe {
            core::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at.as_ptr(), options(nostack, preserves_flags, readonly));
        };
    }
    #[cfg(any(loom, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}

/// Asks for all lines of a `T` at `at`.
#[inline]
pub(super) fn object<T>(at: NonNull<u8>) {
    let mut offset = 0;
    while offset < size_of::<T>() {
        let ahead = at.as_ptr().wrapping_add(offset);
        line(NonNull::new(ahead).unwrap_or(at));
        offset += LINE;
    }
}

/// Asks for the line at `at`, and for the next if a header and a short key reach into it.
#[inline]
pub(super) fn start(at: NonNull<u8>) {
    /// A node's header and a key of 16 bytes.
    const REACH: usize = 36;
    line(at);
    let ahead = at.as_ptr().wrapping_add(REACH);
    line(NonNull::new(ahead).unwrap_or(at));
}
