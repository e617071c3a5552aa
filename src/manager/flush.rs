//! The flush protocol: a frozen table is handed out, and comes back done or not done.
//!
//! A table is the manager's until it is completed. Handing it out, failing, dropping the job, a panic of the flusher: none of
//! them loses it, and all the while it is read from.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::error::UnknownFlush;
use super::queue::{Queued, TableStage};
use super::recycle::Rubbish;
use super::tables::{FrozenManagedTable, Generation, TableId, Tags};
use super::{MemtableManager, Shared, order};
use crate::clock::{EpochClock, SeqClock, SeqNo};
use crate::comparator::{Bytewise, Comparator};
use crate::list::Key;

/// A frozen table that is to be flushed. Dropping it without [`complete`](Self::complete) gives the table back.
///
/// What is in a later table (one with a greater [`id`](Self::id)) is newer if its sequence number is greater, or the same: with
/// [`EpochClock`], writes of one key that overlapped may have the same number on either side of a rotation. It may be less: a
/// writer that was inside this table when it was rotated out can be numbered after a write to the next one, and the engine's
/// own numbers come as they come. So files are compared by number; and memory with files, or not, as
/// [`MemtableManager::get_entry`] says.
///
/// ```
/// use memskip::{ManagerConfig, MemtableManager};
///
/// let manager = MemtableManager::new(ManagerConfig::new())?;
/// manager.put(b"k", b"v")?;
/// manager.rotate();
/// let job = manager.next_flush().ok_or("nothing frozen")?;
/// let file: Vec<_> = job.table().versions().map(|e| (e.key.to_vec(), e.seq, e.value.to_vec())).collect();
/// // … and when the file is safe, and readers know of it:
/// job.complete()?;
/// assert_eq!((file.len(), manager.frozen_tables()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FlushJob<K: Key + ?Sized = [u8], C: Comparator<K> = Bytewise, S: SeqClock = EpochClock> {
    shared: Arc<Shared<K, C, S>>,
    generation: Arc<Generation<K, C, S>>,
    attempt: u32,
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> FlushJob<K, C, S> {
    /// The table's id.
    pub fn id(&self) -> TableId {
        self.generation.id
    }

    /// The table. Nothing in it changes any more; figures, sequence numbers and key range are exact.
    pub fn table(&self) -> &FrozenManagedTable<K, C, S> {
        self.generation.table.freeze()
    }

    /// The tags of the writes in it; `None` if none came with one.
    pub fn tags(&self) -> Option<Tags> {
        self.generation.tags()
    }

    /// Which attempt this is: 1 at first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The flush is done: what is in the table is safe elsewhere, and reads find it there. See
    /// [`MemtableManager::complete`].
    pub fn complete(self) -> Result<(), UnknownFlush> {
        self.shared.complete(self.id(), Some(self.attempt))
    }

    /// The flush failed: gives the table back. See [`MemtableManager::fail`].
    pub fn fail(self) -> Result<(), UnknownFlush> {
        self.shared.fail(self.id(), Some(self.attempt))
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Drop for FlushJob<K, C, S> {
    fn drop(&mut self) {
        // Has no effect if it was completed or failed, here or by id, or has been handed out again.
        let _ = self.shared.fail(self.generation.id, Some(self.attempt));
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> fmt::Debug for FlushJob<K, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushJob")
            .field("id", &self.generation.id)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> Shared<K, C, S> {
    /// Hands out the oldest frozen table that waits; waits for one until `deadline` (`None`: for ever), or until flushers are
    /// stopped, at the end of a shutdown: until then a flush may fail, and what was active is still to come.
    pub(super) fn wait_for_job(self: &Arc<Self>, deadline: Option<Instant>) -> Option<FlushJob<K, C, S>> {
        loop {
            let (job, wake) = self.job_or_time_to_wake();
            if job.is_some() {
                return job;
            }
            let state = self.lock();
            let now = Instant::now();
            // Nothing may have happened between the two looks.
            if state.frozen.iter().any(|queued| queued.stage == TableStage::Frozen) {
                continue;
            }
            if self.stopped.load(order::STOP) || deadline.is_some_and(|deadline| deadline <= now) {
                return None;
            }
            // A first write or a flush since then has another time to wake.
            match [deadline, wake, self.age_due(&state.active), self.idle_due(&state)].into_iter().flatten().min() {
                Some(until) => {
                    let wait = until.saturating_duration_since(now);
                    drop(self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
                }
                None => drop(self.work.wait(state).unwrap_or_else(PoisonError::into_inner)),
            }
        }
    }

    /// Does what time demands, and hands out the oldest table that waits, or says when time will demand something again.
    fn job_or_time_to_wake(self: &Arc<Self>) -> (Option<FlushJob<K, C, S>>, Option<Instant>) {
        let wake = self.tick();
        let mut state = self.lock();
        let waits = |queued: &&mut Queued<K, C, S>| queued.stage == TableStage::Frozen;
        let Some(queued) = state.frozen.iter_mut().find(waits) else { return (None, wake) };
        queued.stage = TableStage::Flushing;
        queued.attempts += 1;
        let (generation, attempt) = (Arc::clone(&queued.generation), queued.attempts);
        drop(state);
        let job = FlushJob { shared: Arc::clone(self), generation, attempt };
        // Only now does nothing in it change any more. Not under the lock: a writer inside may need that to come out.
        job.generation.drain();
        (Some(job), wake)
    }

    /// Rotates a table that is over age, gives back idle memory, and says when there will be something to do again.
    pub(super) fn tick(&self) -> Option<Instant> {
        let mut rubbish = Rubbish::default();
        let mut state = self.lock();
        let active = Arc::clone(&state.active);
        let release = self.release_idle(&mut state, &mut rubbish);
        drop(state);
        if self.is_over_age(&active) {
            // Whatever comes of it, this table has no time to wake any more.
            self.rotate_out(&active);
            return release;
        }
        [release, self.age_due(&active)].into_iter().flatten().min()
    }

    /// When the table is to be rotated because of its age; never once writes are refused, when `shutdown` will do it.
    fn age_due(&self, active: &Generation<K, C, S>) -> Option<Instant> {
        let first_write = active.first_write.get().filter(|_| !self.throttle.is_closed());
        first_write?.checked_add(self.config.max_table_age?)
    }

    /// `attempt`: of a job; `None` by id alone.
    fn complete(&self, id: TableId, attempt: Option<u32>) -> Result<(), UnknownFlush> {
        let mut rubbish = Rubbish::default();
        let mut state = self.lock();
        let active = state.active.id;
        let queued = flushing(state.frozen.iter_mut(), id, attempt)?;
        if !queued.generation.is_drained() {
            // Whoever asked for it still waits for writes in it, and has no job yet.
            return Err(UnknownFlush(id));
        }
        queued.stage = TableStage::Flushed;
        queued.kept_for = active;
        let max_seq = queued.generation.max_seq();
        state.flushes += 1;
        state.flushed_max_seq = state.flushed_max_seq.max(max_seq);
        let old = self.retire(&mut state, &mut rubbish);
        let keeps_any = state.recycling.keeps_any();
        drop(state);
        self.room.notify_all();
        if keeps_any {
            // Whoever waits for work gives back what is kept in the end, and has a time for that now.
            self.work.notify_all();
        }
        drop((old, rubbish));
        Ok(())
    }

    fn fail(&self, id: TableId, attempt: Option<u32>) -> Result<(), UnknownFlush> {
        let mut state = self.lock();
        let queued = flushing(state.frozen.iter_mut(), id, attempt)?;
        queued.stage = TableStage::Frozen;
        state.failed_flushes += 1;
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
        Ok(())
    }
}

fn flushing<'a, K: ?Sized + 'a, C: 'a, S: 'a>(
    mut queue: impl Iterator<Item = &'a mut Queued<K, C, S>>,
    id: TableId,
    attempt: Option<u32>,
) -> Result<&'a mut Queued<K, C, S>, UnknownFlush> {
    let is_it = |queued: &&mut Queued<K, C, S>| {
        queued.generation.id == id
            && queued.stage == TableStage::Flushing
            && attempt.is_none_or(|attempt| attempt == queued.attempts)
    };
    queue.find(is_it).ok_or(UnknownFlush(id))
}

impl<K: Key + ?Sized, C: Comparator<K>, S: SeqClock> MemtableManager<K, C, S> {
    /// Hands out the oldest frozen table that is not being flushed; `None` if there is none. It stays readable.
    ///
    /// Waits for writes that were inside the table when it was rotated out.
    pub fn next_flush(&self) -> Option<FlushJob<K, C, S>> {
        self.shared.job_or_time_to_wake().0
    }

    /// The same, and waits for a table for up to `timeout`. Meanwhile rotates the active table when it is over age. `None`
    /// at once after a [`shutdown`](Self::shutdown) that left nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new().max_table_age(Duration::from_millis(1)))?;
    /// manager.put(b"k", b"v")?;
    /// let job = manager.wait_flush(Duration::from_secs(10)).ok_or("never rotated")?;
    /// assert_eq!(job.table().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_flush(&self, timeout: Duration) -> Option<FlushJob<K, C, S>> {
        self.shared.wait_for_job(Instant::now().checked_add(timeout))
    }

    /// The flush of a table is done: retires it, once all older ones are (or later, if a writer was late; see
    /// [`TableStage::Flushed`]). Call it when what was in it can be read elsewhere.
    pub fn complete(&self, id: TableId) -> Result<(), UnknownFlush> {
        self.shared.complete(id, None)
    }

    /// The flush of a table failed: it is the next one to be handed out again.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put(b"k", b"v")?;
    /// manager.rotate();
    /// let job = manager.next_flush().ok_or("nothing frozen")?;
    /// manager.fail(job.id())?;
    /// let again = manager.next_flush().ok_or("lost")?;
    /// assert_eq!((again.id(), again.attempt()), (job.id(), 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&self, id: TableId) -> Result<(), UnknownFlush> {
        self.shared.fail(id, None)
    }

    /// The least tag of a write that is not flushed; `None` if there is none. What lies below it in the log is not needed any
    /// more, but for writes that have not returned yet. Also when a younger table is flushed before an older one.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.tagged(10).put(b"a", b"")?;
    /// manager.rotate();
    /// manager.tagged(20).put(b"b", b"")?;
    /// let (older, younger) = (manager.next_flush(), manager.rotate().and_then(|_| manager.next_flush()));
    /// younger.ok_or("nothing frozen")?.complete()?;
    /// assert_eq!(manager.first_unflushed_tag(), Some(10));
    /// older.ok_or("nothing frozen")?.complete()?;
    /// assert_eq!(manager.first_unflushed_tag(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_unflushed_tag(&self) -> Option<u64> {
        let state = self.shared.lock();
        let unflushed = state.frozen.iter().filter(|queued| queued.stage != TableStage::Flushed);
        let generations = unflushed.map(|queued| &queued.generation).chain([&state.active]);
        generations.filter_map(|generation| generation.tags()).map(|tags| tags.first).min()
    }

    /// The greatest sequence number of any table flushed so far; `None` if nothing is flushed. A version that was found in memory
    /// before this was called, with at least this number, is the newest there is, whatever order the engine's numbers come in;
    /// see [`get_entry`](Self::get_entry). Nothing is known of files from before this manager was made.
    ///
    /// ```
    /// use memskip::{ManagerConfig, MemtableManager, SeqNo};
    ///
    /// let manager = MemtableManager::new(ManagerConfig::new())?;
    /// manager.put_at(b"k", b"later", SeqNo(20))?;
    /// manager.rotate();
    /// assert_eq!(manager.flushed_max_seq(), None);
    /// manager.next_flush().ok_or("nothing frozen")?.complete()?;
    /// assert_eq!(manager.flushed_max_seq(), Some(SeqNo(20)));
    ///
    /// // A number that goes down across tables: the file has the newer version.
    /// manager.put_at(b"k", b"earlier", SeqNo(10))?;
    /// let found = manager.get_entry(b"k").ok_or("not there")?;
    /// assert!(Some(found.seq) < manager.flushed_max_seq());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flushed_max_seq(&self) -> Option<SeqNo> {
        self.shared.lock().flushed_max_seq
    }

    /// Does what is due by time: rotates a table that is over age, and gives back memory that is idle. For those who have no
    /// flusher waiting in [`wait_flush`](Self::wait_flush), which does the same.
    pub fn tick(&self) {
        self.shared.tick();
    }
}
