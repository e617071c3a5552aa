//! What a writer touches on every write, in one place of its own: the bump position, the gate, the figures.

use core::fmt;

use super::gate::{Gate, Gates, Pass};
use super::slab::Slab;
use crate::clock::SeqNo;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, order};

/// The words that writers of one shard share: kept apart from other shards' by alignment, so that writers of
/// different shards do not slow one another down. An [`Arena`](crate::Arena) owns one or more.
///
/// ```
/// let shard = memskip::Shard::new();
/// assert!(format!("{shard:?}").contains("Shard"));
/// ```
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
pub struct Shard {
    pub(crate) gate: Gate,
    pub(super) bump: Bump,
    pub(super) slab: Slab,
    pub(crate) figures: Figures,
    pub(crate) finger: Finger,
}

impl Shard {
    /// A shard in which nothing has been written.
    pub fn new() -> Self {
        Self { gate: Gate::new(), bump: Bump::new(), slab: Slab::new(), figures: Figures::new(), finger: Finger::new() }
    }

    /// Back to nothing written, nothing sealed.
    ///
    /// For a caller that has the whole table exclusively.
    pub(crate) fn clear(&self) {
        self.gate.clear();
        self.slab.clear();
        self.finger.lift();
        self.figures.clear();
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("gate", &self.gate).finish_non_exhaustive()
    }
}

/// Where a region's next bytes come from: the state of the stock arenas.
#[derive(Debug)]
pub(super) struct Bump {
    /// The handle of the next free unit; 0 before the first chunk.
    pub(super) next: AtomicU32,
    /// Units handed out from chunks that are full or an entry's own.
    #[cfg(feature = "alloc")]
    pub(super) retired: AtomicUsize,
}

impl Bump {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicU32::new(0),
            #[cfg(feature = "alloc")]
            retired: AtomicUsize::new(0),
        }
    }
}

/// Where the shard's last new node went: the node, and the blocks of the two lowest lanes it was filed under (raw handles; 0 is
/// unknown). The next one often goes right behind it. Advisory: whoever uses it checks by key, and two writers of one shard may
/// leave the node of one and the blocks of the other. (Finger search: Brown and Tarjan, "Design and Analysis of a Data
/// Structure for Representing Sorted Lists", 1980; for skip lists: Pugh, "A Skip List Cookbook", 1990.)
pub(crate) struct Finger {
    node: AtomicU32,
    blocks: [AtomicU32; 2],
    /// Whether the last node went right behind the one before it. If not, the finger is not worth a comparison.
    is_run: AtomicBool,
    /// How many nodes up to the last wait to be filed, and the one that is before them: see `list::run`.
    waiting: AtomicU32,
    before: AtomicU32,
}

impl Finger {
    fn new() -> Self {
        Self {
            node: AtomicU32::new(0),
            blocks: [AtomicU32::new(0), AtomicU32::new(0)],
            is_run: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            before: AtomicU32::new(0),
        }
    }

    /// The node and blocks, if they are worth a look.
    #[inline]
    pub(crate) fn of_run(&self) -> Option<(u32, [u32; 2])> {
        let is_run = self.is_run.load(order::PLAIN);
        is_run.then(|| (self.node.load(order::FOLLOW), self.blocks()))
    }

    /// Notes that `node` was linked behind `pred`, and filed under `blocks`.
    #[inline]
    pub(crate) fn point(&self, pred: u32, node: u32, blocks: [u32; 2]) {
        let is_run = self.node.load(order::PLAIN) == pred;
        if self.is_run.load(order::PLAIN) != is_run {
            self.is_run.store(is_run, order::PLAIN);
        }
        self.go_on(node, blocks);
    }

    /// The same where it is known that `node` is behind the one before.
    #[inline]
    pub(crate) fn go_on(&self, node: u32, blocks: [u32; 2]) {
        self.node.store(node, order::FILE);
        for (place, block) in self.blocks.iter().zip(blocks) {
            place.store(block, order::FILE);
        }
    }

