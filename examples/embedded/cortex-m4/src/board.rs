//! The board: its clock, its ways out.

use core::panic::PanicInfo;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::{debug, hprintln};

use crate::exercise::Ticks;

/// What is used of the board.
pub struct Board {
    /// A counter of the processor's clock, and the only interrupt.
    pub systick: SYST,
}

impl Board {
    /// Once.
    pub fn take() -> Option<Self> {
        cortex_m::Peripherals::take().map(|peripherals| Self { systick: peripherals.SYST })
    }
}

/// The system timer as a clock: 24 bits, 25 MHz, downwards.
///
/// qemu has no cycle counter (`DWT`); on a real core read `DWT::cycle_count()` instead.
pub struct Clock(SYST);

impl Clock {
    /// Starts it.
    pub fn start(mut systick: SYST) -> Self {
        systick.set_clock_source(SystClkSource::Core);
        systick.set_reload(Self::MASK);
        systick.clear_current();
        systick.enable_counter();
        Self(systick)
    }

    /// Gives the timer back, stopped.
    pub fn stop(mut self) -> SYST {
        self.0.disable_counter();
        self.0
    }
}

impl Ticks for Clock {
    const MASK: u32 = 0x00FF_FFFF;

    fn now(&self) -> u32 {
        Self::MASK - SYST::get_current()
    }

    fn instructions(ticks: u64) -> u64 {
        // 40 ns a tick.
        ticks * 40 / 32
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
