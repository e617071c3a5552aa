//! What every library has to offer to take part.

/// What a library can do beyond inserting and looking up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Give a key that is there a new value.
    Overwrite,
    /// Insert after the first read.
    Grow,
    /// Insert from several threads at once.
    Share,
    /// Visit the entries in order.
    Scan,
    /// Visit the entries in descending order.
    Reverse,
    /// Visit the entries from a key on.
    Seek,
}

/// What is known of a table before it is filled: some libraries must be told.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Entries that will be written, overwrites included.
    pub entries: usize,
    /// Bytes of keys and values that will be written.
    pub payload: usize,
    /// Different threads that will write during the life of the table.
    pub writers: usize,
    /// Threads that write at the same time.
    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code, reason = "only RocksDB has a way of its own for one"))]
    pub writers_at_once: usize,
}

impl Plan {
    /// An arena that holds the plan whatever the library adds to an entry, for those that cannot grow.
    pub const fn arena_bytes(&self) -> usize {
        self.payload + 128 * self.entries + (64 << 10)
    }
}

/// A library under test. Methods are static, so that every call can be inlined as in a program that uses the library alone.
pub trait Peer: Sync + Sized {
    /// Its name on the command line and in the tables.
    const NAME: &'static str;
    const ABILITIES: &'static [Ability];
    /// The largest table it is asked to hold, for those that grow slower than the logarithm.
    const MAX_ENTRIES: usize = usize::MAX;

    fn new(plan: &Plan) -> Self;

    /// Inserts a key that is not there. `false` if refused.
    fn insert(&self, key: &[u8], value: &[u8]) -> bool;

    /// Inserts keys in ascending order that are not there. `false` if any was refused.
    fn insert_batch(&self, entries: &[(&[u8], &[u8])]) -> bool {
        entries.iter().fold(true, |all, (key, value)| self.insert(key, value) && all)
    }

    /// Called once, after the last insert and before the first read; counts as part of the fill.
    fn settle(&mut self) {}

    /// Gives a key that is there a new value. `false` if refused.
    fn overwrite(&self, _key: &[u8], _value: &[u8]) -> bool {
        false
    }

    /// Shows the value of a key, if it is there.
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R>;

    /// Shows what each of several keys has, in their order.
    fn get_many(&self, keys: &[&[u8]], mut read: impl FnMut(usize, Option<&[u8]>)) {
        for (index, key) in keys.iter().enumerate() {
            if self.get(key, |value| read(index, Some(value))).is_none() {
                read(index, None);
            }
        }
    }

    /// Shows every entry, ascending.
    fn scan(&self, _each: impl FnMut(&[u8], &[u8])) {}

    /// Shows every entry, descending.
    fn scan_back(&self, _each: impl FnMut(&[u8], &[u8])) {}

    /// Shows `count` entries, ascending, beginning with the first whose key is not below `from`.
    fn seek(&self, _from: &[u8], _count: usize, _each: impl FnMut(&[u8], &[u8])) {}

    /// Bytes handed out, of those the library holds, if it keeps an account.
    fn used_bytes(&self) -> Option<usize> {
        None
    }
}
