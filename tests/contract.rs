//! Every call of the contract: making, writing, reading, life cycle. Cursor and range boundaries are in
//! `boundaries.rs`, sequence numbers in `versions.rs`, figures in `figures.rs`.
#![cfg(feature = "alloc")]

#[macro_use]
mod common;

use common::{key, light, row};
use memskip::{
    BatchError, BigEndian, Bytewise, ChunkArena, ChunkSizes, Comparator, ConcurrentSkipList, CounterClock, EpochClock,
    FixedArena, FrozenMemtable, InsertError, Key, Kind, ManualClock, Memtable, Reverse, SeqNo, SingleShard, WriteBatch,
};
use std::cmp::Ordering;
use std::mem::MaybeUninit;
use std::sync::Arc;

type Table = Memtable;

// ---- Making one ----

/// Every way of making a table gives an empty one that takes a write and is sound.
#[test]
fn every_constructor_gives_a_working_table() {
    let tables = [
        ConcurrentSkipList::new(),
        Table::default(),
        Table::with_capacity(0),
        Table::with_capacity(1),
        Table::with_capacity(1 << 20),
        Table::with_shards(1),
        Table::with_shards(7),
        Table::with_capacity_and_shards(4096, 3, 0, 0),
        Table::with_capacity_and_shards(0, 1, 1 << 20, 1000),
        Table::builder().build(),
        Table::builder().shards(2).first_chunk(1).largest_chunk(1).build(),
        Table::builder().first_chunk(1 << 16).largest_chunk(1 << 12).build(),
    ];
    for table in &tables {
        assert!(table.is_empty() && !table.is_sealed());
        assert!(table.get(b"a").is_none() && table.iter().next().is_none() && table.versions().next().is_none());
        assert!(table.cursor().entry().is_none());
        assert!(table.insert(b"a", b"1"));
        assert_eq!(table.get(b"a"), Some((&b"1"[..], false)));
        assert_valid!(table);
    }
}

/// No shards asked for is not a panic later.
#[test]
fn zero_shards_still_work() {
    for table in [Table::with_shards(0), Table::with_capacity_and_shards(0, 0, 0, 0)] {
        assert!(table.insert(b"a", b"1"));
        assert_eq!(table.get_live(b"a"), Some(&b"1"[..]));
    }
}

/// `new_in` takes an arena: a caller's buffer, or chunks.
#[test]
fn new_in_takes_an_arena() {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let table = Memtable::<[u8], Bytewise, FixedArena<'_>>::new_in(FixedArena::new(&mut buffer));
    assert!(table.insert(b"a", b"1"));
    assert_eq!(table.get_live(b"a"), Some(&b"1"[..]));

    let table = Memtable::<[u8], Bytewise, ChunkArena>::new_in(ChunkArena::new());
    assert!(table.insert(b"a", b"1"));
    assert_eq!(table.get_live(b"a"), Some(&b"1"[..]));
}

/// The builder takes every part, and a fixed buffer too.
#[test]
fn builder_takes_every_part() {
    let table = Table::builder()
        .comparator(Reverse(Bytewise))
        .clock(CounterClock::starting_at(SeqNo(10)))
        .selector(SingleShard)
        .shards(2)
        .first_chunk(256)
        .largest_chunk(1024)
        .max_memory_bytes(1 << 20)
        .max_entries(100)
        .backpressure_ratio(0.5)
        .max_height::<3>()
        .build();
    for (k, v) in [(b"a", b"1"), (b"b", b"2")] {
        table.put(k, v).unwrap();
    }
    assert_eq!(table.max_memory_bytes(), 1 << 20);
    assert_eq!(table.max_entries(), 100);
    assert!(table.iter().map(|e| e.key).eq([b"b", b"a"]), "descending");

    let mut buffer = [MaybeUninit::uninit(); 4096];
    let fixed = Table::builder().arena(FixedArena::new(&mut buffer)).clock(ManualClock::new()).build();
    fixed.put_at(b"a", b"1", SeqNo(3)).unwrap();
    assert_eq!(fixed.entry(b"a").map(row).unwrap().seq, 3);

    let sizes = ChunkSizes { first: 64, largest: 128 };
    let chunks = Table::builder().arena(ChunkArena::with_chunks(sizes, memskip::Global)).build();
    assert!(chunks.insert(b"a", &[7; 4096]), "larger than a chunk");
    assert_eq!(chunks.get_live(b"a"), Some(&[7; 4096][..]));
}

