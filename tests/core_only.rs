//! What is left of the contract without any feature, so also without `alloc`: a table over a buffer, against the model.

#[macro_use]
mod common;

use common::{Model, Rng, key, reversed, row, rows, scaled, value};
use memskip::{
    BatchError, Bytewise, CounterClock, EpochClock, FixedArena, InsertError, Kind, Memtable, SeqClock, SeqNo,
};
use std::mem::MaybeUninit;
use std::ops::Bound::{Excluded, Included};

type Table<'a, S = CounterClock> = Memtable<[u8], Bytewise, FixedArena<'a>, S>;

fn buffer(bytes: usize) -> Vec<MaybeUninit<u8>> {
    vec![MaybeUninit::uninit(); bytes]
}

fn over<S: SeqClock + Default>(buffer: &mut [MaybeUninit<u8>]) -> Table<'_, S> {
    memskip::Builder::with_arena(FixedArena::new(buffer)).clock(S::default()).build()
}

/// Every write and every read that needs no allocator, in random order.
#[test]
fn writes_and_reads_are_the_models() {
    let mut buffer = buffer(1 << 20);
    let table: Table<'_> = over(&mut buffer);
    let mut model = Model::default();
    let mut rng = Rng::new(1);
    let mut views = Vec::new();
    for n in 0..scaled(2000) as u64 {
        let (key, value) = (key(rng.below(60)), value(n));
        let (before, was_live) = (model.get(&key), model.is_live(&key));
        let newest = table.max_seq().map_or(0, |seq| seq.0);
        match rng.below(6) {
            0 => model.write(&key, table.put(&key, &value).unwrap().0, 0, &value),
            1 => model.write(&key, table.put_tombstone(&key).unwrap().0, 1, b""),
            2 => match table.try_insert(&key, &value) {
                Ok(seq) => {
                    assert!(before.is_none());
                    model.write(&key, seq.0, 0, &value);
                }
                Err(error) => assert!(before.is_some() && error == InsertError::DuplicateKey),
            },
            3 => {
                assert_eq!(table.delete(&key), was_live);
                if was_live {
                    model.write(&key, table.entry(&key).unwrap().seq.0, 1, b"");
                }
            }
            4 => {
                let (found, is_new) = table.get_or_insert(&key, &value);
                assert_eq!(is_new, !was_live);
                assert_eq!(found, before.filter(|_| was_live).map_or(value.to_vec(), |row| row.value));
                if is_new {
                    model.write(&key, table.entry(&key).unwrap().seq.0, 0, &value);
                }
            }
            _ => {
                let other = [&key[..], b"+"].concat();
                let writes = [(&key[..], &value[..], Kind(7)), (&other, b"", Kind::TOMBSTONE)];
                let seq = table.apply_slice(&writes).unwrap();
                assert!(seq.0 > newest);
                model.write(&key, seq.0, 7, &value);
                model.write(&other, seq.0, 1, b"");
            }
        }
        assert_eq!(table.entry(&key).map(row), model.get(&key));
        assert_eq!((table.len(), table.tombstones()), model.counts());
        if rng.below(100) == 0 {
            views.push((table.snapshot(), model.newest()));
        }
    }
    assert_eq!(table.version_count(), model.stored);
    assert_eq!(rows(table.iter()), model.newest());
    assert_eq!(rows(table.versions().rev()), reversed(model.all()));
    assert_eq!(rows(table.cursor()), model.newest());
    let (low, high) = (key(10), key(30));
    let (low, high) = (Excluded(&low[..]), Included(&high[..]));
    assert_eq!(rows(table.range((low, high))), model.within(model.newest(), low, high));
    for (snapshot, expected) in views {
        assert_eq!(rows(snapshot.iter()), expected);
        assert_eq!(rows(table.range_at(.., snapshot.seq()).rev()), reversed(expected));
    }
    assert_valid!(table);
}

/// Many keys at a time are many single ones.
#[test]
fn many_keys_at_a_time() {
    let mut buffer = buffer(1 << 16);
    let table: Table<'_, EpochClock> = over(&mut buffer);
    let entries: Vec<_> = (0..100).map(|i| (key(i), key(i))).collect();
    assert_eq!(table.insert_batch(&entries), Ok(100));
    let again = table.insert_batch(&[(key(7), key(0)), (key(100), key(100))]);
    assert_eq!(again, Err(BatchError::PartialFailure { succeeded: 1, failed: 1 }));
    table.put_tombstone(&key(5)).unwrap();
    let keys: Vec<_> = (0..120).rev().map(key).collect();
    for (count, room) in [(0, 5), (1, 1), (120, 120), (120, 50), (50, 120)] {
        let mut values = vec![Some(&b"untouched"[..]); room];
        table.get_many_into(&keys[..count], &mut values);
        for (i, value) in values.iter().enumerate() {
            let expected = if i < count { table.get_live(&keys[i]) } else { Some(&b"untouched"[..]) };
            assert_eq!(*value, expected);
        }
    }
    assert_eq!(table.approximate_count(&key(10)[..]..&key(20)[..]), 10);
}

/// A full buffer refuses what does not fit, and nothing else; `reset` gives all of it back.
#[test]
fn a_full_buffer_is_an_error_value() {
    let mut buffer = buffer(1 << 14);
    let mut table: Table<'_> = over(&mut buffer);
    let fill = |table: &Table<'_>| {
        let refused = (0..).map(|i| table.put(&key(i), b"value")).find_map(Result::err);
        assert_eq!(refused, Some(InsertError::OutOfMemory));
        assert!(table.iter().enumerate().all(|(i, entry)| entry.key == key(i) && entry.value == b"value"));
        assert_valid!(table);
        table.len()
    };
    let count = fill(&table);
    assert!(count > 100);
    table.reset();
    assert!(table.is_empty() && table.iter().next().is_none());
    assert_eq!(fill(&table), count);
}

/// A frozen table refuses every write and is read as before.
#[test]
fn frozen_over_a_buffer() {
    let mut buffer = buffer(1 << 12);
    let table: Table<'_> = over(&mut buffer);
    table.put(b"k", b"v").unwrap();
    let frozen = table.try_freeze().expect("nobody is writing");
    assert_eq!(table.put(b"k", b"w"), Err(InsertError::Sealed));
    assert_eq!(table.put_tombstone_at(b"k", SeqNo(1 << 40)), Err(InsertError::Sealed));
    assert_eq!(table.apply_slice(&[(b"k", b"w", Kind::VALUE)]), Err(InsertError::Sealed));
    assert!(!table.insert(b"new", b"w") && !table.delete(b"k"));
    assert_eq!((frozen.get_live(b"k"), frozen.len(), frozen.version_count()), (Some(&b"v"[..]), 1, 1));
    assert_valid!(frozen);
}
