//! Two limits, not rivals: neither takes a write after the first read.
//!
//! - `append-sort` appends entries to a log and sorts an index over it once, at the end of the fill: the least a write can cost
//!   when nobody reads meanwhile.
//! - `sorted-array` then also lays the entries out in the order of their keys: the least a read by bisection and a scan can cost.

use crate::peer::{Ability, Peer, Plan};
use parking_lot::Mutex;

/// Where an entry is: the first eight bytes of its key, which settle most comparisons, and its place in the log.
#[derive(Clone, Copy)]
struct Slot {
    prefix: u64,
    start: usize,
    key_len: u32,
    value_len: u32,
}

impl Slot {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..][..self.key_len as usize]
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start + self.key_len as usize..][..self.value_len as usize]
    }
}

fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl Log {
    fn append(&mut self, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let (key_len, value_len) = (key.len() as u32, value.len() as u32);
        self.slots.push(Slot { prefix: prefix(key), start, key_len, value_len });
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.slots.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| a.key(bytes).cmp(b.key(bytes))));
    }

    /// The same entries, laid out in the order of the slots.
    fn packed(&self) -> Self {
        let mut packed =
            Self { bytes: Vec::with_capacity(self.bytes.len()), slots: Vec::with_capacity(self.slots.len()) };
        self.show(self.slots.iter(), |key, value| packed.append(key, value));
        packed
    }

    /// The first slot whose key is not below `key`.
    fn lower_bound(&self, key: &[u8]) -> usize {
        let prefix = prefix(key);
        self.slots
            .partition_point(|slot| slot.prefix < prefix || (slot.prefix == prefix && slot.key(&self.bytes) < key))
    }

    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let slot = self.slots.get(self.lower_bound(key))?;
        (slot.key(&self.bytes) == key).then(|| slot.value(&self.bytes))
    }

    fn show<'a>(&self, slots: impl Iterator<Item = &'a Slot>, mut each: impl FnMut(&[u8], &[u8])) {
        for slot in slots {
            each(slot.key(&self.bytes), slot.value(&self.bytes));
        }
    }

    fn used_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.slots.as_slice())
    }
}

/// A log, sorted once; rewritten in the order of its keys if `PACKED`.
#[derive(Default)]
pub struct Sorted<const PACKED: bool> {
    /// Written to until `settle`.
    log: Mutex<Log>,
    /// Read from since `settle`.
    sorted: Log,
}

pub type AppendSort = Sorted<false>;
pub type SortedArray = Sorted<true>;

impl<const PACKED: bool> Peer for Sorted<PACKED> {
    const NAME: &'static str = if PACKED { "sorted-array" } else { "append-sort" };
    const ABILITIES: &'static [Ability] = &[Ability::Share, Ability::Scan, Ability::Reverse, Ability::Seek];

    fn new(_plan: &Plan) -> Self {
        Self::default()
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> bool {
        self.log.lock().append(key, value);
        true
    }

    fn settle(&mut self) {
        let mut log = std::mem::take(self.log.get_mut());
        log.sort();
        self.sorted = if PACKED { log.packed() } else { log };
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.sorted.get(key).map(read)
    }

    fn scan(&self, each: impl FnMut(&[u8], &[u8])) {
        self.sorted.show(self.sorted.slots.iter(), each);
    }

    fn scan_back(&self, each: impl FnMut(&[u8], &[u8])) {
        self.sorted.show(self.sorted.slots.iter().rev(), each);
    }

    fn seek(&self, from: &[u8], count: usize, each: impl FnMut(&[u8], &[u8])) {
        let slots = &self.sorted.slots[self.sorted.lower_bound(from)..];
        self.sorted.show(slots.iter().take(count), each);
    }

    fn used_bytes(&self) -> Option<usize> {
        Some(self.sorted.used_bytes())
    }
}
