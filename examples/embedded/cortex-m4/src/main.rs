//! A memtable on a Cortex-M4, in a static buffer, with an interrupt handler that reads and writes while the main loop
//! writes. See ../README.md for how to build and run it.

#![no_std]
#![no_main]

mod board;
#[path = "../../shared/exercise.rs"]
mod exercise;
mod interrupted;

use core::mem::MaybeUninit;

use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use memskip::{DEFAULT_HEIGHT, LaneDensity};

use board::Clock;
use exercise::{Fault, Order, Table};

/// All the memory that the tables have, one after the other.
const BUFFER: usize = 64 << 10;
/// For the table that main loop and interrupt handler share.
const SHARED: usize = 2 << 20;

#[entry]
fn main() -> ! {
    let outcome = board::Board::take().ok_or("the peripherals are taken").and_then(run);
    match outcome {
        Ok(()) => {
            hprintln!("ok");
            board::exit(true)
        }
        Err(fault) => {
            hprintln!("FAULT: {}", fault);
            board::exit(false)
        }
    }
}

fn run(board: board::Board) -> Result<(), Fault> {
    let clock = Clock::start(board.systick);
    let buffer = cortex_m::singleton!(: [MaybeUninit<u8>; BUFFER] = [MaybeUninit::uninit(); BUFFER]);
    let mut buffer = Some(buffer.ok_or("the buffer is taken")?);

    hprintln!("instructions per operation, 4-byte keys in no order, 8-byte values, {} KiB", BUFFER >> 10);
    hprintln!("levels lanes   entries bytes/entry    put    get   next   prev  overwrite  delete");
    costs::<12>(&mut buffer, "every", LaneDensity::Every, &clock)?;
    costs::<4>(&mut buffer, "every", LaneDensity::Every, &clock)?;
    costs::<4>(&mut buffer, "sparse", LaneDensity::Sparse, &clock)?;
    costs::<1>(&mut buffer, "never", LaneDensity::Never, &clock)?;

    hprintln!("bytes per entry beyond key (4) and value");
    hprintln!("lanes   order        value 4   value 8  value 15  mean of 0-15");
    for (name, density) in
        [("never", LaneDensity::Never), ("sparse", LaneDensity::Sparse), ("every", LaneDensity::Every)]
    {
        overheads(&mut buffer, name, density)?;
    }

    let shared = cortex_m::singleton!(: [MaybeUninit<u8>; SHARED] = [MaybeUninit::uninit(); SHARED]);
    interrupted::run(shared.ok_or("the buffer is taken")?, clock.stop())
}

/// Lends the buffer to a table of `H` levels.
///
/// The borrow has to be `'static`, so that the same type serves all; the buffer is given back by taking it apart.
fn with_table<const H: usize, R>(
    buffer: &mut Option<&'static mut [MaybeUninit<u8>; BUFFER]>,
    density: LaneDensity,
    act: impl FnOnce(&mut Table<H>) -> R,
) -> Result<R, Fault> {
    let whole = buffer.take().ok_or("the buffer is lent")?;
    let start: *mut [MaybeUninit<u8>; BUFFER] = whole;
    // SAFETY: `start` came from an exclusive reference that is not used any more.
    let mut table = exercise::table::<H>(unsafe { &mut *start }, density);
    let result = act(&mut table);
    drop(table);
    // SAFETY: the table was the only user, and is gone.
    *buffer = Some(unsafe { &mut *start });
    Ok(result)
}

fn costs<const H: usize>(
    buffer: &mut Option<&'static mut [MaybeUninit<u8>; BUFFER]>,
    name: &str,
    density: LaneDensity,
    clock: &Clock,
) -> Result<(), Fault> {
    let report = with_table::<H, _>(buffer, density, |table| exercise::run(table, clock))??;
    hprintln!(
        "{:6} {:<7} {:7} {:>11} {:6} {:6} {:6} {:6} {:10} {:7}",
        H,
        name,
        report.entries,
        Hundredths(report.used * 100 / report.entries as usize),
        report.put.each::<Clock>(),
        report.get.each::<Clock>(),
        report.next.each::<Clock>(),
        report.back.each::<Clock>(),
        report.overwrite.each::<Clock>(),
        report.delete.each::<Clock>(),
    );
    Ok(())
}

fn overheads(
    buffer: &mut Option<&'static mut [MaybeUninit<u8>; BUFFER]>,
    name: &str,
    density: LaneDensity,
) -> Result<(), Fault> {
    for (order_name, order) in [("ascending", Order::Ascending), ("shuffled", Order::Shuffled)] {
        let mut each = [0; 16];
        for (value, each) in each.iter_mut().enumerate() {
            let filled =
                with_table::<DEFAULT_HEIGHT, _>(buffer, density, |table| exercise::overhead(table, order, value))?;
            *each = filled?;
        }
        let [_, _, _, _, four, _, _, _, eight, .., fifteen] = each;
        let mean = each.iter().sum::<usize>() / each.len();
        let [four, eight, fifteen, mean] = [four, eight, fifteen, mean].map(|hundredths| Hundredths(hundredths));
        hprintln!("{:<7} {:<9} {:>10} {:>9} {:>9} {:>13}", name, order_name, four, eight, fifteen, mean);
    }
    Ok(())
}

/// A number with two decimals.
struct Hundredths(usize);

impl core::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let width = f.width().unwrap_or(0).saturating_sub(3);
        write!(f, "{:width$}.{:02}", self.0 / 100, self.0 % 100)
    }
}
