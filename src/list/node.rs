//! How nodes and versions lie in memory.
//!
//! ```text
//! node     0        4          8              16      20
//!          | next   | versions | seq          | meta  | [lengths] | key ... | value ... |
//!
//! version  0                   8        12      16
//!          | seq               | older  | meta  | [length]  | value ... |
//! ```
//!
//! A node carries its key and the first version written to it; further versions hang off `versions`. Lengths stand in
//! `meta` when they are short and behind it when they are not. Everything but `next`, `versions`, `seq` and `older` is
//! written before publication and never changes.

use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;
use core::ptr::NonNull;

use crate::arena::{Handle, UNIT};
use crate::sync::{AtomicU32, AtomicU64, Witness, order};

/// What a version is: a value, a tombstone, or something that only the engine understands (a merge operand, a single
/// delete, a pointer to a blob), which is carried and returned untouched.
///
/// ```
/// use memskip::{Kind, Memtable, SeqNo};
///
/// const MERGE: Kind = Kind(2);
/// let table = Memtable::new();
/// table.put_kind_at(b"counter", b"+1", MERGE, SeqNo(9))?;
/// assert_eq!(table.entry(b"counter").map(|e| e.kind()), Some(MERGE));
/// # Ok::<(), memskip::InsertError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// A value.
    pub const VALUE: Self = Self(0);
    /// A tombstone: the key is deleted as of this version.
    pub const TOMBSTONE: Self = Self(1);

    /// Whether this is [`Kind::TOMBSTONE`].
    #[inline]
    pub const fn is_tombstone(self) -> bool {
        self.0 == Self::TOMBSTONE.0
    }
}

/// A handle known to name a `T` of this list that is completely written.
///
/// Made only where a `T` is published, and by loading a word that only such handles are stored in.
pub(super) struct Ref<T>(NonZeroU32, PhantomData<fn() -> T>);

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ref<T> {}
impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Ref<T> {}

impl<T> Ref<T> {
    /// # Safety
    ///
    /// `raw` is 0 or the handle of a completely written `T` of the list it is used with, and the caller learned of it
    /// by an acquiring load or wrote it itself.
    #[inline]
    pub(super) unsafe fn from_raw(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(|raw| Self(raw, PhantomData))
    }

    #[inline]
    pub(super) fn handle(self) -> Handle {
        Handle(self.0.get())
    }
}

/// The raw form of an optional reference, 0 for none.
#[inline]
pub(super) fn raw<T>(reference: Option<Ref<T>>) -> u32 {
    reference.map_or(0, |reference| reference.0.get())
}

/// A word that names the next node. Invariant: holds 0 or the handle of a published node.
pub(super) struct Link(AtomicU32);

impl Link {
    #[inline]
    pub(super) fn new(to: Option<Ref<Node>>) -> Self {
        Self(AtomicU32::new(raw(to)))
    }

    /// What the link names; everything written to it before it was published is visible.
    #[inline]
    pub(super) fn follow(&self) -> Option<Ref<Node>> {
        let raw = self.0.load(order::FOLLOW);
        // SAFETY: the invariant of links, and an acquiring load.
        unsafe { Ref::from_raw(raw) }
    }

    /// Publishes `new` in place of `expected`.
    #[inline]
    pub(super) fn publish(&self, expected: Option<Ref<Node>>, new: Ref<Node>) -> bool {
        let (expected, new) = (raw(expected), new.handle().0);
        self.0.compare_exchange(expected, new, order::LINK, order::PLAIN).is_ok()
    }

    /// The same for the only writer, and a node with a number of its own.
    #[inline]
    pub(super) fn publish_alone(&self, expected: Option<Ref<Node>>, new: Ref<Node>) -> bool {
        let is_expected = self.0.load(order::PLAIN) == raw(expected);
        if is_expected {
            self.0.store(new.handle().0, order::LINK_ALONE);
        }
        is_expected
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(None);
    }
}

/// Kind, flags and short lengths of a node or version.
///
/// ```text
/// bit      0..8   8     9      10     11..32
/// version  kind   long  given  below  value length
/// node     kind   long  given  key length 10..18, value length 18..32
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta(u32);

const LONG: u32 = 1 << 8;
const GIVEN: u32 = 1 << 9;
const BELOW: u32 = 1 << 10;
const VERSION_SHIFT: u32 = 11;
const KEY_SHIFT: u32 = 10;
const KEY_BITS: u32 = 8;
const VALUE_SHIFT: u32 = KEY_SHIFT + KEY_BITS;

/// Whether the sequence number came from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the clock.
    Clock,
    /// From the caller.
    Given,
}

