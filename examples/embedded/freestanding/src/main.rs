//! A memtable where there is nothing: no `std`, no allocator, no C library, and nothing that could panic.
//!
//! ```text
//! cargo build --release && target/release/memskip-freestanding; echo $?
//! nm target/release/memskip-freestanding      # no panic, no fmt
//! ```
//!
//! Fills a static buffer, reads everything back, overwrites, walks both ways. The exit code says which step failed; 0 is
//! none. The way to look at it is its symbol table: what put, get and iterating may need is all there is.

#![no_std]
#![no_main]

mod bare;

use core::mem::MaybeUninit;

use memskip::{Bytewise, EpochClock, FixedArena, InsertError, Memtable};

/// All levels of a table that names none.
const HEIGHT: usize = memskip::DEFAULT_HEIGHT;

type Table = Memtable<[u8], Bytewise, FixedArena<'static>, EpochClock, HEIGHT>;

/// What `_start` calls; what it returns is the exit code.
fn run(buffer: &'static mut [MaybeUninit<u8>]) -> u8 {
    let table = Table::new_in(FixedArena::new(buffer));
    match check(&table) {
        Ok(()) => 0,
        Err(step) => step as u8,
    }
}

/// What can go wrong, by exit code.
#[repr(u8)]
enum Step {
    Fill = 1,
    Get,
    Forwards,
    Backwards,
    Overwrite,
    Delete,
}

/// A key for a number, so that keys come in no order.
fn key_of(number: u32) -> [u8; 4] {
    number.wrapping_mul(0x9E37_79B1).to_be_bytes()
}

fn check(table: &Table) -> Result<(), Step> {
    // Fill it until it says that it is full.
    let mut written = 0u32;
    let refused = loop {
        match table.put(&key_of(written), &written.to_le_bytes()) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    if refused != InsertError::OutOfMemory || written < 1000 || table.len() != written as usize {
        return Err(Step::Fill);
    }

    // Every value is there.
    if (0..written).any(|number| table.get(&key_of(number)) != Some((&number.to_le_bytes()[..], false))) {
        return Err(Step::Get);
    }

    // Both ways, in order, and all of them.
    let mut last = None;
    let mut count = 0u32;
    for entry in table.iter() {
        if last.is_some_and(|last| last >= entry.key) {
            return Err(Step::Forwards);
        }
        last = Some(entry.key);
        count += 1;
    }
    if count != written {
        return Err(Step::Forwards);
    }
    let mut next = None;
    for entry in table.iter().rev() {
        if next.is_some_and(|next| next <= entry.key) {
            return Err(Step::Backwards);
        }
        next = Some(entry.key);
        count -= 1;
    }
    if count != 0 {
        return Err(Step::Backwards);
    }

    #[cfg(feature = "panicking")]
    if table.get(&key_of(1)).is_some_and(|(value, _)| value[usize::from(value[0])] == 77) {
        return Err(Step::Get);
    }
    Ok(())
}
