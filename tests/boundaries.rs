//! Where ranges and cursors begin and end: probes below, on, between and above the keys, empty tables and ranges, both
//! directions, and both ends of one iterator taken in turns until they meet.
#![cfg(feature = "alloc")]

#[macro_use]
mod common;

use common::{Model, Rng, Row, reversed, row, rows, scaled};
use memskip::{Bytewise, CounterClock, DefaultArena, Entry, Memtable, SeqNo};
use std::iter::FusedIterator;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

type Table = Memtable<[u8], Bytewise, DefaultArena, CounterClock>;

/// A table of `n` keys, two bytes each, that leave room between them; some deleted, some with several versions.
/// Sorted input and shuffled input must give the same table.
fn filled(n: usize, seed: u64) -> (Table, Model) {
    let table = Memtable::<[u8]>::builder().clock(CounterClock::new()).build();
    let mut model = Model::default();
    let mut order: Vec<usize> = (0..n).collect();
    if seed > 0 {
        Rng::new(seed).shuffle(&mut order);
    }
    for &i in &order {
        let key = probe(2 * i + 1);
        let seq = table.put(&key, &key).unwrap();
        model.write(&key, seq.0, 0, &key);
        if i % 5 == 2 {
            let seq = table.put_tombstone(&key).unwrap();
            model.write(&key, seq.0, 1, b"");
        }
        if i % 3 == 1 {
            let seq = table.put(&key, b"again").unwrap();
            model.write(&key, seq.0, 0, b"again");
        }
    }
    (table, model)
}

/// Odd probes are keys; even ones lie before, between and behind them.
fn probe(i: usize) -> Vec<u8> {
    u16::try_from(i).expect("few keys").to_be_bytes().to_vec()
}

/// The bounds worth trying on `n` keys: every one for a few keys, the ends and the middle for many.
fn bounds(n: usize) -> Vec<Bound<Vec<u8>>> {
    let last = 2 * n;
    let mut probes: Vec<usize> = if n < 8 { (0..=last).collect() } else { vec![0, 1, 2, 3, n - 1, n, n + 1] };
    if n >= 8 {
        probes.extend([last - 2, last - 1, last]);
    }
    let keys = || probes.iter().map(|&i| probe(i)).chain([vec![], vec![0], vec![0xFF; 3]]);
    keys().map(Included).chain(keys().map(Excluded)).chain([Unbounded]).collect()
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// Every pair of bounds gives what the model gives, forwards and backwards; reversed and empty bounds give nothing.
#[test]
fn ranges_hold_exactly_what_lies_between() {
    for (n, seed) in [(0, 0), (1, 0), (2, 0), (5, 1), (40, 0), (40, 2), (scaled(600), 3)] {
        let (table, model) = filled(n, seed);
        let snapshot = table.snapshot();
        let (newest, all) = (model.newest(), model.all());
        let bounds = bounds(n);
        for low in bounds.iter().map(borrowed) {
            for high in bounds.iter().map(borrowed) {
                let expected = model.within(newest.clone(), low, high);
                let at = format!("{low:?} to {high:?} of {n}");
                assert_eq!(rows(table.range((low, high))), expected, "{at}");
                assert_eq!(rows(table.range((low, high)).rev()), reversed(expected.clone()), "{at}");
                assert_eq!(rows(snapshot.range((low, high))), expected, "{at}");
                assert_eq!(rows(table.range_at((low, high), SeqNo::MAX).rev()), reversed(expected), "{at}");
                let expected = model.within(all.clone(), low, high);
                assert_eq!(rows(table.range_versions((low, high))), expected, "{at}");
                assert_eq!(rows(table.range_versions((low, high)).rev()), reversed(expected), "{at}");
            }
        }
    }
}

/// The range syntax of the language works on borrowed keys.
#[test]
fn ranges_take_every_kind_of_range() {
    let table = <Memtable>::new();
    for key in [b"a", b"b", b"c", b"d"] {
        table.put(key, b"").unwrap();
    }
    assert_eq!(table.range::<std::ops::RangeFull>(..).count(), 4);
    assert_eq!(table.range(&b"b"[..]..).count(), 3);
    assert_eq!(table.range(..&b"b"[..]).count(), 1);
    assert_eq!(table.range(..=&b"b"[..]).count(), 2);
    assert_eq!(table.range(&b"b"[..]..&b"d"[..]).count(), 2);
    assert_eq!(table.range(&b"b"[..]..=&b"d"[..]).count(), 3);
    assert_eq!(table.range(&b"c"[..]..&b"c"[..]).count(), 0);
    assert_eq!(table.range(&b"d"[..]..&b"b"[..]).count(), 0);
    assert_eq!(table.iter().count(), 4);
}

/// Takes from both ends as the bits of `turns` say, until both have ended, and joins what came.
fn by_turns<'a>(mut entries: impl DoubleEndedIterator<Item = Entry<'a>>, turns: u64) -> Vec<Row> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for turn in 0.. {
        let next = if turns >> (turn % 64) & 1 == 0 { entries.next() } else { entries.next_back() };
        let Some(entry) = next else { break };
        (if turns >> (turn % 64) & 1 == 0 { &mut front } else { &mut back }).push(row(entry));
    }
    for _ in 0..3 {
        assert!(entries.next().is_none() && entries.next_back().is_none(), "an ended iterator has ended");
    }
    front.extend(reversed(back));
    front
}

