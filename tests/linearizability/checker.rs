//! Is a history of a table linearizable? After Wing and Gong, "Testing and verifying concurrent objects" (1993), with
//! Lowe's memory of configurations that have led nowhere ("Testing for linearizability", 2017).

use std::collections::{BTreeMap, HashSet};

/// A key and a value of the histories.
pub type Key = u8;
/// Values are told apart, so that a read says which write it saw.
pub type Value = u8;

/// What a read shows: nothing, a tombstone, or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    Nothing,
    Tombstone,
    Value(Value),
}

/// How a write came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Done,
    /// Refused because of what was there.
    Refused,
    /// Refused because the table is sealed.
    Sealed,
}

/// What was done, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Put(Key, Value, Outcome),
    PutTombstone(Key, Outcome),
    Insert(Key, Value, Outcome),
    /// `false` does not say whether the key was not live or the table sealed.
    Delete(Key, bool),
    Get(Key, Seen),
    /// Drawing the snapshot; what it showed later is its outcome.
    Snapshot(Vec<(Key, Seen)>),
    /// From here on writes may be refused. A freeze is two steps of the same interval, since writers that were let in
    /// before go on while later ones are refused already.
    SealBegins,
    /// From here on nothing changes.
    SealEnds,
}

/// A step and when it was called and returned, in ticks of a common clock.
#[derive(Clone, Debug)]
pub struct Event {
    pub called: usize,
    pub returned: usize,
    pub step: Step,
}

/// The sequential table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Model {
    entries: BTreeMap<Key, Seen>,
    seal: Seal,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Seal {
    #[default]
    Open,
    Closing,
    Closed,
}

impl Model {
    fn seen(&self, key: Key) -> Seen {
        self.entries.get(&key).copied().unwrap_or(Seen::Nothing)
    }

    /// The table after a step; none if the step could not have come out as it did.
    fn after(&self, step: &Step) -> Option<Self> {
        let write = |key: Key, seen: Seen, is_allowed: bool, outcome: Outcome| match outcome {
            Outcome::Done => {
                let mut next = self.clone();
                next.entries.insert(key, seen);
                (is_allowed && self.seal != Seal::Closed).then_some(next)
            }
            Outcome::Refused => (!is_allowed).then(|| self.clone()),
            Outcome::Sealed => (self.seal != Seal::Open).then(|| self.clone()),
        };
        let sealed = |from: Seal, to: Seal| (self.seal == from).then(|| Self { seal: to, ..self.clone() });
        match *step {
            Step::Put(key, value, outcome) => write(key, Seen::Value(value), true, outcome),
            Step::PutTombstone(key, outcome) => write(key, Seen::Tombstone, true, outcome),
            Step::Insert(key, value, outcome) => {
                write(key, Seen::Value(value), self.seen(key) == Seen::Nothing, outcome)
            }
            Step::Delete(key, deleted) => {
                let is_live = matches!(self.seen(key), Seen::Value(_));
                if deleted {
                    write(key, Seen::Tombstone, is_live, Outcome::Done)
                } else {
                    (!is_live || self.seal != Seal::Open).then(|| self.clone())
                }
            }
            Step::Get(key, seen) => (self.seen(key) == seen).then(|| self.clone()),
            Step::Snapshot(ref reads) => reads.iter().all(|(key, seen)| self.seen(*key) == *seen).then(|| self.clone()),
            Step::SealBegins => sealed(Seal::Open, Seal::Closing),
            Step::SealEnds => sealed(Seal::Closing, Seal::Closed),
        }
    }
}

/// Whether there is an order of all events that the sequential table could have gone through, in which every event comes
/// after those that had returned before it was called.
pub fn is_linearizable(history: &[Event]) -> bool {
    assert!(history.len() <= 64, "one bit per event");
    extend(history, 0, &Model::default(), &mut HashSet::new())
}

