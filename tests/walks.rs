//! Walks in both directions: what they give while the lanes change under them, and what they cost in comparisons.
#![cfg(feature = "alloc")]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]

#[macro_use]
mod common;

use common::{Rng, scaled};
use memskip::{Bytewise, Comparator, DefaultArena, EpochClock, LaneDensity, Memtable};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

/// `Never` is not among them: there every step back walks the whole list.
const DENSITIES: [LaneDensity; 2] = [LaneDensity::Every, LaneDensity::Sparse];

fn number(key: &[u8]) -> u32 {
    key.try_into().map_or(u32::MAX, u32::from_be_bytes)
}

/// Inserts numbers, most of them near to `at`, so that blocks there are split while a walk stands in them.
fn insert_around<const H: usize>(
    table: &Memtable<[u8], Bytewise, DefaultArena, EpochClock, H>,
    model: &mut BTreeSet<u32>,
    rng: &mut Rng,
    at: u32,
) {
    for _ in 0..rng.below(5) {
        let reach = [8, 300, 3000][rng.below(3)];
        let n = at.saturating_sub(reach / 2).saturating_add(rng.below(reach as usize) as u32);
        assert_eq!(table.insert(&n.to_be_bytes(), b""), model.insert(n));
    }
}

fn filled<const H: usize>(
    density: LaneDensity,
    count: usize,
    rng: &mut Rng,
) -> (Memtable<[u8], Bytewise, DefaultArena, EpochClock, H>, BTreeSet<u32>) {
    let table = Memtable::<[u8]>::builder().lane_density(density).max_height::<H>().build();
    let mut model = BTreeSet::new();
    for _ in 0..count {
        let n = rng.below(1 << 20) as u32;
        assert_eq!(table.insert(&n.to_be_bytes(), b""), model.insert(n));
    }
    (table, model)
}

/// Walks from each end while nodes come in on both sides of it: each step gives what is next at that moment.
fn steps_are_exact<const H: usize>(count: usize) {
    for (seed, density) in (1..).zip(DENSITIES) {
        let mut rng = Rng::new(seed);
        let (table, mut model) = filled::<H>(density, count, &mut rng);
        let (mut range, mut at) = (table.iter(), u32::MAX);
        while let Some(entry) = range.next_back() {
            let n = number(entry.key);
            assert_eq!(model.range(..at).next_back(), Some(&n), "height {H}, {density:?}");
            at = n;
            if rng.below(4) == 0 {
                insert_around(&table, &mut model, &mut rng, at);
            }
        }
        assert_eq!(model.range(..at).next(), None);
        let (mut range, mut at) = (table.iter(), Unbounded);
        #[expect(clippy::while_let_on_iterator, reason = "it goes on behind the loop")]
        while let Some(entry) = range.next() {
            let n = number(entry.key);
            assert_eq!(model.range((at, Unbounded)).next(), Some(&n), "height {H}, {density:?}");
            at = Excluded(n);
            if rng.below(4) == 0 {
                insert_around(&table, &mut model, &mut rng, n);
            }
        }
        assert_eq!(model.range((at, Unbounded)).next(), None);
        assert_valid!(table);
    }
}

#[test]
fn each_step_is_exact_while_blocks_split() {
    steps_are_exact::<1>(scaled(100));
    steps_are_exact::<2>(scaled(400));
    steps_are_exact::<3>(scaled(2000));
    steps_are_exact::<12>(scaled(6000));
}

/// A cursor that turns round, jumps and goes on, with inserts in between: what it remembers of one way is no harm to the other.
#[test]
fn a_cursor_may_turn_at_any_time() {
    for (seed, density) in (1..).zip(DENSITIES) {
        let mut rng = Rng::new(seed);
        let (table, mut model) = filled::<12>(density, scaled(3000), &mut rng);
        let mut cursor = table.cursor();
        for _ in 0..scaled(1500) {
            let n = rng.below(1 << 20) as u32;
            if rng.below(3) == 0 {
                let found = cursor.seek(&n.to_be_bytes());
                assert_eq!(found, model.range(n..).next().is_some());
            } else if rng.below(2) == 0 {
                let found = cursor.seek_for_prev(&n.to_be_bytes());
                assert_eq!(found, model.range(..=n).next_back().is_some());
            }
            let back = rng.below(2) == 0;
            for _ in 0..rng.below(30) {
                // Where it stands: before this one, or at the end.
                let Some(at) = cursor.entry().map(|e| number(e.key)) else { break };
                if back {
                    let expected = model.range(..at).next_back().copied();
                    assert_eq!(cursor.prev_entry().map(|e| number(e.key)), expected, "{density:?}");
                } else {
                    assert_eq!(cursor.next_entry().map(|e| number(e.key)), Some(at), "{density:?}");
                    let expected = model.range((Excluded(at), Unbounded)).next().copied();
                    assert_eq!(cursor.entry().map(|e| number(e.key)), expected, "{density:?}");
                }
                if rng.below(4) == 0 {
                    insert_around(&table, &mut model, &mut rng, at);
                }
            }
        }
    }
}

