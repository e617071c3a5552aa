//! RocksDB's memtable: `InlineSkipList` over `ConcurrentArena`, by way of `rocksdb.cc`. Only with the feature `rocksdb`.
//!
//! Where one thread writes it inserts as RocksDB does for a single writer: without compare-and-swap, from the position of the last
//! insert if that fits; sorted batches by a hint that is kept. Several keys are looked up sorted, by its finger search, where the
//! version has one (11 has, 10 has not). New keys all have the number 1, as if a log had given it: there is no clock to ask. It pays a call that
//! is not inlined for each operation, and for each entry of a scan: a nanosecond or two.

use crate::peer::{Ability, Peer, Plan};
use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

#[repr(C)]
#[derive(Clone, Copy)]
struct Bytes<'a> {
    data: *const u8,
    size: usize,
    of: PhantomData<&'a [u8]>,
}

impl Bytes<'_> {
    const NONE: Self = Self { data: ptr::null(), size: 0, of: PhantomData };
}

impl<'a> Bytes<'a> {
    fn get(self) -> Option<&'a [u8]> {
        // SAFETY: it is as long and lives as long as it says, or is null.
        (!self.data.is_null()).then(|| unsafe { std::slice::from_raw_parts(self.data, self.size) })
    }
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { data: bytes.as_ptr(), size: bytes.len(), of: PhantomData }
    }
}

#[repr(C)]
struct Table {
    hidden: [u8; 0],
}

type Visit = unsafe extern "C" fn(context: *mut c_void, key: Bytes<'_>, value: Bytes<'_>);

unsafe extern "C" {
    fn peers_rocksdb_version() -> *const c_char;
    fn peers_rocksdb_new(is_shared: bool) -> *mut Table;
    fn peers_rocksdb_drop(table: *mut Table);
    fn peers_rocksdb_used(table: *const Table) -> usize;
    fn peers_rocksdb_insert(table: *mut Table, key: Bytes<'_>, value: Bytes<'_>) -> bool;
    fn peers_rocksdb_overwrite(table: *mut Table, key: Bytes<'_>, value: Bytes<'_>) -> bool;
    fn peers_rocksdb_insert_batch(
        table: *mut Table,
        keys: *const Bytes<'_>,
        values: *const Bytes<'_>,
        count: usize,
    ) -> bool;
    fn peers_rocksdb_get<'a>(table: *const Table, key: Bytes<'_>, value: *mut Bytes<'a>) -> bool;
    fn peers_rocksdb_get_many<'a>(table: *const Table, keys: *const Bytes<'_>, values: *mut Bytes<'a>, count: usize);
    fn peers_rocksdb_scan(
        table: *const Table,
        from: *const Bytes<'_>,
        count: usize,
        visit: Visit,
        context: *mut c_void,
    );
    fn peers_rocksdb_scan_back(table: *const Table, visit: Visit, context: *mut c_void);
}

/// In front of each block that C++ is given, its size; as long as the alignment that `operator new` promises.
const HEADER: usize = 16;

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(HEADER)?, HEADER).ok()
}

/// C++'s `operator new`, by the allocator that counts.
#[unsafe(no_mangle)]
extern "C" fn peers_rust_alloc(size: usize) -> *mut c_void {
    let Some(layout) = layout(size) else { return ptr::null_mut() };
    // SAFETY: it is not of size zero.
    let block = unsafe { alloc(layout) };
    if block.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: there is room for the header, and behind it for `size` bytes.
    unsafe {
        block.cast::<usize>().write(size);
        block.add(HEADER).cast()
    }
}

/// C++'s `operator delete`.
///
/// # Safety
///
/// `block` is null, or from [`peers_rust_alloc`] and not freed before.
#[unsafe(no_mangle)]
unsafe extern "C" fn peers_rust_free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: the header is in front of it, and says how large it was.
    unsafe {
        let block = block.cast::<u8>().sub(HEADER);
        if let Some(layout) = layout(block.cast::<usize>().read()) {
            dealloc(block, layout);
        }
    }
}

/// Which RocksDB was compiled.
pub fn version() -> String {
    // SAFETY: it gives a literal.
    let version = unsafe { CStr::from_ptr(peers_rocksdb_version()) };
    format!("rocksdb {}", version.to_string_lossy())
}