/// `next` and `next_back` in any order meet in the middle: every entry once, none twice, and then nothing.
#[test]
fn both_ends_meet() {
    for n in 0..8_usize {
        let (table, model) = filled(n, 7);
        for turns in 0..1_u64 << n.min(7) {
            let turns = turns | turns << 7 | turns << 14 | turns << 21;
            assert_eq!(by_turns(table.iter(), turns), model.newest(), "{n} keys, {turns:b}");
            assert_eq!(by_turns(table.versions(), turns), model.all(), "{n} keys, {turns:b}");
        }
    }
    let (table, model) = filled(scaled(1000), 8);
    let mut rng = Rng::new(9);
    for _ in 0..20 {
        let (a, b) = (probe(rng.below(2000)), probe(rng.below(2000)));
        let (low, high) = (Included(a.min(b.clone())), Excluded(b));
        let (low, high) = (borrowed(&low), borrowed(&high));
        let turns = rng.bits();
        assert_eq!(by_turns(table.range((low, high)), turns), model.within(model.newest(), low, high));
        assert_eq!(by_turns(table.range_versions((low, high)), turns), model.within(model.all(), low, high));
    }
}

/// `seek` finds the first key at or above, `seek_for_prev` the last at or below, from wherever the cursor stands.
#[test]
fn cursors_seek_from_anywhere() {
    for (n, seed) in [(0, 0), (1, 0), (2, 0), (6, 1), (50, 2), (scaled(2000), 3)] {
        let (table, model) = filled(n, seed);
        let newest = model.newest();
        let snapshot = table.snapshot();
        let mut rng = Rng::new(4);
        for mut cursor in [table.cursor(), snapshot.cursor()] {
            for round in 0..300.min(20 * n + 20) {
                let key = match round % 8 {
                    0 => vec![],
                    1 => vec![0xFF; 3],
                    _ => probe(rng.below(2 * n + 2)),
                };
                let at = format!("{key:?} of {n}");
                if rng.below(2) == 0 {
                    let first = newest.iter().position(|row| row.key >= key);
                    assert_eq!(cursor.seek(&key), first.is_some(), "seek {at}");
                    assert_eq!(cursor.entry().map(row), first.map(|i| newest[i].clone()), "seek {at}");
                    let before = first.unwrap_or(newest.len()).checked_sub(1);
                    if rng.below(2) == 0 {
                        assert_eq!(cursor.prev_entry().map(row), before.map(|i| newest[i].clone()), "before {at}");
                    }
                } else {
                    let last = newest.iter().rposition(|row| row.key <= key);
                    assert_eq!(cursor.seek_for_prev(&key), last.is_some(), "seek_for_prev {at}");
                    assert_eq!(cursor.entry().map(row), last.map(|i| newest[i].clone()), "seek_for_prev {at}");
                    let stepped = last.unwrap_or(0);
                    assert_eq!(cursor.next_entry().map(row), newest.get(stepped).cloned(), "step over {at}");
                    let behind = last.map_or(usize::from(n > 0), |i| i + 1);
                    assert_eq!(cursor.entry().map(row), newest.get(behind).cloned(), "behind {at}");
                }
            }
        }
    }
}

