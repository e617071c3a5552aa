//! `validate` and the estimates: every check finds the damage it is for, and estimates are as good as the lanes are.
#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(unsafe_code, reason = "damage is done through pointers")]

#[macro_use]
mod common;

use common::{Rng, key};
use memskip::{Builder, Bytewise, Corruption, FixedArena, Kind, LaneDensity, Memtable};
use std::collections::BTreeSet;
use std::mem::MaybeUninit;

type Table<'buf> = Memtable<[u8], Bytewise, FixedArena<'buf>>;

/// A table over the first half of a zeroed buffer: what reads beyond its end meets zeros.
struct Damaged {
    table: Table<'static>,
    start: *mut u8,
    buffer: *mut [Line],
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read through pointers")] [u8; 64]);

impl Damaged {
    fn new(bytes: usize) -> Self {
        let buffer = Box::into_raw(vec![Line([0; 64]); bytes / 32].into_boxed_slice());
        let start: *mut u8 = buffer.cast();
        // SAFETY: the first half of the buffer, which lives until the table is gone and is used through pointers only.
        let half = unsafe { std::slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), bytes) };
        Self { table: Builder::with_arena(FixedArena::new(half)).build(), start, buffer }
    }

    /// What `validate` says while the bytes from `at` on are these.
    fn with<const N: usize>(&self, at: usize, bytes: [u8; N]) -> Result<(), Corruption> {
        let place: *mut [u8; N] = self.start.wrapping_add(at).cast();
        // SAFETY: in the buffer, which nobody reads meanwhile.
        let before = unsafe { place.replace(bytes) };
        let said = self.table.validate();
        // SAFETY: as above.
        unsafe { place.write(before) };
        said
    }

    fn byte(&self, at: usize) -> u8 {
        // SAFETY: in the buffer.
        unsafe { self.start.wrapping_add(at).read() }
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes([0, 1, 2, 3].map(|i| self.byte(at + i)))
    }

    /// Where these bytes are.
    fn find(&self, bytes: &[u8]) -> usize {
        let is_here = |at: &usize| bytes.iter().enumerate().all(|(i, byte)| self.byte(at + i) == *byte);
        (0..self.table.memory_usage()).find(is_here).expect("in the table")
    }
}

impl Drop for Damaged {
    fn drop(&mut self) {
        // SAFETY: it came from `into_raw`; the table does nothing with its memory when it is dropped.
        drop(unsafe { Box::from_raw(self.buffer) });
    }
}

/// Every check of memory, hit by one bit or another.
#[test]
fn every_check_finds_something() {
    let damaged = Damaged::new(1 << 14);
    let table = &damaged.table;
    for i in 0..60 {
        table.put(&key(i * 7 % 60), b"value").unwrap();
    }
    for i in 0..5 {
        table.put(&key(i * 12), b"again").unwrap();
    }
    table.apply_slice(&[(&key(3), b"batch", Kind::VALUE), (&key(90), b"batch", Kind::VALUE)]).unwrap();
    let mut said = BTreeSet::new();
    for at in 8..table.memory_usage() {
        for flip in [0x01, 0x80] {
            said.extend(damaged.with(at, [damaged.byte(at) ^ flip]).err().map(|broken| broken.what()));
        }
    }
    let checks = [
        "a batch's record is not inside the arena",
        "a lane block has hints of entries that it has not",
        "a lane block has more entries than room",
        "a lane block is not inside the arena",
        "a lane block's hints are for keys like one that it has not",
        "a lane block's fence hint is not its neighbour's first key's",
        "a lane block's fence is not its neighbour's first key",
        "a lane block's first key is not its first entry's",
        "a lane entry is not in the level below",
        "a lane entry's hint is not its key's",
        "a node is not inside the arena",
        "a node of the base level is not found by a search",
        "a version is not inside the arena",
        "a walk does not end",
        "the base level is not ascending",
        "the figures are not what a walk counts",
        "versions of a key are not sorted by sequence number",
    ];
    assert_eq!(said, BTreeSet::from(checks));
    assert_valid!(table);
}

