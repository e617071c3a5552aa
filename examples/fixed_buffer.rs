//! A memtable in a buffer: no allocator, no `std`. The example prints, so it has `std` itself; the crate needs it not.
//!
//! ```text
//! cargo run --example fixed_buffer --no-default-features
//! ```
//!
//! On a microcontroller the buffer is a `static`, and every limit below is the same: an error value, nothing lost.

use std::error::Error;
use std::mem::MaybeUninit;

use memskip::{Bytewise, FixedArena, InsertError, Memtable};

/// All the memory this table will ever have: keys, values, nodes and lanes.
const BUFFER: usize = 16 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut table: Memtable<[u8], Bytewise, FixedArena<'_>> = Memtable::new_in(FixedArena::new(&mut buffer));

    // Write until there is no room.
    let mut written = 0u32;
    let refused = loop {
        match table.put(&written.to_be_bytes(), b"a reading of some sensor") {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, InsertError::OutOfMemory);
    assert!(written > 100, "{written}");
    println!("{written} entries in {} of {} bytes; then: {refused}", table.memory_usage(), table.memory_reserved());
    assert!(table.memory_usage() <= BUFFER);

    // The write that failed has left no trace, and all the others are there.
    table.validate()?;
    assert_eq!(table.len(), written as usize);
    assert!(table.iter().zip(0..written).all(|(entry, number)| entry.key == number.to_be_bytes()));
    assert_eq!(table.get(&written.to_be_bytes()), None);

    // Reads in bulk go into the caller's array, without a `Vec`.
    let keys = [1u32.to_be_bytes(), u32::MAX.to_be_bytes()];
    let mut values = [None; 2];
    table.get_many_into(&keys, &mut values);
    assert_eq!(values, [Some(&b"a reading of some sensor"[..]), None]);

    // Flush: freeze, walk, start over in the same memory.
    let frozen = table.freeze();
    let payload: usize = frozen.versions().map(|entry| entry.key.len() + entry.value.len()).sum();
    println!("flushed {payload} bytes of keys and values");
    assert_eq!(table.put(b"too late", b""), Err(InsertError::Sealed));

    table.reset();
    assert!(table.is_empty());
    assert!(!table.is_sealed());
    for number in 0..written {
        table.put(&number.to_be_bytes(), b"a reading of some sensor")?;
    }
    println!("the buffer again holds {} entries", table.len());
    Ok(())
}
