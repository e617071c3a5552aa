//! memskip as an engine that writes from one thread uses it: a `SingleWriter`, held as long as the table lives.

use super::memskip::Memskip;
use crate::peer::{Ability, Peer, Plan};
use memskip::{Memtable, SingleWriter};
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;

pub struct Alone {
    /// Borrows from `table`; dropped first.
    writer: ManuallyDrop<UnsafeCell<SingleWriter<'static>>>,
    table: *mut Memskip,
}

// SAFETY: the table may be shared. The writer is used by `insert`, `insert_batch` and `overwrite` alone, of which the harness runs one
// at a time: without `Ability::Share` a library takes part with one thread only, and `Ability::Grow`, by which a second thread reads beside
// a writer, brings no second writer.
unsafe impl Sync for Alone {}

impl Alone {
    fn table(&self) -> &Memskip {
        // SAFETY: from `Box::into_raw`, and nobody has it back before `drop`.
        unsafe { &*self.table }
    }

    #[expect(clippy::mut_from_ref, reason = "one thread, which never holds two")]
    fn writer(&self) -> &mut SingleWriter<'static> {
        // SAFETY: one writer at a time, as above, and none of the three keeps what it gets.
        unsafe { &mut *self.writer.get() }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // SAFETY: once, here.
        unsafe { ManuallyDrop::drop(&mut self.writer) };
        // SAFETY: from `Box::into_raw`; the only borrow of it is gone.
        drop(unsafe { Box::from_raw(self.table) });
    }
}

impl Peer for Alone {
    const NAME: &'static str = "memskip-alone";
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Scan, Ability::Reverse, Ability::Seek];

    fn new(_plan: &Plan) -> Self {
        let table = Box::into_raw(Box::new(Memskip(Memtable::with_shards(1))));
        // SAFETY: it stays where it is, and lives until `drop`.
        let shared: &'static Memskip = unsafe { &*table };
        let writer = shared.0.single_writer().expect("it is new");
        Self { writer: ManuallyDrop::new(UnsafeCell::new(writer)), table }
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.writer().insert(key, value)
    }

    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        self.writer().insert_batch(entries) == Ok(entries.len())
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        self.writer().put(key, value).is_ok()
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.table().get(key, read)
    }

    fn get_many(&self, keys: &[&[u8]], read: impl FnMut(usize, Option<&[u8]>)) {
        self.table().get_many(keys, read);
    }

    fn scan(&self, each: impl FnMut(&[u8], &[u8])) {
        self.table().scan(each);
    }

    fn scan_back(&self, each: impl FnMut(&[u8], &[u8])) {
        self.table().scan_back(each);
    }

    fn seek(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) {
        self.table().seek(from, count, each);
    }

    fn used_bytes(&self) -> Option<usize> {
        self.table().used_bytes()
    }
}
