//! Versions of one key: their chain, and how each comes by its sequence number.
//!
//! ```text
//! node.versions ──> v9 ──> v7 ─────────> v2 (below) ──> v1 (below)
//!                             │ the node's first version, v4, stands here: before the first that is marked "below",
//!                             │ or at the end if none is
//! ```
//!
//! Invariants:
//!
//! 1. A chain is sorted by sequence number, greatest first; of equal ones the later written comes first.
//! 2. A version is published once, by one compare-and-swap of the link before it, and never removed.
//! 3. Its number goes *pending* → *stamped* once, by a compare-and-swap; whoever meets a pending version stamps it before
//!    using it. A version that is a batch's carries the batch's record instead; when the batch has
//!    counted it (in the figures), it is marked so, and the number is copied into it.
//! 4. Before a version is put on top of another, the other is stamped. So at most the topmost is pending, and those
//!    slipped in below a batch that is still linking.
//! 5. A version of a batch that is still linking stands on top; others written meanwhile go below it. Batches exclude
//!    one another, so there is one such batch at a time.
//! 6. Nothing is put right below a version of a batch that was given up once anything stands on it: whoever comes to stand there
//!    first closes its link. Else a write that had seen the batch linking could slip in late, below one that does not know of it, with
//!    a greater number.
//!
//! *Why a snapshot stands still.* A snapshot moves the clock, then looks at links. A writer links, then reads the clock.
//! If the writer read the clock before it was moved, then (sequentially consistent operations on both sides) its link
//! came before the snapshot's looks: every look finds the version, and its number is at most the snapshot's, whoever
//! stamps it. If it read the clock after, the number is above the snapshot's and no look shows it. A helper that stamps for
//! the writer has seen the link, and fences before it reads the clock, so it counts as the writer.
//!
//! *A single write below a linking batch.* It saw the batch linking after it had begun, so it may count as having happened
//! just before the batch's commit, whenever it is linked. Its number is then cut to the batch's, so that (1) holds. And a
//! batch's floor is raised before, if the write carries a number of its own: either the batch's commit sees the floor, or
//! the writer sees the commit and starts again. (Both are sequentially consistent, store before load on both sides.)

use crate::arena::{Arena, Handle};
use crate::clock::{SeqClock, SeqNo};
use crate::sync::{self, AtomicU32, AtomicU64, order};

use super::batch::{Commit, State};
use super::node::{ChainWord, NodeRef, Origin, Ref, Version, VersionRef};
use super::position::View;
use super::{Key, List};
use crate::comparator::Comparator;

/// The word that holds a version's number, decoded.
///
/// ```text
/// 0 number    10 pending    11 batch: handle of its record, and in bit 32 whether the batch has counted the version
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeqWord {
    Stamped(SeqNo),
    Pending,
    Batch { record: Handle, is_counted: bool },
}

pub(super) const PENDING: u64 = 2 << 62;
const BATCH: u64 = 3 << 62;
/// The greatest number there is room for. Callers may give numbers up to `SeqNo::LIMIT`, half of that; clocks go on above.
pub(super) const GREATEST: SeqNo = SeqNo((1 << 63) - 1);
const COUNTED: u64 = 1 << 32;

impl SeqWord {
    #[inline]
    pub(super) fn decode(word: u64) -> Self {
        match word >> 62 {
            0 | 1 => Self::Stamped(SeqNo(word)),
            2 => Self::Pending,
            _ => Self::Batch { record: Handle(word as u32), is_counted: word & COUNTED != 0 },
        }
    }

    #[inline]
    pub(super) fn load(word: &AtomicU64) -> Self {
        Self::decode(word.load(order::STAMP_READ))
    }

    pub(super) fn batch(record: Handle) -> u64 {
        BATCH | u64::from(record.0)
    }

    pub(super) fn counted_batch(record: Handle) -> u64 {
        Self::batch(record) | COUNTED
    }
}