    /// Whether the last nodes were a run, and the very last is this one.
    #[inline]
    pub(crate) fn is_run_at(&self, node: u32) -> bool {
        self.is_run.load(order::PLAIN) && self.node.load(order::PLAIN) == node
    }

    #[inline]
    pub(crate) fn blocks(&self) -> [u32; 2] {
        let [low, high] = &self.blocks;
        [low.load(order::FOLLOW), high.load(order::FOLLOW)]
    }

    /// How many nodes wait to be filed. For sole writers, as what follows.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(order::PLAIN) as usize
    }

    /// Notes that `node` was linked behind `pred`, and waits like the `waiting` before it.
    #[inline]
    pub(crate) fn wait(&self, pred: u32, node: u32, waiting: usize) {
        if waiting == 0 {
            self.before.store(pred, order::FILE);
        }
        self.node.store(node, order::FILE);
        self.waiting.store(waiting as u32 + 1, order::PLAIN);
    }

    /// The node before those that wait, and the last of them: none wait from now on.
    pub(crate) fn take_waiting(&self) -> (u32, u32) {
        self.waiting.store(0, order::PLAIN);
        (self.before.load(order::FOLLOW), self.node.load(order::PLAIN))
    }

    fn lift(&self) {
        self.waiting.store(0, order::PLAIN);
        self.is_run.store(false, order::PLAIN);
        self.node.store(0, order::PLAIN);
        self.blocks.iter().for_each(|block| block.store(0, order::PLAIN));
    }
}

/// One shard's part of the figures. Single counters may run below zero here (a key written through one shard and
/// deleted through another); only the sums over all shards mean something.
#[derive(Debug)]
pub(crate) struct Figures {
    /// By sole writers, which load and store; see [`Pass`].
    sole: Counts,
    /// By all others, which need a read-modify-write for each.
    joint: Counts,
    /// Refused attempts to write a value.
    failures: AtomicUsize,
    /// Whether a clock has panicked, so that a version has a number that was not noted.
    is_unsure: AtomicBool,
    /// What may still be written here before the thresholds are looked at again, in bytes and entries.
    byte_credit: AtomicUsize,
    entry_credit: AtomicUsize,
}

#[derive(Debug)]
struct Counts {
    live: AtomicUsize,
    tombstones: AtomicUsize,
    versions: AtomicUsize,
    /// Versions that are tombstones, newest or not.
    burials: AtomicUsize,
    key_bytes: AtomicUsize,
    value_bytes: AtomicUsize,
    min_seq: AtomicU64,
    max_seq: AtomicU64,
}

impl Counts {
    fn new() -> Self {
        Self {
            live: AtomicUsize::new(0),
            tombstones: AtomicUsize::new(0),
            versions: AtomicUsize::new(0),
            burials: AtomicUsize::new(0),
            key_bytes: AtomicUsize::new(0),
            value_bytes: AtomicUsize::new(0),
            min_seq: AtomicU64::new(u64::MAX),
            max_seq: AtomicU64::new(0),
        }
    }

    #[inline]
    fn counters(&self) -> [&AtomicUsize; 6] {
        [&self.live, &self.tombstones, &self.versions, &self.burials, &self.key_bytes, &self.value_bytes]
    }

    fn clear(&self) {
        for counter in self.counters() {
            counter.store(0, order::PLAIN);
        }
        self.min_seq.store(u64::MAX, order::PLAIN);
        self.max_seq.store(0, order::PLAIN);
    }

    fn totals(&self) -> Totals {
        let [live, tombstones, versions, burials, key_bytes, value_bytes] =
            self.counters().map(|counter| counter.load(order::PLAIN));
        Totals { live, tombstones, versions, burials, key_bytes, value_bytes, failures: 0 }
    }
}

/// A writer that has passed the gate of its shard.
///
/// With `ALONE` it has passed all gates of the table, and nobody else is or comes inside: what is otherwise decided between writers by a
/// read-modify-write it may load and store.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a, const ALONE: bool = false> {
    pub(crate) shard: &'a Shard,
    /// The shard's number.
    pub(crate) number: usize,
    pass: Pass,
}

