//! The memtable: the list with a lifecycle. Thresholds, batches, figures, freezing.

mod batch;
mod builder;
mod frozen;
#[cfg(all(feature = "hash-index", target_has_atomic = "ptr"))]
mod hash_index;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod owned;
mod single_writer;
mod stats;
mod table;
mod threshold;
mod write;
#[cfg(feature = "alloc")]
mod write_batch;

pub use builder::Given;
#[cfg(feature = "alloc")]
pub use builder::Growing;
pub use builder::{ArenaPlan, Builder};
pub use frozen::FrozenMemtable;
#[cfg(all(feature = "hash-index", target_has_atomic = "ptr"))]
pub use hash_index::{ByteEquality, HashIndex};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use owned::{OwnedCursor, OwnedEntry, OwnedRange, OwnedSnapshot};
pub use single_writer::SingleWriter;
pub use stats::Stats;
pub use table::Table;
pub use threshold::Pressure;
#[cfg(feature = "alloc")]
pub use write_batch::WriteBatch;

use core::fmt;
use core::ops::Deref;

use crate::arena::{Arena, Shard, Writer};
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::defaults::{DEFAULT_HEIGHT, DefaultArena};
use crate::entry::Entry;
use crate::error::{BatchError, InsertError, SealError};
use crate::iter::Iter;
use crate::list::{Frozen, Key, Kind, List, MAX_KEY_LEN, MAX_VALUE_LEN, Refusal, Rule, Write, Written};
use crate::sync;
use threshold::{Admit, Limits};

/// What to do with a second version of the same key and sequence number.
///
/// ```
/// use memskip::{Memtable, OnDuplicateSeqNo, SeqNo};
///
/// let table = Memtable::<[u8]>::builder().on_duplicate_seqno(OnDuplicateSeqNo::Replace).build();
/// table.put_at(b"k", b"first", SeqNo(1))?;
/// table.put_at(b"k", b"second", SeqNo(1))?;
/// assert_eq!(table.get_live(b"k"), Some(&b"second"[..]));
/// # Ok::<(), memskip::InsertError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDuplicateSeqNo {
    /// Refuse it with [`InsertError::DuplicateSeqNo`].
    #[default]
    Reject,
    /// Let it hide the first, as the write set of a transaction needs.
    Replace,
}

/// A lock-free, multi-version, in-memory write buffer.
///
/// Reads are on [`Table`], to which this dereferences. Any number of threads may read and write through `&Memtable`.
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::new();
/// table.put(b"apple", b"red")?;
/// table.put(b"apple", b"green")?;
/// table.put_tombstone(b"pear")?;
/// assert_eq!(table.get(b"apple"), Some((&b"green"[..], false)));
/// assert_eq!(table.get(b"pear"), Some((&b""[..], true)));
/// assert_eq!((table.len(), table.tombstones()), (1, 1));
/// # Ok::<(), memskip::InsertError>(())
/// ```
pub struct Memtable<
    K: ?Sized = [u8],
    C = Bytewise,
    A = DefaultArena,
    S = EpochClock,
    const MAX_HEIGHT: usize = DEFAULT_HEIGHT,
> {
    table: Table<K, C, A, S, MAX_HEIGHT>,
}

/// The default memtable, under the name many know it by.
///
/// ```
/// let list = memskip::ConcurrentSkipList::new();
/// assert!(list.insert(b"k", b"v"));
/// ```
pub type ConcurrentSkipList = Memtable;

#[cfg(feature = "alloc")]
impl Memtable {
    /// An empty table: as many arena shards as CPUs (with `std`; else one), small first chunks, no thresholds. Takes no
    /// memory for entries yet.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// The same with a first chunk of `arena_bytes`, at most 8 MiB, per shard: what is above that comes in further chunks, when it
    /// is needed.
    ///
    /// ```
    /// let table = memskip::Memtable::with_capacity(1 << 20);
    /// assert!(table.insert(b"k", b"v"));
    /// ```
    pub fn with_capacity(arena_bytes: usize) -> Self {
        Self::builder().first_chunk(arena_bytes).build()
    }

