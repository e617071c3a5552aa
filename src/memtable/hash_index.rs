//! A hash index over a frozen table, for point reads.
//!
//! A search costs a handful of dependent cache misses; a hash finds its node in two: a slot of the index and the node. The index
//! holds handles only (4 bytes an entry, and what the hash table keeps free), and looks at keys where they lie.

use core::fmt;

use alloc::boxed::Box;
use alloc::sync::Arc;
use hashbrown::HashTable;

use super::{FrozenMemtable, Memtable};
use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::{BigEndian, Bytewise, CommonPrefix, Comparator, Reverse};
use crate::entry::Entry;
use crate::list::{Frozen, Key, Position, Scout, View, Visible};
use crate::snapshot::live;

/// A comparator for which keys are equal exactly if their bytes are.
///
/// # Correctness
///
/// A key that compares equal to one in the table but has other bytes may not be found by a [`HashIndex`].
///
/// ```
/// use memskip::{ByteEquality, Comparator};
///
/// /// Shorter keys first.
/// struct ByLength;
///
/// impl Comparator<[u8]> for ByLength {
///     fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
///         a.len().cmp(&b.len()).then_with(|| a.cmp(b))
///     }
/// }
///
/// impl ByteEquality for ByLength {}
/// ```
pub trait ByteEquality {}

impl ByteEquality for Bytewise {}
impl ByteEquality for BigEndian {}
impl<C: ByteEquality> ByteEquality for Reverse<C> {}
impl<C: ByteEquality> ByteEquality for CommonPrefix<C> {}
impl<C: ByteEquality + ?Sized> ByteEquality for &C {}
impl<C: ByteEquality + ?Sized> ByteEquality for Box<C> {}
impl<C: ByteEquality + ?Sized> ByteEquality for Arc<C> {}

/// Point reads of a frozen table by hash. `F` is a reference to the table, or an `Arc` of it; the rest of the table's reading side
/// is [`table`](Self::table).
///
/// ```
/// use memskip::Memtable;
///
/// let table = Memtable::new();
/// table.put(b"k", b"v")?;
/// let index = table.freeze().build_hash_index();
/// assert_eq!(index.get(b"k"), Some((&b"v"[..], false)));
/// assert_eq!(index.get_live(b"l"), None);
/// # Ok::<(), memskip::InsertError>(())
/// ```
pub struct HashIndex<F> {
    table: F,
    positions: HashTable<Position>,
    /// Whether every key is in `positions`; if not, there was no memory for them.
    is_complete: bool,
    seed: u64,
}

impl<K, C, A, S, const MAX_HEIGHT: usize> Frozen<Memtable<K, C, A, S, MAX_HEIGHT>>
where
    K: Key + ?Sized,
    C: Comparator<K> + ByteEquality,
    A: Arena,
    S: SeqClock,
{
    /// Builds a hash index for point reads. If there is no memory for it, the index searches the table.
    ///
    /// Walks the table once. Measured with 16-byte random keys and 100-byte values, per key, on a busy machine of two cores:
    ///
    /// | keys | build | memory | found: index, search | not found: index, search |
    /// |---|---|---|---|---|
    /// | 100,000 | 60 ns | 6.6 bytes | 90 ns, 730 ns | 30 ns, 740 ns |
    /// | 1,000,000 | 190 ns | 10.5 bytes | 330 ns, 1,720 ns | 60 ns, much as found |
    ///
    /// ```
    /// let table = memskip::Memtable::new();
    /// table.insert(b"k", b"v");
    /// let index = table.freeze().build_hash_index();
    /// assert!(index.contains_key(b"k"));
    /// ```
    pub fn build_hash_index(&self) -> HashIndex<&Self> {
        HashIndex::<&Self>::new(self)
    }

    /// The same, owning a share of the table.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use memskip::Memtable;
    ///
    /// let table = Arc::new(Memtable::new());
    /// table.insert(b"k", b"v");
    /// let index = table.freeze_arc().build_hash_index_arc();
    /// let reader = std::thread::spawn(move || index.contains_key(b"k"));
    /// assert_eq!(reader.join().ok(), Some(true));
    /// ```
    pub fn build_hash_index_arc(self: &Arc<Self>) -> HashIndex<Arc<Self>> {
        HashIndex::<Arc<Self>>::new(Arc::clone(self))
    }
}

