//! A memtable on a Cortex-M0: 16 KiB of memory, and a core without compare-and-swap. See ../README.md for how to build and
//! run it.

#![no_std]
#![no_main]

mod board;
#[path = "../../shared/exercise.rs"]
mod exercise;

use core::mem::MaybeUninit;

use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use memskip::LaneDensity;

use board::Clock;
use exercise::{Fault, Order};

/// All the memory that the table has; the stack has what is left of 16 KiB.
const BUFFER: usize = 10 << 10;
/// Enough for tens of thousands of entries. A level costs a word in the table, and nothing else until it is used.
const LEVELS: usize = 4;

#[entry]
fn main() -> ! {
    match run() {
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

fn run() -> Result<(), Fault> {
    let clock = Clock::start();
    let buffer = cortex_m::singleton!(: [MaybeUninit<u8>; BUFFER] = [MaybeUninit::uninit(); BUFFER]);
    let mut table = exercise::table::<LEVELS>(buffer.ok_or("the buffer is taken")?, LaneDensity::Every);
    hprintln!("a table of {} levels is {} bytes by itself", LEVELS, size_of_val(&table));

    let report = exercise::run(&mut table, &clock)?;
    hprintln!("{} entries of 4 and 8 bytes in {} of {} bytes", report.entries, report.used, report.reserved);
    let costs = [
        ("put", &report.put),
        ("get", &report.get),
        ("next", &report.next),
        ("prev", &report.back),
        ("overwrite", &report.overwrite),
        ("delete", &report.delete),
    ];
    for (name, cost) in costs {
        hprintln!("{:9} {:6} instructions", name, cost.each::<Clock>());
    }
    for (name, order) in [("ascending", Order::Ascending), ("shuffled", Order::Shuffled)] {
        let overhead = exercise::overhead(&mut table, order, 8)?;
        hprintln!("bytes per entry beyond key and value, {}: {}.{:02}", name, overhead / 100, overhead % 100);
    }
    Ok(())
}
