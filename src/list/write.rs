//! Single writes: what each rule asks of the versions there are, and the one compare-and-swap that decides.

use crate::arena::{Arena, Handle, Totals, UNIT, Writer};
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::error::{InsertError, OutOfMemory};
use crate::sync;

use super::batch::State;
use super::lane::{Goal, Lead, Trail};
use super::multi::{Leads, lead_of};
use super::node::{
    Kind, MAX_KEY_LEN, MAX_VALUE_LEN, Node, Origin, Ref, VERSION_ALIGN, VersionRef, node_size, place_version, raw,
    version_size, write_node, write_version,
};
use super::prefetch;
use super::search::{Found, Gap};
use super::version::{Above, Below, Chain, ChainSpot, PENDING, SeqWord, Settled};
use super::{Key, List};

/// When a write goes through, and where its version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Always, as the newest.
    Newest,
    /// If the key has no version at all.
    IfAbsent,
    /// If the newest version is there and no tombstone.
    IfLive,
    /// If there is none, or a tombstone.
    UnlessLive,
    /// With this number, where it belongs, if there is none of that number.
    At(SeqNo),
    /// With this number, above one of that number.
    AtOrReplace(SeqNo),
}

impl Rule {
    /// The number that the caller has given.
    #[inline]
    fn given(self) -> Option<SeqNo> {
        match self {
            Self::At(seq) | Self::AtOrReplace(seq) => Some(seq),
            Self::Newest | Self::IfAbsent | Self::IfLive | Self::UnlessLive => None,
        }
    }
}

/// What is to be written.
pub(crate) struct Write<'w, K: ?Sized> {
    pub(crate) key: &'w K,
    pub(crate) value: &'w [u8],
    pub(crate) kind: Kind,
    pub(crate) rule: Rule,
    /// Where the key was found to belong before.
    pub(crate) lead: Lead,
}

impl<'w, K: ?Sized> Write<'w, K> {
    #[inline]
    pub(crate) fn new(key: &'w K, value: &'w [u8], kind: Kind, rule: Rule) -> Self {
        Self { key, value, kind, rule, lead: Lead::NONE }
    }

    /// The same, of which a group's leads say where it belongs.
    #[inline]
    pub(crate) fn led_by(self, leads: Option<&Leads>, index: usize) -> Self {
        Self { lead: lead_of(leads, index), ..self }
    }
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal<'a> {
    Error(InsertError),
    /// `IfLive`: there was nothing live.
    Absent,
    /// `UnlessLive`: there is this value.
    Present(&'a [u8]),
}

impl From<InsertError> for Refusal<'_> {
    fn from(error: InsertError) -> Self {
        Self::Error(error)
    }
}

impl From<OutOfMemory> for Refusal<'_> {
    fn from(_: OutOfMemory) -> Self {
        Self::Error(InsertError::OutOfMemory)
    }
}

/// How the newest version of a key looks to the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Live,
    Tombstone,
}

pub(super) fn seen_state(version: VersionRef<'_>) -> Seen {
    if version.meta.kind().is_tombstone() { Seen::Tombstone } else { Seen::Live }
}

/// What one version has changed: the state below it and its own. For one that did not become the newest both are equal.
/// Summed over a chain, everything but the newest state cancels out, in whatever order the versions came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) before: Option<Seen>,
    pub(crate) after: Seen,
    pub(crate) key_len: usize,
    pub(crate) value_len: usize,
}

/// What a write has done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    pub(crate) seq: SeqNo,
    /// The value, as it lies in the arena.
    pub(crate) value: &'a [u8],
}

/// Memory for a version that is not published: given back unless it is kept.
pub(super) struct Reserved<'a, A: Arena> {
    arena: &'a A,
    shard: usize,
    handle: Handle,
    size: usize,
}

impl<'a, A: Arena> Reserved<'a, A> {
    #[expect(
        clippy::inline_always,
        reason = "it is left out of line otherwise, in programs of several codegen units: a tenth of an insert"
    )]
    #[inline(always)]
    pub(super) fn take<K: ?Sized, C, S, const H: usize, const ALONE: bool>(
        list: &'a List<K, C, A, S, H>,
        writer: Writer<'_, ALONE>,
        size: usize,
        align: usize,
    ) -> Result<Self, OutOfMemory> {
        let shard = writer.number;
        let handle = if ALONE {
            // SAFETY: a writer that is alone has all gates, and only writers inside a gate allocate.
            unsafe { list.arena.allocate_alone(shard, size, align) }?
        } else {
            list.arena.allocate(shard, size, align)?
        };
        if list.is_large() {
            // SAFETY: just allocated.
            prefetch::room_behind(unsafe { list.at(handle) }, size);
        }
        Ok(Self { arena: &list.arena, shard, handle, size })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Published, or remembered elsewhere.
    pub(super) fn keep(self) {
        core::mem::forget(self);
    }
}

