//! A memtable where there is nothing: no `std`, no allocator, no C library, and nothing that could panic.
//!
//! ```text
//! cargo build --release && target/release/memskip-freestanding; echo $?
//! nm target/release/memskip-freestanding      # no panic, no fmt
//! ```
//!
//! Fills a static buffer, reads everything back, walks both ways, overwrites, deletes, looks at a snapshot, freezes; then many
//! keys at a time, and the same by the only writer. The exit code says which step failed; 0 is none. The point is its symbol table:
//! what these operations may need is all there is.

#![no_std]
#![no_main]

mod bare;

use core::mem::MaybeUninit;

use memskip::{Bytewise, EpochClock, FixedArena, InsertError, Kind, Memtable, SeqNo};

/// All levels of a table that names none.
const HEIGHT: usize = memskip::DEFAULT_HEIGHT;

type Table = Memtable<[u8], Bytewise, FixedArena<'static>, EpochClock, HEIGHT>;

/// What the program does; returns its exit code.
fn run(buffer: &'static mut [MaybeUninit<u8>]) -> u8 {
    let mut table = Table::new_in(FixedArena::new(buffer));
    match check(&mut table).and_then(|()| many(&mut table)).and_then(|()| alone(&mut table)) {
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
    Snapshot,
    Freeze,
    Many,
    Alone,
}

/// A key for a number, so that keys come in no order.
fn key_of(number: u32) -> [u8; 4] {
    number.wrapping_mul(0x9E37_79B1).to_be_bytes()
}

fn check(table: &mut Table) -> Result<(), Step> {
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

    // Over again: new versions, tombstones, and a snapshot of before.
    table.reset();
    for number in 0..written / 4 {
        table.put(&key_of(number), b"old").map_err(|_| Step::Overwrite)?;
    }
    let before = table.snapshot();
    for number in 0..written / 4 {
        let new =
            if number % 2 == 0 { table.put(&key_of(number), b"new") } else { table.put_tombstone(&key_of(number)) };
        new.map_err(|_| Step::Overwrite)?;
    }
    for number in 0..written / 4 {
        let expected = if number % 2 == 0 { (&b"new"[..], false) } else { (&b""[..], true) };
        if table.get(&key_of(number)) != Some(expected) || before.get_live(&key_of(number)) != Some(b"old") {
            return Err(Step::Snapshot);
        }
    }

    // Frozen, it refuses writes and nothing else.
    let refused = match table.try_freeze() {
        Some(frozen) if frozen.len() + frozen.tombstones() == written as usize / 4 => table.put(b"late", b""),
        _ => return Err(Step::Freeze),
    };
    if refused != Err(InsertError::Sealed) {
        return Err(Step::Freeze);
    }

    #[cfg(feature = "panicking")]
    if table.get(&key_of(1)).is_some_and(|(value, _)| value[usize::from(value[0])] == 77) {
        return Err(Step::Get);
    }
    Ok(())
}

/// Many keys at a time: all inserted, half of them deleted in one batch, all read; and about how many there are.
fn many(table: &mut Table) -> Result<(), Step> {
    const COUNT: usize = 64;
    table.reset();
    let keys: [[u8; 4]; COUNT] = core::array::from_fn(|number| key_of(number as u32));
    if table.insert_batch(&keys.map(|key| (key, b"value"))) != Ok(COUNT) {
        return Err(Step::Many);
    }
    let (deleted, kept) = keys.split_at(COUNT / 2);
    let mut writes: [(&[u8], &[u8], Kind); COUNT / 2] = [(&[], &[], Kind::TOMBSTONE); COUNT / 2];
    for (write, key) in writes.iter_mut().zip(deleted) {
        write.0 = key;
    }
    table.apply_slice(&writes).map_err(|_| Step::Many)?;
    let mut values = [None; COUNT];
    table.get_many_into(&keys, &mut values);
    let (none, some) = values.split_at(COUNT / 2);
    if none.iter().any(Option::is_some) || some.iter().any(|value| *value != Some(&b"value"[..])) {
        return Err(Step::Many);
    }
    let (count, bytes) = (table.approximate_count(..), table.approximate_bytes(..));
    let some = table.approximate_count(kept.first().map_or(&[][..], |key| &key[..])..);
    if count != COUNT || bytes < COUNT * 4 || some > count {
        return Err(Step::Many);
    }
    Ok(())
}

/// The only writer: all others are refused, it fills the table, and freezes it.
fn alone(table: &mut Table) -> Result<(), Step> {
    table.reset();
    let mut writer = table.single_writer().map_err(|_| Step::Alone)?;
    if table.put(&key_of(0), b"another's") != Err(InsertError::Busy) {
        return Err(Step::Alone);
    }
    let mut written = 0u32;
    while writer.put_at(&key_of(written), &written.to_le_bytes(), SeqNo(u64::from(written))).is_ok() {
        written += 1;
    }
    let is_deleted = writer.delete(&key_of(0)) || writer.put_tombstone_at(&key_of(0), SeqNo(u64::MAX / 4)).is_err();
    let is_batched = writer.insert_batch(&[(key_of(1), b"there")]).is_err();
    let is_refused = writer.apply_slice(&[(&key_of(2), b"none left", Kind::VALUE)]).is_err();
    let (_, is_new) = writer.get_or_insert(&key_of(3), b"there");
    let frozen = writer.freeze();
    let is_whole = frozen.len() + frozen.tombstones() == written as usize;
    if written > 1000 && is_deleted && is_batched && is_refused && !is_new && is_whole {
        Ok(())
    } else {
        Err(Step::Alone)
    }
}