/// What a version turns out to be when looked at.
#[derive(Clone, Copy)]
pub(super) enum Settled {
    At(SeqNo),
    /// Of a batch that is still linking: invisible, for now.
    Linking(Ref<Commit>),
    /// Of a batch that was given up: invisible for good.
    Dead,
}

/// What stands above a version in its chain, as far as it limits the version's number.
#[derive(Clone, Copy)]
pub(super) enum Above {
    /// Nothing, or nothing that matters.
    Nothing,
    Stamped(SeqNo),
    Linking(Ref<Commit>),
}

/// The number of the version below one that is being stamped.
pub(super) type Below = Option<(SeqNo, Origin)>;

/// A place in a chain where a version can be put: below everything walked over so far.
#[derive(Clone, Copy)]
pub(super) struct ChainSpot<'a> {
    link: &'a AtomicU32,
    /// Whose link that is; none is the node's.
    owner: Option<Ref<Version>>,
    word: ChainWord,
    /// Whether the node's first version has been walked over.
    pub(super) past_first: bool,
}

impl ChainSpot<'_> {
    #[inline]
    pub(super) fn word(&self) -> ChainWord {
        self.word
    }

    /// Publishes `new`, whose own link is `self.word().behind()`, here.
    #[inline]
    pub(super) fn publish(&self, new: Ref<Version>) -> bool {
        let new = self.word.naming(new).0;
        self.link.compare_exchange(self.word.0, new, order::LINK, order::PLAIN).is_ok()
    }

    /// Closes the link: nothing that counts itself as the newest can be put here any more.
    pub(super) fn close(&self) -> bool {
        self.link.compare_exchange(self.word.0, self.word.closed().0, order::LINK, order::PLAIN).is_ok()
    }
}

/// A place that a walk has come to, without a borrow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    owner: Option<Ref<Version>>,
    past_first: bool,
}

/// A walk over a node's versions, newest first. Clones walk on independently.
pub(super) struct Chain<'a, K: ?Sized, C, A, S, const H: usize> {
    list: &'a List<K, C, A, S, H>,
    node: NodeRef<'a>,
    spot: ChainSpot<'a>,
}

impl<K: ?Sized, C, A, S, const H: usize> Clone for Chain<'_, K, C, A, S, H> {
    fn clone(&self) -> Self {
        Self { list: self.list, node: self.node, spot: self.spot }
    }
}