impl Meta {
    #[inline]
    pub(super) fn kind(self) -> Kind {
        Kind(self.0 as u8)
    }

    /// Whether the sequence number was given by the caller.
    #[inline]
    pub(super) fn origin(self) -> Origin {
        if self.0 & GIVEN == 0 { Origin::Clock } else { Origin::Given }
    }

    /// Of a version: whether it, and so everything older, is older than the node's first version.
    #[inline]
    pub(super) fn is_below(self) -> bool {
        self.0 & BELOW != 0
    }

    #[inline]
    fn common(kind: Kind, origin: Origin) -> u32 {
        u32::from(kind.0) | if origin == Origin::Given { GIVEN } else { 0 }
    }
}

/// The start of a node. The key and the first value follow.
#[repr(C)]
pub(super) struct Node {
    witness: Witness,
    /// Invariant: the next greater key, or none.
    pub(super) next: Link,
    /// The newest of the further versions (see [`ChainWord`]).
    pub(super) versions: AtomicU32,
    /// The first version's number (see `version`).
    pub(super) seq: AtomicU64,
    meta: Meta,
}

/// The start of a further version. The value follows.
#[repr(C)]
pub(super) struct Version {
    witness: Witness,
    pub(super) seq: AtomicU64,
    /// The next older one (see [`ChainWord`]).
    pub(super) older: AtomicU32,
    meta: Meta,
}

const NODE_TAIL: usize = core::mem::offset_of!(Node, meta) + size_of::<Meta>();
const VERSION_TAIL: usize = core::mem::offset_of!(Version, meta) + size_of::<Meta>();
/// Bytes of a length that does not fit `meta`.
const LENGTH: usize = size_of::<u32>();

/// Alignment of versions: their handles are even, which leaves [`ChainWord`] a bit.
pub(super) const VERSION_ALIGN: usize = 2 * UNIT;

/// A link of a version chain: the handle of the next older version beyond the node's first, and whether the version
/// above has been counted, so that none may be slipped in below it as if that were still the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainWord(pub(super) u32);

impl ChainWord {
    const CLOSED: u32 = 1;

    /// The link to the newest of a node's further versions.
    #[inline]
    pub(super) fn newest_of(node: NodeRef<'_>) -> Self {
        Self(node.header().versions.load(order::FOLLOW))
    }

    /// The link behind a version.
    #[inline]
    pub(super) fn older_than(version: &Version) -> Self {
        Self(version.older.load(order::FOLLOW))
    }

    #[inline]
    pub(super) fn version(self) -> Option<Ref<Version>> {
        // SAFETY: chain links hold 0 or the handle of a published version, and are loaded with acquire.
        unsafe { Ref::from_raw(self.0 & !Self::CLOSED) }
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    #[inline]
    pub(super) fn closed(self) -> Self {
        Self(self.0 | Self::CLOSED)
    }

    /// The same link, naming `version`.
    #[inline]
    pub(super) fn naming(self, version: Ref<Version>) -> Self {
        Self(version.handle().0 | self.0 & Self::CLOSED)
    }

    /// What a version placed behind this link has as its own: the same version, and open.
    #[inline]
    pub(super) fn behind(self) -> u32 {
        self.0 & !Self::CLOSED
    }
}

/// The longest key and value: lengths are 32 bits, and an entry is one allocation.
pub(crate) const MAX_KEY_LEN: usize = crate::arena::MAX_REQUEST / 4;
/// See [`MAX_KEY_LEN`].
pub(crate) const MAX_VALUE_LEN: usize = crate::arena::MAX_REQUEST / 2;

#[inline]
fn node_is_short(key_len: usize, value_len: usize) -> bool {
    key_len < 1 << KEY_BITS && value_len < 1 << (u32::BITS - VALUE_SHIFT)
}

#[inline]
fn version_is_short(value_len: usize) -> bool {
    value_len < 1 << (u32::BITS - VERSION_SHIFT)
}

/// Bytes that a node of these lengths needs.
#[inline]
pub(super) fn node_size(key_len: usize, value_len: usize) -> usize {
    let lengths = if node_is_short(key_len, value_len) { 0 } else { 2 * LENGTH };
    (NODE_TAIL + lengths).saturating_add(key_len).saturating_add(value_len).max(size_of::<Node>())
}

/// Bytes that a further version needs.
#[inline]
pub(super) fn version_size(value_len: usize) -> usize {
    let length = if version_is_short(value_len) { 0 } else { LENGTH };
    (VERSION_TAIL + length).saturating_add(value_len).max(size_of::<Version>())
}

/// Writes a node to fresh memory.
///
/// # Safety
///
/// `at` is aligned to [`UNIT`], has room for [`node_size`] bytes, and is the caller's alone.
#[inline]
pub(super) unsafe fn write_node(
    at: NonNull<u8>,
    next: Option<Ref<Node>>,
    key: &[u8],
    value: &[u8],
    version: (Kind, Origin, u64),
) {
    let (kind, origin, seq) = version;
    let short = node_is_short(key.len(), value.len());
    let lengths = if short { (key.len() as u32) << KEY_SHIFT | (value.len() as u32) << VALUE_SHIFT } else { LONG };
    let node = Node {
        witness: Witness::new(),
        next: Link::new(next),
        versions: AtomicU32::new(0),
        seq: AtomicU64::new(seq),
        meta: Meta(Meta::common(kind, origin) | lengths),
    };
    // SAFETY: there is room for a `Node`, aligned.
    unsafe { at.cast::<Node>().write(node) };
    // The header's padding, if any, is overwritten from here on.
    // SAFETY: `NODE_TAIL` is within the block.
    let mut tail = unsafe { at.add(NODE_TAIL) };
    if !short {
        // SAFETY: there is room for both lengths.
        unsafe { tail.cast::<[u32; 2]>().write_unaligned([key.len() as u32, value.len() as u32]) };
        // SAFETY: as above.
        tail = unsafe { tail.add(2 * LENGTH) };
    }
    // SAFETY: there is room for the key, and a fresh block overlaps nothing.
    unsafe { tail.copy_from_nonoverlapping(NonNull::from(key).cast(), key.len()) };
    // SAFETY: the key ends within the block.
    let tail = unsafe { tail.add(key.len()) };
    // SAFETY: there is room for the value, and a fresh block overlaps nothing.
    unsafe { tail.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len()) };
    // SAFETY: just written.
    let node = unsafe { at.cast::<Node>().as_ref() };
    node.witness.written();
}

