//! With an allocator: a growing arena, batches.

use embedded_alloc::LlffHeap;
use memskip::{InsertError, Memtable, SeqNo, WriteBatch};

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

pub const OPERATIONS: &[*const ()] = &[make as *const (), put as *const (), get as *const (), apply as *const ()];

fn make() -> Memtable {
    Memtable::new()
}

fn put(table: &Memtable, key: &[u8], value: &[u8]) -> Result<SeqNo, InsertError> {
    table.put(key, value)
}

fn get<'t>(table: &'t Memtable, key: &[u8]) -> Option<(&'t [u8], bool)> {
    table.get(key)
}

fn apply(table: &Memtable, batch: &WriteBatch) -> Result<SeqNo, InsertError> {
    table.apply(batch)
}