// ---- Writing ----

/// `insert`: the first value wins; a tombstone counts as a version.
#[test]
fn insert_keeps_the_first_value() {
    let table = Table::new();
    assert!(table.insert(b"k", b"first"));
    assert!(!table.insert(b"k", b"second"));
    assert_eq!(table.get_live(b"k"), Some(&b"first"[..]));
    assert!(table.delete(b"k"));
    assert!(!table.insert(b"k", b"third"), "the tombstone is a version");
    table.put_tombstone(b"only a tombstone").unwrap();
    assert!(!table.insert(b"only a tombstone", b"value"));
    assert_eq!(table.try_insert(b"k", b"fourth"), Err(InsertError::DuplicateKey));
    let seq = table.try_insert(b"other", b"value").unwrap();
    assert_eq!(table.entry(b"other").map(row).unwrap().seq, seq.0);
}

/// `put`: the newest wins, over values and over tombstones.
#[test]
fn put_overwrites() {
    let table = Table::new();
    for value in [&b"1"[..], b"", b"a longer one", b"2"] {
        let seq = table.put(b"k", value).unwrap();
        assert_eq!(table.get(b"k"), Some((value, false)));
        assert_eq!(table.entry(b"k").map(row).unwrap().seq, seq.0);
    }
    assert!(table.delete(b"k"));
    table.put(b"k", b"back").unwrap();
    assert_eq!(table.get_live(b"k"), Some(&b"back"[..]));
}

/// `delete`: true exactly if the key was live here.
#[test]
fn delete_says_whether_the_key_was_live() {
    let table = Table::new();
    assert!(!table.delete(b"k"), "absent");
    assert!(table.get(b"k").is_none(), "and nothing was written");
    table.put(b"k", b"1").unwrap();
    assert!(table.delete(b"k"));
    assert!(!table.delete(b"k"), "already deleted");
    assert!(table.get(b"k").unwrap().1);
    table.put(b"k", b"2").unwrap();
    assert!(table.delete(b"k"));
    table.put(b"k", b"3").unwrap();
    table.freeze();
    assert!(!table.delete(b"k"), "sealed");
    assert_eq!(table.get_live(b"k"), Some(&b"3"[..]));
}

/// `put_tombstone`: also for a key that is not here, and again and again.
#[test]
fn put_tombstone_is_blind() {
    let table = Table::new();
    for _ in 0..3 {
        let seq = table.put_tombstone(b"k").unwrap();
        let entry = row(table.entry(b"k").unwrap());
        assert_eq!((entry.kind, entry.seq), (Kind::TOMBSTONE.0, seq.0));
    }
    assert!(table.get(b"k").unwrap().1 && table.get_live(b"k").is_none() && !table.contains_key(b"k"));
    assert_eq!((table.len(), table.tombstones()), (0, 1));
}