/// Beside writers a walk back gives, in order and once each, everything that was there when it began.
#[test]
fn nothing_is_skipped_or_given_twice_beside_writers() {
    for density in DENSITIES {
        let table = Arc::new(Memtable::<[u8]>::builder().lane_density(density).shards(2).build());
        let count = scaled(8000) as u32;
        for n in 0..count {
            table.insert(&(n.wrapping_mul(7919) % count * 16).to_be_bytes(), b"old");
        }
        let first: Vec<u32> = table.iter().rev().map(|e| number(e.key)).collect();
        let check = |keys: &mut dyn Iterator<Item = (u32, bool)>| {
            let (mut last, mut old) = (u32::MAX, first.iter());
            for (key, is_old) in keys {
                assert!(key < last, "{key} behind {last}");
                last = key;
                assert!(!is_old || old.next() == Some(&key), "something was skipped before {key}");
            }
            assert_eq!(old.next(), None, "the walk ended early");
        };
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|seed| {
                    let table = &table;
                    scope.spawn(move || {
                        let mut rng = Rng::new(seed);
                        for _ in 0..scaled(60_000) {
                            let n = rng.below(count as usize * 16) as u32;
                            table.insert(&n.to_be_bytes(), b"new");
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    check(&mut table.iter().rev().map(|e| (number(e.key), e.value == b"old")));
                }
            });
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let mut range = table.range_arc(..);
                    let entries = std::iter::from_fn(|| range.next_back());
                    check(&mut entries.map(|e| (number(e.key()), e.value() == b"old")));
                }
            });
            let ended: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Relaxed);
            assert!(ended.iter().all(Result::is_ok));
        });
        assert_valid!(table);
    }
}

/// `Bytewise` that counts comparisons.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Comparator<[u8]> for Counting {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.0.fetch_add(1, Relaxed);
        Bytewise.compare(a, b)
    }
    fn hint(&self, key: &[u8], skip: usize) -> usize {
        Bytewise.hint(key, skip)
    }
    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        Bytewise.wide_hint(key, skip)
    }
    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        Bytewise.common_prefix(a, b)
    }
}

/// Comparisons of a step and of a seek with ten entries, either way. A search at each block, or at each node that sparse lanes
/// lack, or a second search for the first step, is more than this.
#[test]
#[cfg_attr(not(target_pointer_width = "64"), ignore = "walks back do not go by parents there")]
fn steps_cost_no_searches() {
    for density in DENSITIES {
        let count = scaled(20_000);
        let counting = Counting::default();
        let compared = Arc::clone(&counting.0);
        let table = Memtable::<[u8]>::builder().comparator(counting).lane_density(density).build();
        let mut rng = Rng::new(5);
        let keys: Vec<_> = (0..count).map(|_| rng.bits().to_be_bytes()).collect();
        for key in &keys {
            assert!(table.insert(key, b""));
        }
        let cost = |what: &mut dyn FnMut()| {
            let before = compared.load(Relaxed);
            what();
            (compared.load(Relaxed) - before) as f64
        };
        let forward = cost(&mut || assert_eq!(table.iter().count(), count)) / count as f64;
        assert!(forward < 0.001, "{forward} comparisons a step forward, {density:?}");
        let back = cost(&mut || assert_eq!(table.iter().rev().count(), count)) / count as f64;
        assert!(back <= 0.1, "{back} comparisons a step back, {density:?}");
        let seek = cost(&mut || {
            for key in keys.iter().take(1000) {
                let mut cursor = table.cursor_at(key);
                let taken = (0..10).filter(|_| cursor.as_mut().and_then(memskip::Cursor::next_entry).is_some());
                assert!(taken.count() > 0);
            }
        });
        assert!(seek / 1000.0 <= 3.0, "{seek} comparisons for 1000 seeks, {density:?}");
        let seek = cost(&mut || {
            for key in keys.iter().take(1000) {
                let mut cursor = table.cursor();
                assert!(cursor.seek_for_prev(key));
                (0..10).for_each(|_| _ = cursor.prev_entry());
            }
        });
        assert!(seek / 1000.0 <= 5.0, "{seek} comparisons for 1000 seeks and walks back, {density:?}");
    }
}