/// A cursor walks to either end and back; at the end it has no entry, and one step back gives the last.
#[test]
fn cursors_walk_both_ways() {
    for (n, seed) in [(0, 0), (1, 0), (7, 1), (300, 2)] {
        let (table, model) = filled(n, seed);
        let newest = model.newest();
        let mut cursor = table.cursor();
        assert_eq!(cursor.entry().map(row), newest.first().cloned(), "a new cursor stands before the first entry");
        for expected in &newest {
            assert_eq!(cursor.entry().map(row).as_ref(), Some(expected), "peeking does not move");
            assert_eq!(cursor.next_entry().map(row).as_ref(), Some(expected));
        }
        for _ in 0..2 {
            assert!(cursor.next_entry().is_none() && cursor.entry().is_none());
        }
        for expected in newest.iter().rev() {
            assert_eq!(cursor.prev_entry().map(row).as_ref(), Some(expected));
            assert_eq!(cursor.entry().map(row).as_ref(), Some(expected), "it stands before what it returned");
        }
        for _ in 0..2 {
            assert!(cursor.prev_entry().is_none());
        }
        assert_eq!(cursor.next_entry().map(row), newest.first().cloned(), "and forwards again from there");

        cursor.seek_to_last();
        assert_eq!(cursor.entry().map(row), newest.last().cloned());
        assert_eq!(cursor.prev_entry().map(row), newest.iter().rev().nth(1).cloned());
        cursor.seek_to_first();
        assert_eq!(cursor.entry().map(row), newest.first().cloned());
        assert_eq!(rows(cursor), newest, "a cursor is an iterator over the rest");
    }
}

/// `cursor_at` stands before the first key at or above, and is `None` behind the last.
#[test]
fn cursor_at_is_a_cursor_that_sought() {
    for n in [0, 1, 2, 40] {
        let (table, model) = filled(n, 5);
        for i in 0..2 * n + 2 {
            let expected: Vec<Row> = model.newest().into_iter().filter(|row| row.key >= probe(i)).collect();
            let found = table.cursor_at(&probe(i)).map(rows).unwrap_or_default();
            assert_eq!(found, expected);
            assert_eq!(table.cursor_at(&probe(i)).is_none(), expected.is_empty());
        }
    }
}

/// A random walk of a cursor is the same walk of an index over the model's rows.
#[test]
fn cursors_wander() {
    let (table, model) = filled(60, 6);
    let newest = model.newest();
    let mut cursor = table.cursor();
    let mut at = 0;
    let mut rng = Rng::new(10);
    for _ in 0..scaled(5000) {
        match rng.below(5) {
            0 | 1 if at < newest.len() => {
                assert_eq!(cursor.next_entry().map(row), Some(newest[at].clone()));
                at += 1;
            }
            2 | 3 if at > 0 => {
                at -= 1;
                assert_eq!(cursor.prev_entry().map(row), Some(newest[at].clone()));
            }
            4 if rng.below(10) == 0 => {
                let key = probe(rng.below(130));
                at = newest.iter().position(|row| row.key >= key).unwrap_or(newest.len());
                assert_eq!(cursor.seek(&key), at < newest.len());
            }
            _ => assert_eq!(cursor.entry().map(row), newest.get(at).cloned()),
        }
    }
}

