//! Says which mutant is alive in this run: `MUTANT=number`. With `MUTANT_COVER=file` none is; the numbers of the places that were
//! passed are written to the file when the process ends. Copied into the mutated source by `.ci/mutants/run.py`.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

const UNKNOWN: u32 = u32::MAX;
const COVER: u32 = u32::MAX - 1;
static CHOSEN: AtomicU32 = AtomicU32::new(UNKNOWN);
static PASSED: [AtomicU8; 8192] = [const { AtomicU8::new(0) }; 8192];

// Plain C: tests count allocations.
unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn atexit(call: extern "C" fn()) -> c_int;
    fn creat(path: *const c_char, mode: u32) -> c_int;
    fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
}

/// The living mutant's number, if it is one of this place's.
#[inline]
pub(crate) fn at(low: u32, high: u32) -> u32 {
    let chosen = CHOSEN.load(Relaxed);
    let chosen = if chosen >= COVER { slowly(low) } else { chosen };
    if low <= chosen && chosen <= high { chosen } else { 0 }
}

#[cold]
fn slowly(place: u32) -> u32 {
    if CHOSEN.load(Relaxed) == UNKNOWN {
        let variable = |name: &CStr| {
            let text = unsafe { getenv(name.as_ptr()) };
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
        };
        if variable(c"MUTANT_COVER").is_some() {
            if CHOSEN.swap(COVER, Relaxed) == UNKNOWN {
                unsafe { atexit(dump) };
            }
        } else {
            let number = variable(c"MUTANT").and_then(|text| text.to_str().ok()?.parse().ok());
            CHOSEN.store(number.unwrap_or(0), Relaxed);
        }
    }
    match CHOSEN.load(Relaxed) {
        COVER => {
            PASSED[place as usize].store(1, Relaxed);
            0
        }
        chosen => chosen,
    }
}

extern "C" fn dump() {
    let path = unsafe { getenv(c"MUTANT_COVER".as_ptr()) };
    let file = unsafe { creat(path, 0o644) };
    unsafe { write(file, PASSED.as_ptr().cast(), PASSED.len()) };
}