impl<'a, K, C, A, S, const H: usize> Chain<'a, K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    pub(super) fn new(list: &'a List<K, C, A, S, H>, node: NodeRef<'a>) -> Self {
        let link = &node.header().versions;
        let spot = ChainSpot { link, owner: None, word: ChainWord::newest_of(node), past_first: false };
        Self { list, node, spot }
    }

    /// Where a version would stand that is older than all walked over and newer than the rest.
    pub(super) fn spot(&self) -> ChainSpot<'a> {
        self.spot
    }

    /// The walk that goes on behind `mark`.
    pub(super) fn resume(list: &'a List<K, C, A, S, H>, node: NodeRef<'a>, mark: Mark) -> Self {
        let (link, word) = match mark.owner {
            None => (&node.header().versions, ChainWord::newest_of(node)),
            Some(owner) => {
                let header = list.version(owner).1;
                (&header.older, ChainWord::older_than(header))
            }
        };
        Self { list, node, spot: ChainSpot { link, owner: mark.owner, word, past_first: mark.past_first } }
    }

    /// Closes the link of a version of a batch that was given up, which the walk has just passed: who stands on that has to know what
    /// is below (6). Says whether the link is as the walk found it.
    #[cold]
    pub(super) fn bar(&self, passed: VersionRef<'a>) -> bool {
        // A first version has no link: who goes below it takes the very word that whoever stands on it takes.
        let is_first = core::ptr::eq(passed.seq, &raw const self.node.header().seq);
        is_first || self.spot.word.is_closed() || self.spot.close()
    }

    /// Where the walk stands, to go on from there later.
    pub(super) fn mark(&self) -> Mark {
        Mark { owner: self.spot.owner, past_first: self.spot.past_first }
    }

    /// The next older version, as it stands.
    #[inline]
    pub(super) fn next_raw(&mut self) -> Option<VersionRef<'a>> {
        while let Some(further) = self.spot.word.version() {
            let (version, header) = self.list.version(further);
            if !self.spot.past_first && version.meta.is_below() {
                break;
            }
            self.spot.link = &header.older;
            self.spot.owner = Some(further);
            self.spot.word = ChainWord::older_than(header);
            // A walk that was resumed behind the first version may meet what came before it since.
            if version.meta.is_below() == self.spot.past_first {
                return Some(version);
            }
        }
        if self.spot.past_first {
            return None;
        }
        self.spot.past_first = true;
        Some(self.node.first_version())
    }

    /// The next older version and what it is, stamped if it was pending. `above` is what the walk passed last.
    #[inline]
    pub(super) fn next_settled(&mut self, above: Above) -> Option<(VersionRef<'a>, Settled)> {
        let version = self.next_raw()?;
        Some((version, self.settle(version, above)))
    }

    /// The next older version that is visible.
    pub(super) fn next_visible(&mut self, above: &mut Above) -> Option<(VersionRef<'a>, SeqNo)> {
        loop {
            let (version, settled) = self.next_settled(*above)?;
            match settled {
                Settled::At(seq) => {
                    *above = Above::Stamped(seq);
                    return Some((version, seq));
                }
                Settled::Linking(commit) => *above = Above::Linking(commit),
                Settled::Dead => {}
            }
        }
    }

    /// Finds out what a version that this walk has just passed is.
    #[inline]
    fn settle(&self, version: VersionRef<'a>, above: Above) -> Settled {
        match SeqWord::load(version.seq) {
            SeqWord::Stamped(seq) => Settled::At(seq),
            SeqWord::Batch { record, is_counted } => self.list.settle_batch(version, record, is_counted),
            SeqWord::Pending => {
                let below = self.below();
                sync::full_fence();
                Settled::At(self.list.stamp_version(version, below, above))
            }
        }
    }

    /// The first visible version behind this point. It is stamped already, by (4).
    #[cold]
    fn below(&self) -> Below {
        let mut rest = self.clone();
        let (version, seq) = rest.next_visible(&mut Above::Nothing)?;
        Some((seq, version.meta.origin()))
    }
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// The number the clock gives, and that number raised so that a chain stays sorted.
    pub(super) fn draw(&self, below: Below) -> SeqNo {
        let drawn = self.clock.stamp().min(GREATEST);
        let seq = match below {
            None => return drawn,
            // The same number again would hide a version the caller gave a number to.
            Some((seq, Origin::Given)) => drawn.max(SeqNo(seq.0 + 1)).min(GREATEST),
            Some((seq, Origin::Clock)) => drawn.max(seq),
        };
        if seq > drawn {
            // Whoever sees this version, and takes a snapshot then, must find it there.
            self.clock.observe(seq);
        }
        seq
    }

    /// Stamps a pending version that the caller has seen linked, with the store-load barrier behind that; returns the
    /// number it has, from here or elsewhere.
    pub(super) fn stamp_version(&self, version: VersionRef<'_>, below: Below, mut above: Above) -> SeqNo {
        let seq = loop {
            let seq = self.draw(below);
            match above {
                Above::Nothing => break seq,
                Above::Stamped(limit) => break seq.min(limit),
                Above::Linking(commit) => {
                    let commit = self.commit(commit);
                    commit.raise_floor(seq);
                    match commit.state() {
                        // It commits after our clock read, or sees the floor: its number will not be less.
                        State::Linking | State::Dead => break seq,
                        State::Pending | State::Stamped(_) => {
                            above = Above::Stamped(self.stamp_commit(commit));
                        }
                    }
                }
            }
        };
        match version.seq.compare_exchange(PENDING, seq.0, order::STAMP, order::STAMP_READ) {
            Ok(_) => seq,
            Err(word) => match SeqWord::decode(word) {
                SeqWord::Stamped(seq) => seq,
                // A pending version becomes a stamped one and nothing else (3).
                SeqWord::Pending | SeqWord::Batch { .. } => seq,
            },
        }
    }

    /// What a batch's version is; decides the batch's number if that is due.
    #[cold]
    fn settle_batch(&self, version: VersionRef<'_>, record: Handle, is_counted: bool) -> Settled {
        // SAFETY: a batch word holds the handle of its record, written before the version was published.
        let Some(reference) = (unsafe { Ref::from_raw(record.0) }) else { return Settled::Dead };
        let commit = self.commit(reference);
        let seq = match commit.state() {
            State::Linking => return Settled::Linking(reference),
            State::Dead => return Settled::Dead,
            State::Stamped(seq) => seq,
            State::Pending => {
                sync::full_fence();
                self.stamp_commit(commit)
            }
        };
        // Until it is counted the record has to stay: it says that it is not.
        if is_counted {
            let word = SeqWord::counted_batch(record);
            let _ = version.seq.compare_exchange(word, seq.0, order::STAMP, order::PLAIN);
        }
        Settled::At(seq)
    }

    /// The newest visible version of a node.
    #[inline]
    pub(super) fn newest<'a>(&'a self, node: NodeRef<'a>) -> Option<(VersionRef<'a>, SeqNo)> {
        let version = match ChainWord::newest_of(node).version() {
            None => node.first_version(),
            Some(further) => {
                let (version, _) = self.version(further);
                // The first version of the node is newer than one marked so.
                if version.meta.is_below() { node.first_version() } else { version }
            }
        };
        match SeqWord::load(version.seq) {
            SeqWord::Stamped(seq) => Some((version, seq)),
            _ => self.newest_slowly(node),
        }
    }

    #[cold]
    fn newest_slowly<'a>(&'a self, node: NodeRef<'a>) -> Option<(VersionRef<'a>, SeqNo)> {
        Chain::new(self, node).next_visible(&mut Above::Nothing)
    }

    /// The newest version of a node within a view.
    #[inline]
    pub(super) fn visible_in<'a>(&'a self, node: NodeRef<'a>, view: View) -> Option<(VersionRef<'a>, SeqNo)> {
        match plainly_visible(node, view) {
            Some(seq) => Some((node.first_version(), seq)),
            None => self.visible_of_many(node, view),
        }
    }

    /// The same of a node with several versions, or one that is pending or beyond the view.
    #[inline(never)]
    pub(super) fn visible_of_many<'a>(&'a self, node: NodeRef<'a>, view: View) -> Option<(VersionRef<'a>, SeqNo)> {
        let newest = self.newest(node)?;
        if view.includes(newest.1) { Some(newest) } else { self.older_in(node, view) }
    }

    #[cold]
    fn older_in<'a>(&'a self, node: NodeRef<'a>, view: View) -> Option<(VersionRef<'a>, SeqNo)> {
        let mut chain = Chain::new(self, node);
        let mut above = Above::Nothing;
        loop {
            let visible = chain.next_visible(&mut above)?;
            if view.includes(visible.1) {
                return Some(visible);
            }
        }
    }
}

/// The number of a node's first version, if that is its only one, stamped, and within the view: most keys are written once.
#[inline]
pub(super) fn plainly_visible(node: NodeRef<'_>, view: View) -> Option<SeqNo> {
    let is_alone = ChainWord::newest_of(node).version().is_none();
    let word = node.header().seq.load(order::STAMP_READ);
    (is_alone && view.shows(word)).then_some(SeqNo(word))
}
