//! A table that is known to change no more, without a copy and without a second allocation.

use core::fmt;
use core::ops::Deref;

/// A table that is frozen: only its reading side is left. Made by freezing; see
/// [`FrozenMemtable`](crate::FrozenMemtable).
///
/// ```
/// use memskip::{FrozenMemtable, Memtable};
///
/// let table = Memtable::new();
/// table.insert(b"k", b"v");
/// let frozen: &FrozenMemtable = table.freeze();
/// assert_eq!(frozen.len(), 1);
/// assert!(!table.insert(b"l", b"w"));
/// ```
#[repr(transparent)]
pub struct Frozen<T>(T);

impl<T> Frozen<T> {
    /// The caller has frozen `table`.
    pub(crate) fn by_value(table: T) -> Self {
        Self(table)
    }

    /// The caller has frozen `table`.
    pub(crate) fn by_ref(table: &T) -> &Self {
        // SAFETY: `Frozen` is `repr(transparent)` over `T`.
        unsafe { &*core::ptr::from_ref(table).cast::<Self>() }
    }

    /// The caller has frozen `table`.
    #[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
    pub(crate) fn by_arc(table: alloc::sync::Arc<T>) -> alloc::sync::Arc<Self> {
        let raw = alloc::sync::Arc::into_raw(table).cast::<Self>();
        // SAFETY: `Frozen` is `repr(transparent)` over `T`, so size, alignment and drop are the same.
        unsafe { alloc::sync::Arc::from_raw(raw) }
    }

    /// The table inside.
    pub(crate) fn into_table(self) -> T {
        self.0
    }
}

impl<T: Deref> Deref for Frozen<T> {
    type Target = T::Target;

    #[inline]
    fn deref(&self) -> &T::Target {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frozen").field(&self.0).finish()
    }
}