/// `get_or_insert`: the value there and `false`, or the new one and `true`; a tombstone counts as absent.
#[test]
fn get_or_insert_gives_the_value_that_is_there() {
    let table = Table::new();
    assert_eq!(table.get_or_insert(b"k", b"1"), (&b"1"[..], true));
    assert_eq!(table.get_or_insert(b"k", b"2"), (&b"1"[..], false));
    assert!(table.delete(b"k"));
    assert_eq!(table.get_or_insert(b"k", b"3"), (&b"3"[..], true));
    assert_eq!(table.get_or_insert(b"k", b"4"), (&b"3"[..], false));
    table.put_tombstone(b"blind").unwrap();
    assert_eq!(table.get_or_insert(b"blind", b""), (&b""[..], true));
    assert_eq!(table.get(b"blind"), Some((&b""[..], false)));
    assert_eq!(table.try_get_or_insert(b"other", b"5"), Ok((&b"5"[..], true)));
    assert_eq!(table.try_get_or_insert(b"other", b"6"), Ok((&b"5"[..], false)));
}

/// `insert_batch`: inserts one by one, and counts what went in and what did not.
#[test]
fn insert_batch_counts() {
    let table = Table::new();
    assert_eq!(table.insert_batch::<&[u8], &[u8]>(&[]), Ok(0));
    assert_eq!(table.insert_batch(&[("b", "1"), ("a", "2"), ("c", "3")]), Ok(3));
    let failure = table.insert_batch(&[(b"a".to_vec(), vec![9]), (b"d".to_vec(), vec![4]), (b"d".to_vec(), vec![5])]);
    assert_eq!(failure, Err(BatchError::PartialFailure { succeeded: 1, failed: 2 }));
    assert_eq!(table.get_live(b"a"), Some(&b"2"[..]));
    assert_eq!(table.get_live(b"d"), Some(&[4][..]));
    assert_eq!(table.len(), 4);
    table.freeze();
    let failure = table.insert_batch(&[("e", "5"), ("f", "6")]);
    assert_eq!(failure, Err(BatchError::PartialFailure { succeeded: 0, failed: 2 }));
}

/// `apply`: puts and tombstones under one number; the last word on a key counts.
#[test]
fn apply_writes_all_under_one_number() {
    let table = Table::new();
    table.put(b"old", b"1").unwrap();
    let mut batch = <WriteBatch>::new();
    assert!(batch.is_empty());
    batch.put(b"new", b"2");
    batch.delete(b"old");
    batch.delete(b"not here");
    batch.put(b"twice", b"3");
    batch.delete(b"twice");
    batch.put(b"twice", b"4");
    batch.put_kind(b"merge", b"+1", Kind(7));
    let seq = table.apply(&batch).unwrap();
    let found: Vec<_> = table.iter().map(|e| (e.key, e.kind(), e.value)).collect();
    let expected: [(&[u8], Kind, &[u8]); 5] = [
        (b"merge", Kind(7), b"+1"),
        (b"new", Kind::VALUE, b"2"),
        (b"not here", Kind::TOMBSTONE, b""),
        (b"old", Kind::TOMBSTONE, b""),
        (b"twice", Kind::VALUE, b"4"),
    ];
    assert_eq!(found, expected);
    assert!(table.iter().all(|e| e.seq == seq));

    batch.clear();
    assert!(batch.is_empty());
    table.apply(&batch).unwrap();
    assert_eq!(table.len(), 3);
    batch.put(b"new", b"5");
    assert_eq!(batch.len(), 1);
    table.apply(&batch).unwrap();
    assert_eq!(table.get_live(b"new"), Some(&b"5"[..]));

    let seq = table.apply_slice(&[(b"new", b"6", Kind::VALUE), (b"merge", b"", Kind::TOMBSTONE)]).unwrap();
    let found = [table.entry(b"new").map(row), table.entry(b"merge").map(row)].map(Option::unwrap);
    assert_eq!(found.map(|row| (row.seq, row.kind)), [(seq.0, 0), (seq.0, 1)]);
    assert_valid!(table);
}