    /// The same with `shards` arena shards; any number of threads may use them. 0 counts as 1.
    ///
    /// ```
    /// let table = memskip::Memtable::with_shards(2);
    /// assert!(table.insert(b"k", b"v"));
    /// ```
    pub fn with_shards(shards: usize) -> Self {
        Self::builder().shards(shards).build()
    }

    /// All of that, and thresholds: a write is refused if it would bring [`memory_usage`](Table::memory_usage) above
    /// `max_memory_bytes` or the versions stored above `max_entries`. 0 is no threshold.
    ///
    /// `max_entries` is exact. `max_memory_bytes` can be passed by the writes under way, one a thread, as each may be let in by the same
    /// room. [`delete`](Self::delete) is not refused by them, and passes both.
    ///
    /// ```
    /// use memskip::{InsertError, Memtable};
    ///
    /// let table = Memtable::with_capacity_and_shards(4096, 1, 0, 2);
    /// table.put(b"a", b"1")?;
    /// table.put(b"b", b"2")?;
    /// assert_eq!(table.put(b"c", b"3"), Err(InsertError::ThresholdReached));
    /// # Ok::<(), InsertError>(())
    /// ```
    pub fn with_capacity_and_shards(
        arena_bytes: usize,
        shards: usize,
        max_memory_bytes: usize,
        max_entries: usize,
    ) -> Self {
        Self::builder()
            .first_chunk(arena_bytes)
            .shards(shards)
            .max_memory_bytes(max_memory_bytes)
            .max_entries(max_entries)
            .build()
    }
}

#[cfg(feature = "alloc")]
impl Default for Memtable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "alloc")]
impl<K: ?Sized> Memtable<K> {
    /// Starts to configure a table: comparator, clock, arena or allocator, shards, chunk sizes, thresholds.
    ///
    /// Name the type of keys: `Memtable::<[u8]>::builder()`, or
    /// [`ConcurrentSkipList::builder()`](ConcurrentSkipList). Where it is left out it is taken from the first key, which for
    /// `b"key"` is `[u8; 3]`.
    ///
    /// ```
    /// use memskip::{CounterClock, Memtable};
    ///
    /// let table = Memtable::<str>::builder().clock(CounterClock::new()).max_entries(1_000_000).build();
    /// assert!(table.insert("k", b"v"));
    /// ```
    pub fn builder() -> Builder<K, Bytewise, Growing, EpochClock, DEFAULT_HEIGHT> {
        Builder::new()
    }
}

impl<K: ?Sized, C: Default, A: Arena, S: Default + SeqClock, const MAX_HEIGHT: usize> Memtable<K, C, A, S, MAX_HEIGHT> {
    /// An empty table in `arena`: needs no allocator and no `std` if the arena does not.
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use memskip::{Bytewise, FixedArena, Memtable};
    ///
    /// let mut buffer = [MaybeUninit::uninit(); 1 << 12];
    /// let table: Memtable<[u8], Bytewise, FixedArena<'_>> = Memtable::new_in(FixedArena::new(&mut buffer));
    /// assert!(table.insert(b"k", b"v"));
    /// ```
    pub fn new_in(arena: A) -> Self {
        Builder::with_arena(arena).comparator(C::default()).clock(S::default()).keys::<K>().max_height().build()
    }
}

impl<K: ?Sized, C, A, S, const MAX_HEIGHT: usize> Memtable<K, C, A, S, MAX_HEIGHT> {
    /// The longest key, in bytes: 2^30 - 1, just below 1 GiB (256 MiB on 32-bit targets).
    pub const MAX_KEY_LEN: usize = MAX_KEY_LEN;
    /// The longest value, in bytes: 2^31 - 1, just below 2 GiB (512 MiB on 32-bit targets).
    pub const MAX_VALUE_LEN: usize = MAX_VALUE_LEN;