/// Folds from either end give what steps give: with bounds and without, whole or what is left of a walk that has begun at one end
/// or at both, of keys written once, written again and deleted, and of long values. Those over versions, too.
#[test]
fn folds_are_steps() {
    let mut rng = Rng::new(8);
    for (density, count) in [(LaneDensity::Every, 6000), (LaneDensity::Sparse, 6000), (LaneDensity::Every, 40)] {
        let (table, model) = filled::<12>(density, count, &mut rng);
        let keys: Vec<[u8; 4]> = model.iter().map(|n| n.to_be_bytes()).collect();
        for key in keys.iter().step_by(7) {
            assert_eq!(table.put(key, b"again").map(|_| ()), Ok(()));
        }
        let long = vec![7; 20_000];
        for key in keys.iter().step_by(90) {
            // One behind a key that is there, in most cases a new one.
            let behind = u32::from_be_bytes(*key) + 1;
            assert_eq!(table.put(&behind.to_be_bytes(), &long).map(|_| ()), Ok(()));
        }
        for key in keys.iter().step_by(50) {
            assert!(table.delete(key));
        }
        let middle = &keys[keys.len() / 2][..];
        let bounds = [(Unbounded, Unbounded), (Excluded(middle), Unbounded), (Unbounded, Excluded(middle))];
        for (bound, steps) in bounds.into_iter().flat_map(|bound| (0..4).map(move |steps| (bound, steps))) {
            let begun = || {
                let mut range = table.range(bound);
                let from = [steps & 1, steps >> 1].map(|end| if end == 1 { 11 } else { 0 });
                assert_eq!(range.by_ref().take(from[0]).count(), from[0].min(keys.len()));
                assert!(range.by_ref().rev().take(from[1]).count() <= from[1]);
                range
            };
            let mut expected = Vec::new();
            for entry in begun() {
                expected.push((entry.key, entry.value, entry.seq));
            }
            let mut folded = Vec::new();
            begun().for_each(|entry| folded.push((entry.key, entry.value, entry.seq)));
            assert_eq!(folded, expected, "{density:?}, {count}, {bound:?}, {steps}");
            folded.clear();
            begun().rev().for_each(|entry| folded.push((entry.key, entry.value, entry.seq)));
            folded.reverse();
            assert_eq!(folded, expected, "{density:?}, {count}, {bound:?}, {steps}, from the back");
            assert_eq!(begun().count(), expected.len());
            let begun = || {
                let mut versions = table.range_versions(bound);
                let from = [steps & 1, steps >> 1].map(|end| if end == 1 { 11 } else { 0 });
                assert_eq!(versions.by_ref().take(from[0]).count(), from[0]);
                assert!(versions.by_ref().rev().take(from[1]).count() <= from[1]);
                versions
            };
            let mut expected = Vec::new();
            for entry in begun() {
                expected.push((entry.key, entry.seq));
            }
            let mut folded = Vec::new();
            begun().for_each(|entry| folded.push((entry.key, entry.seq)));
            assert_eq!(folded, expected, "{density:?}, {count}, {bound:?}, {steps}, versions");
        }
    }
}

/// What is inserted ahead of a fold while it runs, either way, it gives; also where lanes are split for that.
#[test]
fn folds_see_what_comes() {
    let mut rng = Rng::new(9);
    let (table, model) = filled::<12>(LaneDensity::Every, 3000, &mut rng);
    let (mut given, mut put) = (BTreeSet::new(), model.clone());
    table.iter().for_each(|entry| {
        let n = number(entry.key);
        assert!(given.insert(n), "{n} twice");
        if n < 1 << 20 {
            let ahead = n + 1 + rng.below(400) as u32;
            assert_eq!(table.insert(&ahead.to_be_bytes(), b""), put.insert(ahead));
        }
    });
    assert!(put.len() > 2 * model.len());
    assert_eq!(given, put);
    assert_valid!(table);

    let (table, model) = filled::<12>(LaneDensity::Every, 3000, &mut rng);
    let (mut given, mut put) = (BTreeSet::new(), model.clone());
    table.iter().rev().for_each(|entry| {
        let n = number(entry.key);
        assert!(given.insert(n), "{n} twice");
        if n > 400 {
            let ahead = n - 1 - rng.below(400) as u32;
            assert_eq!(table.insert(&ahead.to_be_bytes(), b""), put.insert(ahead));
        }
    });
    assert!(put.len() > 2 * model.len());
    assert_eq!(given, put);
    assert_valid!(table);
}