/// After `freeze`, every write is refused by value, and says so.
#[test]
fn sealed_tables_refuse_every_write() {
    let table = Table::new();
    table.put(b"k", b"1").unwrap();
    table.freeze();
    assert!(table.is_sealed());
    let sealed = InsertError::Sealed;
    assert!(!table.insert(b"new", b"2"));
    assert_eq!(table.try_insert(b"new", b"2"), Err(sealed));
    assert_eq!(table.put(b"k", b"2"), Err(sealed));
    assert_eq!(table.put_tombstone(b"k"), Err(sealed));
    assert_eq!(table.put_at(b"k", b"2", SeqNo(1 << 40)), Err(sealed));
    assert_eq!(table.put_tombstone_at(b"k", SeqNo(1 << 40)), Err(sealed));
    assert_eq!(table.put_kind_at(b"k", b"2", Kind(9), SeqNo(1 << 40)), Err(sealed));
    let mut batch = <WriteBatch>::new();
    batch.put(b"k", b"2");
    assert_eq!(table.apply(&batch), Err(sealed));
    assert_eq!(table.get_or_insert(b"k", b"2"), (&b"1"[..], false), "what is there can still be got");
    assert_eq!(table.get_or_insert(b"new", b"2"), (&b""[..], false));
    assert_eq!(table.try_get_or_insert(b"new", b"2"), Err(sealed));
    assert_eq!(table.apply_slice(&[(b"k", b"2", Kind::VALUE)]), Err(sealed));
    assert_eq!((table.version_count(), table.len()), (1, 1));
    assert!(!sealed.to_string().is_empty());
    let _: &dyn std::error::Error = &sealed;
}

// ---- Sizes ----

/// Keys and values of every awkward size come back whole, larger than any chunk included.
#[test]
fn keys_and_values_of_every_size() {
    let mut sizes = vec![0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 257, 4095, 4096, 4097];
    sizes.extend([65_535, 65_536, 65_537]);
    if !light() {
        sizes.extend([1 << 20, (5 << 20) + 3, 17 << 20]);
    }
    sizes.retain(|&size| size <= Table::MAX_KEY_LEN.min(Table::MAX_VALUE_LEN));
    let table = Table::builder().first_chunk(64).largest_chunk(1024).shards(1).build();
    for &size in &sizes {
        table.put(&vec![0xAB; size], b"").unwrap();
        table.put(&[&b"v"[..], &size.to_le_bytes()].concat(), &vec![0xCD; size]).unwrap();
    }
    for &size in &sizes {
        assert_eq!(table.get_live(&vec![0xAB; size]), Some(&b""[..]), "key of {size}");
        let found = table.get_live(&[&b"v"[..], &size.to_le_bytes()].concat()).unwrap();
        assert!(found.len() == size && found.iter().all(|&byte| byte == 0xCD), "value of {size}");
    }
    assert_eq!(table.len(), 2 * sizes.len());
    assert!(table.iter().zip(table.iter().skip(1)).all(|(a, b)| a.key < b.key));
    assert_valid!(table);
}

/// Keys of nothing but 0xFF or 0x00 bytes sort by length, beside the empty key.
#[test]
fn keys_of_all_ones_and_all_zeros() {
    let table = Table::new();
    let mut keys: Vec<Vec<u8>> = (0..40).flat_map(|n| [vec![0xFF; n], vec![0; n]]).collect();
    for key in &keys {
        table.put(key, key).unwrap();
    }
    keys.sort();
    keys.dedup();
    assert!(table.iter().map(|e| e.key).eq(keys.iter().map(Vec::as_slice)));
    assert!(table.iter().rev().map(|e| e.value).eq(keys.iter().rev().map(Vec::as_slice)));
    assert_eq!(table.get_live(b""), Some(&b""[..]));
    assert_eq!((table.first_key(), table.last_key()), (Some(&b""[..]), Some(&[0xFF; 39][..])));
}

