//! Key order, and the digests ("hints") that let a search look at many keys without touching them.

use core::cmp::Ordering;

/// A total order of keys, with optional hints.
///
/// # Correctness
///
/// `compare` must be a total order that does not change while a table lives. For the hints, let `shared` be any number
/// of leading *units* (bytes, say; the comparator decides) that a set of keys has in common according to
/// [`common_prefix`](Self::common_prefix). Among those keys:
///
/// - `compare(a, b)` less or equal implies `hint(a, shared) <= hint(b, shared)`, and the same for `wide_hint` in
///   lexicographic order;
/// - keys that compare equal have equal hints (a case-insensitive order folds before it hints).
///
/// Constants are always correct, only slower; that is what the defaults are. A comparator that breaks these rules gets
/// wrong answers, never undefined behaviour, a panic or an endless loop; `validate` of a table with some hundreds of its keys
/// most often tells.
///
/// A panic in a comparator leaves the table usable; the write that met it is done or undone as a whole (lanes are maintained
/// after a write has taken effect). A comparator must not write to, freeze or apply a batch to the table that is calling it:
/// that would wait for itself.
///
/// ```
/// use core::cmp::Ordering;
/// use memskip::{Comparator, Memtable};
///
/// /// Shorter keys first.
/// #[derive(Clone, Default)]
/// struct LengthFirst;
///
/// impl Comparator<[u8]> for LengthFirst {
///     fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
///         a.len().cmp(&b.len()).then_with(|| a.cmp(b))
///     }
///     fn hint(&self, key: &[u8], _skip: usize) -> usize {
///         key.len()
///     }
/// }
///
/// let table = Memtable::<[u8], _>::builder().comparator(LengthFirst).build();
/// table.insert(b"long", b"");
/// table.insert(b"z", b"");
/// assert_eq!(table.first_key(), Some(&b"z"[..]));
/// ```
///
/// An order that is chosen while the program runs stands behind a pointer:
///
/// ```
/// use std::sync::Arc;
/// use memskip::{Bytewise, Comparator, Memtable, Reverse};
///
/// let orders: [Arc<dyn Comparator<[u8]> + Send + Sync>; 2] = [Arc::new(Bytewise), Arc::new(Reverse(Bytewise))];
/// for (order, first) in orders.into_iter().zip([b"a", b"b"]) {
///     let table = Memtable::<[u8], _>::builder().comparator(order).build();
///     table.insert(b"a", b"");
///     table.insert(b"b", b"");
///     assert_eq!(table.first_key(), Some(&first[..]));
/// }
/// ```
pub trait Comparator<K: ?Sized> {
    /// The order of two keys.
    fn compare(&self, a: &K, b: &K) -> Ordering;

    /// A monotone digest of what follows the first `skip` units of `key`, its most significant part in the high bits.
    #[inline]
    fn hint(&self, key: &K, skip: usize) -> usize {
        let _ = (key, skip);
        0
    }

    /// How many leading units the hints skip in any case, since all keys are promised to share them ([`CommonPrefix`]). A key that
    /// does not (the end of a range, say) is then found by comparisons; without this, hints would be believed.
    #[inline]
    fn assumed_prefix(&self) -> usize {
        0
    }

    /// Two words of the same: the first is `hint`'s (which a search looks at alone, if it tells enough), the second a digest of
    /// what follows the part that `hint` covers.
    #[inline]
    fn wide_hint(&self, key: &K, skip: usize) -> [usize; 2] {
        [self.hint(key, skip), 0]
    }

    /// How many leading units `a`, `b` and *every key between them* share; less than that is always correct. They come in either order,
    /// and one of them need not be in the table.
    #[inline]
    fn common_prefix(&self, a: &K, b: &K) -> usize {
        let _ = (a, b);
        0
    }

    /// Whether [`common_prefix`](Self::common_prefix) is at least `units`; no is always correct. For orders that find that out faster
    /// than how much it is.
    #[inline]
    fn shares_prefix(&self, a: &K, b: &K, units: usize) -> bool {
        self.common_prefix(a, b) >= units
    }
}

