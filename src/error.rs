//! Every error of the crate. Nothing on a data path panics; it returns one of these and leaves the table as it was.

use core::fmt;

/// Why a write was refused. The table is exactly as it was before (but for 8 bytes of memory that a batch may have skipped to be aligned).
///
/// ```
/// use memskip::{InsertError, Memtable};
///
/// let table = Memtable::new();
/// table.try_insert(b"k", b"first")?;
/// assert_eq!(table.try_insert(b"k", b"second"), Err(InsertError::DuplicateKey));
/// # Ok::<(), InsertError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InsertError {
    /// The key already has a version here (a tombstone counts), and the call inserts only if absent.
    DuplicateKey,
    /// This key already has a version of this sequence number.
    DuplicateSeqNo,
    /// The table is frozen, or being frozen.
    Sealed,
    /// Somebody is the table's [`SingleWriter`](crate::SingleWriter), or is becoming it; or, of a writer that wants to be it, somebody
    /// is writing. Another attempt may go through, unlike after [`Sealed`](Self::Sealed), which is said once a freeze has begun.
    Busy,
    /// The table holds as many bytes or entries as it was configured for, or would with this write.
    ///
    /// Said before the key is looked for: also of one that is there already, for which a table with room says
    /// [`DuplicateKey`](Self::DuplicateKey). A write that by itself is larger than `max_memory_bytes` hears this from every table,
    /// the empty one too; whoever seals the table and tries again in the next must not do so without end.
    ThresholdReached,
    /// The arena is full, its allocator refused, or the reach of handles (32 GiB) is used up.
    OutOfMemory,
    /// The key is longer than `Memtable::MAX_KEY_LEN`.
    KeyTooLarge,
    /// The value is longer than `Memtable::MAX_VALUE_LEN`.
    ValueTooLarge,
    /// The sequence number is above [`SeqNo::LIMIT`](crate::SeqNo::LIMIT).
    SeqNoTooLarge,
}

impl fmt::Display for InsertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateKey => "key already present",
            Self::DuplicateSeqNo => "key already has a version of this sequence number",
            Self::Sealed => "table is sealed",
            Self::Busy => "table is another writer's",
            Self::ThresholdReached => "table has reached its configured size",
            Self::OutOfMemory => "out of memory",
            Self::KeyTooLarge => "key too large",
            Self::ValueTooLarge => "value too large",
            Self::SeqNoTooLarge => "sequence number too large",
        })
    }
}

impl core::error::Error for InsertError {}

/// The arena has no room for a request; nothing was handed out.
///
/// ```
/// use core::mem::MaybeUninit;
/// use memskip::{Arena, FixedArena, OutOfMemory};
///
/// let mut buffer = [MaybeUninit::uninit(); 64];
/// let arena = FixedArena::new(&mut buffer);
/// assert_eq!(arena.allocate(0, 4096, 8), Err(OutOfMemory));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl core::error::Error for OutOfMemory {}

impl From<OutOfMemory> for InsertError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What became of an [`insert_batch`](crate::Memtable::insert_batch) that did not succeed as a whole.
///
/// ```
/// use memskip::{BatchError, Memtable};
///
/// let table = Memtable::new();
/// table.insert(b"b", b"old");
/// let refused = table.insert_batch(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
/// assert_eq!(refused, Err(BatchError::PartialFailure { succeeded: 2, failed: 1 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchError {
    /// Some entries were inserted, others were not.
    PartialFailure {
        /// How many entries are in the table now.
        succeeded: usize,
        /// How many were refused.
        failed: usize,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::PartialFailure { succeeded, failed } = self;
        write!(f, "{failed} of {} entries refused", succeeded + failed)
    }
}

impl core::error::Error for BatchError {}

/// A fresh table could not be made, so the old one comes back, unsealed and whole.
///
/// ```
/// use core::mem::MaybeUninit;
/// use memskip::{Bytewise, FixedArena, Memtable};
///
/// let mut buffer = [MaybeUninit::uninit(); 1024];
/// // A caller's buffer cannot be made twice.
/// let table: Memtable<[u8], Bytewise, FixedArena<'_>> = Memtable::new_in(FixedArena::new(&mut buffer));
/// table.insert(b"k", b"v");
/// let error = table.seal().err().ok_or("sealed")?;
/// let table = error.into_table();
/// assert_eq!(table.get(b"k"), Some((&b"v"[..], false)));
/// # Ok::<(), &str>(())
/// ```
pub struct SealError<T> {
    table: T,
}

impl<T> SealError<T> {
    pub(crate) fn new(table: T) -> Self {
        Self { table }
    }

    /// The table that was to be sealed: not sealed, nothing lost.
    pub fn into_table(self) -> T {
        self.table
    }

    /// The table that was to be sealed.
    pub fn table(&self) -> &T {
        &self.table
    }
}

impl<T> fmt::Debug for SealError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SealError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no fresh table can be made from this arena")
    }
}

impl<T> core::error::Error for SealError<T> {}

/// The first broken invariant that [`validate`](crate::Table::validate) found.
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::new();
/// table.insert(b"k", b"v");
/// table.validate()?;
/// # Ok::<(), memskip::Corruption>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Corruption {
    what: &'static str,
}

impl Corruption {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what }
    }

    /// The invariant, in words.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken invariant: {}", self.what)
    }
}

impl core::error::Error for Corruption {}
