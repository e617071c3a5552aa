//! Everything else that needs no allocator: the other writes, versions, snapshots, cursors, both directions, freezing.

use memskip::{Bytewise, Cursor, Entry, EpochClock, FixedArena, InsertError, Iter, Kind, SeqNo, Snapshot, Versions};

use crate::point::{LEVELS, Table};

type Buffer = FixedArena<'static>;

macro_rules! operations {
    ($($(#[$condition:meta])* fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        pub const OPERATIONS: &[*const ()] = &[$($(#[$condition])* { $name as *const () }),*];
        $($(#[$condition])* fn $name<'t>($($argument: $type),*) $(-> $result)? $body)*
    };
}

operations! {
    fn try_insert(table: &'t Table, key: &[u8], value: &[u8]) -> Result<SeqNo, InsertError> {
        table.try_insert(key, value)
    }
    fn delete(table: &'t Table, key: &[u8]) -> bool {
        table.delete(key)
    }
    fn put_kind_at(table: &'t Table, key: &[u8], value: &[u8], kind: Kind, seq: SeqNo) -> Result<(), InsertError> {
        table.put_kind_at(key, value, kind, seq)
    }
    fn get_or_insert(table: &'t Table, key: &[u8], value: &[u8]) -> (&'t [u8], bool) {
        table.get_or_insert(key, value)
    }
    fn get_at(table: &'t Table, key: &[u8], seq: SeqNo) -> Option<Entry<'t>> {
        table.get_at(key, seq)
    }
    fn snapshot(table: &'t Table) -> Snapshot<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS> {
        table.snapshot()
    }
    fn iter(table: &'t Table) -> Iter<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS> {
        table.iter()
    }
    fn next(iter: &mut Iter<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS>) -> Option<Entry<'t>> {
        iter.next()
    }
    fn next_back(iter: &mut Iter<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS>) -> Option<Entry<'t>> {
        iter.next_back()
    }
    fn next_version(versions: &mut Versions<'t, 't, [u8], Bytewise, Buffer, EpochClock, LEVELS>) -> Option<Entry<'t>> {
        versions.next()
    }
    fn seek(cursor: &mut Cursor<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS>, key: &[u8]) -> bool {
        cursor.seek(key)
    }
    fn seek_for_prev(cursor: &mut Cursor<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS>, key: &[u8]) -> bool {
        cursor.seek_for_prev(key)
    }
    fn next_entry(cursor: &mut Cursor<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS>) -> Option<Entry<'t>> {
        cursor.next_entry()
    }
    fn prev_entry(cursor: &mut Cursor<'t, [u8], Bytewise, Buffer, EpochClock, LEVELS>) -> Option<Entry<'t>> {
        cursor.prev_entry()
    }
    fn freeze(table: &'t Table) -> bool {
        table.freeze().is_empty()
    }
    fn try_freeze(table: &'t Table) -> bool {
        table.try_freeze().is_some()
    }
    fn reset(table: &mut Table) {
        table.reset()
    }
    fn figures(table: &'t Table) -> [usize; 4] {
        [table.len(), table.tombstones(), table.version_count(), table.memory_usage()]
    }
    #[cfg(feature = "validate")]
    fn validate(table: &'t Table) -> bool {
        table.validate().is_ok()
    }
}