    /// The list, for tests of what nobody else can see.
    #[cfg(all(test, feature = "std"))]
    pub(crate) fn list(&self) -> &List<K, C, A, S, MAX_HEIGHT> {
        &self.table.list
    }

    fn assemble(list: List<K, C, A, S, MAX_HEIGHT>, limits: Limits, duplicates: OnDuplicateSeqNo) -> Self
    where
        A: Arena,
    {
        // An arena that a caller brings may have served another table.
        list.arena().shards().iter().for_each(Shard::clear);
        Self { table: Table { list, limits, duplicates } }
    }
}

/// Why a gate of these let nobody in.
#[cold]
fn turned_away(shards: &[Shard]) -> InsertError {
    if shards.iter().any(|shard| shard.gate.stays_shut()) { InsertError::Sealed } else { InsertError::Busy }
}

/// A writer inside the gate: a freeze waits for it, and it is out again on drop, also when it panics.
struct Admission<'a>(Writer<'a>);

impl Drop for Admission<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<K, C, A, S, const MAX_HEIGHT: usize> Memtable<K, C, A, S, MAX_HEIGHT>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Inserts if the key has no version here, tombstones included: the first value wins. `false` if it has one, and
    /// for every other reason that [`try_insert`](Self::try_insert) tells.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// assert!(table.insert(b"k", b"first"));
    /// assert!(!table.insert(b"k", b"second"));
    /// ```
    #[inline]
    pub fn insert(&self, key: &K, value: &[u8]) -> bool {
        self.try_insert(key, value).is_ok()
    }

    /// Inserts if the key has no version here, and says why not. Returns the version's sequence number.
    ///
    /// ```
    /// use memskip::{InsertError, Memtable};
    ///
    /// let table = Memtable::new();
    /// table.put_tombstone(b"k")?;
    /// assert_eq!(table.try_insert(b"k", b"v"), Err(InsertError::DuplicateKey));
    /// # Ok::<(), InsertError>(())
    /// ```
    #[inline]
    pub fn try_insert(&self, key: &K, value: &[u8]) -> Result<SeqNo, InsertError> {
        self.put_with(key, value, Kind::VALUE, Rule::IfAbsent)
    }

    /// Adds a version that becomes the newest, also over a tombstone. Returns its sequence number.
    ///
    /// While it runs, readers see the version before or this one; never none, and never the one before after this one.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.put(b"k", b"v")?;
    /// table.put(b"k", b"w")?;
    /// assert_eq!(table.get_live(b"k"), Some(&b"w"[..]));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn put(&self, key: &K, value: &[u8]) -> Result<SeqNo, InsertError> {
        self.put_with(key, value, Kind::VALUE, Rule::Newest)
    }

    /// Writes a tombstone over a key that is live here. `false` if it is absent, deleted already, or the table is sealed,
    /// out of memory or a [`SingleWriter`]'s; of several racing callers one gets `true`. Thresholds do not refuse it.
    ///
    /// Only if the key is live, and with an answer: for a key that may be in an older table, see the blind
    /// [`put_tombstone`](Self::put_tombstone). (A batch's `delete` and a manager's are blind ones.)
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"k", b"v");
    /// assert!(table.delete(b"k"));
    /// assert!(!table.delete(b"k"));
    /// ```
    #[inline]
    pub fn delete(&self, key: &K) -> bool {
        let write = Write::new(key, &[], Kind::TOMBSTONE, Rule::IfLive);
        self.write_apart(&write, Admit::Always).is_ok()
    }

    /// Writes a tombstone whether or not the key is here: it may be in an older table. Returns its sequence number. A threshold may
    /// refuse it, unlike [`delete`](Self::delete), which writes one only if the key is live here.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.put_tombstone(b"elsewhere")?;
    /// assert_eq!(table.get(b"elsewhere"), Some((&b""[..], true)));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn put_tombstone(&self, key: &K) -> Result<SeqNo, InsertError> {
        self.put_with(key, &[], Kind::TOMBSTONE, Rule::Newest)
    }

    /// Adds a version with the engine's own sequence number, in any order across keys and threads. Beyond what
    /// [`put`](Self::put) may be refused for: [`SeqNoTooLarge`](InsertError::SeqNoTooLarge) above [`SeqNo::LIMIT`], and
    /// [`DuplicateSeqNo`](InsertError::DuplicateSeqNo) if the key has a version of this number (see [`OnDuplicateSeqNo`]).
    ///
    /// The clock hears of the number once the version is there: a [`snapshot`](Table::snapshot) taken before this returns may be of a
    /// lesser number, and lack what a reader of the newest has seen already.
    ///
    /// ```
    /// use memskip::{Memtable, SeqNo};
    ///
    /// let table = Memtable::new();
    /// table.put_at(b"k", b"later", SeqNo(20))?;
    /// table.put_at(b"k", b"earlier", SeqNo(10))?;
    /// assert_eq!(table.get_live(b"k"), Some(&b"later"[..]));
    /// assert_eq!(table.get_at(b"k", SeqNo(15)).map(|e| e.value), Some(&b"earlier"[..]));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn put_at(&self, key: &K, value: &[u8], seq: SeqNo) -> Result<(), InsertError> {
        self.put_kind_at(key, value, Kind::VALUE, seq)
    }

    /// Adds a tombstone with the engine's own sequence number.
    ///
    /// ```
    /// use memskip::{Memtable, SeqNo};
    ///
    /// let table = Memtable::new();
    /// table.put_at(b"k", b"v", SeqNo(1))?;
    /// table.put_tombstone_at(b"k", SeqNo(2))?;
    /// assert_eq!(table.get_live(b"k"), None);
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn put_tombstone_at(&self, key: &K, seq: SeqNo) -> Result<(), InsertError> {
        self.put_kind_at(key, &[], Kind::TOMBSTONE, seq)
    }

    /// Adds a version of any kind with the engine's own sequence number; a tombstone may carry a value, too. Refused as
    /// [`put_at`](Self::put_at) is, with [`SeqNoTooLarge`](InsertError::SeqNoTooLarge) and
    /// [`DuplicateSeqNo`](InsertError::DuplicateSeqNo).
    ///
    /// ```
    /// use memskip::{Kind, Memtable, SeqNo};
    ///
    /// let table = Memtable::new();
    /// table.put_kind_at(b"k", b"+3", Kind(7), SeqNo(5))?;
    /// assert_eq!(table.entry(b"k").map(|e| (e.kind(), e.seq)), Some((Kind(7), SeqNo(5))));
    /// # Ok::<(), memskip::InsertError>(())
    /// ```
    #[inline]
    pub fn put_kind_at(&self, key: &K, value: &[u8], kind: Kind, seq: SeqNo) -> Result<(), InsertError> {
        self.put_with(key, value, kind, self.table.rule_at(seq)).map(drop)
    }

    /// The live value of a key, inserted if there is none (a tombstone counts as none and is written over), and whether
    /// it was inserted. Of many racing callers exactly one gets `true`, and all get the same value.
    ///
    /// If there is none and none can be written (sealed, no memory, a threshold, a [`SingleWriter`]), an empty value and `false`; see
    /// [`try_get_or_insert`](Self::try_get_or_insert), which tells that apart.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// assert_eq!(table.get_or_insert(b"k", b"v"), (&b"v"[..], true));
    /// assert_eq!(table.get_or_insert(b"k", b"w"), (&b"v"[..], false));
    /// ```
    pub fn get_or_insert(&self, key: &K, value: &[u8]) -> (&[u8], bool) {
        self.try_get_or_insert(key, value).unwrap_or((&[], false))
    }

    /// The same, saying why there is no value and none was written.
    ///
    /// ```
    /// use memskip::{InsertError, Memtable};
    ///
    /// let table = Memtable::new();
    /// table.try_get_or_insert(b"k", b"v")?;
    /// table.freeze();
    /// assert_eq!(table.try_get_or_insert(b"k", b"w"), Ok((&b"v"[..], false)));
    /// assert_eq!(table.try_get_or_insert(b"l", b"w"), Err(InsertError::Sealed));
    /// # Ok::<(), InsertError>(())
    /// ```
    pub fn try_get_or_insert(&self, key: &K, value: &[u8]) -> Result<(&[u8], bool), InsertError> {
        let write = Write::new(key, value, Kind::VALUE, Rule::UnlessLive);
        match self.write_apart(&write, Admit::WithinThresholds) {
            Ok(written) => Ok((written.value, true)),
            Err(refusal) => self.table.present_or_refused(key, refusal),
        }
    }

    /// Inserts each entry whose key has no version here. `Ok` with their number if all went in. Keys are whatever is `AsRef<K>`; for
    /// arrays see [`get_many_into`](Table::get_many_into).
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// assert_eq!(table.insert_batch(&[(b"a", b"1"), (b"b", b"2")]), Ok(2));
    /// ```
    pub fn insert_batch<Q: AsRef<K>, V: AsRef<[u8]>>(&self, entries: &[(Q, V)]) -> Result<usize, BatchError> {
        let shard = || self.own_shard().1;
        self.table.in_groups(entries, shard, |pairs, leads| {
            // Past the gate once for all: a freeze does not wait for more than that.
            let Ok(admission) = self.enter() else {
                self.table.count_failures(pairs.len());
                return 0;
            };
            let insert = |&(index, &(key, value)): &(usize, &(&K, &[u8]))| {
                let write = Write::new(key, value, Kind::VALUE, Rule::IfAbsent).led_by(leads, index);
                let written = self.write(admission.0, &write, Admit::WithinThresholds);
                written.map_err(|refusal| self.table.refused(Kind::VALUE, refusal)).is_ok()
            };
            pairs.iter().enumerate().filter(insert).count()
        })
    }

    /// One write that returns a number: a call, with all that is usual in it.
    #[inline(never)]
    fn put_with(&self, key: &K, value: &[u8], kind: Kind, rule: Rule) -> Result<SeqNo, InsertError> {
        let write = Write::new(key, value, kind, rule);
        match self.enter_and_write(&write, Admit::WithinThresholds) {
            Ok(written) => Ok(written.seq),
            Err(refusal) => Err(self.table.refused(kind, refusal)),
        }
    }

    /// A write that answers with more than a number.
    #[inline(never)]
    fn write_apart<'a>(&'a self, write: &Write<'_, K>, admit: Admit) -> Result<Written<'a>, Refusal<'a>> {
        self.enter_and_write(write, admit)
    }

    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call, what it returns goes through memory")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn enter_and_write<'a>(&'a self, write: &Write<'_, K>, admit: Admit) -> Result<Written<'a>, Refusal<'a>> {
        let admission = self.enter()?;
        self.write(admission.0, write, admit)
    }

    /// One write of a writer that is inside.
    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call, what it returns goes through memory")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn write<'a>(&'a self, writer: Writer<'_>, write: &Write<'_, K>, admit: Admit) -> Result<Written<'a>, Refusal<'a>> {
        let tokens = self.table.admit_one(writer.shard, write, admit)?;
        self.table.list.write(writer, write, || tokens.spent())
    }

    /// Lets the calling thread in as a writer.
    #[inline]
    fn enter(&self) -> Result<Admission<'_>, InsertError> {
        let (number, shard) = self.own_shard();
        Writer::enter(shard, number).map(Admission).ok_or_else(|| turned_away(core::slice::from_ref(shard)))
    }

    /// The calling thread's shard and its number, whatever the selector says.
    #[inline]
    fn own_shard(&self) -> (usize, &Shard) {
        let arena = self.table.list.arena();
        let shards = arena.shards();
        let mut number = arena.current_shard();
        if number >= shards.len() {
            number %= shards.len();
        }
        (number, &shards[number])
    }

    /// The caller as the only writer, until what this returns is dropped: for tables that one thread at a time writes to, which takes
    /// fewer instructions, and fewer that lock the bus. Readers and snapshots are as ever.
    ///
    /// [`InsertError::Busy`] while somebody else is writing or is the single writer, [`InsertError::Sealed`] when the table is sealed.
    /// Until it is dropped all other writes are refused with `Busy` (a few may be while this is being asked for, even if it is refused
    /// in the end), and a freeze waits for it, from the beginning of which all get `Sealed`.
    ///
    /// ```
    /// use memskip::{InsertError, Memtable, SeqNo};
    ///
    /// let table = Memtable::with_shards(1);
    /// let mut writer = table.single_writer()?;
    /// writer.put_at(b"k", b"v", SeqNo(7))?;
    /// assert_eq!(table.put(b"k", b"w"), Err(InsertError::Busy));
    /// assert_eq!(table.get_live(b"k"), Some(&b"v"[..]));
    /// assert_eq!(writer.freeze().len(), 1);
    /// # Ok::<(), InsertError>(())
    /// ```
    pub fn single_writer(&self) -> Result<SingleWriter<'_, K, C, A, S, MAX_HEIGHT>, InsertError> {
        let arena = self.table.list.arena();
        SingleWriter::enter(self, arena.current_shard()).ok_or_else(|| turned_away(arena.shards()))
    }

    /// Makes the table read-only and returns its reading side; returns when every write that had begun has ended, and a
    /// [`SingleWriter`] is gone. Every later write gets [`InsertError::Sealed`]. May be called any number of times.
    ///
    /// Waits (yielding to the scheduler with `std`, spinning without), so not for interrupt handlers: see
    /// [`try_freeze`](Self::try_freeze).
    ///
    /// ```
    /// use memskip::{InsertError, Memtable};
    ///
    /// let table = Memtable::new();
    /// table.insert(b"k", b"v");
    /// let frozen = table.freeze();
    /// assert_eq!(frozen.len(), 1);
    /// assert_eq!(table.put(b"k", b"w"), Err(InsertError::Sealed));
    /// ```
    pub fn freeze(&self) -> &FrozenMemtable<K, C, A, S, MAX_HEIGHT> {
        loop {
            if let Some(frozen) = self.try_freeze() {
                return frozen;
            }
            sync::pause();
        }
    }

    /// The same without waiting: `None` while a write that had begun is still running, or just being refused, or a [`SingleWriter`] lives.
    /// Later writes are refused either way; ask again until there is an answer.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// assert!(table.try_freeze().is_some());
    /// ```
    pub fn try_freeze(&self) -> Option<&FrozenMemtable<K, C, A, S, MAX_HEIGHT>> {
        self.seal_gates();
        self.table.list.arena().shards().iter().all(|shard| shard.gate.close()).then(|| Frozen::by_ref(self))
    }

    /// Refuses all writes from here on, for good.
    fn seal_gates(&self) {
        for shard in self.table.list.arena().shards() {
            if !shard.gate.is_sealed() {
                shard.gate.seal();
            }
        }
    }

    /// Freezes a shared table and gives its reading side, shared.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use memskip::{FrozenMemtable, Memtable};
    ///
    /// let table = Arc::new(Memtable::new());
    /// table.insert(b"k", b"v");
    /// let frozen: Arc<FrozenMemtable> = table.freeze_arc();
    /// assert_eq!(frozen.len(), 1);
    /// ```
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub fn freeze_arc(self: &alloc::sync::Arc<Self>) -> alloc::sync::Arc<FrozenMemtable<K, C, A, S, MAX_HEIGHT>> {
        self.freeze();
        Frozen::by_arc(alloc::sync::Arc::clone(self))
    }

    /// An empty table of the same configuration, whose clock goes on above this one's numbers; `None` if the arena cannot be made
    /// again (a caller's buffer).
    ///
    /// ```
    /// let table = memskip::Memtable::with_shards(3);
    /// assert!(table.renew().is_some());
    /// ```
    pub fn renew(&self) -> Option<Self>
    where
        C: Clone,
        S: Clone,
    {
        let arena = self.table.list.arena().renew()?;
        Some(self.succeed(arena))
    }

    /// An empty table over `arena` that takes over from this one: its numbers are above all that this one has drawn.
    fn succeed(&self, arena: A) -> Self
    where
        C: Clone,
        S: Clone,
    {
        let list = &self.table.list;
        list.draw_snapshot();
        let parts = (list.comparator().clone(), arena, list.clock().clone());
        let limits = self.table.limits.renew();
        Self::assemble(List::new(parts, list.density(), limits.max_memory_bytes), limits, self.table.duplicates)
    }

    /// Freezes the table and gives a fresh one of the same configuration. If none can be made, the error gives the table
    /// back, not frozen.
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"k", b"v");
    /// let (frozen, fresh) = table.seal().map_err(|_| "no fresh table")?;
    /// assert_eq!((frozen.len(), fresh.len()), (1, 0));
    /// assert!(fresh.insert(b"k", b"v"));
    /// # Ok::<(), &str>(())
    /// ```
    #[expect(clippy::type_complexity, reason = "the contract's signature")]
    pub fn seal(self) -> Result<(FrozenMemtable<K, C, A, S, MAX_HEIGHT>, Self), SealError<Self>>
    where
        C: Clone,
        S: Clone,
    {
        let Some(arena) = self.table.list.arena().renew() else { return Err(SealError::new(self)) };
        self.freeze();
        let fresh = self.succeed(arena);
        Ok((Frozen::by_value(self), fresh))
    }

    /// Forgets all entries, and that the table was frozen, and keeps the memory. The clock goes on.
    ///
    /// ```
    /// let mut table = memskip::Memtable::new();
    /// table.insert(b"k", b"v");
    /// table.reset();
    /// assert!(table.is_empty() && table.memory_usage() == 0);
    /// assert!(table.insert(b"k", b"v"));
    /// ```
    pub fn reset(&mut self) {
        for shard in self.table.list.arena().shards() {
            shard.clear();
        }
        self.table.list.reset();
        self.table.limits.reset();
    }
}

impl<K: ?Sized, C, A, S, const MAX_HEIGHT: usize> Deref for Memtable<K, C, A, S, MAX_HEIGHT> {
    type Target = Table<K, C, A, S, MAX_HEIGHT>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

/// `for entry in &table`, of whatever has an `iter` of entries.
macro_rules! iterated_by_for {
    ($($what:ty),*) => {$(
        impl<'a, K, C, A, S, const MAX_HEIGHT: usize> IntoIterator for &'a $what
        where
            K: Key + ?Sized,
            C: Comparator<K>,
            A: Arena,
            S: SeqClock,
        {
            type Item = Entry<'a, K>;
            type IntoIter = Iter<'a, K, C, A, S, MAX_HEIGHT>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }
    )*};
}

iterated_by_for! {
    Table<K, C, A, S, MAX_HEIGHT>,
    Memtable<K, C, A, S, MAX_HEIGHT>,
    FrozenMemtable<K, C, A, S, MAX_HEIGHT>
}

impl<K: ?Sized, C, A, S, const MAX_HEIGHT: usize> fmt::Debug for Memtable<K, C, A, S, MAX_HEIGHT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memtable").field("list", &self.table.list).finish_non_exhaustive()
    }
}
