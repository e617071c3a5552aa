//! When the active table is full.
//!
//! A write must not sum up the figures of all shards. So each slot (a thread's place, see `current`) has a credit: a small
//! part of what was left when it last looked, and it looks again when that is used up. Near the limit credits shrink to
//! nothing and every write looks. Nothing is refused: the write that reaches the limit is in, and the table is rotated behind
//! it. All credits together never exceed a sixteenth of the limit, and by no more than that (and the writes under way) a
//! table can exceed it.

use core::sync::atomic::AtomicUsize;
use std::boxed::Box;

use super::order;

/// Room for the credits of each slot.
pub(super) struct Credits(Box<[Credit]>);

#[derive(Default)]
#[repr(align(128))]
struct Credit {
    bytes: AtomicUsize,
    entries: AtomicUsize,
}

impl Credits {
    pub(super) fn new(slots: usize) -> Self {
        Self((0..slots.max(1)).map(|_| Credit::default()).collect())
    }

    /// Pays for a write that is in. `false` if the credit does not cover it: then look.
    pub(super) fn spend(&self, slot: usize, bytes: usize, entries: usize) -> bool {
        let credit = &self.0[slot % self.0.len()];
        let pay = |from: &AtomicUsize, cost: usize| {
            let left = from.load(order::PLAIN);
            from.store(left.saturating_sub(cost), order::PLAIN);
            left > cost
        };
        // Both are paid, whatever the first says.
        pay(&credit.bytes, bytes) & pay(&credit.entries, entries)
    }

    /// Grants a part of what is left.
    pub(super) fn grant(&self, slot: usize, bytes_left: usize, entries_left: usize) {
        let part = 16 * self.0.len();
        let credit = &self.0[slot % self.0.len()];
        credit.bytes.store(bytes_left / part, order::PLAIN);
        credit.entries.store(entries_left / part, order::PLAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::Credits;

    #[test]
    fn a_credit_is_spent_and_shrinks_near_the_limit() {
        let credits = Credits::new(1);
        assert!(!credits.spend(0, 1, 1), "nothing granted yet");
        credits.grant(0, 1600, 160);
        assert!(credits.spend(0, 10, 1));
        assert!(!credits.spend(0, 1, 9), "entries used up");
        credits.grant(0, 15, 15);
        assert!(!credits.spend(0, 1, 1), "every write looks");
    }
}