/// What is too large is refused as such, at once, and costs nothing.
#[test]
#[cfg(target_pointer_width = "64")]
fn too_large_is_an_error_value() {
    // The pages of a zeroed vector this size are never touched.
    if light() || Table::MAX_KEY_LEN.max(Table::MAX_VALUE_LEN) > 1 << 33 {
        return;
    }
    let table = Table::new();
    table.put(b"k", b"1").unwrap();
    let before = (table.memory_usage(), table.version_count());
    let key = vec![0; Table::MAX_KEY_LEN + 1];
    assert_eq!(table.put(&key, b""), Err(InsertError::KeyTooLarge));
    assert_eq!(table.try_insert(&key, b""), Err(InsertError::KeyTooLarge));
    assert_eq!(table.put_tombstone(&key), Err(InsertError::KeyTooLarge));
    assert!(!table.insert(&key, b""));
    drop(key);
    let value = vec![0; Table::MAX_VALUE_LEN + 1];
    assert_eq!(table.put(b"new", &value), Err(InsertError::ValueTooLarge));
    assert_eq!(table.put(b"k", &value), Err(InsertError::ValueTooLarge));
    assert_eq!((table.memory_usage(), table.version_count()), before);
    assert!(table.get(b"new").is_none());
}

// ---- Reading ----

/// The point reads agree with one another on what is absent, live and deleted.
#[test]
fn point_reads_agree() {
    let table = Table::new();
    table.put(b"live", b"1").unwrap();
    table.put_tombstone(b"dead").unwrap();
    assert_eq!(table.get(b"live"), Some((&b"1"[..], false)));
    assert_eq!(table.get(b"dead").map(|(_, dead)| dead), Some(true));
    assert_eq!(table.get(b"absent"), None);
    assert_eq!(table.get_live(b"live"), Some(&b"1"[..]));
    assert_eq!(table.get_live(b"dead").or(table.get_live(b"absent")), None);
    assert!(table.contains_key(b"live") && !table.contains_key(b"dead") && !table.contains_key(b"absent"));
    let entry = table.entry(b"live").unwrap();
    assert_eq!(
        (entry.key, entry.value, entry.is_tombstone, entry.kind()),
        (&b"live"[..], &b"1"[..], false, Kind::VALUE)
    );
    assert!(table.entry(b"dead").unwrap().is_tombstone);
    assert!(table.entry(b"absent").is_none());
}

/// `get_many` gives what as many `get_live` give, in the order asked, for any number of keys, repeated ones too.
#[test]
fn get_many_is_many_gets() {
    let table = Table::new();
    for i in 0..200 {
        table.put(&key(2 * i), &key(i)).unwrap();
    }
    table.delete(&key(8));
    for count in [0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 250] {
        let keys: Vec<Vec<u8>> = (0..count).map(|i| key(i * 37 % 410)).chain([key(8), key(8)]).collect();
        let expected: Vec<Option<&[u8]>> = keys.iter().map(|key| table.get_live(key)).collect();
        assert_eq!(table.get_many(&keys), expected);
        let mut found = vec![None; keys.len()];
        table.get_many_into(&keys, &mut found);
        assert_eq!(found, expected);
        assert_eq!(table.snapshot().get_many(&keys), expected);
    }
}

/// `for` takes a table by reference, frozen or not, as it takes a collection.
#[test]
fn tables_are_iterated_by_for() {
    fn keys<'a>(entries: impl IntoIterator<Item = memskip::Entry<'a>>) -> Vec<&'a [u8]> {
        entries.into_iter().map(|entry| entry.key).collect()
    }
    let table = Table::new();
    for k in [b"b", b"a"] {
        table.put(k, b"").unwrap();
    }
    let mut count = 0;
    for entry in &table {
        count += entry.key.len();
    }
    for entry in table.freeze() {
        count += entry.key.len();
    }
    assert_eq!(count, 4);
    assert_eq!(keys(&table), [b"a", b"b"]);
    assert_eq!(keys(table.freeze()), [b"a", b"b"]);
}

// ---- Life cycle ----