/// For what points to a comparator: the same order.
macro_rules! order_behind {
    ($pointer:ty) => {
        impl<K: ?Sized, C: Comparator<K> + ?Sized> Comparator<K> for $pointer {
            #[inline]
            fn compare(&self, a: &K, b: &K) -> Ordering {
                (**self).compare(a, b)
            }
            #[inline]
            fn hint(&self, key: &K, skip: usize) -> usize {
                (**self).hint(key, skip)
            }
            #[inline]
            fn assumed_prefix(&self) -> usize {
                (**self).assumed_prefix()
            }
            #[inline]
            fn wide_hint(&self, key: &K, skip: usize) -> [usize; 2] {
                (**self).wide_hint(key, skip)
            }
            #[inline]
            fn common_prefix(&self, a: &K, b: &K) -> usize {
                (**self).common_prefix(a, b)
            }
            #[inline]
            fn shares_prefix(&self, a: &K, b: &K, units: usize) -> bool {
                (**self).shares_prefix(a, b, units)
            }
        }
    };
}

order_behind!(&C);
#[cfg(feature = "alloc")]
order_behind!(alloc::boxed::Box<C>);
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
order_behind!(alloc::sync::Arc<C>);

/// Bytes in lexicographic order, the shorter of two prefixes first: `memcmp` order. The default.
///
/// ```
/// use memskip::{Bytewise, Comparator};
///
/// assert!(Bytewise.compare(&b"a"[..], &b"ab"[..]).is_lt());
/// assert_eq!(Bytewise.common_prefix("user:17", "user:19"), 6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytewise;

/// One word of `key` from `skip` on, big endian, padded with zeros.
#[inline]
fn word_at(key: &[u8], skip: usize) -> usize {
    const WORD: usize = size_of::<usize>();
    let Some(rest) = key.get(skip..) else { return 0 };
    if let Some(word) = rest.first_chunk::<WORD>() {
        return usize::from_be_bytes(*word);
    }
    // The last word of the key, of which the upper part is not wanted; a key shorter than that byte by byte.
    let word = key.last_chunk::<WORD>().map_or_else(
        || rest.iter().fold(0, |word, &byte| word << 8 | usize::from(byte)),
        |last| usize::from_be_bytes(*last),
    );
    // In two steps, since an empty `rest` would shift by the whole width.
    (word << (8 * (WORD - rest.len()) - 1)) << 1
}

/// How many leading bytes are equal.
#[inline]
fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    let words = shared_words(a, b);
    words + a.iter().zip(b).skip(words).take_while(|(x, y)| x == y).count()
}

/// Whether that is at least `count`, without a look at which byte differs.
#[inline]
fn shares_bytes(a: &[u8], b: &[u8], count: usize) -> bool {
    const WORD: usize = size_of::<usize>();
    let (Some(shared_a), Some(shared_b)) = (a.get(..count), b.get(..count)) else { return false };
    if let (Some(last_a), Some(last_b)) = (shared_a.last_chunk::<WORD>(), shared_b.last_chunk::<WORD>()) {
        // Whole words, and then the last, which may overlap.
        let (words_a, words_b) = (shared_a.chunks_exact(WORD), shared_b.chunks_exact(WORD));
        return words_a.zip(words_b).all(|(x, y)| x == y) && last_a == last_b;
    }
    match (a.first_chunk::<WORD>(), b.first_chunk::<WORD>()) {
        (Some(word_a), Some(word_b)) => {
            let differing = usize::from_be_bytes(*word_a) ^ usize::from_be_bytes(*word_b);
            differing.leading_zeros() as usize >= 8 * count
        }
        _ => shared_a.iter().zip(shared_b).all(|(x, y)| x == y),
    }
}

/// The same a word at a time, as far as whole words go: the first difference is found by its trailing zeros.
#[inline]
fn shared_words(a: &[u8], b: &[u8]) -> usize {
    let word = |bytes: &[u8], at| bytes.get(at..)?.first_chunk().map(|word| usize::from_le_bytes(*word));
    let mut whole = 0;
    // Where words have 32 bits code is dear, and bytes will do.
    while cfg!(target_pointer_width = "64") {
        let (Some(x), Some(y)) = (word(a, whole), word(b, whole)) else { break };
        if x != y {
            return whole + ((x ^ y).trailing_zeros() / u8::BITS) as usize;
        }
        whole += size_of::<usize>();
    }
    whole
}