impl<'a> Writer<'a> {
    /// The caller as a writer of this shard, unless its gate is closed. To [`leave`](Self::leave) again.
    #[inline]
    pub(crate) fn enter(shard: &'a Shard, number: usize) -> Option<Self> {
        let pass = shard.gate.enter()?;
        Some(Self { shard, number, pass })
    }

    /// Out by the gate again.
    #[inline]
    pub(crate) fn leave(self) {
        self.shard.gate.leave(self.pass);
    }
}

impl<'a> Writer<'a, true> {
    /// The only writer of the table whose gates are held, by one of its shards.
    ///
    /// # Safety
    ///
    /// It and its copies are used for that table, by one thread at a time, and by nobody when the gates are released.
    #[inline]
    pub(crate) unsafe fn alone(_gates: &Gates<'a>, shard: &'a Shard, number: usize) -> Self {
        Self { shard, number, pass: Pass::Sole }
    }
}

impl<'a, const ALONE: bool> Writer<'a, ALONE> {
    /// The same writer, doing as many do: for what is rare, so that there is one code for it. Not to leave by.
    #[inline]
    pub(crate) fn as_one_of_many(self) -> Writer<'a> {
        Writer { shard: self.shard, number: self.number, pass: self.pass }
    }

    /// Whether nobody else is inside the gate of its shard.
    #[inline]
    pub(crate) fn is_sole(&self) -> bool {
        self.pass() == Pass::Sole
    }

    #[inline]
    fn pass(&self) -> Pass {
        if ALONE { Pass::Sole } else { self.pass }
    }

    /// Adds a write's differences; those that are zero cost a compare.
    #[inline]
    pub(crate) fn add(&self, totals: Totals) {
        let counts = match self.pass() {
            Pass::Sole => &self.shard.figures.sole,
            Pass::Joint => &self.shard.figures.joint,
        };
        for (counter, difference) in counts.counters().into_iter().zip(totals.in_order()) {
            if difference == 0 {
                continue;
            }
            match self.pass() {
                // Nobody else stores here (see `Pass`), and the writer before left the gate before we entered it.
                Pass::Sole => counter.store(counter.load(order::PLAIN).wrapping_add(difference), order::PLAIN),
                Pass::Joint => {
                    counter.fetch_add(difference, order::PLAIN);
                }
            }
        }
    }

    /// Widens the range of sequence numbers.
    #[inline]
    pub(crate) fn note_seq(&self, seq: SeqNo) {
        match self.pass() {
            Pass::Sole => {
                let counts = &self.shard.figures.sole;
                if counts.min_seq.load(order::PLAIN) > seq.0 {
                    counts.min_seq.store(seq.0, order::PLAIN);
                }
                if counts.max_seq.load(order::PLAIN) < seq.0 {
                    counts.max_seq.store(seq.0, order::PLAIN);
                }
            }
            Pass::Joint => {
                let counts = &self.shard.figures.joint;
                if counts.min_seq.load(order::PLAIN) > seq.0 {
                    counts.min_seq.fetch_min(seq.0, order::PLAIN);
                }
                if counts.max_seq.load(order::PLAIN) < seq.0 {
                    counts.max_seq.fetch_max(seq.0, order::PLAIN);
                }
            }
        }
    }

    /// To be held while a clock is asked for the number of something that is linked already.
    #[inline]
    pub(crate) fn asking(&self) -> Asking<'a> {
        Asking(&self.shard.figures)
    }
}

/// What one write adds to the figures. Differences wrap: they are sums modulo the word size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) live: usize,
    pub(crate) tombstones: usize,
    pub(crate) versions: usize,
    pub(crate) burials: usize,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) failures: usize,
}

impl Figures {
    fn new() -> Self {
        Self {
            sole: Counts::new(),
            joint: Counts::new(),
            failures: AtomicUsize::new(0),
            is_unsure: AtomicBool::new(false),
            byte_credit: AtomicUsize::new(0),
            entry_credit: AtomicUsize::new(0),
        }
    }

