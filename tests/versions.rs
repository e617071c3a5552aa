//! Versions and their numbers: the engine's own in any order, reads as of a number, what a number used twice means,
//! kinds, flush order, and snapshots.
#![cfg(feature = "alloc")]

#[macro_use]
mod common;

use common::{Model, Rng, Row, counter, key, reversed, row, rows, scaled, value};
use memskip::{
    CounterClock, EpochClock, InsertError, Kind, ManualClock, Memtable, OnDuplicateSeqNo, SeqClock, SeqNo, WriteBatch,
};
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

/// Compares every read at every number from 0 past the largest with the model.
macro_rules! assert_same_at_every_seq {
    ($table:expr, $model:expr, $keys:expr, $seqs:expr) => {{
        let (table, model) = (&$table, &$model);
        for seq in $seqs {
            for key in $keys {
                assert_eq!(table.get_at(&key, SeqNo(seq)).map(row), model.get_at(&key, seq), "{key:?} at {seq}");
            }
            let expected = model.at(seq);
            assert_eq!(rows(table.range_at(.., SeqNo(seq))), expected, "at {seq}");
            assert_eq!(rows(table.range_at(.., SeqNo(seq)).rev()), reversed(expected.clone()), "at {seq}");
            let snapshot = table.snapshot_at(SeqNo(seq));
            assert_eq!(snapshot.seq(), SeqNo(seq));
            assert_eq!(rows(snapshot.iter()), expected, "at {seq}");
            assert_eq!(rows(snapshot.cursor()), expected, "at {seq}");
        }
        assert_eq!(rows(table.versions()), model.all());
        assert_eq!(rows(table.versions().rev()), reversed(model.all()));
        assert_eq!(rows(table.iter()), model.newest());
        assert_valid!(table);
    }};
}

/// Numbers in any order, on few keys: every version is found at its number, and all come out in flush order.
#[test]
fn put_at_takes_numbers_in_any_order() {
    for seed in 0..6 {
        let table = Memtable::<[u8]>::builder().clock(ManualClock::new()).build();
        let mut model = Model::default();
        let mut rng = Rng::new(seed);
        let mut seqs: Vec<u64> = (0..scaled(200) as u64).collect();
        match seed {
            0 => {}
            1 => seqs.reverse(),
            _ => rng.shuffle(&mut seqs),
        }
        for seq in seqs {
            let key = key(rng.below(7));
            let (kind, payload): (u8, &[u8]) = match rng.below(4) {
                0 => (1, b""),
                1 => (200, b"merge"),
                _ => (0, b"value"),
            };
            match kind {
                0 => table.put_at(&key, payload, SeqNo(seq)).unwrap(),
                1 => table.put_tombstone_at(&key, SeqNo(seq)).unwrap(),
                _ => table.put_kind_at(&key, payload, Kind(kind), SeqNo(seq)).unwrap(),
            }
            model.write(&key, seq, kind, payload);
        }
        assert_same_at_every_seq!(table, model, (0..8).map(key), (0..scaled(200) as u64 + 2).chain([u64::MAX]));
        let (low, high) = (key(2), key(5));
        let (low, high) = (Excluded(&low[..]), Included(&high[..]));
        let expected = model.within(model.all(), low, high);
        assert_eq!(rows(table.range_versions((low, high))), expected);
        assert_eq!(rows(table.range_versions((low, high)).rev()), reversed(expected));
    }
}

/// 0 is an ordinary number, and so are those up to 2^62.
#[test]
fn the_whole_range_of_numbers_is_usable() {
    let table = Memtable::<[u8]>::builder().clock(ManualClock::new()).build();
    let mut model = Model::default();
    let seqs = [1 << 61, 0, (1 << 62) - 1, 1, 1 << 32, u64::from(u32::MAX)];
    for seq in seqs {
        table.put_at(b"k", &value(seq), SeqNo(seq)).unwrap();
        model.write(b"k", seq, 0, &value(seq));
    }
    let around = seqs.iter().flat_map(|&seq| [seq.saturating_sub(1), seq, seq + 1]).chain([u64::MAX]);
    assert_same_at_every_seq!(table, model, [b"k".to_vec(), b"a".to_vec()], around);
    assert_eq!((table.min_seq(), table.max_seq()), (Some(SeqNo(0)), Some(SeqNo((1 << 62) - 1))));
    assert!(SeqNo::LIMIT >= SeqNo((1 << 62) - 1));
    table.put_at(b"limit", b"", SeqNo::LIMIT).unwrap();
    assert_eq!(table.put_at(b"k", b"", SeqNo::MAX), Err(InsertError::SeqNoTooLarge));
    assert_eq!(table.put_tombstone_at(b"new", SeqNo(SeqNo::LIMIT.0 + 1)), Err(InsertError::SeqNoTooLarge));
    assert!(table.get(b"new").is_none());
}