impl Comparator<[u8]> for Bytewise {
    #[inline]
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }
    #[inline]
    fn hint(&self, key: &[u8], skip: usize) -> usize {
        word_at(key, skip)
    }
    #[inline]
    fn wide_hint(&self, key: &[u8], skip: usize) -> [usize; 2] {
        [word_at(key, skip), word_at(key, skip.saturating_add(size_of::<usize>()))]
    }
    #[inline]
    fn common_prefix(&self, a: &[u8], b: &[u8]) -> usize {
        shared_bytes(a, b)
    }
    #[inline]
    fn shares_prefix(&self, a: &[u8], b: &[u8], units: usize) -> bool {
        shares_bytes(a, b, units)
    }
}

/// For keys that are bytes underneath: the same order, on those bytes.
macro_rules! bytewise_through {
    ($(($($generics:tt)*) $key:ty, $bytes:expr;)*) => {$(
        impl<$($generics)*> Comparator<$key> for Bytewise {
            #[inline]
            fn compare(&self, a: &$key, b: &$key) -> Ordering {
                let bytes: fn(&$key) -> &[u8] = $bytes;
                bytes(a).cmp(bytes(b))
            }
            #[inline]
            fn hint(&self, key: &$key, skip: usize) -> usize {
                let bytes: fn(&$key) -> &[u8] = $bytes;
                Comparator::<[u8]>::hint(self, bytes(key), skip)
            }
            #[inline]
            fn wide_hint(&self, key: &$key, skip: usize) -> [usize; 2] {
                let bytes: fn(&$key) -> &[u8] = $bytes;
                Comparator::<[u8]>::wide_hint(self, bytes(key), skip)
            }
            #[inline]
            fn common_prefix(&self, a: &$key, b: &$key) -> usize {
                let bytes: fn(&$key) -> &[u8] = $bytes;
                shared_bytes(bytes(a), bytes(b))
            }
            #[inline]
            fn shares_prefix(&self, a: &$key, b: &$key, units: usize) -> bool {
                let bytes: fn(&$key) -> &[u8] = $bytes;
                shares_bytes(bytes(a), bytes(b), units)
            }
        }
    )*};
}

bytewise_through! {
    () str, str::as_bytes;
    (const N: usize) [u8; N], |key| key;
}

/// Another order, backwards.
///
/// ```
/// use memskip::{Bytewise, Memtable, Reverse};
///
/// let table = Memtable::<[u8], _>::builder().comparator(Reverse(Bytewise)).build();
/// table.insert(b"a", b"");
/// table.insert(b"b", b"");
/// assert_eq!(table.first_key(), Some(&b"b"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reverse<C>(pub C);

impl<K: ?Sized, C: Comparator<K>> Comparator<K> for Reverse<C> {
    #[inline]
    fn compare(&self, a: &K, b: &K) -> Ordering {
        self.0.compare(b, a)
    }
    #[inline]
    fn hint(&self, key: &K, skip: usize) -> usize {
        !self.0.hint(key, skip)
    }
    #[inline]
    fn assumed_prefix(&self) -> usize {
        self.0.assumed_prefix()
    }
    #[inline]
    fn wide_hint(&self, key: &K, skip: usize) -> [usize; 2] {
        self.0.wide_hint(key, skip).map(|word| !word)
    }
    #[inline]
    fn common_prefix(&self, a: &K, b: &K) -> usize {
        self.0.common_prefix(b, a)
    }
    #[inline]
    fn shares_prefix(&self, a: &K, b: &K, units: usize) -> bool {
        self.0.shares_prefix(b, a, units)
    }
}

/// Arrays of at most 16 bytes as unsigned big-endian integers: compared in registers instead of through `memcmp`.
/// The order is that of [`Bytewise`].
///
/// ```
/// use memskip::{BigEndian, Memtable};
///
/// let table = Memtable::<[u8; 8], _>::builder().comparator(BigEndian).build();
/// table.insert(&300u64.to_be_bytes(), b"later");
/// table.insert(&20u64.to_be_bytes(), b"earlier");
/// assert_eq!(table.first_key(), Some(&20u64.to_be_bytes()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BigEndian;

impl BigEndian {
    #[inline]
    fn integer<const N: usize>(key: &[u8; N]) -> u128 {
        const { assert!(N <= 16, "BigEndian compares arrays of at most 16 bytes") };
        let mut wide = [0; 16];
        wide[16 - N..].copy_from_slice(key);
        u128::from_be_bytes(wide)
    }
}