impl<A: Arena> Drop for Reserved<'_, A> {
    fn drop(&mut self) {
        // SAFETY: allocated in `take`, not published, not used any more.
        unsafe { self.arena.release(self.shard, self.handle, self.size) };
    }
}

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Writes one version. The figures are told what it has changed as soon as it is linked, and its number as soon as that is
    /// known: whatever panics after that, they are right. `linked` is called with them.
    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call, what it returns goes through memory")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(crate) fn write<'a, const ALONE: bool>(
        &'a self,
        writer: Writer<'_, ALONE>,
        write: &Write<'_, K>,
        linked: impl FnOnce(),
    ) -> Result<Written<'a>, Refusal<'a>> {
        // Asked once: what is measured is what is copied, whatever a key says the next time.
        let key = write.key.as_bytes();
        check_lengths(key.len(), write.value.len(), write.rule)?;
        let mut trail = Trail::<H>::new();
        let mut found = self.find_place(write.key, writer.shard, write.lead, &mut trail);
        let mut memory: Option<Reserved<'a, A>> = None;
        loop {
            let gap = match found {
                Found::Node(node) => {
                    drop(memory);
                    return self.add_version(writer, node, write, linked);
                }
                Found::Gap(gap) => gap,
            };
            if write.rule == Rule::IfLive {
                return Err(Refusal::Absent);
            }
            let reserved = match memory.take() {
                Some(reserved) => reserved,
                None => Reserved::take(self, writer, node_size(key.len(), write.value.len()), UNIT)?,
            };
            let Some(node) = self.link_node::<ALONE>(&reserved, &gap, key, write) else {
                memory = Some(reserved);
                found = self.walk(gap.pred, write.key, Goal::At);
                continue;
            };
            reserved.keep();
            let version = self.node(node).first_version();
            let effect =
                Effect { before: None, after: seen_state(version), key_len: key.len(), value_len: write.value.len() };
            writer.add(effect.totals());
            linked();
            let seq = self.number(version, write.rule, (None, Above::Nothing), writer);
            self.file_in_lanes(writer, node, &gap, &mut trail);
            return Ok(Written { seq, value: version.value() });
        }
    }

    /// Writes a node into reserved memory and publishes it in a gap, unless somebody else was there first.
    #[inline]
    fn link_node<const ALONE: bool>(
        &self,
        memory: &Reserved<'_, A>,
        gap: &Gap,
        key: &[u8],
        write: &Write<'_, K>,
    ) -> Option<Ref<Node>> {
        // SAFETY: the memory is ours.
        let at = unsafe { self.at(memory.handle()) };
        let (origin, word) = first_word(write.rule);
        // SAFETY: room for this node, aligned, and not published.
        unsafe { write_node(at, gap.succ, key, write.value, (write.kind, origin, word)) };
        // SAFETY: just written.
        let node = unsafe { Ref::from_raw(memory.handle().0) }?;
        let link = self.next_link(gap.pred);
        let is_published = if ALONE && write.rule.given().is_some() {
            link.publish_alone(gap.succ, node)
        } else {
            link.publish(gap.succ, node)
        };
        is_published.then_some(node)
    }

    /// Adds a version to a node that is there.
    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call, what it returns goes through memory")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn add_version<'a, const ALONE: bool>(
        &'a self,
        writer: Writer<'_, ALONE>,
        node: Ref<Node>,
        write: &Write<'_, K>,
        linked: impl FnOnce(),
    ) -> Result<Written<'a>, Refusal<'a>> {
        let node = self.node(node);
        let mut memory: Option<Reserved<'a, A>> = None;
        loop {
            let stand = self.find_stand(node, write.rule)?;
            let reserved = match memory.take() {
                Some(reserved) => reserved,
                None => {
                    let reserved = Reserved::take(self, writer, version_size(write.value.len()), VERSION_ALIGN)?;
                    // SAFETY: the memory is ours.
                    let at = unsafe { self.at(reserved.handle()) };
                    let (origin, word) = first_word(write.rule);
                    // SAFETY: room for this version, aligned, and not published.
                    unsafe { write_version(at, write.value, (write.kind, origin, word)) };
                    reserved
                }
            };
            if let (Above::Linking(commit), Some(seq)) = (stand.above, write.rule.given()) {
                // Only a write that nothing refuses any more changes what number the batch will have.
                let commit = self.commit(commit);
                commit.raise_floor(SeqNo(seq.0 + 1));
                if commit.state() != State::Linking {
                    memory = Some(reserved);
                    continue;
                }
            }
            // SAFETY: the memory is ours.
            let at = unsafe { self.at(reserved.handle()) };
            // SAFETY: written above, and not published.
            unsafe { place_version(at, stand.spot.word().behind(), stand.spot.past_first) };
            // SAFETY: just written.
            let Some(reference) = (unsafe { Ref::from_raw(reserved.handle().0) }) else {
                return Err(OutOfMemory.into());
            };
            if !stand.spot.publish(reference) {
                memory = Some(reserved);
                continue;
            }
            reserved.keep();
            let (version, _) = self.version(reference);
            let after = seen_state(version);
            let below = stand.below.map(|(below, seq)| (seq, below.meta.origin()));
            let effect = Effect {
                before: if stand.is_newest { stand.below.map(|(below, _)| seen_state(below)) } else { Some(after) },
                after,
                key_len: node.key().len(),
                value_len: write.value.len(),
            };
            writer.add(effect.totals());
            linked();
            let seq = self.number(version, write.rule, (below, stand.above), writer);
            return Ok(Written { seq, value: version.value() });
        }
    }

    /// Finds where in a chain a version belongs, if its rule lets it in. From the newest version down, what is met says:
    ///
    /// | met | the version stands | and becomes the newest |
    /// | --- | --- | --- |
    /// | of a linking batch | below it, which then counts as later | yes, until the batch commits |
    /// | of a batch that was given up | where it did, once nobody can be put below that one (6) | as before |
    /// | one with a greater number (only if the rule names one) | below it | no, unless that one is still to count what it covers |
    /// | any other | above it, and covers it | as before |
    /// | none | where it did, and covers nothing | as before |
    #[inline]
    fn find_stand<'a>(&'a self, node: super::node::NodeRef<'a>, rule: Rule) -> Result<Stand<'a>, Refusal<'a>> {
        'again: loop {
            let mut chain = Chain::new(self, node);
            let mut above = Above::Nothing;
            let mut stand = Stand { spot: chain.spot(), above, below: None, is_newest: true };
            let limit = rule.given().unwrap_or(SeqNo::MAX);
            while let Some((version, settled)) = chain.next_settled(above) {
                match settled {
                    Settled::Dead => {
                        if !chain.bar(version) {
                            continue 'again;
                        }
                    }
                    Settled::Linking(commit) => {
                        above = Above::Linking(commit);
                        stand = Stand { spot: chain.spot(), above, ..stand };
                        if stand.spot.word().is_closed() || self.commit(commit).state() != State::Linking {
                            continue 'again;
                        }
                    }
                    Settled::At(seq) if seq > limit => {
                        above = Above::Stamped(seq);
                        let spot = chain.spot();
                        // A batch's version that is not counted yet will count what it then covers: us, whatever stands on it.
                        let is_counted = spot.word().is_closed() || !is_uncounted(version);
                        stand = Stand { spot, above, below: None, is_newest: !is_counted };
                    }
                    Settled::At(seq) => {
                        stand.below = Some((version, seq));
                        break;
                    }
                }
            }
            return match (rule, stand.below) {
                (Rule::IfAbsent, Some(_)) => Err(Refusal::Error(InsertError::DuplicateKey)),
                (Rule::At(seq), Some((_, there))) if seq == there => Err(Refusal::Error(InsertError::DuplicateSeqNo)),
                (Rule::IfLive, None) => Err(Refusal::Absent),
                (Rule::IfLive, Some((version, _))) if seen_state(version) == Seen::Tombstone => Err(Refusal::Absent),
                (Rule::UnlessLive, Some((version, _))) if seen_state(version) == Seen::Live => {
                    Err(Refusal::Present(version.value()))
                }
                _ => Ok(stand),
            };
        }
    }

    /// The number of a version that has just been linked: its own, or one from the clock.
    #[inline]
    fn number<const ALONE: bool>(
        &self,
        version: VersionRef<'_>,
        rule: Rule,
        around: (Below, Above),
        writer: Writer<'_, ALONE>,
    ) -> SeqNo {
        let seq = match rule {
            Rule::At(seq) | Rule::AtOrReplace(seq) => {
                writer.note_seq(seq);
                self.clock.observe(seq);
                return seq;
            }
            _ => {
                let asking = writer.asking();
                sync::link_then_clock(S::ORDERED);
                let seq = self.stamp_version(version, around.0, around.1);
                asking.answered();
                seq
            }
        };
        writer.note_seq(seq);
        seq
    }

    /// Files a new node where the lanes want one, and points the writer's finger at it.
    #[cfg_attr(
        target_pointer_width = "64",
        expect(clippy::inline_always, reason = "as a call it is a twentieth of an ascending insert")
    )]
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(super) fn file_in_lanes<const ALONE: bool>(
        &self,
        writer: Writer<'_, ALONE>,
        node: Ref<Node>,
        gap: &Gap,
        trail: &mut Trail<H>,
    ) {
        if self.file_in_run(writer, node, gap, trail) {
            return;
        }
        if self.wants_lane(node, gap.steps) {
            self.file_node(writer, node, Some((gap.pred, gap.succ)), trail);
        }
        writer.shard.finger.point(raw(gap.pred), node.handle().0, trail.lowest());
        if gap.steps >= LONG_WALK {
            self.mend(writer.as_one_of_many(), gap);
        }
    }

    /// After a long walk: work was dropped there, since a writer was kept from its own while it held a block. Files what was walked
    /// over, of very many some, spread evenly: the next one that walks there files more.
    #[cold]
    fn mend(&self, writer: Writer<'_>, gap: &Gap) {
        let apart = gap.steps.div_ceil(MENDED);
        let mut trail = Trail::new();
        let mut at = gap.start;
        for step in 1..=gap.steps {
            let Some(node) = self.next_link(at).follow() else { return };
            // Checked: as a function of its own this does not know that `apart` is not 0, and would bring in a panic.
            if step.checked_rem(apart) == Some(0) {
                self.file_later(writer, node, None, &mut trail);
            }
            at = Some(node);
        }
    }
}