/// The reads, for either way to hold the table. (Generic over the way, their lifetimes could not be told.)
macro_rules! reads {
    ([$($lifetime:lifetime)?] $holder:ty) => {
        impl<$($lifetime,)? K, C, A, S, const MAX_HEIGHT: usize> HashIndex<$holder>
        where
            K: Key + ?Sized,
            C: Comparator<K>,
            A: Arena,
            S: SeqClock,
        {
            fn new(table: $holder) -> Self {
                // Keys are hashed differently from index to index, so that no set of keys is bad for all of them.
                let seed = core::ptr::from_ref(&*table).addr() as u64 ^ table.memory_usage() as u64;
                let mut positions = HashTable::new();
                let list = &table.list;
                let hash_at = |at: &Position| hash(list.key_at(*at).as_bytes(), seed);
                let is_complete = positions.try_reserve(table.len() + table.tombstones(), hash_at).is_ok();
                if is_complete {
                    let mut scout = Scout::new();
                    let mut next = list.first_position().map(|first| list.stop(first));
                    while let Some(at) = next {
                        positions.insert_unique(hash_at(&at.position), at.position, hash_at);
                        next = list.next_stop(at, &mut scout);
                    }
                }
                Self { table, positions, is_complete, seed }
            }

            /// The table.
            pub fn table(&self) -> &FrozenMemtable<K, C, A, S, MAX_HEIGHT> {
                &self.table
            }

            #[inline]
            fn find(&self, key: &K) -> Option<(&K, Visible<'_>)> {
                let list = &self.table.list;
                if !self.is_complete {
                    return list.get_with_key(key, View::NEWEST);
                }
                let bytes = key.as_bytes();
                let is_it = |at: &Position| list.key_at(*at).as_bytes() == bytes;
                let at = *self.positions.find(hash(bytes, self.seed), is_it)?;
                list.entry_at(at, View::NEWEST)
            }

            /// The newest version of a key: its value, and whether it is a tombstone.
            #[inline]
            pub fn get(&self, key: &K) -> Option<(&[u8], bool)> {
                self.find(key).map(|(_, visible)| (visible.value, visible.kind.is_tombstone()))
            }

            /// The newest value of a key; tombstones read as absent.
            #[inline]
            pub fn get_live(&self, key: &K) -> Option<&[u8]> {
                live(self.find(key).map(|(_, visible)| visible))
            }

            /// Whether a key is there and its newest version is no tombstone.
            pub fn contains_key(&self, key: &K) -> bool {
                self.get_live(key).is_some()
            }

            /// The newest version of a key, with its number and kind.
            #[inline]
            pub fn entry(&self, key: &K) -> Option<Entry<'_, K>> {
                self.find(key).map(|(key, visible)| Entry::new(key, visible))
            }
        }
    };
}

reads!(['t] &'t FrozenMemtable<K, C, A, S, MAX_HEIGHT>);
reads!([] Arc<FrozenMemtable<K, C, A, S, MAX_HEIGHT>>);

impl<F> HashIndex<F> {
    /// Keys in the index; 0 if there was no memory for it.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether no key is in the index.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Bytes the index takes, beside the table.
    pub fn memory_usage(&self) -> usize {
        self.positions.allocation_size()
    }
}

impl<F> fmt::Debug for HashIndex<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashIndex").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Multiplies word by word and folds the halves of each product, as wyhash and its kin do. Not cryptographic: keys chosen by
/// somebody who knows the seed can be made to collide, and reads then cost as many key comparisons.
#[inline]
fn hash(bytes: &[u8], seed: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    for word in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        state = fold(state ^ u64::from_le_bytes(padded), MULTIPLIER);
    }
    fold(state ^ MULTIPLIER.rotate_left(32), MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use super::hash;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn similar_keys_have_different_hashes() {
        let mut hashes = BTreeSet::new();
        let numbers = (0..10_000u64).map(|i| i.to_be_bytes().to_vec());
        let lengths = (9..100).map(|len| std::vec![0; len]);
        let texts = (0..10_000).map(|i| std::format!("tenant/table/{i:08}").into_bytes());
        let keys: Vec<_> = numbers.chain(lengths).chain(texts).collect();
        // Both the low bits and the high seven, which the table uses, differ about as often as chance has it.
        for key in &keys {
            hashes.insert(hash(key, 1) & 0xffff_ffff);
        }
        assert!(keys.len() - hashes.len() < 5);
        let high: BTreeSet<_> = keys.iter().map(|key| hash(key, 1) >> 57).collect();
        assert_eq!(high.len(), 128);
    }
}