/// Writes a further version to fresh memory.
///
/// # Safety
///
/// `at` is aligned to [`VERSION_ALIGN`], has room for [`version_size`] bytes, and is the caller's alone.
#[inline]
pub(super) unsafe fn write_version(at: NonNull<u8>, value: &[u8], version: (Kind, Origin, u64)) {
    let (kind, origin, seq) = version;
    let short = version_is_short(value.len());
    let length = if short { (value.len() as u32) << VERSION_SHIFT } else { LONG };
    let header = Version {
        witness: Witness::new(),
        seq: AtomicU64::new(seq),
        older: AtomicU32::new(0),
        meta: Meta(Meta::common(kind, origin) | length),
    };
    // SAFETY: there is room for a `Version`, aligned.
    unsafe { at.cast::<Version>().write(header) };
    // SAFETY: `VERSION_TAIL` is within the block.
    let mut tail = unsafe { at.add(VERSION_TAIL) };
    if !short {
        // SAFETY: there is room for the length.
        unsafe { tail.cast::<u32>().write_unaligned(value.len() as u32) };
        // SAFETY: as above.
        tail = unsafe { tail.add(LENGTH) };
    }
    // SAFETY: there is room for the value, and a fresh block overlaps nothing.
    unsafe { tail.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len()) };
}

/// Says where an unpublished version will stand, and marks it complete.
///
/// # Safety
///
/// `at` is a version written by [`write_version`] that nobody else has seen.
#[inline]
pub(super) unsafe fn place_version(at: NonNull<u8>, older: u32, is_below: bool) {
    let mut version = at.cast::<Version>();
    // SAFETY: ours alone.
    let version = unsafe { version.as_mut() };
    version.older = AtomicU32::new(older);
    version.meta.0 = version.meta.0 & !BELOW | if is_below { BELOW } else { 0 };
    version.witness.written();
}

/// A published node, to be read. A pointer and not a reference, since the key and value lie behind the header.
#[derive(Clone, Copy)]
pub(super) struct NodeRef<'a> {
    at: NonNull<u8>,
    life: PhantomData<&'a Node>,
}

// SAFETY: what `&Node` and two `&[u8]` allow is all that it gives.
unsafe impl Send for NodeRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for NodeRef<'_> {}

impl<'a> NodeRef<'a> {
    /// # Safety
    ///
    /// `at` is the address of a completely written node that lives for `'a` and that the caller learned of by an
    /// acquiring load or wrote itself.
    #[inline]
    pub(super) unsafe fn new(at: NonNull<u8>) -> Self {
        Self { at, life: PhantomData }
    }