pub struct RocksDb(NonNull<Table>);

// SAFETY: its reads may run beside each other and beside a write, and writes beside each other if it was made for several writers:
// the harness writes from as many threads at a time as the plan says.
unsafe impl Sync for RocksDb {}

impl Drop for RocksDb {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and nobody uses it any more.
        unsafe { peers_rocksdb_drop(self.0.as_ptr()) }
    }
}

/// Calls the closure that `context` points to.
unsafe extern "C" fn visit<F: FnMut(&[u8], &[u8])>(context: *mut c_void, key: Bytes<'_>, value: Bytes<'_>) {
    // SAFETY: `RocksDb::scan`, `seek` and `scan_back` hand over a pointer to their `F`, which nobody else uses meanwhile.
    let each = unsafe { &mut *context.cast::<F>() };
    each(key.get().unwrap_or_default(), value.get().unwrap_or_default());
}

/// What a closure is for C.
fn context<F: FnMut(&[u8], &[u8])>(each: &mut F) -> (Visit, *mut c_void) {
    (visit::<F>, ptr::from_mut(each).cast())
}

impl Peer for RocksDb {
    const NAME: &'static str = "rocksdb";
    const ABILITIES: &'static [Ability] =
        &[Ability::Overwrite, Ability::Grow, Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];

    fn new(plan: &Plan) -> Self {
        // SAFETY: any argument will do.
        let table = unsafe { peers_rocksdb_new(plan.writers_at_once > 1) };
        Self(NonNull::new(table).expect("`new` throws instead"))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        // SAFETY: the table is alive; it copies both.
        unsafe { peers_rocksdb_insert(self.0.as_ptr(), key.into(), value.into()) }
    }

    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        let keys: Vec<Bytes<'_>> = entries.iter().map(|(key, _)| (*key).into()).collect();
        let values: Vec<Bytes<'_>> = entries.iter().map(|(_, value)| (*value).into()).collect();
        // SAFETY: the table is alive, both are of this length; it copies all.
        unsafe { peers_rocksdb_insert_batch(self.0.as_ptr(), keys.as_ptr(), values.as_ptr(), entries.len()) }
    }

    fn overwrite(&self, key: &[u8], value: &[u8]) -> bool {
        // SAFETY: as `insert`.
        unsafe { peers_rocksdb_overwrite(self.0.as_ptr(), key.into(), value.into()) }
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let mut value = Bytes::NONE;
        // SAFETY: the table is alive, and what it shows as long as it.
        let is_there = unsafe { peers_rocksdb_get(self.0.as_ptr(), key.into(), &raw mut value) };
        is_there.then(|| value.get().map(read)).flatten()
    }

    fn get_many(&self, keys: &[&[u8]], mut read: impl FnMut(usize, Option<&[u8]>)) {
        let keys: Vec<Bytes<'_>> = keys.iter().map(|key| (*key).into()).collect();
        let mut values = vec![Bytes::NONE; keys.len()];
        // SAFETY: the table is alive, both are of this length.
        unsafe { peers_rocksdb_get_many(self.0.as_ptr(), keys.as_ptr(), values.as_mut_ptr(), keys.len()) };
        values.into_iter().enumerate().for_each(|(index, value)| read(index, value.get()));
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let (visit, context) = context(&mut each);
        // SAFETY: the table is alive, the context `visit`'s.
        unsafe { peers_rocksdb_scan(self.0.as_ptr(), ptr::null(), usize::MAX, visit, context) }
    }

    fn scan_back(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let (visit, context) = context(&mut each);
        // SAFETY: the table is alive, the context `visit`'s.
        unsafe { peers_rocksdb_scan_back(self.0.as_ptr(), visit, context) }
    }

    fn seek(&self, from: &[u8], count: usize, mut each: impl FnMut(&[u8], &[u8])) {
        let (visit, context) = context(&mut each);
        // SAFETY: the table is alive, the context `visit`'s.
        unsafe { peers_rocksdb_scan(self.0.as_ptr(), &from.into(), count, visit, context) }
    }

    fn used_bytes(&self) -> Option<usize> {
        // SAFETY: the table is alive.
        Some(unsafe { peers_rocksdb_used(self.0.as_ptr()) })
    }
}