/// `freeze` and `try_freeze` are idempotent, and the frozen table has the whole reading side.
#[test]
fn frozen_tables_read_like_others() {
    let table = Table::new();
    for i in 0..100 {
        table.put(&key(i), &key(i)).unwrap();
    }
    let first: *const FrozenMemtable = table.freeze();
    assert!(std::ptr::eq(first, table.freeze()));
    let frozen = table.try_freeze().expect("nobody is writing");
    assert_eq!(frozen.get(&key(5)), Some((&key(5)[..], false)));
    assert_eq!(frozen.iter().count(), 100);
    assert_eq!(frozen.range(&key(10)[..]..&key(20)[..]).rev().count(), 10);
    assert_eq!(frozen.versions().count(), 100);
    assert_eq!(frozen.snapshot().iter().count(), 100);
    assert_eq!(frozen.get_many(&[key(1), key(100)]), [Some(&key(1)[..]), None]);
    assert_eq!((frozen.len(), frozen.stats().live_keys), (100, 100));
    assert!(frozen.cursor_at(&key(99)).is_some() && frozen.cursor_at(b"z").is_none());
    assert_valid!(frozen);
}

/// `freeze_arc` gives a frozen table that lives on its own.
#[test]
fn freeze_arc_outlives_the_table() {
    let table = Arc::new(Table::new());
    table.put(b"k", b"1").unwrap();
    let frozen: Arc<FrozenMemtable> = table.freeze_arc();
    assert!(table.is_sealed());
    drop(table);
    let reader = std::thread::spawn(move || frozen.get_live(b"k").map(<[u8]>::to_vec));
    assert_eq!(reader.join().unwrap(), Some(b"1".to_vec()));
}

/// `seal` gives the frozen table and a fresh one of the same configuration.
#[test]
fn seal_gives_a_fresh_table_alike() {
    let table = Table::with_capacity_and_shards(1024, 2, 1 << 20, 3);
    for k in [b"a", b"b", b"c"] {
        table.put(k, b"").unwrap();
    }
    let (frozen, fresh) = table.seal().unwrap();
    assert_eq!((frozen.len(), fresh.len()), (3, 0));
    assert_eq!((fresh.max_entries(), fresh.max_memory_bytes(), fresh.is_sealed()), (3, 1 << 20, false));
    for k in [b"a", b"b", b"c"] {
        fresh.put(k, b"new").unwrap();
    }
    assert_eq!(fresh.put(b"d", b""), Err(InsertError::ThresholdReached));
    drop(fresh);
    assert_eq!(frozen.get_live(b"a"), Some(&b""[..]));
}