/// The same key and number twice is an error by default, whatever the kinds, and changes nothing.
#[test]
fn a_number_used_twice_is_rejected() {
    let table = Memtable::<[u8]>::builder().clock(ManualClock::new()).build();
    for seq in [5, 1, 9] {
        table.put_at(b"k", b"first", SeqNo(seq)).unwrap();
    }
    let twice = Err(InsertError::DuplicateSeqNo);
    let before = (table.version_count(), table.memory_usage());
    for seq in [1, 5, 9] {
        assert_eq!(table.put_at(b"k", b"second", SeqNo(seq)), twice);
        assert_eq!(table.put_tombstone_at(b"k", SeqNo(seq)), twice);
        assert_eq!(table.put_kind_at(b"k", b"third", Kind(3), SeqNo(seq)), twice);
    }
    assert_eq!((table.version_count(), table.len()), (before.0, 1));
    assert!(table.versions().all(|e| e.value == b"first"));
    table.put_at(b"other", b"", SeqNo(5)).expect("another key may use it");
    assert_valid!(table);
}

/// With `Replace`, the last of them is the one that is seen, once, wherever it lies in the chain.
#[test]
fn a_number_used_twice_replaces_if_asked() {
    let table =
        Memtable::<[u8]>::builder().clock(ManualClock::new()).on_duplicate_seqno(OnDuplicateSeqNo::Replace).build();
    let mut model = Model::default();
    let mut rng = Rng::new(3);
    for n in 0..scaled(500) as u64 {
        let (key, seq) = (key(rng.below(4)), rng.below(12) as u64);
        if rng.below(4) == 0 {
            table.put_tombstone_at(&key, SeqNo(seq)).unwrap();
            model.write(&key, seq, 1, b"");
        } else {
            table.put_at(&key, &value(n), SeqNo(seq)).unwrap();
            model.write(&key, seq, 0, &value(n));
        }
        assert_eq!(table.get_at(&key, SeqNo(seq)).map(row), model.get_at(&key, seq));
        let (live, dead) = model.counts();
        assert_eq!((table.len(), table.tombstones()), (live, dead));
    }
    assert_same_at_every_seq!(table, model, (0..4).map(key), 0..14);
}

/// Kinds of the engine's own come back untouched, and are live like values.
#[test]
fn kinds_are_carried() {
    let table = Memtable::<[u8]>::builder().clock(ManualClock::new()).build();
    for kind in 0..=255_u8 {
        let value = if kind == Kind::TOMBSTONE.0 { vec![] } else { vec![kind; 3] };
        table.put_kind_at(&[kind], &value, Kind(kind), SeqNo(u64::from(kind))).unwrap();
    }
    for kind in 0..=255_u8 {
        let entry = table.entry(&[kind]).unwrap();
        assert_eq!((entry.kind(), entry.seq), (Kind(kind), SeqNo(u64::from(kind))));
        assert_eq!(entry.is_tombstone, kind == 1);
        assert_eq!(table.get_live(&[kind]).is_some(), kind != 1);
    }
    assert_eq!((table.len(), table.tombstones()), (255, 1));
    assert_eq!((Kind::VALUE, Kind::TOMBSTONE), (Kind(0), Kind(1)));
}

/// Under the epoch clock, puts on one key between two snapshots may share a number: the newest of them is shown.
#[test]
fn epochs_show_the_newest_of_equal_numbers() {
    let table = Memtable::<[u8]>::builder().clock(EpochClock::new()).build();
    let mut model = Model::default();
    let mut rng = Rng::new(2);
    let mut views: Vec<(SeqNo, Vec<Row>)> = Vec::new();
    for n in 0..scaled(400) as u64 {
        let key = key(rng.below(5));
        if rng.below(4) == 0 {
            model.write(&key, table.put_tombstone(&key).unwrap().0, 1, b"");
        } else {
            model.write(&key, table.put(&key, &value(n)).unwrap().0, 0, &value(n));
        }
        if rng.below(9) == 0 {
            let snapshot = table.snapshot();
            assert_eq!(rows(snapshot.iter()), model.newest(), "all that is complete is in it");
            views.push((snapshot.seq(), model.newest()));
        }
        assert_eq!(table.entry(&key).map(row), model.get(&key));
    }
    for (seq, expected) in views {
        assert_eq!(rows(table.snapshot_at(seq).iter()), expected, "and nothing later ever is");
    }
    assert_eq!(table.version_count(), model.stored);
    assert_same_at_every_seq!(table, model, (0..6).map(key), 0..table.max_seq().unwrap().0 + 2);
}

