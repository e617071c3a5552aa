//! An allocator that asks the kernel for 2 MiB pages (Linux): what the library's example of the same name shows.

use allocator_api2::alloc::{AllocError, Allocator, Global};
use std::alloc::Layout;
use std::ptr::NonNull;

pub const HUGE_PAGE: usize = 2 << 20;

/// The global allocator; requests of whole huge pages are aligned to them, and the kernel is asked for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HugePages;

impl HugePages {
    /// What is asked of the global allocator instead: always the same for the same layout.
    fn aligned(layout: Layout) -> Result<Layout, AllocError> {
        if layout.size() < HUGE_PAGE {
            return Ok(layout);
        }
        layout.align_to(HUGE_PAGE).map(|layout| layout.pad_to_align()).map_err(|_| AllocError)
    }
}

// SAFETY: memory comes from `Global` and goes back with the layout it came with, which is at least as large and as aligned as the
// one that was asked for; there is no state, so clones and moves change nothing.
unsafe impl Allocator for HugePages {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let aligned = Self::aligned(layout)?;
        let memory = Global.allocate(aligned)?;
        #[cfg(target_os = "linux")]
        if aligned.size() >= HUGE_PAGE {
            // SAFETY: the range was allocated just now and is whole pages; the advice changes nothing a program could see.
            unsafe { libc::madvise(memory.cast().as_ptr(), aligned.size(), libc::MADV_HUGEPAGE) };
        }
        Ok(NonNull::slice_from_raw_parts(memory.cast(), layout.size()))
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        if let Ok(aligned) = Self::aligned(layout) {
            // SAFETY: `allocate` got it from `Global` with this layout.
            unsafe { Global.deallocate(memory, aligned) };
        }
    }
}