/// Goes on from a table that has gone through the events in `done`.
fn extend(history: &[Event], done: u64, model: &Model, dead_ends: &mut HashSet<(u64, Model)>) -> bool {
    let open = || history.iter().enumerate().filter(|(index, _)| done >> index & 1 == 0);
    // Nothing may be put before an event that had returned before it was called.
    let Some(first_return) = open().map(|(_, event)| event.returned).min() else { return true };
    if dead_ends.contains(&(done, model.clone())) {
        return false;
    }
    let found = open().filter(|(_, event)| event.called <= first_return).any(|(index, event)| {
        model.after(&event.step).is_some_and(|next| extend(history, done | 1 << index, &next, dead_ends))
    });
    if !found {
        dead_ends.insert((done, model.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Done, Refused, Sealed};
    use super::*;

    /// Events as (called, returned, step).
    fn accepts<const N: usize>(history: [(usize, usize, Step); N]) -> bool {
        let history = history.map(|(called, returned, step)| Event { called, returned, step });
        is_linearizable(&history)
    }

    #[test]
    fn accepts_what_can_be_ordered() {
        assert!(accepts([]));
        assert!(accepts([(0, 1, Step::Put(1, 7, Done)), (2, 3, Step::Get(1, Seen::Value(7)))]));
        // Beside each other: the read may come first.
        assert!(accepts([(0, 3, Step::Put(1, 7, Done)), (1, 2, Step::Get(1, Seen::Nothing))]));
        // The order of calls is not that of effects.
        assert!(accepts([
            (0, 5, Step::Insert(1, 7, Refused)),
            (1, 4, Step::Insert(1, 8, Done)),
            (2, 3, Step::Get(1, Seen::Value(8))),
        ]));
        // A writer that was let in goes on while a later one is refused.
        assert!(accepts([
            (0, 9, Step::Put(1, 7, Done)),
            (1, 10, Step::SealBegins),
            (1, 10, Step::SealEnds),
            (2, 3, Step::Put(2, 8, Sealed)),
            (4, 5, Step::Get(1, Seen::Nothing)),
        ]));
    }

    #[test]
    fn rejects_a_lost_write() {
        assert!(!accepts([(0, 1, Step::Put(1, 7, Done)), (2, 3, Step::Get(1, Seen::Nothing))]));
    }

    #[test]
    fn rejects_a_read_that_goes_back() {
        assert!(!accepts([
            (0, 1, Step::Put(1, 7, Done)),
            (2, 7, Step::Put(1, 8, Done)),
            (3, 4, Step::Get(1, Seen::Value(8))),
            (5, 6, Step::Get(1, Seen::Value(7))),
        ]));
    }

    #[test]
    fn rejects_two_winners() {
        assert!(!accepts([(0, 3, Step::Insert(1, 7, Done)), (1, 2, Step::Insert(1, 8, Done))]));
        assert!(!accepts([
            (0, 1, Step::Put(1, 7, Done)),
            (2, 5, Step::Delete(1, true)),
            (3, 4, Step::Delete(1, true)),
        ]));
    }

    #[test]
    fn rejects_a_torn_snapshot() {
        let writes = [(0, 1, Step::Put(1, 7, Done)), (2, 3, Step::Put(2, 8, Done))];
        let shows = |first, second| Step::Snapshot(vec![(1, first), (2, second)]);
        let [one, two] = writes;
        assert!(accepts([one.clone(), two.clone(), (1, 4, shows(Seen::Value(7), Seen::Nothing))]));
        assert!(!accepts([one, two, (1, 4, shows(Seen::Nothing, Seen::Value(8)))]));
    }

    #[test]
    fn rejects_a_write_after_the_freeze() {
        let freeze = [(0, 1, Step::SealBegins), (0, 1, Step::SealEnds)];
        let [begins, ends] = freeze;
        assert!(accepts([begins.clone(), ends.clone(), (2, 3, Step::Put(1, 7, Sealed))]));
        assert!(!accepts([begins, ends, (2, 3, Step::Put(1, 7, Done))]));
        assert!(!accepts([(0, 1, Step::Put(1, 7, Sealed))]));
    }
}
