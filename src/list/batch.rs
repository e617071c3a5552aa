//! Atomic batches: versions that share one commit record, and become visible together when it does.
//!
//! ```text
//! record:   linking ──> pending (all linked) ──> stamped
//!               └─────> dead (the comparator panicked half-way)
//! ```
//!
//! 1. Memory for the record and for every version is taken first; if it runs out nothing has been linked.
//! 2. Versions are linked with the record's handle for a number. While the record is linking they are invisible.
//! 3. The record goes pending; from here on whoever meets one of the versions stamps the record.
//! 4. Each version's link is closed and its effect counted; the record is stamped, if nobody has done that, and its number
//!    copied into the versions.
//!
//! *Told both ways.* A snapshot S and a batch: if the batch read the clock before S moved it, all its versions were linked
//! before, and the record pending, so every look of S finds a number of at most S: all of it. If it read it after, the
//! number is greater: none of it. A helper decides the same number for all, by one compare-and-swap on the record.
//!
//! Batches exclude one another by a lock that readers and single writers never take.

use core::fmt;

use crate::arena::{Arena, Handle, UNIT, Writer};
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::error::{InsertError, OutOfMemory};
use crate::sync::{self, AtomicBool, AtomicU64, Witness, order};

use super::lane::{Lead, Trail};
use super::multi::{GROUP, Leads, lead_of};
use super::node::{
    Kind, Node, NodeRef, Origin, Ref, VERSION_ALIGN, Version, VersionRef, node_size, raw, version_size, write_node,
    write_version,
};
use super::search::Found;
use super::version::{Above, Chain, GREATEST, PENDING, SeqWord, Settled};
use super::write::{Effect, Reserved, seen_state};
use super::{Key, List};

/// A batch's record: what all its versions have for a number, until that is decided.
#[repr(C)]
pub(super) struct Commit {
    witness: Witness,
    word: AtomicU64,
    /// The least number the batch may get, so that chains stay sorted.
    floor: AtomicU64,
}

const LINKING: u64 = 3 << 62;
const DEAD: u64 = (3 << 62) + 1;

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Linking,
    Pending,
    Stamped(SeqNo),
    Dead,
}

impl Commit {
    fn new() -> Self {
        Self { witness: Witness::new(), word: AtomicU64::new(LINKING), floor: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        self.witness.read();
        match self.word.load(order::COMMIT) {
            LINKING => State::Linking,
            DEAD => State::Dead,
            PENDING => State::Pending,
            number => State::Stamped(SeqNo(number)),
        }
    }

    /// Makes the batch's number at least `seq`, if it is not decided yet; the caller looks at the state afterwards.
    pub(super) fn raise_floor(&self, seq: SeqNo) {
        self.floor.fetch_max(seq.0, order::COMMIT);
    }
}

/// Keeps batches apart.
pub(super) struct BatchLock(AtomicBool);

impl BatchLock {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn take(&self) -> BatchGuard<'_> {
        while self.0.swap(true, order::BATCH_LOCK) {
            sync::pause();
        }
        BatchGuard(self)
    }
}

impl fmt::Debug for BatchLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BatchLock")
    }
}

struct BatchGuard<'a>(&'a BatchLock);

impl Drop for BatchGuard<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, order::BATCH_UNLOCK);
    }
}

/// One write of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchWrite<'b, K: ?Sized> {
    pub(crate) key: &'b K,
    pub(crate) value: &'b [u8],
    pub(crate) kind: Kind,
}

const _: () = assert!(align_of::<Commit>() <= VERSION_ALIGN);

/// What the record remembers of one write: first the memory reserved for it, then the node it went to and, if it is not
/// that node's first version, the version.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    handle: u32,
    node: u32,
}

/// What was found out about a write's key when memory was reserved for it: its node, raw, 0 if there was none, and where it belongs.
#[derive(Clone, Copy)]
#[repr(C)]
struct Clue {
    node: u32,
    lead: Lead,
}

const _: () = assert!(size_of::<Clue>() <= size_of::<Version>() && align_of::<Clue>() <= VERSION_ALIGN);

/// The record and its slots in the arena, during `apply`.
struct Ledger {
    record: Ref<Commit>,
    slots: Handle,
    count: usize,
}