/// Steps along the base from which on a walk is mended.
const LONG_WALK: usize = 12;
/// Nodes that one write files for others, at most.
const MENDED: usize = 256;

/// Where a version is to be put.
struct Stand<'a> {
    spot: ChainSpot<'a>,
    above: Above,
    /// The visible version that it covers.
    below: Option<(VersionRef<'a>, SeqNo)>,
    /// Whether it becomes the newest visible one.
    is_newest: bool,
}

/// Whether a version's batch has yet to count it.
#[inline]
fn is_uncounted(version: VersionRef<'_>) -> bool {
    matches!(SeqWord::load(version.seq), SeqWord::Batch { is_counted: false, .. })
}

/// What a version's number is before it is linked.
#[inline]
fn first_word(rule: Rule) -> (Origin, u64) {
    rule.given().map_or((Origin::Clock, PENDING), |seq| (Origin::Given, seq.0))
}

#[inline]
fn check_lengths(key: usize, value: usize, rule: Rule) -> Result<(), InsertError> {
    if key > MAX_KEY_LEN {
        return Err(InsertError::KeyTooLarge);
    }
    if value > MAX_VALUE_LEN {
        return Err(InsertError::ValueTooLarge);
    }
    match rule {
        Rule::At(seq) | Rule::AtOrReplace(seq) if seq > SeqNo::LIMIT => Err(InsertError::SeqNoTooLarge),
        _ => Ok(()),
    }
}