    /// For a caller that has the whole table exclusively.
    fn clear(&self) {
        self.sole.clear();
        self.joint.clear();
        self.failures.store(0, order::PLAIN);
        self.is_unsure.store(false, order::PLAIN);
        self.reclaim_bytes();
        self.reclaim_entries();
    }

    /// Counts refused attempts to write a value, inside the gate or not.
    pub(crate) fn add_failures(&self, failures: usize) {
        self.failures.fetch_add(failures, order::PLAIN);
    }

    /// Whether the range of sequence numbers has to be found by a walk.
    pub(crate) fn is_unsure(&self) -> bool {
        self.is_unsure.load(order::PLAIN)
    }

    /// The range of sequence numbers written here; empty (`min > max`) if there are none.
    pub(crate) fn seq_range(&self) -> (u64, u64) {
        let least = |counts: &Counts| counts.min_seq.load(order::PLAIN);
        let greatest = |counts: &Counts| counts.max_seq.load(order::PLAIN);
        (least(&self.sole).min(least(&self.joint)), greatest(&self.sole).max(greatest(&self.joint)))
    }

    pub(crate) fn totals(&self) -> Totals {
        let refused = Totals { failures: self.failures.load(order::PLAIN), ..Totals::default() };
        self.sole.totals().plus(self.joint.totals()).plus(refused)
    }

    /// Takes from the credit of bytes; `false` when it does not cover them.
    #[inline]
    pub(crate) fn spend_bytes(&self, bytes: usize) -> bool {
        spend(&self.byte_credit, bytes)
    }

    /// Takes from the credit of entries; `false` when it does not cover them.
    #[inline]
    pub(crate) fn spend_entries(&self, entries: usize) -> bool {
        spend(&self.entry_credit, entries)
    }

    pub(crate) fn grant_bytes(&self, bytes: usize) {
        self.byte_credit.fetch_add(bytes, order::PLAIN);
    }

    pub(crate) fn grant_entries(&self, entries: usize) {
        self.entry_credit.fetch_add(entries, order::PLAIN);
    }

    /// The credit of bytes that is not spent.
    pub(crate) fn byte_credit(&self) -> usize {
        self.byte_credit.load(order::PLAIN)
    }

    /// Takes back the bytes that are not spent.
    pub(crate) fn reclaim_bytes(&self) {
        self.byte_credit.store(0, order::PLAIN);
    }

    /// Takes back the entries that are not spent, and says how many.
    pub(crate) fn reclaim_entries(&self) -> usize {
        self.entry_credit.swap(0, order::PLAIN)
    }
}

/// While this lives a clock is being asked; if it is dropped, the clock has panicked.
pub(crate) struct Asking<'a>(&'a Figures);

impl Asking<'_> {
    #[inline]
    pub(crate) fn answered(self) {
        core::mem::forget(self);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.is_unsure.store(true, order::PLAIN);
    }
}

#[inline]
fn spend(credit: &AtomicUsize, cost: usize) -> bool {
    credit.fetch_update(order::PLAIN, order::PLAIN, |left| left.checked_sub(cost)).is_ok()
}

impl Totals {
    #[inline]
    fn in_order(self) -> [usize; 6] {
        [self.live, self.tombstones, self.versions, self.burials, self.key_bytes, self.value_bytes]
    }

    /// With what is below zero brought to zero. The rest only grows, and may have more than `isize::MAX` bytes.
    #[must_use]
    pub(crate) fn at_least_zero(self) -> Self {
        let brought = |sum: usize| if sum > isize::MAX as usize { 0 } else { sum };
        Self { live: brought(self.live), tombstones: brought(self.tombstones), ..self }
    }

    /// Both together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            live: self.live.wrapping_add(other.live),
            tombstones: self.tombstones.wrapping_add(other.tombstones),
            versions: self.versions.wrapping_add(other.versions),
            burials: self.burials.wrapping_add(other.burials),
            key_bytes: self.key_bytes.wrapping_add(other.key_bytes),
            value_bytes: self.value_bytes.wrapping_add(other.value_bytes),
            failures: self.failures.wrapping_add(other.failures),
        }
    }
}
