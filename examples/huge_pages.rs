//! Memtables on 2 MiB pages (Linux).
//!
//! ```text
//! cargo run --release --example huge_pages
//! ```
//!
//! A search in a large table touches memory all over, and with 4 KiB pages most of those touches also miss the TLB. On
//! 2 MiB pages they do not; how much that is worth on this machine, the example measures. What it takes is an allocator
//! that aligns large chunks and asks the kernel, and chunks that are multiples of 2 MiB.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This example asks the Linux kernel for huge pages; there is nothing to show on this system.");
}

#[cfg(target_os = "linux")]
mod linux {
    #![expect(unsafe_code, reason = "`Allocator` is an unsafe trait, and `madvise` a C function")]

    use std::alloc::Layout;
    use std::error::Error;
    use std::hint::black_box;
    use std::ptr::NonNull;
    use std::time::{Duration, Instant};

    use allocator_api2::alloc::{AllocError, Allocator, Global};
    use memskip::{InsertError, Memtable};

    const HUGE_PAGE: usize = 2 << 20;
    /// Large enough that 4 KiB pages hurt, unless nobody optimised and nobody is measuring.
    const ENTRIES: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };

    /// The global allocator; large requests are aligned to 2 MiB and offered to the kernel for huge pages.
    #[derive(Clone, Copy, Debug, Default)]
    struct HugePages;

    impl HugePages {
        /// The layout that is asked of `Global` in the place of `layout`: always the same for the same one.
        fn aligned(layout: Layout) -> Result<Layout, AllocError> {
            if layout.size() < HUGE_PAGE {
                return Ok(layout);
            }
            layout.align_to(HUGE_PAGE).map(|layout| layout.pad_to_align()).map_err(|_| AllocError)
        }
    }

    // SAFETY: memory comes from `Global` and goes back to it with the layout it came with, which is at least as large and
    // as aligned as the one that was asked for. `HugePages` has no state, so moving or cloning it changes nothing.
    unsafe impl Allocator for HugePages {
        fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
            let aligned = Self::aligned(layout)?;
            let memory = Global.allocate(aligned)?;
            if aligned.size() >= HUGE_PAGE {
                // SAFETY: the range was allocated just now and is whole pages. The advice changes nothing that a program
                // could see, and a kernel that does not know it (an error) serves 4 KiB pages.
                unsafe { libc::madvise(memory.cast().as_ptr(), aligned.size(), libc::MADV_HUGEPAGE) };
            }
            // Exactly what was asked for: the padding is not the caller's.
            Ok(NonNull::slice_from_raw_parts(memory.cast(), layout.size()))
        }

        unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
            if let Ok(aligned) = Self::aligned(layout) {
                // SAFETY: `allocate` got `ptr` from `Global` with this layout.
                unsafe { Global.deallocate(ptr, aligned) };
            }
        }
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let small = Memtable::<[u8]>::builder().shards(1).largest_chunk(8 << 20).build();
        let huge = Memtable::<[u8]>::builder()
            .shards(1)
            .allocator(HugePages)
            // The first chunk is one page; each later one is larger, up to four.
            .first_chunk(HUGE_PAGE)
            .largest_chunk(4 * HUGE_PAGE)
            .build();

        let before = huge_kilobytes()?;
        let (small_put, small_get) = measure(|key| small.put(key, &[7; 100]), |key| small.get_live(key))?;
        let between = huge_kilobytes()?;
        let (huge_put, huge_get) = measure(|key| huge.put(key, &[7; 100]), |key| huge.get_live(key))?;
        let after = huge_kilobytes()?;

        // Pages change the time, never the answer.
        assert_eq!(huge.len() as u64, ENTRIES);
        assert!(huge.iter().map(|entry| entry.key).eq(small.iter().map(|entry| entry.key)));
        huge.validate()?;

        println!("{ENTRIES} entries            put       get   on huge pages");
        println!("global allocator  {small_put:6} ns {small_get:6} ns  {:6} KiB", between.saturating_sub(before));
        println!("2 MiB pages       {huge_put:6} ns {huge_get:6} ns  {:6} KiB", after.saturating_sub(between));
        if after <= between {
            println!("(the kernel gave none: see /sys/kernel/mm/transparent_hugepage/enabled)");
        }
        Ok(())
    }

    /// Nanoseconds per put and per get, in an order that no cache likes.
    fn measure<'a>(
        mut put: impl FnMut(&[u8]) -> Result<memskip::SeqNo, InsertError>,
        mut get: impl FnMut(&[u8]) -> Option<&'a [u8]>,
    ) -> Result<(u128, u128), Box<dyn Error>> {
        let key = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let started = Instant::now();
        for number in 0..ENTRIES {
            put(&key(number))?;
        }
        let putting = started.elapsed();

        let started = Instant::now();
        for number in 0..ENTRIES {
            // Another order than the one they were written in; the stride shares no factor with the number of entries.
            let number = number * 179_426_549 % ENTRIES;
            black_box(get(&key(number))).ok_or("a key is missing")?;
        }
        let getting = started.elapsed();
        let per = |time: Duration| time.as_nanos() / u128::from(ENTRIES);
        Ok((per(putting), per(getting)))
    }

    /// How much of this process lies on transparent huge pages, as the kernel counts it; 0 where it does not tell.
    fn huge_kilobytes() -> Result<u64, Box<dyn Error>> {
        let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps_rollup") else {
            return Ok(0);
        };
        let line = smaps.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.map(str::parse).transpose()?.unwrap_or(0))
    }
}