impl<const N: usize> Comparator<[u8; N]> for BigEndian {
    #[inline]
    fn compare(&self, a: &[u8; N], b: &[u8; N]) -> Ordering {
        Self::integer(a).cmp(&Self::integer(b))
    }
    #[inline]
    fn hint(&self, key: &[u8; N], skip: usize) -> usize {
        word_at(key, skip)
    }
    #[inline]
    fn wide_hint(&self, key: &[u8; N], skip: usize) -> [usize; 2] {
        Bytewise.wide_hint(key, skip)
    }
    #[inline]
    fn common_prefix(&self, a: &[u8; N], b: &[u8; N]) -> usize {
        shared_bytes(a, b)
    }
    #[inline]
    fn shares_prefix(&self, a: &[u8; N], b: &[u8; N], units: usize) -> bool {
        shares_bytes(a, b, units)
    }
}

/// Takes every hint behind a prefix that all keys of the table are known to share: a tenant, a table number.
/// Saves the first few thousand inserts from finding that out block by block.
///
/// # Correctness
///
/// Every key in the table must start with the same `units` units; if another is put in, it and keys beside it may be missed. Keys that
/// are only asked for, as the end of a range, need not: they are slow at worst.
///
/// ```
/// use memskip::{Bytewise, CommonPrefix, Memtable};
///
/// let order = CommonPrefix::new(Bytewise, "tenant/0017/".len());
/// let table = Memtable::<str, _>::builder().comparator(order).build();
/// table.insert("tenant/0017/a", b"1");
/// assert_eq!(table.get_live("tenant/0017/a"), Some(&b"1"[..]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommonPrefix<C> {
    inner: C,
    units: usize,
}

impl<C> CommonPrefix<C> {
    /// The order `inner`, for keys that share their first `units` units (bytes, for [`Bytewise`]).
    pub const fn new(inner: C, units: usize) -> Self {
        Self { inner, units }
    }
}

impl<K: ?Sized, C: Comparator<K>> Comparator<K> for CommonPrefix<C> {
    #[inline]
    fn compare(&self, a: &K, b: &K) -> Ordering {
        self.inner.compare(a, b)
    }
    #[inline]
    fn hint(&self, key: &K, skip: usize) -> usize {
        self.inner.hint(key, skip.max(self.units))
    }
    #[inline]
    fn assumed_prefix(&self) -> usize {
        self.units.max(self.inner.assumed_prefix())
    }
    #[inline]
    fn wide_hint(&self, key: &K, skip: usize) -> [usize; 2] {
        self.inner.wide_hint(key, skip.max(self.units))
    }
    #[inline]
    fn common_prefix(&self, a: &K, b: &K) -> usize {
        self.inner.common_prefix(a, b)
    }
    #[inline]
    fn shares_prefix(&self, a: &K, b: &K, units: usize) -> bool {
        self.inner.shares_prefix(a, b, units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_is_big_endian_and_zero_padded() {
        const WORD: usize = size_of::<usize>();
        let longest: [u8; 20] = core::array::from_fn(|i| i as u8 + 1);
        for (len, skip) in (0..=20).flat_map(|len| (0..24).map(move |skip| (len, skip))) {
            let key = &longest[..len];
            let mut bytes = [0; WORD];
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = key.get(skip + i).copied().unwrap_or(0);
            }
            assert_eq!(word_at(key, skip), usize::from_be_bytes(bytes), "{len} bytes, skip {skip}");
        }
        assert_eq!(word_at(&[0xFF], usize::MAX), 0);
    }

    /// Of all lengths, with a difference at any place or none, to any count: the same as by how much they share.
    #[test]
    fn sharing_is_having_so_many_in_common() {
        let longest: [u8; 20] = core::array::from_fn(|i| i as u8 + 1);
        for (len, place) in (0..=20).flat_map(|len| (0..=len).map(move |place| (len, place))) {
            let mut changed = longest;
            changed.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 0x80);
            for other in (0..=20).map(|len| &changed[..len]) {
                let key = &longest[..len];
                let shared = place.min(len).min(other.len());
                assert_eq!(Bytewise.common_prefix(key, other), shared, "{key:?}, {other:?}");
                for count in 0..24 {
                    assert_eq!(
                        Bytewise.shares_prefix(key, other, count),
                        count <= shared,
                        "{count} of {key:?}, {other:?}"
                    );
                }
            }
        }
        assert!(!Bytewise.shares_prefix(&longest[..], &longest[..], usize::MAX));
    }
}