/// `partitions(n)` gives split keys, ascending, that cut the table into parts; never more than asked for.
#[test]
fn partitions_cut_a_frozen_table() {
    for count in [0, 1, 2, 10, 1000] {
        let table = Table::new();
        for i in 0..count {
            table.put(&key(i), b"").unwrap();
        }
        let frozen = table.freeze();
        for n in [0, 1, 2, 4, 16, 5000] {
            let splits: Vec<&[u8]> = frozen.partitions(n).into_iter().collect();
            assert!(splits.len() < n.max(1) && splits.is_sorted(), "{} splits for {n} of {count}", splits.len());
            assert!(splits.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }
}

// ---- Keys, and what may cross threads ----

/// Keys of other types: text, and arrays as big-endian integers or bytes.
#[test]
fn typed_keys() {
    let text = Memtable::<str>::builder().build();
    text.put("straße", b"1").unwrap();
    text.put("", b"2").unwrap();
    assert_eq!(text.get_live("straße"), Some(&b"1"[..]));
    assert!(text.iter().map(|e| e.key).eq(["", "straße"]));
    assert_eq!(text.range("a"..).count(), 1);

    let numbers = Memtable::<[u8; 8]>::builder().comparator(BigEndian).build();
    for n in [300_u64, 2, 1 << 40, 0] {
        numbers.put(&n.to_be_bytes(), &n.to_le_bytes()).unwrap();
    }
    assert!(numbers.iter().map(|e| u64::from_be_bytes(*e.key)).eq([0, 2, 300, 1 << 40]));
    assert_eq!(numbers.get_live(&300_u64.to_be_bytes()), Some(&300_u64.to_le_bytes()[..]));
    assert_eq!(<str as Key>::as_bytes("ab"), b"ab");
}

/// A comparator behind a pointer, known by type or not, is asked for everything, not for the order alone.
#[test]
fn comparators_behind_pointers() {
    /// Gives something that no default gives.
    struct Telling;
    impl Comparator<[u8]> for Telling {
        fn compare(&self, _: &[u8], _: &[u8]) -> Ordering {
            Ordering::Greater
        }
        fn hint(&self, _: &[u8], skip: usize) -> usize {
            skip + 1
        }
        fn assumed_prefix(&self) -> usize {
            2
        }
        fn wide_hint(&self, _: &[u8], skip: usize) -> [usize; 2] {
            [skip + 3, skip + 4]
        }
        fn common_prefix(&self, _: &[u8], _: &[u8]) -> usize {
            5
        }
        fn shares_prefix(&self, _: &[u8], _: &[u8], units: usize) -> bool {
            units == 7
        }
    }
    fn tells<C: Comparator<[u8]>>(order: C) {
        assert_eq!((order.compare(b"", b""), order.hint(b"", 10)), (Ordering::Greater, 11));
        assert_eq!((order.assumed_prefix(), order.wide_hint(b"", 10)), (2, [13, 14]));
        assert_eq!(order.common_prefix(b"", b""), 5);
        assert_eq!([5, 6, 7].map(|units| order.shares_prefix(b"", b"", units)), [false, false, true]);
    }
    tells(&Telling);
    tells(Box::new(Telling));
    tells(Arc::new(Telling));
    tells::<&dyn Comparator<[u8]>>(&Telling);
    tells::<Box<dyn Comparator<[u8]>>>(Box::new(Telling));
    tells::<Arc<dyn Comparator<[u8]>>>(Arc::new(Telling));

    let order: Arc<dyn Comparator<[u8]> + Send + Sync> = Arc::new(Reverse(Bytewise));
    let table = Arc::new(Memtable::<[u8]>::builder().comparator(order).build());
    for i in 0..500 {
        table.put(&key(i), &key(i)).unwrap();
    }
    assert!(table.iter().rev().map(|e| e.key.to_vec()).eq((0..500).map(key)));
    assert!((0..500).all(|i| table.get_live(&key(i)) == Some(&key(i)[..])));
    let reader = std::thread::spawn({
        let table = Arc::clone(&table);
        move || table.first_key().map(<[u8]>::to_vec)
    });
    assert_eq!(reader.join().unwrap(), Some(key(499)));
    assert_valid!(table);
}

/// Tables, and what borrows from them, cross threads as far as they can.
#[test]
fn send_and_sync() {
    fn both<T: Send + Sync>(_: &T) {}
    fn send<T: Send>(_: &T) {}
    fn clocks<T: Clone + Default>() {}
    let table = Table::new();
    both(&table);
    both(&table.snapshot());
    both(table.freeze());
    send(&table.iter());
    send(&table.versions());
    send(&table.cursor());
    both(&InsertError::Sealed);
    clocks::<EpochClock>();
    clocks::<CounterClock>();
    clocks::<ManualClock>();
}

/// `Debug` shows something and ends, on a table of any size.
#[test]
fn debug_is_not_empty() {
    let table = Table::new();
    assert!(!format!("{table:?}").is_empty());
    for i in 0..100 {
        table.put(&key(i), b"").unwrap();
    }
    assert!(!format!("{table:?} {:?} {:?}", table.snapshot(), table.cursor()).is_empty());
}