    /// The header; its atomics are all that ever changes in a node.
    #[inline]
    pub(super) fn header(self) -> &'a Node {
        // SAFETY: the promise of `new`.
        unsafe { self.at.cast::<Node>().as_ref() }
    }

    /// Where the key begins, its length, and the value's length.
    #[inline]
    fn parts(self) -> (NonNull<u8>, usize, usize) {
        let header = self.header();
        header.witness.read();
        let meta = header.meta.0;
        // SAFETY: a node is at least this long.
        let tail = unsafe { self.at.add(NODE_TAIL) };
        if meta & LONG == 0 {
            let key_len = meta >> KEY_SHIFT & ((1 << KEY_BITS) - 1);
            return (tail, key_len as usize, (meta >> VALUE_SHIFT) as usize);
        }
        // SAFETY: the lengths of a long node stand here.
        let [key_len, value_len] = unsafe { tail.cast::<[u32; 2]>().read_unaligned() };
        // SAFETY: as above.
        (unsafe { tail.add(2 * LENGTH) }, key_len as usize, value_len as usize)
    }

    /// The same of a long node, apart, so that loops over short ones have it not in their way.
    #[cold]
    #[inline(never)]
    fn long_parts(self) -> (NonNull<u8>, usize, usize) {
        self.parts()
    }

    #[inline]
    pub(super) fn key(self) -> &'a [u8] {
        let (key, len, _) = self.parts();
        // SAFETY: the key was written before publication and never changes.
        unsafe { NonNull::slice_from_raw_parts(key, len).as_ref() }
    }

    /// The first version.
    #[inline]
    pub(super) fn first_version(self) -> VersionRef<'a> {
        self.both(self.parts()).1
    }

    /// The key and the first version at once, for what both begin with; for loops over short nodes.
    #[inline]
    pub(super) fn key_and_first_version(self) -> (&'a [u8], VersionRef<'a>) {
        let is_long = cfg!(target_pointer_width = "64") && self.header().meta.0 & LONG != 0;
        self.both(if is_long { self.long_parts() } else { self.parts() })
    }

    /// The key and the first version, of these [parts](Self::parts).
    #[inline]
    fn both(self, (key, key_len, value_len): (NonNull<u8>, usize, usize)) -> (&'a [u8], VersionRef<'a>) {
        // SAFETY: the value begins where the key ends.
        let value = unsafe { key.add(key_len) };
        let header = self.header();
        let value = NonNull::slice_from_raw_parts(value, value_len);
        // SAFETY: the key was written before publication and never changes.
        let key = unsafe { NonNull::slice_from_raw_parts(key, key_len).as_ref() };
        (key, VersionRef { seq: &header.seq, meta: header.meta, value })
    }

    /// Bytes of the whole node, as its lengths say.
    pub(super) fn size(self) -> usize {
        let (_, key_len, value_len) = self.parts();
        node_size(key_len, value_len)
    }

    /// The node's bytes, for prefetching and for checks.
    #[inline]
    pub(super) fn address(self) -> NonNull<u8> {
        self.at
    }
}

/// A published version, first or further, to be read.
#[derive(Clone, Copy)]
pub(super) struct VersionRef<'a> {
    pub(super) seq: &'a AtomicU64,
    pub(super) meta: Meta,
    value: NonNull<[u8]>,
}

impl<'a> VersionRef<'a> {
    /// A further version.
    ///
    /// # Safety
    ///
    /// `at` is the address of a completely written version that lives for `'a` and that the caller learned of by an
    /// acquiring load or wrote itself.
    #[inline]
    pub(super) unsafe fn new(at: NonNull<u8>) -> (Self, &'a Version) {
        // SAFETY: the contract.
        let header: &'a Version = unsafe { at.cast::<Version>().as_ref() };
        header.witness.read();
        // SAFETY: a version is at least this long.
        let tail = unsafe { at.add(VERSION_TAIL) };
        let value = if header.meta.0 & LONG == 0 {
            NonNull::slice_from_raw_parts(tail, (header.meta.0 >> VERSION_SHIFT) as usize)
        } else {
            // SAFETY: the length of a long version stands here.
            let len = unsafe { tail.cast::<u32>().read_unaligned() };
            // SAFETY: and the value behind it.
            NonNull::slice_from_raw_parts(unsafe { tail.add(LENGTH) }, len as usize)
        };
        (Self { seq: &header.seq, meta: header.meta, value }, header)
    }

    /// Bytes of a further version as a whole, as its length says.
    pub(super) fn size(self) -> usize {
        version_size(self.value.len())
    }

    #[inline]
    pub(super) fn value(self) -> &'a [u8] {
        // SAFETY: the value was written before publication and never changes.
        unsafe { self.value.as_ref() }
    }
}