/// Keys that a snapshot does not show are stepped over in both directions, at the ends and between; what is peeked at is what the
/// next step gives; and an end that was reached stays one.
#[test]
fn cursors_and_ranges_step_over_what_is_invisible() {
    let table = <Memtable>::new();
    let mut rng = Rng::new(12);
    let seqs: Vec<u64> = (0..300).map(|_| rng.below(100) as u64).collect();
    for (i, seq) in seqs.iter().enumerate() {
        table.put_at(&probe(i), b"first", SeqNo(*seq)).unwrap();
        if i % 3 == 0 {
            table.put_at(&probe(i), b"second", SeqNo(*seq + 1)).unwrap();
        }
    }
    for at in [0, 1, 3, 10, 50, 99, 100] {
        let expected: Vec<_> = (0..300).filter(|i| seqs[*i] <= at).map(probe).collect();
        let value = |i: usize| if i % 3 == 0 && seqs[i] < at { &b"second"[..] } else { b"first" };
        let values: Vec<_> = (0..300).filter(|i| seqs[*i] <= at).map(value).collect();
        let snapshot = table.snapshot_at(SeqNo(at));

        let mut cursor = snapshot.cursor();
        for (key, value) in expected.iter().zip(&values) {
            let peeked = cursor.entry();
            assert_eq!(peeked.map(|entry| (entry.key, entry.value)), Some((&key[..], *value)), "at {at}");
            assert_eq!(cursor.next_entry(), peeked);
        }
        assert_eq!((cursor.entry(), cursor.next_entry(), cursor.entry()), (None, None, None));
        for key in expected.iter().rev() {
            assert_eq!(cursor.prev_entry().map(|entry| entry.key), Some(&key[..]), "back, at {at}");
        }
        assert_eq!(cursor.prev_entry(), None);

        let keys: Vec<_> = snapshot.iter().map(|entry| entry.key.to_vec()).collect();
        assert_eq!(keys, expected);
        assert!(snapshot.iter().rev().map(|entry| entry.value).eq(values.iter().rev().copied()));
        let (from, to) = (probe(100), probe(200));
        let within: Vec<_> = expected.iter().filter(|key| **key >= from && **key < to).map(|key| &key[..]).collect();
        assert!(snapshot.range(&from[..]..&to[..]).map(|entry| entry.key).eq(within.iter().copied()));
        assert!(snapshot.range(&from[..]..&to[..]).rev().map(|entry| entry.key).eq(within.iter().rev().copied()));
    }
    let mut cursor = table.snapshot_at(SeqNo(0)).cursor();
    while cursor.next_entry().is_some() {}
    table.put_at(&probe(301), b"", SeqNo(0)).unwrap();
    assert_eq!(cursor.next_entry(), None, "it has come to the end");
}

/// A cursor stands before what `entry` shows, whatever becomes visible before it meanwhile: a merge peeks, and then steps.
#[test]
fn what_is_peeked_at_is_what_comes() {
    let table = <Memtable>::new();
    for (i, seq) in [(0, 1), (1, 9), (2, 1), (3, 9)] {
        table.put_at(&probe(i), b"", SeqNo(seq)).unwrap();
    }
    let mut cursor = table.snapshot_at(SeqNo(5)).cursor();
    assert_eq!(cursor.next_entry().map(|entry| entry.key), Some(&probe(0)[..]));
    let peeked = cursor.entry();
    assert_eq!(peeked.map(|entry| entry.key), Some(&probe(2)[..]));
    table.put_at(&probe(1), b"", SeqNo(2)).unwrap();
    assert_eq!(cursor.next_entry(), peeked);
    assert_eq!(cursor.entry(), None);
    table.put_at(&probe(3), b"", SeqNo(2)).unwrap();
    assert_eq!(cursor.next_entry(), None, "it has come to the end");
}

