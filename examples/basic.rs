//! The first ten minutes with a memtable: write, read, walk, seal.
//!
//! ```text
//! cargo run --example basic
//! ```

use std::error::Error;

use memskip::{InsertError, Memtable};

fn main() -> Result<(), Box<dyn Error>> {
    // Byte-slice keys in bytewise order, as many arena shards as there are CPUs, no limits. Every method but `seal` and
    // `reset` takes `&self`: share the table between threads by reference or in an `Arc`.
    let table = Memtable::new();

    // `insert` keeps the first value and says whether it was the first.
    assert!(table.insert(b"apple", b"green"));
    assert!(!table.insert(b"apple", b"red"));
    // `try_insert` does the same and says why not.
    assert_eq!(table.try_insert(b"apple", b"red"), Err(InsertError::DuplicateKey));
    // `put` adds a newer version; the newest wins.
    table.put(b"apple", b"red")?;
    table.put(b"cherry", b"black")?;
    table.put(b"banana", b"yellow")?;
    // A key or a value may be empty.
    table.put(b"", b"the first key there can be")?;

    // Reads take no lock and allocate nothing: a value is a slice of the table's own memory, good for as long as the
    // table is borrowed. `get` also says whether the newest version is a tombstone.
    assert_eq!(table.get(b"apple"), Some((&b"red"[..], false)));
    assert_eq!(table.get_live(b"durian"), None);

    // In order, forwards and backwards; each key once, in its newest version.
    for entry in &table {
        println!("{:?} = {:?}", entry.key.escape_ascii().to_string(), entry.value.escape_ascii().to_string());
    }
    let backwards: Vec<&[u8]> = table.iter().rev().map(|entry| entry.key).collect();
    assert_eq!(backwards, [&b"cherry"[..], b"banana", b"apple", b""]);

    // A range is a range of keys, with any bounds.
    let from_b = table.range(&b"b"[..]..).map(|entry| entry.key);
    assert!(from_b.eq([&b"banana"[..], b"cherry"]));

    // A cursor can be moved about. It stands between entries: `entry` looks at the next one, `next_entry` steps over it.
    let mut cursor = table.cursor();
    assert!(cursor.seek(b"b"));
    assert_eq!(cursor.next_entry().map(|entry| entry.key), Some(&b"banana"[..]));
    assert_eq!(cursor.next_entry().map(|entry| entry.key), Some(&b"cherry"[..]));
    assert!(cursor.next_entry().is_none());

    // Flush order is every version: keys ascending, of each key the newest first. (Versions that no snapshot can tell
    // apart, like the two of "apple" here, count as one.)
    assert_eq!(table.versions().count(), 4);
    assert_eq!(table.len(), 4);
    println!("{} keys in {} bytes", table.len(), table.memory_usage());

    // Sealing makes the table read-only and hands back a fresh one of the same configuration.
    let (sealed, fresh) = table.seal()?;
    assert_eq!(sealed.get_live(b"banana"), Some(&b"yellow"[..]));
    assert!(fresh.is_empty());
    assert!(fresh.insert(b"apple", b"golden"));

    println!("sealed with {} keys; the fresh table has {}", sealed.len(), fresh.len());
    Ok(())
}
