//! What a table hands out can be named as the table is: by its name alone, in signatures and fields. It is enough that this compiles.
#![allow(missing_docs)]

use memskip::{Cursor, Entry, FrozenMemtable, Iter, Memtable, Range, SeqNo, Snapshot, Table, Versions};

struct Borrowed<'a> {
    snapshot: Snapshot<'a>,
    cursor: Cursor<'a>,
    iter: Iter<'a>,
    range: Range<'a, 'a>,
    versions: Versions<'a, 'a>,
}

/// The default arena is that of the features, also without `alloc`.
fn borrowed(table: &Table) -> Borrowed<'_> {
    Borrowed {
        snapshot: table.snapshot_at(SeqNo::MAX),
        cursor: table.cursor(),
        iter: table.iter(),
        range: table.range(..),
        versions: table.versions(),
    }
}

fn first<'a>(table: &'a Memtable, frozen: &'a FrozenMemtable) -> [Option<Entry<'a>>; 2] {
    let mut all = borrowed(table);
    let _ = (all.snapshot.seq(), all.cursor.next_entry(), all.iter.next_back(), all.range.next());
    [all.versions.next(), borrowed(frozen).cursor.next_entry()]
}

#[test]
#[cfg(feature = "alloc")]
fn borrowed_forms_have_defaults() {
    let (table, frozen) = (Memtable::new(), Memtable::new());
    assert!(table.insert(b"k", b"v"));
    assert_eq!(first(&table, frozen.freeze())[0].map(|entry| entry.value), Some(&b"v"[..]));
}

/// Without an allocator the default arena is a buffer that lives for ever.
#[test]
#[cfg(not(feature = "alloc"))]
fn borrowed_forms_have_defaults() {
    use memskip::FixedArena;
    use std::mem::MaybeUninit;

    let table: Memtable = Memtable::new_in(FixedArena::new(Box::leak(Box::new([MaybeUninit::uninit(); 1 << 12]))));
    assert!(table.insert(b"k", b"v"));
    assert_eq!(first(&table, table.freeze())[0].map(|entry| entry.value), Some(&b"v"[..]));
}

#[cfg(feature = "alloc")]
mod owned {
    use memskip::{Memtable, OwnedCursor, OwnedEntry, OwnedRange, OwnedSnapshot};
    use std::sync::Arc;

    struct Owned {
        snapshot: OwnedSnapshot,
        cursor: OwnedCursor,
        range: OwnedRange,
        entry: Option<OwnedEntry>,
    }

    #[test]
    fn owning_forms_have_defaults() {
        let table = Arc::new(Memtable::new());
        assert!(table.insert(b"k", b"v"));
        let (snapshot, cursor, range) = (table.snapshot_arc(), table.cursor_arc(), table.range_arc(..));
        let mut owned = Owned { snapshot, cursor, range, entry: table.range_arc(..).next() };
        assert_eq!(owned.snapshot.iter().count(), 1);
        assert_eq!(owned.cursor.next_entry().map(|entry| entry.value), Some(&b"v"[..]));
        assert_eq!(owned.range.next().map(|entry| entry.seq()), owned.entry.map(|entry| entry.seq()));
    }
}

#[cfg(feature = "std")]
mod managed {
    use memskip::{
        FlushJob, FrozenManagedTable, ManagedTable, ManagerConfig, ManagerEntry, ManagerRange, ManagerSnapshot,
        MemtableManager, OwnedManagerRange, Tagged,
    };

    struct Managed<'a> {
        range: ManagerRange<'a, 'a>,
        owned: OwnedManagerRange,
        entry: Option<ManagerEntry>,
        tagged: Tagged<'a>,
    }

    fn managed<'a>(manager: &'a MemtableManager, snapshot: &'a ManagerSnapshot) -> Managed<'a> {
        Managed {
            range: snapshot.iter(),
            owned: manager.iter(),
            entry: manager.iter().next(),
            tagged: manager.tagged(1),
        }
    }

    fn versions(job: &FlushJob) -> usize {
        let (frozen, active): (&FrozenManagedTable, Option<&ManagedTable>) = (job.table(), None);
        frozen.version_count() + active.map_or(0, |table| table.version_count())
    }

    #[test]
    fn managed_forms_have_defaults() {
        let manager = MemtableManager::new(ManagerConfig::new()).unwrap();
        manager.put(b"k", b"v").unwrap();
        let snapshot = manager.snapshot();
        let all = managed(&manager, &snapshot);
        assert_eq!((all.range.count(), all.owned.count(), all.entry.is_some()), (1, 1, true));
        all.tagged.put(b"k", b"w").unwrap();
        manager.rotate();
        assert_eq!(manager.next_flush().as_ref().map(versions), Some(2));
    }
}
