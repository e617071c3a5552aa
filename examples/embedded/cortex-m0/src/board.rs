//! The board: its clock, its ways out.

use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::{debug, hprintln};

use crate::exercise::Ticks;

/// The first timer of the nRF51 as a clock: 32 bits, 16 MHz. (The core has no cycle counter.)
pub struct Clock(());

/// Registers of `TIMER0`.
mod timer {
    pub const START: *mut u32 = 0x4000_8000 as *mut u32;
    pub const CAPTURE: *mut u32 = 0x4000_8040 as *mut u32;
    pub const BITMODE: *mut u32 = 0x4000_8508 as *mut u32;
    pub const PRESCALER: *mut u32 = 0x4000_8510 as *mut u32;
    pub const CAPTURED: *const u32 = 0x4000_8540 as *const u32;
    /// For `BITMODE`.
    pub const BITS_32: u32 = 3;
}

impl Clock {
    /// Starts it.
    pub fn start() -> Self {
        // SAFETY: registers of a timer that nothing else uses; the same for the two below.
        unsafe { timer::BITMODE.write_volatile(timer::BITS_32) };
        // SAFETY: as above.
        unsafe { timer::PRESCALER.write_volatile(0) };
        // SAFETY: as above.
        unsafe { timer::START.write_volatile(1) };
        Self(())
    }
}

impl Ticks for Clock {
    const MASK: u32 = u32::MAX;

    fn now(&self) -> u32 {
        // SAFETY: asks the timer, which is running, to copy its count.
        unsafe { timer::CAPTURE.write_volatile(1) };
        // SAFETY: reads that copy.
        unsafe { timer::CAPTURED.read_volatile() }
    }

    fn instructions(ticks: u64) -> u64 {
        // 62.5 ns a tick.
        ticks * 125 / 64
    }
}

/// Leaves qemu, or stops in the debugger.
pub fn exit(well: bool) -> ! {
    debug::exit(if well { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::bkpt();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    exit(false)
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    hprintln!("hard fault at {:#010x}", frame.pc());
    exit(false)
}
