//! 64-bit words for cores that have none of their own, in critical sections.
//!
//! `portable-atomic` uses critical sections only where there is no compare-and-swap; a core with 32-bit ones (Cortex-M3 and
//! up) would get global spin locks for its 64-bit words, and an interrupt handler that met one would spin for ever. A
//! section lasts a load and a store. Orderings are those of the section: acquiring at its start, releasing at its end.

use core::cell::Cell;
use core::fmt;

use critical_section::Mutex;

use super::Order;

/// As in `core`, as far as the crate needs it.
pub(crate) struct AtomicU64(Mutex<Cell<u64>>);

impl AtomicU64 {
    pub(crate) const fn new(value: u64) -> Self {
        Self(Mutex::new(Cell::new(value)))
    }

    /// Replaces the value by what `change` makes of it, if anything; returns the old one.
    #[inline(never)]
    fn update(&self, change: impl FnOnce(u64) -> Option<u64>) -> u64 {
        critical_section::with(|section| {
            let cell = self.0.borrow(section);
            let old = cell.get();
            if let Some(new) = change(old) {
                cell.set(new);
            }
            old
        })
    }

    pub(crate) fn load(&self, _: Order) -> u64 {
        self.update(|_| None)
    }

    pub(crate) fn store(&self, value: u64, _: Order) {
        self.update(|_| Some(value));
    }

    pub(crate) fn fetch_add(&self, more: u64, _: Order) -> u64 {
        self.update(|old| Some(old.wrapping_add(more)))
    }

    pub(crate) fn fetch_max(&self, least: u64, _: Order) -> u64 {
        self.update(|old| (old < least).then_some(least))
    }

    pub(crate) fn fetch_min(&self, most: u64, _: Order) -> u64 {
        self.update(|old| (old > most).then_some(most))
    }

    pub(crate) fn compare_exchange(&self, expected: u64, new: u64, _: Order, _: Order) -> Result<u64, u64> {
        let old = self.update(|old| (old == expected).then_some(new));
        if old == expected { Ok(old) } else { Err(old) }
    }
}

impl fmt::Debug for AtomicU64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load(super::order::PLAIN).fmt(f)
    }
}
