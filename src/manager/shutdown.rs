//! The end of a manager: nothing more comes in, and nothing that is in is lost.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::recycle::Rubbish;
use super::{FlushJob, MemtableManager, Shared};
use crate::clock::SeqClock;
use crate::comparator::Comparator;
use crate::list::Key;

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> MemtableManager<K, C, S> {
    /// Refuses further writes, freezes the active table, and waits for up to `timeout` until background or other flushers have
    /// flushed everything. Then stops the background flushers (a flush under way is finished) and hands back what is left,
    /// oldest first. May be called again, to ask again.
    ///
    /// With a timeout of zero background flushers are stopped before the active table is frozen: what was in it comes back here,
    /// as does all else of which no flush was under way. (A [`next_flush`](Self::next_flush) of somebody else's may still take it.)
    ///
    /// On a background flusher's own thread, within a [`Flush`](super::Flush), it does not wait for flushes: that would be for
    /// itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use memskip::{ManagerConfig, MemtableManager, WriteError};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", b"v")?;
    /// let left = manager.shutdown(Duration::ZERO);
    /// assert_eq!(left.iter().map(|job| job.table().len()).sum::<usize>(), 1);
    /// assert_eq!(manager.put(b"k", b"w"), Err(WriteError::ShutDown));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, timeout: Duration) -> Vec<FlushJob<K, C, S>> {
        self.shared.refuse_writes();
        if timeout.is_zero() {
            self.stop_flushers();
        }
        self.shared.freeze_active();
        self.shared.wait_until_flushed(Instant::now().checked_add(timeout));
        self.stop_flushers();
        core::iter::from_fn(|| self.next_flush()).collect()
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Shared<K, C, S> {
    /// Lets no further write through, and nobody rotates any more.
    fn refuse_writes(&self) {
        let state = self.lock();
        self.throttle.close();
        drop(state);
        self.room.notify_all();
    }

    /// Queues what is in the active table, once writes are refused.
    fn freeze_active(&self) {
        let active = Arc::clone(&self.lock().active);
        // Writes that had been let through are in before this returns, or refused.
        active.drain();
        let mut rubbish = Rubbish::default();
        let mut state = self.lock();
        let old = if state.active.id == active.id && active.is_used() {
            let fresh = self.fresh(&mut state, &mut rubbish);
            fresh.drain();
            self.install(&mut state, fresh)
        } else {
            // For an empty table that stays empty nothing late is kept.
            self.retire(&mut state, &mut rubbish)
        };
        drop(state);
        self.work.notify_all();
        drop((old, rubbish));
    }

    fn wait_until_flushed(&self, deadline: Option<Instant>) {
        if self.is_own_flusher() {
            return;
        }
        let mut state = self.lock();
        while state.waiting().next().is_some() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            let left = left.unwrap_or(Duration::MAX);
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
