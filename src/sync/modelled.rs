//! loom's atomics, with orderings that can be weakened at run time: `MEMSKIP_WEAKEN=NAME` makes the ordering of that
//! name what its declaration in `order` says it becomes. So all twins of the models are one build.

use core::sync::atomic::Ordering;
use std::string::String;
use std::sync::OnceLock;

use loom::sync::atomic;

/// Whether this process is to run with the ordering `name` weakened.
pub(super) fn is_weakened(name: &str) -> bool {
    static WEAKENED: OnceLock<Option<String>> = OnceLock::new();
    WEAKENED.get_or_init(|| std::env::var("MEMSKIP_WEAKEN").ok()).as_deref() == Some(name)
}

/// An ordering with a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    name: &'static str,
    ordering: Ordering,
    weakened: Ordering,
}

impl Order {
    pub(super) const fn new(name: &'static str, ordering: Ordering, weakened: Ordering) -> Self {
        Self { name, ordering, weakened }
    }

    fn get(self) -> Ordering {
        if is_weakened(self.name) { self.weakened } else { self.ordering }
    }
}

loom::lazy_static! {
    /// Makes sequentially consistent fences points where loom switches threads, which it does not do at fences: without
    /// this nothing ever happens between a snapshot's step of the clock and the fence behind that. Relaxed, so that it
    /// orders nothing.
    static ref FENCES: atomic::AtomicUsize = atomic::AtomicUsize::new(0);
}

pub(crate) fn fence(order: Order) {
    match order.get() {
        Ordering::Relaxed => {}
        Ordering::SeqCst => {
            FENCES.fetch_add(1, Ordering::Relaxed);
            atomic::fence(Ordering::SeqCst);
        }
        ordering => atomic::fence(ordering),
    }
}

/// What every atomic has.
macro_rules! wrap {
    ($name:ident $(<$param:ident>)?, $value:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name $(<$param>)? (atomic::$name $(<$param>)?);

        #[allow(dead_code, reason = "not every type needs all of it")]
        impl $(<$param>)? $name $(<$param>)? {
            pub(crate) fn new(value: $value) -> Self {
                // Made by the thread that makes the table, before there are others.
                let _: &atomic::AtomicUsize = &FENCES;
                Self(atomic::$name::new(value))
            }
            pub(crate) fn load(&self, order: Order) -> $value {
                self.0.load(order.get())
            }
            pub(crate) fn store(&self, value: $value, order: Order) {
                self.0.store(value, order.get());
            }
            pub(crate) fn compare_exchange(
                &self,
                expected: $value,
                new: $value,
                success: Order,
                failure: Order,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(expected, new, success.get(), failure.get())
            }
            pub(crate) fn compare_exchange_weak(
                &self,
                expected: $value,
                new: $value,
                success: Order,
                failure: Order,
            ) -> Result<$value, $value> {
                self.0.compare_exchange_weak(expected, new, success.get(), failure.get())
            }
            pub(crate) fn fetch_update(
                &self,
                success: Order,
                failure: Order,
                f: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.0.fetch_update(success.get(), failure.get(), f)
            }
        }
    };
}

/// What integers have beyond that.
macro_rules! wrap_integer {
    ($name:ident, $value:ty, $($method:ident),+) => {
        wrap!($name, $value);

        #[allow(dead_code, reason = "not every type needs all of it")]
        impl $name {
            pub(crate) fn swap(&self, value: $value, order: Order) -> $value {
                self.0.swap(value, order.get())
            }
            $(pub(crate) fn $method(&self, operand: $value, order: Order) -> $value {
                self.0.$method(operand, order.get())
            })+
        }
    };
}

wrap!(AtomicBool, bool);

impl AtomicBool {
    /// Stores only what is not there already: loom lets a later store of the lock's owner be ordered before a swap that
    /// changed nothing, so that a lock would stay taken for ever.
    pub(crate) fn swap(&self, value: bool, order: Order) -> bool {
        self.compare_exchange(!value, value, order, order).unwrap_or_else(|there| there)
    }
}

#[cfg(feature = "alloc")]
wrap!(AtomicPtr<T>, *mut T);
wrap_integer!(AtomicU32, u32, fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min);
wrap_integer!(AtomicU64, u64, fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min);
wrap_integer!(AtomicUsize, usize, fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min);
