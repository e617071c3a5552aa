//! The owning forms: snapshots, ranges and cursors over a shared table, that go where they like.
#![cfg(feature = "alloc")]

mod common;

use common::{Row, key, row, rows, scaled, value};
use memskip::{CounterClock, Kind, Memtable, OwnedCursor, OwnedEntry, OwnedRange, OwnedSnapshot, SeqNo};
use std::sync::Arc;
use std::thread;

/// A shared table of `n` keys, every third of them deleted.
fn shared(n: usize) -> Arc<Memtable> {
    let table = <Memtable>::new();
    for i in 0..n {
        table.put(&key(i), &value(i as u64)).unwrap();
        if i % 3 == 2 {
            assert!(table.delete(&key(i)));
        }
    }
    Arc::new(table)
}

/// Copies an owned entry out; what it says by itself is what its entry says.
fn owned_row(owned: &OwnedEntry<Memtable>) -> Row {
    let found = row(owned.entry());
    let said =
        Row { key: owned.key().to_vec(), seq: owned.seq().0, kind: owned.kind().0, value: owned.value().to_vec() };
    assert_eq!((&found, found.kind == Kind::TOMBSTONE.0), (&said, owned.is_tombstone()));
    said
}

/// Ranges, forwards, backwards and from both ends, are those of the table.
#[test]
fn owned_ranges_are_the_tables_ranges() {
    for n in [0, 1, 2, 100] {
        let table = shared(n);
        let expected = rows(table.iter());
        assert_eq!(table.range_arc(..).map(|e| owned_row(&e)).collect::<Vec<_>>(), expected);
        let mut backwards: Vec<Row> = table.range_arc(..).rev().map(|e| owned_row(&e)).collect();
        backwards.reverse();
        assert_eq!(backwards, expected);
        let (low, high) = (key(n / 3), key(n / 2 + 1));
        let part: Vec<Row> = table.range_arc(&low[..]..&high[..]).map(|e| owned_row(&e)).collect();
        assert_eq!(part, rows(table.range(&low[..]..&high[..])));

        let mut both = table.range_arc(..);
        let mut met = 0;
        while both.next().is_some() {
            met += 1 + usize::from(both.next_back().is_some());
        }
        assert_eq!(met, n);
        assert!(both.next().is_none() && both.next_back().is_none());
    }
}

/// Cursors stand and step as borrowed ones do, from the start on.
#[test]
fn owned_cursors_are_the_tables_cursors() {
    for n in [0, 1, 50] {
        let table = shared(n);
        let expected = rows(table.iter());
        for mut cursor in [table.cursor_arc(), table.snapshot_arc().cursor()] {
            assert_eq!(cursor.entry().map(row).as_ref(), expected.first(), "it stands before the first entry");
            for expected in &expected {
                assert_eq!(cursor.next_entry().map(row).as_ref(), Some(expected));
            }
            assert!(cursor.next_entry().is_none() && cursor.entry().is_none());
            for expected in expected.iter().rev() {
                assert_eq!(cursor.prev_entry().map(row).as_ref(), Some(expected));
            }
            assert!(cursor.prev_entry().is_none());
            cursor.seek_to_last();
            assert_eq!(cursor.entry().map(row).as_ref(), expected.last());
            cursor.seek_to_first();
            assert_eq!(cursor.entry().map(row).as_ref(), expected.first());
            assert_eq!(cursor.seek(&key(n / 2)), n > 0);
            assert_eq!(cursor.entry().map(row).as_ref(), expected.get(n / 2));
            assert_eq!(cursor.seek_for_prev(b"z"), n > 0);
            assert!(!cursor.seek(b"z") && !cursor.seek_for_prev(b""));
            assert_eq!(cursor.next_entry().map(row).as_ref(), expected.first());
        }
    }
}

/// What an owned snapshot reads is what a borrowed one of the same moment does; so of one at a given number.
#[test]
fn owned_snapshots_read_like_borrowed_ones() {
    let table = shared(60);
    let keys: Vec<Vec<u8>> = (0..70).rev().map(key).collect();
    let (now, borrowed) = (table.snapshot_arc(), table.snapshot());
    let before = table.snapshot_at_arc(now.seq());
    for i in 0..60 {
        table.put(&key(i), b"later").unwrap();
    }
    let late = table.snapshot_at_arc(SeqNo::MAX);
    assert_eq!((before.seq(), late.seq()), (now.seq(), SeqNo::MAX));
    for snapshot in [&now, &before] {
        assert_eq!(snapshot.get_many(&keys), borrowed.get_many(&keys));
        assert!(keys.iter().all(|key| snapshot.get_live(key) == borrowed.get_live(key)));
    }
    assert!((0..60).all(|i| late.get_live(&key(i)) == Some(&b"later"[..])));
    assert_eq!(table.freeze_arc().snapshot_at_arc(now.seq()).get_many(&keys), borrowed.get_many(&keys));
}

/// They are `Send + 'static`, keep the table alive, and a snapshot in another thread stands still.
#[test]
fn owned_forms_go_to_other_threads() {
    fn goes<T: Send + 'static>() {}
    goes::<OwnedSnapshot<Memtable>>();
    goes::<OwnedRange<Memtable>>();
    goes::<OwnedCursor<Memtable>>();
    goes::<OwnedEntry<Memtable>>();
    let table = shared(90);
    let snapshot = table.snapshot_arc();
    let expected = rows(table.iter());
    let reader = thread::spawn(move || {
        let walk = || snapshot.iter().map(|e| owned_row(&e)).collect::<Vec<_>>();
        let first = walk();
        for _ in 0..scaled(20) {
            assert_eq!(walk(), first);
            assert_eq!(rows(snapshot.as_snapshot().iter()), first);
        }
        assert_eq!(snapshot.get(&key(500)), None);
        first
    });
    for i in 0..scaled(1000) {
        table.put(&key(i), b"later").unwrap();
        table.delete(&key(i / 2));
    }
    drop(table);
    assert_eq!(reader.join().unwrap(), expected);
}

/// An entry that was given out is what it was, whatever is written to its key afterwards, in the same epoch too.
#[test]
fn owned_entries_do_not_change() {
    let table = Arc::new(<Memtable>::new());
    let seq = table.put(b"k", b"old").unwrap();
    let entry = table.range_arc(..).next().unwrap();
    assert_eq!(entry.value(), b"old");
    assert_eq!(table.put_tombstone(b"k"), Ok(seq), "no snapshot in between: the same epoch");
    assert_eq!((entry.value(), entry.kind(), entry.is_tombstone()), (&b"old"[..], Kind::VALUE, false));

    let table = Arc::new(Memtable::<[u8]>::builder().clock(CounterClock::new()).build());
    table.put(b"k", b"old").unwrap();
    let entry = table.range_arc(..).next().unwrap();
    table.put(b"k", b"new").unwrap();
    assert_eq!(entry.value(), b"old");
}

/// The same of a frozen table, that the writers' side has let go of.
#[test]
fn owned_forms_of_frozen_tables() {
    let table = shared(30);
    let expected = rows(table.iter());
    let frozen = table.freeze_arc();
    drop(table);
    let (snapshot, mut cursor) = (frozen.snapshot_arc(), frozen.cursor_arc());
    let range = frozen.range_arc(..);
    drop(frozen);
    assert_eq!(range.count(), 30);
    assert_eq!(snapshot.iter().count(), 30);
    for expected in expected {
        assert_eq!(cursor.next_entry().map(row), Some(expected));
    }
}
