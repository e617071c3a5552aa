//! What only a frozen table has: partitions, bounds, the hash index.

#![cfg(feature = "alloc")]
#![allow(missing_docs)]

use memskip::{FrozenMemtable, Memtable};

fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

/// Keys of some 20 bytes, values of 0 to 999, some keys with many versions, some deleted.
fn uneven() -> Memtable {
    let table = Memtable::new();
    let mut state = 88_172_645_463_325_252;
    for number in 0..2500u64 {
        let mut key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
        key.resize(8 + random(&mut state) % 24, b'x');
        // The first half of the keys is far heavier than the second.
        let len = if key[0] < 0x80 { random(&mut state) % 1000 } else { random(&mut state) % 10 };
        for version in 0..=random(&mut state) % 3 {
            table.put(&key, &vec![version as u8; len]).unwrap();
        }
        if random(&mut state) % 10 == 0 {
            table.put_tombstone(&key).unwrap();
        }
    }
    table
}

/// Bytes of keys and values in each part; as a flush writes them.
fn parts(table: &FrozenMemtable, splits: &[&[u8]]) -> Vec<usize> {
    let mut parts = vec![0; splits.len() + 1];
    for entry in table.versions() {
        let part = splits.partition_point(|split| *split <= entry.key);
        parts[part] += entry.key.len() + entry.value.len();
    }
    parts
}

#[test]
fn partitions_are_balanced_by_bytes_within_a_fifth() {
    let table = uneven();
    let table = table.freeze();
    for count in [1, 2, 3, 4, 7, 8, 16] {
        let splits = table.partitions(count);
        assert_eq!(splits.len() + 1, count);
        assert!(splits.is_sorted_by(|a, b| a < b));
        let parts = parts(table, &splits);
        let mean = parts.iter().sum::<usize>() / count;
        assert!(parts.iter().all(|part| part * 10 >= mean * 8 && part * 10 <= mean * 12), "{mean}: {parts:?}");
    }
}

#[test]
fn there_are_no_more_partitions_than_keys() {
    let table = Memtable::new();
    assert!(table.freeze().partitions(4).is_empty());
    let table = Memtable::new();
    table.put(b"a", &[0; 1000]).unwrap();
    table.put(b"b", b"").unwrap();
    let table = table.freeze();
    assert!(table.partitions(0).is_empty() && table.partitions(1).is_empty());
    assert_eq!(table.partitions(2), [b"b"]);
    assert_eq!(table.partitions(1000), [b"b"]);
}

#[test]
fn bounds_are_the_least_and_the_greatest_key() {
    let table = Memtable::new();
    assert_eq!(table.freeze().range_bounds(), None);
    let table = Memtable::new();
    table.put(b"m", b"").unwrap();
    assert_eq!(table.range(..).count(), 1);
    table.put_tombstone(b"z").unwrap();
    table.put(b"", b"").unwrap();
    assert_eq!(table.freeze().range_bounds(), Some((&b""[..], &b"z"[..])));
}

#[cfg(feature = "hash-index")]
mod hash_index {
    use super::uneven;
    use memskip::{BigEndian, Memtable, Reverse};
    use std::sync::Arc;

    #[test]
    fn it_answers_as_the_table_does() {
        let table = Arc::new(uneven());
        let frozen = table.freeze_arc();
        let (borrowed, owned) = (frozen.build_hash_index(), frozen.build_hash_index_arc());
        assert_eq!(borrowed.len(), frozen.iter().count());
        assert!(!borrowed.is_empty() && borrowed.memory_usage() < 16 * borrowed.len());
        for entry in frozen.iter() {
            assert_eq!(borrowed.entry(entry.key), Some(entry));
            assert_eq!(owned.entry(entry.key), Some(entry));
            assert_eq!(borrowed.get(entry.key), frozen.get(entry.key));
            assert_eq!(borrowed.get_live(entry.key), frozen.get_live(entry.key));
            assert_eq!(borrowed.contains_key(entry.key), !entry.is_tombstone);
            // Not there, though they begin alike.
            let mut other = entry.key.to_vec();
            other.push(0);
            assert_eq!(borrowed.get(&other), None);
            assert_eq!(borrowed.get(&other[..entry.key.len() - 1]), frozen.get(&other[..entry.key.len() - 1]));
        }
        assert_eq!(owned.table().len(), frozen.len());
    }

    #[test]
    fn of_an_empty_table_and_of_other_orders() {
        let table = Memtable::new();
        assert_eq!(table.freeze().build_hash_index().get(b"k"), None);
        let table = Memtable::<[u8; 4]>::builder().comparator(Reverse(BigEndian)).build();
        for i in 0..1000u32 {
            table.put(&i.to_be_bytes(), &i.to_le_bytes()).unwrap();
        }
        let index = table.freeze().build_hash_index();
        assert!((0..1000u32).all(|i| index.get_live(&i.to_be_bytes()) == Some(&i.to_le_bytes()[..])));
        assert_eq!(index.get_live(&1000u32.to_be_bytes()), None);
    }

    /// Equality of bytes is that of the order behind a pointer.
    #[test]
    fn of_orders_behind_pointers() {
        fn finds<C: memskip::Comparator<[u8]> + memskip::ByteEquality>(order: C) {
            let table = Memtable::<[u8]>::builder().comparator(order).build();
            table.put(b"k", b"v").unwrap();
            let index = table.freeze().build_hash_index();
            assert_eq!((index.get_live(b"k"), index.get_live(b"l")), (Some(&b"v"[..]), None));
        }
        finds::<&Reverse<_>>(&Reverse(memskip::Bytewise));
        finds(Box::new(Reverse(memskip::Bytewise)));
        finds(Arc::new(Reverse(memskip::Bytewise)));
    }
}