/// Every clock: a snapshot is before every write that starts after it, and behind every one that ended before it.
#[test]
fn snapshots_stand_still() {
    fn check<S: SeqClock>(clock: S) {
        let table = Memtable::<[u8]>::builder().clock(clock).build();
        let empty = table.snapshot();
        for i in 0..20 {
            table.put(&key(i), &value(0)).unwrap();
        }
        let full = table.snapshot();
        for i in 0..20 {
            match i % 4 {
                0 => assert!(table.put(&key(i), &value(1)).is_ok()),
                1 => assert!(table.delete(&key(i))),
                2 => assert!(table.put_tombstone(&key(i)).is_ok()),
                _ => assert!(!table.insert(&key(i), &value(1))),
            }
            table.put(&key(i + 100), b"").unwrap();
        }
        let mut batch = <WriteBatch>::new();
        batch.put(&key(3), b"batch");
        table.apply(&batch).unwrap();
        for _ in 0..2 {
            assert_eq!(empty.iter().count(), 0);
            assert!(empty.get(&key(1)).is_none() && empty.cursor().entry().is_none());
            assert!(full.iter().map(|e| (e.key.to_vec(), counter(e.value))).eq((0..20).map(|i| (key(i), 0))));
            assert!(full.iter().rev().map(|e| e.key.to_vec()).eq((0..20).rev().map(key)));
            assert_eq!(full.get(&key(1)), Some((&value(0)[..], false)));
            assert_eq!(full.get_many(&[key(2), key(102)]), [Some(&value(0)[..]), None]);
            assert_eq!(full.range(&key(5)[..]..).count(), 15);
        }
        let mut cursor = full.cursor();
        assert!(cursor.seek(&key(19)) && !cursor.seek(&key(100)));
        assert!(cursor.seek_for_prev(&key(500)));
        assert_eq!(cursor.entry().map(|e| e.key.to_vec()), Some(key(19)));
        let now = table.snapshot();
        assert_eq!(rows(now.iter()), rows(table.iter()));
        assert!(empty.seq() <= full.seq() && full.seq() < now.seq());
    }
    check(EpochClock::new());
    check(EpochClock::starting_at(SeqNo(1 << 40)));
    check(CounterClock::new());
    check(CounterClock::starting_at(SeqNo(7)));
    check(Arc::new(CounterClock::new()));
}

/// A snapshot of the engine's own numbers: what it has reached with `advance_to`, and no more.
#[test]
fn manual_snapshots_are_where_the_clock_is() {
    let clock = Arc::new(ManualClock::new());
    let table = Memtable::<[u8]>::builder().clock(Arc::clone(&clock)).build();
    for seq in 1..=10 {
        table.put_at(b"k", &value(seq), SeqNo(seq)).unwrap();
    }
    clock.advance_to(SeqNo(10));
    let snapshot = table.snapshot();
    assert_eq!(snapshot.get(b"k").map(|(v, _)| counter(v)), Some(10));
    let seen = snapshot.seq().0;
    assert!(seen >= 10);
    table.put_at(b"k", &value(99), SeqNo(seen + 1)).unwrap();
    assert_eq!(snapshot.get(b"k").map(|(v, _)| counter(v)), Some(10));
    assert_eq!(table.get_live(b"k").map(counter), Some(99));
}

/// Writes that draw their own numbers never get one at or below a snapshot's, or below an earlier write's.
#[test]
fn numbers_only_grow() {
    fn check<S: SeqClock>(clock: S) {
        let table = Memtable::<[u8]>::builder().clock(clock).build();
        let (mut last, mut floor) = (SeqNo(0), None);
        for i in 0..100 {
            let seq = match i % 4 {
                0 => table.put(&key(i % 9), b"").unwrap(),
                1 => table.put_tombstone(&key(i % 9)).unwrap(),
                2 => table.try_insert(&key(1000 + i), b"").unwrap(),
                _ => {
                    let mut batch = <WriteBatch>::new();
                    batch.put(&key(i % 9), b"");
                    batch.delete(&key(i % 5));
                    table.apply(&batch).unwrap()
                }
            };
            assert!(seq >= last && Some(seq) > floor);
            last = seq;
            if i % 7 == 0 {
                floor = Some(table.snapshot().seq());
                assert!(floor >= Some(last), "what is complete is in it");
            }
        }
    }
    check(EpochClock::new());
    check(CounterClock::new());
}

/// `get_at` and `entry` on a key deep down a long chain, found by number from both ends of it.
#[test]
fn long_chains_are_read_at_any_depth() {
    let table = Memtable::<[u8]>::builder().clock(CounterClock::new()).build();
    let seqs: Vec<SeqNo> = (0..scaled(2000) as u64).map(|n| table.put(b"k", &value(n)).unwrap()).collect();
    for (n, &seq) in seqs.iter().enumerate().step_by(7) {
        assert_eq!(table.get_at(b"k", seq).map(|e| counter(e.value)), Some(n as u64));
    }
    assert!(table.versions().map(|e| counter(e.value)).eq((0..seqs.len() as u64).rev()));
    assert!(table.versions().rev().map(|e| counter(e.value)).eq(0..seqs.len() as u64));
    assert_eq!((table.len(), table.version_count()), (1, seqs.len()));
}
