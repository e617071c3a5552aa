//! The gate of a shard: who is inside, and who may come in.

use core::fmt;

use super::Shard;
use crate::sync::{AtomicU32, order};

/// Lets writers in until it is closed, and knows whether any are inside. One that finds no sole writer inside is that itself, and goes out
/// again with a plain store; the others are counted.
///
/// ```text
/// sole   FREE ──enter──> TAKEN ──leave──> FREE     FREE ──close──> CLOSED, for good
/// joint  count + 1 .. count - 1                    SEALED, for good: before anything is closed
///        0 ──hold──> HELD ──release──> 0           between taking and leaving `sole`
/// ```
///
/// *Closing against entering.* Each word decides by itself, by the order of its modifications. `sole`: either the writer takes it first,
/// and it is not closed before the writer has left, or it is closed first, and the writer finds it so. `joint`: either the writer is
/// counted first, and whoever waits for an empty gate sees the count, or `SEALED` comes first, and the writer turns back. Both being
/// final, they need not be looked at in one moment. `sole` itself has no mark for "sealed": while it is taken only its writer changes it,
/// which is what the plain store needs. So a writer that has not seen `SEALED` yet may take it once more before it is closed.
///
/// *Holding against entering.* Who wants to be alone takes `sole` first, so that whoever comes now is counted. Either one was
/// counted before `HELD`, which then does not find 0 and is given up, or comes after it, and turns back. Nobody is turned back before
/// it is certain that this gate is held. A freeze seals a held gate, and cannot close it before it is released.
pub(crate) struct Gate {
    sole: AtomicU32,
    joint: AtomicU32,
}

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const CLOSED: u32 = 2;
const SEALED: u32 = 1 << 31;
const HELD: u32 = 1 << 30;

/// What a writer is inside a gate.
///
/// There is one sole writer at a time. It may be joined by others, which know that they are not it; the next sole writer comes in when
/// it has left, and sees what it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Sole,
    Joint,
}

/// Whether sole writers are told apart. Where addresses have 32 bits, half a kilobyte of code counts for more.
const SOLE: bool = cfg!(target_pointer_width = "64");

impl Gate {
    pub(super) fn new() -> Self {
        Self { sole: AtomicU32::new(FREE), joint: AtomicU32::new(0) }
    }

    /// Opens it again, for a caller that has the whole table exclusively.
    pub(super) fn clear(&self) {
        self.sole.store(FREE, order::PLAIN);
        self.joint.store(0, order::PLAIN);
    }

    /// Lets the caller in, unless the gate is sealed or held.
    ///
    /// Who can see that does not knock: callers that keep trying would be counted for a moment each, and whoever waits for an empty
    /// gate may meet one of them every time. It is the exchange, or the addition, that decides.
    #[inline]
    pub(super) fn enter(&self) -> Option<Pass> {
        if self.joint.load(order::PLAIN) & (SEALED | HELD) != 0 {
            return None;
        }
        if SOLE && self.sole.compare_exchange(FREE, TAKEN, order::GATE_ENTER, order::PLAIN).is_ok() {
            return Some(Pass::Sole);
        }
        if self.joint.fetch_add(1, order::GATE_ENTER) & (SEALED | HELD) == 0 {
            return Some(Pass::Joint);
        }
        self.leave(Pass::Joint);
        None
    }

    #[inline]
    pub(super) fn leave(&self, pass: Pass) {
        match pass {
            Pass::Sole => self.sole.store(FREE, order::GATE_LEAVE),
            Pass::Joint => {
                self.joint.fetch_sub(1, order::GATE_LEAVE);
            }
        }
    }

    /// Whether somebody is inside, or nobody is let in.
    fn is_visited(&self) -> bool {
        self.joint.load(order::PLAIN) != 0 || self.sole.load(order::PLAIN) != FREE
    }

    /// Lets the caller in alone, unless somebody is inside or it is sealed: until it is released all others are turned away.
    fn hold(&self) -> bool {
        if SOLE && self.sole.compare_exchange(FREE, TAKEN, order::GATE_ENTER, order::PLAIN).is_err() {
            return false;
        }
        let is_held = self.joint.compare_exchange(0, HELD, order::GATE_ENTER, order::PLAIN).is_ok();
        if SOLE && !is_held {
            self.leave(Pass::Sole);
        }
        is_held
    }

    /// For whoever holds it.
    fn release(&self) {
        self.joint.fetch_and(!HELD, order::GATE_LEAVE);
        if SOLE {
            self.leave(Pass::Sole);
        }
    }

    pub(crate) fn seal(&self) {
        self.joint.fetch_or(SEALED, order::GATE_WAIT);
    }

    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.joint.load(order::GATE_LOOK) & SEALED != 0
    }

    /// For who was turned away: whether that is for good. Whoever found it closed may not see yet that it was sealed before.
    pub(crate) fn stays_shut(&self) -> bool {
        self.is_sealed() || self.sole.load(order::PLAIN) == CLOSED
    }

    /// Of a sealed gate: whether everybody who was let in has left; then nobody is let in any more. Writers that knocked just before it
    /// was sealed may show up here for a moment, once each; they change nothing.
    pub(crate) fn close(&self) -> bool {
        let close_sole = || self.sole.compare_exchange(FREE, CLOSED, order::GATE_LOOK, order::GATE_LOOK);
        let is_sole_closed = !SOLE || matches!(close_sole(), Ok(_) | Err(CLOSED));
        is_sole_closed && self.joint.load(order::GATE_LOOK) & !SEALED == 0
    }
}