impl Effect {
    /// What this adds to the figures; differences wrap.
    pub(crate) fn totals(self) -> Totals {
        let is = |seen: Option<Seen>, what: Seen| usize::from(seen == Some(what));
        let after = Some(self.after);
        let is_tombstone = is(after, Seen::Tombstone);
        Totals {
            live: is(after, Seen::Live).wrapping_sub(is(self.before, Seen::Live)),
            tombstones: is_tombstone.wrapping_sub(is(self.before, Seen::Tombstone)),
            versions: 1,
            burials: is_tombstone,
            key_bytes: if self.before.is_none() { self.key_len } else { 0 },
            value_bytes: self.value_len,
            failures: 0,
        }
    }
}

impl Default for Effect {
    fn default() -> Self {
        Self { before: Some(Seen::Live), after: Seen::Live, key_len: 0, value_len: 0 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Whatever the order of writes, all but the last state cancels out.
    #[test]
    fn effects_telescope() {
        let states = [None, Some(Seen::Live), Some(Seen::Tombstone), Some(Seen::Tombstone), Some(Seen::Live)];
        let sum = states.windows(2).fold(Totals::default(), |sum, pair| {
            let after = pair[1].unwrap_or(Seen::Live);
            sum.plus(Effect { before: pair[0], after, key_len: 3, value_len: 5 }.totals())
        });
        assert_eq!((sum.live, sum.tombstones, sum.versions, sum.burials), (1, 0, 4, 2));
        assert_eq!((sum.key_bytes, sum.value_bytes), (3, 20));
    }
}
