//! memskip as an engine that writes from one thread uses it, and numbers its writes by its log: a `SingleWriter`, held as long as the table
//! lives. (Batches have no numbers of the caller's; theirs are the clock's.)

use super::memskip::Memskip;
use crate::peer::{Ability, Peer, Plan};
use memskip::{Memtable, SeqNo, SingleWriter};
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;

pub struct Alone {
    /// Borrows from `table`; dropped first.
    log: ManuallyDrop<UnsafeCell<Log>>,
    table: *mut Memskip,
}

struct Log {
    writer: SingleWriter<'static>,
    /// The number of the last write.
    last: u64,
}

impl Log {
    fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.last += 1;
        self.writer.put_at(key, value, SeqNo(self.last)).is_ok()
    }
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
    fn log(&self) -> &mut Log {
        // SAFETY: one writer at a time, as above, and none of the three keeps what it gets.
        unsafe { &mut *self.log.get() }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // SAFETY: once, here.
        unsafe { ManuallyDrop::drop(&mut self.log) };
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
        Self { log: ManuallyDrop::new(UnsafeCell::new(Log { writer, last: 0 })), table }
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.log().put(key, value)
    }

    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        self.log().writer.insert_batch(entries) == Ok(entries.len())
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        self.log().put(key, value)
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
