//! What may be a key: anything that is a run of bytes underneath.

#[cfg(feature = "alloc")]
use core::marker::PhantomData;

/// A key that is stored as bytes and read back in place.
///
/// Keys are handed out by reference on any thread, hence `Send + Sync`.
///
/// Implement it for a type of your own that wraps bytes, to give it an order of its own through
/// [`Comparator`](crate::Comparator) and to keep it from being mixed up with other bytes.
///
/// ```
/// use memskip::{Bytewise, Comparator, Key, Memtable};
///
/// /// A path, compared component by component.
/// #[repr(transparent)]
/// struct Path([u8]);
///
/// impl Path {
///     fn new(bytes: &[u8]) -> &Self {
///         // SAFETY: `Path` is `repr(transparent)` over `[u8]`, with no rule of its own.
///         unsafe { &*(core::ptr::from_ref(bytes) as *const Self) }
///     }
/// }
///
/// impl Key for Path {
///     fn as_bytes(&self) -> &[u8] {
///         &self.0
///     }
///     unsafe fn from_bytes(bytes: &[u8]) -> &Self {
///         Self::new(bytes)
///     }
/// }
///
/// #[derive(Clone, Default)]
/// struct ByComponent;
///
/// impl Comparator<Path> for ByComponent {
///     fn compare(&self, a: &Path, b: &Path) -> core::cmp::Ordering {
///         a.0.split(|b| *b == b'/').cmp(b.0.split(|b| *b == b'/'))
///     }
/// }
///
/// let table = Memtable::<Path, _>::builder().comparator(ByComponent).build();
/// table.insert(Path::new(b"a.b/x"), b"");
/// table.insert(Path::new(b"a/x"), b"");
/// assert_eq!(table.first_key().map(|k| k.as_bytes()), Some(&b"a/x"[..]));
/// ```
pub trait Key: Send + Sync {
    /// The bytes that are stored.
    fn as_bytes(&self) -> &[u8];

    /// The key that these bytes are.
    ///
    /// # Safety
    ///
    /// `bytes` has the content and length that [`as_bytes`](Self::as_bytes) of a key of this type returned, at any
    /// address: an implementation may rely on the content, not on alignment.
    unsafe fn from_bytes(bytes: &[u8]) -> &Self;
}

/// A key from bytes that the crate has kept for it.
///
/// Callers pass bytes that came from [`Key::as_bytes`] of a key of this type; the marker says which.
#[cfg(feature = "alloc")]
pub(crate) fn key_from<K: Key + ?Sized>(bytes: &[u8], _: PhantomData<fn(&K) -> &K>) -> &K {
    // SAFETY: `WriteBatch<K>` and `OwnedRange` keep bytes of keys of this type only.
    unsafe { K::from_bytes(bytes) }
}

impl Key for [u8] {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self
    }
    #[inline]
    unsafe fn from_bytes(bytes: &[u8]) -> &Self {
        bytes
    }
}

impl Key for str {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self.as_bytes()
    }
    #[inline]
    unsafe fn from_bytes(bytes: &[u8]) -> &Self {
        // SAFETY: by the contract these are the bytes of a `str`.
        unsafe { core::str::from_utf8_unchecked(bytes) }
    }
}

impl<const N: usize> Key for [u8; N] {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self
    }
    #[inline]
    unsafe fn from_bytes(bytes: &[u8]) -> &Self {
        debug_assert_eq!(bytes.len(), N);
        // SAFETY: by the contract `bytes` is N long; an array of bytes has no alignment.
        unsafe { &*bytes.as_ptr().cast::<[u8; N]>() }
    }
}