/// All gates of a table, held: released on drop.
pub(crate) struct Gates<'a>(&'a [Shard]);

impl<'a> Gates<'a> {
    /// Holds them all, or none if somebody is inside one or they are sealed. A writer that comes in that very moment may be turned away
    /// even if this comes to nothing.
    pub(crate) fn hold(shards: &'a [Shard]) -> Option<Self> {
        // First a look, so that those moments are few.
        let is_visited = shards.iter().any(|shard| shard.gate.is_visited());
        let mut gates = Self(&[]);
        (!is_visited && gates.hold_more(shards)).then_some(gates)
    }

    /// Holds these, up to the first that cannot be held.
    fn hold_more(&mut self, shards: &'a [Shard]) -> bool {
        for (index, shard) in shards.iter().enumerate() {
            if !shard.gate.hold() {
                return false;
            }
            self.0 = shards.get(..=index).unwrap_or_default();
        }
        true
    }
}

impl Drop for Gates<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|shard| shard.gate.release());
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("sealed", &self.is_sealed()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_empties() {
        let gate = Gate::new();
        let first = if SOLE { Pass::Sole } else { Pass::Joint };
        assert_eq!(gate.enter(), Some(first));
        assert_eq!(gate.enter(), Some(Pass::Joint));
        gate.leave(first);
        assert_eq!(gate.enter(), Some(first));
        gate.seal();
        assert_eq!(gate.enter(), None);
        assert!(gate.is_sealed());
        gate.leave(Pass::Joint);
        assert!(!gate.close());
        assert_eq!(gate.enter(), None);
        gate.leave(first);
        assert!(gate.close() && gate.close());
        assert_eq!(gate.enter(), None);
        gate.clear();
        assert_eq!(gate.enter(), Some(first));
    }

    /// Whoever has not seen the seal, as the exchange does not, may come in as the sole writer until the gate is closed, and not then.
    #[test]
    fn who_has_not_seen_the_seal_is_waited_for() {
        let gate = Gate::new();
        if !SOLE {
            return;
        }
        assert_eq!(gate.enter(), Some(Pass::Sole));
        assert_eq!(gate.enter(), Some(Pass::Joint));
        gate.seal();
        gate.leave(Pass::Sole);
        let come_in = || gate.sole.compare_exchange(FREE, TAKEN, order::GATE_ENTER, order::PLAIN).is_ok();
        assert!(come_in() && !gate.close());
        gate.leave(Pass::Sole);
        assert!(!gate.close(), "one has joined");
        assert!(!come_in());
        gate.leave(Pass::Joint);
        assert!(gate.close());
    }

    /// Held, a gate lets nobody in; with anybody inside it cannot be held, and the attempt leaves no trace.
    #[test]
    fn a_gate_is_held_by_one_alone() {
        let gate = Gate::new();
        let first = if SOLE { Pass::Sole } else { Pass::Joint };
        let enter_and_leave = || gate.enter().map(|pass| gate.leave(pass)).is_some();
        for inside in [first, Pass::Joint] {
            assert_eq!(gate.enter(), Some(first));
            if inside != first {
                assert_eq!(gate.enter(), Some(inside));
                gate.leave(first);
            }
            assert!(!gate.hold() && gate.is_visited() && enter_and_leave());
            gate.leave(inside);
            assert!(!gate.is_visited());
        }
        assert!(gate.hold() && !gate.hold() && !enter_and_leave() && !gate.stays_shut());
        // Nor does who has not seen it.
        assert!(!SOLE || gate.sole.load(order::PLAIN) == TAKEN);
        gate.release();
        assert!(enter_and_leave() && gate.hold());
        gate.seal();
        assert!(!gate.close() && gate.stays_shut());
        gate.release();
        assert!(gate.close() && !gate.hold() && !enter_and_leave());
    }

    #[test]
    fn all_gates_are_held_or_none() {
        let shards = [Shard::new(), Shard::new(), Shard::new()];
        let are_open = || shards.iter().all(|shard| shard.gate.enter().map(|pass| shard.gate.leave(pass)).is_some());
        let gates = Gates::hold(&shards);
        assert!(gates.is_some() && Gates::hold(&shards).is_none());
        assert!(shards.iter().all(|shard| shard.gate.enter().is_none()));
        drop(gates);
        assert!(are_open());
        // Whoever comes in behind the look.
        for (index, shard) in shards.iter().enumerate() {
            let inside = shard.gate.enter();
            let mut gates = Gates(&[]);
            assert!(!gates.hold_more(&shards) && gates.0.len() == index);
            drop(gates);
            shard.gate.leave(inside.unwrap_or(Pass::Joint));
            assert!(are_open());
        }
    }
}
