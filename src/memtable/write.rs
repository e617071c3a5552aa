//! What writes have in common, whoever lets them in: one of many through the gate, or the only writer.

use super::threshold::{Admit, Tokens};
use super::{OnDuplicateSeqNo, Table};
use crate::arena::{Arena, Shard};
use crate::clock::{SeqClock, SeqNo};
use crate::comparator::Comparator;
use crate::error::{BatchError, InsertError};
use crate::list::{GROUP, Key, Kind, Leads, Refusal, Rule, Write};

impl<K, C, A, S, const MAX_HEIGHT: usize> Table<K, C, A, S, MAX_HEIGHT>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// The rule of a write that brings its number.
    #[inline]
    pub(super) fn rule_at(&self, seq: SeqNo) -> Rule {
        match self.duplicates {
            OnDuplicateSeqNo::Reject => Rule::At(seq),
            OnDuplicateSeqNo::Replace => Rule::AtOrReplace(seq),
        }
    }

    /// Lets one write in, if the thresholds do.
    #[inline]
    pub(super) fn admit_one(
        &self,
        shard: &Shard,
        write: &Write<'_, K>,
        admit: Admit,
    ) -> Result<Tokens<'_>, InsertError> {
        // Not asked of the key unless it matters.
        let bytes = match self.limits.max_memory_bytes {
            0 => 0,
            _ => write.key.as_bytes().len().saturating_add(write.value.len()),
        };
        self.admit(shard, (bytes, 1), admit)
    }

    /// Why a write that returns a number was refused; a value counts as an attempt.
    #[cold]
    pub(super) fn refused(&self, kind: Kind, refusal: Refusal<'_>) -> InsertError {
        if !kind.is_tombstone() {
            self.count_failures(1);
        }
        match refusal {
            Refusal::Error(error) => error,
            // Not with the rules that return a number.
            Refusal::Absent | Refusal::Present(_) => InsertError::DuplicateKey,
        }
    }

    /// What a write unless there is a live value comes to if it was refused: the value that is there, or the reason.
    pub(super) fn present_or_refused<'a>(
        &'a self,
        key: &K,
        refusal: Refusal<'a>,
    ) -> Result<(&'a [u8], bool), InsertError> {
        self.count_failures(1);
        match refusal {
            Refusal::Present(value) => Ok((value, false)),
            // What cannot be written may still be read.
            Refusal::Error(error) => self.get_live(key).map(|value| (value, false)).ok_or(error),
            // Not with this rule.
            Refusal::Absent => Err(InsertError::DuplicateKey),
        }
    }

    /// Counts refused attempts to write values; in the first shard, since a selector that panics must not be asked again.
    #[cold]
    pub(super) fn count_failures(&self, failures: usize) {
        if let Some(shard) = self.list.arena().shards().first() {
            shard.figures.add_failures(failures);
        }
    }

    /// Hands entries to `insert`, some at a time, which says how many went in; where they belong is found out before, for writes by `shard`.
    pub(super) fn in_groups<'s, Q: AsRef<K>, V: AsRef<[u8]>>(
        &self,
        entries: &[(Q, V)],
        shard: impl Fn() -> &'s Shard,
        mut insert: impl FnMut(&[(&K, &[u8])], Option<&Leads>) -> usize,
    ) -> Result<usize, BatchError> {
        let mut succeeded = 0;
        for some in entries.chunks(GROUP) {
            let Some(first) = some.first() else { break };
            // Asked before any write, and before the gate, since it is the caller's code.
            let first = (first.0.as_ref(), first.1.as_ref());
            let mut pairs = [first; GROUP];
            for (pair, (key, value)) in pairs.iter_mut().zip(some) {
                *pair = (key.as_ref(), value.as_ref());
            }
            let pairs = pairs.get(..some.len()).unwrap_or_default();
            let key = |index| pairs.get(index).unwrap_or(&first).0;
            let leads = if self.list.leads_pay(shard()) { self.list.leads(pairs.len(), key) } else { None };
            succeeded += insert(pairs, leads.as_ref());
        }
        match entries.len() - succeeded {
            0 => Ok(succeeded),
            failed => Err(BatchError::PartialFailure { succeeded, failed }),
        }
    }
}