/// `first_key` and `last_key` are the ends.
#[test]
fn first_and_last_key() {
    let table = <Memtable>::new();
    assert_eq!((table.first_key(), table.last_key()), (None, None));
    for (i, (first, last)) in [(5, (5, 5)), (9, (5, 9)), (1, (1, 9)), (3, (1, 9))] {
        table.put(&probe(i), b"").unwrap();
        assert_eq!((table.first_key(), table.last_key()), (Some(&probe(first)[..]), Some(&probe(last)[..])));
    }
}

/// Ranges and cursors made on a frozen table, and on one built in order or out of it, see the same.
#[test]
fn frozen_tables_have_the_same_boundaries() {
    let (table, model) = filled(50, 11);
    let frozen = table.freeze();
    for low in bounds(50).iter().map(borrowed) {
        let expected = model.within(model.newest(), low, Unbounded);
        assert_eq!(rows(frozen.range((low, Unbounded))), expected);
        assert_eq!(rows(frozen.range((low, Unbounded)).rev()), reversed(expected));
    }
    let mut cursor = frozen.cursor();
    assert!(cursor.seek_for_prev(&[0xFF; 3]));
    assert_eq!(cursor.entry().map(row), model.newest().last().cloned());
    assert_valid!(frozen);
}

/// What has ended stays so, whatever is written afterwards; a cursor of an empty table stands at its end.
#[test]
fn ended_iterators_stay_ended() {
    fn end<I: FusedIterator>(mut entries: I) -> I {
        entries.by_ref().for_each(drop);
        entries
    }
    for n in 0..4 {
        let table = std::sync::Arc::new(filled(n, 7).0);
        let (mut iter, mut versions, mut owned) = (end(table.iter()), end(table.versions()), end(table.range_arc(..)));
        let mut met = table.versions();
        while met.next().is_some() && met.next_back().is_some() {}
        let mut cursor = table.cursor();
        while cursor.next_entry().is_some() {}
        for i in 0..10 {
            table.put(&probe(i), b"later").unwrap();
            assert!(iter.next().is_none() && iter.next_back().is_none());
            assert!(versions.next().is_none() && versions.next_back().is_none());
            assert!(met.next_back().is_none() && met.next().is_none());
            assert!(owned.next().is_none() && owned.next_back().is_none());
            assert!(cursor.entry().is_none() && cursor.next_entry().is_none());
        }
        assert_eq!(cursor.prev_entry().map(|e| e.key), table.last_key());
    }
}

/// A cursor and an iterator made before later writes go on soundly: in order, and past what was there.
#[test]
fn iterators_survive_writes_beside_them() {
    let table = <Memtable>::new();
    for i in 0..50 {
        table.put(&probe(4 * i), b"old").unwrap();
    }
    let (mut forward, mut backward, mut cursor) = (table.iter(), table.iter(), table.cursor());
    let (mut seen_forward, mut seen_backward, mut seen_cursor) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..200 {
        table.put(&probe(i), b"new").unwrap();
        if i % 3 == 0 {
            seen_forward.extend(forward.next().map(|e| e.key.to_vec()));
            seen_backward.extend(backward.next_back().map(|e| e.key.to_vec()));
            seen_cursor.extend(cursor.next_entry().map(|e| e.key.to_vec()));
        }
    }
    seen_forward.extend(forward.map(|e| e.key.to_vec()));
    seen_backward.extend(backward.rev().map(|e| e.key.to_vec()));
    seen_cursor.extend(cursor.map(|e| e.key.to_vec()));
    seen_backward.reverse();
    for seen in [seen_forward, seen_backward, seen_cursor] {
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
        assert!((0..50).all(|i| seen.binary_search(&probe(4 * i)).is_ok()), "nothing that was there is missed");
    }
}
