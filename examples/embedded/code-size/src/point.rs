//! Make a table, write, read by key.

use core::mem::MaybeUninit;

use memskip::{Bytewise, EpochClock, FixedArena, InsertError, Memtable, SeqNo};

pub const LEVELS: usize = if cfg!(feature = "levels-1") {
    1
} else if cfg!(feature = "levels-4") {
    4
} else {
    12
};

pub type Table = Memtable<[u8], Bytewise, FixedArena<'static>, EpochClock, LEVELS>;

pub const OPERATIONS: &[*const ()] =
    &[make as *const (), put as *const (), put_tombstone as *const (), get as *const ()];

fn make(buffer: &'static mut [MaybeUninit<u8>]) -> Table {
    Table::new_in(FixedArena::new(buffer))
}

fn put(table: &Table, key: &[u8], value: &[u8]) -> Result<SeqNo, InsertError> {
    table.put(key, value)
}

fn put_tombstone(table: &Table, key: &[u8]) -> Result<SeqNo, InsertError> {
    table.put_tombstone(key)
}

fn get<'t>(table: &'t Table, key: &[u8]) -> Option<(&'t [u8], bool)> {
    table.get(key)
}
