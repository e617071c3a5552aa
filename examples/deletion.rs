//! Deletes: in a memtable a delete is a version like any other, because the key may live on in an older table.
//!
//! ```text
//! cargo run --example deletion
//! ```

use std::error::Error;

use memskip::{Memtable, Table};

fn main() -> Result<(), Box<dyn Error>> {
    in_one_table()?;
    across_tables()
}

fn in_one_table() -> Result<(), Box<dyn Error>> {
    let table = Memtable::new();
    table.put(b"key", b"first")?;

    // `delete` is for keys that are live here; it says whether there was something to delete.
    let before = table.snapshot();
    assert!(table.delete(b"key"));
    assert!(!table.delete(b"key"), "already deleted");
    assert!(!table.delete(b"no such key"));

    // `get` tells "deleted" from "never heard of it": for the first an engine must not look any further.
    assert_eq!(table.get(b"key"), Some((&b""[..], true)));
    assert_eq!(table.get(b"no such key"), None);
    // `get_live` and `contains_key` do not tell.
    assert_eq!(table.get_live(b"key"), None);
    assert!(!table.contains_key(b"key"));
    assert_eq!((table.len(), table.tombstones()), (0, 1));

    // A tombstone counts as a version for `insert`, which keeps the first; `put` writes over it, and so does
    // `get_or_insert`.
    assert!(!table.insert(b"key", b"second"));
    table.put(b"key", b"second")?;
    assert_eq!(table.get_live(b"key"), Some(&b"second"[..]));
    assert!(table.delete(b"key"));
    let (value, inserted) = table.get_or_insert(b"key", b"third");
    assert_eq!((value, inserted), (&b"third"[..], true));

    // The snapshot from before all that has not noticed.
    assert_eq!(before.get(b"key"), Some((&b"first"[..], false)));
    println!("one table: deleted twice, back twice; the snapshot still reads {:?}", "first");
    Ok(())
}

/// The reason for blind tombstones: the key to be deleted is not here, it is in an older table.
fn across_tables() -> Result<(), Box<dyn Error>> {
    let table = Memtable::new();
    table.put(b"a", b"old")?;
    table.put(b"b", b"old")?;
    table.put(b"c", b"old")?;
    let (older, newer) = table.seal()?;

    // `delete` would say "not here"; `put_tombstone` records the delete all the same.
    assert!(!newer.delete(b"b"));
    newer.put_tombstone(b"b")?;
    newer.put(b"c", b"new")?;

    assert_eq!(lookup(&newer, &older, b"a"), Some(&b"old"[..]));
    assert_eq!(lookup(&newer, &older, b"b"), None);
    assert_eq!(lookup(&newer, &older, b"c"), Some(&b"new"[..]));

    // The flush writes the tombstone to the file, where it goes on shadowing what lies below.
    let flushed: Vec<_> = newer.versions().map(|entry| (entry.key, entry.is_tombstone)).collect();
    assert_eq!(flushed, [(&b"b"[..], true), (b"c", false)]);
    println!("two tables: a tombstone in the newer hides the value in the older");
    Ok(())
}

/// A read of two tables: the newer one decides, unless it has never heard of the key. (`Table` is the reading side that
/// memtables and frozen memtables have in common.)
fn lookup<'a>(newer: &'a Table, older: &'a Table, key: &[u8]) -> Option<&'a [u8]> {
    let (value, is_tombstone) = newer.get(key).or_else(|| older.get(key))?;
    (!is_tombstone).then_some(value)
}
