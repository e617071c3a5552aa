//! How much code a memtable is: each operation is one exported function that does nothing else, so that the linker keeps
//! what it needs and no more. The features say which operations there are.
//!
//! ```text
//! bash ../code-size.sh      # builds all of them and prints the table
//! ```

#![no_std]
#![no_main]

use cortex_m_rt::entry;

#[cfg(feature = "alloc")]
mod growing;
#[cfg(feature = "list")]
mod list;
#[cfg(feature = "point")]
mod point;

/// An image needs an entry point. It reads the addresses of the operations, so that they stay.
#[entry]
fn main() -> ! {
    #[cfg(feature = "point")]
    keep(point::OPERATIONS);
    #[cfg(feature = "list")]
    keep(list::OPERATIONS);
    #[cfg(feature = "alloc")]
    keep(growing::OPERATIONS);
    loop {
        cortex_m::asm::wfi();
    }
}

#[cfg(feature = "point")]
fn keep(operations: &[*const ()]) {
    for operation in operations {
        core::hint::black_box(operation);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::udf();
    }
}