/// Gives a batch up unless it got through: its versions stay, invisible for good.
struct GiveUp<'a>(&'a Commit);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        // Fails if the batch has gone on to pending.
        let _ = self.0.word.compare_exchange(LINKING, DEAD, order::COMMIT, order::PLAIN);
    }
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// The record that a batch word names.
    pub(super) fn commit(&self, record: Ref<Commit>) -> &Commit {
        // SAFETY: a reference to a record is one to a completely written record.
        unsafe { self.object(record.handle()) }
    }

    /// Decides a pending batch's number, here or elsewhere; returns it.
    ///
    /// The caller has seen the record pending, with the store-load barrier behind that.
    pub(super) fn stamp_commit(&self, commit: &Commit) -> SeqNo {
        let drawn = self.clock.stamp().min(GREATEST);
        let seq = SeqNo(commit.floor.load(order::COMMIT)).max(drawn).min(GREATEST);
        if seq > drawn {
            self.clock.observe(seq);
        }
        match commit.word.compare_exchange(PENDING, seq.0, order::STAMP, order::STAMP_READ) {
            Ok(_) => seq,
            Err(word) => match SeqWord::decode(word) {
                SeqWord::Stamped(seq) => seq,
                // A pending record becomes a stamped one and nothing else.
                SeqWord::Pending | SeqWord::Batch { .. } => seq,
            },
        }
    }

    /// Applies all writes or none. `count` is their number; the figures are told what each has changed, and their number. `linked` is
    /// called when the batch can no longer fail.
    pub(crate) fn apply<'b>(
        &self,
        writer: Writer<'_>,
        batch: impl Iterator<Item = BatchWrite<'b, K>> + Clone,
        count: usize,
        linked: impl FnOnce(),
    ) -> Result<SeqNo, InsertError>
    where
        K: 'b,
    {
        let guard = self.batches.take();
        let ledger = self.reserve(writer, batch.clone(), count)?;
        let commit = self.commit(ledger.record);
        let give_up = GiveUp(commit);
        for (index, write) in batch.enumerate().take(count) {
            self.link_one(writer, &ledger, index, &write)?;
        }
        commit.word.store(PENDING, order::COMMIT);
        drop(give_up);
        linked();
        // Counted before the clock is asked, which may panic.
        for index in 0..count {
            writer.add(self.count_one(&ledger, index).totals());
        }
        let asking = writer.asking();
        sync::link_then_clock(S::ORDERED);
        let seq = self.stamp_commit(commit);
        asking.answered();
        writer.note_seq(seq);
        for index in 0..count {
            self.copy_number(&ledger, index, seq);
        }
        drop(guard);
        Ok(seq)
    }

    /// Takes all the memory that the batch needs.
    fn reserve<'b>(
        &self,
        writer: Writer<'_>,
        batch: impl Iterator<Item = BatchWrite<'b, K>> + Clone,
        count: usize,
    ) -> Result<Ledger, InsertError>
    where
        K: 'b,
    {
        let bytes = count.checked_mul(size_of::<Slot>()).ok_or(InsertError::OutOfMemory)?;
        // Without gaps between, so that if one fails all before it can be given back.
        let take = |size: usize| {
            let size = size.checked_next_multiple_of(VERSION_ALIGN).ok_or(OutOfMemory)?;
            Reserved::take(self, writer, size, VERSION_ALIGN)
        };
        let record = take(size_of::<Commit>())?;
        let slots = take(bytes.max(UNIT))?;
        let ledger_slots = slots.handle();
        for index in 0..count {
            self.set_slot(ledger_slots, index, Slot { handle: 0, node: 0 });
        }
        // Given back from the last to the first if one fails.
        let mut taken = 0;
        let mut failed = false;
        let mut ahead = self.leads_pay(writer.shard).then(|| batch.clone().map(|write| write.key));
        let mut leads = None;
        for write in batch.take(count) {
            if taken % GROUP == 0 {
                leads = ahead.as_mut().and_then(|keys| self.leads_of(keys));
            }
            let lead = lead_of(leads.as_ref(), taken % GROUP);
            let mut trail = Trail::new();
            let found = self.find_place(write.key, writer.shard, lead, &mut trail);
            let size = match found {
                Found::Node(_) => version_size(write.value.len()),
                // Large enough for a version, too, if somebody brings the key first.
                Found::Gap(_) => {
                    node_size(write.key.as_bytes().len(), write.value.len()).max(version_size(write.value.len()))
                }
            };
            let Ok(memory) = take(size) else {
                failed = true;
                break;
            };
            self.set_slot(ledger_slots, taken, Slot { handle: memory.handle().0, node: memory.size() as u32 });
            self.leave_clue(memory.handle(), Clue { node: raw(found.node()), lead: trail.lead() });
            memory.keep();
            taken += 1;
        }
        if failed {
            for index in (0..taken).rev() {
                let slot = self.slot(ledger_slots, index);
                // SAFETY: taken above with this size, and seen by nobody.
                unsafe { self.arena.release(writer.number, Handle(slot.handle), slot.node as usize) };
            }
            return Err(InsertError::OutOfMemory);
        }
        // SAFETY: the memory is ours.
        let at = unsafe { self.at(record.handle()) };
        // SAFETY: it has room for a record, aligned.
        unsafe { at.cast::<Commit>().write(Commit::new()) };
        // SAFETY: just written.
        let reference = unsafe { Ref::from_raw(record.handle().0) }.ok_or(InsertError::OutOfMemory)?;
        self.commit(reference).witness.written();
        record.keep();
        slots.keep();
        Ok(Ledger { record: reference, slots: ledger_slots, count })
    }

    /// Where the keys of the next group belong.
    fn leads_of<'b>(&self, keys: &mut impl Iterator<Item = &'b K>) -> Option<Leads>
    where
        K: 'b,
    {
        let first = keys.next()?;
        let mut some = [first; GROUP];
        let mut count = 1;
        for (place, key) in some.iter_mut().skip(1).zip(keys) {
            *place = key;
            count += 1;
        }
        self.leads(count, |index| some.get(index).copied().unwrap_or(first))
    }

    /// Where the memory is that a write will take, leaves what was found out about its key.
    fn leave_clue(&self, memory: Handle, clue: Clue) {
        // SAFETY: reserved for this batch's write and not used yet.
        let at = unsafe { self.at(memory) };
        // SAFETY: any version is longer, and no less aligned.
        unsafe { at.cast::<Clue>().write(clue) };
    }

    /// What was left there.
    fn clue(&self, memory: Handle) -> Clue {
        // SAFETY: as for `leave_clue`.
        let at = unsafe { self.at(memory) };
        // SAFETY: written by `leave_clue`.
        unsafe { at.cast::<Clue>().read() }
    }

    fn slot_at(&self, slots: Handle, index: usize) -> core::ptr::NonNull<Slot> {
        // SAFETY: the slots are a live block of this batch.
        let at = unsafe { self.at(slots) };
        // SAFETY: there are as many as the batch has writes, and `index` is one of those.
        unsafe { at.cast::<Slot>().add(index) }
    }

    fn slot(&self, slots: Handle, index: usize) -> Slot {
        // SAFETY: written by `reserve` before, and used by this batch's thread only.
        unsafe { self.slot_at(slots, index).read() }
    }

    fn set_slot(&self, slots: Handle, index: usize, slot: Slot) {
        // SAFETY: as for `slot`.
        unsafe { self.slot_at(slots, index).write(slot) };
    }

    /// Links one write of a batch. Its memory is there, unless the comparator has changed its mind: a key that was found when
    /// memory was reserved and is not found now needs more, and only then can this fail.
    fn link_one(
        &self,
        writer: Writer<'_>,
        ledger: &Ledger,
        index: usize,
        write: &BatchWrite<'_, K>,
    ) -> Result<(), InsertError> {
        debug_assert!(index < ledger.count);
        let Slot { handle, node: size } = self.slot(ledger.slots, index);
        let (mut memory, mut size) = (Handle(handle), size as usize);
        let key = write.key.as_bytes();
        let version = (write.kind, Origin::Clock, SeqWord::batch(ledger.record.handle()));
        let mut clue = self.clue(memory);
        loop {
            let mut trail = Trail::new();
            // SAFETY: a node that was found when memory was reserved; nodes stay.
            let known = unsafe { Ref::from_raw(clue.node) };
            let found = match known {
                Some(node) => Found::Node(node),
                None => self.find_place(write.key, writer.shard, clue.lead, &mut trail),
            };
            clue.lead = Lead::NONE;
            let wanted = match found {
                Found::Node(_) => version_size(write.value.len()),
                Found::Gap(_) => node_size(key.len(), write.value.len()),
            };
            if wanted > size {
                let more = Reserved::take(self, writer, wanted, VERSION_ALIGN)?;
                (memory, size) = (more.handle(), wanted);
                more.keep();
            }
            // SAFETY: reserved for this write.
            let at = unsafe { self.at(memory) };
            match found {
                Found::Node(node) => {
                    // SAFETY: room for a version, aligned, and not published.
                    unsafe { write_version(at, write.value, version) };
                    // SAFETY: just written.
                    let new = unsafe { Ref::from_raw(memory.0) }.ok_or(InsertError::OutOfMemory)?;
                    self.link_on_top(node, new, ledger.record);
                    self.set_slot(ledger.slots, index, Slot { handle: memory.0, node: node.handle().0 });
                    return Ok(());
                }
                Found::Gap(gap) => {
                    // SAFETY: room for a node, aligned, and not published.
                    unsafe { write_node(at, gap.succ, key, write.value, version) };
                    // SAFETY: just written.
                    let new = unsafe { Ref::from_raw(memory.0) }.ok_or(InsertError::OutOfMemory)?;
                    if self.next_link(gap.pred).publish(gap.succ, new) {
                        self.set_slot(ledger.slots, index, Slot { handle: 0, node: memory.0 });
                        self.file_in_lanes(writer, new, &gap, &mut trail);
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Puts a batch's version on top of a chain, and raises the batch's floor to what it covers.
    fn link_on_top(&self, node: Ref<Node>, new: Ref<Version>, record: Ref<Commit>) {
        let commit = self.commit(record);
        // SAFETY: reserved for this version.
        let at = unsafe { self.at(new.handle()) };
        'again: loop {
            let mut chain = Chain::new(self, self.node(node));
            let spot = chain.spot();
            let mut above = Above::Nothing;
            while let Some((covered, settled)) = chain.next_settled(above) {
                match settled {
                    Settled::Dead => {
                        if !chain.bar(covered) {
                            continue 'again;
                        }
                    }
                    // Our own, of the same key.
                    Settled::Linking(commit) => above = Above::Linking(commit),
                    Settled::At(seq) => {
                        let given = u64::from(covered.meta.origin() == Origin::Given);
                        commit.raise_floor(SeqNo(seq.0 + given));
                        break;
                    }
                }
            }
            // SAFETY: written by the caller, and seen by nobody.
            unsafe { super::node::place_version(at, spot.word().behind(), spot.past_first) };
            if spot.publish(new) {
                return;
            }
        }
    }

    /// The node and version that a write of a batch has become.
    fn linked(&self, ledger: &Ledger, index: usize) -> Option<(NodeRef<'_>, VersionRef<'_>)> {
        let slot = self.slot(ledger.slots, index);
        // SAFETY: set by `link_one`.
        let node: Ref<Node> = unsafe { Ref::from_raw(slot.node) }?;
        // SAFETY: set by `link_one`.
        let version: Option<Ref<Version>> = unsafe { Ref::from_raw(slot.handle) };
        let node = self.node(node);
        Some((node, version.map_or_else(|| node.first_version(), |version| self.version(version).0)))
    }

    /// Closes the link behind a batch's version, so that what it covers is settled, and says what it has changed.
    fn count_one(&self, ledger: &Ledger, index: usize) -> Effect {
        let Some((node, own)) = self.linked(ledger, index) else { return Effect::default() };
        loop {
            let mut chain = Chain::new(self, node);
            while chain.next_raw().is_some_and(|passed| !core::ptr::eq(passed.seq, own.seq)) {}
            let spot = chain.spot();
            if !spot.word().is_closed() && !spot.close() {
                continue;
            }
            own.seq.store(SeqWord::counted_batch(ledger.record.handle()), order::STAMP_STORE);
            // What is pending is visible, whatever its number will be.
            let covered = core::iter::from_fn(|| chain.next_raw()).find(|version| !self.is_dead(*version));
            return Effect {
                before: covered.map(seen_state),
                after: seen_state(own),
                key_len: node.key().len(),
                value_len: own.value().len(),
            };
        }
    }

    /// Whether a version belongs to a batch that was given up.
    fn is_dead(&self, version: VersionRef<'_>) -> bool {
        let SeqWord::Batch { record, .. } = SeqWord::load(version.seq) else { return false };
        // SAFETY: a batch word holds the handle of its record, written before the version was published.
        let record: Option<Ref<Commit>> = unsafe { Ref::from_raw(record.0) };
        record.is_none_or(|record| self.commit(record).state() == State::Dead)
    }

    /// Gives a batch's version its number in place of the record.
    fn copy_number(&self, ledger: &Ledger, index: usize, seq: SeqNo) {
        if let Some((_, own)) = self.linked(ledger, index) {
            own.seq.store(seq.0, order::STAMP_STORE);
        }
    }
}