/// Lengths that reach beyond the arena, by one byte or by far.
#[test]
fn lengths_are_checked() {
    let damaged = Damaged::new(1 << 10);
    let table = &damaged.table;
    table.put(b"the key", b"the value").unwrap();
    table.put(b"the key", b"another value").unwrap();
    // A node's lengths stand in the word before the key: 8 bits from the 10th, 14 from the 18th.
    let (node, version) = (damaged.find(b"the key"), damaged.find(b"another value"));
    let room = (1 << 10) - node - b"the key".len();
    let lengths = |value: usize| ((value as u32) << 18 | 7 << 10).to_ne_bytes();
    let what = |said: Result<(), Corruption>| said.err().map(|broken| broken.what());
    assert_eq!(what(damaged.with(node - 4, lengths(room))), Some("the figures are not what a walk counts"));
    assert_eq!(what(damaged.with(node - 4, lengths(room + 1))), Some("a node is not inside the arena"));
    assert_eq!(what(damaged.with(node - 4, lengths(16_000))), Some("a node is not inside the arena"));
    // A version's in the word before its value, from the 11th bit on.
    let room = (1 << 10) - version;
    let length = |value: usize| ((value as u32) << 11).to_ne_bytes();
    assert_eq!(what(damaged.with(version - 4, length(room))), Some("the figures are not what a walk counts"));
    assert_eq!(what(damaged.with(version - 4, length(room + 1))), Some("a version is not inside the arena"));
    assert_eq!(what(damaged.with(version - 4, length(1 << 20))), Some("a version is not inside the arena"));
    assert_valid!(table);
}

/// Only the lowest lane's first block begins at the head of the list. Blocks are found by their first node, which they name twice.
#[test]
fn no_other_block_begins_at_the_head() {
    let damaged = Damaged::new(1 << 14);
    for i in 0..100 {
        damaged.table.put(&key(i), b"").unwrap();
    }
    // Behind the header and thirteen hints.
    let header = if cfg!(target_pointer_width = "64") { 24 } else { 20 };
    let entry_0 = |block: usize| block + header + 13 * 4;
    let is_block = |at: &usize| {
        let (first, entry, count) = (damaged.word(at + 12), damaged.word(entry_0(*at)), damaged.word(at + 4) & 0xFF);
        first != 0 && first == entry && (0..=12).contains(&count)
    };
    let blocks: Vec<usize> = (0..damaged.table.memory_usage()).step_by(64).filter(is_block).collect();
    assert!(blocks.len() >= 5, "{blocks:?}");
    for at in blocks {
        let broken = damaged.with(entry_0(at), [0; 4]).expect_err("reported");
        assert_eq!(broken.what(), "a lane entry is not in the level below");
    }
}

/// The worst error of an estimate, and that few are counted.
fn worst_estimate<const H: usize>(density: LaneDensity, keys: usize) -> usize {
    let table = Memtable::<[u8]>::builder().lane_density(density).max_height::<H>().build();
    let mut order: Vec<usize> = (0..keys).collect();
    Rng::new(5).shuffle(&mut order);
    for &i in &order {
        assert!(table.insert(&key(i), b""));
    }
    let mut worst = 0;
    for i in (0..keys).step_by(keys / 40) {
        let below = table.approximate_count(..&key(i)[..]);
        let above = table.approximate_count(&key(i)[..]..);
        worst = worst.max(below.abs_diff(i)).max(above.abs_diff(keys - i));
        for few in 0..32.min(keys - i) {
            assert_eq!(table.approximate_count(&key(i)[..]..&key(i + few)[..]), few);
        }
    }
    worst
}

/// Estimates of every size, over lanes of both densities, and over a lane of several blocks without another above it.
#[test]
fn estimates_are_near() {
    let worst = [
        (40, worst_estimate::<12>(LaneDensity::Every, 40)),
        (700, worst_estimate::<12>(LaneDensity::Every, 700)),
        (9000, worst_estimate::<12>(LaneDensity::Every, 9000)),
        (9000, worst_estimate::<12>(LaneDensity::Sparse, 9000)),
        (100, worst_estimate::<2>(LaneDensity::Every, 100)),
    ];
    assert!(worst.iter().all(|(keys, worst)| worst * 8 <= *keys), "{worst:?}");
}
