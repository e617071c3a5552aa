//! Ascending loads: new nodes at the end of the list wait, to be filed in the lowest lane a block at a time.
//!
//! ```text
//! lane 0   ... ──> [ n0 ]                                      the last block: nothing in it but what it begins with
//! base     ... ─> n0 ─> n1 ─> ... ─> n12 ─> n13                n13 comes: n1 to n12 fill the block, and n13 begins the next
//! ```
//!
//! One by one, each would take the block, find its place, be hinted by what little the block's keys share while its range is open,
//! and be hinted anew when the next block closes it. So it is done once, when all is known; and at the end of a table, where an
//! ascending load writes, searches walk over the few nodes that wait.
//!
//! *What holds.* (1) Nodes that wait are linked: no answer depends on their being filed. (2) They were linked by one shard's sole writers,
//! each right behind the one before and at the end of the list, the first behind a node that is the only entry of the lowest lane's last
//! block, as far as the shard knew then. (3) There are fewer than [`RUN`]. (4) The words that say so are read and written by sole writers
//! of the shard alone, between whom the gate brings what one wrote to the next; a reset clears them.
//!
//! *Races.* Somebody else links a node among those that wait or behind them, before they are filed: then links lead from the first to
//! the last by way of it, or do not lead there in as many steps; whichever, they are filed one by one, each where keys and handles
//! say. After: it finds them in the lane as any others. Somebody else files such a node before: the block is not as it was, and again
//! each goes its own way. After: the same as ever. Somebody splits the block: it has a fence then. Whoever files waits for
//! nobody and drops what cannot be done; then the nodes stay out of the lanes, until a long walk mends that.

use crate::arena::{Arena, Writer};
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::block::LowBlock;
use super::lane::{Recorder, Trail};
use super::node::{Node, Ref, raw};
use super::search::Gap;
use super::{Key, LaneDensity, List};

/// Nodes that are filed together: as many as fill a block that has its first, and one to begin the next.
const RUN: usize = LowBlock::ROOM + 1;

/// Whether nodes wait. Where addresses have 32 bits, half a kilobyte of code counts for more.
const WAITS: bool = cfg!(target_pointer_width = "64");

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Whether a new node goes on an ascending load: then it waits, or is filed with all that wait. If not, what waits is filed, and it is
    /// still to be.
    #[expect(clippy::inline_always, reason = "as a call it is a twentieth of an ascending insert")]
    #[inline(always)]
    pub(super) fn file_in_run<const ALONE: bool>(
        &self,
        writer: Writer<'_, ALONE>,
        node: Ref<Node>,
        gap: &Gap,
        trail: &Trail<H>,
    ) -> bool {
        if H == 1 || !WAITS || !writer.is_sole() {
            return false;
        }
        let finger = &writer.shard.finger;
        let waiting = finger.waiting();
        let goes_on = gap.succ.is_none()
            && gap.steps == 0
            && finger.is_run_at(raw(gap.pred))
            && (waiting > 0 || self.may_wait(trail));
        if goes_on && waiting < RUN - 1 {
            finger.wait(raw(gap.pred), node.handle().0, waiting);
        } else if waiting > 0 {
            self.file_waiting(writer.as_one_of_many(), goes_on.then_some(node));
        }
        goes_on
    }

    /// Whether nodes that go on behind the one filed last may wait: if that is the first of a block.
    #[inline]
    fn may_wait(&self, trail: &Trail<H>) -> bool {
        let block = trail.block(0);
        block != 0 && self.density == LaneDensity::Every && self.block_header(block).shape().count == 0
    }

    /// Files the nodes that wait, and behind them, if it goes on so, `last`.
    #[inline(never)]
    fn file_waiting(&self, writer: Writer<'_>, last: Option<Ref<Node>>) {
        let finger = &writer.shard.finger;
        let (before, newest) = finger.take_waiting();
        // SAFETY: the handle of a linked node (2), stored with release and loaded with acquire.
        let Some(before) = (unsafe { Ref::from_raw(before) }) else { return };
        let mut trail = Trail::<H>::new();
        trail.pass_lowest(finger.blocks());
        let fill = |last| self.fill(writer.number, trail.block(0), (before, last));
        if let Some(split) = last.filter(|_| trail.block(0) != 0 && !self.refuses_lanes()).and_then(fill) {
            trail.passed(0, split.right);
            self.tell_above(writer, 0, split, &mut trail);
        } else {
            let newest = last.map_or(newest, |last| last.handle().0);
            let mut at = before;
            for _ in 0..2 * RUN {
                let Some(node) = self.next_link(Some(at)).follow() else { break };
                self.file_later(writer, node, Some((Some(at), None)), &mut trail);
                if node.handle().0 == newest {
                    break;
                }
                at = node;
            }
        }
        if let Some(last) = last {
            finger.go_on(last.handle().0, trail.lowest());
        }
    }
}
